"""How a worker's process meets what is away: says it once, waits longer and longer, goes on by itself."""

from __future__ import annotations

import time
from typing import Any

import structlog

LOW, HIGH = 0.25, 5.0


class Trouble:
    """The trouble with one thing, ``what`` (``Redis``, ``the database``); ``more`` goes into the log."""

    def __init__(self, what: str, **more: Any) -> None:
        self._what = what
        self._more = more
        self._pause = 0.0

    def met(self, error: BaseException) -> None:
        """It is away: say so, unless that is known, and wait, 0.25 … 5 s."""
        if not self._pause:
            _log().warning(f"{self._what} is away", error=f"{type(error).__name__}: {error}"[:300], **self._more)
        self._pause = min(HIGH, max(LOW, self._pause * 2))
        time.sleep(self._pause)

    def over(self) -> None:
        """It is there."""
        if self._pause:
            self._pause = 0.0
            _log().info(f"{self._what} is back", **self._more)


def _log() -> Any:
    return structlog.get_logger("work")
