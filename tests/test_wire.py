"""What Cordboard may say to a switch, and that nothing else can be said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callcontrol import messages, wire
from callcontrol.wire import App, Cause, Command, Refused, SoundPath, Tone, UserEndpoint

TRACES = Path(__file__).parent / "traces"
CALL = "59e1a03e-a89a-4a8d-8f5c-dc97048f0a1e"
LEG = "leg-59e1a03e-301"
JOB = "1f4a929f-f603-482e-86b5-246b35e02376"
TRUNK = wire.GatewayEndpoint("carrier-a", "+79161112233")
PLAYING = "play-00000001-1"
QUESTION = wire.Screen(wire.sounds(SoundPath("/s/1.wav"), SoundPath("/s/2.wav")), "/s/press.wav")
PHONE = UserEndpoint("301", "acme.cordboard.test")


def said(trace: str) -> set[str]:
    """What the controller of a transcript said, without the blank line."""
    with (TRACES / f"{trace}.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return {record["data"].removesuffix("\n\n") for record in records if record["dir"] == "to_switch"}


# ------------------------------------------------------------------------------------------ spelling


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (wire.CONNECT, "connect"),
        (wire.MYEVENTS, "myevents"),
        (wire.linger(5), "linger 5"),
        (wire.exit_(), "exit"),
        (wire.event_plain("BACKGROUND_JOB", "RECORD_STOP"), "event plain BACKGROUND_JOB RECORD_STOP"),
        (wire.event_plain("CUSTOM", "sofia::register"), "event plain CUSTOM sofia::register"),
        (wire.nixevent("CHANNEL_STATE"), "nixevent CHANNEL_STATE"),
        (
            wire.filter_("Event-Name", "CHANNEL_EXECUTE_COMPLETE"),
            "filter Event-Name CHANNEL_EXECUTE_COMPLETE",
        ),
        (wire.auth("s3cret word"), "auth s3cret word"),
        (wire.execute(App.ANSWER), "sendmsg\ncall-command: execute\nexecute-app-name: answer\nevent-lock: true"),
        (
            wire.execute(App.PLAYBACK, SoundPath("/var/lib/sounds/greet-ru.wav"), CALL),
            "sendmsg\ncall-command: execute\nexecute-app-name: playback\n"
            f"execute-app-arg: /var/lib/sounds/greet-ru.wav\nEvent-UUID: {CALL}\nevent-lock: true",
        ),
        (
            wire.execute(App.HANGUP, Cause.USER_BUSY),
            "sendmsg\ncall-command: execute\nexecute-app-name: hangup\nexecute-app-arg: USER_BUSY\nevent-lock: true",
        ),
        (
            wire.execute(App.SLEEP, 250),
            "sendmsg\ncall-command: execute\nexecute-app-name: sleep\nexecute-app-arg: 250\nevent-lock: true",
        ),
        (
            wire.record_start("call-0001", SoundPath("/spool/a.wav"), 120, silence=3, again=True),
            "api uuid_record call-0001 start /spool/a.wav 120 {RECORD_READ_ONLY=true,RECORD_MIN_SEC=0,"
            "RECORD_INITIAL_TIMEOUT_MS=3000,RECORD_FINAL_TIMEOUT_MS=3000,RECORD_APPEND=true}",
        ),
        (wire.setvar(CALL, "socket_resume", "false"), f"api uuid_setvar {CALL} socket_resume false"),
        (wire.setvar(CALL, "cordboard_state", ""), f"api uuid_setvar {CALL} cordboard_state"),
        (
            wire.setvars(CALL, {"socket_resume": "false", "transfer_after_bridge": "cordboard_resume:XML:cordboard"}),
            f"api uuid_setvar_multi {CALL} socket_resume=false;transfer_after_bridge=cordboard_resume:XML:cordboard",
        ),
        (wire.getvar(LEG, "cordboard_ready"), f"api uuid_getvar {LEG} cordboard_ready"),
        (wire.exists(LEG), f"api uuid_exists {LEG}"),
        (wire.break_(CALL), f"api uuid_break {CALL} all"),
        (wire.break_(CALL, queued=False), f"api uuid_break {CALL}"),
        (wire.answer(CALL), f"api uuid_answer {CALL}"),
        (wire.kill(LEG, Cause.LOSE_RACE), f"api uuid_kill {LEG} LOSE_RACE"),
        (
            wire.transfer(CALL, "cordboard_resume", "cordboard"),
            f"api uuid_transfer {CALL} cordboard_resume XML cordboard",
        ),
        (wire.bridge(CALL, LEG, JOB), f"bgapi uuid_bridge {CALL} {LEG}\nJob-UUID: {JOB}"),
        (
            wire.originate(LEG, PHONE, 15, {"cordboard_call": CALL, "park_timeout": "30:NORMAL_CLEARING"}, JOB),
            f"bgapi originate {{origination_uuid={LEG},originate_timeout=15,ignore_early_media=true,"
            f"cordboard_call={CALL},park_timeout=30:NORMAL_CLEARING}}user/301@acme.cordboard.test "
            f"'set:cordboard_ready=true,park' inline\nJob-UUID: {JOB}",
        ),
        (
            wire.originate(
                LEG, PHONE, 15, {}, JOB, screen=wire.Screen(SoundPath("/s/who.wav")), shown="302", name="Anna P."
            ),
            f"bgapi originate {{origination_uuid={LEG},originate_timeout=15,ignore_early_media=true,"
            "origination_caller_id_number=302,origination_caller_id_name='Anna P.',cordboard_whisper=/s/who.wav}"
            f"user/301@acme.cordboard.test cordboard_screen XML cordboard_screen\nJob-UUID: {JOB}",
        ),
        (
            wire.originate(LEG, TRUNK, 15, {}, JOB, screen=QUESTION, shown="+74951234567", longest=14400),
            f"bgapi originate {{origination_uuid={LEG},originate_timeout=15,ignore_early_media=true,"
            "leg_progress_timeout=15,outbound_redirect_fatal=true,origination_caller_id_number=+74951234567,"
            "cordboard_confirm=/s/1.wav!/s/2.wav!/s/press.wav,cordboard_longest=+14400}"
            f"sofia/gateway/carrier-a/+79161112233 cordboard_screen XML cordboard_screen\nJob-UUID: {JOB}",
        ),
        (
            wire.originate(LEG, wire.GatewayEndpoint("b", "112"), 15, {}, JOB, longest=60),
            f"bgapi originate {{origination_uuid={LEG},originate_timeout=15,ignore_early_media=true,"
            "leg_progress_timeout=15,outbound_redirect_fatal=true}sofia/gateway/b/112 "
            f"'sched_hangup:+60,set:cordboard_ready=true,park' inline\nJob-UUID: {JOB}",
        ),
        (
            # A tone has commas, and no quotes would keep them from ending the variable.
            wire.originate(LEG, PHONE, 15, {"cordboard_call": CALL}, JOB, screen=wire.Screen("", Tone.MISSING)),
            f"bgapi originate {{^^~origination_uuid={LEG}~originate_timeout=15~ignore_early_media=true~"
            f"cordboard_call={CALL}~cordboard_confirm={Tone.MISSING}}}user/301@acme.cordboard.test "
            f"cordboard_screen XML cordboard_screen\nJob-UUID: {JOB}",
        ),
        (
            wire.place(CALL, PHONE, 30, "*21", "cordboard", JOB),
            f"bgapi originate {{^^~origination_uuid={CALL}~originate_timeout=30~ignore_early_media=true~"
            "cordboard_called=*21~execute_on_ring=event:Event-Name=CUSTOM,Event-Subclass=cordboard::rings}"
            f"user/301@acme.cordboard.test *21 XML cordboard\nJob-UUID: {JOB}",
        ),
        (
            wire.place(CALL, PHONE, 30, "+79161112233", "cordboard", JOB, name="Anna P."),
            f"bgapi originate {{^^~origination_uuid={CALL}~originate_timeout=30~ignore_early_media=true~"
            "cordboard_called=+79161112233~execute_on_ring=event:Event-Name=CUSTOM,Event-Subclass=cordboard::rings~"
            "origination_caller_id_number=+79161112233~origination_caller_id_name='Anna P.'}"
            f"user/301@acme.cordboard.test +79161112233 XML cordboard\nJob-UUID: {JOB}",
        ),
        (
            wire.hupall(Cause.LOSE_RACE, "cordboard_call", CALL),
            f"api hupall LOSE_RACE cordboard_call {CALL}",
        ),
        (wire.show_channels(), "api show channels as json"),
        (wire.status(), "api status"),
        (wire.core_uuid(), "api global_getvar core_uuid"),
        (wire.directory_version(), "api domain_data cordboard-directory var version"),
        (wire.reload_xml(), "bgapi reloadxml"),
    ],
    ids=lambda value: value.label[:40] if isinstance(value, Command) else "",
)
def test_each_command_is_spelled_as_the_switch_takes_it(command: Command, text: str) -> None:
    assert command.text == text


def test_the_spelling_is_that_of_the_transcripts() -> None:
    call = "91bafcec-e0b3-4c39-8e53-156cbfb32a2a"
    joined = said("three_legs_parked_first_is_bridged")
    assert wire.setvar(call, "socket_resume", "false").text in joined
    assert wire.bridge(call, f"leg0-{call}", JOB).text.split("\n")[0] in joined
    assert wire.kill(f"leg1-{call}", Cause.LOSE_RACE).text.replace("api ", "bgapi ", 1) in joined
    queued = said("executes_with_event_lock_queue")
    assert wire.execute(App.ANSWER).text in queued
    assert wire.execute(App.PLAYBACK, wire.silence(600, 1400), "play-0001").text.replace("play-0001", "first") in queued
    assert {wire.CONNECT.text, wire.MYEVENTS.text, wire.linger(5).text, wire.exit_().text} <= joined
    inbound = said("inbound_connection_auth_and_events")
    assert {wire.auth("ClueCon").text, wire.status().text, wire.show_channels().text} <= inbound
    broken = "8c14ad25-bb95-4136-b747-590d254071c2"
    assert wire.break_(broken).text in said("playback_broken_by_api")


@pytest.mark.parametrize("tone", list(Tone))
def test_every_tone_can_be_played(tone: Tone) -> None:
    assert wire.execute(App.PLAYBACK, tone).text.split("\n")[3] == f"execute-app-arg: {tone.value}"


def test_an_endless_sound_is_begun_again_by_the_switch_itself() -> None:
    text = wire.endless(SoundPath("/s/music.wav"), PLAYING).text
    assert text.startswith(
        "sendmsg\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: /s/music.wav\n"
    )
    assert text.splitlines()[4:] == ["loops: -1", f"Event-UUID: {PLAYING}", "event-lock: true"]


def test_an_endless_file_begins_where_a_variable_of_ours_says() -> None:
    text = wire.endless("/s/music.wav", PLAYING, middle=True).text
    assert "execute-app-arg: /s/music.wav@@${cordboard_start}\n" in text
    assert wire.setvar(CALL, wire.START, "98400").text == f"api uuid_setvar {CALL} cordboard_start 98400"


def test_endless_music_is_spelled_as_the_real_switch_was_told() -> None:
    told = said("music_without_end_broken_and_taken_up_in_the_middle")
    for uuid, middle in (("play-1", False), ("play-3", True)):
        text = wire.endless("/var/lib/cordboard/sounds/music.wav", PLAYING, middle=middle).text
        assert text.replace(PLAYING, uuid) in told


@pytest.mark.parametrize("sound", [Tone.MUSIC, wire.silence(-1), wire.sounds(SoundPath("/s/1"), SoundPath("/s/2"))])
def test_what_is_no_file_has_no_middle(sound: str) -> None:
    with pytest.raises(Refused, match="sound path"):
        wire.endless(sound, PLAYING, middle=True)


def test_several_files_are_played_as_one_sound() -> None:
    one, two = SoundPath("/s/1.wav"), SoundPath("/s/2.wav")
    assert wire.sounds(one) == "/s/1.wav"
    assert wire.sounds(one, two) == "file_string:///s/1.wav!/s/2.wav"
    assert "file_string:///s/1.wav!/s/2.wav\n" in wire.execute(App.PLAYBACK, wire.sounds(one, two)).text


# ----------------------------------------------------------------------------------------- refusals

HOSTILE = [
    "${system(touch /tmp/x)}",
    "$${domain}",
    "a\nb",
    "a\n\napi status",
    "a\rb",
    "a\x00b",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "a\x7fb",
    "+1,+2",
    "1|2",
    "1:_:2",
    "[execute_on_originate='system x']",
    "{a=b}",
    "a'b",
    'a"b',
    "a\\b",
    "a;b",
    "a b",
    "a&park()",
    "a%0Ab",
    "\N{ARABIC-INDIC DIGIT THREE}" * 9,
    "\uff11" * 9,
    "\ud800" * 9,
    " ",
    CALL + "\n",
]

#: Every place of every command into which a text goes.
PLACES: dict[str, Callable[[str], Command]] = {
    "event": lambda t: wire.event_plain(t),
    "subclass": lambda t: wire.event_plain("CUSTOM", t),
    "nixevent": lambda t: wire.nixevent(t),
    "filter header": lambda t: wire.filter_(t, "x"),
    "filter value": lambda t: wire.filter_("Unique-ID", t),
    "execute uuid": lambda t: wire.execute(App.ANSWER, None, t),
    "playback": lambda t: wire.execute(App.PLAYBACK, t),
    "playback of a file": lambda t: wire.execute(App.PLAYBACK, f"/s/{t}"),
    "playback of files": lambda t: wire.execute(App.PLAYBACK, f"file_string:///s/a.wav!/s/{t}"),
    "playback of a tone": lambda t: wire.execute(App.PLAYBACK, f"tone_stream://{t}"),
    "playback of silence": lambda t: wire.execute(App.PLAYBACK, f"silence_stream://{t}"),
    "record start": lambda t: wire.record_start("call-0001", SoundPath(t), 5),
    "record stop": lambda t: wire.record_stop("call-0001", SoundPath(t)),
    "record talk": lambda t: wire.record_talk("call-0001", SoundPath(t)),
    "record job": lambda t: wire.record_talk("call-0001", SoundPath("/s/a.wav"), t),
    "record mask": lambda t: wire.record_mask("call-0001", SoundPath(t), on=True),
    "record call": lambda t: wire.record_start(t, SoundPath("/s/a.wav"), 5),
    "hangup": lambda t: wire.execute(App.HANGUP, t),
    "sleep": lambda t: wire.execute(App.SLEEP, t),
    "answer": lambda t: wire.execute(App.ANSWER, t),
    "park": lambda t: wire.execute(App.PARK, t),
    "setvar call": lambda t: wire.setvar(t, "a", "b"),
    "setvar name": lambda t: wire.setvar(CALL, t, "b"),
    "setvar value": lambda t: wire.setvar(CALL, "a", t),
    "setvars call": lambda t: wire.setvars(t, {"a": "b"}),
    "setvars name": lambda t: wire.setvars(CALL, {t: "b"}),
    "setvars value": lambda t: wire.setvars(CALL, {"a": t}),
    "getvar call": lambda t: wire.getvar(t, "a"),
    "getvar name": lambda t: wire.getvar(CALL, t),
    "exists": lambda t: wire.exists(t),
    "break": lambda t: wire.break_(t),
    "uuid_answer": lambda t: wire.answer(t),
    "kill": lambda t: wire.kill(t, Cause.LOSE_RACE),
    "transfer call": lambda t: wire.transfer(t, "e", "c"),
    "transfer extension": lambda t: wire.transfer(CALL, t, "c"),
    "transfer context": lambda t: wire.transfer(CALL, "e", t),
    "bridge call": lambda t: wire.bridge(t, LEG, JOB),
    "bridge leg": lambda t: wire.bridge(CALL, t, JOB),
    "bridge job": lambda t: wire.bridge(CALL, LEG, t),
    "originate leg": lambda t: wire.originate(t, PHONE, 9, {}, JOB),
    "originate job": lambda t: wire.originate(LEG, PHONE, 9, {}, t),
    "originate name": lambda t: wire.originate(LEG, PHONE, 9, {t: "a"}, JOB),
    "originate value": lambda t: wire.originate(LEG, PHONE, 9, {"a": t}, JOB),
    "extension": lambda t: wire.originate(LEG, UserEndpoint(t, "d.test"), 9, {}, JOB),
    "domain": lambda t: wire.originate(LEG, UserEndpoint("301", t), 9, {}, JOB),
    "gateway": lambda t: wire.originate(LEG, wire.GatewayEndpoint(t, "112"), 9, {}, JOB),
    "number": lambda t: wire.originate(LEG, wire.GatewayEndpoint("b", t), 9, {}, JOB),
    "number with a plus": lambda t: wire.originate(LEG, wire.GatewayEndpoint("b", f"+7{t}"), 9, {}, JOB),
    "shown": lambda t: wire.originate(LEG, PHONE, 9, {}, JOB, shown=t or "-"),
    "whisper": lambda t: wire.originate(LEG, PHONE, 9, {}, JOB, screen=wire.Screen(t)),
    "question": lambda t: wire.originate(LEG, PHONE, 9, {}, JOB, screen=wire.Screen("/s/a.wav", f"/s/{t}")),
    "place call": lambda t: wire.place(t, PHONE, 9, "302", "c", JOB),
    "place to": lambda t: wire.place(CALL, PHONE, 9, t, "c", JOB),
    "place context": lambda t: wire.place(CALL, PHONE, 9, "302", t, JOB),
    "place job": lambda t: wire.place(CALL, PHONE, 9, "302", "c", t),
    "hupall name": lambda t: wire.hupall(Cause.LOSE_RACE, t, "x"),
    "hupall value": lambda t: wire.hupall(Cause.LOSE_RACE, "cordboard_call", t),
}


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_text_is_refused_wherever_a_text_goes(place: str, hostile: str) -> None:
    with pytest.raises(Refused):
        PLACES[place](hostile)


@pytest.mark.parametrize("place", PLACES)
@given(text=st.text(st.characters(), max_size=80) | st.from_regex(r"[ -~\n]{1,40}", fullmatch=True))
@example(text="301")
@example(text="a-b_c.d/e")
def test_whatever_is_accepted_is_one_command_without_expansion(place: str, text: str) -> None:
    try:
        command = PLACES[place](text)
    except Refused:
        return
    # The lines that this command has for a harmless text, and no more.
    assert command.text.isascii()
    assert "\n\n" not in command.text
    assert all(line.isprintable() and line for line in command.text.split("\n"))
    assert all(line.partition(": ")[0] in HEADERS for line in command.text.split("\n")[1:])
    assert "${" not in command.text
    assert ":_:" not in command.text
    assert ".." not in command.text or not place.startswith(("playback", "record"))


HEADERS = {"call-command", "execute-app-name", "execute-app-arg", "Event-UUID", "Job-UUID", "event-lock"}


@pytest.mark.parametrize(
    "path", ["relative.wav", "/a/../b.wav", "/a/..", "/a/", "/", "", "/a b.wav", "/a,b.wav", "/a!b.wav"]
)
def test_a_sound_path_is_absolute_and_plain(path: str) -> None:
    with pytest.raises(Refused):
        SoundPath(path)


def test_only_our_own_tones_are_played() -> None:
    with pytest.raises(Refused):
        wire.execute(App.PLAYBACK, "tone_stream://path=/etc/passwd")


def test_an_application_outside_the_set_cannot_be_named() -> None:
    with pytest.raises(Refused):
        wire.execute("system", "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("app", [App.PLAYBACK, App.SLEEP])
def test_an_application_that_needs_an_argument_is_not_run_without(app: App) -> None:
    with pytest.raises(Refused):
        wire.execute(app)


def test_all_channels_of_a_switch_are_never_hung_up_at_once() -> None:
    with pytest.raises(Refused, match="all channels"):
        wire.hupall(Cause.LOSE_RACE, "cordboard_call", "")


def test_an_event_that_the_switch_would_skip_in_silence_is_refused() -> None:
    with pytest.raises(Refused):
        wire.event_plain("CHANNEL_ANSWERED")


def test_a_filter_is_never_the_removal_of_one() -> None:
    with pytest.raises(Refused):
        wire.filter_("delete", "all")


def test_a_transfer_never_turns_into_a_flag() -> None:
    with pytest.raises(Refused):
        wire.transfer(CALL, "-both", "cordboard")


def test_originate_does_not_let_its_own_variables_be_set() -> None:
    with pytest.raises(Refused, match="originate itself"):
        wire.originate(LEG, PHONE, 15, {"origination_uuid": CALL}, JOB)


@pytest.mark.parametrize(
    "hostile", [each for each in HOSTILE if not re.fullmatch(r"[\w ]+", each.strip("\n"))], ids=ascii
)
def test_a_hostile_name_is_not_shown(hostile: str) -> None:
    assert wire.caller_name(hostile) == wire.caller_name(f"Anna {hostile}") == ""
    with pytest.raises(Refused):
        wire.originate(LEG, PHONE, 9, {}, JOB, name=hostile)


@pytest.mark.parametrize(
    "name", ["_", "-anna", ".", "a_b", "a" * 41, "Anna <1>", "a=b", "a~b", "^^:a", "'", "A\tB", "O'Neil", "a\u202eb"]
)
def test_a_name_that_a_dial_string_could_take_for_more_is_not_shown(name: str) -> None:
    assert wire.caller_name(name) == ""


@given(st.text(st.characters() | st.sampled_from(" .-'~,=^{}[]"), max_size=50))
@example("Анна Петрова-Ли")
@example("J. Smith 2")
def test_a_name_that_is_shown_stays_one_quoted_word_of_letters_and_digits(text: str) -> None:
    name = wire.caller_name(text)
    if not name:
        return
    assert name == text
    assert all(each.isalnum() or each in " .-" for each in name)
    assert f",origination_caller_id_name='{name}'}}user/" in wire.originate(LEG, PHONE, 9, {}, JOB, name=name).text


def test_a_screen_without_a_sound_is_refused() -> None:
    with pytest.raises(Refused):
        wire.Screen()


@pytest.mark.parametrize("endless", [Tone.MUSIC, Tone.RINGBACK, wire.silence(-1)])
def test_a_screen_that_would_never_end_is_refused(endless: str) -> None:
    with pytest.raises(Refused, match="must have an end"):
        wire.Screen(endless)
    with pytest.raises(Refused, match="must have an end"):
        wire.Screen("", endless)


def test_what_a_number_itself_answers_never_leads_to_the_next_trunk() -> None:
    own = {"USER_BUSY", "CALL_REJECTED", "NO_ANSWER", "NO_USER_RESPONSE", "UNALLOCATED_NUMBER", "NORMAL_CLEARING"}
    assert not own & wire.TRUNK_FAILED
    assert {wire.result_of(cause) for cause in wire.TRUNK_FAILED} == {"unreachable"}


@pytest.mark.parametrize(
    ("cause", "sip", "failed"),
    [
        ("NORMAL_TEMPORARY_FAILURE", "sip:503", True),
        ("GATEWAY_DOWN", "", True),
        ("CALL_REJECTED", "sip:403", True),
        ("CALL_REJECTED", "sip:603", False),
        ("CALL_REJECTED", "", False),
        ("USER_BUSY", "sip:486", False),
        ("NO_ANSWER", "", False),
    ],
)
def test_a_trunk_that_refuses_us_is_told_from_a_person_who_declines(cause: str, sip: str, failed: bool) -> None:
    assert wire.trunk_failed(cause, sip) is failed


@pytest.mark.parametrize("seconds", [0, -1, 601, 1.5, True, "5"])
def test_a_ring_time_is_a_sane_number_of_seconds(seconds: object) -> None:
    with pytest.raises(Refused):
        wire.originate(LEG, PHONE, seconds, {}, JOB)  # type: ignore[arg-type]


def test_a_cause_is_one_of_ours() -> None:
    with pytest.raises(Refused):
        wire.kill(LEG, "NORMAL_CLEARING")  # type: ignore[arg-type]


def test_a_password_is_shown_nowhere() -> None:
    command = wire.auth("hunter2-hunter2")
    assert "hunter2" not in f"{command} {command!r} {command.label}"
    with pytest.raises(Refused) as refused:
        wire.auth("hunter2\nexit")
    assert "hunter2" not in str(refused.value)


def test_a_refusal_says_what_and_why_on_one_printable_line() -> None:
    with pytest.raises(Refused) as refused:
        wire.setvar(CALL, "a", "x\u2028\n" + "y" * 900)
    assert refused.value.what == "value of a"
    assert "control character" in refused.value.why
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


def test_a_command_is_shown_on_one_line() -> None:
    assert "\n" not in repr(wire.execute(App.ANSWER, None, CALL))


# ------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        ("USER_BUSY", "busy"),
        ("CALL_REJECTED", "declined"),
        ("NO_ANSWER", "no_answer"),
        ("NO_USER_RESPONSE", "no_answer"),
        ("ORIGINATOR_CANCEL", "no_answer"),
        ("ALLOTTED_TIMEOUT", "no_answer"),
        ("LOSE_RACE", "no_answer"),
        ("USER_NOT_REGISTERED", "unreachable"),
        ("SUBSCRIBER_ABSENT", "unreachable"),
        ("INVALID_GATEWAY", "unreachable"),
        ("UNALLOCATED_NUMBER", "unreachable"),
        ("NO_ROUTE_DESTINATION", "unreachable"),
        ("NETWORK_OUT_OF_ORDER", "unreachable"),
        ("A_CAUSE_OF_TOMORROW", "unreachable"),
        ("", "unreachable"),
    ],
)
def test_a_failed_ring_has_an_outcome_that_operators_write(cause: str, outcome: str) -> None:
    assert wire.result_of(cause) == outcome


def test_only_outcomes_of_dial_come_out() -> None:
    assert set(wire.RESULT_OF_CAUSE.values()) == {"busy", "declined", "no_answer", "unreachable"}


def test_every_reason_to_hang_up_has_a_cause() -> None:
    assert set(wire.CAUSE_OF_REASON) == {*messages.HANGUP_REASONS, *messages.PHONE_REASONS}
