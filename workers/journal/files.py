"""The files of facts: read where the stream has lost something, removed when the journal has all that is in them.

Files of living processes are read, never touched: whoever holds a file's ``flock`` owns it (``callcontrol/facts.py``).
A file goes only when it was shipped, has lain for a while, and each of its facts is in the journal: those that are not
found there are taken.  What was found stays found, so a large file is gone through in several goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import delete

from callcontrol.switchboard import OFFSETS
from workers.journal.database import Database
from workers.journal.ingest import Taken, missing, take
from workers.journal.stream import GAP, position_of, put
from workers.journal.tables import Position
from workers.mail.owing import RoutingOf

#: A shipped file lies so long at least, seconds: who looks for a fact in a hurry finds it there too.
LEAST_AGE = 3600.0
#: Bytes that are read, and lines that are taken, at once: what the journal writes in one go (``stream.at_once``).
_PIECE = 32 * 1024
#: How far each shipped file was found to be in the journal, bytes; for this process only.
_found: dict[Path, int] = {}


def take_missed(
    database: Database, directory: Path, routing_of: RoutingOf, until: Callable[[], bool]
) -> tuple[Taken, bool]:
    """Take what the stream has lost from the files, if that is owed; whether it is done (or was not owed).

    How far each file was read is kept with what was read, so that a reading goes on where it was broken off.
    Raises SQLAlchemyError, OSError.
    """
    taken = Taken()
    with database.reading() as session:
        owed = position_of(session, GAP)
    if owed is None:
        return taken, True
    done = _read_positions(owed)
    for path in _paths(directory):
        name = path.name.removesuffix(".shipped")
        for lines, end in _pieces(path, done.get(name, 0)):
            if until():
                return taken, False
            done[name] = end
            with database.writing() as session:
                if position_of(session, GAP, lock=True) is None:
                    return taken, True
                taken.add(take(session, lines, routing_of, time.time()))
                put(session, GAP, json.dumps(done))
    with database.writing() as session:
        session.execute(delete(Position).where(Position.name == GAP))
    _log().warning("the files of facts were read: nothing is owed any more", missed=taken.new)
    return taken, True


def remove_taken(
    database: Database,
    redis: Any,
    directory: Path,
    routing_of: RoutingOf,
    now: float,
    until: Callable[[], bool] = lambda: False,
) -> tuple[int, Taken]:
    """Remove the shipped files that have lain long enough, once all their facts are in the journal; how many.

    ``now``: UTC epoch.  What was missing is in the answer.  Raises SQLAlchemyError, OSError.
    """
    removed, taken = 0, Taken()
    for path in _paths(directory):
        if until():
            break
        if path.suffix != ".shipped":
            continue
        with contextlib.suppress(FileNotFoundError), _ours(path, now) as ours:
            if not ours:
                continue
            whole = True
            for lines, end in _pieces(path, _found.get(path, 0)):
                if until():
                    whole = False
                    break
                with database.reading() as session:
                    facts = missing(session, lines, now)
                if facts:
                    with database.writing() as session:
                        taken.add(take(session, facts, routing_of, now))
                _found[path] = end
            if whole:
                path.unlink()
                _found.pop(path, None)
                removed += 1
                with contextlib.suppress(Exception):  # a name is used once: what stays is a few bytes
                    redis.hdel(OFFSETS, path.name.removesuffix(".shipped"))
    if taken.new:
        _log().error("alarm", what="facts that were shipped had not come to the journal", facts=taken.new)
    return removed, taken


@contextlib.contextmanager
def _ours(path: Path, now: float) -> Iterator[bool]:
    """Whether the file is old enough, and nobody's: as long as this lasts, nobody else takes it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if now - os.fstat(fd).st_mtime < LEAST_AGE:
            yield False
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        path.stat()  # still this one?
        yield True
    finally:
        os.close(fd)


def _pieces(path: Path, start: int) -> Iterator[tuple[list[bytes], int]]:
    """The whole lines of a file from an offset on, and where they end; a piece of one at the end is nobody's yet."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # renamed since we looked
        try:
            file = path.with_name(path.name + ".shipped").open("rb")
        except FileNotFoundError:
            return
    with file:
        file.seek(start)
        rest = b""
        at = start
        while piece := file.read(_PIECE):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            at += len(whole) + len(newline)
            if newline:
                yield [line for line in whole.split(b"\n") if line], at
        if rest and path.suffix == ".shipped":
            with contextlib.suppress(ValueError):  # it lacks its end of line only; a piece of one is no fact
                json.loads(rest)
                yield [rest], at + len(rest)


def _paths(directory: Path) -> list[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(directory))
    except FileNotFoundError:
        return []
    return [directory / name for name in names if name.removesuffix(".shipped").endswith(".facts") and name[0] != "."]


def _read_positions(text: str) -> dict[str, int]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {str(name): at for name, at in found.items() if isinstance(at, int)} if isinstance(found, dict) else {}


def _log() -> Any:
    return structlog.get_logger("journal")
