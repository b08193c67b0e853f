"""The command ``cordboard``.  Thin: every subject has its own module, this one only talks to people."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from callcontrol import options as o
from callcontrol import settings as s

#: Commands of the workbench, the workers and the web, loaded when they are asked for.  Call control does not import
#: workers and web, so they are named here.
_ELSEWHERE: dict[str, str] = {
    "backfill": "workers.failures.cli:backfill",
    "backup": "workers.backup.cli:backup",
    "calls": "workers.journal.cli:calls",
    "diff": "workers.journal.diffing:diff",
    "endpoints": "workers.delivery.cli:endpoints",
    "events": "webhooks.events.cli:events",
    "explain": "callcontrol.workbench.cli:explain",
    "failed": "workers.failures.cli:failed",
    "graph": "callcontrol.workbench.cli:graph",
    "journal": "workers.journal.cli:journal",
    "new": "callcontrol.workbench.cli:new",
    "preview": "callcontrol.workbench.cli:preview",
    "recordings": "workers.recordings.cli:recordings",
    "rehearse": "callcontrol.workbench.cli:rehearse",
    "replay": "workers.delivery.cli:replay",
    "restore": "workers.backup.cli:restore",
    "retry": "workers.failures.cli:retry",
    "schema": "callcontrol.workbench.cli:schema",
    "tokens": "webhooks.app.cli:tokens",
    "try": "callcontrol.workbench.cli:try_",
    "web": "webhooks.app.cli:web",
    "why": "workers.journal.cli:why",
    "work": "workers.cli:work",
}


_EXIT_CODES = "Exit codes: 0 fine, 1 problems in files, or refused, 2 usage, 3 cannot start, or nobody answers."


@click.group(
    cls=o.Group,
    elsewhere=_ELSEWHERE,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
)
@click.version_option(package_name="cordboard", message="cordboard %(version)s")
def main() -> None:
    """Cordboard: a cloud PBX you can read.

    A company's telephone routing is one YAML file. Check it, rehearse it, serve it.
    """


@main.command(short_help="Say what is wrong in companies' files.")
@o.routing(allow_dash=True)
@o.ONLY_COMPANY
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="A line for each problem; one object with all; or lines by which GitHub marks them in a change.",
)
def check(routing: Path, company: str | None, form: str) -> None:
    """Say what is wrong in ROUTING, with file, line and column.

    ROUTING is a company's file, a directory of companies, or - for a file from the standard input, whose sounds are
    not looked for; without it CORDBOARD_ROUTING, else routing. One line is one problem; nothing means that all is
    well. Warnings do not change the exit code. `cordboard explain` tells more of a code. Rehearsals are read here, and
    walked by `cordboard rehearse`; a company of which one fails does not go live.
    """
    from callcontrol.routing import files
    from callcontrol.routing.load import LoadError
    from callcontrol.speech import unplayable
    from callcontrol.workbench import reporting

    today = dt.date.today()
    try:
        if str(routing) == "-":
            problems = files.check_bytes(sys.stdin.buffer.read(files.MOST_BYTES), today=today)
        elif routing.is_dir():
            problems = files.check_directory(routing, company=company, listen=unplayable, today=today)
        else:
            files.load_all(routing, company)
            problems = files.check_file(routing, listen=unplayable, today=today)
    except LoadError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(2)
    click.echo(reporting.FORMATS[form](problems), nl=False)
    if said := reporting.verdict(problems):
        click.echo(said, err=True)
    sys.exit(1 if said else 0)


@main.command(short_help="Print the manual of routing, settings and commands.")
def manual() -> None:
    """Print the manual: every step, section, value, problem, command and setting, as Markdown."""
    from callcontrol.manual import manual as whole

    click.echo(whole(), nl=False)


@main.command(short_help="Make the phones' passwords.")
@click.argument("directory", type=o.DIRECTORY, envvar="CORDBOARD_ROUTING", required=False)
@o.CONFIG
@o.DOMAIN
@click.option("--show", nargs=2, metavar="COMPANY EXTENSION", help="Print what to put into one telephone.")
@click.option("--new", nargs=2, metavar="COMPANY EXTENSION", help="Replace one password.")
@click.option("--forget-gone", is_flag=True, help="Remove those of phones that are not in routing any more.")
def passwords(
    directory: Path | None,
    config: Path,
    domain: str,
    show: tuple[str, str] | None,
    new: tuple[str, str] | None,
    forget_gone: bool,
) -> None:
    """Make a password for every extension in DIRECTORY that has none. Those that are there stay as they are.

    They stand in passwords.yaml beside cordboard.yaml, readable by its owner only, and are printed by --show alone.
    """
    from callcontrol import directory as phones

    if sum((show is not None, new is not None, forget_gone)) > 1:
        raise click.UsageError("--show, --new and --forget-gone are three things: ask for one.")
    try:
        path = s.read_config(config.resolve()).passwords
        if show is not None:
            code = phones.show_password(path, s.domain(domain), *show, click.echo)
        elif new is not None:
            code = phones.renew_password(path, *new, click.echo)
        elif directory is not None:
            code = phones.make_passwords(directory, path, click.echo, forget=forget_gone)
        else:
            raise click.UsageError("Missing argument 'DIRECTORY': where the companies' YAML files are.")
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)
    sys.exit(code)


@main.command(short_help="Take calls from your switches.")
@o.setting("routing", None, "Directory of the companies' YAML files.", type=o.DIRECTORY)
@o.setting("listen", s.LISTEN, "Where switches bring their calls: host:port.")
@o.REDIS
@o.CONFIG
@o.setting("peers", s.PEERS, "Networks that switches may connect from, separated by commas.")
@o.STATE
@o.setting("sounds", "", "Directory of the companies' sounds; by default ROUTING/sounds.")
@o.SPOOL
@o.setting("processes", "0", "Controller processes; 0: one per core.", type=click.IntRange(0, 64))
@o.DOMAIN
@click.option("--clock-offset", envvar="CORDBOARD_CLOCK_OFFSET", type=float, default=0.0, hidden=True)
@click.option("--child", type=int, hidden=True)
@o.TRY
def serve(child: int | None, attempt: bool, **given: Any) -> None:
    """Take the calls that switches bring, and walk each through its company's routing.

    SIGHUP publishes the directory again (see cordboard reload), SIGTERM hands every call over and stops, SIGUSR2
    replaces the processes one by one, by those of the next release if there is one (see cordboard upgrade).
    """
    if child is not None:
        from gevent import monkey

        monkey.patch_all()
    from callcontrol import serving

    try:
        sys.exit(serving.run(_settings(child=child, **given), child, attempt=attempt))
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)


@main.command(short_help="Publish what was changed, and say what came of it.")
@o.setting("state", "state", "Directory for versions and facts of the server.", type=click.Path(path_type=Path))
@click.option("--wait", default=600.0, show_default=True, help="Seconds to wait.", type=click.FloatRange(0))
def reload(state: Path, wait: float) -> None:
    """Have the running server read its directory and its cordboard.yaml again.

    A file with errors changes nothing: its company keeps the version it has. Live calls stay on theirs. Prints the
    problems as check does, then the companies that changed, and ends when every process has the new versions. What is
    pinned is left alone, and said; that is no failure.
    """
    from callcontrol.reload import reload as ask

    sys.exit(ask(state.resolve(), wait, _say, _complain))


_WAIT = click.option("--wait", default=600.0, show_default=True, help="Seconds to wait.", type=click.FloatRange(0))


@main.command(short_help="Publish, after saying what changes and asking what must be asked.")
@o.STATE
@click.option("--company", "companies", multiple=True, help="Only this company; may be given several times.")
@click.option("--why", default="", help="Why, for those who wonder later.")
@click.option("--yes", is_flag=True, help="Do not ask: withdraw, rename and move as it is shown; pins stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@_WAIT
def publish(state: Path, companies: tuple[str, ...], why: str, yes: bool, dry_run: bool, wait: float) -> None:
    """Make live what is in the running server's directory, at once and for every company, or for none.

    Checks it, walks the rehearsals, and prints the problems, the companies that change and the numbers they gain and
    lose. cordboard diff says what callers would notice. A company with errors keeps the version it has. A company
    that is gone or renamed, and numbers that move from one company to another, are asked about: on a terminal, or
    with --yes; a reload leaves them as they are. A company that a rollback pinned is published by its name only, which
    ends the pin: with --company, or by a yes on a terminal, where each is asked about; --yes does not end it. Live
    calls stay on their version. cordboard.yaml is not read again by controllers: cordboard reload.
    """
    from callcontrol.release import Asker

    confirm = _confirm if sys.stdin.isatty() and sys.stderr.isatty() else None
    asker = Asker(state.resolve(), _who(), wait, _say, _complain)
    sys.exit(asker.publish(_names(companies), _reason(why), yes=yes, dry_run=dry_run, confirm=confirm))


@main.command(short_help="Bring back an earlier version of a company, and pin it.")
@click.argument("company")
@click.argument("version", required=False, default="")
@o.STATE
@click.option("--why", required=True, help="Why, for those who wonder later.")
@_WAIT
def rollback(company: str, version: str, state: Path, why: str, wait: float) -> None:
    """Make VERSION of COMPANY what new calls get: the one before, or the one whose name so begins.

    The company is pinned to it: a start, a reload and SIGHUP leave it alone and say so, whatever its file says, until
    cordboard publish --company COMPANY, or a yes when cordboard publish asks on a terminal. No file is changed. Live
    calls stay on their version. cordboard versions COMPANY lists the versions that there are. Refused, with the reason,
    is a version that this program cannot read, whose speech is not there any more, or one of whose numbers another
    company has by now.
    """
    from callcontrol.release import Asker

    if not re.fullmatch(r"[0-9a-f]{0,16}", version):
        raise click.UsageError("VERSION is the beginning of a version's name: digits and the letters a to f.")
    asker = Asker(state.resolve(), _who(), wait, _say, _complain)
    sys.exit(asker.rollback(_names([company])[0], version, _reason(why)))


@main.command(short_help="Say what is live, and what every process runs.")
@click.argument("company", required=False, default="")
@o.STATE
@o.REDIS
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
def versions(company: str, state: Path, redis: str, as_json: bool) -> None:
    """List what is live of every company; with COMPANY, what was live when, by whom and why.

    Below stands what every controller of every machine has loaded, asked of Redis; a ! marks those that have other
    versions than were published here, and another program than that of this command is named. When Redis does not
    answer, only this machine's processes are told of.
    """
    from callcontrol import history, outcomes, running, version_views
    from callcontrol.queue_views import shown
    from callcontrol.reload import cannot_ask
    from callcontrol.routing.packing import program
    from callcontrol.versions import VersionStore

    try:
        outcome = outcomes.read_outcome(state)
        records = history.read(state, outcome.record if outcome else None)
        told = running.reports(redis)
        reports = None if told is None else running.living(told, state.resolve())
    except OSError as error:
        click.echo(f"cordboard: {cannot_ask(state, error)}", err=True)
        sys.exit(3)
    except ValueError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)
    stored = VersionStore(state).versions(company)
    found = version_views.versions(
        outcome, records, reports, outcomes.acknowledged(state), program(), company=company, stored=stored
    )
    if company and not found["history"] and not found["companies"][0]["version"]:
        click.echo(f"cordboard: nothing is known of a company {shown(company)} in {state}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for part in version_views.lines(found):
        _show(part)


def _say(text: str) -> None:
    """A line of what a server wrote: text of files, and of other people, that may not move the cursor."""
    from callcontrol.queue_views import shown

    click.echo(shown(text))


def _complain(text: str) -> None:
    """The same, to stderr."""
    from callcontrol.queue_views import shown

    click.echo(shown(text), err=True)


def _confirm(question: str) -> bool:
    """Ask on the terminal; Ctrl-C and Ctrl-D are a no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        return False


