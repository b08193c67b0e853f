"""What a publication would change, what of it must be asked first, and what is left alone.  Pure.

Goes by names and numbers only: what is live, what is pinned, and what each file came to.  It knows no disk, no
version's content, no caller.

The surprise: a number that moves has two ends.  If the company that gets it cannot go live, the one that has it must
not give it up either, or its callers would reach nobody; so both keep what they have, and with them whoever takes a
number of theirs.  A company that disappears is asked about like a move: an editor that moves a file away must not
silence a company's telephones.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place, Problem

#: Numbers named in a sentence; of the others it is said how many there are.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Pin:
    """A company is kept at a version, whatever its file says, until it is published by name."""

    version: str
    by: str
    at: float  # UTC epoch
    why: str


@dataclass(frozen=True, slots=True)
class File:
    """What a company's file came to.  ``version`` None: it cannot go live.  ``numbers``: claimed by it, and where."""

    path: str
    version: str | None
    numbers: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Live:
    """What new calls get of a company now: its version and the numbers of that."""

    version: str
    numbers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that is asked before it is done.  ``token`` is what a yes is given to: other numbers, another token."""

    token: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of it.  ``live``: company → version afterwards.

    ``needs``: all that had to be asked, also what was; ``problems``: what is held back, and why; ``released``:
    companies whose pin ends; ``pinned``: those that a pin keeps, and whether their file says the same as the pin;
    ``offered``: those of them whose file could go live if the pin ended, and its version.
    """

    live: Mapping[str, str]
    needs: Sequence[Need] = ()
    problems: Sequence[Problem] = ()
    released: Sequence[str] = ()
    pinned: Mapping[str, bool] = field(default_factory=dict)
    offered: Mapping[str, str] = field(default_factory=dict)


def decide(
    directory: str,
    files: Mapping[str, File],
    live: Mapping[str, Live],
    pins: Mapping[str, Pin],
    *,
    only: Collection[str] = (),
    unpinned: Collection[str] = (),
    confirmed: Collection[str] = (),
) -> Plan:
    """Decide.  ``only``: the companies that were named, whose pins end; none: all of them, but for those pinned.

    ``unpinned``: of all of them, those whose pins end all the same; ``confirmed``: the tokens that were said yes to.
    """
    named = frozenset(only) or frozenset(unpinned)
    return _Decision(directory, files, live, pins, frozenset(only), named, frozenset(confirmed)).plan()


@dataclass(frozen=True, slots=True)
class _Move:
    """Numbers that one company has and another claims."""

    old: str
    new: str
    numbers: tuple[str, ...]
    place: Place

    def __str__(self) -> str:
        return _listed(self.numbers)

    def word(self, verb: str) -> str:
        """A verb as it stands after the numbers."""
        return f"{verb}s" if len(self.numbers) == 1 else verb


