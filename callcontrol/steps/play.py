"""``play``: say something."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Prompt
from callcontrol.steps.base import THEN, Run, Step, View


class Play(Step):
    """Play text or a sound to the caller, then go on.  Keys pressed meanwhile do nothing.

    ```yaml
    lunch: {play: We are back at two o'clock., then: message}
    ```

    then: it was played to its end
    """

    verb = "play"

    class Fields(ma.Schema):
        """play: what the caller hears"""

        play = kinds.PromptField(required=True)

    what: Prompt

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        yield from call.say(self.what)
        return THEN
