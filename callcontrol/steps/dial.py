"""``dial``: ring people until somebody answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import marshmallow as ma

from callcontrol.hunt import Hunt
from callcontrol.routing import kinds
from callcontrol.routing.model import Stage
from callcontrol.steps.base import Run, Step, View


class Dial(Step):
    """Ring a person, a group, a number, or stages of them; ``then`` is followed after they talked.

    A stage rings its targets together, or ``strategy: in-order`` one by one; a later stage ends the earlier.
    ``ring`` bounds each.  The outcome is that of the target who came nearest: ``declined`` before ``busy``
    before ``no_answer`` before ``unreachable``; ``refused`` when policy forbids the number.

    ```yaml
    service:
      dial:
        - {to: service, ring: 15s}
        - {to: oncall, ring: 25s, strategy: in-order}
      otherwise: message
    ```
    """

    verb = "dial"
    outcomes = ("busy", "no_answer", "unreachable", "declined", "refused")

    class Fields(ma.Schema):
        dial = kinds.StagesField(required=True)
        ring = kinds.DurationField(5, 300, load_default=30.0)
        strategy = kinds.ChoiceField("together", "in-order", load_default="together")

    what: tuple[Stage, ...]
    ring: float
    strategy: str

    def stages(self) -> tuple[Stage, ...]:
        """The stages with the step's own ``ring`` and ``strategy`` where the stage has none."""
        return tuple(
            stage if stage.ring else replace(stage, ring=self.ring, strategy=self.strategy) for stage in self.what
        )

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        outcome: str = yield from Hunt(self.stages()).run(call, progress)
        return outcome
