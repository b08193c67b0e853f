"""Rehearsals: what passes, what fails and how it is told, what is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from callcontrol.rehearse import rehearse, rehearse_directory
from callcontrol.routing.load import load_text
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

    def test_a_verb_that_is_not_built_is_counted_apart(self) -> None:
        flows = "queues:\n  sales: {agents: [301]}\nflows:\n  main:\n    q: {queue: sales, otherwise: bye}\n"
        flows += "    bye: {hangup: busy}\n"
        assert result(f"{CALL}}}\npath: [q]\nends: {{queue: sales}}", flows) == ("not yet", "needs queue")
        assert result(f"{CALL}}}\npath: [bye]", flows)[0] == "failed"


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


class TestTold:
    def test_the_example_company_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines: list[str] = []
        assert rehearse_directory(ROUTING, None, lines.append) == 0
        assert lines[-1] == "5 rehearsals: 3 passed, 2 not yet, 0 failed"

    def test_a_failure_shows_both_journeys_side_by_side_with_reasons(self, tmp_path: Path) -> None:
        shutil.copytree(ROUTING, tmp_path / "r")
        file = tmp_path / "r/acme.yaml"
        file.write_text(file.read_text().replace("path: [gate, clock, greet, anna]", "path: [gate, clock, anna]"))
        lines: list[str] = []
        assert rehearse_directory(tmp_path / "r", None, lines.append) == 1
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
        assert rehearse_directory(tmp_path, None, lines.append) == 1
        assert lines[0].startswith(f"{tmp_path}/bad.yaml:")
