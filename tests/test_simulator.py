"""What the stand-in switch does beyond the transcripts: people, takeovers, the API, and mischief on demand."""

from __future__ import annotations

import json
import re
import socket
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import gevent
import pytest
from gevent.queue import Empty, Queue
from gevent.server import StreamServer
from gevent.socket import create_connection

from freeswitch.simulator import (
    Answers,
    Behaviour,
    Busy,
    Caller,
    NeverAnswers,
    Phone,
    Refuses,
    Rejects,
    Ring,
    Silent,
    Switch,
    Unregistered,
    media,
    shipped_dialplan,
)
from freeswitch.simulator.channel import words
from freeswitch.simulator.encoder import quote
from freeswitch.simulator.media import find_sounds

pytestmark = pytest.mark.tcp
SPEED = 20.0
PATIENCE = 5.0


class Connection:
    """One Event Socket connection, seen from the controller's side: raw bytes, no library of ours."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.seen: list[dict[str, str]] = []
        self.closed = False
        self._data = b""

    def send(self, *commands: str) -> None:
        self.sock.sendall("".join(f"{command}\n\n" for command in commands).encode())

    def execute(self, application: str, argument: str = "", uuid: str = "", lock: bool = False, loops: int = 1) -> None:
        lines = ["sendmsg", "call-command: execute", f"execute-app-name: {application}"]
        lines += [f"execute-app-arg: {argument}"] if argument else []
        lines += [f"Event-UUID: {uuid}"] if uuid else []
        lines += [f"loops: {loops}"] if loops != 1 else []
        lines += ["event-lock: true"] if lock else []
        self.send("\n".join(lines))

    def next(self) -> dict[str, str]:
        """The next message as one mapping; `body` is what followed its headers. EOFError at the end."""
        while True:
            head, blank, rest = self._data.partition(b"\n\n")
            length = re.search(rb"^Content-Length: (\d+)$", head, re.MULTILINE)
            size = int(length[1]) if length and not head.startswith(b"Event-Name") else 0
            if blank and len(rest) >= size:
                self._data = rest[size:]
                message = fields(head.decode())
                body = rest[:size].decode()
                if message.get("Content-Type") == "text/event-plain":
                    inside, _, body = body.partition("\n\n")
                    message |= fields(inside)
                message["body"] = body
                self.seen.append(message)
                return message
            with gevent.Timeout(PATIENCE, AssertionError(f"nothing came after {self.names()}")):
                data = self.sock.recv(65536)
            if not data:
                self.closed = True
                raise EOFError
            self._data += data

    def until(self, **wanted: str) -> dict[str, str]:
        """The next message with these values (underscores in names stand for hyphens, `v_` for `variable_`)."""
        expected = {
            ("variable_" + name[2:] if name.startswith("v_") else name.replace("_", "-")): value
            for name, value in wanted.items()
        }
        while True:
            message = self.next()
            if all(message.get(name) == value for name, value in expected.items()):
                return message

    def event(self, name: str, **wanted: str) -> dict[str, str]:
        return self.until(Event_Name=name, **wanted)

    def api(self, command: str) -> str:
        self.send(f"api {command}")
        return self.until(Content_Type="api/response")["body"]

    def job(self, command: str, uuid: str) -> str:
        self.send(f"bgapi {command}\nJob-UUID: {uuid}")
        return self.event("BACKGROUND_JOB", Job_UUID=uuid)["body"]

    def end(self) -> None:
        """Read until the switch closes."""
        while True:
            try:
                self.next()
            except EOFError:
                return

    def die(self) -> None:
        """What kill -9 does to a connection."""
        self.sock.close()

    def names(self) -> list[str]:
        return [message.get("Event-Name") or message.get("Content-Type", "") for message in self.seen]


def fields(block: str) -> dict[str, str]:
    return {name: unquote(value) for name, _, value in (line.partition(": ") for line in block.split("\n"))}


class Controllers:
    """Ports that calls are sent to."""

    def __init__(self) -> None:
        self.connections: Queue[Connection] = Queue()
        self.server = StreamServer(("127.0.0.1", 0), self._accept)
        self.server.start()
        self.address = ("127.0.0.1", int(self.server.server_port or 0))
        self._kept: list[Connection] = []

    def _accept(self, sock: socket.socket, _: object) -> None:
        # The server would close its own object when this returns.
        connection = Connection(sock.dup())
        self._kept.append(connection)
        self.connections.put(connection)

    def take(self, *, linger: int = 5) -> tuple[Connection, dict[str, str]]:
        """The next call: its connection, made ready, and the channel as `connect` told it."""
        try:
            connection = self.connections.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError("no call came") from None
        connection.send("connect")
        channel = connection.until(Event_Name="CHANNEL_DATA")
        connection.send(f"linger {linger}", "myevents", "event plain BACKGROUND_JOB RECORD_START RECORD_STOP")
        connection.until(Reply_Text="+OK event listener enabled plain")
        return connection, channel

    def stop(self) -> None:
        self.server.stop(timeout=0)
        for connection in self._kept:
            connection.sock.close()


@pytest.fixture
def controllers() -> Iterator[Controllers]:
    made = Controllers()
    yield made
    made.stop()


@pytest.fixture
def switch(controllers: Controllers) -> Iterator[Switch]:
    with Switch([controllers.address], speed=SPEED, password="secret") as made:
        yield made


def inbound(switch: Switch, *commands: str) -> Connection:
    connection = Connection(create_connection(switch.esl_address))
    connection.until(Content_Type="auth/request")
    connection.send("auth secret", *commands)
    for _ in range(1 + len(commands)):
        assert connection.until(Content_Type="command/reply")["Reply-Text"].startswith("+OK")
    return connection


def joined(switch: Switch, controllers: Controllers, resume: str) -> tuple[Connection, Connection, str]:
    """A caller who talks with 301: the call's connection, an inbound one, and the call."""
    caller = switch.call("+74950000001", "+74951234567")
    call, _ = controllers.take()
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HANGUP_COMPLETE")
    call.execute("answer")
    call.event("CHANNEL_EXECUTE_COMPLETE", Application="answer")
    leg = "{origination_uuid=leg-1,originate_timeout=9}user/301@acme.cordboard.test"
    assert watch.job(f"originate {leg} 'set:cordboard_ready=true,park' inline", "ring") == "+OK leg-1\n"
    watch.api(f"uuid_setvar {caller.uuid} socket_resume {resume}")
    assert watch.job(f"uuid_bridge {caller.uuid} leg-1", "join") == "+OK leg-1\n"
    call.event("CHANNEL_BRIDGE")
    caller.wait("talking")
    return call, watch, caller.uuid


