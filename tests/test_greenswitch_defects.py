"""Each defect of greenswitch 0.0.19 that would reach us: the plain library fails, ours does right.

The first half of each test shows the defect; when a later greenswitch has lost it, that half fails, and what
``callcontrol/esl.py`` does about it can be thrown away.  What would hang or spin runs bounded.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
import greenswitch.esl
import pytest
from gevent import socket
from gevent.event import AsyncResult
from gevent.server import StreamServer

from callcontrol import esl, wire
from callcontrol.esl import EslEvent, Outbound
from callcontrol.wire import App, Tone

ROOT = Path(__file__).parent.parent
PATIENCE = 5.0
#: How long the plain library is watched doing nothing.
A_WHILE = 0.3
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


def event(name: str, **headers: str) -> bytes:
    body = "".join(f"{key}: {value}\n" for key, value in {"Event-Name": name, **headers}.items()) + "\n"
    return f"Content-Length: {len(body)}\nContent-Type: text/event-plain\n\n{body}".encode()


def plain_session() -> tuple[Any, Any]:
    """greenswitch's own session, and the socket of its switch."""
    one, other = socket.socketpair()
    return greenswitch.esl.OutboundSession(("test", 1), one), other


class Ours:
    """Our session, served, and the socket of its switch."""

    def __init__(self, sock: Any = None) -> None:
        one, self.far = socket.socketpair()
        self.events: list[EslEvent] = []
        self.closed: AsyncResult[str] = AsyncResult()
        self.connection = Outbound(one if sock is None else sock, None, self.events.append, self.closed.set)
        self.greenlet = gevent.spawn(self.connection.serve)


def outcome(function: Callable[[], Any], seconds: float) -> Any:
    """What a greenlet returned or raised, or ``"waits"`` if it was still waiting after so long."""
    greenlet = gevent.spawn(function)
    greenlet.join(seconds)
    if not greenlet.dead:
        greenlet.kill()
        return "waits"
    return greenlet.exception if greenlet.exception is not None else greenlet.value


@pytest.fixture(autouse=True)
def no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dies in a greenlet of the plain library is expected; keep the output readable."""
    monkeypatch.setattr(gevent.get_hub(), "exception_stream", None)


def test_the_version_is_the_one_that_was_judged() -> None:
    assert version("greenswitch") == "0.0.19"


# -------------------------------------------------------------------------------------------- values


def test_a_display_name_forges_a_header_because_a_whole_event_is_unquoted_before_it_is_split() -> None:
    with (ROOT / "tests/traces/caller_id_with_percent_encoded_newline.jsonl").open(encoding="utf-8") as lines:
        raw = next(r["data"] for r in map(json.loads, lines) if "Event-Name: CHANNEL_EXECUTE\n" in r.get("data", ""))
    body = raw.split("\n\n", 1)[1]

    assert greenswitch.esl.ESLEvent(body).headers["variable_tenant"].startswith("victim")

    ours = EslEvent(body.encode())
    assert ours.get("variable_tenant") is None
    assert ours.get("Caller-Caller-ID-Name") == "Bobvariable_tenant: victim"


# ----------------------------------------------------------------------------------- a broken stream

SPINNING = """
import logging, sys
logging.disable(logging.CRITICAL)
import gevent
from gevent import socket
one, other = socket.socketpair()
if sys.argv[1] == "plain":
    import greenswitch.esl
    session = greenswitch.esl.OutboundSession(None, one)
    reading = session._receive_events_greenlet
else:
    from callcontrol.esl import Outbound
    reading = gevent.spawn(Outbound(one, None, print, print).serve)
