"""YAML text -> a tree of places and texts, with everything refused that would surprise an operator.

Knows YAML and nothing of telephony.  Every scalar is text: what it means is for its kind to say (loaded
values would turn ``12:30`` into 750 and ``+7916`` into an integer, and lose duplicates).

The tree is built from the parser's events with an own stack, so brackets nested ten thousand deep cost
nothing and every mistake is met, not only the first.

The surprise: some mistakes (``keys: {*: x}``) stop YAML's scanner.  Those that have one likely meaning are
reported and papered over with a letter, and the text is parsed again, so that the rest is checked too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place, Problem

#: Bytes of UTF-8; 5,000 people are under one million.
LARGEST_FILE = 4_000_000
#: The language itself needs eight.
DEEPEST = 32
#: Scalars, lists and mappings of one file.
MOST_NODES = 500_000
#: Problems of one sort that are reported one by one.
MOST_ALIKE = 50
#: Mistakes that are papered over; each costs another parsing.
MOST_REPAIRS = 10
#: Characters of an operator's text that a message quotes.
LONGEST_QUOTE = 60

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """Something in the file.  ``line`` and ``column`` count from 1."""

    path: str
    line: int
    column: int

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place(self.path, self.line, self.column)


@dataclass(slots=True)
class Scalar(Node):
    """Text.  ``cut``: unquoted, and a comment begins one space behind it, so some of it may be missing."""

    text: str
    cut: bool = False


@dataclass(slots=True)
class Mapping(Node):
    """Names and their values in the order of the file; a name is there once.

    ``damaged``: an entry was dropped because its name could not be read, so nothing can be called missing.
    """

    items: list[tuple[Scalar, Tree]] = field(default_factory=list)
    damaged: bool = False

    def get(self, name: str) -> Tree | None:
        """The value under ``name``, or None."""
        for key, value in self.items:
            if key.text == name:
                return value
        return None


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Tree] = field(default_factory=list)


@dataclass(slots=True)
class Broken(Node):
    """A value whose problem has been reported: readers say nothing more about it."""


Tree = Scalar | Mapping | Sequence | Broken

# Cc without tab and line ends, Cf (bidi, zero width, soft hyphen, tags), Zl, Zp, surrogates, non-characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Possessive: a line of a million tabs is looked at once, and not a million times.
_TAB = re.compile(r"^ *+\t[ \t]*+(?=[^\s#])", re.MULTILINE)
_HASH_LINE = re.compile(r"^[ ]+(#)[ ]?:(?=\s)", re.MULTILINE)
_HASH_IN_FLOW = re.compile(r"[{\[,][ ]*(#)[ ]*(?=[:,\]}])")
_BRACE_TEXT = re.compile(r"(?:[:\-][ ]+)\{[A-Za-z_][\w ]*\}[ ]*\S")


def quoted(text: str) -> str:
    """An operator's text for a message: on one line, in quotes, cut, nothing unseen in it."""
    if len(text) > LONGEST_QUOTE:
        text = text[: LONGEST_QUOTE - 1] + "…"
    safe = "".join(
        c if c.isprintable() and not _UNSEEN.match(c) and not _ODD_SPACE.match(c) else f"\\u{ord(c):04x}" for c in text
    )
    return f'"{safe}"'


def plain(tree: Tree | None) -> Any:
    """A tree as lists, mappings and text; None for what is broken."""
    if isinstance(tree, Scalar):
        return tree.text
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return {key.text: plain(value) for key, value in tree.items} if isinstance(tree, Mapping) else None


