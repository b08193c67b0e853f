"""Times: hours that never come, ``hours`` steps that always go the same way, and what a change of the clocks removes.

Everything here depends on the day, which the whole brings (``today``), and is a warning: the same file must be
accepted or refused for ever.  Where no day is given nothing is said.

The surprise: times are compared by the wall clock, as operators write them.  An instant never comes before one that
the clock shows earlier, so what covers something on the wall covers it in time, on the days of a change as well.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from callcontrol.routing.checks.whole import At, Whole
from callcontrol.routing.codes import problem
from callcontrol.routing.hours import DAY, HORIZON, Hours, Span
from callcontrol.routing.model import Problem, Reference
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import OTHERWISE

#: For how many days changes of the clocks are looked for: three of each sort, and a little.
CHANGES = 1100

#: From one minute to before another, after the midnight that begins a day.
_Part = tuple[int, int]
#: What clocks that go forward show last, and what they show then.
_Gap = tuple[dt.datetime, dt.datetime]


# ----------------------------------------------------------------------------------- never, and always


def never_on(whole: Whole) -> Iterator[Problem]:
    """Hours that are never on, and queues all of whose agents are on duty in such only."""
    if whole.today is None:
        return
    never = {name for name, hours in whole.routing.hours.items() if _never(hours, whole.today)}
    for name in sorted(never):
        hours = whole.routing.hours[name]
        past = [dates.last for dates in hours.dates if dates.spans]
        why = f"never on again: {max(past)}, its last day, is over" if past else "never on: every day of it is closed"
        yield problem("W520", hours.place, f"{quoted(name)} is {why}")
    for queue in whole.routing.queues.values():
        duties = [whole.routing.people[one.agent].duty for one in queue.agents if one.agent in whole.routing.people]
        if len(duties) == len(queue.agents) and never.issuperset(duties):
            message = f"the hours of duty of all agents of the queue {quoted(queue.name)} are never on"
            yield problem("W527", queue.place, f"{message}: nobody serves it who does not log in by hand")


def one_way(whole: Whole) -> Iterator[Problem]:
    """Steps that ask hours of which none, or not all, can ever decide, or which leave nothing for ``otherwise``."""
    if whole.today is None:
        return
    asked: dict[At, dict[str, Reference]] = {}
    for reference in whole.references:
        if reference.kind == "hours" and reference.step is not None:
            asked.setdefault((reference.flow or "", reference.step), {})[reference.name] = reference
    judged: dict[tuple[str, ...], _Judgement] = {}
    for at, entries in asked.items():
        step = whole.routing.step(*at)
        names = tuple(entries)
        if step is None or not all(name in whole.routing.hours for name in names):
            continue
        if names not in judged:
            judged[names] = _judge([whole.routing.hours[name] for name in names], whole.today)
        found, otherwise = judged[names], step.edges.get(OTHERWISE)
        if found.never:
            where = f", and every call goes to {otherwise}" if otherwise else ""
            yield problem("W523", step.place, f"this is closed for ever: none of its hours is ever on{where}")
        for name, by in found.hidden.items():
            message = f"{quoted(name)} never decides here: whenever it is on, {by} on as well, and asked first"
            yield problem("W521", entries[name].place, message)
        if found.always and otherwise:
            yield problem("W522", otherwise.place, f"otherwise is never followed here: {found.always} on at any time")


@dataclass(frozen=True)
class _Judgement:
    """What a row of hours comes to that are asked one after another.

    ``never``: none is ever on.  ``hidden``: those that never decide, each with what is on instead.  ``always``: what is
    on at any time, empty if nothing is.
    """

    never: bool
    hidden: dict[str, str]
    always: str


def _judge(row: Sequence[Hours], today: dt.date) -> _Judgement:
    windows = _windows(row, today)
    hidden: dict[str, str] = {}
    for i, hours in enumerate(row):
        own = [window[i] for window in windows]
        if hours.switch or not any(own):
            continue
        for before in [*([j] for j in range(i)), list(range(i))]:
            if before and all(_covered(window[i], [window[j] for j in before]) for window in windows):
                hidden[hours.name] = _one_of([row[j].name for j in before])
                break
    whole_day = ((0, DAY),)
    deciding = [i for i, hours in enumerate(row) if hours.name not in hidden]
    for some in [*([i] for i in deciding), deciding]:
        if all(_covered(whole_day, [window[i] for i in some]) for window in windows):
            always = _one_of([row[i].name for i in some])
            break
    else:
        always = ""
    never = not any(hours.switch for hours in row) and not any(any(window) for window in windows)
    return _Judgement(never, hidden, always)


def _never(hours: Hours, today: dt.date) -> bool:
    return not hours.switch and not any(any(window) for window in _windows([hours], today))


def _windows(row: Sequence[Hours], today: dt.date) -> set[tuple[tuple[_Part, ...], ...]]:
    """Every sort of day to come: for each of the hours the parts of it in which they are on, by the wall clock.

    Each sort stands there once, however many days are of it.  Nobody knows when a switch is on: never, as far as
    others are to make up for it.
    """
    begun = {tuple((hours.weekdays[day - 1], hours.weekdays[day]) for hours in row) for day in range(7)}
    for day in _days(row, today):
        yesterday = day - dt.timedelta(days=1)
        begun.add(tuple((hours.spans(yesterday), hours.spans(day)) for hours in row))
    return {tuple(_parts(before, spans) for before, spans in day) for day in begun}


def _days(row: Sequence[Hours], today: dt.date) -> set[dt.date]:
    """The days to come that may be unlike others: those around holidays, and a week from where dates begin or end.

    Plain weeks come after all dates, whatever these say.  No holiday is looked for beyond a year and a little.
    """
    one, last = dt.timedelta(days=1), today + dt.timedelta(days=HORIZON)
    off = {day for hours in row if hours.holidays is not None for day in hours.days_off if today <= day <= last}
    turns = {edge for hours in row for dates in hours.dates for edge in (dates.first, dates.last + one)}
    weeks = {turn + one * days for turn in turns | {today} if turn >= today for days in range(8)}
    return weeks | off | {day + one for day in off}


def _parts(before: Sequence[Span], spans: Sequence[Span]) -> tuple[_Part, ...]:
    """When hours are on in a day whose ``spans`` begin on it, those ``before`` on the day before it."""
    late = [(0, span.end - DAY) for span in before if span.end > DAY]
    return tuple(sorted([*late, *((span.start, min(span.end, DAY)) for span in spans)]))


def _covered(wanted: Sequence[_Part], others: Iterable[Sequence[_Part]]) -> bool:
    """Whether ``others`` together have all of what is wanted."""
    parts = sorted(part for some in others for part in some)
    for start, end in wanted:
        for first, last in parts:
            if first <= start < last:
                start = last
        if start < end:
            return False
    return True


def _one_of(names: Sequence[str]) -> str:
    """The names as what ``is on`` follows."""
    listed = _listed([quoted(name) for name in names])
    return f"{listed} is" if len(names) == 1 else f"one of {listed} is"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# ------------------------------------------------------------------------------- changes of the clocks


def changes_of_clocks(whole: Whole) -> Iterator[Problem]:
    """Times that do not come, or are cut short, on a day on which the clocks go forward."""
    if whole.today is None:
        return
    for hours in whole.routing.hours.values():
        gone: dict[Span, list[_Gap]] = {}
        cut: dict[Span, list[_Gap]] = {}
        for gap in _gaps(hours.zone, whole.today):
            begins, ends = gap
            for day in sorted({begins.date() - dt.timedelta(days=1), begins.date(), ends.date()}):
                midnight = dt.datetime.combine(day, dt.time())
                for span in hours.spans(day):
                    first, last = (midnight + dt.timedelta(minutes=at) for at in (span.start, span.end))
                    if begins <= first and last <= ends:
                        gone.setdefault(span, []).append(gap)
                    elif begins < first < ends or begins < last < ends:
                        cut.setdefault(span, []).append(gap)
        for span, gaps in gone.items():
            message = f"{span} of {quoted(hours.name)} does not come {_when(hours.zone, gaps)}"
            yield problem("W524", hours.place, message)
        for span, gaps in cut.items():
            message = f"{span} of {quoted(hours.name)} is shorter {_when(hours.zone, gaps)}"
            yield problem("W525", hours.place, message)


@lru_cache(maxsize=64)
def _gaps(zone: str, today: dt.date) -> tuple[_Gap, ...]:
    """The next changes at which the clocks of ``zone`` go forward: what they show last, and what they show then."""
    tz = ZoneInfo(zone)
    found = []
    before = _offset(tz, _midnight(today))
    for days in range(1, CHANGES):
        end = _midnight(today) + days * 86_400
        after = _offset(tz, end)
        if after > before:
            low, high = end - 86_400, end
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _offset(tz, middle) == after else (middle, high)
            change = dt.datetime.fromtimestamp(high, dt.UTC).replace(tzinfo=None)
            found.append((change + before, change + after))
        before = after
    return tuple(found)


def _midnight(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def _offset(tz: ZoneInfo, epoch: int) -> dt.timedelta:
    return dt.datetime.fromtimestamp(epoch, tz).utcoffset() or dt.timedelta()


def _when(zone: str, gaps: Sequence[_Gap]) -> str:
    days = _listed([str(begins.date()) for begins, _ in gaps])
    begins, ends = gaps[0]
    return f"on {days}: the clocks of {zone} go from {begins:%H:%M} to {ends:%H:%M} then"
