"""What a text in routing may mean: marshmallow fields that read a node of the file into a value.

A kind knows how an operator writes one sort of thing (a duration, an edge, a prompt) and nothing of the
section or step it stands in.  It meets a mistake by raising :class:`Wrong` with a ready :class:`Problem`, so
that one load finds them all.  ``kind`` names the sort for whoever generates a schema or a manual from the
fields, ``wants`` is the same in an operator's words.

The surprise: fields return plain values, but what they *name* has to be found again, generically.  So every
name that a field reads is also noted in the :class:`Reader` of the load under way (:func:`reading`), together
with the flow and step it stands in.
"""

from __future__ import annotations

import datetime as dt
import difflib
import itertools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import marshmallow as ma
import phonenumbers
from holidays.registry import COUNTRIES

from callcontrol.routing import hours as clock
from callcontrol.routing import nodes, prose, shapes
from callcontrol.routing.codes import problem
from callcontrol.routing.countries import country_name
from callcontrol.routing.hours import Hours, HoursError
from callcontrol.routing.model import (
    CallerList,
    Edge,
    File,
    Place,
    Problem,
    Prompt,
    Reference,
    Stage,
    Target,
    Text,
)
from callcontrol.routing.nodes import Broken, Scalar, Tree, quoted
from callcontrol.routing.nodes import Mapping as MappingNode
from callcontrol.routing.nodes import Sequence as SequenceNode
from callcontrol.routing.shapes import Known, Shape

T = TypeVar("T")
U = TypeVar("U")

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
EXTENSION = re.compile(r"[0-9]{1,6}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
#: Words that an edge reads as an end, not as a name.
SPECIAL = ("hangup", "return")
#: What a key in a queue may lead to besides: the outcome of its step.
LEFT = "left"
#: Variables that every call has; no step can set the first two.
BUILT_IN = ("caller", "called", "language")
#: A variable's value, bytes of UTF-8; see ``state.py`` for the reason.
LONGEST_VALUE = 64
#: Characters of a text that is spoken.
LONGEST_PROMPT = 2000
SOUND_ENDINGS = (".wav", ".mp3", ".ogg")
#: Times over midnight that last longer were probably meant the other way round, minutes.
LONGEST_NIGHT = 16 * 60
#: Suggestions looked for in one load: each looks at every known name.
MOST_SUGGESTIONS = 200
#: Names that are compared with one that is unknown; among more only those that differ in a letter are found.
MOST_COMPARED = 200

_LETTERS = string.ascii_lowercase + string.digits + "_-/"
_SOUND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}\.(wav|mp3|ogg)")
_OTHER_SOUND = re.compile(r"\S+\.(flac|m4a|aac|wma|opus|gsm|aiff?|au|amr)", re.IGNORECASE)
_HOLE = re.compile(r"\{([^{}]*)\}")
_DURATION = re.compile(
    r"(?:([0-9]{1,4}(?:\.[0-9])?)h)? ?(?:([0-9]{1,4}(?:\.[0-9])?)m)? ?(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)s)?"
)
_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{2,24}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_URL = re.compile(r"https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:[/?][!-~]*)?")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{1,2}:[0-9]{2})")
_CODE = re.compile(r"[*#][0-9*#]{1,7}")
#: How a telephone number and a sound file are written.
DIALLED, SOUND = _NUMBER.pattern, _SOUND.pattern
#: The same for an editor, which has no reader: texts that are clean, and whose braces hold variables.
_CLEAN = r"(?![\s\S]*\$\{)[\s\S]*\S[\s\S]*"
_HOLES = r"(?:[^{}]|\{[a-z][a-z0-9_]{0,31}\})*"
_STRANGE_FILE = (
    r"(?!\s*\S*[/\\]\S*\.(?:wav|mp3|ogg)\s*$)"
    r"(?!\s*\S+\.(?:flac|m4a|aac|wma|opus|gsm|aiff?|au|amr)\s*$)"
    r"(?!\s*[\w.-]{1,20} [\w. -]{0,30}\.(?:wav|mp3|ogg)\s*$)"
)


# --------------------------------------------------------------------------------------- one load's notes


@dataclass(slots=True)
class Reader:
    """What one load notes while fields are read.  ``flows``: every flow's step names, known beforehand."""

    country: str | None = None
    flows: Mapping[str, frozenset[str]] = field(default_factory=dict)
    flow: str | None = None
    step: str | None = None
    person: str | None = None
    queue: str | None = None
    callers: str | None = None
    references: list[Reference] = field(default_factory=list)
    #: Variables that get a value here.
    assigned: list[Reference] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def refer(self, kind: str, name: str, node: Tree) -> None:
        """Note a name that must exist, or a number that is not the company's own."""
        self.references.append(
            Reference(kind, name, node.place, self.flow, self.step, self.person, self.queue, self.callers)
        )

    def assign(self, name: str, node: Tree, kind: str = "variable") -> None:
        """Note a variable that gets a value; ``kind`` as in Reference."""
        self.assigned.append(Reference(kind, name, node.place, self.flow, self.step))


_READER: ContextVar[Reader] = ContextVar("reader")


@contextmanager
def reading(reader: Reader) -> Iterator[Reader]:
    """Fields that are read inside note their names in ``reader``."""
    token = _READER.set(reader)
    try:
        yield reader
    finally:
        _READER.reset(token)


# -------------------------------------------------------------------------------------------- mistakes


class Wrong(ma.ValidationError):
    """A value that cannot be read.  No problems: they have been reported already."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(list(problems))
        self.problems = problems


def wrong(code: str, node: Tree, message: str) -> Wrong:
    """One mistake at ``node``."""
    return Wrong(problem(code, node.place, message))


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most probably means, or None."""
    return _closest(name, known if isinstance(known, frozenset) else frozenset(known))


@lru_cache(maxsize=256)  # the same mistake is often made for every person
def _closest(name: str, known: frozenset[str]) -> str | None:
    if len(known) > MOST_COMPARED:
        return min(_one_letter_away(name) & known, default=None)
    names = sorted(known)
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if found:
        return found[0]
    folded = {known.lower(): known for known in names}
    return folded.get(name.lower().strip().replace(" ", "_"))


