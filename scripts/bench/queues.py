"""``make bench-queue [ONLY=part,part] [DECISIONS=n] [FREESWITCH=/path] [JSON=file]``: what queues cost.

``queue_switch.py`` puts mod_callcenter and Cordboard on one real switch, ``queue_standin.py`` Cordboard alone on the
stand-in where there is none, ``queue_decisions.py`` asks Redis only.  No figure is judged here: the goals stand beside.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callcontrol.embedded import EmbeddedError, EmbeddedRedis
from scripts.bench import machine, queue_decisions, queue_switch
from scripts.bench.contestants import Place, cordboard, free_port
from scripts.bench.machine import percentile
from scripts.bench.outcome import BenchError
from scripts.bench.queue_decisions import Load
from scripts.bench.queue_seen import COMPANY, MUSIC, ROUTING, Rush, Seen
from scripts.bench.queue_standin import QueueStandIn
from scripts.bench.report import finite, table
from scripts.bench.sipp import why_not
from tests.switch import harness

ROOT = Path(__file__).parent.parent.parent
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.  The defaults are what ``make bench-queue`` does."""

    rush: Rush = field(default_factory=Rush)
    load: Load = field(default_factory=Load)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share.  ``say`` tells the one who waits what is going on."""

    directory: Path
    sizes: Sizes
    say: Callable[[str], None]
    freeswitch: str = ""


# ---------------------------------------------------------------------------------------------------- parts


def calls(bench: Bench) -> list[Row]:
    """Three agents and fifteen callers, on a real switch beside mod_callcenter or on the stand-in alone."""
    here = bench.directory / "calls"
    here.mkdir()
    with EmbeddedRedis(here / "redis") as redis:
        if bench.freeswitch:
            found = queue_switch.side_by_side(bench.freeswitch, here, redis, bench.sizes.rush, bench.say)
        else:
            found = {"Cordboard, stand-in switch": _on_the_stand_in(here, redis, bench)}
    return [{"contestant": name, "talks": len(seen.joined), **_times(seen)} for name, seen in found.items()]


def _on_the_stand_in(here: Path, redis: EmbeddedRedis, bench: Bench) -> Seen:
    sizes, seen = bench.sizes.rush, Seen()
    harness.sound(here / "sounds" / COMPANY / MUSIC, 30.0)
    with QueueStandIn(free_port(), here / "switch.log", {MUSIC: 30.0}) as switch:
        place = Place(here / "serve", switch.controller, switch.esl_port, switch.password, redis.url, here / "sounds")
        with cordboard(1, ROUTING).serving(place):
            switch.singles(sizes, 1)  # the first is not counted
            for turn in range(sizes.rounds):
                bench.say(f"round {turn + 1} of {sizes.rounds}: Cordboard on the stand-in switch")
                seen.add(switch.singles(sizes, sizes.singles))
                seen.add(switch.rush(sizes))
    return seen


def _times(seen: Seen) -> Row:
    found: Row = {"lost": seen.lost}
    for name in ("idle", "offer", "joined", "voice"):
        values = getattr(seen, name)
        found[f"{name}_ms"] = 1000 * percentile(values, 0.5)
        found[f"{name}_p95_ms"] = 1000 * percentile(values, 0.95)
    return found


def decisions(bench: Bench) -> list[Row]:
    """What one whole decision costs, with few and with many who wait."""
    load = bench.sizes.load
    with EmbeddedRedis(bench.directory / "decisions") as redis:
        found = queue_decisions.cost(redis, load, bench.say)
    first = found[f"free {load.waiting[0]}"]
    rows = []
    for name, cost in found.items():
        _, _, waiting = name.partition(" ")
        if waiting:
            what = f"one of {load.agents} busy agents gets free, {waiting} callers wait"
        else:
            what = f"a caller joins, {load.agents} agents are free"
        row = {
            "what": what,
            "decisions": len(cost.took),
            "median_ms": 1000 * percentile(cost.took, 0.5),
            "p95_ms": 1000 * percentile(cost.took, 0.95),
            "of_first": percentile(cost.took, 0.5) / percentile(first.took, 0.5) if waiting else math.nan,
            "cpu_ms": 1000 * percentile(cost.used, 0.5),
            "cpu_of_first": percentile(cost.used, 0.5) / percentile(first.used, 0.5) if waiting else math.nan,
        }
        rows.append(row)
    return rows


def together(bench: Bench) -> list[Row]:
    """Several processes at once, and what was wrong afterwards."""
    load = bench.sizes.load
    share = -(-load.decisions // len(load.processes))
    rows = []
    with EmbeddedRedis(bench.directory / "together") as redis:
        for processes in load.processes:
            bench.say(f"{processes} processes: {share} decisions")
            found = queue_decisions.together(
                redis, bench.directory / f"together-{processes}", load, processes, share, bench.say
            )
            rows.append(
                {
                    "processes": processes,
                    "decisions": found.claims,
                    "claimed": found.did["claimed"],
                    "refused": found.did["refused"],
                    "per_second": found.claims / found.seconds,
                    "doubled": found.wrong["an agent with two offers"] + found.wrong["an offer to an agent who talks"],
                    "did": dict(found.did),
                    "lost": dict(found.wrong),
                }
            )
    return rows


@dataclass(frozen=True, slots=True)
class Part:
    """``columns``: title, key, how it is written.  ``seconds`` is about how long it takes on an idle machine."""

    title: str
    run: Callable[[Bench], list[Row]]
    columns: Sequence[tuple[str, str, str]]
    goal: str
    seconds: Callable[[Sizes, bool], float]


PARTS: Mapping[str, Part] = {
    "calls": Part(
        "three agents, fifteen callers, wrap-up 0; milliseconds, median and p95",
        calls,
        (
            ("contestant", "contestant", ""),
            ("talks", "talks", "d"),
            ("agent idle", "idle_ms", ".0f"),
            ("p95", "idle_p95_ms", ".0f"),
            ("join to offer", "offer_ms", ".0f"),
            ("p95", "offer_p95_ms", ".0f"),
            ("answer to talk", "joined_ms", ".0f"),
            ("p95", "joined_p95_ms", ".0f"),
            ("to voice", "voice_ms", ".0f"),
            ("p95", "voice_p95_ms", ".0f"),
            ("lost", "lost", "lost"),
        ),
        "idle under 60 (median); join to offer under 40; answer to talk 60 at most",
        lambda sizes, real: 20 + sizes.rush.seconds * (2 if real else 1),
    ),
    "decisions": Part(
        "a whole decision: the transition, the look, the choice, the claim",
        decisions,
        (
            ("", "what", ""),
            ("decisions", "decisions", "d"),
            ("median", "median_ms", ".2f"),
            ("p95, ms", "p95_ms", ".2f"),
            ("of the first", "of_first", ".2f"),
            ("CPU, ms", "cpu_ms", ".2f"),
            ("of the first", "cpu_of_first", ".2f"),
        ),
        "under 1 ms, and with 10,000 callers at most 1.5 times what it costs with 100",
        lambda sizes, real: 5 + sum(sizes.load.waiting) / 2000 + 0.006 * sizes.load.measured,
    ),
    "together": Part(
        "several processes decide on the same agents and callers",
        together,
        (
            ("processes", "processes", "d"),
            ("decisions", "decisions", "d"),
            ("claimed", "claimed", "d"),
            ("refused as stale", "refused", "d"),
            ("a second", "per_second", ".0f"),
            ("double offers", "doubled", "d"),
            ("wrong", "lost", "lost"),
        ),
        "no double offer",
        lambda sizes, real: 5 + sizes.load.decisions / 1000,
    ),
}


# --------------------------------------------------------------------------------------------------- report


@dataclass(slots=True)
class Report:
    """A run: on what, of what, by which command, and the rows of each part."""

    machine: str
    commit: str
    command: str
    began: str
    switch: str
    load: float
    parts: dict[str, list[Row]] = field(default_factory=dict)

    def json(self) -> str:
        """Everything; a figure that does not exist is null."""
        return json.dumps(finite(dataclasses.asdict(self)), indent=2)

    def text(self) -> str:
        """The tables."""
        lines = [
            f"{self.command}   commit {self.commit}, {self.began}",
            f"on {self.machine}; {self.switch}; load before: {self.load:.1f}",
        ]
        for name, rows in self.parts.items():
            part = PARTS[name]
            lines += ["", part.title, *table(part.columns, rows), f"goal: {part.goal}"]
        return "\n".join(lines)


def measure(names: Sequence[str], sizes: Sizes, freeswitch: str = "", command: str = "make bench-queue") -> Report:
    """Run the parts, in order.  Raises BenchError, EmbeddedError."""
    machine.allow_many_files()
    report = Report(
        machine=machine.machine(),
        commit=machine.commit(ROOT),
        command=command,
        began=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        switch=_switch(freeswitch) if "calls" in names else "no switch",
        load=machine.load(),
    )
    with tempfile.TemporaryDirectory(prefix="cordboard-bench-") as place:
        bench = Bench(Path(place), sizes, _say, freeswitch)
        for name in names:
            report.parts[name] = PARTS[name].run(bench)
    return report


def _switch(freeswitch: str) -> str:
    return f"a real {Path(freeswitch).name}" if freeswitch else "no FreeSWITCH was named: ours alone, on the stand-in"


def main(arguments: Sequence[str], sizes: Sizes | None = None) -> int:
    """Measure and print.  0: measured; 1: something was offered twice; 2: usage; 3: something could not be started."""
    sizes = sizes or Sizes()
    parser = argparse.ArgumentParser(prog="make bench-queue", description="Measure Cordboard's queues on this machine.")
    parser.add_argument("--only", default="", help=f"parts to run, of {', '.join(PARTS)}")
    parser.add_argument("--decisions", type=int, default=sizes.load.decisions, help="decisions of the part together")
    parser.add_argument("--freeswitch", default="", help="a FreeSWITCH binary with mod_callcenter, for the part calls")
    parser.add_argument(
        "--json", default="", help="write the figures to this file too (-: stdout, instead of the tables)"
    )
    given = parser.parse_args(list(arguments))
    names = [name for name in given.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if given.decisions < 100:
        parser.error("--decisions must be 100 at least")
    if given.freeswitch and (reason := why_not(given.freeswitch)):
        parser.error(reason)
    words = [f"ONLY={given.only}"] * bool(given.only)
    words += [f"DECISIONS={given.decisions}"] * (given.decisions != sizes.load.decisions)
    words += ["FREESWITCH=…"] * bool(given.freeswitch)
    sizes = dataclasses.replace(sizes, load=dataclasses.replace(sizes.load, decisions=given.decisions))
    _announce(names, sizes, bool(given.freeswitch))
    try:
        report = measure(names, sizes, given.freeswitch, shlex.join(["make bench-queue", *words]).replace("'", ""))
    except (BenchError, EmbeddedError, AssertionError, OSError) as error:
        print(f"make bench-queue: {error}", file=sys.stderr)
        return 3
    print(report.json() if given.json == "-" else report.text())
    if given.json not in ("", "-"):
        Path(given.json).write_text(report.json() + "\n", encoding="utf-8")
    return int(any(row["lost"] for row in report.parts.get("together", ())))


def _announce(names: Sequence[str], sizes: Sizes, real: bool) -> None:
    total = sum(PARTS[name].seconds(sizes, real) for name in names)
    _say(f"about {max(1, round(total / 60))} minutes on an idle machine; Ctrl-C ends it and all that it started")
    if not real and "calls" in names:
        _say("no FreeSWITCH was named (FREESWITCH=/path): our figures alone, on the stand-in switch")
    for name in names:
        _say(f"  {name:9} {PARTS[name].title}: {PARTS[name].seconds(sizes, real):.0f} s")
    if machine.load() > 1.0:
        _say(f"this machine is busy (load {machine.load():.1f}): its figures will be worse than those of an idle one")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
