"""People and the world outside, on the real switch with ``cordboard serve``: colleagues, forwards, trunks, codes.

The company is company/crane.yaml; nothing it says is a file, so each sound is known by the words that were rendered.
A carrier (SIPp) stands behind each gateway; one that no test has started is a closed port.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.switch.harness import (
    Caller,
    Dialler,
    Event,
    Outside,
    Phone,
    Press,
    Serve,
    Speak,
    Switch,
    Watch,
    until,
)
from tests.switch.test_calls import ends, length, name_of, rung, talks

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

COMPANY = "crane"
FRONT = "+74951230020"
HUGO, IDA, JAN, KLARA, LARS = (f"+7495123002{n}" for n in (3, 4, 5, 6, 7))
MOBILE = "+79161112233"
CALLER = "+79161234567"
QUESTION = "A call for you. To take it, press 1."
WHISPER = "A call for Cranes."


def dials(switch: Switch, to: str, extension: str = "301", **more: Any) -> Dialler:
    """Somebody at a phone of the company dials, Fedor if nobody is named."""
    return Dialler(switch, extension, to, company=COMPANY, **more)


def comes(watch: Watch, called: str) -> str:
    """The call to a number, once it has come to a controller."""
    return watch.wait(
        f"a call to {called}",
        lambda e: (
            e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.get("variable_cordboard_called") == called
        ),
    ).call


def hears(watch: Watch, words: str, call: str | None = None, after: int = 0) -> Event:
    """The event with which a channel (of ``call``, or any) begins to hear these words."""

    def matches(event: Event) -> bool:
        played = re.findall(r"/[^!\s]+\.wav", event.get("Application-Data", ""))
        return event.name == "CHANNEL_EXECUTE" and words in [name_of(sound) for sound in played]

    return watch.wait(
        f"{words!r} begins", lambda e: matches(e) and call in (None, e.call) and watch.events.index(e) >= after
    )


def leg_of(watch: Watch, call: str) -> str:
    """The first leg that was rung for a call."""
    return watch.wait("a leg", lambda e: e.name == "CHANNEL_CREATE" and e.get("variable_cordboard_call") == call).call


def invite(telephone: Phone) -> str:
    """The one INVITE that a telephone got."""
    until("it rings", lambda: "INVITE sip:" in telephone.said())
    found: set[str] = set(re.findall(r"^INVITE sip:.*?\r?\n\r?\n", telephone.said(), re.MULTILINE | re.DOTALL))
    (only,) = found
    return only


def kinds(serve: Serve, call: str) -> list[str]:
    """What was told of a call, in order, once its end was."""
    assert serve.fact(call, "call.ended")
    return [fact["type"] for fact in serve.facts(call)]


# -- colleagues ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["caller", "colleague"])
def test_colleagues_talk_until_one_of_them_hangs_up(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], who: str
) -> None:
    greta = phone("302", "phone_answers" if who == "caller" else "phone_hangs_up", ring=100, talk=1500)
    # What it says of itself is not what is shown.
    fedor = dials(switch, "302", name="Somebody", number="+74990000000")
    call = comes(watch, "302")
    talks(watch, call)
    if who == "caller":
        fedor.hangup()
        until("Greta is told", lambda: "BYE sip:" in greta.said())
    else:
        fedor.ended()
    ends(watch, call)
    assert 'From: "Fedor Lind" <sip:301@' in invite(greta)
    told = kinds(serve, call)
    assert [told.count(kind) for kind in ("talk.started", "talk.ended", "call.ended")] == [1, 1, 1]
    assert told[-1] == "call.ended"
    assert serve.fact(call, "talk.started")["data"]["with"] == "302"


def test_a_busy_colleague_is_a_real_486(switch: Switch, watch: Watch, phone: Callable[..., Phone]) -> None:
    phone("302", "phone_refuses", status="486 Busy Here")
    dials(switch, "302", scenario="phone_refused", status=486).ended()


def test_a_colleague_without_a_phone_is_a_real_480(switch: Switch, watch: Watch) -> None:
    dials(switch, "302", scenario="phone_refused", status=480).ended()


def test_a_whisper_is_heard_by_the_one_who_is_called_and_before_the_talk(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone]
) -> None:
    phone("306", "phone_answers", ring=100)
    caller = Caller(switch, KLARA)
    call = comes(watch, KLARA)
    whisper = hears(watch, WHISPER)
    assert whisper.call == leg_of(watch, call)
    # Nothing is heard by somebody whose call has not been answered.
    assert not re.search("^SIP/2.0 (183|200)", caller.said(), re.MULTILINE)
    talk = talks(watch, call)
    assert watch.events.index(whisper) < watch.events.index(talk)
    caller.hangup()
    assert [e.call for e in watch.events if e.get("Application") == "playback"] == [whisper.call]
    assert serve.fact(call, "call.ended")


# -- forwards ------------------------------------------------------------------------------------------------


def test_a_busy_person_is_reached_at_the_mobile_by_pressing_1(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], carrier: Callable[..., Outside]
) -> None:
    phone("303", "phone_refuses", status="486 Busy Here")
    mobile = carrier("phone_presses", [Press("1")], ring=100)
    caller = Caller(switch, HUGO)
    call = comes(watch, HUGO)
    leg = hears(watch, QUESTION).call
    mobile.step()
    talk = talks(watch, call)
    assert leg in (talk.call, talk["Other-Leg-Unique-ID"])
    assert rung(watch, call) == ["303", MOBILE]
    (asked,) = mobile.invites
    assert asked.startswith(f"INVITE sip:{MOBILE}@")
    assert f"<sip:{HUGO}@" in asked
    assert CALLER not in asked
    # It may not last longer than cordboard.yaml says; this is the default.
    timers = [e["Application-Data"] for e in watch.events if e.get("Application") == "sched_hangup" and e.call == leg]
    assert timers == ["+15 NO_ANSWER", "+14400"]
    mobile.step()
    hears(watch, "Thank you.", call)
    caller.ended()
    assert serve.fact(call, "talk.started")["data"]["with"] == MOBILE
    assert serve.fact(call, "talk.ended")
    assert serve.fact(call, "call.ended")


def test_another_key_declines_and_the_caller_hears_what_comes_otherwise(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], carrier: Callable[..., Outside]
) -> None:
    phone("303", "phone_refuses", status="486 Busy Here")
    mobile = carrier("phone_presses", [Press("2")], ring=100)
    caller = Caller(switch, HUGO)
    call = comes(watch, HUGO)
    hears(watch, QUESTION)
    mobile.step()
    hears(watch, "Hugo is not here.", call)
    caller.ended()
    results = [fact["data"]["result"] for fact in serve.facts(call) if fact["type"] == "leg.result"]
    assert results == ["busy", "declined"]
    assert "talk.started" not in kinds(serve, call)


def test_a_person_who_wants_to_see_the_caller_does(
    switch: Switch, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    mobile = carrier("phone_presses", [Press("2")], ring=100)
    caller = Caller(switch, IDA, scenario="caller_refused", status=486)
    hears(watch, QUESTION)
    assert f"<sip:{CALLER}@" in mobile.invites[0]
    mobile.step()
    caller.ended()


def test_a_forward_to_voicemail_leaves_a_whole_file(switch: Switch, serve: Serve, watch: Watch) -> None:
    caller = Caller(switch, JAN, [Speak(2.0)])
    call = comes(watch, JAN)
    hears(watch, "Nobody can take your call. Please leave a message after the tone.", call)
    watch.wait("the recording begins", lambda e: e.name == "RECORD_START")
    caller.step()
    caller.hangup()
    stop = watch.wait("the recording ends", lambda e: e.name == "RECORD_STOP")
    assert 1.5 < length(stop["Record-File-Path"]) < 3.0
    message = serve.fact(call, "message.recorded")
    assert (message["company"], message["data"]["for"]) == ("crane", ["305"])
    assert serve.fact(call, "call.ended")


def test_the_desk_phone_is_taken_while_the_other_phone_of_the_same_person_is_asked(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], carrier: Callable[..., Outside]
) -> None:
    outside = carrier("phone_answers", ring=100)
    phone("307", "phone_answers", ring=1500)
    caller = Caller(switch, LARS)
    call = comes(watch, LARS)
    asked = hears(watch, QUESTION).call
    talk = talks(watch, call)
    assert asked not in (talk.call, talk["Other-Leg-Unique-ID"])
    assert ends(watch, asked)["Hangup-Cause"] == "LOSE_RACE"
    until("the other is told", lambda: "BYE sip:" in outside.said())
    caller.hangup()
    assert serve.fact(call, "talk.started")["data"]["with"] == "307"
    assert serve.fact(call, "call.ended")


@pytest.mark.parametrize("moment", ["at once", "after the takeover"])
def test_every_controller_is_killed_while_somebody_is_asked_to_press_1(
    switch: Switch,
    serve: Serve,
    watch: Watch,
    phone: Callable[..., Phone],
    carrier: Callable[..., Outside],
    moment: str,
) -> None:
    phone("303", "phone_refuses", status="486 Busy Here")
    mobile = carrier("phone_presses", [Press("1")], ring=100)
    caller = Caller(switch, HUGO)
    call = comes(watch, HUGO)
    hears(watch, QUESTION)
    serve.kill_controllers()
    if moment == "after the takeover":
        until("the call is taken over", lambda: any(f["type"] == "call.taken_over" for f in serve.facts(call)))
    mobile.step()
    talks(watch, call)
    assert rung(watch, call) == ["303", MOBILE]
    assert len(mobile.invites) == 1
    mobile.step()
    hears(watch, "Thank you.", call)
    caller.ended()
    told = kinds(serve, call)
    assert [told.count(kind) for kind in ("leg.rung", "talk.started", "talk.ended", "call.ended")] == [2, 1, 1, 1]


def test_a_caller_who_leaves_while_somebody_is_asked_ends_that_too(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    mobile = carrier("phone_answers", ring=100)
    caller = Caller(switch, IDA, scenario="caller_gives_up")
    call = comes(watch, IDA)
    leg = hears(watch, QUESTION).call
    caller.hangup()
    assert ends(watch, leg)["Hangup-Cause"] == "LOSE_RACE"
    until("the phone is told", lambda: "BYE sip:" in mobile.said())
    assert kinds(serve, call).count("call.ended") == 1


# -- out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialled", "sent"), [("89161112233", MOBILE), ("112", "112")], ids=["as one dials at home", "emergency"]
)
def test_a_phone_calls_outside(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside], dialled: str, sent: str
) -> None:
    far = carrier("phone_answers", ring=100)
    fedor = dials(switch, dialled)
    call = comes(watch, dialled)
    talks(watch, call)
    (asked,) = far.invites
    assert asked.startswith(f"INVITE sip:{sent}@")
    assert f"<sip:{FRONT}@" in asked
    fedor.hangup()
    until("the far end is told", lambda: "BYE sip:" in far.said())
    assert kinds(serve, call).count("talk.ended") == 1


@pytest.mark.parametrize("first", ["is a closed port", "answers 503"])
def test_a_trunk_that_does_not_take_the_call_is_followed_by_the_next_and_the_caller_notices_nothing(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside], first: str
) -> None:
    if first == "answers 503":
        carrier("phone_refuses", status="503 Service Unavailable")
    second = carrier("phone_answers", gateway="carrier-b", ring=100)
    fedor = dials(switch, MOBILE)
    call = comes(watch, MOBILE)
    talks(watch, call)
    (asked,) = second.invites
    assert asked.startswith("INVITE sip:89161112233@")
    assert "<sip:84951230020@" in asked
    heard = re.findall(r"^SIP/2.0 (\d+)", fedor.said(), re.MULTILINE)
    assert heard == ["407", "100", "180", "200"]
    fedor.hangup()
    until("the far end is told", lambda: "BYE sip:" in second.said())
    told = kinds(serve, call)
    assert [told.count(kind) for kind in ("leg.rung", "leg.result", "talk.started")] == [1, 1, 1]


def test_the_next_trunk_asks_for_the_1_as_the_first_would_have(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], carrier: Callable[..., Outside]
) -> None:
    phone("303", "phone_refuses", status="486 Busy Here")
    carrier("phone_refuses", status="403 Forbidden")  # a trunk without credit, and no person who declines
    mobile = carrier("phone_presses", [Press("1")], gateway="carrier-b", ring=100)
    caller = Caller(switch, HUGO)
    call = comes(watch, HUGO)
    hears(watch, QUESTION)
    mobile.step()
    talks(watch, call)
    mobile.step()
    hears(watch, "Thank you.", call)
    caller.ended()
    assert kinds(serve, call).count("talk.ended") == 1


def test_the_lines_of_a_person_are_counted_and_free_again_after_the_call(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside]
) -> None:
    far = carrier("phone_answers", ring=100)
    first = dials(switch, MOBILE, "302")
    call = comes(watch, MOBILE)
    talks(watch, call)
    second = dials(switch, "+79161112244", "302")
    other = comes(watch, "+79161112244")
    hears(watch, "All lines are in use. Please try again later.", other)
    second.ended()
    assert len(far.invites) == 1
    first.hangup()
    ends(watch, leg_of(watch, call))
    third = dials(switch, "+79161112255", "302")
    talks(watch, comes(watch, "+79161112255"))
    third.hangup()


@pytest.mark.parametrize(("dialled", "reason"), [("+78091234567", "premium"), ("+442071838750", "country")])
def test_a_number_that_may_not_be_dialled_is_explained_and_told(
    switch: Switch, serve: Serve, watch: Watch, carrier: Callable[..., Outside], dialled: str, reason: str
) -> None:
    far = carrier("phone_answers", ring=100)
    fedor = dials(switch, dialled)
    call = comes(watch, dialled)
    hears(watch, "This number cannot be called from here.", call)
    fedor.ended()
    assert ends(watch, call)["Hangup-Cause"] == "OUTGOING_CALL_BARRED"
    assert "cause=52;" in fedor.said()  # an answered call ends by BYE, which gives the reason of a 403
    refused = serve.fact(call, "call.refused")
    assert (refused["data"]["dialled"], refused["data"]["reason"]) == (dialled, reason)
    assert rung(watch, call) == []
    assert far.invites == []


# -- codes ---------------------------------------------------------------------------------------------------


def test_a_switch_that_a_phone_turned_leads_the_next_calls_the_other_way(
    switch: Switch, serve: Serve, watch: Watch
) -> None:
    def answers() -> str:
        before = len(watch.events)
        caller = Caller(switch, FRONT)
        said = watch.wait("an answer", lambda e: e.get("Application") == "playback" and watch.events.index(e) >= before)
        caller.hangup()
        return name_of(said["Application-Data"])

    def turns(words: str) -> None:
        fedor = dials(switch, "*21")
        hears(watch, words, after=len(watch.events))
        fedor.ended()

    assert answers() == "We are open."
    turns("It is now on.")
    # The controller that did not turn it reads it within a second.
    until("it leads the other way", lambda: answers() == "We are closed.")
    turns("It is now off.")
    until("it leads back", lambda: answers() == "We are open.")
