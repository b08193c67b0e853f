"""What people see of queues, out of what Redis keeps: the rows of the answers to commands.

Pure: ``found`` is the answer of ``QueueBoard.look``.  Times are seconds of Redis's own clock, and ``now`` goes with
them: whoever shows "2:05 left" takes the difference.  The surprise: an empty table of Lua's comes as an empty object,
whatever it should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callcontrol import queueing
from callcontrol.queue_views import AgentRow, AgentSet, CallerRow, QueueRow, Staff, Why, WhyRow
from callcontrol.routing.model import Routing

#: Reasons in one answer: more would neither be read nor fit.
MOST_REASONS = 12_000
#: What people call the duty of an agent with nothing to do.
_DUTIES = {"on": "available", "paused": "paused", "out": "logged_out"}


def agents(found: Mapping[str, Any], company: str, routing: Routing | None) -> list[AgentRow]:
    """Every agent of a company, by extension, and what they do."""
    return sorted((_agent(one, company, routing) for one in found["members"] or ()), key=lambda row: row["agent"])


def _agent(one: Mapping[str, Any], company: str, routing: Routing | None) -> AgentRow:
    idle = one["doing"] == "idle"
    return {
        "company": company,
        "agent": one["agent"],
        "name": _name(routing, one["agent"]),
        "state": _state(one),
        "duty": one["duty"],
        "since": (max(one["since"], one["duty_since"]) if idle else one["since"]) / 1000,
        "until": one["till"] / 1000 if one["doing"] in ("wrap_up", "delayed") else None,
        "reason": one["why"],
        "queues": sorted(one["queues"] or ()),
        "calls": one["calls"],
        "talk": one["talk"],
        "with": one["caller"],
        "queue": one["queue"],
        "misses": one["misses"],
        "last": one["last"],
        "last_at": one["last_at"] / 1000 if one["last_at"] else None,
    }


def agent_set(state: str, agent: str, reason: str, routing: Routing | None) -> AgentSet:
    """What an agent is after their duty was changed."""
    return {"agent": agent, "name": _name(routing, agent), "state": state, "reason": reason}


def queues(found: Mapping[str, Any], company: str, routing: Routing | None, queue: str = "") -> list[QueueRow]:
    """Every queue of a company, or one: how many wait, since when, and who is there."""
    names = sorted({*(found["queues"] or {}), *(routing.queues if routing is not None else ())})
    return [_queue(name, found, company) for name in names if queue in ("", name)]


def _queue(name: str, found: Mapping[str, Any], company: str) -> QueueRow:
    joined = [one["joined"] / 1000 for one in found["waiting"] or () if one["queue"] == name]
    return {
        "company": company,
        "queue": name,
        "waiting": len(joined),
        "longest": max(0.0, found["now"] - min(joined)) if joined else None,
        "agents": _staff(one for one in found["members"] or () if name in (one["queues"] or ())),
    }


def _staff(members: Iterable[Mapping[str, Any]]) -> Staff:
    staff: Staff = {"available": 0, "busy": 0, "paused": 0, "out": 0}
    for one in members:
        if one["duty"] == "out":
            staff["out"] += 1
        elif one["duty"] == "paused":
            staff["paused"] += 1
        elif one["doing"] == "idle":
            staff["available"] += 1
        else:
            staff["busy"] += 1
    return staff


def why(found: Mapping[str, Any], company: str, queue: str, routing: Routing | None, first: int) -> Why:
    """Of the first callers who wait in the queue: why each agent is or is not rung for them just now.

    Fewer callers where there are very many agents: a process that answers for seconds serves no call meanwhile.
    """
    now = float(found["now"])
    members = sorted((_member(one) for one in found["members"] or ()), key=lambda one: one.agent)
    first = min(first, max(1, MOST_REASONS // max(1, len(members))))
    waiting = sorted(found["waiting"] or (), key=lambda one: (-one["priority"], one["joined"], one["call"]))
    callers: list[CallerRow] = []
    for caller in waiting[:first]:
        waited = max(0.0, now - caller["joined"] / 1000)
        reasons: list[WhyRow] = []
        for member in members:
            found_why = queueing.why_not(
                member, call=caller["call"], queue=queue, wanted=caller["need"], waited=waited, now=now
            )
            reasons.append(
                {
                    "agent": member.agent,
                    "name": _name(routing, member.agent),
                    "reason": found_why.word,
                    "text": found_why.text,
                    "seconds": found_why.seconds,
                }
            )
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
    staff = _staff(one for one in found["members"] or () if queue in (one["queues"] or ()))
    answer: Why = {
        "company": company,
        "queue": queue,
        "now": now,
        "waiting": len(waiting),
        "callers": callers,
        "staff": staff,
    }
    return answer


def _name(routing: Routing | None, agent: str) -> str:
    person = routing.people.get(agent) if routing is not None else None
    return person.name if person is not None else ""


def _state(one: Mapping[str, Any]) -> str:
    """One of ``queue_views.STATES``."""
    if one["doing"] == "idle":
        return _DUTIES[one["duty"]]
    return str(one["doing"])


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
