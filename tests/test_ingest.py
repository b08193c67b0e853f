"""Facts become rows once each, in any order and however often; a bad one stops nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from tests.databases import PostgreSQL, migrated_sqlite
from tests.facts import BEGAN, CALL, Told, answered_call, of_an_agent, queued_call
from webhooks.events.deriving import CallSoFar, Derived, PublicEvent
from workers.delivery import owing as delivery
from workers.journal import ingest
from workers.journal.database import Database
from workers.journal.folding import FOLDED
from workers.journal.ingest import Taken, _as_row, take
from workers.journal.reading import KEPT, fact_of
from workers.journal.tables import Base, Call, Delivery, Endpoint, Event, Fact, Leg, QueueVisit, Step
from workers.journal.telling import tell


def took(database: Database, facts: Sequence[Mapping[str, Any] | bytes], now: float = BEGAN + 1000) -> Taken:
    with database.writing() as session:
        return take(session, facts, lambda _: None, now)


def only_call(database: Database) -> Call:
    with database.reading() as session:
        return session.scalars(select(Call)).one()


def rows(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Everything that the journal says of calls, without numbers that rows get by chance."""
    found = {}
    for table in (Call, Leg, Step, QueueVisit):
        names = [column.name for column in table.__table__.columns if (table, column.name) not in _BY_CHANCE]
        dicts = [{name: getattr(row, name) for name in names} for row in session.scalars(select(table))]
        found[table.__tablename__] = sorted(dicts, key=lambda row: json.dumps(row, sort_keys=True))
    found["fact"] = sorted(
        ({"call": f.call, "epoch": f.epoch, "n": f.n, "process": f.process} for f in session.scalars(select(Fact))),
        key=lambda row: json.dumps(row, sort_keys=True),
    )
    return found


_BY_CHANCE = {(Step, "id"), (QueueVisit, "id")}


def count(database: Database, *tables: type[Base]) -> list[int]:
    with database.reading() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def empty(database: Database) -> None:
    with database.writing() as session:
        for table in (Event, Leg, Step, QueueVisit, Call, Fact):
            session.execute(delete(table))


def derives(monkeypatch: pytest.MonkeyPatch, how: Callable[[Mapping[str, Any], CallSoFar | None], Any]) -> None:
    """Have events come of facts in another way than the catalogue's."""
    monkeypatch.setattr(ingest, "explain", lambda fact, call, _names: Derived(how(fact, call)))


def every(fact: Mapping[str, Any], _call: CallSoFar | None) -> tuple[PublicEvent, ...]:
    return (PublicEvent(f"test.{fact['type']}", {"n": fact["n"]}),)


