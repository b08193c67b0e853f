"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callcontrol import options as o
from callcontrol.routing.model import Routing

if TYPE_CHECKING:
    from callcontrol.workbench.trying import Wanted


@click.command(short_help="Walk whole calls without a telephone.")
@click.argument("directory", type=o.DIRECTORY)
@click.option("--company", help="Only this company's rehearsals.")
@click.option("--name", default="", metavar="PART", help="Only those with this in their name.")
@click.option("--verbose", is_flag=True, help="Tell each walk: what is heard, who rings, and why.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="json: one list of objects; github: annotations of those that fail.",
)
def rehearse(directory: Path, company: str | None, name: str, verbose: bool, form: str) -> None:
    """Walk the rehearsals of every company in DIRECTORY: no telephone, no switch.

    They stand in the section rehearsals of the company's file, and in rehearsals/<company>/*.yaml beside it. A failed
    one stands with the expected and the real journey side by side, and changes the exit code. Publishing walks them
    too: a company whose rehearsal fails keeps the version that it has.
    """
    from callcontrol.workbench.rehearse import rehearse_directory

    sys.exit(rehearse_directory(directory, company, click.echo, name=name, verbose=verbose, form=form))


@click.command("try", short_help="Walk one call, and tell it.")
@o.ROUTING
@o.COMPANY
@click.option("--from", "caller", metavar="NUMBER", help="Who calls: a number, an extension, or anonymous.")
@click.option("--to", "called", metavar="NUMBER", help="Which of the company's numbers is called.")
@click.option("--at", metavar="MOMENT", help='When, on the company\'s clocks: "2026-11-23 10:00", 10:00, or now.')
@click.option("--press", multiple=True, metavar="KEYS", help='Keys, once for each prompt that listens; "" is none.')
@click.option("--phone", "phones", multiple=True, metavar="WHO=WORD", help="What a telephone does: 301=answers.")
@click.option("--agent", "agents", multiple=True, metavar="WHO=WORD", help="What an agent does: 301=busy.")
@click.option("--lookup", "lookups", multiple=True, metavar="WHAT", help="STEP=failed, or STEP:VARIABLE=VALUE.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=on|off", help="How a day/night switch stands.")
@click.option("--save", metavar="NAME", help="Keep it as a rehearsal of this name, in rehearsals/<company>/tried.yaml.")
def try_(
    routing: Path, company: str | None, caller: str | None, called: str | None, at: str | None, **more: Any
) -> None:
    """Walk one call through ROUTING and tell it as it goes: no telephone, no switch.

    Whatever is left out is asked for on the terminal, when the call comes to it; ? shows the answers, Ctrl-D ends.
    First letters will do. At the end the walk is printed as a rehearsal, ready to be pasted.
    """
    from callcontrol.workbench import trying

    name = more.pop("save")
    file, whole = _company_file(routing, company)
    try:
        said = trying.said(caller=caller, called=called, at=at, country=whole.country, **more)
        now = trying.local_now(whole, time.time())
        tried = trying.Trying(whole, said, now=now, ask=_ask, say=click.echo).run()
        click.echo(f"           ends: {tried.end}")
        title = name or trying.named(whole, tried.rehearsal)
        text = tried.text(title)
        if name is None:
            click.echo(f"\nAs a rehearsal, for a file in {file.parent / 'rehearsals' / file.stem}:\n\n{text}", nl=False)
            kept_in = None
        else:
            kept_in = _keep(file, title, text)
    except trying.Stopped as stopped:
        sys.exit(_stopped(stopped.wanted))
    except (trying.Wrong, OSError) as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(1)
    if kept_in is not None:
        click.echo(f"\n{text}\nkept in {kept_in}")


def _ask(wanted: Wanted) -> str | None:
    """Ask on the terminal until the answer means something; None at its end, or if there is no terminal."""
    if not sys.stdin.isatty():
        return None
    while True:
        words = ", ".join(
            f"{one.answer} {one.meaning}".strip() if wanted.free else one.answer for one in wanted.choices
        )
        click.echo(f"        ?  {wanted.text}{f' [{words}]' if words else ''} ", nl=False)
        line = sys.stdin.readline()
        if not line:
            click.echo()
            return None
        meant = wanted.meant(line) if line.strip() != "?" else None
        if meant is not None:
            return meant
        if not wanted.choices:
            click.echo("           anything on one line")
        for number, one in enumerate(wanted.choices, 1):
            label = one.answer if wanted.free else f"{number}  {one.answer}"
            click.echo(f"           {label:<16}{one.meaning}".rstrip())


def _stopped(wanted: Wanted) -> int:
    if sys.stdin.isatty():
        click.echo("The walk ends here, and nothing is kept.")
        return 0
    click.echo(f"cordboard: {wanted.text.strip()} Say it: {wanted.option}", err=True)
    words = [one.answer for one in wanted.choices]
    if words:
        click.echo(f"  {'for example' if wanted.free else 'one of'}: {', '.join(words)}", err=True)
    return 1


def _keep(file: Path, name: str, text: str) -> Path:
    """Append a rehearsal to those that were tried, whole or not at all.  Raises Wrong, and OSError."""
    from callcontrol.routing.load import Beside, load_file, read_file, rehearsals_beside, sounds_in
    from callcontrol.versions import write_whole
    from callcontrol.workbench.rehearse import rehearse as walk
    from callcontrol.workbench.trying import Wrong

    path = file.parent / "rehearsals" / file.stem / "tried.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # whoever tries beside us waits, and appends to what we have written
        beside = {one.path: one for one in rehearsals_beside(file)}
        before = beside[str(path)].raw if str(path) in beside else b""
        after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + text.encode()
        beside[str(path)] = Beside(str(path), after, beside[str(path)].problem if str(path) in beside else None)
        raw = read_file(file)
        if not isinstance(raw, bytes):
            raise Wrong(f"{file} has changed, and cannot be read")
        loaded = load_file(file, raw, sounds_in(file.parent / "sounds" / file.stem), tuple(beside.values()))
        errors = [found for found in loaded.problems if found.severity == "error"]
        if loaded.routing is None:
            raise Wrong("it is not kept:\n" + "\n".join(str(found) for found in errors))
        result = walk(loaded.routing, next(one for one in loaded.routing.rehearsals if one.name == name))
        if result.verdict != "passed":
            raise Wrong(f"it is not kept, since it would not pass: {result.reason}")
        write_whole(path.resolve(), after)
    finally:
        os.close(folder)
    return path


def _company_file(path: Path, company: str | None) -> tuple[Path, Routing]:
    whole = one_company(path, company)
    return (path if path.is_file() else path / f"{whole.company}.yaml"), whole


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
