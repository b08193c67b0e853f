"""Bringing a database up to date: the one thing that every command does before it uses the journal.

Several processes may do it at once: the first has the lock of the database, and the others find nothing left to do.
The steps are in ``migrations/versions``; ``tables.py`` is where they lead, and a test compares the two.  Who changes
``tables.py`` writes the next step with ``python -m workers.journal.migrating "what changes"``, and reads it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from callcontrol.private import SettingsError
from workers.journal.database import Database, make_private

#: PostgreSQL's lock for this, by a number that nobody else uses.
_LOCK = 0x636F7264


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
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            here = set(MigrationContext.configure(connection).get_current_heads())
            if here - known:
                raise SettingsError(
                    f"database: it is of a newer Cordboard (revision {', '.join(sorted(here - known))}); "
                    "run that one, or restore what was saved before it was brought up to date"
                )
            command.upgrade(config, revision)


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
