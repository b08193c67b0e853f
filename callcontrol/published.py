"""What is live: publishing a directory of routing, and finding the company of a call.

Publishing happens in the supervisor, never in a process that has calls: each checked file is stored compiled
under its content hash and becomes the company's current version.  A file with errors changes nothing: its
company stays on the version it had.  :class:`Published` is the controllers' read-only side.

The surprise: a call names its version, so versions that are no longer current stay in use until the calls
that began with them are over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from callcontrol.routing.load import LoadError, check_loaded, compiled, load_compiled, load_directory
from callcontrol.routing.model import Problem, Routing
from callcontrol.state import State
from callcontrol.versions import VersionStore

#: Versions kept in memory besides the current ones.
MOST_OLD_VERSIONS = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What publishing did: companies that are live now, and what is wrong with files."""

    live: tuple[str, ...]
    problems: tuple[Problem, ...]


def publish(directory: Path, store: VersionStore, sounds: Path | None = None) -> Outcome:
    """Store every file without errors and make it current.  Raises LoadError without a directory."""
    loaded = load_directory(directory, sounds)
    problems = check_loaded(loaded)
    broken = {problem.place.path for problem in problems if problem.severity == "error"}
    for entry in loaded:
        if entry.routing is None or entry.path in broken:
            continue
        store.put(entry.routing.company, entry.routing.version, compiled(entry))
        store.publish(entry.routing.company, entry.routing.version)
    for company in store.companies():
        if not any(entry.company == company for entry in loaded):
            store.withdraw(company)
    return Outcome(tuple(store.live()), tuple(problems))


class Published:
    """The routing that calls are walked through.  Not shared between processes: each reads the store.

    ``load`` may run in another thread: what calls look at is replaced whole.
    """

    def __init__(self, store: VersionStore) -> None:
        self._store = store
        self._current: dict[str, Routing] = {}
        self._old: dict[tuple[str, str], Routing] = {}
        self._owners: dict[str, Routing] = {}
        self._log: Any = structlog.get_logger("routing")

    def load(self) -> None:
        """Read every company's current version; what cannot be read leaves the company as it was."""
        current: dict[str, Routing] = {}
        for company in self._store.live():
            version = self._store.current(company)
            known = self._current.get(company)
            if version is None or (known is not None and known.version == version):
                routing = known
            else:
                routing = self._read(company, version) or known
            if routing is not None:
                current[company] = routing
        for company, routing in self._current.items():
            if current.get(company) is not routing:
                self._keep(routing)
        self._current = current
        self._owners = {number: routing for routing in current.values() for number in routing.numbers}

    @property
    def companies(self) -> tuple[str, ...]:
        """The companies that can take calls."""
        return tuple(self._current)

    @property
    def routings(self) -> tuple[Routing, ...]:
        """Their current versions."""
        return tuple(self._current.values())

    def _read(self, company: str, version: str) -> Routing | None:
        stored = self._store.get(company, version)
        if stored is None:
            return None
        try:
            return load_compiled(stored)
        except LoadError as error:
            self._log.error("a stored version cannot be read", company=company, version=version, error=str(error))
            return None

    def _keep(self, routing: Routing) -> None:
        while len(self._old) >= MOST_OLD_VERSIONS:
            del self._old[next(iter(self._old))]
        self._old[(routing.company, routing.version)] = routing

    def version(self, company: str, version: str) -> Routing | None:
        """A company's version: the current one, one in memory, or one of the store."""
        current = self._current.get(company)
        if current is not None and current.version == version:
            return current
        known = self._old.get((company, version))
        if known is None and company and version:
            known = self._read(company, version)
            if known is not None:
                self._keep(known)
        return known

    def find(self, called: str | None, taken: State | None, company: str | None = None) -> tuple[Routing, str]:
        """The routing for a call and the number that was called as its owner writes it.

        A call that was taken over stays on its version; if that is gone, on the current one.  ``company``: the call
        comes from a phone of this company, whatever it dialled.
        """
        if taken is not None and taken.company:
            routing = self.version(taken.company, taken.version) or self._current.get(taken.company)
            if routing is not None:
                return routing, taken.called
        if company is not None:
            return self._current.get(company, NOBODY), called or ""
        for number in _spellings(called):
            routing = self._owners.get(number)
            if routing is not None:
                return routing, number
        return NOBODY, called or ""


def _spellings(called: str | None) -> tuple[str, ...]:
    """A number as a trunk may write it: with its plus, without it, or with 00 for it."""
    if not called:
        return ()
    if called.startswith("+"):
        return (called,)
    if called.startswith("00"):
        return ("+" + called[2:],)
    return ("+" + called,)


#: The routing of a number that nobody owns: no flow; its calls are refused by ``call.py``.
NOBODY = Routing(
    company="",
    version="",
    title="",
    country="",
    timezone="UTC",
    languages=("en",),
    numbers={},
    people={},
    groups={},
    lists={},
    hours={},
    switches={},
    queues={},
    outbound={},
    flows={},
    rehearsals=(),
)