def _names(companies: Sequence[str]) -> list[str]:
    """Companies as they were typed, or an end: nothing else may stand in a request."""
    for company in companies:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", company):
            raise click.UsageError(f"{company!r} is no company: a small letter, then small letters, digits or -.")
    return list(dict.fromkeys(companies))


def _reason(why: str) -> str:
    """A reason as it was typed, or an end."""
    if len(why) > 500 or not why.isprintable():
        raise click.UsageError("--why is one line of 500 characters at most.")
    return why.strip()


@main.command(short_help="Say what runs here, and of which release.")
@o.STATE
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
def processes(state: Path, as_json: bool) -> None:
    """Say which processes of Cordboard run on this machine with STATE, and of which release each is."""
    from callcontrol import processes
    from callcontrol import queue_views as views

    found = processes.everybody(state.resolve())
    if as_json:
        fields = ("role", "pid", "release", "where", "since", "process")
        _print([{name: getattr(one, name) for name in fields} for one in found], True, str)
    elif not found:
        click.echo(f"nothing runs with the state directory {state}")
    else:
        rows = tuple((one.role, str(one.pid), one.release, one.where) for one in found)
        _print(found, False, lambda: views.Table(("ROLE", "PID", "RELEASE", "OF"), rows))


@main.command(short_help="Take no more calls here; hand over what there is.")
@o.STATE
@o.SPOOL
@o.REDIS
@o.CONFIG
@click.option("--all", "everything", is_flag=True, help="End work and web as well, once nothing is left to them here.")
@click.option("--wait", default=30.0, show_default=True, help="Seconds to wait.", type=click.FloatRange(0, 3600))
def drain(state: Path, spool: Path, redis: str, config: Path, everything: bool, wait: float) -> None:
    """Have serve of this machine hand every call to other controllers and stop, and say what became of them.

    With --all the machine can be taken away: work goes on until facts and recordings that only this machine has are
    gone from it, and ends with web. Exit code 1 says that something remains, or that nobody else takes calls.
    """
    from callcontrol.machine import drain as ask

    def complain(text: str) -> None:
        click.echo(text, err=True)

    sys.exit(ask(state.resolve(), spool.resolve(), redis, _switches(config), wait, everything, click.echo, complain))


