"""The checkpoint: what is written is read again, and whatever else comes back from a switch is refused."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.state import LONGEST, State, StateError, decode, encode

NAME = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
PROGRESS = st.dictionaries(st.sampled_from("aurofnstlx"), st.integers(0, 2**32), max_size=5)
STATES = st.builds(
    State,
    company=st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True),
    version=st.text("0123456789abcdef", min_size=16, max_size=16),
    called=st.from_regex(r"\+[0-9]{7,15}", fullmatch=True),
    epoch=st.integers(1, 999),
    began=st.integers(0, 2**32),
    flow=NAME,
    step=NAME,
    stack=st.lists(st.tuples(NAME, NAME), max_size=1).map(tuple),
    progress=PROGRESS,
    language=st.sampled_from(["en", "ru", ""]),
    variables=st.dictionaries(NAME, st.text(max_size=8).filter(str.isprintable), max_size=3),
    ring_number=st.integers(0, 999),
    talk=st.none()
    | st.tuples(st.text("0123456789+", min_size=1, max_size=16), st.integers(0, 2**32), st.integers(0, 99)),
)


@given(STATES)
def test_a_checkpoint_is_read_as_it_was_written(state: State) -> None:
    try:
        text = encode(state)
    except StateError:
        return  # too long: the next test
    assert len(text) <= LONGEST
    assert decode(text) == state


def test_a_checkpoint_that_is_too_long_is_refused_not_cut() -> None:
    state = State("acme", "0" * 16, "+74951234567", 1, 0, "main", "greet", variables={"a": "x" * 500})
    with pytest.raises(StateError, match="more than 512"):
        encode(state)


def test_it_survives_a_channel_variable() -> None:
    text = encode(State("acme", "0" * 16, "+74951234567", 1, 0, "main", "Привет"))
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


GOOD = [1, 2, "acme", "0f", "+7", 0, "main", "greet", [], {}, "en", {}, 0, 0]


def test_the_layout_that_the_broken_ones_are_made_of_is_good() -> None:
    assert decode(packed(GOOD)).epoch == 2


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (0, None),
        (1, "2"),
        (1, -1),
        (1, True),
        (1, 2**60),
        (2, 5),
        (6, None),
        (8, ["a"]),
        (8, ["a", 1]),
        (8, "ab"),
        (9, []),
        (9, {"a": []}),
        (9, {"a": None}),
        (11, {"a": 1}),
        (12, 1.5),
        (13, ["301"]),
        (13, [301, 1, 1]),
        (13, ["301", 1]),
        (13, ["301", 1, True]),
        (13, 7),
    ],
)
def test_a_checkpoint_with_one_wrong_field_is_refused(place: int, value: object) -> None:
    fields = list(GOOD)
    fields[place] = value
    with pytest.raises(StateError):
        decode(packed(fields))


@given(st.text(max_size=600) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_nothing_that_a_switch_may_say_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(StateError):
        decode(text)


def test_a_bomb_of_brackets_is_refused() -> None:
    with pytest.raises(StateError):
        decode(base64.urlsafe_b64encode(b"[" * 380).decode())
