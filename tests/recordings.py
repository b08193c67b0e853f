"""What the tests of recordings share: a spool, a ledger, WAV files, and a worker with everything at hand."""

from __future__ import annotations

import functools
import itertools
import os
import random
import struct
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from callcontrol.spool import SpoolFile, message_file, segment_file
from workers.journal.database import Database
from workers.journal.tables import Alarm, Base, Call, Fact, Recording, Segment
from workers.recordings import ledger
from workers.recordings.store import Patience, Store
from workers.recordings.uploading import Pace, Uploader

#: A worker in a hurry: nothing waits for anything.
HURRY = Pace(quiet=0.0, pause=0.0, longest_pause=0.0, absent=0.0)
SHORT = Patience(connect=1.0, read=0.7)

_n = itertools.count(1)


def wav(seconds: float = 0.25, *, seed: int = 1, said: int | None = None, rate: int = 8000, channels: int = 2) -> bytes:
    """Noise as FreeSWITCH writes it; ``said``: bytes of sound that the header tells of."""
    sound = random.Random(seed).randbytes(int(rate * seconds) * 2 * channels)
    length = len(sound) if said is None else said
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", (36 + length) % 2**32, b"WAVE", b"fmt ", 16, 1, channels, rate,
                       rate * 2 * channels, 2 * channels, 16)  # fmt: skip
    return head + struct.pack("<4sI", b"data", length) + sound


@dataclass
class House:
    """A spool, a database and a worker of one switch."""

    directory: Path
    store: Store | None = None
    pace: Pace = HURRY
    keep: Callable[[str], float | None] = lambda company: None
    now: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.spool = self.directory / "spool"
        self.spool.mkdir(parents=True, exist_ok=True)
        (self.directory / "journal.db").write_bytes(_empty_journal())
        self.database = Database(f"sqlite:///{self.directory / 'journal.db'}")
        self.worker = self.another()

    def another(self) -> Uploader:
        """One more worker of the same spool."""
        return Uploader(
            self.database,
            self.store,
            self.spool,
            "switch1",
            keep=self.keep,
            pace=self.pace,
            hands=2,
            clock=lambda: self.now,
        )

    def talk(self, data: bytes | None = None, *, call: str = "", number: int = 1, ended: bool = True) -> SpoolFile:
        """A segment of a talk in the spool, of a call that is over."""
        return self.lay(segment_file("acme", call or str(uuid.uuid4()), str(uuid.uuid4()), number), data, ended=ended)

    def message(self, data: bytes | None = None) -> SpoolFile:
        """A message in the spool."""
        return self.lay(message_file("acme", str(uuid.uuid4()), 1), data, ended=True)

    def lay(self, file: SpoolFile, data: bytes | None, *, ended: bool) -> SpoolFile:
        path = self.spool / file.name
        path.write_bytes(wav(seed=next(_n)) if data is None else data)
        os.utime(path, (self.now - 100, self.now - 100))
        self.now = max(self.now, time.time() + 1)  # nothing has changed within this second
        self.call(file.call, ended=ended)
        return file

    def call(self, call: str, *, ended: bool) -> None:
        """The row of a call."""
        with self.database.writing() as session:
            session.merge(
                Call(
                    id=call,
                    company="acme",
                    state="ended" if ended else "live",
                    began=self.now - 300,
                    ended_at=self.now - 60 if ended else None,
                )
            )

    def fact(self, type_: str, file: SpoolFile, /, **data: Any) -> None:
        """A fact about a file, noted."""
        fact = {"type": type_, "company": file.company, "call": file.call, "at": self.now - 200, "switch": "switch1"}
        with self.database.writing() as session:
            ledger.note(session, {**fact, "data": {"file": file.name, **data}})

    def segment(self, file: SpoolFile) -> Segment:
        with self.database.reading() as session:
            return session.get_one(Segment, file.name)

    def recording(self, file: SpoolFile) -> Recording:
        with self.database.reading() as session:
            return session.get_one(Recording, file.recording)

    def told(self, type_: str = "") -> list[Mapping[str, Any]]:
        """What was told, of a type."""
        with self.database.reading() as session:
            facts = session.scalars(select(Fact).order_by(Fact.id))
            return [fact.data for fact in facts if fact.type.startswith(type_)]

    def alarms(self) -> list[str]:
        """The keys of the alarms that are raised."""
        with self.database.reading() as session:
            return list(session.scalars(select(Alarm.key).where(Alarm.cleared_at.is_(None))))

    def left(self) -> list[str]:
        """What lies in the spool."""
        return sorted(path.name for path in self.spool.iterdir())


@functools.cache
def _empty_journal() -> bytes:
    """A database with all tables, made once."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "journal.db"
        database = Database(f"sqlite:///{path}")
        Base.metadata.create_all(database.engine)
        database.close()
        return path.read_bytes()


def put(store: Store | None, key: str, data: bytes) -> None:
    """Put something under a key, past everything."""
    assert store is not None
    store._client.put_object(Bucket=store.bucket, Key=key, Body=data)


def key(file: SpoolFile) -> str:
    return f"{file.company}/{file.call}/{file.name}"
