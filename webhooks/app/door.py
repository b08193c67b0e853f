"""The door: who asks, what they may, for which company, how often, and what a body may look like.

Everything here happens before an operation runs, in this order: the request gets an id, the operation is found, the
token is read (401), its role is asked (403), its requests are counted, and how many of them are under way (429), the
company is settled (422, 404), the body is looked at (413, 415, 400).  An operation that does not say who may use it can
be used by nobody.

=========  ===================================================================================================
operator   everything; without a company of its own it acts for any, and names it in each request
consumer   a company's programs: reads, places calls, keeps its endpoints and looks at their deliveries
agent      a person's own program: their own duty, their own messages, calls from their own telephone
=========  ===================================================================================================

Where the surprise lies:

* While Redis is away requests are counted by each process for itself: nobody is turned away for it.
* No header of a proxy is believed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeVar

import structlog
from flask import Flask, Response, g, request
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from webhooks.app import problems, tokens
from webhooks.app.problems import Problem
from webhooks.app.tokens import Holder
from workers.context import Context

#: Who may read what a company has, and who may do everything.
READERS = ("operator", "consumer")
OPERATORS = ("operator",)
EVERYBODY = tokens.ROLES

#: Requests of a token, and those of one token that a process answers at a time: half of what it can.
LIMIT = "600 per minute"
AT_A_TIME = 8
#: A body's length, bytes; how deep it may be nested.
LONGEST_BODY = 64 * 1024
DEEPEST = 20

COMPANY = r"[a-z][a-z0-9-]{0,30}"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

View = TypeVar("View", bound=Callable[..., Any])


class Id(BaseConverter):
    """An id in a path.  What cannot be one is found nowhere."""

    regex = r"[A-Za-z0-9_-]{1,64}"


class Name(BaseConverter):
    """The name of a thing in a company's file, in a path."""

    regex = r"[a-z][a-z0-9_-]{0,31}"


def may(*roles: str, company: str = "one", query: Sequence[str] = ()) -> Callable[[View], View]:
    """Who may use an operation.  ``company``: ``one`` (it is about one company), ``any`` (an operator without one may
    leave it out, and is told of all), ``none``.  ``query``: what may stand in its query besides.
    """

    def decorate(view: View) -> View:
        view._may = roles  # type: ignore[attr-defined]
        view._company = company  # type: ignore[attr-defined]
        view._query = frozenset({*query, "company"} if company != "none" else query)  # type: ignore[attr-defined]
        return view

    return decorate


def holder() -> Holder:
    """Who asks."""
    found: Holder = g.holder
    return found


def company() -> str:
    """The company that the request is about."""
    found: str = g.company
    return found


def named_company() -> str | None:
    """The company that the request is about, where it may be about all (None)."""
    found: str | None = g.company
    return found


def who() -> str:
    """Who asks, as facts and logs tell it."""
    one = holder()
    return f"{''.join(c for c in one.name if c.isprintable())[:50] or one.token} by the API"


def own_person() -> str | None:
    """The extension of the agent who asks; None: it is no agent's token."""
    return holder().person if holder().role == "agent" else None


def only_own(person: str) -> None:
    """Refuse what is another person's to an agent.  Raises Problem."""
    if own_person() not in (None, person):
        raise Problem("forbidden", "An agent's token is good for that agent only.")


