"""Commands of the operator's workbench: they read routing, and tell.  Thin: each only talks to people."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callcontrol import options as o

if TYPE_CHECKING:
    from callcontrol.routing.load import Loaded
    from callcontrol.routing.model import Routing
    from callcontrol.workbench.scaffold import Draft
    from callcontrol.workbench.trying import Wanted


@click.command(short_help="Walk whole calls without a telephone.")
@o.ROUTING
@o.ONLY_COMPANY
@click.option("--name", default="", metavar="PART", help="Only those with this in their name.")
@click.option("--verbose", is_flag=True, help="Tell each walk: what is heard, who rings, and why.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="json: one object, as of check; github: lines by which GitHub marks failures.",
)
def rehearse(routing: Path, company: str | None, name: str, verbose: bool, form: str) -> None:
    """Walk the rehearsals of ROUTING: no telephone, no switch.

    ROUTING is a company's file, or a directory of companies; without it CORDBOARD_ROUTING, else routing. Rehearsals
    stand in the section rehearsals of the company's file, and in rehearsals/<company>/*.yaml beside it. A failed one
    stands with the expected and the real journey side by side, and changes the exit code. Publishing walks them too: a
    company whose rehearsal fails keeps the version that it has.
    """
    from callcontrol.routing.load import LoadError
    from callcontrol.workbench.rehearse import rehearse_all

    try:
        sys.exit(rehearse_all(routing, company, click.echo, name=name, verbose=verbose, form=form))
    except LoadError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(2)


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

    ROUTING is a company's file, or a directory of companies; without it CORDBOARD_ROUTING, else routing. Whatever is
    left out is asked for on the terminal, when the call comes to it; ? shows the answers, Ctrl-D ends. First letters
    will do. At the end the walk is printed as a rehearsal, ready to be pasted.
    """
    from callcontrol.routing.model import on_one_line
    from callcontrol.workbench import keeping, trying

    name = more.pop("save")
    whole = one_company(routing, company)
    try:
        said = trying.said(caller=caller, called=called, at=at, country=whole.country, **more)
        now = trying.local_now(whole, time.time())
        tried = trying.Trying(whole, said, now=now, ask=_ask, say=click.echo).run()
    except trying.Stopped as stopped:
        sys.exit(_stopped(stopped.wanted))
    except trying.Wrong as error:
        raise click.UsageError(on_one_line(str(error))) from None
    click.echo(f"           ends: {tried.end}")
    title = name or trying.named(whole, tried.rehearsal)
    text = tried.text(title)
    file = routing if routing.is_file() else routing / f"{whole.company}.yaml"
    if name is None:
        click.echo(f"\nAs a rehearsal, for a file in {file.parent / 'rehearsals' / file.stem}:\n\n{text}", nl=False)
        return
    try:
        kept_in = keeping.keep_rehearsal(file, title, text)
    except (trying.Wrong, OSError) as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(1)
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
    return 2


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


_MOMENT = click.DateTime(formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])


