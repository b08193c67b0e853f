"""Event Socket: bytes to events, commands to bytes, and the connection's life and death.

The only importer of greenswitch.  It builds on greenswitch's classes, so that what knows a session from
there knows ours, and replaces all that reads, writes, waits or dispatches in them; each defect closed has
a test in ``tests/test_greenswitch_defects.py`` that fails on the plain library.

It must never know what a call, a step or a company is.  Those who use it never see a byte.

How it works
    The one greenlet that calls :meth:`Outbound.serve` (or the one that :class:`Inbound` starts) receives,
    frames and dispatches; nothing else runs for a connection, and an idle one wakes nobody.  A reply belongs
    to the oldest command that has none.  What must end by a deadline (a reply, the rest of a message, a peer
    that does not read) is looked after by one sweep for all connections of a process, which sleeps until
    the earliest deadline and ends when nothing is outstanding.

Where the surprise lies
    * The reply to ``connect`` is one flat header block without a body, in which ``Content-Type`` comes last.
    * Values are percent-encoded, and a caller's display name may hold ``%0A``: lines are split *first* and
      values unquoted after, so a name can never become a header.
    * A header that occurs twice: the **first** counts, everywhere.  The switch writes its own before a
      channel's variables, so what a caller brings along comes after what the switch says of it.
    * Header values lose control characters and U+2028, U+2029; bytes that are no UTF-8 become U+FFFD.
    * ``text/disconnect-notice`` with ``Content-Disposition: linger`` is not the end; any other is.
    * A reading greenlet may call :meth:`request`: it then reads on by itself and keeps the events for later,
      in order.

Errors: is the connection gone, and may one go on?  :attr:`EslError.gone` answers the first::

    EslError                something about this connection
     └─ ConnectionLost      it ended, and why
         ├─ NotConnected    it was not there when asked: nothing was sent
         ├─ TimedOut        no answer in time; ``gone`` is False if only this one request gave up
         ├─ Garbled         the peer broke the protocol
         └─ PeerRefused     the switch does not let us in (address, password)

``wire.Refused`` (a command that would inject) is not among them: it is raised where the command is made.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn, cast
from urllib.parse import unquote_to_bytes
from weakref import WeakKeyDictionary

import gevent
import greenswitch.esl
import structlog
from gevent import socket
from gevent.event import AsyncResult, Event

from callcontrol import wire

_log = structlog.get_logger(__name__)
_now = time.monotonic


class EslError(Exception):
    """Something about a connection; see the tree above."""

    #: Whether the connection is closed.
    gone: bool = True


class ConnectionLost(EslError):
    """The connection ended; the text says why."""


class NotConnected(ConnectionLost):
    """The connection was not there when it was asked for something: nothing was sent."""


class TimedOut(ConnectionLost):
    """No answer in time.  ``gone`` is False when only the request gave up and the connection goes on."""

    def __init__(self, reason: str, *, gone: bool = True) -> None:
        super().__init__(reason)
        self.gone = gone


class Garbled(ConnectionLost):
    """The peer sent what is no Event Socket, or more than :class:`Limits` allows."""


class PeerRefused(ConnectionLost):
    """The switch does not let us in: its access list, or the password."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may do before its connection is closed.  Sizes in bytes, times in seconds."""

    #: One header block.  The reply to ``connect`` has 6 to 10 kB, but says a caller's name ten times over, encoded:
    #: a display name as long as a datagram must not keep a call from being served.
    header: int = 2 * 1024 * 1024
    #: One body, as announced by ``Content-Length``.
    body: int = 2 * 1024 * 1024
    #: Commands that the peer has not taken yet.
    backlog: int = 1024 * 1024
    #: From a command to its reply.
    reply: float = 10.0
    #: From the first bytes of a message to its last.
    message: float = 10.0
    #: For a peer that reads nothing of what we send.
    send: float = 5.0


#: For the connection to a switch that asked us for a password: ``show channels`` has 900 bytes a channel.
SWITCH_LIMITS: Final = Limits(body=64 * 1024 * 1024)
_RECEIVE: Final = 64 * 1024
# A peer that always has more for us must not keep the process from its other calls: so many receives within one
# round of the event loop.
_TURNS: Final = 8

# ------------------------------------------------------------------------------------------ messages


def _text(value: bytes) -> str:
    """A header's value as text: unquoted, without control characters; what is no UTF-8 becomes U+FFFD."""
    if b"%" in value:
        value = unquote_to_bytes(value)
    return _plain(value)


