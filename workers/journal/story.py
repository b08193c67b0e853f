"""A call's journey in plain words, in order: what ``cordboard why`` prints.

Knows what the journal says of one call (``queries.journey``), and nothing of where that is kept.  Every fact has its
line, also one of a type that has no words here: it is told as it is, and never left out.

The surprise: names, numbers, reasons and answers of services came from strangers, and a terminal obeys what is printed
on it: everything goes through :func:`shown`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from callcontrol.queue_views import shown
from callcontrol.queueing import clock
from workers.journal.queries import Journey, Told

Data = Mapping[str, Any]

_RESULTS = {
    "busy": "is busy",
    "declined": "declines",
    "no_answer": "does not answer",
    "unreachable": "cannot be reached",
    "refused": "is not let through",
}
_LOST = {"LOSE_RACE": "somebody else answered first", "ORIGINATOR_CANCEL": "it is not wanted any more"}
_WHO_ENDED = {
    "caller": "the caller hung up",
    "cordboard": "the routing ended it",
    "command": "it was ended by a command",
    "unowned": "it ended while no controller had it",
    "nobody": "nobody saw its end",
}
#: Words for names of fields, where a fact has no sentence of its own.
_LONGEST = 200


def story(journey: Journey) -> Iterator[str]:
    """The lines of a journey."""
    call = journey["call"]
    began = call["began"]
    yield from _head(call)
    yield ""
    for fact in journey["facts"]:
        yield from _line(fact, began)
    for title, lines in (
        ("recordings", _recordings(journey["recordings"], began)),
        ("webhooks", _webhooks(journey["events"], began)),
        ("mails", _mails(journey["mails"], began)),
    ):
        said = list(lines)
        if said:
            yield from ("", title, *said)


def after(seconds: float) -> str:
    """A moment of a call, from its beginning: ``0:07.2``, ``1:02:05.0``."""
    tenths = max(0, int(seconds * 10 + 0.5))
    whole, tenth = divmod(tenths, 10)
    hours, minutes = whole // 3600, whole // 60 % 60
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{whole % 60:02d}.{tenth}"


def moment(at: float) -> str:
    """A moment as people read it, in UTC."""
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def outcome(call: Data) -> str:
    """What came of a call, in a word or two."""
    if call["state"] == "live":
        return "talking" if call["talking_since"] is not None else "live"
    if call["connected_at"] is not None:
        return f"talked {clock(call['talk_seconds'])}"
    if call["message"]:
        return "left a message"
    if call["missed"]:
        return "missed"
    return "not answered" if call["answered_at"] is None else "no talk"


# --------------------------------------------------------------------------------------------------------- parts


def _head(call: Data) -> Iterator[str]:
    company = f" of {_s(call['company'])}" if call["company"] else " of no company"
    yield f"{call['id']}: {call['direction']} call{company}"
    yield f"  from {_who(call)} to {_s(call['called'] or '?')}, {moment(call['began'])}" + (
        f", on {_s(call['switch'])}" if call["switch"] else ""
    )
    yield f"  routing version {_s(call['version'])}" if call["version"] else "  no routing version is known"
    if call["state"] == "live":
        where = f", in {_s(call['flow'])}/{_s(call['step'])}" if call["step"] else ""
        yield f"  still live: {outcome(call)}{where}"
        return
    by = _WHO_ENDED.get(call["ended_by"] or "", _s(call["ended_by"] or ""))
    yield f"  {outcome(call)}; over after {clock(call['ended_at'] - call['began'])}: {by} ({_s(call['cause'] or '?')})"


def _line(fact: Told, began: float) -> Iterator[str]:
    say = _SENTENCES.get(fact["type"])
    sentence = _plain(fact) if say is None else say(fact["data"])
    if sentence is None:
        return
    indent = "" if fact["type"] in _OUTER else "  "
    yield f"{after(fact['at'] - began):>9}  {indent}{sentence}"


def _recordings(found: Sequence[Data], began: float) -> Iterator[str]:
    for recording in found:
        length = f" of {clock(recording['seconds'])}" if recording["seconds"] else ""
        why = f": {_s(recording['why'])}" if recording["why"] else ""
        rule = f", by the rule {_s(recording['rule'])}" if recording["rule"] else ""
        consent = ", after the announcement" if recording["consent"] else ""
        yield f"  {recording['kind']}{length} {recording['id']}: {recording['state']}{rule}{consent}{why}"
        for segment in recording["segments"]:
            key = f" as {_s(segment['key'])}" if segment["key"] else ""
            trouble = f" ({_s(segment['why'])})" if segment["why"] else ""
            size = f", {segment['bytes']} bytes" if segment["bytes"] is not None else ""
            at = f" at {after(segment['stored_at'] - began)}" if segment["stored_at"] is not None else ""
            yield f"    {_s(segment['file'])}: {segment['state']}{at}{key}{size}{trouble}"


def _webhooks(events: Sequence[Data], began: float) -> Iterator[str]:
    unwanted = [_s(event["type"]) for event in events if not event["deliveries"]]
    for event in events:
        name = f"{_s(event['type'])} (#{event['sequence']}, {event['id']})"
        for delivery in event["deliveries"]:
            yield f"  {name} to {_s(delivery['url'])}: {_fate(delivery, began)}"
            for attempt in delivery["attempts"]:
                answer = attempt["error"] or "no answer" if attempt["status"] is None else attempt["status"]
                at = after(attempt["at"] - began)
                yield f"    try {attempt['number']} at {at}: {_s(answer)} in {attempt['seconds']:.2f} s"
    if unwanted:
        yield f"  no endpoint wants {', '.join(unwanted)}"


def _fate(delivery: Data, began: float) -> str:
    if delivery["state"] == "delivered" and delivery["delivered_at"] is not None:
        return f"delivered at {after(delivery['delivered_at'] - began)}"
    if delivery["state"] == "pending":
        return f"to be tried again at {moment(delivery['next_at'])}" if delivery["attempts"] else "not tried yet"
    return str(delivery["state"]) + (f" ({_s(delivery['why'])})" if delivery["why"] else "")


def _mails(mails: Sequence[Data], began: float) -> Iterator[str]:
    for mail in mails:
        sent = f" at {after(mail['sent_at'] - began)}" if mail["sent_at"] is not None else ""
        why = f" ({_s(mail['why'])})" if mail["why"] else ""
        yield f"  {mail['kind'].replace('_', ' ')} to {_s(mail['recipient'])}: {mail['state']}{sent}{why}"


# ----------------------------------------------------------------------------------------------------- sentences


def _started(data: Data) -> str:
    phone = f" from the phone of {_t(data, 'extension')}" if data.get("extension") else ""
    version = f"; routing {_t(data, 'version')} decides" if data.get("version") else ""
    return f"{_t(data, 'from') or 'somebody who hides the number'} calls {_t(data, 'to')}{phone}{version}"


def _taken_over(data: Data) -> str:
    if data.get("after") == "talk":
        return f"the talk is over: a controller takes the call up again in {_t(data, 'flow')}/{_t(data, 'step')}"
    return f"another controller takes the call over in {_t(data, 'flow')}/{_t(data, 'step')}"


def _entered(data: Data) -> str:
    again = ", again" if data.get("resumed") else ""
    return f"step {_t(data, 'flow')}/{_t(data, 'step')} ({_t(data, 'verb')}){again}"


def _left(data: Data) -> str:
    why = f", because: {_t(data, 'why', 1000)}" if data.get("why") else ""
    return f"goes on by {_t(data, 'outcome')}{why}"


def _leg_result(data: Data) -> str:
    result, who = data.get("result"), _phone(data)
    if data.get("why"):
        return f"{who} is not rung: {_t(data, 'why')}"
    if result == "lost":
        return f"{who} stops ringing: {_LOST.get(str(data.get('cause')), _t(data, 'cause') or 'it is gone')}"
    cause = f" ({_t(data, 'cause')})" if data.get("cause") else ""
    return f"{who} {_RESULTS.get(str(result), _t(data, 'result'))}{cause}"


def _looked_up(data: Data) -> str:
    why = f": {_t(data, 'why')}" if data.get("why") else ""
    return f"asked {_t(data, 'host')}: {_t(data, 'outcome')} after {_t(data, 'ms')} ms{why}"


def _joined(data: Data) -> str:
    skills = data.get("skills")
    needs = f", needs {_s(', '.join(map(str, skills)))}" if isinstance(skills, list) and skills else ""
    return f"waits in the queue {_t(data, 'queue')}, priority {_t(data, 'priority')}{needs}"


def _missed(data: Data) -> str:
    result = str(data.get("result"))
    return f"agent {_t(data, 'agent')} does not take the offer: {_RESULTS.get(result, _s(result))}"


def _ended(data: Data) -> str:
    by = _WHO_ENDED.get(str(data.get("by")), _t(data, "by"))
    return f"the call is over: {by} ({_t(data, 'cause')})"


def _message(data: Data) -> str:
    people = data.get("for")
    whom = ", ".join(map(str, people)) if isinstance(people, list) else "?"
    return f"a message of {_length(data)} for {_s(whom)}"


_SENTENCES: Mapping[str, Callable[[Data], str | None]] = {
    "call.placed": lambda data: f"{_t(data, 'by')} has {_t(data, 'person')} called first, and then {_t(data, 'to')}",
    "call.started": _started,
    "call.answered": lambda data: "the call is answered",
    "call.taken_over": _taken_over,
    "call.forwarded": lambda data: f"{_t(data, 'person')} forwards to {_t(data, 'to')} (rule {_t(data, 'rule')})",
    "forward.cut": lambda data: f"{_t(data, 'person')} forwards in a circle: {_t(data, 'to')} has been tried",
    "call.refused": lambda data: f"{_t(data, 'dialled')} is refused ({_t(data, 'reason')}): {_t(data, 'why')}",
    "call.ended": _ended,
    "talk.started": lambda data: f"they talk: {_t(data, 'with')} has answered",
    "talk.ended": lambda data: f"the talk with {_t(data, 'with')} lasted {_length(data)}",
    "step.entered": _entered,
    "step.left": _left,
    "step.failed": lambda data: f"a fault of ours in {_t(data, 'where')}: {_t(data, 'error')}",
    "step.gone": lambda data: (
        f"the step {_t(data, 'flow')}/{_t(data, 'step')} is in no routing any more: {_t(data, 'instead')} begins anew"
    ),
    "sound.missing": lambda data: f"a sound was not there, a tone was heard instead: {_t(data, 'sound')}",
    "switch.set": lambda data: (
        f"{_t(data, 'by')} turns {_t(data, 'switch')} {'on' if data.get('on') is True else 'off'}"
    ),
    "lookup.done": _looked_up,
    "leg.rung": lambda data: f"{_phone(data)} rings",
    "leg.result": _leg_result,
    "join.failed": lambda data: f"{_phone(data)} has answered and could not be connected",
    "queue.joined": _joined,
    "queue.offered": lambda data: f"is offered to agent {_t(data, 'agent')} (offer {_t(data, 'offer')})",
    "queue.missed": _missed,
    "queue.withdrawn": lambda data: f"is offered to agent {_t(data, 'agent')} no more",
    "queue.answered": lambda data: f"agent {_t(data, 'agent')} takes the call, after {_length(data, 'waited')}",
    "queue.left": lambda data: (
        f"leaves the queue {_t(data, 'queue')} by key {_t(data, 'key')}, after {_length(data, 'waited')}"
    ),
    "queue.timeout": lambda data: f"nobody took it: leaves {_t(data, 'queue')} after {_length(data, 'waited')}",
    "queue.unstaffed": lambda data: (
        f"nobody serves {_t(data, 'queue')} ({_t(data, 'outcome')}): leaves it after {_length(data, 'waited')}"
    ),
    "queue.refused": lambda data: f"the queue {_t(data, 'queue')} does not take the call: {_t(data, 'outcome')}",
    "queue.abandoned": lambda data: (
        f"the caller gives up waiting in {_t(data, 'queue')}, after {_length(data, 'waited')}"
    ),
    "message.recorded": _message,
    "message.empty": lambda data: "no message was left",
    "message.failed": lambda data: "the message could not be recorded",
    "recording.expected": lambda data: f"is to be recorded, segment {_t(data, 'segment')} (rule {_t(data, 'rule')})",
    "recording.started": lambda data: "recording begins",
    "recording.stopped": lambda data: f"recording stops, after {_length(data)}",
    "recording.paused": lambda data: f"{_t(data, 'by')} pauses the recording",
    "recording.resumed": lambda data: f"{_t(data, 'by')} lets the recording go on",
    "recording.failed": lambda data: f"recording fails: {_t(data, 'why') or _t(data, 'file')}",
    "recording.available": lambda data: f"the recording {_t(data, 'recording')} is in the store",
    "recording.absent": lambda data: f"nothing was recorded: {_t(data, 'why') or _t(data, 'recording')}",
    "recording.deleted": lambda data: f"the recording {_t(data, 'recording')} is deleted",
    "consent.played": lambda data: "the caller hears that the call is recorded",
}
#: What stands at the margin; the rest belongs to the step it happens in.
_OUTER = frozenset({"call.placed", "call.started", "call.taken_over", "call.ended", "step.entered", "step.gone"})


def _plain(fact: Told) -> str:
    """A fact that has no sentence."""
    data = ", ".join(f"{_s(key)} {_s(value)}" for key, value in fact["data"].items())
    return _s(fact["type"]) + (f": {data}" if data else "")


def _who(call: Data) -> str:
    if call["extension"]:
        return f"extension {_s(call['extension'])}"
    return _s(call["caller"] or "somebody who hides the number")


def _phone(data: Data) -> str:
    """A telephone: whose it is, and its number where that is another."""
    person, address = _t(data, "person"), _t(data, "address")
    return f"{person} at {address}" if person and address and person != address else address or person or "a phone"


def _length(data: Data, key: str = "seconds") -> str:
    value = data.get(key)
    return clock(value) if isinstance(value, int | float) and not isinstance(value, bool) else "unknown length"


def _t(data: Data, key: str, most: int = _LONGEST) -> str:
    value = data.get(key)
    return "" if value is None else _s(value, most)


def _s(value: Any, most: int = _LONGEST) -> str:
    """Anything, on one line that moves no cursor."""
    text = value if isinstance(value, str) else repr(value)
    return shown(text if len(text) <= most else text[:most] + "…")
