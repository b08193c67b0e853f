"""From the stream ``cordboard:facts`` into the journal: where it was read up to, and whether that still holds.

The position stands in the database and is written with the facts it stands for (:func:`take_some`).  Two readers at
once do not disturb each other: who finds that the position has moved reads again from there.

Where the surprise lies:

* The entry at our position must still be in the stream.  If it is not, Redis was lost, or came back with a clock that
  went back, or the stream was trimmed past us.  Whichever: the stream is read from its beginning (what is there
  already is told by its identity), and the files of facts are owed a reading too (:data:`GAP`, written in the same
  transaction), since what the stream has lost stands there.
* What queues tell of agents is in no file: a Redis that is lost takes with it what nobody had read of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from callcontrol.switchboard import STREAM
from workers.journal.database import Database
from workers.journal.ingest import Taken, take
from workers.journal.tables import Position
from workers.mail.owing import RoutingOf

#: The name of the stream's position, and of the note that files must be read (its ``at``: how far they have been).
FACTS, GAP = "facts", "gap"
#: Facts in one transaction: as many as are quickest, where writers do not wait for each other.
MOST = 500
#: SQLite has one writer at a time, and whoever owes a first attempt waits for us: some 50 ms of it, and no more.
MOST_OF_SQLITE = 100
BEGINNING = "0-0"
#: So many unread entries are counted, and no more.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the journal is behind.  ``gap``: files of facts are owed a reading."""

    position: str
    last: str
    length: int
    unread: int | None  #: entries; None: they cannot be counted, our place is not there any more
    gap: bool


def take_some(
    database: Database, redis: Any, routing_of: RoutingOf, now: float, most: int | None = None
) -> tuple[Taken, bool]:
    """Take the next facts of the stream, ``most`` or as many as are good for the database; what came of them, and
    whether there may be more.

    Raises redis.RedisError, SQLAlchemyError: then nothing of it was done, or it was and the answer got lost.
    """
    most = most or at_once(database)
    with database.reading() as session:
        position = position_of(session, FACTS) or BEGINNING
    lost = position != BEGINNING and not redis.xrange(STREAM, position, position)
    entries = redis.xrange(STREAM, "-" if lost or position == BEGINNING else f"({position}", "+", count=most)
    if not entries and not lost:
        return Taken(), False
    with database.writing() as session:
        if (position_of(session, FACTS, lock=True) or BEGINNING) != position:
            return Taken(), True  # somebody else took them
        taken = take(session, [_line(fields) for _, fields in entries], routing_of, now)
        if entries:
            put(session, FACTS, _text(entries[-1][0]))
        elif lost:
            put(session, FACTS, BEGINNING)
        if lost and position_of(session, GAP) is None:
            put(session, GAP, "{}")
    if lost:
        _log().error(
            "alarm",
            what="the stream of facts has lost our place: it is read from its beginning, and the files are read too",
            position=position,
        )
    return taken, len(entries) == most or lost


def at_once(database: Database) -> int:
    """Facts that one transaction takes."""
    return MOST_OF_SQLITE if database.is_sqlite else MOST


def lag(session: Session, redis: Any) -> Lag:
    """How far the journal is behind the stream.  Raises redis.RedisError."""
    position = position_of(session, FACTS) or BEGINNING
    last = redis.xrevrange(STREAM, count=1)
    known = position == BEGINNING or bool(redis.xrange(STREAM, position, position))
    unread = None
    if known:
        unread = len(redis.xrange(STREAM, f"({position}", "+", count=MOST_COUNTED))
    return Lag(
        position=position,
        last=_text(last[0][0]) if last else BEGINNING,
        length=redis.xlen(STREAM),
        unread=unread,
        gap=position_of(session, GAP) is not None,
    )


def position_of(session: Session, name: str, *, lock: bool = False) -> str | None:
    """A position, or None: nothing was read yet.  ``lock``: nobody else changes it until the transaction's end."""
    if lock and name == FACTS:  # a row that is not there cannot be locked
        _upsert(session, name, BEGINNING, over=False)
    found = select(Position.at).where(Position.name == name)
    return session.scalars(found.with_for_update() if lock else found).first()


def put(session: Session, name: str, at: str) -> None:
    """Write a position."""
    _upsert(session, name, at, over=True)


def _upsert(session: Session, name: str, at: str, *, over: bool) -> None:
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    maker: Any = postgresql.insert if on_postgresql else sqlite.insert
    statement = maker(Position).values(name=name, at=at)
    if over:
        session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": at}))
    else:
        session.execute(statement.on_conflict_do_nothing(index_elements=["name"]))


def _line(fields: Any) -> bytes:
    """The line of an entry; of one that is no fact, all that it has."""
    line = fields.get(b"fact") if isinstance(fields, dict) else None
    return line if isinstance(line, bytes) else repr(fields).encode()


def _text(id_: Any) -> str:
    return id_.decode() if isinstance(id_, bytes) else str(id_)


def _log() -> Any:
    return structlog.get_logger("journal")
