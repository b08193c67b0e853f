"""Rehearsals: what passes, what fails and how it is told, what is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from callcontrol.routing.load import load_text
from callcontrol.workbench.rehearse import failing, rehearse, rehearse_all
from tests.playbook import HEAD

ROUTING = Path(__file__).parent.parent / "routing"

FLOWS = """\
flows:
  main:
    greet: {menu: Press., keys: {1: sales, 2: memo, 3: ask}, tries: 2, otherwise: bye}
    sales: {dial: team, ring: 20s, then: bye, otherwise: memo}
    memo: {voicemail: [302], then: bye}
    ask: {flow: survey, then: bye}
    bye: {hangup: busy}
  survey:
    how: {collect: How many?, digits: 2, into: many, then: thanks, otherwise: return}
    thanks: {play: Thanks., then: return}
"""


def result(text: str, flows: str = FLOWS, head: str = HEAD) -> tuple[str, str]:
    rehearsal = "\n".join("    " + line for line in text.strip().splitlines())
    loaded = load_text(head + flows + "rehearsals:\n  it:\n" + rehearsal + "\n", path="t.yaml", company="test")
    errors = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    assert not errors, errors
    assert loaded.routing is not None
    found = rehearse(loaded.routing, loaded.routing.rehearsals[0])
    return found.verdict, found.reason


CALL = 'call: {from: "+79031234567", to: "+74951234567", at: 2026-11-23 10:00'


class TestVerdicts:
    def test_a_way_and_an_end_as_written_pass(self) -> None:
        assert result(f'{CALL}, press: ["2"]}}\npath: [greet, memo]\nends: {{voicemail: [302]}}') == ("passed", "")

    def test_another_way_fails(self) -> None:
        verdict, reason = result(f'{CALL}, press: ["2"]}}\npath: [greet, sales]')
        assert (verdict, reason) == ("failed", "the call went another way")

    def test_another_end_fails(self) -> None:
        verdict, reason = result(f'{CALL}, press: ["2"]}}\nends: {{voicemail: [303]}}')
        assert (verdict, reason) == ("failed", "the call ended otherwise")

    def test_a_way_that_is_a_part_only_fails(self) -> None:
        assert result(f'{CALL}, press: ["2"]}}\npath: [greet]')[0] == "failed"

    def test_three_dots_skip_any_number_of_steps(self) -> None:
        assert result(f'{CALL}, press: ["3", "12"]}}\npath: [greet, ..., bye]')[0] == "passed"
        assert result(f'{CALL}, press: ["3", "12"]}}\npath: [..., survey/thanks, bye]')[0] == "passed"
        assert result(f'{CALL}, press: ["2"]}}\npath: [greet, ..., bye]')[0] == "failed"

    def test_silence_walks_on(self) -> None:
        assert result(f"{CALL}}}\npath: [greet, bye]\nends: {{hangup: busy}}")[0] == "passed"

    def test_a_telephone_that_was_not_given_is_asked_for(self) -> None:
        verdict, reason = result(f'{CALL}, press: ["1"]}}\npath: [greet, sales]')
        assert verdict == "failed"
        assert "what does the phone of 302 do" in reason

    @pytest.mark.parametrize("phone", ["busy", "no_answer", "unreachable", "declined"])
    def test_every_result_of_a_telephone_can_be_given(self, phone: str) -> None:
        text = f'{CALL}, press: ["1"]}}\ngiven: {{phones: {{302: {phone}, 303: {phone}}}}}\npath: [greet, sales, memo]'
        assert result(text)[0] == "passed"

    def test_an_answer_is_a_talk(self) -> None:
        text = f'{CALL}, press: ["1"]}}\ngiven: {{phones: {{302: busy, 303: answers}}}}\nends: {{talk: 303}}'
        assert result(text)[0] == "passed"

    def test_keys_that_nobody_asked_for_fail(self) -> None:
        verdict, reason = result(f'{CALL}, press: ["2", "5"]}}\npath: [greet, memo]')
        assert (verdict, reason) == ("failed", "nobody asked for these keys: 5")


class TestForwardsAndSwitches:
    FLOWS = """\
