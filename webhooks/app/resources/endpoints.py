"""Endpoints of webhooks: where a company wants its events, what was delivered there, and once more.

What an endpoint may be, and what becomes of its deliveries, is decided in ``workers.delivery``; here it is asked for.
"""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from sqlalchemy import select

from webhooks.app import desk, door, problems
from webhooks.app.fields import Choice, Line, Moment, word
from webhooks.app.openapi import Blueprint
from webhooks.app.pages import Between, Paged, page, page_of
from workers.journal.tables import Attempt, Delivery, Endpoint, Event

blueprint = Blueprint("endpoints", __name__, description="Where webhooks go, and what became of each delivery.")

_EVENT = r"[a-z_]{1,32}\.([a-z_]{1,32}|\*)"


class EndpointSchema(ma.Schema):
    """An endpoint."""

    id = ma.fields.String(required=True, metadata={"example": "ep_0c9d3a51"})
    url = ma.fields.String(required=True, metadata={"example": "https://crm.example.com/hooks/pbx"})
    description = ma.fields.String(required=True)
    events = ma.fields.List(ma.fields.String(), required=True, metadata={"description": "Empty: all."})
    state = Choice("active", "paused", "disabled", required=True)
    why = ma.fields.String(required=True, allow_none=True, metadata={"description": "Why it is not active."})
    created_at = Moment(required=True)
    failures = ma.fields.Integer(required=True, metadata={"description": "In a row."})
    failing_since = Moment(required=True, allow_none=True)


@blueprint.operation("GET", "/endpoints", may=door.READERS, query=Paged, answer=page_of(EndpointSchema))
def list_endpoints(query: dict[str, Any]) -> Any:
    """The endpoints, the newest first."""
    rows = select(Endpoint).where(Endpoint.company == door.company(), Endpoint.state != "deleted")
    with desk.context().database.reading() as session:
        return page(session, rows, Endpoint.created_at, Endpoint.id, query)


@blueprint.operation("GET", "/endpoints/<id:endpoint>", may=door.READERS, answer=EndpointSchema)
def one_endpoint(endpoint: str) -> Any:
    """One endpoint."""
    return _one(endpoint)


def _one(endpoint: str) -> Endpoint:
    rows = select(Endpoint).where(Endpoint.company == door.company(), Endpoint.state != "deleted")
    with desk.context().database.reading() as session:
        row = session.scalar(rows.where(Endpoint.id == endpoint))
    if row is None:
        raise problems.not_found()
    return row
