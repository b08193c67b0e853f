"""Telephone numbers: those that policy refuses, emergency numbers, and caller IDs of others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from callcontrol import policy
from callcontrol.routing.checks.whole import Whole
from callcontrol.routing.codes import problem
from callcontrol.routing.countries import country_name
from callcontrol.routing.model import Problem, Reference, Routing


def emergency(whole: Whole) -> Iterator[Problem]:
    """Extensions that are emergency numbers: the company's own list (error), the country's (warning)."""
    routing = whole.routing
    listed = routing.outbound.get("emergency", ())
    for extension, person in routing.people.items():
        if extension in listed:
            yield problem("E501", person.place, f"{extension} is an emergency number under outbound: it must stay free")
        elif 1 < len(extension) < 5 and routing.country and _is_emergency(extension, routing.country):
            where = country_name(routing.country)
            message = f"{extension} is an emergency number in {where}: a phone that dials it gets {person.name}"
            yield problem("W504", person.place, message)


@lru_cache(maxsize=1024)
def _is_emergency(number: str, country: str) -> bool:
    return bool(phonenumbers.is_emergency_number(number, country))


def outside(whole: Whole) -> Iterator[Problem]:
    """Numbers outside that the routing would ring and policy refuses; all of them, if no call can leave.

    And what is listed as an emergency number and is none, since policy would let it pass.
    """
    routing = whole.routing
    if not whole.outbound_known or not routing.country:
        return
    told: set[tuple[str | None, ...]] = set()
    for reference in whole.references:
        if reference.kind == "emergency" and (why := policy.not_an_emergency(reference.name, routing.country)):
            yield problem("E507", reference.place, why)
        if reference.kind != "outside" or not _rung(routing, reference):
            continue
        if reference.name in routing.numbers:
            message = f"{reference.name} is the company's own number, which it cannot call: name a flow or a person"
            yield problem("E507", reference.place, message)
            continue
        if routing.outbound:
            found = policy.decide(routing.outbound, routing.country, reference.name)
            if isinstance(found, policy.Refused):
                yield problem("E507", reference.place, found.why)
            continue
        owner = (reference.person, reference.flow, reference.step)
        if owner not in told and not whole.incomplete:
            told.add(owner)
            message = f"{reference.name} is outside, and there is no outbound section: it is never rung"
            yield problem("W506", reference.place, message)


def _rung(routing: Routing, reference: Reference) -> bool:
    """Whether a call can come to a number: a mobile is rung only if a forward of its owner names it."""
    if reference.person is None:
        return True
    person = routing.people.get(reference.person)
    if person is None:
        return False
    to = {rule["to"] for rule in person.forward.values()}
    return reference.name in (*person.phones, *to) or "mobile" in to


def caller_ids(whole: Whole) -> Iterator[Problem]:
    """Numbers shown to people called that the company does not own, although it owns others of their country.

    One of a country in which it owns none may well be rented elsewhere, for being shown only.
    """
    own = whole.names.get("number")
    foreign = [r for r in whole.references if r.kind == "shown" and own is not None and r.name not in own]
    countries = {_country(number) for number in whole.routing.numbers} if foreign else set()
    for reference in foreign:
        country = _country(reference.name)
        if country in countries:
            where = country_name(country or "")
            message = f"{reference.name} is none of the company's numbers in {where}: carriers may refuse to show it"
            yield problem("W507", reference.place, message)


def _country(number: str) -> str | None:
    return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
