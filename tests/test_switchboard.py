"""What is kept in Redis: one end per call, who lives, leases; and what becomes of it while Redis is away."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from callcontrol.embedded import EmbeddedError, EmbeddedRedis
from callcontrol.switchboard import (
    CLAIM_SECONDS,
    ENDED_SECONDS,
    OFFSETS,
    PLACED_SECONDS,
    PLACING_SECONDS,
    STREAM,
    Claimed,
    Shipped,
    Switchboard,
    SwitchedOn,
)

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


def test_a_call_that_was_placed_lives_until_it_has_an_end(board: Switchboard, one: Writer) -> None:
    """Also if whoever placed it died before the switch was asked: the reconciler finds it, as any call that is gone."""
    one.ship(fact("call.placed", 1, epoch=0, at=5.0, data={"person": "301", "to": "302", "by": "Kate"}))
    who = {"from": "301", "to": "302", "extension": "301"}
    assert board.live_call("switch1", "call-0001") == {"company": "acme", "at": 5, "epoch": 0, "since": 5, **who}
    one.ship(fact("call.started", 1, at=9.0, data=who))
    assert board.live_call("switch1", "call-0001") == {"company": "acme", "at": 9, "epoch": 1, "since": 9, **who}
    one.ship(fact("call.ended", -1, epoch=0))
    assert board.live_calls("switch1") == {}
    assert board.live_call("switch1", "call-0001") is None


@pytest.mark.parametrize("late", [False, True])
def test_who_calls_whom_stays_known_through_takeovers_in_whatever_order_they_are_heard_of(
    board: Switchboard, one: Writer, late: bool
) -> None:
    facts = [
        fact("call.started", 1, data={"from": "+79031234567", "to": "+74951234567"}),
        fact("call.taken_over", 1, epoch=2, at=9.0),
    ]
    for each in reversed(facts) if late else facts:
        one.ship(each)
    found = board.live_calls("switch1")["call-0001"]
    assert found == {
        "company": "acme", "at": 9.0, "epoch": 2, "from": "+79031234567", "to": "+74951234567", "extension": None,
        "since": 5.5,
    }  # fmt: skip


def test_a_key_of_a_placed_call_is_claimed_once_and_says_what_came_of_it(board: Switchboard, redis_url: str) -> None:
    other = Switchboard(redis_url, name="other")
    assert board.claim_placing("call-0001", "301 302") == ""
    assert other.claim_placing("call-0001", "301 303") == "?301 302"
    assert 0 < board._redis.ttl("cordboard:placed:call-0001") <= PLACING_SECONDS
    board.placed("call-0001", "301 302")
    assert other.claim_placing("call-0001", "301 302") == "+301 302"
    board.placed("call-0001", "301 302", "is busy")
    assert other.claim_placing("call-0001", "301 302") == "-301 302\nis busy"
    assert CLAIM_SECONDS < board._redis.ttl("cordboard:placed:call-0001") <= PLACED_SECONDS
    other.close()


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


# -------------------------------------------------------------------------------------------- calls outside

CAPS = [("acme", 3), ("acme/301", 2), ("trunk/carrier-a", 9)]


def counted(board: Switchboard, cap: str) -> list[str]:
    return [leg.decode() for leg in board._redis.zrange(f"cordboard:out:{cap}", 0, -1)]


def test_a_leg_counts_under_all_its_caps_or_under_none(board: Switchboard) -> None:
    assert board.claim_out("leg-1", "switch1", CAPS, 60) == Claimed(True)
    assert board.claim_out("leg-2", "switch1", CAPS, 60) == Claimed(True)
    assert board.claim_out("leg-3", "switch1", CAPS, 60) == Claimed(False, "acme/301")
    assert [counted(board, cap) for cap, _ in CAPS] == [["leg-1", "leg-2"]] * 3
    other = [("acme", 3), ("acme/302", 2)]
    assert board.claim_out("leg-3", "switch2", other, 60) == Claimed(True)
    assert board.claim_out("leg-4", "switch2", other, 60) == Claimed(False, "acme")
    assert counted(board, "acme/302") == ["leg-3"]
    assert board.legs_out("switch1") == dict.fromkeys(("leg-1", "leg-2"), ("acme", "acme/301", "trunk/carrier-a"))
    assert board.legs_out("switch2") == {"leg-3": ("acme", "acme/302")}


def test_to_claim_again_for_the_same_leg_counts_it_once(board: Switchboard) -> None:
    one = [("acme", 1)]
    for _ in range(3):
        assert board.claim_out("leg-1", "switch1", one, 60) == Claimed(True)
    assert board.claim_out("leg-2", "switch1", one, 60) == Claimed(False, "acme")
    assert board.legs_out("switch1") == {"leg-1": ("acme",)}


def test_a_leg_that_has_ended_makes_room_however_often_that_is_heard(board: Switchboard) -> None:
    for leg in ("leg-1", "leg-2"):
        board.claim_out(leg, "switch1", CAPS, 60)
    assert board.release_out("leg-1", "switch1") is True
    assert board.release_out("leg-1", "switch1") is False
    assert [counted(board, cap) for cap, _ in CAPS] == [["leg-2"]] * 3
    assert board.claim_out("leg-3", "switch1", CAPS, 60) == Claimed(True)


def test_a_leg_that_takes_another_trunk_gives_back_the_first(board: Switchboard) -> None:
    board.claim_out("leg-1", "switch1", [("acme", 3), ("trunk/carrier-a", 1)], 60)
    assert board.release_out("leg-1", "switch1", ["trunk/carrier-a"]) is True
    assert board.claim_out("leg-1", "switch1", [("trunk/carrier-b", 1)], 60) == Claimed(True)
    assert board.legs_out("switch1") == {"leg-1": ("acme", "trunk/carrier-b")}
    assert counted(board, "trunk/carrier-a") == []
    assert board.release_out("leg-1", "switch1") is True
    assert counted(board, "acme") == counted(board, "trunk/carrier-b") == []
    assert board.legs_out("switch1") == {}


def test_the_beginning_of_a_caps_name_is_another_cap(board: Switchboard) -> None:
    board.claim_out("leg-1", "switch1", [("acme/301", 1)], 60)
    board.claim_out("leg-1", "switch1", [("acme", 1), ("acme/30", 1)], 60)
    assert board.legs_out("switch1") == {"leg-1": ("acme/301", "acme", "acme/30")}


def test_who_may_ring_without_a_cap_is_not_counted(board: Switchboard) -> None:
    assert board.claim_out("leg-1", "switch1", [], 60) == Claimed(True)
    assert board._redis.keys("cordboard:out*") == []


def test_a_forgotten_leg_ends_by_itself_and_leaves_nothing_behind(board: Switchboard) -> None:
    one = [("acme", 1)]
    assert board.claim_out("leg-1", "switch1", one, 0.05) == Claimed(True)
    while board.claim_out("leg-2", "switch1", one, 0.05) != Claimed(True):
        pass
    while board._redis.keys("cordboard:out*"):
        pass


def test_a_forgotten_leg_makes_room_beside_one_that_lives(board: Switchboard) -> None:
    two = [("acme", 2)]
    assert board.claim_out("leg-1", "switch1", two, 60) == Claimed(True)
    assert board.claim_out("leg-2", "switch1", two, 0.05) == Claimed(True)
    while board.claim_out("leg-3", "switch1", two, 60) != Claimed(True):
        pass
    assert counted(board, "acme") == ["leg-1", "leg-3"]


def test_a_short_claim_does_not_shorten_a_long_one(board: Switchboard) -> None:
    board.claim_out("leg-1", "switch1", [("acme", 9)], 3600)
    board.claim_out("leg-2", "switch1", [("acme", 9)], 1)
    seconds, micros = board._redis.time()
    now = seconds * 1000 + micros / 1000
    assert now + 3_590_000 < board._redis.zscore("cordboard:out:acme", "leg-1") <= now + 3_600_000
    assert board._redis.zscore("cordboard:out:acme", "leg-2") <= now + 1000
    for key in ("cordboard:out:acme", "cordboard:out-legs:switch1"):
        assert 3_590_000 < board._redis.pttl(key) <= 3_600_000


def test_a_lowered_cap_holds_at_once_and_keeps_whoever_is_in(board: Switchboard) -> None:
    for i in range(5):
        board.claim_out(f"leg-{i}", "switch1", [("acme", 5)], 60)
    assert board.claim_out("leg-9", "switch1", [("acme", 3)], 60) == Claimed(False, "acme")
    assert board.claim_out("leg-0", "switch1", [("acme", 3)], 60) == Claimed(True)
    assert len(counted(board, "acme")) == 5


def test_a_reconciler_is_told_only_of_legs_that_the_switch_must_know_by_now(board: Switchboard) -> None:
    board.claim_out("leg-1", "switch1", [("acme", 9)], 60)
    assert board.legs_out("switch1", older=30) == {}
    while not board.legs_out("switch1", older=0.02):
        pass
    board.claim_out("leg-1", "switch1", [("acme", 9)], 60)  # and is rung again
    assert board.legs_out("switch1", older=0.02) == {}
    assert board.legs_out("switch2") == {}


def test_eight_processes_that_claim_at_once_never_exceed_a_cap(board: Switchboard, redis_url: str) -> None:
    lock, start = threading.Lock(), threading.Barrier(8)
    now, most, refused, wrong = {"acme": 0, "acme/0": 0, "acme/1": 0}, {"acme": 5, "acme/0": 3, "acme/1": 3}, [0], [0]

    def work(number: int) -> None:
        own = Switchboard(redis_url, name=f"process-{number}")
        names = ("acme", f"acme/{number % 2}")
        start.wait(30)
        for i in range(60):
            leg = f"leg-{number}-{i}"
            claimed = own.claim_out(leg, "switch1", [(name, most[name]) for name in names], 60)
            with lock:
                if claimed != Claimed(True):
                    refused[0] += 1
                    continue
                for name in names:
                    now[name] += 1
                    wrong[0] += now[name] > most[name]
            if i % 3:  # its answer was lost, so it asks again
                own.claim_out(leg, "switch1", [(name, most[name]) for name in names], 60)
            with lock:
                for name in names:
                    now[name] -= 1
            own.release_out(leg, "switch1")
        own.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == [0]
    assert 0 < refused[0] < 480
    assert now == {"acme": 0, "acme/0": 0, "acme/1": 0}
    assert board._redis.keys("cordboard:out*") == []


# ------------------------------------------------------------------------------------ day/night switches


def test_a_switch_is_on_for_everybody_until_it_is_put_off(board: Switchboard, redis_url: str) -> None:
    other = Switchboard(redis_url, name="other")
    before = board._redis.time()[0]
    assert board.set_switch("acme", "shut", True, "301")
    assert board.set_switch("other-co", "shut", True, "the web: Anna Petrova é")
    found = other.switches()
    assert found is not None
    assert {name: on.by for name, on in found.items()} == {
        "acme/shut": "301",
        "other-co/shut": "the web: Anna Petrova é",
    }
    assert all(before <= on.at <= board._redis.time()[0] + 1 for on in found.values())
    assert other.set_switch("acme", "shut", False, "302")
    assert other.set_switch("acme", "shut", False, "302")
    assert list(board.switches() or ()) == ["other-co/shut"]
    other.close()


def test_who_did_it_may_be_any_text(board: Switchboard) -> None:
    assert board.set_switch("acme", "shut", True, "\ud800" + "x" * 1000)
    assert [on.by for on in (board.switches() or {}).values()] == ["?" + "x" * 99]
    board._redis.hset("cordboard:switches", "acme/lunch", "by hand")
    assert (board.switches() or {})["acme/lunch"] == SwitchedOn("by hand", 0.0)


# ------------------------------------------------------------------------------------------- Redis is away


class Forgetful:
    """A way to Redis on which, once ``losing``, what is asked is done, and the answer is lost with the connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("redis://").partition("/")[0].split(":")
        self._server = (host, int(port))
        self.losing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            for one in (self._asked, self._answered):
                self._threads.append(threading.Thread(target=one, args=(client, server)))
                self._threads[-1].start()

    def _asked(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answered(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while (data := server.recv(65536)) and not self.losing:
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def forgetful(redis_url: str) -> Iterator[Forgetful]:
    way = Forgetful(redis_url)
    yield way
    way.close()


def test_a_claim_that_was_made_although_its_answer_was_lost_is_one_claim(
    board: Switchboard, forgetful: Forgetful
) -> None:
    one = [("acme", 1)]
    own = Switchboard(forgetful.url, name="own")
    assert own.claim_out("leg-0", "switch1", one, 60) == Claimed(True)
    assert own.release_out("leg-0", "switch1") is True
    assert own.set_switch("acme", "lunch", True, "301") is True
    forgetful.losing = True
    assert own.claim_out("leg-1", "switch1", one, 60) is None
    assert counted(board, "acme") == ["leg-1"]
    forgetful.losing = False
    assert own.claim_out("leg-1", "switch1", one, 60) == Claimed(True)
    assert own.claim_out("leg-2", "switch1", one, 60) == Claimed(False, "acme")
    forgetful.losing = True
    assert own.release_out("leg-1", "switch1") is None
    assert counted(board, "acme") == []
    forgetful.losing = False
    assert own.release_out("leg-1", "switch1") is False
    forgetful.losing = True
    assert own.set_switch("acme", "shut", True, "301") is False
    assert sorted(board.switches() or ()) == ["acme/lunch", "acme/shut"]
    own.close()


def test_caps_and_switches_outlive_a_killed_redis(own_redis: EmbeddedRedis) -> None:
    board = Switchboard(own_redis.url, name="test")
    board._redis.config_set("appendfsync", "always")  # else a write may wait while the disk is busy with another
    assert board.claim_out("leg-1", "switch1", [("acme", 1)], 60) == Claimed(True)
    assert board.set_switch("acme", "shut", True, "301")
    own_redis.kill()
    assert board.claim_out("leg-2", "switch1", [("acme", 1)], 60) is None
    assert board.release_out("leg-1", "switch1") is None
    assert board.set_switch("acme", "shut", False, "301") is False
    own_redis.start()
    assert board.claim_out("leg-2", "switch1", [("acme", 1)], 60) == Claimed(False, "acme")
    assert board.claim_out("leg-1", "switch1", [("acme", 1)], 60) == Claimed(True)
    assert list(board.switches() or ()) == ["acme/shut"]
    board.close()


def ask_everything(board: Switchboard) -> list[Any]:
    return [
        board.claim_end("call-0001", "1:-1"),
        board.ship("f", 0, 3, b"{}\n"),
        board.offsets(["f"]),
        board.live_calls("switch1"),
        board.lease("x", "a", 1),
        board.release("x", "a"),
        board.claim_out("leg-1", "switch1", [("acme", 1)], 1),
        board.release_out("leg-1", "switch1"),
        board.legs_out("switch1"),
        board.switches(),
        board.set_switch("acme", "shut", True, "301"),
        board.set_switch("acme", "shut", False, "301"),
    ]


NOBODY: list[Any] = [None, None, None, {}, False, False, None, None, None, None, False, False]


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
    with pytest.raises(EmbeddedError, match="in use"):
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
