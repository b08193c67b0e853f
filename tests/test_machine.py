"""What ops do daily, each by its make target, against a system that runs: and it does what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from click.testing import CliRunner

from callcontrol import outcomes, processes, serving
from callcontrol.cli import main
from callcontrol.machine import drain
from callcontrol.publishing import Publisher, publish
from callcontrol.settings import Settings, read_config
from callcontrol.spool import message_file
from callcontrol.versions import VersionStore
from freeswitch.simulator import Answers
from scripts.chaos.upgrade import COMPANY, MENU, TALK
from scripts.rig import ROOT, Rig
from tests.facts import CALL
from tests.releases import asked, request
from tests.test_publishing import BETA

pytestmark = pytest.mark.tcp


@pytest.fixture(scope="module")
def routing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("routing")
    (directory / "acme.yaml").write_text(COMPANY)
    return directory


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, routing: Path) -> Iterator[Rig]:
    """A system with ``cordboard work``."""
    with Rig(tmp_path_factory.mktemp("system"), routing=routing, clock=None) as started:
        work = subprocess.Popen([str(started.program), "work"], env=started.environment(), stderr=subprocess.DEVNULL)
        try:
            yield started
        finally:
            work.terminate()
            work.wait(30)


def make(rig: Rig, *words: str) -> str:
    """What the command that a make target runs says to this system."""
    environment = rig.environment()
    shown = subprocess.run(
        ["make", "-n", "-C", str(ROOT), *words], env=environment, capture_output=True, text=True, timeout=60
    ).stdout
    found = re.search(r"bin/cordboard (.*?)(?: \|\| .*)?$", shown, re.MULTILINE)
    assert found, shown
    done = gevent.get_hub().threadpool.apply(CliRunner().invoke, (main, shlex.split(found[1])), {"env": environment})
    return str(done.output)


def test_every_daily_target_does_something_real(rig: Rig, tmp_path: Path) -> None:
    rig.switch.phone("302", Answers(after=0.1, talk=0.2))
    over = rig.switch.call("+79031234567", TALK)
    over.wait("ended", 20)
    journal = rig.directory / "state/journal.db"
    rig.until(lambda: journal.exists() and "talked" in make(rig, "calls"), 40, "the journal")
    assert "+79031234567" in make(rig, "calls", "COMPANY=acme", "SINCE=2h")
    assert "there are no calls" in make(rig, "calls", "LIVE=1")
    assert "nothing changed" in make(rig, "reload")
    assert "303" in make(rig, "agents")
    assert "desk" in make(rig, "queues")
    assert "nothing has failed" in make(rig, "failed")
    assert "mail: 0 tried again" in make(rig, "retry")
    assert re.search(r"[1-9][0-9]* facts read, 0 were missing", make(rig, "backfill"))
    assert "the company has no" in make(rig, "replay", "COMPANY=acme", "ENDPOINT=ep_x", "SINCE=2026-11-26T09:00Z")
    assert "found whole" in make(rig, "backup", f"FILE={tmp_path}/kept.tar.gz")
    said = make(rig, "restore", f"FILE={tmp_path}/kept.tar.gz", f"INTO={tmp_path}/there")
    assert "Redis has keys of a Cordboard already" in said
    assert {"serve", "controller", "work"} <= {one.role for one in processes.everybody(rig.directory / "state")}


def test_neither_a_start_nor_the_trial_of_a_next_release_touches_what_is_pinned(tmp_path: Path) -> None:
    routing, store = tmp_path / "routing", VersionStore(tmp_path / "state")
    routing.mkdir()
    (routing / "beta.yaml").write_text(BETA)
    (tmp_path / "esl.password").write_text("x")
    (tmp_path / "esl.password").chmod(0o600)
    (tmp_path / "cordboard.yaml").write_text(
        "switches: [{name: switch1, host: 127.0.0.1, port: 1, password_file: esl.password}]\n"
    )
    good = publish(routing, store).live["beta"]
    (routing / "beta.yaml").write_text(BETA.replace("hangup: busy", "hangup: declined"))
    assert publish(routing, store).live["beta"] != good
    asked(Publisher(routing, store), request("rollback", "beta"))
    settings = Settings(
        routing=routing,
        listen=("127.0.0.1", 0),
        redis="redis://127.0.0.1:1/0",
        config_path=tmp_path / "cordboard.yaml",
        config=read_config(tmp_path / "cordboard.yaml"),
        peers=(),
        state=store.state,
        sounds=tmp_path / "sounds",
        spool=tmp_path / "spool",
        processes=1,
        domain="cordboard.test",
    )
    assert serving._try(settings) == 0
    assert serving._publish(settings, "start")
    after = outcomes.read_outcome(store.state)
    assert after is not None
    assert after.live == {"beta": good} == {"beta": store.current("beta")}
    assert after.pins["beta"].version == good


class TestDraining:
    def test_is_told_honestly_when_nobody_else_takes_the_calls(self, tmp_path: Path, routing: Path) -> None:
        """One machine only: what waits there hears an apology, and whoever drained it is told so."""
        with Rig(tmp_path / "rig", routing=routing, clock=None) as rig:
            rig.switch.phone("302", Answers(after=0.1))
            callers = [rig.switch.call(f"+7903123456{n}", MENU) for n in range(3)]
            for caller in callers:
                caller.wait("heard:speech", 15)
            callers[0].press("1")
            callers[0].wait("talking", 20)
            rig.wait_fact(callers[0].uuid, "talk.started")
            environment = rig.environment()
            state, spool = Path(environment["CORDBOARD_STATE"]), rig.spool
            said: list[str] = []
            complained: list[str] = []
            given = (state, spool, rig.redis_url, ["switch1"], 30.0, False, said.append, complained.append)
            code = gevent.get_hub().threadpool.apply(drain, given)
            assert code == 1, (said, complained)
            assert said == ["2 calls are handed over, 0 remain; talks go on by themselves"]
            assert "no other controller answers for the switch switch1" in complained[0]
            assert callers[0].state == "talking"
            assert not processes.everybody(state)
            rig.start_server()  # and those who waited are taken up in time
            callers[1].press("1")
            callers[1].wait("talking", 20)
            for caller in callers:
                caller.hangup()

    def test_one_of_two_machines_hands_over_to_the_other(self, tmp_path: Path, routing: Path) -> None:
        with Rig(tmp_path / "rig", routing=routing, clock=None, processes=1) as rig:
            rig.switch.phone("302", Answers(after=0.1))
            other = {**rig.environment(), "CORDBOARD_STATE": str(tmp_path / "other")}  # its port is shared, as if one
            second = subprocess.Popen([str(rig.program), "serve"], env=other, stderr=subprocess.DEVNULL)
            try:
                facts = tmp_path / "other/facts"
                rig.until(
                    lambda: any(one.role == "controller" for one in processes.everybody(tmp_path / "other")),
                    60,
                    "the other machine",
                )
                callers = [rig.switch.call(f"+7903123456{n}", MENU) for n in range(8)]
                for caller in callers:
                    caller.wait("heard:speech", 15)
                said: list[str] = []
                complained: list[str] = []
                state = rig.directory / "state"
                given = (state, rig.spool, rig.redis_url, ["switch1"], 30.0, False, said.append, complained.append)
                code = gevent.get_hub().threadpool.apply(drain, given)
                assert (code, complained) == (0, [])
                assert re.fullmatch(r"\d+ calls are handed over, 0 remain; talks go on by themselves", said[0])
                assert said[1] == "others take the calls of switch1: 8 live there now"
                for caller in callers:
                    caller.press("1")
                for caller in callers:
                    caller.wait("talking", 20)
                assert list(facts.iterdir())
                for caller in callers:
                    caller.hangup()
            finally:
                second.terminate()
                second.wait(30)

    def test_of_all_ends_work_when_nothing_is_left_to_it(self, tmp_path: Path, routing: Path) -> None:
        with Rig(tmp_path / "rig", routing=routing, clock=None, processes=1) as rig:
            work = subprocess.Popen([str(rig.program), "work"], env=rig.environment(), stderr=subprocess.DEVNULL)
            try:
                state = rig.directory / "state"
                rig.until(lambda: "work" in {one.role for one in processes.everybody(state)}, 60, "work")
                caller = rig.switch.call("+79031234567", MENU)
                caller.wait("heard:speech", 15)
                said: list[str] = []
                complained: list[str] = []
                given = (state, rig.spool, rig.redis_url, ["switch1"], 30.0, True, said.append, complained.append)
                code = gevent.get_hub().threadpool.apply(drain, given)
                assert said == [
                    "1 call is handed over, 0 remain; talks go on by themselves",
                    "nothing of Cordboard runs here any more",
                ]
                assert code == 1  # since nobody takes the calls of the switch
                assert len(complained) == 1
                assert not processes.everybody(state)
                assert work.wait(1) == 0
                facts = state / "facts"
                assert not [path for path in facts.glob("*.facts") if path.stat().st_size]
                assert list(facts.glob("*.shipped"))
                caller.hangup()
            finally:
                work.kill()
                work.wait()
            (rig.spool / message_file("acme", CALL, 1).name).write_bytes(b"RIFF")
            began = time.monotonic()
            complained.clear()
            code = gevent.get_hub().threadpool.apply(drain, given)
            assert time.monotonic() - began < 10  # nobody is left who could bring it away
            assert (code, said[-1]) == (1, "nothing runs here any more; see what remains")
            assert "1 recordings are in" in complained[0]
            assert "cordboard work does not run here" in complained[1]

    def test_of_a_machine_where_nothing_runs_is_refused(self, tmp_path: Path) -> None:
        complained: list[str] = []
        given = (tmp_path, tmp_path, "redis://127.0.0.1:1/0", ["switch1"], 1.0, False, print, complained.append)
        assert drain(*given) == 3
        assert "nobody takes calls" in complained[0]


def test_what_a_dead_process_left_is_not_taken_for_a_living_one(tmp_path: Path) -> None:
    processes.announce(tmp_path, "serve")
    (ours,) = processes.everybody(tmp_path)
    assert (ours.pid, ours.role) == (os.getpid(), "serve")
    (tmp_path / "running" / "vm-1-0").write_text(json.dumps({"role": "work"}))
    assert processes.everybody(tmp_path) == [ours]
    assert not (tmp_path / "running" / "vm-1-0").exists()
