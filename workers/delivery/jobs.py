"""The job of the bell ``delivery``: sends what is due, for some twenty seconds, and rings again if more is left.

One thread talks to the database: it writes what came of attempts and claims the next ones in one transaction, while
others wait for subscribers.  A dead or slow endpoint never slows another:

* an endpoint has at most two deliveries under way, one as long as this process does not know it to be quick;
* endpoints that failed last time, or were slow, share threads of their own (SUSPECT_THREADS);
* a job waits at its end for those it has asked, and meanwhile goes on for the endpoints that it knows to be quick;
* endpoints that a process does not know yet have half of its threads at most.

A process that was told to stop claims nothing more, and writes what comes of those it has asked, as long as that may
take (PATIENCE): what is left in its hands then is due again when its lease is over.

Where the surprise lies: a ring during a job is answered after it.  So the job looks for itself what else has become due
as long as anything is under way, every LOOK seconds.
"""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from workers.bell import ring
from workers.context import current
from workers.delivery import claims
from workers.delivery.claims import Claimed, DueEndpoint
from workers.delivery.pruning import KEPT, prune_some
from workers.delivery.reaching import Reach
from workers.delivery.sending import Outcome, attempt
from workers.delivery.settling import settle
from workers.journal.database import Database
from workers.stopping import told

#: Attempts at a time: of endpoints that are well, and of those that are not; of the former, of such as are not known.
THREADS, SUSPECT_THREADS = 16, 8
STRANGERS = 8
#: An attempt that took longer was slow, seconds.
SLOW = 2.0
#: How long a job claims, and how often it looks for more while it waits, seconds.
JOB, LOOK = 20.0, 0.1
#: What ends within so many seconds is written together, if the disk is quick.
GATHER = 0.03
#: How long a process that was told to stop waits for subscribers: less than it is given (``running``), seconds.
PATIENCE = 6.0
#: Endpoints whose manners a process remembers.
MOST_KNOWN = 10_000

Send = Callable[[Claimed], Outcome]


def deliver() -> bool:
    """Send what is due.  True: more is left, and the bell was rung for it."""
    more = _here().drain()
    if more:
        ring(current().redis_url, "delivery")
    return more


def due(session: Session, now: float) -> bool:
    """Whether there is something to ring for."""
    return bool(claims.due(session, now))


def prune(database: Database, now: float, keep: float = KEPT) -> int:
    """Forget what is over for longer than ``keep`` seconds, some of it; how many rows went.  0: nothing is left.

    For the sweeper, now and then: each call is one short transaction.
    """
    with database.writing() as session:
        return prune_some(session, now - keep)


@functools.cache
def _here() -> Deliverer:
    reach = Reach(current().config.subscribers)
    return Deliverer(current().database, lambda claimed: attempt(reach, claimed.letter))


