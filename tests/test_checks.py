"""What is wrong with a company as a whole: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from callcontrol import state
from callcontrol.routing.checks import whole
from callcontrol.routing.load import load_text

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
people:
  301: {name: Anna}
  302: {name: Boris}
groups:
  team: [301, 302]
lists:
  vip: ["+7812*"]
hours:
  office: {mon-fri: 09:00-18:00}
"""
NUMBERS = 'numbers:\n  "+74951234567": {flow: main}\n'


def problems(flows: str, *, numbers: str = NUMBERS, more: str = "", head: str = HEAD) -> list[str]:
    """Code and message of every problem of a company with these flows (YAML, from column 1: ``main:`` …)."""
    text = head + numbers + more + "flows:\n" + "".join(f"  {line}\n" for line in flows.strip("\n").splitlines())
    return [f"{p.code} {p.message}" for p in load_text(text, path="f", company="test").problems]


def placed(flows: str, *, more: str = "", head: str = HEAD) -> list[str]:
    """Line, column, code and message of every problem; the people begin at line 7 of HEAD."""
    text = head + NUMBERS + more + "flows:\n" + "".join(f"  {line}\n" for line in flows.strip("\n").splitlines())
    return [str(p).removeprefix("f:") for p in load_text(text, path="f", company="test").problems]


def codes(flows: str, *, numbers: str = NUMBERS, more: str = "", head: str = HEAD) -> list[str]:
    return [line.partition(" ")[0] for line in problems(flows, numbers=numbers, more=more, head=head)]


# --------------------------------------------------------------------------------------------- ways


def test_a_step_that_nothing_leads_to_is_a_warning() -> None:
    assert problems("main:\n  a: {play: A., then: c}\n  b: {play: B.}\n  c: {play: C.}") == [
        'W501 nothing leads to the step "b"'
    ]


@pytest.mark.parametrize(
    "edge",
    [
        "a: {menu: M., keys: {1: b}, otherwise: hangup}",
        "a: {caller: {vip: b}, otherwise: hangup}",
        "a: {hours: {office: b}, otherwise: hangup}",
        "a: {dial: 301, busy: b, otherwise: hangup}",
        "a: {play: A., on_error: b}",
        "a: {play: A., then: main/b}",
    ],
)
def test_every_sort_of_edge_leads_somewhere(edge: str) -> None:
    assert codes(f"main:\n  {edge}\n  b: {{play: B.}}") == []


def test_an_on_error_of_a_flow_is_reached_from_all_its_steps() -> None:
    assert codes("main:\n  on_error: b\n  a: {play: A.}\n  b: {play: B.}") == []


def test_a_flow_begins_at_its_start() -> None:
    flows = "main:\n  start: b\n  a: {play: A.}\n  b: {play: B., then: a}"
    assert codes(flows) == []
    assert codes(flows.replace(", then: a", "")) == ["W501"]


def test_a_flow_that_no_number_code_or_step_leads_to_is_one_warning_and_not_one_for_each_step() -> None:
    flows = "main:\n  a: {play: A.}\nother:\n  x: {play: X., then: y}\n  y: {play: Y.}"
    assert problems(flows) == ['W502 no number, code or step leads to the flow "other"']
    assert codes(flows.replace("other:\n", 'other:\n  code: "*5"\n')) == []
    assert codes(flows.replace("A.", "A., then: other")) == []
    assert codes(flows.replace("A.", "A., then: other/x")) == []
    assert codes(flows.replace("{play: A.}", "{flow: other}")) == []


def test_what_follows_a_flow_is_reached_only_if_that_flow_returns() -> None:
    flows = "main:\n  a: {flow: sub, then: b}\n  b: {play: B.}\nsub:\n  x: {play: X., then: return}"
    assert codes(flows) == []
    assert codes(flows.replace("return", "hangup")) == ["W501"]


def test_nothing_is_said_about_ways_while_some_edge_leads_nowhere() -> None:
    assert codes("main:\n  a: {play: A., then: bb}\n  b: {play: B.}") == ["E201"]


# --------------------------------------------------------------------------------------------- loops