def unseen(text: str) -> str | None:
    """The first character of ``text`` that cannot be seen or controls something, as ``U+202E``; None: none."""
    found = _UNSEEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def decode(raw: bytes, path: str) -> tuple[str | None, list[Problem]]:
    """A file's bytes as text, or the problem with them."""
    start = Place(path, 1, 1)
    if len(raw) > LARGEST_FILE:
        return None, [
            problem("E112", start, f"the file has {len(raw)} bytes; {LARGEST_FILE} is the most for a company")
        ]
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None, [problem("E111", start, "the file is UTF-16; save it as UTF-8")]
    if raw.startswith(b"\xef\xbb\xbf"):
        return None, [
            problem("E111", start, "the file begins with a byte order mark; save it as UTF-8 without one (BOM)")
        ]
    try:
        return raw.decode("utf-8"), []
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        return None, [
            problem(
                "E111",
                Place(path, line, column),
                f"this byte ({raw[error.start]:#04x}) is not UTF-8; save the file as UTF-8",
            )
        ]


def read(text: str, path: str) -> tuple[Tree | None, list[Problem]]:
    """The tree of ``text`` and all problems; no tree when YAML itself could not be followed to the end."""
    if len(text) > LARGEST_FILE:
        return None, [
            problem(
                "E112",
                Place(path, 1, 1),
                f"the file has {len(text)} characters; {LARGEST_FILE} is the most for a company",
            )
        ]
    problems, text = _seen(text, path)
    tabs = _tabs(text, path)
    repairs: dict[int, Problem] = {}
    while True:
        builder = _Builder(text, path, frozenset(repairs))
        stopped = builder.build()
        repair = _repair(text, path, stopped, builder.open_at) if stopped is not None else None
        if repair is None or len(repairs) >= MOST_REPAIRS:
            break
        at, why = repair
        repairs[at] = why
        text = f"{text[:at]}x{text[at + 1 :]}"
    problems += [*tabs, *repairs.values(), *builder.problems]
    if stopped is None and builder.root is None and not problems:
        problems.append(problem("E103", Place(path, 1, 1), "the file is empty"))
    if stopped is None:
        problems += _hash_lines(text, path, builder.spans)
    elif not tabs:
        explained = _explained(text, path, stopped)
        same = ((found.code, found.place.line) for found in builder.problems)
        if (explained.code, explained.place.line) not in same:
            problems.append(explained)
    return (builder.root if stopped is None and not builder.gave_up else None), problems


# ----------------------------------------------------------------------------------------- before YAML


