"""One channel of the stand-in switch: its life, its applications, and the order of the events it causes.

A channel is one greenlet, as it is one thread in FreeSWITCH, that walks the states of
`switch_core_session_run`: ROUTING finds actions, EXECUTE runs them, HIBERNATE-RESET-SOFT_EXECUTE joins two
channels (`uuid_bridge`), HANGUP and REPORTING end it.  It must never know who reads its events or what they
are for; it calls `switch` to fire them.

Where the surprise lies:

- Commands of a controller queue up and run at the next 20 ms media tick, **inside** whatever plays: a
  `playback` sent during a `playback` interrupts it and the first one goes on afterwards
  (`switch_ivr_parse_all_events`).
- `ready` is false not only after a hangup: a channel that is being transferred, joined or reset is not
  ready either, and everything that waits gives up then.  That is how a `playback` ends in PLAYBACK ERROR on
  a living caller, and why a `record` that is cut short that way hangs the caller up (`record_function` in
  mod_dptools).
- `loops: -1` on an `execute` begins the application again and again, each time with both events, under one UUID; a
  break ends the whole, and so does a round of less than half a second (`switch_ivr_parse_event`).
- A digit is an event when it is *read*, not when it is pressed: playback, record and park read digits,
  sleep does not.
"""

from __future__ import annotations

import re
import time
import uuid as uuids
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

from freeswitch.simulator import encoder
from freeswitch.simulator.encoder import STATE_NUMBER, header, quote
from freeswitch.simulator.media import RATE, Sound, find_sounds, write_wav

if TYPE_CHECKING:
    from freeswitch.simulator.listener import Listener
    from freeswitch.simulator.switch import Switch

__all__ = ["TICK", "Channel", "Party", "Profile", "Why", "truth", "words"]

TICK = 0.020  # seconds between two media frames
_SHORTEST_ROUND = 0.5  # seconds: an application that is over sooner is not begun again
_DEEPEST = 16  # SWITCH_MAX_STACKS: applications inside applications
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?:\((?P<call>[^)]*)\))?\}")
_DIGITS = "0123456789*#"

Action = tuple[str, str]


def truth(value: str | None) -> bool:
    """`switch_true`."""
    return value is not None and value.lower() in (
        "yes",
        "on",
        "true",
        "t",
        "enabled",
        "active",
        "allow",
        "1",
    )


def words(text: str) -> list[str]:
    """`switch_separate_string` at blanks: single quotes group, and are taken off."""
    return [item.replace("'", "") for item in re.findall(r"(?:'[^']*'|[^\s'])+|'", text)]


class Why(Enum):
    """Why a wait ended."""

    TIME = "its time was over"
    BREAK = "uuid_break"
    DIGIT = "a digit that ends it"
    CONDITION = "what it waited for came true"
    GONE = "the channel is no longer ready"


class Party(Protocol):
    """The human at the other end of a channel, told what they would notice."""

    def rings(self, channel: Channel) -> None: ...
    def is_answered(self, channel: Channel) -> None: ...
    def hears(self, sound: Sound) -> None: ...
    def is_recorded(self, path: str) -> None: ...
    def talks(self, other: Channel) -> None: ...
    def stops_talking(self, other: Channel) -> None: ...
    def hung_up(self, channel: Channel) -> None: ...

    @property
    def speaks(self) -> bool: ...


@dataclass(frozen=True)
class Profile:
    """A caller profile: who calls whom, as events tell it. A transfer makes a new one."""

    direction: str
    username: str
    name: str
    number: str
    destination: str
    context: str
    source: str
    channel_name: str
    created: int  # microseconds since the epoch
    callee_name: str = ""
    callee_number: str = ""
    dialplan: str = "XML"
    transfer_source: str = ""
    redirected_from: str = ""
    index: int = 1
    original_name: str = ""
    original_number: str = ""
    dialled: str = ""  # what a leg was dialled as, wherever it was sent since; told in no event

    @property
    def who(self) -> str:
        """The number of who is at the far end, whatever joining made of the caller ID."""
        return self.dialled or self.original_number or self.number

    def flipped(self) -> Profile:
        """As FreeSWITCH turns a dialled leg round once it is on its own: the dialled one becomes the caller."""
        return replace(
            self,
            name=self.callee_name,
            number=self.callee_number,
            original_name=self.name,
            original_number=self.number,
            callee_name=self.name,
            callee_number=self.number,
        )

    def text(self, prefix: str, channel: Channel) -> str:
        """The header lines of this profile under `prefix` (Caller, Channel, Other-Leg)."""
        times = channel.times
        other = prefix == "Other-Leg"
        named = (
            ("Direction", self.direction),
            ("Logical-Direction", "inbound" if other else self.direction),
            ("Username", self.username),
            ("Dialplan", self.dialplan),
            ("Caller-ID-Name", self.name),
            ("Caller-ID-Number", self.number),
            ("Orig-Caller-ID-Name", self.original_name or self.name),
            ("Orig-Caller-ID-Number", self.original_number or self.number),
            ("Callee-ID-Name", self.callee_name),
            ("Callee-ID-Number", self.callee_number),
            ("Network-Addr", "127.0.0.1"),
            ("ANI", self.original_number or self.number),
            ("Destination-Number", self.destination),
            ("Unique-ID", channel.uuid),
            ("Source", self.source),
            ("Transfer-Source", self.transfer_source),
            ("Context", self.context),
            ("RDNIS", self.redirected_from),
            ("Channel-Name", self.channel_name),
        )
        lines = [f"{prefix}-{name}: {quote(value)}\n" for name, value in named if value]
        if not other:
            lines.append(f"{prefix}-Profile-Index: {self.index}\n")
        lines.append(f"{prefix}-Profile-Created-Time: {self.created}\n")
        for name, key in (
            ("Created", "start"),
            ("Answered", "answer"),
            ("Progress", "progress"),
            ("Progress-Media", "progress_media"),
            ("Hangup", "end"),
            ("Transfer", "transfer"),
            ("Resurrect", "resurrect"),
            ("Bridged", "bridge"),
        ):
            lines.append(f"{prefix}-Channel-{name}-Time: {times.get(key, 0)}\n")
        lines.append(
            f"{prefix}-Channel-Last-Hold: 0\n{prefix}-Channel-Hold-Accum: 0\n{prefix}-Screen-Bit: true\n"
            f"{prefix}-Privacy-Hide-Name: false\n{prefix}-Privacy-Hide-Number: false\n"
        )
        return "".join(lines)


