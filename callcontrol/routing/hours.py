"""When hours are on, and whose turn it is in a rota.

Knows the calendar and one time zone; never the clock: ``now`` is a UTC epoch that the caller brings.  Public
holidays are frozen in at load, so that a version of routing means the same for ever.

Rules.  A date beats holidays, holidays beat weekdays.  A span belongs to the day on which it begins, so the
``22:00-06:00`` of Friday goes on into Saturday, whatever Saturday says.  A wall-clock time means the first
instant at which the clocks of the zone show it or a later one: in the gap of a DST change the first instant
after it, in an overlap the first of the two.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from zoneinfo import ZoneInfo

from callcontrol.routing.model import Group, Place

#: Minutes of a day.
DAY = 24 * 60
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Years in which a date may lie.
FIRST_YEAR, LAST_YEAR = 2000, 2099
#: How far :meth:`Hours.next_change` looks, days; beyond it only written dates are looked at.
HORIZON = 400

_UTC = dt.UTC
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?- ?([0-9]{1,2}):([0-9]{2})")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


class HoursError(ValueError):
    """Text that is no time, day or date; ``str()`` says why, for an operator."""


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to before ``end``, minutes after the midnight that begins the day.

    An ``end`` past 1440 lies on the next day; all day is 0 to 1440.
    """

    start: int
    end: int

    def __str__(self) -> str:
        if (self.start, self.end) == (0, DAY):
            return "all day"
        return f"{time_of_day(self.start)}-{time_of_day(self.end)}"


def time_of_day(minutes: int) -> str:
    """Minutes after a midnight as a clock shows them; the end of a day is 24:00."""
    minutes = minutes - DAY if minutes > DAY else minutes
    return f"{minutes // 60:02}:{minutes % 60:02}"


ALL_DAY = Span(0, DAY)


@dataclass(frozen=True, slots=True)
class Dates:
    """What holds from ``first`` to ``last``, both included."""

    first: dt.date
    last: dt.date
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Hours:
    """Times that are on or off.  ``holidays`` None: public holidays are days like others.

    ``dates`` are sorted and do not overlap.  With ``switch`` (its code) there is no schedule.
    """

    name: str
    zone: str
    weekdays: tuple[tuple[Span, ...], ...] = ((),) * 7
    holidays: tuple[Span, ...] | None = None
    dates: tuple[Dates, ...] = ()
    days_off: frozenset[dt.date] = frozenset()
    switch: str | None = None
    place: Place = field(default=Place("", 0, 0), compare=False)

    def is_on(self, now: float) -> bool:
        """Whether they are on at the UTC epoch ``now``.  A switch is off until switches are built."""
        return self._on(now, _local(now, self.zone).date())

    def next_change(self, now: float) -> float | None:
        """The first UTC epoch after ``now`` at which :meth:`is_on` changes; None if there is none in sight.

        Looks 400 days ahead, and as far as the last date that is written down.
        """
        on = self.is_on(now)
        today = _local(now, self.zone).date()
        last = today + dt.timedelta(days=HORIZON)
        if self.dates:
            last = max(last, self.dates[-1].last + dt.timedelta(days=2))
        day = today - dt.timedelta(days=2)
        edges: set[float] = set()
        while day <= last:
            # A day's spans can begin up to a day after it and end up to two days after it.
            edges.update(edge for edge in self._edges(day) if edge > now)
            ripe = instant(dt.datetime.combine(day, dt.time()), self.zone)
            for edge in sorted(edge for edge in edges if edge <= ripe):
                edges.discard(edge)
                if self.is_on(edge) is not on:
                    return edge
            day += dt.timedelta(days=1)
        return next((edge for edge in sorted(edges) if self.is_on(edge) is not on), None)

    def spans(self, day: dt.date) -> tuple[Span, ...]:
        """The spans that begin on the local ``day``."""
        at = bisect_right(self.dates, day, key=lambda dates: dates.first) - 1
        if at >= 0 and day <= self.dates[at].last:
            return self.dates[at].spans
        if self.holidays is not None and day in self.days_off:
            return self.holidays
        return self.weekdays[day.weekday()]

    def _on(self, now: float, today: dt.date) -> bool:
        # The day before, for spans past midnight; the day after, because a change to winter time shortly
        # after midnight shows the old date again when the new one has begun.
        for offset in (-2, -1, 0, 1):
            day = today + dt.timedelta(days=offset)
            for span in self.spans(day):
                if _at(day, span.start, self.zone) <= now < _at(day, span.end, self.zone):
                    return True
        return False

    def _edges(self, day: dt.date) -> Iterator[float]:
        for span in self.spans(day):
            yield _at(day, span.start, self.zone)
            yield _at(day, span.end, self.zone)


