"""The programs that are measured, each started as somebody would start it, on a port that it is given.

A contestant serves from ``with contestant.serving(...)`` on and is gone after it.  It must never know how it is
measured.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from callcontrol.supervisor import die_with_parent
from scripts.bench.machine import children, cpu_seconds
from scripts.bench.outcome import BenchError

ROUTING = Path(__file__).parent / "routing"
#: Numbers of ``routing/bench.yaml``.
WHOLE, WAITING, SHORT = "+442071230001", "+442071230002", "+442071230003"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant works: its directory, the port for calls, the switch's event socket, Redis, sounds."""

    directory: Path
    port: int
    esl_port: int
    password: str
    redis: str
    sounds: Path


class Running:
    """A contestant that serves: the process that was started and what it has started since."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def controllers(self) -> list[int]:
        """The processes that take calls: the children of a supervisor, else the process itself."""
        return children(self.process.pid) or [self.process.pid]

    def cpu(self) -> float:
        """Seconds of a core that all of it has used."""
        return cpu_seconds({self.process.pid, *self.controllers})

    def kill(self, pid: int) -> float:
        """kill -9 one controller; when."""
        if pid not in self.controllers:
            raise BenchError(f"{pid} is none of ours")
        now = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return now


@dataclass(frozen=True, slots=True)
class Contestant:
    """``letter`` and ``name`` for the table; the rest says how to start it and by what it shows that it is ready."""

    letter: str
    name: str
    command: Callable[[Place], Sequence[str]]
    ready: tuple[str, ...] = ("ready",)
    processes: int = 1
    environment: Callable[[Place, int], dict[str, str]] = lambda place, processes: {}

    @contextlib.contextmanager
    def serving(self, place: Place) -> Iterator[Running]:
        """Start, wait until it can take calls, and end it afterwards whatever happened."""
        place.directory.mkdir(parents=True, exist_ok=True)
        log = place.directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(place),
                stdout=output,
                stderr=output,
                env={"PATH": os.environ.get("PATH", ""), **self.environment(place, self.processes)},
                preexec_fn=die_with_parent,
                process_group=0,
            )
        try:
            self._wait(process, log)
            yield Running(process, place.port)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                for pid in (*children(process.pid), process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.wait()

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 30
        while True:
            said = log.read_text(errors="replace")
            if all(said.count(word) >= self.processes for word in self.ready):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not start: {said[-2000:]}")
            time.sleep(0.02)


def floor(*, few: bool) -> Contestant:
    """The bare loop."""
    name = "gevent, framing only" + (", fewer events" if few else "")
    events = "few" if few else "all"
    return Contestant("a'" if few else "a", name, lambda at: _script("floor", at, events))


def plain() -> Contestant:
    """greenswitch with its own server."""
    return Contestant(
        "b",
        "greenswitch 0.0.19, its own server",
        lambda at: _script("plain", at),
    )


def _script(name: str, place: Place, *more: str) -> list[str]:
    return [sys.executable, "-m", f"scripts.bench.{name}", str(place.port), str(place.sounds / "bench"), *more]


def cordboard(processes: int = 1, routing: Path = ROUTING) -> Contestant:
    """``cordboard serve``, with checkpoints and facts as always."""
    return Contestant(
        "c" if processes == 1 else f"c{processes}",
        f"Cordboard, {processes} process{'es' if processes > 1 else ''}",
        lambda at: [str(Path(sys.executable).parent / "cordboard"), "serve"],
        ready=("ready for calls", "connected to the switch"),
        processes=processes,
        environment=lambda place, processes: _environment(place, processes, routing),
    )


def _environment(place: Place, processes: int, routing: Path) -> dict[str, str]:
    password = place.directory / "esl.password"
    password.touch(mode=0o600)
    password.write_text(place.password)
    (place.directory / "cordboard.yaml").write_text(
        f"switches:\n  - {{name: switch1, host: 127.0.0.1, port: {place.esl_port}, password_file: esl.password}}\n"
    )
    return {
        "CORDBOARD_ROUTING": str(routing),
        "CORDBOARD_SOUNDS": str(place.sounds),
        "CORDBOARD_LISTEN": f"127.0.0.1:{place.port}",
        "CORDBOARD_REDIS": place.redis,
        "CORDBOARD_CONFIG": str(place.directory / "cordboard.yaml"),
        "CORDBOARD_STATE": str(place.directory / "state"),
        "CORDBOARD_SPOOL": str(place.directory / "spool"),
        "CORDBOARD_PROCESSES": str(processes),
    }


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
