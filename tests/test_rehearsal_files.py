"""Files of rehearsals beside the routing: where they stand, how they are read, what they change and what not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from callcontrol.routing import files, nodes
from callcontrol.routing.files import check_directory, load_company, load_directory
from callcontrol.routing.load import compiled, load_compiled
from callcontrol.workbench import rehearse as rehearsing
from callcontrol.workbench.rehearse import failing, rehearse_all
from callcontrol.workbench.walk import MOST_EVENTS

ROUTING = Path(__file__).parent.parent / "routing"
NIGHT = """\
At night the company sleeps:
  call: {from: "+79031234567", to: "+74951234567", at: 2026-11-24 23:10}
  path: [gate, clock, night, message]
  ends: {voicemail: [301, 302]}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(ROUTING, tmp_path / "routing")
    (tmp_path / "routing/rehearsals/acme").mkdir(parents=True)
    return tmp_path / "routing"


def write(directory: Path, text: str, name: str = "nights.yaml") -> Path:
    file = directory / "rehearsals/acme" / name
    file.write_text(text, encoding="utf-8")
    return file


def problems(directory: Path) -> list[str]:
    return [str(found).removeprefix(f"{directory}/rehearsals/acme/") for found in check_directory(directory)]


class TestReading:
    def test_they_are_walked_with_those_of_the_companys_own_file(self, directory: Path) -> None:
        write(directory, NIGHT)
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append) == 0
        assert "  passed   At night the company sleeps" in lines
        assert lines[-1] == "6 rehearsals: 6 passed, 0 failed"
        for routing in (load_company(directory).routing, load_company(directory / "acme.yaml").routing):
            assert routing is not None
            assert routing.rehearsals[-1].name == "At night the company sleeps"

    def test_they_are_no_part_of_the_version(self, directory: Path) -> None:
        before = load_directory(directory)[0]
        write(directory, NIGHT)
        after = load_directory(directory)[0]
        assert before.routing is not None
        assert after.routing is not None
        assert before.routing.version == after.routing.version
        whole, stored = compiled(after)
        assert whole.rehearsals == load_compiled(stored).rehearsals
        assert len(whole.rehearsals) == 5

    def test_a_failure_names_the_place_in_its_own_file(self, directory: Path) -> None:
        file = write(directory, "\n" + NIGHT.replace("[gate, clock, night", "[gate, night"))
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append) == 1
        assert any(line.strip() == f"{file}:2:1" for line in lines)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                NIGHT.replace("clock, night", "clock, nihgt"),
                '3:23: E208 the flow "reception" has no step named "nihgt"',
            ),
            (NIGHT.replace("302", "399"), "4:27: E202 there is no person with the extension 399"),
            (NIGHT.replace("+74951234567", "+74959999999"), "2:36: E211 not among the company's numbers: \"+749599999"),
            (NIGHT.replace("ends", "end"), '4:3: E301 a rehearsal has no option "end"; did you mean "ends"?'),
            (NIGHT + NIGHT, '5:1: E102 "At night the company sleeps" stands here twice; first in line 1'),
            (NIGHT.replace("At night the company sleeps", "The CRM is down"), '1:1: E323 the rehearsal "The CRM is do'),
            ("- one\n", "1:1: E303 a file of rehearsals is a mapping of their names to what they are"),
            ("", "1:1: E103 the file is empty"),
            ("rehearsals:\n  " + NIGHT.replace("\n", "\n  ").rstrip() + "\n", "1:1: E303 in a file of their own the"),
            ("a: &b {call: *b}\n", "1:4: E104"),
            ("\ta: b\n", "1:1: E114"),
        ],
    )
    def test_mistakes_are_told_as_those_of_the_section(self, directory: Path, text: str, expected: str) -> None:
        write(directory, text)
        found = problems(directory)
        assert found[0].startswith(f"nights.yaml:{expected}"), found
        assert load_directory(directory)[0].routing is None

    def test_the_same_name_in_two_files_is_a_mistake_in_the_later(self, directory: Path) -> None:
        write(directory, NIGHT, "a.yaml")
        write(directory, NIGHT, "b.yaml")
        told = f'the rehearsal "At night the company sleeps" stands at {directory}/rehearsals/acme/a.yaml:1:1 already'
        assert problems(directory) == [f"b.yaml:1:1: E323 {told}; name one otherwise"]

    def test_what_is_given_for_a_lookup_is_checked_too(self, directory: Path) -> None:
        text = NIGHT.replace("  path", '  given: {lookups: {hotline/who: {manger: "301"}}}\n  path')
        write(directory, text)
        assert [line.split(": ")[1][:4] for line in problems(directory)] == ["E509"]


