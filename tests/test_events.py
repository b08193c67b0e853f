"""What subscribers are told: the catalogue keeps its promises, and no fact can break it."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.cli import main
from callcontrol.routing.files import load_directory
from tests import frozen_events
from webhooks.events import catalogue, deriving, publishing, reading
from webhooks.events.catalogue import CATALOGUE, Event, mistakes
from webhooks.events.deriving import DERIVED, NOT_PUBLIC, CallSoFar, PublicEvent, derive, explain
from webhooks.events.envelope import body, envelope, moment

ROOT = Path(__file__).parent.parent
CALL = CallSoFar(
    id="c1",
    company="acme",
    direction="inbound",
    caller="+79161234567",
    called="+74951234567",
    extension=None,
    began=1_000_000.0,
)
WHOSE = {"direction": "inbound", "from": "+79161234567", "to": "+74951234567"}
NAMES = {"301": "Anna Petrova", "302": "Boris Orlov"}
ANNA = {"extension": "301", "name": "Anna Petrova"}
BORIS = {"extension": "302", "name": "Boris Orlov"}


def fact(type_: str, /, *, at: float = 1_000_010.0, **data: Any) -> dict[str, Any]:
    head = {"v": 1, "type": type_, "company": "acme", "call": "c1", "epoch": 1, "n": 3, "at": at, "switch": "switch1"}
    return {**head, "data": data}


def told(type_: str, call: CallSoFar | None = CALL, /, **data: Any) -> list[PublicEvent]:
    return list(derive(fact(type_, **data), call, NAMES.get))


def one(type_: str, call: CallSoFar | None = CALL, /, **data: Any) -> tuple[str, dict[str, Any]]:
    """The single event of a fact, without what all events of a call say."""
    (event,) = told(type_, call, **data)
    return event.type, {key: value for key, value in event.data.items() if key not in WHOSE}


# -------------------------------------------------------------------------------------------------- the catalogue

EVENTS = [pytest.param(event, id=type_) for type_, event in CATALOGUE.items()]


@pytest.mark.parametrize("event", EVENTS)
def test_an_example_is_what_its_schema_says(event: type[Event]) -> None:
    assert not mistakes(event.TYPE, event.EXAMPLE)
    jsonschema_rs.validate(publishing.schema(event), publishing.example(event))


@pytest.mark.parametrize("event", EVENTS)
def test_a_published_schema_refuses_what_the_schema_refuses(event: type[Event]) -> None:
    """Each field of the example is taken away, and replaced by what it cannot be."""
    for name in event.EXAMPLE:
        for wrong in ({key: value for key, value in event.EXAMPLE.items() if key != name}, {**event.EXAMPLE, name: {}}):
            assert mistakes(event.TYPE, wrong), name
            assert not jsonschema_rs.is_valid(publishing.data_schema(event), wrong), name


@pytest.mark.parametrize("event", EVENTS)
def test_every_type_says_when_it_is_told_and_what_may_surprise(event: type[Event]) -> None:
    about = (event.__doc__ or "").split("\n\n")
    assert len(about) > 1
    assert len(about[0]) < 110
    for name, found in publishing.data_schema(event)["properties"].items():
        assert found["description"], name


def test_no_event_has_a_secret_or_a_link_in_it() -> None:
    names = set(re.findall(r'"(\w+)":', json.dumps([event.EXAMPLE for event in CATALOGUE.values()])))
    assert not [name for name in names if re.search("url|link|href|secret|token|key$", name) and name != "key"]
    assert "://" not in json.dumps([event.EXAMPLE for event in CATALOGUE.values()])


class TestPromises:
    """Within a version fields are only added."""

    def test_nothing_that_was_promised_is_broken(self) -> None:
        now = frozen_events.current()
        for key, before in frozen_events.frozen().items():
            if key in now:
                assert not list(frozen_events.broken(before, now[key])), f"{key}: give the type a new VERSION"

    def test_everything_that_is_published_is_promised(self) -> None:
        known = frozen_events.frozen()
        for key, now in frozen_events.current().items():
            assert known.get(key) == now, f"{key} is new or has more: python -m tests.frozen_events"

    def test_a_type_never_goes(self) -> None:
        assert {key.partition("@")[0] for key in frozen_events.frozen()} == set(CATALOGUE)

    @pytest.mark.parametrize(
        "now",
        [
            {},
            {"properties": {}, "required": ["a"]},
            {"properties": {"a": {"type": ["string", "null"], "enum": ["x", "y"]}}, "required": ["a"]},
            {"properties": {"a": {"type": "string", "enum": ["x"]}}, "required": ["a"]},
            {"properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": []},
        ],
    )
    def test_what_breaks_a_promise_is_found(self, now: dict[str, Any]) -> None:
        before = {"properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": ["a"]}
        assert list(frozen_events.broken(before, now))

    def test_a_field_and_a_word_may_be_added(self) -> None:
        before = {"properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": ["a"]}
        more = {"a": {"type": "string", "enum": ["x", "y", "z"]}, "b": {"type": "string"}}
        assert not list(frozen_events.broken(before, {"properties": more, "required": ["a", "b"]}))


class TestDocument:
    """webhooks/EVENTS.md, and ``cordboard events``."""

    def test_it_is_fresh(self) -> None:
        assert (ROOT / "webhooks/EVENTS.md").read_text(encoding="utf-8") == publishing.document(), "run make manual"

    def test_every_type_has_its_chapter_with_every_field(self) -> None:
        chapters = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", publishing.document(), re.DOTALL | re.MULTILINE))
        for type_, event in CATALOGUE.items():
            for name in event.EXAMPLE:
                assert f"| `{name}` |" in chapters[type_]

    def test_a_word_that_a_table_would_break_on_is_escaped(self) -> None:
        rows = [line for line in publishing.document().splitlines() if line.startswith("| ")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)

    def test_the_list_has_a_line_for_each(self) -> None:
        lines = CliRunner().invoke(main, ["events"]).output.splitlines()
        assert [line.split()[0] for line in lines] == list(CATALOGUE)

    def test_a_schema_is_printed_and_so_are_all(self) -> None:
        whole = json.loads(CliRunner().invoke(main, ["events", "--schema"]).output)
        ended = json.loads(CliRunner().invoke(main, ["events", "--schema", "call.ended"]).output)
        assert set(whole) == set(CATALOGUE)
        assert whole["call.ended"] == ended

    def test_an_example_is_printed(self) -> None:
        found = json.loads(CliRunner().invoke(main, ["events", "--example", "call.missed"]).output)
        assert found["type"] == "call.missed"
        assert found["sequence"] > 0

    def test_an_event_of_no_call_has_no_sequence(self) -> None:
        assert publishing.example(CATALOGUE["agent.state"])["sequence"] is None

    @pytest.mark.parametrize("options", [["--schema", "call.lost"], ["--example", "x"], ["--schema", "--document"]])
    def test_a_mistake_is_named(self, options: list[str]) -> None:
        found = CliRunner().invoke(main, ["events", *options])
        assert found.exit_code == 2
        assert "Error" in found.output


# ---------------------------------------------------------------------------------------- every fact has its answer

_FACT = re.compile(r"[a-z]+\.[a-z_]+")


def facts_told() -> Iterator[str]:
    """Every type of fact in the sources: what is given to something that tells, or yielded as what is owed."""
    for folder in ("callcontrol", "workers", "webhooks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                words: list[ast.expr] = []
                if isinstance(node, ast.Call):
                    called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
                    if called in ("Tell", "tell", "_tell", "_leave"):
                        words = [*node.args, *(keyword.value for keyword in node.keywords)]
                elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                    words = node.value.elts[:1]
                for word in words:
                    for inner in ast.walk(word) if not isinstance(word, ast.Dict) else ():
                        value = inner.value if isinstance(inner, ast.Constant) else None
                        if isinstance(value, str) and _FACT.fullmatch(value):
                            yield value
    yield from re.findall(r"\btell\('([a-z.]+)'", (ROOT / "callcontrol/queues.lua").read_text(encoding="utf-8"))


def test_every_fact_is_told_to_subscribers_or_there_is_a_reason_why_not() -> None:
    known = set(facts_told())
    assert {"call.ended", "agent.state", "queue.unstaffed", "queue.abandoned", "facts.lost"} <= known
    assert not known - set(DERIVED) - set(NOT_PUBLIC)
    assert not set(DERIVED) & set(NOT_PUBLIC)
    assert all(NOT_PUBLIC.values())


def test_every_event_comes_of_some_fact() -> None:
    rich = replace(CALL, missed=True)
    data = {"recording": "rec_1", "kind": "message", "endpoint": "ep_1", "queue": "sales", "agent": "301"}
    data |= {"state": "paused", "result": "busy", "person": "301", "rule": "busy", "to": "302", "outcome": "paused"}
    assert {event.type for type_ in DERIVED for event in told(type_, rich, **data)} == set(CATALOGUE)


# ---------------------------------------------------------------------------------------------------- what is told


class TestCalls:
    """Started, answered, connected, ended, missed."""

    def test_a_call_from_outside_is_nobody_of_ours(self) -> None:
        assert told("call.started") == [PublicEvent("call.started", {**WHOSE, "person": None})]

    def test_a_call_of_a_colleague_names_them(self) -> None:
        ours = replace(CALL, direction="outbound", caller="301", extension="301")
        assert told("call.started", ours)[0].data == {
            **WHOSE,
            "direction": "outbound",
            "from": "301",
            "person": ANNA,
        }

    def test_an_answer_says_how_long_the_caller_had_waited(self) -> None:
        assert one("call.answered") == ("call.answered", {"waited": 10.0})

    def test_a_telephone_that_rings_is_told_with_whose_it_is(self) -> None:
        assert one("leg.rung", person="301", address="301") == ("call.ringing", {"person": ANNA, "number": None})
        mobile = one("leg.rung", person="301", address="+79161112233")[1]
        assert mobile == {"person": ANNA, "number": "+79161112233"}
        assert one("leg.rung", person="", address="+39061234567")[1]["person"] is None

    def test_a_talk_on_a_mobile_is_with_the_person_whose_it_is(self) -> None:
        call = replace(CALL, talked_to="301")
        connected = one("talk.started", call, **{"with": "+79161112233", "leg": "l1"})
        assert connected == ("call.connected", {"with": {**ANNA, "number": "+79161112233"}, "waited": 10.0})

    def test_a_talk_with_a_number_outside_is_with_nobody_of_ours(self) -> None:
        ended = one("talk.ended", **{"with": "+39061234567", "seconds": 64})
        assert ended == (
            "call.talk_ended",
            {"with": {"extension": None, "name": None, "number": "+39061234567"}, "seconds": 64.0},
        )

    def test_a_forward_is_told_with_its_rule(self) -> None:
        forwarded = one("call.forwarded", person="301", rule="no_answer", to="mobile")
        assert forwarded == ("call.forwarded", {"person": ANNA, "rule": "no_answer", "forwarded_to": "mobile"})

    def test_an_end_says_everything_that_is_counted(self) -> None:
        call = replace(
            CALL,
            answered_at=1_000_001.0,
            connected_at=1_000_005.5,
            ended_at=1_000_081.0,
            talk_seconds=64.0,
            talked_with="301",
            queue="sales",
            rung=("302", "301", "302"),
            recordings=("rec_1",),
        )
        data = {"cause": "NORMAL_CLEARING", "by": "caller", "seconds": 81, "answered": True}
        assert one("call.ended", call, **data, flow="reception", step="sales") == (
            "call.ended",
            {
                "person": None,
                "outcome": "talked",
                "with": {**ANNA, "number": None},
                "answered": True,
                "message": False,
                "seconds": 81.0,
                "waited": 5.5,
                "talk_seconds": 64.0,
                "ended_by": "caller",
                "cause": "NORMAL_CLEARING",
                "queue": "sales",
                "rang": [BORIS, ANNA],
                "flow": "reception",
                "step": "sales",
                "recordings": ["rec_1"],
            },
        )

    def test_a_missed_call_is_told_right_after_its_end_with_whom_it_rang(self) -> None:
        call = replace(CALL, missed=True, queue="sales", rung=("301",))
        ended, missed = told("call.ended", call, cause="ORIGINATOR_CANCEL", by="caller", seconds=42, flow="f", step="s")
        assert (ended.type, ended.data["outcome"]) == ("call.ended", "unanswered")
        assert missed.type == "call.missed"
        assert missed.data == {
            **WHOSE,
            "message": False,
            "queue": "sales",
            "rang": [ANNA],
            "seconds": 42.0,
            "flow": "f",
            "step": "s",
        }

    def test_a_missed_call_with_a_message_says_so(self) -> None:
        ended, missed = told("call.ended", replace(CALL, missed=True, message=True))
        assert (ended.data["outcome"], missed.data["message"]) == ("message", True)

    def test_an_end_that_nobody_watched_is_an_end(self) -> None:
        """The switch's own records say little: the durations follow from the call's row."""
        kind, data = one("call.ended", by="unowned")
        assert kind == "call.ended"
        assert (data["ended_by"], data["seconds"], data["answered"], data["waited"]) == (None, 10.0, False, None)

    def test_a_call_that_the_journal_does_not_know_has_no_end_to_tell(self) -> None:
        assert told("call.ended", None) == []


class TestQueues:
    """Joined, answered, left; agents."""

    def test_a_caller_joins(self) -> None:
        joined = one("queue.joined", queue="sales", priority=10, skills=["english", 3])
        assert joined == ("queue.joined", {"queue": "sales", "priority": 10, "skills": ["english"]})

    def test_an_agent_takes_them(self) -> None:
        answered = one("queue.answered", queue="sales", agent="301", offer=4, waited=11)
        assert answered == ("queue.answered", {"queue": "sales", "agent": ANNA, "waited": 11.0})

    @pytest.mark.parametrize(
        ("type_", "data", "outcome", "key", "waited"),
        [
            ("queue.abandoned", {"waited": 9}, "abandoned", None, 9.0),
            ("queue.timeout", {"waited": 9}, "timeout", None, 9.0),
            ("queue.left", {"waited": 9, "key": "1", "outcome": "→ message"}, "key", "1", 9.0),
            ("queue.unstaffed", {"waited": 9, "outcome": "paused"}, "paused", None, 9.0),
            ("queue.refused", {"outcome": "full"}, "full", None, 0.0),
        ],
    )
    def test_every_way_out_is_one_event(
        self, type_: str, data: dict[str, Any], outcome: str, key: str | None, waited: float
    ) -> None:
        left = one(type_, queue="sales", **data)
        assert left == ("queue.left", {"queue": "sales", "outcome": outcome, "waited": waited, "key": key})

    def test_a_caller_who_was_waiting_when_nobody_owned_the_call_has_left(self) -> None:
        """What the queue's step owes after an end that nobody watched is understood here."""
        routing = next(found.routing for found in load_directory(ROOT / "routing") if found.company == "acme")
        step = routing.step("reception", "sales") if routing else None
        assert step is not None
        ((type_, data),) = step.after_end({"t": 1_000_000}, "acme", "c1", 1_000_009.0)
        assert one(type_, **data) == (
            "queue.left",
            {"queue": "sales", "outcome": "abandoned", "waited": 9.0, "key": None},
        )

    def test_an_offer_that_was_not_taken_is_the_agents_and_no_missed_call(self) -> None:
        missed = one("queue.missed", queue="sales", agent="302", offer=1, result="declined")
        assert missed == ("agent.missed", {"agent": BORIS, "queue": "sales", "result": "declined"})

    def test_an_agents_state_belongs_to_no_call_but_names_it(self) -> None:
        state = {"agent": "301", "state": "talking", "duty": "on", "queue": "sales", "call": "c1"}
        (event,) = told("agent.state", None, **state)
        assert event.data == {**state, "agent": ANNA, "reason": None, "by": None}


