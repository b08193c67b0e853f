"""The file of a backup: a gzipped tar of ordinary files and, last of all, a manifest with the hash of each.

Written so that any ``tar`` reads it, read so that nothing in it can do harm: only ordinary files under names that we
give, each once, each as long as the manifest says and with its hash.  Links, devices, long-name and extended headers
are refused at their first byte, before anything of them is read, and so is what would fill the disk.

The surprise: the manifest stands at the end, since a running system's files are known only once they are read.  So a
file that was cut off has none and is no backup, and reading is two passes: all is verified before anything is written.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from workers.backup import leftovers

FORMAT = 1
MANIFEST = "MANIFEST.json"
#: What a file in it may be called: parts without a dot at their beginning, under one of these.
_PART = r"[\w+@][\w+@. ,=()'&#!-]*"
_NAME = re.compile(rf"(?:config|routing|sounds|state|spool)(?:/{_PART}){{1,8}}|journal\.db|redis\.json")
#: More files than this are no backup of ours; and a manifest is no longer, bytes.
MOST_FILES = 500_000
_MOST_MANIFEST = 128 * 2**20
_PIECE = 2**20
#: Begins the name of one that is being written, whatever it will be called.
_UNBORN = ".cordboard-backup-"
#: No backup is of a later moment (the year 5138).
_LATEST = 1e11
#: An octal field of a header holds no more; what is larger has the short form of a name only.
_SMALL = 8**11 - 1
_SHORT, _PREFIX = 100, 155


class ArchiveError(Exception):
    """This is no backup, or a damaged or forged one; ``str()`` says why."""


@dataclass(slots=True)
class Manifest:
    """What stands at the end.  ``schema``: the journal's step; ``left_out``: what is not in it, and why."""

    release: str
    schema: str
    at: float
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def may_be_named(name: str, size: int = 0) -> bool:
    """Whether a file of a backup may have this name; one without headers that go before it (``ustar``)."""
    if _NAME.fullmatch(name) is None:
        return False
    data = name.encode()
    if len(data) <= _SHORT:
        return True
    cuts = (at for at, sign in enumerate(data) if sign == ord("/"))
    return size <= _SMALL and any(cut <= _PREFIX and len(data) - cut - 1 <= _SHORT for cut in cuts)


class Writer:
    """Writes an archive, readable by its owner only, which appears under its name when it is whole.

    Raises FileExistsError if there is something of that name, OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            raise FileExistsError(errno.EEXIST, "there is such a file already", str(path))
        leftovers.sweep(path.parent, _UNBORN)
        self._unborn = path.with_name(f"{_UNBORN}{secrets.token_hex(8)}")
        descriptor = os.open(self._unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        leftovers.hold(descriptor)
        self._raw = os.fdopen(descriptor, "wb")
        self._zip = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, compresslevel=6)
        self._files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, source: BinaryIO, size: int, mode: int = 0o600) -> None:
        """Add ``size`` bytes of ``source``; one that is shorter by now is padded with zeros no reader takes for it.

        Raises ArchiveError for a name that cannot be.
        """
        if not may_be_named(name, size) or name in self._files:
            raise ArchiveError(f"a file of a backup cannot be called {name!r}")
        self._write(name, source, size, mode)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add what is in memory."""
        self.add(name, io.BytesIO(data), len(data))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and the end; on return the file is there, and on disk."""
        manifest.files = self._files
        data = json.dumps({"cordboard": FORMAT, **_fields(manifest)}, indent=1).encode()
        self._header(MANIFEST, len(data), 0o600, manifest.at)
        self._zip.write(data + b"\0" * (-len(data) % 512) + b"\0" * 1024)
        self._zip.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        try:
            os.link(self._unborn, self._path)  # fails, unlike a renaming, if somebody else has made it meanwhile
            self._unborn.unlink()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            if self._path.exists():  # a disk without second names: a moment remains in which two could meet
                raise FileExistsError(errno.EEXIST, "there is such a file already", str(self._path)) from None
            self._unborn.rename(self._path)
        self._raw.close()
        sync(self._path.parent)

    def give_up(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(OSError, ValueError):
            self._raw.close()
        self._unborn.unlink(missing_ok=True)

    def _header(self, name: str, size: int, mode: int, at: float) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, int(at)
        large = size > _SMALL
        self._zip.write(info.tobuf(tarfile.GNU_FORMAT if large else tarfile.USTAR_FORMAT, "utf-8", "strict"))

    def _write(self, name: str, source: BinaryIO, size: int, mode: int) -> None:
        self._header(name, size, mode, 0)
        digest, left = hashlib.sha256(), size
        while left:
            piece = source.read(min(_PIECE, left)) or b"\0" * min(_PIECE, left)
            digest.update(piece)
            self._zip.write(piece)
            left -= len(piece)
        self._zip.write(b"\0" * (-size % 512))
        self._files[name] = {"size": size, "sha256": digest.hexdigest(), "mode": mode & 0o700}


def sync(directory: Path) -> None:
    """Have the names in a directory on disk.  Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fields(manifest: Manifest) -> dict[str, Any]:
    names = ("release", "schema", "at", "notes", "left_out", "files")
    return {name: getattr(manifest, name) for name in names}


