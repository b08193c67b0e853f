"""From facts as controllers tell them to events as subscribers get them, through the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import select

from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.spool import message_file, segment_file
from webhooks.events import publishing
from webhooks.events.catalogue import CATALOGUE
from webhooks.events.envelope import body, envelope
from workers.journal.database import Database
from workers.journal.ingest import take
from workers.journal.tables import Base, Event, Mail, Recording

NOW = 1_795_304_552.0
CALL = "3f0d2a6e-6f0b-4a53-9f0c-0c8c2f6f7a11"
COMPANY = """
cordboard: 1
company: Acme Windows
country: RU
timezone: Europe/Moscow
languages: [en]
numbers: {"+74951234567": {flow: reception}}
people:
  301: {name: Anna Petrova, email: anna@acme.test, notify: [messages, missed], mobile: "+79161112233"}
  302: {name: Boris Orlov}
flows: {reception: {all: {dial: [{to: [301, 302], ring: 20s}], otherwise: hangup}}}
"""
ANNA = {"extension": "301", "name": "Anna Petrova"}


@pytest.fixture(scope="module")
def routing() -> Routing:
    loaded = load_text(COMPANY, path="acme.yaml", company="acme")
    assert loaded.routing is not None, loaded.problems
    return loaded.routing


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'journal.db'}")
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


def facts(*told: tuple[str, dict[str, Any]], first: int = 1) -> list[dict[str, Any]]:
    """A fact a second, of one call."""
    head = {"v": 1, "company": "acme", "call": CALL, "epoch": 1, "switch": "switch1"}
    return [{**head, "type": t, "n": n, "at": NOW + n, "data": data} for n, (t, data) in enumerate(told, start=first)]


def events(database: Database, routing: Routing, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What subscribers get: every body is as its published schema says."""
    with database.writing() as session:
        taken = take(session, told, {"acme": routing}.get, NOW)
    assert (taken.failed, taken.unreadable) == (0, 0)
    with database.reading() as session:
        rows = session.scalars(select(Event).order_by(Event.sequence)).all()
    bodies = [json.loads(body(envelope(row))) for row in rows]
    for one in bodies:
        jsonschema_rs.validate(publishing.schema(CATALOGUE[one["type"]]), one)
    assert [one["sequence"] for one in bodies] == list(range(1, len(bodies) + 1))
    return bodies


STARTED = ("call.started", {"from": "+79161234567", "to": "+74951234567"})


def test_a_queues_caller_who_talks_to_an_agent_on_their_mobile(database: Database, routing: Routing) -> None:
    leg = {"leg": "l1", "person": "301", "address": "+79161112233"}
    segment = segment_file("acme", CALL, "l1", 1)
    told = facts(
        STARTED,
        ("call.answered", {}),
        ("queue.joined", {"queue": "sales", "priority": 0}),
        ("queue.offered", {"queue": "sales", "agent": "301", "offer": 1}),
        ("leg.rung", leg),
        ("queue.answered", {"queue": "sales", "agent": "301", "offer": 1, "waited": 3}),
        ("leg.result", {**leg, "result": "answered"}),
        ("talk.started", {"with": "+79161112233", "leg": "l1"}),
        ("recording.started", {"file": segment.name}),
        ("talk.ended", {"with": "+79161112233", "seconds": 2}),
        ("call.ended", {"cause": "NORMAL_CLEARING", "by": "caller", "seconds": 10, "answered": True}),
    )
    got = events(database, routing, told)
    assert [one["type"] for one in got] == [
        "call.started",
        "call.answered",
        "queue.joined",
        "call.ringing",
        "queue.answered",
        "call.connected",
        "call.talk_ended",
        "call.ended",
    ]
    who = {**ANNA, "number": "+79161112233"}
    assert got[5]["data"]["with"] == who
    ended = got[-1]["data"]
    assert (ended["outcome"], ended["with"], ended["queue"], ended["rang"]) == ("talked", who, "sales", [ANNA])
    assert (ended["waited"], ended["talk_seconds"], ended["recordings"]) == (7.0, 2.0, [segment.recording])


def test_a_missed_call_with_a_message_is_told_and_mailed_when_it_is_stored(
    database: Database, routing: Routing
) -> None:
    message = message_file("acme", CALL, 1)
    told = facts(
        STARTED,
        ("leg.rung", {"leg": "l1", "person": "301", "address": "301"}),
        ("leg.result", {"leg": "l1", "person": "301", "address": "301", "result": "no_answer"}),
        ("message.recorded", {"for": ["301"], "files": [message.name], "seconds": 7.5}),
        ("call.ended", {"cause": "NORMAL_CLEARING", "by": "caller", "seconds": 5, "answered": True}),
    )
    ended, missed = events(database, routing, told)[-2:]
    assert (ended["type"], ended["data"]["outcome"]) == ("call.ended", "message")
    assert (missed["type"], missed["data"]["rang"], missed["data"]["message"]) == ("call.missed", [ANNA], True)
    with database.writing() as session:
        session.merge(
            Recording(id=message.recording, company="acme", call=CALL, kind="message", people=["301"], began=NOW)
        )
    data = {"recording": message.recording, "kind": "message", "seconds": 7.5, "bytes": 9, "segments": 1}
    received = events(database, routing, facts(("recording.available", data), first=6))[-1]
    assert received["type"] == "voicemail.received"
    assert (received["data"]["for"], received["data"]["recording"]) == ([ANNA], message.recording)
    with database.reading() as session:
        assert [(mail.kind, mail.recipient) for mail in session.scalars(select(Mail))] == [
            ("message", "anna@acme.test")
        ]


def test_a_missed_call_is_mailed_to_the_one_it_rang(database: Database, routing: Routing) -> None:
    told = facts(
        STARTED,
        ("leg.rung", {"leg": "l1", "person": "301", "address": "301"}),
        ("call.ended", {"cause": "ORIGINATOR_CANCEL", "by": "caller", "seconds": 5, "answered": False}),
    )
    assert events(database, routing, told)[-1]["type"] == "call.missed"
    with database.reading() as session:
        assert [mail.kind for mail in session.scalars(select(Mail))] == ["missed_call"]


def test_facts_that_come_twice_and_in_any_order_make_each_event_once(database: Database, routing: Routing) -> None:
    told = facts(STARTED, ("call.answered", {}), ("queue.joined", {"queue": "sales", "priority": 0}))
    events(database, routing, told[1:])
    got = events(database, routing, told)
    assert sorted(one["type"] for one in got) == ["call.answered", "call.started", "queue.joined"]
