"""``cordboard web`` for real: gunicorn's processes, a request that runs while the server is told to stop, tokens."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.commands import Commands
from callcontrol.embedded import EmbeddedRedis
from webhooks.app import reception, tokens
from workers.journal.database import Database

#: Longer than anything here takes, seconds: a limit, not a time that is waited.
LONG = 60.0


class Server:
    """``cordboard web`` in a directory of its own."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory = directory
        (directory / "esl.password").write_text("x")
        (directory / "esl.password").chmod(0o600)
        (directory / "cordboard.yaml").write_text("switches: [{name: switch1, password_file: esl.password}]\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CORDBOARD_")},
            "CORDBOARD_WEB": f"127.0.0.1:{self.port}",
            "CORDBOARD_REDIS": redis_url,
            "CORDBOARD_SERVERS": "1",
            "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:1",  # not ours: must not matter
        }
        self.log = (directory / "web.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callcontrol.cli", "web"],
            cwd=directory,
            env={**self.environment, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def until_ready(self) -> None:
        deadline = time.monotonic() + LONG
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.get("/healthz")[0] == 200:
                    return
            except OSError:
                threading.Event().wait(0.05)
        raise AssertionError((self.directory / "web.log").read_text())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LONG)
        self.log.close()


@pytest.fixture
def server(tmp_path: Path, own_redis: EmbeddedRedis) -> Iterator[Server]:
    made = Server(tmp_path, own_redis.url)
    try:
        made.until_ready()
        yield made
    finally:
        made.stop()


def test_a_request_that_runs_when_the_server_is_told_to_stop_is_finished(
    server: Server, own_redis: EmbeddedRedis
) -> None:
    database = Database(f"sqlite:///{server.directory}/state/journal.db")
    _, secret = tokens.create(database, "operator", "me", company="acme")
    database.close()
    running, go_on = threading.Event(), threading.Event()

    def slowly(given: Any) -> Any:
        running.set()
        assert go_on.wait(LONG)
        return {"now": 0.0, "queues": []}

    controller = Commands(own_redis.url, name="slow", switches=["switch1"], perform={"queue.show": slowly})
    performing = threading.Thread(target=controller.run)
    performing.start()
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(server.get("/v1/queues", Authorization=f"Bearer {secret}")))
    try:
        asking.start()
        assert running.wait(LONG)
        with socket.create_connection(("127.0.0.1", server.port)) as idle:  # one that holds nothing up
            idle.sendall(b"GET /healthz")
            server.process.send_signal(signal.SIGTERM)
            go_on.set()
            asking.join(LONG)
            assert answers == [(200, {"items": []})]
            began = time.monotonic()
            assert server.process.wait(LONG) == 0
            assert time.monotonic() - began < reception.PATIENCE
    finally:
        go_on.set()
        controller.stop()
        performing.join(LONG)
        asking.join(LONG)
        controller.close()
    with pytest.raises(OSError, match="refused"):
        server.get("/healthz")


def test_a_wrong_setting_is_told_and_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["web"])
    assert (done.exit_code, "there is no such file" in done.output) == (3, True)
    (tmp_path / "esl.password").write_text("x")
    (tmp_path / "esl.password").chmod(0o600)
    (tmp_path / "cordboard.yaml").write_text("switches: [{name: switch1, password_file: esl.password}]\n")
    done = CliRunner().invoke(main, ["web", "--web", "nowhere"])
    assert (done.exit_code, "host:port" in done.output) == (3, True)
    done = CliRunner().invoke(main, ["web", "--database", "mysql://x/y"])
    assert (done.exit_code, "neither sqlite nor postgresql" in done.output) == (3, True)


class TestTokens:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def run(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["tokens", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    def test_one_is_shown_once_listed_and_revoked(self, tmp_path: Path) -> None:
        said = self.run("create", "consumer", "CRM", "--company", "acme", "--days", "30")
        (secret,) = re.findall(r"^cbt_\S{43}$", said, re.MULTILINE)
        (known,) = re.findall(r"tok_[0-9a-f]{24}", said)
        database = Database(f"sqlite:///{tmp_path}/state/journal.db")
        found = tokens.find(database, secret)
        assert found is not None
        assert (found.role, found.company, found.name) == ("consumer", "acme", "CRM")
        listed = self.run("list")
        assert known in listed
        assert "until 20" in listed
        assert secret not in listed
        assert self.run("revoke", known) == "revoked\n"
        assert tokens.find(database, secret) is None
        database.close()
        assert "revoked 20" in self.run("list")
        assert "no such token" in self.run("revoke", known, code=1)

    def test_the_file_is_its_owners_only(self, tmp_path: Path) -> None:
        self.run("list")
        assert (tmp_path / "state/journal.db").stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ["consumer", "x"],
            ["agent", "x", "--company", "acme"],
            ["operator", "x", "--person", "301"],
            ["operator", "x", "--company", "Acme"],
            ["agent", "x", "--company", "acme", "--person", "x"],
            ["operator", "a\nb"],
            ["operator", "x", "--days", "0"],
            ["king", "x"],
        ],
    )
    def test_one_that_cannot_be_is_refused(self, arguments: list[str]) -> None:
        self.run("create", *arguments, code=2)
        assert self.run("list") == "there are no tokens\n"
