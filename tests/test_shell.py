"""The shell between calls and switches, with stand-ins for the connections: what must happen when things go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent import socket

from callcontrol import esl, wire
from callcontrol import messages as m
from callcontrol.call import Call
from callcontrol.published import NOBODY
from callcontrol.ringing import Line
from callcontrol.server import Controller
from callcontrol.session import Session, typed_called, typed_caller
from callcontrol.settings import Config, Settings, SwitchAddress
from callcontrol.state import State
from tests.playbook import CALL, Playbook

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

    def send(self, *commands: wire.Command, on_reply: Any = None) -> None:
        if self.broken:
            raise esl.ConnectionLost("writing failed: Broken pipe")
        self.sent += [command.text for command in commands]


class Listener:
    def __init__(self) -> None:
        self.events: list[m.Event] = []

    def happened(self, event: m.Event) -> None:
        self.events.append(event)


class Rung:
    """A line with one leg that is being joined."""

    def __init__(self) -> None:
        self.line = Line(ADDRESS, "cordboard.test", lambda line, event: None, lambda line, core: None)
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
        return self.inbound.sent


class TestLine:
    def test_a_joining_is_one_write_and_answers_first(self) -> None:
        rung = Rung()
        rung.line.join(rung.listener, CALL, LEG, answer=True, state="abc")
        assert [text.split()[1] for text in rung.inbound.sent] == [
            "uuid_answer", "uuid_setvar", "uuid_setvar", "uuid_bridge",
        ]  # fmt: skip
        assert rung.inbound.sent[2] == f"api uuid_setvar {CALL} socket_resume false"

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
        rung.line.ring(rung.listener, CALL, "acme", LEG, m.Phone("302", "302"), 20)
        rung.line._waiting[0] = rung.line._waiting[0].__class__(0.0, LEG, (), None)
        rung.line._give_up()
        assert rung.listener.events == [m.LegFailed(LEG, "unreachable", "SWITCH_AWAY")]

    def test_what_is_said_of_a_dead_leg_is_not_taken_for_one_rung_anew(self) -> None:
        rung = Rung()
        rung.line.find(rung.listener, CALL, LEG)
        rung.line._found(LEG, cast(Any, SimpleNamespace(text="-ERR No such channel!\n")))
        rung.says(event("BACKGROUND_JOB", "-ERR NO_ANSWER", Job_UUID=LEG))
        rung.says(event("CHANNEL_HANGUP_COMPLETE", Unique_ID=LEG, Hangup_Cause="NO_ANSWER"))
        assert rung.listener.events == [m.LegFailed(LEG, "unreachable", "GONE")]


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


class TestEndsHeard:
    """The end of a call that was not talking: its owner writes it, or whoever finds that nobody has."""

    LATER = float("inf")

    @pytest.fixture
    def written(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        monkeypatch.setattr(controller.facts, "write", records.extend)
        return records

    def hears(self, controller: Controller, monkeypatch: pytest.MonkeyPatch, told: set[str]) -> None:
        board = SimpleNamespace(told=lambda calls: told, claim_end=lambda call, identity: True)
        monkeypatch.setattr(controller, "board", board)
        line = FakeLine("switch1", [])
        controller._ended_somewhere(cast(Any, line), event("CHANNEL_HANGUP_COMPLETE", Unique_ID=CALL))

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
