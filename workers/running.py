"""Keeps the processes of ``cordboard work`` alive: forks each from this one, starts the dead again, ends all together.

It knows no queue, no database and no Redis, and holds no connection: what it has loaded, its children have at once
(a new one is at work in some 20 ms), and what it does not have, they cannot spoil.

Where the surprise lies:

* Nobody beats a heart here, as controllers do: each child sets the kernel's alarm before whatever may hang, and has it
  kill the process.  Nothing is half done by that: all work of the workers is made so that it may be cut anywhere.
* A child dies with its parent (the kernel sees to it), so that nothing is left running when the parent is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from callcontrol.supervisor import die_with_parent
from callcontrol.systemd import Systemd

#: What a process does: returns when it was told to stop (SIGTERM), or when it wants to be started anew.
Role = Callable[[], object]

_HEARD = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
#: How often the trial of a next release is looked at, seconds.
_LOOK = 0.25


class Trial(Protocol):
    """The next release, tried in a process of its own (``callcontrol.upgrading``)."""

    def poll(self) -> str | None:
        """None: not done yet; "": all is well; else why not."""

    def kill(self) -> None:
        """End it."""


class Succession(Protocol):
    """How the next release takes our place."""

    def prepare(self) -> Trial:
        """Try the next release."""

    def execute(self) -> None:
        """Become it.  Comes back only if that cannot be."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the parent is; all in seconds."""

    drain: float = 10.0  #: from SIGTERM to SIGKILL
    quick_death: float = 5.0  #: a child that lived shorter counts towards the backoff
    backoff_low: float = 0.1  #: delay of the second quick restart in a row (the first has none); doubles
    backoff_high: float = 5.0


@dataclass(slots=True)
class _Place:
    """The place of one role: the process that fills it, or when to fill it."""

    role: Role
    pid: int = 0
    started: float = 0.0
    start_at: float = 0.0
    kill_at: float | None = None  #: it was told to stop
    quick_deaths: int = 0


def keep(
    roles: Mapping[str, Role],
    again: Callable[[], Mapping[str, Role] | None] = lambda: None,
    timing: Timing = Timing(),
    *,
    systemd: Systemd | None = None,
    succession: Succession | None = None,
) -> int:
    """Keep a process for each role, by name, until SIGTERM or SIGINT; returns 0.

    * a dead child is started again at once; one that dies soon, again and again, after 0.1 … 5 s;
    * SIGTERM, SIGINT: children are told to stop (SIGTERM), killed after 10 s; a second SIGINT kills at once;
    * SIGHUP: ``again()`` gives new roles, or None for no change; every child is told to stop and another takes over;
    * SIGUSR2: with a ``succession``, once the next release has been tried every child is told to stop, and then this
      process becomes it.  Meanwhile nothing is done, and nothing lost;
    * ``systemd`` is told; that we are alive, while each place is filled, or about to be.

    Must be called in the main thread of a process that has no other.
    """
    return _Keeper(roles, again, timing, systemd or Systemd(), succession).run()


