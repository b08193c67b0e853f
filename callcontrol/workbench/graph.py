"""A flow as a picture: what it shows, whatever it is drawn with.

:func:`picture` makes of a flow its nodes and labelled arrows; ``drawing.py`` makes SVG of them, :func:`dot`,
:func:`mermaid` and :func:`data` what other programs draw.  It asks steps for their edges and knows of a verb only what
:data:`_KINDS` and :data:`_TOLD` say, so a new verb is drawn before anybody has thought of its looks.

The surprise: where a call ends, and where it leaves for another flow, every step has a node of its own for it.  One
for all would be the middle of every picture, and say nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callcontrol.routing.hours import WEEKDAYS, Hours, Span
from callcontrol.routing.model import Edge, File, Flow, Prompt, Routing, Stage, Target
from callcontrol.steps.base import OTHERWISE, THEN, Step

#: What a step of a verb is for the caller; the colours go by it.
_KINDS = {
    "menu": "asks",
    "collect": "asks",
    "caller": "decides",
    "hours": "decides",
    "set": "notes",
    "lookup": "notes",
    "dial": "rings",
    "queue": "waits",
    "play": "says",
    "voicemail": "records",
    "flow": "runs",
    "hangup": "ends",
}
#: The kinds of nodes, with what each is, in the order in which a legend has them.
KINDS = {
    "asks": "asks for keys",
    "decides": "decides",
    "notes": "finds out or notes",
    "rings": "rings people",
    "waits": "waits for an agent",
    "says": "says something",
    "records": "takes a message",
    "runs": "runs another flow",
    "ends": "ends the call",
}
#: What stands before a label in a field of edges, and is understood without it.
_FIELDS = ("keys ", "hours ", "caller ")
#: Names told on one line at most, and numbers by which calls come in.
_MOST_NAMES = 40
_MOST_NUMBERS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a node says.  ``style``: ``said title plain quiet link``; ``most``: rows that it may take.

    ``whole``: what was meant, where ``text`` is only a part of it.  ``flow``: which flow it leads to.
    """

    text: str
    style: str = "plain"
    most: int = 1
    whole: str = ""
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A box.  ``shape``: ``entry step any end flow``; ``kind`` is one of :data:`KINDS`, or "".

    ``flow`` and ``step``: where a node of the shape ``flow`` leads.  ``live``: whether any call comes here.
    """

    id: str
    shape: str
    name: str
    kind: str = ""
    verb: str = ""
    lines: tuple[Line, ...] = ()
    flow: str = ""
    step: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class Label:
    """An outcome, a key or hours, as it stands beside an arrow.

    ``edge`` is the label as the step has it.  ``stands_for``: what else it catches.  ``tone``: ``good key time fault``
    or "".  ``never``: why it cannot come, or "".
    """

    text: str
    edge: str
    stands_for: tuple[str, ...] = ()
    tone: str = ""
    never: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a node to a node, for each of its labels."""

    source: str
    target: str
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A flow's nodes, the entry first, and arrows.  ``live``: whether any call comes into the flow."""

    company: str
    title: str
    flow: str
    live: bool
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def pictures(routing: Routing, only: Iterable[str] | None = None) -> list[Picture]:
    """The pictures of all flows, or of those named, in the order of the file.  KeyError for a name that is none."""
    names = list(routing.flows if only is None else only)
    live = reached(routing)
    into = _leading_here(routing)
    return [picture(routing, routing.flows[name], live, into.get(name, {})) for name in names]


def picture(
    routing: Routing,
    flow: Flow,
    live: frozenset[tuple[str, str]],
    into: Into,
) -> Picture:
    """One flow.  ``live``: the steps that calls reach; ``into``: who leads to its steps from elsewhere."""
    comes = any(home == flow.name for home, _ in live)
    here = live if comes else _from_start(routing, flow)
    nodes = [_entry(routing, flow, comes, into.get(flow.start, {}))]
    arrows: dict[tuple[str, str], list[Label]] = {}
    if flow.start in flow.steps:
        arrows["(entry)", flow.start] = []
    for step in flow.steps.values():
        incoming = into.get(step.name, {}) if step.name != flow.start else {}
        nodes.append(_card(routing, step, (flow.name, step.name) in here, incoming))
        for label, edge in step.all_edges(routing):
            target = _node_at(nodes, flow, step.name, edge)
            arrows.setdefault((step.name, target), []).append(_label(routing, step, label))
    if flow.on_error is not None:
        nodes.append(Node("(any)", "any", "any step", lines=(Line("that has no on_error of its own", "quiet"),)))
        target = _node_at(nodes, flow, "(any)", flow.on_error)
        arrows.setdefault(("(any)", target), []).append(Label("on_error", "on_error", tone="fault"))
    dead = {node.id for node in nodes if not node.live}
    nodes = [replace(node, live=False) if node.id.partition(" ")[0] in dead else node for node in nodes]
    return Picture(
        routing.company,
        routing.title,
        flow.name,
        comes,
        tuple(nodes),
        tuple(
            Arrow(source, target, tuple(sorted(labels, key=lambda label: label.edge == OTHERWISE)))
            for (source, target), labels in arrows.items()
        ),
    )