class TestRecordings:
    """What becomes of a recording, messages, endpoints."""

    def test_a_recording_is_available(self) -> None:
        data = {"recording": "rec_1", "kind": "talk", "seconds": 64.25, "bytes": 2000, "segments": 2}
        assert one("recording.available", **data) == ("recording.available", data)

    def test_a_message_is_told_as_a_recording_and_as_a_message(self) -> None:
        call = replace(CALL, message_for=("301",))
        recording, message = told("recording.available", call, recording="rec_1", kind="message", seconds=23.4)
        assert (recording.type, recording.data["kind"]) == ("recording.available", "message")
        assert message.type == "voicemail.received"
        assert message.data == {**WHOSE, "recording": "rec_1", "seconds": 23.4, "for": [ANNA]}

    def test_what_the_fact_says_of_for_whom_comes_first(self) -> None:
        call = replace(CALL, message_for=("301",))
        message = told("recording.available", call, recording="rec_1", kind="message", **{"for": ["302"]})[1]
        assert message.data["for"] == [BORIS]

    def test_a_recording_of_a_call_that_is_forgotten_is_told_all_the_same(self) -> None:
        (event,) = told("recording.deleted", None, recording="rec_1", kind="talk", why="retention")
        assert event.data == {
            **dict.fromkeys(WHOSE),
            "recording": "rec_1",
            "kind": "talk",
            "why": "retention",
        }

    def test_a_recording_that_was_lost_has_failed(self) -> None:
        assert one("recording.lost", recording="rec_1", why="gone")[0] == "recording.failed"

    def test_a_controller_that_could_not_record_a_file_tells_nobody_yet(self) -> None:
        assert explain(fact("recording.failed", file="x.wav", why="disk full"), CALL) == deriving.Derived()

    def test_an_endpoint_is_paused(self) -> None:
        assert one("endpoint.paused", None, endpoint="ep_1", why="x") == (
            "endpoint.paused",
            {"endpoint": "ep_1", "why": "x"},
        )


