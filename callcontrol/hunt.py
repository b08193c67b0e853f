"""Hunting for somebody who answers: the one way in which telephones are rung.

Every telephone is a leg of its own whose UUID follows from the call, the number of the round and the
address, so that whoever takes the call over finds the legs again.  The first leg that is ready is joined;
the others are cancelled in the same batch.  Dial stages, ring groups and extensions dialled in a menu are
all a :class:`Hunt`.

The surprise: a hunt that succeeds never returns here.  At the joining the call is let go; when the talk is
over it comes back as a takeover with ``talked``, and the hunt's first line returns ``then``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callcontrol.messages import (
    CancelLeg,
    FindLeg,
    Join,
    JoinFailed,
    LegFailed,
    LegReady,
    LegRinging,
    Phone,
    Progress,
    RingBack,
    RingLeg,
    StopPlay,
    Tell,
    TimeCame,
    Tone,
    Wait,
)
from callcontrol.routing.model import Stage, Target
from callcontrol.view import Part, Playing, View

THEN = "then"
#: Which result of several telephones is the outcome: the first of these that occurred.
NEARNESS = ("declined", "busy", "no_answer", "unreachable", "refused")
#: A telephone that is rung again after a takeover rings at least so long, seconds.
LEAST_RING = 5.0
#: But all takeovers together make a stage no longer than by this, seconds.
MOST_EXTRA = 15.0
#: How long results of a leg that is gone may still come in, before it may be rung again, seconds.
SETTLING = 0.2
#: A leg that drops as it is joined mostly makes the switch bring the call anew, to another owner: how long this one
#: waits for that before it takes the caller for its own, seconds.
LEAVING = 0.5
#: How long the switch may take to join two channels, seconds.
JOINING = 5.0
#: How long the switch may take to say what became of a leg, seconds.
FINDING = 3.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What is rung at the same time."""

    targets: tuple[Target, ...]
    index: int | None  # in-order: which of the targets; None: all of them
    ring: float


