"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callcontrol import options as o

if TYPE_CHECKING:
    from callcontrol.routing.load import Loaded
    from callcontrol.routing.model import Routing
    from callcontrol.workbench.scaffold import Draft


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


@click.command(short_help="Write the first file of a new company.")
@click.argument("company")
@click.option(
    "--directory",
    envvar="CORDBOARD_ROUTING",
    show_envvar=True,
    default="routing",
    show_default=True,
    help="Directory of companies; it is made if it is not there.",
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option("--number", help="The company's telephone number: +74951234567, or as dialled in --country.")
@click.option("--country", help="Two capital letters, such as RU; guessed from the number.")
@click.option("--timezone", help="Such as Europe/Moscow; guessed from the number.")
@click.option("--language", help="What callers hear, such as en; guessed from the country.")
@click.option("--title", help="The company's name; guessed from COMPANY.")
@click.option("--person", help="Who answers calls first.")
@o.CONFIG
def new(company: str, directory: Path, config: Path, **answers: str | None) -> None:
    """Write a small and good file for COMPANY, the id of a new company, and say how to go on.

    What is not given is asked for on a terminal, and guessed elsewhere. An existing file is never touched.
    """
    from callcontrol.routing.load import COMPANY, LoadError, load_directory
    from callcontrol.workbench import scaffold

    today = dt.date.today()
    if not COMPANY.fullmatch(company):
        message = "a company's id is a small letter, then small letters, digits or -, 31 at most"
        raise click.BadParameter(message, param_hint=f"COMPANY {company!r}")
    try:
        others = load_directory(directory) if directory.exists() else []
    except LoadError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(2)
    file = directory / f"{company}.yaml"
    there = [other.path for other in others if other.company == company] or [str(file)] * file.exists()
    if there:
        click.echo(f"cordboard: {there[0]} is there already: nothing is changed", err=True)
        sys.exit(1)
    draft = scaffold.Draft(company)
    for name in sorted(scaffold.ANSWERS, key=lambda name: not (name == "country" and answers[name])):
        draft = _answered(draft, name, answers[name], others, today)  # a country that is given reads the number
    text = scaffold.text(draft, today)
    if found := scaffold.mistakes(draft, today):
        click.echo("\n".join(map(str, found)))
        click.echo("cordboard: that would be a file with problems: nothing is written", err=True)
        sys.exit(1)
    try:
        write_new(file, text)
    except FileExistsError:
        click.echo(f"cordboard: {file} is there already: nothing is changed", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"cordboard: {file} cannot be written: {error.strerror}", err=True)
        sys.exit(3)
    given = [name for name, value in answers.items() if value] if not _asks() else list(scaffold.ANSWERS)
    click.echo(f"Wrote {file}: {scaffold.summary(draft, given)}.")
    if not scaffold.speaks(draft.language):
        click.echo(f"What callers hear is in English there: write it in {draft.language}.")
    place = shlex.quote(str(directory))
    steps = {
        f"check {place}": "what is wrong with it",
        f"rehearse {place}": "its two calls, without a telephone",
        f"passwords {place}": "for its telephones",
        f"serve --routing {place}": "publish it, and take calls; where it runs already: cordboard reload",
    }
    width = max(map(len, steps))
    click.echo("Read it, change it, and then:")
    for command, what in steps.items():
        click.echo(f"  cordboard {command:<{width}}  # {what}")
    if not config.exists():
        click.echo(
            f"There is no {config} here, which serve needs: it names the switches. In Cordboard's own folder make run "
            "writes\none, starts all that belongs to it and says how to start the switch. By hand, the smallest is\n"
            "  switches: [{name: switch1, host: 127.0.0.1, port: 8021, password_file: esl.password}]\n"
            "with the switch's Event Socket password in the file esl.password (chmod 600)."
        )


def _answered(draft: Draft, name: str, given: str | None, others: Sequence[Loaded], today: dt.date) -> Draft:
    """The draft with one more answer: the one given, or one that a person gives, or a guess."""
    from callcontrol.workbench import scaffold

    def with_(value: str) -> Draft:
        value = scaffold.as_written(value, draft.country) if name == "number" else value.strip()
        answered = dataclasses.replace(draft, **{name: value})
        found = scaffold.mistakes(answered, today, of=name)
        problems = [f"{one.code} {one.message}" for one in found]
        if name == "number":
            problems += [
                f"E502 {value} is owned by another company already: {other.numbers[value]}"
                for other in others
                if value in other.numbers
            ]
        if problems:
            raise click.BadParameter(problems[0], param_hint=f"--{name}")
        return answered

    guess = str(getattr(scaffold.guessed(draft), name))
    if given is not None:
        return with_(given)
    if _asks():
        answered: Draft = click.prompt(_QUESTIONS[name], default=guess or None, value_proc=with_)
        return answered
    if not guess:
        raise click.UsageError(f"Say --{name}: {_QUESTIONS[name]}.")
    return with_(guess)


_QUESTIONS = {
    "number": "The company's telephone number, as +74951234567",
    "country": "Country, two capital letters",
    "timezone": "Time zone",
    "language": "Language that callers hear",
    "title": "The company's name",
    "person": "Who answers calls first",
}


def _asks() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def write_new(file: Path, text: str) -> None:
    """Write a file that must not be there, whole or not at all.  Raises FileExistsError, OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unborn = file.with_name(f".{file.name}.{os.getpid()}")  # no company's: it begins with a dot
    try:
        with unborn.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(unborn, file)  # unlike a rename, it replaces nothing
    finally:
        unborn.unlink(missing_ok=True)


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
