"""``cordboard reload``: asks the right process, waits for the right answer, says what is known."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest
from click.testing import CliRunner

from callcontrol import asking, outcomes
from callcontrol import reload as reloading
from callcontrol.cli import main
from callcontrol.outcomes import Attempt, Moment, Outcome, Taken
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place
from callcontrol.supervisor import process_name
from freeswitch.simulator import Answers, Caller, NeverAnswers
from scripts.rig import ROUTING, Rig
from tests.test_publishing import BETA

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
    monkeypatch.setattr(outcomes.time, "sleep", lambda _: looking.close())
    with outcomes.held(tmp_path):
        assert outcomes.holder(tmp_path) == process_name()
    looked: list[int] = []
    another = (tmp_path / "lock").open()
    fcntl.flock(another, fcntl.LOCK_EX)
    monkeypatch.setattr(outcomes.time, "sleep", lambda _: looked.append(1))
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


# ------------------------------------------------------------------------------------------- the whole server

SOMEBODY, NUMBER = "+79031234567", "+74951234567"


class Served:
    """A rig with a directory of its own, and the command as people run it."""

    def __init__(self, directory: Path) -> None:
        self.routing = directory / "routing"
        shutil.copytree(ROUTING, self.routing)
        self.acme = self.routing / "acme.yaml"
        self.rig = Rig(directory / "rig", routing=self.routing, processes=2)
        self.state = directory / "rig/state"

    def ask(self, *words: str) -> subprocess.Popen[str]:
        line = [CORDBOARD, *(words or ("reload",)), "--state", str(self.state), "--wait", "60"]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, text=True, **given)  # type: ignore[call-overload,no-any-return]

    def answer(self, asked: subprocess.Popen[str]) -> tuple[int, str, str]:
        self.rig.until(lambda: asked.poll() is not None, 70, "the answer of cordboard reload")
        said, complained = asked.communicate()
        return asked.returncode, said, complained

    def reload(self) -> tuple[int, str, str]:
        return self.answer(self.ask())

    def publish(self, *words: str) -> tuple[int, str, str]:
        return self.answer(self.ask("publish", *words))

    def change(self, old: str, new: str) -> None:
        text = self.acme.read_text()
        assert old in text
        self.acme.write_text(text.replace(old, new))

    def others(self, count: int, verdict: str) -> None:
        """As many more companies, whose callers are told ``verdict``."""
        for n in range(count):
            text = BETA.replace("+74957654321", f"+7495000{n:04}").replace("busy", verdict)
            (self.routing / f"other-{n}.yaml").write_text(text)

    def publisher(self) -> int | None:
        """The process that publishes now."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                words = (path.parent / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.rig.server_pid and b"callcontrol.publishing" in words:
                return int(path.parent.name)
        return None

    def stopped_publisher(self) -> int:
        """The process that publishes, stopped in the middle of it."""
        found: list[int] = []

        def seen() -> bool:
            pid = self.publisher()
            found.extend([pid] if pid is not None else [])
            return pid is not None

        self.rig.until(seen, 20, "a publisher")
        os.kill(found[0], signal.SIGSTOP)
        return found[0]

    def in_menu(self, from_: str = SOMEBODY) -> Caller:
        caller = self.rig.switch.call(from_, NUMBER)
        caller.wait("heard:speech", 10)
        return caller

    def ended(self, caller: Caller) -> dict[str, object]:
        caller.wait("ended", 30)
        return dict(self.rig.wait_fact(caller.uuid, "call.ended", 15)["data"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    it = Served(tmp_path_factory.mktemp("served"))
    with it.rig:
        yield it


@pytest.fixture
def served(shared: Served) -> Served:
    """The server as it was at first: the example company, and all is well."""
    for extension in ("301", "302", "303"):
        shared.rig.switch.phone(extension, NeverAnswers())
    for file in shared.routing.glob("*.yaml"):
        file.unlink()
    shutil.copy(ROUTING / "acme.yaml", shared.acme)
    assert shared.publish("--yes")[0] == 0
    return shared


@pytest.mark.tcp
class TestServer:
    def test_calls_go_on_while_everything_changes_and_each_stays_on_its_version(self, served: Served) -> None:
        served.others(60, "busy")
        assert served.reload()[0] == 0
        old = [served.in_menu(f"+7903000{n:04}") for n in range(12)]
        served.others(60, "declined")
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9")
        asked = served.ask()
        during: list[Caller] = []
        while asked.poll() is None:
            during.append(served.in_menu(f"+7904000{len(during):04}"))
            gevent.sleep(0.02)
        code, said, complained = served.answer(asked)
        assert (code, complained) == (0, "")
        assert said.count(" is now version ") == 61
        new = served.in_menu("+79050000001")
        new.press("1")
        assert served.ended(new)["cause"] == "USER_BUSY"
        served.rig.switch.phone("302", Answers(after=0.1, talk=0.2))
        for caller in old:
            assert caller.state == "answered"
            caller.press("2")
            caller.wait("talking", 15)
        for caller in during:
            assert caller.state == "answered"
            caller.hangup()
        for caller in [*old, *during]:
            served.ended(caller)
        for caller in during:
            assert served.rig.facts(caller.uuid, "call.taken_over") == []

    def test_a_mistake_is_said_with_its_place_and_the_last_good_version_stays(self, served: Served) -> None:
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: sales, 2: servce, 9")
        served.others(1, "busy")
        code, said, complained = served.reload()
        assert code == 1
        first, second = said.splitlines()
        assert re.match(rf"{served.acme}:\d+:\d+: E201 .*servce", first)
        assert second.startswith("other-0 is now version ")  # one company's mistake is not another's
        assert "1 error: those files do not go live" in complained
        served.rig.switch.phone("302", Answers(after=0.1, talk=0.2))
        caller = served.in_menu()
        caller.press("2")
        caller.wait("talking", 15)
        served.ended(caller)

    def test_a_publisher_that_is_killed_changes_nothing_and_is_said(self, served: Served) -> None:
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9")
        before = outcomes.read_outcome(served.state)
        seen = len(served.rig.log())
        asked = served.ask()
        os.kill(served.stopped_publisher(), signal.SIGKILL)
        code, said, complained = served.answer(asked)
        assert (code, said) == (3, "")
        assert "nothing was published, what is live stays: the publisher ended with signal 9" in complained
        assert outcomes.read_outcome(served.state) == before
        assert "nothing was published: what is live stays" in served.rig.log()[seen:]
        code, said, _ = served.reload()
        assert (code, "acme is now version " in said) == (0, True)

    def test_two_reloads_at_once_are_both_answered(self, served: Served) -> None:
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9")
        answers = [served.answer(asked) for asked in [served.ask(), served.ask()]]
        assert [code for code, _, _ in answers] == [0, 0]
        assert any("acme is now version " in said for _, said, _ in answers)

    def test_a_reload_that_is_asked_for_while_another_runs_is_not_lost(self, served: Served) -> None:
        first = served.ask()
        publisher = served.stopped_publisher()
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9")
        second, third = served.ask(), served.ask()
        gevent.sleep(1.0)  # they ask, and cannot be answered
        assert (second.poll(), third.poll()) == (None, None)
        os.kill(publisher, signal.SIGCONT)
        assert [served.answer(asked)[0] for asked in (first, second, third)] == [0, 0, 0]
        new = served.in_menu()
        new.press("1")
        assert served.ended(new)["cause"] == "USER_BUSY"

    def test_a_wrong_cordboard_yaml_is_said_and_stops_nobody_not_even_who_starts_again(self, served: Served) -> None:
        config = served.rig.directory / "cordboard.yaml"
        good = config.read_text()
        config.write_text("switches: none\n")
        code, _, complained = served.reload()
        assert code == 1
        assert "cordboard.yaml: switches" in complained
        assert "going by what it said before" in complained
        for pid in served.rig.children():
            served.rig.kill(pid)
        seen = len(served.rig.log())
        caller = served.in_menu()
        served.rig.until(lambda: "going by what it said before" in served.rig.log()[seen - 2000 :], 20, "the warning")
        config.write_text(good)
        assert served.reload()[0] == 0
        caller.hangup()
        assert served.ended(caller)["by"] == "caller"

    def test_a_server_starts_with_what_was_good_when_its_files_are_not(self, served: Served) -> None:
        assert served.rig.stop_server() == 0
        served.change("keys: {1: sales, 2: service, 9", "keys: {1: sales, 2: servce, 9")
        seen = len(served.rig.log())
        served.rig.start_server()
        assert "does not go live" in served.rig.log()[seen:]
        caller = served.in_menu()
        caller.hangup()
        served.ended(caller)
        served.acme.rename(served.acme.with_suffix(".txt"))  # a directory without companies
        assert served.rig.stop_server() == 0
        served.rig.start_server()
        assert "there is no company here" in served.rig.log()
        caller = served.in_menu()
        caller.hangup()
        served.ended(caller)
