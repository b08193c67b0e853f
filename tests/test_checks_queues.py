"""Queues and agents: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.checked import HEAD, PLAY, anna, codes, long_names, problems

# -------------------------------------------------------------------------------------- queues and agents

QUEUE = "main:\n  a: {queue: sales, otherwise: b}\n  b: {play: B.}"


def queue(options: str, *, flows: str = QUEUE, more: str = "", head: str = HEAD) -> list[str]:
    """Code and message of every problem of a company whose queue ``sales`` is this; a step waits in it."""
    return problems(flows, more=f"queues:\n  sales: {{{options}}}\n{more}", head=head)


def step(options: str, then: str = "  b: {play: B.}") -> str:
    return f"main:\n  a: {{queue: sales, {options}}}\n{then}"


def test_a_key_of_a_queue_leads_from_every_step_that_enters_it() -> None:
    flows = "main:\n  a: {queue: sales, otherwise: hangup}\n  b: {play: B.}"
    assert queue("agents: [301], keys: {1: main/b}", flows=flows) == []
    assert queue("agents: [301]", flows=flows) == ['W501 nothing leads to the step "b"']
    other = "main:\n  a: {queue: sales, otherwise: hangup}\nother:\n  b: {play: B.}"
    assert queue("agents: [301], keys: {1: other}", flows=other) == []


def test_a_key_of_the_step_beats_that_of_the_queue() -> None:
    flows = "main:\n  a: {queue: sales, keys: {1: hangup}, otherwise: hangup}\n  b: {play: B.}"
    assert queue("agents: [301], keys: {1: main/b}", flows=flows) == ['W501 nothing leads to the step "b"']
    assert queue("agents: [301], keys: {2: main/b}", flows=flows) == []


def test_what_a_key_leads_to_knows_the_variables_of_those_who_wait() -> None:
    flows = 'main:\n  a: {set: {x: y}, then: q}\n  q: {queue: sales, otherwise: hangup}\n  b: {play: "{x}"}'
    assert queue("agents: [301], keys: {1: main/b}", flows=flows) == []
    assert queue("agents: [301], keys: {1: main/b}", flows=flows.replace("{x: y}", "{z: y}")) == [
        "E213 nothing sets {x}"
    ]


def test_left_is_no_end_but_the_outcome() -> None:
    """Its edge is followed: were it an end, this loop would have a way out."""
    flows = "main:\n  a: {queue: sales, keys: {1: left}, then: b, otherwise: b}\n  b: {play: B., then: a}"
    assert codes(flows, more="queues:\n  sales: {agents: [301]}\n") == ["W503"]
    assert codes(flows.replace("1: left", "1: hangup"), more="queues:\n  sales: {agents: [301]}\n") == []


def test_a_queue_belongs_to_no_flow() -> None:
    assert queue("agents: [301], keys: {1: b}") == [
        'E201 there is no flow named "b"; a queue stands in no flow: write a step as flow/step; did you mean "main/b"?'
    ]


def test_a_step_of_that_very_name_is_meant_rather_than_a_flow_of_a_like_one() -> None:
    flows = QUEUE.replace("b", "message") + "\nmessages:\n  c: {play: C.}"
    found = queue("agents: [301], keys: {1: message}", flows=flows)
    assert [line.partition("; did you mean ")[2] for line in found] == ['"main/message"?']


def test_a_step_whose_name_is_like_left_may_be_led_to() -> None:
    flows = "main:\n  a: {queue: sales, keys: {1: lefty}, otherwise: hangup}\n  lefty: {play: L.}"
    assert queue("agents: [301]", flows=flows) == []
    assert queue("agents: [301]", flows=flows.replace("  lefty:", "  other:")) == [
        'E201 there is no step or flow named "lefty"; did you mean "left"?'
    ]


@pytest.mark.parametrize(
    "flows",
    [
        "main:\n  a: {queue: sales, otherwise: a}",
        "main:\n  a: {queue: sales, timeout: hangup, full: a, otherwise: hangup}",
        "main:\n  a: {queue: sales, paused: b, otherwise: hangup}\n  b: {set: {x: y}, then: a}",
        "main:\n  a: {flow: sub, then: a}\nsub:\n  b: {queue: sales, otherwise: return}",
    ],
)
def test_a_queue_that_may_refuse_at_once_is_no_pause_in_a_loop(flows: str) -> None:
    options = "agents: [301], max_callers: 5, max_wait: 5m"
    assert [line[:4] for line in queue(options, flows=flows)] == ["E410"]


@pytest.mark.parametrize(
    "flows",
    [
        "main:\n  a: {queue: sales, timeout: a, otherwise: hangup}",
        "main:\n  a: {queue: sales, keys: {1: a}, otherwise: hangup}",
        "main:\n  a: {queue: sales, otherwise: b}\n  b: {play: B., then: a}",
    ],
)
def test_whoever_has_waited_may_wait_again(flows: str) -> None:
    assert queue("agents: [301], max_callers: 5, max_wait: 5m", flows=flows) == []


def test_a_queue_that_keeps_callers_while_nobody_is_there_is_a_pause() -> None:
    flows = "main:\n  a: {queue: sales, otherwise: a}"
    assert queue("agents: [301], unstaffed: 1m", flows=flows) == []
    assert codes(flows, more="queues:\n  sales: {agents: [301]}\n") == ["E410"]


def test_somebody_must_have_all_that_a_caller_needs() -> None:
    agents = "agents: [{agent: 301, skills: [german, doors]}, {agent: 302, skills: [french]}]"
    assert queue(f"{agents}, skills: [german]", flows=step("skills: [doors], otherwise: b")) == [
        'W510 no caller of the queue "sales" needs the skill "french"'
    ]
    assert queue(f"{agents}, skills: [german]", flows=step("skills: [french], otherwise: b")) == [
        'E510 no agent of the queue "sales" has french and german together: callers who need them would wait for ever'
    ]
    assert queue(agents, flows=step("skills: [germn, dors], otherwise: b")) == [
        'E510 no agent of the queue "sales" has the skill "germn"; did you mean "german"?',
        'E510 no agent of the queue "sales" has the skill "dors"; did you mean "doors"?',
    ]


def test_a_skill_that_the_queue_lacks_is_not_told_again_for_each_step() -> None:
    assert queue("agents: [301], skills: [german]", flows=step("skills: [french], otherwise: b")) == [
        'E510 no agent of the queue "sales" has the skill "german"'
    ]


def test_skills_that_agents_and_callers_both_know_are_fine() -> None:
    agents = "agents: [301, {agent: 302, skills: [german, doors]}]"
    assert queue(agents, flows=step("skills: [doors, german], otherwise: b")) == []
    assert queue(f"{agents}, skills: [doors, german]") == []


def test_each_queue_is_judged_by_the_steps_that_lead_to_it() -> None:
    more = "queues:\n  sales: {agents: [{agent: 301, skills: [german]}]}\n"
    more += "  help: {agents: [{agent: 301, skills: [german]}]}\n"
    flows = step("skills: [german], otherwise: b", "  b: {queue: help, otherwise: hangup}")
    assert problems(flows, more=more) == ['W510 no caller of the queue "help" needs the skill "german"']


def test_nothing_is_said_of_skills_that_nobody_needs_while_some_step_could_not_be_read() -> None:
    agents = "agents: [{agent: 301, skills: [german]}]"
    assert [line[:4] for line in queue(agents, flows=QUEUE.replace("play: B.", "plai: B."))] == ["E401"]
    assert [line[:4] for line in queue(agents, flows=QUEUE.replace("queue: sales", "queue: slaes"))] == ["E206"]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ("{3: 1m}", []),
        ("{2: 1m, 3: 2m}", []),
        ("{2: 1m, 3: 1m}", []),
        ("{2: 1m, 4: 2m}", ["W512 level 3 is asked at once", "W511 no agent of the queue has level 4"]),
        ("{2: 2m, 3: 1m}", ["W512 level 3 is asked after 1m, and level 2, which should come first, only after 2m"]),
    ],
)
def test_levels_open_one_after_the_other(levels: str, expected: Sequence[str]) -> None:
    agents = "[301, {agent: 302, level: 2}, {agent: 303, level: 3}]"
    head = HEAD.replace("  302:", "  303: {name: Chiara}\n  302:")
    found = queue(f"agents: {agents}, levels: {levels}", head=head)
    assert len(found) == len(expected)
    assert all(line.startswith(begin) for line, begin in zip(found, expected, strict=True))


def test_somebody_is_asked_at_first() -> None:
    agents = "[{agent: 301, level: 2}, {agent: 302, level: 3}]"
    assert queue(f"agents: {agents}, levels: {{2: 30s, 3: 1m}}") == [
        "W512 nobody is asked in the first 30s: every level of the agents has a waiting time"
    ]
    assert queue(f"agents: {agents}, levels: {{3: 1m}}") == []


def test_somebody_is_asked_before_callers_must_leave() -> None:
    late = "agents: [{agent: 301, level: 2}, {agent: 302, level: 3}], levels: {2: 30s, 3: 2m}, max_wait: "
    for wait in ("20s", "30s"):
        assert queue(late + wait) == [
            'E513 nobody is ever asked in the queue "sales": '
            f"its first agents are asked after 30s, and callers wait {wait}"
        ]
    assert [line[:4] for line in queue(late + "31s")] == ["W512", "W515"]
    soon = late.replace("agent: 301, level: 2", "agent: 301")
    assert "E513" not in " ".join(queue(soon + "20s"))


def test_a_queue_is_there_for_some_step() -> None:
    more = "queues:\n  sales: {agents: [301]}\n  help: {agents: [301]}\n"
    assert problems(QUEUE, more=more) == ['W513 no step leads to the queue "help"']
    assert problems(QUEUE.replace("play: B.", "queue: help, otherwise: hangup"), more=more) == []


def test_a_rehearsal_leads_nobody_to_a_queue() -> None:
    more = "queues:\n  sales: {agents: [301]}\n"
    more += 'rehearsals:\n  R: {call: {from: "301", to: "+74951234567", at: 2026-11-23 10:00}, ends: {queue: sales}}\n'
    assert codes(PLAY, more=more) == ["W513"]


def test_an_edge_for_what_never_comes_was_meant_otherwise() -> None:
    assert queue("agents: [301]", flows=step("timeout: b, full: b, left: b, otherwise: b")) == [
        'W514 timeout never comes: the queue "sales" has no max_wait',
        'W514 full never comes: the queue "sales" has no max_callers',
        'W514 left never comes: no key leads to "left", here or in the queue "sales"',
    ]
    whole = "agents: [301], max_wait: 5m, max_callers: 9, keys: {1: left}"
    assert queue(whole, flows=step("timeout: b, full: b, left: b, otherwise: b")) == []


def test_outcomes_that_must_be_given_are_no_mistake() -> None:
    flows = step("timeout: b, full: b, no_agents: b, paused: b, left: b")
    assert queue("agents: [301], max_wait: 5m", flows=flows) == []
    assert queue("agents: [301]", flows=flows) == ['W514 timeout never comes: the queue "sales" has no max_wait']


def test_what_comes_after_the_longest_wait_never_comes() -> None:
    options = "agents: [301, {agent: 302, level: 2}], levels: {2: 2m}, unstaffed: 2m, max_wait: "
    assert queue(options + "3m") == []
    assert queue(options + "1m") == [
        "W515 unstaffed is 2m, and callers wait 1m at most: no_agents and paused never come",
        "W515 level 2 opens after 2m, and callers wait 1m at most",
    ]
    options = "agents: [301], announce: [{every: 1m, say: A.}, {every: 2m, say: B.}], max_wait: "
    assert queue(options + "3m") == []
    assert queue(options + "2m") == ["W515 what is said every 2m is never heard: callers wait 2m at most"]


def test_a_duty_is_for_agents() -> None:
    head = HEAD.replace("{name: Anna}", "{name: Anna, duty: office}")
    assert queue("agents: [301]", head=head) == []
    assert queue("agents: [302]", head=head) == ["W516 301 has a duty, and is no agent of any queue"]
    assert codes(PLAY, head=head) == ["W516"]
    assert [line[:4] for line in queue("agents: [302], ring: 1h", head=head)] == ["E306"]


def test_a_duty_has_times() -> None:
    head = HEAD.replace("{name: Anna}", "{name: Anna, duty: shut}") + '  shut: {switch: "*21"}\n'
    assert queue("agents: [301]", head=head) == [
        'E511 "shut" is a switch, and has no times: a duty needs hours that begin and end'
    ]


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ('{log_in: "*41", log_out: "*42", pause: "*43"}', []),
        ('{log_in: "*41"}', []),
        ('{pause: "*43", resume: "*44"}', []),
        ('{pause: "*43"}', ["W517 who dials *43 cannot end the pause by telephone: add resume"]),
        ('{log_out: "*42", resume: "*44"}', ["W517 who dials *42 cannot log in again by telephone: add log_in"]),
    ],
)
def test_agents_who_go_by_a_code_come_back_by_one(agents: str, expected: Sequence[str]) -> None:
    assert queue("agents: [301]", more=f"agents: {agents}\n") == expected


def test_agents_whom_the_queue_pauses_need_a_code_to_come_back() -> None:
    message = "W517 pause_after pauses agents, and no code ends the pause: add resume under agents"
    assert queue("agents: [301], pause_after: 3") == [message]
    assert queue("agents: [301], pause_after: 3", more='agents: {resume: "*44"}\n') == []
    assert queue("agents: [301], pause_after: 3", more='agents: {log_in: "*44"}\n') == []
    assert [line[:4] for line in queue("agents: [301], pause_after: 3", more="agents: {resume: 44}\n")] == ["E325"]
    assert [line[:4] for line in queue("agents: [301], pause_after: 3", more='agnts: {resume: "*44"}\n')] == ["E301"]


def test_a_code_of_agents_is_nobody_elses() -> None:
    head = HEAD + '  shut: {switch: "*21"}\n'
    agents = 'agents: {log_in: "*21", log_out: "*22", pause: {lunch: "*23"}, resume: "*23"}\n'
    flows = QUEUE.replace("main:\n", 'main:\n  code: "*22"\n')
    assert queue("agents: [301]", flows=flows, more=agents, head=head) == [
        "E503 the code *21 belongs to the switch shut already (line 15)",
        "E503 the code *22 belongs to the flow main already (line 22)",
        "E503 the code *23 belongs to pause (lunch) of agents already (line 20)",
    ]


def test_what_a_queue_says_is_known_on_some_way_to_it() -> None:
    flows = "main:\n  a: {set: {x: y}, then: q}\n  q: {queue: sales, otherwise: b}\n  b: {set: {z: y}, then: c}\n"
    flows += "  c: {play: C.}"
    assert queue('agents: [301], whisper: "{x}"', flows=flows) == []
    assert queue('agents: [301], announce: {every: 1m, say: "{x} {z}"}', flows=flows) == [
        "E213 {z} is set elsewhere, but on no way to this queue"
    ]
    assert queue('agents: [301], announce: {every: 1m, say: "{positon}"}', flows=flows) == [
        "E213 nothing sets {positon}; did you mean {position}?"
    ]


def test_the_state_of_a_caller_who_waits_needs_more_room_than_most() -> None:
    """What rings, since when, and the place in the queue: see the progress of the step."""

    def longest_names(step: str, head: str = HEAD) -> int:
        flows = (long_names(4, length).replace("{play: B.}", step) for length in range(8, 31))
        found = [codes(text, more="queues:\n  sales: {agents: [301]}\n", head=head) for text in flows]
        return sum("E413" not in line for line in found)

    queueing = longest_names("{queue: sales, otherwise: hangup}")
    assert 0 < queueing < longest_names("{dial: 301, otherwise: hangup}")
    assert longest_names("{queue: sales, otherwise: hangup}", anna("forward: {busy: 302}")) == queueing
