"""Forgetting: deliveries that are over, their attempts, and events that nobody is owed any more.

What is still owed stays, however old it is: it is sent, or somebody deletes the endpoint.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Delete, delete, exists, or_, select
from sqlalchemy.orm import Session

from workers.journal.tables import Attempt, Delivery, Endpoint, Event, Secret

#: How long what is over is kept, seconds.
KEPT = 30 * 86400.0
#: Rows of each table that one call forgets, so that nobody waits for it.
MOST = 500


def prune_some(session: Session, before: float) -> int:
    """Forget some of what was over ``before`` that moment; how many rows went.  In a writing transaction."""
    gone = 0
    over = select(Delivery.id).where(
        Delivery.created_at < before, Delivery.next_at < before, Delivery.state != "pending"
    )
    ids = session.scalars(over.limit(MOST)).all()
    if ids:
        gone += _deleted(session, delete(Attempt).where(Attempt.delivery.in_(ids)))
        gone += _deleted(session, delete(Delivery).where(Delivery.id.in_(ids)))
    owed = exists().where(Delivery.event == Event.id)
    events = session.scalars(select(Event.id).where(Event.created_at < before, ~owed).limit(MOST)).all()
    if events:
        gone += _deleted(session, delete(Event).where(Event.id.in_(events)))
    gone += _deleted(session, delete(Secret).where(Secret.expires_at < before))
    known = or_(exists().where(Delivery.endpoint == Endpoint.id), exists().where(Secret.endpoint == Endpoint.id))
    gone += _deleted(session, delete(Endpoint).where(Endpoint.state == "deleted", ~known))
    return gone


def _deleted(session: Session, statement: Delete) -> int:
    result: Any = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