def _one_letter_away(name: str) -> set[str]:
    """What ``name`` may have been meant for with a letter too many, too few, wrong, or two in the wrong order."""
    if len(name) > 2 * LONGEST_VALUE:
        return set()
    halves = [(name[:i], name[i:]) for i in range(len(name) + 1)]
    found = {begin + end[1:] for begin, end in halves} | {name.lower()}
    found |= {begin + end[1] + end[0] + end[2:] for begin, end in halves if len(end) > 1}
    for one in _LETTERS:
        found |= {begin + one + end for begin, end in halves} | {begin + one + end[1:] for begin, end in halves}
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message: ``; did you mean "greet"?``, or nothing."""
    found = closest(name, known)
    return f"; did you mean {quoted(found)}?{stranger(name).replace(';', '', 1)}" if found else ""


def each(items: Iterable[T], read: Callable[[T], Any]) -> list[Any]:
    """``read`` of every item; raises one Wrong with the problems of all."""
    values: list[Any] = []
    problems: list[Problem] = []
    failed = False
    for item in items:
        try:
            values.append(read(item))
        except Wrong as error:
            failed = True
            problems.extend(error.problems)
    if failed:
        raise Wrong(*problems)
    return values


def both(first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """The results of two readings; raises one Wrong with the problems of both."""
    values = each((first, second), lambda read: read())
    return values[0], values[1]


def _what(node: Tree) -> str:
    return {Scalar: "text", MappingNode: "a mapping", SequenceNode: "a list"}.get(type(node), "this")


# ----------------------------------------------------------------------------------------- mappings


@cache
def schema_of(fields: type[ma.Schema]) -> ma.Schema:
    """The one instance of a schema: making one costs more than a load."""
    return fields()


def load_fields(
    fields: type[ma.Schema], given: Mapping[str, Tree], at: Place, what: str, *, damaged: bool = False
) -> tuple[dict[str, Any], list[Problem], bool]:
    """Read ``given`` (known names only) by ``fields``.  If the mapping is ``damaged`` nothing is called missing.

    Returns the values that could be read, all problems, and whether nothing is missing among the values (a
    value whose problem was reported before is missing without a problem of its own).
    """
    schema = schema_of(fields)
    try:
        return schema.load(given), [], True
    except ma.ValidationError as error:
        problems: list[Problem] = []
        for name, said in error.messages_dict.items():
            for item in said:
                if isinstance(item, Problem):
                    problems.append(item)
                elif not damaged:  # marshmallow's own word: the field is required
                    wants = getattr(schema.fields[name], "wants", "")
                    problems.append(problem("E302", at, f"{what} needs {quoted(name)}: {wants}"))
        return dict(error.valid_data or {}), problems, False


def options(fields: type[ma.Schema], node: Tree, what: str) -> dict[str, Any]:
    """Read a mapping of options; raises Wrong with everything that is wrong in it."""
    known = schema_of(fields).fields
    if isinstance(node, Scalar):
        names = [name for name, field_ in known.items() if field_.required] or list(known)[:1]
        shape = ", ".join(f"{name}: …" for name in names)
        raise wrong("E303", node, f"{what} is written as {{{shape}}}, not as text")
    given = entries(node, what)
    others: Mapping[str, str] = getattr(fields, "others", {})
    read = {key.text: value for key, value in given if key.text in known}
    problems = []
    for key, _ in given:
        if key.text not in known:
            hint = did_you_mean(others.get(key.text, key.text), known)
            problems.append(problem("E301", key.place, f"{what} has no option {quoted(key.text)}{hint}"))
    if problems:
        read |= meant_by(given, known, others)
    values, more, whole = load_fields(fields, read, node.place, what, damaged=_damaged(node))
    if problems or not whole:
        raise Wrong(*problems, *more)
    return values


def default(field: ma.fields.Field[Any]) -> str:
    """What an option is when nothing is written, as one would write it; "": nothing."""
    found = field.load_default
    if field.required or callable(found) or found in (None, ma.missing) or found == () or found == {}:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return spoken(found) if isinstance(found, float) else str(found)


def options_shape(fields: type[ma.Schema], known: Known) -> Shape:
    """The JSON Schema of a mapping of options, with the words of its class for whoever hovers over one."""
    declared: Mapping[str, ma.fields.Field[Any]] = fields._declared_fields
    sentences = prose.read(fields, declared).sentences
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, field_ in declared.items() if field_.required],
        "properties": {
            name: described(field_, name, sentences.get(name, ""), known) for name, field_ in declared.items()
        },
    }


def described(field_: ma.fields.Field[Any], name: str, sentence: str, known: Known) -> Shape:
    """One option's shape with what an editor shows of it: a title, a description, its default, samples."""
    if not isinstance(field_, Kind):
        raise TypeError(f"{name} is no kind: nothing says what may be written")
    shape = {"title": name, **field_.shape(known)}
    wants = field_.wants.strip()
    said = [prose.sentence(sentence), f"Write {wants}." if wants and not isinstance(field_, OptionsField) else ""]
    usual = default(field_)
    if usual:
        said.append(f"Without it: {usual}.")
        shape["default"] = {"true": True, "false": False}.get(usual, int(usual) if usual.isdecimal() else usual)
    about = prose.parse(field_.about).paragraphs
    shape["description"] = "\n\n".join(prose.plain(part) for part in (*said, *about[:1]) if part)
    if field_.samples and "examples" not in shape:
        found = (nodes.plain(nodes.read(sample, "")[0]) for sample in field_.samples)
        # Editors offer them: a mapping they cannot write, and an extension without quotes is an integer to them.
        shape["examples"] = [int(one) if one.isdecimal() else one for one in found if isinstance(one, str)]
    return shape


def meant_by(
    given: Iterable[tuple[Scalar, Tree]], known: Iterable[str], others: Mapping[str, str] | None = None
) -> dict[str, Tree]:
    """The known names that unknown ones probably mean: they are broken, not missing as well.

    ``others``: what other systems call some of them.
    """
    names, found, words = set(known), {key.text for key, _ in given}, others or {}
    meant = {closest(words.get(key.text, key.text), names): value for key, value in given if key.text not in names}
    return {
        name: Broken(value.path, value.line, value.column)
        for name, value in meant.items()
        if name is not None and name not in found
    }


def _damaged(node: Tree) -> bool:
    return isinstance(node, MappingNode) and node.damaged


def entries(node: Tree, what: str) -> list[tuple[Scalar, Tree]]:
    """The items of a mapping; raises Wrong for anything else."""
    if isinstance(node, Broken):
        raise Wrong()
    if not isinstance(node, MappingNode):
        hint = ""
        if isinstance(node, SequenceNode) and node.items and all(isinstance(one, MappingNode) for one in node.items):
            hint = ": leave out the dashes, or write { } in place of [ ]"
        raise wrong("E303", node, f"{what} is written as name: value, not as {_what(node)}{hint}")
    return node.items


def some_entries(node: Tree, what: str) -> list[tuple[Scalar, Tree]]:
    """The items of a mapping; raises Wrong for anything else, and for one without any."""
    given = entries(node, what)
    if not given:  # an entry that could not be read has been reported
        raise Wrong() if _damaged(node) else wrong("E303", node, f"{what} is empty")
    return given


# ------------------------------------------------------------------------------------------- texts


class Kind(ma.fields.Field[Any]):
    """A marshmallow field whose input is a node.  ``read`` does the work and may be used by itself.

    For the manual: ``about`` says to an operator what the kind is and how it is written, unless ``wants`` has said
    it all, ``samples`` are values in YAML, and ``options`` is the schema of what may be written in the long form.
    """

    kind: ClassVar[str] = "text"
    wants: str = "text"
    about: ClassVar[str] = ""
    samples: ClassVar[tuple[str, ...]] = ()
    options: type[ma.Schema] | None = None
    #: Whether joiners may stand inside its words, since people hear or read them and nothing is named by them.
    joins: ClassVar[bool] = False

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return self.read(value)

    def read(self, node: Tree) -> Any:
        """The value of ``node``; raises Wrong."""
        raise NotImplementedError

    def shape(self, known: Known) -> Shape:
        """What may be written, as JSON Schema: all that :meth:`read` accepts, and as little else as can be said."""
        raise NotImplementedError

    def text(self, node: Tree) -> str:
        """The text of ``node``; raises Wrong if it is a list or a mapping, or has joiners that do not belong there."""
        if isinstance(node, Scalar):
            if not self.joins and (hidden := nodes.joiner(node.text)):
                message = (
                    f"in this word hides {hidden}, which cannot be seen; it may stand in texts and names of people"
                )
                raise wrong("E115", node, message)
            return node.text
        if isinstance(node, Broken):
            raise Wrong()
        raise wrong("E303", node, f"{self.wants} is wanted here, not {_what(node)}")

    def refer(self, kind: str, name: str, node: Tree) -> None:
        """Note a name that must exist."""
        _READER.get().refer(kind, name, node)

    def expected(self, code: str, node: Tree, why: str = "") -> Wrong:
        """The mistake ``"x" is not <wants>``."""
        text = quoted(node.text) if isinstance(node, Scalar) else _what(node)
        seen = _misleading(node.text) if isinstance(node, Scalar) else ""
        return wrong(code, node, f"{text} is not {self.wants}{seen or why}")


def _misleading(text: str) -> str:
    """What the eye does not see about a text that should be a word or a number; nothing if there is nothing."""
    if text[:1] in "“”„«‘’‚" and len(text) > 1:
        return "; those are not the quotes of a keyboard: write it in plain ones"
    return stranger(text)


def stranger(text: str) -> str:
    """The letter of another alphabet that hides among Latin ones or digits, for the end of a message."""
    if text.isascii() or not re.search("[A-Za-z0-9]", text):
        return ""
    found = re.search("[\u0370-\u04ff]", text)
    if found is None:
        return ""
    alphabet = "Greek" if found[0] < "\u0400" else "Cyrillic"
    return f"; its {quoted(found[0])} (character {found.start() + 1}) is {alphabet}"


