"""Telephone numbers: each check on the smallest company that shows it, and its opposite."""

from __future__ import annotations

import pytest

from tests.checked import HEAD, NUMBERS, PLAY, anna, codes, placed, problems

# ------------------------------------------------------------------------------------------- numbers


def test_an_emergency_number_is_no_extension() -> None:
    head = HEAD.replace("  302:", "  112: {name: Dispatcher}\n  302:")
    more = 'outbound: {trunk: carrier, emergency: ["112"]}\n'
    assert codes("main:\n  a: {play: A.}", head=head, more=more) == ["E501"]
    assert codes("main:\n  a: {play: A.}", head=head) == ["W504"]
    assert codes("main:\n  a: {play: A.}", more=more) == []


# ------------------------------------------------------------------------------------------- outside

OUTBOUND = "outbound: {trunk: carrier, allow: [RU, GB]}\n"


def test_what_is_listed_as_an_emergency_number_must_not_be_one_that_costs() -> None:
    listed = OUTBOUND.replace("GB]", 'GB], emergency: ["112", "0890", "11888"]')
    (found,) = placed(PLAY, more=listed)
    assert (
        found.split(":", 2)[2]
        == " E507 11888 costs more than a call in Russia, and no emergency number: it may not pass as one"
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
        f"7:{column}: E507 +12644971234 is in Anguilla, and outbound allows RU and GB only: add AI to allow"
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
        "20:15: E507 +78095001234 is a premium rate number (Russia): those are never dialled, whatever outbound allows"
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
        "17:76: W507 +74951234568 is none of the company's numbers in Russia: carriers may refuse to show it"
    ]  # one of a country where the company has none may be rented elsewhere
    assert placed(PLAY, more=more.replace("34568", "34567")) == []


@pytest.mark.parametrize("again", ["8 (495) 123-45-67", "+7 495 1234567", "84951234567"])
def test_a_number_is_owned_once_however_it_is_written(again: str) -> None:
    numbers = NUMBERS + f'  "{again}": {{flow: main}}\n'
    assert problems(PLAY, numbers=numbers) == [f'E502 "{again}" is +74951234567, which is owned already (line 16)']


@pytest.mark.parametrize("where", ["phones: [{}]", "mobile: {}, forward: {{busy: mobile}}", "forward: {{busy: {}}}"])
def test_nobody_is_reached_by_the_companys_own_number(where: str) -> None:
    (found,) = problems(PLAY, more=OUTBOUND, head=anna(where.format('"8 495 123-45-67"')))
    assert found.startswith("E507 +74951234567 is the company's own number, ")
