"""Every walk there is: the same call with every answer to every question, in one version or in several at once.

A walk's world answers by a *script* and takes the first option beyond its end; each option that was passed over gives
another script.  So a search over scripts finds every journey, without any state that is kept between two walks.

What is asked is more than a :class:`~.walk.Question`: which hours are on, whose turn it is in a rota and on which lists
the caller stands are questions, too.  Nobody enumerates times and callers: :class:`Ground` knows which combinations
exist, each walk narrows them to those under which it is walked, and a walk stands for all that are left.  Several
versions share one ground and one set of answers: the caller presses the same keys in the same order (whatever the steps
are called), a telephone that is busy in one is busy in the other.

Where all versions have come to the same step in the same way, and nothing that can be reached from there differs, they
are walked to one end only: they cannot part any more (:class:`Common`).

The surprise: telephones do not need every combination.  Of those that ring together one answers, or none does and all
alike; a telephone stays as it was the first time; a prompt that was answered wrongly is answered so again.  Whatever
is left out beyond that, because there is too much of it, is said (:attr:`Explored.cut`).
"""

from __future__ import annotations

import datetime as dt
import functools
import heapq
import itertools
import operator
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from callcontrol import messages as m
from callcontrol.routing.hours import Hours, instant, member_at
from callcontrol.routing.model import CallerList, Group, Queue, Routing
from callcontrol.workbench.walk import AWAY, LOST, Answer, Question, Walk

#: How far ahead times are told apart, days: dates and holidays in it are found.
HORIZON = 400
#: Walks of one number at most; those with fewer unusual answers come first.
MOST_WALKS = 2000
#: And so much work, counted in commands of the calls: some seconds.
MOST_WORK = 120_000
#: Answers of one walk between which there is a choice, at most.
DEEPEST = 40
#: A walk that enters more steps, or so often the same one in vain, goes round for ever.
MOST_STEPS = 120
MOST_VISITS = 8
#: Somebody who called, where nothing depends on who it was.
SOMEBODY = "+12025550143"
#: What a lookup may bring for a variable that is dialled, if it is nobody's extension.
NOBODY = "0"

#: What a queue says of how long things take, and how many there may be.
_PACE = ("max_wait", "max_callers", "unstaffed", "ring", "wrap_up", "strategy", "pause_after")
Interval = tuple[float, float]
#: A step that was entered: its name, how many choices had been made, and all that had been seen until then.
Entry = tuple[str, int, tuple[Any, ...]]


# --------------------------------------------------------------------------------- times, turns and callers


@dataclass(slots=True)
class CallerClass:
    """Callers between whom no list distinguishes: ``lists`` are those they stand on, ``examples`` some of them."""

    lists: frozenset[CallerList]
    examples: list[str | None] = field(default_factory=list)
    #: There are more than the examples: a prefix, or everybody else.
    open: bool = False