@main.command(short_help="Have what runs here become the next release.")
@o.STATE
@click.option("--wait", default=600.0, show_default=True, help="Seconds to wait.", type=click.FloatRange(0))
def upgrade(state: Path, wait: float) -> None:
    """Have serve, work and web of this machine become the release that their program's name leads to now.

    Each tries it first, in a process of its own: what cannot start replaces nobody. Then they go over to it, one after
    the other, without losing a call. scripts/UPGRADE.md tells the whole way, there and back.
    """
    from callcontrol.machine import upgrade as ask

    sys.exit(ask(state.resolve(), wait, click.echo, lambda text: click.echo(text, err=True)))


@main.group(short_help="Say what agents do; log them in and out.", invoke_without_command=True)
@o.REDIS
@o.CONFIG
@click.option("--company", default="", help="Only this company's agents.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@click.pass_context
def agents(context: click.Context, redis: str, config: Path, company: str, as_json: bool) -> None:
    """Say what every agent does just now.

    An agent is logged in until they log out; one who paused stays logged in and is not rung. What the subcommands do
    holds for all queues of the agent.
    """
    if context.invoked_subcommand is not None:
        for option in context.params:  # one that stands here would be thought to hold for what follows
            if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"Options stand after {context.invoked_subcommand}.")
        return
    from callcontrol import queue_views as views

    answer: Any = _asked(redis, config, "agent.list", company=company)
    _print(answer, as_json, lambda: views.agents_table(answer) if answer["agents"] else "there are no agents")


