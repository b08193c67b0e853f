"""Where a person's calls go when they are not taken: the chain of forward rules, as a value.

A :class:`Chain` knows which rule led where and what comes next; it rings nobody.  It is written into the checkpoint as
one short text (``303x301n302.``: 303 has been tried in vain, 301 did not answer, now 302 is rung), so that whoever
takes the call over goes on in the middle of it.

The rules: ``always`` comes before the person's own phones; after them the rule of the result, else ``otherwise``.
When a forward fails in its turn, ``otherwise`` is followed if it was not yet, then the chain goes back to who
forwarded to this person.  The surprise: nobody is entered twice and a chain has an end, whatever the rules say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from callcontrol.routing.model import Person

#: How many people a chain may lead through.
MOST_PEOPLE = 5
#: One letter a rule, for the checkpoint.
_LETTERS = {"always": "a", "busy": "b", "no_answer": "n", "unreachable": "u", "otherwise": "o"}
_RULES = {letter: rule for rule, letter in _LETTERS.items()}
#: Of somebody who was entered and is done with.
_DONE = "x"
_FRAME = re.compile(r"([0-9]{1,6})([abnuo.x])")


@dataclass(frozen=True, slots=True)
class Chain:
    """People entered, each with the rule being followed; "" while their own phones ring.  Never empty."""

    frames: tuple[tuple[str, str], ...]
    entered: frozenset[str]

    @classmethod
    def begin(cls, people: Mapping[str, Person], extension: str) -> Chain:
        """The chain of a person who is dialled alone."""
        return cls((_first(people[extension]),), frozenset({extension}))

    @staticmethod
    def parse(text: str) -> tuple[tuple[str, str], ...]:
        """The frames of what :attr:`text` wrote; none if it is nothing of the kind."""
        return tuple((extension, _RULES.get(letter, "")) for extension, letter in _read(text) if letter != _DONE)

    @classmethod
    def read(cls, text: str, people: Mapping[str, Person]) -> Chain | None:
        """What :attr:`text` wrote; None if it is none, or names people or rules that are gone."""
        frames = cls.parse(text)
        if not frames:
            return None
        for extension, rule in frames:
            if extension not in people or (rule and rule not in people[extension].forward):
                return None
        return cls(frames, frozenset(extension for extension, _ in _read(text)))

    @property
    def text(self) -> str:
        """The chain for the checkpoint."""
        done = sorted(self.entered - {extension for extension, _ in self.frames})
        return "".join(extension + _DONE for extension in done) + "".join(_frame(*frame) for frame in self.frames)

    @property
    def extension(self) -> str:
        """Whose turn it is."""
        return self.frames[-1][0]

    @property
    def rule(self) -> str:
        """The rule being followed, "" for the person's own phones."""
        return self.frames[-1][1]

    def to(self, people: Mapping[str, Person]) -> str | None:
        """Where the rule leads: an extension, ``mobile``, ``voicemail``, a number; None: the own phones ring."""
        return str(people[self.extension].forward[self.rule]["to"]) if self.rule else None

    def enter(self, people: Mapping[str, Person], extension: str) -> Chain | None:
        """Go on to a person; None if the chain has been there, or is long enough: the circle is cut."""
        if extension in self.entered or len(self.entered) >= MOST_PEOPLE or extension not in people:
            return None
        return Chain((*self.frames, _first(people[extension])), self.entered | {extension})

    def failed(self, people: Mapping[str, Person], result: str) -> Chain | None:
        """What comes after ``result``, an outcome of ``dial``; None: nothing."""
        frames = list(self.frames)
        first = True
        while frames:
            extension, rule = frames[-1]
            forward = people[extension].forward
            following = ""
            if first and not rule and result in forward:
                following = result
            elif rule != "otherwise" and "otherwise" in forward:
                following = "otherwise"
            if following:
                frames[-1] = (extension, following)
                return Chain(tuple(frames), self.entered)
            frames.pop()
            first = False
        return None


def _frame(extension: str, rule: str) -> str:
    # An own phone that rings ends in ".", or "301" and "302" behind each other would be one number.
    return f"{extension}{_LETTERS.get(rule, '.')}"


def _read(text: str) -> list[tuple[str, str]]:
    """Extensions and letters; nothing if the text has anything else."""
    found: list[tuple[str, str]] = _FRAME.findall(text)
    return found if "".join(map("".join, found)) == text else []


def _first(person: Person) -> tuple[str, str]:
    return person.extension, "always" if "always" in person.forward else ""
