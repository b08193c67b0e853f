"""What was promised to subscribers: ``frozen_events.json`` holds every type and version as it was published.

``python -m tests.frozen_events`` adds what is new, and refuses what breaks a promise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webhooks.events.catalogue import CATALOGUE
from webhooks.events.publishing import data_schema

FILE = Path(__file__).parent / "frozen_events.json"


def frozen() -> dict[str, Any]:
    """``type@version`` → the schema of its data."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def current() -> dict[str, Any]:
    """The same of the program at hand."""
    return {f"{type_}@{event.VERSION}": bare(data_schema(event)) for type_, event in CATALOGUE.items()}


def bare(schema: Any) -> Any:
    """A schema without its words about itself, which may be improved at any time."""
    if isinstance(schema, list):
        return [bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: bare(one) for name, one in value.items()} if key == "properties" else bare(value)
        for key, value in schema.items()
        if key != "description"
    }


def broken(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "data") -> Iterator[str]:
    """The promises of ``before`` that ``now`` does not keep."""
    for name, promised in before.get("properties", {}).items():
        if name not in now.get("properties", {}):
            yield f"{where}.{name} is gone"
        else:
            yield from broken(promised, now["properties"][name], f"{where}.{name}")
    if "items" in before:
        yield from broken(before["items"], now.get("items", {}), f"{where}[]")
    lost = {str(one) for one in before.get("required", ())} - {str(one) for one in now.get("required", ())}
    if lost:
        yield f"{where}: {', '.join(sorted(lost))} may be missing"
    if before.get("type") != now.get("type"):
        yield f"{where} was {before.get('type')} and is {now.get('type')}"
    if "enum" in before and (gone := set(map(str, before["enum"])) - set(map(str, now.get("enum", ())))):
        yield f"{where}: the words {', '.join(sorted(gone))} are gone"
    if "enum" not in before and "enum" in now:
        yield f"{where} was any text"
    for limit, worse in (("maxLength", 1), ("minimum", -1), ("minLength", -1)):
        if limit in before and (now.get(limit) is None or (now[limit] - before[limit]) * worse > 0):
            yield f"{where}: {limit} was {before[limit]} and is {now.get(limit)}"


def main() -> int:
    """Add what is new."""
    known = frozen() if FILE.exists() else {}
    trouble = [one for key, now in current().items() if key in known for one in broken(known[key], now, key)]
    if trouble:
        print("\n".join([*trouble, "Give the type a new VERSION."]))
        return 1
    FILE.write_text(json.dumps({**known, **current()}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