class TestACall:
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        """What rows say of a call does not depend on the database."""
        return sqlite

    def test_that_is_answered_stands_in_one_row(self, database: Database) -> None:
        took(database, answered_call())
        call = only_call(database)
        assert (call.company, call.switch, call.version, call.direction) == ("acme", "switch1", "v1", "inbound")
        assert (call.caller, call.called) == ("+79031234567", "+74951234567")
        assert (call.state, call.cause, call.ended_by) == ("ended", "NORMAL_CLEARING", "cordboard")
        assert (call.began, call.answered_at, call.connected_at) == (BEGAN, BEGAN + 2, BEGAN + 8)
        assert (call.talk_seconds, call.talked_with, call.talking_since) == (60.0, "301", None)
        assert (call.ended_at, call.missed, call.flow, call.step) == (BEGAN + 70, False, "main", "anna")

    def test_its_legs_say_what_came_of_them(self, database: Database) -> None:
        took(database, answered_call())
        with database.reading() as session:
            legs = {leg.person: leg for leg in session.scalars(select(Leg))}
        assert (legs["301"].result, legs["301"].rung_at, legs["301"].ended_at) == ("answered", BEGAN + 5, BEGAN + 68)
        assert (legs["302"].result, legs["302"].cause) == ("busy", "USER_BUSY")

    def test_its_steps_say_what_decided(self, database: Database) -> None:
        took(database, answered_call())
        with database.reading() as session:
            greet, anna = session.scalars(select(Step).order_by(Step.epoch, Step.n))
        assert (greet.flow, greet.step, greet.data["verb"], greet.data["outcome"]) == (
            "main",
            "greet",
            "menu",
            "→ anna",
        )
        assert greet.data["why"].endswith("pressed 1")
        assert (anna.data["outcome"], anna.data["left"]) == ("then", BEGAN + 69)

    def test_that_nobody_answers_was_missed(self, database: Database) -> None:
        took(database, queued_call())
        call = only_call(database)
        assert (call.missed, call.connected_at, call.ended_by) == (True, None, "unowned")

    def test_in_a_queue_has_a_visit(self, database: Database) -> None:
        took(database, queued_call())
        with database.reading() as session:
            visit = session.scalars(select(QueueVisit)).one()
        assert (visit.queue, visit.outcome, visit.waited, visit.offers) == ("sales", "abandoned", 20.0, 2)

    def test_an_agent_who_could_not_be_joined_answered_nothing(self, database: Database) -> None:
        told = Told().tell("call.started").tell("queue.joined", queue="sales")
        told.tell("queue.offered", queue="sales", agent="301", offer=1)
        told.tell("queue.answered", queue="sales", agent="301", offer=1, waited=5)
        told.tell("join.failed", leg="x", person="301", address="301")
        took(database, told.facts)
        with database.reading() as session:
            visit = session.scalars(select(QueueVisit)).one()
        assert (visit.outcome, visit.agent, visit.left_at) == (None, None, None)
        told.tell("queue.offered", queue="sales", agent="302", offer=2)
        told.tell("queue.answered", queue="sales", agent="302", offer=2, waited=9)
        took(database, told.facts)
        with database.reading() as session:
            visit = session.scalars(select(QueueVisit)).one()
        assert (visit.outcome, visit.agent, visit.waited, visit.offers) == ("answered", "302", 9.0, 2)

    def test_a_queue_that_took_nobody_is_a_visit_that_ended_at_once(self, database: Database) -> None:
        took(database, Told().tell("call.started").tell("queue.refused", queue="sales", outcome="full").facts)
        with database.reading() as session:
            visit = session.scalars(select(QueueVisit)).one()
        assert (visit.outcome, visit.left_at) == ("full", visit.joined_at)

    @pytest.mark.parametrize(
        ("started", "then", "direction"),
        [
            ({"from_": "+79031234567"}, {"leg": "l1", "person": "", "address": "+74950000000"}, "inbound"),
            ({"from_": "301", "extension": "301"}, {"leg": "l1", "person": "302", "address": "302"}, "internal"),
            ({"from_": "301", "extension": "301"}, {"leg": "l1", "person": "", "address": "+74950000000"}, "outbound"),
        ],
    )
    def test_has_a_direction(self, database: Database, started: Any, then: Any, direction: str) -> None:
        took(database, Told().tell("call.started", **started).tell("leg.rung", **then).facts)
        assert only_call(database).direction == direction

    @pytest.mark.parametrize(("to", "direction"), [("+79031234567", "outbound"), ("302", "internal")])
    def test_that_was_placed_and_never_began_says_whose_it_was(
        self, database: Database, to: str, direction: str
    ) -> None:
        told = Told().tell("call.placed", n=1, person="301", to=to, by="a CRM")
        told.facts[0]["epoch"] = 0
        took(database, told.tell("call.ended", n=-1, cause="NO_ANSWER", by="unowned").facts)
        call = only_call(database)
        assert (call.extension, call.called, call.direction, call.missed) == ("301", to, direction, False)

    def test_that_was_placed_began_as_the_persons_telephone_rang(self, database: Database) -> None:
        told = Told().tell("call.placed", n=1, person="301", to="+79031234567", by="a CRM")
        told.facts[0]["epoch"] = 0
        took(database, told.tell("call.started", after=5.0, from_="301", to="+79031234567", extension="301").facts)
        assert only_call(database).began == told.facts[0]["at"]

    def test_of_a_phone_that_was_not_let_out_wanted_out(self, database: Database) -> None:
        took(database, Told().tell("call.started", extension="301").tell("call.refused", reason="barred").facts)
        assert only_call(database).direction == "outbound"

    def test_of_which_only_the_end_is_known_is_a_call_all_the_same(self, database: Database) -> None:
        took(database, Told().tell("call.ended", n=-1, cause="UNKNOWN", by="unowned").facts)
        assert (only_call(database).state, only_call(database).cause) == ("ended", "UNKNOWN")


