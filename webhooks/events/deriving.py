"""From facts to public events: what subscribers are told of a fact.  Pure.

The surprise: an event needs more than its fact says (how long the call has talked, whether it was missed), so the
journal gives the call's row as it is *after* the fact.

A fact is hostile: what is wrong in it becomes null, and an event that could not be told without it is dropped, with a
reason.  Nothing here raises.  ``call.ended`` is never dropped, whatever its fact looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webhooks.events import catalogue as c
from webhooks.events import reading as r

#: The name of a person by extension, or None.
Names = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class CallSoFar:
    """What the journal knows of a call after the fact; moments are UTC epochs, seconds.

    ``extension``: whose telephone the call came from.  ``talked_with``: the address of the last talk, ``talked_to`` the
    extension whose leg that was.  ``queue``: the last that the caller was in.  ``rung``: the extensions whose
    telephones rang, in order.  ``recordings``: ids of the call's recordings and messages.
    """

    id: str
    company: str
    direction: str
    caller: str | None
    called: str | None
    extension: str | None
    began: float
    answered_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    talk_seconds: float = 0.0
    talked_with: str | None = None
    cause: str | None = None
    missed: bool = False
    message: bool = False
    talked_to: str | None = None
    queue: str | None = None
    rung: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    #: For whom the caller left messages.
    message_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """An event as its schema describes it, before it has an id and a sequence number."""

    type: str
    data: Mapping[str, Any]
    version: int = 1


@dataclass(frozen=True, slots=True)
class Derived:
    """The events of a fact, and those that could not be told: type → why."""

    events: tuple[PublicEvent, ...] = ()
    dropped: Mapping[str, str] | None = None


def derive(fact: Mapping[str, Any], call: CallSoFar | None, names: Names | None = None) -> tuple[PublicEvent, ...]:
    """The public events of a fact, in their order; most have none.  ``call`` None: the fact is no call's.

    ``names``: by extension; without it every name is null.
    """
    return explain(fact, call, names).events


def explain(fact: Mapping[str, Any], call: CallSoFar | None, names: Names | None = None) -> Derived:
    """The same, with what was dropped, for the log."""
    type_ = fact.get("type")
    known = DERIVED.get(type_) if isinstance(type_, str) else None
    if known is None:
        return Derived()
    told = _Told(r.mapping(fact.get("data")), fact.get("at"), call, names or _nobody)
    events, dropped = [], {}
    for event, data in known(told):
        if issubclass(event, c._OfCall):
            data = {**told.whose(), **data}
        wrong = c.mistakes(event.TYPE, data)
        if wrong:
            dropped[event.TYPE] = f"{', '.join(sorted(map(str, wrong)))}: not in the fact, or not of their kind"
        else:
            events.append(PublicEvent(event.TYPE, data, event.VERSION))
    return Derived(tuple(events), dropped or None)


def _nobody(_extension: str) -> None:
    return None


_Drafts = Iterable[tuple[type[c.Event], dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Told:
    """A fact being read, beside its call."""

    data: Mapping[str, Any]
    at: object
    call: CallSoFar | None
    names: Names

    def whose(self) -> dict[str, Any]:
        """What all events of a call say of it."""
        call = self.call
        if call is None:
            return {"direction": None, "from": None, "to": None}
        return {
            "direction": r.word(call.direction, c.DIRECTIONS),
            "from": r.text(call.caller, 64),
            "to": r.text(call.called, 64),
        }

    def person(self, value: object) -> dict[str, Any] | None:
        """A person by their extension."""
        extension = r.extension(value)
        if extension is None:
            return None
        return {"extension": extension, "name": r.text(self.names(extension), 80)}

    def people(self, values: object) -> list[dict[str, Any]]:
        """People, each once."""
        return r.many(values, self.person)

    def party(self, address: object, whose: str | None) -> dict[str, Any] | None:
        """Whoever has this address: an extension, or a number of the outside that may be ``whose``."""
        person = self.person(whose) or self.person(address) or {"extension": None, "name": None}
        number = r.outside(address)
        return {**person, "number": number} if number or person["extension"] else None

    def queue(self) -> str | None:
        return r.text(self.data.get("queue"), 64)

    def waited(self) -> float | None:
        return r.number(self.data.get("waited"))

    def since_began(self) -> float:
        """How old the call is, seconds."""
        at, began = r.number(self.at), r.number(self.call.began) if self.call else None
        return round(max(0.0, at - began), 3) if at is not None and began is not None else 0.0


# ------------------------------------------------------------------------------------------------------- calls


def _started(told: _Told) -> _Drafts:
    yield c.CallStarted, {"person": told.person(told.call.extension if told.call else None)}


def _answered(told: _Told) -> _Drafts:
    yield c.CallAnswered, {"waited": told.since_began()}


def _ringing(told: _Told) -> _Drafts:
    person, number = told.person(told.data.get("person")), r.outside(told.data.get("address"))
    if person or number:
        yield c.CallRinging, {"person": person, "number": number}


def _with(told: _Told) -> dict[str, Any] | None:
    return told.party(told.data.get("with"), told.call.talked_to if told.call else None)


def _connected(told: _Told) -> _Drafts:
    yield c.CallConnected, {"with": _with(told), "waited": told.since_began()}


def _talk_ended(told: _Told) -> _Drafts:
    yield c.CallTalkEnded, {"with": _with(told), "seconds": r.number(told.data.get("seconds"))}


def _forwarded(told: _Told) -> _Drafts:
    data = {"rule": r.word(told.data.get("rule"), c.RULES), "forwarded_to": r.text(told.data.get("to"), 64)}
    yield c.CallForwarded, {"person": told.person(told.data.get("person")), **data}


def _ended(told: _Told) -> _Drafts:
    call, data = told.call, told.data
    if call is None:
        return
    began, connected = r.number(call.began), r.number(call.connected_at)
    seconds = r.number(data.get("seconds"))
    where = {"flow": r.text(data.get("flow"), 64), "step": r.text(data.get("step"), 64)}
    common = {
        "message": call.message is True,
        "seconds": told.since_began() if seconds is None else seconds,
        "queue": r.text(call.queue, 64),
        "rang": told.people(call.rung),
        **where,
    }
    ended = {
        **common,
        "person": told.person(call.extension),
        "outcome": "talked" if connected is not None else "message" if call.message is True else "unanswered",
        "with": told.party(call.talked_with, call.talked_to),
        "answered": data.get("answered") is True or call.answered_at is not None or connected is not None,
        "waited": round(max(0.0, connected - began), 3) if connected is not None and began is not None else None,
        "talk_seconds": r.number(call.talk_seconds) or 0.0,
        "ended_by": r.word(data.get("by"), c.ENDED_BY),
        "cause": r.text(data.get("cause"), 64),
        "recordings": r.many(call.recordings, r.identifier),
    }
    yield c.CallEnded, ended
    if call.missed is True:
        yield c.CallMissed, common


# ------------------------------------------------------------------------------------------------------ queues


def _joined(told: _Told) -> _Drafts:
    skills = r.many(told.data.get("skills"), lambda one: r.text(one, 64))
    yield c.QueueJoined, {"queue": told.queue(), "priority": r.whole(told.data.get("priority")), "skills": skills}


def _queue_answered(told: _Told) -> _Drafts:
    agent = told.person(told.data.get("agent"))
    yield c.QueueAnswered, {"queue": told.queue(), "agent": agent, "waited": told.waited()}


def _left(told: _Told, outcome: str | None, *, waited: float | None = None, key: object = None) -> _Drafts:
    waited = told.waited() if waited is None else waited
    yield c.QueueLeft, {"queue": told.queue(), "outcome": outcome, "waited": waited, "key": r.text(key, 8)}


def _abandoned(told: _Told) -> _Drafts:
    return _left(told, "abandoned")


def _timeout(told: _Told) -> _Drafts:
    return _left(told, "timeout")


def _key(told: _Told) -> _Drafts:
    return _left(told, "key", key=told.data.get("key"))


def _unstaffed(told: _Told) -> _Drafts:
    return _left(told, r.word(told.data.get("outcome"), ("no_agents", "paused")))


def _refused(told: _Told) -> _Drafts:
    return _left(told, r.word(told.data.get("outcome"), ("full", "no_agents", "paused")), waited=0.0)


def _agent_missed(told: _Told) -> _Drafts:
    result = r.word(told.data.get("result"), c.RESULTS)
    yield c.AgentMissed, {"agent": told.person(told.data.get("agent")), "queue": told.queue(), "result": result}


def _agent_state(told: _Told) -> _Drafts:
    data = told.data
    yield (
        c.AgentState,
        {
            "agent": told.person(data.get("agent")),
            "state": r.word(data.get("state"), c.STATES),
            "duty": r.word(data.get("duty"), c.DUTIES),
            "reason": r.text(data.get("reason")),
            "by": r.text(data.get("by"), 80),
            "queue": told.queue(),
            "call": r.identifier(data.get("call")),
        },
    )


# -------------------------------------------------------------------------------------- recordings, endpoints


def _which(told: _Told) -> dict[str, Any]:
    data = told.data
    return {"recording": r.identifier(data.get("recording")), "kind": r.word(data.get("kind"), c.KINDS)}


def _available(told: _Told) -> _Drafts:
    data, seconds = told.data, r.number(told.data.get("seconds"))
    sizes = {"bytes": r.whole(data.get("bytes")), "segments": r.whole(data.get("segments"))}
    yield c.RecordingAvailable, {**_which(told), "seconds": seconds, **sizes}
    if data.get("kind") == "message":
        whom = data.get("for") or (told.call.message_for if told.call else ())
        recording = r.identifier(data.get("recording"))
        yield c.VoicemailReceived, {"recording": recording, "seconds": seconds, "for": told.people(whom)}


def _why(event: type[c.Event]) -> Callable[[_Told], _Drafts]:
    def why(told: _Told) -> Iterator[tuple[type[c.Event], dict[str, Any]]]:
        yield event, {**_which(told), "why": r.text(told.data.get("why"))}

    return why


def _recording_failed(told: _Told) -> _Drafts:
    """A controller tells of a file only; what that means for the recording, its worker tells."""
    return _why(c.RecordingFailed)(told) if "recording" in told.data else ()


def _of_endpoint(event: type[c.Event], *, why: bool) -> Callable[[_Told], _Drafts]:
    def of_endpoint(told: _Told) -> Iterator[tuple[type[c.Event], dict[str, Any]]]:
        reason = {"why": r.text(told.data.get("why"))} if why else {}
        yield event, {"endpoint": r.identifier(told.data.get("endpoint")), **reason}

    return of_endpoint


#: Which facts make events.
DERIVED: Mapping[str, Callable[[_Told], _Drafts]] = {
    "call.started": _started,
    "call.answered": _answered,
    "leg.rung": _ringing,
    "talk.started": _connected,
    "talk.ended": _talk_ended,
    "call.forwarded": _forwarded,
    "call.ended": _ended,
    "queue.joined": _joined,
    "queue.answered": _queue_answered,
    "queue.abandoned": _abandoned,
    "queue.timeout": _timeout,
    "queue.left": _key,
    "queue.unstaffed": _unstaffed,
    "queue.refused": _refused,
    "queue.missed": _agent_missed,
    "agent.state": _agent_state,
    "recording.available": _available,
    "recording.absent": _why(c.RecordingAbsent),
    "recording.failed": _recording_failed,
    "recording.lost": _why(c.RecordingFailed),
    "recording.deleted": _why(c.RecordingDeleted),
    "endpoint.test": _of_endpoint(c.EndpointTest, why=False),
    "endpoint.paused": _of_endpoint(c.EndpointPaused, why=True),
    "endpoint.disabled": _of_endpoint(c.EndpointDisabled, why=True),
}

_JOURNEY = "a part of the call's journey: the API and `cordboard why` show it, and it follows the file's own names"
_OPERATORS = "for operators: it is in the log and an alarm"
_LEDGER = "not the end of it: recording.available, absent or failed is told"
#: Which facts make none, and why.
NOT_PUBLIC: Mapping[str, str] = {
    "call.taken_over": "who controls a call is nobody's business but ours",
    "call.placed": "call.started or call.ended follows",
    "call.refused": "a colleague dialled what they may not: call.ended follows",
    "step.entered": _JOURNEY,
    "step.left": _JOURNEY,
    "step.gone": _JOURNEY,
    "step.failed": _JOURNEY,
    "lookup.done": _JOURNEY,
    "forward.cut": _JOURNEY,
    "leg.result": "call.connected and call.ended close what call.ringing opened",
    "join.failed": "the caller waits on; in a queue agent.missed is told",
    "queue.offered": "call.ringing and agent.state tell it",
    "queue.withdrawn": "no doing of the agent's; agent.state tells that they are free",
    "queue.repaired": _OPERATORS,
    "facts.lost": _OPERATORS,
    "sound.missing": _OPERATORS,
    "switch.set": "the company's own people turned it, by a code that they know",
    "message.recorded": "voicemail.received is told when it is stored",
    "message.empty": "nothing was said",
    "message.failed": _OPERATORS,
    "recording.expected": _LEDGER,
    "recording.started": _LEDGER,
    "recording.stopped": _LEDGER,
    "recording.paused": _LEDGER,
    "recording.resumed": _LEDGER,
    "consent.played": "it stands with the recording in the API",
}
