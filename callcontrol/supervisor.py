"""Keep N controller processes alive: start, watch, kill what hangs, restart, drain, replace one by one.

Plain Python: no gevent, nothing patched, since what watches must not share the fault of what is watched.
It knows no call, no switch, no Redis.  A child is a command line and a pipe on which it writes one byte
every quarter of a second from its own event loop (:func:`heartbeat`); the first byte says *I am ready*.

Where the surprise lies:

* A controller whose loop hangs keeps its sockets open, and a switch never notices (``freeswitch-facts.md``):
  so silence on the pipe is answered with SIGKILL, which turns *hung* into *dead*, which a switch does notice.
* When we ourselves did not run for a while (a stopped process, a paused machine), everybody seems silent.
  What we did not see we do not judge: after a gap of our own each child gets that time again.
* The parent-death signal belongs to the *thread* that forked, so children are forked by the main thread only.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import math
import os
import queue
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from callcontrol.systemd import Systemd

#: Tells a child the number of the pipe on which it beats.
HEARTBEAT_VARIABLE = "CORDBOARD_HEARTBEAT_FD"

#: A child ends with this code when it cannot start at all (port taken, routing unreadable…).
CANNOT_START = 3

#: Who asks for these may do so as soon as our name is known; to be blocked until :func:`supervise` can hear them.
HEARD_LATE = (signal.SIGHUP, signal.SIGUSR1)

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the supervisor is; all in seconds."""

    beat: float = 1.0  #: silence after the last beat until SIGKILL
    first_beat: float = 15.0  #: from the start to the first beat
    drain: float = 10.0  #: from SIGTERM to SIGKILL
    quick_death: float = 5.0  #: a child that lived shorter counts towards the backoff
    backoff_low: float = 0.1  #: delay of the second quick restart in a row (the first has none); doubles
    backoff_high: float = 5.0


# ------------------------------------------------------------------------------------- the child's side


def heartbeat_fd() -> int | None:
    """The pipe to beat on, or None when nobody supervises us.  Read once: it leaves the environment."""
    text = os.environ.pop(HEARTBEAT_VARIABLE, "")
    return int(text) if text.isdigit() else None


def heartbeat(fd: int, *, every: float = 0.25, sleep: Callable[[float], object] | None = None) -> None:
    """Beat on ``fd`` every ``every`` seconds for as long as the supervisor lives.  Run it in a greenlet.

    Begin when the child is ready for calls.  ``sleep`` is ``time.sleep`` (gevent's, once it is patched)
    unless given.  When the supervisor is gone the process sends itself SIGTERM, as if told to drain, and this
    returns.
    """
    die_with_parent()
    os.set_inheritable(fd, False)  # a grandchild that held the pipe would hide our death
    os.set_blocking(fd, False)
    while True:
        try:
            os.write(fd, b".")
        except BlockingIOError:
            pass  # the supervisor is stopped and the pipe full; it has enough to read
        except OSError:
            _log().warning("the supervisor is gone: draining", pid=os.getpid())
            os.kill(os.getpid(), signal.SIGTERM)
            return
        (sleep or time.sleep)(every)