def _plain(value: bytes) -> str:
    """The same of a value that is not encoded."""
    text = value.decode("utf-8", "replace")
    # isprintable is true for nearly every value and costs a tenth of the substitution.
    return text if text.isprintable() else wire.CONTROL.sub("", text)


# Header names are words of this program, so there are some dozens of them.
_NEEDLES: Final[dict[str, tuple[bytes, bytes, int]]] = {}


def _find(block: bytes, end: int, header: str) -> bytes | None:
    """The first value of a header in ``block[:end]``, still encoded."""
    try:
        first, later, size = _NEEDLES[header]
    except KeyError:
        first = f"{header}: ".encode()
        later, size = b"\n" + first, len(first)
        if len(_NEEDLES) < 1024:
            _NEEDLES[header] = first, later, size
    if block.startswith(first):
        start = size
    else:
        start = block.find(later, 0, end)
        if start < 0:
            return None
        start += size + 1
    stop = block.find(b"\n", start, end)
    return block[start : stop if stop >= 0 else end]


_NAMES: Final = {name.encode(): name for name in wire.EVENTS}


class EslEvent:
    """One event, kept as the bytes that came; a header is looked for when it is asked for.

    The surprise: an event may carry a body of its own (the result of a background job).  Headers are never
    looked for in there.
    """

    __slots__ = ("_end", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._end = -1

    def _headers_end(self) -> int:
        raw = self._raw
        end = len(raw) - 2
        # Looking for the blank line in 6 kB costs more than all else that is done with an event.  Of a channel's
        # events only HANGUP_COMPLETE can have a body, an XML document that ends otherwise.
        if raw[end:] != b"\n\n" or raw[:20] != b"Event-Name: CHANNEL_":
            end = raw.find(b"\n\n")
            if end < 0:
                end = len(raw)
        self._end = end
        return end

    @property
    def name(self) -> str:
        """``Event-Name``, for instance ``CHANNEL_ANSWER``; empty if there is none."""
        raw = self._raw
        if raw.startswith(b"Event-Name: "):  # always, from a switch
            stop = raw.find(b"\n", 12)
            name = raw[12 : stop if stop >= 0 else len(raw)]
            return _NAMES.get(name) or _text(name)
        return self.get("Event-Name") or ""

    def get(self, header: str, default: str | None = None) -> str | None:
        """The first value of a header (``Unique-ID``, ``variable_x``), unquoted, on one line."""
        end = self._end
        value = _find(self._raw, end if end >= 0 else self._headers_end(), header)
        if value is None:
            return default
        # As _text does: a call is asked some thirty headers, and a call of Python's costs as much as the search.
        if b"%" in value:
            value = unquote_to_bytes(value)
        text = value.decode("utf-8", "replace")
        return text if text.isprintable() else wire.CONTROL.sub("", text)

    @property
    def body(self) -> str:
        """What the event carries besides its headers; for ``BACKGROUND_JOB`` the command's output."""
        end = self._end
        if end < 0:
            end = self._headers_end()
        return self._raw[end + 2 :].decode("utf-8", "replace")

    def headers(self) -> dict[str, str]:
        """All headers.  Costs a hundred times a :meth:`get`: for traces and tests."""
        end = self._end
        found: dict[str, str] = {}
        for line in self._raw[: end if end >= 0 else self._headers_end()].split(b"\n"):
            header, colon, value = line.partition(b": ")
            if colon:
                found.setdefault(header.decode("utf-8", "replace"), _text(value))
        return found

    def __eq__(self, other: object) -> bool:
        return self._raw == other._raw if isinstance(other, EslEvent) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"<EslEvent {self.name} {self.get('Unique-ID', '')}>"


class Reply:
    """The answer to one command.

    ``text`` is ``Reply-Text``, or the whole output of an ``api`` command without its last newline (any
    characters); ``ok`` is False if it begins with ``-`` (``-ERR``, ``-USAGE``, ``-ERROR``), so do not ask a
    ``getvar`` for it.  ``command`` is what was asked, once the reply has been matched.
    """

    __slots__ = ("_head", "_said", "command")

    command: wire.Command | None

    def __init__(self, head: bytes, said: bytes | str) -> None:
        self._head = head
        self._said = said  # the bytes until somebody asks: most are "+OK", which nobody reads
        self.command = None

    @property
    def text(self) -> str:
        said = self._said
        if isinstance(said, bytes):
            if self._head.startswith(_ANSWER):
                said = said.decode("utf-8", "replace").removesuffix("\n")
            else:
                said = _plain(said)
            self._said = said
        return said

    @property
    def ok(self) -> bool:
        return self._said[:1] == b"+" or not self.text.startswith("-")

    def get(self, header: str, default: str | None = None) -> str | None:
        """Another header of the reply, for instance ``Job-UUID``."""
        value = _find(self._head, len(self._head), header)
        return default if value is None else _text(value)

    def event(self) -> EslEvent:
        """The reply's headers as an event: the reply to ``connect`` is the whole channel."""
        return EslEvent(self._head)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reply):
            return NotImplemented
        return (self._head, self.text) == (other._head, other.text)

    def __hash__(self) -> int:
        return hash((self._head, self.text))

    def __repr__(self) -> str:
        return f"<Reply {self.text!r}>"


