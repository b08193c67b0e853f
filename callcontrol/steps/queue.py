"""``queue``: wait for an agent.  Known to the language; calls take ``no_agents`` until it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge
from callcontrol.steps.base import Run, Step, View


class Queue(Step):
    """Wait in a queue until an agent answers; ``then`` is followed after they talked.

    The caller hears the queue's music and announcements, and keeps the place in the queue whatever becomes of the
    controllers.  The agent's own telephones ring, as in a group; one outside must press 1.

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

    class Fields(ma.Schema):
        """queue: the queue to join
        priority: callers with a higher one go first
        skills: what the agent must be able to do besides what the queue asks for
        keys: where each key leads that the caller presses while waiting, before those of the queue
        """

        queue = kinds.QueueField(required=True)
        priority = kinds.CountField(0, 100, load_default=0)
        skills = kinds.ListField(kinds.NameField(), load_default=())
        keys = kinds.LeavingKeysField(load_default=dict)

    what: str
    priority: int
    skills: tuple[str, ...]
    keys: Mapping[str, Edge]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        call.why("queues are not built yet")
        return "no_agents"
        yield
