"""The manual of the language and of the settings, made from the classes that read them.

Whatever the manual says of a step, option, value, problem, command or setting stands at its class and nowhere else
(see ``routing/prose.py``), so it cannot say something else than what the program does.  By hand is only what no class
knows: the order, the first example, and how a call walks.

The surprise: the file in ``routing/`` is this program's output and is never edited; a test says when it is stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
import marshmallow as ma

from callcontrol import cli, phrases, settings
from callcontrol.routing import kinds, prose, sections
from callcontrol.routing.codes import CODES, FAMILIES
from callcontrol.steps import RESERVED_VERBS, VERBS
from callcontrol.steps.base import OTHERWISE, THEN, Step
from callcontrol.workbench.explain import explanations

#: A small company, whole: what a reader begins with.
EXAMPLE = """\
cordboard: 1
company: Corner Bakery
country: GB
timezone: Europe/London
languages: [en]

numbers:
  "+442079460123": {flow: welcome}        # who answers our number

people:
  20: {name: Ada Baker, forward: {otherwise: voicemail}}
  21: {name: Ben Miller}

groups:
  shop: [20, 21]

hours:
  open: {mon-fri: 07:00-18:00, sat: 08:00-13:00, holidays: closed}

flows:
  welcome:                                # a call begins at the first step
    clock: {hours: {open: choose}, otherwise: closed}
    choose:
      menu: Welcome to the corner bakery. To order press 1, for the office press 2.
      keys: {1: shop, 2: office}
      otherwise: shop                     # wrong keys, or none
    shop: {dial: shop, ring: 20s, otherwise: message}
    office: {dial: 20, otherwise: message}
    closed: {play: We are closed., then: message}
    message: {voicemail: 20, greeting: Please leave a message after the tone., then: hangup}

rehearsals:                               # calls that are walked without a telephone
  An order reaches whoever is free:
    call: {from: "+442079460999", to: "+442079460123", at: 2026-11-23 10:00, press: ["1"]}
    given: {phones: {20: busy, 21: answers}}
    path: [clock, choose, shop]
    ends: {talk: 21}
  On Sunday callers leave a message:
    call: {from: "+442079460999", to: "+442079460123", at: 2026-11-22 10:00}
    path: [clock, closed, message]
    ends: {voicemail: [20]}
