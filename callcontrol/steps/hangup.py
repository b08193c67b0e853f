"""``hangup``: end the call, and say why to the caller's network."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.messages import HANGUP_REASONS
from callcontrol.routing import kinds
from callcontrol.steps.base import THEN, Run, Step, View


class HangupStep(Step):
    """End the call.  Before any sound was played ``busy`` is a real busy signal (SIP 486) and costs nothing.

    ```yaml
    reject: {hangup: busy}
    ```
    """

    verb = "hangup"
    then = "never"

    class Fields(ma.Schema):
        """hangup: what the caller's network is told"""

        hangup = kinds.ChoiceField(*HANGUP_REASONS, required=True)

    what: str

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        call.why(self.what)
        yield from call.hang_up(self.what)
        return THEN
