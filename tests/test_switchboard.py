"""What is kept in Redis: one end per call, who lives, leases; and what becomes of it while Redis is away."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from callcontrol.embedded import EmbeddedRedis, EmbeddedRedisError
from callcontrol.switchboard import CLAIM_SECONDS, ENDED_SECONDS, OFFSETS, STREAM, Shipped, Switchboard

Logs = list[MutableMapping[str, Any]]


class Writer:
    """A file that ships what it is given."""

    def __init__(self, board: Switchboard, name: str) -> None:
        self.board = board
        self.name = name
        self.offset = 0

    def ship(self, *facts: dict[str, Any]) -> Shipped:
        data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in facts)
        shipped = self.board.ship(self.name, self.offset, self.offset + len(data), data)
        assert shipped is not None
        self.offset = shipped.offset
        return shipped


def fact(type_: str, n: int, call: str = "call-0001", epoch: int = 1, **more: Any) -> dict[str, Any]:
    data = {"v": 1, "type": type_, "company": "acme", "call": call, "epoch": epoch, "n": n, "at": 5.5}
    return {**data, "switch": "switch1", "data": {}, **more}


def told(board: Switchboard) -> list[tuple[str, int]]:
    found = [json.loads(fields[b"fact"]) for _, fields in board._redis.xrange(STREAM)]
    return [(one["type"], one["n"]) for one in found]


@pytest.fixture
def one(board: Switchboard) -> Writer:
    return Writer(board, "one.facts")


@pytest.fixture
def two(board: Switchboard) -> Writer:
    return Writer(board, "two.facts")


# ----------------------------------------------------------------------------------------- one end per call


def test_of_two_ends_of_one_call_the_first_is_told(board: Switchboard, one: Writer, two: Writer) -> None:
    one.ship(fact("call.ended", 9))
    assert two.ship(fact("step.entered", 3), fact("call.ended", 4), fact("step.entered", 5)).repeats == 1
    assert told(board) == [("call.ended", 9), ("step.entered", 3), ("step.entered", 5)]
    assert board.repeats == 1


def test_of_two_ends_with_one_identity_one_is_told_too(board: Switchboard, one: Writer, two: Writer) -> None:
    assert one.ship(fact("call.ended", -1)).repeats == 0
    assert two.ship(fact("call.ended", -1)).repeats == 1
    assert told(board) == [("call.ended", -1)]


def test_the_end_that_was_claimed_is_told(board: Switchboard, one: Writer) -> None:
    assert board.claim_end("call-0001", "1:-1") is True
    one.ship(fact("call.ended", -1))
    assert told(board) == [("call.ended", -1)]


def test_an_end_is_told_although_somebody_else_claimed_it_and_died(board: Switchboard, two: Writer) -> None:
    assert board.claim_end("call-0001", "1:-1") is True
    two.ship(fact("call.ended", 7))
    assert told(board) == [("call.ended", 7)]


def test_what_goes_with_an_end_is_left_out_with_it(board: Switchboard, one: Writer, two: Writer) -> None:
    epilogue = [fact("talk.ended", -3), fact("message.recorded", -2), fact("call.ended", -1)]
    one.ship(*epilogue)
    assert two.ship(*epilogue).repeats == 3
    assert told(board) == [("talk.ended", -3), ("message.recorded", -2), ("call.ended", -1)]


def test_what_is_told_on_behalf_of_a_call_comes_too_late_after_its_end(
    board: Switchboard, one: Writer, two: Writer
) -> None:
    one.ship(fact("call.ended", 12))
    assert two.ship(fact("talk.ended", -2), fact("call.ended", -1)).repeats == 2
    assert told(board) == [("call.ended", 12)]


def test_an_epilogue_that_its_teller_never_finished_keeps_nobody_from_telling_the_end(
    board: Switchboard, one: Writer, two: Writer
) -> None:
    one.ship(fact("talk.ended", -2))  # and it was killed
    two.ship(fact("talk.ended", -2), fact("call.ended", -1))
    assert told(board) == [("talk.ended", -2), ("call.ended", -1)]
    assert one.ship(fact("call.ended", -1)).repeats == 1


@pytest.mark.parametrize("seed", range(20))
def test_however_batches_of_several_tellers_mix_each_call_has_one_end(board: Switchboard, seed: int) -> None:
    dice = random.Random(seed)
    writers = [Writer(board, f"{i}.facts") for i in range(3)]
    queues = [
        [
            one
            for call in range(10)
            for one in (
                fact("talk.ended", -2, f"call-{call:04}"),
                fact("call.ended", -1, f"call-{call:04}"),
            )
        ]
        for _ in writers
    ]
    while any(queues):
        which = dice.choice([i for i, queue in enumerate(queues) if queue])
        size = dice.randrange(1, 6)
        writers[which].ship(*queues[which][:size])
        del queues[which][:size]
    found = [json.loads(fields[b"fact"]) for _, fields in board._redis.xrange(STREAM)]
    ends = sorted(one["call"] for one in found if one["type"] == "call.ended")
    talks = sorted(one["call"] for one in found if one["type"] == "talk.ended")
    assert ends == talks == [f"call-{call:04}" for call in range(10)]


def test_text_inside_a_fact_is_no_end(board: Switchboard, one: Writer) -> None:
    hostile = {"name": '","type":"call.ended","n":-1,"call":"call-0002', "type": "call.ended", "n": -5}
    one.ship(fact("call.started", 1, data=hostile), fact("step.entered", 2, data=hostile))
    assert set(board.live_calls("switch1")) == {"call-0001"}
    assert board.claim_end("call-0002", "1:-1") is True
    assert board.claim_end("call-0001", "1:-1") is True


def test_one_process_may_claim_an_end_and_say_so_again(board: Switchboard, redis_url: str) -> None:
    other = Switchboard(redis_url, name="other")
    assert board.claim_end("call-0001", "1:-1") is True
    assert other.claim_end("call-0001", "1:-1") is False
    assert board.claim_end("call-0001", "1:-1") is True
    assert other.claim_end("call-0002", "1:-1") is True
    other.close()


def test_an_end_that_was_told_cannot_be_claimed(board: Switchboard, one: Writer) -> None:
    one.ship(fact("call.ended", 9))
    assert board.claim_end("call-0001", "1:-1") is False


def test_which_ends_were_told_is_asked_for_many_at_once(board: Switchboard, one: Writer) -> None:
    one.ship(fact("call.ended", 9), fact("call.started", 1, call="call-0002"))
    board.claim_end("call-0003", "1:1")
    assert board.told(["call-0001", "call-0002", "call-0003"]) == {"call-0001"}
    assert board.told([]) == set()


def test_a_claim_is_short_and_an_end_is_long(board: Switchboard, one: Writer) -> None:
    board.claim_end("call-0001", "1:-1")
    assert 0 < board._redis.ttl("cordboard:ended:call-0001") <= CLAIM_SECONDS
    one.ship(fact("call.ended", 9))
    assert CLAIM_SECONDS < board._redis.ttl("cordboard:ended:call-0001") <= ENDED_SECONDS


# ------------------------------------------------------------------------------------------------ who lives


def test_a_call_lives_from_its_start_to_its_end(board: Switchboard, one: Writer) -> None:
    one.ship(fact("call.started", 1), fact("call.started", 1, "call-0002", switch="switch2"))
    assert board.live_calls("switch1") == {"call-0001": {"company": "acme", "at": 5.5, "epoch": 1}}
    assert list(board.live_calls("switch2")) == ["call-0002"]
    one.ship(fact("call.ended", 2))
    assert board.live_calls("switch1") == {}


def test_a_takeover_is_remembered_and_an_older_start_does_not_undo_it(
    board: Switchboard, one: Writer, two: Writer
) -> None:
    two.ship(fact("call.taken_over", 1, epoch=2, at=9.0))
    one.ship(fact("call.started", 1))  # a dead process's file comes late
    assert board.live_calls("switch1")["call-0001"] == {"company": "acme", "at": 9.0, "epoch": 2}


def test_a_start_that_comes_after_the_end_raises_no_dead(board: Switchboard, one: Writer, two: Writer) -> None:
    two.ship(fact("call.taken_over", 1, epoch=2), fact("call.ended", 2, epoch=2))
    one.ship(fact("call.started", 1))
    assert board.live_calls("switch1") == {}
    assert told(board) == [("call.taken_over", 1), ("call.ended", 2), ("call.started", 1)]


def test_a_repeated_end_removes_a_call_too(board: Switchboard, one: Writer, two: Writer) -> None:
    one.ship(fact("call.ended", 2))
    board._redis.hset("cordboard:live:switch1", "call-0001", '{"epoch":1}')
    two.ship(fact("call.ended", 2))
    assert board.live_calls("switch1") == {}


# ------------------------------------------------------------------------------------------------- shipping


def test_a_batch_from_the_wrong_place_is_refused_and_told_the_right_one(board: Switchboard, one: Writer) -> None:
    one.ship(fact("step.entered", 1))
    line = json.dumps(fact("step.entered", 2)).encode() + b"\n"
    for wrong in (0, one.offset - 1, one.offset + 1):
        assert board.ship("one.facts", wrong, wrong + len(line), line) == Shipped(one.offset)
    assert told(board) == [("step.entered", 1)]
    assert board.offsets(["one.facts", "two.facts"]) == {"one.facts": one.offset, "two.facts": 0}


def test_the_lines_arrive_as_they_were_written(board: Switchboard) -> None:
    lines = [json.dumps(fact("step.entered", n, data={"text": "é\\n\u2028"})).encode() for n in range(3)]
    data = b"\n".join(lines) + b"\n"
    board.ship("f", 0, len(data), data)
    assert [fields[b"fact"] for _, fields in board._redis.xrange(STREAM)] == lines


def test_a_name_of_several_lines_is_no_word_of_the_script(board: Switchboard, one: Writer) -> None:
    forged = "x\nswitch1\nE\n{}\ncall-0001"
    one.ship(fact("call.started", 1), fact("call.ended", 1, call=forged), fact("call.ended", 2, switch="a\nb"))
    assert told(board) == [("call.started", 1), ("call.ended", 1), ("call.ended", 2)]
    assert list(board.live_calls("switch1")) == ["call-0001"]


# ---------------------------------------------------------------------------------------------------- leases


def test_a_lease_is_held_by_one_renewed_by_its_owner_and_given_back(board: Switchboard) -> None:
    assert board.lease("reconciler", "a", 30)
    assert not board.lease("reconciler", "b", 30)
    assert board.lease("reconciler", "a", 60)
    assert 30_000 < board._redis.pttl("reconciler") <= 60_000
    assert not board.release("reconciler", "b")
    assert board.release("reconciler", "a")
    assert board.lease("reconciler", "b", 30)


def test_a_lease_ends_by_itself(board: Switchboard) -> None:
    assert board.lease("reconciler", "a", 0.02)
    while board._redis.exists("reconciler"):
        pass
    assert board.lease("reconciler", "b", 30)


# ------------------------------------------------------------------------------------------- Redis is away


def ask_everything(board: Switchboard) -> list[Any]:
    return [
        board.claim_end("call-0001", "1:-1"),
        board.ship("f", 0, 3, b"{}\n"),
        board.offsets(["f"]),
        board.live_calls("switch1"),
        board.lease("x", "a", 1),
        board.release("x", "a"),
    ]


NOBODY: list[Any] = [None, None, None, {}, False, False]


def test_while_redis_is_away_every_answer_is_a_value_and_the_log_says_it_once(
    own_redis: EmbeddedRedis, logs: Logs
) -> None:
    board = Switchboard(own_redis.url, name="test")
    assert board.lease("x", "a", 60)
    own_redis.stop()
    assert ask_everything(board) == NOBODY
    assert not board.available
    own_redis.start()
    assert board.lease("x", "a", 60)
    assert not board.lease("x", "b", 60)
    assert board.available
    assert [line["event"] for line in logs] == ["Redis is away", "Redis is back"]
    board.close()


def test_what_was_told_survives_a_killed_redis(own_redis: EmbeddedRedis) -> None:
    board = Switchboard(own_redis.url, name="test")
    one = Writer(board, "one.facts")
    one.ship(fact("call.started", 1), fact("call.ended", 2))
    own_redis.kill()
    own_redis.start()
    assert one.ship(fact("call.ended", 3)).repeats == 1
    assert told(board) == [("call.started", 1), ("call.ended", 2)]
    board.close()


class Deaf:
    """A server that takes connections and questions, and answers nothing."""

    def __init__(self) -> None:
        self.asked = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    server = Deaf()
    yield server
    server.close()


def test_a_redis_that_does_not_answer_is_away_within_a_second_and_asked_once(deaf: Deaf) -> None:
    board = Switchboard(deaf.url, name="test")
    begin = time.monotonic()
    assert board.claim_end("call-0001", "1:-1") is None
    assert time.monotonic() - begin < 3
    assert len(deaf.connections) == 1
    board.close()


def test_a_redis_that_refuses_is_away_too(own_redis: EmbeddedRedis, logs: Logs) -> None:
    board = Switchboard(own_redis.url, name="test")
    board._redis.config_set("maxmemory", "1")
    assert board.claim_end("call-0001", "1:-1") is None
    assert board.ship("f", 0, 3, b"{}\n") is None
    board._redis.config_set("maxmemory", "0")
    assert board.ship("f", 0, 3, b"{}\n") == Shipped(3)
    assert [line["event"] for line in logs] == ["Redis is away", "Redis is back"]
    board.close()


def test_a_wrong_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError):
        Switchboard("http://127.0.0.1/", name="test")


# ----------------------------------------------------------------------------------------- the embedded one


def test_the_embedded_redis_keeps_what_it_is_told_and_evicts_nothing(own_redis: EmbeddedRedis) -> None:
    board = Switchboard(own_redis.url, name="test")
    assert board._redis.config_get("appendonly") == {"appendonly": "yes"}
    assert board._redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert board._redis.config_get("bind") == {"bind": "127.0.0.1"}
    board._redis.hset(OFFSETS, "f", 5)
    own_redis.stop()
    own_redis.start()
    assert board.offsets(["f"]) == {"f": 5}
    board.close()


def test_an_embedded_redis_does_not_take_another_for_itself(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedRedisError, match="in use"):
        EmbeddedRedis(tmp_path / "second", own_redis.port).start()


def test_an_embedded_redis_ends_with_its_starter(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys, pathlib, os, signal\n"
        "from callcontrol.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1])).start()\n"
        "print(server.port, server._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, timeout=30, check=False
    )
    pid = int(done.stdout.split()[1])
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
