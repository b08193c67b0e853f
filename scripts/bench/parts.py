"""What is measured, one function a part; each returns rows that ``report.py`` prints.

Contestants alternate in rounds, each started anew, so that whatever else the machine does meets all alike; the calls
that warm one up are not counted.  No figure is judged here.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callcontrol.embedded import EmbeddedRedis
from scripts.bench import companies, uploads
from scripts.bench.callers import StandIn
from scripts.bench.contestants import (
    SHORT,
    WAITING,
    WHOLE,
    Contestant,
    Place,
    Running,
    cordboard,
    floor,
    free_port,
    plain,
)
from scripts.bench.machine import allow_many_files, connections, cpu_seconds, memory, percentile
from scripts.bench.outcome import BenchError, Outcome
from scripts.bench.sipp import RealSwitch

Row = dict[str, Any]
#: Seconds of each sound as the stand-in plays it; the real switch has files of the first two lengths.
SOUNDS = {"hello.wav": 0.2, "ask.wav": 2.0, "short.wav": 0.02, "long.wav": 600.0}
#: Descriptors that a controller needs besides one for each call.
_OTHER_FILES = 200


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.  The defaults are what ``make bench`` does."""

    rate: float = 60.0  #: calls a second
    seconds: float = 10.0  #: of calls, for each contestant and round
    rounds: int = 3
    warm_up: int = 120  #: calls that are not counted
    settle: float = 1.2  #: until what follows a call is done: its facts shipped, greenswitch's greenlets joined
    parked: tuple[int, ...] = (2_000, 10_000)
    park_rate: float = 200.0
    probes: int = 60  #: "one more" calls, five a second: a reconciliation, every five seconds, is among them
    takeover: tuple[int, ...] = (50, 1_000)
    calls: int = 100_000
    at_once: int = 100
    deliveries: int = 1_000
    uploads: int = 200  #: recordings of ten seconds
    numbers: int = 10_000  #: of the directories that are checked


@dataclass(slots=True)
class Bench:
    """What the parts share.  ``say`` tells the one who waits what is going on."""

    directory: Path
    redis: EmbeddedRedis
    sizes: Sizes
    say: Callable[[str], None]
    freeswitch: str = ""
    _started: int = field(default=0)

    @contextlib.contextmanager
    def serving(self, contestant: Contestant) -> Iterator[tuple[StandIn, Running]]:
        """A stand-in switch and ``contestant``, which gets its calls."""
        log = self.directory / f"switch-{self._started}.log"
        with StandIn(free_port(), log, SOUNDS) as switch, self.serving_to(switch, contestant) as running:
            yield switch, running

    @contextlib.contextmanager
    def serving_to(self, switch: StandIn | RealSwitch, contestant: Contestant) -> Iterator[Running]:
        """``contestant``, which gets the calls of ``switch``."""
        self._started += 1
        place = Place(
            self.directory / f"serve-{self._started}",
            switch.controller,
            switch.esl_port,
            switch.password,
            self.redis.url,
            self.directory / "sounds",
        )
        with contestant.serving(place) as running:
            yield running

    def redis_cpu(self) -> float:
        """Seconds of a core that Redis has used."""
        return cpu_seconds([self.redis.pid])


# ------------------------------------------------------------------------------------------- side by side


def side_by_side(bench: Bench) -> list[Row]:
    """The same flow by each contestant, in turns."""
    contestants = [floor(few=False), floor(few=True), plain(), cordboard(1), cordboard(2)]
    slots: list[list[_Slot]] = [[] for _ in contestants]
    with contextlib.ExitStack() as stack:
        real = stack.enter_context(RealSwitch(bench.freeswitch, bench.directory / "real")) if bench.freeswitch else None
        for turn in range(bench.sizes.rounds):
            for contestant, found in zip(contestants, slots, strict=True):
                bench.say(f"round {turn + 1} of {bench.sizes.rounds}: {contestant.name}")
                if real is not None:
                    with bench.serving_to(real, contestant) as running:
                        found.append(_slot(bench, real, running))
                else:
                    with bench.serving(contestant) as (switch, running):
                        found.append(_slot(bench, switch, running))
    return [_slots(contestant, found) for contestant, found in zip(contestants, slots, strict=True)]


@dataclass(frozen=True, slots=True)
class _Slot:
    outcome: Outcome
    cpu: float
    redis: float


