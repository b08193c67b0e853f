"""What was live when, who wanted it and why: ``versions/history.jsonl``.

A line for each publication that changed something.  The publisher alone writes.  Bounded: when it has twice
:data:`LARGEST` bytes, the older half goes.

The surprise: the newest line may be missing.  A publication counts with the one file that controllers follow
(``outcomes.py``), which has its record in it; the line is written after that, and by the next publisher if the first
one died between.  So whoever reads, reads both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from callcontrol.planning import Pin
from callcontrol.versions import write_whole

#: The file may grow to twice this, bytes.
LARGEST = 4 * 2**20
#: Among how many of the last lines a record is looked for that may be there already.
_LATELY = 10
#: How much of its end tells what was done just now, bytes: a record may name a thousand companies.
_LATEST = 2**20
#: How a version became live.
HOW = ("start", "reload", "publish", "rollback")


@dataclass(frozen=True, slots=True)
class Record:
    """A publication that changed something.

    ``changes``: company → version before and after, "" for none.  ``pinned``: companies that it pinned, each to the
    version that it has now; ``released``: those whose pin it ended; ``rehearsals``: how many were walked for it.
    """

    serial: int
    at: float  # UTC epoch
    how: str
    by: str = ""
    why: str = ""
    request: str = ""
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    released: Sequence[str] = ()
    rehearsals: int = 0


def record_of(data: object) -> Record | None:
    """A record from its JSON; None for anything else."""
    try:
        given = dict(data)  # type: ignore[call-overload]
        changes = {str(company): (str(old), str(new)) for company, (old, new) in given["changes"].items()}
        pinned = {str(company): str(version) for company, version in given["pinned"].items()}
        return Record(
            serial=int(given["serial"]),
            at=float(given["at"]),
            **{name: str(given[name]) for name in ("how", "by", "why", "request")},
            changes=changes,
            pinned=pinned,
            released=tuple(map(str, given["released"])),
            rehearsals=int(given["rehearsals"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read(state: Path, newest: Record | None = None) -> list[Record]:
    """All that is known, the oldest first.  ``newest``: the record of the outcome, whose line may not be there yet."""
    found = list(_lines(_raw(state).splitlines()))
    if newest is not None and not any(record.serial == newest.serial for record in found[-_LATELY:]):
        found.append(newest)
    return found


def latest(state: Path, newest: Record | None = None) -> list[Record]:
    """As :func:`read`, but only some of the newest: quick, however long the history is."""
    try:
        with path(state).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LATEST))
            found = list(_lines(file.read().splitlines()))
    except FileNotFoundError:
        found = []
    return [*found, newest] if newest is not None else found


def add(state: Path, record: Record) -> None:
    """Write a record's line, unless it is there; on return it is on disk.  Raises OSError."""
    raw = _raw(state)
    lately = raw.splitlines()[-_LATELY:]
    if any(known.serial == record.serial for known in _lines(lately)):
        return
    line = json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(raw) + len(line) > 2 * LARGEST:
        keep = raw[-LARGEST:].partition(b"\n")[2]
        write_whole(path(state), keep + line)
        return
    path(state).parent.mkdir(parents=True, exist_ok=True)
    with path(state).open("ab") as file:
        if raw and not raw.endswith(b"\n"):  # whoever wrote the last line did not live to end it
            file.write(b"\n")
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def path(state: Path) -> Path:
    """Where it is."""
    return state / "versions" / "history.jsonl"


def versions_of(records: Iterable[Record], company: str) -> list[str]:
    """The versions of a company that were live, in the order in which they last became so; rollbacks do not count."""
    found: list[str] = []
    for record in records:
        _, version = record.changes.get(company, ("", ""))
        if not version:
            continue
        if record.how != "rollback":
            found = [*(known for known in found if known != version), version]
        elif version not in found:  # published before anything that is known
            found.insert(0, version)
    return found


def done_for(records: Sequence[Record], request: str) -> Record | None:
    """What was done for a request, if anything was."""
    return next((record for record in reversed(records) if record.request == request), None)


def newest(records: Sequence[Record], most: int) -> set[tuple[str, str]]:
    """(company, version) of the last so many versions of each company that were live."""
    found: dict[str, dict[str, None]] = {}
    for record in reversed(records):
        for company, (_, version) in record.changes.items():
            versions = found.setdefault(company, {})
            if version and len(versions) < most:
                versions[version] = None
    return {(company, version) for company, versions in found.items() for version in versions}


def pins_of(records: Iterable[Record]) -> dict[str, Pin]:
    """The pins that hold after these records: for the case that the outcome, which has them, is lost."""
    found: dict[str, Pin] = {}
    for record in records:
        for company in record.released:
            found.pop(company, None)
        for company, version in record.pinned.items():
            found[company] = Pin(version, record.by, record.at, record.why)
    return found


def _raw(state: Path) -> bytes:
    try:
        return path(state).read_bytes()
    except FileNotFoundError:
        return b""


def _lines(lines: Iterable[bytes]) -> Iterator[Record]:
    """The records in these lines; what was only half written is none."""
    for line in lines:
        try:
            record = record_of(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if record is not None:
            yield record
