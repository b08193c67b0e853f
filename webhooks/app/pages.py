"""Long lists, page by page: the newest first, and a cursor that says where the next page begins.

A cursor names the last row of a page and not a count of rows, so that what is written meanwhile neither repeats a row
nor leaves one out.  It is nobody's secret and may be anything when it comes back.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import marshmallow as ma
from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from webhooks.app import problems
from webhooks.app.fields import Moment

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
    if query["cursor"] is not None:
        last_at, last = read_cursor(query["cursor"], int if key.type.python_type is int else str)
        later = (at > last_at, key > last) if oldest_first else (at < last_at, key < last)
        rows = rows.where(or_(later[0], and_(at == last_at, later[1])))
    order = (at.asc(), key.asc()) if oldest_first else (at.desc(), key.desc())
    found = session.scalars(rows.order_by(*order).limit(query["limit"] + 1)).all()
    items = found[: query["limit"]]
    more = len(found) > len(items)
    return {"items": items, "next": cursor(getattr(items[-1], at.key), getattr(items[-1], key.key)) if more else None}


def cursor(at: float, key: str | int) -> str:
    """The cursor of the page after this row."""
    return base64.urlsafe_b64encode(json.dumps([at, key], separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(text: str, of: type) -> tuple[float, Any]:
    """The row that a cursor names.  Raises Problem."""
    try:
        at, key = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        good = isinstance(at, (int, float)) and not isinstance(at, bool) and math.isfinite(at) and isinstance(key, of)
        good = good and (abs(key) < 2**63 if isinstance(key, int) else key.isascii() and key.isprintable())
    except (ValueError, TypeError, RecursionError, OverflowError):
        good = False
    if not good:
        raise problems.invalid("cursor", "is not the `next` of a page")
    return float(at), key
