"""The inbound connection to one switch: ringing legs, joining them, and hearing what nobody owns.

One :class:`Line` per process and switch; it reconnects by itself.  Legs are rung here and not over the
caller's own socket, because an originate there would hold that socket's lock and delay a takeover.

It knows sessions only as *listeners* with ``happened(event)``.  The surprise: results of legs that a dead
process rang arrive here too, since the switch tells every connection that listens; a leg is known by its
UUID, which is also its job's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import gevent
import gevent.event
import structlog
from gevent.event import AsyncResult

from callcontrol import policy, wire
from callcontrol.esl import ConnectionLost, EslEvent, Inbound, Reply
from callcontrol.messages import Event, JoinFailed, LegAnswered, LegFailed, LegReady, LegRinging, RingLeg
from callcontrol.settings import Config, SwitchAddress, Trunk

#: The extension by which a call comes back to a controller, and the context of everything that we ship.
RESUME_EXTENSION = "cordboard_resume"
CONTEXT = "cordboard"
#: Prefix of the job that joins a leg; the rest is the leg.
_JOIN = "join-"
#: Prefix of the job that places a call; the rest is the call.
_PLACE = "place-"
#: How long a telephone may say neither that it rings nor that it does not, before a call counts as placed, seconds.
PLACING = 1.0
#: How long a telephone rings whose owner has a call placed, seconds.
PLACE_RING = 30
#: Prefix of the job that records a talk; the rest is the leg.
_RECORD = "record-"
#: How long the switch may take to begin a recording, seconds: until then it says that there is none (10 to 20 ms on a
#: quiet machine).
BEGINNING = 0.2
#: How much longer than asked a leg may ring before the switch ends it by itself, seconds: our own deadline
#: comes first, this one is for a controller that died.
_SPARE = 3.0
#: How long a command may wait for a connection that is being made again, seconds.
_PATIENCE = 2.0
#: How long an answered leg may wait, parked, for somebody to join it, seconds.
PARK_TIMEOUT = 10
#: The event by which the switch says that a leg has heard and confirmed what it had to.
READY = "cordboard::ready"
#: What a leg's ``cordboard_ready`` says while it is being asked; see ``conf/dialplan/screen.xml``.
_ASKED = "asked"
#: A leg that goes outside and is forgotten by everybody counts so much longer than it may last, seconds.
_FORGOTTEN = 600.0
#: While a telephone rings the switch is nudged so often, seconds.  By itself it looks every 20 ms for what it has to
#: say, and after a short ringing the worst of them pass: what rings goes in rounds that begin with our command too.
_NUDGE = 0.005
#: Another trunk is not tried for less ringing than this, seconds; a hunt asks for a second at least.
_LEAST = 0.9


class Listener(Protocol):
    """Who wants to know what becomes of a leg."""

    def happened(self, event: Event) -> None:
        """Take an event about a leg."""


class Counts(Protocol):
    """Who counts the calls outside, of all controllers together."""

    def claim(self, leg: str, attempt: int, switch: str, caps: tuple[tuple[str, int], ...], seconds: float) -> bool:
        """Whether there is room for this attempt of ``leg`` under each of the caps; then it is counted."""

    def release(self, leg: str, attempt: int, switch: str) -> None:
        """The attempt is over.  Said by whoever hears of it, so mostly more than once."""


class Recordings(Protocol):
    """Who wants to know what becomes of the recordings of talks."""

    def asked(self, line: Line, name: str, answer: str) -> None:
        """The switch has answered what was asked of it for this file."""

    def stopped(self, line: Line, event: EslEvent) -> None:
        """A recording has ended (RECORD_STOP), of whatever call."""


@dataclass(frozen=True, slots=True)
class _Joining:
    """A call that is being joined with a leg, and the file into which the talk is recorded."""

    call: str
    record: wire.SoundPath | None = None


@dataclass(slots=True)
class _Leg:
    """A leg that somebody wants to hear of."""

    to: Listener
    call: str
    screened: bool = False  # its answer alone does not make it ready
    person: str = ""  # whose telephone it is
    #: What is left to try if the trunk that has it now does not take it.
    outside: _Outside | None = None


@dataclass(slots=True)
class _Outside:
    """A leg to a number outside: the command, where else it may be sent, and until when (monotonic)."""

    company: str
    command: RingLeg
    screen: wire.Screen | None
    trunks: list[Trunk]
    until: float
    #: Which try it is, from 1; the leg says so in its ``cordboard_out``.
    attempt: int = 0
    counted: bool = False
    #: What the carrier said as this try ended, in SIP's words.
    sip: str = ""


class Line:
    """The way to one switch.  ``on_end(event)`` gets the end of every call on it that is not rung from here,
    ``on_leg_end(event)`` that of every channel.
    """

    def __init__(
        self,
        address: SwitchAddress,
        domain: str,
        config: Config,
        counts: Counts,
        on_end: Callable[[Line, EslEvent], None],
        on_core: Callable[[Line, str], None],
        on_leg_end: Callable[[Line, EslEvent], None] = lambda line, event: None,
        recordings: Recordings | None = None,
    ) -> None:
        self.name = address.name
        self.config = config
        self._domain = domain
        self._counts = counts
        self._on_end = on_end
        self._on_core = on_core
        self._on_leg_end = on_leg_end
        self._legs: dict[str, _Leg] = {}
        self._recordings = recordings
        self._joins: dict[str, _Joining] = {}
        self._recorded: dict[str, wire.SoundPath] = {}
        self._unwanted: dict[str, str] = {}  # of those, the legs whose joining was none, and their calls
        self._waiting: list[_Waiting] = []
        self._placings: dict[str, AsyncResult[str]] = {}
        self._nudging: Any = None
        self._known = gevent.event.Event()  # the switch has said who it is
        self._log: Any = structlog.get_logger("switch").bind(switch=address.name)
        self._inbound = Inbound(
            address.host,
            address.port,
            address.password,
            (
                wire.event_plain(
                    "BACKGROUND_JOB", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP", "CUSTOM", READY, wire.RINGS
                ),
            ),
            self._on_event,
            self._on_up,
            self._on_down,
        )

    def start(self) -> None:
        """Connect, and keep connected until :meth:`stop`."""
        self._inbound.start()

    def reach(self, timeout: float) -> None:
        """Wait until the switch has said who it is, or cannot be reached; ``timeout`` seconds at most."""
        gevent.wait([self._known, self._inbound.failed], timeout, count=1)

    def stop(self) -> None:
        """Close the connection."""
        self._inbound.stop()

    @property
    def connected(self) -> bool:
        """Whether commands go out at once."""
        return self._inbound.connected

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        """The reply's text; raises EslError."""
        return self._inbound.request(command, timeout).text

    def place(self, call: str, company: str, extension: str, to: str, *, name: str = "") -> str:
        """Ring a person's own telephone, which is then the caller of ``call`` to ``to``: see :func:`wire.place`.

        Returns when it rings: nothing, or the cause for which it does not.  One that says neither for a second counts
        as ringing; what becomes of it then is told as of any call.  Never rings late: without a connection it does
        not ring at all.
        """
        endpoint = wire.UserEndpoint(extension, f"{company}.{self._domain}")
        told: AsyncResult[str] = AsyncResult()
        self._placings[call] = told
        try:
            self._inbound.send(wire.place(call, endpoint, PLACE_RING, to, CONTEXT, _PLACE + call, name=name))
            self._hurry()
            return str(told.get(timeout=PLACING))
        except ConnectionLost:
            return "SWITCH_AWAY"
        except gevent.Timeout:
            return ""
        finally:
            del self._placings[call]

    def hang_up(self, call: str) -> bool:
        """End a call because somebody asks for it, and the legs that ring for it.  Whether there was such a channel.

        Raises EslError.
        """
        there = not self.ask(wire.kill(call, wire.Cause.MANAGER_REQUEST)).startswith("-")
        self.end_legs_of(call)
        return there

    # ---------------------------------------------------------------------------------------------- legs

    def ring(self, to: Listener, call: str, company: str, command: RingLeg, screen: wire.Screen | None) -> None:
        """Ring one telephone; LegReady or LegFailed follows, after a LegAnswered if it is ``screen``ed."""
        leg = command.leg
        self._legs[leg] = known = _Leg(to, call, screened=screen is not None, person=command.phone.person)
        if not command.phone.outside:
            endpoint = wire.UserEndpoint(command.phone.address, f"{company}.{self._domain}")
            self._originate(known, company, command, screen, endpoint, command.seconds)
            return
        trunks = [trunk for name in command.trunks if (trunk := self._trunk(name)) is not None]
        known.outside = out = _Outside(company, command, screen, trunks, time.monotonic() + command.seconds)
        self._next_trunk(leg, known, out, "unreachable", "NO_TRUNK")

    def _trunk(self, name: str) -> Trunk | None:
        """The trunk of this name, if this switch has it."""
        trunk = self.config.trunks.get(name)
        if trunk is None:
            self._log.error("routing names a trunk that cordboard.yaml does not have", trunk=name)
        return trunk if trunk is not None and (not trunk.switches or self.name in trunk.switches) else None

    def _next_trunk(self, leg: str, known: _Leg, out: _Outside, result: str, cause: str) -> None:
        """Send the leg through the next trunk that has room; else it has failed with ``result``.

        In a greenlet of its own: counting waits for Redis, and neither a session nor the reader of all the switch's
        events may.
        """
        gevent.spawn(self._try_trunks, leg, known, out, result, cause)

    def _try_trunks(self, leg: str, known: _Leg, out: _Outside, result: str, cause: str) -> None:
        try:
            if out.counted:
                out.counted = False
                self._counts.release(leg, out.attempt, self.name)
            while self._legs.get(leg) is known and out.trunks and (left := out.until - time.monotonic()) >= _LEAST:
                trunk = out.trunks.pop(0)
                out.attempt, out.sip = out.attempt + 1, ""
                address = out.command.phone.address
                caps = out.command.caps
                if trunk.max_calls is not None and address.startswith("+"):  # an emergency call counts nowhere
                    caps = (*caps, (f"trunk/{trunk.name}", trunk.max_calls))
                seconds = left + self.config.longest_call + _FORGOTTEN
                if caps and not self._counts.claim(leg, out.attempt, self.name, caps, seconds):
                    result, cause = "refused", "MAX_CALLS"
                    continue
                out.counted = bool(caps)
                if self._legs.get(leg) is not known:  # given up while Redis was asked: nobody would cancel it
                    self._release(leg, out)
                    return
                written = policy.written(address, trunk.format, trunk.country) if address.startswith("+") else address
                endpoint = wire.GatewayEndpoint(trunk.gateway, written)
                self._originate(known, out.company, out.command, out.screen, endpoint, left, trunk)
                return
        except Exception:  # a bug of ours: the caller must not wait for a telephone that never rings
            self._log.exception("a leg cannot be rung", leg=leg)
            result, cause = "unreachable", "NOT_RUNG"
        if self._legs.get(leg) is known:
            self._fail(leg, result, cause)

    def _release(self, leg: str, out: _Outside) -> None:
        if out.counted:
            out.counted = False
            self._count_out(leg, out.attempt)

    def _count_out(self, leg: str, attempt: int) -> None:
        gevent.spawn(self._counts.release, leg, attempt, self.name)

    def _originate(
        self,
        known: _Leg,
        company: str,
        command: RingLeg,
        screen: wire.Screen | None,
        endpoint: wire.Endpoint,
        seconds: float,
        trunk: Trunk | None = None,
    ) -> None:
        variables = {
            "cordboard_call": known.call,
            "cordboard_company": company,
            "park_timeout": f"{PARK_TIMEOUT}:LOSE_RACE",
        }
        if command.phone.person:
            variables["cordboard_person"] = command.phone.person
        shown = command.shown
        if known.outside is not None and trunk is not None:
            variables["cordboard_out"] = str(known.outside.attempt)
            if shown.startswith("+"):
                shown = policy.written(shown, trunk.format, trunk.country)
        originate = wire.originate(
            command.leg,
            endpoint,
            round(seconds + _SPARE),
            variables,
            command.leg,
            screen=screen,
            shown=wire.caller_number(shown),
            name=wire.caller_name(command.name),
            longest=round(self.config.longest_call) if trunk is not None else 0,
        )
        self._send(command.leg, originate)
        self._hurry()

    def _hurry(self) -> None:
        """Hear without delay what becomes of legs, as long as there are any."""
        if self._nudging is None:
            self._nudging = gevent.get_hub().loop.timer(_NUDGE, _NUDGE)
            self._nudging.start(self._nudge)  # no greenlet of its own: that would cost three times as much

    def _nudge(self) -> None:
        if self._legs or self._placings:
            self._inbound.nudge()
        else:
            timer, self._nudging = self._nudging, None
            timer.stop()
            timer.close()

    def _fail(self, leg: str, result: str, cause: str) -> None:
        known = self._legs.pop(leg, None)
        if known is None:
            return
        if known.outside is not None:
            self._release(leg, known.outside)
        known.to.happened(LegFailed(leg, result, cause))

    def find(self, to: Listener, call: str, leg: str, *, screened: bool) -> None:
        """Ask what became of a leg that an earlier owner rang.

        Without a connection it is asked as soon as there is one, however late: it may ring on meanwhile, and whoever
        took it for gone would end the call over it.
        """
        self._legs[leg] = _Leg(to, call, screened)
        with contextlib.suppress(ConnectionLost):
            self._inbound.send(wire.getvar(leg, "cordboard_ready"), on_reply=partial(self._found, leg))
        self._hurry()

    def _found(self, leg: str, reply: Reply) -> None:
        text = reply.text.strip()
        if text == "true":
            self._tell(leg, LegReady(leg))
        elif text.startswith("-ERR"):
            self._fail(leg, "unreachable", "GONE")  # what is still said of it is not taken for a leg rung anew
        elif text == _ASKED:
            self._tell(leg, LegAnswered(leg))
        else:
            self._tell(leg, LegRinging(leg))

    def cancel(self, leg: str) -> None:
        """End a leg that is not needed any more."""
        known = self._legs.pop(leg, None)
        if known is not None and known.outside is not None:
            self._release(leg, known.outside)
        commands = [wire.kill(leg, wire.Cause.LOSE_RACE)]
        joining = self._joins.pop(leg, None)
        if joining is not None:  # the joining is given up: the call is ours and may be taken over again
            commands += self._given_up(leg, joining)
        self._send("", *commands)

    def stop_recording(self, call: str, record: wire.SoundPath) -> None:
        """End a recording that the switch may be about to begin; see :data:`BEGINNING`."""
        gevent.spawn_later(BEGINNING, self._send, "", wire.record_stop(call, record))

    def _given_up(self, leg: str, joining: _Joining) -> list[wire.Command]:
        """A joining that was none: the call may be taken over, and nothing of it is recorded."""
        if leg in self._recorded:  # it may be beginning, and cannot be ended before it has begun
            self._unwanted[leg] = joining.call
        stop = [wire.record_stop(joining.call, joining.record)] if joining.record is not None else []
        return [wire.setvar(joining.call, "socket_resume", "true"), *stop]

    def join(
        self,
        to: Listener,
        call: str,
        leg: str,
        *,
        answer: bool,
        state: str | None,
        record: wire.SoundPath | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Connect caller and leg; the talk needs no controller from the same write on.

        ``record``: the file into which the talk is recorded; ``variables`` go with ``socket_resume``.
        """
        known = self._legs.get(leg)
        self._legs[leg] = known or _Leg(to, call)
        self._joins[leg] = _Joining(call, record)
        commands = [wire.answer(call)] if answer else []
        if state is not None:
            commands.append(wire.setvar(call, "cordboard_state", state))
        if variables:
            commands.append(wire.setvars(call, {"socket_resume": "false", **variables}))
        else:
            commands.append(wire.setvar(call, "socket_resume", "false"))
        if record is not None:
            self._recorded[leg] = record
            commands.append(wire.record_talk(call, record, _RECORD + leg))
        commands.append(wire.bridge(call, leg, _JOIN + leg))
        self._send(leg, *commands)

    def person_of(self, leg: str) -> str:
        """Whose telephone a leg is that was rung from here; "" if that is not known."""
        known = self._legs.get(leg)
        return known.person if known is not None else ""

    def end_legs_of(self, call: str) -> None:
        """End every leg that was rung for a call which is gone."""
        self._send("", wire.hupall(wire.Cause.LOSE_RACE, "cordboard_call", call))

    def forget(self, listener: Listener) -> None:
        """The session is over: nobody wants to hear of its legs."""
        for leg in [leg for leg, known in self._legs.items() if known.to is listener]:
            del self._legs[leg]

    def _tell(self, leg: str, event: Event) -> None:
        known = self._legs.get(leg)
        if known is not None:
            known.to.happened(event)

    # --------------------------------------------------------------------------------------------- events

    def _on_event(self, event: EslEvent) -> None:
        if event.name == "BACKGROUND_JOB":
            self._job_done(event.get("Job-UUID") or "", event.body.strip())
        elif event.name == "CHANNEL_HANGUP_COMPLETE":
            self._ended(event)
        elif event.name == "RECORD_STOP":
            if self._recordings is not None:
                self._recordings.stopped(self, event)
        elif event.name == "CUSTOM" and event.get("Event-Subclass") == READY:
            leg = event.get("Unique-ID") or ""
            self._tell(leg, LegReady(leg))
        elif event.name == "CUSTOM" and event.get("Event-Subclass") == wire.RINGS:
            self._placed(event.get("Unique-ID") or "", "")

    def _placed(self, call: str, cause: str) -> None:
        """Whoever placed the call is told, if that is us and they still wait."""
        told = self._placings.get(call)
        if told is not None:
            told.set(cause)

    def _ended(self, event: EslEvent) -> None:
        uuid = event.get("Unique-ID") or ""
        known = self._legs.get(uuid)
        cause = event.get("Hangup-Cause") or ""
        attempt = event.get("variable_cordboard_out") or ""
        if attempt.isascii() and attempt.isdigit():
            self._count_out(uuid, int(attempt[:6]))
        if known is None:
            if event.get("variable_cordboard_state") or event.get("variable_cordboard_called"):
                self._on_end(self, event)
        elif known.outside is None:
            self._fail(uuid, wire.result_of(cause), cause)
        elif str(known.outside.attempt) == attempt:  # else it is the end of an earlier trunk's try
            known.outside.sip = event.get("variable_proto_specific_hangup_cause") or ""
            if not self._may_go_on(known.outside, cause):
                self._fail(uuid, self._outcome(known.outside, cause), cause)
        # Last: an agent who hung up before they were joined has missed the caller, and had no talk that now ends.
        self._on_leg_end(self, event)

    @staticmethod
    def _may_go_on(out: _Outside, cause: str) -> bool:
        """Whether a try that ended so was the trunk's fault, and there is another: the job's result, which comes
        after the end of the leg, sends it there."""
        return bool(out.trunks) and wire.trunk_failed(cause, out.sip)

    @staticmethod
    def _outcome(out: _Outside, cause: str) -> str:
        """What a try that ended so counts as; a trunk that refuses *us* is nobody who declines."""
        return "unreachable" if wire.trunk_failed(cause, out.sip) else wire.result_of(cause)

    def _job_done(self, job: str, body: str) -> None:
        if job.startswith(_JOIN):
            self._joined(job.removeprefix(_JOIN), body)
            return
        if job.startswith(_PLACE):
            self._placed(job.removeprefix(_PLACE), "" if body.startswith("+OK") else _cause(body))
            return
        if job.startswith(_RECORD):
            leg = job.removeprefix(_RECORD)
            record, call = self._recorded.pop(leg, None), self._unwanted.pop(leg, None)
            if record is not None and call is not None:
                self._send("", wire.record_stop(call, record))
            if record is not None and self._recordings is not None:
                self._recordings.asked(self, record.path.rpartition("/")[2], body)
            return
        known = self._legs.get(job)
        if known is None:
            return
        if body.startswith("+OK"):
            if known.outside is not None:
                known.outside.trunks.clear()  # it is taken: what comes now is the far end's own
            known.to.happened(LegAnswered(job) if known.screened else LegReady(job))
            return
        cause = _cause(body)
        if known.outside is not None and self._may_go_on(known.outside, cause):
            self._log.warning("a trunk did not take a call: trying the next", leg=job, cause=cause)
            self._next_trunk(job, known, known.outside, self._outcome(known.outside, cause), cause)
        else:
            self._fail(job, wire.result_of(cause), cause)

    def _joined(self, leg: str, result: str) -> None:
        joining = self._joins.pop(leg, None)
        if joining is None or result.startswith("+OK"):
            return
        known = self._legs.get(leg)
        if known is not None:
            self._send("", *self._given_up(leg, joining))
            known.to.happened(JoinFailed(leg, result[:100]))
        else:  # its session is gone and resume is false: nobody would ever come for this caller
            self._send("", wire.transfer(joining.call, RESUME_EXTENSION, CONTEXT))

    # ---------------------------------------------------------------------------------------- connection

    def _send(self, leg: str, *commands: wire.Command, on_reply: Callable[[Reply], None] | None = None) -> None:
        """Send, or keep for a connection that is being made again; ``leg`` fails if that takes too long."""
        try:
            self._inbound.send(*commands, on_reply=on_reply)
        except ConnectionLost:
            self._waiting.append(_Waiting(time.monotonic() + _PATIENCE, leg, commands, on_reply))
            if len(self._waiting) == 1:
                gevent.spawn_later(_PATIENCE, self._give_up)

    def _on_up(self, inbound: Inbound) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._catch_up(inbound, waiting)
        except ConnectionLost:  # once more at the next connection
            self._waiting = waiting + self._waiting

    def _catch_up(self, inbound: Inbound, waiting: list[_Waiting]) -> None:
        inbound.send(wire.core_uuid(), on_reply=self._is_core)
        rung = {entry.leg for entry in waiting}
        for leg in [leg for leg in self._legs if leg not in rung]:  # what happened meanwhile was not heard
            inbound.send(wire.getvar(leg, "cordboard_ready"), on_reply=partial(self._found, leg))
        while waiting:
            entry = waiting[0]
            inbound.send(*entry.commands, on_reply=entry.on_reply)
            del waiting[0]

    def _is_core(self, reply: Reply) -> None:
        self._on_core(self, reply.text.strip())
        self._known.set()

    def _on_down(self, reason: str) -> None:
        """The connection says so itself in the log."""

    def _give_up(self) -> None:
        now = time.monotonic() + 0.01
        late = [entry for entry in self._waiting if entry.until <= now]
        self._waiting = [entry for entry in self._waiting if entry.until > now]
        if self._waiting:
            gevent.spawn_later(self._waiting[0].until - now, self._give_up)
        for entry in late:
            if entry.leg:
                self._fail(entry.leg, "lost", "SWITCH_AWAY")  # nobody's telephone has been tried


def _cause(body: str) -> str:
    """Why a job failed, in the switch's word; never nothing."""
    return body.removeprefix("-ERR").strip().partition(" ")[0][:40] or "UNKNOWN"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Commands for a connection that is not there just now."""

    until: float  # monotonic
    leg: str
    commands: tuple[wire.Command, ...]
    on_reply: Callable[[Reply], None] | None
