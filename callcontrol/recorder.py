"""Recordings of talks, as one process begins them, hears of their end, and commands them.

Who is recorded is decided elsewhere (``recording.py``).  While people talk nobody owns the call, so all that is needed
stands on its channel: ``cordboard_recording`` (``recording.Noted``) and ``cordboard_file``, the file being written,
which the dialplan closes when the call comes back.

The surprises: every process hears that a recording has stopped; the one that began it tells it at once, and if that one
is dead, one of the others after :data:`GRACE` seconds.  Whoever tells it gives the fact the same number, so that told
twice it is one fact; told by nobody, the file is found in the spool.  And a file is never begun twice: a recording that
is asked for again, in the same talk, is the next segment.

A talk may end while a command begins to record it, and the call goes on, perhaps to somebody who may not be recorded.
So the switch is asked *after* the beginning whether those two still talk (``bridge_to``): if they do, the way back, and
whoever takes the call over, find the file on the channel and close it.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import gevent
import structlog

from callcontrol import messages as m
from callcontrol import wire
from callcontrol.commands import Refused
from callcontrol.esl import EslError, EslEvent
from callcontrol.recording import DEMAND, NO, ON, Noted
from callcontrol.spool import SpoolFile, read_name, segment_file
from callcontrol.state import State, StateError, decode
from callcontrol.view import leg_id

#: What stands on the channel.
NOTED, FILE = "cordboard_recording", "cordboard_file"
#: With whom the switch has joined the channel just now.
_JOINED = "bridge_to"
#: How long the one that began a recording has to tell its end before another does, seconds.
GRACE = 3.0
#: How long it is known that the end of a recording was told, seconds.
TOLD = 60.0
#: Recordings that this process began, and not more, it remembers.
MOST = 10_000
#: Facts about recordings have numbers that no session gives: from here on, ten for each segment, then by the time.
_NUMBERS = 1_000_000
_TIMES = 1_000_000_000
_NOT_RECORDED = "the talk is not recorded"
_TYPES = {"recording.expected": 0, "recording.started": 1, "recording.stopped": 2, "recording.failed": 3}


class Line(Protocol):
    """The way to a switch, as it is seen here."""

    @property
    def name(self) -> str: ...
    @property
    def connected(self) -> bool: ...

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        """The reply's text; raises EslError."""


class House(Protocol):
    """What the process has besides: its switches, its spool, its leases and facts."""

    @property
    def lines(self) -> Sequence[Line]: ...

    def spool_file(self, name: str) -> wire.SoundPath:
        """Where the switch records."""

    def spool_trouble(self) -> str:
        """Why nothing can be recorded now, or nothing."""

    @property
    def redis_away(self) -> bool:
        """Whether Redis did not do what it was last asked."""

    def lease(self, name: str, seconds: float) -> bool:
        """Whether this process holds the lease now; not while Redis is away."""

    def release(self, name: str) -> object:
        """Give a lease back, if this process has it."""

    def leased(self, names: Sequence[str]) -> set[str]:
        """Those that somebody holds; none while Redis is away."""

    def now(self) -> float:
        """The calls' time: a UTC epoch."""

    def write(self, fact: m.Tell, company: str, call: str, epoch: int, n: int, switch: str) -> None:
        """Write a fact of a call."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A recording that this process asked a switch for."""

    call: str
    company: str
    epoch: int
    file: SpoolFile


class _Heard(NamedTuple):
    """The end of a recording that another process began."""

    due: float  # monotonic
    switch: str
    epoch: int
    file: SpoolFile
    seconds: float


