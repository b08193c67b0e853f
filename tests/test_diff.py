"""``cordboard diff``: what may be compared, what is printed, how it ends, and what the journal says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callcontrol.cli import main
from callcontrol.routing.load import compiled, load_text
from callcontrol.versions import VersionStore, version_of
from tests.facts import Told
from tests.playbook import CALLER, epoch
from tests.test_compare import SMALL
from workers.journal import diffing
from workers.journal.database import Database
from workers.journal.ingest import take
from workers.journal.migrating import migrate

LONGER = SMALL.replace("09:00-18:00", "09:00-19:00")
AT = epoch("2026-11-23 18:30")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("old", SMALL), ("new", LONGER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def stored(folder: Path, text: str = SMALL, *, live: bool = True) -> str:
    """The hash of a version that is stored, and published."""
    _, data = compiled(load_text(text, path="test.yaml", company="test"))
    store, version = VersionStore(folder / "state"), version_of(data)
    store.put("test", version, data)
    if live:
        store.publish("test", version)
    return version


def diff(folder: Path, *args: str, code: int = 1) -> str:
    done: Result = CliRunner().invoke(main, ["diff", *args, "--state", str(folder / "state")])
    assert done.exit_code == code, done.output
    return done.output


def in_journal(folder: Path, facts: Sequence[dict[str, Any]]) -> str:
    """The journal's URL."""
    url = f"sqlite:///{folder / 'journal.db'}"
    database = Database(url)
    migrate(database)
    with database.writing() as session:
        take(session, [dict(fact) for fact in facts], lambda company: None, facts[-1]["at"])
    database.close()
    return url


def message(version: str, number: int, at: float = AT) -> list[dict[str, Any]]:
    """Somebody who leaves a message in the evening."""
    told = Told(f"11111111-0000-4000-8000-{number:012}", company="test", at=at)
    told.tell("call.started", from_=CALLER, to="+74951234567", version=version)
    for step, verb in (("gate", "caller"), ("clock", "hours"), ("night", "play"), ("message", "voicemail")):
        told.tell("step.entered", flow="main", step=step, verb=verb)
    told.tell("message.recorded", for_=["301"], files=["x"], seconds=3)
    return told.tell("call.ended", cause="NORMAL_CLEARING", by="caller", seconds=9, answered=True).facts


