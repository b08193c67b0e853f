"""How an operation is declared, and the description of them all (OpenAPI 3.1), made from the declarations.

A :class:`Blueprint` takes an operation in one piece: method, path, who may, what goes in and what comes out; so what is
described is what is done.  What every operation has in common (errors, headers, the company of an operator) is added
when the description is made.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import http
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flask_smorest
import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Response
from flask_smorest.utils import prepare_response

from webhooks.app import door, problems
from webhooks.app.fields import Moment
from webhooks.app.problems import KINDS, MEDIA_TYPE
from webhooks.events.publishing import schemas

TITLE = "Cordboard"
VERSION = "v1"
#: What can come of every operation that needs a token.
_ALWAYS = (401, 403, 404, 429, 500, 503)


class Wrong(ma.Schema):
    """What is wrong with one field."""

    field = ma.fields.String(required=True, metadata={"example": "to"})
    message = ma.fields.String(required=True, metadata={"example": "Missing data for required field."})


class ProblemSchema(ma.Schema):
    """A problem (RFC 9457)."""

    type = ma.fields.String(
        required=True,
        validate=ma.validate.OneOf([f"urn:cordboard:problem:{name}" for name in KINDS]),
        metadata={"description": "What went wrong: go by this."},
    )
    title = ma.fields.String(required=True)
    status = ma.fields.Integer(required=True)
    detail = ma.fields.String(required=True, metadata={"description": "The same for people, with what is particular."})
    request_id = ma.fields.String(required=True, metadata={"description": "As the header X-Request-Id says it."})
    errors = ma.fields.List(ma.fields.Nested(Wrong), metadata={"description": "Which fields are wrong."})
    performed = ma.fields.String(
        validate=ma.validate.OneOf(("no", "maybe")),
        metadata={"description": "Of a command that brought no answer: whether it may have been performed."},
    )


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's, with our errors."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_responses(self) -> None:
        for status in http.HTTPStatus:
            response: dict[str, Any] = {"description": status.phrase}
            name = problems._BY_STATUS.get(status.value)
            if name is not None:
                response |= {"description": KINDS[name].title, "schema": ProblemSchema, "example": _example(name)}
            prepare_response(response, self.spec, MEDIA_TYPE)
            self.spec.components.response(status.name, response, lazy=True)

    def _register_error_handlers(self) -> None:
        """They are ``problems``'."""


def _example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": f"urn:cordboard:problem:{name}",
        "title": KINDS[name].title,
        "status": KINDS[name].status,
        "detail": KINDS[name].title + ".",
        "request_id": "req_5f0c2a1de07b4c3f9a6d8e21",
    }
    if name == "invalid":
        document |= {"detail": "to: is missing", "errors": [{"field": "to", "message": "is missing"}]}
    if name in ("unavailable", "no-answer"):
        document["performed"] = "maybe"
    return document


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """The operations of one subject."""

    def operation(
        self,
        method: str,
        rule: str,
        *,
        may: Sequence[str],
        company: str = "one",
        query: type[ma.Schema] | None = None,
        headers: type[ma.Schema] | None = None,
        body: type[ma.Schema] | None = None,
        answer: type[ma.Schema] | None = None,
        status: int = 200,
        content: str | None = None,
        fails: Sequence[int] = (),
        also: Mapping[int, str] | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare an operation.  The function gets what the path names, and ``query``, ``headers`` and ``body`` as
        their schemas read them.

        ``fails``: the errors that it may have besides those that everything has; ``also``: other good answers;
        ``content``: the type of a body that is no JSON.
        """

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            made = view
            binary = {"type": "string", "format": "binary"} if content else None
            made = self.response(status, answer or binary, content_type=content)(made)
            for code, what in (also or {}).items():
                schema = binary if code == 206 else None
                made = self.alt_response(code, schema=schema, content_type=content, description=what)(made)
            if body is not None:
                made = self.arguments(body, location="json", arg_name="body")(made)
            if headers is not None:
                made = self.arguments(headers, location="headers", arg_name="headers")(made)
            if query is not None:
                made = self.arguments(query, location="query", arg_name="query")(made)
            errors = {*_ALWAYS, *fails, *((400, 413, 415, 422) if body is not None else ())}
            errors |= {422} if query is not None or headers is not None or company != "none" else set()
            if method in ("POST", "PUT", "PATCH", "DELETE"):
                errors |= {400, 413, 415}
            for code in sorted(errors):
                made = self.alt_response(code, http.HTTPStatus(code).name)(made)
            made = self.doc(operationId=view.__name__, **{"x-company": company, "x-roles": list(may)})(made)
            made = door.may(*may, company=company, query=[*query().fields] if query is not None else ())(made)
            self.route(rule, methods=[method])(functools.wraps(view)(made))
            return view

        return decorate


def describe(app: Flask, blueprints: Sequence[Blueprint], events: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Register the operations, and describe them.  ``events``: the JSON Schema of each event that webhooks bring."""
    app.config.update(API_TITLE=TITLE, API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    api = Api(app, spec_kwargs={"marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_name)})
    api.register_field(Moment, "string", "date-time")
    for converter in ("id", "name"):
        kind = app.url_map.converters[converter]
        api.register_converter(kind, functools.partial(_parameter, kind.regex))
    for blueprint in blueprints:
        api.register_blueprint(blueprint, url_prefix="/v1")
    spec: dict[str, Any] = api.spec.to_dict()
    return _finished(spec, events or {})


def _name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return str(kind.__name__).removesuffix("Schema")


def _parameter(pattern: str, _converter: Any) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


_RATE = {
    "RateLimit-Limit": "Requests that the token may make in the window.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the window ends.",
}


def _finished(spec: dict[str, Any], events: Mapping[str, Any]) -> Mapping[str, Any]:
    """What all operations have in common."""
    spec["info"]["description"] = (
        "Calls, recordings, messages, webhooks, agents and queues of a company. Every request needs a token "
        "(`cordboard tokens create`). Errors are problem documents (RFC 9457). Lists come in pages, the newest first."
    )
    components = spec.setdefault("components", {})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "cbt_…"}}
    spec["security"] = [{"token": []}]
    named = {"in": "query", "name": "company", "schema": {"type": "string", "pattern": f"^{door.COMPANY}$"}}
    named["description"] = "Whose; only a token that is good for every company names one."
    components.setdefault("parameters", {})["company"] = named
    headers = components.setdefault("headers", {})
    headers["X-Request-Id"] = {"description": "Names this request in the logs.", "schema": {"type": "string"}}
    headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    headers["WWW-Authenticate"] = {"description": "How to show a token.", "schema": {"type": "string"}}
    for name, what in _RATE.items():
        headers[name] = {"description": what, "schema": {"type": "integer"}}
    for name, response in components.get("responses", {}).items():
        said = ["X-Request-Id"]
        said += {"TOO_MANY_REQUESTS": ["Retry-After"], "UNAUTHORIZED": ["WWW-Authenticate"]}.get(name, [])
        response["headers"] = {one: {"$ref": f"#/components/headers/{one}"} for one in said}
    for _path, _method, operation in operations(spec):
        if operation.get("x-company") != "none":
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/company"})
        roles = ", ".join(operation["x-roles"])
        operation["description"] = f"{operation.get('description', '')}\n\nRoles: {roles}.".strip()
        for status, response in operation["responses"].items():
            if str(status).startswith("2"):
                response["headers"] = {
                    name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *_RATE)
                }
    schemas = components.setdefault("schemas", {})
    for type_, schema in events.items():
        name = "Event." + type_
        schemas[name] = schema
        spec.setdefault("webhooks", {})[type_] = {
            "post": {
                "operationId": f"event:{type_}",
                "security": [],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
                },
                "responses": {"2XX": {"description": "It was taken; any other answer has it sent again."}},
            }
        }
    return json.loads(json.dumps(spec))  # type: ignore[no-any-return]


