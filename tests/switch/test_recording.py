"""Recordings of talks on the real switch: whose voice is on which side, silence while paused, and what ends them.

The last test ends the controllers of the module.  The company is company/otter.yaml.  Both ends play tones, the caller
one of 400 Hz, who answers one of 1,000.
"""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callcontrol.commands import Refused, ask
from tests.switch.harness import Caller, Event, Outside, Serve, Speak, Switch, Watch, until
from tests.switch.test_calls import ends, talks
from tests.switch.test_people import comes, hears

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

COMPANY = "otter"
TWICE, DEMAND, TOLD, MESSAGE = (f"+7495123005{n}" for n in range(4))
LOW, HIGH = 400, 1000
RATE = 8000


def stops(watch: Watch, name: str) -> Event:
    return watch.wait(
        f"the end of {name}", lambda e: e.name == "RECORD_STOP" and e["Record-File-Path"].endswith("/" + name)
    )


def expected(serve: Serve, call: str, segment: int = 1) -> dict[str, Any]:
    """What was said of a segment before it began."""

    def found() -> list[dict[str, Any]]:
        facts = [fact["data"] for fact in serve.facts(call) if fact["type"] == "recording.expected"]
        return [data for data in facts if data["segment"] == segment]

    until(f"segment {segment} is expected", found)
    return found()[0]


def told(serve: Serve, call: str, file: str) -> list[str]:
    """What was told of a file."""
    return [fact["type"] for fact in serve.facts(call) if fact["data"].get("file") == file]


def is_told(serve: Serve, call: str, file: str) -> bool:
    """Whether it is told that the recording has stopped."""
    return "recording.stopped" in told(serve, call, file)


