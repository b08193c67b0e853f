"""The step ``lookup``: the address it asks, what it keeps, how it ends; rehearsals of it; who typed what."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol.routing.load import load_text
from callcontrol.routing.model import typed_by_callers
from callcontrol.state import State
from callcontrol.steps.lookup import address, asked_hosts
from callcontrol.workbench.rehearse import rehearse
from tests.playbook import HEAD, Playbook, routing

FLOW = """\
main:
  who: {lookup: "https://crm.test/by/{caller}", into: [manager, tier], then: good, not_found: none, failed: no}
  good: {play: "Good.", then: bye}
  none: {play: None., then: bye}
  no: {play: No., then: bye}
  bye: {hangup: normal}
"""
ASKED = "lookup https://crm.test/by/%2B79031234567 manager, tier 2.0s"


def found(book: Playbook, **values: str) -> m.LookedUp:
    return m.LookedUp(book.asked, "then", values)


class TestOutcomes:
    def test_what_was_found_is_kept_and_the_call_goes_on(self) -> None:
        book = Playbook(FLOW).then(ASKED)
        book.happens(found(book, manager="301", tier="gold"), 0.3).then("answer", "play Good.")
        assert book.call.view.variables == {"brand": "Test", "manager": "301", "tier": "gold"}

    def test_each_other_outcome_has_its_edge(self) -> None:
        book = Playbook(FLOW).then(ASKED)
        book.happens(m.LookedUp(book.asked, "not_found", why="status 404")).then("answer", "play None.")
        book = Playbook(FLOW).then(ASKED)
        book.happens(m.LookedUp(book.asked, "failed", why="status 500")).then("answer", "play No.")

    def test_no_answer_by_the_deadline_is_failed(self) -> None:
        book = Playbook(FLOW).then(ASKED).waits()
        book.then("answer", "play No.")
        assert book.told("lookup.done")[0]["why"] == "no answer within 2 s"
        assert book.told("lookup.done")[0]["ms"] == 2000

    def test_an_answer_after_that_is_ignored(self) -> None:
        book = Playbook(FLOW).then(ASKED).waits().then("answer", "play No.")
        book.happens(found(book, manager="301", tier="gold")).then()
        assert "manager" not in book.call.view.variables

    def test_the_answer_to_another_question_is_ignored(self) -> None:
        book = Playbook(FLOW).then(ASKED)
        deadline = book.wakes_at
        book.happens(m.LookedUp(book.asked + 1, "then", {"manager": "301", "tier": "x"}), 0.5).then()
        book.happens(m.Digit("1"), 0.5).then()
        assert book.wakes_at == deadline
        assert book.waits().lines == ["answer", "play No."]

    def test_only_what_was_asked_for_comes_in(self) -> None:
        book = Playbook(FLOW).then(ASKED)
        book.happens(found(book, manager="301", tier="gold", brand="Evil", language="ru"))
        assert book.call.view.variables["brand"] == "Test"
        assert book.call.view.language == "en"

    def test_values_without_room_are_failed_and_none_is_kept(self) -> None:
        flow = FLOW.replace("into: [manager, tier]", "into: [a, b, c]").replace("Good.", "Good")
        book = Playbook(flow)
        book.lines.clear()
        book.happens(found(book, a="x" * 64, b="y" * 64, c="z" * 64)).then("answer", "play No.")
        assert book.call.view.variables == {"brand": "Test"}

    def test_values_that_fit_only_together_are_kept(self) -> None:
        book = Playbook(FLOW)
        book.call.view.variables.update(manager="m" * 10, tier="t" * 64, other="o" * 64)  # 142 bytes with the brand
        book.happens(found(book, manager="m" * 64, tier="t"))
        assert book.call.view.variables["manager"] == "m" * 64

    def test_the_fact_says_step_host_outcome_and_time_but_no_address(self) -> None:
        book = Playbook(FLOW)
        book.happens(m.LookedUp(book.asked, "failed", why="status 500"), 0.25)
        told = {"step": "main/who", "host": "crm.test", "outcome": "failed", "why": "status 500", "ms": 250}
        assert book.told("lookup.done") == [told]
        assert book.told("step.left")[0]["why"] == "crm.test: status 500"

    def test_what_was_found_is_told_as_data_and_the_step_says_it_in_words(self) -> None:
        book = Playbook(FLOW)
        book.happens(found(book, manager="301", tier="gold"), 0.25)
        told = {"step": "main/who", "host": "crm.test", "outcome": "then", "ms": 250}
        assert book.told("lookup.done") == [{**told, "values": {"manager": "301", "tier": "gold"}}]
        assert book.told("step.left")[0]["why"] == "crm.test: manager = 301, tier = gold"


class TestTakeover:
    def test_a_new_owner_asks_again_for_the_time_that_is_left(self) -> None:
        book = Playbook(FLOW).then(ASKED)
        book.taken_over(after=0.8).then(ASKED.replace("2.0s", "1.2s"))

    def test_but_for_half_a_second_at_least(self) -> None:
        later = Playbook(FLOW).then(ASKED).taken_over(after=30).then(ASKED.replace("2.0s", "0.5s"))
        later.happens(found(later, manager="301", tier="x"), 0.4).then("answer", "play Good.")

    def test_and_never_for_longer_than_the_step_says(self) -> None:
        book = Playbook(FLOW)
        state = book.states[-1]
        state.progress["until"] += 36_000
        book.taken_over(after=0).then(ASKED)

    @pytest.mark.parametrize("progress", [{"until": "soon"}, {"until": -5}, {"other": 1}, {}])
    def test_a_progress_that_makes_no_sense_does_no_harm(self, progress: dict[str, object]) -> None:
        state: State = Playbook(FLOW).states[-1]
        state.progress = progress
        book = Playbook(FLOW, taken=state)
        assert book.lines[0].startswith("lookup https://crm.test/")
        assert book.told("step.failed") == []


HOSTILE = ["?a=b#c", "%2e", "a\r\nX-Evil: 1", "a b", "@evil.test", "//evil.test", "\u2028", "&admin=1", "%00", "ключ"]


class TestAddress:
    @pytest.mark.parametrize("value", HOSTILE)
    def test_a_value_stays_in_its_part_of_the_path_and_comes_back_as_it_was(self, value: str) -> None:
        url = address("https://h.test/{x}/end", {"x": value})
        assert url is not None
        parts = urlsplit(url)
        assert (parts.hostname, parts.query, parts.fragment) == ("h.test", "", "")
        assert [unquote(part) for part in parts.path.split("/")] == ["", value, "end"]
        assert url.isascii()
        assert url.isprintable()

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
    def test_a_value_in_a_query_adds_no_parameter(self, one: str, two: str) -> None:
        url = address("https://h.test?a={one}&b={two}", {"one": one, "two": two})
        assert url is not None
        assert urlsplit(url).netloc == "h.test"
        assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [("a", one), ("b", two)]

    @pytest.mark.parametrize("value", ["..", ".", "../../admin", "a/../../b", "..\\..\\admin", "x/.."])
    def test_a_value_that_would_climb_is_not_asked(self, value: str) -> None:
        assert address("https://h.test/orders/{x}/details", {"x": value}) is None

    @pytest.mark.parametrize("value", ["a..b", "...", "1.5", ".hidden"])
    def test_other_dots_are_fine(self, value: str) -> None:
        assert address("https://h.test/orders/{x}", {"x": value}) == f"https://h.test/orders/{value}"

    def test_values_that_climb_only_together_are_not_asked(self) -> None:
        assert address("https://h.test/{x}{y}/a", {"x": ".", "y": "."}) is None

    def test_dots_of_the_operators_own_are_theirs_but_hide_no_others(self) -> None:
        assert address("https://h.test/a/../{x}", {"x": "1"}) == "https://h.test/a/../1"
        assert address("https://h.test/a/../{x}", {"x": ".."}) is None

    def test_dots_in_a_query_climb_nowhere(self) -> None:
        assert address("https://h.test/a?x={x}", {"x": "../b"}) == "https://h.test/a?x=..%2Fb"

    def test_a_value_is_never_read_as_a_hole(self) -> None:
        assert address("https://h.test/{x}/{y}", {"x": "{y}", "y": "1"}) == "https://h.test/%7By%7D/1"

    def test_a_call_whose_value_would_climb_takes_failed(self) -> None:
        flow = FLOW.replace("{caller}", "{brand}")
        head = HEAD.replace("brand: Test", 'brand: "../admin"')
        book = Playbook(routing(flow, head)).then("answer", "play No.")
        assert "leave its place" in book.told("lookup.done")[0]["why"]


REHEARSED = """\
flows:
  main:
    ask: {collect: Order?, digits: 3, into: order, then: who, otherwise: bye}
    who: {lookup: "https://crm.test/{order}", into: [manager, tier], then: other/again, otherwise: bye}
    bye: {hangup: busy}
  other:
    again: {lookup: "https://crm.test/{tier}", into: [manager], then: "hangup", not_found: main/ask, failed: last}
    last: {play: "Order {order}.", then: hangup}