def die_with_parent(signum: int = signal.SIGTERM) -> None:
    """Ask the kernel for ``signum`` when the parent dies.  Linux only; elsewhere the pipe's end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)


def process_name(pid: int | None = None) -> str:
    """``<host>-<pid>-<start>``: a name that no other process on this machine ever had, as ``[A-Za-z0-9-]+``.

    Parent and child compute the same one.  ``start`` is made of the boot id and the start time in clock
    ticks, since pid and ticks alone repeat from boot to boot; without ``/proc`` it is the time of asking.
    """
    number = os.getpid() if pid is None else pid
    host = re.sub(r"[^A-Za-z0-9]+", "-", os.uname().nodename).strip("-")[:40] or "host"
    try:
        with open(f"/proc/{number}/stat", encoding="ascii", errors="replace") as stat:
            # Field 22, counted after the command's name, which may itself hold blanks and brackets.
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            start = f"{boot.read(8)}{ticks:x}"
    except (OSError, ValueError, IndexError):
        start = f"{time.time_ns() // 1_000_000:x}"
    return f"{host}-{number}-{start}"


# -------------------------------------------------------------------------------- the supervisor's side


class Succession(Protocol):
    """How the next release takes our place; ``serving`` has one."""

    def prepare(self) -> str:
        """Try the next release; why it is not to be taken, or nothing: then children that start are of it."""

    def abandon(self) -> None:
        """It did not come to anything: children that start are of the release before."""

    def execute(self, children: Sequence[Mapping[str, Any]], descriptors: Sequence[int]) -> None:
        """Become it, with these ``children`` and open ``descriptors``.  Comes back only if that cannot be."""


def supervise(
    command_for_child: Callable[[int], list[str]],
    processes: int,
    *,
    on_child_death: Callable[[str], None] | None = None,
    on_reload: Callable[[], object] | None = None,
    on_request: Callable[[], bool] | None = None,
    timing: Timing = Timing(),
    systemd: Systemd | None = None,
    succession: Succession | None = None,
    adopted: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Run ``processes`` children until SIGTERM or SIGINT; returns the exit code of the whole: 0, or 3.

    ``command_for_child(i)`` gives the command line of child ``i`` (from 0).  ``on_child_death(process_name)``
    is called after each death, ``on_reload()`` on SIGHUP and ``on_request()`` on SIGUSR1, in a thread of their own, one
    call at a time, so that they may take their time; deaths do not wait for a reload.

    * a dead child is started again at once; one that dies soon, again and again, after 0.1 … 5 s;
    * a child that has beaten and then is silent for a second is killed; the first beat may take 15 s;
    * SIGTERM, SIGINT: children are told to drain (SIGTERM), killed after 10 s; a second SIGINT kills at once;
    * SIGHUP: passed on once ``on_reload()`` is done, unless it raised (to a child that is still starting:
      with its first beat);
    * SIGUSR1: passed on in the same way, if ``on_request()`` says that it changed something;
    * SIGUSR2: children are replaced one by one, the old one told to drain once the new one beats; with a
      ``succession``, they are of the next release if it can be taken, and then this process becomes it;
    * ``systemd`` is told, and that we are alive only while a child beats: so long calls can be taken;
    * 3 is returned only if the first start of every child ended with exit code 3; their own words are on
      stderr, which children share.

    Must be called in the main thread (signals, and the parent-death signal).  Raises ValueError for fewer
    than one process, OSError when a program cannot be run at all at a child's first start.
    """
    if processes < 1:
        raise ValueError(f"a supervisor needs at least one process, not {processes}")
    supervisor = _Supervisor(
        command_for_child, processes, on_child_death, on_reload, on_request, timing, systemd or Systemd(), succession
    )
    supervisor.adopt(adopted)
    return supervisor.run()


class _State(enum.Enum):
    STARTING = "starting"  # deadline: the first beat
    BEATING = "beating"  # deadline: the next beat
    DRAINING = "draining"  # deadline: SIGKILL
    KILLED = "killed"  # no deadline: SIGKILL cannot be refused


class _Process(Protocol):
    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...


