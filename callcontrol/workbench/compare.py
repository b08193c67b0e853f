"""Two versions compared by what they do: which callers end elsewhere, when, and by which keys.

Both get the same caller at the same time, who presses the same keys; telephones, agents and services do the same in
both (``explore.py`` finds every such walk).  A call *ends elsewhere* if another talk, message, queue or end
comes of it, or if others are rung on the way.  Weaker, and told shorter: it gets there another way, hears something
else, or waits for another time.  What a step is called is no difference, nor in which order a file says things.

It knows routing and no file, store or journal: ``cordboard diff`` brings those.  The surprise: many walks show one
change.  A line tells the whole of it (nobody answers anywhere), and walks that part from it only because somebody
answered earlier, or that end in the same two ways, are not told again.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callcontrol.routing.model import Routing
from callcontrol.workbench import times
from callcontrol.workbench.explore import MOST_WORK, Asked, CallerClass, Explorer, Ground, Told, Walked
from callcontrol.workbench.unwalked import unwalked

#: What may have changed of a call, the most first.
ELSEWHERE, WAY, HEARS, PACE = KINDS = ("elsewhere", "another way", "hears", "pace")
#: Work for a company, in commands of its calls: a number that takes less leaves the rest to the others; and for one
#: number at least, so that its likeliest ways are walked.
WHOLE_WORK, LEAST_WORK = 400_000, 1_000
#: Numbers that one line names; of more, the first.
MOST_NUMBERS = 6
#: Extensions and codes that are dialled from our own phones; people are alike, and outside calls show most of them.
MOST_DIALLED = 40
#: Ways of pressing keys, and ends, that one line names.
MOST_PRESSED = 4
MOST_ENDS = 3

Item = tuple[Any, ...]
#: Keys in the order in which they were pressed, and whether they meant nothing.
Pressed = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One change: of which callers, when; what was, and what is now.  All for people."""

    kind: str
    times: str
    who: str
    was: str
    now: str

    @property
    def data(self) -> dict[str, str]:
        """The same for machines."""
        return {"kind": self.kind, "times": self.times, "who": self.who, "was": self.was, "now": self.now}


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for these numbers, all alike.  ``cut``: what was not looked at, or nothing.

    ``phones``: they are extensions and codes, dialled from the company's own telephones.
    """

    numbers: tuple[str, ...]
    lines: tuple[Line, ...]
    cut: str = ""
    phones: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """One company in two versions.

    ``notes``: what changed without a call (a number that is new, a person who is gone); ``same``: numbers that do what
    they did; ``unwalked``: what no call shows, and is therefore compared as it is written.
    """

    company: str
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    same: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    unwalked: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.notes or self.changes or self.unwalked)

    @property
    def data(self) -> dict[str, Any]:
        """The same for machines."""
        changes = [
            {
                "numbers": list(one.numbers),
                "from_our_phones": one.phones,
                "changes": [line.data for line in one.lines],
                "cut": one.cut,
            }
            for one in self.changes
        ]
        return {
            "company": self.company,
            "notes": list(self.notes),
            "numbers": changes,
            "same": list(self.same),
            "cut": list(self.cut),
            "unwalked": list(self.unwalked),
        }


# ------------------------------------------------------------------------------------------------ companies


def compare_all(old: Mapping[str, Routing], new: Mapping[str, Routing], since: float) -> list[Comparison]:
    """Every company, by its name.  ``since``: the UTC epoch from which times are looked at.

    A company that is gone while another came that has its numbers was renamed: both are one.
    """
    owner = {number: name for name, routing in old.items() for number in routing.numbers}
    heir = {number: name for name, routing in new.items() for number in routing.numbers}
    renamed: dict[str, str] = {}
    for name in sorted(new.keys() - old.keys()):
        before = {owner.get(number, "") for number in new[name].numbers}
        if len(before) == 1 and (was := before.pop()) and was not in new and was not in renamed.values():
            renamed[name] = was
    found = []
    for name in sorted({*old, *new} - {*renamed.values()}):
        was = renamed.get(name, name)
        if name not in new:
            gone = ", ".join(_named(old[name].numbers))
            found.append(Comparison(name, (f"the company is gone, with its numbers {gone or '(none)'}",)))
        elif was not in old:
            notes = ["the company is new"]
            notes += _moves(new[name], {number: owner.get(number) for number in new[name].numbers}, "from")
            found.append(Comparison(name, tuple(notes)))
        else:
            one = compare(old[was], new[name], since)
            notes = [f"the company was called {was}"] if was != name else []
            notes += _moves(
                new[name], {n: owner.get(n) for n in new[name].numbers if n not in old[was].numbers}, "from"
            )
            notes += _moves(old[was], {n: heir.get(n) for n in old[was].numbers if n not in new[name].numbers}, "to")
            found.append(replace(one, notes=(*notes, *one.notes)))
    return found


def _moves(routing: Routing, others: Mapping[str, str | None], word: str) -> list[str]:
    there = {number: other for number, other in others.items() if other and other != routing.company}
    return [f"{number} moves {word} the company {other}" for number, other in there.items()]


def compare(old: Routing, new: Routing, since: float, work: int = WHOLE_WORK) -> Comparison:
    """One company in two versions.  ``work``: how many commands of its calls may be looked at."""
    both = [number for number in new.numbers if number in old.numbers]
    ground = Ground((new, old), since)
    explorer = Explorer(ground, (old, new))
    alike: dict[Hashable, list[str]] = {}
    for number in both:
        key = tuple(
            (one.flow, tuple(sorted(one.sets.items())), one.record)
            for one in (old.numbers[number], new.numbers[number])
        )
        alike.setdefault(key, []).append(number)
    told: dict[tuple[tuple[Line, ...], str, bool], list[str]] = {}
    same: list[str] = []
    cut: dict[str, None] = {}
    entered: set[str] = set()
    calls: list[tuple[list[str], str | None]] = [(numbers, None) for numbers in alike.values()]
    dialled = _from_our_phones(explorer, old, new)
    calls += [([one], phone) for one, phone in dialled[:MOST_DIALLED]]
    if len(dialled) > MOST_DIALLED:
        cut[f"of {len(dialled)} extensions and codes, {MOST_DIALLED} were dialled from our own phones"] = None
    left = work
    for at, (numbers, phone) in enumerate(calls):
        share = max(min(left // (len(calls) - at), MOST_WORK), LEAST_WORK)
        found = explorer.walks(numbers[0], numbers[0], phone=phone, most_work=share)
        left -= found.work
        entered.update(name for walk in found.walks for one in walk.told for name in one.names)
        lines = _Telling(old, new, ground).lines(found.walks)
        if found.cut:
            cut[f"{', '.join(_named(numbers))}: {found.cut}"] = None
        if lines:
            told.setdefault((lines, found.cut, phone is not None), []).extend(numbers)
        elif phone is None:
            same += numbers
    changes = tuple(Change(tuple(numbers), lines, much, phones) for (lines, much, phones), numbers in told.items())
    return Comparison(
        new.company, tuple(_notes(old, new)), changes, tuple(same), tuple(cut), tuple(unwalked(old, new, entered))
    )


def _from_our_phones(explorer: Explorer, old: Routing, new: Routing) -> list[tuple[str, str]]:
    """What a telephone of ours may dial and what may do otherwise now, each with one that dials it."""
    both = [one for one in old.people if one in new.people]
    before, after = ({flow.code: flow.name for flow in one.flows.values() if flow.code} for one in (old, new))
    codes = [code for code in before if code in after and (before[code] != after[code] or explorer.parts(after[code]))]
    found = []
    for dialled in (*explorer.otherwise(), *codes):
        phone = next((one for one in both if one != dialled), None)
        found += [(dialled, phone)] if phone is not None else []
    return found


def _notes(old: Routing, new: Routing) -> Iterator[str]:
    """What is new and gone, in a line each."""
    for number in new.numbers:
        if number not in old.numbers:
            yield f"{number} is new: it goes to {new.numbers[number].flow}"
    for number in old.numbers:
        if number not in new.numbers:
            yield f"{number} is gone: it went to {old.numbers[number].flow}"
    for extension, person in old.people.items():
        if extension not in new.people:
            yield f"{_person(old, extension)} is gone"
        elif new.people[extension].name != person.name:
            yield f"extension {extension} was {person.name}, and is {new.people[extension].name} now"
    for extension in new.people:
        if extension not in old.people:
            yield f"{_person(new, extension)} is new"
    before, after = _codes(old), _codes(new)
    for code in dict.fromkeys((*before, *after)):
        if before.get(code) != after.get(code):
            yield f"the code {code} was {before.get(code, 'nothing')}, and is {after.get(code, 'nothing')} now"


def _codes(routing: Routing) -> dict[str, str]:
    found = {code: f"the switch {name}" for name, code in routing.switches.items()}
    found |= {flow.code: f"the flow {flow.name}" for flow in routing.flows.values() if flow.code}
    return found | {code: f"to {what}" for code, what in routing.duty_codes.items()}


# ------------------------------------------------------------------------------------------------- the lines


@dataclass(slots=True)
class _Part:
    """One walk's difference, on its way to becoming a line."""

    kind: str
    times: int
    turns: int
    callers: int
    pressed: tuple[Pressed, ...]
    #: What else is so, in words.
    given: tuple[str, ...]
    #: Both ways without what they begin with alike.
    core: tuple[tuple[Item, ...], ...]
    was: str
    now: str
    #: The same of what is not alike only.
    short: tuple[str, str] = ("", "")
    #: Both ways, of a call that ends elsewhere.
    ways: tuple[tuple[Item, ...], ...] = ()
    usual: bool = True

    @property
    def place(self) -> Hashable:
        return self.pressed, self.given

    def shorten(self, other: _Part) -> None:
        """Say only what both have in common."""
        if (self.was, self.now) != (other.was, other.now):
            self.was, self.now = (f"in the end {text}" for text in self.short)