@dataclass(frozen=True, slots=True)
class Notice:
    """Anything else that the switch says: ``kind`` is its Content-Type."""

    kind: str
    head: bytes
    body: bytes

    @property
    def lingers(self) -> bool:
        """Whether the switch only says that the call ended and the connection stays for the last events."""
        return _find(self.head, len(self.head), "Content-Disposition") == b"linger"


Message = EslEvent | Reply | Notice

# ------------------------------------------------------------------------------------------- framing

#: The header blocks of nearly all messages: an event, the answer to a command, the answer to an API command.
_USUAL: Final = re.compile(
    rb"Content-Length: ([0-9]{1,9})\nContent-Type: text/event-plain\n\n"
    rb"|Content-Type: command/reply\nReply-Text: ([^\n]*)\n\n"
    rb"|Content-Type: api/response\nContent-Length: ([0-9]{1,9})\n\n"
)
_EVENT, _REPLY = 1, 2
_ANSWER: Final = b"Content-Type: api/response\n"


class Parser:
    """Frames a byte stream, whatever the pieces in which it comes.  No input makes it raise.

    After nonsense, :attr:`error` is set and further bytes are ignored; the messages before it were good.
    """

    __slots__ = ("_buffer", "_limits", "_searched", "_wanted", "error")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        # Bytes that the message in the buffer has altogether; 0 while its header block is incomplete.
        self._wanted = 0
        # How much of the buffer cannot hold the beginning of the blank line.
        self._searched = 0
        self.error: Garbled | None = None

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes, emit: Callable[[Message], object]) -> None:
        """Take what came, and give each message that is now whole to ``emit``, in order."""
        if self.error is not None:
            return
        buffer = self._buffer
        if buffer:
            buffer += data
            if self._wanted:
                if len(buffer) < self._wanted:
                    return
            elif buffer.find(b"\n\n", self._searched) < 0:
                self._searched = len(buffer) - 1
                self._check_header(len(buffer) - 1)
                return
            data = bytes(buffer)
            buffer.clear()
        self._wanted = self._searched = 0
        position = 0
        size = len(data)
        while position < size:
            if data[position] == 10:
                # The switch ends some replies with a newline of their own.
                position += 1
                continue
            usual = _USUAL.match(data, position)
            if usual is not None:
                kind = usual.lastindex or 0
                start = usual.end()
                if kind == _REPLY:
                    if start - position > self._limits.header and not self._check_header(start - 2 - position):
                        return
                    emit(Reply(data[position : start - 2], usual[_REPLY]))
                    position = start
                    continue
                length = int(usual[kind])
            else:
                kind = 0
                end = data.find(b"\n\n", position)
                if end < 0:
                    if self._check_header(size - position - 1):
                        self._searched = size - position - 1
                        buffer += data[position:]
                    return
                if not self._check_header(end - position):
                    return
                start = end + 2
                announced = self._length(data[position:end])
                if announced is None:
                    return
                length = announced
            if length > self._limits.body:
                self.error = Garbled(f"a body of {length} bytes, more than {self._limits.body}")
                return
            stop = start + length
            if stop > size:
                self._wanted = stop - position
                buffer += data[position:]
                return
            if kind == _EVENT:
                emit(EslEvent(data[start:stop]))
            elif kind:
                emit(Reply(data[position : start - 2], data[start:stop]))
            else:
                message = self._other(data[position : start - 2], data[start:stop])
                if message is None:
                    return
                emit(message)
            position = stop

    def _length(self, head: bytes) -> int | None:
        """The size of the body that a header block announces, or None: nonsense."""
        digits = _find(head, len(head), "Content-Length")
        if digits is None:
            return 0
        # isdigit: int() alone would take a sign, spaces and underscores.
        if not digits.isdigit() or len(digits) > 9:
            self.error = Garbled(f"a Content-Length that is no number: {digits[:20]!r}")
            return None
        return int(digits)

    def _check_header(self, length: int) -> bool:
        if length <= self._limits.header:
            return True
        self.error = Garbled(f"a header block of more than {self._limits.header} bytes")
        self._buffer.clear()
        return False

    def _other(self, head: bytes, body: bytes) -> Message | None:
        kind = _find(head, len(head), "Content-Type")
        if kind == b"command/reply":
            # Only the reply to connect is encoded, as its first header tells.
            value = _find(head, len(head), "Reply-Text") or b""
            if head.startswith(b"Event-Name: "):
                return Reply(head, _text(value))
            return Reply(head, _plain(value))
        if kind == b"api/response":
            return Reply(head, body.decode("utf-8", "replace").removesuffix("\n"))
        if kind == b"text/event-plain":
            return EslEvent(body)
        if kind is None:
            self.error = Garbled(f"a message without Content-Type: {head[:40]!r}")
            return None
        return Notice(_text(kind), head, body)


