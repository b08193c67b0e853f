"""Bringing a database up to date: the one thing that every command does before it uses the journal.

Several processes may do it at once: the first has the lock of the database, and the others find nothing left to do.
The steps are in ``migrations/versions``; ``tables.py`` is where they lead, and a test compares the two.  Who changes
``tables.py`` writes the next step with ``python -m workers.journal.migrating "what changes"``, and reads it.

The surprise: programs of two releases use one database while a system is upgraded, and longer if the next release is
taken back.  So each step says down to which step programs are ``good_for`` it, the database keeps that word, and a
program that meets steps it has never heard of goes by it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, text

from callcontrol.private import SettingsError
from workers.journal.database import Database, make_private
from workers.journal.tables import Position

#: PostgreSQL's lock for this, by a number that nobody else uses.
_LOCK = 0x636F7264
#: Where the database says which programs can work with it (``position.at``: a step that they know).
GOOD_FOR = "good for"


def configuration(connection: Connection | None = None) -> Config:
    """What alembic must know; nothing of it stands in the working directory."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the database up to date; a file that is not there is made, for its owner only.

    Raises SettingsError if it was made by a newer Cordboard, SQLAlchemyError if it cannot be used, OSError.
    """
    make_private(database.url.render_as_string(hide_password=False))
    with database.engine.connect() as connection:
        connection = connection.execution_options(cordboard_writes=True)
        with connection.begin():
            if not database.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            config = configuration(connection)
            scripts = {one.revision: one for one in ScriptDirectory.from_config(config).walk_revisions()}
            here = set(MigrationContext.configure(connection).get_current_heads())
            if here - scripts.keys():
                if _good_for(connection) in scripts:
                    return  # of the next release, which has only added to it
                raise SettingsError(
                    f"database: it is of a newer Cordboard (revision {', '.join(sorted(here - scripts.keys()))}); "
                    "run that one, or restore what was saved before it was brought up to date"
                )
            command.upgrade(config, revision)
            for head in MigrationContext.configure(connection).get_current_heads():
                _say_good_for(connection, scripts[head].module.good_for)


def _good_for(connection: Connection) -> str | None:
    if not inspect(connection).has_table(Position.__tablename__):
        return None
    return connection.scalar(select(Position.at).where(Position.name == GOOD_FOR))


def _say_good_for(connection: Connection, step: str) -> None:
    if _good_for(connection) != step:
        connection.execute(delete(Position).where(Position.name == GOOD_FOR))
        connection.execute(insert(Position).values(name=GOOD_FOR, at=step))


def write_revision(message: str) -> None:
    """Write the step that leads from the last one to ``tables.py`` as it is now."""
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/journal.db")
        migrate(database)
        with database.engine.connect() as connection:
            config = configuration(connection)
            number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
            command.revision(config, message, autogenerate=True, rev_id=f"r{number:04d}")


if __name__ == "__main__":
    write_revision(sys.argv[1])