class _Telling:
    """Makes lines of walks."""

    def __init__(self, old: Routing, new: Routing, ground: Ground) -> None:
        self._old, self._new, self._ground = old, new, ground

    def lines(self, walks: Iterable[Walked]) -> tuple[Line, ...]:
        """What the walks show, the times that hold always first."""
        parts: list[_Part] = []
        weaker: dict[Hashable, _Part] = {}
        for walk in walks:
            old, new = walk.told
            if old.way != new.way:
                part = self._elsewhere(walk)
                if not any(_explained(part, other) for other in parts):
                    parts.append(part)
            elif old != new:
                self._weaker(walk, weaker)
        merged = _merged(parts, self._ground.everything["times"])
        less = _joined([*weaker.values()], "callers", lambda part: (part.kind, part.was, part.now, part.place))
        return tuple(
            line for kind in KINDS for line in self._told([part for part in (*merged, *less) if part.kind == kind])
        )

    def _told(self, parts: Sequence[_Part]) -> list[Line]:
        everything = self._ground.everything["times"]
        order = sorted(parts, key=lambda part: (part.times != everything, -part.times.bit_count()))
        words = {part.times: self._times(part.times) for part in order}
        return [Line(part.kind, words[part.times], self._who(part), part.was, part.now) for part in order]

    def _times(self, when: int) -> str:
        ground = self._ground
        if when == ground.everything["times"]:
            return "always"
        return times.in_words(ground.spans(when), ground.zone, ground.today, ground.days, ground.holidays)

    # ------------------------------------------------------------------------------------------ ends elsewhere

    def _elsewhere(self, walk: Walked) -> _Part:
        old, new = walk.told
        old_chain, new_chain = list(old.chain), list(new.chain)
        for side, at, rota in walk.turning:
            chain = new_chain if side else old_chain
            if at < len(chain) and chain[at][0] == "rings":
                chain[at] = ("turn", rota)
        ways = (*old_chain, ("end", *old.end)), (*new_chain, ("end", *new.end))
        alike = 0
        while alike < min(map(len, ways)) and ways[0][alike] == ways[1][alike]:
            alike += 1
        core = ways[0][alike:], ways[1][alike:]
        agents = any(a[:2] == b[:2] and a != b for a, b in zip(*core, strict=False) if a[0] == "queue" == b[0])
        was = _way(self._old, ways[0], agents, old.again > new.again)
        now = _way(self._new, ways[1], agents, new.again > old.again)
        given, usual = _given(walk, self._new, self._old)
        return _Part(
            ELSEWHERE,
            walk.times,
            walk.turns,
            walk.callers,
            (_pressed(walk.asked),),
            given,
            core,
            was,
            now,
            (_way(self._old, core[0], agents, False), _way(self._new, core[1], agents, False)),
            ways,
            usual,
        )

    # ---------------------------------------------------------------------------------------------- weaker ones

    def _weaker(self, walk: Walked, found: dict[Hashable, _Part]) -> None:
        """What is another way, another sound, another time: each said once, for whoever it is."""
        old, new = walk.told
        if old.steps != new.steps:
            gone = [name for name in old.names if name not in new.names]
            came = [name for name in new.names if name not in old.names]
            was, now = (", ".join(dict.fromkeys(names)) or "the same steps" for names in (gone, came))
            self._note(found, walk, WAY, was, now)
        if any(one.question.kind == "full" and one.answer == "yes" for one in walk.asked):
            return  # who does not get in hears nothing of it
        for was, now in self._sounds(old, new):
            self._note(found, walk, HEARS, was, now)
        for was, now in _paces(self._new, old, new):
            self._note(found, walk, PACE, was, now)
        told = any(part.kind in (HEARS, PACE) and part.callers == walk.callers for part in found.values())
        if old.steps == new.steps and not told:
            was, now = (f"{told.pace[-1][1]:g} s" for told in (old, new))  # type: ignore[index]
            if was != now:
                self._note(found, walk, PACE, was, now)

    def _sounds(self, old: Told, new: Told) -> Iterator[tuple[str, str]]:
        """What was heard and is heard now, each with what it takes the place of."""
        gone = [one for one in old.heard if one not in new.heard]
        came = [one for one in new.heard if one not in old.heard]
        if not gone and not came and old.heard != new.heard:
            yield "the same sounds", "them in another order"
        for one, other in _in_place_of(gone, came):
            if other is None:
                yield _heard(self._old, one), "nothing"
            elif one[0] == "phone":
                yield _telephones(self._old, self._new, one, other)
            else:
                yield _heard(self._old, one), _heard(self._new, other)
        for one in came:
            if one[0] != "phone":  # type: ignore[index]
                yield "nothing", _heard(self._new, one)
        if old.recorded != new.recorded:
            words = "a talk that is not recorded", "a talk that is recorded"
            yield words[old.recorded], words[new.recorded]

    def _note(self, found: dict[Hashable, _Part], walk: Walked, kind: str, was: str, now: str) -> None:
        """Say it of this walk, too.  Who must press keys to meet it, and who need not, stay apart."""
        given, pressed = _given(walk, self._new, self._old)[0], _pressed(walk.asked)
        key = kind, was, now, walk.callers, bool(pressed)
        known = found.get(key)
        if known is not None:
            known.times |= walk.times
            known.turns |= walk.turns
            known.pressed = tuple(dict.fromkeys((*known.pressed, pressed)))
            known.given = tuple(one for one in known.given if one in given)
        else:
            found[key] = _Part(kind, walk.times, walk.turns, walk.callers, (pressed,), given, (), was, now)

    # ------------------------------------------------------------------------------------------------------ who

    def _who(self, part: _Part) -> str:
        words = [self._callers(part.callers), _keys(part.pressed), *part.given, *self._turns(part.turns)]
        return ", ".join(word for word in words if word)

    def _callers(self, callers: int) -> str:
        classes, everything = self._ground.callers, self._ground.everything["callers"]
        if callers == everything:
            return "anybody"
        inside = [one for at, one in enumerate(classes) if callers >> at & 1]
        outside = [one for at, one in enumerate(classes) if not callers >> at & 1]
        if not any(one.open and not one.lists for one in inside):
            return _and(list(dict.fromkeys(map(self._class, inside))))
        names = sorted({known.name for one in outside for known in one.lists})
        if any(known.name in names for one in inside for known in one.lists) or any(not one.lists for one in outside):
            return f"anybody but {_and(list(dict.fromkeys(map(self._class, outside))))}"
        return f"anybody who is not on the {'list' if len(names) == 1 else 'lists'} {' or '.join(names)}"

    def _class(self, one: CallerClass) -> str:
        names = sorted({known.name for known in one.lists})
        if not names:
            return "who hides the number" if one.examples == [None] else "anybody else"
        stands = f"who is on the list {_and(names)}" if len(names) == 1 else f"who is on the lists {_and(names)}"
        moved = [known for known in one.lists if known not in self._new.lists.values()]
        moved += [known for known in one.lists if known not in self._old.lists.values()]
        if not one.open and len(one.examples) <= 2 and (moved or len(one.examples) == 1):
            numbers = _and([example or "who hides the number" for example in one.examples])
            return f"{numbers} ({stands})" if not moved else numbers
        if moved and one.open and one.examples:
            return f"{stands}, like {one.examples[-1] or 'who hides the number'}"
        return stands

    def _turns(self, turns: int) -> Iterator[str]:
        """Whose turn it must be, where that matters."""
        if turns == self._ground.everything["turns"]:
            return
        for group, members in self._ground.turn.items():
            theirs = [member for member, mask in members.items() if mask & turns]
            if len(theirs) < len(members):
                names = " or ".join(_person(self._new, member) for member in theirs)
                yield f"when it is the turn of {names} in {group.name}"
                return


