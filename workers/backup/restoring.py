"""Makes a Cordboard of a backup: in a directory that is empty or not there, with a Redis and a database that are empty.

All or nothing: everything is verified before anything is written, written beside the directory, and put in its place by
one renaming.  Nothing is ever written over.  What cannot be taken back, Redis and a PostgreSQL, is one transaction each
and comes after all that may fail.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, inspect, select

from callcontrol import outcomes, processes
from workers.backup import redis_keys
from workers.backup.archive import ArchiveError, Manifest, unpack, verify
from workers.backup.saving import ROWS
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.tables import Base

#: So much of the disk stays free, bytes.
_SPARE = 64 * 2**20


class RestoreError(Exception):
    """It cannot be restored there; ``str()`` says why, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was made."""

    manifest: Manifest
    keys: int


def restore(path: Path, into: Path, redis: Any, database: Database | None = None) -> Restored:
    """Restore; ``redis`` None: nothing of Redis; ``database`` None: an SQLite file in STATE.

    Raises RestoreError, ArchiveError, KeysError, SettingsError (a database of a newer Cordboard), OSError,
    SQLAlchemyError, RedisError.
    """
    into = into.resolve()
    _refuse_what_is_there(into, database)
    into.parent.mkdir(parents=True, exist_ok=True)
    manifest = verify(path, max(0, shutil.disk_usage(into.parent).free - _SPARE))
    scratch = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))  # 0700
    try:
        unpack(path, manifest, scratch)
        state = scratch / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        journal = scratch / "journal.db"
        if not journal.exists():
            raise ArchiveError("there is no journal in it")
        copy = Database(f"sqlite:///{journal}")
        try:
            migrate(copy)  # an older one is brought up to date, a newer one refused
            if database is not None:
                _fill(copy, database)
        finally:
            copy.close()
        if database is None:
            journal.rename(state / "journal.db")
        else:
            journal.unlink()
        for more in scratch.glob("journal.db-*"):
            more.unlink()
        kept = scratch / "redis.json"
        keys = redis_keys.load(redis, kept.read_bytes()) if redis is not None and kept.exists() else 0
        kept.unlink(missing_ok=True)
        if into.exists():
            into.rmdir()  # it is empty, or this fails
        scratch.rename(into)
        _sync(into.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Restored(manifest, keys)


def _refuse_what_is_there(into: Path, database: Database | None) -> None:
    if into.exists():
        if (into / "state").is_dir() and (outcomes.holder(into / "state") or processes.everybody(into / "state")):
            raise RestoreError(f"a server runs in {into}: stop it, and restore into another directory")
        if not into.is_dir() or any(into.iterdir()):
            raise RestoreError(f"{into} is not empty, and nothing is written over: name a directory that is not there")
    if database is not None:
        with database.engine.connect() as connection:
            if set(inspect(connection).get_table_names()) & set(Base.metadata.tables):
                raise RestoreError(
                    "the database has tables of a Cordboard, and nothing is written over: name an empty one"
                )


def _fill(copy: Database, database: Database) -> None:
    """Copy the rows into an empty database, in one transaction; its counters go on behind them."""
    migrate(database)
    with copy.engine.connect() as here, database.writing() as session:
        for table in Base.metadata.sorted_tables:
            session.execute(table.delete())
            for rows in here.execute(select(table)).mappings().partitions(ROWS):
                session.execute(insert(table), [dict(row) for row in rows])
            counted = table.autoincrement_column
            if counted is not None and not database.is_sqlite:
                highest = session.scalar(select(func.max(counted)))
                if highest is not None:
                    sequence = func.pg_get_serial_sequence(table.name, counted.name)
                    session.execute(select(func.setval(sequence, highest)))


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
