"""STUB until the policy branch is merged."""

from __future__ import annotations
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
import phonenumbers


@dataclass(frozen=True, slots=True)
class Allowed:
    number: str
    caller_id: str
    trunks: tuple[str, ...]
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    why: str


def e164(dialled: str, country: str) -> str | None:
    try:
        found = phonenumbers.parse(dialled, country)
    except phonenumbers.NumberParseException:
        return None
    return (
        phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(found)
        else None
    )


def decide(outbound: Mapping[str, Any], country: str, dialled: str, *, emergency: bool = False) -> Allowed | Refused:
    if not outbound:
        return Refused("no_trunk", "there is no outbound section")
    if emergency and dialled in outbound.get("emergency", ()):
        return Allowed(dialled, "", outbound["trunk"], True)
    number = e164(dialled, country)
    if number is None:
        return Refused("not_a_number", "no number")
    region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    if region not in (outbound.get("allow") or (country,)):
        return Refused("country", f"{region} is not allowed")
    return Allowed(number, outbound.get("caller_id", {}).get("otherwise", ""), outbound["trunk"])
