"""The problems of ``cordboard check`` as people read them, as data, and as GitHub marks them in a change.

Paths and messages hold what strangers wrote, so in every form a problem is one line (or one JSON object) whatever
stands in them: nothing can begin a line of its own, move the cursor, or turn the direction of writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from callcontrol.routing.codes import CODES
from callcontrol.routing.model import Problem, on_one_line


def as_text(problems: Sequence[Problem]) -> str:
    """``path:line:column: CODE message``, one a line; nothing for none."""
    return "".join(f"{problem}\n" for problem in problems)


def as_json(problems: Sequence[Problem]) -> str:
    """One object: ``problems``, and how many of them are ``errors`` and ``warnings``.

    ``line`` and ``column`` count from 1, ``meaning`` is the code's own line, ``explain`` the command that tells more.
    """
    told = [
        {
            "path": problem.place.path,
            "line": problem.place.line,
            "column": problem.place.column,
            "code": problem.code,
            "severity": problem.severity,
            "message": problem.message,
            "meaning": CODES[problem.code],
            "explain": f"cordboard explain {problem.code}",
        }
        for problem in problems
    ]
    count = {f"{kind}s": sum(problem.severity == kind for problem in problems) for kind in ("error", "warning")}
    return json.dumps({"problems": told, **count}, indent=2) + "\n"


def as_github(problems: Sequence[Problem]) -> str:
    """Workflow commands, which GitHub shows at the lines of a change.

    Escaped as GitHub's runner reads it back: per cent and line ends everywhere, colons and commas in properties.
    """
    return "".join(f"{line}\n" for line in map(_command, problems))


def _command(problem: Problem) -> str:
    place = problem.place
    properties = {"file": place.path, "line": place.line, "col": place.column, "title": problem.code}
    told = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in properties.items())
    return on_one_line(f"::{problem.severity} {told}::{_escaped(problem.message)}")


def _escaped(text: str, more: str = "") -> str:
    for one in f"%\r\n{more}":  # the per cent first: the others bring some
        text = text.replace(one, f"%{ord(one):02X}")
    return text


FORMATS: Mapping[str, Callable[[Sequence[Problem]], str]] = {"text": as_text, "json": as_json, "github": as_github}


def verdict(problems: Iterable[Problem]) -> str:
    """What is said under the problems: how many of them keep a file from going live; nothing if none does."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return ""
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{count}: a file with errors does not go live; cordboard explain {errors[0].code} says more"
