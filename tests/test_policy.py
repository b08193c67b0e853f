"""Which numbers may be dialled: the world's tricks one by one, and any text at all against a second judge."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import phonenumbers
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from callcontrol.policy import REASONS, Allowed, Refused, caller_id, decide, written

OUTBOUND: dict[str, Any] = {
    "trunk": ("carrier-a", "carrier-b"),
    "caller_id": {"+44*": "+442071234567", "otherwise": "+74951234567"},
    "emergency": ("112",),
}
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def outbound(*allow: str) -> dict[str, Any]:
    return {**OUTBOUND, "allow": allow}


def verdict(country: str, dialled: str, *allow: str) -> str:
    """The number as it would be dialled, or why it is not."""
    found = decide(outbound(*(allow or ("RU", "IT", "GB", "US"))), country, dialled)
    return found.number if isinstance(found, Allowed) else found.reason


# --------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize(
    ("country", "dialled", "expected"),
    [
        # As people type.
        ("RU", "+7 (916) 111-22-33", "+79161112233"),
        ("RU", "8 916 111-22-33", "+79161112233"),
        ("RU", "9161112233", "+79161112233"),
        ("RU", "74951234567", "+74951234567"),
        ("RU", "9112223344", "+79112223344"),  # begins like an emergency number of another country
        ("RU", "8 10 44 20 7123 4567", "+442071234567"),
        ("RU", "00 44 20 7123 4567", "no_such_number"),  # not the way abroad from Russia
        ("GB", "00 7 495 123 45 67", "+74951234567"),
        ("US", "011 44 20 7123 4567", "+442071234567"),
        ("GB", "+44 (0)20 7123 4567", "+442071234567"),
        ("GB", "020.7123.4567", "+442071234567"),
        ("IT", "06 1234 5678", "+390612345678"),  # the zero belongs to the number
        ("IT", "+39 6 1234 5678", "no_such_number"),
        ("IT", "333 123 4567", "+393331234567"),
        ("US", "(212) 736-5000", "+12127365000"),
        ("US", "1 212 736 5000", "+12127365000"),
        ("US", "736-5000", "no_such_number"),  # in which town?
        # Countries behind one another's code.
        ("RU", "8 701 234 56 78", "country"),  # Kazakhstan
        ("RU", "+7 727 234 56 78", "country"),
        ("US", "+1 264 497 1234", "country"),  # Anguilla
        ("US", "876 526 1234", "country"),  # Jamaica
        ("US", "1 809 534 1234", "country"),  # Dominican Republic
        ("US", "473 440 1234", "country"),  # Grenada
        ("US", "284 229 1234", "country"),  # British Virgin Islands
        ("US", "649 712 1234", "country"),  # Turks and Caicos
        ("US", "242 345 6789", "country"),  # Bahamas
        ("US", "441 234 5678", "country"),  # Bermuda
        ("US", "671 234 5678", "country"),  # Guam
        ("US", "787 234 5678", "country"),  # Puerto Rico
        ("US", "416 736 5000", "country"),  # Canada
        ("GB", "01534 123456", "country"),  # Jersey
        ("GB", "07797 123456", "country"),
        ("GB", "07781 123456", "country"),  # Guernsey
        ("GB", "07911 123456", "country"),
        ("GB", "07624 123456", "country"),  # Isle of Man
        ("GB", "01624 675000", "country"),
        ("IT", "06 698 12345", "country"),  # the Vatican
        ("IT", "+378 0549 882000", "country"),  # San Marino
        ("IT", "+377 44 123456", "country"),  # Monaco
        ("IT", "+383 44 123456", "country"),  # Kosovo
        ("RU", "+998 90 123 45 67", "country"),
        ("GB", "+371 21234567", "country"),
        ("GB", "+247 62123", "country"),  # Ascension
        # Free of charge.
        ("RU", "8 800 555 01 01", "+78005550101"),
        ("IT", "800 123 456", "+39800123456"),
        ("GB", "0800 123 4567", "+448001234567"),
        ("US", "800-234-5678", "+18002345678"),
        # One number for a company, and over the internet.
        ("GB", "0300 123 4567", "+443001234567"),
        ("GB", "055 1234 5678", "+445512345678"),
        ("GB", "056 1234 5678", "+445612345678"),
        # What costs.
        ("RU", "8 809 500 12 34", "premium"),
        ("RU", "8 803 500 12 34", "premium"),
        ("RU", "8 808 123 45 67", "personal"),
        ("RU", "8 940 123 45 67", "premium"),
        ("RU", "8 840 123 45 67", "premium"),
        ("IT", "899 123 456", "premium"),
        ("IT", "892 424", "premium"),
        ("IT", "+39 899 123 456", "premium"),
        ("IT", "144 123 456", "premium"),
        ("IT", "848 123 456", "shared_cost"),
        ("IT", "178 123 4567", "personal"),
        ("GB", "0906 123 4567", "premium"),
        ("GB", "0845 123 4567", "premium"),
        ("GB", "0870 123 4567", "premium"),
        ("GB", "0871 123 4567", "premium"),
        ("GB", "070 1234 5678", "personal"),
        ("GB", "07640 123456", "pager"),
        ("US", "1-900-555-1234", "premium"),
        ("US", "011 39 899 123 456", "premium"),
        ("US", "212 976 1234", "premium"),
        ("US", "500 234 5678", "personal"),
        ("DE", "01377 123456", "premium"),
        ("DE", "0180 5 123456", "shared_cost"),
        ("FR", "08 99 12 34 56", "premium"),
        ("ES", "902 123 456", "shared_cost"),
        # Above all countries.
        ("GB", "+8816 1234 5678", "satellite"),  # Iridium
        ("RU", "8 10 8816 3122 1234", "satellite"),
        ("US", "011 870 773 111 632", "satellite"),  # Inmarsat
        ("GB", "+882 16 5555 1234", "satellite"),  # Thuraya
        ("GB", "+88213 123 456", "satellite"),
        ("RU", "8 954 112 34 56", "satellite"),  # inside of a country
        ("AU", "0147 101 234", "satellite"),
        ("CA", "600 200 1234", "satellite"),
        ("GB", "+88351 0000 123456", "nongeographic"),
        ("GB", "+878 10 1234567890", "personal"),
        ("GB", "+979 123 456 789", "premium"),
        ("GB", "+800 1234 5678", "nongeographic"),
        ("GB", "+808 1234 5678", "shared_cost"),
        # Too short for a number.
        ("GB", "999", "emergency"),
        ("GB", "1 1 2", "emergency"),
        ("US", "9-1-1", "emergency"),
        ("RU", "02", "emergency"),
        ("IT", "113", "emergency"),
        ("US", "411", "short"),
        ("GB", "118 500", "short"),
        ("FR", "3631", "short"),
        ("RU", "0112", "no_such_number"),
        ("RU", "+7112", "no_such_number"),
        ("GB", "+44 999", "no_such_number"),
        ("US", "1911", "no_such_number"),
        ("US", "911 555 1234", "no_such_number"),
        ("RU", "8 10 112", "no_such_number"),
        # No numbers.
        ("RU", "+7 111 111 11 11", "no_such_number"),
        ("RU", "8 495 123", "no_such_number"),
        ("US", "212 555 1234 567 89", "no_such_number"),
        ("RU", "+999 123 456 789", "no_such_number"),
        ("RU", "", "not_a_number"),
        ("RU", "+", "not_a_number"),
        ("RU", "++79161112233", "not_a_number"),
        ("RU", "8+9161112233", "not_a_number"),
        ("RU", "+79161112233,8095001234", "not_a_number"),
        ("RU", "+79161112233;ext=1", "not_a_number"),
        ("RU", "tel:+79161112233", "not_a_number"),
        ("RU", "+7916111223a", "not_a_number"),
        ("US", "1-800-FLOWERS", "not_a_number"),
        ("RU", "*21", "not_a_number"),
        ("RU", "8916#", "not_a_number"),
        ("RU", "+79161112233\n", "not_a_number"),
        ("RU", "+7916111\u00a02233", "not_a_number"),
        ("RU", "\uff0b79161112233", "not_a_number"),  # a full-width plus, which the library reads
        ("RU", "8916111223\u0663", "not_a_number"),  # an Arabic digit, which the library reads too
        ("RU", "8" + " " * 64 + "9161112233", "not_a_number"),
    ],
)  # fmt: skip
def test_what_may_be_dialled(country: str, dialled: str, expected: str) -> None:
    assert verdict(country, dialled) == expected


def test_the_same_number_is_allowed_once_its_country_is() -> None:
    assert verdict("US", "264 497 1234", "US", "AI") == "+12644971234"
    assert verdict("RU", "8 701 234 56 78", "KZ") == "+77012345678"
    assert verdict("GB", "07624 123456", "IM") == "+447624123456"


def test_without_allow_the_companys_own_country_is_allowed_and_no_other() -> None:
    assert decide(OUTBOUND, "IT", "06 1234 5678") == Allowed(
        "+390612345678", "+74951234567", ("carrier-a", "carrier-b")
    )
    assert isinstance(decide(OUTBOUND, "IT", "+74951234567"), Refused)
    assert verdict("IT", "06 1234 5678", "GB") == "country"  # what is listed is the whole list


def test_toll_free_numbers_of_a_shared_code_belong_to_each_of_its_countries() -> None:
    assert verdict("CA", "800-234-5678", "CA") == "+18002345678"
    assert verdict("KZ", "8 800 555 01 01", "KZ") == "+78005550101"
    assert verdict("CA", "212 736 5000", "CA") == "country"


def test_a_company_without_a_trunk_dials_nothing() -> None:
    for dialled in ("+79161112233", "112", ""):
        for own in ({}, {"allow": ("RU",), "emergency": ("112",)}):
            found = decide(own, "RU", dialled, emergency=True)
            assert isinstance(found, Refused)
            assert found.reason == "no_trunk"


# ------------------------------------------------------------------------------------------- emergencies


def test_a_listed_emergency_number_passes_for_the_companys_own_phones_only() -> None:
    found = decide(outbound("GB"), "RU", "1-1-2", emergency=True)
    assert found == Allowed("112", "+74951234567", ("carrier-a", "carrier-b"), emergency=True)
    found = decide(outbound("GB"), "RU", "112")
    assert isinstance(found, Refused)
    assert found.reason == "emergency"
    assert found.why == "112 is an emergency number: only the company's own phones may dial it"


def test_an_emergency_number_that_is_not_listed_is_refused_for_everybody() -> None:
    found = decide(outbound("RU"), "RU", "103", emergency=True)
    assert found == Refused(
        "emergency", "103 is an emergency number in Russia, and not in outbound's list: add it to emergency"
    )


@pytest.mark.parametrize(
    ("country", "number"), [("FR", "118712"), ("ES", "11818"), ("IT", "892424"), ("GB", "118500"), ("AD", "900123")]
)
def test_what_costs_does_not_pass_as_an_emergency_number_although_it_is_listed(country: str, number: str) -> None:
    """Emergency numbers pass every rule and every cap: one line of routing made directory enquiries free of both."""
    own = {**outbound(country), "emergency": ("112", number)}
    for emergency in (True, False):
        found = decide(own, country, number, emergency=emergency)
        assert isinstance(found, Refused)
        assert found.reason == "premium"


@pytest.mark.parametrize(
    ("country", "number"),
    [("RU", "101"), ("RU", "02"), ("GB", "999"), ("GB", "111"), ("GB", "101"), ("US", "988"), ("DE", "116117")],
)
def test_what_helps_passes_whether_the_numbering_plan_knows_it_or_not(country: str, number: str) -> None:
    found = decide({**outbound(country), "emergency": (number,)}, country, number, emergency=True)
    assert isinstance(found, Allowed)
    assert found.emergency


def test_a_phone_dials_any_other_number_by_the_same_rules() -> None:
    found = decide(outbound("RU"), "RU", "8 916 111 22 33", emergency=True)
    assert isinstance(found, Allowed)
    assert not found.emergency
    assert isinstance(decide(outbound("RU"), "RU", "+112", emergency=True), Refused)
    assert isinstance(decide(outbound("RU"), "RU", "8112", emergency=True), Refused)


@pytest.mark.parametrize("country", ["RU", "IT", "GB", "US", "DE", "FR", "NO", "AU", "IN", "BR"])
def test_nothing_of_two_or_three_digits_is_dialled(country: str) -> None:
    own = outbound(*REGIONS)
    for digits in (*(f"{i:02}" for i in range(100)), *(f"{i:03}" for i in range(1000))):
        for dialled in (digits, f"+{digits}"):
            assert isinstance(decide(own, country, dialled), Refused), dialled


# -------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("dialled", "why"),
    [
        ("+12645551234", "+12645551234 is no number that exists in Anguilla: check the digits"),
        ("+12644971234", "+12644971234 is in Anguilla, and outbound allows RU, IT and GB only: add AI to allow"),
        ("8809500", "+78809500 is no number that exists in Russia: check the digits"),
        (
            "88095001234",
            "+78095001234 is a premium rate number (Russia): those are never dialled, whatever outbound allows",
        ),
        (
            "+881612345678",
            "+881612345678 is a satellite telephone (no country): those are never dialled, whatever outbound allows",
        ),
        ("bob\n", '"bob\\u000a" is not a number: a + and digits, nothing else, are dialled'),
    ],
)
def test_a_refusal_names_the_country_and_the_rule(dialled: str, why: str) -> None:
    found = decide(outbound("RU", "IT", "GB"), "RU", dialled)
    assert isinstance(found, Refused)
    assert found.why == why


def test_a_refusal_lists_a_few_countries_only() -> None:
    few = decide(outbound(*REGIONS[:9]), "RU", "+79161112233")
    many = decide(outbound(*REGIONS[:10]), "RU", "+79161112233")
    assert isinstance(few, Refused)
    assert isinstance(many, Refused)
    assert "allows AC, AD, AE, AF, AG, AI, AL, AM and AO only" in few.why
    assert "allows AC, AD, AE, AF, AG, AI, AL, AM and 2 more only" in many.why


# --------------------------------------------------------------------------------------------- caller ID

SHOWN = {
    "+44*": "+442070000001",
    "+4420*": "+442070000002",
    "+442071234567": "+442070000003",
    "otherwise": "+74951234567",
}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+441611234567", "+442070000001"),
        ("+442071234568", "+442070000002"),
        ("+442071234567", "+442070000003"),
        ("+79161112233", "+74951234567"),
        ("112", "+74951234567"),
    ],
)
def test_the_longest_beginning_of_a_number_decides_what_it_is_shown(number: str, expected: str) -> None:
    assert caller_id({"caller_id": SHOWN}, number) == expected
    assert caller_id({"caller_id": dict(reversed(SHOWN.items()))}, number) == expected


def test_the_whole_number_counts_for_more_than_its_beginning() -> None:
    shown = {"+442071234567*": "+442070000001", "+442071234567": "+442070000002"}
    assert caller_id({"caller_id": shown}, "+442071234567") == "+442070000002"
    assert caller_id({"caller_id": dict(reversed(shown.items()))}, "+442071234567") == "+442070000002"


def test_a_company_that_says_nothing_shows_nothing() -> None:
    assert caller_id({}, "+79161112233") == ""
    assert caller_id({"caller_id": {"+44*": "+442071234567"}}, "+79161112233") == ""


# -------------------------------------------------------------------------------------------- any text

ASCII = "0123456789+()-. *#,;x="
MORE_DIGITS = [c for c in map(chr, range(128, sys.maxunicode)) if c.isdigit() or c.isdecimal() or c.isnumeric()]
#: The type that each allowed number must have, by the library's own names.
PLAIN = {"FIXED_LINE", "MOBILE", "FIXED_LINE_OR_MOBILE", "VOIP", "TOLL_FREE", "UAN"}
KINDS = [kind for kind in phonenumbers.PhoneNumberType.values() if kind != phonenumbers.PhoneNumberType.UNKNOWN]
EXAMPLES = sorted(
    {
        phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
        for region in REGIONS
        for kind in KINDS
        if (found := phonenumbers.example_number_for_type(region, kind))
    }
    | {
        phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
        for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
        if (found := phonenumbers.example_number_for_non_geo_entity(code))
    }
)


def in_disguise(number: str, country: str, how: int) -> str:
    """An E.164 number as somebody in ``country`` may write it."""
    parsed = phonenumbers.parse(number, None)
    ways = (
        number,
        number[1:],
        phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL),
        phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL),
        phonenumbers.format_out_of_country_calling_number(parsed, country),
    )
    return ways[how % len(ways)]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A number that exists somewhere, with some characters changed, left out or put in."""
    text = in_disguise(
        draw(st.sampled_from(EXAMPLES)), draw(st.sampled_from(REGIONS)), draw(st.integers(min_value=0, max_value=4))
    )
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        at = draw(st.integers(min_value=0, max_value=len(text)))
        middle = draw(st.sampled_from(["", *ASCII, draw(st.sampled_from(MORE_DIGITS))]))
        text = text[:at] + middle + text[at + draw(st.integers(min_value=0, max_value=1)) :]
    return text