@dataclass
class Recording:
    """A `record_session` under way.

    `joined`: nothing is written while the channel is not joined (RECORD_BRIDGE_REQ).  `pieces`: what was written so
    far, (seconds, masked); `since`: since when it has been written so, None while it is not.
    """

    path: str
    since: float | None
    stereo: bool = False
    joined: bool = False
    masked: bool = False
    options: str = ""
    pieces: list[tuple[float, bool]] = field(default_factory=list)

    def turn(self, now: float, *, writes: bool, masked: bool) -> None:
        """From now on it is written, or not, and as silence, or not."""
        if self.since is not None:
            self.pieces.append((now - self.since, self.masked))
        self.since, self.masked = now if writes else None, masked


@dataclass(eq=False, repr=False)
class Channel:
    """A channel. `switch` fires its events; `party` is who holds the telephone at its far end, if anyone is."""

    switch: Switch
    uuid: str
    direction: str
    profile: Profile
    variables: dict[str, str]
    party: Party | None = None
    session: int = 0

    state: str = "CS_NEW"  # where it should go
    running: str = "CS_NEW"  # where its thread is
    call_state: str = "DOWN"
    is_answered: bool = False
    has_media: bool = False
    cause: str | None = None
    transferring: bool = False  # CF_TRANSFER: being moved elsewhere; not ready
    redirected: bool = False  # CF_REDIRECT: being joined by uuid_bridge
    bridge_originator: bool = False  # CF_UUID_BRIDGE_ORIGINATOR: this one runs the talk
    partner: Channel | None = None  # CF_BRIDGED
    other: str = ""  # Other-Leg header lines
    actions: deque[Action] = field(default_factory=deque)
    pending: deque[dict[str, str]] = field(default_factory=deque)
    digits: deque[str] = field(default_factory=deque)
    listeners: list[Listener] = field(default_factory=list)
    recordings: dict[str, Recording] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    watch: Callable[[], None] | None = None  # called whenever it may be of interest to who dialled it
    gone: Event = field(default_factory=Event)  # set after CHANNEL_HANGUP_COMPLETE

    def __post_init__(self) -> None:
        self.times = {"start": self.profile.created, "profile_start": self.profile.created}
        self.name = self.profile.channel_name
        self.inline = ""  # the actions it was transferred to in place of an extension
        self._wake = Event()
        self._broken = 0
        self._executing = False  # CF_BROADCAST
        self._stopped = False  # CF_STOP_BROADCAST
        self._controlled = False  # CF_CONTROLLED: a park is running
        self._locked = False  # CF_EVENT_LOCK
        self._depth = 0
        self._phase = self.switch.clock()
        self._scheduled: list[gevent.Greenlet[..., object]] = []
        self._profile_text: str | None = None
        self._variables_text: str | None = None
        self._fixed = (
            f"Channel-Name: {quote(self.name)}\nUnique-ID: {quote(self.uuid)}\n"
            f"Call-Direction: {self.direction}\nPresence-Call-Direction: {self.direction}\n"
        )

    # -- what events say of it ---------------------------------------------------------------------

    @property
    def answer_state(self) -> str:
        """`Answer-State` as events have it."""
        if self.cause:
            return "hangup"
        return "answered" if self.is_answered else "early" if self.has_media else "ringing"

    def set(self, name: str, value: str | None) -> None:
        """Set a variable; None or an empty text removes it (`switch_channel_set_variable`)."""
        if value:
            self.variables[name] = value
        else:
            self.variables.pop(name, None)
        self._variables_text = None

    def set_all(self, values: dict[str, str]) -> None:
        self.variables |= values
        self._variables_text = None

    def become(self, profile: Profile) -> None:
        """Take a new caller profile."""
        self.profile = profile
        self._profile_text = None

    def at(self, name: str, when: int | None = None) -> None:
        """Note the time of a milestone (microseconds; now unless given)."""
        self.times[name] = int(time.time() * 1e6) if when is None else when
        self._profile_text = None

    def basic_text(self) -> str:
        """The header lines that every event of a channel carries, without its variables."""
        if self._profile_text is None:
            self._profile_text = self.profile.text("Caller", self)
        cause = f"Hangup-Cause: {self.cause}\n" if self.cause else ""
        presence = self.variables.get("presence_id")
        presence = header("Channel-Presence-ID", presence) if presence else ""
        codec = ""
        if self.direction == "inbound" or self.is_answered:
            codec = (
                "Channel-Read-Codec-Name: PCMU\nChannel-Read-Codec-Rate: 8000\n"
                "Channel-Read-Codec-Bit-Rate: 64000\nChannel-Write-Codec-Name: PCMU\n"
                "Channel-Write-Codec-Rate: 8000\nChannel-Write-Codec-Bit-Rate: 64000\n"
            )
        return (
            f"Channel-State: {self.running}\nChannel-Call-State: {self.call_state}\n"
            f"Channel-State-Number: {STATE_NUMBER[self.state]}\n{self._fixed}"
            f"Channel-HIT-Dialplan: {'true' if self.direction == 'inbound' else 'false'}\n{presence}"
            f"Channel-Call-UUID: {quote(self.variables.get('call_uuid', self.uuid))}\n"
            f"Answer-State: {self.answer_state}\n{cause}{codec}{self._profile_text}{self.other}"
        )

    def variables_text(self) -> str:
        """The `variable_*` lines."""
        if self._variables_text is None:
            self._variables_text = "".join(
                f"variable_{name}: {quote(value)}\n" for name, value in self.variables.items()
            )
        return self._variables_text

    def fire(self, name: str, extra: str = "", first: str = "") -> None:
        """Fire event `name` with the whole channel; `first` and `extra` are header lines before and after it."""
        self.switch.fire(name, lambda: first + self.basic_text() + self.variables_text() + extra, self)

    def fire_basic(self, name: str, extra: str = "") -> None:
        """Fire one of the few events that carry no variables (CHANNEL_STATE, DTMF)."""
        self.switch.fire(name, lambda: self.basic_text() + extra, self)

    # -- state -------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Not hung up."""
        return self.cause is None

    @property
    def ready(self) -> bool:
        """`switch_channel_ready`: up, and not on the way to somewhere else."""
        return (
            self.cause is None
            and not self.transferring
            and self.state not in ("CS_NEW", "CS_INIT", "CS_ROUTING", "CS_RESET")
        )

    def go(self, state: str) -> None:
        """Ask its thread to go to `state`; nothing leads out of a hangup."""
        if STATE_NUMBER[self.state] < STATE_NUMBER["CS_HANGUP"]:
            self.state = state
            self.touch()

    def touch(self) -> None:
        """Wake its thread, and the thread of whoever talks with it."""
        self._wake.set()
        if self.partner is not None:
            self.partner._wake.set()
        if self.watch is not None:
            self.watch()

    def queue(self, message: dict[str, str]) -> None:
        """Queue a `sendmsg` (header names in lower case)."""
        self.pending.append(message)
        self._wake.set()

    def press(self, digit: str) -> None:
        """A digit arrives from the far end."""
        if self.up:
            self.digits.append(digit)
            self._wake.set()

    def interrupt(self, everything: bool) -> None:
        """`uuid_break`; with `everything` what is queued is dropped as well."""
        if everything:
            self.pending.clear()
        self._broken = 2 if everything and not self._executing else 1
        self._stopped = self._executing
        self._wake.set()

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """Hang the channel up; only the first cause counts."""
        if self.cause is not None:
            return
        self.cause = cause
        self.state = "CS_HANGUP"
        self.switch.forget(self)
        bond = self.switch.channels.get(self.variables.get("signal_bond", ""))
        if bond is not None:
            bond.set_all(encoder.leg_ended_variables(cause))
        self.fire("CHANNEL_HANGUP")
        if self.party is not None:
            self.party.hung_up(self)
        self.touch()
        for listener in tuple(self.listeners):
            listener.channel_is_down()

    def far_end_hangs_up(self, cause: str = "NORMAL_CLEARING") -> None:
        """The telephone at the far end hangs up (a SIP BYE, or CANCEL before the answer)."""
        if self.up:
            number = str(encoder.CAUSE_Q850.get(cause, 16))
            self.set_all(
                {
                    "sip_reason": f'Q.850;cause={number};text="{cause}"',
                    "sip_term_status": "200",
                    "proto_specific_hangup_cause": "sip:200",
                    "sip_term_cause": number,
                }
            )
            self.hangup(cause)
            self.set("sip_hangup_disposition", "recv_bye" if self.is_answered else "recv_cancel")

    def run(self) -> None:
        """The channel's thread."""
        enter: dict[str, Callable[[], None]] = {
            "CS_ROUTING": self._route,
            "CS_EXECUTE": self._execute_actions,
            "CS_HIBERNATE": lambda: self.go("CS_RESET"),
            "CS_RESET": self._reset,
            "CS_SOFT_EXECUTE": self._soft_execute,
            "CS_EXCHANGE_MEDIA": self._exchange_media,
            "CS_PARK": self._park_state,
        }
        try:
            while self.up:
                if self.state == self.running:
                    self._wake.clear()
                    if self.state == self.running and self.up:
                        self._wake.wait()
                    continue
                self._enter(self.state)
                enter.get(self.running, lambda: None)()
        finally:
            self.hangup("DESTINATION_OUT_OF_ORDER")  # only if the stand-in itself failed
            self._report()

    def _enter(self, state: str) -> None:
        self.running = state
        if state == "CS_ROUTING":
            self.call_state = "RINGING"
        elif state == "CS_EXECUTE" and self.is_answered:
            self.call_state = "ACTIVE"
        if state not in ("CS_HIBERNATE", "CS_RESET"):
            self.transferring = self.redirected = False
        self.fire_basic("CHANNEL_STATE")

    def _route(self) -> None:
        if self.direction == "inbound" and self.profile.original_number:
            # An intercepted caller carried the other's caller ID until now.
            self.set("pre_transfer_caller_id_name", self.profile.name)
            self.set("pre_transfer_caller_id_number", self.profile.number)
            self.set("channel_cid_flipped", "yes")
            mine = self.profile
            self.become(replace(mine, name=mine.original_name, number=mine.original_number))
        actions = inline_actions(self.inline) if self.inline else self.switch.route(self)
        if actions is None:
            self.hangup("NO_ROUTE_DESTINATION")
            return
        self.actions = deque(actions)
        self.go("CS_EXECUTE")

    def _execute_actions(self) -> None:
        while self.state == "CS_EXECUTE" and self.actions and self.up:
            application, argument = self.actions.popleft()
            if not self.execute(application, argument):
                return
        if self.ready and self.state == "CS_EXECUTE":
            self.hangup("NORMAL_CLEARING")  # "has executed the last dialplan instruction"

    def _reset(self) -> None:
        if self.bridge_originator:
            self.go("CS_SOFT_EXECUTE")

    def _report(self) -> None:
        self.running = "CS_HANGUP"
        self.forget_schedule()
        if "sip_hangup_disposition" not in self.variables:
            if self.direction == "outbound" and not self.is_answered:
                self.set_all({"sip_invite_failure_status": "487", "sip_invite_failure_phrase": "CANCEL"})
            if self.direction == "outbound" and self.cause == "LOSE_RACE":
                self.set("call_completed_elsewhere", "true")
            refused = "send_refuse" if self.direction == "inbound" else "send_cancel"
            self.set("sip_hangup_disposition", "send_bye" if self.is_answered else refused)
        self.fire_basic("CHANNEL_STATE")
        for path in tuple(self.recordings):
            self._stop_recording(path)
        self.running = self.state = "CS_REPORTING"
        self.call_state = "HANGUP"
        self.fire_basic("CHANNEL_STATE")
        self.at("end")
        application, data = (
            self.variables.get("current_application"),
            self.variables.get("current_application_data"),
        )
        last = {"last_app": application} if application else {}
        last |= {"last_arg": data} if data else {}
        caller_id = f'"{self.profile.name}" <{self.profile.number}>'
        dialled = self.variables.get("digits_dialed", "")
        self.set_all(last | encoder.cdr_variables(self.cause or "NONE", caller_id, dialled, self.times))
        self.fire("CHANNEL_HANGUP_COMPLETE", first=f"Hangup-Cause: {self.cause}\n")
        self.gone.set()
        self.switch.reported(self)

    # -- waiting -----------------------------------------------------------------------------------

    def wait(
        self,
        seconds: float | None = None,
        *,
        on_digit: Callable[[str], bool] | None = None,
        until: Callable[[], bool] = lambda: False,
        breakable: bool = True,
        commands: bool = True,
    ) -> Why:
        """Do what a loop over media frames does until something ends it.

        Queued commands run in here. `on_digit` reads digits (each is a DTMF event) and says whether one
        ends the wait; without it digits stay queued. `seconds` are the switch's, not the clock's (see
        `Switch.speed`).
        """
        deadline = None if seconds is None else self.switch.clock() + seconds
        while True:
            if not self.ready:
                return Why.GONE
            if until():
                return Why.CONDITION
            if breakable and self._broken:
                self._broken = 0
                return Why.BREAK
            self._wake.clear()
            if commands:
                self._run_pending()
            if on_digit is not None and self.digits:
                digit = self.digits.popleft()
                self.fire_basic("DTMF", f"DTMF-Digit: {quote(digit)}\nDTMF-Duration: 2000\nDTMF-Source: RTP\n")
                if on_digit(digit):
                    return Why.DIGIT
                continue
            if not self.up:
                return Why.CONDITION  # hung up by a command it has just run in here: a playback calls that played
            left = None if deadline is None else deadline - self.switch.clock()
            if left is not None and left <= 0:
                return Why.TIME
            if self._wake.wait(None if left is None else left / self.switch.speed) and self.up and not until():
                self.tick()

    def tick(self) -> None:
        """Sleep until the next media frame of this channel."""
        since = (self.switch.clock() - self._phase) % TICK
        gevent.sleep((TICK - since) / self.switch.speed)

    def _run_pending(self) -> None:
        if self._depth >= _DEEPEST or self._locked:
            return
        self._depth += 1
        try:
            while self.pending and not self._locked:
                self._perform(self.pending.popleft())
        finally:
            self._depth -= 1

    def _perform(self, message: dict[str, str]) -> None:
        """One queued `sendmsg` (`switch_ivr_parse_event`)."""
        command = message.get("call-command", "")
        lock = truth(message.get("event-lock"))
        self._locked = self._locked or lock
        if command == "hangup":
            self.hangup(message.get("hangup-cause", "NORMAL_CLEARING"))
        elif command == "execute" and message.get("execute-app-name"):
            outermost = not self._executing
            self._executing = True
            try:
                self._execute_rounds(message)
            finally:
                self.set("current_loop", None)
                self.set("total_loops", None)
                if outermost:
                    self._executing = False
        if lock:
            self._locked = False

    def _execute_rounds(self, message: dict[str, str]) -> None:
        """An `execute` as often as its `loops` says, once by default, without end if they are negative."""
        loops = int(message.get("loops", "1"))
        argument = message.get("execute-app-arg") or message.get("body", "")
        self._stopped = False
        number = 0
        while loops < 0 or number < loops:
            number += 1
            self.set_all({"current_loop": str(number), "total_loops": str(loops)})
            begun = self.switch.clock()
            if not self.execute(message["execute-app-name"], argument, message.get("event-uuid")):
                break
            if not self.ready or self._stopped or self.switch.clock() - begun < _SHORTEST_ROUND:
                break

    # -- applications ------------------------------------------------------------------------------

    def execute(self, application: str, argument: str = "", uuid: str | None = None) -> bool:
        """Run one application with its two events; False if it could not be started.

        One that does not exist hangs the call up, as on FreeSWITCH (`command_errors.jsonl`).
        """
        if not self.up:
            return False
        run = self._applications().get(application)
        if run is None:
            self.hangup("DESTINATION_OUT_OF_ORDER")
            return False
        argument = self._expand(argument)
        self.set("current_application_response", None)
        self.set("current_application_data", argument)
        self.set("current_application", application)
        data = header("Application-Data", argument) if argument else ""
        same = f"Application: {application}\n{data}"
        identity = f"Application-UUID: {quote(uuid or str(uuids.uuid4()))}\n"
        self.fire("CHANNEL_EXECUTE", same + identity)
        self._broken = 0
        run(argument)
        response = self.variables.get("current_application_response", "_none_")
        self.fire("CHANNEL_EXECUTE_COMPLETE", f"{same}{header('Application-Response', response)}{identity}")
        return True

    def _applications(self) -> dict[str, Callable[[str], None]]:
        return {
            "answer": lambda _: self.answer(),
            "bridge": self._bridge,
            "event": self._event,
            "hangup": lambda cause: self.hangup(cause if cause in encoder.CAUSE_Q850 else "NORMAL_CLEARING"),
            "intercept": self._intercept,
            "log": lambda _: None,
            "multiset": self._multiset,
            "park": lambda _: self.park(),
            "play_and_get_digits": self._play_and_get_digits,
            "playback": self._playback,
            "pre_answer": lambda _: self.pre_answer(),
            "record": self._record,
            "record_session": self._record_session,
            "ring_ready": lambda _: self.ring_ready(),
            "sched_cancel": lambda _: self.forget_schedule(),
            "sched_hangup": self._schedule_hangup,
            "set": lambda text: self.set(*_assignment(text)),
            "sleep": lambda milliseconds: void(self.wait(float(milliseconds or 0) / 1000)),
            "socket": lambda argument: self.switch.control(self, argument),
            "stop_record_session": self.stop_recording,
            "transfer": lambda text: void(self.transfer(*words(text)[:3])),
            "unset": lambda name: self.set(name, None),
        }

    def _expand(self, argument: str) -> str:
        """Expand `${variable}` and `${api(arguments)}`: what comes in as text from outside must never reach this."""

        def value(reference: re.Match[str]) -> str:
            if reference["call"] is not None:
                return self.switch.expand_call(reference["name"], reference["call"])
            return self.variables.get(reference["name"], "")

        return _REFERENCE.sub(value, argument) if "${" in argument else argument

    def _multiset(self, argument: str) -> None:
        separator = " "
        if argument.startswith("^^") and len(argument) > 2:
            separator, argument = argument[2], argument[3:]
        for item in filter(None, argument.split(separator)):
            self.set(*_assignment(item))

    def answer(self) -> None:
        """Answer the call, once."""
        if self.is_answered or not self.up:
            return
        self.is_answered = self.has_media = True
        self.at("answer")
        if self.direction == "outbound" and "sip_reply_host" not in self.variables:
            self._phone_responded()
        self.set_all(encoder.answered_variables(self.direction, self.session))
        self.fire("CHANNEL_ANSWER")
        self.call_state = "ACTIVE"
        self.set("endpoint_disposition", "ANSWER")
        if self.party is not None:
            self.party.is_answered(self)
        if hook := self.variables.get("api_on_answer"):
            self.switch.api(hook, None)
        self.touch()

    def pre_answer(self) -> None:
        """Early media: the caller hears without being answered."""
        if not self.has_media and self.up:
            self.has_media = True
            self.at("progress_media")
            self.call_state = "EARLY"
            self.fire("CHANNEL_PROGRESS_MEDIA")

    def ring_ready(self) -> None:
        """Let the caller hear ringing."""
        if not self.times.get("progress") and not self.is_answered and self.up:
            self.at("progress")
            if self.direction == "outbound":
                self._phone_responded()
            else:
                self.call_state = "RINGING"
                self.set("sip_to_tag", f"{self.session:013d}")
            self.fire("CHANNEL_PROGRESS")
            if hook := self.variables.get("execute_on_ring"):
                application, _, argument = hook.partition(":")
                self.execute(application, argument)
            self.call_state = "RINGING"
            if self.party is not None:
                self.party.rings(self)

    def _phone_responded(self) -> None:
        self.set_all(encoder.responded_variables(self.session, self.profile.number, self.profile.destination))

    def refused(self, status: int) -> None:
        """What was dialled refuses with this SIP status, or (408) has said nothing until the switch gave it up."""
        if self.up:
            cause = encoder.cause_of_status(status)
            self.set_all(encoder.refused_variables(self.session, cause, status))
            self.hangup(cause)

    def _ends(self, digit: str) -> bool:
        """Whether a digit ends a playback or recording (`on_dtmf` in mod_dptools: `*` unless told otherwise)."""
        terminators = self.variables.get("playback_terminators", "*")
        if terminators.lower() == "none":
            return False
        if terminators.lower() == "any":
            terminators = _DIGITS
        if digit not in terminators:
            return False
        self.set("playback_terminator_used", digit)
        return True

    def _playback(self, argument: str) -> None:
        self.set("playback_terminator_used", None)
        why = self._play(argument, self._ends)
        response = "FILE NOT FOUND" if why is None else "PLAYBACK ERROR" if why is Why.GONE else "FILE PLAYED"
        self.set("current_application_response", response)

    def _play(self, spec: str, on_digit: Callable[[str], bool]) -> Why | None:
        """Play what `spec` names; None if there is no such sound."""
        self.pre_answer()
        sounds = find_sounds(spec, self.switch.sounds)
        if sounds is None:
            return None
        why = Why.TIME
        begun = self.switch.clock()
        path = header("Playback-File-Path", spec)
        self.fire("PLAYBACK_START", path)
        for sound in sounds:
            if self.party is not None and self.variables.get("current_loop", "1") == "1":
                self.party.hears(sound)  # what begins again without a gap is one thing to hear
            why = self.wait(sound.seconds, on_digit=on_digit)
            if why is not Why.TIME:
                break
        played = int((self.switch.clock() - begun) * 1000)
        self.set_all(
            {
                "playback_last_offset_pos": str(played * RATE // 1000),
                "playback_seconds": str(played // 1000),
                "playback_ms": str(played),
                "playback_samples": str(played * RATE // 1000),
            }
        )
        self.fire("PLAYBACK_STOP", f"{path}Playback-Status: {'done' if why is Why.TIME else 'break'}\n")
        return why

    def _play_and_get_digits(self, argument: str) -> None:
        """`MIN MAX TRIES TIMEOUT TERMINATORS FILE INVALID_FILE VARIABLE REGEX DIGIT_TIMEOUT`, times in milliseconds."""
        least_, most_, tries, timeout, terminators, prompt, wrong, name, pattern, *more = words(argument)
        least, most, wait = int(least_), int(most_), int(timeout) / 1000
        between = int(more[0]) / 1000 if more else wait
        self.set(name, None)
        self.set(f"{name}_invalid", None)
        self.set("read_terminator_used", None)
        self.digits.clear()  # what was pressed before does not count
        for _ in range(int(tries)):
            got: list[str] = []
            collect = partial(_collect, got)
            why = self._play(prompt, collect)
            # Without any sound there is no waiting either: such a try is over at once.
            while why not in (None, Why.GONE) and len(got) < most and not (got and got[-1] in terminators):
                why = self.wait(between if got else wait, on_digit=collect)
                if why is Why.GONE:
                    self.set("read_result", "failure")
                if why is Why.TIME:
                    break
            if why is Why.GONE:
                self._after_hangup()
                return
            if got and got[-1] in terminators:
                self.set("read_terminator_used", got.pop())
            text = "".join(got)
            self.set("read_result", "success" if len(text) >= least else "failure")
            if len(text) >= least and re.search(pattern, text):
                self.set(name, text)
                self.set(f"{name}_invalid", None)
                return
            self.set(f"{name}_invalid", text)
            self._play(wrong, lambda _: False)

    def _event(self, argument: str) -> None:
        """`event`: fire one of its own, with the whole channel in it if it is CUSTOM."""
        fields = dict(map(_assignment, argument.split(",")))
        name = fields.pop("Event-Name", None) or "CHANNEL_APPLICATION"
        lines = "".join(header(field, value or "") for field, value in fields.items())
        self.fire(name, first=lines) if name == "CUSTOM" else self.fire_basic(name, lines)

    def _schedule_hangup(self, argument: str) -> None:
        """`sched_hangup +SECONDS [CAUSE]`: goes on whatever the channel does, a talk included."""
        seconds, _, cause = argument.partition(" ")
        if seconds:
            # Whole seconds of the epoch are compared, so it comes half a second early on average.
            late = max(0.05, float(seconds.lstrip("+")) - 0.5)
            self._scheduled.append(self.switch.later(late, lambda: self.hangup(cause or "ALLOTTED_TIMEOUT")))

    def forget_schedule(self) -> None:
        """`sched_cancel`: whatever was scheduled for this channel."""
        for timer in self._scheduled:
            timer.kill(block=False)
        self._scheduled.clear()

    def _after_hangup(self) -> None:
        """Some applications notice a hangup one frame later than it happens."""
        if not self.up:
            gevent.sleep(TICK / self.switch.speed)

    def _record(self, argument: str) -> None:
        """`PATH [MAX_SECONDS [SILENCE_THRESHOLD [SILENCE_SECONDS]]]`."""
        path, *limits = words(argument) or [""]
        limit = float(limits[0].lstrip("+")) if limits else 0.0
        silence = float(limits[2]) if len(limits) > 2 else 0.0
        self.set("playback_terminator_used", None)
        self.pre_answer()
        try:
            write_wav(path, 0)
        except OSError:  # a directory that does not exist is enough
            self.hangup("DESTINATION_OUT_OF_ORDER")
            return
        self.set("silence_hits_exhausted", "false")
        begun = self.switch.clock()
        self._announce_recording("RECORD_START", path)
        # Whole seconds of the epoch are compared with "later than": half a second more on average.
        longest = limit + 0.5 if limit else None
        quiet = self.party is not None and not self.party.speaks
        if quiet and silence:
            longest = min(longest or silence, silence)
        why = self.wait(longest, on_digit=self._ends)
        if quiet and longest == silence and why is Why.TIME:
            self.set("silence_hits_exhausted", "true")
        # Without a single packet from the far end nothing is written, while the limit runs all the same.
        self._finish_recording(path, 0.0 if quiet else self.switch.clock() - begun)
        if not self.ready:
            # Not only after a hangup: a controller that dies during `record` costs the caller the call.
            self.hangup("DESTINATION_OUT_OF_ORDER")

    def _record_session(self, path: str) -> None:
        self.start_recording(path)

    def start_recording(self, path: str, options: str = "") -> bool:
        """`record_session`: goes on until it is stopped or the channel ends, whatever application runs.

        `options`: `{NAME=value,...}` of `uuid_record`.  False: the file cannot be opened.
        """
        if path in self.recordings:
            return True
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, 0)
        except OSError:
            return False
        stereo, joined = "RECORD_STEREO=true" in options, "RECORD_BRIDGE_REQ=true" in options
        since = self.switch.clock() if not joined or self.partner is not None else None
        self.recordings[path] = Recording(path, since, stereo, joined, options=options)
        self._announce_recording("RECORD_START", path)
        return True

    def mask_recording(self, path: str, masked: bool) -> bool:
        """`uuid_record mask`: from now on silence is written in both channels; False: there is no such recording."""
        recording = self.recordings.get(path)
        if recording is not None:
            recording.turn(self.switch.clock(), writes=recording.since is not None, masked=masked)
        return recording is not None

    def _write_recordings(self, writes: bool) -> None:
        """They are joined, or no longer."""
        for recording in self.recordings.values():
            if recording.joined:
                recording.turn(self.switch.clock(), writes=writes, masked=recording.masked)

    def stop_recording(self, path: str) -> None:
        """`stop_record_session PATH` (or `all`)."""
        for name in tuple(self.recordings) if path == "all" else (path,):
            if name in self.recordings:
                self._stop_recording(name)

    def _stop_recording(self, path: str) -> None:
        recording = self.recordings.pop(path)
        recording.turn(self.switch.clock(), writes=False, masked=False)
        seconds = sum(length for length, _ in recording.pieces)
        if seconds or not recording.joined:
            self._finish_recording(path, seconds, "success-maxtime", recording)
            return
        with suppress(OSError):  # not one frame was written: the switch throws the file away
            Path(path).unlink()
        self.set("RECORD_DISCARDED", "true")
        self._finish_recording("", 0.0, "empty-file", recording)

    def _finish_recording(self, path: str, seconds: float, why: str = "", talk: Recording | None = None) -> None:
        try:
            size = write_wav(path, seconds, talk.pieces if talk else (), stereo=talk is not None and talk.stereo)
        except OSError:
            size = 0
        path = talk.path if talk else path
        milliseconds = int(seconds * 1000)
        self.set_all(
            {
                "record_record_file_size": str(size),
                "record_file_size": str(size),
                "record_seconds": str(milliseconds // 1000),
                "record_ms": str(milliseconds),
                "record_samples": str(milliseconds * RATE // 1000),
            }
        )
        self.set("record_completion_cause", why)
        given = [pair.partition("=") for pair in (talk.options if talk else "").strip("{}").split(",") if pair]
        told = "".join(header(f"Recording-Variable-{name}", value) for name, _, value in given)
        self._announce_recording("RECORD_STOP", path, told + (f"Record-Completion-Cause: {why}\n" if why else ""))

    def _announce_recording(self, event: str, path: str, extra: str = "") -> None:
        if event == "RECORD_STOP":
            self.switch.has_written(path)
        self.fire(event, header("Record-File-Path", path) + extra)
        if event == "RECORD_START" and self.party is not None:
            self.party.is_recorded(path)

    def park(self) -> None:
        """`switch_ivr_park`: wait for commands until the channel leaves, or `park_timeout=SECONDS:CAUSE` is over."""
        if self._controlled or self.state == "CS_RESET" or not self.up:
            return
        seconds: float | None = None
        cause = "NORMAL_CLEARING"
        if limit := self.variables.get("park_timeout"):
            count, _, named = limit.partition(":")
            cause = named or cause
            # Whole seconds of the epoch are compared, so it ends half a second early on average.
            seconds = max(0.05, float(count) - 0.5)
            self.set("park_timeout", None)
        self._controlled = True
        self.fire("CHANNEL_PARK")
        if self.wait(seconds, on_digit=lambda _: False, breakable=False) is Why.TIME:
            self.hangup(cause)
        self._controlled = False
        self.fire("CHANNEL_UNPARK")

    def _park_state(self) -> None:
        self.park()

    def transfer(self, extension: str, dialplan: str = "XML", context: str = "") -> bool:
        """`switch_ivr_session_transfer`; False when `max_forwards` is used up, which hangs the call up."""
        if not self.up:
            return False
        counter = "max_session_transfers" if "max_session_transfers" in self.variables else "max_forwards"
        left = int(self.variables.get(counter, "71")) - 1
        if left <= 0:
            self.hangup("EXCHANGE_ROUTING_ERROR")
            return False
        self.set(counter, str(left))
        context = context or self.profile.context
        inline = dialplan.lower() == "inline"
        source = f"{int(time.time())}:{uuids.uuid4()}:bl_xfer:{extension}/{context}/{dialplan}"
        self._note_transfer(source)
        self.set("signal_bond", None)
        self.transferring = True
        self.other = ""
        self.times.pop("bridge", None)
        self.at("profile_start")
        self.become(
            replace(
                self.profile,
                destination=self.profile.destination if inline else extension,
                redirected_from="" if inline else self.profile.destination,
                dialplan=dialplan,
                context=context,
                transfer_source=source,
                index=self.profile.index + 1,
                created=self.times["profile_start"],
            )
        )
        self.inline = extension if inline else ""
        self.go("CS_ROUTING")
        return True

    def _note_transfer(self, source: str) -> None:
        history = self.variables.get("transfer_history")
        if history:
            source_list = history.removeprefix("ARRAY::") + "|:" + source
            self.set("transfer_history", "ARRAY::" + source_list)
        else:
            self.set("transfer_history", source)
        self.set("transfer_source", source)

    # -- talking -----------------------------------------------------------------------------------

    def meet(self, other: Channel, role: str = "originatee") -> None:
        """Carry the other leg's profile in events from now on."""
        self.other = f"Other-Type: {role}\n" + other.profile.text("Other-Leg", other)

    def dials(self, legs: Sequence[Channel]) -> None:
        """Its `bridge` has sent these legs on their way."""
        listed = [f"{leg.uuid};{leg.profile.callee_name};{leg.profile.callee_number}" for leg in legs]
        self.set("originated_legs", listed[0] if len(listed) == 1 else "ARRAY::" + "|:".join(listed))
        self.set("originate_signal_bond", legs[-1].uuid)
        self.set("DIALSTATUS", "failure")

    def _bridge(self, argument: str) -> None:
        """`bridge`: ring what the dial string says, talk with who answers first."""
        was = self.call_state
        self.call_state = "RING_WAIT" if self.is_answered else was
        self.set("originate_disposition", "failure")
        peer, cause = self.switch.ring(argument, self)
        if self.up:
            self.call_state = was
        disposition = "SUCCESS" if peer is not None else cause
        self.set("originate_disposition", disposition)
        self.set("DIALSTATUS", {"USER_BUSY": "BUSY", "NO_ANSWER": "NOANSWER"}.get(disposition, disposition))
        if peer is None:
            self.set("originate_failed_cause", cause)
            on = self.variables.get("continue_on_fail", "")
            if self.ready and not truth(on) and cause not in on.split(","):
                self.hangup(cause)
            return
        self.set("originate_signal_bond", None)
        self.set("switch_m_sdp", peer.variables.get("switch_r_sdp"))
        self.set("signal_bond", peer.uuid)
        named = peer.profile.destination
        peer.become(replace(peer.profile, callee_name=named, callee_number=named))
        self.become(replace(self.profile, callee_name=named, callee_number=named))
        self.at("progress", self.times.get("progress") or peer.times.get("progress"))
        self.meet(peer)
        self.talk(peer)

    def talk(self, peer: Channel) -> None:
        """`switch_ivr_multi_threaded_bridge`, in this channel's thread: until one of the two leaves."""
        if not peer.up:
            self.switch.unjoinable(self, peer)
            return
        peer.go("CS_CONSUME_MEDIA")
        for one, two in ((self, peer), (peer, self)):
            one.at("bridge")
            one.partner = two
            one._write_recordings(True)
        peer.set("call_uuid", self.uuid)
        bridged = header("Bridge-A-Unique-ID", self.uuid) + header("Bridge-B-Unique-ID", peer.uuid)
        if self.switch.late:
            self.switch.sleep(self.switch.late)
        self.fire("CHANNEL_BRIDGE", first=bridged)
        for one, two in ((self, peer), (peer, self)):
            one.set("bridge_channel", two.name)
            one.set("bridge_uuid", two.uuid)
            one.set("bridge_to", two.uuid)
            one.set("last_bridge_to", two.uuid)
            one.set("last_bridge_role", "originator" if one is self else "originatee")
            one.set("signal_bond", two.uuid)
            one.set("last_sent_callee_id_name", self.profile.callee_name or "0000000000")
            one.set("last_sent_callee_id_number", self.profile.callee_number or "0000000000")
        if not self.is_answered:
            self.answer()
        for one, two in ((self, peer), (peer, self)):
            if one.party is not None:
                one.party.talks(two)
        peer.go("CS_EXCHANGE_MEDIA")
        self.wait(on_digit=lambda _: False, until=lambda: not self._both(peer))
        self._after_hangup()
        self.partner = peer.partner = None
        for one, two in ((self, peer), (peer, self)):
            one._write_recordings(False)
            if one.party is not None:
                one.party.stops_talking(two)
        peer.talk_is_over()
        for one, two in ((self, peer), (peer, self)):
            one.set("bridge_hangup_cause", two.cause)
            one.set("bridge_to", None)
        self.fire("CHANNEL_UNBRIDGE", first=bridged)
        peer.set("call_uuid", peer.uuid)
        if self.ready or self.state == "CS_RESET":
            if truth(self.variables.get("park_after_bridge")):
                self.go("CS_PARK")
            elif self.variables.get("transfer_after_bridge"):
                self.transfer_after_bridge()
            elif truth(self.variables.get("hangup_after_bridge")):
                self.hangup(peer.cause or "NORMAL_CLEARING")

    def _both(self, peer: Channel) -> bool:
        return self.partner is peer and peer.ready and peer.state in ("CS_CONSUME_MEDIA", "CS_EXCHANGE_MEDIA")

    def transfer_after_bridge(self) -> None:
        """Follow `transfer_after_bridge=EXTENSION:DIALPLAN:CONTEXT`, which is used up by that."""
        where = self.variables["transfer_after_bridge"]
        self.set("transfer_after_bridge", None)
        self.transfer(*where.split(":")[:3])

    def _exchange_media(self) -> None:
        """The other side of `talk`: read digits until it is over."""
        self.wait(on_digit=lambda _: False, until=lambda: self.partner is None, breakable=False)

    def talk_is_over(self) -> None:
        """What becomes of the leg that was talked with (`audio_bridge_on_exchange_media`)."""
        if self.state != "CS_EXCHANGE_MEDIA" or self.transferring or self.redirected or not self.up:
            return
        if truth(self.variables.get("park_after_bridge")):
            self.go("CS_PARK")
        elif self.variables.get("transfer_after_bridge"):
            self.transfer_after_bridge()
        else:
            self.hangup("NORMAL_CLEARING")

    def flip(self) -> None:
        """Turn a dialled leg's caller ID round, once."""
        if self.direction == "outbound" and "channel_cid_flipped" not in self.variables:
            self.set("pre_transfer_caller_id_number", self.profile.number)
            self.set("pre_transfer_caller_id_name", self.profile.name)
            self.set("channel_cid_flipped", "yes")
            self.become(self.profile.flipped())

    def _intercept(self, argument: str) -> None:
        """`intercept UUID`: take a call over from wherever it is."""
        target = self.switch.channels.get(argument.strip())
        if target is None:
            return
        if truth(self.variables.get("intercept_unbridged_only")) and target.partner is not None:
            return
        self.answer()
        held = self.switch.channels.get(target.variables.get("signal_bond", ""))
        target.answer()
        target.transferring = True
        target.go("CS_PARK")
        self.switch.join(self, target)
        if held is not None and held is not self:
            held.hangup("PICKED_OFF")

    def joined_with(self, other: Channel, theirs: Profile, originator: bool) -> None:
        """Half of `switch_ivr_uuid_bridge`: leave whatever it does and go and meet `other`, who was `theirs`."""
        self.redirected = self.transferring = True
        if originator:
            self.set("uuid_bridge", other.uuid)
        self.set("bridge_channel", other.name)
        self.set("bridge_uuid", other.uuid)
        self.set("signal_bond", other.uuid)
        self.set("original_destination_number", self.profile.destination)
        self.set("original_caller_id_name", self.profile.name)
        self.set("original_caller_id_number", self.profile.number)
        source = f"{int(time.time())}:{uuids.uuid4()}:uuid_br:{other.uuid}"
        self._note_transfer(source)
        self.at("profile_start")
        mine = self.profile
        new = replace(mine, transfer_source=source, index=mine.index + 1, created=self.times["profile_start"])
        if originator:
            new = replace(new, callee_name=theirs.callee_name, callee_number=theirs.callee_number)
        else:
            # Who is joined by somebody else's doing takes over that one's caller ID, a caller's own included.
            new = replace(
                new,
                name=theirs.name,
                number=theirs.number,
                original_name=mine.original_name or mine.name,
                original_number=mine.original_number or mine.number,
                callee_name=mine.original_name or mine.name,
                callee_number=mine.original_number or mine.number,
            )
        self.become(new)
        self.bridge_originator = originator
        self.go("CS_CONSUME_MEDIA" if self.state == "CS_HIBERNATE" else "CS_HIBERNATE")

    def _soft_execute(self) -> None:
        """`uuid_bridge_on_soft_execute`: the originator waits for the other to arrive, then talks."""
        if not self.bridge_originator:
            return
        other = self.switch.channels.get(self.variables.get("uuid_bridge", ""))
        self.set("uuid_bridge", None)
        try:
            if other is None:
                self._lost_before_joining()
                return
            while self.up and other.up and other.running != "CS_SOFT_EXECUTE":
                if other.running == "CS_RESET":
                    other.go("CS_SOFT_EXECUTE")
                self.tick()
            self.tick()
            while other.up and self.ready and not other.is_answered and other.direction == "outbound":
                self.tick()
            if not other.up:
                self._cancelled_before_joining()
                return
            if not (self.ready and other.is_answered):
                self.switch.unjoinable(self, other)
                return
            for one, two in ((self, other), (other, self)):
                one.fire("CHANNEL_EXECUTE", "Application: uuid_bridge\n" + header("Application-Data", two.uuid))
            self.talk(other)
            if not self.transferring and not self.redirected and self.state not in ("CS_ROUTING", "CS_PARK"):
                self.go("CS_EXECUTE")
        finally:
            self.bridge_originator = False

    def _cancelled_before_joining(self) -> None:
        """The other hung up between `uuid_bridge` and the talk."""
        if not self.ready:
            return
        if truth(self.variables.get("uuid_bridge_continue_on_cancel")):
            self.go("CS_EXECUTE")
        else:
            self.hangup("ORIGINATOR_CANCEL")

    def _lost_before_joining(self) -> None:
        """The other was gone before this one got there."""
        if truth(self.variables.get("park_after_bridge")):
            self.go("CS_PARK")
        elif self.variables.get("transfer_after_bridge"):
            self.transfer_after_bridge()
        else:
            self.hangup("DESTINATION_OUT_OF_ORDER")


def _assignment(text: str) -> tuple[str, str | None]:
    name, _, value = text.partition("=")
    return name.strip(), value or None


def _collect(got: list[str], digit: str) -> bool:
    got.append(digit)
    return True


def void(_: object) -> None:
    """For the places where only the effect is wanted."""


def inline_actions(text: str) -> Sequence[Action]:
    """Actions written as `app:argument,app:argument` (mod_dptools' inline dialplan; `m:^:` changes the comma)."""
    separator = ","
    if text.startswith("m:") and len(text) > 4:
        separator, text = text[2], text[4:]
    return [(name, argument) for name, _, argument in (item.partition(":") for item in text.split(separator))]


def action_of(text: str) -> Iterable[Action]:
    """The action of `&application(argument)`."""
    name, _, argument = text.removeprefix("&").partition("(")
    return [(name, argument.removesuffix(")"))]
