"""Queues as values: the tables, who is chosen, what Redis is told of routing, and why an agent was not rung."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol import queueing
from callcontrol.queueing import (
    AGENT,
    DUTY,
    MOST_COUNTED,
    STRATEGIES,
    WAITING,
    AgentLook,
    CallLook,
    Candidate,
    Doing,
    Duty,
    Head,
    Member,
    Standing,
    choose_agents,
    choose_caller,
    covers,
    need,
    openings,
    why_not,
)
from callcontrol.routing.files import load_directory
from callcontrol.routing.model import Routing
from tests.playbook import HEAD, routing

ACME = Path(__file__).parent.parent / "routing"

# --------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", ["AGENT", "DUTY", "WAITING"])
def test_no_row_of_a_table_stands_there_twice(name: str) -> None:
    """A second one would silently win."""
    source = Path(queueing.__file__).read_text(encoding="utf-8")
    table = source.partition(f"\n{name}: ")[2].partition("\n}\n")[0]
    rows = re.findall(r'^    \((\w+\.\w+), "(\w+)"\):', table, re.MULTILINE)
    assert len(rows) == len(set(rows))
    generated = 2 * len(Standing) if name == "WAITING" else 0  # take and leave, which no row repeats
    assert len(rows) + generated == len(getattr(queueing, name))


@pytest.mark.parametrize(
    ("table", "start", "everything"),
    [(AGENT, Doing.IDLE, Doing), (DUTY, Duty.ON, Duty), (WAITING, Standing.GONE, Standing)],
)
def test_every_state_is_reached_and_every_state_is_left(table: Any, start: Any, everything: Any) -> None:
    found, more = set(), {start}
    while more:
        found |= more
        more = {to for (state, _), to in table.items() if state in found} - found
    assert found == set(everything)
    for state in everything:
        reached, more = set(), {state}
        while more:
            reached |= more
            more = {to for (one, _), to in table.items() if one in reached} - reached
        assert start in reached, f"nobody comes back from {state}"


def test_nothing_brings_back_a_caller_who_is_gone_but_to_enter() -> None:
    assert {event for (state, event), to in WAITING.items() if state is Standing.GONE and to is not state} == {"enter"}


def test_a_caller_may_leave_and_be_taken_whatever_they_stand_like() -> None:
    for standing in Standing:
        assert WAITING[standing, "leave"] is WAITING[standing, "take"] is Standing.GONE


def test_who_is_offered_a_call_was_free_and_nobody_talks_twice() -> None:
    assert {state for (state, _), to in AGENT.items() if to is Doing.OFFERED} == {Doing.IDLE}
    assert (Doing.TALKING, "take") not in AGENT
    assert {event for (_, event), to in AGENT.items() if to is Doing.TALKING} == {"take"}


def test_all_that_lasts_ends_by_itself_or_by_somebody_who_is_heard() -> None:
    """``rest`` ends what has a lease alone; offers and talks have an end that is told, and a lease besides."""
    assert {state for state, event in AGENT if event == "rest"} == {Doing.WRAP_UP, Doing.DELAYED}
    assert {state for state, event in AGENT if event == "withdraw"} == {Doing.OFFERED, Doing.TALKING}


def test_each_wish_about_duty_is_known_wherever_it_changes_something() -> None:
    wanted = {"log_in": Duty.ON, "log_out": Duty.OUT, "pause": Duty.PAUSED, "resume": Duty.ON}
    assert all(wanted[event] is to for (_, event), to in DUTY.items())
    missing = {(duty, event) for duty in Duty for event in wanted} - set(DUTY)
    assert missing == {(Duty.OUT, "pause"), (Duty.OUT, "resume")}


# ------------------------------------------------------------------------------------------------- choosing

heads = st.builds(Head, st.sampled_from("abcdefgh"), st.just("sales"), st.integers(0, 3), st.integers(0, 5))
candidates = st.builds(
    Candidate,
    st.integers(100, 199).map(str),
    st.integers(1, 3),
    st.integers(0, 9),
    *(st.sampled_from([0, 1, 999, 1000, 2000, 1_764_000_000_000]),) * 2,
    *(st.sampled_from([0, 1, 2, MOST_COUNTED, MOST_COUNTED + 1, 10**9]),) * 2,
)


@given(st.lists(heads, unique_by=lambda head: head.call))
def test_the_caller_of_the_highest_priority_who_has_waited_longest_is_served(given_heads: list[Head]) -> None:
    chosen = choose_caller(AgentLook("301", tuple(given_heads)))
    if chosen is None:
        assert not given_heads
        return
    for other in given_heads:
        assert other.priority <= chosen.priority
        if other.priority == chosen.priority:
            assert (other.joined, other.call) >= (chosen.joined, chosen.call)


@given(st.lists(candidates, unique_by=lambda one: one.agent), st.sampled_from(sorted(STRATEGIES)), st.integers(0, 12))
def test_agents_are_asked_by_level_and_strategy(given_agents: list[Candidate], strategy: str, room: int) -> None:
    chosen = choose_agents(CallLook("call", "sales", strategy, room, tuple(given_agents)))
    assert len(chosen) == min(room, len(given_agents))
    assert len(set(chosen)) == len(chosen)
    by_name = {one.agent: one for one in given_agents}
    rest = [one for one in given_agents if one.agent not in chosen]
    for first, second in zip(chosen, [*chosen[1:], *(one.agent for one in rest[:1])], strict=False):
        assert not asked_before(strategy, by_name[second], by_name[first])
    for left in rest:
        assert not any(asked_before(strategy, left, by_name[name]) for name in chosen)


def asked_before(strategy: str, one: Candidate, other: Candidate) -> bool:
    """As people say it."""
    if one.level != other.level:
        return one.level < other.level
    if strategy in ("longest-idle", "ring-all") and one.idle != other.idle:
        return one.idle < other.idle
    if strategy == "round-robin" and one.asked != other.asked:
        return one.asked < other.asked
    for word, first, second in (
        ("fewest-calls", min(one.calls, MOST_COUNTED), min(other.calls, MOST_COUNTED)),
        ("least-talk-time", min(one.talk, MOST_COUNTED), min(other.talk, MOST_COUNTED)),
        ("in-order", one.index, other.index),
        ("random", one.chance, other.chance),
    ):
        if word == strategy and first != second:
            return first < second
        if word == strategy and one.idle // 1000 != other.idle // 1000:  # who has been free longest, to the second
            return one.idle < other.idle
    return one.agent < other.agent


@given(st.lists(candidates, unique_by=lambda one: one.agent), st.sampled_from(sorted(STRATEGIES)), st.randoms())
def test_the_order_of_the_look_does_not_matter(
    given_agents: list[Candidate], strategy: str, dice: random.Random
) -> None:
    mixed = list(given_agents)
    dice.shuffle(mixed)
    looks = [CallLook("call", "sales", strategy, 3, tuple(those)) for those in (given_agents, mixed)]
    assert choose_agents(looks[0]) == choose_agents(looks[1])


def test_chance_favours_nobody_and_is_another_each_time() -> None:
    agents = [Candidate(str(300 + number)) for number in range(4)]
    first = [
        choose_agents(CallLook("call", "sales", "random", 1, tuple(replace(one, idle=moment) for one in agents)))[0]
        for moment in range(1000)
    ]
    assert all(200 < first.count(one.agent) < 300 for one in agents)


def test_every_strategy_of_the_language_orders_by_something_that_is_known_of_agents() -> None:
    assert all(isinstance(getattr(Candidate("301"), by), int) for by in STRATEGIES.values())
    assert set(STRATEGIES.values()) >= queueing.MOMENTS


SKILLS = st.frozensets(st.sampled_from(["de", "d", "ru", "german", "german_a1", "e"]))


@given(SKILLS, SKILLS)
def test_an_agent_serves_who_needs_no_more_than_they_can(has: frozenset[str], wanted: frozenset[str]) -> None:
    assert covers(need(has), need(wanted)) == (wanted <= has)


@given(st.lists(st.sampled_from(["de", "ru", "en"])))
def test_the_same_skills_are_the_same_word(skills: list[str]) -> None:
    assert need(skills) == need(reversed(skills)) == need(set(skills))
    assert need(()) == ""


# ------------------------------------------------------------------------------------------------- routing


def acme() -> Routing:
    (loaded,) = load_directory(ACME)
    assert loaded.routing is not None
    return loaded.routing


def test_the_example_company_is_told_to_redis_so() -> None:
    plain = {"opens": 0, "by": "idle", "strategy": "longest-idle", "skills": ""}
    assert queueing.memberships(acme()) == {
        "301": {"queues": {"sales": {"level": 1, "index": 0, **plain}}},
        "302": {"queues": {"sales": {"level": 1, "index": 1, **plain}}},
        "303": {"queues": {"sales": {"level": 2, "index": 2, **plain}}},
    }


QUEUES = """\
queues:
  sales: {agents: [301, {agent: 302, level: 3, skills: [ru, de]}], levels: {2: 90s, 3: 20s}, strategy: in-order}
  service: {agents: [{agent: 302, level: 2}, 303], levels: {2: 3s, 4: 9s}, strategy: ring-all}
