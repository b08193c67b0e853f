"""Acceptance calls: the real switch, the configuration that we ship, ``cordboard serve``, telephones that speak SIP.

Every test begins its call through the carrier, waits for what the switch says it does, and acts on that.
The companies are in company/ beside this file; their sounds are tones.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.switch.harness import (
    Caller,
    Event,
    Phone,
    Press,
    Serve,
    Speak,
    Switch,
    Watch,
    until,
)

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

RECEPTION = "+74951230001"
STRAIGHT = "+74951230002"


def name_of(sound: str) -> str:
    """A sound by the name that the company gives it: the file played is named by its content, the name is beside it."""
    try:
        return Path(sound).with_suffix(".txt").read_text(encoding="utf-8").partition("\n")[2].strip()
    except OSError:
        return sound.rpartition("/")[2]


def plays(name: str, watch: Watch, after: int = 0) -> Event:
    """The event with which a sound begins, the ``after``-th of its name (0: the first)."""

    def matches(event: Event) -> bool:
        return (
            event.name == "CHANNEL_EXECUTE"
            and event["Application"] == "playback"
            and name_of(event["Application-Data"]) == f"{name}.wav"
        )

    return watch.wait(f"{name}.wav begins", lambda event: matches(event) and watch.events.index(event) >= after)


def talks(watch: Watch, caller: str) -> Event:
    return watch.wait("a talk", lambda e: e.name == "CHANNEL_BRIDGE" and caller in (e.call, e["Other-Leg-Unique-ID"]))


def ends(watch: Watch, call: str) -> Event:
    return watch.wait("the call ends", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == call)


def rung(watch: Watch, call: str) -> list[str]:
    """The telephones that the switch has called for this call so far, in order."""
    watch.catch_up()
    created = [e for e in watch.events if e.name == "CHANNEL_CREATE" and e.get("variable_cordboard_call") == call]
    return [event["Caller-Destination-Number"] for event in created]


def length(path: str) -> float:
    """Seconds of a WAV file."""
    with wave.open(path, "rb") as file:
        return file.getnframes() / file.getframerate()


def test_a_key_in_the_menu_rings_a_person_and_after_the_talk_the_call_goes_on(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("301", "phone_hangs_up", ring=300, talk=1500)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    caller.step()
    talks(watch, call)
    assert plays("thanks", watch).call == call
    caller.ended()
    assert ends(watch, call)["variable_sip_hangup_disposition"] == "send_bye"
    assert serve.fact(call, "talk.started")
    assert serve.fact(call, "call.ended")


def test_a_caller_who_hangs_up_in_a_talk_ends_the_call_once(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    anna = phone("301", "phone_answers", ring=100)
    caller = Caller(switch, STRAIGHT)
    event = watch.wait("a talk", lambda e: e.name == "CHANNEL_BRIDGE")
    call = event["Bridge-A-Unique-ID"]
    caller.hangup()
    ends(watch, call)
    until("the telephone is told", lambda: "BYE sip:" in anna.said())
    assert serve.fact(call, "call.ended")


def test_a_busy_person_leads_to_the_next(switch: Switch, watch: Watch, phone: Callable[..., Phone]) -> None:
    phone("301", "phone_refuses", status="486 Busy Here")
    phone("302", "phone_hangs_up", ring=100, talk=1500)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    caller.step()
    talks(watch, call)
    assert rung(watch, call) == ["301", "302"]
    plays("thanks", watch)
    caller.ended()


def test_people_without_a_phone_are_passed_over_at_once_and_the_next_sound_is_heard(
    switch: Switch, watch: Watch
) -> None:
    # Both refusals come sooner than the switch begins a sound: what was to play meanwhile must not play on.
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    caller.step()
    assert plays("bye", watch).call == call
    caller.ended()
    assert rung(watch, call) == []


def test_of_a_group_that_rings_together_the_first_who_answers_talks_and_the_others_stop_ringing(
    switch: Switch, watch: Watch, phone: Callable[..., Phone]
) -> None:
    quiet = phone("301", "phone_never_answers")
    phone("302", "phone_hangs_up", ring=700, talk=1500)
    phone("303", "phone_refuses", status="603 Decline")
    caller = Caller(switch, RECEPTION, [Press("2")])
    call = plays("greet", watch).call
    caller.step()
    talks(watch, call)
    until("301 stops ringing", lambda: "CANCEL sip:" in quiet.said())
    assert sorted(rung(watch, call)) == ["301", "302", "303"]
    plays("thanks", watch)
    caller.ended()


def test_a_caller_who_gives_up_stops_the_ringing(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    anna = phone("301", "phone_never_answers")
    caller = Caller(switch, STRAIGHT, scenario="caller_gives_up")
    until("301 rings", lambda: "INVITE sip:" in anna.said())
    until("the caller hears it ring", lambda: "SIP/2.0 180" in caller.said())
    caller.hangup()
    until("301 stops ringing", lambda: "CANCEL sip:" in anna.said())
    leg = watch.wait("the leg", lambda e: e.name == "CHANNEL_CREATE" and e["Call-Direction"] == "outbound")
    assert serve.fact(leg["variable_cordboard_call"], "call.ended")


def test_a_busy_outcome_is_a_real_486_before_anybody_has_answered(
    switch: Switch, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("301", "phone_refuses", status="603 Decline")
    Caller(switch, STRAIGHT, scenario="caller_refused", status=486).ended()


def test_a_number_that_nobody_owns_is_refused_with_404(switch: Switch, watch: Watch) -> None:
    Caller(switch, "+74959999999", scenario="caller_refused", status=404).ended()


@pytest.mark.parametrize("ending", ["key", "hangup"])
def test_a_message_is_a_whole_file_and_a_fact(switch: Switch, serve: Serve, watch: Watch, ending: str) -> None:
    speech = (Speak(2.0), Press("#")) if ending == "key" else (Speak(2.0),)
    caller = Caller(switch, RECEPTION, [Press("3"), speech])
    call = plays("greet", watch).call
    caller.step()
    watch.wait("the recording begins", lambda e: e.name == "RECORD_START")
    assert plays("leave", watch).call == call
    caller.step()
    if ending == "hangup":
        caller.hangup()
    stop = watch.wait("the recording ends", lambda e: e.name == "RECORD_STOP")
    path = stop["Record-File-Path"]
    assert Path(path).is_relative_to(switch.spool)
    assert 1.5 < length(path) < 3.0
    message = serve.fact(call, "message.recorded")
    assert message["company"] == "acme"
    if ending == "key":
        assert plays("bye", watch).call == call
        caller.ended()
    assert serve.fact(call, "call.ended")


def test_a_killed_controllers_caller_hears_the_menu_again_and_is_served(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("301", "phone_hangs_up", ring=100, talk=1500)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    heard = len(watch.events)
    serve.kill_controllers()
    assert plays("greet", watch, after=heard).call == call
    caller.step()
    talks(watch, call)
    plays("thanks", watch)
    caller.ended()
    assert serve.fact(call, "call.ended")


def test_a_killed_controllers_talk_goes_on_and_the_call_comes_back_after_it(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("301", "phone_hangs_up", ring=100, talk=15000)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    caller.step()
    talks(watch, call)
    serve.kill_controllers()
    # The telephone hangs up after three seconds of talk; had the talk been broken, it would not say BYE itself.
    assert plays("thanks", watch).call == call
    leg = watch.wait(
        "the leg ends", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.get("variable_cordboard_call") == call
    )
    assert leg["variable_sip_hangup_disposition"] == "recv_bye"
    caller.ended()
    assert serve.fact(call, "call.ended")


def test_a_phone_that_rings_as_its_controller_is_killed_rings_on_and_its_answer_counts(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    anna = phone("301", "phone_hangs_up", ring=2500, talk=1500)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    caller.step()
    until("301 rings", lambda: "INVITE sip:" in anna.said())
    serve.kill_controllers()
    talks(watch, call)
    assert rung(watch, call) == ["301"]
    assert "CANCEL sip:" not in anna.said()
    plays("thanks", watch)
    caller.ended()


def test_a_hostile_caller_name_forges_nothing(switch: Switch, serve: Serve, watch: Watch) -> None:
    name = "Bob%0Avariable_cordboard_state: e30%0AUnique-ID: 00000000"
    caller = Caller(switch, RECEPTION, name=name)
    event = plays("greet", watch)
    assert "%0A" in event["Caller-Caller-ID-Name"] or "\n" in event["Caller-Caller-ID-Name"]
    started = serve.fact(event.call, "call.started")
    assert started["company"] == "acme"
    assert not any(ord(character) < 32 for value in started["data"].values() for character in str(value))
    caller.hangup()
    assert ends(watch, event.call)
    assert serve.fact(event.call, "call.ended")


def test_a_message_goes_on_while_every_controller_is_killed(switch: Switch, serve: Serve, watch: Watch) -> None:
    caller = Caller(switch, RECEPTION, [Press("3"), Speak(2.0), (Speak(1.0), Press("#"))])
    call = plays("greet", watch).call
    caller.step()
    watch.wait("the recording begins", lambda e: e.name == "RECORD_START")
    caller.step()
    serve.kill_controllers()
    until("the call is taken over", lambda: any(f["type"] == "call.taken_over" for f in serve.facts(call)))
    caller.step()
    stop = watch.wait("the recording ends", lambda e: e.name == "RECORD_STOP")
    assert length(stop["Record-File-Path"]) > 2.5
    assert plays("bye", watch).call == call
    caller.ended()
    assert len([fact for fact in serve.facts(call) if fact["type"] == "message.recorded"]) == 1
    assert len([event for event in watch.events if event.name == "RECORD_START"]) == 1


def test_five_restarts_in_one_waiting_call(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("301", "phone_hangs_up", ring=100, talk=1500)
    caller = Caller(switch, RECEPTION, [Press("1")])
    call = plays("greet", watch).call
    for _ in range(5):
        heard = len(watch.events)
        serve.kill_controllers()
        assert plays("greet", watch, after=heard).call == call
    caller.step()
    talks(watch, call)
    plays("thanks", watch)
    caller.ended()
    epochs = [fact["epoch"] for fact in serve.facts(call) if fact["type"] == "call.taken_over"]
    assert epochs == sorted(set(epochs))
    assert len(epochs) >= 6


@pytest.mark.parametrize(
    ("name", "number"),
    [("A" * 10_000, "+79161234567"), ("%" * 10_000, "+79161234567"), ("Kate", "9" * 5_000)],
    ids=["name", "percent", "number"],
)
def test_a_caller_with_an_endless_name_or_number_is_refused_at_once(
    switch: Switch, serve: Serve, name: str, number: str
) -> None:
    mark = len(serve.log())
    Caller(switch, RECEPTION, scenario="caller_refused", status=603, name=name, number=number).ended(5)
    assert "brought no call" not in serve.log()[mark:]
