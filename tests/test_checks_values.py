"""What calls carry: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

import pytest

from callcontrol import state
from callcontrol.routing.checks import whole
from tests.checked import codes, long_names, problems

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
