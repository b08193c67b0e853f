"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import datetime as dt
import json
import sys
from functools import partial
from pathlib import Path

import click

from callcontrol import options as o
from callcontrol.routing.model import Routing


@click.command(short_help="Walk whole calls without a telephone.")
@click.argument("directory", type=o.DIRECTORY)
@click.option("--company", help="Only this company's rehearsals.")
def rehearse(directory: Path, company: str | None) -> None:
    """Walk the rehearsals of every company in DIRECTORY: no telephone, no switch.

    A failed one stands with the expected and the real journey side by side, and changes the exit code.
    """
    from callcontrol.workbench.rehearse import rehearse_directory

    sys.exit(rehearse_directory(directory, company, click.echo))


_MOMENT = click.DateTime(formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])


@click.command(short_help="When a number opens and closes next.")
@o.ROUTING
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
@o.COMPANY
@click.option("--from", "start", type=_MOMENT, help="Begin then, in the company's time; without it now.")
@click.option("--count", default=30, show_default=True, type=click.IntRange(1, 1000), help="How many changes.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=on", help="Take this switch as on.")
@click.option(
    "--format",
    "as_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or JSON.",
)
def preview(
    routing: Path,
    numbers: tuple[str, ...],
    company: str | None,
    start: dt.datetime | None,
    count: int,
    switches: tuple[str, ...],
    as_: str,
) -> None:
    """Say when what a caller meets changes, for each NUMBER, or all of the company's.

    Each line has the local time, what begins and for how long, and why that day is special: a public holiday, a date
    of the file, a change of the clocks. It is told for a caller on no list.
    """
    from callcontrol import policy
    from callcontrol.routing.hours import instant
    from callcontrol.routing.load import holiday_names
    from callcontrol.workbench import preview as ahead

    found = one_company(routing, company)
    wanted: list[str] = []
    for number in numbers or found.numbers:
        known = number if number in found.numbers else policy.e164(number, found.country)
        if known is None or known not in found.numbers:
            there = ", ".join(found.numbers) or "none"
            raise click.UsageError(f"{found.company} has no number {number}; it has: {there}")
        wanted.append(known)
    on = {}
    for given in switches:
        name, _, state = given.partition("=")
        if state not in ("on", "off"):
            raise click.UsageError(f"--switch {given}: write it as {name or 'NAME'}=on or {name or 'NAME'}=off")
        on[name] = state == "on"
    at = dt.datetime.now().timestamp() // 60 * 60 if start is None else instant(start, found.timezone)
    language = found.languages[0]
    names = partial(holiday_names, found.country, language=language)
    try:
        told = ahead.previews(found, list(dict.fromkeys(wanted)), start=at, count=count, switches=on, names=names)
    except ahead.SwitchError as error:
        raise click.UsageError(str(error)) from None
    if as_ == "json":
        click.echo(json.dumps([ahead.as_data(found, one) for one in told], ensure_ascii=False, indent=2))
        return
    if not told:
        click.echo(f"{found.company} has no number")
    for i, one in enumerate(told):
        click.echo("\n".join([*([""] if i else []), *ahead.told(found, one)]))


@click.command(short_help="Print a JSON Schema of routing files, for editors.")
@click.argument("routing", required=False, type=click.Path(exists=True, path_type=Path))
@o.COMPANY
@click.option("--rehearsals", is_flag=True, help="The schema of files of rehearsals beside the company's.")
def schema(routing: Path | None, company: str | None, rehearsals: bool) -> None:
    """Print a JSON Schema of routing files: an editor that knows it completes, explains and marks mistakes.

    With ROUTING it has the names of that company: its people, steps, queues, hours and sounds, and no others.

    routing/cordboard.schema.json is the one without names, routing/rehearsals.schema.json that of files of
    rehearsals. Editors with the YAML language server take it by the first line of a file, `# yaml-language-server:
    $schema=cordboard.schema.json`, VS Code by its setting `"yaml.schemas": {"routing/cordboard.schema.json":
    "routing/*.yaml"}`, those of JetBrains in their settings, under JSON Schema Mappings.
    """
    from zoneinfo import available_timezones

    from callcontrol.routing.load import sounds_in
    from callcontrol.workbench import schema as made

    if routing is None:
        if company is not None:
            raise click.UsageError("--company needs ROUTING: where the companies' YAML files are.")
        found = made.rehearsals() if rehearsals else made.schema()
    elif rehearsals:
        found = made.rehearsals(one_company(routing, company))
    else:
        known = one_company(routing, company)
        folder = routing if routing.is_dir() else routing.parent
        found = made.schema(known, sounds=sounds_in(folder / "sounds" / known.company), zones=available_timezones())
    click.echo(json.dumps(found, ensure_ascii=False, separators=(",", ":")))


def one_company(path: Path, company: str | None) -> Routing:
    """The routing of one company, or an end with what is wrong in its file."""
    from callcontrol.routing.load import LoadError, load_company

    try:
        loaded = load_company(path, company)
    except LoadError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(2)
    if loaded.routing is None:
        for found in loaded.problems:
            if found.severity == "error":
                click.echo(str(found))
        click.echo(f"cordboard: mend {loaded.path} first", err=True)
        sys.exit(1)
    return loaded.routing
