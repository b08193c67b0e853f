"""``voicemail``: let the caller leave a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Prompt
from callcontrol.steps.base import THEN, Run, Step, View
from callcontrol.voicemail import leave_message, owed


class Voicemail(Step):
    """Play a greeting and a tone, and record a message for these people.  Any key, or silence, ends it.

    The recording goes on while the call changes hands: the caller notices nothing.

    ```yaml
    message: {voicemail: [301, 302], greeting: Please leave a message., max_length: 2m, then: hangup}
    ```

    then: the message is kept, or the caller said nothing
    """

    verb = "voicemail"

    class Fields(ma.Schema):
        """voicemail: whose message it is
        greeting: what the caller hears before the tone; without it only the tone
        max_length: the longest message
        """

        voicemail = kinds.PeopleField(required=True)
        greeting = kinds.PromptField(load_default=None)
        max_length = kinds.DurationField(5, 600, load_default=120.0)

    what: tuple[str, ...]
    greeting: Prompt | None
    max_length: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        greeting = call.sound(self.greeting) if self.greeting is not None else None
        yield from leave_message(call, progress, self.what, greeting, self.max_length)
        return THEN

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str, now: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        return owed(progress, self.what, company, call_id)
