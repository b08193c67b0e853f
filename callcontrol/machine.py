"""``cordboard processes``, ``drain`` and ``upgrade``: what is done with everything that runs on this machine.

Knows the others by ``STATE/running`` and by signals, and never touches a call: the supervisors do what they are told,
and this says what came of it, for as long as somebody wants to wait.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from callcontrol import processes
from callcontrol.commands import CommandError, ask
from callcontrol.outcomes import is_running
from callcontrol.processes import SUPERVISORS, Running
from callcontrol.queue_views import counted
from callcontrol.spool import read_name

#: How often files are looked at, seconds.
_LOOK = 0.1
_FINE, _REFUSED, _UNKNOWN = 0, 1, 3

Say = Callable[[str], object]


def drain(
    state: Path,
    spool: Path,
    redis: str,
    switches: Sequence[str],
    wait: float,
    everything: bool,
    say: Say,
    complain: Say,
) -> int:
    """Have this machine take no more calls and hand over those that it has, and say what became of them.

    ``everything``: then, once what its calls left behind is taken from here, ``work`` and ``web`` end as well.  Returns
    the exit code: 1 if something remains, or somebody waits for a controller that is not there.
    """
    deadline = time.monotonic() + wait
    everybody = processes.everybody(state)
    controllers = [one for one in everybody if one.role == "controller"]
    server = next((one for one in everybody if one.role == "serve"), None)
    code = _FINE
    if server is None and not everything:
        complain(f"cordboard: nobody takes calls with the state directory {state}; name it with --state")
        return _UNKNOWN
    if server is not None:
        if not _ended(server, signal.SIGTERM, deadline):
            complain(f"cordboard: serve ({server.pid}) is not done within {wait:g} s; it goes on, and so may you")
            return _UNKNOWN
        code = _tell_handed_over(state, controllers, redis, switches, say, complain)
    if not everything:
        return code
    workers = [one.process for one in everybody if one.role == "work"]
    while (remains := _remains(state, spool)) and any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(_LOOK)
    for line in remains:
        complain(f"cordboard: {line}")
    if remains and not any(map(is_running, workers)):
        complain("cordboard: cordboard work does not run here, which would take them away: start it, and drain again")
    for one in everybody:
        if one.role in ("work", "web") and not _ended(one, signal.SIGTERM, max(deadline, time.monotonic() + 15.0)):
            complain(f"cordboard: {one.role} ({one.pid}) is not done within {wait:g} s")
            return _UNKNOWN
    say("nothing of Cordboard runs here any more" if not remains else "nothing runs here any more; see what remains")
    return _REFUSED if remains else code


def _ended(one: Running, number: signal.Signals, deadline: float) -> bool:
    """Tell a process to end; whether it has until then."""
    try:
        processes.tell(one.process, number)
    except OSError:
        return False
    while is_running(one.process) and not processes.is_dead(one.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True


def _tell_handed_over(
    state: Path, controllers: Sequence[Running], redis: str, switches: Sequence[str], say: Say, complain: Say
) -> int:
    accounts = [processes.drained(state, one.process) for one in controllers]
    known = [account for account in accounts if account is not None]
    # One that a process handed to another, which was told to stop in the same moment, is one call.
    calls, left = ({call for one in known for call in getattr(one, name)} for name in ("calls", "left"))
    over = len(calls - left)
    say(
        f"{counted(over, 'call')} {'is' if over == 1 else 'are'} handed over, "
        f"{len(left)} {'remains' if len(left) == 1 else 'remain'}; talks go on by themselves"
    )
    code = _FINE
    if left:
        complain("cordboard: those that remain are brought to another controller by the switch, a little later")
        code = _REFUSED
    if len(known) < len(accounts):
        complain(f"cordboard: {len(accounts) - len(known)} processes left no account: they were killed")
        code = _REFUSED
    for switch in switches:
        try:
            found = ask(redis, switch, "call.list", {})
        except CommandError as error:
            complain(
                f"cordboard: no other controller answers for the switch {switch} ({error}): calls that wait there "
                "hear an apology after ten seconds, new ones are refused; start cordboard serve somewhere"
            )
            code = _REFUSED
        else:
            say(f"others take the calls of {switch}: {len(found['calls'])} live there now")
    return code


def _remains(state: Path, spool: Path) -> list[str]:
    """What only this machine has: facts that nobody else can read, recordings that nobody else can store."""
    found = []
    facts = sum(1 for path in (state / "facts").glob("*.facts") if path.stat().st_size) if state.is_dir() else 0
    if facts:
        found.append(
            f"{facts} files of facts in {state / 'facts'} are not shipped yet: Redis is away, or it takes longer"
        )
    sounds = sum(1 for path in spool.iterdir() if read_name(path.name) is not None) if spool.is_dir() else 0
    if sounds:
        found.append(f"{sounds} recordings are in {spool} and not in the store yet: only this machine can bring them")
    return found


def upgrade(state: Path, wait: float, say: Say, complain: Say) -> int:
    """Have every supervisor of STATE become what its program's name leads to now, and wait until all have.

    One after the other: who takes calls comes last, when what it needs is there.  Returns the exit code; 1: one could
    not, and runs what it ran before.
    """
    deadline = time.monotonic() + wait
    found = [one for role in SUPERVISORS for one in processes.everybody(state) if one.role == role]
    if not found:
        complain(f"cordboard: nothing runs with the state directory {state}; name it with --state")
        return _UNKNOWN
    for one in found:
        try:
            lived = processes.tell(one.process, signal.SIGUSR2)
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
    everybody = processes.everybody(state)
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
