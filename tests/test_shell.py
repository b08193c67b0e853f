"""The shell between calls and switches, with stand-ins for the connections: what must happen when things go wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.event
import pytest
from gevent import socket

from callcontrol import esl, ringing, server, wire
from callcontrol import messages as m
from callcontrol.call import Call
from callcontrol.published import NOBODY
from callcontrol.ringing import Line
from callcontrol.routing.model import Routing
from callcontrol.server import Controller
from callcontrol.session import Session, typed_called, typed_caller
from callcontrol.settings import Config, Settings, SwitchAddress, Trunk
from callcontrol.speech import SpeechStore, hash_of
from callcontrol.state import State
from tests.playbook import CALL, Playbook
from tests.playbook import routing as phone_routing
from tests.test_phone import FLOWS as PHONE_FLOWS
from tests.test_phone import HEAD as PHONE_HEAD

LEG = "9bf7699a-1414-5890-abf7-3afd13f1f95a"
ADDRESS = SwitchAddress("switch1", "127.0.0.1", 1, "x")


def event(name: str, body: str = "", **headers: str) -> Any:
    """An event as the connection gives it; underscores in header names stand for hyphens."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return SimpleNamespace(name=name, body=body, get=lambda header, default=None: named.get(header, default))


class Inbound:
    """The connection to a switch: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connected = True
        self.broken = False
        self.nudged = gevent.event.Event()

    def nudge(self) -> None:
        self.nudged.set()

    def send(self, *commands: wire.Command, on_reply: Any = None) -> None:
        if self.broken:
            raise esl.ConnectionLost("writing failed: Broken pipe")
        self.sent += [command.text for command in commands]


class Listener:
    def __init__(self) -> None:
        self.events: list[m.Event] = []

    def happened(self, event: m.Event) -> None:
        self.events.append(event)


class FakeCounts:
    """Room for some names, none for others; keeps what it was asked."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.counted: dict[tuple[str, int], tuple[str, ...]] = {}
        self.answers = gevent.event.Event()
        self.answers.set()

    def claim(self, leg: str, attempt: int, switch: str, caps: tuple[tuple[str, int], ...], seconds: float) -> bool:
        assert self.answers.wait(1), "somebody waits for Redis who must not"
        names = tuple(name for name, _ in caps)
        if self.full & set(names):
            return False
        self.counted[leg, attempt] = names
        return True

    def release(self, leg: str, attempt: int, switch: str) -> None:
        self.counted.pop((leg, attempt), None)


TRUNKS = {
    "one": Trunk("one", "gw-one", max_calls=5),
    "two": Trunk("two", "gw-two", format="national", country="RU"),
    "far": Trunk("far", "gw-far", switches=("elsewhere",)),
}


class Rung:
    """A line with one leg that is being joined."""

    def __init__(self) -> None:
        self.counts = FakeCounts()
        config = Config((ADDRESS,), trunks=TRUNKS)
        self.line = Line(
            ADDRESS, "cordboard.test", config, self.counts, lambda line, event: None, lambda line, core: None
        )
        self.inbound = Inbound()
        self.line._inbound = cast(Any, self.inbound)
        self.listener = Listener()

    def joining(self) -> Rung:
        self.line.join(self.listener, CALL, LEG, answer=True, state="abc")
        self.inbound.sent.clear()
        return self

    def says(self, told: Any) -> list[str]:
        self.inbound.sent.clear()
        self.line._on_event(told)
        gevent.sleep(0)  # places are counted beside the reading
        return self.inbound.sent


