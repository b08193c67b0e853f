"""Sending again: one delivery, a range of time, or a test.

A delivery is a row, one for each event and endpoint, whatever causes it; so asking twice owes nothing twice, and a
subscriber gets a repeat under the id it knows.  A replay goes in steps of a bounded size: whoever asks goes on with
``next`` until there is none.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from workers.delivery.endpoints import RefusedEndpoint, find
from workers.delivery.owing import APART, wants
from workers.journal.tables import Delivery, Endpoint, Event

#: Events that one step of a replay looks at.
MOST_AT_ONCE = 1000
#: An event may be in the journal earlier than it occurred, if clocks differ: seconds.
CLOCKS_DIFFER = 60.0
TEST = "endpoint.test"


class UnknownDelivery(Exception):
    """The company has no such delivery."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step of a replay: deliveries that are new, those that are sent again, where to go on (None: that was all)."""

    owed: int
    again: int
    next: str | None


def redeliver(session: Session, company: str, id_: str, now: float) -> Delivery:
    """Send one again, at once, with three days of its own.  One that is waiting already is only hurried.

    Raises UnknownDelivery, and RefusedEndpoint if its endpoint is disabled or deleted.
    """
    query = select(Delivery).where(Delivery.id == id_, Delivery.company == company)
    delivery = session.scalar(query)
    if delivery is None:
        raise UnknownDelivery(id_)
    endpoint = session.get_one(Endpoint, delivery.endpoint, with_for_update={"key_share": True})
    _going_on(endpoint)
    session.refresh(delivery, with_for_update={"key_share": True})
    if delivery.state == "pending":
        delivery.next_at = min(delivery.next_at, now)
    else:
        _again(delivery, now)
    return delivery


def replay(
    session: Session,
    company: str,
    endpoint_id: str,
    since: float,
    until: float,
    now: float,
    *,
    types: Sequence[str] = (),
    again: bool = False,
    after: str | None = None,
) -> Replayed:
    """Owe an endpoint the events that occurred from ``since`` until before ``until`` and that it wants.

    Without ``again`` those only that it has not got.  ``types`` narrows what it wants; ``after`` is ``next`` of the
    step before.  Raises UnknownEndpoint, RefusedEndpoint.
    """
    endpoint = find(session, company, endpoint_id, lock=True)
    _going_on(endpoint)
    query = select(Event).where(
        Event.company == company,
        Event.created_at >= since - CLOCKS_DIFFER,
        Event.occurred_at >= since,
        Event.occurred_at < until,
        Event.type != TEST,
    )
    if after is not None:
        moment, id_ = _place(after)
        query = query.where(or_(Event.created_at > moment, and_(Event.created_at == moment, Event.id > id_)))
    if types:
        query = query.where(Event.type.in_(types))
    events = session.scalars(query.order_by(Event.created_at, Event.id).limit(MOST_AT_ONCE)).all()
    wanted = [event for event in events if wants(endpoint.events, event.type)]
    known = {
        delivery.event: delivery
        for delivery in session.scalars(
            select(Delivery).where(Delivery.endpoint == endpoint.id, Delivery.event.in_([one.id for one in wanted]))
        )
    }
    owed = repeated = 0
    for n, event in enumerate(wanted, start=1):
        delivery = known.get(event.id)
        due = now - (len(wanted) - n) * APART
        if delivery is None:
            session.add(_owed(event, endpoint, "replay", due))
            owed += 1
        elif delivery.state in ("failed", "cancelled") or (again and delivery.state == "delivered"):
            _again(delivery, due)
            repeated += 1
    more = len(events) == MOST_AT_ONCE
    return Replayed(owed, repeated, f"{events[-1].created_at!r}/{events[-1].id}" if more else None)


def send_test(session: Session, company: str, endpoint_id: str, now: float) -> Delivery:
    """Owe an endpoint a test event, whatever it is subscribed to.  One that is waiting already is enough.

    Raises UnknownEndpoint, and RefusedEndpoint if nothing is sent to it now.
    """
    endpoint = find(session, company, endpoint_id, lock=True)
    if endpoint.state != "active":
        raise RefusedEndpoint("state", f"it is {endpoint.state}: resume it first")
    waiting = select(Delivery).where(
        Delivery.endpoint == endpoint.id, Delivery.state == "pending", Delivery.cause == "test"
    )
    delivery = session.scalar(waiting.order_by(Delivery.created_at.desc()).limit(1))
    if delivery is not None:
        delivery.next_at = min(delivery.next_at, now)
        return delivery
    event = Event(
        id=f"evt_{secrets.token_hex(12)}",
        company=company,
        call=None,
        type=TEST,
        sequence=None,
        occurred_at=now,
        created_at=now,
        data={"endpoint": endpoint.id},
    )
    session.add(event)
    session.flush()
    delivery = _owed(event, endpoint, "test", now)
    session.add(delivery)
    return delivery


def _going_on(endpoint: Endpoint) -> None:
    if endpoint.state not in ("active", "paused"):
        raise RefusedEndpoint("state", f"it is {endpoint.state}: nothing is owed to it")


def _owed(event: Event, endpoint: Endpoint, cause: str, now: float) -> Delivery:
    return Delivery(
        id=f"dlv_{uuid.uuid4().hex[:24]}",
        event=event.id,
        endpoint=endpoint.id,
        company=endpoint.company,
        cause=cause,
        created_at=now,
        next_at=now,
    )


def _again(delivery: Delivery, now: float) -> None:
    delivery.state, delivery.cause, delivery.next_at, delivery.leased_until = "pending", "replay", now, 0.0
    delivery.first_attempt_at, delivery.delivered_at, delivery.why = None, None, None


def _place(after: str) -> tuple[float, str]:
    moment, _, id_ = after.partition("/")
    try:
        return float(moment), id_
    except ValueError:
        raise RefusedEndpoint("after", "go on with what the step before gave") from None
