"""Calls of the journal, walked again: which of them would have gone elsewhere by another version of the routing.

A call's facts say what really happened (:class:`Happened`): the keys, what each telephone did, what services answered.
That is the world of its walk.  First it is walked by the version that it had; where that does not lead where the call
went, nothing can be said of it.  Then it is walked by both versions that are compared.  Nobody guesses what was never
tried: where a walk needs it, every answer is tried, and only if all of them agree is there a verdict.

It reads one company's calls as a stream, and keeps no more of them than of what is listed.  The surprise: most calls
are alike but for who called when, so verdicts are remembered by everything that a walk depends on.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from callcontrol.hunt import NEARNESS
from callcontrol.routing.hours import member_at
from callcontrol.routing.model import Routing
from callcontrol.workbench.compare import in_words, way_of
from callcontrol.workbench.explore import Common, Enough, Ground, Told, Watching
from callcontrol.workbench.walk import LOST, Answer, Question, Walk
from workers.journal.folding import order
from workers.journal.tables import Call, Fact

#: What may be said of a call.
ALIKE, ELSEWHERE, UNSAID = "alike", "elsewhere", "cannot be said"
#: Calls whose facts are read at once.
BATCH = 200
#: Facts of one call that are looked at; one that waits for hours has some hundreds.
MOST_FACTS = 2000
#: Answers that are tried for what nobody knows, in one call.
MOST_TRIED = 16
#: Ends that are named where it depends on what nobody knows.
MOST_ENDS = 3
#: How much longer than the call its walk may take, seconds: then it may not come to other hours than the call did.
SPARE = 600.0
#: Verdicts that are remembered.
MOST_KNOWN = 20_000

_TYPES = (
    *("call.started", "call.placed", "call.forwarded", "call.ended", "step.entered", "step.left", "step.gone"),
    *("step.failed", "leg.rung", "leg.result", "talk.started", "lookup.done", "message.recorded", "message.empty"),
    *("queue.joined", "queue.refused", "queue.offered", "queue.missed", "queue.answered", "queue.unstaffed"),
)


# ------------------------------------------------------------------------------------------- what really happened


@dataclass(slots=True)
class Happened:
    """What is known of a call until its first talk, or its end.

    ``end``: like a :attr:`Told.end`; ``("left",)``: the caller hung up.  ``keys``: what was entered, each time that the
    caller was asked.  ``phones``: address → its results, in order.  ``why_not``: why nothing can be said of it.
    """

    call: str
    began: float
    caller: str | None = None
    called: str = ""
    version: str = ""
    end: tuple[Any, ...] = ("live",)
    ended: float = 0.0
    why_not: str = ""
    visits: list[tuple[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    queue_keys: list[str] = field(default_factory=list)
    phones: dict[str, list[str]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    agents: dict[str, str] = field(default_factory=dict)
    queues: list[str] = field(default_factory=list)
    full: list[str] = field(default_factory=list)  # queues that took no more callers
    away: str = "logged_out"
    lookups: list[Answer] = field(default_factory=list)
    switched: dict[str, bool] = field(default_factory=dict)  # as the call saw them
    switches: frozenset[str] = frozenset()  # those that were on, as far as it is known

    @property
    def key(self) -> Hashable:
        """All that a walk may depend on, but for who called, and when."""
        return (
            *(self.version, self.end, self.why_not, tuple(self.visits), tuple(self.keys), tuple(self.queue_keys)),
            *(tuple((one, *results) for one, results in self.phones.items()), frozenset(self.stopped)),
            *(
                tuple(self.agents.items()),
                tuple(self.queues),
                tuple(self.full),
                self.away,
                self.switches,
                tuple(self.switched.items()),
            ),
            tuple(one if isinstance(one, str) else tuple((one or {}).items()) for one in self.lookups),
        )


def happened(call: str, began: float, facts: Iterable[Mapping[str, Any]]) -> Happened:
    """What the facts of a call (in its own order) say."""
    found = Happened(call, began)
    reading = _Reading(found)
    for fact in facts:
        if not reading.read(fact["type"], fact["at"], fact["data"]):
            break
    return found


class _Reading:
    """Takes up the facts of one call."""

    def __init__(self, found: Happened) -> None:
        self._found = found
        self._verb = ""
        self._extension = ""  # dialled in a menu that is not left yet
        self._people: dict[str, str] = {}

    def read(self, type_: str, at: float, data: Mapping[str, Any]) -> bool:
        """Take up a fact.  Returns whether the next is wanted."""
        found = self._found
        found.ended = at
        match type_:
            case "call.started":
                found.caller, found.called = data.get("from"), str(data.get("to") or "")
                found.version = str(data.get("version") or "")
                if data.get("extension"):
                    found.why_not = "it came from a phone of the company's own"
            case "call.placed":
                found.why_not = "somebody had it placed"
            case "step.gone" | "step.failed":
                found.why_not = "a step was gone" if type_ == "step.gone" else "a step failed"
            case "step.entered" if not data.get("resumed"):
                self._verb = str(data.get("verb"))
                found.visits.append((str(data.get("flow")), str(data.get("step"))))
            case "step.left":
                self._left(data)
            case "leg.rung" | "leg.result" | "call.forwarded":
                self._leg(type_, data)
            case "lookup.done":
                values, outcome = data.get("values"), data.get("outcome")
                found.lookups.append(str(outcome) if outcome in LOST else dict(values) if values else None)
            case "message.recorded" | "message.empty":
                found.end = ("voicemail", tuple(map(str, data.get("for") or ())))
            case "talk.started":
                address = str(data.get("with"))
                found.end = ("talk", self._people.get(address) or address)
            case "call.ended":
                found.end = ("hangup",) if data.get("by") == "cordboard" else ("left",)
            case _:
                self._queue(type_, data)
        if found.end != ("live",) and self._extension:  # in a menu that was not left
            found.keys.append(self._extension)
        return found.end == ("live",)

    def _left(self, data: Mapping[str, Any]) -> None:
        keys = [str(key) for key in data.get("keys") or ()]
        (self._found.queue_keys if self._verb == "queue" else self._found.keys).extend(keys)
        for name, on in (data.get("switches") or {}).items():
            self._found.switched.setdefault(str(name), on is True)
        self._extension = ""

    def _leg(self, type_: str, data: Mapping[str, Any]) -> None:
        found, person = self._found, str(data.get("person") or "")
        if self._verb == "menu" and not self._extension:
            self._extension = person
        if type_ == "leg.rung":
            found.stopped.add(str(data.get("address") or ""))  # until its result is told
        if type_ != "leg.result":
            return
        address, result = str(data.get("address") or ""), str(data.get("result"))
        if result == "answered":
            self._people[address] = person
            found.phones.setdefault(address, []).append("answers")
        elif result in NEARNESS and not data.get("why"):  # one that was barred was never rung
            found.phones.setdefault(address, []).append(result)

    def _queue(self, type_: str, data: Mapping[str, Any]) -> None:
        found, agent = self._found, str(data.get("agent") or "")
        outcome = str(data.get("outcome"))
        match type_:
            case "queue.joined":
                found.queues.append(str(data.get("queue")))
            case "queue.missed":
                found.agents[agent] = str(data.get("result"))
            case "queue.answered":
                found.agents[agent] = "answers"
            case "queue.refused" | "queue.unstaffed":
                found.queues.append(str(data.get("queue")))
                found.away = "paused" if outcome == "paused" else "logged_out"
                if outcome == "full":
                    found.full.append(str(data.get("queue")))


def read(
    session: Session,
    company: str,
    since: float,
    until: float,
    plain: Callable[[str], bool] = lambda called: False,
) -> Iterator[Happened]:
    """The calls of a company that came from outside and began then, as they began; those that live still, not.

    ``plain``: of calls to this number nothing needs to be known but that they were.
    """
    switches = _Switches(session, company, until)
    query = (
        select(Call.id, Call.began, Call.called)
        .where(Call.company == company, Call.state == "ended", Call.extension.is_(None))
        .where(Call.began >= since, Call.began < until)
        .order_by(Call.began, Call.id)
    )
    calls = session.execute(query.execution_options(yield_per=BATCH))
    for batch in _batches(calls):
        facts: dict[str, list[dict[str, Any]]] = {call: [] for call, _, called in batch if not plain(called or "")}
        columns = (Fact.call, Fact.epoch, Fact.n, Fact.at, Fact.type, Fact.data)
        # The company is asked for in a way that does not lead a database to its index: the calls' own is far better.
        ours = func.coalesce(Fact.company, "") == company
        wanted = select(*columns).where(Fact.call.in_(facts), ours, Fact.type.in_(_TYPES))
        for call, epoch, n, at, type_, data in session.execute(wanted):
            if len(facts[call]) < MOST_FACTS:
                facts[call].append({"epoch": epoch, "n": n, "at": at, "type": type_, "data": data})
        for call, began, called in batch:
            if call not in facts:
                yield Happened(call, began, called=called or "")
                continue
            found = happened(call, began, sorted(facts[call], key=order))
            found.switches = switches.on(began)
            yield found


def _batches(rows: Iterable[Any]) -> Iterator[Sequence[Any]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch


class _Switches:
    """The company's day/night switches as its phones have set them; before the first such fact they are off."""

    def __init__(self, session: Session, company: str, until: float) -> None:
        query = select(Fact.at, Fact.data).where(Fact.company == company, Fact.type == "switch.set", Fact.at < until)
        self._left = [(at, str(data.get("switch")), data.get("on") is True) for at, data in session.execute(query)]
        self._left.sort(key=lambda one: one[0], reverse=True)
        self._on: frozenset[str] = frozenset()

    def on(self, moment: float) -> frozenset[str]:
        """Those that are on; moments must come in order."""
        while self._left and self._left[-1][0] <= moment:
            _, name, on = self._left.pop()
            self._on = self._on | {name} if on else self._on - {name}
        return self._on


