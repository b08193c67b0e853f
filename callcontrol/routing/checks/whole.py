"""A company as a whole, as far as it could be read: what a name means in it, and where its calls can go.

What the checks stand on, and no check itself.  It knows no verb: it sees edges, references, and what the step classes
say about themselves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge, Reference, Routing
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import OTHERWISE, THEN, Step

#: A step by flow and name.
At = tuple[str, str]


@dataclass(frozen=True)
class Whole:
    """A company as far as it could be read.

    ``names``: what a reference of a kind may use, None when that is not known.  ``steps``: the names of every
    flow's steps, also of those that could not be read.  ``sounds``: the files that exist, None: not checked.
    ``today``: the day from which on times are judged, None: they are not.
    """

    routing: Routing
    references: tuple[Reference, ...]
    assigned: tuple[Reference, ...]
    names: Mapping[str, frozenset[str] | None]
    steps: Mapping[str, frozenset[str]]
    incomplete: bool = False
    sounds: frozenset[str] | None = None
    today: dt.date | None = None
    #: Whether ``routing.outbound`` is all that the file says of it.
    outbound_known: bool = True
    #: Whether ``routing.duty_codes`` is all that the file says of them.
    codes_known: bool = True

    @cached_property
    def ways(self) -> Ways:
        """Where calls can go."""
        return _ways(self)

    @cached_property
    def carried(self) -> Mapping[At, frozenset[frozenset[str]]]:
        """The sets of variables with which calls come to each step that they reach."""
        return _carried(self)

    @cached_property
    def entering(self) -> Mapping[str, list[At]]:
        """For each queue the steps in which callers join it."""
        found: dict[str, list[At]] = {}
        for reference in self.references:
            if reference.kind == "queue" and reference.step is not None:
                found.setdefault(reference.name, []).append((reference.flow or "", reference.step))
        return found

    @cached_property
    def dangling(self) -> bool:
        """Whether some edge, flow or queue leads nowhere, so that ways cannot be followed."""
        return any(
            missing(self, reference) is not None
            for reference in self.references
            if reference.kind in ("edge", "flow", "step", "queue")
        )


# ------------------------------------------------------------------------------------------- names

_NAMED = {
    "group": ("E203", "there is no group named"),
    "list": ("E204", "there is no list of callers named"),
    "hours": ("E205", "there are no hours named"),
    "queue": ("E206", "there is no queue named"),
    "flow": ("E207", "there is no flow named"),
    "language": ("E210", "not among the company's languages:"),
    "number": ("E211", "not among the company's numbers:"),
    "switch": ("E212", "there are no hours with a switch named"),
}


def missing(whole: Whole, reference: Reference) -> tuple[str, str, Iterable[str]] | None:
    """Code, message and the known names for a reference that points to nothing; None if all is well."""
    kind, name = reference.kind, reference.name
    if kind in ("edge", "step"):
        return _missing_step(whole, reference)
    if kind == "sound":
        if whole.sounds is None or name in whole.sounds:
            return None
        folder = f"sounds/{whole.routing.company}/"
        return "E209", f"the sound {quoted(name)} is not in {folder}", whole.sounds
    known = whole.names.get(kind)
    if known is None or name in known:
        return None
    if kind == "person":
        return "E202", f"there is no person with the extension {name}", known
    code, message = _NAMED[kind]
    return code, f"{message} {quoted(name)}", known


def _missing_step(whole: Whole, reference: Reference) -> tuple[str, str, Iterable[str]] | None:
    if whole.names.get("flow") is None:
        return None
    flow, slash, step = reference.name.partition("/")
    here = whole.steps.get(reference.flow, frozenset()) if reference.flow is not None else frozenset()
    if slash:
        if flow not in whole.steps:
            return "E207", f"there is no flow named {quoted(flow)}", [f"{name}/{step}" for name in whole.steps]
        if step not in whole.steps[flow]:
            steps = [f"{flow}/{name}" for name in whole.steps[flow]]
            return "E208", f"the flow {quoted(flow)} has no step named {quoted(step)}", steps
        return None
    if reference.kind == "step":
        if reference.flow is None or flow in here or reference.flow not in whole.steps:
            return None
        return "E208", f"the flow {quoted(reference.flow)} has no step named {quoted(flow)}", here
    if flow in here or flow in whole.steps:
        return None
    if flow == kinds.LEFT:
        return "E201", f"only a key in a queue leads to {quoted(flow)}, the outcome of its step", ()
    if reference.queue is not None:
        message = f"there is no flow named {quoted(flow)}; a queue stands in no flow: write a step as flow/step"
        return "E201", message, whole.steps
    return "E201", f"there is no step or flow named {quoted(flow)} here", [*here, *whole.steps]


# -------------------------------------------------------------------------------------------- ways


@dataclass(frozen=True)
class Ways:
    """Where calls can go: for each step its (outcome, next step), and the steps at which calls begin."""

    after: Mapping[At, tuple[tuple[str, At], ...]]
    begin: Mapping[At, frozenset[frozenset[str]]]  # with the sets of variables that a number gives
    ends: frozenset[At]  # steps after which a call may end
    hasty: Mapping[At, tuple[At, ...]]  # the next steps that a call may come to without any time for the caller

    def reached(self, begin: Iterable[At]) -> dict[At, None]:
        """Every step on a way from ``begin``, in the order found."""
        found: dict[At, None] = {}
        stack = list(begin)
        while stack:
            at = stack.pop()
            if at in found or at not in self.after:
                continue
            found[at] = None
            stack.extend(target for _, target in self.after[at])
        return found


def _ways(whole: Whole) -> Ways:
    routing = whole.routing
    runs = {(r.flow or "", r.step): r.name for r in whole.references if r.kind == "flow" and r.step is not None}
    after: dict[At, list[tuple[str, At]]] = {}
    hasty: dict[At, list[At]] = {}
    ends: set[At] = set()
    returning: list[tuple[At, bool]] = []
    for step in steps_of(routing):
        at = (step.flow, step.name)
        after[at], hasty[at] = [], []
        for label, edge in edges_of(routing, step):
            target = target_of(routing, step.flow, edge)
            hurried = _hurried(routing, step, label)
            if edge.special:
                ends.add(at)
                if edge.special == "return":
                    returning.append((at, hurried))
            elif target is not None and not (at in runs and label == THEN):
                after[at].append((label, target))
                hasty[at] += [target] if hurried else []
        if not after[at] and at not in runs:
            ends.add(at)
        elif step.then == "optional" and THEN not in step.edges and step.values.get("extensions") != ():
            ends.add(at)  # a menu's then is followed after an extension that was dialled there
    for at, name in runs.items():
        if at not in after or name not in routing.flows:
            continue
        after[at].append(("flow", (name, routing.flows[name].start)))
        hasty[at].append((name, routing.flows[name].start))
        then = routing.flows[at[0]].steps[at[1]].edges.get(THEN)
        back = target_of(routing, at[0], then) if then else None
        for other, hurried in returning:
            if other[0] == name and back is not None:
                after[other].append(("return", back))
                hasty[other] += [back] if hurried else []
    begin: dict[At, frozenset[frozenset[str]]] = {}
    for number in routing.numbers.values():
        if number.flow in routing.flows:
            at = (number.flow, routing.flows[number.flow].start)
            begin[at] = begin.get(at, frozenset()) | {frozenset(number.sets)}
    for flow in routing.flows.values():
        if flow.code is not None:
            at = (flow.name, flow.start)
            begin[at] = begin.get(at, frozenset()) | {frozenset()}
    return Ways(
        after={at: tuple(targets) for at, targets in after.items()},
        begin=begin,
        ends=frozenset(ends),
        hasty={at: tuple(targets) for at, targets in hasty.items()},
    )


def _hurried(routing: Routing, step: Step, label: str) -> bool:
    """Whether a call may follow this edge of a step before the caller was given any time."""
    if not step.takes_time:
        return label != "on_error"
    outcomes = step.at_once(routing)
    return label in outcomes or (label == OTHERWISE and any(outcome not in step.edges for outcome in outcomes))


def steps_of(routing: Routing) -> Iterator[Step]:
    """Every step, flow by flow."""
    for flow in routing.flows.values():
        yield from flow.steps.values()


def edges_of(routing: Routing, step: Step) -> Iterator[tuple[str, Edge]]:
    """Every edge of a step with its label, also what its flow says of errors."""
    yield from step.all_edges(routing)
    on_error = routing.flows[step.flow].on_error
    if on_error is not None and step.on_error is None:
        yield "on_error", on_error


def target_of(routing: Routing, flow: str, edge: Edge) -> At | None:
    """The step that an edge of ``flow`` leads to; None: the call ends, or there is none."""
    if edge.special:
        return None
    home = routing.flows.get(edge.flow or flow)
    if home is None:
        return None
    name = edge.step or home.start
    return (home.name, name) if name in home.steps else None


def runs_of(whole: Whole) -> dict[str, list[tuple[At, str]]]:
    """For each flow the steps in it that run another, and which."""
    found: dict[str, list[tuple[At, str]]] = {}
    for reference in whole.references:
        if reference.kind == "flow" and reference.step is not None and reference.flow is not None:
            found.setdefault(reference.flow, []).append(((reference.flow, reference.step), reference.name))
    return found


# ------------------------------------------------------------------------------------------ variables


#: Sets of variables told apart; past this, what may be set on any way counts as set on all.
MOST_STATES = 20_000


def _carried(whole: Whole) -> Mapping[At, frozenset[frozenset[str]]]:
    """For each step that calls reach, the sets of variables that they may have when they come there."""
    ways, gained = whole.ways, gained_by(whole)
    found: dict[At, set[frozenset[str]]] = {}
    work: list[tuple[At, frozenset[str]]] = []

    def arrive(at: At, names: frozenset[str]) -> None:
        if at in ways.after and names not in found.setdefault(at, set()):
            found[at].add(names)
            work.append((at, names))

    for at, sets in ways.begin.items():
        for names in sets:
            arrive(at, names)
    limit = MOST_STATES + 4 * len(ways.after)
    steps = 0
    while work and steps < limit:
        steps += 1
        at, names = work.pop()
        more = names | gained.get(at, frozenset())
        for label, to in ways.after[at]:
            arrive(to, more if label in (THEN, "return") else names)
    if work:
        return _united(ways, gained)
    return {at: frozenset(sets) for at, sets in found.items()}


def _united(ways: Ways, gained: Mapping[At, frozenset[str]]) -> Mapping[At, frozenset[frozenset[str]]]:
    known = {at: frozenset().union(*sets) for at, sets in ways.begin.items() if at in ways.after}
    work = list(known)
    while work:
        at = work.pop()
        for label, to in ways.after[at]:
            flowing = known[at] | gained.get(at, frozenset()) if label in (THEN, "return") else known[at]
            if to in ways.after and (to not in known or not flowing <= known[to]):
                known[to] = known.get(to, frozenset()) | flowing
                work.append(to)
    return {at: frozenset([names]) for at, names in known.items()}


def gained_by(whole: Whole) -> Mapping[At, frozenset[str]]:
    """The variables that get a value in each step."""
    found: dict[At, set[str]] = {}
    for variable in whole.assigned:
        if variable.flow is not None and variable.step is not None:
            found.setdefault((variable.flow, variable.step), set()).add(variable.name)
    return {at: frozenset(names) for at, names in found.items()}