@pytest.mark.parametrize(
    "flows",
    [
        "main:\n  a: {set: {x: y}, then: a}",
        "main:\n  a: {set: {x: y}, then: b}\n  b: {hours: {office: a}, otherwise: hangup}",
        "main:\n  a: {caller: {vip: other}, otherwise: hangup}\nother:\n  b: {set: {x: y}, then: main}",
        "main:\n  a: {flow: sub, then: a}\nsub:\n  x: {set: {x: y}, then: return}",
    ],
)
def test_a_loop_without_any_pause_is_an_error_even_with_an_exit(flows: str) -> None:
    assert codes(flows) == ["E410"]


@pytest.mark.parametrize(
    "flows",
    [
        "main:\n  a: {set: {x: y}, then: b}\n  b: {menu: M., keys: {1: a}, otherwise: hangup}",
        "main:\n  a: {flow: sub, then: a}\nsub:\n  x: {menu: M., keys: {1: return}, otherwise: hangup}",
        "main:\n  a: {hours: {office: b}, otherwise: hangup}\n  b: {set: {x: y}, then: hangup, on_error: a}",
    ],
)
def test_a_loop_with_a_pause_and_an_exit_is_fine(flows: str) -> None:
    assert codes(flows) == []


@pytest.mark.parametrize(
    "flows",
    [
        "main:\n  a: {play: A., then: a}",
        "main:\n  a: {play: A., then: b}\n  b: {menu: M., keys: {1: a}, otherwise: b}",
    ],
)
def test_a_loop_that_only_hanging_up_ends_is_a_warning(flows: str) -> None:
    assert codes(flows) == ["W503"]


def test_a_talk_is_a_way_out_of_a_loop() -> None:
    assert codes("main:\n  a: {dial: 301, otherwise: b}\n  b: {play: B., then: a}") == []


def test_a_long_chain_of_steps_does_not_lean_on_pythons_stack() -> None:
    steps = "".join(f"  s{i}: {{play: X., then: s{i + 1}}}\n" for i in range(3000))
    assert codes(f"main:\n{steps}  s3000: {{play: X., then: s0}}") == ["W503"]


def test_a_flow_that_runs_itself_through_another_is_an_error() -> None:
    found = problems(
        "main:\n  a: {flow: one, then: hangup}\none:\n  b: {menu: M., keys: {1: c}, otherwise: return}\n"
        "  c: {flow: two, then: return}\ntwo:\n  d: {play: D., then: e}\n  e: {flow: one, then: return}"
    )
    assert found == [
        'E411 the flow "one" runs two, which comes back to one, for ever',
        'E411 the flow "two" runs one, which comes back to two, for ever',
    ]


def test_leaving_for_a_flow_is_not_running_it() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: other}, otherwise: hangup}\nother:\n  b: {play: B., then: main}"
    assert codes(flows) == []


@pytest.mark.parametrize(("deep", "expected"), [(8, []), (9, ["E414"])])
def test_flows_may_run_flows_eight_deep(deep: int, expected: Sequence[str]) -> None:
    flows = "main:\n  a: {flow: f1, then: hangup}\n"
    flows += "".join(f"f{i}:\n  a: {{flow: f{i + 1}, then: return}}\n" for i in range(1, deep))
    assert codes(f"{flows}f{deep}:\n  a: {{play: A., then: return}}") == expected


# ----------------------------------------------------------------------------------------- variables


def test_a_variable_is_known_where_some_way_sets_it_before() -> None:
    flows = 'main:\n  a: {set: {x: y}, then: b}\n  b: {play: "{x} {caller} {called}"}'
    assert codes(flows) == []
    flows = flows.replace("x: y", "order: y").replace("{x}", "{ordre}")
    assert problems(flows) == ["E213 nothing sets {ordre}; did you mean {order}?"]


def test_a_number_sets_variables_for_the_calls_that_come_to_it() -> None:
    numbers = 'numbers:\n  "+74951234567": {flow: main, set: {brand: A}}\n  "+74951234568": {flow: other}\n'
    flows = 'main:\n  a: {play: "{brand}"}\nother:\n  b: {play: B.}'
    assert codes(flows, numbers=numbers) == []
    assert problems(flows.replace("B.", '"{brand}"'), numbers=numbers) == [
        "E213 {brand} is set elsewhere, but on no way to this step"
    ]


