"""What workers add to the journal themselves: a recording that is stored, an endpoint that was paused.

It goes the same road as a fact from a controller (``ingest.take``), in the transaction of whoever tells it, so that the
row that was changed, the fact, its events and what is owed of them are there together or not at all.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from callcontrol.private import SettingsError
from callcontrol.routing.model import Routing
from workers.journal import ingest
from workers.mail.owing import RoutingOf

#: The column's length.
_LONGEST = 128


def tell(
    session: Session,
    type_: str,
    data: Mapping[str, Any],
    *,
    company: str | None,
    call: str = "",
    about: str,
    at: float,
    switch: str | None = None,
    routing_of: RoutingOf | None = None,
) -> bool:
    """Tell a fact, once: ``about`` says of what it is (``segment/<file>/stored``), and two of one call and one
    ``about`` are the same.  False: it was told before, or it is the end of a call that has one.

    ``at``: UTC epoch.  ``routing_of``: whom to ask who gets a mail of it; else this process's context.
    For a writing transaction; the fact is there when it commits.
    """
    fact = {
        "v": 1,
        "type": type_,
        "company": company,
        "call": call or None,
        "epoch": 0,
        "n": 0,
        "p": _short(about),
        "at": at,
        "switch": switch,
        "data": dict(data),
    }
    return ingest.take(session, [fact], routing_of or _routing, at).new == 1


def _short(about: str) -> str:
    """What stands in the row: long words about it keep their beginning, and differ all the same."""
    if len(about) <= _LONGEST:
        return about
    return f"{about[: _LONGEST - 41]}/{hashlib.sha256(about.encode()).hexdigest()[:40]}"


def _routing(company: str) -> Routing | None:
    return _context_routing()(company)


@functools.cache
def _context_routing() -> RoutingOf:
    from workers.context import current

    try:
        return current().routing
    except SettingsError:  # a process without settings, such as a test: nobody gets a mail of it
        return lambda _company: None
