"""``queue``: wait for an agent.  Known to the language; calls take ``no_agents`` until it is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge, Routing
from callcontrol.routing.model import Queue as QueueEntry
from callcontrol.steps.base import OTHERWISE, Run, Step, View

#: Characters of ``o`` at most: the checkpoint has little room.
MOST_NOTED = 40


class Queue(Step):
    """Wait in a queue until an agent answers; ``then`` is followed after they talked.

    The caller hears the queue's music and announcements, and keeps the place in the queue whatever becomes of the
    controllers.  The agent's own telephones ring, as in a group; one outside must press 1.  A caller who is not taken
    leaves by an outcome below, by a key, or by hanging up.

    ```yaml
    sales: {queue: sales, skills: [german], keys: {star: left}, otherwise: message}
    ```

    then: an agent answered, and the talk is over
    timeout: the caller waited for the queue's ``max_wait``
    full: as many callers wait already as ``max_callers`` allows
    no_agents: no agent of the queue is logged in, for as long as its ``unstaffed`` says
    paused: agents are logged in, and all of them have paused, for as long as its ``unstaffed`` says
    left: the caller pressed a key that leads to ``left``
    """

    verb = "queue"
    outcomes = ("timeout", "full", "no_agents", "paused", "left")
    not_yet = "no_agents"
    longest: ClassVar[Mapping[str, Any]] = {"t": 1999999999, "j": "1" * 13, "b": 999, "o": "9" * MOST_NOTED, "a": 1}

    class Fields(ma.Schema):
        """queue: the queue to join
        priority: callers with a higher one go first; that of the queue is added
        skills: what the agent must be able to do besides what the queue asks for
        keys: where each key leads that the caller presses while waiting; one that stands here beats that of the queue
        """

        queue = kinds.QueueField(required=True)
        priority = kinds.CountField(0, 100, load_default=0)
        skills = kinds.ListField(kinds.SkillField(), load_default=())
        keys = kinds.LeavingKeysField(load_default=dict)

    what: str
    priority: int
    skills: tuple[str, ...]
    keys: Mapping[str, Edge]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        call.why("queues are not built yet")
        return "no_agents"
        yield

    # ------------------------------------------------------------------------------- what check asks

    def _queue(self, routing: Routing) -> QueueEntry | None:
        return routing.queues.get(self.values.get("queue", ""))

    def all_edges(self, routing: Routing) -> Iterator[tuple[str, Edge]]:
        queue, own = self._queue(routing), self.values.get("keys", {})
        # A key of the step's own beats the queue's.
        keys = {f"keys {key}": edge for key, edge in (queue.keys if queue else {}).items() if key not in own}
        for label, edge in (*super().all_edges(routing), *keys.items()):
            leads = self.edge(kinds.LEFT) if edge.special == kinds.LEFT else edge
            if leads is not None:
                yield label, leads

    def at_once(self, routing: Routing) -> tuple[str, ...]:
        queue = self._queue(routing)
        if queue is None:
            return ()
        full = ("full",) if queue.max_callers is not None else ()
        return full if queue.unstaffed else (*full, "no_agents", "paused")

    def never(self, routing: Routing) -> Mapping[str, str]:
        queue, own = self._queue(routing), self.values.get("keys", {})
        if queue is None:
            return {}
        found = {} if queue.max_wait else {"timeout": f'the queue "{queue.name}" has no max_wait'}
        if OTHERWISE in self.edges:  # without it the other edges had to be given
            if queue.max_callers is None:
                found["full"] = f'the queue "{queue.name}" has no max_callers'
            if not any(edge.special == kinds.LEFT for edge in {**queue.keys, **own}.values()):
                found[kinds.LEFT] = f'no key leads to "{kinds.LEFT}", here or in the queue "{queue.name}"'
        return found
