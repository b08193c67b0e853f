"""Takes a backup of a running Cordboard.  Stops nothing, keeps nobody waiting for longer than a read does.

In this order, so that nothing falls between: the journal (a snapshot of one moment), then Redis, then files.  What
happens meanwhile is in what comes later; what is in two of them is told apart by its identity when it is taken again.

The journal is always in it as an SQLite file: SQLite's by its own online backup, PostgreSQL's copied row by row out of
one transaction.  So a backup of the one can be restored into the other, and it needs no ``pg_dump`` of the right age.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select

from callcontrol import processes
from workers.backup import leftovers, redis_keys
from workers.backup.archive import ArchiveError, Manifest, Writer, may_be_named, verify
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.stream import BEGINNING, FACTS, position_of
from workers.journal.tables import Base

#: What of STATE means nothing on another machine, or is made anew: by the names of its first part.
NOT_STATE = frozenset(
    {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db-journal", "speech", "running", "loaded", "lock"}
    | {"publishing.lock", "publishing.json", "requests", "redis", "store"}
)
#: Names of files that cordboard.yaml may have, as they stand in it: section and field; "": at the top.
_FILES = (("", "passwords"), ("", "secrets"), ("storage", "credentials"), ("mail", "password_file"))
#: Files beside it that nobody need name: of passwords, of lookups, and what the switch is told.
_BESIDE = frozenset({"passwords.yaml", "secrets.yaml", "switch-vars.xml"})
ROWS = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """What is saved.  ``routing``, ``sounds`` and ``spool`` None: they are not in it."""

    database: Database
    redis: Any
    config: Path
    state: Path
    routing: Path | None
    sounds: Path | None = None
    spool: Path | None = None


def save(source: Source, path: Path) -> Manifest:
    """Write a backup and read it again; what is in it.  Raises ArchiveError, OSError, SQLAlchemyError, RedisError."""
    trees = (source.state, source.routing, source.sounds, source.spool)
    if any(path.is_relative_to(one) for one in trees if one is not None):
        raise ArchiveError(f"{path} would be in the next backup itself: keep backups elsewhere")
    writer = Writer(path)
    try:
        manifest = _save(source, writer)
        writer.finish(manifest)
    except BaseException:
        writer.give_up()
        raise
    return verify(path, 1 << 60)


def _save(source: Source, writer: Writer) -> Manifest:
    left_out: dict[str, str] = {}
    with leftovers.directory(source.state, ".backup-") as scratch:
        copy = scratch / "journal.db"
        schema, position = copy_journal(source.database, copy)
        keys = redis_keys.save(source.redis, position)
        with copy.open("rb") as file:
            writer.add("journal.db", file, copy.stat().st_size)
        writer.add_bytes("redis.json", keys)
        _add_config(source.config, writer, left_out)
        _add_tree(writer, "state", source.state, left_out, NOT_STATE.__contains__)
        for name, directory in (("routing", source.routing), ("sounds", source.sounds), ("spool", source.spool)):
            if directory is not None:
                _add_tree(writer, name, directory, left_out)
    notes = {"spool": source.spool is not None, "keys": keys.count(b'"key"')}
    return Manifest(processes.release(), schema, time.time(), left_out=left_out, notes=notes)


def copy_journal(database: Database, path: Path) -> tuple[str, str]:
    """Copy the journal into an SQLite file for its owner only; its step, and its position in the stream of facts."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if database.is_sqlite:
        # A connection of our own: the copy goes page by page, and begins anew whenever somebody has written.
        with (
            contextlib.closing(sqlite3.connect(f"file:{database.url.database}?mode=ro", uri=True)) as here,
            contextlib.closing(sqlite3.connect(path)) as there,
        ):
            here.execute("BEGIN")  # one moment: in WAL mode a reader keeps it while others write
            here.execute("SELECT count(*) FROM sqlite_master").fetchone()
            here.backup(there)
            there.execute("PRAGMA journal_mode=DELETE")
    copied = Database(f"sqlite:///{path}")
    try:
        if not database.is_sqlite:
            migrate(copied)
            with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as here_sql:
                copy_rows(here_sql, copied)
        with copied.reading() as session:
            heads = MigrationContext.configure(session.connection()).get_current_heads()
            return ",".join(sorted(heads)), position_of(session, FACTS) or BEGINNING
    finally:
        with copied.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        copied.close()
        for more in ("-wal", "-shm"):
            path.with_name(path.name + more).unlink(missing_ok=True)


