"""The first file of a new company: nothing is wrong with it, in any country, and nothing that is there is lost."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import phonenumbers
import pytest
import yaml
from click.testing import CliRunner, Result

from callcontrol.cli import main
from callcontrol.routing.countries import public_holidays
from callcontrol.routing.load import Loaded, load_text
from callcontrol.workbench import cli, keeping, scaffold
from callcontrol.workbench.rehearse import rehearse
from callcontrol.workbench.scaffold import Draft, guessed, sample_number, text

TODAY = dt.date(2026, 11, 26)
ACME = guessed(Draft("acme", number="+74951234567", title="Acme Windows", person="Anna Petrova"))


def loaded(written: str) -> Loaded:
    return load_text(written, path="acme.yaml", company="acme", sounds=frozenset())


def uncommented(written: str) -> str:
    """With everything that stands there as an example."""
    return re.sub(
        r"^( *)# (outbound:|  trunk|  allow|  emergency|email|mobile|forward|2027)", r"\1\2", written, flags=re.M
    )


class TestEveryCountry:
    @pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS))
    def test_check_finds_nothing_and_the_rehearsals_pass(self, country: str) -> None:
        draft = guessed(Draft("acme", number=sample_number(country), country=country))
        written = text(draft, TODAY)
        found = loaded(written)
        assert found.problems == []
        assert found.routing is not None
        assert [rehearse(found.routing, one).verdict for one in found.routing.rehearsals] == ["passed", "passed"]
        assert ("holidays: closed" in written) == bool(public_holidays(country, range(2025, 2041)))

    @pytest.mark.parametrize("country", ["RU", "DE", "US", "FR", "IN", "SA", "BR"])
    def test_its_examples_are_as_good_without_their_comment_signs(self, country: str) -> None:
        written = uncommented(text(guessed(Draft("acme", number=sample_number(country), country=country)), TODAY))
        assert "\noutbound:\n" in written
        assert "\n    mobile: " in written
        assert [str(problem) for problem in loaded(written).problems] == []

    @pytest.mark.filterwarnings("error")
    def test_a_country_whose_holidays_are_known_for_some_years_only_is_no_warning_of_a_library(self) -> None:
        public_holidays.cache_clear()
        assert loaded(text(guessed(Draft("acme", number=sample_number("IN"))), TODAY)).problems == []

    @pytest.mark.parametrize("day", [dt.date(2026, 12, 29), dt.date(2027, 5, 7), dt.date(2041, 3, 1)])
    def test_the_rehearsals_are_on_a_day_on_which_the_company_is_open(self, day: dt.date) -> None:
        found = loaded(text(ACME, day))
        assert found.routing is not None
        for rehearsal in found.routing.rehearsals:
            assert day < rehearsal.at.date() <= day + dt.timedelta(days=14)
            assert rehearse(found.routing, rehearsal).verdict == "passed"


class TestGuesses:
    @pytest.mark.parametrize(
        ("number", "country", "zone", "language"),
        [
            ("+74951234567", "RU", "Europe/Moscow", "ru"),
            ("+79031234567", "RU", "Europe/Moscow", "ru"),
            ("+73432123456", "RU", "Asia/Yekaterinburg", "ru"),
            ("+493012345678", "DE", "Europe/Berlin", "de"),
            ("+12125550123", "US", "America/New_York", "en"),
            ("+14155550123", "US", "America/Los_Angeles", "en"),
            ("+18005550123", "US", "America/New_York", "en"),
            ("+41446681800", "CH", "Europe/Zurich", "de"),
            ("+48221234567", "PL", "Europe/Warsaw", "en"),
            ("+525512345678", "MX", "America/Mexico_City", "es"),
        ],
    )
    def test_a_number_tells_country_zone_and_language(
        self, number: str, country: str, zone: str, language: str
    ) -> None:
        found = guessed(Draft("acme", number=number))
        assert (found.country, found.timezone, found.language) == (country, zone, language)

    def test_what_is_given_is_not_guessed(self) -> None:
        given = Draft("acme", "+74951234567", "KZ", "Asia/Almaty", "en", "Acme", "Anna")
        assert guessed(given) == given

    def test_a_number_of_no_country_tells_nothing(self) -> None:
        found = guessed(Draft("acme-shop", number="+80012345678"))
        assert (found.country, found.timezone, found.title) == ("", "", "Acme Shop")

    def test_a_week_is_the_countrys(self) -> None:
        for country, week in {"RU": "mon-fri", "SA": "sun-thu", "IR": "sat-thu"}.items():
            draft = guessed(Draft("acme", number=sample_number(country), country=country))
            assert f"    {week}: 09:00-18:00\n" in text(draft, TODAY)

    def test_emergency_numbers_are_the_countrys(self) -> None:
        assert '  emergency: ["112", "999"]\n' in text(guessed(Draft("a", number="+442079460000")), TODAY)


class TestText:
    @pytest.mark.parametrize(
        "title",
        [
            "O'Neill & Sons, Inc.",
            'The "Best" #1: {brand}',
            "Окна — двери",
            "窗户公司",
            "- x",
            "yes",
            "C:\\x",
            "Yahoo!",
        ],
    )
    def test_any_name_comes_back_as_it_was(self, title: str) -> None:
        found = loaded(text(replace(ACME, title=title, person=title), TODAY))
        assert [str(problem) for problem in found.problems] == []
        assert found.routing is not None
        assert (found.routing.title, found.routing.people["301"].name) == (title, title)

    def test_callers_hear_the_companys_name_where_it_can_be_spoken(self) -> None:
        assert "Acme Windows" in yaml.safe_load(text(ACME, TODAY))["flows"]["reception"]["greet"]["menu"]
        strange = yaml.safe_load(text(replace(ACME, title="{Acme}"), TODAY))
        assert "Acme" not in strange["flows"]["reception"]["greet"]["menu"]

    def test_a_language_without_words_here_is_marked_where_to_write_them(self) -> None:
        written = text(replace(ACME, language="pl"), TODAY)
        assert written.count("# write what callers hear in pl") == 3
        assert loaded(written).problems == []
        assert "write what callers hear" not in text(replace(ACME, language="de-AT"), TODAY)

    def test_every_language_has_all_words(self) -> None:
        assert set(scaffold._LANGUAGES) | {"en"} == set(scaffold._WORDS)
        for words in scaffold._WORDS.values():
            assert len(words) == 4
            assert "{title}" in words[0]
            assert words[1].count("1") == words[1].count("2") == 1

    def test_the_same_answers_give_the_same_file(self) -> None:
        assert text(ACME, TODAY) == text(ACME, TODAY)


def run(*arguments: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, ["new", *arguments], input=answers)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORDBOARD_ROUTING", raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
class TestCommand:
    def test_a_number_is_enough(self, here: Path) -> None:
        result = run("acme", "--number", "+7 (495) 123-45-67")
        assert result.exit_code == 0, result.output
        assert result.output.startswith(
            "Wrote routing/acme.yaml: country RU (guessed), timezone Europe/Moscow (guessed), language ru (guessed).\n"
        )
        for command in ("check routing", "rehearse routing", "passwords routing", "serve --routing routing"):
            assert f"  cordboard {command}" in result.output
        assert "There is no cordboard.yaml here" in result.output
        assert sorted(file.name for file in (here / "routing").iterdir()) == ["acme.yaml", "cordboard.schema.json"]
        first = (here / "routing/acme.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=cordboard.schema.json"
        assert (here / "routing/cordboard.schema.json").read_text() == CliRunner().invoke(main, ["schema"]).output
        assert CliRunner().invoke(main, ["check", "routing"]).output == ""
        assert "2 passed, 0 failed" in CliRunner().invoke(main, ["rehearse", "routing"]).output
        assert "cordboard.schema.json" not in run("beta", "--number", "+74951234568").output

    def test_a_given_country_reads_the_number(self, here: Path) -> None:
        assert run("acme", "--number", "8 (495) 123-45-67", "--country", "RU").exit_code == 0
        assert '"+74951234567"' in (here / "routing/acme.yaml").read_text()

    def test_everything_can_be_given(self, here: Path) -> None:
        options = [
            "--country",
            "KZ",
            "--timezone",
            "Asia/Almaty",
            "--language",
            "en",
            "--title",
            "A B",
            "--person",
            "C",
        ]
        result = run(
            "acme",
            "--directory",
            "pbx/companies",
            "--number",
            "+74951234567",
            *options,
            "--title",
            "A B",
            "--person",
            "C",
        )
        assert result.exit_code == 0
        assert "country KZ, timezone Asia/Almaty, language en." in result.output
        written = yaml.safe_load((here / "pbx/companies/acme.yaml").read_text())
        assert (written["company"], written["people"][301]["name"]) == ("A B", "C")

    def test_the_way_to_a_configuration_is_told_only_where_there_is_none(self, here: Path) -> None:
        (here / "cordboard.yaml").write_text("switches: []\n")
        assert "There is no" not in run("acme", "--number", "+74951234567").output

    def test_without_a_number_nobody_guesses(self, here: Path) -> None:
        result = run("acme")
        assert result.exit_code == 2
        assert "--number" in result.output
        assert not (here / "routing").exists()

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("number", "5", 'E307 "5" is not a telephone number'),
            ("country", "UK", "did you mean GB?"),
            ("timezone", "Moscow", 'did you mean "Europe/Moscow"?'),
            ("language", "english", "E320"),
            ("title", "x" * 101, "E310"),
            ("person", "a${b}", "E310"),
        ],
    )
    def test_a_wrong_answer_is_refused_in_the_words_of_check(
        self, here: Path, option: str, value: str, message: str
    ) -> None:
        options = {"number": "+74951234567"} | {option: value}
        result = run("acme", *(part for name, given in options.items() for part in (f"--{name}", given)))
        assert result.exit_code == 2
        assert f"--{option}: " in result.output
        assert message in result.output
        assert not (here / "routing").exists()

    def test_an_id_that_is_none_is_refused(self, here: Path) -> None:
        for name in ("Acme", "../acme", "a b", "x" * 40):
            result = run(name, "--number", "+74951234567")
            assert result.exit_code == 2
            assert "a company's id is" in result.output
        assert list(here.iterdir()) == []

    def test_a_file_that_is_there_is_never_touched(self, here: Path) -> None:
        (here / "routing").mkdir()
        for name in ("acme.yaml", "other.yml"):
            (here / "routing" / name).write_text("mine")
            result = run(name.partition(".")[0], "--number", "+74951234567")
            assert result.exit_code == 1
            assert f"routing/{name} is there already" in result.output
            assert (here / "routing" / name).read_text() == "mine"

    def test_a_number_of_another_company_is_refused(self) -> None:
        assert run("acme", "--number", "+74951234567").exit_code == 0
        result = run("beta", "--number", "+74951234567")
        assert result.exit_code == 2
        assert "E502 +74951234567 is owned by another company already: routing/acme.yaml:" in result.output

    def test_on_a_terminal_what_is_left_out_is_asked_for_until_it_is_right(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "_asks", lambda: True)
        answers = ["+4930", "+4930123456", "", "Berlin", "", "", "Gamma & Söhne", "Eva"]
        result = run("gamma", answers="\n".join(answers) + "\n")
        assert result.exit_code == 0, result.output
        assert 'E307 "+4930" is not a telephone number' in result.output
        assert 'did you mean "Europe/Berlin"?' in result.output
        assert "Country, two capital letters [DE]:" in result.output
        assert "(guessed)" not in result.output
        written = yaml.safe_load((here / "routing/gamma.yaml").read_text())
        assert (written["company"], written["languages"], written["people"][301]["name"]) == (
            "Gamma & Söhne",
            ["de"],
            "Eva",
        )

    def test_a_disk_that_fails_leaves_nothing(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fails)
        result = run("acme", "--number", "+74951234567")
        assert result.exit_code == 1
        assert "No space left" in result.output
        assert list((here / "routing").iterdir()) == []

    def test_a_file_that_comes_meanwhile_stays(self, here: Path) -> None:
        (here / "acme.yaml").write_text("theirs")
        with pytest.raises(FileExistsError):
            keeping.write_new(here / "acme.yaml", "ours")
        assert [file.read_text() for file in here.iterdir()] == ["theirs"]
        keeping.write_new(here / "beta.yaml", "ours")
        assert stat.S_IMODE((here / "beta.yaml").stat().st_mode) & 0o600 == 0o600