class _Keeper:
    def __init__(
        self,
        roles: Mapping[str, Role],
        again: Callable[[], Mapping[str, Role] | None],
        timing: Timing,
        systemd: Systemd,
        succession: Succession | None,
    ) -> None:
        self._systemd = systemd
        self._succession = succession
        self._trial: Trial | None = None
        self._leaving = False  # the next release has been tried: once nobody lives, we become it
        self._places = {name: _Place(role) for name, role in roles.items()}
        self._gone: dict[str, _Place] = {}  # roles that are no more, until their processes have ended
        self._again = again
        self._timing = timing
        self._stopping = False
        self._interrupts = 0

    def run(self) -> int:
        with _blocked():
            try:
                self._systemd.ready()
                while not (self._stopping and not self._living()):
                    self._start_what_is_due()
                    heard = signal.sigtimedwait(_HEARD, max(0.0, self._next() - time.monotonic()))
                    if heard is not None:
                        self._on_signal(heard.si_signo)
                    self._bury()
                    self._judge()
                    self._tried()
                    self._say_how_it_is()
                return 0
            finally:
                if self._trial is not None:
                    self._trial.kill()
                for place in self._living():
                    _send(place, signal.SIGKILL)
                for place in self._living():
                    os.waitpid(place.pid, 0)

    def _living(self) -> list[_Place]:
        return [place for place in (*self._places.values(), *self._gone.values()) if place.pid]

    def _next(self) -> float:
        """When there is something to do although nothing is heard."""
        soonest = time.monotonic() + min(60.0, self._systemd.every)
        if self._trial is not None:
            soonest = min(soonest, time.monotonic() + _LOOK)
        for place in (*self._places.values(), *self._gone.values()):
            if place.pid and place.kill_at is not None:
                soonest = min(soonest, place.kill_at)
            elif not place.pid and not self._stopping and not self._leaving:
                soonest = min(soonest, place.start_at)
        return soonest

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for name, place in self._places.items():
            if not self._stopping and not self._leaving and not place.pid and place.start_at <= now:
                place.pid, place.started, place.kill_at = _fork(name, place.role), now, None
                _log().info("process started", role=name, pid=place.pid)

    def _bury(self) -> None:
        for name, place in [*self._places.items(), *self._gone.items()]:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            if place.kill_at is not None or code == 0:
                _log().info("process ended", role=name, pid=pid, code=code)
            elif code == -signal.SIGALRM:
                _log().error("process killed: what it did hung", role=name, pid=pid)
            else:
                _log().warning("process died", role=name, pid=pid, code=code)
            self._set_start(place)
            if self._gone.get(name) is place:
                del self._gone[name]

    def _set_start(self, dead: _Place) -> None:
        now = time.monotonic()
        told, dead.pid, dead.kill_at = dead.kill_at is not None, 0, None
        if told or now - dead.started >= self._timing.quick_death:
            dead.quick_deaths = 0
        delay = 0.0
        if dead.quick_deaths:
            delay = min(self._timing.backoff_high, self._timing.backoff_low * 2 ** min(dead.quick_deaths - 1, 30))
        dead.quick_deaths += not told
        dead.start_at = now + delay

    def _on_signal(self, signum: int) -> None:
        if signum in (signal.SIGTERM, signal.SIGINT):
            self._interrupts += signum == signal.SIGINT
            if not self._stopping:
                _log().info("stopping", processes=len(self._living()))
                self._systemd.stopping("what is in hand is finished")
            elif self._interrupts > 1:
                for place in self._living():
                    _send(place, signal.SIGKILL)
            self._stopping = True
            self._tell_to_stop()
        elif signum == signal.SIGHUP and not self._stopping:
            self._systemd.reloading()
            self._reload()
            self._systemd.ready(self._how_it_is())
        elif signum == signal.SIGUSR2 and not self._stopping and not self._leaving and self._trial is None:
            if self._succession is None:
                _log().warning("there is no next release to become: start it instead")
            else:
                self._trial = self._succession.prepare()

    def _tried(self) -> None:
        """Go on with the next release, as far as that is."""
        if self._trial is not None and (why := self._trial.poll()) is not None:
            self._trial = None
            if why:
                _log().error("nothing is replaced: the next release cannot be taken", why=why)
            elif not self._stopping:
                _log().info("making place for the next release", processes=len(self._living()))
                self._leaving = True
                self._tell_to_stop()
        if self._leaving and self._succession is not None and not self._stopping and not self._living():
            if not signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
                self._succession.execute()
            self._leaving = False  # it cannot be run, or we are to end: what was before goes on

    def _how_it_is(self) -> str:
        return f"{sum(bool(place.pid) for place in self._places.values())} of {len(self._places)} processes work"

    def _say_how_it_is(self) -> None:
        if not self._leaving and not self._stopping:
            self._systemd.status(self._how_it_is())
        self._systemd.alive()

    def _tell_to_stop(self) -> None:
        for place in self._living():
            if place.kill_at is None:
                place.kill_at = time.monotonic() + self._timing.drain
                _send(place, signal.SIGTERM)

    def _reload(self) -> None:
        roles = self._again()
        if roles is None:
            return
        self._tell_to_stop()
        for name in [*self._places]:
            if name not in roles:
                place = self._places.pop(name)
                if place.pid:
                    self._gone[name] = place
        for name, role in roles.items():
            if name not in self._places:
                self._places[name] = self._gone.pop(name) if name in self._gone else _Place(role)
            self._places[name].role = role

    def _judge(self) -> None:
        now = time.monotonic()
        for name, place in [*self._places.items(), *self._gone.items()]:
            if place.pid and place.kill_at is not None and place.kill_at <= now:
                _log().warning("process killed: it did not stop", role=name, pid=place.pid)
                place.kill_at = now + 60.0
                _send(place, signal.SIGKILL)


def _fork(name: str, role: Role) -> int:
    """A process that does what ``role`` does, and ends with it; its pid."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)  # it was killed before the kernel knew our wish
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # Ctrl-C is for the parent; it decides what children hear
        for signum in _HEARD:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        role()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        _log().exception("a process failed", role=name)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # not through what the parent wants done at its own end


def _send(place: _Place, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(place.pid, signum)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Signals wait to be asked for: so none is lost between two looks, and none comes in the middle of anything."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    # What is ignored does not wait either (a parent may have had us ignore Ctrl-C); SIGCHLD is by default.
    handlers = {signum: signal.signal(signum, lambda *_: None) for signum in _HEARD}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _log() -> structlog.stdlib.BoundLogger:
    log: structlog.stdlib.BoundLogger = structlog.get_logger("work")
    return log
