"""The verbs as a language: their examples load, their words are disjoint, each is one file."""

from __future__ import annotations

import inspect
import re

import pytest

from callcontrol.messages import HANGUP_REASONS, PHONE_REASONS
from callcontrol.routing.load import load_text
from callcontrol.steps import RESERVED_VERBS, VERBS
from callcontrol.steps.base import COMMON_OPTIONS, Step
from callcontrol.wire import CAUSE_OF_REASON

HEAD = """\
cordboard: 1
company: Example
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main, set: {brand: Example, order: "1"}}
people:
  301: {name: Anna, email: anna@acme.test}
  302: {name: Boris}
groups:
  service: [301, 302]
  oncall: [301]
lists:
  vip: ["+79160000001"]
  blocked: [anonymous]
hours:
  office: {mon-fri: 09:00-18:00}
  lunch: {sat: 09:00-18:00}
  shut: {switch: "*21"}
queues:
  sales: {agents: [{agent: 301, skills: [german]}]}
"""
#: Where the examples' edges lead, besides their own step.
NAMES = ("sales", "service_", "greet", "message", "reject", "clock", "night", "lunch_", "anna", "who", "manager")


def example(step: type[Step]) -> str:
    found = re.search(r"```yaml\n(.*?)```", inspect.getdoc(step) or "", re.DOTALL)
    assert found, f"{step.__name__} has no YAML example in its docstring"
    return found[1]


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_example_in_every_docstring_loads(verb: str) -> None:
    text = example(VERBS[verb])
    name = text.partition(":")[0].strip()
    edges = set(re.findall(r"[a-z_]+(?=[,}\n])", text)) | {"vip", "goodbye"}
    steps = text.splitlines()
    for edge in sorted(edges - {name}):
        if re.search(rf"(?<![\w/]){edge}(?![\w/:])", text) and edge not in VERBS and edge not in ("hangup", "return"):
            steps.append(f"{edge}: {{hangup: busy}}")
    flows = ["main:", *("  " + line for line in steps)]
    flows += ["reception:", "  sales: {hangup: busy}", "  vip: {hangup: busy}"]
    flows += ["survey:", "  ask: {play: Thanks., then: return}"]
    loaded = load_text(
        HEAD + "flows:\n" + "\n".join("  " + line for line in flows) + "\n", path="example.yaml", company="example"
    )
    about = [
        p
        for p in loaded.problems
        if p.severity == "error" and p.place.line <= HEAD.count("\n") + 2 + len(text.splitlines())
    ]
    assert not about, "\n".join(map(str, about))


def test_verbs_options_and_outcomes_are_disjoint_words() -> None:
    verbs = {*VERBS, *RESERVED_VERBS}
    outcomes = {outcome for step in VERBS.values() for outcome in step.outcomes}
    options = {key for step in VERBS.values() for key in step.Fields().fields} - set(VERBS)
    options |= set(COMMON_OPTIONS)
    assert not verbs & outcomes
    assert not verbs & options
    assert not options & outcomes


def test_every_verb_has_a_field_of_its_own_name() -> None:
    assert all(verb in step.Fields().fields for verb, step in VERBS.items())


def test_every_reason_to_hang_up_has_a_cause() -> None:
    assert {*HANGUP_REASONS, *PHONE_REASONS} == set(CAUSE_OF_REASON)


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_step_says_what_it_is_for(verb: str) -> None:
    assert len((inspect.getdoc(VERBS[verb]) or "").partition("```")[0].strip()) > 30
