"""A process's part in the queues, with a Redis of straw: order, patience, decisions, wake-ups, and coming back."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import gevent.event
import pytest

from callcontrol import messages as m
from callcontrol import queues as module
from callcontrol.caretaker import SWEEPER
from callcontrol.queueboard import Answer
from callcontrol.queueing import CallLook, Candidate
from callcontrol.queues import Queues
from tests.playbook import CALL, routing
from tests.queuedesk import FLOWS, HEAD, JOINED, LEG, OTHER, Desk, Session, Timers, answer, enter, look, quiet


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    made = Timers()
    monkeypatch.setattr(module, "_timer", made)
    monkeypatch.setattr(module, "BEAT", 0.0)
    return made


@pytest.fixture
def desk(timers: Timers) -> Iterator[Desk]:
    made = Desk()
    yield made
    made.queues.stop(0.0)


TAKE = m.Take(1, "301", LEG, 7.0)
MISS = m.Miss(1, "301", "declined", 10.0)


class TestSaying:
    def test_what_a_call_says_goes_out_in_order_each_under_an_id_of_its_own(self, desk: Desk) -> None:
        gate = desk.board.gates["enter"] = gevent.event.Event()
        desk.says(enter(), MISS, TAKE)
        assert desk.board.words == ["enter"]
        gate.set()
        quiet()
        assert desk.board.words == ["enter", "miss", "take"]
        assert len(set(desk.board.ops)) == 3
        assert "" not in desk.board.ops

    def test_other_calls_do_not_wait_for_it(self, desk: Desk) -> None:
        desk.board.gates["take"] = gate = gevent.event.Event()
        desk.says(TAKE)
        desk.says(enter(), session=Session(OTHER))
        assert desk.board.words == ["take", "enter"]
        gate.set()

    def test_who_enters_hears_since_when_they_wait(self, desk: Desk) -> None:
        desk.says(enter())
        assert desk.hears() == [m.Entered(JOINED)]
        ((call, command, *whose),) = desk.board.told("enter")
        assert (call, whose) == (CALL, ["p1", "switch1", "+7903"])
        assert (command.joined, command.again, command.first) == (0, False, 1)

    @pytest.mark.parametrize("outcome", ["full", "no_agents", "paused"])
    def test_who_is_not_taken_hears_why_and_is_entered_no_more(self, desk: Desk, outcome: str) -> None:
        desk.board.answers["enter"] = [answer(False, outcome=outcome)]
        desk.says(enter())
        assert desk.hears() == [m.NotEntered(outcome)]
        desk.redis_goes().redis_comes()
        assert desk.board.told("enter") == []

    def test_after_a_takeover_the_call_hears_of_its_offers_and_whether_somebody_can_serve_it(self, desk: Desk) -> None:
        desk.board.answers["enter"] = [answer(joined=JOINED, offers={"302": 4}, opens=0, staffed="paused")]
        desk.says(enter(again=True, joined=JOINED, first=4))
        assert desk.hears() == [m.Entered(JOINED), m.Staffed("paused"), m.Offered(4, "302")]
        assert desk.board.told("rung") == [(CALL, "302", 4, 65.0)]

    def test_and_of_those_that_ended_while_nobody_had_it(self, desk: Desk) -> None:
        desk.board.answers["enter"] = [answer(joined=JOINED, offers={"302": 4}, opens=0, staffed="")]
        desk.says(enter(again=True, joined=JOINED, first=5, rings=((3, "301"), (4, "302"))))
        assert desk.hears() == [m.Entered(JOINED), m.Staffed(""), m.Withdrawn(3), m.Offered(4, "302")]

    def test_nothing_else_is_said_for_who_left_before_they_had_entered(self, desk: Desk) -> None:
        desk.redis_goes()
        desk.says(enter(), m.Leave())
        desk.redis_comes()
        assert desk.board.words == ["leave"]
        assert desk.hears() == []

    def test_the_place_in_the_queue(self, desk: Desk) -> None:
        desk.says(m.AskPlace())
        assert desk.hears() == [m.PlaceTold(3)]

    @pytest.mark.parametrize(
        ("given", "state"),
        [
            (answer(state="paused"), "paused"),
            (answer(False, state="logged_out"), "logged_out"),
            (answer(False, state="talking"), ""),
            (answer(False), ""),
        ],
    )
    def test_what_an_agent_dials_says_what_they_are_now(self, desk: Desk, given: Answer, state: str) -> None:
        desk.board.answers["duty"] = [given]
        desk.session.extension = "302"
        desk.says(m.SetDuty("302", "pause", "lunch"))
        assert desk.hears() == [m.DutySet(state)]
        assert desk.board.told("duty") == [("302", "pause", "lunch", "302", None)]

    def test_a_company_that_is_not_enrolled_is_and_the_caller_enters_again(self, desk: Desk) -> None:
        desk.board.answers["enter"] = [answer(False, unenrolled=True), answer(joined=JOINED)]
        desk.says(enter())
        assert [what for what, _ in desk.board.asked if what in ("enter", "enrol")] == ["enter", "enrol", "enter"]
        assert len({op for op in desk.board.ops if op}) == 2
        assert desk.hears() == [m.Entered(JOINED)]

    def test_what_redis_refuses_for_ever_is_given_up_with_an_alarm(
        self, desk: Desk, logs: list[MutableMapping[str, Any]]
    ) -> None:
        desk.board.answers["miss"] = [None]
        desk.says(MISS, m.Leave())
        for _ in range(module.MOST_TRIES):
            desk.queues.beat()
            quiet()
        assert len(desk.board.told("miss")) == module.MOST_TRIES
        assert desk.board.told("leave") == [CALL]
        assert [line["log_level"] for line in logs if line["event"] == "alarm"] == ["error"]


class TestRedisAway:
    def test_an_operation_is_said_again_under_its_own_id_until_it_is_done(self, desk: Desk) -> None:
        desk.board.away = True
        desk.says(MISS)
        desk.queues.beat()
        quiet()
        desk.redis_comes()
        assert desk.board.told("miss") == [(CALL, MISS)]
        assert len({op for op in desk.board.ops if op}) == 1

    def test_who_enters_meanwhile_hears_nothing_and_has_waited_when_it_is_back(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1000.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        desk.redis_goes()
        desk.says(enter(waited=5.0))
        assert desk.hears() == []
        now[0] += 30.0
        desk.redis_comes()
        ((_, command, *_),) = desk.board.told("enter")
        assert command.waited == 35.0
        assert desk.hears() == [m.Entered(JOINED)]

    def test_those_who_wait_are_entered_again_as_they_joined_and_hear_nothing_of_it(self, desk: Desk) -> None:
        desk.offered()
        desk.redis_goes()
        desk.board.answers["enter"] = [answer(joined=JOINED, offers={"301": 1}, opens=0, staffed="")]
        desk.redis_comes()
        ((_, command, *_),) = desk.board.told("enter")
        assert (command.again, command.joined, command.first) == (True, JOINED, 2)
        assert desk.board.told("rung") == [(CALL, "301", 1, 65.0)]
        assert desk.hears() == [m.Offered(1, "301")]

    def test_an_offer_that_redis_does_not_know_any_more_is_withdrawn(self, desk: Desk) -> None:
        desk.offered().redis_goes().redis_comes()
        assert desk.hears() == [m.Withdrawn(1)]
        assert desk.board.told("rung") == []

    def test_an_agent_who_answers_is_the_callers_at_once_and_redis_hears_of_it_later(self, desk: Desk) -> None:
        desk.offered().redis_goes()
        desk.says(TAKE)
        assert desk.hears() == [m.Taken(1, True)]
        desk.redis_comes()
        assert desk.board.words == ["take"]
        assert desk.hears() == []

    def test_a_talk_goes_before_the_callers_when_everything_was_lost(self, desk: Desk) -> None:
        desk.offered().says(TAKE)
        desk.says(enter(), session=Session(OTHER))
        desk.board.asked.clear()
        desk.board.generation = "two"
        desk.queues.beat()
        quiet()
        said = [what for what, _ in desk.board.asked if what in ("enrol", "take", "enter")]
        assert said == ["enrol", "take", "enter"]

    def test_a_talk_that_is_over_is_not_told_again(self, desk: Desk) -> None:
        desk.offered().says(TAKE)
        desk.queues.talks(cast(Any, desk.session), LEG, "301")
        desk.queues.ended("test", "301", LEG, answered=True)
        quiet()
        desk.redis_goes().redis_comes()
        assert desk.board.told("take") == []

    def test_a_pause_fails_and_nobody_knows_the_place(self, desk: Desk) -> None:
        desk.redis_goes()
        desk.says(m.AskPlace(), m.SetDuty("301", "pause"))
        assert desk.hears() == [m.PlaceTold(0), m.DutySet("")]

    def test_no_agent_is_claimed(self, desk: Desk) -> None:
        desk.board.answers["claim"] = [None]
        desk.queues.dispatch("test", answer(agents=(look("301", CALL), look("302", OTHER))))
        assert len(desk.board.told("claim")) == 1

    def test_ten_thousand_who_come_back_do_not_ask_all_at_once(self, desk: Desk) -> None:
        sessions = [Session(f"5b1c1f54-0000-4000-8000-{n:012}") for n in range(100)]
        gate = desk.board.gates["enter"] = gevent.event.Event()
        for session in sessions:
            desk.says(enter(), session=session)
        assert len(desk.board.told("enter")) == 4
        desk.says(TAKE)
        assert desk.hears() == [m.Taken(1, True)]
        gate.set()
        quiet()
        assert len(desk.board.told("enter")) == 100


class TestOffers:
    def test_one_is_rung_for_as_long_as_the_ringing_may_last_and_told(self, desk: Desk) -> None:
        desk.says(enter()).hears()
        desk.wakes("offer", offer=1, agent="301")
        assert desk.hears() == [m.Offered(1, "301")]
        assert desk.board.told("rung") == [(CALL, "301", 1, 65.0)]

    def test_one_that_came_too_late_is_withdrawn(self, desk: Desk) -> None:
        desk.board.answers["rung"] = [answer(False)]
        desk.says(enter()).hears()
        desk.wakes("offer", offer=1, agent="301")
        assert desk.hears() == [m.Offered(1, "301"), m.Withdrawn(1)]

    def test_one_that_comes_before_the_call_knows_of_its_place_waits(self, desk: Desk) -> None:
        gate = desk.board.gates["enter"] = gevent.event.Event()
        desk.says(enter())
        desk.wakes("offer", offer=1, agent="301")
        assert desk.hears() == []
        gate.set()
        quiet()
        assert desk.hears() == [m.Entered(JOINED), m.Offered(1, "301")]

    def test_one_that_comes_while_the_call_is_entered_again_holds(self, desk: Desk) -> None:
        desk.says(enter()).hears()
        gate = desk.board.gates["enter"] = gevent.event.Event()
        desk.wakes("again").wakes("offer", offer=1, agent="301")
        gate.set()  # with the answer of a moment before the offer
        quiet()
        assert desk.hears() == [m.Offered(1, "301")]

    def test_one_that_is_gone_before_redis_heard_of_us_is_not_said_to_ring(self, desk: Desk) -> None:
        desk.says(enter())
        gate = desk.board.gates["miss"] = gevent.event.Event()
        desk.says(MISS).wakes("offer", offer=2, agent="302").wakes("gone", offer=2, agent="302")
        gate.set()
        quiet()
        assert desk.board.words == ["enter", "miss"]

    def test_one_for_a_call_that_is_not_ours_is_nothing(self, desk: Desk) -> None:
        desk.wakes("offer", call=OTHER, offer=1, agent="301")
        assert desk.board.words == []

    def test_one_that_is_gone_is_withdrawn_once(self, desk: Desk) -> None:
        desk.offered().wakes("gone", offer=1, agent="301").wakes("gone", offer=1, agent="301")
        assert desk.hears() == [m.Withdrawn(1)]

    def test_but_not_one_that_was_missed_or_is_being_taken(self, desk: Desk) -> None:
        desk.offered().says(MISS).wakes("gone", offer=1, agent="301")
        assert desk.hears() == []
        desk.board.gates["take"] = gate = gevent.event.Event()
        desk.offered(2).says(m.Take(2, "301", LEG, 7.0)).wakes("gone", offer=2, agent="301")
        assert desk.hears() == []
        gate.set()

    def test_one_that_nobody_took_up_enters_the_call_again(self, desk: Desk) -> None:
        desk.says(enter()).wakes("again")
        commands = [command for _, command, *_ in desk.board.told("enter")]
        assert [(command.again, command.joined) for command in commands] == [(False, 0), (True, JOINED)]
        assert desk.hears() == [m.Entered(JOINED)]

    def test_who_can_serve_is_told_to_those_who_wait_in_that_queue_once(self, desk: Desk) -> None:
        other = Session(OTHER)
        desk.says(enter("other"), session=other)
        desk.says(enter()).hears()
        for _ in range(2):
            desk.queues.woken({"do": "staff", "company": "test", "queue": "sales", "staffed": "paused"})
            desk.queues.woken({"do": "staff", "company": "elsewhere", "queue": "sales", "staffed": "no_agents"})
        assert desk.hears() == [m.Staffed("paused")]
        assert other.heard == [m.Entered(JOINED)]


class TestTaking:
    def test_who_is_granted_talks_and_stands_in_no_queue(self, desk: Desk) -> None:
        desk.offered().says(TAKE)
        assert desk.hears() == [m.Taken(1, True)]
        desk.redis_goes().redis_comes()
        assert desk.board.told("enter") == []

    def test_who_is_refused_still_waits(self, desk: Desk) -> None:
        desk.board.answers["take"] = [answer(False)]
        desk.offered().says(TAKE)
        assert desk.hears() == [m.Taken(1, False)]
        desk.redis_goes().redis_comes()
        assert len(desk.board.told("enter")) == 1
        assert desk.board.told("take") == []

    @pytest.mark.parametrize("slow", [False, True], ids=["Redis answers", "nobody waits for Redis"])
    def test_who_lost_the_agent_before_the_answer_stands_in_the_queue_again(
        self, desk: Desk, timers: Timers, slow: bool
    ) -> None:
        gate = desk.board.gates["take"] = gevent.event.Event()
        desk.offered().says(TAKE)
        (timer,) = [timer for timer in timers.armed if timer.seconds == module.PATIENCE]
        desk.says(m.Miss(1, "301", "no_answer", 5.0), enter(again=True, joined=JOINED, first=2))
        if slow:
            timer.ring()
        gate.set()
        quiet()
        assert desk.board.words[-3:] == ["take", "miss", "enter"]

    def test_nobody_waits_for_a_slow_redis_longer_than_a_second(self, desk: Desk, timers: Timers) -> None:
        gate = desk.board.gates["take"] = gevent.event.Event()
        desk.offered().says(TAKE)
        (timer,) = [timer for timer in timers.armed if timer.seconds == module.PATIENCE]
        assert desk.hears() == []
        timer.ring()
        assert desk.hears() == [m.Taken(1, True)]
        gate.set()
        quiet()
        assert desk.hears() == []

    def test_who_is_refused_after_that_talks_all_the_same_and_the_agent_is_busy_so_long(
        self, desk: Desk, timers: Timers
    ) -> None:
        gate = desk.board.gates["take"] = gevent.event.Event()
        desk.board.answers["take"] = [answer(False)]
        desk.offered().says(TAKE)
        (timer,) = [timer for timer in timers.armed if timer.seconds == module.PATIENCE]
        timer.ring()
        gate.set()
        quiet()
        assert desk.board.words == ["take", "leave", "busy"]
        assert desk.board.told("busy") == [("301", LEG)]
        desk.queues.ended("test", "301", LEG, answered=True)
        quiet()
        assert desk.board.told("hang_up") == [("301", LEG)]

    def test_whoever_was_joined_without_a_word_stands_in_no_queue_either(self, desk: Desk) -> None:
        desk.board.answers["take"] = [answer(False)]
        desk.offered().says(TAKE)
        desk.queues.talks(desk.session, LEG, "301")
        quiet()
        assert desk.board.words == ["take", "leave", "busy"]

    def test_an_answer_in_time_stops_the_clock(self, desk: Desk, timers: Timers) -> None:
        desk.offered().says(TAKE)
        assert module.PATIENCE not in timers.seconds


class TestWhoOwnsTheCall:
    def test_a_call_that_ended_leaves_the_queue(self, desk: Desk) -> None:
        desk.says(enter())
        desk.session.ended = True
        desk.queues.forget(cast(Any, desk.session))
        quiet()
        assert desk.board.words == ["enter", "leave"]

    def test_one_that_went_to_another_process_keeps_its_place_and_is_not_entered_from_here(self, desk: Desk) -> None:
        desk.redis_goes()
        desk.says(enter())
        desk.session.moved = True
        desk.queues.forget(cast(Any, desk.session))
        desk.redis_comes()
        assert desk.board.words == []

    def test_what_it_left_before_it_moved_is_not_undone_where_it_is_now(self, desk: Desk) -> None:
        desk.redis_goes()
        desk.says(enter(), m.Leave())
        desk.session.moved = True
        desk.redis_comes()
        assert desk.board.words == []

    def test_a_connection_that_lost_the_call_does_not_take_it_from_the_one_that_has_it(self, desk: Desk) -> None:
        desk.says(enter())
        newer = Session()
        desk.says(enter(again=True), session=newer)
        desk.session.ended = True
        desk.queues.forget(cast(Any, desk.session))
        quiet()
        desk.wakes("offer", offer=1, agent="301")
        assert newer.heard == [m.Entered(JOINED), m.Staffed(""), m.Offered(1, "301")]
        assert "leave" not in desk.board.words

    def test_a_caller_who_leaves_as_the_agent_answers_frees_the_agent_after_the_taking(self, desk: Desk) -> None:
        gate = desk.board.gates["take"] = gevent.event.Event()
        desk.offered().says(TAKE)
        desk.session.ended = True
        desk.queues.forget(cast(Any, desk.session))
        desk.queues.ended("test", "301", LEG, answered=True)
        quiet()
        gate.set()
        quiet()
        assert desk.board.words == ["take", "leave", "hang_up"]


class TestCrowds:
    def test_very_many_callers_of_one_company_keep_nobody_of_another_waiting(self, desk: Desk) -> None:
        """As when Redis is back; here it answers nobody yet."""
        desk.board.gates["enter"] = gate = gevent.event.Event()
        for number in range(100):
            desk.queues.perform(cast(Any, Session(f"{OTHER}-{number}")), enter())
        desk.says(enter(), session=Session(CALL, company="other"))
        asked = [call for call, *_ in desk.board.told("enter")]
        assert asked == [*(f"{OTHER}-{number}" for number in range(4)), CALL]
        gate.set()
        quiet()
        assert len(desk.board.told("enter")) == 101


class TestDeciding:
    def test_a_free_agent_serves_who_has_waited_longest(self, desk: Desk) -> None:
        desk.board.answers["hang_up"] = [answer(agents=(look("301", CALL, OTHER),))]
        desk.offered().says(TAKE)
        desk.queues.talks(cast(Any, desk.session), LEG, "301")
        desk.queues.ended("test", "301", LEG, answered=True)
        quiet()
        assert desk.board.told("claim") == [(CALL, "301")]

    def test_a_caller_gets_the_agent_who_has_been_free_longest(self, desk: Desk) -> None:
        agents = (Candidate("301", idle=20), Candidate("302", idle=10))
        one = CallLook(CALL, "sales", "longest-idle", 1, agents)
        desk.board.answers["enter"] = [answer(joined=JOINED, calls=(one,))]
        desk.says(enter())
        assert desk.board.told("claim") == [(CALL, "302")]

    def test_with_ring_all_everybody(self, desk: Desk) -> None:
        agents = (Candidate("301", idle=20), Candidate("302", idle=10))
        desk.queues.dispatch("test", answer(calls=(CallLook(CALL, "sales", "ring-all", 10, agents),)))
        assert desk.board.told("claim") == [(CALL, "302"), (CALL, "301")]

    def test_what_is_stale_is_decided_anew(self, desk: Desk) -> None:
        desk.board.answers["claim"] = [answer(False, agents=(look("301", OTHER),)), answer()]
        desk.queues.dispatch("test", answer(agents=(look("301", CALL),)))
        assert desk.board.told("claim") == [(CALL, "301"), (OTHER, "301")]

    def test_and_so_is_the_rest_of_it(self, desk: Desk) -> None:
        agents = (Candidate("301", idle=20), Candidate("302", idle=10))
        desk.board.answers["claim"] = [answer(False)]
        desk.queues.dispatch("test", answer(calls=(CallLook(CALL, "sales", "ring-all", 10, agents),)))
        assert desk.board.told("claim") == [(CALL, "302")]

    def test_but_not_for_ever(self, desk: Desk, logs: list[MutableMapping[str, Any]]) -> None:
        desk.board.answers["claim"] = [answer(False, agents=(look("301", CALL),))]
        desk.queues.dispatch("test", answer(agents=(look("301", CALL),)))
        assert len(desk.board.told("claim")) == module.MOST_ROUNDS
        assert [line["log_level"] for line in logs] == ["warning"]

    def test_when_something_of_an_agents_ends_they_rest_and_are_decided_on(self, desk: Desk, timers: Timers) -> None:
        desk.board.answers["miss"] = [answer(timers=(("301", 10.0),))]
        desk.board.answers["rest"] = [answer(agents=(look("301", CALL),))]
        desk.offered().says(MISS)
        assert timers.seconds == [10.0]
        timers.armed[0].ring()
        assert desk.board.words == ["miss", "rest", "claim"]

    def test_a_newer_end_takes_the_place_of_the_older(self, desk: Desk, timers: Timers) -> None:
        desk.board.answers["miss"] = [answer(timers=(("301", 10.0),)), answer(timers=(("301", 5.0),))]
        desk.says(MISS, MISS)
        assert timers.seconds == [5.0]

    @pytest.mark.parametrize(("left", "armed"), [(0.004, [0.004]), (600.0, [])])
    def test_an_end_that_moved_is_somebody_elses_unless_our_clock_was_fast(
        self, desk: Desk, timers: Timers, left: float, armed: list[float]
    ) -> None:
        desk.board.answers["rest"] = [answer(False, timers=(("301", left),))]
        desk.queues.rest("test", "301")
        assert timers.seconds == armed

    def test_a_caller_whom_the_queue_has_lost_by_then_enters_again(self, desk: Desk, timers: Timers) -> None:
        desk.board.answers["enter"] = [answer(joined=JOINED, opens=30.0), answer(joined=JOINED)]
        desk.board.answers["seek"] = [answer(False)]
        desk.says(enter())
        timers.armed[-1].ring()
        assert desk.board.words == ["enter", "seek", "enter"]

    def test_a_level_that_opens_looks_for_an_agent_again(self, desk: Desk, timers: Timers) -> None:
        desk.board.answers["enter"] = [answer(joined=JOINED, opens=30.0)]
        desk.board.answers["seek"] = [answer(opens=60.0, agents=(look("303", CALL),)), answer(opens=0)]
        desk.says(enter())
        assert timers.seconds == [30.0]
        timers.armed[0].ring()
        assert desk.board.words == ["enter", "seek", "claim"]
        assert timers.seconds == [60.0]
        desk.says(m.Leave())
        assert timers.seconds == []


class TestTelephones:
    PHONE = "5b1c1f54-0000-4000-8000-00000000000a"

    def test_who_began_a_talk_tells_its_end_at_once(self, desk: Desk) -> None:
        desk.offered().says(TAKE)
        desk.queues.talks(cast(Any, desk.session), LEG, "301")
        desk.queues.ended("test", "301", LEG, answered=True)
        quiet()
        assert desk.board.told("hang_up") == [("301", LEG)]
        assert desk.board.ops[-1] == f"end-{LEG}"

    def test_a_leg_that_ends_before_it_was_joined_is_what_the_call_says_it_was(
        self, desk: Desk, timers: Timers
    ) -> None:
        """A telephone that answers and drops is a miss, and the end of its leg must not come before that."""
        desk.offered().says(TAKE)
        desk.queues.ended("test", "301", LEG, answered=True)
        desk.says(m.Miss(1, "301", "no_answer", 5.0))
        assert timers.armed == []
        assert desk.board.words == ["take", "miss"]

    def test_a_leg_that_ends_before_it_was_joined_is_told_soon_if_the_call_says_nothing(
        self, desk: Desk, timers: Timers
    ) -> None:
        desk.offered().says(TAKE)
        desk.queues.ended("test", "301", LEG, answered=True)
        assert desk.board.told("hang_up") == []
        (timer,) = timers.armed
        assert timer.seconds == module.LATE
        timer.ring()
        assert desk.board.told("hang_up") == [("301", LEG)]

    def test_a_talk_whose_end_is_heard_before_its_beginning_is_told_at_once(self, desk: Desk, timers: Timers) -> None:
        desk.offered().says(TAKE)
        desk.queues.ended("test", "301", LEG, answered=True)
        desk.queues.talks(cast(Any, desk.session), LEG, "301")
        quiet()
        assert (desk.board.told("hang_up"), timers.armed) == ([("301", LEG)], [])

    def test_the_end_of_somebody_elses_is_told_by_who_sweeps_a_moment_later(self, desk: Desk, timers: Timers) -> None:
        desk.queues.ended("test", "301", LEG, answered=True)
        assert timers.armed == []
        desk.queues.caretaker.sweeps = True
        desk.queues.ended("test", "301", OTHER, answered=True)
        quiet()
        assert desk.board.words == []
        timers.armed[0].ring()
        assert desk.board.told("hang_up") == [("301", OTHER)]

    def test_what_ended_while_nobody_swept_is_told_by_the_next_who_does(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1000.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        desk.queues.ended("test", "301", LEG, answered=True)
        now[0] += module.HEARD - 1.0
        desk.queues.ended("test", "302", OTHER, answered=True)
        now[0] += 2.0
        desk.house.leases.add(SWEEPER)
        for _ in range(2):
            desk.queues.caretaker.sweep_if_ours()
        quiet()
        assert desk.board.told("hang_up") == [("302", OTHER)]

    def test_one_that_the_switch_knows_nobody_by_is_whose_it_was_when_it_began(self, desk: Desk) -> None:
        desk.queues.talks(desk.session, LEG, "301")
        quiet()
        desk.queues.ended("test", "", LEG, answered=True)
        desk.queues.ended("test", "", OTHER, answered=True)
        quiet()
        assert desk.board.told("busy", "hang_up") == [("301", LEG), ("301", LEG)]

    def test_nothing_is_remembered_for_long(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [1000.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        for number in range(100):
            desk.queues.ended("test", "301", f"{LEG}{number}", answered=True)
            now[0] += 1.0
        assert len(desk.queues._heard) <= module.HEARD + 1

    @pytest.mark.parametrize(
        ("company", "person", "answered"), [("test", "303", True), ("other", "301", True), ("test", "301", False)]
    )
    def test_an_end_that_concerns_no_queue_costs_nothing(
        self, desk: Desk, timers: Timers, company: str, person: str, answered: bool
    ) -> None:
        desk.queues.caretaker.sweeps = True
        desk.queues.ended(company, person, LEG, answered=answered)
        quiet()
        assert (desk.board.asked, timers.armed) == ([], [])

    def test_an_agent_who_calls_somebody_is_busy_until_that_ends(self, desk: Desk) -> None:
        phone = Session(self.PHONE)
        phone.extension = "302"
        desk.queues.begins(cast(Any, phone))
        quiet()
        desk.queues.ended("test", "302", self.PHONE, answered=True)
        quiet()
        assert list(desk.board.asked) == [
            ("busy", ("302", self.PHONE)),
            ("hang_up", ("302", self.PHONE)),
        ]

    def test_and_one_who_is_talked_to_from_elsewhere_but_not_from_a_queue(self, desk: Desk) -> None:
        desk.queues.talks(cast(Any, desk.session), OTHER, "302")
        desk.queues.talks(cast(Any, desk.session), OTHER, "303")  # no agent
        desk.offered().says(TAKE)
        desk.queues.talks(cast(Any, desk.session), LEG, "301")
        quiet()
        assert desk.board.told("busy") == []
        assert [what for what, _ in desk.board.asked] == ["take"]

    def test_a_busy_agent_is_told_of_when_redis_is_back_unless_it_is_over(self, desk: Desk) -> None:
        desk.redis_goes()
        for leg in (LEG, OTHER):
            desk.queues.talks(cast(Any, desk.session), leg, "302")
        desk.queues.ended("test", "302", OTHER, answered=True)
        quiet()
        desk.redis_comes()
        assert desk.board.told("busy") == [("302", LEG)]

    def test_and_again_when_everything_was_lost(self, desk: Desk) -> None:
        desk.queues.talks(cast(Any, desk.session), LEG, "302")
        quiet()
        desk.board.generation = "two"
        desk.queues.beat()
        quiet()
        assert desk.board.told("busy") == [("302", LEG)] * 2


class TestEnrolment:
    def test_only_what_changed_is_told_and_whoever_waits_is_looked_at(self, desk: Desk) -> None:
        desk.queues.take_up([desk.house.routing])
        quiet()
        assert desk.board.asked == []
        desk.house.routing = routing(FLOWS, HEAD.replace("[301, 302]", "[303]"))
        desk.board.answers["settle"] = [answer(agents=(look("303", CALL),)), answer()]
        desk.queues.take_up([desk.house.routing])
        quiet()
        assert [list(agents) for agents in desk.board.told("enrol")] == [["303"]]
        assert desk.board.told("claim") == [(CALL, "303")]

    def test_when_levels_open_otherwise_who_waits_is_asked_for_then(self, desk: Desk) -> None:
        desk.says(enter())
        levels = "[301, {agent: 302, level: 2}], levels: {2: 10s}"
        desk.house.routing = routing(FLOWS, HEAD.replace("[301, 302]", levels))
        desk.queues.take_up([desk.house.routing])
        quiet()
        desk.says(enter(), session=Session(OTHER))
        told = [(call, command.levels) for call, command, *_ in desk.board.told("enter")]
        assert told == [(CALL, ()), (CALL, (10.0,)), (OTHER, (10.0,))]

    def test_a_change_of_something_else_tells_nothing(self, desk: Desk) -> None:
        desk.queues.take_up([routing(FLOWS, HEAD.replace("Chiara", "Carla"))])
        quiet()
        assert desk.board.asked == []

    def test_a_company_without_queues_is_none_of_ours(self, desk: Desk) -> None:
        from tests.playbook import HEAD as PLAIN

        queues = Queues(cast(Any, desk.board), "p2", cast(Any, desk.house))
        queues.take_up([routing("main:\n  it: {play: Hi.}\n", PLAIN)])
        quiet()
        assert not queues.serves("test")
        assert desk.board.asked == []

    def test_one_whose_queues_were_taken_away_has_no_agents_any_more(self, desk: Desk) -> None:
        head = HEAD[: HEAD.index("queues:")].replace(", duty: office", "")
        desk.queues.take_up([routing("main:\n  it: {play: Hi.}\n", head)])
        quiet()
        assert desk.board.told("enrol") == [{}]

    def test_nor_has_one_that_is_gone_itself(self, desk: Desk) -> None:
        for _ in range(2):
            desk.queues.take_up([])
            quiet()
        assert desk.board.told("enrol") == [{}]
        desk.queues.take_up([desk.house.routing])
        quiet()
        assert [list(agents) for agents in desk.board.told("enrol")] == [[], ["301", "302"]]

    def test_its_callers_are_still_heard_of(self, timers: Timers) -> None:
        desk = Desk()
        queues = Queues(cast(Any, desk.board), "p2", cast(Any, desk.house))
        queues._beat_or_ask()
        assert desk.board.told("beat") == []
        queues.perform(Session(company="gone"), enter())
        quiet()
        queues._beat_or_ask()
        assert desk.board.told("beat") == ["p2"]
        desk.board.away = True
        queues.beat()
        desk.board.away = False
        queues.beat()
        quiet()
        assert [command.again for _, command, *_ in desk.board.told("enter")] == [False, True]
        queues.leave("gone", OTHER)
        quiet()
        assert desk.board.told("leave") == [OTHER]

    def test_the_first_caller_of_a_new_queue_does_not_come_before_its_agents(self, desk: Desk) -> None:
        desk.house.routing = routing(FLOWS, HEAD + "  new: {agents: [303]}\n")  # published, and not yet taken up
        desk.says(enter("new"))
        assert [what for what, _ in desk.board.asked if what in ("enter", "enrol")] == ["enrol", "enter"]
        desk.queues.take_up([desk.house.routing])
        quiet()
        assert len(desk.board.told("enrol")) == 1

    def test_nor_do_they_while_redis_is_away(self, desk: Desk) -> None:
        desk.house.routing = routing(FLOWS, HEAD + "  new: {agents: [303]}\n")
        desk.board.away = True
        desk.says(enter("new"))
        assert desk.board.told("enter") == []
        desk.redis_comes()
        assert [what for what, _ in desk.board.asked if what in ("enter", "enrol")] == ["enrol", "enter"]

    def test_agents_with_hours_say_whether_they_are_on(self, timers: Timers) -> None:
        desk = Desk()
        desk.house.time += 12 * 3600
        desk.house.routing = routing(FLOWS, HEAD.replace("[301, 302]", "[302, 301]"))
        desk.queues.take_up([desk.house.routing])
        quiet()
        (agents,) = desk.board.told("enrol")
        assert (agents["301"]["on"], "on" in agents["302"]) == (False, False)
