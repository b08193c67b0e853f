"""``cordboard work`` as real processes: killed, hung, deserted, doubled.  What is due is done, and nothing is left."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import select

from callcontrol.embedded import EmbeddedRedis
from callcontrol.settings import Config, SettingsError, SwitchAddress
from callcontrol.switchboard import STREAM, Switchboard, connect
from tests.work_program import SEEN
from workers import answering, bell, cli, sweeping
from workers.context import Context
from workers.journal.database import Database, default_url
from workers.journal.migrating import migrate
from workers.journal.tables import Base, Delivery, Endpoint, Event, Mail, Position, Recording, Segment

#: The sweeper's second, a lease of the job's, a start, and a machine that does other things.
SOON = 15.0
CONFIG = "switches:\n  - {{name: {name}, host: 127.0.0.1, port: 1, password_file: esl.password}}\n"


def until(holds: Callable[[], Any], what: str, timeout: float = SOON) -> Any:
    """Wait until it holds; what it gave then."""
    end = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)
    return found


class House:
    """One machine: its directory, its database, its Redis, and the supervisors that run there."""

    def __init__(self, directory: Path, redis: EmbeddedRedis) -> None:
        self.directory = directory
        self.redis = redis
        self.client = connect(redis.url, name="test", patience=5.0)
        self.database = Database(default_url(directory / "state"))
        self.supervisors: list[subprocess.Popen[bytes]] = []
        self._number = 0
        (directory / "esl.password").write_text("secret")
        (directory / "esl.password").chmod(0o600)
        self.configure("switch1")

    def configure(self, name: str) -> None:
        (self.directory / "cordboard.yaml").write_text(CONFIG.format(name=name))

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a supervisor, and wait until its processes run."""
        log = self.directory / f"work{len(self.supervisors)}.log"
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "CORDBOARD_REDIS": self.redis.url,
            "CORDBOARD_CONFIG": str(self.directory / "cordboard.yaml"),
            "CORDBOARD_STATE": str(self.directory / "state"),
            "CORDBOARD_SPOOL": str(self.directory / "spool"),
            **variables,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.work_program", "work"], env=environment, stdout=output, stderr=output
            )
        self.supervisors.append(process)
        until(lambda: process.poll() is not None or len(self.roles(process)) >= 4, "the processes to start", 30)
        assert process.poll() is None, log.read_text()
        return process

    def log(self, supervisor: subprocess.Popen[bytes] | None = None) -> str:
        number = self.supervisors.index(supervisor) if supervisor else -1
        return (self.directory / f"work{number % len(self.supervisors)}.log").read_text()

    def roles(self, supervisor: subprocess.Popen[bytes]) -> dict[str, int]:
        """The newest process of each role, if it lives."""
        found = re.findall(r'event="process started" role=(\S+) pid=(\d+)', self.log(supervisor))
        return {role: int(pid) for role, pid in found if Path(f"/proc/{pid}/stat").exists()}

    def processes(self) -> list[int]:
        """Every process of ours that lives."""
        pids = [supervisor.pid for supervisor in self.supervisors if supervisor.poll() is None]
        for supervisor in self.supervisors:
            pids += [int(pid) for pid in re.findall(r'"process started" role=\S+ pid=(\d+)', self.log(supervisor))]
        return [pid for pid in pids if _lives(pid)]

    def stop(self, supervisor: subprocess.Popen[bytes]) -> int:
        supervisor.terminate()
        return supervisor.wait(15)

    # --------------------------------------------------------------------------------------------- what is due

    def endpoint(self, how: str = "") -> str:
        """An endpoint; ``how`` it behaves."""
        self._number += 1
        name = f"ep_{self._number}"
        with self.database.writing() as session:
            session.add(
                Endpoint(
                    id=name, company="acme", url="https://crm.test", description=how, events=[], created_at=time.time()
                )
            )
        return name

    def owe(self, endpoint: str) -> str:
        """A delivery that is due now; nobody rings for it."""
        self._number += 1
        name, now = f"dlv_{self._number}", time.time()
        with self.database.writing() as session:
            session.add(
                Event(id=f"evt_{name}", company="acme", type="call.ended", occurred_at=now, created_at=now, data={})
            )
            session.flush()
            session.add(
                Delivery(id=name, event=f"evt_{name}", endpoint=endpoint, company="acme", created_at=now, next_at=now)
            )
        return name

    def seen(self, what: str) -> list[dict[str, Any]]:
        said = [json.loads(line) for line in self.client.lrange(SEEN, 0, -1)]
        return [one for one in said if one["what"] == what]

    def sent(self) -> set[str]:
        return {one["delivery"] for one in self.seen("sent")}


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def house(tmp_path: Path, own_redis: EmbeddedRedis) -> Iterator[House]:
    (tmp_path / "state").mkdir()
    house = House(tmp_path, own_redis)
    migrate(house.database)
    yield house
    for supervisor in house.supervisors:
        if supervisor.poll() is None:
            supervisor.kill()
            supervisor.wait()
    until(lambda: not house.processes(), "everything to end")
    house.database.close()


