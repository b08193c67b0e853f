"""The manual is what the program says of itself: whole, fresh, and every example in it works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import marshmallow as ma
import pytest
from click.testing import CliRunner

from callcontrol import cli, manual, phrases, settings
from callcontrol.routing import kinds, nodes, prose, sections
from callcontrol.routing.codes import CODES, FAMILIES
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.steps import RESERVED_VERBS, VERBS
from callcontrol.steps.base import COMMON_OPTIONS, OTHERWISE, THEN
from callcontrol.workbench.rehearse import rehearse

FILE = Path(__file__).parent.parent / "routing/MANUAL.md"
MANUAL = manual.manual()
PROSE = re.sub(r"```.*?```", "", MANUAL, flags=re.DOTALL)
HEADER = "cordboard: 1\ncompany: Acme Windows\ncountry: RU\ntimezone: Europe/Moscow\nlanguages: [en, ru]\n"


def chapter(title: str) -> str:
    """What stands between a heading and the next of its rank."""
    found = re.search(rf"^(##+) {re.escape(title)}$(.*?)(?=^#{{2,}}? |\Z)", MANUAL, re.DOTALL | re.MULTILINE)
    assert found, f"there is no chapter {title}"
    if found[1] == "##":
        rest = MANUAL[found.start(2) :]
        return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return found[2]


def examples(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def row(text: str, option: str) -> str:
    """The line of a table that begins with ``option``."""
    found = re.search(rf"^\| `{re.escape(option)}` \|.*$", text, re.MULTILINE)
    return found[0] if found else ""


def schemas_of(schema: type[ma.Schema]) -> Iterator[type[ma.Schema]]:
    """A schema and those of all long forms in it."""
    yield schema
    for field in schema._declared_fields.values():
        inner = manual._long_form(field)
        if inner is not None:
            yield from schemas_of(inner)


OUTER: list[type[ma.Schema]] = [settings._Config, sections.Header, sections.CommonFields]
OUTER += [step.Fields for step in VERBS.values()]
OUTER += [about for about in manual.SECTIONS.values() if issubclass(about, ma.Schema)]
SCHEMAS = list(dict.fromkeys(inner for schema in OUTER for inner in schemas_of(schema)))
FIELDS = [
    pytest.param(field, id=f"{schema.__qualname__}.{name}")
    for schema in SCHEMAS
    for name, field in schema._declared_fields.items()
    if isinstance(field, kinds.Kind)
]


def company(text: str) -> Routing:
    """The company of this text, in which there is not even a warning."""
    loaded = load_text(text, path="manual.yaml", company="manual")
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    assert loaded.routing is not None
    return loaded.routing


# ---------------------------------------------------------------------------------------- fresh and whole


def test_the_file_is_what_the_program_says_of_itself() -> None:
    fresh = FILE.exists() and FILE.read_text(encoding="utf-8") == MANUAL
    assert fresh, "routing/MANUAL.md is stale; run: make manual"


def test_the_command_prints_it() -> None:
    assert CliRunner().invoke(cli.main, ["manual"]).output == MANUAL


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_step_has_a_chapter_with_all_its_options_and_outcomes(verb: str) -> None:
    step, text = VERBS[verb], chapter(f"The step {verb}")
    words = [*step.Fields._declared_fields, *step.outcomes]
    words += [THEN] * (step.then != "never") + [OTHERWISE] * (bool(step.outcomes) or step.needs_otherwise)
    assert [word for word in words if not row(text, word)] == []


def test_every_option_that_any_step_has_is_there() -> None:
    text = chapter("How a call walks")
    assert [word for word in COMMON_OPTIONS if f"`{word}`" not in text] == []


def test_every_section_has_a_chapter_and_all_its_options() -> None:
    assert {*manual.SECTIONS, *sections.Header._declared_fields} == {*sections.SECTIONS}
    for name, about in manual.SECTIONS.items():
        text = chapter(f"The section {name}")
        for schema in schemas_of(about) if issubclass(about, ma.Schema) else ():
            missing = [option for option in schema._declared_fields if not row(text, option)]
            assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__qualname__)
def test_every_option_has_a_sentence_of_its_own(schema: type[ma.Schema]) -> None:
    names = list(schema._declared_fields)
    assert [name for name in names if name not in prose.read(schema, names).sentences] == []


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_outcome_has_a_sentence_of_its_own(verb: str) -> None:
    words = manual._outcomes(VERBS[verb])
    assert [word for word in words if word not in prose.read(VERBS[verb], words).sentences] == []


def test_no_sentence_is_left_of_an_option_that_is_gone() -> None:
    assert re.findall(r"^[a-z_]+: .*", PROSE, re.MULTILINE) == []


def test_every_code_is_there_and_belongs_to_a_family() -> None:
    text = chapter("Problems that check finds")
    assert [code for code in CODES if f"| {code} |" not in text] == []
    assert {code for code in CODES if code.startswith(tuple(FAMILIES))} == {*CODES}


def test_every_setting_is_there() -> None:
    text = chapter("cordboard.yaml")
    for schema in schemas_of(settings._Config):
        assert [name for name in schema._declared_fields if not row(text, name)] == []


@pytest.mark.parametrize("name", [name for name, _ in manual.all_commands(cli.main, "cordboard")])
def test_every_command_is_there_with_all_its_options(name: str) -> None:
    text = chapter("Commands")
    assert re.search(rf"^### {name}( [A-Z[]|$)", text, re.MULTILINE)
    for param in dict(manual.all_commands(cli.main, "cordboard"))[name].params:
        if isinstance(param, click.Option) and not param.hidden:
            line = row(text, param.opts[0])
            assert param.help
            assert not param.envvar or f"`{param.envvar}`" in line


def test_what_cordboard_says_is_there_with_its_situation() -> None:
    assert {*phrases.WHEN} == {*phrases.PHRASES}
    text = chapter("What Cordboard itself says")
    assert [said["en"] for said in phrases.PHRASES.values() if said["en"] not in text] == []


def test_verbs_of_later_versions_are_named() -> None:
    assert [verb for verb in RESERVED_VERBS if f"`{verb}`" not in chapter("Steps")] == []


# ------------------------------------------------------------------------------------------ it is true


def test_the_first_example_has_no_problem_and_its_rehearsals_pass() -> None:
    text = examples(chapter("A whole file"))[0]
    loaded = load_text(text, path="bakery.yaml", company="bakery")
    assert loaded.problems == []
    assert loaded.routing is not None
    assert [rehearse(loaded.routing, rehearsal).verdict for rehearsal in loaded.routing.rehearsals] == ["passed"] * 2


def test_the_examples_of_the_sections_are_together_one_company_whose_rehearsals_pass() -> None:
    found = {name: examples(chapter(f"The section {name}")) for name in manual.SECTIONS}
    assert {name: len(texts) for name, texts in found.items()} == dict.fromkeys(found, 1)
    assert [text.partition(":")[0] for texts in found.values() for text in texts] == [*found]
    routing = company(HEADER + "".join(text for texts in found.values() for text in texts))
    assert [rehearse(routing, rehearsal).verdict for rehearsal in routing.rehearsals] == ["passed"]


def test_the_examples_of_the_steps_are_those_that_the_language_is_tested_with() -> None:
    for verb, step in VERBS.items():
        assert examples(chapter(f"The step {verb}")) == [prose.read(step).example]


def test_the_example_of_cordboard_yaml_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "cordboard.yaml").write_text(examples(chapter("cordboard.yaml"))[0])
    (tmp_path / "esl.password").write_text("secret\n")
    (tmp_path / "esl.password").chmod(0o600)
    config = settings.read_config(tmp_path / "cordboard.yaml")
    assert "carrier-a" in config.trunks


def test_no_example_is_left_out_of_these_tests() -> None:
    tested = sum(len(examples(chapter(title))) for title in ("A whole file", "Steps", "Sections", "cordboard.yaml"))
    assert len(examples(MANUAL)) == tested == MANUAL.count("\n```yaml\n")


def read(kind: kinds.Kind, text: str) -> Any:
    """``text``, a value in YAML, as the kind reads it."""
    tree, problems = nodes.read(f"value: {text}\n", "sample")
    assert isinstance(tree, nodes.Mapping)
    assert not problems
    with kinds.reading(kinds.Reader(country="RU")):
        return kind.read(tree.items[0][1])


@pytest.mark.parametrize("name", list(manual._documented()))
def test_every_sample_of_a_value_can_be_read(name: str) -> None:
    kind = manual._documented()[name]
    limits: dict[str, tuple[int, int]] = {"duration": (0, 10_000), "count": (0, 10_000)}
    assert kind.samples
    for sample in kind.samples:
        read(kind(*limits.get(name, ())), sample)


@pytest.mark.parametrize("field", FIELDS)
def test_a_default_that_is_shown_is_the_one_that_holds(field: kinds.Kind) -> None:
    shown = manual.default(field)
    assert (shown == "must be given") == field.required
    if shown.startswith("`"):
        assert read(field, shown.strip("`")) == field.load_default
    elif not field.required:
        empty = field.load_default() if callable(field.load_default) else field.load_default
        assert not empty or empty is ma.missing


# ------------------------------------------------------------------------------------- it can be read


def test_every_link_leads_to_a_heading_and_no_two_headings_have_the_same_anchor() -> None:
    anchors = [manual.slug(heading) for heading in re.findall(r"^##* (.+)$", PROSE, re.MULTILINE)]
    assert len(anchors) == len({*anchors})
    assert manual.slug("E1: on_call, cordboard.yaml") == "e1-on_call-cordboardyaml"  # as GitHub makes them
    links = re.findall(r"\]\(#([^)]*)\)", MANUAL)
    assert len(links) > 50
    assert {*links} <= {*anchors}


def test_it_is_plain_markdown() -> None:
    words = re.sub(r"`[^`]*`", "", PROSE)
    assert re.findall(r"(?<!\\)<.*", words) == []
    assert "``" not in words


def test_every_row_of_a_table_has_the_cells_of_its_head() -> None:
    for table in re.findall(r"(?:^\|.*\|\n)+", PROSE, re.MULTILINE):
        counts = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len({*counts}) == 1, table


def test_a_docstring_is_read_as_prose_example_and_sentences() -> None:
    class Fields:
        """Ring  ``somebody``: at
        once.

        Then more.

        ```yaml
        a: {b: c}
        ```

        ring: how long, or
            how often
        other: is prose, for nobody asked for it
        """

    found = prose.parse(Fields.__doc__ or "", ["ring", "absent"])
    assert found.paragraphs == ("Ring `somebody`: at once.", "Then more.", "other: is prose, for nobody asked for it")
    assert found.example == "a: {b: c}\n"
    assert found.sentences == {"ring": "how long, or how often"}