class TestLine:
    def test_a_joining_is_one_write_and_answers_first(self) -> None:
        rung = Rung()
        rung.line.join(rung.listener, CALL, LEG, answer=True, state="abc")
        assert [text.split()[1] for text in rung.inbound.sent] == [
            "uuid_answer", "uuid_setvar", "uuid_setvar", "uuid_bridge",
        ]  # fmt: skip
        assert rung.inbound.sent[2] == f"api uuid_setvar {CALL} socket_resume false"

    def test_a_leg_that_an_earlier_owner_rang_is_asked_for_however_late_the_connection_comes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may ring on meanwhile: a caller whose phones ring is not told that nobody can be reached."""
        monkeypatch.setattr(ringing, "_PATIENCE", 0.01)
        rung = Rung()
        rung.inbound.broken = True
        rung.line.find(rung.listener, CALL, LEG, screened=False)
        gevent.sleep(0.1)
        assert rung.listener.events == []
        rung.inbound.broken = False
        rung.line._on_up(cast(Any, rung.inbound))
        assert f"api uuid_getvar {LEG} cordboard_ready" in rung.inbound.sent

    @pytest.mark.parametrize("adopted", [False, True])
    def test_the_switch_is_nudged_while_a_leg_may_say_something_and_no_longer(
        self, monkeypatch: pytest.MonkeyPatch, adopted: bool
    ) -> None:
        monkeypatch.setattr(ringing, "_NUDGE", 0.001)
        rung = Rung()
        if adopted:
            rung.line.find(rung.listener, CALL, LEG, screened=False)
        else:
            rung.line.ring(rung.listener, CALL, "test", m.RingLeg(LEG, m.Phone("301", "301"), 20), None)
        for _ in range(3):
            assert rung.inbound.nudged.wait(5)
            rung.inbound.nudged.clear()
        assert rung.line._nudging is not None
        rung.line.forget(rung.listener)
        rung.line._nudge()
        assert rung.line._nudging is None
        assert not rung.inbound.nudged.is_set()

    def test_a_joining_that_fails_makes_the_call_ours_again(self) -> None:
        rung = Rung().joining()
        sent = rung.says(event("BACKGROUND_JOB", "-ERR Invalid uuid\n", Job_UUID=f"join-{LEG}"))
        assert sent == [f"api uuid_setvar {CALL} socket_resume true"]
        assert rung.listener.events == [m.JoinFailed(LEG, "-ERR Invalid uuid")]

    def test_also_when_its_leg_was_given_up_before(self) -> None:
        rung = Rung().joining()
        rung.line.cancel(LEG)
        assert rung.inbound.sent == [f"api uuid_kill {LEG} LOSE_RACE", f"api uuid_setvar {CALL} socket_resume true"]

    def test_a_joining_that_fails_when_its_session_is_gone_brings_the_caller_back(self) -> None:
        rung = Rung().joining()
        rung.line.forget(rung.listener)
        sent = rung.says(event("BACKGROUND_JOB", "-ERR Invalid uuid", Job_UUID=f"join-{LEG}"))
        assert sent == [f"api uuid_transfer {CALL} cordboard_resume XML cordboard"]

    def test_a_joining_that_succeeds_is_left_alone(self) -> None:
        assert Rung().joining().says(event("BACKGROUND_JOB", f"+OK {LEG}", Job_UUID=f"join-{LEG}")) == []

    def test_a_connection_that_breaks_keeps_what_was_to_be_sent(self) -> None:
        rung = Rung()
        rung.inbound.broken = True
        rung.line.cancel(LEG)
        rung.inbound.broken = False
        rung.line._on_up(cast(Any, rung.inbound))
        assert f"api uuid_kill {LEG} LOSE_RACE" in rung.inbound.sent

    def test_and_fails_the_leg_when_it_does_not_come_back(self) -> None:
        rung = Rung()
        rung.inbound.broken = True
        rung.line.ring(rung.listener, CALL, "acme", m.RingLeg(LEG, m.Phone("302", "302"), 20), None)
        rung.line._waiting[0] = rung.line._waiting[0].__class__(0.0, LEG, (), None)
        rung.line._give_up()
        assert rung.listener.events == [m.LegFailed(LEG, "lost", "SWITCH_AWAY")]

    def test_what_is_said_of_a_dead_leg_is_not_taken_for_one_rung_anew(self) -> None:
        rung = Rung()
        rung.line.find(rung.listener, CALL, LEG, screened=False)
        rung.line._found(LEG, cast(Any, SimpleNamespace(text="-ERR No such channel!\n")))
        rung.says(event("BACKGROUND_JOB", "-ERR NO_ANSWER", Job_UUID=LEG))
        rung.says(event("CHANNEL_HANGUP_COMPLETE", Unique_ID=LEG, Hangup_Cause="NO_ANSWER"))
        assert rung.listener.events == [m.LegFailed(LEG, "unreachable", "GONE")]


MOBILE = "+79161112233"


def outside(*trunks: str, caps: tuple[tuple[str, int], ...] = (("acme", 10),), number: str = MOBILE) -> m.RingLeg:
    return m.RingLeg(LEG, m.Phone("301", number, outside=True), 20, shown="+74951234567", trunks=trunks, caps=caps)


def ring(command: m.RingLeg, rung: Rung | None = None, screen: wire.Screen | None = None) -> Rung:
    rung = rung or Rung()
    rung.line.ring(rung.listener, CALL, "acme", command, screen)
    gevent.sleep(0)
    return rung


def failed(rung: Rung, cause: str) -> list[str]:
    return rung.says(event("BACKGROUND_JOB", f"-ERR {cause}\n", Job_UUID=LEG))


class TestScreening:
    SCREEN = wire.Screen(confirm="/state/speech/ask.wav")

    def test_an_answer_is_not_enough_the_switch_says_when_it_is_ready(self) -> None:
        rung = ring(m.RingLeg(LEG, m.Phone("302", "302"), 20), screen=self.SCREEN)
        rung.says(event("BACKGROUND_JOB", f"+OK {LEG}", Job_UUID=LEG))
        assert rung.listener.events == [m.LegAnswered(LEG)]
        rung.says(event("CUSTOM", Event_Subclass="cordboard::ready", Unique_ID=LEG))
        assert rung.listener.events[1:] == [m.LegReady(LEG)]

    def test_nor_for_one_that_an_earlier_owner_rang(self) -> None:
        rung = Rung()
        rung.line.find(rung.listener, CALL, LEG, screened=True)
        rung.line._found(LEG, cast(Any, SimpleNamespace(text="_undef_")))
        rung.says(event("BACKGROUND_JOB", f"+OK {LEG}", Job_UUID=LEG))
        assert rung.listener.events == [m.LegRinging(LEG), m.LegAnswered(LEG)]

    def test_one_who_is_being_asked_is_found_so(self) -> None:
        rung = Rung()
        rung.line.find(rung.listener, CALL, LEG, screened=True)
        rung.line._found(LEG, cast(Any, SimpleNamespace(text="asked")))
        assert rung.listener.events == [m.LegAnswered(LEG)]


class TestTrunks:
    def test_the_first_is_asked_in_its_own_way_of_writing(self) -> None:
        assert "sofia/gateway/gw-one/+79161112233 " in ring(outside("one", "two")).inbound.sent[0]
        sent = ring(outside("two", "one")).inbound.sent[0]
        assert "sofia/gateway/gw-two/89161112233 " in sent
        assert "origination_caller_id_number=84951234567" in sent

    def test_one_that_does_not_take_the_call_is_followed_by_the_next(self) -> None:
        rung = ring(outside("one", "two"))
        assert rung.counts.counted == {(LEG, 1): ("acme", "trunk/one")}
        (sent,) = failed(rung, "GATEWAY_DOWN")
        assert "gw-two" in sent
        assert rung.counts.counted == {(LEG, 2): ("acme",)}
        assert rung.listener.events == []
        failed(rung, "NORMAL_TEMPORARY_FAILURE")
        assert rung.listener.events == [m.LegFailed(LEG, "unreachable", "NORMAL_TEMPORARY_FAILURE")]
        assert rung.counts.counted == {}

    @pytest.mark.parametrize("cause", ["USER_BUSY", "NO_ANSWER", "CALL_REJECTED", "UNALLOCATED_NUMBER"])
    def test_the_numbers_own_answer_is_not(self, cause: str) -> None:
        rung = ring(outside("one", "two"))
        assert failed(rung, cause) == []
        assert [type(told) for told in rung.listener.events] == [m.LegFailed]

    def test_the_late_end_of_the_first_try_does_not_end_the_second(self) -> None:
        rung = ring(outside("one", "two"))
        failed(rung, "GATEWAY_DOWN")
        late = {"Unique_ID": LEG, "Hangup_Cause": "GATEWAY_DOWN", "variable_cordboard_out": "1"}
        rung.says(late_end(late))
        assert rung.listener.events == []
        assert rung.counts.counted == {(LEG, 2): ("acme",)}

    @pytest.mark.parametrize(("sip", "result"), [("sip:403", "unreachable"), ("sip:603", "declined")])
    def test_a_trunk_that_refuses_us_is_nobody_who_declines(self, sip: str, result: str) -> None:
        rung = ring(outside("one"))
        end = {"Unique_ID": LEG, "Hangup_Cause": "CALL_REJECTED", "variable_cordboard_out": "1"}
        rung.says(late_end({**end, "variable_proto_specific_hangup_cause": sip}))
        failed(rung, "CALL_REJECTED")
        assert rung.listener.events == [m.LegFailed(LEG, result, "CALL_REJECTED")]

    def test_when_no_count_has_room_nothing_is_rung_and_it_is_refused(self) -> None:
        rung = Rung()
        rung.counts.full.add("acme")
        ring(outside("one", "two"), rung)
        assert rung.inbound.sent == []
        assert rung.listener.events == [m.LegFailed(LEG, "refused", "MAX_CALLS")]

    def test_a_full_trunk_leaves_the_call_to_the_next(self) -> None:
        rung = Rung()
        rung.counts.full.add("trunk/one")
        assert "gw-two" in ring(outside("one", "two"), rung).inbound.sent[0]

    def test_an_emergency_call_counts_nowhere_and_is_written_as_dialled(self) -> None:
        rung = Rung()
        rung.counts.full |= {"acme", "trunk/one"}
        assert "gw-one/112 " in ring(outside("one", caps=(), number="112"), rung).inbound.sent[0]

    def test_a_trunk_of_another_switch_is_none_here(self) -> None:
        assert ring(outside("far")).listener.events == [m.LegFailed(LEG, "unreachable", "NO_TRUNK")]

    def test_the_end_of_a_leg_that_somebody_else_rang_gives_its_place_back(self) -> None:
        rung = Rung()
        rung.counts.counted[LEG, 1] = ("acme",)
        rung.says(late_end({"Unique_ID": LEG, "variable_cordboard_out": "1"}))
        assert rung.counts.counted == {}

    def test_a_leg_given_up_while_redis_is_asked_is_not_rung_and_counts_nowhere(self) -> None:
        rung = Rung()
        rung.counts.answers.clear()
        ring(outside("one", "two"), rung)
        rung.line.cancel(LEG)
        rung.inbound.sent.clear()
        rung.counts.answers.set()
        gevent.sleep(0)
        gevent.sleep(0)
        assert rung.inbound.sent == []
        assert rung.counts.counted == {}
        assert rung.listener.events == []

    def test_while_redis_is_asked_other_events_are_heard(self) -> None:
        rung = ring(outside("one", "two"))
        rung.counts.answers.clear()
        failed(rung, "GATEWAY_DOWN")  # the next trunk is being counted: this returns all the same
        assert rung.listener.events == []
        rung.counts.answers.set()
        gevent.sleep(0)
        assert "gw-two" in rung.inbound.sent[-1]

    def test_a_leg_that_cannot_be_written_fails_and_is_not_waited_for(self) -> None:
        rung = ring(replace(outside("two"), shown="+9991234567"))
        assert rung.listener.events == [m.LegFailed(LEG, "unreachable", "NOT_RUNG")]
        gevent.sleep(0)
        assert rung.counts.counted == {}

    def test_a_leg_that_is_cancelled_as_its_trunk_fails_is_not_rung_again(self) -> None:
        rung = ring(outside("one", "two"))
        rung.inbound.sent.clear()
        rung.line._on_event(event("BACKGROUND_JOB", "-ERR GATEWAY_DOWN", Job_UUID=LEG))
        rung.line.cancel(LEG)
        gevent.sleep(0)
        assert not any("originate" in text for text in rung.inbound.sent)
        assert rung.counts.counted == {}

    def test_the_longest_call_is_told_to_the_switch(self) -> None:
        assert "sched_hangup:+14400" in ring(outside("one")).inbound.sent[0]


def late_end(headers: dict[str, str]) -> Any:
    """A CHANNEL_HANGUP_COMPLETE; names of variables keep their underscores."""
    named = {key if key.startswith("variable_") else key.replace("_", "-"): value for key, value in headers.items()}
    return SimpleNamespace(
        name="CHANNEL_HANGUP_COMPLETE", body="", get=lambda header, default=None: named.get(header, default)
    )


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    for name in ("state/facts", "spool"):
        (tmp_path / name).mkdir(parents=True)
    made = Controller(
        Settings(
            routing=tmp_path,
            listen=("127.0.0.1", 0),
            redis="redis://127.0.0.1:1/0",
            config=Config((ADDRESS, SwitchAddress("switch2", "127.0.0.1", 1, "x"))),
            peers=(),
            state=tmp_path / "state",
            sounds=tmp_path / "sounds",
            spool=tmp_path / "spool",
            processes=1,
            domain="cordboard.test",
        )
    )
    yield made
    made.facts.close()


class FakeLine:
    """A switch that answers what the reconciler asks."""

    connected = True

    def __init__(self, name: str, alive: list[str], resume: str = "true") -> None:
        self.name, self.alive, self.resume = name, alive, resume
        self.asked: list[str] = []
        self.ended: list[str] = []

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        self.asked.append(command.text)
        if "show channels" in command.text:
            return json.dumps({"row_count": len(self.alive), "rows": [{"uuid": uuid} for uuid in self.alive]})
        return self.resume if "socket_resume" in command.text else "_undef_"

    def end_legs_of(self, call: str) -> None:
        self.ended.append(call)

    @property
    def transfers(self) -> int:
        return sum("uuid_transfer" in text for text in self.asked)


class TestServing:
    """When a controller begins to take calls."""

    @pytest.fixture
    def switch(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """A switch's end of the connection: a bare socket, so that nothing is answered before we do."""
        made = socket.socket()
        made.bind(("127.0.0.1", 0))
        made.listen(1)
        config = Config((SwitchAddress("switch1", "127.0.0.1", made.getsockname()[1], "x"),))
        controller._lines[:] = [
            Line(address, "cordboard.test", config, FakeCounts(), lambda *_: None, controller._knows_core)
            for address in config.switches
        ]
        for silent in (controller.queues, controller._shipper, controller.switches, controller.commands):
            for name in ("start", "run", "read", "stop"):
                monkeypatch.setattr(silent, name, lambda *_: None, raising=False)
        monkeypatch.setattr(controller, "_catch_up", lambda line: None)
        monkeypatch.setattr(controller, "_directory", SimpleNamespace(tell=lambda *_: None))
        monkeypatch.setattr(controller, "_running", SimpleNamespace(report=lambda *_: None, forget=lambda: None))
        monkeypatch.setattr(controller, "_take_up", lambda: None)
        yield made
        made.close()

    def begin(self, controller: Controller) -> tuple[gevent.event.Event, tuple[str, int]]:
        listener = server.bound_socket("127.0.0.1", 0)
        ready = gevent.event.Event()
        gevent.spawn(controller.serve, listener, ready.set)
        return ready, listener.getsockname()

    def takes_calls(self, address: tuple[str, int]) -> bool:
        with socket.socket() as probe:
            return bool(probe.connect_ex(address) == 0)

    def test_not_before_the_switch_has_answered_since_whoever_rings_could_not_be_found(
        self, controller: Controller, switch: socket.socket
    ) -> None:
        ready, address = self.begin(controller)
        peer, _ = switch.accept()
        gevent.sleep(0.05)  # it is connected, and has not been greeted
        assert not ready.is_set()
        assert not self.takes_calls(address)
        peer.sendall(b"Content-Type: auth/request\n\n")
        heard = peer.makefile("rb")
        assert b"auth" in heard.readline()
        peer.sendall(b"Content-Type: command/reply\nReply-Text: +OK\n\n" * 2)
        assert any(wire.core_uuid().text.encode() in line for line in heard)
        assert not self.takes_calls(address)
        peer.sendall(b"Content-Type: api/response\nContent-Length: 36\n\n" + b"a" * 36)
        assert ready.wait(5)
        assert self.takes_calls(address)
        controller.drain()
        peer.close()

    def test_a_switch_that_is_not_there_keeps_nobody_from_serving_the_others(
        self, controller: Controller, switch: socket.socket
    ) -> None:
        switch.close()
        ready, address = self.begin(controller)
        assert ready.wait(2)  # by far sooner than it would wait for one that says nothing
        assert self.takes_calls(address)
        controller.drain()

    def test_one_that_says_nothing_is_waited_for_a_while(
        self, controller: Controller, switch: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "REACHING", 0.2)
        ready, address = self.begin(controller)
        assert ready.wait(2)
        assert self.takes_calls(address)
        controller.drain()

    def test_never_if_it_is_told_to_end_meanwhile(
        self, controller: Controller, switch: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "REACHING", 0.2)
        listener = server.bound_socket("127.0.0.1", 0)
        ready = gevent.event.Event()
        serving = gevent.spawn(controller.serve, listener, ready.set)
        switch.accept()
        controller.drain()
        serving.join(5)
        assert serving.successful()
        assert not ready.is_set()
        assert not self.takes_calls(listener.getsockname())


