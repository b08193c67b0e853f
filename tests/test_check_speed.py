"""``check`` stays linear: twice the company is twice the work, counted in calls and not in seconds."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path

import pytest

from callcontrol.routing import kinds
from callcontrol.routing.files import check_directory
from callcontrol.routing.load import load_text
from scripts.bench import companies

#: Steps, people and numbers of the smaller company; what is loaded once (zones, holidays) must not count.
SMALL = 150


def calls(work: Callable[[], object]) -> int:
    """How many functions ``work`` calls."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def check(text: str) -> Callable[[], object]:
    return lambda: load_text(text, path="p", company="big", sounds=frozenset())


@pytest.mark.parametrize("make", companies.SHAPES.values(), ids=list(companies.SHAPES))
def test_a_company_of_twice_the_size_is_twice_the_work(
    make: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("MOST_COMPARED", "MOST_SUGGESTIONS"):  # up to there the search for what was meant may be dear
        monkeypatch.setattr(kinds, bound, 20)
    calls(check(make(10)))
    once, twice = (calls(check(make(size))) for size in (SMALL, 2 * SMALL))
    assert twice < 2.3 * once


def test_the_companies_that_are_measured_are_as_large_as_they_say(tmp_path: Path) -> None:
    companies.many(tmp_path / "many", companies=3, numbers=10)
    assert check_directory(tmp_path / "many") == []
    assert "".join(path.read_text() for path in (tmp_path / "many").iterdir()).count("{flow: reception}") == 30
    for name, make in companies.SHAPES.items():
        loaded = load_text(make(40), path="p", company="big")
        assert bool(loaded.problems) == (name in companies.BROKEN), name


def test_what_was_meant_is_found_among_very_many_names_without_comparing_each() -> None:
    names = frozenset(f"step{i}" for i in range(5_000))
    assert calls(lambda: kinds.closest("stepp4321", names)) < 1_000
    assert kinds.closest("stepp4321", names) == "step4321"
