"""Endpoints of webhooks: where a company wants its events, what was delivered there, and once more.

What an endpoint may be, and what becomes of its deliveries, is decided in ``workers.delivery``; here it is asked for.
A secret is told when it is made and never again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, cast

import marshmallow as ma
from flask import Response, current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from webhooks.app import desk, door, problems
from webhooks.app.fields import Choice, Flag, Line, Moment
from webhooks.app.openapi import Blueprint
from webhooks.app.pages import Between, Paged, page, page_of
from webhooks.app.problems import Problem
from webhooks.events.catalogue import CATALOGUE
from workers.delivery import endpoints as ends
from workers.delivery import replaying
from workers.delivery.endpoints import RefusedEndpoint, UnknownEndpoint
from workers.delivery.owing import wants
from workers.delivery.reaching import Reach
from workers.delivery.replaying import UnknownDelivery
from workers.journal.tables import Attempt, Delivery, Endpoint

blueprint = Blueprint("endpoints", __name__, description="Where webhooks go, and what became of each delivery.")

_URL = {"example": "https://crm.example.com/hooks/pbx"}
_EVENTS = {"description": "Types, or the like of `queue.*`; empty: all.", "example": ["call.*", "recording.available"]}
DELIVERY_STATES = ("pending", "delivered", "failed", "cancelled")


class EndpointSchema(ma.Schema):
    """An endpoint."""

    id = ma.fields.String(required=True, metadata={"example": "ep_4f1c0d6f2f7b4a0b9a7e5c31"})
    url = ma.fields.String(required=True, metadata=_URL)
    description = ma.fields.String(required=True)
    events = ma.fields.List(ma.fields.String(), required=True, metadata=_EVENTS)
    state = Choice("active", "paused", "disabled", required=True)
    why = ma.fields.String(required=True, allow_none=True, metadata={"description": "Why it is not active."})
    created_at = Moment(required=True)
    failures = ma.fields.Integer(required=True, metadata={"description": "In a row."})
    failing_since = Moment(required=True, allow_none=True)


class Endpoints(ma.Schema):
    """Endpoints, in the order in which they were made."""

    items = ma.fields.List(ma.fields.Nested(EndpointSchema), required=True)


class Secret(ma.Schema):
    """A signing secret, as Standard Webhooks has it.  It is shown this once."""

    secret = ma.fields.String(required=True, metadata={"example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})


class NewEndpoint(EndpointSchema):
    """An endpoint that was made, and its signing secret, which is shown this once."""

    secret = ma.fields.String(required=True, metadata={"example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})


def _filters(**more: Any) -> ma.fields.List[Any]:
    text = ma.fields.String(validate=ma.validate.Length(1, 80))
    return ma.fields.List(text, validate=ma.validate.Length(max=ends.MOST_FILTERS), metadata=_EVENTS, **more)


class EndpointMaking(ma.Schema):
    """What an endpoint shall be."""

    url = Line(ends.LONGEST_URL, required=True, metadata=_URL)
    description = Line(ends.LONGEST_DESCRIPTION, load_default="")
    events = _filters(load_default=list)


class EndpointChange(ma.Schema):
    """What shall be another; what is left out stays."""

    url = Line(ends.LONGEST_URL, metadata=_URL)
    description = Line(ends.LONGEST_DESCRIPTION)
    events = _filters()


class Rotation(ma.Schema):
    """How long the secrets before go on signing beside the new one."""

    overlap = ma.fields.Float(
        load_default=ends.OVERLAP,
        validate=ma.validate.Range(0, ends.LONGEST_OVERLAP),
        metadata={"description": "Seconds; 0: not at all."},
    )


class DeliverySchema(ma.Schema):
    """An event that an endpoint gets, always under the event's id."""

    id = ma.fields.String(required=True, metadata={"example": "dlv_4f1c0d6f2f7b4a0b9a7e5c31"})
    event = ma.fields.String(required=True)
    endpoint = ma.fields.String(required=True)
    cause = Choice("event", "test", "replay", required=True)
    state = Choice(*DELIVERY_STATES, required=True)
    created_at = Moment(required=True)
    next_at = Moment(required=True, metadata={"description": "Of one that is pending: when it is tried next."})
    attempts = ma.fields.Integer(required=True)
    first_attempt_at = Moment(required=True, allow_none=True)
    delivered_at = Moment(required=True, allow_none=True)
    why = ma.fields.String(required=True, allow_none=True, metadata={"description": "The last trouble."})


class DeliveriesQuery(Between):
    """Which deliveries."""

    state = Choice(*DELIVERY_STATES, load_default=None)


