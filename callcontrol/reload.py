"""``cordboard reload``: ask the running server to publish, wait, and say what came of it.

Knows the server only by the files of STATE (``outcomes.py``) and a signal.  It never publishes itself: who may
write STATE may ask, and the server alone does it.  ``cordboard publish`` asks and waits as this does.

The surprise: what is waited for is an attempt that *began after we asked*.  One that was under way may have read the
files before they were changed; the server begins another for us when it is done.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from callcontrol import outcomes
from callcontrol.outcomes import Attempt, Moment, Outcome, Taken
from callcontrol.planning import pinned_words
from callcontrol.queue_views import counted

#: How often files are looked at, seconds.
_LOOK = 0.05
_FINE, _PROBLEMS, _UNKNOWN = 0, 1, 3

Say = Callable[[str], object]


def reload(state: Path, wait: float, say: Say, complain: Say) -> int:
    """Ask, wait at most ``wait`` seconds, and tell.  Returns the exit code.

    0: all but what is pinned is published and every controller has it; 1: so it is, but for files with problems; 3:
    nobody serves, or it is not known to be done.
    """
    try:
        return _reload(state, wait, say, complain)
    except KeyboardInterrupt:
        complain("cordboard: interrupted; the server may go on: cordboard versions says what is live")
        return _UNKNOWN


def _reload(state: Path, wait: float, say: Say, complain: Say) -> int:
    deadline = time.monotonic() + wait
    before = outcomes.read_outcome(state)
    asked = outcomes.now()
    why_not = ask(state, signal.SIGHUP)
    if why_not:
        complain(f"cordboard: {why_not}")
        return _UNKNOWN
    attempt = _attempt_after(state, asked, deadline)
    if attempt is None or attempt.ended is None:
        complain(f"cordboard: {_so_far(attempt, wait)}")
        return _UNKNOWN
    outcome = outcomes.read_outcome(state)
    if attempt.failed or outcome is None or not outcome.began.follows(asked):
        complain(f"cordboard: nothing was published, what is live stays: {attempt.failed or 'see the log'}")
        return _UNKNOWN
    _tell(before.live if before else {}, outcome, say, complain)
    if not taken_up(state, outcome.serial, deadline, wait, complain):
        return _UNKNOWN
    return _PROBLEMS if outcome.errors or outcome.trouble else _FINE


def taken_up(state: Path, serial: int, deadline: float, wait: float, complain: Say) -> bool:
    """Wait until every controller has loaded this publication, and complain of those that have not."""
    taken = _taken_up(state, serial, deadline)
    behind = [process for process, known in taken.items() if known.serial < serial]
    unread = [f"{process}: {company}" for process, known in taken.items() for company in known.unread]
    for process in behind:
        complain(f"cordboard: the process {process} has not taken it up within {wait:g} s")
    for one in unread:
        complain(f"cordboard: a version could not be read, its company stays as it was in the process {one}")
    if not taken:
        complain("cordboard: no process is ready for calls; those that start have it from the beginning")
    return bool(taken) and not behind and not unread


def ask(state: Path, signum: signal.Signals) -> str:
    """Signal the server that holds the lock of STATE.  Why that cannot be, or nothing.

    A server of an earlier program would die of a signal that it does not know: it is not sent, then.
    """
    try:
        name = outcomes.holder(state) if state.is_dir() else None
        if name is None:
            return nobody(state)
        if not outcomes.is_running(name):
            return f"{state} is held by {name or 'a process'}, which does not run on this machine; ask there"
        number = int(name.rpartition("-")[0].rpartition("-")[2])
        process = os.pidfd_open(number)  # from here on it is this process or none, whoever gets its number
        try:
            if not outcomes.is_running(name):
                return "the server has just ended"
            if signum != signal.SIGHUP and not _hears(number, signum):
                return "the server that runs is of an earlier program, which cannot do this: start it anew"
            signal.pidfd_send_signal(process, signum)
        finally:
            os.close(process)
    except OSError as error:
        return cannot_ask(state, error)
    return ""


def cannot_ask(state: Path, error: OSError) -> str:
    """Why nobody can be asked here, for people."""
    if isinstance(error, FileNotFoundError):
        return nobody(state)
    if isinstance(error, PermissionError):
        with contextlib.suppress(OSError, KeyError):
            about = state.stat()
            owner = pwd.getpwuid(about.st_uid).pw_name
            if about.st_uid != os.geteuid():
                other, line = ("", "sudo") if owner == "root" else (" and root", f"sudo -u {owner}")
                return f"only {owner}, whose {state} is,{other} may ask: {line} cordboard …"
    return f"{error.filename or 'the server'}: {error.strerror or error}"


def nobody(state: Path) -> str:
    """That no server runs, and what can be done without one."""
    return (
        f"no server runs with the state directory {state}; name it with --state."
        " Without a server: cordboard check, rehearse and diff tell what files would do, and a start publishes them"
    )


def _hears(number: int, signum: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, or will have one when it lets it in."""
    masks = dict.fromkeys(("SigBlk", "SigCgt"), 0)
    for line in Path(f"/proc/{number}/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in masks:
            masks[name] = int(value, 16)
    return bool((masks["SigBlk"] | masks["SigCgt"]) >> (signum - 1) & 1)


def _attempt_after(state: Path, asked: Moment, deadline: float) -> Attempt | None:
    """The first attempt that began after ``asked``, when it is over, or as far as it is at the deadline."""
    while True:
        attempt = outcomes.read_attempt(state)
        if attempt is not None and attempt.ended is not None and attempt.began.follows(asked):
            return attempt
        if time.monotonic() > deadline:
            return attempt if attempt is not None and attempt.ended is None else None
        time.sleep(_LOOK)


def _taken_up(state: Path, serial: int, deadline: float) -> dict[str, Taken]:
    """What each living controller has loaded, when all have loaded ``serial``, or at the deadline."""
    while True:
        taken = outcomes.acknowledged(state)
        if (taken and all(known.serial >= serial for known in taken.values())) or time.monotonic() > deadline:
            return taken
        time.sleep(_LOOK)


def _so_far(attempt: Attempt | None, wait: float) -> str:
    if attempt is None:
        return f"the server was asked and has not begun to publish within {wait:g} s; see its log"
    since = outcomes.now().seconds - attempt.began.seconds
    return f"the server has been publishing for {since:.0f} s and is not done; it goes on, and so may you"


def _tell(before: Mapping[str, str], outcome: Outcome, say: Say, complain: Say) -> None:
    for problem in outcome.problems:
        say(str(problem))
    changed = [company for company, version in outcome.live.items() if before.get(company) != version]
    gone = [company for company in before if company not in outcome.live]
    for company in sorted(changed):
        say(f"{company} is now version {outcome.live[company]}")
    for company in sorted(gone):
        say(f"{company} takes no more calls: its file is gone")
    differing = {Path(problem.place.path).stem for problem in outcome.problems if problem.code == "W538"}
    for company, pin in outcome.pins.items():
        if company not in differing:
            complain(f"{company} is left alone: it is {pinned_words(pin)}")
    if outcome.trouble:
        complain(f"cordboard: {outcome.trouble}; going by what it said before")
    if outcome.errors:
        complain(f"{outcome.errors} {'error' if outcome.errors == 1 else 'errors'}: those files do not go live")
    if not changed and not gone:
        complain(f"nothing changed: {counted(len(outcome.live), 'company is', 'companies are')} served as before")