class Hunt:
    """Ring ``stages`` one after another.  ``note`` is kept in the progress for the step that hunts."""

    def __init__(self, stages: Sequence[Stage], note: Mapping[str, Any] | None = None) -> None:
        self._stages = stages
        self._note = dict(note or {})

    def run(self, call: View, progress: Mapping[str, Any]) -> Part:
        """Hunt, and return the outcome.  ``progress`` is empty or what an earlier owner yielded."""
        if call.talked:
            return THEN
        results: list[str] = [str(progress["o"])] if "o" in progress else []
        began = float(progress["f"]) if "f" in progress else call.now
        first = int(progress.get("a", 0))
        ringback: Playing | None = None
        position, audible = 0, False
        for stage in self._stages:
            for attempt in self._attempts(call, stage, began):
                if position >= first:
                    adopting = progress if position == first and "r" in progress else None
                    if not audible:
                        ringback, audible = (yield from _ringback(call)), True
                    yield from self._ring(call, attempt, position, began, results, adopting)
                position += 1
        if ringback is not None and ringback.active:
            yield StopPlay(ringback.id)
        return _nearest(results)

    def _attempts(self, call: View, stage: Stage, at: float) -> list[_Attempt]:
        if stage.strategy == "in-order":
            count = len(call.extensions(stage.to, at))
            return [_Attempt(stage.to, index, stage.ring) for index in range(count)]
        return [_Attempt(stage.to, None, stage.ring)]

    def _ring(
        self,
        call: View,
        attempt: _Attempt,
        position: int,
        began: float,
        results: list[str],
        adopting: Mapping[str, Any] | None,
    ) -> Part:
        phones = yield from self._phones(call, attempt, began, results)
        if not phones:
            return
        deadline, ring = call.now + attempt.ring, 0
        if adopting is not None:
            ring = int(adopting["r"])
            # Not later than a whole ring from now: the clock may have been set back.
            deadline = min(float(adopting["u"]), call.now + attempt.ring)
        until = deadline
        if adopting is not None:  # whoever is rung again gets a moment, but takeovers do not make a stage endless
            until = max(deadline, min(call.now + LEAST_RING, deadline + MOST_EXTRA))
        while phones:
            ring = ring or call.next_ring()
            remember: dict[str, Any] = {
                **self._note,
                "a": position,
                "u": int(deadline),
                "r": ring,
                "f": int(began),
            }
            if results:
                remember["o"] = _nearest(results)
            yield Progress(remember)
            legs = {call.leg_id(ring, phone.address): phone for phone in phones}
            if adopting is None:
                for leg, phone in legs.items():
                    yield from _ring_leg(leg, phone, until - call.now)
                found: list[str] = []
            else:
                found = yield from self._find(call, legs, until, results)
                adopting = None
            failed = yield from self._first(call, legs, found, until, results, ring)
            # Only a joining that failed brings us round again, for the time that is left.
            phones = [phone for phone in phones if failed is not None and phone != failed]
            ring = 0
            if phones:
                until = max(deadline, min(call.now + LEAST_RING, deadline + MOST_EXTRA))

    def _phones(self, call: View, attempt: _Attempt, began: float, results: list[str]) -> Part:
        people = call.extensions(attempt.targets, began)
        if attempt.index is not None:
            people = people[attempt.index : attempt.index + 1]
        phones: list[Phone] = []
        for person in people:
            rung = call.phones(person) if isinstance(person, str) else [Phone("", str(person), outside=True)]
            for phone in rung:
                if phone.outside:  # trunks are not built yet
                    results.append("unreachable")
                    yield Tell(
                        "leg.result",
                        {
                            "person": phone.person,
                            "address": phone.address,
                            "result": "unreachable",
                            "cause": "NO_TRUNK",
                        },
                    )
                elif phone not in phones:
                    phones.append(phone)
        return phones

    def _find(self, call: View, legs: dict[str, Phone], until: float, results: list[str]) -> Part:
        """Ask for the legs an earlier owner rang; ring again those that are gone.  Returns those ready.

        The one that dropped as it was joined is not rung again: a telephone that picks up and hangs up would keep
        the caller for ever.
        """
        for leg in legs:
            yield FindLeg(leg)
        unknown = set(legs)
        ready: list[str] = []
        gone: list[str] = []
        limit = call.now + FINDING
        while call.now < limit and (unknown or gone):
            event = yield Wait(limit)
            if not isinstance(event, LegReady | LegRinging | LegFailed) or event.leg not in legs:
                continue
            leg, asked = event.leg, bool(unknown)
            if isinstance(event, LegReady):
                ready.append(leg)
            elif isinstance(event, LegRinging):
                call.why(f"{legs[leg].address} still rings")
            elif leg in unknown:
                gone.append(leg)
            elif leg not in gone:  # it was there, and has ended meanwhile
                ready = [other for other in ready if other != leg]
                results.append(event.result)
                yield _result(leg, legs.pop(leg), event.result, event.cause)
            unknown.discard(leg)
            if asked and not unknown:
                limit = min(limit, call.now + SETTLING)
        for leg in gone:
            if leg == call.tried or until <= call.now:
                phone = legs.pop(leg)
                results.append("no_answer")
                yield _result(leg, phone, "no_answer", "")
            else:
                yield from _ring_leg(leg, legs[leg], until - call.now)
        return ready

    def _first(
        self,
        call: View,
        legs: dict[str, Phone],
        ready: list[str],
        until: float,
        results: list[str],
        ring: int,
    ) -> Part:
        """Join the first leg that is ready.  Returns the phone whose joining failed, else None."""
        alive = dict(legs)
        while alive:
            if ready and ready[0] in alive:
                return (yield from self._join(call, alive, ready[0], results, ring))
            event = yield Wait(until)
            if isinstance(event, LegReady) and event.leg in alive:
                ready = [event.leg]
            elif isinstance(event, LegFailed) and event.leg in alive:
                phone = alive.pop(event.leg)
                results.append(event.result)
                yield _result(event.leg, phone, event.result, event.cause)
            elif isinstance(event, TimeCame) and call.now >= until:
                for leg, phone in alive.items():
                    yield CancelLeg(leg)
                    results.append("no_answer")
                    yield _result(leg, phone, "no_answer", "")
                return None
        return None

    def _join(self, call: View, alive: dict[str, Phone], leg: str, results: list[str], ring: int) -> Part:
        phone = alive[leg]
        yield _result(leg, phone, "answered", "")
        call.talk = (phone.address, call.now, ring)
        unanswered, call.answered = not call.answered, True
        yield Join(leg, answer=unanswered)
        for other, loser in alive.items():
            if other != leg:
                yield CancelLeg(other)
                yield _result(other, loser, "lost", "LOSE_RACE")
        until = call.now + JOINING
        while call.now < until:
            event = yield Wait(until)
            if isinstance(event, JoinFailed) and event.leg == leg:
                break
            if isinstance(event, LegFailed) and event.leg == leg:
                until = min(until, call.now + LEAVING)
        call.talk = None
        call.why(f"{phone.address} answered but could not be joined")
        results.append("no_answer")
        yield CancelLeg(leg)
        yield Tell("join.failed", {"leg": leg, "person": phone.person, "address": phone.address})
        return phone


def _ringback(call: View) -> Part:
    if not call.answered:
        yield RingBack()
        return None
    playing = Playing(call, Tone("ringback"), loop=True)
    yield from playing.start()
    return playing


def _ring_leg(leg: str, phone: Phone, seconds: float) -> Part:
    yield RingLeg(leg, phone, max(1.0, seconds))
    yield Tell("leg.rung", {"leg": leg, "person": phone.person, "address": phone.address})


def _result(leg: str, phone: Phone, result: str, cause: str) -> Tell:
    data = {"leg": leg, "person": phone.person, "address": phone.address, "result": result}
    return Tell("leg.result", {**data, "cause": cause} if cause else data)


def _nearest(results: Sequence[str]) -> str:
    return next((word for word in NEARNESS if word in results), "unreachable")
