"""Files that only their owner may read: passwords, keys, secrets.  One careful way to read them.

What such a file says is never quoted in an error.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class SettingsError(Exception):
    """A setting that cannot be used; ``str()`` says which and what to do."""


#: Bytes of such a file at most, if nothing else is said.
LONGEST = 1_000_000


def read_private(path: Path, what: str, *, longest: int = LONGEST) -> bytes:
    """What stands in a file that nobody else can read.  ``what`` names it in errors, such as ``the secrets``.

    Raises FileNotFoundError, and SettingsError for anything else that is wrong.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not keep us waiting
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"{path}: {what} cannot be read: {error.strerror or error}") from None
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise SettingsError(f"{path}: {what} cannot be read: it is not a regular file")
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{path}: others can read {what}; run: chmod 600 {path}")
        raw = b""
        while len(raw) <= longest and (more := os.read(fd, longest + 1 - len(raw))):
            raw += more
    except OSError as error:
        raise SettingsError(f"{path}: {what} cannot be read: {error.strerror or error}") from None
    finally:
        os.close(fd)
    if len(raw) > longest:
        raise SettingsError(f"{path}: the file is longer than {longest} bytes")
    return raw
