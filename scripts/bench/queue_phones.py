"""Telephones for the queues' bench: agents who answer and hang up, callers who wait, and when each thing reached them.

They speak just the SIP (RFC 3261) that a call over loopback needs, and send their voice every 20 ms as A-law (RFC
3550).  They know no queue and no switch: what is measured is what a telephone sees.  SIPp, which calls in the other
benches, does not say when sound begins to come.

Where the surprise lies: a caller's voice is one byte, repeated, and no two callers have the same.  The switch passes
it on untouched, so an agent's telephone knows whose voice the first packet of a talk is, and that it is no music.
What comes in is timed by the kernel (SO_TIMESTAMPNS) and what goes out by the same clock, so a telephone that is slow
to look does not make the switch slow.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import re
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from scripts.bench.queue_seen import Seen

#: Linux; Python does not name it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_PACKET = 0.02  # seconds of sound
_AGENTS_VOICE = 0xD5  # silence
#: Seconds that a telephone waits for a voice after it answered, and a caller for an answer.
PATIENCE = 5.0


class Desk:
    """The loop that the telephones of one process share: their sockets, their timers, and the ticks of their voices."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._speaking: set[Sound] = set()
        self._tick = 0.0

    def listen(self, host: str, heard: Callable[[bytes, tuple[str, int], float], None]) -> socket.socket:
        """A UDP socket on a free port; ``heard(data, from, when)`` for each datagram."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._selector.register(sock, selectors.EVENT_READ, partial(_drain, sock, heard))
        return sock

    def follow(self, readable: Any, look: Callable[[], None]) -> None:
        """Look whenever something else can be read."""
        self._selector.register(readable, selectors.EVENT_READ, look)

    def close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), do))

    def speaks(self, sound: Sound) -> None:
        self._speaking.add(sound)

    def silent(self, sound: Sound) -> None:
        self._speaking.discard(sound)

    def run(self, until: Callable[[], object], seconds: float) -> bool:
        """Let the telephones live until the condition holds; whether it did within so many seconds."""
        deadline = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now > deadline:
                return False
            self._due(now)
            wake = min([deadline, self._tick, *[at for at, _, _ in self._timers[:1]]])
            for key, _ in self._selector.select(max(0.0, wake - time.monotonic())):
                key.data()
        return True

    def rest(self, seconds: float) -> None:
        """Let them live for so long."""
        self.run(lambda: False, seconds)

    def _due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        if now >= self._tick:
            # A tick that comes late is not caught up with: nobody speaks faster for having been silent.
            self._tick = max(self._tick + _PACKET, now)
            for sound in self._speaking:
                sound.packet()


def _drain(sock: socket.socket, heard: Callable[[bytes, tuple[str, int], float], None]) -> None:
    while True:
        try:
            data, extra, _, sender = sock.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
        except OSError:
            return  # nothing more; or closed by what it just heard
        heard(data, sender, next(_stamps(extra), time.time()))


def _stamps(extra: Sequence[tuple[int, int, bytes]]) -> Iterator[float]:
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            yield seconds + nanoseconds / 1e9


class Sound:
    """One call's sound at one telephone: speaks all the time, and notes whose voice it hears first and when.

    ``voice``: its byte.  ``waits_for``: the voices that are somebody; nothing else is listened to.
    """

    def __init__(self, desk: Desk, host: str, voice: int, heard: Callable[[int, float], None] | None = None) -> None:
        self._desk = desk
        self._heard = heard
        self._socket = desk.listen(host, self._packet_came)
        self._payload = bytes([voice]) * int(8000 * _PACKET)
        self._to = ("", 0)
        self._sequence = self._stamp = 0
        self._source = secrets.randbits(32)
        self.port = int(self._socket.getsockname()[1])

    def begin(self, to: tuple[str, int]) -> None:
        self._to = to
        self._desk.speaks(self)

    def packet(self) -> None:
        head = struct.pack("!BBHII", 0x80, 8, self._sequence & 0xFFFF, self._stamp & 0xFFFFFFFF, self._source)
        self._sequence += 1
        self._stamp += len(self._payload)
        with contextlib.suppress(OSError):  # the other side has hung up
            self._socket.sendto(head + self._payload, self._to)

    def close(self) -> None:
        self._desk.silent(self)
        self._desk.close(self._socket)

    def _packet_came(self, data: bytes, _: tuple[str, int], at: float) -> None:
        payload = data[12:]
        if self._heard is not None and len(payload) > 1 and payload == payload[:1] * len(payload):
            self._heard(payload[0], at)


@dataclass(slots=True)
class Message:
    """A SIP message as far as we read it."""

    first: str
    headers: dict[str, list[str]]
    body: str

    @classmethod
    def read(cls, data: bytes) -> Message:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        return cls(first, headers, body)

    def __getitem__(self, name: str) -> str:
        return self.headers.get(name, [""])[0]

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def status(self) -> int:
        """0 for a request."""
        words = self.first.split(" ")
        return int(words[1]) if words[0] == "SIP/2.0" else 0

    @property
    def contact(self) -> str:
        return self["contact"].partition("<")[2].partition(">")[0]

    @property
    def media(self) -> tuple[str, int]:
        """Where the other side wants sound."""
        host, port = re.search(r"c=IN IP4 (\S+)", self.body), re.search(r"m=audio (\d+)", self.body)
        return (host[1], int(port[1])) if host and port else ("", 0)

    def answer(self, status: str, to: str, *more: str, body: str = "") -> bytes:
        """A response.  ``to``: our tag."""
        lines = [f"SIP/2.0 {status}", *(f"Via: {via}" for via in self.headers.get("via", []))]
        tagged = self["to"] if "tag=" in self["to"] else f"{self['to']};tag={to}"
        lines += [f"From: {self['from']}", f"To: {tagged}", f"Call-ID: {self['call-id']}", f"CSeq: {self['cseq']}"]
        return _bytes([*lines, *more], body)


def _bytes(lines: Sequence[str], body: str) -> bytes:
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body]).encode()


def _sdp(host: str, port: int) -> str:
    lines = ["v=0", f"o=bench 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 8"]
    return "\r\n".join([*lines, "a=rtpmap:8 PCMA/8000", "a=ptime:20", ""])


# --------------------------------------------------------------------------------------------------- agents


@dataclass(slots=True)
class Served:
    """One call at an agent's telephone.  Epoch seconds; 0.0: it did not come to it.

    ``invited``: the INVITE came.  ``answered``: our 200 OK left.  ``heard``: the first packet of the caller's voice
    came.  ``ended``: our BYE left.  ``voice``: whose it was.  ``result``, ``over``: how and when it ended otherwise.
    """

    invited: float
    answered: float = 0.0
    heard: float = 0.0
    ended: float = 0.0
    voice: int = 0
    result: str = ""
    over: float = 0.0


class Agent:
    """An agent's telephone: rings for ``ring`` seconds, answers, hangs up ``talk`` seconds after it heard a voice."""

    def __init__(self, desk: Desk, host: str, ring: float, talk: float) -> None:
        self.ring, self.talk = ring, talk
        self.calls: list[Served] = []
        #: INVITEs that came while it rang or talked: two offers at once.
        self.doubled = 0
        self._desk = desk
        self._host = host
        self._socket = desk.listen(host, self._came)
        self.port = int(self._socket.getsockname()[1])
        self._tag = secrets.token_hex(4)
        self._invite: Message | None = None
        self._peer = ("", 0)
        self._said = b""  # the last answer to the INVITE: said again if it is asked again
        self._sound: Sound | None = None

    @property
    def busy(self) -> bool:
        return self._invite is not None

    @property
    def now(self) -> Served:
        return self.calls[-1]

    def hang_up(self) -> None:
        """Say BYE, if it talks."""
        invite = self._invite
        if invite is None or not self.now.answered:
            return
        line = [f"BYE {invite.contact} SIP/2.0", f"Via: SIP/2.0/UDP {self._host}:{self.port};branch={_branch()}"]
        line += ["Max-Forwards: 70", f"From: {invite['to']};tag={self._tag}", f"To: {invite['from']}"]
        line += [f"Call-ID: {invite['call-id']}", "CSeq: 1 BYE"]
        self._socket.sendto(_bytes(line, ""), self._peer)
        self.now.ended = time.time()
        self._over()

    def close(self) -> None:
        self.hang_up()
        self._over()
        self._desk.close(self._socket)

    def _came(self, data: bytes, peer: tuple[str, int], at: float) -> None:
        message = Message.read(data)
        if message.status or message.method == "ACK":
            return
        ours = self._invite is not None and message["call-id"] == self._invite["call-id"]
        if message.method == "INVITE":
            if ours:
                self._socket.sendto(self._said, peer)
            elif self._invite is not None:
                self.doubled += 1
                self._socket.sendto(message.answer("486 Busy Here", self._tag), peer)
            else:
                self._rings(message, peer, at)
            return
        self._socket.sendto(message.answer("200 OK", self._tag), peer)
        if ours and message.method == "CANCEL" and not self.now.answered and self._invite is not None:
            self._socket.sendto(self._invite.answer("487 Request Terminated", self._tag), peer)
        if ours and message.method in ("CANCEL", "BYE"):
            self.now.result, self.now.over = message.method, at
            self._over()

    def _rings(self, invite: Message, peer: tuple[str, int], at: float) -> None:
        self._invite, self._peer = invite, peer
        self.calls.append(Served(at))
        self._say("180 Ringing")
        self._desk.later(self.ring, lambda: self._answers(invite))

    def _answers(self, invite: Message) -> None:
        if self._invite is not invite:
            return
        sound = self._sound = Sound(self._desk, self._host, _AGENTS_VOICE, self._hears)
        self._say("200 OK", body=_sdp(self._host, sound.port))
        self.now.answered = time.time()
        sound.begin(invite.media)
        self._desk.later(PATIENCE, lambda: self._gives_up(invite))

    def _say(self, status: str, body: str = "") -> None:
        if self._invite is not None:
            contact = f"Contact: <sip:agent@{self._host}:{self.port}>"
            self._said = self._invite.answer(status, self._tag, contact, body=body)
            self._socket.sendto(self._said, self._peer)

    def _hears(self, voice: int, at: float) -> None:
        call, invite = self.now, self._invite
        if invite is None or call.heard or voice not in VOICES:
            return
        call.heard, call.voice = at, voice
        self._desk.later(self.talk, lambda: self.hang_up() if self._invite is invite else None)

    def _gives_up(self, invite: Message) -> None:
        if self._invite is invite and not self.now.heard:
            self.now.result = "no voice came"
            self.hang_up()

    def _over(self) -> None:
        self._invite = None
        if self._sound is not None:
            self._sound.close()
            self._sound = None


