"""Facts become rows, once each, and all that follows from a fact is written in its own transaction.

:func:`take` is the one road into the journal: for facts from the stream, from files, and for those that workers tell
themselves (``telling``).  It gives each new fact, in order, to the rows of its call (``folding``), the ledger of
recordings, the public events and what is owed of them, and the mails.  It commits nothing: who calls it writes the
position of the stream in the same transaction, so there is no moment at which one is there without the other.

Where the surprise lies:

* A repeat is told by the database's own unique key, not by looking first.
* A call has one end here, whoever told it: a second one, and what is told on behalf of a call after its end, is left
  out.
* A fact that cannot be worked in (damaged, forged, or a fault of ours) must not keep the others out for ever: then the
  facts are taken one by one, and that one is kept without consequences, logged and counted.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from callcontrol.spool import read_name
from webhooks.events.deriving import CallSoFar, PublicEvent, explain
from workers.delivery import owing as delivery
from workers.journal import folding
from workers.journal.folding import FOLDED, Journey
from workers.journal.reading import UNREADABLE, fact_of
from workers.journal.tables import Base, Call, Event, Fact, Leg, QueueVisit, Recording, Step
from workers.mail import owing as mail
from workers.mail.owing import RoutingOf
from workers.recordings import ledger

Item = Mapping[str, Any] | bytes
_T = TypeVar("_T")

#: After these there is something to do in the spool of the fact's switch.
_FOR_RECORDINGS = frozenset(
    {"recording.stopped", "recording.failed", "message.recorded", "message.empty", "call.ended"}
)
#: Names that one query may ask for; SQLite takes some thousands.
_MOST_NAMES = 500


@dataclass(slots=True)
class Taken:
    """What came of some facts."""

    new: int = 0
    known: int = 0  #: there already
    left_out: int = 0  #: told of a call that had its end
    unreadable: int = 0  #: new ones that could not be read
    failed: int = 0  #: kept, but something that should have followed from them did not
    events: int = 0
    deliveries: int = 0
    mails: int = 0
    #: The switches in whose spools there may be something to do.
    switches: set[str] = field(default_factory=set)

    def add(self, other: Taken) -> None:
        """Count these as well."""
        for name in ("new", "known", "left_out", "unreadable", "failed", "events", "deliveries", "mails"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.switches |= other.switches


def take(session: Session, facts: Sequence[Item], routing_of: RoutingOf, now: float) -> Taken:
    """Write the facts that are not there yet, and all that follows from them; some hundreds at once are quickest.

    ``facts``: as ``facts.py`` describes them, or their lines.  ``now``: UTC epoch, when events and mails are owed.
    For a writing transaction (``Database.writing``).  Raises OperationalError if the database cannot go on; nothing
    because of a fact.
    """
    read = [fact_of(item, now) for item in facts]
    taken = Taken()
    if not read:
        return taken
    session.flush()
    try:
        with session.begin_nested():
            return _Batch(session, routing_of, now).take(read)
    except OperationalError:
        raise
    except Exception as error:
        if len(read) > 1:
            _log().warning("facts are taken one by one: something is wrong with one of them", error=_said(error))
            for fact in read:
                taken.add(take(session, [fact], routing_of, now))
            return taken
        trace = "".join(traceback.format_exception(error))[-4000:]  # as text: a pretty one may take seconds
        _log().error("a fact is kept without its consequences", **_name(read[0]), error=_said(error), trace=trace)
    taken.new = taken.failed = len(_insert(session, read))
    taken.known = 1 - taken.new
    return taken


def event_id(fact: Mapping[str, Any], type_: str) -> str:
    """The id of the event of this type that comes of a fact: the same however often the fact is told."""
    identity = f"{fact['call']}\n{fact['epoch']}\n{fact['n']}\n{fact['p']}\n{type_}"
    return "evt_" + hashlib.sha256(identity.encode()).hexdigest()[:24]


class _Batch:
    """Some facts, taken together: each table is asked once."""

    def __init__(self, session: Session, routing_of: RoutingOf, now: float) -> None:
        self._session = session
        self._routing_of = routing_of
        self._now = now
        self._taken = Taken()
        self._journeys: dict[str, Journey] = {}
        self._names: dict[str, Mapping[str, str]] = {}
        self._anew: set[str] = set()  # calls whose rows were made of all their facts, these included

    def take(self, facts: Sequence[Mapping[str, Any]]) -> Taken:
        with self._session.no_autoflush:
            self._load({fact["call"] for fact in facts if fact["call"]})
            begun = self._begin_calls(facts)
            wanted = self._without_late_ends(facts)
            new = _insert(self._session, wanted)
            self._taken.new = len(new)
            self._taken.known = len(wanted) - len(new)
            self._forget_calls(begun - {fact["call"] for fact in new})
            owed = [(fact, self._follow(fact)) for fact in new]
        self._session.add_all(row for journey in self._journeys.values() for row in journey.new)
        self._session.add_all(event for _, events in owed for event in events)
        self._session.flush()
        self._taken.deliveries += delivery.owe(
            self._session, [event for _, events in owed for event in events], self._now
        )
        for fact, _ in owed:
            self._owe(fact)
        return self._taken

    # ------------------------------------------------------------------------------------------------ before

    def _load(self, calls: set[str], begun: Collection[str] = ()) -> None:
        """The rows of these calls that are there.  Where rows can be locked they are, in an order that all keep.

        Those that we have ``begun`` have nothing else yet.
        """
        there: set[str] = set()
        for some in _pieces(sorted(calls)):
            found = select(Call).where(Call.id.in_(some)).order_by(Call.id).with_for_update()
            for call in self._session.scalars(found):
                self._journeys[call.id] = Journey(call)
                there.add(call.id)
        for some in _pieces(sorted(there.difference(begun))):
            for leg in self._session.scalars(select(Leg).where(Leg.call.in_(some))):
                self._journeys[leg.call].legs[leg.id] = leg
            for visit in self._session.scalars(
                select(QueueVisit).where(QueueVisit.call.in_(some)).order_by(QueueVisit.id)
            ):
                self._journeys[visit.call].visits.append(visit)
            for step in self._session.scalars(
                select(Step).where(Step.call.in_(some)).order_by(Step.call, Step.epoch, Step.n)
            ):
                self._journeys[step.call].steps.append(step)

    def _without_late_ends(self, facts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The facts without second ends, and without what was told on behalf of a call that has its end."""
        ended = {call for call, journey in self._journeys.items() if journey.call.state == "ended"}
        kept: list[Mapping[str, Any]] = []
        for fact in facts:
            if not fact["call"] or not (fact["n"] < 0 or fact["type"] == "call.ended"):
                kept.append(fact)
            elif fact["call"] in ended:
                self._taken.left_out += 1
            else:
                kept.append(fact)
                if fact["type"] == "call.ended":
                    ended.add(fact["call"])
        return kept

    def _begin_calls(self, facts: Sequence[Mapping[str, Any]]) -> set[str]:
        """Make the rows of calls that are not there, in an order that all keep; which.

        Where two write at once, the other may have begun one meanwhile: then that one's rows are taken up.
        """
        first: dict[str, Mapping[str, Any]] = {}
        for fact in facts:
            if fact["call"] and fact["call"] not in self._journeys and _folds(fact):
                first.setdefault(fact["call"], fact)
        if not first:
            return set()
        values = [_values(folding.begin(first[call])) for call in sorted(first)]
        maker: Any = postgresql.insert if _on_postgresql(self._session) else sqlite.insert
        statement = maker(Call).on_conflict_do_nothing().returning(Call.id)
        begun = set(self._session.scalars(statement, values))
        self._load({*first}, begun)
        return begun

    def _forget_calls(self, calls: set[str]) -> None:
        """Take back what was begun of calls of which nothing was new after all."""
        for call in calls:
            self._session.delete(self._journeys.pop(call).call)

    # --------------------------------------------------------------------------------------------- each fact

    def _follow(self, fact: Mapping[str, Any]) -> list[Event]:
        """Bring the call's rows up to the fact; the events that come of it."""
        journey = self._journeys.get(fact["call"])
        if fact["type"] == UNREADABLE:
            self._taken.unreadable += 1
            _log().error("a fact cannot be read", why=fact["data"].get("why"), raw=str(fact["data"].get("raw"))[:200])
            return []
        if journey is not None and _folds(fact) and fact["call"] not in self._anew:
            if folding.in_order(journey.call, fact):
                folding.fold(journey, fact)
            else:
                self._fold_anew(journey)
        if fact["switch"] and fact["type"] in _FOR_RECORDINGS:
            self._taken.switches.add(fact["switch"])
        if not fact["company"]:
            return []
        call = journey.call if journey is not None else None
        company = fact["company"]
        found = explain(fact, self._so_far(journey, fact), lambda extension: self._people(company).get(extension))
        for type_, why in (found.dropped or {}).items():
            _log().warning("an event could not be told", **_name(fact), event_type=type_, why=why)
        return [self._event(fact, call, public) for public in found.events]

    def _people(self, company: str) -> Mapping[str, str]:
        """The names of a company's people, as they are now."""
        if company not in self._names:
            routing = self._routing_of(company)
            people = routing.people.values() if routing is not None else ()
            self._names[company] = {person.extension: person.name for person in people}
        return self._names[company]

    def _so_far(self, journey: Journey | None, fact: Mapping[str, Any]) -> CallSoFar | None:
        """What events say of the call beyond their fact; what is asked of the database, of few facts only."""
        if journey is None or journey.call.company is None:
            return None
        told, type_, company = _so_far(journey), fact["type"], fact["company"]
        if type_ == "call.ended":
            return replace(told, recordings=tuple(self._recordings(told.id)))
        if type_ == "recording.available" and isinstance(fact["data"].get("recording"), str):
            recording = self._session.get(Recording, fact["data"]["recording"])
            if recording is not None and recording.company == company:
                return replace(told, message_for=tuple(recording.people))
        return told

    def _recordings(self, call: str) -> Iterator[str]:
        kinds = ("message.recorded", "recording.started")
        there = select(Fact.data).where(Fact.call == call, Fact.type.in_(kinds)).order_by(Fact.epoch, Fact.n)
        for data in self._session.scalars(there):
            files = data.get("files")
            for name in [data.get("file"), *(files if isinstance(files, list) else ())]:
                file = read_name(name) if isinstance(name, str) else None
                if file is not None and file.call == call:
                    yield file.recording

    def _fold_anew(self, journey: Journey) -> None:
        """A fact came after later ones of its call: its rows are made of all of them, in the call's order."""
        session, call = self._session, journey.call
        self._anew.add(call.id)
        for row in journey.rows:
            if row in session:
                session.expunge(row)
        for table in (Leg, QueueVisit, Step):
            session.execute(delete(table).where(table.call == call.id).execution_options(synchronize_session=False))
        there = session.scalars(select(Fact).where(Fact.call == call.id))
        facts = sorted((fact_of_row(row) for row in there), key=folding.order)
        facts = [fact for fact in facts if _folds(fact)]
        folding.forget(call, facts[0])
        again = Journey(call)
        for fact in facts:
            folding.fold(again, fact)
        self._journeys[call.id] = again

    def _event(self, fact: Mapping[str, Any], call: Call | None, public: PublicEvent) -> Event:
        if call is not None:
            call.sequence += 1
        self._taken.events += 1
        return Event(
            id=event_id(fact, public.type),
            company=fact["company"],
            call=fact["call"] or None,
            type=public.type,
            version=public.version,
            sequence=call.sequence if call is not None else None,
            occurred_at=fact["at"],
            created_at=self._now,
            data=dict(public.data),
        )

    def _owe(self, fact: Mapping[str, Any]) -> None:
        session = self._session
        ledger.note(session, fact)
        if fact["company"] and fact["type"] != UNREADABLE:
            journey = self._journeys.get(fact["call"])
            call = journey.call if journey is not None else None
            self._taken.mails += mail.owe(session, fact, call, self._routing_of, self._now)


