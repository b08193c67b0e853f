"""What Redis keeps of queues is damaged: the company gets over it, and others never notice.

Each key is made something else, and each value something that nobody can read, while a company has agents and callers
in every state; then a day of queues is gone through, of that company and of another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any, cast

import gevent
import pytest

from callcontrol import messages as m
from callcontrol import queueing, queues
from callcontrol.caretaker import SWEEPER
from callcontrol.messages import Enter
from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from tests.queuedesk import OTHER
from tests.test_queueboard import members_of, queue_of, sets_of
from tests.test_queues_in_redis import ONE, TWO, Process, offers, until

AGENTS = {"301": (1, ""), "302": (1, "de"), "303": (2, ""), "304": (1, "de"), "305": (1, "")}
GARBAGE = [b"\xff\xfe", b"{", b"null", b"[1]", b"{}", b'"x"', b"7", b"nan", b"[" * 3000, b"x" * 100_000]
#: Everything that there is of a company with callers who wait; and of all of them together.
OF_COMPANY = [
    *("agents", "callers", "enrolled", "facts", "queues", "free:sales:", "free:sales:de", "line:sales:0"),
    *("on:sales", "paused:sales", "priorities:sales", "seek:sales:0 ", "seeks:sales", "skills:sales"),
]
OF_ALL = ["queue-clock", "queue-companies", "queue-due", "queue-generation", "queue-processes", "wake:p1"]
KEYS = [*(f"cordboard:queue:bad:{key}" for key in OF_COMPANY), *(f"cordboard:{key}" for key in OF_ALL)]


class Office:
    """Two companies that are alike: ``bad``, of which something is damaged, and ``good``."""

    def __init__(self, way: Switchboard) -> None:
        self.board, self.raw = QueueBoard(way), way._redis
        assert self.board.beat("p1")
        for company in ("bad", "good"):
            self.enrol(company)
            self.enter(company, "call-1")
            for call in ("call-2", "call-3"):
                self.enter(company, call, skills=("ru",))  # nobody can
            assert cast(Any, self.board.claim(company, "call-1", "301")).done
            self.board.duty(company, "305", "pause")
            self.board.busy(company, "304", "talk-1", "switch1")
            # One who waits for an agent to whom nobody has been offered; and who is looked for when one is.
            self.enter(company, "call-4", skills=("ru",), priority=2)

    def enrol(self, company: str) -> None:
        members = members_of(sales=queue_of("longest-idle", {}, AGENTS))
        assert self.board.enrol(company, queueing.version_of(members), members)

    def enter(self, company: str, call: str, *, skills: tuple[str, ...] = (), priority: int = 0) -> Any:
        command = Enter("sales", priority, skills, 0, 0.0, 1, 15.0, again=True)
        answer = self.board.enter(company, call, command, owner="p1", switch="switch1", caller="+7903", op="")
        if answer is not None and answer.data.get("unenrolled"):
            self.enrol(company)
            answer = self.board.enter(company, call, command, owner="p1", switch="switch1", caller="+7903", op="")
        return answer

    def a_day(self, company: str) -> None:
        """Everything that is done with queues is answered, and callers are brought together with agents."""
        for _ in range(2):  # what is damaged is met, and mended
            assert self.board.beat("p1")
            assert self.board.due() is not None
            assert self.board.held(company) is not None
            assert self.board.settle(company) is not None
            self.enrol(company)  # as everybody does who hears that something was mended
        for agent in AGENTS:
            assert cast(Any, self.board.duty(company, agent, "log_in")).done
            assert cast(Any, self.board.duty(company, agent, "pause")).done
            assert cast(Any, self.board.duty(company, agent, "resume")).done
        assert self.board.leave(company, "call-1") is not None
        assert self.enter(company, "call-9").done
        assert cast(Any, self.board.place(company, "call-9")) >= 1
        look = self.board.look(company)
        assert look is not None
        free = [one["agent"] for one in look["members"] if one["free"]]
        assert len(look["members"]) == 5
        served = [self.board.claim(company, "call-9", agent) for agent in free]
        assert [one.done for one in served if one is not None].count(True) == 1
        assert cast(Any, self.board.leave(company, "call-9")).done
        wakes = self.board.wake("p1", 0.01)
        assert wakes is not None
        assert all(isinstance(message, dict) for message in wakes)

    def stands_well(self, company: str) -> None:
        """All that is kept can be read, and every set holds exactly who belongs there."""
        look = self.board.look(company)
        assert look is not None
        before = sets_of(self.raw, company)
        self.raw.delete(f"cordboard:queue:{company}:enrolled")
        self.board.do("mend", company, operation="")
        assert sets_of(self.raw, company) == before
        again = self.board.look(company)
        assert again is not None
        assert {**again, "now": 0} == {**look, "now": 0}


@pytest.fixture
def office(board: Switchboard) -> Office:
    return Office(board)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", ["string", "list", "hash", "set", "zset"])
def test_a_key_of_another_kind_is_made_anew_and_stops_nobody(office: Office, key: str, kind: str) -> None:
    office.raw.delete(key)
    if kind == "string":
        office.raw.set(key, b"\xff garbage")
    elif kind == "list":
        office.raw.rpush(key, b"\xff garbage")
    elif kind == "hash":
        office.raw.hset(key, b"\xff", b"garbage")
    elif kind == "set":
        office.raw.sadd(key, b"\xff garbage")
    else:
        office.raw.zadd(key, {b"\xff garbage": 1.0, b"more": float("inf")})
    office.a_day("good")
    office.a_day("bad")
    office.stands_well("bad")
    assert office.board.available


@pytest.mark.parametrize("key", KEYS)
def test_members_and_values_that_nobody_can_read_stop_nobody(office: Office, key: str) -> None:
    kind = office.raw.type(key).decode()
    if kind == "hash":
        for field, value in zip([*office.raw.hkeys(key), *GARBAGE], GARBAGE * 3, strict=False):
            office.raw.hset(key, field[:200], value)
    elif kind == "set":
        office.raw.sadd(key, *GARBAGE)
    elif kind == "zset":
        office.raw.zadd(key, dict.fromkeys(GARBAGE, 1.0) | {b"\xfe": float("inf"), b"\xfd": float("-inf")})
    elif kind == "list":
        office.raw.lpush(key, *GARBAGE)
    else:
        for value in [*GARBAGE, b"99999999999999999999999 1", b"1 99999999999999999999"]:
            office.raw.set(key, value)
            office.a_day("good")
    office.a_day("good")
    office.a_day("bad")
    office.stands_well("bad")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_gone_is_missed_and_made_again(office: Office, key: str) -> None:
    office.raw.delete(key)
    office.a_day("good")
    office.a_day("bad")
    office.stands_well("bad")


A_FIELD = ["agents", "callers"]


@pytest.mark.parametrize("records", A_FIELD)
@pytest.mark.parametrize("value", [None, -1, 1e300, 9e13, "x", "x" * 5000, [], {}, {"x": {"y": 1}}, True])
def test_a_field_of_a_record_that_is_wrong_or_missing_stops_nobody(office: Office, records: str, value: Any) -> None:
    key = f"cordboard:queue:bad:{records}"
    name, text = next((name, text) for name, text in office.raw.hgetall(key).items() if name in (b"301", b"call-1"))
    fields = json.loads(text)
    for field in fields:
        wrong = {**fields, field: value}
        office.raw.hset(key, name, json.dumps(wrong))
        office.a_day("bad")
        del wrong[field]
        office.raw.hset(key, name, json.dumps(wrong))
        office.a_day("bad")
        office.stands_well("bad")
        office.raw.flushall()
        office.__init__(office.board._board)  # type: ignore[misc]
    office.a_day("good")


def test_what_can_be_read_stays_and_what_was_damaged_is_told(
    office: Office, logs: list[MutableMapping[str, Any]]
) -> None:
    office.raw.hset("cordboard:queue:bad:agents", "302", "{")
    office.board.wake("p1", 0.01)
    assert office.board.held("bad") is not None
    look = office.board.look("bad")
    assert look is not None
    states = {one["agent"]: (one["duty"], one["doing"]) for one in look["members"]}
    assert states == {
        "301": ("on", "offered"),
        "303": ("on", "idle"),
        "304": ("on", "elsewhere"),
        "305": ("paused", "idle"),
    }
    assert {one["call"] for one in look["waiting"]} == {"call-1", "call-2", "call-3", "call-4"}
    assert office.board.wake("p1", 0.01) == [{"do": "mended", "company": "bad"}]
    (alarm,) = [line for line in logs if line["event"] == "alarm"]
    assert alarm["company"] == "bad"
    assert alarm["gone"] == ["cordboard:queue:bad:agents 302"]


def test_an_offer_that_one_side_only_knows_is_none(office: Office) -> None:
    office.raw.hdel("cordboard:queue:bad:callers", "call-1")
    office.raw.hset("cordboard:queue:bad:agents", "303", "{")
    office.board.held("bad")
    look = office.board.look("bad")
    assert look is not None
    assert {one["agent"]: one["doing"] for one in look["members"]}["301"] == "idle"


def test_what_is_due_of_nobody_keeps_nobody_elses_from_being_seen(office: Office) -> None:
    office.raw.zadd("cordboard:queue-due", {f"nobody{n}": n for n in range(150)})
    office.raw.zadd("cordboard:queue-due", {f"bad/{n}": n for n in range(150)})
    office.raw.zadd("cordboard:queue-due", {"bad/303": 1, "good/301": 1000})
    for _ in range(10):
        found = office.board.due() or []
        if ("good", "301") in found:
            break
        for company, agent in found:
            office.board.rest(company, agent)
    assert ("good", "301") in found


def test_one_wake_up_that_is_none_loses_none_of_the_others(office: Office) -> None:
    office.raw.delete("cordboard:wake:p1")
    office.raw.rpush("cordboard:wake:p1", b'{"do":"staff"}', *GARBAGE, b'{"do":"again"}')
    assert office.board.wake("p1", 0.01) == [{"do": "staff"}, {}, {"do": "again"}]


def test_a_lease_that_is_none_or_never_ends_is_taken(board: Switchboard) -> None:
    board._redis.rpush(SWEEPER, "x")
    assert board.lease(SWEEPER, "p1", 3.0)
    board._redis.set(SWEEPER, "somebody")
    assert board.lease(SWEEPER, "p1", 3.0)
    assert not board.lease(SWEEPER, "p2", 3.0)
    assert 0 < board._redis.pttl(SWEEPER) <= 3000


def test_a_full_redis_is_no_damage(office: Office) -> None:
    office.raw.config_set("maxmemory", 1)
    try:
        assert office.enter("bad", "call-9") is None
    finally:
        office.raw.config_set("maxmemory", 0)
    assert office.raw.exists("cordboard:queue:bad:enrolled")


# ---------------------------------------------------------------------------------------------- processes


@pytest.fixture
def both(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Process, Process]]:
    monkeypatch.setattr(queues, "BEAT", 0.0)
    made = Process("p1", board), Process("p2", board)
    yield made
    for one in made:
        one.queues.stop(0.0)


@pytest.mark.parametrize("garbage", [b"{", b"null", b"{}", b'{"free":true}'])
def test_agents_and_callers_whose_records_are_lost_are_brought_together_all_the_same(
    both: tuple[Process, Process], board: Switchboard, garbage: bytes
) -> None:
    p1, p2 = both
    for agent in ("301", "302"):
        board._redis.hset("cordboard:queue:test:agents", agent, garbage)
    one, two = p1.enters(ONE), p2.enters(TWO)
    until(lambda: bool(offers(one) and offers(two)), p1, p2)
    for call in (ONE, TWO):
        board._redis.hset("cordboard:queue:test:callers", call, garbage)
    p1.queues.caretaker.reconcile(cast(Any, Nowhere()), {ONE, TWO})
    assert set(states(p1).values()) == {"idle"}  # nobody knows of any offer
    until(lambda: states(p1) == {"301": "offered", "302": "offered"}, p1, p2)


def test_an_agent_who_talks_is_told_again_if_their_record_is_lost(
    both: tuple[Process, Process], board: Switchboard
) -> None:
    p1, p2 = both
    one = p1.enters(ONE)
    until(lambda: bool(offers(one)), p1)
    agent = offers(one)[0]
    p1.takes(one, agent, "leg-1")
    until(lambda: m.Taken(1, True) in one.heard, p1)
    board._redis.hset("cordboard:queue:test:agents", agent, b"{")
    p2.queues.caretaker.reconcile(cast(Any, Nowhere()), {OTHER})
    until(lambda: "talking" in states(p1).values(), p1, p2)
    assert states(p1) == {agent: "talking", "301" if agent == "302" else "302": "idle"}


def test_damage_of_one_company_is_no_reason_to_think_that_redis_is_away(both: tuple[Process, Process]) -> None:
    p1, _ = both
    p1.board._board._redis.delete("cordboard:queue:test:agents")
    p1.board._board._redis.set("cordboard:queue:test:agents", b"x")
    p1.queues.caretaker.reconcile(cast(Any, Nowhere()), set())
    gevent.sleep(0)
    assert not p1.queues._away


def states(process: Process) -> dict[str, str]:
    found = process.board.look("test")
    assert found is not None
    return {one["agent"]: one["doing"] for one in found["members"]}


class Nowhere:
    """A switch of which nothing is asked."""

    name, connected = "elsewhere", True
