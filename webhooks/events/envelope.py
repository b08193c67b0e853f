"""The envelope: what every event is wrapped in on its way to a subscriber, and the bytes that are signed.

The same event has the same bytes however often it is sent: an endpoint that compares them sees no difference.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

#: The end of the year 9999, which is as far as RFC 3339 goes; seconds.
_LAST = 253_402_300_799.0


class EventRow(Protocol):
    """An event as the journal keeps it (``workers.journal.tables.Event``)."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def company(self) -> str: ...
    @property
    def call(self) -> str | None: ...
    @property
    def sequence(self) -> int | None: ...
    @property
    def occurred_at(self) -> float: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


def envelope(event: EventRow) -> dict[str, Any]:
    """The event as subscribers get it.  ``occurred_at`` is RFC 3339 in UTC, with milliseconds."""
    return {
        "id": event.id,
        "type": event.type,
        "version": event.version,
        "company": event.company,
        "call": event.call or None,
        "sequence": event.sequence,
        "occurred_at": moment(event.occurred_at),
        "data": dict(event.data),
    }


def body(wrapped: Mapping[str, Any]) -> bytes:
    """The bytes of an envelope: what is sent, and what is signed.  UTF-8; ``data`` has its keys in order."""
    ordered = {**wrapped, "data": json.loads(_plain(wrapped["data"]))} if "data" in wrapped else wrapped
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(data: Any) -> str:
    return json.dumps(data, sort_keys=True, allow_nan=False)


def moment(seconds: float) -> str:
    """A UTC epoch as RFC 3339: ``2026-11-26T00:22:19.123Z``.  What no calendar has is the nearest that one has."""
    within = min(max(seconds, 0.0), _LAST) if not math.isnan(seconds) else 0.0
    milliseconds = math.floor(within * 1000 + 0.5)
    whole = dt.datetime.fromtimestamp(milliseconds // 1000, dt.UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