# --------------------------------------------------------------------------------------- the sweep


class _Sweep:
    """Closes connections that are over a deadline.  One per process; asleep unless something is outstanding.

    Not a timer per command: there are ten commands to a call and nearly every one is answered within a
    millisecond.  A connection enters when it begins to owe something and is looked at when the earliest
    deadline passes; one that owes nothing by then leaves.
    """

    def __init__(self) -> None:
        self._watched: set[_Connection] = set()
        self._due = float("inf")
        self._earlier = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def watch(self, connection: _Connection, deadline: float) -> None:
        self._watched.add(connection)
        if deadline < self._due:
            self._due = deadline
            self._earlier.set()
            if self._greenlet is None:
                self._greenlet = gevent.spawn(self._run)

    def forget(self, connection: _Connection) -> None:
        self._watched.discard(connection)

    @property
    def asleep(self) -> bool:
        """Whether there is no greenlet at all."""
        return self._greenlet is None

    def _run(self) -> None:
        try:
            while self._watched:
                self._earlier.clear()
                now = _now()
                if now < self._due:
                    self._earlier.wait(self._due - now)
                    continue
                self._due = float("inf")
                for connection in list(self._watched):
                    deadline = connection._next_deadline(now)
                    if deadline is None:
                        self._watched.discard(connection)
                        connection._watched = False
                    else:
                        self._due = min(self._due, deadline)
        finally:
            self._greenlet = None
            self._due = float("inf")


_SWEEPS: Final[WeakKeyDictionary[Any, _Sweep]] = WeakKeyDictionary()


def _sweep() -> _Sweep:
    """The sweep of this thread's event loop."""
    hub = gevent.get_hub()
    sweep = _SWEEPS.get(hub)
    if sweep is None:
        sweep = _SWEEPS[hub] = _Sweep()
    return sweep


# ----------------------------------------------------------------------------------- the connection

OnEvent = Callable[[EslEvent], object]
OnReply = Callable[[Reply], object]
#: A command without a reply yet: who wants it, within how many seconds, by when (monotonic).
_Sent = tuple[wire.Command, OnReply | None, float, float]


def _not_used(*_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError("commands are made by callcontrol.wire and go through send() or request()")


def _nothing(_: object) -> None:
    """The handler of a connection that is over."""


# Small commands leave at once, and a peer whose machine died is noticed within half a minute.
_SOCKET_OPTIONS: Final = [
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    )
    if hasattr(socket, name)
]