@click.command(short_help="When a number opens and closes next.")
@click.argument("given", nargs=-1, metavar="[ROUTING] [NUMBER]...")
@click.option("--routing", envvar="CORDBOARD_ROUTING", default="routing", hidden=True, type=click.Path(path_type=Path))
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
    given: tuple[str, ...],
    routing: Path,
    company: str | None,
    start: dt.datetime | None,
    count: int,
    switches: tuple[str, ...],
    as_: str,
) -> None:
    """Say when what a caller meets changes, for each NUMBER, or all of the company's.

    ROUTING is a company's file, or a directory of companies; without it CORDBOARD_ROUTING, else routing: what begins
    with + is a number, and so is what is no file or directory but has digits. Each line has the local time, what begins
    and for how long, and why that day is special: a public holiday, a date of the file, a change of the clocks. It is
    told for a caller on no list.
    """
    from callcontrol import policy
    from callcontrol.routing.countries import holiday_names
    from callcontrol.routing.hours import instant
    from callcontrol.workbench import preview as ahead

    numbers = given
    if given and not given[0].startswith("+") and (Path(given[0]).exists() or not any(map(str.isdigit, given[0]))):
        routing, numbers = Path(given[0]), given[1:]
    if not routing.exists():
        raise click.UsageError(
            f"there is no file or directory {routing}: name ROUTING, then numbers like +74951234567."
        )
    found = one_company(routing, company)
    wanted: list[str] = []
    for number in numbers or found.numbers:
        known = number if number in found.numbers else policy.e164(number, found.country)
        if known is None or known not in found.numbers:
            there = ", ".join(found.numbers) or "none"
            raise click.UsageError(f"{found.company} has no number {number}; it has: {there}")
        wanted.append(known)
    on = {}
    for switch in switches:
        name, _, state = switch.partition("=")
        if state not in ("on", "off"):
            raise click.UsageError(f"--switch {switch}: write it as {name or 'NAME'}=on or {name or 'NAME'}=off")
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
@click.option(
    "--company",
    metavar="NAME",
    help="The company, where ROUTING has several; without ROUTING one of CORDBOARD_ROUTING, else routing.",
)
@click.option("--rehearsals", is_flag=True, help="The schema of files of rehearsals beside the company's.")
def schema(routing: Path | None, company: str | None, rehearsals: bool) -> None:
    """Print a JSON Schema of routing files: an editor that knows it completes, explains and marks mistakes.

    Without ROUTING it is that of every company's file. With ROUTING, a company's file or a directory of companies, it
    has the names of one company: its people, steps, queues, hours and sounds, and no others.

    routing/cordboard.schema.json is the one without names, routing/rehearsals.schema.json that of files of
    rehearsals. Editors with the YAML language server take it by the first line of a file, `# yaml-language-server:
    $schema=cordboard.schema.json`, VS Code by its setting `"yaml.schemas": {"routing/cordboard.schema.json":
    "routing/*.yaml"}`, those of JetBrains in their settings, under JSON Schema Mappings.
    """
    from zoneinfo import available_timezones

    from callcontrol.routing.files import sounds_in
    from callcontrol.workbench import schema as made

    if routing is None and company is not None:
        routing = Path(os.environ.get("CORDBOARD_ROUTING", "routing"))
    if routing is None:
        found = made.rehearsals() if rehearsals else made.schema()
    elif rehearsals:
        found = made.rehearsals(one_company(routing, company))
    else:
        known = one_company(routing, company)
        folder = routing if routing.is_dir() else routing.parent
        found = made.schema(known, sounds=sounds_in(folder / "sounds" / known.company), zones=available_timezones())
    click.echo(json.dumps(found, ensure_ascii=False, separators=(",", ":")))


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

    ROUTING is a company's file, or a directory of companies; without it CORDBOARD_ROUTING, else routing. Nothing but
    this program is needed, and no network. The same routing gives the same bytes, so pictures can be kept and compared.
    """
    from callcontrol.routing.model import on_one_line
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
            click.echo(on_one_line(str(output / name)))
    except OSError as error:
        click.echo(f"cordboard: {output} cannot be written: {error.strerror}", err=True)
        sys.exit(1)


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
    from callcontrol.routing.files import COMPANY, load_directory
    from callcontrol.routing.load import LoadError
    from callcontrol.workbench import keeping, scaffold

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
        beside = _schema_beside(file)
        keeping.write_new(file, text)
    except FileExistsError:
        click.echo(f"cordboard: {file} is there already: nothing is changed", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"cordboard: {file} cannot be written: {error.strerror}", err=True)
        sys.exit(1)
    given = [name for name, value in answers.items() if value] if not _asks() else list(scaffold.ANSWERS)
    click.echo(f"Wrote {file}: {scaffold.summary(draft, given)}.")
    if beside:
        click.echo(f"Wrote {beside}: editors with the YAML language server complete and mark by it.")
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


def _schema_beside(file: Path) -> Path | None:
    """Write the schema that a new file names, if it is not there; where."""
    from callcontrol.workbench import keeping, scaffold
    from callcontrol.workbench import schema as made

    beside = file.with_name(scaffold.SCHEMA)
    try:
        keeping.write_new(beside, json.dumps(made.schema(), ensure_ascii=False, separators=(",", ":")) + "\n")
    except FileExistsError:
        return None
    return beside


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


def one_company(path: Path, company: str | None) -> Routing:
    """The routing of one company, or an end with what is wrong in its file."""
    from callcontrol.routing.files import load_company
    from callcontrol.routing.load import LoadError

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
