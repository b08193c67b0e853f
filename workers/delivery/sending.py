"""One attempt of a delivery: what is sent, how it is signed, and what came of it.

After Standard Webhooks: the body is the event's envelope, the same bytes at every attempt; ``webhook-id`` is the
event's id, by which a subscriber knows a repeat; ``webhook-timestamp`` is this attempt's; ``webhook-signature`` has one
signature for each secret that is live, so that a rotation is never noticed.  Knows no database.

A secret is in no header and no log.  The signatures are kept with the attempt: they are good for one body and five
minutes, and without them nobody can find out why a subscriber did not accept one.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from standardwebhooks import Webhook

from webhooks.events.envelope import body, envelope
from workers.delivery.reaching import Answer, Reach, Unreached
from workers.journal.tables import Event

AGENT = "Cordboard-Webhooks/1"
#: What is kept of a body, bytes; of an answer's headers, and of each of them.
KEPT_BODY = 4096
KEPT_HEADERS, KEPT_HEADER = 40, 200


def body_of(event: Event) -> str:
    """An event's envelope, as subscribers get it: the same text whenever it is asked for."""
    return body(envelope(event)).decode()


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be sent: ``secrets`` are those that are live, the newest first."""

    event: str
    url: str
    body: str
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt.  ``error`` None: an answer came, whole; ``retry_after``: seconds that it asks for."""

    at: float
    seconds: float
    url: str
    request_headers: Mapping[str, str]
    request_body: str
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: str = ""
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Only a whole 2xx is a success."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def why(self) -> str:
        """What went wrong, for people."""
        return self.error or f"it answered {self.status}"


def headers_of(letter: Letter, at: float) -> dict[str, str]:
    """The headers of an attempt at ``at``, signed.  Raises ValueError for a secret that is none."""
    when = dt.datetime.fromtimestamp(int(at), dt.UTC)  # the library takes a naive time for UTC
    signatures = [Webhook(secret).sign(letter.event, when, letter.body) for secret in letter.secrets]
    return {
        "User-Agent": AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/json",
        "webhook-id": letter.event,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signatures),
    }


def attempt(reach: Reach, letter: Letter, clock: Callable[[], float] = time.time) -> Outcome:
    """Send once.  Never raises: what goes wrong is an outcome."""
    at, began = clock(), time.monotonic()
    headers: dict[str, str] = {}
    answer: Answer | None = None
    error = None
    try:
        headers = headers_of(letter, at)
        answer = reach.post(letter.url, headers, letter.body.encode())
    except Unreached as unreached:
        answer, error = unreached.answer, str(unreached)
    except Exception as mistake:  # the text may hold what is secret
        structlog.get_logger("delivery").error(
            "an attempt went wrong", event_id=letter.event, kind=type(mistake).__name__
        )
        error = "a mistake of ours: see the log"
    return Outcome(
        at=at,
        seconds=time.monotonic() - began,
        url=letter.url,
        request_headers=headers,
        request_body=letter.body[:KEPT_BODY],
        status=answer.status if answer else None,
        response_headers=_kept(answer.headers) if answer else {},
        response_body=plain(answer.body[:KEPT_BODY]) if answer else "",
        error=error,
        retry_after=retry_after(answer, at) if answer else None,
    )


def retry_after(answer: Answer, now: float) -> float | None:
    """The seconds that a 429 or a 503 asks us to wait; None: it asks for nothing, or for nothing sensible.

    RFC 9110, 10.2.3: a number of seconds, or a date.
    """
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    if answer.status not in (429, 503) or not text or len(text) > 40:
        return None
    if text.isascii() and text.isdigit():
        return float(min(int(text), 10**9))
    try:
        when = email.utils.parsedate_to_datetime(text)
        when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
        return max(0.0, when.timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def plain(raw: bytes) -> str:
    """Bytes of a stranger as text that every database takes: no NUL, no half characters."""
    return raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _kept(headers: Mapping[str, Any]) -> dict[str, str]:
    """An answer's headers, cut; ``http.client`` reads them as Latin-1."""
    few: Sequence[tuple[str, Any]] = list(headers.items())[:KEPT_HEADERS]
    return {_shown(name): _shown(value) for name, value in few}


def _shown(text: str) -> str:
    return plain(str(text)[:KEPT_HEADER].encode("latin-1", "replace"))
