"""Kinds: how an operator writes each sort of value, what it becomes, and what is said when it is wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import marshmallow as ma
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.routing import codes, kinds, nodes
from callcontrol.routing.hours import ALL_DAY, Span
from callcontrol.routing.model import Edge, File, Place, Problem, Stage, Target, Text
from callcontrol.routing.nodes import Scalar
from callcontrol.steps import VERBS

P = Place("f", 1, 1)


@pytest.fixture
def reader() -> Iterator[kinds.Reader]:
    flows = {"reception": frozenset(["greet", "night"]), "hotline": frozenset(["ask"])}
    with kinds.reading(kinds.Reader(country="RU", flows=flows, flow="reception", step="greet")) as reader:
        yield reader


pytestmark = pytest.mark.usefixtures("reader")


def read(kind: kinds.Kind, text: str) -> Any:
    """What ``kind`` makes of this YAML; ``text`` without YAML's own special characters is one text."""
    tree, problems = nodes.read(text, "f")
    assert tree is not None
    assert problems == []
    return kind.read(tree)


def said(kind: kinds.Kind, text: str) -> list[str]:
    with pytest.raises(kinds.Wrong) as caught:
        read(kind, text)
    return [f"{problem.code} {problem.message}" for problem in caught.value.problems]


def code(kind: kinds.Kind, text: str) -> list[str]:
    return [line.partition(" ")[0] for line in said(kind, text)]


# ------------------------------------------------------------------------------------------ small values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("0.5s", 0.5),
        ("1.5m", 90),
        ("2m 5s", 125),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert read(kinds.DurationField(0, 7200), text) == seconds


@pytest.mark.parametrize("text", ["15", "s", "15 seconds", "-5s", "5s5m", "1e3s", "''", "٣s", "15S", "99999999s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert code(kinds.DurationField(0, 7200), text) == ["E306"]


def test_a_bare_number_is_asked_for_its_unit() -> None:
    (line,) = said(kinds.DurationField(5, 300), "30")
    assert line == 'E306 "30" is not a duration from 5s to 5m, such as 15s; 30 of what? 30s is seconds, 30m minutes'


@pytest.mark.parametrize(("text", "fits"), [("4s", False), ("5s", True), ("5m", True), ("301s", False)])
def test_a_duration_keeps_to_its_range(text: str, fits: bool) -> None:
    kind = kinds.DurationField(5, 300)
    if fits:
        read(kind, text)
    else:
        assert code(kind, text) == ["E306"]


@pytest.mark.parametrize(("seconds", "words"), [(0, "0s"), (0.5, "0.5s"), (90, "1m 30s"), (3600, "1h"), (14400, "4h")])
def test_durations_are_told_as_operators_write_them(seconds: float, words: str) -> None:
    assert kinds.spoken(seconds) == words


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_what_is_told_as_a_duration_is_read_as_the_same(hours: int, minutes: int, seconds: int) -> None:
    value = hours * 3600 + minutes * 60 + seconds
    assert kinds.DurationField(0, 10**6).read(Scalar("f", 1, 1, kinds.spoken(value))) == value


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("9", 9), ("007", 7)])
def test_a_count_is_a_whole_number(text: str, value: int) -> None:
    assert read(kinds.CountField(0, 9), text) == value


@pytest.mark.parametrize("text", ["10", "-1", "1.0", "+1", "one", "٣", "1_0", "9999999999"])
def test_what_is_no_count_or_out_of_range_is_refused(text: str) -> None:
    assert code(kinds.CountField(0, 9), text) == ["E305"]


@pytest.mark.parametrize(("text", "value"), [("4", (4, 4)), ("4-8", (4, 8)), ("1 - 32", (1, 32))])
def test_a_number_of_digits_is_a_range(text: str, value: tuple[int, int]) -> None:
    assert read(kinds.DigitsField(), text) == value


@pytest.mark.parametrize("text", ["0", "8-4", "4-", "33", "four", "4-8-9"])
def test_what_is_no_number_of_digits_is_refused(text: str) -> None:
    assert code(kinds.DigitsField(), text) == ["E314"]


def test_one_of_a_few_words_suggests_the_nearest() -> None:
    assert read(kinds.ChoiceField("busy", "normal"), "busy") == "busy"
    assert said(kinds.ChoiceField("busy", "normal"), "buzy") == [
        'E304 "buzy" is not one of: busy, normal; did you mean "busy"?'
    ]