TYPED = st.one_of(
    mutated(),
    st.text(ASCII, max_size=24),
    st.text("0123456789", min_size=2, max_size=16),
    st.text(max_size=40),
    st.text(st.sampled_from(MORE_DIGITS), max_size=14),
    st.builds(lambda ways, rest: ways + rest, st.sampled_from(["00", "011", "810", "+", "0", "8", "1"]),
              st.text("0123456789", max_size=14)),
)  # fmt: skip
EMERGENCY = st.lists(st.text("0123456789", min_size=2, max_size=6), max_size=3, unique=True).map(tuple)


@settings(max_examples=1000, deadline=None)
@given(
    dialled=TYPED,
    country=st.sampled_from(REGIONS),
    allow=st.one_of(st.just(tuple(REGIONS)), st.lists(st.sampled_from(REGIONS), max_size=4).map(tuple)),
    listed=EMERGENCY,
    phone=st.booleans(),
)
@example(dialled="+12645551234", country="US", allow=("US",), listed=(), phone=False)
@example(dialled="112", country="RU", allow=(), listed=("112",), phone=True)
@example(dialled="112", country="RU", allow=(), listed=("112",), phone=False)
def test_no_text_dials_what_is_not_allowed(
    dialled: str, country: str, allow: tuple[str, ...], listed: tuple[str, ...], phone: bool
) -> None:
    own: Mapping[str, Any] = {"trunk": ("carrier-a",), "allow": allow, "emergency": listed}
    found = decide(own, country, dialled, emergency=phone)
    if isinstance(found, Refused):
        assert found.reason in REASONS
        assert found.why.isprintable()
        assert len(found.why) < 300
        return
    if found.emergency:
        assert phone
        assert found.number in listed
        assert re.sub(r"[ ().-]", "", dialled) == found.number
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", found.number)
    assert re.fullmatch(r"[+0-9 ().-]*", dialled)
    judge(found.number, allow or (country,))
    # Typed the way it would be dialled, it is the same number still.
    assert decide(own, country, found.number) == found


