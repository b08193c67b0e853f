"""From the spool to the store: a file of sound goes only when what is stored has been found to be the same.

For each file that is whole, by whoever holds its manifest::

    manifest, synced  ->  sent  ->  verified  ->  rows and what subscribers are told, one transaction
                      ->  the local file removed  ->  ``stored``  ->  the manifest removed

Between any two of these a worker may be killed, and all of it may be done again, by two at a time: what is there
already is found by the manifest, by what the store has, and by the segment's state.

Where the surprise lies:

* What the key holds already, and is not the same, is replaced only if the manifest says that we sent something there.
  Else it is somebody's: the segment fails with an alarm, and the file stays.
* A file that has changed since its manifest was written is not removed: it is stored again, whole.
* A recording that was deleted meanwhile takes its file, and what was sent of it, with it.
* A talk's recording is told of when its call is over, which may be long after its last segment was stored.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from callcontrol.spool import SpoolFile, read_name
from workers.journal.database import Database
from workers.journal.tables import Alarm, Call, Recording, Segment
from workers.journal.telling import tell
from workers.recordings import ledger, spool
from workers.recordings.manifest import Manifest, Note
from workers.recordings.spool import Found, Sound
from workers.recordings.store import NoBucket, NotAllowed, Store, StoreError

#: How long a company's recordings are kept, seconds; None: for ever.
Keep = Callable[[str], float | None]

_log = structlog.get_logger("recordings")
#: So many rows are looked at in one go; the next ring takes the next.
_MANY = 500
#: The spool's disk is nearly full with less of it free than this share, or these bytes.
_SHARE, _BYTES = 0.1, 10**9
#: So many failures in a row, and the store is left alone until the next ring.
_SICK = 12


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds.  ``quiet``: a file that has not changed for so long may be whole.  ``pause``: after a failure, doubled
    up to ``longest_pause``.  ``failed``: failing for so long is an alarm and a fact.  ``absent``: after a call's end,
    for what never came.  ``unheard``: a call that the journal has never heard of is taken to be over.
    """

    quiet: float = 30.0
    pause: float = 1.0
    longest_pause: float = 300.0
    failed: float = 3600.0
    absent: float = 120.0
    unheard: float = 3600.0


class Conflict(StoreError):
    """The key holds something else that is not ours."""


class Unlike(StoreError):
    """What is stored is not what was sent."""


class Unfinished(Exception):
    """The time was over before all parts of a large file were sent."""


@dataclass(slots=True)
class _Drain:
    """One drain: until when (monotonic), and what came of it."""

    until: float
    more: bool = False
    stored: int = 0
    #: Failures in a row; with too many the store is left alone until the next ring.
    failures: int = 0


