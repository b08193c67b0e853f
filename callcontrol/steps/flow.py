"""``flow``: run another flow and come back."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.steps.base import EnterFlow, Run, Step, View


class FlowStep(Step):
    """Run another flow; its ``return`` comes back to this step's ``then``.

    An edge of that flow which leads into yet another flow leaves for good.

    ```yaml
    feedback: {flow: survey, then: goodbye}
    ```

    then: the other flow came to a ``return``
    """

    verb = "flow"
    talks = True
    takes_time = False

    class Fields(ma.Schema):
        """flow: the flow to run"""

        flow = kinds.FlowField(required=True)

    what: str

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        return EnterFlow(self.what)
        yield
