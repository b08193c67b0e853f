"""Makes a Cordboard of a backup: in a directory that is empty or not there, with a Redis and a database that are empty.

All or nothing: everything is verified before anything is written, written beside the directory, and put in its place by
one renaming.  Nothing is ever written over.  Redis and a PostgreSQL are one transaction each and come after all that
may fail; what Redis was given is taken back if the renaming fails, and the database forgets what was not committed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, inspect, select
from sqlalchemy.orm import Session

from callcontrol import outcomes, processes
from workers.backup import leftovers, redis_keys
from workers.backup.archive import ArchiveError, Manifest, sync, unpack, verify
from workers.backup.saving import NOT_STATE, ROWS
from workers.journal.database import Database
from workers.journal.migrating import GOOD_FOR, migrate
from workers.journal.tables import Base, Position

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
    _refuse_what_is_there(into, redis, database)
    into.parent.mkdir(parents=True, exist_ok=True)
    manifest = verify(path, max(0, shutil.disk_usage(into.parent).free - _SPARE))
    for name in manifest.files:
        top, _, rest = name.partition("/")
        if top == "state" and rest.partition("/")[0] in NOT_STATE:
            raise ArchiveError(f"{name} is nothing that a backup has")
    with leftovers.directory(into.parent, ".cordboard-restore-") as scratch:
        unpack(path, manifest, scratch)
        state = scratch / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        kept = scratch / "redis.json"
        keys = kept.read_bytes() if redis is not None and kept.exists() else b"[]"
        kept.unlink(missing_ok=True)
        with _journal(scratch / "journal.db", state, database):
            loaded = redis_keys.load(redis, keys)
            try:
                scratch.rename(into)  # which is not there, or empty, or this fails
            except BaseException:
                redis_keys.unload(redis, keys)
                raise
        sync(into.parent)
    return Restored(manifest, loaded)


@contextlib.contextmanager
def _journal(kept: Path, state: Path, database: Database | None) -> Iterator[None]:
    """Bring the journal into STATE or the database: there, it counts when all else is done, and not if that fails."""
    if not kept.exists():
        raise ArchiveError("there is no journal in it")
    copy = Database(f"sqlite:///{kept}")
    try:
        migrate(copy)  # an older one is brought up to date, a newer one refused
        if database is None:
            with copy.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            migrate(database)
            with copy.engine.connect() as here, database.writing() as session:
                _fill(here, database, session)
                copy.close()
                _forget(kept)
                yield
            return
    finally:
        copy.close()
    kept.rename(state / "journal.db")
    _forget(kept)
    yield


def _forget(kept: Path) -> None:
    for one in (kept, *kept.parent.glob(f"{kept.name}-*")):
        one.unlink(missing_ok=True)


def _refuse_what_is_there(into: Path, redis: Any, database: Database | None) -> None:
    if into.exists():
        if (into / "state").is_dir() and (outcomes.holder(into / "state") or processes.everybody(into / "state")):
            raise RestoreError(f"a server runs in {into}: stop it, and restore into another directory")
        if not into.is_dir() or any(into.iterdir()):
            raise RestoreError(f"{into} is not empty, and nothing is written over: name a directory that is not there")
        if into.is_mount():
            raise RestoreError(f"{into} is a disk of its own, which nothing can be renamed to: name a directory in it")
    redis_keys.refuse(redis)
    if database is not None:
        _refuse_rows(database)


def _refuse_rows(database: Database) -> None:
    """Empty tables are none: a restore that was stopped may have made them."""
    with database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        for table in Base.metadata.sorted_tables:
            rows = select(table).limit(1)
            if table.name == Position.__tablename__:
                rows = rows.where(Position.name != GOOD_FOR)
            if table.name in there and connection.execute(rows).first() is not None:
                raise RestoreError("the database has rows of a Cordboard, and nothing is written over: name another")


def _fill(here: Connection, database: Database, session: Session) -> None:
    """Copy the rows into an empty database, in one transaction; its counters go on behind them."""
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