def test_what_a_step_asks_for_is_known_only_on_its_good_way() -> None:
    flows = "main:\n  a: {{collect: C., digits: 4, into: order, then: {good}, otherwise: {bad}}}\n"
    flows += '  b: {{play: "{{order}}"}}\n  c: {{play: C.}}'
    assert codes(flows.format(good="b", bad="c")) == []
    assert codes(flows.format(good="c", bad="b")) == ["E213"]


def test_what_a_flow_sets_is_known_when_it_has_returned() -> None:
    flows = 'main:\n  a: {flow: sub, then: b}\n  b: {play: "{x}"}\nsub:\n  c: {set: {x: y}, then: return}'
    assert codes(flows) == []


@pytest.mark.parametrize(
    "use",
    [
        'b: {dial: "{x}", otherwise: hangup}',
        'b: {dial: [{to: ["{x}", 301], ring: 9s}], otherwise: hangup}',
        'b: {lookup: "https://a.test/{x}", into: [m], then: hangup, otherwise: hangup}',
        'b: {menu: {en: "{x}", ru: R.}, keys: {1: hangup}, otherwise: hangup}',
        'b: {voicemail: [301], greeting: "{x}"}',
    ],
)
def test_every_use_of_a_variable_is_looked_at(use: str) -> None:
    assert problems(f"main:\n  a: {{play: A., then: b}}\n  {use}") == ["E213 nothing sets {x}"]


def test_a_variable_that_is_looked_up_cannot_be_spoken() -> None:
    flows = (
        'main:\n  a: {lookup: "https://a.test/", into: [name], then: b, otherwise: hangup}\n'
        '  b: {play: "Hello {name}.", then: c}\n  c: {dial: "{name}", otherwise: hangup}'
    )
    assert problems(flows) == [
        "E214 {name} is looked up during the call, and speech is made before it: write the text without it"
    ]
    assert codes(flows.replace(" {name}.", ".")) == []


@pytest.mark.parametrize(
    "flows",
    [
        'main:\n  a: {collect: C., digits: 4, into: x, then: b, otherwise: hangup}\n  b: {play: "{x} {x}"}',
        'main:\n  a: {set: {x: Acme Windows}, then: b}\n  b: {menu: {ru: "{x}"}, keys: {1: b}, otherwise: hangup}',
        'main:\n  a: {play: "From {caller} to {called}"}',
    ],
)
def test_digits_numbers_and_what_the_routing_sets_can_be_spoken(flows: str) -> None:
    assert codes(flows) == []


def test_the_language_is_no_word_that_could_be_spoken() -> None:
    assert problems('main:\n  a: {play: "{language}"}') == [
        "E214 {language} is a tag such as en, and no word: write a text for each language, {en: …, ru: …}"
    ]
    assert codes('main:\n  a: {lookup: "https://a.test/{language}", into: [m], then: hangup, otherwise: hangup}') == []


def test_position_is_known_in_the_announce_of_a_queue_only() -> None:
    more = 'queues:\n  sales: {agents: [301], announce: {every: 45s, say: "You are {position}."}}\n'
    assert codes("main:\n  a: {queue: sales, otherwise: hangup}", more=more) == []
    assert codes('main:\n  a: {play: "{position}"}') == ["E213"]
    assert codes("main:\n  a: {queue: sales, otherwise: hangup}", more=more.replace("position", "brand")) == ["E213"]


# -------------------------------------------------------------------------------------------- room


def test_values_may_need_160_bytes_together_and_no_more() -> None:
    flows = "main:\n  a: {{set: {{x: {x}}}, then: b}}\n  b: {{set: {{y: {y}}}, then: c}}\n"
    flows += "  c: {{set: {{z: {z}}}, then: hangup}}"
    assert codes(flows.format(x="x" * 60, y="y" * 60, z="z" * 40)) == []
    assert problems(flows.format(x="x" * 60, y="y" * 60, z="z" * 41)) == [
        "E504 a call can carry 161 bytes of values here (x 60, y 60, z 41); 160 is the most"
    ]