# -- people -----------------------------------------------------------------------------------------------


def test_a_caller_keeps_a_journal_in_words_of_people(switch: Switch, controllers: Controllers) -> None:
    switch.sounds["welcome.wav"] = 2.0
    caller = switch.call("+74950000001", "+74951234567", name="Ivan Petrov")
    call, channel = controllers.take()
    assert channel["Caller-Caller-ID-Name"] == "Ivan Petrov"
    assert channel["variable_cordboard_called"] == "+74951234567"
    call.execute("ring_ready")
    call.execute("answer")
    call.execute("playback", "/sounds/welcome.wav")
    caller.wait("heard:welcome.wav")
    caller.press("2")
    call.event("DTMF", DTMF_Digit="2")
    call.event("CHANNEL_EXECUTE_COMPLETE", Application="playback", Application_Response="FILE PLAYED")
    call.send(f"api uuid_kill {caller.uuid} USER_BUSY")
    caller.wait("ended")
    assert [(entry.what, entry.detail) for entry in caller.journal] == [
        ("calls", "+74951234567"),
        ("hears ringing", ""),
        ("is answered", ""),
        ("hears", "welcome.wav"),
        ("presses", "2"),
        ("is hung up on", "USER_BUSY"),
    ]
    assert caller.state == "ended"
    assert caller.heard == ["/sounds/welcome.wav"]


def test_both_sides_of_a_talk_know_with_whom(switch: Switch, controllers: Controllers) -> None:
    phone = switch.phone("301", Answers(after=1, talk=4))
    _, watch, _ = joined(switch, controllers, resume="false")
    caller = switch.callers[0]
    assert caller.talking_to == "301"
    assert phone.talking_to == "+74950000001"
    watch.event("CHANNEL_UNBRIDGE")
    switch.wait(lambda: caller.talking_to is None)
    assert [entry.what for entry in phone.history] == ["rings", "answers", "talks with", "hangs up"]
    assert ("stops talking with", "301") in [(entry.what, entry.detail) for entry in caller.journal]
    assert not phone.calls


def test_wait_names_what_did_not_happen_and_tells_the_story(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    with pytest.raises(TimeoutError, match=r"waited 0.05 s for talking:\n.*calls 100"):
        caller.wait("talking", timeout=0.05)


def test_a_plan_is_what_a_caller_does_by_himself(switch: Switch, controllers: Controllers) -> None:
    def plan(caller: Caller) -> None:
        caller.wait("answered")
        caller.press("12")
        switch.sleep(1)
        caller.hangup()

    caller = switch.call("+74950000001", "100", plan=plan)
    call, _ = controllers.take()
    call.execute("answer")
    assert call.event("DTMF")["DTMF-Digit"] == "1"
    assert call.event("DTMF")["DTMF-Digit"] == "2"
    call.event("CHANNEL_HANGUP_COMPLETE", v_hangup_cause="NORMAL_CLEARING")
    assert caller.hangup_cause == "NORMAL_CLEARING"


def test_a_caller_who_gives_up_before_the_answer_has_cancelled(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    caller.hangup()
    assert call.event("CHANNEL_HANGUP")["Hangup-Cause"] == "ORIGINATOR_CANCEL"


def test_a_display_name_goes_out_with_its_percent_signs_untouched(switch: Switch, controllers: Controllers) -> None:
    switch.call("+74950000001", "100", name="Bob%0Avariable_tenant: victim")
    connection = controllers.connections.get(timeout=PATIENCE)
    connection.send("connect")
    raw = b""
    while b"Control: full" not in raw:
        raw += connection.sock.recv(65536)
    assert b"Caller-Caller-ID-Name: Bob%0Avariable_tenant%3A%20victim\n" in raw


def test_text_that_reaches_an_application_is_expanded_and_what_it_ran_is_kept(
    switch: Switch, controllers: Controllers
) -> None:
    switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("set", "a=${system(rm -rf x)}${direction}")
    assert call.event("CHANNEL_EXECUTE_COMPLETE", Application="set")["variable_a"] == "inbound"
    assert switch.executed == ["system rm -rf x"]


# -- phones -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (Busy(), "-ERR USER_BUSY\n"),
        (Rejects(), "-ERR CALL_REJECTED\n"),
        (NeverAnswers(), "-ERR NO_ANSWER\n"),
        (Unregistered(), "-ERR USER_NOT_REGISTERED\n"),
        (None, "-ERR SUBSCRIBER_ABSENT\n"),
        (Answers(after=0.5), "+OK leg-0001\n"),
    ],
)
def test_each_phone_gives_its_own_result(switch: Switch, behaviour: Answers | None, result: str) -> None:
    if behaviour is not None:
        switch.phone("301", behaviour)
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    dial = "{origination_uuid=leg-0001,originate_timeout=3}user/301@acme.cordboard.test"
    assert watch.job(f"originate {dial} &park()", "j1") == result


def originate(watch: Connection, uuid: str, seconds: int = 3) -> str:
    """What comes of ringing 301."""
    dial = f"{{origination_uuid={uuid},origination_caller_id_number={uuid},originate_timeout={seconds}}}"
    return watch.job(f"originate {dial}user/301@acme.cordboard.test &park()", f"job-{uuid}")


def test_a_phone_may_decide_for_each_call_by_what_it_shows(switch: Switch) -> None:
    shown: list[str] = []
    known: dict[str, Behaviour] = {"11": Rejects(), "12": Answers(after=0.2, hangs_up=0.5)}

    def decide(ring: Ring) -> Behaviour:
        shown.append(ring.number)
        return known.get(ring.number, Unregistered())

    switch.phone("301", decide)
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_HANGUP_COMPLETE")
    assert originate(watch, "11") == "-ERR CALL_REJECTED\n"
    assert originate(watch, "12") == "+OK 12\n"
    assert watch.event("CHANNEL_HANGUP_COMPLETE", Unique_ID="12")["Hangup-Cause"] == "NORMAL_CLEARING"
    assert originate(watch, "13") == "-ERR USER_NOT_REGISTERED\n"
    assert shown == ["11", "12", "13"]


