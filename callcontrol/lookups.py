"""Lookups: one GET to a company's own service, which may be slow, wrong, huge, gone, or somebody else's.

:class:`Lookups` asks on behalf of calls and always answers, within the seconds that it was given, with typed
values or a reason.  It knows no call.  What protects whom:

* *calls* from the service: one deadline over name, connection, TLS, head and body; a breaker for each service;
  so many lookups at a time for each company; 64 kB, few pieces, no compression; plain JSON with typed values;
* *our network* from whoever writes routing or a name server: only public addresses, unless cordboard.yaml allows
  a private one; the address that was judged is the one connected to; no redirects, no proxies;
* *secrets*: sent only to their host, over TLS (or into a network that is allowed as private), and never said.

HTTP is spoken through h11, which touches no socket.  A client library would resolve, redirect, decompress and
read as it sees fit: ``requests-hardened`` does pin the address it judged, but cannot admit one private network,
and like every client with a time-out for each read it lets a server that sends a byte a second hold a call.

The surprise: ``gevent.Timeout`` is no Exception.  It ends whatever the exchange waits for; only a name server's
answer goes on being waited for, in a thread of :class:`_Names`.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import urlsplit

import gevent
import h11
import structlog
from gevent import socket, ssl
from gevent.event import AsyncResult
from gevent.resolver.thread import Resolver
from gevent.threadpool import ThreadPool

from callcontrol import messages as m
from callcontrol.addresses import public
from callcontrol.secrets import Headers, Secrets
from callcontrol.settings import Config, Network

#: The body, bytes; the head; everything that comes in, with the framing of chunks.
MOST_BODY = 64 * 1024
MOST_HEAD = 16 * 1024
MOST_BYTES = 2 * MOST_BODY + MOST_HEAD
#: Pieces that a body may come in: each costs time that other calls do not get.
MOST_PIECES = 1000
#: Interim answers (1xx) before the real one.
MOST_INTERIM = 5
#: A value, bytes of UTF-8; see ``state.py`` for the reason.
LONGEST_VALUE = 64
#: Lookups of one company at a time, in this process.
MOST_AT_ONCE = 50
#: Failures in a row, within so many seconds, that open a breaker, and for how long.
FAILURES, WITHIN, OPEN = 5, 60.0, 30.0
#: How long before its deadline a call is told what was waited for in vain, seconds; a step waits 0.5 at least.
AHEAD = 0.05
#: Addresses of one name that are tried, and names that are resolved at a time.
MOST_TRIED = 3
MOST_RESOLVING = 20

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")

#: From a host and a port to IP addresses.  Raises OSError or UnicodeError.
Resolve = Callable[[str, int], Sequence[str]]


class _Failed(Exception):
    """The lookup failed though the service is well; the text says why, in words that may go into a fact."""


class _Ill(_Failed):
    """It failed because the service is not well: no answer, or one that says so."""


class _NotFound(Exception):
    """The service is well and does not know it."""


# -------------------------------------------------------------------------------------------------- names


class _Names:
    """Resolves names in threads of its own, each name once at a time.

    The hub's threads are for others: a name server that does not answer must hold up nothing but lookups, and
    many callers who ask for the same name must not take all the threads there are.
    """

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._resolver.pool = ThreadPool(MOST_RESOLVING)
        self._asked: dict[tuple[str, int], AsyncResult[list[str]]] = {}

    def __call__(self, host: str, port: int) -> list[str]:
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[(host, port)] = AsyncResult()
            gevent.spawn(self._ask, host, port, asked)  # whoever asked first may give up
        return cast(list[str], asked.get())

    def _ask(self, host: str, port: int, asked: AsyncResult[list[str]]) -> None:
        try:
            host.encode("idna")  # raises here what would be an unexpected error of a thread
            found = self._resolver.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
            asked.set([str(entry[4][0]) for entry in found])
        except Exception as error:
            asked.set_exception(error)
        finally:
            del self._asked[(host, port)]


# -------------------------------------------------------------------------------------------------- breaker


@dataclass(slots=True)
class _Breaker:
    """Whether a service is well.  Open, it admits nobody, then one trial at a time."""

    failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    until: float | None = None
    trying: bool = False
    why: str = ""

    def admits(self, now: float) -> bool:
        """Whether to ask; when open, whoever is admitted is the trial."""
        if self.until is None:
            return True
        if now < self.until or self.trying:
            return False
        self.trying = True
        return True

    def failed(self, now: float, why: str, *, trial: bool) -> bool:
        """Count a failure.  Returns whether it opened the breaker."""
        self.why = why
        if trial:
            self.trying, self.until = False, now + OPEN
            return True
        if self.until is not None:
            return False
        self.failures.append(now)
        if len(self.failures) < FAILURES or now - self.failures[0] > WITHIN:
            return False
        self.until = now + OPEN
        return True

    def well(self) -> None:
        """It answers: closed, and nothing counted."""
        self.failures.clear()
        self.until, self.trying = None, False


# ---------------------------------------------------------------------------------------------------- lookups


@dataclass(frozen=True, slots=True)
class _Place:
    """An address taken apart."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        return self.host if self.port == (443 if self.secure else 80) else f"{self.host}:{self.port}"