def _agent_command(verb: str, help_: str) -> None:
    """``cordboard agents log-in`` and its like."""

    @agents.command(verb.replace("_", "-"), short_help=help_, help=help_)
    @click.argument("company")
    @click.argument("extension")
    @click.option("--reason", default="", help="Why, for those who wonder.")
    @o.REDIS
    @o.CONFIG
    def command(company: str, extension: str, reason: str, redis: str, config: Path) -> None:
        from callcontrol import queue_views as views

        answer: Any = _asked(redis, config, f"agent.{verb}", company=company, agent=extension, reason=reason)
        click.echo(views.agent_set(answer))


_agent_command("log_in", "Log an agent in: their telephones ring for the callers of their queues.")
_agent_command("log_out", "Log an agent out. A talk that they have goes on.")
_agent_command("pause", "Pause an agent: they stay logged in, and are not rung. A talk that they have goes on.")
_agent_command("resume", "Have an agent who paused rung again.")


@main.command(short_help="Say who waits in queues, and why.")
@click.argument("name", required=False)
@o.REDIS
@o.CONFIG
@click.option("--company", default="", help="Only this company's queues.")
@click.option("--why", is_flag=True, help="For each caller: why each agent was or was not rung just now.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data; always with the reasons.")
def queue(name: str | None, redis: str, config: Path, company: str, why: bool, as_json: bool) -> None:
    """List the queues; with NAME, those who wait in one, in their order."""
    from callcontrol import queue_views as views

    answer: Any
    if name is None:
        if why:
            raise click.UsageError("--why is about one queue: name it.")
        answer = _asked(redis, config, "queue.show", company=company)
        _print(answer, as_json, lambda: views.queues_table(answer) if answer["queues"] else "there are no queues")
        return
    if not company:
        found = _asked(redis, config, "queue.show", queue=name)["queues"]
        owners = sorted({views.shown(row["company"]) for row in found})
        if not owners:
            click.echo(f"cordboard: no company has a queue {views.shown(name)}", err=True)
            sys.exit(1)
        if len(owners) > 1:
            raise click.UsageError(
                f"Several companies have a queue {name}: name one with --company: {', '.join(owners)}"
            )
        company = owners[0]
    answer = _asked(redis, config, "queue.why", company=company, queue=name)
    if as_json:
        _print(answer, True, str)
        return
    click.echo(views.why_title(answer))
    if why:
        click.echo("\n".join(views.why_lines(answer)), nl=bool(answer["callers"]))
    elif answer["callers"]:
        _print(answer, False, lambda: views.callers_table(answer))
    if more := views.left_out(answer):
        click.echo(more)


