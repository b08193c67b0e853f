"""A proxy before an S3 store that fails in the ways stores and networks fail, and lies.

Each request gets a fault or none, as ``choose`` says.  ``log`` has what was asked, when it was answered, and whether
the answer was whole and true: the only witness of what a client can have seen.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from workers.recordings.local_store import LocalStore
from workers.recordings.store import Store

#: Every fault there is.  ``500`` before the store sees it; ``reset``: the connection, as well; ``lost``: the store does
#: it, and the answer is lost; ``slow``: longer than anybody waits; ``cut``: half of the body reaches the store;
#: ``short``: half of the answer comes.  Lies, of PUT only: 200, and ``nothing``, ``half`` or ``altered`` is stored.
FAULTS = ("500", "reset", "lost", "slow", "cut", "short")
LIES = ("nothing", "half", "altered")


@dataclass(frozen=True, slots=True)
class Line:
    """A request that was answered: ``at`` (monotonic) its end; ``there``: whether ``watch`` found the file then."""

    at: float
    method: str
    key: str
    status: int
    fault: str
    body: bytes
    there: bool


class Faulty:
    """A proxy on loopback before a store.  A context manager.

    ``choose``: method, key -> a fault or "".  ``slow``: seconds.  ``watch``: key -> whether the local file is there.
    """

    def __init__(
        self,
        store: LocalStore,
        choose: Callable[[str, str], str] = lambda method, key: "",
        *,
        slow: float = 1.0,
        watch: Callable[[str], bool] = lambda key: False,
    ) -> None:
        self.upstream = store.port
        self.behind = Store(store.storage)
        self.choose, self.slow, self.watch = choose, slow, watch
        self.log: list[Line] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faulty = self
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def reset(self) -> None:
        """In order again, and nothing asked yet."""
        self.log.clear()
        self.choose, self.watch = (lambda method, key: ""), (lambda key: False)

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str, key: str = "") -> list[Line]:
        """What was asked of a key."""
        return [line for line in self.log if line.method == method and key in line.key]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.behind.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    faulty: Faulty

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self) -> None:
        faulty = self.server.faulty
        key = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")[2]
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # BaseHTTPRequestHandler has answered it
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = faulty.choose(self.command, key)
        if fault in LIES and (self.command != "PUT" or "?" in self.path):
            fault = ""
        if fault == "slow":
            time.sleep(faulty.slow)
        match fault:
            case "500":
                self._answer(500, [], b"<Error><Code>InternalError</Code></Error>", key, fault)
                return
            case "reset":
                self._reset()
                return
            case "cut":
                self._forward(body, cut=True)
                self._reset()
                return
            case "nothing" | "half" | "altered":
                self._lie(fault, key, body)
                return
        status, headers, answer = self._forward(body)
        if fault == "lost":
            self._reset()
        elif fault == "short" and len(answer) > 1 and self.command == "GET":
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer[: len(answer) // 2])
            self._reset()
        else:
            self._answer(status, headers, answer, key, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def _forward(self, body: bytes, *, cut: bool = False) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.faulty.upstream, timeout=20)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.putheader("Connection", "close")
            upstream.endheaders()
            upstream.send(body[: len(body) // 2] if cut else body)
            if cut:
                return 0, [], b""
            said = upstream.getresponse()
            answer = said.read()
            left_out = ("connection", "transfer-encoding")
            return said.status, [(n, v) for n, v in said.getheaders() if n.lower() not in left_out], answer
        except (OSError, http.client.HTTPException):
            return 502, [("Content-Length", "0")], b""
        finally:
            upstream.close()

    def _lie(self, fault: str, key: str, body: bytes) -> None:
        if fault != "nothing":
            wrong = body[: len(body) // 2] if fault == "half" else body[:-1] + bytes([body[-1] ^ 1])
            store = self.server.faulty.behind
            with contextlib.suppress(BotoCoreError, ClientError):
                store._client.put_object(Bucket=store.bucket, Key=key, Body=wrong)
        self._answer(200, [("ETag", '"0"'), ("Content-Length", "0")], b"", key, fault)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, key: str, fault: str) -> None:
        faulty = self.server.faulty
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # Before its last byte: who has not got that yet has not compared it.
        there = faulty.watch(key)
        if self.command != "HEAD":
            self.wfile.write(body)
        faulty.log.append(Line(time.monotonic(), self.command, key, status, fault, body, there))

    def _reset(self) -> None:
        """Close in the middle, as a machine that dies would."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.connection.shutdown(socket.SHUT_RDWR)
