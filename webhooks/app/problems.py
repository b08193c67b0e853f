"""Everything that goes wrong, as problem documents (RFC 9457), and nothing of how it came about.

A :class:`Problem` is raised anywhere under a request; whatever else is raised becomes one here.  The kinds are a closed
table: a client goes by ``type``, people read ``detail``.  No text of an exception that is not ours reaches the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:cordboard:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the HTTP status and what it means, the same for each of it."""

    status: int
    title: str


#: By the last word of the problem's ``type``.
KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "The request cannot be read"),
    "unauthorized": Kind(401, "A valid token is needed"),
    "forbidden": Kind(403, "The token does not allow this"),
    "not-found": Kind(404, "There is no such thing"),
    "method-not-allowed": Kind(405, "That cannot be done with this"),
    "conflict": Kind(409, "It cannot be done just now"),
    "too-large": Kind(413, "The request is too large"),
    "unsupported": Kind(415, "The body is not of a type that is read here"),
    "no-such-range": Kind(416, "There are no such bytes"),
    "invalid": Kind(422, "Something in the request is wrong"),
    "too-many": Kind(429, "Too many requests"),
    "fault": Kind(500, "A fault of the server"),
    "unavailable": Kind(503, "Something that is needed cannot be reached"),
    "no-answer": Kind(504, "No controller answered"),
}
_BY_STATUS = {kind.status: name for name, kind in KINDS.items()}


class Problem(Exception):
    """A problem of one of :data:`KINDS`.  ``detail``: for people; ``errors``: what is wrong with which field;
    ``more``: members of the document that only some have.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors or {}
        self.headers = dict(headers or {})
        self.more = more


def not_found() -> Problem:
    """What is asked for is not there, or is another company's: nobody can tell which."""
    return Problem("not-found", "There is no such thing, or it is not yours.")


def invalid(field: str, what: str) -> Problem:
    """One field is wrong."""
    return Problem("invalid", f"{field}: {what}", errors={field: what})


def answer(problem: Problem) -> Response:
    """The document."""
    kind = KINDS[problem.kind]
    document: dict[str, Any] = {
        "type": _TYPE + problem.kind,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "request_id": g.get("request_id", ""),
    }
    if problem.errors:
        document["errors"] = [{"field": name, "message": what} for name, what in problem.errors.items()]
    document.update(problem.more)
    response = Response(json.dumps(document) + "\n", kind.status, mimetype=MEDIA_TYPE)
    if kind.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="cordboard"'
    response.headers.update(problem.headers)
    return response


def register(app: Flask) -> None:
    """Have every error of an application answered so."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(SQLAlchemyError, _of_database)
    app.register_error_handler(Exception, _of_anything)


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    name = _BY_STATUS.get(status, "malformed" if status < 500 else "fault")
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Content-Range")}
    messages = getattr(error, "data", {}).get("messages")
    if messages:
        errors = dict(_fields(messages))
        detail = "; ".join(f"{field}: {what}" for field, what in errors.items())
        return answer(Problem(name, detail[:1000], errors=errors, headers=kept))
    return answer(Problem(name, _SAID.get(name, KINDS[name].title + "."), headers=kept))


_SAID = {
    "not-found": "There is no such thing, or it is not yours.",
    "method-not-allowed": "The header Allow says what can be done with it.",
    "fault": "It was noted; say the request's id to who runs this server.",
}


def _of_database(error: SQLAlchemyError) -> Response:
    _log().error("the database failed", error=f"{type(error).__name__}: {error}"[:500])
    return answer(Problem("unavailable", "The database cannot be asked just now.", headers={"Retry-After": "5"}))


def _of_anything(error: Exception) -> Response:
    _log().error("a request failed", path=request.path[:200], exc_info=error)
    return answer(Problem("fault", _SAID["fault"]))


def _fields(messages: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """What is wrong by field, the place (``json``, ``query``) left out.  Names may be anybody's words."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            part = "" if name in ("_schema", "json", "query", "headers") and not where else shown(name)
            yield from _fields(inner, f"{where}.{part}" if where and part else part or where)
    elif isinstance(messages, (list, tuple)):
        yield where or "body", " ".join(shown(one) for one in messages)
    else:
        yield where or "body", shown(messages)


def shown(text: Any) -> str:
    """Words that a stranger may have chosen, so that they can stand in a document."""
    return "".join(c if c.isprintable() else "?" for c in str(text))[:200]


def _log() -> Any:
    return structlog.get_logger("web").bind(request=g.get("request_id", ""))
