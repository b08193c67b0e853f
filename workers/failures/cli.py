"""``cordboard failed``, ``retry``, ``replay`` and ``backfill``.  Thin: they talk to people."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import redis as redis_py
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol.private import SettingsError
from callcontrol.queue_views import shown
from workers.context import Context, from_variables
from workers.failures import listing
from workers.failures.backfilling import backfill as fill
from workers.failures.retrying import KINDS as AGAIN
from workers.failures.retrying import retry as try_again
from workers.journal.cli import Moment
from workers.journal.migrating import migrate

_COMPANY = click.option("--company", help="Only this company's.")


@click.command(short_help="List what failed and will not go by itself, with what to do.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(listing.KINDS), help="Only this kind; more than once."
)
@_COMPANY
@click.option("--since", type=Moment(), default="7d", show_default=True, help="How old what is over may be.")
@click.option(
    "--most", default=20, show_default=True, type=click.IntRange(1, 1000), help="So many of a kind, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@o.REDIS
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
def failed(
    kinds: tuple[str, ...], company: str | None, since: float, most: int, as_json: bool, **given: str | Path
) -> None:
    """List everything that needs somebody: webhooks given up and endpoints that are paused, recordings that are not
    stored or not there, mail that could not be sent, facts that could not be read, strange files in the spool, jobs
    that failed, calls whose end nobody saw, and the alarms that are raised. Each says what to do.

    What waits and is tried again by itself is counted below. Exit code 1 if anything failed.
    """
    with _context(given) as context, context.database.reading() as session:
        redis = context.redis if listing.reachable(context.redis) else None
        found = listing.failures(
            session,
            redis,
            context.spool,
            since=since,
            most=most,
            company=company,
            kinds=kinds or listing.KINDS,
        )
        waiting = listing.waiting(session, company=company, kinds=kinds or listing.KINDS)
    if as_json:
        failed_data = [one.data() for one in found.found]
        waits = [asdict(one) for one in waiting]
        click.echo(json.dumps({"counts": found.counts, "failures": failed_data, "waiting": waits}, indent=2))
    else:
        for one in found.found:
            at = "" if one.at is None else time.strftime("  %Y-%m-%d %H:%M UTC", time.gmtime(one.at))
            whose = f"  {one.company}" if one.company else ""
            click.echo(shown(f"{one.kind}  {one.id}{whose}{at}"))
            click.echo(f"    {shown(one.what)}")
            click.echo(f"    do: {shown(one.do)}")
        counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
        click.echo(f"in all: {counts}" if counts else "nothing has failed")
        for late in waiting:
            began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(late.since))
            click.echo(shown(f"waits  {late.count} {late.kind}, the oldest since {began}"))
            if late.why:
                click.echo(f"    {shown(late.why[:300])}")
            click.echo(f"    do: nothing, it is tried on; `cordboard retry {late.kind}` hurries it")
    if redis is None:
        click.echo("cordboard: Redis is away: jobs that failed are not in it", err=True)
    sys.exit(1 if found.counts else 0)


@click.command(short_help="Try again at once what failed or waits.")
@click.argument("kind", type=click.Choice(AGAIN), required=False)
@_COMPANY
@o.REDIS
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
def retry(kind: str | None, company: str | None, **given: str | Path) -> None:
    """Have everything tried again at once that was given up or waits for its next try; with KIND only that.

    Recordings are those in the SPOOL of this machine. Endpoints that are paused are resumed by hand, each by itself.
    """
    with _context(given) as context:
        for one in (kind,) if kind else AGAIN:
            click.echo(f"{one}: {try_again(context, one, company)} tried again")


@click.command(short_help="Take facts again that the journal has not got.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--tell", is_flag=True, help="Tell subscribers and mailboxes of it, too.")
@o.REDIS
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
def backfill(paths: tuple[Path, ...], tell: bool, **given: str | Path) -> None:
    """Bring facts into the journal that it has not got: from STATE and the stream, or from the PATHS that are given,
    files of facts or directories of them (.facts, .facts.shipped, .jsonl, each .gz as well). Rows and events that
    follow from them are made; nobody is told of them unless you say --tell, and nobody ever twice under another id.
    """
    with _context(given) as context:
        done = fill(context, paths, tell=tell)
    taken = done.taken
    click.echo(f"{done.read} facts read, {taken.new} were missing: {taken.events} events came of them")
    if tell:
        click.echo(f"{taken.deliveries} webhooks and {taken.mails} mails are owed for them")
    if done.calls:
        click.echo(f"{done.calls} calls had facts and no rows: they have them now")
    if taken.unreadable or taken.failed:
        click.echo(f"{taken.unreadable} could not be read, {taken.failed} had no consequences: see cordboard failed")


@contextlib.contextmanager
def _context(given: dict[str, str | Path]) -> Iterator[Context]:
    """The way to everything, with a journal that is up to date; or an end with what is wrong (exit code 3)."""
    try:
        variables = {
            f"CORDBOARD_{name.upper()}": str(value.resolve() if isinstance(value, Path) else value)
            for name, value in given.items()
        }
        context = from_variables(variables)
        where = context.database.url.database or ""
        if context.database.is_sqlite and not Path(where).exists():
            raise SettingsError(f"there is no journal at {where}: cordboard work makes it")
        migrate(context.database)
        try:
            yield context
        finally:
            context.database.close()
    except SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
    except SQLAlchemyError as error:
        said = shown(str(getattr(error, "orig", error))[:300])
        click.echo(f"cordboard: the journal cannot be used: {said}", err=True)
    except redis_py.RedisError as error:
        click.echo(f"cordboard: Redis cannot be used: {shown(str(error)[:300])}", err=True)
    except OSError as error:
        click.echo(f"cordboard: {error.filename or ''}: {error.strerror or error}", err=True)
    else:
        return
    sys.exit(3)