other.sendall(b"Content-Length: 100\\nContent-Type: text/event-plain\\n\\nEvent-Name: X")
other.close()
reading.join(5)
print("ended" if reading.dead else "hangs")
"""


def test_the_end_of_the_stream_inside_a_body_spins_the_process_at_full_load() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))

    def run(which: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SPINNING, which],
            preexec_fn=limit if which == "plain" else None,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run("plain").returncode in (-signal.SIGXCPU, -signal.SIGKILL), "it did not use up its second of CPU"

    ours = run("ours")
    assert ours.stdout.split("\n")[:2] == ["the peer closed the connection in the middle of a message", "ended"]


def test_after_the_end_of_the_stream_a_command_waits_for_ever() -> None:
    session, far = plain_session()
    waiting = gevent.spawn(session.send, "api status")
    far.recv(100)
    far.close()
    waiting.join(A_WHILE)
    assert not waiting.dead
    waiting.kill()

    ours = Ours()
    asked = gevent.spawn(ours.connection.request, wire.status(), 60)
    ours.far.recv(100)
    ours.far.close()
    asked.join(PATIENCE)
    assert isinstance(asked.exception, esl.ConnectionLost)
    assert ours.closed.get(timeout=PATIENCE) == "the peer closed the connection"


def test_one_byte_that_is_no_utf_8_stops_the_reading_and_leaves_commands_waiting() -> None:
    damaged = event("CHANNEL_DATA").replace(b"\n\n", b"\nX-Note: caf\xe9\n\n", 1)
    session, far = plain_session()
    waiting = gevent.spawn(session.send, "api status")
    far.recv(100)
    far.sendall(damaged + OK)
    waiting.join(A_WHILE)
    assert not waiting.dead
    waiting.kill()

    ours = Ours()
    asked = gevent.spawn(ours.connection.request, wire.status(), 60)
    ours.far.recv(100)
    ours.far.sendall(damaged + OK)
    assert asked.get(timeout=PATIENCE).text == "+OK"
    assert [message.name for message in ours.events] == ["CHANNEL_DATA"]
    ours.connection.close("the test is over")


# ----------------------------------------------------------------------------------------- the server


def test_new_calls_wait_for_a_server_that_looks_every_100_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = gevent.sleep

    def noted(seconds: float = 0, ref: bool = True) -> None:
        slept.append(seconds)
        sleep(seconds, ref)

    monkeypatch.setattr(gevent, "sleep", noted)

    def dial(address: Any) -> bytes:
        far = socket.create_connection(address)
        return bytes(far.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = greenswitch.esl.OutboundESLServer("127.0.0.1", port, application=object)
    listening = gevent.spawn(server.listen)
    while server.server is None or not slept:
        sleep(0.001)
    assert dial(server.server.getsockname()) == b"connect\n\n"
    assert slept[:1] == [0.1]
    listening.kill()
    server.server.close()

    slept.clear()
    ours = StreamServer(("127.0.0.1", 0), lambda sock, address: Outbound(sock, address, print, print).connect(1))
    ours.start()
    assert dial(("127.0.0.1", ours.server_port)) == b"connect\n\n"
    assert [seconds for seconds in slept if seconds > 0] == []
    ours.stop()


def test_a_taken_port_ends_the_process_without_a_word_to_its_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        server = greenswitch.esl.OutboundESLServer("127.0.0.1", port, application=object)
        with pytest.raises(SystemExit):
            server.listen()

        # Ours has no server of its own: gevent's, whose error can be handled.
        with pytest.raises(OSError, match="in use"):
            StreamServer(("127.0.0.1", port), lambda sock, address: Outbound(sock, address, print, print)).start()
    assert not hasattr(esl, "OutboundESLServer")


# ---------------------------------------------------------------------------------------- completions


def test_the_end_of_one_playback_wakes_whoever_waits_for_another() -> None:
    session, far = plain_session()
    first = gevent.spawn(session.call_command, "playback", "one.wav", block=True)
    far.recv(200)
    second = gevent.spawn(session.call_command, "playback", "two.wav", block=True)
    far.recv(200)
    done = event("CHANNEL_EXECUTE_COMPLETE", variable_current_application="playback", **{"Application-UUID": "two"})
    far.sendall(OK + OK + done)
    assert first.get(timeout=PATIENCE).headers["Application-UUID"] == "two"
    second.kill()
    far.close()

    ours = Ours()
    ours.connection.send(
        wire.execute(App.PLAYBACK, Tone.PROMPT, "play-0001"), wire.execute(App.PLAYBACK, Tone.PROMPT, "play-0002")
    )
    sent = ours.far.recv(2000).decode()
    assert [line for line in sent.split("\n") if "UUID" in line] == ["Event-UUID: play-0001", "Event-UUID: play-0002"]
    complete = event("CHANNEL_EXECUTE_COMPLETE", Application="playback", **{"Application-UUID": "play-0002"})
    ours.far.sendall(OK + OK + complete)
    ours.far.close()
    ours.closed.get(timeout=PATIENCE)
    assert [message.get("Application-UUID") for message in ours.events] == ["play-0002"]


# -------------------------------------------------------------------------------------- time and ending


def test_ending_a_session_waits_for_a_greenlet_that_wakes_once_a_second() -> None:
    session, far = plain_session()
    gevent.sleep(0)  # its dispatcher begins its second
    session.connected = False
    far.close()
    began = time.monotonic()
    session.stop()
    assert time.monotonic() - began > 0.3

    ours = Ours()
    others_ran: list[bool] = []
    gevent.spawn(others_ran.append, True)
    ours.connection.close("enough")
    assert others_ran == [], "close() waited for something"
    assert ours.closed.get(timeout=PATIENCE) == "enough"
    ours.greenlet.join(PATIENCE)
    assert ours.greenlet.dead


def test_an_idle_session_wakes_the_process_once_a_second() -> None:
    session, far = plain_session()
    gevent.sleep(0)
    timers = pending_timers()
    assert timers >= 1
    session._process_events_greenlet.kill()
    session._receive_events_greenlet.kill()
    gevent.sleep(0)
    far.close()

    before = pending_timers()
    ours = Ours()
    gevent.sleep(0)
    assert pending_timers() == before
    ours.connection.close("the test is over")


def pending_timers() -> int:
    """Timers of the event loop that are running."""
    return sum(type(thing).__name__ == "timer" and thing.active for thing in gc.get_objects())


class Reluctant:
    """A socket that takes five bytes at a time."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def send(self, data: bytes, *arguments: Any) -> int:
        return int(self._sock.send(bytes(data[:5]), *arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_what_the_kernel_does_not_take_at_once_is_lost() -> None:
    session, far = plain_session()
    session.sock = Reluctant(session.sock)
    waiting = gevent.spawn(session.send, "api status")
    waiting.join(A_WHILE)
    far.settimeout(0)
    assert far.recv(100) == b"api s"
    with pytest.raises(BlockingIOError):
        far.recv(100)
    waiting.kill()
    far.close()

    one, far = socket.socketpair()
    ours = Ours(Reluctant(one))
    ours.connection.send(wire.status(), wire.MYEVENTS)
    heard = b""
    with gevent.Timeout(PATIENCE):
        while not heard.endswith(b"myevents\n\n"):
            heard += far.recv(100)
    assert heard == b"api status\n\nmyevents\n\n"
    ours.connection.close("the test is over")


def test_there_are_no_time_outs_and_gevents_own_is_no_exception() -> None:
    session, far = plain_session()

    def careful() -> str:
        try:
            with gevent.Timeout(A_WHILE):
                session.send("api status")
        except Exception:
            return "handled"
        return "answered"

    assert isinstance(outcome(careful, PATIENCE), gevent.Timeout), "it went past `except Exception`"
    assert outcome(lambda: session.send("api status"), A_WHILE) == "waits"
    far.close()

    ours = Ours()
    late = outcome(lambda: ours.connection.request(wire.status(), 0.02), PATIENCE)
    assert isinstance(late, esl.TimedOut)
    assert isinstance(late, Exception)
    ours.connection.close("the test is over")