class Ground:
    """What the versions compared have in common: one calendar and one world of callers.

    ``since``: a UTC epoch; times begin with its day in ``zone``.  Sets of times, of turns and of classes of callers are
    bits of an integer.  Times and turns count as independent: whose turn it is changes weekly, the hours daily.
    """

    def __init__(self, routings: Sequence[Routing], since: float, days: int = HORIZON) -> None:
        self.zone = routings[0].timezone
        today = dt.datetime.fromtimestamp(since, ZoneInfo(self.zone)).date()
        self.today, self.days = today, days
        self.begin = instant(dt.datetime.combine(today, dt.time()), self.zone)
        self.end = instant(dt.datetime.combine(today + dt.timedelta(days=days), dt.time()), self.zone)
        self.since = since
        self._order: list[tuple[float, float, int]] | None = None
        scheduled = {hours: None for one in routings for hours in one.hours.values() if not hours.switch}
        #: Hours → the times at which they are on.
        self.on: dict[Hours, int] = {}
        #: For each time, its intervals; UTC epochs.
        self.intervals: list[list[Interval]] = []
        self._find_times(list(scheduled))
        rotas = {group: None for one in routings for group in one.groups.values() if group.rotate and group.members}
        #: Rota → member → the turns at which it is theirs.
        self.turn: dict[Group, dict[str, int]] = {}
        self._find_turns(list(rotas), [one.timezone for one in routings])
        lists = {known: None for one in routings for known in one.lists.values()}
        #: List → the callers who stand on it.
        self.listed: dict[CallerList, int] = {}
        self.callers: list[CallerClass] = []
        self._find_callers(list(lists))
        self.holidays = frozenset(day for hours in scheduled for day in hours.days_off if hours.holidays is not None)

    @property
    def everything(self) -> dict[str, int]:
        """All times, turns and callers."""
        return {
            "times": (1 << len(self.intervals)) - 1,
            "turns": self._turns,
            "callers": (1 << len(self.callers)) - 1,
        }

    def spans(self, times: int) -> list[Interval]:
        """The intervals of a set of times, joined where they touch."""
        return _joined(span for at, spans in enumerate(self.intervals) if times >> at & 1 for span in spans)

    def time_at(self, moment: float) -> tuple[int, float]:
        """Which time it is at a UTC epoch, and until when; -1 outside of what is looked at."""
        if self._order is None:
            self._order = sorted((*span, at) for at, spans in enumerate(self.intervals) for span in spans)
        found = bisect_right(self._order, (moment, float("inf"), 0)) - 1
        if found < 0 or moment >= self._order[found][1]:
            return -1, moment
        return self._order[found][2], self._order[found][1]

    def _find_times(self, scheduled: Sequence[Hours]) -> None:
        toggles: list[tuple[float, int]] = []
        for number, hours in enumerate(scheduled):
            for begin, end in self._on(hours):
                toggles += ((begin, 1 << number), (end, 1 << number))
        toggles.sort()
        found: dict[int, list[Interval]] = {}
        state, at = 0, self.begin
        for moment, group in itertools.groupby(toggles, key=lambda toggle: toggle[0]):
            if self.begin < moment < self.end:
                found.setdefault(state, []).append((at, moment))
                at = moment
            if moment < self.end:
                for _, bit in group:
                    state ^= bit
        found.setdefault(state, []).append((at, self.end))
        self.intervals = list(found.values())
        for number, hours in enumerate(scheduled):
            self.on[hours] = sum(1 << at for at, state in enumerate(found) if state >> number & 1)

    def _on(self, hours: Hours) -> list[Interval]:
        """When ``hours`` are on, from before the beginning to after the end."""
        first = self.today - dt.timedelta(days=2)
        found = []
        for offset in range(self.days + 4):
            day = first + dt.timedelta(days=offset)
            midnight = dt.datetime.combine(day, dt.time())
            for span in hours.spans(day):
                begin, end = (
                    instant(midnight + dt.timedelta(minutes=minutes), hours.zone) for minutes in (span.start, span.end)
                )
                if end > self.begin:
                    found.append((max(begin, self.begin), end))
        return _joined(found)

    def _find_turns(self, rotas: Sequence[Group], zones: Sequence[str]) -> None:
        zone = zones[0]
        changes: list[tuple[float, int]] = []
        turns = []
        for number, group in enumerate(rotas):
            turns.append(group.members.index(member_at(group, zone, self.begin)))
            if group.start is None or len(group.members) == 1:
                continue
            length = dt.timedelta(days=1 if group.rotate == "daily" else 7)
            wall = dt.datetime.fromtimestamp(self.begin, ZoneInfo(zone)).replace(tzinfo=None)
            following = group.start + ((wall - group.start) // length + 1) * length
            while (moment := instant(following, zone)) < self.end:
                changes.append((moment, number))
                following += length
        found = {tuple(turns): None}
        for _, together in itertools.groupby(sorted(changes), key=lambda change: change[0]):
            for _, number in together:
                turns[number] = (turns[number] + 1) % len(rotas[number].members)
            found[tuple(turns)] = None
        self._turns = (1 << len(found)) - 1
        for number, group in enumerate(rotas):
            theirs: dict[str, int] = {}
            for at, state in enumerate(found):
                member = group.members[state[number]]
                theirs[member] = theirs.get(member, 0) | 1 << at
            self.turn[group] = theirs

    def _find_callers(self, lists: Sequence[CallerList]) -> None:
        classes: dict[frozenset[CallerList], CallerClass] = {}
        exact = {number for known in lists for number in known.numbers}

        def met(caller: str | None, more: bool) -> None:
            on = frozenset(known for known in lists if known.matches(caller))
            found = classes.setdefault(on, CallerClass(on))
            found.open |= more
            if len(found.examples) < 4 and caller not in found.examples:
                found.examples.append(caller)

        strangers = (SOMEBODY, *(f"+{digit}0000000000" for digit in "79312456 8".replace(" ", "")))
        stranger = next((one for one in strangers if not any(known.matches(one) for known in lists)), None)
        if stranger is not None:
            met(stranger, more=True)
        met(None, more=False)
        for number in sorted(exact):
            met(number, more=False)
        for prefix in sorted({prefix for known in lists for prefix in known.prefixes}):
            inside = (prefix.ljust(12, digit) for digit in "0123456789")
            met(next((one for one in inside if one not in exact), prefix), more=True)
        self.callers = list(classes.values())
        for known in lists:
            self.listed[known] = sum(1 << at for at, one in enumerate(self.callers) if known in one.lists)


def _joined(spans: Iterable[Interval]) -> list[Interval]:
    """Sorted, and one where they touch."""
    found: list[Interval] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif begin < end:
            found.append((begin, end))
    return found


# ---------------------------------------------------------------------------------------------- what a walk was


@dataclass(frozen=True, slots=True)
class Told:
    """What one version did with the call: plain values that compare, and name no step.

    ``chain``: whom and what the call comes to on its way, like ``("rings", (("301", "301"),))`` (person, address),
    ``("queue", "sales", agents)`` and ``("talk", "301")``, if it goes on after that; ``end``:
    like ``("talk", "301")``, ``("voicemail", ("301",))``,
    ``("hangup", "busy")``, ``("waits", "sales")``: for ever, and ``("round",)``: it goes round for ever.  ``steps``:
    their verbs; ``heard``: every sound once, and what telephones show and play; ``pace``: how long things take, and
    other numbers; ``recorded``: whether the talk is.  ``names`` are the steps as they are called, for people;
    ``again``: how often the caller was asked in vain.
    """

    chain: tuple[tuple[Any, ...], ...]
    end: tuple[Any, ...]
    steps: tuple[str, ...]
    heard: tuple[Hashable, ...]
    pace: tuple[Hashable, ...]
    recorded: bool
    names: tuple[str, ...] = field(compare=False, default=())
    again: int = field(compare=False, default=0)

    @property
    def way(self) -> tuple[Any, ...]:
        """Where it ends, and whom it rings on the way."""
        return self.chain, self.end


class Enough(Exception):
    """The walk has shown all that there is to see."""

    def __init__(self, *end: Any) -> None:
        self.end = end


class Watching:
    """Watches a walk, and makes a :class:`Told` of it.  Raises Enough when it goes on for ever."""

    def __init__(self, routing: Routing, began: float, sounds: Mapping[str, str], chosen: Sequence[Any] = ()) -> None:
        self._routing = routing
        self._sounds = sounds
        self._began = self._at = began
        self._chosen = chosen
        #: How many commands there were.
        self.work = 0
        #: Each step entered: its name, how many choices were made before, and what was seen until then.
        self.entries: list[Entry] = []
        self.chain: list[tuple[Any, ...]] = []
        self._rang = -1.0
        self._steps: list[str] = []
        self.names: list[str] = []
        #: How often each step was entered, with which variables set.
        self._visits: dict[tuple[str, frozenset[str]], int] = {}
        self._heard: dict[Hashable, None] = {}
        self._pace: list[Hashable] = []
        self._recorded = False
        self._legs: dict[str, str] = {}
        self._past: tuple[Any, ...] = ()  # a talk or a message after which no other step has come yet
        self._over: tuple[Any, ...] = ()
        self._queue: str | None = None
        self._agents: dict[str, None] = {}
        self._patience = float("inf")
        #: Steps of this walk that gave variables values: what stands between two visits of a step.
        self.changed: frozenset[str] = frozenset()

    def __call__(self, at: float, command: m.Command) -> None:
        """See a command."""
        self._at = at
        self.work += 1
        if isinstance(command, m.RingLeg):
            self._ring(at, command)
        elif isinstance(command, m.Play):
            self._hear(command.sound)
        elif isinstance(command, m.Enter):
            self._enter(at, command)
        elif isinstance(command, m.Leave):
            self._leave()
        elif isinstance(command, m.Join):
            self._recorded |= bool(command.record)
            self._leave()
            self._past = ("talk", self._legs[command.leg])
        elif isinstance(command, m.Record):
            self._pace.append(("message", command.seconds))
        elif isinstance(command, m.Hangup):
            self._over = ("hangup", command.reason)
        elif isinstance(command, m.Tell) and command.type in ("message.recorded", "message.empty"):
            self._past = ("voicemail", tuple(command.data["for"]))
        elif isinstance(command, m.Tell) and command.type == "step.entered" and not command.data.get("resumed"):
            self._step(command.data)
        if self._queue is not None and at > self._patience:
            raise Enough("waits", self._queue)

    @property
    def end(self) -> tuple[Any, ...]:
        """What a walk to the very end has come to, or nothing."""
        return self._past or self._over

    def told(self, end: Sequence[Any], again: int = 0) -> Told:
        """What was seen."""
        self._leave()
        return Told(
            chain=tuple(self.chain),
            end=tuple(end),
            steps=tuple(self._steps),
            heard=tuple(self._heard),
            pace=(*self._pace, ("takes", round(self._at - self._began, 1))),
            recorded=self._recorded,
            names=tuple(self.names),
            again=again,
        )

    def _step(self, data: Mapping[str, Any]) -> None:
        if self._past:
            self.chain.append(self._past)
            self._past = ()
        self._steps.append(data["verb"])
        self.names.append(f"{data['flow']}/{data['step']}")
        seen = (*self.chain, *self._heard, *self._pace, self._at)
        self.entries.append((self.names[-1], len(self._chosen), seen))
        if data["verb"] in ("set", "collect", "lookup"):
            self.changed |= {self.names[-1]}
        step = self._routing.step(data["flow"], data["step"])
        if step is not None and "wait" in step.values:
            asks = ("asks", data["verb"], step.values["wait"], step.values.get("tries"))
            if asks not in self._pace:
                self._pace.append(asks)
        visits = self._visits[self.names[-1], self.changed] = self._visits.get((self.names[-1], self.changed), 0) + 1
        if len(self._steps) > MOST_STEPS or visits > MOST_VISITS:
            raise Enough("round")

    def _ring(self, at: float, ring: m.RingLeg) -> None:
        who = (ring.phone.person, ring.phone.address)
        self._legs[ring.leg] = ring.phone.person or ring.phone.address
        if self._queue is not None:
            self._agents[ring.phone.person or ring.phone.address] = None
        elif self.chain and self.chain[-1][0] == "rings" and self._rang == at:
            self.chain[-1] = ("rings", (*self.chain[-1][1], who))
        else:
            self.chain.append(("rings", (who,)))
        self._rang = at
        heard = (self._sound(ring.whisper), self._sound(ring.confirm), ring.shown, ring.name)
        self._heard[("phone", who, *heard)] = None
        pace = ("rings", who, ring.seconds, ring.trunks, ring.caps)
        if pace not in self._pace:
            self._pace.append(pace)

    def _enter(self, at: float, enter: m.Enter) -> None:
        if self._queue is not None:
            return  # again, after a joining that failed
        queue = self._routing.queues[enter.queue]
        self._queue, self._agents = enter.queue, {}
        if queue.max_wait is None:
            self._patience = at + _patience(queue)
        for one in queue.announce:
            sayings = tuple(getattr(said, "text", "") or getattr(said, "name", "") for said in one.say.sayings.values())
            self._heard["announces", one.every, *sayings] = None
        told = {name: getattr(queue, name) for name in _PACE}
        told |= {"delays": tuple(queue.delays.items()), "priority": enter.priority, "skills": enter.skills}
        self._pace.append(("waits", enter.queue, *told.items()))

    def _leave(self) -> None:
        if self._queue is not None:
            self.chain.append(("queue", self._queue, tuple(self._agents)))
        self._queue, self._patience = None, float("inf")

    def _hear(self, sound: m.Sound) -> None:
        heard = self._sound(sound)
        if heard is not None and heard != ("tone", "ringback"):
            self._heard[heard] = None

    def _sound(self, sound: m.Sound | None) -> tuple[str, ...] | None:
        if isinstance(sound, m.Speech):
            return ("says", sound.text, sound.language)
        if isinstance(sound, m.SoundFile):
            return ("plays", sound.name, "", self._sounds.get(sound.name, ""))  # a file is one, whoever speaks in it
        return None if sound is None else ("tone" if isinstance(sound, m.Tone) else "music", sound.name)


def _patience(queue: Queue) -> float:
    """By then every agent has been rung once, and a later one would be the same again, seconds."""
    return max(queue.levels.values(), default=0.0) + (queue.ring + 2.0) * (len(queue.agents) + 1)


# ------------------------------------------------------------------------------------------------------ scripts


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the answer that it got, and for how many of the versions it was asked."""

    question: Question
    answer: Answer
    #: Keys that mean nothing where they were asked for, in the version that asked first.
    wrong: bool = False
    sides: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Walked:
    """One walk: under which times, turns and callers it is walked, by which answers, and what each version did.

    ``turning``: where, once the versions have parted, somebody is rung because it is their turn: version, place in its
    chain, rota.
    """

    times: int
    turns: int
    callers: int
    asked: tuple[Asked, ...]
    told: tuple[Told, ...]
    turning: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Explored:
    """Every walk, those with fewer unusual answers first; ``cut``: what was left out, for people, or nothing.

    ``work``: how many commands it took.
    """

    walks: tuple[Walked, ...]
    cut: str = ""
    work: int = 0


class _Run:
    """One script, and what was asked and answered under it."""

    def __init__(self, ground: Ground, script: tuple[Any, ...]) -> None:
        self._script = script
        self.masks = ground.everything
        #: Each choice that there was: the answer, what there was to choose from, and how unusual another one is.
        self.path: list[tuple[Any, tuple[Any, ...], int]] = []
        self.asked: dict[Hashable, Asked] = {}
        #: Position of a question in the path, if there was a choice.
        self.position: dict[Hashable, int] = {}
        #: What another version would have chosen from besides: position and answer.
        self.more: list[tuple[int, Any]] = []
        self.turned: list[_Turned] = []
        self.deep = False

    def choose(self, options: tuple[Any, ...], unusual: int = 1, always: bool = False) -> Any:
        """One of the options, by the script.  ``unusual``: how much less likely any but the first is; ``always``: it is
        a choice although there is one option only, since another version may know more.
        """
        if len(options) == 1 and not always:
            return options[0]
        at = len(self.path)
        if at >= DEEPEST:
            self.deep = True
            return options[0]
        answer = self._script[at] if at < len(self._script) else options[0]
        self.path.append((answer, options, unusual))
        return answer

    def split(self, kind: str, parts: Sequence[tuple[Any, int]]) -> Any:
        """Which part of the times, turns or callers it is, among those that there still are."""
        left = [(label, mask) for label, mask in parts if mask & self.masks[kind]]
        if not left:  # nothing is left of a ground that has none: the first will do
            return parts[0][0]
        label = self.choose(tuple(label for label, _ in left), unusual=0)
        self.masks[kind] &= next(mask for known, mask in left if known == label)
        return label

    def turn(self, side: _Side, rota: Group, members: Mapping[str, int]) -> str:
        """Whose turn it is."""
        at = len(self.path)
        whose = str(self.split("turns", tuple(members.items())))
        changed = sum(other.name == rota.name for other in side.ground.turn) > 1
        at = at if len(self.path) > at else -1
        self.turned.append(_Turned(side.number, len(side.watch.chain), rota.name, members[whose], at, changed))
        return whose


@dataclass(frozen=True, slots=True)
class _Turned:
    """Whose turn it is: asked in which version, after how many items of its chain, and where in the path (or -1).

    ``changed``: the rota itself is another.
    """

    side: int
    chain: int
    rota: str
    mask: int
    at: int
    changed: bool


class _AskedHours:
    """Hours that are a question."""

    def __init__(self, side: _Side, hours: Hours) -> None:
        self.switch = hours.switch
        self._side, self._hours = side, hours

    def is_on(self, now: float) -> bool:
        on, every = self._side.ground.on[self._hours], self._side.ground.everything["times"]
        return bool(self._side.run.split("times", ((True, on), (False, every & ~on))))


class _AskedList:
    """A list that is a question."""

    def __init__(self, side: _Side, known: CallerList) -> None:
        self._side, self._list = side, known

    def matches(self, caller: str | None) -> bool:
        on, every = self._side.ground.listed[self._list], self._side.ground.everything["callers"]
        return bool(self._side.run.split("callers", ((False, every & ~on), (True, on))))


class _AskedTurn:
    """A rota that is a question: it began when it must have for the one whose turn it shall be."""

    def __init__(self, side: _Side, group: Group) -> None:
        self.name, self.members, self.rotate, self.place = group.name, group.members, group.rotate, group.place
        self._side, self._group = side, group

    @property
    def start(self) -> dt.datetime:
        turn = dt.timedelta(days=1 if self.rotate == "daily" else 7)
        whose = self._side.run.turn(self._side, self._group, self._side.ground.turn[self._group])
        now = dt.datetime.fromtimestamp(self._side.ground.since, ZoneInfo(self._side.routing.timezone))
        return now.replace(tzinfo=None) - self.members.index(whose) * turn - turn / 2


class _Side:
    """One version, made so that it asks."""

    def __init__(self, ground: Ground, number: int, routing: Routing, values: Mapping[str, tuple[str, ...]]) -> None:
        self.ground, self.number, self.values = ground, number, values
        self.run: Any = None
        self.watch: Any = None
        asked: dict[str, Any] = {
            "hours": {name: _AskedHours(self, hours) for name, hours in routing.hours.items()},
            "lists": {name: _AskedList(self, known) for name, known in routing.lists.items()},
            "groups": {
                name: _AskedTurn(self, group) if group.rotate and group.members else group
                for name, group in routing.groups.items()
            },
            "queues": {name: _hurried(queue) for name, queue in routing.queues.items()},
        }
        self.routing = replace(routing, **asked)
        self.whole = routing


def _hurried(queue: Queue) -> Queue:
    """The queue without the time in which nothing new happens."""
    return queue if queue.max_wait is None else replace(queue, max_wait=min(queue.max_wait, _patience(queue)))


class Common:
    """What two versions have in common: the steps from which they cannot part any more.

    A step counts as alike only with everything that it names and everything that can be reached from it.
    """

    def __init__(self, ground: Ground, old: Routing, new: Routing) -> None:
        self._ground, self._old, self._new = ground, old, new
        sounds = old.sounds == new.sounds or not (old.sounds and new.sounds)
        names = ("languages", "timezone", "country", "outbound", "recording")
        self._whole = sounds and all(getattr(old, name) == getattr(new, name) for name in names)
        self._whole = self._whole and old.numbers.keys() == new.numbers.keys()
        self._people = {extension for extension in old.people if self._same(old.people, new.people, extension)}
        #: Steps that are themselves other, and those from which one of them can be reached.
        self._other = self._unlike()
        self._parting = self._leading_to(self._other)

    def begin(self, old: str, new: str) -> bool:
        """Whether calls to these two numbers begin with the same."""
        first, second = self._old.numbers.get(old), self._new.numbers.get(new)
        if first is None or second is None or not self._whole:
            return False
        return first.sets == second.sets and first.record == second.record

    @property
    def otherwise(self) -> list[str]:
        """The extensions, known to both, of people who are themselves other, or to whom their calls may go."""
        return [one for one in self._old.people if one in self._new.people and one not in self._people]

    def parts(self, flow: str) -> bool:
        """Whether what begins in this flow may part."""
        return not self._whole or not self._starts(flow) or f"{flow}/{self._old.flows[flow].start}" in self._parting

    def throughout(self, called: str) -> bool:
        """Whether a call to this number is the same in both from its beginning to its end."""
        if not self.begin(called, called):
            return False
        flow, other = self._old.numbers[called].flow, self._new.numbers[called].flow
        return flow == other and f"{flow}/{self._old.flows[flow].start}" not in self._parting and self._starts(flow)

    def _starts(self, flow: str) -> bool:
        return flow in self._new.flows and self._old.flows[flow].start == self._new.flows[flow].start

    def from_here(self, old: Sequence[Entry], new: Sequence[Entry]) -> tuple[int, int] | None:
        """After how many choices, in the one walk and the other, the two cannot part any more; None: they can."""
        run: list[str] = []  # flows come back to who ran them
        for (step, choices, seen), (other, others, also) in zip(old, new, strict=False):
            if step != other or seen != also:
                return None
            if step not in self._parting and not any(one in self._parting for one in run):
                return choices, others
            flow, _, name = step.partition("/")
            found = self._old.step(flow, name)
            if found is None or (step in self._other and found.verb in ("set", "collect", "lookup")):
                return None
            if found.verb == "flow":
                run.append(step)
        return None

    def _unlike(self) -> set[str]:
        steps = {f"{step.flow}/{step.name}": step for flow in self._old.flows.values() for step in flow.steps.values()}
        return {name for name, step in steps.items() if not self._like(step, self._new.step(step.flow, step.name))}

    def _like(self, step: Any, other: Any) -> bool:
        if other is None or not self._whole:
            return False
        ours, theirs = self._old.flows[step.flow], self._new.flows[step.flow]
        return (
            step.verb == other.verb
            and step.values == other.values
            and step.edges == other.edges
            and (step.on_error, step.record) == (other.on_error, other.record)
            and (ours.on_error, ours.record) == (theirs.on_error, theirs.record)
            and _following(self._old, step) == _following(self._new, other)
            and self._names(step)
        )

    def _names(self, step: Any) -> bool:
        """Whether what the step names is the same in both."""
        old, new = self._old, self._new
        match step.verb:
            case "caller":
                return all(old.lists[name] == new.lists.get(name) for name, _ in step.values["caller"])
            case "hours":
                return all(self._hours(name) for name, _ in step.values["hours"])
            case "queue":
                queue = old.queues[step.values["queue"]]
                agents = all(one.agent in self._people for one in queue.agents)
                return agents and queue == new.queues.get(queue.name)
            case "dial":
                return self._targets(target for stage in step.values["dial"] for target in stage.to)
            case "menu":
                return self._targets(step.values["extensions"])
        return True

    def _targets(self, targets: Iterable[Any]) -> bool:
        for target in targets:
            if target.variable and not self._everybody:
                return False
            if target.person and target.person not in self._people:
                return False
            if target.group:
                group = self._old.groups[target.group]
                if group != self._new.groups.get(target.group) or not self._people.issuperset(group.members):
                    return False
        return True

    @property
    def _everybody(self) -> bool:
        return self._old.people.keys() == self._new.people.keys() == self._people

    def _hours(self, name: str) -> bool:
        ours, theirs = self._old.hours[name], self._new.hours.get(name)
        if theirs is None or ours.switch or theirs.switch:
            return theirs is not None and bool(ours.switch) == bool(theirs.switch)
        return self._ground.on[ours] == self._ground.on[theirs]

    def _same(self, old: Mapping[str, Any], new: Mapping[str, Any], extension: str) -> bool:
        """Whether a person is the same, and everybody to whom their calls may go."""
        seen, left = set(), [extension]
        while left:
            one = left.pop()
            if one in seen:
                continue
            seen.add(one)
            if one not in old or old[one] != new.get(one):
                return False
            left += (str(rule["to"]) for rule in old[one].forward.values() if str(rule["to"]) in old)
        return True

    def _leading_to(self, steps: set[str]) -> set[str]:
        before: dict[str, set[str]] = {}
        for flow in self._old.flows.values():
            for step in flow.steps.values():
                for following in _following(self._old, step):
                    before.setdefault(following, set()).add(f"{flow.name}/{step.name}")
        found, left = set(steps), list(steps)
        while left:
            for one in before.get(left.pop(), set()) - found:
                found.add(one)
                left.append(one)
        return found


def _following(routing: Routing, step: Any) -> list[str]:
    """The steps that may follow a step, by all of its edges."""
    edges = [(edge.flow or step.flow, edge.step) for _, edge in step.all_edges(routing) if not edge.special]
    if step.verb == "flow":
        edges.append((step.values["flow"], None))
    return [f"{flow}/{name or routing.flows[flow].start}" for flow, name in edges if flow in routing.flows]


def _parted(told: Sequence[Told]) -> int:
    """How many items of their chains the versions have in common before they part; more than any, if they do not."""
    ways = [(*one.chain, one.end) for one in told]
    alike = 0
    while alike < min(map(len, ways)):
        if any(way[alike] != ways[0][alike] for way in ways):
            return alike
        alike += 1
    return 1_000_000


def _rung(item: tuple[Any, ...]) -> Iterable[str]:
    """Whose telephones an item of a chain rings: addresses, and agents."""
    if item[0] == "queue":
        return item[2]  # type: ignore[no-any-return]
    return (address for _, address in item[1]) if item[0] == "rings" else ()


def _goes_on(routing: Routing) -> bool:
    """Whether a call may go on after a talk or a message, which is where walks end else."""
    steps = (step for flow in routing.flows.values() for step in flow.steps.values())
    edges = (step.edges.get("then") for step in steps if step.verb in ("dial", "queue", "voicemail", "menu"))
    return any(edge is not None and edge.special != "hangup" for edge in edges)


class Explorer:
    """Finds every walk of ``routings`` (one or more versions) over their common ``ground``."""

    def __init__(self, ground: Ground, routings: Sequence[Routing], most: int = MOST_WALKS) -> None:
        self.ground, self._most = ground, most
        people = [one for one in routings[0].people if all(one in other.people for other in routings)]
        people += [one for routing in routings for one in routing.people]
        self._sides = [
            _Side(ground, number, routing, _dialled(routing, people)) for number, routing in enumerate(routings)
        ]
        self._alike = Common(ground, routings[0], routings[-1]) if len(routings) == 2 else None
        self._to_the_end = any(map(_goes_on, routings))
        #: What published versions know of sound files, if all know it.
        self._sounds = all(one.sounds for one in routings)

    def otherwise(self) -> list[str]:
        """The extensions, known to both versions, of people who are themselves other, or to whom their calls may go."""
        return self._alike.otherwise if self._alike is not None else []

    def parts(self, flow: str) -> bool:
        """Whether calls that begin in this flow may part."""
        return self._alike is None or self._alike.parts(flow)

    def walks(self, *called: str, phone: str | None = None, most_work: int = MOST_WORK) -> Explored:
        """Every walk of a call to a number, which each version may know by another name.

        ``phone``: the extension of our own telephone that dials it; it may dial extensions and codes, too.
        """
        #: How unusual, in which order; the script, and from where on its choices still have other answers to be tried.
        heap: list[tuple[int, int, tuple[Any, ...], int]] = [(0, 0, (), 0)]
        order, seen = itertools.count(1), {(): None}
        walked: list[Walked] = []
        cut = ""
        work = 0
        while heap:
            unusual, _, script, begin = heapq.heappop(heap)
            if len(walked) >= self._most or work >= most_work:
                cut = f"only the {len(walked)} likeliest ways were walked (up to {unusual} unusual answers in one call)"
                break
            run = _Run(self.ground, script)
            watches = [self._watch(run, side) for side in self._sides]
            told, begins = [], []
            for side, watch in zip(self._sides, watches, strict=True):
                begins.append(len(run.path))
                told.append(self._walk(run, side, called[side.number], watch, phone))
            work += sum(watch.work for watch in watches)
            parted = _parted(told)
            turned = tuple(one for one in run.turned if one.chain >= parted and not one.changed)
            kept = [one.mask for one in run.turned if one not in turned]
            walked.append(
                Walked(
                    run.masks["times"],
                    functools.reduce(operator.and_, kept, self.ground.everything["turns"]),
                    run.masks["callers"],
                    tuple(run.asked.values()),
                    tuple(told),
                    tuple((one.side, one.chain, one.rota) for one in turned),
                )
            )
            if run.deep:
                cut = f"calls that are asked more than {DEEPEST} things were not followed to every end"
            taken = tuple(answer for answer, _, _ in run.path)
            shut = self._settled(run, told, parted) | {one.at for one in turned}
            alike = None
            if self._alike is not None and self._alike.begin(*called):
                alike = self._alike.from_here(watches[0].entries, watches[1].entries)
            if alike is not None:
                shut |= {*range(alike[0], begins[1]), *range(alike[1], len(taken))}
            others = [(at, one) for at in range(begin, len(taken)) for one in run.path[at][1][1:]]
            for at, one in (*others, *run.more):
                following = (*taken[:at], one)
                if at not in shut and following not in seen:
                    seen[following] = None
                    # What matters no more in this walk may matter where a later choice is another.
                    again = min((other for other in shut if begin <= other < at), default=len(following))
                    heapq.heappush(heap, (unusual + run.path[at][2], next(order), following, again))
        return Explored(tuple(walked), cut, work)

    def _settled(self, run: _Run, told: Sequence[Told], parted: int) -> set[int]:
        """Choices that matter no more: of telephones that are rung only where the versions have parted already."""
        if parted > min(len(one.chain) for one in told) or len(told) < 2:
            return set()
        rung = {one for item in told[0].chain[:parted] for one in _rung(item)}
        return {
            at
            for key, at in run.position.items()
            if isinstance(key, tuple) and key[0] in ("desk", "phone") and key[1] not in rung
        }

    def _watch(self, run: _Run, side: _Side) -> Watching:
        return Watching(side.whole, self.ground.since, side.whole.sounds if self._sounds else {}, run.path)

    def _walk(self, run: _Run, side: _Side, called: str, watch: Watching, phone: str | None) -> Told:
        side.run, side.watch = run, watch
        world = _Scripted(run, side, watch)
        walk = Walk(
            side.routing,
            caller=phone or SOMEBODY,
            called=called,
            at=self.ground.since,
            world=world,
            watch=watch,
            phone=phone,
            to_the_end=self._to_the_end,
            full=world.full,
        )
        try:
            journey = walk.run()
        except Enough as enough:
            return watch.told(enough.end, world.again)
        if not journey.ends:
            return watch.told(("waits", journey.queue) if journey.queue else ("stuck", journey.question), world.again)
        end = watch.end if self._to_the_end else ()
        return watch.told(end or next(iter(journey.ends.items())), world.again)


class _Scripted:
    """The world of one version's walk, by the run's script and by what another version's walk was answered."""

    def __init__(self, run: _Run, side: _Side, watch: Watching) -> None:
        self._run, self._side, self._watch = run, side, watch
        self._options: Mapping[str, Callable[[Question], tuple[Any, ...]]] = {
            "keys": self._keys,
            "phone": self._phone,
            "agent": self._agent,
            "lookup": self._lookup,
            "switch": lambda question: ("off", "on"),
            "full": lambda question: ("no", "yes"),
        }
        self._times: dict[Hashable, int] = {}
        self._round: tuple[float, list[str]] = (-1.0, [])
        self._agents: list[str] = []
        #: Where keys were asked for, and with which variables set.
        self._pressed: set[tuple[str, frozenset[str]]] = set()
        self._visit: tuple[int, str, str] | None = None
        #: How often the caller was asked the same again, in one visit.
        self.again = 0

    def __call__(self, question: Question) -> Answer:
        """The answer."""
        run, options, key = self._run, self._options[question.kind](question), self._key(question)
        known = run.asked.get(key)
        if known is not None and question.kind == "phone" and known.answer in AWAY:
            key = ("phone", question.subject)  # who is away as an agent has a telephone all the same
            known = run.asked.get(key)
        if known is None:
            at = len(run.path)
            chosen = run.choose(options, always=question.kind == "keys")
            if len(run.path) > at:
                run.position[key] = at
            answer: Any = dict(chosen) if isinstance(chosen, tuple) else chosen
            run.asked[key] = Asked(question, answer, self._wrong(question, answer), frozenset({self._side.number}))
        else:
            answer = known.answer
            wrong = known.wrong and (question.kind != "keys" or self._wrong(question, answer))
            run.asked[key] = replace(known, wrong=wrong, sides=known.sides | {self._side.number})
            at = run.position.get(key, -1)
            if question.kind == "keys" and at >= 0:
                run.more += [(at, one) for one in options if one not in run.path[at][1] and one != answer]
        self._after(question, answer)
        return answer  # type: ignore[no-any-return]

    def full(self, queue: str) -> bool:
        """Whether the queue takes no more callers: a question that no walk puts by itself."""
        limited = self._side.routing.queues[queue].max_callers is not None
        return limited and self(Question("full", queue)) == "yes"

    def _key(self, question: Question) -> tuple[Hashable, ...]:
        """What makes two versions' questions the same one."""
        match question.kind:
            case "keys":
                kind: tuple[Hashable, ...] = ("keys",)
            case "lookup":
                kind = ("lookup", question.wanted)
            case "agent":
                return "desk", question.subject
            case "phone":
                return ("desk" if question.subject == question.person else "phone"), question.subject
            case _:
                return question.kind, question.subject
        again = self._times.get(kind, 0)
        self._times[kind] = again + 1
        return (*kind, again)

    def _after(self, question: Question, answer: Any) -> None:
        if question.kind == "keys":
            self._pressed.add((question.subject, self._watch.changed))
            self.again += self._asked_again(question)
            self._visit = (len(self._watch.names), question.subject, answer)
        elif question.kind == "agent":
            self._agents.append(answer)
        elif question.kind == "phone":
            at, results = self._round
            self._round = question.at, [*(results if at == question.at else ()), answer]

    # ---------------------------------------------------------------------------- what is worth being answered

    def _asked_again(self, question: Question) -> bool:
        """Whether the step asks once more in one visit: what was pressed meant nothing."""
        return self._visit is not None and self._visit[:2] == (len(self._watch.names), question.subject)

    def _keys(self, question: Question) -> tuple[str, ...]:
        if self._visit is not None and self._asked_again(question):
            return (self._visit[2],)
        if (question.subject, self._watch.changed) in self._pressed:
            return ("",)  # the call has been here, and nothing has changed
        step = self._step(question)
        options = question.options
        if step is not None and step.verb == "collect":  # what callers type, and are then connected with
            least, most = step.values["digits"]
            values = (one for one in self._side.values.get(step.values["into"], ()) if least <= len(one) <= most)
            options = (*(one if len(one) == most else f"{one}#" for one in values), *options)
        return tuple(dict.fromkeys(("", *options)))

    def _step(self, question: Question) -> Any:
        flow, _, name = question.subject.partition("/")
        return self._side.routing.step(flow, name)

    def _wrong(self, question: Question, answer: Any) -> bool:
        """Whether these are keys that mean nothing."""
        if question.kind != "keys" or answer == "":
            return False
        step = self._step(question)
        if step.verb == "collect":
            return bool(answer.endswith("#") and len(answer) - 1 < step.values["digits"][0])
        return bool(step.verb == "menu") and answer not in step.keys and answer not in self._side.routing.people

    def _phone(self, question: Question) -> tuple[str, ...]:
        at, results = self._round
        if at != question.at or not results:
            return ("no_answer", "answers", "busy", "unreachable", "declined")
        return _alike(results)

    def _agent(self, question: Question) -> tuple[str, ...]:
        if not self._agents:
            return ("no_answer", "answers", "logged_out", "paused", "busy", "unreachable", "declined")
        return _alike(self._agents)

    def _lookup(self, question: Question) -> tuple[Any, ...]:
        examples = [self._side.values.get(name, ("1",)) for name in question.wanted]
        most = max((len(one) for one in examples), default=0)
        brought = [
            tuple((name, one[min(at, len(one) - 1)]) for name, one in zip(question.wanted, examples, strict=True))
            for at in range(most)
        ]
        return (*brought, *LOST)


def _alike(results: Sequence[str]) -> tuple[str, ...]:
    """What one more of several may do: the first who answers is the only one, and who does not, does not like them."""
    if "answers" in results:
        return ("no_answer",)
    return ("no_answer", "answers") if set(results) == {"no_answer"} else (results[-1],)


def _dialled(routing: Routing, people: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Variables that are dialled, each with values worth having: somebody, and nobody."""
    values = (*people[:1], NOBODY)
    return {
        target.variable: values
        for flow in routing.flows.values()
        for step in flow.steps.values()
        if step.verb == "dial"
        for stage in step.values["dial"]
        for target in stage.to
        if target.variable
    }
