"""The store of published routing: each accepted version of a company's file under its content hash.

``<state>/versions/<company>/<version>`` holds the compiled bytes, ``<version>.<program>`` what a program made of
them to read them faster, ``<company>/current`` the name of the version that was published last.  It knows nothing
of what the bytes mean.  One process writes versions (the publisher), many read; every change is one rename, so a
reader sees the old or the new; a power cut leaves one of them.

The surprise: a version that is no longer current must stay, since calls that began with it are still walking it.
Its age therefore counts from when it stopped being current, or was last said to be used (:meth:`VersionStore.used`),
not from when it was written.  A call in a talk is nobody's, so nobody says that its version is used: what is kept for
the longest call besides cannot be missed by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import structlog

_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_VERSION = re.compile(r"[0-9a-f]{16}")
_DERIVED = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{12})")
_CURRENT = "current"
#: Seconds between two sayings that a version is used.
USED_EVERY = 600.0
#: Begins the name of a file that is being written.
_UNBORN = ".new-"


def version_of(data: bytes) -> str:
    """The name of a version: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def are_versions(found: Mapping[object, object]) -> bool:
    """Whether these are companies, each with a version."""
    return all(
        isinstance(company, str)
        and _COMPANY.fullmatch(company)
        and isinstance(version, str)
        and _VERSION.fullmatch(version)
        for company, version in found.items()
    )


class VersionStore:
    """The versions under ``<state>/versions``.  Writing raises the disk's OSError; reading never does."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._root = state / "versions"

    # ------------------------------------------------------------------------------------------- writing

    def put(self, company: str, version: str, data: bytes) -> None:
        """Store a version; on return it is on disk.  Raises ValueError for a wrong name, or a wrong hash."""
        path = self._path(company, version)
        if version_of(data) != version:
            raise ValueError(f"these bytes are version {version_of(data)}, not {version}")
        if self.get(company, version) == data:
            os.utime(path)
            return
        write_whole(path, data)

    def derive(self, company: str, version: str, program: str, data: bytes) -> None:
        """Keep what ``program`` made of a version.  Not made safe against power cuts: it can be made again."""
        write_whole(self._path(company, version, program), data, durable=False)

    def publish(self, company: str, version: str) -> None:
        """Make a stored version the one that new calls get.  Raises ValueError if it is not stored whole."""
        if self.get(company, version) is None:
            raise ValueError(f"version {version} of {company} is not stored")
        old = self.current(company)
        if old != version:
            self._age_from_now(company, old)
            # Not synced, a thousand times: controllers follow the one file that the publisher writes at its end.
            write_whole(self._root / company / _CURRENT, version.encode(), durable=False)

    def withdraw(self, company: str) -> None:
        """No new calls for this company; its versions stay for the calls that have them."""
        self._age_from_now(company, self.current(company))
        if _COMPANY.fullmatch(company):
            with contextlib.suppress(FileNotFoundError):
                (self._root / company / _CURRENT).unlink()
                _sync_directory(self._root / company)

    def used(self, company: str, version: str) -> None:
        """A live call has this version: its age begins anew.  To be said again while that is so."""
        with contextlib.suppress(ValueError, OSError):
            path = self._path(company, version)
            if time.time() - path.stat().st_mtime > USED_EVERY:
                os.utime(path)

    def prune(self, live: Set[tuple[str, str]], older_than: float = 86_400, program: str = "") -> list[tuple[str, str]]:
        """Remove versions that are neither current nor ``live`` (company, version), and were neither current nor
        used for more than ``older_than`` seconds.  Returns what it removed.

        What was made of a version goes with it; what other programs than ``program`` made goes by its own age, since
        such a program may still run.
        """
        removed = []
        before = time.time() - older_than
        for company in self.companies():
            keep = {*live, (company, self.current(company))}
            for path in sorted((self._root / company).iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime > before:
                        continue
                    if path.name.startswith(_UNBORN):
                        path.unlink()
                    elif _VERSION.fullmatch(path.name) and (company, path.name) not in keep:
                        path.unlink()
                        removed.append((company, path.name))
                    elif (derived := _DERIVED.fullmatch(path.name)) and (
                        derived[2] != program or not path.with_name(derived[1]).exists()
                    ):
                        path.unlink()
        return removed

    # ------------------------------------------------------------------------------------------- reading

    def get(self, company: str, version: str) -> bytes | None:
        """The bytes of a version; None if it is not there, is damaged (and logged), or cannot be so named."""
        try:
            data = self._path(company, version).read_bytes()
        except (ValueError, FileNotFoundError):
            return None
        except OSError as error:
            _log().error("a version cannot be read", company=company, version=version, error=str(error))
            return None
        if version_of(data) != version:
            _log().error("a stored version is damaged", company=company, version=version)
            return None
        return data

    def derived(self, company: str, version: str, program: str) -> bytes | None:
        """What ``program`` made of a version, as it was found; None if it is not there."""
        try:
            return self._path(company, version, program).read_bytes()
        except (ValueError, OSError):
            return None

    def current(self, company: str) -> str | None:
        """The version that was published last, or None."""
        if not _COMPANY.fullmatch(company):
            return None
        try:
            text = (self._root / company / _CURRENT).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return text if _VERSION.fullmatch(text) else None

    def companies(self) -> list[str]:
        """Every company that has versions, sorted."""
        try:
            return sorted(path.name for path in self._root.iterdir() if _COMPANY.fullmatch(path.name) and path.is_dir())
        except FileNotFoundError:
            return []

    def versions(self, company: str) -> list[str]:
        """Every version of a company that is stored, sorted by name."""
        if not _COMPANY.fullmatch(company):
            return []
        try:
            return sorted(path.name for path in (self._root / company).iterdir() if _VERSION.fullmatch(path.name))
        except OSError:
            return []

    def live(self) -> list[str]:
        """Every company that takes calls: that has a current version.  Sorted."""
        return [company for company in self.companies() if self.current(company) is not None]

    # ---------------------------------------------------------------------------------------------------

    def _path(self, company: str, version: str, program: str = "") -> Path:
        if not _COMPANY.fullmatch(company):
            raise ValueError(f"no company is named {company!r}")
        if not _VERSION.fullmatch(version):
            raise ValueError(f"no version is named {version!r}")
        name = f"{version}.{program}" if program else version
        if program and not _DERIVED.fullmatch(name):
            raise ValueError(f"no program is named {program!r}")
        return self._root / company / name

    def _age_from_now(self, company: str, version: str | None) -> None:
        if version is not None:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path(company, version))


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that at every moment it is there whole or not at all; ``durable``: power cuts included.

    Raises OSError, and leaves nothing then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unborn = path.with_name(f"{_UNBORN}{path.name}-{os.getpid()}")
    try:
        with unborn.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        unborn.replace(path)
    except OSError:
        unborn.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _log() -> Any:
    return structlog.get_logger("versions")
