"""What each fact does to the rows of its call: the call, its legs, its steps, its visits to queues.

A :class:`Journey` is the rows of one call; :func:`fold` brings them up to one more fact.  It touches no database, and
a type that it does not know changes nothing: what a newer controller tells is kept, and read by a newer journal.

The surprise: facts of one call may come out of order.  A process that was killed left some in its file, and they are
shipped after its successor's.  Rows are what the facts give *in the call's own order* (:func:`order`), so a late one
has the rows made anew from all of them (``ingest``); :func:`in_order` says which is late.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.journal.tables import Call, Leg, QueueVisit, Step

Fact = Mapping[str, Any]

#: ``Call.n`` once something was told on behalf of the call: everything else comes before that.
_AFTER_ALL = 2**62

#: Digits of an extension at most; what is longer was to leave the house.
_LONGEST_EXTENSION = 6

#: How a visit to a queue ends, by fact; None: the fact says it.
_LEAVING = {
    "queue.abandoned": "abandoned",
    "queue.left": "left",
    "queue.timeout": "timeout",
    "queue.unstaffed": None,
    "queue.refused": None,
}


@dataclass(slots=True)
class Journey:
    """The rows of a call.  ``new``: those that the database does not have yet."""

    call: Call
    legs: dict[str, Leg] = field(default_factory=dict)
    visits: list[QueueVisit] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    new: list[Leg | QueueVisit | Step] = field(default_factory=list)

    @property
    def rows(self) -> list[Leg | QueueVisit | Step]:
        """Everything but the call itself."""
        return [*self.legs.values(), *self.visits, *self.steps]

    def visit(self, queue: str | None) -> QueueVisit | None:
        """The call's last visit to a queue."""
        return next((visit for visit in reversed(self.visits) if visit.queue == queue), None)


def begin(fact: Fact) -> Call:
    """The row of a call of which this is the first that is heard."""
    call = Call(id=fact["call"], sequence=0)
    forget(call, fact)
    return call


def forget(call: Call, first: Fact) -> None:
    """Make a call's row as it was before its first fact."""
    call.company, call.switch, call.began = first["company"], first["switch"], first["at"]
    call.version = call.caller = call.called = call.extension = None
    call.direction, call.state, call.missed, call.message = "inbound", "live", False, False
    call.answered_at = call.connected_at = call.talking_since = call.ended_at = None
    call.talk_seconds, call.epoch, call.n = 0.0, 0, 0
    call.talked_with = call.cause = call.ended_by = call.flow = call.step = None


def order(fact: Fact) -> tuple[int, int, int]:
    """The place of a fact in its call: by epoch and number; what was told on its behalf comes last."""
    if fact["epoch"] == 0 and fact["n"] == 0:
        return 2, 0, 0
    return int(fact["n"] < 0), fact["epoch"], fact["n"]


def in_order(call: Call, fact: Fact) -> bool:
    """Whether the rows are still to be brought up to this fact, and to nothing after it."""
    if order(fact)[0]:
        return True
    return call.n < _AFTER_ALL and (fact["epoch"], fact["n"]) > (call.epoch, call.n)


def fold(journey: Journey, fact: Fact) -> None:
    """Bring the rows up to a fact of a known type (:data:`FOLDED`)."""
    call = journey.call
    call.company = call.company or fact["company"]
    call.switch = fact["switch"] or call.switch
    if order(fact)[0]:
        call.n = _AFTER_ALL
    else:
        call.epoch, call.n = fact["epoch"], fact["n"]
    FOLDED[fact["type"]](journey, fact, fact["data"])


# ------------------------------------------------------------------------------------------------------ by type


def _started(journey: Journey, fact: Fact, data: Fact) -> None:
    call = journey.call
    call.began = fact["at"] if call.began > fact["at"] or call.extension is None else call.began
    call.caller, call.called = text(data, "from"), text(data, "to")
    call.extension, call.version = text(data, "extension", 16), text(data, "version", 64)
    direction = data.get("direction")
    if direction in ("inbound", "outbound", "internal"):
        call.direction = direction
    else:
        call.direction = "internal" if call.extension else "inbound"