def _explained(part: _Part, other: _Part) -> bool:
    """Whether what ``part`` shows is seen in ``other``: it is the same change, or somebody answered earlier."""
    inside = part.times & ~other.times == 0 and part.callers & ~other.callers == 0 and part.turns & ~other.turns == 0
    if not inside or part.pressed != other.pressed:
        return False
    if not set(other.given) <= set(part.given):
        return False
    if [_next(way) for way in part.core] == [_next(way) for way in other.core]:
        return True  # they part into the same; what comes of it after that is told already
    return all(_earlier(mine, theirs) for mine, theirs in zip(part.ways, other.ways, strict=True))


def _next(way: Sequence[Item]) -> Item:
    """Where a way goes on; to a queue, whoever is asked there."""
    return way[0][:2] if way[0][0] == "queue" else way[0]


def _earlier(way: Sequence[Item], whole: Sequence[Item]) -> bool:
    """Whether ``way`` is ``whole``, or ends in a talk on its way."""
    if way == whole:
        return True
    if way[-1][1] != "talk":
        return False
    *before, last, _ = way if len(way) > 1 else (("nobody",), *way)
    at = len(before)
    if tuple(before) != tuple(whole[:at]) or at >= len(whole):
        return False
    other = whole[at]
    if last[0] == "queue":
        return other[:2] == last[:2] and tuple(other[2][: len(last[2])]) == tuple(last[2])
    return bool(last == other)


