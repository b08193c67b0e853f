"""The JSON Schema, judged by a real validator: it passes what ``check`` passes, and marks what a file itself shows."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import jsonschema_rs
import marshmallow as ma
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.cli import main
from callcontrol.manual import EXAMPLE, SECTIONS
from callcontrol.routing import files, kinds, load, nodes, prose, sections
from callcontrol.routing.model import Routing
from callcontrol.steps import VERBS
from callcontrol.workbench.schema import rehearsals, schema

ROOT = Path(__file__).parent.parent
FILE = ROOT / "routing/cordboard.schema.json"
CORPUS = sorted((ROOT / "tests/corpus").glob("*.yaml"))
SMALL = (ROOT / "tests/corpus/nothing-wrong.yaml").read_text(encoding="utf-8")
SOUNDS = frozenset({"greet-ru.wav", "night.wav", "new-year.wav"})
SCHEMA = schema()
ZONES = available_timezones()
VALIDATOR = jsonschema_rs.Draft7Validator(SCHEMA)
#: Broken files of the corpus whose mistake a schema can see.
CAUGHT = set(
    """
    agents-is-no-list bad-zone-country-language bare-variable command-in-text count-and-digits
    duplicate-person-and-empty-then duration-without-unit empty-file forward-mistakes hangup-word list-in-braces
    list-of-extensions-dialled lone-brace lookup-host-from-variable lookup-with-password many-at-once
    menu-key-of-two-digits missing-required missing-space-after-colon name-with-capitals nested-too-deep
    non-breaking-space-in-name notify-mistakes only-a-list otherwise-on-play outbound-mistakes outcome-without-edge
    pattern-in-the-middle person-typo queue-agent-by-name queue-agents-are-a-group queue-announce-mistakes
    queue-key-mistakes queue-levels queue-mistakes queue-music-mistakes queue-options-of-other-systems
    queue-options-typos queue-without-agents recording-mistakes rehearsal-mistakes rota-without-beginning
    set-the-caller sound-of-wrong-sort sound-with-folder sound-with-spaces stage-without-list stage-without-ring
    step-is-text step-named-like-a-verb step-without-verb switch-in-rehearsal switch-with-times then-missing
    then-on-hours two-verbs unknown-options unknown-section variable-in-capitals verb-of-later verb-typo version-two
    wrong-start
""".split()  # noqa: SIM905
)


# ------------------------------------------------------------------------------- what parsers make of YAML


#: As the program: libyaml where it is there.  Its parser takes a ``?`` in braces for text, as editors do.
Old: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Core(Old):  # type: ignore[misc]
    """YAML 1.2 as editors read it: the core schema, in which ``on`` is a word and ``010`` is ten."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


