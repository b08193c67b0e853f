"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import sys
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


@click.command(short_help="Say what a code of check means, with an example.")
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Say what CODE means, why it matters, and show an example, wrong and right. Without CODE: list all.

    CODE is written as check prints it, as W501; the whole line that it printed will do as well, in quotes.
    """
    from callcontrol.workbench import explain as explaining

    if code is None:
        click.echo(explaining.every(_coloured))
        return
    found = explaining.code_in(code)
    if found is None:
        raise click.UsageError(f"{explaining.unknown(code)}\nAll codes: cordboard explain")
    click.echo(explaining.explain(found, _coloured))


_COLOURS = {"error": "red", "warning": "yellow", "place": "red", "family": "cyan"}


def _coloured(text: str, what: str) -> str:
    """Text in the colour of what it is; click takes it out again unless it goes to a terminal."""
    return click.style(text, fg=_COLOURS[what], bold=True)


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
