"""A backup of a running Cordboard, restored on another machine, gives the same answers; a forged one does nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from callcontrol import history, outcomes
from callcontrol.cli import main
from callcontrol.embedded import EmbeddedRedis
from callcontrol.history import Record
from callcontrol.planning import Pin
from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard, connect
from callcontrol.versions import VersionStore, version_of
from freeswitch.simulator import Answers
from scripts.chaos.upgrade import COMPANY, RINGING, TALK
from scripts.rig import Rig
from tests.databases import PostgreSQL, migrated_sqlite
from workers.backup import leftovers, redis_keys
from workers.backup.archive import ArchiveError, Manifest, Writer, verify
from workers.backup.restoring import restore
from workers.journal.database import Database
from workers.journal.stream import FACTS, put


def run(environment: dict[str, str], *command: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(command), env=environment)
    assert done.exit_code == code, done.output
    return done.output


class TestARunningSystem:
    def test_is_restored_on_another_machine_and_gives_the_same_answers(
        self, tmp_path: Path, own_redis: EmbeddedRedis
    ) -> None:
        (tmp_path / "routing").mkdir()
        (tmp_path / "routing/acme.yaml").write_text(COMPANY)
        with Rig(tmp_path / "here", redis_url=own_redis.url, routing=tmp_path / "routing", clock=None) as rig:
            here = {**rig.environment()}
            work = subprocess.Popen([str(rig.program), "work"], env=here, stderr=subprocess.DEVNULL)
            try:
                rig.switch.phone("301", Answers(after=0.1))
                rig.switch.phone("302", Answers(after=0.1, talk=0.2))
                caller = rig.switch.call("+79031234567", RINGING)  # talks while the backup is made
                caller.wait("talking", 20)
                rig.switch.call("+79031234568", TALK).wait("ended", 20)
                rig.until(
                    lambda: '"ended"' in CliRunner().invoke(main, ["calls", "--json"], env=here).output,
                    40,
                    "the journal",
                )
                made = run(here, "endpoints", "add", "acme", "https://crm.example.com/hooks").split()[0]
                run(here, "endpoints", "pause", "acme", made)  # it is not there, and would fail meanwhile
                run(here, "tokens", "create", "operator", "somebody")
                run(here, "agents", "pause", "acme", "303", "--reason", "lunch")
                assert Switchboard(own_redis.url, name="test").set_switch("acme", "*21", True, "somebody")
                (tmp_path / "here/passwords.yaml").touch(mode=0o600)
                said = run(here, "backup", str(tmp_path / "kept.tar.gz"))
                assert "found whole" in said
                caller.hangup()
            finally:
                work.terminate()
                work.wait(30)
            routing = Path(here["CORDBOARD_ROUTING"])
            answers = self.answers(here)
        assert stat.S_IMODE((tmp_path / "kept.tar.gz").stat().st_mode) == 0o600
        with EmbeddedRedis(tmp_path / "there-redis") as redis:
            there = {"CORDBOARD_REDIS": redis.url}
            said = run(there, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "there"))
            there |= dict(line.strip().split("=", 1) for line in said.splitlines() if line.startswith("  CORDBOARD_"))
            assert self.answers(there) == answers
            restored = Path(there["CORDBOARD_ROUTING"])
            assert (restored / "acme.yaml").read_bytes() == (routing / "acme.yaml").read_bytes()
            for secret in ("esl.password", "passwords.yaml"):
                assert stat.S_IMODE((tmp_path / "there/config" / secret).stat().st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o700
            assert not list((tmp_path / "there/state").glob("running/*"))

    def answers(self, environment: dict[str, str]) -> dict[str, Any]:
        """What this Cordboard says of its past, its settings, its agents and switches."""
        calls = [one["id"] for one in json.loads(run(environment, "calls", "--json"))]
        board = Switchboard(environment["CORDBOARD_REDIS"], name="test")
        agents = QueueBoard(board).look("acme")
        assert agents is not None
        current = Path(environment["CORDBOARD_STATE"]) / "versions/acme/current"
        ended = [call for call in calls if "call.ended" in run(environment, "why", call, "--json")]
        found = {
            "ended": {call: json.loads(run(environment, "why", call, "--json")) for call in ended},
            "endpoints": run(environment, "endpoints", "--json"),
            "tokens": run(environment, "tokens", "list"),
            "duty": {one["agent"]: (one["duty"], one["why"]) for one in agents["members"]},
            "switches": board.switches(),
            "version": current.read_text(),
        }
        board.close()
        return found


@pytest.fixture
def house(tmp_path: Path, redis_url: str) -> Iterator[dict[str, str]]:
    """A Cordboard at rest, with a row in its journal and a switch that is on."""
    connect(redis_url, name="test").flushall()
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "esl.password").touch(mode=0o600)
    (tmp_path / "esl.password").write_text("secret")
    (tmp_path / "cordboard.yaml").write_text("switches:\n  - {name: switch1, password_file: esl.password}\n")
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing/acme.yaml").write_text("cordboard: 1\n")
    Path(migrated_sqlite(state).removeprefix("sqlite:///")).rename(state / "journal.db")
    database = Database(f"sqlite:///{state / 'journal.db'}")
    with database.writing() as session:
        put(session, FACTS, "7-0")
    database.close()
    board = Switchboard(redis_url, name="test")
    board.set_switch("acme", "*21", True, "somebody")
    board.close()
    yield {
        "CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"),
        "CORDBOARD_ROUTING": str(tmp_path / "routing"),
        "CORDBOARD_STATE": str(state),
        "CORDBOARD_SPOOL": str(tmp_path / "spool"),
        "CORDBOARD_REDIS": redis_url,
    }
    connect(redis_url, name="test").flushall()


@pytest.fixture
def kept(house: dict[str, str], tmp_path: Path) -> Path:
    run(house, "backup", str(tmp_path / "kept.tar.gz"))
    connect(house["CORDBOARD_REDIS"], name="test").flushall()
    return tmp_path / "kept.tar.gz"


class TestWhatIsThere:
    def test_is_never_written_over(self, house: dict[str, str], kept: Path, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there/mine").write_text("mine")
        said = run(house, "restore", str(kept), "--into", str(tmp_path / "there"), code=1)
        assert "nothing is written over" in said
        assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine"]
        assert "there is such a file already" in run(house, "backup", str(kept), code=1)

    def test_a_server_that_runs_there_is_named(self, house: dict[str, str], kept: Path, tmp_path: Path) -> None:
        (tmp_path / "there/state").mkdir(parents=True)
        with outcomes.held(tmp_path / "there/state"):
            said = run(house, "restore", str(kept), "--into", str(tmp_path / "there"), code=1)
        assert "a server runs in" in said

    def test_a_redis_with_keys_of_ours_is_left_alone_and_so_is_the_directory(
        self, house: dict[str, str], kept: Path, tmp_path: Path
    ) -> None:
        redis = connect(house["CORDBOARD_REDIS"], name="test")
        redis.hset("cordboard:switches", "other/*21", "{}")
        said = run(house, "restore", str(kept), "--into", str(tmp_path / "there"), code=1)
        assert "Redis has keys of a Cordboard already" in said
        assert not (tmp_path / "there").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".there")]
        assert redis.hkeys("cordboard:switches") == [b"other/*21"]

    def test_a_backup_that_was_made_by_a_newer_cordboard_is_refused(
        self, house: dict[str, str], tmp_path: Path
    ) -> None:
        database = Database(f"sqlite:///{house['CORDBOARD_STATE']}/journal.db")
        with database.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
            session.execute(text("UPDATE position SET at = 'r9999' WHERE name = 'good for'"))
        database.close()
        run(house, "backup", str(tmp_path / "kept.tar.gz"))
        connect(house["CORDBOARD_REDIS"], name="test").flushall()
        said = run(house, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "there"), code=3)
        assert "newer Cordboard" in said
        assert not (tmp_path / "there").exists()


def test_a_journal_goes_from_postgresql_into_a_backup_and_back_into_another(
    house: dict[str, str], postgresql: PostgreSQL, tmp_path: Path
) -> None:
    first, second = postgresql.new(migrated=True), postgresql.new()
    database = Database(first)
    with database.writing() as session:
        put(session, FACTS, "8-0")
        session.execute(text("INSERT INTO alarm (key, kind, text, raised_at) VALUES ('k', 'spool', 'it is full', 1.5)"))
        fact = "INSERT INTO fact (call, epoch, n, process, type, at, data) VALUES ('c', 1, 1, '', 'x', 1.5, :data)"
        session.execute(text(fact), {"data": '{"a": 1}'})
    database.close()
    run({**house, "CORDBOARD_DATABASE": first}, "backup", str(tmp_path / "kept.tar.gz"))
    there = {**house, "CORDBOARD_DATABASE": second}
    redis = connect(house["CORDBOARD_REDIS"], name="test")
    redis_keys.refuse(None)
    with pytest.MonkeyPatch.context() as patch:  # somebody writes there meanwhile
        patch.setattr(redis_keys, "refuse", lambda redis: None)
        patch.setattr(redis_keys, "_writing", lambda entry: [("lpush", "cordboard:switches", "1")])
        run(there, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "there"), code=1)
    assert not (tmp_path / "there").exists()
    redis.flushall()
    run(there, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "there"))
    assert not (tmp_path / "there/state/journal.db").exists()
    database = Database(second)
    with database.writing() as session:
        assert session.scalar(text("SELECT at FROM position WHERE name = 'facts'")) == "8-0"
        assert session.scalar(text("SELECT text FROM alarm")) == "it is full"
        assert session.scalar(text("SELECT data FROM fact")) == {"a": 1}
        again = "INSERT INTO fact (call, epoch, n, process, type, at, data) VALUES ('c', 1, 2, '', 'x', 1.5, '{}')"
        session.execute(text(again))  # the counter goes on behind what was restored
    database.close()
    assert "nothing is written over" in run(
        there, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "other"), "--without-redis", code=1
    )


def test_pins_versions_and_their_history_come_back_and_no_process_of_the_old_machine_does(
    house: dict[str, str], tmp_path: Path
) -> None:
    state = Path(house["CORDBOARD_STATE"])
    store, texts = VersionStore(state), [b"one", b"two"]
    first, second = (version_of(data) for data in texts)
    for data in texts:
        store.put("acme", version_of(data), data)
    store.publish("acme", first)
    history.add(state, Record(1, 10.0, "publish", "anna", "to begin", changes={"acme": ("", first)}))
    history.add(state, Record(2, 20.0, "publish", "anna", "friday", changes={"acme": (first, second)}))
    back = Record(3, 30.0, "rollback", "boris", "worse", changes={"acme": (second, first)}, pinned={"acme": first})
    pins = {"acme": Pin(first, "boris", 30.0, "worse")}
    moment = outcomes.now()
    outcomes.write_outcome(state, outcomes.Outcome(3, moment, moment, 30.0, {"acme": first}, pins=pins, record=back))
    here = run(house, "versions", "acme")
    assert all(word in here for word in (first, second, "pinned", "boris", "friday"))
    connect(house["CORDBOARD_REDIS"], name="test").hset("cordboard:running", "vm-1-2", "{}")
    run(house, "backup", str(tmp_path / "kept.tar.gz"))
    connect(house["CORDBOARD_REDIS"], name="test").flushall()
    run(house, "restore", str(tmp_path / "kept.tar.gz"), "--into", str(tmp_path / "there"))
    there = {**house, "CORDBOARD_STATE": str(tmp_path / "there/state")}
    assert run(there, "versions", "acme") == here
    assert not connect(house["CORDBOARD_REDIS"], name="test").exists("cordboard:running")


class TestKilled:
    """kill -9 leaves no half backup under its name, and what it does leave the next one takes away."""

    @pytest.fixture
    def dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leftovers, "_YOUNG", -1.0)

    @pytest.mark.usefixtures("dead")
    def test_the_next_backup_sweeps_after_it_and_leaves_living_ones_alone(
        self, house: dict[str, str], tmp_path: Path
    ) -> None:
        state = Path(house["CORDBOARD_STATE"])
        (tmp_path / "kept").mkdir()
        killed = "import os, signal, sys; from pathlib import Path; from workers.backup import leftovers; "
        killed += "from workers.backup.archive import Writer; writer = Writer(Path(sys.argv[1])); "
        killed += "made = leftovers.directory(Path(sys.argv[2]), '.backup-'); held = made.__enter__(); "
        killed += "(held / 'journal.db').write_text('secret'); os.kill(os.getpid(), signal.SIGKILL)"
        subprocess.run([sys.executable, "-c", killed, str(tmp_path / "kept/other.tar.gz"), str(state)])
        (left,) = (tmp_path / "kept").iterdir()
        assert left.name.startswith(".")
        assert stat.S_IMODE(left.stat().st_mode) == 0o600
        assert [path.name for path in state.glob(".backup-*/*")] == ["journal.db"]
        living = Writer(tmp_path / "kept/living.tar.gz")
        run(house, "backup", str(tmp_path / "kept/kept.tar.gz"))
        assert not left.exists()
        assert not list(state.glob(".backup-*"))
        living.finish(Manifest("1.0.0", "r0001", 1.5))
        assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["kept.tar.gz", "living.tar.gz"]
        names = verify(tmp_path / "kept/kept.tar.gz", 2**30).files
        assert not [name for name in names if "backup-" in name]

    def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(self, house: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "kept").mkdir()
        (tmp_path / "routing/noise.bin").write_bytes(os.urandom(2**20))

        def small() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, 2**19))

        program = [str(Path(sys.executable).parent / "cordboard"), "backup", str(tmp_path / "kept/kept.tar.gz")]
        done = subprocess.run(
            program, env={**os.environ, **house}, preexec_fn=small, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (3, "")
        assert len(done.stderr.splitlines()) == 1
        assert "File too large" in done.stderr
        assert not list((tmp_path / "kept").iterdir())
        assert not list(Path(house["CORDBOARD_STATE"]).glob(".backup-*"))


class TestWhatCannotBeSaved:
    def test_is_told_and_the_rest_is_saved(self, house: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "routing/linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "routing" / ("x" * 150)).touch()
        (tmp_path / "cordboard.yaml").write_text("switches: [")
        requests = Path(house["CORDBOARD_STATE"]) / "requests"
        requests.mkdir()
        (requests / "0123456789abcdef.request").write_text("{}")
        said = run(house, "backup", str(tmp_path / "kept.tar.gz"))
        assert f"not in it: {tmp_path}/routing/linked: it is a link" in said
        assert "or such a long one" in said
        assert "it cannot be read, so the files that it names are not known" in said
        names = verify(tmp_path / "kept.tar.gz", 2**30).files
        assert "config/cordboard.yaml" in names
        assert not [name for name in names if "requests" in name]

    def test_a_backup_is_not_put_where_the_next_would_find_it(self, house: dict[str, str]) -> None:
        said = run(house, "backup", f"{house['CORDBOARD_STATE']}/kept.tar.gz", code=1)
        assert "keep backups elsewhere" in said


class TestRedis:
    def test_every_kind_of_value_comes_back_and_what_is_among_processes_does_not(self, redis_url: str) -> None:
        redis = connect(redis_url, name="test")
        redis.flushall()
        redis.set("cordboard:ended:x", b"\xff\x00text", ex=1000)
        redis.hset("cordboard:switches", "acme/*21", "on")
        redis.sadd("cordboard:queue-companies", "acme")
        redis.zadd("cordboard:queue-due", {"acme/301": 12.5})
        redis.rpush("cordboard:wake:somebody", "now")
        redis.set("cordboard:work:sweeper", "somebody")
        redis.set("cordboard:running:vm-1-2", "{}")  # of controllers of another machine
        redis.set("stranger", "1")
        for number in (1, 2, 3):
            redis.xadd("cordboard:facts", {"fact": f"{number}"}, id=f"{number}-0")
        saved = redis_keys.save(redis, "2-0")
        redis.flushall()
        redis_keys.load(redis, saved)
        assert redis.get("cordboard:ended:x") == b"\xff\x00text"
        assert 0 < redis.ttl("cordboard:ended:x") <= 1000
        assert redis.hgetall("cordboard:switches") == {b"acme/*21": b"on"}
        assert redis.zscore("cordboard:queue-due", "acme/301") == 12.5
        assert [id_ for id_, _ in redis.xrange("cordboard:facts")] == [b"2-0", b"3-0"]  # the place, and what is unread
        assert not redis.exists(
            "cordboard:wake:somebody", "cordboard:work:sweeper", "stranger", "cordboard:running:vm-1-2"
        )
        redis.flushall()

    def test_nothing_is_left_of_what_it_takes_only_in_part(self, redis_url: str) -> None:
        redis = connect(redis_url, name="test")
        redis.flushall()
        forged = [
            {"key": "cordboard:switches", "type": "hash", "ttl": 0, "value": {"acme/*21": "on"}},
            {"key": "cordboard:facts", "type": "stream", "ttl": 0, "value": [["2-0", {"a": "b"}], ["1-0", {"a": "b"}]]},
        ]
        with pytest.raises(redis_keys.KeysError):
            redis_keys.load(redis, json.dumps(forged).encode())
        assert not redis.keys()

    def test_what_is_not_ours_is_never_written(self, redis_url: str) -> None:
        redis = connect(redis_url, name="test")
        redis.flushall()
        forged = [{"key": "rq:job:1", "type": "string", "ttl": 0, "value": "x"}]
        with pytest.raises(redis_keys.KeysError):
            redis_keys.load(redis, json.dumps(forged).encode())
        assert not redis.keys()


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


def archive(path: Path, *parts: bytes) -> Path:
    path.write_bytes(gzip.compress(b"".join(parts) + b"\0" * 1024))
    return path


def whole(path: Path) -> Path:
    writer = Writer(path)
    writer.add_bytes("state/x", b"abc" * 1000)
    writer.finish(Manifest("1.0.0", "r0001", 1.5))
    return path


class TestAForgedArchive:
    @pytest.mark.parametrize(
        "part",
        [
            header("state/../../etc/passwd"),
            header("/etc/passwd"),
            header("state/.hidden"),
            header("state/x", tarfile.SYMTYPE, link="/etc/passwd"),
            header("state/x", tarfile.LNKTYPE, link="config/cordboard.yaml"),
            header("state/x", tarfile.CHRTYPE),
            header("state/x", tarfile.FIFOTYPE),
            header("state/x", tarfile.DIRTYPE),
            header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 2**40),
            header("pax", tarfile.XHDTYPE, 2**40),
            header("state/x", tarfile.GNUTYPE_SPARSE, 10),
            header("elsewhere/x"),
            b"no header".ljust(512, b"x"),
        ],
    )
    def test_is_refused_at_the_first_thing_that_cannot_be(self, tmp_path: Path, part: bytes) -> None:
        with pytest.raises(ArchiveError):
            verify(archive(tmp_path / "forged.tar.gz", part), 2**30)

    def test_that_would_fill_the_disk_is_not_unpacked(self, tmp_path: Path) -> None:
        bomb = archive(tmp_path / "bomb.tar.gz", header("state/x", size=64 * 2**20), b"\0" * 64 * 2**20)
        assert bomb.stat().st_size < 2**20
        with pytest.raises(ArchiveError, match="more than the 10 MB that are free"):
            verify(bomb, 10 * 2**20)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data[: len(data) // 2],
            lambda data: data[:-8],
            lambda data: gzip.compress(gzip.decompress(data).replace(b"abcabc", b"abcabd", 1)),
            lambda data: gzip.compress(gzip.decompress(data).partition(b"MANIFEST.json")[0] + b"\0" * 1024),
            lambda data: b"not a zip",
            lambda data: b"",
        ],
    )
    def test_or_a_damaged_one_is_no_backup(self, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        path = whole(tmp_path / "kept.tar.gz")
        verify(path, 2**30)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ArchiveError):
            verify(path, 2**30)

    def test_whose_manifest_is_forged_is_refused(self, tmp_path: Path) -> None:
        told = {"cordboard": 1, "release": "1", "schema": "r", "at": 1.0, "notes": {}, "left_out": {}}
        told["files"] = {"../x": {"size": 0, "sha256": "0" * 64, "mode": 0o777}}
        data = json.dumps(told).encode()
        part = header("MANIFEST.json", size=len(data)) + data.ljust(-(-len(data) // 512) * 512, b"\0")
        with pytest.raises(ArchiveError, match="not one of ours"):
            verify(archive(tmp_path / "forged.tar.gz", part), 2**30)

    def test_any_tar_reads_a_good_one(self, tmp_path: Path) -> None:
        with tarfile.open(whole(tmp_path / "kept.tar.gz")) as opened:
            assert opened.getnames() == ["state/x", "MANIFEST.json"]

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("at", lambda told: told.update(at="yesterday")),
            ("at", lambda told: told.update(at=float("inf"))),
            ("left_out", lambda told: told.update(left_out=[1])),
            ("left_out", lambda told: told.update(left_out={"x": None})),
        ],
    )
    def test_whose_manifest_says_what_nobody_can_print_is_refused(
        self, tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None]
    ) -> None:
        told: dict[str, Any] = {"cordboard": 1, "release": "1", "schema": "r", "at": 1.0, "notes": {}, "left_out": {}}
        told["files"] = {}
        change(told)
        data = json.dumps(told).encode()
        part = header("MANIFEST.json", size=len(data)) + data.ljust(-(-len(data) // 512) * 512, b"\0")
        with pytest.raises(ArchiveError):
            verify(archive(tmp_path / "forged.tar.gz", part), 2**30)

    def test_that_goes_on_behind_its_end_is_refused_however_late(self, tmp_path: Path) -> None:
        path = whole(tmp_path / "kept.tar.gz")
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0" * 2**20 + b"more"))
        with pytest.raises(ArchiveError, match="behind its end"):
            verify(path, 2**30)

    @pytest.mark.parametrize("name", ["state/journal.db-wal", "state/lock", "state/requests/0123456789abcdef.request"])
    def test_with_what_only_a_running_server_has_makes_nothing(self, tmp_path: Path, name: str) -> None:
        writer = Writer(tmp_path / "forged.tar.gz")
        writer.add_bytes(name, b"{}")
        writer.finish(Manifest("1.0.0", "r0001", 1.5))
        with pytest.raises(ArchiveError, match="is nothing that a backup has"):
            restore(tmp_path / "forged.tar.gz", tmp_path / "there", None)
        assert [path.name for path in tmp_path.iterdir()] == ["forged.tar.gz"]

    def test_a_name_that_no_reader_of_ours_would_take_is_never_written(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path / "kept.tar.gz")
        short, long = "routing/sounds/acme/" + "ночь " * 10 + ".wav", "routing/" + "x" * 150
        writer.add_bytes(short, b"abc")
        with pytest.raises(ArchiveError):
            writer.add_bytes(long, b"abc")
        writer.finish(Manifest("1.0.0", "r0001", 1.5))
        assert set(verify(tmp_path / "kept.tar.gz", 2**30).files) == {short}

    def test_nothing_is_left_of_a_backup_that_failed(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path / "kept.tar.gz")
        with pytest.raises(ArchiveError):
            writer.add("../x", io.BytesIO(b""), 0)
        writer.give_up()
        assert os.listdir(tmp_path) == []
