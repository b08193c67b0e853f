"""``queue``: wait for an agent.  Known to the language; calls take ``no_agents`` until it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.routing.model import Edge
from callcontrol.steps.base import Run, Step, View


class Queue(Step):
    """Wait in a queue until an agent answers.

    ```yaml
    sales: {queue: sales, otherwise: message}
    ```

    then: an agent answered, and the talk is over
    timeout: the caller waited for the queue's ``max_wait``
    full: as many callers wait already as ``max_callers`` allows
    no_agents: no agent is logged in
    left: the caller chose to leave the queue
    """

    verb = "queue"
    outcomes = ("timeout", "full", "no_agents", "left")
    not_yet = "no_agents"

    class Fields(ma.Schema):
        """queue: the queue to join
        priority: callers with a higher one go first
        keys: where each key leads that the caller presses while waiting
        """

        queue = kinds.QueueField(required=True)
        priority = kinds.CountField(0, 100, load_default=0)
        keys = kinds.KeysField(load_default=dict)

    what: str
    priority: int
    keys: Mapping[str, Edge]

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        call.why("queues are not built yet")
        return "no_agents"
        yield
