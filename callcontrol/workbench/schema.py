"""What may stand in a company's file, as a JSON Schema: so that editors complete, explain and mark mistakes.

Put together from the steps and sections; what may be written as a value each kind says itself (``Kind.shape``), and the
words that an editor shows are those of the manual.  With a company's own routing the names of its people, steps, queues
and sounds are known too.  It is no second ``check``: it marks what a file can show by itself, and nothing that
``check`` accepts.

Draft 07, because that is what editors read: the YAML language server, which VS Code, Neovim, Helix and others use, is
made for it, and the editors of JetBrains know it too; of later drafts we would need nothing.  The surprise is in a
step: which options it has is decided by its verb (``if`` the verb is there ``then`` these), since an editor that meets
a choice of twelve says only that none of them fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds, nodes, prose, sections, shapes
from callcontrol.routing.load import RESERVED_NAMES
from callcontrol.routing.model import Routing
from callcontrol.routing.shapes import Known, Shape
from callcontrol.steps import VERBS
from callcontrol.steps.base import OTHERWISE, THEN, Step

DRAFT = "http://json-schema.org/draft-07/schema#"
#: The options with which the sections of one mapping are read.
_WHOLE: Mapping[str, type[ma.Schema]] = {
    "agents": sections.AgentFields,
    "outbound": sections.OutboundFields,
    "recording": sections.RecordingFields,
}
#: The sections whose entries have names: how those are written, and what an entry is.
_NAMED: Mapping[str, tuple[kinds.Kind, type[ma.Schema] | kinds.Kind]] = {
    "numbers": (kinds.NumberField(), sections.NumberFields),
    "people": (kinds.ExtensionField(exists=False), sections.PersonFields),
    "groups": (kinds.NameField(), sections.RotaFields),
    "lists": (kinds.NameField(), kinds.CallersField()),
    "hours": (kinds.NameField(), kinds.HoursField()),
    "queues": (kinds.NameField(), sections.QueueFields),
    "rehearsals": (kinds.TextField(200), sections.RehearsalFields),
}


def schema(routing: Routing | None = None, *, sounds: Iterable[str] = (), zones: Iterable[str] = ()) -> Shape:
    """The whole schema; with ``routing`` its names are the only ones.

    ``sounds``: the company's sound files.  ``zones``: time zones that this machine knows; without them any may be.
    """
    known = _known(routing, sounds, zones)
    head = kinds.options_shape(sections.Header, known)
    properties = {**head["properties"]}
    for name in sections.SECTIONS:
        if name not in properties:
            properties[name] = _section(name, known, routing)
    definitions = {} if routing is not None else {"step": _step(known)}
    definitions |= {} if routing is not None else {f"step {verb}": _verb(step, known) for verb, step in VERBS.items()}
    if routing is not None:
        for flow in routing.flows:
            here = _known_in(routing, known, flow)
            definitions[f"{flow}: step"] = _step(here, f"{flow}: ")
            definitions[f"{flow}: edge"] = _EDGE.shape(here)
            definitions |= {f"{flow}: step {verb}": _verb(step, here, f"{flow}: ") for verb, step in VERBS.items()}
    return {
        "$schema": DRAFT,
        "title": f"Cordboard: the routing of {routing.title}" if routing else "Cordboard: a company's routing",
        "description": prose.plain(" ".join(prose.read(sections.Header, head["properties"]).paragraphs)),
        "type": "object",
        "additionalProperties": False,
        "required": head["required"],
        "properties": properties,
        "definitions": definitions,
    }


def rehearsals(routing: Routing | None = None) -> Shape:
    """The same for a file of rehearsals beside the company's: what the section has stands at its left edge."""
    found = _section("rehearsals", _known(routing, (), ()), routing)
    title = f"Cordboard: rehearsals of {routing.title}" if routing else "Cordboard: rehearsals"
    return {"$schema": DRAFT, **found, "title": title}


_EDGE = kinds.EdgeField()


