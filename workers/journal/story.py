"""A call's journey in plain words, in order: what ``cordboard why`` prints.

Knows what the journal says of one call (``queries.journey``), and nothing of where that is kept.  Every fact has its
line, also one of a type that has no words here: it is told as it is, and never left out.

The surprise: names, numbers, reasons and answers of services came from strangers, and a terminal obeys what is printed
on it: everything goes through ``plainly``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from callcontrol.queueing import clock
from callcontrol.sentences import OUTER, SENTENCES, WHO_ENDED, Data, after, plainly
from workers.journal.queries import Journey, Told


def story(journey: Journey) -> Iterator[str]:
    """The lines of a journey."""
    call = journey["call"]
    began = call["began"]
    yield from _head(call)
    yield ""
    for fact in journey["facts"]:
        yield from _line(fact, began)
    for title, lines in (
        ("recordings", _recordings(journey["recordings"], began)),
        ("webhooks", _webhooks(journey["events"], began)),
        ("mails", _mails(journey["mails"], began)),
    ):
        said = list(lines)
        if said:
            yield from ("", title, *said)


def moment(at: float) -> str:
    """A moment as people read it, in UTC."""
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def outcome(call: Data) -> str:
    """What came of a call, in a word or two."""
    if call["state"] == "live":
        return "talking" if call["talking_since"] is not None else "live"
    if call["connected_at"] is not None:
        return f"talked {clock(call['talk_seconds'])}"
    if call["message"]:
        return "left a message"
    if call["missed"]:
        return "missed"
    return "not answered" if call["answered_at"] is None else "no talk"


# --------------------------------------------------------------------------------------------------------- parts


def _head(call: Data) -> Iterator[str]:
    company = f" of {plainly(call['company'])}" if call["company"] else " of no company"
    yield f"{call['id']}: {call['direction']} call{company}"
    yield f"  from {_who(call)} to {plainly(call['called'] or '?')}, {moment(call['began'])}" + (
        f", on {plainly(call['switch'])}" if call["switch"] else ""
    )
    yield f"  routing version {plainly(call['version'])}" if call["version"] else "  no routing version is known"
    if call["state"] == "live":
        where = f", in {plainly(call['flow'])}/{plainly(call['step'])}" if call["step"] else ""
        yield f"  still live: {outcome(call)}{where}"
        return
    by = WHO_ENDED.get(call["ended_by"] or "", plainly(call["ended_by"] or ""))
    cause = plainly(call["cause"] or "?")
    yield f"  {outcome(call)}; over after {clock(call['ended_at'] - call['began'])}: {by} ({cause})"


def _line(fact: Told, began: float) -> Iterator[str]:
    say = SENTENCES.get(fact["type"])
    sentence = _plain(fact) if say is None else say(fact["data"])
    if sentence is None:
        return
    indent = "" if fact["type"] in OUTER else "  "
    yield f"{after(fact['at'] - began):>9}  {indent}{sentence}"


def _recordings(found: Sequence[Data], began: float) -> Iterator[str]:
    for recording in found:
        length = f" of {clock(recording['seconds'])}" if recording["seconds"] else ""
        why = f": {plainly(recording['why'])}" if recording["why"] else ""
        rule = f", by the rule {plainly(recording['rule'])}" if recording["rule"] else ""
        consent = ", after the announcement" if recording["consent"] else ""
        yield f"  {recording['kind']}{length} {recording['id']}: {recording['state']}{rule}{consent}{why}"
        for segment in recording["segments"]:
            key = f" as {plainly(segment['key'])}" if segment["key"] else ""
            trouble = f" ({plainly(segment['why'])})" if segment["why"] else ""
            size = f", {segment['bytes']} bytes" if segment["bytes"] is not None else ""
            at = f" at {after(segment['stored_at'] - began)}" if segment["stored_at"] is not None else ""
            yield f"    {plainly(segment['file'])}: {segment['state']}{at}{key}{size}{trouble}"


def _webhooks(events: Sequence[Data], began: float) -> Iterator[str]:
    unwanted = [plainly(event["type"]) for event in events if not event["deliveries"]]
    for event in events:
        name = f"{plainly(event['type'])} (#{event['sequence']}, {event['id']})"
        for delivery in event["deliveries"]:
            yield f"  {name} to {plainly(delivery['url'])}: {_fate(delivery, began)}"
            for attempt in delivery["attempts"]:
                answer = attempt["error"] or "no answer" if attempt["status"] is None else attempt["status"]
                at = after(attempt["at"] - began)
                yield f"    try {attempt['number']} at {at}: {plainly(answer)} in {attempt['seconds']:.2f} s"
    if unwanted:
        yield f"  no endpoint wants {', '.join(unwanted)}"


def _fate(delivery: Data, began: float) -> str:
    if delivery["state"] == "delivered" and delivery["delivered_at"] is not None:
        return f"delivered at {after(delivery['delivered_at'] - began)}"
    if delivery["state"] == "pending":
        return f"to be tried again at {moment(delivery['next_at'])}" if delivery["attempts"] else "not tried yet"
    return str(delivery["state"]) + (f" ({plainly(delivery['why'])})" if delivery["why"] else "")


def _mails(mails: Sequence[Data], began: float) -> Iterator[str]:
    for mail in mails:
        sent = f" at {after(mail['sent_at'] - began)}" if mail["sent_at"] is not None else ""
        why = f" ({plainly(mail['why'])})" if mail["why"] else ""
        yield f"  {mail['kind'].replace('_', ' ')} to {plainly(mail['recipient'])}: {mail['state']}{sent}{why}"


def _plain(fact: Told) -> str:
    """A fact that has no sentence."""
    data = ", ".join(f"{plainly(key)} {plainly(value)}" for key, value in fact["data"].items())
    return plainly(fact["type"]) + (f": {data}" if data else "")


def _who(call: Data) -> str:
    if call["extension"]:
        return f"extension {plainly(call['extension'])}"
    return plainly(call["caller"] or "somebody who hides the number")
