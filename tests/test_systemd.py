"""What the service manager is told: one datagram each, to a socket of a test's own; and never that what hangs lives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callcontrol.systemd import Systemd


class Manager:
    """A service manager's end of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(30)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def until(self, line: str) -> list[list[str]]:
        """All that is said until this line is."""
        said = [self.next()]
        while line not in said[-1]:
            said.append(self.next())
        return said

    def nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
            return False
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(30)

    def falls_silent(self, seconds: float) -> bool:
        """Whether nothing is said for so long, soon."""
        self._socket.settimeout(seconds)
        try:
            return not [self.next() for _ in range(100)]
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(30)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"@cordboard-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.close()


def test_each_is_told_as_the_protocol_has_it(manager: Manager) -> None:
    systemd = Systemd(manager.address, watchdog=10.0)
    systemd.ready("2 of 2")
    assert manager.next() == ["READY=1", "STATUS=2 of 2"]
    systemd.reloading()
    first, second = manager.next()
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    systemd.alive()
    assert manager.next() == ["WATCHDOG=1"]
    systemd.stopping()
    assert manager.next() == ["STOPPING=1"]


def test_no_more_is_said_than_is_wanted(manager: Manager) -> None:
    systemd = Systemd(manager.address, watchdog=1000.0)
    for _ in range(5):
        systemd.alive()
        systemd.status("as before")
    assert {tuple(manager.next()), tuple(manager.next())} == {("WATCHDOG=1",), ("STATUS=as before",)}
    assert manager.nothing()
    Systemd(manager.address).alive()  # nobody watches
    assert manager.nothing()


def test_a_status_cannot_say_another_word_of_the_protocol(manager: Manager) -> None:
    Systemd(manager.address).status("well\nMAINPID=1")
    assert manager.next() == ["STATUS=well MAINPID=1"]


def test_the_variables_leave_the_environment_and_are_kept_for_the_next_program(manager: Manager) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}
    there = {**variables, "PATH": "/bin"}
    systemd = Systemd.of_environment(there)
    assert there == {"PATH": "/bin"}
    assert systemd.watchdog == 8.0
    assert systemd.environment == variables


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed() -> None:
    assert Systemd.of_environment({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}).watchdog == 0.0


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    for systemd in (Systemd(), Systemd(str(tmp_path / "gone"), 1.0)):
        systemd.ready()
        systemd.alive()
        systemd.stopping()


#: A supervisor whose children hang as soon as a file says so.
PARENT = """
    import os, sys, time
    from callcontrol.supervisor import Timing, supervise
    from callcontrol.systemd import Systemd
    child = "import os, sys, time; from callcontrol.supervisor import heartbeat, heartbeat_fd\\n"
    child += "hang = lambda s: time.sleep(1000 if os.path.exists(sys.argv[1]) else s)\\n"
    child += "time.sleep(1000) if os.path.exists(sys.argv[1]) else heartbeat(heartbeat_fd(), sleep=hang)"
    begun = []
    def reload():
        begun.append(1)
        path = sys.argv[1] + f"-reload-{len(begun)}"
        open(path, "w").close()
        while os.path.exists(path):
            time.sleep(0.01)
        raise ValueError("bad routing")
    sys.exit(supervise(lambda i: [sys.executable, "-c", child, sys.argv[1]], 1, on_reload=reload,
                       timing=Timing(beat=1.0, first_beat=60.0, drain=0.1), systemd=Systemd.of_environment()))
"""


def test_a_reload_is_over_when_its_own_is_and_if_it_failed(tmp_path: Path) -> None:
    """Who asked for the second is not told of the end of the first."""
    manager = Manager(str(tmp_path / "notify"))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "x")], env=environment, cwd=Path.cwd()
    )
    try:
        manager.until("READY=1")
        for number in (1, 2):
            parent.send_signal(signal.SIGHUP)
            manager.until("RELOADING=1")
            if number == 1:
                wait_for(tmp_path / "x-reload-1")
        (tmp_path / "x-reload-1").unlink()
        wait_for(tmp_path / "x-reload-2")
        assert manager.nothing()
        (tmp_path / "x-reload-2").unlink()
        assert manager.next()[0] == "READY=1"
    finally:
        parent.kill()
        parent.wait(30)
        manager.close()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def test_a_supervisor_says_that_it_lives_only_while_somebody_takes_calls(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "hang")], env=environment, cwd=Path.cwd()
    )
    try:
        assert manager.until("READY=1")[-1][1] == "STATUS=1 of 1 processes take calls"
        manager.until("WATCHDOG=1")
        (tmp_path / "hang").touch()
        assert manager.falls_silent(4.0)  # ten times as long as it wants to hear of us
        assert parent.poll() is None
        parent.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
    finally:
        parent.terminate()
        parent.wait(30)
        manager.close()
