"""A walk: one whole call offline, on a clock of its own.

The same ``Call`` that serves callers runs here; :class:`Walk` performs its commands.  Whatever the call needs to know
and routing does not say (which keys are pressed, what a telephone does) is a :class:`Question`, put to whoever walks:
a rehearsal answers what an operator wrote down, ``cordboard try`` asks a person, the explorer gives every answer in
turn, the journal what had really happened.  A question that nobody answers ends the walk: it never guesses.

In a queue the caller is the only one, and all agents have been idle for equally long.  The surprise: a walk ends where
an operator's interest ends (a talk, a message, a queue that is the expected end), not at the hangup, unless it is asked
``to_the_end``: then a talk lasts a minute and comes back as a takeover does, and only the caller's channel ends it.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from callcontrol import messages as m
from callcontrol.call import Call, Life, epilogue
from callcontrol.routing.model import Queue, QueueAgent, Routing
from callcontrol.state import decode

#: How long things take in a walk, seconds.
PROMPT = 2.0
RINGS_BEFORE_ANSWER = 4.0
MESSAGE = 10.0
ANSWER = 0.3
TALK = 60.0
#: How long the switch takes to join two channels, to end one, and to close its files after that.
JOINING, ENDING, CLOSING = 0.05, 0.1, 0.1
#: How long what must be finished when the caller has left may take, before the call is closed without it.
FINISHING = 30.0
#: A walk longer than this never ends, seconds of the call's own clock.
LONGEST = 24 * 3600.0
#: And one of more events than these does not end in a time that anybody waits for: about a second.
MOST_EVENTS = 50_000
#: What the call's machine calls the call; nobody sees it.
CALL_ID = "rehearsal"
#: What a telephone may do, and the result of its leg.
PHONES = ("answers", "busy", "no_answer", "unreachable", "declined")
#: And what an agent is, instead of taking calls in one of these ways.
AWAY = ("paused", "logged_out")
#: How a lookup may end without values.
LOST = ("not_found", "failed")


@dataclass(frozen=True, slots=True)
class Question:
    """What a walk has to know.

    ===========  =======================================  ==========================================================
    ``kind``     ``subject``                              the answer
    ===========  =======================================  ==========================================================
    ``keys``     the step that asks, ``flow/step``        the keys that are pressed now, "" none; never None
    ``phone``    the address: an extension or E.164       one of :data:`PHONES`
    ``agent``    the extension                            one of :data:`PHONES` or :data:`AWAY`; the same for ever
    ``lookup``   the step that asks, ``flow/step``        variable → value, or one of :data:`LOST`
    ``switch``   the name of its hours                    ``on`` or ``off``; None is off
    ===========  =======================================  ==========================================================

    ``options``: answers between which routing makes a difference, the likeliest first (of a lookup there may be any
    other mapping with the keys ``wanted``; for keys, one example of each way to go on, with "" and, where that means
    something, keys that mean nothing there).  ``person``: whose telephone it is, an extension or "".  ``again``: how
    often the same was asked before.  ``at``: the UTC epoch.  ``home``: the flow in which the call began; names of its
    steps may stand alone.
    """

    kind: str
    subject: str
    options: tuple[str, ...] = ()
    at: float = 0.0
    again: int = 0
    person: str = ""
    outside: bool = False
    wanted: tuple[str, ...] = ()
    home: str = ""

    @property
    def text(self) -> str:
        """The question for an operator, and how a rehearsal says the answer."""
        name = self.subject.removeprefix(f"{self.home}/")
        if self.kind == "agent":
            return (
                f"what does agent {self.subject} do when a call is offered? Say it: "
                f"given: {{agents: {{{self.subject}: answers}}}} (or {', '.join((*PHONES[1:], *AWAY))})"
            )
        if self.kind == "phone":
            address, person = self.subject, self.person
            whose = f"the phone of {person}" if address == person else f"the phone {address} of {person}"
            key = f'"{address}"' if self.outside else person
            return (
                f"what does {whose if person else f'the phone {address}'} do? Say it: "
                f"given: {{phones: {{{key}: answers}}}} (or {', '.join(PHONES[1:])})"
            )
        if self.kind == "lookup":
            values = ", ".join(f'{variable}: "301"' for variable in self.wanted)
            return (
                f'what does the lookup "{name}" answer? Say it: given: {{lookups: {{{name}: '
                f"{{{values}}}}}}} (or failed, not_found)"
            )
        if self.kind == "switch":
            return f"is the switch {self.subject} on? Say it: given: {{switches: {{{self.subject}: on}}}}"
        return f"which keys does the caller press in {name}?"


#: Keys, a word, or what a lookup brought; None: unknown, and the walk ends with the question.
Answer = str | Mapping[str, str] | None
#: Whoever knows: called once for each question, in the order in which the call comes to them.
World = Callable[[Question], Answer]
#: Told every command that is performed, with the walk's UTC epoch: what is heard, rung, told.
Watch = Callable[[float, m.Command], object]
#: Asked before every event of a walk: what the caller does although nobody asks, a key or hanging up; None: nothing.
Unasked = Callable[[float], m.Event | None]

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
    ``question`` asks for what nobody knew, while the caller stood in ``queue``, if in any.  ``asked``: every question
    that was answered, with its answer, in their order.  ``events``: how many it took, which is its cost.
    """

    visits: tuple[Visit, ...]
    ends: Mapping[str, Any]
    question: str = ""
    queue: str = ""
    asked: tuple[tuple[Question, Answer], ...] = ()
    events: int = 0