def _merged(parts: Sequence[_Part], everything: int) -> list[_Part]:
    """Parts that are one but for when, for whom, or by which keys."""
    found = list(parts)
    for name in ("callers", "times", "turns", "callers", "times"):
        found = _joined(found, name, lambda part: (part.place, part.was, part.now, part.core))
    found = _joined(found, "turns", lambda part: (part.place, part.core))
    kept: dict[Hashable, _Part] = {}
    for part in found:  # what else is so, and which keys
        known = kept.setdefault((part.times, part.callers, part.turns, part.pressed, part.core), part)
        if known is not part:
            known.given = (_either(known.given, part.given),)
            known.shorten(part)
    found, kept = list(kept.values()), {}
    for part in found:
        known = kept.setdefault((part.times, part.callers, part.turns, part.given, part.core), part)
        if known is not part:
            known.pressed = (*known.pressed, *part.pressed)
            known.shorten(part)
    return _extensions(_collapsed(list(kept.values()), everything))


def _either(given: Sequence[str], other: Sequence[str]) -> str:
    """One or the other; what is said of the same lookup is said once."""
    return f"{', '.join(given)}, or {', '.join(other)}" if given and other else "whatever else is so"


def _collapsed(parts: Sequence[_Part], everything: int) -> list[_Part]:
    """One part for callers who always come to one end, wherever they came before; or the other way round."""
    found = list(parts)
    for name, other in (("now", "was"), ("was", "now")):
        groups: dict[Hashable, list[_Part]] = {}
        for part in found:
            groups.setdefault((part.callers, part.turns, part.core[name == "now"], getattr(part, name)), []).append(
                part
            )
        for group in groups.values():
            times = {part.times for part in group}
            if len(times) > 1 and functools.reduce(operator.or_, times) == everything:
                ends = list(dict.fromkeys(getattr(part, other) for part in group))
                text = f"as the time and the keys have it: {'; or '.join(ends[:MOST_ENDS])}"
                text += f"; or {len(ends) - MOST_ENDS} other ways" if len(ends) > MOST_ENDS else ""
                one = replace(group[0], times=everything, pressed=(), given=())
                setattr(one, other, text if len(ends) > 1 else ends[0])
                found = [one, *(part for part in found if part not in group)]
    return found


