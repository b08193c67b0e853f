"""What can be wrong with a company as a whole: names, ways, loops, values, numbers.

Each check is a small function over a :class:`Whole` that yields problems; :data:`CHECKS` is the list.  A check
knows no verb: it sees edges, references, and what the step classes say about themselves.

The surprise: a whole may have holes, because it is checked although parts of it could not be read.  A check
whose answer a hole could change stays silent when ``incomplete`` is set.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import phonenumbers

from callcontrol import policy, state
from callcontrol.forwards import MOST_PEOPLE
from callcontrol.routing import kinds
from callcontrol.routing.codes import problem
from callcontrol.routing.kinds import did_you_mean, spoken
from callcontrol.routing.model import DutyCode, Edge, Place, Problem, Queue, Reference, Routing
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import OTHERWISE, THEN, Step

#: All values of a call together, bytes.
LONGEST_VALUES = 160
#: How deep flows may run flows; see ``call.py``.
DEEPEST = 8

#: A step by flow and name.
At = tuple[str, str]


@dataclass(frozen=True)
class Whole:
    """A company as far as it could be read.

    ``names``: what a reference of a kind may use, None when that is not known.  ``steps``: the names of every
    flow's steps, also of those that could not be read.  ``sounds``: the files that exist, None: not checked.
    """

    routing: Routing
    references: tuple[Reference, ...]
    assigned: tuple[Reference, ...]
    names: Mapping[str, frozenset[str] | None]
    steps: Mapping[str, frozenset[str]]
    incomplete: bool = False
    sounds: frozenset[str] | None = None
    #: Whether ``routing.outbound`` is all that the file says of it.
    outbound_known: bool = True
    #: Whether ``routing.duty_codes`` is all that the file says of them.
    codes_known: bool = True

    @cached_property
    def ways(self) -> _Ways:
        """Where calls can go."""
        return _ways(self)

    @cached_property
    def carried(self) -> Mapping[At, frozenset[frozenset[str]]]:
        """The sets of variables with which calls come to each step that they reach."""
        return _carried(self)

    @cached_property
    def dangling(self) -> bool:
        """Whether some edge, flow or queue leads nowhere, so that ways cannot be followed."""
        return any(
            _missing(self, reference) is not None
            for reference in self.references
            if reference.kind in ("edge", "flow", "step", "queue")
        )


Check = Callable[[Whole], Iterable[Problem]]


def run(whole: Whole) -> list[Problem]:
    """Every problem that any check finds."""
    return [found for check in CHECKS for found in check(whole)]


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


def dangling_names(whole: Whole) -> Iterator[Problem]:
    """Every name that points to nothing, with the name that was probably meant."""
    suggestions = kinds.MOST_SUGGESTIONS
    for reference in whole.references:
        found = _missing(whole, reference)
        if found is None:
            continue
        code, message, known = found
        hint = ""
        if suggestions > 0:
            suggestions -= 1
            hint = _hint(whole, reference, known)
        yield problem(code, reference.place, message + hint)


def _missing(whole: Whole, reference: Reference) -> tuple[str, str, Iterable[str]] | None:
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


# -------------------------------------------------------------------------------------------- ways


@dataclass(frozen=True)
class _Ways:
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


def _ways(whole: Whole) -> _Ways:
    routing = whole.routing
    runs = {(r.flow or "", r.step): r.name for r in whole.references if r.kind == "flow" and r.step is not None}
    after: dict[At, list[tuple[str, At]]] = {}
    hasty: dict[At, list[At]] = {}
    ends: set[At] = set()
    returning: list[tuple[At, bool]] = []
    for step in _steps(routing):
        at = (step.flow, step.name)
        after[at], hasty[at] = [], []
        for label, edge in _edges(routing, step):
            target = _target(routing, step.flow, edge)
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
        back = _target(routing, at[0], then) if then else None
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
    return _Ways(
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


def _steps(routing: Routing) -> Iterator[Step]:
    for flow in routing.flows.values():
        yield from flow.steps.values()


def _edges(routing: Routing, step: Step) -> Iterator[tuple[str, Edge]]:
    yield from step.all_edges(routing)
    on_error = routing.flows[step.flow].on_error
    if on_error is not None and step.on_error is None:
        yield "on_error", on_error


def _target(routing: Routing, flow: str, edge: Edge) -> At | None:
    if edge.special:
        return None
    home = routing.flows.get(edge.flow or flow)
    if home is None:
        return None
    name = edge.step or home.start
    return (home.name, name) if name in home.steps else None


def unreachable(whole: Whole) -> Iterator[Problem]:
    """Flows that no number, code or other flow leads to, and steps that their own flow never comes to."""
    if whole.incomplete or whole.dangling:
        return
    routing, ways = whole.routing, whole.ways
    reached = ways.reached(ways.begin)
    live = {flow for flow, _ in reached}
    for flow in routing.flows.values():
        if flow.name not in live and flow.steps:
            yield problem("W502", flow.place, f"no number, code or step leads to the flow {quoted(flow.name)}")
    # A step of a dead flow is only worth a line of its own if the flow itself would not come to it either.
    reached |= ways.reached((flow.name, flow.start) for flow in routing.flows.values() if flow.name not in live)
    for step in _steps(routing):
        if (step.flow, step.name) not in reached:
            yield problem("W501", step.place, f"nothing leads to the step {quoted(step.name)}")


def loops(whole: Whole) -> Iterator[Problem]:
    """Loops that spin without giving the caller time, and loops that nobody gets out of."""
    steps = {(step.flow, step.name): step for step in _steps(whole.routing)}
    ways = whole.ways
    spinning: set[At] = set()
    for ring in _rings({at: list(targets) for at, targets in ways.hasty.items()}):
        spinning.update(ring)
        first = min(ring, key=lambda at: steps[at].place)
        yield problem("E410", steps[first].place, f"a loop without any pause for the caller: {_listed(ring, first)}")
    if whole.incomplete or whole.dangling:
        return
    for ring in _rings({at: [to for _, to in targets] for at, targets in ways.after.items()}):
        leaves = any(to not in ring for at in ring for _, to in ways.after[at])
        if leaves or ring & ways.ends or ring & spinning:
            continue
        first = min(ring, key=lambda at: steps[at].place)
        yield problem(
            "W503", steps[first].place, f"the caller can only hang up: no way leads out of {_listed(ring, first)}"
        )


def _listed(ring: Iterable[At], first: At) -> str:
    names = [step if flow == first[0] else f"{flow}/{step}" for flow, step in sorted(ring)]
    names.sort(key=lambda name: name != first[1])
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def _rings(after: Mapping[At, list[At]]) -> Iterator[set[At]]:
    """The strongly connected parts that are loops (Tarjan, without recursion)."""
    index: dict[At, int] = {}
    low: dict[At, int] = {}
    path: list[At] = []
    on_path: set[At] = set()
    for root in after:
        if root in index:
            continue
        work = [(root, iter(after[root]))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            at, rest = work[-1]
            for to in rest:
                if to not in after:
                    continue
                if to not in index:
                    index[to] = low[to] = len(index)
                    path.append(to)
                    on_path.add(to)
                    work.append((to, iter(after[to])))
                    break
                if to in on_path:
                    low[at] = min(low[at], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
                if low[at] == index[at]:
                    ring = set(path[path.index(at) :])
                    del path[path.index(at) :]
                    on_path -= ring
                    if len(ring) > 1 or at in after[at]:
                        yield ring


def _runs(whole: Whole) -> dict[str, list[tuple[At, str]]]:
    """For each flow the steps in it that run another, and which."""
    found: dict[str, list[tuple[At, str]]] = {}
    for reference in whole.references:
        if reference.kind == "flow" and reference.step is not None and reference.flow is not None:
            found.setdefault(reference.flow, []).append(((reference.flow, reference.step), reference.name))
    return found


def recursion(whole: Whole) -> Iterator[Problem]:
    """A flow that runs itself, directly or through others, and flows nested deeper than a call can be."""
    runs = _runs(whole)
    rings = list(_rings({(flow, ""): [(to, "") for _, to in inner] for flow, inner in runs.items()}))
    for flow, inner in runs.items():
        for at, to in inner:
            if any((flow, "") in ring and (to, "") in ring for ring in rings):
                step = whole.routing.flows[flow].steps.get(at[1]) if flow in whole.routing.flows else None
                if step is not None:
                    how = "itself" if to == flow else f"{to}, which comes back to {flow}"
                    yield problem("E411", step.place, f"the flow {quoted(flow)} runs {how}, for ever")
    stacks = _stacks(runs, len)
    for flow, stack in (stacks or {}).items():
        if len(stack) == DEEPEST + 1:
            step = whole.routing.step(*stack[-1])
            if step is not None:
                message = f"flows run flows more than {DEEPEST} deep: {len(stack)} of them wait for {quoted(flow)}"
                yield problem("E414", step.place, message)


Weigh = Callable[[tuple[At, ...]], int]


def _stacks(runs: Mapping[str, list[tuple[At, str]]], weigh: Weigh) -> dict[str, tuple[At, ...]] | None:
    """The heaviest stack of steps that wait, outermost first, while a flow is run; None if flows run in circles."""
    above: dict[str, list[At]] = {}
    for inner in runs.values():
        for at, to in inner:
            above.setdefault(to, []).append(at)
    done: dict[str, tuple[At, ...]] = {}
    doing: set[str] = set()
    work = list(above)
    while work:
        flow = work[-1]
        todo = [at[0] for at in above.get(flow, ()) if at[0] not in done]
        if todo and flow not in doing:
            doing.add(flow)
            work += todo
            continue
        if todo:
            return None
        work.pop()
        stacks = [(*done[at[0]], at) for at in above.get(flow, ())]
        done[flow] = max(stacks, key=lambda stack: (weigh(stack), stack), default=())
    return done


# ------------------------------------------------------------------------------------------ variables


#: Sets of variables told apart; past this, what may be set on any way counts as set on all.
MOST_STATES = 20_000


def _carried(whole: Whole) -> Mapping[At, frozenset[frozenset[str]]]:
    """For each step that calls reach, the sets of variables that they may have when they come there."""
    ways, gained = whole.ways, _gained(whole)
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


def _united(ways: _Ways, gained: Mapping[At, frozenset[str]]) -> Mapping[At, frozenset[frozenset[str]]]:
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


def _gained(whole: Whole) -> Mapping[At, frozenset[str]]:
    found: dict[At, set[str]] = {}
    for variable in whole.assigned:
        if variable.flow is not None and variable.step is not None:
            found.setdefault((variable.flow, variable.step), set()).add(variable.name)
    return {at: frozenset(names) for at, names in found.items()}


def unset_variables(whole: Whole) -> Iterator[Problem]:
    """A variable in speech, a target or an address that no way to its step sets."""
    if whole.incomplete or whole.dangling:
        return
    known = {at: frozenset().union(*sets) for at, sets in whole.carried.items()}
    anywhere = frozenset(variable.name for variable in whole.assigned)
    for reference in whole.references:
        if reference.kind != "variable" or reference.name in kinds.BUILT_IN:
            continue
        there: frozenset[str] | None
        if reference.queue is not None:
            ways = [known[at] for at in _entering(whole).get(reference.queue, ()) if at in known]
            there = frozenset().union(*ways) if ways else None
        elif reference.step is None:
            there = anywhere
        else:
            there = known.get((reference.flow or "", reference.step))
        if there is None or reference.name in there:
            continue
        name = f"{{{reference.name}}}"
        if reference.name == "position":
            yield problem("E213", reference.place, f"{name} is known only in the announce of a queue")
        elif reference.name in anywhere:
            where = "this queue" if reference.queue is not None else "this step"
            yield problem("E213", reference.place, f"{name} is set elsewhere, but on no way to {where}")
        else:
            place = ["position"] if reference.queue is not None else []
            guess = kinds.closest(reference.name, [*there, *anywhere, *kinds.BUILT_IN, *place])
            hint = f"; did you mean {{{guess}}}?" if guess else ""
            yield problem("E213", reference.place, f"nothing sets {name}{hint}")


def spoken_variables(whole: Whole) -> Iterator[Problem]:
    """A variable in speech whose value is known only during the call, and is more than digits."""
    answers = {variable.name for variable in whole.assigned if variable.kind == "answer"}
    for reference in whole.references:
        if reference.kind != "spoken":
            continue
        name = f"{{{reference.name}}}"
        if reference.name == "language":
            message = f"{name} is a tag such as en, and no word: write a text for each language, {{en: …, ru: …}}"
            yield problem("E214", reference.place, message)
        elif reference.name in answers:
            message = f"{name} is looked up during the call, and speech is made before it: write the text without it"
            yield problem("E214", reference.place, message)


def _sizes(whole: Whole) -> Mapping[str, int]:
    """The most bytes that each variable can get.  Looked-up values count as nothing here: at run time
    one that finds no room makes the lookup fail."""
    sizes: dict[str, int] = {}
    for number in whole.routing.numbers.values():
        for name, value in number.sets.items():
            sizes[name] = max(len(value.encode()), sizes.get(name, 0))
    for variable in whole.assigned:
        step = whole.routing.step(variable.flow or "", variable.step or "")
        if step is None:
            continue
        written, digits = step.values.get(step.verb), step.values.get("digits")
        if isinstance(written, Mapping):
            size = len(str(written.get(variable.name, "")).encode())
        else:
            size = digits[1] if isinstance(digits, tuple) else 0
        sizes[variable.name] = max(size, sizes.get(variable.name, 0))
    return sizes


def room_for_values(whole: Whole) -> Iterator[Problem]:
    """Calls whose values could need more than 160 bytes together."""
    for number in whole.routing.numbers.values():
        own = {name: len(value.encode()) for name, value in number.sets.items() if name != "language"}
        if sum(own.values()) > LONGEST_VALUES:
            yield problem("E504", number.place, _too_much(own))
    if whole.incomplete or whole.dangling:
        return
    sizes, gained = _sizes(whole), _gained(whole)
    for step in _steps(whole.routing):
        at = (step.flow, step.name)
        for names in whole.carried.get(at, ()):
            more = names | gained.get(at, frozenset())
            if more != names and sum(sizes.get(name, 0) for name in more) > LONGEST_VALUES:
                yield problem("E504", step.place, _too_much({name: sizes.get(name, 0) for name in more}))
                break


def _too_much(sizes: Mapping[str, int]) -> str:
    each = ", ".join(f"{variable} {size}" for variable, size in sorted(sizes.items()))
    return f"a call can carry {sum(sizes.values())} bytes of values here ({each}); {LONGEST_VALUES} is the most"


#: The longest progress that any step keeps, besides the chain of forwards; see ``hunt.py`` and ``steps/``.
_PROGRESS = {"x": "999999", "a": 99, "u": 1999999999, "r": 999, "f": 1999999999, "o": "unreachable"}


def room_for_state(whole: Whole) -> Iterator[Problem]:
    """Steps at which a call's checkpoint could be longer than its channel variable (512 bytes).

    One step for each flow: the others would only repeat it.
    """
    if whole.incomplete or whole.dangling:
        return
    stacks = _stacks(_runs(whole), lambda stack: sum(len(flow) + len(step) + 6 for flow, step in stack))
    if stacks is None:  # flows that run themselves are another check's
        return
    # A value that the number gave is known from the routing, and not stored again.
    stored = frozenset(variable.name for variable in whole.assigned if variable.step is not None)
    sizes = _sizes(whole)
    called = max(whole.routing.numbers, key=len, default="")
    full: set[str] = set()
    for step in _steps(whole.routing):
        sets = whole.carried.get((step.flow, step.name), frozenset())
        names = max(sets, key=lambda names: sum(len(n) + sizes.get(n, 0) for n in names & stored), default=frozenset())
        values = {name: sizes.get(name, 0) for name in sorted(names & stored)}
        if step.flow not in full and (why := _overflow(whole.routing, step, stacks.get(step.flow, ()), values, called)):
            full.add(step.flow)
            message = f"{why}: shorten the names of steps, flows and variables, or set fewer values"
            yield problem("E413", step.place, message)


def _overflow(routing: Routing, step: Step, stack: tuple[At, ...], values: Mapping[str, int], called: str) -> str:
    # Looked-up values, counted as nothing so far, may fill whatever room there is.
    spare = max(0, LONGEST_VALUES - sum(values.values()))
    variables = {}
    for name, size in values.items():
        more = min(spare, kinds.LONGEST_VALUE) if size == 0 else 0
        variables[name] = "x" * (size + more)
        spare -= more
    progress: dict[str, object] = dict(step.longest or _PROGRESS)
    if step.longest is None and any(person.forward for person in routing.people.values()):
        del progress["a"]  # whoever follows a chain rings no stages
        progress["w"] = "".join(f"{extension}n" for extension in sorted(routing.people, key=len)[-MOST_PEOPLE:])
    worst = state.State(
        company=routing.company,
        version="0" * 16,
        called=called,
        epoch=999,
        began=1999999999,
        flow=step.flow,
        step=step.name,
        stack=stack,
        progress=progress,
        language=max(routing.languages, key=len, default=""),
        variables=variables,
        ring_number=999,
        talk=("+99999999999999" if routing.outbound else "999999", 1999999999, 999),
        announced=routing.recording.announce is not None,
    )
    try:
        state.encode(worst)
    except state.StateError as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------------------------- numbers


def keys_and_extensions(whole: Whole) -> Iterator[Problem]:
    """A menu key that is also a whole extension there.  The beginning of one is fine: a pause tells them apart."""
    routing = whole.routing
    for step in _steps(routing):
        keys = step.values.get("keys")
        for target in step.values.get("extensions") or ():
            if target.person:
                members: tuple[str, ...] = (target.person,)
            else:
                group = routing.groups.get(target.group)
                members = group.members if group else ()
            for extension in members:
                if isinstance(keys, Mapping) and extension in keys:
                    yield problem(
                        "E412",
                        keys[extension].place,
                        f"key {extension} is also the extension of {_who(routing, extension)}, who can be dialled here",
                    )


def _who(routing: Routing, extension: str) -> str:
    person = routing.people.get(extension)
    return person.name if person else extension


def menus(whole: Whole) -> Iterator[Problem]:
    """A menu that no key answers, and a ``then`` of one at which nobody can be dialled."""
    for step in _steps(whole.routing):
        if step.values.get("extensions") != () or "keys" not in step.values:
            continue
        if not step.values["keys"]:
            yield problem("E415", step.place, "no key answers here: add keys, or extensions")
        elif THEN in step.edges:
            message = "then follows a talk with an extension dialled here, and there are no extensions"
            yield problem("E407", step.edges[THEN].place, message)


def emergency(whole: Whole) -> Iterator[Problem]:
    """Extensions that are emergency numbers: the company's own list (error), the country's (warning)."""
    routing = whole.routing
    listed = routing.outbound.get("emergency", ())
    for extension, person in routing.people.items():
        if extension in listed:
            yield problem("E501", person.place, f"{extension} is an emergency number under outbound: it must stay free")
        elif 1 < len(extension) < 5 and routing.country and _is_emergency(extension, routing.country):
            message = (
                f"{extension} is an emergency number in {routing.country}: a phone that dials it gets {person.name}"
            )
            yield problem("W504", person.place, message)


@lru_cache(maxsize=1024)
def _is_emergency(number: str, country: str) -> bool:
    return bool(phonenumbers.is_emergency_number(number, country))


def codes(whole: Whole) -> Iterator[Problem]:
    """A code that two switches, flows or things that agents dial share."""
    routing = whole.routing
    used: dict[str, tuple[str, Place]] = {}
    for name, hours in routing.hours.items():
        if hours.switch:
            yield from _code(used, hours.switch, f"the switch {name}", hours.place)
    for name, flow in routing.flows.items():
        if flow.code:
            yield from _code(used, flow.code, f"the flow {name}", flow.place)
    for code in routing.duty_codes.values():
        yield from _code(used, code.code, str(code), code.place)


def _code(used: dict[str, tuple[str, Place]], code: str, what: str, place: Place) -> Iterator[Problem]:
    if code in used:
        other, where = used[code]
        yield problem("E503", place, f"the code {code} belongs to {other} already (line {where.line})")
    used.setdefault(code, (what, place))


def forwards(whole: Whole) -> Iterator[Problem]:
    """People who forward to themselves, or to a mobile that they do not have."""
    for extension, person in whole.routing.people.items():
        for when, rule in person.forward.items():
            if rule["to"] == extension:
                yield problem("E506", person.place, f"{extension} forwards to themselves ({when})")
            elif rule["to"] == "mobile" and person.mobile is None:
                message = f'{extension} forwards to mobile ({when}), but has none: add mobile: "+…"'
                yield problem("E506", person.place, message)


def forward_circles(whole: Whole) -> Iterator[Problem]:
    """People who forward to each other in a circle: always (nobody would ever ring), or now and then."""
    people = whole.routing.people
    after = {(extension, ""): [(to, "") for to in _forwards_to(whole, extension)] for extension in people}
    named = [r for r in whole.references if r.kind == "person" and r.person is not None]
    places = {(r.person, r.name): r.place for r in sorted(named, key=lambda r: r.place, reverse=True)}
    for ring in _rings(after):
        rules = {(at[0], to[0]): places[at[0], to[0]] for at in ring for to in after[at] if to in ring}
        first = min(rules, key=lambda rule: rules[rule])
        circle = " → ".join(_circle(after, first))
        if all("always" in people[extension].forward for extension, _ in ring):
            message = f"calls are always forwarded in a circle: {circle}; nobody would ever ring"
            yield problem("E508", rules[first], message)
        else:
            message = f"calls may be forwarded in a circle: {circle}; each is rung once, then the call goes on"
            yield problem("W508", rules[first], message)


def _forwards_to(whole: Whole, extension: str) -> list[str]:
    """The other people to whom a call of this one may be forwarded, in the order of the rules."""
    rules = whole.routing.people[extension].forward
    if "always" in rules:
        rules = {"always": rules["always"]}
    elif {"busy", "no_answer", "unreachable"} <= rules.keys():
        rules = {when: rule for when, rule in rules.items() if when != "otherwise"}
    named = (rule["to"] for rule in rules.values())
    return list(dict.fromkeys(to for to in named if to in whole.routing.people and to != extension))


def _circle(after: Mapping[At, list[At]], rule: tuple[str, str]) -> list[str]:
    """The shortest circle that begins with ``rule``: the extensions on it, the first one again at the end."""
    begin, second = rule
    came_from: dict[At, At] = {}
    queue: list[At] = [(second, "")]
    for at in queue:
        if at[0] == begin:
            break
        for to in after[at]:
            if to not in came_from:
                came_from[to] = at
                queue.append(to)
    path = [(begin, "")]
    while path[-1] != (second, ""):
        path.append(came_from[path[-1]])
    return [begin, *(extension for extension, _ in reversed(path))]


# ------------------------------------------------------------------------------------------- outside


def outside(whole: Whole) -> Iterator[Problem]:
    """Numbers outside that the routing would ring and policy refuses; all of them, if no call can leave.

    And what is listed as an emergency number and is none, since policy would let it pass.
    """
    routing = whole.routing
    if not whole.outbound_known or not routing.country:
        return
    told: set[tuple[str | None, ...]] = set()
    for reference in whole.references:
        if reference.kind == "emergency" and (why := policy.not_an_emergency(reference.name, routing.country)):
            yield problem("E507", reference.place, why)
        if reference.kind != "outside" or not _rung(routing, reference):
            continue
        if reference.name in routing.numbers:
            message = f"{reference.name} is the company's own number, which it cannot call: name a flow or a person"
            yield problem("E507", reference.place, message)
            continue
        if routing.outbound:
            found = policy.decide(routing.outbound, routing.country, reference.name)
            if isinstance(found, policy.Refused):
                yield problem("E507", reference.place, found.why)
            continue
        owner = (reference.person, reference.flow, reference.step)
        if owner not in told and not whole.incomplete:
            told.add(owner)
            message = f"{reference.name} is outside, and there is no outbound section: it is never rung"
            yield problem("W506", reference.place, message)


def _rung(routing: Routing, reference: Reference) -> bool:
    """Whether a call can come to a number: a mobile is rung only if a forward of its owner names it."""
    if reference.person is None:
        return True
    person = routing.people.get(reference.person)
    if person is None:
        return False
    to = {rule["to"] for rule in person.forward.values()}
    return reference.name in (*person.phones, *to) or "mobile" in to


def caller_ids(whole: Whole) -> Iterator[Problem]:
    """Numbers shown to people called that the company does not own, although it owns others of their country.

    One of a country in which it owns none may well be rented elsewhere, for being shown only.
    """
    own = whole.names.get("number")
    foreign = [r for r in whole.references if r.kind == "shown" and own is not None and r.name not in own]
    countries = {_country(number) for number in whole.routing.numbers} if foreign else set()
    for reference in foreign:
        country = _country(reference.name)
        if country in countries:
            message = f"{reference.name} is none of the company's numbers in {country}: carriers may refuse to show it"
            yield problem("W507", reference.place, message)


def _country(number: str) -> str | None:
    return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))


def given_lookups(whole: Whole) -> Iterator[Problem]:
    """What a rehearsal gives for a lookup must be what a real one brings: every variable, and no other."""
    for rehearsal in whole.routing.rehearsals:
        number = whole.routing.numbers.get(rehearsal.called)
        for name, answer in rehearsal.given.get("lookups", {}).items():
            flow, slash, rest = name.partition("/")
            step = whole.routing.step(flow, rest) if slash else whole.routing.step(number.flow if number else "", name)
            if step is None:
                continue  # a name of nothing is another check's
            if step.verb != "lookup":
                message = f"{quoted(name)} is a {step.verb}, not a lookup: it is given nothing"
                yield problem("E509", rehearsal.place, f"{quoted(rehearsal.name)}: {message}")
            elif isinstance(answer, Mapping):
                wanted = step.values["into"]
                missing = [variable for variable in wanted if variable not in answer]
                more = [variable for variable in answer if variable not in wanted]
                wrong = [f"lacks {', '.join(missing)}"] if missing else []
                wrong += [f"has {', '.join(more)}, which the step does not ask for"] if more else []
                if wrong:
                    message = f"what is given for the lookup {quoted(name)} {' and '.join(wrong)}"
                    yield problem("E509", rehearsal.place, f"{quoted(rehearsal.name)}: {message}")


# ------------------------------------------------------------------------------------ queues and agents


def _entering(whole: Whole) -> Mapping[str, list[At]]:
    """For each queue the steps in which callers join it."""
    found: dict[str, list[At]] = {}
    for reference in whole.references:
        if reference.kind == "queue" and reference.step is not None:
            found.setdefault(reference.name, []).append((reference.flow or "", reference.step))
    return found


def skills(whole: Whole) -> Iterator[Problem]:
    """Callers who need what no agent of their queue can do, and agents who can what no caller of the queue needs."""
    needed: dict[tuple[str | None, str | None, str | None], list[Reference]] = {}
    offered: dict[str | None, list[Reference]] = {}
    for reference in whole.references:
        if reference.kind == "skill":
            needed.setdefault((reference.queue, reference.flow, reference.step), []).append(reference)
        elif reference.kind == "can":
            offered.setdefault(reference.queue, []).append(reference)
    entering = _entering(whole)
    for queue in whole.routing.queues.values():
        asked = needed.get((queue.name, None, None), [])
        hopeless = list(_hopeless(queue, asked, ()))
        steps = [needed[None, *at] for at in entering.get(queue.name, ()) if (None, *at) in needed]
        if not hopeless:  # else the steps would only repeat it
            hopeless = [found for more in steps for found in _hopeless(queue, more, queue.skills)]
        yield from hopeless
        if not hopeless and not whole.incomplete and not whole.dangling:
            wanted = {reference.name for more in (asked, *steps) for reference in more}
            yield from _unwanted(queue, offered.get(queue.name, ()), wanted)


def _hopeless(queue: Queue, asked: Sequence[Reference], besides: Iterable[str]) -> Iterator[Problem]:
    wanted = {*besides, *(reference.name for reference in asked)}
    if any(wanted <= {*agent.skills} for agent in queue.agents):
        return
    known = {skill for agent in queue.agents for skill in agent.skills}
    missing = [reference for reference in asked if reference.name not in known]
    for reference in missing:
        message = f"no agent of the queue {quoted(queue.name)} has the skill {quoted(reference.name)}"
        yield problem("E510", reference.place, message + did_you_mean(reference.name, known))
    if not missing:
        skills = " and ".join(sorted(wanted))
        message = f"no agent of the queue {quoted(queue.name)} has {skills} together"
        yield problem("E510", asked[0].place, f"{message}: callers who need them would wait for ever")


def _unwanted(queue: Queue, offered: Iterable[Reference], wanted: Iterable[str]) -> Iterator[Problem]:
    told = {*wanted}
    for reference in offered:
        if reference.name not in told:
            told.add(reference.name)
            message = f"no caller of the queue {quoted(queue.name)} needs the skill {quoted(reference.name)}"
            yield problem("W510", reference.place, message + did_you_mean(reference.name, wanted))


def levels(whole: Whole) -> Iterator[Problem]:
    """Waiting times of levels that nobody has, that keep everybody from being asked, or that never pass."""
    places = {(r.queue, int(r.name)): r.place for r in whole.references if r.kind == "level"}
    for queue in whole.routing.queues.values():
        known = sorted({agent.level for agent in queue.agents})
        opens = {level: queue.levels.get(level, 0.0) for level in known}
        for level, seconds in queue.levels.items():
            place = places[queue.name, level]
            if level not in opens:
                message = f"no agent of the queue has level {level}; its agents have {_numbers(known)}"
                yield problem("W511", place, message)
            elif queue.max_wait is not None and seconds >= queue.max_wait:
                wait = f"callers wait {spoken(queue.max_wait)} at most"
                yield problem("W515", place, f"level {level} opens after {spoken(seconds)}, and {wait}")
        first = min(opens.values())
        if first:
            place = places[queue.name, known[0]]
            message = f"nobody is asked in the first {spoken(first)}: every level of the agents has a waiting time"
            yield problem("W512", place, message)
        for lower, higher in itertools.pairwise(known):
            if opens[higher] < opens[lower]:
                when = f"after {spoken(opens[higher])}" if opens[higher] else "at once"
                later = f"level {lower}, which should come first, only after {spoken(opens[lower])}"
                yield problem("W512", places[queue.name, lower], f"level {higher} is asked {when}, and {later}")


def _numbers(numbers: Sequence[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def queues(whole: Whole) -> Iterator[Problem]:
    """Queues that no step leads to, edges of queue steps that are never followed, waits that are never over."""
    for step in _steps(whole.routing):
        for outcome, why in step.never(whole.routing).items():
            if outcome in step.edges:
                yield problem("W514", step.edges[outcome].place, f"{outcome} never comes: {why}")
    entering = _entering(whole)
    for queue in whole.routing.queues.values():
        if queue.name not in entering and not whole.incomplete and not whole.dangling:
            yield problem("W513", queue.place, f"no step leads to the queue {quoted(queue.name)}")
        if queue.max_wait is not None and queue.unstaffed > queue.max_wait:
            wait = f"unstaffed is {spoken(queue.unstaffed)}, and callers wait {spoken(queue.max_wait)} at most"
            yield problem("W515", queue.place, f"{wait}: no_agents and paused never come")
        for said in queue.announce:
            if queue.max_wait is not None and said.every >= queue.max_wait:
                wait = f"callers wait {spoken(queue.max_wait)} at most"
                yield problem("W515", queue.place, f"what is said every {spoken(said.every)} is never heard: {wait}")


def duties(whole: Whole) -> Iterator[Problem]:
    """People with a duty who serve no queue, or whose duty is a switch; agents who cannot come back by a code."""
    routing = whole.routing
    agents = {agent.agent for queue in routing.queues.values() for agent in queue.agents}
    all_read = whole.names.get("queue") == frozenset(routing.queues)
    for reference in whole.references:
        if reference.kind != "hours" or reference.person not in routing.people or _missing(whole, reference):
            continue
        if reference.name in routing.switches:
            message = f"{quoted(reference.name)} is a switch, and has no times: a duty needs hours that begin and end"
            yield problem("E511", reference.place, message)
        elif reference.person not in agents and all_read:
            yield problem("W516", reference.place, f"{reference.person} has a duty, and is no agent of any queue")
    codes: dict[str, DutyCode] = {}
    for code in routing.duty_codes.values():
        codes.setdefault(code.what, code)
    if not whole.codes_known or "log_in" in codes:  # it ends a pause too
        return
    if "log_out" in codes:
        message = f"who dials {codes['log_out'].code} cannot log in again by telephone: add log_in"
        yield problem("W517", codes["log_out"].place, message)
    if "resume" in codes:
        return
    if "pause" in codes:
        message = f"who dials {codes['pause'].code} cannot end the pause by telephone: add resume"
        yield problem("W517", codes["pause"].place, message)
    for queue in routing.queues.values():
        if queue.pause_after is not None:
            message = "pause_after pauses agents, and no code ends the pause: add resume under agents"
            yield problem("W517", queue.place, message)


def recordings(whole: Whole) -> Iterator[Problem]:
    """Rules of recording where nobody talks, and an announcement that nobody would ever hear."""
    routing = whole.routing
    for step in _steps(routing):
        if step.record and not step.talks:
            message = f"nobody talks in a {step.verb} step: record is for {_WHERE_PEOPLE_TALK}"
            yield problem("W518", step.place, message)
    announce = routing.recording.announce
    if announce is None or whole.incomplete:
        return
    rules = {routing.recording.record, *(step.record for step in _steps(routing))}
    for section in (routing.numbers, routing.people, routing.queues, routing.flows):
        rules |= {one.record for one in section.values()}
    if not rules - {None, "never"}:
        saying = next(iter(announce.sayings.values()))
        yield problem("W519", saying.place, "nothing is recorded, so nobody hears this: a rule is missing (record)")


#: The verbs of steps in which people talk, for messages.
_WHERE_PEOPLE_TALK = "dial, menu, queue and flow"

CHECKS: tuple[Check, ...] = (
    dangling_names,
    unreachable,
    loops,
    recursion,
    unset_variables,
    spoken_variables,
    room_for_values,
    room_for_state,
    keys_and_extensions,
    menus,
    emergency,
    codes,
    forwards,
    forward_circles,
    outside,
    caller_ids,
    given_lookups,
    skills,
    levels,
    queues,
    duties,
    recordings,
)
