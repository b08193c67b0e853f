"""``voicemail``: let the caller leave a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow as ma

from callcontrol.messages import Digit, HungUp, Log, Progress, Record, RecordEnded, StopRecord, Tell, Tone, Wait
from callcontrol.routing import kinds
from callcontrol.routing.model import Prompt
from callcontrol.steps.base import THEN, Run, Step, View

#: Silence that ends a message, seconds.
SILENCE = 6.0
#: How long the switch may take to close a file, seconds.
CLOSING = 5.0
#: A message shorter than this is a caller who hung up at the tone, seconds.
SHORTEST = 0.5


class Voicemail(Step):
    """Play a greeting and a tone, and record a message for these people.  Any key, or silence, ends it.

    The recording goes on while the call changes hands: the caller notices nothing.

    ```yaml
    message: {voicemail: [301, 302], greeting: Please leave a message., max_length: 2m, then: hangup}
    ```
    """

    verb = "voicemail"

    class Fields(ma.Schema):
        voicemail = kinds.PeopleField(required=True)
        greeting = kinds.PromptField(load_default=None)
        max_length = kinds.DurationField(5, 600, load_default=120.0)

    what: tuple[str, ...]
    greeting: Prompt | None
    max_length: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        again = "t" in progress
        number = int(progress["r"]) if again else call.next_ring()
        began = min(float(progress["t"]), call.now) if again else call.now
        if not again:
            if self.greeting is not None:
                yield from call.say(self.greeting)
            yield from call.play(Tone("record_beep"))
            began = call.now
        name = file_name(call.routing.company, call.id, number)
        left = max(1.0, self.max_length - (call.now - began))
        record = call.next_id()
        yield Progress({"r": number, "t": int(began)})
        yield Record(record, name, left, SILENCE, again=again)
        until, ending, gone = call.now + left, False, False
        while True:
            event = yield Wait(until, past_end=True)
            if isinstance(event, RecordEnded) and event.id == record:
                if event.failed:
                    break
                yield self._recorded(call, name, event.seconds)
                return THEN
            if isinstance(event, HungUp):
                until, ending, gone = call.now + CLOSING, True, True
            elif ending and call.now >= until:
                break
            elif not ending and (isinstance(event, Digit) or call.now >= until):
                yield StopRecord(record)
                until, ending = call.now + CLOSING, True
        yield Tell("message.failed", {"for": list(self.what)})
        yield Log("error", "the message was not recorded")
        if not gone:
            yield from call.play(Tone("apology"))
        return THEN

    def _recorded(self, call: View, name: str, seconds: float) -> Tell:
        if seconds < SHORTEST:
            call.why("left no message")
            return Tell("message.empty", self._message(name, seconds))
        call.why(f"left a message of {seconds:.1f} s")
        return Tell("message.recorded", self._message(name, seconds))

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if "t" in progress:
            yield "message.recorded", self._message(file_name(company, call_id, int(progress["r"])), None)

    def _message(self, name: str, seconds: float | None) -> dict[str, Any]:
        return {"for": list(self.what), "files": [name], "seconds": seconds}


def file_name(company: str, call_id: str, number: int) -> str:
    """The spool file of a message: company, call, number of the message in the call."""
    return f"{company}_{call_id}_m{number}.wav"
