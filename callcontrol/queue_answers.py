"""The answers to commands about agents and queues, made of what Redis keeps of them.

Pure: ``found`` is what ``QueueBoard.look`` answers, and ``queue_views.py`` says what an answer looks like.  Moments are
seconds of Redis's own clock, as ``now`` is.  The surprise: an empty table of Lua's comes as an empty object, whatever
it should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callcontrol import queueing
from callcontrol.queue_views import AgentRow, CallerRow, QueueRow, Staff, Why, WhyRow
from callcontrol.routing.model import Routing

Found = Mapping[str, Any]

#: What an agent who does nothing is called, and one who is offered.
_DUTIES = {"on": "available", "paused": "paused", "out": "logged_out"}
_DOING = {"offered": "ringing"}


def agents(found: Found, company: str, routing: Routing | None) -> list[AgentRow]:
    """Every agent of a company, by extension."""
    members = sorted(found["members"] or (), key=lambda member: str(member["agent"]))
    return [_agent(member, company, routing) for member in members]


def _agent(member: Mapping[str, Any], company: str, routing: Routing | None) -> AgentRow:
    idle, ends = member["doing"] == "idle", member["doing"] in ("wrap_up", "delayed")
    return {
        "company": company,
        "agent": str(member["agent"]),
        "name": name_of(routing, str(member["agent"])),
        "state": _state(member),
        "since": (max(member["since"], member["duty_since"]) if idle else member["since"]) / 1000,
        "until": member["till"] / 1000 if ends else None,
        "reason": member["why"],
        "queues": sorted(member["queues"] or ()),
        "calls": member["calls"],
        "talk": float(member["talk"]),
        "with": member["caller"],
        "queue": member["queue"],
        "misses": member["misses"],
        "last": member["last"],
        "last_at": member["last_at"] / 1000 if member["last"] else None,
    }


def queues(found: Found, company: str, routing: Routing | None, queue: str = "") -> list[QueueRow]:
    """Every queue of a company, or the one of this name, if there is one."""
    names = {*(found["queues"] or ()), *(routing.queues if routing is not None else ())}
    return [_queue(name, found, company) for name in sorted(names) if queue in ("", name)]


def _queue(name: str, found: Found, company: str) -> QueueRow:
    joined = [caller["joined"] / 1000 for caller in found["waiting"] or () if caller["queue"] == name]
    return {
        "company": company,
        "queue": name,
        "waiting": len(joined),
        "longest": max(0.0, found["now"] - min(joined)) if joined else None,
        "agents": _staff(member for member in found["members"] or () if name in (member["queues"] or ())),
    }


def why(found: Found, company: str, queue: str, routing: Routing | None, first: int) -> Why:
    """Of the ``first`` so many who wait in the queue: why each agent is or is not rung for them just now."""
    now = float(found["now"])
    members = sorted((_member(one) for one in found["members"] or ()), key=lambda one: one.agent)
    waiting = sorted(found["waiting"] or (), key=lambda one: (-one["priority"], one["joined"], one["call"]))

    def row(member: queueing.Member, caller: Mapping[str, Any], waited: float) -> WhyRow:
        known = {"call": str(caller["call"]), "queue": queue, "wanted": str(caller["need"])}
        reason = queueing.why_not(member, **known, waited=waited, now=now)
        return {
            "agent": member.agent,
            "name": name_of(routing, member.agent),
            "reason": reason.word,
            "text": reason.text,
            "seconds": reason.seconds,
        }

    callers: list[CallerRow] = []
    for caller in waiting[:first]:
        waited = max(0.0, now - caller["joined"] / 1000)
        callers.append(
            {
                "call": caller["call"],
                "caller": caller["caller"],
                "waited": waited,
                "priority": caller["priority"],
                "skills": [skill for skill in caller["need"].split("+") if skill],
                "state": caller["standing"],
                "agents": [row(member, caller, waited) for member in members],
            }
        )
    return {
        "company": company,
        "queue": queue,
        "now": now,
        "waiting": len(waiting),
        "callers": callers,
        "staff": _staff(found["members"] or ()),
    }


def name_of(routing: Routing | None, agent: str) -> str:
    """What an agent is called."""
    person = routing.people.get(agent) if routing is not None else None
    return person.name if person is not None else ""


def _staff(members: Iterable[Mapping[str, Any]]) -> Staff:
    staff: Staff = {"available": 0, "busy": 0, "paused": 0, "out": 0}
    for member in members:
        if member["doing"] != "idle":
            staff["busy"] += 1
        elif member["duty"] == "on":
            staff["available"] += 1
        elif member["duty"] == "paused":
            staff["paused"] += 1
        else:
            staff["out"] += 1
    return staff


def _state(member: Mapping[str, Any]) -> str:
    doing = str(member["doing"])
    return _DUTIES[member["duty"]] if doing == "idle" else _DOING.get(doing, doing)


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
