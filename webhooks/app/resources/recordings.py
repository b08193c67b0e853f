"""Recordings and messages: what there is, their sound, and their end.

A message is a recording that a caller left; an agent's token shows the messages of that agent only.  The sound comes
from the store, in pieces, through here; nothing of it is ever kept in memory whole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from flask import Response, request
from sqlalchemy import Select, String, cast, select, update
from sqlalchemy.orm import Session

from webhooks.app import desk, door, problems, sounds
from webhooks.app.fields import Choice, Moment, word
from webhooks.app.openapi import Blueprint
from webhooks.app.pages import Between, page, page_of
from webhooks.app.problems import Problem
from workers.journal.tables import Recording, Segment

recordings = Blueprint("recordings", __name__, description="Recordings of talks, and of messages.")
messages = Blueprint("messages", __name__, description="Messages that callers left.")

STATES = ("expected", "recording", "finished", "available", "absent", "failed", "deleted")
SEGMENTS = ("expected", "started", "finished", "uploaded", "verified", "stored", "absent", "failed", "deleted")
_ID = {"example": "rec_4f1c0d6f2f7b4a0b9a7e5c31"}


class SegmentSchema(ma.Schema):
    """A file of a recording: a talk that is handed on, or held, or taken over after a crash, has several."""

    number = ma.fields.Integer(required=True)
    state = Choice(*SEGMENTS, required=True)
    seconds = ma.fields.Float(required=True, allow_none=True)
    bytes = ma.fields.Integer(required=True, allow_none=True)
    sha256 = ma.fields.String(required=True, allow_none=True)
    why = ma.fields.String(required=True, allow_none=True, metadata={"description": "The last trouble with it."})


class RecordingSchema(ma.Schema):
    """A recording: all talks of a call, or one message."""

    id = ma.fields.String(required=True, metadata=_ID)
    call = ma.fields.String(required=True)
    kind = Choice("talk", "message", required=True)
    people = ma.fields.List(
        ma.fields.String(), required=True, metadata={"description": "Extensions.", "example": ["301"]}
    )
    state = Choice(*STATES, required=True)
    why = ma.fields.String(required=True, allow_none=True, metadata={"description": "What went wrong, if it did."})
    rule = ma.fields.String(required=True, allow_none=True, metadata={"description": "The rule that asked for it."})
    consent = ma.fields.Boolean(required=True, metadata={"description": "The announcement was played."})
    began = Moment(required=True)
    seconds = ma.fields.Float(required=True, allow_none=True)
    keep_until = Moment(required=True, allow_none=True, metadata={"description": "Deleted then; null: never."})
    heard_at = Moment(required=True, allow_none=True)
    deleted_at = Moment(required=True, allow_none=True)
    segments = ma.fields.List(ma.fields.Nested(SegmentSchema), required=True)


class MessageSchema(RecordingSchema):
    """A message that a caller left."""

    segments = ma.fields.List(ma.fields.Nested(SegmentSchema), required=True)


class RecordingsQuery(Between):
    """Which recordings."""

    call = word(r"[A-Za-z0-9-]{1,64}", "a call's id", load_default=None)
    kind = Choice("talk", "message", load_default=None)
    state = Choice(*STATES, load_default=None)
    person = word(r"[0-9]{1,6}", "an extension", load_default=None)


class MessagesQuery(Between):
    """Which messages."""

    person = word(r"[0-9]{1,6}", "an extension", load_default=None)
    heard = ma.fields.Boolean(load_default=None)


class SegmentQuery(ma.Schema):
    """Which segment."""

    segment = ma.fields.Integer(
        load_default=None,
        validate=ma.validate.Range(1, 999_999),
        metadata={"description": "Its number; needed where there are several."},
    )


class LinkQuery(SegmentQuery):
    """Which segment, and for how long."""

    seconds = ma.fields.Integer(
        load_default=300, validate=ma.validate.Range(10, 3600), metadata={"description": "How long the link is good."}
    )


class Link(ma.Schema):
    """A link that needs no token: whoever has it can fetch the sound until it expires."""

    url = ma.fields.String(required=True)
    expires_at = Moment(required=True)


# ---------------------------------------------------------------------------------------------- recordings


@recordings.operation("GET", "/recordings", may=door.READERS, query=RecordingsQuery, answer=page_of(RecordingSchema))
def list_recordings(query: dict[str, Any]) -> Any:
    """Recordings, the newest first."""
    rows = _mine()
    for name in ("call", "kind", "state"):
        if query[name] is not None:
            rows = rows.where(getattr(Recording, name) == query[name])
    return _page(_of_person(rows, query["person"]), query)


@recordings.operation("GET", "/recordings/<id:recording>", may=door.READERS, answer=RecordingSchema)
def one_recording(recording: str) -> Any:
    """One recording."""
    return _one(recording, _mine())


@recordings.operation(
    "GET",
    "/recordings/<id:recording>/content",
    may=door.READERS,
    query=SegmentQuery,
    content="audio/wav",
    also={206: "The bytes that the header Range asked for."},
    fails=(409, 416),
)
def recording_content(recording: str, query: dict[str, Any]) -> Response:
    """The sound of a recording, whole or the bytes that the header Range asks for."""
    return _content(_one(recording, _mine()), query)


@recordings.operation(
    "POST", "/recordings/<id:recording>/link", may=door.READERS, query=LinkQuery, answer=Link, fails=(409,)
)
def recording_link(recording: str, query: dict[str, Any]) -> Any:
    """A link to the sound in the store, for a browser or a player."""
    row = _one(recording, _mine())
    segment = _segment(row, query)
    return {"url": sounds.link(segment, query["seconds"]), "expires_at": time.time() + query["seconds"]}


@recordings.operation("DELETE", "/recordings/<id:recording>", may=door.OPERATORS, answer=RecordingSchema, fails=(409,))
def delete_recording(recording: str) -> Any:
    """Delete a recording, from the store too.  The row stays and says so."""
    return _delete(recording, _mine())


# ------------------------------------------------------------------------------------------------ messages


@messages.operation("GET", "/messages", may=door.EVERYBODY, query=MessagesQuery, answer=page_of(MessageSchema))
def list_messages(query: dict[str, Any]) -> Any:
    """Messages, the newest first; those that were deleted are not among them."""
    rows = _of_person(_messages().where(Recording.state != "deleted"), query["person"])
    if query["heard"] is not None:
        rows = rows.where(Recording.heard_at.is_not(None) if query["heard"] else Recording.heard_at.is_(None))
    return _page(rows, query)


@messages.operation("GET", "/messages/<id:message>", may=door.EVERYBODY, answer=MessageSchema)
def one_message(message: str) -> Any:
    """One message."""
    return _one(message, _messages())


@messages.operation(
    "GET",
    "/messages/<id:message>/content",
    may=door.EVERYBODY,
    query=SegmentQuery,
    content="audio/wav",
    also={206: "The bytes that the header Range asked for."},
    fails=(409, 416),
)
def message_content(message: str, query: dict[str, Any]) -> Response:
    """The sound of a message.  Whether it was heard is said by whoever plays it."""
    return _content(_one(message, _messages()), query)


@messages.operation("POST", "/messages/<id:message>/heard", may=door.EVERYBODY, answer=MessageSchema)
def mark_heard(message: str) -> Any:
    """Note that a message was heard."""
    return _heard(message, time.time())


@messages.operation("POST", "/messages/<id:message>/unheard", may=door.EVERYBODY, answer=MessageSchema)
def mark_unheard(message: str) -> Any:
    """Note that a message was not heard."""
    return _heard(message, None)


@messages.operation("DELETE", "/messages/<id:message>", may=("operator", "agent"), answer=MessageSchema, fails=(409,))
def delete_message(message: str) -> Any:
    """Delete a message, from the store too.  An agent's token deletes that agent's only."""
    return _delete(message, _messages())


def _heard(message: str, at: float | None) -> Any:
    _one(message, _messages())
    change = update(Recording).where(Recording.company == door.company(), Recording.id == message)
    if at is not None:
        change = change.where(Recording.heard_at.is_(None))  # the first time counts
    with desk.context().database.writing() as session:
        session.execute(change.values(heard_at=at))
    return _one(message, _messages())


# -------------------------------------------------------------------------------------------------- shared


def _mine() -> Select[Any]:
    return select(Recording).where(Recording.company == door.company())


def _messages() -> Select[Any]:
    rows = _mine().where(Recording.kind == "message")
    return _of_person(rows, door.own_person())


def _of_person(rows: Select[Any], person: str | None) -> Select[Any]:
    """Those of a person.  The list of people is JSON, and extensions are digits: so text is enough to find them."""
    return rows if person is None else rows.where(cast(Recording.people, String).like(f'%"{person}"%'))


def _page(rows: Select[Any], query: dict[str, Any]) -> dict[str, Any]:
    with desk.context().database.reading() as session:
        found = page(session, rows, Recording.began, Recording.id, query)
        return {**found, "items": _with_segments(session, found["items"])}


def _one(recording: str, rows: Select[Any]) -> dict[str, Any]:
    with desk.context().database.reading() as session:
        row = session.scalar(rows.where(Recording.id == recording))
        if row is None:
            raise problems.not_found()
        return _with_segments(session, [row])[0]


def _with_segments(session: Session, rows: Sequence[Recording]) -> list[dict[str, Any]]:
    segments = session.scalars(
        select(Segment).where(Segment.company == door.company(), Segment.recording.in_([row.id for row in rows]))
    ).all()
    of: dict[str, list[Segment]] = {row.id: [] for row in rows}
    for segment in sorted(segments, key=lambda one: (one.number, one.file)):
        of[segment.recording].append(segment)
    return [{**_columns(row), "segments": of[row.id]} for row in rows]


def _columns(row: Recording) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in Recording.__table__.columns}


def _segment(row: dict[str, Any], query: dict[str, Any]) -> Segment:
    """The segment that is asked for, if it can be had.  Raises Problem."""
    if row["state"] == "deleted":
        raise Problem("conflict", "It was deleted.")
    segments: list[Segment] = [one for one in row["segments"] if one.state not in ("absent", "deleted")]
    if query["segment"] is not None:
        segments = [one for one in row["segments"] if one.number == query["segment"]]
        if not segments:
            raise problems.not_found()
    elif len(segments) > 1:
        numbers = ", ".join(str(one.number) for one in segments)
        raise problems.invalid("segment", f"there are several: name one of {numbers}")
    if not segments or not sounds.ready(segments[0]):
        said = segments[0].state if segments else row["state"]
        raise Problem("conflict", f"There is no sound to be had: it is {said}.")
    return segments[0]


def _content(row: dict[str, Any], query: dict[str, Any]) -> Response:
    return sounds.response(_segment(row, query), request.headers.get("Range"))


def _delete(recording: str, rows: Select[Any]) -> Any:
    row = _one(recording, rows)
    if row["state"] != "deleted":
        sounds.delete(recording, door.company(), door.who())
    return _one(recording, rows)