def _clean(node: Tree, text: str, longest: int) -> str:
    """Free text on one line; raises Wrong if it is empty, long, hostile or cut short by a comment."""
    if isinstance(node, Scalar) and node.cut:
        raise wrong(
            "E117",
            node,
            f"the text ends with {quoted(text[-20:])} because a # begins a comment; put it in quotes, "
            "or two spaces before the comment",
        )
    if "${" in text:
        raise wrong("E310", node, "${ is not allowed in text: the switch would execute it")
    hidden = nodes.unseen(text.replace("\n", " ").replace("\r", " "))
    if hidden:
        raise wrong("E310", node, f"the text contains {hidden}, which controls something or cannot be seen")
    text = " ".join(text.split())
    if not text:
        raise wrong("E310", node, "the text is empty")
    if len(text) > longest:
        raise wrong("E310", node, f"the text has {len(text)} characters; {longest} is the most here")
    return text


class TextField(Kind):
    """Free text on one line, ``longest`` characters at most."""

    about = "Free text. Lines are joined; put it in quotes when it holds a colon, a hash or braces."
    samples = ("Acme Windows", '"Doors: sale #1"')
    joins = True

    def __init__(self, longest: int = 200, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def read(self, node: Tree) -> str:
        return _clean(node, self.text(node), self.longest)

    def shape(self, known: Known) -> Shape:
        return shapes.text(_CLEAN, self.wants, "number", word=True, least=-1e300)


class ChoiceField(Kind):
    """One of a few words."""

    kind = "choice"

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words
        self.wants = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text not in self.words:
            hint = did_you_mean(text, self.words)
            raise wrong("E304", node, f"{quoted(text)} is not one of: {', '.join(self.words)}{hint}")
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.choice(self.words, f"one of: {', '.join(self.words)}")


class YesNoField(Kind):
    """``true`` or ``false``."""

    kind = "yesno"
    wants = "true or false"

    def read(self, node: Tree) -> bool:
        text = self.text(node)
        if text not in ("true", "false"):
            meant = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
            found = meant.get(text.lower()) or {"true": "true", "false": "false"}.get(text.lower())
            raise self.expected("E304", node, f"; write {found}" if found else "")
        return text == "true"

    def shape(self, known: Known) -> Shape:
        return shapes.text("true|false", self.wants, "boolean")


class CountField(Kind):
    """A whole number from ``low`` to ``high``."""

    kind = "count"

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high
        self.wants = f"a whole number from {low} to {high}"

    def read(self, node: Tree) -> int:
        text = self.text(node)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not self.low <= int(text) <= self.high:
            raise self.expected("E305", node)
        return int(text)

    def shape(self, known: Known) -> Shape:
        number = shapes.text("[0-9]{1,9}", self.wants, "integer", most=self.high)
        return {**number, "minimum": self.low}


class DurationField(Kind):
    """A duration from ``low`` to ``high`` seconds; the value is seconds."""

    kind = "duration"
    about = "A length of time: hours, minutes, seconds, alone or together, always with their letter."
    samples = ("15s", "0.5s", "1h 30m")

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high
        self.wants = f"a duration from {spoken(low)} to {spoken(high)}, such as {spoken(max(low, min(15, high)))}"

    def read(self, node: Tree) -> float:
        text = self.text(node)
        value = seconds_of(text)
        if value is None:
            hint = f"; {text} of what? {text}s is seconds, {text}m minutes" if text.isdecimal() else ""
            unit = re.fullmatch(r"([0-9]{1,4}) ?(s|m|h)(ec|econd|in|inute|our|r)?s?\.?", text.lower())
            hint = f"; write {unit[1]}{unit[2]}" if unit else hint
            raise self.expected("E306", node, hint if len(text) < 12 else "")
        if not self.low <= value <= self.high:
            raise self.expected("E306", node)
        return value

    def shape(self, known: Known) -> Shape:
        part, fine = "[0-9]{1,4}(?:\\.[0-9])?", "[0-9]{1,6}(?:\\.[0-9]{1,3})?"
        return shapes.text(f"(?=.*[hms])(?:{part}h)? ?(?:{part}m)? ?(?:{fine}s)?", self.wants)


def seconds_of(text: str) -> float | None:
    """``1h 30m``, ``45s``, ``0.5s`` as seconds; None if it is no duration."""
    found = _DURATION.fullmatch(text)
    if not text.strip() or not found:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def spoken(seconds: float) -> str:
    """Seconds as operators write them: ``1h 30m``, ``45s``, ``0.5s``."""
    whole = int(seconds)
    parts = [f"{whole // 3600}h", f"{whole % 3600 // 60}m", f"{seconds % 60:g}s"]
    return " ".join(part for part in parts if part[:-1] != "0") or "0s"


class DigitsField(Kind):
    """How many digits: ``4-8`` or ``4``; the value is (least, most)."""

    kind = "digits"
    about = "How many digits: the least and the most, or one number for both."
    samples = ("4-8", "6")
    wants = "a number of digits, such as 4 or 4-8 (32 at most)"

    def read(self, node: Tree) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,2})(?: ?- ?([0-9]{1,2}))?", self.text(node))
        if not found:
            raise self.expected("E314", node)
        least, most = int(found[1]), int(found[2] or found[1])
        if not 1 <= least <= most <= 32:
            raise self.expected("E314", node, "; the smaller one first" if least > most else "")
        return least, most

    def shape(self, known: Known) -> Shape:
        return shapes.text("[0-9]{1,2}(?: ?- ?[0-9]{1,2})?", self.wants, "integer", most=32)


class NameField(Kind):
    """A name that the operator gives."""

    kind = "name"
    about = "A name that you give: a small letter, then small letters, digits, _ or -, 32 characters at most."
    samples = ("sales", "on_call-2")
    wants = "a name: a small letter, then small letters, digits, _ or -, at most 32"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not NAME.fullmatch(text):
            raise self.expected("E309", node, _better(text, NAME))
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.text(NAME.pattern, self.wants, word=True)