class Recorder:
    """See the module."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._begun: dict[str, Talk] = {}
        self._heard: deque[_Heard] = deque()
        self._log: Any = structlog.get_logger("recorder")

    # ------------------------------------------------------------------------------------- what is heard

    def begins(self, call: str, company: str, epoch: int, name: str) -> None:
        """A session asks the switch for this file."""
        file = read_name(name)
        if file is not None:
            self._remember(Talk(call, company, epoch, file))

    def _remember(self, talk: Talk) -> None:
        self._begun[talk.file.name] = talk
        while len(self._begun) > MOST:
            del self._begun[next(iter(self._begun))]

    def asked(self, line: Line, name: str, answer: str) -> None:
        """The switch has answered what a session asked for."""
        talk = self._begun.get(name)
        if talk is None:
            return
        if answer.startswith("+OK"):
            self._tell(line.name, talk.epoch, talk.file, "recording.started", {})
            return
        del self._begun[name]
        why = answer.strip()[:100]
        self._log.error("alarm", what="the switch does not record a talk", file=name, why=why, call=talk.call)
        self._tell(line.name, talk.epoch, talk.file, "recording.failed", {"why": why})
        gevent.spawn(self._allow_later, line, talk)

    def _allow_later(self, line: Line, talk: Talk) -> None:
        """What failed may be asked for again."""
        try:
            line.ask(wire.setvar(talk.call, NOTED, Noted(talk.file.number, DEMAND).text))
        except EslError as error:
            self._log.info("the switch could not be told", error=str(error), call=talk.call)

    def stopped(self, line: Line, event: EslEvent) -> None:
        """A recording on a switch has ended."""
        path = event.get("Record-File-Path") or ""
        file = read_name(path.rpartition("/")[2])
        if file is None or file.leg is None or event.get("Unique-ID") != file.call:
            return  # a message, which is its session's, or nothing of ours
        if path != self._house.spool_file(file.name).path:
            return
        state, length = _state(event.get("variable_cordboard_state")), event.get("variable_record_ms") or ""
        seconds = int(length) / 1000 if re.fullmatch(r"[0-9]{1,12}", length) else 0.0
        heard = _Heard(time.monotonic() + GRACE, line.name, state.epoch if state else 0, file, seconds)
        if self._begun.pop(file.name, None) is None:
            self._heard.append(heard)
        else:
            self._tell_stopped(heard)
            gevent.spawn(self._house.lease, _told(file), TOLD)

    def settle(self, now: float) -> None:
        """Tell the ends that nobody has told in time.  ``now``: monotonic."""
        due = []
        while self._heard and self._heard[0].due <= now:
            due.append(self._heard.popleft())
        told = self._house.leased([_told(heard.file) for heard in due]) if due else set()
        for heard in due:
            if _told(heard.file) not in told:  # each on its own: Redis may be slow to answer
                gevent.spawn(self._claim, heard)

    def _claim(self, heard: _Heard) -> None:
        if self._house.lease(_told(heard.file), TOLD) or self._house.redis_away:
            self._tell_stopped(heard)

    def _tell_stopped(self, heard: _Heard) -> None:
        self._tell(heard.switch, heard.epoch, heard.file, "recording.stopped", {"seconds": heard.seconds})

    def _tell(self, switch: str, epoch: int, file: SpoolFile, type_: str, data: Mapping[str, Any]) -> None:
        """Write a fact whose number follows from what it says."""
        n = _NUMBERS + 10 * file.number + _TYPES[type_]
        fact = m.Tell(type_, {"file": file.name, **data})
        self._house.write(fact, file.company, file.call, epoch, n, switch)

    # ---------------------------------------------------------------------------------------- commands

    def start(self, company: str, call: str, by: str) -> dict[str, Any]:
        """``recording.start``: record from now on, if a rule allows it.  Raises Refused."""
        self._allowed(self._talk(company, call)[2])
        trouble = self._house.spool_trouble()
        if trouble:
            raise Refused(f"nothing can be recorded: {trouble}")
        lease = f"cordboard:recording:{call}"
        if not self._house.lease(lease, 5.0):
            raise Refused("Redis is away: try again" if self._house.redis_away else "somebody else is just doing it")
        try:
            return self._start(company, call, by)
        finally:
            self._house.release(lease)

    @staticmethod
    def _allowed(noted: Noted) -> None:
        """Raise Refused unless a talk may be recorded from now on."""
        if noted.mode == NO:
            raise Refused("no rule lets this talk be recorded; record: on demand would")
        if noted.mode == ON:
            raise Refused("the talk is being recorded")

    def _start(self, company: str, call: str, by: str) -> dict[str, Any]:
        """Start it; nobody else does, and what another has just done is looked at anew."""
        line, state, noted = self._talk(company, call)
        self._allowed(noted)
        address, _, ring = state.talk or ("", 0, 0)
        leg = leg_id(call, ring, address)
        if not self._joined(line, call, leg):  # over, or handed on: nobody knows whether the other may be recorded
            raise Refused(f"nobody talks in the call {call}, or a telephone has handed it on")
        file = segment_file(company, call, leg, noted.segments + 1)
        path = self._house.spool_file(file.name)
        expected = {"rule": f"on demand, by {by}", "leg": leg, "with": address, "segment": file.number}
        data = {**expected, "consent": state.announced}
        self._tell(line.name, state.epoch, file, "recording.expected", data)
        self._remember(Talk(call, company, state.epoch, file))
        self._ask(line, wire.setvars(call, {NOTED: Noted(file.number, ON).text, FILE: path.path}))
        answer = self._ask(line, wire.record_talk(call, path))
        self.asked(line, file.name, answer)
        if not answer.startswith("+OK"):
            raise Refused(f"the switch does not record: {answer.strip()[:100]}")
        if not self._joined(line, call, leg):
            self._ask(line, wire.record_stop(call, path))
            self._ask(line, wire.setvars(call, {NOTED: Noted(file.number, NO).text, FILE: ""}))
            raise Refused("the talk has just ended")
        return {"call": call, "file": file.name, "state": "recording"}

    def _joined(self, line: Line, call: str, leg: str) -> bool:
        """Whether the two talk at this moment."""
        return self._ask(line, wire.getvar(call, _JOINED)).strip() == leg

    def stop(self, company: str, call: str, by: str) -> dict[str, Any]:
        """``recording.stop``: record no more of this talk.  Raises Refused."""
        line, state, noted = self._talk(company, call)
        file, path = self._file(line, call)
        # First: if we die in between, somebody who asks again finds that it is over, and that it may be started again.
        stopped = self._ask(line, wire.record_stop(call, path)).startswith("+OK")
        # Not in the first moment of a talk: the switch may be about to begin it.
        begun = state.talk is not None and self._house.now() - state.talk[1] > GRACE
        if stopped or (noted.mode == ON and begun):
            self._ask(line, wire.setvar(call, NOTED, replace(noted, mode=DEMAND).text))
        if not stopped:
            raise Refused(_NOT_RECORDED)
        self._log.info("a recording was stopped", call=call, company=company, file=file.name, by=by)
        return {"call": call, "file": file.name, "state": "stopped"}

    def pause(self, company: str, call: str, by: str) -> dict[str, Any]:
        """``recording.pause``: silence is recorded until it is resumed.  Raises Refused."""
        return self._mask(company, call, by, on=True)

    def resume(self, company: str, call: str, by: str) -> dict[str, Any]:
        """``recording.resume``.  Raises Refused."""
        return self._mask(company, call, by, on=False)

    def _mask(self, company: str, call: str, by: str, *, on: bool) -> dict[str, Any]:
        line, state, _ = self._talk(company, call)
        file, path = self._file(line, call)
        if not self._ask(line, wire.record_mask(call, path, on=on)).startswith("+OK"):
            raise Refused(_NOT_RECORDED)
        fact = m.Tell("recording.paused" if on else "recording.resumed", {"file": file.name, "by": by})
        n = _TIMES + int((self._house.now() - state.began) * 1000)  # it may be done again
        self._house.write(fact, company, call, state.epoch, max(_TIMES, n), line.name)
        return {"call": call, "file": file.name, "state": "paused" if on else "recording"}

    def _talk(self, company: str, call: str) -> tuple[Line, State, Noted]:
        """The talk that a call is in, and where.  Raises Refused."""
        for line in self._house.lines:
            if not line.connected:
                continue
            state = _state(self._ask(line, wire.getvar(call, "cordboard_state")).strip())
            if state is None or state.company != company:
                continue
            # They talk as long as nobody owns the call: before and after, it is not known with whom.
            if state.talk is None or self._ask(line, wire.getvar(call, "socket_resume")).strip() != "false":
                raise Refused(f"nobody talks in the call {call}")
            return line, state, Noted.read(self._ask(line, wire.getvar(call, NOTED)).strip())
        raise Refused(f"there is no call {call} of {company}")

    def _file(self, line: Line, call: str) -> tuple[SpoolFile, wire.SoundPath]:
        """The file that is being written, or was last.  Raises Refused."""
        file = read_name(self._ask(line, wire.getvar(call, FILE)).strip().rpartition("/")[2])
        if file is None or file.call != call:
            raise Refused(_NOT_RECORDED)
        return file, self._house.spool_file(file.name)

    def _ask(self, line: Line, command: wire.Command) -> str:
        try:
            return line.ask(command)
        except EslError as error:
            raise Refused(f"{line.name} does not answer: {error}") from None


def _state(text: str | None) -> State | None:
    """A checkpoint, None if it is none."""
    try:
        return decode(text or "")
    except StateError:
        return None


def _told(file: SpoolFile) -> str:
    return f"cordboard:recorded:{file.name}"