# ------------------------------------------------------------------------------------------------ hostile facts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
#: What is nearly right, so that not everything is refused at the first field.
_VALUES = JSON | st.sampled_from(
    ["301", "+79161112233", "sales", "rec_1", "message", "talk", "no_answer", "paused", "full", "\ud800", "a\r\nb", -1]
)
_NAMES = sorted(
    {"recording", "kind", "for", "seconds", "bytes", "segments", "with", "leg", "person", "address", "rule", "to"}
    | {"queue", "agent", "waited", "outcome", "key", "priority", "skills", "state", "duty", "reason", "by", "call"}
    | {"cause", "answered", "flow", "step", "why", "endpoint", "result"}
)
_CALLS = st.none() | st.builds(
    CallSoFar,
    **{known.name: _VALUES for known in fields(CallSoFar)},
)


@given(
    type_=st.sampled_from(sorted({*DERIVED, *NOT_PUBLIC})) | JSON,
    data=st.dictionaries(st.sampled_from(_NAMES), _VALUES) | JSON,
    at=_VALUES,
    call=_CALLS,
)
def test_no_fact_raises_and_what_is_told_is_what_the_schema_says(
    type_: Any, data: Any, at: Any, call: CallSoFar | None
) -> None:
    found = explain({"type": type_, "data": data, "at": at}, call, NAMES.get)
    for event in found.events:
        whole = {"id": "evt_1", "type": event.type, "version": 1, "company": "a", "call": None, "sequence": 1}
        sent = body({**whole, "occurred_at": moment(0), "data": event.data})
        assert sent.decode() == re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\u202e]", "?", sent.decode())
        jsonschema_rs.validate(publishing.schema(CATALOGUE[event.type]), json.loads(sent))
    if type_ == "call.ended" and call is not None:
        assert [event.type for event in found.events[:1]] == ["call.ended"]
    if isinstance(type_, str) and type_ in NOT_PUBLIC:
        assert not found.events


