"""The bell of the workers: a ring is heard once, kept while nobody answers, and never in the way of who rings."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from callcontrol.embedded import EmbeddedRedis
from callcontrol.switchboard import Switchboard, connect
from workers import bell

_seen: list[str] = []


def look() -> None:
    """What a ring runs in these tests."""
    _seen.append("looked")


@pytest.fixture(autouse=True)
def _jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    _seen.clear()
    bell._away.clear()
    monkeypatch.setitem(bell.JOBS, "journal", "tests.test_bell.look")


@pytest.fixture
def redis(board: Switchboard) -> Any:
    return board._redis


def queue(redis: Any, name: str = "journal") -> Queue:
    return Queue(name, connection=redis, serializer=JSONSerializer)


class Worker(SimpleWorker):
    """RQ's, without the channel for orders, whose end takes a second."""

    def subscribe(self) -> None:
        """Nobody gives orders here."""

    def _install_signal_handlers(self) -> None:
        """Signals are for who runs the tests."""


def answer(redis: Any, name: str = "journal") -> int:
    """Answer all rings as RQ does; how many there were."""
    before = len(_seen)
    Worker([queue(redis, name)], connection=redis, serializer=JSONSerializer).work(burst=True)
    return len(_seen) - before


def test_a_ring_runs_the_job_of_its_queue_and_leaves_nothing_behind(redis: Any, redis_url: str) -> None:
    assert bell.ring(redis_url, "journal")
    assert answer(redis) == 1
    left = {key for key in redis.keys("rq:*") if b":worker" not in key}
    assert left <= {b"rq:queues", b"rq:clean_groups"}


def test_rings_that_nobody_has_answered_are_one(redis: Any, redis_url: str) -> None:
    assert [bell.ring(redis_url, "journal") for _ in range(5)] == [True] * 5
    assert answer(redis) == 1


def test_a_ring_while_the_job_runs_is_kept_for_afterwards(
    redis: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rung_at_work() -> None:
        _seen.append("looked")
        if len(_seen) == 1:
            bell.ring(redis_url, "journal")

    monkeypatch.setattr("tests.test_bell.look", rung_at_work)
    bell.ring(redis_url, "journal")
    assert answer(redis) == 2


def test_one_who_took_a_ring_and_died_is_in_nobodys_way(redis: Any, redis_url: str) -> None:
    bell.ring(redis_url, "journal")
    assert Queue.dequeue_any([queue(redis)], None, connection=redis, serializer=JSONSerializer) is not None
    bell.ring(redis_url, "journal")
    assert answer(redis) == 1


def test_every_switch_has_a_bell_of_its_own(redis: Any, redis_url: str) -> None:
    bell.ring(redis_url, "recordings-switch1")
    bell.ring(redis_url, "recordings-switch-2")
    (job,) = queue(redis, "recordings-switch1").jobs
    assert (job.func_name, job.args, job.timeout) == (bell.JOBS["recordings"], [], bell.LONGEST["recordings"])
    assert len(queue(redis, "recordings-switch-2")) == 1


@pytest.mark.parametrize("name", ["recordings", "journal-1", "os", ""])
def test_there_is_no_bell_for_what_is_no_queue(redis_url: str, name: str) -> None:
    with pytest.raises(ValueError, match="no queue of the workers"):
        bell.ring(redis_url, name)


def test_while_redis_is_away_a_ring_is_refused_soon_and_said_once(
    tmp_path: Path, logs: list[MutableMapping[str, Any]]
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        client = connect(server.url, name="test")
        assert bell.ring(client, "journal")
        server.kill()
        began = time.monotonic()
        assert [bell.ring(client, "journal"), bell.ring(client, "journal")] == [False, False]
        assert time.monotonic() - began < 5
        assert len([line for line in logs if "cannot be rung" in line["event"]]) == 1
        server.start()
        assert bell.ring(client, "journal")