"""
CALL = 'call: {from: "+79031234567", to: "+74951234567", at: 2026-11-23 10:00, press: ["123"]}'
WHO = 'who: {manager: "301", tier: gold}'


def load(given: str, path: str) -> tuple[list[str], tuple[str, str]]:
    """Problems, and the verdict if there are none."""
    text = f"{HEAD}{REHEARSED}rehearsals:\n  it:\n    {CALL}\n    given: {{lookups: {{{given}}}}}\n    path: {path}\n"
    loaded = load_text(text, path="t.yaml", company="test")
    problems = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    if loaded.routing is None or problems:
        return problems, ("", "")
    result = rehearse(loaded.routing, loaded.routing.rehearsals[0])
    return [], (result.verdict, result.reason)


class TestRehearsals:
    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ("who: failed", "[ask, who, bye]"),
            ("who: not_found", "[ask, who, bye]"),
            ("main/who: failed", "[ask, who, bye]"),
            (f"{WHO}, other/again: {{manager: 302}}", "[ask, who, other/again]"),
            (f"{WHO}, other/again: failed", "[ask, who, other/again, other/last]"),
        ],
    )
    def test_a_lookup_answers_what_is_given(self, given: str, path: str) -> None:
        assert load(given, path) == ([], ("passed", ""))

    def test_what_is_not_given_is_asked_for(self) -> None:
        asked = 'what does the lookup "other/again" answer? Say it: given: {lookups: {other/again: {manager: "301"}}}'
        assert load(WHO, "[ask, who, other/again]") == ([], ("failed", f"{asked} (or failed, not_found)"))
        _, (_, reason) = load("other/again: failed", "[ask, who, bye]")
        assert reason.startswith('what does the lookup "who" answer? Say it: given: {lookups: {who: {manager: "301", ')

    def test_what_the_step_does_not_want_is_a_problem(self) -> None:
        given = 'who: {manager: "301", tier: gold, color: red}'
        says = 't.yaml:28:3: E509 "it": what is given for the lookup "who" has color, which the step does not ask for'
        assert load(given, "[ask]")[0] == [says]

    def test_what_it_lacks_is_one_too(self) -> None:
        says = 't.yaml:28:3: E509 "it": what is given for the lookup "who" lacks tier'
        assert load('who: {manager: "301"}', "[ask]")[0] == [says]

    def test_and_a_step_that_is_no_lookup(self) -> None:
        says = 't.yaml:28:3: E509 "it": "ask" is a collect, not a lookup: it is given nothing'
        assert load("ask: failed", "[ask]")[0] == [says]


def test_the_hosts_that_a_company_asks_are_known_from_the_routing() -> None:
    flow = """\
