"""``collect``: ask for digits and keep them."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.keypad import Digits, ask
from callcontrol.messages import Progress
from callcontrol.routing import kinds
from callcontrol.routing.model import Prompt, Routing
from callcontrol.steps.base import THEN, Run, Step, View

#: Digits that a caller might enter.
_SAMPLE = "12345678901234567890123456789012"


class Collect(Step):
    """Ask for a number of digits and keep them in a variable.  ``#`` ends a shorter entry early.

    ```yaml
    ask:
      collect: Please enter your order number.
      digits: 4-8
      into: order
      wait: 8s
      then: who
      otherwise: reception/sales
    ```

    then: the digits are complete, and in the variable
    timeout: the last try brought no digit at all
    invalid: the last try brought too few digits
    """

    verb = "collect"
    outcomes = ("timeout", "invalid")
    then = "required"

    class Fields(ma.Schema):
        """collect: what the caller hears
        digits: how many digits are wanted
        into: the variable that keeps them
        tries: how often the caller is asked
        wait: how long the caller may think when the prompt is over
        """

        collect = kinds.PromptField(required=True)
        digits = kinds.DigitsField(required=True)
        into = kinds.VariableField(required=True)
        tries = kinds.CountField(1, 9, load_default=3)
        wait = kinds.DurationField(1, 60, load_default=5.0)

    what: Prompt
    digits: tuple[int, int]
    into: str
    tries: int
    wait: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        left = min(int(progress.get("left", self.tries)), self.tries)
        outcome = "timeout"
        while left > 0:
            yield Progress({"left": left})
            entered = yield from ask(call, self.what, Digits(*self.digits), self.wait)
            if entered.valid and call.fits(self.into, entered.digits):
                call.set(self.into, entered.digits)
                call.why(f"{self.into} = {entered.digits}")
                return THEN
            outcome = "invalid" if entered.digits else "timeout"
            call.why(f"entered {entered.digits}, too short" if entered.digits else "entered nothing")
            left -= 1
        return outcome

    def typed(self, routing: Routing) -> tuple[str, ...]:
        least, most = self.digits
        enough = _SAMPLE[:least] + ("#" if least < most else "")
        return (enough, _SAMPLE[: least - 1] + "#") if least > 1 else (enough,)
