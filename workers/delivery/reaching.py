"""The way to subscribers: one POST to an address that a stranger wrote, which may be slow, hostile, or a trap.

Nothing here knows events or rows.  Every attempt has a session and a connection of its own, so that nothing of one
subscriber (a cookie, an open connection, an unread answer) reaches another.  What protects whom:

* *our network*: only public addresses, unless cordboard.yaml allows more (``webhooks.private``); every address that a
  name has is judged, and the socket is connected to the very address that was judged, so a name server gains nothing
  by answering differently the next time; redirects are not followed, and proxies and ``.netrc`` are not read;
* *our workers*: one deadline over name, connection, TLS, request and answer; 64 kB of an answer at most, undecoded.

Where the surprise lies, in ``requests-hardened`` 1.3 (whose session and whose list of networks are used):

* its filter cannot admit one private network, resolves without a time-out, and tries one address of a name only, so
  the judging is done here, at the socket; each public address must pass its list *and* ours, for its own lets the
  old local (``fec0::/10``) and the IPv4-compatible addresses (``::7f00:1``) through;
* a session that follows no redirect still reads the whole body of one, however long (``requests`` prepares the next
  request): :meth:`_Session.get_redirect_target` knows of none;
* a time-out of ``requests`` is one for each read: a byte a second goes on for ever.  So a timer shuts the socket down,
  by a descriptor of its own, since TLS takes the first one over.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests_hardened import Config as Hardening
from requests_hardened import HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress, get_ip_address
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from callcontrol.addresses import public
from callcontrol.settings import Network

#: Seconds for a name and a connection; for everything.
CONNECT, WHOLE = 5.0, 15.0
#: Bytes of an answer's body that are read at most.
MOST_BODY = 64 * 1024
#: Addresses of one name that are tried, and names that are resolved at a time.
MOST_TRIED = 3
MOST_RESOLVING = 32

#: From a host and a port to IP addresses.  Raises OSError or UnicodeError.
Resolve = Callable[[str, int], Sequence[str]]


class Unreached(Exception):
    """No whole answer came; the text says why, in words that may be shown.  ``status``: if there was that much."""

    def __init__(self, why: str, answer: Answer | None = None) -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.  ``body``: as it was sent, MOST_BODY bytes at most."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reach:
    """The way out for one process.  ``allowed``: networks that may be reached although they are not public.

    ``resolve`` and ``trust`` (a file of certificate authorities, instead of the usual ones) are for tests.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        resolve: Resolve | None = None,
        trust: str | None = None,
        connect: float = CONNECT,
        whole: float = WHOLE,
    ) -> None:
        self.allowed = tuple(allowed)
        self._resolve = resolve or _addresses
        self._connect, self._whole = connect, whole
        self._resolving = threading.BoundedSemaphore(MOST_RESOLVING)
        self._tls = create_urllib3_context()
        self._tls.load_verify_locations(trust or certifi.where())
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.check_hostname = True

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and return the whole answer, whatever its status.  Raises Unreached, within the deadline."""
        way = _Way(self, time.monotonic() + self._whole)
        with _Session(way, self._tls) as session, way:
            try:
                response = session.post(
                    url, data=body, headers=dict(headers), stream=True, timeout=(self._connect, self._whole)
                )
                with response:
                    return way.read(response)
            except Unreached:
                raise
            except ssl.SSLError as error:
                raise way.failed(f"TLS failed: {error.reason or 'the connection broke'}") from None
            except requests.exceptions.SSLError as error:
                raise way.failed(f"TLS failed: {_of_tls(error)}") from None
            except requests.exceptions.InvalidURL:
                raise way.failed("this is no web address") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise way.failed(f"the connection broke before the answer was there ({_of(error)})") from None

    def allows(self, address: str) -> bool:
        """Whether an IP address lies in a network that cordboard.yaml allows.  Raises ValueError."""
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self.allowed)

    def admits(self, address: str, *, secure: bool) -> bool:
        """Whether to connect to an address; without TLS only where cordboard.yaml allows it."""
        try:
            if self.allows(address):
                return True
            if not secure or not public(address):
                return False
            get_ip_address(address, 443, allow_loopback=False)
        except (ValueError, OSError, InvalidIPAddress):
            return False
        return True

    def resolve(self, host: str, port: int, seconds: float | None = None) -> list[str]:
        """The addresses of a host.  Raises Unreached, within ``seconds``: a name server may keep silent for long.

        The C library cannot be interrupted, so it is asked in a thread that is left behind; so many at a time.
        """
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        seconds = self._connect if seconds is None else seconds
        if not self._resolving.acquire(timeout=max(0.0, seconds)):
            raise Unreached("its name was not resolved: too many name servers do not answer")
        found: list[str] = []
        done = threading.Event()

        def ask() -> None:
            try:
                found.extend(dict.fromkeys(self._resolve(host, port)))
            except (OSError, UnicodeError):
                pass
            finally:
                self._resolving.release()
                done.set()

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        if not done.wait(max(0.0, seconds)):
            raise Unreached(f"its name was not resolved within {seconds:.3g} s")
        if not found:
            raise Unreached("its name cannot be resolved")
        return found

    def connect(self, way: _Way, host: str, port: int, *, secure: bool) -> socket.socket:
        """A connected socket to an address of ``host`` that may be reached.  Raises Unreached."""
        until = time.monotonic() + self._connect
        found = self.resolve(host, port, min(self._connect, way.left()))
        admitted = [address for address in found if self.admits(address, secure=secure)]
        if not admitted:
            why = "is not public" if secure else "is not one that is reached without TLS"
            raise Unreached(f"its address {found[0][:45]} {why}, and the operator does not allow it")
        why = ""
        for n, address in enumerate(admitted[:MOST_TRIED]):
            seconds = min(until - time.monotonic(), way.left()) / (min(MOST_TRIED, len(admitted)) - n)
            if seconds <= 0:
                break
            try:
                sock = socket.create_connection((address, port), timeout=seconds)
            except OSError as error:
                why = f" ({error.strerror})" if error.strerror else ""
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(0.001, way.left()))
            return sock
        raise Unreached(f"no connection to {admitted[0][:45]} port {port}{why}")


class _Way:
    """One attempt: its deadline, and the socket that is shut down then.  A context manager."""

    def __init__(self, reach: Reach, deadline: float) -> None:
        self._reach = reach
        self._seconds = deadline - time.monotonic()
        self._deadline = deadline
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._over = False
        self._timer = threading.Timer(self._seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Way:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None

    def left(self) -> float:
        """Seconds that are left; may be negative."""
        return self._deadline - time.monotonic()

    def connect(self, host: str, port: int, *, secure: bool) -> socket.socket:
        """See :meth:`Reach.connect`; the deadline holds the socket."""
        sock = self._reach.connect(self, host, port, secure=secure)
        with self._lock:
            if self._over:
                sock.close()
                raise self.failed("")
            self._line = socket.socket(fileno=os.dup(sock.fileno()))
        return sock

    def read(self, response: requests.Response) -> Answer:
        """The whole answer.  Raises Unreached: half an answer is none, but one that is too long is cut."""
        status, headers = response.status_code, dict(response.headers)
        body = b""
        try:  # to the end: only the read after the last one tells that it was cut short
            while len(body) < MOST_BODY and (more := response.raw.read(MOST_BODY - len(body), decode_content=False)):
                body += more
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self.failed(f"the answer broke off ({_of(error)})", Answer(status, headers, body)) from None
        if self._over:
            raise self.failed("", Answer(status, headers, body))
        return Answer(status, headers, body)

    def failed(self, why: str, answer: Answer | None = None) -> Unreached:
        """The error for a failure, which may be the deadline's doing."""
        if self._over or self.left() <= 0:
            why = f"no whole answer within {self._seconds:.3g} s"
        return Unreached(why, answer)

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


