"""Whether this process was told to stop: a job that takes its time looks now and then, and ends early.

A plain flag: it is set by a signal's handler, in the middle of anything, where no lock may be taken.
"""

from __future__ import annotations

_told = False


def tell() -> None:
    """Have jobs end early, from now on."""
    global _told
    _told = True


def told() -> bool:
    """Whether to take nothing more in hand."""
    return _told
