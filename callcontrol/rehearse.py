"""Rehearsals: a whole call walked offline, with a clock, keys and telephones that the operator wrote down.

The same ``Call`` that serves callers runs here against a :class:`Walk`, which performs its commands on a
clock of its own.  Whatever the call needs to know and the rehearsal does not say ends it with a question:
a rehearsal never guesses.

The surprise: a walk ends where the operator's interest ends (a talk, a message, a queue), not at the hangup.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from callcontrol import messages as m
from callcontrol.call import Call
from callcontrol.routing.load import check_loaded, load_directory
from callcontrol.routing.model import Rehearsal, Routing

#: How long things take in a rehearsal, seconds.
PROMPT = 2.0
RINGS_BEFORE_ANSWER = 4.0
MESSAGE = 10.0
ANSWER = 0.3
#: A walk longer than this never ends, seconds of the call's own clock.
LONGEST = 24 * 3600.0
#: What an operator may say that a telephone does, and the result of its leg.
PHONES = ("answers", "busy", "no_answer", "unreachable", "declined")


@dataclass(frozen=True, slots=True)
class Visit:
    """One step of a journey: where, and why it went on as it did."""

    flow: str
    step: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """What became of a rehearsed call.

    ``ends`` is like ``{"talk": "301"}``, ``{"voicemail": ("301", "302")}``, ``{"hangup": "busy"}``;
    ``question`` asks for what was not given; ``not_yet`` names a verb that is not built.
    """

    visits: tuple[Visit, ...]
    ends: Mapping[str, Any]
    question: str = ""
    not_yet: str = ""
    unused_keys: tuple[str, ...] = ()


class _Question(Exception):
    """The walk needs to know something that was not given."""


class Walk:
    """Performs one call's commands on a clock of its own."""

    def __init__(
        self,
        routing: Routing,
        *,
        caller: str | None,
        called: str,
        at: dt.datetime,
        press: Iterable[str] = (),
        phones: Mapping[str, str] | None = None,
        lookups: Mapping[str, str | Mapping[str, str]] | None = None,
        switches: Mapping[str, str] | None = None,
    ) -> None:
        self._routing = routing
        self._now = at.replace(tzinfo=ZoneInfo(routing.timezone)).timestamp()
        self._until = self._now + LONGEST
        self._press = list(press)
        self._phones = dict(phones or {})
        self._lookups = dict(lookups or {})
        number = routing.numbers.get(called)
        self._home = number.flow if number else ""
        self._agenda: list[tuple[float, int, m.Event]] = []
        self._order = itertools.count()
        self._alarm: float | None = None
        self._rung: dict[str, m.Phone] = {}
        self._ends: dict[str, Any] = {}
        self._done = False
        self._not_yet = ""
        self._visits: list[Visit] = []
        on = frozenset(name for name, state in (switches or {}).items() if state == "on")
        self._call = Call(
            routing,
            call_id="rehearsal",
            caller=caller,
            called=called,
            now=self._now,
            switched_on=on.__contains__,
        )

    def run(self) -> Journey:
        """Walk to the end."""
        question = ""
        try:
            self._perform(self._call.begin(self._now))
            while not self._done:
                self._next()
        except _Question as error:
            question = str(error)
        return Journey(tuple(self._visits), self._ends, question, self._not_yet, tuple(self._press))

    def _next(self) -> None:
        event: m.Event
        if self._alarm is not None and (not self._agenda or self._agenda[0][0] > self._alarm):
            self._now, event = max(self._now, self._alarm), m.TimeCame()
            self._alarm = None
        elif self._agenda:
            self._now, _, event = heapq.heappop(self._agenda)
        else:
            raise _Question("the call waits for something that a rehearsal does not have")
        if self._now > self._until:
            raise _Question("after 24 hours the call was still not over")
        self._perform(self._call.handle(event, self._now))

    def _later(self, seconds: float, event: m.Event) -> None:
        heapq.heappush(self._agenda, (self._now + seconds, next(self._order), event))

    def _perform(self, commands: Sequence[m.Command]) -> None:
        for command in commands:
            if self._done:
                return
            self._one(command)

    def _one(self, command: m.Command) -> None:
        if isinstance(command, m.Tell):
            self._told(command)
        elif isinstance(command, m.WakeAt):
            self._alarm = command.at
        elif isinstance(command, m.Answer):
            self._later(0.0, m.Answered())
        elif isinstance(command, m.Play) and not command.loop:
            keys = self._press.pop(0) if command.bargein and self._press else ""
            for key in keys:
                self._later(0.1, m.Digit(key))
            self._later(0.2 if keys else PROMPT, m.PlayEnded(command.id))
        elif isinstance(command, m.RingLeg):
            self._ring(command)
        elif isinstance(command, m.Join):
            phone = self._rung[command.leg]
            self._ends = {"talk": phone.person or phone.address}
            self._done = True
        elif isinstance(command, m.Record):
            self._later(min(MESSAGE, command.seconds), m.RecordEnded(command.id, command.name, MESSAGE))
        elif isinstance(command, m.Lookup):
            self._look_up(command)
        elif isinstance(command, m.Hangup):
            self._ends = self._ends or {"hangup": command.reason}
            self._done = True

    def _ring(self, command: m.RingLeg) -> None:
        person, address = command.phone.person, command.phone.address
        result = self._phones.get(address, self._phones.get(person))
        if result is None:
            whose = f"the phone of {person}" if address == person else f"the phone {address} of {person}"
            key = f'"{address}"' if command.phone.outside else person
            raise _Question(
                f"what does {whose if person else f'the phone {address}'} do? Say it: "
                f"given: {{phones: {{{key}: answers}}}} (or {', '.join(PHONES[1:])})"
            )
        self._rung[command.leg] = command.phone
        if result == "answers":
            self._later(RINGS_BEFORE_ANSWER, m.LegReady(command.leg))
        elif result != "no_answer":
            self._later(0.5, m.LegFailed(command.leg, result))

    def _look_up(self, command: m.Lookup) -> None:
        visit = self._visits[-1]
        whole = f"{visit.flow}/{visit.step}"
        name = visit.step if visit.flow == self._home else whole
        given = self._lookups.get(name, self._lookups.get(whole))
        if given is None:
            values = ", ".join(f'{variable}: "301"' for variable in command.wanted)
            raise _Question(
                f'what does the lookup "{name}" answer? Say it: given: {{lookups: {{{name}: {{{values}}}}}}}'
                " (or failed, not_found)"
            )
        if isinstance(given, str):
            answer = m.LookedUp(command.id, given, why=f"given as {given}")
        else:
            answer = m.LookedUp(command.id, "then", given)
        self._later(min(ANSWER, command.seconds), answer)

    def _told(self, fact: m.Tell) -> None:
        if fact.type == "step.entered":
            self._visits.append(Visit(fact.data["flow"], fact.data["step"]))
        elif fact.type == "step.left" and self._visits:
            last = self._visits[-1]
            self._visits[-1] = Visit(last.flow, last.step, str(fact.data.get("why", "")))
        elif fact.type in ("message.recorded", "message.empty"):
            self._ends = {"voicemail": tuple(fact.data["for"])}
            self._done = True
        elif fact.type == "step.failed":
            raise _Question(f"the step crashed: {fact.data['error']}")


