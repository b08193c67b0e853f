"""``cordboard serve``: have the directory published, then supervise the controller processes.

The parent has no call and reads no routing: it runs the publisher, at the start and for each reload, and says what
came of it.  The children have calls and never parse YAML.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO, cast

import structlog

from callcontrol import outcomes, processes, upgrading
from callcontrol.planning import pinned_words
from callcontrol.secrets import Secrets
from callcontrol.settings import Settings, SettingsError, keep_config
from callcontrol.supervisor import HEARD_LATE, heartbeat_fd, supervise
from callcontrol.systemd import Systemd
from callcontrol.upgrading import Program, Trial
from callcontrol.versions import VersionStore

#: How long a publication may take, speech included, before it is given up; seconds.
PATIENCE = 3600.0


def _shown(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what could move a terminal or begin a line: much of what is logged came from somebody else."""
    for key, value in fields.items():
        text = value if isinstance(value, str) else None
        if text is not None and not text.isprintable():
            fields[key] = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    return fields


class _Stderr:
    """Standard error that never fails: a log on a full disk must cost lines, not calls."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logs() -> None:
    """One line per event on stderr, key=value: time, level, event, company, call, step."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _shown,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event", "company", "call", "step"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )


def run(settings: Settings, child: int | None, *, attempt: bool = False) -> int:
    """Be the supervisor, or its child number ``child``; ``attempt``: try whether we could.  Returns the exit code."""
    configure_logs()
    if child is not None:
        from callcontrol.server import run_child

        return run_child(settings, heartbeat_fd())
    if attempt:
        return _try(settings)
    before = upgrading.handed_over()
    systemd = Systemd.of_environment()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a call needs a descriptor, and so do silent peers
    _prepare(settings, read_secrets=before is None)
    # Whoever finds our name in the lock may ask for a reload at once: it waits until we can hear it.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD_LATE)
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context(outcomes.held(settings.state, before["lock"] if before else None))
        except BlockingIOError:
            message = f"{settings.state} is in use by another cordboard; name another with --state"
            raise SettingsError(message) from None
        if before is None:
            systemd.status("routing is published")
            if not _publish(settings, "start"):
                return 3
        else:
            structlog.get_logger("supervisor").info("this is the next release", release=processes.release())
        processes.announce(settings.state, "serve")
        held.callback(processes.withdraw, settings.state)
        succession = _Succession(Program(before["named"] if before else None), settings, lock, systemd)
        return supervise(
            lambda index: [*succession.command, "--child", str(index)],
            settings.processes,
            on_child_death=lambda name: _bury(settings, name),
            on_reload=lambda: _publish(settings, "reload"),
            on_request=lambda: _do_requests(settings),
            systemd=systemd,
            succession=succession,
            adopted=before["children"] if before else (),
        )


def _try(settings: Settings) -> int:
    """Do all that may fail when a next release takes our place: be loaded, read everything, publish."""
    import callcontrol.server  # noqa: F401 - what a controller needs can be loaded

    _prepare(settings)
    return 0 if _publish(settings, "start") else 3


class _Succession:
    """How the next release takes the supervisor's place (``supervisor.Succession``)."""

    def __init__(self, program: Program, settings: Settings, lock: int, systemd: Systemd) -> None:
        self._program = program
        self._lock = lock
        self._systemd = systemd
        self._next = program.pinned

    @property
    def command(self) -> list[str]:
        """What a child that starts now is told to be, but its number."""
        return [*self._next, *sys.argv[1:]]

    def prepare(self) -> str:
        found = self._program.next()
        why = Trial(found, sys.argv[1:]).wait()
        if not why:
            self._next = found
        return why

    def abandon(self) -> None:
        self._next = self._program.pinned

    def execute(self, children: Sequence[Mapping[str, Any]], descriptors: Sequence[int]) -> None:
        kept = [self._lock, *descriptors]
        told = {"named": self._program.named, "lock": self._lock, "children": list(children)}
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        try:
            upgrading.execute(self._next, sys.argv[1:], told, self._systemd.environment)
        except OSError as error:
            structlog.get_logger("supervisor").error("the next release cannot be run", error=str(error))
        for descriptor in kept:
            os.set_inheritable(descriptor, False)


