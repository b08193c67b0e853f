"""What became of some calls, whoever placed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self


class BenchError(Exception):
    """Something that the bench needs did not start or did not answer; ``str()`` says what and shows its last words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Calls ``placed``; of each one answered the ``delays`` (seconds) from its arrival; what was ``lost``, by cause."""

    placed: int
    delays: list[float] = field(default_factory=list)
    lost: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def together(cls, outcomes: Iterable[Outcome]) -> Self:
        """Several as one."""
        placed, delays, lost, seconds = 0, list[float](), Counter[str](), 0.0
        for one in outcomes:
            placed += one.placed
            delays += one.delays
            lost.update(one.lost)
            seconds += one.seconds
        return cls(placed, delays, dict(lost), seconds)
