"""Keys that a caller presses: asking for them and telling when an entry is complete.

The call owns the digits, not the switch: a key that is pressed in one step never reaches the next, an
unambiguous entry is complete at once, and an ambiguous one (key ``3`` where there is an extension ``301``)
after the inter-digit time-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from callcontrol.messages import Digit, TimeCame, Wait
from callcontrol.routing.model import Prompt
from callcontrol.view import LONGEST_SOUND, Part, Playing, View

#: How long a caller may think between two digits, seconds.
INTERDIGIT = 2.0
#: How long the rest of a wrong entry is swallowed, so that it does not answer the next prompt, seconds.
SWALLOW = 1.0


class Judgement(Enum):
    """What a few digits are worth so far."""

    COMPLETE = "complete"  # nothing longer could be meant
    ENOUGH = "enough"  # valid, but something longer could be meant
    MORE = "more"  # only the beginning of something
    WRONG = "wrong"  # the beginning of nothing


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these keys, or one of these extensions."""

    keys: frozenset[str]
    extensions: frozenset[str]

    def judge(self, digits: str) -> Judgement:
        """Judge a non-empty entry; ``#`` ends one unless it is a key itself."""
        if digits.endswith("#") and "#" not in self.keys:
            known = digits[:-1] in self.keys or digits[:-1] in self.extensions
            return Judgement.COMPLETE if known else Judgement.WRONG
        longer = any(len(e) > len(digits) and e.startswith(digits) for e in self.extensions)
        if digits in self.keys or digits in self.extensions:
            return Judgement.ENOUGH if longer else Judgement.COMPLETE
        return Judgement.MORE if longer else Judgement.WRONG

    @property
    def longest(self) -> int:
        """The longest entry that means something."""
        return max([1 if self.keys else 0, *(len(e) for e in self.extensions)])


@dataclass(frozen=True, slots=True)
class Digits:
    """Between ``least`` and ``longest`` digits."""

    least: int
    longest: int

    def judge(self, digits: str) -> Judgement:
        """Judge a non-empty entry; ``#`` ends one."""
        number = digits.removesuffix("#")
        if "*" in number or "#" in number or len(number) > self.longest:
            return Judgement.WRONG
        if digits.endswith("#"):
            return Judgement.COMPLETE if len(number) >= self.least else Judgement.WRONG
        if len(number) == self.longest:
            return Judgement.COMPLETE
        return Judgement.ENOUGH if len(number) >= self.least else Judgement.MORE


@dataclass(frozen=True, slots=True)
class Entered:
    """What the caller entered: ``digits`` without the ending ``#``, empty when nothing was pressed."""

    digits: str
    valid: bool


def ask(call: View, prompt: Prompt, wanted: Choice | Digits, wait: float) -> Part:
    """Play ``prompt``, which any key cuts short, and return what the caller Entered; the call remembers the keys.

    ``wait``: seconds of silence after the prompt before giving up.
    """
    entered = yield from _entered(call, prompt, wanted, wait)
    call.keys.append(entered.digits)
    return entered


def _entered(call: View, prompt: Prompt, wanted: Choice | Digits, wait: float) -> Part:
    playing = Playing(call, call.sound(prompt), bargein=True)
    yield from playing.start()
    digits = ""
    until = call.now + LONGEST_SOUND
    while True:
        event = yield Wait(until)
        if isinstance(event, Digit):
            digits += event.key
            judgement = wanted.judge(digits)
            if judgement is Judgement.COMPLETE:
                return Entered(_stripped(digits, wanted), True)
            if judgement is Judgement.WRONG:
                yield from _swallow(call, wanted.longest - len(digits))
                return Entered(digits, False)
            until = call.now + INTERDIGIT
        elif isinstance(event, TimeCame):
            valid = bool(digits) and wanted.judge(digits) is Judgement.ENOUGH
            return Entered(_stripped(digits, wanted), valid)
        elif playing.active and (yield from playing.over(event)) and not digits:
            until = call.now + wait


def _stripped(digits: str, wanted: Choice | Digits) -> str:
    if isinstance(wanted, Choice) and "#" in wanted.keys:
        return digits
    return digits.removesuffix("#")


def _swallow(call: View, at_most: int) -> Part:
    until = call.now + SWALLOW
    while at_most > 0 and call.now < until:
        event = yield Wait(until)
        if isinstance(event, Digit):
            at_most -= 1
            until = call.now + SWALLOW
