"""One live call on one outbound Event Socket connection: the shell around a pure ``Call``.

Translates both ways: the switch's events into the call's words, the call's commands into ``wire`` commands.
It decides nothing about the call.  Bytes go out first, facts are written after them, so that a takeover's
new epoch is on the channel before any fact carries it.

The surprises: a :class:`Join` and the checkpoint before it travel over the *inbound* connection, in one write
with ``socket_resume=false``; over two sockets the talk could begin before the checkpoint is stored.  And the switch
tells of endless music as of many sounds, one after the other: to the call it is one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gevent
import structlog

from callcontrol import messages as m
from callcontrol import wire
from callcontrol.call import Call, Life
from callcontrol.esl import EslError, EslEvent, Outbound, Reply
from callcontrol.published import NOBODY
from callcontrol.queues import COMMANDS as QUEUE_COMMANDS
from callcontrol.recorder import FILE, NOTED
from callcontrol.recording import DEMAND, NO, Noted
from callcontrol.ringing import CONTEXT, RESUME_EXTENSION
from callcontrol.spool import read_name
from callcontrol.state import State, StateError, decode
from callcontrol.view import leg_id

if TYPE_CHECKING:
    from callcontrol.server import Controller

#: How long a new connection may take to say which call it brings, seconds.
HELLO = 5.0
#: How long the switch keeps a dead call's connection for us, seconds; a recording is closed meanwhile.
LINGER = 5
#: From the end of our ``socket`` application to the CHANNEL_BRIDGE that says why: 20 ms on a real switch, seconds.
LEAVING = 0.2
#: A break that comes just as the switch begins the next round of music is forgotten; after so long, seconds, it is said
#: again.  Longer than the 40 ms from a break to the next sound, which it must not hit.
FORGOTTEN = 0.15
#: A round of music that was shorter was the last, milliseconds: see ``wire.endless``.
ROUND = 500
#: Samples per second of what the switch plays, and of one frame.
RATE, _FRAME = 8000, 160
#: Takeovers after which a bug of ours ends the call instead of handing it on for ever.
MOST_STUMBLES = 3

_NEEDED = ("RECORD_STOP",)
#: Asked for only while a sound plays that we shall have to stop.
_BEGIN = "CHANNEL_EXECUTE"
_UNWANTED = (
    _BEGIN,
    "CHANNEL_STATE",
    "CHANNEL_CALLSTATE",
    "CHANNEL_PARK",
    "CHANNEL_UNPARK",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_OUTGOING",
    "CHANNEL_ORIGINATE",
    "CHANNEL_CREATE",
    "CHANNEL_UNBRIDGE",
    "PLAYBACK_START",
    "PLAYBACK_STOP",
)
#: Said together with ``connect``, which saves a round trip.
_GREETING = (wire.linger(LINGER), wire.MYEVENTS, wire.event_plain(*_NEEDED), wire.nixevent(*_UNWANTED))
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
_UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_EXTENSION = re.compile(r"[0-9]{1,6}")
_KEYS = frozenset("0123456789*#")
_WITHHELD = frozenset({"", "anonymous", "unknown", "restricted", "private", "unavailable", "asserted"})


def typed_caller(number: str | None, *, hidden: bool = False) -> str | None:
    """The caller as E.164 with ``+``, a short number as it is, or None: withheld or no number at all."""
    text = (number or "").strip()
    if hidden or text.lower() in _WITHHELD or not _NUMBER.fullmatch(text):
        return None
    if text.startswith("+") or not text.isdigit() or len(text) < 7:
        return text
    return "+" + text


def typed_called(number: str | None) -> str | None:
    """The dialled number if it is one, else None."""
    text = (number or "").strip()
    return text if _NUMBER.fullmatch(text) else None


def typed_company(text: str | None) -> str | None:
    """A company's id if it is one, else None."""
    return text if text and _COMPANY.fullmatch(text) else None


def typed_extension(text: str | None) -> str | None:
    """An extension if it is one, else None."""
    return text if text and _EXTENSION.fullmatch(text) else None


