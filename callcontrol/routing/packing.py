"""A :class:`Routing` as plain data that is read back without parsing: what controllers load.

Derived from a stored version and thrown away with the program that made it: :func:`program` names that program.
Lines of JSON: a header, then pieces of a company, each small enough to be read between two calls.  What a piece
may hold is a closed table (the classes of the model, the verbs, days); no name in it is ever looked up anywhere
else, so bytes that somebody else wrote can be wrong but never run.

The surprise: :func:`unpack` is a generator.  It stops after each piece so that a process that has calls can see
to them; the routing is what it returns.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from callcontrol.routing import hours, model
from callcontrol.routing.model import Place, Routing
from callcontrol.steps import VERBS
from callcontrol.steps.base import Step

#: Entries of a section in one piece: about a millisecond's work.
PIECE = 50

_TUPLE, _LIST, _FROZENSET, _DAYS, _DATE, _MOMENT, _PAIRS, _PLACE = range(8)
_STEP_FIELDS = ("flow", "name", "place", "edges", "on_error", "record", "title", "note", "values")
#: Everything besides plain values that a routing may be made of.
_CLASSES: tuple[type[Any], ...] = (
    *sorted(
        {
            found
            for module in (model, hours)
            for found in vars(module).values()
            if isinstance(found, type) and is_dataclass(found) and found is not Place
        },
        key=lambda found: found.__name__,
    ),
    *VERBS.values(),
)
_FIELDS = {
    found: _STEP_FIELDS if issubclass(found, Step) else tuple(field.name for field in fields(found))
    for found in _CLASSES
}
_NUMBERS = {found: number for number, found in enumerate(_CLASSES, start=_PLACE + 1)}
_SECTIONS = tuple(field.name for field in fields(Routing))


class PackError(ValueError):
    """A routing that cannot be packed, or bytes that are none of ours; ``str()`` says why."""


@cache
def program() -> str:
    """What a packed routing depends on besides the stored version: our own sources and the libraries that read it.

    12 hex digits; another release, another name.
    """
    found = hashlib.sha256(sys.version.encode())
    for library in ("holidays", "marshmallow", "phonenumbers", "pyyaml"):
        try:
            found.update(f"\0{library} {version(library)}".encode())
        except PackageNotFoundError:
            found.update(f"\0{library}".encode())
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        found.update(f"\0{path.relative_to(package)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


# ---------------------------------------------------------------------------------------------- packing


def pack(routing: Routing) -> bytes:
    """The routing as bytes.  Places lose the path they were read from: ``<company>.yaml`` stands for it.

    Raises PackError for what this module does not know.
    """
    pieces = [json.dumps(piece, ensure_ascii=False, separators=(",", ":")) for piece in _pieces(routing)]
    try:
        body = "".join(piece + "\n" for piece in pieces).encode()
    except UnicodeEncodeError as error:
        raise PackError(f"text that is no Unicode: {error}") from None
    header = {
        "program": program(),
        "company": routing.company,
        "version": routing.version,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(header, separators=(",", ":")).encode() + b"\n" + body


def _pieces(routing: Routing) -> Iterator[list[Any]]:
    """``[section, value]``, or ``[section, {…}]`` again and again for what is a mapping."""
    for section in _SECTIONS:
        value = getattr(routing, section)
        if not isinstance(value, Mapping):
            yield [section, _packed(value)]
            continue
        yield [section, {}]
        entries = iter(value.items())
        while piece := dict(islice(entries, 1 if section == "flows" else PIECE)):
            yield [section, _packed(piece)]


def _packed(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind is dict:
        if all(type(key) is str for key in value):
            return {key: _packed(inner) for key, inner in value.items()}
        return [_PAIRS, *([_packed(key), _packed(inner)] for key, inner in value.items())]
    if kind in (tuple, list):
        return [_TUPLE if kind is tuple else _LIST, *map(_packed, value)]
    if kind is frozenset:
        if value and all(type(day) is dt.date for day in value):
            return [_DAYS, *sorted(day.toordinal() for day in value)]
        return [_FROZENSET, *sorted(map(_packed, value))]
    if kind is dt.date:
        return [_DATE, value.toordinal()]
    if kind is dt.datetime:
        return [_MOMENT, value.isoformat()]
    if kind is Place:
        return [_PLACE, value.line, value.column]
    number = _NUMBERS.get(kind)
    if number is None:
        raise PackError(f"a {kind.__module__}.{kind.__qualname__} in a routing")
    return [number, *(_packed(getattr(value, name)) for name in _FIELDS[kind])]


# -------------------------------------------------------------------------------------------- unpacking


def unpack(data: bytes, company: str, version: str) -> Generator[None, None, Routing]:
    """The routing of these bytes; stops after each piece.  Raises PackError if they are not what was asked for."""
    lines = _lines(data)
    try:
        header = json.loads(next(lines))
        asked = {"program": program(), "company": company, "version": version}
        if {name: header[name] for name in asked} != asked:
            raise PackError("it is of another version or program")
        sections: dict[str, Any] = {}
        reader = _Reader(f"{company}.yaml")
        digest = hashlib.sha256()
        for line in lines:
            digest.update(line)
            section, value = json.loads(line)
            unpacked = reader.read(value)
            if isinstance(unpacked, dict):
                sections.setdefault(section, {}).update(unpacked)
            else:
                sections[section] = unpacked
            yield
        if digest.hexdigest() != header["sha256"]:
            raise PackError("it is damaged")
        return Routing(**sections)
    except PackError:
        raise
    except Exception as error:  # whatever a maker says to what is not for it
        raise PackError(f"it cannot be read: {error!r}"[:200]) from None


def unpacked(data: bytes, company: str, version: str) -> Routing:
    """:func:`unpack` in one go."""
    steps = unpack(data, company, version)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines with their ends, found one at a time."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


@lru_cache(maxsize=256)
def _days(ordinals: tuple[int, ...]) -> frozenset[dt.date]:
    """A country's holidays are the same few hundred days for each of its companies: they are kept once."""
    return frozenset(map(dt.date.fromordinal, ordinals))


class _Reader:
    """Reads packed values.  Only a list means more than itself, by the number that it begins with."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._makers: dict[int, Callable[[Iterable[Any]], Any]] = {
            _TUPLE: lambda items: tuple(map(self.read, items)),
            _LIST: lambda items: list(map(self.read, items)),
            _FROZENSET: lambda items: frozenset(map(self.read, items)),
            _DAYS: lambda items: _days(tuple(items)),
            _DATE: lambda items: dt.date.fromordinal(*items),
            _MOMENT: lambda items: dt.datetime.fromisoformat(*items),
            _PAIRS: lambda items: {self.read(key): self.read(value) for key, value in items},
            _PLACE: lambda items: Place(self._path, *items),
        }

    def read(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            number = value[0]
            if number > _PLACE:
                return self._made(_CLASSES[number - _PLACE - 1], value)
            return self._makers[number](islice(value, 1, None))
        if kind is dict:
            return {key: self.read(inner) for key, inner in value.items()}
        return value

    def _made(self, found: type[Any], value: list[Any]) -> Any:
        read = self.read
        given = [read(inner) if type(inner) in (list, dict) else inner for inner in islice(value, 1, None)]
        if issubclass(found, Step):
            return found(**dict(zip(_STEP_FIELDS, given, strict=True)))
        return found(*given)
