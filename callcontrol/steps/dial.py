"""``dial``: ring people until somebody answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import marshmallow as ma

from callcontrol.hunt import Hunt, owed_by_hunt
from callcontrol.routing import kinds
from callcontrol.routing.model import Edge, Prompt, Stage
from callcontrol.steps.base import Run, Step, View


class Dial(Step):
    """Ring a person, a group, a number, or stages of them; ``then`` is followed after they talked.

    A stage rings its targets together, or ``strategy: in-order`` one by one; a later stage ends the earlier.
    ``ring`` bounds each.  The outcome is that of the target who came nearest: ``declined`` before ``busy``
    before ``no_answer`` before ``unreachable``; ``refused`` when policy forbids the number.

    Forward rules hold for one person dialled alone.  A number outside must press 1 to take the call, so that no
    mailbox does, unless ``confirm: false``; a person's own phones go by what stands under the person.  ``whisper``
    is heard by whoever answers, before they are connected.

    ```yaml
    service:
      dial:
        - {to: service, ring: 15s}
        - {to: oncall, ring: 25s, strategy: in-order}
      otherwise: message
    ```

    then: somebody answered, and the talk is over
    busy: somebody's telephone was busy, and nobody declined
    no_answer: telephones rang, and nobody took the call
    unreachable: no telephone could be rung: not registered, no trunk, or no such number
    declined: somebody pressed the red button
    refused: the number may not be dialled (see ``outbound``), or all lines are in use
    """

    verb = "dial"
    talks = True
    outcomes = ("busy", "no_answer", "unreachable", "declined", "refused")

    class Fields(ma.Schema):
        """dial: whom to ring
        ring: how long it rings, with ``in-order`` for each target; where a stage does not say
        strategy: ``together`` rings all at once, ``in-order`` one after the other; where a stage does not say
        confirm: whether a number outside must press 1 to take the call
        whisper: what whoever answers hears before they are connected; it takes the place of the person's own
        """

        dial = kinds.StagesField(required=True)
        ring = kinds.DurationField(5, 300, load_default=30.0)
        strategy = kinds.ChoiceField("together", "in-order", load_default="together")
        confirm = kinds.YesNoField(load_default=True)
        whisper = kinds.PromptField(load_default=None)

    what: tuple[Stage, ...]
    ring: float
    strategy: str
    confirm: bool
    whisper: Prompt | None

    def stages(self) -> tuple[Stage, ...]:
        """The stages with the step's own ``ring`` and ``strategy`` where the stage has none."""
        whole = (stage if stage.ring else replace(stage, ring=self.ring, strategy=self.strategy) for stage in self.what)
        return tuple(replace(stage, confirm=self.confirm, whisper=self.whisper) for stage in whole)

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        outcome: str | Edge = yield from Hunt(self.stages()).run(call, progress)
        return outcome

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str, now: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        return owed_by_hunt(progress, company, call_id)
