"""The journal's database is brought up to date by whoever uses it, from any step, and by several at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from callcontrol.private import SettingsError
from tests.databases import sqlite_url
from workers.journal.database import Database
from workers.journal.migrating import configuration, migrate
from workers.journal.tables import Base

ROOT = Path(__file__).parent.parent


def test_the_steps_lead_exactly_to_the_tables(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_a_database_of_the_first_step_is_brought_up_to_date(database_url: str) -> None:
    database = Database(database_url)
    migrate(database, "r0001")
    migrate(database)
    assert set(Base.metadata.tables) <= set(inspect(database.engine).get_table_names())
    database.close()


def test_what_is_up_to_date_is_left_alone(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("INSERT INTO position (name, at) VALUES ('facts', '7-0')"))
    migrate(database)
    with database.reading() as session:
        assert session.scalar(text("SELECT at FROM position WHERE name = 'facts'")) == "7-0"


def test_a_database_of_a_newer_cordboard_is_refused(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
        session.execute(text("UPDATE position SET at = 'r9999' WHERE name = 'good for'"))
    with pytest.raises(SettingsError, match=r"newer Cordboard \(revision r9999\)"):
        migrate(database)


def test_the_release_before_goes_on_with_a_database_to_which_the_next_has_only_added(database: Database) -> None:
    """It runs while a system is upgraded, and may come back: the database says that it can."""
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    migrate(database)
    with database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "r9999"


def test_every_step_says_which_programs_are_good_for_it() -> None:
    scripts = {one.revision: one for one in ScriptDirectory.from_config(configuration()).walk_revisions()}
    assert {revision for revision, one in scripts.items() if one.module.good_for not in scripts} == set()


def test_several_processes_may_begin_at_once(database_url: str, tmp_path: Path) -> None:
    program = (
        "import sys; from workers.journal.database import Database; from workers.journal.migrating import migrate\n"
        "sys.stdin.read(1); migrate(Database(sys.argv[1]))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, database_url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(3)
    ]
    said = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    for process in processes:
        said.append(process.communicate(timeout=60)[1].decode())
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(said)


def test_an_sqlite_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(sqlite_url(tmp_path / "state"))
        migrate(database)
        with database.writing() as session:
            session.execute(text("INSERT INTO position (name, at) VALUES ('facts', '7-0')"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes
