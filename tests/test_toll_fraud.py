"""Toll fraud: what callers, phones of our own, operators and CRMs may say, and what is rung because of it.

Each test is an attack that worked, or one that must never work.
"""

from __future__ import annotations

import pytest

from callcontrol import policy
from callcontrol.session import typed_caller
from tests.playbook import Playbook, routing

MOBILE = "+79161112233"
OWN = "+74951234567"
HEAD = f"""\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "{OWN}": {{flow: main}}
people:
  301: {{name: Anna, phones: ["{MOBILE}"], show: caller}}
outbound: {{trunk: carrier-a, allow: [RU]}}
"""


@pytest.mark.parametrize(
    "said", ["03012345678", "+03012345678", "+12", "+1*#", "+9991234567", "12345678901234567890", "+", "*#", "911"]
)
def test_a_caller_whose_number_is_none_still_gets_through_to_a_person_who_sees_the_callers(said: str) -> None:
    """It was to be written as the trunk writes numbers, and could not be: each controller in turn dropped the call."""
    book = Playbook(routing("main:\n  it: {dial: 301, otherwise: hangup}", HEAD), caller=typed_caller(said))
    shown = book.rung[MOBILE].shown
    assert shown == OWN
    assert policy.written(shown, "national", "RU") == "84951234567"


def test_a_caller_with_a_number_is_shown() -> None:
    assert (
        Playbook(routing("main:\n  it: {dial: 301, otherwise: hangup}", HEAD), caller="+393331234567")
        .rung[MOBILE]
        .shown
        == "+393331234567"
    )


def test_the_number_that_a_caller_says_to_call_from_is_not_dialled() -> None:
    """Whoever sends a number of their choice had the company call it, and talked with it at its expense."""
    flow = 'main:\n  it: {dial: "{caller}", otherwise: no}\n  no: {hangup: busy}'
    Playbook(routing(flow, HEAD), caller="+79991234567").then("hangup busy")
    Playbook(routing(flow, HEAD), caller="301").then(
        "ringback", "ring 301 30s", f"ring {MOBILE} 30s (A call for you. To take it, press 1.)"
    )


def test_nor_the_number_that_they_called() -> None:
    """It is the company's own, and came in again through the trunk, without end."""
    flow = 'main:\n  it: {dial: "{called}", otherwise: no}\n  no: {hangup: busy}'
    Playbook(routing(flow, HEAD)).then("hangup busy")