def test_a_phone_with_one_line_is_busy_while_it_rings_and_while_it_talks(switch: Switch) -> None:
    phone = switch.phone("301", Answers(after=1))
    phone.lines = 1
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    watch.send(
        "bgapi originate {origination_uuid=21,originate_timeout=9}user/301@acme.cordboard.test &park()\nJob-UUID: first"
    )
    switch.wait(lambda: phone.ringing)
    assert originate(watch, "22") == "-ERR USER_BUSY\n"
    assert watch.event("BACKGROUND_JOB", Job_UUID="first")["body"] == "+OK 21\n"
    assert originate(watch, "23") == "-ERR USER_BUSY\n"
    watch.api("uuid_kill 21")
    assert originate(watch, "24") == "+OK 24\n"


def test_a_phone_with_one_line_is_busy_while_it_calls_somebody(switch: Switch, controllers: Controllers) -> None:
    switch.phone("301", Answers(after=0.1)).lines = 1
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    caller = switch.call("301", "*44", company="acme", extension="301")
    assert originate(watch, "31") == "-ERR USER_BUSY\n"
    caller.hangup()
    assert originate(watch, "32") == "+OK 32\n"


def test_a_registration_that_comes_back_finds_the_phone_as_it_was(switch: Switch) -> None:
    phone = switch.phone("301", Answers(after=0.1))
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_HANGUP_COMPLETE")
    assert originate(watch, "41") == "+OK 41\n"
    phone.unregister()
    assert watch.api("uuid_exists 41") == "true"
    phone.unregister()
    assert originate(watch, "42") == "-ERR USER_NOT_REGISTERED\n"
    phone.register()
    assert originate(watch, "43") == "+OK 43\n"


def test_a_phone_presses_keys_after_it_answered(switch: Switch) -> None:
    switch.phone("301", Answers(after=0.5, presses="15"))
    watch = inbound(switch, "event plain DTMF")
    watch.send("bgapi originate user/301@acme.cordboard.test &park()")
    assert [watch.event("DTMF")["DTMF-Digit"] for _ in range(2)] == ["1", "5"]


def test_the_variables_of_a_leg_are_in_its_events_and_park_timeout_ends_it(switch: Switch) -> None:
    switch.phone("301", Answers(after=0.2))
    watch = inbound(
        switch, "event plain CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_ANSWER CHANNEL_PARK CHANNEL_HANGUP_COMPLETE"
    )
    begun = switch.clock()
    watch.send(
        "bgapi originate {origination_uuid=leg-0001,cordboard_call=c-1,park_timeout=3:LOSE_RACE}"
        "user/301@acme.cordboard.test 'set:cordboard_ready=true,park' inline"
    )
    for event in ("CHANNEL_CREATE", "CHANNEL_PROGRESS", "CHANNEL_ANSWER"):
        assert watch.event(event)["variable_cordboard_call"] == "c-1"
    assert watch.event("CHANNEL_PARK")["variable_cordboard_ready"] == "true"
    ended = watch.event("CHANNEL_HANGUP_COMPLETE")
    assert ended["Hangup-Cause"] == "LOSE_RACE"
    assert 2.0 <= switch.clock() - begun <= 6.0


def test_an_originate_goes_on_when_the_connection_that_asked_for_it_dies(switch: Switch) -> None:
    switch.phone("301", Answers(after=2))
    watch = inbound(switch, "event plain CHANNEL_PARK BACKGROUND_JOB")
    asks = inbound(switch)
    asks.send("bgapi originate {origination_uuid=leg-0001}user/301@acme.cordboard.test &park()\nJob-UUID: j1")
    asks.until(Job_UUID="j1")
    asks.die()
    assert {watch.next()["Event-Name"], watch.next()["Event-Name"]} == {"CHANNEL_PARK", "BACKGROUND_JOB"}
    assert "leg-0001" in switch.channels


def test_a_job_is_told_to_every_connection_that_subscribed(switch: Switch) -> None:
    one, two = (inbound(switch, "event plain BACKGROUND_JOB") for _ in range(2))
    none = inbound(switch)
    assert one.job("status", "j1").startswith("UP 0 years")
    assert two.event("BACKGROUND_JOB")["Job-Command"] == "status"
    assert none.api("uuid_exists nobody") == "false"
    assert "BACKGROUND_JOB" not in none.names()


# -- outside ----------------------------------------------------------------------------------------------

MOBILE = "+79161112233"
SCREENED = "cordboard_screen XML cordboard_screen"


def outside(switch: Switch, behaviour: Behaviour, **more: str) -> Phone:
    switch.gateway("carrier-a")
    return switch.outside(MOBILE, behaviour, **more)


def ring_outside(
    watch: Connection,
    variables: str = "",
    then: str = "&park()",
    *,
    gateway: str = "carrier-a",
    number: str = MOBILE,
    leg: str = "leg-0001",
) -> str:
    known = f"origination_uuid={leg},originate_timeout=20,cordboard_call=c-1"
    dialled = f"{{{known}{variables and ',' + variables}}}sofia/gateway/{gateway}/{number}"
    return watch.job(f"originate {dialled} {then}", leg)


def told(phone: Phone, what: str) -> list[str]:
    return [entry.detail for entry in phone.history if entry.what == what]


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (Answers(after=0.2), "+OK leg-0001\n"),
        (Busy(), "-ERR USER_BUSY\n"),
        (Rejects(), "-ERR CALL_REJECTED\n"),
        (NeverAnswers(), "-ERR NO_ANSWER\n"),
        (Unregistered(), "-ERR NO_USER_RESPONSE\n"),
        (Refuses(403), "-ERR CALL_REJECTED\n"),
        (Refuses(503), "-ERR NORMAL_TEMPORARY_FAILURE\n"),
    ],
)
def test_an_outside_phone_does_as_a_phone_of_ours(switch: Switch, behaviour: Behaviour, result: str) -> None:
    outside(switch, behaviour)
    assert ring_outside(inbound(switch, "event plain BACKGROUND_JOB")) == result


def test_an_outside_phone_is_found_by_its_number_exactly_as_the_trunk_is_sent_it(switch: Switch) -> None:
    outside(switch, Answers(after=0.1))
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    assert ring_outside(watch, number="89161112233") == "-ERR UNALLOCATED_NUMBER\n"
    assert ring_outside(watch) == "+OK leg-0001\n"


def test_a_number_may_be_known_to_one_gateway_only(switch: Switch) -> None:
    switch.gateway("carrier-b")
    outside(switch, Answers(after=0.1), gateway="carrier-b")
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    assert ring_outside(watch) == "-ERR UNALLOCATED_NUMBER\n"
    assert ring_outside(watch, gateway="carrier-b") == "+OK leg-0001\n"
    assert [entry.detail for entry in switch.gateway("carrier-a").history] == [MOBILE]


