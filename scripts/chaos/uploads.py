"""Chaos of uploads: workers killed at random moments, a store that fails every third time, a Redis that restarts.

Real RQ workers drain a spool through :mod:`scripts.chaos.faulty` into a real store (rclone).  Recordings appear while
they do.  Afterwards every recording is in the store byte for byte, each was told of once, and each local file was still
there when a whole and true copy of it had been read: the proxy, which sees every answer, is the witness.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import redis
from sqlalchemy import func
from sqlalchemy import select as sql_select

from callcontrol.embedded import EmbeddedRedis
from callcontrol.private import SettingsError
from callcontrol.spool import SpoolFile, segment_file
from callcontrol.supervisor import die_with_parent
from scripts.chaos.faulty import FAULTS, LIES, Faulty
from workers import bell
from workers.context import Context, current
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.tables import Call, Fact, Segment
from workers.recordings import jobs
from workers.recordings.local_store import LocalStore
from workers.recordings.store import Patience, Store
from workers.recordings.uploading import Pace, Uploader

QUEUE = "recordings-switch1"
#: The store's answers as everybody's, only sooner.
PATIENCE = Patience(connect=1.0, read=0.5)
PACE = Pace(quiet=0.0, pause=0.05, longest_pause=0.5, failed=3600.0)
#: So long does a worker live at most once it works; seconds.
LONGEST_LIFE = 1.5


@dataclass(slots=True)
class Outcome:
    """What came of it; ``wrong`` is empty if all that must hold held."""

    recordings: int
    kills: int
    seconds: float
    faults: Counter[str]
    requests: int
    #: Kills of a worker that had a recording in its hands: a manifest of it lay there.
    in_hand: int
    wrong: list[str]

    def text(self) -> str:
        """For people."""
        share = sum(self.faults.values()) / max(1, self.requests)
        lines = [
            f"uploads: {self.recordings} recordings, {self.kills} kills -9 ({self.in_hand} with a recording in hand), "
            f"one restart of Redis, {self.seconds:.0f} s",
            f"  the store was asked {self.requests} times and failed {share:.0%}: "
            + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())),
        ]
        if self.wrong:
            return "\n".join([*lines, *(f"  ✗ {one}" for one in self.wrong)])
        held = ["every recording is in the store, byte for byte", "each was told of exactly once"]
        held += ["each local file went after a whole copy of it had been read from the store", "nothing is left behind"]
        return "\n".join([*lines, *(f"  ✓ {one}" for one in held)])


class Workers:
    """The workers' parent: it has loaded everything, so that one more worker costs a fork.  A context manager."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.chaos.uploads", "--workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            process_group=0,
            preexec_fn=die_with_parent,
        )

    def another(self) -> int:
        """One more worker; its process."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise OSError("the workers have no pipes")
        stdin.write(b"\n")
        stdin.flush()
        if not select.select([stdout], [], [], 60)[0]:
            raise TimeoutError("no worker began")
        return int(stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def play(
    directory: Path, *, kills: int, seed: int, share: float = 0.3, at_once: int = 2, limit: float = 600.0
) -> Outcome:
    """Make recordings, kill workers, and look at what is there.  Raises what keeps it from beginning."""
    chance = random.Random(seed)
    spool = directory / "spool"
    spool.mkdir()
    original: dict[str, bytes] = {}
    faults: Counter[str] = Counter()
    with LocalStore(directory / "store") as store, EmbeddedRedis(directory / "redis") as server:

        def choose(method: str, key: str) -> str:
            if method == "DELETE" or chance.random() >= share:
                return ""
            fault: str = chance.choice([*FAULTS, *(LIES if method == "PUT" else ())])
            faults[fault] += 1
            return fault

        with Faulty(store, choose, slow=0.8, watch=lambda key: (spool / key.rpartition("/")[2]).exists()) as proxy:
            context = _settings(directory, store, proxy, server.url)
            began = time.monotonic()
            with Workers(context) as workers:
                killed, in_hand = _reap(workers, server, spool, original, Database(context["CORDBOARD_DATABASE"]),
                                        chance, kills, at_once, began + limit)  # fmt: skip
            wrong = _judge(Database(context["CORDBOARD_DATABASE"]), store, proxy, spool, original)
            return Outcome(len(original), killed, time.monotonic() - began, faults, len(proxy.log), in_hand, wrong)


def _settings(directory: Path, store: LocalStore, proxy: Faulty, redis_url: str) -> dict[str, str]:
    (directory / "esl.password").write_text("secret")
    (directory / "esl.password").chmod(0o600)
    through = store.yaml().replace(store.endpoint, proxy.endpoint)
    switches = "switches:\n  - {name: switch1, password_file: esl.password}\n"
    (directory / "cordboard.yaml").write_text(switches + through)
    url = f"sqlite:///{directory / 'journal.db'}"
    database = Database(url)
    migrate(database)
    database.close()
    return {
        "CORDBOARD_CONFIG": str(directory / "cordboard.yaml"),
        "CORDBOARD_REDIS": redis_url,
        "CORDBOARD_DATABASE": url,
        "CORDBOARD_STATE": str(directory / "state"),
        "CORDBOARD_SPOOL": str(directory / "spool"),
    }


def _reap(
    workers: Workers,
    server: EmbeddedRedis,
    spool: Path,
    original: dict[str, bytes],
    database: Database,
    chance: random.Random,
    kills: int,
    at_once: int,
    until: float,
) -> tuple[int, int]:
    """Kill workers until there were enough kills, then let them finish; how many kills, and with what in hand."""
    client = redis.Redis.from_url(server.url, socket_timeout=1)

    def new() -> _Life:
        # Of those that are seen to work the life begins then; every fifth may die while it only begins.
        return _Life(workers.another(), time.monotonic(), LONGEST_LIFE * chance.random(), chance.random() < 0.2)

    alive = [new() for _ in range(at_once)]
    killed, in_hand, restarted = 0, 0, False
    while time.monotonic() < until:
        bell.ring(client, QUEUE)  # as the sweeper does
        if killed < kills and len(list(spool.glob("*.wav"))) < 8:
            _record(spool, original, database, chance)
        if killed >= kills and not list(spool.iterdir()):
            break
        for at, life in enumerate(alive):
            if killed < kills and life.is_over(spool.parent):
                in_hand += bool(list(spool.glob("*.json")))
                os.kill(life.pid, signal.SIGKILL)
                killed += 1
                alive[at] = new()
        if not restarted and killed >= kills // 2:
            server.kill()
            server.start()
            restarted = True
        time.sleep(0.005)
    for life in alive:
        os.kill(life.pid, signal.SIGKILL)
    client.close()
    return killed, in_hand


@dataclass(slots=True)
class _Life:
    """A worker's: ``length`` in seconds, from its first job, or (``early``) from its birth."""

    pid: int
    since: float
    length: float
    early: bool

    def is_over(self, place: Path) -> bool:
        now = time.monotonic()
        if not self.early and _sign(place, self.pid).exists():
            self.since, self.early = now, True
        return now > self.since + (self.length if self.early else 5.0)


