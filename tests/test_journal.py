"""The journal reads the stream, whatever becomes of Redis, and the files; every call gets its one end."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from sqlalchemy import func, select

from callcontrol.settings import Config
from callcontrol.switchboard import OFFSETS, STREAM, Switchboard
from tests.facts import BEGAN, CALL, Told, answered_call, many_calls, of_an_agent
from workers.context import Context
from workers.journal import ends, files, jobs, stream
from workers.journal.database import Database
from workers.journal.ends import LOST, SILENCE, see_to_ends
from workers.journal.files import LEAST_AGE
from workers.journal.ingest import take
from workers.journal.tables import Call, Fact, Position


def lines(facts: Sequence[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(fact).encode() for fact in facts]


def add(board: Switchboard, facts: Sequence[dict[str, Any]], ids: Iterator[str] | None = None) -> None:
    for line in lines(facts):
        board._redis.xadd(STREAM, {"fact": line}, id=next(ids) if ids else "*")


def numbered(first: int) -> Iterator[str]:
    """Ids of a stream, from a clock that says so."""
    while True:
        yield f"{first}-0"
        first += 1


def known(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Fact)) or 0


@pytest.fixture
def context(database: Database, board: Switchboard, redis_url: str, tmp_path: Path) -> Iterator[Context]:
    (tmp_path / "state" / "facts").mkdir(parents=True)
    context = Context(Config(()), redis_url, database, tmp_path / "state", tmp_path / "spool")
    yield context
    context.redis.close()


def drained(context: Context) -> None:
    assert jobs.drain(context, 20.0) is False


class TestTheStream:
    def test_is_read_to_its_end_and_then_from_there(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call())
        drained(context)
        assert known(context.database) == 13
        add(board, of_an_agent())
        drained(context)
        assert known(context.database) == 16

    def test_is_read_in_batches_until_the_time_is_up(
        self, context: Context, board: Switchboard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream, "MOST", 20)
        monkeypatch.setattr(stream, "MOST_OF_SQLITE", 20)
        add(board, list(many_calls(3)))
        assert jobs.drain(context, 0.0) is True
        assert board._redis.llen("rq:queue:journal") == 1
        drained(context)
        assert known(context.database) == board._redis.xlen(STREAM) > stream.MOST

    def test_that_is_lost_and_shipped_again_is_nothing_twice(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call())
        drained(context)
        board._redis.flushall()
        add(board, [*answered_call(), *of_an_agent()])
        drained(context)
        assert known(context.database) == 16

    def test_whose_clock_went_back_is_read_all_the_same(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call()[:5], numbered(2_000_000_000_000))
        drained(context)
        board._redis.delete(STREAM)
        add(board, answered_call(), numbered(1_000_000_000_000))
        drained(context)
        assert known(context.database) == 13

    def test_that_is_empty_after_a_loss_is_waited_for(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call()[:5], numbered(2_000_000_000_000))
        drained(context)
        board._redis.delete(STREAM)
        drained(context)
        add(board, answered_call(), numbered(1_000_000_000_000))
        drained(context)
        assert known(context.database) == 13

    def test_that_was_trimmed_past_us_has_the_files_read(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call()[:3])
        drained(context)
        (context.state / "facts" / "one.facts").write_bytes(b"\n".join(lines(answered_call())) + b'\n{"torn')
        add(board, answered_call()[3:])
        board._redis.xtrim(STREAM, maxlen=2, approximate=False)
        drained(context)
        assert known(context.database) == 13
        with context.database.reading() as session:
            names = {row.name for row in session.scalars(select(Position))}
            assert names - {"good for"} == {"facts"}

    def test_that_is_away_stops_nobody(self, context: Context, board: Switchboard) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        context._redis = None
        assert jobs.drain(context, 1.0) is False

    def test_two_readers_at_once_take_each_fact_once(self, context: Context, board: Switchboard) -> None:
        add(board, list(many_calls(20)))
        taken: list[int] = []
        repeats: list[int] = []

        def read() -> None:
            own = Context(
                Config(()),
                context.redis_url,
                Database(str(context.database.url.render_as_string(False))),
                context.state,
                context.spool,
            )
            more = True
            while more:
                some, more = stream.take_some(own.database, own.redis, lambda _: None, BEGAN, 15)
                taken.append(some.new)
                repeats.append(some.known)
            own.database.close()

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        assert sum(taken) == known(context.database) == board._redis.xlen(STREAM)
        assert sum(repeats) == 0

    def test_an_entry_that_is_no_fact_is_passed_over(self, context: Context, board: Switchboard) -> None:
        board._redis.xadd(STREAM, {"other": b"\xff"})
        add(board, answered_call())
        drained(context)
        assert known(context.database) == 14

    def test_says_how_far_behind_it_is(self, context: Context, board: Switchboard) -> None:
        add(board, answered_call())
        with context.database.reading() as session:
            assert stream.lag(session, context.redis).unread == 13
        drained(context)
        with context.database.reading() as session:
            lag = stream.lag(session, context.redis)
        assert (lag.unread, lag.gap, lag.position) == (0, False, lag.last)


class TestFiles:
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        """Files do not depend on the database."""
        return sqlite

    def file(self, context: Context, name: str, facts: Sequence[dict[str, Any]], age: float = LEAST_AGE + 1) -> Path:
        path = context.state / "facts" / name
        path.write_bytes(b"".join(line + b"\n" for line in lines(facts)))
        os.utime(path, (time.time() - age,) * 2)
        return path

    def house(self, context: Context) -> None:
        jobs.see_to_the_house(context, time.monotonic() + 20, now=time.time())

    def test_that_were_shipped_go_when_all_is_in_the_journal(self, context: Context, board: Switchboard) -> None:
        path = self.file(context, "one.facts.shipped", answered_call())
        board._redis.hset(OFFSETS, "one.facts", 7)
        self.house(context)
        assert not path.exists()
        assert known(context.database) == 13  # the stream never had them
        assert not board._redis.hexists(OFFSETS, "one.facts")

    def test_are_kept_for_a_while(self, context: Context) -> None:
        path = self.file(context, "one.facts.shipped", answered_call(), age=LEAST_AGE - 60)
        self.house(context)
        assert path.exists()

    def test_that_were_not_shipped_are_kept(self, context: Context) -> None:
        path = self.file(context, "one.facts", answered_call())
        self.house(context)
        assert path.exists()

    def test_of_the_living_are_never_touched(self, context: Context) -> None:
        path = self.file(context, "one.facts.shipped", answered_call())
        with path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            self.house(context)
        assert path.exists()

    def test_a_line_that_cannot_be_read_is_kept_in_the_journal(self, context: Context) -> None:
        path = self.file(context, "one.facts.shipped", answered_call())
        path.write_bytes(b"\x00\xffdamaged\n" + path.read_bytes())
        os.utime(path, (1, 1))
        self.house(context)
        assert not path.exists()
        assert known(context.database) == 14

    def test_a_reading_that_was_broken_off_goes_on_where_it_was(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_PIECE", 2000)
        self.file(context, "one.facts", answered_call())
        with context.database.writing() as session:
            stream.put(session, stream.GAP, "{}")
        asked = iter((False, True))
        taken, done = files.take_missed(context.database, context.state / "facts", lambda _: None, lambda: next(asked))
        assert (0 < taken.new < 13, done) == (True, False)
        rest, done = files.take_missed(context.database, context.state / "facts", lambda _: None, lambda: False)
        assert (taken.new + rest.new, rest.known, done) == (13, 0, True)

    def test_a_large_one_is_gone_through_in_several_goes(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_PIECE", 1000)
        path = self.file(context, "one.facts.shipped", answered_call())
        directory, goes = context.state / "facts", 0
        while path.exists():
            until = iter((False, False, True)).__next__  # one piece, and no more
            files.remove_taken(context.database, context.redis, directory, lambda _: None, time.time(), until)
            goes += 1
            assert goes < 9
        assert (goes > 1, known(context.database)) == (True, 13)

    def test_what_the_journal_has_is_not_written_again(self, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        with context.database.writing() as session:
            take(session, answered_call(), lambda _: None, BEGAN)
        path = self.file(context, "one.facts.shipped", answered_call())
        monkeypatch.setattr(files, "take", None)
        self.house(context)
        assert not path.exists()


class TestEnds:
    def started(self, database: Database, call: str = CALL) -> None:
        with database.writing() as session:
            take(session, Told(call).tell("call.started").tell("call.answered").facts, lambda _: None, BEGAN)

    def test_a_call_that_nobody_knows_any_more_gets_its_end(self, database: Database) -> None:
        self.started(database)
        for expected in (1, 0):
            with database.writing() as session:
                assert see_to_ends(session, set(), BEGAN + SILENCE + 60) == expected
        with database.reading() as session:
            call = session.scalars(select(Call)).one()
        assert (call.state, call.cause, call.ended_by) == ("ended", LOST, "nobody")

    def test_many_that_were_lost_end_a_few_in_one_transaction(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ends, "MOST", 2)
        for number in range(5):
            self.started(context.database, f"66666666-0000-4000-8000-00000000000{number}")
        with context.database.writing() as session:
            assert see_to_ends(session, set(), BEGAN + SILENCE + 60) == 2
        jobs.see_to_the_house(context, time.monotonic() + 20, now=BEGAN + SILENCE + 60)
        with context.database.reading() as session:
            assert set(session.scalars(select(Call.state))) == {"ended"}

    def test_a_call_that_redis_knows_is_left_to_the_controllers(self, database: Database, board: Switchboard) -> None:
        self.started(database)
        board._redis.hset("cordboard:live:switch1", CALL, "{}")
        live = ends.live_calls(board._redis)
        with database.writing() as session:
            assert see_to_ends(session, live, BEGAN + SILENCE + 60) == 0

    def test_a_call_that_was_heard_of_lately_lives(self, database: Database) -> None:
        self.started(database)
        with database.writing() as session:
            facts = Told(at=BEGAN + SILENCE).tell("step.entered", n=9, flow="main", step="x").facts
            take(session, facts, lambda _: None, BEGAN)
            assert see_to_ends(session, set(), BEGAN + SILENCE + 60) == 0

    def test_an_end_that_comes_after_all_is_no_second_one(self, database: Database) -> None:
        self.started(database)
        with database.writing() as session:
            see_to_ends(session, set(), BEGAN + SILENCE + 60)
        with database.writing() as session:
            told = Told().tell("call.ended", n=-1, cause="NORMAL_CLEARING", by="unowned")
            assert take(session, told.facts, lambda _: None, BEGAN).left_out == 1


def test_redis_py_gives_entries_as_they_are_read(board: Switchboard) -> None:
    """What ``stream`` relies on: protocol 2, bytes, pairs of id and fields."""
    board._redis.xadd(STREAM, {"fact": b"{}"}, id="1-0")
    assert board._redis.xrange(STREAM) == [(b"1-0", {b"fact": b"{}"})]
    assert redis_py.__version__.startswith("8.")