# ------------------------------------------------------------------------------------------------------ the walk


class _World:
    """What happened, as the world of a walk.  ``tried``: answers to what nobody knows, in order; ``silent``: who is
    asked for keys and was not in truth, presses none.

    ``unknown``: the first question that nobody could answer, not even by trying.
    """

    def __init__(
        self,
        call: Happened,
        routing: Routing,
        agents: frozenset[str],
        tried: Sequence[Answer] = (),
        silent: bool = False,
    ) -> None:
        self._call, self._routing, self._agents, self._silent = call, routing, agents, silent
        self._keys, self._queue_keys = iter(call.keys), iter(call.queue_keys)
        self._lookups = iter(call.lookups)
        self._tried = iter(tried)
        self.unknown: Question | None = None

    def __call__(self, question: Question) -> Answer:
        """What happened; else what is tried; else None."""
        found = self._known(question)
        if found is None:
            found = "" if self._silent and question.kind == "keys" else next(self._tried, None)
        if found is None and self.unknown is None:
            self.unknown = question
        return found

    def _known(self, question: Question) -> Answer:
        call, subject = self._call, question.subject
        match question.kind:
            case "switch":
                return "on" if call.switched.get(subject, subject in call.switches) else "off"
            case "lookup":
                found = next(self._lookups, None)
                return found if isinstance(found, str) or set(question.wanted) <= set(found or ()) else None
            case "agent":
                if subject in call.agents:
                    return call.agents[subject]
                return call.away if subject in self._agents else self._phone(question)
            case "phone":
                return self._phone(question)
        flow, _, step = subject.partition("/")
        asked = self._routing.step(flow, step)
        if asked is not None and asked.queues:
            return next(self._queue_keys, "")
        return next(self._keys, None)

    def _phone(self, question: Question) -> Answer:
        results = self._call.phones.get(question.subject)
        if results:
            return results[min(question.again, len(results) - 1)]
        # It stopped ringing because somebody else answered: in this walk somebody does, too.
        return "no_answer" if question.subject in self._call.stopped and self._call.end[0] == "talk" else None