def _place(url: str) -> _Place:
    """Raises _Failed for what is no web address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _Failed("not a web address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or port == 0:
        raise _Failed("not a web address")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(secure, parts.hostname, port or (443 if secure else 80), target)


class Lookups:
    """The lookups of one process.  ``resolve`` and ``clock`` (seconds, monotonic) are for tests.

    Raises SettingsError if the secrets file cannot be used.
    """

    def __init__(
        self, config: Config, *, resolve: Resolve | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolve: Resolve = resolve or _Names()
        self._clock = clock
        self._breakers: dict[tuple[str, str, int], _Breaker] = {}
        self._under_way: dict[str, int] = {}
        self._log: Any = structlog.get_logger("lookups")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
        self._tls.load_default_certs()
        self._tls.set_alpn_protocols(["http/1.1"])
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take up what cordboard.yaml and the secrets file say.  Raises SettingsError and changes nothing then."""
        self.secrets = Secrets.read(config.secrets)
        self._private: tuple[Network, ...] = config.private

    def start(self, company: str, command: m.Lookup, on_done: Callable[[m.LookedUp], None]) -> None:
        """Look up in a greenlet of its own; ``on_done`` gets the answer, with a reason before the call's time is up."""
        gevent.spawn(self._started, company, command, on_done)

    def _started(self, company: str, command: m.Lookup, on_done: Callable[[m.LookedUp], None]) -> None:
        answer = self.get(company, command.url, command.wanted, command.seconds - AHEAD)
        on_done(replace(answer, id=command.id))

    def get(self, company: str, url: str, wanted: Sequence[str], seconds: float) -> m.LookedUp:
        """Look up and wait for the answer, ``seconds`` at most.  Its id is 0."""
        values: dict[str, str] = {}
        outcome, why, host = "failed", "", ""
        try:
            place = _place(url)
            host = place.host
            values = self._ask(company, place, wanted, seconds)
            outcome = "then"
        except _NotFound as found:
            outcome, why = "not_found", str(found)
        except _Failed as error:
            why = str(error)
        except Exception as error:  # without the values in it, which a traceback may otherwise be shown with
            text = "".join(traceback.format_exception(error)).rstrip()
            self._log.error("a lookup went wrong", company=company, host=host, error=text)
            why = "a mistake of ours: see the log"
        if outcome == "failed":
            self._log.info("a lookup failed", company=company, host=host, why=why)
        return m.LookedUp(0, outcome, values, why)

    def _ask(self, company: str, place: _Place, wanted: Sequence[str], seconds: float) -> dict[str, str]:
        """Ask, if company and service may be asked now."""
        under_way = self._under_way.get(company, 0)
        if under_way >= MOST_AT_ONCE:
            raise _Failed(f"{MOST_AT_ONCE} lookups of {company} are under way already")
        breaker = self._breakers.setdefault((company, place.host, place.port), _Breaker())
        if not breaker.admits(self._clock()):
            raise _Failed(f"not asked, for it failed again and again: {breaker.why}")
        trial = breaker.trying
        ill = "it was given up"
        self._under_way[company] = under_way + 1
        try:
            headers = self.secrets.headers(company, place.host)
            exchange = _Exchange(place, headers, self._resolve, self._private, self._tls)
            found = values_of(exchange.run(seconds), wanted)
            ill = ""
            return found
        except _Ill as error:
            ill = str(error)
            raise
        except (_Failed, _NotFound):
            ill = ""
            raise
        finally:
            self._left(company)
            if not ill:
                breaker.well()
            elif breaker.failed(self._clock(), ill, trial=trial):
                self._log.warning("a service is not asked for a while", company=company, host=place.host, why=ill)

    def _left(self, company: str) -> None:
        self._under_way[company] -= 1
        if not self._under_way[company]:
            del self._under_way[company]