def test_true_and_false_have_no_synonyms() -> None:
    assert read(kinds.YesNoField(), "true") is True
    assert read(kinds.YesNoField(), "false") is False
    assert code(kinds.YesNoField(), "yes") == ["E304"]


@pytest.mark.parametrize("text", ["2026-11-23 09:00", "2026-11-23T09:00", "2026-11-23 9:00"])
def test_a_moment_is_local_and_naive(text: str) -> None:
    assert read(kinds.MomentField(), text) == dt.datetime(2026, 11, 23, 9, 0)


@pytest.mark.parametrize(
    "text", ["2026-11-23", "23.11.2026 09:00", "2026-02-30 09:00", "2026-11-23 25:00", "1999-01-01 00:00"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    assert code(kinds.MomentField(), text) == ["E326"]


@pytest.mark.parametrize("text", ["Night-Shift", "1st", "a b", "ночь", "a" * 33, "a.b", "a/b"])
def test_names_are_small_letters_digits_and_lines(text: str) -> None:
    assert code(kinds.NameField(), text) == ["E309"]


def test_a_name_that_is_nearly_one_is_offered_corrected() -> None:
    assert said(kinds.NameField(), "Night Shift")[0].endswith("; night_shift would be one")


@pytest.mark.parametrize(
    ("kind", "good", "bad", "expected"),
    [
        (kinds.CodeField(), "'*21'", "21", "E325"),
        (kinds.EmailField(), "anna@acme.test", "anna@acme", "E319"),
        (kinds.EmailField(), "a.b+c@acme-x.co.uk", "'Anna <anna@acme.test>'", "E319"),
        (kinds.CountryField(), "GB", "UK", "E320"),
        (kinds.ZoneField(), "Europe/Moscow", "../../etc/passwd", "E320"),
        (kinds.ZoneField(), "UTC", "UTC+3", "E320"),
        (kinds.LanguageField(known=True), "pt-BR", "english", "E320"),
        (kinds.ExtensionField(), "301", "1234567", "E308"),
        (kinds.EmergencyField(), "112", "1", "E307"),
    ],
)
def test_a_value_of_a_known_shape_is_kept_and_others_are_refused(
    kind: kinds.Kind, good: str, bad: str, expected: str
) -> None:
    assert read(kind, good) == good.strip("'")
    assert code(kind, bad) == [expected]


# -------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("text", ["'+74951234567'", "'+7 495 123-45-67'", "'8 (495) 123-45-67'", "84951234567"])
def test_numbers_are_e164_and_local_ones_are_read_by_the_country(text: str) -> None:
    assert read(kinds.NumberField(), text) == "+74951234567"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("'+7495123456'", "digits are missing"),
        ("'+749512345678'", "its length is wrong"),
        ("'+74951234567890123'", "too many digits"),
        ("'+999123456789'", "no country"),
    ],
)
def test_a_number_that_cannot_be_one_says_why(text: str, why: str) -> None:
    assert why in said(kinds.NumberField(), text)[0]


@pytest.mark.parametrize(
    "text", ["anna", "'+7495,123'", "'sip:301@acme'", "'+7{x}'", "'[+7495]1234567'", "'|+74951234567'"]
)
def test_nothing_but_digits_and_plain_separators_is_a_number(text: str) -> None:
    assert code(kinds.NumberField(), text) == ["E307"]


def test_a_number_that_its_country_does_not_have_is_a_warning(reader: kinds.Reader) -> None:
    assert read(kinds.NumberField(), "'+71161112233'") == "+71161112233"
    assert [(found.code, found.severity) for found in reader.warnings] == [("W505", "warning")]


def test_without_a_country_only_international_numbers_can_be_read() -> None:
    with kinds.reading(kinds.Reader()):
        assert read(kinds.NumberField(), "'+74951234567'") == "+74951234567"
        assert code(kinds.NumberField(), "84951234567") == ["E307"]


def test_a_list_of_callers_has_numbers_beginnings_and_anonymous() -> None:
    found = read(kinds.CallersField(), "['+79160000001', '+7812*', anonymous]")
    assert found.matches("+79160000001")
    assert found.matches("+78121234567")
    assert found.matches(None)
    assert not found.matches("+79160000002")
    assert not read(kinds.CallersField(), "['+7812*']").matches(None)


