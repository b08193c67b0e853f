"""What a class says of itself to operators: its docstring, read.

The docstring of a step, of its ``Fields`` and of a section is the one place where a fact about it is told: the
manual, and whatever else explains the language, read it from here.  It is prose, a YAML example between fences, and
one line ``word: sentence`` for each option or outcome (a longer one goes on in indented lines).

The surprise: only words that the asker names begin such a line, so prose may hold colons.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```\n?", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(?<!`)``(?!`)")
_LINE = re.compile(r"([a-z_]+): (.+)")


@dataclass(frozen=True, slots=True)
class Prose:
    """What a docstring says: paragraphs, an example (empty: none), and the sentence of each word."""

    paragraphs: tuple[str, ...] = ()
    example: str = ""
    sentences: Mapping[str, str] = field(default_factory=dict)


def read(about: type, words: Iterable[str] = ()) -> Prose:
    """Read the docstring of a class, or of the nearest class that it is made from, down to our own."""
    ours = (cls for cls in about.__mro__ if cls.__module__.startswith("callcontrol."))
    return parse(next((cls.__doc__ for cls in ours if cls.__dict__.get("__doc__")), "") or "", words)


def parse(text: str, words: Iterable[str] = ()) -> Prose:
    """Read a docstring.  ``words`` are those that may begin a line ``word: sentence``."""
    known = frozenset(words)
    text = _CODE.sub("`", inspect.cleandoc(text))
    found = _EXAMPLE.search(text)
    sentences: dict[str, str] = {}
    paragraphs: list[str] = []
    word, fresh = "", True
    for line in _EXAMPLE.sub("\n", text).splitlines():
        named = _LINE.fullmatch(line)
        if named and named[1] in known:
            word = named[1]
            sentences[word] = named[2]
        elif word and line.startswith(" "):
            sentences[word] += " " + line.strip()
        elif not line.strip():
            word, fresh = "", True
        elif fresh:
            word, fresh = "", False
            paragraphs.append(_one_line(line))
        else:
            paragraphs[-1] += " " + _one_line(line)
    return Prose(tuple(paragraphs), found[1] if found else "", sentences)


def plain(text: str) -> str:
    """Prose for whoever renders no Markdown."""
    return text.replace("`", "")


def sentence(text: str) -> str:
    """A text as a sentence: with a capital, and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _one_line(line: str) -> str:
    return " ".join(line.split())
