"""One Event Socket connection of the stand-in switch, outbound (towards a controller) or inbound (from one).

Reads commands, answers them, and lets through the events that the other side asked for: what `listener_run`,
`read_packet` and `parse_command` of mod_event_socket do.  It must never know what an application or an API
command does; it hands them to the channel and to the switch.

The surprise is the end of an outbound connection: with `socket_resume` true it *resets* the channel,
whoever owns the call by then (`old_connection_closed_too_late_resets_the_call.jsonl`), and it waits first
for every `bgapi` job that was started on it.
"""

from __future__ import annotations

import re
import socket
import uuid as uuids
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import gevent
from gevent import Greenlet
from gevent.event import Event
from gevent.socket import wait_read, wait_write

from freeswitch.simulator.channel import truth
from freeswitch.simulator.encoder import header

if TYPE_CHECKING:
    from freeswitch.simulator.channel import Channel
    from freeswitch.simulator.switch import Switch

__all__ = ["MYEVENTS", "Fired", "Listener"]

# What `myevents` subscribes to; BACKGROUND_JOB, RECORD_START, RECORD_STOP and CUSTOM are not among it.
MYEVENTS = frozenset(
    [
        "CHANNEL_ANSWER",
        "CHANNEL_APPLICATION",
        "CHANNEL_BRIDGE",
        "CHANNEL_CREATE",
        "CHANNEL_DATA",
        "CHANNEL_DESTROY",
        "CHANNEL_EXECUTE",
        "CHANNEL_EXECUTE_COMPLETE",
        "CHANNEL_HANGUP",
        "CHANNEL_HANGUP_COMPLETE",
        "CHANNEL_ORIGINATE",
        "CHANNEL_UUID",
        "CHANNEL_OUTGOING",
        "CHANNEL_PARK",
        "CHANNEL_PROGRESS",
        "CHANNEL_PROGRESS_MEDIA",
        "CHANNEL_STATE",
        "CHANNEL_UNBRIDGE",
        "CHANNEL_UNPARK",
        "DETECTED_SPEECH",
        "DTMF",
        "NOTALK",
        "TALK",
    ]
)
_OTHERS = frozenset(
    [
        "ALL",
        "API",
        "BACKGROUND_JOB",
        "CUSTOM",
        "HEARTBEAT",
        "PLAYBACK_START",
        "PLAYBACK_STOP",
        "RECORD_START",
        "RECORD_STOP",
        "RE_SCHEDULE",
        "CHANNEL_CALLSTATE",
        "CHANNEL_HOLD",
        "CHANNEL_UNHOLD",
        "CALL_UPDATE",
        "MESSAGE",
        "NOTIFY",
        "SHUTDOWN",
        "STARTUP",
    ]
)
_GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
_CONNECT_WITHIN = 25  # seconds, as mod_event_socket waits for the first command
_MOST_UNREAD = 64 * 1024 * 1024  # bytes kept for a peer that does not read, before it is cut off


class Fired:
    """One event: its name, the channel it is about, and its text, written once and only if somebody wants it."""

    def __init__(self, name: str, write: Callable[[], str], channel: Channel | None, owner: str = "") -> None:
        self.name = name
        self.channel = channel
        self.owner = owner  # the session whose socket started the job, for BACKGROUND_JOB
        self._write = write
        self._text: str | None = None
        self._data: bytes | None = None

    def text(self) -> str:
        if self._text is None:
            self._text = self._write()
        return self._text

    def data(self) -> bytes:
        """The whole protocol message."""
        if self._data is None:
            body = self.text().encode("utf-8", "surrogateescape")
            if self.name != "BACKGROUND_JOB":
                body += b"\n"
            self._data = b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(body) + body
        return self._data

    def value(self, name: str) -> str | None:
        """The raw value of header `name` (any case), still encoded; None if it has none."""
        found = re.search(rf"^{re.escape(name)}: (.*)$", self.text(), re.IGNORECASE | re.MULTILINE)
        return found[1] if found else None


