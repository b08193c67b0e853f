"""The ledger of recordings: facts in any order, again, or never."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from callcontrol.spool import message_file, segment_file
from tests.recordings import House
from workers.journal.database import Database
from workers.journal.tables import Alarm, Fact, Recording, Segment
from workers.recordings import ledger
from workers.recordings.uploading import raise_alarm

TALK = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e900000-0000-4000-8000-000000000001", 1)
FACTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("recording.expected", {"rule": "person 301", "leg": TALK.leg, "with": "301", "segment": 1, "consent": True}),
    ("recording.started", {}),
    ("recording.stopped", {"seconds": 64.2}),
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("order", [*itertools.permutations(range(3)), (0, 0, 1, 2, 1, 0)])
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one transaction"])
def test_facts_in_any_order_and_again_make_the_same_rows(house: House, order: tuple[int, ...], together: bool) -> None:
    if together:
        with house.database.writing() as session:
            for at in order:
                told = {"type": FACTS[at][0], "company": "acme", "call": TALK.call, "at": 1.0, "switch": "switch1"}
                ledger.note(session, {**told, "data": {"file": TALK.name, **FACTS[at][1]}})
    else:
        for at in order:
            house.fact(FACTS[at][0], TALK, **FACTS[at][1])
    segment, recording = house.segment(TALK), house.recording(TALK)
    assert (segment.state, segment.seconds, segment.leg, segment.number) == ("finished", 64.2, TALK.leg, 1)
    assert (segment.recording, segment.switch) == (TALK.recording, "switch1")
    assert (recording.state, recording.rule, recording.people) == ("finished", "person 301", ["301"])


def test_a_recording_is_what_its_segments_are(house: House) -> None:
    other = segment_file("acme", TALK.call, "1e900000-0000-4000-8000-000000000002", 2)
    house.fact("recording.expected", TALK)
    assert house.recording(TALK).state == "expected"
    house.fact("recording.stopped", TALK, seconds=3.0)
    house.fact("recording.started", other)
    assert house.recording(TALK).state == "recording"
    house.fact("recording.stopped", other, seconds=3.0)
    assert house.recording(TALK).state == "finished"


def test_what_the_switch_refused_is_failed_and_says_why(house: House) -> None:
    house.fact("recording.expected", TALK)
    house.fact("recording.failed", TALK, why="no room")
    assert (house.segment(TALK).state, house.segment(TALK).why) == ("failed", "no room")


def test_a_message_has_its_people_and_its_length(house: House) -> None:
    message = message_file("acme", TALK.call, 1)
    house.fact("message.recorded", message, **{"for": ["301", "302"], "files": [message.name], "seconds": 4.0})
    assert (house.segment(message).state, house.segment(message).seconds) == ("finished", 4.0)
    assert (house.recording(message).kind, house.recording(message).people) == ("message", ["301", "302"])


@pytest.mark.parametrize("played_first", [True, False])
def test_the_announcement_stands_with_the_recording_whenever_it_was_told(house: House, played_first: bool) -> None:
    played = {"type": "consent.played", "company": "acme", "call": TALK.call, "at": 1.0, "data": {"language": "en"}}
    if not played_first:
        house.fact("recording.expected", TALK)
    with house.database.writing() as session:
        session.add(Fact(epoch=1, n=1, process="", switch=None, **played))
        ledger.note(session, played)
    if played_first:
        house.fact("recording.expected", TALK)
    assert house.recording(TALK).consent


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", None, 7, "other_" + TALK.name.partition("_")[2], "acme_other-call_m1.wav"]
)
def test_a_file_that_is_not_the_calls_own_makes_no_rows(house: House, name: object) -> None:
    with house.database.writing() as session:
        fact = {"type": "recording.stopped", "company": "acme", "call": TALK.call, "at": 1.0, "data": {"file": name}}
        ledger.note(session, fact)
        assert session.query(Recording).count() == 0


def test_a_late_fact_changes_nothing_of_what_is_stored_or_deleted(house: House) -> None:
    house.fact("recording.stopped", TALK, seconds=3.0)
    for state in ("stored", "deleted"):
        with house.database.writing() as session:
            session.get_one(type(house.segment(TALK)), TALK.name).state = state
        for type_, data in FACTS:
            house.fact(type_, TALK, **data)
        house.fact("recording.failed", TALK, why="late")
        assert house.segment(TALK).state == state


def test_rows_are_made_and_moved_on_in_either_database(database: Database) -> None:
    for type_, data in (*FACTS, *FACTS):
        fact = {"type": type_, "company": "acme", "call": TALK.call, "at": 1.0, "switch": "switch1"}
        with database.writing() as session:
            ledger.note(session, {**fact, "data": {"file": TALK.name, **data}})
    with database.writing() as session:
        for _ in range(2):
            raise_alarm(session, "recording/x", "acme", "recording", "why", 2.0)
        segment = session.get_one(Segment, TALK.name)
        assert (segment.state, segment.seconds) == ("finished", 64.2)
        assert session.get_one(Alarm, "recording/x").cleared_at is None
