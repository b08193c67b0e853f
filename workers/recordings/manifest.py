"""The manifest of a recording's file: what is to be stored, written beside it before anything is sent.

``<file>.json`` says what the file is (bytes, SHA-256, when it last changed), where it goes, and how far that got.  Who
holds its lock has the file; everybody else passes by.  It is there whole or not at all, synced with its directory.

Where the surprise lies:

* A lock belongs to a file's inode, and a manifest is written by putting a new one into its place.  So the new one is
  locked before it gets the name, and whoever gets a lock looks whether what they have still has the name.
* A full disk takes no manifest, and only what is stored makes room on it.  So there an empty one stands for the lock,
  and what it would say is held in memory: who is killed then begins that file anew, as with one that is damaged.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from workers.recordings.spool import MANIFEST, UNBORN

_log = structlog.get_logger("recordings")
_LONGEST = 65536


@dataclass(frozen=True, slots=True)
class Note:
    """What a manifest says.  ``changed_ns``: the file's mtime when it was read; seconds None: nobody can say.

    ``sent``: something may have been stored under ``key`` by us, so that we may write there again; ``upload``: the id
    of a multipart upload that was begun.  ``tries``, ``since`` (the first in a row), ``next_at``: failures, epochs.
    """

    recording: str
    company: str
    call: str
    bytes: int
    sha256: str
    key: str
    changed_ns: int
    seconds: float | None = None
    why: str | None = None
    sent: bool = False
    upload: str | None = None
    tries: int = 0
    since: float = 0.0
    next_at: float = 0.0
    v: int = 1


class Manifest:
    """A manifest that this process holds.  ``note`` None: nothing (that can be read) is written yet."""

    def __init__(self, path: Path, fd: int | None, note: Note | None) -> None:
        self.path = path
        self.note = note
        self._unborn = path.with_name(f".{path.name}{UNBORN}")
        self._fd = fd

    @classmethod
    def hold(cls, sound: Path) -> Manifest | None:
        """Take the manifest of a file of sound; None: somebody else has it, or it is none of ours.  Raises OSError."""
        path = sound.with_name(sound.name + MANIFEST)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return cls(path, None, None)
        if not _ours(fd) or not _locked(fd, path):
            os.close(fd)
            return None
        return cls(path, fd, _read(os.pread(fd, _LONGEST, 0)))

    @property
    def said(self) -> Note:
        """Its note.  Raises LookupError if there is none."""
        if self.note is None:
            raise LookupError(f"{self.path}: nothing is written yet")
        return self.note

    def write(self, note: Note, *, durable: bool = True) -> bool:
        """Put a new text into its place; False: somebody else was faster.  Raises OSError."""
        while True:
            fd = os.open(self._unborn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            # Whoever holds the manifest waits for one who is about to see that they were too late.
            if _locked(fd, self._unborn, wait=self._fd is not None):
                break
            os.close(fd)
            if self._fd is None:
                return False
        try:
            if self._fd is None and self.path.exists():
                os.close(fd)
                return False
            if not _fill(fd, json.dumps(asdict(note)).encode(), durable=durable):
                os.ftruncate(fd, 0)
                _log.error("alarm", what="the spool's disk is full: a manifest is held in memory", file=self.path.name)
                if self._fd is not None:
                    os.close(fd)  # the one that is there says less, and does no harm
                    self._unborn.unlink(missing_ok=True)
                    self.note = note
                    return True
            self._unborn.rename(self.path)
        except OSError as error:
            os.close(fd)
            if isinstance(error, FileNotFoundError) and self._fd is None:
                return False  # who had it has just removed everything
            raise
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self.note = fd, note
        if durable:
            _sync(self.path.parent)
        return True

    def change(self, *, durable: bool = True, **more: Any) -> Note:
        """Write some fields anew.  It is held and has a note.  Raises OSError."""
        note = replace(self.said, **more)
        self.write(note, durable=durable)
        return note

    def remove(self) -> None:
        """Remove it: nothing is owed any more.  Raises OSError."""
        if self._fd is not None:
            self._unborn.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _locked(fd: int, path: Path, *, wait: bool = False) -> bool:
    """Lock what is open, if it is still what has the name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        here, there = os.fstat(fd), path.stat(follow_symlinks=False)
    except (BlockingIOError, FileNotFoundError):
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _ours(fd: int) -> bool:
    """Whether it is a file that we have made: what somebody else says there is not believed."""
    seen = os.fstat(fd)
    return stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid()


def _fill(fd: int, text: bytes, *, durable: bool) -> bool:
    """Write a text into an open file; False: the disk is full.  Raises OSError."""
    try:
        os.ftruncate(fd, 0)
        if os.pwrite(fd, text, 0) < len(text):
            return False
        if durable:
            os.fsync(fd)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return False
        raise
    return True


def _read(raw: bytes) -> Note | None:
    """What a manifest says; None: it is damaged, and is made anew from the file."""
    try:
        said = json.loads(raw)
        note = Note(**{name.name: said[name.name] for name in fields(Note)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (note.recording, note.company, note.call, note.sha256, note.key)
    numbers = (note.bytes, note.changed_ns, note.tries, note.since, note.next_at)
    sane = note.v == 1 and all(isinstance(text, str) for text in texts) and isinstance(note.sent, bool)
    sane = sane and all(isinstance(number, int | float) for number in numbers) and isinstance(note.upload, str | None)
    return note if sane else None


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
