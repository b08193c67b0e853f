"""What the company's own phones dial: extensions, codes, numbers, and what is refused."""

from __future__ import annotations

import pytest

from callcontrol import messages as m
from callcontrol.phrases import PHRASES
from tests.playbook import Playbook, routing

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main, set: {brand: Test}}
people:
  301: {name: Anna, max_calls: 2}
  302: {name: Boris, forward: {busy: voicemail}}
  303: {name: Chiara, language: ru}
hours:
  shut: {switch: "*21"}
queues:
  sales: {agents: [301, 303]}
agents: {log_in: "*41", log_out: "*42", pause: {lunch: "*43", meeting: "*45"}, resume: "*44"}
outbound:
  trunk: carrier-a
  caller_id: {otherwise: "+74951234567"}
  allow: [RU]
  emergency: ["112"]
  max_calls: 5
"""
FLOWS = """\
main:
  clock: {hours: {shut: closed}, otherwise: open}
  open: {play: "Open at {brand}.", then: hangup}
  closed: {play: Closed., then: hangup}
diary:
  code: "*77"
  it: {play: Diary., then: hangup}
"""


def dials(number: str, extension: str = "301", *, on: tuple[str, ...] = ()) -> Playbook:
    return Playbook(routing(FLOWS, HEAD), called=number, extension=extension, switched_on=frozenset(on))


def says(situation: str, language: str = "en") -> str:
    return f"play {PHRASES[situation][language]}"


class TestExtensions:
    def test_a_colleague_rings_and_sees_who_calls(self) -> None:
        book = dials("302").then("ringback", "ring 302 60s")
        assert (book.rung["302"].shown, book.rung["302"].name) == ("301", "Anna")
        book.answers("302").then("join 302 answering").joined("302").then("let go")
        book.taken_over(after=60, returned=True).then("hangup normal")

    @pytest.mark.parametrize("result", ["declined", "no_answer", "unreachable"])
    def test_a_phone_that_is_not_answered_is_told_so_in_its_own_way(self, result: str) -> None:
        dials("303").then("ringback", "ring 303 60s").fails("303", result).then(f"hangup {result}")

    def test_their_forward_rules_hold(self) -> None:
        book = dials("302").then("ringback", "ring 302 60s").fails("302", "busy")
        book.then("answer", says("leave_message"))

    def test_the_call_is_known_by_the_extension_and_not_by_what_the_phone_says(self) -> None:
        book = Playbook(routing(FLOWS, HEAD), caller="+79990000000", called="302", extension="301")
        (started,) = book.told("call.started")
        assert {**started, "version": ""} == {"from": "301", "to": "302", "extension": "301", "version": ""}

    def test_an_extension_that_is_gone_is_nobody(self) -> None:
        book = Playbook(routing(FLOWS, HEAD), called="302", extension="399")
        book.then("hangup unknown_number")

    def test_after_a_takeover_it_still_comes_from_the_phone(self) -> None:
        book = dials("303").then("ringback", "ring 303 60s")
        book.taken_over(after=2).then("ringback", "find 303")


class TestNumbers:
    def test_a_local_number_goes_out_as_policy_allows(self) -> None:
        book = dials("89161112233").then("ringback", "ring +79161112233 60s")
        rung = book.rung["+79161112233"]
        assert (rung.shown, rung.trunks, rung.confirm) == ("+74951234567", ("carrier-a",), None)
        assert dict(rung.caps) == {"test": 5, "test/301": 2}

    def test_the_companys_own_number_needs_no_trunk(self) -> None:
        dials("84951234567").then("answer", "play Open at Test.")

    def test_its_values_are_not_stored_for_a_phone_either(self) -> None:
        """They may fill the whole checkpoint: who took the call over found none."""
        sets = ", ".join(f"a_variable_with_a_rather_long_n{i}: {'x' * 22}" for i in range(7))
        book = Playbook(
            routing(FLOWS, HEAD.replace("brand: Test", f"brand: T, {sets}")), called="84951234567", extension="301"
        )
        assert book.logs == []
        assert book.taken_over().call.view.get("brand") == "T"

    def test_a_number_that_policy_refuses_is_explained_and_told(self) -> None:
        book = dials("+442071234567").then("answer", says("barred"))
        assert [fact["dialled"] for fact in book.told("call.refused")] == ["+442071234567"]
        book.hears_all().then("hangup barred")

    def test_what_is_no_number_is_said_too(self) -> None:
        dials("555").then("answer", says("unknown_number")).hears_all().then("hangup unknown_number")

    def test_in_the_language_of_whoever_dialled(self) -> None:
        dials("555", "303").then("answer", says("unknown_number", "ru"))

    def test_when_all_lines_are_in_use_it_is_said(self) -> None:
        book = dials("89161112233").fails("+79161112233", "refused")
        book.then("ringback", "ring +79161112233 60s", "answer", says("congestion"))
        book.hears_all().then("hangup congestion")

    def test_a_takeover_while_it_is_said_does_not_ring_again(self) -> None:
        book = dials("89161112233").fails("+79161112233", "refused")
        book.taken_over().then(says("congestion")).hears_all().then("hangup congestion")

    def test_an_emergency_number_passes_as_dialled_and_counts_nowhere(self) -> None:
        book = dials("112").then("ringback", "ring 112 60s")
        assert book.rung["112"].caps == ()

    def test_one_that_is_not_listed_does_not(self) -> None:
        dials("103").then("answer", says("barred"))


class TestCodes:
    def test_the_code_of_a_flow_runs_it(self) -> None:
        dials("*77").then("answer", "play Diary.")

    def test_the_code_of_a_switch_turns_it_over_and_says_how_it_stands(self) -> None:
        book = dials("*21").then("switch shut on").happens(m.SwitchSet("shut", True), 0.01)
        book.then("answer", says("switched_on")).hears_all().then("hangup normal")
        assert book.told("switch.set") == [{"switch": "shut", "on": True, "by": "301"}]
        dials("*21", on=("shut",)).then("switch shut off").happens(m.SwitchSet("shut", True)).then(
            "answer", says("switched_off")
        )

    def test_a_switch_that_cannot_be_kept_is_not_said_to_be_on(self) -> None:
        book = dials("*21").then("switch shut on").happens(m.SwitchSet("shut", False))
        book.then("answer", says("not_done"))
        assert book.told("switch.set") == []
        dials("*21").then("switch shut on").waits().then("answer", says("not_done"))

    def test_a_takeover_does_not_turn_it_twice(self) -> None:
        book = dials("*21").then("switch shut on")
        again = book.taken_over()
        again.switched_on = frozenset({"shut"})
        again.then("switch shut on")

    def test_nor_does_one_while_it_is_said_turn_back_what_somebody_else_did_since(self) -> None:
        book = dials("*21").happens(m.SwitchSet("shut", True)).then("switch shut on", "answer", says("switched_on"))
        again = book.taken_over().then(says("switched_on"))
        assert again.told("switch.set") == []

    def test_hours_follow_the_switch(self) -> None:
        Playbook(routing(FLOWS, HEAD)).then("answer", "play Open at Test.")
        Playbook(routing(FLOWS, HEAD), switched_on=frozenset({"shut"})).then("answer", "play Closed.")

    def test_callers_from_outside_dial_no_codes_and_no_extensions(self) -> None:
        for called in ("*21", "*77", "301", "112", "89161112233"):
            Playbook(routing(FLOWS, HEAD), called=called).then("hangup unknown_number")


class TestAgents:
    @pytest.mark.parametrize(
        ("code", "asked", "state", "said"),
        [
            ("*41", "log_in", "available", "logged_in"),
            ("*42", "log_out", "logged_out", "logged_out"),
            ("*43", "pause lunch", "paused", "paused"),
            ("*45", "pause meeting", "paused", "paused"),
            ("*44", "resume", "available", "resumed"),
        ],
    )
    def test_a_code_does_it_and_says_so(self, code: str, asked: str, state: str, said: str) -> None:
        book = dials(code).then(f"duty 301 {asked}").happens(m.DutySet(state), 0.01)
        book.then("answer", says(said)).hears_all().then("hangup normal")

    def test_what_is_said_is_what_the_agent_is_now_and_not_what_was_wanted(self) -> None:
        dials("*43").happens(m.DutySet("logged_out")).then("duty 301 pause lunch", "answer", says("logged_out"))
        dials("*44").happens(m.DutySet("logged_out")).then("duty 301 resume", "answer", says("logged_out"))

    def test_it_is_the_agent_of_the_phone_in_their_own_language(self) -> None:
        book = dials("*41", "303").then("duty 303 log_in").happens(m.DutySet("available"))
        book.then("answer", says("logged_in", "ru"))

    def test_a_person_who_serves_no_queue_hears_that(self) -> None:
        dials("*41", "302").then("answer", says("no_agent")).hears_all().then("hangup normal")

    def test_what_could_not_be_done_is_not_said_to_be(self) -> None:
        dials("*41").then("duty 301 log_in").happens(m.DutySet("")).then("answer", says("not_done"))
        dials("*41").then("duty 301 log_in").happens(m.DutySet("gone fishing")).then("answer", says("not_done"))

    def test_an_answer_that_does_not_come_is_waited_for_three_seconds(self) -> None:
        book = dials("*43").then("duty 301 pause lunch").happens(m.SwitchSet("shut", True), 2.0).then()
        assert book.wakes_at == pytest.approx(book.now + 1.0)
        book.waits().then("answer", says("not_done")).happens(m.DutySet("paused")).then()
        book.hears_all().then("hangup normal")

    def test_a_takeover_asks_again_while_nothing_is_known(self) -> None:
        dials("*43").then("duty 301 pause lunch").taken_over().then("duty 301 pause lunch")

    def test_one_while_it_is_said_does_not_undo_what_somebody_else_did_since(self) -> None:
        book = dials("*43").happens(m.DutySet("paused")).then("duty 301 pause lunch", "answer", says("paused"))
        book.taken_over().then(says("paused")).hears_all().then("hangup normal")

    def test_the_facts_are_written_where_it_happens(self) -> None:
        book = dials("*43").happens(m.DutySet("paused")).hears_all()
        assert [fact.type for fact in book.facts] == ["call.started", "step.entered"]
        assert book.told("agent.state") == []

    def test_an_extension_or_a_code_of_a_switch_is_no_code_of_agents(self) -> None:
        dials("*21").then("switch shut on")
        dials("302").then("ringback", "ring 302 60s")

    def test_callers_from_outside_are_no_agents(self) -> None:
        Playbook(routing(FLOWS, HEAD), called="*41").then("hangup unknown_number")