main:
  a: {lookup: "https://CRM.test:8443/{caller}", into: [x], then: b, otherwise: b}
  b: {lookup: "http://other.test?y={x}", into: [y], then: c, otherwise: c}
  c: {hangup: busy}
"""
    assert asked_hosts(routing(flow)) == {"crm.test", "other.test"}
    assert asked_hosts(routing("main:\n  it: {hangup: busy}")) == frozenset()


class TestTyped:
    def test_what_callers_type_is_known_from_the_routing(self) -> None:
        flow = """\
main:
  ask: {collect: Order?, digits: 3, into: order, then: who, otherwise: bye}
  who: {lookup: "https://crm.test/{order}", into: [manager], then: more, otherwise: bye}
  more: {flow: sub, then: bye}
  bye: {hangup: busy}
sub:
  pin: {collect: Code?, digits: 4, into: code, then: return, otherwise: return}
"""
        assert typed_by_callers(routing(flow)) == {"order", "code"}

    def test_a_variable_that_is_also_set_otherwise_still_counts_as_typed(self) -> None:
        flow = """\
main:
  ask: {collect: Order?, digits: 3, into: manager, then: who, otherwise: who}
  who: {lookup: "https://crm.test/x", into: [manager], then: bye, otherwise: bye}
  bye: {hangup: busy}
"""
        assert typed_by_callers(routing(flow)) == {"manager"}

    def test_nobody_types_in_a_routing_that_collects_nothing(self) -> None:
        assert typed_by_callers(routing("main:\n  it: {hangup: busy}")) == frozenset()
