"""Recordings as the shell begins them, hears of their end once, and is commanded: with stand-ins for everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent import socket

from callcontrol import messages as m
from callcontrol import ringing, wire
from callcontrol.commands import Refused
from callcontrol.recorder import GRACE, Recorder
from callcontrol.recording import DEMAND, NO, ON, Noted
from callcontrol.ringing import Line
from callcontrol.server import Controller
from callcontrol.session import Session
from callcontrol.settings import Config
from callcontrol.spool import message_file, segment_file
from callcontrol.state import State, encode
from callcontrol.view import leg_id
from tests.playbook import CALL
from tests.test_shell import ADDRESS, LEG, TRUNKS, FakeCounts, Inbound, Listener, controller, event

__all__ = ["controller"]

STATE = State("acme", "0" * 16, "+74951234567", 3, 1000, "main", "ring", talk=("302", 1010, 1))
TALKS_WITH = leg_id(CALL, 1, "302")
FILE = segment_file("acme", CALL, TALKS_WITH, 1).name


class Switch:
    """A switch with one call; ``recorded``: whether it says that it records."""

    name, connected = "switch1", True

    def __init__(self) -> None:
        self.variables = {"cordboard_state": encode(STATE), "socket_resume": "false", "bridge_to": TALKS_WITH}
        self.happens: Callable[[str], object] = lambda command: None
        self.writing: set[str] = set()
        self.records = True
        self.asked: list[str] = []

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        self.asked.append(command.text)
        self.happens(command.text)
        _, verb, call, *rest = command.text.split(" ")
        if call != CALL:
            return "-ERR No such channel!\n"
        if verb == "uuid_getvar":
            return self.variables.get(rest[0], "_undef_")
        if verb == "uuid_setvar":
            self.variables[rest[0]] = rest[1]
        elif verb == "uuid_setvar_multi":
            self.variables |= dict(pair.split("=") for pair in rest[0].split(";"))
        elif rest[0] == "start" and self.records:
            self.writing.add(rest[1])
        elif rest[1] not in self.writing:
            return "-ERR no\n"
        elif rest[0] == "stop":
            self.writing.remove(rest[1])
        return "+OK\n"


class House:
    """One process; several share ``told``, what Redis knows."""

    def __init__(self, switch: Switch, told: set[str] | None = None) -> None:
        self.lines = [switch]
        self.told = told if told is not None else set()
        self.redis_away = False
        self.trouble = ""
        self.facts: list[tuple[str, int, int, dict[str, Any]]] = []

    def spool_file(self, name: str) -> wire.SoundPath:
        return wire.SoundPath(f"/spool/{name}")

    def spool_trouble(self) -> str:
        return self.trouble

    def lease(self, name: str, seconds: float) -> bool:
        if self.redis_away or name in self.told:
            return False
        self.told.add(name)
        return True

    def release(self, name: str) -> None:
        self.told.remove(name)

    def leased(self, names: Sequence[str]) -> set[str]:
        return set() if self.redis_away else self.told & {*names}

    def now(self) -> float:
        return 1020.5

    def write(self, fact: m.Tell, company: str, call: str, epoch: int, n: int, switch: str) -> None:
        assert (company, call, switch) == ("acme", CALL, "switch1")
        self.facts.append((fact.type, epoch, n, fact.data))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, *_ in self.facts]


def recorder(house: House) -> Recorder:
    return Recorder(cast(Any, house))


@pytest.fixture
def switch() -> Switch:
    return Switch()


def stop_of(name: str, path: str = "/spool/", call: str = CALL) -> Any:
    headers = {
        "Unique-ID": call,
        "Record-File-Path": path + name,
        "variable_record_ms": "4120",
        "variable_cordboard_state": encode(STATE),
    }
    return SimpleNamespace(name="RECORD_STOP", body="", get=headers.get)


# ---------------------------------------------------------------------------------------------- being told


def test_the_one_that_began_it_tells_its_end_at_once_and_nobody_else(switch: Switch) -> None:
    house, other = House(switch), House(switch)
    other.told = house.told
    ours, theirs = recorder(house), recorder(other)
    ours.begins(CALL, "acme", 3, FILE)
    ours.asked(cast(Any, switch), FILE, "+OK Success\n")
    for each in (theirs, ours):
        each.stopped(cast(Any, switch), stop_of(FILE))
    gevent.sleep(0)
    theirs.settle(float("inf"))
    gevent.sleep(0)
    assert house.kinds == ["recording.started", "recording.stopped"]
    assert house.facts[-1] == ("recording.stopped", 3, 1_000_012, {"file": FILE, "seconds": 4.12})
    assert other.kinds == []


def test_if_that_one_is_dead_one_of_the_others_does_after_a_while(switch: Switch) -> None:
    houses = [House(switch), House(switch)]
    houses[1].told = houses[0].told
    processes = [recorder(house) for house in houses]
    for each in processes:
        each.stopped(cast(Any, switch), stop_of(FILE))
        each.settle(0.0)  # too early
        gevent.sleep(0)
    assert [house.kinds for house in houses] == [[], []]
    for each in processes:
        each.settle(float("inf"))
        gevent.sleep(0)
    assert sorted(len(house.kinds) for house in houses) == [0, 1]
    assert GRACE > 0


def test_without_redis_all_tell_the_same_fact(switch: Switch) -> None:
    houses = [House(switch), House(switch)]
    for house in houses:
        house.redis_away = True
        each = recorder(house)
        each.stopped(cast(Any, switch), stop_of(FILE))
        each.settle(float("inf"))
        gevent.sleep(0)
    assert houses[0].facts == houses[1].facts
    assert houses[0].kinds == ["recording.stopped"]


@pytest.mark.parametrize(
    "heard",
    [
        stop_of(message_file("acme", CALL, 1).name),
        stop_of(FILE, path="/elsewhere/"),
        stop_of(FILE, call="another-call"),
        stop_of("nothing.wav"),
    ],
)
def test_what_is_no_talk_of_the_call_in_our_spool_is_none_of_ours(switch: Switch, heard: Any) -> None:
    house = House(switch)
    each = recorder(house)
    each.stopped(cast(Any, switch), heard)
    each.settle(float("inf"))
    gevent.sleep(0)
    assert house.facts == []


def test_a_switch_that_does_not_record_is_a_fact_and_it_may_be_asked_again(switch: Switch) -> None:
    house = House(switch)
    each = recorder(house)
    each.begins(CALL, "acme", 3, FILE)
    each.asked(cast(Any, switch), FILE, "-ERR Cannot record session!\n")
    gevent.sleep(0)
    assert house.kinds == ["recording.failed"]
    assert switch.variables["cordboard_recording"] == Noted(1, DEMAND).text


# ------------------------------------------------------------------------------------------------ commands


def talking(switch: Switch, mode: str, segments: int = 0) -> tuple[House, Recorder]:
    switch.variables["cordboard_recording"] = Noted(segments, mode).text
    house = House(switch)
    return house, recorder(house)


def test_a_talk_is_recorded_from_when_somebody_asks_and_each_time_into_a_new_file(switch: Switch) -> None:
    house, each = talking(switch, DEMAND)
    assert each.start("acme", CALL, "anna") == {"call": CALL, "file": FILE, "state": "recording"}
    assert house.kinds == ["recording.expected", "recording.started"]
    assert house.facts[0][3] == {
        "file": FILE, "rule": "on demand, by anna", "leg": TALKS_WITH, "with": "302", "segment": 1, "consent": False,
    }  # fmt: skip
    assert switch.writing == {f"/spool/{FILE}"}
    assert switch.variables["cordboard_file"] == f"/spool/{FILE}"
    with pytest.raises(Refused, match="is being recorded"):
        each.start("acme", CALL, "anna")
    assert each.stop("acme", CALL, "anna")["state"] == "stopped"
    again = each.start("acme", CALL, "anna")["file"]
    assert again == segment_file("acme", CALL, TALKS_WITH, 2).name


def test_a_talk_that_ends_while_a_command_begins_to_record_it_is_not_recorded_nor_is_what_comes_after_it(
    switch: Switch,
) -> None:
    """The call has gone on meanwhile: whoever has it knows nothing of the file, and records the next talk into it."""
    house, each = talking(switch, DEMAND)
    switch.happens = lambda command: switch.variables.pop("bridge_to", "") if " start " in command else None
    with pytest.raises(Refused, match="just ended"):
        each.start("acme", CALL, "anna")
    assert switch.writing == set()
    assert switch.variables["cordboard_recording"] == Noted(1, NO).text
    assert switch.variables["cordboard_file"] == ""
    assert not house.told


def test_after_a_transfer_by_a_telephone_nothing_is_recorded_on_demand(switch: Switch) -> None:
    """Whoever is joined now may be one who must not be recorded."""
    house, each = talking(switch, DEMAND)
    switch.variables["bridge_to"] = "another-leg"
    with pytest.raises(Refused, match="handed it on"):
        each.start("acme", CALL, "anna")
    assert house.facts == []
    assert switch.writing == set()


def test_what_somebody_else_has_just_done_is_seen_by_whoever_comes_after_them(switch: Switch) -> None:
    house, each = talking(switch, DEMAND)
    taken = house.lease

    def lease(name: str, seconds: float) -> bool:
        switch.variables["cordboard_recording"] = "4:demand"  # begun and ended by another controller
        return taken(name, seconds)

    house.lease = lease  # type: ignore[method-assign]
    assert each.start("acme", CALL, "anna")["file"] == segment_file("acme", CALL, TALKS_WITH, 5).name


def test_a_recording_that_never_came_to_be_does_not_keep_the_talk_from_being_recorded(switch: Switch) -> None:
    """Its controller died between noting it and asking for it, or between ending it and noting that."""
    _, each = talking(switch, ON, segments=1)
    switch.variables["cordboard_file"] = f"/spool/{FILE}"
    with pytest.raises(Refused, match="is not recorded"):
        each.stop("acme", CALL, "anna")
    assert each.start("acme", CALL, "anna")["file"] == segment_file("acme", CALL, TALKS_WITH, 2).name


@pytest.mark.parametrize(("mode", "since"), [(NO, 1010), (ON, 1019)])
def test_but_stopping_allows_nothing_that_no_rule_does_nor_what_is_about_to_begin(
    switch: Switch, mode: str, since: int
) -> None:
    _, each = talking(switch, mode, segments=1)
    switch.variables["cordboard_file"] = f"/spool/{FILE}"
    switch.variables["cordboard_state"] = encode(replace(STATE, talk=("302", since, 1)))
    with pytest.raises(Refused, match="is not recorded"):
        each.stop("acme", CALL, "anna")
    assert switch.variables["cordboard_recording"] == Noted(1, mode).text


def test_a_pause_and_its_end_are_facts_each_time(switch: Switch) -> None:
    house, each = talking(switch, DEMAND)
    each.start("acme", CALL, "anna")
    each.pause("acme", CALL, "anna")
    assert switch.asked[-1] == f"api uuid_record {CALL} mask /spool/{FILE}"
    each.resume("acme", CALL, "anna")
    assert house.kinds[2:] == ["recording.paused", "recording.resumed"]
    assert house.facts[-1][3] == {"file": FILE, "by": "anna"}
    assert house.facts[-1][2] > 1_000_000_000


REFUSALS: list[tuple[str, Callable[[Switch, House], object]]] = [
    ("no rule", lambda switch, house: switch.variables.update(cordboard_recording="1:no")),
    ("no rule", lambda switch, house: switch.variables.pop("cordboard_recording")),
    ("is being recorded", lambda switch, house: switch.variables.update(cordboard_recording="1:on")),
    ("nobody talks", lambda switch, house: switch.variables.update(socket_resume="true")),
    ("no call", lambda switch, house: switch.variables.update(cordboard_state="?")),
    ("only 3 MB", lambda switch, house: setattr(house, "trouble", "only 3 MB are free")),
    ("Redis is away", lambda switch, house: setattr(house, "redis_away", True)),
    ("somebody else", lambda switch, house: house.told.add(f"cordboard:recording:{CALL}")),
    ("does not record", lambda switch, house: setattr(switch, "records", False)),
]


@pytest.mark.parametrize(("why", "when"), REFUSALS)
def test_what_cannot_be_recorded_is_refused_with_a_reason(
    switch: Switch, why: str, when: Callable[[Switch, House], object]
) -> None:
    house, each = talking(switch, DEMAND)
    when(switch, house)
    with pytest.raises(Refused, match=why):
        each.start("acme", CALL, "anna")
    assert switch.writing == set()


def test_another_companys_call_is_none(switch: Switch) -> None:
    _, each = talking(switch, ON)
    for act in (each.start, each.stop, each.pause, each.resume):
        with pytest.raises(Refused, match="there is no call"):
            act("bolt", CALL, "anna")
        with pytest.raises(Refused, match="there is no call"):
            act("acme", "no-such-call", "anna")


def test_what_is_not_recorded_cannot_be_stopped_paused_or_resumed(switch: Switch) -> None:
    _, each = talking(switch, DEMAND)
    for act in (each.stop, each.pause, each.resume):
        with pytest.raises(Refused, match="is not recorded"):
            act("acme", CALL, "anna")
    assert NO != DEMAND


# ------------------------------------------------------------------------------------------------ the line


class Heard:
    def __init__(self) -> None:
        self.answers: list[tuple[str, str]] = []
        self.stops = 0

    def asked(self, line: Line, name: str, answer: str) -> None:
        self.answers.append((name, answer))

    def stopped(self, line: Line, event: Any) -> None:
        self.stops += 1


@pytest.fixture
def joining() -> tuple[Line, Inbound, Heard]:
    heard, inbound = Heard(), Inbound()
    line = Line(
        ADDRESS,
        "cordboard.test",
        Config((ADDRESS,), trunks=TRUNKS),
        FakeCounts(),
        lambda line, event: None,
        lambda line, core: None,
        recordings=cast(Any, heard),
    )
    line._inbound = cast(Any, inbound)
    path = wire.SoundPath(f"/spool/{FILE}")
    line.join(Listener(), CALL, LEG, answer=True, state="abc", record=path, variables={"cordboard_recording": "1:on"})
    return line, inbound, heard


def test_a_recorded_joining_is_one_write_and_the_caller_is_answered_before(joining: Any) -> None:
    line, inbound, heard = joining
    assert [text.split()[1] for text in inbound.sent] == [
        "uuid_answer", "uuid_setvar", "uuid_setvar_multi", "uuid_record", "uuid_bridge",
    ]  # fmt: skip
    assert inbound.sent[2].endswith("socket_resume=false;cordboard_recording=1:on")
    assert "{RECORD_STEREO=true,RECORD_BRIDGE_REQ=true,RECORD_MIN_SEC=0}" in inbound.sent[3]
    line._on_event(event("BACKGROUND_JOB", "+OK Success\n", Job_UUID=f"record-{LEG}"))
    assert heard.answers == [(FILE, "+OK Success")]
    line._on_event(stop_of(FILE))
    assert heard.stops == 1


def test_a_joining_that_fails_or_is_given_up_records_nothing_more(joining: Any) -> None:
    line, inbound, _ = joining
    inbound.sent.clear()
    line._on_event(event("BACKGROUND_JOB", "-ERR Invalid uuid\n", Job_UUID=f"join-{LEG}"))
    assert inbound.sent == [
        f"api uuid_setvar {CALL} socket_resume true",
        f"api uuid_record {CALL} stop /spool/{FILE}",
    ]


def test_a_recording_that_begins_after_its_joining_has_failed_is_ended_once_it_has_begun(joining: Any) -> None:
    """The switch takes 20 ms to begin one, and has none to end before: it would go on into the next talk."""
    line, inbound, heard = joining
    line._on_event(event("BACKGROUND_JOB", "-ERR Invalid uuid\n", Job_UUID=f"join-{LEG}"))
    inbound.sent.clear()
    line._on_event(event("BACKGROUND_JOB", "+OK Success\n", Job_UUID=f"record-{LEG}"))
    assert inbound.sent == [f"api uuid_record {CALL} stop /spool/{FILE}"]
    assert heard.answers == [(FILE, "+OK Success")]
    inbound.sent.clear()
    line.join(Listener(), CALL, LEG, answer=True, state="abc", record=wire.SoundPath(f"/spool/{FILE}"))
    line._on_event(event("BACKGROUND_JOB", "+OK Success\n", Job_UUID=f"record-{LEG}"))
    assert not [sent for sent in inbound.sent if " stop " in sent]


# --------------------------------------------------------------------------------------------- the session


def taken_over(controller: Controller, *headers: str) -> str:
    """What a session sends to the switch as it takes a call over."""
    near, far = socket.socketpair()
    sent = b""
    running = gevent.spawn(Session(near, ("127.0.0.1", 1), controller).run)
    head = "Content-Type: command/reply\nReply-Text: +OK\nEvent-Name: CHANNEL_DATA\n"
    more = "".join(f"{header}\n" for header in headers)
    far.sendall(f"{head}Unique-ID: {CALL}\nCaller-Destination-Number: cordboard_resume\n{more}\n".encode())
    far.settimeout(5)
    while b"uuid_kill" not in sent:  # nobody owns the number: the call ends at once
        sent += far.recv(65536)
    far.close()
    running.join(5)
    return sent.decode()


def test_whoever_takes_a_call_over_ends_what_is_still_recorded_of_its_talk(controller: Controller) -> None:
    spool = controller.settings.spool
    sent = taken_over(controller, "variable_cordboard_recording: 2:on", f"variable_cordboard_file: {spool}/{FILE}")
    assert f"api uuid_record {CALL} stop {spool}/{FILE}\n" in sent
    assert "cordboard_recording=2:no" in sent


@pytest.mark.parametrize(("talked_to", "again"), [(TALKS_WITH, 0), ("another-leg", 1)])
def test_and_once_more_if_they_never_talked_since_it_may_not_have_begun(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, talked_to: str, again: int
) -> None:
    spool, inbound = controller.settings.spool, Inbound()
    monkeypatch.setattr(ringing, "BEGINNING", 0.0)
    monkeypatch.setattr(controller._lines[0], "_inbound", inbound)
    taken_over(
        controller,
        "variable_cordboard_recording: 2:on",
        f"variable_cordboard_file: {spool}/{FILE}",
        f"variable_last_bridge_to: {talked_to}",
    )
    assert inbound.sent.count(f"api uuid_record {CALL} stop {spool}/{FILE}") == again


@pytest.mark.parametrize(
    "file", [message_file("acme", CALL, 1).name, segment_file("acme", "another-call", LEG, 1).name, "x\nexit"]
)
def test_and_no_other_file(controller: Controller, file: str) -> None:
    path = f"{controller.settings.spool}/{file}".replace("\n", "%0A")
    sent = taken_over(controller, "variable_cordboard_recording: 2:on", f"variable_cordboard_file: {path}")
    assert "uuid_record" not in sent
    assert "uuid_record" not in taken_over(controller, f"variable_cordboard_file: {controller.settings.spool}/{FILE}")


def test_what_was_noted_of_an_earlier_joining_is_gone_with_the_next(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    session = Session(socket.socketpair()[0], ("127.0.0.1", 1), controller)
    session.id, session.company, session._line = CALL, "acme", controller._lines[0]
    monkeypatch.setattr(session._line, "join", lambda *_, variables, **more: given.append(variables))
    session._perform([m.Join(LEG, False, "", "1:no")])
    session._perform([m.Join(LEG, False, "", "")])
    assert given == [{"cordboard_recording": "1:no", "cordboard_file": ""}, {}]


def test_what_is_expected_is_told_before_the_switch_is_asked(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    session = Session(socket.socketpair()[0], ("127.0.0.1", 1), controller)
    session.id, session.company, session._line = CALL, "acme", controller._lines[0]
    monkeypatch.setattr(controller.facts, "write", lambda records: order.extend(r["type"] for r in records))
    monkeypatch.setattr(session._line, "join", lambda *given, record, **more: order.append(f"join {record}"))
    expected = m.Tell("recording.expected", {"file": FILE})
    session._perform([expected, m.Join(LEG, False, FILE, "1:on"), m.Tell("leg.result")])
    assert order == ["recording.expected", f"join {controller.settings.spool}/{FILE}", "leg.result"]
    order.clear()
    monkeypatch.setattr(controller, "spool_trouble", lambda: "only 3 MB are free")
    session._perform([expected, m.Join(LEG, False, FILE, "1:on")])
    assert order == ["recording.expected", "join None", "recording.failed"]