def _sign(place: Path, pid: int) -> Path:
    """What a worker writes when it has its first job."""
    return place / f"{pid}.works"


def _record(spool: Path, original: dict[str, bytes], database: Database, chance: random.Random) -> SpoolFile:
    """A talk of a call that is over, whole at once, as far as anybody sees."""
    file = segment_file("acme", str(uuid.uuid4()), str(uuid.uuid4()), 1)
    data = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\2\0\x40\x1f\0\0\0\x7d\0\0\4\0\x10\0data\0\0\0\0"
    data += chance.randbytes(4 * chance.randrange(200, 20_000))
    original[file.name] = data
    with database.writing() as session:
        session.add(Call(id=file.call, company="acme", state="ended", began=time.time() - 60, ended_at=time.time()))
    unborn = spool.parent / "unborn"
    unborn.write_bytes(data)
    unborn.rename(spool / file.name)
    return file


def _judge(database: Database, store: LocalStore, proxy: Faulty, spool: Path, original: dict[str, bytes]) -> list[str]:
    """What does not hold that must."""
    wrong = [f"left in the spool: {path.name}" for path in spool.iterdir()]
    whole: set[str] = set()
    for line in proxy.asked("GET"):
        name = line.key.rpartition("/")[2]
        if not line.fault and line.there and line.body == original.get(name):
            whole.add(name)
    # What slow answers brought may have been read as well, if somebody had the patience; it is not counted.
    for name, data in original.items():
        company, call = name.split("_")[:2]
        path = store.data / company / call / name
        if not path.exists():
            wrong.append(f"not in the store: {name}")
        elif path.read_bytes() != data:
            wrong.append(f"altered in the store: {name}")
        if name not in whole:
            wrong.append(f"removed before a whole copy of it was read: {name}")
    with database.reading() as session:
        told = Counter(session.scalars(sql_select(Fact.call).where(Fact.type == "recording.available")))
        states = Counter(session.scalars(sql_select(Segment.state)))
        alarms = session.scalar(sql_select(func.count()).select_from(Segment).where(Segment.state == "failed"))
    calls = {name.split("_")[1] for name in original}
    wrong += [f"told {told[call]} times: {call}" for call in calls if told[call] != 1]
    if states != {"stored": len(original)} or alarms:
        wrong.append(f"segments: {dict(states)}")
    return wrong