class _Decision:
    def __init__(
        self,
        directory: str,
        files: Mapping[str, File],
        live: Mapping[str, Live],
        pins: Mapping[str, Pin],
        only: frozenset[str],
        named: frozenset[str],
        confirmed: frozenset[str],
    ) -> None:
        self.directory = directory
        self.files = files
        self.live = live
        self.pins = pins
        self.only = only
        self.named = named  # their pins end
        self.confirmed = confirmed

    def plan(self) -> Plan:
        wanted = self._wanted()
        moves = [move for move in self._moves() if move.old in wanted or move.new in wanted]
        renamed = self._renamed(moves, wanted)
        needs = [*self._asked_moves(moves, wanted, renamed), *self._asked_ends(wanted, renamed)]
        yes = {company for company, need in needs if need.token in self.confirmed}
        going, shut = self._going(wanted, moves, renamed, yes)
        after = {company: known.version for company, known in self.live.items()}
        for company in going:
            file = self.files.get(company)
            if file is None:
                after.pop(company, None)
            elif file.version is not None:
                after[company] = file.version
        problems = [*self._why_not(shut, renamed, wanted, yes), *self._kept(wanted, going, renamed)]
        released = [company for company in sorted(self.named & {*self.pins}) if company in going or self._same(company)]
        left = [] if self.only else sorted({*self.pins} & {*self.live} - {*released})
        pinned = {company: self._same(company) for company in left}
        problems += [self._pinned(company) for company, same in pinned.items() if not same]
        offered = {
            company: version
            for company, same in pinned.items()
            if not same and company in self.files and (version := self.files[company].version) is not None
        }
        asked = tuple(dict.fromkeys(need for _, need in needs))
        order = sorted(problems, key=lambda found: (found.place, found.code, found.message))
        return Plan(after, asked, tuple(order), tuple(released), pinned, offered)

    # --------------------------------------------------------------------------------------------- wishes

    def _may(self, company: str) -> bool:
        """Whether this publication is about the company at all."""
        return company in self.only if self.only else company not in self.pins or company in self.named

    def _wanted(self) -> set[str]:
        """The companies that would change if nobody had to be asked."""
        found = {company for company in self.live if company not in self.files and self._may(company)}
        for company, file in self.files.items():
            known = self.live.get(company)
            if self._may(company) and file.version is not None and (known is None or known.version != file.version):
                found.add(company)
        return found

    def _moves(self) -> Iterator[_Move]:
        """Numbers of one live company in the file of another, where the two do not both claim them in their files.

        That is a mistake of the later file (E502) and no move; unless it is the owner's, who must not lose it so.
        """
        owners = {
            number: company for company in sorted(self.live, reverse=True) for number in self.live[company].numbers
        }
        for company, file in sorted(self.files.items()):
            known = self.live.get(company)
            found: dict[str, list[str]] = {}
            for number in file.numbers:
                owner = owners.get(number, company)
                if owner == company or (known is not None and number in known.numbers):
                    continue
                still = self.files.get(owner)
                if still is not None and number in still.numbers and file.version is None:
                    continue
                found.setdefault(owner, []).append(number)
            for owner, numbers in sorted(found.items()):
                yield _Move(owner, company, tuple(sorted(numbers)), min(file.numbers[number] for number in numbers))

    def _renamed(self, moves: Sequence[_Move], wanted: Collection[str]) -> dict[str, _Move]:
        """Companies whose file is gone → the move to the new company that takes the most of their numbers."""
        found: dict[str, _Move] = {}
        for move in moves:
            if move.old in wanted and move.old not in self.files and move.new not in self.live:
                known = found.get(move.old)
                if known is None or len(move.numbers) > len(known.numbers):
                    found[move.old] = move
        return found

    # --------------------------------------------------------------------------------------------- asking

    def _asked_moves(
        self, moves: Sequence[_Move], wanted: Collection[str], renamed: Mapping[str, _Move]
    ) -> Iterator[tuple[str, Need]]:
        for move in moves:
            if not self._possible(move, wanted) or renamed.get(move.old) is move:
                continue
            yield _of(move), Need(_token("move", move), f"{move} {move.word('move')} from {move.old} to {move.new}")

    def _asked_ends(self, wanted: set[str], renamed: Mapping[str, _Move]) -> Iterator[tuple[str, Need]]:
        for company in sorted(wanted - self.files.keys()):
            move = renamed.get(company)
            if move is None:
                known = self.live[company]
                has = f" ({_listed(sorted(known.numbers))})" if known.numbers else ""
                text = f"{company} takes no more calls{has}: its file is gone"
                yield company, Need(_token("gone", None, company, sorted(known.numbers)), text)
            elif self._possible(move, wanted):
                need = Need(_token("rename", move), f"{company} is renamed {move.new}, which takes over {move}")
                yield company, need
                yield _of(move), need

    def _possible(self, move: _Move, wanted: Collection[str]) -> bool:
        return move.old in wanted and move.new in wanted

    def _going(
        self, wanted: set[str], moves: Sequence[_Move], renamed: Mapping[str, _Move], yes: Collection[str]
    ) -> tuple[set[str], list[_Move]]:
        """The companies that change, and the moves that are not made.  One that is held back may hold others."""
        going = {company for company in wanted if company in self.files or company in yes}
        shut: list[_Move] = []
        rest = list(moves)
        while True:
            closed = [move for move in rest if _of(move) not in yes or move.old not in going or move.new not in going]
            if not closed:
                return going, shut
            shut += closed
            rest = [move for move in rest if move not in closed]
            going -= {company for move in closed for company in (move.old, move.new)}

    # ------------------------------------------------------------------------------------------- telling

    def _why_not(
        self, shut: Sequence[_Move], renamed: Mapping[str, _Move], wanted: Collection[str], yes: Collection[str]
    ) -> Iterator[Problem]:
        for move in shut:
            stay = f"{move.old} and {move.new} stay as they are"
            if not self._possible(move, wanted):
                message = f"{move} {move.word('belong')} to {move.old}, and {self._obstacle(move, wanted)}: {stay}"
                yield problem("E524", move.place, message)
            elif _of(move) in yes:
                message = f"{move} cannot move from {move.old} to {move.new} while another of their moves is held back"
                yield problem("E524", move.place, f"{message}: {stay}")
            elif renamed.get(move.old) is move:
                message = f"{move.old} looks renamed: its file is gone, and {move.new} has its {move}"
                yield problem("E522", move.place, f"{message}; {stay} until cordboard publish has asked")
            else:
                message = f"{move} would move from {move.old} to {move.new}"
                yield problem("E521", move.place, f"{message}; {stay} until cordboard publish has asked")

    def _obstacle(self, move: _Move, wanted: Collection[str]) -> str:
        """Why one end of a move does not change."""
        company, verb = (move.old, "give") if move.old not in wanted else (move.new, "get")
        file = self.files.get(company)
        if company in self.pins and company not in self.named:
            return f"{company} is pinned to version {self.pins[company].version}"
        if self.only and company not in self.only:
            return f"{company} is not published with it: name both, --company {move.old} --company {move.new}"
        if file is not None and file.version is None:
            return f"the file of {company} cannot go live"
        return f"{company} does not {verb} it up" if verb == "give" else f"{company} does not get it"

    def _kept(self, wanted: set[str], going: set[str], renamed: Mapping[str, _Move]) -> Iterator[Problem]:
        """Companies without a file that take calls all the same."""
        for company in sorted(wanted - self.files.keys() - going):
            if company not in renamed:
                message = f"the file of {company} is gone: it goes on by version {self.live[company].version}"
                yield problem("E520", self._start(company), f"{message} until cordboard publish has asked")

    def _pinned(self, company: str) -> Problem:
        pin, file = self.pins[company], self.files.get(company)
        what = "is gone" if file is None else "cannot go live" if file.version is None else "says something else"
        message = f"{company} is {pinned_words(pin)}, and its file {what}"
        return problem("W538", self._start(company), f"{message}: cordboard publish --company {company} ends the pin")

    def _same(self, company: str) -> bool:
        """Whether the file of a company with a pin says what is live already."""
        file, known = self.files.get(company), self.live.get(company)
        return file is not None and known is not None and file.version == known.version

    def _start(self, company: str) -> Place:
        file = self.files.get(company)
        return Place(file.path if file else f"{self.directory}/{company}.yaml", 1, 1)


def pinned_words(pin: Pin) -> str:
    """``pinned to version 1f… by anna since 2026-11-26 18:02 UTC (the new menu loses callers)``."""
    return f"pinned to version {pin.version} by {pin.by} since {moment(pin.at)} ({pin.why or 'nobody said why'})"


def moment(at: float) -> str:
    """A UTC epoch as people read it, to the minute; any number at all."""
    try:
        return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _of(move: _Move) -> str:
    """The name of a move among those that were said yes to; no company can be so called."""
    return f"{move.old} {move.new}"


def _token(kind: str, move: _Move | None, company: str = "", numbers: Sequence[str] = ()) -> str:
    words = (move.old, move.new) if move is not None else (company,)
    digest = hashlib.sha256(" ".join(move.numbers if move is not None else numbers).encode()).hexdigest()[:12]
    return " ".join((kind, *words, digest))


def _listed(numbers: Sequence[str]) -> str:
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return ", ".join(numbers[:NAMED]) + more