class AttemptSchema(ma.Schema):
    """A try: what was sent, and what came back.  Bodies are cut to 4 kB."""

    number = ma.fields.Integer(required=True)
    at = Moment(required=True)
    seconds = ma.fields.Float(required=True)
    url = ma.fields.String(required=True)
    request_headers = ma.fields.Dict(required=True)
    request_body = ma.fields.String(required=True)
    status = ma.fields.Integer(required=True, allow_none=True)
    response_headers = ma.fields.Dict(required=True)
    response_body = ma.fields.String(required=True)
    error = ma.fields.String(required=True, allow_none=True)


class Range(ma.Schema):
    """Which events shall be sent again."""

    since = Moment(required=True, metadata={"description": "Those that occurred at this moment or later."})
    until = Moment(required=True, metadata={"description": "Those that occurred before this moment."})
    types = _filters(load_default=list)
    again = Flag(load_default=False, metadata={"description": "Also those that it has got."})
    after = ma.fields.String(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=100),
        metadata={"description": "`next` of the step before."},
    )

    @ma.validates_schema
    def _one_way(self, data: Any, **kwargs: Any) -> None:
        if data["until"] <= data["since"]:
            raise ma.ValidationError("must be later than since", "until")


class Replayed(ma.Schema):
    """A step of a replay: it is over when ``next`` is null; until then ask again, with ``next`` as ``after``."""

    owed = ma.fields.Integer(required=True, metadata={"description": "Deliveries that are new."})
    again = ma.fields.Integer(required=True, metadata={"description": "Deliveries that are sent again."})
    next = ma.fields.String(required=True, allow_none=True)


# ----------------------------------------------------------------------------------------------- endpoints


@blueprint.operation("GET", "/endpoints", may=door.READERS, answer=Endpoints)
def list_endpoints() -> Any:
    """The endpoints."""
    with desk.context().database.reading() as session:
        return {"items": ends.listed(session, door.company())}


@blueprint.operation("POST", "/endpoints", may=door.READERS, body=EndpointMaking, answer=NewEndpoint, status=201)
def create_endpoint(body: dict[str, Any]) -> Any:
    """Make an endpoint: from now on it gets the events that it wants."""
    desk.routing(door.company())  # an operator may have misspelt it
    with _told():
        url = ends.checked_url(body["url"], _reach())
    with _changing() as session:
        row, secret = ends.create(session, door.company(), url, body["events"], body["description"], time.time())
    return {**_columns(row), "secret": secret}


@blueprint.operation("GET", "/endpoints/<id:endpoint>", may=door.READERS, answer=EndpointSchema)
def one_endpoint(endpoint: str) -> Any:
    """One endpoint."""
    with _told(), desk.context().database.reading() as session:
        return ends.find(session, door.company(), endpoint)


@blueprint.operation("PATCH", "/endpoints/<id:endpoint>", may=door.READERS, body=EndpointChange, answer=EndpointSchema)
def change_endpoint(endpoint: str, body: dict[str, Any]) -> Any:
    """Change an endpoint.  What is owed already goes to the new address."""
    one_endpoint(endpoint)  # before a name server is asked for a stranger's sake
    if "url" in body:
        with _told():
            body["url"] = ends.checked_url(body["url"], _reach())
    with _changing() as session:
        return ends.change(session, door.company(), endpoint, **body)


@blueprint.operation("DELETE", "/endpoints/<id:endpoint>", may=door.READERS, status=204)
def delete_endpoint(endpoint: str) -> Any:
    """Delete an endpoint: it gets nothing any more, and its secrets are forgotten."""
    with _changing() as session:
        ends.delete(session, door.company(), endpoint, time.time())
    return Response(status=204)


@blueprint.operation("POST", "/endpoints/<id:endpoint>/pause", may=door.READERS, answer=EndpointSchema, fails=(409,))
def pause_endpoint(endpoint: str) -> Any:
    """Send nothing until it is resumed.  What comes meanwhile is owed."""
    with _changing() as session:
        return ends.pause(session, door.company(), endpoint, door.who(), time.time())


@blueprint.operation("POST", "/endpoints/<id:endpoint>/resume", may=door.READERS, answer=EndpointSchema, fails=(409,))
def resume_endpoint(endpoint: str) -> Any:
    """Go on, also after it was disabled: what is owed is sent, the oldest first."""
    with _changing() as session:
        row = ends.resume(session, door.company(), endpoint, time.time())
    desk.ring("delivery")
    return row


