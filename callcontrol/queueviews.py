"""What people see of queues: plain data for the command line and the web, out of what Redis keeps.

Pure: ``found`` is the answer of ``QueueBoard.look``.  Times are seconds of Redis's own clock, and ``now`` goes with
them: whoever shows "2:05 left" takes the difference.  The surprise: an empty table of Lua's comes as an empty object,
whatever it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callcontrol import queueing
from callcontrol.routing.model import Person, Routing

#: What an agent with nothing to do is called.
_DUTIES = {"on": "available", "paused": "paused", "out": "logged_out"}


def agents(found: Mapping[str, Any], routing: Routing | None) -> dict[str, Any]:
    """Every agent of a company, by extension, and what they do.

    ``state``: ``available paused logged_out offered talking wrap_up delayed elsewhere``; ``until``: when that ends by
    itself, or None; ``calls`` and ``talk`` (seconds) since they logged in; ``last``: how they missed the last offer.
    """
    rows = [_agent(member, routing) for member in found["members"] or ()]
    return {"now": found["now"], "agents": sorted(rows, key=lambda row: str(row["agent"]))}


def _agent(member: Mapping[str, Any], routing: Routing | None) -> dict[str, Any]:
    idle = member["doing"] == "idle"
    return {
        "agent": member["agent"],
        "name": _name(routing, member["agent"]),
        "state": _state(member),
        "duty": member["duty"],
        "since": (max(member["since"], member["duty_since"]) if idle else member["since"]) / 1000,
        "reason": member["why"],
        "queues": sorted(member["queues"] or ()),
        "calls": member["calls"],
        "talk": member["talk"],
        "until": member["till"] / 1000 if member["doing"] in ("wrap_up", "delayed") else None,
        "with": member["caller"],
        "queue": member["queue"],
        "misses": member["misses"],
        "last": member["last"],
    }


def queues(found: Mapping[str, Any], routing: Routing | None) -> dict[str, Any]:
    """Every queue of a company: how many wait and for how long (seconds), and who is there."""
    known = found["queues"] or {}
    names = sorted({*known, *(routing.queues if routing is not None else ())})
    return {"now": found["now"], "queues": [_queue(name, found, known.get(name, "no_agents")) for name in names]}


def _queue(name: str, found: Mapping[str, Any], staffed: str) -> dict[str, Any]:
    members = [member for member in found["members"] or () if name in (member["queues"] or ())]
    joined = [caller["joined"] / 1000 for caller in found["waiting"] or () if caller["queue"] == name]
    return {
        "queue": name,
        "waiting": len(joined),
        "longest": max(0.0, found["now"] - min(joined)) if joined else 0.0,
        "agents": sum(member["duty"] != "out" for member in members),
        "paused": sum(member["duty"] == "paused" for member in members),
        "free": sum(_state(member) == "available" for member in members),
        "talking": sum(member["doing"] == "talking" and member["queue"] == name for member in members),
        "staffed": staffed,
    }


def why(found: Mapping[str, Any], company: str, queue: str, routing: Routing | None) -> dict[str, Any]:
    """Of every caller who waits in the queue, first the next: why each agent is or is not rung for them just now."""
    now = float(found["now"])
    members = sorted((_member(one) for one in found["members"] or ()), key=lambda one: one.agent)
    waiting = sorted(found["waiting"] or (), key=lambda one: (-one["priority"], one["joined"], one["call"]))
    callers = []
    for caller in waiting:
        waited = max(0.0, now - caller["joined"] / 1000)
        reasons = []
        for member in members:
            reason = queueing.why_not(
                member, call=caller["call"], queue=queue, wanted=caller["need"], waited=waited, now=now
            )
            row = {"agent": member.agent, "name": _name(routing, member.agent), "reason": reason.word}
            reasons.append({**row, "text": reason.text, "seconds": reason.seconds})
        callers.append(
            {
                "call": caller["call"],
                "caller": caller["caller"],
                "waited": waited,
                "priority": caller["priority"],
                "skills": [skill for skill in caller["need"].split("+") if skill],
                "state": caller["standing"],
                "agents": reasons,
            }
        )
    return {"company": company, "queue": queue, "now": now, "callers": callers}


def person_at(routing: Routing | None, address: str) -> str:
    """Whose telephone has this address (an extension or E.164); "": nobody's."""
    if routing is None or address in routing.people:
        return address if routing is not None else ""

    def has(person: Person) -> bool:
        return address in person.phones or address == person.mobile

    return next((person.extension for person in routing.people.values() if has(person)), "")


def _name(routing: Routing | None, agent: str) -> str:
    person = routing.people.get(agent) if routing is not None else None
    return person.name if person is not None else ""


def _state(member: Mapping[str, Any]) -> str:
    return str(member["doing"]) if member["doing"] != "idle" else _DUTIES[member["duty"]]


def _member(one: Mapping[str, Any]) -> queueing.Member:
    queues_of = (one["queues"] or {}).items()
    return queueing.Member(
        one["agent"],
        queueing.Duty(one["duty"]),
        queueing.Doing(one["doing"]),
        one["since"] / 1000,
        until=one["till"] / 1000,
        why=one["why"],
        call=one["call"],
        caller=one["caller"],
        queue=one["queue"],
        last=one["last"],
        last_at=one["last_at"] / 1000,
        duty_since=one["duty_since"] / 1000,
        queues={name: (member["level"], member["opens"] / 1000, member["skills"]) for name, member in queues_of},
    )