@dataclass(frozen=True, slots=True)
class _Walked:
    """One version's walk of a call.  ``question``: what nobody knows, and where the walk therefore ended."""

    told: Told
    visits: tuple[tuple[str, str], ...]
    question: Question | None = None


def _walk(
    routing: Routing,
    call: Happened,
    called: str,
    agents: frozenset[str],
    tried: Sequence[Answer] = (),
    silent: bool = False,
) -> _Walked:
    world = _World(call, routing, agents, tried, silent)
    watch = Watching(routing, call.began, {})
    waits = _Waits(call)
    walk = Walk(
        routing,
        caller=call.caller,
        called=called,
        at=call.began,
        world=world,
        watch=watch,
        ends_here=waits if call.end == ("left",) and call.queues else None,
        full=lambda queue: queue in call.full,
    )
    try:
        journey = walk.run()
    except Enough as enough:
        return _Walked(watch.told(enough.end), _visits(watch))
    end = next(iter(journey.ends.items())) if journey.ends else ("asked", journey.question)
    if end[0] == "queue":
        world.unknown = None
    return _Walked(watch.told(end), _visits(watch), None if journey.ends else world.unknown)


class _Waits:
    """Where a caller gave up: in the last of the queues that they stood in."""

    def __init__(self, call: Happened) -> None:
        self._left = len(call.queues) - len(call.full)

    def __call__(self, queue: str, visits: Sequence[Any]) -> bool:
        self._left -= 1
        return self._left <= 0


