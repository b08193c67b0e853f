"""``cordboard publish``, ``rollback`` and ``versions`` with a real server: the whole road, and what cuts it short."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol import asking, history, outcomes, reload
from callcontrol.cli import main
from callcontrol.release import Asker
from callcontrol.supervisor import process_name
from freeswitch.simulator import Answers, NeverAnswers
from scripts.rig import ROUTING
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
