"""``cordboard work``: everything that calls leave behind is done by its processes.

=======================  ===================================================================================
``journal``              facts into rows
``delivery-1`` …         webhooks
``mail``                 mail
``recordings-<switch>``  the spool of a switch on this machine
``watcher``              rings for the journal when facts come
``sweeper``              rings each second for what is due
``housekeeper``          what is to be done each minute or hour
=======================  ===================================================================================
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from callcontrol import options as o
from callcontrol import settings as s

if TYPE_CHECKING:
    from callcontrol.systemd import Systemd
    from callcontrol.upgrading import Program, Trial
    from workers.context import Context
    from workers.journal.database import Database

#: Seconds that a database may be away at the start before we give up.
PATIENCE = 30.0


@click.command(short_help="Do what calls leave behind: journal, webhooks, mail, recordings.")
@o.REDIS
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
@o.setting("recordings", "", "Switches whose SPOOL is on this machine, or none; may be left out if there is one.")
@o.setting("deliveries", "2", "Processes that deliver webhooks.", type=click.IntRange(0, 64))
@o.TRY
def work(
    redis: str,
    config: Path,
    database: str,
    state: Path,
    spool: Path,
    recordings: str,
    deliveries: int,
    attempt: bool,
) -> None:
    """Bring facts into the journal, deliver webhooks, send mail, and store recordings.

    May run on several machines; what is lost with one of its processes, the others do again. SIGTERM lets every
    process finish what it has in hand, SIGHUP has cordboard.yaml read again, SIGUSR2 makes it the next release.
    """
    from callcontrol.serving import configure_logs

    configure_logs()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until somebody listens
    try:
        paths = config.resolve(), database, state.resolve(), spool.resolve()
        sys.exit(run(redis, *paths, recordings, deliveries, attempt=attempt))
    except s.SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)


def run(
    redis: str,
    config: Path,
    database: str,
    state: Path,
    spool: Path,
    recordings: str,
    deliveries: int,
    *,
    attempt: bool = False,
) -> int:
    """Prepare the database, and keep the processes until told to stop; ``attempt``: only see whether that can be.

    Returns 0.  Raises SettingsError.
    """
    from callcontrol import processes as who
    from callcontrol import upgrading
    from callcontrol.supervisor import process_name
    from callcontrol.systemd import Systemd
    from workers import bell, running
    from workers.context import Context
    from workers.journal.database import Database, default_url

    try:
        spool.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise s.SettingsError(f"{error.filename}: {error.strerror or error}") from None
    read = s.read_config(config)
    context = Context(
        config=read,
        redis_url=redis,
        database=Database(database or default_url(state)),
        state=state,
        spool=spool,
        name=process_name(),
    )
    _check_redis(redis)
    switches = _switches(read, recordings)
    _prepare(context.database)
    for dotted in bell.JOBS.values():
        importlib.import_module(dotted.rpartition(".")[0])
    if attempt:
        return 0
    before = upgrading.handed_over()
    if before:
        _log().info("this is the next release", release=who.release())
    who.announce(state, "work")
    gc.collect()
    gc.freeze()  # what is loaded stays one copy for all that are forked

    def again() -> dict[str, Callable[[], object]] | None:
        try:
            new = s.read_config(config)
            return _roles(replace(context, config=new), _switches(new, recordings), deliveries)
        except s.SettingsError as error:
            _log().error("cordboard.yaml cannot be used: what it said before goes on", why=str(error))
            return None

    systemd = Systemd.of_environment()
    succession = _Succession(upgrading.Program(before["named"] if before else None), systemd)
    try:
        return running.keep(_roles(context, switches, deliveries), again, systemd=systemd, succession=succession)
    finally:
        who.withdraw(state)


class _Succession:
    """How the next release takes the place of this one (``running.Succession``)."""

    def __init__(self, program: Program, systemd: Systemd) -> None:
        self._program = program
        self._systemd = systemd
        self._next = program.pinned

    def prepare(self) -> Trial:
        from callcontrol.upgrading import Trial

        self._next = self._program.next()
        return Trial(self._next, sys.argv[1:])

    def execute(self) -> None:
        from callcontrol import upgrading

        try:
            upgrading.execute(self._next, sys.argv[1:], {"named": self._program.named}, self._systemd.environment)
        except OSError as error:
            _log().error("the next release cannot be run", error=str(error))


def _roles(context: Context, switches: Sequence[str], deliveries: int) -> dict[str, Callable[[], object]]:
    """What there is to do, by name.  Each function runs in a process of its own."""
    queues = {"journal": "journal", **{f"delivery-{i}": "delivery" for i in range(1, deliveries + 1)}, "mail": "mail"}
    queues |= {name: name for name in (f"recordings-{switch}" for switch in switches)}
    roles: dict[str, Callable[[], object]] = {
        role: partial(_answer, context, role, queue) for role, queue in queues.items()
    }
    return roles | {
        "watcher": partial(_watch, context),
        "sweeper": partial(_sweep, context, switches),
        "housekeeper": partial(_keep_house, context),
    }


def _own(context: Context, role: str) -> Context:
    """This process's own context: no connection is inherited over a fork."""
    from callcontrol.processes import announce
    from workers.context import use

    announce(context.state, role)
    context.database.renew()
    own = replace(context, name=f"{context.name}-{role}-{os.getpid()}", _redis=None, _published=None)
    use(own)
    return own


