"""Rules of recording that record nothing."""

from __future__ import annotations

from collections.abc import Iterator

from callcontrol.routing.checks.whole import Whole, steps_of
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Problem


def recordings(whole: Whole) -> Iterator[Problem]:
    """Rules of recording where nobody talks, and an announcement that nobody would ever hear."""
    routing = whole.routing
    for step in steps_of(routing):
        if step.record and not step.talks:
            message = f"nobody talks in a {step.verb} step: record is for {_WHERE_PEOPLE_TALK}"
            yield problem("W518", step.place, message)
    announce = routing.recording.announce
    if announce is None or whole.incomplete:
        return
    rules = {routing.recording.record, *(step.record for step in steps_of(routing))}
    for section in (routing.numbers, routing.people, routing.queues, routing.flows):
        rules |= {one.record for one in section.values()}
    if not rules - {None, "never"}:
        saying = next(iter(announce.sayings.values()))
        yield problem("W519", saying.place, "nothing is recorded, so nobody hears this: a rule is missing (record)")


#: The verbs of steps in which people talk, for messages.
_WHERE_PEOPLE_TALK = "dial, menu, queue and flow"
