"""Names that point to nothing, each with the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from callcontrol.routing import kinds
from callcontrol.routing.checks.whole import Whole, missing
from callcontrol.routing.codes import problem
from callcontrol.routing.kinds import did_you_mean
from callcontrol.routing.model import Problem, Reference
from callcontrol.routing.nodes import quoted


def dangling_names(whole: Whole) -> Iterator[Problem]:
    """Every name that points to nothing, with the name that was probably meant."""
    suggestions = kinds.MOST_SUGGESTIONS
    for reference in whole.references:
        found = missing(whole, reference)
        if found is None:
            continue
        code, message, known = found
        hint = ""
        if suggestions > 0:
            suggestions -= 1
            hint = _hint(whole, reference, known)
        yield problem(code, reference.place, message + hint)


def _hint(whole: Whole, reference: Reference, known: Iterable[str]) -> str:
    kind, name = reference.kind, reference.name
    people = whole.routing.people
    if kind == "person":
        guess = kinds.closest(name, known)
        return f"; did you mean {guess} ({people[guess].name})?" if guess and guess in people else ""
    elsewhere = sorted(f"{flow}/{name}" for flow, steps in whole.steps.items() if name in steps)
    if reference.queue is not None and kind == "edge" and elsewhere:
        return f"; did you mean {quoted(elsewhere[0])}?"
    hint = did_you_mean(name, known)
    if not hint and kind == "group":
        named = [p for p in people.values() if name.lower() in p.name.lower().split()]
        return f"; did you mean {named[0].extension} ({named[0].name})?" if named else ""
    if not hint and kind in ("edge", "step"):
        return f"; did you mean {quoted(elsewhere[0])}?" if elsewhere else ""
    return hint
