"""Eight processes serve the same queues at once, some are killed, and nobody is stuck or rung for two callers.

Real processes (``queue_worker``), each with its own way to one Redis, decide for each other's callers.  The test is
what the rest of the house would be: it hands out callers, kills, gives the callers of the dead to others, hangs up
what the dead talked, and sweeps.  It waits for what happens, never for time.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from callcontrol.embedded import EmbeddedRedis
from callcontrol.queueboard import QueueBoard
from callcontrol.queueing import Doing, Duty, Standing, version_of
from callcontrol.supervisor import die_with_parent
from callcontrol.switchboard import STREAM, Switchboard
from tests.queue_model import Agent, Caller, Model
from tests.queue_worker import decide
from tests.test_queueboard import POSSIBLE, SHOWN, members_of, queue_of, sets_of

AGENTS = [str(number) for number in range(301, 313)]
CALLS, KILLS, STAYING = 300, (60, 120, 180), 30


class House:
    """Everything around the workers."""

    def __init__(self, url: str) -> None:
        self.url, self.dice = url, random.Random(4)
        way = Switchboard(url, name="test")
        self.board, self.raw, self.waits = QueueBoard(way), way._redis, way.waiting(30)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.names = iter(f"w{number}" for number in range(1000))
        self.company = ""
        self.owners: dict[str, str] = {}
        self.messages: dict[str, dict[str, Any]] = {}

    def begin(self, company: str, members: Mapping[str, Any]) -> None:
        self.company = company
        self.owners.clear()
        self.messages.clear()
        self.board.enrol(company, version_of(members), members)

    def start(self, number: int) -> None:
        names = [next(self.names) for _ in range(number)]
        for name in names:
            command = [sys.executable, "-m", "tests.queue_worker", self.url, name]
            self.workers[name] = subprocess.Popen(command, cwd=Path(__file__).parent.parent, preexec_fn=die_with_parent)
        for _ in names:
            assert self.waits.blpop(["test:ready"], timeout=30)

    def say(self, worker: str, **message: Any) -> None:
        self.raw.rpush(f"cordboard:wake:{worker}", json.dumps({**message, "company": self.company}))

    def give(self, call: str) -> None:
        self.owners[call] = self.dice.choice(list(self.workers))
        self.say(self.owners[call], do="arrive", call=call, **self.messages[call])

    def kill(self) -> None:
        """What it talked is hung up, as a switch would tell; its callers come to others."""
        name = self.dice.choice(list(self.workers))
        process = self.workers.pop(name)
        process.kill()
        process.wait()
        orphans = [call for call, owner in self.owners.items() if owner == name]
        held = self.board.held(self.company)
        assert held is not None
        for one in held["held"] or ():
            if one["doing"] == "talking" and one["call"] in orphans:
                self.raw.rpush(f"test:talks:{self.company}", json.dumps(["ends", one["agent"], one["leg"]]))
                decide(self.board, self.company, self.board.hang_up(self.company, one["agent"], one["leg"]))
        for call in orphans:
            self.give(call)

    def sweep(self) -> None:
        """What the dead would have done: the end of what rests, and looks that nobody decided on."""
        for company, name in self.board.due() or ():
            decide(self.board, company, self.board.rest(company, name))
        decide(self.board, self.company, self.board.settle(self.company))

    def hear(self) -> str | None:
        """A caller who is done; None if there is none just now."""
        heard = self.waits.blpop([f"test:done:{self.company}"], timeout=0.1)
        return heard[1].decode() if heard else None

    def stop(self) -> None:
        for name in self.workers:
            self.say(name, do="stop")
        assert [process.wait(10) for process in self.workers.values()] == [0] * len(self.workers)
        self.workers.clear()

    def model(self) -> Model:
        """What Redis says, as the model that knows which sets follow from it."""
        look = self.board.look(self.company)
        assert look is not None
        model = Model()
        model.now = round(look["now"] * 1000)
        for one in look["members"]:
            same = {key: one[key] for key in ("till", "call", "offer", "leg", "asked", "calls", "talk", "since")}
            model.agents[one["agent"]] = Agent(
                one["queues"], Duty(one["duty"]), one["idle"], Doing(one["doing"]), **same
            )
        for one in look["waiting"] or ():
            same = {key: one[key] for key in ("queue", "priority", "need", "joined", "first", "together", "owner")}
            model.callers[one["call"]] = Caller(
                **same, standing=Standing(one["standing"]), offers=dict(one["offers"] or {})
            )
        return model


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Eight processes for all tests here: to start them takes longer than the rest."""
    with EmbeddedRedis(tmp_path_factory.mktemp("processes")) as server:
        house = House(server.url)
        house.start(8)
        yield house
        house.stop()


