"""Lists of callers: entries that never count, since another one has their callers already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from callcontrol.routing.checks.whole import At, Whole
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Problem, Reference
from callcontrol.routing.nodes import quoted

#: Entries that a message lists.
_MOST_LISTED = 3

#: The entries of lists, as they are written but for spaces; each with where it stands.
_Entries = Mapping[str, Mapping[str, Reference]]


def entries_of_lists(whole: Whole) -> Iterator[Problem]:
    """Entries that another of the same list makes needless, and the company's own numbers."""
    for name, entries in _entries(whole).items():
        for entry, reference in entries.items():
            by = next((pattern for pattern in _patterns(entry) if pattern in entries and pattern != entry), None)
            if by is not None:
                message = f"{entry} is in the list {quoted(name)} already: {by} has it"
                yield problem("W532", reference.place, message)
            elif entry in whole.routing.numbers:
                message = f"{entry} is the company's own number: its telephones call with their extensions, so only"
                yield problem("W533", reference.place, f"{message} somebody who shows a false number is meant here")


def overlapping_lists(whole: Whole) -> Iterator[Problem]:
    """Lists that a step asks after others which have some of their callers: the first list decides."""
    entries = _entries(whole)
    asked: dict[At, list[Reference]] = {}
    for reference in whole.references:
        if reference.kind == "list" and reference.step is not None:
            asked.setdefault((reference.flow or "", reference.step), []).append(reference)
    known: dict[tuple[str, ...], list[str]] = {}
    for row in asked.values():
        names = tuple(reference.name for reference in row)
        if names not in known:
            known[names] = [_overlap(entries, names[:i], name) for i, name in enumerate(names)]
        for reference, message in zip(row, known[names], strict=True):
            if message:
                yield problem("W531", reference.place, message)


def _entries(whole: Whole) -> _Entries:
    found: dict[str, dict[str, Reference]] = {}
    for reference in whole.references:
        if reference.kind == "listed" and reference.callers is not None:
            found.setdefault(reference.callers, {})[reference.name] = reference
    return found


def _overlap(entries: _Entries, before: Sequence[str], name: str) -> str:
    """What to say of the entries of a list that lists asked ``before`` have already; empty if there are none."""
    lost: dict[str, tuple[str, str]] = {}
    own = entries.get(name, {})
    for entry in own if before else ():
        having = ((other, by) for by in _patterns(entry) for other in before if by in entries.get(other, {}))
        if (found := next(having, None)) is not None:
            lost[entry] = found
    if not lost:
        return ""
    others = list(dict.fromkeys(other for other, _ in lost.values()))
    asked = f"{_some(map(quoted, others))}, which {'is' if len(others) == 1 else 'are'} asked first,"
    have = "has" if len(others) == 1 else "have"
    if len(lost) == len(own):
        return f"{quoted(name)} never decides here: {asked} {have} all of its callers"
    if len(lost) > 1:
        return f"{_some(lost)} of {quoted(name)} never count here: {asked} {have} them"
    ((entry, (_, by)),) = lost.items()
    return f"{entry} of {quoted(name)} never counts here: {asked} has {'it too' if by == entry else by}"


def _patterns(entry: str) -> Iterator[str]:
    """Everything that could stand in a list and has the callers of ``entry``, the shortest first."""
    number = entry.removesuffix("*")
    if number.startswith("+"):
        yield from (f"{number[:end]}*" for end in range(1, len(number) + 1))
    if not entry.endswith("*"):
        yield entry


def _some(names: Iterable[str]) -> str:
    words = list(names)
    if len(words) > _MOST_LISTED + 1:
        words = [*words[:_MOST_LISTED], f"{len(words) - _MOST_LISTED} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