@main.command(short_help="List the live calls.")
@o.REDIS
@o.CONFIG
@click.option("--company", default="", help="Only this company's calls.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as data, a list with an answer of each switch.")
def live(redis: str, config: Path, company: str, as_json: bool) -> None:
    """List the calls that live just now on every switch, the longest first.

    In which flow and step a call is, is told of those that the controller which answers has itself.
    """
    from callcontrol import call_views as views

    answers: Any = [_asked(redis, config, "call.list", switch=switch, company=company) for switch in _switches(config)]
    _print(answers, as_json, lambda: views.calls_table(answers) if _any(answers) else "there are no calls")
    if not as_json and (more := views.left_out(answers)):
        click.echo(more)


@main.command("hang-up", short_help="End a call.")
@click.argument("company")
@click.argument("call")
@o.REDIS
@o.CONFIG
def hang_up(company: str, call: str, redis: str, config: Path) -> None:
    """End the CALL of COMPANY, as cordboard live names it, whatever it is doing: a talk too."""
    _asked_somewhere(redis, config, "call.hang_up", company=company, call=call)
    click.echo(f"{call} is hung up")


@main.command("call", short_help="Ring a person, then whom they want.")
@click.argument("company")
@click.argument("extension")
@click.argument("number")
@o.REDIS
@o.CONFIG
def place(company: str, extension: str, number: str, redis: str, config: Path) -> None:
    """Ring the telephone of EXTENSION; once it is answered it calls NUMBER, as if that had been dialled there.

    Prints the id of the call. NUMBER is whatever the telephone may dial: an extension, a code, a number outside.
    """
    answer = _asked_somewhere(redis, config, "call.place", company=company, extension=extension, to=number)
    click.echo(answer["call"])


