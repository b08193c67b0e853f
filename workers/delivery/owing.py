"""Who is to get an event: written in the transaction of the fact it comes from."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from workers.journal.tables import Delivery, Endpoint, Event

#: What is owed at once is due in its order: so many seconds apart.
APART = 1e-6


def wants(filters: Sequence[str], type_: str) -> bool:
    """Whether an endpoint with these filters is told of a type: by name, ``queue.*``, or none at all for everything."""
    return not filters or type_ in filters or any(one.endswith(".*") and type_.startswith(one[:-1]) for one in filters)


def owe(session: Session, events: Sequence[Event], now: float) -> int:
    """Owe events that were just written (and flushed) to every endpoint that wants them; how many deliveries that is.

    Those that are paused get theirs when they go on; nothing is owed to the disabled and the deleted.  By one query and
    one statement, however many events: meanwhile nobody else writes on SQLite.
    """
    if not events:
        return 0
    endpoints: dict[str, list[tuple[str, Sequence[str]]]] = {}
    of_companies = select(Endpoint.company, Endpoint.id, Endpoint.events).where(
        Endpoint.company.in_({event.company for event in events}), Endpoint.state.in_(("active", "paused"))
    )
    for company, endpoint, filters in session.execute(of_companies):
        endpoints.setdefault(company, []).append((endpoint, filters))
    owed = [
        {
            "id": f"dlv_{uuid.uuid4().hex[:24]}",
            "event": event.id,
            "endpoint": endpoint,
            "company": event.company,
            "created_at": now,
            "next_at": now - (len(events) - n) * APART,
        }
        for n, event in enumerate(events, start=1)
        for endpoint, filters in endpoints.get(event.company, ())
        if wants(filters, event.type)
    ]
    if owed:
        session.execute(insert(Delivery), owed)
    return len(owed)