class Listener:
    """One connection; `channel` is the call it controls, None on an inbound connection."""

    def __init__(self, switch: Switch, sock: socket.socket, channel: Channel | None = None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.switch = switch
        self.channel = channel
        self.names: set[str] = set()
        self.subclasses: set[str] = set()  # of CUSTOM
        self.mine = False
        self.connected = Event()  # the controller said `connect`
        self.finished = Event()
        self.jobs: set[Greenlet[..., None]] = set()
        self._sock = sock
        self._authenticated = channel is not None
        self._filters: list[tuple[str, str]] = []
        self._linger: int | None = None
        self._noticed_hangup = False
        self._inbox = b""
        self._outbox: list[bytes] = []
        self._unsent = b""
        self._flushing = False
        self._closing = False
        self._finishing = False
        self._late_flush: Greenlet[..., None] | None = None

    @property
    def call(self) -> Channel:
        """The call it controls; only an outbound connection has one."""
        if self.channel is None:
            raise RuntimeError("an inbound connection controls no call")
        return self.channel

    # -- writing -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send `data` soon, in order, without ever waiting for the peer."""
        if self.finished.is_set():
            return
        self._outbox.append(data)
        if not self._flushing:
            self._flushing = True
            gevent.get_hub().loop.run_callback(self._flush)

    def _flush(self) -> None:
        data = self._unsent + b"".join(self._outbox)
        self._outbox.clear()
        self._unsent = b""
        self._flushing = False
        if not data or self._sock.fileno() < 0:
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reader sees the end by itself
        if sent < len(data):
            self._unsent = data[sent:]
            if len(self._unsent) > _MOST_UNREAD:
                self.abort()
                return
            self._flushing = True
            self._late_flush = gevent.spawn(self._flush_later)

    def _flush_later(self) -> None:
        try:
            wait_write(self._sock.fileno(), timeout=60, timeout_exc=TimeoutError())
        except OSError:
            self.abort()
        self._late_flush = None
        self._flush()

    def reply(self, text: str) -> None:
        self.write(f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode("utf-8", "surrogateescape"))

    def abort(self) -> None:
        """Cut the connection without a word."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    # -- events ------------------------------------------------------------------------------------

    def wants(self, event: Fired) -> bool:
        """Whether this connection asked for `event` (`event_handler` in mod_event_socket)."""
        if self._closing or (event.name not in self.names and "ALL" not in self.names):
            return False
        if event.name == "CUSTOM" and "ALL" not in self.names:
            subclass = event.value("Event-Subclass")
            if subclass is not None and _unquote(subclass) not in self.subclasses:
                return False
        if self._filters and not self._filtered(event):
            return False
        if self.mine:
            return event.channel is self.channel or event.owner == self.call.uuid
        return True

    def _filtered(self, event: Fired) -> bool:
        for name, wanted in self._filters:
            value = event.value(name)
            if value is None:
                continue
            value = _unquote(value)
            if wanted.startswith("/"):
                if re.search(wanted.strip("/"), value):
                    return True
            elif value.lower() == wanted.lower():
                return True
        return False

    def deliver(self, event: Fired) -> None:
        if self.wants(event):
            self.write(event.data())

    def channel_is_down(self) -> None:
        """The call it controls was hung up: linger, or go, after what is under way has been said."""
        if not self._noticed_hangup:
            self._noticed_hangup = True
            gevent.spawn(self._notice_hangup)

    def _notice_hangup(self) -> None:
        if self._linger is None:
            self._finish()
            return
        self.write(
            (
                f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {self.call.uuid}\n"
                f"Content-Disposition: linger\nChannel-Name: {self.call.name}\nLinger-Time: {self._linger}\n"
                "Content-Length: 0\n\n"
            ).encode()
        )
        if self._linger >= 0:
            # Whole seconds of the epoch are compared with "later than": half a second more on average.
            self.switch.later(self._linger + 0.5, self._finish)

    # -- reading -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Read and do commands until the connection ends."""
        try:
            if self.channel is None:
                self.write(b"Content-Type: auth/request\n\n")
            silence = None if self.channel is None else _CONNECT_WITHIN / self.switch.speed
            while not self._closing:
                command = self._read(silence)
                if command is None:
                    break
                silence = None
                self.switch.running.wait()
                self._do(*command)
        finally:
            self._finish()
            if self._late_flush is not None:
                self._late_flush.kill()
            self._sock.close()

    def _read(self, seconds: float | None) -> tuple[str, dict[str, str]] | None:
        """The next command and its headers (lower case); None at the end of the connection."""
        while True:
            self._inbox = self._inbox.lstrip(b"\r\n")
            end = re.search(rb"\r?\n\r?\n", self._inbox)
            if end:
                block = self._inbox[: end.start()].decode("utf-8", "surrogateescape")
                first, *rest = block.replace("\r", "").split("\n")
                headers = {}
                for line in rest:
                    name, colon, value = line.partition(":")
                    if colon:
                        headers[name.strip().lower()] = value.strip()
                length = int(headers.get("content-length", "0") or 0)
                if len(self._inbox) >= end.end() + length:
                    headers["body"] = self._inbox[end.end() : end.end() + length].decode("utf-8", "surrogateescape")
                    self._inbox = self._inbox[end.end() + length :]
                    return first, headers
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                try:
                    wait_read(self._sock.fileno(), timeout=seconds, timeout_exc=TimeoutError())
                except (OSError, ValueError):
                    return None
                continue
            except OSError:
                return None
            if not data:
                return None
            self._inbox += data

    def _do(self, command: str, headers: dict[str, str]) -> None:
        word, _, rest = command.partition(" ")
        word, rest = word.lower(), rest.strip()
        if word in ("exit", "..."):
            self.reply("+OK bye")
            self._closing = True
            return
        if not self._authenticated:
            self._authenticated = word == "auth" and rest == self.switch.password
            self._closing = not self._authenticated
            self.reply("+OK accepted" if self._authenticated else "-ERR invalid")
            return
        if refusal := self.switch.refusal(command, headers):
            self._refuse(word, refusal)
            return
        known: dict[str, Callable[[str, dict[str, str]], None]] = {
            "api": lambda text, _: self._api(text),
            "bgapi": self._bgapi,
            "event": lambda text, _: self._subscribe(text, wanted=True),
            "nixevent": lambda text, _: self._subscribe(text, wanted=False),
            "noevents": lambda _, __: self._forget_events(),
            "filter": lambda text, _: self._filter(text),
            "sendmsg": self._sendmsg,
            "linger": lambda text, _: self._set_linger(text),
            "nolinger": lambda _, __: self._no_linger(),
        }
        if self.channel is not None:
            known |= {
                "connect": lambda _, __: self._connect(),
                "myevents": lambda _, __: self._myevents(),
                "getvar": lambda name, __: self._getvar(name),
                "resume": lambda _, __: self._resume(),
            }
        command_of = known.get(word)
        if command_of is None:
            self.reply("-ERR command not found")
        else:
            command_of(rest, headers)

    def _refuse(self, word: str, refusal: str) -> None:
        if word == "api":
            self._respond(refusal + "\n")
        else:
            self.reply(refusal)

    def _connect(self) -> None:
        text = self.switch.writer.text(
            "CHANNEL_DATA",
            self.call.profile.text("Channel", self.call),
            self.call.basic_text(),
            self.call.variables_text(),
            "Content-Type: command/reply\nReply-Text: %2BOK%0A\nSocket-Mode: async\nControl: full\n\n",
        )
        self.write(text.encode("utf-8", "surrogateescape"))
        self.connected.set()
        self.call.touch()

    def _myevents(self) -> None:
        if self.mine:
            self.reply("-ERR aready enabled.")  # mod_event_socket's own spelling
            return
        self.mine = True
        self.names |= MYEVENTS
        self.switch.interests_changed()
        self.reply("+OK Events Enabled")

    def _getvar(self, name: str) -> None:
        self.reply(self.call.variables.get(name, ""))

    def _resume(self) -> None:
        self.call.set("socket_resume", "true")
        self.reply("+OK")

    def _subscribe(self, text: str, wanted: bool) -> None:
        names = [name for name in text.replace(",", " ").split() if name.lower() not in ("plain", "json", "xml")]
        # After CUSTOM every further word is a subclass.
        custom = next((n for n, name in enumerate(names, 1) if name.upper() == "CUSTOM"), len(names))
        subclasses = set(names[custom:])
        named = {name.upper() for name in names[:custom]} & (MYEVENTS | _OTHERS)
        if not named:
            self.reply("-ERR no keywords supplied")
            return
        if wanted:
            self.names |= named
            self.subclasses |= subclasses
        else:
            if "ALL" in self.names:
                self.names = set(MYEVENTS | _OTHERS) - {"ALL"}
            self.names -= named - ({"CUSTOM"} if subclasses else set())
            self.subclasses -= subclasses
        self.switch.interests_changed()
        self.reply("+OK event listener enabled plain" if wanted else "+OK events nixed")

    def _forget_events(self) -> None:
        self.names.clear()
        self.subclasses.clear()
        self.switch.interests_changed()
        self.reply("+OK no longer listening for events")

    def _filter(self, text: str) -> None:
        name, _, value = text.partition(" ")
        if name.lower() == "delete" and value:
            name, _, value = value.partition(" ")
            self._filters = [
                (header_name, wanted)
                for header_name, wanted in self._filters
                if name.lower() != "all" and (header_name.lower() != name.lower() or (value and wanted != value))
            ]
            self.reply(f"+OK filter deleted. [{name}][{value}]")
        elif value:
            if name.lower() == "add":
                name, _, value = value.partition(" ")
            self._filters.append((name, value))
            self.reply(f"+OK filter added. [{name}]=[{value}]")
        else:
            self.reply("-ERR invalid syntax")

    def _set_linger(self, seconds: str) -> None:
        if self.channel is None:
            self.reply("-ERR not controlling a session")
            return
        self._linger = int(seconds) if seconds.isdigit() else -1
        self.reply(f"+OK will linger {seconds} seconds" if seconds.isdigit() else "+OK will linger")

    def _no_linger(self) -> None:
        self._linger = None
        self.reply("+OK will not linger" if self.channel is not None else "-ERR not controlling a session")

    def _sendmsg(self, uuid: str, headers: dict[str, str]) -> None:
        uuid = uuid or headers.get("session-id", "")
        target = self.channel if not uuid else self.switch.channels.get(uuid)
        if target is None:
            self.reply(f"-ERR invalid session id [{uuid}]")
            return
        target.queue(headers)
        self.reply("+OK")

    def _api(self, text: str) -> None:
        self._respond(self.switch.api(text, self))

    def _respond(self, text: str) -> None:
        body = (text or "-ERR no reply\n").encode("utf-8", "surrogateescape")
        self.write(b"Content-Type: api/response\nContent-Length: %d\n\n" % len(body) + body)

    def _bgapi(self, text: str, headers: dict[str, str]) -> None:
        job = headers.get("job-uuid") or str(uuids.uuid4())
        self.write(
            f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n".encode(
                "utf-8", "surrogateescape"
            )
        )
        name, _, arguments = text.partition(" ")
        owner = self.channel.uuid if self.channel is not None else ""

        def run() -> None:
            result = self.switch.api(text, self) or "-ERR no reply\n"
            extra = f"Job-UUID: {job}\n" + (f"Job-Owner-UUID: {owner}\n" if owner else "")
            extra += f"Job-Command: {name}\n" + (header("Job-Command-Arg", arguments) if arguments else "")
            extra += f"Content-Length: {len(result.encode('utf-8', 'surrogateescape'))}\n\n{result}"
            self.switch.fire("BACKGROUND_JOB", lambda: extra, None, owner)

        greenlet = gevent.spawn(run)
        self.jobs.add(greenlet)
        greenlet.link(self.jobs.discard)

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._finishing:
            return
        self._finishing = self._closing = True
        self.switch.interests_changed()
        if self.channel is not None:
            gevent.joinall(list(self.jobs))  # its jobs hold the connection's lock
            self._release(self.channel)
            text = (
                f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {self.channel.uuid}\n"
                f"Content-Disposition: disconnect\nContent-Length: {len(_GOODBYE)}\n\n{_GOODBYE}"
            )
        else:
            text = f"Content-Type: text/disconnect-notice\nContent-Length: {len(_GOODBYE)}\n\n{_GOODBYE}"
        self.write(text.encode())
        self._flush()
        self.finished.set()
        self.abort()
        self.switch.listener_ended(self)

    def _release(self, channel: Channel) -> None:
        """Let go of the call: with `socket_resume` it goes on with its next dialplan action, from wherever it is."""
        if self in channel.listeners:
            channel.listeners.remove(self)
        movable = channel.up and channel.state != "CS_HIBERNATE" and not channel.redirected and not channel.transferring
        if movable and truth(channel.variables.get("socket_resume")):
            channel.go("CS_RESET")
        channel.touch()


def _unquote(value: str) -> str:
    return re.sub(
        r"(?:%[0-9A-Fa-f]{2})+",
        lambda found: bytes.fromhex(found.group().replace("%", "")).decode("utf-8", "replace"),
        value,
    )
