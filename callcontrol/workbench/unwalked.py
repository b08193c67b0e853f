"""What no walk shows of a change: settings that are used outside of calls, or when something breaks.

The other half of ``compare.py``: that tells what callers meet, this what they would meet only if a step crashed, a
service were another, a phone of ours called out, or mail were sent.  It compares what is written, and says so.  The
surprise: a step that can be entered in no walk (only after a failure, say) is here as well, since its change would
else be told by nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from callcontrol.routing.model import Edge, Prompt, Routing
from callcontrol.steps.base import Step

#: Lines of one kind; of more, how many.
MOST = 8
#: Settings of a person that no caller meets in a walk: mail, agents' hours, limits.
_PERSON = ("email", "notify", "duty", "max_calls")
_WORDS = {"max_calls": "calls at a time", "duty": "hours on duty", "notify": "is mailed about"}


def unwalked(old: Routing, new: Routing, entered: Collection[str]) -> Iterator[str]:
    """A line for each such change.  ``entered``: the steps, as ``flow/step``, that walks have entered."""
    for lines in (_steps(old, new, entered), _company(old, new), _people(old, new)):
        found = list(lines)
        yield from found[:MOST]
        if len(found) > MOST:
            yield f"and {len(found) - MOST} more like the last one"


def _company(old: Routing, new: Routing) -> Iterator[str]:
    for name in dict.fromkeys((*old.outbound, *new.outbound)):
        was, now = old.outbound.get(name), new.outbound.get(name)
        if was != now:
            yield f"calls that leave: {name} was {_value(was)}, and is {_value(now)} now"
    if old.recording.keep != new.recording.keep:
        was, now = (
            f"kept {one.recording.keep / 86400:g} days" if one.recording.keep else "kept for ever" for one in (old, new)
        )
        yield f"recordings and messages were {was}, and are {now} now"
    if old.recording.announce != new.recording.announce:
        was, now = _value(old.recording.announce), _value(new.recording.announce)
        yield f"before a recording callers heard {was}, and hear {now} now"


def _people(old: Routing, new: Routing) -> Iterator[str]:
    for extension, person in old.people.items():
        other = new.people.get(extension)
        for name in _PERSON if other is not None else ():
            was, now = getattr(person, name), getattr(other, name)
            if was != now:
                what = _WORDS.get(name, name)
                yield f"{person.name} ({extension}): {what} was {_value(was)}, and is {_value(now)} now"


def _steps(old: Routing, new: Routing, entered: Collection[str]) -> Iterator[str]:
    for flow in old.flows.values():
        other = new.flows.get(flow.name)
        if other is not None and flow.on_error != other.on_error:
            yield f"when a step of {flow.name} fails: {_edges(flow.on_error, other.on_error)}"
        for step in flow.steps.values():
            now = new.step(flow.name, step.name)
            if now is None:
                continue
            name = f"{flow.name}/{step.name}"
            if step.on_error != now.on_error:
                yield f"when {name} fails: {_edges(step.on_error, now.on_error)}"
            if step.verb == now.verb == "lookup":
                for key in dict.fromkeys((*step.values, *now.values)):
                    pair = step.values.get(key), now.values.get(key)
                    if key not in ("into", "wait") and pair[0] != pair[1]:
                        yield f"{name}: {key} was {_value(pair[0])}, and is {_value(pair[1])} now"
            if name not in entered and _differs(step, now) and _reachable(old, new, name):
                yield f"{name} is another, and no walk came there"


def _differs(step: Step, other: Step) -> bool:
    return step.verb != other.verb or step.values != other.values or step.edges != other.edges


def _reachable(old: Routing, new: Routing, name: str) -> bool:
    """Whether a failure leads there: all other ways are walked, and lead elsewhere in both versions."""
    for routing in (old, new):
        for flow in routing.flows.values():
            for edge in (flow.on_error, *(step.on_error for step in flow.steps.values())):
                if edge is not None and not edge.special:
                    at = edge.flow or flow.name
                    if name.startswith(f"{at}/") and (edge.step is None or name == f"{at}/{edge.step}"):
                        return True
    return False


def _edges(was: Edge | None, now: Edge | None) -> str:
    words = {"hangup": "the call ends", "None": "the usual"}
    return f"was {words.get(str(was), was)}, and is {words.get(str(now), now)} now"


def _value(value: Any) -> str:
    if value is None or value in ((), {}):
        return "nothing"
    if isinstance(value, Prompt):
        return " / ".join(f"“{getattr(one, 'text', '') or getattr(one, 'name', '')}”" for one in value.sayings.values())
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items())
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(map(_value, value))
    return str(value)
