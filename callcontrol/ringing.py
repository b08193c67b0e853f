"""The inbound connection to one switch: ringing legs, joining them, and hearing what nobody owns.

One :class:`Line` per process and switch; it reconnects by itself.  Legs are rung here and not over the
caller's own socket, because an originate there would hold that socket's lock and delay a takeover.

It knows sessions only as *listeners* with ``happened(event)``.  The surprise: results of legs that a dead
process rang arrive here too, since the switch tells every connection that listens; a leg is known by its
UUID, which is also its job's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import gevent
import structlog

from callcontrol import wire
from callcontrol.esl import ConnectionLost, EslEvent, Inbound, Reply
from callcontrol.messages import Event, JoinFailed, LegFailed, LegReady, LegRinging, Phone
from callcontrol.settings import SwitchAddress

#: The extension by which a call comes back to a controller, and the context of everything that we ship.
RESUME_EXTENSION = "cordboard_resume"
CONTEXT = "cordboard"
#: Prefix of the job that joins a leg; the rest is the leg.
_JOIN = "join-"
#: How much longer than asked a leg may ring before the switch ends it by itself, seconds: our own deadline
#: comes first, this one is for a controller that died.
_SPARE = 3.0
#: How long a command may wait for a connection that is being made again, seconds.
_PATIENCE = 2.0
#: How long an answered leg may wait, parked, for somebody to join it, seconds.
PARK_TIMEOUT = 10


class Listener(Protocol):
    """Who wants to know what becomes of a leg."""

    def happened(self, event: Event) -> None:
        """Take an event about a leg."""


class Line:
    """The way to one switch.  ``on_end(event)`` gets the end of every call on it."""

    def __init__(
        self,
        address: SwitchAddress,
        domain: str,
        on_end: Callable[[Line, EslEvent], None],
        on_core: Callable[[Line, str], None],
    ) -> None:
        self.name = address.name
        self._domain = domain
        self._on_end = on_end
        self._on_core = on_core
        self._legs: dict[str, tuple[Listener, str]] = {}
        self._joins: dict[str, str] = {}
        self._waiting: list[_Waiting] = []
        self._log: Any = structlog.get_logger("switch").bind(switch=address.name)
        self._inbound = Inbound(
            address.host,
            address.port,
            address.password,
            (wire.event_plain("BACKGROUND_JOB", "CHANNEL_HANGUP_COMPLETE"),),
            self._on_event,
            self._on_up,
            self._on_down,
        )

    def start(self) -> None:
        """Connect, and keep connected until :meth:`stop`."""
        self._inbound.start()

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

    # ---------------------------------------------------------------------------------------------- legs

    def ring(self, to: Listener, call: str, company: str, leg: str, phone: Phone, seconds: float) -> None:
        """Ring one telephone; LegReady or LegFailed follows."""
        self._legs[leg] = (to, call)
        endpoint = wire.UserEndpoint(phone.address, f"{company}.{self._domain}")
        variables = {
            "cordboard_call": call,
            "cordboard_company": company,
            "park_timeout": f"{PARK_TIMEOUT}:LOSE_RACE",
        }
        self._send(leg, wire.originate(leg, endpoint, round(seconds + _SPARE), variables, leg))

    def find(self, to: Listener, call: str, leg: str) -> None:
        """Ask what became of a leg that an earlier owner rang."""
        self._legs[leg] = (to, call)
        self._send(leg, wire.getvar(leg, "cordboard_ready"), on_reply=lambda reply: self._found(leg, reply))

    def _found(self, leg: str, reply: Reply) -> None:
        text = reply.text.strip()
        if text == "true":
            self._tell(leg, LegReady(leg))
        elif text.startswith("-ERR"):
            self._tell(leg, LegFailed(leg, "unreachable", "GONE"))
            self._legs.pop(leg, None)  # what is still said of it must not be taken for a leg rung anew
        else:
            self._tell(leg, LegRinging(leg))

    def cancel(self, leg: str) -> None:
        """End a leg that is not needed any more."""
        self._legs.pop(leg, None)
        commands = [wire.kill(leg, wire.Cause.LOSE_RACE)]
        call = self._joins.pop(leg, None)
        if call is not None:  # the joining is given up: the call is ours and may be taken over again
            commands.append(wire.setvar(call, "socket_resume", "true"))
        self._send("", *commands)

    def join(self, to: Listener, call: str, leg: str, *, answer: bool, state: str | None) -> None:
        """Connect caller and leg; the talk needs no controller from the same write on."""
        self._legs[leg] = (to, call)
        self._joins[leg] = call
        commands = [wire.answer(call)] if answer else []
        if state is not None:
            commands.append(wire.setvar(call, "cordboard_state", state))
        commands += [wire.setvar(call, "socket_resume", "false"), wire.bridge(call, leg, _JOIN + leg)]
        self._send(leg, *commands)

    def end_legs_of(self, call: str) -> None:
        """End every leg that was rung for a call which is gone."""
        self._send("", wire.hupall(wire.Cause.LOSE_RACE, "cordboard_call", call))

    def forget(self, listener: Listener) -> None:
        """The session is over: nobody wants to hear of its legs."""
        for leg in [leg for leg, (who, _) in self._legs.items() if who is listener]:
            del self._legs[leg]

    def _tell(self, leg: str, event: Event) -> None:
        known = self._legs.get(leg)
        if known is not None:
            known[0].happened(event)

    # --------------------------------------------------------------------------------------------- events

    def _on_event(self, event: EslEvent) -> None:
        if event.name == "BACKGROUND_JOB":
            self._job_done(event.get("Job-UUID") or "", event.body.strip())
        elif event.name == "CHANNEL_HANGUP_COMPLETE":
            uuid = event.get("Unique-ID") or ""
            if uuid in self._legs:
                cause = event.get("Hangup-Cause") or ""
                self._tell(uuid, LegFailed(uuid, wire.result_of(cause), cause))
                self._legs.pop(uuid, None)
            elif event.get("variable_cordboard_state") or event.get("variable_cordboard_called"):
                self._on_end(self, event)

    def _job_done(self, job: str, body: str) -> None:
        if job.startswith(_JOIN):
            self._joined(job.removeprefix(_JOIN), body)
            return
        if job not in self._legs:
            return
        if body.startswith("+OK"):
            self._tell(job, LegReady(job))
        else:
            cause = body.removeprefix("-ERR").strip().partition(" ")[0]
            self._tell(job, LegFailed(job, wire.result_of(cause), cause[:40]))
            self._legs.pop(job, None)

    def _joined(self, leg: str, result: str) -> None:
        call = self._joins.pop(leg, None)
        if call is None or result.startswith("+OK"):
            return
        known = self._legs.get(leg)
        if known is not None:
            self._send("", wire.setvar(call, "socket_resume", "true"))
            known[0].happened(JoinFailed(leg, result[:100]))
        else:  # its session is gone and resume is false: nobody would ever come for this caller
            self._send("", wire.transfer(call, RESUME_EXTENSION, CONTEXT))

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
        inbound.send(wire.core_uuid(), on_reply=lambda reply: self._on_core(self, reply.text.strip()))
        rung = {entry.leg for entry in waiting}
        for leg in [leg for leg in self._legs if leg not in rung]:  # what happened meanwhile was not heard
            inbound.send(wire.getvar(leg, "cordboard_ready"), on_reply=partial(self._found, leg))
        while waiting:
            entry = waiting[0]
            inbound.send(*entry.commands, on_reply=entry.on_reply)
            del waiting[0]

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
                self._tell(entry.leg, LegFailed(entry.leg, "unreachable", "SWITCH_AWAY"))
                self._legs.pop(entry.leg, None)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Commands for a connection that is not there just now."""

    until: float  # monotonic
    leg: str
    commands: tuple[wire.Command, ...]
    on_reply: Callable[[Reply], None] | None
