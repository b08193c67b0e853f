"""Queues in Redis against the naive model: whatever happens, in whatever order, whoever dies, nobody is stuck.

``Queues`` is a hypothesis state machine on a real Redis: every step is done to both, and then all that Redis holds of
the company is compared with what the model says it should hold: records, sets, sorted sets in their order, facts.
Deciders keep the looks that they were handed for a while, and decide too late, or die; owners read their wake-ups
late, or die.  Redis's clock is a key of the test's, which goes forwards and backwards.  At the end of each example
everybody does what is due, and then nobody waits while an agent is free who could serve them.

``EXAMPLES=n`` walks n examples instead of a few.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from callcontrol import queueing
from callcontrol.embedded import EmbeddedRedis
from callcontrol.messages import Enter, Miss, Take
from callcontrol.queueboard import SCRIPT, Answer, QueueBoard
from callcontrol.queueing import AGENT, MOST_TOGETHER, AgentLook, CallLook, Doing
from callcontrol.switchboard import STREAM, Switchboard
from tests.queue_model import Model

EXAMPLES = int(os.environ.get("EXAMPLES") or 120)
CLOCK = "test:clock"
#: The script, on a clock that the test keeps in Redis.
TIMED, _changed = re.subn(
    r"local function clock\(\)\n.*?\nend\n",
    f"local function clock() return tonumber(redis.call('GET', '{CLOCK}')) end\n",
    SCRIPT,
    count=1,
    flags=re.DOTALL,
)
assert _changed == 1
START = 1_764_000_000_000
AGENTS = [str(number) for number in range(301, 306)]
CALLS = [f"call-{number}" for number in range(7)]
PROCESSES = ["p1", "p2", "p3"]
RESULTS = ("declined", "busy", "no_answer", "unreachable", "lost")

#: What an agent may be seen to do after what: by one row of AGENT, or by one that another follows in the same moment.
_IDLE = {Doing.IDLE, Doing.ELSEWHERE}  # whoever gets idle while they talk elsewhere does that
_DIRECT = {(a, c) for (a, _), b in AGENT.items() for c in (_IDLE if b is Doing.IDLE else {b})}
POSSIBLE = _DIRECT | {(a, c) for a, b in _DIRECT for (d, event), c in AGENT.items() if b is d and event == "rest"}
POSSIBLE |= {(a, Doing.ELSEWHERE) for a, c in POSSIBLE if c is Doing.IDLE} | {(doing, doing) for doing in Doing}
SHOWN = {"available": Doing.IDLE, "paused": Doing.IDLE, "logged_out": Doing.IDLE}


def queue_of(strategy: str, levels: Mapping[int, int], agents: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
    """A queue as ``memberships`` tells it, an agent each: ``(level, skills)``."""
    return {
        agent: {
            "level": level,
            "opens": levels.get(level, 0) * 1000,
            "by": queueing.STRATEGIES[strategy],
            "strategy": strategy,
            "index": index,
            "skills": skills,
        }
        for index, (agent, (level, skills)) in enumerate(agents.items())
    }


def members_of(**queues: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for queue, agents in queues.items():
        for agent, member in agents.items():
            found.setdefault(agent, {"queues": {}})["queues"][queue] = member
    return found


def sets_of(raw: Any, company: str) -> dict[str, list[str]]:
    """Every set and sorted set of a company in Redis, as ``Model.sets`` tells it."""

    def each(command: str, keys: list[str], *more: Any) -> list[Any]:
        pipe = raw.pipeline(transaction=False)
        for key in keys:
            getattr(pipe, command)(key, *more)
        return list(pipe.execute())

    prefix = f"cordboard:queue:{company}:"
    keys = [key.decode() for key in raw.keys(prefix + "*")]
    types = [one.decode() for one in each("type", keys)]
    plain = [key for key, kind in zip(keys, types, strict=True) if kind == "set"]
    ordered = [key for key, kind in zip(keys, types, strict=True) if kind == "zset"]
    found = dict(zip(plain, map(sorted, each("smembers", plain)), strict=True))
    found |= dict(zip(ordered, each("zrange", ordered, 0, -1), strict=True))
    return {key.removeprefix(prefix): [one.decode() for one in those] for key, those in found.items()}


SKILLS = ("", "", "de", "ru", "de+ru")
a_queue = st.builds(
    queue_of,
    st.sampled_from(sorted(queueing.STRATEGIES)),
    st.sampled_from([{}, {2: 10}, {2: 20, 3: 5}, {2: 10, 3: 20}, {3: 1}]),
    st.dictionaries(
        st.sampled_from(AGENTS),
        st.tuples(st.sampled_from([1, 1, 1, 2, 3]), st.sampled_from(SKILLS)),
        min_size=1,
    ),
)
a_company = st.fixed_dictionaries({"sales": a_queue, "service": a_queue}, optional={"ring": a_queue})


class Queues(RuleBasedStateMachine):
    """See the module.  ``redis``, ``board``: set for the whole run."""

    redis: EmbeddedRedis
    board: QueueBoard
    raw: Any
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.company = f"c{next(Queues.numbers)}"
        self.model = Model()
        self.ids = itertools.count()
        self.offset, self.clock, self.latest = 0, START, START
        self.pending: list[AgentLook | CallLook] = []  # handed to deciders who have not decided yet
        self.dropped = False  # a decider died with looks
        self.names = itertools.count(4)
        self.alive = list(PROCESSES)
        self.owners: dict[str, str] = {}  # caller -> the process that owns the call
        self.commands: dict[str, Enter] = {}
        self.known: dict[str, dict[str, int]] = {}  # caller -> offers that their owner knows
        self.past: list[tuple[str, str, int]] = []  # offers that were once made
        self.level_timers: dict[str, float] = {}
        self.talks: dict[str, tuple[str, str, int]] = {}  # leg -> agent, call, offer
        self.staff: dict[str, dict[str, str]] = {}  # process -> what it was told of queues
        self.heard = "0"
        self.doing: dict[str, Doing] = {}
        self.told = 0
        self.generation: str | None = None
        self.seldom: Counter[str] = Counter()
        self.raw.flushall()
        self.set_clock()
        for process in self.alive:
            self.begin(process)

    # ------------------------------------------------------------------------------------------ the world

    def set_clock(self) -> None:
        """The model's clock never goes back, whatever Redis's does, and goes on from there."""
        self.raw.set(CLOCK, self.clock)
        self.latest = max(self.latest, self.clock)
        if self.clock + self.offset < self.model.now:
            self.offset = self.model.now - self.clock
        self.model.now = self.clock + self.offset

    def rare(self, what: str, most: int) -> bool:
        return self.seldom[what] < most

    def begin(self, process: str) -> None:
        self.generation = self.board.beat(process)
        self.staff[process] = {}

    def asked(self, ask: Callable[[str], Answer | None], expect: Callable[[], bool], again: str = "") -> Answer:
        """Ask Redis and the model; ``again``: a second time, under the ``same`` id, or with ``none``."""
        operation = f"op{next(self.ids)}" if again != "none" else ""
        answer = self.once(ask, operation, expect)
        if again == "same":
            self.once(ask, operation, lambda: answer.done, first=answer)
        elif again == "none":
            self.once(ask, "", expect)
        return answer

    def once(
        self,
        ask: Callable[[str], Answer | None],
        operation: str,
        expect: Callable[[], bool],
        first: Answer | None = None,
    ) -> Answer:
        was = self.staffing()
        answer = ask(operation)
        assert answer is not None
        if first is not None:
            assert answer == first  # and what it changed is compared by the invariants
            return answer
        done = expect()
        assert answer.done == done, answer.why
        assert bool(answer.why) != done
        for queue, is_now in self.staffing().items():
            if was.get(queue, "no_agents") != is_now:
                for process in self.alive:
                    self.staff[process][queue] = is_now
        looks: list[AgentLook | CallLook] = [*answer.agents, *answer.calls]
        for look in looks:
            self.model.check(look)
        self.pending += looks
        for name, seconds in answer.timers:
            assert self.model.agents[name].till - self.model.now == pytest.approx(seconds * 1000)
        return answer

    def staffing(self) -> dict[str, str]:
        return {queue: self.model.staffed(queue) for queue in ("sales", "service", "ring")}

    def enters(self, call: str, command: Enter, owner: str, again: str = "") -> Answer:
        before = self.model.callers.get(call)

        def ask(operation: str) -> Answer | None:
            return self.board.enter(
                self.company, call, command, owner=owner, switch="switch1", caller="+7903", op=operation
            )

        answer = self.asked(ask, lambda: self.model.enter(call, command, owner), again)
        if answer.done:
            caller = self.model.callers[call]
            assert answer.data["joined"] == caller.joined
            assert answer.data["offers"] == caller.offers
            assert answer.data["opens"] == pytest.approx(self.model.opens(call), abs=0.001)
            assert answer.data["staffed"] == self.model.staffed(command.queue)
            self.owners[call], self.commands[call] = owner, command
            self.known[call] = dict(caller.offers)
            self.time_level(call, answer)
        else:
            assert answer.data["outcome"] in ("full", "no_agents", "paused")
            if before is not None and call not in self.model.callers:
                self.forget(call)
        return answer

    def time_level(self, call: str, answer: Answer) -> None:
        self.level_timers.pop(call, None)
        if opens := answer.data["opens"]:
            self.level_timers[call] = self.model.now + round(opens * 1000)

    def forget(self, call: str) -> None:
        self.owners.pop(call, None)
        self.commands.pop(call, None)
        self.known.pop(call, None)
        self.level_timers.pop(call, None)

    def enter_again(self, call: str, owner: str) -> None:
        """As its owner, or who takes over, enters a caller again: with what the call's own checkpoint knows."""
        caller, was = self.model.callers.get(call), self.commands[call]
        if caller:
            was = replace(was, joined=caller.joined, first=caller.first)
        self.enters(call, replace(was, again=True), owner)
        for name, offer in list(self.known.get(call, {}).items()):
            self.rings(call, name, offer)

    def next_offer(self, call: str) -> int:
        """What the call's checkpoint says: the first number that an offer may have."""
        return max((offer for other, _, offer in self.past if other == call), default=0) + 1

    def claims(self, call: str, name: str) -> bool:
        served = self.model.serves(name) if name in self.model.agents else []
        answer = self.asked(lambda _: self.board.claim(self.company, call, name), lambda: self.model.claim(call, name))
        if answer.done:
            first, caller = self.model.callers[served[0]], self.model.callers[call]
            assert (first.priority, first.joined) == (caller.priority, caller.joined)
            assert answer.data["offer"] == caller.offers[name]
            self.past.append((call, name, answer.data["offer"]))
        return answer.done

    def decides(self, look: AgentLook | CallLook) -> None:
        if isinstance(look, AgentLook):
            head = queueing.choose_caller(look)
            assert head is not None
            self.claims(head.call, look.agent)
            return
        for name in queueing.choose_agents(look):
            if not self.claims(look.call, name):
                break

    def all_decide(self) -> None:
        """Agents before callers: then each refusal is followed by a claim that is none."""
        for _ in range(300):
            if not self.pending:
                return
            self.pending.sort(key=lambda look: isinstance(look, CallLook))
            self.decides(self.pending.pop(0))
        raise AssertionError("deciders never come to an end")

    def reads(self, process: str, *, rings: bool = True) -> None:
        """An owner's process reads its wake-ups."""
        list_ = f"cordboard:wake:{process}"
        messages = self.board.wake(process, 5.0) if self.raw.llen(list_) else []
        assert messages is not None
        for message in messages:
            assert message["company"] == self.company
            call = message.get("call", "")
            if message["do"] == "staff":
                self.staff[process][message["queue"] + " heard"] = message["staffed"]
            elif self.owners.get(call) != process:
                continue
            elif message["do"] == "offer":
                if message["offer"] < self.commands[call].first:
                    continue  # from before it entered this time
                self.known[call][message["agent"]] = message["offer"]
                if rings:
                    self.rings(call, message["agent"], message["offer"])
            elif message["do"] == "gone":
                if self.known[call].get(message["agent"]) == message["offer"]:
                    del self.known[call][message["agent"]]
            else:
                assert message["do"] == "again"
                self.enter_again(call, process)
        for queue in self.staffing():
            if queue in self.staff[process]:
                assert self.staff[process][f"{queue} heard"] == self.staff[process][queue]

    def rings(self, call: str, name: str, offer: int) -> None:
        answer = self.asked(
            lambda _: self.board.rung(self.company, call, name, offer, 20.0),
            lambda: self.model.rung(call, name, offer, 20.0),
        )
        if not answer.done:
            self.known[call].pop(name, None)

    def rests(self, name: str) -> None:
        agent = self.model.agents.get(name)
        was = (agent.doing, agent.call, agent.leg, agent.taken_up) if agent else None
        due = name in self.model.overdue()
        answer = self.once(lambda _: self.board.rest(self.company, name), "", lambda: self.model.rest(name))
        if due and was and was[0] is Doing.TALKING:
            assert answer.data["ask"] == {"uuid": was[2], "switch": "switch1"}
        if due and was and was[0] is Doing.OFFERED:
            assert answer.data["expired"] == {"call": was[1], "taken_up": was[3]}

    def everything_due(self) -> None:
        """What local timers and the sweeper do, and the owners of dead processes' calls."""
        found = self.board.due()
        assert found is not None
        assert {name for company, name in found if company == self.company} == self.model.overdue()
        for company, name in found:
            if company == self.company:
                self.rests(name)
        for call, at in list(self.level_timers.items()):
            if at <= self.model.now and self.owners[call] in self.alive:
                self.seeks(call)
        for process in list(self.alive):
            self.reads(process)
        for call, owner in list(self.owners.items()):
            if owner not in self.alive:
                self.enter_again(call, self.alive[0])

    def seeks(self, call: str) -> None:
        answer = self.once(lambda _: self.board.seek(self.company, call), "", lambda: call in self.model.callers)
        if answer.done:
            assert answer.data["opens"] == pytest.approx(self.model.opens(call), abs=0.001)
            self.time_level(call, answer)

    def settles(self) -> None:
        """Everybody does what is due, and decides: then nobody waits for an agent who is free."""
        for _ in range(50):
            self.all_decide()
            self.everything_due()
            if self.dropped:
                answer = self.once(lambda _: self.board.settle(self.company), "", lambda: True)
                self.dropped = bool(answer.agents or answer.calls)
            unread = any(self.raw.llen(f"cordboard:wake:{process}") for process in self.alive)
            if not (self.pending or self.dropped or self.model.overdue() or unread):
                break
        else:
            raise AssertionError("it never settles")
        assert self.model.unserved() == []
        answer = self.once(lambda _: self.board.settle(self.company), "", lambda: True)
        assert (answer.agents, answer.calls) == ((), ())
        # Each owner knows of exactly the offers that are their caller's.
        assert self.known == {call: caller.offers for call, caller in self.model.callers.items()}

    # --------------------------------------------------------------------------------------------- rules

    @initialize(company=a_company, callers=st.lists(st.sampled_from(["sales", "service"]), max_size=4))
    def enrols_first(self, company: dict[str, Any], callers: list[str]) -> None:
        command = Enter("sales", 0, (), 0, 0.0, 1, 15.0)
        answer = self.board.enter(self.company, "early", command, owner="p1", switch="", caller="", op="early")
        assert answer is not None
        assert (answer.done, answer.why, answer.data["unenrolled"]) == (False, "unenrolled", True)
        self.enrols(company, set())
        answer = self.board.enter(self.company, "early", command, owner="p1", switch="", caller="", op="early")
        assert answer is not None
        assert answer.why != "unenrolled"
        if answer.done:
            self.model.enter("early", command, "p1")
            self.asked(lambda op: self.board.leave(self.company, "early", op=op), lambda: self.model.leave("early"))
        for number, queue in enumerate(callers):
            levels, together = self.of_queue(queue)
            command = Enter(*(queue, 0, (), 0, 0.0, 1, 15.0, 60.0, None, levels, together))
            self.enters(CALLS[number], command, PROCESSES[number % 3])
        self.all_decide()

    def of_queue(self, queue: str) -> tuple[tuple[float, ...], bool]:
        """When its levels open, and whether its agents ring together."""
        there = [agent.queues[queue] for agent in self.model.agents.values() if queue in agent.queues]
        levels = tuple(sorted({one["opens"] / 1000 for one in there if one["opens"]}))
        return levels, any(one["strategy"] == "ring-all" for one in there)

    def enrols(self, company: dict[str, Any], out: set[str]) -> None:
        members = members_of(**company)
        for name in out & set(members):
            members[name]["on"] = False
        version = queueing.version_of(members)
        self.asked(
            lambda _: self.board.enrol(self.company, version, members), lambda: self.model.enrol(version, members)
        )
        self.dropped = True  # whoever enrols settles afterwards

    @precondition(lambda self: self.rare("memberships", 2))
    @rule(company=a_company, out=st.sets(st.sampled_from(AGENTS), max_size=2))
    def other_memberships(self, company: dict[str, Any], out: set[str]) -> None:
        self.seldom["memberships"] += 1
        self.enrols(company, out)

    @rule(
        data=st.data(),
        call=st.sampled_from(CALLS),
        queue=st.sampled_from(["sales", "sales", "service", "service", "ring"]),
        priority=st.sampled_from([0, 0, 0, 1, 10]),
        skills=st.sampled_from([(), (), (), ("de",), ("ru", "de")]),
        most=st.sampled_from([None, None, 2]),
        patience=st.sampled_from([60.0, 60.0, 0.0]),
        waited=st.sampled_from([0.0, 0.0, 7.5, 3600.0]),
        again=st.sampled_from(["", "", "same", "none"]),
        decided=st.booleans(),
    )
    def joins(
        self,
        data: st.DataObject,
        call: str,
        queue: str,
        priority: int,
        skills: tuple[str, ...],
        most: int | None,
        patience: float,
        waited: float,
        again: str,
        decided: bool,
    ) -> None:
        """Joins, or joins another queue."""
        levels, together = self.of_queue(queue)
        command = Enter(
            *(queue, priority, skills, 0, waited, self.next_offer(call), 15.0, patience, most, levels, together, False)
        )
        self.enters(call, command, data.draw(st.sampled_from(self.alive)), again)
        if decided:
            self.all_decide()

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), again=st.sampled_from(["", "same", "none"]))
    def leaves(self, data: st.DataObject, again: str) -> None:
        call = data.draw(st.sampled_from(sorted(self.owners)))
        self.asked(lambda op: self.board.leave(self.company, call, op=op), lambda: self.model.leave(call), again)
        self.forget(call)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def one_decides(self, data: st.DataObject) -> None:
        """On a look that may be old by now."""
        self.decides(self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1))))

    @precondition(lambda self: self.pending)
    @rule()
    def everybody_decides(self) -> None:
        self.all_decide()

    @precondition(lambda self: self.pending)
    @rule()
    def deciders_die(self) -> None:
        self.pending.clear()
        self.dropped = True

    @rule(call=st.sampled_from(CALLS), name=st.sampled_from(AGENTS))
    def somebody_claims_without_a_look(self, call: str, name: str) -> None:
        self.claims(call, name)

    @rule(data=st.data(), rings=st.booleans())
    def an_owner_reads(self, data: st.DataObject, rings: bool) -> None:
        self.reads(data.draw(st.sampled_from(self.alive)), rings=rings)

    def known_offers(self) -> list[tuple[str, str, int]]:
        return [(call, name, offer) for call, those in self.known.items() for name, offer in those.items()]

    @precondition(lambda self: self.known_offers() or self.past)
    @rule(
        data=st.data(),
        result=st.sampled_from(RESULTS),
        delay=st.sampled_from([0.0, 5.0, 30.0]),
        pause_after=st.sampled_from([None, 1, 2]),
        again=st.sampled_from(["", "", "same", "none"]),
        stale=st.booleans(),
    )
    def misses(
        self, data: st.DataObject, result: str, delay: float, pause_after: int | None, again: str, stale: bool
    ) -> None:
        call, name, offer = data.draw(st.sampled_from((self.past if stale else self.known_offers()) or self.past))
        command = Miss(offer, name, result, delay, pause_after)
        self.asked(
            lambda op: self.board.miss(self.company, call, command, op=op),
            lambda: self.model.miss(call, command),
            again,
        )
        if self.known.get(call, {}).get(name) == offer:
            del self.known[call][name]
        self.talks.pop(f"{call} {offer} {name}", None)

    @precondition(lambda self: self.known_offers() or self.past)
    @rule(
        data=st.data(),
        wrap_up=st.sampled_from([0.0, 5.0]),
        again=st.sampled_from(["", "", "same", "none"]),
        stale=st.booleans(),
    )
    def takes(self, data: st.DataObject, wrap_up: float, again: str, stale: bool) -> None:
        """Somebody answers; with ``stale`` perhaps long after the offer's time."""
        call, name, offer = data.draw(st.sampled_from((self.past if stale else self.known_offers()) or self.past))
        leg = f"{call} {offer} {name}"
        command = Take(offer, name, leg, wrap_up)
        answer = self.takes_now(call, command, again)
        if answer.done:
            self.talks[leg] = (name, call, offer)
            self.forget(call)
        elif self.known.get(call, {}).get(name) == offer:
            del self.known[call][name]

    def takes_now(self, call: str, command: Take, again: str = "") -> Answer:
        return self.asked(
            lambda op: self.board.take(self.company, call, command, switch="switch1", caller="+7903", op=op),
            lambda: self.model.take(call, command),
            again,
        )

    @precondition(lambda self: self.talks)
    @rule(data=st.data(), result=st.sampled_from(["lost", "unreachable"]))
    def the_join_fails(self, data: st.DataObject, result: str) -> None:
        leg = data.draw(st.sampled_from(sorted(self.talks)))
        name, call, offer = self.talks.pop(leg)
        command = Miss(offer, name, result, 5.0)
        self.asked(
            lambda op: self.board.miss(self.company, call, command, op=op), lambda: self.model.miss(call, command)
        )
        if call not in self.owners:
            again = Enter("sales", 0, (), self.model.now - 9000, 9.0, self.next_offer(call), 15.0, again=True)
            self.enters(call, again, self.alive[0])

    @precondition(lambda self: self.talks)
    @rule(data=st.data(), again=st.sampled_from(["", "same", "none"]))
    def a_talk_ends(self, data: st.DataObject, again: str) -> None:
        leg = data.draw(st.sampled_from(sorted(self.talks)))
        name = self.talks.pop(leg)[0]
        self.hangs_up(name, leg, again)

    def hangs_up(self, name: str, uuid: str, again: str) -> None:
        self.asked(
            lambda op: self.board.hang_up(self.company, name, uuid, op=op),
            lambda: self.model.hang_up(name, uuid),
            again,
        )

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def a_reconciler_sees_a_talk(self, data: st.DataObject) -> None:
        leg = data.draw(st.sampled_from(sorted(self.talks)))
        name = self.talks[leg][0]
        self.once(lambda _: self.board.keep(self.company, name, leg), "", lambda: self.model.keep(name, leg))

    def somebody(self, data: st.DataObject) -> str:
        """An agent, rather one who does something; now and then nobody."""
        agents = sorted(self.model.agents)
        return data.draw(st.sampled_from([*agents, *(n for n in agents if not self.model.agents[n].free), "999"]))

    @rule(
        data=st.data(),
        uuid=st.sampled_from(["talk-1", "talk-2"]),
        ends=st.booleans(),
        again=st.sampled_from(["", "", "same", "none"]),
    )
    def talks_elsewhere(self, data: st.DataObject, uuid: str, ends: bool, again: str) -> None:
        name = self.somebody(data)
        if ends:
            self.hangs_up(name, uuid, again)
            return
        self.asked(
            lambda op: self.board.busy(self.company, name, uuid, "switch1", op=op),
            lambda: self.model.busy(name, uuid),
            again,
        )

    @rule(
        data=st.data(),
        what=st.sampled_from(["log_in", "log_out", "pause", "resume"]),
        reason=st.sampled_from(["", "lunch \ud800"]),
        again=st.sampled_from(["", "", "same", "none"]),
    )
    def wants_something(self, data: st.DataObject, what: str, reason: str, again: str) -> None:
        name = self.somebody(data)
        answer = self.asked(
            lambda op: self.board.duty(self.company, name, what, reason=reason, by="web", op=op),
            lambda: self.model.set_duty(name, what, reason.replace("\ud800", "?")),
            again,
        )
        if answer.done and name in self.model.agents:
            agent = self.model.agents[name]
            assert answer.data["state"] == {"on": "available", "out": "logged_out"}.get(
                agent.duty.value, agent.duty.value
            )

    @rule(data=st.data())
    def somebody_is_asked_to_rest(self, data: st.DataObject) -> None:
        self.rests(self.somebody(data))

    @rule(milliseconds=st.sampled_from([1, 400, 3000, 5001, 20_000, 700_000]))
    def time_goes_on(self, milliseconds: int) -> None:
        for at in (milliseconds - milliseconds // 2, milliseconds // 2):
            self.clock += at
            self.set_clock()
            for process in self.alive:
                self.board.beat(process)

    @rule(seconds=st.sampled_from([-86_400, -60, -3, 3600]))
    def the_clock_jumps(self, seconds: int) -> None:
        """And processes that lived a moment ago have not said since that they do."""
        for process in self.alive:
            self.board.beat(process)
        self.clock += seconds * 1000
        self.set_clock()

    @rule()
    def what_is_due_is_done(self) -> None:
        self.everything_due()

    @rule()
    def everything_settles(self) -> None:
        self.settles()

    @precondition(lambda self: self.rare("kills", 3))
    @rule(data=st.data())
    def a_process_is_killed(self, data: st.DataObject) -> None:
        """Its callers wait without an owner; what it should have known is known to nobody."""
        self.seldom["kills"] += 1
        process = data.draw(st.sampled_from(self.alive))
        self.alive.remove(process)
        for call, owner in self.owners.items():
            if owner == process:
                self.known[call] = {}
                self.level_timers.pop(call, None)
        name = f"p{next(self.names)}"
        self.alive.append(name)
        self.begin(name)

    @precondition(lambda self: any(owner not in self.alive for owner in self.owners.values()))
    @rule(data=st.data(), leaves=st.booleans())
    def an_orphan_is_found(self, data: st.DataObject, leaves: bool) -> None:
        orphans = sorted(call for call, owner in self.owners.items() if owner not in self.alive)
        call = data.draw(st.sampled_from(orphans))
        if leaves:
            self.asked(lambda op: self.board.leave(self.company, call, op=op), lambda: self.model.leave(call))
            self.forget(call)
        else:
            self.enter_again(call, data.draw(st.sampled_from(self.alive)))

    @precondition(lambda self: self.rare("restarts", 1) and bool(os.environ.get("EXAMPLES")))
    @rule()
    def redis_is_stopped_and_started(self) -> None:
        self.seldom["restarts"] += 1
        self.redis.stop()
        assert self.board.companies() is None
        self.redis.start()
        while self.board.companies() is None:
            pass

    @precondition(lambda self: len(self.past) > 3 and self.rare("loses", 1))
    @rule()
    def redis_loses_everything(self) -> None:
        """Then its generation is another one; agents are enrolled, talks are told and callers enter again."""
        self.seldom["loses"] += 1
        self.raw.flushall()
        self.raw.script_flush()
        self.clock = self.latest = self.latest + 1  # a generation is named by when it began
        self.offset, self.told, self.heard = 0, 0, "0"
        self.doing.clear()
        self.pending.clear()
        self.past.clear()
        model, self.model = self.model, Model()
        self.raw.set(CLOCK, self.clock)
        self.model.now = self.clock
        was = self.generation
        for process in self.alive:
            self.begin(process)
        assert self.generation != was
        members = {name: {"queues": agent.queues} for name, agent in model.agents.items() if agent.queues}
        version = queueing.version_of(members)
        self.asked(
            lambda _: self.board.enrol(self.company, version, members), lambda: self.model.enrol(version, members)
        )
        for leg, (name, call, offer) in self.talks.items():
            self.takes_now(call, Take(offer, name, leg, 5.0))
        self.dropped = True
        for call in sorted(self.owners):
            caller = model.callers[call]
            waited = (model.now - caller.joined) / 1000
            self.commands[call] = replace(
                self.commands[call], joined=caller.joined, waited=waited, first=caller.first, patience=0.0
            )
            self.level_timers.pop(call, None)
            self.enter_again(call, self.alive[0])

    # ---------------------------------------------------------------------------------------- invariants

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        look = self.board.look(self.company)
        assert look is not None
        assert look["now"] == pytest.approx(self.model.now / 1000, abs=0.001)
        members = {one["agent"]: one for one in look["members"] or ()}
        assert set(members) == set(self.model.agents)
        for name, agent in self.model.agents.items():
            one = members[name]
            numbers = {key: one[key] for key in ("till", "offer", "asked", "calls", "talk", "misses", "idle", "since")}
            assert numbers == {key: getattr(agent, key) for key in numbers}, name
            words = {key: one[key] for key in ("call", "leg", "queue", "why")}
            assert words == {key: getattr(agent, key) for key in words}, name
            assert (one["duty"], one["doing"], one["free"]) == (agent.duty.value, agent.doing.value, agent.free)
            assert set(one["elsewhere"]) == agent.elsewhere
            assert one["queues"] == agent.queues
        waiting = {one["call"]: one for one in look["waiting"] or ()}
        assert set(waiting) == set(self.model.callers)
        for call, caller in self.model.callers.items():
            one = waiting[call]
            words = {key: one[key] for key in ("queue", "priority", "need", "joined", "first", "together", "owner")}
            assert words == {key: getattr(caller, key) for key in words}, call
            assert (one["standing"], one["offers"]) == (caller.standing.value, caller.offers)
        assert {**self.staffing(), **(look["queues"] or {})} == self.staffing()

    @invariant()
    def every_set_holds_exactly_who_belongs_there_in_order(self) -> None:
        assert sets_of(self.raw, self.company) == self.model.sets()
        due = {one.decode(): int(at) for one, at in self.raw.zrange("cordboard:queue-due", 0, -1, withscores=True)}
        tills = {f"{self.company}/{name}": agent.till for name, agent in self.model.agents.items() if agent.till}
        assert due == tills

    @invariant()
    def an_offer_is_known_on_both_sides_and_an_agent_has_one(self) -> None:
        """Of the model, which is what Redis holds."""
        of_callers = [(name, call, n) for call, one in self.model.callers.items() for name, n in one.offers.items()]
        of_agents = [
            (name, agent.call, agent.offer) for name, agent in self.model.agents.items() if agent.doing is Doing.OFFERED
        ]
        assert sorted(of_callers) == sorted(of_agents)
        assert set(self.owners) == set(self.model.callers)

    @invariant()
    def everybody_has_their_place(self) -> None:
        for call in self.model.callers:
            assert self.board.place(self.company, call) == self.model.place(call)

    @invariant()
    def facts_tell_what_agents_do_and_nothing_else(self) -> None:
        entries = self.raw.xrange(STREAM, f"({self.heard}" if self.heard != "0" else "-")
        latest: dict[str, dict[str, Any]] = {}
        for id_, fields in entries:
            self.heard = id_.decode()
            fact = json.loads(fields[b"fact"])
            assert (fact["type"], fact["company"], fact["call"], fact["epoch"]) == (
                "agent.state",
                self.company,
                None,
                0,
            )
            self.told += 1
            assert fact["n"] == self.told
            assert fact["p"] == f"queues-{self.company}-{self.generation}"
            name, state = fact["data"]["agent"], fact["data"]["state"]
            now = SHOWN.get(state) or Doing(state)
            assert (self.doing.get(name, Doing.IDLE), now) in POSSIBLE
            self.doing[name] = now
            latest[name] = fact["data"]
            self.last_told = {**getattr(self, "last_told", {}), name: (state, fact["data"]["duty"])}
        for name, agent in self.model.agents.items():
            assert self.last_told[name] == (agent.state, agent.duty.value)
            if name in latest:
                assert (latest[name].get("queue", ""), latest[name].get("call", "")) == (agent.queue, agent.call)
                assert latest[name].get("reason", agent.why) == agent.why

    def teardown(self) -> None:
        if self.model.version and sys.exc_info()[0] is None:
            self.settles()
            self.redis_holds_what_the_model_says()
            self.every_set_holds_exactly_who_belongs_there_in_order()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("queues")) as server:
        yield server


