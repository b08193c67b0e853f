"""One of several processes that serve queues at once, as small as can be: ``python -m tests.queue_worker URL NAME``.

It owns the callers that it is told of, decides on the looks that it is handed, and does for agents and callers what
its dice say.  What a call's checkpoint would hold is kept in ``test:calls:<company>``; what it saw of talks is said to
``test:talks:…``, which callers are done to ``test:done:…``.  It may be killed at any moment.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from callcontrol import queueing
from callcontrol.messages import Enter, Miss, Take
from callcontrol.queueboard import Answer, QueueBoard
from callcontrol.queueing import AgentLook, CallLook
from callcontrol.switchboard import Switchboard


def decide(board: QueueBoard, company: str, answer: Answer | None) -> list[tuple[str, float]]:
    """Bring together whom an answer names, and whom the claims' answers name; the timers of all of them."""
    looks: list[AgentLook | CallLook] = []
    timers: list[tuple[str, float]] = []

    def hear(answer: Answer | None) -> bool:
        assert answer is not None
        looks[:0] = [*answer.agents, *answer.calls]
        timers.extend(answer.timers)
        return answer.done

    hear(answer)
    while looks:
        look = looks.pop(0)
        if isinstance(look, AgentLook):
            head = queueing.choose_caller(look)
            if head is not None:
                hear(board.claim(company, head.call, look.agent))
            continue
        for name in queueing.choose_agents(look):
            if not hear(board.claim(company, look.call, name)):
                break
    return timers