def a_company() -> Mapping[str, Any]:
    skills = ("", "de", "de+ru")
    return members_of(
        sales=queue_of("longest-idle", {}, {name: (1, skills[i % 3]) for i, name in enumerate(AGENTS[:8])}),
        service=queue_of("fewest-calls", {}, {name: (1 + i % 2, "") for i, name in enumerate(AGENTS[4:])}),
        ring=queue_of("ring-all", {}, dict.fromkeys(AGENTS[2:7], (1, ""))),
    )


def test_eight_processes_some_of_them_killed_lose_nobody_and_ring_nobody_twice(house: House) -> None:
    house.begin("acme", a_company())
    dice = house.dice
    for number in range(CALLS):
        queue = dice.choice(["sales", "sales", "service", "ring"])
        skills = dice.choice([[], [], ["de"]]) if queue == "sales" else []
        given = {"queue": queue, "skills": skills, "priority": dice.choice([0, 0, 5]), "together": queue == "ring"}
        house.messages[f"call-{number}"] = {"given": given}
    waiting, kills = set(house.messages), list(KILLS)
    for call in house.messages:
        house.give(call)
    quiet = 0
    while waiting:
        done = house.hear()
        if done is None:
            quiet += 1
            assert quiet < 100, f"{len(waiting)} callers are stuck"
            for agent in AGENTS:  # whoever missed three calls is paused
                house.say(next(iter(house.workers)), do="agent", agent=agent, what="resume")
            house.sweep()
            continue
        house.owners.pop(done, None)
        waiting.discard(done)
        agent, what = dice.choice(AGENTS), dice.choice(["pause", "log_out", "elsewhere", "log_in", "log_in", "resume"])
        house.say(dice.choice(list(house.workers)), do="agent", agent=agent, what=what)
        if kills and CALLS - len(waiting) >= kills[0]:
            kills.pop(0)
            house.kill()
            house.start(1)
    assert not kills
    settle(house)
    assert house.model().callers == {}
    nobody_was_rung_twice(house)


def test_of_many_callers_before_eight_processes_the_earliest_are_served(house: House) -> None:
    house.begin("beta", members_of(sales=queue_of("random", {}, dict.fromkeys(AGENTS, (1, "")))))
    for agent in AGENTS:
        house.board.duty(house.company, agent, "pause")
    for number in range(STAYING):
        given = {"queue": "sales", "skills": [], "priority": number % 2, "together": False}
        house.messages[f"call-{number}"] = {"given": given, "stays": True}
        house.give(f"call-{number}")
    while len(house.model().callers) < STAYING:
        pass
    callers = house.model().callers
    order = sorted(callers, key=lambda call: (-callers[call].priority, callers[call].joined, call))
    for agent in AGENTS:
        house.say(house.dice.choice(list(house.workers)), do="agent", agent=agent, what="resume")
    while [one.doing for one in house.model().agents.values()].count(Doing.TALKING) < len(AGENTS):
        pass
    settle(house)
    last = callers[order[len(AGENTS) - 1]]
    served = [callers[one.call] for one in house.model().agents.values()]
    assert all((-one.priority, one.joined) <= (-last.priority, last.joined) for one in served)
    assert len(house.model().callers) == STAYING - len(AGENTS)
    nobody_was_rung_twice(house)


def settle(house: House) -> None:
    """All is done that was told; what rests comes to its end, and then there is nothing to decide."""
    for _ in range(2):  # what it was told before may have told it something more
        for name in house.workers:
            house.say(name, do="report")
        for _ in house.workers:
            assert house.waits.blpop(["test:ready"], timeout=30)
    while any(one.till > 0 and one.doing is not Doing.TALKING for one in house.model().agents.values()):
        house.sweep()
    model = house.model()
    assert model.unserved() == []
    settled = house.board.settle(house.company)
    assert settled is not None
    assert (settled.agents, settled.calls) == ((), ())
    assert sets_of(house.raw, house.company) == model.sets()


def nobody_was_rung_twice(house: House) -> None:
    """By the facts, and by what the workers saw of talks."""
    doing: dict[str, tuple[Doing, str]] = {}
    everything = [json.loads(fields[b"fact"]) for _, fields in house.raw.xrange(STREAM)]
    facts = [fact for fact in everything if fact["company"] == house.company]
    assert [fact["n"] for fact in facts] == list(range(1, len(facts) + 1))
    offers = 0
    for fact in facts:
        name, state, call = fact["data"]["agent"], fact["data"]["state"], fact["data"].get("call", "")
        now = SHOWN.get(state) or Doing(state)
        before, of = doing.get(name, (Doing.IDLE, ""))
        assert (before, now) in POSSIBLE
        assert not (before is now and now in (Doing.OFFERED, Doing.TALKING) and call != of)
        doing[name] = now, call
        offers += now is Doing.OFFERED
    assert offers >= len(AGENTS)
    talks: dict[str, str] = {}
    for line in house.raw.lrange(f"test:talks:{house.company}", 0, -1):
        what, agent, leg = json.loads(line)
        if what == "begins":
            assert agent not in talks
            talks[agent] = leg
        elif talks.get(agent) == leg:
            del talks[agent]
