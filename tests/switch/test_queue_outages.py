"""Queues while something that they need is away: the switch itself, the way to it, Redis.

The company is company/heron.yaml.  Every test has controllers and a Redis of its own; the controllers' way to the
switch's event socket can be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from callcontrol.embedded import EmbeddedRedis
from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from tests.switch.conftest import EVENTS
from tests.switch.harness import Cable, Phone, Serve, Switch, Watch, until
from tests.switch.test_calls import ends, rung, talks
from tests.switch.test_queues import COMPANY, LONE, PAIR, connections, frees, standing, state, waits

pytestmark = [pytest.mark.switch, pytest.mark.timeout(150)]


@pytest.fixture
def cable(switch: Switch) -> Iterator[Cable]:
    """The controllers' way to the switch's event socket."""
    plain = switch.home / "cordboard.yaml"
    text = plain.read_text()
    with Cable(switch.esl_port) as cable:
        plain.write_text(text.replace(f"port: {switch.esl_port}", f"port: {cable.port}"))
        yield cable
        plain.write_text(text)


@pytest.fixture
def serve(switch: Switch, cable: Cable, port: int, own_redis: EmbeddedRedis) -> Iterator[Serve]:
    with Serve(switch, port, own_redis.url) as serve:
        yield serve


@pytest.fixture
def queues(serve: Serve, own_redis: EmbeddedRedis) -> Iterator[QueueBoard]:
    switchboard = Switchboard(own_redis.url, name="test")
    yield QueueBoard(switchboard)
    switchboard.close()


def test_a_switch_that_is_killed_and_started_again_leaves_nobody_stuck_and_the_next_call_is_served(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("303", "phone_answers", ring=100)
    mona = phone("301", "phone_never_answers")
    calls = [waits(switch, watch, queues, to)[1] for to in (LONE, LONE, PAIR)]
    talks(watch, calls[0])
    until("Mona rings", lambda: "SIP/2.0 180" in mona.said())
    until("Olga talks", lambda: state(queues, "303") == "talking")
    before = connections(serve)
    switch.stop()
    switch.start(switch.variables)
    until("the controllers are back", lambda: connections(serve) == before + serve.processes, 30)
    frees(queues, 30)
    for call in calls:
        assert serve.fact(call, "call.ended")
    phone("303", "phone_hangs_up", ring=100, talk=500)
    watch = switch.watch(*EVENTS)
    caller, call = waits(switch, watch, queues, LONE)
    talks(watch, call)
    caller.ended()
    watch.close()
    frees(queues)


@pytest.mark.parametrize("answers", ["afterwards", "meanwhile"])
def test_the_way_to_the_switch_is_cut_while_agents_ring_and_the_one_who_answers_is_joined(
    switch: Switch,
    serve: Serve,
    watch: Watch,
    phone: Callable[..., Phone],
    queues: QueueBoard,
    cable: Cable,
    answers: str,
) -> None:
    mona = phone("301", "phone_answers", ring=1000 if answers == "meanwhile" else 4000)
    nils = phone("302", "phone_never_answers")
    caller, call = waits(switch, watch, queues, PAIR)
    until("both ring", lambda: all("SIP/2.0 180" in each.said() for each in (mona, nils)))
    before = connections(serve)
    cable.cut()
    if answers == "meanwhile":
        until("Mona has answered", lambda: "SIP/2.0 200 OK" in mona.said())
    cable.mend()
    until("the controllers are back", lambda: connections(serve) == before + serve.processes)
    talks(watch, call)
    until("the other telephone is quiet", lambda: "CANCEL sip:" in nils.said())
    assert sorted(rung(watch, call)) == ["301", "302"]
    until("Mona talks", lambda: state(queues, "301") == "talking")
    caller.hangup()
    frees(queues)
    assert serve.fact(call, "talk.ended")


def test_while_redis_is_away_a_talk_goes_on_nobody_is_offered_and_those_who_wait_keep_their_places(
    switch: Switch,
    serve: Serve,
    watch: Watch,
    phone: Callable[..., Phone],
    queues: QueueBoard,
    own_redis: EmbeddedRedis,
) -> None:
    olga = phone("303", "phone_answers", ring=100)
    callers = [waits(switch, watch, queues, LONE) for _ in range(3)]
    (first, one), (_, two), (_, three) = callers
    talks(watch, one)
    until("two wait", lambda: standing(queues) == [two, three])
    own_redis.stop()
    until("they know", lambda: "Redis is away" in serve.log())
    own_redis.start()
    until("it is back", lambda: queues.look(COMPANY) is not None)
    until("two wait still", lambda: standing(queues) == [two, three])
    assert state(queues, "303") == "talking"
    assert "BYE sip:" not in olga.said()
    own_redis.stop()
    first.hangup()
    ends(watch, one)
    assert rung(watch, two) == rung(watch, three) == []
    own_redis.start()
    for caller, call in callers[1:]:
        talks(watch, call)
        caller.hangup()
    frees(queues, 30)
    answered = [serve.fact(call, "queue.answered")["at"] for _, call in callers]
    assert answered == sorted(answered)