def test_values_of_ways_that_exclude_each_other_are_not_added_up() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: b, 2: c, 3: d}, otherwise: hangup}\n"
    flows += "".join(f"  {step}: {{set: {{{step}{step}: {'x' * 60}}}, then: e}}\n" for step in "bcd")
    assert codes(flows + "  e: {play: E.}") == []


def test_a_value_that_is_replaced_counts_once() -> None:
    flows = f"main:\n  a: {{set: {{x: {'x' * 64}}}, then: b}}\n  b: {{set: {{x: {'y' * 64}}}, then: c}}\n"
    flows += f"  c: {{set: {{x: {'z' * 64}}}, then: hangup}}"
    assert codes(flows) == []


def test_the_digits_that_a_caller_may_enter_count() -> None:
    steps = "".join(
        f"  s{i}: {{collect: C., digits: 1-32, into: v{i}, then: s{i + 1}, otherwise: hangup}}\n" for i in range(6)
    )
    assert "E504" in codes(f"main:\n{steps}  s6: {{play: X.}}")
    assert codes(f"main:\n{steps.replace('1-32', '1-20')}  s6: {{play: X.}}") == []


def test_a_number_that_sets_too_much_is_refused() -> None:
    sets = ", ".join(f"{name}: {name * 60}" for name in "abc")
    numbers = f'numbers:\n  "+74951234567": {{flow: main, set: {{{sets}}}}}\n'
    assert codes("main:\n  a: {play: A.}", numbers=numbers) == ["E504"]


def long_names(count: int, length: int) -> str:
    sets = ", ".join(f"{'v' * (length - 1)}{chr(97 + i)}: {'x' * 25}" for i in range(count))
    return f"main:\n  a: {{set: {{{sets}}}, then: b}}\n  b: {{play: B.}}"


def test_a_state_that_would_not_fit_on_the_channel_is_refused() -> None:
    assert codes(long_names(5, 8)) == []
    (line,) = problems(long_names(5, 30))
    assert line.startswith("E413 the checkpoint would have ")


def test_the_room_for_a_state_is_what_the_checkpoint_really_needs() -> None:
    # Between the two lengths of names one letter decides: the check uses the very code that writes checkpoints.
    results = [codes(long_names(5, length)) for length in range(8, 31)]
    turn = results.index(["E413"])
    assert results[:turn] == [[]] * turn
    assert results[turn:] == [["E413"]] * (len(results) - turn)
    assert state.LONGEST == 512


def test_flows_that_wait_take_room_on_the_channel() -> None:
    name = "f" * 30
    flows = f"main:\n  {'s' * 32}: {{flow: {name}1, then: hangup}}\n"
    flows += "".join(f"{name}{i}:\n  {'s' * 32}: {{flow: {name}{i + 1}, then: return}}\n" for i in range(1, 5))
    assert "E413" in codes(f"{flows}{name}5:\n  a: {{play: A., then: return}}")


def test_very_many_ways_are_still_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "MOST_STATES", 0)
    steps = "".join(
        f"  m{i}: {{menu: M., keys: {{1: s{i}, 2: m{i + 1}}}, otherwise: hangup}}\n"
        f"  s{i}: {{set: {{v{i}: x}}, then: m{i + 1}}}\n"
        for i in range(8)
    )
    flows = f'main:\n{steps}  m8: {{play: "{{v3}} {{nope}}"}}'
    assert problems(flows) == ["E213 nothing sets {nope}"]


# ------------------------------------------------------------------------------------------- numbers


def test_a_key_may_begin_an_extension_but_not_be_one() -> None:
    flows = "main:\n  a: {menu: M., keys: {3: hangup}, extensions: [team], otherwise: hangup}"
    assert codes(flows) == []
    head = HEAD.replace("302:", "3:").replace("302]", "3]")
    assert problems(flows, head=head) == [
        "E412 key 3 is also the extension of Boris, who can be dialled here",
    ]


