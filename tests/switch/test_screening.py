"""Legs that are screened and legs that go outside, on a real switch with our dialplan, driven as a controller would.

A carrier (SIPp) stands behind each gateway; a key is pressed when the switch has said what it plays.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.switch.harness import (
    CARRIER,
    OUTSIDE,
    Caller,
    Event,
    Installation,
    Outside,
    Phone,
    Press,
    Speak,
    Switch,
    Watch,
    sound,
    until,
)

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

CALL = "4f0f3f0e-7c39-4f4e-9c53-0d3a4b7c1a11"
MOBILE = "+79161112233"
EVENTS = (
    "BACKGROUND_JOB",
    "CHANNEL_ANSWER",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_EXECUTE",
    "CHANNEL_BRIDGE",
    "CHANNEL_PARK",
    "CHANNEL_HANGUP_COMPLETE",
    "CUSTOM",
    "cordboard::ready",
    "filestring::open",
)
SCREEN = "cordboard_screen XML cordboard_screen"
READY = "'set:cordboard_ready=true,park' inline"


class Owner:
    """A controller that takes every call and does nothing: the test does it, over its own connection."""

    def __init__(self) -> None:
        self.taken: list[socket.socket] = []
        self._server = socket.create_server((CARRIER, 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.taken.append(connection)
            connection.sendall(b"connect\n\nlinger 5\n\n")

    def stop(self) -> None:
        self._server.close()
        for connection in self.taken:
            connection.close()


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.stop()


@pytest.fixture(scope="module")
def switch(installation: Installation, tmp_path_factory: pytest.TempPathFactory, owner: Owner) -> Iterator[Switch]:
    with Switch(installation, tmp_path_factory.mktemp("switch"), f"{CARRIER}:{owner.port}") as switch:
        yield switch


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sounds")
    for name, seconds in {"who": 2.0, "press": 1.0, "short": 0.3, "long": 8.0}.items():
        sound(directory / f"{name}.wav", seconds)
    return directory


@pytest.fixture
def watch(switch: Switch) -> Iterator[Watch]:
    watch = switch.watch(*EVENTS)
    yield watch
    watch.api(f"hupall LOSE_RACE cordboard_call {CALL}")
    watch.close()


def ring(
    watch: Watch,
    variables: str = "",
    then: str = SCREEN,
    *,
    gateway: str = "carrier-a",
    number: str = MOBILE,
    leg: str = "",
    job: str = "",
) -> str:
    """Ring an outside phone as a leg of CALL; the leg."""
    leg = leg or f"leg-{secrets.token_hex(4)}"
    known = f"origination_uuid={leg},originate_timeout=20,ignore_early_media=true,outbound_redirect_fatal=true"
    if "park_timeout" not in variables:
        variables = f"{variables},park_timeout=3:LOSE_RACE".lstrip(",")
    endpoint = f"sofia/gateway/{gateway}/{number}"
    dialled = f"{{{known},cordboard_call={CALL},{variables}}}{endpoint} {then}"
    watch.command(f"bgapi originate {dialled}\nJob-UUID: {job or leg}")
    return leg


def result(watch: Watch, job: str, patience: float = 15.0) -> str:
    """What became of an originate."""
    event = watch.wait("the result", lambda e: e.name == "BACKGROUND_JOB" and e["Job-UUID"] == job, patience)
    return event.body.strip()


def runs(watch: Watch, leg: str, application: str) -> Event:
    return watch.wait(
        application, lambda e: e.name == "CHANNEL_EXECUTE" and e.call == leg and e["Application"] == application
    )


def plays(watch: Watch, name: str) -> Event:
    return watch.wait(
        f"{name} is heard", lambda e: e.get("Event-Subclass") == "filestring::open" and name in e.get("File", "")
    )


def ready(watch: Watch, leg: str) -> Event:
    return watch.wait("the leg is ready", lambda e: e.get("Event-Subclass") == "cordboard::ready" and e.call == leg)


def ends(watch: Watch, leg: str, patience: float = 15.0) -> str:
    """The cause with which a leg ends."""
    event = watch.wait("the leg ends", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == leg, patience)
    return event["Hangup-Cause"]


def is_ready(watch: Watch) -> bool:
    watch.catch_up()
    return any(event.get("Event-Subclass") == "cordboard::ready" for event in watch.events)


def at(event: Event) -> float:
    return int(event["Event-Date-Timestamp"]) / 1e6


# -- screening -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["who.wav", "press.wav", "tone_stream"])
def test_key_1_counts_at_any_moment_of_whisper_and_question(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path, moment: str
) -> None:
    phone = carrier("phone_presses", [Press("1")], ring=100)
    leg = ring(watch, f"cordboard_confirm={sounds}/who.wav!{sounds}/press.wav")
    assert result(watch, leg) == f"+OK {leg}"  # it has answered; it may not be joined yet
    plays(watch, moment)
    assert watch.api(f"uuid_getvar {leg} cordboard_ready") == "asked"
    phone.step()
    assert ready(watch, leg)["variable_cordboard_call"] == CALL
    assert watch.api(f"uuid_getvar {leg} cordboard_ready") == "true"
    assert ends(watch, leg) == "LOSE_RACE"


def test_screening_outlives_the_controller_that_rang_and_every_other_hears_of_it(
    switch: Switch, watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    rings, other = switch.watch(), switch.watch("CUSTOM", "cordboard::ready")
    phone = carrier("phone_presses", [Press("1")], ring=100)
    leg = ring(rings, f"cordboard_confirm={sounds}/who.wav")
    plays(watch, "who.wav")
    rings.close()
    assert other.api(f"uuid_getvar {leg} cordboard_ready") == "asked"
    phone.step()
    for each in (watch, other):
        event = ready(each, leg)
        assert event["variable_cordboard_ready"] == "true"
        assert "variable_cordboard_confirm" not in event
    assert other.api(f"uuid_getvar {leg} cordboard_ready") == "true"
    other.close()


def test_another_key_declines(watch: Watch, carrier: Callable[..., Outside], sounds: Path) -> None:
    phone = carrier("phone_presses", [Press("2")], ring=100)
    leg = ring(watch, f"cordboard_confirm={sounds}/who.wav!{sounds}/press.wav")
    plays(watch, "press.wav")
    phone.step()
    assert ends(watch, leg) == "CALL_REJECTED"
    assert not is_ready(watch)


def test_star_and_hash_are_other_keys(watch: Watch, carrier: Callable[..., Outside], sounds: Path) -> None:
    phone = carrier("phone_presses", [Press("#")], ring=100)
    leg = ring(watch, f"cordboard_confirm={sounds}/who.wav")
    plays(watch, "who.wav")
    phone.step()
    assert ends(watch, leg) == "CALL_REJECTED"


def test_a_mailbox_that_talks_hears_the_question_three_times_and_no_longer_than_15_seconds(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    mailbox = carrier("phone_presses", [Speak(4.0)], ring=100)
    short = ring(watch, f"cordboard_confirm={sounds}/short.wav")
    plays(watch, "short.wav")
    mailbox.step()
    long = ring(watch, f"cordboard_confirm={sounds}/long.wav")
    begin = at(runs(watch, long, "play_and_get_digits"))
    assert ends(watch, short, 25.0) == "NO_ANSWER"
    assert ends(watch, long, 25.0) == "NO_ANSWER"
    heard = [e["File"].rpartition("/")[2] for e in watch.events if e.get("Event-Subclass") == "filestring::open"]
    assert [heard.count("short.wav"), heard.count("long.wav")] == [3, 2]
    last = watch.wait("the end", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == long)
    assert 13.0 < at(last) - begin < 17.0
    assert not is_ready(watch)


def test_a_whisper_without_a_question_needs_no_key_and_no_key_cuts_it(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    phone = carrier("phone_presses", [Press("*")], ring=100)
    # The whisper is longer than the time for which the leg is parked afterwards: that counts from then.
    leg = ring(watch, f"cordboard_whisper={sounds}/who.wav,park_timeout=1:LOSE_RACE")
    begin = at(plays(watch, "who.wav"))
    phone.step()
    assert at(ready(watch, leg)) - begin > 1.9
    assert ends(watch, leg) == "LOSE_RACE"


def test_a_missing_whisper_does_not_cost_the_leg(watch: Watch, carrier: Callable[..., Outside], sounds: Path) -> None:
    carrier("phone_answers", ring=100)
    leg = ring(watch, f"cordboard_whisper={sounds}/missing.wav")
    ready(watch, leg)


def test_a_missing_question_leaves_a_tone_after_which_key_1_counts(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    phone = carrier("phone_presses", [Press("1")], ring=100)
    leg = ring(watch, f"cordboard_confirm={sounds}/missing.wav!{sounds}/gone.wav")
    plays(watch, "tone_stream")
    phone.step()
    ready(watch, leg)


def test_a_tone_stands_in_for_a_sound(watch: Watch, carrier: Callable[..., Outside]) -> None:
    # A tone's commas end a variable, quotes or not; so the list is separated by something else.
    phone = carrier("phone_presses", [Press("1")], ring=100)
    leg = f"leg-{secrets.token_hex(4)}"
    pairs = ["^^", f"origination_uuid={leg}", f"cordboard_call={CALL}", "park_timeout=3:LOSE_RACE"]
    pairs.append("cordboard_confirm=tone_stream://%(120,80,400);%(120,300,400)!tone_stream://%(150,50,600)")
    watch.command(f"bgapi originate {{{'~'.join(pairs)}}}sofia/gateway/carrier-a/{MOBILE} {SCREEN}")
    played = runs(watch, leg, "play_and_get_digits")["Application-Data"]
    assert "file_string://tone_stream://%(120,80,400);%(120,300,400)!tone_stream://%(150,50,600)!tone" in played
    phone.step()
    ready(watch, leg)


def test_a_phone_of_the_company_is_screened_and_shown_alike(switch: Switch, watch: Watch, sounds: Path) -> None:
    phone = Phone(switch, "301", "phone_answers", ring=100)
    leg = f"leg-{secrets.token_hex(4)}"
    pairs = ["^^", f"origination_uuid={leg}", f"cordboard_call={CALL}", "park_timeout=3:LOSE_RACE"]
    pairs += ["origination_caller_id_number=302", "origination_caller_id_name='Анна П.'"]
    pairs.append(f"cordboard_whisper={sounds}/short.wav!tone_stream://%(120,80,400)")
    watch.command(f"bgapi originate {{{'~'.join(pairs)}}}user/{phone.address} {SCREEN}\nJob-UUID: {leg}")
    assert result(watch, leg) == f"+OK {leg}"
    plays(watch, "tone_stream://%(120,80,400)")
    assert ready(watch, leg)["variable_cordboard_company"] == "acme"
    assert 'From: "Анна П." <sip:302@' in phone.said()
    phone.stop()


def test_a_phone_that_hangs_up_during_the_whisper_is_gone(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    carrier("phone_hangs_up", ring=100, talk=500)
    leg = ring(watch, f"cordboard_confirm={sounds}/who.wav")
    assert ends(watch, leg) == "NORMAL_CLEARING"
    assert not is_ready(watch)


def test_the_legs_of_a_caller_who_left_end_while_they_are_screened(
    watch: Watch, carrier: Callable[..., Outside], sounds: Path
) -> None:
    carrier("phone_answers", ring=100)
    leg = ring(watch, f"cordboard_confirm={sounds}/who.wav")
    plays(watch, "who.wav")
    watch.api(f"hupall LOSE_RACE cordboard_call {CALL}")
    assert ends(watch, leg) == "LOSE_RACE"


def test_only_a_leg_of_a_call_is_screened(switch: Switch, watch: Watch, carrier: Callable[..., Outside]) -> None:
    carrier("phone_answers", ring=100)
    watch.command(
        "bgapi originate {origination_uuid=leg-without-call,cordboard_confirm=/x.wav}"
        f"sofia/gateway/carrier-a/{MOBILE} {SCREEN}"
    )
    assert ends(watch, "leg-without-call") == "UNALLOCATED_NUMBER"
    caller = Caller(switch, "+74951234567")
    call = watch.wait("a call", lambda e: e.get("variable_cordboard_called") == "+74951234567").call
    watch.api(f"uuid_answer {call}")
    watch.api(f"uuid_setvar {call} cordboard_call {CALL}")
    watch.api(f"uuid_transfer {call} cordboard_told XML cordboard_screen")
    assert ends(watch, call) == "UNALLOCATED_NUMBER"
    caller.ended()
    assert not is_ready(watch)


@pytest.mark.parametrize("screened", [True, False], ids=["screened", "not screened"])
def test_a_leg_is_joined_at_its_event_and_the_longest_talk_gives_the_caller_back(
    switch: Switch, watch: Watch, owner: Owner, carrier: Callable[..., Outside], sounds: Path, screened: bool
) -> None:
    phone = carrier("phone_presses", [Press("1")], ring=100)
    Caller(switch, "+74951234567")
    call = runs_any(watch, "socket").call
    watch.api(f"uuid_answer {call}")
    if screened:
        leg = ring(watch, f"cordboard_confirm={sounds}/who.wav,cordboard_longest=+2")
        plays(watch, "who.wav")
        phone.step()
        ready(watch, leg)
    else:
        leg = ring(watch, "", "'sched_hangup:+2,set:cordboard_ready=true,park' inline")
        assert result(watch, leg) == f"+OK {leg}"
    taken = len(owner.taken)
    watch.api(f"uuid_setvar {call} transfer_after_bridge cordboard_resume:XML:cordboard")
    watch.api(f"uuid_setvar {call} socket_resume false")
    watch.command(f"bgapi uuid_bridge {call} {leg}")
    watch.wait("a talk", lambda e: e.name == "CHANNEL_BRIDGE" and e["Bridge-B-Unique-ID"] == leg)
    assert ends(watch, leg) == "ALLOTTED_TIMEOUT"
    until("the caller is back", lambda: len(owner.taken) > taken)
    assert watch.api(f"uuid_exists {call}") == "true"
    watch.api(f"uuid_kill {call}")


def runs_any(watch: Watch, application: str) -> Event:
    return watch.wait(application, lambda e: e.name == "CHANNEL_EXECUTE" and e["Application"] == application)


# -- outside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "name", "says"),
    [
        ("+74951234567", "", "From: <sip:+74951234567@127.0.0.1>"),
        ("301", "Анна Петрова-Ли Jr.", 'From: "Анна Петрова-Ли Jr." <sip:301@127.0.0.1>'),
    ],
)
def test_the_phone_is_shown_the_number_and_the_name_that_it_is_given(
    watch: Watch, carrier: Callable[..., Outside], shown: str, name: str, says: str
) -> None:
    phone = carrier("phone_answers", ring=100)
    named = f",origination_caller_id_name='{name}'" if name else ""
    leg = ring(watch, f"origination_caller_id_number={shown}{named}", READY)
    assert result(watch, leg) == f"+OK {leg}"
    (invite,) = phone.invites
    assert says in invite


@pytest.mark.parametrize("number", ["+79161112233", "89161112233", "112"])
def test_the_carrier_is_sent_the_number_as_it_is_written(
    watch: Watch, carrier: Callable[..., Outside], number: str
) -> None:
    phone = carrier("phone_answers", ring=100)
    leg = ring(watch, "", READY, number=number)
    assert result(watch, leg) == f"+OK {leg}"
    assert phone.invites[0].startswith(f"INVITE sip:{number}@{OUTSIDE}:")


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        # the trunk did not take it
        ("503 Service Unavailable", "NORMAL_TEMPORARY_FAILURE"),
        ("500 Server Error", "NORMAL_TEMPORARY_FAILURE"),
        ("408 Request Timeout", "RECOVERY_ON_TIMER_EXPIRE"),
        ("502 Bad Gateway", "NETWORK_OUT_OF_ORDER"),
        ("488 Not Acceptable", "INCOMPATIBLE_DESTINATION"),
        ("403 Forbidden", "CALL_REJECTED"),
        # the number's own answer
        ("486 Busy Here", "USER_BUSY"),
        ("600 Busy Everywhere", "USER_BUSY"),
        ("603 Decline", "CALL_REJECTED"),
        ("404 Not Found", "UNALLOCATED_NUMBER"),
        ("410 Gone", "NUMBER_CHANGED"),
        ("480 Temporarily Unavailable", "NO_USER_RESPONSE"),
        ("484 Address Incomplete", "INVALID_NUMBER_FORMAT"),
    ],
)
def test_each_refusal_has_its_cause_and_its_status_stands_in_the_event(
    watch: Watch, carrier: Callable[..., Outside], status: str, cause: str
) -> None:
    carrier("phone_refuses", status=status)
    leg = ring(watch)
    assert result(watch, leg) == f"-ERR {cause}"
    event = watch.wait("the end", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == leg)
    assert event["variable_proto_specific_hangup_cause"] == f"sip:{status[:3]}"
    assert event["variable_sip_gateway_name"] == "carrier-a"


def test_a_carrier_that_is_not_there_fails_within_five_seconds(switch: Switch, watch: Watch) -> None:
    assert result(watch, ring(watch, gateway="unknown")) == "-ERR INVALID_GATEWAY"
    assert result(watch, ring(watch, gateway="nowhere")) == "-ERR NORMAL_TEMPORARY_FAILURE"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((OUTSIDE, switch.gateways["nowhere"]))
        leg = ring(watch, gateway="nowhere")
        assert result(watch, leg, 7.0) == "-ERR RECOVERY_ON_TIMER_EXPIRE"


def test_a_carrier_that_only_tries_is_given_up_but_one_that_plays_is_not(
    watch: Watch, carrier: Callable[..., Outside]
) -> None:
    carrier("carrier_tries")
    assert result(watch, ring(watch, "leg_progress_timeout=1")) == "-ERR PROGRESS_TIMEOUT"
    carrier("carrier_plays", gateway="carrier-b", ring=3500)
    leg = ring(watch, "leg_progress_timeout=1", READY, gateway="carrier-b")
    media = watch.wait("early media", lambda e: e.name == "CHANNEL_PROGRESS_MEDIA" and e.call == leg)
    assert result(watch, leg) == f"+OK {leg}"
    answer = watch.wait("the answer", lambda e: e.name == "CHANNEL_ANSWER" and e.call == leg)
    assert at(answer) - at(media) > 3.0
    parked = watch.wait("the leg parks", lambda e: e.name == "CHANNEL_PARK" and e.call == leg)
    assert at(parked) >= at(answer)


def test_the_next_trunk_is_tried_under_the_same_uuid_at_once(watch: Watch, carrier: Callable[..., Outside]) -> None:
    carrier("phone_refuses", status="503 Service Unavailable")
    carrier("phone_answers", gateway="carrier-b", ring=100)
    leg = ring(watch, "", READY)
    assert result(watch, leg) == "-ERR NORMAL_TEMPORARY_FAILURE"
    assert ring(watch, "", READY, gateway="carrier-b", leg=leg, job=f"{leg}-2") == leg
    assert result(watch, f"{leg}-2") == f"+OK {leg}"


def test_a_redirect_by_a_carrier_is_not_followed(watch: Watch, carrier: Callable[..., Outside]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((OUTSIDE, 0))
        carrier("phone_redirects", elsewhere=f"+4990012345@{OUTSIDE}:{elsewhere.getsockname()[1]}")
        assert result(watch, ring(watch)) == "-ERR REQUESTED_CHAN_UNAVAIL"
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recvfrom(2000)


def test_a_gateway_whose_registration_fails_is_down_at_once(switch: Switch, watch: Watch) -> None:
    lines = ['<gateway name="registers">', "</gateway>", ""]
    parameters = {"proxy": f"{OUTSIDE}:9", "username": "u", "password": "p", "register": "true"}
    lines[1:1] = [f'<param name="{name}" value="{value}"/>' for name, value in parameters.items()]
    path = switch.directory / "gateways" / "registers.xml"
    path.write_text("\n".join(lines))
    watch.api("sofia profile internal rescan")
    until("the gateway is known", lambda: "registers" in watch.api("sofia status gateway"))
    assert result(watch, ring(watch, gateway="registers")) == "-ERR GATEWAY_DOWN"
    path.unlink()
    watch.api("sofia profile internal killgw registers")
