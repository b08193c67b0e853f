"""A number's next openings and closings: when what a caller meets changes, to what, and why that day is special.

A plain caller (on no list, number shown) is walked at every moment at which an hours entry that the walk came by
changes, or a turn of a rota that it rings; what is the same as before is no line.  So no second reading of steps is
here: what begins is where the real ``Call`` went.  A walk is over at the first step that needs to know something of
somebody; what is only played is passed, since many flows say hello before they look at the clock.

*Open* means that from there a caller can come to somebody's telephone or a queue.  A day switch stands as it is said
to, else off.  The surprise: durations are real ones, so a night in which the clocks go forward is an hour shorter.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from callcontrol import messages as m
from callcontrol.routing.hours import DAY, HORIZON, Hours, Span, instant, member_at, next_turn
from callcontrol.routing.model import Edge, Routing
from callcontrol.steps.base import Step
from callcontrol.workbench.walk import Answer, Question, Walk

#: How far a change is looked for, days after the one before.
FARTHEST = 2 * HORIZON
#: How much of the last stretch is looked through for special days, days.
LONGEST_TOLD = 31
#: A caller whom no list names: no number of the world begins so.
PLAIN = "+0000000000"
#: What is said of a journey that comes to no step.
NOWHERE = "hangs up"

#: What the public holidays of these years are called.
Names = Callable[[range], Mapping[dt.date, str]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the same happens to every plain caller.

    ``at`` and ``until`` are UTC epochs; ``until`` None: nothing changes in sight.  ``step`` is where the caller comes
    to, ``because`` what decided it: the name of hours, or why none of them.  ``turns``: rota → extension.
    """

    at: float
    until: float | None
    word: str  # opens, closes, open, closed
    step: str
    because: str = ""
    turns: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether somebody can be reached."""
        return self.word.startswith("open")


@dataclass(frozen=True, slots=True)
class Preview:
    """What is ahead for numbers that lead to one flow.  ``stretches``: the first is now, each other begins a line.

    ``special``: days of the whole time that are special, with why.  ``switches``: how those on the way are taken.
    """

    numbers: tuple[str, ...]
    flow: str
    stretches: tuple[Stretch, ...]
    special: Mapping[dt.date, tuple[str, ...]]
    switches: Mapping[str, bool]


class SwitchError(ValueError):
    """A switch that the company does not have; ``str()`` says which there are."""


def previews(
    routing: Routing,
    numbers: Sequence[str],
    *,
    start: float,
    count: int,
    switches: Mapping[str, bool] | None = None,
    names: Names = lambda years: {},
) -> list[Preview]:
    """The next ``count`` changes of each number, those of one flow together.  Raises SwitchError."""
    given = dict(switches or {})
    for name in given:
        if name not in routing.switches:
            there = f"there is: {', '.join(routing.switches)}" if routing.switches else "it has none"
            raise SwitchError(f"there is no switch {name!r}; {there}")
    flows: dict[str, list[str]] = {}
    for number in numbers:
        flows.setdefault(routing.numbers[number].flow, []).append(number)
    return [_Ahead(routing, flow, same, given, names).preview(start, count) for flow, same in flows.items()]


# ------------------------------------------------------------------------------------------- one walk


class _Enough(Exception):
    """The walk has come to a step that needs somebody."""


@dataclass(slots=True)
class _Seen:
    """What one walk met: steps in their order, and what may change it."""

    steps: list[Step] = field(default_factory=list)
    whys: dict[int, str] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)


def _walk(routing: Routing, called: str, at: float, switches: Mapping[str, bool]) -> _Seen:
    seen = _Seen()

    def world(question: Question) -> Answer:
        if question.kind != "switch":
            return None
        seen.switches.add(question.subject)
        return "on" if switches.get(question.subject) else "off"

    def watch(now: float, command: m.Command) -> None:
        if not isinstance(command, m.Tell):
            return
        if command.type == "step.left":
            seen.whys[len(seen.steps) - 1] = str(command.data.get("why", ""))
        if command.type == "step.entered":
            step = routing.flows[command.data["flow"]].steps[command.data["step"]]
            again = step in seen.steps
            seen.steps.append(step)
            if again or (step.takes_time and step.verb != "play"):
                raise _Enough

    walk = Walk(routing, caller=PLAIN, called=called, at=at, world=world, watch=watch)
    with contextlib.suppress(_Enough):
        walk.run()
    return seen


class _Ahead:
    """What is ahead of one flow: walks, each with the moment at which another may go elsewhere."""

    def __init__(
        self, routing: Routing, flow: str, numbers: Sequence[str], switches: Mapping[str, bool], names: Names
    ) -> None:
        self.routing = routing
        self.flow = flow
        self.numbers = tuple(numbers)
        self.names = names
        self.switches = switches
        self.hours: dict[str, Hours] = {}  # all that any walk looked at
        self.asked: set[str] = set()  # the switches that any walk looked at
        self._changes: dict[str, tuple[float, float | None]] = {}

    def preview(self, start: float, count: int) -> Preview:
        """Walk until ``count`` changes are found, and the next, which ends the last."""
        found: list[Stretch] = []
        for at, stretch in itertools.islice(self._stretches(start), count + 2):
            if found:
                found[-1] = _until(found[-1], at)
            found.append(stretch)
        found = found[: count + 1]
        switches = {name: bool(self.switches.get(name)) for name in self.routing.switches if name in self.asked}
        last = found[-1]
        day = _local(last.at, self._zone).date()
        until = day + dt.timedelta(days=LONGEST_TOLD)
        if last.until is not None:  # the day on which it ends is not told any more
            until = min(until, _local(last.until, self._zone).date() - dt.timedelta(days=1))
        special = self._special(start, max(day, until)) if len(found) > 1 else {}
        return Preview(self.numbers, self.flow, tuple(found), special, switches)

    def _stretches(self, start: float) -> Iterator[tuple[float, Stretch]]:
        """One for each time in which the same happens, the first from ``start``; their ends are not known yet."""
        at: float | None = start
        before: tuple[Any, ...] = ()
        was_open, limit = None, start + FARTHEST * 86_400.0
        while at is not None and at < limit:
            seen = _walk(self.routing, self.numbers[0], at, self.switches)
            turns = {group: member_at(self.routing.groups[group], self._zone, at) for group in self._rotas(seen)}
            what = (*(step for step in seen.steps if step.verb not in ("caller", "hours")), *turns.items())
            if was_open is None or what != before:
                open_ = self._leads_to_people(seen)
                word = {True: "open", False: "closed"}[open_]
                if was_open is not None and was_open != open_:
                    word = "opens" if open_ else "closes"
                yield at, Stretch(at, None, word, self._place(seen), _because(seen), turns)
                before, was_open, limit = what, open_, at + FARTHEST * 86_400.0
            at = self._next(seen, turns, at)

    @property
    def _zone(self) -> str:
        return self.routing.timezone

    def _next(self, seen: _Seen, turns: Iterable[str], at: float) -> float | None:
        """The first moment at which the walk may go elsewhere."""
        moments = [next_turn(self.routing.groups[group], self._zone, at) for group in turns]
        names = dict.fromkeys(name for step in seen.steps if step.verb == "hours" for name, _ in step.values["hours"])
        self.asked |= seen.switches
        for name in names:
            hours = self.routing.hours[name]
            if hours.switch is None:
                self.hours[name] = hours
                known = self._changes.get(name)
                if known is None or (known[1] is not None and known[1] <= at):
                    known = self._changes[name] = (at, hours.next_change(at))
                moments += [known[1]] if known[1] is not None else []
        return min(moments, default=None)

    def _rotas(self, seen: _Seen) -> list[str]:
        """The rotas that the walk's last step begins with ringing."""
        last = seen.steps[-1] if seen.steps else None
        if last is None or last.verb != "dial":
            return []
        groups = [target.group for target in last.values["dial"][0].to if target.group]
        return [group for group in groups if self.routing.groups[group].rotate]

    def _place(self, seen: _Seen) -> str:
        """Where the caller comes to: what is first done once nobody looks at the clock any more."""
        clock = max((i for i, step in enumerate(seen.steps) if step.verb in ("hours", "caller")), default=-1)
        found = next((step for step in seen.steps[clock + 1 :] if step.takes_time), None)
        if found is None:
            return NOWHERE
        return found.name if found.flow == self.flow else f"{found.flow}/{found.name}"

    def _leads_to_people(self, seen: _Seen) -> bool:
        """Whether a caller who has come so far can come to somebody's telephone, or a queue."""
        left = seen.steps[-1:]
        known = {step for step in seen.steps[:-1] if not step.takes_time}  # these have decided already
        returns = [step for step in seen.steps if step.verb == "flow"]
        while left:
            step = left.pop()
            if step in known:
                continue
            known.add(step)
            if step.verb in ("dial", "queue") or step.values.get("extensions"):
                return True
            edges = [edge for label, edge in step.all_edges(self.routing) if label != "on_error"]
            left += self._beyond(step, edges)
            if step.verb == "flow":
                left += self._beyond(step, [Edge(step.values["flow"], None, None, step.place)])
            if any(edge.special == "return" for edge in edges):
                left += [there for back in returns for there in self._beyond(back, back.edges.values())]
        return False

    def _beyond(self, step: Step, edges: Iterable[Edge]) -> list[Step]:
        return [found for edge in edges if (found := self._at(step, edge)) is not None]

    def _at(self, step: Step, edge: Edge) -> Step | None:
        if edge.special:
            return None
        flow = self.routing.flows[edge.flow or step.flow]
        return flow.steps[edge.step or flow.start]

    # ---------------------------------------------------------------------------------- special days

    def _special(self, start: float, end: dt.date) -> dict[dt.date, tuple[str, ...]]:
        """Every day from ``start`` to ``end`` that is not like others, with why."""
        day = _local(start, self._zone).date()
        names = self.names(range(day.year, end.year + 1))
        found: dict[dt.date, tuple[str, ...]] = {}
        while day <= end:
            notes = (*self._holiday(day, names), *self._written(day), *self._clocks(day))
            if notes:
                found[day] = notes
            day += dt.timedelta(days=1)
        return found

    def _holiday(self, day: dt.date, names: Mapping[dt.date, str]) -> Iterator[str]:
        keep = [hours for hours in self.hours.values() if hours.holidays is not None]
        off = any(day in hours.days_off for hours in keep)
        if off:
            yield names.get(day, "public holiday")
        elif day in names and self.hours and not keep:
            yield f"{names[day]}: a day like others, since no hours here say holidays"
        elif day in names and keep:
            yield f"{names[day]}: not among the holidays of this version"

    def _written(self, day: dt.date) -> Iterator[str]:
        for name, hours in self.hours.items():
            for dates in hours.dates:
                if dates.first <= day <= dates.last:
                    days = f"{dates.first}" if dates.first == dates.last else f"{dates.first}..{dates.last}"
                    yield f"{name}: {days} {', '.join(str(span) for span in dates.spans) or 'closed'}"

    def _clocks(self, day: dt.date) -> Iterator[str]:
        """The change of the clocks on this day, and what it does to times that are written."""
        change = clock_change(self._zone, day)
        if change is None:
            return
        yield change
        moved: dict[str, None] = {}
        for begins in (day - dt.timedelta(days=1), day):  # what begins on the day before may end on this one
            for hours in self.hours.values():
                for minutes in _minutes(hours.spans(begins)):
                    wall = dt.datetime.combine(begins, dt.time()) + dt.timedelta(minutes=minutes)
                    if wall.date() == day:
                        moved |= dict.fromkeys(_moved(wall, self._zone))
        yield from moved


