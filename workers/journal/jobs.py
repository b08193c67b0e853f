"""What a ring of the queue ``journal`` does: facts from the stream into the journal, until none is left.

Once a minute it also sees to what nobody rings for: files whose facts are all there, and calls whose end was lost.
"""

from __future__ import annotations

import time
from typing import Any

import redis
import structlog
from sqlalchemy.exc import OperationalError

from workers.bell import ring
from workers.context import Context, current
from workers.journal import ends, files, stream
from workers.journal.ingest import Taken

#: How long one job drains, seconds.
LONGEST = 20.0
#: How often what nobody rings for is seen to, seconds.
HOUSEKEEPING = 60.0

_seen_to_at = float("-inf")


def take_facts() -> bool:
    """Take what is in the stream, for 20 s at most; whether more is left (then it has rung again)."""
    return drain(current(), LONGEST)


def drain(context: Context, seconds: float) -> bool:
    """Take facts for so long at most; whether more may be left."""
    end = time.monotonic() + seconds
    more = True
    try:
        while more and time.monotonic() < end:
            taken, more = stream.take_some(context.database, context.redis, context.routing, time.time())
            _tell_others(context, taken)
        taken, done = files.take_missed(
            context.database, context.state / "facts", context.routing, lambda: time.monotonic() >= end
        )
        _tell_others(context, taken)
        more = more or not done
        if not more:
            see_to_the_house(context, end)
    except (redis.RedisError, OSError) as error:
        _log().warning("facts cannot be read: Redis is away", error=f"{type(error).__name__}: {error}"[:200])
        return False  # the sweeper rings again
    except OperationalError as error:
        _log().error("facts cannot be written down", error=str(error.orig)[:200])
        return False
    if more:
        ring(context.redis_url, "journal")
    return more


def see_to_the_house(context: Context, end: float, *, now: float | None = None) -> None:
    """Remove files whose facts are all there and end calls whose end was lost, if it is time for that.

    ``end``: monotonic, when to stop.  Raises redis.RedisError, OSError, SQLAlchemyError.
    """
    global _seen_to_at
    if now is None:
        if time.monotonic() - _seen_to_at < HOUSEKEEPING:
            return
        _seen_to_at = time.monotonic()
        now = time.time()
    _, taken = files.remove_taken(
        context.database,
        context.redis,
        context.state / "facts",
        context.routing,
        now,
        lambda: time.monotonic() >= end,
    )
    _tell_others(context, taken)
    live = ends.live_calls(context.redis)
    ended, more = 0, True
    while more:
        with context.database.writing() as session:
            some = ends.see_to_ends(session, live, now, routing_of=context.routing)
        ended, more = ended + some, some == ends.MOST and time.monotonic() < end
    if ended:
        ring(context.redis_url, "delivery")
        ring(context.redis_url, "mail")


def _tell_others(context: Context, taken: Taken) -> None:
    """Ring for those who have something to do now; a ring that is lost is the sweeper's."""
    if taken.deliveries:
        ring(context.redis_url, "delivery")
    if taken.mails:
        ring(context.redis_url, "mail")
    for switch in sorted(taken.switches & {one.name for one in context.config.switches}):
        ring(context.redis_url, f"recordings-{switch}")


def _log() -> Any:
    return structlog.get_logger("journal")
