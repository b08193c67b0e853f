"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from callcontrol import options as o


@click.command(short_help="Walk whole calls without a telephone.")
@click.argument("directory", type=o.DIRECTORY)
@click.option("--company", help="Only this company's rehearsals.")
def rehearse(directory: Path, company: str | None) -> None:
    """Walk the rehearsals of every company in DIRECTORY: no telephone, no switch.

    A failed one stands with the expected and the real journey side by side, and changes the exit code.
    """
    from callcontrol.workbench.rehearse import rehearse_directory

    sys.exit(rehearse_directory(directory, company, click.echo))
