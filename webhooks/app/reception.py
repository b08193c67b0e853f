"""The server's worker: a connection waits here, without a thread, until all of its request has come.

gunicorn's own gives a thread to each connection, and the thread waits as long as the client likes: a few clients that
send one byte each would be the whole server, and one that does not hang up holds up its loop.  A proxy in front may or
may not keep such clients away; this does not count on it.

What is here only says *when* a request seems to be whole.  What it says is gunicorn's to read: a request that was taken
for whole and is not has :data:`LATE` seconds of its thread, and is then over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import re
import socket
import struct
import termios
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

#: How long a connection may take over a request, or over beginning the next one, seconds.
PATIENCE = 10.0
#: How long a thread waits for more of a request that seemed to be whole, all in all; and for a client to take a piece
#: of an answer, which is 256 kB at most; seconds.
LATE, TAKING = 2.0, 60.0
#: How long the other side has to hang up after us, seconds.
PARTING = 2.0
#: Connections that wait, and that are hung up; of more than so many the oldest go.
MOST_WAITING, MOST_PARTING = 300, 100
#: Bytes that are kept of a request that is not whole: more than the door takes.
LONGEST = 192 * 1024
#: What a thread can leave behind of an answer that nobody takes, bytes: more than all that needs no token.  Who has so
#: much of it to take yet, and asks already for more, is hung up.
BUFFER = 256 * 1024
UNTAKEN = 64 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


def whole(come: bytes | bytearray) -> bool:
    """Whether what has come seems to be a whole request, or is more than anybody reads."""
    if len(come) > LONGEST:
        return True
    end = come.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(come[: end + 4])
    if _CHUNKED.search(head):
        return come.find(b"0\r\n\r\n", end + 4) >= 0
    length = _LENGTH.search(head)
    return length is None or len(come) - len(head) >= int(length[1])


def _untaken(sock: socket.socket) -> int:
    """How much of what was sent the other side has not taken, bytes (SIOCOUTQ, tcp(7))."""
    with contextlib.suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])
    return 0


class _Line(socket.socket):
    """A client's socket: what a thread waits for has an end."""

    left = LATE
    over = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ever; nothing, as if the other side had hung up, when the time for the request is over.

        What came later would be taken for another request: so ``over`` says that nothing more may be read.
        """
        if self.gettimeout() == 0:
            return super().recv(size, flags)
        began = time.monotonic()
        self.settimeout(max(0.001, self.left))
        more = b""
        with contextlib.suppress(TimeoutError):
            more = super().recv(size, flags)
        self.left -= time.monotonic() - began
        self.over = not more
        return more

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As ever; who does not take it is taken for gone."""
        self.settimeout(TAKING)
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client does not take the answer") from None


class _Connection(TConn):  # type: ignore[misc]  # the library has no types
    """A connection, and what has come of its next request."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.data_ready = True  # nobody asks for a thread before
        self.come = bytearray()
        self.drained = 0


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, with the waiting done by its loop."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._parting: deque[_Connection] = deque()

    def accept(self, listener: socket.socket) -> None:
        """A connection has come: it waits."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
                return
            raise
        line = _Line(sock.family, sock.type, sock.proto, fileno=sock.detach())
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.nr_conns += 1
        self._await(_Connection(self.cfg, line, address, listener.getsockname()))

    def handle(self, conn: _Connection) -> Any:
        """In a thread: read the request and answer it.  Whether the connection stays."""
        conn.sock.setblocking(True)
        conn.sock.left = LATE
        conn.init()
        conn.parser.unreader.unread(bytes(conn.come))
        conn.come = bytearray()
        stays = super().handle(conn)
        return stays and not conn.sock.over

    def finish_request(self, conn: _Connection, fs: Future[Any]) -> None:
        """It was answered: it waits for the next, or is hung up."""
        stays = False
        with contextlib.suppress(Exception):
            stays = not fs.cancelled() and bool(fs.result())
        if stays:
            conn.come += conn.parser.unreader.take_buffered()
            self._await(conn)
        else:
            self._part(conn)

    def on_pending_socket_readable(self, conn: _Connection, client: _Line) -> None:
        """Something has come of a request, or the other side has hung up."""
        try:
            more = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        conn.come += more
        if not more:
            self._leave(self.pending_conns, conn)
        elif whole(conn.come):
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._hand_over(conn)

    def murder_pending(self) -> None:
        """Close what has waited long enough."""
        now = time.monotonic()
        for conns in (self.pending_conns, self._parting):
            while conns and conns[0].timeout <= now:
                self._leave(conns, conns[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """The server stops: who waits may wait until then."""
        for conns in (self.pending_conns, self._parting):
            for conn in conns:
                conn.timeout = min(conn.timeout, deadline)

    def _await(self, conn: _Connection) -> None:
        if conn.come and whole(conn.come):
            self._hand_over(conn)
            return
        self._put(self.pending_conns, conn, PATIENCE if self.alive else STOP_KEEPALIVE_LINGER, MOST_WAITING)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _hand_over(self, conn: _Connection) -> None:
        if _untaken(conn.sock) < UNTAKEN:
            self.enqueue_req(conn)
        else:
            self._part(conn)

    def _part(self, conn: _Connection) -> None:
        """Hang up, so that the last words arrive: the other side hears of it, and has time to hang up as well."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        self._put(self._parting, conn, PARTING, MOST_PARTING)
        self.poller.register(conn.sock, EVENT_READ, partial(self._drain, conn))

    def _drain(self, conn: _Connection, client: _Line) -> None:
        try:
            more = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        conn.drained += len(more)
        if not more or conn.drained > LONGEST:
            self._leave(self._parting, conn)

    def _put(self, conns: deque[Any], conn: _Connection, seconds: float, most: int) -> None:
        while len(conns) >= most:
            self._leave(conns, conns[0])
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + seconds
        conns.append(conn)

    def _leave(self, conns: deque[Any], conn: _Connection) -> None:
        conns.remove(conn)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