class SkillField(NameField):
    """A skill: a name that is compared with others of its sort.  ``has``: an agent has it, else a caller needs it."""

    def __init__(self, *, has: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.has = has

    def read(self, node: Tree) -> str:
        skill = super().read(node)
        self.refer("can" if self.has else "skill", skill, node)
        return skill


def _better(text: str, shape: re.Pattern[str]) -> str:
    better = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")
    return f"; {better} would be one" if shape.fullmatch(better) and better != text else ""


class EmailField(Kind):
    """An e-mail address (the common part of RFC 5321; no quoted local parts)."""

    kind = "email"
    wants = "an e-mail address"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if len(text) > 254 or not _EMAIL.fullmatch(text):
            raise self.expected("E319", node)
        return text

    def shape(self, known: Known) -> Shape:
        return {**shapes.text(_EMAIL.pattern, self.wants), "maxLength": 254}


class CodeField(Kind):
    """A code that a phone dials: ``*21``."""

    kind = "code"
    about = (
        "What a telephone of the company dials: a star or a hash, then one to seven digits, stars or hashes. In quotes."
    )
    samples = ('"*21"',)
    wants = 'a code for a telephone: a star or hash, then digits, such as "*21"'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not _CODE.fullmatch(text):
            raise self.expected("E325", node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.text(_CODE.pattern, self.wants)


class CountryField(Kind):
    """An ISO 3166 country of two capital letters."""

    kind = "country"
    wants = "a country of two capital letters, such as RU, IT, GB"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text not in phonenumbers.SUPPORTED_REGIONS:
            known = _countries().get(text.lower().replace(" ", "_"), text.upper())
            if known in phonenumbers.SUPPORTED_REGIONS:
                raise self.expected("E320", node, f"; did you mean {known}?")
            if re.fullmatch("[A-Z]{2}", text):
                message = f"there is no country {quoted(text)}; a country has the two letters of its code, such as RU"
                raise wrong("E320", node, message)
            raise self.expected("E320", node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.choice(sorted(phonenumbers.SUPPORTED_REGIONS), self.wants)


@cache
def _countries() -> Mapping[str, str]:
    """The code of a country by its name and its code of three letters, in small letters."""
    found = {str(word).lower(): str(entry[1]) for entry in COUNTRIES.values() for word in entry}
    return {**{name: str(entry[1]) for name, entry in COUNTRIES.items()}, **found, "uk": "GB", "england": "GB"}


class ZoneField(Kind):
    """A time zone of the IANA database."""

    kind = "timezone"
    wants = "a time zone, such as Europe/Moscow"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text not in _zones():
            if re.fullmatch(r"[A-Z]{2,5}|(UTC|GMT)? ?[+-][0-9:]+", text):
                why = "; zones are named by a city, since letters and offsets know no summer time"
                raise self.expected("E320", node, why)
            cities = {zone.rpartition("/")[2]: zone for zone in sorted(_zones()) if "/" in zone}
            zone = cities.get(text.title().replace(" ", "_")) or closest(text, _zones())
            raise self.expected("E320", node, f"; did you mean {quoted(zone)}?" if zone else "")
        ZoneInfo(text)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.named(known, "timezone", "[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", self.wants)


#: What people write for a language who do not know its code.
_LANGUAGES = {
    "english": "en",
    "russian": "ru",
    "german": "de",
    "french": "fr",
    "italian": "it",
    "spanish": "es",
    "portuguese": "pt",
    "polish": "pl",
    "ukrainian": "uk",
    "chinese": "zh",
}


class LanguageField(Kind):
    """A language tag.  Without ``known`` it has to be among the company's languages."""

    kind = "language"
    wants = "a language, such as en or pt-BR"

    def __init__(self, *, known: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.known = known

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not LANGUAGE.fullmatch(text):
            meant = _LANGUAGES.get(text.lower(), text.lower())
            hint = f"; did you mean {quoted(meant)}?" if LANGUAGE.fullmatch(meant) else ""
            raise self.expected("E320", node, hint)
        if not self.known:
            _READER.get().refer("language", text, node)
        return text

    def shape(self, known: Known) -> Shape:
        if self.known:  # here they are named for the first time
            return shapes.text(LANGUAGE.pattern, self.wants, word=True)
        return shapes.named(known, "language", LANGUAGE.pattern, self.wants)


class MomentField(Kind):
    """A local date and time, naive: ``2026-11-23 09:00``."""

    kind = "moment"
    about = "A date and a time of day on the company's clocks."
    samples = ("2026-11-23 09:00",)
    wants = "a date and time, such as 2026-11-23 09:00"

    def read(self, node: Tree) -> dt.datetime:
        found = _MOMENT.fullmatch(self.text(node))
        if not found:
            raise self.expected("E326", node)
        hour, _, minute = found[2].partition(":")
        try:
            day = dt.date.fromisoformat(found[1])
            moment = dt.datetime.combine(day, dt.time(int(hour), int(minute)))
        except ValueError:
            raise self.expected("E326", node, ": there is no such day or time") from None
        if not clock.FIRST_YEAR <= moment.year <= clock.LAST_YEAR:
            raise self.expected("E326", node, f": the year is not {clock.FIRST_YEAR} to {clock.LAST_YEAR}")
        return moment

    def shape(self, known: Known) -> Shape:
        return shapes.text("20[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9]{1,2}:[0-9]{2}", self.wants)


# ------------------------------------------------------------------------------------------ containers


class ListField(Kind):
    """A list of one kind; a single value stands for a list of one.  The value is a tuple."""

    kind = "list"

    def __init__(self, item: Kind, *, twice: bool = False, empty: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.item, self.twice, self.empty = item, twice, empty
        self.wants = f"a list; each item {item.wants}"

    def read(self, node: Tree) -> tuple[Any, ...]:
        items = listed(node)
        if not items and not self.empty:
            raise wrong("E303", node, "the list is empty")
        try:
            values = each(items, self.item.read)
        except Wrong:
            if isinstance(node, Scalar) and (better := _as_list(node.text)):
                raise wrong("E303", node, f"{quoted(node.text)} is one text; a list is written {better}") from None
            raise
        if not self.twice:
            _no_repeats(items, values)
        return tuple(values)

    def shape(self, known: Known) -> Shape:
        return shapes.one_or_list(self.item.shape(known), empty=self.empty)


def _as_list(text: str) -> str:
    """A list as it is written, of a text that was meant as one; nothing if it hardly was."""
    parts = [part.strip("-").strip() for part in re.split(r"[,;]\s*", text.strip("()"))]
    if len(parts) == 1 and re.fullmatch(r"(-?[0-9]+ )*-?[0-9]+", text):
        parts = [part.strip("-") for part in text.split()]
    if len(parts) < 2 and not re.match(r"-\S", text):
        return ""
    return f"[{', '.join(parts)}]" if all(re.fullmatch(r"[\w+.@*-]+", part) for part in parts) else ""


def _no_repeats(items: Sequence[Tree], values: Sequence[Any]) -> None:
    """Raise Wrong for the first of ``values`` that stands there again; ``items`` are their nodes."""
    known: set[Any] = set()
    for i, value in enumerate(values):
        try:
            again = value in known
            known.add(value)
        except TypeError:  # what has a mapping in it; there are never many
            again = value in values[:i]
        if again:
            raise wrong("E323", items[i], "the same stands in this list twice")


def listed(node: Tree) -> list[Tree]:
    """The items of a list, or the one value that stands for a list of one."""
    if isinstance(node, Broken):
        raise Wrong()
    return node.items if isinstance(node, SequenceNode) else [node]


class OptionsField(Kind):
    """A mapping read by a schema; the value is a dict."""

    kind = "options"
    options: type[ma.Schema]

    def __init__(self, fields: type[ma.Schema], what: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options, self.what = fields, what
        known = schema_of(fields).fields
        names = [name for name, field_ in known.items() if field_.required] or list(known)
        self.wants = f"{{{', '.join(f'{name}: …' for name in names)}}}"

    def read(self, node: Tree) -> dict[str, Any]:
        return options(self.options, node, self.what)

    def shape(self, known: Known) -> Shape:
        return options_shape(self.options, known)


class MapField(Kind):
    """A mapping of one kind to another; the value is a dict in the file's order."""

    kind = "map"

    def __init__(self, key: Kind, value: Kind, what: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key, self.value, self.what = key, value, what
        self.wants = what

    def read(self, node: Tree) -> dict[Any, Any]:
        found: dict[Any, Any] = {}

        def one(item: tuple[Scalar, Tree]) -> None:
            key, value = both(lambda: self.key.read(item[0]), lambda: self.value.read(item[1]))
            if key in found:
                raise wrong("E323", item[0], f"{quoted(item[0].text)} means what another entry means already")
            found[key] = value

        given = some_entries(node, self.what)
        each(given, one)
        return found

    def shape(self, known: Known) -> Shape:
        return shapes.keyed(self.key.shape(known), self.value.shape(known))


# --------------------------------------------------------------------------------- names of other things


class NamedField(Kind):
    """The name of something that another section defines; ``refers`` is the kind of the reference."""

    refers: ClassVar[str]

    def read(self, node: Tree) -> str:
        text = self.text(node)
        _READER.get().refer(self.refers, text, node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.named(known, self.refers, NAME.pattern, self.wants)


class FlowField(NamedField):
    """The name of a flow."""

    kind = refers = "flow"
    wants = "the name of a flow"


class QueueField(NamedField):
    """The name of a queue."""

    kind = refers = "queue"
    wants = "the name of a queue"


class ExtensionField(Kind):
    """An extension; with ``exists`` there has to be a person behind it."""

    kind = "extension"
    about = "The short number of a person: one to six digits. Wherever people are named, they are named by it."
    samples = ("301",)
    wants = "an extension: one to six digits"

    def __init__(self, *, exists: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.exists = exists

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not EXTENSION.fullmatch(text):
            entry = "; a person's entry begins with it, and the name stands inside: 301: {name: …}"
            raise self.expected("E308", node, "; people are named by their extension" if self.exists else entry)
        if self.exists:
            _READER.get().refer("person", text, node)
        return text

    def shape(self, known: Known) -> Shape:
        if self.exists and known.get("person"):
            return shapes.choice(known["person"], self.wants)
        return shapes.text(EXTENSION.pattern, self.wants, "integer", most=999_999)


class PeopleField(ListField):
    """Extensions; a single one stands for a list of one."""

    kind = "people"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ExtensionField(), **kwargs)
        self.wants = "a list of extensions"


class EdgeField(Kind):
    """Where an outcome leads."""

    kind = "edge"
    about = (
        "Where a call goes: a step of the same flow, a flow (its start), a step of another flow as flow/step, "
        "hangup, which ends the call, or return, which goes back to the step that runs this flow."
    )
    samples: ClassVar[tuple[str, ...]] = ("greet", "reception", "reception/sales", "hangup", "return")
    wants = "the name of a step or flow, flow/step, hangup or return"

    def read(self, node: Tree) -> Edge:
        text, place, reader = self.text(node), node.place, _READER.get()
        if text in SPECIAL:
            return Edge(None, None, text, place)
        reader.refer("edge", text, node)
        flow, slash, step = text.partition("/")
        if slash:
            return Edge(flow, step, None, place)
        if reader.flow is not None and text in reader.flows.get(reader.flow, ()):
            return Edge(None, text, None, place)
        return Edge(text, None, None, place) if text in reader.flows else Edge(None, text, None, place)

    def shape(self, known: Known) -> Shape:
        either = f"{NAME.pattern}(?:/{NAME.pattern})?"
        return shapes.named(known, "edge", either, self.wants)


_EDGE = EdgeField()


class _EdgesField(Kind):
    """A mapping of names to edges, in order; the value is a tuple of pairs."""

    refers: ClassVar[str]

    def read(self, node: Tree) -> tuple[tuple[str, Edge], ...]:
        def one(item: tuple[Scalar, Tree]) -> tuple[str, Edge]:
            _READER.get().refer(self.refers, item[0].text, item[0])
            return item[0].text, _EDGE.read(item[1])

        given = some_entries(node, self.wants)
        return tuple(each(given, one))

    def shape(self, known: Known) -> Shape:
        return shapes.keyed(shapes.named(known, self.refers, NAME.pattern, self.wants), _EDGE.shape(known))


class CallerEdgesField(_EdgesField):
    """List of callers -> edge; the first list that has the caller decides."""

    kind, refers = "caller_edges", "list"
    wants = "a mapping of lists to steps"


class HoursEdgesField(_EdgesField):
    """Hours -> edge; the first that is on decides."""

    kind, refers = "hours_edges", "hours"
    wants = "a mapping of hours to steps"


class _KeyField(Kind):
    kind = "key"
    wants = "a key of a telephone: 0 to 9, star or hash"

    def __init__(self, *, longer: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longer = longer  # what is said of several digits

    def read(self, node: Tree) -> str:
        text = self.text(node)
        key = {"star": "*", "hash": "#"}.get(text, text)
        if len(key) != 1 or key not in "0123456789*#":
            meant = {"asterisk": "star", "pound": "hash", "hashtag": "hash", "sharp": "hash"}.get(text.lower())
            hint = f"; did you mean {quoted(meant)}?" if meant else ""
            raise self.expected("E313", node, f"; {self.longer}" if key.isdecimal() else hint)
        return key

    def shape(self, known: Known) -> Shape:
        return shapes.text("[0-9*#]|star|hash", self.wants, "integer", most=9)


def _by_key(shape: Shape) -> Shape:
    """The mapping with each key by its name, so that an editor can suggest them."""
    (edge,) = shape["patternProperties"].values()
    return {**shape, "properties": dict.fromkeys([*"1234567890", "star", "hash"], edge)}


class KeysField(MapField):
    """Key -> edge: ``0`` to ``9``, ``star``, ``hash``."""

    kind = "keys"
    about = "For each key of the telephone where it leads: 0 to 9, star, hash."
    samples = ("{1: sales, 2: service, star: greet}",)

    def __init__(self, **kwargs: Any) -> None:
        key = _KeyField(longer="a menu takes one key, for more use extensions or collect")
        super().__init__(key, EdgeField(), "a mapping of keys to steps", **kwargs)

    def shape(self, known: Known) -> Shape:
        return _by_key(super().shape(known))


class _LeavingField(EdgeField):
    """Where a key leads that a waiting caller presses: an edge, or ``left``, the outcome of the step."""

    kind = "leaving_edge"
    samples: ClassVar[tuple[str, ...]] = (*EdgeField.samples, LEFT)
    wants = f"{EdgeField.wants}, or {LEFT}"

    def read(self, node: Tree) -> Edge:
        text, flows = self.text(node), _READER.get().flows
        if text == LEFT:
            return Edge(None, None, LEFT, node.place)
        if closest(text, (LEFT,)) and not any(text in (flow, *steps) for flow, steps in flows.items()):
            raise wrong("E201", node, f"there is no step or flow named {quoted(text)}; did you mean {quoted(LEFT)}?")
        return super().read(node)

    def shape(self, known: Known) -> Shape:
        steps = known.get("leaving")
        return shapes.choice((*steps, LEFT), self.wants) if steps else super().shape({})


class LeavingKeysField(MapField):
    """Key -> edge or ``left``, for callers who wait in a queue."""

    kind = "leaving_keys"
    about = (
        "For each key of the telephone where it leads: 0 to 9, star, hash. ``left`` is the outcome of that name of the "
        "step in which the caller waits. A queue stands in no flow: there a step is written as flow/step."
    )
    samples = ("{1: message, star: left}", "{0: reception/anna}")

    def __init__(self, **kwargs: Any) -> None:
        key = _KeyField(longer="a caller who waits presses one key")
        super().__init__(key, _LeavingField(), "a mapping of keys to steps", **kwargs)

    def shape(self, known: Known) -> Shape:
        return _by_key(super().shape(known))


class HoursNameField(NamedField):
    """The name of some hours."""

    kind = refers = "hours"
    wants = "the name of some hours"


# ------------------------------------------------------------------------------------------- numbers


class NumberField(Kind):
    """A telephone number; the value is E.164.  Local ones are read by the company's country."""

    kind = "number"
    about = (
        "A telephone number, best in full with its plus and in quotes. Without a plus it is read as one dials it "
        "in the company's country. Spaces, dots, hyphens and brackets do not matter."
    )
    samples = ('"+74951234567"', '"+7 (495) 123-45-67"')
    wants = 'a telephone number; write it as "+74951234567"'

    def read(self, node: Tree) -> str:
        return self.number(node, self.text(node))

    def number(self, node: Tree, text: str) -> str:
        """``text`` as E.164; a warning if its country has no such numbers."""
        reader = _READER.get()
        if not _NUMBER.fullmatch(text):
            raise self.expected("E307", node)
        if not text.startswith("+") and reader.country is None:
            raise self.expected("E307", node)
        try:
            found = phonenumbers.parse(text, None if text.startswith("+") else reader.country)
        except phonenumbers.NumberParseException:
            raise self.expected("E307", node, "; no country has this prefix") from None
        why = phonenumbers.is_possible_number_with_reason(found)
        if why == phonenumbers.ValidationResult.TOO_SHORT:
            raise self.expected("E307", node, "; digits are missing")
        if why == phonenumbers.ValidationResult.TOO_LONG:
            raise self.expected("E307", node, "; it has too many digits")
        if why not in (
            phonenumbers.ValidationResult.IS_POSSIBLE,
            phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY,
        ):
            why_not = "; write + in place of 00" if text.startswith("00") else "; its length is wrong for its country"
            raise self.expected("E307", node, why_not)
        number = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
        if not _E164.fullmatch(number):
            raise self.expected("E307", node)
        if not phonenumbers.is_valid_number(found):
            country = country_name(phonenumbers.region_code_for_country_code(found.country_code or 0))
            reader.warnings.append(
                problem("W505", node.place, f"{quoted(text)} does not look like a number of {country}; a typing error?")
            )
        return number

    def shape(self, known: Known) -> Shape:
        return shapes.text(_NUMBER.pattern, self.wants, "number")


_NUMBER_FIELD = NumberField()


class OwnNumberField(NumberField):
    """A number that the company owns."""

    kind = "own_number"

    def read(self, node: Tree) -> str:
        number = super().read(node)
        _READER.get().refer("number", number, node)
        return number

    def shape(self, known: Known) -> Shape:
        return super().shape(known)


class OutsideField(NumberField):
    """A number that the routing itself may ring."""

    def number(self, node: Tree, text: str) -> str:
        number = super().number(node, text)
        _READER.get().refer("outside", number, node)
        return number


_OUTSIDE = OutsideField()


class ShownField(NumberField):
    """A number that people called are shown."""

    def read(self, node: Tree) -> str:
        number = super().read(node)
        _READER.get().refer("shown", number, node)
        return number


class PatternField(Kind):
    """A caller's number, or its beginning with a star: ``+7812*``; ``otherwise`` where a default is allowed."""

    kind = "pattern"
    about = "A caller's number, or the beginning of one with a star behind it."
    samples = ('"+74951234567"', '"+7812*"')
    wants = 'a number such as "+74951234567", or its beginning with a star: "+7495*"'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text.endswith("*"):
            if not re.fullmatch(r"\+[0-9]{0,14}", text[:-1]):
                raise self.expected("E327", node, "; a beginning has a + and digits only")
            return text
        if "*" in text:
            raise self.expected("E327", node, "; a star stands at the end")
        return _NUMBER_FIELD.number(node, text)

    def shape(self, known: Known) -> Shape:
        return shapes.text(rf"{_NUMBER.pattern}|\+[0-9]{{0,14}}\*", self.wants, "number")


class CallersField(Kind):
    """A list of callers: patterns and ``anonymous``; the value is a CallerList without its name."""

    kind = "callers"
    wants = "a list of callers' numbers, beginnings with a star, or anonymous"
    about = """Callers by their numbers, for ``caller`` steps.

    Each list has numbers, beginnings with a star, and ``anonymous``: callers who withhold their number, or whose
    number cannot be read.

    ```yaml
    lists:
      vip: ["+79160000001", "+7812*"]
      blocked: ["+882*", anonymous]
    ```
    """

    def read(self, node: Tree) -> CallerList:
        items = listed(node)
        if not items:
            raise wrong("E303", node, "the list is empty")
        pattern = PatternField()
        found: list[str] = each(
            items, lambda item: "anonymous" if self.text(item) == "anonymous" else pattern.read(item)
        )
        known: set[str] = set()
        for entry, item in zip(found, items, strict=True):
            if entry in known:
                raise wrong("E323", item, "the same stands in this list twice")
            known.add(entry)
            self.refer("listed", entry, item)
        return CallerList(
            name="",
            numbers=frozenset(entry for entry in found if entry[-1] != "*" and entry != "anonymous"),
            prefixes=tuple(entry[:-1] for entry in found if entry[-1] == "*"),
            anonymous="anonymous" in found,
        )

    def shape(self, known: Known) -> Shape:
        callers = shapes.text(rf"{_NUMBER.pattern}|\+[0-9]{{0,14}}\*|anonymous", self.wants, "number")
        return shapes.one_or_list(callers)


class EmergencyField(Kind):
    """An emergency number: digits as they are dialled."""

    kind = "emergency"
    wants = "an emergency number: two to six digits"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not re.fullmatch(r"[0-9]{2,6}", text):
            raise self.expected("E307", node)
        _READER.get().refer("emergency", text, node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.text("[0-9]{2,6}", self.wants, "integer", most=999_999)


# ------------------------------------------------------------------------------------------- targets


class TargetField(Kind):
    """Whom to dial.  ``only`` says which sorts are allowed: person, group, number, variable.

    Without ``rings`` nobody is dialled here: it is only said who was.
    """

    kind = "target"
    about = (
        "Whom to ring: an extension, a group, a number, or a variable alone. A variable holds an extension or the "
        "e-mail of a person, or a number that policy allows; digits that a caller typed ring extensions only."
    )
    samples = ("301", "service", '"+79161112233"', '"{manager}"')

    def __init__(self, *only: str, rings: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.numbers = _OUTSIDE if rings else _NUMBER_FIELD
        self.only = only or ("person", "group", "number", "variable")
        words = {
            "person": "an extension",
            "group": "a group",
            "number": "a number",
            "variable": 'a "{variable}"',
        }
        names = [words[sort] for sort in self.only]
        self.wants = f"{', '.join(names[:-1])} or {names[-1]}"

    def read(self, node: Tree) -> Target:
        text, place, reader = self.text(node), node.place, _READER.get()
        target = self._target(text, node, place)
        for sort in ("person", "group", "number", "variable"):
            name = getattr(target, sort)
            if name is None:
                continue
            if sort not in self.only:
                raise self.expected("E317", node)
            if sort != "number":
                reader.refer(sort, name, node)
        return target

    def _target(self, text: str, node: Tree, place: Place) -> Target:
        if EXTENSION.fullmatch(text):
            return Target(person=text, place=place)
        if "{" in text or "}" in text:
            name = text[1:-1]
            if text != f"{{{name}}}" or not VARIABLE.fullmatch(name):
                raise self.expected("E317", node, '; a variable stands alone: "{manager}"')
            return Target(variable=name, place=place)
        if text[:1] == "+" or _NUMBER.fullmatch(text):
            if "number" not in self.only:
                raise self.expected("E317", node)
            return Target(number=self.numbers.number(node, text), place=place)
        if not NAME.fullmatch(text):
            people = text[:1].isupper() and "person" in self.only
            raise self.expected("E317", node, "; people are dialled by their extension" if people else "")
        return Target(group=text, place=place)

    def shape(self, known: Known) -> Shape:
        people, groups = known.get("person", ()), known.get("group", ())
        ways = {
            "person": "|".join(people) or EXTENSION.pattern,
            "group": "|".join(groups) or NAME.pattern,
            "number": f"(?!{EXTENSION.pattern}$){DIALLED}",
            "variable": rf"\{{{VARIABLE.pattern}\}}",
        }
        types = {"person": "integer", "number": "number"}
        also = [types[sort] for sort in self.only if sort in types]
        pattern = "|".join(ways[sort] for sort in self.only)
        shape = shapes.text(pattern, self.wants, *also, word="group" in self.only)
        if not people:
            return shape
        names = people if "group" not in self.only else (*people, *groups)
        return shapes.with_more(shape, shapes.only_extensions(people, self.wants), names)


class ExtensionsField(ListField):
    """People and groups whose extensions a caller may dial."""

    kind = "extensions"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(TargetField("person", "group"), **kwargs)
        self.wants = "a list of extensions and groups"


class _StageFields(ma.Schema):
    """Each stage is written so.

    to: whom the stage rings
    ring: how long, with ``in-order`` for each target
    strategy: ``together`` rings all at once, ``in-order`` one after the other
    """

    to = ListField(TargetField(), required=True)
    ring = DurationField(5, 300, required=True)
    strategy = ChoiceField("together", "in-order", load_default="together")


class StagesField(Kind):
    """One target, or a list of stages ``{to, ring, strategy}``.

    A single target gives one stage with ``ring`` 0.0: the step's own ``ring`` and ``strategy`` hold.
    """

    kind = "stages"
    about = (
        "Whom to ring: one target, or a list of stages that are rung one after the other. A later stage ends the "
        "earlier."
    )
    samples = ("301", "service", "[{to: service, ring: 15s}, {to: [301, oncall], ring: 25s}]")
    wants = 'an extension, a group, a number, a "{variable}", or a list of stages {to: …, ring: 15s}'
    options = _StageFields

    def read(self, node: Tree) -> tuple[Stage, ...]:
        if isinstance(node, Scalar):
            return (Stage((TargetField().read(node),), 0.0),)
        if isinstance(node, MappingNode):
            raise wrong("E303", node, "stages are a list: put [ ] around {to: …, ring: …}")
        items = listed(node)
        if not items:
            raise wrong("E303", node, "the list of stages is empty")
        if any(isinstance(item, Scalar) for item in items):
            raise wrong(
                "E303",
                node,
                "a list here is a list of stages; to ring several together write [{to: [301, 302], ring: 30s}]",
            )
        return tuple(each(items, self._stage))

    def _stage(self, node: Tree) -> Stage:
        found = options(_StageFields, node, "a stage")
        return Stage(found["to"], found["ring"], found["strategy"])

    def shape(self, known: Known) -> Shape:
        stage = options_shape(_StageFields, known)
        return shapes.or_(TargetField().shape(known), {"type": "array", "items": stage, "minItems": 1})


# -------------------------------------------------------------------------------------- speech and variables


class PromptField(Kind):
    """Text, a sound file, or one of them for each language.  ``position``: ``{position}`` is known here."""

    kind = "prompt"
    about = (
        "What is heard: text that is spoken, a sound file of the company's directory under sounds, or either for "
        "each language. Text may hold variables in braces; then it needs quotes. A sound is one word that ends in "
        ".wav, .mp3 or .ogg."
    )
    samples = ("We are back at two.", '"Welcome to {brand}."', "night.wav", "{en: Good evening., ru: night.wav}")
    wants = "text, a sound file, or a mapping of languages to them"
    joins = True

    def __init__(self, *, position: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.position = position

    def read(self, node: Tree) -> Prompt:
        if not isinstance(node, MappingNode):
            return Prompt({"": self._saying(node)})
        given = [key for key, _ in some_entries(node, "the mapping of languages")]
        if not any(LANGUAGE.fullmatch(key.text) for key in given):
            message = "what is heard is a text or a sound file alone, or one for each language: {en: …, ru: …}"
            raise wrong("E303", given[0], f"{quoted(given[0].text)} is no language; {message}")
        language = LanguageField()

        def one(item: tuple[Scalar, Tree]) -> tuple[str, Text | File]:
            return both(lambda: language.read(item[0]), lambda: self._saying(item[1]))

        return Prompt(dict(each(node.items, one)))

    def _saying(self, node: Tree) -> Text | File:
        text = _clean(node, self.text(node), LONGEST_PROMPT)
        if text.lower().endswith(SOUND_ENDINGS) and " " not in text:
            return self._file(node, text)
        if _OTHER_SOUND.fullmatch(text):
            raise wrong("E312", node, f"{quoted(text)}: sounds are .wav, .mp3 or .ogg files")
        if re.fullmatch(r"[\w. -]{1,60}\.(wav|mp3|ogg)", text):
            raise wrong("E312", node, f"{quoted(text)}: the name of a sound file has no spaces")
        variables = holes(node, text, known=("position",) if self.position else ())
        for name in variables:
            self.refer("spoken", name, node)
        return Text(text, variables, node.place)

    def _file(self, node: Tree, text: str) -> File:
        if "/" in text or "\\" in text:
            raise wrong("E312", node, f"{quoted(text)}: the file's name only; it lies in the company's sounds")
        if not _SOUND.fullmatch(text):
            why = "write the ending in small letters" if text != text.lower() else "letters, digits, . _ -"
            raise wrong("E312", node, f"{quoted(text)} is not the name of a sound file: {why}")
        _READER.get().refer("sound", text, node)
        return File(text, node.place)

    def shape(self, known: Known) -> Shape:
        there = known.get("sound", ())
        files = "|".join(re.escape(name) for name in there)
        other = rf"(?!\s*(?!(?:{files})\s*$)\S+\.(?:wav|mp3|ogg)\s*$)" if there else ""
        pattern = f"{_STRANGE_FILE}{other}(?={_CLEAN}$){_HOLES}"
        saying = shapes.text(pattern, self.wants, "number", word=True, least=-1e300)
        if there:
            saying = shapes.with_more(saying, {}, there)
        languages = shapes.keyed(LanguageField().shape(known), saying)
        return shapes.or_(saying, languages)


def holes(node: Tree, text: str, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The variables in ``text``, in order, each once; they are noted as references unless ``known``."""
    found: list[str] = []
    for hole in _HOLE.finditer(text):
        name = hole[1]
        if not VARIABLE.fullmatch(name):
            better = re.sub(r"[^a-z0-9_]+", "_", name.lower().strip())
            hint = f"; did you mean {{{better}}}?" if VARIABLE.fullmatch(better) else ""
            raise wrong("E311", node, f"{quoted(hole[0])} holds no variable{hint}")
        if name not in found:
            found.append(name)
            if name not in known:
                _READER.get().refer("variable", name, node)
    rest = _HOLE.sub("", text)
    if "{" in rest or "}" in rest:
        raise wrong("E311", node, "a brace without its partner; a variable is written {name}")
    return tuple(found)


class VariableField(Kind):
    """The name of a variable that gets a value."""

    kind = "variable"
    about = (
        "A name for what the call remembers: a small letter, then small letters, digits or _. It is named without "
        "braces where it gets a value, with braces where the value is used. Every call has {caller}, {called} and "
        "{language}. A value has 64 bytes at most, all values of a call together 160."
    )
    samples = ("order",)
    wants = "the name of a variable: a small letter, then small letters, digits or _"

    def __init__(self, *, answer: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answer = answer  # whether the value comes from outside

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not VARIABLE.fullmatch(text):
            bare = text.strip("{}")
            braces = f"; write {bare}, without braces" if VARIABLE.fullmatch(bare) else ""
            raise self.expected("E309", node, braces or _better(text, VARIABLE))
        if text in (*BUILT_IN, "position"):
            raise wrong("E315", node, f"{quoted(text)} belongs to the call; take another name")
        _READER.get().assign(text, node, "answer" if self.answer else "variable")
        return text

    def shape(self, known: Known) -> Shape:
        own = "|".join((*BUILT_IN, "position"))
        return shapes.text(f"(?!(?:{own})$){VARIABLE.pattern}", self.wants, word=True)


class VariablesField(ListField):
    """Names of variables that get the values of an answer."""

    kind = "variables"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(VariableField(answer=True), **kwargs)
        self.wants = "a list of names of variables"


class AssignmentsField(Kind):
    """Variable -> value, as it stands.  ``language`` may be set, to one of the company's languages."""

    kind = "assignments"
    about = (
        "Variables, each with its value, which is taken as it stands. Setting language changes what the caller hears."
    )
    samples = ("{brand: Acme Windows, language: ru}",)
    wants = "a mapping of variables to values"

    def read(self, node: Tree) -> dict[str, str]:
        given = some_entries(node, self.wants)
        return dict(each(given, self._one))

    def _one(self, item: tuple[Scalar, Tree]) -> tuple[str, str]:
        name, node = item
        if name.text == "language":
            return "language", LanguageField().read(node)
        variable = VariableField().read(name)
        value = _clean(node, self.text(node), 1000)
        if "{" in value or "}" in value:
            raise wrong("E311", node, "a value is taken as it stands: no {variables} here")
        size = len(value.encode())
        if size > LONGEST_VALUE:
            raise wrong("E316", node, f"the value has {size} bytes; {LONGEST_VALUE} is the most")
        return variable, value

    def shape(self, known: Known) -> Shape:
        value = shapes.text(
            r"(?![\s\S]*[{}])[\s\S]*\S[\s\S]*", "text without braces", "number", word=True, least=-1e300
        )
        variables = shapes.keyed(VariableField().shape(known), value)
        return {**variables, "properties": {"language": LanguageField().shape(known)}}


class UrlField(Kind):
    """A web address with ``{variables}`` behind the host."""

    kind = "url"
    about = (
        "A web address, http or https. Variables may stand behind the host; names and passwords may not stand in it."
    )
    samples = ("https://crm.acme.test/orders/{order}",)
    wants = "a web address, such as https://crm.example.com/orders/{order}"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if "${" in text:
            raise wrong("E310", node, "${ is not allowed in text: the switch would execute it")
        if len(text) > 500:
            raise wrong("E318", node, f"the address has {len(text)} characters; 500 is the most")
        if re.match(r"https?://[^/?]*@", text):
            raise wrong("E318", node, "a web address here has no name or password: routing holds no secrets")
        if re.match(r"https?://[^/?]*\{", text):
            raise wrong("E318", node, "the host of a web address cannot come from a variable")
        if not _URL.fullmatch(_HOLE.sub("x", text)):
            raise self.expected("E318", node)
        holes(node, text)
        return text

    def shape(self, known: Known) -> Shape:
        end = rf"(?:[^\s{{}}]|\{{{VARIABLE.pattern}\}})*"
        shape = shapes.text(rf"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?(?:[/?]{end})?", self.wants)
        return {**shape, "maxLength": 500}


# --------------------------------------------------------------------------------------------- hours


class HoursField(Kind):
    """A company's hours; the value is an Hours without name, zone and public holidays."""

    kind = "hours"
    wants = "hours: days and times, such as {mon-fri: 09:00-18:00, holidays: closed}"
    about = """Times that are on or off, for ``hours`` steps; or a switch that is on or off by hand.

    Days are ``mon`` to ``sun``, rows of them such as ``mon-fri``, dates, rows of dates, and ``holidays``, the public
    ones of the country. Times are one or a list of ``09:00-18:00``, ``all day`` or ``closed``. A date beats holidays,
    holidays beat weekdays; without ``holidays`` they are days like others. Times over midnight, such as
    ``22:00-06:00``, belong to the day on which they begin. A day that is not named is off.

    A switch has a code instead: whoever dials it from a telephone of the company turns the switch over.

    ```yaml
    hours:
      office: {mon-fri: [09:00-13:00, 14:00-18:00], sat: 10:00-14:00, holidays: closed, 2027-01-11: 10:00-15:00}
      night: {mon-sun: 22:00-06:00}
      new_year: {2026-12-31..2027-01-08: all day}
      shut: {switch: "*21"}
    ```
    """

    def shape(self, known: Known) -> Shape:
        wants = "a time such as 09:00-18:00, closed, or all day"
        hour = "(?:[01]?[0-9]|2[0-4]):[0-5][0-9]"
        times = shapes.one_or_list(shapes.text(f"{hour} ?- ?{hour}|closed|all day", wants))
        day = "(?:" + "|".join(clock.WEEKDAYS) + ")"
        date = "20[0-9]{2}-[0-9]{2}-[0-9]{2}"
        days = f"^(?:{day}(?:-{day})?| *{date} *(?:\\.\\. *{date} *)?)$"
        named = dict.fromkeys(("holidays", "mon-fri", "sat", "sun", *clock.WEEKDAYS[:5]), times)
        schedule = {"properties": named, "patternProperties": {days: times}}
        switch = {"properties": {"switch": CodeField().shape(known)}}
        return {
            "type": "object",
            "minProperties": 1,
            "properties": {**named, **switch["properties"]},
            "if": {"required": ["switch"]},
            "then": {**switch, "additionalProperties": False},
            "else": {**schedule, "additionalProperties": False},
        }

    def read(self, node: Tree) -> Hours:
        given = some_entries(node, self.wants)
        names = [key.text for key, _ in given]
        if "switch" in names:
            if len(names) > 1:
                raise wrong("E324", node, "a switch has no times: hours are either a switch or a schedule")
            return Hours("", "", switch=CodeField().read(given[0][1]), place=node.place)
        week: list[tuple[clock.Span, ...]] = [()] * 7
        taken: dict[int, str] = {}
        found: list[tuple[clock.Dates, Scalar]] = []
        holidays: tuple[clock.Span, ...] | None = None

        def one(item: tuple[Scalar, Tree]) -> None:
            nonlocal holidays
            key, value = item
            days, spans = both(lambda: self._days(key), lambda: self._spans(value))
            if days is None:
                holidays = spans
            elif isinstance(days, clock.Dates):
                found.append((clock.Dates(days.first, days.last, spans), key))
            else:
                for day in days:
                    if day in taken:
                        other = f"{clock.WEEKDAYS[day]} stands here and in {quoted(taken[day])}"
                        raise wrong("E323", key, other)
                    taken[day] = key.text
                    week[day] = spans

        each(given, one)
        found.sort(key=lambda pair: pair[0].first)
        for (before, _), (after, key) in itertools.pairwise(found):
            if after.first <= before.last:
                raise wrong("E323", key, f"{after.first} stands in another entry too")
        return Hours("", "", tuple(week), holidays, tuple(dates for dates, _ in found), frozenset(), None, node.place)

    def _days(self, key: Scalar) -> tuple[int, ...] | clock.Dates | None:
        """Weekdays, dates without times, or None for ``holidays``."""
        if key.text == "holidays":
            return None
        week = clock.weekdays(key.text)
        if week is not None:
            return week
        try:
            days = clock.dates(key.text)
        except HoursError as error:
            raise wrong("E322", key, f"{quoted(key.text)}: {error}") from None
        if days is None:
            short = "-".join(part.strip()[:3].lower() for part in re.split(r"-|–", key.text))
            known = (*clock.WEEKDAYS, "mon-fri", "sat-sun", "holidays", "switch")
            guess = f"; did you mean {quoted(short)}?" if clock.weekdays(short) else did_you_mean(key.text, known)
            dotted = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", key.text)
            guess = f"; did you mean {dotted[3]}-{dotted[2]:0>2}-{dotted[1]:0>2}?" if dotted else guess
            raise wrong("E322", key, f"{quoted(key.text)} is not a day: mon, mon-fri, holidays, 2027-01-11{guess}")
        return clock.Dates(*days, ())

    def _spans(self, node: Tree) -> tuple[clock.Span, ...]:
        items = listed(node)
        if not items:
            raise wrong("E303", node, "the list of times is empty; write: closed")
        words = [self.text(item) for item in items]
        if words == ["closed"]:
            return ()
        if words == ["all day"]:
            return (clock.ALL_DAY,)
        if "closed" in words or "all day" in words:
            raise wrong("E324", node, "closed and all day stand alone")
        spans: list[clock.Span] = sorted(each(items, self._span), key=lambda span: span.start)
        for first, second in itertools.pairwise(spans):
            if second.start < first.end:
                raise wrong("E323", node, f"{first} and {second} overlap")
        return tuple(spans)

    def _span(self, node: Tree) -> clock.Span:
        text = self.text(node)
        try:
            span = clock.span(text)
        except HoursError as error:
            message = f"{quoted(text)} is not a time: {error}"
            raise wrong("E322", node, f"{message}{_time_meant(text)}") from None
        if span.end > clock.DAY and span.end - span.start > LONGEST_NIGHT:
            _READER.get().warnings.append(problem("W526", node.place, _long_night(span)))
        return span


def _long_night(span: clock.Span) -> str:
    """What to say of times over midnight that are hardly a night."""
    begins, ends, long = span.start, span.end - clock.DAY, spoken((span.end - span.start) * 60)
    meant = clock.Span(ends, begins)  # the wrong way round
    if begins < clock.DAY // 2:  # 09:00-06:00, by a clock of twelve hours
        meant = clock.Span(begins, ends + clock.DAY // 2)
    until = f"from {clock.time_of_day(begins)} until {clock.time_of_day(ends)} of the next day"
    return f"{span} is on {until}, {long}; did you mean {meant}?"


def _time_meant(text: str) -> str:
    """``; did you mean "09:00-18:00"?`` for times as they are written elsewhere."""
    one = r"([0-9]{1,2})(?:[:.]([0-9]{2}))?"
    found = re.fullmatch(rf"{one} ?(?:-|–|—|to) ?{one}", text)
    if not found:
        return ""
    better = f"{found[1]:0>2}:{found[2] or '00'}-{found[3]:0>2}:{found[4] or '00'}"
    try:
        clock.span(better)
    except HoursError:
        return ""
    return f"; did you mean {quoted(better)}?"
