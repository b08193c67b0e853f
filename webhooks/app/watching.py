"""What shows that all is well: ``/healthz``, ``/readyz`` and ``/metrics``.

``/metrics`` is in the text format of Prometheus, with a registry of its own: what is measured is read from the
database and Redis when it is asked for, so it is the same whichever process answers.  It shows no company's data but
its numbers, and is for the machine itself, or a token of an operator of every company.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis
from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from rq import Queue
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from callcontrol.switchboard import STREAM
from webhooks.app import desk, door
from webhooks.app.problems import Problem
from workers.context import Context
from workers.journal.tables import Alarm, Call, Delivery, Endpoint, Mail, Position, Recording, Segment

blueprint = Blueprint("watching", __name__)


@blueprint.get("/healthz")
@door.opened
def healthz() -> Response:
    """The process lives."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@door.opened
def readyz() -> tuple[Response, int]:
    """What the process needs can be reached."""
    context = desk.context()
    checks = {"database": _good(lambda: _database(context)), "redis": _good(context.redis.ping)}
    good = all(checks.values())
    said = {name: "ok" if well else "cannot be reached" for name, well in checks.items()}
    return jsonify({"status": "ok" if good else "not ready", **said}), 200 if good else 503


def _database(context: Context) -> None:
    with context.database.reading() as session:
        session.execute(text("SELECT 1"))
        session.execute(select(Call.id).limit(1))  # the tables are there


def _good(check: Callable[[], object]) -> bool:
    try:
        check()
    except (SQLAlchemyError, redis.RedisError, OSError):
        return False
    return True


@blueprint.get("/metrics")
@door.opened
def metrics() -> Response:
    """Numbers for Prometheus."""
    if not _from_here():
        holder = door.holder_or_none(desk.context())
        if holder is None:
            raise Problem("unauthorized", "Ask from this machine, or with a token of an operator of every company.")
        if holder.role != "operator" or holder.company is not None:
            raise Problem("forbidden", "This is for operators of every company.")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Measures(desk.context()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _from_here() -> bool:
    """Whether this machine asks, and no proxy of its on somebody's behalf."""
    proxied = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"))
    return request.remote_addr in ("127.0.0.1", "::1") and not proxied


class _Measures:
    """All that is measured.  What cannot be read is left out, and ``cordboard_up`` says so."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Any]:
        """For the registry."""
        now = time.time()
        up = GaugeMetricFamily("cordboard_up", "Whether it could be asked.", labels=["what"])
        for what, measure in (("database", self._rows), ("redis", self._redis)):
            found: list[Any] = []
            with contextlib.suppress(SQLAlchemyError, redis.RedisError, OSError):
                found = list(measure(now))
            up.add_metric([what], float(bool(found)))
            yield from found
        yield up

    def _rows(self, now: float) -> Iterable[Any]:
        with self._context.database.reading() as session:
            live = select(func.count()).select_from(Call).where(Call.state == "live")
            yield _gauge("cordboard_calls_live", "Calls that the journal takes for live.", session.scalar(live))
            yield _by_state(session, "cordboard_deliveries", "Deliveries.", Delivery, ("pending", "failed"))
            oldest = select(func.min(Delivery.created_at)).where(Delivery.state == "pending")
            yield _age("cordboard_delivery_oldest_seconds", "The oldest that is pending.", session, oldest, now)
            yield _by_state(session, "cordboard_endpoints", "Endpoints.", Endpoint, ("active", "paused", "disabled"))
            yield _by_state(session, "cordboard_recordings", "Recordings.", Recording, ())
            owed = ("expected", "started", "finished", "uploaded", "verified")
            yield _by_state(session, "cordboard_segments_owed", "Segments not stored yet.", Segment, owed)
            finished = select(func.min(Segment.finished_at)).where(Segment.state.in_(("finished", "uploaded")))
            yield _age("cordboard_segment_oldest_seconds", "The oldest that is not stored.", session, finished, now)
            yield _by_state(session, "cordboard_mails", "Mails.", Mail, ("pending", "failed"))
            standing = select(func.count()).select_from(Alarm).where(Alarm.cleared_at.is_(None))
            yield _gauge("cordboard_alarms", "Alarms that are not over.", session.scalar(standing))

    def _redis(self, now: float) -> Iterable[Any]:
        client = self._context.redis
        yield _gauge("cordboard_journal_lag_seconds", "How far the journal is behind the facts.", self._lag(now))
        lengths = GaugeMetricFamily("cordboard_queue_length", "Rings that nobody has answered.", labels=["queue"])
        switches = [f"recordings-{switch.name}" for switch in self._context.config.switches]
        for name in ("journal", "delivery", "mail", *switches):
            lengths.add_metric([name], client.llen(Queue.redis_queue_namespace_prefix + name))
        yield lengths

    def _lag(self, now: float) -> float:
        """Seconds since the first fact came that is not in the journal; 0: there is none."""
        try:
            with self._context.database.reading() as session:
                at = session.scalar(select(Position.at).where(Position.name == "facts"))
        except SQLAlchemyError:
            at = None
        waiting = self._context.redis.xrange(STREAM, f"({at}" if at else "-", "+", 1)
        return max(0.0, now - int(waiting[0][0].split(b"-")[0]) / 1000) if waiting else 0.0


def _gauge(name: str, what: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value or 0))


def _age(name: str, what: str, session: Session, oldest: Any, now: float) -> GaugeMetricFamily:
    at = session.scalar(oldest)
    return _gauge(name, what, 0.0 if at is None else max(0.0, now - at))


def _by_state(session: Session, name: str, what: str, table: Any, states: tuple[str, ...]) -> GaugeMetricFamily:
    """Rows counted by their state; of ``states`` only, if there are any, which are there also where there is no row."""
    rows = select(table.state, func.count()).group_by(table.state)
    if states:
        rows = rows.where(table.state.in_(states))
    counted = {**dict.fromkeys(states, 0), **{row[0]: row[1] for row in session.execute(rows)}}
    family = GaugeMetricFamily(name, what, labels=["state"])
    for state, count in sorted(counted.items()):
        family.add_metric([state], count)
    return family
