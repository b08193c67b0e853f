"""``set``: give the call's variables new values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.steps.base import THEN, Run, Step, View


class Set(Step):
    """Set variables of this call; ``language`` changes what the caller hears.

    A value is 64 bytes at most, all of a call's together 160.

    ```yaml
    russian: {set: {language: ru}, then: greet}
    ```

    then: at once
    """

    verb = "set"
    then = "required"
    takes_time = False

    class Fields(ma.Schema):
        """set: the variables and their new values"""

        set = kinds.AssignmentsField(required=True)

    what: Mapping[str, str]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        for name, value in self.what.items():
            call.set(name, value)
        call.why(", ".join(f"{name} = {value}" for name, value in self.what.items()))
        return THEN
        yield
