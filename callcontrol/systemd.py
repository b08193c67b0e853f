"""What a supervisor tells the service manager: ready, reloading, stopping, how it is, and that calls can be taken.

The protocol is one datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names (sd_notify(3)); a name
that begins with ``@`` is one of Linux's abstract sockets.  Without it, everything here does nothing.

The surprise: the variables leave the environment, since whoever else sent from a child would speak for us; who
executes another program in our place puts them back (:attr:`Systemd.environment`).  And a watchdog that only shows
that the parent's own loop turns is worth nothing: who calls :meth:`Systemd.alive` has seen that calls can be taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

_SOCKET, _USEC, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
#: A service manager that does not read is not waited for longer, seconds.
_PATIENCE = 0.5


class Systemd:
    """The way to the service manager.  ``watchdog``: it wants to hear :meth:`alive` so often, seconds; 0: never."""

    def __init__(self, address: str = "", watchdog: float = 0.0, environment: Mapping[str, str] | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog
        #: What the next program in this process needs to do the same.
        self.environment = dict(environment or {})
        self._alive_at = float("-inf")
        self._status = ""

    @classmethod
    def of_environment(cls, variables: MutableMapping[str, str] = os.environ) -> Systemd:
        """As the variables say, which are removed."""
        found = {name: variables.pop(name) for name in (_SOCKET, _USEC, _PID) if name in variables}
        usec, pid = found.get(_USEC, ""), found.get(_PID, "")
        ours = usec.isdigit() and pid in ("", str(os.getpid()))
        return cls(found.get(_SOCKET, ""), int(usec) / 1e6 if ours else 0.0, found)

    @property
    def every(self) -> float:
        """How often to call :meth:`alive`, seconds; infinite if nobody wants it."""
        return self.watchdog / 4 if self.watchdog else float("inf")

    def ready(self, status: str = "") -> None:
        """It is started, or has reloaded."""
        self._status = status
        self._tell("READY=1", *([f"STATUS={_line(status)}"] if status else []))

    def reloading(self) -> None:
        """It reloads; :meth:`ready` says when it has."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        """It is about to end."""
        self._tell("STOPPING=1", *([f"STATUS={_line(status)}"] if status else []))

    def status(self, text: str) -> None:
        """How it is, for people; what was said last is not said again."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """What this service is for can be done; told as often as is wanted."""
        now = time.monotonic()
        if self.watchdog and now - self._alive_at >= self.every:
            self._alive_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.settimeout(_PATIENCE)
            sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _line(text: str) -> str:
    """The text as one line, so that nothing in it is a word of the protocol."""
    return " ".join(text.split())
