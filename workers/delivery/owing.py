"""Who is to get an event: written in the transaction of the fact it comes from."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from workers.journal.tables import Delivery, Endpoint, Event


def wants(filters: Sequence[str], type_: str) -> bool:
    """Whether an endpoint with these filters is told of a type: by name, ``queue.*``, or none at all for everything."""
    return not filters or type_ in filters or any(one.endswith(".*") and type_.startswith(one[:-1]) for one in filters)


def endpoints_of(session: Session, company: str) -> Sequence[Endpoint]:
    """A company's endpoints to which anything is owed.

    Those that are paused get theirs when they go on; nothing is owed to the disabled and the deleted.
    """
    owed = Endpoint.state.in_(("active", "paused"))
    return session.scalars(select(Endpoint).where(Endpoint.company == company, owed)).all()


def owe(session: Session, event: Event, now: float, endpoints: Sequence[Endpoint] | None = None) -> int:
    """Owe an event that was just written to every endpoint that wants it; how many.

    ``endpoints``: the company's, if they are known already: asked for anew with each event, they cost more than all
    else that a fact does.
    """
    found = endpoints_of(session, event.company) if endpoints is None else endpoints
    wanted = [endpoint for endpoint in found if wants(endpoint.events, event.type)]
    for endpoint in wanted:
        session.add(
            Delivery(
                id=f"dlv_{uuid.uuid4().hex[:24]}",
                event=event.id,
                endpoint=endpoint.id,
                company=event.company,
                created_at=now,
                next_at=now,
            )
        )
    return len(wanted)