"""

#: Each section's class, in the order in which an operator comes to need it.
SECTIONS: Mapping[str, type[ma.Schema] | type[kinds.Kind]] = {
    "numbers": sections.NumberFields,
    "flows": sections.FlowSettings,
    "people": sections.PersonFields,
    "groups": sections.RotaFields,
    "hours": kinds.HoursField,
    "lists": kinds.CallersField,
    "outbound": sections.OutboundFields,
    "recording": sections.RecordingFields,
    "queues": sections.QueueFields,
    "agents": sections.AgentFields,
    "rehearsals": sections.RehearsalFields,
}
#: What an entry of a section begins with, where it is not a name.
_KEYS = {
    "numbers": "Each entry begins with its [number](#number).",
    "people": "Each entry begins with its [extension](#extension).",
    "rehearsals": "Each entry begins with a sentence.",
    "agents": "",
    "outbound": "",
    "recording": "",
}


def manual() -> str:
    """The whole manual, Markdown."""
    parts: list[tuple[str, list[str]]] = [
        ("A whole file", _first()),
        ("How a file is written", _writing()),
        ("How a call walks", _walking()),
        ("Steps", _steps()),
        ("Sections", _sections()),
        ("Values", _values()),
        ("What Cordboard itself says", _phrases()),
        ("Problems that check finds", _codes()),
        ("Commands", _commands()),
        ("cordboard.yaml", _config()),
    ]
    lines = [
        "# The manual",
        "",
        "Everything that can stand in a company's file, and every setting of the server. `cordboard manual` prints it",
        "for the program at hand; `make manual` writes this file. Do not edit it: it is made from the program itself.",
        "",
    ]
    lines += [f"- {_link(title)}{_contents(title)}" for title, _ in parts]
    for title, body in parts:
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _contents(title: str) -> str:
    inside = {
        "Steps": [(verb, _step_title(verb)) for verb in VERBS],
        "Sections": [(name, _section_title(name)) for name in SECTIONS],
        "Values": [(name, name) for name in _documented()],
    }.get(title)
    return ": " + " · ".join(f"[{word}](#{slug(heading)})" for word, heading in inside) if inside else ""


# ------------------------------------------------------------------------------------- by hand


def _first() -> list[str]:
    return [
        "One file is one company; the file's name is its id, so this is `bakery.yaml`. Put it into the directory that",
        "is served, run `cordboard check` and `cordboard rehearse` on the directory, and reload.",
        "",
        *_fence(EXAMPLE),
    ]


def _writing() -> list[str]:
    header = prose.read(sections.Header, _names(sections.Header))
    return [
        "The file is YAML without its surprises: everything is text, and its place decides how it is read, so `07:00`",
        "is a time and `301` an extension. Quotes are needed around `*21`, text with `{variables}`, text with a colon",
        "or a hash, and inside `{ }` or `[ ]` text with a comma; put them around numbers too. Two spaces and a `#`",
        "begin a comment. There are no anchors, tags, includes, expressions or templates.",
        "",
        *_all(header.paragraphs),
        *_options(sections.Header),
        "",
        "The sections come in any order, and only those that are needed.",
    ]


def _walking() -> list[str]:
    common = _fields(sections.CommonFields)
    return [
        "A number names a flow, and a call begins at the flow's first step. A step does one thing, says how it went,",
        "and the file says where that leads. Nothing falls through to the next line.",
        "",
        "- Every step has exactly one verb: `play`, `menu`, `dial` … It is a key of the step, and its value is what",
        "  the verb is about.",
        "- `then` is where the call goes when it went well. Without it the call ends; some verbs need one, some have",
        "  none. After `dial` and `queue` it means that they have talked.",
        "- Every other outcome (`busy`, `timeout` …) is a key of its own, or is caught by `otherwise`. `otherwise`",
        "  never catches the good one. An outcome that nothing catches is an error of `check`.",
        f"- Where an outcome leads is an {_link('edge')}: a step, a flow, `flow/step`, `hangup` or `return`.",
        "- The first sound answers the call. Before it, `dial` rings, and `hangup: busy` is a real busy signal.",
        "",
        f"Any step may also have {_listed(common)}:",
        "",
        *_options(sections.CommonFields),
    ]


# --------------------------------------------------------------------------------------- steps


def _step_title(verb: str) -> str:
    return f"The step {verb}"


def _steps() -> list[str]:
    rows = []
    for verb, step in VERBS.items():
        first = prose.read(step).paragraphs[0].partition(". ")[0].rstrip(".")
        outcomes = [f"`{word}`" for word in (*_outcomes(step), *([OTHERWISE] if step.needs_otherwise else []))]
        rows.append((f"[{verb}](#{slug(_step_title(verb))})", first, " ".join(outcomes)))
    lines = [*_table(("Verb", "What it does", "Outcomes"), rows), ""]
    lines.append(f"Kept for later versions of the language: {_listed(RESERVED_VERBS)}.")
    for verb, step in VERBS.items():
        lines += ["", f"### {_step_title(verb)}", "", *_step(step)]
    return lines


def _outcomes(step: type[Step]) -> tuple[str, ...]:
    return (*([] if step.then == "never" else [THEN]), *step.outcomes)


def _step(step: type[Step]) -> list[str]:
    said = prose.read(step, _outcomes(step))
    lines = [*_all(said.paragraphs), *_fence(said.example)]
    lines += ["", *_options(step.Fields)]
    rows = [(f"`{word}`", said.sentences.get(word, ""), _edge_rule(step, word)) for word in _outcomes(step)]
    if step.needs_otherwise:
        rows.append(("`otherwise`", "none of these", "must be given"))
    elif step.outcomes:
        rows.append(("`otherwise`", "each of these but `then` that has no edge of its own", ""))
    return [*lines, "", *_table(("Outcome", "When", "Its edge"), rows)] if rows else lines


def _edge_rule(step: type[Step], outcome: str) -> str:
    if outcome != THEN:
        return "or `otherwise`"
    return "must be given" if step.then == "required" else "without it the call ends"


# ------------------------------------------------------------------------------------ sections


def _section_title(name: str) -> str:
    return f"The section {name}"


def _sections() -> list[str]:
    lines: list[str] = []
    for name, about in SECTIONS.items():
        lines += [*([""] if lines else []), f"### {_section_title(name)}", ""]
        if issubclass(about, kinds.Kind):
            said = prose.parse(about.about)
            lines += [*_all(said.paragraphs), *_fence(said.example)]
            continue
        said = prose.read(about, _names(about))
        lines += _all(said.paragraphs)
        lines += _fence(said.example)
        key = _KEYS.get(name, "Each entry begins with its [name](#name).")
        lines += ["", *([key, ""] if key else []), *_options(about)]
    return lines


def _fields(schema: type[ma.Schema]) -> dict[str, Any]:
    return dict(schema._declared_fields)


def _names(schema: type[ma.Schema]) -> list[str]:
    return list(_fields(schema))


def _options(schema: type[ma.Schema]) -> list[str]:
    """The options of a schema, and below it those of every long form in it."""
    said = prose.read(schema, _names(schema)).sentences
    rows, inner = [], []
    for name, field in _fields(schema).items():
        rows.append((f"`{name}`", said.get(name, ""), value(field), default(field)))
        long = _long_form(field)
        if long is not None:
            inner += ["", *_inner(name, long)]
    return [*_table(("Option", "What it is", "Value", "Default"), rows), *inner]


def _inner(name: str, schema: type[ma.Schema]) -> list[str]:
    said = prose.read(schema, _names(schema))
    text = " ".join(said.paragraphs)
    return [f"**{name}**{': ' + text if text else ''}", "", *_options(schema)]


def _long_form(field: Any) -> type[ma.Schema] | None:
    """The schema of what a field takes, if it takes options."""
    if isinstance(field, kinds.ListField):
        return _long_form(field.item)
    if isinstance(field, ma.fields.List):
        return _long_form(field.inner)
    if isinstance(field, ma.fields.Dict):
        return _long_form(field.value_field)
    if isinstance(field, ma.fields.Nested):
        return type(field.schema)
    found: type[ma.Schema] | None = getattr(field, "options", None)
    return found


def default(field: Any) -> str:
    """What a field's value is when nothing is written, as one would write it."""
    if field.required:
        return "must be given"
    found = kinds.default(field)
    return f"`{found}`" if found else ""