def test_what_is_due_is_done_although_nobody_rang_and_what_is_in_hand_before_it_ends(house: House) -> None:
    supervisor = house.start()
    owed = house.owe(house.endpoint())
    until(lambda: owed in house.sent(), "the delivery")
    begun = house.owe(house.endpoint("slow"))
    until(lambda: len(house.seen("began")) == 2, "another to begin")
    assert set(house.roles(supervisor)) == {
        *("journal", "delivery-1", "delivery-2", "mail", "recordings-switch1"),
        *("watcher", "sweeper", "housekeeper"),
    }
    assert house.stop(supervisor) == 0
    assert house.sent() == {owed, begun}
    assert not house.processes()


def test_facts_ring_for_the_journal_without_the_sweeper(house: House) -> None:
    house.start(WORK_WITHOUT="sweeper")
    for _ in range(3):
        house.client.delete(SEEN)
        house.client.xadd(STREAM, {"fact": "{}"})
        until(lambda: house.seen("took"), "the journal to look")


def test_a_file_in_the_spool_rings_for_the_recordings_of_its_switch(house: House) -> None:
    house.start(WORK_WITHOUT="watcher")
    (house.directory / "spool" / "acme_call_m1.wav").touch()
    until(lambda: house.seen("looked"), "the spool to be looked at", 20)


def test_processes_killed_at_random_lose_nothing(house: House) -> None:
    supervisor = house.start()
    dice, endpoint, owed = random.Random(5), house.endpoint(), []
    for _ in range(25):
        owed += [house.owe(endpoint) for _ in range(3)]
        roles = house.roles(supervisor)
        if roles:
            os.kill(roles[dice.choice(sorted(roles))], signal.SIGKILL)
        time.sleep(dice.random() * 0.1)
    until(lambda: set(owed) == house.sent(), "all deliveries", 30)
    until(lambda: len(house.roles(supervisor)) == 8, "all to be started again")
    assert house.stop(supervisor) == 0
    assert not house.processes()


def test_a_worker_killed_at_work_is_followed_by_another_and_the_parent_by_nobody(house: House) -> None:
    supervisor = house.start(CORDBOARD_DELIVERIES="1")
    owed = house.owe(house.endpoint("slow"))
    first = until(lambda: house.seen("began"), "the delivery to begin")[0]
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: owed in house.sent(), "the delivery")
    assert house.seen("began")[-1]["pid"] != first["pid"]
    assert "process died" in house.log()
    house.owe(house.endpoint("slow"))
    until(lambda: len(house.seen("began")) == 3, "another delivery to begin")
    until(lambda: len(house.processes()) == 8, "all to be there")
    supervisor.kill()
    supervisor.wait()
    until(lambda: not house.processes(), "its processes to end", 5)


def test_a_job_that_hangs_is_killed_after_its_time_and_others_go_on(house: House) -> None:
    house.start(CORDBOARD_DELIVERIES="1", WORK_LONGEST="1")
    owed = [house.owe(house.endpoint("hangs")), house.owe(house.endpoint())]
    until(lambda: house.sent() == {*owed}, "both deliveries")
    assert "what it did hung" in house.log()


def test_redis_killed_and_back_is_said_once_and_nothing_is_lost(house: House) -> None:
    supervisor = house.start()
    endpoint = house.endpoint()
    first = house.owe(endpoint)
    until(lambda: first in house.sent(), "the first delivery")
    house.redis.kill()
    second = house.owe(endpoint)
    until(lambda: "away" in house.log(), "somebody to notice")
    house.redis.start()
    until(lambda: second in house.sent(), "the second delivery", 20)
    until(lambda: len(house.roles(supervisor)) == 8, "all to be there")
    per_process = 2 * 8
    assert len(re.findall("Redis is away", house.log())) <= per_process


def test_of_two_one_sweeps_until_it_is_killed(house: House) -> None:
    both = [house.start(), house.start()]
    endpoint = house.endpoint()
    owed = [house.owe(endpoint)]
    until(lambda: house.sent() == {*owed}, "the first delivery")
    owner = house.client.get("cordboard:work:sweeper").decode()
    (sweeps,) = [one for one in both if f"-{one.pid}-" in owner]
    sweeps.kill()
    sweeps.wait()
    owed.append(house.owe(endpoint))
    until(lambda: house.sent() == {*owed}, "the second delivery")


