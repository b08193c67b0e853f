"""``cordboard publish``, ``rollback``, ``versions`` as people meet them; ``test_served.py`` has a server for them."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol import asking, outcomes, release, reload
from callcontrol.cli import main
from callcontrol.outcomes import Attempt, Taken
from callcontrol.publishing import Publisher, answer_requests
from callcontrol.release import Asker
from callcontrol.supervisor import process_name
from callcontrol.versions import VersionStore
from tests.test_publishing import BETA

CORDBOARD = str(Path(sys.executable).parent / "cordboard")


# ------------------------------------------------------------------------- the command and the publisher alone


class Desk:
    """A server that is only its publisher, in this process: it does what is asked for when it is signalled."""

    def __init__(self, directory: Path) -> None:
        self.routing, self.state = directory / "routing", directory / "state"
        self.routing.mkdir()
        (self.state / "requests").mkdir(parents=True)
        self.publisher = Publisher(self.routing, VersionStore(self.state))
        self.taken_up = True
        self.said: list[str] = []
        self.complained: list[str] = []
        self.questions: list[str] = []
        self.write("beta", "busy")
        self.live = self.publisher.publish("start").live

    def write(self, company: str, verdict: str, number: str = "+74957654321") -> None:
        text = BETA.replace("Beta", company.title()).replace("+74957654321", number).replace("busy", verdict)
        (self.routing / f"{company}.yaml").write_text(text)

    def serve(self, *_: object) -> str:
        """What a signal leads to."""
        began = outcomes.now()
        outcomes.write_attempt(self.state, Attempt(began, how="requests"))
        answer_requests(self.publisher)
        outcomes.write_attempt(self.state, Attempt(began, outcomes.now(), how="requests"))
        if self.taken_up:
            self.take_up()
        return ""

    def take_up(self) -> None:
        self.live = (outcomes.read_outcome(self.state) or pytest.fail("nothing was published")).live
        outcomes.acknowledge(self.state, process_name(), Taken(10_000))

    def pin(self) -> None:
        """beta is pinned to the version that tells callers ``busy``, and its file says something else."""
        self.write("beta", "declined")
        self.publisher.publish("start")
        assert self.asker().rollback("beta", "", "callers are lost") == 0
        for told in (self.said, self.complained):
            told.clear()

    def asker(self, wait: float = 5.0) -> Asker:
        return Asker(self.state, "anna", wait, self.said.append, self.complained.append)

    def publish(self, *companies: str, answers: Sequence[bool] | None = None, wait: float = 5.0, **more: bool) -> int:
        left = list(answers or ())

        def confirm(question: str) -> bool:
            self.questions.append(question)
            return left.pop(0)

        given = {"yes": False, "dry_run": False, **more}
        return self.asker(wait).publish([*companies], "", confirm=None if answers is None else confirm, **given)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    monkeypatch.setattr(release, "ask", desk.serve)
    with outcomes.held(desk.state):
        yield desk
    assert list((desk.state / "requests").iterdir()) == []


class TestPins:
    def test_a_terminal_is_offered_by_name_what_is_pinned_and_differs(self, desk: Desk) -> None:
        first = desk.live["beta"]
        desk.pin()
        desk.write("gamma", "busy", "+74950000001")
        assert desk.publish(answers=[False]) == 0
        assert desk.questions == ["Publish beta too, which ends the pin?"]
        assert desk.complained[0].startswith(f"beta is pinned to version {first} by anna since ")
        assert "(callers are lost); its file would make it version " in desk.complained[0]
        assert (desk.live["beta"], [*desk.live]) == (first, ["beta", "gamma"])
        assert desk.publish(answers=[True]) == 0
        assert desk.live["beta"] != first
        assert any(line.startswith("beta is not pinned any more") for line in desk.said)
        assert desk.publish(answers=[]) == 0  # nobody is asked again

    def test_who_says_yes_to_all_beforehand_is_asked_nothing_and_ends_no_pin(self, desk: Desk) -> None:
        first = desk.live["beta"]
        desk.pin()
        assert desk.publish(answers=[], yes=True) == 0
        assert desk.live["beta"] == first

    @pytest.mark.parametrize("more", [{}, {"yes": True}, {"dry_run": True}])
    def test_without_a_terminal_pins_stay_which_is_said_and_is_no_failure(
        self, desk: Desk, more: dict[str, Any]
    ) -> None:
        first = desk.live["beta"]
        desk.pin()
        assert desk.publish(**more) == 0
        assert (desk.live["beta"], desk.questions) == (first, [])
        assert "its file says something else: cordboard publish --company beta ends the pin" in desk.said[0]

    def test_a_company_that_is_named_is_not_asked_about(self, desk: Desk) -> None:
        first = desk.live["beta"]
        desk.pin()
        assert desk.publish("beta", answers=[]) == 0
        assert desk.live["beta"] != first


class TestWhatIsSaid:
    def test_a_change_is_shown_and_a_dry_run_only_shows_it(self, desk: Desk) -> None:
        first = desk.live["beta"]
        desk.write("beta", "declined")
        assert desk.publish(dry_run=True) == 0
        assert desk.live["beta"] == first
        [shown] = desk.said
        assert shown.startswith("beta would be version ")
        desk.said.clear()
        assert desk.publish() == 0
        assert desk.said == [
            f"beta will be version {desk.live['beta']} instead of {first}",
            "every process has it; live calls stay on the version they began with",
        ]

    def test_a_mistake_is_told_and_the_others_go_live(self, desk: Desk) -> None:
        first = desk.live["beta"]
        desk.write("beta", "bussy")
        desk.write("gamma", "busy", "+74950000001")
        assert desk.publish() == 1
        assert (desk.live["beta"], [*desk.live]) == (first, ["beta", "gamma"])
        assert "bussy" in desk.said[0]
        assert desk.complained == ["1 error: those companies stay as they are"]

    def test_what_is_gone_or_moves_is_asked_about_and_refused_without_a_yes(self, desk: Desk) -> None:
        (desk.routing / "beta.yaml").rename(desk.routing / "gamma.yaml")
        assert desk.publish() == 1
        assert desk.complained[0] == "this must be asked: beta is renamed gamma, which takes over +74957654321"
        assert "refused, nothing was changed" in desk.complained[-1]
        assert [*desk.live] == ["beta"]
        assert desk.publish(yes=True) == 0
        assert any(line.startswith("beta will take no more calls") for line in desk.said)
        assert [*desk.live] == ["gamma"]

    def test_without_redis_this_machine_is_told_of(self, desk: Desk) -> None:
        desk.take_up()
        code, text = cli("versions", "--state", str(desk.state), "--redis", "redis://127.0.0.1:1/0")
        assert code == 0
        assert "Redis does not answer: these are the processes of this machine only" in text
        assert f"{process_name().rpartition('-')[0]}: publication 10000" in text


class TestBetweenTheQuestionAndTheEnd:
    def test_who_thinks_for_longer_than_the_wait_is_not_told_that_nobody_took_it_up(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [0.0]

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            desk.take_up()

        passing = SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0])
        for module in (release, reload):
            monkeypatch.setattr(module, "time", passing)
        monkeypatch.setattr(Asker, "_agreed", lambda *_: clock.__setitem__(0, 1000.0) or True)
        desk.taken_up = False
        (desk.routing / "beta.yaml").rename(desk.routing / "gamma.yaml")
        assert desk.publish() == 0
        assert [*desk.live] == ["gamma"]

    def test_what_changes_after_it_was_shown_does_not_go_live(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = desk.live

        def agreed(*_: object) -> bool:
            desk.write("gamma", "declined")
            return True

        monkeypatch.setattr(Asker, "_agreed", agreed)
        (desk.routing / "beta.yaml").rename(desk.routing / "gamma.yaml")
        assert desk.publish() == 1
        assert "cordboard: refused, nothing was changed: what would become of gamma is not" in desk.complained[-1]
        assert desk.live == before

    def test_a_publication_that_began_before_the_request_lay_there_is_not_its_answer(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave = asking.leave

        def too_late(state: Path, request: asking.Request) -> None:
            began = outcomes.now()  # for somebody else
            leave(state, request)
            outcomes.write_attempt(state, Attempt(began, outcomes.now(), how="requests"))

        looked: list[float] = []
        monkeypatch.setattr(asking, "leave", too_late)
        monkeypatch.setattr(release, "ask", lambda *_: "")

        def sleep(seconds: float) -> None:
            looked.append(seconds)
            if len(looked) % 3 == 0:
                desk.serve()

        monkeypatch.setattr(release, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
        desk.write("beta", "declined")
        assert desk.publish() == 0


class TestCtrlC:
    """It is a no, wherever it comes; and nobody is told that nothing was changed unless that is so."""

    def interrupted(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, *, done: bool, verb: str = "publish") -> None:
        def ask(*_: object) -> str:
            mine = [one.verb for one in asking.waiting(desk.state, print)] == [verb]
            if not mine or done:
                desk.serve()
            if mine:
                raise KeyboardInterrupt
            return ""

        monkeypatch.setattr(release, "ask", ask)
        desk.write("beta", "declined")

    @pytest.mark.parametrize("verb", ["plan", "publish"])
    def test_before_it_was_done_it_is_not_done(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
        first = desk.live["beta"]
        self.interrupted(desk, monkeypatch, done=False, verb=verb)
        assert desk.publish() == 3
        assert desk.complained[-1] == "cordboard: interrupted: nothing was changed"
        desk.serve()
        assert desk.live["beta"] == first

    def test_after_it_was_done_that_is_said(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        first = desk.live["beta"]
        self.interrupted(desk, monkeypatch, done=True)
        assert desk.publish() == 0
        assert desk.live["beta"] != first
        assert desk.said[-1].startswith("every process has it")

    def test_while_it_is_done_the_end_is_awaited_and_a_second_one_says_that_nothing_is_known(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(*_: object) -> str:
            if [one.verb for one in asking.waiting(desk.state, print)] == ["plan"]:
                return desk.serve()
            outcomes.write_attempt(desk.state, Attempt(outcomes.now(), how="requests"))
            raise KeyboardInterrupt

        def sleep(_: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(release, "ask", ask)
        monkeypatch.setattr(release, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
        desk.write("beta", "declined")
        assert desk.publish() == 3
        assert desk.complained[-1].startswith("cordboard: it is not known whether this will be done")

    def test_while_processes_take_it_up_it_is_published(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object) -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr(release, "taken_up", never)
        desk.write("beta", "declined")
        assert desk.publish() == 3
        assert desk.complained == ["cordboard: it is published; nobody waits any more for the processes to take it up"]


class TestTerminal:
    """``cordboard publish`` on a real terminal."""

    def ask(self, desk: Desk, answer: bytes, prompt: str = "Shall it be so? [y/N]: ") -> tuple[int, str]:
        """Exit code, and all that the terminal was sent."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(CORDBOARD, [CORDBOARD, "publish", "--state", str(desk.state), "--wait", "30"])
        text, answered = "", False
        with contextlib.suppress(OSError):  # its other end is closed
            while True:
                if not select.select([terminal], [], [], 1.0)[0] and answered:
                    os.write(terminal, answer)  # Python may be deaf to Ctrl-C for an instant; people press it again
                    continue
                text += os.read(terminal, 65536).decode()
                if prompt in text and not answered:
                    answered = True
                    os.write(terminal, answer)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text

    @pytest.fixture
    def signalled(self, desk: Desk) -> Iterator[Desk]:
        before = signal.signal(signal.SIGUSR1, desk.serve)
        yield desk
        signal.signal(signal.SIGUSR1, before)

    @pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"\n", 1), (b"\x03", 1), (b"\x04", 1), (b"y\n", 0)])
    def test_only_a_yes_is_one(self, signalled: Desk, answer: bytes, code: int) -> None:
        (signalled.routing / "beta.yaml").rename(signalled.routing / "gamma.yaml")
        found, text = self.ask(signalled, answer)
        assert found == code, text
        assert "this must be asked: beta is renamed gamma, which takes over +74957654321" in text
        assert [*signalled.live] == ["beta" if code else "gamma"]
        assert ("nothing was changed" in text) == bool(code)
        assert "Traceback" not in text

    def test_nothing_of_files_or_reasons_moves_the_cursor(self, signalled: Desk) -> None:
        signalled.pin()
        outcome = outcomes.read_outcome(signalled.state)
        assert outcome is not None
        pin = replace(outcome.pins["beta"], by="\x1b[2Janna", why="\x1b]0;owned\x07")  # no command of ours wrote it
        outcomes.write_outcome(signalled.state, replace(outcome, pins={"beta": pin}))
        hostile = BETA.replace("reception}", '"\\e[31mreception"}').replace("+74957654321", "+74950000002")
        (signalled.routing / "gamma.yaml").write_text(hostile)
        (signalled.routing / "x\x1b[2J.yaml").write_text(BETA)
        _, text = self.ask(signalled, b"n\n", "ends the pin? [y/N]: ")
        assert r"\x1b[2Janna" in text
        assert "gamma.yaml:" in text
        assert "\x1b" not in text
        assert "\x07" not in text


