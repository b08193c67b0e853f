"""The store of published routing: each accepted version of a company's file under its content hash.

``<state>/versions/<company>/<version>`` holds the compiled bytes, ``<company>/current`` the name of the
version that new calls get.  It knows nothing of what the bytes mean.  One process writes (the supervisor),
many read; every change is one rename, so a reader sees the old or the new; a power cut leaves one of them.

The surprise: a version that is no longer current must stay, since calls that began with it are still walking
it.  Its age therefore counts from when it stopped being current, not from when it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Set
from pathlib import Path
from typing import Any

import structlog

_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_VERSION = re.compile(r"[0-9a-f]{16}")
_CURRENT = "current"
#: Begins the name of a file that is being written.
_UNBORN = ".new-"


def version_of(data: bytes) -> str:
    """The name of a version: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


class VersionStore:
    """The versions under ``<state_dir>/versions``.  Writing raises the disk's OSError; reading never does."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "versions"

    # ------------------------------------------------------------------------------------------- writing

    def put(self, company: str, version: str, data: bytes) -> None:
        """Store a version; on return it is on disk.  Raises ValueError for a wrong name, or a wrong hash."""
        path = self._path(company, version)
        if version_of(data) != version:
            raise ValueError(f"these bytes are version {version_of(data)}, not {version}")
        if self.get(company, version) == data:
            os.utime(path)
            return
        _write(path, data)

    def publish(self, company: str, version: str) -> None:
        """Make a stored version the one that new calls get.  Raises ValueError if it is not stored whole."""
        if self.get(company, version) is None:
            raise ValueError(f"version {version} of {company} is not stored")
        old = self.current(company)
        if old != version:
            self._age_from_now(company, old)
            _write(self._root / company / _CURRENT, version.encode())

    def withdraw(self, company: str) -> None:
        """No new calls for this company; its versions stay for the calls that have them."""
        self._age_from_now(company, self.current(company))
        if _COMPANY.fullmatch(company):
            with contextlib.suppress(FileNotFoundError):
                (self._root / company / _CURRENT).unlink()
                _sync_directory(self._root / company)

    def prune(self, live: Set[tuple[str, str]], older_than: float = 86_400) -> list[tuple[str, str]]:
        """Remove versions that are neither current nor ``live`` (company, version), and stopped being current
        more than ``older_than`` seconds ago.  Returns what it removed.
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

    def current(self, company: str) -> str | None:
        """The version that new calls get, or None."""
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
            return sorted(path.name for path in self._root.iterdir() if _COMPANY.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def live(self) -> list[str]:
        """Every company that takes calls: that has a current version.  Sorted."""
        return [company for company in self.companies() if self.current(company) is not None]

    # ---------------------------------------------------------------------------------------------------

    def _path(self, company: str, version: str) -> Path:
        if not _COMPANY.fullmatch(company):
            raise ValueError(f"no company is named {company!r}")
        if not _VERSION.fullmatch(version):
            raise ValueError(f"no version is named {version!r}")
        return self._root / company / version

    def _age_from_now(self, company: str, version: str | None) -> None:
        if version is not None:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path(company, version))


def _write(path: Path, data: bytes) -> None:
    """Write a file so that at every moment, power cuts included, it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unborn = path.with_name(f"{_UNBORN}{path.name}-{os.getpid()}")
    try:
        with unborn.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unborn.replace(path)
    except OSError:
        unborn.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _log() -> Any:
    return structlog.get_logger("versions")
