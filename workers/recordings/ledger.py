"""The ledger of recordings: what each fact says about the files that are, or should be, in the spool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session


def note(session: Session, fact: Mapping[str, Any]) -> None:
    """Bring the rows of recordings and segments up to a fact: ``recording.*``, ``message.*``; no other changes them."""
