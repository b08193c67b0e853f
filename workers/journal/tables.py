"""The tables of the journal: what happened, what came of it, and what is still owed to somebody.

One database, SQLite (WAL) or PostgreSQL.  A row is the truth about work that is owed (a delivery, a mail, an upload);
RQ only rings, and a sweeper rings again.  Everything that follows from a fact is written in the fact's own transaction.

Units: moments are UTC epochs in seconds (double), durations seconds, sizes bytes; ``next_at`` and ``leased_until`` are
moments too.  Text from callers, switches or subscribers is as it came, cut to a length: who shows it, escapes it.
A column ``company`` stands in every table that a company may ask for: no query of the web leaves it out.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite numbers rows by themselves only if the key is its own INTEGER.
_Row = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """What alembic compares the migrations with."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, float: Float(53), dict[str, Any]: JSON, list[str]: JSON}


# ------------------------------------------------------------------------------------------------- what happened


class Position(Base):
    """How far a reader has read: of ``facts``, the id of the last entry of the stream that is in the journal."""

    __tablename__ = "position"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[str]


class Fact(Base):
    """A fact, once: its identity is (call, epoch, n), with the process for what is no call's (``call`` is "" then).

    What workers themselves add has epoch 0, and a process that says of what (``journal.tell``).
    """

    __tablename__ = "fact"
    __table_args__ = (
        UniqueConstraint("call", "epoch", "n", "process", name="fact_identity"),
        Index("fact_of_company", "company", "at"),
    )

    id: Mapped[int] = mapped_column(_Row, primary_key=True, autoincrement=True)
    call: Mapped[str] = mapped_column(String(64))
    epoch: Mapped[int]
    n: Mapped[int] = mapped_column(BigInteger)
    process: Mapped[str] = mapped_column(String(128), default="")
    type: Mapped[str] = mapped_column(String(64))
    company: Mapped[str | None] = mapped_column(String(32))
    switch: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[float]
    data: Mapped[dict[str, Any]]