def test_a_menu_needs_a_key_or_an_extension() -> None:
    assert codes("main:\n  a: {menu: M., otherwise: hangup}") == ["E415"]
    assert codes("main:\n  a: {menu: M., extensions: [301], otherwise: hangup}") == []


def test_then_of_a_menu_needs_somebody_who_can_be_dialled() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: hangup}, then: hangup, otherwise: hangup}"
    assert codes(flows) == ["E407"]
    assert codes(flows.replace("keys", "extensions: [301], keys")) == []


def test_an_emergency_number_is_no_extension() -> None:
    head = HEAD.replace("  302:", "  112: {name: Dispatcher}\n  302:")
    more = 'outbound: {trunk: carrier, emergency: ["112"]}\n'
    assert codes("main:\n  a: {play: A.}", head=head, more=more) == ["E501"]
    assert codes("main:\n  a: {play: A.}", head=head) == ["W504"]
    assert codes("main:\n  a: {play: A.}", more=more) == []


@pytest.mark.parametrize("extension", ["101", "102", "103", "112"])
def test_the_emergency_numbers_of_russia_are_known(extension: str) -> None:
    head = HEAD.replace("  302:", f"  {extension}: {{name: Dispatcher}}\n  302:")
    assert codes("main:\n  a: {play: A.}", head=head) == ["W504"]


def test_a_code_belongs_to_one_switch_or_flow() -> None:
    head = HEAD + '  shut: {switch: "*21"}\n'
    flows = 'main:\n  a: {play: A.}\nother:\n  code: "*22"\n  b: {play: B.}'
    assert codes(flows, head=head) == []
    assert problems(flows.replace("*22", "*21"), head=head) == [
        "E503 the code *21 belongs to the switch shut already (line 15)"
    ]


def test_nobody_forwards_to_themselves_or_to_a_mobile_they_do_not_have() -> None:
    head = HEAD.replace("{name: Anna}", "{name: Anna, forward: {busy: 302, otherwise: voicemail}}")
    assert codes("main:\n  a: {play: A.}", head=head) == []
    assert codes("main:\n  a: {play: A.}", head=head.replace("busy: 302", "busy: 301")) == ["E506"]
    assert codes("main:\n  a: {play: A.}", head=head.replace("busy: 302", "busy: mobile")) == ["E506"]


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


# ------------------------------------------------------------------------------------------- outside

PLAY = "main:\n  a: {play: A.}"
OUTBOUND = "outbound: {trunk: carrier, allow: [RU, GB]}\n"


def anna(options: str) -> str:
    return HEAD.replace("301: {name: Anna}", f"301: {{name: Anna, {options}}}")


def test_what_is_listed_as_an_emergency_number_must_not_be_one_that_costs() -> None:
    listed = OUTBOUND.replace("GB]", 'GB], emergency: ["112", "0890", "11888"]')
    (found,) = placed(PLAY, more=listed)
    assert (
        found.split(":", 2)[2]
        == " E507 11888 costs more than a call in RU, and no emergency number: it may not pass as one"
    )


@pytest.mark.parametrize(
    "options",
    [
        'phones: ["+79161112233", "+12644971234"]',
        'forward: {busy: "+12644971234"}',
        'forward: {no_answer: {after: 20s, to: "+12644971234"}}',
        'mobile: "+12644971234", forward: {busy: mobile}',
    ],
)
def test_a_number_that_policy_refuses_is_an_error_where_it_stands(options: str) -> None:
    column = 1 + len("  301: {name: Anna, ") + options.index('"+12644971234"')
    assert placed(PLAY, head=anna(options), more=OUTBOUND) == [
        f"7:{column}: E507 +12644971234 is in AI, and outbound allows RU and GB only: add AI to allow"
    ]
    assert placed(PLAY, head=anna(options), more=OUTBOUND.replace("GB", "AI")) == []


