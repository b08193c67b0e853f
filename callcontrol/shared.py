"""What the controllers of all machines share, as one process sees it: day/night switches, counts of calls outside.

The truth of both is in Redis (``switchboard.py``); here is a copy, or a share of it, for the time that Redis is away.
It knows no call and no switch.  The surprises: reading a switch never waits for Redis, so a change made elsewhere is
seen up to a second later; and while Redis is away a process lets only its share of a company's calls out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import structlog

from callcontrol.messages import SwitchSet
from callcontrol.switchboard import Switchboard

#: A leg is counted before the switch knows it: how long the reconciler gives it to appear, seconds.
SETTLED = 15.0
#: How often the state of the switches is read, seconds.
READ_EVERY = 1.0


class Switches:
    """The day/night switches of every company, as they stood a second ago at most, or when Redis was last there."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._on: frozenset[str] = frozenset()
        self._turned = 0
        self._log: Any = structlog.get_logger("switches")

    def run(self) -> None:
        """Keep the copy fresh, for ever."""
        while True:
            try:
                self.read()
            except Exception:  # something by hand in Redis must not freeze the switches of everybody
                self._log.exception("the day/night switches cannot be read")
            gevent.sleep(READ_EVERY)

    def read(self) -> None:
        """Take over what Redis says; if it is away, what it said last stays."""
        turned = self._turned
        found = self._board.switches()
        if found is not None and turned == self._turned:  # else it may be from before our own change
            self._on = frozenset(found)

    def of(self, company: str) -> Callable[[str], bool]:
        """Whether a switch of the company is on, for its calls."""
        return lambda name: f"{company}/{name}" in self._on

    def set(self, company: str, name: str, on: bool, by: str, tell: Callable[[SwitchSet], object]) -> None:
        """Put a switch on or off for every call of every controller; ``tell`` hears whether it is kept."""
        kept = self._board.set_switch(company, name, on, by)
        if kept:
            self._turned += 1
            own = {f"{company}/{name}"}
            self._on = self._on | own if on else self._on - own
        tell(SwitchSet(name, kept))


class Counts:
    """How many calls outside there are, under each name, on all controllers together."""

    def __init__(self, board: Switchboard, processes: int) -> None:
        self._board = board
        self._processes = max(1, processes)
        self._own: dict[str, tuple[str, ...]] = {}
        self._log: Any = structlog.get_logger("counts")

    def claim(self, leg: str, attempt: int, switch: str, caps: tuple[tuple[str, int], ...], seconds: float) -> bool:
        """See :class:`callcontrol.ringing.Counts`.  While Redis is away, a share of each cap, but one call at least."""
        member = _member(leg, attempt)
        claimed = self._board.claim_out(member, switch, caps, seconds)
        if claimed is None:
            full = next((name for name, most in caps if self._ours(name) >= max(1, most // self._processes)), "")
        else:
            full = claimed.full
        if full:
            self._log.warning("too many calls outside: one is refused", leg=leg, count=full, most=dict(caps)[full])
        else:
            self._own[member] = tuple(name for name, _ in caps)
        return not full

    def release(self, leg: str, attempt: int, switch: str) -> None:
        """See :class:`callcontrol.ringing.Counts`."""
        member = _member(leg, attempt)
        self._own.pop(member, None)
        self._board.release_out(member, switch)

    def reconcile(self, switch: str, alive: frozenset[str]) -> int:
        """Forget what is counted for legs of this switch that are not ``alive``; how many there were."""
        counted = self._board.legs_out(switch, older=SETTLED) or {}
        gone = [member for member in counted if member.partition(".")[0] not in alive]
        for member in gone:
            self._own.pop(member, None)
            self._board.release_out(member, switch)
        return len(gone)

    def _ours(self, name: str) -> int:
        return sum(name in names for names in self._own.values())


def _member(leg: str, attempt: int) -> str:
    return f"{leg}.{attempt}"
