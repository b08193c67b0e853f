"""Which mails a fact makes: written in the fact's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from callcontrol.routing.model import Routing
from workers.journal.tables import Call

#: The routing of a company, or None.
RoutingOf = Callable[[str], Routing | None]


def owe(session: Session, fact: Mapping[str, Any], call: Call | None, routing_of: RoutingOf, now: float) -> int:
    """Owe the mails that a fact makes (a message that is stored, a call that was missed); how many."""
    return 0
