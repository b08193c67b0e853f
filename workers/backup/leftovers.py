"""What a backup or a restore leaves that was killed: files and directories that nobody will ever finish, with secrets.

Whoever makes one holds a ``flock`` on it for life, so the next who comes there knows which are nobody's any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: One that is younger may be about to be held, seconds.
_YOUNG = 5.0


def hold(descriptor: int) -> None:
    """Say that this is somebody's, as long as the descriptor is open.  A disk that cannot do that stops nobody."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(parent: Path, prefix: str) -> None:
    """Remove what begins with ``prefix`` and is nobody's."""
    with contextlib.suppress(OSError):
        for path in sorted(parent.iterdir()):
            if path.name.startswith(prefix):
                _remove(path)


@contextlib.contextmanager
def directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A directory for its owner only, under a name that is ours; whatever is left of it at the end is removed."""
    sweep(parent, prefix)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        hold(descriptor)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(descriptor).st_ctime < _YOUNG:
                return
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
