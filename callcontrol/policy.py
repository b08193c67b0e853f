"""May this number be dialled, with which caller ID, and how does a trunk want it written?

The one place that decides about calls that leave, for phones, forwards, steps and ``check`` alike.  It knows
``outbound`` of a company's routing and the numbering plans of the world (``phonenumbers``), never a price, a trunk's
address or who asks.  Numbers are E.164 with ``+``, countries ISO 3166.

Where the surprise lies:

* A prefix is no country: +1 264 is Anguilla, +7 701 Kazakhstan, +44 7624 the Isle of Man.  So a number is judged by
  its *region*, and its region by its whole.
* A number is judged as it would be sent, not as it was typed: what was typed is read once, written as E.164, and
  only that is looked at.
* What ``phonenumbers`` calls valid may still cost a fortune, or connect to somebody in need: satellites have ranges
  inside of countries, and some numbers are short codes or emergency numbers as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from callcontrol.routing.countries import country_name
from callcontrol.routing.nodes import quoted

#: Why a number may not be dialled.
REASONS = (
    "no_trunk",
    "not_a_number",
    "no_such_number",
    "emergency",
    "short",
    "country",
    "premium",
    "shared_cost",
    "personal",
    "pager",
    "voicemail",
    "satellite",
    "nongeographic",
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The number may be dialled.  ``caller_id`` is E.164, or empty: the trunk's own.

    With ``emergency`` the number is the digits as they were dialled, and no cap applies.
    """

    number: str
    caller_id: str
    trunks: tuple[str, ...]
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The number may not be dialled.  ``reason`` is one of :data:`REASONS`; ``why`` a sentence for people."""

    reason: str
    why: str


def decide(outbound: Mapping[str, Any], country: str, dialled: str, *, emergency: bool = False) -> Allowed | Refused:
    """Whether ``dialled`` (any text at all) may be rung from a company of ``country``.

    ``outbound`` is :attr:`Routing.outbound`, empty if the company has none.  Local numbers and international
    prefixes are read as one dials in ``country``.  ``emergency``: one of the company's own phones dialled this, so
    a number of the emergency list passes; for anybody else it is refused.
    """
    trunks = tuple(outbound.get("trunk", ()))
    if not trunks:
        return Refused("no_trunk", "the company has no trunk: add outbound, with the trunk that its calls leave by")
    text = _typed(dialled)
    if text is None:
        return Refused("not_a_number", f"{quoted(dialled)} is not a number: a + and digits, nothing else, are dialled")
    if text in outbound.get("emergency", ()):
        why = not_an_emergency(text, country)
        if why:
            return Refused("premium", why)
        if emergency:
            return Allowed(text, caller_id(outbound, text), trunks, emergency=True)
        return Refused("emergency", f"{text} is an emergency number: only the company's own phones may dial it")
    found = _judged(text, country)
    if isinstance(found, Refused):
        return found
    allow = tuple(outbound.get("allow", ())) or (country,)
    if not any(region in allow for region in found.regions):
        where = found.regions[0]
        why = f"{found.number} is in {country_name(where)}, and outbound allows {_listed(allow)} only"
        why += f": add {where} to allow"
        return Refused("country", why)
    return Allowed(found.number, caller_id(outbound, found.number), trunks)


@lru_cache(maxsize=1024)
def not_an_emergency(text: str, country: str) -> str:
    """Why a number of two to six digits may not pass as an emergency number in ``country``, or nothing.

    Such numbers pass everything else, caps too, so one that costs may not be among them (118500, 892424).  Not every
    emergency number is known to the numbering plan: one that it does not know may.
    """
    if _is_emergency(text, country):
        return ""
    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return ""
    costs = _ENQUIRIES.fullmatch(text) is not None
    costs |= phonenumbers.expected_cost_for_region(parsed, country) == phonenumbers.ShortNumberCost.PREMIUM_RATE
    if not costs and not phonenumbers.is_valid_number(parsed):
        return ""
    what = "costs more than a call" if costs else "is a whole number"
    return f"{text} {what} in {country_name(country)}, and no emergency number: it may not pass as one"


def e164(dialled: str, country: str) -> str | None:
    """The E.164 number that ``dialled`` is in ``country``, allowed or not; None if it is none."""
    text = _typed(dialled)
    parsed = _read(text, country) if text is not None else None
    return _e164(parsed) if parsed is not None else None


def caller_id(outbound: Mapping[str, Any], number: str) -> str:
    """The number that is shown to ``number``: what ``outbound`` says of it or its longest beginning, else its
    ``otherwise``, else nothing.
    """
    shown: Mapping[str, str] = outbound.get("caller_id") or {}
    if number in shown:
        return shown[number]
    beginnings = [key for key in shown if key.endswith("*") and number.startswith(key[:-1])]
    return shown[max(beginnings, key=len)] if beginnings else shown.get("otherwise", "")


@lru_cache(maxsize=4096)
def written(number: str, format: str, country: str | None) -> str:
    """An allowed number as a trunk wants it: ``+`` and digits only.

    ``plus`` is E.164, ``plain`` the same without the plus, ``national`` what one dials in ``country``; where no way
    of dialling there leads back to the number, E.164.  Emergency numbers are never changed.  ValueError if the number
    is neither E.164 nor an emergency number, or the format is none.
    """
    if _EMERGENCY.fullmatch(number):
        return number
    if not _E164.fullmatch(number):
        raise ValueError(f"{number!r} is not E.164")
    if format == "plus":
        return number
    if format == "plain":
        return number[1:]
    if format != "national" or country is None:
        raise ValueError(f"the format {format!r} of a trunk in {country!r}")
    for text in _dialled_in(country, phonenumbers.parse(number, None)):
        sent = _read(text, country)
        if _WRITTEN.fullmatch(text) and sent is not None and _e164(sent) == number:
            return text
    return number


# ------------------------------------------------------------------------------------------- reading

#: What was typed, once the separators are gone.  Not \d: that is every digit of every script.
_TYPED = re.compile(r"\+?[0-9]{2,20}")
_SEPARATORS = str.maketrans("", "", "()-. ")
#: Nobody types more than that for one number.
_LONGEST = 64
#: No country has longer short numbers.
_LONGEST_SHORT = 12
#: Countries that a message lists.
_MOST_LISTED = 8
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_EMERGENCY = re.compile(r"[0-9]{2,6}")
#: Directory enquiries, in most of Europe; the library does not know everywhere what they cost.
_ENQUIRIES = re.compile(r"118[0-9]{2,3}")
_WRITTEN = re.compile(r"\+?[0-9]{2,20}")


def _typed(text: str) -> str | None:
    """``+`` and digits without the separators that people type, or None if there is anything else."""
    if len(text) > _LONGEST:
        return None
    text = text.translate(_SEPARATORS)
    return text if _TYPED.fullmatch(text) else None


# ------------------------------------------------------------------------------------------- judging

#: The kinds of number that are called; all others are refused by name.
_PLAIN = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.VOIP,
        PhoneNumberType.UAN,
    }
)
_REFUSED_KINDS = {
    PhoneNumberType.PREMIUM_RATE: ("premium", "a premium rate number"),
    PhoneNumberType.SHARED_COST: ("shared_cost", "a shared cost number"),
    PhoneNumberType.PERSONAL_NUMBER: ("personal", "a personal number, whose price nobody knows beforehand"),
    PhoneNumberType.PAGER: ("pager", "a pager"),
    PhoneNumberType.VOICEMAIL: ("voicemail", "a carrier's voicemail"),
}
#: Country codes that belong to no country (ITU-T E.164, list of assigned codes).
_NOWHERE = {
    800: ("nongeographic", "an international freephone number"),
    808: ("shared_cost", "an international shared cost number"),
    870: ("satellite", "a satellite telephone (Inmarsat)"),
    878: ("personal", "an international personal number"),
    881: ("satellite", "a satellite telephone"),
    882: ("satellite", "a satellite telephone, or one of another international network"),
    883: ("nongeographic", "a number of an international network"),
    979: ("premium", "an international premium rate number"),
}
_ELSEWHERE = ("nongeographic", "a number of no country")
#: What the numbering plan takes for plain numbers although carriers do not.
_DEARER = (
    (re.compile(r"\+7954"), ("satellite", "a satellite telephone")),
    (re.compile(r"\+6114[57]"), ("satellite", "a satellite telephone")),
    (re.compile(r"\+1600"), ("satellite", "in a range of satellite telephones and of others that callers pay for")),
    (re.compile(r"\+7[89]40"), ("premium", "in a range that carriers charge as a call abroad")),
    (re.compile(r"\+1[2-9][0-9]{2}976"), ("premium", "a premium rate number (exchange 976)")),
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A plain number and its countries: one, except that the toll-free numbers of a shared code are each one's."""

    number: str
    regions: tuple[str, ...]


