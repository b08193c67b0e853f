"""Long lists, page by page, and the cursor that says where the next page begins.

A cursor names the last row of a page and not a count of rows, so that what is written meanwhile neither repeats a row
nor leaves one out.  It is nobody's secret, and may be anything when it comes back.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session


class CursorError(ValueError):
    """A cursor that no page of ours has given."""


def page(
    session: Session,
    rows: Select[Any],
    at: InstrumentedAttribute[float],
    key: InstrumentedAttribute[Any],
    *,
    limit: int,
    cursor: str | None = None,
    oldest_first: bool = False,
) -> tuple[Sequence[Any], str | None]:
    """At most ``limit`` of ``rows``, ordered by the moment ``at`` and ``key``, and the next page's cursor; None: none.

    Raises CursorError.
    """
    if cursor is not None:
        last_at, last = read_cursor(cursor, key.type.python_type)
        later = (at > last_at, key > last) if oldest_first else (at < last_at, key < last)
        rows = rows.where(or_(later[0], and_(at == last_at, later[1])))
    order = (at.asc(), key.asc()) if oldest_first else (at.desc(), key.desc())
    found = session.scalars(rows.order_by(*order).limit(limit + 1)).all()
    items = found[:limit]
    more = len(found) > limit
    return items, cursor_of(getattr(items[-1], at.key), getattr(items[-1], key.key)) if more else None


def cursor_of(at: float, key: str | int) -> str:
    """The cursor of the page after this row."""
    return base64.urlsafe_b64encode(json.dumps([at, key], separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(text: str, of: type[Any]) -> tuple[float, Any]:
    """The row that a cursor names, by its moment and its key, an ``of``.  Raises CursorError."""
    try:
        at, key = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        good = isinstance(at, (int, float)) and not isinstance(at, bool) and math.isfinite(at) and type(key) is of
        good = good and (abs(key) < 2**63 if isinstance(key, int) else key.isascii() and key.isprintable())
    except (ValueError, TypeError, RecursionError, OverflowError):
        good = False
    if not good:
        raise CursorError("this is no cursor of a page")
    return float(at), key