def test_a_gateway_may_be_unknown_down_or_refuse_every_call(switch: Switch) -> None:
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_HANGUP_COMPLETE")
    assert ring_outside(watch) == "-ERR INVALID_GATEWAY\n"
    phone = outside(switch, Answers(after=0.1))
    switch.gateway("carrier-a", up=False)
    assert ring_outside(watch) == "-ERR GATEWAY_DOWN\n"
    switch.gateway("carrier-a", behaviour=Refuses(403))
    assert ring_outside(watch) == "-ERR CALL_REJECTED\n"
    ended = next(each for each in watch.seen if each.get("Event-Name") == "CHANNEL_HANGUP_COMPLETE")
    assert ended["variable_proto_specific_hangup_cause"] == "sip:403"
    assert ended["variable_sip_gateway_name"] == "carrier-a"
    assert phone.history == []


def test_a_carrier_that_says_nothing_is_given_up_after_five_seconds(switch: Switch) -> None:
    switch.gateway("carrier-a", behaviour=Silent())
    begun = switch.clock()
    assert ring_outside(inbound(switch, "event plain BACKGROUND_JOB")) == "-ERR RECOVERY_ON_TIMER_EXPIRE\n"
    assert 4.5 <= switch.clock() - begun <= 9.0


def test_a_phone_remembers_the_number_and_the_name_that_it_showed(switch: Switch) -> None:
    phone = outside(switch, Busy())
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    ring_outside(watch, "origination_caller_id_number=+74951234567")
    ring_outside(watch, "origination_caller_id_number=301,origination_caller_id_name='Anna P.'")
    assert told(phone, "rings") == ["+74951234567", "301 Anna P."]


def test_a_scheduled_hangup_ends_the_talk_and_the_caller_comes_back(switch: Switch, controllers: Controllers) -> None:
    outside(switch, Answers(after=0.1))
    caller = switch.call("+74950000001", "+74951234567")
    call, _ = controllers.take()
    call.execute("answer")
    call.event("CHANNEL_EXECUTE_COMPLETE", Application="answer")
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_HANGUP_COMPLETE")
    assert ring_outside(watch, "", "'sched_hangup:+4,set:cordboard_ready=true,park' inline") == "+OK leg-0001\n"
    watch.api(f"uuid_setvar {caller.uuid} transfer_after_bridge cordboard_resume:XML:cordboard")
    watch.api(f"uuid_setvar {caller.uuid} socket_resume false")
    watch.job(f"uuid_bridge {caller.uuid} leg-0001", "join")
    assert watch.event("CHANNEL_HANGUP_COMPLETE", Unique_ID="leg-0001")["Hangup-Cause"] == "ALLOTTED_TIMEOUT"
    _, channel = controllers.take()
    assert channel["Caller-Destination-Number"] == "cordboard_resume"


# -- screening --------------------------------------------------------------------------------------------

ABOUT_LEGS = "event plain BACKGROUND_JOB DTMF CHANNEL_PARK CHANNEL_HANGUP_COMPLETE CUSTOM cordboard::ready"


@pytest.mark.parametrize("waits", [0.5, 2.5, 5.0], ids=["the whisper", "the question", "the silence after it"])
def test_key_1_makes_a_leg_ready_during(switch: Switch, waits: float) -> None:
    switch.sounds |= {"who.wav": 2.0, "press.wav": 1.0}
    outside(switch, Answers(after=0.1, presses="1", waits=waits))
    watch = inbound(switch, ABOUT_LEGS)
    assert ring_outside(watch, "cordboard_confirm=/s/who.wav!/s/press.wav", SCREENED) == "+OK leg-0001\n"
    assert watch.api("uuid_getvar leg-0001 cordboard_ready") == "asked"
    ready = watch.event("CUSTOM")
    assert ready["Event-Subclass"] == "cordboard::ready"
    assert (ready["Unique-ID"], ready["variable_cordboard_call"]) == ("leg-0001", "c-1")
    assert "variable_cordboard_confirm" not in ready
    assert watch.api("uuid_getvar leg-0001 cordboard_ready") == "true"


@pytest.mark.parametrize(("presses", "cause"), [("2", "CALL_REJECTED"), ("#", "CALL_REJECTED"), ("", "NO_ANSWER")])
def test_another_key_and_no_key_end_a_screened_leg(switch: Switch, presses: str, cause: str) -> None:
    switch.sounds["press.wav"] = 0.5
    phone = outside(switch, Answers(after=0.1, presses=presses, waits=1.0))
    watch = inbound(switch, ABOUT_LEGS)
    ring_outside(watch, "cordboard_confirm=/s/press.wav", SCREENED)
    assert watch.event("CHANNEL_HANGUP_COMPLETE")["Hangup-Cause"] == cause
    assert told(phone, "hears").count("press.wav") == (1 if presses else 3)
    assert "CUSTOM" not in watch.names()


def test_a_screened_leg_is_known_by_the_number_that_was_dialled(switch: Switch, controllers: Controllers) -> None:
    switch.sounds["who.wav"] = 0.2
    outside(switch, Answers(after=0.1))
    caller = switch.call("+74950000001", "+74951234567")
    call, _ = controllers.take()
    call.execute("answer")
    watch = inbound(switch, ABOUT_LEGS)
    assert ring_outside(watch, "cordboard_whisper=/s/who.wav", SCREENED) == "+OK leg-0001\n"
    watch.event("CUSTOM")
    watch.job(f"uuid_bridge {caller.uuid} leg-0001", "join")
    caller.wait("talking")
    assert caller.talking_to == MOBILE


def test_screening_takes_no_longer_than_fifteen_seconds(switch: Switch) -> None:
    switch.sounds["press.wav"] = 9.0
    phone = outside(switch, Answers(after=0.1))
    watch = inbound(switch, ABOUT_LEGS)
    begun = switch.clock()
    ring_outside(watch, "cordboard_confirm=/s/press.wav", SCREENED)
    assert watch.event("CHANNEL_HANGUP_COMPLETE")["Hangup-Cause"] == "NO_ANSWER"
    assert switch.clock() - begun < 20.0
    assert told(phone, "hears").count("press.wav") == 2


