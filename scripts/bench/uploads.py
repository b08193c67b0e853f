"""How many recordings a worker brings to a store on the same machine in a second: sent, read back, compared, told."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from callcontrol.spool import segment_file
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.tables import Call
from workers.recordings.local_store import LocalStore
from workers.recordings.store import Store
from workers.recordings.uploading import Pace, Uploader

#: A talk of ten seconds as the switch writes it: 8 kHz, 16 bits, stereo.
SOUND = 320_000


def measure(directory: Path, count: int) -> list[dict[str, Any]]:
    """A row for one file at a time, and one for four, of ``count`` talks each."""
    rows = []
    directory.mkdir()
    with LocalStore(directory / "store") as server:
        for hands in (1, 4):
            place = directory / f"hands-{hands}"
            (place / "spool").mkdir(parents=True)
            database = Database(f"sqlite:///{place / 'journal.db'}")
            migrate(database)
            _fill(place / "spool", database, count)
            store = Store(server.storage)
            worker = Uploader(database, store, place / "spool", "switch1", pace=Pace(quiet=0.0), hands=hands)
            cpu, began = time.process_time(), time.perf_counter()
            while worker.drain() and list((place / "spool").iterdir()):
                pass
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            left = len(list((place / "spool").iterdir()))
            rows.append(
                {
                    "uploads": count - left,
                    "hands": hands,
                    "uploads_per_second": (count - left) / seconds,
                    "mb_per_second": (count - left) * SOUND / 1e6 / seconds,
                    "cpu_ms_per_upload": 1000 * cpu / max(1, count - left),
                    "note": f"{left} left" if left else "",
                }
            )
            store.close()
            database.close()
    return rows


def _fill(spool: Path, database: Database, count: int) -> None:
    head = (
        b"RIFF" + (36 + SOUND).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\2\0\x40\x1f\0\0\0\x7d\0\0\4\0\x10\0data"
    )
    now = time.time()
    with database.writing() as session:
        for number in range(count):
            call = str(uuid.uuid4())
            session.add(Call(id=call, company="acme", state="ended", began=now - 60, ended_at=now))
            sound = number.to_bytes(4, "little") * (SOUND // 4)
            name = segment_file("acme", call, str(uuid.uuid4()), 1).name
            (spool / name).write_bytes(head + SOUND.to_bytes(4, "little") + sound)