def _node_at(nodes: list[Node], flow: Flow, step: str, edge: Edge) -> str:
    """The id of the node that an edge of a step leads to; it is made if there is none yet."""
    if edge.special is None and edge.flow in (None, flow.name):
        return edge.step or flow.start
    where = str(edge)
    node = f"{step} {where}"
    if all(known.id != node for known in nodes):
        if edge.special:
            nodes.append(Node(node, "end", edge.special))
        else:
            nodes.append(Node(node, "flow", where, flow=edge.flow or "", step=edge.step or ""))
    return node


# -------------------------------------------------------------------------------------------------- who comes


def reached(routing: Routing) -> frozenset[tuple[str, str]]:
    """The steps (flow, name) that some call reaches: from a number, or a code that a phone dials."""
    begin = [number.flow for number in routing.numbers.values()]
    begin += [flow.name for flow in routing.flows.values() if flow.code is not None]
    return _followed(routing, begin)


def _from_start(routing: Routing, flow: Flow) -> frozenset[tuple[str, str]]:
    """The steps of a flow to which its own beginning leads."""
    return _followed(routing, [flow.name])


def _followed(routing: Routing, begin: Iterable[str]) -> frozenset[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    returning: set[str] = set()
    while True:
        before = len(found), len(returning)
        seen: set[tuple[str, str]] = set()
        work = [(name, routing.flows[name].start) for name in begin if name in routing.flows]
        while work:
            at = work.pop()
            step = routing.step(*at)
            if step is None or at in seen:
                continue
            seen.add(at)
            flow = routing.flows[at[0]]
            runs = str(step.values.get("flow", ""))
            if runs in routing.flows:
                work.append((runs, routing.flows[runs].start))
            if flow.on_error is not None and step.on_error is None:
                work += _ends_of(routing, flow.name, flow.on_error)
            for label, edge in step.all_edges(routing):
                if edge.special == "return":
                    returning.add(flow.name)
                if label != THEN or not runs or runs in returning:
                    work += _ends_of(routing, flow.name, edge)
        found = seen
        if before == (len(found), len(returning)):
            return frozenset(found)


def _ends_of(routing: Routing, flow: str, edge: Edge) -> list[tuple[str, str]]:
    home = routing.flows.get(edge.flow or flow)
    return [] if edge.special or home is None else [(home.name, edge.step or home.start)]


#: Step → the flow that leads there → its steps which do.
Into = dict[str, dict[str, list[str]]]


def _leading_here(routing: Routing) -> dict[str, Into]:
    """For each flow, who leads to its steps from elsewhere."""
    found: dict[str, Into] = {}

    def leads(flow: str, name: str, target: tuple[str, str]) -> None:
        if target[0] != flow:
            steps = found.setdefault(target[0], {}).setdefault(target[1], {}).setdefault(flow, [])
            if name not in steps:
                steps.append(name)

    for flow in routing.flows.values():
        for step in flow.steps.values():
            edges = [edge for _, edge in step.all_edges(routing)]
            if step.values.get("flow") in routing.flows:
                edges.append(Edge(step.values["flow"], None, None, step.place))
            for edge in edges:
                for target in _ends_of(routing, flow.name, edge):
                    leads(flow.name, step.name, target)
        for target in _ends_of(routing, flow.name, flow.on_error) if flow.on_error else []:
            leads(flow.name, "any step", target)
    return found


# -------------------------------------------------------------------------------------------------- what is told


def _entry(routing: Routing, flow: Flow, live: bool, into: Mapping[str, Sequence[str]]) -> Node:
    lines = []
    numbers = [number for number in routing.numbers.values() if number.flow == flow.name]
    for number in numbers[:_MOST_NUMBERS]:
        sets = ", ".join(f"{name} = {value}" for name, value in number.sets.items())
        lines.append(Line(f"{number.number}  {number.label}" if number.label else number.number, "title", 2))
        lines += [Line(sets, "quiet", 2)] if sets else []
    if rest := numbers[_MOST_NUMBERS:]:
        whole = ", ".join(number.number for number in rest[:_MOST_NAMES])
        lines.append(Line(f"and {len(rest)} more numbers", "quiet", whole=whole))
    if flow.code is not None:
        lines.append(Line(f"the code {flow.code}, from the company's phones", "title", 2))
    lines += _from_elsewhere(into)
    if not lines:
        lines.append(Line("no number, code or flow leads here", "quiet"))
    return Node("(entry)", "entry", flow.name, lines=tuple(lines), live=live)


def _from_elsewhere(into: Mapping[str, Sequence[str]]) -> list[Line]:
    lines = [Line(f"from {flow}: {', '.join(steps)}", "link", 2, flow=flow) for flow, steps in into.items()]
    more = [Line(f"and from {len(lines) - _MOST_NUMBERS} more flows", "quiet")] if len(lines) > _MOST_NUMBERS else []
    return [*lines[:_MOST_NUMBERS], *more]


def _card(routing: Routing, step: Step, live: bool, into: Mapping[str, Sequence[str]]) -> Node:
    lines = [Line(step.title, "title", 2)] if step.title else []
    lines += _TOLD.get(step.verb, _told)(routing, step)
    if step.then == "optional" and THEN not in step.edges and step.values.get("extensions") != ():
        lines.append(Line("after a talk the call ends" if step.talks else "then the call ends", "quiet"))
    if step.record:
        lines.append(Line(f"recorded: {step.record}", "quiet"))
    lines += _from_elsewhere(into)
    return Node(step.name, "step", step.name, _KINDS.get(step.verb, "says"), step.verb, tuple(lines), live=live)


def _label(routing: Routing, step: Step, label: str) -> Label:
    never = step.never(routing)
    text = label
    for field in _FIELDS:
        text = text.removeprefix(field)
    stands: tuple[str, ...] = ()
    if label == OTHERWISE:
        stands = tuple(outcome for outcome in step.outcomes if outcome not in step.edges and outcome not in never)
        if step.needs_otherwise and not step.outcomes:
            stands = ("on no list",) if step.verb == "caller" else ("none is on",) if step.verb == "hours" else ()
    tone = ""
    if label == THEN:
        tone = "good"
    elif label == "on_error":
        tone = "fault"
    elif label.startswith("keys "):
        tone = "key"
    elif text != label:
        tone = "time"
    return Label(text, label, stands, tone, never.get(label, ""))


def _said(routing: Routing, prompt: Prompt | None) -> list[Line]:
    """What a caller hears: in the first language, with the others in the tooltip."""
    if prompt is None:
        return []
    first, _ = prompt.saying(routing.languages[0], routing.languages[0])
    whole = "\n".join(
        f"{language}: {_words(saying)}" if language else _words(saying) for language, saying in prompt.sayings.items()
    )
    return [Line(_words(first), "said", 2, whole)]


def _words(saying: Any) -> str:
    return saying.name if isinstance(saying, File) else f"“{saying.text}”"


def _people(routing: Routing, extensions: Iterable[str]) -> str:
    shown = list(extensions)
    names = [f"{routing.people[one].name} {one}" if one in routing.people else one for one in shown[:_MOST_NAMES]]
    return ", ".join(names) + (f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else "")


def _whom(routing: Routing, target: Target) -> str:
    if target.person:
        return _people(routing, [target.person])
    group = routing.groups.get(target.group or "")
    if group is None:
        return str(target)
    turn = f", {group.rotate} in turn" if group.rotate else ""
    return f"{group.name}{turn}: {_people(routing, group.members)}"


def _long(seconds: float) -> str:
    """A duration as operators write it."""
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"


def _menu(routing: Routing, step: Step) -> list[Line]:
    lines = _said(routing, step.values["menu"])
    targets = step.values["extensions"]
    if targets:
        lines.append(Line(f"may dial {'; '.join(_whom(routing, target) for target in targets)}", most=2))
    tries = step.values["tries"]
    return [*lines, Line(f"{tries} {'try' if tries == 1 else 'tries'}, {_long(step.values['wait'])} each", "quiet")]


def _collect(routing: Routing, step: Step) -> list[Line]:
    least, most = step.values["digits"]
    digits = f"{least}" if least == most else f"{least} to {most}"
    return [*_said(routing, step.values["collect"]), Line(f"{digits} digits, kept as {{{step.values['into']}}}")]


def _caller(routing: Routing, step: Step) -> list[Line]:
    lines = []
    for name, _ in step.values["caller"]:
        known = routing.lists.get(name)
        if known is None:
            continue
        numbers = [*sorted(known.numbers), *(f"{prefix}*" for prefix in sorted(known.prefixes))]
        numbers += ["anonymous"] if known.anonymous else []
        more = f" and {len(numbers) - _MOST_NAMES} more" if len(numbers) > _MOST_NAMES else ""
        lines.append(Line(f"{name}: {', '.join(numbers[:_MOST_NAMES])}{more}"))
    return lines


def _hours(routing: Routing, step: Step) -> list[Line]:
    names = dict.fromkeys(name for name, _ in step.values["hours"])
    return [Line(f"{name}: {schedule(routing.hours[name])}", most=2) for name in names if name in routing.hours]


def schedule(hours: Hours) -> str:
    """Hours on one line: ``mon-fri 09:00-13:00 14:00-18:00; holidays closed``."""
    if hours.switch:
        return f"the switch {hours.switch}"
    parts = []
    day = 0
    while day < len(WEEKDAYS):
        last = day
        while last + 1 < len(WEEKDAYS) and hours.weekdays[last + 1] == hours.weekdays[day]:
            last += 1
        if hours.weekdays[day]:
            days = WEEKDAYS[day] if last == day else f"{WEEKDAYS[day]}-{WEEKDAYS[last]}"
            parts.append(f"{days} {_spans(hours.weekdays[day])}")
        day = last + 1
    if hours.holidays is not None:
        parts.append(f"holidays {_spans(hours.holidays)}")
    for dates in hours.dates:
        parts.append(f"{_dates(dates.first, dates.last)} {_spans(dates.spans)}")
    return "; ".join(parts) or "never"


def _spans(spans: Sequence[Span]) -> str:
    return " ".join(str(span) for span in spans) or "closed"


def _dates(first: dt.date, last: dt.date) -> str:
    return str(first) if first == last else f"{first}..{last}"


def _set(routing: Routing, step: Step) -> list[Line]:
    return [Line(f"{name} = {value}") for name, value in step.values["set"].items()]


def _lookup(routing: Routing, step: Step) -> list[Line]:
    wanted = ", ".join(f"{{{name}}}" for name in step.values["into"])
    return [Line(step.values["lookup"], most=2), Line(f"gives {wanted} within {_long(step.values['wait'])}", "quiet")]


def _dial(routing: Routing, step: Step) -> list[Line]:
    stages: tuple[Stage, ...] = step.stages()  # type: ignore[attr-defined]
    lines = []
    for number, stage in enumerate(stages, 1):
        whom = "; ".join(_whom(routing, target) for target in stage.to)
        one_by_one = ", one by one" if stage.strategy == "in-order" else ""
        first = f"{number}. " if len(stages) > 1 else ""
        lines.append(Line(f"{first}{whom}", most=2))
        lines.append(Line(f"{_long(stage.ring)}{one_by_one}", "quiet"))
    whisper = _said(routing, step.values["whisper"])
    return [*lines, *(replace(line, text=f"they hear {line.text}", style="quiet") for line in whisper)]


def _queue(routing: Routing, step: Step) -> list[Line]:
    queue = routing.queues.get(step.values["queue"])
    if queue is None:
        return []
    lines = [Line(f"{queue.name}: {_people(routing, [agent.agent for agent in queue.agents])}", most=2)]
    facts = [queue.strategy]
    facts += [f"{_long(queue.max_wait)} at most"] if queue.max_wait else []
    facts += [f"{queue.max_callers} callers"] if queue.max_callers else []
    facts += [f"priority {step.values['priority']}"] if step.values["priority"] else []
    facts += [", ".join((*queue.skills, *step.values["skills"]))] if queue.skills or step.values["skills"] else []
    return [*lines, Line(", ".join(facts), "quiet", 2)]


def _play(routing: Routing, step: Step) -> list[Line]:
    return _said(routing, step.values["play"])


def _voicemail(routing: Routing, step: Step) -> list[Line]:
    whose = Line(f"for {_people(routing, step.values['voicemail'])}", most=2)
    return [*_said(routing, step.values["greeting"]), whose]


def _flow(routing: Routing, step: Step) -> list[Line]:
    return [Line(f"runs {step.values['flow']}, and comes back", "link", flow=step.values["flow"])]


def _hangup(routing: Routing, step: Step) -> list[Line]:
    return [Line(step.values["hangup"].replace("_", " "))]


def _told(routing: Routing, step: Step) -> list[Line]:
    """A verb of which nothing is known here: what it says, if anything."""
    return [line for value in step.values.values() if isinstance(value, Prompt) for line in _said(routing, value)]


_TOLD: Mapping[str, Callable[[Routing, Step], list[Line]]] = {
    "menu": _menu,
    "collect": _collect,
    "caller": _caller,
    "hours": _hours,
    "set": _set,
    "lookup": _lookup,
    "dial": _dial,
    "queue": _queue,
    "play": _play,
    "voicemail": _voicemail,
    "flow": _flow,
    "hangup": _hangup,
}


# ------------------------------------------------------------------------------------- for other programs to draw


def data(picture: Picture) -> str:
    """The picture as JSON: nodes, and one entry for each edge with its label."""
    nodes = [
        {
            "id": node.id,
            "shape": node.shape,
            "name": node.name,
            **({"kind": node.kind, "verb": node.verb} if node.shape == "step" else {}),
            **({"flow": node.flow} if node.flow else {}),
            **({"step": node.step} if node.step else {}),
            "live": node.live,
            "says": [line.whole or line.text for line in node.lines],
        }
        for node in picture.nodes
    ]
    edges = [
        {
            "from": arrow.source,
            "to": arrow.target,
            "edge": label.edge,
            "label": label.text,
            "stands_for": list(label.stands_for),
        }
        for arrow in picture.arrows
        for label in arrow.labels
    ]
    whole = {
        "company": picture.company,
        "title": picture.title,
        "flow": picture.flow,
        "live": picture.live,
        "nodes": nodes,
        "edges": edges,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


_DOT_SHAPES = {"entry": "invhouse", "end": "ellipse", "flow": "cds", "any": "note"}


def dot(picture: Picture) -> str:
    """The picture for Graphviz."""
    lines = [
        f"digraph {_quoted(picture.flow)} {{",
        f"  label={_quoted(f'{picture.title}: {picture.flow}')}; labelloc=t; rankdir=TB;",
        '  node [shape=box, style=rounded, fontname="sans-serif"]; edge [fontname="sans-serif"];',
    ]
    for node in picture.nodes:
        shape = f", shape={_DOT_SHAPES[node.shape]}" if node.shape in _DOT_SHAPES else ""
        grey = "" if node.live else ', color="gray", fontcolor="gray"'
        lines.append(f"  {_quoted(node.id)} [label={_quoted(_in_short(node))}{shape}{grey}];")
    for arrow in picture.arrows:
        text = "\n".join(map(_labelled, arrow.labels))
        lines.append(
            f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)}" + (f" [label={_quoted(text)}];" if text else ";")
        )
    return "\n".join([*lines, "}", ""])