def _minutes(spans: Iterable[Span]) -> list[int]:
    return sorted({edge for span in spans if span != Span(0, DAY) for edge in (span.start, span.end)})


def _moved(wall: dt.datetime, zone: str) -> list[str]:
    """What a written time means if the clocks never show it, or show it twice."""
    here = _local(instant(wall, zone), zone)
    if here.replace(tzinfo=None, fold=0) != wall:
        return [f"{wall:%H:%M} is left out and means {here:%H:%M}"]
    if here.replace(fold=1).utcoffset() != here.utcoffset():
        return [f"{wall:%H:%M} comes twice and means the first"]
    return []


def _because(seen: _Seen) -> str:
    """What decided: the hours that are on, else why the last look at the clock found none."""
    clocks = [i for i, step in enumerate(seen.steps) if step.verb == "hours"]
    reasons = [seen.whys.get(i, "").rpartition("; ")[2] for i in clocks]
    found = reasons[-1] if reasons else ""
    return found if found.startswith("none ") else found.removesuffix(" is on")


def _until(stretch: Stretch, until: float) -> Stretch:
    return Stretch(stretch.at, until, stretch.word, stretch.step, stretch.because, stretch.turns)


@cache
def clock_change(zone: str, day: dt.date) -> str | None:
    """``clocks go forward 02:00→03:00`` if those of ``zone`` are changed on this local day."""
    begins = instant(dt.datetime.combine(day, dt.time()), zone) - 1
    ends = instant(dt.datetime.combine(day + dt.timedelta(days=1), dt.time()), zone) - 1
    before = _local(begins, zone).utcoffset()
    if before == _local(ends, zone).utcoffset():
        return None
    low, high = int(begins), int(ends)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _local(middle, zone).utcoffset() == before else (low, middle)
    new = _local(high, zone)
    old = dt.datetime.fromtimestamp(high, dt.UTC) + (before or dt.timedelta())
    way = "forward" if new.replace(tzinfo=None) > old.replace(tzinfo=None) else "back"
    return f"clocks go {way} {old:%H:%M}→{new:%H:%M}"