def _slot(bench: Bench, switch: StandIn | RealSwitch, running: Running) -> _Slot:
    sizes = bench.sizes
    switch.calls(WHOLE, sizes.warm_up, sizes.rate)
    time.sleep(sizes.settle)
    cpu, redis = running.cpu(), bench.redis_cpu()
    outcome = switch.calls(WHOLE, max(1, round(sizes.rate * sizes.seconds)), sizes.rate)
    time.sleep(sizes.settle)
    return _Slot(outcome, running.cpu() - cpu, bench.redis_cpu() - redis)


def _slots(contestant: Contestant, slots: list[_Slot]) -> Row:
    every = Outcome.together(slot.outcome for slot in slots)
    per_round = [1000 * slot.cpu / slot.outcome.placed for slot in slots]
    return {
        "letter": contestant.letter,
        "contestant": contestant.name,
        "calls": every.placed,
        "cpu_ms_per_call": 1000 * sum(slot.cpu for slot in slots) / every.placed,
        "cpu_ms_by_round": per_round,
        "redis_ms_per_call": 1000 * sum(slot.redis for slot in slots) / every.placed,
        **_delays(every),
    }


def _delays(outcome: Outcome, *names: str) -> Row:
    """The delays in milliseconds, and what was lost."""
    shares = {"first": 0.0, "median": 0.5, "p95": 0.95, "p99": 0.99, "last": 1.0}
    wanted = names or ("median", "p95")
    found: Row = {f"{name}_ms": 1000 * percentile(outcome.delays, shares[name]) for name in wanted}
    return {**found, "lost": dict(outcome.lost)}


# -------------------------------------------------------------------------------------------------- parked


def parked(bench: Bench) -> list[Row]:
    """One controller with thousands of callers who wait; what they take, and how one more is served."""
    sizes = bench.sizes
    room = allow_many_files() - _OTHER_FILES
    rows = []
    with bench.serving(cordboard(1)) as (switch, running):
        first = running.controllers
        switch.stream(SHORT, sizes.warm_up, 20)
        time.sleep(sizes.settle)
        empty = memory(running.controllers)
        probes = switch.calls(SHORT, sizes.probes, 5.0)
        nobody = {"parked": 0, "pss_kb": math.nan, "rss_kb": math.nan, "note": ""}
        rows.append({**nobody, **_delays(probes, "median", "p95", "last")})
        there = 0
        for count in sizes.parked:
            wanted = min(count, room)
            bench.say(f"{wanted} callers wait")
            outcome = switch.park(WAITING, wanted - there, sizes.park_rate)
            there += len(outcome.delays)
            time.sleep(sizes.settle)
            full = memory(running.controllers)
            probes = switch.calls(SHORT, sizes.probes, 5.0)
            notes = ["" if wanted == count else f"open files: {room} at most"]
            notes.append("" if running.controllers == first else "the controller died")
            row = {
                "parked": there,
                "pss_kb": (full.pss - empty.pss) / max(1, there) / 1000,
                "rss_kb": (full.rss - empty.rss) / max(1, there) / 1000,
                **_delays(probes, "median", "p95", "last"),
                "note": ", ".join(filter(None, notes)),
            }
            row["lost"] = dict(Outcome.together([outcome, probes]).lost)
            rows.append(row)
    return rows


# ------------------------------------------------------------------------------------------------ takeover


def takeover(bench: Bench) -> list[Row]:
    """kill -9 of one of two controllers, at least ``count`` calls in a menu being its own."""
    rows = []
    for count in bench.sizes.takeover:
        bench.say(f"takeover of {count} calls")
        with bench.serving(cordboard(2)) as (switch, running):
            switch.stream(SHORT, bench.sizes.warm_up, 20)
            port = running.port

            def owned(pid: int, port: int = port) -> int:
                return connections(pid, port)

            outcome = switch.park(WAITING, count, bench.sizes.park_rate)
            lost = [outcome]
            while max(map(owned, running.controllers)) < count and len(lost) < 20:
                missing = count - max(map(owned, running.controllers))
                lost.append(switch.park(WAITING, missing, bench.sizes.park_rate))
            time.sleep(bench.sizes.settle)
            victim = max(running.controllers, key=owned)
            affected = owned(victim)
            since = running.kill(victim)
            outcome = switch.again(since, affected)
            row = {"calls": affected, **_delays(outcome, "first", "median", "p99", "last")}
            row["lost"] = dict(Outcome.together([*lost, outcome]).lost)
            rows.append(row)
    return rows


# -------------------------------------------------------------------------------------------------- growth