def _placed(journey: Journey, fact: Fact, data: Fact) -> None:
    """Click to call: the person's own telephone rings first, and may be all that ever rings."""
    call = journey.call
    call.began = fact["at"]
    call.caller = call.extension = text(data, "person", 16)
    call.called = text(data, "to")
    call.direction = "outbound" if len(call.called or "") > _LONGEST_EXTENSION else "internal"


def _taken_over(journey: Journey, fact: Fact, data: Fact) -> None:
    call = journey.call
    call.version = text(data, "version", 64) or call.version
    if data.get("answered") is True and call.answered_at is None:
        call.answered_at = fact["at"]


def _answered(journey: Journey, fact: Fact, _data: Fact) -> None:
    journey.call.answered_at = journey.call.answered_at or fact["at"]


def _talk_started(journey: Journey, fact: Fact, data: Fact) -> None:
    call, at = journey.call, fact["at"]
    call.answered_at = call.answered_at or at
    call.connected_at = call.connected_at or at
    call.talking_since = at
    call.talked_with = text(data, "with") or call.talked_with
    leg = journey.legs.get(text(data, "leg", 64) or "")
    if leg is not None:
        leg.result = "answered"


def _talk_ended(journey: Journey, fact: Fact, data: Fact) -> None:
    call, at = journey.call, fact["at"]
    since = call.talking_since
    seconds = number(data, "seconds")
    if seconds is None:
        seconds = at - since if since is not None else 0.0
    call.talk_seconds += max(0.0, seconds)
    call.connected_at = call.connected_at or max(call.began, at - seconds)
    call.answered_at = call.answered_at or call.connected_at
    call.talked_with = call.talked_with or text(data, "with")
    call.talking_since = None
    for leg in journey.legs.values():
        if leg.result == "answered" and leg.ended_at is None:
            leg.ended_at = at


def _step_entered(journey: Journey, fact: Fact, data: Fact) -> None:
    call = journey.call
    call.flow, call.step = text(data, "flow") or "", text(data, "step") or ""
    more = {"resumed": True} if data.get("resumed") is True else {}
    step = Step(
        call=call.id,
        company=call.company,
        epoch=fact["epoch"],
        n=fact["n"],
        at=fact["at"],
        flow=call.flow,
        step=call.step,
        data={"verb": text(data, "verb", 64), **more},
    )
    journey.steps.append(step)
    journey.new.append(step)


def _step_left(journey: Journey, fact: Fact, data: Fact) -> None:
    why = {"why": text(data, "why", 4000)} if "why" in data else {}
    _note(journey, {"left": fact["at"], "outcome": text(data, "outcome"), **why})


def _step_failed(journey: Journey, fact: Fact, data: Fact) -> None:
    _note(journey, {"left": fact["at"], "error": text(data, "error", 1000)})


def _looked_up(journey: Journey, _fact: Fact, data: Fact) -> None:
    _note(journey, {"lookup": {key: data[key] for key in ("host", "outcome", "why", "ms") if key in data}})


def _leg_rung(journey: Journey, fact: Fact, data: Fact) -> None:
    leg = _leg(journey, text(data, "leg", 64) or _made_up(fact))
    leg.person, leg.address = text(data, "person"), text(data, "address")
    leg.rung_at, leg.ended_at, leg.result = fact["at"], None, None
    if journey.call.extension and not leg.person:  # a phone of ours rings somebody who is none of ours
        journey.call.direction = "outbound"


def _leg_result(journey: Journey, fact: Fact, data: Fact) -> None:
    leg = _leg(journey, text(data, "leg", 64) or _made_up(fact))  # one that was barred was never rung
    leg.person, leg.address = text(data, "person") or leg.person, text(data, "address") or leg.address
    leg.ended_at, leg.result, leg.cause = fact["at"], text(data, "result", 32), text(data, "cause", 64)


def _join_failed(journey: Journey, fact: Fact, data: Fact) -> None:
    leg = _leg(journey, text(data, "leg", 64) or _made_up(fact))
    leg.ended_at, leg.result = fact["at"], "not_joined"
    if journey.visits:
        _reopen(journey.visits[-1])


def _refused(journey: Journey, _fact: Fact, _data: Fact) -> None:
    if journey.call.extension:
        journey.call.direction = "outbound"


def _joined(journey: Journey, fact: Fact, data: Fact) -> None:
    _visit(journey, fact, text(data, "queue") or "")