def test_a_whisper_is_heard_to_its_end_and_a_missing_one_costs_nothing(switch: Switch) -> None:
    switch.sounds["who.wav"] = 2.0
    phone = outside(switch, Answers(after=0.1, presses="*"))
    watch = inbound(switch, ABOUT_LEGS)
    begun = switch.clock()
    ring_outside(watch, "cordboard_whisper=/s/who.wav,park_timeout=1:LOSE_RACE", SCREENED)
    watch.event("CUSTOM")
    assert switch.clock() - begun >= 2.0
    assert watch.event("CHANNEL_HANGUP_COMPLETE")["Hangup-Cause"] == "LOSE_RACE"
    ring_outside(watch, "cordboard_whisper=/s/missing.wav", SCREENED, leg="leg-0002")
    assert watch.event("CUSTOM")["Unique-ID"] == "leg-0002"
    assert told(phone, "hears") == ["who.wav"]


def test_a_missing_question_leaves_a_tone(switch: Switch) -> None:
    phone = outside(switch, Answers(after=0.1, presses="1"))
    watch = inbound(switch, ABOUT_LEGS)
    ring_outside(watch, "cordboard_confirm=/s/missing.wav", SCREENED)
    watch.event("CUSTOM")
    assert told(phone, "hears") == ["tone"]


def test_a_list_of_variables_may_be_separated_by_another_character_than_commas(switch: Switch) -> None:
    phone = outside(switch, Answers(after=0.1))
    watch = inbound(switch, ABOUT_LEGS)
    pairs = "^^~origination_uuid=leg-0001~cordboard_call=c-1~cordboard_confirm=tone_stream://%(900,0,400);loops=1"
    assert watch.job(f"originate {{{pairs}}}sofia/gateway/carrier-a/{MOBILE} {SCREENED}", "j1") == "+OK leg-0001\n"
    switch.wait(lambda: told(phone, "hears") == ["tone", "tone"])


def test_only_a_leg_of_a_call_gets_into_the_screening(switch: Switch, controllers: Controllers) -> None:
    outside(switch, Answers(after=0.1))
    watch = inbound(switch, ABOUT_LEGS)
    watch.send(f"bgapi originate sofia/gateway/carrier-a/{MOBILE} {SCREENED}")
    assert watch.event("CHANNEL_HANGUP_COMPLETE")["Hangup-Cause"] == "UNALLOCATED_NUMBER"
    for dialled in ("cordboard_screen", "cordboard_told"):
        caller = switch.call("+74950000001", dialled)
        caller.wait("ended")
        assert caller.hangup_cause == "UNALLOCATED_NUMBER"
    caller = switch.call("+74950000001", "+74951234567")
    controllers.take()
    watch.api(f"uuid_setvar {caller.uuid} cordboard_call c-1")
    watch.api(f"uuid_transfer {caller.uuid} cordboard_told XML cordboard_screen")
    caller.wait("ended")
    assert "CUSTOM" not in watch.names()


def test_custom_events_reach_those_who_named_their_subclass(switch: Switch) -> None:
    outside(switch, Answers(after=0.1))
    named = inbound(switch, "event plain CHANNEL_PARK CUSTOM other::one cordboard::ready")
    everything = inbound(switch, "event plain ALL")
    deaf = [
        inbound(switch, "event plain CHANNEL_PARK CUSTOM other::one"),
        inbound(switch, "event plain CHANNEL_PARK CUSTOM"),
        inbound(switch, "event plain CHANNEL_PARK CUSTOM cordboard::ready", "nixevent CUSTOM cordboard::ready"),
    ]
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    ring_outside(watch, "cordboard_whisper=/s/missing.wav", SCREENED)
    for each in (named, everything):
        each.event("CUSTOM", Event_Subclass="cordboard::ready")
    for each in deaf:
        each.event("CHANNEL_PARK")
        assert "CUSTOM" not in each.names()


# -- phones of the directory ------------------------------------------------------------------------------


def test_a_phone_that_calls_is_known_by_its_password_and_not_by_what_it_says(
    switch: Switch, controllers: Controllers
) -> None:
    switch.call("303", "302", name="Kate", company="acme", extension="301")
    _, channel = controllers.take()
    known = {name: channel[f"variable_{name}"] for name in ("cordboard_company", "cordboard_extension", "user_name")}
    assert known == {"cordboard_company": "acme", "cordboard_extension": "301", "user_name": "301"}
    assert channel["variable_domain_name"] == channel["variable_sip_auth_realm"] == "acme.cordboard.test"
    assert channel["Caller-Caller-ID-Number"] == "303"
    assert channel["Event-Name"] == "CHANNEL_DATA"
    assert channel["variable_Event-Name"] == "REQUEST_PARAMS"  # FreeSWITCH's own, and no event's name
    assert "variable_sip_acl_authed_by" not in channel


def test_a_carriers_call_has_no_company(switch: Switch, controllers: Controllers) -> None:
    switch.call("+74950000001", "+74951234567")
    _, channel = controllers.take()
    assert channel["variable_sip_acl_authed_by"] == "trunks"
    assert "variable_cordboard_company" not in channel


def test_a_flushed_phone_is_registered_no_longer(switch: Switch) -> None:
    switch.phone("301", Answers())
    switch.phone("302", Answers())
    watch = inbound(switch)
    assert watch.api("reloadxml") == "+OK [Success]\n"
    flushed = watch.api("sofia profile internal flush_inbound_reg 301@acme.cordboard.test")
    assert flushed == "+OK flushing all registrations matching specified call_id\n"
    assert isinstance(switch.phone("301").behaviour, Unregistered)
    assert watch.api("sofia profile other flush_inbound_reg") == "Invalid Profile [other]"
    assert isinstance(switch.phone("302").behaviour, Answers)
    assert watch.api("sofia profile internal flush_inbound_reg") == "+OK flushing all registrations\n"
    assert isinstance(switch.phone("302").behaviour, Unregistered)


# -- the API ----------------------------------------------------------------------------------------------


def test_the_phones_directory_is_the_one_that_was_read_last(switch: Switch, tmp_path: Path) -> None:
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    asked = "domain_data cordboard-directory var version"
    version = tmp_path / "0-version.xml"
    version.write_text('<include><domain name="x"><variable name="version" value="one" /></domain></include>')
    switch.directory = tmp_path
    assert watch.api(asked) == "-ERR no reply\n"
    assert watch.job("reloadxml", "j1") == "+OK [Success]\n"
    version.write_text(version.read_text().replace("one", "two"))
    assert watch.api(asked) == "one"
    assert watch.api("reloadxml") == "+OK [Success]\n"
    assert watch.api(asked) == "two"
    assert watch.api("domain_data acme.cordboard.test var version") == "-ERR no reply\n"


