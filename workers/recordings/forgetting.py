"""Deleting recordings: by a company's retention, or because somebody says so.

What is deleted is gone from the store before a row says so, seen by asking the store; done again, it changes nothing.
The rows stay: that there was a recording, and who deleted it when, is the journal's to know.  A file that is still in a
spool is removed by that spool's worker, who finds the row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from workers.journal.database import Database
from workers.journal.tables import Recording
from workers.journal.telling import tell
from workers.recordings import ledger
from workers.recordings.store import Store, StoreError
from workers.recordings.uploading import lock_call

_log = structlog.get_logger("recordings")
#: So many are deleted in one go.
MOST = 100


class StillRecorded(Exception):
    """The switch records just now, or is about to: delete it when that has ended."""


def forget_old(database: Database, store: Store, now: float, *, most: int = MOST, seconds: float = 20.0) -> int:
    """Delete the oldest of what is past its ``keep_until``; how many.  Those that the store keeps from us are left for
    the next time.
    """
    until = time.monotonic() + seconds
    with database.reading() as session:
        due = session.execute(
            select(Recording.company, Recording.id)
            .where(Recording.keep_until <= now, Recording.state == "available")
            .order_by(Recording.keep_until)
            .limit(most)
        ).all()
    count = 0
    for company, recording in due:
        if time.monotonic() > until:
            break
        try:
            count += delete(database, store, company, recording, "retention", now)
        except (StoreError, StillRecorded) as error:
            _log.warning("a recording past its time was not deleted", recording=recording, error=str(error)[:300])
    return count


def delete(database: Database, store: Store | None, company: str, recording: str, by: str, now: float) -> bool:
    """Delete a company's recording for good; False: there is none of this company, or it was deleted before.

    ``by``: who wants it, as it is told.  Raises StillRecorded, StoreError (then nothing is said to be deleted).
    """
    with database.reading() as session:
        found = _of(session, company, recording)
        if found is None or found.state == "deleted":
            return False
        keys = _keys(session, found)
    _remove(store, {key for key, _ in keys})
    with database.writing() as session:
        lock_call(session, found.call)
        found = _of(session, company, recording, lock=True)
        if found is None or found.state == "deleted":
            return False
        late = {key for key, _ in _keys(session, found) - keys}
        found.state, found.deleted_at, found.keep_until = "deleted", now, None
        for segment in ledger.segments(session, found):
            segment.state = "deleted"
        data = {"recording": found.id, "kind": found.kind, "why": by[:100]}
        tell(
            session,
            "recording.deleted",
            data,
            company=company,
            call=found.call,
            about=f"recording/{found.id}/deleted",
            at=now,
        )
        _remove(store, late)  # what was stored meanwhile, before the rows say that all is gone
    return True


def _remove(store: Store | None, keys: Iterable[str]) -> None:
    for key in keys:
        if store is None:
            raise StoreError("the store that has it is not in cordboard.yaml any more")
        store.delete(key)


def _of(session: Session, company: str, recording: str, *, lock: bool = False) -> Recording | None:
    wanted = select(Recording).where(Recording.id == recording, Recording.company == company)
    return session.scalar(wanted.with_for_update() if lock else wanted)


def _keys(session: Session, recording: Recording) -> set[tuple[str, float | None]]:
    """Where its segments are stored, and since when; or on their way to.  Raises StillRecorded."""
    segments = ledger.segments(session, recording)
    if any(segment.state in ("expected", "started") for segment in segments):
        raise StillRecorded(f"{recording.id} is being recorded")
    return {(segment.key, segment.stored_at) for segment in segments if segment.key is not None}