# ------------------------------------------------------------------------------------------------- exchange


class _Exchange:
    """One GET over a connection of its own, which may end at any moment."""

    def __init__(
        self, place: _Place, headers: Headers, resolve: Resolve, private: Sequence[Network], tls: ssl.SSLContext
    ) -> None:
        self._place = place
        self._headers = headers
        self._resolve = resolve
        self._private = private
        self._tls = tls
        self._sock: socket.socket | None = None
        self._awaited = ""

    def run(self, seconds: float) -> bytes:
        """The body of a 200.  Raises _Failed or _NotFound, within ``seconds``."""
        timer = gevent.Timeout(seconds)
        timer.start()
        try:
            sock = self._connect(self._addresses(), seconds / MOST_TRIED)
            return self._talk(self._encrypted(sock) if self._place.secure else sock)
        except gevent.Timeout as error:
            if error is not timer:
                raise
            raise _Ill(f"no {self._awaited} within {seconds:.3g} s") from None
        finally:
            timer.close()
            if self._sock is not None:
                self._sock.close()

    def _addresses(self) -> list[str]:
        """The addresses of the host that may be connected to."""
        self._awaited = "address"
        try:
            found = list(dict.fromkeys(self._resolve(self._place.host, self._place.port)))
        except (OSError, UnicodeError):
            raise _Ill("its name cannot be resolved") from None
        admitted = [address for address in found if self._is_private(address) or public(address)]
        if not admitted:
            shown = f"its address {found[0][:45]} is" if found else "it has no address that is"
            raise _Ill(f"{shown} not public, and cordboard.yaml does not allow it (lookups: private)")
        if self._headers and not self._place.secure:
            admitted = [address for address in admitted if self._is_private(address)]
            if not admitted:
                raise _Failed("its secret is not sent without TLS: write https")
        return admitted[:MOST_TRIED]

    def _is_private(self, address: str) -> bool:
        """Whether it lies in a network that cordboard.yaml allows."""
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self._private)

    def _connect(self, addresses: Sequence[str], share: float) -> socket.socket:
        """Connect to the first address that takes us: to it, and not to whatever the name means by now.

        While there are others, one gets a ``share`` of the time, seconds.
        """
        self._awaited = "connection"
        why = ""
        for address in addresses:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            self._sock = sock
            try:
                sock.settimeout(share if address != addresses[-1] else None)
                sock.connect((address, self._place.port))
                sock.settimeout(None)
                return sock
            except OSError as error:
                why = _said(error)
                sock.close()
        raise _Ill(f"no connection: {why}")

    def _encrypted(self, sock: socket.socket) -> socket.socket:
        self._awaited = "TLS"
        try:
            tls = self._tls.wrap_socket(sock, server_hostname=self._place.host, do_handshake_on_connect=False)
            self._sock = tls
            tls.do_handshake()
            return tls
        except ssl.SSLCertVerificationError as error:
            raise _Ill(f"its certificate is not trusted: {error.verify_message[:80]}") from None
        except OSError as error:
            raise _Ill(f"no TLS: {_said(error)}") from None

    def _request(self) -> bytes:
        headers = {
            "host": ("Host", self._place.authority),
            "user-agent": ("User-Agent", "cordboard"),
            "accept": ("Accept", "application/json"),
            "accept-encoding": ("Accept-Encoding", "identity"),
            "connection": ("Connection", "close"),
            **{name.lower(): (name, value) for name, value in self._headers},
        }
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
        try:
            request = h11.Request(method="GET", target=self._place.target, headers=list(headers.values()))
            return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError:  # its text would quote what it does not like, a secret perhaps
            raise _Failed("the request cannot be written") from None

    def _talk(self, sock: socket.socket) -> bytes:
        """Ask, and read the answer piece by piece."""
        self._awaited = "answer"
        body, received, pieces, interim = bytearray(), 0, 0, 0
        try:
            sock.sendall(self._request())
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    data = sock.recv(MOST_HEAD)
                    received += len(data)
                    if received > MOST_BYTES:
                        raise _Failed(_TOO_LARGE)
                    self._http.receive_data(data)
                elif isinstance(event, h11.Response):
                    _judge_head(event)
                    self._awaited = "end of the answer"
                elif isinstance(event, h11.Data):
                    body += event.data
                    pieces += 1
                    if len(body) > MOST_BODY or pieces > MOST_PIECES:
                        raise _Failed(_TOO_LARGE)
                elif isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                else:
                    interim += 1
                    if interim > MOST_INTERIM:
                        raise _Ill("no answer but interim ones")
        except h11.RemoteProtocolError:
            raise _Ill("its answer is not HTTP, or was cut short") from None
        except OSError as error:
            raise _Ill(f"the connection broke: {_said(error)}") from None