def _ref(name: str) -> Shape:
    return {"$ref": f"#/definitions/{name.replace(' ', '%20')}"}


# ------------------------------------------------------------------------------------------ names


def _known(routing: Routing | None, sounds: Iterable[str], zones: Iterable[str]) -> Known:
    names: dict[str, tuple[str, ...]] = {"timezone": tuple(sorted(zones)), "sound": tuple(sorted(sounds))}
    if routing is None:
        return names
    steps = tuple(f"{flow.name}/{step}" for flow in routing.flows.values() for step in flow.steps)
    return names | {
        "person": tuple(routing.people),
        "group": tuple(routing.groups),
        "list": tuple(routing.lists),
        "hours": tuple(routing.hours),
        "switch": tuple(routing.switches),
        "queue": tuple(routing.queues),
        "flow": tuple(routing.flows),
        "language": routing.languages,
        "edge": (*routing.flows, *steps, *kinds.SPECIAL),
        # A rehearsal names the steps of the flow in which its call begins without it.
        "step": tuple(dict.fromkeys((*steps, *(step for flow in routing.flows.values() for step in flow.steps)))),
        "leaving": (*routing.flows, *steps, *kinds.SPECIAL),
    }


def _known_in(routing: Routing, known: Known, flow: str) -> Known:
    """The same in a flow, where its own steps need no name before theirs."""
    edges = tuple(dict.fromkeys((*routing.flows[flow].steps, *known["edge"])))
    return {**known, "edge": edges, "leaving": edges}


# --------------------------------------------------------------------------------------- sections


def _section(name: str, known: Known, routing: Routing | None) -> Shape:
    if name == "flows":
        return _said(_flows(known, routing), name, sections.FlowSettings)
    if name in _WHOLE:
        return _said(kinds.options_shape(_WHOLE[name], known), name, _WHOLE[name])
    key, entry = _NAMED[name]
    if isinstance(entry, kinds.Kind):
        return _said(shapes.keyed(key.shape({}), entry.shape(known)), name, entry.about) | _MAY_BE_EMPTY
    shape = kinds.options_shape(entry, known)
    if name == "groups":
        shape = shapes.or_(kinds.PeopleField().shape({}), {**shape, "dependencies": _ROTA})
        if known.get("person"):
            shape["items"] = kinds.ExtensionField().shape(known)
    if name == "people":
        shape |= _MAIL
    return _said(shapes.keyed(key.shape({}), shape), name, entry) | _MAY_BE_EMPTY


#: A section without entries is no mistake.
_MAY_BE_EMPTY = {"minProperties": 0}
#: What no option says of itself: some need others.
_ROTA = {"rotate": ["from"], "from": ["rotate"]}
_MAIL: Shape = {
    "if": {"required": ["notify"], "properties": {"notify": {"not": {"enum": [[]]}}}},
    "then": {"required": ["email"]},
}


def _said(shape: Shape, title: str, about: type | str) -> Shape:
    """The shape with the first paragraph of what its class says."""
    said = prose.parse(about) if isinstance(about, str) else prose.read(about, _words(about))
    return {"title": title, "description": prose.plain(said.paragraphs[0]) if said.paragraphs else title, **shape}


def _words(about: type) -> Sequence[str]:
    return list(about._declared_fields) if issubclass(about, ma.Schema) else ()


# ------------------------------------------------------------------------------------------ flows


def _flows(known: Known, routing: Routing | None) -> Shape:
    if routing is None:
        return {**shapes.keyed(_name(), _flow(known)), "minProperties": 0}
    flows = {name: _flow(_known_in(routing, known, name), f"{name}: ") for name in routing.flows}
    return {"type": "object", "additionalProperties": False, "properties": flows}


def _name() -> Shape:
    """A name that is no word of the language."""
    words = "|".join(sorted(RESERVED_NAMES))
    return shapes.text(f"(?!(?:{words})$){kinds.NAME.pattern}", kinds.NameField.wants)


