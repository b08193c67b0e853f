"""Facts on their way from a process that may be killed, over a disk that may be full, into a Redis that may be
away: none lost, none twice.  The chaos is done to real processes; what must be exact is done to a made-up disk."""

from __future__ import annotations

import errno
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis

from callcontrol import facts as facts_module
from callcontrol.embedded import EmbeddedRedis
from callcontrol.facts import MOST_BYTES, MOST_KEPT, FactFile, Shipper, read_facts, ship_dead
from callcontrol.switchboard import OFFSETS, STREAM, Shipped, Switchboard

Fact = dict[str, Any]
Logs = list[MutableMapping[str, Any]]


def fact(n: int, type_: str = "step.entered", call: str | None = "call-0001", **more: Any) -> Fact:
    return {
        "v": 1,
        "type": type_,
        "company": "acme",
        "call": call,
        "epoch": 1,
        "n": n,
        "at": 1795304552.123,
        "switch": "switch1",
        "data": {"step": "main/menu"},
        **more,
    }


def lines(path: Path) -> list[Fact]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def stream(board: Switchboard) -> list[Fact]:
    return [json.loads(fields[b"fact"]) for _, fields in board._redis.xrange(STREAM)]


def numbers(found: list[Fact]) -> list[int]:
    return [one["n"] for one in found]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FactFile]:
    file = FactFile(tmp_path, "p1")
    yield file
    file.close()


