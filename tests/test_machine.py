"""What ops do daily, each by its make target, against a system that runs: and it does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from callcontrol import processes
from callcontrol.embedded import EmbeddedRedis
from callcontrol.machine import drain
from freeswitch.simulator import Answers, NeverAnswers
from scripts.rig import ROOT, Rig

pytestmark = pytest.mark.tcp


class Running:
    """A rig with ``cordboard work`` beside it, and ``make`` that asks it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.work = subprocess.Popen([str(rig.program), "work"], env=rig.environment(), stderr=subprocess.DEVNULL)

    def make(self, *words: str, code: int = 0) -> str:
        """A make target; what it says."""
        done = gevent.get_hub().threadpool.apply(
            subprocess.run,
            (["make", "-s", "-C", str(ROOT), *words],),
            {"env": self.rig.environment(), "capture_output": True, "text": True, "timeout": 100},
        )
        assert (0 if done.returncode == 0 else 1) == (0 if code == 0 else 1), done.stdout + done.stderr
        return str(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Rig(tmp_path_factory.mktemp("system")) as rig:
        running = Running(rig)
        try:
            yield running
        finally:
            running.work.terminate()
            running.work.wait(30)


def test_every_daily_target_does_something_real(system: Running, tmp_path: Path) -> None:
    rig = system.rig
    rig.switch.phone("302", Answers(after=0.1, talk=0.2))
    rig.switch.phone("301", NeverAnswers())
    over = rig.switch.call("+79031234567", "+74951234567")
    over.wait("heard:speech", 15)
    over.press("302", gap=0.1)
    over.wait("ended", 20)
    journal = rig.directory / "state/journal.db"
    rig.until(lambda: journal.exists() and "talked with 302" in system.make("calls"), 40, "the journal")
    assert "+79031234567" in system.make("calls", "COMPANY=acme", "SINCE=2h")
    assert "nothing changed" in system.make("reload")
    assert re.search(r"^acme +301", system.make("agents"), re.MULTILINE) or "301" in system.make("agents")
    assert "sales" in system.make("queues")
    assert "nothing has failed" in system.make("failed")
    assert "mail: 0 tried again" in system.make("retry")
    assert re.search(r"[1-9][0-9]* facts read, 0 were missing", system.make("backfill"))
    assert "has no" in system.make("replay", "COMPANY=acme", "ENDPOINT=ep_x", "SINCE=2026-11-26T09:00Z", code=1)
    assert "found whole" in system.make("backup", f"FILE={tmp_path}/kept.tar.gz")
    with EmbeddedRedis(tmp_path / "redis") as other:
        environment = {**rig.environment(), "CORDBOARD_REDIS": other.url}
        words = ["make", "-s", "-C", str(ROOT), "restore", f"FILE={tmp_path}/kept.tar.gz", f"INTO={tmp_path}/there"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert "serve it with" in done.stdout, done.stderr
    roles = {one.role for one in processes.everybody(rig.directory / "state")}
    assert {"serve", "controller", "work", "journal"} <= roles


class TestDraining:
    def test_is_told_honestly_when_nobody_else_takes_the_calls(self, tmp_path: Path) -> None:
        """One machine only: what waits there hears an apology, and whoever drained it is told so."""
        with Rig(tmp_path / "rig") as rig:
            rig.switch.phone("302", Answers(after=0.1))
            callers = [rig.switch.call(f"+7903123456{n}", "+74951234567") for n in range(3)]
            for caller in callers:
                caller.wait("heard:speech", 15)
            callers[0].press("302", gap=0.1)
            callers[0].wait("talking", 20)
            rig.wait_fact(callers[0].uuid, "talk.started")
            environment = rig.environment()
            state, spool = Path(environment["CORDBOARD_STATE"]), rig.spool
            said: list[str] = []
            complained: list[str] = []
            given = (state, spool, rig.redis_url, ["switch1"], 30.0, False, said.append, complained.append)
            code = gevent.get_hub().threadpool.apply(drain, given)
            assert code == 1
            assert said == ["2 calls are handed over, 0 remain; talks go on by themselves"]
            assert "no other controller answers for the switch switch1" in complained[0]
            assert callers[0].state == "talking"
            assert not processes.everybody(state)
            rig.start_server()  # and those who waited are taken up in time
            callers[1].press("302", gap=0.1)
            callers[1].wait("talking", 20)
            for caller in callers:
                caller.hangup()

    def test_one_of_two_machines_hands_over_to_the_other(self, tmp_path: Path) -> None:
        with Rig(tmp_path / "rig", processes=1) as rig:
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
                callers = [rig.switch.call(f"+7903123456{n}", "+74951234567") for n in range(8)]
                for caller in callers:
                    caller.wait("heard:speech", 15)
                said: list[str] = []
                complained: list[str] = []
                state = rig.directory / "state"
                given = (state, rig.spool, rig.redis_url, ["switch1"], 30.0, False, said.append, complained.append)
                assert gevent.get_hub().threadpool.apply(drain, given) == 0
                assert complained == []
                assert re.fullmatch(r"\d+ calls are handed over, 0 remain; talks go on by themselves", said[0])
                assert said[1] == "others take the calls of switch1: 8 live there now"
                for caller in callers:
                    caller.press("302", gap=0.1)
                for caller in callers:
                    caller.wait("talking", 20)
                assert list(facts.iterdir())
                for caller in callers:
                    caller.hangup()
            finally:
                second.terminate()
                second.wait(30)

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
