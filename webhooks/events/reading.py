"""The careful reader of facts: a fact is only JSON, and half of what stands in it a stranger wrote.

Each function gives the value that a schema wants, or None; none of them raises, whatever it is given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

#: Characters of a text at most: nothing that we tell by itself is longer.
LONGEST = 200
#: More than any duration in seconds, any size in bytes, and still exact in every JSON parser.
MOST = 2**53 - 1

_EXTENSION = re.compile(r"[0-9]{1,16}")
_E164 = re.compile(r"\+[0-9]{1,15}")
_IDENTIFIER = re.compile(r"[0-9A-Za-z_.:-]{1,64}")

T = TypeVar("T")


def text(value: object, most: int = LONGEST) -> str | None:
    """Text in one line, without characters that cannot be seen (controls, turned directions, lone surrogates), cut."""
    if not isinstance(value, str):
        return None
    seen = (" " if one.isspace() else one for one in value[: most * 4] if one.isspace() or _seen(one))
    return " ".join("".join(seen).split())[:most].rstrip() or None


def _seen(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")


def word(value: object, words: Collection[str]) -> str | None:
    """One of these words."""
    return value if isinstance(value, str) and value in words else None


def number(value: object) -> float | None:
    """A finite number from 0 on, such as seconds; to the millisecond."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(float(value), 3) if 0 <= value <= MOST else None  # not a number: it is no more and no less


def whole(value: object) -> int | None:
    """A whole number from 0 on, such as bytes."""
    found = number(value)
    return int(found) if found is not None else None


def flag(value: object) -> bool | None:
    """A truth value."""
    return value if isinstance(value, bool) else None


def extension(value: object) -> str | None:
    """An extension: digits."""
    return value if isinstance(value, str) and _EXTENSION.fullmatch(value) else None


def outside(value: object) -> str | None:
    """A telephone number of the outside: E.164 with its plus."""
    return value if isinstance(value, str) and _E164.fullmatch(value) else None


def identifier(value: object) -> str | None:
    """An id: of a call, a recording, an endpoint, a queue."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None


def many(value: object, read: Callable[[object], T | None], most: int = 100) -> list[T]:
    """What can be read of a list, each once; nothing of what is none."""
    found: list[T] = []
    for one in value[:most] if isinstance(value, list | tuple) else ():
        item = read(one)
        if item is not None and item not in found:
            found.append(item)
    return found


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}
