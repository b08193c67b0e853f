"""``cordboard try``: what is asked and what not, how it is told, and that what it prints is a rehearsal that passes."""

from __future__ import annotations

import datetime as dt
import os
import pty
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.routing.files import load_company
from callcontrol.routing.load import Beside, load_text
from callcontrol.routing.model import Routing
from callcontrol.workbench import walk
from callcontrol.workbench.rehearse import rehearse
from callcontrol.workbench.trying import Said, Stopped, Tried, Trying, Wanted, Wrong, as_yaml, named, said
from tests.routings import _Company

ROUTING = Path(__file__).parent.parent / "routing"
NOW = dt.datetime(2026, 11, 23, 10, 0, 30)
CALL = ("--from", "+79031234567", "--to", "+74951234567", "--at", "2026-11-23 10:00")


@pytest.fixture(scope="module")
def acme() -> Routing:
    routing = load_company(ROUTING).routing
    assert routing is not None
    return routing


def tried(
    routing: Routing | None, answers: Sequence[str | None], **known: Any
) -> tuple[Tried, list[str], list[Wanted]]:
    """A call that somebody tries who says ``answers``: the result, what was told, what was asked."""
    assert routing is not None
    left = list(answers)
    told: list[str] = []
    asked: list[Wanted] = []

    def ask(wanted: Wanted) -> str | None:
        asked.append(wanted)
        line = left.pop(0)
        return None if line is None else wanted.meant(line)

    options = {"caller": "+79031234567", "called": "+74951234567", "at": "2026-11-23 10:00", **known}
    found = Trying(routing, Said(**options), now=NOW, ask=ask, say=told.append).run()
    assert not left, f"nobody asked for {left}"
    return found, told, asked


class TestAsking:
    def test_only_what_is_left_out_is_asked_for(self, acme: Routing) -> None:
        found, told, asked = tried(acme, ["off", "2", "b", "n", "n", "a"])
        assert [wanted.text for wanted in asked] == [
            "Is the switch shut on?",
            "Which keys does the caller press? Enter for none",
            "What does the phone of 302 (Boris Orlov) do?",
            "What does the phone of 303 (Chiara Rossi) do?",
            "What does the phone +390612345678 of 303 (Chiara Rossi) do?",
            "What does the phone of 301 (Anna Petrova) do?",
        ]
        assert found.end == "{talk: 301}"
        assert told[-1] == "   0:19.1    they talk"
        assert "   0:00.6    302 is busy" in told

    def test_the_call_itself_is_asked_for_too(self, acme: Routing) -> None:
        found, told, asked = tried(acme, ["", "1", ""], caller=None, called=None, at=None)
        assert [wanted.option for wanted in asked[:3]] == ["--from", "--to", "--at"]
        assert [choice.answer for choice in asked[1].choices] == ["+74951234567", "+78005550101"]
        assert asked[1].choices[1].meaning == "Toll-free, flow hotline"
        assert told[0] == "           Monday, 2026-11-23 10:00 in Europe/Moscow"
        assert found.rehearsal["call"]["from"] == "anonymous"
        assert found.end == "{hangup: busy}"  # who hides the number is blocked

    def test_what_cannot_be_read_is_asked_again(self, acme: Routing) -> None:
        answers = ["12", "8 903 123-45-67", "25:00", "23:10", "off"]
        found, told, _ = tried(acme, answers, caller=None, at=None)
        assert told[0] == "  '12' is not a number: write +74951234567, or anonymous"
        assert "'25:00' is not a moment" in told[1]
        assert found.rehearsal["call"]["from"] == "+79031234567"
        assert found.rehearsal["call"]["at"] == dt.datetime(2026, 11, 23, 23, 10)

    def test_keys_are_shown_with_what_they_mean(self, acme: Routing) -> None:
        _, told, asked = tried(acme, ["off", "none", "44", "", "a"])
        meanings = {choice.answer: choice.meaning for choice in asked[1].choices}
        assert meanings["1"] == "sales"
        assert meanings["*"] == "greet"
        assert meanings["302"] == "Boris Orlov"
        assert sum("hears “Welcome to Acme" in line for line in told) == 3

    def test_first_letters_and_numbers_will_do(self) -> None:
        from callcontrol.workbench.trying import _choices

        wanted = Wanted("?", "", _choices("answers", "busy", "no_answer", "not_found"))
        meant = {line: wanted.meant(line) for line in ("a", "B", "2", "no_", "n", "9", "0", "", "answers ", "x")}
        assert meant == {
            "a": "answers",
            "B": "busy",
            "2": "busy",
            "no_": "no_answer",
            "n": None,
            "9": None,
            "0": None,
            "": None,
            "answers ": "answers",
            "x": None,
        }

    def test_a_place_in_a_queue_is_end_enough(self, acme: Routing) -> None:
        found, _, asked = tried(acme, ["off", "1", "e"])
        assert asked[-1].text == "What does agent 301 (Anna Petrova) do with the call?"
        assert found.end == "{queue: sales}"
        found, _, _ = tried(acme, ["off", "1", "b", "a"])
        assert found.end == "{talk: 302}"

    def test_a_lookup_brings_values_or_fails(self, acme: Routing) -> None:
        answers = ["123456", "answers", "302", "a"]
        found, told, asked = tried(acme, answers, called="+78005550101")
        assert found.rehearsal["given"]["lookups"] == {"who": {"manager": "302"}}
        assert asked[1].text == "What comes of the lookup who?"
        assert any("asks https://crm.acme.test/orders/123456 for manager, for 2 s at most" in line for line in told)

    def test_nobody_who_answers_ends_it_and_nothing_more_is_told(self, acme: Routing) -> None:
        told: list[str] = []
        known = Said("+79031234567", "+74951234567", "2026-11-23 10:00")
        with pytest.raises(Stopped) as stopped:
            Trying(acme, known, now=NOW, ask=lambda wanted: None, say=told.append).run()
        assert stopped.value.wanted.option == "--switch shut=on"
        assert len(told) == 1