def _extensions(parts: Sequence[_Part]) -> list[_Part]:
    """One part for all extensions that are dialled, where they ring now as they did not, or did."""
    groups: dict[Hashable, list[_Part]] = {}
    for part in parts:
        for side, way in enumerate(part.core):
            dialled = {pressed[-1][0] for pressed in part.pressed if pressed}
            if len(dialled) == 1 and way[0][0] == "rings" and {who for who, _ in way[0][1]} == dialled:
                key = (side, part.times, part.callers, part.turns, part.given, part.core[1 - side])
                groups.setdefault(key, []).append(part)
    found = list(parts)
    for (side, *_), group in groups.items():  # type: ignore[misc]
        if len(group) > 2:
            pressed = tuple(dict.fromkeys(pressed for part in group for pressed in part.pressed))
            one = replace(group[0], pressed=pressed)
            setattr(one, ("was", "now")[side], "whose extension it is rings, and their forwards are followed")
            found[found.index(group[0])] = one
            found = [part for part in found if not any(part is other for other in group[1:])]
    return found


def _joined(parts: Sequence[_Part], name: str, alike: Callable[[_Part], Hashable]) -> list[_Part]:
    others = [one for one in ("times", "turns", "callers") if one != name]
    found: dict[Hashable, _Part] = {}
    for part in parts:
        key = (alike(part), *(getattr(part, other) for other in others))
        known = found.setdefault(key, part)
        if known is not part:
            setattr(known, name, getattr(known, name) | getattr(part, name))
            known.shorten(part)
    return list(found.values())