@pytest.mark.parametrize(
    ("text", "expected"), [("['+78*12']", "E327"), ("['7812*']", "E327"), ("[x]", "E307"), ("[]", "E303")]
)
def test_what_is_no_pattern_of_callers_is_refused(text: str, expected: str) -> None:
    assert code(kinds.CallersField(), text) == [expected]


# --------------------------------------------------------------------------------------- edges and targets


@pytest.mark.parametrize(
    ("text", "edge"),
    [
        ("greet", Edge(None, "greet", None, P)),
        ("hotline", Edge("hotline", None, None, P)),
        ("hotline/ask", Edge("hotline", "ask", None, P)),
        ("hangup", Edge(None, None, "hangup", P)),
        ("return", Edge(None, None, "return", P)),
    ],
)
def test_an_edge_is_a_step_of_this_flow_a_flow_a_step_elsewhere_or_an_end(text: str, edge: Edge) -> None:
    assert read(kinds.EdgeField(), text) == edge


def test_every_name_that_is_read_is_noted_with_where_it_stands(reader: kinds.Reader) -> None:
    read(kinds.KeysField(), "{1: greet, star: nowhere}")
    read(kinds.CallerEdgesField(), "{vip: hangup}")
    read(kinds.PromptField(), "{en: 'Hi {x}', ru: hi.wav}")
    assert [(found.kind, found.name) for found in reader.references] == [
        ("edge", "greet"),
        ("edge", "nowhere"),
        ("list", "vip"),
        ("language", "en"),
        ("variable", "x"),
        ("spoken", "x"),
        ("language", "ru"),
        ("sound", "hi.wav"),
    ]
    assert {(found.flow, found.step) for found in reader.references} == {("reception", "greet")}


def test_keys_are_digits_star_and_hash() -> None:
    found = read(kinds.KeysField(), "{1: greet, 0: night, star: greet, hash: hotline}")
    assert {key: str(edge) for key, edge in found.items()} == {"1": "greet", "0": "night", "*": "greet", "#": "hotline"}
    assert read(kinds.KeysField(), "{'*': greet, '#': night}").keys() == {"*", "#"}
    assert code(kinds.KeysField(), "{12: greet, a: night}") == ["E313", "E313"]
    assert code(kinds.KeysField(), "{star: greet, '*': night}") == ["E323"]


def test_edges_of_lists_and_hours_keep_their_order() -> None:
    found = read(kinds.HoursEdgesField(), "{shut: night, office: greet}")
    assert [(name, str(edge)) for name, edge in found] == [("shut", "night"), ("office", "greet")]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("301", Target(person="301")),
        ("service", Target(group="service")),
        ("'+74951234567'", Target(number="+74951234567")),
        ("84951234567", Target(number="+74951234567")),
        ("'{manager}'", Target(variable="manager")),
    ],
)
def test_one_target_is_one_stage_with_the_rings_of_the_step(text: str, target: Target) -> None:
    assert read(kinds.StagesField(), text) == (Stage((target,), 0.0),)


def test_stages_have_their_own_ring_and_strategy() -> None:
    found = read(kinds.StagesField(), "[{to: service, ring: 15s}, {to: [301, '{x}'], ring: 25s, strategy: in-order}]")
    assert found == (
        Stage((Target(group="service"),), 15.0),
        Stage((Target(person="301"), Target(variable="x")), 25.0, "in-order"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[301, 302]", ["E303"]),
        ("{to: 301, ring: 5s}", ["E303"]),
        ("[]", ["E303"]),
        ("[{to: service}]", ["E302"]),
        ("[{ring: 5s}]", ["E302"]),
        ("[{to: 'x y', ring: 1s, for: 3}]", ["E301", "E317", "E306"]),
        ("'{x} or 301'", ["E317"]),
        ("'user/301@x'", ["E317"]),
        ("'[execute_on_answer=x]301'", ["E317"]),
        ("'301,302'", ["E317"]),
        ("'301|302'", ["E317"]),
    ],
)
def test_what_cannot_be_dialled_is_refused(text: str, expected: list[str]) -> None:
    assert sorted(code(kinds.StagesField(), text)) == sorted(expected)


