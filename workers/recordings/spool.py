"""The spool: which files in it are recordings, which of those are whole, and what their headers say.

It knows no store and no database.  It never changes a file of sound, and opens only what is beyond doubt ours: a name
that ``callcontrol.spool`` reads, a regular file with one name, of an owner we know.  Whatever else lies there is left
alone and reported.

Where the surprise lies: a file that has not grown may still be open.  A switch that masks a recording writes silence,
so that file grows; but a caller on hold may send no sound at all for minutes.  So the kernel is asked as well: a read
lease on a file is refused while anybody has it open for writing (``fcntl(2)``, F_SETLEASE).  Where leases are not ours
to take (another owner, other systems), a file that nobody said is finished has to wait until its call is over.

A switch that died left a header that says 0 bytes, or 4 GB.  Such a file is described by the bytes it has, with a note,
and stored as it is: players read on to the end, and the only copy of somebody's words is not the place for repairs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from callcontrol.spool import SpoolFile, read_name

#: What belongs to a recording besides its sound: the manifest, and one that is being written.
MANIFEST, UNBORN = ".json", ".new"
_PIECE = 2**20
#: A header longer than this is none.
_HEADER = 65536
#: Difference between lengths that is worth a note, seconds.
_ALIKE = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """A recording's file in the spool, as it was when it was looked at.  Moments are UTC epochs."""

    file: SpoolFile
    path: Path
    size: int
    changed_at: float


@dataclass(slots=True)
class Look:
    """What lies in the spool: recordings, oldest first; manifests by the recording's name; and what is not ours."""

    files: list[Found] = field(default_factory=list)
    manifests: set[str] = field(default_factory=set)
    strangers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sound:
    """What a file has: its SHA-256, bytes, seconds of sound (None: nobody can say), and what is odd about it."""

    sha256: str
    bytes: int
    seconds: float | None
    empty: bool
    why: str | None


class Growing(Exception):
    """The file changed while it was read."""


def look(directory: Path) -> Look:
    """Look through the spool.  Raises OSError if there is none."""
    found = Look()
    owners = {directory.stat().st_uid, os.geteuid(), *_switch_user()}
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # its worker was faster
                _sort(found, entry, owners)
    found.files.sort(key=lambda one: (one.changed_at, one.file.name))
    return found


def _sort(found: Look, entry: os.DirEntry[str], owners: set[int]) -> None:
    name = entry.name
    if name.endswith(UNBORN) and name.startswith("."):
        return
    seen = entry.stat(follow_symlinks=False)
    if name.endswith(MANIFEST) and read_name(name.removesuffix(MANIFEST)) is not None:
        if stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid():
            found.manifests.add(name.removesuffix(MANIFEST))
        else:
            found.strangers[name] = "a manifest that is not ours"
        return
    file = read_name(name)
    if file is None:
        found.strangers[name] = "its name is no recording's"
    elif not stat.S_ISREG(seen.st_mode):
        found.strangers[name] = "it is no regular file"
    elif seen.st_nlink > 1:
        found.strangers[name] = "it has another name, too"
    elif seen.st_uid not in owners:
        found.strangers[name] = "its owner is neither the spool's, nor ours, nor freeswitch"
    else:
        path = Path(entry.path)
        found.files.append(Found(file, path, seen.st_size, max(seen.st_mtime, seen.st_ctime)))


def open_sound(path: Path) -> int:
    """A descriptor to read a recording by.  Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def written_by_somebody(fd: int) -> bool | None:
    """Whether anybody has the file open for writing, as the kernel knows it; None: it may not tell us."""
    set_lease = getattr(fcntl, "F_SETLEASE", None)
    if set_lease is None:
        return None
    try:
        fcntl.fcntl(fd, set_lease, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, set_lease, fcntl.F_UNLCK)
    return False


def measure(fd: int, said: float | None) -> Sound:
    """Read a whole file.  ``said``: how many seconds the switch told, if it did.  Raises Growing, OSError."""
    before = os.fstat(fd)
    digest, size, head = hashlib.sha256(), 0, b""
    while piece := os.pread(fd, _PIECE, size):
        digest.update(piece)
        if size < _HEADER:
            head += piece[: _HEADER - size]
        size += len(piece)
    after = os.fstat(fd)
    if size != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Growing
    seconds, sound, why = _header(head, size)
    notes = [why] if why else []
    if said and seconds is not None and abs(said - seconds) > max(_ALIKE, 0.05 * said):
        notes.append(f"the switch told of {said:.1f} s, the file has {seconds:.1f} s")
    return Sound(digest.hexdigest(), size, seconds, sound == 0, "; ".join(notes) or None)


def _header(head: bytes, size: int) -> tuple[float | None, int, str | None]:
    """Seconds, bytes of sound, and what is odd, by a WAV header (RIFF, Microsoft 1991); nothing of it is believed."""
    if size == 0:
        return 0.0, 0, None
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None, size, "it has no WAV header"
    at, rate = 12, 0
    while at + 8 <= len(head):
        kind, length = head[at : at + 4], int(struct.unpack_from("<I", head, at + 4)[0])
        at += 8
        if kind == b"fmt " and length >= 16 and at + 16 <= len(head):
            rate = int(struct.unpack_from("<I", head, at + 8)[0])
        if kind == b"data":
            there = size - at
            odd = f"the header tells of {length} bytes of sound, the file has {there}"
            whole = length == there or length + 1 == there  # a chunk of an odd length has a byte of padding
            sound = length if whole or 0 < length < there else there
            if rate == 0:
                return None, sound, "its WAV header has no rate"
            return sound / rate, sound, None if whole else odd
        at += length + length % 2
    return (0.0, 0, None) if size <= 44 else (None, size, "its WAV header has no sound")


def remove_if(path: Path, same: Callable[[os.stat_result], bool]) -> bool:
    """Remove a file of sound if it is what it was, and nobody writes to it; whether it is gone.  Raises OSError."""
    try:
        fd = open_sound(path)
    except FileNotFoundError:
        return True
    try:
        if not same(os.fstat(fd)) or written_by_somebody(fd):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(fd)


def room(directory: Path) -> tuple[int, int]:
    """Bytes that are free on the spool's disk for us, and all there are.  Raises OSError."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _switch_user() -> set[int]:
    """The user that FreeSWITCH's packages make, where there is one."""
    try:
        return {pwd.getpwnam("freeswitch").pw_uid}
    except KeyError:
        return set()
