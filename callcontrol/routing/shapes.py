"""Pieces of JSON Schema (draft 07): what may be written, as an editor can judge it.

Routing reads every scalar as text; an editor's YAML parser does not.  To a schema ``301`` is an integer, ``on`` is
a boolean where the parser is of YAML 1.1, ``2026-11-23`` a date.  So a shape says the text as a pattern *and* what a
parser makes of such texts, and where it cannot know (``010``, ``1e3``) it lets pass: ``check`` has the last word, and
an editor marks nothing that ``check`` accepts.  The one exception is ``null``, since it nearly always is a value that
was forgotten.

Shapes are flat where they can be (one ``type`` with several words, no ``anyOf``): an editor then says what is wrong,
and not that nothing matched.  ``errorMessage`` and ``patternErrorMessage`` are words of editors, not of the standard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Shape = dict[str, Any]
#: The names of one company by the kind of their reference; a kind that is not there: any name may be meant.
Known = Mapping[str, tuple[str, ...]]

#: What YAML 1.1 takes for booleans.
BOOLEANS = frozenset(("yes", "no", "on", "off", "true", "false"))


def text(pattern: str, wants: str, *also: str, most: int | None = None) -> Shape:
    """A scalar whose whole text is ``pattern``; ``also``: types that a parser makes of such texts.

    ``most`` bounds integers; they are never negative.
    """
    shape: Shape = {"type": ["string", *also], "pattern": f"^(?:{pattern})$"}
    if "integer" in also or "number" in also:
        shape["minimum"] = 0
    if most is not None:
        shape["maximum"] = most
    return {**shape, "errorMessage": wanted(wants)}


def wanted(wants: str) -> str:
    """What an editor says of something else."""
    return f"Wanted here: {wants}."


def choice(words: Iterable[str], wants: str) -> Shape:
    """One of these words.  Other readings of them pass, but are not suggested."""
    shown: list[str | int] = []
    others: list[str | int | bool] = []
    for word in words:
        if word.isdecimal():
            plain = str(int(word)) == word
            shown.append(int(word) if plain else word)
            octal = [int(word, 8)] if not plain and not set(word) & {"8", "9"} else []
            others += [word] if plain else [int(word), *octal]
        else:
            shown.append(word)
            if word.lower() in BOOLEANS:
                others.append(word.lower() in ("yes", "on", "true"))
    shape: Shape = {"enum": shown, "errorMessage": wanted(wants)}
    return {"anyOf": [shape, {"not": {"not": {"enum": others}}}]} if others else shape


def named(known: Known, kind: str, pattern: str, wants: str, *also: str) -> Shape:
    """A name that has to exist: one of those that are known, else any of this pattern."""
    names = known.get(kind)
    return choice(names, wants) if names else text(pattern, wants, *also)


def suggested(shape: Shape) -> list[str]:
    """The words of a choice."""
    return [str(word) for word in shape.get("enum") or (shape.get("anyOf") or [{}])[0].get("enum", ())]


def keyed(key: Shape, value: Shape) -> Shape:
    """A mapping; a parser makes text of its keys again, so only the text of ``key`` counts."""
    shape: Shape = {"type": "object", "minProperties": 1, "additionalProperties": False}
    words = suggested(key)
    if words:
        return {**shape, "properties": dict.fromkeys(words, value)}
    return {**shape, "patternProperties": {key["pattern"]: value}}


def one_or_list(item: Shape, *, empty: bool = False) -> Shape:
    """An item, or a list of them."""
    many: Shape = {"items": item, **({} if empty else {"minItems": 1})}
    types = item.get("type")
    if types is None or "array" in types:
        return {"anyOf": [item, {"type": "array", **many}]}
    return {**item, "type": [*([types] if isinstance(types, str) else types), "array"], **many}


def or_(first: Shape, second: Shape) -> Shape:
    """Either of two shapes of different types, flat."""
    types: list[str] = []
    for shape in (first, second):
        found = shape["type"]
        types += [found] if isinstance(found, str) else found
    both = {**first, **second, "type": list(dict.fromkeys(types))}
    both.pop("errorMessage", None)  # it would be said of what is wrong inside as well
    said = first.get("errorMessage") or second.get("errorMessage")
    return {**both, "patternErrorMessage": said} if said else both