flows:
  main:
    clock: {hours: {shut: bye}, otherwise: anna}
    anna: {dial: 301, ring: 30s, then: bye, otherwise: bye}
    bye: {hangup: busy}
"""
    MOBILE = "+79161112233"
    COMPANY = HEAD.replace(
        '301: {name: Anna, email: anna@acme.test, phones: ["+79161112233"]}',
        f'301: {{name: Anna, mobile: "{MOBILE}", forward: {{busy: mobile, otherwise: voicemail}}}}',
    ).replace("hours:", 'outbound: {trunk: one}\nhours:\n  shut: {switch: "*21"}')

    def rehearsed(self, given: str, ends: str) -> tuple[str, str]:
        return result(f"{CALL}}}\ngiven: {given}\nends: {ends}", self.FLOWS, self.COMPANY)

    def test_a_forward_rings_the_number_that_it_names(self) -> None:
        given = f'{{phones: {{301: busy, "{self.MOBILE}": answers}}}}'
        assert self.rehearsed(given, "{talk: 301}") == ("passed", "")

    def test_a_message_by_forward_is_an_end(self) -> None:
        assert self.rehearsed("{phones: {301: no_answer}}", "{voicemail: [301]}") == ("passed", "")

    def test_what_one_person_does_counts_for_all_their_phones_unless_said(self) -> None:
        assert self.rehearsed("{phones: {301: busy}}", "{voicemail: [301]}") == ("passed", "")

    def test_a_switch_that_is_not_given_is_off(self) -> None:
        assert self.rehearsed("{switches: {shut: on}}", "{hangup: busy}") == ("passed", "")
        assert self.rehearsed("{phones: {301: answers}}", "{talk: 301}") == ("passed", "")


class TestQueues:
    FLOWS = """\
flows:
  main:
    q: {queue: sales, then: bye, full: memo, timeout: memo, paused: closed, no_agents: closed, left: memo}
    memo: {voicemail: [302], then: bye}
    closed: {hangup: declined}
    bye: {hangup: busy}
