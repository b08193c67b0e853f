"""``cordboard web`` and ``cordboard tokens``."""

from __future__ import annotations

import datetime as dt
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import structlog
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol import settings as s

#: How long a request waits for the database, seconds.
HURRY = 5.0


@click.command(short_help="Serve the HTTP API.")
@o.setting("web", s.WEB, "Where the API answers: host:port.")
@o.REDIS
@o.CONFIG
@o.STATE
@o.SPOOL
@o.DATABASE
@o.setting("servers", "2", "Processes that answer.", type=click.IntRange(1, 32))
@o.TRY
def web(web: str, servers: int, attempt: bool, **given: Any) -> None:
    """Serve the HTTP API, its description at /v1/, and /healthz, /readyz and /metrics.

    It speaks plain HTTP: a proxy in front of it brings TLS. SIGTERM finishes the requests that run, and stops; SIGUSR2
    makes it the next release.
    """
    from callcontrol.processes import announce, withdraw
    from callcontrol.serving import configure_logs
    from webhooks.app import web as server
    from workers.context import from_variables
    from workers.journal.migrating import migrate

    variables = {
        f"CORDBOARD_{name.upper()}": str(value.resolve() if isinstance(value, Path) else value)
        for name, value in given.items()
    }
    with _complaining():
        address = s.address(web)
        context = from_variables(variables)
        migrate(context.database)
        if attempt:
            server.create_app(context)
            return
        context.database.close()
        configure_logs()
        announce(context.state, "web")
        try:
            server.serve(lambda: _again(variables, context.config), address, servers)
        finally:
            withdraw(context.state)


def _again(variables: Mapping[str, str], last: s.Config) -> Any:
    """The context of a process of ours.  One that is started while somebody edits cordboard.yaml must start."""
    from workers.context import from_variables

    try:
        return from_variables(variables, hurry=HURRY)
    except s.SettingsError as error:
        structlog.get_logger("web").error("going by what it said at the start", error=str(error)[:300])
        return from_variables(variables, last, hurry=HURRY)


@click.group(short_help="Make, list and revoke tokens of the API.")
def tokens() -> None:
    """Make, list and revoke tokens of the API.

    A token's role says what it is good for: operator everything, consumer what a company's programs need, agent what
    one person's own program needs.
    """


@tokens.command(short_help="Make a token, and print it this once.")
@click.argument("role", metavar="ROLE", type=click.Choice(["operator", "consumer", "agent"]))
@click.argument("name")
@click.option("--company", help="Whose. Only an operator's may be good for every company.")
@click.option("--person", help="The extension of an agent's.")
@click.option("--days", type=click.FloatRange(0, 36_500, min_open=True), help="It expires after so many.")
@o.STATE
@o.DATABASE
def create(
    role: str, name: str, company: str | None, person: str | None, days: float | None, state: Path, database: str
) -> None:
    """Make a token for whoever NAME says, and print it: nobody can print it again.

    ROLE is operator, consumer or agent.
    """
    from webhooks.app.door import COMPANY
    from webhooks.app.tokens import TokenError
    from webhooks.app.tokens import create as make

    if company is not None and not re.fullmatch(COMPANY, company):
        raise click.UsageError("--company is no company's id, such as acme.")
    if person is not None and not re.fullmatch("[0-9]{1,6}", person):
        raise click.UsageError("--person is no extension, such as 301.")
    if not name.isprintable() or not 0 < len(name) <= 100:
        raise click.UsageError("NAME is printable text of 100 characters at most.")
    with _complaining(), _database(state, database) as opened:
        try:
            known, secret = make(opened, role, name, company=company, person=person, days=days)
        except TokenError as error:
            raise click.UsageError(str(error)) from None
    click.echo(f"{known} is made. It is shown this once:", err=True)
    click.echo(secret)


@tokens.command("list", short_help="List the tokens; none is printed.")
@o.STATE
@o.DATABASE
def list_(state: Path, database: str) -> None:
    """List the tokens, the newest first: what they are for, when they were used, whether they are good."""
    from callcontrol.queue_views import Table, plain, shown
    from webhooks.app.tokens import every

    with _complaining(), _database(state, database) as opened:
        rows = every(opened)
    if not rows:
        click.echo("there are no tokens")
        return
    head = ("id", "role", "company", "person", "name", "made", "used", "")
    cells = tuple(
        (
            row.id,
            row.role,
            row.company or "every",
            row.person or "",
            shown(row.name),
            _day(row.created_at),
            _day(row.used_at) or "never",
            _standing(row, time.time()),
        )
        for row in rows
    )
    click.echo("\n".join(plain(Table(head, cells))))


@tokens.command(short_help="Revoke a token: from now on it is good for nothing.")
@click.argument("id")
@o.STATE
@o.DATABASE
def revoke(id: str, state: Path, database: str) -> None:
    """Revoke the token with this ID, as the list says it."""
    from webhooks.app.tokens import revoke as end

    with _complaining(), _database(state, database) as opened:
        if not end(opened, id):
            click.echo("cordboard: there is no such token, or it was revoked before", err=True)
            sys.exit(1)
    click.echo("revoked")


def _standing(row: Any, now: float) -> str:
    if row.revoked_at is not None:
        return f"revoked {_day(row.revoked_at)}"
    if row.expires_at is None:
        return ""
    return f"{'expired' if row.expires_at <= now else 'until'} {_day(row.expires_at)}"


def _day(at: float | None) -> str:
    return "" if at is None else dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M")


@contextmanager
def _database(state: Path, url: str) -> Iterator[Any]:
    from workers.journal.database import Database, default_url
    from workers.journal.migrating import migrate

    opened = Database(url or default_url(state.resolve()))
    migrate(opened)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _complaining() -> Iterator[None]:
    """An end with what is wrong, for people."""
    try:
        yield
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)
    except (SQLAlchemyError, OSError) as error:
        click.echo(f"cordboard: the database cannot be used: {str(error).splitlines()[0][:300]}", err=True)
        sys.exit(3)
