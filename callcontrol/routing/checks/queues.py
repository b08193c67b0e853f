"""Queues and their agents: who can be served by nobody, what never comes, and agents who cannot come back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from callcontrol.routing.checks.whole import Whole, missing, steps_of
from callcontrol.routing.codes import problem
from callcontrol.routing.kinds import did_you_mean, spoken
from callcontrol.routing.model import DutyCode, Problem, Queue, Reference
from callcontrol.routing.nodes import quoted


def skills(whole: Whole) -> Iterator[Problem]:
    """Callers who need what no agent of their queue can do, and agents who can what no caller of the queue needs."""
    needed: dict[tuple[str | None, str | None, str | None], list[Reference]] = {}
    offered: dict[str | None, list[Reference]] = {}
    for reference in whole.references:
        if reference.kind == "skill":
            needed.setdefault((reference.queue, reference.flow, reference.step), []).append(reference)
        elif reference.kind == "can":
            offered.setdefault(reference.queue, []).append(reference)
    for queue in whole.routing.queues.values():
        asked = needed.get((queue.name, None, None), [])
        hopeless = list(_hopeless(queue, asked, ()))
        steps = [needed[None, *at] for at in whole.entering.get(queue.name, ()) if (None, *at) in needed]
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
        first = min(opens.values())
        if queue.max_wait is not None and first >= queue.max_wait:
            message = f"nobody is ever asked in the queue {quoted(queue.name)}: its first agents are asked after"
            yield problem("E513", queue.place, f"{message} {spoken(first)}, and callers wait {spoken(queue.max_wait)}")
            continue
        for level, seconds in queue.levels.items():
            place = places[queue.name, level]
            if level not in opens:
                message = f"no agent of the queue has level {level}; its agents have {_numbers(known)}"
                yield problem("W511", place, message)
            elif queue.max_wait is not None and seconds >= queue.max_wait:
                wait = f"callers wait {spoken(queue.max_wait)} at most"
                yield problem("W515", place, f"level {level} opens after {spoken(seconds)}, and {wait}")
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
    for step in steps_of(whole.routing):
        for outcome, why in step.never(whole.routing).items():
            if outcome in step.edges:
                yield problem("W514", step.edges[outcome].place, f"{outcome} never comes: {why}")
    for queue in whole.routing.queues.values():
        if queue.name not in whole.entering and not whole.incomplete and not whole.dangling:
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
        if reference.kind != "hours" or reference.person not in routing.people or missing(whole, reference):
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
