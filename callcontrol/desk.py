"""Where people ask about agents and queues: performs the commands of ``commands.py`` that concern them.

Thin: what is known is in Redis (``queues.py`` looks), how it is told in ``queue_rows.py``.  The surprise: people ask
about every company when they name none, so one that Redis does not know yet is passed over and no mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from callcontrol import queue_rows
from callcontrol.commands import Refused
from callcontrol.queue_views import AgentList, AgentSet, QueueList, Why
from callcontrol.queues import Queues
from callcontrol.routing.model import Routing

_AWAY = "Redis is away: nothing is known of the queues just now, and nothing can be changed"


class Desk:
    """See :class:`callcontrol.commands.Handlers`.  ``current``: a company's routing as it is now."""

    def __init__(self, queues: Queues, current: Callable[[str], Routing | None]) -> None:
        self._queues = queues
        self._current = current

    def agents(self, company: str) -> AgentList:
        """Every agent of the company, or of all."""
        rows, now = [], 0.0
        for name in self._companies(company):
            found = self._look(name)
            now = float(found["now"])
            rows += queue_rows.agents(found, name, self._current(name))
        return {"now": now, "agents": rows}

    def set_duty(self, company: str, agent: str, what: str, reason: str, by: str) -> AgentSet:
        """Log in or out, pause or resume."""
        self._companies(company)
        found = self._queues.set_duty(company, agent, what, reason, by)
        if found is None:
            raise Refused(_AWAY)
        if not found["done"]:
            if found["why"] == "nobody":
                raise Refused(f"{agent} is no agent of any queue of {company}")
            raise Refused(f"{agent} is not logged in: log them in first")
        state = str(found["state"])
        return queue_rows.agent_set(state, agent, reason if state == "paused" else "", self._current(company))

    def queues(self, company: str, queue: str) -> QueueList:
        """Every queue of the company, or of all; those of one name."""
        rows, now = [], 0.0
        for name in self._companies(company):
            found = self._look(name)
            now = float(found["now"])
            rows += queue_rows.queues(found, name, self._current(name), queue)
        return {"now": now, "queues": rows}

    def why(self, company: str, queue: str, first: int) -> Why:
        """Why each agent is or is not rung for the first callers of a queue."""
        self._companies(company)
        routing = self._current(company)
        if routing is None or queue not in routing.queues:
            known = ", ".join(routing.queues) if routing is not None else ""
            raise Refused(f"{company} has no queue {queue!r}; it has: {known or 'none'}")
        return queue_rows.why(self._look(company, queue), company, queue, routing, first)

    def _companies(self, company: str) -> list[str]:
        known = sorted(self._queues.companies)
        if company and company not in known:
            self._unknown(company, known)
        return [company] if company else known

    def _unknown(self, company: str, known: list[str]) -> NoReturn:
        if self._current(company) is not None:
            raise Refused(f"the company {company!r} has no queues")
        raise Refused(f"there is no company {company!r}; with queues there is: {', '.join(known) or 'none'}")

    def _look(self, company: str, queue: str = "") -> Mapping[str, Any]:
        found = self._queues.look(company, queue)
        if found is None:
            raise Refused(_AWAY)
        return found