class TestOnceEach:
    def test_what_is_told_again_changes_nothing(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        derives(monkeypatch, every)
        facts = [*answered_call(), *of_an_agent()]
        first = took(database, facts)
        with database.reading() as session:
            before = rows(session)
        again = took(database, facts)
        with database.reading() as session:
            assert rows(session) == before
            assert session.scalar(select(func.count()).select_from(Event)) == len(facts)
        assert (first.new, first.events, again.new, again.events) == (len(facts), len(facts), 0, 0)
        assert again.known + again.left_out == len(facts)

    def test_what_stands_twice_in_one_batch_is_one(self, database: Database) -> None:
        assert took(database, [*of_an_agent(), *of_an_agent()]).new == 3

    def test_a_second_end_is_left_out(self, database: Database) -> None:
        told = Told().tell("call.started").tell("call.ended", cause="NORMAL_CLEARING", by="caller", seconds=2)
        took(database, told.facts)
        told.tell("talk.ended", n=-2, seconds=50).tell("call.ended", n=-1, cause="UNKNOWN", by="unowned")
        assert took(database, told.facts[2:]).left_out == 2
        call = only_call(database)
        assert (call.cause, call.ended_at, call.talk_seconds) == ("NORMAL_CLEARING", BEGAN + 1, 0.0)
        with database.reading() as session:
            assert session.scalar(select(func.count()).select_from(Fact)) == 2

    def test_a_fact_that_is_known_begins_no_call(self, sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was kept without consequences, and is told again."""
        with sqlite.writing() as session:
            session.add(Fact(**_as_row(fact_of(answered_call()[0], BEGAN))))
        taken = took(sqlite, answered_call()[:1])
        assert (taken.known, count(sqlite, Call, Fact)) == (1, [0, 1])
        took(sqlite, answered_call())
        assert only_call(sqlite).state == "ended"

    def test_two_processes_have_a_first_fact_each(self, database: Database) -> None:
        assert took(database, [*of_an_agent(1, "one"), *of_an_agent(1, "two")]).new == 2

    def test_what_recorders_tell_is_numbered_beyond_all_else_and_makes_none_of_it_late(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows made anew for every fact of a recorded call would cost as much as the square of its facts."""
        monkeypatch.setattr(ingest._Batch, "_fold_anew", lambda *_: pytest.fail("the rows are made anew"))
        told = Told().tell("call.started", from_="+79031234567", to="+74951234567")
        file = f"acme_{CALL}_leg-1_s1.wav"
        for n, kind in enumerate(("expected", "started", "stopped", "failed")):
            told.tell(f"recording.{kind}", n=1_000_010 + n, file=file)
            told.tell("step.entered", flow="main", step=kind)
        for n, kind in enumerate(("paused", "resumed")):
            told.tell(f"recording.{kind}", n=1_000_020_500 + n, file=file, by="anna")
            told.tell("step.entered", flow="main", step=kind)
        for fact in told.facts:
            assert took(database, [fact]).new == 1
        assert only_call(database).step == "resumed"

    def test_a_late_fact_of_a_dead_controller_takes_its_place(self, database: Database) -> None:
        facts = answered_call()
        took(database, facts)
        with database.reading() as session:
            wanted = rows(session)
        empty(database)
        took(database, facts[9:])  # the second controller's first
        took(database, facts[:9])
        with database.reading() as session:
            assert rows(session) == wanted


STORY = [
    *answered_call("33333333-0000-4000-8000-000000000001"),
    *queued_call("33333333-0000-4000-8000-000000000002"),
    *of_an_agent(2),
]


class Killed(Exception):
    """The process dies here."""


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=True))
def test_whatever_is_repeated_mixed_or_killed_the_rows_are_the_same(tmp_path_factory: Any, chance: Random) -> None:
    """One file's facts keep their order; the files' order, repeats, batches and deaths are anything."""
    database = Database(migrated_sqlite(tmp_path_factory.mktemp("journal")))
    try:
        took(database, STORY)
        with database.reading() as session:
            wanted = rows(session)
        empty(database)
        arrivals = _mixed(STORY, chance)
        done = 0
        while done < len(arrivals):
            some = arrivals[done : done + chance.randint(1, 12)]
            if chance.random() < 0.25:
                with contextlib.suppress(Killed):
                    killed(database, some)
            took(database, some)
            done += len(some)
        with database.reading() as session:
            assert rows(session) == wanted
    finally:
        database.close()


def killed(database: Database, facts: Sequence[Mapping[str, Any]]) -> Taken:
    """Take facts and die before the commit."""
    with database.writing() as session:
        take(session, facts, lambda _: None, BEGAN)
        raise Killed


