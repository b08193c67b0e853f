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

import re
from collections.abc import Iterable, Mapping
from typing import Any

Shape = dict[str, Any]
#: The names of one company by the kind of their reference; a kind that is not there: any name may be meant.
Known = Mapping[str, tuple[str, ...]]

#: What YAML 1.1 takes for booleans.
BOOLEANS = frozenset(("yes", "no", "on", "off", "true", "false"))


_TRUTH = "^(?:true|false)$"
_BOOLEAN: Shape = {"type": "boolean"}


def _but(others: Shape, shape: Shape) -> Shape:
    """A shape, and what a parser may have made of such texts, which no editor suggests (hence the two ``not``)."""
    return {"if": {"not": {"not": others}}, "then": {}, "else": shape}


def text(pattern: str, wants: str, *also: str, word: bool = False, least: float = 0, most: int | None = None) -> Shape:
    """A scalar whose whole text is ``pattern``; ``also``: types that a parser makes of such texts.

    ``least`` and ``most`` bound numbers.  ``word``: it may be a word that a parser takes for a boolean.
    """
    shape: Shape = {"type": ["string", *also], "pattern": f"^(?:{pattern})$"}
    if "integer" in also or "number" in also:
        shape |= {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    shape["errorMessage"] = wanted(wants)
    return _but(_BOOLEAN, shape) if word else shape


def _flat(shape: Shape) -> tuple[Shape, bool]:
    """A shape without the boolean that it may be as well, and whether it may."""
    return (shape["else"], True) if shape.get("if") == _but(_BOOLEAN, {})["if"] else (shape, False)


def with_more(shape: Shape, more: Shape, offers: Iterable[str] = ()) -> Shape:
    """A shape of text with more to be said of it, and with texts that an editor offers."""
    flat, word = _flat(shape)
    found = _but(_BOOLEAN, {**flat, **more}) if word else {**flat, **more}
    snippets = [{"label": text, "body": int(text) if text.isdecimal() else text} for text in offers]
    return _snippets(found, {"defaultSnippets": snippets})


def _snippets(shape: Shape, other: Shape) -> Shape:
    """A shape that offers what the other does; it has to stand outside, where an editor finds it in any case."""
    return {**shape, **{key: other[key] for key in ("defaultSnippets",) if key in other}}


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
            others += [word] if plain else _integers(word)
        else:
            shown.append(word)
            if word.lower() in BOOLEANS:
                others.append(word.lower() in ("yes", "on", "true"))
    shape: Shape = {"enum": shown, "errorMessage": wanted(wants)}
    return {"anyOf": [shape, {"not": {"not": {"enum": others}}}]} if others else shape  # so the words are offered


def _integers(digits: str) -> list[int]:
    """What parsers make of digits: YAML 1.1 reads those with a zero before them as octal."""
    octal = digits[0] == "0" and not set(digits) & {"8", "9"}
    return [int(digits), *([int(digits, 8)] if octal else [])]


def only_extensions(extensions: Iterable[str], wants: str) -> Shape:
    """What a shape of several sorts has to add, so that an integer that is an extension is one of these."""
    known = sorted({number for extension in extensions for number in _integers(extension)})
    return {
        "if": {"type": "integer", "maximum": 999_999},
        "then": {"enum": known, "errorMessage": wanted(wants)},
    }


def named(known: Known, kind: str, pattern: str, wants: str) -> Shape:
    """A name that has to exist: one of those that are known, else any of this pattern."""
    names = known.get(kind)
    return choice(names, wants) if names else text(pattern, wants, word=True)


def suggested(shape: Shape) -> list[str]:
    """The words of a choice."""
    return [str(word) for word in shape.get("enum") or (shape.get("anyOf") or [{}])[0].get("enum", ())]


def keyed(key: Shape, value: Shape) -> Shape:
    """A mapping; a parser makes text of its keys again, so only the text of ``key`` counts."""
    shape: Shape = {"type": "object", "minProperties": 1, "additionalProperties": False}
    words = suggested(key)
    if words:  # a parser of YAML 1.1 calls the language no ``false``
        booleans = ["true", "false"] if BOOLEANS & set(words) else []
        return {**shape, "properties": dict.fromkeys([*words, *booleans], value)}
    flat, word = _flat(key)
    patterns = [flat["pattern"], *([_TRUTH] if word and not re.search(flat["pattern"], "false") else [])]
    return {**shape, "patternProperties": dict.fromkeys(patterns, value)}


def one_or_list(item: Shape, *, empty: bool = False) -> Shape:
    """An item, or a list of them."""
    many: Shape = {"items": item, **({} if empty else {"minItems": 1})}
    flat, word = _flat(item)
    types = flat.get("type")
    if types is None or "array" in types:
        return {"if": {"type": "array"}, "then": many, "else": item}
    found = {**flat, "type": [*([types] if isinstance(types, str) else types), "array"], **many}
    return _snippets(_but(_BOOLEAN, found) if word else found, item)


def or_(first: Shape, second: Shape) -> Shape:
    """Either of two shapes of different types, flat."""
    types: list[str] = []
    (one, word), (other, _) = _flat(first), _flat(second)
    for shape in (one, other):
        found = shape["type"]
        types += [found] if isinstance(found, str) else found
    both = {**one, **other, "type": list(dict.fromkeys(types))}
    both.pop("errorMessage", None)  # it would be said of what is wrong inside as well
    said = one.get("errorMessage") or other.get("errorMessage")
    both |= {"patternErrorMessage": said} if said else {}
    return _snippets(_but(_BOOLEAN, both) if word else both, first)
