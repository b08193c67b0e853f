"""What is live, for a process that has calls: finding the company of a call and the version that it walks.

Follows what the publisher wrote (``outcomes.py``), and parses nothing as long as that is whole: it reads what
``routing/packing.py`` made, in pieces, and lets the process see to its calls between them.  It knows no event loop:
the process brings ``pause`` and ``apart``.

The surprise: a call names its version, so versions that are no longer current stay in use until the calls that began
with them are over.  A call holds its own routing; here it is only remembered weakly, to be shared and to be told of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from callcontrol import outcomes
from callcontrol.outcomes import Taken
from callcontrol.routing.load import LoadError, load_compiled
from callcontrol.routing.model import Routing
from callcontrol.routing.packing import PackError, pack, program, unpack
from callcontrol.state import State
from callcontrol.versions import VersionStore

T = TypeVar("T")
#: How long reading goes on without a pause, seconds.
STRETCH = 0.001
#: Versions that are not current and were asked for lately, kept in memory although no call may have them.
MOST_ASKED = 20
#: For how long they are kept, seconds.
ASKED = 300.0


class Published:
    """The routing that calls are walked through.  Not shared between processes: each reads the store.

    ``pause`` is called at least every few milliseconds while something is read, and may let other things run: what
    calls look at is replaced whole, at the end.  ``apart`` does something slow where it holds nobody up.
    """

    def __init__(
        self,
        store: VersionStore,
        *,
        pause: Callable[[], object] = lambda: None,
        apart: Callable[[Callable[[], Any]], Any] = lambda work: work(),
    ) -> None:
        self._store = store
        self._pause = pause
        self._apart = apart
        self._since = 0.0
        self._current: dict[str, Routing] = {}
        self._owners: dict[str, Routing] = {}
        #: Versions that were current, for as long as something holds them: calls, or ``_asked``.
        self._old: WeakValueDictionary[tuple[str, str], Routing] = WeakValueDictionary()
        self._asked: dict[tuple[str, str], tuple[Routing, float]] = {}
        self._log: Any = structlog.get_logger("routing")

    def load(self) -> Taken:
        """Read every version that became current; what cannot be read leaves its company as it was.

        One at a time: it may pause.
        """
        serial, live = self._published()
        current, unread = self._read_all(live)
        owners = self._owners_of(current)
        gone = [routing for company, routing in self._current.items() if current.get(company) is not routing]
        self._current, self._owners = current, owners
        while gone:  # a thousand at once would hold up whoever let go of the last reference
            self._retire(gone.pop())
            self._breathe()
        return Taken(serial, unread)

    def _read_all(self, live: Mapping[str, str]) -> tuple[dict[str, Routing], tuple[str, ...]]:
        """Every company's routing, read only where it is another than now; and those that could not be read."""
        current: dict[str, Routing] = {}
        unread: list[str] = []
        for company, version in live.items():
            known = self._current.get(company)
            if known is None or known.version != version:
                routing = self._read(company, version)
                if routing is None:
                    unread.append(company)
                known = routing or known
            if known is not None:
                current[company] = known
        return current, tuple(unread)

    def _retire(self, routing: Routing) -> None:
        self._old[(routing.company, routing.version)] = routing

    def _published(self) -> tuple[int, Mapping[str, str]]:
        """The serial of what is published, and company → version."""
        outcome = outcomes.read_outcome(self._store.state)
        if outcome is not None:
            return outcome.serial, outcome.live
        return 0, {company: version for company in self._store.live() if (version := self._store.current(company))}

    def _owners_of(self, current: Mapping[str, Routing]) -> dict[str, Routing]:
        """Number → its company.  One that two claim (a file with errors kept its old version) is the first one's."""
        owners: dict[str, Routing] = {}
        for company in sorted(current):
            routing = current[company]
            for number in routing.numbers:
                if owners.setdefault(number, routing) is not routing:
                    self._log.error(
                        "a number is claimed by two versions that are live",
                        company=company,
                        number=number,
                        goes_to=owners[number].company,
                    )
            self._breathe()
        return owners

    @property
    def companies(self) -> tuple[str, ...]:
        """The companies that can take calls."""
        return tuple(self._current)

    @property
    def routings(self) -> tuple[Routing, ...]:
        """Their current versions."""
        return tuple(self._current.values())

    def versions(self) -> dict[str, str]:
        """Company → version, of all that can take calls."""
        return {company: routing.version for company, routing in self._current.items()}

    def current(self, company: str) -> Routing | None:
        """A company's current version, if it can take calls."""
        return self._current.get(company)

    def say_used(self) -> None:
        """Tell the store of each old version that a call of this process has."""
        now = time.monotonic()
        for key in [key for key, (_, at) in self._asked.items() if now - at > ASKED]:
            del self._asked[key]
        for company, version in list(self._old):
            self._store.used(company, version)

    # --------------------------------------------------------------------------------------------- reading

    def _read(self, company: str, version: str) -> Routing | None:
        packed = self._store.derived(company, version, program())
        if packed is not None:
            try:
                return self._paced(unpack(packed, company, version))
            except PackError as error:
                self._log.warning("a packed version is parsed anew", company=company, version=version, why=str(error))
        return self._parsed(company, version)

    def _parsed(self, company: str, version: str) -> Routing | None:
        """A version from its source, and packed for the next who reads it."""
        stored = self._store.get(company, version)
        if stored is None:
            return None
        try:
            routing: Routing = self._apart(lambda: load_compiled(stored))
        except LoadError as error:
            self._log.error("a stored version cannot be read", company=company, version=version, error=str(error))
            return None
        try:
            self._apart(lambda: self._store.derive(company, version, program(), pack(routing)))
        except (PackError, OSError) as error:
            self._log.warning("a version cannot be packed", company=company, version=version, error=str(error))
        return routing

    def _paced(self, work: Generator[None, None, T]) -> T:
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self._breathe()

    def _breathe(self) -> None:
        if time.perf_counter() - self._since > STRETCH:
            self._pause()
            self._since = time.perf_counter()

    # ------------------------------------------------------------------------------------------- finding

    def version(self, company: str, version: str) -> Routing | None:
        """A company's version: the current one, one in memory, or one of the store.  May pause."""
        current = self._current.get(company)
        if current is not None and current.version == version:
            return current
        if not company or not version:
            return None
        key = (company, version)
        known = self._old.get(key) or self._read(company, version)
        if known is not None:
            known = self._old.setdefault(key, known)  # another call may have read it meanwhile
            self._asked.pop(key, None)
            self._asked[key] = (known, time.monotonic())
            while len(self._asked) > MOST_ASKED:
                del self._asked[next(iter(self._asked))]
        return known

    def find(self, called: str | None, taken: State | None, company: str | None = None) -> tuple[Routing, str]:
        """The routing for a call and the number that was called as its owner writes it.  May pause.

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
