"""Rehearsals: a whole call walked offline, with a clock, keys and telephones that the operator wrote down.

The same ``Call`` that serves callers runs here against a :class:`Walk`, which performs its commands on a
clock of its own.  Whatever the call needs to know and the rehearsal does not say ends it with a question:
a rehearsal never guesses.  In a queue its caller is the only one, and all agents have been idle for equally long.

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
from callcontrol.routing.model import Queue, QueueAgent, Rehearsal, Routing

#: How long things take in a rehearsal, seconds.
PROMPT = 2.0
RINGS_BEFORE_ANSWER = 4.0
MESSAGE = 10.0
ANSWER = 0.3
#: A walk longer than this never ends, seconds of the call's own clock.
LONGEST = 24 * 3600.0
#: What an operator may say that a telephone does, and the result of its leg.
PHONES = ("answers", "busy", "no_answer", "unreachable", "declined")
#: And that an agent is, instead of taking calls in one of these ways.
AWAY = ("paused", "logged_out")

#: Whether the walk has reached its end, when its caller joins this queue after these visits.
EndsHere = Callable[[str, "Sequence[Visit]"], bool]


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
    ``question`` asks for what was not given, while the caller stood in ``queue``, if in any.
    """

    visits: tuple[Visit, ...]
    ends: Mapping[str, Any]
    question: str = ""
    unused_keys: tuple[str, ...] = ()
    queue: str = ""


class _Question(Exception):
    """The walk needs to know something that was not given."""


class _WhatAgent(_Question):
    """What an agent does was not given."""


@dataclass(slots=True)
class _Asked:
    """An agent of a queue, as the walk goes on."""

    agent: QueueAgent
    index: int
    idle: float = 0.0  # free since then, or from then on
    asked: float = 0.0
    misses: int = 0  # in a row
    rings: bool = False
    paused: bool = False


class _Line:
    """The queue that the caller stands in: whom it asks, and in which order."""

    def __init__(self, queue: Queue, skills: Iterable[str], given: Mapping[str, str], now: float) -> None:
        self.queue = queue
        self._given = given
        self._began = now
        self._skills = frozenset(skills)
        self._agents = [_Asked(agent, index) for index, agent in enumerate(queue.agents)]

    def does(self, agent: str) -> str:
        """What the agent does; asks if that was not given."""
        result = self._given.get(agent)
        if result is None:
            raise _WhatAgent(
                f"what does agent {agent} do when a call is offered? Say it: "
                f"given: {{agents: {{{agent}: answers}}}} (or {', '.join((*PHONES[1:], *AWAY))})"
            )
        return result

    @property
    def outcome(self) -> str:
        """Why nobody can serve the queue, or nothing if somebody can."""
        for one in self._agents:
            if not one.paused and self.does(one.agent.agent) not in AWAY:
                return ""
        out = all(self.does(one.agent.agent) == "logged_out" for one in self._agents)
        return "no_agents" if out else "paused"

    def next(self, now: float) -> list[str]:
        """Who is asked now."""
        together = self.queue.strategy == "ring-all"
        if not together and any(one.rings for one in self._agents):
            return []
        found = []
        for one in sorted((one for one in self._agents if self._may(one, now)), key=self._standing):
            if self.does(one.agent.agent) not in AWAY:
                one.rings, one.asked = True, now
                found.append(one.agent.agent)
                if not together:
                    break
        return found

    def _may(self, one: _Asked, now: float) -> bool:
        opens = self._began + self.queue.levels.get(one.agent.level, 0.0)
        return (
            not one.rings
            and not one.paused
            and now >= max(one.idle, opens)
            and self._skills <= frozenset(one.agent.skills)
        )

    def _standing(self, one: _Asked) -> tuple[int, float, int]:
        since = {"longest-idle": one.idle, "round-robin": one.asked}.get(self.queue.strategy, 0.0)
        return one.agent.level, since, one.index

    def rings(self, agent: str) -> bool:
        """Whether the call is offered to the agent just now."""
        return any(one.rings for one in self._agents if one.agent.agent == agent)

    def missed(self, miss: m.Miss, now: float) -> None:
        """The agent did not take the call."""
        for one in self._agents:
            if one.agent.agent == miss.agent:
                one.rings, one.idle = False, now + miss.delay
                one.misses += miss.result != "busy"
                one.paused = miss.pause_after is not None and one.misses >= miss.pause_after


