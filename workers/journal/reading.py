"""From what stands in the stream, or in a file, to a fact that can be stored: whatever it is.

Anybody who can write to Redis can write facts, and a disk can damage them.  What cannot be read becomes a fact of the
type :data:`UNREADABLE` with its text, once: so nothing stops the stream, and nothing disappears without a trace.

The surprise: a value may be fine JSON and yet no value for a database.  PostgreSQL takes no NUL character and no half
of a surrogate pair, and its JSON knows neither NaN nor infinity.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

#: The type of what could not be read.
UNREADABLE = "fact.unreadable"
#: A longer line is nobody's fact, bytes; ours have 4 kB at most.
LONGEST = 64 * 1024
#: So much of what cannot be read is kept, characters.
KEPT = 1000

_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_BAD = re.compile("[\x00\ud800-\udfff]")
_MOST_EPOCH, _MOST_N = 2**31 - 1, 2**62 - 1
#: No moment of ours is later (the year 5138).
_MOST_AT = 1e11


class _UnreadableError(ValueError):
    """What is wrong with it, in a few words."""


def fact_of(item: Mapping[str, Any] | bytes, now: float) -> dict[str, Any]:
    """The fact that ``item`` is: the keys of ``facts.py``, with ``call`` "" and ``p`` "" where there is none.

    Raises nothing: of what cannot be read comes a fact that says so.
    """
    try:
        return _typed(_parsed(item) if isinstance(item, bytes) else item)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        return _unreadable(item, str(error) if isinstance(error, _UnreadableError) else "it is no JSON", now)


def clean(value: Any) -> Any:
    """A value with nothing in it that a database refuses."""
    if isinstance(value, str):
        return _BAD.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _parsed(line: bytes) -> Mapping[str, Any]:
    if len(line) > LONGEST:
        raise _UnreadableError("it is too long")
    found = json.loads(line)
    if not isinstance(found, dict):
        raise _UnreadableError("it is no object")
    return found


def _typed(fact: Mapping[str, Any]) -> dict[str, Any]:
    call = _text(fact, "call", 64)
    company = _text(fact, "company", 31)
    if company is not None and not _COMPANY.fullmatch(company):
        raise _UnreadableError("company is none")
    kind = fact.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise _UnreadableError("type is none")
    data = fact.get("data")
    if not isinstance(data, Mapping):
        raise _UnreadableError("data is no object")
    at = fact.get("at")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= _MOST_AT:
        raise _UnreadableError("at is no moment")
    return {
        "v": _whole(fact, "v", 0, _MOST_EPOCH),
        "type": kind,
        "company": company,
        "call": call or "",
        "epoch": _whole(fact, "epoch", 0, _MOST_EPOCH),
        "n": _whole(fact, "n", -_MOST_N, _MOST_N),
        "p": _text(fact, "p", 128) or "",
        "at": float(at),
        "switch": _text(fact, "switch", 64) or None,
        "data": clean(data),
    }


def _text(fact: Mapping[str, Any], key: str, most: int) -> str | None:
    value = fact.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most or _BAD.search(value):
        raise _UnreadableError(f"{key} is no text of {most} characters at most")
    return value


def _whole(fact: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = fact.get(key)
    if isinstance(value, float) and value.is_integer():  # as Lua writes large numbers
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _UnreadableError(f"{key} is no number")
    return value


def _unreadable(item: Mapping[str, Any] | bytes, why: str, now: float) -> dict[str, Any]:
    raw = item if isinstance(item, bytes) else ascii(item).encode()
    return {
        "v": 1,
        "type": UNREADABLE,
        "company": None,
        "call": "",
        "epoch": 0,
        "n": 0,
        "p": f"unreadable/{hashlib.sha256(raw).hexdigest()[:32]}",
        "at": now,
        "switch": None,
        "data": {"why": why, "raw": clean(raw[: KEPT * 4].decode("utf-8", "replace")[:KEPT])},
    }
