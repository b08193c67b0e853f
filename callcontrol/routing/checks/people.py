"""People: their forwards, in circles or to nowhere, and the codes that their telephones dial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from callcontrol.routing.checks.ways import rings
from callcontrol.routing.checks.whole import At, Whole
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place, Problem

#: Extensions of a circle that a message tells.
_LONGEST_CIRCLE = 8


def codes(whole: Whole) -> Iterator[Problem]:
    """A code that two switches, flows or things that agents dial share."""
    routing = whole.routing
    used: dict[str, tuple[str, Place]] = {}
    for name, hours in routing.hours.items():
        if hours.switch:
            yield from _code(used, hours.switch, f"the switch {name}", hours.place)
    for name, flow in routing.flows.items():
        if flow.code:
            yield from _code(used, flow.code, f"the flow {name}", flow.place)
    for code in routing.duty_codes.values():
        yield from _code(used, code.code, str(code), code.place)


def _code(used: dict[str, tuple[str, Place]], code: str, what: str, place: Place) -> Iterator[Problem]:
    if code in used:
        other, where = used[code]
        yield problem("E503", place, f"the code {code} belongs to {other} already (line {where.line})")
    used.setdefault(code, (what, place))


def forwards(whole: Whole) -> Iterator[Problem]:
    """People who forward to themselves, or to a mobile that they do not have."""
    for extension, person in whole.routing.people.items():
        for when, rule in person.forward.items():
            if rule["to"] == extension:
                yield problem("E506", person.place, f"{extension} forwards to themselves ({when})")
            elif rule["to"] == "mobile" and person.mobile is None:
                message = f'{extension} forwards to mobile ({when}), but has none: add mobile: "+…"'
                yield problem("E506", person.place, message)


def forgotten_rules(whole: Whole) -> Iterator[Problem]:
    """Rules of forwards that are never followed, because the person's telephones never ring, or others catch all."""
    for extension, person in whole.routing.people.items():
        rules = person.forward.keys()
        if "always" in rules and (idle := [when for when in ("busy", "no_answer", "unreachable") if when in rules]):
            message = f"{extension} always forwards, so no telephone rings there: {' and '.join(idle)} never"
            yield problem("W535", person.place, f"{message} {'comes' if len(idle) == 1 else 'come'}")


def shared_phones(whole: Whole) -> Iterator[Problem]:
    """A telephone outside that belongs to two people."""
    people = whole.routing.people
    owners: dict[str, str] = {}
    for reference in whole.references:
        person = people.get(reference.person or "")
        if reference.kind != "outside" or person is None:
            continue
        if reference.name not in (*person.phones, person.mobile):  # a forward may lead to anybody
            continue
        first = people[owners.setdefault(reference.name, person.extension)]
        if first is not person:
            message = f"{reference.name} is a telephone of {first.extension} ({first.name}) too: whoever rings both"
            yield problem("W534", reference.place, f"{message} rings it twice, and who answers counts as {first.name}")


def forward_circles(whole: Whole) -> Iterator[Problem]:
    """People who forward to each other in a circle: always (nobody would ever ring), or now and then."""
    people = whole.routing.people
    after = {(extension, ""): [(to, "") for to in _forwards_to(whole, extension)] for extension in people}
    named = [r for r in whole.references if r.kind == "person" and r.person is not None]
    places = {(r.person, r.name): r.place for r in sorted(named, key=lambda r: r.place, reverse=True)}
    for ring in rings(after):
        rules = {(at[0], to[0]): places[at[0], to[0]] for at in ring for to in after[at] if to in ring}
        first = min(rules, key=lambda rule: rules[rule])
        circle = " → ".join(_shortened(_circle(after, first)))
        if all("always" in people[extension].forward for extension, _ in ring):
            message = f"calls are always forwarded in a circle: {circle}; nobody would ever ring"
            yield problem("E508", rules[first], message)
        else:
            message = f"calls may be forwarded in a circle: {circle}; each is rung once, then the call goes on"
            yield problem("W508", rules[first], message)


def _forwards_to(whole: Whole, extension: str) -> list[str]:
    """The other people to whom a call of this one may be forwarded, in the order of the rules."""
    rules = whole.routing.people[extension].forward
    if "always" in rules:
        rules = {"always": rules["always"]}
    elif {"busy", "no_answer", "unreachable"} <= rules.keys():
        rules = {when: rule for when, rule in rules.items() if when != "otherwise"}
    named = (rule["to"] for rule in rules.values())
    return list(dict.fromkeys(to for to in named if to in whole.routing.people and to != extension))


def _shortened(circle: list[str]) -> list[str]:
    if len(circle) <= _LONGEST_CIRCLE:
        return circle
    return [*circle[: _LONGEST_CIRCLE - 2], f"{len(circle) - _LONGEST_CIRCLE + 1} others", circle[-1]]


def _circle(after: Mapping[At, list[At]], rule: tuple[str, str]) -> list[str]:
    """The shortest circle that begins with ``rule``: the extensions on it, the first one again at the end."""
    begin, second = rule
    came_from: dict[At, At] = {}
    queue: list[At] = [(second, "")]
    for at in queue:
        if at[0] == begin:
            break
        for to in after[at]:
            if to not in came_from:
                came_from[to] = at
                queue.append(to)
    path = [(begin, "")]
    while path[-1] != (second, ""):
        path.append(came_from[path[-1]])
    return [begin, *(extension for extension, _ in reversed(path))]
