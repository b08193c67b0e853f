"""``cordboard serve``: publish the directory, then supervise the controller processes.

The parent publishes and never has a call; the children have calls and never parse YAML.  Nothing here is
imported by anything but ``cli.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from callcontrol.secrets import Secrets
from callcontrol.settings import Settings, SettingsError
from callcontrol.supervisor import heartbeat_fd, supervise


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


def run(settings: Settings, child: int | None) -> int:
    """Be the supervisor, or its child number ``child``.  Returns the exit code."""
    configure_logs()
    if child is not None:
        from callcontrol.server import run_child

        return run_child(settings, heartbeat_fd())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a call needs a descriptor, and so do silent peers
    _prepare(settings)
    lock = (settings.state / "lock").open("w")  # held until we end: children inherit nothing of it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SettingsError(f"{settings.state} is in use by another cordboard; name another with --state") from None
    if not _publish(settings):
        return 3
    command = [sys.argv[0], *sys.argv[1:]] if os.path.exists(sys.argv[0]) else ["cordboard", *sys.argv[1:]]
    return supervise(
        lambda index: [sys.executable, *command, "--child", str(index)],
        settings.processes,
        on_child_death=lambda name: _ship_dead(settings, name),
        on_reload=lambda: _publish(settings),
    )


def _prepare(settings: Settings) -> None:
    Secrets.read(settings.config.secrets)  # here a mistake is told once and at once; each process reads it for itself
    try:
        settings.spool.mkdir(parents=True, exist_ok=True)
        settings.state.mkdir(parents=True, exist_ok=True)
        settings.state.chmod(0o711)  # the switch, another user, plays files of speech/; see ``speech.py``
        for private in ("facts", "versions", "directory"):
            path = settings.state / private
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror or error}") from None


def _publish(settings: Settings) -> bool:
    """Publish the directory; say what is wrong.  False if no company can be served at all."""
    from callcontrol.directory import live_extensions, write_directory
    from callcontrol.published import publish
    from callcontrol.versions import VersionStore

    log: Any = structlog.get_logger("routing")
    store = VersionStore(settings.state)
    outcome = publish(settings.routing, store, settings.sounds)
    write_directory(live_extensions(store), settings.config, settings.state, settings.domain)
    for problem in outcome.problems:
        if problem.severity == "error":
            log.error("this file does not go live: its company keeps the version it has", problem=str(problem))
    if not outcome.live:
        print(
            f"cordboard: {settings.routing}: no company to serve; try: cordboard check {settings.routing}",
            file=sys.stderr,
        )
        return False
    log.info("companies are served", companies=len(outcome.live), problems=len(outcome.problems))
    return True


def _ship_dead(settings: Settings, name: str) -> None:
    from callcontrol.facts import ship_dead
    from callcontrol.switchboard import Switchboard

    board = Switchboard(settings.redis, name="supervisor")
    if ship_dead(settings.state / "facts", board):
        structlog.get_logger("supervisor").info("the facts of a dead process are shipped", process=name)
    board.close()
