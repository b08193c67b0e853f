"""What heals queues, with switches and Redis of straw: nothing at the first look, everything at the second."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from callcontrol import caretaker as module
from callcontrol import messages as m
from callcontrol import queues as queues_module
from callcontrol import wire
from callcontrol.esl import ConnectionLost
from callcontrol.state import State, encode
from callcontrol.view import leg_id
from tests.playbook import CALL, epoch
from tests.queuedesk import LEG, OTHER, Desk, Timers, answer, look, quiet


class Switch:
    """The way to a switch: answers what is asked, if it is connected."""

    def __init__(self, name: str = "switch1") -> None:
        self.name, self.connected = name, True
        self.alive: set[str] = set()
        self.states: dict[str, str] = {}
        self.fails = False

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        if self.fails:
            raise ConnectionLost("gone")
        _, what, uuid, *_ = command.text.split()
        if what == "uuid_exists":
            return "true" if uuid in self.alive else "false"
        return self.states.get(uuid, "_undef_")


class Care(Desk):
    """A desk whose process cares for everything."""

    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch()
        self.house.lines["switch1"] = self.switch
        self.care = self.queues.caretaker
        self.holds()

    def holds(self, *held: dict[str, Any], waiting: tuple[dict[str, Any], ...] = ()) -> Care:
        self.board.answers["held"] = [{"held": list(held) or {}, "waiting": list(waiting) or {}}]
        return self

    def looks(self, times: int = 1, *, alive: set[str] | None = None, certain: bool = False) -> Care:
        for _ in range(times):
            self.care.reconcile(cast(Any, self.switch), alive or set(), certain=certain)
            quiet()
        return self

    @property
    def said(self) -> list[tuple[str, Any]]:
        return [one for one in self.board.asked if one[0] not in ("held", "settle", "beat", "due", "look", "companies")]


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    made = Timers()
    monkeypatch.setattr(queues_module, "_timer", made)
    monkeypatch.setattr(module, "SETTLING", 0.0)
    return made


@pytest.fixture
def care(timers: Timers) -> Iterator[Care]:
    made = Care()
    yield made
    made.queues.stop(0.0)


def reserved(doing: str = "talking", **more: Any) -> dict[str, Any]:
    known = {"agent": "301", "doing": doing, "call": CALL, "offer": 1, "leg": LEG, "switch": "switch1", "since": 9.0}
    return {**known, "elsewhere": {}, "queue": "sales", **more}


def waits(alive: bool = True, **more: Any) -> dict[str, Any]:
    return {"call": CALL, "switch": "switch1", "owner": "p9", "alive": alive, "standing": "waiting", **more}


class TestReconciling:
    @pytest.mark.parametrize(
        ("held", "waiting", "said", "kind"),
        [
            (reserved(), (), ("hang_up", ("301", LEG)), "talk"),
            (reserved("idle", leg="", elsewhere={OTHER: "switch1"}), (), ("hang_up", ("301", OTHER)), "elsewhere"),
            (reserved("offered", leg=""), (), ("miss", (CALL, m.Miss(1, "301", "lost"))), "offer"),
            (None, (waits(),), ("leave", CALL), "entry"),
        ],
    )
    def test_what_lives_no_more_is_repaired_at_the_second_look(
        self, care: Care, held: Any, waiting: Any, said: Any, kind: str
    ) -> None:
        care.holds(*([held] if held else []), waiting=waiting).looks()
        assert care.said == []
        care.looks()
        assert care.said == [said]
        assert care.care.repaired == {kind: 1}
        ((company, fact),) = care.house.facts
        assert (company, fact.type, fact.data["what"]) == ("test", "queue.repaired", kind)

    def test_at_once_when_the_switch_was_started_anew(self, care: Care) -> None:
        care.holds(reserved(), waiting=(waits(call=OTHER),)).looks(certain=True)
        assert care.said == [("hang_up", ("301", LEG)), ("leave", OTHER)]

    def test_but_what_came_on_the_new_switch_while_it_was_asked_is_not(self, care: Care) -> None:
        care.switch.alive |= {OTHER, LEG}
        care.holds(reserved(), waiting=(waits(call=OTHER),)).looks(certain=True)
        assert care.said == []

    def test_a_caller_who_is_passed_over_is_brought_back_to_an_owner_who_lives(self, care: Care) -> None:
        care.holds(waiting=(waits(standing="stalled"),)).looks(alive={CALL})
        assert care.said == []
        care.looks(alive={CALL})
        assert care.said == [("remind", CALL)]

    def test_calls_of_a_company_that_has_no_queues_any_more_are_looked_at_too(self, care: Care) -> None:
        care.board.answers["companies"] = [["gone", "test"]]
        care.looks()
        assert [company for what, company in care.board.asked if what == "held"] == ["gone", "test"]

    def test_what_is_on_another_switch_is_left_to_its_own_reconciler(self, care: Care) -> None:
        far = reserved(switch="switch2", elsewhere={OTHER: "switch2"})
        care.holds(far, waiting=(waits(switch="switch2"),)).looks(3)
        assert care.said == []

    def test_what_lives_is_left_alone_and_a_talk_kept_now_and_then(self, care: Care) -> None:
        held = (reserved(), reserved("offered", agent="302", call=OTHER, leg="", elsewhere={OTHER: "switch1"}))
        care.holds(*held, waiting=(waits(call=OTHER),)).looks(5, alive={CALL, LEG, OTHER})
        assert care.said == [("keep", ("301", LEG))]
        assert care.house.facts == []

    def test_what_was_wrong_once_and_right_again_is_no_suspect(self, care: Care) -> None:
        care.holds(reserved()).looks(alive=set()).looks(alive={LEG}).looks(alive=set())
        assert [what for what, _ in care.said] == ["keep"]

    def test_while_redis_is_away_nothing_is(self, care: Care) -> None:
        care.holds(reserved()).looks()
        care.redis_goes().board.asked.clear()
        care.looks(2)
        assert care.said == []

    def test_each_kind_is_an_alarm_once_a_minute_and_each_repair_a_warning(
        self, care: Care, logs: list[MutableMapping[str, Any]]
    ) -> None:
        care.holds(reserved(), reserved(agent="302", leg=OTHER)).looks(2)
        assert [line["event"] for line in logs].count("a queue was repaired") == 2
        assert [line["event"] for line in logs].count("alarm") == 1


class TestSwitchesThatCannotBeAsked:
    """Called otherwise now, or gone for good: nobody hears what ends there."""

    FAR = reserved("idle", leg="", elsewhere={OTHER: "far"})

    def looks(self, care: Care, monkeypatch: pytest.MonkeyPatch, *waiting: dict[str, Any]) -> list[tuple[str, Any]]:
        """What is said of them at the first look, and a minute later."""
        care.holds(self.FAR, waiting=waiting)
        care.board.answers["look"] = [{"members": [{"agent": "301", "hours": True}]}]
        now = [1000.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        care.house.leases.add(module.SWEEPER)
        care.care.sweep_if_ours()
        assert care.said == []
        now[0] += module.UNASKED
        care.care.sweep_if_ours()
        quiet()
        return care.said

    def test_an_agent_does_not_talk_there_for_ever(self, care: Care, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.looks(care, monkeypatch) == [("hang_up", ("301", OTHER))]
        assert care.care.repaired == {"elsewhere": 1}

    @pytest.mark.parametrize(
        ("caller", "stays"),
        [
            (waits(switch="far"), True),
            (waits(switch="far", alive=False), False),
            (waits(switch="far", standing="stalled"), False),
            (waits(alive=False), True),
        ],
    )
    def test_nor_does_a_caller_whom_nobody_has_stand_in_the_queue(
        self, care: Care, monkeypatch: pytest.MonkeyPatch, caller: dict[str, Any], stays: bool
    ) -> None:
        left = [one for one in self.looks(care, monkeypatch, caller) if one[0] == "leave"]
        assert left == ([] if stays else [("leave", CALL)])

    def test_one_that_is_back_in_time_keeps_everybody(self, care: Care, monkeypatch: pytest.MonkeyPatch) -> None:
        care.house.lines["far"] = far = Switch("far")
        far.connected = False
        now = [1000.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        care.holds(self.FAR)
        for connected in (False, True, False):
            far.connected = connected
            care.care.look_for_the_absent()
            now[0] += module.UNASKED - 1
        assert care.said == []

    def test_ends_that_nobody_heard_are_told_when_it_can_be_heard_again(self, care: Care) -> None:
        care.says(m.Take(1, "301", LEG, 7.0), m.Take(2, "302", OTHER, 7.0))
        care.queues.talks(care.session, LEG, "301")
        care.queues.talks(care.session, OTHER, "302")
        care.session.extension = "303"
        care.queues._agents["test"] |= {"303"}
        care.queues.begins(care.session)
        quiet()
        care.board.asked.clear()
        care.switch.alive.add(OTHER)
        care.care.catch_up(cast(Any, care.switch))
        quiet()
        assert care.said == [("hang_up", ("301", LEG)), ("hang_up", ("303", CALL))]
        care.board.generation = "two"
        care.redis_goes().redis_comes()
        assert [take.leg for _, take, _ in care.board.told("take")] == [OTHER]


class TestTheDead:
    """A process that died with a talk in its hands that Redis had not heard of."""

    OFFER = 3

    def state(self, care: Care, address: str, step: str = "wait") -> str:
        routing = care.house.routing
        state = State(routing.company, routing.version, "+74951234567", 1, 0, "main", step)
        state.talk = (address, 1, self.OFFER)
        return encode(state)

    @pytest.mark.parametrize(("address", "agent"), [("302", "302"), ("+79161112233", "301")])
    def test_its_talk_is_taken_on_its_behalf(self, care: Care, address: str, agent: str) -> None:
        leg = leg_id(CALL, self.OFFER, address)
        care.switch.states[CALL] = self.state(care, address)
        care.holds(waiting=(waits(alive=False),)).looks(alive={CALL, leg})
        assert care.said == []
        care.looks(alive={CALL, leg})
        assert care.said == [("take", (CALL, m.Take(self.OFFER, agent, leg, 7.0), "switch1"))]
        assert care.care.repaired == {"taken": 1}

    def test_a_caller_whose_owner_lives_is_the_owners(self, care: Care) -> None:
        care.switch.states[CALL] = self.state(care, "302")
        care.holds(waiting=(waits(),)).looks(3, alive={CALL, leg_id(CALL, self.OFFER, "302")})
        assert care.said == []

    def test_one_whose_leg_is_gone_or_who_does_not_talk_waits_for_the_takeover(self, care: Care) -> None:
        care.switch.states[CALL] = self.state(care, "302")
        care.holds(waiting=(waits(alive=False),)).looks(3, alive={CALL})
        care.switch.states.clear()
        care.looks(3, alive={CALL})
        assert care.said == []

    def test_one_who_talks_with_nobodys_telephone_stands_in_no_queue(self, care: Care) -> None:
        care.switch.states[CALL] = self.state(care, "+74990000000")
        leg = leg_id(CALL, self.OFFER, "+74990000000")
        care.holds(waiting=(waits(alive=False),)).looks(2, alive={CALL, leg})
        assert care.said == [("leave", CALL)]


class TestSettling:
    def test_a_free_agent_and_a_caller_whom_nobody_brings_together_are(self, care: Care) -> None:
        care.board.answers["settle"] = [answer(agents=(look("301", CALL),))]
        care.holds(waiting=(waits(),)).looks(alive={CALL})
        assert care.said == [("claim", (CALL, "301"))]
        assert care.care.repaired == {"unmatched": 1}

    def test_who_was_about_to_be_is_no_repair(self, care: Care) -> None:
        care.board.answers["settle"] = [
            answer(agents=(look("301", CALL),)),
            answer(agents=(look("301", OTHER), look("302", CALL))),
        ]
        care.holds(waiting=(waits(),)).looks(alive={CALL})
        assert [what for what, _ in care.said] == ["claim", "claim"]
        assert care.care.repaired == {}

    def test_while_nobody_waits_nobody_asks(self, care: Care) -> None:
        care.looks()
        assert care.board.told("settle") == []


class TestLeases:
    def test_what_is_due_is_ended_and_what_nobody_took_up_is_a_repair(self, care: Care) -> None:
        care.board.answers["due"] = [[("test", "301"), ("test", "302")]]
        expired = answer(expired={"call": CALL, "taken_up": False})
        care.board.answers["rest"] = [answer(), expired]
        care.care.sweep()
        assert care.said == [("rest", "301"), ("rest", "302")]
        assert care.care.repaired == {"offer": 1}

    def test_one_process_sweeps(self, care: Care) -> None:
        care.care.sweep_if_ours()
        assert care.board.told("due") == []
        care.house.leases.add(module.SWEEPER)
        care.care.sweep_if_ours()
        assert len(care.board.told("due")) == 1

    def test_and_one_that_stops_leaves_it_to_another_at_once(self, care: Care) -> None:
        care.house.leases.add(module.SWEEPER)
        care.care.sweep_if_ours()
        care.care.stop()
        assert care.house.leases == set()

    def ends(self, care: Care) -> list[tuple[str, Any]]:
        care.board.asked.clear()
        care.board.answers["rest"] = [answer(ask={"uuid": LEG, "switch": "switch1"})]
        care.queues.rest("test", "301")
        return [one for one in care.said if one[0] != "rest"]

    def test_a_talk_that_goes_on_is_kept_and_one_that_does_not_is_over(self, care: Care) -> None:
        care.switch.alive.add(LEG)
        assert self.ends(care) == [("keep", ("301", LEG))]
        care.switch.alive.clear()
        assert self.ends(care) == [("hang_up", ("301", LEG))]
        assert care.care.repaired == {"talk": 1}

    def test_while_the_switch_cannot_be_asked_it_goes_on_but_not_for_ever(
        self, care: Care, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        care.switch.fails = True
        assert self.ends(care) == []
        care.switch.connected = False
        assert self.ends(care) == []
        monkeypatch.setattr(module, "UNASKED", 0.0)
        assert self.ends(care) == [("hang_up", ("301", LEG))]


class TestHoursOfDuty:
    """Anna (301) is on duty in the office's hours, Boris (302) as he likes."""

    @pytest.fixture
    def clock(self, care: Care) -> Care:
        self.knows(care, True)
        return care

    def knows(self, care: Care, on: bool | None) -> None:
        members = [{"agent": "301", **({} if on is None else {"hours": on})}, {"agent": "302"}]
        care.board.answers["look"] = [{"members": members}]

    def test_they_log_in_and_out_as_they_begin_and_end_once(self, clock: Care) -> None:
        clock.care.keep_hours()
        assert clock.said == []
        clock.house.time = epoch("2026-11-23 18:00")
        for _ in range(3):
            clock.care.keep_hours()
        assert clock.said == [("duty", ("301", "log_out", "hours", "schedule", False))]
        clock.house.time = epoch("2026-11-24 09:00")
        clock.care.keep_hours()
        assert clock.said[1:] == [("duty", ("301", "log_in", "hours", "schedule", True))]

    def test_one_that_was_missed_while_nobody_looked_is_made_up_for(self, clock: Care) -> None:
        self.knows(clock, False)
        clock.care.keep_hours()
        assert clock.said == [("duty", ("301", "log_in", "hours", "schedule", True))]

    def test_whoever_gets_the_lease_asks_what_redis_was_told(self, clock: Care) -> None:
        clock.house.leases.add(module.SWEEPER)
        clock.care.sweep_if_ours()
        clock.house.leases.clear()
        clock.care.sweep_if_ours()
        self.knows(clock, False)
        clock.house.leases.add(module.SWEEPER)
        clock.care.sweep_if_ours()
        assert [what for what, _ in clock.said] == ["duty"]

    def test_it_is_tried_again_while_redis_is_away(self, clock: Care) -> None:
        clock.care.keep_hours()
        clock.house.time = epoch("2026-11-23 18:00")
        clock.board.answers["duty"] = [None, answer()]
        for _ in range(3):
            clock.care.keep_hours()
        assert len(clock.said) == 2