def test_cordboard_yaml_is_read_again_and_a_wrong_one_is_refused(house: House) -> None:
    supervisor = house.start()

    def taken() -> list[str]:
        house.client.xadd(STREAM, {"fact": "{}"})
        time.sleep(0.05)
        return list(house.seen("took")[-1]["switches"]) if house.seen("took") else []

    until(lambda: taken() == ["switch1"], "the journal to look")
    house.configure("west")
    supervisor.send_signal(signal.SIGHUP)
    until(lambda: taken() == ["west"], "the new name")
    assert set(house.roles(supervisor)) >= {"recordings-west", "sweeper"}
    (house.directory / "cordboard.yaml").write_text("switches: []")
    supervisor.send_signal(signal.SIGHUP)
    until(lambda: "cannot be used" in house.log(), "the refusal")
    assert taken() == ["west"]
    until(lambda: len(house.roles(supervisor)) == 8, "all to be there")
    assert house.stop(supervisor) == 0


def test_what_cannot_start_ends_with_3_and_says_why(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "cordboard"), "work", "--config", str(tmp_path / "cordboard.yaml")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, "there is no such file" in done.stderr) == (3, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"database": "mysql://host/name"}, "neither sqlite nor postgresql"),
        ({"database": "sqlite:////proc/nowhere/journal.db"}, "the database cannot be used"),
        ({"redis": "nonsense"}, "redis"),
        ({"recordings": "switch1, switch9"}, "there is no switch switch9"),
        ({"state": Path("/proc/nowhere")}, "/proc/nowhere"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_runs(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    (tmp_path / "esl.password").touch(0o600)
    (tmp_path / "esl.password").write_text("secret")
    (tmp_path / "cordboard.yaml").write_text(CONFIG.format(name="switch1"))
    usual = {
        "redis": "redis://127.0.0.1:1/0",
        "config": tmp_path / "cordboard.yaml",
        "database": "",
        "state": tmp_path / "state",
        "spool": tmp_path / "spool",
        "recordings": "",
        "deliveries": 1,
    }
    with pytest.raises(SettingsError, match=said):
        cli.run(**{**usual, **given})


def test_with_several_switches_one_must_say_whose_spool_is_here() -> None:
    config = Config(tuple(SwitchAddress(name, "127.0.0.1", 8021, "secret") for name in ("east", "west")))
    with pytest.raises(SettingsError, match="--recordings"):
        cli._switches(config, "")
    assert cli._switches(config, "none") == []
    assert cli._switches(config, "west,east") == ["west", "east"]


def test_the_journal_is_its_owners_only(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))
    cli._prepare(database)
    with database.reading() as session:
        session.execute(select(Position))
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("journal.db*")} == {0o600}
    database.close()


def test_a_database_that_is_away_is_waited_for_and_then_refused(
    monkeypatch: pytest.MonkeyPatch, logs: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(cli, "PATIENCE", 1.5)
    with pytest.raises(SettingsError, match="the database cannot be used"):
        cli._prepare(Database("postgresql://nobody@127.0.0.1:1/cordboard"))
    assert [line["event"] for line in logs if "away" in line["event"]] == ["the database is away: waiting for it"]


def test_a_worker_that_waits_for_a_ring_does_not_take_redis_for_away(redis_url: str, board: Switchboard) -> None:
    worker = answering.worker_of(redis_url, "journal")
    used = worker.connection.connection_pool.get_connection()
    assert float(used.socket_timeout or 0) >= worker.dequeue_timeout + 5


def test_whatever_stands_in_redis_a_ring_runs_the_job_of_its_queue(
    redis_url: str, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bell.JOBS, "journal", "os.getpid")
    forged = Queue("journal", connection=board._redis, serializer=JSONSerializer)
    forged.enqueue_call("os.abort", args=["now"])
    found = Queue.dequeue_any(
        [forged], None, connection=board._redis, job_class=answering.Ring, serializer=JSONSerializer
    )
    assert found is not None
    assert found[0].perform() == os.getpid()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(default_url(tmp_path))
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("delivery", "endpoint", "rung"),
    [
        ({}, {}, True),
        ({"next_at": 1001.0}, {}, False),
        ({"leased_until": 1001.0}, {}, False),
        ({"leased_until": 999.0}, {}, True),
        ({"state": "delivered"}, {}, False),
        ({}, {"state": "paused"}, False),
        ({}, {"open_until": 1001.0}, False),
        ({}, {"open_until": 999.0}, True),
    ],
)
def test_the_sweeper_rings_for_deliveries_that_somebody_could_send(
    database: Database, delivery: dict[str, Any], endpoint: dict[str, Any], rung: bool
) -> None:
    with database.writing() as session:
        session.add(
            Endpoint(**{"id": "ep", "company": "acme", "url": "https://x", "events": [], "created_at": 1.0, **endpoint})
        )
        session.add(Event(id="evt", company="acme", type="call.ended", occurred_at=1.0, created_at=1.0, data={}))
        session.flush()
        row = {"id": "dlv", "event": "evt", "endpoint": "ep", "company": "acme", "created_at": 1.0, "next_at": 1000.0}
        session.add(Delivery(**{**row, **delivery}))
    with database.reading() as session:
        assert sweeping.due(session, 1000.0) == ({"delivery"} if rung else set())


