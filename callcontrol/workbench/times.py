"""Times in words: from intervals back to the weekly pattern that an operator had in mind.

``Mon-Fri 18:00-19:00`` for what is on nearly every working day, with the dates on which it is otherwise; knows wall
clocks of one zone, and nothing of routing.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: Dates that are named; of more, the first.
MOST_DATES = 4
#: A span that begins before midnight and ends by then belongs to the day on which it begins, minutes.
_MORNING = 12 * 60
_WHOLE = ((0, 1440),)

#: Minutes after midnight.
Spans = tuple[tuple[int, int], ...]


def in_words(
    spans: Iterable[tuple[float, float]],
    zone: str,
    first: dt.date,
    days: int,
    holidays: Collection[dt.date] = frozenset(),
) -> str:
    """The times (sorted UTC epochs, from the day ``first`` on, ``days`` long) as a line; "never" for none."""
    found = _by_day(spans, ZoneInfo(zone), first, days)
    if not any(found.values()):
        return "never"
    if all(on == _WHOLE for on in found.values()):
        return "always"
    found = _nights(found)
    usual = {weekday: _usual([on for day, on in found.items() if day.weekday() == weekday]) for weekday in range(7)}
    _complete(found, usual)
    words = [f"{which} {_span_words(on)}" for which, on in _weekly(usual)]
    more = {day: on for day, on in found.items() if on != usual[day.weekday()] and on}
    less = [day for day, on in found.items() if on != usual[day.weekday()] and not on]
    for on in dict.fromkeys(more.values()):
        dates = [day for day, other in more.items() if other == on]
        words.append(f"on {_dates(dates, holidays)} {_span_words(on)}")
    text = ", ".join(words)
    return f"{text} (not on {_dates(less, holidays)})" if less else text


def _by_day(spans: Iterable[tuple[float, float]], zone: ZoneInfo, first: dt.date, days: int) -> dict[dt.date, Spans]:
    found: dict[dt.date, list[tuple[int, int]]] = {first + dt.timedelta(days=at): [] for at in range(days)}
    for begin, end in spans:
        start, stop = (dt.datetime.fromtimestamp(at, zone).replace(tzinfo=None) for at in (begin, end))
        while start < stop:
            midnight = dt.datetime.combine(start.date() + dt.timedelta(days=1), dt.time())
            till = min(stop, midnight)
            if start.date() in found:
                minutes = 1440 if till == midnight else till.hour * 60 + till.minute
                found[start.date()].append((start.hour * 60 + start.minute, minutes))
            start = till
    return {day: tuple(on) for day, on in found.items()}


def _nights(found: Mapping[dt.date, Spans]) -> dict[dt.date, Spans]:
    """The same with spans over midnight in one piece, on the day on which they begin."""
    result = {day: list(on) for day, on in found.items()}
    for day, on in found.items():
        after = result.get(day + dt.timedelta(days=1))
        if on and on[-1][1] == 1440 and on[-1][0] > 0 and after and after[0][0] == 0 and after[0][1] <= _MORNING:
            result[day][-1] = (on[-1][0], 1440 + after.pop(0)[1])
    return {day: tuple(on) for day, on in result.items()}


def _complete(found: dict[dt.date, Spans], usual: Mapping[int, Spans]) -> None:
    """Give the first and the last day the nights that are cut in two by the beginning and the end of it all."""
    first, last = min(found), max(found)
    before = usual[(first - dt.timedelta(days=1)).weekday()]
    if found[first] and before and found[first][0] == (0, before[-1][1] - 1440):
        found[first] = found[first][1:]
    on = usual[last.weekday()]
    if found[last] and on and on[-1][1] > 1440 and found[last][-1] == (on[-1][0], 1440):
        found[last] = (*found[last][:-1], on[-1])


def _usual(all_: Sequence[Spans]) -> Spans:
    """What holds on most of these days; nothing if there is no such thing."""
    spans, count = Counter(all_).most_common(1)[0]
    return spans if 2 * count > len(all_) else ()


def _weekly(usual: Mapping[int, Spans]) -> list[tuple[str, Spans]]:
    """Weekdays in a row that are alike, as ``Mon-Fri``."""
    found: list[tuple[list[int], Spans]] = []
    for weekday, on in usual.items():
        if found and on and found[-1][1] == on and found[-1][0][-1] == weekday - 1:
            found[-1][0].append(weekday)
        elif on:
            found.append(([weekday], on))
    joined: dict[Spans, list[str]] = {}
    for weekdays, on in found:
        name = DAYS[weekdays[0]]
        if len(weekdays) > 1:
            name += f"{'–' if len(weekdays) > 2 else ' and '}{DAYS[weekdays[-1]]}"
        joined.setdefault(on, []).append(name)
    return [("every day" if names == ["Mon–Sun"] else " and ".join(names), on) for on, names in joined.items()]


def _span_words(on: Spans) -> str:
    if on == _WHOLE:
        return "all day"
    return " and ".join(f"{_clock(begin)}–{_clock(end)}" for begin, end in on)


def _clock(minutes: int) -> str:
    minutes = minutes - 1440 if minutes > 1440 else minutes
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _dates(days: Sequence[dt.date], holidays: Collection[dt.date]) -> str:
    """Dates, those in a row as ``2026-12-31 to 2027-01-08``, and public holidays together."""
    free = [day for day in days if day in holidays]
    named = [day for day in days if len(free) < 3 or day not in holidays]
    runs: list[list[dt.date]] = []
    for day in sorted(named):
        if runs and day - runs[-1][-1] == dt.timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    words = ["public holidays"] if len(free) >= 3 else []
    words += [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:MOST_DATES]]
    rest = sum(map(len, runs[MOST_DATES:]))
    if rest:
        words.append(f"{rest} more {'day' if rest == 1 else 'days'}")
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
