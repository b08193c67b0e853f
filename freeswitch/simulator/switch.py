"""The stand-in switch itself: its calls and legs, its dialplan, its API, and who hears of what.

A `Switch` places calls towards controllers as FreeSWITCH's `socket` application does, answers an inbound
Event Socket port, and rings the telephones that a story declares.  Everything runs in greenlets of the
process it is created in (no monkey patching), on the switch's own clock: `speed` 10 makes a ten-second
sound last one.

It must never know the controller: it imports nothing of it, and neither half may learn from the other what
FreeSWITCH does.  What it does is in the recorded transcripts (`tests/traces`), which it is tested against.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
import uuid as uuids
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group
from gevent.server import StreamServer
from gevent.socket import wait_write

from freeswitch.simulator import encoder
from freeswitch.simulator.channel import (
    TICK,
    Action,
    Channel,
    Profile,
    action_of,
    truth,
    words,
)
from freeswitch.simulator.listener import Fired, Listener
from freeswitch.simulator.phones import Behaviour, Caller, Does, Gateway, Phone, Refuses, Ring, Unregistered

__all__ = ["Dialplan", "Switch", "shipped_dialplan"]

Dialplan = Callable[[Channel], "Sequence[Action] | None"]
_ROUNDS = 100  # times that the shipped extension goes round before it apologises
_HEARTBEAT = 20.0  # seconds between two HEARTBEAT events
_PRESS = "tone_stream://%(200,100,600)"  # what follows the question for key 1
_CONNECT_WITHIN = 5.0  # real seconds to reach a controller's port


def shipped_dialplan(controllers: Sequence[tuple[str, int]], apology: str = "silence_stream://1000") -> Dialplan:
    """The dialplan of `conf/dialplan/cordboard.xml`, as actions; that file says why each stands there."""
    hosts = "|".join(f"{host}:{port}" for host, port in controllers)
    offer = [("socket", f"{hosts} async full")] * 3
    begin = [
        ("set", "socket_resume=true"),
        ("set", "hangup_after_bridge=false"),
        ("set", "uuid_bridge_continue_on_cancel=true"),
        ("set", "max_session_transfers=100000"),
    ]

    def route(channel: Channel) -> Sequence[Action]:
        number, variables = channel.profile.destination, channel.variables
        if channel.profile.context == "cordboard_screen":
            return _screen(channel)
        if re.fullmatch(r"\+?[0-9*#]{1,32}", number):
            channel.set("DP_MATCH", f"ARRAY::{number}|:{number}")
            called = [("set", f"cordboard_called={number}")]
            return [*called, *begin, *offer, ("sleep", "100"), ("transfer", "cordboard_again XML cordboard")]
        if number not in ("cordboard_again", "cordboard_resume") or "cordboard_called" not in variables:
            return [("hangup", "UNALLOCATED_NUMBER")]
        tries = variables.get("cordboard_tries", "")
        if len(tries) >= _ROUNDS:
            heard = [("playback", apology)] if channel.is_answered else []
            return [*heard, ("hangup", "NORMAL_TEMPORARY_FAILURE")]
        round_ = [("set", f"cordboard_tries={tries}x"), ("unset", "transfer_history")]
        if number == "cordboard_again":
            round_.append(("set", "socket_resume=true"))
        else:
            round_.insert(0, ("stop_record_session", "${cordboard_file}"))
        return [*round_, *offer, ("sleep", "100"), ("transfer", f"{number} XML cordboard")]

    return route


def _screen(leg: Channel) -> Sequence[Action]:
    """The dialplan of `conf/dialplan/screen.xml`, as actions."""
    place, variables = leg.profile.destination, leg.variables
    if place != "cordboard_screen":
        leg.set("DP_MATCH", f"ARRAY::{place}|:{place.removeprefix('cordboard_')}")
    if leg.direction != "outbound" or "cordboard_call" not in variables:
        return [("hangup", "UNALLOCATED_NUMBER")]
    if place == "cordboard_screen" and "cordboard_confirm" in variables:
        sounds = f"file_string://{variables['cordboard_confirm']}!{_PRESS}"
        return [
            ("set", "cordboard_ready=asked"),
            ("sched_hangup", "+15 NO_ANSWER"),
            ("play_and_get_digits", f"1 1 3 3000 none {sounds} silence_stream://20 cordboard_key ."),
            ("transfer", "cordboard_asked XML cordboard_screen"),
        ]
    if place == "cordboard_screen":
        return [
            ("set", "cordboard_ready=asked"),
            ("set", "playback_terminators=none"),
            ("playback", "file_string://${cordboard_whisper}"),
            ("transfer", "cordboard_told XML cordboard_screen"),
        ]
    if place == "cordboard_asked" and variables.get("cordboard_key") != "1":
        return [("hangup", "CALL_REJECTED" if "cordboard_key" in variables else "NO_ANSWER")]
    if place not in ("cordboard_asked", "cordboard_told"):
        return [("hangup", "UNALLOCATED_NUMBER")]
    return [
        ("sched_cancel", ""),
        ("sched_hangup", "${cordboard_longest}"),
        ("unset", "cordboard_confirm"),
        ("unset", "cordboard_whisper"),
        ("set", "cordboard_ready=true"),
        ("event", "Event-Name=CUSTOM,Event-Subclass=cordboard::ready"),
        ("park", ""),
    ]


class Switch:
    """A switch without a telephone network.

    controllers  (host, port) of each, for the shipped dialplan; or give a `dialplan` of your own.
    password     of the inbound Event Socket, which listens on loopback at `esl_port` (0: any, see
    `esl_address`). domain       whose telephones `user/EXTENSION@DOMAIN` rings.
    speed        how many times faster than the clock the switch's own time passes.
    sounds       seconds by path or file name, for sounds that exist in no file; may be added to at any time.

    `start()` and `stop()`, or use it as a context manager.
    """

    def __init__(
        self,
        controllers: Sequence[tuple[str, int]] = (),
        *,
        password: str = "ClueCon",  # noqa: S107  FreeSWITCH's own default, for a port on loopback
        esl_port: int = 0,
        domain: str = "acme.cordboard.test",
        speed: float = 1.0,
        name: str = "switch1",
        dialplan: Dialplan | None = None,
        sounds: Mapping[str, float] | None = None,
    ) -> None:
        self.password = password
        self.domain = domain
        self.speed = speed
        self.name = name
        self.dialplan = dialplan or shipped_dialplan(controllers)
        self.sounds = dict(sounds or {})
        self.channels: dict[str, Channel] = {}  # by UUID, those that are not hung up
        self.phones: dict[tuple[str, str], Phone] = {}
        self.gateways: dict[str, Gateway] = {}
        self.outsiders: dict[tuple[str, str], Phone] = {}  # by gateway (or none) and number
        self.callers: list[Caller] = []
        self.globals = {"domain": domain, "hostname": name}
        self.directory: Path | None = None  # of the phones: of its files only the version is read, by `reloadxml`
        self.directory_version = ""
        # What `${system(…)}` and its like were told to do: a story with hostile text must leave this empty.
        self.executed: list[str] = []
        self.written: dict[str, str] = {}  # the SHA-256 of each recording as it was when it was finished, by path
        self.log: list[str] = []  # commands received, when `keep_log` is set
        self.keep_log = False
        self.late = 0.0  # seconds by which it says too late that two were joined, as a busy one does
        self.writer = encoder.EventWriter(name, str(uuids.uuid4()))
        self.running = Event()  # cleared while the switch is paused
        self.running.set()
        self._started = time.monotonic()
        self._greenlets = Group()
        self._inbound: list[Listener] = []
        self._outbound: dict[str, list[Listener]] = {}
        self._wanted_inbound: frozenset[str] = frozenset()
        self._refusals: list[tuple[re.Pattern[str], str]] = []
        self._watchers: list[Event] = []
        self._sessions = 0
        self._server = StreamServer(("127.0.0.1", esl_port), self._accept)
        self._refusing_until = 0.0

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> Switch:
        self._server.start()
        self.later(_HEARTBEAT, self._beat)
        return self

    def _beat(self) -> None:
        uptime = int(self.clock() * 1000)
        facts = {
            "Event-Info": "System Ready",
            "Up-Time": f"0 years, 0 days, 0 hours, 0 minutes, {uptime // 1000} seconds",
            "FreeSWITCH-Version": "1.11.1-release",
            "Uptime-msec": str(uptime),
            "Session-Count": str(len(self.channels)),
            "Max-Sessions": "20000",
            "Session-Per-Sec": "2000",
            "Session-Per-Sec-Last": "0",
            "Session-Per-Sec-Max": "0",
            "Session-Per-Sec-FiveMin": "0",
            "Session-Since-Startup": str(self._sessions),
            "Session-Peak-Max": str(self._sessions),
            "Session-Peak-FiveMin": str(self._sessions),
            "Idle-CPU": "100.000000",
        }
        lines = "".join(encoder.header(name, value) for name, value in facts.items())
        self.fire("HEARTBEAT", lambda: lines, None)
        self.later(_HEARTBEAT, self._beat)

    def stop(self) -> None:
        """Drop every call and connection."""
        self._server.stop(timeout=0)
        for listener in [*self._inbound, *(one for several in self._outbound.values() for one in several)]:
            listener.abort()
        self._greenlets.kill(timeout=5)
        self.channels.clear()

    def __enter__(self) -> Switch:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def esl_address(self) -> tuple[str, int]:
        """Host and port of the inbound Event Socket."""
        return ("127.0.0.1", int(self._server.server_port or 0))

    def clock(self) -> float:
        """Seconds since it was made, as its calls count them."""
        return (time.monotonic() - self._started) * self.speed

    def sleep(self, seconds: float) -> None:
        """Sleep that many of the switch's seconds."""
        gevent.sleep(seconds / self.speed)

    def later(self, seconds: float, action: Callable[[], object]) -> gevent.Greenlet[..., Any]:
        """Do `action` after that many of the switch's seconds; kill the result to call it off."""
        greenlet = gevent.Greenlet(action)
        self._greenlets.add(greenlet)
        greenlet.start_later(seconds / self.speed)
        return greenlet

    def wait(self, holds: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until `holds()`, looked at whenever anything happens. Raises TimeoutError (real seconds)."""
        end = time.monotonic() + timeout
        changed = Event()
        self._watchers.append(changed)
        try:
            while not holds():
                changed.clear()
                if not changed.wait(max(0.0, end - time.monotonic())) and not holds():
                    raise TimeoutError(f"not within {timeout} s")
        finally:
            self._watchers.remove(changed)

    def something_happened(self) -> None:
        """Let those who `wait` look again."""
        for changed in self._watchers:
            changed.set()

    # -- people ------------------------------------------------------------------------------------

    def phone(self, extension: str, behaviour: Does | None = None, *, domain: str | None = None) -> Phone:
        """The telephone of `extension`; with `behaviour` it is (re)declared. One never declared is not
        in the directory at all (SUBSCRIBER_ABSENT), unlike one that is Unregistered."""
        key = (extension, domain or self.domain)
        phone = self.phones.get(key)
        if phone is None:
            phone = self.phones[key] = Phone(self, extension, Unregistered(), key[1])
        if behaviour is not None:
            phone.behaviour = behaviour
        return phone

    def gateway(self, name: str, *, up: bool = True, behaviour: Behaviour | None = None) -> Gateway:
        """The trunk `name`, (re)declared: up or down, and what it does with every call if not what the number does.

        One never declared is INVALID_GATEWAY.
        """
        gateway = self.gateways.setdefault(name, Gateway(self, name))
        gateway.up, gateway.behaviour = up, behaviour
        return gateway

    def outside(self, number: str, behaviour: Does | None = None, *, gateway: str | None = None) -> Phone:
        """The outside telephone that a carrier rings when it is sent exactly `number`; with `behaviour` (re)declared.

        `gateway`: only that one knows it (None: each does). What no carrier knows is refused with 404.
        """
        phone = self.outsiders.setdefault((gateway or "", number), Phone(self, number, Refuses(480), ""))
        if behaviour is not None:
            phone.behaviour = Refuses(480) if isinstance(behaviour, Unregistered) else behaviour
        return phone

    def call(
        self,
        from_: str,
        to: str,
        *,
        name: str = "",
        company: str = "",
        extension: str = "",
        plan: Callable[[Caller], object] | None = None,
        uuid: str = "",
    ) -> Caller:
        """Somebody at `from_` calls `to`. `plan` is what they do, in a greenlet of its own.

        `name` is the SIP display name and goes into every event exactly as a real switch passes it on,
        hostile or not. With `company` and `extension` it is a telephone of the directory that calls, known by its
        password, whatever `from_` says; without them a carrier.
        """
        domain = f"{company}.{self.domain.partition('.')[2]}" if company else ""
        caller = Caller(self, from_, to, name, self.phones.get((extension, domain)))
        channel_name = f"sofia/internal/{from_}@{domain or '127.0.0.1'}"
        channel = self._new_channel(
            uuid or str(uuids.uuid4()),
            Profile(
                direction="inbound",
                username=from_,
                name=name or from_,
                number=from_,
                destination=to,
                context="cordboard",
                source="mod_sofia",
                channel_name=channel_name,
                created=int(time.time() * 1e6),
            ),
            {},
        )
        channel.set_all(
            encoder.inbound_variables(
                channel.uuid, channel.session, from_, name, to, channel_name, channel.profile.created
            )
        )
        if company:
            channel.set("sip_acl_authed_by", None)
            channel.set_all(encoder.phone_variables(company, extension, from_, domain))
        channel.party = caller
        self.callers.append(caller)
        caller.dial(channel)
        self._begin(channel, "CS_ROUTING")
        if plan is not None:
            self._greenlets.add(gevent.spawn(plan, caller))
        return caller

    def _new_channel(self, uuid: str, profile: Profile, variables: dict[str, str]) -> Channel:
        self._sessions += 1
        channel = Channel(self, uuid, profile.direction, profile, variables, session=self._sessions)
        self.channels[uuid] = channel
        return channel

    def _begin(self, channel: Channel, state: str) -> None:
        channel.running, channel.state = "CS_INIT", "CS_ROUTING"
        channel.fire("CHANNEL_CREATE")
        if channel.direction == "outbound":
            channel.fire("CHANNEL_OUTGOING")
        else:
            channel.call_state = "RINGING"
        channel.state = state
        self._greenlets.add(gevent.spawn(channel.run))

    # -- what channels need ------------------------------------------------------------------------

    def route(self, channel: Channel) -> Sequence[Action] | None:
        """The actions for where a channel was sent; None if there is no such extension."""
        return self.dialplan(channel)

    def forget(self, channel: Channel) -> None:
        """It was hung up: nobody can address it any more, though its thread has still to end."""
        if self.channels.get(channel.uuid) is channel:
            del self.channels[channel.uuid]

    def reported(self, channel: Channel) -> None:
        """Its last event was fired, except the one that comes when no connection holds it."""
        if not channel.listeners:
            channel.fire("CHANNEL_DESTROY")
        self.something_happened()

    def control(self, channel: Channel, argument: str) -> None:
        """The `socket` application: give the call to the first controller that can be reached, until it is given up."""
        hosts = argument.split(" ", 1)[0]
        for host in hosts.split("|"):
            name, _, port = host.rpartition(":")
            channel.set("socket_host", name)
            sock = _connected(name, int(port))
            if sock is not None:
                break
        else:
            return  # the dialplan goes on
        if not channel.up:
            sock.close()
            return
        listener = Listener(self, sock, channel)
        channel.listeners.append(listener)
        self._outbound.setdefault(channel.uuid, []).append(listener)
        self._greenlets.add(gevent.spawn(listener.run))
        channel.wait(
            until=lambda: listener.connected.is_set() or listener.finished.is_set(),
            breakable=False,
            commands=False,  # what an earlier connection left in the queue must not run before this one is there
        )
        channel.tick()
        channel.park()
        if not channel.ready:
            channel.pending.clear()  # the switch runs these too, and each ends at once: the channel is not ready
        movable = channel.up and channel.state != "CS_HIBERNATE" and not channel.redirected and not channel.transferring
        if movable and truth(channel.variables.get("socket_resume")):
            channel.go("CS_EXECUTE")

    def join(self, one: Channel, two: Channel) -> bool:
        """`switch_ivr_uuid_bridge`: False if either is gone or neither has media.

        Of two legs the one with media leads; an unanswered caller joined to an answered leg is lost that way.
        """
        if not one.has_media:
            if not two.has_media:
                return False
            one, two = two, one
        one.flip()
        two.flip()
        first, second = one.profile, two.profile
        one.meet(two, "originatee")
        two.meet(one, "originator")
        one.joined_with(two, second, originator=True)
        two.joined_with(one, first, originator=False)
        return True

    def unjoinable(self, one: Channel, two: Channel) -> None:
        """A talk could not begin: both are hung up."""
        two.hangup("DESTINATION_OUT_OF_ORDER")
        one.hangup("DESTINATION_OUT_OF_ORDER")

    def expand_call(self, name: str, argument: str) -> str:
        """`${name(argument)}` in an application's argument is an API call; FreeSWITCH would do it."""
        if name in ("system", "bg_system", "lua", "python", "luarun", "spawn"):
            self.executed.append(f"{name} {argument}")
            return ""
        return self.api(f"{name} {argument}", None)

    # -- events ------------------------------------------------------------------------------------

    def fire(self, name: str, write: Callable[[], str], channel: Channel | None, owner: str = "") -> None:
        """Give event `name` to every connection that wants it; `write` makes its own header lines, once at most."""
        own = channel.listeners if channel is not None else self._outbound.get(owner, ())
        inbound = self._inbound if name in self._wanted_inbound or "ALL" in self._wanted_inbound else ()
        if inbound or own:
            event = Fired(name, lambda: self.writer.text(name, write()), channel, owner)
            for listener in tuple(own):
                listener.deliver(event)
            for listener in tuple(inbound):
                listener.deliver(event)
        self.something_happened()

    def interests_changed(self) -> None:
        """Some connection subscribed, unsubscribed or went."""
        wanted: set[str] = set()
        for listener in self._inbound:
            wanted |= listener.names
        self._wanted_inbound = frozenset(wanted)

    def listener_ended(self, listener: Listener) -> None:
        """A connection is over."""
        channel = listener.channel
        if channel is None:
            self._inbound.remove(listener)
        else:
            several = self._outbound[channel.uuid]
            several.remove(listener)
            if not several:
                del self._outbound[channel.uuid]
                if channel.gone.is_set():
                    channel.fire("CHANNEL_DESTROY")
        self.interests_changed()
        self.something_happened()

    def _accept(self, sock: Any, _: object) -> None:
        plain = socket.socket(fileno=sock.detach())
        if time.monotonic() < self._refusing_until:
            plain.close()
            return
        listener = Listener(self, plain)
        self._inbound.append(listener)
        listener.run()

    # -- dialling ----------------------------------------------------------------------------------

    def ring(self, dial_string: str, caller: Channel | None, number: str = "") -> tuple[Channel | None, str]:
        """Ring what a dial string says: the leg that answered, or None and the cause.

        `caller` is who waits for it (the `bridge` application); `number` the caller ID if nobody does.
        """
        variables, rest = _braced(dial_string, "{}")
        cause = "DESTINATION_OUT_OF_ORDER"
        for together in _split(rest, "|"):
            leg, cause = self._ring_together(_split(together, ","), variables, caller, number)
            if leg is not None or (caller is not None and not caller.ready):
                return leg, cause
        return None, cause

    def _ring_together(
        self, endpoints: Iterable[str], variables: dict[str, str], caller: Channel | None, number: str
    ) -> tuple[Channel | None, str]:
        legs: list[Channel] = []
        cause = "DESTINATION_OUT_OF_ORDER"
        changed = Event()
        for endpoint in endpoints:
            own, address = _braced(endpoint, "[]")
            leg, failure = self._dial(address, variables | own, caller, number)
            if leg is None:
                cause = failure
                continue
            leg.watch = changed.set if caller is None else caller.touch
            legs.append(leg)
        if not legs:
            return None, cause
        if caller is not None:
            named = legs[-1].profile.destination
            caller.dials(legs)
            caller.become(replace(caller.profile, callee_name=named, callee_number=named))
            caller.at("progress")
        # FreeSWITCH compares whole seconds of the epoch, so it gives up half a second early on average.
        seconds = max(0.05, float(variables.get("originate_timeout", "60")) - 0.5)

        def decided() -> bool:
            return any(leg.is_answered and leg.up for leg in legs) or not any(leg.up for leg in legs)

        if caller is not None:
            caller.wait(seconds, until=decided, breakable=False)
        else:
            end = self.clock() + seconds
            while not decided() and changed.wait(max(0.0, end - self.clock()) / self.speed):
                changed.clear()
        answered = next((leg for leg in legs if leg.is_answered and leg.up), None)
        cancelled = caller is not None and not caller.ready
        for leg in legs:
            leg.watch = None
            if leg is not answered and leg.up:
                leg.hangup("LOSE_RACE" if answered else "ORIGINATOR_CANCEL" if cancelled else "NO_ANSWER")
            if leg is not answered and caller is not None and caller.up:
                caller.set_all(encoder.leg_ended_variables(leg.cause or ""))
        if caller is not None:
            causes = [f"{leg.uuid};{leg.cause or 'NONE'}" for leg in legs]
            caller.set("originate_causes", causes[0] if len(causes) == 1 else "ARRAY::" + "|:".join(causes))
        if answered is None:
            return None, "ORIGINATOR_CANCEL" if cancelled else legs[-1].cause or cause
        if cancelled:
            answered.hangup("ORIGINATOR_CANCEL")
            return None, "ORIGINATOR_CANCEL"
        return answered, "SUCCESS"

    def _dial(
        self, address: str, variables: dict[str, str], caller: Channel | None, number: str
    ) -> tuple[Channel | None, str]:
        """Send one leg on its way; None and the cause if there is nowhere to send it."""
        kind, _, rest = address.partition("/")
        if kind == "error":
            return None, rest
        extension, _, domain = rest.rpartition("/")[2].partition("@")
        gateway = rest.split("/")[1] if kind == "sofia" and rest.startswith("gateway/") else ""
        if gateway:
            phone, missing = self._behind(gateway, extension)
        elif kind == "user":
            if caller is not None:
                caller.set_all({"dialed_user": extension, "dialed_domain": domain})
            phone = self.phones.get((extension, domain or self.domain))
            missing = "SUBSCRIBER_ABSENT" if phone is None else "USER_NOT_REGISTERED"
        elif kind == "sofia":
            phone = next((one for (name, _), one in self.phones.items() if name == extension), None)
            missing = "UNALLOCATED_NUMBER"
        else:
            return None, "CHAN_NOT_IMPLEMENTED"
        if phone is None:
            return None, missing
        uuid = variables.get("origination_uuid") or str(uuids.uuid4())
        if uuid in self.channels:
            return None, "DESTINATION_OUT_OF_ORDER"
        channel_name = f"sofia/internal/{extension}" + ("" if gateway else "@127.0.0.1:5060")
        known = caller.profile if caller is not None else None
        shown = variables.get("origination_caller_id_number") or (known.number if known else number or "0000000000")
        named = variables.get("origination_caller_id_name") or (known.name if known else "")
        behaviour = phone.decide(Ring(shown, named))
        if isinstance(behaviour, Unregistered):
            return None, missing
        leg = self._new_channel(
            uuid,
            Profile(
                direction="outbound",
                username=known.username if known else "",
                name=named,
                number=shown,
                destination=extension,
                context=known.context if known else "default",
                source="mod_sofia" if known else "src/switch_ivr_originate.c",
                channel_name=channel_name,
                created=int(time.time() * 1e6),
                callee_name="Outbound Call",
                callee_number=extension,
                dialplan=known.dialplan if known else "",
                dialled=extension,
            ),
            {},
        )
        known_from = encoder.directory_variables(extension, phone.domain) if kind == "user" else {}
        if gateway:
            known_from = encoder.gateway_variables(gateway)
        if name := variables.get("origination_caller_id_name"):
            known_from["sip_from_display"] = name
        leg.set_all(encoder.outbound_variables(uuid, leg.session, extension, channel_name) | known_from | variables)
        self._begin(leg, "CS_CONSUME_MEDIA")
        phone.ring(leg, behaviour)
        return leg, ""

    def _behind(self, name: str, number: str) -> tuple[Phone | None, str]:
        """Who answers to `number` behind a gateway, or the cause why nobody is asked."""
        gateway = self.gateways.get(name)
        if gateway is None:
            return None, "INVALID_GATEWAY"
        if not gateway.up:
            return None, "GATEWAY_DOWN"
        gateway.note("is asked for", number)
        if gateway.behaviour is not None:
            return Phone(self, number, gateway.behaviour, ""), ""
        known = self.outsiders.get((name, number)) or self.outsiders.get(("", number))
        return known or Phone(self, number, Refuses(404), ""), ""

    # -- the API -----------------------------------------------------------------------------------

    def api(self, text: str, listener: Listener | None) -> str:
        """The result of API command `text`, with the newline that FreeSWITCH gives it (or does not)."""
        name, _, arguments = text.strip().partition(" ")
        commands: dict[str, Callable[[str], str]] = {
            "create_uuid": lambda _: str(uuids.uuid4()),
            "domain_data": self._api_domain_data,
            "global_getvar": lambda name: self.globals.get(name, ""),
            "hostname": lambda _: self.name,
            "hupall": self._api_hupall,
            "originate": self._api_originate,
            "reloadxml": lambda _: self._api_reload(),
            "show": self._api_show,
            "sofia": self._api_sofia,
            "status": lambda _: self._api_status(),
            "uuid_answer": lambda uuid: self._on(uuid, lambda call: call.answer(), "-ERROR\n"),
            "uuid_break": self._api_break,
            "uuid_bridge": self._api_bridge,
            "uuid_exists": lambda uuid: "true" if uuid in self.channels else "false",
            "uuid_getvar": self._api_getvar,
            "uuid_kill": self._api_kill,
            "uuid_record": self._api_record,
            "uuid_setvar": self._api_setvar,
            "uuid_setvar_multi": self._api_setvar_multi,
            "uuid_transfer": self._api_transfer,
            "version": lambda _: "FreeSWITCH Version 1.11.1-release (stand-in)\n",
        }
        command = commands.get(name)
        return f"-ERR {name} Command not found!\n" if command is None else command(arguments)

    def _on(
        self,
        uuid: str,
        action: Callable[[Channel], object],
        missing: str = "-ERR No such channel!\n",
        fine: str = "+OK\n",
    ) -> str:
        channel = self.channels.get(uuid)
        if channel is None:
            return missing
        action(channel)
        return fine

    def _api_bridge(self, arguments: str) -> str:
        named = words(arguments)
        if len(named) < 2:
            return "-USAGE: <uuid> <other_uuid>\n"
        one, two = self.channels.get(named[0]), self.channels.get(named[1])
        if one is None or two is None or not self.join(one, two):
            return "-ERR Invalid uuid\n"
        return f"+OK {named[1]}\n"

    def _api_originate(self, arguments: str) -> str:
        named = [word if word != "undef" else "" for word in words(arguments)]
        if not 2 <= len(named) <= 7:
            return "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>]\n"
        dial_string, extension, dialplan, context, _, number, seconds = named + [""] * (7 - len(named))
        if seconds and "originate_timeout" not in dial_string:
            dial_string = f"{{originate_timeout={seconds}}}{dial_string}"
        leg, cause = self.ring(dial_string, None, number)
        if leg is None:
            self.sleep(TICK)
            return f"-ERR {cause}\n"
        leg.tick()
        if not leg.up:
            return f"-ERR {leg.cause}\n"
        leg.flip()
        if extension.startswith("&"):
            leg.actions = deque(action_of(extension))
            leg.go("CS_EXECUTE")
        else:
            leg.transfer(extension, dialplan or "XML", context or "default")
        return f"+OK {leg.uuid}\n"

    def _api_hupall(self, arguments: str) -> str:
        cause, *named = words(arguments) or ["MANAGER_REQUEST"]
        cause = cause if cause in encoder.CAUSE_Q850 else "MANAGER_REQUEST"
        wanted = dict(zip(named[::2], named[1::2], strict=False))
        for channel in list(self.channels.values()):
            if all(channel.variables.get(name) == value for name, value in wanted.items()):
                channel.hangup(cause)
        if not wanted:
            return f"+OK hangup all channels with cause {cause}\n"
        name, value = next(iter(wanted.items()))
        return f"+OK hangup all channels matching [{name}]=[{value}] with cause: {cause}\n"

    def _api_show(self, arguments: str) -> str:
        if words(arguments)[:1] != ["channels"]:
            return "-USAGE: channels as json\n"
        rows = [_row(channel, self.name) for channel in self.channels.values()]
        if "json" not in arguments:
            return "".join(",".join(row.values()) + "\n" for row in rows) + f"\n{len(rows)} total.\n"
        shown: dict[str, object] = {"row_count": len(rows)} | ({"rows": rows} if rows else {})
        return json.dumps(shown, separators=(",", ":"))

    def _api_sofia(self, arguments: str) -> str:
        """`sofia profile internal flush_inbound_reg [EXTENSION@DOMAIN]`: telephones that are no longer registered."""
        profile, name, action, whom = [*words(arguments), "", "", "", ""][:4]
        if profile != "profile" or action != "flush_inbound_reg":
            return "-ERR not in the stand-in\n"
        if name != "internal":
            return f"Invalid Profile [{name}]"
        for (extension, domain), phone in self.phones.items():
            if whom in ("", f"{extension}@{domain}"):
                phone.unregister()
        return f"+OK flushing all registrations{' matching specified call_id' if whom else ''}\n"

    def _api_domain_data(self, arguments: str) -> str:
        return self.directory_version if words(arguments) == ["cordboard-directory", "var", "version"] else ""

    def _api_reload(self) -> str:
        path = self.directory / "0-version.xml" if self.directory else None
        found = re.search(r'name="version" value="([^"]*)"', path.read_text()) if path and path.exists() else None
        self.directory_version = found[1] if found else ""
        return "+OK [Success]\n"

    def _api_status(self) -> str:
        up = int(self.clock())
        return (
            f"UP 0 years, 0 days, {up // 3600} hours, {up // 60 % 60} minutes, {up % 60} seconds, "
            "0 milliseconds, 0 microseconds\n"
            "FreeSWITCH (Version 1.11.1-release stand-in 64bit) is ready\n"
            f"{self._sessions} session(s) since startup\n"
            f"{len(self.channels)} session(s) - peak {self._sessions}, last 5min {self._sessions} \n"
            "0 session(s) per Sec out of max 2000, peak 0, last 5min 0 \n20000 session(s) max\n"
            "min idle cpu 0.00/100.00\nCurrent Stack Size/Max 240K/240K\n"
        )

    def _api_break(self, arguments: str) -> str:
        uuid, _, flags = arguments.partition(" ")
        return self._on(uuid, lambda call: call.interrupt(everything="all" in flags))

    def _api_getvar(self, arguments: str) -> str:
        uuid, _, name = arguments.partition(" ")
        channel = self.channels.get(uuid)
        return "-ERR No such channel!\n" if channel is None else channel.variables.get(name.strip(), "_undef_")

    def _api_kill(self, arguments: str) -> str:
        uuid, _, cause = arguments.partition(" ")
        named = cause.strip() if cause.strip() in encoder.CAUSE_Q850 else "NORMAL_CLEARING"
        return self._on(uuid, lambda call: call.hangup(named))

    def has_written(self, path: str) -> None:
        """A recording is whole: keep what it is, for those who look later whether it is still the same."""
        with suppress(OSError):  # nothing was in it, and it was thrown away
            self.written[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def _api_record(self, arguments: str) -> str:
        uuid, what, path, _, options = [*words(arguments), "", "", "", "", ""][:5]
        call = self.channels.get(uuid)
        if what not in ("start", "stop", "mask", "unmask") or not path:
            return "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
        if call is None:
            return "-ERR Cannot locate session!\n"
        if what == "start":
            done = call.start_recording(path, options)
            return "+OK Success\n" if done else "-ERR Cannot record session!\n"
        if what == "stop":
            known = path in call.recordings or path == "all"
            call.stop_recording(path)
            return "+OK Success\n" if known else "-ERR Cannot stop record session!\n"
        done = call.mask_recording(path, what == "mask")
        return "+OK Success\n" if done else f"-ERR Cannot {what} recording session!\n"

    def _api_setvar(self, arguments: str) -> str:
        named = words(arguments)
        if len(named) not in (2, 3):
            return "-USAGE: <uuid> <var> [value]\n"
        return self._on(named[0], lambda call: call.set(named[1], named[2] if len(named) == 3 else None))

    def _api_setvar_multi(self, arguments: str) -> str:
        """Splits at `;`, strips `'` and `\\`, and looks at 64 fields at most."""
        uuid, _, assignments = arguments.partition(" ")

        def assign(call: Channel) -> None:
            for item in assignments.split(";")[:64]:
                name, _, value = item.replace("'", "").replace("\\", "").partition("=")
                if name.strip():
                    call.set(name.strip(), value)

        return self._on(uuid, assign)

    def _api_transfer(self, arguments: str) -> str:
        uuid, *where = words(arguments)
        if not where:
            return "-USAGE: <uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]\n"
        return self._on(uuid, lambda call: call.transfer(*where[:3]))

    # -- mischief ----------------------------------------------------------------------------------

    def refuse(self, pattern: str, reply: str = "-ERR refused") -> None:
        """Answer `reply` to every later command that `pattern` (a regular expression) matches, instead of doing it."""
        self._refusals.append((re.compile(pattern), reply))

    def accept_everything(self) -> None:
        """Forget every `refuse`."""
        self._refusals.clear()

    def refusal(self, command: str, headers: Mapping[str, str]) -> str:
        """What to answer instead of doing a command; empty if it is to be done."""
        whole = "\n".join([command, *(f"{name}: {value}" for name, value in headers.items())])
        if self.keep_log:
            self.log.append(whole)
        return next((reply for pattern, reply in self._refusals if pattern.search(whole)), "")

    def garbage(self, data: bytes, call: Caller | None = None) -> None:
        """Send raw bytes on the connection(s) that control `call`, or on all inbound connections."""
        for listener in self._connections(call):
            listener.write(data)

    def truncate(self, call: Caller | None = None) -> None:
        """Send half an event and cut the connection(s): those that control `call`, or all inbound ones."""
        for listener in self._connections(call):
            listener.write(b"Content-Length: 5000\nContent-Type: text/event-plain\n\nEvent-Name: CHANNEL_EX")
            gevent.get_hub().loop.run_callback(listener.abort)

    def drop_inbound(self, refuse_for: float = 0.0) -> None:
        """Cut every inbound connection, and refuse new ones for that many real seconds."""
        self._refusing_until = time.monotonic() + refuse_for
        for listener in tuple(self._inbound):
            listener.abort()

    def crash(self, away: float = 0.0) -> None:
        """Die and come back after that many real seconds: every call is gone without a word, and it is another core."""
        self._refusing_until = time.monotonic() + away
        for listener in [*self._inbound, *(one for several in self._outbound.values() for one in several)]:
            listener.abort()
        self._greenlets.kill(timeout=5)
        self.channels.clear()
        for phone in (*self.phones.values(), *self.outsiders.values()):
            phone.calls.clear()
        self.writer = encoder.EventWriter(self.name, str(uuids.uuid4()))
        self.later(_HEARTBEAT, self._beat)
        self.something_happened()

    def pause(self) -> None:
        """Stop reading commands, with every connection left open, as a stopped process does."""
        self.running.clear()

    def unpause(self) -> None:
        self.running.set()

    def _connections(self, call: Caller | None) -> list[Listener]:
        return list(self._inbound) if call is None else list(self._outbound.get(call.uuid, ()))


def _connected(host: str, port: int) -> socket.socket | None:
    """A connected socket, or None."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect((host, port))
    except BlockingIOError:
        try:
            wait_write(sock.fileno(), timeout=_CONNECT_WITHIN, timeout_exc=TimeoutError())
        except OSError:
            sock.close()
            return None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            return None
    except OSError:
        sock.close()
        return None
    return sock


def _braced(text: str, braces: str) -> tuple[dict[str, str], str]:
    """`{a=1,b='x y'}rest` as its variables and `rest`."""
    text = text.strip()
    if not text.startswith(braces[0]):
        return {}, text
    inside, _, rest = text[1:].partition(braces[1])
    separator = ","
    if inside.startswith("^^") and len(inside) > 2:
        separator, inside = inside[2], inside[3:]
    assignments = (item.partition("=") for item in _split(inside, separator))
    return {name.strip(): value.strip().strip("'") for name, _, value in assignments if name}, rest


def _split(text: str, separator: str) -> list[str]:
    """Split at `separator`, but not inside brackets or single quotes."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif not quoted and character in "[{":
            depth += 1
        elif not quoted and character in "]}":
            depth -= 1
        elif character == separator and not quoted and not depth:
            parts.append(text[begin:at])
            begin = at + 1
    return [*parts, text[begin:]]


def _row(channel: Channel, host: str) -> dict[str, str]:
    """A channel as `show channels` lists it."""
    profile, variables = channel.profile, channel.variables
    created = channel.times["start"] / 1e6
    talks_with = channel.partner.uuid if channel.partner is not None else ""
    return {
        "uuid": channel.uuid,
        "direction": channel.direction,
        "created": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(created)),
        "created_epoch": str(int(created)),
        "name": channel.name,
        "state": channel.running,
        "cid_name": profile.name,
        "cid_num": profile.number,
        "ip_addr": "127.0.0.1",
        "dest": profile.destination,
        "application": "uuid_bridge" if talks_with else variables.get("current_application", ""),
        "application_data": talks_with or variables.get("current_application_data", ""),
        "dialplan": profile.dialplan,
        "context": profile.context,
        "read_codec": "PCMU",
        "read_rate": "8000",
        "read_bit_rate": "64000",
        "write_codec": "PCMU",
        "write_rate": "8000",
        "write_bit_rate": "64000",
        "secure": "",
        "hostname": host,
        "presence_id": variables.get("presence_id", ""),
        "presence_data": "",
        "accountcode": "",
        "callstate": channel.call_state,
        "callee_name": profile.callee_name,
        "callee_num": profile.callee_number,
        "callee_direction": "",
        "call_uuid": variables.get("call_uuid", channel.uuid),
        "sent_callee_name": "",
        "sent_callee_num": "",
        "initial_cid_name": profile.name,
        "initial_cid_num": profile.number,
        "initial_ip_addr": "127.0.0.1",
        "initial_dest": profile.redirected_from or profile.destination,
        "initial_dialplan": profile.dialplan,
        "initial_context": profile.context,
    }