class Disk:
    """A disk with room for ``room`` bytes, in place of ``os.write``; None: as much as one likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.writes = 0
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        self.writes += 1
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(self.error, os.strerror(self.error))
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# ------------------------------------------------------------------------------------------------- writing


def test_a_batch_is_one_write_of_one_line_per_fact(file: FactFile, disk: Disk) -> None:
    file.write([fact(1), fact(2, data={"text": "Привет\n\u2028"}), fact(3)])
    assert disk.writes == 1
    assert lines(file.paths[0]) == [fact(1), fact(2, data={"text": "Привет\n\u2028"}), fact(3)]
    assert file.paths[0].read_bytes().count(b"\n") == 3
    assert "Привет".encode() in file.paths[0].read_bytes()


def test_a_fact_of_the_process_itself_names_the_process(file: FactFile) -> None:
    file.tell("process.started", {"calls": 0})
    file.tell("process.drained", {}, company="acme")
    file.write([fact(7, call=None)])
    first, second, third = lines(file.paths[0])
    assert (first["call"], first["epoch"], first["n"], first["p"]) == (None, 0, 1, "p1")
    assert (second["n"], second["company"]) == (2, "acme")
    assert third["p"] == "p1"


@pytest.mark.parametrize(
    "data",
    [
        {"text": "x" * MOST_BYTES},
        {"text": object()},
        {"number": float("nan")},
        {("a", "tuple"): 1},
    ],
    ids=["too long", "no JSON", "not a number", "no text for a key"],
)
def test_a_fact_that_cannot_be_written_is_written_without_its_data(file: FactFile, logs: Logs, data: Any) -> None:
    file.write([fact(1), fact(2, data=data), fact(3)])
    before, odd, after = lines(file.paths[0])
    assert (before, after) == (fact(1), fact(3))
    assert odd == fact(2, data={"unwritten": odd["data"]["unwritten"]})
    assert [line["log_level"] for line in logs] == ["error"]


def test_half_a_character_is_written_as_a_question_mark(file: FactFile) -> None:
    file.write([fact(1, data={"name": "Bob\ud800"})])
    assert lines(file.paths[0]) == [fact(1, data={"name": "Bob?"})]


def test_a_fact_of_exactly_the_greatest_length_is_written_whole(file: FactFile) -> None:
    bare = len(json.dumps(fact(1, data={"t": ""}), separators=(",", ":"))) + 1
    whole = fact(1, data={"t": "x" * (MOST_BYTES - bare)})
    file.write([whole, fact(2, data={"t": "x" * (MOST_BYTES - bare + 1)})])
    first, second = lines(file.paths[0])
    assert first == whole
    assert second["data"] == {"unwritten": "too long"}


def test_a_full_file_is_followed_by_the_next_and_all_are_shipped(tmp_path: Path, board: Switchboard) -> None:
    file = FactFile(tmp_path, "p1", rotate_at=1000)
    shipper = Shipper(tmp_path, file, board)
    shipper.start()
    for n in range(30):
        file.write([fact(n)])
    assert [path.name for path in file.paths[:3]] == ["p1.facts", "p1.2.facts", "p1.3.facts"]
    assert all(1000 <= path.stat().st_size < 1300 for path in file.paths[:-1])
    shipper.stop(10)
    file.close()
    assert numbers(list(read_facts(tmp_path))) == list(range(30))
    assert numbers(stream(board)) == list(range(30))


def test_a_name_is_never_used_again(tmp_path: Path, board: Switchboard) -> None:
    for n in (1, 2):
        file = FactFile(tmp_path, "p1")
        file.write([fact(n)])
        file.close()
    assert ship_dead(tmp_path, board)
    FactFile(tmp_path, "p1").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "p1.2.facts.shipped",
        "p1.3.facts",
        "p1.facts.shipped",
    ]


def test_syncs_are_few_and_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(threading.get_ident()))
    begin = time.monotonic()
    file = FactFile(tmp_path, "p1", sync_every=0.05)
    for n in range(500):
        file.write([fact(n)])
        gevent.sleep(0.0002)
    seconds = time.monotonic() - begin
    assert 2 <= len(synced) <= seconds / 0.05 + 1
    assert threading.get_ident() not in synced
    file.close()
    idle = FactFile(tmp_path, "p2")
    synced.clear()
    gevent.sleep(0.11)
    assert not synced
    idle.close()


# --------------------------------------------------------------------------------------------- a full disk


def test_a_full_disk_loses_nothing_and_tears_nothing(file: FactFile, disk: Disk, logs: Logs) -> None:
    for n in range(100):
        if n == 10:
            disk.room = 777  # ends in the middle of a line
        if n == 50:
            disk.room = 333
        file.write([fact(n)])
    disk.room = None
    file.close()
    assert lines(file.paths[0]) == [fact(n) for n in range(100)]
    assert file.failed_writes > 0
    assert file.lost == 0
    assert [line["event"] for line in logs] == [
        "facts cannot be written: keeping them in memory",
        "facts are written again",
    ]


def test_a_write_that_was_cut_short_by_nothing_lasting_is_finished_at_once(
    file: FactFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, cuts = os.write, [50]
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: cuts.pop() if cuts else len(data)]))
    file.write([fact(1), fact(2)])
    assert lines(file.paths[0]) == [fact(1), fact(2)]


def test_what_was_kept_is_written_when_there_is_room_though_no_call_writes(file: FactFile, disk: Disk) -> None:
    written = gevent.event.Event()
    disk.room, disk.error = 0, errno.EIO
    file.write([fact(1), fact(2)])
    file.on_write = written.set
    disk.room = None
    assert written.wait(5)
    assert lines(file.paths[0]) == [fact(1), fact(2)]


def test_memory_for_what_is_kept_is_bounded_and_the_loss_is_a_fact(file: FactFile, disk: Disk) -> None:
    disk.room = 0
    file.write([fact(n) for n in range(MOST_KEPT - 1)])
    file.write([fact(n) for n in range(MOST_KEPT - 1, MOST_KEPT + 5)])
    disk.room = None
    file.close()
    found = lines(file.paths[0])
    assert numbers(found[:-1]) == list(range(MOST_KEPT))
    assert (found[-1]["type"], found[-1]["data"]) == ("facts.lost", {"count": 5})
    assert file.lost == 5


def test_a_full_disk_is_logged_once_a_minute_at_most(
    file: FactFile, disk: Disk, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(180):
        disk.room = 0
        file.write([fact(1)])
        now[0] += 0.5
        disk.room = None
        file.write([fact(2)])  # and it recovers each time
        now[0] += 0.5
    assert [line["log_level"] for line in logs] == ["error", "warning"] * 3


def test_a_torn_fact_is_finished_in_the_file_where_it_began(tmp_path: Path, disk: Disk) -> None:
    size = len(json.dumps(fact(0), separators=(",", ":"))) + 1
    file = FactFile(tmp_path, "p1", rotate_at=2 * size + 10)
    disk.room = 2 * size + 50
    for n in range(3):
        file.write([fact(n)])
    disk.room = None
    file.close()
    assert [numbers(lines(path)) for path in file.paths] == [[0, 1, 2], []]


FULL_DISK = """
    import pathlib, sys
    import structlog
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    from callcontrol.facts import FactFile
    directory, how = pathlib.Path(sys.argv[1]), sys.argv[2]
    if how == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    else:
        (directory / "ballast").write_bytes(bytes(400_000))
    file = FactFile(directory, "p1")
    fact = lambda n: {"v": 1, "type": "t", "company": None, "call": "c", "epoch": 1, "n": n, "at": 1.0,
                      "switch": None, "data": {"text": "x" * 200}}
    for n in range(0, 1000, 4):
        file.write([fact(n), fact(n + 1), fact(n + 2), fact(n + 3)])
    assert file.failed_writes, "the disk was never full"
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        (directory / "ballast").unlink()
    file.close()
    print(file.paths[0].read_text(), end="")
