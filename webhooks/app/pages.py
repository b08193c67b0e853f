"""Long lists, page by page, as the API gives them: the newest first, unless something else is asked for."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from webhooks.app import problems
from webhooks.app.fields import Moment
from workers.journal import paging

#: Rows of a page, if nothing else is said, and at most.
PAGE = 50
LONGEST_PAGE = 200


class Paged(ma.Schema):
    """What every list may be asked with."""

    cursor = ma.fields.String(
        load_default=None,
        validate=ma.validate.Length(max=300),
        metadata={"description": "`next` of the page before; without it the first page."},
    )
    limit = ma.fields.Integer(
        load_default=PAGE,
        validate=ma.validate.Range(1, LONGEST_PAGE),
        metadata={"description": "So many rows at most."},
    )


class Between(Paged):
    """What lists of things that happened may be asked with."""

    since = Moment(load_default=None, metadata={"description": "Not before this moment."})
    until = Moment(load_default=None, metadata={"description": "Before this moment."})


def page_of(of: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of a page of these."""
    name = of.__name__.removesuffix("Schema")
    fields: dict[str, Any] = {
        "items": ma.fields.List(ma.fields.Nested(of), required=True),
        "next": ma.fields.String(
            required=True,
            allow_none=True,
            metadata={"description": "The cursor of the next page; null: this is the last."},
        ),
    }
    return type(f"{name}Page", (ma.Schema,), {"__doc__": f"A page of {name.lower()}s, the newest first.", **fields})


def page(
    session: Session,
    rows: Select[Any],
    at: InstrumentedAttribute[float],
    key: InstrumentedAttribute[Any],
    query: dict[str, Any],
    *,
    oldest_first: bool = False,
) -> dict[str, Any]:
    """A page of ``rows``, ordered by the moment ``at`` and ``key``.  Raises Problem for a cursor that is none."""
    if query.get("since") is not None:
        rows = rows.where(at >= query["since"])
    if query.get("until") is not None:
        rows = rows.where(at < query["until"])
    try:
        items, more = paging.page(
            session, rows, at, key, limit=query["limit"], cursor=query["cursor"], oldest_first=oldest_first
        )
    except paging.CursorError:
        raise problems.invalid("cursor", "is not the `next` of a page") from None
    return {"items": items, "next": more}
