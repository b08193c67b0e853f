"""A whole Cordboard on this machine: Redis, the real server, the stand-in switch.

What ``make demo``, the stories in tests and the benches stand on.  Everything is on loopback and in one
directory, and ends with :meth:`Rig.stop`; only processes that the rig started are ever ended.

The surprise: the switch runs in *this* process (gevent), the server and Redis in their own.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import gevent

from callcontrol.embedded import EmbeddedRedis
from callcontrol.facts import read_facts
from freeswitch.simulator import Switch

if TYPE_CHECKING:
    from scripts.behind import Behind

ROOT = Path(__file__).parent.parent
ROUTING = ROOT / "routing"
#: How long a first start may take: it renders all that the company says, on a busy machine perhaps.
STARTING = 120
#: Where what was spoken for one rig is kept for those that follow, if anywhere: it is the same for each, and immutable.
SPOKEN: Path | None = None
#: The way out of the example company, as the stand-in switch knows it.
TRUNKS = "trunks:\n  - {name: carrier-a, gateway: carrier-a}\n"


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RigError(RuntimeError):
    """Something did not start or did not happen; the server's last words are in the text."""


class Rig:
    """One Redis, one server with ``processes`` controllers, one switch; ``behind``: what stands behind them, too.

    ``clock``: the local time at which the server's calls begin, such as ``2026-11-23 10:00`` (Moscow).
    ``config``: what cordboard.yaml says besides the switch.  ``program``: another ``cordboard`` than that of here.
    """

    def __init__(
        self,
        directory: Path,
        *,
        routing: Path = ROUTING,
        clock: str | None = "2026-11-23 10:00",
        processes: int = 2,
        redis_url: str | None = None,
        sounds: Mapping[str, float] | None = None,
        log: Path | None = None,
        config: str = TRUNKS,
        behind: bool = False,
        program: Path | None = None,
    ) -> None:
        self.directory = directory
        #: What is run as ``cordboard``.
        self.program = program or Path(sys.executable).parent / "cordboard"
        self.processes = processes
        self.port = free_port()
        self.spool = directory / "spool"
        self.log_path = log or directory / "server.log"
        self._routing = routing
        self._config = config
        self.behind = _behind(directory) if behind else None
        self._offset = 0.0
        self.set_clock(clock)
        password = secrets.token_hex(12)
        self.switch = Switch([("127.0.0.1", self.port)], password=password, sounds=sounds)
        self.switch.gateway("carrier-a")
        self.switch.directory = directory / "state" / "directory"
        self._switch_began = time.time() - self.switch.clock()
        self._password = password
        self._redis = None if redis_url else EmbeddedRedis(directory / "redis")
        self._redis_url = redis_url or ""
        self._server: subprocess.Popen[bytes] | None = None

    def set_clock(self, clock: str | None) -> None:
        """The local time (Moscow) at which the next server begins; None: the real one."""
        self._offset = 0.0
        if clock is not None:
            moment = dt.datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo("Europe/Moscow"))
            self._offset = moment.timestamp() - time.time()

    def switch_time(self, at: float) -> float:
        """A fact's time on the switch's clock, seconds."""
        return at - self._offset - self._switch_began

    # ------------------------------------------------------------------------------------------------ life

    def start(self) -> Rig:
        """Start everything and wait until calls can come."""
        self.directory.mkdir(parents=True, exist_ok=True)
        speech = self.directory / "state" / "speech"
        if SPOKEN is not None:
            _share(SPOKEN, speech)
        if self._redis is not None:
            self._redis.start()
            self._redis_url = self._redis.url
        if self.behind is not None:
            self._config += self.behind.start()
        self.switch.start()
        password = self.directory / "esl.password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        host, port = self.switch.esl_address
        (self.directory / "cordboard.yaml").write_text(
            f"switches:\n  - {{name: switch1, host: {host}, port: {port}, password_file: esl.password}}\n{self._config}"
        )
        if self.behind is not None:
            self.behind.serve(self.environment())
        self.start_server()
        if SPOKEN is not None:
            _share(speech, SPOKEN)
        return self

    def environment(self) -> dict[str, str]:
        """The settings, as every command of Cordboard takes them."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONUNBUFFERED": "1",
            "CORDBOARD_ROUTING": str(self._routing),
            "CORDBOARD_LISTEN": f"127.0.0.1:{self.port}",
            "CORDBOARD_REDIS": self._redis_url,
            "CORDBOARD_CONFIG": str(self.directory / "cordboard.yaml"),
            "CORDBOARD_STATE": str(self.directory / "state"),
            "CORDBOARD_SPOOL": str(self.spool),
            "CORDBOARD_PROCESSES": str(self.processes),
            "CORDBOARD_CLOCK_OFFSET": str(self._offset),
        }

    def start_server(self) -> None:
        """Start ``cordboard serve`` and wait until every controller is ready."""
        seen = len(self.log())
        command = [str(self.program), "serve"]
        with self.log_path.open("ab") as log:
            self._server = subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)
        if not self.log_path.is_file() and self.log_path.exists():  # a device: nothing can be read from it
            self.until(
                lambda: len(self.children()) >= self.processes and self._accepts(), STARTING, "the server to start"
            )
            return
        self.until(
            lambda: self.log()[seen:].count("ready for calls") >= self.processes, STARTING, "the server to start"
        )
        self.until(
            lambda: self.log()[seen:].count("connected to the switch") >= self.processes,
            10,
            "the switch's connection",
        )

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop_server(self) -> int:
        """Stop the server in good order; the exit code."""
        if self._server is None:
            return 0
        self._server.send_signal(signal.SIGTERM)
        self.until(lambda: self._server is None or self._server.poll() is not None, 15, "the server to stop")
        code, self._server = self._server.returncode, None
        return int(code)

    def restart_server(self, clock: str | None) -> None:
        """Stop the server and start it at another time; None: the real one."""
        self.stop_server()
        self.set_clock(clock)
        self.start_server()

    def stop_redis(self) -> None:
        """Take Redis away."""
        if self._redis is not None:
            self._redis.stop()

    def start_redis(self) -> None:
        """Bring it back, with what it had."""
        if self._redis is not None:
            self._redis.start()

    def stop(self) -> None:
        """End everything that was started."""
        try:
            if self._server is not None and self._server.poll() is None:
                self.stop_server()
        finally:
            if self._server is not None and self._server.poll() is None:
                self._server.kill()
                self._server.wait()
            if self.behind is not None:
                self.behind.stop()
            self.switch.stop()
            if self._redis is not None:
                self._redis.stop()

    def __enter__(self) -> Rig:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --------------------------------------------------------------------------------------------- looking

    @property
    def server_pid(self) -> int:
        """The supervisor's process."""
        if self._server is None:
            raise RigError("the server does not run")
        return self._server.pid

    def signal_server(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.server_pid, number)

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        return self._redis_url

    def log(self) -> str:
        """Everything the server has said."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.is_file() else ""

    def facts(self, call: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """The facts written so far, by time; of one call, of one type."""
        found = read_facts(self.directory / "state" / "facts")
        wanted = [f for f in found if call in (None, f.get("call")) and kind in (None, f.get("type"))]
        return sorted(wanted, key=lambda fact: (fact["at"], fact["epoch"], fact["n"]))

    def children(self) -> list[int]:
        """The controllers' processes."""
        try:
            text = Path(f"/proc/{self.server_pid}/task/{self.server_pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def owner_of(self, call: str) -> int:
        """The process that wrote the newest fact of a call.  Raises RigError if nobody did."""
        newest, owner = -1.0, 0
        for path in (self.directory / "state" / "facts").iterdir():
            found = re.search(r"-(\d+)-[0-9a-f]+\.", path.name)
            for line in path.read_text().splitlines() if found else []:
                if call in line and (at := float(line.partition('"at":')[2].partition(",")[0] or 0)) > newest:
                    newest, owner = at, int(found[1]) if found else 0
        if not owner:
            raise RigError(f"nobody has written of {call}")
        return owner

    def until(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until ``holds()``; raises RigError with the server's last words after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                raise RigError(f"waited {timeout} s for {what}; the server's last words:\n{self.log()[-3000:]}")
            if self._server is not None and self._server.poll() not in (None, 0):
                raise RigError(f"the server ended with {self._server.returncode}:\n{self.log()[-3000:]}")
            gevent.sleep(0.02)

    def wait_fact(self, call: str, kind: str, timeout: float = 8.0) -> dict[str, Any]:
        """The first fact of this type of a call, when it is written."""
        self.until(lambda: bool(self.facts(call, kind)), timeout, f"the fact {kind} of {call}")
        return self.facts(call, kind)[0]

    def kill(self, pid: int) -> None:
        """kill -9 one of our controllers."""
        if pid not in self.children():
            raise RigError(f"{pid} is no controller of this server")
        os.kill(pid, signal.SIGKILL)


def _behind(directory: Path) -> Behind:
    from scripts.behind import Behind  # S3 and all that, which benches and most tests do without

    return Behind(directory)


def _share(there: Path, here: Path) -> None:
    """Have the sounds that are ``there`` also ``here``, with their words, as the same files."""
    for path in there.glob("??/[0-9a-f]*"):
        link = here / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.link(path, link)