"""


@pytest.mark.parametrize("how", ["limit", "disk"])
def test_a_really_full_disk_loses_nothing_either(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path), how]
    if how == "disk":  # a file system of 512 kB that is gone with the process
        mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=512k cordboard "$0" && exec "$@"']
        trial = [*mount, str(tmp_path), "true"]
        if not shutil.which("unshare") or subprocess.run(trial, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small file system")
        command = [*mount, str(tmp_path), *command]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert numbers([json.loads(line) for line in done.stdout.split(b"\n") if line]) == list(range(1000))


# -------------------------------------------------------------------------------------------- being killed

#: Writes numbered facts until it is killed; each number goes to stdout once ``write`` has returned.  argv:
#: directory, process, seconds between writes, the Redis to ship to (or nothing), the number of facts (or 0).
WRITER = """
    import gevent.monkey
    gevent.monkey.patch_all()
    import itertools, os, pathlib, sys, time
    import gevent
    import structlog
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    from callcontrol.facts import FactFile, Shipper
    from callcontrol.switchboard import Switchboard
    directory, process, pause, url, most = sys.argv[1:]
    file = FactFile(pathlib.Path(directory), process)
    if url:
        Shipper(pathlib.Path(directory), file, Switchboard(url, name=process)).start()
    for n in itertools.count():
        file.write([{"v": 1, "type": "step.entered", "company": "acme", "call": process, "epoch": 1, "n": n,
                     "at": time.time(), "switch": "switch1", "data": {"text": "x" * (n % 100)}}])
        os.write(1, b"%d\\n" % n)
        if n + 1 == int(most):
            gevent.sleep(3600)
        if float(pause):
            gevent.sleep(float(pause))
"""

#: Ships the files of the dead, again and again, until it is killed.
UNDERTAKER = """
    import pathlib, sys
    from callcontrol.facts import ship_dead
    from callcontrol.switchboard import Switchboard
    board = Switchboard(sys.argv[2], name="undertaker")
    print("begins", flush=True)
    while not ship_dead(pathlib.Path(sys.argv[1]), board):
        pass
    print("done", flush=True)
"""


class Process:
    """A Python process whose lines we read."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said = b""

    def read_until(self, enough: Callable[[bytes], bool], timeout: float = 30) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while not enough(self.said):
            ready, _, _ = select.select([fd], [], [], timeout)
            chunk = os.read(fd, 65536) if ready else b""
            if not chunk:
                raise AssertionError(f"it said only {self.said[-200:]!r}")
            self.said += chunk

    def kill(self) -> None:
        """Kill it, and read what it had said until then."""
        self.process.send_signal(signal.SIGKILL)
        rest, self.errors = self.process.communicate(timeout=30)
        self.said += rest

    @property
    def whole_lines(self) -> list[bytes]:
        return self.said.split(b"\n")[:-1]


def more_than(count: int, what: bytes = b"\n") -> Callable[[bytes], bool]:
    return lambda said: said.count(what) > count


def test_a_killed_process_loses_nothing_that_it_was_told_is_written(tmp_path: Path) -> None:
    for round_ in range(5):
        writer = Process(WRITER, str(tmp_path), f"p{round_}", "0", "", "0")
        least = random.randrange(1, 20_000)
        writer.read_until(more_than(least, b""))
        writer.kill()
        told = [int(line) for line in writer.whole_lines]
        found = []
        for line in (tmp_path / f"p{round_}.facts").read_bytes().split(b"\n")[:-1]:
            found.append(json.loads(line)["n"])
        assert found[: len(told)] == told
        assert len(found) <= len(told) + 1  # the one that was written when the kill came


