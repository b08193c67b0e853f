"""Everything that needs somebody: each with what is wrong and what to do about it.

Reads only.  What waits for its next try by itself is not among them, and is told as so many of a kind.  What has given
up is, and so is what nobody will ever look at again: words that were no fact, files that are no recording, calls whose
end nobody saw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis as redis_py
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from workers.journal.ends import LOST
from workers.journal.reading import UNREADABLE
from workers.journal.tables import Alarm, Call, Delivery, Endpoint, Fact, Mail, Recording, Segment
from workers.recordings import spool

#: The kinds, as ``cordboard failed --kind`` names them.
KINDS = ("alarm", "call", "delivery", "endpoint", "fact", "job", "mail", "recording", "spool")


#: A recording that grew so lately is being made, or its facts are on their way, seconds.
_QUIET = 600.0
#: What is older and not done waits for something, seconds.
_SOON = 120.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One of them.  ``again``: ``cordboard retry`` tries it; ``at``: UTC epoch, None: nobody knows."""

    kind: str
    id: str
    company: str | None
    at: float | None
    what: str
    do: str
    again: bool = False

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Failures:
    """The newest of each kind, and how many of each there are in all."""

    found: list[Failure]
    counts: Mapping[str, int]


def failures(
    session: Session,
    redis: Any,
    spool_directory: Path | None,
    *,
    since: float,
    most: int,
    company: str | None = None,
    kinds: tuple[str, ...] = KINDS,
) -> Failures:
    """Find them: of what is over (lost calls, absent recordings, unreadable facts), since ``since``.

    ``redis`` None: nothing is asked there.  Raises SQLAlchemyError, RedisError, OSError.
    """
    found: list[Failure] = []
    counts: dict[str, int] = {}
    by_row: dict[str, Callable[[], tuple[int, Iterator[Failure]]]] = {
        "alarm": lambda: _rows(session, _alarms(company), most, _alarm),
        "call": lambda: _rows(session, _lost(company, since), most, _call),
        "delivery": lambda: _rows(session, _dead(company), most, _delivery),
        "endpoint": lambda: _rows(session, _stopped(company), most, _endpoint),
        "fact": lambda: _rows(session, _unreadable(company, since), most, _fact),
        "mail": lambda: _rows(session, _unsent(company), most, _mail),
        "recording": lambda: _rows(session, _unstored(company, since), most, _recording),
    }
    for kind in KINDS:
        if kind not in kinds:
            continue
        if kind in by_row:
            counts[kind], some = by_row[kind]()
            found += some
        elif company is None:
            more = list(_jobs(redis) if kind == "job" else _strangers(session, spool_directory))
            counts[kind] = len(more)
            found += more[:most]
    return Failures(found, {kind: count for kind, count in counts.items() if count})


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is tried again by itself, of one kind.  ``since``: of the oldest, UTC epoch; ``why``: of one of them."""

    kind: str
    count: int
    since: float
    why: str | None


def waiting(session: Session, *, company: str | None = None, kinds: tuple[str, ...] = KINDS) -> list[Waiting]:
    """What waits longer than it would if all were well.  Raises SQLAlchemyError."""
    before = time.time() - _SOON
    found = []
    for kind, table, state, since, why in (
        ("delivery", Delivery, "pending", Delivery.created_at, Delivery.why),
        ("mail", Mail, "pending", Mail.created_at, Mail.why),
        ("recording", Recording, "finished", Recording.began, None),
    ):
        if kind not in kinds:
            continue
        query: Any = select(func.count(), func.min(since), func.max(why)).select_from(table)
        query = _of(query.where(table.state == state, since < before), table, company)
        if table is Delivery:  # what is owed to a paused one waits for somebody, who is told of the endpoint
            query = query.where(Delivery.endpoint.in_(select(Endpoint.id).where(Endpoint.state == "active")))
        count, oldest, said = session.execute(query).one()
        if count:
            found.append(Waiting(kind, count, oldest, said))
    return found


def _rows(
    session: Session, query: Select[Any], most: int, shown: Callable[[Any], Failure]
) -> tuple[int, Iterator[Failure]]:
    count = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    return count, map(shown, session.scalars(query.limit(most)))


def _of(query: Select[Any], table: Any, company: str | None) -> Select[Any]:
    return query if company is None else query.where(table.company == company)


# ------------------------------------------------------------------------------------------- what stands in rows


def _alarms(company: str | None) -> Select[Any]:
    return _of(select(Alarm).where(Alarm.cleared_at.is_(None)).order_by(Alarm.raised_at.desc()), Alarm, company)


def _alarm(row: Alarm) -> Failure:
    do = {
        "recording": "see the recording below; it is tried on",
        "storage": "see to the store; what waits is tried on, and `cordboard retry recording` hurries it",
        "spool": "look at that file or disk; nothing there is removed",
        "mail": "mend the address or the server, then `cordboard retry mail`",
        "endpoint": "have its owner mend it, then `cordboard endpoints resume COMPANY ENDPOINT`",
    }
    return Failure("alarm", row.key, row.company, row.raised_at, row.text, do.get(row.kind, "it clears by itself"))


def _lost(company: str | None, since: float) -> Select[Any]:
    query = select(Call).where(Call.cause == LOST, Call.ended_at >= since)
    return _of(query.order_by(Call.ended_at.desc()), Call, company)


def _call(row: Call) -> Failure:
    do = f"`cordboard why {row.id}`, and look at what happened to the switch {row.switch or ''}".strip()
    return Failure("call", row.id, row.company, row.ended_at, "nobody saw its end", do)


def _dead(company: str | None) -> Select[Any]:
    return _of(select(Delivery).where(Delivery.state == "failed"), Delivery, company).order_by(
        Delivery.created_at.desc(), Delivery.id
    )


def _delivery(row: Delivery) -> Failure:
    what = f"given up after {row.attempts} attempts: {row.why or 'no answer'}; endpoint {row.endpoint}"
    do = "have the endpoint mended, then `cordboard retry delivery`"
    return Failure("delivery", row.id, row.company, row.created_at, what, do, again=True)


def _stopped(company: str | None) -> Select[Any]:
    query = select(Endpoint).where(Endpoint.state.in_(("paused", "disabled")))
    return _of(query.order_by(Endpoint.created_at.desc()), Endpoint, company)


def _endpoint(row: Endpoint) -> Failure:
    do = f"when it is well, `cordboard endpoints resume {row.company} {row.id}`"
    if row.state == "disabled":
        do += ", and `cordboard replay` for what it missed"
    return Failure("endpoint", row.id, row.company, row.failing_since, f"{row.state}: {row.why or row.url}", do)


def _unreadable(company: str | None, since: float) -> Select[Any]:
    query = select(Fact).where(Fact.type == UNREADABLE, Fact.at >= since)
    return _of(query.order_by(Fact.at.desc(), Fact.id.desc()), Fact, company)


def _fact(row: Fact) -> Failure:
    what = f"could not be read: {row.data.get('why')}: {str(row.data.get('raw'))[:100]}"
    return Failure("fact", str(row.id), row.company, row.at, what, "tell us; the text is kept in the journal")


def _unsent(company: str | None) -> Select[Any]:
    return _of(select(Mail).where(Mail.state == "failed").order_by(Mail.created_at.desc(), Mail.id), Mail, company)


def _mail(row: Mail) -> Failure:
    what = f"{row.kind} to {row.recipient}: {row.why or 'given up'}"
    do = "see to what it says (the address, or the server in cordboard.yaml), then `cordboard retry mail`"
    return Failure("mail", row.id, row.company, row.created_at, what, do, again=True)


def _unstored(company: str | None, since: float) -> Select[Any]:
    query = select(Recording).where(
        or_(Recording.state == "failed", (Recording.state == "absent") & (Recording.began >= since))
    )
    return _of(query.order_by(Recording.began.desc(), Recording.id), Recording, company)


def _recording(row: Recording) -> Failure:
    if row.state == "absent":
        do = f"`cordboard why {row.call}`; there is nothing to store"
        return Failure("recording", row.id, row.company, row.began, f"there is no sound: {row.why or ''}", do)
    do = "see to the store, then `cordboard retry recording`"
    return Failure("recording", row.id, row.company, row.began, row.why or "it could not be stored", do, again=True)


# -------------------------------------------------------------------------------------- what stands elsewhere


def _jobs(redis: Any) -> Iterator[Failure]:
    if redis is None:
        return
    do = "nothing: what it was to do is rung for again; the log of `cordboard work` has its words"
    for queue in Queue.all(connection=redis, serializer=JSONSerializer):
        count = FailedJobRegistry(queue=queue).count
        if count:
            yield Failure("job", queue.name, None, None, f"{count} jobs failed in the last minutes", do, again=True)


def _strangers(session: Session, directory: Path | None) -> Iterator[Failure]:
    """What lies in the spool and is no recording, or is one of which the journal has never heard."""
    if directory is None or not directory.is_dir():
        return
    seen = spool.look(directory)
    for name, why in sorted(seen.strangers.items()):
        yield Failure("spool", name, None, None, why, f"look at it in {directory}, and take it away")
    now = time.time()
    names = [one.file.name for one in seen.files]
    known: set[str] = set()
    for start in range(0, len(names), 500):
        known.update(session.scalars(select(Segment.file).where(Segment.file.in_(names[start : start + 500]))))
    for one in seen.files:
        if one.file.name not in known and one.changed_at < now - _QUIET:
            do = "`cordboard backfill` finds its facts; without them it is stored an hour after its end all the same"
            what = "a recording of which the journal has not heard"
            yield Failure("spool", one.file.name, one.file.company, one.changed_at, what, do)


def reachable(redis: Any) -> bool:
    """Whether Redis answers."""
    try:
        return bool(redis.ping())
    except (redis_py.RedisError, OSError):
        return False
