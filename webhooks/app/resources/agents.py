"""Agents and queues: who serves, who waits, and why.  Their controllers know it; nothing of it is kept here."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.queue_views import STATES, AgentRow
from webhooks.app import desk, door, problems
from webhooks.app.fields import Choice, Line, Moment
from webhooks.app.openapi import Blueprint

blueprint = Blueprint("agents", __name__, description="Agents and their duty, queues and who waits in them.")


class Agent(ma.Schema):
    """An agent."""

    extension = ma.fields.String(required=True, attribute="agent", metadata={"example": "301"})
    name = ma.fields.String(required=True, metadata={"example": "Anna Petrova"})
    state = Choice(*STATES, required=True)
    duty = Choice("on", "paused", "out", required=True, metadata={"description": "Also while they still talk."})
    since = Moment(required=True)
    until = Moment(required=True, allow_none=True, metadata={"description": "Where the state ends by itself."})
    reason = ma.fields.String(required=True, metadata={"description": "Why they paused, or are out."})
    queues = ma.fields.List(ma.fields.String(), required=True)
    queue = ma.fields.String(required=True, metadata={"description": "From which queue they talk, or are rung."})
    talks_with = ma.fields.String(required=True, attribute="with")
    calls = ma.fields.Integer(required=True, metadata={"description": "Taken since they logged in."})
    talk_seconds = ma.fields.Float(required=True, attribute="talk")
    misses = ma.fields.Integer(required=True, metadata={"description": "Calls not taken, in a row."})


class Agents(ma.Schema):
    """Agents, by extension."""

    items = ma.fields.List(ma.fields.Nested(Agent), required=True)


class Duty(ma.Schema):
    """Why, for those who wonder."""

    reason = Line(100, load_default="", metadata={"example": "lunch"})


@blueprint.operation("GET", "/agents", may=door.EVERYBODY, answer=Agents, fails=(409, 504))
def list_agents() -> Any:
    """What the agents do just now.  An agent's token shows that agent only."""
    own = door.own_person()
    return {"items": [row for row in desk.agents(door.company()) if own in (None, row["agent"])]}


@blueprint.operation("GET", "/agents/<id:agent>", may=door.EVERYBODY, answer=Agent, fails=(409, 504))
def one_agent(agent: str) -> Any:
    """What an agent does just now."""
    door.only_own(agent)
    return _agent(agent)


def _agent(agent: str) -> AgentRow:
    for row in desk.agents(door.company()):
        if row["agent"] == agent:
            return row
    raise problems.not_found()


def _set(what: str, says: str) -> None:
    def view(agent: str, body: dict[str, Any]) -> Any:
        door.only_own(agent)
        company = door.company()
        if agent not in desk.routing(company).people:
            raise problems.not_found()
        desk.ask(f"agent.{what}", {"company": company, "agent": agent, "reason": body["reason"]})
        return _agent(agent)

    view.__name__, view.__doc__ = f"{what}_agent", says
    blueprint.operation(
        "POST",
        f"/agents/<id:agent>/{what.replace('_', '-')}",
        may=("operator", "agent"),
        body=Duty,
        answer=Agent,
        fails=(409, 504),
    )(view)


_set("log_in", "Log an agent in: their telephones ring for the callers of their queues.")
_set("log_out", "Log an agent out.  A talk that they have goes on.")
_set("pause", "Pause an agent: they stay logged in and are not rung.  A talk that they have goes on.")
_set("resume", "Have an agent who paused rung again.")


# -------------------------------------------------------------------------------------------------- queues


class Staff(ma.Schema):
    """The agents of a queue, counted."""

    available = ma.fields.Integer(required=True)
    busy = ma.fields.Integer(required=True, metadata={"description": "With a call, or just after one."})
    paused = ma.fields.Integer(required=True)
    out = ma.fields.Integer(required=True)


class Queue(ma.Schema):
    """A queue."""

    name = ma.fields.String(required=True, attribute="queue", metadata={"example": "sales"})
    waiting = ma.fields.Integer(required=True)
    longest = ma.fields.Float(
        required=True, allow_none=True, metadata={"description": "Seconds that the first has waited."}
    )
    agents = ma.fields.Nested(Staff, required=True)


class Queues(ma.Schema):
    """Queues, by name."""

    items = ma.fields.List(ma.fields.Nested(Queue), required=True)


class Reason(ma.Schema):
    """Why an agent was or was not rung just now."""

    extension = ma.fields.String(required=True, attribute="agent")
    name = ma.fields.String(required=True)
    reason = ma.fields.String(required=True, metadata={"description": "In a word."})
    text = ma.fields.String(required=True, metadata={"description": "The same for people."})
    seconds = ma.fields.Float(required=True, allow_none=True)


class Waiting(ma.Schema):
    """A caller who waits."""

    call = ma.fields.String(required=True)
    caller = ma.fields.String(required=True)
    waited = ma.fields.Float(required=True, metadata={"description": "Seconds."})
    priority = ma.fields.Integer(required=True)
    skills = ma.fields.List(ma.fields.String(), required=True)
    state = Choice("waiting", "offered", "stalled", required=True)
    agents = ma.fields.List(ma.fields.Nested(Reason), required=True)


class WhyQuery(ma.Schema):
    """Of how many."""

    first = ma.fields.Integer(
        load_default=50,
        validate=ma.validate.Range(1, 500),
        metadata={"description": "Of so many callers at most, from the first."},
    )


class Why(ma.Schema):
    """Who waits in a queue, in their order, and why each agent was or was not rung just now."""

    name = ma.fields.String(required=True, attribute="queue")
    waiting = ma.fields.Integer(required=True)
    agents = ma.fields.Nested(Staff, required=True, attribute="staff")
    callers = ma.fields.List(ma.fields.Nested(Waiting), required=True)


@blueprint.operation("GET", "/queues", may=door.EVERYBODY, answer=Queues, fails=(409, 504))
def list_queues() -> Any:
    """The queues: who waits, who serves."""
    return {"items": desk.queues(door.company())}


@blueprint.operation("GET", "/queues/<name:queue>", may=door.EVERYBODY, answer=Queue, fails=(409, 504))
def one_queue(queue: str) -> Any:
    """One queue."""
    for row in desk.queues(door.company()):
        if row["queue"] == queue:
            return row
    raise problems.not_found()


@blueprint.operation("GET", "/queues/<name:queue>/why", may=door.READERS, query=WhyQuery, answer=Why, fails=(409, 504))
def why(queue: str, query: dict[str, Any]) -> Any:
    """Who waits in a queue, and why each agent was or was not rung just now."""
    company = door.company()
    if queue not in desk.routing(company).queues:
        raise problems.not_found()
    return desk.ask("queue.why", {"company": company, "queue": queue, "first": query["first"]})
