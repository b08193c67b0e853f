"""``voicemail``: let the caller leave a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow as ma

from callcontrol.messages import HungUp, Log, Progress, Record, RecordEnded, Tell, Tone, Wait
from callcontrol.routing import kinds
from callcontrol.routing.model import Prompt
from callcontrol.steps.base import THEN, Run, Step, View
from callcontrol.view import Part

#: Silence that ends a message, seconds.
SILENCE = 6.0
#: A message shorter than this is a caller who hung up at the tone, seconds.
SHORTEST = 0.5


class Voicemail(Step):
    """Play a greeting and a tone, and record a message for these people.  Any key, or silence, ends it.

    A message that a restart cut in two is one message of two segments.

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
        cut = int(progress.get("n", 0))
        number = int(progress["r"]) if cut else call.next_ring()
        began = float(progress.get("t", call.now))
        if not cut and self.greeting is not None:
            yield from call.say(self.greeting)
            began = call.now
        segment, left = cut + 1, self.max_length - (call.now - began)
        if left < 1:
            yield Tell("message.recorded", self._message(call.routing.company, call.id, number, cut, None))
            return THEN
        yield Progress({"n": cut, "r": number, "t": int(began)} if cut else {})
        yield from call.play(Tone("record_beep"))
        yield Progress({"n": segment, "r": number, "t": int(began)})
        record = call.next_id()
        yield Record(record, segment_name(call.routing.company, call.id, number, segment), left, SILENCE)
        until, gone = call.now + left + 10.0, False
        while call.now < until:
            event = yield Wait(until, past_end=True)
            if isinstance(event, RecordEnded) and event.id == record and event.failed:
                break
            if isinstance(event, RecordEnded) and event.id == record:
                yield from self._recorded(call, number, segment, event.seconds)
                return THEN
            if isinstance(event, HungUp):
                until, gone = call.now + 5.0, True
        yield Tell("message.failed", {"for": list(self.what)})
        yield Log("error", "the message was not recorded")
        if not gone:
            yield from call.play(Tone("apology"))
        return THEN

    def _recorded(self, call: View, number: int, segment: int, seconds: float) -> Part:
        if segment == 1 and seconds < SHORTEST:
            call.why("left no message")
            yield Tell("message.empty", self._message(call.routing.company, call.id, number, 1, seconds))
            return
        call.why(f"left a message of {seconds:.0f} s" + (f" in {segment} segments" if segment > 1 else ""))
        yield Tell("message.recorded", self._message(call.routing.company, call.id, number, segment, seconds))

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if progress.get("n"):
            number, segments = int(progress["r"]), int(progress["n"])
            yield "message.recorded", self._message(company, call_id, number, segments, None)

    def _message(
        self, company: str, call_id: str, number: int, segments: int, seconds: float | None
    ) -> dict[str, Any]:
        files = [segment_name(company, call_id, number, n) for n in range(1, segments + 1)]
        return {"for": list(self.what), "files": files, "seconds": seconds}


def segment_name(company: str, call_id: str, number: int, segment: int) -> str:
    """The spool file of one segment: company, call, number of the message in the call, segment."""
    return f"{company}_{call_id}_m{number}_{segment}.wav"
