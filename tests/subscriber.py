"""A subscriber for tests that does what it is told to, byte for byte, and an address book in place of a name server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

#: What a subscriber does with a connection, after it has read the request.
Script = Callable[[socket.socket], None]
LOCAL = "127.0.0.1"


def says(text: str | bytes) -> Script:
    """Say that, and close."""
    raw = text.encode() if isinstance(text, str) else text
    return lambda line: line.sendall(raw)


class Subscriber:
    """A server on a port of its own; each connection reads one request, then ``script`` has it.  A context manager.

    ``requests`` are those that came, head and body as they were.
    """

    def __init__(self, script: Script, *, host: str = LOCAL, certificate: Path | None = None) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        #: Set when the test is over: what a script waits for that never answers.
        self.over = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            if self._tls is not None:
                line = self._tls.wrap_socket(line, server_side=True)
            with line:
                self.requests.append(_request(line))
                self.script(line)


def _request(line: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw:
        if not (more := line.recv(65536)):
            return raw
        raw += more
    head, _, body = raw.partition(b"\r\n\r\n")
    length = next((int(one[15:]) for one in head.split(b"\r\n") if one.lower().startswith(b"content-length:")), 0)
    while len(body) < length and (more := line.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


class Names:
    """An address book: ``names[host]`` are answers, one for each time it is asked, the last for ever."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self.names = {host.replace("_", "."): list(answers) for host, answers in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]
