"""What the publisher, the supervisor, the controllers and ``cordboard reload`` tell each other: files in STATE.

=======================  ==========================================================================================
``published.json``       by the publisher: what is live, what is pinned, what it did for whom, and what was wrong.
                         The one pointer that controllers follow
``publishing.json``      by the supervisor: the newest attempt to publish, from its beginning on
``loaded/<process>``     by each controller: up to which publication it has loaded
``lock``                 held by the supervisor, whose name stands in it
``requests/``            by people: what they want published or rolled back, with its answers: see ``asking.py``
=======================  ==========================================================================================

Each is replaced whole.  Times are seconds of a clock that runs from boot and stands still for nobody, together
with the boot they belong to: a wall clock that is set back must not make an old outcome look new.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from callcontrol.history import Record, record_of
from callcontrol.planning import Pin
from callcontrol.routing.model import Place, Problem
from callcontrol.supervisor import process_name
from callcontrol.versions import write_whole

#: Problems kept of one publication: controllers read the file too.
MOST_PROBLEMS = 1000
#: How often a lock is tried that somebody may only be looking at.
_LOOKS = 5


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A moment of this machine: comparable only within one boot; another boot's is before or after all of ours."""

    boot: str
    seconds: float

    def follows(self, other: Moment) -> bool:
        """Whether this moment is of the same boot as ``other``, and not before it."""
        return self.boot == other.boot and self.seconds >= other.seconds


def now() -> Moment:
    """The moment that it is."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Moment(_boot(), time.clock_gettime(clock))


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


# -------------------------------------------------------------------------------------- what was published


@dataclass(frozen=True, slots=True)
class Outcome:
    """What publishing did.

    ``live``: company → version that new calls get.  ``trouble``: why cordboard.yaml could not be read, or nothing;
    its last good reading was used.  ``pins``: the companies that stay at their version until they are published by
    name; ``record``: what this publication changed and for whom, for the history, if it changed anything.
    """

    serial: int
    began: Moment
    ended: Moment
    at: float  #: the UTC epoch at which it ended
    live: Mapping[str, str]
    problems: tuple[Problem, ...] = ()
    trouble: str = ""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    record: Record | None = None

    @property
    def errors(self) -> int:
        """How many problems keep a file from going live."""
        return sum(problem.severity == "error" for problem in self.problems)


_FIELDS = frozenset(one.name for one in fields(Outcome))


def write_outcome(state: Path, outcome: Outcome) -> None:
    """Make this the outcome; on return it is on disk.  Raises OSError."""
    write_whole(state / "published.json", json.dumps(asdict(outcome), ensure_ascii=False).encode("utf-8", "replace"))


def read_outcome(state: Path) -> Outcome | None:
    """The newest outcome; None if there is none, or it cannot be read."""
    data = _read(state / "published.json")
    try:
        problems = tuple(Problem(Place(**given.pop("place")), **given) for given in data.pop("problems"))
        pins = {company: Pin(**given) for company, given in data.pop("pins", {}).items()}
        record = record_of(data.pop("record", None))
        known = {name: value for name, value in data.items() if name in _FIELDS}  # a newer program may say more
        return Outcome(
            **{**known, "problems": problems, "pins": pins, "record": record, **_moments(data, "began", "ended")}
        )
    except (KeyError, TypeError, AttributeError):
        return None


# ----------------------------------------------------------------------------------------------- attempts


@dataclass(frozen=True, slots=True)
class Attempt:
    """The supervisor's newest attempt to publish.  ``ended`` None: it runs.  ``failed``: why it changed nothing.

    ``how``: ``start reload requests``.
    """

    began: Moment
    ended: Moment | None = None
    failed: str = ""
    how: str = ""


def write_attempt(state: Path, attempt: Attempt) -> None:
    """Raises OSError."""
    write_whole(state / "publishing.json", json.dumps(asdict(attempt)).encode(), durable=False)


def read_attempt(state: Path) -> Attempt | None:
    """The newest attempt; None if there is none."""
    data = _read(state / "publishing.json")
    if "began" not in data:
        return None
    try:
        return Attempt(**{**data, **_moments(data, "began", "ended")})
    except TypeError:
        return None


# -------------------------------------------------------------------------------------- what was taken up


@dataclass(frozen=True, slots=True)
class Taken:
    """What a controller has loaded.  ``unread``: companies whose version it could not read: they stay as they were.

    ``serial`` 0: nothing yet.  ``trouble``: why it could not read cordboard.yaml.
    """

    serial: int
    unread: Sequence[str] = ()
    trouble: str = ""


def acknowledge(state: Path, process: str, taken: Taken) -> None:
    """Say that ``process`` has loaded this.  Raises OSError."""
    write_whole(state / "loaded" / process, json.dumps(asdict(taken)).encode(), durable=False)


def forget(state: Path, process: str) -> None:
    """``process`` takes up nothing more: it drains, or is dead."""
    with contextlib.suppress(OSError):
        (state / "loaded" / process).unlink()


def acknowledged(state: Path) -> dict[str, Taken]:
    """What each living controller has loaded."""
    found = {}
    with contextlib.suppress(OSError):
        for path in sorted((state / "loaded").iterdir()):
            if is_running(path.name):
                with contextlib.suppress(KeyError, TypeError):
                    data = _read(path)
                    found[path.name] = Taken(**{**data, "unread": tuple(data["unread"])})
    return found


def is_running(process: str) -> bool:
    """Whether the process of this name runs, on this machine and under this boot."""
    number = process.rpartition("-")[0].rpartition("-")[2]
    return number.isdigit() and process_name(int(number)) == process


# --------------------------------------------------------------------------------------------------- lock


@contextlib.contextmanager
def held(state: Path, descriptor: int | None = None) -> Iterator[int]:
    """Hold the lock of STATE, with our name in it; its descriptor.  Raises BlockingIOError while another process does.

    Children inherit nothing of it.  ``descriptor``: of this lock, which the program that this process was before held.
    """
    with open(state / "lock" if descriptor is None else descriptor, "a+", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), False)
        _take(lock)
        lock.truncate(0)  # only now: who comes too late must not wipe the holder's name out
        lock.write(process_name())
        lock.flush()
        yield lock.fileno()


def holder(state: Path) -> str | None:
    """The name of the process that holds the lock of STATE; None if nobody does.  Raises OSError."""
    try:
        lock = (state / "lock").open(encoding="utf-8", errors="replace")  # made here it might be another user's
    except FileNotFoundError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read(200)
    return None


def _take(lock: TextIO) -> None:
    """Lock it.  Whoever only looks whether somebody holds it does so too, for an instant: that is nobody."""
    for left in reversed(range(_LOOKS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.02)


# --------------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    """The object in a file; empty if there is none."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _moments(data: Mapping[str, Any], *names: str) -> dict[str, Moment | None]:
    return {name: Moment(**data[name]) if data.get(name) is not None else None for name in names}