# -------------------------------------------------------------------------------------------------- the workers


def workers_parent() -> int:
    """Fork a worker for each line on standard input, and print its process; all end with us."""
    context = current()
    if context.config.storage is None:
        raise SettingsError("no storage")
    Store(context.config.storage).close()  # what boto3 reads is read now
    parent = os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin.buffer.readline():
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.stdin.close()
            log = os.open(context.spool.parent / "workers.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                _work(context, parent)
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    return 0


def _work(context: Context, parent: int) -> None:
    """A worker of RQ, which goes on when Redis was away."""
    from rq import Queue, SimpleWorker
    from rq.serializers import JSONSerializer

    context.database.renew()
    if context.config.storage is None:
        raise SettingsError("no storage")
    store = Store(context.config.storage, PATIENCE)
    jobs.store_of = lambda context: store
    made = jobs.uploader

    def hasty(context: Context, switch: str, store: Store | None) -> Uploader:
        _sign(context.spool.parent, os.getpid()).touch()
        return dataclasses.replace(made(context, switch, store), pace=PACE)

    jobs.uploader = hasty
    while os.getppid() == parent:  # RQ takes the signal that our parent is dead for a wish to end a job in order
        try:
            client = redis.Redis.from_url(context.redis_url)
            queue = Queue(QUEUE, connection=client, serializer=JSONSerializer)
            SimpleWorker([queue], connection=client, serializer=JSONSerializer).work(
                burst=False, with_scheduler=False, logging_level="CRITICAL"
            )
        except (redis.RedisError, OSError):
            time.sleep(0.02)


def main(arguments: Sequence[str]) -> int:
    """``python -m scripts.chaos uploads``.  0: all held."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Kill workers while they upload.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--limit", type=float, default=400.0, help="seconds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(list(arguments))
    if given.workers:
        return workers_parent()
    with tempfile.TemporaryDirectory(prefix="cordboard-chaos-") as place:
        outcome = play(Path(place), kills=given.kills, seed=given.seed, limit=given.limit)
    print(outcome.text())
    print(f"  again: python -m scripts.chaos uploads --kills {given.kills} --seed {given.seed}")
    return 1 if outcome.wrong or outcome.kills < given.kills else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
