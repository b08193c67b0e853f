"""Leaving a message: the one way in which a caller is recorded for somebody, by a step or by a forward.

The recording goes on while the call changes hands.  Progress: ``r`` the message's number, ``t`` when it began,
with whatever else the one who asks keeps there.  The surprise: the caller's hangup is the usual end of a message,
and the file is whole only after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from callcontrol.messages import (
    Digit,
    HungUp,
    Log,
    Progress,
    Record,
    RecordEnded,
    Sound,
    StopRecord,
    Tell,
    Tone,
    Wait,
)
from callcontrol.spool import message_file
from callcontrol.view import Part, View

#: Silence that ends a message, seconds.
SILENCE = 6.0
#: How long the switch may take to close a file, seconds.
CLOSING = 5.0
#: A message shorter than this is a caller who hung up at the tone, seconds.
SHORTEST = 0.5


def leave_message(
    call: View,
    progress: Mapping[str, Any],
    people: Sequence[str],
    greeting: Sound | None,
    max_length: float,
    note: Mapping[str, Any] | None = None,
) -> Part:
    """Play the greeting and a tone, and record."""
    again = "t" in progress
    number = int(progress["r"]) if again else call.next_ring()
    began = min(float(progress["t"]), call.now) if again else call.now
    if not again:
        if greeting is not None:
            yield from call.play(greeting)
        yield from call.play(Tone("record_beep"))
        began = call.now
    name = file_name(call.routing.company, call.id, number)
    left = max(1.0, max_length - (call.now - began))
    record = call.next_id()
    yield Progress({**(note or {}), "r": number, "t": int(began)})
    yield Record(record, name, left, SILENCE, again=again)
    until, ending, gone = call.now + left, False, False
    while True:
        event = yield Wait(until, past_end=True)
        if isinstance(event, RecordEnded) and event.id == record:
            if event.failed:
                break
            yield _recorded(call, people, name, event.seconds)
            return
        if isinstance(event, HungUp):
            until, ending, gone = call.now + CLOSING, True, True
        elif ending and call.now >= until:
            break
        elif not ending and (isinstance(event, Digit) or call.now >= until):
            yield StopRecord(record)
            until, ending = call.now + CLOSING, True
    yield Tell("message.failed", {"for": list(people)})
    yield Log("error", "the message was not recorded")
    if not gone:
        yield from call.play(Tone("apology"))


def owed(
    progress: Mapping[str, Any], people: Sequence[str], company: str, call_id: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fact of a message that was being left as the call ended and nobody owned it."""
    number = progress.get("r")
    if "t" in progress and isinstance(number, int):
        yield "message.recorded", _message(people, file_name(company, call_id, number), None)


def _recorded(call: View, people: Sequence[str], name: str, seconds: float) -> Tell:
    if seconds < SHORTEST:
        call.why("left no message")
        return Tell("message.empty", _message(people, name, seconds))
    call.why(f"left a message of {seconds:.1f} s")
    return Tell("message.recorded", _message(people, name, seconds))


def _message(people: Sequence[str], name: str, seconds: float | None) -> dict[str, Any]:
    return {"for": list(people), "files": [name], "seconds": seconds}


def file_name(company: str, call_id: str, number: int) -> str:
    """The spool file of a message: company, call, number of the message in the call."""
    return message_file(company, call_id, number).name
