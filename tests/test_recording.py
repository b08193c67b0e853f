"""Which talks are recorded, by which rule, and what the caller is told before."""

from __future__ import annotations

import pytest

from callcontrol import messages as m
from callcontrol.recording import DEMAND, NO, ON, Noted, judge
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.spool import read_name
from callcontrol.state import decode, encode
from tests.playbook import CALL, CALLED, Playbook, routing

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main NUMBER}
people:
  301: {name: Anna CALLER}
  302: {name: Boris PERSON}
  303: {name: Chiara}
outbound: {trunk: carrier, emergency: ["112"]}
recording: {keep: 90d COMPANY}
queues:
  sales: {agents: [302, 303] QUEUE}
"""
FLOWS = """\
main:
  FLOW
  run: {flow: inner OUTER, then: hangup}
inner:
  INNER
  ring: {dial: 302 STEP, then: hangup, otherwise: hangup}
  wait: {queue: sales, then: hangup, otherwise: hangup}
"""
PLACES = ("NUMBER", "CALLER", "PERSON", "COMPANY", "QUEUE", "OUTER", "STEP")


def company(**rules: str) -> Routing:
    """A company with rules at these places."""
    head, flows = HEAD, FLOWS
    for place in PLACES:
        rule = rules.get(place.lower())
        head = head.replace(f" {place}", f", record: {rule}" if rule else "")
        flows = flows.replace(f" {place}", f", record: {rule}" if rule else "")
    for place in ("FLOW", "INNER"):
        rule = rules.get(place.lower())
        flows = flows.replace(place, f"record: {rule}" if rule else "")
    return routing(flows, head)


def ruling(of: Routing, way: str = "inbound", step: str = "ring") -> tuple[str, str]:
    """The mode and the rule of a talk with Boris (302), or of Anna's (301) with somebody outside."""
    found = judge(
        of,
        number=of.numbers[CALLED] if way == "inbound" else None,
        steps=(("main", "run"), ("inner", step)) if way != "outbound" else (("~phone", "serve"),),
        extension=None if way == "inbound" else "301",
        person="" if way == "outbound" else "302",
        address="+79161112233" if way == "outbound" else "302",
    )
    return found.mode, found.rule


def test_without_a_rule_nothing_is_recorded_nor_may_be() -> None:
    assert ruling(company()) == (NO, "")


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("person", "person 302: always"),
        ("step", "step inner/ring: always"),
        ("inner", "flow inner: always"),
        ("outer", "step main/run: always"),
        ("flow", "flow main: always"),
        ("number", "number +74951234567: always"),
        ("company", "company: always"),
    ],
)
def test_whatever_a_talk_belongs_to_may_ask_for_it_and_is_named(place: str, rule: str) -> None:
    assert ruling(company(**{place: "always"})) == (ON, rule)


@pytest.mark.parametrize("place", ["person", "step", "inner", "outer", "flow", "number", "company"])
def test_one_that_forbids_is_enough_wherever_it_stands(place: str) -> None:
    rules = {"person": "always", "step": "always", "company": "always", place: "never"}
    mode, rule = ruling(company(**rules))
    assert mode == NO
    assert rule.endswith(": never")


@pytest.mark.parametrize(
    ("rule", "inbound", "internal", "outbound"),
    [
        ("always", ON, ON, ON),
        ("inbound", ON, NO, NO),
        ("outbound", NO, NO, ON),
        ("on demand", DEMAND, DEMAND, DEMAND),
        ("never", NO, NO, NO),
    ],
)
def test_what_each_rule_means_for_each_way_of_a_call(rule: str, inbound: str, internal: str, outbound: str) -> None:
    of = company(company=rule)
    assert [ruling(of, way)[0] for way in ("inbound", "internal", "outbound")] == [inbound, internal, outbound]


def test_the_people_at_both_ends_are_asked() -> None:
    assert ruling(company(caller="outbound"), "outbound") == (ON, "person 301: outbound")
    assert ruling(company(caller="never", person="always"), "internal") == (NO, "person 301: never")


def test_a_queue_is_asked_in_its_own_steps_only() -> None:
    of = company(queue="always")
    assert ruling(of, step="wait") == (ON, "queue sales: always")
    assert ruling(of, step="ring") == (NO, "")


def test_the_most_specific_of_those_that_ask_is_the_reason() -> None:
    assert ruling(company(company="always", flow="always", person="always"))[1] == "person 302: always"
    assert ruling(company(person="on demand", company="inbound")) == (ON, "company: inbound")


def test_an_emergency_call_is_never_recorded() -> None:
    of = company(company="always", caller="always")
    found = judge(of, number=None, steps=(), extension="301", person="", address="112")
    assert found.mode == NO


def test_what_stands_on_a_channel_is_read_back_and_anything_else_is_nothing() -> None:
    assert Noted.read(Noted(12, DEMAND).text) == Noted(12, DEMAND)
    for text in (None, "", "x", "-1:on", "1:maybe", "1:on\n", "99999999:on"):
        assert Noted.read(text) == Noted(0, NO)


def test_how_long_recordings_are_kept_is_seconds() -> None:
    assert company().recording.keep == 90 * 86_400
    assert load_text(HEAD.partition("recording:")[0], path="x", company="test").routing is None
    assert routing("main:\n  bye: {hangup: normal}").recording.keep is None


# --------------------------------------------------------------------------------------------- the call

ANNOUNCE = {"company": "always, announce: {en: Recorded., ru: Пишем.}"}


def segments(book: Playbook) -> list[tuple[int, str, bool]]:
    return [(data["segment"], data["rule"], data["consent"]) for data in book.told("recording.expected")]