def _answer(context: Context, role: str, queue: str) -> None:
    from workers.answering import answer

    answer(_own(context, role).redis_url, queue)


def _watch(context: Context) -> None:
    from callcontrol.processes import announce
    from workers.sweeping import watch

    announce(context.state, "watcher")
    watch(context.redis_url)


def _sweep(context: Context, switches: Sequence[str]) -> None:
    from workers.sweeping import Sweeper

    Sweeper(_own(context, "sweeper"), switches, context.name).run()


def _keep_house(context: Context) -> None:
    from workers.sweeping import Housekeeper

    Housekeeper(_own(context, "housekeeper")).run()


def _switches(config: s.Config, said: str) -> list[str]:
    """The switches whose spool is here.  Raises SettingsError."""
    known = [switch.name for switch in config.switches]
    if said == "none":
        return []
    if not said:
        if len(known) > 1:
            raise s.SettingsError(
                "there are several switches: name those whose spool is on this machine with --recordings, or none"
            )
        return known
    wanted = [name for name in re.split(r"[\s,]+", said) if name]
    unknown = sorted({*wanted} - {*known})
    if unknown:
        raise s.SettingsError(f"recordings: there is no switch {unknown[0]}; there are {', '.join(known)}")
    return wanted


def _check_redis(url: str) -> None:
    """Whether it is an address; Redis itself may come later.  Raises SettingsError."""
    from callcontrol.switchboard import connect

    try:
        connect(url, name="work").close()
    except ValueError as error:
        raise s.SettingsError(f"redis: {error}") from None


def _prepare(database: Database) -> None:
    """Bring the database up to date, and leave no connection to it.  Raises SettingsError."""
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    from workers.journal.migrating import migrate

    deadline, said = time.monotonic() + PATIENCE, False
    while True:
        try:
            migrate(database)
            return
        except OperationalError as error:
            if database.is_sqlite or time.monotonic() > deadline:
                raise s.SettingsError(f"the database cannot be used: {error.orig or error}") from None
            if not said:
                said = True
                _log().warning("the database is away: waiting for it", error=str(error.orig or error)[:300])
            time.sleep(1.0)
        except (SQLAlchemyError, OSError) as error:
            raise s.SettingsError(f"the database cannot be used: {error}") from None
        finally:
            database.close()


def _log() -> Any:
    return structlog.get_logger("work")
