"""Real calls on the stand-in switch, by the real server: then the journal is what happened, and ``why`` tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from callcontrol.cli import main
from callcontrol.settings import Config
from freeswitch.simulator import Answers, Busy, NeverAnswers
from scripts.rig import Rig
from tests.databases import migrated_sqlite
from workers.context import Context
from workers.journal import jobs
from workers.journal.database import Database
from workers.journal.tables import Call, Fact, Leg, Step

pytestmark = pytest.mark.tcp
SOMEBODY, NUMBER = "+79031234567", "+74951234567"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig"), sounds={}) as started:
        yield started


@pytest.fixture(scope="module")
def context(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    directory = tmp_path_factory.mktemp("journal")
    database = Database(migrated_sqlite(directory))
    context = Context(Config(()), rig.redis_url, database, rig.directory / "state", rig.spool)
    yield context
    context.redis.close()
    database.close()


def journalled(rig: Rig, context: Context, call: str) -> Call:
    """The call's row when the journal has its end."""

    def there() -> bool:
        jobs.drain(context, 5.0)
        with context.database.reading() as session:
            row = session.get(Call, call)
            return row is not None and row.state == "ended"

    rig.until(there, 30, "the end of the call in the journal")
    with context.database.reading() as session:
        return session.scalars(select(Call).where(Call.id == call)).one()


def why(context: Context, call: str) -> str:
    url = context.database.url.render_as_string(hide_password=False)
    result = CliRunner().invoke(main, ["why", call[:13], "--database", url])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_talk_is_in_the_journal_as_it_was(rig: Rig, context: Context) -> None:
    rig.switch.phone("301", NeverAnswers())
    rig.switch.phone("302", Answers(after=0.2, talk=0.5))
    rig.switch.phone("303", Busy())
    caller = rig.switch.call(SOMEBODY, NUMBER)
    caller.wait("heard:speech", 15)
    caller.press("2")
    caller.wait("ended", 30)
    call = journalled(rig, context, caller.uuid)
    assert (call.company, call.caller, call.called, call.direction) == ("acme", SOMEBODY, NUMBER, "inbound")
    assert (call.talked_with, call.missed, call.ended_by) == ("302", False, "cordboard")
    with context.database.reading() as session:
        told = [(f.epoch, f.n, f.type) for f in session.scalars(select(Fact).where(Fact.call == caller.uuid))]
        legs = {leg.address: leg.result for leg in session.scalars(select(Leg).where(Leg.call == caller.uuid))}
        steps = [f"{step.flow}/{step.step}" for step in session.scalars(select(Step).where(Step.call == caller.uuid))]
    assert sorted(told) == sorted((f["epoch"], f["n"], f["type"]) for f in rig.facts(caller.uuid))
    assert (legs["302"], legs["303"]) == ("answered", "busy")
    assert steps[:2] == ["reception/gate", "reception/clock"]

    text = why(context, caller.uuid)
    version = re.search(r"routing version ([0-9a-f]{8,})", text)
    assert version is not None
    assert any(version[1] in path.name for path in (rig.directory / "state" / "versions").rglob("*"))
    for line in (
        rf"{re.escape(SOMEBODY)} calls {re.escape(NUMBER)}; routing {version[1]} decides",
        r"step reception/clock \(hours\)",
        r"because: it is Monday 10:0\d; office is on",
        r"pressed 2",
        r"302 rings",
        r"303 is busy",
        r"they talk: 302 has answered",
        r"the talk with 302 lasted",
        r"the call is over: the routing ended it",
    ):
        assert re.search(line, text), f"{line}\n{text}"


def test_a_caller_who_leaves_in_a_menu_was_missed(rig: Rig, context: Context) -> None:
    caller = rig.switch.call(SOMEBODY, NUMBER)
    caller.wait("heard:speech", 15)
    caller.hangup()
    call = journalled(rig, context, caller.uuid)
    assert (call.missed, call.ended_by) == (True, "caller")
    assert "missed; over after" in why(context, caller.uuid)


def test_a_controller_that_is_killed_leaves_one_end_and_no_gap(rig: Rig, context: Context) -> None:
    caller = rig.switch.call(SOMEBODY, NUMBER)
    caller.wait("heard:speech", 15)
    rig.kill(rig.owner_of(caller.uuid))
    rig.wait_fact(caller.uuid, "call.taken_over", 20)
    caller.hangup()
    call = journalled(rig, context, caller.uuid)
    assert call.epoch == 2
    rig.until(lambda: _all_there(rig, context, caller.uuid), 30, "what the dead one had written")
    assert "another controller takes the call over" in why(context, caller.uuid)


def _all_there(rig: Rig, context: Context, call: str) -> bool:
    jobs.drain(context, 5.0)
    with context.database.reading() as session:
        there = {(f.epoch, f.n) for f in session.scalars(select(Fact).where(Fact.call == call))}
    return there == {(f["epoch"], f["n"]) for f in rig.facts(call)}