# ------------------------------------------------------------------------------------------ rotas


def member_at(group: Group, timezone: str, now: float) -> str:
    """The extension whose turn it is at the UTC epoch ``now``.  ``group`` must rotate.

    Turns change at the local wall-clock time at which the rota began, in summer and winter alike.  Before
    its beginning the rota runs backwards.
    """
    number, _ = _turn(group, timezone, now)
    return group.members[number % len(group.members)]


def next_turn(group: Group, timezone: str, now: float) -> float:
    """The UTC epoch at which the turn of :func:`member_at` is over."""
    return _turn(group, timezone, now)[1]


def _turn(group: Group, timezone: str, now: float) -> tuple[int, float]:
    """The number of the turn at ``now``, counted from the beginning of the rota, and when it is over."""
    if group.start is None or not group.members:
        raise ValueError(f"the group {group.name} does not rotate")
    turn = dt.timedelta(days=1 if group.rotate == "daily" else 7)
    number = (_local(now, timezone).replace(tzinfo=None) - group.start) // turn
    # Where an hour comes twice, the clock may show a time before a turn that has begun already.
    while (over := instant(group.start + (number + 1) * turn, timezone)) <= now:
        number += 1
    return number, over


# ------------------------------------------------------------------------------------- the wall clock


def instant(wall: dt.datetime, zone: str) -> float:
    """The first UTC epoch at which the clocks of ``zone`` show the naive ``wall`` or a later time."""
    tz = ZoneInfo(zone)
    wall = wall.replace(fold=0)
    found = wall.replace(tzinfo=tz).timestamp()
    if dt.datetime.fromtimestamp(found, tz).replace(tzinfo=None) == wall:
        return found
    # In a gap: somewhere between the two readings of the wall clock the offset changes.
    low = int(wall.replace(tzinfo=tz, fold=1).timestamp()) - 1
    high = int(found) + 1
    after = dt.datetime.fromtimestamp(high, tz).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if dt.datetime.fromtimestamp(middle, tz).utcoffset() == after:
            high = middle
        else:
            low = middle
    return float(high)


@lru_cache(maxsize=4096)
def _at(day: dt.date, minutes: int, zone: str) -> float:
    midnight = dt.datetime.combine(day, dt.time())
    return instant(midnight + dt.timedelta(minutes=minutes), zone)


def _local(now: float, zone: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, ZoneInfo(zone))


# ------------------------------------------------------------------------------- what operators write


def span(text: str) -> Span:
    """Read ``09:00-13:00`` or ``22:00-06:00`` (into the next day).  Raises HoursError."""
    found = _SPAN.fullmatch(text)
    if not found:
        raise HoursError("write a time as 09:00-18:00, or: closed, all day")
    start, end = (int(hour) * 60 + int(minute) for hour, minute in (found.group(1, 2), found.group(3, 4)))
    if int(found[2]) > 59 or int(found[4]) > 59 or start >= DAY or end > DAY:
        raise HoursError("there is no such time of day; the last is 23:59, a span may end at 24:00")
    if start == end:
        raise HoursError("it begins and ends at the same time; for a whole day write: all day")
    return Span(start, end if end > start else end + DAY)


def weekdays(text: str) -> tuple[int, ...] | None:
    """Read ``mon`` or ``mon-fri`` (``sat-mon`` runs over Sunday); None if the text is no weekdays."""
    names = text.split("-")
    if len(names) > 2 or not all(name in WEEKDAYS for name in names):
        return None
    first, last = WEEKDAYS.index(names[0]), WEEKDAYS.index(names[-1])
    return tuple((first + offset) % 7 for offset in range((last - first) % 7 + 1))


def dates(text: str) -> tuple[dt.date, dt.date] | None:
    """Read ``2027-01-11`` or ``2026-12-31..2027-01-08``; None if it is no dates.  Raises HoursError."""
    first, dots, last = text.partition("..")
    found = [_DATE.fullmatch(part.strip()) for part in ([first, last] if dots else [first])]
    if not all(found):
        return None
    days = [_date(match) for match in found if match]
    if days[0] > days[-1]:
        raise HoursError("the range ends before it begins")
    return days[0], days[-1]


def _date(found: re.Match[str]) -> dt.date:
    try:
        day = dt.date(*(int(part) for part in found.groups()))
    except ValueError:
        raise HoursError(f"there is no day {found[0]}") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise HoursError(f"the year of {found[0]} is not between {FIRST_YEAR} and {LAST_YEAR}")
    return day
