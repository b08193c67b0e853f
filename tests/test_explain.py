"""Every code is explained, and every example is what ``check`` says of it."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.routing.codes import CODES, FAMILIES
from callcontrol.workbench import explain
from callcontrol.workbench.explain import Explanation, code_in, explanations, problems, whole

#: Codes of which a text can give no example: they are of the file itself, of two files, or of what publishing makes.
NOT_SHOWN = {"E111", "E112", "E118", "E119", "E120", "E215", "E216", "E502", "W509", "W550"}
#: And those whose examples would always bring another with them, or are of files beside the routing.
NOT_SHOWN |= {"W523", "W527", "E601", "W601", "W602"}
#: And those of what is live beside what the files say.
NOT_SHOWN |= {"E520", "E521", "E522", "E524", "E525", "W538"}
EXPLAINED = list(explanations().values())
SHOWN = [found for found in EXPLAINED if found.wrong]


def run(*arguments: str, color: bool = False) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["explain", *arguments], color=color)
    return result.exit_code, result.output


def test_every_code_has_an_explanation_in_the_order_of_the_codes_and_nothing_else_has() -> None:
    assert [found.code for found in EXPLAINED] == list(CODES)


def test_every_code_has_an_example_unless_a_text_cannot_give_one() -> None:
    assert {found.code for found in EXPLAINED if not found.wrong} == NOT_SHOWN


@pytest.mark.parametrize("found", SHOWN, ids=lambda found: found.code)
def test_the_wrong_example_gives_this_code_only_and_the_right_one_nothing(found: Explanation) -> None:
    assert {problem.code for problem in problems(found.wrong)} == {found.code}
    assert found.right
    assert [str(problem) for problem in problems(found.right)] == []


@pytest.mark.parametrize("found", SHOWN, ids=lambda found: found.code)
def test_what_is_wrong_stands_in_the_example_and_not_in_what_the_company_has_besides(found: Explanation) -> None:
    lines = found.wrong.splitlines()
    assert [problem.place.line for problem in problems(found.wrong) if problem.place.line > len(lines)] == []


@pytest.mark.parametrize("found", EXPLAINED, ids=lambda found: found.code)
def test_an_explanation_is_a_few_sentences_and_more_than_the_codes_own_line(found: Explanation) -> None:
    assert 1 <= len(re.findall(r"[.?!](?= |$)", found.prose)) <= 5
    assert len(found.prose) > 60
    assert found.prose.lower().rstrip(".") != CODES[found.code].lower()
    assert "```" not in found.prose


def test_the_company_around_the_examples_has_nothing_wrong() -> None:
    assert problems("") == []
    assert whole("people:\n  1: {name: A}\n").count("people:") == 1


@pytest.mark.parametrize("found", SHOWN, ids=lambda found: found.code)
def test_the_command_shows_the_message_as_check_prints_it(found: Explanation) -> None:
    text = explain.explain(found.code)
    assert all(f"  {problem}\n" in text for problem in problems(found.wrong))
    assert found.wrong.splitlines()[0] in text
    assert found.family in text or found.severity == "warning"


@pytest.mark.parametrize(
    "written", ["E201", "e201", "E201:", "(e201)", "routing/acme.yaml:67:18: E201 there is no step", " E201\n"]
)
def test_a_code_is_understood_as_people_type_and_paste_it(written: str) -> None:
    assert code_in(written) == "E201"
    code, text = run(written)
    assert (code, text.splitlines()[0]) == (0, f"E201  {CODES['E201']}")


@pytest.mark.parametrize(("written", "meant"), [("E21", "E"), ("201", "E201"), ("w5o1", "W5")])
def test_a_code_that_is_none_is_a_usage_error_with_what_was_meant(written: str, meant: str) -> None:
    code, text = run(written)
    assert code == 2
    assert "there is no code" in text
    assert f'did you mean "{meant}' in text


def test_text_that_is_no_code_at_all_forges_nothing() -> None:
    code, text = run("x\n\x1b[31mE999")
    assert code == 2
    assert "\x1b" not in text
    assert code_in("ME201") is None
    assert code_in("E2011") is None


def test_without_a_code_all_are_listed_by_family() -> None:
    code, text = run()
    assert code == 0
    assert [line.split()[0] for line in text.splitlines() if re.match(r"  [EW]\d", line)] == list(CODES)
    assert all(f"{family}: {about}" in text for family, about in FAMILIES.items())


def test_the_place_is_marked_in_colours_on_a_terminal_and_nowhere_else() -> None:
    assert "\x1b" not in run("E201")[1]
    coloured = run("E201", color=True)[1]
    assert "then: \x1b[31m\x1b[1mservce\x1b[0m}" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == run("E201")[1]


def test_warnings_are_said_to_go_live_and_errors_not_to() -> None:
    assert "goes live all the same" in explain.explain("W501")
    assert "does not go live" in explain.explain("E201")
