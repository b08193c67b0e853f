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
