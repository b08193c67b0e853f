"""Facts for tests, as controllers tell them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

#: When the calls of tests begin: 2026-11-23 09:00 UTC.
BEGAN = 1_795_424_400.0
CALL = "11111111-0000-4000-8000-000000000001"


class Told:
    """What one call tells, with numbers and times of its own: each fact a second after the one before."""

    def __init__(
        self, call: str = CALL, *, company: str | None = "acme", switch: str = "switch1", at: float = BEGAN
    ) -> None:
        self.call, self.company, self.switch = call, company, switch
        self.epoch, self.n, self.at = 1, 0, at - 1
        self.facts: list[dict[str, Any]] = []

    def tell(self, type_: str, /, *, after: float = 1.0, n: int | None = None, **data: Any) -> Told:
        """One more fact; ``from_`` stands for ``from``, ``with_`` for ``with``."""
        self.at = round(self.at + after, 3)
        if n is None:
            self.n += 1
        self.facts.append(
            {
                "v": 1,
                "type": type_,
                "company": self.company,
                "call": self.call,
                "epoch": self.epoch,
                "n": self.n if n is None else n,
                "at": self.at,
                "switch": self.switch,
                "data": {key.removesuffix("_"): value for key, value in data.items()},
            }
        )
        return self

    def taken_over(self, **data: Any) -> Told:
        """The call comes to another controller."""
        self.epoch, self.n = self.epoch + 1, 0
        return self.tell("call.taken_over", **data)


def answered_call(call: str = CALL, **more: Any) -> list[dict[str, Any]]:
    """A call that a menu sends to somebody, who talks for 60 s and hangs up: told by two controllers."""
    told = Told(call, **more)
    told.tell("call.started", from_="+79031234567", to="+74951234567", version="v1")
    told.tell("step.entered", flow="main", step="greet", verb="menu")
    told.tell("call.answered")
    told.tell("step.left", flow="main", step="greet", outcome="→ anna", why="says “Press 1”; pressed 1")
    told.tell("step.entered", flow="main", step="anna", verb="dial")
    told.tell("leg.rung", leg=f"{call[:-3]}aaa", person="301", address="301")
    told.tell("leg.rung", leg=f"{call[:-3]}bbb", person="302", address="302")
    told.tell("leg.result", leg=f"{call[:-3]}bbb", person="302", address="302", result="busy", cause="USER_BUSY")
    told.tell("talk.started", with_="301", leg=f"{call[:-3]}aaa")
    told.taken_over(after=60.0, flow="main", step="anna", answered=True, version="v1")
    told.tell("talk.ended", after=0.0, with_="301", seconds=60)
    told.tell("step.left", flow="main", step="anna", outcome="then")
    told.tell(
        "call.ended", cause="NORMAL_CLEARING", by="cordboard", seconds=70, answered=True, flow="main", step="anna"
    )
    return told.facts


def queued_call(call: str = CALL, **more: Any) -> list[dict[str, Any]]:
    """A call that waits in a queue, is offered to two agents, and leaves unanswered while nobody owns it."""
    told = Told(call, **more)
    told.tell("call.started", from_="+79031234567", to="+74951234567", version="v1")
    told.tell("step.entered", flow="main", step="wait", verb="queue")
    told.tell("queue.joined", queue="sales", priority=0)
    told.tell("call.answered")
    for agent, offer, result in (("301", 1, "no_answer"), ("302", 2, "declined")):
        told.tell("queue.offered", queue="sales", agent=agent, offer=offer)
        told.tell("leg.rung", leg=f"{call[:-3]}{agent}", person=agent, address=agent)
        told.tell("leg.result", leg=f"{call[:-3]}{agent}", person=agent, address=agent, result=result)
        told.tell("queue.missed", queue="sales", agent=agent, offer=offer, result=result)
    told.tell("queue.abandoned", n=-2, queue="sales", waited=20)
    told.tell("call.ended", after=0.0, n=-1, cause="ORIGINATOR_CANCEL", by="unowned", seconds=22, answered=True)
    return told.facts


def of_an_agent(count: int = 3, process: str = "queues-acme-1") -> list[dict[str, Any]]:
    """What a queue tells of an agent: no call's."""
    states = itertools.cycle(("idle", "offered", "paused"))
    return [
        {
            "v": 1,
            "type": "agent.state",
            "company": "acme",
            "call": None,
            "epoch": 0,
            "n": n,
            "p": process,
            "at": BEGAN + n,
            "switch": "",
            "data": {"agent": "301", "state": next(states), "duty": "on"},
        }
        for n in range(1, count + 1)
    ]


def many_calls(count: int) -> Iterator[dict[str, Any]]:
    """Calls, one after the other."""
    for number in range(count):
        make = queued_call if number % 3 == 2 else answered_call
        yield from make(f"22222222-0000-4000-8000-{number:09d}000")
