"""``caller``: where a call goes by who calls."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge
from callcontrol.steps.base import OTHERWISE, Run, Step, View


class Caller(Step):
    """Look the caller's number up in lists; the first list that has it decides.

    A withheld or unreadable number is ``anonymous``.  ``otherwise`` is for everybody else, and must be given.

    ```yaml
    gate: {caller: {blocked: reject, vip: vip}, otherwise: clock}
    ```
    """

    verb = "caller"
    then = "never"
    needs_otherwise = True
    takes_time = False

    class Fields(ma.Schema):
        """caller: the lists to look in, in this order, and where each leads"""

        caller = kinds.CallerEdgesField(required=True)

    what: tuple[tuple[str, Edge], ...]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        for name, edge in self.what:
            if call.routing.lists[name].matches(call.caller):
                call.why(f"{call.caller or 'anonymous'} is on the list {name}")
                return edge
        call.why("on no list")
        return OTHERWISE
        yield