# ---------------------------------------------------------------------------------------------------------------


def _folds(fact: Mapping[str, Any]) -> bool:
    return fact["type"] in FOLDED and fact["v"] == 1


def _so_far(journey: Journey) -> CallSoFar:
    call = journey.call
    rung = sorted((leg for leg in journey.legs.values() if leg.rung_at is not None), key=lambda leg: leg.rung_at or 0.0)
    return CallSoFar(
        id=call.id,
        company=call.company or "",
        direction=call.direction,
        caller=call.caller,
        called=call.called,
        extension=call.extension,
        began=call.began,
        answered_at=call.answered_at,
        connected_at=call.connected_at,
        ended_at=call.ended_at,
        talk_seconds=call.talk_seconds,
        talked_with=call.talked_with,
        cause=call.cause,
        missed=call.missed,
        message=call.message,
        talked_to=next((leg.person for leg in reversed(rung) if leg.address == call.talked_with), None),
        queue=journey.visits[-1].queue if journey.visits else None,
        rung=tuple(leg.person for leg in rung if leg.person),
    )


def _insert(session: Session, facts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Write those that are not there yet; they, in order."""
    if not facts:
        return []
    maker: Any = postgresql.insert if _on_postgresql(session) else sqlite.insert
    statement = maker(Fact).on_conflict_do_nothing(index_elements=["call", "epoch", "n", "process"])
    statement = statement.returning(Fact.call, Fact.epoch, Fact.n, Fact.process)
    by_identity: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for fact in facts:
        by_identity.setdefault(_identity(fact), fact)
    written = {tuple(row) for row in session.execute(statement, [_as_row(fact) for fact in by_identity.values()])}
    return [fact for identity, fact in by_identity.items() if identity in written]


def missing(session: Session, facts: Iterable[Item], now: float) -> list[Mapping[str, Any]]:
    """Those of the facts that are not in the journal, in order.  Writes nothing, and keeps nobody waiting."""
    read = {_identity(fact): fact for fact in (fact_of(item, now) for item in facts)}
    there: set[tuple[Any, ...]] = set()
    key = Fact.call, Fact.epoch, Fact.n, Fact.process
    for some in _pieces([*read]):
        there.update(map(tuple, session.execute(select(*key).where(tuple_(*key).in_(some)))))
    return [fact for identity, fact in read.items() if identity not in there]


def _identity(fact: Mapping[str, Any]) -> tuple[Any, ...]:
    return fact["call"], fact["epoch"], fact["n"], fact["p"]


def _values(row: Base) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def _on_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _as_row(fact: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: fact[name] for name in ("call", "epoch", "n", "type", "company", "switch", "at")}
    # Nothing but the fact itself needs its version; another than ours is kept where it does no harm.
    return {**row, "process": fact["p"], "data": fact["data"] if fact["v"] == 1 else {"v": fact["v"], **fact["data"]}}


def fact_of_row(row: Fact) -> dict[str, Any]:
    """A fact as it was told, of the row that keeps it."""
    return {
        **{name: getattr(row, name) for name in ("call", "epoch", "n", "type", "company", "switch", "at", "data")},
        "p": row.process,
        "v": row.data.get("v", 1),
    }


def _pieces(names: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (names[i : i + _MOST_NAMES] for i in range(0, len(names), _MOST_NAMES))


def _name(fact: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": fact["type"], "call": fact["call"], "epoch": fact["epoch"], "n": fact["n"], "process": fact["p"]}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _log() -> Any:
    return structlog.get_logger("journal")
