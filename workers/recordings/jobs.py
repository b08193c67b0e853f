"""The job of the recordings' queue: see to the spool of this host."""

from __future__ import annotations

import contextlib
import functools
import os
import time

import rq

from callcontrol.routing.model import Routing
from callcontrol.settings import Storage
from workers import bell
from workers.context import Context, current
from workers.journal.tables import Position
from workers.recordings.forgetting import MOST, forget_old
from workers.recordings.store import Store, StoreError
from workers.recordings.uploading import Uploader

#: How often what is past its time is looked for, and uploads in parts that nobody goes on with; seconds.
FORGET_EVERY = 600.0
#: So old are those, seconds.
_ABANDONED = 7 * 86_400.0
_FORGOTTEN = "recordings-forgotten"


def see_to_spool() -> bool:
    """Do what is due in the spool, and by retention; whether more is left (then it has rung again)."""
    context = current()
    job = rq.get_current_job()
    switches = [switch.name for switch in context.config.switches]
    switch = job.origin.partition("-")[2] if job is not None else switches[0]
    store = store_of(context)
    worker = uploader(context, switch, store)
    more = worker.drain()
    if store is not None and switch == switches[0]:
        more = _forget(context, store) or more
    if job is not None:
        owed = ("delivery", "mail") if worker.told else ()
        for queue in (*owed, *([job.origin] if more else [])):
            bell.ring(job.connection, queue)
    return more


@functools.cache
def _store_of(storage: Storage, _process: int) -> Store:
    return Store(storage)


def store_of(context: Context) -> Store | None:
    """The store that cordboard.yaml names, one client a process; None: none.  Raises SettingsError."""
    return None if context.config.storage is None else _store_of(context.config.storage, os.getpid())


def uploader(context: Context, switch: str, store: Store | None) -> Uploader:
    """The worker of a switch's spool."""
    return Uploader(
        context.database,
        store,
        context.spool,
        switch,
        keep=lambda company: keep_of(context.routing(company)),
        first=switch == context.config.switches[0].name,
        switches=[one.name for one in context.config.switches],
    )


def keep_of(routing: Routing | None) -> float | None:
    """How long a company keeps its recordings, seconds; None: for ever."""
    recording = getattr(routing, "recording", None)
    keep = getattr(recording, "keep", None)
    return None if keep is None else float(keep)


def _forget(context: Context, store: Store) -> bool:
    """Delete what is past its time, one process every ten minutes; whether more is."""
    now = time.time()
    with context.database.writing() as session:
        last = session.get(Position, _FORGOTTEN)
        if last is not None and now - FORGET_EVERY < float(last.at) <= now:
            return False
        session.merge(Position(name=_FORGOTTEN, at=str(now)))
    with contextlib.suppress(StoreError):  # a store that cannot list them, or is away: they are looked for again
        store.abort_old(now - _ABANDONED)
    if forget_old(context.database, store, now) < MOST:
        return False
    with context.database.writing() as session:  # there is more: the next ring goes on at once
        session.merge(Position(name=_FORGOTTEN, at="0"))
    return True