def test_whatever_happens_nobody_is_stuck(server: EmbeddedRedis) -> None:
    way = Switchboard(server.url, name="test")
    Queues.redis, Queues.board, Queues.raw = server, QueueBoard(way, script=TIMED), way._redis
    run_state_machine_as_test(
        Queues,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    way.close()


# ------------------------------------------------------------------------------------- faults, one at a time


class Desk:
    """A company on a clock of the test's own, and short words for what is done there."""

    def __init__(self, way: Switchboard, script: str = TIMED) -> None:
        self.board, self.raw = QueueBoard(way, script=script), way._redis
        self.raw.flushall()
        self.at(START)

    def at(self, milliseconds: int) -> None:
        self.raw.set(CLOCK, milliseconds)

    def enrol(self, **queues: dict[str, Any]) -> None:
        members = members_of(**queues)
        assert self.board.enrol("acme", queueing.version_of(members), members)

    def enter(self, call: str, queue: str = "sales", *, op: str = "", **more: Any) -> Answer:
        given = {"priority": 0, "skills": (), "joined": 0, "waited": 0.0, "first": 1, "ring": 15.0, **more}
        command = Enter(queue=queue, **given)
        answer = self.board.enter("acme", call, command, owner="p1", switch="switch1", caller="+7903", op=op)
        assert answer is not None
        return answer

    def claim(self, call: str, agent: str) -> Answer:
        answer = self.board.claim("acme", call, agent)
        assert answer is not None
        return answer

    def rest(self, agent: str) -> Answer:
        answer = self.board.rest("acme", agent)
        assert answer is not None
        return answer

    def member(self, agent: str) -> dict[str, Any]:
        look = self.board.look("acme")
        assert look is not None
        found: dict[str, Any] = next(one for one in look["members"] if one["agent"] == agent)
        return found

    def waiting(self) -> dict[str, str]:
        """Who waits, and where."""
        look = self.board.look("acme")
        assert look is not None
        return {one["call"]: one["queue"] for one in look["waiting"]}

    def woken(self) -> list[dict[str, Any]]:
        return self.board.wake("p1", 1.0) or [] if self.raw.exists("cordboard:wake:p1") else []


@pytest.fixture
def desk(board: Switchboard) -> Desk:
    return Desk(board)


ONE = queue_of("longest-idle", {}, {"301": (1, "")})


def test_a_company_that_was_not_known_is_asked_again_under_the_same_id(desk: Desk) -> None:
    assert desk.enter("call-1", op="one").data["unenrolled"] is True
    desk.enrol(sales=ONE)
    assert desk.enter("call-1", op="one").done


def test_an_entering_whose_answer_was_lost_is_answered_as_it_stands_by_then(desk: Desk) -> None:
    desk.enrol(sales=queue_of("longest-idle", {2: 10}, {"301": (1, ""), "302": (2, "")}))
    desk.enter("call-1", op="one", levels=(10.0,))
    desk.claim("call-1", "301")
    desk.at(START + 1000)
    again = desk.enter("call-1", op="one", levels=(10.0,))
    assert (again.data["offers"], again.data["opens"]) == ({"301": 1}, 9)


def test_nor_does_it_leave_the_caller_passed_over(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1", op="one")
    desk.claim("call-1", "301")
    desk.at(START + 3000)
    desk.rest("301")  # its owner has not heard a word: Redis was away for it
    desk.enter("call-1", op="one")
    assert desk.claim("call-1", "301").done


def test_nor_does_it_forget_whom_it_made_free(desk: Desk) -> None:
    desk.enrol(sales=ONE, service=queue_of("longest-idle", {}, {"302": (1, "")}))
    desk.enter("call-1", "sales")
    desk.claim("call-1", "301")
    desk.enter("call-2", "sales")
    for _ in range(2):
        (look,) = desk.enter("call-1", "service", op="one").agents
        assert (look.agent, [head.call for head in look.heads]) == ("301", ["call-2"])


def test_but_whoever_stands_elsewhere_or_nowhere_by_then_is_left_there(desk: Desk) -> None:
    desk.enrol(sales=ONE, service=ONE)
    desk.enter("call-1", "sales", op="one")
    desk.enter("call-1", "service", op="two")
    desk.enter("call-1", "sales", op="one")
    assert desk.waiting() == {"call-1": "service"}
    desk.board.leave("acme", "call-1")
    desk.enter("call-1", "sales", op="one")
    assert desk.waiting() == {}


def test_facts_of_two_companies_are_never_taken_for_one(desk: Desk) -> None:
    for company in ("acme", "volga"):
        assert desk.board.enrol(company, "1", members_of(sales=ONE))
    facts = [json.loads(fields[b"fact"]) for _, fields in desk.raw.xrange(STREAM)]
    assert len({(fact["p"], fact["n"]) for fact in facts}) == len(facts) == 2


def test_a_late_miss_does_not_end_the_next_offer_of_the_same_two(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    assert desk.claim("call-1", "301").data["offer"] == 1
    desk.board.rung("acme", "call-1", "301", 1, 20.0)
    desk.at(START + 20_000)
    desk.rest("301")
    assert desk.claim("call-1", "301").data["offer"] == 2
    late = desk.board.miss("acme", "call-1", Miss(1, "301", "no_answer", 5.0))
    assert late is not None
    assert not late.done
    assert desk.enter("call-1", again=True).data["offers"] == {"301": 2}


@pytest.mark.parametrize("back", [1, 5_000, 3_600_000, 40_000_000_000])
def test_a_clock_that_goes_back_keeps_no_agent_resting_and_no_caller_waiting(desk: Desk, back: int) -> None:
    desk.enrol(sales=queue_of("longest-idle", {2: 10}, {"301": (1, ""), "302": (2, "")}))
    desk.board.busy("acme", "301", "talk-1", "switch1")
    desk.enter("call-1", levels=(10.0,))
    desk.enter("call-2")
    desk.board.take("acme", "call-2", Take(1, "301", "leg", 5.0), switch="switch1")
    desk.board.hang_up("acme", "301", "talk-1")
    desk.board.hang_up("acme", "301", "leg")
    desk.at(START - back)
    assert desk.rest("301").timers == (("301", 5.0),)
    desk.at(START - back + 5_000)
    assert [head.call for head in desk.rest("301").agents[0].heads] == ["call-1"]
    desk.at(START - back + 9_999)
    opens = desk.board.seek("acme", "call-1")
    assert opens is not None
    assert (round(opens.data["opens"], 3), [one.agent for one in opens.calls[0].agents]) == (0.001, ["301"])
    desk.at(START - back + 10_000)
    opens = desk.board.seek("acme", "call-1")
    assert opens is not None
    assert [one.agent for one in opens.calls[0].agents] == ["301", "302"]


def test_facts_tell_the_machines_time_although_the_queues_go_on_by_their_own(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.at(START - 60_000)
    desk.board.duty("acme", "301", "pause")
    facts = [json.loads(fields[b"fact"]) for _, fields in desk.raw.xrange(STREAM)]
    assert [fact["at"] for fact in facts] == [START / 1000, START / 1000 - 60]
    assert desk.member("301")["since"] == START


def test_a_joining_time_of_a_clock_that_was_lost_is_told_by_how_long_the_caller_has_waited(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    assert desk.enter("call-1", joined=START + 60_000, waited=9.0, again=True).data["joined"] == START - 9000
    assert desk.enter("call-2", joined=START - 5000, waited=9.0, again=True).data["joined"] == START - 5000


def test_who_answers_and_is_not_joined_has_missed_another_call_and_taken_none(desk: Desk) -> None:
    """Else a telephone that answers and drops would be asked for ever, whatever ``pause_after`` says."""
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    for offer in (1, 2, 3):
        assert desk.claim("call-1", "301").data["offer"] == offer
        desk.board.take("acme", "call-1", Take(offer, "301", f"leg-{offer}", 0.0), switch="switch1")
        desk.board.miss("acme", "call-1", Miss(offer, "301", "no_answer", 0.0, 3))
        desk.enter("call-1", first=offer + 1, again=True)
        seen = desk.member("301")
        assert (seen["calls"], seen["misses"], seen["duty"]) == (0, offer % 3, "on" if offer < 3 else "paused")


def test_who_got_free_by_an_entering_is_told_again_when_that_is_asked_again(desk: Desk) -> None:
    desk.enrol(sales=ONE, service=queue_of("longest-idle", {}, {"302": (1, "")}))
    desk.enter("call-1")
    desk.claim("call-1", "301")
    desk.enter("call-2")
    for _ in range(2):  # the first answer was lost
        (look,) = desk.enter("call-1", "service", op="one").agents
        assert (look.agent, [head.call for head in look.heads]) == ("301", ["call-2"])


def test_levels_that_open_early_are_found_behind_many_agents_whose_level_is_closed(desk: Desk) -> None:
    many = {str(number): (2, "") for number in range(400, 420)}
    desk.enrol(sales=queue_of("longest-idle", {2: 30}, {**many, "301": (3, ""), "302": (3, "")}))
    (look,) = desk.enter("call-1").calls
    assert [one.agent for one in look.agents] == ["301", "302"]
    settled = desk.board.settle("acme")
    assert settled is not None
    assert {one.agent for one in settled.agents} == {"301", "302"}
    desk.at(START + 30_000)
    seeks = desk.board.seek("acme", "call-1")
    assert seeks is not None
    assert [one.agent for one in seeks.calls[0].agents] == sorted(many)[:8]


def test_the_first_agents_of_all_sets_of_skills_together_are_looked_at(desk: Desk) -> None:
    skills = [f"s{number}" for number in range(6)]
    agents = {str(400 + number): (1, skills[number % 6]) for number in range(60)}
    desk.enrol(sales=queue_of("in-order", {}, agents))
    (look,) = desk.enter("call-1").calls
    assert [one.agent for one in look.agents] == [str(400 + number) for number in range(8)]


def test_ring_all_asks_as_many_as_may_ring_together_and_no_more(desk: Desk) -> None:
    agents = {str(400 + number): (1, "") for number in range(12)}
    desk.enrol(sales=queue_of("ring-all", {}, agents))
    (look,) = desk.enter("call-1", together=True).calls
    chosen = queueing.choose_agents(look)
    assert len(chosen) == MOST_TOGETHER
    assert all(desk.claim("call-1", name).done for name in chosen)
    assert not desk.claim("call-1", "411").done
    taken = desk.board.take("acme", "call-1", Take(3, "402", "leg", 0.0), switch="switch1")
    assert taken is not None
    assert [desk.member(name)["doing"] for name in agents].count("idle") == 11


def test_settling_brings_up_a_few_at_a_time_until_there_is_nobody(desk: Desk) -> None:
    agents = {str(400 + number): (1, f"s{number}") for number in range(12)}
    desk.enrol(sales=queue_of("in-order", {}, agents))
    for number in range(12):
        desk.enter(f"call-{number}", skills=(f"s{number}",))
    rounds = 0
    while (settled := desk.board.settle("acme")) and settled.agents:
        rounds += 1
        for look in settled.agents:
            assert desk.claim(look.heads[0].call, look.agent).done
    assert rounds == 2
    assert {desk.member(name)["doing"] for name in agents} == {"offered"}


def test_a_claim_for_somebody_who_is_not_first_brings_up_who_is(desk: Desk) -> None:
    desk.enrol(sales=queue_of("in-order", {}, {"301": (1, "")}), service=queue_of("in-order", {}, {"301": (1, "")}))
    desk.enter("call-1", "sales")
    desk.at(START + 1)
    desk.enter("call-2", "service")
    refused = desk.claim("call-2", "301")
    assert (refused.done, refused.why) == (False, "somebody is before this caller")
    assert {look.call for look in refused.calls} == {"call-1", "call-2"}
    (look,) = refused.agents
    head = queueing.choose_caller(look)
    assert head is not None
    assert head.call == "call-1"


def test_half_a_surrogate_in_a_name_is_no_reason_to_think_that_redis_is_away(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    assert desk.board.duty("acme", "301", "pause", reason="\udcff lunch \x00") is not None
    assert desk.member("301")["why"] == "? lunch \x00"
    command = Enter("sales", 0, (), 0, 0.0, 1, 15.0, 60.0)
    answer = desk.board.enter("acme", "c", command, owner="p1", switch="s", caller="\ud800 Bob", op="")
    assert answer is not None
    assert desk.board.available


def test_who_has_left_the_routing_in_the_middle_of_a_talk_is_no_agent_after_it(desk: Desk) -> None:
    desk.enrol(sales=queue_of("in-order", {}, {"301": (1, ""), "302": (1, "")}))
    desk.enter("call-1")
    desk.claim("call-1", "302")
    desk.board.take("acme", "call-1", Take(1, "302", "leg", 5.0), switch="switch1")
    desk.enrol(sales=ONE)
    assert desk.member("302")["doing"] == "talking"
    desk.board.hang_up("acme", "302", "leg")
    desk.at(START + 5000)
    assert desk.board.due() == [("acme", "302")]
    desk.rest("302")
    look = desk.board.look("acme")
    assert look is not None
    assert [one["agent"] for one in look["members"]] == ["301"]
    assert desk.board.due() == []


def test_offers_of_a_caller_who_goes_to_another_queue_go_on_counting(desk: Desk) -> None:
    desk.enrol(sales=ONE, service=ONE)
    desk.enter("call-1", "sales")
    assert desk.claim("call-1", "301").data["offer"] == 1
    desk.enter("call-1", "service")
    assert desk.claim("call-1", "301").data["offer"] == 2


def test_an_offer_that_its_owner_takes_up_is_no_stall_and_one_that_nobody_does_is(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    desk.claim("call-1", "301")
    desk.at(START + 3000)
    assert desk.rest("301").calls == ()
    assert [one["do"] for one in desk.woken()] == ["offer", "gone", "again"]
    assert not desk.claim("call-1", "301").done
    assert [look.call for look in desk.enter("call-1", again=True).calls] == ["call-1"]


def test_an_owner_who_lives_is_reminded_of_a_caller_who_is_passed_over(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    desk.claim("call-1", "301")
    desk.board.remind("acme", "call-1")
    assert [one["do"] for one in desk.woken()] == ["offer"]
    desk.at(START + 3000)
    desk.rest("301")
    desk.woken()
    desk.board.remind("acme", "call-1")
    assert [one["do"] for one in desk.woken()] == ["again"]


@pytest.mark.parametrize(("owner", "woken"), [("p1", []), ("p2", ["again"]), ("", [])])
def test_a_taking_that_comes_late_does_not_keep_a_caller_out_of_the_queue_they_are_in_by_then(
    desk: Desk, owner: str, woken: list[str]
) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1", first=2)
    desk.board.take("acme", "call-1", Take(1, "301", "leg", 0.0), switch="switch1", owner=owner)
    assert [one["do"] for one in desk.woken()] == woken


def test_memberships_that_are_known_already_change_nothing(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    before = desk.raw.info("commandstats")["cmdstat_hset"]["calls"]
    desk.enrol(sales=ONE)
    assert desk.raw.info("commandstats")["cmdstat_hset"]["calls"] == before


def test_the_real_clock_is_milliseconds(board: Switchboard) -> None:
    desk = Desk(board, SCRIPT)
    desk.enrol(sales=ONE)
    seconds, micros = desk.raw.time()
    assert abs(desk.member("301")["since"] - (seconds * 1000 + micros / 1000)) < 60_000


def test_everything_is_told_page_by_page_so_that_nobody_waits_for_it(desk: Desk) -> None:
    desk.enrol(sales=queue_of("in-order", {}, {str(1000 + number): (1, "") for number in range(700)}))
    for number in range(700):
        desk.board.busy("acme", str(1000 + number), "talk", "switch1")
        desk.enter(f"call-{number}", patience=60.0)
    desk.raw.config_resetstat()
    held, look = desk.board.held("acme"), desk.board.look("acme", "sales")
    assert held is not None
    assert look is not None
    assert desk.raw.info("commandstats")["cmdstat_evalsha"]["calls"] > 8
    calls = {f"call-{number}" for number in range(700)}
    assert {one["call"] for one in held["waiting"]} == {one["call"] for one in look["waiting"]} == calls
    assert len(held["waiting"]) == len(look["members"]) == len(held["held"]) == 700


def test_people_ask_about_one_queue(desk: Desk) -> None:
    desk.enrol(sales=ONE, service=queue_of("in-order", {}, {"302": (1, "")}))
    desk.enter("call-1", "sales")
    desk.enter("call-2", "service")
    desk.claim("call-1", "301")
    look = desk.board.look("acme", "sales")
    assert look is not None
    assert [one["agent"] for one in look["members"]] == ["301"]
    assert [one["call"] for one in look["waiting"]] == ["call-1"]
    assert look["queues"] == {"sales": "", "service": ""}
    nobody = desk.board.look("acme", "other")
    assert nobody is not None
    assert (nobody["members"], nobody["waiting"]) == ([], [])


def facts_of(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(fields[b"fact"])["data"] for _, fields in desk.raw.xrange(STREAM)]


def test_facts_tell_why_somebody_paused_who_said_so_and_whom_somebody_talks_with(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.board.duty("acme", "301", "pause", reason="lunch", by="301")
    desk.board.duty("acme", "301", "resume", by="web")
    desk.enter("call-1")
    desk.claim("call-1", "301")
    told = {"agent": "301", "state": "paused", "duty": "paused", "reason": "lunch", "by": "301"}
    assert facts_of(desk)[1:] == [
        told,
        {"agent": "301", "state": "available", "duty": "on", "by": "web"},
        {"agent": "301", "state": "offered", "duty": "on", "queue": "sales", "call": "call-1"},
    ]
    missed = desk.board.miss("acme", "call-1", Miss(1, "301", "declined", 5.0, 1))
    assert missed is not None
    told = {"agent": "301", "state": "delayed", "duty": "paused", "reason": "missed calls", "by": "cordboard"}
    assert facts_of(desk)[-1] == told
    assert desk.member("301")["last"] == "declined"


def test_the_lease_of_a_talk_is_renewed_by_who_sees_it_and_else_somebody_is_asked_to_look(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    desk.claim("call-1", "301")
    assert desk.member("301")["caller"] == "+7903"
    desk.board.take("acme", "call-1", Take(1, "301", "leg", 5.0), switch="switch1", caller="+7903")
    desk.at(START + 599_999)
    desk.board.keep("acme", "301", "another")
    desk.board.keep("acme", "301", "leg")
    desk.at(START + 600_000)
    assert desk.board.due() == []
    desk.at(START + 1_199_999)
    answer = desk.rest("301")
    assert answer.data["ask"] == {"uuid": "leg", "switch": "switch1"}
    assert answer.timers == (("301", 7.0),)
    assert desk.member("301")["doing"] == "talking"


def test_a_process_lives_for_some_seconds_after_each_beat(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    assert desk.board.beat("p1") == desk.board.beat("p2")
    desk.enter("call-1", patience=60.0)

    def alive() -> bool:
        held = desk.board.held("acme")
        assert held is not None
        return bool(held["waiting"][0]["alive"])

    desk.at(START + 7000)
    assert alive()
    desk.at(START + 7001)
    assert not alive()
    desk.board.beat("p1")
    assert alive()
    desk.at(START + 3_700_000)
    desk.board.beat("p3")
    assert desk.raw.zrange("cordboard:queue-processes", 0, -1) == [b"p3"]


def test_what_nobody_reads_and_nobody_asks_again_is_forgotten(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1", op="one")
    desk.claim("call-1", "301")
    assert 0 < desk.raw.ttl("cordboard:wake:p1") <= 60
    assert 0 < desk.raw.ttl("cordboard:queue:acme:done:one") <= 60


def test_what_the_hours_of_duty_did_is_kept_with_the_agent(desk: Desk) -> None:
    members = members_of(sales=ONE)
    members["301"]["on"] = False
    desk.board.enrol("acme", "one", members)
    assert (desk.member("301")["duty"], desk.member("301")["hours"]) == ("out", False)
    desk.board.duty("acme", "301", "log_in", hours=True)
    assert desk.member("301")["hours"] is True
    desk.board.duty("acme", "301", "pause")
    assert desk.member("301")["hours"] is True
    assert desk.board.companies() == ["acme"]


def test_an_agent_who_did_not_answer_is_left_alone_and_paused_when_it_happens_again(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1", patience=60.0)
    for number, (result, duty) in enumerate(
        (("busy", "on"), ("no_answer", "on"), ("busy", "on"), ("declined", "paused"))
    ):
        desk.at(START + number * 5000)
        desk.rest("301")
        offer = desk.claim("call-1", "301").data["offer"]
        missed = desk.board.miss("acme", "call-1", Miss(offer, "301", result, 5.0, 2))
        assert missed is not None
        assert missed.calls == ()
        assert (desk.member("301")["doing"], desk.member("301")["duty"]) == ("delayed", duty)


def test_whoever_stops_ringing_is_followed_by_the_next(desk: Desk) -> None:
    desk.enrol(sales=queue_of("in-order", {}, {"301": (1, ""), "302": (1, "")}))
    desk.enter("call-1")
    desk.claim("call-1", "301")
    missed = desk.board.miss("acme", "call-1", Miss(1, "301", "no_answer", 5.0))
    assert missed is not None
    assert [queueing.choose_agents(look) for look in missed.calls] == [("302",)]
    desk.claim("call-1", "302")
    desk.enter("call-2", again=True)
    paused = desk.board.duty("acme", "302", "pause")
    assert paused is not None
    assert (paused.calls, desk.member("302")["doing"]) == ((), "idle")
    desk.at(START + 5000)
    (look,) = desk.rest("301").agents
    assert queueing.choose_caller(look) == look.heads[0]
    assert look.heads[0].call == "call-1"
    assert [one["do"] for one in desk.woken()] == ["offer", "offer", "gone"]


def test_an_answer_after_its_time_ends_the_offer_to_somebody_else(desk: Desk) -> None:
    desk.enrol(sales=queue_of("in-order", {}, {"301": (1, ""), "302": (1, "")}))
    desk.enter("call-1", "sales")
    desk.claim("call-1", "301")
    desk.board.rung("acme", "call-1", "301", 1, 20.0)
    desk.at(START + 20_000)
    desk.rest("301")
    desk.enter("call-0", "sales", priority=9)
    assert desk.claim("call-0", "301").done
    late = desk.board.take("acme", "call-1", Take(1, "301", "leg", 5.0), switch="switch1")
    assert late is not None
    assert late.done
    assert [(look.call, queueing.choose_agents(look)) for look in late.calls] == [("call-0", ("302",))]
    assert desk.member("301")["call"] == "call-1"
    assert desk.enter("call-0", "sales", priority=9, again=True).data["offers"] == {}
    gone = [one for one in desk.woken() if one["do"] == "gone"]
    assert [(one["call"], one["offer"]) for one in gone] == [("call-1", 1), ("call-0", 1)]


def test_an_agent_whom_nobody_took_up_is_offered_to_who_waits_behind(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    desk.claim("call-1", "301")
    desk.at(START + 1)
    desk.enter("call-2")
    desk.at(START + 3000)
    (look,) = desk.rest("301").agents
    assert [head.call for head in look.heads] == ["call-2"]


@pytest.mark.parametrize("strategy", ["fewest-calls", "least-talk-time"])
def test_between_equals_who_has_been_free_longest_is_asked(desk: Desk, strategy: str) -> None:
    desk.enrol(sales=queue_of(strategy, {}, {"301": (1, ""), "302": (1, "")}))
    desk.board.busy("acme", "301", "talk", "switch1")
    desk.at(START + 2000)
    desk.board.hang_up("acme", "301", "talk")
    (look,) = desk.enter("call-1").calls
    assert queueing.choose_agents(look) == ("302",)
    assert [one.agent for one in look.agents] == ["302", "301"]


def test_the_stream_of_facts_does_not_grow_for_ever(board: Switchboard) -> None:
    desk = Desk(board, TIMED.replace("'~', 1000000,", "'~', 10,"))
    desk.enrol(sales=ONE)
    for _ in range(200):
        desk.board.duty("acme", "301", "pause")
        desk.board.duty("acme", "301", "resume")
    assert desk.raw.xlen(STREAM) < 250


def test_talks_are_counted_from_logging_in_on(desk: Desk) -> None:
    desk.enrol(sales=ONE)
    desk.enter("call-1")
    desk.claim("call-1", "301")
    desk.at(START + 2000)
    desk.board.take("acme", "call-1", Take(1, "301", "leg", 0.0), switch="switch1")
    desk.at(START + 92_600)
    desk.board.hang_up("acme", "301", "leg")
    assert (desk.member("301")["talk"], desk.member("301")["calls"]) == (91, 1)
    desk.board.duty("acme", "301", "pause")
    desk.board.duty("acme", "301", "log_in")
    assert desk.member("301")["talk"] == 91
    desk.board.duty("acme", "301", "log_out")
    desk.board.duty("acme", "301", "log_in")
    assert (desk.member("301")["talk"], desk.member("301")["calls"]) == (0, 0)
