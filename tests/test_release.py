"""``cordboard publish``, ``rollback`` and ``versions`` with a real server: the whole road, and what cuts it short."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol import asking, history, outcomes, release, reload
from callcontrol.cli import main
from callcontrol.outcomes import Attempt, Taken
from callcontrol.publishing import Publisher, answer_requests
from callcontrol.release import Asker
from callcontrol.supervisor import process_name
from callcontrol.versions import VersionStore
from freeswitch.simulator import Answers, NeverAnswers
from scripts.rig import ROUTING
from tests.test_publishing import BETA
from tests.test_reload import CORDBOARD, Served

RIGHT, OTHER = "keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    it = Served(tmp_path_factory.mktemp("released"))
    with it.rig:
        yield it


@pytest.fixture
def served(shared: Served) -> Served:
    """The server as it was at first: the example company, nothing pinned, and all is well."""
    shared.rig.switch.phone("301", NeverAnswers())
    for file in shared.routing.glob("*.yaml"):
        file.unlink()
    shutil.copy(ROUTING / "acme.yaml", shared.acme)
    outcome = outcomes.read_outcome(shared.state)
    if outcome is not None and outcome.pins:
        assert shared.publish("--company", "acme")[0] == 0
    assert shared.publish("--yes")[0] == 0
    return shared


def version(served: Served, company: str = "acme") -> str:
    outcome = outcomes.read_outcome(served.state)
    assert outcome is not None
    return outcome.live[company]


def versions(served: Served, *words: str) -> dict[str, Any]:
    line = [CORDBOARD, "versions", *words, "--json", "--state", str(served.state), "--redis", served.rig.redis_url]
    return dict(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))


def rollback(served: Served, *words: str) -> tuple[int, str, str]:
    return served.answer(served.ask("rollback", *words))


@pytest.mark.tcp
class TestServer:
    def test_a_change_is_shown_published_and_told_by_every_process(self, served: Served) -> None:
        old = version(served)
        served.change(RIGHT, OTHER)
        code, said, _ = served.publish("--dry-run")
        assert (code, version(served)) == (0, old)
        new = said.split("acme would be version ")[1][:16]
        code, said, complained = served.publish("--why", "sales are ill")
        assert (code, complained) == (0, "")
        assert said.splitlines() == [
            f"acme will be version {new} instead of {old}",
            "5 rehearsals passed",
            "every process has it; live calls stay on the version they began with",
        ]
        told = versions(served, "acme")
        assert (told["companies"][0]["have_it"], told["companies"][0]["processes"]) == (2, 2)
        newest = told["history"][0]
        assert (newest["version"], newest["why"], newest["current"]) == (new, "sales are ill", True)
        assert newest["by"].endswith("on the command line")
        assert [node["switches"] for node in told["nodes"]] == [["switch1"]] * 2
        assert all(node["same_program"] and node["other_versions"] == {} for node in told["nodes"])

    def test_a_mistake_is_told_and_the_others_go_live(self, served: Served) -> None:
        old = version(served)
        served.change(RIGHT, RIGHT.replace("2: service", "2: servce"))
        served.others(1, "busy")
        code, said, complained = served.publish()
        assert (code, version(served)) == (1, old)
        assert "E201" in said
        assert "other-0 will be version" in said
        assert "1 error: those companies stay as they are" in complained
        assert version(served, "other-0")

    def test_a_rollback_is_for_new_calls_and_holds_until_the_company_is_published(self, served: Served) -> None:
        good = version(served)
        served.change(RIGHT, OTHER)
        assert served.publish()[0] == 0
        bad = version(served)
        lost = served.in_menu("+79030000001")  # walks the bad one
        code, said, complained = rollback(served, "acme", "--why", "callers of sales are lost")
        assert (code, complained) == (0, "")
        assert said.splitlines()[:2] == [
            f"acme is version {good} instead of {bad}",
            "acme is pinned to it until: cordboard publish --company acme",
        ]
        lost.press("1")
        assert served.ended(lost)["cause"] == "USER_BUSY"
        code, said, _ = served.reload()
        assert code == 1
        assert f"E523 acme is pinned to version {good} by " in said
        assert "(callers of sales are lost), and its file says something else" in said
        assert served.rig.stop_server() == 0
        seen = len(served.rig.log())
        served.rig.start_server()
        assert "a company is left alone" in served.rig.log()[seen:]
        assert version(served) == good
        served.rig.switch.phone("301", Answers(after=0.1, talk=0.2))
        saved = served.in_menu("+79030000002")
        saved.press("1")
        saved.wait("talking", 30)
        served.ended(saved)
        assert served.publish()[0] == 1  # not by name
        assert version(served) == good
        code, said, _ = served.publish("--company", "acme")
        assert (code, version(served)) == (0, bad)
        assert "acme is not pinned any more: it was pinned" in said

    def test_what_is_gone_or_moves_is_asked_about(self, served: Served) -> None:
        served.others(1, "busy")
        assert served.publish()[0] == 0
        had = version(served, "other-0")
        (served.routing / "other-0.yaml").rename(served.routing / "other-1.yaml")
        code, said, _ = served.reload()
        assert (code, version(served, "other-0")) == (1, had)
        assert "E522 other-0 looks renamed: its file is gone, and other-1 has its +74950000000" in said
        code, _, complained = served.publish()
        assert (code, version(served, "other-0")) == (1, had)
        assert "this must be asked: other-0 is renamed other-1, which takes over +74950000000" in complained
        assert "refused, nothing was changed" in complained
        code, said, _ = served.publish("--yes")
        assert code == 0
        assert "other-0 will take no more calls" in said
        assert [row["company"] for row in versions(served)["companies"]] == ["acme", "other-1"]

    def test_a_publisher_that_is_killed_has_done_nothing_and_nobody_does_it_later(self, served: Served) -> None:
        old = version(served)
        served.change(RIGHT, OTHER)
        asked = served.ask("publish")
        os.kill(served.stopped_publisher(), signal.SIGKILL)
        code, said, complained = served.answer(asked)
        assert (code, said) == (3, "")
        assert "nothing was published, what is live stays: the publisher ended with signal 9" in complained
        served.others(1, "busy")
        assert served.publish("--company", "other-0")[0] == 0
        assert version(served) == old
        assert list((served.state / "requests").iterdir()) == []

    def test_two_at_once_are_both_done(self, served: Served) -> None:
        served.change(RIGHT, OTHER)
        served.others(1, "busy")
        both = [served.ask("publish", "--company", company) for company in ("acme", "other-0")]
        assert [served.answer(asked)[0] for asked in both] == [0, 0]
        assert [version(served, company) for company in ("acme", "other-0")] != []

    def test_a_server_that_dies_meanwhile_is_noticed(self, served: Served) -> None:
        old = version(served)
        served.change(RIGHT, OTHER)
        asked = served.ask("publish")
        served.stopped_publisher()
        os.kill(served.rig.server_pid, signal.SIGKILL)
        assert served.rig._server is not None
        served.rig._server.wait()
        served.rig._server = None
        code, said, complained = served.answer(asked)
        assert (code, said) == (3, "")
        assert "the server ended meanwhile" in complained
        assert version(served) == old
        served.rig.start_server()  # a start goes by the directory, and by nobody's request
        assert [record.how for record in history.read(served.state)[-1:]] == ["start"]
        assert version(served) != old

    def test_without_redis_this_machine_is_told_of(self, served: Served) -> None:
        served.rig.stop_redis()
        try:
            found = versions(served)
            line = [CORDBOARD, "versions", "--state", str(served.state), "--redis", served.rig.redis_url]
            text = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        finally:
            served.rig.start_redis()
        assert (found["redis"], len(found["processes"])) == (False, 2)
        assert {known["serial"] for known in found["processes"]} == {found["serial"]}
        assert "Redis does not answer: these are the processes of this machine only" in text


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

    @pytest.mark.parametrize("more", [{}, {"yes": True}, {"dry_run": True}])
    def test_without_a_terminal_pins_stay_which_is_said_and_is_no_failure(
        self, desk: Desk, more: dict[str, bool]
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
        monkeypatch.setattr(Asker, "_agreed", lambda *_: desk.write("gamma", "declined") or True)
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
        sleep = lambda seconds: looked.append(seconds) or (len(looked) % 3 == 0 and desk.serve())  # noqa: E731
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
