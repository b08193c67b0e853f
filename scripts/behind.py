"""What stands behind the calls on this machine: an S3 store, a mailbox, a subscriber, ``cordboard work`` and ``web``.

Each is a process of its own and real: the store checks signatures, the mail comes by SMTP, the subscriber verifies
with the reference library.  All on loopback; only processes that were started here are ever ended, and what is left
dies with us.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import mailbox, subscriber
from scripts.rig import RigError, free_port
from workers.recordings.local_store import LocalStore

#: How long anything here may take to start, seconds.
STARTING = 30.0
LOOPBACK = "127.0.0.0/8"


class Behind:
    """The processes behind a server whose files are in ``directory``.  Raises RigError if something does not start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = LocalStore(directory / "store")
        self.mailbox = directory / "mail"
        self.subscriber = directory / "subscriber"
        self.log_path = directory / "work.log"
        self.web_port = free_port()
        self.token = ""
        self._earlier: set[str] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # ------------------------------------------------------------------------------------------------ life

    def start(self) -> str:
        """Start what others serve; what cordboard.yaml must say of it."""
        for name, module, said in (("mailbox", mailbox, "address"), ("subscriber", subscriber, "url")):
            directory: Path = getattr(self, name)
            directory.mkdir(parents=True, exist_ok=True)
            self._start(name, [sys.executable, "-m", module.__name__, str(directory)], {})
            self._until(name, (directory / said).exists)
        self.store.start()
        host, port = (self.mailbox / "address").read_text().split(":")
        return (
            f"{self.store.yaml()}"
            f"mail: {{host: {host}, port: {port}, sender: pbx@cordboard.test}}\n"
            f"webhooks: {{private: [{LOOPBACK}]}}\n"
        )

    def serve(self, environment: Mapping[str, str]) -> None:
        """Start ``cordboard work`` and ``cordboard web``."""
        program = str(Path(sys.executable).parent / "cordboard")
        self._start("work", [program, "work"], environment)
        self._until("work", lambda: len(self.workers()) >= 4)
        self._start("web", [program, "web"], {**environment, "CORDBOARD_WEB": f"127.0.0.1:{self.web_port}"})
        self._until("web", self._web_answers)
        made = subprocess.run(
            [program, "tokens", "create", "operator", "the demo"],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=True,
        )
        self.token = made.stdout.strip()

    def stop(self) -> None:
        """End everything, first those who write: what they write still finds somebody."""
        for names in (("web", "work"), ("subscriber", "mailbox")):
            processes = [self._processes.pop(name) for name in names if name in self._processes]
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.store.stop()

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        with self.log_path.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, env=dict(environment) or None, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _until(self, name: str, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + STARTING
        while not holds():
            if time.monotonic() > end or self._processes[name].poll() is not None:
                raise RigError(f"{name} did not start:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    # --------------------------------------------------------------------------------------------- looking

    def log(self) -> str:
        """Everything they have said."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def workers(self) -> dict[str, int]:
        """The processes of ``cordboard work`` that live, by what they do."""
        found = re.findall(r'event="process started" role=(\S+) pid=(\d+)', self.log())
        return {role: int(pid) for role, pid in found if Path(f"/proc/{pid}").exists()}

    def stored(self) -> dict[str, str]:
        """The SHA-256 of what is in the store, by the name of its file."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.store.data.rglob("*")
            if path.is_file()
        }

    @contextmanager
    def store_hangs(self) -> Iterator[None]:
        """While this lasts the store takes connections and answers nothing."""
        os.kill(self.store.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.store.pid, signal.SIGCONT)

    @contextmanager
    def subscriber_holds(self, type_: str) -> Iterator[None]:
        """While this lasts the subscriber keeps events of a type, and does not answer."""
        (self.subscriber / "holds").write_text(type_)
        try:
            yield
        finally:
            (self.subscriber / "holds").unlink()

    def subscriber_fails(self, type_: str) -> None:
        """The next event of this type gets a 503 from the subscriber."""
        (self.subscriber / "fails").write_text(type_)

    def kill(self, role: str) -> int:
        """kill -9 one of the workers; which it was."""
        pid = self.workers()[role]
        os.kill(pid, signal.SIGKILL)
        return pid

    # ------------------------------------------------------------------------------------------------- API

    def ask(self, path: str, data: Mapping[str, Any] | None = None) -> Any:
        """What the API says to a GET, or to a POST of ``data``.  Raises OSError (also for an answer that is none)."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web_port}{path}",
            data=None if data is None else json.dumps(data).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own web, on loopback
            return json.load(answer)

    def subscribe(self, company: str) -> None:
        """Have the subscriber told everything that happens to a company from now on."""
        url = (self.subscriber / "url").read_text()
        made = self.ask(f"/v1/endpoints?company={company}", {"url": url, "description": "the demo's CRM"})
        (self.subscriber / "secret").write_text(made["secret"])
        self._earlier = self._events(company)

    def owed(self, company: str) -> set[str]:
        """The ids of the company's events that the subscriber is to get: all since it was subscribed."""
        return self._events(company) - self._earlier

    def _events(self, company: str) -> set[str]:
        found: set[str] = set()
        after = ""
        while True:
            page = self.ask(f"/v1/events?company={company}&limit=100{after}")
            found |= {event["id"] for event in page["items"]}
            if not page["next"]:
                return found
            after = f"&cursor={page['next']}"

    def _web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
