"""Times in words: what an operator had in mind."""

from __future__ import annotations

import datetime as dt

import pytest

from callcontrol.routing.hours import instant
from callcontrol.workbench.times import in_words

ZONE = "Europe/Berlin"
MONDAY = dt.date(2026, 11, 23)


def spans(
    hours: str, days: int = 140, skip: tuple[str, ...] = (), weekdays: str = "01234"
) -> list[tuple[float, float]]:
    begin, end = (dt.timedelta(hours=int(one[:2]), minutes=int(one[3:])) for one in hours.split("-"))
    end += dt.timedelta(days=1) if end <= begin else dt.timedelta()
    found = []
    for at in range(days):
        day = MONDAY + dt.timedelta(days=at)
        if str(day.weekday()) in weekdays and str(day) not in skip:
            midnight = dt.datetime.combine(day, dt.time())
            found.append((instant(midnight + begin, ZONE), instant(midnight + end, ZONE)))
    return found


def words(found: list[tuple[float, float]], holidays: frozenset[dt.date] = frozenset(), days: int = 140) -> str:
    return in_words(sorted(found), ZONE, MONDAY, days, holidays)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "never"),
        (spans("18:00-19:00"), "Mon–Fri 18:00–19:00"),
        (spans("18:00-19:00") + spans("10:00-14:00", weekdays="5"), "Mon–Fri 18:00–19:00, Sat 10:00–14:00"),
        (spans("18:00-19:00", weekdays="0123456"), "every day 18:00–19:00"),
        (spans("22:00-06:00"), "Mon–Fri 22:00–06:00"),
        (spans("09:00-10:00", weekdays="02"), "Mon and Wed 09:00–10:00"),
        (spans("00:00-00:00", weekdays="56"), "Sat and Sun all day"),
        (spans("09:00-10:00") + spans("12:00-13:00"), "Mon–Fri 09:00–10:00 and 12:00–13:00"),
        (spans("10:00-15:00", days=1), "on 2026-11-23 10:00–15:00"),
        (spans("00:00-00:00", days=3), "on 2026-11-23 to 2026-11-25 all day"),
        (
            spans("18:00-19:00", skip=("2026-12-24", "2026-12-25")),
            "Mon–Fri 18:00–19:00 (not on 2026-12-24 to 2026-12-25)",
        ),
    ],
)
def test_a_pattern_is_said_as_an_operator_would(found: list[tuple[float, float]], said: str) -> None:
    assert words(found) == said


def test_the_whole_time_is_always() -> None:
    begin = instant(dt.datetime(2026, 11, 23), ZONE)
    assert words([(begin, begin + 400 * 86400)], days=30) == "always"


def test_public_holidays_are_named_as_such_and_other_days_by_their_date() -> None:
    free = [MONDAY + dt.timedelta(days=at) for at in (1, 9, 17)]
    skip = (*map(str, free), "2026-12-28")
    assert words(spans("18:00-19:00", skip=skip), frozenset(free)) == (
        "Mon–Fri 18:00–19:00 (not on public holidays and 2026-12-28)"
    )


def test_a_change_of_the_clocks_makes_no_other_time() -> None:
    assert words(spans("02:30-12:00", days=200, weekdays="0123456"), days=200).startswith("every day 02:30–12:00")