def test_a_fact_that_is_nothing_at_all_makes_no_event() -> None:
    assert derive({}, None) == ()
    assert derive({"type": ["call.ended"], "data": 7}, CALL) == ()


def test_what_is_dropped_has_a_reason() -> None:
    found = explain(fact("queue.answered", queue="sales", agent="'; drop"), CALL)
    assert found.events == ()
    assert found.dropped is not None
    assert "agent" in found.dropped["queue.answered"]


def test_a_wrong_field_is_null() -> None:
    kind, data = one("recording.available", recording="rec_1", kind="song", seconds=math.nan, bytes=True, segments=-1)
    assert kind == "recording.available"
    assert data == {"recording": "rec_1", "kind": None, "seconds": None, "bytes": None, "segments": None}


def test_text_of_strangers_is_one_line_that_can_be_seen() -> None:
    call = replace(CALL, caller="+7\r\nX-Evil: 1\u202e\x00\ud800" + "9" * 100)
    caller = told("call.started", call)[0].data["from"]
    assert caller.startswith("+7 X-Evil: 19999")
    assert len(caller) == 64


def test_the_longest_texts_are_within_the_schemas() -> None:
    assert len(reading.text("a" * 10_000) or "") == 200
    assert reading.text(" \n ") is None


# ------------------------------------------------------------------------------------------------- the envelope


