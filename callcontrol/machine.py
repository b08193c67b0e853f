"""``cordboard processes``, ``drain`` and ``upgrade``: what is done with everything that runs on this machine.

Knows the others by ``STATE/running`` and by signals, and never touches a call: the supervisors do what they are told,
and this says what came of it, for as long as somebody wants to wait.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from callcontrol import running
from callcontrol.running import SUPERVISORS, Running

#: How often files are looked at, seconds.
_LOOK = 0.1
_FINE, _REFUSED, _UNKNOWN = 0, 1, 3

Say = Callable[[str], object]


def upgrade(state: Path, wait: float, say: Say, complain: Say) -> int:
    """Have every supervisor of STATE become what its program's name leads to now, and wait until all have.

    One after the other: who takes calls comes last, when what it needs is there.  Returns the exit code; 1: one could
    not, and runs what it ran before.
    """
    deadline = time.monotonic() + wait
    found = [one for role in SUPERVISORS for one in running.everybody(state) if one.role == role]
    if not found:
        complain(f"cordboard: nothing runs with the state directory {state}; name it with --state")
        return _UNKNOWN
    for one in found:
        try:
            lived = running.tell(one.process, signal.SIGUSR2)
        except OSError as error:
            complain(f"cordboard: {one.role} ({one.pid}) cannot be told: {error.strerror or error}")
            return _UNKNOWN
        after = _until(lambda one=one: _renewed(state, one), deadline) if lived else None  # type: ignore[misc]
        if after is None:
            complain(
                f"cordboard: {one.role} ({one.pid}) is not upgraded within {wait:g} s: its log says why. "
                "It goes on as it was, or is not done yet"
            )
            return _REFUSED
        say(f"{one.role}: {one.release} of {one.where} -> {after.release} of {after.where}")
    return _FINE


def _renewed(state: Path, before: Running) -> Running | None:
    """The supervisor, if it has begun anew since, and everybody under it is of its release."""
    everybody = running.everybody(state)
    own = next((one for one in everybody if one.process == before.process and one.since > before.since), None)
    if own is None:
        return None
    under = {"serve": ("controller",), "web": ("answering",)}.get(own.role)
    below = [one for one in everybody if _is_below(one, own.role, under)]
    return own if below and all((one.release, one.where) == (own.release, own.where) for one in below) else None


def _is_below(one: Running, role: str, under: Sequence[str] | None) -> bool:
    if under is not None:
        return one.role in under
    return one.role not in (*SUPERVISORS, "controller", "answering")


def _until(asked: Callable[[], Running | None], deadline: float) -> Running | None:
    while (found := asked()) is None and time.monotonic() < deadline:
        time.sleep(_LOOK)
    return found
