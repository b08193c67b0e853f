"""Every call gets its one end here, also when nobody was there to tell it.

Controllers tell the ends of calls, their own and those of calls that nobody owned, and one of them compares every few
seconds what should live with what the switch knows (``server.reconcile``).  This is for what is left: a call that
lives in the journal, has been silent for very long, and of which Redis knows nothing any more (it was lost, and the
files with the call's beginning had gone), so that no controller will ever miss it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workers.journal.tables import Call, Fact
from workers.journal.telling import tell
from workers.mail.owing import RoutingOf

#: A call of which nobody has heard for so long, and which nobody knows, is over, seconds.
SILENCE = 6 * 3600.0
#: So many are ended in one transaction: others wait to write meanwhile.
MOST = 20
#: The cause of an end that nobody saw.
LOST = "LOST"


def see_to_ends(
    session: Session,
    live: Collection[str],
    now: float,
    *,
    silence: float = SILENCE,
    routing_of: RoutingOf | None = None,
) -> int:
    """End the calls that have been silent for ``silence`` seconds and are not in ``live``; how many.

    ``live``: every call that Redis says to be live, on any switch (``cordboard:live:*``); if Redis is away, do not ask.
    """
    heard = func.max(Fact.at)
    silent = (
        select(Call.id, Call.company, Call.switch, Call.began, Call.answered_at, heard.label("heard"))
        .join(Fact, Fact.call == Call.id)
        .where(Call.state == "live", Call.began < now - silence)
        .group_by(Call.id)
        .having(heard < now - silence)
        .order_by(Call.began)
    )
    ended = 0
    lost = [row for row in session.execute(silent) if row.id not in live][:MOST]
    for row in sorted(lost, key=lambda row: row.id):  # everybody locks calls in this order
        data = {
            "cause": LOST,
            "by": "nobody",
            "seconds": max(0, int(row.heard - row.began)),
            "answered": row.answered_at is not None,
            "heard": row.heard,
        }
        ended += tell(
            session,
            "call.ended",
            data,
            company=row.company,
            call=row.id,
            about="lost",
            at=now,
            switch=row.switch,
            routing_of=routing_of,
        )
        _log().warning("the end of a call was lost", call=row.id, company=row.company, heard=row.heard)
    return ended


def live_calls(redis: Any) -> set[str]:
    """Every call that Redis says to be live.  Raises redis.RedisError."""
    found: set[str] = set()
    for key in redis.scan_iter(match="cordboard:live:*", count=1000):
        found.update(call.decode("utf-8", "replace") for call in redis.hkeys(key))
    return found


def _log() -> Any:
    return structlog.get_logger("journal")