def test_extensions_are_people_and_groups_only() -> None:
    found = read(kinds.ExtensionsField(), "[service, 301]")
    assert found == (Target(group="service"), Target(person="301"))
    assert code(kinds.ExtensionsField(), "['+74951234567', '{x}']") == ["E317", "E317"]


def test_one_value_stands_for_a_list_of_one() -> None:
    assert read(kinds.PeopleField(), "301") == read(kinds.PeopleField(), "[301]") == ("301",)
    assert code(kinds.PeopleField(), "[301, 301]") == ["E323"]
    assert code(kinds.PeopleField(), "[]") == ["E303"]


# --------------------------------------------------------------------------------------------- speech


def test_a_prompt_is_text_with_holes_a_file_or_a_map_by_language() -> None:
    assert read(kinds.PromptField(), "'Hello {brand}, {caller}, {brand}'").sayings == {
        "": Text("Hello {brand}, {caller}, {brand}", ("brand", "caller"))
    }
    assert read(kinds.PromptField(), "night.wav").sayings == {"": File("night.wav", P)}
    found = read(kinds.PromptField(), "{en: Hello., ru: hi.ogg}")
    assert found.sayings == {"en": Text("Hello.", ()), "ru": File("hi.ogg", P)}


def test_a_sentence_that_mentions_a_file_is_text() -> None:
    text = "We sent you the file greeting.wav and then waited for quite some time for an answer to night.wav"
    assert read(kinds.PromptField(), text).sayings[""] == Text(text, ())


def test_text_of_several_lines_is_spoken_as_one() -> None:
    assert read(kinds.PromptField(), "|\n  one\n  two   three\n").sayings[""] == Text("one two three", ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a/b.wav'", "E312"),
        ("'../b.wav'", "E312"),
        ("'..wav'", "E312"),
        ("'a\\b.wav'", "E312"),
        ("Night.WAV", "E312"),
        ("ночь.wav", "E312"),
        ("night.flac", "E312"),
        ("my night.wav", "E312"),
        ("'{x}.wav'", "E312"),
        ("'Hello ${x}'", "E310"),
        ("'Hello $${x}'", "E310"),
        ("'Hello {X}'", "E311"),
        ("'Hello { x }'", "E311"),
        ("'Hello {x'", "E311"),
        ("'Hello x}'", "E311"),
        ("'{{x}}'", "E311"),
        ("'   '", "E310"),
        ("x" * 2001, "E310"),
        ("press # now", "E117"),
    ],
)
def test_prompts_that_cannot_be_meant_are_refused(text: str, expected: str) -> None:
    assert code(kinds.PromptField(), text) == [expected]


def refusal(kind: kinds.Kind, text: str) -> tuple[Problem, ...] | None:
    try:
        kind.read(Scalar("f", 1, 1, text))
    except kinds.Wrong as error:
        return error.problems
    return None


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_no_text_gets_a_control_character_or_a_switch_variable_through(text: str) -> None:
    for kind in (kinds.TextField(100), kinds.PromptField(), kinds.UrlField(), kinds.StagesField(), kinds.NameField()):
        with kinds.reading(kinds.Reader()):
            refused = refusal(kind, text)
            if refused is None:
                assert "${" not in text
                assert not any(c in text for c in "\0\x07\x1b\x7f\x85\u2028\u202e\u200b")
            else:
                assert all(str(problem).isprintable() for problem in refused)
                assert refused


def test_only_a_comment_one_space_behind_unquoted_text_is_taken_for_text() -> None:
    tree, _ = nodes.read("{a: For sales press 1  # menu\n}", "f")
    assert isinstance(tree, nodes.Mapping)
    assert kinds.TextField().read(tree.items[0][1]) == "For sales press 1"


# ------------------------------------------------------------------------------------------ variables


def test_set_values_are_kept_as_they_stand(reader: kinds.Reader) -> None:
    assert read(kinds.AssignmentsField(), "{brand: Acme Windows, language: ru}") == {
        "brand": "Acme Windows",
        "language": "ru",
    }
    assert [found.name for found in reader.assigned] == ["brand"]
    assert [(found.kind, found.name) for found in reader.references] == [("language", "ru")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{caller: x}", "E315"),
        ("{position: x}", "E315"),
        ("{a: '{b}'}", "E311"),
        ("{a: '${b}'}", "E310"),
        ("{A: x}", "E309"),
        ("{a-b: x}", "E309"),
        (f"{{a: {'x' * 65}}}", "E316"),
        (f"{{a: {'ж' * 33}}}", "E316"),
        ("{}", "E303"),
    ],
)
def test_what_cannot_be_set_is_refused(text: str, expected: str) -> None:
    assert code(kinds.AssignmentsField(), text) == [expected]