# ------------------------------------------------------------------------------------------------- in words


def _pressed(asked: Iterable[Asked]) -> Pressed:
    """The keys that were pressed, each once where the same was asked again and again; and whether they mean nothing."""
    found: list[tuple[str, bool]] = []
    last = None
    for one in asked:
        if one.question.kind == "keys":
            here = one.question.subject, one.answer
            if here != last:
                found.append((str(one.answer), one.wrong))
            last = here
    return tuple(found)


def _keys(ways: Sequence[Pressed]) -> str:
    """Who presses what.  Keys that only lead to where other keys are pressed are left out, if those are told."""
    told = {*ways}
    ways = [way for way in dict.fromkeys(ways) if way and not any(way[at:] in told for at in range(1, len(way)))]
    without = any(not any(key for key, _ in way) for way in ways)
    wrong = any(way[0][1] for way in ways)
    pressed = list(dict.fromkeys(_press(way) for way in ways if any(key for key, _ in way) and not way[0][1]))
    some = pressed[:MOST_PRESSED]
    if len(pressed) > len(some):
        rest = len(pressed) - len(some)
        some.append(f"in {rest} other ways" if rest > 1 else "in another way")
    said = ["without a key"] if without else []
    said += ["with keys that mean nothing"] if wrong else []
    said += [f"who presses {' or '.join(some)}"] if some else []
    return " or ".join(said)


def _press(way: Pressed) -> str:
    keys = list(way)
    while len(keys) > 1 and not keys[-1][0]:  # what was pressed before led on, and then nothing more was pressed
        keys.pop()
    names = {"*": "star", "#": "hash", "": "nothing"}
    return " and then ".join(names.get(key, key.removesuffix("#")) for key, _ in keys)


def _given(walk: Walked, *routings: Routing) -> tuple[tuple[str, ...], bool]:
    """What must be so besides, in words; and whether telephones and agents do the usual: nobody answers."""
    found: list[str] = []
    usual = True
    for one in walk.asked:
        question, answer = one.question, one.answer
        if question.kind == "switch" and answer == "on":
            found.append(f"while the switch {question.subject} is on")
        elif question.kind == "full" and answer == "yes":
            usual = False
            found.append(f"when the queue {question.subject} is full")
        elif question.kind == "lookup":
            name = question.subject.rpartition("/")[2]
            if isinstance(answer, Mapping):
                values = ", ".join(f"{key} = {value}" for key, value in answer.items())
                found.append(f"when the lookup {name} says {values}")
            else:
                found.append(f"when the lookup {name} {'fails' if answer == 'failed' else 'finds nothing'}")
        elif question.kind in ("phone", "agent") and answer != "no_answer":
            usual = False
            whose = question.subject if question.kind == "agent" else question.person
            who = next((_person(routing, whose) for routing in routings if whose in routing.people), question.subject)
            if question.kind == "phone" and question.subject != question.person and question.person:
                who = f"{who} on {question.subject}"
            found.append(f"when {who} {_DOES[str(answer)]}")
    return tuple(_short(found)), usual


def _short(found: Sequence[str]) -> list[str]:
    """Several who do the same are one."""
    does: dict[str, list[str]] = {}
    rest = []
    for one in found:
        verb = next((verb for verb in _DOES.values() if one.endswith(f" {verb}")), None)
        if verb is None:
            rest.append(one)
        else:
            does.setdefault(verb, []).append(one.removeprefix("when ").removesuffix(f" {verb}"))
    for verb, names in does.items():
        some = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]
        rest.append(f"when {_and(some)} {verb if len(names) == 1 else _PLURAL.get(verb, verb)}")
    return rest


