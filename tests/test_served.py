"""``cordboard reload``, ``publish``, ``rollback`` and ``versions`` with a real server that has calls.

The surprise: one server for all of it, and most is asked of it without a process for the command: starting those took
most of the time.  What a terminal, a full disk or a death between two lines make of it is held by ``test_release.py``
and ``test_publishing_requests.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from callcontrol import history, outcomes, release
from callcontrol import reload as reloading
from callcontrol.release import Asker
from freeswitch.simulator import Answers, Caller, NeverAnswers
from scripts.rig import ROUTING, Rig
from tests.test_publishing import BETA

CORDBOARD = str(Path(sys.executable).parent / "cordboard")
SOMEBODY, NUMBER = "+79031234567", "+74951234567"
RIGHT, OTHER = "keys: {1: sales, 2: service, 9", "keys: {1: reject, 2: service, 9"


class Served:
    """A rig with a directory of its own, and the command as people run it."""

    def __init__(self, directory: Path) -> None:
        self.routing = directory / "routing"
        shutil.copytree(ROUTING, self.routing)
        self.acme = self.routing / "acme.yaml"
        self.rig = Rig(directory / "rig", routing=self.routing, processes=2)
        self.state = directory / "rig/state"
        self.first = ""

    def ask(self, *words: str) -> subprocess.Popen[str]:
        line = [CORDBOARD, *(words or ("reload",)), "--state", str(self.state), "--wait", "60"]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, text=True, **given)  # type: ignore[call-overload,no-any-return]

    def answer(self, asked: subprocess.Popen[str]) -> tuple[int, str, str]:
        self.rig.until(lambda: asked.poll() is not None, 70, "the answer of cordboard reload")
        said, complained = asked.communicate()
        return asked.returncode, said, complained

    def reload(self) -> tuple[int, str, str]:
        said: list[str] = []
        complained: list[str] = []
        code = reloading.reload(self.state, 60.0, said.append, complained.append)
        return code, "\n".join(said), "\n".join(complained)

    def publish(self, *companies: str, yes: bool = False) -> tuple[int, str, str]:
        said: list[str] = []
        complained: list[str] = []
        asker = Asker(self.state, "anna", 60.0, said.append, complained.append)
        code = asker.publish([*companies], "", yes=yes, dry_run=False, confirm=None)
        return code, "\n".join(said), "\n".join(complained)

    def version(self, company: str = "acme") -> str:
        outcome = outcomes.read_outcome(self.state)
        assert outcome is not None
        return outcome.live[company]

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
    with it.rig, pytest.MonkeyPatch.context() as patch:
        for module in (release, reloading):  # whoever waits here lets the switch go on
            patch.setattr(module, "time", SimpleNamespace(sleep=gevent.sleep, monotonic=time.monotonic))
        it.first = it.version()
        yield it


@pytest.fixture
def served(shared: Served) -> Served:
    """The server as it was at first: the example company, nothing pinned, and all is well."""
    for extension in ("301", "302", "303"):
        shared.rig.switch.phone(extension, NeverAnswers())
    for file in shared.routing.glob("*.yaml"):
        file.unlink()
    shutil.copy(ROUTING / "acme.yaml", shared.acme)
    outcome = outcomes.read_outcome(shared.state)
    assert outcome is not None
    if outcome.pins:
        assert shared.publish("acme")[0] == 0
    if outcome.live != {"acme": shared.first} or outcome.problems or outcome.trouble:
        assert shared.publish(yes=True)[0] == 0
    return shared


@pytest.mark.tcp
class TestReload:
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


@pytest.mark.tcp
class TestPublish:
    def test_a_change_is_shown_published_and_told_by_every_process_and_two_at_once_are_both_done(
        self, served: Served
    ) -> None:
        """The commands as people run them."""
        served.change(RIGHT, OTHER)
        served.others(1, "busy")
        both = [served.ask("publish", "--company", name, "--why", "ill") for name in ("acme", "other-0")]
        (code, said, complained), other = (served.answer(asked) for asked in both)
        assert (code, complained, other[0]) == (0, "", 0)
        new = served.version()
        assert new != served.first
        assert said.splitlines() == [
            f"acme will be version {new} instead of {served.first}",
            "5 rehearsals passed",
            "every process has it; live calls stay on the version they began with",
        ]
        line = [CORDBOARD, "versions", "acme", "--json", "--state", str(served.state), "--redis", served.rig.redis_url]
        told: dict[str, Any] = {}

        def have_told() -> bool:  # each tells it when it has loaded it, and that is after the answer
            told.update(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
            return bool(told["companies"][0]["have_it"] == 2)

        served.rig.until(have_told, 30, "every process to tell what it runs")
        assert told["companies"][0]["processes"] == 2
        newest = told["history"][0]
        assert (newest["version"], newest["why"], newest["current"]) == (new, "ill", True)
        assert newest["by"].endswith("on the command line")
        assert [node["switches"] for node in told["nodes"]] == [["switch1"]] * 2
        assert all(node["same_program"] and node["other_versions"] == {} for node in told["nodes"])

    def test_a_rollback_is_for_new_calls_and_holds_until_the_company_is_published(self, served: Served) -> None:
        good = served.first
        served.change(RIGHT, OTHER)
        assert served.publish()[0] == 0
        bad = served.version()
        lost = served.in_menu("+79030000001")  # walks the bad one
        code, said, complained = served.answer(served.ask("rollback", "acme", "--why", "callers are lost"))
        assert (code, complained) == (0, "")
        assert said.splitlines()[:2] == [
            f"acme is version {good} instead of {bad}",
            "acme is pinned to it until: cordboard publish --company acme",
        ]
        lost.press("1")
        assert served.ended(lost)["cause"] == "USER_BUSY"
        assert served.rig.stop_server() == 0
        seen = len(served.rig.log())
        served.rig.start_server()
        assert "a company is left alone" in served.rig.log()[seen:]
        served.rig.switch.phone("301", Answers(after=0.1, talk=0.2))
        saved = served.in_menu("+79030000002")
        saved.press("1")
        saved.wait("talking", 30)
        served.ended(saved)
        code, said, complained = served.reload()
        assert (code, served.version()) == (0, good)
        assert f"W538 acme is pinned to version {good} by " in said
        assert "(callers are lost), and its file says something else" in said
        code, said, _ = served.publish("acme")
        assert (code, served.version()) == (0, bad)
        assert "acme is not pinned any more: it was pinned" in said

    def test_a_publisher_that_is_killed_has_done_nothing_and_nobody_does_it_later(self, served: Served) -> None:
        served.change(RIGHT, OTHER)
        asked = served.ask("publish")
        os.kill(served.stopped_publisher(), signal.SIGKILL)
        code, said, complained = served.answer(asked)
        assert (code, said) == (3, "")
        assert "nothing was published, what is live stays: the publisher ended with signal 9" in complained
        served.others(1, "busy")
        assert served.publish("other-0")[0] == 0
        assert served.version() == served.first
        assert list((served.state / "requests").iterdir()) == []

    def test_a_server_that_dies_meanwhile_is_noticed_and_starts_with_what_was_good_when_its_files_are_not(
        self, served: Served
    ) -> None:
        served.change(RIGHT, OTHER)
        asked = served.ask("publish", "--company", "acme")
        publisher = served.stopped_publisher()
        os.kill(served.rig.server_pid, signal.SIGKILL)
        assert served.rig._server is not None
        served.rig._server.wait()
        served.rig._server = None
        with contextlib.suppress(ProcessLookupError):  # it dies with the server, unless it had hardly begun
            os.kill(publisher, signal.SIGCONT)
        code, said, complained = served.answer(asked)
        assert (code, said) == (3, "")
        assert "the server ended meanwhile" in complained
        assert served.version() == served.first
        served.change(OTHER, RIGHT.replace("2: service", "2: servce"))
        served.others(1, "busy")
        seen = len(served.rig.log())
        served.rig.start_server()  # a start goes by the directory, and by nobody's request
        assert "does not go live" in served.rig.log()[seen:]
        assert (served.version(), served.version("other-0") != "") == (served.first, True)
        assert [record.how for record in history.read(served.state)[-1:]] == ["start"]
        caller = served.in_menu()
        caller.hangup()
        served.ended(caller)
        for file in served.routing.glob("*.yaml"):  # a directory without companies
            file.unlink()
        assert served.rig.stop_server() == 0
        served.rig.start_server()
        assert "there is no company here" in served.rig.log()
        caller = served.in_menu()
        caller.hangup()
        served.ended(caller)
