"""The server's worker, over real sockets: slow, silent and greedy clients have no thread."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from callcontrol.embedded import EmbeddedRedis
from tests.web.test_server import LONG, Server
from webhooks.app import reception, tokens, web
from workers.journal.database import Database

GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
#: More clients than the one process that is served here has threads.
MANY = 2 * web.THREADS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("reception")
    redis = EmbeddedRedis(directory / "redis")
    redis.start()
    made = Server(directory, redis.url)
    try:
        made.until_ready()
        yield made
    finally:
        made.stop()
        redis.stop()


@contextlib.contextmanager
def clients(server: Server, *said: bytes) -> Iterator[list[socket.socket]]:
    """A client for each text, which has said it and does no more."""
    with contextlib.ExitStack() as stack:
        lines = []
        for text in said:
            line = stack.enter_context(socket.socket())
            line.settimeout(LONG)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", server.port))
            line.sendall(text)
            lines.append(line)
        yield lines


def answer(line: socket.socket, most: int = 1_000_000) -> bytes:
    """What comes until the other side hangs up."""
    come = b""
    while len(come) < most and (more := line.recv(65536)):
        come += more
    return come


def answer_to(server: Server, path: bytes) -> bytes:
    with clients(server, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as (line,):
        return answer(line)


def promptly(server: Server) -> None:
    """Others are answered long before anybody loses patience."""
    began = time.monotonic()
    for _ in range(3):
        assert server.get("/healthz")[0] == 200
    assert time.monotonic() - began < reception.LATE


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 3000,
        b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        GOOD + b"G",
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
    ],
    ids=["silent", "begun", "header", "body", "chunk", "pipelined", "nonsense", "does not hang up", "does not read"],
)
def test_clients_that_stop_half_way_hold_up_nobody(server: Server, said: bytes) -> None:
    with clients(server, *[said] * MANY):
        promptly(server)


def test_the_longest_answer_to_a_stranger_is_left_behind(server: Server) -> None:
    """So that nobody without a token has a thread that waits until it is taken."""
    length = len(answer_to(server, b"/v1/openapi.json"))
    assert 100_000 < length < reception.BUFFER * 0.75


def test_a_request_that_only_seems_to_be_whole_is_soon_over(server: Server) -> None:
    said = b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 000000000050\r\n\r\n{"
    with clients(server, *[said] * 4) as lines:
        began = time.monotonic()
        for line in lines:
            assert answer(line).count(b"HTTP/1.1") == 1
        assert time.monotonic() - began < 3 * reception.LATE


def test_requests_in_pieces_and_one_after_the_other_are_answered(server: Server) -> None:
    with clients(server, GOOD[:9]) as (line,):
        line.sendall(GOOD[9:] + GOOD + GOOD[:-2])
        line.sendall(GOOD[-2:] + GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer(line).count(b'{"status":"ok"}') == 4


def test_bodies_come_in_whole(server: Server) -> None:
    database = Database(f"sqlite:///{server.directory}/state/journal.db")
    _, secret = tokens.create(database, "consumer", "me", company="acme")
    database.close()
    head = (
        f"Host: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer {secret}\r\n".encode()
    )
    body = b'{"from": "x", "to": "y"}'
    plain = b"POST /v1/calls HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body)
    chunked = b"POST /v1/calls HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n"
    with clients(server, plain, chunked) as (one, other):
        one.sendall(body)
        other.sendall(b"%x\r\n%s\r\n" % (len(body), body))
        other.sendall(b"0\r\n\r\n")
        for line in (one, other):
            said = answer(line)
            assert b" 422 " in said.splitlines()[0]
            assert b"must be an extension" in said
    with clients(server, plain.replace(b": 24", b": 70000") + b"x" * 70_000) as (line,):
        assert b" 413 " in answer(line).splitlines()[0]
    with clients(server, plain.replace(b": 24", b": 9000000000") + b"x" * reception.LONGEST) as (line,):
        assert b" 413 " in answer(line).splitlines()[0]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"Content-Length: +4\r\n\r\nabcd",
        b"Content-Length : 4\r\n\r\nabcd",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nX: a\r\n b\r\n\r\nabcd",
        b"X_Y: 1\r\nContent_Length: 4\r\nContent-Length: x\r\n\r\nabcd",
    ],
)
def test_nothing_is_smuggled_behind_a_doubtful_length(server: Server, framing: bytes) -> None:
    """What follows is never answered as a request of its own."""
    behind = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with clients(server, b"POST /healthz HTTP/1.1\r\nHost: x\r\n" + framing + behind) as (line,):
        said = answer(line)
    assert b"openapi" not in said
    assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), said[:200]


def test_a_flood_of_connections_crowds_out_the_oldest_only(server: Server) -> None:
    with clients(server, *[b"G"] * (reception.MOST_WAITING + 20)) as lines:
        promptly(server)
        assert answer(lines[0]) == b""