def test_a_value_of_exactly_64_bytes_fits() -> None:
    assert read(kinds.AssignmentsField(), f"{{a: {'ж' * 32}}}") == {"a": "ж" * 32}


def test_a_variable_in_braces_is_told_apart_from_its_name() -> None:
    assert said(kinds.VariableField(), "'{order}'")[0].endswith("; write order, without braces")


@pytest.mark.parametrize("text", ["https://crm.acme.test/orders/{order}", "http://10.0.0.1:8080/x?a={a}&b=%20"])
def test_a_web_address_may_have_variables_behind_its_host(text: str) -> None:
    assert read(kinds.UrlField(), f"'{text}'") == text


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x/",
        "crm.acme.test",
        "https://{host}/x",
        "https://a:b@host/",
        "https://host/a b",
        "https://host/ж",
        "https:///x",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    assert code(kinds.UrlField(), f"'{text}'") == ["E318"]


# ---------------------------------------------------------------------------------------------- hours


def test_hours_are_days_with_spans() -> None:
    found = read(kinds.HoursField(), "{mon-fri: [09:00-13:00, 14:00-18:00], sat: all day, holidays: closed}")
    assert found.weekdays[0] == found.weekdays[4] == (Span(540, 780), Span(840, 1080))
    assert found.weekdays[5] == (ALL_DAY,)
    assert found.weekdays[6] == ()
    assert found.holidays == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{mon: 9-18}", "E322"),
        ("{mon: '24:00-25:00'}", "E322"),
        ("{mon: '10:60-11:00'}", "E322"),
        ("{mon: 10:00-10:00}", "E322"),
        ("{monday: closed}", "E322"),
        ("{mon-: closed}", "E322"),
        ("{2027-13-01: closed}", "E322"),
        ("{1999-01-01: closed}", "E322"),
        ("{2027-01-08..2027-01-01: closed}", "E322"),
        ("{mon-fri: closed, wed: all day}", "E323"),
        ("{2027-01-01..2027-01-08: closed, 2027-01-08: all day}", "E323"),
        ("{mon: [09:00-13:00, 12:00-14:00]}", "E323"),
        ("{mon: [closed, 12:00-14:00]}", "E324"),
        ("{mon: []}", "E303"),
        ("{}", "E303"),
        ("{switch: '*21', mon: closed}", "E324"),
        ("{switch: 21}", "E325"),
    ],
)
def test_hours_that_contradict_themselves_are_refused(text: str, expected: str) -> None:
    assert code(kinds.HoursField(), text) == [expected]


# ------------------------------------------------------------------------------------------- in general


class Options(ma.Schema):
    name = kinds.TextField(required=True)
    ring = kinds.DurationField(5, 300, load_default=30.0)


def test_all_mistakes_of_a_mapping_are_told_at_once() -> None:
    tree, _ = nodes.read("{ring: 1, colour: red}", "f")
    assert tree is not None
    with pytest.raises(kinds.Wrong) as caught:
        kinds.options(Options, tree, "a thing")
    assert sorted(problem.code for problem in caught.value.problems) == ["E301", "E302", "E306"]


def test_a_misspelt_required_option_is_one_mistake_not_two() -> None:
    tree, _ = nodes.read("{nam: x}", "f")
    assert tree is not None
    with pytest.raises(kinds.Wrong) as caught:
        kinds.options(Options, tree, "a thing")
    assert [str(problem) for problem in caught.value.problems] == [
        'f:1:2: E301 a thing has no option "nam"; did you mean "name"?'
    ]


def test_a_value_that_yaml_already_refused_is_not_mentioned_again() -> None:
    tree, problems = nodes.read("{name: *x, ring: 5s}", "f")
    assert tree is not None
    assert [problem.code for problem in problems] == ["E104"]
    with pytest.raises(kinds.Wrong) as caught:
        kinds.options(Options, tree, "a thing")
    assert caught.value.problems == ()


