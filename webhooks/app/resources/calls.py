"""Calls: those that were, as the journal has them, and those that live, as their controllers say."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from sqlalchemy import select

from webhooks.app import desk, door, problems
from webhooks.app.fields import Choice, Line, Moment, extension, word
from webhooks.app.openapi import Blueprint
from webhooks.app.pages import Between, page_of
from webhooks.app.problems import Problem
from webhooks.app.resources.endpoints import AttemptSchema, DeliverySchema
from webhooks.app.resources.recordings import RecordingSchema
from workers.journal import queries
from workers.journal.paging import CursorError
from workers.journal.queries import CallFilter
from workers.journal.tables import Call

blueprint = Blueprint("calls", __name__, description="Calls that were, calls that live, and click to call.")

DIRECTIONS = ("inbound", "outbound", "internal")
_CALL = "0c1f4a52-6a0e-4a40-9a3e-0d5b6f0e7a11"


class CallSchema(ma.Schema):
    """A call."""

    id = ma.fields.String(required=True, metadata={"example": _CALL})
    caller = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "null: withheld.", "example": "+79031234567"}
    )
    called = ma.fields.String(required=True, allow_none=True, metadata={"example": "+74951234567"})
    extension = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "The company's own phone that calls."}
    )
    direction = Choice(*DIRECTIONS, required=True)
    state = Choice("live", "ended", required=True)
    began = Moment(required=True)
    answered_at = Moment(required=True, allow_none=True)
    connected_at = Moment(
        required=True, allow_none=True, metadata={"description": "The first talk with a person began."}
    )
    ended_at = Moment(required=True, allow_none=True)
    talk_seconds = ma.fields.Float(required=True, metadata={"example": 42.5})
    talked_with = ma.fields.String(required=True, allow_none=True, metadata={"example": "301"})
    cause = ma.fields.String(required=True, allow_none=True, metadata={"description": "Why the switch ended it."})
    ended_by = ma.fields.String(required=True, allow_none=True)
    missed = ma.fields.Boolean(required=True, metadata={"description": "From outside, and nobody talked."})
    message = ma.fields.Boolean(required=True, metadata={"description": "The caller left a message."})
    flow = ma.fields.String(required=True, allow_none=True, metadata={"description": "Where it was last."})
    step = ma.fields.String(required=True, allow_none=True)


class CallsQuery(Between):
    """Which calls."""

    number = word(
        r"\+?[0-9]{1,20}",
        "a number or an extension",
        load_default=None,
        metadata={"description": "Of either side: whole, or its last four digits or more."},
    )
    person = extension(load_default=None, metadata={"description": "An extension that called, was rung or talked."})
    queue = word(r"[a-z][a-z0-9_-]{0,31}", "a queue's name", load_default=None)
    direction = Choice(*DIRECTIONS, load_default=None)
    state = Choice("live", "ended", load_default=None)
    missed = ma.fields.Boolean(load_default=None, metadata={"description": "From outside, and nobody talked."})


@blueprint.operation("GET", "/calls", may=door.READERS, query=CallsQuery, answer=page_of(CallSchema))
def list_calls(query: dict[str, Any]) -> Any:
    """Calls, the newest first."""
    limit, cursor = query.pop("limit"), query.pop("cursor")
    try:
        with desk.context().database.reading() as session:
            return queries.calls(session, door.company(), CallFilter(**query), limit=limit, cursor=cursor)
    except CursorError:
        raise problems.invalid("cursor", "is not the `next` of a page") from None


@blueprint.operation("GET", "/calls/<id:call>", may=door.READERS, answer=CallSchema)
def one_call(call: str) -> Any:
    """One call."""
    return found(call)


class StepSchema(ma.Schema):
    """A step that a call entered."""

    at = Moment(required=True)
    flow = ma.fields.String(required=True)
    step = ma.fields.String(required=True)
    data = ma.fields.Dict(
        required=True,
        metadata={"description": "What decided it: `verb`, `outcome`, `why`, and more in time."},
    )


class LegSchema(ma.Schema):
    """A telephone that was rung."""

    id = ma.fields.String(required=True)
    person = ma.fields.String(required=True, allow_none=True)
    address = ma.fields.String(required=True, allow_none=True)
    rung_at = Moment(required=True, allow_none=True)
    ended_at = Moment(required=True, allow_none=True)
    result = ma.fields.String(required=True, allow_none=True)
    cause = ma.fields.String(required=True, allow_none=True)


class VisitSchema(ma.Schema):
    """A time in a queue."""

    queue = ma.fields.String(required=True)
    joined_at = Moment(required=True)
    left_at = Moment(required=True, allow_none=True)
    waited = ma.fields.Float(required=True, allow_none=True)
    outcome = ma.fields.String(required=True, allow_none=True)
    agent = ma.fields.String(required=True, allow_none=True)
    offers = ma.fields.Integer(required=True)


class DeliveryTold(DeliverySchema):
    """A delivery and its tries."""

    url = ma.fields.String(required=True)
    tries = ma.fields.List(ma.fields.Nested(AttemptSchema), required=True)


class EventTold(ma.Schema):
    """An event that subscribers are told, and what became of that."""

    id = ma.fields.String(required=True)
    type = ma.fields.String(required=True)
    sequence = ma.fields.Integer(required=True, allow_none=True)
    occurred_at = Moment(required=True)
    data = ma.fields.Dict(required=True)
    deliveries = ma.fields.List(ma.fields.Nested(DeliveryTold), required=True)


class MailTold(ma.Schema):
    """A mail that is owed, or was sent."""

    kind = ma.fields.String(required=True)
    recipient = ma.fields.String(required=True)
    state = ma.fields.String(required=True)
    sent_at = Moment(required=True, allow_none=True)
    why = ma.fields.String(required=True, allow_none=True)


class FactTold(ma.Schema):
    """A fact, as a controller told it."""

    type = ma.fields.String(required=True)
    at = Moment(required=True)
    data = ma.fields.Dict(required=True)


class Journey(ma.Schema):
    """A call's whole way: what was entered and why, who was rung, what was recorded, who was told."""

    call = ma.fields.Nested(CallSchema, required=True)
    version = ma.fields.String(
        required=True, allow_none=True, metadata={"description": "The version of the routing that it walked."}
    )
    steps = ma.fields.List(ma.fields.Nested(StepSchema), required=True)
    legs = ma.fields.List(ma.fields.Nested(LegSchema), required=True)
    queues = ma.fields.List(ma.fields.Nested(VisitSchema), required=True)
    recordings = ma.fields.List(ma.fields.Nested(RecordingSchema), required=True)
    events = ma.fields.List(ma.fields.Nested(EventTold), required=True)
    mails = ma.fields.List(ma.fields.Nested(MailTold), required=True)
    facts = ma.fields.List(ma.fields.Nested(FactTold), required=True)