@lru_cache(maxsize=8192)
def _judged(text: str, country: str) -> _Found | Refused:
    """What ``text`` is, whatever a company allows."""
    if _is_emergency(text, country):
        why = (
            f"{text} is an emergency number in {country_name(country)}, and not in outbound's list: add it to emergency"
        )
        return Refused("emergency", why)
    if _is_short(text, country):
        return Refused(
            "short", f"{text} is a short number in {country_name(country)}: those are never dialled; write a whole one"
        )
    parsed = _read(text, country)
    if parsed is None:
        where = f" in {country_name(country)}" if country else ""
        return Refused("no_such_number", f"{text} is no number that one can dial{where}: check the digits")
    number, code = _e164(parsed), parsed.country_code or 0
    home = phonenumbers.region_code_for_country_code(code)
    if home == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return _refused(number, "no country", *_NOWHERE.get(code, _ELSEWHERE))
    region, kind = phonenumbers.region_code_for_number(parsed) or home, phonenumbers.number_type(parsed)
    if kind in _REFUSED_KINDS:
        return _refused(number, region, *_REFUSED_KINDS[kind])
    if kind not in _PLAIN:
        return Refused(
            "no_such_number", f"{number} is no number that exists in {country_name(region)}: check the digits"
        )
    for pattern, what in _DEARER:
        if pattern.match(number):
            return _refused(number, region, *what)
    return _Found(number, _regions(parsed, region, kind))