class TestOfStrangers:
    def test_a_name_is_a_word_and_ends_in_yaml(self, directory: Path) -> None:
        write(directory, NIGHT, "nights.yml")
        write(directory, NIGHT, "a\nb.yaml")
        write(directory, "no rehearsal", ".hidden.yaml")
        write(directory, "no rehearsal", "notes.txt")
        write(directory, NIGHT, "ночь.yaml")
        found = problems(directory)
        assert [line.partition(" ")[2] for line in found] == [
            'E119 "a\\u000ab.yaml": the name of a file of rehearsals has letters, digits, _ and - only, 64 at most',
            "E119 files end in .yaml; rename it to nights.yaml",
        ]

    def test_what_is_no_regular_file_is_not_waited_for(self, directory: Path) -> None:
        os.mkfifo(directory / "rehearsals/acme/pipe.yaml")
        (directory / "rehearsals/acme/gone.yaml").symlink_to("/nowhere")
        (directory / "rehearsals/acme/zero.yaml").symlink_to("/dev/zero")
        (directory / "rehearsals/acme/linked.yaml").symlink_to(write(directory, NIGHT, "elsewhere.txt"))
        assert [line.partition(": ")[2] for line in problems(directory)] == [
            "E118 is a link that leads nowhere",
            "E118 is no regular file",
            "E118 is no regular file",
        ]

    def test_a_huge_file_and_files_that_are_huge_together_are_refused(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(directory, "#" * (nodes.LARGEST_FILE + 1), "huge.yaml")
        assert [line.partition(": ")[2][:4] for line in problems(directory)] == ["E112"]
        half = "#" * (nodes.LARGEST_FILE // 2) + "\n"
        write(directory, half + NIGHT, "huge.yaml")
        write(directory, half + NIGHT.replace("At", "Late at"), "large.yaml")
        assert problems(directory) == [
            "large.yaml:1:1: E112 the rehearsals up to here have more than 4000000 bytes, the most for a company"
        ]
        monkeypatch.setattr(files, "MOST_REHEARSAL_FILES", 1)
        assert "there are 2 files of rehearsals; 1 are the most" in check_directory(directory)[0].message

    def test_a_file_in_place_of_the_directory_is_told(self, directory: Path) -> None:
        shutil.rmtree(directory / "rehearsals/acme")
        (directory / "rehearsals/acme").write_text(NIGHT)
        assert "E118 cannot be read: Not a directory" in str(check_directory(directory)[0])

    def test_rehearsals_of_no_company_are_told_by_check_and_rehearse(self, directory: Path) -> None:
        (directory / "rehearsals/acmee").mkdir()
        (directory / "rehearsals/acme.yaml").write_text(NIGHT)
        told = [
            f'{directory}/rehearsals:1:1: W602 "acme.yaml" belongs to no company: its place is rehearsals/<company>/; '
            "its rehearsals are not walked",
            f'{directory}/rehearsals:1:1: W602 there is no company "acmee" here; did you mean "acme"?; '
            "its rehearsals are not walked",
        ]
        assert [str(found) for found in check_directory(directory)] == told
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append) == 0
        assert [line for line in lines if "W602" in line] == told


class TestChoosingAndForms:
    def test_a_part_of_the_name_chooses(self, directory: Path) -> None:
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append, name="crm") == 0
        assert lines == ["acme: Acme Windows", "  passed   The CRM is down", "1 rehearsal: 1 passed, 0 failed"]
        assert rehearse_all(directory, None, lines.append, name="nothing like it") == 2

    def test_a_walk_can_be_told(self, directory: Path) -> None:
        lines: list[str] = []
        rehearse_all(directory, None, lines.append, name="Wrong keys", verbose=True)
        text = "\n".join(lines)
        assert "0:00.0    hears “Welcome to Acme Windows. For sales press 1, for service press 2.”" in text
        assert "0:03.3    301 (Anna Petrova) rings, for 20 s at most; sees +79031234567" in text
        assert "ends: talk 301" in text

    def test_for_programs_there_is_json(self, directory: Path) -> None:
        file = write(directory, NIGHT.replace("[301, 302]", "[301]"))
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append, name="night", form="json") == 1
        found = json.loads("\n".join(lines))
        ours = found["rehearsals"][-1]
        assert ours == {
            "company": "acme",
            "name": "At night the company sleeps",
            "passed": False,
            "why": "the call ended otherwise",
            "path": str(file),
            "line": 1,
            "column": 1,
            "walked": ["gate", "clock", "night", "message"],
            "ends": "voicemail 301, 302",
        }
        assert (found["passed"], found["failed"], found["errors"]) == (0, 1, 1)
        assert found["problems"][0]["code"] == "E601"
        assert found["problems"][0]["message"] == (
            'the rehearsal "At night the company sleeps" fails: the call ended otherwise: '
            "voicemail 301, 302 and not voicemail 301"
        )
        write(directory, "a: 1\n")
        lines.clear()
        assert rehearse_all(directory, None, lines.append, form="json") == 1
        assert json.loads("\n".join(lines))["problems"][0]["code"] == "E303"

    def test_and_annotations_which_no_name_can_forge(self, directory: Path) -> None:
        write(
            directory,
            NIGHT.replace("[301, 302]", "[301]").replace("At night", '"100% ::error::').replace("sleeps", 'sleeps"'),
        )
        lines: list[str] = []
        assert rehearse_all(directory, None, lines.append, form="github") == 1
        (line,) = lines
        assert line.startswith(f"::error file={directory}/rehearsals/acme/nights.yaml,line=1,col=1,title=E601::")
        assert "100%25 ::error::" in line