@pytest.mark.parametrize("text", ["[a]", "{a: b}"])
@pytest.mark.parametrize("kind", [kinds.TextField(), kinds.CountField(1, 2), kinds.EdgeField(), kinds.NumberField()])
def test_a_list_or_mapping_where_text_is_wanted_is_refused(kind: kinds.Kind, text: str) -> None:
    assert code(kind, text) == ["E303"]


def test_every_field_of_every_step_says_its_kind_and_what_it_wants() -> None:
    for step in VERBS.values():
        for name, field in step.Fields().fields.items():
            assert isinstance(field, kinds.Kind), f"{step.verb}.{name}"
            assert field.kind
            assert field.wants


def test_a_problem_has_a_known_code_and_its_severity_follows() -> None:
    assert codes.problem("W501", P, "x").severity == "warning"
    assert codes.problem("E101", P, "x").severity == "error"
    with pytest.raises(KeyError):
        codes.problem("E999", P, "x")


# ----------------------------------------------------------------------------------------- what was meant


@pytest.mark.parametrize("written", ["servce", "serviice", "servixe", "sevrice", "Service", "service"])
def test_among_very_many_names_the_one_a_letter_away_is_found(written: str) -> None:
    many = frozenset([*(f"step{i}" for i in range(kinds.MOST_COMPARED)), "service"])
    assert kinds.closest(written, many) == "service"
    assert kinds.closest(written, ["service", "other"]) == "service"
    assert kinds.closest("nothing", many) is None


def test_a_letter_of_another_alphabet_is_named() -> None:
    assert kinds.did_you_mean("s\u0435rvice", ["service"]) == (
        '; did you mean "service"? its "\u0435" (character 2) is Cyrillic'
    )
    assert kinds.stranger("\u03bfffice") == '; its "\u03bf" (character 1) is Greek'
    assert (
        kinds.stranger("\u043e\u0442\u043a\u0430\u0437")
        == kinds.stranger("caf\u00e9")
        == kinds.stranger("office")
        == ""
    )


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        (kinds.CountryField(), "Germany", "did you mean DE?"),
        (kinds.CountryField(), "deu", "did you mean DE?"),
        (kinds.CountryField(), "United Kingdom", "did you mean GB?"),
        (kinds.CountryField(), "XX", 'there is no country "XX"'),
        (kinds.ZoneField(), "moscow", 'did you mean "Europe/Moscow"?'),
        (kinds.ZoneField(), "CET+1", "is not a time zone"),
        (kinds.ZoneField(), "GMT+3", "zones are named by a city"),
        (kinds.LanguageField(known=True), "German", 'did you mean "de"?'),
        (kinds.YesNoField(), "No", "write false"),
        (kinds.YesNoField(), "TRUE", "write true"),
        (kinds.DurationField(5, 300), "20 Minutes", "write 20m"),
        (kinds.HoursField(), "{mon: 9.30-18}", 'did you mean "09:30-18:00"?'),
        (kinds.HoursField(), "{24.12.2026: closed}", "did you mean 2026-12-24?"),
        (kinds.NumberField(), "0074951234567", "write + in place of 00"),
        (kinds.NumberField(), "\u201c+442079460123\u201d", "those are not the quotes of a keyboard"),
        (kinds.PeopleField(), "301, 302", "a list is written [301, 302]"),
        (kinds.PeopleField(), "(301,302)", "a list is written [301, 302]"),
        (kinds.PeopleField(), "301 302", "a list is written [301, 302]"),
        (kinds.KeysField(), "{asterisk: greet}", 'did you mean "star"?'),
        (kinds.KeysField(), "[1: greet, 2: night]", "write { } in place of [ ]"),
        (kinds.PromptField(), "{file: night.wav}", '"file" is no language'),
    ],
)
def test_what_was_probably_meant_is_said(kind: kinds.Kind, text: str, hint: str) -> None:
    (line,) = said(kind, text)
    assert hint in line


def test_a_text_with_a_space_is_no_list() -> None:
    (line,) = said(kinds.ListField(kinds.NameField()), "Carrier A")
    assert "carrier_a would be one" in line


def test_a_long_list_is_searched_for_repeats_once() -> None:
    assert len(read(kinds.PeopleField(), f"[{', '.join(map(str, range(1000, 4000)))}]")) == 3000
    assert code(kinds.PeopleField(), "[301, 302, 301]") == ["E323"]