def _read(text: str, country: str) -> PhoneNumber | None:
    """The E.164 number that is sent if ``text`` is dialled in ``country``; None: there is none."""
    try:
        number = _e164(phonenumbers.parse(text, country or None))
        sent = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    return sent if _E164.fullmatch(number) and _e164(sent) == number else None


def _e164(parsed: PhoneNumber) -> str:
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def _regions(parsed: PhoneNumber, region: str, kind: int) -> tuple[str, ...]:
    """The countries of a valid number, the first of them its own."""
    if kind != PhoneNumberType.TOLL_FREE:
        return (region,)
    sharing = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    others = [other for other in sharing if other != region]
    return (region, *(other for other in others if phonenumbers.is_valid_number_for_region(parsed, other)))


def _is_emergency(text: str, country: str) -> bool:
    """Whether ``text`` is an emergency number of ``country``."""
    return bool(country) and len(text) <= 6 and phonenumbers.is_emergency_number(text, country)


def _is_short(text: str, country: str) -> bool:
    """Whether ``text`` dialled in ``country`` is a short number rather than a whole one."""
    if len(text) > _LONGEST_SHORT or text.startswith("+") or country not in phonenumbers.SUPPORTED_SHORT_REGIONS:
        return False
    try:
        return phonenumbers.is_valid_short_number_for_region(phonenumbers.parse(text, country), country)
    except phonenumbers.NumberParseException:
        return False


def _refused(number: str, region: str, reason: str, what: str) -> Refused:
    return Refused(
        reason, f"{number} is {what} ({country_name(region)}): those are never dialled, whatever outbound allows"
    )


def _listed(words: tuple[str, ...]) -> str:
    """Countries for a message, a few of them."""
    some = words[:_MOST_LISTED] if len(words) > _MOST_LISTED + 1 else words
    last = f"{len(words) - len(some)} more" if len(some) < len(words) else some[-1]
    rest = some if len(some) < len(words) else some[:-1]
    return f"{', '.join(rest)} and {last}" if rest else last


# ------------------------------------------------------------------------------------------- writing


def _dialled_in(country: str, parsed: PhoneNumber) -> tuple[str, ...]:
    """Ways to dial a number in ``country``, the usual one first."""
    code = phonenumbers.country_code_for_region(country)
    abroad = _bare(phonenumbers.format_out_of_country_calling_number(parsed, country))
    if parsed.country_code != code:
        return (abroad,)
    if code == 1:  # one dials the 1, although nobody writes it
        return (f"1{phonenumbers.national_significant_number(parsed)}",)
    return (_bare(phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)), abroad)


def _bare(text: str) -> str:
    return re.sub(r"[^+0-9]", "", text)
