"""Which deliveries are due, and whose they are: a worker claims a delivery for LEASE seconds, then sends it.

A claim is one conditional UPDATE that is committed before anything is sent; two workers never have the same delivery
at the same time.  An attempt that takes longer has its claim renewed, so a lease may be short, and what a killed worker
had is due again soon: until then its place among the AT_ONCE of an endpoint is lost to an endpoint that is well.  At
most AT_ONCE of an endpoint are claimed at a time, by all workers together, and one while it is being probed.  Works
alike on SQLite, where writers come one by one, and on PostgreSQL, where the endpoint's row is locked meanwhile (whoever
finds it locked passes on).

Where the surprise lies: a dead endpoint may have a million deliveries that are due.  Nothing here reads them: whether
an endpoint has any is one look into the index (endpoint, state, next_at).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from workers.delivery.sending import Letter, body_of
from workers.journal.tables import Delivery, Endpoint, Event, Secret

#: Seconds that a claim holds, and that are left of it when it is renewed.
LEASE, RENEWED_AT = 6.0, 3.0
#: Deliveries of one endpoint that are under way at a time.
AT_ONCE = 2
#: Failures in a row after which an endpoint is left alone for a while, then probed with one delivery.
FAILURES = 5


@dataclass(frozen=True, slots=True)
class DueEndpoint:
    """An endpoint with deliveries that are due, and how many may be claimed now."""

    id: str
    failures: int
    room: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours until ``leased_until``, a moment that also tells our claim from any other."""

    delivery: str
    endpoint: str
    company: str
    leased_until: float
    letter: Letter


def due(
    session: Session,
    now: float,
    *,
    ended: Mapping[str, int] | None = None,
    only: Sequence[str] | None = None,
    lock: bool = False,
) -> list[DueEndpoint]:
    """The endpoints that have deliveries to be sent now, and room for them.

    ``ended``: how many of an endpoint are claimed still, but about to be settled; ``only``: no others; ``lock``: keep
    them until the transaction ends, and leave out those that others keep.
    """
    is_due = exists().where(Delivery.endpoint == Endpoint.id, _due(now))
    query = select(Endpoint.id, Endpoint.failures).where(
        Endpoint.state == "active", or_(Endpoint.open_until.is_(None), Endpoint.open_until <= now), is_due
    )
    if only is not None:
        query = query.where(Endpoint.id.in_(only))
    if lock:  # not FOR UPDATE: whoever owes a delivery meanwhile refers to the row
        query = query.with_for_update(key_share=True, skip_locked=True, of=Endpoint)
    found = session.execute(query.order_by(Endpoint.id)).all()
    under_way: Counter[str] = Counter()
    if found:  # counted after the lock was got: until then others may have claimed.  Not grouped by the database,
        # or SQLite would walk through all that an endpoint ever got
        under_way.update(session.scalars(select(Delivery.endpoint).where(Delivery.leased_until > now)))
        under_way.subtract(ended or {})
    rooms = [
        DueEndpoint(endpoint, failures, (1 if failures >= FAILURES else AT_ONCE) - under_way[endpoint])
        for endpoint, failures in found
    ]
    return [one for one in rooms if one.room > 0]


def claim(session: Session, now: float, wanted: Mapping[str, int]) -> list[Claimed]:
    """Claim up to so many due deliveries of each endpoint, the oldest first.  In a writing transaction."""
    found = due(session, now, only=sorted(wanted), lock=True) if wanted else []
    if not found:
        return []
    oldest = [_oldest(n, now).label(f"oldest_{n}") for n in range(AT_ONCE)]  # for all endpoints by one query
    rows = session.execute(select(Endpoint.id, *oldest).where(Endpoint.id.in_([one.id for one in found])))
    most = {one.id: min(one.room, wanted[one.id]) for one in found}
    ids = [id_ for endpoint, *some in rows for id_ in some[: most[endpoint]] if id_ is not None]
    changed = (
        update(Delivery)
        .where(Delivery.id.in_(ids), _due(now))
        .values(leased_until=now + LEASE)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return _letters(session, session.scalars(changed).all() if ids else [], now)


def renew(session: Session, claimed: Sequence[Claimed], now: float) -> list[Claimed]:
    """Hold claims for another LEASE; those that are ours still, or again.  In a writing transaction.

    Of an endpoint whose row somebody else keeps they are not renewed now: nobody waits here.
    """
    if not claimed:
        return []
    free = session.scalars(
        select(Endpoint.id)
        .where(Endpoint.id.in_({one.endpoint for one in claimed}))
        .order_by(Endpoint.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    by_lease: dict[float, dict[str, Claimed]] = {}
    endpoints = set(free)
    for one in claimed:
        if one.endpoint in endpoints:
            by_lease.setdefault(one.leased_until, {})[one.delivery] = one
    until = now + LEASE
    held: list[Claimed] = []
    for leased_until, ours in by_lease.items():
        changed = (
            update(Delivery)
            .where(Delivery.id.in_(ours), Delivery.leased_until == leased_until, Delivery.state == "pending")
            .values(leased_until=until)
            .returning(Delivery.id)
            .execution_options(synchronize_session=False)
        )
        held += [replace(ours[id_], leased_until=until) for id_ in session.scalars(changed)]
    return held


def _oldest(n: int, now: float) -> ScalarSelect[str]:
    """The delivery that an endpoint is to get next, or as the ``n``-th after that."""
    oldest = select(Delivery.id).where(Delivery.endpoint == Endpoint.id, _due(now))
    in_order = oldest.order_by(Delivery.next_at)  # as the index has them: of a hundred thousand none is sorted
    return in_order.limit(1).offset(n).correlate(Endpoint).scalar_subquery()


def _due(now: float) -> ColumnElement[bool]:
    return and_(Delivery.state == "pending", Delivery.next_at <= now, Delivery.leased_until <= now)


def _letters(session: Session, ids: Sequence[str], now: float) -> list[Claimed]:
    if not ids:
        return []
    rows = session.execute(
        select(Delivery.id, Delivery.leased_until, Endpoint.id, Endpoint.company, Endpoint.url, Event)
        .join(Endpoint, Endpoint.id == Delivery.endpoint)
        .join(Event, Event.id == Delivery.event)
        .where(Delivery.id.in_(ids))
        .order_by(Delivery.next_at, Delivery.created_at, Delivery.id)
    ).all()
    secrets: dict[str, list[str]] = {}
    live = select(Secret.endpoint, Secret.secret).where(
        Secret.endpoint.in_({row[2] for row in rows}), or_(Secret.expires_at.is_(None), Secret.expires_at > now)
    )
    for endpoint, secret in session.execute(live.order_by(Secret.id.desc())):
        secrets.setdefault(endpoint, []).append(secret)
    return [
        Claimed(id_, endpoint, company, until, Letter(event.id, url, body_of(event), tuple(secrets.get(endpoint, ()))))
        for id_, until, endpoint, company, url, event in rows
    ]