class _Connection(greenswitch.esl.ESLProtocol):  # type: ignore[misc]
    """What both kinds of connection share.  Everything here runs in the loop of one thread."""

    connected: bool

    # greenswitch's own reading, dispatching and writing: none of it may be reached.
    start_event_handlers = process_events = handle_event = _read_socket = _not_used
    call_command = register_expected_event = authenticate = _not_used

    def __init__(self, on_event: OnEvent, limits: Limits) -> None:
        greenswitch.esl.ESLProtocol.__init__(self)
        self.limits = limits
        self._on_event = on_event
        self._parser = Parser(limits)
        self._inbox: deque[Message | Garbled] = deque()
        self._commands_sent: deque[_Sent] = deque()
        self._waiters: set[AsyncResult[Reply]] = set()
        self._reader: object = None
        self._greeting: AsyncResult[bool] | None = None
        # Why it is closed, with the error that tells it; None while it is open.
        self._lost: tuple[type[ConnectionLost], str] | None = (NotConnected, "not connected yet")
        self._unsent = bytearray()
        self._unsent_deadline: float | None = None
        self._message_deadline: float | None = None
        # Whether we closed it ourselves and want to hear no more.
        self._deaf = False
        self._turns = 0
        self._loop: Any = gevent.get_hub().loop
        self._iteration = 0
        self._skipped = 0
        self._watched = False
        self.sock: Any = None

    def _attach(self, sock: Any) -> None:
        """Begin with a fresh socket."""
        with suppress(OSError):  # a socket pair has none of them
            for level, option, value in _SOCKET_OPTIONS:
                sock.setsockopt(level, option, value)
        self.sock = sock
        self._parser = Parser(self.limits)
        self._inbox.clear()
        self._commands_sent.clear()
        self._unsent.clear()
        self._unsent_deadline = self._message_deadline = None
        self._deaf = False
        self._lost = None
        self._run = True
        self._lingering = False

    @property
    def reason(self) -> str | None:
        """Why the connection is closed; None while it is open."""
        return None if self._lost is None else self._lost[1]

    @property
    def lingering(self) -> bool:
        """Whether the switch has said that the call is over and only last events will come."""
        return bool(self._lingering)

    def _error(self) -> ConnectionLost:
        # A new one each time: a stored exception would keep the frames of whoever raised it.
        kind, reason = self._lost or (NotConnected, "not connected yet")
        return kind(reason)

    # ------------------------------------------------------------------------------------- writing

    def send(self, *commands: wire.Command, on_reply: OnReply | None = None) -> None:
        """Write the commands, all in one piece, and return at once.

        ``on_reply`` is called in the reading greenlet with the reply to the *last* of them, and never if the
        connection ends before.  A refusal (``-ERR``) that nobody asked for is logged with its command.

        Raises :class:`NotConnected` if there is no connection (nothing was sent) and :class:`ConnectionLost`
        if it breaks here.  It never waits: what a peer does not take at once is written as it reads, and a
        peer that reads nothing for ``limits.send`` seconds loses the connection.
        """
        if not self.connected:
            raise NotConnected(self.reason or "not connected yet")
        self._write(commands, on_reply, self.limits.reply)

    def _write(
        self,
        commands: Sequence[wire.Command],
        on_reply: OnReply | None,
        seconds: float,
        *,
        first: bool = False,
    ) -> None:
        """``first``: the callback is for the first command, not the last."""
        if not commands:
            return
        for command in commands:
            if type(command) is not wire.Command:
                raise TypeError(f"not a command of callcontrol.wire: {command!r}")
        deadline = _now() + seconds
        sent: list[_Sent] = [(command, None, seconds, deadline) for command in commands]
        if on_reply is not None:
            asked = 0 if first else -1
            sent[asked] = (commands[asked], on_reply, seconds, deadline)
        self._commands_sent.extend(sent)
        if not self._watched:
            self._watch(deadline)
        self._transmit(("\n\n".join([command.text for command in commands]) + "\n\n").encode())

    def _watch(self, deadline: float) -> None:
        self._watched = True
        _sweep().watch(self, deadline)

    def _transmit(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > self.limits.backlog:
                self._fail(ConnectionLost, f"the peer has not taken {len(self._unsent)} bytes of commands")
                raise self._error()
            return
        try:
            # The third argument: do not wait.
            sent = self.sock.send(data, 0, 0.0)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(ConnectionLost, f"writing failed: {error.strerror or error}")
            raise self._error() from None
        if sent < len(data):
            self._unsent += data[sent:]
            self._unsent_deadline = _now() + self.limits.send
            self._watch(self._unsent_deadline)
            # The exception to "one greenlet": it lives while the peer is behind with its reading.
            gevent.spawn(self._drain, self.sock)

    def _drain(self, sock: Any) -> None:
        while self.sock is sock and self._lost is None and self._unsent:
            try:
                sent = sock.send(self._unsent)
            except OSError as error:
                if self.sock is sock:
                    self._fail(ConnectionLost, f"writing failed: {error.strerror or error}")
                return
            del self._unsent[:sent]
            if sent:
                self._unsent_deadline = _now() + self.limits.send
        if self.sock is sock and not self._unsent:
            self._unsent_deadline = None

    def request(self, command: wire.Command, timeout: float) -> Reply:
        """Send one command and wait at most ``timeout`` seconds for its reply, which may be a refusal.

        Raises :class:`NotConnected` at once; :class:`ConnectionLost` if the connection ends meanwhile;
        :class:`TimedOut` with ``gone`` False if the reply is late (it is thrown away when it comes).

        In the reading greenlet (so also in ``on_event``) it reads on by itself, and the events that arrive
        meanwhile are dispatched after it has returned.
        """
        if not self.connected:
            raise NotConnected(self.reason or "not connected yet")
        return self._request((command,), timeout)

    def _request(self, commands: Sequence[wire.Command], timeout: float, *, first: bool = False) -> Reply:
        result: AsyncResult[Reply] = AsyncResult()
        self._write(commands, result.set, max(timeout, self.limits.reply), first=first)
        asked = commands[0 if first else -1]
        what = f"no reply to {asked.label!r} within {timeout:g} s"
        if self._reader is None or self._reader is gevent.getcurrent():
            self._read_until(result, timeout, what)
        else:
            self._waiters.add(result)
            try:
                # wait, not get: a time-out that some caller put around us is not ours to swallow.
                result.wait(timeout)
            finally:
                self._waiters.discard(result)
            if not result.ready():
                raise TimedOut(what, gone=False)
        return cast(Reply, result.get_nowait())

    # ------------------------------------------------------------------------------------- reading

    def serve(self) -> str:
        """Receive and dispatch until the connection is closed; return why.

        To be called from the connection's one greenlet; events are given to ``on_event`` in it, one after
        the other.  What came before the peer's end is still given; after our own :meth:`close` nothing is.
        An exception of ``on_event`` is logged and the next event follows.
        """
        inbox = self._inbox
        before, self._reader = self._reader, gevent.getcurrent()
        try:
            while True:
                if inbox:
                    self._handle(inbox.popleft())
                elif self._lost is None:
                    self._receive()
                else:
                    return self._lost[1]
        except BaseException as error:
            # Somebody ended this greenlet: nobody reads any more, so nobody may wait.
            self._fail(ConnectionLost, f"the reading ended: {type(error).__name__}")
            raise
        finally:
            self._reader = before

    def _read_until(self, result: AsyncResult[Any], timeout: float, what: str) -> None:
        """Read in this greenlet until ``result`` is there; events are kept for later."""
        inbox = self._inbox
        kept: list[EslEvent] = []
        before, self._reader = self._reader, gevent.getcurrent()
        timer = gevent.Timeout.start_new(timeout)
        try:
            while not result.ready():
                if inbox:
                    message = inbox.popleft()
                    if isinstance(message, EslEvent):
                        kept.append(message)
                    else:
                        self._handle(message)
                elif self._lost is None:
                    self._receive()
                else:
                    raise self._error()
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            raise TimedOut(what, gone=False) from None
        finally:
            timer.close()
            self._reader = before
            if not self._deaf:
                inbox.extendleft(reversed(kept))

    def _receive(self) -> None:
        """One receive into the inbox, or the end of the connection."""
        try:
            data = self.sock.recv(_RECEIVE)
        except OSError as error:
            # Also how a close() by another greenlet ends this wait; the reason is already there then.
            self._fail(ConnectionLost, f"reading failed: {error.strerror or error}")
            return
        parser = self._parser
        if not data:
            middle = " in the middle of a message" if parser.partial else ""
            self._fail(ConnectionLost, f"the peer closed the connection{middle}")
            return
        inbox = self._inbox  # empty: only then anything is received
        parser.feed(data, inbox.append)
        if inbox or not parser.partial:
            self._message_deadline = None
        if parser.error is not None:
            inbox.append(parser.error)
        elif parser.partial and self._message_deadline is None:
            self._message_deadline = deadline = _now() + self.limits.message
            if not self._watched:
                self._watch(deadline)
        iteration = self._loop.iteration
        if iteration != self._iteration:  # we had to wait for this: everybody else had a turn
            self._iteration = iteration
            self._turns = 0
        self._turns += 1
        if self._turns >= _TURNS:
            self._turns = 0
            gevent.sleep(0.001)  # not 0: fifty of those run before gevent looks at another socket or a timer

    def _handle(self, message: Message | Garbled) -> None:
        if isinstance(message, Reply):
            self._replied(message)
        elif isinstance(message, EslEvent):
            try:
                self._on_event(message)
            except (Exception, gevent.Timeout):
                _log.exception("the handler of an event failed", event_name=message.name)
        elif isinstance(message, Garbled):
            self._fail(Garbled, str(message))
        elif message.kind == "text/disconnect-notice":
            if message.lingers:
                self._lingering = True
            else:
                self._fail(ConnectionLost, "the switch ended the connection")
        elif message.kind == "text/rude-rejection":
            self._fail(PeerRefused, "the switch does not admit this address")
        elif message.kind == "auth/request":
            if self._greeting is None:
                self._fail(PeerRefused, "the peer asks for a password: this is no outbound connection")
            else:
                self._greeting.set(True)
        else:
            # A line each would be a flood: whatever it is, there will be more of it.
            if not self._skipped:
                _log.warning("messages of an unknown kind are skipped", kind=message.kind[:80])
            self._skipped += 1

    def _replied(self, reply: Reply) -> None:
        if self._lost is not None:
            return
        if not self._commands_sent:
            # From here on no reply could be matched.
            self._fail(Garbled, "a reply to nothing")
            return
        command, on_reply, _, _ = self._commands_sent.popleft()
        reply.command = command
        if on_reply is not None:
            try:
                on_reply(reply)
            except (Exception, gevent.Timeout):
                _log.exception("the handler of a reply failed", command=command.label)
        elif not reply.ok:
            _log.warning("the switch refused a command", command=command.label, reply=reply.text[:200])

    # -------------------------------------------------------------------------------------- ending

    def close(self, reason: str) -> None:
        """End the connection now.  The second and later times do nothing.

        Whoever waits in :meth:`request` gets :class:`ConnectionLost`, :meth:`serve` returns ``reason``, the
        socket is closed before this returns, and no event is given any more.  It waits for nothing.
        """
        if self._lost is None:
            self._fail(ConnectionLost, reason)
        self._deaf = True
        self._inbox.clear()

    def stop(self) -> None:
        """greenswitch's word for :meth:`close`."""
        self.close("stopped")

    def _fail(self, kind: type[ConnectionLost], reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = (kind, reason)
        was_connected, self.connected = self.connected, False
        self._run = False
        self._commands_sent.clear()
        self._unsent.clear()
        self._unsent_deadline = self._message_deadline = None
        if self._watched:
            self._watched = False
            _sweep().forget(self)
        # shutdown first: gevent closes the descriptor in the next turn of its loop only.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for waiter in list(self._waiters):
            waiter.set_exception(kind(reason))
        try:
            self._closed(reason, was_connected)
        except (Exception, gevent.Timeout):
            _log.exception("the handler of a closed connection failed", reason=reason)

    def _closed(self, reason: str, was_connected: bool) -> None:
        """What the kind of connection does at its end."""

    def _next_deadline(self, now: float) -> float | None:
        """For the sweep: close if overdue; otherwise the next deadline, None if nothing is outstanding."""
        deadlines = []
        if self._commands_sent:
            command, _, seconds, deadline = self._commands_sent[0]
            if deadline <= now:
                self._fail(TimedOut, f"no reply to {command.label!r} within {seconds:g} s")
                return None
            deadlines.append(deadline)
        if self._unsent_deadline is not None:
            if self._unsent_deadline <= now:
                self._fail(TimedOut, f"the peer has read nothing for {self.limits.send:g} s")
                return None
            deadlines.append(self._unsent_deadline)
        if self._message_deadline is not None:
            if self._message_deadline <= now:
                self._fail(TimedOut, f"a message was not completed within {self.limits.message:g} s")
                return None
            deadlines.append(self._message_deadline)
        return min(deadlines, default=None)


class Outbound(_Connection, greenswitch.esl.OutboundSession):  # type: ignore[misc]
    """One call, brought by the switch over a connection that it made to us.

    ``sock`` is the accepted gevent socket, ``address`` its peer.  ``on_event`` gets each event; ``on_closed``
    is called once, with the reason, in whichever greenlet the end was found, and must not wait.
    """

    def __init__(
        self,
        sock: Any,
        address: Any,
        on_event: OnEvent,
        on_closed: Callable[[str], object],
        *,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(on_event, limits)
        self.address = address
        self._on_closed = on_closed
        self.session_data: EslEvent | None = None
        self._outbound_connected = False
        self._attach(sock)
        self.connected = True

    def connect(self, timeout: float, *also: wire.Command) -> EslEvent:
        """Take the call: the whole channel as an event.  ``also`` leaves in the same write, behind it.

        Must be the first that is sent, and within 25 s of the connection.  Raises :class:`TimedOut` (and
        closes), :class:`Garbled` or :class:`ConnectionLost`.
        """
        if not self.connected:
            raise NotConnected(self.reason or "not connected yet")
        self._reader = gevent.getcurrent()
        try:
            reply = self._request((wire.CONNECT, *also), timeout, first=True)
        except TimedOut as error:
            self._fail(TimedOut, str(error))
            raise self._error() from None
        event = reply.event()
        if not reply.ok or event.get("Unique-ID") is None:
            self._fail(Garbled, f"connect was answered by {reply.text[:80]!r} and no channel")
            raise self._error()
        self.session_data = event
        self._outbound_connected = True
        return event

    def serve(self) -> str:
        try:
            return super().serve()
        finally:
            # The session holds us and we held its methods; without this the pair waits for the collector.
            self._on_event = self._on_closed = _nothing
            self._reader = None

    def _closed(self, reason: str, was_connected: bool) -> None:
        self._outbound_connected = False
        self._on_closed(reason)


class Inbound(_Connection, greenswitch.esl.InboundESL):  # type: ignore[misc]
    """Our own connection to a switch: it says the password, subscribes, and comes back for ever.

    ``on_up`` is called each time the connection is ready, ``on_down`` with the reason each time a ready one
    is lost; both must not wait.  ``on_event`` and ``on_up`` run in the reading greenlet.  While there is no
    connection, :meth:`send` and :meth:`request` raise :class:`NotConnected` at once; nothing is kept for
    later, since whoever asked must decide what a late command would mean.
    """

    #: Seconds between attempts: first, doubled each time, at most.
    BACKOFF: ClassVar[tuple[float, float]] = (0.1, 2.0)

    def __init__(
        self,
        host: str,
        port: int,
        password: str,
        subscribe: Sequence[wire.Command],
        on_event: OnEvent,
        on_up: Callable[[Inbound], object],
        on_down: Callable[[str], object],
        *,
        limits: Limits = SWITCH_LIMITS,
        timeout: float = 5.0,
    ) -> None:
        """``timeout`` (seconds) is for each step of connecting: TCP, greeting, password, subscriptions."""
        super().__init__(on_event, limits)
        self.host = host
        self.port = port
        self.timeout = timeout
        self._auth = wire.auth(password)
        self._subscribe = tuple(subscribe)
        self._on_up = on_up
        self._on_down = on_down
        self._stopping = Event()
        self._greenlet: gevent.Greenlet[[Event], None] | None = None
        self._said: str | None = None
        #: Set by the first attempt that comes to nothing.
        self.failed = Event()

    def start(self) -> None:
        """Begin to connect, and return.  The second time does nothing."""
        if self._greenlet is None:
            self._stopping = Event()
            self._greenlet = gevent.spawn(self._keep_up, self._stopping)

    def connect(self) -> None:
        """greenswitch's word for :meth:`start`."""
        self.start()

    def nudge(self) -> None:
        """Have the switch send now what it has for us: an empty line, which is no command and has no reply.

        ``read_packet`` of mod_event_socket looks for events every 20 ms, and whenever something comes in.
        """
        if self.connected and not self._unsent:
            with suppress(ConnectionLost):  # the reader says so
                self._transmit(b"\n")

    def stop(self) -> None:
        """End the connection and the attempts, without waiting for anything."""
        self._stopping.set()
        self._greenlet = None
        self.close("stopped")

    def _keep_up(self, stopping: Event) -> None:
        self._reader = gevent.getcurrent()
        wait, most = self.BACKOFF
        while not stopping.is_set():
            try:
                self._establish(stopping)
            except (ConnectionLost, OSError) as error:
                self.failed.set()
                if not stopping.is_set():
                    self._say(str(error))
            else:
                wait = self.BACKOFF[0]
                self._said = None
                _log.info("connected to the switch", host=self.host, port=self.port)
                try:
                    self._on_up(self)
                except (Exception, gevent.Timeout):
                    _log.exception("the handler of a new connection failed")
                reason = self.serve()
                if not stopping.is_set():
                    self._say(reason)
            # Not all processes of a machine at the same moment.
            stopping.wait(wait * random.uniform(0.75, 1.25))
            wait = min(wait * 2, most)

    def _say(self, reason: str) -> None:
        """One line for each new reason, not one for each attempt."""
        if reason != self._said:
            self._said = reason
            _log.warning("no connection to the switch", host=self.host, port=self.port, reason=reason)

    def _establish(self, stopping: Event) -> None:
        sock = socket.create_connection((self.host, self.port), timeout=self.timeout)
        sock.settimeout(None)
        if stopping.is_set():
            sock.close()
            raise NotConnected("stopped")
        self._attach(sock)
        try:
            self._greeting = AsyncResult()
            try:
                self._read_until(self._greeting, self.timeout, f"no greeting within {self.timeout:g} s")
            finally:
                self._greeting = None
            reply = self._request((self._auth,), self.timeout)
            if not reply.ok:
                raise PeerRefused(f"the switch refused the password: {reply.text[:80]!r}")
            for command in self._subscribe:
                reply = self._request((command,), self.timeout)
                if not reply.ok:
                    raise PeerRefused(f"the switch refused {command.label!r}: {reply.text[:80]!r}")
        except ConnectionLost as error:
            self._fail(type(error), str(error))
            raise
        self.connected = True

    def _closed(self, reason: str, was_connected: bool) -> None:
        if was_connected:
            self._on_down(reason)
