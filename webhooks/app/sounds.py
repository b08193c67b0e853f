"""The sound of recordings: out of the store, or out of the spool where there is none, whole or in ranges (RFC 9110).

In pieces, from one to the other: nothing is held whole.  The first piece is there before the answer begins, so that a
store that is away is a problem document and not half a sound.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from typing import cast

import structlog
from flask import Response, current_app

from callcontrol.spool import read_name
from webhooks.app import desk
from webhooks.app.problems import Problem
from workers.journal.tables import Segment
from workers.recordings import forgetting
from workers.recordings.forgetting import StillRecorded
from workers.recordings.store import Patience, Store, StoreError

TYPE = "audio/wav"
_PIECE = 2**16
#: Somebody waits for the store's answer.
_PATIENCE = Patience(connect=3.0, read=10.0)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def ready(segment: Segment) -> bool:
    """Whether the sound of a segment can be had."""
    if _storage():
        return segment.state in ("verified", "stored") and segment.key is not None and segment.bytes is not None
    return segment.state == "finished"


def response(segment: Segment, wanted: str | None) -> Response:
    """The sound, or the range of it that the header wants.  Raises Problem."""
    size = _size(segment)
    first, last = _range(wanted, size)
    pieces = _begun(_pieces(segment, first, last))
    answer = Response(pieces, 206 if wanted and (first, last) != (0, size - 1) else 200, mimetype=TYPE)
    answer.headers["Accept-Ranges"] = "bytes"
    answer.headers["Content-Length"] = str(last - first + 1)
    answer.headers["Content-Disposition"] = f'attachment; filename="{segment.file}"'
    if answer.status_code == 206:
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return answer


def link(segment: Segment, seconds: int) -> str:
    """A link to the sound in the store.  Raises Problem."""
    if not _storage():
        raise Problem("conflict", "There is no store that could give a link: fetch the content.")
    try:
        return _store().presigned(str(segment.key), seconds, segment.file)
    except StoreError as error:
        raise _away(error) from None


def delete(recording: str, company: str, by: str) -> None:
    """Delete a recording for good, from the store first.  Raises Problem."""
    store = _store() if _storage() else None
    try:
        forgetting.delete(desk.context().database, store, company, recording, by, time.time())
    except StillRecorded:
        raise Problem("conflict", "It is being recorded: delete it when that has ended.") from None
    except StoreError as error:
        raise _away(error) from None


def _range(wanted: str | None, size: int) -> tuple[int, int]:
    """The first and the last byte.  A header that is none, or has several ranges, is as if it were not there."""
    found = _RANGE.fullmatch((wanted or "").strip())
    if found is None or found[1] == found[2] == "":
        return 0, size - 1
    if found[1] == "":
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(size - 1, int(found[2]) if found[2] else size - 1)
        if found[2] and int(found[2]) < first:
            return 0, size - 1
    if first >= size:
        raise Problem("no-such-range", f"There are {size} bytes.", headers={"Content-Range": f"bytes */{size}"})
    return first, last


def _size(segment: Segment) -> int:
    if _storage():
        return int(segment.bytes or 0)
    try:
        return os.stat(_path(segment)).st_size
    except OSError:
        raise Problem("conflict", "The sound is not on this machine.") from None


def _pieces(segment: Segment, first: int, last: int) -> Iterator[bytes]:
    if last < first:  # there is nothing in it
        return
    if _storage():
        yield from _store().open_range(str(segment.key), first, last)
        return
    with open(_path(segment), "rb") as file:
        file.seek(first)
        left = last - first + 1
        while left and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, its first piece fetched.  Raises Problem."""
    try:
        first = next(pieces, b"")
    except (StoreError, OSError) as error:
        raise _away(error) from None
    return itertools.chain([first], pieces)


def _path(segment: Segment) -> str:
    """A file of the spool, by a name that is one of ours."""
    if read_name(segment.file) is None:
        raise Problem("conflict", "The sound is not on this machine.")
    return str(desk.context().spool / segment.file)


def _storage() -> bool:
    return desk.context().config.storage is not None


def _store() -> Store:
    """The process's way to the store."""
    storage = desk.context().config.storage
    if "cordboard-store" not in current_app.extensions and storage is not None:
        current_app.extensions["cordboard-store"] = Store(storage, _PATIENCE)
    return cast(Store, current_app.extensions["cordboard-store"])


def _away(error: Exception) -> Problem:
    structlog.get_logger("web").warning("a sound cannot be had", error=str(error)[:300])
    return Problem("unavailable", "The store cannot be asked just now.", headers={"Retry-After": "5"})
