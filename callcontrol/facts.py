"""Facts: what happened, one JSON line each, first into the process's own file, then into the stream.

:class:`FactFile` is on the path of every call: one ``write(2)`` per batch and no waiting, so that a process
that is killed loses nothing it wrote, and no disk or Redis ever stops a call.  :class:`Shipper` sends the
lines on, each exactly once; :func:`ship_dead` does that for processes that are no more.  Nothing here knows
what a fact means; that a call has one end is seen to in ``switchboard.py``.

A fact: ``{"v": 1, "type": "step.entered", "company": "acme"|null, "call": uuid|null, "epoch": 1, "n": 7,
"at": 1795304552.123, "switch": "switch1", "data": {…}}``, UTF-8, at most 4 kB.  Its identity is ``(call,
epoch, n)``; a fact of a process itself has call null, epoch 0, and ``p``, the process.  A negative ``n`` is
given to what somebody writes on behalf of a call that nobody owned when it ended.

Where the surprise lies:

* A file belongs to the one who made it, who holds a ``flock`` on it for life: whoever gets the lock knows
  that the writer is dead, whatever became of its process id.
* How far a file has been shipped is kept in Redis only, changed by the very script that writes the stream.
  So there is no moment at which the two can disagree, and a Redis that lost its last second gets it again.
* A line may be torn: by a full disk (then we hold the rest of it and write that first), or by a kill in the
  middle of a ``write`` (then nobody was told that it was written).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.event import Event

from callcontrol.switchboard import Switchboard

#: A fact is at most so long, bytes.  Redis, the journal and webhooks rely on it.
MOST_BYTES = 4096
#: A file is left for the next one at this size, bytes.
ROTATE_AT = 64 * 2**20
#: Records kept in memory while the disk takes none.
MOST_KEPT = 10_000
#: Bytes that one script takes, some 500 facts, and records that one write takes after a full disk.
BATCH_BYTES = 128 * 1024
BATCH_LINES = 500
#: Facts gather so long between two scripts, seconds: sixty calls a second make four scripts, not 1,200, and twenty cost
#: a tenth of all that a call costs.  The first after a pause is shipped at once.
SHIP_EVERY = 0.25
#: How often a living process looks for files that the dead left unshipped (Redis was away), seconds.
SWEEP_EVERY = 30.0
BACKOFF_LOW, BACKOFF_HIGH = 0.2, 5.0

_NAME = re.compile(r"(?P<process>[A-Za-z0-9_-]+)(\.(?P<part>[0-9]+))?\.facts(\.shipped)?")
#: What is written of a record whose data cannot be.
_PLAIN = frozenset({"v", "type", "company", "call", "epoch", "n", "p", "at", "switch"})
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class FactFile:
    """The facts of one process, appended to ``<directory>/<process>.facts`` (then ``<process>.2.facts`` …).

    For the process that makes it, and one thread of it.  Raises OSError if the file cannot be made; nothing
    else here raises.
    """

    def __init__(self, directory: Path, process: str, *, sync_every: float = 0.05, rotate_at: int = ROTATE_AT) -> None:
        self.directory = directory
        self.process = process
        #: The files of this process, in order; the last is the one being written.
        self.paths: list[Path] = []
        #: Called after something was written; must return at once.
        self.on_write: Callable[[], object] | None = None
        #: Writes that the disk refused, and records that could not even be kept in memory.
        self.failed_writes = 0
        self.lost = 0
        self._sync_every = sync_every
        self._rotate_at = rotate_at
        self._kept: deque[bytes] = deque()  # the first may be the rest of a torn line
        self._newly_lost = 0
        self._try_again_at = 0.0
        self._said_at = float("-inf")
        self._said = False  # the log knows of the present trouble
        self._n = 0
        self._retired: list[int] = []  # rotated files, still to be synced and closed
        self._closing = False
        directory.mkdir(parents=True, exist_ok=True)
        self._fd, self._size = self._open_next(), 0
        self._dirty = Event()
        self._syncer = gevent.spawn(self._sync_forever)

    # ------------------------------------------------------------------------------------------- writing

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append the records, in order, by one ``write(2)``.  On return they outlive this process.

        A record that is no fact (too long, not JSON) is written with its data replaced by a word about that.
        While the disk takes nothing, records are kept in memory, and written when it does again.  Nothing is
        written after :meth:`close`.
        """
        if not records or self._closing:
            return
        try:
            lines = "\n".join([_encode(r if r.get("call") else self._signed(r)) for r in records]).encode()
            lines += b"\n"
            trouble = len(lines) > MOST_BYTES and max(map(len, lines.splitlines())) >= MOST_BYTES
        except (ValueError, TypeError, RecursionError):
            trouble = True
        if trouble:
            lines = b"".join([self._careful(record) for record in records])
        if self._kept:
            self._keep(lines)
            if time.monotonic() >= self._try_again_at:
                self._write_kept()
            return
        try:
            written = os.write(self._fd, lines)
        except OSError as error:
            self._keep(lines)
            self._failed(error)
            return
        if written < len(lines):
            self._keep(lines[written:])  # first of all: it decides whether this file may be left
        self._wrote(written)
        if self._kept:
            self._write_kept()

    def tell(self, type_: str, data: Mapping[str, Any], *, company: str | None = None) -> None:
        """Write a fact of the process itself, which belongs to no call."""
        self._n += 1
        fact = {
            "v": 1,
            "type": type_,
            "company": company,
            "call": None,
            "epoch": 0,
            "n": self._n,
            "at": round(time.time(), 3),
            "switch": None,
            "data": dict(data),
        }
        self.write([fact])

    def close(self) -> None:
        """Write what is kept, sync, and let go of the file.  Idempotent.  Blocks for a sync."""
        if self._closing:
            return
        if self._kept:
            self._write_kept()
        self._closing = True
        if self._kept:
            _log().error("facts are lost: the disk takes none and the process ends", facts=len(self._kept))
        self._dirty.set()
        self._syncer.join(timeout=5)
        if not self._syncer.ready():
            return  # a disk that hangs: the end of the process closes the file
        for fd in (*self._retired, self._fd):
            with contextlib.suppress(OSError):
                os.fdatasync(fd)
            os.close(fd)

    def _signed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {**record, "p": self.process}

    def _careful(self, record: Mapping[str, Any]) -> bytes:
        """The line of one record, whatever is wrong with it."""
        signed = self._signed(record) if not record.get("call") else record
        trouble = "too long"
        try:
            line = _encode(signed).encode("utf-8", "replace") + b"\n"  # a lone surrogate becomes "?"
            if len(line) <= MOST_BYTES:
                return line
        except (ValueError, TypeError, RecursionError) as error:
            trouble = str(error)[:200]
        _log().error("a fact's data could not be written", type=str(record.get("type"))[:80], trouble=trouble)
        plain = {
            key: value[:200] if isinstance(value, str) else value
            for key, value in signed.items()
            if key in _PLAIN and (value is None or isinstance(value, str | int | float))
        }
        return json.dumps({**plain, "data": {"unwritten": trouble}}, separators=(",", ":")).encode() + b"\n"

    def _wrote(self, count: int) -> None:
        self._size += count
        if self._size >= self._rotate_at and not self._kept:
            self._rotate()
        self._dirty.set()
        if self.on_write is not None:
            self.on_write()

    # ------------------------------------------------------------------------------- when the disk is full

    def _keep(self, lines: bytes) -> None:
        new = lines.splitlines(keepends=True)  # JSON has no control characters, so this is at \n only
        room = MOST_KEPT - len(self._kept)
        self._kept.extend(new[:room])
        self._newly_lost += len(new[room:])

    def _write_kept(self) -> None:
        """Write as much of what is kept as the disk takes."""
        while self._kept:
            lines = b"".join([self._kept[i] for i in range(min(BATCH_LINES, len(self._kept)))])
            try:
                written = os.write(self._fd, lines)
            except OSError as error:
                self._failed(error)
                return
            left = written
            while left:
                first = self._kept.popleft()
                if len(first) > left:  # torn: its rest must be the next bytes of this very file
                    self._kept.appendleft(first[left:])
                    break
                left -= len(first)
            self._wrote(written)  # may leave this file for the next, now that nothing of it is torn
        if self._said:
            self._said = False
            _log().warning("facts are written again", lost=self._newly_lost)
        lost, self._newly_lost = self._newly_lost, 0
        if lost:
            self.lost += lost
            self.tell("facts.lost", {"count": lost})

    def _failed(self, error: OSError) -> None:
        now = time.monotonic()
        self.failed_writes += 1
        self._try_again_at = now + 0.25
        self._dirty.set()  # the greenlet tries again when no call does
        if now - self._said_at >= 60:
            self._said_at, self._said = now, True
            _log().error(
                "facts cannot be written: keeping them in memory",
                error=errno.errorcode.get(error.errno or 0, str(error)),
                file=str(self.paths[-1]),
                kept=len(self._kept),
            )

    # ----------------------------------------------------------------------------------- files and the disk

    def _open_next(self) -> int:
        """Make the next file.  A name is used once, ever: how far it was shipped is remembered by name.

        It gets its name when we hold its lock, so that nobody ever sees it without an owner.
        """
        part = len(self.paths)
        while True:
            part += 1
            path = self.directory / (f"{self.process}.facts" if part == 1 else f"{self.process}.{part}.facts")
            if not path.exists() and not path.with_name(f"{path.name}.shipped").exists():
                break
        unborn = self.directory / f".{self.process}.new"
        fd = os.open(unborn, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unborn.rename(path)
        except OSError:
            os.close(fd)
            raise
        self.paths.append(path)
        return fd

    def _rotate(self) -> None:
        try:
            fd = self._open_next()
        except OSError as error:
            self._rotate_at += ROTATE_AT  # go on in the old one
            _log().error("the next file of facts cannot be made", error=str(error))
            return
        self._retired.append(self._fd)
        self._fd, self._size = fd, 0

    def _sync_forever(self) -> None:
        """Sync in a thread of gevent's pool: a sync may take long, and this loop carries calls."""
        pool = gevent.get_hub().threadpool
        while True:
            self._dirty.wait()
            self._dirty.clear()
            if self._closing:
                return
            retired, self._retired = self._retired, []
            for fd in (*retired, self._fd):
                # An error here is the disk's; the next write meets it and says so.
                with contextlib.suppress(OSError):
                    pool.apply(os.fdatasync, (fd,))
            for fd in retired:
                os.close(fd)
            gevent.sleep(self._sync_every)
            if self._kept and not self._closing:
                gevent.sleep(max(0.0, self._try_again_at - time.monotonic()))
                self._write_kept()


# ------------------------------------------------------------------------------------------------ shipping


class _Step(enum.Enum):
    """What came of shipping one batch."""

    MOVED = "moved"  # something was shipped, or Redis told us where it really is: go on
    DRAINED = "drained"  # no whole line is left
    AWAY = "away"  # Redis took nothing


@dataclass(slots=True)
class _Source:
    """A file being shipped.  ``offset`` is only our belief; Redis corrects it."""

    path: Path
    fd: int
    offset: int = 0

    def ship_some(self, board: Switchboard) -> _Step:
        data = os.pread(self.fd, BATCH_BYTES, self.offset)
        size = data.rfind(b"\n") + 1
        if not size:
            if len(data) < BATCH_BYTES:
                return _Step.DRAINED
            size = len(data)  # nothing of ours has such lines; a damaged file must not stop us for ever
        return self._move(board, data[:size], size)

    def ship_rest(self, board: Switchboard) -> _Step:
        """Ship what a killed writer left behind its last whole line: a fact that lacks its end of line only,
        or a piece of one, which nobody was told had been written.
        """
        rest = os.pread(self.fd, BATCH_BYTES, self.offset)
        if not rest:
            return _Step.DRAINED
        with contextlib.suppress(ValueError):
            json.loads(rest)
            return self._move(board, rest, len(rest))
        _log().warning("dropped the piece of a fact that a killed process left", file=self.path.name)
        return self._move(board, b"", len(rest))

    def _move(self, board: Switchboard, lines: bytes, size: int) -> _Step:
        name = self.path.name.removesuffix(".shipped")
        shipped = board.ship(name, self.offset, self.offset + size, lines)
        if shipped is None:
            return _Step.AWAY
        self.offset = shipped.offset
        if shipped.damaged:
            _log().error("facts that cannot be read were left out", file=name, facts=shipped.damaged)
        return _Step.MOVED


class Shipper:
    """Sends the facts of this process to the stream as they are written, and those of the dead now and then.

    One greenlet, woken by :class:`FactFile`.  ``directory`` holds the files of all processes of the machine.
    """

    def __init__(self, directory: Path, own: FactFile, board: Switchboard) -> None:
        self._directory = directory
        self._own = own
        self._board = board
        self._part = 0
        self._source: _Source | None = None
        self._wake = Event()
        self._stop = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        own.on_write = self._wake.set

    def start(self) -> None:
        """Begin to ship."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self, timeout: float = 1.0) -> None:
        """Ship what is there, for at most ``timeout`` seconds, and end; :func:`ship_dead` does the rest."""
        self._stop.set()
        self._wake.set()
        if self._greenlet is not None:
            self._greenlet.join(timeout)
            self._greenlet.kill()
        if self._source is not None:
            os.close(self._source.fd)
            self._source = None

    def _run(self) -> None:
        backoff = BACKOFF_LOW
        sweep_at = time.monotonic()
        self._wake.set()
        while True:
            self._wake.wait(max(0.0, sweep_at - time.monotonic()))
            self._wake.clear()
            try:
                step = self._ship_own()
                if step is not _Step.AWAY and time.monotonic() >= sweep_at and not self._stop.is_set():
                    sweep_at = time.monotonic() + SWEEP_EVERY
                    ship_dead(self._directory, self._board)
            except Exception:
                _log().exception("shipping facts failed")
                step = _Step.AWAY
            if self._stop.is_set() and step is not _Step.MOVED:
                return
            if step is _Step.AWAY:
                self._stop.wait(backoff)
                backoff = min(BACKOFF_HIGH, backoff * 2)
                self._wake.set()
                continue
            backoff = BACKOFF_LOW
            if step is _Step.MOVED:
                self._wake.set()
                self._stop.wait(SHIP_EVERY)

    def _ship_own(self) -> _Step:
        """Ship all that is there now."""
        moved = False
        while True:
            if self._source is None:
                try:
                    path = self._own.paths[self._part]
                    self._source = _Source(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                except FileNotFoundError:
                    if self._part == len(self._own.paths) - 1:
                        raise  # somebody removed the file that is being written
                    self._part += 1  # another process took this part for a dead one's, and shipped it
                    continue
            step = self._source.ship_some(self._board)
            if step is _Step.AWAY:
                return step
            if step is _Step.MOVED:
                moved = True
            elif self._part < len(self._own.paths) - 1:
                os.close(self._source.fd)
                self._source = None
                self._part += 1
            else:
                return _Step.MOVED if moved else _Step.DRAINED


def ship_dead(directory: Path, board: Switchboard) -> bool:
    """Ship the files of processes that are no more; each then ends in ``.shipped``.

    Needs no gevent and waits for Redis' answers.  True: all is shipped; False: Redis was away.  A file that
    Redis has lost the end of (it was killed before its own sync) is shipped again from there.
    """
    files = _files(directory)
    offsets = board.offsets([path.name.removesuffix(".shipped") for path in files])
    if offsets is None:
        return False
    for path in files:
        with contextlib.suppress(FileNotFoundError), _inherited(path) as source:
            if source is None:
                continue
            source.offset = offsets[path.name.removesuffix(".shipped")]
            for ship in (source.ship_some, source.ship_rest):
                while (step := ship(board)) is _Step.MOVED:
                    pass
                if step is _Step.AWAY:
                    return False
            if path.suffix != ".shipped":
                path.rename(path.with_name(f"{path.name}.shipped"))
    return True


@contextlib.contextmanager
def _inherited(path: Path) -> Iterator[_Source | None]:
    """The file as ours, or None while somebody else has it: its writer, or another who ships the dead."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        path.stat()  # not renamed by another meanwhile?
        yield _Source(path, fd)
    finally:
        os.close(fd)


def read_facts(directory: Path) -> Iterator[dict[str, Any]]:
    """Every fact in the files of a directory, ordered by time; a file's own order where times are equal.

    For tests and demonstrations: all is read into memory, and of a call's end each teller's version is here.
    """
    facts: list[dict[str, Any]] = []
    for path in _files(directory):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # it was shipped, and so renamed, since we looked
            data = path.with_name(path.name + ".shipped").read_bytes()
        for line in data.split(b"\n"):
            with contextlib.suppress(ValueError):
                facts.append(json.loads(line))
    yield from sorted(facts, key=lambda fact: float(fact["at"]))


def _files(directory: Path) -> list[Path]:
    """The files of facts in a directory, a process's own in the order of writing."""
    found = [(match, path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    found.sort(key=lambda item: (item[0]["process"], int(item[0]["part"] or 1)))
    return [path for _, path in found]


def _log() -> Any:
    return structlog.get_logger("facts")