# -------------------------------------------------------------------------------------------------- callers

#: Callers' voices: none is silence (0xD5, 0x55).
VOICES = tuple(range(10, 80))
#: A caller's number begins so and ends with the voice.
NUMBER = "+4420794600"


@dataclass(slots=True)
class Called:
    """One call of a caller.  ``answered``: the 200 OK came; ``result``: how it ended if not by the other side's BYE."""

    placed: float
    answered: float = 0.0
    ended: float = 0.0
    result: str = ""


class Caller:
    """A caller's telephone, who stays until they are hung up on.  ``ended`` is told of each call's end."""

    def __init__(self, desk: Desk, host: str, switch: tuple[str, int], voice: int) -> None:
        self.voice = voice
        self.calls: list[Called] = []
        self.ended: Callable[[], None] = lambda: None
        self._desk = desk
        self._host = host
        self._switch = switch
        self._socket = desk.listen(host, self._came)
        self.port = int(self._socket.getsockname()[1])
        self._sound: Sound | None = None
        self._call_id = self._to = self._target = ""

    @property
    def busy(self) -> bool:
        return bool(self._call_id)

    def call(self, number: str) -> None:
        """Call."""
        self._call_id = call_id = f"{secrets.token_hex(8)}@bench"
        self._to = f"<sip:{number}@{self._switch[0]}:{self._switch[1]}>"
        self._target = self._to[1:-1]
        self._sound = Sound(self._desk, self._host, self.voice)
        self.calls.append(Called(time.time()))
        self._ask(
            "INVITE", 1, f"Contact: <sip:caller@{self._host}:{self.port}>", body=_sdp(self._host, self._sound.port)
        )
        self._desk.later(PATIENCE, lambda: self._unanswered(call_id))

    def hang_up(self) -> None:
        """Leave, if answered; one who is not is left alone, and is lost."""
        if self._call_id and self.calls[-1].answered:
            self._ask("BYE", 2)
            self._over("left")

    def close(self) -> None:
        self.ended = lambda: None
        self.hang_up()
        self._over("left")
        self._desk.close(self._socket)

    def _ask(self, method: str, number: int, *more: str, body: str = "") -> None:
        lines = [f"{method} {self._target} SIP/2.0"]
        lines += [f"Via: SIP/2.0/UDP {self._host}:{self.port};branch={_branch()}", "Max-Forwards: 70"]
        lines += [f'From: "Bench" <sip:{NUMBER}{self.voice}@carrier.test>;tag=caller{self.voice}']
        lines += [f"To: {self._to}", f"Call-ID: {self._call_id}", f"CSeq: {number} {method}"]
        self._socket.sendto(_bytes([*lines, *more], body), self._switch)

    def _came(self, data: bytes, peer: tuple[str, int], at: float) -> None:
        message = Message.read(data)
        if not message.status and message.method != "ACK":
            self._socket.sendto(message.answer("200 OK", "caller"), peer)
        if not self._call_id or message["call-id"] != self._call_id:
            return
        call = self.calls[-1]
        if message.method == "BYE":
            call.ended = at
            self._over("")
        elif message.status >= 200 and message["cseq"].endswith("INVITE"):
            self._to, self._target = message["to"], message.contact or self._target
            self._ask("ACK", 1)
            if message.status >= 300:
                self._over(f"refused: {message.status}")
            elif not call.answered and self._sound is not None:
                call.answered = at
                self._sound.begin(message.media)

    def _unanswered(self, call_id: str) -> None:
        if self._call_id == call_id and not self.calls[-1].answered:
            self._over("not answered")

    def _over(self, result: str) -> None:
        if self._call_id:
            self._call_id = ""
            self.calls[-1].result = result
            if self._sound is not None:
                self._sound.close()
                self._sound = None
            self.ended()


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"