def _any(answers: Any) -> bool:
    return any(answer["calls"] for answer in answers)


def _switches(config: Path) -> list[str]:
    """The names of the switches, or an end with what is wrong."""
    try:
        return [switch.name for switch in s.read_config(config.resolve()).switches]
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)


def _asked_somewhere(redis: str, config: Path, verb: str, **arguments: Any) -> Any:
    """The answer of the first switch whose controllers do not refuse: a telephone is at one, and so is a call."""
    *others, last = _switches(config)
    for switch in others:
        answer = _asked(redis, config, verb, switch=switch, may_refuse=True, **arguments)
        if answer is not None:
            return answer
    return _asked(redis, config, verb, switch=last, **arguments)


def _asked(redis: str, config: Path, verb: str, *, switch: str = "", may_refuse: bool = False, **arguments: str) -> Any:
    """The answer to a command, or an end with what is wrong.  Empty arguments are not sent.

    Queues and agents are in Redis, so the controllers of any ``switch`` can tell of them: the first is asked.
    ``may_refuse``: None if it is refused, since another may not.
    """
    from callcontrol import commands
    from callcontrol.queue_views import shown

    try:
        switch = switch or s.read_config(config.resolve()).switches[0].name
        given = {name: value for name, value in arguments.items() if value}
        return commands.ask(redis, switch, verb, given, by=_who())
    except commands.Refused as error:
        if may_refuse:
            return None
        click.echo(f"cordboard: {shown(str(error))}", err=True)
        sys.exit(1)
    except commands.CommandError as error:
        click.echo(f"cordboard: {shown(str(error))}", err=True)
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
    sys.exit(3)


def _who() -> str:
    """Who asks, as facts and the history tell it: whoever became root to do it, if that is known."""
    try:
        name = (os.environ.get("SUDO_USER") if os.geteuid() == 0 else "") or getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        name = str(os.getuid())
    return "".join(c if c.isprintable() else "?" for c in f"{name[:60]} on the command line")


def _print(answer: Any, as_json: bool, text: Callable[[], Any]) -> None:
    """An answer as data, or its text or table."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    _show(text())


def _show(table: Any) -> None:
    """Text or a table: in colours on a terminal, else as plain columns."""
    from callcontrol import queue_views as views

    if isinstance(table, str):
        click.echo(table)
    elif sys.stdout.isatty():
        _colourful(table)
    else:
        click.echo("\n".join(views.plain(table)))


def _colourful(table: Any) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from callcontrol.queue_views import fitted

    console = Console()
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head, width in zip(table.head, fitted(table, console.width), strict=True):
        shown.add_column(head, overflow="fold", width=width)
    for cells, colour in zip(table.rows, table.colours, strict=True):
        shown.add_row(*map(Text, cells), style=colour)  # Text: brackets in a name are no markup
    console.print(shown)


def _settings(child: int | None, **given: Any) -> s.Settings:
    from callcontrol.upgrading import taking_over

    config, state = given["config"].resolve(), given["state"].resolve()
    routing = given["routing"].resolve()
    sounds = Path(given["sounds"]).resolve() if given["sounds"] else routing / "sounds"
    for name, path in (("sounds", sounds), ("spool", given["spool"].resolve()), ("state", given["state"].resolve())):
        s.switch_path(name, path)
    return s.Settings(
        routing=routing,
        listen=s.address(given["listen"]),
        redis=given["redis"],
        config=_config_again(config, state) if child is not None or taking_over() else s.read_config(config),
        peers=s.networks(given["peers"]),
        state=state,
        sounds=sounds,
        spool=given["spool"].resolve(),
        processes=given["processes"] or os.cpu_count() or 1,
        domain=s.domain(given["domain"]),
        clock_offset=given["clock_offset"],
        config_path=config,
    )


def _config_again(path: Path, state: Path) -> s.Config:
    """Who is started again, or takes over, must start, also while somebody edits cordboard.yaml."""
    try:
        return s.read_config(path)
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}; going by what it said before", err=True)
        return s.kept_config(path, state)


if __name__ == "__main__":
    main()