# ------------------------------------------------------------------------------------- without a server


def cli(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*words])
    return done.exit_code, done.output


@pytest.mark.parametrize("command", [["publish"], ["publish", "--dry-run"], ["rollback", "acme", "--why", "x"]])
def test_where_nobody_serves_there_is_nobody_to_ask(tmp_path: Path, command: list[str]) -> None:
    for state in (tmp_path / "none", tmp_path):
        code, text = cli(*command, "--state", str(state))
        assert code == 3
        assert f"no server runs with the state directory {state}" in text
        (tmp_path / "requests").mkdir(exist_ok=True)
    assert list((tmp_path / "requests").iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["rollback", "acme"],
        ["rollback", "acme", "XYZ", "--why", "x"],
        ["rollback", "../acme", "--why", "x"],
        ["publish", "--company", "Acme"],
        ["publish", "--why", "two\nlines"],
        ["publish", "--why", "x" * 501],
    ],
)
def test_what_cannot_be_asked_is_a_mistake_of_the_command(tmp_path: Path, command: list[str]) -> None:
    assert cli(*command, "--state", str(tmp_path))[0] == 2


def test_a_server_of_an_earlier_program_is_not_sent_a_signal_that_would_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, signum: signals.append(signum))
    (tmp_path / "requests").mkdir()
    with outcomes.held(tmp_path):
        code, text = cli("publish", "--state", str(tmp_path))
        assert (code, signals) == (3, [])
        assert "the server that runs is of an earlier program" in text
        monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, signum: signals.append(signum))
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        try:
            assert reload.ask(tmp_path, signal.SIGUSR1) == ""
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert signals == [signal.SIGUSR1]
    assert list((tmp_path / "requests").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "agreed", "last"),
    [(True, True, "gone"), (False, False, "nothing was changed"), (None, False, "say yes with --yes")],
)
def test_a_person_is_asked_on_a_terminal_and_refused_where_there_is_none(
    tmp_path: Path, answer: bool | None, agreed: bool, last: str
) -> None:
    complained: list[str] = []
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return bool(answer)

    asker = Asker(tmp_path, "anna", 1.0, complained.append, complained.append)
    needs = {"gone beta 0": "beta takes no more calls: its file is gone"}
    assert asker._agreed(needs, None if answer is None else confirm) is agreed
    assert complained[0] == "this must be asked: beta takes no more calls: its file is gone"
    assert last in complained[-1]
    assert questions == ([] if answer is None else ["Shall it be so?"])


def test_who_became_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from callcontrol import cli as commands

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "maria")
    assert commands._who() == "maria on the command line"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("LOGNAME", "boris\x1b[2J")
    assert commands._who() == "boris?[2J on the command line"


def test_a_request_is_of_the_process_that_waits() -> None:
    assert asking.new("plan", "anna", "", 5.0).asker == process_name()