def test_setvar_multi_splits_at_semicolons_and_strips_quotes(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    assert call.api(f"uuid_setvar_multi {caller.uuid} a=1;b='2';c=x=y") == "+OK\n"
    assert [call.api(f"uuid_getvar {caller.uuid} {name}") for name in "abcd"] == ["1", "2", "x=y", "_undef_"]
    assert call.api("uuid_setvar nobody a 1") == "-ERR No such channel!\n"


def test_show_channels_lists_what_lives(switch: Switch, controllers: Controllers) -> None:
    watch = inbound(switch)
    assert json.loads(watch.api("show channels as json")) == {"row_count": 0}
    caller = switch.call("+74950000001", "100")
    controllers.take()
    shown = json.loads(watch.api("show channels as json"))
    assert shown["row_count"] == 1
    assert shown["rows"][0]["uuid"] == caller.uuid
    assert watch.api(f"uuid_exists {caller.uuid}") == "true"
    assert watch.api(f"uuid_kill {caller.uuid} LOSE_RACE") == "+OK\n"
    assert watch.api(f"uuid_exists {caller.uuid}") == "false"


def test_hupall_ends_only_what_carries_the_variable(switch: Switch) -> None:
    for extension in ("301", "302", "303"):
        switch.phone(extension, NeverAnswers())
    watch = inbound(switch, "event plain BACKGROUND_JOB CHANNEL_CREATE")
    for extension, call in (("301", "a"), ("302", "a"), ("303", "b")):
        watch.send(
            f"bgapi originate {{origination_uuid=leg-{extension},cordboard_call={call}}}user/{extension} &park()"
        )
        watch.event("CHANNEL_CREATE")
    assert "[cordboard_call]=[a]" in watch.api("hupall LOSE_RACE cordboard_call a")
    assert [watch.event("BACKGROUND_JOB")["body"] for _ in range(2)] == ["-ERR LOSE_RACE\n"] * 2
    assert list(switch.channels) == ["leg-303"]


def test_filters_let_through_what_any_of_them_matches(switch: Switch, controllers: Controllers) -> None:
    watch = inbound(
        switch,
        "event plain CHANNEL_CREATE BACKGROUND_JOB",
        "filter variable_cordboard_call /./",
        "filter Event-Name BACKGROUND_JOB",
    )
    switch.phone("301", NeverAnswers())
    switch.call("+74950000001", "100")
    controllers.take()
    watch.send("bgapi originate {cordboard_call=c1}user/301 &park()", "bgapi status")
    told = [watch.until(Content_Type="text/event-plain") for _ in range(2)]
    assert {one["Event-Name"] for one in told} == {"CHANNEL_CREATE", "BACKGROUND_JOB"}
    assert [one["Call-Direction"] for one in told if "Call-Direction" in one] == ["outbound"]


def test_the_seventieth_transfer_hangs_the_call_up() -> None:
    def route(channel: object) -> list[tuple[str, str]]:
        return [("transfer", "again XML cordboard")]

    with Switch(dialplan=route, speed=SPEED) as switch:
        caller = switch.call("+74950000001", "again")
        caller.wait("ended")
        assert caller.hangup_cause == "EXCHANGE_ROUTING_ERROR"


# -- sound ------------------------------------------------------------------------------------------------


def test_a_sound_lasts_as_long_as_its_file(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(b"\0\0" * 32000)
    (tmp_path / "some.mp3").write_bytes(b"ID3")
    lengths = {"story.wav": 7.5}

    def seconds(spec: str) -> list[float | None] | None:
        found = find_sounds(spec, lengths)
        return None if found is None else [sound.seconds for sound in found]

    assert seconds(str(path)) == [2.0]
    assert seconds("/anywhere/story.wav") == [7.5]
    assert seconds("/nowhere/missing.wav") is None
    assert seconds(str(tmp_path / "some.mp3")) == [1.0]
    assert seconds("silence_stream://1500,1400") == [1.5]
    assert seconds("silence_stream://-1,1400") == [None]
    assert seconds("tone_stream://%(1000,4000,425);loops=-1") == [None]
    assert seconds("tone_stream://%(200,100,400);%(100,0,500);loops=2") == [0.8]
    assert seconds(f"file_string://{path}!silence_stream://500") == [2.0, 0.5]


def with_words(path: Path, seconds: float, words: str | None = None) -> Path:
    media.write_wav(str(path), seconds)
    if words is not None:
        path.with_suffix(".txt").write_text(f"{words}\n")
    return path


def test_files_of_words_joined_are_one_speech_as_long_as_all(tmp_path: Path) -> None:
    one, two = with_words(tmp_path / "1.wav", 0.5, "en\nHello "), with_words(tmp_path / "2.wav", 0.25, "en\nAcme.")
    spec = f"file_string://{one}!{two}"
    assert find_sounds(spec, {}) == [media.Sound(spec, 0.75, "Hello Acme.", "en")]
    assert find_sounds(f"{spec}!{tmp_path}/none.wav", {}) == [
        media.Sound(f"{spec}!{tmp_path}/none.wav", 0.75, "Hello Acme.", "en")
    ]
    assert find_sounds(f"file_string://{tmp_path}/none.wav!{tmp_path}/neither.wav", {}) is None


def test_a_caller_notices_words_or_the_name_that_a_file_had(
    switch: Switch, controllers: Controllers, tmp_path: Path
) -> None:
    speech = with_words(tmp_path / "a.wav", 0.1, "ru\nПривет.")
    named = with_words(tmp_path / "b.wav", 0.1, "\nnight.wav")
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("playback", str(speech), lock=True)
    call.execute("playback", str(named), lock=True)
    caller.wait("heard:speech")
    caller.wait("heard:night.wav")
    assert [entry.detail for entry in caller.journal if entry.what == "hears"] == ["“Привет.”", "night.wav"]


def test_endless_music_is_one_thing_to_hear_however_often_it_begins(
    switch: Switch, controllers: Controllers, tmp_path: Path
) -> None:
    music = with_words(tmp_path / "a.wav", 1.0, "\nmusic: moh")
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("playback", str(music), uuid="music", lock=True, loops=-1)
    rounds = [call.event("CHANNEL_EXECUTE_COMPLETE", Application="playback") for _ in range(3)]
    assert {event["Application-UUID"] for event in rounds} == {"music"}
    caller.wait("heard:music: moh")
    call.send(f"api uuid_break {caller.uuid}")
    call.execute("playback", "silence_stream://100", uuid="after", lock=True)
    call.event("CHANNEL_EXECUTE", Application_UUID="after")
    assert [entry.detail for entry in caller.journal if entry.what == "hears"] == ["music: moh", "silence"]


def test_an_endless_sound_of_less_than_half_a_second_is_heard_once(
    switch: Switch, controllers: Controllers, tmp_path: Path
) -> None:
    short = with_words(tmp_path / "a.wav", 0.4, "\nshort.wav")
    switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("playback", str(short), uuid="short", lock=True, loops=-1)
    call.execute("playback", "silence_stream://100", uuid="after", lock=True)
    call.event("CHANNEL_EXECUTE", Application_UUID="after")


def test_a_file_may_begin_in_the_middle_and_beyond_its_end_there_is_nothing(tmp_path: Path) -> None:
    file = with_words(tmp_path / "a.wav", 2.0, "\na.wav")

    def lasts(start: str) -> float | None:
        (sound,) = find_sounds(f"{file}{start}", {}) or []
        return sound.seconds

    assert lasts("@@4000") == 1.5
    assert lasts("@@") == lasts("") == 2.0
    assert lasts("@@16000") == lasts("@@80000") == 0.0


def test_the_switch_s_time_passes_at_its_speed(switch: Switch, controllers: Controllers) -> None:
    switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    began, real = switch.clock(), time.monotonic()
    call.execute("playback", "silence_stream://10000")
    call.event("CHANNEL_EXECUTE_COMPLETE", Application="playback")
    assert switch.clock() - began >= 10.0
    assert time.monotonic() - real < 5.0


def test_playing_to_an_unanswered_caller_is_early_media(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("playback", "silence_stream://100")
    assert call.event("CHANNEL_PROGRESS_MEDIA")["Answer-State"] == "early"
    assert not caller.answered


def test_a_message_is_a_real_file_of_its_length(switch: Switch, controllers: Controllers, tmp_path: Path) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("record", f"{tmp_path}/m.wav 30")
    call.event("RECORD_START", Record_File_Path=f"{tmp_path}/m.wav")
    caller.wait("recorded")
    switch.sleep(4)
    caller.hangup()
    stop = call.event("RECORD_STOP")
    assert stop["Answer-State"] == "hangup"
    with wave.open(f"{tmp_path}/m.wav") as sound:
        seconds = sound.getnframes() / sound.getframerate()
    assert seconds >= 4.0
    assert abs(int(stop["variable_record_ms"]) - seconds * 1000) < 2


def test_a_caller_who_sends_no_sound_leaves_an_empty_file(
    switch: Switch, controllers: Controllers, tmp_path: Path
) -> None:
    caller = switch.call("+74950000001", "100")
    caller.speaks = False
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("record", f"{tmp_path}/m.wav 2")
    assert call.event("RECORD_STOP")["variable_record_ms"] == "0"
    assert (tmp_path / "m.wav").stat().st_size == 44


def test_a_recorded_session_outlives_its_controller(switch: Switch, controllers: Controllers, tmp_path: Path) -> None:
    caller = switch.call("+74950000001", "100")
    first, _ = controllers.take()
    first.execute("answer")
    first.execute("record_session", f"{tmp_path}/new/talk.wav")
    first.event("CHANNEL_EXECUTE_COMPLETE", Application="record_session")
    first.die()
    second, _ = controllers.take()
    caller.hangup()
    assert second.event("RECORD_STOP")["Record-File-Path"] == f"{tmp_path}/new/talk.wav"


# -- takeovers --------------------------------------------------------------------------------------------


def test_a_call_outlives_five_controllers(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    for n in range(5):
        call, channel = controllers.take()
        assert channel["Unique-ID"] == caller.uuid
        assert channel.get("variable_cordboard_state", "0") == str(n)
        call.execute("answer")
        call.send(f"api uuid_setvar {caller.uuid} cordboard_state {n + 1}")
        call.execute("playback", "silence_stream://-1")
        call.event("CHANNEL_EXECUTE", Application="playback")
        call.die()
    call, channel = controllers.take()
    assert channel["Answer-State"] == "answered"


def test_a_controller_that_dies_during_record_costs_the_caller_the_call(
    switch: Switch, controllers: Controllers, tmp_path: Path
) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    call.execute("answer")
    call.execute("record", f"{tmp_path}/m.wav 30")
    call.event("RECORD_START")
    call.die()
    caller.wait("ended")
    assert caller.hangup_cause == "DESTINATION_OUT_OF_ORDER"


def test_without_resume_a_call_whose_controller_died_stays_where_it_is(
    switch: Switch, controllers: Controllers
) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    watch = inbound(switch, "event plain CHANNEL_UNPARK")
    call.api(f"uuid_setvar {caller.uuid} socket_resume")
    call.die()
    switch.wait(lambda: not caller.channel.listeners)
    switch.sleep(5)
    assert watch.api(f"uuid_exists {caller.uuid}") == "true"
    assert "CHANNEL_UNPARK" not in watch.names()
    watch.api(f"uuid_transfer {caller.uuid} cordboard_again XML cordboard")
    _, channel = controllers.take()
    assert channel["Caller-Destination-Number"] == "cordboard_again"
    assert channel["variable_cordboard_called"] == "100"


def test_a_talk_goes_on_when_the_socket_closes_and_comes_back_by_itself(
    switch: Switch, controllers: Controllers
) -> None:
    phone = switch.phone("301", Answers(after=0.5))
    call, watch, uuid = joined(switch, controllers, resume="false")
    watch.api(f"uuid_setvar {uuid} transfer_after_bridge cordboard_resume:XML:cordboard")
    call.die()
    switch.wait(lambda: not switch.callers[0].channel.listeners)
    assert switch.callers[0].state == "talking"
    watch.api("uuid_kill leg-1")
    assert not phone.calls
    _, channel = controllers.take()
    assert channel["Unique-ID"] == uuid
    assert channel["Caller-Destination-Number"] == "cordboard_resume"
    assert channel["variable_last_bridge_hangup_cause"] == "NORMAL_CLEARING"
    assert "variable_transfer_after_bridge" not in channel  # used up
    assert channel["variable_socket_resume"] == "false"


def test_a_talk_is_torn_down_when_the_socket_closes_while_resume_is_true(
    switch: Switch, controllers: Controllers
) -> None:
    phone = switch.phone("301", Answers(after=0.5))
    call, watch, uuid = joined(switch, controllers, resume="true")
    call.die()
    watch.event("CHANNEL_HANGUP_COMPLETE", Unique_ID="leg-1")
    assert phone.history[-1].what == "is hung up on"
    _, channel = controllers.take()
    assert channel["Unique-ID"] == uuid


def test_an_unanswered_caller_joined_without_an_answer_is_lost(switch: Switch, controllers: Controllers) -> None:
    switch.phone("301", Answers(after=0.5))
    caller = switch.call("+74950000001", "100")
    controllers.take()
    watch = inbound(switch, "event plain BACKGROUND_JOB")
    watch.job("originate {origination_uuid=leg-1}user/301 &park()", "j1")
    assert watch.job(f"uuid_bridge {caller.uuid} leg-1", "j2") == "+OK leg-1\n"
    caller.wait("ended")
    assert caller.hangup_cause == "DESTINATION_OUT_OF_ORDER"


def test_a_leg_rung_on_the_callers_own_socket_delays_the_takeover(switch: Switch, controllers: Controllers) -> None:
    switch.phone("301", NeverAnswers())
    switch.call("+74950000001", "100")
    call, _ = controllers.take()
    begun = switch.clock()
    call.send("bgapi originate {originate_timeout=8}user/301@acme.cordboard.test &park()\nJob-UUID: j1")
    call.until(Job_UUID="j1")
    call.die()
    controllers.take()
    assert switch.clock() - begun > 7.0


def test_a_controller_that_never_says_connect_is_given_up_after_25_seconds(
    switch: Switch, controllers: Controllers
) -> None:
    begun = switch.clock()
    switch.call("+74950000001", "100")
    controllers.connections.get(timeout=PATIENCE)  # and says nothing
    controllers.take()
    assert 24.0 < switch.clock() - begun < 40.0


def test_the_next_host_is_asked_when_one_cannot_be_reached(controllers: Controllers) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Switch([("127.0.0.1", closed.getsockname()[1]), controllers.address], speed=SPEED) as switch:
            caller = switch.call("+74950000001", "100")
            _, channel = controllers.take()
            assert channel["Unique-ID"] == caller.uuid


def test_a_call_that_no_controller_takes_is_refused_after_a_hundred_rounds() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Switch([("127.0.0.1", closed.getsockname()[1])], speed=100) as switch:
            begun = switch.clock()
            caller = switch.call("+74950000001", "100")
            caller.wait("ended")
            assert caller.hangup_cause == "NORMAL_TEMPORARY_FAILURE"
            assert switch.clock() - begun >= 9.0


def test_names_that_may_not_be_dialled_lead_nowhere(switch: Switch) -> None:
    for name in ("cordboard_resume", "cordboard_again", "${system(x)}", "alice"):
        caller = switch.call("+74950000001", name)
        caller.wait("ended")
        assert caller.hangup_cause == "UNALLOCATED_NUMBER"
    assert shipped_dialplan([]) is not None


# -- mischief ---------------------------------------------------------------------------------------------


def test_a_command_can_be_refused_on_demand(switch: Switch) -> None:
    watch = inbound(switch)
    switch.refuse(r"^api status", "-ERR no")
    switch.refuse(r"^bgapi", "-ERR busy")
    assert watch.api("status") == "-ERR no\n"
    watch.send("bgapi status")
    assert watch.until(Content_Type="command/reply")["Reply-Text"] == "-ERR busy"
    switch.accept_everything()
    assert watch.api("status").startswith("UP")


def test_inbound_connections_can_be_dropped_and_come_back(switch: Switch) -> None:
    watch = inbound(switch)
    switch.drop_inbound()
    watch.end()
    assert inbound(switch).api("hostname") == "switch1"


def test_half_an_event_and_the_end(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    switch.truncate(caller)
    call.end()
    assert call._data.startswith(b"Content-Length: 5000")


def test_bytes_that_mean_nothing(switch: Switch, controllers: Controllers) -> None:
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    switch.garbage(b"\xff\xfe\n\n", caller)
    raw = b""
    while b"\xff\xfe" not in raw:
        raw += call.sock.recv(65536)


def test_a_paused_switch_answers_when_it_goes_on(switch: Switch) -> None:
    watch = inbound(switch)
    switch.pause()
    watch.send("api hostname")
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        watch.next()
    switch.unpause()
    assert watch.until(Content_Type="api/response")["body"] == "switch1"


def test_a_peer_that_does_not_read_holds_nobody_up(switch: Switch, controllers: Controllers) -> None:
    deaf = inbound(switch, "event plain ALL")
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller = switch.call("+74950000001", "100")
    call, _ = controllers.take()
    for _ in range(300):
        call.execute("set", "a=" + "x" * 1000)
    for _ in range(300):
        call.event("CHANNEL_EXECUTE_COMPLETE", Application="set")
    assert call.api(f"uuid_getvar {caller.uuid} a") == "x" * 1000


def test_hundreds_of_calls_are_cheap(switch: Switch) -> None:
    def serve(sock: socket.socket, _: object) -> None:
        call = Connection(sock)
        call.send("connect", "linger 5", "myevents")
        call.execute("answer")
        call.execute("hangup", lock=True)
        call.event("CHANNEL_HANGUP_COMPLETE")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    switch.dialplan = shipped_dialplan([("127.0.0.1", int(server.server_port or 0))])
    begun = time.process_time()
    callers = [switch.call(f"+7495{n:07}", "100") for n in range(200)]
    switch.wait(lambda: all(caller.state == "ended" for caller in callers), timeout=20)
    assert {caller.hangup_cause for caller in callers} == {"NORMAL_CLEARING"}
    assert (time.process_time() - begun) / 200 < 0.02  # seconds of this process, both sides together
    server.stop(timeout=0)


# -- spelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("+7495", "%2B7495"),
        ("a b:c", "a%20b%3Ac"),
        ("50%", "50%25"),
        ("%(400,100,440)", "%25(400,100,440)"),
        ("Bob%0Ax", "Bob%0Ax"),
        ("Ünï", "%C3%9Cn%C3%AF"),
        ("v=0\r\n", "v%3D0%0D%0A"),
    ],
)
def test_values_are_encoded_as_freeswitch_encodes_them(plain: str, encoded: str) -> None:
    assert quote(plain) == encoded


def test_arguments_are_split_as_freeswitch_splits_them() -> None:
    assert words("{a='x y',b=1}user/301 'set:a=b,park' inline") == ["{a=x y,b=1}user/301", "set:a=b,park", "inline"]
