"""``cordboard events``: the catalogue on the command line."""

from __future__ import annotations

import json
from typing import Any

import click

from webhooks.events import publishing
from webhooks.events.catalogue import CATALOGUE

_ALL = "*"


@click.command(short_help="List the events that webhooks tell; print their schemas.")
@click.option(
    "--schema",
    "schema_of",
    metavar="[TYPE]",
    is_flag=False,
    flag_value=_ALL,
    help="Print the JSON Schema of a type's body; without TYPE all of them, by type.",
)
@click.option("--example", "example_of", metavar="TYPE", help="Print a whole body of that type.")
@click.option("--document", is_flag=True, help="Print webhooks/EVENTS.md.")
def events(schema_of: str | None, example_of: str | None, document: bool) -> None:
    """List the types of events that webhooks tell, with one line each."""
    if (schema_of is not None) + (example_of is not None) + document > 1:
        raise click.UsageError("--schema, --example and --document are three things: ask for one.")
    if document:
        click.echo(publishing.document(), nl=False)
    elif schema_of == _ALL:
        _print(publishing.schemas())
    elif schema_of is not None:
        _print(publishing.schema(CATALOGUE[_known(schema_of)]))
    elif example_of is not None:
        _print(publishing.example(CATALOGUE[_known(example_of)]))
    else:
        width = max(map(len, CATALOGUE))
        for type_, event in CATALOGUE.items():
            click.echo(f"{type_:{width}}  {event.VERSION}  {publishing.title(event)}")


def _known(type_: str) -> str:
    if type_ not in CATALOGUE:
        raise click.UsageError(f"there is no event {type_[:80]!r}; cordboard events lists them")
    return type_


def _print(found: Any) -> None:
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