class _Unanswered(Exception):
    """The walk needs to know something that nobody knows."""


class _WhatAgent(_Unanswered):
    """What an agent does is not known."""


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

    def __init__(self, queue: Queue, skills: Iterable[str], does: Callable[[str], str], now: float) -> None:
        self.queue = queue
        self.does = does
        self._began = now
        self._skills = frozenset(skills)
        self._agents = [_Asked(agent, index) for index, agent in enumerate(queue.agents)]

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
    """Performs one call's commands on a clock of its own.

    ``caller``: E.164, or None: withheld.  ``at``: local to the company's zone, naive; or a UTC epoch.  ``ends_here`` is
    None unless a queue is the expected end.  ``phone``: the extension of our own telephone that dials ``called``.
    ``full``: whether a queue takes no more callers; without it none ever is.
    """

    def __init__(
        self,
        routing: Routing,
        *,
        caller: str | None,
        called: str,
        at: dt.datetime | float,
        world: World,
        ends_here: EndsHere | None = None,
        watch: Watch = lambda at, command: None,
        phone: str | None = None,
        to_the_end: bool = False,
        unasked: Unasked = lambda at: None,
        full: Callable[[str], bool] = lambda queue: False,
    ) -> None:
        self._routing = routing
        self._caller, self._called, self._phone = caller, called, phone
        self._to_the_end, self._unasked, self._full = to_the_end, unasked, full
        self._events = 0
        self._checkpoint = ""
        self._joined = ""  # the leg that the caller was joined with last
        self._talks: str | None = None  # the leg that the caller talks with, while nobody owns the call
        self._records: dict[int, tuple[str, float]] = {}
        self._now = at.replace(tzinfo=ZoneInfo(routing.timezone)).timestamp() if isinstance(at, dt.datetime) else at
        self._until = self._now + LONGEST
        self._world = world
        self._watch = watch
        self._asked: list[tuple[Question, Answer]] = []
        number = routing.numbers.get(called)
        self._home = number.flow if number else ""
        self._times: dict[tuple[str, str], int] = {}
        self._agents: dict[str, str] = {}
        self._switches: dict[str, bool] = {}
        self._ends_here = ends_here
        self._line: _Line | None = None
        self._offers = 0
        self._agenda: list[tuple[float, int, m.Event | Callable[[], None]]] = []
        self._order = itertools.count()
        self._alarm: float | None = None
        self._rung: dict[str, m.Phone] = {}
        self._ends: dict[str, Any] = {}
        self._done = False
        self._visits: list[Visit] = []
        self._call = self._new_call()

    def _new_call(self, **more: Any) -> Call:
        return Call(
            self._routing,
            call_id=CALL_ID,
            caller=self._caller,
            called=self._called,
            extension=self._phone,
            now=self._now,
            switched_on=self._switched_on,
            **more,
        )

    def run(self) -> Journey:
        """Walk to the end."""
        question = ""
        try:
            self._perform(self._call.begin(self._now))
            while not self._done:
                self._next()
        except _Unanswered as error:
            if self._line is not None and self._ends_here is not None and isinstance(error, _WhatAgent):
                self._ends = {"queue": self._line.queue.name}  # the one expected, or the one it got no further than
            else:
                question = str(error)
        queue = self._line.queue.name if self._line is not None else ""
        return Journey(tuple(self._visits), self._ends, question, queue, tuple(self._asked), self._events)

    # --------------------------------------------------------------------------------------------- questions

    def _ask(self, kind: str, subject: str, options: tuple[str, ...], **more: Any) -> Answer:
        """The world's answer.  Raises _Unanswered for None, but for switches."""
        again = self._times.get((kind, subject), 0)
        self._times[kind, subject] = again + 1
        question = Question(kind, subject, options, self._now, again, home=self._home, **more)
        answer = self._world(question)
        if answer is None and kind != "switch":
            raise (_WhatAgent if kind == "agent" else _Unanswered)(question.text)
        self._asked.append((question, answer))
        return answer

    def _agent(self, agent: str) -> str:
        """What the agent does, the same as long as the call lives."""
        if agent not in self._agents:
            self._agents[agent] = str(self._ask("agent", agent, (*PHONES, *AWAY)))
        return self._agents[agent]

    def _switched_on(self, name: str) -> bool:
        if name not in self._switches:
            self._switches[name] = self._ask("switch", name, ("off", "on")) == "on"
        return self._switches[name]

    def _next(self) -> None:
        event: m.Event | Callable[[], None]
        self._events += 1
        if self._events > MOST_EVENTS:
            raise _Unanswered("the call goes round and round: it was not over after all that a walk may take")
        done = self._unasked(self._now)
        if done is not None:
            event = done
        elif self._alarm is not None and (not self._agenda or self._agenda[0][0] > self._alarm):
            self._now, event = max(self._now, self._alarm), m.TimeCame()
            self._alarm = None
        elif self._agenda:
            self._now, _, event = heapq.heappop(self._agenda)
        else:
            raise _Unanswered("the call waits for something that a rehearsal does not have")
        if self._now > self._until:
            raise _Unanswered("after 24 hours the call was still not over")
        if isinstance(event, m.Event):
            self._happens(event)
        else:
            event()

    def _happens(self, event: m.Event) -> None:
        """Something happened to the call, or to its talk, which nobody owns."""
        if self._talks is None:
            if isinstance(event, m.HungUp):
                for number, (name, since) in self._records.items():
                    self._later(CLOSING, m.RecordEnded(number, name, self._now - since))
                self._later(FINISHING, self._close)
            self._perform(self._call.handle(event, self._now))
            self._done |= self._call.over and self._call.life is Life.ENDED
        elif isinstance(event, m.HungUp):
            state = decode(self._checkpoint)
            self._perform(
                epilogue(self._routing, state, CALL_ID, cause=event.cause, answered=True, now=self._now),
            )
            self._done = True

    def _close(self) -> None:
        self._perform(self._call.close(self._now))
        self._done = True

    def _comes_back(self) -> None:
        """The talk is over, the caller still there: whoever takes the call over goes on where it stood."""
        leg, self._talks = self._talks, None
        self._call = self._new_call(answered=True, taken=decode(self._checkpoint), talked_to=leg)
        self._perform(self._call.begin(self._now))

    def _later(self, seconds: float, event: m.Event | Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self._now + seconds, next(self._order), event))

    def _perform(self, commands: Sequence[m.Command]) -> None:
        for command in commands:
            if self._done:
                return
            self._watch(self._now, command)
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
            self._done = not self._to_the_end
            self._joined = command.leg
            self._later(JOINING, m.Joined(command.leg))
        elif isinstance(command, m.LetGo):
            self._talk()
        elif isinstance(command, m.Checkpoint):
            self._checkpoint = command.state
        elif isinstance(command, m.Record):
            length = min(MESSAGE, command.seconds)
            self._records[command.id] = (command.name, self._now)
            self._later(length, m.RecordEnded(command.id, command.name, length))
        elif isinstance(command, m.StopRecord):
            name, since = self._records.get(command.id, ("", self._now))
            self._later(0.0, m.RecordEnded(command.id, name, self._now - since))
        elif isinstance(command, m.FindLeg):
            self._later(0.0, m.LegFailed(command.leg, "lost"))
        elif isinstance(command, m.SetSwitch):
            self._switches[command.name] = command.on
            self._later(0.0, m.SwitchSet(command.name, True))
        elif isinstance(command, m.SetDuty):
            states = {"log_out": "logged_out", "pause": "paused"}
            self._later(0.0, m.DutySet(states.get(command.what, "available")))
        elif isinstance(command, m.Lookup):
            self._look_up(command)
        elif isinstance(command, m.Hangup):
            self._ends = self._ends or {"hangup": command.reason}
            self._done = not self._to_the_end
            self._later(ENDING, m.HungUp("NORMAL_CLEARING", "cordboard"))

    def _talk(self) -> None:
        """They talk, and nobody owns the call: what was under way for its owner reaches nobody."""
        self._agenda.clear()
        self._alarm, self._line, self._talks = None, None, self._joined
        self._later(TALK, self._comes_back)

    def _presses(self, after: float) -> bool:
        """Press the keys that the caller presses now.  Returns whether there were any."""
        visit = self._visits[-1]
        step = self._routing.step(visit.flow, visit.step)
        typed = step.typed(self._routing) if step is not None else ()
        keys = str(self._ask("keys", f"{visit.flow}/{visit.step}", tuple(dict.fromkeys((*typed, "")))))
        for key in keys:
            self._later(after, m.Digit(key))
        return bool(keys)

    # ------------------------------------------------------------------------------------------------ queues

    def _enter(self, command: m.Enter) -> None:
        if not command.again and self._full(command.queue):
            self._later(0.0, m.NotEntered("full"))
            return
        line = _Line(self._routing.queues[command.queue], command.skills, self._agent, self._now)
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
        result = self._ask("phone", address, PHONES, person=person, outside=command.phone.outside)
        self._rung[command.leg] = command.phone
        if result == "answers":
            self._later(RINGS_BEFORE_ANSWER, m.LegReady(command.leg))
        elif result != "no_answer":
            self._later(0.5, m.LegFailed(command.leg, str(result)))

    def _look_up(self, command: m.Lookup) -> None:
        visit = self._visits[-1]
        given = self._ask("lookup", f"{visit.flow}/{visit.step}", LOST, wanted=tuple(command.wanted))
        if isinstance(given, str):
            answer = m.LookedUp(command.id, given, why=f"given as {given}")
        else:
            answer = m.LookedUp(command.id, "then", given or {})
        self._later(min(ANSWER, command.seconds), answer)

    def _told(self, fact: m.Tell) -> None:
        if fact.type == "step.entered":
            self._visits.append(Visit(fact.data["flow"], fact.data["step"]))
        elif fact.type == "step.left" and self._visits:
            last = self._visits[-1]
            self._visits[-1] = Visit(last.flow, last.step, str(fact.data.get("why", "")))
        elif fact.type in ("message.recorded", "message.empty"):
            self._ends = {"voicemail": tuple(fact.data["for"])}
            self._done = not self._to_the_end
        elif fact.type == "step.failed":
            raise _Unanswered(f"the step crashed: {fact.data['error']}")
