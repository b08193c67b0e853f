"""What runs on this machine with one STATE, and of which release: a file in ``STATE/running`` for each process.

Written by whoever starts, named like the process (``supervisor.process_name``), so that a file that a dead one left
is told from a living one's, whatever became of the process's number.  ``cordboard processes``, ``drain``, ``upgrade``
and ``restore`` go by it.  Nothing here is needed for a call.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from callcontrol.outcomes import is_running
from callcontrol.supervisor import process_name
from callcontrol.versions import write_whole

#: The supervisors, in the order in which they are upgraded: who takes calls last, when what it needs is there.
SUPERVISORS = ("work", "web", "serve")
#: An account that nobody asked for is removed after so many seconds.
_ACCOUNTS_KEPT = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """A living process.  ``role``: ``serve work web``, ``controller``, or what ``work`` calls its own."""

    process: str
    role: str
    release: str
    where: str  #: the directory of the Python that it runs
    since: float

    @property
    def pid(self) -> int:
        """Its number."""
        return pid_of(self.process)


@cache
def release() -> str:
    """The release of the program that runs here, such as ``0.1.0``."""
    try:
        return version("cordboard")
    except PackageNotFoundError:
        return "unknown"


def announce(state: Path, role: str) -> None:
    """Say that this process runs.  A disk that takes nothing keeps nobody from running."""
    said = {"role": role, "release": release(), "where": sys.prefix, "since": time.time()}
    with contextlib.suppress(OSError):
        write_whole(_directory(state) / process_name(), json.dumps(said).encode(), durable=False)


def withdraw(state: Path, process: str = "") -> None:
    """``process``, or this one, runs no more."""
    with contextlib.suppress(OSError):
        (_directory(state) / (process or process_name())).unlink()


def everybody(state: Path) -> list[Running]:
    """Who lives, by role; what the dead left is removed."""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(_directory(state).iterdir()):
            if path.name.startswith("."):
                continue
            if path.name.endswith(".drained"):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _ACCOUNTS_KEPT:
                        path.unlink()
                continue
            if not is_running(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(Running(path.name, **json.loads(path.read_bytes())))
    order = {role: number for number, role in enumerate(("serve", "controller", "work", "web"))}
    return sorted(found, key=lambda one: (order.get(one.role, len(order)), one.role, one.since, one.process))


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the calls of a controller that was told to stop: which it had, and which nobody took."""

    calls: Sequence[str]
    left: Sequence[str]


def say_drained(state: Path, drained: Drained) -> None:
    """Leave this process's account for whoever asked."""
    with contextlib.suppress(OSError):
        said = json.dumps({"calls": list(drained.calls), "left": list(drained.left)}).encode()
        write_whole(_directory(state) / f"{process_name()}.drained", said, durable=False)


def drained(state: Path, process: str) -> Drained | None:
    """The account of a process that is gone; None: it left none, it was killed.  Taken away by asking."""
    path = _directory(state) / f"{process}.drained"
    try:
        found = Drained(**json.loads(path.read_bytes()))
        path.unlink()
        return found
    except (OSError, ValueError, TypeError):
        return None


def tell(process: str, number: signal.Signals) -> bool:
    """Send a signal to this process, and to no other that got its number since; whether it lived.  Raises OSError."""
    try:
        handle = os.pidfd_open(pid_of(process))
    except ProcessLookupError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def is_dead(pid: int) -> bool:
    """Whether a process has ended, and only its parent has not asked how."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except (OSError, IndexError):
        return False


def pid_of(process: str) -> int:
    """The number in a process's name; 0: there is none."""
    number = process.rpartition("-")[0].rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _directory(state: Path) -> Path:
    return state / "running"
