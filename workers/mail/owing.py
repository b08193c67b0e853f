"""Which mails a fact makes: written in the fact's own transaction.

A message that is stored goes to everybody it was left for who wants it; a call from outside that nobody took, to the
one person whose telephones it rang, if they asked for such mail.  An alarm goes to the operator.  The id of a mail
follows from what it is about and who gets it, so that it is owed once, however often it is told.

The row has everything that the text is made of: a mail is written as the company was when it happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from callcontrol.routing.model import Person, Routing
from workers.journal.tables import Alarm, Call, Leg, Mail, QueueVisit, Recording

#: The routing of a company, or None.
RoutingOf = Callable[[str], Routing | None]

#: An alarm is mailed if it is no older, seconds: not all of the past to who turns mail on.
NEWS = 2 * 24 * 3600.0
#: Alarms that are looked at in one round.
_MOST_ALARMS = 10_000
#: Of those that are told together: how many with their text, and how much of it.
_MOST_TOLD, _LONGEST_AMONG = 100, 300


def owe(session: Session, fact: Mapping[str, Any], call: Call | None, routing_of: RoutingOf, now: float) -> int:
    """Owe the mails that a fact makes (a message that is stored, a call that was missed); how many.

    ``call``: its row as it is after the fact.
    """
    company, data = fact.get("company"), fact.get("data")
    if not isinstance(company, str) or not isinstance(data, Mapping):
        return 0
    if fact.get("type") == "recording.available" and data.get("kind") == "message":
        mails = _message(session, company, data.get("recording"), call, routing_of)
    elif fact.get("type") == "call.ended" and call is not None and call.company == company:
        mails = _missed(session, call, routing_of)
    else:
        return 0
    return sum([_add(session, mail, now) for mail in mails])


def owe_alarms(session: Session, address: str, now: float) -> int:
    """Owe the operator the alarms that were raised and not mailed; how many.  Raised again, it is mailed again.

    Several at once are one mail together: what breaks a hundred things is told once.  The row of each stands all the
    same, ``merged`` into that mail's, so that it is told once.
    """
    alarms = session.scalars(
        select(Alarm)
        .where(Alarm.cleared_at.is_(None), Alarm.raised_at > now - NEWS)
        .order_by(Alarm.raised_at, Alarm.key)
        .limit(_MOST_ALARMS)
    ).all()
    by_id = {_id("alarm", f"{alarm.key}/{alarm.raised_at:.3f}", address): alarm for alarm in alarms}
    known: set[str] = set()
    for start in range(0, len(by_id), 500):
        some = [*by_id][start : start + 500]
        known.update(session.scalars(select(Mail.id).where(Mail.id.in_(some))))
    mails = [
        Mail(
            id=id_,
            company=alarm.company,
            kind="alarm",
            recipient=address,
            data={"key": alarm.key, "kind": alarm.kind, "text": alarm.text[:2000], "at": alarm.raised_at},
        )
        for id_, alarm in by_id.items()
        if id_ not in known
    ]
    if len(mails) > 1:
        together = _id("alarms", "\n".join(mail.id for mail in mails), address)
        for mail in mails:
            mail.state, mail.why = "merged", together
        told = [{**mail.data, "text": mail.data["text"][:_LONGEST_AMONG]} for mail in mails[:_MOST_TOLD]]
        data = {"alarms": told, "count": len(mails), "at": now}
        mails.append(Mail(id=together, company=None, kind="alarm", recipient=address, data=data))
    owed = [_add(session, mail, now) for mail in mails]
    return sum(owed) - (len(mails) > 1)


def _message(session: Session, company: str, id_: object, call: Call | None, routing_of: RoutingOf) -> Iterator[Mail]:
    recording = session.get(Recording, id_) if isinstance(id_, str) else None
    if recording is None or recording.company != company:
        return
    routing = routing_of(company)
    for person in _who_want(routing, recording.people, "messages"):
        yield Mail(
            id=_id("message", recording.id, person.email or ""),
            company=company,
            call=recording.call,
            kind="message",
            recipient=person.email,
            data={
                **_about(routing, person, call),
                "recording": recording.id,
                "seconds": recording.seconds,
                "at": recording.began,
            },
        )


def _missed(session: Session, call: Call, routing_of: RoutingOf) -> Iterator[Mail]:
    """A message says more than a notice, so a caller who left one makes none."""
    if not call.missed or call.message or call.company is None:
        return
    rung = set(session.scalars(select(Leg.person).where(Leg.call == call.id, Leg.rung_at.is_not(None))))
    if len(rung) != 1:
        return  # nobody, or several: it is nobody's own
    offered = select(QueueVisit.id).where(QueueVisit.call == call.id, QueueVisit.offers > 0).limit(1)
    if session.scalar(offered) is not None:
        return  # a queue's call is its agents' together
    routing = routing_of(call.company)
    for person in _who_want(routing, [one for one in rung if one], "missed"):
        yield Mail(
            id=_id("missed_call", call.id, person.email or ""),
            company=call.company,
            call=call.id,
            kind="missed_call",
            recipient=person.email,
            data={**_about(routing, person, call), "at": call.began},
        )


def _who_want(routing: Routing | None, people: Sequence[str], what: str) -> Iterator[Person]:
    for extension in dict.fromkeys(people):
        person = routing.people.get(extension) if routing is not None else None
        if person is not None and person.email is not None and what in person.notify:
            yield person


def _about(routing: Routing | None, person: Person, call: Call | None) -> dict[str, Any]:
    """Who gets it and who called, as the text needs it."""
    assert routing is not None  # noqa: S101  # there is a person of it
    return {
        "title": routing.title,
        "timezone": routing.timezone,
        "language": person.language or routing.languages[0],
        "name": person.name,
        "caller": call.caller if call is not None else None,
        "called": call.called if call is not None else None,
    }


def _id(kind: str, about: str, recipient: str) -> str:
    return "mail_" + hashlib.sha256(f"{kind}\0{about}\0{recipient}".encode("utf-8", "replace")).hexdigest()[:24]


def _add(session: Session, mail: Mail, now: float) -> bool:
    """Owe it, unless it is owed or was sent."""
    if session.get(Mail, mail.id) is not None:
        return False
    mail.created_at = mail.next_at = now
    session.add(mail)
    session.flush()
    return True