@dataclass(frozen=True, slots=True)
class Result:
    """One rehearsal's verdict: ``passed``, ``failed`` or ``not yet``."""

    rehearsal: Rehearsal
    journey: Journey
    verdict: str
    reason: str = ""


def rehearse(routing: Routing, rehearsal: Rehearsal) -> Result:
    """Walk one rehearsal and judge it."""
    given = rehearsal.given
    walk = Walk(
        routing,
        caller=rehearsal.caller,
        called=rehearsal.called,
        at=rehearsal.at,
        press=rehearsal.press,
        phones=given.get("phones", {}),
        lookups=given.get("lookups", {}),
        switches=given.get("switches", {}),
    )
    journey = walk.run()
    walked = _names(routing, rehearsal, journey)
    if journey.question:
        return Result(rehearsal, journey, "failed", journey.question)
    if journey.not_yet:
        if rehearsal.path is not None and not _may_begin(rehearsal.path, walked):
            return Result(rehearsal, journey, "failed", "the call went another way")
        return Result(rehearsal, journey, "not yet", f"needs {journey.not_yet}")
    if rehearsal.path is not None and not _matches(rehearsal.path, walked):
        return Result(rehearsal, journey, "failed", "the call went another way")
    if rehearsal.ends is not None and _end(rehearsal.ends) != _end(journey.ends):
        return Result(rehearsal, journey, "failed", "the call ended otherwise")
    if journey.unused_keys:
        return Result(rehearsal, journey, "failed", f"nobody asked for these keys: {', '.join(journey.unused_keys)}")
    return Result(rehearsal, journey, "passed")


def _names(routing: Routing, rehearsal: Rehearsal, journey: Journey) -> list[str]:
    number = routing.numbers.get(rehearsal.called)
    home = number.flow if number else ""
    return [visit.step if visit.flow == home else f"{visit.flow}/{visit.step}" for visit in journey.visits]