def _local(now: float, zone: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, ZoneInfo(zone))


# ------------------------------------------------------------------------------------------ told


def told(routing: Routing, preview: Preview) -> list[str]:
    """A preview as lines for people."""
    now, *changes = preview.stretches
    flow, zone = preview.flow, routing.timezone
    lines = [f"{', '.join(preview.numbers)} → {flow}, times of {zone}"]
    for name, on in preview.switches.items():
        state = "taken as on" if on else f"taken as off (see it on: --switch {name}=on)"
        lines.append(f"  the switch {name} ({routing.switches[name]}) is {state}")
    if not changes:
        lines.append(f"  always: {_what(routing, now)}")
        return lines
    special, before = dict(preview.special), now
    rows: list[tuple[str, str, str, str]] = []

    def quiet(before: dt.date | None, state: str) -> None:
        """Special days on which nothing changes."""
        days = {day: special.pop(day) for day in sorted(special) if before is None or day < before}
        for first, last, notes in _runs(days):
            span = f"{first:%a %Y-%m-%d}" + (f" to {last:%a %Y-%m-%d}" if last != first else "")
            rows.append((span, f"still {state}", "", "; ".join(notes)))

    for stretch in preview.stretches:
        day = _local(stretch.at, zone).date()
        if rows:
            quiet(day, "open" if before.open else "closed")
        before = stretch
        when = f"{_date(stretch.at, zone)}{' (now)' if stretch is now else ''}"
        note = "; ".join(special.pop(day, ()))
        rows.append((when, f"{stretch.word}: {_what(routing, stretch)}", _lasts(stretch), note))
    quiet(None, "open" if before.open else "closed")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append(f"  {'  '.join(cells)}  {row[3]}".rstrip())
    if changes[-1].until is None:
        lines.append("  nothing changes after that")
    return lines


