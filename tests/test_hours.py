"""Hours and rotas: the rules of the calendar, compared minute by minute with an independent clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callcontrol.routing import hours as h
from callcontrol.routing import kinds, nodes
from callcontrol.routing.hours import Hours, instant, member_at
from callcontrol.routing.model import Group

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Europe/Moscow",  # none
    "Africa/Cairo",  # begins at midnight: the first hour of a day is missing
    "America/Santiago",  # ends at midnight: the last hour of a day comes twice
    "America/Havana",  # ends at one: the first hour of a day comes twice
    "Asia/Kathmandu",
)
FREE = frozenset([dt.date(2026, 10, 26), dt.date(2027, 1, 1), dt.date(2027, 3, 29), dt.date(2026, 11, 1)])


def hours(text: str, zone: str = "Europe/Berlin", free: frozenset[dt.date] = FREE) -> Hours:
    """The Hours of this YAML mapping."""
    tree, problems = nodes.read(text, "t")
    assert tree is not None
    assert not problems
    with kinds.reading(kinds.Reader()):
        read = kinds.HoursField().read(tree)
    return Hours("t", zone, read.weekdays, read.holidays, read.dates, free, read.switch)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def on(found: Hours, text: str, fold: int = 0) -> bool:
    return found.is_on(at(text, found.zone, fold))


# ---------------------------------------------------------------------------------------------- the oracle

MINUTE = 60
WINDOW = 4 * 24 * 60  # minutes


@cache
def wall_clock(zone: str, start: int) -> list[dt.datetime]:
    """What the clocks of ``zone`` show at each minute from the UTC epoch ``start``: naive, by astimezone."""
    tz, utc = ZoneInfo(zone), dt.datetime.fromtimestamp(start, dt.UTC)
    return [(utc + dt.timedelta(minutes=i)).astimezone(tz).replace(tzinfo=None) for i in range(WINDOW)]


Rules = tuple[
    Mapping[int, list[tuple[int, int]]], list[tuple[int, int]] | None, Mapping[dt.date, list[tuple[int, int]]]
]


def oracle(rules: Rules, zone: str, start: int) -> list[bool]:
    """On or off for every minute of the window, by looking at the clock each minute."""
    week, holidays, dates = rules
    shown = wall_clock(zone, start)
    result = [False] * WINDOW
    first = shown[0].date() - dt.timedelta(days=2)
    for offset in range(9):
        day = first + dt.timedelta(days=offset)
        if day in dates:
            spans = dates[day]
        elif holidays is not None and day in FREE:
            spans = holidays
        else:
            spans = week.get(day.weekday(), [])
        midnight = dt.datetime.combine(day, dt.time())
        for begin, end in spans:
            length = end if end > begin else end + 1440
            opens, closes = (midnight + dt.timedelta(minutes=m) for m in (begin, length))
            # The first minute at which the clock shows the time, or a later one.
            a = next((i for i, wall in enumerate(shown) if wall >= opens), WINDOW)
            b = next((i for i, wall in enumerate(shown) if wall >= closes), WINDOW)
            for i in range(a, b):
                result[i] = True
    return result


def written(span: tuple[int, int]) -> str:
    return f"{span[0] // 60:02}:{span[0] % 60:02}-{span[1] // 60:02}:{span[1] % 60:02}"


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Spans of one day, as (begin, end) in minutes; the last may run into the next day."""
    if draw(st.integers(0, 5)) == 0:
        return []
    if draw(st.integers(0, 5)) == 0:
        return [(0, 1440)]
    times = sorted(draw(st.sets(st.integers(0, 95).map(lambda quarter: quarter * 15), min_size=2, max_size=4)))
    found = [(times[0], times[1])]
    if len(times) == 4:
        found.append((times[2], times[3]))
    if len(times) == 3 and times[0] > 0:
        found.append((times[2], draw(st.integers(1, times[0] // 15)) * 15))
    return found


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, Rules, str, int]:
    """A schedule as text and as rules, its zone, and the UTC minute at which to look, often near a change."""
    zone = draw(st.sampled_from(ZONES))
    week: dict[int, list[tuple[int, int]]] = {}
    lines = []
    for number, name in enumerate(h.WEEKDAYS):
        if draw(st.integers(0, 3)):
            week[number] = draw(spans())
            lines.append((name, week[number]))
    holidays = draw(st.none() | spans())
    if holidays is not None:
        lines.append(("holidays", holidays))
    look = draw(st.sampled_from(changes(zone)) | st.datetimes(dt.datetime(2026, 10, 1), dt.datetime(2027, 4, 30)))
    start = int(look.replace(tzinfo=dt.UTC).timestamp()) // MINUTE * MINUTE - 2 * 24 * 3600
    start += draw(st.integers(-600, 600)) * MINUTE
    day = dt.datetime.fromtimestamp(start, dt.UTC).date() + dt.timedelta(days=draw(st.integers(0, 4)))
    dates: dict[dt.date, list[tuple[int, int]]] = {}
    if draw(st.booleans()):
        last = day + dt.timedelta(days=draw(st.integers(0, 2)))
        special = draw(spans())
        dates = {day + dt.timedelta(days=i): special for i in range((last - day).days + 1)}
        lines.append((f"{day}..{last}" if last > day else str(day), special))
    if not lines:
        lines = [("mon", [])]
    text = "".join(
        f"{name}: {'closed' if not s else 'all day' if s == [(0, 1440)] else '[' + ', '.join(map(written, s)) + ']'}\n"
        for name, s in lines
    )
    return text, (week, holidays, dates), zone, start


@cache
def changes(zone: str) -> list[dt.datetime]:
    """UTC times at which the offset of ``zone`` changes, from summer 2026 to summer 2027."""
    tz, found = ZoneInfo(zone), []
    moment = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    while moment.year < 2028:
        later = moment + dt.timedelta(minutes=30)
        if moment.astimezone(tz).utcoffset() != later.astimezone(tz).utcoffset():
            found.append(later.replace(tzinfo=None))
        moment = later
    return found or [dt.datetime(2026, 10, 25)]


@settings(max_examples=400, deadline=None)
@given(schedules())
def test_hours_agree_with_a_clock_that_is_looked_at_every_minute(case: tuple[str, Rules, str, int]) -> None:
    text, rules, zone, start = case
    found, expected = hours(text, zone), oracle(rules, zone, start)
    # The window's first day is left out: spans that began before it are unknown to the oracle.
    for i in range(24 * 60, WINDOW - 24 * 60, 15):
        now = start + i * MINUTE
        assert found.is_on(now) is expected[i], (text, zone, dt.datetime.fromtimestamp(now, ZoneInfo(zone)))


@settings(max_examples=200, deadline=None)
@given(schedules(), st.integers(0, 24 * 60 - 1))
def test_the_next_change_is_the_minute_at_which_a_watcher_would_see_it(
    case: tuple[str, Rules, str, int], minute: int
) -> None:
    text, rules, zone, start = case
    found, expected = hours(text, zone), oracle(rules, zone, start)
    i = 24 * 60 + minute
    seen = next((j for j in range(i + 1, WINDOW - 24 * 60) if expected[j] is not expected[i]), None)
    told = found.next_change(start + i * MINUTE)
    if seen is not None:
        assert told == start + seen * MINUTE, text
    else:
        assert told is None or told >= start + (WINDOW - 24 * 60) * MINUTE, text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), st.datetimes(dt.datetime(2026, 3, 1), dt.datetime(2027, 12, 1)), st.data())
def test_a_wall_clock_time_is_the_first_minute_that_shows_it_or_a_later_one(
    zone: str, wall: dt.datetime, data: st.DataObject
) -> None:
    near = data.draw(st.none() | st.sampled_from(changes(zone)))
    if near is not None:
        local = near.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        wall = local + dt.timedelta(minutes=data.draw(st.integers(-150, 150)))
    wall = wall.replace(second=0, microsecond=0)
    start = int(wall.replace(tzinfo=dt.UTC).timestamp()) - 36 * 3600
    shown = wall_clock(zone, start)
    assert instant(wall, zone) == start + MINUTE * next(i for i, w in enumerate(shown) if w >= wall)


# ----------------------------------------------------------------------------------------------- examples


def test_a_date_beats_holidays_and_holidays_beat_weekdays() -> None:
    found = hours("{mon-fri: 09:00-18:00, holidays: 10:00-12:00, 2027-01-01: 14:00-15:00}")
    assert on(found, "2026-12-31 17:00")  # a Thursday
    assert on(found, "2026-10-26 11:00")  # a Monday, public holiday
    assert not on(found, "2026-10-26 13:00")
    assert on(found, "2027-01-01 14:30")  # a Friday, public holiday, and written down
    assert not on(found, "2027-01-01 11:00")


def test_without_holidays_a_public_holiday_is_a_day_like_others() -> None:
    assert on(hours("{mon-fri: 09:00-18:00}"), "2026-10-26 13:00")


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    found = hours("{fri: 22:00-06:00, sat: closed}")
    assert on(found, "2026-11-20 23:00")  # Friday
    assert on(found, "2026-11-21 05:59")
    assert not on(found, "2026-11-21 06:00")
    assert not on(found, "2026-11-21 23:00")
    assert not on(found, "2026-11-20 05:00")


def test_a_range_of_dates_includes_both_its_ends() -> None:
    found = hours("{2026-12-31..2027-01-08: all day}")
    assert [on(found, f"{day} 12:00") for day in ("2026-12-30", "2026-12-31", "2027-01-08", "2027-01-09")] == [
        False,
        True,
        True,
        False,
    ]


def test_hours_begin_with_their_first_second_and_end_before_their_last() -> None:
    found = hours("{mon: 09:00-18:00}")
    assert not found.is_on(at("2026-11-23 09:00") - 0.001)
    assert on(found, "2026-11-23 09:00")
    assert found.is_on(at("2026-11-23 18:00") - 0.001)
    assert not on(found, "2026-11-23 18:00")


def test_all_day_goes_from_midnight_to_midnight() -> None:
    found = hours("{sat: all day}")
    assert not found.is_on(at("2026-11-21 00:00") - 1)
    assert on(found, "2026-11-21 00:00")
    assert found.is_on(at("2026-11-22 00:00") - 1)
    assert not on(found, "2026-11-22 00:00")


def test_a_time_in_the_gap_of_summer_time_is_the_first_instant_after_it() -> None:
    # 2027-03-28, Berlin: 02:00 is followed by 03:00.
    found = hours("{sun: 02:30-03:30}")
    assert found.next_change(at("2027-03-28 01:00")) == at("2027-03-28 03:00")
    assert not found.is_on(at("2027-03-28 03:00") - 1)
    assert on(found, "2027-03-28 03:00")


def test_hours_that_lie_wholly_in_a_gap_are_never_on() -> None:
    found = hours("{2027-03-28: 02:10-02:50}")
    assert found.next_change(at("2027-03-27 12:00")) is None


def test_a_time_that_comes_twice_is_the_first_of_the_two() -> None:
    # 2026-10-25, Berlin: 03:00 is followed by 02:00 again.
    found = hours("{2026-10-25: 02:30-04:00}")
    assert on(found, "2026-10-25 02:30", fold=0)
    assert on(found, "2026-10-25 02:10", fold=1)  # earlier by the wall clock, later in truth
    ending = hours("{2026-10-25: 01:00-02:30}")
    assert on(ending, "2026-10-25 02:29", fold=0)
    assert not on(ending, "2026-10-25 02:10", fold=1)


def test_a_day_that_has_begun_goes_on_when_the_clocks_show_the_day_before_again() -> None:
    # Goose Bay, 2010-11-07: at 00:01 the clocks went back to 23:01 of the day before.
    found = hours("{2010-11-07: all day}", "America/Goose_Bay", frozenset())
    assert not on(found, "2010-11-06 23:30", fold=0)
    assert on(found, "2010-11-06 23:30", fold=1)


def test_a_day_whose_first_hour_is_missing_begins_at_its_second() -> None:
    # Cairo, 2026-04-24: midnight is followed by 01:00.
    found = hours("{2026-04-24: 00:30-09:00}", "Africa/Cairo", frozenset())
    assert found.next_change(at("2026-04-23 12:00", "Africa/Cairo")) == at("2026-04-24 01:00", "Africa/Cairo")


def test_spans_that_touch_are_no_change() -> None:
    found = hours("{mon: [09:00-12:00, 12:00-15:00]}")
    assert found.next_change(at("2026-11-23 10:00")) == at("2026-11-23 15:00")


def test_hours_that_are_always_or_never_on_do_not_change() -> None:
    assert hours("{mon-sun: all day}").next_change(at("2026-11-23 10:00")) is None
    assert hours("{mon-sun: closed}").next_change(at("2026-11-23 10:00")) is None


def test_a_date_far_ahead_is_found() -> None:
    found = hours("{2031-05-06: 10:00-11:00}")
    assert found.next_change(at("2026-11-23 10:00")) == at("2031-05-06 10:00")


def test_a_switch_is_off_until_switches_are_built() -> None:
    found = hours('{switch: "*21"}')
    assert found.switch == "*21"
    assert not on(found, "2026-11-23 12:00")
    assert found.next_change(at("2026-11-23 12:00")) is None


@pytest.mark.parametrize(
    ("text", "days"), [("mon", (0,)), ("mon-fri", (0, 1, 2, 3, 4)), ("sat-mon", (5, 6, 0)), ("mittwoch", None)]
)
def test_weekdays_may_run_over_sunday(text: str, days: tuple[int, ...] | None) -> None:
    assert h.weekdays(text) == days


# -------------------------------------------------------------------------------------------------- rotas

ROTA = Group("oncall", ("301", "302", "303"), "weekly", dt.datetime(2026, 11, 23, 9, 0))


def whose(text: str, zone: str = "Europe/Moscow", group: Group = ROTA) -> str:
    return member_at(group, zone, at(text, zone))


def test_a_rota_changes_at_its_own_weekday_and_time() -> None:
    assert [whose(t) for t in ("2026-11-23 09:00", "2026-11-30 08:59", "2026-11-30 09:00", "2026-12-07 09:00")] == [
        "301",
        "301",
        "302",
        "303",
    ]
    assert whose("2026-12-14 09:00") == "301"


def test_before_its_beginning_a_rota_runs_backwards() -> None:
    assert whose("2026-11-23 08:59") == "303"


def test_a_rota_keeps_to_the_wall_clock_over_summer_time() -> None:
    assert whose("2027-03-29 08:59", "Europe/Berlin") != whose("2027-03-29 09:00", "Europe/Berlin")
    assert whose("2027-04-05 08:59", "Europe/Berlin") != whose("2027-04-05 09:00", "Europe/Berlin")


def test_a_daily_rota_changes_every_day() -> None:
    daily = Group("oncall", ("301", "302"), "daily", dt.datetime(2026, 11, 23, 9, 0))
    assert [whose(f"2026-11-2{day} 10:00", group=daily) for day in (3, 4, 5)] == ["301", "302", "301"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 60), st.integers(-300, 300))
@example("Europe/Berlin", 48, 0)
def test_a_turn_begins_at_the_first_instant_that_shows_its_time(zone: str, week: int, minutes: int) -> None:
    # A rota that changes in the middle of the night, so that its weeks meet gaps and overlaps.
    start = dt.datetime(2026, 4, 26, 2, 30)
    group = Group("night", ("a", "b", "c"), "weekly", start)
    boundary = instant(start + dt.timedelta(weeks=week), zone)
    expected = week if minutes >= 0 else week - 1
    assert member_at(group, zone, boundary + minutes * MINUTE) == group.members[expected % 3]


def test_a_rota_does_not_turn_back_when_an_hour_comes_twice() -> None:
    # Havana, 2026-11-01: at 01:00 the clocks go back to 00:00.  The change at 00:30 happens at the first 00:30.
    group = Group("night", ("a", "b"), "weekly", dt.datetime(2026, 10, 25, 0, 30))
    zone = "America/Havana"
    assert member_at(group, zone, at("2026-11-01 00:29", zone, fold=0)) == "a"
    assert member_at(group, zone, at("2026-11-01 00:30", zone, fold=0)) == "b"
    assert member_at(group, zone, at("2026-11-01 00:10", zone, fold=1)) == "b"