def _place(text: str, path: str, index: int) -> Place:
    return Place(path, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _seen(text: str, path: str) -> tuple[list[Problem], str]:
    """Problems with characters, and the text with letters in their place, so that parsing goes on."""
    problems = []
    for found in _few(_UNSEEN.finditer(text)):
        what = f"U+{ord(found[0]):04X}"
        if found[0] == "\ufeff" and found.start() == 0:
            message = "the file begins with a byte order mark; save it as UTF-8 without one (BOM)"
            problems.append(problem("E111", Place(path, 1, 1), message))
            continue
        message = f"here stands a character that controls something or cannot be seen ({what}); remove it"
        problems.append(problem("E115", _place(text, path, found.start()), message))
    # In place of line ends that only YAML sees as such a letter would join words; a space does not.
    return problems, _UNSEEN.sub(lambda found: " " if found.start() == 0 else "x", text) if problems else text


def _few(found: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    for _, match in zip(range(MOST_ALIKE), found, strict=False):
        yield match


def _tabs(text: str, path: str) -> list[Problem]:
    if "\t" not in text:
        return []
    return [
        problem(
            "E114",
            _place(text, path, text.index("\t", found.start())),
            "a tab in the indentation; use spaces (two for each level)",
        )
        for found in _few(_TAB.finditer(text))
    ]


# ------------------------------------------------------------------------------------------ events


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being filled."""

    node: Mapping | Sequence
    flow: bool
    index: int
    key: Scalar | None = None  # the name that waits for its value
    key_end: int = 0
    ignoring: bool = False  # the name was no word: its value is dropped
    names: dict[str, Scalar] = field(default_factory=dict)
    bare: list[Scalar] = field(default_factory=list)  # names in braces that have not even a colon
    empty: list[Scalar] = field(default_factory=list)


class _Builder:
    """One pass over the parser's events."""

    def __init__(self, text: str, path: str, repaired: frozenset[int]) -> None:
        self.text = text
        self.path = path
        self.problems: list[Problem] = []
        self.root: Tree | None = None
        self.gave_up = False
        #: (first line, last line) of every text that has several, from 1.
        self.spans: list[tuple[int, int]] = []
        self._repaired = repaired
        self._stack: list[_Frame] = []
        self._documents = 0
        self._nodes = 0

    @property
    def open_at(self) -> int | None:
        """The index of the innermost bracket that is open, or None."""
        return self._stack[-1].index if self._stack and self._stack[-1].flow else None

    def build(self) -> yaml.MarkedYAMLError | None:
        """Read everything.  Returns the error at which YAML itself stopped, if it did."""
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                if self.gave_up:
                    break
                self._event(event)
        except yaml.MarkedYAMLError as error:
            return error
        except yaml.YAMLError as error:  # the reader's, which knows no line: _seen left nothing for it
            return yaml.MarkedYAMLError(problem=str(error))
        return None

    def _say(self, code: str, node: Node, message: str) -> None:
        self.problems.append(problem(code, node.place, message))

    def _event(self, event: Any) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(event, Mapping(self.path, mark.line + 1, mark.column + 1))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(event, Sequence(self.path, mark.line + 1, mark.column + 1))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            broken = Broken(self.path, mark.line + 1, mark.column + 1)
            name = f"*{event.anchor}"
            self._say(
                "E104",
                broken,
                f'a bare * begins an alias, and routing has none; write it in quotes: "{name}"',
            )
            self._attach(broken)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._say(
                    "E107",
                    Broken(self.path, mark.line + 1, mark.column + 1),
                    "a second document (---) begins here; one file is one company",
                )
                self.gave_up = True

    def _marked(self, event: Any, node: Node) -> bool:
        """Whether the node carries an anchor or a tag; both are reported."""
        if event.anchor is not None:
            self._say(
                "E104",
                node,
                f'a bare & begins an anchor, and routing has none; as text write "&{event.anchor}" in quotes',
            )
        if event.tag is not None:
            self._say("E106", node, f"a bare ! begins a tag ({quoted(event.tag)[1:-1]}); put text in quotes")
        return event.anchor is not None or event.tag is not None

    def _scalar(self, event: Any) -> None:
        mark, end = event.start_mark, event.end_mark
        node = Scalar(self.path, mark.line + 1, mark.column + 1, event.value)
        if mark.line != end.line:
            self.spans.append((mark.line + 1, end.line + 1))
        marked = (event.anchor is not None or event.tag is not None) and self._marked(event, node)
        repaired = mark.index in self._repaired
        if event.style in ("'", '"'):
            if self.text[end.index : end.index + 1] == "#":
                self._stuck(end)
            hidden = unseen(event.value) or ("a NUL" if "\0" in event.value else None)
            if hidden:
                self._say("E115", node, f"in this text hides {hidden}, which cannot be seen; remove it")
                marked = True
        elif event.style not in ("|", ">"):
            if not event.value:
                self._empty(node, mark.index)
                return
            if not repaired:
                self._plain(node, end.index)
        self._attach(
            Broken(self.path, node.line, node.column) if marked or repaired else node,
            key=node,
            end=end.index,
        )

    def _plain(self, node: Scalar, end: int) -> None:
        if "#" in node.text:
            self._say(
                "E108",
                node,
                f"in {quoted(node.text)} a # is stuck to text; two spaces before a comment, quotes around text",
            )
        node.cut = self.text[end : end + 2] == " #"

    def _stuck(self, end: Any) -> None:
        self._say(
            "E108",
            Broken(self.path, end.line + 1, end.column + 1),
            "this comment is stuck to what stands before it; put two spaces between them",
        )

    def _empty(self, node: Scalar, index: int) -> None:
        """An empty value; reported at its name, because it has no place of its own."""
        broken = Broken(self.path, node.line, node.column)
        frame = self._stack[-1] if self._stack else None
        if frame is None:
            self.problems.append(problem("E103", Place(self.path, 1, 1), "the file is empty"))
        elif isinstance(frame.node, Sequence):
            self._say("E103", broken, "this item of the list is empty")
        elif frame.key is None and not frame.ignoring:
            self._say("E116", broken, "the name before this colon is missing")
        elif frame.key is not None:
            colon = ":" in self.text[frame.key_end : index]
            if frame.flow and not colon and ":" not in frame.key.text:
                frame.bare.append(frame.key)
            else:
                frame.empty.append(frame.key)
        self._attach(broken)

    def _begin(self, event: Any, node: Mapping | Sequence) -> None:
        self._marked(event, node)
        if len(self._stack) >= DEEPEST:
            self._say("E113", node, f"nested deeper than {DEEPEST} levels; routing needs eight")
            self.gave_up = True
            return
        self._stack.append(_Frame(node, bool(event.flow_style), event.start_mark.index))

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        node: Tree = frame.node
        if frame.flow and self.text[event.end_mark.index : event.end_mark.index + 1] == "#":
            self._stuck(event.end_mark)
        for key in frame.empty:
            name, colon, _ = key.text.partition(":")
            hint = "a space is missing behind the colon" if colon else "write one or remove the line"
            self._say("E103", key, f"{quoted(key.text)} has no value; {hint}")
            if colon:
                key.text = name
        if frame.bare:
            self._bare(frame)
            node = Broken(self.path, node.line, node.column)
        self._attach(node)

    def _bare(self, frame: _Frame) -> None:
        words = [key.text for key in frame.bare]
        if isinstance(frame.node, Mapping) and len(words) == len(frame.node.items) == 1:
            self._say(
                "E110",
                frame.node,
                f'without quotes YAML reads {{{words[0]}}} as a mapping; write "{{{words[0]}}}"',
            )
            return
        for key in frame.bare:
            self._say(
                "E110",
                key,
                f"{quoted(key.text)} stands in braces without a value; "
                "a list stands in [ ], text with a comma in quotes",
            )

    def _attach(self, node: Tree, *, key: Scalar | None = None, end: int = 0) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES and not self.gave_up:
            self._say("E112", node, f"more than {MOST_NODES} entries in one file")
            self.gave_up = True
        if not self._stack:
            if self.root is None:
                self.root = node
            return
        frame = self._stack[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.ignoring:
            frame.ignoring = False
        elif frame.key is None:
            self._name(frame, node, key, end)
        else:
            name, frame.key = frame.key, None
            frame.node.items.append((name, node))

    def _name(self, frame: _Frame, node: Tree, key: Scalar | None, end: int) -> None:
        """``node`` stands where a name belongs."""
        mapping = frame.node
        if isinstance(mapping, Sequence):
            return
        if not isinstance(node, Scalar) or key is None:
            if isinstance(node, Mapping | Sequence):
                self._say("E116", node, "a list or mapping cannot be a name; is a quote missing?")
            frame.ignoring = mapping.damaged = True
        elif node.text == "<<":
            self._say("E105", node, "routing has no merge key <<; write the entries out")
            frame.ignoring = mapping.damaged = True
        elif _ODD_SPACE.search(node.text):
            self._say("E116", node, f"in the name {quoted(node.text)} hides a space that is not a plain one")
            frame.ignoring = mapping.damaged = True
        elif node.text in frame.names:
            first = frame.names[node.text]
            self._say("E102", node, f"{quoted(node.text)} stands here twice; first in line {first.line}")
            frame.ignoring = True
        else:
            frame.names[node.text] = node
            frame.key, frame.key_end = node, end


# --------------------------------------------------------------------------------------- YAML's own errors


def _repair(text: str, path: str, error: yaml.MarkedYAMLError, open_at: int | None) -> tuple[int, Problem] | None:
    """The character behind an error that has one likely meaning, and the problem to report for it."""
    mark, context = error.problem_mark, error.context_mark
    if mark is None:
        return None
    if error.context and "alias" in error.context and context is not None:
        at = int(context.index)
        if text[at : at + 1] == "*":
            message = 'a bare * means something else to YAML; for the star key write star, for text "*"'
            return at, problem("E109", _place(text, path, at), message)
    if open_at is not None:
        for found in _HASH_IN_FLOW.finditer(text, open_at, min(len(text), mark.index + 1)):
            at = found.start(1)
            line = text[text.rfind("\n", 0, at) + 1 : at]
            if line.count('"') % 2 == 0 and line.count("'") % 2 == 0 and not re.search(r"(^|\s)#", line):
                message = 'a bare # begins a comment; for the hash key write hash, for text "#"'
                return at, problem("E109", _place(text, path, at), message)
    return None


def _hash_lines(text: str, path: str, spans: list[tuple[int, int]]) -> list[Problem]:
    """Lines ``#: step``: a comment to YAML, a key to whoever wrote it."""
    found = []
    for match in _few(_HASH_LINE.finditer(text)):
        place = _place(text, path, match.start(1))
        if not any(first < place.line <= last for first, last in spans):
            message = "this line is a comment; for the hash key write hash, for a comment a space behind #"
            found.append(problem("E109", place, message))
    return found


_EXPLAINED = (
    (
        "mapping values are not allowed",
        'a colon does not fit here: text with ": " in it needs quotes, or the line is indented too far',
    ),
    (
        "could not find expected ':'",
        'a "name: value" is wanted here; a colon, or the space behind it, is missing',
    ),
    ("did not find expected key", "this does not fit what stands before it; look at indentation and quotes"),
    ("expected <block end>", "this does not fit what stands before it; look at indentation and quotes"),
    ("did not find expected '-' indicator", 'this does not fit the list above: each item begins with "- "'),
    (
        "block sequence entries are not allowed",
        'a list with "- " begins on a line of its own, below the name',
    ),
    ("cannot start any token", "text that begins with this character needs quotes around it"),
    ("unknown escape character", "a \\ in double quotes begins an escape; use single quotes, or write \\\\"),
    ("did not find expected node content", "a value is missing here, or there is a comma too many"),
    ("did not find expected digit or", "this is no block text; put the text in quotes"),
    ("did not find expected comment or line break", "text that begins with | or > needs quotes around it"),
    ("undefined tag handle", "a bare ! begins a tag, and routing has none; put text in quotes"),
)


def _explained(text: str, path: str, error: yaml.MarkedYAMLError) -> Problem:
    """YAML's error in an operator's words."""
    said = error.problem or "this is not YAML"
    mark, context = error.problem_mark, error.context_mark
    if mark is None:
        return problem("E101", Place(path, 1, 1), f"this is not YAML: {said}")
    place = Place(path, mark.line + 1, mark.column + 1)
    line = text[text.rfind("\n", 0, mark.index) + 1 : (text + "\n").index("\n", mark.index)]
    if _BRACE_TEXT.search(line[: mark.column + 2]) or (
        "expected ',' or '}'" in said and line[mark.column : mark.column + 1] == "{"
    ):
        return problem("E110", place, 'text with {variables} needs quotes here: "Welcome to {brand}"')
    if "unexpected end of stream" in said and context is not None:
        return problem(
            "E101",
            Place(path, context.line + 1, context.column + 1),
            "the quote that opens here is never closed",
        )
    if ("expected ',' or '}'" in said or "expected ',' or ']'" in said) and context is not None:
        opening, closing = ("{", "}") if "'}'" in said else ("[", "]")
        if context.line != mark.line:
            message = (
                f'the "{opening}" that opens here is not closed before line {mark.line + 1}: '
                f'a "{closing}" or a comma is missing'
            )
            return problem("E101", Place(path, context.line + 1, context.column + 1), message)
        return problem("E101", place, f'a comma or "{closing}" is missing before this')
    for words, ours in _EXPLAINED:
        if words in said:
            return problem("E106" if "tag" in words else "E101", place, ours)
    return problem("E101", place, f"this is not YAML: {said}")
