"""The driver: life table, edges, crashes, loops, takeovers, the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol.call import LIFE, MOST_CRASHES, Life, after, epilogue
from callcontrol.state import LONGEST, State, encode
from callcontrol.steps.play import Play
from tests.playbook import CALL, CALLED, Playbook, routing

PLAY = "main:\n  it: {play: Hello., then: bye}\n  bye: {hangup: normal}"
EVENTS = [
    m.Answered(),
    m.Digit("1"),
    m.PlayEnded(1),
    m.RecordEnded(1, "x.wav", 1.0),
    m.LegReady("leg-00000001"),
    m.LegRinging("leg-00000001"),
    m.LegFailed("leg-00000001", "busy"),
    m.Joined("leg-00000001"),
    m.JoinFailed("leg-00000001", "no"),
    m.HungUp("NORMAL_CLEARING"),
    m.TimeCame(),
]


class TestLife:
    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize("life", list(Life))
    def test_every_event_in_every_life_has_an_answer(self, life: Life, event: m.Event) -> None:
        assert after(life, event) in (*Life, None)

    def test_an_ended_call_stays_ended(self) -> None:
        assert {after(Life.ENDED, event) for event in EVENTS} <= {Life.ENDED, None}

    def test_a_talk_is_nobodys(self) -> None:
        assert {after(Life.TALKING, event) for event in EVENTS} == {None}

    def test_the_table_has_no_row_for_an_unknown_life(self) -> None:
        assert {life for life, _ in LIFE} <= set(Life)

    @given(st.lists(st.sampled_from(EVENTS), max_size=30), st.sampled_from(["play", "dial", "menu", "voicemail"]))
    def test_whatever_comes_in_whatever_order_a_call_ends_at_most_once(self, events: list[m.Event], verb: str) -> None:
        step = {
            "play": "{play: Hi., then: it}",
            "dial": "{dial: team, otherwise: bye}",
            "menu": "{menu: Hi., keys: {1: bye}, extensions: [302], otherwise: bye}",
            "voicemail": "{voicemail: [302], then: bye}",
        }[verb]
        book = Playbook(ROUTINGS.setdefault(verb, routing(f"main:\n  it: {step}\n  bye: {{hangup: normal}}")))
        for event in events:
            book.happens(event, 0.5)
        ended = any(isinstance(event, m.HungUp) for event in events)
        assert len(book.told("call.ended")) <= (1 if ended else 0)
        assert not book.told("step.failed")


ROUTINGS: dict[str, Any] = {}


class TestTelling:
    def test_a_call_tells_its_beginning_its_steps_and_its_end(self) -> None:
        book = Playbook(PLAY).happens(m.Answered(), 0.1).hears_all().happens(m.HungUp("NORMAL_CLEARING", "cordboard"))
        kinds = [fact.type for fact in book.facts]
        assert kinds == [
            "call.started", "step.entered", "call.answered", "step.left", "step.entered", "call.ended",
        ]  # fmt: skip
        assert book.told("call.ended")[0] | {"seconds": 0} == {
            "cause": "NORMAL_CLEARING", "by": "cordboard", "seconds": 0, "answered": True, "flow": "main",
            "step": "bye",
        }  # fmt: skip

    def test_a_step_says_why(self) -> None:
        book = Playbook(PLAY).hears_all()
        assert book.told("step.left")[0]["why"] == "says “Hello.”"


class TestNumbersNobodyOwns:
    def test_the_caller_hears_that_the_number_does_not_exist(self) -> None:
        book = Playbook(PLAY, called="+70000000000").then("hangup unknown_number")
        (started,) = book.told("call.started")
        assert (started["from"], started["to"]) == ("+79031234567", "+70000000000")


class TestCrashes:
    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(self: Play, call: Any, progress: Any) -> Any:
            yield from ()
            raise RuntimeError("a bug")

        monkeypatch.setattr(Play, "run", run)

    def test_a_step_that_crashes_follows_on_error(self) -> None:
        book = Playbook("main:\n  it: {play: Hi., on_error: bye}\n  bye: {hangup: busy}").then("hangup busy")
        assert book.told("step.failed") == [{"where": "main/it", "error": "RuntimeError: a bug"}]
        assert "a bug" in book.logs[0].text

    def test_or_its_flows_on_error(self) -> None:
        Playbook("main:\n  on_error: bye\n  it: {play: Hi.}\n  bye: {hangup: busy}").then("hangup busy")

    def test_or_hangs_up_an_unanswered_caller(self) -> None:
        Playbook("main:\n  it: {play: Hi.}").then("hangup failure")

    def test_or_apologises_to_an_answered_one(self) -> None:
        book = Playbook("main:\n  it: {play: Hi.}", answered=True).then("play apology")
        book.hears_all().then("hangup failure")

    def test_a_loop_of_crashes_ends_with_the_apology(self) -> None:
        book = Playbook("main:\n  it: {play: Hi., on_error: it}", answered=True).then("play apology")
        assert len(book.told("step.failed")) == MOST_CRASHES + 1


class TestPastTheEnd:
    def test_only_what_concerns_others_is_still_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(self: Play, call: Any, progress: Any) -> Any:
            yield m.Wait(call.now + 60, past_end=True)
            yield m.Progress({"a": 1})
            yield m.Answer()
            yield m.Miss(1, "302", "no_answer")
            yield m.Leave()
            return "then"

        monkeypatch.setattr(Play, "run", run)
        book = Playbook(PLAY)
        written = len(book.states)
        book.hangs_up().then("miss 302 no_answer", "leave")
        assert len(book.states) == written
        assert len(book.told("call.ended")) == 1


class TestLoops:
    def test_steps_that_never_wait_end_with_the_apology(self) -> None:
        built = routing("main:\n  a: {set: {x: 1}, then: b}\n  b: {set: {x: 2}, then: c}\n  c: {hangup: normal}")
        flow = built.flows["main"]
        object.__setattr__(flow.steps["b"], "edges", {"then": flow.steps["a"].edges["then"]})  # b -> b
        book = Playbook(built).then("hangup failure")
        assert any("without a pause" in log.text for log in book.logs)


class TestCheckpoints:
    def test_the_first_thing_written_is_the_checkpoint(self) -> None:
        book = Playbook(PLAY)
        first = next(c for c in _commands(PLAY) if not isinstance(c, m.Tell))
        assert isinstance(first, m.Checkpoint)
        assert (book.states[0].flow, book.states[0].step, book.states[0].epoch) == ("main", "it", 1)

    def test_a_takeover_writes_its_epoch_before_anything_else(self) -> None:
        again = Playbook(PLAY).taken_over()
        assert again.states[0].epoch == 2
        assert again.facts[0].type == "call.taken_over"

    def test_a_step_that_is_gone_begins_its_flow_again_and_says_so(self) -> None:
        book = Playbook(PLAY)
        state = book.states[-1]
        state.step = "gone"
        again = Playbook(book.routing, taken=state, answered=True).then("play Hello.")
        assert again.told("step.gone") == [{"flow": "main", "step": "gone", "instead": "main"}]

    def test_a_flow_that_is_gone_begins_the_numbers_flow(self) -> None:
        book = Playbook(PLAY)
        state = book.states[-1]
        state.flow = "gone"
        Playbook(book.routing, taken=state, answered=True).then("play Hello.")

    def test_a_way_back_that_is_gone_is_forgotten(self) -> None:
        book = Playbook("main:\n  it: {play: Hello., then: return}\n  bye: {hangup: normal}")
        state = book.states[-1]
        state.stack = (("gone", "gone"),)
        Playbook(book.routing, taken=state, answered=True).then("play Hello.").hears_all().then("hangup normal")

    def test_variables_of_the_number_are_not_stored_again(self) -> None:
        assert Playbook(PLAY).states[0].variables == {}

    def test_the_language_survives(self) -> None:
        flow = "main:\n  s: {set: {language: ru}, then: it}\n  it: {play: {en: Hi., ru: Привет.}}"
        Playbook(flow).taken_over().then("play Привет.")

    @pytest.mark.parametrize(
        "progress",
        [
            {"left": "x"},
            {"left": -5},
            {"left": 10**9},
            {"a": 99, "u": 0, "r": 1, "f": 0},
            {"x": "999"},
            {"a": "x"},
            {"n": "x"},
        ],
    )
    @pytest.mark.parametrize("verb", ["menu", "dial", "voicemail", "collect"])
    def test_progress_that_makes_no_sense_never_leaves_a_caller_in_silence(
        self, verb: str, progress: dict[str, Any]
    ) -> None:
        step = {
            "dial": "{dial: team, otherwise: bye}",
            "menu": "{menu: Hi., keys: {1: bye}, extensions: [302], otherwise: bye}",
            "voicemail": "{voicemail: [302], then: bye}",
            "collect": "{collect: Hi., digits: 4, into: x, then: bye, otherwise: bye}",
        }[verb]
        built = routing(f"main:\n  it: {step}\n  bye: {{hangup: normal}}")
        state = State("test", built.version, CALLED, 1, 0, "main", "it", progress=progress)
        book = Playbook(built, taken=state, answered=True)
        for _ in range(60):
            if book.wakes_at is None or "hangup normal" in book.lines or "hangup failure" in book.lines:
                break
            book.waits()
        assert "hangup normal" in book.lines or "hangup failure" in book.lines


def _commands(flow: str) -> list[m.Command]:
    from callcontrol.call import Call

    call = Call(routing(flow), call_id=CALL, caller=None, called=CALLED, now=0.0)
    return call.begin(0.0)


class TestEndsThatNobodyOwned:
    def test_a_talk_that_the_caller_ended_is_told(self) -> None:
        book = Playbook("main:\n  it: {dial: 302, otherwise: bye}\n  bye: {hangup: normal}")
        book.answers("302").joined("302")
        facts = epilogue(book.routing, book.states[-1], CALL, cause="NORMAL_CLEARING", answered=True, now=book.now + 30)
        assert [fact.type for fact in facts] == ["talk.ended", "call.ended"]
        assert facts[0].data == {"with": "302", "seconds": 30}
        assert facts[1].data["by"] == "unowned"

    def test_a_message_whose_owner_died_is_told(self) -> None:
        book = Playbook("main:\n  it: {voicemail: [302], then: bye}\n  bye: {hangup: normal}").hears_all()
        facts = epilogue(book.routing, book.states[-1], CALL, cause="X", answered=True, now=book.now)
        assert [fact.type for fact in facts] == ["message.recorded", "call.ended"]
        assert facts[0].data["files"] == [f"test_{CALL}_m1.wav"]

    def test_without_its_routing_the_end_is_told_all_the_same(self) -> None:
        state = State("gone", "0" * 16, CALLED, 3, 0, "main", "it")
        assert [fact.type for fact in epilogue(None, state, CALL, cause="X", answered=True, now=9)] == ["call.ended"]


def test_every_checkpoint_of_the_longest_talk_fits() -> None:
    book = Playbook("main:\n  it: {dial: 302, otherwise: bye}\n  bye: {hangup: normal}").answers("302").joined("302")
    assert max(len(encode(state)) for state in book.states) <= LONGEST