class Worker:
    def __init__(self, url: str, name: str) -> None:
        self.name, self.dice = name, random.Random(name)
        way = Switchboard(url, name=name)
        self.board, self.raw = QueueBoard(way), way._redis
        self.timers: list[tuple[float, str, str]] = []
        self.calls: dict[str, dict[str, Any]] = {}
        self.number, self.company = 0, ""

    def run(self) -> None:
        self.board.beat(self.name)
        self.raw.rpush("test:ready", self.name)
        while True:
            left = self.timers[0][0] - time.monotonic() if self.timers else 5.0
            if left <= 0:
                _, self.company, agent = heapq.heappop(self.timers)
                self.decide(self.board.rest(self.company, agent))
                continue
            for message in self.board.wake(self.name, max(left, 0.001)) or ():
                self.company = message["company"]
                if message["do"] == "stop":
                    return
                getattr(self, message["do"])(message)

    def decide(self, answer: Answer | None) -> bool:
        for agent, seconds in decide(self.board, self.company, answer):
            heapq.heappush(self.timers, (time.monotonic() + seconds, self.company, agent))
        assert answer is not None
        return answer.done

    def op(self) -> str:
        """Most operations have an id; some are done without."""
        self.number += 1
        return self.dice.choice(["", f"{self.name}-{self.number}", f"{self.name}-{self.number}"])

    def to_itself(self, **message: Any) -> None:
        """As the switch would tell it a little later."""
        self.raw.rpush(f"cordboard:wake:{self.name}", json.dumps({**message, "company": self.company}))

    # ---------------------------------------------------------------------------- what it is told by the test

    def arrive(self, message: dict[str, Any]) -> None:
        """A caller is this process's now: new, or of one that was killed."""
        call = message["call"]
        known = json.loads(self.raw.hget(f"test:calls:{self.company}", call) or "{}")
        if known.get("done"):
            self.raw.rpush(f"test:done:{self.company}", call)
            return
        self.calls[call] = {**message["given"], "joined": 0, "first": 1, "stays": message.get("stays"), **known}
        self.enter(call)
        if self.dice.random() < 0.1 and not message.get("stays"):
            self.to_itself(do="leaves", call=call)

    def enter(self, call: str) -> None:
        given = self.calls[call]
        command = Enter(
            *(given["queue"], given["priority"], tuple(given["skills"]), given["joined"], 0.0, given["first"], 15.0),
            *(60.0, None, (), given["together"], True),
        )
        answer = self.board.enter(
            self.company, call, command, owner=self.name, switch="switch1", caller=call, op=self.op()
        )
        assert answer is not None
        given["joined"] = answer.data["joined"]
        self.checkpoint(call)
        self.decide(answer)
        for agent, offer in answer.data["offers"].items():
            self.offer({"call": call, "agent": agent, "offer": offer})

    def checkpoint(self, call: str, **more: Any) -> None:
        given = self.calls[call]
        self.raw.hset(
            f"test:calls:{self.company}", call, json.dumps({"joined": given["joined"], "first": given["first"], **more})
        )

    def done(self, call: str) -> None:
        self.checkpoint(call, done=True)
        del self.calls[call]
        self.raw.rpush(f"test:done:{self.company}", call)

    def leaves(self, message: dict[str, Any]) -> None:
        call = message["call"]
        if call in self.calls and not self.calls[call].get("talks"):
            self.decide(self.board.leave(self.company, call, op=self.op()))
            self.done(call)

    def agent(self, message: dict[str, Any]) -> None:
        """An agent wants something, or talks elsewhere for a moment."""
        name, what = message["agent"], message["what"]
        if what == "elsewhere":
            self.decide(self.board.busy(self.company, name, "other", "switch1", op=self.op()))
            self.decide(self.board.hang_up(self.company, name, "other", op=self.op()))
        else:
            self.decide(self.board.duty(self.company, name, what, op=self.op()))

    # ------------------------------------------------------------------------------- what it is told by queues

    def offer(self, message: dict[str, Any]) -> None:
        call, agent, offer = message["call"], message["agent"], message["offer"]
        if call not in self.calls or not self.decide(self.board.rung(self.company, call, agent, offer, 20.0)):
            return
        self.calls[call]["first"] = max(self.calls[call]["first"], offer + 1)
        self.checkpoint(call)
        if self.calls[call]["stays"] or self.dice.random() < 0.6:
            self.to_itself(do="answers", call=call, agent=agent, offer=offer)
        else:
            self.to_itself(do="refuses", call=call, agent=agent, offer=offer)

    def answers(self, message: dict[str, Any]) -> None:
        call, agent, offer = message["call"], message["agent"], message["offer"]
        if call not in self.calls or self.calls[call].get("talks"):
            return  # two agents of ring-all answered: the other's offer has ended by that
        leg = f"{call} {offer} {agent}"
        taken = self.board.take(
            self.company, call, Take(offer, agent, leg, self.dice.choice([0.0, 0.002])), switch="switch1", op=self.op()
        )
        if not self.decide(taken):
            return
        self.calls[call]["talks"] = True
        self.raw.rpush(f"test:talks:{self.company}", json.dumps(["begins", agent, leg]))
        if not self.calls[call]["stays"]:
            self.to_itself(do="hangs_up", call=call, agent=agent, leg=leg)

    def hangs_up(self, message: dict[str, Any]) -> None:
        self.raw.rpush(f"test:talks:{self.company}", json.dumps(["ends", message["agent"], message["leg"]]))
        self.decide(self.board.hang_up(self.company, message["agent"], message["leg"], op=self.op()))
        self.done(message["call"])

    def refuses(self, message: dict[str, Any]) -> None:
        result = self.dice.choice(["declined", "busy", "no_answer", "lost"])
        command = Miss(message["offer"], message["agent"], result, self.dice.choice([0.0, 0.002]), 3)
        self.decide(self.board.miss(self.company, message["call"], command, op=self.op()))

    def gone(self, message: dict[str, Any]) -> None:
        """Its telephone is not rung any more; here none rings."""

    def again(self, message: dict[str, Any]) -> None:
        if message["call"] in self.calls:
            self.enter(message["call"])

    def report(self, message: dict[str, Any]) -> None:
        """It has done everything that it was told before."""
        self.raw.rpush("test:ready", self.name)

    def staff(self, message: dict[str, Any]) -> None:
        """Nobody here gives up because nobody serves."""


def main(arguments: Sequence[str]) -> None:
    Worker(*arguments).run()


if __name__ == "__main__":
    main(sys.argv[1:])
