"""What a company's file says, to look at; and the day/night switches, to put on and off."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from webhooks.app import desk, door, problems
from webhooks.app.fields import Flag, Moment
from webhooks.app.openapi import Blueprint
from webhooks.app.problems import Problem

blueprint = Blueprint("companies", __name__, description="Companies, their numbers and people, day/night switches.")


class Company(ma.Schema):
    """A company, as it is published."""

    id = ma.fields.String(required=True, attribute="company", metadata={"example": "acme"})
    title = ma.fields.String(required=True, metadata={"example": "Acme"})
    version = ma.fields.String(required=True, metadata={"description": "Of its routing: a content hash."})
    country = ma.fields.String(required=True, metadata={"example": "RU"})
    timezone = ma.fields.String(required=True, metadata={"example": "Europe/Moscow"})
    languages = ma.fields.List(ma.fields.String(), required=True)


class Companies(ma.Schema):
    """Companies, by id."""

    items = ma.fields.List(ma.fields.Nested(Company), required=True)


class Number(ma.Schema):
    """A number that a company owns."""

    number = ma.fields.String(required=True, metadata={"example": "+74951234567"})
    flow = ma.fields.String(required=True, metadata={"description": "The flow that answers it."})
    label = ma.fields.String(required=True, allow_none=True)


class Numbers(ma.Schema):
    """Numbers, in order."""

    items = ma.fields.List(ma.fields.Nested(Number), required=True)


class Person(ma.Schema):
    """A person: an extension with somebody behind it."""

    extension = ma.fields.String(required=True, metadata={"example": "301"})
    name = ma.fields.String(required=True, metadata={"example": "Anna Petrova"})
    email = ma.fields.String(required=True, allow_none=True)
    mobile = ma.fields.String(required=True, allow_none=True)
    phones = ma.fields.List(ma.fields.String(), required=True)


class People(ma.Schema):
    """People, by extension."""

    items = ma.fields.List(ma.fields.Nested(Person), required=True)


class Switch(ma.Schema):
    """A day/night switch."""

    name = ma.fields.String(required=True, metadata={"example": "office"})
    code = ma.fields.String(required=True, metadata={"description": "What telephones dial to turn it."})
    on = ma.fields.Boolean(required=True)
    by = ma.fields.String(required=True, metadata={"description": "Who put it on; empty: it is off."})
    since = Moment(required=True, allow_none=True)


class Switches(ma.Schema):
    """Switches, by name."""

    items = ma.fields.List(ma.fields.Nested(Switch), required=True)


class SwitchSet(ma.Schema):
    """On or off."""

    on = Flag(required=True)


@blueprint.operation("GET", "/companies", may=door.READERS, company="any", answer=Companies)
def list_companies() -> Any:
    """The companies that the token is good for."""
    one = door.named_company()
    found = [desk.routing_or_none(name) for name in ([one] if one else sorted(desk.companies()))]
    return {"items": [routing for routing in found if routing is not None]}


@blueprint.operation("GET", "/numbers", may=door.READERS, answer=Numbers)
def list_numbers() -> Any:
    """The numbers of the company."""
    numbers = desk.routing(door.company()).numbers
    return {"items": [numbers[number] for number in sorted(numbers)]}


@blueprint.operation("GET", "/people", may=door.READERS, answer=People)
def list_people() -> Any:
    """The people of the company."""
    people = desk.routing(door.company()).people
    return {"items": [people[extension] for extension in sorted(people, key=lambda one: (len(one), one))]}


@blueprint.operation("GET", "/people/<id:person>", may=door.READERS, answer=Person)
def one_person(person: str) -> Any:
    """One person, by extension."""
    found = desk.routing(door.company()).people.get(person)
    if found is None:
        raise problems.not_found()
    return found


@blueprint.operation("GET", "/switches", may=door.READERS, answer=Switches)
def list_switches() -> Any:
    """The day/night switches, and how each stands."""
    return {"items": _switches()}


@blueprint.operation("PUT", "/switches/<name:switch>", may=door.OPERATORS, body=SwitchSet, answer=Switch)
def set_switch(switch: str, body: dict[str, Any]) -> Any:
    """Put a day/night switch on or off."""
    company = door.company()
    if switch not in desk.routing(company).switches:
        raise problems.not_found()
    if not desk.board().set_switch(company, switch, body["on"], door.who()):
        raise _redis_away("maybe")
    return next(row for row in _switches() if row["name"] == switch)


def _switches() -> list[dict[str, Any]]:
    company = door.company()
    codes = desk.routing(company).switches
    on = desk.board().switches()
    if on is None:
        raise _redis_away("no")
    rows = []
    for name in sorted(codes):
        entry = on.get(f"{company}/{name}")
        rows.append(
            {
                "name": name,
                "code": codes[name],
                "on": entry is not None,
                "by": entry.by if entry else "",
                "since": entry.at if entry else None,
            }
        )
    return rows


def _redis_away(performed: str) -> Problem:
    return Problem("unavailable", "Redis cannot be asked just now.", headers={"Retry-After": "5"}, performed=performed)