@blueprint.operation(
    "POST", "/endpoints/<id:endpoint>/rotate", may=door.READERS, body=Rotation, answer=Secret, fails=(409,)
)
def rotate_secret(endpoint: str, body: dict[str, Any]) -> Any:
    """Make a new signing secret.  For a while both sign, so that the other side can change in its own time."""
    with _changing() as session:
        return {"secret": ends.rotate(session, door.company(), endpoint, time.time(), body["overlap"])}


@blueprint.operation(
    "POST", "/endpoints/<id:endpoint>/test", may=door.READERS, answer=DeliverySchema, status=202, fails=(409,)
)
def send_test(endpoint: str) -> Any:
    """Send a test event.  What became of it stands in the delivery."""
    with _changing() as session:
        row = replaying.send_test(session, door.company(), endpoint, time.time())
    desk.ring("delivery")
    return row


@blueprint.operation(
    "POST", "/endpoints/<id:endpoint>/replay", may=door.READERS, body=Range, answer=Replayed, status=202, fails=(409,)
)
def replay(endpoint: str, body: dict[str, Any]) -> Any:
    """Send the events of a time again, a step at a time: those that it has not got, or all."""
    with _changing() as session:
        done = replaying.replay(
            session,
            door.company(),
            endpoint,
            body["since"],
            body["until"],
            time.time(),
            types=_types(body["types"]),
            again=body["again"],
            after=body["after"],
        )
    desk.ring("delivery")
    return done


# ---------------------------------------------------------------------------------------------- deliveries


@blueprint.operation(
    "GET",
    "/endpoints/<id:endpoint>/deliveries",
    may=door.READERS,
    query=DeliveriesQuery,
    answer=page_of(DeliverySchema),
)
def list_deliveries(endpoint: str, query: dict[str, Any]) -> Any:
    """What was, or is to be, delivered to an endpoint, the newest first."""
    one_endpoint(endpoint)
    rows = select(Delivery).where(Delivery.company == door.company(), Delivery.endpoint == endpoint)
    if query["state"] is not None:
        rows = rows.where(Delivery.state == query["state"])
    with desk.context().database.reading() as session:
        return page(session, rows, Delivery.created_at, Delivery.id, query)


@blueprint.operation("GET", "/deliveries/<id:delivery>", may=door.READERS, answer=DeliverySchema)
def one_delivery(delivery: str) -> Any:
    """One delivery."""
    with desk.context().database.reading() as session:
        row = session.scalar(select(Delivery).where(Delivery.company == door.company(), Delivery.id == delivery))
    if row is None:
        raise problems.not_found()
    return row


@blueprint.operation(
    "GET", "/deliveries/<id:delivery>/attempts", may=door.READERS, query=Paged, answer=page_of(AttemptSchema)
)
def list_attempts(delivery: str, query: dict[str, Any]) -> Any:
    """The tries of a delivery, the newest first: what was sent, and what came back."""
    one_delivery(delivery)
    rows = select(Attempt).where(Attempt.company == door.company(), Attempt.delivery == delivery)
    with desk.context().database.reading() as session:
        return page(session, rows, Attempt.at, Attempt.id, query)


@blueprint.operation(
    "POST",
    "/deliveries/<id:delivery>/redeliver",
    may=door.READERS,
    answer=DeliverySchema,
    status=202,
    fails=(409,),
)
def redeliver(delivery: str) -> Any:
    """Send a delivery again, now, under the same id."""
    with _changing() as session:
        row = replaying.redeliver(session, door.company(), delivery, time.time())
    desk.ring("delivery")
    return row


# -------------------------------------------------------------------------------------------------- shared


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What ``workers.delivery`` refuses, as problems."""
    try:
        yield
    except (UnknownEndpoint, UnknownDelivery):
        raise problems.not_found() from None
    except RefusedEndpoint as refused:
        if refused.field == "state":
            raise Problem("conflict", desk.said(str(refused))) from None
        raise problems.invalid(refused.field, desk.said(str(refused))) from None


@contextlib.contextmanager
def _changing() -> Iterator[Session]:
    with _told(), desk.context().database.writing() as session:
        yield session


def _reach() -> Reach:
    """The process's way to what endpoints' names lead to."""
    if "cordboard-reach" not in current_app.extensions:
        current_app.extensions["cordboard-reach"] = Reach(desk.context().config.subscribers)
    return cast(Reach, current_app.extensions["cordboard-reach"])


def _types(filters: list[str]) -> list[str]:
    """The types that filters name: a replay takes types only."""
    with _told():
        wanted = ends.checked_events(filters)
    return [type_ for type_ in CATALOGUE if wants(wanted, type_)] if wanted else []


def _columns(row: Endpoint) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in Endpoint.__table__.columns}
