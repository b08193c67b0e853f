"""The account of a queue hour: what it makes of facts, and that each of its checks can fail."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from scripts.queue_account import Account, Check, Fact, journey

NUMBERS = count(1)


def fact(at: float, kind: str, epoch: int = 1, **data: Any) -> Fact:
    return {"type": kind, "call": "c", "epoch": epoch, "n": next(NUMBERS), "at": at, "data": data}


def served(at: float, agent: str = "401", *, waits: float = 1.0, talks: float = 2.0, priority: int = 0) -> list[Fact]:
    """A caller who calls at ``at`` and waits and talks for so long."""
    joined, answered = at + 0.1, at + 0.1 + waits
    return [
        fact(at, "call.started"),
        fact(joined, "queue.joined", queue="desk", priority=priority),
        fact(answered - 0.1, "queue.offered", queue="desk", agent=agent, offer=1),
        fact(answered, "queue.answered", queue="desk", agent=agent, offer=1, waited=waits),
        fact(answered, "talk.started", leg="l"),
        fact(answered + talks, "call.taken_over", 2, after="talk"),
        fact(answered + talks, "talk.ended", 2, seconds=int(talks)),
        fact(answered + talks + 0.01, "call.ended", 2, cause="NORMAL_CLEARING", by="cordboard"),
    ]


def without(kind: str, facts: list[Fact]) -> list[Fact]:
    """The facts but those of which the type begins so."""
    return [one for one in facts if not one["type"].startswith(kind)]


def gave_up(at: float, waits: float, kind: str = "queue.abandoned", priority: int = 0) -> list[Fact]:
    """A caller whose waiting ends without a talk."""
    return [
        fact(at, "call.started"),
        fact(at, "queue.joined", queue="desk", priority=priority),
        fact(at + waits, kind, queue="desk", waited=waits),
        fact(at + waits, "call.ended", cause="NORMAL_CLEARING", by="caller"),
    ]


def account(calls: Mapping[str, list[Fact]], **more: Any) -> Account:
    journeys = {call: journey(call, facts) for call, facts in calls.items()}
    talks = dict.fromkeys(calls, 2.0)
    gave_up = frozenset(call for call, one in journeys.items() if not one.served)
    given = {
        "journeys": journeys,
        "talks": talks,
        "agents": {"401": "Alma", "402": "Bruno"},
        "gave_up": gave_up,
    }
    return Account(**{**given, **more})


def killed() -> dict[str, list[Fact]]:
    """One waits and one talks when a controller is killed at 10.0, and both come to their end."""
    waiting = served(9.0, "402", waits=3.0)
    waiting.insert(2, fact(10.1, "call.taken_over", 2, after="restart"))
    return {"waits": waiting, "talks": served(8.0, "401")}


def troubles(made: Account, about: str) -> tuple[str, ...]:
    found: list[Check] = [check for check in made.checks() if about in check.says]
    assert len(found) == 1
    return found[0].troubles


# -- the checks -------------------------------------------------------------------------------------------


def test_an_hour_in_which_all_went_well_has_no_trouble() -> None:
    made = account(killed() | {"a": gave_up(1.0, 2.0), "b": gave_up(2.0, 3.0, "queue.left")}, killed=10.0)
    assert {check.says: check.troubles for check in made.checks() if check.troubles} == {}


def test_a_call_without_an_end_and_one_with_two_are_found() -> None:
    endless = without("call.ended", served(1.0))
    twice = [*served(10.0), fact(14.0, "call.ended", 2, cause="NORMAL_CLEARING", by="caller")]
    assert troubles(account({"a": endless, "b": twice, "c": served(20.0)}), "one end") == (
        "a has no end",
        "b has 2 ends",
    )


def test_a_caller_of_whom_nothing_became_and_one_who_was_served_and_gave_up_are_found() -> None:
    nothing = [fact(1.0, "call.started"), fact(1.0, "queue.joined", queue="desk", priority=0), fact(2.0, "call.ended")]
    both = [*served(10.0), fact(11.5, "queue.abandoned", queue="desk", waited=1.4)]
    assert troubles(account({"a": nothing, "b": both, "c": served(20.0)}), "accounted") == (
        "a: nothing became of it",
        "b: served and abandoned",
    )


def test_a_waiting_caller_whose_call_is_lost_is_not_taken_for_one_who_gave_up() -> None:
    made = account({"a": gave_up(1.0, 2.0), "b": gave_up(5.0, 2.0)}, gave_up=frozenset({"b"}))
    assert troubles(made, "accounted") == ("a is said to have given up, and did not: the call was lost",)


def test_an_agent_who_answered_and_could_not_be_joined_has_not_served_the_caller() -> None:
    facts = [
        *served(1.0)[:4],
        fact(2.2, "queue.missed", queue="desk", agent="401", offer=1, result="unreachable"),
        fact(5.0, "queue.abandoned", queue="desk", waited=4.0),
        fact(5.0, "call.ended"),
    ]
    one = journey("a", facts)
    assert one.outcomes == ["abandoned"]
    assert one.waited == pytest.approx(3.9)
    assert troubles(account({"a": facts}), "accounted") == ()


def test_a_talk_that_was_cut_short_is_found() -> None:
    made = account({"a": served(1.0, talks=0.7), "b": served(1.0, "402", talks=2.0)})
    assert troubles(made, "meant to") == ("a talked 0:01 of 0:02",)


def test_an_answer_without_a_talk_is_found() -> None:
    silent = without("talk.", served(1.0))
    assert troubles(account({"a": silent}, gave_up=frozenset()), "meant to") == (
        "a was answered and talked with nobody",
    )


def test_a_caller_who_gives_up_while_being_joined_talks_with_nobody_and_that_is_no_trouble() -> None:
    calls = {"a": without("talk.", served(1.0))}
    assert troubles(account(calls, gave_up=frozenset({"a"})), "meant to") == ()


def test_a_caller_who_is_served_after_one_who_came_later_is_found() -> None:
    made = account({"first": served(1.0, waits=6.0), "second": served(2.0, "402", waits=2.0)})
    (trouble,) = troubles(made, "passed over")
    assert trouble.startswith("first had waited 0:03 when second")


def test_a_caller_who_gave_up_after_one_who_came_later_was_served_is_found() -> None:
    made = account({"first": gave_up(1.0, 6.0), "second": served(2.0, "402", waits=2.0)})
    assert len(troubles(made, "passed over")) == 1


def test_who_goes_first_or_had_given_up_or_was_offered_in_vain_passes_nobody_over() -> None:
    refused = [
        *served(2.0, waits=6.0),
        fact(2.3, "queue.offered", queue="desk", agent="402", offer=7),
        fact(3.0, "queue.missed", queue="desk", agent="402", offer=7, result="declined"),
    ]
    made = account(
        {
            "gave up": gave_up(0.5, 2.0),
            "refused": refused,
            "ordinary": served(2.5, waits=4.0),
            "vip": served(3.0, "402", waits=1.0, priority=10),
        }
    )
    assert troubles(made, "passed over") == ()


def test_who_joined_while_another_was_just_calling_may_have_been_the_later_one() -> None:
    made = account({"a": served(1.0, waits=2.1), "b": served(1.05, "402", waits=1.5)})
    assert troubles(made, "passed over") == ()


def test_when_an_agent_was_given_is_told_by_the_agents_own_facts() -> None:
    calls = {"a": served(1.0, waits=6.0), "b": served(2.0, "402", waits=2.0)}
    in_order = [
        fact(3.0, "agent.state", agent="401", state="offered", call="a"),
        fact(3.1, "agent.state", agent="402", state="offered", call="b"),
    ]
    assert troubles(account(calls, states=in_order), "passed over") == ()
    assert len(troubles(account(calls, states=in_order[1:]), "passed over")) == 1


def test_a_caller_without_an_owner_is_passed_over_until_another_controller_has_the_call() -> None:
    calls = {"orphan": served(1.0, waits=6.0), "second": served(2.0, "402", waits=2.0)}
    calls["orphan"].append(fact(4.2, "call.taken_over", 2, after="restart"))
    assert troubles(account(calls, killed=3.9), "passed over") == ()
    assert len(troubles(account(calls, killed=4.1), "passed over")) == 1


def test_an_agent_who_is_offered_a_call_while_talking_or_ringing_is_found() -> None:
    made = account({"a": served(1.0, talks=4.0), "b": served(3.0)})
    assert troubles(made, "no agent") == ("401 was offered b while a was theirs",)
    rings = served(1.0)[:3]
    made = account({"a": rings, "b": served(3.0)})
    assert troubles(made, "no agent") == ("401 was offered b while a was theirs",)


def test_a_second_talk_during_a_long_one_is_found_though_a_short_one_lies_between() -> None:
    made = account({"a": served(1.0, talks=9.0), "b": served(3.0, talks=0.5), "c": served(6.0)})
    assert troubles(made, "no agent") == (
        "401 was offered b while a was theirs",
        "401 was offered c while a was theirs",
    )


def test_a_telephone_that_was_rung_while_in_use_is_told() -> None:
    assert troubles(account({}, rung_on_the_phone=["Alma at 3"]), "no agent") == ("Alma at 3",)


def test_a_talk_of_which_only_the_end_is_told_began_at_the_answer() -> None:
    one = journey("a", without("talk.started", served(1.0)))
    assert one.talk == pytest.approx((2.1, 4.1))
    assert troubles(account({"a": without("talk.started", served(1.0, talks=0.5))}), "meant to") != ()


def test_a_missed_offer_leaves_the_agent_free_for_the_next() -> None:
    missed = [
        *gave_up(1.0, 9.0),
        fact(1.2, "queue.offered", queue="desk", agent="401", offer=1),
        fact(2.0, "queue.missed", queue="desk", agent="401", offer=1, result="declined"),
    ]
    assert troubles(account({"a": missed, "b": served(2.0)}), "no agent") == ()


def test_an_offer_that_was_withdrawn_ends_when_the_agents_own_facts_say_so() -> None:
    calls = {
        "a": [*gave_up(1.0, 9.0), fact(1.2, "queue.offered", queue="desk", agent="401", offer=1)],
        "b": served(3.0),
    }
    states = [
        fact(1.0, "agent.state", agent="401", state="available"),
        fact(1.15, "agent.state", agent="401", state="offered", call="a"),
        fact(2.0, "agent.state", agent="401", state="available"),
    ]
    assert troubles(account(calls, states=states), "no agent") == ()
    assert len(troubles(account(calls, states=states[:2]), "no agent")) == 1
    still = [*states[:2], fact(2.0, "agent.state", agent="401", state="talking", call="a")]
    assert len(troubles(account(calls, states=still), "no agent")) == 1


def test_a_kill_that_did_not_happen_or_hit_nobody_is_found() -> None:
    assert troubles(account(killed()), "taken over") == ("no controller was killed",)
    untouched = {"a": served(9.0, waits=3.0)}
    assert troubles(account(untouched, killed=10.0), "taken over") == ("the killed controller had no call",)


def test_a_waiting_caller_who_joins_again_or_is_lost_by_the_kill_is_found() -> None:
    calls = killed()
    calls["waits"].append(fact(10.2, "queue.joined", 2, queue="desk", priority=0))
    calls["lost"] = [fact(9.0, "call.started"), fact(9.0, "queue.joined", queue="desk", priority=0)]
    assert troubles(account(calls, killed=10.0), "taken over") == (
        "waits joined the queue again",
        "lost waited at the kill, and nothing became of it",
    )


def test_what_is_left_behind_is_told() -> None:
    assert troubles(account({}, left_behind=["callers is not empty"]), "Redis") == ("callers is not empty",)


# -- the figures ------------------------------------------------------------------------------------------


def lines(made: Account) -> dict[str, str]:
    """The table by the beginnings of its lines."""
    return {line[:26].strip(): line[26:].strip() for line in made.table()}


def test_the_table_counts_every_caller_once() -> None:
    calls = {f"s{n}": served(10.0 * n, waits=0.2) for n in range(5)}
    calls["slow"] = served(100.0, waits=4.0)
    calls |= {
        "a": gave_up(200.0, 8.0),
        "b": gave_up(210.0, 1.0, "queue.left"),
        "c": gave_up(220.0, 2.0, "queue.timeout"),
    }
    calls["d"] = gave_up(230.0, 0.0, "queue.refused")
    told = lines(account(calls, minute=1.0))
    assert told["Callers offered"] == "10"
    assert told["served"].startswith("6 ")
    assert [told[word].split()[0] for word in ("abandoned", "left by key", "timed out", "turned away")] == ["1"] * 4
    assert told["Service level"] == "50%  answered within 20 s"
    assert told["Average speed of answer"] == "0:50"
    assert told["Longest wait"] == "8:00"


def test_those_who_go_first_have_a_figure_of_their_own() -> None:
    calls = {"a": served(1.0, waits=3.0), "b": served(10.0, waits=1.0, priority=10)}
    assert lines(account(calls, minute=1.0))["Average speed of answer"] == "2:00  who go first: 1:00"


def test_the_table_tells_what_survived_the_kill() -> None:
    told = lines(account(killed(), killed=10.0, began=5.0, minute=1.0))
    assert told["Kills survived"] == "1  kill -9 of a controller at 5:00"
    assert told["talks that went on"] == "1  of 1"
    assert told["kept their place"] == "1  of 1 who waited; 1 call had another controller after 100 ms"
    broken = killed() | {"talks": served(8.0, "401", talks=1.2)}
    assert lines(account(broken, killed=10.0, began=5.0))["talks that went on"] == "0  of 1"


def test_an_agents_line_has_calls_talk_misses_and_pauses() -> None:
    calls = {
        "a": served(1.0, talks=2.5),
        "b": [
            *served(11.0),
            fact(11.15, "queue.offered", queue="desk", agent="401", offer=9),
            fact(11.2, "queue.missed", queue="desk", agent="401", offer=9, result="no_answer"),
            fact(11.3, "queue.offered", queue="desk", agent="402", offer=8),
        ],
    }
    states = [
        fact(2.0, "agent.state", agent="402", state="available", duty="on"),
        fact(4.0, "agent.state", agent="402", state="wrap_up", duty="paused"),
        fact(5.0, "agent.state", agent="402", state="paused", duty="paused"),
        fact(7.0, "agent.state", agent="402", state="available", duty="on"),
        fact(19.0, "agent.state", agent="402", state="paused", duty="paused"),
    ]
    alma, bruno = account(calls, states=states, began=0.0, ended=20.0).people()
    assert (alma.taken, alma.missed["no_answer"], alma.paused) == (2, 1, 0.0)
    assert alma.talked == pytest.approx(4.5)
    assert (bruno.taken, bruno.missed.total()) == (0, 0)
    assert bruno.paused == pytest.approx(4.0)
    assert account(calls, states=states, ended=20.0, minute=1.0).table()[-2].split() == [
        *("401", "Alma", "2", "4:30", "–", "1", "no", "answer"),
    ]


def test_an_hour_in_which_nobody_called_or_nothing_ended_has_a_table_too() -> None:
    assert lines(account({}))["Callers offered"] == "0"
    endless = {"waits": served(1.0)[:2], "talks": served(1.0)[:5]}
    assert lines(account(endless, killed=1.05))["Callers offered"] == "2"
    assert journey("a", []).waited == 0.0