def growth(bench: Bench) -> list[Row]:
    """Very many short calls through one controller, and its memory on the way."""
    sizes = bench.sizes
    rows = []
    with bench.serving(cordboard(1)) as (switch, running):
        first, done = running.controllers, 0
        for share in (0.1, 0.5, 1.0):
            count = max(1, round(sizes.calls * share) - done)
            bench.say(f"short calls: {done} of {sizes.calls} done")
            outcome = switch.stream(SHORT, count, sizes.at_once)
            done += count
            time.sleep(sizes.settle)
            size = memory(running.controllers)
            note = "" if running.controllers == first else "the controller died"
            rows.append(
                {
                    "calls": done,
                    "rss_mb": size.rss / 1e6,
                    "pss_mb": size.pss / 1e6,
                    "calls_per_second": count / outcome.seconds,
                    "lost": dict(outcome.lost),
                    "note": note,
                }
            )
    return rows


# ------------------------------------------------------------------------------------------------- uploads


def stored(bench: Bench) -> list[Row]:
    """One worker of a spool, and rclone's store beside it."""
    bench.say(f"{bench.sizes.uploads} recordings")
    return uploads.measure(bench.directory / "uploads", bench.sizes.uploads)


# ---------------------------------------------------------------------------------------------------- list


@dataclass(frozen=True, slots=True)
class Part:
    """``seconds`` is about how long it takes on a machine that has nothing else to do."""

    title: str
    run: Callable[[Bench], list[Row]]
    seconds: Callable[[Sizes], float]


def _of_slots(sizes: Sizes) -> float:
    return 5 * sizes.rounds * (sizes.seconds + sizes.warm_up / sizes.rate + 2 * sizes.settle + 4)


def _of_parking(sizes: Sizes) -> float:
    return max(sizes.parked) / sizes.park_rate + (1 + len(sizes.parked)) * (sizes.probes / 5 + sizes.settle + 2)


# -------------------------------------------------------------------------------------------- deliveries


def deliveries(bench: Bench) -> list[Row]:
    """What one worker of webhooks sends a second, to one endpoint and to twenty."""
    from scripts.bench.deliveries import measure  # other parts measure memory: they do without its libraries

    rows = []
    for to in (1, 20):
        bench.say(f"deliveries to {to}")
        rows.append(measure(bench.directory / f"deliveries-{to}", bench.sizes.deliveries, to))
    return rows


# ------------------------------------------------------------------------------------------------- check


def checked(bench: Bench) -> list[Row]:
    """``cordboard check`` of directories with many numbers, people, steps and mistakes, as a person starts it."""
    numbers = bench.sizes.numbers
    found = []
    for name, about in {"companies": f"{numbers // 10:,} companies", **_CHECKED}.items():
        directory = bench.directory / f"check-{name}"
        if name == "companies":
            companies.many(directory, companies=max(1, numbers // 10), numbers=10)
        else:
            directory.mkdir()
            size = numbers if name == "numbers" else numbers // 2
            (directory / f"{name}.yaml").write_text(companies.SHAPES[name](size), encoding="utf-8")
        bench.say(f"check: {about.format(numbers, numbers // 2)}")
        found.append({"what": about.format(numbers, numbers // 2), **_check(directory)})
    return found


_CHECKED = {
    "numbers": "one company, {0:,} numbers, {1:,} people",
    "steps": "one flow of {1:,} menus, {1:,} people",
    "lists": "a list of {1:,} callers, a group of {1:,} people",
    "mistakes": "twice {1:,} mistakes",
}


def _check(directory: Path) -> Row:
    command = [str(Path(sys.executable).parent / "cordboard"), "check", str(directory)]
    before, began = os.times(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    after, took = os.times(), time.monotonic() - began
    if done.returncode not in (0, 1):
        raise BenchError(f"cordboard check ended with {done.returncode}: {done.stderr[-300:]}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    size = sum(path.stat().st_size for path in directory.iterdir())
    return {"mb": size / 1e6, "seconds": took, "cpu_seconds": cpu, "problems": len(done.stdout.splitlines())}


PARTS: Mapping[str, Part] = {
    "calls": Part("side by side", side_by_side, _of_slots),
    "parked": Part("callers who wait, on one controller", parked, _of_parking),
    "takeover": Part(
        "one of two controllers killed", takeover, lambda s: sum(2 * n / s.park_rate + 10 for n in s.takeover)
    ),
    "growth": Part("short calls, one controller", growth, lambda s: 5 + s.calls / 350),
    "deliveries": Part("webhooks, by one worker", deliveries, lambda s: 5 + 2 * s.deliveries / 200),
    "check": Part("cordboard check", checked, lambda s: 2 + s.numbers / 500),
    "uploads": Part("recordings of ten seconds to a store on this machine", stored, lambda s: 5 + s.uploads / 10),
}