@pytest.mark.parametrize(("mail", "rung"), [({}, True), ({"next_at": 1001.0}, False), ({"state": "sent"}, False)])
def test_the_sweeper_rings_for_mails_that_are_due(database: Database, mail: dict[str, Any], rung: bool) -> None:
    row = {"id": "m", "kind": "message", "recipient": "a@b.test", "data": {}, "created_at": 1.0, "next_at": 1000.0}
    with database.writing() as session:
        session.add(Mail(**{**row, **mail}))
    with database.reading() as session:
        assert sweeping.due(session, 1000.0) == ({"mail"} if rung else set())


def test_the_sweeper_rings_for_recordings_that_are_finished_and_not_stored(database: Database) -> None:
    with database.writing() as session:
        session.add(
            Recording(id="rec", company="acme", call="c", kind="talk", state="recording", began=1.0, people=[]),
        )
        session.flush()
        for number, (switch, state) in enumerate([("a", "finished"), ("b", "stored"), ("c", "started")]):
            session.add(
                Segment(
                    file=f"f{number}",
                    recording="rec",
                    company="acme",
                    call="c",
                    number=number,
                    switch=switch,
                    state=state,
                    expected_at=1.0,
                )
            )
    with database.reading() as session:
        assert sweeping.owed_by_switches(session) == {"recordings-a"}


@pytest.fixture
def context(tmp_path: Path, redis_url: str, board: Switchboard) -> Context:
    config = Config((SwitchAddress("east", "127.0.0.1", 8021, "secret"),))
    return Context(config, redis_url, Database(default_url(tmp_path)), tmp_path, tmp_path / "spool", "one")


def test_a_chore_is_done_by_one_of_all_and_again_when_its_time_has_come(context: Context) -> None:
    done: list[str] = []
    chores = [
        sweeping.Chore("often", 0.001, lambda context: done.append(f"{context.name} often")),
        sweeping.Chore("seldom", 3600.0, lambda context: done.append(f"{context.name} seldom")),
    ]
    one, other = (sweeping.Housekeeper(replace(context, name=name), chores) for name in ("one", "other"))
    assert one.round() == ["often", "seldom"]
    time.sleep(0.01)  # the shorter lease runs out
    assert other.round() == ["often"]
    assert done == ["one often", "one seldom", "other often"]


def test_a_chore_that_fails_is_told_and_tried_again_before_its_time(
    context: Context, board: Switchboard, logs: list[dict[str, Any]]
) -> None:
    def fails(context: Context) -> None:
        raise RuntimeError("no")

    assert sweeping.Housekeeper(context, [sweeping.Chore("seldom", 3600.0, fails)]).round() == []
    assert [line["event"] for line in logs] == ["a chore failed"]
    assert 0 < board._redis.ttl("cordboard:work:chore:seldom") <= 60


def test_the_journal_is_rung_for_when_it_is_behind_and_now_and_then(context: Context, board: Switchboard) -> None:
    Base.metadata.create_all(context.database.engine)
    sweeper = sweeping.Sweeper(context, [], "one")
    assert sweeper.sweep() == {"journal"}
    assert sweeper.sweep() == set()
    at = board._redis.xadd(STREAM, {"fact": "{}"})
    assert [sweeper.sweep(), sweeper.sweep()] == [{"journal"}, {"journal"}]
    with context.database.writing() as session:
        session.add(Position(name="facts", at=at.decode()))
    assert sweeper.sweep() == set()


def test_only_the_owner_of_the_lease_sweeps_the_database_but_each_its_spool(context: Context) -> None:
    Base.metadata.create_all(context.database.engine)
    one, other = (sweeping.Sweeper(context, ["east"], owner) for owner in ("one", "other"))
    assert one.sweep() == {"journal", "recordings-east"}
    assert other.sweep() == {"recordings-east"}
