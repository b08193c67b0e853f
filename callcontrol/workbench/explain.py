"""What a code of ``cordboard check`` means, why it matters, and an example wrong and right.

The prose and the examples stand in ``routing/explanations.md``, beside the codes; severity, family and the meaning in
one line stand at the codes themselves.

The surprise: no message is written down.  An example is a part of a file; put before what a small company has besides,
``check`` reads it, and what is shown is what it says.  So an example can be wrong, but never quietly.
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from callcontrol.routing.codes import CODES, FAMILIES, severity
from callcontrol.routing.kinds import did_you_mean
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Problem
from callcontrol.routing.nodes import quoted

FILE = Path(__file__).parent.parent / "routing/explanations.md"
#: What the company of every example has, unless the example has that section itself.
STANDING = """\
cordboard: 1
company: Acme Windows
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951234567": {flow: reception}
people:
  301: {name: Anna Petrova}
  302: {name: Boris Orlov}
flows:
  reception:
    greet: {dial: 301, otherwise: hangup}
"""
#: The sound files that it has.
SOUNDS = frozenset({"night.wav"})
#: The day of every example: what is wrong then is wrong whenever it is shown.
TODAY = dt.date(2026, 11, 23)
WIDTH = 100

_CHAPTER = re.compile(r"^## ([A-Z][0-9]{3})\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^```yaml\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^(?=\w+:)", re.MULTILINE)
_WRITTEN = re.compile(r"(?<![A-Za-z0-9])([EeWw])([0-9]{3})(?![0-9])")
_WORD = re.compile(r'"[^"]*"|[^\s,\[\]{}:]+|.')

#: Text and what it is (``code error warning place``) -> the text as it is printed: in colours on a terminal.
Mark = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One code.  ``prose``: a paragraph; ``wrong`` and ``right``: parts of a file, empty if no text can show it."""

    code: str
    prose: str
    wrong: str = ""
    right: str = ""

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return severity(self.code)

    @property
    def family(self) -> str:
        """What it and its like are about."""
        return next(about for begins, about in FAMILIES.items() if self.code.startswith(begins))


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every explanation by its code, in the order of the file."""
    found = {}
    for code, body in _CHAPTER.findall(FILE.read_text(encoding="utf-8")):
        wrong, right = [*_BLOCK.findall(body), "", ""][:2]
        found[code] = Explanation(code, " ".join(_BLOCK.sub("", body).split()), wrong, right)
    return found


def whole(example: str) -> str:
    """An example as a whole file: itself, so that lines count from it, and the sections that it does not have."""
    own = {section.partition(":")[0] for section in _SECTION.split(example)}
    return example + "".join(part for part in _SECTION.split(STANDING) if part.partition(":")[0] not in own)


def problems(example: str) -> list[Problem]:
    """What ``check`` says about an example."""
    return load_text(whole(example), path="acme.yaml", company="acme", sounds=SOUNDS, today=TODAY).problems


def code_in(text: str) -> str | None:
    """The code that somebody typed or pasted: in small letters, with a colon, with the whole line about it."""
    written = _WRITTEN.search(text)
    code = f"{written[1].upper()}{written[2]}" if written else ""
    return code if code in CODES else None


def unknown(text: str) -> str:
    """What to say about text in which there is no code."""
    return f"there is no code {quoted(text)}{did_you_mean(text.strip().upper(), CODES)}"


def explain(code: str, mark: Mark = lambda text, what: text) -> str:
    """All that there is to say about a code.  KeyError for one that does not exist."""
    found = explanations()[code]
    lines = [
        f"{mark(code, found.severity)}  {CODES[code]}",
        "",
        _EFFECT[found.severity].format(found.family),
        "",
        *textwrap.wrap(found.prose, WIDTH),
    ]
    if found.wrong:
        said = problems(found.wrong)
        lines += ["", "Wrong:", "", *_shown(found.wrong, said, mark), ""]
        lines += [f"  {mark(str(problem), found.severity)}" for problem in said]
        lines += ["", "Right:", "", *_shown(found.right, [], mark)]
    return "\n".join(lines)


_EFFECT = {
    "error": "An error ({}): the company's file does not go live, and calls go on by what was published before.",
    "warning": "A warning: the company's file goes live all the same.",
}


def _shown(example: str, said: list[Problem], mark: Mark) -> Iterator[str]:
    """The lines of an example, with the places of the problems marked."""
    places = {problem.place.line: problem.place.column - 1 for problem in said}
    for number, line in enumerate(example.splitlines(), 1):
        column = places.get(number)
        word = _WORD.match(line, column) if column is not None else None
        if word:
            line = f"{line[: word.start()]}{mark(word[0], 'place')}{line[word.end() :]}"
        yield f"    {line}".rstrip()


def every(mark: Mark = lambda text, what: text) -> str:
    """All codes, by family, each in one line."""
    lines = []
    for family, about in FAMILIES.items():
        lines += ["", mark(f"{family}: {about}", "family")]
        lines += [
            f"  {mark(code, severity(code))}  {meaning}" for code, meaning in CODES.items() if code.startswith(family)
        ]
    return "\n".join([*lines[1:], "", "cordboard explain CODE tells more of one, with an example."])
