"""``cordboard recordings``, and what the queue's job does with the settings of a whole machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callcontrol.cli import main
from tests.recordings import House, wav
from workers import context
from workers.journal.tables import Position
from workers.recordings import jobs
from workers.recordings.local_store import LocalStore


@pytest.fixture(scope="module")
def local_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    with LocalStore(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A machine with its settings in variables."""
    house = House(tmp_path)
    (tmp_path / "esl.password").write_text("secret")
    (tmp_path / "esl.password").chmod(0o600)
    (tmp_path / "cordboard.yaml").write_text(
        "switches:\n  - {name: switch1, password_file: esl.password}\n" + local_store.yaml()
    )
    monkeypatch.setenv("CORDBOARD_CONFIG", str(tmp_path / "cordboard.yaml"))
    monkeypatch.setenv("CORDBOARD_DATABASE", f"sqlite:///{tmp_path / 'journal.db'}")
    monkeypatch.setenv("CORDBOARD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CORDBOARD_SPOOL", str(house.spool))
    context.current.cache_clear()
    yield house
    context.current.cache_clear()


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["recordings", *words])
    assert result.exit_code == code, result.output
    return result


def test_a_recording_is_listed_fetched_and_deleted(house: House, tmp_path: Path) -> None:
    file = house.talk(data := wav(0.5))
    house.fact("recording.stopped", file, seconds=0.5)
    assert not jobs.see_to_spool()
    assert house.left() == []
    [row] = json.loads(run("--json", "--company", "acme").stdout)
    assert (row["id"], row["state"], [one["state"] for one in row["segments"]]) == (
        file.recording,
        "available",
        ["stored"],
    )
    assert file.recording in run().stdout
    assert run("--company", "other").stdout == "no recordings\n"
    run("get", file.recording, str(tmp_path / "out.wav"))
    assert (tmp_path / "out.wav").read_bytes() == data
    run("get", file.recording, str(tmp_path / "out.wav"), code=1)
    run("delete", file.recording)
    run("delete", file.recording, code=1)
    run("get", file.recording, str(tmp_path / "other.wav"), code=1)
    assert "on the command line" in house.told("recording.deleted")[0]["why"]


def test_what_waits_after_a_failure_is_tried_again_at_once(house: House, local_store: LocalStore) -> None:
    file = house.talk()
    house.fact("recording.stopped", file, seconds=0.25)
    local_store.stop()
    try:
        jobs.see_to_spool()
    finally:
        local_store.start()
    note = house.spool / f"{file.name}.json"
    later = json.loads(note.read_text())
    note.write_text(json.dumps({**later, "next_at": later["next_at"] + 200}))
    jobs.see_to_spool()
    assert file.name in house.left()
    assert run("retry").stdout == "1 to be tried again\n"
    jobs.see_to_spool()
    assert house.left() == []


def test_retention_is_looked_after_every_ten_minutes_by_the_first_switch(house: House) -> None:
    file = house.talk()
    house.fact("recording.stopped", file, seconds=0.25)
    jobs.see_to_spool()
    with house.database.writing() as session:
        row = session.get_one(type(house.recording(file)), file.recording)
        row.keep_until = 1.0
    jobs.see_to_spool()
    assert house.recording(file).state == "available"
    with house.database.writing() as session:
        session.get_one(Position, "recordings-forgotten").at = "1.0"
    jobs.see_to_spool()
    assert house.recording(file).state == "deleted"


def test_keys_that_others_can_read_are_refused_and_not_quoted(house: House, local_store: LocalStore) -> None:
    local_store.credentials.chmod(0o644)
    try:
        jobs._store_of.cache_clear()
        result = run("get", "rec_x", "out.wav", code=3)
    finally:
        local_store.credentials.chmod(0o600)
    assert "chmod 600" in result.stderr
    assert local_store.secret_key not in result.output


def test_help_needs_no_settings_and_without_them_it_says_in_lines_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Fetch RECORDING" in run("get", "--help").output
    assert "It names your switches:\n" in run("get", "rec_1", "file.wav", code=3).stderr
