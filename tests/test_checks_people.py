"""People: forwards, telephones and codes."""

from __future__ import annotations

import pytest

from tests.checked import HEAD, PLAY, anna, codes, placed, problems


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
    assert placed(PLAY, head=people(x301="always: voicemail, busy: 302", x302="busy: 301")) == [
        "7:3: W535 301 always forwards, so no telephone rings there: busy never comes"
    ]
    all_three = "busy: voicemail, no_answer: voicemail, unreachable: voicemail, otherwise: 302"
    assert placed(PLAY, head=people(x301=all_three, x302="busy: 301")) == []
    assert codes(PLAY, head=people(x301=all_three.replace("no_answer: voicemail, ", ""), x302="busy: 301")) == ["W508"]


def test_a_circle_is_shown_where_its_first_rule_stands() -> None:
    (found,) = placed(PLAY, head=people(x301="otherwise: 302, busy: 302", x302="unreachable: 301, busy: 301"))
    assert found.startswith("7:39: W508 ")


def test_who_forwards_to_themselves_is_told_so_and_no_more() -> None:
    assert codes(PLAY, head=people(x301="busy: 301", x302="busy: voicemail")) == ["E506"]


def test_rules_beside_always_are_never_followed_but_otherwise() -> None:
    assert problems(PLAY, head=people(x301="always: 302, busy: voicemail, no_answer: voicemail", x302="")) == [
        "W535 301 always forwards, so no telephone rings there: busy and no_answer never come"
    ]
    assert problems(PLAY, head=people(x301="always: 302, otherwise: voicemail", x302="")) == []


# ------------------------------------------------------------------------------------------- their telephones


def test_a_telephone_outside_belongs_to_one_person() -> None:
    outbound = "outbound: {trunk: carrier}\n"
    head = anna('mobile: "+79161112233", phones: ["+74957654321"]')
    for options in ('phones: ["8 916 111-22-33"]', 'mobile: "+74957654321"'):
        shared = head.replace("{name: Boris}", f"{{name: Boris, {options}}}")
        (found,) = problems(PLAY, more=outbound, head=shared)
        assert found.startswith("W534 ")
        assert found.endswith(
            "is a telephone of 301 (Anna) too: whoever rings both rings it twice, and who answers counts as Anna"
        )


def test_a_forward_may_lead_to_the_telephone_of_another() -> None:
    head = anna('mobile: "+79161112233", phones: ["+79161112233"], forward: {busy: "+79161112233"}')
    head = head.replace("{name: Boris}", '{name: Boris, forward: {busy: "+79161112233"}}')
    assert problems(PLAY, more="outbound: {trunk: carrier}\n", head=head) == []


def test_a_circle_of_thousands_is_told_in_a_line() -> None:
    many = {1000 + n: 1000 + (n + 1) % 2000 for n in range(2000)}
    circle = "".join(f"  {one}: {{name: P, forward: {{busy: {to}}}}}\n" for one, to in many.items())
    found = problems(PLAY, head=HEAD.replace("people:\n", f"people:\n{circle}"))
    assert "1000 → 1001 → 1002 → 1003 → 1004 → 1005 → 1994 others → 1000; each" in found[-1]
