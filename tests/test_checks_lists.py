"""Lists of callers: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

import pytest

from callcontrol.routing.load import load_text
from tests.checked import HEAD, NUMBERS, TODAY, problems

STEP = "main:\n  a: {caller: {blocked: hangup, vip: b}, otherwise: b}\n  b: {play: B.}"


def lists(blocked: str, vip: str, flows: str = STEP) -> list[str]:
    head = HEAD.replace('  vip: ["+7812*"]\n', f"  blocked: [{blocked}]\n  vip: [{vip}]\n")
    return problems(flows, head=head)


@pytest.mark.parametrize(
    ("blocked", "vip", "expected"),
    [
        ('"+79160000001"', '"+79160000001", "+7812*"', '+79160000001 of "vip" never counts here: {} has it too'),
        ('"+7916*"', '"+79160000001", "+7812*"', '+79160000001 of "vip" never counts here: {} has +7916*'),
        ('"+7*"', '"+7812*", "+44*"', '+7812* of "vip" never counts here: {} has +7*'),
        ('"+882*", anonymous', 'anonymous, "+7812*"', 'anonymous of "vip" never counts here: {} has it too'),
        ('"+7*"', '"+7812*"', '"vip" never decides here: {} has all of its callers'),
        ('"+*"', '"+7812*", "+7495*", anonymous', '+7812* and +7495* of "vip" never count here: {} has them'),
    ],
)
def test_what_an_earlier_list_has_never_counts(blocked: str, vip: str, expected: str) -> None:
    assert lists(blocked, vip) == ["W531 " + expected.format('"blocked", which is asked first,')]


@pytest.mark.parametrize(
    ("blocked", "vip"),
    [
        ('"+79160000001"', '"+7916*"'),  # an exception, asked first
        ('"+7812*"', '"+7813*", "+781*"'),
        ("anonymous", '"+*"'),
    ],
)
def test_lists_may_touch(blocked: str, vip: str) -> None:
    assert [line for line in lists(blocked, vip) if line.startswith("W531")] == []


def test_only_lists_that_one_step_asks_overlap() -> None:
    apart = (
        "main:\n  a: {caller: {blocked: hangup}, otherwise: b}\n  b: {caller: {vip: c}, otherwise: c}\n  c: {play: C.}"
    )
    assert lists('"+7*"', '"+7812*"', apart) == []
    assert lists('"+7*"', '"+7812*"', STEP.replace("blocked: hangup, vip: b", "vip: b, blocked: hangup")) == []


def test_many_that_never_count_are_some_and_a_number() -> None:
    vip = ", ".join(f'"+7812{digit}*"' for digit in range(6))
    assert lists('"+7812*"', f'{vip}, "+44*"') == [
        'W531 +78120*, +78121*, +78122* and 3 more of "vip" never count here: "blocked", which is asked first, has them'
    ]


def test_several_lists_may_have_them() -> None:
    head = HEAD.replace('  vip: ["+7812*"]\n', '  one: ["+7*"]\n  two: ["+44*"]\n  vip: ["+7812*", "+4420*"]\n')
    flows = STEP.replace("blocked: hangup", "one: hangup, two: hangup")
    assert problems(flows, head=head) == [
        'W531 "vip" never decides here: "one" and "two", which are asked first, have all of its callers'
    ]


def test_an_entry_is_told_of_that_another_of_its_list_has() -> None:
    assert lists('"+882*"', '"+7812*", "+7 812 123-45-67", "+78123*", "+7813*"') == [
        'W532 +78121234567 is in the list "vip" already: +7812* has it',
        'W532 +78123* is in the list "vip" already: +7812* has it',
    ]


def test_the_companys_own_number_calls_nobody() -> None:
    (found,) = lists('"+74951234567"', '"+7812*"')
    assert found.startswith("W533 +74951234567 is the company's own number: ")
    assert lists('"+7495*"', '"+7812*"') == []


def test_a_long_list_is_judged_in_a_moment() -> None:
    """Ten thousand entries: what looks at each pair of them takes minutes."""
    entries = "".join(f'    - "+7916{number:07}"\n' for number in range(10_000))
    text = HEAD.replace('  vip: ["+7812*"]\n', f'  blocked: ["+7812*"]\n  vip:\n{entries}    - "+79160000*"\n')
    text += NUMBERS + "flows:\n" + "".join(f"  {line}\n" for line in STEP.splitlines())
    found = load_text(text, path="f", company="test", today=TODAY).problems
    assert {problem.code for problem in found} == {"W532", "W550"}
    assert len(found) == 301
