"""What countries are called where people read it."""

from __future__ import annotations

import phonenumbers
import pytest

from callcontrol.routing.countries import country_name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("AI", "Anguilla"),
        ("GB", "the United Kingdom"),
        ("BA", "Bosnia and Herzegovina"),
        ("IM", "the Isle of Man"),
        ("KY", "the Cayman Islands"),
        ("GS", "South Georgia and the South Sandwich Islands"),
        ("DO", "the Dominican Republic"),
        ("HK", "Hong Kong"),
        ("no country", "no country"),
    ],
)
def test_a_country_is_called_as_people_do(code: str, name: str) -> None:
    assert country_name(code) == name


def test_every_country_that_can_be_called_has_a_name() -> None:
    assert [code for code in phonenumbers.SUPPORTED_REGIONS if country_name(code) == code] == []
