"""An upgrade on the real switch, with a call in each of the places in which a call can be."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from callcontrol.switchboard import STREAM
from scripts.releases import link, make_release
from tests.switch.conftest import EVENTS
from tests.switch.harness import Caller, Phone, Press, Serve, Switch, Watch, until
from tests.switch.test_calls import RECEPTION, STRAIGHT, ends, plays, talks

pytestmark = [pytest.mark.switch, pytest.mark.timeout(120)]

RINGS, WAITS = "+74951230091", "+74951230092"
OLD, NEXT = "1.0.0", "2.0.0"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases side by side, and ``current``, which leads to the old one."""
    directory = tmp_path_factory.mktemp("opt")
    for version in (OLD, NEXT):
        make_release(directory / version, version)
    link(directory / "current", directory / OLD)
    return directory


@pytest.fixture(scope="module")
def serve(
    switch: Switch, port: int, redis_url: str, releases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """The company of the acceptance calls, with somebody who may ring for long and a queue that nobody serves."""
    routing = tmp_path_factory.mktemp("company") / "routing"
    shutil.copytree(switch.routing, routing)
    text = (routing / "acme.yaml").read_text()
    text = text.replace("\npeople:", f'  "{RINGS}": {{flow: rings}}\n  "{WAITS}": {{flow: waits}}\n\npeople:', 1)
    text = text.replace("\nflows:\n", "\nqueues: {desk: {agents: [303], max_wait: 10m}}\n\nflows:\n", 1).replace(
        "wait: 10s", "wait: 60s"
    )
    text += "  rings: {go: {dial: 302, ring: 2m, otherwise: hangup}}\n  waits: {go: {queue: desk, otherwise: hangup}}\n"
    (routing / "acme.yaml").write_text(text)
    program = str(releases / "current/bin/cordboard")
    with Serve(switch, port, redis_url, routing=routing, program=program) as started:
        yield started


def begins(watch: Watch, number: str) -> str:
    """The call to a number, when a controller has it."""
    event = watch.wait(
        f"a call to {number}",
        lambda e: (
            e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.get("variable_cordboard_called") == number
        ),
    )
    return event.call


def test_an_upgrade_drops_no_call_wherever_it_is(
    switch: Switch,
    serve: Serve,
    releases: Path,
    redis_url: str,
    phone: Callable[..., Phone],
) -> None:
    phone("301", "phone_hangs_up", ring=200, talk=60_000)
    phone("302", "phone_hangs_up", ring=45_000, talk=60_000)
    watch = switch.watch(*EVENTS)
    callers = {
        RECEPTION: Caller(switch, RECEPTION, [Press("3")]),
        STRAIGHT: Caller(switch, STRAIGHT),
        RINGS: Caller(switch, RINGS, scenario="caller_gives_up", number="+79161234568"),
        WAITS: Caller(switch, WAITS),
    }
    calls = {number: begins(watch, number) for number in callers}
    plays("greet", watch)
    talks(watch, calls[STRAIGHT])
    leg = watch.wait("302 rings", lambda e: e.get("variable_cordboard_call") == calls[RINGS])["Unique-ID"]
    until("they stand in the queue", lambda: any(f["type"] == "queue.joined" for f in serve.facts(calls[WAITS])))
    before = serve.controllers()

    link(releases / "current", releases / NEXT)
    said = serve.cordboard("upgrade", "--wait", "60")

    assert said.startswith(f"serve: {OLD} of ")
    assert not set(before) & set(serve.controllers())
    watch.catch_up()
    ended = {event.call for event in watch.events if event.name == "CHANNEL_HANGUP_COMPLETE"}
    assert not ended & {*calls.values(), leg}
    for number in (RECEPTION, RINGS, WAITS):  # somebody of the next release has it
        assert len({fact["epoch"] for fact in serve.facts(calls[number])}) > 1, number
    callers[RECEPTION].step()
    plays("leave", watch)
    for caller in callers.values():
        caller.hangup()
    for call in calls.values():
        ends(watch, call)
        serve.fact(call, "call.ended")
    told: Counter[str] = Counter()
    with redis.Redis.from_url(redis_url) as client:

        def all_told() -> bool:
            facts = [json.loads(entry[b"fact"]) for _, entry in client.xrange(STREAM)]
            told.clear()
            told.update(fact["call"] for fact in facts if fact["type"] == "call.ended")
            return all(told[call] for call in calls.values())

        until("the ends are told", all_told)
    assert {call: told[call] for call in calls.values()} == dict.fromkeys(calls.values(), 1)
    watch.close()