def _matches(expected: Sequence[str], walked: Sequence[str]) -> bool:
    """Whether ``walked`` is ``expected``, where ``...`` stands for any number of steps."""
    if not expected:
        return not walked
    if expected[0] == "...":
        return any(_matches(expected[1:], walked[skip:]) for skip in range(len(walked) + 1))
    return bool(walked) and walked[0] == expected[0] and _matches(expected[1:], walked[1:])


def _may_begin(expected: Sequence[str], walked: Sequence[str]) -> bool:
    """Whether a journey that begins like ``walked`` can still become ``expected``."""
    if not walked:
        return True
    if not expected:
        return False
    if expected[0] == "...":
        return any(_may_begin(expected[1:], walked[skip:]) for skip in range(len(walked) + 1))
    return walked[0] == expected[0] and _may_begin(expected[1:], walked[1:])


def _end(ends: Mapping[str, Any] | str) -> str:
    """An end as one line: ``talk 301``, ``voicemail 301, 302``, ``hangup busy``; ``hangup`` is any other."""
    if isinstance(ends, str):
        return ends
    for kind, what in ends.items():
        if kind == "hangup" and what == "normal":
            return "hangup"
        if isinstance(what, list | tuple):
            what = ", ".join(str(item) for item in what)
        return f"{kind} {what}"
    return "nothing"


def rehearse_directory(directory: Path, company: str | None, say: Callable[[str], Any]) -> int:
    """Rehearse every company and tell ``say`` line by line.  Returns the exit code: 1 if one failed."""
    loaded = load_directory(directory)
    broken = [problem for problem in check_loaded(loaded) if problem.severity == "error"]
    for problem in broken:
        say(str(problem))
    if broken:
        return 1
    known = [entry.company for entry in loaded]
    if company is not None and company not in known:
        say(f"there is no company {company!r} here; there is: {', '.join(known) or 'none'}")
        return 2
    if not known:
        say(f"{directory}: there is no company here: no file that ends in .yaml")
        return 1
    counts = {"passed": 0, "not yet": 0, "failed": 0}
    for entry in loaded:
        if entry.routing is None or (company and entry.routing.company != company):
            continue
        say(f"{entry.routing.company}: {entry.routing.title}")
        if not entry.routing.rehearsals:
            say("  no rehearsals")
        for rehearsal in entry.routing.rehearsals:
            result = rehearse(entry.routing, rehearsal)
            counts[result.verdict] += 1
            for line in _told(entry.routing, result):
                say(line)
    total = sum(counts.values())
    say(
        f"{total} {'rehearsal' if total == 1 else 'rehearsals'}: {counts['passed']} passed, "
        f"{counts['not yet']} not yet, {counts['failed']} failed"
    )
    return 1 if counts["failed"] else 0


def _told(routing: Routing, result: Result) -> list[str]:
    rehearsal, journey = result.rehearsal, result.journey
    if result.verdict == "passed":
        return [f"  passed   {rehearsal.name}"]
    if result.verdict == "not yet":
        return [f"  not yet: {result.reason}  ({rehearsal.name})"]
    walked = [*_names(routing, rehearsal, journey)]
    whys = [visit.why.rpartition("; ")[2] for visit in journey.visits]  # the last reason is the one that decided
    expected = list(rehearsal.path) if rehearsal.path is not None else ["(any way)"]
    end = f"ends: {_end(rehearsal.ends)}" if rehearsal.ends is not None else ""
    left = [*expected, *[""] * (max(len(expected), len(walked)) - len(expected)), end]
    right = [*walked, *[""] * (max(len(expected), len(walked)) - len(walked)), f"ends: {_end(journey.ends)}"]
    whys += [""] * (len(left) - len(whys))
    width = max(len("expected"), *(len(text) for text in left)) + 3
    other = max(len("walked"), *(len(text) for text in right)) + 3
    lines = [
        f"  FAILED   {rehearsal.name}: {result.reason}",
        f"           {rehearsal.place}",
        f"             {'expected':<{width}}{'walked':<{other}}because",
    ]
    for ours, theirs, why in zip(left, right, whys, strict=False):
        mark = " " if ours == theirs or ours in ("...", "(any way)") else "≠"
        lines.append(f"           {mark} {ours:<{width}}{theirs:<{other}}{why}".rstrip())
    return lines


__all__ = ["Journey", "Result", "Visit", "Walk", "rehearse", "rehearse_directory"]