_DOES = {
    "answers": "answers",
    "busy": "is busy",
    "unreachable": "cannot be reached",
    "declined": "declines",
    "paused": "is paused",
    "logged_out": "is logged out",
}
_PLURAL = {
    "answers": "answer",
    "is busy": "are busy",
    "declines": "decline",
    "is paused": "are paused",
    "is logged out": "are logged out",
}


def _person(routing: Routing, extension: str) -> str:
    person = routing.people.get(extension)
    return f"{person.name} ({extension})" if person else extension


def way_of(told: Told) -> tuple[Item, ...]:
    """Whom a call rings, and where it ends."""
    return (*told.chain, ("end", *told.end))


def in_words(routing: Routing, told: Told) -> str:
    """Where a call went, as a line."""
    return _way(routing, way_of(told), False, False)


def _way(routing: Routing, way: Sequence[Item], agents: bool, again: bool) -> str:
    words = ["asked again"] if again else []
    for item in way[:-1]:
        if item[0] == "rings":
            words.append(_rings(routing, item[1]))
        elif item[0] == "turn":
            words.append(f"whoever's turn it is in {item[1]} rings")
        elif item[0] != "queue":
            words.append(_end(item))
        elif agents:
            named = _and([_person(routing, agent) for agent in item[2]])
            words.append(f"the queue {item[1]} ({f'which asks {named}' if named else 'which asks nobody'})")
        elif way[-1] != ("end", "waits", item[1]):
            words.append(f"the queue {item[1]}")
    return ", then ".join((*words, _end(way[-1][1:])))


def _rings(routing: Routing, phones: Sequence[tuple[str, str]]) -> str:
    """``Anna Petrova (301) rings``; whose own telephone rings is not told of the others."""
    desks = {person for person, address in phones if person == address}
    words = []
    for person, address in phones:
        if not person:
            words.append(address)
        elif address == person:
            words.append(_person(routing, person))
        elif person not in desks:
            words.append(f"{_person(routing, person)} on {address}")
    return f"{_and(words)} {'rings' if len(words) == 1 else 'ring'}"


def _end(end: Sequence[Any]) -> str:
    match end[0]:
        case "talk":
            return "they talk"
        case "voicemail":
            return f"a message for {', '.join(end[1])}"
        case "hangup":
            return {"normal": "the call ends", "busy": "the busy tone"}.get(end[1], f"the call ends ({end[1]})")
        case "queue":
            return f"the queue {end[1]}"
        case "waits":
            return f"the queue {end[1]} without an end"
        case "round":
            return "round and round without an end"
    return " ".join(map(str, end))


def _heard(routing: Routing, heard: Any) -> str:
    match heard[0]:
        case "says":
            return f"“{heard[1]}” ({heard[2]})" if len(routing.languages) > 1 else f"“{heard[1]}”"
        case "plays":
            return f"{heard[1]}, whose sound is another" if heard[3] else str(heard[1])
        case "music" | "tone":
            return f"the {heard[0]} {heard[1]}"
        case "announces":
            return f"every {heard[1]:g} s “{' / '.join(heard[2:])}”"
        case "phone":
            _, (person, address), whisper, confirm, shown, _ = heard
            said = [f"shows {shown}"] if shown else []
            said += [f"whispers {_heard(routing, whisper)}"] if whisper else []
            said += ["asks for key 1"] if confirm else []
            who = _person(routing, person) if person == address else address
            return f"{who} {', '.join(said) or 'shows nothing'}"
    return str(heard)


def _in_place_of(gone: Sequence[Any], came: list[Any]) -> Iterator[tuple[Any, Any]]:
    """What was heard, each with what is heard instead, which is taken from ``came``; None: nothing.

    The same telephone takes its own place, the same words in another language theirs; else one sound that of another
    if there is as much of the one as of the other.
    """
    speech = [[one for one in side if one[0] in ("says", "plays", "music")] for side in (gone, came)]
    as_many = len(speech[0]) == len(speech[1])
    for one in gone:
        other = next((other for other in came if other[:2] == one[:2] and one[0] != "announces"), None)
        if other is None and one[0] == "announces":
            other = next((other for other in came if other[0] == "announces"), None)
        if other is None and as_many and one in speech[0]:
            other = speech[1][speech[0].index(one)]
            other = other if other in came else None
        if other is not None:
            came.remove(other)
        yield one, other