# ------------------------------------------------------------------------------------------------------- reading


def verify(path: Path, most: int) -> Manifest:
    """Read all of it, writing nothing; what it holds.  ``most``: bytes that it may unpack to.  Raises ArchiveError."""
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    total = 0
    for name, size, pieces in _members(path):
        if manifest is not None:
            raise ArchiveError("something stands behind its manifest")
        total += size
        if total > most:
            raise ArchiveError(f"it unpacks to more than the {most // 2**20} MB that are free")
        if name == MANIFEST:
            if size > _MOST_MANIFEST:
                raise ArchiveError("its manifest is too long to be one")
            manifest = _manifest(b"".join(pieces))
            continue
        if name in found or len(found) >= MOST_FILES:
            raise ArchiveError(f"{name} is in it twice, or there are too many")
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        found[name] = size, digest.hexdigest()
    if manifest is None:
        raise ArchiveError("it has no manifest: it is not whole")
    told = {name: (one["size"], one["sha256"]) for name, one in manifest.files.items()}
    if found != told:
        wrong = sorted(name for name in {*found, *told} if found.get(name) != told.get(name))
        raise ArchiveError(f"{wrong[0]} is not what the manifest says; {len(wrong)} in all")
    return manifest


def unpack(path: Path, manifest: Manifest, directory: Path) -> None:
    """Write its files under ``directory``, which is ours alone.  Verifies again: nobody says that it is still the same.

    Raises ArchiveError, OSError.
    """
    left = dict(manifest.files)
    for name, size, pieces in _members(path):
        if name == MANIFEST:
            break
        told = left.pop(name, None)
        if told is None or told["size"] != size:
            raise ArchiveError(f"{name} is not what it was when it was verified")
        target = directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o600 | told["mode"]), "wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != told["sha256"]:
            raise ArchiveError(f"{name} is not what it was when it was verified")
    if left:
        raise ArchiveError(f"{sorted(left)[0]} is not in it any more")


def _manifest(data: bytes) -> Manifest:
    try:
        told = json.loads(data)
        if told.pop("cordboard") != FORMAT:
            raise ArchiveError("it is of another format: a newer Cordboard has made it")
        manifest = Manifest(**told)
        for name, one in manifest.files.items():
            size, mode, digest = one["size"], one["mode"], one["sha256"]
            if not may_be_named(name) or type(size) is not int or type(mode) is not int or mode & ~0o700:
                raise ArchiveError("its manifest is not one of ours")
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ArchiveError("its manifest is not one of ours")
        texts = (manifest.release, manifest.schema, *manifest.left_out, *manifest.left_out.values())
        if not all(isinstance(one, str) for one in texts) or not 0 <= float(manifest.at) < _LATEST:
            raise ArchiveError("its manifest is not one of ours")
        return manifest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArchiveError(f"its manifest cannot be read: {error!r}"[:200]) from None


def _members(path: Path) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Name, size and bytes of each; what is not read of one is skipped.  Raises ArchiveError, to its very end."""
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(gzip.open(path, "rb"))
        except OSError as error:
            raise ArchiveError(f"it cannot be read: {error.strerror}") from None
        read = partial(_read, file)
        while (header := read(512)) != b"\0" * 512:
            try:
                info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            except (tarfile.TarError, ValueError) as error:
                raise ArchiveError(f"it is damaged, not whole, or no backup: {error}") from None
            # Here and not later: a link, a device, or a header that goes before another is never looked into.
            if info.type != tarfile.REGTYPE or not (info.name == MANIFEST or may_be_named(info.name)) or info.size < 0:
                raise ArchiveError(f"what is in it under {info.name!r} cannot be in a backup")
            left = [info.size]
            yield info.name, info.size, _pieces(read, left)
            for _ in _pieces(read, left):
                pass
            read(-info.size % 512)
        behind = read(_PIECE)  # and with the end of the file its checksum is compared
        if len(behind) == _PIECE or behind.strip(b"\0"):
            raise ArchiveError("something stands behind its end")


def _read(file: gzip.GzipFile, size: int) -> bytes:
    try:
        return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"it is damaged, not whole, or no backup: {error}") from None


def _pieces(read: Callable[[int], bytes], left: list[int]) -> Iterator[bytes]:
    while left[0]:
        piece = read(min(_PIECE, left[0]))
        if not piece:
            raise ArchiveError("it ends in the middle: it is not whole")
        left[0] -= len(piece)
        yield piece