def _offered(journey: Journey, _fact: Fact, data: Fact) -> None:
    visit = journey.visit(text(data, "queue"))
    if visit is not None:
        _reopen(visit)
        visit.offers += 1


def _queue_answered(journey: Journey, fact: Fact, data: Fact) -> None:
    visit = journey.visit(text(data, "queue"))
    if visit is not None:
        visit.agent, visit.outcome, visit.left_at = text(data, "agent", 16), "answered", fact["at"]
        visit.waited = number(data, "waited")


def _left_queue(journey: Journey, fact: Fact, data: Fact) -> None:
    queue = text(data, "queue") or ""
    visit = journey.visit(queue)
    if visit is None or (visit.left_at is not None and visit.outcome != "answered"):
        visit = _visit(journey, fact, queue)  # the queue did not take the caller
    _reopen(visit)
    visit.left_at, visit.waited = fact["at"], number(data, "waited")
    visit.outcome = _LEAVING[fact["type"]] or text(data, "outcome", 32)


def _message(journey: Journey, _fact: Fact, _data: Fact) -> None:
    journey.call.message = True


def _ended(journey: Journey, fact: Fact, data: Fact) -> None:
    call, at = journey.call, fact["at"]
    if call.state == "ended":
        return
    call.state, call.ended_at = "ended", at
    call.cause, call.ended_by = text(data, "cause", 64), text(data, "by", 32)
    call.flow, call.step = text(data, "flow") or call.flow, text(data, "step") or call.step
    if data.get("answered") is True:
        call.answered_at = call.answered_at or at
    call.talking_since = None
    call.missed = call.direction == "inbound" and call.connected_at is None
    for visit in journey.visits:
        if visit.left_at is None:
            visit.left_at, visit.waited, visit.outcome = at, max(0.0, at - visit.joined_at), "lost"


#: What does something to rows.
FOLDED: Mapping[str, Callable[[Journey, Fact, Fact], None]] = {
    "call.placed": _placed,
    "call.started": _started,
    "call.taken_over": _taken_over,
    "call.answered": _answered,
    "call.refused": _refused,
    "call.ended": _ended,
    "talk.started": _talk_started,
    "talk.ended": _talk_ended,
    "step.entered": _step_entered,
    "step.left": _step_left,
    "step.failed": _step_failed,
    "lookup.done": _looked_up,
    "leg.rung": _leg_rung,
    "leg.result": _leg_result,
    "join.failed": _join_failed,
    "queue.joined": _joined,
    "queue.offered": _offered,
    "queue.answered": _queue_answered,
    **dict.fromkeys(_LEAVING, _left_queue),
    "message.recorded": _message,
}


# -------------------------------------------------------------------------------------------------------- words


def text(data: Fact, key: str, most: int = 500) -> str | None:
    """A text of a fact's data, cut; None for anything else."""
    value = data.get(key)
    return value[:most] if isinstance(value, str) else None


def number(data: Fact, key: str) -> float | None:
    """A number of a fact's data that is no less than nothing and no more than a year; None for anything else."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 31_536_000:
        return None
    return float(value)


def _leg(journey: Journey, id_: str) -> Leg:
    leg = journey.legs.get(id_)
    if leg is None:
        leg = Leg(id=id_, call=journey.call.id, company=journey.call.company)
        journey.legs[id_] = leg
        journey.new.append(leg)
    return leg


def _made_up(fact: Fact) -> str:
    """An id for what has none, the same however often the fact is read."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{fact['call']}/{fact['epoch']}/{fact['n']}"))


def _visit(journey: Journey, fact: Fact, queue: str) -> QueueVisit:
    visit = QueueVisit(call=journey.call.id, company=journey.call.company, queue=queue, joined_at=fact["at"], offers=0)
    journey.visits.append(visit)
    journey.new.append(visit)
    return visit


def _reopen(visit: QueueVisit) -> None:
    """Who had answered could not be joined: the caller waits on."""
    if visit.outcome == "answered":
        visit.outcome = visit.agent = visit.left_at = visit.waited = None


def _note(journey: Journey, more: Mapping[str, Any]) -> None:
    """Say more of the step that the call is in."""
    if journey.steps:
        journey.steps[-1].data = {**journey.steps[-1].data, **more}