def test_each_fact_is_in_the_stream_once_though_everybody_who_ships_is_killed(
    tmp_path: Path, board: Switchboard, redis_url: str
) -> None:
    dice = random.Random(2)
    for round_ in range(6):
        writer = Process(WRITER, str(tmp_path), f"p{round_}", "0.0005", redis_url, "0")
        writer.read_until(more_than(400))
        # Killed by what is in Redis, not by the clock: in the middle of its shipping.
        board._redis.xread({STREAM: "$"}, block=5000)
        time.sleep(dice.random() * 0.02)  # anywhere in the next rounds
        writer.kill()
        undertaker = Process(UNDERTAKER, str(tmp_path), redis_url)
        undertaker.read_until(lambda said: b"begins" in said)
        time.sleep(dice.random() * 0.01)
        undertaker.kill()
    assert ship_dead(tmp_path, board)
    for round_ in range(6):
        [path] = tmp_path.glob(f"p{round_}.facts*")
        assert path.name.endswith(".shipped")
        assert [f for f in stream(board) if f["call"] == f"p{round_}"] == lines(path)


class Unlucky(Switchboard):
    """A way to Redis on which a good part of the questions, and of the answers, get lost."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(url, name="unlucky")
        self.dice = random.Random(seed)
        self.lost_answers = 0

    def ship(self, file: str, start: int, end: int, lines: bytes) -> Shipped | None:
        if self.dice.random() < 0.3:
            return None
        shipped = super().ship(file, start, end, lines)
        if self.dice.random() < 0.3:
            self.lost_answers += 1
            return None
        return shipped


@pytest.mark.parametrize("seed", range(5))
def test_lost_questions_and_lost_answers_lose_and_repeat_nothing(
    tmp_path: Path, board: Switchboard, redis_url: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(facts_module, "BACKOFF_LOW", 0.001)
    monkeypatch.setattr(facts_module, "BACKOFF_HIGH", 0.001)
    monkeypatch.setattr(facts_module, "SHIP_EVERY", 0.001)
    monkeypatch.setattr(facts_module, "BATCH_BYTES", 3000)
    file = FactFile(tmp_path, "p1", rotate_at=20_000)
    unlucky = Unlucky(redis_url, seed)
    shipper = Shipper(tmp_path, file, unlucky)
    shipper.start()
    for n in range(500):
        file.write([fact(n)])
        if n % 10 == 0:
            gevent.sleep(0)
    shipper.stop(0.2)
    file.close()
    while not ship_dead(tmp_path, unlucky):
        pass
    assert unlucky.lost_answers
    assert numbers(stream(board)) == list(range(500))
    unlucky.close()


def test_redis_may_go_away_be_killed_and_come_back(tmp_path: Path, own_redis: EmbeddedRedis) -> None:
    directory = tmp_path / "facts"
    writer = Process(WRITER, str(directory), "p1", "0.001", own_redis.url, "3000")
    for at in (500, 1200, 1900):
        writer.read_until(more_than(at))
        own_redis.kill()
        writer.read_until(more_than(at + 300))
        own_redis.start()
    writer.read_until(more_than(2999))
    client = redis.Redis.from_url(own_redis.url, socket_timeout=20, protocol=2)
    last: bytes | str = "0"
    found: list[Fact] = []
    while not found or found[-1]["n"] != 2999:
        answer: Any = client.xread({STREAM: last}, block=15_000)
        assert answer, "the shipper did not come back"
        [(_, entries)] = answer
        found += [json.loads(fields[b"fact"]) for _, fields in entries]
        last = entries[-1][0]
    client.close()
    writer.kill()
    assert numbers(found) == list(range(3000))
    log = writer.errors.decode()
    assert 1 <= log.count("Redis is away") <= 3
    assert log.count("Redis is back") == log.count("Redis is away")


def test_a_redis_that_lost_what_it_had_gets_it_again(tmp_path: Path, board: Switchboard) -> None:
    dead = FactFile(tmp_path, "p1")
    dead.write([fact(1), fact(2)])
    dead.close()
    file = FactFile(tmp_path, "p2")
    file.write([fact(3)])
    shipper = Shipper(tmp_path, file, board)
    shipper.start()
    while shipper_is_behind(board, 3):
        gevent.sleep(0.001)
    board._redis.delete(STREAM, OFFSETS)
    file.write([fact(4)])
    shipper.stop(10)
    assert numbers(stream(board)) == [3, 4]
    assert ship_dead(tmp_path, board)
    assert sorted(numbers(stream(board))) == [1, 2, 3, 4]
    file.close()


def shipper_is_behind(board: Switchboard, count: int) -> bool:
    return int(board._redis.xlen(STREAM)) < count


# ----------------------------------------------------------------------------------------------- the dead


def test_the_file_of_a_living_process_is_left_alone(file: FactFile, tmp_path: Path, board: Switchboard) -> None:
    file.write([fact(1)])
    assert ship_dead(tmp_path, board)
    assert stream(board) == []
    assert file.paths[0].exists()


def test_a_dead_file_is_shipped_while_redis_is_there_and_says_so(tmp_path: Path, board: Switchboard) -> None:
    file = FactFile(tmp_path, "p1")
    file.write([fact(1)])
    file.close()
    away = Switchboard("redis://127.0.0.1:1/0", name="away")
    assert not ship_dead(tmp_path, away)
    assert file.paths[0].exists()
    assert ship_dead(tmp_path, board)
    assert not file.paths[0].exists()
    assert ship_dead(tmp_path, board)
    assert numbers(stream(board)) == [1]


def test_a_living_process_ships_what_the_dead_left(tmp_path: Path, board: Switchboard) -> None:
    dead = FactFile(tmp_path, "p1")
    dead.write([fact(1)])
    dead.close()
    file = FactFile(tmp_path, "p2")
    shipper = Shipper(tmp_path, file, board)
    shipper.start()
    gevent.sleep(0)
    shipper.stop(10)
    file.close()
    assert numbers(stream(board)) == [1]


def test_a_piece_of_a_fact_is_dropped_and_a_fact_without_its_end_of_line_is_not(
    tmp_path: Path, board: Switchboard, logs: Logs
) -> None:
    whole = json.dumps(fact(1)).encode() + b"\n"
    (tmp_path / "p1.facts").write_bytes(whole + whole[:50])
    (tmp_path / "p2.facts").write_bytes(whole + json.dumps(fact(2)).encode())
    assert ship_dead(tmp_path, board)
    assert numbers(stream(board)) == [1, 1, 2]
    assert [(line["event"], line["file"]) for line in logs] == [
        ("dropped the piece of a fact that a killed process left", "p1.facts")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p1.facts.shipped", "p2.facts.shipped"]


def test_lines_that_are_no_facts_are_left_out_and_logged(tmp_path: Path, board: Switchboard, logs: Logs) -> None:
    good = json.dumps(fact(1)).encode()
    bad = b"\0" * 3000 + b"\n" + b"x" * (facts_module.BATCH_BYTES + 5000)
    (tmp_path / "p1.facts").write_bytes(good + b"\n" + bad + b"\n" + good + b"\n")
    assert ship_dead(tmp_path, board)
    assert numbers(stream(board)) == [1, 1]
    assert sum(line.get("facts", 0) for line in logs) >= 2


def test_stopping_does_not_wait_for_a_redis_that_is_away(tmp_path: Path, file: FactFile) -> None:
    shipper = Shipper(tmp_path, file, Switchboard("redis://127.0.0.1:1/0", name="away"))
    shipper.start()
    file.write([fact(1)])
    gevent.sleep(0)
    begin = time.monotonic()
    shipper.stop(60)
    assert time.monotonic() - begin < 5


def test_facts_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    for process, times in (("p1", (3.0, 1.0)), ("p2", (2.0, 2.0))):
        file = FactFile(tmp_path, process)
        file.write([fact(n, at=at) for n, at in enumerate(times)])
        file.close()
    (tmp_path / "p1.facts").rename(tmp_path / "p1.facts.shipped")
    (tmp_path / "notes.txt").write_text("not a fact")
    assert [(one["at"], one["n"]) for one in read_facts(tmp_path)] == [(1.0, 1), (2.0, 0), (2.0, 1), (3.0, 0)]