class TestVersions:
    def test_two_files_two_directories_and_no_difference(self, folder: Path) -> None:
        assert "Mon–Fri 18:00–19:00" in diff(folder, str(folder / "old/test.yaml"), str(folder / "new/test.yaml"))
        assert "Mon–Fri 18:00–19:00" in diff(folder, str(folder / "old"), str(folder / "new"))
        assert diff(folder, str(folder / "old"), str(folder / "old"), code=0) == "nothing changes (test)\n"

    def test_what_is_live_is_the_old_one_if_nothing_is_said(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored(folder)
        monkeypatch.setenv("CORDBOARD_ROUTING", str(folder / "new"))
        assert "Mon–Fri 18:00–19:00" in diff(folder)
        assert diff(folder, "live", str(folder / "old"), code=0) == "nothing changes (test)\n"

    def test_a_stored_version_by_the_beginning_of_its_name(self, folder: Path) -> None:
        old, new = stored(folder), stored(folder, LONGER, live=False)
        assert "Mon–Fri 18:00–19:00" in diff(folder, f"test@{old[:6]}", f"test@{new}")

    def test_a_file_has_the_name_of_its_company_only_if_several_are_compared(self, folder: Path) -> None:
        (folder / "draft.yaml").write_text(LONGER, encoding="utf-8")
        assert "was called" not in diff(folder, str(folder / "old/test.yaml"), str(folder / "draft.yaml"))

    @pytest.mark.parametrize(
        ("old", "why"),
        [
            ("live", "nothing is published in "),
            ("test@0123", "there is no version 0123 of test in "),
            ("nowhere", "there is no nowhere: write a directory, a file, live, or COMPANY@VERSION"),
        ],
    )
    def test_what_is_not_there_cannot_be_compared(self, folder: Path, old: str, why: str) -> None:
        assert why in diff(folder, old, str(folder / "new"), code=3)

    def test_a_file_with_errors_is_to_be_mended_first(self, folder: Path) -> None:
        (folder / "new/test.yaml").write_text(SMALL.replace("2: team}", "2: teem}"), encoding="utf-8")
        said = diff(folder, str(folder / "old"), str(folder / "new"), code=3)
        assert "mend it first" in said
        assert "test.yaml:24:" in said

    def test_sounds_that_are_not_beside_a_file_do_not_hinder_it(self, folder: Path) -> None:
        (folder / "new/test.yaml").write_text(SMALL.replace("Good night.", "night.wav"), encoding="utf-8")
        assert "night.wav" in diff(folder, str(folder / "old"), str(folder / "new/test.yaml"))

    def test_as_json_it_is_the_same(self, folder: Path) -> None:
        said = json.loads(diff(folder, str(folder / "old"), str(folder / "new"), "--format", "json", "--no-calls"))
        (company,) = said["companies"]
        assert company["company"] == "test"
        assert {line["times"] for line in company["numbers"][0]["changes"]} == {"Mon–Fri 18:00–19:00"}
        assert company["calls"] is None


class TestCalls:
    def test_calls_that_would_have_gone_elsewhere_are_counted_and_listed(self, folder: Path) -> None:
        version = stored(folder)
        calls = [fact for number in range(25) for fact in message(version, number)]
        calls += message(version, 99, at=AT + 3600)
        url = in_journal(folder, calls)
        asked = ("live", str(folder / "new"), "--database", url, "--since", "2026-11-23")
        said = diff(folder, *asked)
        assert (
            "of 26 calls from outside since 2026-11-23 03:00: "
            "25 would have gone elsewhere, 1 alike, 0 cannot be said" in said
        )
        assert said.count("  2026-11-23 18:30  +7903… to +74951234567") == diffing.MOST_LISTED
        assert "+79031234567" not in said
        assert "  2026-11-23 18:30  +79031234567 to +74951234567" in diff(folder, *asked, "--callers")
        assert "and 5 more: --all lists them" in said
        assert diff(folder, *asked, "--all").count(" to +74951234567  ") == 25
        assert "calls from outside" not in diff(folder, *asked, "--no-calls")

    def test_calls_of_another_company_are_not_looked_at(self, folder: Path) -> None:
        version = stored(folder)
        facts = message(version, 1)
        others = [{**fact, "company": "other", "call": fact["call"][:-1] + "7"} for fact in message(version, 2)]
        url = in_journal(folder, [*facts, *others])
        assert "of 1 call from" in diff(folder, "live", str(folder / "new"), "--database", url, "--since", "2026-11-23")

    def test_why_nothing_can_be_said_is_said(self, folder: Path) -> None:
        stored(folder)
        url = in_journal(folder, message("0123456789abcdef", 1))
        said = diff(folder, "live", str(folder / "new"), "--database", url, "--since", "2026-11-23")
        assert "cannot be said of 1: the version that it had is not kept any more" in said

    def test_a_journal_that_is_away_is_said_and_is_no_error(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/nowhere/journal.db"
        said = diff(folder, str(folder / "old"), str(folder / "new"), "--database", url)
        assert "no calls were looked at: there is no journal at" in said
        assert "no calls" not in diff(folder, str(folder / "old"), str(folder / "new"))

    def test_what_a_caller_is_called_moves_no_cursor(self, folder: Path) -> None:
        version = stored(folder)
        facts = message(version, 1)
        facts[0]["data"]["from"] = "\x1b[2J+7903"
        url = in_journal(folder, facts)
        said = diff(folder, "live", str(folder / "new"), "--database", url, "--since", "2026-11-23")
        assert "1 would have gone elsewhere" in said
        assert "\x1b" not in said
