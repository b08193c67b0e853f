"""``queue``: wait for an agent.

The caller's side only.  Who is asked, and in which order, others decide: the step enters the queue, is given agents
one by one (``Offered``), rings their telephones as legs of the call, and says what became of each.  What the caller
hears meanwhile is ``holding.py``; agents, other callers and Redis are known here by the words of ``messages.py`` only.

Progress: ``t`` when the caller came (UTC epoch), ``b`` the number of the last round of ringing before that, ``j`` since
when the queue has them (milliseconds, as text; not before it has), ``o`` the agents whose telephones ring, as
``agent.number.until`` with numbers counted from ``b`` and times from ``t``, ``a`` that the one there has answered and
is being joined.  Of many who ring together only the first stand there: the queue names the others after a takeover.

The surprise: who answers is *taken* before the joining, so that nobody else is; but when nobody says whether they may
be, they are joined all the same, since the person on the telephone is the truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import marshmallow as ma

from callcontrol import dialling
from callcontrol.dialling import Barred, Way
from callcontrol.holding import Holding
from callcontrol.hunt import (
    FINDING,
    JOINING,
    LEAVING,
    SCREENING,
    barred_result,
    join,
    leg_result,
    nearest,
    not_joined,
    ring_leg,
)
from callcontrol.messages import (
    CancelLeg,
    Digit,
    Enter,
    Entered,
    Event,
    FindLeg,
    HungUp,
    JoinFailed,
    Leave,
    LegAnswered,
    LegFailed,
    LegReady,
    LegRinging,
    Miss,
    NotEntered,
    Offered,
    Progress,
    Staffed,
    Take,
    Taken,
    Tell,
    Wait,
    Withdrawn,
)
from callcontrol.queueing import openings
from callcontrol.routing import kinds
from callcontrol.routing.model import Edge, Routing
from callcontrol.routing.model import Queue as QueueEntry
from callcontrol.steps.base import IN_QUEUE, OTHERWISE, THEN, Run, Step, View
from callcontrol.view import Part

#: How long an unanswered caller waits for the queue's word before music answers them: who is refused is not, seconds.
WELCOME = 0.5
#: How long the queue may take to say whether somebody who has answered may be joined, seconds.
TAKING = 1.0
#: Who misses a call sooner than so after it was offered is left alone for as long at least, whatever ``delays`` says: a
#: telephone that refuses by itself would be asked many times a second, seconds.
AT_ONCE = 1.0
#: A wait for nothing in particular, seconds.
IDLE = 3600.0
#: Characters of ``o`` at most: the checkpoint has little room.
MOST_NOTED = 40

_NOTED = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")
_WHY = {
    "full": "as many callers wait as may",
    "no_agents": "no agent is logged in",
    "paused": "all agents are paused",
}


class Queue(Step):
    """Wait in a queue until an agent answers; ``then`` is followed after they talked.

    The caller hears the queue's music and announcements, and keeps the place in the queue whatever becomes of the
    controllers.  The agent's own telephones ring, as in a group; one outside must press 1.  A caller who is not taken
    leaves by an outcome below, by a key, or by hanging up.

    ```yaml
    sales: {queue: sales, skills: [german], keys: {star: left}, otherwise: message}
    ```

    then: an agent answered, and the talk is over
    timeout: the caller waited for the queue's ``max_wait``
    full: as many callers wait already as ``max_callers`` allows
    no_agents: no agent of the queue is logged in, for as long as its ``unstaffed`` says
    paused: agents are logged in, and all of them are paused, for as long as its ``unstaffed`` says
    left: the caller pressed a key that leads to ``left``
    """

    verb = "queue"
    talks = True
    outcomes = ("timeout", "full", "no_agents", "paused", "left")
    queues = True
    longest: ClassVar[Mapping[str, Any]] = {"t": 1999999999, "j": "1" * 13, "b": 999, "o": "9" * MOST_NOTED, "a": 1}

    class Fields(ma.Schema):
        """queue: the queue to join
        priority: callers with a higher one go first; that of the queue is added
        skills: what the agent must be able to do besides what the queue asks for
        keys: where each key leads that the caller presses while waiting; one that stands here beats that of the queue
        """

        queue = kinds.QueueField(required=True)
        priority = kinds.CountField(0, 100, load_default=0)
        skills = kinds.ListField(kinds.SkillField(), load_default=())
        keys = kinds.LeavingKeysField(load_default=dict)

    what: str
    priority: int
    skills: tuple[str, ...]
    keys: Mapping[str, Edge]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        if call.talked:
            yield Leave()
            return THEN
        if not progress:  # before the caller has a place: no agent who answers waits for the end of it
            agents = call.routing.queues[self.what].agents
            yield from call.announce((agent.agent, agent.agent) for agent in agents)
        result: str | Edge = yield from _Waiting(self, call, progress).run()
        return result

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str, now: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if "t" in progress and "a" not in progress:
            yield "queue.abandoned", {"queue": self.what, "waited": max(0, int(now) - _whole(progress["t"]))}

    # ------------------------------------------------------------------------------- what check asks

    def _queue(self, routing: Routing) -> QueueEntry | None:
        return routing.queues.get(self.values.get("queue", ""))

    def all_edges(self, routing: Routing) -> Iterator[tuple[str, Edge]]:
        queue, own = self._queue(routing), self.values.get("keys", {})
        # A key of the step's own beats the queue's.
        keys = {f"keys {key}": edge for key, edge in (queue.keys if queue else {}).items() if key not in own}
        for label, edge in (*super().all_edges(routing), *keys.items()):
            leads = self.edge(kinds.LEFT) if edge.special == kinds.LEFT else edge
            if leads is not None:
                yield label, leads

    def at_once(self, routing: Routing) -> tuple[str, ...]:
        queue = self._queue(routing)
        if queue is None:
            return ()
        full = ("full",) if queue.max_callers is not None else ()
        return full if queue.unstaffed else (*full, "no_agents", "paused")

    def typed(self, routing: Routing) -> tuple[str, ...]:
        queue, own = self._queue(routing), self.values.get("keys", {})
        return tuple(dict.fromkeys((*own, *(queue.keys if queue else ()))))

    def never(self, routing: Routing) -> Mapping[str, str]:
        queue, own = self._queue(routing), self.values.get("keys", {})
        if queue is None:
            return {}
        found = {} if queue.max_wait else {"timeout": f'the queue "{queue.name}" has no max_wait'}
        if OTHERWISE in self.edges:  # without it the other edges had to be given
            if queue.max_callers is None:
                found["full"] = f'the queue "{queue.name}" has no max_callers'
            if not any(edge.special == kinds.LEFT for edge in {**queue.keys, **own}.values()):
                found[kinds.LEFT] = f'no key leads to "{kinds.LEFT}", here or in the queue "{queue.name}"'
        return found


class _Rings(Enum):
    """How a leg stands."""

    SOUGHT = "sought"  # an earlier owner rang it: whether it lives is not known
    RINGING = "ringing"
    ASKED = "asked"  # answered, and hears what it must hear or confirm
    READY = "ready"


@dataclass(slots=True)
class _Leg:
    way: Way
    stands: _Rings = _Rings.RINGING
    until: float = 0.0  # how long it may be asked


@dataclass(slots=True)
class _Offer:
    """An agent who is this caller's for the moment, and their telephones that ring."""

    number: int
    agent: str
    until: float
    began: float
    legs: dict[str, _Leg] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Answer:
    """Somebody who has answered: being taken, then joined."""

    offer: _Offer
    leg: str
    way: Way
    until: float
    joining: bool = False