def copy_rows(here: Any, there: Database) -> None:
    """Copy every row of every table, in an order that no reference minds; ``there`` has the tables, and no rows."""
    for table in Base.metadata.sorted_tables:
        with there.writing() as session:
            session.execute(table.delete())
            result = here.execution_options(stream_results=True, yield_per=ROWS).execute(select(table))
            for rows in result.mappings().partitions(ROWS):
                session.execute(insert(table), [dict(row) for row in rows])


def _add_config(config: Path, writer: Writer, left_out: dict[str, str]) -> None:
    """cordboard.yaml as ``config/cordboard.yaml``, and the files that it names, if they stand beside it."""
    text = config.read_bytes()
    writer.add_bytes("config/cordboard.yaml", text)
    try:
        named_there = set(_named_files(text))
    except (yaml.YAMLError, ValueError, AttributeError, TypeError):
        named_there = set()
        left_out[str(config)] = "it cannot be read, so the files that it names are not known: copy them yourself"
    for named in sorted(named_there | _BESIDE):
        path = config.parent / named
        if Path(named).is_absolute() or not path.resolve().is_relative_to(config.parent.resolve()):
            left_out[str(path)] = "cordboard.yaml names it, and it does not stand beside it: copy it yourself"
        elif path.is_file():
            _add_file(writer, f"config/{os.path.normpath(named)}", path, left_out)


def _named_files(text: bytes) -> Iterator[str]:
    said = yaml.safe_load(text)
    for section, name in _FILES:
        where = said.get(section) if section else said
        if isinstance(where, dict) and isinstance(where.get(name), str):
            yield where[name]
    for switch in said.get("switches") or ():
        if isinstance(switch.get("password_file"), str):
            yield switch["password_file"]
    yield from (one for one in (said.get("music") or {}).values() if isinstance(one, str))


def _add_tree(
    writer: Writer,
    name: str,
    directory: Path,
    left_out: dict[str, str],
    skipped: Callable[[str], bool] = lambda first: False,
) -> None:
    for path in sorted(_walk(directory, left_out)):
        relative = path.relative_to(directory)
        if skipped(relative.parts[0]) or any(part.startswith(".") for part in relative.parts):
            continue
        _add_file(writer, f"{name}/{relative.as_posix()}", path, left_out)


def _walk(directory: Path, left_out: dict[str, str]) -> Iterator[Path]:
    """Every file, and every link to a directory, which is not followed."""

    def complain(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or error.filename == str(directory):
            left_out[str(error.filename)] = str(error.strerror)

    for parent, folders, names in os.walk(directory, onerror=complain):
        yield from (Path(parent) / name for name in names)
        yield from (path for name in folders if (path := Path(parent) / name).is_symlink())


def _add_file(writer: Writer, name: str, path: Path, left_out: dict[str, str]) -> None:
    """One file, as long as it is now.  What is none, or is gone by now, is not in it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        left_out[str(path)] = "it is a link" if path.is_symlink() else str(error.strerror)
        return
    with os.fdopen(descriptor, "rb") as file:
        known = os.fstat(descriptor)
        if not stat.S_ISREG(known.st_mode):
            left_out[str(path)] = "it is no ordinary file"
            return
        if not may_be_named(name, known.st_size):
            left_out[str(path)] = "a file of a backup cannot have such a name, or such a long one"
            return
        writer.add(name, file, known.st_size, known.st_mode)
