"""Who rings: the watcher, when facts come; the sweeper, each second, for whatever is due and nobody rang for.

Both only ring.  What is due stands in the database, the stream and the spool, so that a ring that was lost (a worker
was killed with it, Redis was away, nobody rang at all) is made good for within the sweeper's second.  The housekeeper
does what is to be done each minute or hour, in a process of its own: it may take its time.

Where the surprise lies:

* If ``cordboard work`` runs on several machines, one of them sweeps the database, by a lease in Redis; each looks after
  its own spool.  A lease is also the calendar of the housekeeper: it is left to run out.
* Each round has the kernel's alarm behind it (``running``): a round that hangs is the end of the process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from callcontrol.switchboard import STREAM, Switchboard, connect
from workers import bell
from workers.context import Context
from workers.journal.tables import Delivery, Endpoint, Mail, Position, Segment
from workers.trouble import Trouble

#: Seconds between two sweeps, and after which another takes over from a sweeper that is gone.
EVERY = 1.0
LEASE = 2.0
#: The spool is looked after so often although nothing is known to be due there, if it has files: some grow no more.
SPOOL_EVERY = 10.0
#: The journal and the recordings are rung for so often although they have all there is: they see to their house.
HOUSE_EVERY = 30.0
#: The watcher waits so long for a fact, then looks by itself; milliseconds.
WATCH = 5000
#: Facts gather so long between two rings, seconds: a ring and its transaction cost more than the facts in it.
GATHER = 0.1
#: No round takes so long, seconds.
LONGEST_ROUND = 60
LONGEST_CHORE = 900

SWEEPER = "cordboard:work:sweeper"


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is done ``every`` so many seconds, by one of all machines."""

    name: str
    every: float
    do: Callable[[Context], object]


def _owe_alarms(context: Context) -> None:
    from workers.mail.jobs import owe_alarms

    owe_alarms(context)


def _forget_deliveries(context: Context) -> None:
    from workers.delivery.jobs import prune

    while prune(context.database, time.time()):
        pass


#: What the housekeeper does.  The journal and the recordings see to their own house, once a minute or so, when they are
#: rung for; and the sweeper rings for them, whether anything is due or not.
CHORES: tuple[Chore, ...] = (
    Chore("owe-alarms", 60.0, _owe_alarms),
    Chore("forget-deliveries", 3600.0, _forget_deliveries),
)

#: Segments for which the worker on their switch's host has something to do.
_OWED = ("finished", "uploaded", "verified")


def due(session: Session, now: float) -> set[str]:
    """The queues for which the database has something that is due and that nobody has in hand."""
    found = set()
    # By endpoint: one that is dead may be owed a million, which nobody here reads.
    owed = exists().where(Delivery.endpoint == Endpoint.id, *_free(Delivery, now))
    well = (Endpoint.state == "active", or_(Endpoint.open_until.is_(None), Endpoint.open_until <= now))
    if session.scalar(select(Endpoint.id).where(*well, owed).limit(1)) is not None:
        found.add("delivery")
    if session.scalar(select(Mail.id).where(*_free(Mail, now)).limit(1)) is not None:
        found.add("mail")
    return found


def owed_by_switches(session: Session) -> set[str]:
    """The queues of the switches whose spool has a recording that is finished and not stored."""
    switches = session.scalars(select(Segment.switch).where(Segment.state.in_(_OWED)).distinct())
    return {f"recordings-{switch}" for switch in switches if switch}


def _free(table: type[Delivery] | type[Mail], now: float) -> tuple[ColumnElement[bool], ...]:
    return table.state == "pending", table.next_at <= now, table.leased_until <= now


# ------------------------------------------------------------------------------------------------------ watching


def watch(redis_url: str) -> None:
    """Ring for the journal as soon as there are new facts in the stream."""
    client = connect(redis_url, name="watcher", patience=WATCH / 1000 + 2.0)
    trouble = Trouble("Redis", role="watcher")
    known = ""
    while True:
        signal.alarm(LONGEST_ROUND)
        try:
            if known:
                client.xread({STREAM: known}, count=1, block=WATCH)
            newest = _newest(client)
            trouble.over()
            if newest != known and bell.ring(redis_url, "journal"):
                known = newest
                time.sleep(GATHER)
        except (redis.RedisError, OSError) as error:
            trouble.met(error)