class TestBounds:
    def test_a_path_of_many_dots_is_judged_at_once(self) -> None:
        walked = ["a"] * 200
        assert rehearsing._matches(["...", "a"] * 60 + ["..."], walked)
        assert not rehearsing._matches(["...", "a"] * 60 + ["b"], walked)
        assert not rehearsing._matches(["a"] * 5000, walked)

    @pytest.mark.parametrize(
        ("expected", "walked", "fits"),
        [
            ("", "", True),
            ("", "a", False),
            ("...", "", True),
            ("... ...", "a b", True),
            ("a ... c", "a c", True),
            ("a ... c", "a b c d c", True),
            ("a ... c d", "a c c d", True),
            ("... a b", "a a b a b", True),
            ("a ... c", "a b", False),
            ("a b", "a b c", False),
            ("a ...", "b", False),
        ],
    )
    def test_dots_take_in_any_number_of_steps(self, expected: str, walked: str, fits: bool) -> None:
        assert rehearsing._matches(expected.split(), walked.split()) is fits

    def test_a_walk_that_goes_round_and_round_ends(self, directory: Path) -> None:
        file = directory / "acme.yaml"
        text = (
            file.read_text().replace("    wrap_up: 5s\n", "    delays: {busy: 0s}\n").replace("    max_wait: 5m\n", "")
        )
        file.write_text(text)
        write(
            directory,
            "Round:\n"
            '  call: {from: "+79031234567", to: "+74951234567", at: 2026-11-23 10:00, press: ["1"]}\n'
            "  given: {agents: {301: busy, 302: busy, 303: busy}}\n"
            "  ends: {talk: 301}\n",
        )
        routing = load_company(directory).routing
        assert routing is not None
        result = rehearsing.rehearse(routing, routing.rehearsals[-1])
        assert result.verdict == "failed"
        assert result.journey.events <= MOST_EVENTS + 1
        assert "over" in result.reason

    def test_too_many_are_not_walked_to_the_end_and_that_is_said(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(directory, "".join(NIGHT.replace("At night", f"Night {n}") for n in range(100)))
        routing = load_company(directory).routing
        assert routing is not None
        assert failing(routing) == []
        monkeypatch.setattr(rehearsing, "ENOUGH", 200)
        (warning,) = failing(routing)
        assert (warning.code, warning.severity) == ("W601", "warning")
        assert "rehearsals from here on were not walked" in warning.message

    def test_of_many_that_fail_some_are_told(self, directory: Path) -> None:
        bad = NIGHT.replace("clock, night", "night")
        write(directory, "".join(bad.replace("At night", f"Night {n}") for n in range(100)))
        routing = load_company(directory).routing
        assert routing is not None
        found = failing(routing)
        assert len(found) == 51
        assert found[0].message == (
            'the rehearsal "Night 0 the company sleeps" fails: the call went another way: gate, clock, night, message '
            "and not gate, night, message"
        )
        assert "50 rehearsals fail, and those from here on were not walked" in found[-1].message
