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
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from callcontrol.routing.codes import problem
from callcontrol.routing.model import JOINER, JOINING, Place, Problem

#: Bytes of UTF-8; 5,000 people are under one million.
LARGEST_FILE = 4_000_000
#: The language itself needs eight.
DEEPEST = 32
#: Scalars, lists and mappings of one file.
MOST_NODES = 500_000
#: Problems of one sort that are reported one by one.
MOST_ALIKE = 50
#: Mistakes after which the rest is not read: far more than are shown, and a large file may be nothing else.
MOST_MISTAKES = 1000
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

# Cc without tab and line ends, Cf (bidi, zero width, soft hyphen, tags), Zl, Zp, surrogates, non-characters; joiners
# but for those inside words that are spelt with them.
_UNSEEN = re.compile(
    f"(?<![{JOINING}])[\u200c\u200d]|[\u200c\u200d](?![{JOINING}])|"
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Possessive: a line of a million tabs is looked at once, and not a million times.
_TAB = re.compile(r"^ *+\t[ \t]*+(?=[^\s#])", re.MULTILINE)
_HASH_LINE = re.compile(r"^[ ]+(#)[ ]?:(?=\s)", re.MULTILINE)
_HASH_IN_FLOW = re.compile(r"[{\[,][ ]*(#)[ ]*(?=[:,\]}])")
#: A name whose value YAML takes for a comment, because it begins with a hash that nothing follows but a word.
_HASH_VALUE = re.compile(r"[^\s:]+:[ ]+(#[^\s#].*)")
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


def joiner(text: str) -> str | None:
    """The first joiner inside a word of ``text``, as ``U+200C``: right in what is heard and read, and in no word."""
    found = None if text.isascii() else JOINER.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def decode(raw: bytes, path: str) -> tuple[str | None, list[Problem]]:
    """A file's bytes as text, or the problem with them."""
    start = Place(path, 1, 1)
    if len(raw) > LARGEST_FILE:
        return None, [
            problem("E112", start, f"the file has {len(raw)} bytes; {LARGEST_FILE} is the most for a company")
        ]
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or raw[:200].count(b"\0") > len(raw[:200]) // 3:
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
    problems, text, papered = _seen(text, path)
    tabs = _tabs(text, path)
    repairs: dict[int, Problem] = {}
    while True:
        builder = _Builder(text, path, frozenset(repairs), papered)
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


def _seen(text: str, path: str) -> tuple[list[Problem], str, list[int]]:
    """Problems with characters, the text with letters in their place, so that parsing goes on, and where they are."""
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
    if not problems:
        return [], text, []
    papered = [found.start() for found in _UNSEEN.finditer(text)]
    return problems, _UNSEEN.sub(lambda found: " " if found.start() == 0 else "x", text), papered


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

    def __init__(self, text: str, path: str, repaired: frozenset[int], papered: list[int]) -> None:
        self.text = text
        self.path = path
        self.problems: list[Problem] = []
        self.root: Tree | None = None
        self.gave_up = False
        #: (first line, last line) of every text that has several, from 1.
        self.spans: list[tuple[int, int]] = []
        self._repaired = repaired
        self._papered = papered  # sorted
        self._lines: list[str] | None = None
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
        self.gave_up |= len(self.problems) >= MOST_MISTAKES

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
        repaired = mark.index in self._repaired or self._has_papered(mark.index, end.index)
        if event.style in ("'", '"'):
            if self.text[end.index : end.index + 1] == "#":
                self._stuck(end)
            hidden = unseen(event.value) or ("a NUL" if "\0" in event.value else None)
            if hidden:
                self._say("E115", node, f"in this text hides {hidden}, which cannot be seen; remove it")
                marked = True
        elif event.style not in ("|", ">"):
            if not event.value and not marked:
                self._empty(node, mark.index)
                return
            if not repaired:
                self._plain(node, end.index)
        self._attach(
            Broken(self.path, node.line, node.column) if marked or repaired else node,
            key=node,
            end=end.index,
        )

    def _has_papered(self, begin: int, end: int) -> bool:
        """Whether a letter stands there in place of what cannot be seen: it has been reported."""
        return bool(self._papered) and bisect_left(self._papered, begin) < bisect_left(self._papered, end)

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
            comment = _HASH_VALUE.match(self._rest_of(key))
            if colon:
                hint = "a space is missing behind the colon"
            elif comment:
                hint = f"a # begins a comment; as text write {quoted(comment[1].rstrip())}"
            else:
                hint = "write one or remove the line"
            self._say("E103", key, f"{quoted(key.text)} has no value; {hint}")
            if colon:
                key.text = name
        if frame.bare:
            self._bare(frame)
            node = Broken(self.path, node.line, node.column)
        self._attach(node)

    def _rest_of(self, key: Scalar) -> str:
        """The line of a name, from there on."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines[key.line - 1][key.column - 1 :] if key.line <= len(self._lines) else ""

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
    ("did not find expected key", "this does not fit what stands before it; look at indentation and quotes"),
    ("expected <block end>", "this does not fit what stands before it; look at indentation and quotes"),
    ("expected <document start>", "this does not fit what stands before it; look at indentation and quotes"),
    ("did not find expected '-' indicator", 'this does not fit the list above: each item begins with "- "'),
    (
        "block sequence entries are not allowed",
        'a list with "- " begins on a line of its own, below the name',
    ),
    ("unknown escape character", "a \\ in double quotes begins an escape; use single quotes, or write \\\\"),
    ("did not find expected node content", "a value is missing here, or there is a comma too many"),
    ("did not find expected digit or", "this is no block text; put the text in quotes"),
    ("did not find expected comment or line break", "text that begins with | or > needs quotes around it"),
    ("undefined tag handle", "a bare ! begins a tag, and routing has none; put text in quotes"),
    ("unknown directive", "a line that begins with % is for YAML itself; put text in quotes"),
)
#: How YAML's errors about what fits nowhere are worded, by libyaml and by PyYAML.
_OUT_OF_PLACE = ("expected key", "expected <block end>", "expected <document start>")
_MERGE = re.compile(r"^(?:<{7}|={7}|>{7})(?=[ \n])", re.MULTILINE)
#: What other languages write before a comment.
_OTHER_COMMENT = re.compile(r"\s*(//|/\*|;|--(?!-))")
# A quoted text, a comment, or a run of anything else; a quote begins text only where a value may begin.
_QUOTED = re.compile(
    r"""(?<![^\s\[{,:(-])(?:"(?:[^"\\]|\\.)*+(?:"|\Z)|'(?:[^']|'')*+(?:'|\Z))|(?<!\S)\#[^\n]*|[^\s"'#]++|.""",
    re.DOTALL,
)


def _explained(text: str, path: str, error: yaml.MarkedYAMLError) -> Problem:
    """YAML's error in an operator's words."""
    said = error.problem or "this is not YAML"
    mark, context = error.problem_mark, error.context_mark
    if mark is None:
        return problem("E101", Place(path, 1, 1), f"this is not YAML: {said}")
    place = Place(path, mark.line + 1, mark.column + 1)
    line = _line(text, mark)
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
    if "unknown escape" not in said and (found := _closed_late(text, path, mark)):
        return found
    if ("expected ',' or '}'" in said or "expected ',' or ']'" in said) and context is not None:
        return _in_brackets(text, path, mark, context, "{" if "'}'" in said else "[")
    if merge := _MERGE.search(text, 0, min(len(text), mark.index + len(line))):
        message = "a change is half merged here: keep one of the two, and remove the lines <<<<<<<, ======= and >>>>>>>"
        return problem("E101", _place(text, path, merge.start()), message)
    for opening, closing in ("{}", "[]"):
        if line.count(closing) > line.count(opening) and closing in text[mark.index - 1 : mark.index + 1]:
            return problem("E101", place, f'there is a "{closing}" too many in this line')
    if "could not find expected ':'" in said and context is not None:
        return _no_colon(text, path, context)
    out_of_place = any(words in said for words in _OUT_OF_PLACE)
    if out_of_place and line[: mark.column].rstrip().endswith(('"', "'")) and line[mark.column :].strip():
        goes_on = 'text goes on behind its closing quote: put all of it in quotes, and write a " inside as \\"'
        return problem("E101", place, _apostrophe(text, mark) or goes_on)
    if found := _other_comment(text, path, mark) or _indented(text, path, said, mark):
        return found
    if "cannot start any token" in said:
        character = quoted(text[mark.index : mark.index + 1])
        return problem("E101", place, f"text that begins with {character} needs quotes around it")
    for words, ours in _EXPLAINED:
        if words in said:
            return problem("E106" if "tag" in words else "E101", place, ours)
    return problem("E101", place, f"this is not YAML: {said}")


def _line(text: str, mark: Any) -> str:
    return text[text.rfind("\n", 0, mark.index) + 1 : (text + "\n").index("\n", mark.index)]


def _closed_late(text: str, path: str, mark: Any) -> Problem | None:
    """Text in quotes that goes on for lines and ends where YAML stopped: its closing quote was lost long before."""
    begin = text.rfind("\n", 0, mark.index) + 1
    for found in _QUOTED.finditer(text):
        if found.start() > mark.index:
            return None
        if found[0][0] in "\"'" and "\n" in found[0] and found.end() > begin:
            place = _place(text, path, found.start())
            end = _place(text, path, found.end() - 1)
            message = f"the quote that opens here is not closed before line {end.line}: a closing quote is missing"
            return problem("E101", place, message)
    return None


def _in_brackets(text: str, path: str, mark: Any, context: Any, opening: str) -> Problem:
    """What is wrong between brackets or braces."""
    place = Place(path, mark.line + 1, mark.column + 1)
    closing = {"{": "}", "[": "]"}[opening]
    comment = re.search(r"(?<=[ :,{\[])#\S[^\n]*", _line(text, context)[context.column :])
    if context.line != mark.line and comment:
        message = f'a bare # begins a comment, so that the "{opening}" before it is not closed; put text in quotes'
        return problem("E109", Place(path, context.line + 1, context.column + comment.start() + 1), message)
    if context.line != mark.line:
        message = (
            f'the "{opening}" that opens here is not closed before line {mark.line + 1}: '
            f'a "{closing}" or a comma is missing'
        )
        return problem("E101", Place(path, context.line + 1, context.column + 1), message)
    here = text[mark.index : mark.index + 1]
    if here == ":":
        message = 'a colon does not fit here: a comma is missing before the name, or text with ": " in it needs quotes'
    elif here in ("]", "}"):
        message = f'the "{opening}" of column {context.column + 1} is closed by a "{here}": write "{closing}"'
    else:
        message = _apostrophe(text, mark) or f'a comma or "{closing}" is missing before this'
    return problem("E101", place, message)


def _apostrophe(text: str, mark: Any) -> str:
    """What is said of a quote between two letters; nothing if there is none."""
    around = text[max(0, mark.index - 2) : mark.index + 1]
    found = len(around) == 3 and around[1] == "'" and around[0].isalnum() and around[2].isalnum()
    return "this apostrophe ends the text in single quotes: put the text in double quotes" if found else ""


def _no_colon(text: str, path: str, begin: Any) -> Problem:
    """A line that should be ``name: value``; ``begin`` is where it begins, YAML notices it only in the next one."""
    place = Place(path, begin.line + 1, begin.column + 1)
    line = _line(text, begin)[begin.column :].strip()
    stuck = re.fullmatch(r"([\w-]+)([:=]| =)\s*(\S.*)", line)
    if stuck:
        why = "a space is missing behind the colon" if stuck[2] == ":" else "a name is followed by a colon"
        return problem("E101", place, f"{why}: {quoted(f'{stuck[1]}: {stuck[3]}')[1:-1]}")
    if _OTHER_COMMENT.match(line):
        return problem("E101", place, "a comment begins with #")
    if re.fullmatch(r"[\w-]+", line):
        return problem("E101", place, f"a colon is missing behind {quoted(line)}")
    return problem("E101", place, 'a "name: value" is wanted here; a colon, or the space behind it, is missing')


def _other_comment(text: str, path: str, mark: Any) -> Problem | None:
    """A comment as other languages write it, above the place where YAML stopped."""
    lines = text[: text.rfind("\n", 0, mark.index) + 1].split("\n")[:-1]
    for number in range(len(lines), max(0, len(lines) - 3), -1):
        found = _OTHER_COMMENT.match(lines[number - 1])
        if found:
            return problem("E101", Place(path, number, found.start(1) + 1), "a comment begins with #")
    return None


def _indented(text: str, path: str, said: str, mark: Any) -> Problem | None:
    """A line that begins where no line of its block does."""
    begin = text.rfind("\n", 0, mark.index) + 1
    own = len(text[begin:]) - len(text[begin:].lstrip(" "))
    above = [line for line in text[:begin].split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if not above or not any(words in said for words in (*_OUT_OF_PLACE, "mapping values are not allowed")):
        return None
    other = len(above[-1]) - len(above[-1].lstrip(" "))
    first = text[begin : mark.index].isspace() or not text[begin : mark.index]
    deeper = "mapping values" in said and own > other and not above[-1].rstrip().endswith(":")
    if not (deeper or (first and own != other)):
        return None
    indented = f"this line is indented by {_spaces(own)}, and the line above by {_spaces(other)}"
    message = f"{indented}: bring them into line"
    return problem("E101", Place(path, mark.line + 1, own + 1), message)


def _spaces(count: int) -> str:
    return "1 space" if count == 1 else f"{count} spaces"
