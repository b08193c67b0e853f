"""Queues on the real switch: two answers at once, callers who leave, controllers and a switch that die.

The company is company/heron.yaml.  Who stands where is read from Redis, what is heard and rung from the switch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from tests.switch.harness import Caller, Dialler, Phone, Serve, Switch, Watch, until
from tests.switch.test_calls import ends, rung, talks

pytestmark = [pytest.mark.switch, pytest.mark.timeout(120)]

COMPANY = "heron"
PAIR, LONE = "+74951230030", "+74951230031"
AGENTS = ("301", "302", "303")


@pytest.fixture(scope="module")
def queues(serve: Serve, redis_url: str) -> Iterator[QueueBoard]:
    switchboard = Switchboard(redis_url, name="test")
    yield QueueBoard(switchboard)
    switchboard.close()


@pytest.fixture(autouse=True)
def quiet(queues: QueueBoard, serve: Serve) -> Iterator[None]:
    """Each test begins and ends with nobody in a queue and every agent free."""
    until("every controller lives", lambda: len(serve.controllers()) == serve.processes, 30)
    yield
    for agent in AGENTS:
        queues.duty(COMPANY, agent, "pause")  # ends delays
        queues.duty(COMPANY, agent, "resume")
    until("nobody is left in a queue", partial(settled, queues), 40)


def settled(queues: QueueBoard) -> bool:
    seen = queues.look(COMPANY)
    return seen is not None and not seen["waiting"] and all(one["doing"] == "idle" for one in seen["members"])


def state(queues: QueueBoard, agent: str) -> str:
    seen = queues.look(COMPANY)
    assert seen is not None
    return str(next(member["doing"] for member in seen["members"] if member["agent"] == agent))


def standing(queues: QueueBoard) -> list[str]:
    """The calls that wait, in order."""
    seen = queues.look(COMPANY)
    assert seen is not None
    return [call for _, call in sorted((one["joined"], str(one["call"])) for one in seen["waiting"])]


def waits(switch: Switch, watch: Watch, queues: QueueBoard, to: str, **more: Any) -> tuple[Caller, str]:
    """A caller who stands in a queue, or has an agent already, and the call."""
    watch.catch_up()
    seen = len(watch.events)
    caller = Caller(switch, to, **more)
    event = watch.wait(
        f"a call to {to}",
        lambda e: (
            watch.events.index(e) >= seen
            and e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.get("variable_cordboard_called") == to
        ),
    )
    return caller, event.call


def test_a_caller_waits_is_offered_and_talks_and_the_agent_takes_the_next(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("303", "phone_hangs_up", ring=200, talk=700)
    first, one = waits(switch, watch, queues, LONE)
    second, two = waits(switch, watch, queues, LONE)
    for caller, call in ((first, one), (second, two)):
        talks(watch, call)
        caller.ended()
        told = [f["type"] for f in serve.facts(call) if f["type"].startswith("queue.")]
        assert told == ["queue.joined", "queue.offered", "queue.answered"]
    until("the agent is free", lambda: state(queues, "303") == "idle")


@pytest.mark.parametrize("apart", [0, 5, 20, 50])
def test_two_agents_who_answer_together_make_one_talk_and_the_other_takes_the_next_caller(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, apart: int
) -> None:
    phone("301", "phone_hangs_up", ring=400, talk=1200)
    phone("302", "phone_hangs_up", ring=400 + apart, talk=1200)
    first, one = waits(switch, watch, queues, PAIR)
    second, two = waits(switch, watch, queues, PAIR)
    for caller, call in ((first, one), (second, two)):
        talks(watch, call)
        caller.ended()
        assert serve.fact(call, "call.ended")
    answered = [f["data"]["agent"] for c in (one, two) for f in serve.facts(c) if f["type"] == "queue.answered"]
    assert sorted(answered) == ["301", "302"]


def test_a_caller_who_leaves_while_the_agent_rings_frees_the_agent(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_never_answers")
    caller, call = waits(switch, watch, queues, LONE)
    until("Olga rings", lambda: "SIP/2.0 180" in olga.said())
    until("the caller hears music", lambda: "SIP/2.0 200 OK" in caller.said())
    caller.hangup()
    until("Olga's telephone is quiet", lambda: "CANCEL sip:" in olga.said())
    ends(watch, call)
    assert serve.fact(call, "queue.abandoned")
    until("Olga is free", lambda: settled(queues))


@pytest.mark.parametrize("later", [0.0, 0.01, 0.02, 0.03, 0.045, 0.06])
def test_an_agent_who_answers_as_the_caller_leaves_is_free_again(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, later: float
) -> None:
    olga = phone("303", "phone_answers", ring=600)
    caller, call = waits(switch, watch, queues, LONE)
    until("the caller hears music", lambda: "SIP/2.0 200 OK" in caller.said())
    until("Olga answers", lambda: "SIP/2.0 200 OK" in olga.said())
    time.sleep(later)  # the moments between the answer and the talk, one after another
    caller.hangup()
    ends(watch, call)
    until("Olga is free", lambda: settled(queues))
    # Two may write it, since it ends as they are joined; of these one is told (tests/test_queue_stories.py).
    until("its end is told", lambda: any(fact["type"] == "call.ended" for fact in serve.facts(call)))


def test_waiting_callers_keep_their_places_when_every_controller_is_killed(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    callers = [waits(switch, watch, queues, LONE) for _ in range(3)]
    calls = [call for _, call in callers]
    until("all stand in the queue", lambda: standing(queues) == calls)
    serve.kill_controllers()
    for call in calls:
        assert serve.fact(call, "call.taken_over")
    assert standing(queues) == calls
    phone("303", "phone_hangs_up", ring=100, talk=300)
    for caller, call in callers:
        talks(watch, call)
        caller.ended()
    times = [serve.fact(call, "queue.answered")["at"] for call in calls]
    assert times == sorted(times)


def test_a_ringing_agent_rings_on_when_every_controller_is_killed_and_is_joined(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_hangs_up", ring=8000, talk=700)  # longer than it takes until there are new controllers
    caller, call = waits(switch, watch, queues, LONE)
    until("Olga rings", lambda: "SIP/2.0 180" in olga.said())
    assert serve.fact(call, "leg.rung")
    serve.kill_controllers()
    talks(watch, call)
    caller.ended()
    assert rung(watch, call) == ["303"]
    assert "CANCEL sip:" not in olga.said()


def test_a_talk_goes_on_when_every_controller_is_killed_and_its_end_frees_the_agent(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_answers", ring=100)
    caller, call = waits(switch, watch, queues, LONE)
    talks(watch, call)
    until("Olga talks", lambda: state(queues, "303") == "talking")
    before = serve.log().count("connected to the switch")
    serve.kill_controllers()
    until("new controllers", lambda: serve.log().count("connected to the switch") == before + serve.processes, 30)
    assert "BYE sip:" not in olga.said()
    assert state(queues, "303") == "talking"
    caller.hangup()
    until("Olga is free", lambda: settled(queues), 20)
    assert serve.fact(call, "talk.ended")


def test_an_agent_on_another_call_is_not_rung(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("301", "phone_answers", ring=100)
    phone("302", "phone_hangs_up", ring=100, talk=700)
    colleague = Dialler(switch, "303", "301", company=COMPANY)
    until("Mona is on another call", lambda: state(queues, "301") == "elsewhere")
    until("and so is Olga, who calls", lambda: state(queues, "303") == "elsewhere")
    caller, call = waits(switch, watch, queues, PAIR)
    talks(watch, call)
    caller.ended()
    assert rung(watch, call) == ["302"]
    colleague.hangup()
    until("both are free", lambda: settled(queues))


def test_an_agent_pauses_and_resumes_by_codes(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("303", "phone_hangs_up", ring=100, talk=500)
    Dialler(switch, "303", "*43", company=COMPANY).ended()
    refused = Caller(switch, LONE, scenario="caller_refused", status=486)
    refused.ended()
    Dialler(switch, "303", "*44", company=COMPANY).ended()
    caller, call = waits(switch, watch, queues, LONE)
    talks(watch, call)
    caller.ended()