def sides(path: Path) -> tuple[list[int], list[int]]:
    """The samples on the left and on the right."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RATE)
        frames = file.readframes(file.getnframes())
    samples = struct.unpack(f"<{len(frames) // 2}h", frames)
    return list(samples[::2]), list(samples[1::2])


def has(samples: list[int], hertz: int) -> float:
    """How much of this tone there is in each 100 ms, the most of it (Goertzel)."""
    most = 0.0
    turn = 2 * math.cos(2 * math.pi * hertz / RATE)
    for begin in range(0, len(samples) - 800, 800):
        one = two = 0.0
        for sample in samples[begin : begin + 800]:
            one, two = sample + turn * one - two, one
        most = max(most, math.sqrt(max(0.0, one * one + two * two - turn * one * two)) / 400)
    return most


def command(redis_url: str, verb: str, call: str) -> dict[str, Any]:
    return ask(redis_url, "switch1", verb, {"company": COMPANY, "call": call}, by="a test")


def both_speak(caller: Caller, agent: Outside) -> None:
    """Returns when both have spoken for a second."""
    agent.step()
    caller.step()


def test_the_caller_is_on_the_left_who_answers_on_the_right_and_the_next_talk_is_the_next_segment(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    agent = carrier("phone_presses", [Speak(1.0, HIGH)], ring=100)
    caller = Caller(switch, TWICE, [Speak(1.2, LOW)])
    call = comes(watch, TWICE)
    talks(watch, call)
    first = expected(serve, call)
    assert first["rule"] == "step twice/first: always"
    assert first["consent"] is False
    hear = serve.log().count("connected to the switch") + serve.processes
    serve.kill_controllers()  # nobody who began it lives
    both_speak(caller, agent)
    until("others hear the switch", lambda: serve.log().count("connected to the switch") >= hear)
    agent.step()  # hangs up: the call comes back
    stop = stops(watch, first["file"])
    hears(watch, "One moment.", call)
    left, right = sides(switch.spool / first["file"])
    assert has(left, LOW) > 2000 > 500 > has(left, HIGH)
    assert has(right, HIGH) > 2000 > 500 > has(right, LOW)
    assert int(stop["variable_record_ms"]) == len(left) * 1000 // RATE
    second = expected(serve, call, 2)
    assert second["with"] == "+79161112277"
    until("they talk again", lambda: len(bridges(watch, call)) == 2)
    caller.hangup()
    ends(watch, call)
    stops(watch, second["file"])
    for file in (first["file"], second["file"]):
        until("its end is told", partial(is_told, serve, call, file))
        assert told(serve, call, file).count("recording.stopped") == 1
    assert {path.name for path in switch.spool.glob(f"*{call}*")} == {first["file"], second["file"]}


def bridges(watch: Watch, call: str) -> list[Event]:
    watch.catch_up()
    return [event for event in watch.events if event.name == "CHANNEL_BRIDGE" and event.call == call]


def test_nothing_is_recorded_on_demand_until_it_is_asked_for_and_a_pause_is_silence_on_both_sides(
    switch: Switch, serve: Serve, watch: Watch, redis_url: str, carrier: Callable[..., Outside]
) -> None:
    agent = carrier("phone_presses", [Speak(0.5, HIGH), Speak(0.8, HIGH), Speak(0.5, HIGH), Speak(0.5, HIGH)], ring=100)
    caller = Caller(switch, DEMAND, [Speak(0.7, LOW), Speak(1.0, LOW), Speak(0.7, LOW)])
    call = comes(watch, DEMAND)
    talks(watch, call)
    serve.fact(call, "talk.started")
    assert not list(switch.spool.glob(f"*{call}*"))
    with pytest.raises(Refused, match="not recorded"):
        command(redis_url, "recording.pause", call)
    file = command(redis_url, "recording.start", call)["file"]
    with pytest.raises(Refused, match="is being recorded"):
        command(redis_url, "recording.start", call)
    both_speak(caller, agent)
    assert command(redis_url, "recording.pause", call)["state"] == "paused"
    both_speak(caller, agent)
    command(redis_url, "recording.resume", call)
    both_speak(caller, agent)
    command(redis_url, "recording.stop", call)
    stops(watch, file)
    left, right = sides(switch.spool / file)
    for side, tone in ((left, LOW), (right, HIGH)):
        loud = [has(side[begin : begin + 801], tone) > 2000 for begin in range(0, len(side) - 801, 800)]
        middle = "".join("x" if one else "." for one in loud).strip(".")
        assert "......" in middle, middle  # six tenths of a second of the eight in which they spoke
    assert told(serve, call, file) == [
        f"recording.{what}" for what in ("expected", "started", "paused", "resumed", "stopped")
    ]
    with pytest.raises(Refused, match="not recorded"):
        command(redis_url, "recording.stop", call)
    again = command(redis_url, "recording.start", call)["file"]
    assert again.endswith("_s2.wav")
    caller.hangup()
    ends(watch, call)
    stops(watch, again)
    with pytest.raises(Refused, match="no call"):
        command(redis_url, "recording.start", call)


def test_a_talk_that_may_not_be_recorded_is_not(
    switch: Switch, serve: Serve, watch: Watch, redis_url: str, carrier: Callable[..., Outside]
) -> None:
    carrier("phone_answers", ring=100)
    caller = Caller(switch, TOLD)
    call = comes(watch, TOLD)
    talks(watch, call)
    serve.fact(call, "talk.started")
    with pytest.raises(Refused, match="no rule"):
        command(redis_url, "recording.start", call)
    caller.hangup()
    ends(watch, call)
    assert not list(switch.spool.glob(f"*{call}*"))


def test_a_spool_that_cannot_be_written_stops_the_recording_and_not_the_call(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    agent = carrier("phone_presses", ring=100)
    away = switch.spool.rename(switch.spool.with_name("away"))
    try:
        switch.spool.write_text("a file where the directory was: root, too, cannot write into it")
        caller = Caller(switch, TWICE)
        call = comes(watch, TWICE)
        talks(watch, call)
        failed = serve.fact(call, "recording.failed")
        assert expected(serve, call)["file"] == failed["data"]["file"]
        agent.step()
        hears(watch, "One moment.", call)
        caller.hangup()
        ends(watch, call)
    finally:
        switch.spool.unlink()
        away.rename(switch.spool)


def test_a_message_goes_on_although_controllers_die_and_the_call_goes_through_the_way_back(
    switch: Switch, serve: Serve, watch: Watch
) -> None:
    caller = Caller(switch, MESSAGE, [Speak(2.0, LOW)])
    call = comes(watch, MESSAGE)
    started = watch.wait("it is recorded", lambda e: e.name == "RECORD_START" and e.call == call)
    # As if the call had come back from a talk: the way on which recordings of talks end.
    watch.api(f"uuid_setvar {call} cordboard_file {switch.spool}/otter_{call}_leg_s1.wav")
    watch.api(f"uuid_transfer {call} cordboard_resume XML cordboard")
    watch.wait("the way back", lambda e: e.get("Application") == "stop_record_session" and e.call == call)
    watch.wait(
        "a controller has it again",
        lambda e: (
            e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.call == call
            and e["Caller-Destination-Number"] == "cordboard_resume"
        ),
    )
    caller.step()
    caller.hangup()
    ends(watch, call)
    message = serve.fact(call, "message.recorded")["data"]
    assert len(message["files"]) == 1
    assert started["Record-File-Path"].endswith(message["files"][0])
    assert message["seconds"] > 1.5


def test_the_recording_ends_with_the_talk_although_no_controller_lives_and_the_file_is_whole(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    agent = carrier("phone_presses", ring=100)
    caller = Caller(switch, TWICE)
    call = comes(watch, TWICE)
    talks(watch, call)
    file = expected(serve, call)["file"]
    serve.fact(call, "talk.started")
    serve.__exit__(None, None, None)
    assert watch.api(f"uuid_exists {call}") == "true"
    agent.step()
    stop = stops(watch, file)
    again = watch.wait(
        "the dialplan ends it", lambda e: e.get("Application") == "stop_record_session" and e.call == call
    )
    assert again["Application-Data"] == f"{switch.spool}/{file}"
    left, _ = sides(switch.spool / file)
    assert abs(len(left) * 1000 // RATE - int(stop["variable_record_ms"])) <= 1
    caller.stop()