@blueprint.operation("GET", "/calls/<id:call>/journey", may=door.READERS, answer=Journey)
def journey(call: str) -> Any:
    """Everything that is known of a call, as `cordboard why` tells it."""
    with desk.context().database.reading() as session:
        known = queries.journey(session, door.company(), call)
    if known is None:
        raise problems.not_found()
    for event in known["events"]:
        for delivery in event["deliveries"]:
            delivery["tries"], delivery["attempts"] = delivery["attempts"], len(delivery["attempts"])
    return {**known, "version": known["call"]["version"]}


# ---------------------------------------------------------------------------------------------- live calls


class LiveCall(ma.Schema):
    """A live call."""

    id = ma.fields.String(required=True, attribute="call", metadata={"example": _CALL})
    caller = ma.fields.String(required=True, attribute="from", metadata={"example": "+79031234567"})
    called = ma.fields.String(required=True, attribute="to", metadata={"example": "+74951234567"})
    extension = ma.fields.String(required=True, metadata={"description": "The company's own phone that calls."})
    since = Moment(required=True)
    state = Choice("placed", "routed", "waiting", "talking", required=True)
    talks_with = ma.fields.String(required=True, attribute="with", metadata={"example": "301"})
    flow = ma.fields.String(required=True)
    step = ma.fields.String(required=True)
    queue = ma.fields.String(required=True)


