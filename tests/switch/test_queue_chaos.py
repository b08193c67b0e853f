"""Queues on the real switch while controllers are killed at random: nobody is stuck, and every call ends once.

``CORDBOARD_TEST_CHAOS`` is how many call, 20 if it is not given; ``CORDBOARD_TEST_SEED`` makes it the same chaos again.
The company is company/heron.yaml.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import redis

from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from tests.switch.harness import Caller, Event, Phone, Serve, Switch, Watch, until
from tests.switch.test_queues import LONE, PAIR, ROW, TRIO, at, channels, frees

CALLS = int(os.environ.get("CORDBOARD_TEST_CHAOS", "20"))
SEED = os.environ.get("CORDBOARD_TEST_SEED", "") or str(random.randrange(10**6))
#: A controller is killed so often, seconds; and one who calls comes so long after the other at most.
KILL_EVERY, COMES_WITHIN = 2.0, 0.8
#: The whole may take so long, seconds.
PATIENCE = 60.0 + 3.0 * CALLS
#: How long agents let it ring, and talk, milliseconds.
AGENTS = {"301": (150, 700), "302": (300, 1000), "303": (80, 500)}

pytestmark = [pytest.mark.switch, pytest.mark.timeout(round(PATIENCE) + 120)]


@pytest.fixture
def serve(switch: Switch, port: int, redis_url: str) -> Iterator[Serve]:
    with Serve(switch, port, redis_url, processes=3) as serve:
        yield serve


@pytest.fixture
def queues(serve: Serve, redis_url: str) -> Iterator[QueueBoard]:
    switchboard = Switchboard(redis_url, name="test")
    yield QueueBoard(switchboard)
    switchboard.close()


def test_callers_are_served_or_leave_while_controllers_are_killed(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, redis_url: str
) -> None:
    print(f"CORDBOARD_TEST_CHAOS={CALLS} CORDBOARD_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    for agent, (ring, talk) in AGENTS.items():
        phone(agent, "phone_hangs_up", company="heron", ring=ring, talk=talk)
    callers: list[Caller] = []
    kills, kill_at, come_at = 0, time.monotonic() + KILL_EVERY / 2, time.monotonic()
    deadline = time.monotonic() + PATIENCE
    while len(callers) < CALLS or any(caller.process.poll() is None for caller in callers):
        watch.catch_up()
        now = time.monotonic()
        assert now < deadline, f"{sum(caller.process.poll() is None for caller in callers)} are still there"
        # Not one before all are there again: a caller whom no controller takes for ten seconds is refused, and rightly.
        if now >= kill_at and serve.log().count("ready for calls") == serve.processes + kills:
            os.kill(chance.choice(serve.controllers()), signal.SIGKILL)
            kills, kill_at = kills + 1, now + KILL_EVERY
        if now >= come_at and len(callers) < CALLS:
            callers.append(comes(switch, chance))
            come_at = now + chance.uniform(0, COMES_WITHIN)
        time.sleep(0.01)
    for caller in callers:
        caller.ended()
    frees(queues, 60)
    until("nobody is left on the telephone", lambda: channels(watch) == 0)
    watch.catch_up()
    calls = {event.call for event in watch.events if event.get("Application") == "socket"}
    assert len(calls) == CALLS
    assert kills >= 2
    until("every end is told", lambda: set(ends(redis_url)) >= calls, 30)
    assert {call: times for call, times in ends(redis_url).items() if call in calls and times != 1} == {}
    for agent in AGENTS:
        assert together(watch.events, agent) == []


def comes(switch: Switch, chance: random.Random) -> Caller:
    """Somebody who calls, and stays until an agent hangs up, or not so long."""
    to = chance.choice((LONE, PAIR, ROW, TRIO))
    if chance.random() < 0.7:
        return Caller(switch, to)
    return Caller(switch, to, scenario="caller_leaves", stay=chance.randrange(50, 3000))


def ends(redis_url: str) -> Counter[str]:
    """How often the end of each call stands in the stream."""
    with redis.Redis.from_url(redis_url) as client:
        facts = [json.loads(entry[b"fact"]) for _, entry in client.xrange("cordboard:facts")]
    return Counter(str(fact["call"]) for fact in facts if fact["type"] == "call.ended")


def together(events: list[Event], agent: str) -> list[str]:
    """The legs of an agent that rang, or talked, at the same time: longer than a cancelled one takes to end."""
    begun = [event for event in events if event.name == "CHANNEL_CREATE" and leads_to(event, agent)]
    ended = {event.call: at(event) for event in events if event.name == "CHANNEL_HANGUP_COMPLETE"}
    return [
        f"{one.call} of {one['variable_cordboard_call']} and {other.call} of {other['variable_cordboard_call']}"
        f" for {ended[one.call] - at(other):.3f} s"
        for one, other in pairwise(begun)
        if ended[one.call] - at(other) > 0.1
    ]


def leads_to(event: Event, agent: str) -> bool:
    """Whether a channel is a leg to this agent."""
    return bool(event.get("variable_cordboard_call")) and event["Caller-Destination-Number"] == agent
