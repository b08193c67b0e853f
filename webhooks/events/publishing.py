"""The catalogue as JSON Schema (2020-12), and as the document that subscribers read.

Both are made from the classes of the catalogue, by nothing but their fields: what is said is what is checked.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from webhooks.events.catalogue import CATALOGUE, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Mapping[type[ma.fields.Field[Any]], str] = {
    ma.fields.String: "string",
    ma.fields.Float: "number",
    ma.fields.Integer: "integer",
    ma.fields.Boolean: "boolean",
}

#: What the envelope of an example says.
_EXAMPLE_CALL = "3f0d2a6e-6f0b-4a53-9f0c-0c8c2f6f7a11"


def data_schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's ``data``."""
    return _object(event())


def schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of the whole body of an event, envelope and all."""
    text = {"type": "string"}
    properties = {
        "id": {
            **text,
            "pattern": "^evt_",
            "description": "The same however often it is sent: drop repeats by it.",
        },
        "type": {"const": event.TYPE},
        "version": {"const": event.VERSION},
        "company": {**text, "description": "The company's id: the name of its file."},
        "call": {"type": ["string", "null"], "description": "The call's id."},
        "sequence": {
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "The number of the event among all of its call, from 1.",
        },
        "occurred_at": {**text, "format": "date-time", "description": "When it happened, not when it was sent; UTC."},
        "data": data_schema(event),
    }
    head = {"$schema": DIALECT, "title": f"{event.TYPE}, version {event.VERSION}", "description": title(event)}
    return {**head, "type": "object", "required": list(properties), "properties": properties}


def schemas() -> dict[str, Any]:
    """All of them, by type."""
    return {type_: schema(event) for type_, event in CATALOGUE.items()}


def example(event: type[Event]) -> dict[str, Any]:
    """A whole body, as an endpoint may get it."""
    no_call = event.TYPE.startswith("endpoint.") or event.TYPE == "agent.state"
    return {
        "id": "evt_5d41402abc4b2a76b9719d91",
        "type": event.TYPE,
        "version": event.VERSION,
        "company": "acme",
        "call": None if no_call else _EXAMPLE_CALL,
        "sequence": None if no_call else list(CATALOGUE).index(event.TYPE) + 1,
        "occurred_at": "2026-11-26T10:22:19.123Z",
        "data": dict(event.EXAMPLE),
    }


def title(event: type[Event]) -> str:
    """The first sentences of an event's docstring: when it is told."""
    return inspect.cleandoc(event.__doc__ or "").split("\n\n")[0].replace("\n", " ")


# ------------------------------------------------------------------------------------------------- JSON Schema


def _object(schema_: ma.Schema) -> dict[str, Any]:
    """The surprise: further properties are allowed, because within a version fields are added."""
    properties = {field.data_key or name: _field(field) for name, field in schema_.fields.items()}
    return {"type": "object", "required": list(properties), "properties": properties}


def _field(field: ma.fields.Field[Any]) -> dict[str, Any]:
    found: dict[str, Any]
    if isinstance(field, ma.fields.Nested):
        found = _object(field.schema)
    elif isinstance(field, ma.fields.List):
        found = {"type": "array", "items": _field(field.inner)}
    else:
        found = {"type": _TYPES[type(field)]}
    for rule in field.validators:
        if isinstance(rule, ma.validate.OneOf):
            found["enum"] = list(rule.choices)
        elif isinstance(rule, ma.validate.Range):
            found["minimum"] = rule.min
        elif isinstance(rule, ma.validate.Length):
            found.update(minLength=rule.min, maxLength=rule.max)
    if field.allow_none:
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"].append(None)
    about = field.metadata.get("description")
    return {**found, "description": about} if about else found


# ------------------------------------------------------------------------------------------------ the document


def document() -> str:
    """``webhooks/EVENTS.md``."""
    lines = [
        "# Events",
        "",
        "What Cordboard tells your systems by webhooks. Made from the program itself by `make manual`; do not edit it.",
        "`cordboard events --schema TYPE` prints the JSON Schema of a type, `--example TYPE` a whole body.",
        "",
        "## What holds for all",
        "",
        "- **At least once.** An event may come twice; its `id` is the same then. Drop what you have seen.",
        "- **Not in order.** The events of a call are numbered: `sequence`, from 1. One with a lower number than you",
        "  have seen is older news. All types are counted: if you get them all, a missing number is on its way; if",
        "  you get some, it says nothing. Events of no call have no number: there the later `occurred_at` holds.",
        "- **Every call ends.** Exactly one `call.ended` for each call, whatever happened to the machines that had it.",
        "  It closes whatever is open: ringing, a talk, a place in a queue.",
        "- **Nothing is left out.** Every field is always there; what is not known, or does not apply, is null.",
        "- **Within a version fields are only added**, and words to a list of words. Ignore fields that you do not",
        "  know, and have a way for a word that you do not know. Whatever else changes is a new `version` of the type.",
        "- **Text is a stranger's.** A caller chooses what their number looks like. Escape it where you show it.",
        "- **No links.** A recording has an id; the API gives it to those who may have it.",
        "",
        "## The envelope",
        "",
        "| field | value | |",
        "|---|---|---|",
        *_rows(next(iter(CATALOGUE.values())), envelope=True),
    ]
    lines += ["", "## The types", "", "| type | version | |", "|---|---|---|"]
    lines += [f"| [`{t}`](#{t.replace('.', '')}) | {e.VERSION} | {_cell(title(e))} |" for t, e in CATALOGUE.items()]
    for type_, event in CATALOGUE.items():
        lines += ["", f"## {type_}", "", inspect.cleandoc(event.__doc__ or ""), ""]
        lines += ["| field | value | |", "|---|---|---|", *_rows(event), "", "```json"]
        lines += [json.dumps(example(event), indent=2, ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"


def _rows(event: type[Event], *, envelope: bool = False) -> list[str]:
    properties = schema(event)["properties"] if envelope else data_schema(event)["properties"]
    rows = []
    for name, found in properties.items():
        about = "What the type says, below." if name == "data" and envelope else found.get("description", "")
        if envelope and name in ("type", "version"):
            about = {"type": "One of the types below.", "version": "The version of that type's data."}[name]
        rows.append(f"| `{name}` | {_value(found)} | {_cell(about)} |")
    return rows


def _value(found: Mapping[str, Any]) -> str:
    if "const" in found:
        return "number" if isinstance(found["const"], int) else "text"
    kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
    null = ", or null" if "null" in kinds else ""
    if "enum" in found:
        return " ".join(f"`{one}`" for one in found["enum"] if one is not None) + null
    if "items" in found:
        return f"list of {_value(found['items'])}{null}"
    if kinds[0] == "object":
        inner = found.get("properties", {})
        return (f"`{{{', '.join(inner)}}}`" if 0 < len(inner) < 5 else "object") + null
    return {"string": "text", "number": "seconds", "integer": "number", "boolean": "true or false"}[kinds[0]] + null


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")