class _Adopted:
    """A child of this process that another program in it has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self, flags: int = os.WNOHANG) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, flags)
            except ChildProcessError:  # it is no child of ours, so it is nobody
                pid, status = self.pid, 0
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self) -> int:
        return self.poll(0) or 0

    def send_signal(self, sig: int, /) -> None:
        if self._code is None:
            os.kill(self.pid, sig)


@dataclass(slots=True, eq=False)
class _Child:
    index: int
    process: _Process
    name: str
    pipe: int
    started: float
    deadline: float
    state: _State = _State.STARTING
    was_ready: bool = False
    when_ready: set[int] = field(default_factory=set)  # signals that it could not hear yet


@dataclass(slots=True)
class _Slot:
    """One of the N places: who fills it, who is to replace them, and when to fill it if nobody does."""

    index: int
    child: _Child | None = None
    successor: _Child | None = None
    quick_deaths: int = 0
    start_at: float = 0.0
    starts: int = 0
    first_code: int | None = None  # how the first start ended, if it ended without a beat


@dataclass(slots=True)
class _Rolling:
    """A rolling restart: the slots still to do, and the old child whose end we wait for."""

    to_do: list[int] = field(default_factory=list)
    leaving: _Child | None = None
    under_way: bool = False
    began: float = 0.0


class _Supervisor:
    def __init__(
        self,
        command_for_child: Callable[[int], list[str]],
        processes: int,
        on_child_death: Callable[[str], None] | None,
        on_reload: Callable[[], object] | None,
        on_request: Callable[[], bool] | None,
        timing: Timing,
        systemd: Systemd,
        succession: Succession | None,
    ) -> None:
        self._systemd = systemd
        self._succession = succession
        self._ready = False
        self._signals_pipe = -1
        self._command = command_for_child
        self._timing = timing
        self._slots = [_Slot(i) for i in range(processes)]
        self._children: list[_Child] = []
        self._rolling = _Rolling()
        self._stopping = False
        self._interrupts = 0
        self._selector = selectors.DefaultSelector()
        self._on_child_death = on_child_death
        self._on_reload = on_reload
        self._on_request = on_request
        self._errands = _Errands("errands")
        self._reloads = _Errands("reloads")

    def adopt(self, children: Sequence[Mapping[str, Any]]) -> None:
        """Take up the children of the program that this process was before."""
        now = time.monotonic()
        for told in children:
            pid, pipe = int(told["pid"]), int(told["pipe"])
            os.set_inheritable(pipe, False)
            os.set_blocking(pipe, False)
            patience = now + self._timing.beat
            child = _Child(int(told["index"]), _Adopted(pid), process_name(pid), pipe, now, patience, _State.BEATING)
            child.was_ready = True
            self._children.append(child)
            self._selector.register(pipe, selectors.EVENT_READ, child)
            slot = self._slots[child.index] if child.index < len(self._slots) else None
            if slot is None or slot.child is not None:
                self._drain(child)
                continue
            slot.child, slot.starts = child, 2  # whatever its first start was, it is not ours
        if children:
            _log().info("children taken over", processes=len(children))

    def run(self) -> int:
        with self._signals() as signals:
            try:
                self._signals_pipe = signals
                return self._loop(signals)
            finally:
                for child in self._children:
                    self._kill(child)
                for child in list(self._children):
                    self._bury(child, child.process.wait())
                self._errands.finish()
                self._reloads.finish(0.0)  # what it runs dies with us
                self._selector.close()

    def _loop(self, signals: int) -> int:
        self._selector.register(signals, selectors.EVENT_READ)
        self._selector.register(self._reloads.done, selectors.EVENT_READ)
        seen = time.monotonic()
        while True:
            self._start_what_is_due()
            # Never longer than a beat: the length of a pass is how we notice that we were stopped ourselves.
            for key, _ in self._selector.select(min(0.25, self._next_deadline() - time.monotonic())):
                if key.fd == signals:
                    for signum in _drain_pipe(signals):
                        self._on_signal(signum)
                elif key.fd == self._reloads.done:
                    self._on_done()
                elif _drain_pipe(key.fd):
                    self._on_beat(key.data)
                else:
                    self._selector.unregister(key.fd)  # closed: it is dying, or will be found silent
            now = time.monotonic()
            if now - seen > 0.5:
                for child in self._children:
                    child.deadline += now - seen
            seen = now
            for child in list(self._children):
                code = child.process.poll()
                if code is not None:
                    self._bury(child, code)
                    self._on_exit(child, code)
            self._judge(now)
            self._roll()
            self._say_how_it_is()
            if self._stopping and not self._children:
                return 0
            if all(slot.first_code == CANNOT_START for slot in self._slots):
                _log().error("no process could start", processes=len(self._slots))
                return CANNOT_START

    # -------------------------------------------------------------------------------- starting, ending

    def _start_what_is_due(self) -> None:
        for slot in self._slots:
            if not self._stopping and slot.child is None and slot.start_at <= time.monotonic():
                slot.child = self._start(slot)

    def _start(self, slot: _Slot) -> _Child | None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is the caller's own
                self._command(slot.index),
                stdin=subprocess.DEVNULL,
                pass_fds=(writer,),
                env={**os.environ, HEARTBEAT_VARIABLE: str(writer)},
                process_group=0,  # Ctrl-C is for us; we decide what children hear
            )
        except OSError as error:
            os.close(reader)
            if not slot.starts:
                raise
            _log().error("a process could not be started", child=slot.index, error=str(error))
            slot.start_at = time.monotonic() + self._timing.backoff_high
            return None
        finally:
            os.close(writer)
        now = time.monotonic()
        slot.starts += 1
        child = _Child(slot.index, process, process_name(process.pid), reader, now, now + self._timing.first_beat)
        self._children.append(child)
        self._selector.register(reader, selectors.EVENT_READ, child)
        _log().info("process started", child=slot.index, pid=process.pid)
        return child

    def _bury(self, child: _Child, code: int) -> None:
        """Forget a child that is dead and reaped."""
        self._children.remove(child)
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.pipe)
        os.close(child.pipe)
        expected = child.state in (_State.DRAINING, _State.KILLED)
        log = _log().info if expected else _log().warning
        log("process ended", child=child.index, pid=child.process.pid, code=code, was=child.state.value)
        if self._on_child_death is not None:
            self._errands.run("what follows a death", partial(self._on_child_death, child.name))

    def _on_exit(self, child: _Child, code: int) -> None:
        slot = self._slots[child.index]
        if slot.starts == 1 and child.state is _State.STARTING:
            slot.first_code = code
        if self._rolling.leaving is child:
            self._rolling.leaving = None
        elif slot.successor is child:
            slot.successor = None
            self._give_up_rolling(slot, code)
        elif slot.child is child:
            slot.child, slot.successor = slot.successor, None
            self._set_start(slot, child)
            # As a successor it was promoted by a death, or it took a dead one's place itself; and cannot fill it.
            if self._rolling.under_way and child.started >= self._rolling.began and not child.was_ready:
                self._give_up_rolling(slot, code)

    def _give_up_rolling(self, slot: _Slot, code: int | None) -> None:
        self._rolling.to_do.clear()
        self._rolling.under_way = False
        if self._succession is not None:
            self._succession.abandon()
        _log().error("rolling restart given up: no new process", child=slot.index, code=code)

    def _set_start(self, slot: _Slot, dead: _Child) -> None:
        now = time.monotonic()
        if now - dead.started >= self._timing.quick_death:
            slot.quick_deaths = 0
        delay = 0.0
        if slot.quick_deaths:
            delay = min(self._timing.backoff_high, self._timing.backoff_low * 2 ** min(slot.quick_deaths - 1, 30))
        slot.quick_deaths += 1
        slot.start_at = now + delay

    def _drain(self, child: _Child) -> None:
        child.state = _State.DRAINING
        child.deadline = time.monotonic() + self._timing.drain
        _signal(child, signal.SIGTERM)

    def _kill(self, child: _Child) -> None:
        child.state = _State.KILLED
        child.deadline = math.inf
        _signal(child, signal.SIGKILL)

    # -------------------------------------------------------------------------------------- what happens

    def _on_beat(self, child: _Child) -> None:
        if child.state is _State.STARTING:
            child.state = _State.BEATING
            child.was_ready = True
            _log().info("process ready", child=child.index, pid=child.process.pid)
            for signum in sorted(child.when_ready):
                _signal(child, signum)
            slot = self._slots[child.index]
            slot.first_code = None
            if slot.successor is child:
                old, slot.child, slot.successor = slot.child, child, None
                if old is not None:
                    self._rolling.leaving = old
                    self._drain(old)
        if child.state is _State.BEATING:
            child.deadline = time.monotonic() + self._timing.beat

    def _on_signal(self, signum: int) -> None:
        if signum in (signal.SIGTERM, signal.SIGINT):
            self._interrupts += signum == signal.SIGINT
            for child in self._children:
                if self._stopping and self._interrupts > 1:
                    self._kill(child)
                elif child.state in (_State.STARTING, _State.BEATING):
                    self._drain(child)
            if not self._stopping:
                _log().info("stopping", processes=len(self._children))
                self._systemd.stopping("calls are handed over")
            self._stopping = True
        elif self._stopping:
            pass  # whoever comes next does it at their start
        elif signum == signal.SIGHUP:
            self._systemd.reloading()
            self._reloads.once(_RELOAD, self._reload, signum)
        elif signum == signal.SIGUSR1 and self._on_request is not None:
            self._reloads.once("what was asked for", self._on_request, signum)
        elif signum == signal.SIGUSR2:
            if self._succession is None:
                self._begin_to_roll()
            else:
                self._reloads.run("trying the next release", self._prepare, tell=_TRIED)

    def _prepare(self) -> bool:
        why = self._succession.prepare() if self._succession is not None else ""
        if why:
            raise _Refused(why)
        return True

    def _on_done(self) -> None:
        """Errands are done, and said what is to follow; each only once, since it is all the same."""
        for word in sorted({*_drain_pipe(self._reloads.done)} - {_OVER}):
            if word == _TRIED:
                self._begin_to_roll()
            else:
                self._pass_on(word)
        # Who asked for a reload is told of its own end: not of an earlier one's, nor of something else's.
        if self._ready and not self._stopping and self._reloads.has_done(_RELOAD):
            self._systemd.ready(self._how_it_is())

    def _begin_to_roll(self) -> None:
        _log().info("rolling restart", processes=len(self._slots))
        self._rolling.to_do = [slot.index for slot in self._slots]
        self._rolling.under_way = True
        self._rolling.began = time.monotonic()

    def _reload(self) -> bool:
        if self._on_reload is not None:
            self._on_reload()
        return True

    def _pass_on(self, signum: int) -> None:
        for child in self._children:
            # A Python that has no handler yet dies of these signals, and may have read the old routing already.
            if child.state is _State.STARTING:
                child.when_ready.add(signum)
            elif child.state is _State.BEATING:
                _signal(child, signum)

    def _judge(self, now: float) -> None:
        for child in self._children:
            if child.deadline <= now:
                _log().error("process killed", child=child.index, pid=child.process.pid, was=child.state.value)
                self._kill(child)

    def _roll(self) -> None:
        """Begin the next replacement, unless one is under way."""
        rolling = self._rolling
        if self._stopping or rolling.leaving or any(slot.successor for slot in self._slots):
            return
        if rolling.to_do and (slot := self._slots[rolling.to_do[0]]).child is not None:
            rolling.to_do.pop(0)
            slot.successor = self._start(slot)
            if slot.successor is None:
                self._give_up_rolling(slot, None)
        elif rolling.under_way and not rolling.to_do and self._is_quiet():
            rolling.under_way = False
            _log().info("rolling restart done", processes=len(self._slots))
            if self._succession is not None:
                self._become(self._succession)

    def _is_quiet(self) -> bool:
        """Whether every place is filled by a child that beats, nobody else is there, and no errand is under way."""
        filled = len(self._children) == len(self._slots) == self._beating()
        return filled and self._reloads.idle and self._errands.idle

    def _become(self, succession: Succession) -> None:
        """Become the next release, with every child as it is.  Comes back only if that cannot be."""
        for errands in (self._errands, self._reloads):
            errands.rest()  # a thread would hear what we block
        _until_alone()
        self._on_done()  # what came of the last of them since we looked
        if self._rolling.under_way:
            return
        heard = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, *HEARD_LATE, signal.SIGUSR2}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)  # from here on they wait for the next program
        try:
            for signum in _drain_pipe(self._signals_pipe):
                if signum != signal.SIGCHLD:
                    os.kill(os.getpid(), signum)
            if signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
                return  # we are to end, not to begin
            children = [  # all of them beat, so nothing waits for them, and nobody else is to be buried
                {"index": child.index, "pid": child.process.pid, "pipe": child.pipe} for child in self._children
            ]
            succession.execute(children, [child.pipe for child in self._children])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # ------------------------------------------------------------------------------------------ being watched

    def _beating(self) -> int:
        return sum(child.state is _State.BEATING for child in self._children)

    def _how_it_is(self) -> str:
        return f"{self._beating()} of {len(self._slots)} processes take calls"

    def _say_how_it_is(self) -> None:
        """Tell the service manager; that we are alive, only while somebody takes calls, or has been told to end."""
        if self._stopping:
            self._systemd.alive()
        elif self._beating():
            self._systemd.alive()
            if self._ready:
                self._systemd.status(self._how_it_is())
            else:
                self._ready = True
                self._systemd.ready(self._how_it_is())

    def _next_deadline(self) -> float:
        times = [child.deadline for child in self._children]
        times += [slot.start_at for slot in self._slots if slot.child is None and not self._stopping]
        return max(min(times, default=math.inf), 0.0)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """The pipe on which signals arrive as bytes; handlers are put back at the end."""
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        before: dict[int, Any] = {}
        old_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            for heard in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, *HEARD_LATE, signal.SIGUSR2):
                before[heard] = signal.signal(heard, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # one may have come before we could hear it
            yield reader
        finally:
            for heard_before, handler in before.items():
                signal.signal(heard_before, handler)
            signal.set_wakeup_fd(old_fd)
            os.close(reader)
            os.close(writer)


#: What an errand says when it is done, if it is no signal to be passed on: the next release can be taken; no more.
_TRIED, _OVER = 254, 255
_RELOAD = "the reload"


class _Refused(Exception):
    """The next release is not to be taken."""


class _Errands:
    """Does the caller's slow things in one thread, so that a slow disk or Redis never stops the watching."""

    def __init__(self, name: str) -> None:
        self.done, self._tell = os.pipe()  # a byte here: something is done, and this signal is to be passed on
        os.set_blocking(self.done, False)
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], object], int] | None] = queue.SimpleQueue()
        self._given: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()  # counted by the thread, which adds no name
        self._waits: set[str] = set()
        self._name = name
        self._thread = threading.Thread()  # one is started when there is something to do

    @property
    def idle(self) -> bool:
        """Whether all that was given is done."""
        return self._given == self._ended

    def has_done(self, what: str) -> bool:
        """Whether all that was given of this is done."""
        return self._given[what] == self._ended[what]

    def run(self, what: str, errand: Callable[[], object], tell: int = 0) -> None:
        """Do it when its turn comes; ``tell``: what to write to ``done`` if its answer is true, else ``_OVER``."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._given[what] += 1
        self._ended.setdefault(what, 0)
        self._queue.put((what, errand, tell))

    def once(self, what: str, errand: Callable[[], bool], tell: int) -> None:
        """As ``run``; one that waits for its turn stands for all the same that come meanwhile."""
        if what not in self._waits:
            self._waits.add(what)

            def begin() -> bool:
                self._waits.discard(what)
                return errand()

            self.run(what, begin, tell)

    def rest(self, timeout: float = 5.0) -> None:
        """Have no thread until there is something to do; waits at most ``timeout`` seconds for what is being done."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout)

    def finish(self, timeout: float = 5.0) -> None:
        """Wait at most ``timeout`` seconds for what is still to be done."""
        self.rest(timeout)
        if not self._thread.is_alive():
            os.close(self.done)
            os.close(self._tell)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            what, errand, tell = item
            try:
                changed = errand()
            except _Refused as refused:
                _log().error("nothing is replaced: the next release cannot be taken", why=str(refused))
                changed = False
            except Exception:
                _log().exception(f"{what} failed")
                changed = False
            self._ended[what] += 1
            if tell:
                os.write(self._tell, bytes([tell if changed else _OVER]))


def _until_alone(patience: float = 1.0) -> None:
    """Wait until this process has one thread: one that Python has joined may hear signals for a moment more.

    At most ``patience`` seconds; not at all where there is no ``/proc``.
    """
    until = time.monotonic() + patience
    with contextlib.suppress(OSError):
        while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
            time.sleep(0.001)


def _drain_pipe(fd: int) -> bytes:
    """All that waits in a non-blocking pipe; empty only at its end."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(fd, 4096):
            data += chunk
    return data


def _signal(child: _Child, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.process.send_signal(signum)


def _log() -> Any:
    return structlog.get_logger("supervisor")