def install(app: Flask, context: Context, limit: str = LIMIT) -> None:
    """Put the door before every operation of an application."""
    app.url_map.converters.update(id=Id, name=Name)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY
    under_way = _UnderWay()

    @app.before_request
    def identify() -> None:
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if _REQUEST_ID.fullmatch(sent) else f"req_{uuid.uuid4().hex[:24]}"
        g.began = time.monotonic()
        view = app.view_functions.get(request.endpoint or "")
        if view is None or getattr(view, "_open", False):
            return
        g.holder = _holder(context)
        if g.holder.role not in getattr(view, "_may", ()):
            raise Problem("forbidden", f"A token of the role {g.holder.role} is not good for this.")
        if not under_way.begin(g.holder.token):
            said = f"Your token has {AT_A_TIME} requests under way: wait for one."
            raise Problem("too-many", said, headers={"Retry-After": "1"})
        g.under_way = True

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        if g.pop("under_way", False):
            under_way.end(g.holder.token)

    limiter = _limiter(app, context, limit)  # counts the request between the two

    @app.before_request
    def enter() -> None:
        if "holder" in g:
            view = app.view_functions[request.endpoint or ""]
            _look_at_query(getattr(view, "_query", frozenset()))
            g.company = _company(getattr(view, "_company", "one"))
            _look_at_body()

    @app.errorhandler(RateLimitExceeded)
    def too_many(_: RateLimitExceeded) -> Response:
        wait = str(max(1, _reset(limiter)))
        return problems.answer(
            Problem("too-many", f"Wait {wait} s before the next request.", headers={"Retry-After": wait})
        )

    @app.after_request
    def leave(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Request-Id"] = g.get("request_id", "")
        _tell_limit(limiter, response)
        if response.is_streamed and g.pop("under_way", False):  # it is over when the last piece is sent
            response.call_on_close(functools.partial(under_way.end, g.holder.token))
        if "began" in g:
            _log().info(
                "request",
                request=g.request_id,
                method=request.method,
                path=request.path[:200],
                status=response.status_code,
                token=g.holder.token if "holder" in g else None,
                ms=round(1000 * (time.monotonic() - g.began), 1),
            )
        return response


def opened(view: View) -> View:
    """An operation that nobody needs a token for."""
    view._open = True  # type: ignore[attr-defined]
    return view


# --------------------------------------------------------------------------------------------------- who asks


def _holder(context: Context) -> Holder:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    found = tokens.find(context.database, secret.strip() if scheme.lower() == "bearer" else "")
    if found is None:
        raise Problem("unauthorized", "Send Authorization: Bearer and a token that is good.")
    return found


def holder_or_none(context: Context) -> Holder | None:
    """Who asks, where it may be nobody."""
    with contextlib.suppress(Problem):
        return _holder(context)
    return None


def _look_at_query(known: Set[str]) -> None:
    """Refuse what would be left out: a filter that is misspelt must not find everything."""
    for name, values in request.args.lists():
        if name not in known:
            raise problems.invalid(problems.shown(name), "is nothing that can be asked here")
        if len(values) > 1:
            raise problems.invalid(name, "stands there more than once")


def _company(wanted: str) -> str | None:
    """The company that a request is about, as its token and its query say."""
    if wanted == "none":
        return None
    named, own = request.args.get("company"), g.holder.company
    if named is not None and not re.fullmatch(COMPANY, named):
        raise problems.invalid("company", "must be a company's id, such as acme")
    if own is not None:
        if named not in (None, own):
            raise problems.not_found()
        return str(own)
    if named is None and wanted == "one":
        raise problems.invalid("company", "your token is good for every company: name one")
    return named


# --------------------------------------------------------------------------------------------------- how often


def _limiter(app: Flask, context: Context, limit: str) -> Limiter:
    redis = context.redis_url.startswith(("redis://", "rediss://", "unix://"))
    options: dict[str, Any] = {
        "socket_timeout": 0.5,
        "socket_connect_timeout": 0.5,
        "retry": Retry(NoBackoff(), 0),
    }
    return Limiter(
        lambda: str(g.holder.token),
        app=app,
        application_limits=[limit],
        application_limits_exempt_when=lambda: "holder" not in g,
        storage_uri=context.redis_url if redis else "memory://",
        storage_options=options if redis else {},
        strategy="fixed-window",
        key_prefix="cordboard",
        headers_enabled=False,
        in_memory_fallback_enabled=True,
        swallow_errors=True,
    )


class _UnderWay:
    """The requests that a process answers just now, by token: no one token has all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[str] = Counter()

    def begin(self, token: str) -> bool:
        """Whether one more may begin; what has begun is to be ended."""
        with self._lock:
            if self._count[token] >= AT_A_TIME:
                return False
            self._count[token] += 1
            return True

    def end(self, token: str) -> None:
        """One is over."""
        with self._lock:
            self._count[token] -= 1
            if not self._count[token]:
                del self._count[token]


def _reset(limiter: Limiter) -> int:
    """Seconds until a token may ask again."""
    with contextlib.suppress(Exception):  # Redis may have gone since the request was counted
        current = limiter.current_limit
        if current is not None:
            return max(0, current.reset_at - int(time.time()))
    return 60


def _tell_limit(limiter: Limiter, response: Response) -> None:
    if "holder" not in g:
        return
    with contextlib.suppress(Exception):  # Redis may have gone since the request was counted
        current = limiter.current_limit
        if current is not None:
            response.headers["RateLimit-Limit"] = str(current.limit.amount)
            response.headers["RateLimit-Remaining"] = str(max(0, current.remaining))
            response.headers["RateLimit-Reset"] = str(_reset(limiter))


# ---------------------------------------------------------------------------------------------------- the body


def _look_at_body() -> None:
    """Refuse a body that is no plain JSON before anything reads it."""
    raw = request.get_data(cache=True)  # RequestEntityTooLarge is a problem already
    if len(raw) > LONGEST_BODY:
        raise RequestEntityTooLarge
    if not raw:
        return
    if request.mimetype != "application/json" or request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem("unsupported", "Send application/json, not compressed.")
    if b"\0" in raw:  # no JSON has one; UTF-16 has, and its brackets cannot be counted
        raise Problem("malformed", "The body is no JSON in UTF-8.")
    if _depth(raw) > DEEPEST:
        raise Problem("malformed", f"The body is nested deeper than {DEEPEST}.")
    try:
        found = json.loads(raw.decode(), parse_constant=_constant)
    except (ValueError, RecursionError):
        raise Problem("malformed", "The body is no JSON.") from None
    if not _storable(found):
        raise Problem("malformed", "A text in the body holds a NUL or half a character.")


def _constant(name: str) -> None:
    raise ValueError(name)


def _depth(raw: bytes) -> int:
    """How deep JSON is nested, without reading it: brackets in texts do not count.

    A text that never ends is one text to the end: nothing is looked at twice, whatever stands there.
    """
    deepest = depth = 0
    for mark in re.findall(rb'(?s)"(?:[^"\\]|\\.)*+"?|[\[{\]}]', raw):
        if mark in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in b"]}":
            depth -= 1
    return deepest


def _storable(value: Any) -> bool:
    """Whether every text in it can be kept by a database."""
    if isinstance(value, str):
        return "\0" not in value and _whole(value)
    if isinstance(value, Mapping):
        return all(_storable(key) and _storable(inner) for key, inner in value.items())
    if isinstance(value, Sequence):
        return all(map(_storable, value))
    return True


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _log() -> Any:
    return structlog.get_logger("web")
