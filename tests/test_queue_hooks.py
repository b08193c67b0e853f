"""Where the rest of a process speaks to its queues: ends of channels, talks, a switch that was started anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent import socket

from callcontrol import messages as m
from callcontrol.server import Controller
from callcontrol.session import Session
from callcontrol.state import State, encode
from tests.playbook import CALL, routing
from tests.queuedesk import FLOWS, HEAD, LEG
from tests.test_shell import FakeLine, Rung, event, late_end
from tests.test_shell import controller as controller  # a fixture

END = {
    "Unique-ID": LEG,
    "variable_cordboard_company": "test",
    "variable_cordboard_person": "301",
    "Caller-Channel-Answered-Time": "1795304552123456",
}


class FakeQueues:
    """Keeps what it is told; only ``test`` has queues."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def serves(self, company: str) -> bool:
        return company == "test"

    def ended(self, company: str, person: str, uuid: str, *, answered: bool) -> None:
        self.told.append(("ended", company, person, uuid, answered))

    def perform(self, session: Session, command: m.Command) -> None:
        self.told.append(("perform", type(command).__name__, session.switch, session.caller))

    def begins(self, session: Session) -> None:
        self.told.append(("begins", session.extension))

    def talks(self, session: Session, leg: str, person: str) -> None:
        self.told.append(("talks", leg, person))

    def leave(self, company: str, call: str) -> None:
        self.told.append(("leave", company, call))

    def forget(self, session: Session) -> None:
        self.told.append(("forget", session.moved))


