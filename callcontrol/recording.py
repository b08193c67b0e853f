"""Which talks are recorded: the rules that operators write, judged for one talk.  Pure.

**A talk is recorded if anything that it belongs to asks for it, and nothing that it belongs to forbids it.**  It
belongs to the company, the number that was called, the flows and steps in which it is (those that run the flow, too),
the queue, and the people at both ends.  There is no order among them to remember: one ``never`` is enough, because what
was recorded against the law or a promise cannot be taken back, and what was not recorded can be said again.

========================  ==========================================================================
``always``                asks
``inbound`` ``outbound``  asks if the call comes from outside; if a phone of ours called outside
``on demand``             asks for nothing, and allows that somebody asks during the talk
``never``                 forbids
========================  ==========================================================================

Between colleagues only ``always`` asks.  An emergency call is never recorded.  Of several that ask, the most specific
is named as the reason.  Somebody outside who was to hear the company's announcement and did not is not recorded.

The surprise: whether somebody *may* be recorded must be known before it is known who answers, so that the announcement
is over before a telephone rings; :func:`judge` is asked for everybody who could.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callcontrol.routing.model import Number, Prompt, Routing

#: What a talk's rules come to.
ON, DEMAND, NO = "on", "demand", "no"
#: Rule -> the way of a call that it asks for.
_ASKS = {"inbound": "inbound", "outbound": "outbound"}
_NOTED = re.compile(r"([0-9]{1,6}):(on|demand|no)")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of a talk.  ``mode``: :data:`ON`, :data:`DEMAND` (if somebody asks) or :data:`NO`; ``rule``:
    by which rule, for people; "" if none says anything.  ``announce``: what somebody outside must have heard.
    """

    mode: str
    rule: str = ""
    announce: Prompt | None = None


def judge(
    routing: Routing,
    *,
    number: Number | None,
    steps: Sequence[tuple[str, str]],
    extension: str | None,
    person: str,
    address: str,
) -> Ruling:
    """The ruling on a talk.

    ``number``: the company's own that was called; ``steps``: flow and step in which it is, the innermost last;
    ``extension``: the phone of ours that called, if one did; ``person``: whose telephone answers, "" if nobody's, and
    its ``address``.
    """
    way = "inbound" if extension is None else "internal" if person else "outbound"
    if way == "outbound" and not address.startswith("+"):
        return Ruling(NO, "emergency calls are not recorded")
    asks: str | None = None
    allows: str | None = None
    for what, rule in _rules(routing, number, steps, extension, person):
        if rule == "never":
            return Ruling(NO, f"{what}: never")
        if rule == "always" or _ASKS.get(rule) == way:
            asks = asks or f"{what}: {rule}"
        elif rule == "on demand":
            allows = allows or f"{what}: {rule}"
    found = asks or allows
    if found is None:
        return Ruling(NO)
    return Ruling(ON if asks else DEMAND, found, None if way == "internal" else routing.recording.announce)


def _rules(
    routing: Routing, number: Number | None, steps: Sequence[tuple[str, str]], extension: str | None, person: str
) -> Iterator[tuple[str, str]]:
    """Every rule that the talk belongs to, with what it is a rule of; the most specific first."""
    for each in (person, extension or ""):
        known = routing.people.get(each)
        if known is not None and known.record:
            yield f"person {each}", known.record
    for flow, name in reversed(steps):
        step = routing.step(flow, name)
        if step is None:  # a built-in one
            continue
        if step.record:
            yield f"step {flow}/{name}", step.record
        queue = routing.queues.get(step.values.get("queue", "")) if step.queues else None
        if queue is not None and queue.record:
            yield f"queue {queue.name}", queue.record
        rule = routing.flows[flow].record
        if rule:
            yield f"flow {flow}", rule
    if number is not None and number.record:
        yield f"number {number.number}", number.record
    if routing.recording.record:
        yield "company", routing.recording.record


@dataclass(frozen=True, slots=True)
class Noted:
    """What stands on a call's channel about its recordings, for those who perform commands while nobody owns it:
    how many segments have begun, and the mode of the talk.
    """

    segments: int = 0
    mode: str = NO

    @property
    def text(self) -> str:
        """For the channel."""
        return f"{self.segments}:{self.mode}"

    @classmethod
    def read(cls, text: str | None) -> Noted:
        """What :attr:`text` wrote; nothing of the kind: nothing was recorded."""
        found = _NOTED.fullmatch(text or "")
        return cls(int(found[1]), found[2]) if found else cls()
