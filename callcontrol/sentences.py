"""What a fact says, in plain words: one table for calls that were (``cordboard why``) and calls that are only walked
(``cordboard try``), so that people learn to read it once.

Knows no journal and no walk.  The surprise: names, numbers, reasons and answers of services came from strangers, and a
terminal obeys what is printed on it: every value goes through :func:`plainly`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callcontrol.queue_views import shown
from callcontrol.queueing import clock

Data = Mapping[str, Any]

_RESULTS = {
    "busy": "is busy",
    "declined": "declines",
    "no_answer": "does not answer",
    "unreachable": "cannot be reached",
    "refused": "is not let through",
}
_LOST = {"LOSE_RACE": "somebody else answered first", "ORIGINATOR_CANCEL": "it is not wanted any more"}
WHO_ENDED = {
    "caller": "the caller hung up",
    "cordboard": "the routing ended it",
    "command": "it was ended by a command",
    "unowned": "it ended while no controller had it",
    "nobody": "nobody saw its end",
}
#: Characters of a value that are shown.
_LONGEST = 200


def after(seconds: float) -> str:
    """A moment of a call, from its beginning: ``0:07.2``, ``1:02:05.0``."""
    tenths = max(0, int(seconds * 10 + 0.5))
    whole, tenth = divmod(tenths, 10)
    hours, minutes = whole // 3600, whole // 60 % 60
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{whole % 60:02d}.{tenth}"


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
    needs = f", needs {plainly(', '.join(map(str, skills)))}" if isinstance(skills, list) and skills else ""
    return f"waits in the queue {_t(data, 'queue')}, priority {_t(data, 'priority')}{needs}"


def _missed(data: Data) -> str:
    result = str(data.get("result"))
    return f"agent {_t(data, 'agent')} does not take the offer: {_RESULTS.get(result, plainly(result))}"


def _ended(data: Data) -> str:
    by = WHO_ENDED.get(str(data.get("by")), _t(data, "by"))
    return f"the call is over: {by} ({_t(data, 'cause')})"


def _message(data: Data) -> str:
    people = data.get("for")
    whom = ", ".join(map(str, people)) if isinstance(people, list) else "?"
    return f"a message of {_length(data)} for {plainly(whom)}"


#: Type of a fact → its sentence; what has none is told by its fields.
SENTENCES: Mapping[str, Callable[[Data], str | None]] = {
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
OUTER = frozenset({"call.placed", "call.started", "call.taken_over", "call.ended", "step.entered", "step.gone"})


def _phone(data: Data) -> str:
    """A telephone: whose it is, and its number where that is another."""
    person, address = _t(data, "person"), _t(data, "address")
    return f"{person} at {address}" if person and address and person != address else address or person or "a phone"


def _length(data: Data, key: str = "seconds") -> str:
    value = data.get(key)
    return clock(value) if isinstance(value, int | float) and not isinstance(value, bool) else "unknown length"


def _t(data: Data, key: str, most: int = _LONGEST) -> str:
    value = data.get(key)
    return "" if value is None else plainly(value, most)


def plainly(value: Any, most: int = _LONGEST) -> str:
    """Anything, on one line that moves no cursor."""
    text = value if isinstance(value, str) else repr(value)
    return shown(text if len(text) <= most else text[:most] + "…")
