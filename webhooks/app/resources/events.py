"""Events, as webhooks bring them, for programs that ask instead; and the alarms."""

from __future__ import annotations

import time
from typing import Any

import marshmallow as ma
from sqlalchemy import select

from webhooks.app import desk, door, problems
from webhooks.app.fields import Choice, Moment, word
from webhooks.app.openapi import Blueprint
from webhooks.app.pages import Paged, page, page_of
from webhooks.events.envelope import envelope
from workers.journal.database import PATIENCE
from workers.journal.paging import cursor_of
from workers.journal.tables import Alarm, Event

events = Blueprint("events", __name__, description="Events, as webhooks bring them.")
alarms = Blueprint("alarms", __name__, description="What must not go unnoticed.")


#: Younger events are not told to who polls: another writer may have begun before, and not be done, seconds.
SETTLED = PATIENCE + 10.0


class EventSchema(ma.Schema):
    """An event, as webhooks bring it."""

    id = ma.fields.String(required=True, metadata={"example": "evt_4f1c0d6f2f7b4a0b9a7e5c31"})
    type = ma.fields.String(required=True, metadata={"example": "call.started"})
    version = ma.fields.Integer(required=True)
    company = ma.fields.String(required=True)
    call = ma.fields.String(required=True, allow_none=True)
    sequence = ma.fields.Integer(
        required=True, allow_none=True, metadata={"description": "Counts the events of a call, from 1."}
    )
    occurred_at = ma.fields.String(required=True, metadata={"format": "date-time"})
    data = ma.fields.Dict(required=True, metadata={"description": "As the schema of the type says."})


class EventsQuery(Paged):
    """Which events."""

    type = word(r"[a-z_]{1,32}\.([a-z_]{1,32}|\*)", "a type, or the like of queue.*", load_default=None)
    call = word(r"[A-Za-z0-9-]{1,64}", "a call's id", load_default=None)
    since = Moment(load_default=None, metadata={"description": "Written down at this moment or later."})
    until = Moment(load_default=None, metadata={"description": "Written down before this moment."})
    order = Choice("newest", "oldest", load_default="newest", metadata={"description": "Which come first."})


@events.operation("GET", "/events", may=door.READERS, query=EventsQuery, answer=page_of(EventSchema))
def list_events(query: dict[str, Any]) -> Any:
    """Events, the newest first, or the oldest.

    Who asks again and again takes the oldest first, keeps `next`, and goes on from there: then it is there also when
    there is nothing more. They get each event once, some 40 seconds after it was written down. Events are in the order
    in which they were written down, which is not quite that in which they occurred.
    """
    rows = select(Event).where(Event.company == door.company())
    if query["type"] is not None:
        family, star, _ = query["type"].partition("*")
        rows = rows.where(Event.type.startswith(family, autoescape=True) if star else Event.type == family)
    if query["call"] is not None:
        rows = rows.where(Event.call == query["call"])
    oldest_first = query["order"] == "oldest"
    if oldest_first:
        rows = rows.where(Event.created_at < time.time() - SETTLED)
    with desk.context().database.reading() as session:
        found = page(session, rows, Event.created_at, Event.id, query, oldest_first=oldest_first)
    if oldest_first and found["next"] is None:
        last = found["items"][-1] if found["items"] else None
        found["next"] = query["cursor"] if last is None else cursor_of(last.created_at, last.id)
    return {**found, "items": [envelope(event) for event in found["items"]]}


@events.operation("GET", "/events/<id:event>", may=door.READERS, answer=EventSchema)
def one_event(event: str) -> Any:
    """One event."""
    with desk.context().database.reading() as session:
        row = session.scalar(select(Event).where(Event.company == door.company(), Event.id == event))
    if row is None:
        raise problems.not_found()
    return envelope(row)


# -------------------------------------------------------------------------------------------------- alarms


class AlarmSchema(ma.Schema):
    """An alarm."""

    key = ma.fields.String(required=True, metadata={"example": "endpoint/ep_0c9d3a51"})
    company = ma.fields.String(required=True, allow_none=True, metadata={"description": "null: of the whole server."})
    kind = ma.fields.String(required=True)
    text = ma.fields.String(required=True)
    raised_at = Moment(required=True)
    cleared_at = Moment(required=True, allow_none=True, metadata={"description": "It is over."})


class AlarmsQuery(Paged):
    """Which alarms."""

    standing = ma.fields.Boolean(load_default=None, metadata={"description": "Those that are not over, or are."})


@alarms.operation("GET", "/alarms", may=door.READERS, company="any", query=AlarmsQuery, answer=page_of(AlarmSchema))
def list_alarms(query: dict[str, Any]) -> Any:
    """Alarms, the newest first.  Those of the whole server are shown to operators of every company."""
    rows = select(Alarm)
    if (company := door.named_company()) is not None:
        rows = rows.where(Alarm.company == company)
    if query["standing"] is not None:
        rows = rows.where(Alarm.cleared_at.is_(None) if query["standing"] else Alarm.cleared_at.is_not(None))
    with desk.context().database.reading() as session:
        return page(session, rows, Alarm.raised_at, Alarm.key, query)