"""
    QUEUE = "agents: [301, 302, 303], ring: 15s, max_wait: 2m"

    def rehearsed(self, text: str, queue: str = QUEUE, flows: str = FLOWS, press: str = "") -> tuple[str, str]:
        head = HEAD + f"queues:\n  sales: {{{queue}}}\n  other: {{agents: [301]}}\n"
        return result(f"{CALL}{press}}}\n{text}", flows, head)

    def test_the_walk_ends_as_the_call_joins_if_that_is_expected(self) -> None:
        assert self.rehearsed("path: [q]\nends: {queue: sales}") == ("passed", "")

    def test_another_queue_is_another_end(self) -> None:
        assert self.rehearsed("ends: {queue: other}") == ("failed", "the call ended otherwise")

    def test_another_way_into_the_right_queue_is_another_way(self) -> None:
        assert self.rehearsed("path: [q, bye]\nends: {queue: sales}") == ("failed", "the call went another way")

    def test_of_two_queues_on_the_way_the_expected_one_is_the_end(self) -> None:
        flows = "flows:\n  main:\n    a: {queue: sales, otherwise: b}\n    b: {queue: other, otherwise: bye}\n"
        flows += "    bye: {hangup: busy}\n"
        given = "given: {agents: {301: no_answer, 302: no_answer, 303: busy}}\n"
        assert self.rehearsed(f"{given}path: [a, b]\nends: {{queue: other}}", flows=flows) == ("passed", "")
        assert self.rehearsed("path: [a, b]\nends: {queue: other}", flows=flows)[0] == "failed"
        twice = flows.replace("queue: other", "queue: sales")
        assert self.rehearsed(f"{given}path: [a, b]\nends: {{queue: sales}}", flows=twice) == ("passed", "")

    def test_what_agents_do_is_asked_for_if_the_walk_goes_on(self) -> None:
        asked = "what does agent 301 do when a call is offered? Say it: given: {agents: {301: answers}}"
        asked += " (or busy, no_answer, unreachable, declined, paused, logged_out)"
        assert self.rehearsed("ends: {talk: 301}") == ("failed", asked)
        assert self.rehearsed("path: [q]") == ("failed", f"{asked}; if it ends in the queue: ends: {{queue: sales}}")

    def test_only_those_who_are_asked_need_to_be_given(self) -> None:
        assert self.rehearsed("given: {agents: {301: answers}}\nends: {talk: 301}") == ("passed", "")
        verdict, reason = self.rehearsed("given: {agents: {301: busy}}\nends: {talk: 302}")
        assert (verdict, "what does agent 302 do" in reason) == ("failed", True)

    @pytest.mark.parametrize("first", ["busy", "no_answer", "unreachable", "declined", "paused", "logged_out"])
    def test_the_next_agent_is_asked(self, first: str) -> None:
        assert self.rehearsed(f"given: {{agents: {{301: {first}, 302: answers}}}}\nends: {{talk: 302}}") == (
            "passed",
            "",
        )

    def test_nobody_answers_in_time(self) -> None:
        given = "given: {agents: {301: busy, 302: no_answer, 303: declined}}"
        assert self.rehearsed(f"{given}\npath: [q, memo]\nends: {{voicemail: [302]}}") == ("passed", "")

    def test_nobody_is_logged_in_or_all_have_paused(self) -> None:
        out = "given: {agents: {301: logged_out, 302: logged_out, 303: logged_out}}\n"
        assert self.rehearsed(f"{out}path: [q, closed]") == ("passed", "")
        assert self.rehearsed(f"{out}ends: {{queue: sales}}") == ("failed", "the call ended otherwise")
        some = out.replace("303: logged_out", "303: paused")
        flows = self.FLOWS.replace("no_agents: closed", "no_agents: bye")
        assert self.rehearsed(f"{some}ends: {{hangup: declined}}", flows=flows) == ("passed", "")
        assert self.rehearsed(f"{out}ends: {{hangup: busy}}", flows=flows) == ("passed", "")

    def test_callers_wait_a_while_for_somebody_if_the_queue_says_so(self) -> None:
        out = "given: {agents: {301: logged_out, 302: logged_out, 303: logged_out}}\n"
        text = f"{out}path: [q, closed]"
        assert self.rehearsed(text, self.QUEUE + ", unstaffed: 1m") == ("passed", "")
        assert self.rehearsed(text, self.QUEUE + ", unstaffed: 3m")[0] == "failed"  # max_wait is over before

    def test_agents_who_miss_too_often_are_paused(self) -> None:
        given = "given: {agents: {301: no_answer, 302: declined, 303: unreachable}}\n"
        assert self.rehearsed(f"{given}path: [q, closed]", self.QUEUE + ", pause_after: 2") == ("passed", "")
        busy = given.replace("declined", "busy")  # which is no fault of theirs
        assert self.rehearsed(f"{busy}path: [q, memo]", self.QUEUE + ", pause_after: 2") == ("passed", "")

    def test_a_level_is_asked_when_it_opens(self) -> None:
        queue = "agents: [{agent: 301, level: 2}, 302], levels: {2: 30s}, max_wait: 2m"
        given = "given: {agents: {301: answers, 302: no_answer}}\n"
        assert self.rehearsed(f"{given}ends: {{talk: 301}}", queue) == ("passed", "")
        assert self.rehearsed(f"{given}path: [q, memo]", queue.replace("2m", "29s")) == ("passed", "")

    def test_a_level_without_a_time_is_asked_after_the_lower(self) -> None:
        queue = "agents: [{agent: 301, level: 2}, 302]"
        assert self.rehearsed("given: {agents: {301: answers, 302: answers}}\nends: {talk: 302}", queue)[0] == "passed"

    def test_who_lacks_a_skill_is_not_asked(self) -> None:
        queue = "agents: [301, {agent: 302, skills: [german, french]}], skills: [german]"
        flows = self.FLOWS.replace("queue: sales,", "queue: sales, skills: [french],")
        given = "given: {agents: {301: answers, 302: answers}}\n"
        assert self.rehearsed(f"{given}ends: {{talk: 302}}", queue, flows) == ("passed", "")

    def test_all_ring_together(self) -> None:
        given = "given: {agents: {301: no_answer, 302: answers, 303: busy}}\n"
        queue = self.QUEUE.replace("2m", "10s") + ", strategy: ring-all"
        assert self.rehearsed(f"{given}ends: {{talk: 302}}", queue) == ("passed", "")
        one_by_one = self.QUEUE.replace("2m", "10s")
        assert self.rehearsed(f"{given}ends: {{talk: 302}}", one_by_one)[0] == "failed"

    @pytest.mark.parametrize(
        ("strategy", "talk"), [("in-order", "{voicemail: [302]}"), ("longest-idle", "{talk: 303}")]
    )
    def test_who_is_asked_after_a_miss_is_for_the_strategy(self, strategy: str, talk: str) -> None:
        given = "given: {agents: {301: no_answer, 302: no_answer, 303: answers}}\n"
        queue = f"agents: [301, 302, 303], max_wait: 20s, ring: 5s, strategy: {strategy}, delays: {{no_answer: 0s}}"
        assert self.rehearsed(f"{given}ends: {talk}", queue) == ("passed", "")

    def test_an_outside_phone_needs_no_word_of_its_own(self) -> None:
        queue = "agents: [301]"  # whose second phone is a number outside, for which there is no way
        assert self.rehearsed("given: {agents: {301: answers}}\nends: {talk: 301}", queue) == ("passed", "")

    def test_a_key_leads_out_at_the_first_announcement(self) -> None:
        queue = "agents: [301], keys: {star: left}, announce: {every: 10s, say: Or press star.}, ring: 30s"
        given = "given: {agents: {301: no_answer}}\n"
        press = ', press: ["*"]'
        assert self.rehearsed(f"{given}path: [q, memo]", queue, press=press) == ("passed", "")
        answers = given.replace("no_answer", "answers")  # before the announcement
        told = ("failed", "nobody asked for these keys: *")
        assert self.rehearsed(f"{answers}ends: {{talk: 301}}", queue, press=press) == told

    def test_or_without_announcements_soon_after_joining(self) -> None:
        queue = "agents: [301], keys: {star: left}"
        given = "given: {agents: {301: answers}}\n"
        assert self.rehearsed(f"{given}path: [q, memo]", queue, press=', press: ["*"]') == ("passed", "")

    def test_a_wait_without_end_is_told(self) -> None:
        verdict, reason = self.rehearsed("given: {agents: {301: no_answer}}\nends: {talk: 301}", "agents: [301]")
        assert (verdict, reason) == ("failed", "after 24 hours the call was still not over")


class TestTold:
    def test_the_example_company_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines: list[str] = []
        assert rehearse_all(ROUTING, None, lines.append) == 0
        assert lines[-1] == "5 rehearsals: 5 passed, 0 failed"

    def test_a_failure_shows_both_journeys_side_by_side_with_reasons(self, tmp_path: Path) -> None:
        shutil.copytree(ROUTING, tmp_path / "r")
        file = tmp_path / "r/acme.yaml"
        file.write_text(file.read_text().replace("path: [gate, clock, greet, anna]", "path: [gate, clock, anna]"))
        lines: list[str] = []
        assert rehearse_all(tmp_path / "r", None, lines.append) == 1
        text = "\n".join(lines)
        assert "FAILED   Wrong keys end at Anna: the call went another way" in text
        assert "expected" in text
        assert "walked" in text
        row = next(line for line in lines if line.strip().startswith("≠ anna"))
        assert "greet" in row
        assert "pressed 7" in row

    def test_files_with_errors_are_not_rehearsed(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("cordboard: 1\n")
        lines: list[str] = []
        assert rehearse_all(tmp_path, None, lines.append) == 1
        assert lines[0].startswith(f"{tmp_path}/bad.yaml:")


def test_a_fault_of_ours_in_a_walk_keeps_the_company_back_and_stops_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_text((ROUTING / "acme.yaml").read_text(), path="acme.yaml", company="acme")
    assert loaded.routing is not None

    def broken(*_: object, **__: object) -> None:
        raise KeyError("a\nfault")

    monkeypatch.setattr("callcontrol.workbench.rehearse.Walk", broken)
    found = failing(loaded.routing)
    assert {problem.code for problem in found} == {"E601"}
    assert len(found) == len(loaded.routing.rehearsals)
    assert "could not be walked, by a fault of Cordboard: KeyError" in found[0].message
    assert "\n" not in str(found[0])