def event_schemas() -> Mapping[str, Any]:
    """The JSON Schema of each event that webhooks bring, without the dialect: it is the document's own."""
    return {
        type_: {name: value for name, value in schema.items() if name != "$schema"}
        for type_, schema in schemas().items()
    }


def operations(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a description: path, method, and what it says."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield path, method, operation


# ----------------------------------------------------------------------------------------------- for people

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "code{background:#f4f4f2;padding:0 .2em}h2{border-bottom:1px solid #ccc;margin-top:2em}"
    "td,th{text-align:left;vertical-align:top;padding:.1em 1em .1em 0}p{margin:.4em 0}"
    "caption{text-align:left;color:#666;font-size:.9em}"
)


def page(spec: Mapping[str, Any]) -> Response:
    """The description for people: one page that fetches nothing from anywhere."""
    parts = [f"<h1>{TITLE} API {VERSION}</h1><p>{_prose(spec['info']['description'])}</p>"]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a>.</p>')
    for tag in spec.get("tags", ()):
        parts.append(f"<h2>{html.escape(tag['name'])}</h2><p>{_prose(tag.get('description', ''))}</p>")
        for path, method, operation in operations(spec):
            if tag["name"] in operation["tags"]:
                parts.append(_told(spec, path, method, operation))
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    body = f"<!doctype html><html lang=en><meta charset=utf-8><title>{TITLE} API</title><style>{_STYLE}</style>"
    response = Response(body + "".join(parts) + "</html>\n", mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'"
    )
    return response


def _told(spec: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    told = f"<h3><code>{method.upper()} {html.escape(path)}</code></h3><p>{_prose(operation.get('summary', ''))}</p>"
    told += f"<p>{_prose(operation.get('description', ''))}</p>"
    asked = [
        (one["name"], one.get("schema", {}), one.get("description", ""), one.get("required", False))
        for one in operation.get("parameters", ())
        if "name" in one and one["in"] != "path"
    ]
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = spec["components"]["schemas"].get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    body = [
        (name, field, field.get("description", ""), name in schema.get("required", ()))
        for name, field in schema.get("properties", {}).items()
    ]
    return told + _fields("Asked for by", asked) + _fields("In the body", body)


def _fields(title: str, fields: Sequence[tuple[str, Mapping[str, Any], str, bool]]) -> str:
    if not fields:
        return ""
    rows = [
        f"<tr><td><code>{html.escape(name)}</code>{' (required)' if required else ''}"
        f"<td>{_prose(what)}{' ' if what else ''}{_values(schema)}"
        for name, schema, what, required in fields
    ]
    return f"<table><caption>{title}</caption>{''.join(rows)}</table>"


def _values(schema: Mapping[str, Any]) -> str:
    """What may stand there, where that is a few words."""
    words = [word for word in schema.get("enum", ()) if word is not None]
    if not words and "boolean" in (schema.get("type"), *(schema.get("type") or ())):
        words = ["true", "false"]
    return ", ".join(f"<code>{html.escape(str(word))}</code>" for word in words)


def _prose(text: str) -> str:
    """Text with its `code` set as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
