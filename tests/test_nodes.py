"""YAML as operators write it: everything is text with a place, and every mistake is met."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.routing import nodes
from callcontrol.routing.nodes import Broken, Mapping, Scalar, Sequence


def plain(tree: Any) -> Any:
    """The tree as lists, dicts and texts."""
    if isinstance(tree, Mapping):
        return {key.text: plain(value) for key, value in tree.items}
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return tree.text if isinstance(tree, Scalar) else None


def read(text: str) -> Any:
    tree, problems = nodes.read(text, "f")
    assert problems == []
    return plain(tree)


def problems(text: str) -> list[str]:
    return [str(problem) for problem in nodes.read(text, "f")[1]]


def codes(text: str) -> list[str]:
    return [problem.code for problem in nodes.read(text, "f")[1]]


def test_every_scalar_is_the_text_that_was_written() -> None:
    text = "{a: 12:30, b: +7916, c: 301, d: 007, e: yes, f: null, g: ~, h: 1e3, i: 2026-11-23, j: 0x10, k: '5'}"
    assert list(read(text).values()) == [
        "12:30",
        "+7916",
        "301",
        "007",
        "yes",
        "null",
        "~",
        "1e3",
        "2026-11-23",
        "0x10",
        "5",
    ]


def test_a_node_knows_its_line_and_column() -> None:
    tree, _ = nodes.read("ж: 😀\nlist:\n  - x: [1, two]\n", "f")
    assert isinstance(tree, Mapping)
    assert str(tree.items[0][1].place) == "f:1:4"
    inner = tree.get("list")
    assert isinstance(inner, Sequence)
    item = inner.items[0]
    assert isinstance(item, Mapping)
    two = item.get("x")
    assert isinstance(two, Sequence)
    assert str(two.items[1].place) == "f:3:12"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_any_system_are_read_alike(end: str) -> None:
    assert read(f"a: b{end}c:{end}  - d{end}") == {"a": "b", "c": ["d"]}


def test_quotes_blocks_and_comments_are_yaml() -> None:
    text = "a: \"x # y\"  # comment\nb: >\n  one\n  two\nc: 'it''s'\n# whole line\nd: x  # two spaces\n"
    assert read(text) == {"a": "x # y", "b": "one two\n", "c": "it's", "d": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "f:2:1: E102"),
        ("a: 1\n'a': 2", "f:2:1: E102"),
        ("a:\nb: c", "f:1:1: E103"),
        ("a: [b, ]\nc:\n  -\n  - d", "f:3:4: E103"),
        ("", "f:1:1: E103"),
        ("a: &x b", "f:1:4: E104"),
        ("a: *x", "f:1:4: E104"),
        ("<<: {a: b}", "f:1:1: E105"),
        ("a: !x b", "f:1:4: E106"),
        ("a: !!str b", "f:1:4: E106"),
        ("a: b\n---\nc: d", "f:2:1: E107"),
        ('a: "b"#c', "f:1:7: E108"),
        ("a: [b]#c", "f:1:7: E108"),
        ("a: b#c", "f:1:4: E108"),
        ("keys: {*: a}", "f:1:8: E109"),
        ("keys: {#: a}", "f:1:8: E109"),
        ("keys:\n  1: a\n  #: b", "f:3:3: E109"),
        ("press: [1, #]", "f:1:12: E109"),
        ("dial: {manager}", "f:1:7: E110"),
        ("say: {brand} welcomes you", "f:1:6: E110"),
        ("{play: Hello {brand}, then: x}", "f:1:14: E110"),
        ("\ta: b", "f:1:1: E114"),
        ("a:\n  \tb: c", "f:2:3: E114"),
        ("a: b\x07", "f:1:5: E115"),
        ("a: b\u202ec", "f:1:5: E115"),
        ("a: b\u2028c", "f:1:5: E115"),
        ('a: "\\u200b"', "f:1:4: E115"),
        ("{[a]: b}", "f:1:2: E116"),
        ("? {a: b}\n: c", "f:1:3: E116"),
        ("?\n: b", "f:1:2: E116"),
        ("a\u00a0b: c", "f:1:1: E116"),
    ],
)
def test_each_trap_of_yaml_has_a_code_and_a_place(text: str, expected: str) -> None:
    assert [problem[: len(expected)] for problem in problems(text)] == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: b: c",
            'f:1:5: E101 a colon does not fit here: text with ": " in it needs quotes, or the line is indented',
        ),
        ('a: "b\nc: d', "f:1:4: E101 the quote that opens here is never closed"),
        ("a: {b: c\nd: e", 'f:1:4: E101 the "{" that opens here is not closed before line 2'),
        ("a: [b, c\nd: e]\nf: g", "f:1:4: E101"),
        ("a: [b c}", 'f:1:8: E101 the "[" of column 4 is closed by a "}": write "]"'),
        ("a: ['b' c]", 'f:1:9: E101 a comma or "]" is missing before this'),
        ("a: {b: c}}\n", 'f:1:10: E101 there is a "}" too many in this line'),
        ("a: @b", 'f:1:4: E101 text that begins with "@" needs quotes around it'),
        ("a: b\nc\nd: e", 'f:2:1: E101 a colon is missing behind "c"'),
        ("a: b\nc d\ne: f", 'f:2:1: E101 a "name: value" is wanted here'),
        ("a: b\nc:d\ne: f", "f:2:1: E101 a space is missing behind the colon: c: d"),
        ("a: b\nc = d\ne: f", "f:2:1: E101 a name is followed by a colon: c: d"),
        ("// a\nb: c\n", "f:1:1: E101 a comment begins with #"),
        ("%a\nb: c\n", "f:1:3: E101 a line that begins with % is for YAML itself"),
        ("a:\n  b: c\n   d: e\n", "f:3:4: E101 this line is indented by 3 spaces, and the line above by 2 spaces"),
        ("a:\n   b: c\n  d: e\n", "f:3:3: E101 this line is indented by 2 spaces, and the line above by 3 spaces"),
        (" a: b\nc: d\n", "f:2:1: E101 this line is indented by 0 spaces, and the line above by 1 space:"),
        ('a: "b\nc: "d"\ne: f\n', "f:1:4: E101 the quote that opens here is not closed before line 2"),
        ('a:\n  "1: {b: c}\n  "2": {b: c}\n', "f:2:3: E101 the quote that opens here is not closed before line 3"),
        ('a: "b" c', "f:1:8: E101 text goes on behind its closing quote"),
        ("a: {b: 'can't'}", "f:1:13: E101 this apostrophe ends the text in single quotes"),
        ("a: {b: c: d}", "f:1:9: E101 a colon does not fit here: a comma is missing before the name, or text"),
        ("a: {b: #21}\nc: d\n", 'f:1:8: E109 a bare # begins a comment, so that the "{" before it is not closed'),
        ("a: #21\nc: d\n", 'f:1:1: E103 "a" has no value; a # begins a comment; as text write "#21"'),
        ("a: # 21\nc: d\n", 'f:1:1: E103 "a" has no value; write one or remove the line'),
        ("<<<<<<< HEAD\na: b\n=======\n", "f:1:1: E101 a change is half merged here"),
        ('a: "\\d"', "f:1:5: E101 a \\ in double quotes begins an escape"),
        ("a: - b", 'f:1:4: E101 a list with "- " begins on a line of its own'),
    ],
)
def test_yamls_own_errors_are_told_in_an_operators_words(text: str, message: str) -> None:
    assert [problem[: len(message)] for problem in problems(text)] == [message]


def test_text_in_quotes_of_several_lines_is_not_blamed_for_what_is_wrong_elsewhere() -> None:
    text = 'a: "b\n  c"\nd:\n  e: "f\n    g"\n   h: i\n'
    assert problems(text) == [
        "f:6:4: E101 this line is indented by 3 spaces, and the line above by 4 spaces: bring them into line"
    ]


def test_what_hides_in_a_text_is_one_mistake_and_not_what_stands_in_its_place() -> None:
    tree, found = nodes.read("a: R\u200bU\nb: c\n", "f")
    assert [problem.code for problem in found] == ["E115"]
    assert isinstance(tree, Mapping)
    assert isinstance(tree.get("a"), Broken)
    assert isinstance(tree.get("b"), Scalar)


def test_an_anchor_without_a_text_is_one_mistake() -> None:
    assert codes("a: &b\nc: d\n") == ["E104"]


def test_all_mistakes_are_met_not_only_the_first() -> None:
    text = "a: *b\nc: 1\nc: 2\nd:\ne: !x y\nk: {*: a, 1: b}\nk2: {#: a}\nf: g#h\n"
    assert sorted(codes(text)) == ["E102", "E103", "E104", "E106", "E108", "E109", "E109"]


def test_a_missing_space_after_a_colon_is_said() -> None:
    assert problems("{a: b, then:c}") == ['f:1:8: E103 "then:c" has no value; a space is missing behind the colon']


def test_text_that_a_comment_may_have_cut_is_marked_and_ordinary_comments_are_not() -> None:
    tree, _ = nodes.read("a: press # now\nb: RU  # Russia\nc: 'x' # y\n", "f")
    assert isinstance(tree, Mapping)
    assert [value.cut for _, value in tree.items if isinstance(value, Scalar)] == [True, False, False]


def test_a_hash_in_a_block_of_text_is_text() -> None:
    assert codes("a: |\n  one\n  #: two\n") == []


def test_a_value_whose_problem_is_reported_is_marked_broken() -> None:
    tree, _ = nodes.read("{a: *x, b: , c: {d}}", "f")
    assert isinstance(tree, Mapping)
    assert [type(value) for _, value in tree.items] == [Broken, Broken, Broken]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_nesting_without_end_is_one_problem_and_no_crash(opening: str) -> None:
    for count in (10_000, 200_000):
        assert codes(opening * count) == ["E113"]


def test_aliases_cannot_make_a_small_file_large() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    _, found = nodes.read("\n".join(lines), "f")
    assert {problem.code for problem in found} == {"E104"}
    assert len(found) == 12 + 11 * 9


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    assert codes("a" * (nodes.LARGEST_FILE + 1)) == ["E112"]
    assert nodes.decode(b"a" * (nodes.LARGEST_FILE + 1), "f")[1][0].code == "E112"


def test_a_file_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MOST_NODES", 1000)
    assert codes("[" + "[], " * 2000 + "]") == ["E112"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xfea\x00", "f:1:1: E111 the file is UTF-16"),
        (b"\xef\xbb\xbfa: b", "f:1:1: E111 the file begins with a byte order mark"),
        ("a: b\nж: ".encode() + b"\xce", "f:2:4: E111 this byte (0xce) is not UTF-8"),
    ],
)
def test_bytes_that_are_not_plain_utf8_are_refused_with_their_place(raw: bytes, message: str) -> None:
    text, found = nodes.decode(raw, "f")
    assert text is None
    assert str(found[0]).startswith(message)


def test_a_message_shows_nothing_that_cannot_be_seen() -> None:
    assert nodes.quoted("a\u202eb\n\x1b[31m\u00a0") == '"a\\u202eb\\u000a\\u001b[31m\\u00a0"'
    assert len(nodes.quoted("x" * 1000)) <= 62


VALUES = st.recursive(
    st.text("abcxyz 0123:+#{}[]*&!'\"\\-.,ж", min_size=1, max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc#*1 ", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.booleans())
def test_whatever_yaml_writes_in_quotes_is_read_back(value: Any, flow: bool) -> None:
    if isinstance(value, str):
        value = [value]
    text = yaml.dump(value, default_style='"', default_flow_style=flow, allow_unicode=True, width=10_000)
    # dump tags what it would otherwise read as a number; in quotes all is text here.
    tree, found = nodes.read(text, "f")
    if not found:
        assert plain(tree) == value
    else:
        assert {problem.code for problem in found} <= {"E106", "E116"}


@settings(max_examples=1000, deadline=None)
@given(st.text(st.sampled_from("ab:{}[],#*&!|>-?'\"% \n\t\\\x00\u202e\ufeff\r@`~.1") | st.characters(), max_size=60))
def test_no_text_crashes_the_reader_and_a_missing_tree_has_a_reason(text: str) -> None:
    tree, found = nodes.read(text, "f")
    assert tree is not None or found
    for problem in found:
        line = str(problem)
        assert line.isprintable(), line


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_without_libyaml_the_same_is_read(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_LOADER", getattr(yaml, loader))
    text = "a: [1, {b: 'c'}]\nd: |\n  e\nf: *g\nf: h\ni:\n"
    tree, found = nodes.read(text, "f")
    assert isinstance(tree, Mapping)
    assert plain(tree) == {"a": ["1", {"b": "c"}], "d": "e\n", "f": None, "i": None}
    assert [str(problem)[:11] for problem in found] == ["f:4:4: E104", "f:5:1: E102", "f:6:1: E103"]


def test_mutilated_files_are_refused_or_read_but_never_raise() -> None:
    source = (
        'cordboard: 1\nnumbers:\n  "+7495": {flow: a, set: {b: c}}\nflows:\n  a:\n    x:\n      - {to: b, ring: 5s}\n'
    )
    chance = random.Random(7)
    for _ in range(3000):
        text = list(source)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            text[at] = chance.choice("{}[]:,#*&!'\"\n\t -x")
        tree, found = nodes.read("".join(text), "f")
        assert tree is not None or found


def test_deep_trees_do_not_lean_on_pythons_stack() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        assert codes("[" * 31 + "]" * 31) == []
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("word", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937"])
def test_a_joiner_stands_inside_the_words_that_are_spelt_with_it_and_nowhere_else(word: str) -> None:
    tree, found = nodes.read(f"a: {word}\n", "f")
    assert (nodes.plain(tree), found) == ({"a": word}, [])
    twice = word.replace("\u200c", "\u200c\u200c").replace("\u200d", "\u200d\u200d")
    for hiding in (f"{word}\u200c", f"\u200d{word}", twice):
        assert "E115" in problems(f"a: {hiding}\n")[0]
    assert "E115" in problems("a: ad\u200cmin\n")[0]


def test_a_file_of_nothing_but_mistakes_is_not_read_to_its_end() -> None:
    _, found = nodes.read("a: 1\n" * 100_000, "f")
    assert len(found) == nodes.MOST_MISTAKES
