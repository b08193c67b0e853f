"""The catalogue: every event that a subscriber may be told, with its schema, an example, and what may surprise.

An event's class *is* its documentation: the docstring says when it is told, then what may surprise; every field says
what it means.  ``publishing.py`` makes JSON Schema and ``webhooks/EVENTS.md`` of it, the tests hold each example
against its schema.  A new event touches this file and ``deriving.py``.

Every field is always there; what is not known, or does not apply, is null.  Numbers of telephones are E.164 with
``+``, durations seconds.  No event has a link to a recording in it: only its id, with which the API gives one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import marshmallow as ma
from marshmallow import fields as f
from marshmallow import validate as v

DIRECTIONS = ("inbound", "outbound", "internal")
OUTCOMES = ("talked", "message", "unanswered")
QUEUE_OUTCOMES = ("abandoned", "timeout", "key", "full", "no_agents", "paused")
RESULTS = ("declined", "busy", "no_answer", "unreachable")
STATES = ("available", "offered", "talking", "wrap_up", "delayed", "elsewhere", "paused", "logged_out")
DUTIES = ("on", "paused", "out")
RULES = ("always", "busy", "no_answer", "unreachable", "otherwise")
KINDS = ("talk", "message")
ENDED_BY = ("caller", "cordboard")


# ------------------------------------------------------------------------------------------------------- fields


def _about(text: str, null: bool) -> dict[str, Any]:
    return {"required": True, "allow_none": null, "metadata": {"description": text}}


def _text(about: str, *, null: bool = False) -> f.String:
    return f.String(validate=v.Length(1, 200), **_about(about, null))


def _word(about: str, words: Iterable[str], *, null: bool = False) -> f.String:
    return f.String(validate=v.OneOf(tuple(words)), **_about(about, null))


def _seconds(about: str, *, null: bool = False) -> f.Float:
    return f.Float(validate=v.Range(min=0), **_about(about, null))


def _count(about: str, *, null: bool = False) -> f.Integer:
    return f.Integer(strict=True, validate=v.Range(min=0), **_about(about, null))


def _flag(about: str) -> f.Boolean:
    return f.Boolean(truthy={True}, falsy={False}, **_about(about, False))


def _list(of: f.Field[Any], about: str) -> f.List[Any]:
    return f.List(of, **_about(about, False))


class Person(ma.Schema):
    """One of the company's people."""

    extension = _text("The person's extension.")
    name = _text("Their name in the company's file; null: nobody has that extension any more.", null=True)


class Party(ma.Schema):
    """Who is at the other end: one of the company's people, at one of their telephones, or a number outside."""

    extension = _text("The person's extension; null: it is nobody of the company, or not known.", null=True)
    name = _text("The person's name.", null=True)
    number = _text("The number outside that was rung; null: the person's own telephone of the company.", null=True)


def _person(about: str, *, null: bool = False) -> f.Nested:
    return f.Nested(Person, **_about(about, null))


def _party(about: str, key: str) -> f.Nested:
    return f.Nested(Party, data_key=key, **_about(about, True))


def _people(about: str) -> f.List[Any]:
    return _list(f.Nested(Person), about)


# ------------------------------------------------------------------------------------------------------- events


class Event(ma.Schema):
    """What all events have in common: a type, its version, and an example."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1
    EXAMPLE: ClassVar[Mapping[str, Any]]


class _OfCall(Event):
    """An event about a call: which one stands in the envelope's ``call``."""

    direction = _word(
        "`inbound`: from outside; `outbound`: one of the company's telephones calls outside; `internal`: a colleague.",
        DIRECTIONS,
        null=True,
    )
    from_ = f.String(
        data_key="from",
        validate=v.Length(1, 64),
        **_about("Who calls: a number, or the extension of one of the company's; null: withheld.", True),
    )
    to = f.String(validate=v.Length(1, 64), **_about("What was dialled; inbound: a number of the company's.", True))


#: What the examples have in common.
_CALL: Mapping[str, Any] = {"direction": "inbound", "from": "+79161234567", "to": "+74951234567"}
_ANNA: Mapping[str, Any] = {"extension": "301", "name": "Anna Petrova"}
_BORIS: Mapping[str, Any] = {"extension": "302", "name": "Boris Orlov"}
_RECORDING = "rec_4f1c0d6f2f7b4a0b9a7e5c31"
_ENDPOINT = "ep_0c9d3a51"