# ------------------------------------------------------------------------------------- underneath the library


class _Plain(HTTPConnection):
    """A connection to what was judged."""

    way: _Way

    def _new_conn(self) -> socket.socket:
        return self.way.connect(self.host, self.port, secure=False)


class _Secure(HTTPSConnection):
    """The same over TLS: certificate and SNI are those of the name."""

    way: _Way

    def _new_conn(self) -> socket.socket:
        return self.way.connect(self.host, self.port, secure=True)


def _made(kind: Any, way: _Way, *args: Any, **more: Any) -> Any:
    connection = kind(*args, **more)
    connection.way = way
    return connection


def _pool(pool: Any, kind: Any, way: _Way, *args: Any, **more: Any) -> Any:
    made = pool(*args, **more)
    made.ConnectionCls = functools.partial(_made, kind, way)
    return made


class _Adapter(HTTPAdapter):
    def __init__(self, way: _Way, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1)
        manager: Any = self.poolmanager
        manager.pool_classes_by_scheme = {
            "http": functools.partial(_pool, urllib3.HTTPConnectionPool, _Plain, way),
            "https": functools.partial(_pool, urllib3.HTTPSConnectionPool, _Secure, way),
        }

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, more = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":  # one context for all: reading the authorities costs more than an attempt
            more = {"ssl_context": self._tls, "cert_reqs": "CERT_REQUIRED"}
        return host, more

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to add: the context verifies, whatever a caller asks for."""


class _Session(HTTPSession):  # type: ignore[misc]  # the library has no types
    """The hardened session, with our way underneath."""

    def __init__(self, way: _Way, tls: ssl.SSLContext) -> None:
        super().__init__(
            Hardening(
                ip_filter_enable=True,
                ip_filter_allow_loopback_ips=False,
                never_redirect=True,
                default_timeout=(CONNECT, WHOLE),
            )
        )
        self.trust_env = False
        adapter = _Adapter(way, tls)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def get_redirect_target(self, resp: Any) -> None:
        """None: whatever a 3xx says, it is a failure."""
        return


def _addresses(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _of(error: BaseException) -> str:
    """The kind of an error, in the words of the deepest; not its text, which may show what is ours."""
    seen = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return seen.strerror if isinstance(seen, OSError) and seen.strerror else type(seen).__name__


def _of_tls(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        if isinstance(seen, ssl.SSLError) and seen.reason:
            return str(seen.reason)
        seen = seen.__cause__ or seen.__context__
    return "the connection broke"