@pytest.fixture
def told(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    queues = FakeQueues()
    monkeypatch.setattr(controller, "queues", queues)
    return queues.told


class TestEndsOfChannels:
    def ends(self, controller: Controller, **changed: str) -> None:
        headers = {**END, **{key.replace("_unique_id", "Unique-ID"): value for key, value in changed.items()}}
        controller._leg_ended(cast(Any, FakeLine("switch1", [])), late_end(headers))

    def test_the_leg_of_a_person_is_told(self, controller: Controller, told: list[Any]) -> None:
        self.ends(controller)
        assert told == [("ended", "test", "301", LEG, True)]

    def test_and_that_it_was_never_answered(self, controller: Controller, told: list[Any]) -> None:
        controller._leg_ended(
            cast(Any, FakeLine("switch1", [])), late_end({**END, "Caller-Channel-Answered-Time": "0"})
        )
        assert told == [("ended", "test", "301", LEG, False)]

    @pytest.mark.parametrize("person", ["", "${system(x)}"])
    def test_or_that_nobody_is_known_by_it(self, controller: Controller, told: list[Any], person: str) -> None:
        self.ends(controller, variable_cordboard_person=person)
        assert told == [("ended", "test", "", LEG, True)]

    def test_a_call_from_a_phone_is_one_from_its_beginning(self, controller: Controller, told: list[Any]) -> None:
        headers = {"Unique-ID": CALL, "variable_cordboard_company": "test", "variable_cordboard_extension": "302"}
        controller._leg_ended(cast(Any, FakeLine("switch1", [])), late_end(headers))
        assert told == [("ended", "test", "302", CALL, True)]

    @pytest.mark.parametrize(
        "changed",
        [
            {"variable_cordboard_company": "other"},
            {"variable_cordboard_company": "../test"},
            {"_unique_id": "a\nb"},
        ],
    )
    def test_what_concerns_no_queue_or_is_no_name_is_not(
        self, controller: Controller, told: list[Any], changed: dict[str, str]
    ) -> None:
        self.ends(controller, **changed)
        assert told == []

    def test_every_channel_that_ends_is_heard_and_says_whose_it_is(self) -> None:
        rung, heard = Rung(), []
        rung.line._on_leg_end = lambda line, event: heard.append(event.get("Unique-ID"))
        rung.line.ring(rung.listener, CALL, "test", m.RingLeg(LEG, m.Phone("301", "301"), 20), None)
        assert "cordboard_person=301" in rung.inbound.sent[0]
        assert (rung.line.person_of(LEG), rung.line.person_of(CALL)) == ("301", "")
        rung.says(event("CHANNEL_HANGUP_COMPLETE", Unique_ID=LEG))
        rung.says(event("CHANNEL_HANGUP_COMPLETE", Unique_ID=CALL))
        assert heard == [LEG, CALL]

    def test_the_call_that_rang_a_leg_hears_of_its_end_first(self) -> None:
        """So an agent who hangs up before the joining has missed the caller: no talk of theirs ends."""
        rung = Rung()
        heard: list[list[m.Event]] = []
        rung.line._on_leg_end = lambda line, event: heard.append(list(rung.listener.events))
        rung.line.ring(rung.listener, CALL, "test", m.RingLeg(LEG, m.Phone("301", "301"), 20), None)
        rung.says(event("CHANNEL_HANGUP_COMPLETE", Unique_ID=LEG, Hangup_Cause="NORMAL_CLEARING"))
        assert heard == [[m.LegFailed(LEG, "no_answer", "NORMAL_CLEARING")]]


class TestCallsThatEndUnowned:
    @pytest.mark.parametrize(
        ("step", "progress", "known", "leaves"),
        [("wait", {"b": 0}, True, True), ("wait", {"b": 0}, False, True), ("bye", {}, True, False)],
    )
    def test_one_that_was_in_a_queue_stands_in_it_no_more_whatever_became_of_its_routing(
        self,
        controller: Controller,
        told: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        progress: dict[str, Any],
        known: bool,
        leaves: bool,
    ) -> None:
        made = routing(FLOWS + "  bye: {hangup: normal}\n", HEAD)
        monkeypatch.setattr(controller.published, "version", lambda company, version: made if known else None)
        monkeypatch.setattr(controller, "board", SimpleNamespace(claim_end=lambda call, identity: True))
        state = State("test", made.version, "+74951234567", 1, 0, "main", step, progress=progress)
        end = {"state": encode(state), "cause": "NORMAL_CLEARING", "answered": True}
        controller._write_end(cast(Any, FakeLine("switch1", [])), CALL, end, 1.0)
        assert told == ([("leave", "test", CALL)] if leaves else [])

    def test_one_that_is_gone_without_a_word_may_have_been(
        self, controller: Controller, told: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(controller, "board", SimpleNamespace(claim_end=lambda call, identity: True))
        end = {"state": "", "cause": "UNKNOWN", "answered": False, "company": "test"}
        controller._write_end(cast(Any, FakeLine("switch1", [])), CALL, end, 1.0)
        assert told == [("leave", "test", CALL)]


class TestSwitches:
    def test_one_that_was_started_anew_is_reconciled_at_once(
        self, controller: Controller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, bool]] = []
        monkeypatch.setattr(controller, "board", SimpleNamespace(lease=lambda name, owner, seconds: True))
        monkeypatch.setattr(controller, "reconcile", lambda line, anew: asked.append((line.name, anew)))
        monkeypatch.setattr(controller, "_directory", SimpleNamespace(tell=lambda *lines: None))
        line, other = cast(Any, FakeLine("switch1", [])), cast(Any, FakeLine("switch2", []))
        controller._knows_core(line, "one")
        controller._knows_core(other, "another")
        controller._knows_core(line, "one")  # connected again
        gevent.sleep(0)
        assert asked == []
        controller._knows_core(line, "two")
        gevent.sleep(0)
        assert asked == [("switch1", True)]

    def test_one_that_can_be_heard_again_is_asked_what_ended_meanwhile(
        self, controller: Controller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(controller.queues.caretaker, "catch_up", lambda line: asked.append(line.name))
        monkeypatch.setattr(controller, "_directory", SimpleNamespace(tell=lambda *lines: None))
        for _ in range(2):
            controller._knows_core(cast(Any, FakeLine("switch1", [])), "one")
            gevent.sleep(0)
        assert asked == ["switch1", "switch1"]

    def test_by_the_one_process_that_has_the_lease(
        self, controller: Controller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(controller, "reconcile", lambda line, anew: asked.append(line.name))
        monkeypatch.setattr(controller, "board", SimpleNamespace(lease=lambda name, owner, seconds: False))
        controller._reconcile_if_ours(cast(Any, FakeLine("switch1", [])), anew=True)
        assert asked == []

    def test_one_that_drains_leaves_its_switches_to_another_at_once(
        self, controller: Controller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released: list[str] = []
        board = SimpleNamespace(available=True, release=lambda name, owner: released.append(name))
        monkeypatch.setattr(controller, "board", board)
        monkeypatch.setattr(controller, "_shipper", SimpleNamespace(stop=lambda seconds: None))
        controller.drain()
        assert released == ["cordboard:reconciler:switch1", "cordboard:reconciler:switch2"]

    def test_queues_are_compared_with_what_lives(self, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[tuple[str, set[str], bool]] = []

        def reconcile(line: Any, alive: set[str], *, certain: bool) -> None:
            compared.append((line.name, alive, certain))

        monkeypatch.setattr(controller.queues.caretaker, "reconcile", reconcile)
        controller.reconcile(cast(Any, FakeLine("switch1", [CALL])))
        controller.reconcile(cast(Any, FakeLine("switch1", [])), anew=True)
        assert compared == [("switch1", {CALL}, False), ("switch1", set(), True)]


class TestSessions:
    """A call from the switch's first word on."""

    @pytest.fixture
    def begun(self, controller: Controller, told: list[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
        """A call that a phone of the company's makes to the queue, and its connection's far end."""
        made = routing(FLOWS.replace("main:", "main:\n  code: '*77'", 1), HEAD)
        monkeypatch.setattr(controller, "routing_for", lambda called, taken, company: (made, called))
        near, far = socket.socketpair()
        head = "Content-Type: command/reply\nReply-Text: +OK\nEvent-Name: CHANNEL_DATA\n"
        session = Session(near, ("127.0.0.1", 1), controller)
        running = gevent.spawn(session.run)
        far.sendall(
            f"{head}Unique-ID: {CALL}\nCaller-Destination-Number: *77\n"
            "variable_cordboard_company: test\nvariable_cordboard_extension: 301\n\n".encode()
        )
        with gevent.Timeout(5):
            while not told:
                gevent.sleep(0.001)
        yield SimpleNamespace(session=session, far=far, running=running)
        far.close()
        running.join(5)
        assert running.ready()

    def test_what_it_says_to_its_queue_is_performed_and_its_phone_is_busy(self, begun: Any, told: list[Any]) -> None:
        assert told == [("perform", "Enter", "switch1", "301"), ("begins", "301")]

    def test_a_call_that_goes_elsewhere_has_moved(self, begun: Any, told: list[Any]) -> None:
        begun.session.hand_over()
        begun.running.join(5)
        assert told[-1] == ("forget", True)

    def test_one_that_another_connection_has_too(self, begun: Any, told: list[Any]) -> None:
        begun.session.lost()
        assert told[-1] == ("forget", True)

    def test_a_talk_is_told_with_whose_telephone_it_is(
        self, begun: Any, told: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def talk(address: str) -> None:
            begun.session._perform([m.Tell("talk.started", {"with": address, "leg": LEG}), m.LetGo()])

        talk("302")
        talk("+79161112233")
        assert told[-2:] == [("talks", LEG, "302"), ("talks", LEG, "301")]
        monkeypatch.setattr(begun.session._line, "person_of", lambda leg: "303")
        talk("+79161112233")
        assert told[-1] == ("talks", LEG, "303")