def _flow(known: Known, where: str = "") -> Shape:
    settings = kinds.options_shape(sections.FlowSettings, known)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": settings["properties"],
        "patternProperties": {_name()["pattern"]: _ref(f"{where}step")},
        "minProperties": 1,
    }


def _step(known: Known, where: str = "") -> Shape:
    """A step: its verb decides what else it may have."""
    verbs = {}
    for verb, step in VERBS.items():
        own = step.Fields._declared_fields[verb]
        verbs[verb] = kinds.described(own, verb, _sentences(step.Fields).get(verb, ""), known)
        verbs[verb]["description"] = _about(step) + "\n\n" + verbs[verb]["description"]
    common = kinds.options_shape(sections.CommonFields, known)["properties"]
    verb_less = {
        "properties": {**verbs, **common},
        "additionalProperties": False,
        "required": ["a verb"],  # this branch is never right; the words are for editors that know no errorMessage
        "errorMessage": f"A step has one verb: {', '.join(VERBS)}.",
        "defaultSnippets": [
            {"label": verb, "description": _about(step), "body": _example(step)} for verb, step in VERBS.items()
        ],
    }
    mapping = {"type": "object"}  # what is no mapping is told once, and not by every branch
    return {
        "description": "One thing that is done with a call, by its verb.",
        "type": "object",
        "errorMessage": "A step is a mapping with a verb, such as {play: Goodbye., then: hangup}.",
        "allOf": [
            *({"if": {**mapping, "required": [verb]}, "then": _ref(f"{where}step {verb}")} for verb in VERBS),
            {"if": mapping, "then": {"if": {"anyOf": [{"required": [verb]} for verb in VERBS]}, "else": verb_less}},
        ],
    }


def _verb(step: type[Step], known: Known, where: str = "") -> Shape:
    """The options, outcomes and edges of one verb."""
    said = prose.read(step, (THEN, *step.outcomes)).sentences
    own = kinds.options_shape(step.Fields, known)
    common = kinds.options_shape(sections.CommonFields, known)
    own["properties"][step.verb]["description"] = _about(step) + "\n\n" + own["properties"][step.verb]["description"]
    edges = [*([] if step.then == "never" else [THEN]), *step.outcomes]
    edges += [OTHERWISE] if step.outcomes or step.needs_otherwise else []
    properties = {**own["properties"]}
    for word in edges:
        sentence = said.get(word) or ("for every other outcome" if step.outcomes else "for every other call")
        properties[word] = _edge(word, sentence, where)
    required = [step.verb, *(name for name in own["required"] if name != step.verb)]
    required += [THEN] if step.then == "required" else []
    required += [OTHERWISE] if step.needs_otherwise else []
    shape: Shape = {
        "title": f"{step.verb} step",
        "description": _about(step),
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {**properties, **common["properties"]},
    }
    if step.outcomes:
        never = {"not": {"required": [OTHERWISE]}}
        shape |= {"if": {"required": list(step.outcomes)}, "then": never, "else": {"required": [OTHERWISE]}}
    return shape


def _edge(word: str, sentence: str, where: str) -> Shape:
    said = {"title": word, "description": prose.plain(prose.sentence(sentence))}
    if not where:
        return {**_EDGE.shape({}), **said}
    return {**said, "allOf": [_ref(f"{where}edge")]}  # one list of names, and not one for each outcome


def _sentences(fields: type[ma.Schema]) -> Mapping[str, str]:
    return prose.read(fields, fields._declared_fields).sentences


def _about(step: type[Step]) -> str:
    return prose.plain(prose.read(step, (THEN, *step.outcomes)).paragraphs[0])


def _example(step: type[Step]) -> Any:
    """The step of the docstring's example, without its name."""
    tree, _ = nodes.read(prose.read(step, (THEN, *step.outcomes)).example, "")
    found = nodes.plain(tree)
    return next(body for body in found.values() if step.verb in body)