class Walk:
    """Performs one call's commands on a clock of its own.  ``ends_here`` is None unless a queue is the expected end."""

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
        agents: Mapping[str, str] | None = None,
        switches: Mapping[str, str] | None = None,
        ends_here: EndsHere | None = None,
    ) -> None:
        self._routing = routing
        self._now = at.replace(tzinfo=ZoneInfo(routing.timezone)).timestamp()
        self._until = self._now + LONGEST
        self._press = list(press)
        self._phones = dict(phones or {})
        self._lookups = dict(lookups or {})
        self._given_agents = dict(agents or {})
        self._ends_here = ends_here
        self._line: _Line | None = None
        self._offers = 0
        number = routing.numbers.get(called)
        self._home = number.flow if number else ""
        self._agenda: list[tuple[float, int, m.Event | Callable[[], None]]] = []
        self._order = itertools.count()
        self._alarm: float | None = None
        self._rung: dict[str, m.Phone] = {}
        self._ends: dict[str, Any] = {}
        self._done = False
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
            if self._line is not None and self._ends_here is not None and isinstance(error, _WhatAgent):
                self._ends = {"queue": self._line.queue.name}  # the one expected, or the one it got no further than
            else:
                question = str(error)
        queue = self._line.queue.name if self._line is not None else ""
        return Journey(tuple(self._visits), self._ends, question, tuple(self._press), queue)

    def _next(self) -> None:
        event: m.Event | Callable[[], None]
        if self._alarm is not None and (not self._agenda or self._agenda[0][0] > self._alarm):
            self._now, event = max(self._now, self._alarm), m.TimeCame()
            self._alarm = None
        elif self._agenda:
            self._now, _, event = heapq.heappop(self._agenda)
        else:
            raise _Question("the call waits for something that a rehearsal does not have")
        if self._now > self._until:
            raise _Question("after 24 hours the call was still not over")
        if isinstance(event, m.Event):
            self._perform(self._call.handle(event, self._now))
        else:
            event()

    def _later(self, seconds: float, event: m.Event | Callable[[], None]) -> None:
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
            asks = command.bargein or (self._line is not None and self._leaving_keys())
            pressed = asks and self._presses(0.1)
            self._later(0.2 if pressed and command.bargein else PROMPT, m.PlayEnded(command.id))
        elif isinstance(command, m.StopPlay):
            self._later(0.0, m.PlayEnded(command.id))
        elif isinstance(command, m.RingLeg):
            self._ring(command)
        elif isinstance(command, m.Enter):
            self._enter(command)
        elif isinstance(command, m.Miss):
            self._missed(command)
        elif isinstance(command, m.Take):
            self._later(0.0, m.Taken(command.offer, True))
        elif isinstance(command, m.AskPlace):
            self._later(0.0, m.PlaceTold(1))
        elif isinstance(command, m.Leave):
            self._line = None
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

    def _presses(self, after: float) -> bool:
        """Press the keys of the next item that the operator wrote.  Returns whether there were any."""
        keys = self._press.pop(0) if self._press else ""
        for key in keys:
            self._later(after, m.Digit(key))
        return bool(keys)

    # ------------------------------------------------------------------------------------------------ queues

    def _enter(self, command: m.Enter) -> None:
        line = _Line(self._routing.queues[command.queue], command.skills, self._given_agents, self._now)
        self._line, self._offers = line, command.first - 1
        outcome = line.outcome
        if outcome and command.patience <= 0:
            self._later(0.0, m.NotEntered(outcome))
            return
        if self._ends_here is not None and self._ends_here(command.queue, self._visits):
            self._ends, self._done = {"queue": command.queue}, True
            return
        self._later(0.0, m.Entered(1))
        if outcome:
            self._later(0.0, m.Staffed(outcome))
        if self._leaving_keys() and not line.queue.announce:
            self._presses(PROMPT)
        for opens in {0.0, *line.queue.levels.values()}:
            self._later(opens, self._offer)

    def _leaving_keys(self) -> bool:
        """Whether keys lead out of the queue that the caller stands in."""
        step = self._routing.step(self._visits[-1].flow, self._visits[-1].step)
        queue = self._line.queue.keys if self._line is not None else {}
        return bool(queue or (step is not None and step.values.get("keys")))

    def _offer(self) -> None:
        for agent in self._line.next(self._now) if self._line is not None else ():
            self._offers += 1
            self._later(0.0, m.Offered(self._offers, agent))

    def _missed(self, miss: m.Miss) -> None:
        line = self._line
        if line is not None:
            line.missed(miss, self._now)
            if outcome := line.outcome:
                self._later(0.0, m.Staffed(outcome))
            self._later(0.0, self._offer)
            self._later(miss.delay, self._offer)

    def _ring_agent(self, command: m.RingLeg, result: str) -> None:
        """Only what the agent does is known, not with which of their telephones: it is all the same."""
        if result == "answers":
            self._later(RINGS_BEFORE_ANSWER, m.LegReady(command.leg))
        elif result != "no_answer":
            self._later(0.5, m.LegFailed(command.leg, result))
        self._rung[command.leg] = command.phone

    # -------------------------------------------------------------------------------------------- telephones

    def _ring(self, command: m.RingLeg) -> None:
        person, address = command.phone.person, command.phone.address
        if self._line is not None and self._line.rings(person):
            self._ring_agent(command, self._line.does(person))
            return
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
    """One rehearsal's verdict: ``passed`` or ``failed``."""

    rehearsal: Rehearsal
    journey: Journey
    verdict: str
    reason: str = ""