_TOO_LARGE = f"its answer is larger than {MOST_BODY // 1024} kB, or comes in too many pieces"


def _said(error: OSError) -> str:
    """An error of a connection in a few words that come from our side only."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").replace("_", " ").lower()[:80]
    return (error.strerror or type(error).__name__).lower()[:80]


def _judge_head(head: h11.Response) -> None:
    """Raises for every answer whose body is not worth reading."""
    status = head.status_code
    if status in (404, 410):
        raise _NotFound(f"status {status}")
    if 300 <= status < 400:
        raise _Failed(f"status {status}: redirects are not followed")
    if status >= 500 or status == 429:
        raise _Ill(f"status {status}")
    if status != 200:
        raise _Failed(f"status {status}")
    for name, value in head.headers:
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise _Failed("its answer is compressed, although asked not to be")
        if name == b"content-length" and int(value) > MOST_BODY:
            raise _Failed(_TOO_LARGE)


# --------------------------------------------------------------------------------------------------- values


class _Number(str):
    """A number as it is written: one that a machine has read may have become another."""


def values_of(body: bytes, wanted: Sequence[str]) -> dict[str, str]:
    """The wanted values of a JSON object (RFC 8259), as text.  Raises _Failed or _NotFound."""
    try:
        found = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise _Failed("its answer is not JSON that can be read") from None
    if not isinstance(found, dict):
        raise _Failed("its answer is not a JSON object")
    values = {name: _text(name, found.get(name)) for name in wanted}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise _NotFound(f"its answer has no {', '.join(missing)}")
    return {name: value for name, value in values.items() if value is not None}


def _text(name: str, value: Any) -> str | None:
    """A value as text, None for null.  Raises _Failed."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Number) and not _DECIMAL.fullmatch(value):
        raise _Failed(f"{name} is a number with an exponent")
    if not isinstance(value, str):
        raise _Failed(f"{name} is neither text nor a number")
    if not value.isprintable():
        raise _Failed(f"{name} has characters that cannot be shown")
    if len(value.encode()) > LONGEST_VALUE:
        raise _Failed(f"{name} is longer than {LONGEST_VALUE} bytes")
    return str(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
