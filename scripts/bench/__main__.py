"""The command: ``make bench [ONLY=part,part] [CALLS=n] [FREESWITCH=/path] [JSON=file]``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import shlex
import sys
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

from callcontrol.embedded import EmbeddedError, EmbeddedRedis
from scripts.bench import machine
from scripts.bench.outcome import BenchError
from scripts.bench.parts import PARTS, SOUNDS, Bench, Sizes
from scripts.bench.report import Report
from scripts.bench.sipp import why_not

ROOT = Path(__file__).parent.parent.parent
DEFAULT = Sizes()


def main(arguments: Sequence[str], sizes: Sizes = DEFAULT) -> int:
    """Measure and print.  0: measured; 2: usage; 3: something could not be started."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Cordboard on this machine.")
    parser.add_argument("--only", default="", help=f"parts to run, of {', '.join(PARTS)}")
    parser.add_argument("--calls", type=int, default=sizes.calls, help="short calls of the part growth")
    parser.add_argument("--freeswitch", default="", help="a FreeSWITCH binary for the part calls, with SIPp")
    parser.add_argument(
        "--json", default="", help="write the figures to this file too (-: stdout, instead of the tables)"
    )
    given = parser.parse_args(list(arguments))
    names = [name for name in given.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if given.calls < 10:
        parser.error("--calls must be 10 at least")
    if given.freeswitch and (reason := why_not(given.freeswitch)):
        parser.error(reason)
    sizes = dataclasses.replace(sizes, calls=given.calls)
    _announce(names, sizes, given.freeswitch)
    try:
        report = measure(names, sizes, given.freeswitch, shlex.join(["make bench", *_as_make(given)]).replace("'", ""))
    except (BenchError, EmbeddedError, AssertionError, OSError) as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 3
    if given.json == "-":
        print(report.json())
        return 0
    print(report.text())
    if given.json:
        Path(given.json).write_text(report.json() + "\n", encoding="utf-8")
    return 0


def measure(names: Sequence[str], sizes: Sizes, freeswitch: str = "", command: str = "make bench") -> Report:
    """Run the parts, in order.  Raises BenchError, EmbeddedError."""
    machine.allow_many_files()
    report = Report(
        machine=machine.machine(),
        commit=machine.commit(ROOT),
        command=command,
        began=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        switch=f"{Path(freeswitch).name} and SIPp for the calls side by side" if freeswitch else "the stand-in switch",
        load=machine.load(),
        rate=sizes.rate,
    )
    with tempfile.TemporaryDirectory(prefix="cordboard-bench-") as place:
        directory = Path(place)
        _make_sounds(directory / "sounds" / "bench")
        with EmbeddedRedis(directory / "redis") as redis:
            bench = Bench(directory, redis, sizes, _say, freeswitch)
            for name in names:
                report.parts[name] = PARTS[name].run(bench)
    return report


def _as_make(given: argparse.Namespace) -> list[str]:
    """The arguments as make takes them."""
    words = []
    if given.only:
        words.append(f"ONLY={given.only}")
    if given.calls != DEFAULT.calls:
        words.append(f"CALLS={given.calls}")
    if given.freeswitch:
        words.append("FREESWITCH=…")
    return words


def _announce(names: Sequence[str], sizes: Sizes, freeswitch: str) -> None:
    total = sum(PARTS[name].seconds(sizes) for name in names)
    _say(f"about {max(1, round(total / 60))} minutes on an idle machine; Ctrl-C ends it and all that it started")
    for name in names:
        with_ = " with the real switch" if freeswitch and name == "calls" else ""
        _say(f"  {name:9} {PARTS[name].title}{with_}: {PARTS[name].seconds(sizes):.0f} s")
    if machine.load() > 1.0:
        _say(f"this machine is busy (load {machine.load():.1f}): its figures will be worse than those of an idle one")


def _make_sounds(directory: Path) -> None:
    """Silence of the right lengths, no two alike: one that is would be known by the other's name.

    The stand-in knows ``long.wav`` as longer than it is.
    """
    directory.mkdir(parents=True)
    for name, seconds in SOUNDS.items():
        with wave.open(str(directory / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(2 * int(8000 * min(seconds, 3.0))))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