class CallStarted(_OfCall):
    """A call has come: from outside, or from one of the company's telephones.

    Nobody has heard it yet, and no telephone rings.  For a card that is to pop up with a person, take `call.ringing`.
    """

    TYPE = "call.started"
    person = _person("Whose telephone the call comes from; null: from outside.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "person": None}


class CallAnswered(_OfCall):
    """The caller's line was answered: from now on the caller pays, and hears us.

    Answered is not talked: a greeting or a menu answers too. That somebody talks is `call.connected`. A call that ends
    unanswered has no such event, and one whose controller was lost in that moment may have none either:
    `answered` of `call.ended` is what counts.
    """

    TYPE = "call.answered"
    waited = _seconds("Since the call came.")
    EXAMPLE: ClassVar = {**_CALL, "waited": 0.42}


class CallRinging(_OfCall):
    """A telephone begins to ring for the call.

    One event for each telephone: a person with two gets two at once, a group as many as it has members, an agent one
    for each offer. There is no event when it stops; `call.connected` and `call.ended` close what you opened.
    """

    TYPE = "call.ringing"
    person = _person("Whose telephone it is; null: a number that a flow dials is nobody's.", null=True)
    number = _text("The number outside that rings; null: the person's own telephone of the company.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "person": _ANNA, "number": None}


class CallConnected(_OfCall):
    """They talk: the caller and somebody who took the call.

    A call may have several talks, one after the other, and so several of these events, each with a
    `call.talk_ended`. The first makes it a call that was not missed.
    """

    TYPE = "call.connected"
    with_ = _party("Whom the caller talks to.", "with")
    waited = _seconds("Since the call came.")
    EXAMPLE: ClassVar = {**_CALL, "with": {**_ANNA, "number": None}, "waited": 12.5}


class CallTalkEnded(_OfCall):
    """A talk is over. The call may go on: to a survey, another person, a message.

    `seconds` are whole, and of this talk alone; for billing take `talk_seconds` of `call.ended`, which is told even if
    this one was lost with a controller.
    """

    TYPE = "call.talk_ended"
    with_ = _party("Whom the caller talked to.", "with")
    seconds = _seconds("How long they talked.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "with": {**_ANNA, "number": None}, "seconds": 64.0}


class CallForwarded(_OfCall):
    """A forward rule of a person sends the call on.

    It is told before anybody rings by it. One call may be forwarded several times, and the person never rung at all
    (`always`).
    """

    TYPE = "call.forwarded"
    person = _person("Whose rule it is.")
    rule = _word("Which rule: what became of the call at the person's own telephones.", RULES)
    forwarded_to = _text("Where it goes: an extension, a number, `mobile` or `voicemail`.")
    EXAMPLE: ClassVar = {**_CALL, "person": _ANNA, "rule": "no_answer", "forwarded_to": "mobile"}


class CallEnded(_OfCall):
    """The call is over. Exactly one for each call, whatever happened to the machines that had it.

    It closes everything that is still open of the call: ringing, a talk, a place in a queue. It is the last word on
    durations. Its `sequence` is not always the last: a missed call has `call.missed` after it, and what becomes of
    recordings is told later, minutes mostly.
    """

    TYPE = "call.ended"
    person = _person("Whose telephone the call came from; null: from outside.", null=True)
    outcome = _word(
        "`talked`: somebody talked to the caller; `message`: nobody did, and one was left; `unanswered`: neither.",
        OUTCOMES,
    )
    with_ = _party("Whom the caller talked to last.", "with")
    answered = _flag("Whether the caller's line was answered, by a person or a machine.")
    message = _flag("Whether the caller left a message.")
    seconds = _seconds("How long the call lasted, from its coming to its end.", null=True)
    waited = _seconds("How long the caller waited for the first talk; null: there was none.", null=True)
    talk_seconds = _seconds("How long they talked, all talks together.")
    ended_by = _word("Who hung up; null: nobody watched it.", ENDED_BY, null=True)
    cause = _text("The switch's own word for the end, such as `NORMAL_CLEARING`.", null=True)
    queue = _text("The last queue that the caller was in.", null=True)
    rang = _people("Whose telephones rang, in their order.")
    flow = _text("The flow that the call was in at its end.", null=True)
    step = _text("The step of it.", null=True)
    recordings = _list(f.String(), "The ids of what was recorded; whether each is there, recording.* says later.")
    EXAMPLE: ClassVar = {
        **_CALL,
        "person": None,
        "outcome": "talked",
        "with": {**_ANNA, "number": None},
        "answered": True,
        "message": False,
        "seconds": 81.0,
        "waited": 12.5,
        "talk_seconds": 64.0,
        "ended_by": "caller",
        "cause": "NORMAL_CLEARING",
        "queue": "sales",
        "rang": [_ANNA],
        "flow": "reception",
        "step": "sales",
        "recordings": [_RECORDING],
    }


class CallMissed(_OfCall):
    """A call from outside ended, and nobody had talked to the caller. Told right after its `call.ended`.

    Every such call is told, for you to say what you call missed: one that nobody's telephone rang for (`rang` is
    empty: closed, refused, hung up in the greeting), one with a message (`message`), one that gave up in a queue
    (`queue`). A call that an agent did not take, and another did, is not missed: see `agent.missed`.
    """

    TYPE = "call.missed"
    message = _flag("Whether the caller left a message; then `voicemail.received` follows when it is stored.")
    queue = _text("The last queue that the caller waited in.", null=True)
    rang = _people("Whose telephones rang, in their order; empty: nobody's.")
    seconds = _seconds("How long the call lasted.", null=True)
    flow = _text("The flow that the call was in at its end.", null=True)
    step = _text("The step of it.", null=True)
    EXAMPLE: ClassVar = {
        **_CALL,
        "message": False,
        "queue": None,
        "rang": [_ANNA, _BORIS],
        "seconds": 42.0,
        "flow": "reception",
        "step": "anna",
    }


class QueueJoined(_OfCall):
    """The caller has a place in a queue.

    Told once for each visit, also if the place was lost with a machine and given back. What ends the visit is
    `queue.left`, or the talk after `queue.answered`, or, if neither was told, `call.ended`.
    """

    TYPE = "queue.joined"
    queue = _text("The queue's name.")
    priority = _count("Callers of a higher one go first.", null=True)
    skills = _list(f.String(), "What an agent must be able to do for this caller.")
    EXAMPLE: ClassVar = {**_CALL, "queue": "sales", "priority": 0, "skills": []}


class QueueAnswered(_OfCall):
    """An agent takes the caller, and they are about to be connected.

    Very rarely that fails (the agent hangs up in this very moment): then `agent.missed` follows, the caller keeps their
    place, and this event comes again with whoever takes them then. What surely was a talk has `call.connected`.
    """

    TYPE = "queue.answered"
    queue = _text("The queue's name.")
    agent = _person("Who took the caller.")
    waited = _seconds("How long the caller had waited.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "queue": "sales", "agent": _ANNA, "waited": 11.0}


class QueueLeft(_OfCall):
    """The caller leaves a queue, or was not taken into it, and no agent has taken them.

    Who was answered has `queue.answered` instead. `full`, and mostly `no_agents` and `paused`, are told of callers
    who never had a place: then there was no `queue.joined`, and `waited` is 0. After all but `abandoned` the call goes
    on.
    """

    TYPE = "queue.left"
    queue = _text("The queue's name.")
    outcome = _word(
        "`abandoned`: hung up; `timeout`: waited as long as one may; `key`: pressed a key to leave; `full`; "
        "`no_agents`: nobody is logged in; `paused`: all who are have paused.",
        QUEUE_OUTCOMES,
    )
    waited = _seconds("How long the caller had waited.", null=True)
    key = _text("The key that was pressed.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "queue": "sales", "outcome": "abandoned", "waited": 93.0, "key": None}


class AgentState(Event):
    """An agent's state has changed, or what they want (`duty`).

    It belongs to no call: it has no `sequence`, and the envelope's `call` is null. Of two that come in the wrong order
    the one with the later `occurred_at` holds. An agent is one, however many queues they are in. Who pauses in a
    talk has the state `talking` and the duty `paused`.
    """

    TYPE = "agent.state"
    agent = _person("The agent.")
    state = _word("What the agent does; `delayed`: left alone for a while after a call not taken.", STATES)
    duty = _word("What the agent wants.", DUTIES, null=True)
    reason = _text("Why, if they or somebody said.", null=True)
    by = _text("Who changed the duty: an extension, a user, `schedule`, `cordboard`.", null=True)
    queue = _text("The queue of the caller that they have, or had just now.", null=True)
    call = _text("The call that they have, or are offered.", null=True)
    EXAMPLE: ClassVar = {
        "agent": _ANNA,
        "state": "talking",
        "duty": "on",
        "reason": None,
        "by": None,
        "queue": "sales",
        "call": "3f0d2a6e-6f0b-4a53-9f0c-0c8c2f6f7a11",
    }


class AgentMissed(_OfCall):
    """An agent was offered a caller and did not take them.

    The caller waits on: this is no missed call. An offer that ended by no doing of the agent's (the caller hung up,
    another was quicker) is not told.
    """

    TYPE = "agent.missed"
    agent = _person("The agent.")
    queue = _text("The queue's name.")
    result = _word("What the agent's telephones did.", RESULTS)
    EXAMPLE: ClassVar = {**_CALL, "agent": _BORIS, "queue": "sales", "result": "no_answer"}


class _OfRecording(_OfCall):
    """An event about a recording.  Its call has ended, mostly."""

    recording = _text("The recording's id, as the API knows it.")
    kind = _word("`talk`: all talks of a call together; `message`: one that a caller left.", KINDS, null=True)


class RecordingAvailable(_OfRecording):
    """A recording is in the store, whole, compared with what was recorded, and can be fetched by the API.

    A message is a recording too: it is told here and, with whom it is for, as `voicemail.received`. All talks of a
    call are one recording of several segments, which has this event when the last of them is stored; again, with more
    `segments`, if one that was given up turns up later: fetch it again.
    """

    TYPE = "recording.available"
    seconds = _seconds("How long it is.", null=True)
    bytes = _count("How big it is.", null=True)
    segments = _count("Of how many pieces it is made.", null=True)
    EXAMPLE: ClassVar = {
        **_CALL,
        "recording": _RECORDING,
        "kind": "talk",
        "seconds": 64.2,
        "bytes": 2_054_444,
        "segments": 1,
    }


class RecordingAbsent(_OfRecording):
    """A recording that should be there is not, and will not be: nothing was recorded.

    It is told so that nobody waits for `recording.available`. An operator has an alarm about it too.
    """

    TYPE = "recording.absent"
    why = _text("What is known of the reason.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "recording": _RECORDING, "kind": "talk", "why": "the disk was full"}


class RecordingFailed(_OfRecording):
    """Something was recorded, and could not be kept, or not all of it.

    It is told when trying has been given up, not for each try.
    """

    TYPE = "recording.failed"
    why = _text("What is known of the reason.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "recording": _RECORDING, "kind": "talk", "why": "the file on the spool was altered"}


class RecordingDeleted(_OfRecording):
    """A recording was deleted from the store: its time was over, or somebody asked for it.

    Delete what you copied, if you are to. This comes months after the call, perhaps.
    """

    TYPE = "recording.deleted"
    why = _text("Why: `retention`, or who asked.", null=True)
    EXAMPLE: ClassVar = {**_CALL, "recording": _RECORDING, "kind": "talk", "why": "retention"}


class VoicemailReceived(_OfCall):
    """A message that a caller left is in the store, and can be fetched by the API.

    Told when it is stored, and so after `call.ended`. A caller who left several has one of these for each. The same
    message is a recording, and has `recording.available` right before.
    """

    TYPE = "voicemail.received"
    recording = _text("The recording's id, as the API knows it.")
    seconds = _seconds("How long it is; null: not known.", null=True)
    people = f.List(f.Nested(Person), data_key="for", **_about("Whom it was left for.", False))
    EXAMPLE: ClassVar = {**_CALL, "recording": _RECORDING, "seconds": 23.4, "for": [_ANNA]}


class _OfEndpoint(Event):
    """An event about an endpoint of the company's."""

    endpoint = _text("The endpoint's id.")


class EndpointTest(_OfEndpoint):
    """Somebody asked for a test of this endpoint.

    Only the endpoint that is tested gets it, whatever it is subscribed to.
    """

    TYPE = "endpoint.test"
    EXAMPLE: ClassVar = {"endpoint": _ENDPOINT}


class EndpointPaused(_OfEndpoint):
    """An endpoint gets nothing until somebody resumes it; what is owed to it is kept.

    The paused one gets this with all the rest when it goes on, which is too late: subscribe another endpoint to it. The
    operator has an alarm as well.
    """

    TYPE = "endpoint.paused"
    why = _text("Why: by itself after days of failing, or who did it.", null=True)
    EXAMPLE: ClassVar = {"endpoint": _ENDPOINT, "why": "it has failed for five days"}


class EndpointDisabled(_OfEndpoint):
    """An endpoint gets nothing any more: it answered 410 Gone.

    What was owed to it is cancelled. The disabled one never gets this.
    """

    TYPE = "endpoint.disabled"
    why = _text("Why.", null=True)
    EXAMPLE: ClassVar = {"endpoint": _ENDPOINT, "why": "it answered 410 Gone"}


#: Every event, in the order in which a call comes to them.
CATALOGUE: Mapping[str, type[Event]] = {
    event.TYPE: event
    for event in (
        CallStarted,
        CallAnswered,
        CallRinging,
        CallConnected,
        CallTalkEnded,
        CallForwarded,
        CallEnded,
        CallMissed,
        QueueJoined,
        QueueAnswered,
        QueueLeft,
        AgentState,
        AgentMissed,
        RecordingAvailable,
        RecordingAbsent,
        RecordingFailed,
        RecordingDeleted,
        VoicemailReceived,
        EndpointTest,
        EndpointPaused,
        EndpointDisabled,
    )
}

_SCHEMAS = {type_: event(unknown=ma.RAISE) for type_, event in CATALOGUE.items()}


def mistakes(type_: str, data: Mapping[str, Any]) -> Any:
    """What of ``data`` is not as the schema of ``type_`` says; nothing: it is."""
    return _SCHEMAS[type_].validate(data)