class _Waiting:
    """One run of the step: what rings, who has answered, and what the caller waits for besides."""

    def __init__(self, step: Queue, call: View, progress: Mapping[str, Any]) -> None:
        self._call = call
        self._progress = progress
        self._queue = call.routing.queues[step.what]
        self._priority = self._queue.priority + step.priority
        self._skills = tuple(sorted({*self._queue.skills, *step.skills}))
        self._keys = {**self._queue.keys, **step.keys}
        # Not later than now: the clock may have been set back.
        self._began = min(_whole(progress.get("t", int(call.now))), int(call.now))
        self._first = _whole(progress.get(IN_QUEUE, call.ring_number))
        self._joined = _whole(progress.get("j", 0))
        self._offers: dict[int, _Offer] = {}
        self._used = range(call.ring_number + 1)  # numbers that an earlier owner may have rung
        self._known: set[int] = set()
        self._later: list[Offered] = []  # offered while somebody who has answered is being taken
        self._answer: _Answer | None = None
        self._enters: float | None = None  # when the queue is entered at the latest
        self._unstaffed: tuple[float, str] | None = None  # since when nobody could serve, and why
        self._holding = Holding(call, self._queue, self._began, self._waited if progress else 0.0)

    @property
    def _waited(self) -> int:
        return max(0, int(self._call.now) - self._began)

    def run(self) -> Part:
        """Wait, and return the outcome or the edge of a key."""
        call = self._call
        if self._progress:
            yield from self._adopt_all()
        else:
            yield self._remember()
            yield from self._enter()
        self._holding.begin(call.now if call.answered else call.now + WELCOME)
        while True:
            result = yield from self._turn()
            if result is None:
                event = yield Wait(self._until(), past_end=True)
                result = yield from self._heard(event)
            if result is not None:
                return result

    # -------------------------------------------------------------------------------------------- the clock

    def _turn(self) -> Part:
        """Do what is due.  Returns the outcome, if that is to leave."""
        now = self._call.now
        answer = self._answer
        if answer is not None and now >= answer.until:
            yield from (self._failed(answer) if answer.joining else self._join(answer))
        if self._answer is None:
            yield from self._take_first()
        if self._answer is not None:
            return None
        if self._enters is not None and (now >= self._enters or not self._stand(_Rings.SOUGHT)):
            yield from self._enter()
        for offer in list(self._offers.values()):
            yield from self._stop_late(offer)
        patience = self._queue.max_wait
        if patience is not None and now >= self._began + patience:
            # Who has answered gets the time for pressing 1, and no more.
            if not self._stand(_Rings.ASKED) or now >= self._began + patience + SCREENING:
                self._call.why(f"nobody answered for {kinds.spoken(patience)}")
                yield from self._leave("queue.timeout")
                return "timeout"
        elif self._unstaffed is not None and now >= self._unstaffed[0] and not self._stand(_Rings.ASKED):
            outcome = self._unstaffed[1]
            self._call.why(_WHY.get(outcome, outcome))
            yield from self._leave("queue.unstaffed", outcome=outcome)
            return outcome
        yield from self._holding.turn(stands=self._joined > 0)
        return None

    def _until(self) -> float:
        """When something is due next."""
        if self._answer is not None:
            return self._answer.until
        now = self._call.now
        times = [now + IDLE, self._holding.due]
        if self._enters is not None:
            times.append(self._enters)
        for offer in self._offers.values():
            times += (_limit(offer, leg) for leg in offer.legs.values())
        if self._queue.max_wait is not None:
            end = self._began + self._queue.max_wait
            times.append(end if now < end else end + SCREENING)
        if self._unstaffed is not None and now < self._unstaffed[0]:
            times.append(self._unstaffed[0])
        return min(times)

    def _stand(self, stands: _Rings) -> bool:
        """Whether any leg stands so."""
        return any(leg.stands is stands for offer in self._offers.values() for leg in offer.legs.values())

    def _stop_late(self, offer: _Offer) -> Part:
        """Telephones that have rung for their time ring no longer."""
        late = [leg for leg, known in offer.legs.items() if self._call.now >= _limit(offer, known)]
        for leg in late:
            yield CancelLeg(leg)
            yield from self._leg_ends(offer, leg, "no_answer")

    # ------------------------------------------------------------------------------------------------ events

    def _heard(self, event: Event) -> Part:
        """Take up an event.  Returns the outcome, if that is to leave."""
        if isinstance(event, HungUp):
            if self._answer is not None:  # they have not talked: there is nothing to wrap up
                yield from self._miss(self._answer.offer, "lost")
            yield Leave()
            if self._answer is None or not self._answer.joining:  # else they were answered, and that is told
                yield Tell("queue.abandoned", self._data())
            return THEN  # nobody is there to go anywhere
        if isinstance(event, Digit) and event.key in self._keys and self._answer is None:
            return (yield from self._pressed(event.key))
        if isinstance(event, Entered):
            yield from self._entered(event)
        elif isinstance(event, NotEntered):
            return (yield from self._refused(event.outcome))
        elif isinstance(event, Staffed):
            since = self._unstaffed[0] if self._unstaffed else self._call.now + self._queue.unstaffed
            self._unstaffed = (since, event.outcome) if event.outcome else None
        elif isinstance(event, Offered):
            yield from self._offered(event)
        elif isinstance(event, Withdrawn):
            yield from self._withdrawn(event.offer)
        elif isinstance(event, Taken):
            yield from self._taken(event)
        elif isinstance(event, LegRinging | LegAnswered | LegReady | LegFailed):
            yield from self._leg_says(event)
        elif isinstance(event, JoinFailed):
            if self._answer is not None and self._answer.joining and event.leg == self._answer.leg:
                yield from self._failed(self._answer)
        else:
            yield from self._holding.hear(event)
        return None

    def _pressed(self, key: str) -> Part:
        edge = self._keys[key]
        left = edge.special == kinds.LEFT
        self._call.keys.append(key)
        self._call.why(f"pressed {key}")
        yield from self._leave("queue.left", key=key, outcome=kinds.LEFT if left else f"→ {edge}")
        return kinds.LEFT if left else edge

    def _leave(self, fact: str, **more: str) -> Part:
        """The caller waits no longer: nobody rings for them, and no music plays."""
        yield Leave()
        yield from self._stop_all()
        yield from self._holding.stop()
        yield Tell(fact, {**self._data(), **more})

    def _data(self) -> dict[str, Any]:
        return {"queue": self._queue.name, "waited": self._waited}

    # ---------------------------------------------------------------------------------------------- the queue

    def _enter(self) -> Part:
        queue, self._enters = self._queue, None
        yield Enter(
            queue.name,
            self._priority,
            self._skills,
            self._joined,
            float(self._waited),
            self._call.ring_number + 1,
            queue.ring,
            patience=queue.unstaffed,
            most=queue.max_callers,
            levels=openings(queue),
            together=queue.strategy == "ring-all",
            again=self._joined > 0,
            rings=tuple((offer.number, offer.agent) for offer in self._offers.values()),
        )

    def _entered(self, event: Entered) -> Part:
        self._holding.begin(self._call.now)
        if event.joined == self._joined:
            return
        if not self._joined:
            skills = {"skills": list(self._skills)} if self._skills else {}
            yield Tell("queue.joined", {"queue": self._queue.name, "priority": self._priority, **skills})
        self._joined = event.joined
        yield self._remember()

    def _refused(self, outcome: str) -> Part:
        """The queue does not take the caller: at once, or only when nobody has answered meanwhile."""
        if self._joined or self._answer is not None:
            self._unstaffed = (self._call.now, outcome)
            return None
        self._call.why(_WHY.get(outcome, outcome))
        yield Leave()
        yield from self._stop_all()
        yield from self._holding.stop()
        yield Tell("queue.refused", {"queue": self._queue.name, "outcome": outcome})
        return outcome

    # --------------------------------------------------------------------------------------------------- offers

    def _offered(self, event: Offered) -> Part:
        if event.offer in self._offers:
            return  # it rings
        if self._answer is not None:
            self._later.append(event)
            return
        for other in [other for other in self._offers.values() if other.agent == event.agent]:
            yield from self._withdrawn(other.number)  # that it ended was never said
        if event.offer in self._used or event.offer in self._known:
            yield from self._adopt(event.offer, event.agent, self._call.now + self._queue.ring)
        else:
            yield from self._ring(event)

    def _ring(self, event: Offered) -> Part:
        """Ring the agent's telephones."""
        call, queue = self._call, self._queue
        offer = _Offer(event.offer, event.agent, call.now + queue.ring, call.now)
        self._known.add(offer.number)
        call.ring_number = max(call.ring_number, offer.number)
        for way in self._ways(offer.agent):
            if isinstance(way, Way):
                offer.legs.setdefault(call.leg_id(offer.number, way.phone.address), _Leg(way))
            else:
                yield barred_result(way)
        if not offer.legs:
            yield self._remember()
            yield from self._miss(offer, "unreachable")
            return
        self._offers[offer.number] = offer
        yield self._remember()
        yield Tell("queue.offered", self._whose(offer))
        for leg, known in offer.legs.items():
            yield from ring_leg(leg, known.way, queue.ring)

    def _ways(self, agent: str) -> list[Way | Barred]:
        if agent not in self._call.routing.people:
            return []
        return dialling.phones_of(self._call, agent, self._queue.whisper)

    def _adopt_all(self) -> Part:
        """Take over what an earlier owner rang; the queue is entered when it is known what of that lives."""
        for agent, number, until in _NOTED.findall(str(self._progress.get("o", ""))):
            yield from self._adopt(self._first + int(number), agent, self._began + int(until))
        self._enters = self._call.now + FINDING

    def _adopt(self, number: int, agent: str, until: float) -> Part:
        """An offer that has been rung before: look for its legs."""
        call = self._call
        until = min(max(until, call.now + FINDING), call.now + self._queue.ring)
        offer = _Offer(number, agent, until, call.now)
        self._known.add(number)
        for way in self._ways(agent):
            if isinstance(way, Way):
                leg = call.leg_id(number, way.phone.address)
                offer.legs.setdefault(leg, _Leg(way, _Rings.SOUGHT))
        if not offer.legs:
            yield from self._miss(offer, "lost")
            return
        self._offers[number] = offer
        yield self._remember()
        for leg, known in offer.legs.items():
            yield FindLeg(leg, screened=known.way.screened)

    def _withdrawn(self, number: int) -> Part:
        self._later = [event for event in self._later if event.offer != number]
        offer = self._offers.get(number)
        if offer is None or (self._answer is not None and self._answer.offer is offer):
            return  # over already, or about to be judged by Taken
        yield from self._drop(offer)
        yield self._gone(offer)

    def _drop(self, offer: _Offer, cause: str = "ORIGINATOR_CANCEL") -> Part:
        """An agent who is not the caller's any more: nothing of theirs rings."""
        del self._offers[offer.number]
        for leg, known in offer.legs.items():
            yield CancelLeg(leg)
            yield leg_result(leg, known.way.phone, "lost", cause)
        yield self._remember()

    def _stop_all(self) -> Part:
        for offer in list(self._offers.values()):
            yield from self._drop(offer)

    def _miss(self, offer: _Offer, result: str) -> Part:
        """The offer led to nothing."""
        result = "unreachable" if result == "refused" else result
        delay = self._queue.delays.get(result, 0.0)
        if (
            result != "lost" and self._call.now - offer.began < AT_ONCE
        ):  # a machine's word, which would be the same again
            delay = max(delay, AT_ONCE)
        yield Miss(offer.number, offer.agent, result, delay, None if result == "lost" else self._queue.pause_after)
        yield self._gone(offer) if result == "lost" else Tell("queue.missed", {**self._whose(offer), "result": result})

    def _gone(self, offer: _Offer) -> Tell:
        """The offer is over by no doing of the agent's telephones, and the caller waits on."""
        return Tell("queue.withdrawn", self._whose(offer))

    def _whose(self, offer: _Offer) -> dict[str, Any]:
        return {"queue": self._queue.name, "agent": offer.agent, "offer": offer.number}

    # ----------------------------------------------------------------------------------------------------- legs

    def _leg_says(self, event: LegRinging | LegAnswered | LegReady | LegFailed) -> Part:
        offer = next((offer for offer in self._offers.values() if event.leg in offer.legs), None)
        if offer is None:
            return
        known = offer.legs[event.leg]
        if isinstance(event, LegFailed):
            if self._answer is not None and self._answer.leg == event.leg:
                yield from self._answer_lost(self._answer, event.cause)
            elif known.stands is _Rings.SOUGHT and event.leg != self._call.tried:
                yield from self._leg_ends(offer, event.leg, "")  # gone while nobody heard why
            else:
                result = "no_answer" if known.stands is _Rings.SOUGHT else event.result
                yield from self._leg_ends(offer, event.leg, result, event.cause)
        elif known.stands is _Rings.READY:
            pass
        elif isinstance(event, LegReady):
            known.stands = _Rings.READY
        elif isinstance(event, LegAnswered):
            if known.stands is not _Rings.ASKED:
                known.stands, known.until = _Rings.ASKED, self._call.now + SCREENING
        elif known.stands is _Rings.SOUGHT:
            known.stands = _Rings.RINGING

    def _leg_ends(self, offer: _Offer, leg: str, result: str, cause: str = "") -> Part:
        """One telephone of an agent's is out; with the last of them, so is the offer."""
        phone = offer.legs.pop(leg).way.phone
        if result:
            offer.results.append(result)
            yield leg_result(leg, phone, result, cause)
        if not offer.legs:
            del self._offers[offer.number]
            results = [one for one in offer.results if one != "lost"]
            yield from self._miss(offer, nearest(results) if results else "lost")
            yield self._remember()

    # ------------------------------------------------------------------------------------ somebody has answered

    def _take_first(self) -> Part:
        """Take the first agent who is ready: nobody else may have them, and the caller nobody else."""
        for offer in self._offers.values():
            for leg, known in offer.legs.items():
                if known.stands is _Rings.READY:
                    self._answer = _Answer(offer, leg, known.way, self._call.now + TAKING)
                    yield Take(offer.number, offer.agent, leg, self._queue.wrap_up)
                    return

    def _taken(self, event: Taken) -> Part:
        answer = self._answer
        if answer is None or answer.joining or event.offer != answer.offer.number:
            return
        if event.granted:
            yield from self._join(answer)
            return
        self._answer = None
        yield from self._drop(answer.offer, "LOSE_RACE")
        yield self._gone(answer.offer)
        later, self._later = self._later, []
        for offered in later:
            yield from self._offered(offered)

    def _join(self, answer: _Answer) -> Part:
        call, offer = self._call, answer.offer
        rung = {leg: known.way.phone for one in self._offers.values() for leg, known in one.legs.items()}
        offer.legs = {answer.leg: offer.legs[answer.leg]}
        self._offers, self._later = {offer.number: offer}, []
        answer.joining, answer.until = True, call.now + JOINING
        yield self._remember()
        yield Tell("queue.answered", {**self._whose(offer), "waited": self._waited})
        yield from join(call, answer.leg, answer.way.phone, offer.number, rung)

    def _answer_lost(self, answer: _Answer, cause: str) -> Part:
        """Whoever has answered hangs up."""
        if answer.joining:  # mostly the call is another owner's by now
            answer.until = min(answer.until, self._call.now + LEAVING)
            return
        phone = answer.offer.legs.pop(answer.leg).way.phone
        yield leg_result(answer.leg, phone, "no_answer", cause)
        yield from self._enter_again(answer)

    def _failed(self, answer: _Answer) -> Part:
        """They could not be joined."""
        answer.offer.legs.clear()
        yield from not_joined(self._call, answer.leg, answer.way.phone)
        yield from self._enter_again(answer)

    def _enter_again(self, answer: _Answer) -> Part:
        """The taking ended all offers, and the caller's place in the queue: it is theirs again.

        What the queue offers then, it says anew.
        """
        self._answer, self._later = None, []
        others = [offer for offer in self._offers.values() if offer is not answer.offer]
        yield from self._stop_all()
        yield from map(self._gone, others)
        yield from self._miss(answer.offer, "no_answer")
        yield from self._enter()

    # ------------------------------------------------------------------------------------------------ progress

    def _remember(self) -> Progress:
        value: dict[str, Any] = {"t": self._began, IN_QUEUE: self._first}
        if self._joined:
            value["j"] = str(self._joined)
        noted = ""
        for offer in self._offers.values():
            until = max(0, int(offer.until) - self._began)
            more = f"{noted},{offer.agent}.{offer.number - self._first}.{until}".strip(",")
            noted = more if len(more) <= MOST_NOTED else noted
        if noted:
            value["o"] = noted
        if self._answer is not None and self._answer.joining:
            value["a"] = 1
        return Progress(value)


def _limit(offer: _Offer, leg: _Leg) -> float:
    """Until when a telephone may ring, or be asked."""
    return leg.until if leg.stands is _Rings.ASKED else offer.until


def _whole(value: object) -> int:
    """A number of the checkpoint, which is hostile: 0 if it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
