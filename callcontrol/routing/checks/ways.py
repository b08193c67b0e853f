"""Where calls go: steps that none comes to, loops, flows that run flows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from callcontrol.routing.checks.whole import At, Whole, edges_of, runs_of, steps_of, target_of
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Edge, Place, Problem
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import THEN

#: How deep flows may run flows; see ``call.py``.
DEEPEST = 8


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
    reached |= ways.reached(target for _, _, target in _never_back(whole, reached))
    # A step of a dead flow is only worth a line of its own if the flow itself would not come to it either.
    reached |= ways.reached((flow.name, flow.start) for flow in routing.flows.values() if flow.name not in live)
    for step in steps_of(routing):
        if (step.flow, step.name) not in reached:
            yield problem("W501", step.place, f"nothing leads to the step {quoted(step.name)}")


def returns(whole: Whole) -> Iterator[Problem]:
    """A ``return`` that nobody waits for, and a ``then`` after a flow that never comes back."""
    if whole.incomplete or whole.dangling:
        return
    routing, ways = whole.routing, whole.ways
    reached = ways.reached(ways.begin)
    run = {name for inner in runs_of(whole).values() for _, name in inner}
    told: set[Place] = set()
    for step in steps_of(routing):
        if step.flow in run or (step.flow, step.name) not in reached:
            continue
        for _, edge in edges_of(routing, step):
            if edge.special == "return" and edge.place not in told:
                told.add(edge.place)
                message = f"no step runs the flow {quoted(step.flow)}, so return comes back to nothing: the call ends"
                yield problem("W536", edge.place, f"{message} here; write hangup, or run the flow by a flow step")
    for edge, name, _ in _never_back(whole, reached):
        message = f"the flow {quoted(name)} never comes to a return"
        yield problem("W537", edge.place, f"{message}, so then is never followed here")


def _never_back(whole: Whole, reached: Collection[At]) -> Iterator[tuple[Edge, str, At]]:
    """Each ``then`` of a step among ``reached`` that runs a flow which never returns: the flow, and where it leads."""
    routing, ways, runs = whole.routing, whole.ways, runs_of(whole)
    back: dict[str, bool] = {}
    for ring in _circles(runs):  # they run for ever, and that is said already
        back |= {flow: True for flow, _ in ring}
    for inner in runs.values():
        for at, name in inner:
            step = routing.step(*at)
            then = step.edges.get(THEN) if step else None
            target = target_of(routing, at[0], then) if then else None
            if then is None or target is None or at not in reached or name not in routing.flows:
                continue
            if name not in back:
                inside = (routing.step(*other) for other in ways.reached([(name, routing.flows[name].start)]))
                edges = (edge for one in inside if one and one.flow == name for _, edge in edges_of(routing, one))
                back[name] = any(edge.special == "return" for edge in edges)
            if not back[name]:
                yield then, name, target


def loops(whole: Whole) -> Iterator[Problem]:
    """Loops that spin without giving the caller time, and loops that nobody gets out of."""
    steps = {(step.flow, step.name): step for step in steps_of(whole.routing)}
    ways = whole.ways
    spinning: set[At] = set()
    for ring in rings({at: list(targets) for at, targets in ways.hasty.items()}):
        spinning.update(ring)
        first = min(ring, key=lambda at: steps[at].place)
        yield problem("E410", steps[first].place, f"a loop without any pause for the caller: {listed(ring, first)}")
    if whole.incomplete or whole.dangling:
        return
    for ring in rings({at: [to for _, to in targets] for at, targets in ways.after.items()}):
        leaves = any(to not in ring for at in ring for _, to in ways.after[at])
        if leaves or ring & ways.ends or ring & spinning:
            continue
        first = min(ring, key=lambda at: steps[at].place)
        yield problem(
            "W503", steps[first].place, f"the caller can only hang up: no way leads out of {listed(ring, first)}"
        )


def listed(ring: Iterable[At], first: At) -> str:
    names = [step if flow == first[0] else f"{flow}/{step}" for flow, step in sorted(ring)]
    names.sort(key=lambda name: name != first[1])
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def rings(after: Mapping[At, list[At]]) -> Iterator[set[At]]:
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


def recursion(whole: Whole) -> Iterator[Problem]:
    """A flow that runs itself, directly or through others, and flows nested deeper than a call can be."""
    runs = runs_of(whole)
    circles = list(_circles(runs))
    for flow, inner in runs.items():
        for at, to in inner:
            if any((flow, "") in ring and (to, "") in ring for ring in circles):
                step = whole.routing.flows[flow].steps.get(at[1]) if flow in whole.routing.flows else None
                if step is not None:
                    how = "itself" if to == flow else f"{to}, which comes back to {flow}"
                    yield problem("E411", step.place, f"the flow {quoted(flow)} runs {how}, for ever")
    stacks = stacks_of(runs, len)
    for flow, stack in (stacks or {}).items():
        if len(stack) == DEEPEST + 1:
            step = whole.routing.step(*stack[-1])
            if step is not None:
                message = f"flows run flows more than {DEEPEST} deep: {len(stack)} of them wait for {quoted(flow)}"
                yield problem("E414", step.place, message)


def _circles(runs: Mapping[str, list[tuple[At, str]]]) -> Iterator[set[At]]:
    """Flows that run each other in a circle."""
    return rings({(flow, ""): [(to, "") for _, to in inner] for flow, inner in runs.items()})


Weigh = Callable[[tuple[At, ...]], int]


def stacks_of(runs: Mapping[str, list[tuple[At, str]]], weigh: Weigh) -> dict[str, tuple[At, ...]] | None:
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
