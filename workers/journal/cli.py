"""``cordboard calls``, ``why`` and ``journal``: what people ask the journal on the command line."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import redis as redis_py
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol.private import SettingsError
from callcontrol.queue_views import Table, counted, plain, shown
from callcontrol.switchboard import connect
from workers.journal import queries, stream
from workers.journal.database import Database, default_url
from workers.journal.migrating import migrate
from workers.journal.story import moment, outcome, story
from workers.journal.tables import Call, Delivery, Event, Fact, Mail, Recording

_UNITS = {"m": 60, "h": 3600, "d": 86400}


class Moment(click.ParamType[float]):
    """A moment: ``2h``, ``3d`` ago, a date, or a date and a time (UTC unless it has a zone)."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The UTC epoch."""
        if isinstance(value, float):
            return value
        now = dt.datetime.now(dt.UTC)
        if back := re.fullmatch(r"([0-9]{1,6})([mhd])", str(value)):
            return now.timestamp() - int(back[1]) * _UNITS[back[2]]
        try:
            found = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail("write 30m, 2h, 3d, 2026-11-23 or 2026-11-23T09:00", param, ctx)
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


@click.command(short_help="List calls, the last first.")
@click.option("--company", help="Only this company's; without it, those of every company.")
@click.option("--since", type=Moment(), help="Those that began since then: 2h, 3d, 2026-11-23, 2026-11-23T09:00 (UTC).")
@click.option("--until", type=Moment(), help="Those that began before then.")
@click.option("--number", help="From or to this number, or one that ends so (four digits at least).")
@click.option("--person", help="In which this extension called, was rung or talked.")
@click.option("--queue", help="That waited in this queue.")
@click.option("--missed", is_flag=True, help="That came from outside and ended without a talk.")
@click.option("--limit", type=click.IntRange(1, queries.MOST), default=50, show_default=True, help="So many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@o.DATABASE
@o.STATE
def calls(
    company: str | None,
    since: float | None,
    until: float | None,
    number: str | None,
    person: str | None,
    queue: str | None,
    missed: bool,
    limit: int,
    as_json: bool,
    database: str,
    state: Path,
) -> None:
    """List the calls that are in the journal, the last that began first. `cordboard why CALL` tells more of one."""
    wanted = queries.CallFilter(
        since=since, until=until, number=number, person=person, queue=queue, missed=missed or None
    )
    with _journal(database, state) as journal, journal.reading() as session:
        page = queries.calls(session, company, wanted, limit=limit)
    if as_json:
        click.echo(json.dumps(page["items"], indent=2))
    elif not page["items"]:
        click.echo("there are no such calls")
    else:
        click.echo("\n".join(plain(_calls_table(page["items"]))))
        if page["next"]:
            these = "this is the last one" if limit == 1 else f"these are the last {limit}"
            click.echo(f"{these}; --limit or --until shows others")


@click.command(short_help="Tell why a call went as it did.")
@click.argument("call")
@click.option("--company", help="Whose call it must be.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@o.DATABASE
@o.STATE
def why(call: str, company: str | None, as_json: bool, database: str, state: Path) -> None:
    """Tell the whole journey of CALL (the beginning of its id is enough): every step, what decided it and by which
    version of the routing, every telephone and what came of it, queues, recordings, webhooks and mails.
    """
    with _journal(database, state) as journal, journal.reading() as session:
        found = queries.find_calls(session, company, call)
        if len(found) > 1 and call not in found:
            click.echo(f"cordboard: several calls begin so: {', '.join(found)}", err=True)
            sys.exit(1)
        journey = queries.journey(session, company, call if call in found else found[0]) if found else None
    if journey is None:
        click.echo(f"cordboard: the journal knows no call {shown(call[:80])}", err=True)
        sys.exit(1)
    click.echo(json.dumps(journey, indent=2) if as_json else "\n".join(story(journey)))


@click.command(short_help="Say how far the journal is behind, and what is in it.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@o.DATABASE
@o.STATE
@o.REDIS
def journal(as_json: bool, database: str, state: Path, redis: str) -> None:
    """Say how far the journal is behind the facts, and how much is in it. Brings its tables up to date first."""
    said: dict[str, Any] = {}
    tables = {"facts": Fact, "calls": Call, "recordings": Recording, "events": Event}
    with _journal(database, state) as found:
        said["database"] = found.url.render_as_string(hide_password=True)
        with found.reading() as session:
            for name, table in tables.items():
                said[name] = session.scalar(select(func.count()).select_from(table))
            said["live"] = session.scalar(select(func.count()).where(Call.state == "live"))
            said["unreadable"] = session.scalar(select(func.count()).where(Fact.type == "fact.unreadable"))
            said["owed"] = {
                "webhooks": session.scalar(select(func.count()).where(Delivery.state == "pending")),
                "mails": session.scalar(select(func.count()).where(Mail.state == "pending")),
            }
            try:
                behind = stream.lag(session, connect(redis, name="cordboard-journal"))
                said["position"], said["stream"] = behind.position, behind.last
                said["unread"], said["files_owed"] = behind.unread, behind.gap
            except (redis_py.RedisError, OSError, ValueError) as error:
                said["redis"] = f"away: {error}"
    click.echo(json.dumps(said, indent=2) if as_json else "\n".join(_status(said)))


def _status(said: dict[str, Any]) -> Iterator[str]:
    calls, facts = counted(said["calls"], "call"), counted(said["facts"], "fact")
    yield f"{said['database']}: {calls} ({said['live']} live), {facts}"
    if said["unreadable"]:
        yield f"facts that could not be read: {said['unreadable']}"
    owed = f"owed: {counted(said['owed']['webhooks'], 'webhook')}, {counted(said['owed']['mails'], 'mail')}"
    yield f"{counted(said['recordings'], 'recording')}, {counted(said['events'], 'event')}; {owed}"
    if "redis" in said:
        yield f"the stream of facts cannot be seen: Redis is {shown(said['redis'])}"
    elif said["unread"] is None:
        yield "the stream of facts has lost our place: the next reading begins at its beginning"
    elif said["unread"]:
        more = "at least " if said["unread"] >= stream.MOST_COUNTED else ""
        are = "is" if said["unread"] == 1 else "are"
        yield f"{more}{counted(said['unread'], 'fact')} of the stream {are} not read yet"
    else:
        yield "every fact of the stream is read"
    if said.get("files_owed"):
        yield "the stream has lost facts: the files are being read"


def _calls_table(rows: Any) -> Table:
    head = ("CALL", "BEGAN", "COMPANY", "FROM", "TO", "WITH", "WHAT CAME OF IT")
    return Table(
        head,
        tuple(
            tuple(
                shown(str(cell))
                for cell in (
                    row["id"],
                    moment(row["began"]),
                    row["company"] or "-",
                    row["extension"] or row["caller"] or "anonymous",
                    row["called"] or "-",
                    row["talked_with"] or "-",
                    outcome(row),
                )
            )
            for row in rows
        ),
    )


@contextlib.contextmanager
def _journal(database: str, state: Path) -> Iterator[Database]:
    """The journal, up to date; or an end with what is wrong (exit code 3)."""
    try:
        found = Database(database or default_url(state.resolve()))
        if found.is_sqlite and not Path(found.url.database or "").exists():
            raise SettingsError(f"there is no journal at {found.url.database}: cordboard work makes it")
        try:
            migrate(found)
            yield found
        finally:
            found.close()
    except SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
    except SQLAlchemyError as error:
        click.echo(
            f"cordboard: the journal cannot be used: {shown(str(getattr(error, 'orig', error))[:300])}", err=True
        )
    except OSError as error:
        click.echo(f"cordboard: the journal cannot be opened: {error.strerror or error}", err=True)
    else:
        return
    sys.exit(3)