def _telephones(old: Routing, new: Routing, one: Any, other: Any) -> tuple[str, str]:
    """What a telephone showed and played, and does now, without what is alike."""
    _, who, *before = one
    *_, whisper, confirm, shown, name = other
    after = [whisper, confirm, shown, name]
    for at, (first, second) in enumerate(zip(before, after, strict=True)):
        if first == second:
            before[at] = after[at] = None
    if not any(before[:3]) and not any(after[:3]):
        person = _person(new, who[0]) if who[0] == who[1] else who[1]
        return f"{person} shows the name {before[3] or '(none)'}", f"{person} shows the name {after[3] or '(none)'}"
    was, now = _heard(old, ("phone", who, *before)), _heard(new, ("phone", who, *after))
    if was == now and before[1] and after[1]:  # the same key is asked for in other words
        was, now = (f"{words}: {_heard(new, confirm)}" for words, confirm in ((was, before[1]), (now, after[1])))
    return was, now


def _paces(routing: Routing, old: Told, new: Told) -> Iterator[tuple[str, str]]:
    """How long things took, and take: each that is another, but for the whole."""
    gone: list[Any] = [one for one in old.pace[:-1] if one not in new.pace]
    came: list[Any] = [one for one in new.pace[:-1] if one not in old.pace]
    for one in gone:
        at = 1 if one[0] == "message" else 2
        other = next((other for other in came if other[:at] == one[:at]), None)
        if other is not None:
            came.remove(other)
            yield _pace(routing, one, other), _pace(routing, other, one)


def _pace(routing: Routing, one: Any, other: Any) -> str:
    match one[0]:
        case "rings":
            _, (person, address), seconds, trunks, caps = one
            who = _person(routing, person) if person == address else address
            if other[2] != seconds:
                return f"{who} rings {seconds:g} s"
            return f"{who} through {', '.join(trunks)}, at most {', '.join(str(most) for _, most in caps)} calls"
        case "waits":
            return ", ".join(
                f"{_SETTINGS.get(name, name)} of {one[1]}: {_value(value)}{_unit(name, value)}"
                for name, value in one[2:]
                if (name, value) not in other
            )
        case "asks":
            said = [f"waits {one[2]:g} s for keys"] if one[2] != other[2] else []
            said += [f"asks {one[3]} times"] if one[3] != other[3] else []
            return f"a {one[1]} {' and '.join(said)}"
    return f"a message of {one[1]:g} s at most"


#: Settings of a queue that are seconds.
_SECONDS = ("max_wait", "unstaffed", "ring", "wrap_up")


def _unit(name: str, value: Any) -> str:
    return " s" if name in _SECONDS and value is not None else ""


_SETTINGS = {"skills": "skills that are needed"}


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{one[0]} {one[1]:g}" if isinstance(one, tuple) else str(one) for one in value) or "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _named(numbers: Iterable[str]) -> list[str]:
    known = list(numbers)
    rest = len(known) - MOST_NUMBERS
    return [*known[:MOST_NUMBERS], f"{rest} more"] if rest > 1 else known


# --------------------------------------------------------------------------------------------------- the text

_HEADS = {WAY: "gets there another way", HEARS: "hears something else", PACE: "takes another time"}


def told(comparison: Comparison) -> list[str]:
    """The comparison as lines to be read."""
    outside = [one for one in comparison.changes if not one.phones]
    changed = sum(len(one.numbers) for one in outside)
    elsewhere = sum(len(one.numbers) for one in outside if any(line.kind == ELSEWHERE for line in one.lines))
    if not comparison.differs:
        cut = [f"  {one}" for one in comparison.cut]
        return [f"{comparison.company}: nothing changes", *cut]
    counted = f"{changed} {'number changes' if changed == 1 else 'numbers change'}" if changed else "no number changes"
    if elsewhere < changed:
        counted += f", {elsewhere} of them so that calls end elsewhere" if elsewhere else ", and no call ends elsewhere"
    lines = [f"{comparison.company}: {counted}", *(f"  {note}" for note in comparison.notes)]
    for change in comparison.changes:
        lines.append(", ".join(_named(change.numbers)) + ", dialled from our own phones" * change.phones)
        last = ""
        for line in change.lines:
            head = line.times if line.kind == ELSEWHERE else f"{line.times}: {_HEADS[line.kind]}"
            if head != last:
                lines.append(f"  {head}")
                last = head
            lines += [f"    {line.who}", f"      was  {line.was}", f"      now  {line.now}"]
    if comparison.same and comparison.changes:
        lines.append(f"{', '.join(_named(comparison.same))}: no change")
    lines += [f"  {one}" for one in comparison.cut]
    if comparison.unwalked:
        lines.append("not walked, only compared as it is written:")
        lines += [f"  {one}" for one in comparison.unwalked]
    return lines
