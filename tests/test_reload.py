"""``cordboard reload``: asks the right process, waits for the right answer, says what is known."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from callcontrol import asking, outcomes
from callcontrol import reload as reloading
from callcontrol.cli import main
from callcontrol.outcomes import Attempt, Moment, Outcome, Taken
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place
from callcontrol.supervisor import process_name

CORDBOARD = str(Path(sys.executable).parent / "cordboard")
OLD, NEW = "0" * 16, "1" * 16


class Server:
    """A stand-in: what a server writes, one step whenever the command looks."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = state
        self.signals: list[int] = []
        self._steps: Iterator[None] = iter(())
        self._clock = 0.0
        state.mkdir()
        monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, signum: self.signals.append(signum))
        monkeypatch.setattr(reloading, "time", SimpleNamespace(sleep=self._look, monotonic=lambda: self._clock))
        self.publish(1, {"acme": OLD, "beta": OLD})

    def does(self, *steps: Callable[[], object]) -> None:
        self._steps = (None for step in steps if step() or True)

    def _look(self, seconds: float) -> None:
        self._clock += seconds
        next(self._steps, None)

    def begin(self) -> None:
        outcomes.write_attempt(self.state, Attempt(outcomes.now()))

    def end(self, failed: str = "") -> None:
        began = outcomes.read_attempt(self.state)
        assert began is not None
        outcomes.write_attempt(self.state, replace(began, ended=outcomes.now(), failed=failed))

    def publish(self, serial: int, live: dict[str, str], **more: object) -> None:
        outcome = Outcome(serial, outcomes.now(), outcomes.now(), time.time(), live)
        outcomes.write_outcome(self.state, replace(outcome, **more))  # type: ignore[arg-type]

    def load(self, serial: int, *unread: str) -> None:
        outcomes.acknowledge(self.state, process_name(), Taken(serial, unread))

    def reload(self, wait: float = 10.0) -> tuple[int, str, str]:
        said: list[str] = []
        complained: list[str] = []
        with outcomes.held(self.state):
            code = reloading.reload(self.state, wait, said.append, complained.append)
        return code, "\n".join(said), "\n".join(complained)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path / "state", monkeypatch)


def test_it_says_which_companies_changed_when_every_process_has_them(server: Server) -> None:
    server.load(1)
    live = {"acme": NEW, "gamma": OLD}
    server.does(server.begin, lambda: server.publish(2, live), server.end, lambda: None, lambda: server.load(2))
    code, said, complained = server.reload()
    assert (code, complained) == (0, "")
    assert said.splitlines() == [
        f"acme is now version {NEW}",
        f"gamma is now version {OLD}",
        "beta takes no more calls: its file is gone",
    ]
    assert server.signals == [signal.SIGHUP]


def test_problems_are_told_as_check_tells_them(server: Server) -> None:
    found = problem("E201", Place("/x/acme.yaml", 67, 18), 'there is no step or flow named "servce" here')
    live = {"acme": OLD, "beta": OLD}
    publish = lambda: server.publish(2, live, problems=(found,))  # noqa: E731
    server.does(server.begin, publish, server.end, lambda: server.load(2))
    code, said, complained = server.reload()
    assert code == 1
    assert said == '/x/acme.yaml:67:18: E201 there is no step or flow named "servce" here'
    assert "1 error: those files do not go live" in complained
    assert "nothing changed: 2 companies are served as before" in complained


def test_one_company_is_told_as_one(server: Server) -> None:
    server.publish(1, {"acme": OLD})
    server.does(server.begin, lambda: server.publish(2, {"acme": OLD}), server.end, lambda: server.load(2))
    assert server.reload() == (0, "", "nothing changed: 1 company is served as before")


def test_a_warning_is_told_and_is_no_failure(server: Server) -> None:
    found = problem("W501", Place("/x/acme.yaml", 1, 1), "lost")
    live = {"acme": NEW, "beta": OLD}
    publish = lambda: server.publish(2, live, problems=(found,))  # noqa: E731
    server.does(server.begin, publish, server.end, lambda: server.load(2))
    code, said, _ = server.reload()
    assert (code, "W501" in said) == (0, True)


def test_a_cordboard_yaml_that_is_wrong_is_said(server: Server) -> None:
    publish = lambda: server.publish(2, {"acme": OLD, "beta": OLD}, trouble="cordboard.yaml: no")  # noqa: E731
    server.does(server.begin, publish, server.end, lambda: server.load(2))
    code, _, complained = server.reload()
    assert code == 1
    assert "cordboard.yaml: no; going by what it said before" in complained


def test_an_attempt_that_began_before_the_asking_is_not_the_answer(server: Server) -> None:
    server.begin()
    server.does(
        lambda: server.publish(2, {"acme": OLD, "beta": OLD}),
        server.end,
        server.begin,
        lambda: server.publish(3, {"acme": NEW, "beta": OLD}),
        server.end,
        lambda: server.load(3),
    )
    code, said, _ = server.reload()
    assert (code, said) == (0, f"acme is now version {NEW}")


