"""A company's own service, as the tests need it: slow, wrong, huge, gone.  Threads with plain sockets on loopback.

The surprise: it says what it is told to whoever asks, and never looks at the question but to keep it.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TLS = Path(__file__).parent / "tls"
LOOPBACK = "127.0.0.1"
#: Nothing that should be quick takes so long, seconds.
AGES = 20.0

Serve = Callable[[socket.socket, "Service"], None]


def answer(body: bytes | str | dict[str, Any], status: str = "200 OK", *headers: str, length: bool = True) -> bytes:
    """An answer as it goes over the wire."""
    if isinstance(body, dict):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(raw)}"] if length else [])]
    return "\r\n".join([*head, "", ""]).encode() + raw


class Service:
    """A service that says ``what`` (bytes, or a function of the connection) to whoever asks."""

    def __init__(self, what: bytes | Serve, *, tls: bool = False, address: str = LOOPBACK) -> None:
        self.what = what
        self.heads: list[str] = []
        self.closing = threading.Event()
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(TLS / "crm.pem")
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True) as sock:
                sock.settimeout(AGES)
                if isinstance(self.what, bytes):
                    self.read(sock)
                    sock.sendall(self.what)
                else:
                    self.what(sock, self)
        except OSError:
            pass  # the other side left: that is what many of these tests are about

    def read(self, sock: socket.socket) -> None:
        """Read what is asked."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(4096)
            if not data:
                return
            head += data
        self.heads.append(head.decode("latin-1"))

    def url(self, path: str = "/orders/1", host: str = "crm.test", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def silent(sock: socket.socket, service: Service) -> None:
    """Says nothing, whatever comes."""
    service.closing.wait(AGES)


def held(sock: socket.socket, service: Service) -> None:
    """Takes the question and says nothing."""
    service.read(sock)
    service.closing.wait(AGES)
