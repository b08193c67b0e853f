"""The way to the database: SQLite in WAL mode by default, PostgreSQL by URL.

A :class:`Database` is made once per process (never inherited over a fork: :meth:`Database.renew`).  ``reading`` and
``writing`` are transactions; a writing one takes SQLite's lock at its beginning, so that it never fails at its end
because somebody else wrote meanwhile.  What it cannot do raises ``sqlalchemy.exc.SQLAlchemyError``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from callcontrol.private import SettingsError

#: How long a writer waits for SQLite's lock, and anybody for a connection to PostgreSQL, seconds.
PATIENCE = 30.0
CONNECTING = 5


class Database:
    """One database.  ``url`` as SQLAlchemy writes it: ``sqlite:////var/lib/cordboard/journal.db``,
    ``postgresql://user@host/cordboard``.  Raises SettingsError if it is none of these.

    ``hurry``: somebody waits for the answer, so a lock, or a statement, may take so many seconds and no more.
    """

    def __init__(self, url: str, *, hurry: float | None = None) -> None:
        try:
            parsed = make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
        except ArgumentError:
            raise SettingsError(
                "database: write sqlite:////path/to/journal.db or postgresql://user@host/name"
            ) from None
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise SettingsError(f"database: {parsed.get_backend_name()} is neither sqlite nor postgresql")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.url = parsed
        more: dict[str, Any] = {}
        if self.is_sqlite:
            if not parsed.database:
                raise SettingsError("database: an SQLite database needs a file")
            more = {"connect_args": {"timeout": hurry or PATIENCE}}
        else:
            more = {"pool_size": 5, "max_overflow": 10, "pool_pre_ping": True}
            more["connect_args"] = {"connect_timeout": CONNECTING}
        if hurry is not None:
            more["pool_timeout"] = hurry
        self.engine: Engine = create_engine(parsed, **more)
        if self.is_sqlite:
            event.listen(self.engine, "connect", functools.partial(_prepare, hurry or PATIENCE))
            event.listen(self.engine, "begin", functools.partial(_begin, hurry or PATIENCE))
        elif hurry is not None:
            event.listen(self.engine, "connect", functools.partial(_hurry, hurry))
        self._session = sessionmaker(self.engine, expire_on_commit=False)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that writes nothing."""
        with self._session() as session:
            yield session

    @contextlib.contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[Session]:
        """A transaction that is committed at its end, or rolled back by what is raised in it.

        ``wait``: without it, one that would have to wait for SQLite's lock fails at once.
        """
        with self._session() as session:
            session.connection(execution_options={"cordboard_writes": True if wait else "at once"})
            with contextlib.closing(session):
                yield session
                session.commit()

    def renew(self) -> None:
        """Forget the connections that were inherited over a fork, without closing the parent's."""
        self.engine.dispose(close=False)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def default_url(state: Path) -> str:
    """The database when nothing else is said: a file of the state directory."""
    return f"sqlite:///{state / 'journal.db'}"


def _prepare(patience: float, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves (`_begin`)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(patience * 1000)}"):
        connection.execute(f"PRAGMA {pragma}")


def _hurry(seconds: float, connection: Any, _record: Any) -> None:
    for what in ("statement_timeout", "lock_timeout"):
        connection.execute(f"SET {what} = {int(1000 * seconds)}")
    connection.commit()


def _begin(patience: float, connection: Any) -> None:
    writes = connection.get_execution_options().get("cordboard_writes")
    if not writes:
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite's own waiting sleeps longer and longer, up to 100 ms, and whoever came last is served first: with a few
    # writers on a slow disk that is seconds.  So it is asked again at once, and again.
    until = time.monotonic() + (0.0 if writes == "at once" else patience)
    raw = connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.001, 0.004))
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")


def make_private(url: str) -> None:
    """Make an SQLite file that only its owner can read, if there is none.  Raises OSError."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and database.database:
        path = Path(database.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
