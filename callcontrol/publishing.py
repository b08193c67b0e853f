"""Publishing: a directory of routing becomes what new calls get, in a process of its own; so does an older version.

Reads, checks, renders and stores; the supervisor runs it (``python -m callcontrol.publishing``) at its start, for each
reload and when somebody has left a request (``asking.py``), and never a process that has calls.  Only files that
changed since the last publication are parsed: ``versions/index.json`` remembers what each file came to, by the hash of
everything that it depended on.

The surprise: until the last step nothing of it counts.  Controllers follow ``published.json`` and nothing else, and
that is replaced once, at the end: whoever kills this process before changes nothing, for no company.  In the same file
stand the pins and the record of what was done for whom; what follows (the line of the history, the answer to who
asked) the next publisher makes good, if this one dies before it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from callcontrol import asking, history, outcomes
from callcontrol.asking import Answer, Request
from callcontrol.directory import write_directory
from callcontrol.history import Record
from callcontrol.outcomes import Outcome
from callcontrol.planning import NAMED, File, Live, Pin, Plan, decide, pinned_words
from callcontrol.routing.codes import problem
from callcontrol.routing.files import check_loaded, company_files, load_file, read_file, rehearsals_beside, sounds_in
from callcontrol.routing.load import Beside, Loaded, LoadError, compiled, first_of, load_compiled
from callcontrol.routing.model import Place, Problem, Routing
from callcontrol.routing.packing import PackError, pack, program, unpack
from callcontrol.settings import Config, SettingsError, kept_config, read_config
from callcontrol.speech import Renderer, SpeechStore, hashes, own_music, render
from callcontrol.supervisor import CANNOT_START, die_with_parent
from callcontrol.versions import VersionStore, write_whole
from callcontrol.workbench.rehearse import failing

#: How long a version is kept at least when nobody says that it is used, seconds; and longer than the longest call.
KEEP = 86_400.0
#: How many versions of each company, counted from the last that was live, are kept to be rolled back to.
KEPT = 10
#: How much less than call processes this one is in a hurry (nice).
NICE = 10


class Rendered(Protocol):
    """What rendering gives: what went wrong, and by sound file and by language what the version shall use."""

    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def sounds(self) -> Mapping[str, str]: ...
    @property
    def voices(self) -> Mapping[str, str]: ...


#: Renders the speech and sounds of a routing: (routing, the companies' sounds, STATE, cordboard.yaml's voices).
Render = Callable[[Routing, Path, Path, Mapping[str, Any]], Rendered]
#: Told the extensions of every live company, before anybody is told that it is published.
Announce = Callable[[Mapping[str, Sequence[str]]], object]


@dataclass(frozen=True, slots=True)
class NothingRendered:
    """No speech, and sounds as they are."""

    problems: Sequence[Problem] = ()
    sounds: Mapping[str, str] = field(default_factory=dict)
    voices: Mapping[str, str] = field(default_factory=dict)


def render_nothing(routing: Routing, sounds: Path, state: Path, voices: Mapping[str, Any]) -> Rendered:
    """The rendering of a program that has no voice."""
    return NothingRendered()


@dataclass(slots=True)
class _Entry:
    """What a file came to.  ``version`` None: it does not go live.  ``again``: not to be believed the next time."""

    key: str
    loaded: Loaded
    version: str | None = None
    again: bool = False
    people: Sequence[str] = ()
    rehearsals: int = 0


class Refusal(Exception):
    """What was asked for is not done; ``str()`` says why."""


# ---------------------------------------------------------------------------------------------- publishing


def publish(
    directory: Path,
    store: VersionStore,
    sounds: Path | None = None,
    *,
    voices: Mapping[str, Any] = MappingProxyType({}),
    music: Mapping[str, Path] = MappingProxyType({}),
    keep: float = KEEP,
    trouble: str = "",
    render: Render = render_nothing,
    announce: Announce = lambda _: None,
    how: str = "start",
) -> Outcome:
    """Make live what has no errors; a company whose file has some keeps the version that it has.

    So do companies that are pinned, and whatever must be asked first (``planning.py``): nobody can be asked here.
    ``music``: the operator's, which ``render`` knows too: a version is made anew when it changes.  ``keep``: seconds
    for which a version that is not current is kept although nobody uses it.  Raises LoadError, and changes nothing,
    for a directory that cannot be read or holds no company; OSError when the disk takes nothing.
    """
    publisher = Publisher(directory, store, sounds, voices, music, keep, trouble, render, announce)
    return publisher.publish(how)


def answer_requests(publisher: Publisher) -> None:
    """Do what people left in STATE to be done, one after the other, and answer each.  Raises OSError."""
    state = publisher.store.state
    last = outcomes.read_outcome(state)
    records = history.read(state, last.record if last else None)  # those asked for below are of other requests

    def refused(name: str, why: str) -> None:
        _log().error("a request is refused", request=name, why=why)

    for request in asking.waiting(state, refused):
        if not asking.still_wanted(state, request):
            refused(request.id, "who asked gave up, or is gone")
            continue
        try:
            answer = _done_before(records, request) or publisher.do(request)
        except (LoadError, Refusal) as error:
            refused(request.id, str(error))
            answer = Answer(refused=str(error))
        asking.answer(state, request, answer)


def _done_before(records: Sequence[Record], request: Request) -> Answer | None:
    """What a publisher that did not live to say so did for a request."""
    record = history.done_for(records, request.id)
    return Answer(record.serial, changes=record.changes) if record is not None else None


@dataclass(frozen=True, slots=True)
class Publisher:
    """What publications have in common: where they read from, how they render.  See :func:`publish`."""

    directory: Path
    store: VersionStore
    sounds: Path | None = None
    voices: Mapping[str, Any] = field(default_factory=dict)
    music: Mapping[str, Path] = field(default_factory=dict)
    keep: float = KEEP
    trouble: str = ""
    render: Render = render_nothing
    announce: Announce = lambda _: None

    def publish(self, how: str) -> Outcome:
        """Publish the whole directory, as far as nobody must be asked."""
        return _Publication(self).publish(how)

    def do(self, request: Request) -> Answer:
        """Do what is asked.  Raises LoadError, Refusal and OSError: nothing was changed then."""
        publication = _Publication(self)
        match request.verb:
            case "plan":
                return publication.plan(request)
            case "publish":
                return publication.publish_for(request)
            case _:
                return publication.rollback(request)


class _Publication:
    def __init__(self, given: Publisher) -> None:
        self._began = outcomes.now()
        self._given = given
        self._directory = given.directory
        self._store = given.store
        self._sounds = given.sounds or given.directory / "sounds"
        self._voices = given.voices
        self._music = [f"{name} {_signature(file)}" for name, file in sorted(given.music.items())]
        self._render = given.render
        self._index = _read_index(self._store.state)
        self._last = last = outcomes.read_outcome(self._store.state)
        self._records = history.read(self._store.state, last.record if last else None)
        self._before = (
            dict(last.live) if last else {name: self._store.current(name) or "" for name in self._store.live()}
        )
        self._pins = dict(last.pins) if last else history.pins_of(self._records)
        self._people, self._numbers = _told(self._index)
        self._entries: list[_Entry] = []

    # ------------------------------------------------------------------------------------------- what is done

    def publish(self, how: str) -> Outcome:
        problems, plan = self._planned((), ())
        return self._make_live(plan.live, self._pins, Record(0, 0.0, how), (*problems, *plan.problems))

    def plan(self, request: Request) -> Answer:
        """What ``publish_for`` would do if all is said yes to."""
        problems, plan = self._planned(request.companies, (), request.unpinned)
        if plan.needs:
            problems, plan = self._planned(request.companies, [need.token for need in plan.needs], request.unpinned)
        self._remember()
        return self._answer(0, plan, [*problems, *plan.problems])

    def publish_for(self, request: Request) -> Answer:
        problems, plan = self._planned(request.companies, request.confirmed, request.unpinned)
        self._refuse_unseen(request, plan)
        pins = {company: pin for company, pin in self._pins.items() if company not in plan.released}
        record = Record(0, 0.0, "publish", request.by, request.why, request.id, released=plan.released)
        every = [*problems, *plan.problems]
        answer = self._answer(0, plan, every)
        outcome = self._make_live(plan.live, pins, record, every)
        return replace(answer, serial=outcome.serial)

    def rollback(self, request: Request) -> Answer:
        (company,) = request.companies
        version, routing = self._version(company, request.version)
        self._refuse_lost_sounds(routing)
        self._refuse_taken_numbers(company, routing)
        if self._store.derived(company, version, program()) is None:
            self._derive(routing)
        self._people[company, version], self._numbers[company, version] = sorted(routing.people), {*routing.numbers}
        plan = Plan({**self._before, company: version})
        pins = {**self._pins, company: Pin(version, request.by, time.time(), request.why)}
        pinned = {company: version}
        record = Record(0, 0.0, "rollback", request.by, request.why, request.id, pinned=pinned)
        answer = self._answer(0, plan, ())
        outcome = self._make_live(plan.live, pins, record, ())
        return replace(answer, serial=outcome.serial)

    def _refuse_unseen(self, request: Request, plan: Plan) -> None:
        """What somebody was told of may be live by now, by another's hand; but nothing else goes live in its stead."""
        if request.shown is not None:
            changes = _changes(self._before, plan.live)
            unseen = [company for company, (_, new) in changes.items() if request.shown.get(company) != new]
            if unseen:
                more = f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
                raise Refusal(
                    f"what would become of {', '.join(unseen[:NAMED])}{more} is not what was shown:"
                    " files were changed meanwhile; look again"
                )

    def _planned(
        self, only: Sequence[str], confirmed: Collection[str], unpinned: Collection[str] = ()
    ) -> tuple[list[Problem], Plan]:
        """Read the directory: what is wrong, and what is to become of it."""
        found = company_files(self._directory)
        if not found:
            raise LoadError(f"{self._directory}: there is no company here: no file that ends in .yaml")
        strangers = {*only} - {file.stem for file in found} - {*self._before}
        if strangers:
            raise Refusal(f"there is no company {', '.join(sorted(strangers))} in {self._directory}")
        self._entries = self._entries or [self._entry(file, not only or file.stem in only) for file in found]
        problems = check_loaded(entry.loaded for entry in self._entries)
        broken = {found.place.path for found in problems if found.severity == "error"}
        files: dict[str, File] = {}
        for entry in self._entries:
            company, version = entry.loaded.company, entry.version if entry.loaded.path not in broken else None
            if entry.version is not None:
                self._people[company, entry.version] = entry.people
                self._numbers[company, entry.version] = {*entry.loaded.numbers}
            if company not in files or version is not None:  # acme.yml beside acme.yaml is nothing
                files[company] = File(entry.loaded.path, version, entry.loaded.numbers)
        live = {
            company: Live(version, frozenset(self._numbers_of(company, version)))
            for company, version in self._before.items()
        }
        plan = decide(str(self._directory), files, live, self._pins, only=only, unpinned=unpinned, confirmed=confirmed)
        problems += self._damaged(plan, files, only)
        if only:
            others = {found for one in self._entries if one.loaded.company not in only for found in one.loaded.problems}
            problems = [
                found
                for found in problems
                if found not in others and (found.code != "E502" or Path(found.place.path).stem in only)
            ]
        return problems, plan

    def _newest_known(self) -> int:
        """The serial of the newest publication that anybody knows of, if the outcome is lost."""
        taken = [taken.serial for taken in outcomes.acknowledged(self._store.state).values()]
        return max([*taken, *(record.serial for record in self._records[-1:])], default=0)

    def _damaged(self, plan: Plan, files: Mapping[str, File], only: Sequence[str]) -> Iterator[Problem]:
        """Versions that stay live and are not what their file says, so that it cannot bring them back."""
        for company, version in plan.live.items():
            file = files.get(company)
            brings_back = file is not None and file.version == version
            if (not only or company in only) and not brings_back and self._store.get(company, version) is None:
                place = Place(file.path if file else f"{self._directory}/{company}.yaml", 1, 1)
                message = f"version {version}, by which {company} goes on, is damaged in {self._store.state}"
                yield problem("E525", place, f"{message}: a process that starts may not be able to take its calls")

    def _make_live(
        self, live: Mapping[str, str], pins: Mapping[str, Pin], record: Record, problems: Sequence[Problem]
    ) -> Outcome:
        """The one step that counts, and what goes before and after it."""
        state = self._store.state
        if self._last is not None and self._last.record is not None:
            history.add(state, self._last.record)  # its publisher may not have lived to do it
        for company, version in live.items():
            if self._store.current(company) != version and self._store.get(company, version) is not None:
                self._store.publish(company, version)
        for company in self._before.keys() - live.keys():
            self._store.withdraw(company)
        self._given.announce({company: self._people_of(company, version) for company, version in live.items()})
        serial = (self._last.serial if self._last else self._newest_known()) + 1
        now = time.time()
        changes = _changes(self._before, live)
        record = replace(record, serial=serial, at=now, changes=changes, rehearsals=self._rehearsals(changes))
        told = record if changes or record.pinned or record.released else None
        ordered = sorted(problems, key=lambda found: (found.place, found.code, found.message))
        shown = tuple(first_of(ordered, outcomes.MOST_PROBLEMS))
        outcome = Outcome(
            serial, self._began, outcomes.now(), now, dict(live), shown, self._given.trouble, dict(pins), told
        )
        outcomes.write_outcome(state, outcome)
        _log().info(
            "published",
            serial=serial,
            changed=len(changes),
            problems=len(problems),
            seconds=round(outcome.ended.seconds - outcome.began.seconds, 2),
        )
        self._afterwards(outcome)
        return outcome

    def _afterwards(self, outcome: Outcome) -> None:
        """What must not make anybody believe that nothing was published when it fails; the next publication does it."""
        try:
            if outcome.record is not None:
                history.add(self._store.state, outcome.record)
                self._records.append(outcome.record)
            self._remember()
            pins = ((company, pin.version) for company, pin in outcome.pins.items())
            keep = {*self._before.items(), *outcome.live.items(), *pins, *history.newest(self._records, KEPT)}
            self._store.prune(keep, self._given.keep, program())
            prune_speech(self._store, self._given.keep)
        except OSError as error:
            _log().error("published, and not all is tidied up", error=str(error))

    def _rehearsals(self, changes: Mapping[str, tuple[str, str]]) -> int:
        """How many rehearsals the versions that become live have passed."""
        return sum(
            entry.rehearsals
            for entry in self._entries
            if entry.version is not None and changes.get(entry.loaded.company, ("", ""))[1] == entry.version
        )

    # --------------------------------------------------------------------------------------------- rolling back

    def _version(self, company: str, begins: str) -> tuple[str, Routing]:
        """The version that is meant: the one before, or the one that so begins.  Raises Refusal."""
        there = self._store.versions(company)
        if not there:
            raise Refusal(f"nothing was ever published of a company {company}")
        known = history.versions_of(self._records, company)
        current = self._before.get(company, "")
        if begins:
            found = [version for version in there if version.startswith(begins)]
        else:
            earlier = known[: known.index(current)] if current in known else known if not current else []
            found = [version for version in earlier if version in there][-1:]
        if len(found) > 1:
            raise Refusal(f"several versions of {company} begin with {begins}: {', '.join(sorted(found))}")
        if not found:
            has = f"; there are: {', '.join(_newest_first(known, there))}" if begins or len(there) > 1 else ""
            which = f"no version that begins with {begins}" if begins else "no version before this one"
            raise Refusal(f"{company} has {which}{has}")
        (version,) = found
        stored = self._store.get(company, version)
        try:
            if stored is None:
                raise LoadError("it is damaged")
            return version, load_compiled(stored)
        except LoadError as error:
            raise Refusal(f"version {version} of {company} cannot be used by this program: {error}") from None

    def _refuse_lost_sounds(self, routing: Routing) -> None:
        speech = SpeechStore(self._store.state)
        lost = sorted(name for name in hashes(routing) if not speech.has(name))
        if lost:
            words = speech.words(lost[0])
            which = f', such as "{words[1][:60]}"' if words else ""
            raise Refusal(
                f"version {routing.version} of {routing.company} has {len(lost)} texts or sounds whose files are not"
                f" there any more{which}: put its text back into the file and publish that"
            )

    def _refuse_taken_numbers(self, company: str, routing: Routing) -> None:
        own = self._numbers_of(company, self._before[company]) if company in self._before else set()
        for other, version in sorted(self._before.items()):
            taken = sorted({*routing.numbers} & {*self._numbers_of(other, version)} - {*own})
            if other != company and taken:
                raise Refusal(
                    f"{', '.join(taken[:3])} of version {routing.version} of {company} belongs to {other} now:"
                    f" publish {other} without it first"
                )

    # -------------------------------------------------------------------------------------------- telling

    def _answer(self, serial: int, plan: Plan, problems: Sequence[Problem]) -> Answer:
        changes = _changes(self._before, plan.live)
        return Answer(
            serial,
            changes=changes,
            lines=[*self._lines(changes), *self._pin_lines(plan)],
            needs={need.token: need.text for need in plan.needs},
            offers={
                company: f"{pinned_words(self._pins[company])}; its file would make it version {version}"
                for company, version in plan.offered.items()
            },
            problems=[str(found) for found in sorted(problems, key=lambda found: (found.place, found.code))],
            errors=sum(found.severity == "error" for found in problems),
            rehearsals=self._rehearsals(changes),
            trouble=self._given.trouble,
        )

    def _lines(self, changes: Mapping[str, tuple[str, str]]) -> Iterator[str]:
        """Which numbers the companies gain and lose."""
        for company, (old, new) in changes.items():
            had = self._numbers_of(company, old) if old else set()
            has = self._numbers_of(company, new) if new else set()
            for word, numbers in (("gets", {*has} - {*had}), ("gives up", {*had} - {*has})):
                if numbers and old and new:
                    yield f"{company} {word} {', '.join(sorted(numbers))}"

    def _pin_lines(self, plan: Plan) -> Iterator[str]:
        for company in plan.released:
            yield f"{company} is not pinned any more: it was {pinned_words(self._pins[company])}"
        for company, same in plan.pinned.items():
            if same:  # else it is told as a problem
                yield f"{company} is {pinned_words(self._pins[company])}; its file says the same"

    def _numbers_of(self, company: str, version: str) -> Collection[str]:
        """The numbers of a stored version; none if it cannot be read."""
        self._look_up(company, version)
        return self._numbers[company, version]

    def _people_of(self, company: str, version: str) -> Sequence[str]:
        """The extensions of a stored version; none if it cannot be read."""
        self._look_up(company, version)
        return self._people[company, version]

    def _look_up(self, company: str, version: str) -> None:
        key = (company, version)
        if key not in self._people or key not in self._numbers:
            routing = _stored_routing(self._store, company, version)
            self._people[key] = sorted(routing.people) if routing else ()
            self._numbers[key] = {*routing.numbers} if routing else ()

    # ---------------------------------------------------------------------------------------- one company

    def _entry(self, file: Path, asked_for: bool) -> _Entry:
        """What a file comes to; one that is not asked for is only read: it says which numbers it claims."""
        raw = read_file(file)
        if isinstance(raw, Loaded):
            return _Entry("", raw)
        beside = rehearsals_beside(file)
        key = self._key(file, raw, beside)
        known = self._known(file, key)
        if known is not None:
            return known
        loaded = load_file(file, raw, sounds_in(self._sounds / file.stem), beside)
        entry = _Entry(key, loaded, again=not asked_for)
        if entry.loaded.routing is not None and asked_for:
            self._keep(entry, entry.loaded.routing)
        return entry

    def _keep(self, entry: _Entry, routing: Routing) -> None:
        """Rehearse, render and store what has no errors of its own; another company may have its number still."""
        company = routing.company
        failed = failing(routing)
        rendered = self._render(routing, self._sounds, self._store.state, self._voices)
        entry.loaded.problems.extend((*failed, *rendered.problems))
        entry.again = bool(rendered.problems)  # a voice that was missing may be there the next time
        if any(found.severity == "error" for found in (*failed, *rendered.problems)):
            return
        entry.people, entry.rehearsals = sorted(routing.people), len(routing.rehearsals)
        whole, stored = compiled(entry.loaded, rendered.sounds, rendered.voices)
        self._store.put(company, whole.version, stored)
        self._derive(whole)
        entry.version = whole.version

    def _derive(self, routing: Routing) -> None:
        try:
            self._store.derive(routing.company, routing.version, program(), pack(routing))
        except PackError as error:  # controllers parse it, and lose time only
            _log().error(
                "a version cannot be packed", company=routing.company, version=routing.version, error=str(error)
            )

    # ----------------------------------------------------------------------------------------- remembering

    def _key(self, file: Path, raw: bytes, beside: Iterable[Beside]) -> str:
        """Everything that decides what a file comes to: bytes, rehearsals, sounds, voices, music, the program."""
        found = hashlib.sha256()
        for part in (program(), str(file), json.dumps(self._voices, sort_keys=True, default=str), *self._music):
            found.update(part.encode("utf-8", "surrogateescape") + b"\0")
        for line in sorted(_signatures(self._sounds / file.stem)):
            found.update(line.encode("utf-8", "surrogateescape") + b"\0")
        for one in beside:
            found.update(f"{one.path}\0{len(one.raw)}\0{one.problem}\0".encode("utf-8", "surrogateescape") + one.raw)
        found.update(raw)
        return found.hexdigest()

    def _known(self, file: Path, key: str) -> _Entry | None:
        """What the file came to the last time, if nothing has changed since and it is still there."""
        given = self._index.get("files", {}).get(str(file))
        try:
            if given is None or given["key"] != key:
                return None
            version = given["version"]
            if version is not None and not self._there(file.stem, version):
                return None
            problems = [Problem(Place(**found.pop("place")), **found) for found in given["problems"]]
            numbers = {number: Place(str(file), *place) for number, place in given["numbers"].items()}
            loaded = Loaded(str(file), file.stem, None, problems, numbers=numbers)
            people = [str(extension) for extension in given["people"]]
            return _Entry(key, loaded, version, people=people, rehearsals=int(given["rehearsals"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _there(self, company: str, version: str) -> bool:
        packed = self._store.derived(company, version, program())
        return packed is not None and self._store.get(company, version) is not None

    def _remember(self) -> None:
        if not self._entries:  # a rollback reads no file
            return
        files = {
            entry.loaded.path: {
                "key": entry.key,
                "version": entry.version,
                "people": list(entry.people),
                "rehearsals": entry.rehearsals,
                "problems": [asdict(found) for found in entry.loaded.problems],
                "numbers": {number: [at.line, at.column] for number, at in entry.loaded.numbers.items()},
            }
            for entry in self._entries
            if entry.key and not entry.again
        }
        text = json.dumps({"files": files}, ensure_ascii=False)
        write_whole(_index_path(self._store.state), text.encode("utf-8", "replace"), durable=False)


def prune_speech(store: VersionStore, keep: float) -> list[str]:
    """Remove speech and sounds that no stored version names, and that were not published for ``keep`` seconds.

    Once in that time, since every version has to be read for it; and only then, since a process of the program before
    this one may still say what this one says otherwise.  Returns what was removed.  Raises OSError.
    """
    told = store.state / "versions" / "swept.json"
    try:
        last = json.loads(told.read_bytes())
        waited = time.time() - last["at"] if last["program"] == program() else -1.0
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        waited = -1.0
    if 0 <= waited <= keep:
        return []
    removed: list[str] = []
    if waited > keep:
        named = {own_music()}
        for company in store.companies():
            for version in store.versions(company):
                routing = _stored_routing(store, company, version)
                if routing is None:
                    _log().warning("old speech stays: a version cannot be read", company=company, version=version)
                    return []
                named |= hashes(routing)
        removed = SpeechStore(store.state).prune(named, keep)
        _log().info("speech that nothing says any more is removed", files=len(removed))
    write_whole(told, json.dumps({"program": program(), "at": time.time()}).encode(), durable=False)
    return removed


def _stored_routing(store: VersionStore, company: str, version: str) -> Routing | None:
    """A version as this program reads it, the quick way if there is one; None if it cannot."""
    packed = store.derived(company, version, program())
    if packed is not None:
        try:
            pieces = unpack(packed, company, version)
            while True:
                next(pieces)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except PackError:
            pass
    stored = store.get(company, version)
    try:
        return load_compiled(stored) if stored is not None else None
    except LoadError:
        return None


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Company → version before and after, "" for none, of those where they differ."""
    every = sorted({*before, *after})
    return {
        company: (before.get(company, ""), after.get(company, ""))
        for company in every
        if before.get(company) != after.get(company)
    }


def _newest_first(known: Sequence[str], there: Collection[str]) -> list[str]:
    """Stored versions, the newest of those that were live first, ten at most."""
    first = [version for version in reversed(known) if version in there]
    return [*first, *sorted({*there} - {*first})][:10]


def _told(
    index: Mapping[str, Any],
) -> tuple[dict[tuple[str, str], Sequence[str]], dict[tuple[str, str], Collection[str]]]:
    """The extensions and the numbers of versions, as far as they are remembered: (company, version) → them."""
    people: dict[tuple[str, str], Sequence[str]] = {}
    numbers: dict[tuple[str, str], Collection[str]] = {}
    for file, entry in index.get("files", {}).items():
        try:
            key = (Path(file).stem, str(entry["version"]))
            found = [str(extension) for extension in entry["people"]], {str(number) for number in entry["numbers"]}
        except (KeyError, TypeError):
            continue
        people[key], numbers[key] = found
    return people, numbers


def _signatures(folder: Path) -> list[str]:
    """The files of a directory as far as they can be told apart without being read."""
    try:
        with os.scandir(folder) as found:
            return [
                f"{file.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
                for file in found
                if file.is_file() and (stat := file.stat())
            ]
    except OSError:
        return []


def _signature(file: Path) -> str:
    """A file as far as it can be told from another without being read."""
    try:
        stat = file.stat()
    except OSError:
        return f"{file} -"
    return f"{file} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _index_path(state: Path) -> Path:
    return state / "versions" / "index.json"


def _read_index(state: Path) -> dict[str, Any]:
    """What was remembered; nothing if it cannot be read: then everything is parsed."""
    try:
        index = json.loads(_index_path(state).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) and isinstance(index.get("files"), dict) else {}


# --------------------------------------------------------------------------------------------- the process


def command(
    directory: Path, sounds: Path, state: Path, config: Path, domain: str, parent: int, how: str = "start"
) -> list[str]:
    """The command line of a publisher that ends with the process ``parent``; ``how``: ``start reload requests``."""
    return [
        sys.executable,
        "-P",  # nothing of the directory that the server happens to run in
        "-m",
        "callcontrol.publishing",
        *("--routing", str(directory)),
        *("--sounds", str(sounds)),
        *("--state", str(state)),
        *("--config", str(config)),
        *("--domain", domain),
        *("--parent", str(parent)),
        *("--how", how),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish once, or do what is asked for.  Returns the exit code.

    0: it is done, perhaps with problems; 3: nothing was changed, or not all was done, and why is on stdout.
    """
    from callcontrol.serving import configure_logs

    parser = argparse.ArgumentParser(prog="python -m callcontrol.publishing")
    for name in ("routing", "sounds", "state", "config"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--how", choices=("start", "reload", "requests"), default="start")
    given = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL)  # whatever we are at: until its last step nothing counts
    if os.getppid() != given.parent:
        return CANNOT_START
    os.nice(NICE)
    configure_logs()
    try:
        with (given.state / "publishing.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one that is being killed may not be dead yet
            config, trouble = _config(given.config, given.state)
            with Renderer() as renderer:
                publisher = Publisher(
                    given.routing,
                    VersionStore(given.state),
                    given.sounds,
                    voices=config.voices,
                    music=config.music,
                    keep=max(KEEP, config.longest_call + 3600.0),
                    trouble=trouble,
                    render=partial(render, renderer=renderer, music=config.music),
                    announce=partial(write_directory, config=config, state=given.state, domain=given.domain),
                )
                if given.how == "requests":
                    answer_requests(publisher)
                else:
                    publisher.publish(given.how)
    except (LoadError, SettingsError) as error:
        print(error, flush=True)
        return CANNOT_START
    except OSError as error:  # a full disk does not say of which file
        print(f"{error.filename or given.state}: {error.strerror or error}", flush=True)
        return CANNOT_START
    return 0


def _config(path: Path, state: Path) -> tuple[Config, str]:
    """What cordboard.yaml says, or what it said when it was last right, and what is wrong with it."""
    try:
        return read_config(path), ""
    except SettingsError as error:
        _log().error("cordboard.yaml cannot be used; what it said before holds", why=str(error))
        return kept_config(path, state), str(error)


def _log() -> Any:
    return structlog.get_logger("publishing")


if __name__ == "__main__":
    sys.exit(main())