_MERMAID_SHAPES = {"entry": ("([", "])"), "end": ("((", "))"), "flow": (">", "]"), "any": ("[/", "/]")}


def mermaid(picture: Picture) -> str:
    """The picture for Mermaid, as it is pasted into wikis and issues."""
    number = {node.id: f"n{index}" for index, node in enumerate(picture.nodes)}
    lines = ["flowchart TD"]
    for node in picture.nodes:
        before, after = _MERMAID_SHAPES.get(node.shape, ("[", "]"))
        lines.append(f'  {number[node.id]}{before}"{_entities(_in_short(node))}"{after}')
    for arrow in picture.arrows:
        text = "\n".join(map(_labelled, arrow.labels))
        label = f'|"{_entities(text)}"|' if text else ""
        lines.append(f"  {number[arrow.source]} -->{label} {number[arrow.target]}")
    dead = [number[node.id] for node in picture.nodes if not node.live]
    if dead:
        lines += ["  classDef dead opacity:0.4", f"  class {','.join(dead)} dead"]
    return "\n".join([*lines, ""])


def _labelled(label: Label) -> str:
    return f"{label.text}: {', '.join(label.stands_for)}" if label.stands_for else label.text


def _in_short(node: Node) -> str:
    head = f"{node.verb} {node.name}".strip()
    said = [line.text for line in node.lines if line.style in ("title", "said", "plain")]
    return "\n".join([head, *(text if len(text) <= 60 else f"{text[:59]}…" for text in said)])


def plain(text: str) -> str:
    """Text as pictures may have it, on one line or more: what XML forbids, or turns lines round, is shown as such."""
    return "".join(
        one
        if one in "\n\u200c\u200d" or one.isprintable() or unicodedata.category(one) == "Zs"
        else "\N{REPLACEMENT CHARACTER}"
        for one in text
    )


def _quoted(text: str) -> str:
    """A string of the DOT language; a backslash of the text's own is no escape."""
    return '"' + plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _entities(text: str) -> str:
    """Text in Mermaid's quotes, where every character that might mean something is written as its number."""
    return "".join(
        "<br>" if one == "\n" else one if one.isalnum() or one in " .,:+-{}" or ord(one) > 0x2000 else f"#{ord(one)};"
        for one in text
    )