def test_an_attempt_of_another_boot_is_not_the_answer(server: Server) -> None:
    late = Moment("another boot", outcomes.now().seconds + 1e6)
    outcomes.write_attempt(server.state, Attempt(late, late))
    code, _, complained = server.reload(wait=1.0)
    assert code == 3
    assert "asked and has not begun to publish within 1 s" in complained


def test_an_attempt_that_failed_is_said_with_its_reason(server: Server) -> None:
    server.load(1)
    server.does(server.begin, lambda: server.end("the publisher ended with signal 9"))
    code, said, complained = server.reload()
    assert (code, said) == (3, "")
    assert "nothing was published, what is live stays: the publisher ended with signal 9" in complained


def test_at_the_time_out_it_says_that_it_is_being_published(server: Server) -> None:
    server.does(server.begin)
    code, _, complained = server.reload(wait=1.0)
    assert code == 3
    assert re.search(r"has been publishing for \d+ s and is not done", complained)


def test_at_the_time_out_it_says_what_was_published_and_who_has_not_taken_it_up(server: Server) -> None:
    server.load(1)
    server.does(server.begin, lambda: server.publish(2, {"acme": NEW, "beta": OLD}), server.end)
    code, said, complained = server.reload(wait=1.0)
    assert code == 3
    assert said == f"acme is now version {NEW}"
    assert f"the process {process_name()} has not taken it up within 1 s" in complained


def test_when_no_process_is_ready_it_says_so(server: Server) -> None:
    server.does(server.begin, lambda: server.publish(2, {"acme": NEW}), server.end)
    code, _, complained = server.reload(wait=1.0)
    assert code == 3
    assert "no process is ready for calls" in complained


def test_a_version_that_a_process_could_not_read_is_said(server: Server) -> None:
    server.does(server.begin, lambda: server.publish(2, {"acme": NEW}), server.end, lambda: server.load(2, "acme"))
    code, _, complained = server.reload()
    assert code == 3
    assert complained.endswith(f"in the process {process_name()}: acme")


def test_ctrl_c_says_that_the_server_may_go_on(server: Server) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    server.does(server.begin, interrupt)
    code, _, complained = server.reload()
    assert (code, "interrupted; the server may go on" in complained) == (3, True)


def cli(state: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["reload", "--state", str(state)])
    return done.exit_code, done.output


def test_where_nobody_serves_there_is_nobody_to_ask(tmp_path: Path) -> None:
    for state in (tmp_path / "none", tmp_path):
        code, text = cli(state)
        assert code == 3
        assert f"no server runs with the state directory {state}" in text


def test_a_process_that_is_not_the_one_named_is_never_signalled(tmp_path: Path, server: Server) -> None:
    with outcomes.held(tmp_path):
        for name in ("", f"elsewhere-{os.getpid()}-0", "x"):
            (tmp_path / "lock").write_text(name)
            code, text = cli(tmp_path)
            assert code == 3
            assert "does not run on this machine" in text
    assert server.signals == []


def test_who_looks_whether_a_server_runs_makes_nothing_that_could_keep_it_from_starting(tmp_path: Path) -> None:
    """Root may look first, and what root made the server's user could not open."""
    assert outcomes.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_server_starts_while_somebody_looks_whether_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with outcomes.held(tmp_path):
        pass
    looking = (tmp_path / "lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: looking.close())
    with outcomes.held(tmp_path):
        assert outcomes.holder(tmp_path) == process_name()
    looked: list[int] = []
    another = (tmp_path / "lock").open()
    fcntl.flock(another, fcntl.LOCK_EX)
    monkeypatch.setattr(time, "sleep", lambda _: looked.append(1))
    with pytest.raises(BlockingIOError), outcomes.held(tmp_path):
        pass
    assert 0 < len(looked) < 10
    assert (tmp_path / "lock").read_text() == process_name()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ("root", "only root, whose {} is, may ask: sudo cordboard …"),
        ("daemon", "only daemon, whose {} is, and root may ask: sudo -u daemon cordboard …"),
    ],
)
def test_another_user_is_told_who_may_ask(owner: str, told: str) -> None:
    state = Path(tempfile.mkdtemp())  # pytest's own directories are closed to others
    reader, writer = os.pipe()
    try:
        state.chmod(0o711)
        (state / "requests").mkdir(mode=0o700)
        for path in (state, state / "requests"):
            os.chown(path, pwd.getpwnam(owner).pw_uid, -1)
        nobody = pwd.getpwnam("nobody").pw_uid
        pid = os.fork()
        if pid == 0:
            os.setuid(nobody)
            try:
                asking.leave(state, asking.new("plan", "x", "", 1.0))
            except OSError as error:
                os.write(writer, reloading.cannot_ask(state, error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        text = os.read(reader, 1000).decode()
    finally:
        shutil.rmtree(state)
        os.close(reader)
        os.close(writer)
    assert text == told.format(state)
