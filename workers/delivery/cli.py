"""``cordboard endpoints``: who is told of what, and what became of it.  Thin: it talks to people, nothing else.

What it owes is sent within a second: the sweeper of ``cordboard work`` sees it.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from callcontrol import options as o
from callcontrol import settings as s
from callcontrol.queue_views import shown
from webhooks.events.envelope import moment
from workers.delivery import endpoints as e
from workers.delivery import replaying
from workers.delivery.reaching import Reach
from workers.journal.database import Database, default_url
from workers.journal.tables import Delivery, Endpoint, Event

#: Deliveries that are listed.
LISTED = 20
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the same as data.")


def _with_settings(command: Callable[..., None]) -> Any:
    """Options of every command here; errors become words and exit codes."""

    @_JSON
    @o.CONFIG
    @o.STATE
    @o.DATABASE
    @functools.wraps(command)
    def run(*args: Any, config: Path, state: Path, database: str, **more: Any) -> None:
        try:
            command(_House(config, Database(database or default_url(state.resolve()))), *args, **more)
        except (e.UnknownEndpoint, replaying.UnknownDelivery) as unknown:
            _end(f"the company has no {unknown}", 1)
        except e.RefusedEndpoint as refused:
            _end(f"{refused.field}: {refused}", 1)
        except s.SettingsError as error:
            _end(str(error), 3)
        except SQLAlchemyError as error:
            _end(f"the journal cannot be used: {str(error).splitlines()[0][:200]}", 3)

    return run


def _end(text: str, code: int) -> None:
    click.echo(f"cordboard: {text}", err=True)
    sys.exit(code)


class _House:
    def __init__(self, config: Path, database: Database) -> None:
        self._config = config
        self._database = database

    def checked(self, url: str) -> str:
        return e.checked_url(url, Reach(s.read_config(self._config.resolve()).subscribers))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._database.reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self._database.writing() as session:
            yield session


@click.group(short_help="Say where webhooks go; add, test, replay.", invoke_without_command=True)
@click.option("--company", help="Only this company's.")
@_with_settings
@click.pass_context
def endpoints(context: click.Context, house: _House, company: str | None, as_json: bool) -> None:
    """Say where companies get their events, and whether they get them."""
    if context.invoked_subcommand is not None:
        return None
    with house.reading() as session:
        found = [_shown(endpoint) for endpoint in e.listed(session, company)]
    if as_json:
        return _print(found)
    if not found:
        click.echo("There are no endpoints: cordboard endpoints add COMPANY URL makes one.")
    for one in found:
        wants = ", ".join(one["events"]) or "everything"
        click.echo(shown(f"{one['id']}  {one['company']}  {_state(one)}  {one['url']}  ({wants})"))
        if one["description"]:
            click.echo(f"    {shown(one['description'])}")
    return None


@endpoints.command()
@click.argument("company")
@click.argument("url")
@click.option("--events", default="", help="Types, or families such as queue.*, separated by commas; else everything.")
@click.option("--description", default="", help="What it is, for people.")
@_with_settings
def add(house: _House, company: str, url: str, events: str, description: str, as_json: bool) -> None:
    """Send COMPANY's events to URL. Prints the secret that they are signed with."""
    checked = house.checked(url)
    with house.writing() as session:
        endpoint, secret = e.create(session, company, checked, _words(events), description, time.time())
    _tell({**_shown(endpoint), "secret": secret}, f"{endpoint.id}\n{secret}", as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@click.option("--url", help="The new address.")
@click.option("--events", help="The new filters; empty: everything.")
@click.option("--description", help="What it is now, for people.")
@_with_settings
def change(
    house: _House,
    company: str,
    endpoint: str,
    url: str | None,
    events: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Change where or what an endpoint is sent."""
    checked = None if url is None else house.checked(url)
    with house.writing() as session:
        changed = e.change(
            session,
            company,
            endpoint,
            url=checked,
            events=None if events is None else _words(events),
            description=description,
        )
    _tell(_shown(changed), "changed", as_json)


@endpoints.command(short_help="Send an endpoint nothing until it is resumed.")
@click.argument("company")
@click.argument("endpoint")
@_with_settings
def pause(house: _House, company: str, endpoint: str, as_json: bool) -> None:
    """Send an endpoint nothing until it is resumed; what comes meanwhile waits."""
    with house.writing() as session:
        paused = e.pause(session, company, endpoint, "the operator paused it", time.time())
    _tell(_shown(paused), "paused", as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@_with_settings
def resume(house: _House, company: str, endpoint: str, as_json: bool) -> None:
    """Go on sending, also to an endpoint that had answered 410."""
    with house.writing() as session:
        resumed = e.resume(session, company, endpoint, time.time())
    _tell(_shown(resumed), "resumed", as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@_with_settings
def delete(house: _House, company: str, endpoint: str, as_json: bool) -> None:
    """Send nothing any more, and forget the secrets."""
    with house.writing() as session:
        e.delete(session, company, endpoint, time.time())
    _tell({"id": endpoint, "state": "deleted"}, "deleted", as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@click.option("--overlap", default=24.0, show_default=True, help="Hours that the old secret goes on signing.")
@_with_settings
def rotate(house: _House, company: str, endpoint: str, overlap: float, as_json: bool) -> None:
    """Make a new secret, and print it. Until the old one expires, both sign."""
    with house.writing() as session:
        secret = e.rotate(session, company, endpoint, time.time(), overlap * 3600)
    _tell({"id": endpoint, "secret": secret}, secret, as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@_with_settings
def test(house: _House, company: str, endpoint: str, as_json: bool) -> None:
    """Send a test event; deliveries says what became of it."""
    with house.writing() as session:
        delivery = replaying.send_test(session, company, endpoint, time.time())
    _tell({"delivery": delivery.id, "event": delivery.event}, delivery.id, as_json)


@endpoints.command()
@click.argument("company")
@click.argument("endpoint")
@click.option("--only", type=click.Choice(("pending", "delivered", "failed", "cancelled")), help="Only those.")
@click.option("--most", default=LISTED, show_default=True, type=click.IntRange(1, 1000), help="So many, the newest.")
@_with_settings
def deliveries(house: _House, company: str, endpoint: str, only: str | None, most: int, as_json: bool) -> None:
    """List what an endpoint was sent, or is owed, the newest first."""
    with house.reading() as session:
        e.find(session, company, endpoint)
        query = select(Delivery, Event.type).join(Event, Event.id == Delivery.event)
        query = query.where(Delivery.endpoint == endpoint, Delivery.company == company)
        query = query.where(Delivery.state == only) if only else query
        rows = session.execute(query.order_by(Delivery.created_at.desc(), Delivery.id).limit(most)).all()
        found = [_sent(delivery, type_) for delivery, type_ in rows]
    if as_json:
        return _print(found)
    for one in found:
        why = f"  {one['why']}" if one["why"] else ""
        times = f"{one['attempts']} attempt{'' if one['attempts'] == 1 else 's'}"
        click.echo(shown(f"{one['id']}  {one['created_at']}  {one['type']}  {one['state']} ({times}){why}"))
    return None


@endpoints.command()
@click.argument("company")
@click.argument("delivery")
@_with_settings
def redeliver(house: _House, company: str, delivery: str, as_json: bool) -> None:
    """Send one delivery again, under the same id."""
    with house.writing() as session:
        again = replaying.redeliver(session, company, delivery, time.time())
    _tell({"delivery": again.id, "event": again.event}, "it is sent again", as_json)


@endpoints.command(short_help="Send what happened in a range of time.")
@click.argument("company")
@click.argument("endpoint")
@click.option("--since", required=True, help="From then on, such as 2026-11-26T09:00Z.")
@click.option("--until", help="Until before then; else until now.")
@click.option("--types", default="", help="Only these types, separated by commas.")
@click.option("--again", is_flag=True, help="Also what it has got already.")
@_with_settings
def replay(
    house: _House,
    company: str,
    endpoint: str,
    since: str,
    until: str | None,
    types: str,
    again: bool,
    as_json: bool,
) -> None:
    """Send an endpoint what happened in a range of time and it has not got."""
    now = time.time()
    begin, end = _moment(since), now if until is None else _moment(until)
    owed = repeated = 0
    after = None
    while True:
        with house.writing() as session:
            step = replaying.replay(
                session, company, endpoint, begin, end, now, types=_words(types), again=again, after=after
            )
        owed, repeated, after = owed + step.owed, repeated + step.again, step.next
        if after is None:
            break
    _tell({"owed": owed, "again": repeated}, f"{owed} are sent, {repeated} sent again", as_json)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _moment(text: str) -> float:
    try:
        at = dt.datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError
        return at.timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError(f"{text!r} is no moment with a zone, such as 2026-11-26T09:00Z") from None


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "company": endpoint.company,
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "state": endpoint.state,
        "why": endpoint.why,
        "failures": endpoint.failures,
        "failing_since": None if endpoint.failing_since is None else moment(endpoint.failing_since),
    }


def _state(one: dict[str, Any]) -> str:
    if one["state"] == "active" and one["failures"]:
        return f"failing since {one['failing_since']}"
    return f"{one['state']}: {one['why']}" if one["why"] else str(one["state"])


def _sent(delivery: Delivery, type_: str) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event,
        "type": type_,
        "cause": delivery.cause,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created_at": moment(delivery.created_at),
        "delivered_at": None if delivery.delivered_at is None else moment(delivery.delivered_at),
        "next_at": moment(delivery.next_at) if delivery.state == "pending" else None,
        "why": delivery.why,
    }


def _tell(found: dict[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        _print(found)
    else:
        click.echo(words)


def _print(found: Sequence[Any] | dict[str, Any]) -> None:
    click.echo(json.dumps(found, indent=2, ensure_ascii=True))
