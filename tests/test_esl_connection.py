"""The life and death of a connection: order, deadlines, waking, and coming back.

No test sleeps to let something happen: each waits for the thing itself, with a limit that only a failure meets.
Deadlines are tried with limits of some milliseconds.
"""

from __future__ import annotations

import gc
import json
import struct
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import gevent
import greenswitch.esl
import pytest
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol import esl, wire
from callcontrol.esl import EslEvent, Inbound, Limits, Outbound, Reply

PATIENCE = 5.0
Logs = list[MutableMapping[str, Any]]


def reply(text: str = "+OK") -> bytes:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def output(text: str) -> bytes:
    return f"Content-Type: api/response\nContent-Length: {len(text)}\n\n{text}".encode()


def event(name: str, **headers: str) -> bytes:
    body = "".join(f"{key}: {value}\n" for key, value in {"Event-Name": name, **headers}.items()) + "\n"
    return f"Content-Length: {len(body)}\nContent-Type: text/event-plain\n\n{body}".encode()


LINGER = b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n"
DISCONNECT = b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\nContent-Length: 2\n\nby"
RUDE = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
GREETING = b"Content-Type: auth/request\n\n"


def channel() -> bytes:
    """The reply to ``connect``, as a switch gave it."""
    with (Path(__file__).parent / "traces/digits_pressed.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["dir"] == "from_switch":
                return bytes(record["data"].encode())
    raise AssertionError("no reply in the transcript")


class Far:
    """The other end of a connection: what a switch would be."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.heard = b""

    def say(self, *pieces: bytes) -> None:
        self.sock.sendall(b"".join(pieces))

    def hear(self, commands: int = 1) -> list[str]:
        """The next commands."""
        while self.heard.count(b"\n\n") < commands:
            with gevent.Timeout(PATIENCE):
                data = self.sock.recv(65536)
            assert data, f"the connection ended after {self.heard!r}"
            self.heard += data
        *found, rest = self.heard.split(b"\n\n", commands)
        self.heard = rest
        return [command.decode() for command in found]

    def ended(self) -> bool:
        """Wait for the end of the connection."""
        with gevent.Timeout(PATIENCE):
            try:
                while self.sock.recv(65536):
                    pass
            except ConnectionError:
                pass
        return True

    def close(self) -> None:
        self.sock.close()


class Near:
    """An outbound connection with what it was told, served by a greenlet of its own."""

    def __init__(self, sock: Any, limits: Limits) -> None:
        self.told: list[str] = []
        self.closed: list[str] = []
        self.on_event: Callable[[EslEvent], object] = lambda message: None
        self.heard = Event()
        self.connection = Outbound(sock, ("test", 1), self._on_event, self.closed.append, limits=limits)
        self.greenlet: gevent.Greenlet[[], str] | None = None

    def _on_event(self, message: EslEvent) -> None:
        self.told.append(message.name)
        self.heard.set()
        self.on_event(message)

    def serve(self) -> Near:
        self.greenlet = gevent.spawn(self.connection.serve)
        return self

    def until_told(self, count: int) -> list[str]:
        while len(self.told) < count:
            self.heard.clear()
            assert self.heard.wait(PATIENCE), f"only {self.told} came"
        return self.told

    def reason(self) -> str:
        """Why it ended."""
        assert self.greenlet is not None
        return str(self.greenlet.get(timeout=PATIENCE))


Pair = Callable[..., tuple[Near, Far]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    made: list[tuple[Near, Far]] = []

    def make(**limits: Any) -> tuple[Near, Far]:
        one, other = socket.socketpair()
        made.append((Near(one, Limits(**limits)), Far(other)))
        return made[-1]

    yield make
    for near, far in made:
        near.connection.close("the test is over")
        far.close()


def finished(function: Callable[[], Any]) -> Any:
    """The result of a greenlet of its own, or its exception; it must end."""
    greenlet = gevent.spawn(function)
    greenlet.join(PATIENCE)
    assert greenlet.dead, "it never ended"
    return greenlet.exception if greenlet.exception is not None else greenlet.value


# -------------------------------------------------------------------------------------------- connect


def test_connect_gives_the_whole_channel(pair: Pair) -> None:
    near, far = pair()
    far.say(channel())
    data = near.connection.connect(PATIENCE)
    assert data.name == "CHANNEL_DATA"
    assert data.get("Caller-Destination-Number") == "1000"
    assert near.connection.uuid == data.get("Unique-ID")
    assert far.hear() == ["connect"]


def test_what_follows_connect_leaves_in_the_same_write_and_its_events_wait(pair: Pair) -> None:
    near, far = pair()
    far.say(channel(), reply("+OK will linger 5 seconds"), reply("+OK Events Enabled"), event("CHANNEL_PARK"))
    data = near.connection.connect(PATIENCE, wire.linger(5), wire.MYEVENTS)
    assert data.get("Unique-ID")
    assert near.told == []
    assert far.sock.recv(65536) == b"connect\n\nlinger 5\n\nmyevents\n\n"
    near.serve().until_told(1)
    assert near.told == ["CHANNEL_PARK"]
    assert near.closed == []


def test_a_peer_that_never_answers_connect_is_left(pair: Pair) -> None:
    near, far = pair()
    with pytest.raises(esl.TimedOut, match=r"no reply to 'connect' within 0\.02 s") as error:
        near.connection.connect(0.02)
    assert error.value.gone
    assert near.closed == ["no reply to 'connect' within 0.02 s"]
    assert far.ended()
    assert near.serve().reason() == near.closed[0]


def test_a_peer_that_leaves_during_connect_is_told_apart(pair: Pair) -> None:
    near, far = pair()
    far.close()
    with pytest.raises(esl.ConnectionLost):
        near.connection.connect(PATIENCE)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\n\n",
        reply("-ERR no"),
        reply("+OK"),
        b"\xff" * 3_000_000,
        b"Content-Type: command/reply\nContent-Length: 20000000\n\n",
    ],
)
def test_a_peer_that_is_no_switch_is_left(pair: Pair, answer: bytes) -> None:
    near, far = pair()
    gevent.spawn(far.say, answer)
    with pytest.raises(esl.Garbled):
        near.connection.connect(PATIENCE)
    assert len(near.closed) == 1


def test_the_port_of_a_switch_is_no_call(pair: Pair) -> None:
    near, far = pair()
    far.say(GREETING)
    with pytest.raises(esl.PeerRefused):
        near.connection.connect(PATIENCE)


# ------------------------------------------------------------------------------------------- commands


class Counting:
    """A socket that counts its writes."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.writes: list[bytes] = []

    def send(self, data: bytes, *arguments: Any) -> int:
        self.writes.append(bytes(data))
        return int(self._sock.send(data, *arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_all_commands_of_one_send_are_one_write(pair: Pair) -> None:
    near, far = pair()
    near.connection.sock = counting = Counting(near.connection.sock)
    near.connection.send(wire.MYEVENTS, wire.linger(5), wire.status())
    assert counting.writes == [b"myevents\n\nlinger 5\n\napi status\n\n"]
    assert far.hear(3) == ["myevents", "linger 5", "api status"]


def test_nothing_to_send_writes_nothing(pair: Pair) -> None:
    near, _ = pair()
    near.connection.sock = counting = Counting(near.connection.sock)
    near.connection.send()
    assert counting.writes == []


def test_replies_belong_to_commands_in_their_order_and_the_last_is_reported(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    replies: list[Reply] = []
    done = Event()

    def last(answer: Reply) -> None:
        replies.append(answer)
        done.set()

    near.connection.send(wire.MYEVENTS, wire.linger(5), on_reply=replies.append)
    near.connection.send(wire.status(), on_reply=last)
    far.say(reply("+OK one"), reply("+OK two"), output("UP\nnow\n"))
    assert done.wait(PATIENCE)
    assert [(answer.command, answer.text) for answer in replies] == [
        (wire.linger(5), "+OK two"),
        (wire.status(), "UP\nnow"),
    ]


def test_the_same_command_twice_in_one_send_is_reported_once(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    texts: list[str] = []
    near.connection.send(wire.MYEVENTS, wire.MYEVENTS, on_reply=lambda answer: texts.append(answer.text))
    far.say(reply("+OK"), reply("-ERR again"), event("X"))
    near.until_told(1)
    assert texts == ["-ERR again"]


def test_a_refusal_that_nobody_asked_for_is_logged_with_its_command(pair: Pair, logs: Logs) -> None:
    near, far = pair()
    near.serve()
    near.connection.send(wire.exists("leg-00001"), wire.status(), on_reply=lambda answer: None)
    far.say(output("-ERR No such channel!\n"), output("-ERR not said\n"), event("X"))
    near.until_told(1)
    [line] = [line for line in logs if line["log_level"] == "warning"]
    assert line["command"] == "api uuid_exists leg-00001"
    assert line["reply"] == "-ERR No such channel!"


def test_a_reply_to_nothing_ends_the_connection(pair: Pair) -> None:
    near, far = pair()
    far.say(reply())
    assert near.serve().reason() == "a reply to nothing"


def test_text_cannot_be_sent(pair: Pair) -> None:
    near, _ = pair()
    near.connection.sock = counting = Counting(near.connection.sock)
    with pytest.raises(TypeError):
        near.connection.send("api status")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        near.connection.send(wire.status(), "bgapi system x")  # type: ignore[arg-type]
    assert counting.writes == []


@pytest.mark.parametrize(
    "helper",
    [
        lambda session: session.playback("x"),
        lambda session: session.call_command("system", "x"),
        lambda session: session.bridge("user/1"),
        lambda session: session.hangup(),
        lambda session: session.say(text="x"),
        lambda session: session.linger(5),
        lambda session: session.play_and_get_digits(block=False),
    ],
)
def test_the_untyped_helpers_of_greenswitch_are_closed(pair: Pair, helper: Callable[[Any], Any]) -> None:
    near, _ = pair()
    assert isinstance(near.connection, greenswitch.esl.OutboundSession)
    with pytest.raises(TypeError):
        helper(near.connection)


# -------------------------------------------------------------------------------------------- request


def test_a_request_from_another_greenlet_gets_its_reply(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    asked = gevent.spawn(near.connection.request, wire.status(), PATIENCE)
    far.hear()
    far.say(output("UP"))
    assert asked.get(timeout=PATIENCE).text == "UP"


def test_a_request_of_the_reading_greenlet_reads_on_and_events_keep_their_order(pair: Pair) -> None:
    near, far = pair()
    answers: list[str] = []

    def on_event(message: EslEvent) -> None:
        if message.name == "A":
            answers.append(near.connection.request(wire.status(), PATIENCE).text)
            answers.append(near.connection.request(wire.status(), PATIENCE).text)

    near.on_event = on_event
    near.serve()
    far.say(event("A"), event("B"))
    far.hear()
    far.say(event("C"), output("one"), event("D"))
    far.hear()
    far.say(event("E"), output("two"), event("F"))
    assert near.until_told(6) == ["A", "B", "C", "D", "E", "F"]
    assert answers == ["one", "two"]


def test_a_request_gives_up_in_time_and_its_late_reply_goes_to_nobody_else(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    error = finished(lambda: near.connection.request(wire.exists("leg-00001"), 0.02))
    assert isinstance(error, esl.TimedOut)
    assert not error.gone
    assert near.connection.connected
    asked = gevent.spawn(near.connection.request, wire.status(), PATIENCE)
    far.hear(2)
    far.say(output("late"), output("UP"))
    assert asked.get(timeout=PATIENCE).text == "UP"


def test_a_request_of_the_reading_greenlet_gives_up_in_time_too(pair: Pair) -> None:
    near, far = pair()
    errors: list[esl.EslError] = []

    def on_event(message: EslEvent) -> None:
        if message.name == "A":
            with pytest.raises(esl.TimedOut) as error:
                near.connection.request(wire.status(), 0.02)
            errors.append(error.value)

    near.on_event = on_event
    far.say(event("A"), event("B"))
    assert near.serve().until_told(2) == ["A", "B"]
    assert [error.gone for error in errors] == [False]


@pytest.mark.parametrize("ending", [b"", DISCONNECT, RUDE, b"nonsense\n\n"], ids=["eof", "bye", "rude", "garbled"])
def test_a_waiting_request_is_woken_by_every_end(pair: Pair, ending: bytes) -> None:
    near, far = pair()
    near.serve()
    asked = gevent.spawn(near.connection.request, wire.status(), 60)
    far.hear()
    far.say(ending)
    far.close()
    asked.join(PATIENCE)
    assert isinstance(asked.exception, esl.ConnectionLost)
    assert asked.exception.gone
    assert str(asked.exception) == near.reason()


def test_somebody_elses_timeout_is_not_swallowed(pair: Pair) -> None:
    near, _ = pair()
    near.serve()

    def impatient() -> None:
        with gevent.Timeout(0.01):
            near.connection.request(wire.status(), 60)

    assert isinstance(finished(impatient), gevent.Timeout)


# ------------------------------------------------------------------------------------------- closing


def test_close_wakes_everybody_once_and_waits_for_nobody(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    waiting = [gevent.spawn(near.connection.request, wire.status(), 60) for _ in range(3)]
    far.hear(3)
    others_ran: list[bool] = []
    gevent.spawn(others_ran.append, True)
    near.connection.close("let go")
    near.connection.close("again")
    assert others_ran == [], "close() let other greenlets run"
    assert near.closed == ["let go"]
    assert near.reason() == "let go"
    gevent.joinall(waiting, timeout=PATIENCE)
    assert [str(waiter.exception) for waiter in waiting] == ["let go"] * 3
    assert far.ended()
    with pytest.raises(esl.NotConnected, match="let go"):
        near.connection.send(wire.status())
    with pytest.raises(esl.NotConnected, match="let go"):
        near.connection.request(wire.status(), 1)


def test_no_event_comes_after_our_own_close(pair: Pair) -> None:
    near, far = pair()
    near.on_event = lambda message: near.connection.close("let go")
    far.say(event("CHANNEL_BRIDGE"), event("CHANNEL_HANGUP"), event("X"))
    assert near.serve().reason() == "let go"
    assert near.told == ["CHANNEL_BRIDGE"]


def test_close_inside_a_request_drops_the_events_that_waited(pair: Pair) -> None:
    near, far = pair()

    def on_event(message: EslEvent) -> None:
        gevent.spawn(near.connection.close, "let go")
        with pytest.raises(esl.ConnectionLost, match="let go"):
            near.connection.request(wire.status(), PATIENCE)

    near.on_event = on_event
    far.say(event("A"), event("B"))
    assert near.serve().reason() == "let go"
    assert near.told == ["A"]


def test_what_was_written_before_close_arrives(pair: Pair) -> None:
    near, far = pair()
    far.say(event("unread") * 50)
    near.connection.send(
        wire.setvar("call-0001", "socket_resume", "false"), wire.bridge("call-0001", "leg-00001", "job-00001")
    )
    near.connection.close("let go")
    assert far.hear(2)[1].startswith("bgapi uuid_bridge")


def test_lingering_is_not_the_end(pair: Pair) -> None:
    near, far = pair()
    far.say(event("CHANNEL_HANGUP"), LINGER, event("CHANNEL_HANGUP_COMPLETE"))
    near.serve().until_told(2)
    assert near.connection.lingering
    assert near.connection.connected
    far.say(event("RECORD_STOP"), DISCONNECT)
    assert near.reason() == "the switch ended the connection"
    assert near.told == ["CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP"]


def test_an_unknown_kind_of_message_is_skipped(pair: Pair, logs: Logs) -> None:
    near, far = pair()
    far.say(b"Content-Type: log/data\nContent-Length: 3\n\nabc" * 3, event("A"))
    assert near.serve().until_told(1) == ["A"]
    assert [line["kind"] for line in logs] == ["log/data"]


def test_the_end_of_the_stream_says_whether_a_message_was_cut(pair: Pair) -> None:
    near, far = pair()
    far.say(event("A"))
    far.close()
    assert near.serve().reason() == "the peer closed the connection"
    near, far = pair()
    far.say(event("A"), event("B")[:-1])
    far.close()
    assert near.serve().reason() == "the peer closed the connection in the middle of a message"
    assert near.told == ["A"]


def test_a_reset_by_the_peer_is_an_end_like_others() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    far = socket.create_connection(listener.getsockname())
    sock, address = listener.accept()
    closed: list[str] = []
    connection = Outbound(sock, address, lambda message: None, closed.append)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    assert "reset" in finished(connection.serve)
    assert len(closed) == 1
    listener.close()


def test_a_killed_reader_leaves_nobody_waiting(pair: Pair) -> None:
    near, far = pair()
    near.serve()
    asked = gevent.spawn(near.connection.request, wire.status(), 60)
    far.hear()
    assert near.greenlet is not None
    near.greenlet.kill()
    asked.join(PATIENCE)
    assert isinstance(asked.exception, esl.ConnectionLost)
    assert far.ended()


@pytest.mark.parametrize("failure", [ValueError("a bug"), gevent.Timeout(1)], ids=["error", "timeout"])
def test_a_failing_handler_is_logged_and_the_next_event_comes(pair: Pair, logs: Logs, failure: BaseException) -> None:
    near, far = pair()

    def on_event(message: EslEvent) -> None:
        if message.name == "A":
            raise failure

    near.on_event = on_event
    far.say(event("A"), event("B"))
    assert near.serve().until_told(2) == ["A", "B"]
    assert near.connection.connected
    assert [(line["log_level"], line["event_name"]) for line in logs] == [("error", "A")]


def test_a_failing_handler_of_a_reply_or_of_the_end_is_logged(pair: Pair, logs: Logs) -> None:
    near, far = pair()
    near.connection._on_closed = lambda reason: 1 / 0
    near.connection.send(wire.status(), on_reply=lambda answer: 1 / 0)
    far.say(output("UP"), event("A"), DISCONNECT)
    assert near.serve().reason() == "the switch ended the connection"
    assert near.told == ["A"]
    assert [line["log_level"] for line in logs] == ["error", "error"]


def test_a_served_connection_holds_its_session_no_longer(pair: Pair) -> None:
    class Session:
        def __init__(self, sock: Any) -> None:
            self.connection = Outbound(sock, None, self.on_event, self.on_closed)

        def on_event(self, message: EslEvent) -> None:
            self.connection.close("seen")

        def on_closed(self, reason: str) -> None: ...

    one, other = socket.socketpair()
    other.sendall(event("A"))
    session = Session(one)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(session)
        assert finished(session.connection.serve) == "seen"
        del session
        assert gone() is None
    finally:
        gc.enable()
        other.close()


# ----------------------------------------------------------------------------------------- deadlines


def test_a_peer_that_never_replies_loses_the_connection(pair: Pair) -> None:
    near, _ = pair(reply=0.02)
    near.serve()
    near.connection.send(wire.MYEVENTS, wire.status())
    assert near.reason() == "no reply to 'myevents' within 0.02 s"
    assert near.closed == [near.reason()]


class Clock:
    """A clock that only the test moves, and a sweep that comes by only when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(esl, "_now", lambda: self.now)
        # The real one would mix these times with those of other tests.
        monkeypatch.setattr(esl, "_sweep", lambda: self)

    def watch(self, connection: Outbound, deadline: float) -> None: ...

    def forget(self, connection: Outbound) -> None: ...

    def passes(self, seconds: float, connection: Outbound) -> None:
        """Time passes, and the sweep comes by."""
        self.now += seconds
        connection._next_deadline(self.now)


def test_each_command_has_its_own_deadline(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    near, far = pair(reply=10)
    near.serve()
    for count in range(1, 9):
        near.connection.send(wire.MYEVENTS)
        clock.passes(6, near.connection)
        near.connection.send(wire.status())
        far.say(reply(), event("A"))
        near.until_told(2 * count - 1)
        clock.passes(6, near.connection)
        assert near.connection.connected
        far.say(output("UP"), event("A"))
        near.until_told(2 * count)
    near.connection.send(wire.status())
    clock.passes(10, near.connection)
    assert near.reason() == "no reply to 'api status' within 10 s"


def test_a_message_that_is_never_completed_loses_the_connection(pair: Pair) -> None:
    near, far = pair(message=0.02)
    far.say(event("A"), event("B")[:40])
    assert near.serve().reason() == "a message was not completed within 0.02 s"
    assert near.told == ["A"]


def test_a_stream_that_always_ends_within_a_message_is_not_a_stuck_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    near, far = pair(message=10)
    near.serve()
    one = event("A")
    far.say(one[:5])
    for count in range(1, 20):
        far.say(one[5:], one[:5])
        near.until_told(count)
        clock.passes(6, near.connection)
        assert near.connection.connected
    clock.passes(10, near.connection)
    assert near.reason() == "a message was not completed within 10 s"


def test_a_peer_that_reads_nothing_loses_the_connection_and_send_never_waits(pair: Pair) -> None:
    near, _ = pair(send=0.02, reply=60)
    near.serve()
    others_ran: list[bool] = []
    gevent.spawn(others_ran.append, True)
    big = wire.setvars("call-0001", {f"a{index}": "x" * 500 for index in range(60)})
    while not near.connection._unsent:
        near.connection.send(big)
    near.connection.send(wire.status())
    assert others_ran == [], "send() waited"
    assert near.reason() == "the peer has read nothing for 0.02 s"


def test_a_peer_that_is_far_behind_loses_the_connection(pair: Pair) -> None:
    near, _ = pair(backlog=100_000)
    near.serve()
    big = wire.setvars("call-0001", {f"a{index}": "x" * 500 for index in range(60)})

    def send_on() -> None:
        while True:
            near.connection.send(big)

    assert isinstance(finished(send_on), esl.ConnectionLost)
    assert "has not taken" in near.reason()


def test_a_slow_peer_gets_every_byte_in_order(pair: Pair) -> None:
    near, far = pair(send=PATIENCE, backlog=10**9)
    near.serve()
    sent: list[str] = []
    while not near.connection._unsent or len(sent) < 500:
        command = wire.setvar("call-0001", f"a{len(sent)}", "x" * 500)
        sent.append(command.text)
        near.connection.send(command)
    assert far.hear(len(sent)) == sent
    near.connection.send(wire.status())
    assert far.hear() == ["api status"]
    assert near.connection._unsent_deadline is None


def test_a_peer_that_always_has_more_leaves_time_for_others(pair: Pair) -> None:
    near, _ = pair()

    class Firehose(Counting):
        def recv(self, size: int) -> bytes:
            return event("A")

    near.connection.sock = Firehose(near.connection.sock)
    near.serve()
    finished(lambda: near.connection.close("enough"))
    assert near.reason() == "enough"
    assert len(near.told) < 1000


def test_an_idle_connection_has_no_greenlet_no_timer_and_no_sweep(pair: Pair) -> None:
    near, far = pair(reply=0.02)
    sweep = esl._sweep()
    near.serve()
    near.connection.send(wire.status())
    assert not sweep.asleep
    far.hear()
    far.say(output("UP"), event("A"))
    near.until_told(1)
    assert sweep._greenlet is not None
    sweep._greenlet.join(PATIENCE)
    assert sweep.asleep
    assert near.connection.connected

    def greenlets() -> int:
        return sum(isinstance(thing, gevent.Greenlet) and not thing.dead for thing in gc.get_objects())

    before = greenlets()
    pairs = [pair() for _ in range(20)]
    assert greenlets() == before
    assert len(pairs) == 20
    assert sweep.asleep


def test_one_sweep_looks_after_all_connections(pair: Pair) -> None:
    quick = [pair(reply=0.02)[0].serve() for _ in range(20)]
    slow = [pair(reply=60)[0].serve() for _ in range(20)]
    for near in [*slow, *quick]:
        near.connection.send(wire.status())
    assert {near.reason() for near in quick} == {"no reply to 'api status' within 0.02 s"}
    assert all(near.connection.connected for near in slow)
    for near in slow:
        near.connection.close("enough")
    assert not esl._sweep()._watched


# ---------------------------------------------------------------------------------------- any bytes

PIECES = [
    reply(),
    reply("-ERR x"),
    output("UP"),
    event("CHANNEL_ANSWER", **{"Unique-ID": "u"}),
    event("X") * 3,
    event("B")[:30],
    LINGER,
    DISCONNECT,
    RUDE,
    GREETING,
    channel(),
    b"\n",
    b"\xff\xfe",
    b"Content-Length: 99999999\n\n",
    b"Content-Type: command/reply\n\n",
]


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=12), asked=st.integers(0, 3))
def test_whatever_a_peer_sends_serving_ends_with_a_reason(pieces: Sequence[bytes], asked: int) -> None:
    one, other = socket.socketpair()
    near = Near(one, Limits(header=8000, body=4000))
    near.connection.send(*[wire.status()] * asked)
    for piece in pieces:
        other.sendall(piece)
    other.shutdown(socket.SHUT_WR)
    reason = near.serve().reason()
    assert reason
    assert near.closed == [reason]
    other.close()


# ------------------------------------------------------------------------------------------- inbound


class Port:
    """A switch's event socket: one script per connection, in order; the last serves all later ones."""

    def __init__(self, *scripts: Callable[[Far], object], port: int = 0) -> None:
        self._scripts = list(scripts)
        self.connections = 0
        self.server = StreamServer(("127.0.0.1", port), self._serve)
        self.server.start()
        self.port: int = self.server.server_port or 0

    def _serve(self, sock: Any, _: Any) -> None:
        self.connections += 1
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        far = Far(sock)
        try:
            script(far)
        finally:
            far.close()


class Watcher:
    """An inbound connection and all that it reported."""

    def __init__(self, port: int, *subscribe: wire.Command, password: str = "ClueCon", timeout: float = PATIENCE):
        self.news: list[str] = []
        self._changed = Event()
        self.inbound = Inbound(
            "127.0.0.1",
            port,
            password,
            subscribe,
            lambda message: self.note(f"event {message.name}"),
            lambda inbound: self.note("up"),
            lambda reason: self.note(f"down: {reason}"),
            timeout=timeout,
        )

    def note(self, line: str) -> None:
        self.news.append(line)
        self._changed.set()

    def until(self, *lines: str) -> None:
        while self.news != list(lines):
            self._changed.clear()
            assert self._changed.wait(PATIENCE), self.news


def welcome(far: Far, subscriptions: int = 0) -> None:
    far.say(GREETING)
    assert far.hear() == ["auth ClueCon"]
    far.say(reply("+OK accepted"))
    for _ in range(subscriptions):
        far.hear()
        far.say(reply("+OK event listener enabled plain"))


def stay(far: Far) -> None:
    welcome(far)
    far.ended()


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inbound, "BACKOFF", (0.001, 0.004))


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    made: list[Watcher] = []

    def make(port: Port, *subscribe: wire.Command, **options: Any) -> Watcher:
        watcher = Watcher(port.port, *subscribe, **options)
        made.append(watcher)
        return watcher

    yield make
    for watcher in made:
        watcher.inbound.stop()


def test_inbound_says_the_password_subscribes_and_hears(watch: Callable[..., Watcher]) -> None:
    heard: list[str] = []

    def script(far: Far) -> None:
        far.say(GREETING)
        heard.extend(far.hear())
        far.say(reply("+OK accepted"))
        heard.extend(far.hear())
        far.say(event("EARLY"), reply("+OK event listener enabled plain"), event("HEARTBEAT"))
        far.ended()

    watcher = watch(Port(script), wire.event_plain("BACKGROUND_JOB"))
    assert isinstance(watcher.inbound, greenswitch.esl.InboundESL)
    assert not watcher.inbound.connected
    watcher.inbound.start()
    watcher.until("up", "event EARLY", "event HEARTBEAT")
    assert heard == ["auth ClueCon", "event plain BACKGROUND_JOB"]
    assert watcher.inbound.connected


def test_a_nudge_is_an_empty_line_that_waits_for_no_reply_and_for_no_slow_peer(watch: Callable[..., Watcher]) -> None:
    watcher = watch(Port(stay))
    inbound = watcher.inbound
    inbound.nudge()  # while there is no connection: nothing
    inbound.start()
    watcher.until("up")
    inbound.sock = counting = Counting(inbound.sock)
    inbound.nudge()
    assert counting.writes == [b"\n"]
    assert not inbound._commands_sent
    inbound._unsent += b"api status\n\n"
    inbound.nudge()
    assert counting.writes == [b"\n"]


def test_inbound_comes_back_for_ever(watch: Callable[..., Watcher]) -> None:
    def leave(far: Far) -> None:
        welcome(far)

    watcher = watch(Port(leave, leave, leave, stay))
    watcher.inbound.start()
    down = "down: the peer closed the connection"
    watcher.until("up", down, "up", down, "up", down, "up")


def test_inbound_finds_a_switch_that_starts_later(
    watch: Callable[..., Watcher], logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = Port(stay)
    number = port.port
    port.server.stop()
    tried = Event()
    attempts: list[object] = []

    def attempt(*arguments: Any, **options: Any) -> Any:
        attempts.append(arguments)
        if len(attempts) >= 5:
            tried.set()
        return create(*arguments, **options)

    create = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", attempt)
    watcher = watch(port)
    watcher.inbound.start()
    assert tried.wait(PATIENCE)
    assert watcher.news == []
    assert len([line for line in logs if line["log_level"] == "warning"]) == 1, "one line for each new reason"
    Port(stay, port=number)
    watcher.until("up")


def refuse_subscription(far: Far) -> None:
    welcome(far)
    far.hear()
    far.say(reply("-ERR permission denied"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (lambda far: far.say(RUDE), "does not admit"),
        (lambda far: (far.say(GREETING), far.hear(), far.say(reply("-ERR invalid"), DISCONNECT)), "password"),
        (lambda far: far.ended(), "no greeting within 0.05 s"),
        (lambda far: (far.say(GREETING), far.ended()), "no reply to 'auth ***' within 0.05 s"),
        (lambda far: far.say(b"SSH-2.0-OpenSSH_9.2\n\n"), "without Content-Type"),
        (lambda far: None, "peer closed"),
        (refuse_subscription, "permission denied"),
    ],
    ids=["rude", "password", "silent", "mute", "ssh", "eof", "subscription"],
)
def test_inbound_says_why_it_is_not_let_in_and_tries_again(
    watch: Callable[..., Watcher], logs: Logs, script: Callable[[Far], object], why: str
) -> None:
    def good(far: Far) -> None:
        welcome(far, 1)
        far.ended()

    watcher = watch(Port(script, script, good), wire.event_plain("HEARTBEAT"), timeout=0.05)
    watcher.inbound.start()
    watcher.until("up")
    warnings = [line["reason"] for line in logs if line["log_level"] == "warning"]
    assert why in warnings[0]
    assert len(warnings) == len(set(warnings)), "one line for each new reason"
    assert "ClueCon" not in str(logs)


def test_while_there_is_no_connection_commands_fail_at_once(watch: Callable[..., Watcher]) -> None:
    inside = Event()

    def slow(far: Far) -> None:
        far.say(GREETING)
        far.hear()
        inside.set()
        far.ended()

    watcher = watch(Port(slow))
    with pytest.raises(esl.NotConnected):
        watcher.inbound.send(wire.status())
    watcher.inbound.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(esl.NotConnected):
        watcher.inbound.send(wire.status())
    with pytest.raises(esl.NotConnected):
        watcher.inbound.request(wire.status(), 1)


def test_requests_of_many_greenlets_get_their_own_replies(watch: Callable[..., Watcher]) -> None:
    def script(far: Far) -> None:
        welcome(far)
        while True:
            [command] = far.hear()
            far.say(event("NOISE"), output(command.removeprefix("api uuid_exists ")))

    watcher = watch(Port(script))
    watcher.inbound.start()
    watcher.until("up")
    legs = [f"leg-{index:05}" for index in range(50)]
    asked = [gevent.spawn(watcher.inbound.request, wire.exists(leg), PATIENCE) for leg in legs]
    assert [greenlet.get(timeout=PATIENCE).text for greenlet in asked] == legs


def test_a_request_can_be_made_as_soon_as_it_is_up(watch: Callable[..., Watcher]) -> None:
    def script(far: Far) -> None:
        welcome(far)
        far.hear()
        far.say(output("UP"))
        far.ended()

    watcher = watch(Port(script))
    watcher.inbound._on_up = lambda inbound: watcher.note(inbound.request(wire.status(), PATIENCE).text)
    watcher.inbound.start()
    watcher.until("UP")


def test_a_waiting_request_is_woken_when_the_switch_goes(watch: Callable[..., Watcher]) -> None:
    def script(far: Far) -> None:
        welcome(far)
        far.hear()

    watcher = watch(Port(script, stay))
    watcher.inbound.start()
    watcher.until("up")
    error = finished(lambda: watcher.inbound.request(wire.status(), 60))
    assert isinstance(error, esl.ConnectionLost)
    watcher.until("up", "down: the peer closed the connection", "up")


def test_stop_ends_it_for_good_without_waiting(watch: Callable[..., Watcher]) -> None:
    port = Port(stay)
    watcher = watch(port)
    watcher.inbound.start()
    watcher.until("up")
    greenlet = watcher.inbound._greenlet
    assert greenlet is not None
    others_ran: list[bool] = []
    gevent.spawn(others_ran.append, True)
    watcher.inbound.stop()
    assert others_ran == []
    assert watcher.news == ["up", "down: stopped"]
    greenlet.join(PATIENCE)
    assert greenlet.dead
    assert port.connections == 1
    watcher.inbound.start()
    watcher.until("up", "down: stopped", "up")


def test_stop_while_connecting_ends_it_too(watch: Callable[..., Watcher]) -> None:
    inside = Event()

    def silent(far: Far) -> None:
        inside.set()
        far.ended()

    watcher = watch(Port(silent))
    watcher.inbound.start()
    assert inside.wait(PATIENCE)
    greenlet = watcher.inbound._greenlet
    assert greenlet is not None
    watcher.inbound.stop()
    greenlet.join(PATIENCE)
    assert greenlet.dead
    assert watcher.news == []