def _core(tag: str, pattern: str, first: str) -> None:
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_core("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
Core.yaml_implicit_resolvers[""] = Core.yaml_implicit_resolvers.pop("\0")
_core("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_core("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_core("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
Core.add_constructor(
    "tag:yaml.org,2002:int", lambda _, node: int(node.value, 0 if node.value[:2] in ("0x", "0o") else 10)
)


def as_json(value: Any) -> Any:
    """What a parser gives, as JSON has it: names are text, a date is text again."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(as_json(key)).lower(): as_json(inner) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, dt.date) else value


@pytest.fixture(params=[Core, Old], ids=["YAML 1.2", "YAML 1.1"])
def loader(request: pytest.FixtureRequest) -> Any:
    return request.param


def parsed(text: str, loader: Any = Core) -> Any:
    return as_json(yaml.load(text, loader))


def marks(text: str, loader: Any = Core) -> list[str]:
    return [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in VALIDATOR.iter_errors(parsed(text, loader))]


# ---------------------------------------------------------------------------------------------- good files


def test_the_schema_is_one() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema_rs.meta.validate(SCHEMA)


def test_the_file_beside_the_routing_is_fresh() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(SCHEMA)), "it is stale: make manual"


def good_files() -> Iterator[tuple[str, str]]:
    yield "acme", (ROOT / "routing/acme.yaml").read_text(encoding="utf-8")
    yield "bakery", EXAMPLE
    for path in CORPUS:
        if ": E" not in path.with_suffix(".expected").read_text(encoding="utf-8"):
            yield path.stem, path.read_text(encoding="utf-8")
    header = "cordboard: 1\ncompany: A\ncountry: RU\ntimezone: Europe/Moscow\nlanguages: [en, ru]\n"
    for verb, step in VERBS.items():
        example = prose.read(step).example
        yield f"step {verb}", header + "flows:\n  main:\n" + "".join(f"    {line}\n" for line in example.splitlines())
    for name, about in SECTIONS.items():
        said = prose.parse(about.about) if issubclass(about, kinds.Kind) else prose.read(about)
        yield f"section {name}", header + said.example


GOOD = dict(good_files())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_passes(name: str, loader: Any) -> None:
    assert marks(GOOD[name], loader) == []


# ----------------------------------------------------------------------------------------------- bad files


def found_by_check(path: Path) -> list[int]:
    """The lines in which ``check`` finds an error."""
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")
    return [int(line.split(":")[1]) for line in expected.splitlines() if re.search(r":\d+: E", line)]


def lines_of(tree: nodes.Tree, path: list[str | int]) -> range:
    """The lines on which what stands at ``path`` begins and ends, its name included."""
    first = tree.line
    for part in path:
        if isinstance(tree, nodes.Mapping):
            found = next((item for item in tree.items if item[0].text == str(part)), None)
            if found is None:  # a name that was dropped, since it could not be read
                break
            first, tree = found[0].line, found[1]
        elif isinstance(tree, nodes.Sequence):
            tree = tree.items[int(part)]
            first = tree.line
    return range(first if path else 1, _last(tree) + 1)


def _last(tree: nodes.Tree) -> int:
    if isinstance(tree, nodes.Mapping):
        return max([tree.line, *(max(key.line, _last(value)) for key, value in tree.items)])
    if isinstance(tree, nodes.Sequence):
        return max([tree.line, *(_last(item) for item in tree.items)])
    return tree.line


BROKEN = [path for path in CORPUS if ": E" in path.with_suffix(".expected").read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_what_is_marked_is_an_error_of_check_at_or_below_the_mark(path: Path, loader: Any) -> None:
    text, _ = nodes.decode(path.read_bytes(), "t")
    tree = nodes.read(text, "t")[0] if text is not None else None
    try:
        value = parsed(text or "", loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # an editor says so itself
    errors = list(VALIDATOR.iter_errors(value))
    wrong = found_by_check(path)
    said = path.with_suffix(".expected").read_text(encoding="utf-8")
    for error in errors:
        if tree is None:
            break
        elsewhere = isinstance(error.instance, str) and nodes.quoted(error.instance) in said  # where it is defined
        assert elsewhere or any(line in lines_of(tree, error.instance_path) for line in wrong), error
    if path.stem in CAUGHT:
        assert errors


def test_the_broken_files_that_a_schema_can_see_are_there() -> None:
    assert {path.stem for path in BROKEN} >= CAUGHT


def changed(old: str, new: str) -> str:
    assert old in SMALL, old
    return SMALL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("country: RU", "country: UK", "country"),
        ("hours: {office: greet}, otherwise: night}", "hours: {office: greet}}", "flows/reception/clock"),
        ("{dial: service, otherwise: message}", "{dial: service, busy: message}", "flows/reception/service"),
        ("{dial: service, otherwise", "{dial: service, then: {a: b}, otherwise", "flows/reception/service/then"),
        ("{dial: service, otherwise", "{dial: service, ring: 15, otherwise", "flows/reception/service/ring"),
        ("{dial: service, otherwise", "{dial: service, confirm: maybe, otherwise", "flows/reception/service/confirm"),
        ("{dial: service, otherwise", "{dial: Service 1, otherwise", "flows/reception/service/dial"),
        ("{dial: service, otherwise", "{dial: service, strategy: all, otherwise", "flows/reception/service/strategy"),
        ("night: {play: night.wav, then: message}", "night: {then: message}", "flows/reception/night"),
        ("night: {play: night.wav, then: message}", "night:", "flows/reception/night"),
        (
            "night: {play: night.wav, then: message}",
            "night: {play: night.wav, then: Message 1}",
            "flows/reception/night/then",
        ),
        ("{play: night.wav, then", "{play: night.wav, dial: 301, then", "flows/reception/night"),
        ("09:00-18:00", "09:00-18.00", "hours/office/mon-fri"),
        ("09:00-18:00", "[09:00-18:00, 25:00-26:00]", "hours/office/mon-fri/1"),
        ("mon-fri:", "mo-fr:", "hours/office"),
        ("[301, 302]", "[301, anna]", "groups/service/1"),
        ("[301, 302]", "{members: [301], rotate: daily}", "groups/service"),
        ("email: anna@volga.test", "email: anna", "people/301/email"),
        ("  302: {name: Boris Orlov}", "  302: {name: Boris Orlov, notify: messages}", "people/302"),
        ("  302: {name", "  anna: {name", "people"),
        ('["+882*", anonymous]', '["+882*1", anonymous]', "lists/blocked/0"),
        ("{1: service, star: greet}", "{1: service, 11: greet}", "flows/reception/greet/keys"),
        ("Welcome to {brand}.", "Welcome to {Brand}.", "flows/reception/greet/menu"),
        ("languages: [en, ru]", "languages: [english]", "languages/0"),
        ("hangup: busy", "hangup: bussy", "flows/reception/reject/hangup"),
        ("company: Volga Windows", "company:", "company"),
    ],
)
def test_a_mistake_is_marked_where_it_is(old: str, new: str, where: str, loader: Any) -> None:
    assert marks(SMALL, loader) == []
    found = marks(changed(old, new), loader)
    assert found
    assert {mark.partition(":")[0] for mark in found} == {where}


def test_an_otherwise_that_is_never_followed_is_marked() -> None:
    each = ", ".join(f"{outcome}: message" for outcome in VERBS["dial"].outcomes)
    assert marks(changed("{dial: service, otherwise: message}", f"{{dial: service, {each}}}")) == []
    assert marks(changed("{dial: service, otherwise: message}", f"{{dial: service, {each}, otherwise: message}}"))


def test_a_section_without_entries_passes_as_it_does_in_check() -> None:
    text = SMALL + "queues: {}\n"
    assert not [found for found in load.load_text(text, path="t", company="t").problems if found.code == "E303"]
    assert marks(text) == []


def test_a_mistake_in_a_step_is_judged_by_its_verb_alone() -> None:
    """Not by the twelve that it might have had."""
    assert len(marks(changed("{play: night.wav, then", "{play: night.wav, thn"))) == 1
    assert len(marks(changed("night: {play: night.wav, then: message}", "night:"))) == 1
    assert len(marks(changed("{play: night.wav, then", "{say: night.wav, then"))) <= 2


# ----------------------------------------------------------------------------------------- every kind


def all_fields() -> Iterator[tuple[str, kinds.Kind]]:
    seen: list[type[ma.Schema]] = [sections.Header, sections.CommonFields, sections.FlowSettings]
    seen += [step.Fields for step in VERBS.values()]
    seen += [about for about in SECTIONS.values() if issubclass(about, ma.Schema)]
    for schema_ in seen:  # grows as it goes
        for name, field in schema_._declared_fields.items():
            for kind in _parts(field):
                yield f"{name} ({type(kind).__name__})", kind
                inner = getattr(kind, "options", None)
                if inner is not None and inner not in seen:
                    seen.append(inner)


def _parts(field: Any) -> Iterator[kinds.Kind]:
    if isinstance(field, kinds.Kind):
        yield field
        for part in ("item", "key", "value"):
            yield from _parts(getattr(field, part, None))


FIELDS = list({(type(kind), json.dumps(kind.shape({}))): (name, kind) for name, kind in all_fields()}.values())
FIELDS += [("hours", kinds.HoursField()), ("callers", kinds.CallersField())]
#: Texts that parsers read in their own way, or that are near to what some kind wants.
ODD = """
    " 0 1 2 9 03 010 08 301 007 1e3 0x10 0o17 1.5 8.495 -1 +1 123456 1234567 84951234567 +74951234567 12:30
    190:20:30 1_000 true false yes no on off True NO ~ null y n .inf 2026-11-23 2026-11-23..2026-12-01
    2026-11-23T09:00 1h 30m 1.5h 0.5s 4-8 4 90d 0d greet reception/sales hangup return left star hash busy en ru
    pt-BR no RU NO Europe/Moscow UTC CET EST5EDT moh service night.wav night.WAV a/b.wav night.flac anonymous caller
    company mobile voicemail otherwise ... closed daily anna@acme.test https://crm.acme.test/orders/1
    https://a.test:80/?x=1 http://a always never together
""".split()  # noqa: SIM905
QUOTED = [
    "*21",
    "#",
    "*",
    "+7812*",
    "+*",
    "{manager}",
    "{a} b",
    "",
    "2#",
    "+7 (495) 123-45-67",
    "{position} is it",
    "Ünï",
]
LONG = [
    "2026-11-23 09:00", "09:00-13:00", "9:00 - 13:00", "22:00-06:00", "all day", "on demand", "1h 30m", "We are back.",
    "night music.wav", "[301, 302]", "[]", "{1: a, star: b, 2: left}", "{mon-fri: 09:00-18:00, 2027-01-11: closed}",
    "{switch: '*21'}", "{sat-mon: [09:00-10:00, 11:00-12:00], holidays: closed}", "{en: Hello., no: night.wav}",
    "{to: 301, ring: 15s}", "[{to: [301, service], ring: 15s, strategy: in-order}]", "{every: 45s, say: '{position}'}",
    "{agent: 301, level: 2, skills: [a]}", "{brand: Acme, vip: yes, language: ru}", "{n: 010}", "{talk: 301}",
    "{lunch: '*43', meeting: '*45'}", "{office: greet, off: night}", "{after: 20s, to: mobile}", "{301: answers}",
    "{2: 30s, 3: 1m}", "{'+44*': '+442071234567', otherwise: '+74951234567'}", "{shut: on}", "{who: failed}",
    "['2', '', 12]", "{manager: 301}", "['+882*', anonymous]", "[RU, NO]", "[messages, missed]", "{queue: sales}",
]  # fmt: skip


@cache
def judge(index: int) -> Any:
    return jsonschema_rs.Draft7Validator(FIELDS[index][1].shape({}))


def accepts(kind: kinds.Kind, tree: nodes.Tree) -> bool:
    """Whether the kind reads it without a mistake."""
    reader = kinds.Reader(country="RU", flows={"reception": frozenset({"greet", "sales"})})
    with kinds.reading(reader):
        try:
            kind.read(tree)
        except kinds.Wrong:
            return False
    # What is named may exist: its own section would take the name.
    named = {"edge": 2, "step": 2, "flow": 1, "queue": 1, "hours": 1, "list": 1, "switch": 1}
    return all(
        kinds.NAME.fullmatch(part)
        for reference in reader.references
        if reference.kind in named
        for part in reference.name.split("/", named[reference.kind] - 1)
    )


def forgotten(value: Any) -> bool:
    """Whether there is a null in it: an editor marks it, whatever it was meant to be."""
    if isinstance(value, dict | list):
        return any(forgotten(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return value is None or value == float("inf")


def never_marked(text: str) -> None:
    tree, problems = nodes.read(text, "t")
    if tree is None or problems:
        return
    values = [value for loader in (Core, Old) if not forgotten(value := parsed(text, loader))]
    for index, (name, kind) in enumerate(FIELDS):
        if accepts(kind, tree):
            for value in values:
                assert judge(index).is_valid(value), f"{name} reads {text!r}, and an editor would mark {value!r}"


@pytest.mark.parametrize("text", [*ODD, *map(json.dumps, [*ODD, *QUOTED]), *LONG])
def test_what_a_kind_reads_no_editor_marks(text: str) -> None:
    never_marked(text)


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789+-*#.:{}/ abehmnostuwv_", min_size=1, max_size=9), st.booleans())
def test_nor_anything_else_that_it_reads(text: str, quoted: bool) -> None:
    never_marked(json.dumps(text) if quoted else text)


def kinds_below(cls: type[kinds.Kind]) -> Iterator[type[kinds.Kind]]:
    for below in cls.__subclasses__():
        yield below
        yield from kinds_below(below)


def test_every_kind_says_what_may_be_written() -> None:
    abstract = {kinds.Kind}
    silent = [cls.__name__ for cls in kinds_below(kinds.Kind) if cls not in abstract and cls.shape is kinds.Kind.shape]
    assert not silent


def test_a_kind_that_reads_in_its_own_way_says_so_in_its_own_way() -> None:
    """A class with a ``read`` of its own has a ``shape`` of its own, unless it only notes a name."""
    notes = {"SkillField", "OwnNumberField", "OutsideField", "ShownField"}
    odd = [
        cls.__name__
        for cls in kinds_below(kinds.Kind)
        if "read" in vars(cls) and "shape" not in vars(cls) and cls.__name__ not in notes
    ]
    assert not odd


# ------------------------------------------------------------------------------------- help for people


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_every_option_is_explained_with_its_default() -> None:
    ring = SCHEMA["definitions"]["step dial"]["properties"]["ring"]
    assert ring["title"] == "ring"
    assert ring["description"].startswith(
        "How long it rings, with in-order for each target; where a stage does not say."
    )
    assert "Without it: 30s." in ring["description"]
    assert ring["default"] == "30s"
    for name, step in VERBS.items():
        for option, shape in SCHEMA["definitions"][f"step {name}"]["properties"].items():
            assert shape["description"], (name, option)
        assert set(step.Fields._declared_fields) < set(SCHEMA["definitions"][f"step {name}"]["properties"])


def test_what_an_editor_would_write_for_a_verb_is_a_step() -> None:
    snippets = [snippet for part in walk(SCHEMA["definitions"]["step"]) for snippet in part.get("defaultSnippets", ())]
    assert [snippet["label"] for snippet in snippets] == list(VERBS)
    whole = parsed(SMALL)
    for snippet in snippets:
        whole["flows"] = {"main": {"it": snippet["body"]}}
        assert VALIDATOR.is_valid(whole), snippet


def test_defaults_and_examples_are_what_may_be_written() -> None:
    for name, step in VERBS.items():
        for option, shape in SCHEMA["definitions"][f"step {name}"]["properties"].items():
            judge_ = jsonschema_rs.Draft7Validator({**shape, "definitions": SCHEMA["definitions"]})
            for value in [*shape.get("examples", ()), *([shape["default"]] if "default" in shape else ())]:
                assert judge_.is_valid(value), (name, option, value, step)


# -------------------------------------------------------------------------------- a company's own names


def routing_of(text: str) -> Routing:
    loaded = load.load_text(text, path="volga.yaml", company="volga", sounds=SOUNDS)
    assert loaded.routing is not None, loaded.problems
    return loaded.routing


class TestOwnNames:
    OWN = schema(routing_of(SMALL), sounds=SOUNDS, zones=ZONES)
    JUDGE = jsonschema_rs.Draft7Validator(OWN)

    def test_it_is_a_schema_and_its_file_passes(self, loader: Any) -> None:
        jsonschema_rs.meta.validate(self.OWN)
        assert self.JUDGE.is_valid(parsed(SMALL, loader))

    @pytest.mark.parametrize("name", ["acme", "bakery", "nothing-wrong"])
    def test_a_good_file_passes_its_own(self, name: str, loader: Any) -> None:
        loaded = load.load_text(GOOD[name], path="t.yaml", company="test")
        own = schema(loaded.routing, sounds=SOUNDS, zones=ZONES)
        assert [e.message for e in jsonschema_rs.Draft7Validator(own).iter_errors(parsed(GOOD[name], loader))] == []

    @pytest.mark.parametrize(
        ("old", "new", "where"),
        [
            ("otherwise: clock", "otherwise: clok", "flows/reception/gate/otherwise"),
            ("{office: greet}", "{ofice: greet}", "flows/reception/clock/hours"),
            ("blocked: reject", "bloked: reject", "flows/reception/gate/caller"),
            ("{dial: service", "{dial: servise", "flows/reception/service/dial"),
            ("{dial: service", "{dial: 309", "flows/reception/service/dial"),
            ("{dial: service", '{dial: "309"', "flows/reception/service/dial"),
            ("voicemail: [301]", "voicemail: [303]", "flows/reception/message/voicemail/0"),
            ("play: night.wav", "play: nigth.wav", "flows/reception/night/play"),
            ("flow: reception", "flow: recepcion", "numbers/74951234567/flow"),
            ("Europe/Moscow", "Europe/Moskow", "timezone"),
            ("[301, 302]", "[301, 303]", "groups/service/1"),
            ("{1: service, star: greet}", "{1: servise, star: greet}", "flows/reception/greet/keys/1"),
        ],
    )
    def test_a_name_that_is_not_there_is_marked(self, old: str, new: str, where: str) -> None:
        errors = self.JUDGE.iter_errors(parsed(changed(old, new)))
        assert {"/".join(map(str, error.instance_path)) for error in errors} == {where}

    def test_a_number_outside_may_still_be_dialled(self) -> None:
        assert self.JUDGE.is_valid(parsed(changed("{dial: service", '{dial: "+79031234567"')))
        assert self.JUDGE.is_valid(parsed(changed("{dial: service", "{dial: 79031234567")))

    def test_extensions_that_begin_with_a_zero_and_names_that_are_booleans_pass(self, loader: Any) -> None:
        text = SMALL.replace("302", "010").replace("night", "off").replace("off.wav", "night.wav")
        own = jsonschema_rs.Draft7Validator(schema(routing_of(text), sounds=SOUNDS))
        assert [error.message for error in own.iter_errors(parsed(text, loader))] == []

    def test_a_step_of_another_flow_is_named_with_it(self) -> None:
        flow = "  other:\n    bye: {play: Bye., then: reception/night}\n"
        text = SMALL.replace("{flow: reception, set", "{flow: other, set") + flow
        own = jsonschema_rs.Draft7Validator(schema(routing_of(text), sounds=SOUNDS))
        assert own.is_valid(parsed(text))
        assert not own.is_valid(parsed(text.replace("then: reception/night", "then: night")))


class TestRehearsalsBeside:
    TEXT = """
It rings:
  call: {from: "+79031234567", to: "+74951234567", at: 2026-11-23 10:00, press: ["1"]}
  given: {phones: {301: answers}}
  path: [gate, clock, ..., service]
  ends: {talk: 301}
"""
    JUDGE = jsonschema_rs.Draft7Validator(rehearsals())
    OWN = jsonschema_rs.Draft7Validator(rehearsals(routing_of(SMALL)))

    def test_a_good_file_passes(self, loader: Any) -> None:
        assert self.JUDGE.is_valid(parsed(self.TEXT, loader))
        assert self.OWN.is_valid(parsed(self.TEXT, loader))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("answers", "answer"),
            ("path:", "paths:"),
            ("{talk: 301}", "{talk: 301, queue: q}"),
            ("10:00", "10"),
            ('1"]', 'A"]'),
        ],
    )
    def test_a_mistake_is_marked(self, old: str, new: str, loader: Any) -> None:
        assert old in self.TEXT
        assert not self.JUDGE.is_valid(parsed(self.TEXT.replace(old, new, 1), loader))

    def test_a_step_that_is_not_there_is_marked_by_the_companys_own(self) -> None:
        text = self.TEXT.replace("clock", "clok")
        assert self.JUDGE.is_valid(parsed(text))
        assert not self.OWN.is_valid(parsed(text))

    def test_the_file_is_fresh(self) -> None:
        kept = json.loads((ROOT / "routing/rehearsals.schema.json").read_text(encoding="utf-8"))
        assert kept == json.loads(json.dumps(rehearsals())), "it is stale: make manual"


class TestCommand:
    def run(self, *args: str) -> Any:
        return CliRunner().invoke(main, ["schema", *args], env={"CORDBOARD_ROUTING": str(ROOT / "routing")})

    def test_without_a_company_it_prints_the_schema_of_all(self) -> None:
        found = self.run()
        assert found.exit_code == 0
        assert found.output == FILE.read_text(encoding="utf-8")

    def test_with_a_company_it_has_its_names(self) -> None:
        found = json.loads(self.run(str(ROOT / "routing"), "--company", "acme").output)
        assert found["title"] == "Cordboard: the routing of Acme Windows"
        assert list(found["properties"]["flows"]["properties"]) == ["reception", "hotline"]

    def test_files_of_rehearsals_have_their_own(self) -> None:
        assert json.loads(self.run("--rehearsals").output) == json.loads(json.dumps(rehearsals()))
        own = json.loads(self.run("--rehearsals", str(ROOT / "routing"), "--company", "acme").output)
        assert own == json.loads(json.dumps(rehearsals(files.load_company(ROOT / "routing").routing)))

    def test_a_company_alone_is_one_of_the_directory_that_is_served(self) -> None:
        found = self.run("--company", "acme")
        assert found.output == self.run(str(ROOT / "routing"), "--company", "acme").output
        assert self.run("--company", "acmee").exit_code == 2