def _visits(watch: Watching) -> tuple[tuple[str, str], ...]:
    return tuple((flow, step) for flow, _, step in (name.partition("/") for name in watch.names))


# ------------------------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of one call: ``what`` is :data:`ALIKE`, :data:`ELSEWHERE` or :data:`UNSAID`."""

    what: str
    was: str = ""
    would: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A call with its verdict, for a list."""

    call: str
    began: float
    caller: str | None
    called: str
    verdict: Verdict


class Judge:
    """Says of calls whether they would have gone elsewhere, by ``new`` instead of ``old``.

    ``version`` gives a company's routing of that hash, None if it is not kept any more.
    """

    def __init__(
        self, old: Routing, new: Routing, version: Callable[[str], Routing | None], since: float, until: float
    ) -> None:
        self._old, self._new, self._version = old, new, version
        self._span = since, int((until - since) // 86400) + 3
        self._versions: dict[str, Routing | None] = {old.version: old, new.version: new}
        self._grounds: dict[str, Ground] = {}
        self._known: dict[Hashable, Verdict] = {}
        self._common = Common(Ground((new, old), *self._span), old, new)
        self._plain: dict[str, bool] = {}
        self.counts: Counter[str] = Counter()

    def plain(self, called: str) -> bool:
        """Whether calls to this number are the same in both, whatever happens in them."""
        if called not in self._plain:
            self._plain[called] = self._common.throughout(called)
        return self._plain[called]

    def judge(self, call: Happened) -> Verdict:
        """The verdict."""
        if self.plain(call.called):
            self.counts[ALIKE] += 1
            return Verdict(ALIKE)  # whatever it was, both do the same
        if call.version not in self._versions:
            self._versions[call.version] = self._version(call.version) if call.version else None
        had = self._versions[call.version]
        if had is None:
            why = (
                "the version that it had is not kept any more" if call.version else "which version it had is not known"
            )
            verdict = Verdict(UNSAID, why=why)
        elif call.why_not:
            verdict = Verdict(UNSAID, why=call.why_not)
        else:
            key = self._key(call, had)
            found = self._known.get(key) if key is not None else None
            verdict = found or self._judged(call, had)
            if key is not None and found is None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = verdict
        self.counts[verdict.what] += 1
        return verdict

    def _key(self, call: Happened, had: Routing) -> Hashable:
        """What the verdict depends on; None: on the very moment."""
        ground = self._grounds.get(had.version)
        if ground is None:
            since, days = self._span
            ground = self._grounds[had.version] = Ground((self._new, self._old, had), since, days)
        time, until = ground.time_at(call.began)
        if time < 0 or call.ended + SPARE >= until:
            return None
        turns = (member_at(rota, had.timezone, call.began) for rota in ground.turn)
        lists = (known.matches(call.caller) for one in (had, self._old, self._new) for known in one.lists.values())
        return call.key, call.called, time, tuple(turns), tuple(lists), call.caller is None

    def _judged(self, call: Happened, had: Routing) -> Verdict:
        for name in call.full:
            if (
                len({one.queues[name].max_callers if name in one.queues else 0 for one in (had, self._old, self._new)})
                > 1
            ):
                return Verdict(
                    UNSAID, why=f"the queue {name} was full, and another number of callers would have filled it"
                )
        agents = frozenset(one.agent for name in call.queues if name in had.queues for one in had.queues[name].agents)
        real = _walk(had, call, call.called, agents)
        trouble = _not_reproduced(call, real)
        if trouble:
            return Verdict(UNSAID, why=trouble)
        was = real if had is self._old else _walk(self._old, call, call.called, agents)
        would = _walk(self._new, call, call.called, agents)
        return self._compared(call, was, would, agents)

    def _compared(self, call: Happened, was: _Walked, would: _Walked, agents: frozenset[str]) -> Verdict:
        if was.question is None and would.question is None:
            return self._verdict([was], [would])
        if was.question is not None and would.question is not None:
            same = (was.question.kind, was.told.chain) == (would.question.kind, would.told.chain)
            if same and (was.question.kind == "keys" or was.question.subject == would.question.subject):
                return Verdict(ALIKE)  # the caller hung up there
        if _parted(was, would):
            return Verdict(ELSEWHERE, *self._words([was], [would]))
        if "keys" in {one.question.kind for one in (was, would) if one.question is not None}:
            quiet = [
                one if one.question is None else _walk(routing, call, call.called, agents, silent=True)
                for routing, one in ((self._old, was), (self._new, would))
            ]
            if _parted(quiet[0], quiet[1]):
                words = self._words([was], [would]), self._words([quiet[0]], [quiet[1]])
                first, second = (
                    one if one == other else f"{one}; without a key {other}" for one, other in zip(*words, strict=True)
                )
                return Verdict(ELSEWHERE, first, second)
        befores = self._ways(self._old, call, was, agents)
        afters = self._ways(self._new, call, would, agents)
        return self._verdict(befores, afters, would.question or was.question)

    def _ways(self, routing: Routing, call: Happened, first: _Walked, agents: frozenset[str]) -> list[_Walked]:
        """Every way that a walk may go on where nobody knows; empty: too many."""
        if first.question is None:
            return [first]
        found: list[_Walked] = []
        left: list[tuple[tuple[Answer, ...], Question]] = [((), first.question)]
        walks = 0
        while left:
            tried, question = left.pop(0)
            options: tuple[Answer, ...] = question.options or ("failed",)
            for option in options:
                walks += 1
                if walks > MOST_TRIED:
                    return []
                one = _walk(routing, call, call.called, agents, (*tried, option))
                if one.question is None:
                    found.append(one)
                else:
                    left.append(((*tried, option), one.question))
        return found

    def _verdict(self, was: Sequence[_Walked], would: Sequence[_Walked], question: Question | None = None) -> Verdict:
        before, after = ({way_of(one.told) for one in side} for side in (was, would))
        if before and after and not before & after:
            return Verdict(ELSEWHERE, *self._words(was, would))
        if len(before) == len(after) == 1:
            return Verdict(ALIKE)
        depends = f"it depends on {_unknown(question)}" if question is not None else "it depends on what nobody knows"
        ends = list(dict.fromkeys(in_words(self._new, one.told) for one in would))
        named = f": {'; or '.join(ends)}" if 0 < len(ends) <= MOST_ENDS else ""
        return Verdict(UNSAID, why=depends + named)

    def _words(self, was: Sequence[_Walked], would: Sequence[_Walked]) -> tuple[str, str]:
        words = []
        for routing, side in ((self._old, was), (self._new, would)):
            ends = list(
                dict.fromkeys(
                    in_words(routing, one.told if one.question is None else replace(one.told, end=_open(one.question)))
                    for one in side
                )
            )
            words.append("; or ".join(ends[:MOST_ENDS]) + ("; or something else" if len(ends) > MOST_ENDS else ""))
        return words[0], words[1]


def _not_reproduced(call: Happened, walked: _Walked) -> str:
    """Why the walk of the version that the call had is not what happened, or nothing."""
    real, end = tuple(call.visits), walked.told.end
    if call.end == ("live",):
        return "how it ended is not known"
    if call.end == ("left",):
        return "" if walked.visits[: len(real)] == real else _went(real, walked.visits)
    if walked.question is not None:
        return f"nobody knows {_unknown(walked.question)}"
    if walked.visits != real:
        return _went(real, walked.visits)
    if call.end == ("hangup",):
        return "" if end[0] == "hangup" else "it ended otherwise than its walk"
    return "" if call.end == end else "it ended otherwise than its walk"


def _went(real: Sequence[tuple[str, str]], walked: Sequence[tuple[str, str]]) -> str:
    at = next((at for at, (one, other) in enumerate(zip(real, walked, strict=False)) if one != other), None)
    step = real[at] if at is not None else (real or [("its", "beginning")])[-1]
    return f"it went another way than its walk, at {step[0]}/{step[1]}"


def _parted(was: _Walked, would: _Walked) -> bool:
    """Whether two walks have parted, of which one or both may have stopped where nobody knew more."""
    ways = [one.told.chain if one.question is not None else way_of(one.told) for one in (was, would)]
    return any(one != other for one, other in zip(*ways, strict=False))


def _unknown(question: Question) -> str:
    match question.kind:
        case "keys":
            return f"what the caller would have pressed in {question.subject}"
        case "lookup":
            return f"what the lookup {question.subject} would have said"
    return f"what {question.subject} would have done"


def _open(question: Question) -> tuple[str, str]:
    """The end of a walk at a question, in words."""
    if question.kind == "keys":
        return "asked for keys in", question.subject
    return "it depends on", _unknown(question)