def _prepare(settings: Settings, *, read_secrets: bool = True) -> None:
    if read_secrets:  # here a mistake is told once and at once; each process reads it for itself
        Secrets.read(settings.config.secrets)
    try:
        settings.spool.mkdir(parents=True, exist_ok=True)
        settings.state.mkdir(parents=True, exist_ok=True)
        settings.state.chmod(0o711)  # the switch, another user, plays files of speech/; see ``speech.py``
        for private in ("facts", "versions", "directory", "requests"):
            path = settings.state / private
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror or error}") from None


def _publish(settings: Settings, how: str) -> bool:
    """Run the publisher and say what came of it.  False if no company can be served at all."""
    log: Any = structlog.get_logger("routing")
    log.info("publishing", directory=str(settings.routing))
    keep_config(settings.config_path, settings.state)
    failed = _attempt(settings, how)
    if failed:
        log.error("nothing was published: what is live stays", why=failed)
    outcome = outcomes.read_outcome(settings.state)
    for problem in outcome.problems if outcome is not None and not failed else ():
        if problem.severity == "error":
            log.error("this file does not go live: its company keeps the version it has", problem=str(problem))
    for company, pin in outcome.pins.items() if outcome is not None else ():
        log.warning("a company is left alone", company=company, why=pinned_words(pin))
    live = outcome.live if outcome is not None else VersionStore(settings.state).live()
    if not live:
        print(
            f"cordboard: {settings.routing}: no company to serve; try: cordboard check {settings.routing}",
            file=sys.stderr,
        )
        return False
    log.info("companies are served", companies=len(live))
    return True


def _do_requests(settings: Settings) -> bool:
    """Do what people left in STATE to be done.  Whether anything is live now that was not, or is pinned."""
    before = outcomes.read_outcome(settings.state)
    failed = _attempt(settings, "requests")
    if failed:
        structlog.get_logger("routing").error("what was asked for is not done: what is live stays", why=failed)
    after = outcomes.read_outcome(settings.state)
    return after is not None and (before is None or before.serial != after.serial)


def _attempt(settings: Settings, how: str) -> str:
    """Run the publisher, and tell those who wait for it.  Why nothing was changed, or nothing."""
    began = outcomes.now()
    with contextlib.suppress(OSError):  # who waits for the attempt will say that it never saw it
        outcomes.write_attempt(settings.state, outcomes.Attempt(began, how=how))
    failed = _run_publisher(settings, how)
    with contextlib.suppress(OSError):
        outcomes.write_attempt(settings.state, outcomes.Attempt(began, outcomes.now(), failed, how))
    return failed


def _run_publisher(settings: Settings, how: str) -> str:
    """Publish in a process of its own.  Why nothing was changed, or nothing."""
    from callcontrol.publishing import command

    line = command(
        settings.routing, settings.sounds, settings.state, settings.config_path, settings.domain, os.getpid(), how
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
            process_group=0,  # Ctrl-C is for us
        )
    except subprocess.TimeoutExpired:
        return f"the publisher was killed: it took more than {PATIENCE:.0f} s"
    except OSError as error:
        return f"the publisher cannot be run: {error.strerror or error}"
    if done.returncode == 0:
        return ""
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
    return done.stdout.strip() or f"the publisher ended with {how}; its last words are in the log"


def _bury(settings: Settings, name: str) -> None:
    """What follows the death of a controller."""
    outcomes.forget(settings.state, name)
    processes.withdraw(settings.state, name)
    _ship_dead(settings, name)


def _ship_dead(settings: Settings, name: str) -> None:
    from callcontrol.facts import ship_dead
    from callcontrol.switchboard import Switchboard

    board = Switchboard(settings.redis, name="supervisor")
    if ship_dead(settings.state / "facts", board):
        structlog.get_logger("supervisor").info("the facts of a dead process are shipped", process=name)
    board.close()