class Call(Base):
    """A call.  ``state``: ``live ended``.  ``direction``: ``inbound`` from outside, ``outbound``, ``internal``.

    ``connected_at``: the first talk began.  ``missed``: it came from outside and ended without a talk.
    ``sequence``: the number of the last public event told of it.  ``epoch`` and ``n``: the last fact that this row
    was brought up to; an earlier one that comes later (of a process that died) has it told anew (``folding``).
    """

    __tablename__ = "call"
    __table_args__ = (
        Index("call_of_company", "company", "began"),
        Index("call_live", "state", "began"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    company: Mapped[str | None] = mapped_column(String(32))
    switch: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(64))
    caller: Mapped[str | None]
    called: Mapped[str | None]
    extension: Mapped[str | None] = mapped_column(String(16))
    direction: Mapped[str] = mapped_column(String(16), default="inbound")
    state: Mapped[str] = mapped_column(String(16), default="live")
    began: Mapped[float]
    answered_at: Mapped[float | None]
    connected_at: Mapped[float | None]
    talking_since: Mapped[float | None]
    ended_at: Mapped[float | None]
    talk_seconds: Mapped[float] = mapped_column(default=0.0)
    talked_with: Mapped[str | None]
    cause: Mapped[str | None] = mapped_column(String(64))
    ended_by: Mapped[str | None] = mapped_column(String(32))
    missed: Mapped[bool] = mapped_column(Boolean, default=False)
    message: Mapped[bool] = mapped_column(Boolean, default=False)
    flow: Mapped[str | None]
    step: Mapped[str | None]
    epoch: Mapped[int] = mapped_column(default=0)
    n: Mapped[int] = mapped_column(BigInteger, default=0)
    sequence: Mapped[int] = mapped_column(default=0)


class Leg(Base):
    """A telephone that was rung for a call."""

    __tablename__ = "leg"
    __table_args__ = (Index("leg_of_call", "call"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    call: Mapped[str] = mapped_column(ForeignKey("call.id"))
    company: Mapped[str | None] = mapped_column(String(32))
    person: Mapped[str | None]
    address: Mapped[str | None]
    rung_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    result: Mapped[str | None] = mapped_column(String(32))
    cause: Mapped[str | None] = mapped_column(String(64))


class Step(Base):
    """A step that a call entered, and what decided it.

    ``data``: ``verb``; ``left`` (moment), ``outcome`` and ``why`` once it is left; ``resumed``, ``error``, ``lookup``.
    """

    __tablename__ = "step"
    __table_args__ = (UniqueConstraint("call", "epoch", "n", name="step_identity"),)

    id: Mapped[int] = mapped_column(_Row, primary_key=True, autoincrement=True)
    call: Mapped[str] = mapped_column(ForeignKey("call.id"))
    company: Mapped[str | None] = mapped_column(String(32))
    epoch: Mapped[int]
    n: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[float]
    flow: Mapped[str]
    step: Mapped[str]
    data: Mapped[dict[str, Any]]


class QueueVisit(Base):
    """A caller's time in a queue.  ``outcome``: ``answered abandoned left timeout full no_agents paused lost``."""

    __tablename__ = "queue_visit"
    __table_args__ = (
        Index("queue_visit_of_company", "company", "queue", "joined_at"),
        Index("queue_visit_of_call", "call"),
    )

    id: Mapped[int] = mapped_column(_Row, primary_key=True, autoincrement=True)
    call: Mapped[str] = mapped_column(ForeignKey("call.id"))
    company: Mapped[str | None] = mapped_column(String(32))
    queue: Mapped[str]
    joined_at: Mapped[float]
    left_at: Mapped[float | None]
    waited: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(32))
    agent: Mapped[str | None] = mapped_column(String(16))
    offers: Mapped[int] = mapped_column(default=0)


# --------------------------------------------------------------------------------------------------- recordings


class Recording(Base):
    """What was recorded of a call: ``kind`` ``talk`` (all segments of a call are one) or ``message``.

    ``id`` is ``recordings.naming.recording_id``.  ``state``: ``expected recording finished available absent failed
    deleted``.  ``why``: the rule that asked for it, or what went wrong.  ``consent``: the announcement was played.
    ``keep_until``: deleted from the store then; None: never.  ``heard_at``: a message was listened to.
    """

    __tablename__ = "recording"
    __table_args__ = (
        Index("recording_of_company", "company", "began"),
        Index("recording_of_call", "call"),
        Index("recording_to_forget", "keep_until"),
        Index("recording_owed", "state"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    company: Mapped[str] = mapped_column(String(32))
    call: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    people: Mapped[list[str]]
    state: Mapped[str] = mapped_column(String(16), default="expected")
    rule: Mapped[str | None]
    why: Mapped[str | None]
    consent: Mapped[bool] = mapped_column(Boolean, default=False)
    began: Mapped[float]
    seconds: Mapped[float | None]
    keep_until: Mapped[float | None]
    heard_at: Mapped[float | None]
    deleted_at: Mapped[float | None]


class Segment(Base):
    """One file of a recording; ``file`` is its name in the spool.

    ``state``: ``expected started finished uploaded verified stored absent failed deleted`` (``stored``: verified, and
    the local file is gone).  ``why`` is the last trouble.
    """

    __tablename__ = "segment"
    __table_args__ = (Index("segment_of_recording", "recording"), Index("segment_owed", "state"))

    file: Mapped[str] = mapped_column(String(200), primary_key=True)
    recording: Mapped[str] = mapped_column(ForeignKey("recording.id"))
    company: Mapped[str] = mapped_column(String(32))
    call: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    switch: Mapped[str | None] = mapped_column(String(64))
    leg: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="expected")
    why: Mapped[str | None]
    expected_at: Mapped[float]
    finished_at: Mapped[float | None]
    stored_at: Mapped[float | None]
    seconds: Mapped[float | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    key: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)


# ---------------------------------------------------------------------------------------------- events, webhooks


class Event(Base):
    """A public event, as subscribers get it.  ``id`` follows from the fact, so that it is the same however often told.

    ``sequence``: of the call's events, from 1; None for what is no call's.  ``data`` is what its schema says.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index("event_of_company", "company", "created_at"),
        Index("event_of_age", "created_at"),
        Index("event_of_call", "call", "sequence"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    company: Mapped[str] = mapped_column(String(32))
    call: Mapped[str | None] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    sequence: Mapped[int | None]
    occurred_at: Mapped[float]
    created_at: Mapped[float]
    data: Mapped[dict[str, Any]]


class Endpoint(Base):
    """Where a company wants its events.  ``events``: types or ``queue.*``; empty: all.

    ``state``: ``active``, ``paused`` (by itself after days of failing, or by somebody), ``disabled`` (it answered 410),
    ``deleted``.  ``why`` says so for people.  ``failures``: in a row; ``failing_since``: the first of them;
    ``open_until``: the breaker leaves it alone until then.
    """

    __tablename__ = "endpoint"
    __table_args__ = (Index("endpoint_of_company", "company", "state"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    company: Mapped[str] = mapped_column(String(32))
    url: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    events: Mapped[list[str]]
    state: Mapped[str] = mapped_column(String(16), default="active")
    why: Mapped[str | None]
    created_at: Mapped[float]
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[float | None]
    open_until: Mapped[float | None]


class Secret(Base):
    """A signing secret (``whsec_…``) of an endpoint; during a rotation there are two, until the old one expires."""

    __tablename__ = "secret"
    __table_args__ = (Index("secret_of_endpoint", "endpoint"),)

    id: Mapped[int] = mapped_column(_Row, primary_key=True, autoincrement=True)
    endpoint: Mapped[str] = mapped_column(ForeignKey("endpoint.id"))
    secret: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]


class Delivery(Base):
    """An event that an endpoint is to get: at least once, always under the event's id.

    ``state``: ``pending delivered failed`` (three days were not enough) ``cancelled`` (the endpoint is gone).
    ``cause``: ``event test replay``.  While a worker has it, ``leased_until`` keeps others away.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("event", "endpoint", name="delivery_once"),
        Index("delivery_due", "endpoint", "state", "next_at"),
        Index("delivery_under_way", "leased_until"),
        Index("delivery_of_age", "created_at"),
        Index("delivery_of_endpoint", "endpoint", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    event: Mapped[str] = mapped_column(ForeignKey("event.id"))
    endpoint: Mapped[str] = mapped_column(ForeignKey("endpoint.id"))
    company: Mapped[str] = mapped_column(String(32))
    cause: Mapped[str] = mapped_column(String(16), default="event")
    state: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float]
    next_at: Mapped[float]
    leased_until: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    first_attempt_at: Mapped[float | None]
    delivered_at: Mapped[float | None]
    why: Mapped[str | None]


class Attempt(Base):
    """One try of a delivery: what was sent, and what came back (bodies cut to 4 kB)."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_of_delivery", "delivery"),)

    id: Mapped[int] = mapped_column(_Row, primary_key=True, autoincrement=True)
    delivery: Mapped[str] = mapped_column(ForeignKey("delivery.id"))
    company: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    at: Mapped[float]
    seconds: Mapped[float]
    url: Mapped[str]
    request_headers: Mapped[dict[str, Any]]
    request_body: Mapped[str]
    status: Mapped[int | None]
    response_headers: Mapped[dict[str, Any]]
    response_body: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None]


# ----------------------------------------------------------------------------------------------- mail and the rest


class Mail(Base):
    """A mail that is owed.  ``kind``: ``message missed_call alarm``; ``id`` follows from what it is about.

    ``state``: ``pending sent failed``, ``merged`` (an alarm that another mail tells, whose id ``why`` is).  ``data``:
    what its text is made of.
    """

    __tablename__ = "mail"
    __table_args__ = (Index("mail_due", "state", "next_at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    company: Mapped[str | None] = mapped_column(String(32))
    call: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    recipient: Mapped[str]
    data: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float]
    next_at: Mapped[float]
    leased_until: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[float | None]
    why: Mapped[str | None]


class Token(Base):
    """A token of the API: only the SHA-256 of it is kept.  ``role``: ``operator consumer agent``.

    ``company`` None (operators only): every company.  ``person``: the extension of an agent's.
    """

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    company: Mapped[str | None] = mapped_column(String(32))
    role: Mapped[str] = mapped_column(String(16))
    person: Mapped[str | None] = mapped_column(String(16))
    name: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    used_at: Mapped[float | None]


class Alarm(Base):
    """What must not go unnoticed: an endpoint that was paused, a recording that failed.  ``key`` makes it one.

    ``cleared_at``: it is over.
    """

    __tablename__ = "alarm"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    company: Mapped[str | None] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    text: Mapped[str]
    raised_at: Mapped[float]
    cleared_at: Mapped[float | None]