@dataclass(slots=True)
class Uploader:
    """The worker of one switch's spool.  ``store`` None: recordings stay there.  ``hands``: files at a time.

    ``first``: this switch is also that of segments which no fact has told a switch of, and of those whose switch is not
    among ``switches`` any more.
    """

    database: Database
    store: Store | None
    directory: Path
    switch: str
    keep: Keep = lambda company: None
    pace: Pace = Pace()
    hands: int = 4
    first: bool = True
    switches: Sequence[str] = ()
    clock: Callable[[], float] = time.time
    #: How often something was told of a recording.
    told: int = field(default=0, init=False)

    def drain(self, seconds: float = 20.0) -> bool:
        """Do what is due for at most about so long; whether more is left.  Raises OSError if there is no spool."""
        run = _Drain(time.monotonic() + seconds)
        found = spool.look(self.directory)
        files = {one.file.name: one for one in found.files}
        told = self._segments(sorted({*files, *found.manifests}))
        self._alarms_of_spool(found)
        if self.store is not None:
            due = [name for name, one in files.items() if self._whole(one, told.get(name))]
            due += sorted(found.manifests - {*files})
            with ThreadPoolExecutor(self.hands) as pool:
                list(pool.map(lambda name: self._try(name, run), due))
        self._look_for_absent()
        self._settle_ended()
        return run.more

    @property
    def _store(self) -> Store:
        if self.store is None:
            raise StoreError("there is no storage in cordboard.yaml")
        return self.store

    # ------------------------------------------------------------------------------------------ which are due

    def _segments(self, names: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """Of each name: its segment's state, and whether its call is over (as far as the journal knows of it)."""
        known: dict[str, tuple[str, bool]] = {}
        with self.database.reading() as session:
            for at in range(0, len(names), _MANY):
                rows = session.execute(
                    select(Segment.file, Segment.state, Call.state)
                    .outerjoin(Call, Call.id == Segment.call)
                    .where(Segment.file.in_(names[at : at + _MANY]))
                )
                known.update({file: (state, call == "ended") for file, state, call in rows})
        return known

    def _whole(self, found: Found, known: tuple[str, bool] | None) -> bool:
        """Whether nothing more will come into a file."""
        state, over = known or ("expected", False)
        said = state not in ("expected", "started", "absent")
        # What changed in times to come did so before the clock was set back.
        quiet = abs(self.clock() - found.changed_at)
        if not said and not over and quiet <= self.pace.quiet:
            return False
        try:
            fd = spool.open_sound(found.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._alarm(f"recordings/{self.switch}/unreadable", "spool", f"{found.path}: {error.strerror}")
            return False
        try:
            written = spool.written_by_somebody(fd)
        finally:
            os.close(fd)
        if written is None:  # the kernel may not tell: so somebody must have said it, or nobody can be there
            return said or (over and quiet > self.pace.quiet) or (known is None and quiet > self.pace.unheard)
        return not written and (said or quiet > self.pace.quiet)

    def _try(self, name: str, run: _Drain) -> None:
        """See to one file, whatever is wrong with it."""
        if time.monotonic() > run.until:
            run.more = True
            return
        if run.failures >= _SICK:
            return  # the store is away: the next ring tries again
        try:
            if self.see_to(name, run.until):
                run.stored += 1
                run.failures = 0
        except StoreError:
            run.failures += 1
        except (spool.Growing, Unfinished):
            run.more = True
        except SQLAlchemyError as error:
            run.failures = _SICK
            _log.error("the database cannot be written", error=str(error)[:300])
        except Exception as error:  # whatever it is, the other files are seen to
            what = f"{type(error).__name__}: {error}"[:300]
            _log.error("alarm", what="a recording cannot be seen to", file=name, error=what)

    # ----------------------------------------------------------------------------------------------- one file

    def see_to(self, name: str, until: float) -> bool:
        """Bring one whole file to the store, or on its way; whether it is done now.

        Raises StoreError (it is written down, and tried again later), Growing, Unfinished, SQLAlchemyError, OSError.
        """
        path, file = self.directory / name, read_name(name)
        held = None if file is None else Manifest.hold(path)
        if file is None or held is None:
            return False
        with held:
            if held.note is not None and not _is_of(held.note, file):
                held.note = None  # damaged, or another file's
            try:
                fd = spool.open_sound(path)
            except FileNotFoundError:
                return self._without_file(file, held)
            try:
                return self._with_file(file, held, fd, until)
            finally:
                os.close(fd)

    def _with_file(self, file: SpoolFile, held: Manifest, fd: int, until: float) -> bool:
        seen, note = os.fstat(fd), held.note
        if note is None or (note.bytes, note.changed_ns) != (seen.st_size, seen.st_mtime_ns):
            note = self._written(file, held, fd)
            if note is None:
                return False
        elif self._later(note):
            return False
        stands = self._stands(file, note)
        if stands == "":
            try:
                self._send(held, fd, until)
            except StoreError as error:
                self._failed(file, held, error)
                raise
            stands = self._verified(file, note)
        if stands == "deleted":
            self._forget(file, held)
            return True
        return self._remove(file, held)

    def _written(self, file: SpoolFile, held: Manifest, fd: int) -> Note | None:
        """Write the manifest of a file as it is; None: there is nothing in it, or somebody else has it."""
        with self.database.reading() as session:
            segment = session.get(Segment, file.name)
            said = segment.seconds if segment is not None else None
        sound = spool.measure(fd, said)
        if sound.empty:
            self._empty(file, held, sound)
            return None
        old = held.note
        note = Note(
            recording=file.recording,
            company=file.company,
            call=file.call,
            bytes=sound.bytes,
            sha256=sound.sha256,
            key=f"{self._store.storage.prefix}{file.company}/{file.call}/{file.name}" if old is None else old.key,
            changed_ns=os.fstat(fd).st_mtime_ns,
            seconds=sound.seconds,
            why=sound.why,
            sent=old is not None and old.sent,
        )
        if not held.write(note):
            return None
        if old is not None and old.upload is not None:
            with contextlib.suppress(StoreError):  # else it is aborted as one that nobody knows
                self._store.abort(old.key, old.upload)
        return note

    def _send(self, held: Manifest, fd: int, until: float) -> None:
        """Have the store hold what the manifest says, and see that it does."""
        note, store = held.said, self._store
        there = store.head(note.key)
        if there is not None and store.verify(note.key, note.bytes, note.sha256):
            return
        if there is not None and not note.sent:
            raise Conflict(f"{note.key}: the store has something else there, {there.size} bytes, and it stays")
        if not note.sent:
            # Not synced: a power cut that forgets it makes, at worst, a conflict and an alarm of what was ours.
            held.change(sent=True, durable=False)
        if note.bytes > store.storage.multipart_above:
            begun = store.put_in_parts(
                note.key, fd, note.bytes, note.upload, lambda upload: held.change(upload=upload), until
            )
            if not begun:
                raise Unfinished
        else:
            store.put(note.key, fd, note.bytes, note.sha256)
        if not store.verify(note.key, note.bytes, note.sha256):
            if note.bytes > store.storage.multipart_above:
                held.change(upload=None)
            raise Unlike(f"{note.key}: what is stored is not what was sent")

    def _stands(self, file: SpoolFile, note: Note) -> str:
        """What is written down of what the manifest says: ``verified``, ``deleted``, or nothing."""
        with self.database.reading() as session:
            segment, recording = session.get(Segment, file.name), session.get(Recording, file.recording)
        if "deleted" in (segment and segment.state, recording and recording.state):
            return "deleted"
        known = segment is not None and segment.state in ledger.KEPT and segment.sha256 == note.sha256
        return "verified" if known else ""

    def _verified(self, file: SpoolFile, note: Note) -> str:
        """Write down that what is stored is the same, and tell of it; ``deleted`` if the recording was, meanwhile."""
        now = self.clock()
        with self._rows(file, note) as (session, recording, segment):
            if segment.state == "deleted":
                return "deleted"
            ledger.advance(segment, "verified")
            segment.bytes, segment.sha256, segment.key, segment.why = note.bytes, note.sha256, note.key, note.why
            segment.seconds = note.seconds if note.seconds is not None else segment.seconds
            segment.finished_at = segment.finished_at or note.changed_ns / 1e9
            segment.stored_at = now
            ledger.stand(session, recording)
            self._settle(session, recording)
            clear_alarm(session, f"recording/{file.name}", now)
            clear_alarm(session, f"recordings/{self.switch}/store", now)
        return "verified"

    def _remove(self, file: SpoolFile, held: Manifest) -> bool:
        """Remove the local file, which is stored; then say so, and that nothing is owed any more."""
        note = held.said
        size, changed = note.bytes, note.changed_ns
        if not spool.remove_if(
            self.directory / file.name, lambda now: (now.st_size, now.st_mtime_ns) == (size, changed)
        ):
            raise spool.Growing  # its manifest is written anew, and all of it stored again
        with self._rows(file, note) as (_, _, segment):
            ledger.advance(segment, "stored")
        held.remove()
        return True

    def _without_file(self, file: SpoolFile, held: Manifest) -> bool:
        """A manifest whose file is gone: we were killed after its removal, or somebody else took it."""
        note, store = held.note, self._store
        if note is None:
            held.remove()
            return False
        stands = self._stands(file, note)
        if stands == "":
            if self._later(note):
                return False
            try:
                there = store.verify(note.key, note.bytes, note.sha256)
            except StoreError:
                self._pause(held)
                raise
            if not there:
                self._lost(file, note)
                held.remove()
                return False
            stands = self._verified(file, note)
        if stands == "deleted":
            self._forget(file, held)
            return True
        with self._rows(file, note) as (_, _, segment):
            ledger.advance(segment, "stored")
        held.remove()
        return True

    def _forget(self, file: SpoolFile, held: Manifest) -> None:
        """A recording that was deleted takes its file, and what was sent of it, with it."""
        note, store = held.said, self._store
        if note.sent:
            if note.upload is not None:
                store.abort(note.key, note.upload)
            store.delete(note.key)
        (self.directory / file.name).unlink(missing_ok=True)
        held.remove()

    def _empty(self, file: SpoolFile, held: Manifest, sound: Sound) -> None:
        with self._rows(file, None) as (session, recording, segment):
            if segment.state not in (*ledger.KEPT, "deleted"):
                told = f"; the switch told of {segment.seconds:.1f} s" if segment.seconds else ""
                segment.state, segment.why = "absent", f"there is no sound in the file{told}"
                segment.bytes = sound.bytes
                ledger.stand(session, recording)
                self._settle(session, recording)
        path, size = self.directory / file.name, sound.bytes
        if not spool.remove_if(path, lambda now: now.st_size == size):
            raise spool.Growing
        held.remove()

    # ------------------------------------------------------------------------------------------------ failures

    def _failed(self, file: SpoolFile, held: Manifest, error: StoreError) -> None:
        now, note = self.clock(), self._pause(held)
        since, conflict = note.since, isinstance(error, Conflict)
        with self._rows(file, note) as (session, recording, segment):
            if segment.state == "deleted":
                return
            ledger.advance(segment, "uploaded" if isinstance(error, Unlike) else "finished")
            segment.attempts += 1
            segment.why = str(error)[:500]
            segment.bytes, segment.sha256, segment.key = note.bytes, note.sha256, note.key
            if conflict or now - since >= self.pace.failed:
                segment.state = recording.state = "failed"
                recording.why = segment.why
                what = f"{file.name} cannot be stored since {_moment(since)}: {segment.why}"
                raise_alarm(session, f"recording/{file.name}", file.company, "recording", what, now)
                data = {"recording": recording.id, "kind": recording.kind, "why": segment.why}
                self._tell(session, recording, "recording.failed", data, f"segment/{file.name}/failed")
            else:
                ledger.stand(session, recording)
            if isinstance(error, NoBucket | NotAllowed):
                raise_alarm(session, f"recordings/{self.switch}/store", None, "storage", str(error)[:500], now)
        _log.warning("a recording was not stored", file=file.name, tries=note.tries, error=str(error)[:300])

    def _pause(self, held: Manifest) -> Note:
        """Leave a file alone for a while, longer each time."""
        note, now = held.said, self.clock()
        pause = min(self.pace.longest_pause, self.pace.pause * 2.0 ** min(note.tries, 20)) * random.uniform(0.5, 1.0)
        since = note.since if 0 < note.since <= now else now  # the clock may have been set back
        return held.change(tries=note.tries + 1, since=since, next_at=now + pause, durable=False)

    def _later(self, note: Note) -> bool:
        """Whether it is not yet time to try again.  A clock that was set back must not keep us for long."""
        now = self.clock()
        return now < note.next_at <= now + 2 * self.pace.longest_pause

    def _lost(self, file: SpoolFile, note: Note) -> None:
        """Its file went, by nobody of ours, before it was stored."""
        with self._rows(file, note) as (session, recording, segment):
            segment.state = "failed"
            segment.why = recording.why = "its file is gone from the spool, and it is not in the store"
            segment.sha256, segment.bytes = None, note.bytes
            # What there is of it besides is told of as usual, when all of it is known.
            whole = [one.state for one in ledger.segments(session, recording)]
            recording.state = "finished" if {*whole} & {*ledger.KEPT, *ledger.OPEN} else "failed"
            raise_alarm(
                session,
                f"recording/{file.name}",
                file.company,
                "recording",
                f"{file.name}: {segment.why}",
                self.clock(),
            )
            data = {"recording": recording.id, "kind": recording.kind, "why": segment.why}
            self._tell(session, recording, "recording.lost", data, f"segment/{file.name}/lost")
            if recording.state == "finished":
                ledger.stand(session, recording)
                self._settle(session, recording)

    # ------------------------------------------------------------------------------------- what becomes of them

    def _look_for_absent(self) -> None:
        """What was expected and never came, now that its call is over for a while."""
        ours = Segment.switch == self.switch
        if self.first:
            ours = or_(ours, Segment.switch.is_(None))
        if self.first and self.switches:  # a switch that was renamed: its files are found where they are, in time
            gone = Segment.switch.not_in(self.switches) & (Call.ended_at < self.clock() - self.pace.unheard)
            ours = or_(ours, gone)
        with self.database.reading() as session:
            names = session.scalars(
                select(Segment.file)
                .join(Call, Call.id == Segment.call)
                .where(Segment.state.in_(ledger.OPEN), Call.ended_at < self.clock() - self.pace.absent)
                .where(ours)
                .order_by(Segment.expected_at.desc())
                .limit(_MANY)
            ).all()
        for name in names:
            file = read_name(name)
            if file is None or os.path.lexists(self.directory / name):
                continue
            with self._rows(file, None) as (session, recording, segment):
                # Whoever removes a file has written down before that it is verified: so this is still true now.
                there = os.path.lexists(self.directory / name) or os.path.lexists(self.directory / f"{name}.json")
                if segment.state not in ledger.OPEN or there:
                    continue
                segment.why = {
                    "expected": "the switch never began it",
                    "started": "the switch began it, and left no file",
                }.get(segment.state, "the switch said that it is whole, and there is no file")
                segment.state = "absent"
                ledger.stand(session, recording)
                self._settle(session, recording)

    def _settle_ended(self) -> None:
        """Tell of recordings whose call has ended since their last segment was stored."""
        with self.database.reading() as session:
            due = session.execute(
                select(Recording.id, Recording.call)
                .outerjoin(Call, Call.id == Recording.call)
                .where(Recording.state == "finished")
                .where(
                    or_(
                        Recording.kind == "message",
                        Call.state == "ended",
                        Call.id.is_(None) & (Recording.began < self.clock() - self.pace.unheard),
                    )
                )
                .where(
                    ~select(Segment.file)
                    .where(Segment.recording == Recording.id, Segment.state.in_(ledger.OPEN))
                    .exists()
                )
                .limit(_MANY)
            ).all()
        for name, call in due:
            with self.database.writing() as session:
                lock_call(session, call)
                self._settle(session, session.get_one(Recording, name, with_for_update=True))

    def _settle(self, session: Session, recording: Recording) -> None:
        """Say what became of a recording, once everything of it is known and its call is over."""
        segments = ledger.segments(session, recording)
        kept = [one for one in segments if one.state in ledger.KEPT]
        trying = [one for one in segments if one.state == "failed" and one.sha256 is not None]
        if recording.state == "deleted" or trying or any(one.state in ledger.OPEN for one in segments):
            return
        if recording.kind == "talk" and not self._over(session, recording):
            return
        missing = [one for one in segments if one.state in ("absent", "failed")]
        why = "; ".join(f"{one.file}: {one.why}" for one in missing)[:500] or None
        recording.why = why
        about = f"recording/{recording.id}"
        if not kept:
            recording.state = "absent"
            data: dict[str, Any] = {"recording": recording.id, "kind": recording.kind, "why": why}
            self._tell(session, recording, "recording.absent", data, f"{about}/absent")
            return
        recording.state = "available"
        known = [one.seconds for one in kept if one.seconds is not None]
        recording.seconds = sum(known) if known else None
        seconds = self.keep(recording.company)
        recording.keep_until = None if seconds is None else recording.began + seconds
        data = {
            "recording": recording.id,
            "kind": recording.kind,
            "seconds": recording.seconds,
            "bytes": sum(one.bytes or 0 for one in kept),
            "segments": len(kept),
            **({"for": recording.people} if recording.kind == "message" else {}),
        }
        # A segment that turns up later makes it another recording than the one that was told of.
        self._tell(session, recording, "recording.available", data, f"{about}/available/{len(kept)}")

    def _over(self, session: Session, recording: Recording) -> bool:
        call = session.get(Call, recording.call)
        if call is None:
            return recording.began < self.clock() - self.pace.unheard
        return call.state == "ended"

    def _tell(self, session: Session, recording: Recording, type_: str, data: Mapping[str, Any], about: str) -> None:
        self.told += tell(
            session, type_, dict(data), company=recording.company, call=recording.call, about=about, at=self.clock()
        )

    @contextlib.contextmanager
    def _rows(self, file: SpoolFile, note: Note | None) -> Iterator[tuple[Session, Recording, Segment]]:
        """The rows of a file, in a transaction."""
        at = self.clock() if note is None else note.changed_ns / 1e9 - (note.seconds or 0.0)
        with self.database.writing() as session:
            lock_call(session, file.call)
            yield session, *ledger.rows(session, file, at, self.switch)

    # -------------------------------------------------------------------------------------------------- alarms

    def _alarms_of_spool(self, found: spool.Look) -> None:
        now = self.clock()
        strangers = "; ".join(f"{name[:80]!a}: {why}" for name, why in sorted(found.strangers.items())[:5])
        free, whole = spool.room(self.directory)
        full = free < min(_SHARE * whole, _BYTES)
        wanted = {
            "strangers": f"{len(found.strangers)} in {self.directory} are left alone: {strangers}" if strangers else "",
            "full": f"{self.directory}: {free / 1e9:.1f} GB are free" if full else "",
        }
        with self.database.reading() as session:
            raised = {
                what
                for what in wanted
                if (row := session.get(Alarm, f"recordings/{self.switch}/{what}")) and row.cleared_at is None
            }
        for what, text in wanted.items():
            if text and what not in raised:
                self._alarm(f"recordings/{self.switch}/{what}", "spool", text)
            elif not text and what in raised:
                with self.database.writing() as session:
                    clear_alarm(session, f"recordings/{self.switch}/{what}", now)

    def _alarm(self, key: str, kind: str, text: str) -> None:
        with self.database.writing() as session:
            raise_alarm(session, key, None, kind, text, self.clock())


def _is_of(note: Note, file: SpoolFile) -> bool:
    """Whether a manifest speaks of this file."""
    key = note.key.endswith(f"{file.company}/{file.call}/{file.name}")
    return key and (note.recording, note.company, note.call) == (file.recording, file.company, file.call)


def lock_call(session: Session, call: str) -> None:
    """Lock a call's row, if there is one: like the journal, everybody locks calls first and their recordings then."""
    session.get(Call, call, with_for_update=True)


def raise_alarm(session: Session, key: str, company: str | None, kind: str, text: str, now: float) -> None:
    """Raise an alarm, once until it is cleared."""
    ledger.insert_once(session, Alarm, key=key, company=company, kind=kind, text=text, raised_at=now, cleared_at=now)
    row = session.get_one(Alarm, key, with_for_update=True)
    row.text = text
    if row.cleared_at is not None:
        _log.error("alarm", what=text, key=key)
        row.raised_at, row.cleared_at = now, None


def clear_alarm(session: Session, key: str, now: float) -> None:
    """What an alarm told of is over."""
    row = session.get(Alarm, key)
    if row is not None and row.cleared_at is None:
        row.cleared_at = now


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