class Deliverer:
    """The deliveries of one process.  ``send`` makes one attempt and never raises; it runs in a thread.

    ``clock``: UTC epoch, seconds.
    """

    def __init__(
        self,
        database: Database,
        send: Send,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        seconds: float = JOB,
        stopping: Callable[[], bool] = told,
    ) -> None:
        self._database = database
        self._send = send
        self._clock = clock
        self._rng = rng or random.Random()
        self._seconds = seconds
        self._stopping = stopping
        self._quick: dict[str, bool] = {}
        self._write_at = 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[Future[Outcome], tuple[Claimed, bool]] = {}

    def drain(self) -> bool:
        """Send what is due, until there is nothing or the time is over; whether something is left.

        Raises SQLAlchemyError if the database is away for long: what was sent meanwhile is sent again then.
        """
        self._pool = self._pool or ThreadPoolExecutor(THREADS + SUSPECT_THREADS, thread_name_prefix="deliver")
        until = time.monotonic() + self._seconds
        results: list[tuple[Claimed, Outcome]] = []
        in_vain = 0
        stop_at: float | None = None
        while True:
            over = time.monotonic() >= until
            if stop_at is None and self._stopping():
                stop_at = time.monotonic() + PATIENCE
            found = self._due(results) if stop_at is None else []
            wanted, suspects = self._wanted(found, over=over)
            renewed = self._to_renew() if stop_at is None else []
            if results or wanted or renewed:
                began = time.monotonic()
                claimed = self._write(results, wanted, renewed)
                results = []
                self._write_at = time.monotonic() + max(GATHER, min(LOOK, time.monotonic() - began))
                in_vain = 0 if claimed else in_vain + 1
                for one in claimed:
                    self._under_way[self._pool.submit(self._send, one)] = (one, one.endpoint in suspects)
            if stop_at is not None and (not self._under_way or time.monotonic() >= stop_at):
                return False  # whoever is left sees to the rest
            if not self._under_way:
                if over or not found or in_vain >= 3:  # in vain: others were quicker, and will see to it
                    return bool(found) and over
                continue
            results = self._ended()

    def _due(self, results: Sequence[tuple[Claimed, Outcome]]) -> list[DueEndpoint]:
        ended = Counter(claimed.endpoint for claimed, _ in results)
        with self._database.reading() as session:
            return claims.due(session, self._clock(), ended=ended)

    def _ended(self) -> list[tuple[Claimed, Outcome]]:
        """Wait for something to end, LOOK at most; what has.

        Not before as long has passed as the last writing took: a slow disk, which others want too, gets fewer and
        larger transactions.
        """
        ended, _ = wait(self._under_way, timeout=LOOK, return_when=FIRST_COMPLETED)
        if ended and (early := self._write_at - time.monotonic()) > 0:
            ended, _ = wait(self._under_way, timeout=early)
        results = []
        for future in ended:
            claimed, _ = self._under_way.pop(future)
            outcome = future.result()
            results.append((claimed, outcome))
            if len(self._quick) >= MOST_KNOWN:
                self._quick.clear()
            self._quick[claimed.endpoint] = outcome.delivered and outcome.seconds < SLOW
        return results

    def _wanted(self, found: Sequence[DueEndpoint], *, over: bool) -> tuple[dict[str, int], set[str]]:
        """How many to claim of each endpoint, and which are suspects; see the module for the reasons."""
        busy = Counter(claimed.endpoint for claimed, _ in self._under_way.values())
        waited_for = sum(suspect for _, suspect in self._under_way.values())
        room = {True: SUSPECT_THREADS - waited_for, False: THREADS - (len(self._under_way) - waited_for)}
        strangers = STRANGERS - sum(
            not suspect and claimed.endpoint not in self._quick for claimed, suspect in self._under_way.values()
        )
        wanted: dict[str, int] = {}
        suspects: set[str] = set()
        turns = list(found)
        self._rng.shuffle(turns)
        for turn in (1, 2):
            for endpoint in turns:
                quick = self._quick.get(endpoint.id)
                suspect = endpoint.failures > 0 or quick is False
                if over and (suspect or not quick or not waited_for):
                    continue
                most = min(endpoint.room, (1 if suspect or not quick else 2) - busy[endpoint.id])
                if turn > most or room[suspect] <= 0 or (quick is None and not suspect and strangers <= 0):
                    continue
                wanted[endpoint.id] = turn
                room[suspect] -= 1
                strangers -= quick is None and not suspect
                if suspect:
                    suspects.add(endpoint.id)
        return wanted, suspects

    def _to_renew(self) -> list[Claimed]:
        """What is under way for long: all that is worth it at once, if one must be, so that few transactions do."""
        now = self._clock()
        left = [(one.leased_until - now, one) for one, _ in self._under_way.values()]
        if not any(seconds <= claims.RENEWED_AT for seconds, _ in left):
            return []
        return [one for seconds, one in left if seconds <= claims.LEASE - 1.0]

    def _write(
        self, results: Sequence[tuple[Claimed, Outcome]], wanted: dict[str, int], renewed: Sequence[Claimed]
    ) -> list[Claimed]:
        """Write what came of attempts, hold what is under way for longer, and claim the next ones."""
        for trial in range(3):
            try:
                with self._database.writing() as session:
                    settle(session, results, self._rng)
                    held = claims.renew(session, renewed, self._clock())
                    claimed = claims.claim(session, self._clock(), wanted)
                by_delivery = {one.delivery: one for one in held}
                for future, (one, suspect) in self._under_way.items():
                    self._under_way[future] = (by_delivery.get(one.delivery, one), suspect)
                return claimed
            except SQLAlchemyError as error:
                _log().error("what came of deliveries could not be written", error=str(error)[:300], trial=trial)
                time.sleep(0.2)
        return self._write_each(results)

    def _write_each(self, results: Sequence[tuple[Claimed, Outcome]]) -> list[Claimed]:
        """One by one, so that one that cannot be written holds up no other: it will be sent again.

        Raises SQLAlchemyError if none can be.
        """
        failed = None
        written = 0
        for one in results:
            try:
                with self._database.writing() as session:
                    settle(session, [one], self._rng)
                written += 1
            except SQLAlchemyError as error:
                failed = error
        if failed is not None and not written:
            raise failed
        return []


def _log() -> Any:
    return structlog.get_logger("delivery")
