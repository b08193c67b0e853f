"""Digits: an unambiguous entry is complete at once, an ambiguous one after the time-out, none leaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.keypad import Choice, Digits, Judgement

C, E, M, W = Judgement.COMPLETE, Judgement.ENOUGH, Judgement.MORE, Judgement.WRONG
CHOICE = Choice(frozenset("123*"), frozenset({"301", "302", "31", "7000"}))


@pytest.mark.parametrize(
    ("digits", "judgement"),
    [
        ("1", C),
        ("2", C),
        ("*", C),
        ("3", E),  # a key, and the beginning of 301
        ("30", M),
        ("301", C),
        ("31", C),
        ("7", M),
        ("700", M),
        ("7000", C),
        ("8", W),
        ("39", W),
        ("#", W),
        ("3#", C),
        ("30#", W),
        ("301#", C),
    ],
)
def test_a_choice_is_judged_digit_by_digit(digits: str, judgement: Judgement) -> None:
    assert CHOICE.judge(digits) is judgement


def test_hash_is_a_key_when_the_operator_says_so() -> None:
    assert Choice(frozenset("#"), frozenset()).judge("#") is C


@pytest.mark.parametrize(
    ("digits", "judgement"),
    [
        ("1", M),
        ("123", M),
        ("1234", E),
        ("1234567", E),
        ("12345678", C),
        ("1234#", C),
        ("123#", W),
        ("#", W),
        ("12*", W),
        ("1#2", W),
    ],
)
def test_a_number_of_digits_is_judged_digit_by_digit(digits: str, judgement: Judgement) -> None:
    assert Digits(4, 8).judge(digits) is judgement


KEYS = st.frozensets(st.sampled_from("0123456789*#"), max_size=5)
EXTENSIONS = st.frozensets(st.text("0123456789", min_size=2, max_size=4), max_size=6)
TYPED = st.text("0123456789*#", min_size=1, max_size=6)


@given(KEYS, EXTENSIONS, TYPED)
def test_whatever_is_typed_a_choice_only_ever_accepts_what_it_has(
    keys: frozenset[str], extensions: frozenset[str], typed: str
) -> None:
    judgement = Choice(keys, extensions).judge(typed)
    entry = typed if typed in keys else typed.removesuffix("#")
    if judgement in (C, E):
        assert entry in keys | extensions
    longer = any(extension != typed and extension.startswith(typed) for extension in extensions)
    assert (judgement in (E, M)) == (longer and not (typed.endswith("#") and "#" not in keys))


@given(st.integers(1, 12), st.integers(0, 8), TYPED)
def test_digits_are_accepted_only_in_number_and_only_digits(least: int, more: int, typed: str) -> None:
    judgement = Digits(least, least + more).judge(typed)
    number = typed.removesuffix("#")
    if judgement in (C, E):
        assert number.isdigit()
        assert least <= len(number) <= least + more