def judge(number: str, allow: tuple[str, ...]) -> None:
    """A second look at a number that is to be dialled, from the metadata itself."""
    parsed = phonenumbers.parse(number, None)
    assert phonenumbers.is_valid_number(parsed)
    kind = phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(parsed))
    assert kind in PLAIN
    homes = [region for region in allow if phonenumbers.is_valid_number_for_region(parsed, region)]
    assert homes
    if kind != "TOLL_FREE":
        assert phonenumbers.region_code_for_number(parsed) in homes
    assert "001" not in phonenumbers.region_codes_for_country_code(parsed.country_code or 0)


@settings(max_examples=300, deadline=None)
@given(number=st.sampled_from(EXAMPLES), country=st.sampled_from(REGIONS), how=st.integers(0, 4))
def test_whatever_kind_of_number_of_whatever_country_is_judged_the_same_in_every_disguise(
    number: str, country: str, how: int
) -> None:
    home = phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
    own = outbound(*REGIONS)
    plain, typed = decide(own, country, number), decide(own, country, in_disguise(number, country, how))
    if how in (0, 3):
        assert typed == plain
    elif isinstance(typed, Allowed):  # read by another country, it may be another number, but no forbidden one
        judge(typed.number, tuple(REGIONS))
    kind = phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(phonenumbers.parse(number, None)))
    if home == "001" or kind not in PLAIN:
        assert isinstance(plain, Refused)