def test_a_talk_is_recorded_from_its_joining_and_what_is_expected_is_told_before() -> None:
    book = Playbook(company(step="always")).then("ringback", "ring 302 30s")
    book.answers("302").then("join 302 answering into s1")
    assert segments(book) == [(1, "step inner/ring: always", False)]
    (expected,) = book.told("recording.expected")
    file = read_name(expected["file"])
    assert file is not None
    assert (file.company, file.call, file.leg) == ("test", CALL, book.legs["302"])


def test_the_next_talk_of_a_call_is_the_next_segment_also_for_the_next_owner() -> None:
    flows = """\
main:
  record: always
  one: {dial: 302, then: two, otherwise: hangup}
  two: {dial: 303, then: hangup, otherwise: hangup}
"""
    book = Playbook(routing(flows)).answers("302").joined("302")
    book = book.taken_over(returned=True).answers("303")
    assert segments(book) == [(2, "flow main: always", False)]


def test_a_talk_after_a_joining_that_failed_has_a_file_of_its_own() -> None:
    dial = "main:\n  one: {dial: [{to: [302, 303], ring: 30s}], record: always, then: hangup, otherwise: hangup}"
    book = Playbook(routing(dial)).answers("302")
    book.happens(m.JoinFailed(book.legs["302"], "-ERR")).answers("303")
    assert [segment for segment, _, _ in segments(book)] == [1, 2]


def test_on_demand_is_noted_and_records_nothing() -> None:
    book = Playbook(company(step="on demand"))
    noted = joins(book, m.LegReady(book.legs["302"]))
    assert [(join.record, join.noted) for join in noted] == [("", "0:demand")]


def test_what_one_may_be_asked_for_another_who_is_joined_in_their_place_may_not() -> None:
    """302 answers and drops; 303, who is never recorded, comes after: nothing that was noted for 302 holds."""
    head = HEAD.replace(" PERSON", "").replace(" COMPANY", ", record: on demand")
    for place in PLACES:
        head = head.replace(f" {place}", "")
    head = head.replace("303: {name: ", "303: {record: never, name: ")
    assert "never" in head
    dial = "main:\n  one: {dial: [{to: [302, 303], ring: 30s}], then: hangup, otherwise: hangup}"
    book = Playbook(routing(dial, head))
    noted = [join.noted for join in joins(book, m.LegReady(book.legs["302"]))]
    book.happens(m.JoinFailed(book.legs["302"], "-ERR"))
    noted += [join.noted for join in joins(book, m.LegReady(book.legs["303"]))]
    assert noted == ["0:demand", "0:no"]


def joins(book: Playbook, event: m.Event) -> list[m.Join]:
    return [command for command in book.call.handle(event, book.now) if isinstance(command, m.Join)]


def test_a_caller_hears_the_announcement_once_and_before_a_telephone_rings() -> None:
    book = Playbook(company(**ANNOUNCE)).then("answer", "play Recorded.")
    book.hears_all()
    assert "ring 302 30s" in book.lines
    assert book.told("consent.played") == [{"language": "en"}]
    book.answers("302")
    assert segments(book) == [(1, "company: always", True)]


def test_an_owner_that_takes_over_does_not_announce_again() -> None:
    book = Playbook(company(**ANNOUNCE)).hears_all()
    assert decode(encode(book.states[-1])).announced
    again = book.taken_over()
    assert not [line for line in again.lines if "Recorded" in line]
    again.answers("302")
    assert segments(again) == [(1, "company: always", True)]


def test_one_that_died_in_the_middle_of_it_does() -> None:
    again = Playbook(company(**ANNOUNCE)).taken_over()
    assert again.lines[-1] == "play Recorded."
    assert not again.told("consent.played")


def test_whoever_could_not_hear_it_is_not_recorded() -> None:
    book = Playbook(company(**ANNOUNCE))
    book.happens(m.PlayEnded(book.played, missing=True)).hears_all(0.5)
    assert book.told("consent.played") == []
    book.lines.clear()
    book.answers("302")
    assert not [line for line in book.lines if "into" in line]
    assert segments(book) == [(1, "company: always", False)]
    (failed,) = book.told("recording.failed")
    assert "announcement" in failed["why"]


def test_nobody_is_told_of_a_recording_that_cannot_be() -> None:
    rules = {**ANNOUNCE, "person": "never"}
    Playbook(company(**rules)).then("ringback", "ring 302 30s")


def test_callers_of_a_queue_hear_it_before_they_have_a_place() -> None:
    of = routing("main:\n  wait: {queue: sales, then: hangup, otherwise: hangup}", _head(ANNOUNCE["company"]))
    book = Playbook(of).then("answer", "play Recorded.").hears_all()
    assert book.lines[0] == "enter sales"


def test_who_is_called_outside_hears_it_as_they_answer_and_an_emergency_service_never() -> None:
    of = company(**ANNOUNCE)
    book = Playbook(of, extension="301", called="+79161112299").then("ringback", "ring +79161112299 60s (Recorded.)")
    book.happens(m.LegAnswered(book.legs["+79161112299"])).answers("+79161112299", 3.0)
    assert segments(book) == [(1, "company: always", True)]
    (played,) = book.told("consent.played")
    assert played["leg"] == book.legs["+79161112299"]
    Playbook(of, extension="301", called="112").then("ringback", "ring 112 60s")
    Playbook(of, extension="301", called="302").then("ringback", "ring 302 60s")


def _head(rule: str) -> str:
    head = HEAD.replace(" COMPANY", f", record: {rule}")
    for place in PLACES:
        head = head.replace(f" {place}", "")
    return head
