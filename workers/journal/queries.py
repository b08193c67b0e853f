"""What the journal is asked: by the command line and by the web, in the same words.

Every question names a ``company``, whose rows alone are looked at; None is for operators, and means all of them.
Answers are plain data (JSON as they stand): moments are UTC epochs, lengths seconds, sizes bytes.  Text in them came
from callers, telephones and subscribers: who shows it, escapes it.

Lists come in pages, newest first (``paging.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, Text, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from workers.journal.folding import order
from workers.journal.paging import page
from workers.journal.tables import (
    Attempt,
    Base,
    Call,
    Delivery,
    Endpoint,
    Event,
    Fact,
    Leg,
    Mail,
    QueueVisit,
    Recording,
    Segment,
    Step,
)

#: The longest page.
MOST = 500
#: So many facts of one call are told; one that waits for hours has some hundreds.
MOST_FACTS = 5000


class Page(TypedDict):
    """Some rows, and the cursor of the next page; None: there is none."""

    items: Sequence[dict[str, Any]]
    next: str | None


class Told(TypedDict):
    """A fact of a call."""

    type: str
    at: float
    epoch: int
    n: int
    by: str
    data: dict[str, Any]


class Journey(TypedDict):
    """Everything that is known of one call.

    ``call``: its row; ``steps`` with what decided them (``data``: ``verb outcome why left lookup``); ``legs`` with what
    came of each telephone; ``queues``: its visits; ``recordings``, each with its ``segments``; ``events`` that
    subscribers are told, each with its ``deliveries``, each with its ``attempts``; ``mails``; ``facts``: what all of
    this was made of, in the call's own order.
    """

    call: dict[str, Any]
    steps: Sequence[dict[str, Any]]
    legs: Sequence[dict[str, Any]]
    queues: Sequence[dict[str, Any]]
    recordings: Sequence[dict[str, Any]]
    events: Sequence[dict[str, Any]]
    mails: Sequence[dict[str, Any]]
    facts: Sequence[Told]


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are wanted; what is None is not asked.

    ``number``: who called or was called, whole or by its last digits; ``person``: an extension that called, was rung or
    talked; ``queue``: one that it waited in; ``since`` and ``until``: when it began.
    """

    since: float | None = None
    until: float | None = None
    number: str | None = None
    person: str | None = None
    queue: str | None = None
    direction: str | None = None
    missed: bool | None = None
    state: str | None = None


# ------------------------------------------------------------------------------------------------------- calls