def _runs(special: Mapping[dt.date, tuple[str, ...]]) -> list[tuple[dt.date, dt.date, tuple[str, ...]]]:
    """Days in a row with the same notes as one: first, last, notes."""
    found: list[tuple[dt.date, dt.date, tuple[str, ...]]] = []
    for day, notes in sorted(special.items()):
        if found and found[-1][1] == day - dt.timedelta(days=1) and found[-1][2] == notes:
            found[-1] = (found[-1][0], day, notes)
        else:
            found.append((day, day, notes))
    return found


def _what(routing: Routing, stretch: Stretch) -> str:
    turns = [f"{group}: {_named(routing, person)}" for group, person in stretch.turns.items()]
    reasons = "; ".join([*([stretch.because] if stretch.because else []), *turns])
    return f"{stretch.step} ({reasons})" if reasons else stretch.step


def _named(routing: Routing, extension: str) -> str:
    person = routing.people.get(extension)
    return f"{extension} {person.name}" if person else extension


def _date(at: float, zone: str) -> str:
    here = _local(at, zone)
    offset = f"{here:%z}"
    name = here.tzname() or ""
    named = f" {name}" if name.isalpha() else ""  # many zones have no letters but their offset
    return f"{here:%a %Y-%m-%d %H:%M}{named} {offset[:3]}:{offset[3:5]}"


def _lasts(stretch: Stretch) -> str:
    if stretch.until is None:
        return ""
    return f"for {lasting(stretch.until - stretch.at)}"


def lasting(seconds: float) -> str:
    """``3 days 15 h``, ``2 h 33 m``; what is left of a minute is not told."""
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // DAY, minutes % DAY // 60, minutes % 60
    parts = [f"{days} {'day' if days == 1 else 'days'}"] * bool(days)
    parts += [f"{hours} h"] * bool(hours) + [f"{minutes} m"] * bool(minutes)
    return " ".join(parts) or "less than a minute"


def as_data(routing: Routing, preview: Preview) -> dict[str, Any]:
    """A preview as JSON: times are ISO 8601 with their offset, durations seconds."""
    zone = routing.timezone

    def one(stretch: Stretch) -> dict[str, Any]:
        here = _local(stretch.at, zone)
        until = None if stretch.until is None else _local(stretch.until, zone)
        return {
            "at": here.isoformat(),
            "zone": here.tzname(),
            "weekday": f"{here:%A}",
            "what": stretch.word,
            "open": stretch.open,
            "step": stretch.step,
            "because": stretch.because,
            "turns": dict(stretch.turns),
            "until": until.isoformat() if until else None,
            "lasts": None if stretch.until is None else stretch.until - stretch.at,
            "special": list(preview.special.get(here.date(), ())),
        }

    now, *changes = preview.stretches
    return {
        "numbers": list(preview.numbers),
        "flow": preview.flow,
        "timezone": zone,
        "switches": {name: "on" if on else "off" for name, on in preview.switches.items()},
        "now": one(now),
        "changes": [one(change) for change in changes],
        "special": {day.isoformat(): list(notes) for day, notes in preview.special.items()},
    }