@dataclass
class Row:
    id: str = "evt_1"
    type: str = "call.ended"
    version: int = 1
    company: str = "acme"
    call: str | None = "c1"
    sequence: int | None = 3
    occurred_at: float = 1_795_304_552.1236
    data: Mapping[str, Any] = field(default_factory=dict)


class TestEnvelope:
    """The same event has the same bytes."""

    def test_it_wraps_an_event(self) -> None:
        row = Row(data={"b": 1, "a": "й"})
        wrapped = envelope(row)
        assert list(wrapped) == ["id", "type", "version", "company", "call", "sequence", "occurred_at", "data"]
        assert wrapped["occurred_at"] == "2026-11-21T23:42:32.124Z"
        assert body(wrapped) == (
            b'{"id":"evt_1","type":"call.ended","version":1,"company":"acme","call":"c1","sequence":3,'
            b'"occurred_at":"2026-11-21T23:42:32.124Z","data":{"a":"\xd0\xb9","b":1}}'
        )

    def test_the_order_in_which_data_was_kept_changes_no_byte(self) -> None:
        assert body(envelope(Row(data={"b": {"y": 1, "x": 2}, "a": 1}))) == body(
            envelope(Row(data={"a": 1, "b": {"x": 2, "y": 1}}))
        )

    def test_an_event_of_no_call_has_neither_call_nor_sequence(self) -> None:
        wrapped = envelope(Row(call="", sequence=None, data={}))
        assert (wrapped["call"], wrapped["sequence"]) == (None, None)

    @given(st.floats())
    def test_every_moment_is_rfc_3339(self, seconds: float) -> None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment(seconds))

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (0.9996, "1970-01-01T00:00:01.000Z"),
            (1_795_304_552.123, "2026-11-21T23:42:32.123Z"),
            (-5.0, "1970-01-01T00:00:00.000Z"),
            (math.inf, "9999-12-31T23:59:59.000Z"),
            (math.nan, "1970-01-01T00:00:00.000Z"),
        ],
    )
    def test_a_moment_is_told_to_the_millisecond(self, seconds: float, text: str) -> None:
        assert moment(seconds) == text


def test_the_catalogue_imports_nothing_of_ours_but_itself() -> None:
    """Whoever reads it needs nothing of the house; neither clock nor socket is in it."""
    for path in (ROOT / "webhooks/events").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                known = node.module.startswith("webhooks.events")
                assert known or node.module.partition(".")[0] not in ("callcontrol", "workers", "webhooks"), path
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {"time", "socket", "redis", "requests", "logging", "structlog", "sqlalchemy"} & set(names), path


def test_words_of_the_catalogue_are_those_of_the_house() -> None:
    """What call control says, the catalogue knows: else an event would be dropped for a new word."""
    from callcontrol.routing import sections

    assert set(sections._Forward._declared_fields) == set(catalogue.RULES)
    assert set(sections._Delays._declared_fields) == set(catalogue.RESULTS)
    lua = (ROOT / "callcontrol/queues.lua").read_text(encoding="utf-8")
    assert all(f"'{state}'" in lua for state in catalogue.STATES)
