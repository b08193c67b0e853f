"""Two processes' parts in the queues of one company, with a real Redis: who is offered to whom, and what heals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
import pytest

from callcontrol import caretaker, queues
from callcontrol import messages as m
from callcontrol.commands import Refused
from callcontrol.desk import Desk
from callcontrol.queueboard import SCRIPT, QueueBoard
from callcontrol.queues import Queues
from callcontrol.switchboard import Switchboard
from tests.playbook import epoch, routing
from tests.queuedesk import FLOWS, HEAD, House, Session
from tests.test_caretaker import Switch

ONE, TWO, THREE = (f"5b1c1f54-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
LEG = "9bf7699a-1414-5890-abf7-3afd13f1f95a"
#: Claims and processes are taken to be dead soon: a test does not wait.
IMPATIENT = SCRIPT.replace("CLAIMED, TALK, ALIVE = 3000, 600000, 7000", "CLAIMED, TALK, ALIVE = 40, 600000, 7000")


class Process:
    """A process and its calls.  It hears its wake-ups when the test lets it."""

    def __init__(self, name: str, redis: Switchboard, script: str = SCRIPT) -> None:
        self.name, self.house = name, House()
        self.house.routing = routing(FLOWS, HEAD.replace("wrap_up: 7s", "wrap_up: 0s"))
        self.board = QueueBoard(redis, script=script)
        self.queues = Queues(self.board, name, cast(Any, self.house))
        self.queues.take_up([self.house.routing])
        gevent.sleep(0)
        self.queues.beat()

    @property
    def desk(self) -> Desk:
        return Desk(self.queues, self.house.current)

    def hears(self) -> None:
        for message in self.board.wake(self.name, 0.01) or []:
            self.queues.woken(message)
        gevent.sleep(0)

    def enters(self, call: str, session: Session | None = None, **more: Any) -> Session:
        session = session or Session(call)
        command = m.Enter("sales", 0, (), 0, 0.0, 1, 20.0, **more)
        self.queues.perform(cast(Any, session), command)
        gevent.sleep(0)
        return session

    def takes(self, session: Session, agent: str, leg: str, offer: int = 1) -> None:
        self.queues.perform(cast(Any, session), m.Take(offer, agent, leg, 0.0))
        gevent.sleep(0)

    def ends(self, agent: str, leg: str) -> None:
        self.queues.ended("test", agent, leg, answered=True)
        gevent.sleep(0)


@pytest.fixture
def redis(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> Switchboard:
    monkeypatch.setattr(queues, "BEAT", 0.0)
    monkeypatch.setattr(caretaker, "SETTLING", 0.0)
    return board


@pytest.fixture
def both(redis: Switchboard) -> Iterator[tuple[Process, Process]]:
    made = Process("p1", redis), Process("p2", redis)
    yield made
    for one in made:
        one.queues.stop(0.0)


def until(true: Callable[[], bool], *processes: Process) -> None:
    """Everybody hears what they are told until it is so."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never was so"
        for process in processes:
            process.hears()
        gevent.sleep(0.001)


def offers(session: Session) -> list[str]:
    return [event.agent for event in session.heard if isinstance(event, m.Offered)]


def doing(process: Process, agent: str) -> str:
    found = process.board.look("test")
    assert found is not None
    return next(str(member["doing"]) for member in found["members"] if member["agent"] == agent)


Both = tuple[Process, Process]


def test_each_caller_gets_an_agent_and_the_third_the_one_who_gets_free_first(both: Both) -> None:
    p1, p2 = both
    one, two, three = p1.enters(ONE), p2.enters(TWO), p2.enters(THREE)
    until(lambda: bool(offers(one) and offers(two)), p1, p2)
    assert {*offers(one), *offers(two)} == {"301", "302"}
    p1.takes(one, offers(one)[0], LEG)
    until(lambda: m.Taken(1, True) in one.heard, p1, p2)
    p1.ends(offers(one)[0], LEG)
    until(lambda: bool(offers(three)), p1, p2)
    assert offers(three) == offers(one)


def test_a_caller_who_leaves_frees_the_agent_for_the_next(both: Both) -> None:
    p1, p2 = both
    callers = [p1.enters(ONE), p1.enters(TWO), p2.enters(THREE)]
    until(lambda: bool(offers(callers[0])), p1, p2)
    callers[0].ended = True
    p1.queues.forget(cast(Any, callers[0]))
    until(lambda: bool(offers(callers[2])), p1, p2)


def test_an_offer_whose_owner_died_is_stalled_and_taken_up_by_the_next_owner(redis: Switchboard) -> None:
    p1, p2 = Process("p1", redis, IMPATIENT), Process("p2", redis, IMPATIENT)
    p2.enters(ONE)
    until(lambda: "offered" in (doing(p1, "301"), doing(p1, "302")), p1)
    p2.queues.stop(0.0)  # it never hears what it is told, and has no timer
    until(lambda: sweeps(p1, "offer"), p1)
    assert doing(p1, "301") == doing(p1, "302") == "idle"
    again = p1.enters(ONE, again=True)
    until(lambda: bool(offers(again)), p1)
    assert again.heard[0] == m.Entered(cast(Any, again.heard[0]).joined)


def sweeps(process: Process, kind: str) -> bool:
    process.queues.caretaker.sweep()
    return process.queues.caretaker.repaired[kind] > 0


def test_a_takeover_adopts_the_offer_and_makes_no_second_one(both: Both) -> None:
    p1, p2 = both
    one = p1.enters(ONE)
    until(lambda: bool(offers(one)), p1)
    after = p2.enters(ONE, again=True)
    until(lambda: bool(offers(after)), p2)
    assert offers(after) == offers(one)
    assert {doing(p1, "301"), doing(p1, "302")} == {"idle", "offered"}