@pytest.mark.parametrize(
    "step",
    [
        '{dial: "+881612345678", otherwise: hangup}',
        '{dial: [{to: [301, "+881612345678"], ring: 9s}], otherwise: hangup}',
        '{dial: [{to: 301, ring: 9s}, {to: "+881612345678", ring: 9s}], otherwise: hangup}',
    ],
)
def test_a_number_that_a_step_dials_obeys_the_same_policy(step: str) -> None:
    column = 1 + len("    a: ") + step.index('"+881612345678"')
    assert placed(f"main:\n  a: {step}", more=OUTBOUND) == [
        f"20:{column}: E507 +881612345678 is a satellite telephone (no country): those are never dialled, "
        "whatever outbound allows"
    ]
    assert placed(f"main:\n  a: {step}".replace("+881612345678", "+442071234567"), more=OUTBOUND) == []


def test_what_the_companys_own_country_calls_local_is_read_by_it() -> None:
    flows = 'main:\n  a: {dial: "8 916 111-22-33", otherwise: hangup}'
    assert placed(flows, more=OUTBOUND) == []
    assert placed(flows, more="outbound: {trunk: carrier}\n") == []
    assert placed(flows.replace("916 111-22-33", "809 500-12-34"), more=OUTBOUND) == [
        "20:15: E507 +78095001234 is a premium rate number (RU): those are never dialled, whatever outbound allows"
    ]


def test_a_mobile_that_no_forward_names_is_never_rung_and_may_be_any() -> None:
    assert placed(PLAY, head=anna('mobile: "+12644971234", forward: {busy: 302}'), more=OUTBOUND) == []
    assert placed(PLAY, head=anna('mobile: "+79161112233", forward: {busy: 302}')) == []


def test_without_outbound_a_number_outside_is_a_warning_once_for_each_person_and_step() -> None:
    head = anna('mobile: "+79161112233", phones: ["+79161112234"], forward: {busy: mobile, otherwise: "+79161112235"}')
    flows = 'main:\n  a: {dial: [{to: ["+79161112233", "+79161112234"], ring: 9s}], otherwise: b}\n'
    flows += '  b: {dial: "+79161112233", otherwise: hangup}'
    rest = "W506 +79161112233 is outside, and there is no outbound section: it is never rung"
    assert placed(flows, head=head) == [f"7:29: {rest}", f"19:22: {rest}", f"20:15: {rest}"]
    assert placed(flows, head=head, more=OUTBOUND) == []


def test_an_outbound_that_could_not_be_read_is_not_a_missing_one() -> None:
    for more in ("outbound: {trunk: carrier, allow: [XX]}\n", "outbond: {trunk: carrier}\n"):
        assert [line.split()[1][0] for line in placed(PLAY, head=anna('phones: ["+79161112233"]'), more=more)] == ["E"]


def test_who_talked_in_a_rehearsal_is_not_dialled_by_it() -> None:
    rehearsals = 'rehearsals:\n  R: {call: {from: "301", to: "+74951234567", at: 2026-11-23 10:00}, '
    rehearsals += 'ends: {talk: "+12644971234"}}\n'
    assert placed(PLAY, more=OUTBOUND + rehearsals) == []


def test_a_caller_id_that_is_none_of_the_companys_numbers_is_a_warning() -> None:
    more = 'outbound: {trunk: carrier, caller_id: {"+44*": "+442071234567", otherwise: "+74951234568"}}\n'
    assert placed(PLAY, more=more) == [
        "17:76: W507 +74951234568 is none of the company's numbers in RU: carriers may refuse to show it"
    ]  # one of a country where the company has none may be rented elsewhere
    assert placed(PLAY, more=more.replace("34568", "34567")) == []


# ------------------------------------------------------------------------------------------- forwards in a circle


def people(**forwards: str) -> str:
    """HEAD with these people instead; ``x301="busy: 302"``."""
    rows = "".join(f"  {name[1:]}: {{name: P, forward: {{{forward}}}}}\n" for name, forward in forwards.items())
    return HEAD.replace("  301: {name: Anna}\n  302: {name: Boris}\n", rows)


def test_people_who_always_forward_to_each_other_are_an_error() -> None:
    assert placed(PLAY, head=people(x301="always: 302", x302="always: 303", x303="always: 301")) == [
        "7:36: E508 calls are always forwarded in a circle: 301 → 302 → 303 → 301; nobody would ever ring"
    ]
    assert placed(PLAY, head=people(x301="always: 302", x302="always: 303", x303="always: voicemail")) == []


