"""What failed is listed with what to do, tried again at once, and made good from where the facts still stand."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from callcontrol.cli import main
from callcontrol.spool import message_file
from callcontrol.switchboard import STREAM, connect
from tests.databases import migrated_sqlite
from tests.facts import CALL, answered_call
from workers.context import Context, from_variables
from workers.delivery import endpoints
from workers.failures import listing
from workers.failures.backfilling import backfill
from workers.failures.listing import KINDS, failures
from workers.failures.retrying import retry
from workers.journal.ingest import take
from workers.journal.tables import Alarm, Call, Delivery, Event, Fact, Mail, Recording


@pytest.fixture
def environment(tmp_path: Path, redis_url: str) -> Iterator[dict[str, str]]:
    connect(redis_url, name="test").flushall()
    (tmp_path / "esl.password").touch(mode=0o600)
    (tmp_path / "esl.password").write_text("secret")
    (tmp_path / "cordboard.yaml").write_text("switches:\n  - {name: switch1, password_file: esl.password}\n")
    (tmp_path / "state/facts").mkdir(parents=True)
    (tmp_path / "spool").mkdir()
    yield {
        "CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"),
        "CORDBOARD_DATABASE": migrated_sqlite(tmp_path),
        "CORDBOARD_STATE": str(tmp_path / "state"),
        "CORDBOARD_SPOOL": str(tmp_path / "spool"),
        "CORDBOARD_REDIS": redis_url,
    }
    connect(redis_url, name="test").flushall()


@pytest.fixture
def context(environment: dict[str, str]) -> Iterator[Context]:
    made = from_variables(environment)
    yield made
    made.database.close()


def nobody(company: str, version: str | None = None) -> None:
    return None


def lines(facts: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(fact).encode() + b"\n" for fact in facts)


def endpoint(context: Context) -> str:
    with context.database.writing() as session:
        made, _ = endpoints.create(session, "acme", "https://crm.test/hooks", (), "", time.time())
        return made.id


def count(context: Context, table: Any, **where: Any) -> int:
    with context.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table).filter_by(**where)) or 0


def something_of_everything(context: Context) -> None:
    """One failure of each kind that stands in the database or the spool."""
    now = time.time()
    hook = endpoint(context)
    with context.database.writing() as session:
        take(session, [b"no fact at all"], nobody, now)
        take(session, answered_call(), nobody, now)
        session.flush()
        for delivery in session.scalars(select(Delivery)):
            delivery.state, delivery.why, delivery.attempts = "failed", "500", 12
        session.add(
            Mail(id="m1", kind="alarm", recipient="a@b.c", data={}, state="failed", created_at=now, next_at=now)
        )
        session.add(Alarm(key="k1", kind="spool", text="the disk is nearly full", raised_at=now))
        session.add(Alarm(key="k2", kind="spool", text="it was full", raised_at=now, cleared_at=now))
        absent = {"id": "rec_1", "company": "acme", "call": "c", "kind": "talk", "people": [], "began": now}
        session.add(Recording(**absent, state="absent", why="no sound"))
        session.add(Recording(**{**absent, "id": "rec_2"}, state="failed", why="403"))
        session.add(Call(id="lost", company="acme", began=now, ended_at=now, cause="LOST", state="ended"))
        made, _ = endpoints.create(session, "acme", "https://other.test/hooks", (), "", now)
        endpoints.pause(session, "acme", made.id, "five days", now)
    assert hook
    (context.spool / "somebody's notes.txt").write_text("x")


def test_everything_that_needs_somebody_is_in_one_list_with_what_to_do(
    context: Context, environment: dict[str, str]
) -> None:
    something_of_everything(context)
    with context.database.reading() as session:
        found = failures(session, context.redis, context.spool, since=0.0, most=100)
    assert {one.kind for one in found.found} == set(KINDS) - {"job"}
    assert all(one.do for one in found.found)
    assert found.counts["alarm"] == 1  # what is over is not there
    done = CliRunner().invoke(main, ["failed"], env=environment)
    assert done.exit_code == 1
    assert "do: when it is well, `cordboard endpoints resume acme" in done.output
    told = json.loads(CliRunner().invoke(main, ["failed", "--json", "--kind", "mail"], env=environment).output)
    assert told["counts"] == {"mail": 1}


def test_a_list_of_one_company_says_nothing_of_another(context: Context) -> None:
    something_of_everything(context)
    with context.database.reading() as session:
        found = failures(session, context.redis, context.spool, since=0.0, most=100, company="other")
    assert found.found == []


def test_nothing_failed_is_said_so(environment: dict[str, str]) -> None:
    done = CliRunner().invoke(main, ["failed"], env=environment)
    assert (done.exit_code, done.output) == (0, "nothing has failed\n")


def test_what_waits_is_told_though_nothing_has_failed(context: Context, environment: dict[str, str]) -> None:
    long_ago = time.time() - 1000
    with context.database.writing() as session:
        owed = {"kind": "message", "recipient": "a@b.c", "data": {}, "next_at": long_ago + 2000}
        session.add(Mail(id="m1", company="acme", created_at=long_ago, why="Away: refused", **owed))
        session.add(Mail(id="m2", company="acme", created_at=time.time(), **owed))
    done = CliRunner().invoke(main, ["failed"], env=environment)
    assert done.exit_code == 0
    assert "nothing has failed\nwaits  1 mail, the oldest since " in done.output
    assert "    Away: refused\n    do: nothing, it is tried on; `cordboard retry mail` hurries it\n" in done.output
    told = json.loads(CliRunner().invoke(main, ["failed", "--json", "--company", "other"], env=environment).output)
    assert told["waiting"] == []


def test_what_was_given_up_is_tried_at_once_and_owed_once(context: Context, environment: dict[str, str]) -> None:
    something_of_everything(context)
    before = count(context, Delivery)
    assert retry(context, "delivery", "other") == 0
    done = CliRunner().invoke(main, ["retry"], env=environment)
    assert done.exit_code == 0, done.output
    assert "mail: 1 tried again" in done.output
    assert count(context, Delivery, state="pending") == count(context, Delivery) == before
    assert count(context, Mail, state="pending") == 1
    assert context.redis.llen("rq:queue:delivery") == 1  # and somebody is rung for


class TestBackfilling:
    def test_takes_what_is_missing_from_disk_and_tells_nobody(self, context: Context) -> None:
        endpoint(context)
        facts = answered_call()
        (context.state / "facts/vm-1-0.facts.shipped").write_bytes(lines(facts[:5]) + b'{"torn')
        for fact in facts[5:]:
            context.redis.xadd(STREAM, {"fact": json.dumps(fact)})
        done = backfill(context, [])
        assert (done.read, done.taken.new) == (len(facts), len(facts))
        with context.database.reading() as session:
            assert session.get_one(Call, CALL).state == "ended"
        assert count(context, Event) > 0
        assert count(context, Delivery) == count(context, Mail) == 0
        again = backfill(context, [])
        assert (again.taken.new, again.taken.events) == (0, 0)

    def test_tells_whoever_wants_it_if_that_is_asked_for(self, context: Context) -> None:
        endpoint(context)
        kept = context.state / "old.jsonl.gz"
        kept.write_bytes(gzip.compress(lines(answered_call())))
        done = backfill(context, [kept], tell=True)
        assert done.taken.deliveries == count(context, Delivery, state="pending") > 0

    @pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"no gzip at all"])
    def test_names_a_damaged_file_and_keeps_what_came_before(
        self, context: Context, environment: dict[str, str], damage: Callable[[bytes], bytes]
    ) -> None:
        kept = context.state / "old.jsonl.gz"
        kept.write_bytes(damage(gzip.compress(lines(answered_call()), 0)))
        done = CliRunner().invoke(main, ["backfill", str(kept)], env=environment)
        assert done.exit_code == 3
        assert f"cordboard: {kept}: it is damaged, or no gzip file" in done.output
        whole = 0 if b"no gzip" in kept.read_bytes() else len(answered_call()) - 1
        assert count(context, Fact) == whole

    def test_what_is_owed_already_stays_owed(self, context: Context) -> None:
        endpoint(context)
        facts = answered_call()
        with context.database.writing() as session:
            take(session, facts[:3], nobody, time.time())
        owed = count(context, Delivery)
        assert owed
        (context.state / "facts/vm-1-0.facts").write_bytes(lines(facts))
        backfill(context, [])
        assert count(context, Delivery) == owed

    def test_makes_rows_anew_of_facts_that_are_alone(self, context: Context) -> None:
        with context.database.writing() as session:
            take(session, answered_call(), nobody, time.time())
        with context.database.writing() as session:
            rows = list(session.scalars(select(Fact)))
            names = [column.key for column in Fact.__table__.columns]
            kept = [{name: getattr(row, name) for name in names} for row in rows]
        fresh = from_variables(
            {"CORDBOARD_CONFIG": str(context.state.parent / "cordboard.yaml")}
            | {"CORDBOARD_STATE": str(context.state), "CORDBOARD_REDIS": context.redis_url}
            | {"CORDBOARD_DATABASE": migrated_sqlite(context.state)}
        )
        with fresh.database.writing() as session:
            session.add_all(Fact(**{**row, "id": None}) for row in kept)
        done = backfill(fresh, [])
        assert done.calls == 1
        assert count(fresh, Fact) == len(kept)
        with fresh.database.reading() as session:
            assert session.get_one(Call, CALL).talk_seconds > 0
        fresh.database.close()


def test_a_recording_of_which_nobody_has_heard_is_listed_when_it_has_been_quiet(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = message_file("acme", CALL, 1).name
    (context.spool / name).write_bytes(b"RIFF")

    def listed() -> list[str]:
        with context.database.reading() as session:
            found = failures(session, context.redis, context.spool, since=0.0, most=10, kinds=("spool",))
        return [one.id for one in found.found]

    assert listed() == []  # somebody may be speaking just now
    monkeypatch.setattr(listing, "_QUIET", -1.0)
    assert listed() == [name]
