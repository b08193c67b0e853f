"""The stand-in switch with agents and callers, in a process of its own: our figures where there is no FreeSWITCH.

The switch is Python, and what it takes to ring a telephone or to join two legs is not what a real one takes; so these
figures say what Cordboard adds, and stand beside nobody else's.

    python -m scripts.bench.queue_standin CONFIG
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import asdict
from typing import Any

import gevent
from gevent.fileobject import FileObject

from freeswitch.simulator.phones import Answers, Caller, Phone
from freeswitch.simulator.switch import Switch
from scripts.bench.callers import PATIENCE, StandIn
from scripts.bench.queue_seen import COMPANY, DOMAIN, EXTENSIONS, NUMBER, Rush, Seen

FROM = "+4420794600"


class _Floor:
    """What the process does when it is told to."""

    def __init__(self, switch: Switch, sizes: Rush) -> None:
        self._switch = switch
        self._sizes = sizes
        self._phones = [switch.phone(extension, Answers(after=sizes.ring)) for extension in EXTENSIONS]

    def _agents(self, talk: float) -> list[Phone]:
        for phone in self._phones:
            phone.behaviour = Answers(after=self._sizes.ring, talk=talk)
            phone.history.clear()
        return self._phones

    def _call(self, n: int) -> Caller:
        caller = self._switch.call(f"{FROM}{10 + n}", NUMBER)
        self._switch.callers.clear()  # the switch remembers everybody who ever called
        return caller

    def singles(self, count: int) -> Seen:
        """One caller calls so often; all agents are free."""
        seen, agents = Seen(), self._agents(self._sizes.short)
        for _ in range(count):
            before = [len(agent.history) for agent in agents]
            caller = self._call(0)
            try:
                caller.wait("ended", PATIENCE)
            except TimeoutError:
                seen.lose("not served")
                caller.hangup()
            new = itertools.chain(*(agent.history[n:] for agent, n in zip(agents, before, strict=True)))
            rung = [entry.at for entry in new if entry.what == "rings"]
            answered = [entry.at for entry in caller.journal if entry.what == "is answered"]
            if rung and answered:
                seen.offer.append(min(rung) - answered[0])
            else:
                seen.lose("no agent rang")
            gevent.sleep(0.2)
        self._take_in(seen, agents)
        return seen

    def rush(self) -> Seen:
        """All callers call, and again when they have been served, until the agents have had so many talks."""
        sizes = self._sizes
        seen, agents = Seen(), self._agents(sizes.talk)
        live: set[Caller] = set()

        def one(n: int) -> None:
            gevent.sleep(0.03 * n)
            while True:
                live.add(caller := self._call(n))
                caller.wait("ended", math.inf)
                live.discard(caller)
                gevent.sleep(0.05)

        callers = [gevent.spawn(one, n) for n in range(sizes.callers)]
        longest = 10 + sizes.talks / len(agents) * (sizes.talk + sizes.ring + 3)
        try:
            self._switch.wait(lambda: self._talks(agents) >= sizes.talks, longest)
        except TimeoutError:
            seen.lose("talks that did not come", sizes.talks - self._talks(agents))
        gevent.killall(callers)
        for caller in live:
            caller.hangup()
        for agent in agents:
            ends = [entry for entry in agent.history if entry.what in ("rings", "hangs up")]
            seen.idle += [
                then.at - entry.at
                for entry, then in itertools.pairwise(ends)
                if (entry.what, then.what) == ("hangs up", "rings")
            ]
        self._take_in(seen, agents)
        self._switch.wait(lambda: not any(agent.calls for agent in agents), PATIENCE)
        return seen

    @staticmethod
    def _talks(agents: list[Phone]) -> int:
        return sum(entry.what == "hangs up" for agent in agents for entry in agent.history)

    @staticmethod
    def _take_in(seen: Seen, agents: list[Phone]) -> None:
        for agent in agents:
            for entry, then in itertools.pairwise(agent.history):
                if (entry.what, then.what) == ("answers", "talks with"):
                    seen.joined.append(then.at - entry.at)
                if (entry.what, then.what) == ("rings", "rings"):
                    seen.lose("two offers at once")


def main(config: dict[str, Any]) -> None:
    """Do what stdin says until it ends."""
    switch = Switch(
        [("127.0.0.1", config["controller"])],
        password=config["password"],
        sounds=config["sounds"],
        name="switch1",
        domain=f"{COMPANY}.{DOMAIN}",
    )
    with switch:
        print(json.dumps({"esl": switch.esl_address[1]}), flush=True)
        for line in FileObject(sys.stdin.fileno(), "rb", close=False):
            asked = json.loads(line)
            floor = _Floor(switch, Rush(**asked["sizes"]))
            seen = floor.rush() if asked["do"] == "rush" else floor.singles(asked["count"])
            print(json.dumps(asdict(seen)), flush=True)


class QueueStandIn(StandIn):
    """The bench's end of one such process."""

    program = "scripts.bench.queue_standin"

    def singles(self, sizes: Rush, count: int) -> Seen:
        """See :meth:`_Floor.singles`."""
        return Seen(**self.ask(count * PATIENCE, do="singles", sizes=asdict(sizes), count=count))

    def rush(self, sizes: Rush) -> Seen:
        """See :meth:`_Floor.rush`."""
        return Seen(**self.ask(10 + sizes.talks * (sizes.talk + sizes.ring + 3), do="rush", sizes=asdict(sizes)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