class LiveCalls(ma.Schema):
    """The live calls, the oldest first.  What is not known, or is not so, is empty."""

    items = ma.fields.List(ma.fields.Nested(LiveCall), required=True)
    silent = ma.fields.List(
        ma.fields.String(),
        required=True,
        metadata={"description": "Switches whose calls are not among them: nobody answered for them."},
    )


@blueprint.operation("GET", "/live-calls", may=door.READERS, answer=LiveCalls, fails=(409, 504))
def live_calls() -> Any:
    """Calls that live."""
    rows, silent = desk.live_calls(door.company())
    return {"items": rows, "silent": silent}


class Placing(ma.Schema):
    """Whom to connect."""

    from_ = extension(
        required=True,
        data_key="from",
        metadata={"description": "The extension of the person whose telephone rings first.", "example": "301"},
    )
    to = Line(
        40,
        required=True,
        metadata={"description": "What their telephone then dials, as they would.", "example": "+79031234567"},
    )


class Keyed(ma.Schema):
    """What makes a call one, however often it is asked for."""

    key = word(
        "[!-~]{1,64}",
        "1 to 64 printable ASCII characters without blanks",
        data_key="Idempotency-Key",
        load_default=None,
        metadata={
            "description": "The same call is not placed again under the same key, for a day at least: send one, and "
            "the same one again when you do not know whether a request was heard."
        },
    )


class Placed(ma.Schema):
    """The call that was placed; it is found under this id."""

    id = ma.fields.String(required=True, attribute="call", metadata={"example": _CALL})


@blueprint.operation(
    "POST",
    "/calls",
    may=door.EVERYBODY,
    headers=Keyed,
    body=Placing,
    answer=Placed,
    status=202,
    fails=(409, 504),
)
def place_call(headers: dict[str, Any], body: dict[str, Any]) -> Any:
    """Click to call: the person's telephone rings first, then the other side.

    It goes out as if the person had dialled it: what they may not dial is refused.
    """
    door.only_own(body["from_"])
    company = door.company()
    if body["from_"] not in desk.routing(company).people:
        raise problems.invalid("from", "nobody has this extension")
    given = {"company": company, "extension": body["from_"], "to": body["to"]}
    if headers["key"] is not None:
        given["key"] = headers["key"]
    return desk.ask("call.place", given, patience=desk.PATIENCE_TO_PLACE)


@blueprint.operation("POST", "/calls/<id:call>/hangup", may=door.OPERATORS, answer=Placed, fails=(409, 504))
def hang_up(call: str) -> Any:
    """End a call, and whatever rings for it."""
    return _do("call.hang_up", call)


def _recording(what: str, says: str) -> None:
    def view(call: str) -> Any:
        return _do(f"recording.{what}", call)

    view.__name__, view.__doc__ = f"{what}_recording", says
    blueprint.operation(
        "POST", f"/calls/<id:call>/recording/{what}", may=door.OPERATORS, answer=Placed, fails=(409, 504)
    )(view)


_recording("start", "Record the talk from now on.")
_recording("stop", "Record the talk no longer.")
_recording("pause", "Leave out of the recording what is said from now on.")
_recording("resume", "Record again after a pause.")


def _do(verb: str, call: str) -> dict[str, str]:
    company = door.company()
    with desk.context().database.reading() as session:
        row = session.get(Call, call)
    if row is not None and row.company != company:
        raise problems.not_found()
    if row is not None and row.state == "ended":
        raise Problem("conflict", "The call has ended.")
    desk.ask_where_it_is(verb, {"company": company, "call": call}, row.switch if row is not None else None)
    return {"call": call}


def found(call: str) -> Call:
    """A call of the company.  Raises Problem."""
    with desk.context().database.reading() as session:
        row = session.scalar(select(Call).where(Call.company == door.company(), Call.id == call))
    if row is None:
        raise problems.not_found()
    return row
