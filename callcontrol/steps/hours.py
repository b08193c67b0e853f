"""``hours``: where a call goes by the time of day."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge
from callcontrol.steps.base import OTHERWISE, Run, Step, View

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class HoursStep(Step):
    """Follow the first of these hours that is on now; ``otherwise`` when none is, and must be given.

    ```yaml
    clock: {hours: {shut: night, office: greet, lunch: lunch}, otherwise: night}
    ```
    """

    verb = "hours"
    then = "never"
    needs_otherwise = True
    takes_time = False

    class Fields(ma.Schema):
        """hours: the hours to look at, in this order, and where each leads"""

        hours = kinds.HoursEdgesField(required=True)

    what: tuple[tuple[str, Edge], ...]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        here = dt.datetime.fromtimestamp(call.now, ZoneInfo(call.routing.timezone))
        call.why(f"it is {_DAYS[here.weekday()]} {here:%H:%M}")
        for name, edge in self.what:
            if call.hours_on(name):
                call.why(f"{name} is on")
                return edge
        call.why("none of the hours is on")
        return OTHERWISE
        yield
