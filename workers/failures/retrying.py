"""Has what failed, or waits for its next try, tried at once.  What is owed stays owed once: nothing is made twice.

It writes rows and manifests and then rings; who is rung for does the rest, and a lost ring costs a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from sqlalchemy import or_, select, update

from callcontrol.spool import read_name
from workers import bell
from workers.context import Context
from workers.delivery import replaying
from workers.delivery.endpoints import RefusedEndpoint
from workers.journal.tables import Delivery, Endpoint, Mail
from workers.recordings.manifest import Manifest
from workers.recordings.spool import MANIFEST

#: The kinds that can be tried again.
KINDS = ("delivery", "job", "mail", "recording")
#: Rows of one transaction: others wait to write meanwhile.
_MOST = 200


def retry(context: Context, kind: str, company: str | None) -> int:
    """Try everything of this kind again; how many.  Raises SQLAlchemyError, RedisError, OSError."""
    doing: dict[str, Callable[[Context, str | None], int]] = {
        "delivery": _deliveries,
        "job": _jobs,
        "mail": _mails,
        "recording": _recordings,
    }
    return doing[kind](context, company)


def _deliveries(context: Context, company: str | None) -> int:
    """Those given up of endpoints that are active, with three days of their own; those that wait are hurried."""
    now, count, after = time.time(), 0, ""
    while True:
        with context.database.writing() as session:
            given_up = (
                select(Delivery)
                .join(Endpoint, Endpoint.id == Delivery.endpoint)
                .where(Delivery.state == "failed", Endpoint.state == "active", Delivery.id > after)
                .order_by(Delivery.id)
                .limit(_MOST)
            )
            rows = session.scalars(given_up if company is None else given_up.where(Delivery.company == company)).all()
            for row in rows:
                after = row.id
                try:
                    replaying.redeliver(session, row.company, row.id, now)
                    count += 1
                except (replaying.UnknownDelivery, RefusedEndpoint):
                    continue  # it was deleted or disabled meanwhile
        if len(rows) < _MOST:
            break
    with context.database.writing() as session:
        waiting = update(Delivery).where(
            Delivery.state == "pending",
            Delivery.next_at > now,
            Delivery.endpoint.in_(select(Endpoint.id).where(Endpoint.state == "active")),
        )
        waiting = waiting if company is None else waiting.where(Delivery.company == company)
        count += _count(session.execute(waiting.values(next_at=now)))
        breakers = update(Endpoint).where(Endpoint.state == "active", Endpoint.open_until > now)
        breakers = breakers if company is None else breakers.where(Endpoint.company == company)
        session.execute(breakers.values(open_until=None))
    bell.ring(context.redis, "delivery")
    return count


def _mails(context: Context, company: str | None) -> int:
    now = time.time()
    with context.database.writing() as session:
        owed = update(Mail).where(or_(Mail.state == "failed", (Mail.state == "pending") & (Mail.next_at > now)))
        owed = owed if company is None else owed.where(Mail.company == company)
        # With days of its own again: how long it has been tried counts from its making.
        count = _count(session.execute(owed.values(state="pending", next_at=now, created_at=now, attempts=0, why=None)))
    bell.ring(context.redis, "mail")
    return count


def _recordings(context: Context, company: str | None) -> int:
    """Those whose files are in the spool of this machine."""
    count = 0
    for path in sorted(context.spool.glob("*" + MANIFEST)):
        sound = path.with_name(path.name.removesuffix(MANIFEST))
        file = read_name(sound.name)
        if file is None or company not in (None, file.company):
            continue
        held = Manifest.hold(sound)
        if held is not None:
            with held:
                if held.note is not None and held.note.next_at:
                    held.change(next_at=0.0)
                    count += 1
    for switch in context.config.switches:
        bell.ring(context.redis, f"recordings-{switch.name}")
    return count


def _jobs(context: Context, company: str | None) -> int:
    """A job that failed is rung for again anyway: forget it, and ring now."""
    count = 0
    for queue in Queue.all(connection=context.redis, serializer=JSONSerializer):
        registry = FailedJobRegistry(queue=queue)
        for job in registry.get_job_ids():
            registry.remove(job, delete_job=True)
            count += 1
        try:
            bell.ring(context.redis, queue.name)
        except ValueError:
            continue  # somebody else's queue
    return count


def _count(result: Any) -> int:
    return int(result.rowcount)