def calls(
    session: Session,
    company: str | None,
    wanted: CallFilter | None = None,
    *,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Calls, the last that began first.  Raises CursorError."""
    wanted = wanted or CallFilter()
    query = _of(select(Call), Call.company, company)
    if wanted.since is not None:
        query = query.where(Call.began >= wanted.since)
    if wanted.until is not None:
        query = query.where(Call.began < wanted.until)
    if wanted.number is not None:
        query = query.where(or_(_number(Call.caller, wanted.number), _number(Call.called, wanted.number)))
    if wanted.person is not None:
        rung = exists().where(Leg.call == Call.id, Leg.person == wanted.person)
        query = query.where(or_(Call.extension == wanted.person, Call.talked_with == wanted.person, rung))
    if wanted.queue is not None:
        query = query.where(exists().where(QueueVisit.call == Call.id, QueueVisit.queue == wanted.queue))
    for column, value in ((Call.direction, wanted.direction), (Call.missed, wanted.missed), (Call.state, wanted.state)):
        if value is not None:
            query = query.where(column == value)
    return _page(session, query, Call.began, Call.id, limit, cursor, row_of)


def find_calls(session: Session, company: str | None, prefix: str, *, most: int = 10) -> list[str]:
    """The ids of the calls that begin so, the last that began first."""
    if not prefix:
        return []
    query = _of(select(Call.id), Call.company, company).where(Call.id.startswith(prefix.lower(), autoescape=True))
    return list(session.scalars(query.order_by(Call.began.desc()).limit(most)))


def journey(session: Session, company: str | None, call: str) -> Journey | None:
    """Everything that is known of a call; None: the company has no such call."""
    row = session.scalars(_of(select(Call).where(Call.id == call), Call.company, company)).one_or_none()
    if row is None:
        return None
    facts = session.scalars(select(Fact).where(Fact.call == call).order_by(Fact.id).limit(MOST_FACTS)).all()
    return {
        "call": row_of(row),
        "steps": _rows(session, select(Step).where(Step.call == call).order_by(Step.epoch, Step.n)),
        "legs": _rows(session, select(Leg).where(Leg.call == call).order_by(Leg.rung_at, Leg.id)),
        "queues": _rows(session, select(QueueVisit).where(QueueVisit.call == call).order_by(QueueVisit.id)),
        "recordings": [
            _recording(session, found)
            for found in session.scalars(select(Recording).where(Recording.call == call).order_by(Recording.began))
        ],
        "events": _events(session, call),
        "mails": _rows(session, select(Mail).where(Mail.call == call).order_by(Mail.created_at)),
        "facts": [_told(fact) for fact in sorted(facts, key=_in_order)],
    }


# ----------------------------------------------------------------------------------------- recordings, messages


def recordings(
    session: Session,
    company: str | None,
    *,
    kind: str | None = None,
    person: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Recordings with their segments, newest first; ``kind``: ``talk`` or ``message``; ``person``: whose.

    Raises CursorError.
    """
    query = _of(select(Recording), Recording.company, company)
    if kind is not None:
        query = query.where(Recording.kind == kind)
    if since is not None:
        query = query.where(Recording.began >= since)
    if until is not None:
        query = query.where(Recording.began < until)
    if person is not None:  # a list of extensions, as JSON writes it
        query = query.where(Recording.people.cast(Text).contains(f'"{_digits(person)}"'))
    return _page(session, query, Recording.began, Recording.id, limit, cursor, lambda found: _recording(session, found))


def messages(session: Session, company: str | None, **more: Any) -> Page:
    """Messages that callers have left: :func:`recordings` of that kind."""
    return recordings(session, company, kind="message", **more)


def recording(session: Session, company: str | None, id_: str) -> dict[str, Any] | None:
    """One recording with its segments; None: the company has none of that id."""
    query = _of(select(Recording).where(Recording.id == id_), Recording.company, company)
    found = session.scalars(query).one_or_none()
    return None if found is None else _recording(session, found)


# ------------------------------------------------------------------------------------------------ agents, queues


def agent_history(
    session: Session,
    company: str | None,
    *,
    agent: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """What agents did, newest first: ``at``, ``company`` and what the fact says (``agent state duty reason by queue``).

    Raises CursorError.
    """
    query = _of(select(Fact).where(Fact.type == "agent.state", Fact.call == ""), Fact.company, company)
    if since is not None:
        query = query.where(Fact.at >= since)
    if until is not None:
        query = query.where(Fact.at < until)
    if agent is not None:
        query = query.where(Fact.data["agent"].as_string() == agent)
    return _page(
        session,
        query,
        Fact.at,
        Fact.id,
        limit,
        cursor,
        lambda fact: {**fact.data, "company": fact.company, "at": fact.at},
    )


def queue_history(
    session: Session,
    company: str | None,
    *,
    queue: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Who waited in queues, and what came of it, the last that joined first.  Raises CursorError."""
    query = _of(select(QueueVisit), QueueVisit.company, company)
    if queue is not None:
        query = query.where(QueueVisit.queue == queue)
    if since is not None:
        query = query.where(QueueVisit.joined_at >= since)
    if until is not None:
        query = query.where(QueueVisit.joined_at < until)
    return _page(session, query, QueueVisit.joined_at, QueueVisit.id, limit, cursor, row_of)


# ------------------------------------------------------------------------------------------------------- helpers


def row_of(row: Base) -> dict[str, Any]:
    """A row as plain data, by the names of its columns."""
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}


def _of(query: Select[Any], column: InstrumentedAttribute[Any], company: str | None) -> Select[Any]:
    return query if company is None else query.where(column == company)


def _number(column: InstrumentedAttribute[str | None], number: str) -> ColumnElement[bool]:
    """Whether a column is this number: wholly, or by its last digits if there are at least four."""
    digits = _digits(number)
    found = or_(column == number, column == digits, column == f"+{digits}")
    return or_(found, column.like(f"%{digits}")) if len(digits) >= 4 else found


def _digits(text: str) -> str:
    return "".join(one for one in text if one.isascii() and one.isdigit())


def _page(
    session: Session,
    query: Select[Any],
    moment: InstrumentedAttribute[float],
    key: InstrumentedAttribute[Any],
    limit: int,
    cursor: str | None,
    shown: Callable[[Any], dict[str, Any]],
) -> Page:
    items, more = page(session, query, moment, key, limit=max(1, min(limit, MOST)), cursor=cursor)
    return {"items": [shown(row) for row in items], "next": more}


def _rows(session: Session, query: Select[Any]) -> list[dict[str, Any]]:
    return [row_of(row) for row in session.scalars(query)]


def _recording(session: Session, found: Recording) -> dict[str, Any]:
    segments = select(Segment).where(Segment.recording == found.id).order_by(Segment.number, Segment.file)
    return {**row_of(found), "segments": _rows(session, segments)}


def _events(session: Session, call: str) -> list[dict[str, Any]]:
    """The events of a call with their deliveries, and each of these with its attempts."""
    events = _rows(session, select(Event).where(Event.call == call).order_by(Event.sequence))
    ids = select(Event.id).where(Event.call == call)
    pairs = session.execute(
        select(Delivery, Endpoint.url)
        .join(Endpoint, Endpoint.id == Delivery.endpoint)
        .where(Delivery.event.in_(ids))
        .order_by(Delivery.created_at, Delivery.id)
    )
    deliveries = [{**row_of(delivery), "url": url} for delivery, url in pairs]
    tries = select(Attempt).where(Attempt.delivery.in_(select(Delivery.id).where(Delivery.event.in_(ids))))
    attempts = _rows(session, tries.order_by(Attempt.number))
    for delivery in deliveries:
        delivery["attempts"] = [one for one in attempts if one["delivery"] == delivery["id"]]
    for event in events:
        event["deliveries"] = [one for one in deliveries if one["event"] == event["id"]]
    return events


def _told(fact: Fact) -> Told:
    return {"type": fact.type, "at": fact.at, "epoch": fact.epoch, "n": fact.n, "by": fact.process, "data": fact.data}


def _in_order(fact: Fact) -> tuple[float, ...]:
    place: Mapping[str, Any] = {"epoch": fact.epoch, "n": fact.n}
    late, epoch, n = order(place)
    return (late, fact.at, fact.id) if late == 2 else (late, epoch, n)