def _mixed(facts: Sequence[dict[str, Any]], chance: Random) -> list[dict[str, Any]]:
    """The facts as they may arrive."""
    files, arrivals = _files(facts), []
    at = dict.fromkeys(files, 0)
    while left := [name for name in files if at[name] < len(files[name])]:
        name = chance.choice(left)
        count = chance.randint(1, 6)
        arrivals += files[name][at[name] : at[name] + count]
        at[name] += count
        if chance.random() < 0.2:  # Redis lost where it was: some of the file comes again
            at[name] = max(0, at[name] - chance.randint(1, 8))
    return arrivals


def _files(facts: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The facts by who wrote them: each controller has one epoch of a call, and somebody else its end."""
    files: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for fact in facts:
        files.setdefault((fact["call"], fact["epoch"], fact["n"] < 0), []).append(fact)
    return files


class TestTwoAtOnce:
    """Only where two can write at once: SQLite has them one after the other."""

    @pytest.fixture
    def database(self, postgresql: PostgreSQL) -> Iterator[Database]:
        database = Database(postgresql.new(migrated=True))
        yield database
        database.close()

    def take_while_another_does(
        self, database: Database, first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
    ) -> Taken:
        """Take the ``second`` while the ``first`` are written and not committed; what came of the second."""
        pool = ThreadPoolExecutor(1)
        with database.writing() as session:
            take(session, first, lambda _: None, BEGAN)
            other = pool.submit(took, database, second)
            waits = text(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while not session.execute(waits).first():
                assert not other.done()
                session.execute(text("SELECT pg_stat_clear_snapshot()"))
        return other.result(30)

    def test_who_begin_the_same_call_both_write_into_it(self, database: Database) -> None:
        facts = Told().tell("call.started", from_="+7").tell("call.answered").facts
        assert self.take_while_another_does(database, facts[:1], facts[1:]).failed == 0
        call = only_call(database)
        assert (call.caller, call.answered_at) == ("+7", BEGAN + 1)

    def test_who_tell_the_end_of_a_call_that_neither_knew_end_it_once(self, database: Database) -> None:
        ends = Told().tell("call.ended", n=-1, cause="UNKNOWN").tell("call.ended", n=7, cause="NORMAL_CLEARING").facts
        assert self.take_while_another_does(database, ends[:1], ends[1:]).left_out == 1
        assert count(database, Fact) == [1]
        assert only_call(database).cause == "UNKNOWN"


class TestNumbersThatNoSessionGives:
    """Facts about recordings are numbered from a million on: they are in nobody's way."""

    def test_they_do_not_make_the_rest_of_the_call_late(
        self, sqlite: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        anew: list[str] = []
        monkeypatch.setattr(ingest._Batch, "_fold_anew", lambda batch, journey: anew.append(journey.call.id))
        told = Told().tell("call.started").tell("recording.started", n=1_000_011, file="x")
        told.tell("recording.paused", n=1_000_000_123, file="x").tell("call.answered")
        for fact in told.facts:
            took(sqlite, [fact])
        assert (only_call(sqlite).n, only_call(sqlite).answered_at, anew) == (2, BEGAN + 3, [])


class TestBadFacts:
    GOOD: Mapping[str, Any] = Told().tell("call.started", from_="+7").facts[0]

    BAD: Sequence[Any] = [
        b"",
        b"not JSON",
        b"[1]",
        b"\xff\xfe",
        b'{"v": 1}',
        b"[" * 5000,
        b"1" * 70_000,
        {**GOOD, "call": 7},
        {**GOOD, "call": "x" * 65},
        {**GOOD, "call": "nul\x00"},
        {**GOOD, "call": "half \ud800"},
        {**GOOD, "company": "Acme; DROP"},
        {**GOOD, "type": None},
        {**GOOD, "type": "x" * 65},
        {**GOOD, "epoch": -1},
        {**GOOD, "epoch": 2**31},
        {**GOOD, "epoch": True},
        {**GOOD, "n": 2**63},
        {**GOOD, "n": "7"},
        {**GOOD, "at": float("nan")},
        {**GOOD, "at": "now"},
        {**GOOD, "at": 1e300},
        {**GOOD, "data": [1]},
        {**GOOD, "switch": ["switch1"]},
    ]

    @pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:60])
    def test_is_counted_logged_and_kept_and_stops_nothing(
        self, sqlite: Database, logs: list[MutableMapping[str, Any]], bad: Any
    ) -> None:
        taken = took(sqlite, [bad, *answered_call()])
        assert (taken.unreadable, taken.new, taken.failed) == (1, 14, 0)
        assert only_call(sqlite).state == "ended"
        with sqlite.reading() as session:
            kept = session.scalars(select(Fact).where(Fact.type == "fact.unreadable")).one()
        assert len(kept.data["raw"]) <= KEPT
        assert [line["event"] for line in logs] == ["a fact cannot be read"]
        assert took(sqlite, [bad]).new == 0

    def test_all_of_them_are_kept_by_every_database(self, database: Database) -> None:
        assert took(database, [*self.BAD, *answered_call()]).unreadable == len(self.BAD)

    @pytest.mark.parametrize(
        "data",
        [
            {"from": "nul\x00in it", "to": "half \udc00"},
            {"from": 7, "to": ["x"], "version": {"a": 1}, "extension": "3" * 50},
            {"from": "x" * 100_000, "deep": [[[[{}]]]], "infinite": float("inf"), "\x00": "\ud800"},
            {},
        ],
    )
    def test_whatever_its_data_is_the_call_is_written_down(self, database: Database, data: Any) -> None:
        told = Told().tell("call.started")
        told.facts[0]["data"] = data
        taken = took(database, told.facts)
        assert (taken.new, taken.failed) == (1, 0)
        assert only_call(database).id == CALL

    @pytest.mark.parametrize("value", [None, True, -7, 1e308, "", "x" * 5000, [], {"a": 1}], ids=lambda v: repr(v)[:12])
    def test_no_type_minds_what_its_data_says(self, sqlite: Database, value: Any) -> None:
        keys = "from to leg with seconds flow step verb outcome why queue waited agent offer person address result"
        data = dict.fromkeys([*keys.split(), "cause", "by", "answered", "version", "extension"], value)
        for number, type_ in enumerate(sorted(FOLDED)):
            told = Told(f"call-{number}").tell("call.started").tell("queue.joined", queue="q")

            data["leg"] = f"{number}{value}" if isinstance(value, str) else value
            assert took(sqlite, told.tell(type_, **data).facts).failed == 0, type_

    def test_a_type_that_is_not_known_is_kept_and_changes_nothing(self, database: Database) -> None:
        took(database, answered_call())
        with database.reading() as session:
            before = rows(session)
        told = Told()
        told.epoch, told.n = 3, 0
        assert took(database, told.tell("call.teleported", to="the moon").facts).new == 1
        with database.reading() as session:
            after = rows(session)
        del before["fact"], after["fact"]
        assert after == before

    def test_a_newer_version_of_a_fact_is_kept_and_changes_nothing(self, database: Database) -> None:
        told = Told().tell("call.started")
        told.facts[0]["v"] = 2
        assert took(database, told.facts).new == 1
        with database.reading() as session:
            assert session.scalars(select(Call)).all() == []
            assert session.scalars(select(Fact)).one().data["v"] == 2

    def test_a_leg_that_claims_to_be_another_calls_does_not_keep_the_others_out(
        self, database: Database, logs: list[MutableMapping[str, Any]]
    ) -> None:
        other = "44444444-0000-4000-8000-000000000001"
        took(database, Told(other).tell("call.started").tell("leg.rung", leg="the-same", person="1").facts)
        forged = Told().tell("call.started").tell("leg.rung", leg="the-same", person="2").tell("call.answered").facts
        taken = took(database, forged)
        assert (taken.new, taken.failed) == (3, 1)
        with database.reading() as session:
            assert session.scalars(select(Leg)).one().call == other
            assert session.get(Call, CALL).answered_at == BEGAN + 2  # type: ignore[union-attr]
        assert "a fact is kept without its consequences" in [line["event"] for line in logs]

    def test_a_fault_of_ours_costs_the_events_of_one_fact_only(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, logs: list[MutableMapping[str, Any]]
    ) -> None:
        def fails(fact: Mapping[str, Any], call: CallSoFar | None) -> tuple[PublicEvent, ...]:
            if fact["type"] == "call.answered":
                raise ZeroDivisionError
            return every(fact, call)

        derives(monkeypatch, fails)
        taken = took(database, answered_call())
        assert (taken.new, taken.failed, taken.events) == (13, 1, 12)
        assert logs[-1]["event"] == "a fact is kept without its consequences"

    def test_the_call_of_a_number_that_nobody_owns_makes_no_events(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        derives(monkeypatch, every)
        assert took(database, answered_call(company=None)).events == 0
        assert only_call(database).company is None


class TestWhatFollows:
    def test_events_are_numbered_in_their_call_and_know_it_as_it_was(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def how(fact: Mapping[str, Any], call: CallSoFar | None) -> tuple[PublicEvent, ...]:
            assert call is not None
            return (PublicEvent("test.so_far", {"answered": call.answered_at, "ended": call.ended_at}),)

        derives(monkeypatch, how)
        took(database, answered_call()[:2])
        took(database, answered_call())
        with database.reading() as session:
            events = session.scalars(select(Event).order_by(Event.sequence)).all()
        assert [event.sequence for event in events] == list(range(1, 14))
        assert [bool(event.data["answered"]) for event in events] == [False] * 2 + [True] * 11
        assert [bool(event.data["ended"]) for event in events] == [False] * 12 + [True]

    def test_an_event_has_the_same_id_whenever_it_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        derives(monkeypatch, every)
        ids = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            database = Database(migrated_sqlite(tmp_path / name))
            took(database, answered_call())
            with database.reading() as session:
                ids.append(sorted(session.scalars(select(Event.id))))
            database.close()
        assert ids[0] == ids[1]
        assert all(len(id_) == 28 and id_.startswith("evt_") for id_ in ids[0])

    def test_deliveries_are_owed_in_the_same_transaction(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        derives(monkeypatch, every)
        with database.writing() as session:
            session.add(Endpoint(id="ep_1", company="acme", url="https://crm.test", events=[], created_at=BEGAN))
        with pytest.raises(Killed):
            killed(database, answered_call())
        assert count(database, Fact, Event, Delivery) == [0, 0, 0]
        assert took(database, answered_call()).deliveries == 13
        assert count(database, Fact, Event, Delivery) == [13, 13, 13]

    def test_endpoints_are_asked_for_once_for_all_events_of_a_batch(
        self, sqlite: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        derives(monkeypatch, every)
        asked: list[list[str]] = []
        real = delivery.owe

        def owe(session: Session, events: Sequence[Event], now: float) -> int:
            asked.append(sorted({event.company for event in events}))
            return real(session, events, now)

        monkeypatch.setattr(delivery, "owe", owe)
        took(sqlite, [*answered_call(), *answered_call("55555555-0000-4000-8000-000000000002", company="other")])
        assert asked == [["acme", "other"]]

    def test_what_is_missing_is_known_without_writing(self, database: Database) -> None:
        facts, other = answered_call(), answered_call("55555555-0000-4000-8000-000000000002")
        took(database, [*facts[:5], b"nonsense"])
        with database.reading() as session:
            there = ingest.missing(session, [*facts, b"nonsense", b"other nonsense", *other[:1]], BEGAN)
        assert [(fact["call"], fact["n"]) for fact in there[:-2]] == [(CALL, fact["n"]) for fact in facts[5:]]
        assert [fact["type"] for fact in there[-2:]] == ["fact.unreadable", "call.started"]

    def test_the_spool_is_looked_at_where_a_recording_stopped(self, database: Database) -> None:
        told = Told().tell("call.started").tell("recording.stopped", file="acme_x_m1.wav", seconds=3)
        assert took(database, told.facts).switches == {"switch1"}


class TestTelling:
    def test_what_a_worker_tells_is_a_fact_with_its_events(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        derives(monkeypatch, every)
        took(database, answered_call())
        with database.writing() as session:
            told = tell(
                session, "recording.available", {"recording": "rec_1"}, company="acme", call=CALL, about="r/1", at=BEGAN
            )
        assert told
        with database.reading() as session:
            event = session.scalars(select(Event).where(Event.type == "test.recording.available")).one()
            assert (event.call, event.sequence) == (CALL, 14)

    def test_it_is_told_once(self, database: Database) -> None:
        def again(about: str) -> bool:
            with database.writing() as session:
                return tell(session, "endpoint.paused", {}, company="acme", about=about, at=BEGAN)

        long = "segment/" + "x" * 300
        assert [again("a"), again("a"), again("b"), again(long), again(long), again(long + "y")] == [
            *(True, False, True),
            *(True, False, True),
        ]


def test_every_table_of_the_journal_is_known_here() -> None:
    """A table that facts make rows in belongs into ``rows``."""
    assert {"call", "leg", "step", "queue_visit", "fact"} <= set(Base.metadata.tables)