class TestReconciler:
    @pytest.fixture
    def written(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        monkeypatch.setattr(controller.facts, "write", records.extend)
        board = SimpleNamespace(
            live_calls=lambda switch: {CALL: {"company": "acme", "at": 0}} if switch == "switch1" else {},
            claim_end=lambda call, identity: True,
        )
        monkeypatch.setattr(controller, "board", board)
        return records

    def test_a_caller_left_parked_is_brought_back_at_the_second_look(
        self, controller: Controller, written: list[dict[str, Any]]
    ) -> None:
        first, second = FakeLine("switch1", [CALL], "false"), FakeLine("switch2", [])
        for _ in range(2):
            controller.reconcile(cast(Any, first))
            controller.reconcile(cast(Any, second))
        assert first.transfers == 1

    def test_a_call_that_is_thought_about_is_left_alone(
        self, controller: Controller, written: list[dict[str, Any]]
    ) -> None:
        line = FakeLine("switch1", [CALL], "true")
        for _ in range(4):
            controller.reconcile(cast(Any, line))
        assert (line.transfers, written) == (0, [])

    def test_a_call_that_is_gone_gets_its_end_at_the_second_look_with_its_company(
        self, controller: Controller, written: list[dict[str, Any]]
    ) -> None:
        line = FakeLine("switch1", [])
        controller.reconcile(cast(Any, line))
        assert written == []
        controller.reconcile(cast(Any, line))
        assert [(fact["type"], fact["company"], fact["call"]) for fact in written] == [("call.ended", "acme", CALL)]
        assert line.ended == [CALL]
        controller.reconcile(cast(Any, line))
        assert len(written) == 1


class TestPhonesDirectory:
    """Every switch is asked for the directory that it has: after a publishing, as it connects, and now and then."""

    @pytest.fixture
    def told(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        names: list[str] = []

        def tell(*lines: Any) -> None:
            names.extend(line.name for line in lines)

        monkeypatch.setattr(controller, "_directory", SimpleNamespace(tell=tell))
        return names

    def test_after_a_publishing_every_switch(self, controller: Controller, told: list[str]) -> None:
        controller.reload()
        assert told == ["switch1", "switch2"]

    def test_a_switch_that_connects(self, controller: Controller, told: list[str]) -> None:
        controller._knows_core(cast(Any, FakeLine("switch2", [])), "a-core")
        gevent.sleep(0)
        assert told == ["switch2"]

    def test_and_one_process_now_and_then(
        self, controller: Controller, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lease(name: str, owner: str, seconds: float) -> bool:
            controller._draining = name.endswith("switch2")  # one round is enough
            return name.endswith("switch1")

        monkeypatch.setattr(server, "RECONCILE", 0.0)
        monkeypatch.setattr(controller, "board", SimpleNamespace(lease=lease))
        controller._reconcile_forever()
        assert told == ["switch1"]


class TestEndsHeard:
    """The end of a call that was not talking: its owner writes it, or whoever finds that nobody has."""

    LATER = float("inf")

    @pytest.fixture
    def written(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        monkeypatch.setattr(controller.facts, "write", records.extend)
        return records

    def hears(self, controller: Controller, monkeypatch: pytest.MonkeyPatch, told: set[str], **more: str) -> None:
        board = SimpleNamespace(told=lambda calls: told, claim_end=lambda call, identity: True)
        monkeypatch.setattr(controller, "board", board)
        line = FakeLine("switch1", [])
        controller._ended_somewhere(cast(Any, line), event("CHANNEL_HANGUP_COMPLETE", Unique_ID=CALL, **more))

    def settles(self, controller: Controller, now: float) -> None:
        controller.settle(now)
        gevent.sleep(0)

    def test_is_written_when_nobody_else_has(
        self, controller: Controller, written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.hears(controller, monkeypatch, set())
        self.settles(controller, self.LATER)
        assert [(fact["type"], fact["call"]) for fact in written] == [("call.ended", CALL)]

    def test_is_left_to_its_owner_for_a_while(
        self, controller: Controller, written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.hears(controller, monkeypatch, set())
        self.settles(controller, 0.0)
        assert written == []

    @pytest.mark.parametrize(("answered", "at_once"), [("0", 1), ("1795424400000000", 0)])
    def test_of_a_call_that_was_placed_and_not_answered_is_nobodys_else(
        self,
        controller: Controller,
        written: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        answered: str,
        at_once: int,
    ) -> None:
        said = {"Call_Direction": "outbound", "Caller_Channel_Answered_Time": answered}
        self.hears(controller, monkeypatch, set(), **said)
        gevent.sleep(0)
        assert len(written) == at_once

    def test_is_not_written_when_it_is_in_the_stream(
        self, controller: Controller, written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.hears(controller, monkeypatch, {CALL})
        self.settles(controller, self.LATER)
        assert written == []

    def test_is_not_written_twice(
        self, controller: Controller, written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):
            self.hears(controller, monkeypatch, set())
            self.settles(controller, self.LATER)
        assert len(written) == 1


def test_a_session_whose_connection_breaks_as_it_begins_is_forgotten(controller: Controller) -> None:
    near, far = socket.socketpair()
    reply = "Content-Type: command/reply\nReply-Text: +OK\nEvent-Name: CHANNEL_DATA\n"

    def switch() -> None:
        far.recv(8)
        far.sendall(f"{reply}Unique-ID: {CALL}\nCaller-Destination-Number: 123\n\n".encode())
        far.close()

    gevent.spawn(switch)
    running = gevent.spawn(Session(near, ("127.0.0.1", 1), controller).run)
    running.join(5)
    assert running.ready()
    assert controller.sessions == {}


class TestSounds:
    """What a call's sounds become on the way to the switch."""

    HELLO = m.Speech((m.Words("Hello "), m.Spelled("12")), "en")

    @pytest.fixture
    def made(self, controller: Controller) -> Routing:
        """A version whose speech was rendered, but for the text "Bye."."""
        store = SpeechStore(controller.settings.state)
        for text in ("Hello ", "1", "2"):
            name = hash_of("v", "en", text)
            store.unborn(name).write_bytes(b"x" * 100)
            store.add(name, "en", text)
        file = "0" * 32
        store.unborn(file).write_bytes(b"x" * 100)
        store.add(file, "", "night.wav")
        routing = Playbook("main:\n  it: {play: Bye.}").routing
        return replace(routing, voices={"en": "v"}, sounds={"night.wav": file})

    def test_pieces_of_speech_are_played_as_one(self, controller: Controller, made: Routing) -> None:
        spec = controller.sound(made, self.HELLO)
        assert spec is not None
        store = SpeechStore(controller.settings.state)
        paths = [str(store.path(hash_of("v", "en", text))) for text in ("Hello ", "1", "2")]
        assert spec == "file_string://" + "!".join(paths)
        assert spec in wire.execute(wire.App.PLAYBACK, spec).text

    def test_a_file_is_the_converted_one_or_the_operators_own(self, controller: Controller, made: Routing) -> None:
        assert controller.sound(made, m.SoundFile("night.wav", "en")) == str(
            SpeechStore(controller.settings.state).path("0" * 32)
        )
        own = str(controller.settings.sounds / made.company / "day.wav")
        assert controller.sound(made, m.SoundFile("day.wav", "en")) == own

    def test_a_version_published_without_speech_has_a_tone_for_it(self, controller: Controller, made: Routing) -> None:
        assert controller.sound(replace(made, voices={}), self.HELLO) == wire.Tone.PROMPT
        assert controller.sound(made, m.Tone("record_beep")) == wire.Tone.RECORD_BEEP

    def test_nothing_to_say_is_a_moment_of_silence(self, controller: Controller, made: Routing) -> None:
        assert controller.sound(made, m.Speech((), "en")) == "silence_stream://20"

    def test_music_is_a_file_and_its_samples(self, controller: Controller, made: Routing) -> None:
        store = SpeechStore(controller.settings.state)
        name = "1" * 32
        store.unborn(name).write_bytes(b"x" * (44 + 16_000 * 3))
        store.add(name, "", "music: moh")
        made = replace(made, sounds={**made.sounds, "moh": name, "hold.wav": name})
        assert controller.music(made, m.Music("moh")) == (str(store.path(name)), 24_000)
        assert controller.music(made, m.SoundFile("hold.wav", "en")) == (str(store.path(name)), 24_000)

    def test_music_that_is_not_there_is_a_tone_and_told(
        self, controller: Controller, made: Routing, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert controller.music(made, m.Music("moh")) == (wire.Tone.MUSIC, 0)
        assert "there is no music" in capsys.readouterr().out
        own = str(controller.settings.sounds / made.company / "day.wav")
        assert controller.music(made, m.SoundFile("day.wav", "en")) == (own, 0)

    def test_speech_that_should_be_there_and_is_not_is_a_tone_and_a_fact(
        self, controller: Controller, made: Routing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(controller, "routing_for", lambda called, taken, company: (made, "+74951234567"))
        facts: list[dict[str, Any]] = []
        monkeypatch.setattr(controller.facts, "write", facts.extend)
        near, far = socket.socketpair()
        head = "Content-Type: command/reply\nReply-Text: +OK\nEvent-Name: CHANNEL_DATA\n"

        running = gevent.spawn(Session(near, ("127.0.0.1", 1), controller).run)
        sent = b""
        with gevent.Timeout(5):
            far.recv(8)
            far.sendall(f"{head}Unique-ID: {CALL}\nCaller-Destination-Number: +74951234567\n\n".encode())
            while str(wire.Tone.MISSING).encode() not in sent:
                sent += far.recv(65536)
        assert sent.count(b"execute-app-name: playback") == 1
        missing = [fact["data"] for fact in facts if fact["type"] == "sound.missing"]
        assert missing == [{"sound": "Bye.", "language": "en"}]
        far.close()
        running.join(5)
        assert running.ready()


def test_a_switch_is_not_turned_before_the_checkpoint_is_out(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = socket.socketpair()
    seen: list[bool] = []

    def turn(company: str, name: str, on: bool, by: str, tell: Any) -> None:
        sent = b""
        far.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while b" cordboard_state " not in sent:
                sent += far.recv(65536)
        seen.append(b" cordboard_state " in sent)
        far.close()

    made = phone_routing(PHONE_FLOWS, PHONE_HEAD)
    monkeypatch.setattr(controller, "routing_for", lambda called, taken, company: (made, called))
    monkeypatch.setattr(controller.switches, "set", turn)
    head = "Content-Type: command/reply\nReply-Text: +OK\nEvent-Name: CHANNEL_DATA\n"
    running = gevent.spawn(Session(near, ("127.0.0.1", 1), controller).run)
    far.sendall(
        f"{head}Unique-ID: {CALL}\nCaller-Destination-Number: *21\n"
        "variable_cordboard_company: test\nvariable_cordboard_extension: 301\n\n".encode()
    )
    running.join(5)
    assert running.ready()
    assert seen == [True]


def test_a_call_whose_company_is_gone_altogether_is_ended_and_not_passed_round() -> None:
    state = State("gone", "0" * 16, "+74951234567", 3, 0, "main", "it")
    call = Call(NOBODY, call_id=CALL, caller=None, called="+74951234567", now=1.0, taken=state)
    assert any(isinstance(command, m.Hangup) for command in call.begin(1.0))


def test_an_unreadable_checkpoint_gets_an_epoch_that_nobody_had() -> None:
    book = Playbook("main:\n  it: {play: Hi.}")
    call = Call(book.routing, call_id=CALL, caller=None, called="+74951234567", now=1.0, epoch=1795424449)
    call.begin(1.0)
    assert call.state().epoch == 1795424449


@pytest.mark.parametrize(
    ("number", "hidden", "caller"),
    [
        ("+79161234567", False, "+79161234567"),
        ("79161234567", False, "+79161234567"),
        ("301", False, "301"),
        ("+79161234567", True, None),
        ("anonymous", False, None),
        ("Anonymous", False, None),
        ("", False, None),
        (None, False, None),
        ("${system(reboot)}", False, None),
        ("+7916\n1234567", False, None),
        ("1" * 33, False, None),
        ("٣٠١", False, None),
    ],
)
def test_a_callers_number_is_a_number_or_nobodys(number: str | None, hidden: bool, caller: str | None) -> None:
    assert typed_caller(number, hidden=hidden) == caller


@pytest.mark.parametrize("text", [None, "", "cordboard_resume", "301@x", "1" * 33, "${x}", "+7 916", "1\n2"])
def test_what_is_no_number_is_not_dialled(text: str | None) -> None:
    assert typed_called(text) is None


def test_a_path_that_the_switch_cannot_be_told_is_refused_at_the_start(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from callcontrol.cli import main

    (tmp_path / "two words").mkdir()
    result = CliRunner().invoke(main, ["serve", "--routing", str(tmp_path / "two words")])
    assert result.exit_code == 3
    assert "sounds" in result.output
    assert "CORDBOARD_SOUNDS" in result.output


def test_also_where_speech_is_kept(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from callcontrol.cli import main

    result = CliRunner().invoke(main, ["serve", "--routing", str(tmp_path), "--state", str(tmp_path / "two words")])
    assert result.exit_code == 3
    assert "CORDBOARD_STATE" in result.output
