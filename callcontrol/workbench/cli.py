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


@click.command(short_help="Draw each flow as a picture.")
@o.ROUTING
@o.COMPANY
@click.option("--flow", "flows", multiple=True, help="Only this flow; may be given several times.")
@click.option(
    "-o",
    "--output",
    default="graph",
    show_default=True,
    help="Directory for the pictures; - prints one of them.",
    type=click.Path(path_type=Path),
)
@click.option(
    "--format",
    "form",
    default="svg",
    show_default=True,
    type=click.Choice(["svg", "dot", "mermaid", "json"]),
    help="svg: pictures, and index.html that shows them all; the others are for programs that draw.",
)
def graph(routing: Path, company: str | None, flows: tuple[str, ...], output: Path, form: str) -> None:
    """Draw the flows of a company: each step with what it says and whom it rings, each edge with its outcome.

    ROUTING is a company's file, or a directory of companies. Nothing but this program is needed, and no network. The
    same routing gives the same bytes, so pictures can be kept and compared.
    """
    from callcontrol.workbench import drawing
    from callcontrol.workbench import graph as graphs

    draw = {"svg": drawing.svg, "dot": graphs.dot, "mermaid": graphs.mermaid, "json": graphs.data}[form]
    known = one_company(routing, company)
    unknown = [name for name in flows if name not in known.flows]
    if unknown:
        raise click.UsageError(f"There is no flow {unknown[0]!r}; there is: {', '.join(known.flows)}")
    pictures = graphs.pictures(known, dict.fromkeys(flows) or None)
    if str(output) == "-":
        if len(pictures) != 1:
            raise click.UsageError(f"One picture can be printed: name it with --flow: {', '.join(known.flows)}")
        click.echo(draw(pictures[0]), nl=False)
        return
    if form == "svg":
        files = drawing.files(pictures)
    else:
        files = {f"{picture.flow}.{form.replace('mermaid', 'mmd')}": draw(picture) for picture in pictures}
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text, encoding="utf-8", newline="\n")
            click.echo(output / name)
    except OSError as error:
        click.echo(f"cordboard: {output} cannot be written: {error.strerror}", err=True)
        sys.exit(3)


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