# -------------------------------------------------------------------------------------- values


def _kinds(field: Any) -> Iterator[kinds.Kind]:
    """A field and the kinds that it is made of."""
    if isinstance(field, kinds.Kind):
        yield field
    for part in (getattr(field, "item", None), getattr(field, "key", None), getattr(field, "value", None)):
        if part is not None:
            yield from _kinds(part)
    for inner in _fields(getattr(field, "options", None) or ma.Schema).values():
        yield from _kinds(inner)


def _documented() -> dict[str, type[kinds.Kind]]:
    """The kinds that have a chapter, by its heading: all that say something about themselves and are no section."""
    schemas = [sections.Header, sections.CommonFields, *(step.Fields for step in VERBS.values()), *SECTIONS.values()]
    found: dict[str, type[kinds.Kind]] = {}
    for schema in schemas:
        for field in _fields(schema).values() if issubclass(schema, ma.Schema) else ():
            for kind in _kinds(field):
                about = _told_by(type(kind))
                if about is not None:
                    found[_heading(about)] = about
    for extra in (kinds.EdgeField, kinds.NameField, kinds.VariableField, kinds.PatternField, kinds.TargetField):
        found.setdefault(_heading(extra), extra)
    return dict(sorted(found.items()))


def _told_by(kind: type[kinds.Kind]) -> type[kinds.Kind] | None:
    """The class whose words about itself hold for this kind."""
    for cls in kind.__mro__:
        if issubclass(cls, kinds.Kind) and cls.__dict__.get("about") and cls not in SECTIONS.values():
            return cls
    return None


def _heading(kind: type[kinds.Kind]) -> str:
    return kind.kind.replace("_", " ")


def _values() -> list[str]:
    lines = ["How each sort of value is written."]
    for heading, kind in _documented().items():
        about = " ".join(prose.parse(kind.about).paragraphs)
        samples = ", ".join(f"`{sample}`" for sample in kind.samples)
        lines += ["", f"### {heading}", "", _braced(about), *(["", f"Such as {samples}"] if samples else [])]
    return lines


def value(field: Any) -> str:
    """What may be written as the value of a field: a link to its kind, and its limits."""
    if isinstance(field, kinds.ListField):
        return f"one or a list of: {value(field.item)}"
    if isinstance(field, kinds.ChoiceField):
        return " ".join(f"`{word}`" for word in field.words)
    if isinstance(field, kinds.YesNoField):
        return "`true` `false`"
    if isinstance(field, kinds.CountField):
        return f"{field.low} to {field.high}"
    if isinstance(field, kinds.DurationField):
        return f"{_link('duration')}, {kinds.spoken(field.low)} to {kinds.spoken(field.high)}"
    if isinstance(field, kinds.TextField):
        return f"{_link('text')}, {field.longest} characters at most"
    if isinstance(field, kinds.TargetField) and field.only != kinds.TargetField().only:
        return _code_in(field.wants)
    if isinstance(field, kinds.OptionsField):
        return "see below"
    if isinstance(field, kinds.Kind):
        about = _told_by(type(field))
        if about is not None:
            return _link(_heading(about))
        if isinstance(field, kinds.MapField):
            return f"for each {value(field.key)}: {value(field.value)}"
        return _code_in(field.wants)
    return _plain_value(field)