"""


def two() -> Routing:
    steps = "main:\n  answer: {queue: sales, then: more, otherwise: more}\n  more: {queue: service, otherwise: hangup}"
    return routing(steps, HEAD + QUEUES)


def test_an_agent_of_two_queues_is_one_agent() -> None:
    members = queueing.memberships(two())
    assert sorted(members) == ["301", "302", "303"]
    assert members["302"]["queues"] == {
        "sales": {"level": 3, "opens": 20_000, "by": "index", "strategy": "in-order", "index": 1, "skills": "de+ru"},
        "service": {"level": 2, "opens": 3000, "by": "idle", "strategy": "ring-all", "index": 0, "skills": ""},
    }


def test_levels_open_in_the_order_of_their_times_and_only_those_that_have_agents() -> None:
    queues = two().queues
    assert openings(queues["sales"]) == (20.0,)
    assert openings(queues["service"]) == (3.0,)
    assert openings(acme().queues["sales"]) == ()
    both = replace(queues["sales"], agents=(*queues["sales"].agents, *queues["service"].agents))
    assert openings(both) == (20.0, 90.0)


def test_memberships_have_a_name_that_changes_with_them_and_not_with_their_order() -> None:
    members = queueing.memberships(two())
    turned = dict(reversed(members.items()))
    assert queueing.version_of(members) == queueing.version_of(turned)
    assert queueing.version_of(members) != queueing.version_of(queueing.memberships(acme()))


# -------------------------------------------------------------------------------------------------- why not

QUEUE = {"sales": (2, 30.0, "de+ru")}
FREE = Member("301", Duty.ON, Doing.IDLE, since=900.0, queues=QUEUE)


def why(member: Member, *, wanted: str = "de", waited: float = 60.0, queue: str = "sales") -> tuple[str, str]:
    reason = why_not(member, call="call-1", queue=queue, wanted=wanted, waited=waited, now=1000.0)
    return reason.word, reason.text


@pytest.mark.parametrize(
    ("member", "word", "text"),
    [
        (FREE, "free", "free: others are served first"),
        (replace(FREE, queues={}), "not_in_queue", "is not in this queue any more"),
        (replace(FREE, duty=Duty.OUT), "logged_out", "logged out"),
        (replace(FREE, duty=Duty.OUT, why="the hours ended"), "logged_out", "logged out (the hours ended)"),
        (
            replace(FREE, duty=Duty.PAUSED, duty_since=875.0, why="lunch"),
            "paused",
            "paused for 2:05 (lunch)",
        ),
        (replace(FREE, doing=Doing.OFFERED, call="call-1", since=992.0), "rings", "rings now, 8 s"),
        (
            replace(FREE, doing=Doing.OFFERED, call="call-2", since=992.0),
            "rings_other",
            "rings for another caller, 8 s",
        ),
        (
            replace(FREE, doing=Doing.TALKING, since=-2725.0, queue="service", caller="+7903"),
            "talking",
            "talking with +7903 for 1:02:05 (queue service)",
        ),
        (replace(FREE, doing=Doing.TALKING, queue="service"), "talking", "talking for 1:40 (queue service)"),
        (replace(FREE, doing=Doing.ELSEWHERE), "elsewhere", "on another call for 1:40"),
        (replace(FREE, doing=Doing.WRAP_UP, until=1004.6), "wrap_up", "wrap-up, 5 s left"),
        (replace(FREE, doing=Doing.WRAP_UP, until=990.0), "wrap_up", "wrap-up, 0 s left"),
        *(
            (
                replace(FREE, doing=Doing.DELAYED, last=last, since=996.0, until=1026.0),
                *(last or "delayed", f"{text} 4 s ago, is asked again in 26 s"),
            )
            for last, text in (
                ("declined", "declined"),
                ("busy", "was busy"),
                ("no_answer", "did not answer"),
                ("unreachable", "not registered, or could not be reached"),
                ("", "did not take a call"),
            )
        ),
    ],
)
def test_people_are_told_why_an_agent_is_not_rung(member: Member, word: str, text: str) -> None:
    assert why(member) == (word, text)


def test_people_are_told_of_skills_and_levels() -> None:
    assert why(FREE, wanted="de+fr") == ("skill", "lacks the skill fr")
    assert why(FREE, wanted="fr+it+ru") == ("skill", "lacks the skills fr, it")
    assert why(FREE, waited=12.0) == ("level", "level 2 opens in 18 s")
    assert why(FREE, waited=30.0)[0] == "free"


def test_what_will_not_pass_by_itself_is_told_before_what_will() -> None:
    talking = replace(FREE, doing=Doing.TALKING, queue="sales")
    assert why(replace(talking, duty=Duty.PAUSED))[0] == "paused"
    assert why(talking, wanted="fr")[0] == "skill"
    assert why(talking, waited=1.0)[0] == "level"
    assert why(replace(talking, duty=Duty.OUT), queue="other")[0] == "not_in_queue"


def test_whoever_rings_for_this_caller_is_said_to_even_after_they_paused() -> None:
    assert why(replace(FREE, duty=Duty.PAUSED, doing=Doing.OFFERED, call="call-1"))[0] == "rings"


def test_every_state_has_a_reason_with_its_seconds_in_it() -> None:
    for duty in Duty:
        for doing in Doing:
            member = replace(FREE, duty=duty, doing=doing, until=1007.0, duty_since=900.0)
            reason = why_not(member, call="c", queue="sales", wanted="", waited=60.0, now=1000.0)
            assert reason.text
            assert (reason.seconds is None) == (reason.word in ("free", "logged_out"))
            if reason.seconds is not None:
                assert queueing.clock(reason.seconds) in reason.text


@given(st.sampled_from(list(Duty)), st.sampled_from(list(Doing)), SKILLS, st.floats(0, 100))
def test_free_is_said_of_exactly_those_who_could_be_rung(
    duty: Duty, doing: Doing, wanted: frozenset[str], waited: float
) -> None:
    member = replace(FREE, duty=duty, doing=doing)
    reason = why_not(member, call="c", queue="sales", wanted=need(wanted), waited=waited, now=1000.0)
    could = duty is Duty.ON and doing is Doing.IDLE and wanted <= {"de", "ru"} and waited >= 30
    assert (reason.word == "free") == could


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.5, "1:00"), (125, "2:05"), (3599.5, "1:00:00"), (3725, "1:02:05")],
)
def test_lengths_of_time_are_as_people_read_them(seconds: float, text: str) -> None:
    assert queueing.clock(seconds) == text


# --------------------------------------------------------------------------------------------------- for Lua


def test_lua_is_told_every_row_of_the_tables() -> None:
    text = queueing.lua()
    for name, table in (("AGENT", AGENT), ("DUTY", DUTY), ("WAITING", WAITING)):
        (line,) = [one for one in text.splitlines() if one.startswith(f"local {name} = ")]
        rows = dict(re.findall(r"\['([^']+)'\] = '([^']+)'", line))
        assert rows == {f"{state.value} {event}": to.value for (state, event), to in table.items()}
    assert "idle = true" in text
    assert "asked = true" in text
    assert f"= {{asked = true, idle = true}}, {MOST_COUNTED}, {queueing.MOST_TOGETHER}\n" in text


def test_lua_asks_for_no_transition_that_has_no_row_anywhere() -> None:
    """A word that is misspelt in the script would be a transition that never happens."""
    scripts = Path(queueing.__file__).parent.glob("queues*.lua")
    source = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    of_agents = set(re.findall(r"becomes\(agent, '(\w+)'\)", source))
    assert of_agents == {event for _, event in AGENT}
    of_callers = set(re.findall(r"stands\(caller, .*?'(\w+)'(?: or '(\w+)')?\)", source))
    assert {word for words in of_callers for word in words if word} | {"take", "leave"} == {e for _, e in WAITING}
