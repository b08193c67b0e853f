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
