"""``menu``: a prompt and the keys that answer it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow as ma

from callcontrol.hunt import Hunt, owed_by_hunt
from callcontrol.keypad import Choice, ask
from callcontrol.messages import Progress
from callcontrol.routing import kinds
from callcontrol.routing.model import Edge, Prompt, Routing, Stage, Target
from callcontrol.steps.base import OTHERWISE, THEN, Run, Step, View
from callcontrol.view import dialable

#: The keys of a telephone, in the order in which one that means nothing is looked for.
KEYS = "9876543210*#"
#: Ringing time of an extension dialled in a menu, seconds.
DIRECT_RING = 30.0


class Menu(Step):
    """Play a prompt and follow the key that the caller presses, also while it still plays.

    ``extensions`` lets callers dial people (or the members of groups) directly: a talk is the menu's
    ``then``, any other result its ``otherwise``.  A key that begins an extension waits two seconds for the
    rest.  After ``tries`` wrong or missing answers the outcome is ``invalid`` or ``timeout``, by the last.

    ```yaml
    greet:
      menu: For sales press 1, for service press 2.
      keys: {1: sales, 2: service, star: greet}
      extensions: [service, 301]
      tries: 3
      wait: 5s
      otherwise: anna
    ```

    then: a talk with somebody whose extension was dialled here is over
    timeout: the last try brought no key at all
    invalid: the last try brought a key that means nothing here
    """

    verb = "menu"
    talks = True
    outcomes = ("timeout", "invalid")

    class Fields(ma.Schema):
        """menu: what the caller hears
        keys: where each key leads
        extensions: whose extensions the caller may dial; a group stands for its members
        tries: how often the prompt is played
        wait: how long the caller may think when the prompt is over
        """

        menu = kinds.PromptField(required=True)
        keys = kinds.KeysField(load_default=dict)
        extensions = kinds.ExtensionsField(load_default=())
        tries = kinds.CountField(1, 9, load_default=3)
        wait = kinds.DurationField(1, 60, load_default=5.0)

    what: Prompt
    keys: Mapping[str, Edge]
    extensions: tuple[Target, ...]
    tries: int
    wait: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        if "x" in progress:  # an extension was being rung when the call changed hands
            return (yield from self._dial(call, str(progress["x"]), progress))
        left = min(int(progress.get("left", self.tries)), self.tries)
        choice = Choice(keys=frozenset(self.keys), extensions=dialable(call.routing, self.extensions))
        outcome = "timeout"
        while left > 0:
            yield Progress({"left": left})
            entered = yield from ask(call, self.what, choice, self.wait)
            if entered.valid and entered.digits in self.keys:
                call.why(f"pressed {entered.digits}")
                return self.keys[entered.digits]
            if entered.valid:
                return (yield from self._dial(call, entered.digits, {}))
            outcome = "invalid" if entered.digits else "timeout"
            call.why(f"pressed {entered.digits}, which means nothing here" if entered.digits else "pressed nothing")
            left -= 1
        return outcome

    def _dial(self, call: View, extension: str, progress: dict[str, Any]) -> Run:
        call.why(f"dialled extension {extension}")
        hunt = Hunt((Stage((Target(person=extension),), DIRECT_RING),), note={"x": extension})
        result: str | Edge = yield from hunt.run(call, progress)
        return result if isinstance(result, Edge) or result == THEN else OTHERWISE

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str, now: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        return owed_by_hunt(progress, company, call_id)

    # ------------------------------------------------------------------------------- what walks ask

    def typed(self, routing: Routing) -> tuple[str, ...]:
        extensions = sorted(dialable(routing, self.extensions))
        known = {*self.keys, *(extension[0] for extension in extensions)}
        return (*self.keys, *extensions, *itertools.islice((key for key in KEYS if key not in known), 1))
