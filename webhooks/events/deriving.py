"""From facts to public events: what subscribers are told of a fact.  Pure.

The surprise: an event needs more than its fact says (how long the call has talked, whether it was missed), so the
journal gives the call's row as it is *after* the fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallSoFar:
    """What the journal knows of a call after the fact; moments are UTC epochs, seconds."""

    id: str
    company: str
    direction: str
    caller: str | None
    called: str | None
    extension: str | None
    began: float
    answered_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    talk_seconds: float = 0.0
    talked_with: str | None = None
    cause: str | None = None
    missed: bool = False
    message: bool = False


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """An event as its schema describes it, before it has an id and a sequence number."""

    type: str
    data: Mapping[str, Any]
    version: int = 1


def derive(fact: Mapping[str, Any], call: CallSoFar | None) -> tuple[PublicEvent, ...]:
    """The public events of a fact; most have none.  ``call`` None: the fact is no call's."""
    return ()