# ------------------------------------------------------------------------------------------------ what they do


class Joinings:
    """When the switch said that it had joined a caller with somebody, by the caller's voice."""

    #: The switch's clock moves in steps: how much earlier than a telephone's it may be, seconds.
    BEHIND = 0.06

    def __init__(self) -> None:
        self._said: list[tuple[float, int, float]] = []

    def said(self, number: str, at: float, took: float) -> None:
        """``number``: the caller's; ``took``: since the other had answered, seconds, by the switch's clock alone."""
        if number.startswith(NUMBER):
            self._said.append((at, int(number.removeprefix(NUMBER)), took))

    def of(self, call: Served) -> list[float]:
        """How long the joining of this call of an agent's took, or nothing if the switch did not say it."""
        since = call.answered - self.BEHIND
        found = [(at, took) for at, voice, took in self._said if voice == call.voice and since <= at]
        return [took for _, took in sorted(found)[:1]]


def _take_in(seen: Seen, agents: Sequence[Agent], joinings: Joinings) -> None:
    """What the agents' telephones saw since the last time."""
    for agent in agents:
        for call in agent.calls:
            if call.heard:
                seen.voice.append(call.heard - call.answered)
                seen.joined += joinings.of(call)
            if call.result not in ("", "CANCEL"):
                seen.lose(call.result)
        seen.lose("two offers at once", agent.doubled)
        agent.calls, agent.doubled = agent.calls[-1:] if agent.busy else [], 0