@pytest.mark.parametrize("when", ["busy", "no_answer", "unreachable", "otherwise"])
def test_a_circle_in_which_somebody_rings_is_a_warning(when: str) -> None:
    head = people(x301="always: 302", x302=f"{when}: 303", x303=f"{when}: 301")
    assert placed(PLAY, head=head) == [
        "7:36: W508 calls may be forwarded in a circle: 301 → 302 → 303 → 301; each is rung once, then the call goes on"
    ]


def test_the_shortest_circle_is_shown_and_each_once() -> None:
    head = people(
        x301="busy: 302, no_answer: 303",
        x302="busy: 303",
        x303="busy: 301",
        x304="busy: {to}",
        x305="busy: 304",
    )
    found = problems(PLAY, head=head.replace("{to}", "305"))
    assert found == [
        "W508 calls may be forwarded in a circle: 301 → 302 → 303 → 301; each is rung once, then the call goes on",
        "W508 calls may be forwarded in a circle: 304 → 305 → 304; each is rung once, then the call goes on",
    ]
    assert len(problems(PLAY, head=head.replace("{to}", "301"))) == 1


def test_a_rule_that_is_never_followed_makes_no_circle() -> None:
    assert placed(PLAY, head=people(x301="always: voicemail, busy: 302", x302="busy: 301")) == []
    all_three = "busy: voicemail, no_answer: voicemail, unreachable: voicemail, otherwise: 302"
    assert placed(PLAY, head=people(x301=all_three, x302="busy: 301")) == []
    assert codes(PLAY, head=people(x301=all_three.replace("no_answer: voicemail, ", ""), x302="busy: 301")) == ["W508"]


def test_a_circle_is_shown_where_its_first_rule_stands() -> None:
    (found,) = placed(PLAY, head=people(x301="otherwise: 302, busy: 302", x302="unreachable: 301, busy: 301"))
    assert found.startswith("7:39: W508 ")


def test_who_forwards_to_themselves_is_told_so_and_no_more() -> None:
    assert codes(PLAY, head=people(x301="busy: 301", x302="busy: voicemail")) == ["E506"]


# --------------------------------------------------------------------------------------- structure of steps


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{menu: M., keys: {1: hangup}}", ["E404"]),
        ("{menu: M., keys: {1: hangup}, timeout: hangup}", ["E404"]),
        ("{menu: M., keys: {1: hangup}, timeout: hangup, invalid: hangup}", []),
        ("{menu: M., keys: {1: hangup}, timeout: hangup, invalid: hangup, otherwise: hangup}", ["E407"]),
        ("{dial: 301}", ["E404"]),
        ("{dial: 301, otherwise: hangup}", []),
        ("{collect: C., digits: 4, into: x, otherwise: hangup}", ["E405"]),
        ("{set: {x: y}}", ["E405"]),
        ("{play: P.}", []),
        ("{play: P., otherwise: hangup}", ["E407"]),
        ("{play: P., busy: hangup}", ["E301"]),
        ("{play: P., otherwize: hangup}", ["E301"]),
        ("{dial: 301, otherwize: hangup}", ["E301"]),
        ("{hangup: busy, thn: hangup}", ["E301"]),
        ("{hangup: busy}", []),
        ("{hangup: busy, then: hangup}", ["E407"]),
        ("{caller: {vip: hangup}}", ["E406"]),
        ("{hours: {office: hangup}, then: hangup, otherwise: hangup}", ["E407"]),
        ("{voicemail: 301}", []),
        ("{queue: sales}", ["E404", "E206"]),
    ],
)
def test_the_edges_of_a_step_are_those_that_can_be_followed(step: str, expected: Sequence[str]) -> None:
    assert sorted(codes(f"main:\n  a: {step}")) == sorted(expected)


def test_a_misspelt_edge_is_one_mistake_not_two() -> None:
    assert problems("main:\n  a: {set: {x: y}, than: hangup}") == [
        'E301 a set step has no option "than"; did you mean "then"?'
    ]