class TestSaidBeforehand:
    @staticmethod
    def given(**more: Any) -> Said:
        nothing: dict[str, Any] = {"caller": None, "called": None, "at": None, "country": "RU"}
        nothing |= dict.fromkeys(("press", "phones", "agents", "lookups", "switches"), ())
        return said(**{**nothing, **more})

    def test_options_are_read(self) -> None:
        found = self.given(
            phones=("301=answers", "+7 916 111-22-33=b"),
            agents=("302=log",),
            lookups=("who:manager=301", "who:name=A=B", "hotline/other=failed"),
            switches=("shut=on",),
        )
        assert found.phones == {"301": "answers", "+79161112233": "busy"}
        assert found.agents == {"302": "logged_out"}
        assert found.lookups == {"who": {"manager": "301", "name": "A=B"}, "hotline/other": "failed"}
        assert found.switches == {"shut": "on"}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"phones": ("301",)},
            {"phones": ("301=",)},
            {"phones": ("=busy",)},
            {"phones": ("301=sleeps",)},
            {"phones": ("301=paused",)},
            {"press": ("12a",)},
            {"lookups": ("who=301",)},
            {"lookups": ("who:manager",)},
            {"lookups": ("who=failed", "who:manager=301")},
            {"switches": ("shut=perhaps",)},
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(Wrong):
            self.given(**wrong)


def walks_again(text: str, source: str, name: str, company: str = "random") -> None:
    """The text loads as a file of rehearsals, and passes."""
    beside = (Beside("tried.yaml", text.encode()),)
    loaded = load_text(source, path=f"{company}.yaml", company=company, beside=beside)
    assert loaded.routing is not None, [str(found) for found in loaded.problems]
    rehearsal = next(one for one in loaded.routing.rehearsals if one.name == name)
    result = rehearse(loaded.routing, rehearsal)
    assert result.verdict == "passed", f"{result.reason}\n{text}\n{result.walked}"


class TestAsARehearsal:
    @pytest.mark.parametrize(
        "name", ["Simple", 'It says "no"', "a: b # c", "back\\slash", "- [x]", "ночь", "yes", "301", "..."]
    )
    def test_any_name_is_quoted_rightly(self, acme: Routing, name: str) -> None:
        found, _, _ = tried(acme, ["off", "2", "b", "n", "n", "a"])
        walks_again(found.text(name), (ROUTING / "acme.yaml").read_text(), name, "acme")

    def test_its_own_name_is_one_that_is_free(self, acme: Routing) -> None:
        found, _, _ = tried(acme, ["off", "1", "e"])
        name = named(acme, found.rehearsal)
        assert name == "+79031234567 to +74951234567 at Mon 10:00: queue sales"
        source = (ROUTING / "acme.yaml").read_text() + "  " + as_yaml(name, found.rehearsal).replace("\n", "\n  ")
        again = load_text(source.rstrip(" "), path="acme.yaml", company="acme").routing
        assert again is not None
        assert named(again, found.rehearsal) == f"{name} (2)"

    def test_whatever_was_tried_in_whatever_company_passes_as_a_rehearsal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(walk, "MOST_EVENTS", 2000)  # a wait without end is given up at once
        walked = 0
        for seed in range(14):
            r = random.Random(seed)
            source = _Company(r).file()
            routing = load_text(source, path="random.yaml", company="random").routing
            if routing is None:
                continue

            def ask(wanted: Wanted, r: random.Random = r) -> str | None:
                if wanted.default == "":
                    return r.choice([*(choice.answer for choice in wanted.choices), "", "12"])
                return r.choice([choice.answer for choice in wanted.choices]) if wanted.choices else "301"

            at = f"2026-{r.randint(10, 12)}-{r.randint(1, 28):02} {r.randint(0, 23):02}:30"
            for number in ("+74951234567", "+78005550101"):
                caller = r.choice(["anonymous", "+79160000001", "+79031234567", "302"])
                known = Said(caller, number, at)
                try:
                    found = Trying(routing, known, now=NOW, ask=ask, say=lambda line: None).run()
                except Wrong:  # a wait without end
                    continue
                walked += 1
                walks_again(found.text("tried"), source, "tried")
        assert walked > 15


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(ROUTING, tmp_path / "routing")
    return tmp_path / "routing"