def test_when_everything_was_lost_talks_are_told_before_callers_enter_again(both: Both, redis: Switchboard) -> None:
    p1, p2 = both
    one, two = p1.enters(ONE), p2.enters(TWO)
    until(lambda: bool(offers(one) and offers(two)), p1, p2)
    p1.takes(one, offers(one)[0], LEG)
    until(lambda: m.Taken(1, True) in one.heard, p1, p2)
    redis._redis.flushall()
    p1.queues.beat()
    p2.queues.beat()
    until(lambda: len(offers(two)) == 2, p1, p2)
    assert m.Withdrawn(1) in two.heard
    assert offers(two)[1] != offers(one)[0]
    assert doing(p1, offers(one)[0]) == "talking"
    assert two.heard[-1] == m.Offered(2, offers(two)[1])  # another number: the old telephones are not the new


def test_a_talk_elsewhere_keeps_offers_away(both: Both) -> None:
    p1, p2 = both
    for agent, leg in (("301", LEG), ("302", TWO)):
        p1.queues.talks(cast(Any, Session(ONE)), leg, agent)
    until(lambda: doing(p1, "302") == "elsewhere", p1)
    one = p2.enters(THREE)
    until(lambda: any(isinstance(event, m.Entered) for event in one.heard), p2)
    assert offers(one) == []
    p1.ends("302", TWO)
    until(lambda: bool(offers(one)), p1, p2)
    assert offers(one) == ["302"]


def test_what_a_switch_does_not_know_any_more_is_repaired(both: Both) -> None:
    p1, p2 = both
    one, two = p1.enters(ONE), p1.enters(TWO)
    until(lambda: bool(offers(one) and offers(two)), p1)
    p1.takes(one, offers(one)[0], LEG)
    until(lambda: m.Taken(1, True) in one.heard, p1)
    switch, care = Switch(), p2.queues.caretaker
    care.reconcile(cast(Any, switch), {ONE, LEG, TWO})
    care.reconcile(cast(Any, switch), set())
    assert care.repaired == {}
    care.reconcile(cast(Any, switch), set())
    until(lambda: doing(p2, "301") == doing(p2, "302") == "idle", p2)
    assert care.repaired == {"talk": 1, "entry": 1}


def test_a_free_agent_and_a_caller_whom_nobody_brought_together_are(both: Both) -> None:
    p1, p2 = both
    for agent in ("301", "302"):
        p1.board.duty("test", agent, "pause")
    one = p1.enters(ONE, patience=60.0)
    until(lambda: any(isinstance(event, m.Entered) for event in one.heard), p1)
    p1.board.duty("test", "302", "resume")  # whoever asked died before they could decide
    p2.queues.caretaker.settle("test")
    until(lambda: bool(offers(one)), p1, p2)
    assert p2.queues.caretaker.repaired == {"unmatched": 1}


def test_hours_of_duty_log_in_and_out_once_whoever_keeps_them(both: Both) -> None:
    p1, p2 = both
    for process in both:
        process.house.time = epoch("2026-11-23 18:30")
        process.queues.caretaker.keep_hours()
    (anna, _) = p1.desk.agents("test")["agents"]
    assert (anna["state"], anna["reason"]) == ("logged_out", "hours")
    p1.desk.set_duty("test", "301", "log_in", "", "301")  # she stays longer
    p2.queues.caretaker.forget_hours("test")
    p2.queues.caretaker.keep_hours()
    assert p1.desk.agents("test")["agents"][0]["state"] == "available"


class TestAnswers:
    def test_agents_queues_and_why(self, both: Both) -> None:
        p1, _ = both
        one = p1.enters(ONE)
        until(lambda: bool(offers(one)), p1)
        rings, other = offers(one)[0], "302" if offers(one) == ["301"] else "301"
        p1.desk.set_duty("test", other, "pause", "lunch", "301")
        states = {row["agent"]: (row["state"], row["duty"], row["reason"]) for row in p1.desk.agents("")["agents"]}
        assert states == {rings: ("offered", "on", ""), other: ("paused", "paused", "lunch")}
        (queue,) = p1.desk.queues("test", "")["queues"]
        assert (queue["queue"], queue["waiting"]) == ("sales", 1)
        assert queue["agents"] == {"available": 0, "busy": 1, "paused": 1, "out": 0}
        answer = p1.desk.why("test", "sales", 50)
        (caller,) = answer["callers"]
        assert (caller["caller"], caller["state"], answer["waiting"]) == ("+7903", "offered", 1)
        assert {row["agent"]: row["reason"] for row in caller["agents"]} == {rings: "rings", other: "paused"}

    def test_what_an_agent_was_made(self, both: Both) -> None:
        p1, _ = both
        made = p1.desk.set_duty("test", "302", "pause", "lunch", "ann")
        assert made == {"agent": "302", "name": "Boris", "state": "paused", "reason": "lunch"}

    def test_what_cannot_be_is_refused_with_a_reason(self, both: Both) -> None:
        p1, _ = both
        p1.desk.set_duty("test", "302", "log_out", "", "")
        for ask, why in (
            (lambda: p1.desk.set_duty("test", "303", "pause", "", ""), "303 is no agent"),
            (lambda: p1.desk.set_duty("test", "302", "resume", "", ""), "302 is not logged in"),
            (lambda: p1.desk.agents("nobody"), "no company 'nobody'"),
            (lambda: p1.desk.why("test", "support", 50), "no queue 'support'"),
        ):
            with pytest.raises(Refused, match=why):
                ask()
