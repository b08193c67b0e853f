"""Menus: keys that answer, and keys that are extensions as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from callcontrol.routing.checks.whole import Whole, steps_of
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Problem, Routing
from callcontrol.steps.base import THEN


def keys_and_extensions(whole: Whole) -> Iterator[Problem]:
    """A menu key that is also a whole extension there.  The beginning of one is fine: a pause tells them apart."""
    routing = whole.routing
    for step in steps_of(routing):
        keys = step.values.get("keys")
        for target in step.values.get("extensions") or ():
            if target.person:
                members: tuple[str, ...] = (target.person,)
            else:
                group = routing.groups.get(target.group)
                members = group.members if group else ()
            for extension in members:
                if isinstance(keys, Mapping) and extension in keys:
                    yield problem(
                        "E412",
                        keys[extension].place,
                        f"key {extension} is also the extension of {_who(routing, extension)}, who can be dialled here",
                    )


def _who(routing: Routing, extension: str) -> str:
    person = routing.people.get(extension)
    return person.name if person else extension


def menus(whole: Whole) -> Iterator[Problem]:
    """A menu that no key answers, and a ``then`` of one at which nobody can be dialled."""
    for step in steps_of(whole.routing):
        if step.values.get("extensions") != () or "keys" not in step.values:
            continue
        if not step.values["keys"]:
            yield problem("E415", step.place, "no key answers here: add keys, or extensions")
        elif THEN in step.edges:
            message = "then follows a talk with an extension dialled here, and there are no extensions"
            yield problem("E407", step.edges[THEN].place, message)
