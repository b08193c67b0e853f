"""Takes facts again, from the stream, from the files of STATE, and from files that somebody has kept.

What is in the journal already is left as it is; what is missing is written with everything that follows from it, by the
one road that facts take (``ingest.take``).  So it may be done at any time, twice, and while everything runs.

The surprise: an event that comes of a fact has the same id however often the fact is told, but a subscriber of today
would get the events of last month for the first time.  Unless it is asked for, nobody is told: what would be owed is
taken back in the transaction that owed it.
"""

from __future__ import annotations

import errno
import gzip
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from callcontrol.switchboard import STREAM
from workers.context import Context
from workers.journal import ingest, stream
from workers.journal.database import Database
from workers.journal.ingest import Taken
from workers.journal.tables import Call, Delivery, Event, Fact, Mail
from workers.mail.owing import RoutingOf

#: No line of a fact is longer, bytes; what is longer is none, and is not kept in memory.
_LONGEST = 64 * 1024


@dataclass(slots=True)
class Filled:
    """What was read and taken.  ``calls``: whose rows were made anew of facts that were there."""

    read: int = 0
    taken: Taken = field(default_factory=Taken)
    calls: int = 0


def backfill(context: Context, paths: Sequence[Path], *, tell: bool = False) -> Filled:
    """Take what is missing: from ``paths`` (files, or directories of them), else from STATE's files and the stream.

    Then make the rows of calls of which there are facts and nothing else.  ``tell``: subscribers and mailboxes hear of
    what was missing.  Raises OSError, SQLAlchemyError, RedisError.
    """
    filled = Filled()
    if paths:
        for path in paths:
            _take(context, _lines_of(path), filled, tell)
    else:
        facts = context.state / "facts"
        if facts.is_dir():
            _take(context, _lines_of(facts), filled, tell)
        _take(context, _stream(context.redis), filled, tell)
    _make_rows(context.database, context.routing, filled, tell)
    return filled


def _take(context: Context, lines: Iterable[bytes], filled: Filled, tell: bool) -> None:
    there = iter(lines)
    most = stream.at_once(context.database)
    damaged: OSError | None = None
    while damaged is None:
        some: list[bytes] = []
        try:
            some.extend(islice(there, most))  # with an error it keeps what it has got
        except OSError as error:
            damaged = error
        if not some:
            break
        filled.read += len(some)
        now = time.time()
        with context.database.reading() as session:
            facts = ingest.missing(session, some, now)
        if not facts:
            continue
        with context.database.writing() as session:
            filled.taken.add(_quietly(session, facts, context.routing, tell))
    if damaged is not None:
        raise damaged


def _quietly(session: Session, facts: Sequence[Any], routing_of: RoutingOf, tell: bool) -> Taken:
    """Take facts; without ``tell`` nobody is owed anything for it."""
    # A moment that is nobody else's: what is owed in this transaction is known by it.
    now = time.time()
    while session.scalar(select(exists().where(Delivery.created_at == now) | exists().where(Mail.created_at == now))):
        now = time.time()
    taken = ingest.take(session, facts, routing_of, now)
    if not tell:
        session.flush()
        for table in (Delivery, Mail):
            session.execute(delete(table).where(table.created_at == now, table.attempts == 0, table.state == "pending"))
        taken.deliveries = taken.mails = 0
    return taken


def _make_rows(database: Database, routing_of: RoutingOf, filled: Filled, tell: bool) -> None:
    """Calls that are in the journal as facts only: the facts are taken as if they were new."""
    folded = ~exists().where(Call.id == Fact.call) & ~exists().where(Event.call == Fact.call)
    with database.reading() as session:
        found = select(Fact.call).where(Fact.call != "", Fact.epoch > 0, folded).distinct().order_by(Fact.call)
        calls = list(session.scalars(found))
    for call in calls:
        with database.writing() as session:
            rows = list(session.scalars(select(Fact).where(Fact.call == call).order_by(Fact.epoch, Fact.n)))
            facts = [ingest.fact_of_row(row) for row in rows]
            session.execute(delete(Fact).where(Fact.call == call))
            session.expire_all()
            _quietly(session, facts, routing_of, tell)
            filled.calls += session.get(Call, call) is not None


def _stream(redis: Any) -> Iterator[bytes]:
    after = "-"
    while entries := redis.xrange(STREAM, after, "+", count=1000):
        for id_, fields in entries:
            after = f"({id_.decode()}"
            line = fields.get(b"fact")
            if isinstance(line, bytes):
                yield line


def _lines_of(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        for one in sorted(path.iterdir()):
            name = one.name.removesuffix(".gz").removesuffix(".shipped")
            if not name.startswith(".") and name.endswith((".facts", ".jsonl")):
                yield from _lines_of(one)
        return
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        while line := _read(file, path):
            # A piece without its end is being written, or was cut off: nobody's yet.
            if line.endswith(b"\n") and line.strip():
                yield line.rstrip(b"\n")


def _read(file: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    """The next line.  Raises OSError with the file's name; what was read before is good."""
    try:
        return file.readline(_LONGEST)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        why = f"it is damaged, or no gzip file ({error}); what came before was taken"
        raise OSError(errno.EIO, why, str(path)) from None