@pytest.mark.parametrize("odd", range(0, len(MORE_DIGITS), 97))
def test_digits_of_other_scripts_are_no_digits(odd: int) -> None:
    for character in MORE_DIGITS[odd : odd + 97]:
        assert verdict("RU", f"8916111223{character}") == "not_a_number"


# -------------------------------------------------------------------------------------------- trunks


@pytest.mark.parametrize(
    ("number", "format", "country", "expected"),
    [
        ("+79161112233", "plus", None, "+79161112233"),
        ("+79161112233", "plain", None, "79161112233"),
        ("+79161112233", "national", "RU", "89161112233"),
        ("+77012345678", "national", "RU", "87012345678"),
        ("+442071234567", "national", "RU", "810442071234567"),
        ("+442071234567", "national", "GB", "02071234567"),
        ("+441534123456", "national", "GB", "01534123456"),
        ("+390612345678", "national", "GB", "00390612345678"),
        ("+390612345678", "national", "IT", "0612345678"),
        ("+393331234567", "national", "IT", "3331234567"),
        ("+12127365000", "national", "US", "12127365000"),
        ("+14167365000", "national", "US", "14167365000"),
        ("+442071234567", "national", "US", "011442071234567"),
        ("+5491123456789", "national", "AR", "0111523456789"),
        ("+61412345678", "national", "AU", "0412345678"),
        ("+8613912345678", "national", "CN", "13912345678"),
        ("+4930123456", "national", "DE", "030123456"),
        ("+442071234567", "national", "BR", "+442071234567"),  # there it depends on whom one pays
        ("+13101234", "national", "TT", "+13101234"),  # with a 1 before it, it is read as another
        ("112", "plus", None, "112"),
        ("112", "plain", None, "112"),
        ("112", "national", "RU", "112"),
    ],
)
def test_a_trunk_gets_numbers_as_it_wants_them(number: str, format: str, country: str | None, expected: str) -> None:
    assert written(number, format, country) == expected


@settings(max_examples=300, deadline=None)
@given(dialled=mutated(), country=st.sampled_from(REGIONS))
def test_what_a_trunk_gets_is_still_the_same_number(dialled: str, country: str) -> None:
    found = decide(outbound(*REGIONS), country, dialled)
    assume(isinstance(found, Allowed))
    assert isinstance(found, Allowed)
    for format in ("plus", "plain", "national"):
        text = written(found.number, format, country)
        assert re.fullmatch(r"\+?[0-9]{2,20}", text)
        read = phonenumbers.parse(f"+{text}" if format == "plain" else text, country)
        assert phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164) == found.number
        assert text.startswith("+") or not phonenumbers.is_emergency_number(text, country)


@pytest.mark.parametrize(
    ("number", "format", "country"),
    [
        ("89161112233", "plus", None),
        ("+79161112233,1", "plus", None),
        ("+7916111223\u0663", "plain", None),
        ("", "plain", None),
        ("+79161112233", "national", None),
        ("+79161112233", "local", "RU"),
    ],
)
def test_only_what_was_allowed_can_be_written(number: str, format: str, country: str | None) -> None:
    with pytest.raises(ValueError):
        written(number, format, country)
