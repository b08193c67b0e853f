"""Queues as they should be: the naive model that ``queues.lua`` is compared with.

It keeps agents and callers in two dictionaries, looks at everybody for every question, and has no index that could be
wrong.  Only the tables of ``queueing`` and its order of agents are shared; both are tested by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callcontrol import queueing
from callcontrol.messages import Enter, Miss, Take
from callcontrol.queueing import (
    AGENT,
    DUTY,
    MOST_TOGETHER,
    WAITING,
    AgentLook,
    CallLook,
    Candidate,
    Doing,
    Duty,
    Head,
    Standing,
)

CLAIMED, TALK, ASKED = 3000, 600_000, 7000


@dataclass
class Agent:
    queues: Mapping[str, Mapping[str, Any]]
    duty: Duty
    idle: int
    doing: Doing = Doing.IDLE
    till: int = 0
    call: str = ""
    offer: int = 0
    leg: str = ""
    queue: str = ""
    why: str = ""
    asked: int = 0
    calls: int = 0
    talk: int = 0
    misses: int = 0
    missed: int = 0  # before the call that they have taken
    since: int = 0
    wrap_up: int = 0
    taken_up: bool = False
    elsewhere: set[str] = field(default_factory=set)

    @property
    def free(self) -> bool:
        return self.duty is Duty.ON and self.doing is Doing.IDLE

    @property
    def state(self) -> str:
        if self.doing is not Doing.IDLE:
            return str(self.doing.value)
        return {"on": "available", "paused": "paused", "out": "logged_out"}[self.duty.value]


@dataclass
class Caller:
    queue: str
    priority: int
    need: str
    joined: int
    first: int
    together: bool
    owner: str
    levels: tuple[float, ...] = ()
    standing: Standing = Standing.GONE
    offers: dict[str, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        if self.standing is Standing.STALLED:
            return 0
        return (MOST_TOGETHER if self.together else 1) - len(self.offers)


class Model:
    """``now``: what Redis's clock says.  Each operation answers whether it is done, and changes what it changes."""

    def __init__(self) -> None:
        self.now = 0
        self.version = ""
        self.agents: dict[str, Agent] = {}
        self.callers: dict[str, Caller] = {}

    # ------------------------------------------------------------------------------------------- questions

    def eligible(self, name: str, call: str) -> bool:
        """Whether the agent, were they free, may be rung for the caller now."""
        agent, caller = self.agents[name], self.callers[call]
        member = agent.queues.get(caller.queue)
        if member is None:
            return False
        open_now = member["opens"] == 0 or caller.joined + member["opens"] <= self.now
        return open_now and queueing.covers(member["skills"], caller.need)

    def serves(self, name: str) -> list[str]:
        """Callers who look for an agent and may have this one, who goes first at the front."""
        found = [call for call, caller in self.callers.items() if caller.room > 0 and self.eligible(name, call)]
        return sorted(found, key=lambda call: (-self.callers[call].priority, self.callers[call].joined, call))

    def served_by(self, call: str) -> list[Candidate]:
        """Free agents who may serve the caller, who is asked first at the front."""
        caller, found = self.callers[call], []
        for name, agent in self.agents.items():
            if agent.free and self.eligible(name, call):
                found.append(self.candidate(name, caller.queue))
        strategy = self.agents[found[0].agent].queues[caller.queue]["strategy"] if found else "random"
        return sorted(found, key=lambda one: queueing.standing(strategy, one))

    def candidate(self, name: str, queue: str) -> Candidate:
        agent = self.agents[name]
        member = agent.queues[queue]
        return Candidate(name, member["level"], member["index"], agent.idle, agent.asked, agent.calls, agent.talk)

    def unserved(self) -> list[tuple[str, str]]:
        """Pairs of a free agent and a caller who waits for one: in a settled state there is none."""
        return [(name, call) for name, agent in self.agents.items() if agent.free for call in self.serves(name)]

    def staffed(self, queue: str) -> str:
        there = [one.duty for one in self.agents.values() if queue in one.queues and one.duty is not Duty.OUT]
        return "" if Duty.ON in there else "paused" if there else "no_agents"

    def place(self, call: str) -> int:
        caller = self.callers.get(call)
        if caller is None:
            return 0
        key = (-caller.priority, caller.joined, call)
        line = [(-one.priority, one.joined, c) for c, one in self.callers.items() if one.queue == caller.queue]
        return sum(one <= key for one in line)

    def overdue(self) -> set[str]:
        return {name for name, agent in self.agents.items() if 0 < agent.till <= self.now}

    def opens(self, call: str) -> float:
        caller = self.callers[call]
        waited = (self.now - caller.joined) / 1000
        return min((seconds - waited for seconds in caller.levels if seconds > waited), default=0)

    def agent_look(self, name: str) -> AgentLook:
        lines: dict[tuple[str, int, str], Head] = {}
        for call in self.serves(name):
            caller = self.callers[call]
            line = (caller.queue, caller.priority, caller.need)
            lines.setdefault(line, Head(call, caller.queue, caller.priority, caller.joined))
        return AgentLook(name, tuple(sorted(lines.values(), key=lambda head: head.call)))

    def check(self, look: AgentLook | CallLook) -> None:
        """What a decider was handed is so."""
        if isinstance(look, AgentLook):
            assert self.agents[look.agent].free
            assert AgentLook(look.agent, tuple(sorted(look.heads, key=lambda head: head.call))) == (
                self.agent_look(look.agent)
            )
            return
        caller, agents = self.callers[look.call], self.served_by(look.call)
        assert (look.queue, look.room) == (caller.queue, caller.room)
        assert look.room > 0
        assert set(look.agents) <= set(agents)
        assert look.strategy == self.agents[agents[0].agent].queues[caller.queue]["strategy"]
        assert queueing.choose_agents(look) == tuple(one.agent for one in agents[: caller.room])

    # ---------------------------------------------------------------------------------------- transitions

    def becomes(self, agent: Agent, event: str) -> bool:
        to = AGENT.get((agent.doing, event))
        if to is None:
            return False
        if to is Doing.IDLE and agent.elsewhere:
            to = Doing.ELSEWHERE
        if to is Doing.IDLE and event != "withdraw":
            agent.idle = self.now
        agent.doing, agent.since, agent.till = to, self.now, 0
        if to not in (Doing.OFFERED, Doing.TALKING):
            agent.call, agent.offer, agent.leg, agent.taken_up = "", 0, "", False
            if to is not Doing.WRAP_UP:
                agent.queue = ""
        return True

    def tidy(self) -> None:
        """Whoever serves no queue any more is no agent once they are idle."""
        self.agents = {n: a for n, a in self.agents.items() if a.queues or a.doing is not Doing.IDLE}

    def stands(self, caller: Caller, event: str) -> None:
        caller.standing = WAITING[caller.standing, event]

    def remove(self, call: str) -> None:
        caller = self.callers.pop(call)
        for name in caller.offers:
            self.becomes(self.agents[name], "withdraw")
        self.tidy()

    def end(self, name: str) -> None:
        """The agent's offer is none any more, without any fault of theirs."""
        agent = self.agents[name]
        caller = self.callers[agent.call]
        assert caller.offers.pop(name) == agent.offer
        if not caller.offers:
            self.stands(caller, "unoffer")
        self.becomes(agent, "withdraw")

    def enrol(self, version: str, members: Mapping[str, Mapping[str, Any]]) -> bool:
        self.version = version
        for name, agent in self.agents.items():
            agent.queues = members[name]["queues"] if name in members else {}
        for name, given in members.items():
            duty = Duty.OUT if given.get("on") is False else Duty.ON
            self.agents.setdefault(name, Agent(given["queues"], duty, self.now, since=self.now))
        self.tidy()
        return True

    def enter(self, call: str, command: Enter, owner: str) -> bool:
        if not self.version:
            return False
        first, caller = command.first, self.callers.get(call)
        need = queueing.need(command.skills)
        if caller and (caller.queue, caller.priority, caller.need) != (command.queue, command.priority, need):
            first = max(first, caller.first)
            self.remove(call)
            caller = None
        if caller is None:
            line = [one for one in self.callers.values() if one.queue == command.queue]
            if not command.again:
                if self.staffed(command.queue) and command.patience <= 0:
                    return False
                if command.most is not None and len(line) >= command.most:
                    return False
            known = 0 < command.joined <= self.now
            joined = command.joined if known else self.now - round(command.waited * 1000)
            caller = Caller(command.queue, command.priority, need, joined, first, command.together, owner)
            self.callers[call] = caller
        caller.owner, caller.levels, caller.together = owner, command.levels, command.together
        caller.first = max(caller.first, command.first)
        self.stands(caller, "enter")
        return True

    def leave(self, call: str) -> bool:
        if call not in self.callers:
            return False
        self.remove(call)
        return True

    def claim(self, call: str, name: str) -> bool:
        caller, agent = self.callers.get(call), self.agents.get(name)
        if caller is None or agent is None or caller.room <= 0 or not agent.free or not self.eligible(name, call):
            return False
        first = self.callers[self.serves(name)[0]]
        if (first.priority, first.joined) != (caller.priority, caller.joined):
            return False
        caller.offers[name] = caller.first
        self.stands(caller, "offer")
        self.becomes(agent, "offer")
        agent.call, agent.offer, agent.queue, agent.asked = call, caller.first, caller.queue, self.now
        agent.till = self.now + CLAIMED
        caller.first += 1
        return True

    def rung(self, call: str, name: str, offer: int, seconds: float) -> bool:
        agent = self.agents.get(name)
        if agent is None or agent.doing is not Doing.OFFERED or (agent.call, agent.offer) != (call, offer):
            return False
        agent.till, agent.taken_up = self.now + round(seconds * 1000), True
        return True

    def miss(self, call: str, command: Miss) -> bool:
        agent = self.agents.get(command.agent)
        if agent is None or (agent.call, agent.offer) != (call, command.offer):
            return False
        if agent.doing is Doing.OFFERED:
            caller = self.callers[call]
            del caller.offers[command.agent]
            if not caller.offers:
                self.stands(caller, "unoffer")
        elif agent.doing is Doing.TALKING:  # they were not joined
            agent.calls, agent.misses = max(0, agent.calls - 1), agent.missed
        else:
            return False
        if command.result == "lost":
            self.becomes(agent, "withdraw")
        else:
            self.becomes(agent, "miss")
            if command.delay > 0:
                agent.till = self.now + round(command.delay * 1000)
            else:
                self.becomes(agent, "rest")
            if command.result != "busy":
                agent.misses += 1
                if command.pause_after and agent.misses >= command.pause_after and agent.duty is Duty.ON:
                    agent.duty, agent.misses, agent.why = Duty.PAUSED, 0, "missed calls"
        self.tidy()
        return True

    def take(self, call: str, command: Take) -> bool:
        agent = self.agents.get(command.agent)
        if agent is not None:
            same = (agent.call, agent.offer) == (call, command.offer)
            if agent.doing is Doing.TALKING and not same:
                return False
            if agent.doing is not Doing.TALKING:
                if agent.doing is Doing.OFFERED and not same:
                    self.end(command.agent)
                self.becomes(agent, "take")
                agent.missed = agent.misses
                agent.calls, agent.misses, agent.call, agent.offer = agent.calls + 1, 0, call, command.offer
                agent.queue = self.callers[call].queue if call in self.callers else agent.queue
            agent.leg, agent.wrap_up, agent.till = command.leg, round(command.wrap_up * 1000), self.now + TALK
        if call in self.callers:
            self.callers[call].offers.pop(command.agent, None)
            self.remove(call)
        return True

    def set_duty(self, name: str, what: str, reason: str) -> bool:
        agent = self.agents.get(name)
        if agent is None or (agent.duty, what) not in DUTY:
            return False
        was, agent.duty = agent.duty, DUTY[agent.duty, what]
        agent.why = "" if agent.duty is Duty.ON else reason
        if was is Duty.OUT and what == "log_in":
            agent.calls = agent.talk = agent.misses = 0
        if agent.duty is Duty.ON and was is not Duty.ON:
            agent.misses = 0
            if agent.doing is Doing.IDLE:
                agent.idle = self.now
        if agent.duty is not Duty.ON and agent.doing is Doing.OFFERED:
            self.end(name)
        elif agent.duty is not Duty.ON and agent.doing is Doing.DELAYED:
            self.becomes(agent, "rest")
        self.tidy()
        return True

    def hang_up(self, name: str, uuid: str) -> bool:
        agent = self.agents.get(name)
        if agent is None:
            return False
        known = uuid in agent.elsewhere
        agent.elsewhere.discard(uuid)
        if agent.doing is Doing.TALKING and agent.leg == uuid:
            agent.talk += int((self.now - agent.since) / 1000 + 0.5)
            self.becomes(agent, "hang_up")
            if agent.wrap_up > 0:
                agent.till = self.now + agent.wrap_up
            else:
                self.becomes(agent, "rest")
        elif agent.doing is Doing.ELSEWHERE and not agent.elsewhere:
            self.becomes(agent, "unbusy")
        elif not known:
            return False
        self.tidy()
        return True

    def busy(self, name: str, uuid: str) -> bool:
        agent = self.agents.get(name)
        if agent is None:
            return False
        agent.elsewhere.add(uuid)
        self.becomes(agent, "busy")
        return True

    def rest(self, name: str) -> bool:
        agent = self.agents.get(name)
        if agent is None or not 0 < agent.till <= self.now:
            return False
        if agent.doing is Doing.TALKING:
            agent.till = self.now + ASKED
        elif agent.doing is Doing.OFFERED:
            caller = self.callers[agent.call]
            del caller.offers[name]
            if not caller.offers:
                self.stands(caller, "unoffer" if agent.taken_up else "stall")
            self.becomes(agent, "withdraw")
        else:
            self.becomes(agent, "rest")
        self.tidy()
        return True

    def keep(self, name: str, uuid: str) -> bool:
        agent = self.agents.get(name)
        if agent is None or agent.doing is not Doing.TALKING or agent.leg != uuid:
            return False
        agent.till = self.now + TALK
        return True

    # --------------------------------------------------------------------------- what Redis should hold then

    def sets(self) -> dict[str, list[str]]:
        """Every set and sorted set of the company, by the end of its key; sets in the order of their members."""
        found: dict[str, set[str]] = {}
        lines: dict[str, list[tuple[int, str]]] = {}
        for call, caller in self.callers.items():
            lines.setdefault(f"line:{caller.queue}:{caller.priority}", []).append((caller.joined, call))
            found.setdefault(f"priorities:{caller.queue}", set()).add(str(caller.priority))
            if caller.room > 0:
                bucket = f"{caller.priority} {caller.need}"
                lines.setdefault(f"seek:{caller.queue}:{bucket}", []).append((caller.joined, call))
                found.setdefault(f"seeks:{caller.queue}", set()).add(bucket)
        free: dict[str, list[tuple[str, Candidate]]] = {}
        for name, agent in self.agents.items():
            for queue, member in agent.queues.items():
                found.setdefault("queues", set()).add(queue)
                found.setdefault(f"skills:{queue}", set()).add(member["skills"])
                if agent.duty is not Duty.OUT:
                    found.setdefault(f"on:{queue}", set()).add(name)
                if agent.duty is Duty.PAUSED:
                    found.setdefault(f"paused:{queue}", set()).add(name)
                if agent.free:
                    one = (member["strategy"], self.candidate(name, queue))
                    free.setdefault(f"free:{queue}:{member['skills']}", []).append(one)
        ranked = {
            key: [one.agent for _, one in sorted(those, key=lambda pair: queueing.standing(*pair))]
            for key, those in free.items()
        }
        ordered = {key: [call for _, call in sorted(those)] for key, those in lines.items()}
        return {key: sorted(those) for key, those in found.items()} | ordered | ranked
