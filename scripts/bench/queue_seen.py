"""What is done to a queue with telephones, on whatever switch, and what the telephones see of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROUTING = Path(__file__).parent / "routing_queues"
#: Of ``routing_queues/bench.yaml``: its company, its agents, the number that leads to its queue, its music.
COMPANY = "bench"
EXTENSIONS = ("101", "102", "103")
NUMBER = "+442071230001"
MUSIC = "music.wav"
DOMAIN = "cordboard.test"


@dataclass(frozen=True, slots=True)
class Rush:
    """How much is done, in rounds: first calls one by one to agents who are free, then more callers than agents."""

    rounds: int = 4
    callers: int = 15
    talks: int = 30  #: of the three agents together, in each round
    talk: float = 2.0  #: seconds, from when they are joined
    ring: float = 0.1  #: seconds until an agent answers
    singles: int = 8
    short: float = 0.3  #: seconds that those talk
    pause: float = 2.2  #: seconds after each of those

    @property
    def seconds(self) -> float:
        """About how long the rounds of one contestant take."""
        single = self.singles * (self.pause + self.short + self.ring + 0.3)
        rush = self.talks / len(EXTENSIONS) * (self.talk + self.ring + 0.4)
        return self.rounds * (single + rush + self.pause)


@dataclass(slots=True)
class Seen:
    """What the telephones saw, seconds each, and what went wrong.

    ``idle``: from an agent's hanging up to the next ringing, callers waiting.  ``offer``: from the answer that a caller
    gets to an agent's ringing, agents free.  ``joined``: from an agent's answer until the two were joined, both as the
    switch says it, whose clock moves every 20 ms; ``voice``: from the answer until the caller's voice came to the
    agent's telephone, which gets a packet every 20 ms.
    """

    idle: list[float] = field(default_factory=list)
    offer: list[float] = field(default_factory=list)
    joined: list[float] = field(default_factory=list)
    voice: list[float] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, other: Seen) -> None:
        """Together with what was seen another time."""
        self.idle += other.idle
        self.offer += other.offer
        self.joined += other.joined
        self.voice += other.voice
        self.lost = dict(Counter(self.lost) + Counter(other.lost))

    def lose(self, what: str, count: int = 1) -> None:
        """Something went wrong so often."""
        if count:
            self.lost[what] = self.lost.get(what, 0) + count