def rush(
    desk: Desk, agents: Sequence[Agent], callers: Sequence[Caller], number: str, talks: int, joinings: Joinings
) -> Seen:
    """All callers call, and again when they have been served, until the agents have had so many talks."""
    seen, going = Seen(), True

    def again(caller: Caller) -> None:
        if caller.calls[-1].result:
            seen.lose(caller.calls[-1].result)
        if going:
            desk.later(0.05, lambda: caller.call(number) if going and not caller.busy else None)

    for n, caller in enumerate(callers):
        caller.ended = lambda caller=caller: again(caller)  # type: ignore[misc]
        desk.later(0.03 * n, lambda caller=caller: caller.call(number))  # type: ignore[misc]
    desk.rest(0.03 * len(callers))
    longest = max(agent.talk + agent.ring for agent in agents) + 3.0
    desk.run(
        lambda: sum(bool(call.ended) for agent in agents for call in agent.calls) >= talks,
        10 + longest * talks / len(agents),
    )
    going, stopped = False, time.time()
    for caller in callers:
        caller.ended = lambda: None
        caller.hang_up()
    for agent in agents:
        agent.hang_up()
    if not desk.run(lambda: not any(agent.busy for agent in agents) and not any(one.busy for one in callers), 10.0):
        seen.lose("did not end")
    for agent in agents:
        for one, next_ in itertools.pairwise(agent.calls):
            if one.ended and next_.heard:
                seen.idle.append(next_.invited - one.ended)
        for call in agent.calls:
            if call.result == "BYE" and call.over > stopped:
                call.result = ""  # our own callers, who have left
    missing = talks - sum(bool(call.heard) for agent in agents for call in agent.calls)
    seen.lose("talks that did not come", max(0, missing))
    _take_in(seen, agents, joinings)
    return seen


def singles(
    desk: Desk, agents: Sequence[Agent], caller: Caller, number: str, count: int, pause: float, joinings: Joinings
) -> Seen:
    """One caller calls so often, ``pause`` seconds after the last call ended; all agents are free."""
    seen = Seen()
    caller.ended = lambda: None
    for _ in range(count):
        caller.call(number)
        before = {id(agent): len(agent.calls) for agent in agents}
        desk.run(lambda: not caller.busy, 3 * PATIENCE)
        caller.hang_up()
        call = caller.calls[-1]
        if call.result:
            seen.lose(call.result)
        invited = [at.invited for agent in agents for at in agent.calls[before[id(agent)] :]]
        if call.answered and invited:
            seen.offer.append(min(invited) - call.answered)
        else:
            seen.lose("no agent rang")
        desk.run(lambda: not any(agent.busy for agent in agents), PATIENCE)
        desk.rest(pause)
    _take_in(seen, agents, joinings)
    return seen