WHOLE = (*CALL, "--switch", "shut=off", "--press", "2", "--phone", "302=busy", "--phone", "303=n", "--phone", "301=a")


class TestCommand:
    def run(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["try", *arguments])
        return result.exit_code, result.output

    def test_without_a_terminal_what_is_left_out_is_named(self, directory: Path) -> None:
        code, text = self.run(str(directory), *CALL, "--switch", "shut=off", "--press", "2", "--phone", "302=busy")
        assert code == 2
        assert "cordboard: What does the phone of 303 (Chiara Rossi) do? Say it: --phone 303=answers\n" in text
        assert "one of: answers, busy, no_answer, unreachable, declined" in text

    def test_what_was_said_wrongly_is_told(self, directory: Path) -> None:
        code, text = self.run(str(directory), "--from", "x")
        assert (code, "'x' is not a number" in text) == (2, True)
        assert self.run(str(directory), "--phone", "301=dances")[0] == 2
        assert self.run(str(directory), "--company", "nobody")[0] == 2

    def test_it_is_kept_with_those_that_were_kept_before(self, directory: Path) -> None:
        code, text = self.run(str(directory), *WHOLE, "--save", "Service is away")
        kept = directory / "rehearsals/acme/tried.yaml"
        assert (code, f"kept in {kept}" in text) == (0, True)
        kept.write_text(kept.read_text().rstrip("\n") + "  # no line end")
        assert self.run(str(directory / "acme.yaml"), *WHOLE, "--save", "Once more")[0] == 0
        assert (
            CliRunner().invoke(main, ["rehearse", str(directory)]).output.endswith("7 rehearsals: 7 passed, 0 failed\n")
        )
        before = kept.read_bytes()
        code, text = self.run(str(directory), *WHOLE, "--save", "Once more")
        assert (code, "E102" in text or "E323" in text) == (1, True)
        code, text = self.run(str(directory), *WHOLE, "--save", "a ${secret}")
        assert (code, "it is not kept" in text) == (1, True)
        assert kept.read_bytes() == before
        assert [file.name for file in kept.parent.iterdir()] == ["tried.yaml"]

    def test_a_file_that_is_linked_stays_linked(self, directory: Path, tmp_path: Path) -> None:
        (directory / "rehearsals/acme").mkdir(parents=True)
        first = as_yaml("First", tried(load_company(directory).routing, ["off", "1", "e"])[0].rehearsal)
        (tmp_path / "real.yaml").write_text(first)
        (directory / "rehearsals/acme/tried.yaml").symlink_to(tmp_path / "real.yaml")
        code, text = self.run(str(directory), *WHOLE, "--save", "Linked")
        assert code == 0, text
        assert (tmp_path / "real.yaml").read_text().startswith(f'{first}"Linked":')

    def test_on_a_terminal_it_asks_explains_and_ends_kindly(self, directory: Path) -> None:
        ours, theirs = pty.openpty()
        command = [str(Path(sys.executable).parent / "cordboard"), "try", str(directory), *CALL]
        lines = b"off\n?\n2\nb\n?\nn\nn\na\n"
        os.write(ours, lines)
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "           1               sales\n" in done.stdout
        assert "           3  no_answer    does not answer\n" in done.stdout
        assert "  ends: {talk: 301}\n" in done.stdout
        os.write(ours, b"off\n\x04")
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("The walk ends here, and nothing is kept.\n")
        os.close(ours)
        os.close(theirs)