def rehearse(routing: Routing, rehearsal: Rehearsal) -> Result:
    """Walk one rehearsal and judge it."""
    given = rehearsal.given
    wanted = rehearsal.ends.get("queue") if isinstance(rehearsal.ends, Mapping) else None

    def ends_here(queue: str, visits: Sequence[Visit]) -> bool:
        way = rehearsal.path is None or _matches(rehearsal.path, _names(routing, rehearsal, visits))
        return queue == wanted and way

    walk = Walk(
        routing,
        caller=rehearsal.caller,
        called=rehearsal.called,
        at=rehearsal.at,
        press=rehearsal.press,
        phones=given.get("phones", {}),
        lookups=given.get("lookups", {}),
        agents=given.get("agents", {}),
        switches=given.get("switches", {}),
        ends_here=ends_here if wanted else None,
    )
    journey = walk.run()
    walked = _names(routing, rehearsal, journey.visits)
    if journey.question:
        end = f"; if it ends in the queue: ends: {{queue: {journey.queue}}}"
        hint = end if journey.queue and rehearsal.ends is None else ""
        return Result(rehearsal, journey, "failed", journey.question + hint)
    if rehearsal.path is not None and not _matches(rehearsal.path, walked):
        return Result(rehearsal, journey, "failed", "the call went another way")
    if rehearsal.ends is not None and _end(rehearsal.ends) != _end(journey.ends):
        return Result(rehearsal, journey, "failed", "the call ended otherwise")
    if journey.unused_keys:
        return Result(rehearsal, journey, "failed", f"nobody asked for these keys: {', '.join(journey.unused_keys)}")
    return Result(rehearsal, journey, "passed")


def _names(routing: Routing, rehearsal: Rehearsal, visits: Iterable[Visit]) -> list[str]:
    number = routing.numbers.get(rehearsal.called)
    home = number.flow if number else ""
    return [visit.step if visit.flow == home else f"{visit.flow}/{visit.step}" for visit in visits]


def _matches(expected: Sequence[str], walked: Sequence[str]) -> bool:
    """Whether ``walked`` is ``expected``, where ``...`` stands for any number of steps."""
    if not expected:
        return not walked
    if expected[0] == "...":
        return any(_matches(expected[1:], walked[skip:]) for skip in range(len(walked) + 1))
    return bool(walked) and walked[0] == expected[0] and _matches(expected[1:], walked[1:])


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
    counts = {"passed": 0, "failed": 0}
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
    say(f"{total} {'rehearsal' if total == 1 else 'rehearsals'}: {counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


def _told(routing: Routing, result: Result) -> list[str]:
    rehearsal, journey = result.rehearsal, result.journey
    if result.verdict == "passed":
        return [f"  passed   {rehearsal.name}"]
    walked = [*_names(routing, rehearsal, journey.visits)]
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