def _frame(seconds: float, samples: int) -> int:
    """The sample of an endless file of so many at which it is after ``seconds``: at a frame's begin, and never so near
    its end that the switch would make no further round.
    """
    if samples < _FRAME:
        return 0
    at = int(seconds * RATE) % samples // _FRAME * _FRAME
    return at if samples - at >= RATE else 0


def _word(event: EslEvent, header: str) -> str:
    """A cause or a UUID: a fact has no room for more, and would lose all its data."""
    return (event.get(header) or "")[:64]


class Session:
    """One connection and its call.  ``run`` lasts until the call is over, let go, or taken over."""

    def __init__(self, sock: Any, address: tuple[str, int], controller: Controller) -> None:
        self._controller = controller
        self._connection = Outbound(sock, address, self._on_event, self._on_closed)
        self._call: Call | None = None
        self.id = ""
        self.company = ""
        #: Whether another connection has the call now, and it is neither over nor talking.
        self.moved = False
        self._routing = NOBODY
        self._n = 0
        self._queue: deque[m.Event] = deque()
        self._busy = False
        self._lost = False
        self._unsure = False  # the call has left us, and why is not known
        self._hung_up_by = "caller"
        self._terminators = ""
        self._files: dict[str, int] = {}
        self._begun = 0
        self._stopping: set[int] = set()
        self._rounds: set[int] = set()
        self._in_the_middle = 0
        self._timer: Any = None
        self._began = time.time() + controller.settings.clock_offset - time.monotonic()
        self._timer_at = 0.0
        self._wake_at: float | None = None
        self._log: Any = structlog.get_logger("call")

    # ------------------------------------------------------------------------------------------ beginning

    def run(self) -> None:
        """Serve the call; returns when the connection is closed."""
        try:
            if self._greeted():
                self._finish(self._connection.serve())
        finally:
            self._stop_waiting()
            self._controller.forget(self)

    def _greeted(self) -> bool:
        """Whether the connection brought a call that has begun."""
        try:
            data = self._connection.connect(HELLO, *_GREETING)
            if self._begin(data):
                return True
            self._connection.close("not a call that can be served")
        except EslError as error:
            self._log.warning("a connection brought no call", error=str(error))
            self._connection.close(str(error))
        except Exception:
            self._busy = False
            self._stumbled()
            return True
        return False

    def _stumbled(self) -> None:
        """A bug of ours, not the caller's: another controller may do better; the third that fails ends the call."""
        self._log.exception("this call cannot be served", step=self._where)
        if self._call is not None and self._call.epoch > MOST_STUMBLES:
            with contextlib.suppress(EslError):
                self._connection.send(wire.kill(self.id, wire.Cause.NORMAL_TEMPORARY_FAILURE))
        else:
            self._connection.close("a bug: see the log")

    def _begin(self, data: EslEvent) -> bool:
        uuid = data.get("Unique-ID") or ""
        if not _UUID.fullmatch(uuid):
            self._log.warning("a connection brought a call without a readable UUID")
            return False
        self.id = uuid
        self._log = self._log.bind(call=uuid)
        self._line = self._controller.line_of(data.get("Core-UUID") or "")
        dialled = data.get("Caller-Destination-Number")
        called = typed_called(data.get("variable_cordboard_called") or dialled)
        hidden = data.get("Caller-Privacy-Hide-Number") == "true"
        caller = typed_caller(data.get("Caller-Caller-ID-Number"), hidden=hidden)
        text = data.get("variable_cordboard_state")
        taken = self._checkpoint(text)
        # Both are set by the switch's directory for a phone that has said its password, and for nobody else.
        company = typed_company(data.get("variable_cordboard_company"))
        extension = typed_extension(data.get("variable_cordboard_extension")) if company else None
        routing, number = self._controller.routing_for(called, taken, company=company)
        self.company = routing.company
        self._routing = routing
        self._log = self._log.bind(company=routing.company) if routing.company else self._log
        noted = Noted.read(data.get(f"variable_{NOTED}"))
        self._call = Call(
            routing,
            call_id=uuid,
            caller=caller,
            called=number,
            now=self._now(),
            answered=data.get("Answer-State") == "answered",
            taken=taken,
            # What cannot be read had an epoch of its own; ours must not be one that it had.
            epoch=int(time.time()) if text and taken is None else 1,
            segments=noted.segments if data.get(f"variable_{NOTED}") else None,
            talked_to=data.get("variable_last_bridge_to"),
            extension=extension,
            switched_on=self._controller.switches.of(routing.company),
        )
        self._controller.remember(self)
        self._connection.send(
            wire.setvars(
                uuid,
                {
                    "socket_resume": "true",
                    "transfer_after_bridge": f"{RESUME_EXTENSION}:XML:{CONTEXT}",
                    "hangup_after_bridge": "false",
                },
            ),
        )
        self._stop_recording(noted, data.get(f"variable_{FILE}") or "", data.get("variable_last_bridge_to"))
        self._busy = True
        self._perform(self._call.begin(self._now()))
        self._drain()
        if self.extension and self._controller.queues.serves(self.company):
            self._controller.queues.begins(self)
        # Only now: a call that cannot be begun must be counted out by the dialplan.
        if self._hung_up_by == "caller":  # else there is nothing left to count for
            self._connection.send(wire.setvar(uuid, "cordboard_tries", ""))
        if data.get("Answer-State") == "hangup":
            self.happened(m.HungUp(_word(data, "Hangup-Cause") or "UNKNOWN"))
        return True

    def _stop_recording(self, noted: Noted, path: str, talked_to: str | None) -> None:
        """Nothing of a talk that is over is recorded.  The dialplan has seen to it, unless the call comes back from a
        joining that never was; a message that is being left is another file.
        """
        if noted.mode == NO:
            return
        self._send([wire.setvars(self.id, {NOTED: replace(noted, mode=NO).text, FILE: ""})])
        file = read_name(path.rpartition("/")[2])
        if file is not None and file.kind == "talk" and file.call == self.id:
            record = self._controller.spool_file(file.name)
            self._send([wire.record_stop(self.id, record)], lambda reply: None)  # mostly it has ended
            if talked_to != file.leg:  # or it is not there yet: the leg died as it was joined
                self._line.stop_recording(self.id, record)

    def _checkpoint(self, text: str | None) -> State | None:
        if not text:
            return None
        try:
            return decode(text)
        except StateError as error:
            self._log.error("the checkpoint cannot be used; the call starts again", error=str(error))
            return None

    # ------------------------------------------------------------------------------------------- events in

    def _on_event(self, event: EslEvent) -> None:
        call = self._call
        if call is None:
            return
        name = event.name
        if self._lost:
            if name == "CHANNEL_BRIDGE" and self._joined_late(event):
                return
            if name in ("CHANNEL_BRIDGE", "CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE"):
                self._connection.close("the call is on another connection")
            return
        if name == "CHANNEL_EXECUTE_COMPLETE":
            self._executed(event)
        elif name == "DTMF":
            key = event.get("DTMF-Digit") or ""
            if key in _KEYS:
                self.happened(m.Digit(key))
        elif name == _BEGIN:
            self._begins(event)
        elif name == "CHANNEL_ANSWER":
            self.happened(m.Answered())
        elif name == "CHANNEL_BRIDGE":
            self.happened(m.Joined(_word(event, "Other-Leg-Unique-ID") or _word(event, "Bridge-B-Unique-ID")))
        elif name == "RECORD_STOP":
            path = event.get("Record-File-Path") or ""
            self._recorded(path, event.get("variable_record_ms"))
        elif name == "CHANNEL_HANGUP":
            self.happened(m.HungUp(_word(event, "Hangup-Cause") or "UNKNOWN", self._hung_up_by))
        elif name == "CHANNEL_HANGUP_COMPLETE":
            if call.life is not Life.ENDED:
                self.happened(m.HungUp(_word(event, "Hangup-Cause") or "UNKNOWN", self._hung_up_by))
            if not call.over and self._files:
                return  # RECORD_STOP is still to come; the linger ends the wait
            self._over()

    def _executed(self, event: EslEvent) -> None:
        if event.get("Application") == "socket":  # the call leaves us: it ended, is joined, or another has it
            if not self.ended:
                gevent.spawn_later(LEAVING, self._left)
            return
        sound = self._ours(event, "play")
        if sound and not self._goes_on(sound, event):
            self._stopping.discard(sound)
            self._rounds.discard(sound)
            missing = event.get("Application-Response") == "FILE NOT FOUND"
            self.happened(m.PlayEnded(sound, missing=missing))

    def _goes_on(self, sound: int, event: EslEvent) -> bool:
        """Whether this was a round of music that another will follow."""
        if sound not in self._rounds or sound in self._stopping or event.get("Application-Response") != "FILE PLAYED":
            return False
        if event.get("variable_playback_terminator_used"):  # a key cuts the round only
            self._stopping.add(sound)
            self._begun = 0  # no break has been sent: see _begins
            return True
        played = event.get("variable_playback_ms") or ""
        return played.isascii() and played.isdigit() and int(played) >= ROUND

    def _ours(self, event: EslEvent, kind: str) -> int:
        """The number that this session gave to the application, 0 if it was not us."""
        prefix = f"{kind}-{self._token}-"
        uuid = event.get("Application-UUID") or ""
        number = uuid.removeprefix(prefix)
        return int(number) if uuid.startswith(prefix) and number.isascii() and number.isdigit() else 0

    def _left(self) -> None:
        """No CHANNEL_BRIDGE followed: the leg died as it was joined, and the switch brings the call anew."""
        if self._call is not None and self._call.life is not Life.ENDED and not self._call.let_go and not self._lost:
            self.lost()
            self._unsure = True

    def lost(self) -> None:
        """Another connection has the call.  Closing ours while ``socket_resume`` is true would reset the call under
        its new owner, so it stays open, deaf, until they talk or the call ends.
        """
        self._lost = self.moved = True
        self._queue.clear()
        self._stop_waiting()
        self._controller.forget(self)

    def _joined_late(self, event: EslEvent) -> bool:
        """Whether they talk after all: a busy switch took longer to say so than :data:`LEAVING`.

        Had the leg died, nobody else could have joined it; and had another owner the call, we should not be unsure.
        """
        call = self._call
        leg = _word(event, "Other-Leg-Unique-ID") or _word(event, "Bridge-B-Unique-ID")
        if not self._unsure or call is None or call.view.talk is None:
            return False
        if leg != leg_id(self.id, call.view.talk[2], call.view.talk[0]):
            return False
        self._lost = self.moved = False
        self.happened(m.Joined(leg))
        return True

    @property
    def _token(self) -> str:
        return f"{self._call.epoch if self._call else 0:08d}"

    def _recorded(self, path: str, milliseconds: str | None) -> None:
        number = self._files.pop(path, None)
        if number is not None:
            seconds = int(milliseconds or 0) / 1000 if re.fullmatch(r"[0-9]{1,12}", milliseconds or "") else 0.0
            self.happened(m.RecordEnded(number, path.rpartition("/")[2], seconds))
            if self._call is not None and self._call.over:
                self._over()

    def happened(self, event: m.Event) -> None:
        """Give the call an event; in order, also when one comes while another is being performed.

        A session without a connection is over: all that may still come is the end of what it recorded.
        """
        if self._lost or not (self._connection.connected or isinstance(event, m.HungUp | m.RecordEnded)):
            return
        self._queue.append(event)
        if not self._busy:
            self._busy = True
            self._drain()

    def _drain(self) -> None:
        call = self._call
        try:
            while self._queue and call is not None:
                self._perform(call.handle(self._queue.popleft(), self._now()))
        except Exception:
            self._stumbled()
        finally:
            self._busy = False

    # ----------------------------------------------------------------------------------------- commands out

    def _perform(self, commands: Sequence[m.Command]) -> None:
        out: list[wire.Command] = []
        facts: list[m.Tell] = []
        state: str | None = None
        let_go = False
        for command in commands:
            if isinstance(command, m.Tell):
                facts.append(command)
            elif isinstance(command, m.Log):
                self._say(command)
            elif isinstance(command, m.Checkpoint):
                if state is not None:
                    out.append(wire.setvar(self.id, "cordboard_state", state))
                state = command.state
            elif isinstance(command, m.Join):
                if out:
                    self._send(out)
                    out = []
                if command.record:
                    self._tell(facts)  # what is expected, before it may come
                    facts = []
                self._join(command, state, facts)
                state = None
            elif isinstance(command, m.WakeAt):
                self._wake(command.at)
            elif isinstance(command, m.LetGo):
                let_go = True
            else:
                if state is not None:
                    out.append(wire.setvar(self.id, "cordboard_state", state))
                    state = None
                self._do(command, out)
        if state is not None:
            out.append(wire.setvar(self.id, "cordboard_state", state))
        if out:
            self._send(out)
        if facts:
            self._tell(facts)
        if let_go:
            if self._controller.queues.serves(self.company):
                self._tell_queues(facts)
            self._connection.close("they talk: the call needs nobody")

    def _join(self, command: m.Join, state: str | None, facts: list[m.Tell]) -> None:
        """Connect caller and leg, and record them if that is wanted and there is room: they talk in any case."""
        record, noted = None, command.noted
        trouble = self._controller.spool_trouble() if command.record else ""
        if trouble:
            self._log.error("alarm", what="a talk is not recorded", why=trouble, step=self._where)
            facts.append(m.Tell("recording.failed", {"file": command.record, "why": trouble}))
            noted = replace(Noted.read(noted), mode=DEMAND).text
        elif command.record:
            record = self._controller.spool_file(command.record)
            epoch = self._call.epoch if self._call else 0
            self._controller.recorder.begins(self.id, self.company, epoch, command.record)
        variables = {NOTED: noted, FILE: record.path if record is not None else ""} if noted else {}
        self._line.join(
            self, self.id, command.leg, answer=command.answer, state=state, record=record, variables=variables
        )

    def _do(self, command: m.Command, out: list[wire.Command]) -> None:
        if isinstance(command, m.Answer):
            out.append(wire.execute(wire.App.ANSWER))
        elif isinstance(command, m.RingBack):
            out.append(wire.execute(wire.App.RING_READY))
        elif isinstance(command, m.Play) and command.loop and isinstance(command.sound, m.SoundFile | m.Music):
            self._play_music(command, command.sound, out)
        elif isinstance(command, m.Play):
            sound = self._sound(command.sound)
            if isinstance(command.sound, m.Speech):
                self._log.info("says", text=command.sound.text, step=self._where)
            if sound is None:  # as if the switch had not found it
                self._queue.append(m.PlayEnded(command.id, missing=True))
                return
            self._set_terminators("any" if command.bargein else "none", out)
            if command.loop:  # it will be stopped: see _stop
                out.append(wire.event_plain(_BEGIN))
            out.append(wire.execute(wire.App.PLAYBACK, sound, self._name(command)))
        elif isinstance(command, m.StopPlay):
            self._stop(command.id, out)
        elif isinstance(command, m.Record):
            self._send(out)
            out.clear()
            self._record(command)
        elif isinstance(command, m.StopRecord):
            for path, number in self._files.items():
                if number == command.id:
                    out.append(wire.record_stop(self.id, wire.SoundPath(path)))
        elif isinstance(command, m.Hangup):
            self._hung_up_by = "cordboard"
            out.append(wire.kill(self.id, wire.CAUSE_OF_REASON[command.reason]))
        elif isinstance(command, m.RingLeg):
            self._line.ring(self, self.id, self.company, command, self._screen(command))
        elif isinstance(command, m.FindLeg):
            self._line.find(self, self.id, command.leg, screened=command.screened)
        elif isinstance(command, m.CancelLeg):
            self._line.cancel(command.leg)
        elif isinstance(command, m.CancelLegs):
            self._line.end_legs_of(self.id)
        elif isinstance(command, m.Lookup):
            self._controller.lookups.start(self.company, command, self.happened)
        elif isinstance(command, m.SetSwitch):
            # Not before the checkpoint is out: a new owner without it would turn the switch back.
            switches = self._controller.switches
            gevent.spawn(switches.set, self.company, command.name, command.on, command.by, self.happened)
        elif isinstance(command, QUEUE_COMMANDS):
            self._controller.queues.perform(self, command)
        else:
            raise TypeError(f"the session cannot perform {command!r}")

    def _play_music(self, command: m.Play, sound: m.SoundFile | m.Music, out: list[wire.Command]) -> None:
        """Begin a file that has no end, where it was left: see :func:`wire.endless`."""
        found, samples = self._controller.music(self._routing, sound)
        start = _frame(command.start, samples)
        self._set_terminators("any" if command.bargein else "none", out)
        self._rounds.add(command.id)
        if start:
            self._in_the_middle = command.id
            out.append(wire.setvar(self.id, wire.START, str(start)))
        out.append(wire.event_plain(_BEGIN))
        out.append(wire.endless(found, self._name(command), middle=bool(start)))

    def _name(self, command: m.Play) -> str:
        """The name by which the switch tells of this sound: see :meth:`_ours`."""
        return f"play-{self._token}-{command.id}"

    def _tell_queues(self, facts: Sequence[m.Tell]) -> None:
        """They talk: an agent who is on the telephone is nobody's agent meanwhile, whatever rang it."""
        call = self._call
        for fact in facts:
            if fact.type == "talk.started" and call is not None:
                leg, address = str(fact.data["leg"]), str(fact.data["with"])
                person = self._line.person_of(leg) or self._routing.person_at(address)
                self._controller.queues.talks(self, leg, person)

    def _screen(self, command: m.RingLeg) -> wire.Screen | None:
        """What the leg must hear or confirm, as the switch plays it; never nothing where there should be words."""
        heard = []
        for sound in (command.whisper, command.confirm):
            found = self._sound(sound) if sound is not None else ""
            if found is None:
                self._log.error("what a phone should hear was not rendered: a tone stands in", leg=command.leg)
                found = wire.Tone.MISSING.value
            heard.append(str(found))
        return wire.Screen(*heard) if any(heard) else None

    def _sound(self, sound: m.Sound) -> str | None:
        return self._controller.sound(self._routing, sound)

    def _stop(self, sound: int, out: list[wire.Command]) -> None:
        """Cut a loop short, but not before it has begun: the switch would forget the break and play for ever."""
        self._stopping.add(sound)
        if sound == self._begun:
            out.append(wire.break_(self.id, queued=False))

    def _begins(self, event: EslEvent) -> None:
        """A sound, or the next round of music, begins."""
        sound = self._ours(event, "play")
        again = sound == self._begun
        self._begun = sound or self._begun
        if sound and sound == self._in_the_middle:
            self._in_the_middle = 0
            self._send([wire.setvar(self.id, wire.START, "")])
        if sound in self._stopping and again:  # the break is on its way, or was forgotten
            gevent.spawn_later(FORGOTTEN, self._break_again, sound)
        elif sound in self._stopping:
            self._send([wire.break_(self.id, queued=False)])

    def _break_again(self, sound: int) -> None:
        if sound in self._stopping and sound == self._begun:
            self._send([wire.break_(self.id, queued=False)])

    def _record(self, command: m.Record) -> None:
        trouble = self._controller.spool_trouble()
        if trouble:
            self._log.error("nothing can be recorded", why=trouble, step=self._where)
            self._queue.append(m.RecordEnded(command.id, command.name, 0.0, failed=True))
            return
        path = self._controller.spool_file(command.name)
        self._files[path.path] = command.id
        start = wire.record_start(
            self.id, path, max(1, round(command.seconds)), silence=round(command.silence), again=command.again
        )
        self._send([start], lambda reply: None if reply.ok else self._not_recorded(path.path, reply.text))

    def _not_recorded(self, path: str, why: str) -> None:
        number = self._files.pop(path, None)
        if number is not None:
            self._log.error("the switch cannot record", file=path, why=why.strip(), step=self._where)
            self.happened(m.RecordEnded(number, path.rpartition("/")[2], 0.0, failed=True))

    def _send(self, commands: Sequence[wire.Command], on_reply: Callable[[Reply], None] | None = None) -> None:
        if not commands:
            return
        try:
            self._connection.send(*commands, on_reply=on_reply)
        except EslError as error:  # serve() is about to say the same and ends the session
            self._log.info("the connection is gone", error=str(error), step=self._where)

    def _set_terminators(self, value: str, out: list[wire.Command]) -> None:
        if value != self._terminators:
            self._terminators = value
            out.append(wire.setvar(self.id, "playback_terminators", value))

    def _tell(self, facts: Sequence[m.Tell]) -> None:
        call = self._call
        epoch = call.epoch if call else 0
        at = round(self._now(), 3)
        records = []
        for fact in facts:
            self._n += 1
            records.append(self._controller.fact(fact, self.company, self.id, epoch, self._n, at, self._line.name))
            self._log.debug(fact.type, **fact.data)
        self._controller.facts.write(records)

    def _say(self, command: m.Log) -> None:
        getattr(self._log, command.level, self._log.info)(command.text, step=self._where)

    @property
    def _where(self) -> str:
        return self._call.where if self._call else "-"

    # ----------------------------------------------------------------------------------------------- time

    def _now(self) -> float:
        """The call's time: the clock's as the session began (a demonstration may shift it), then what has passed.

        A clock that is set back meanwhile must not make a caller wait.
        """
        return self._began + time.monotonic()

    def _wake(self, at: float | None) -> None:
        self._wake_at = at
        if at is None or (self._timer is not None and self._timer_at <= at):
            return  # a timer that rings too early looks again; arming anew at each event would cost more
        self._stop_timer()
        self._arm()

    def _arm(self) -> None:
        if self._wake_at is None:
            return
        self._timer_at = self._wake_at
        delay = max(0.0, self._wake_at - self._now())
        self._timer = gevent.get_hub().loop.timer(delay)
        self._timer.start(gevent.spawn, self._ring)

    def _ring(self) -> None:
        self._stop_timer()
        if self._wake_at is None:
            return
        if self._wake_at > self._now():
            self._arm()
            return
        self._wake_at = None
        self.happened(m.TimeCame())

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _stop_waiting(self) -> None:
        self._wake_at = None
        self._stop_timer()

    # ------------------------------------------------------------------------------------------------ end

    def hand_over(self) -> None:
        """Close the connection so that the switch brings the call to another controller (or back to us).

        Not while it is being joined: it leaves by itself, or is ours again in a moment.
        """
        call = self._call
        if call is not None and call.life is not Life.ENDED and call.view.talk is None:
            self._connection.close("handed over")

    @property
    def switch(self) -> str:
        """The name of the switch that has the call."""
        return self._line.name

    @property
    def caller(self) -> str:
        """Who calls, as people read it; "" if they do not say."""
        return (self._call.view.caller or "") if self._call is not None else ""

    @property
    def extension(self) -> str:
        """The phone of the company's own that calls, or nothing."""
        return (self._call.view.extension or "") if self._call is not None else ""

    @property
    def where(self) -> tuple[str, str]:
        """The flow and the step in which the call is; nothing where it is in none of the company's."""
        flow, _, step = self._where.partition("/")
        return (flow, step) if step and not flow.startswith("~") else ("", "")

    @property
    def ended(self) -> bool:
        """Whether the caller has left and only a recording keeps us."""
        return self._call is not None and self._call.life is Life.ENDED

    def _over(self) -> None:
        call = self._call
        if call is not None:
            self._perform(call.close(self._now()))
        self._connection.close("the call ended")

    def _on_closed(self, reason: str) -> None:
        """The reader's ``serve`` returns the same reason; everything happens there."""

    def _finish(self, reason: str) -> None:
        call = self._call
        if call is None:
            return
        if call.life is Life.ENDED:
            self._perform(call.close(self._now()))
        elif not call.let_go:
            self.moved = True
            self._log.info("the call left this controller", reason=reason, step=self._where)
