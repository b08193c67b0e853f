"""The ledger of recordings: what each fact says about the files that are, or should be, in the spool.

A segment is one file, a recording all that belongs together (``callcontrol.spool``).  Facts come in any order, again,
or never: then the file's own name makes its rows.  So a state only ever moves on, and rows are made by whoever needs
them first.

=============  ======================================================================================
``expected``   a controller was about to ask the switch for it
``started``    the switch records
``finished``   the file is whole, or the switch said so
``uploaded``   it was sent, and what is stored has not been found to be the same yet
``verified``   what is stored is the same, byte for byte; the local file may go
``stored``     and has gone
``absent``     there is no file, or no sound in it; ``why`` says so.  A file that turns up all the same moves on
``failed``     the switch refused (without a sha256), or storing has failed for long (it goes on being tried)
``deleted``    by retention, by somebody, or because nobody spoke (``message.empty``): nothing moves it any more
=============  ======================================================================================

Imports tables only; what is told of all this is the worker's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from callcontrol.spool import SpoolFile, read_name
from workers.journal.tables import Base, Fact, Recording, Segment

#: The way of a segment, in order.
ORDER = ("expected", "started", "finished", "uploaded", "verified", "stored")
#: Of these something is still to come.
OPEN = ("expected", "started", "finished", "uploaded")
#: What is in the store, as it was in the spool.
KEPT = ("verified", "stored")

_LONGEST = 500


def note(session: Session, fact: Mapping[str, Any]) -> None:
    """Bring the rows of recordings and segments up to a fact: ``recording.*``, ``message.*``; no other changes them."""
    data, type_ = fact.get("data"), str(fact.get("type"))
    if not isinstance(data, Mapping):
        return
    if type_ == "message.recorded":
        seconds = _number(data.get("seconds"))
        files = [name for name in _list(data.get("files")) if name]
        for name in files:
            people = [str(one)[:32] for one in _list(data.get("for"))]
            _stopped(session, fact, name, seconds if len(files) == 1 else None, people)
    elif type_ == "message.empty":
        for name in _list(data.get("files")):
            _dropped(session, fact, name, _number(data.get("seconds")))
    elif type_ == "consent.played":
        call, company = fact.get("call"), fact.get("company")
        for recording in session.scalars(
            select(Recording).where(Recording.call == call, Recording.company == company, Recording.kind == "talk")
        ):
            recording.consent = True
    elif type_ == "recording.stopped":
        _stopped(session, fact, data.get("file"), _number(data.get("seconds")), [])
    elif type_ in ("recording.expected", "recording.started", "recording.failed"):
        found = _rows(session, fact, data.get("file"))
        if found is not None:
            _begun(session, fact, data, *found)


def _begun(
    session: Session, fact: Mapping[str, Any], data: Mapping[str, Any], recording: Recording, segment: Segment
) -> None:
    match fact["type"]:
        case "recording.expected":
            recording.rule = recording.rule or _text(data.get("rule"))
            recording.people = _with(recording.people, [data["with"]] if data.get("with") else [])
            recording.consent = recording.consent or _consented(session, recording)
            segment.expected_at = min(segment.expected_at, float(fact["at"]))
        case "recording.started":
            advance(segment, "started")
        case _:
            if segment.state in ("expected", "started"):
                segment.state, segment.why = "failed", _text(data.get("why")) or "the switch refused"
    stand(session, recording)


def _stopped(session: Session, fact: Mapping[str, Any], name: object, seconds: float | None, people: list[str]) -> None:
    found = _rows(session, fact, name)
    if found is None:
        return
    recording, segment = found
    recording.people = _with(recording.people, people)
    advance(segment, "finished")
    segment.finished_at = segment.finished_at or float(fact["at"])
    if segment.seconds is None:
        segment.seconds = seconds
    stand(session, recording)


def _dropped(session: Session, fact: Mapping[str, Any], name: object, seconds: float | None) -> None:
    """A caller who hung up as the message began left none: its file is removed, and nobody is told of a recording."""
    found = _rows(session, fact, name)
    if found is not None and found[1].state in (*OPEN, "absent"):
        recording, segment = found
        segment.state, recording.state = "deleted", "absent"
        segment.why = recording.why = f"the caller left no message: {seconds or 0:.1f} s"


def rows(session: Session, file: SpoolFile, at: float, switch: str | None) -> tuple[Recording, Segment]:
    """The rows of a file, made if they are not there; both locked until the transaction ends, the recording first.

    ``at``: when it began, as far as anybody knows.
    """
    insert_once(
        session,
        Recording,
        id=file.recording,
        company=file.company,
        call=file.call,
        kind=file.kind,
        people=[],
        state="expected",
        consent=False,
        began=at,
    )
    recording = session.get_one(Recording, file.recording, with_for_update=True)
    insert_once(
        session,
        Segment,
        file=file.name,
        recording=file.recording,
        company=file.company,
        call=file.call,
        number=file.number,
        switch=switch,
        leg=file.leg,
        state="expected",
        expected_at=at,
        attempts=0,
    )
    segment = session.get_one(Segment, file.name, with_for_update=True)
    recording.began = min(recording.began, at)
    segment.switch = segment.switch or switch
    if recording.state == "deleted":
        segment.state = "deleted"
    return recording, segment


def segments(session: Session, recording: Recording) -> list[Segment]:
    """Those of a recording, in order."""
    found = session.scalars(select(Segment).where(Segment.recording == recording.id))
    return sorted(found, key=lambda one: (one.number, one.expected_at, one.file))


def advance(segment: Segment, state: str) -> None:
    """Move a segment on to a state, if that is onward."""
    if segment.state in ORDER:
        onward = ORDER.index(state) > ORDER.index(segment.state)
    else:  # a file that was said to be absent, or that failed for long, has turned up
        onward = segment.state in ("absent", "failed") and ORDER.index(state) >= ORDER.index("finished")
    if onward:
        segment.state = state


def stand(session: Session, recording: Recording) -> None:
    """Say of a recording what its segments say, as long as something of it is to come."""
    states = {segment.state for segment in segments(session, recording)}
    if recording.state == "deleted" or (recording.state in ("available", "absent", "failed") and not states & {*OPEN}):
        return
    if "started" in states:
        recording.state = "recording"
    else:
        recording.state = "expected" if states == {"expected"} else "finished"


def _rows(session: Session, fact: Mapping[str, Any], name: object) -> tuple[Recording, Segment] | None:
    """The rows of the file that a fact names; None: it names none of this company and call."""
    file = read_name(name) if isinstance(name, str) else None
    if file is None or (file.company, file.call) != (fact.get("company"), fact.get("call")):
        return None
    return rows(session, file, float(fact["at"]), fact.get("switch"))


def insert_once(session: Session, table: type[Base], **values: Any) -> None:
    """Insert a row unless somebody has: the journal and a worker may both be the first."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(sqlite.insert(table).values(**values).on_conflict_do_nothing())
    else:
        session.execute(postgresql.insert(table).values(**values).on_conflict_do_nothing())


def _consented(session: Session, recording: Recording) -> bool:
    """Whether the announcement was played before anybody expected a recording."""
    played = select(Fact.id).where(Fact.call == recording.call, Fact.type == "consent.played")
    return session.scalar(played.where(Fact.company == recording.company).limit(1)) is not None


def _with(people: Iterable[str], more: Iterable[object]) -> list[str]:
    return list(dict.fromkeys([*people, *(str(one)[:32] for one in more)]))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return str(value)[:_LONGEST] if value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e7 else None