def _plain_value(field: Any) -> str:
    """The same for the fields of cordboard.yaml, which are marshmallow's own."""
    if _long_form(field) is not None:
        many = isinstance(field, ma.fields.List)
        return "a list, see below" if many else "see below"
    if isinstance(field, ma.fields.List):
        return "a list"
    for check in field.validators:
        if isinstance(check, ma.validate.OneOf):
            words = [str(word) for word in check.choices]
            return " ".join(f"`{word}`" for word in words) if len(words) < 10 else "a country, such as `RU`"
        if isinstance(check, ma.validate.Range):
            return f"{check.min} to {check.max}"
    return "a whole number" if isinstance(field, ma.fields.Integer) else "text"


# ------------------------------------------------------------------------- phrases, codes, settings


def _phrases() -> list[str]:
    languages = sorted({language for said in phrases.PHRASES.values() for language in said})
    rows = [(_capital(phrases.WHEN[key]), said["en"]) for key, said in phrases.PHRASES.items()]
    return [
        f"These sentences are known in {_listed(languages)}; any other language hears English.",
        "",
        *_table(("When", "In English"), rows),
    ]


def _codes() -> list[str]:
    lines = [
        "`cordboard check` prints `path:line:column: CODE message`. An error keeps the file from going live, a warning",
        "does not. A code never changes its meaning; `cordboard explain E201` shows an example of it, wrong and right.",
        "`--format json` prints one object: `problems`, each with `path`, `line`, `column`, `code`, `severity`,",
        "`message`, `meaning` and `explain`, and how many are `errors` and `warnings`. `--format github` prints",
        "workflow commands, which GitHub shows at the lines of a change.",
    ]
    for family, about in FAMILIES.items():
        rows = [
            (code, meaning, _braced(explanations()[code].prose))
            for code, meaning in CODES.items()
            if code.startswith(family)
        ]
        lines += ["", f"### {family}: {about}", "", *_table(("Code", "What is wrong", "What it means"), rows)]
    return lines


def _commands() -> list[str]:
    lines = [
        "Every option that names a variable can be given by it as well. " + (cli.main.epilog or ""),
    ]
    for name, command in all_commands(cli.main, "cordboard"):
        arguments = [
            param.make_metavar(click.Context(command)) for param in command.params if isinstance(param, click.Argument)
        ]
        lines += ["", f"### {' '.join([name, *arguments])}", "", *_help(command)]
        rows = [
            (f"`{param.opts[0]}`", f"`{param.envvar}`" if param.envvar else "", param.help or "", _shown(param))
            for param in command.params
            if isinstance(param, click.Option) and not param.hidden
        ]
        if rows:
            lines += ["", *_table(("Option", "Variable", "What it is", "Default"), rows)]
    return lines


def all_commands(group: click.Group, called: str) -> Iterator[tuple[str, click.Command]]:
    """Every command as one types it, and those below it."""
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield f"{called} {name}", command
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{called} {name}")


def _help(command: click.Command) -> list[str]:
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    text = [_plain(" ".join(paragraph.split())) for paragraph in paragraphs]
    return [line for paragraph in text for line in ("", paragraph)][1:]


def _shown(option: click.Option) -> str:
    if option.required:
        return "must be given"
    return f"`{option.default}`" if option.show_default and option.default not in ("", None) else ""


def _config() -> list[str]:
    said = prose.read(settings._Config, _names(settings._Config))
    return [*_all(said.paragraphs), *_fence(said.example), "", *_options(settings._Config)]


# ------------------------------------------------------------------------------------- Markdown


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _link(heading: str) -> str:
    return f"[{heading}](#{slug(heading)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(words: Iterable[str]) -> str:
    *most, last = [f"`{word}`" for word in words]
    return f"{', '.join(most)} and {last}" if most else last


def _all(paragraphs: Sequence[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def _fence(example: str) -> list[str]:
    return ["```yaml", *example.rstrip("\n").split("\n"), "```"] if example else []


def _braced(text: str) -> str:
    """Prose with its ``{variables}`` set as code."""
    return re.sub(r"(?<!`)\{[a-z_]+\}(?!`)", r"`\g<0>`", text)


def _code_in(text: str) -> str:
    """What a kind wants, with what is written in braces or quotes set as code."""
    return re.sub(r'"[^"]+"|\{[^}]+\}', r"`\g<0>`", text)


def _plain(text: str) -> str:
    """Text in which no ``<word>`` is taken for HTML."""
    return re.sub(r"`[^`]*`|<", lambda found: r"\<" if found[0] == "<" else found[0], text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table without the columns that are empty."""
    rows = [[_plain(cell).replace("|", r"\|") for cell in row] for row in rows]
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    lines = [[head[i] for i in used], ["---"] * len(used), *([row[i] for i in used] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
