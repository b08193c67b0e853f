"""Where calls go: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.checked import codes, problems

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
    assert problems(flows.replace("return", "hangup")) == [
        'W537 the flow "sub" never comes to a return, so then is never followed here'
    ]


def test_a_then_that_is_never_followed_is_told_also_where_others_lead_to_its_step() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: b}, otherwise: c}\n  b: {flow: sub, then: c}\n  c: {play: C.}\n"
    flows += "sub:\n  x: {play: X., then: main/c}\n  y: {play: Y., then: return}"
    assert codes(flows) == ["W537", "W501"]
    assert codes(flows.replace("main/c", "y")) == []
    assert codes(flows.replace("main/c", "inner") + "\ninner:\n  z: {play: Z., then: return}") == [
        "W537",
        "W501",
        "W536",
    ]


def test_a_return_needs_a_step_that_runs_its_flow() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: return}, otherwise: return}"
    assert (
        problems(flows)
        == [
            'W536 no step runs the flow "main", so return comes back to nothing: the call ends here; '
            "write hangup, or run the flow by a flow step"
        ]
        * 2
    )
    assert codes("main:\n  on_error: return\n  a: {play: A., then: b}\n  b: {play: B.}") == [
        "W536"
    ]  # not for each step
    assert codes(flows + '\nother:\n  code: "*5"\n  x: {flow: main, then: hangup}') == []


def test_nothing_is_said_of_returns_in_a_flow_that_no_call_reaches() -> None:
    assert codes("main:\n  a: {play: A.}\nother:\n  x: {play: X., then: return}") == ["W502"]


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
