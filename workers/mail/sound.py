"""The sound of a message for its mail: attached if it is short, else an address in the store, good for a week.

The store is asked late, as the mail is sent: what is due waits in a row, and a row holds no sound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound

from workers.context import Context
from workers.journal.tables import Recording, Segment
from workers.mail.composing import Sound

#: A sound is attached up to so many bytes: a mail grows by a third, and many servers take 10 MB.
MOST = 5 * 2**20
#: How long an address in the store is good, days: the longest that S3 signs.
DAYS = 7


class Store(Protocol):
    """What is wanted of ``workers.recordings.store.Store``."""

    def fetch(self, key: str, sha256: str | None = None) -> bytes:
        """The bytes under a key."""
        ...

    def presigned(self, key: str, seconds: int, filename: str) -> str:
        """An address by which anybody can fetch it for so long."""
        ...


class Deleted(Exception):
    """There is no sound any more, and so nothing to tell."""


class Unfetched(Exception):
    """The store did not give it; it may later."""


def sound_of(context: Context, store: Callable[[], Store], recording: str, *, attach: bool) -> Sound:
    """The sound of a message.  ``attach`` False: an address at most.  Raises Deleted, Unfetched."""
    with context.database.reading() as session:
        found = session.get(Recording, recording)
        if found is None or found.state == "deleted":
            raise Deleted(recording)
        rows = select(Segment).where(Segment.recording == recording, Segment.key.is_not(None)).limit(1)
        try:
            segment = session.scalars(rows).one()
        except NoResultFound:
            return Sound()
        key, size, sha256 = segment.key or "", segment.bytes, segment.sha256
    if context.config.storage is None:
        return Sound()
    try:
        if attach and size is not None and size <= MOST:
            return Sound(data=store().fetch(key, sha256))
        name = f"message-{time.strftime('%Y-%m-%d', time.gmtime(found.began))}.wav"
        return Sound(link=store().presigned(key, DAYS * 24 * 3600, name), days=DAYS)
    except Exception as error:  # the store's own tree of errors, and whatever a network does
        raise Unfetched(f"{type(error).__name__}: {error}"[:300]) from error