def _newest(client: Any) -> str:
    """The id of the last fact in the stream."""
    entries = client.xrevrange(STREAM, count=1)
    return entries[0][0].decode() if entries else "0-0"


# ------------------------------------------------------------------------------------------------------ sweeping


class Sweeper:
    """Rings for what is due.

    ``switches``: those whose spool is on this machine.  ``owner``: who has the lease, the same after a restart.
    """

    def __init__(self, context: Context, switches: Sequence[str], owner: str) -> None:
        self._context = context
        self._owner = owner
        self._spools = [f"recordings-{switch}" for switch in switches]
        self._board = Switchboard(context.redis_url, name=context.name)
        self._database = Trouble("the database", role="sweeper")
        self._redis = Trouble("Redis", role="sweeper")
        self._spool_at = self._house_at = self._journal_at = 0.0

    def run(self) -> None:
        """Sweep each second."""
        while True:
            signal.alarm(LONGEST_ROUND)
            began = time.monotonic()
            try:
                self.sweep()
                self._redis.over()
            except (redis.RedisError, OSError) as error:
                self._redis.met(error)
            except SQLAlchemyError as error:
                self._database.met(error)
            else:
                self._database.over()
            time.sleep(max(0.0, began + EVERY - time.monotonic()))

    def sweep(self) -> set[str]:
        """One round: ring, and say for which queues.  Raises SQLAlchemyError, redis.RedisError."""
        wanted = self._spool_due()
        if self._board.lease(SWEEPER, self._owner, LEASE):
            wanted |= self._of_database()
        for queue in sorted(wanted):
            bell.ring(self._context.redis_url, queue)
        return wanted

    def _of_database(self) -> set[str]:
        newest = _newest(self._context.redis)
        with self._context.database.reading() as session:
            wanted = due(session, time.time())
            if self._context.config.storage is not None:
                wanted |= owed_by_switches(session)
            behind = newest not in ("0-0", session.scalar(select(Position.at).where(Position.name == "facts")))
        if behind or time.monotonic() >= self._journal_at:
            self._journal_at = time.monotonic() + HOUSE_EVERY
            wanted.add("journal")
        return wanted

    def _spool_due(self) -> set[str]:
        now = time.monotonic()
        if not self._spools or now < self._spool_at:
            return set()
        self._spool_at = now + SPOOL_EVERY
        try:
            with os.scandir(self._context.spool) as entries:
                some = next(entries, None) is not None
        except OSError:  # its disk is away: the worker says so when it is rung for
            some = False
        if not some and now < self._house_at:
            return set()
        self._house_at = now + HOUSE_EVERY
        return set(self._spools)


# -------------------------------------------------------------------------------------------------- housekeeping


class Housekeeper:
    """Does the chores, each when its lease has run out."""

    def __init__(self, context: Context, chores: Sequence[Chore] = CHORES) -> None:
        self._context = context
        self._chores = chores
        self._board = Switchboard(context.redis_url, name=context.name)
        self._turn = 0

    def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            self.round()
            time.sleep(EVERY)

    def round(self) -> list[str]:
        """Do each chore whose time has come; which."""
        done = []
        for chore in self._chores:
            signal.alarm(LONGEST_CHORE)
            self._turn += 1
            me = f"{self._context.name} {self._turn}"  # another each time: so our own lease keeps us away as well
            lease = f"cordboard:work:chore:{chore.name}"
            if not self._board.lease(lease, me, chore.every):
                continue
            try:
                chore.do(self._context)
                done.append(chore.name)
            except Exception:
                _log().exception("a chore failed", chore=chore.name)
                self._board.lease(lease, me, min(chore.every, 60.0))
        signal.alarm(0)
        return done


def _log() -> Any:
    return structlog.get_logger("work")
