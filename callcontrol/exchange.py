"""Where people ask about live calls, end one, have one placed: performs what ``commands.py`` lists about calls.

What lives is in Redis (``cordboard:live:<switch>``), where a call is in its controller, who talks with whom in the
switch, which is asked once for everything and not for each call.  Rings nobody itself: ``Line.place`` does.

Click to call: the fact ``call.placed`` is written before the switch is asked, so that no telephone rings for a call
that nobody knows; from then on the call has exactly one end, as every call has, told by whoever hears it or by the
reconciler.  Ringing is the switch's, and who answers is sent into the dialplan as if that telephone had dialled: any
living controller gets the call.

The surprise: nothing here says whose telephone it is.  The switch's directory puts company and extension on the
channel, of a telephone that it rings as of one that dials (``user_outgoing_channel``), and no telephone can.  And a
call's id follows from its key *and the day*: a key that is used again after a week is another call, and no fact and no
recording of the first are taken for its own.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

import gevent
import structlog

from callcontrol import wire
from callcontrol.call_views import CallList, CallNamed, CallRow
from callcontrol.commands import Refused
from callcontrol.esl import EslError
from callcontrol.queues import Queues
from callcontrol.ringing import Line
from callcontrol.routing.model import Routing
from callcontrol.state import StateError, decode
from callcontrol.steps.phone import why_not
from callcontrol.switchboard import Switchboard

#: Calls in one answer; the oldest are told of.
MOST_CALLS = 5_000
#: How long another controller is waited for that places the same call, seconds.
PATIENCE = 1.5
#: How long a controller that has just begun waits for its way to the switch, seconds.
REACHING = 0.8
#: What a switch said is not asked again for so long, seconds: many may be looking.
FRESH = 1.0

_DAY = 86_400
_SEPARATORS = str.maketrans("", "", "()-./ \u00a0")
_DIALLED = re.compile(r"\+?[0-9*#]{1,32}")
#: Calls of the same company and key are one, on a day and the next: what their ids are made of.
_KEYED = uuid.UUID("a1c5b9f0-6c1d-5e0b-9a60-3f0f7e1b4d27")
_WHY = {
    "USER_NOT_REGISTERED": "is not registered",
    "SUBSCRIBER_ABSENT": "is not registered",
    "USER_BUSY": "is busy",
    "CALL_REJECTED": "declined the call",
    "NO_ANSWER": "did not answer",
    "SWITCH_AWAY": "was not rung: the switch cannot be reached just now",
    "MANAGER_REQUEST": "was not answered: the call was ended meanwhile",
}


class Session(Protocol):
    """A call that this process has, as far as it is needed here."""

    company: str

    @property
    def where(self) -> tuple[str, str]:
        """Flow and step."""


class House(Protocol):
    """The controller, as far as it is needed here."""

    board: Switchboard
    queues: Queues

    def session_of(self, call: str) -> Session | None:
        """The call, if this process has it."""

    def line_named(self, switch: str) -> Line | None:
        """The way to a switch."""

    def current(self, company: str) -> Routing | None:
        """A company's routing as it is now."""

    def tell_placed(self, line: Line, company: str, call: str, data: dict[str, Any]) -> None:
        """Write the fact that a call is about to be placed."""

    def end_placed(self, line: Line, company: str, call: str, cause: str) -> None:
        """Write the end of a call that was placed and never began, unless somebody else has."""

    def now(self) -> float:
        """The calls' time."""


class Exchange:
    """See :class:`callcontrol.commands.CallHandlers`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._talks: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._log: Any = structlog.get_logger("exchange")

    # ------------------------------------------------------------------------------------------- looking

    def calls(self, switch: str, company: str) -> CallList:
        """Every live call of the switch, or those of a company; the oldest first."""
        line = self._line(switch)
        if company and self._house.current(company) is None:
            self._unknown(company)
        live = self._house.board.live_calls(switch)
        found = [
            (call, known) for call, known in live.items() if not company or (known.get("company") or "") == company
        ]
        found.sort(key=lambda one: (_since(one[1]), one[0]))
        some = found[:MOST_CALLS]
        talks = self._talks_on(line) if some else {}
        waiting = self._waiting({str(known.get("company") or "") for _, known in some})
        rows = [self._row(call, known, talks, waiting) for call, known in some]
        return {"switch": switch, "now": self._house.now(), "total": len(found), "calls": rows}

    def _row(
        self, call: str, known: Mapping[str, Any], talks: Mapping[str, str], waiting: Mapping[str, str]
    ) -> CallRow:
        session = self._house.session_of(call)
        flow, step = session.where if session is not None else ("", "")
        state = "talking" if call in talks else "waiting" if call in waiting else "routed"
        return {
            "call": call,
            "company": str(known.get("company") or ""),
            "from": str(known.get("from") or ""),
            "to": str(known.get("to") or ""),
            "extension": str(known.get("extension") or ""),
            "since": _since(known),
            "state": "placed" if known.get("epoch") == 0 else state,
            "flow": flow,
            "step": step,
            "with": talks.get(call, ""),
            "queue": waiting.get(call, ""),
        }

    def _talks_on(self, line: Line) -> Mapping[str, str]:
        """Who talks with whom, as the switch says; nothing if it says nothing just now."""
        at, known = self._talks.get(line.name, (0.0, {}))
        if time.monotonic() - at >= FRESH or not at:
            try:
                known = talks(json.loads(line.ask(wire.show_channels())))
            except (EslError, ValueError) as error:
                self._log.info("the switch could not be asked who talks", switch=line.name, error=str(error))
                return {}
            self._talks[line.name] = (time.monotonic(), known)
        return known

    def _waiting(self, companies: set[str]) -> dict[str, str]:
        """The queue of each call of these companies that waits in one."""
        found: dict[str, str] = {}
        for company in companies:
            if company and self._house.queues.serves(company):
                look = self._house.queues.look(company, "") or {}
                found |= {str(one["call"]): str(one["queue"]) for one in look.get("waiting") or ()}
        return found

    # -------------------------------------------------------------------------------------------- ending

    def hang_up(self, switch: str, company: str, call: str, by: str) -> CallNamed:
        """End a call of the company.  Of one that is not there, or is another's, the same is said."""
        line = self._line(switch)
        try:
            if self._owner(line, call) != company or not line.hang_up(call):
                raise Refused(f"{company} has no call {call} on {switch}")
        except EslError as error:
            raise Refused(f"{switch} cannot be asked just now: {error}") from None
        self._log.info("a call is hung up by a command", call=call, company=company, by=by)
        return {"call": call}

    def _owner(self, line: Line, call: str) -> str | None:
        """Whose call it is; None: nobody's.  Raises EslError."""
        session = self._house.session_of(call)
        if session is not None:
            return session.company
        known = self._house.board.live_call(line.name, call)
        if known is not None:
            return known.get("company")
        # Placed or begun this moment: Redis hears of it a quarter of a second later.  A leg has neither of these two.
        try:
            return decode(line.ask(wire.getvar(call, "cordboard_state")).strip()).company
        except StateError:
            called = line.ask(wire.getvar(call, "cordboard_called")).strip()
        if called == "_undef_" or called.startswith("-"):
            return None
        return line.ask(wire.getvar(call, "cordboard_company")).strip()

    # ------------------------------------------------------------------------------------------- placing

    def place(self, switch: str, company: str, extension: str, to: str, key: str, by: str) -> CallNamed:
        """Ring the person's own telephone; once it is answered it dials ``to``, as if they had."""
        line = self._line(switch)
        dialled, shown = self._judged(company, extension, to)
        self._reach(line)
        what = f"{extension} {dialled}"
        call = self._keyed(company, key) if key else str(uuid.uuid4())
        if key and self._placed_before(line, call, what):
            return {"call": call}
        self._house.tell_placed(line, company, call, {"person": extension, "to": dialled, "by": by})
        self._log.info("a call is placed", call=call, company=company, extension=extension, to=dialled, by=by)
        cause = line.place(call, company, extension, dialled, name=shown)
        why = f"the telephone of {extension} {_WHY.get(cause, f'did not ring ({cause})')}" if cause else ""
        if key:
            self._house.board.placed(call, what, why)
        if cause:
            self._house.end_placed(line, company, call, cause)
            raise Refused(why)
        return {"call": call}

    def _reach(self, line: Line) -> None:
        """Wait for a controller that has just begun.  Raises Refused, which is remembered under no key."""
        until = time.monotonic() + REACHING
        while not line.connected:
            if time.monotonic() >= until:
                raise Refused(f"{line.name} cannot be reached just now")
            gevent.sleep(0.05)

    def _judged(self, company: str, extension: str, to: str) -> tuple[str, str]:
        """What the person's telephone will dial, and the name that it shows.  Raises Refused, before anything rings."""
        routing = self._house.current(company)
        if routing is None:
            self._unknown(company)
        if extension not in routing.people:
            raise Refused(f"{company} has no extension {extension}")
        dialled = to.translate(_SEPARATORS)
        if not _DIALLED.fullmatch(dialled):
            raise Refused(f"{to[:40]!a} is nothing that a telephone dials: digits, * and #, with + before them or not")
        if dialled == extension:
            raise Refused(f"{extension} cannot be connected with itself")
        why = why_not(routing, extension, dialled)
        if why:
            raise Refused(why)
        colleague = routing.people.get(dialled)
        return dialled, wire.caller_name(colleague.name) if colleague is not None else ""

    def _keyed(self, company: str, key: str) -> str:
        """The id of the call of this key: yesterday's if it was placed then, else today's."""
        today = int(self._house.now() // _DAY)
        now, before = (str(uuid.uuid5(_KEYED, f"{company}/{key}/{day}")) for day in (today, today - 1))
        return before if self._house.board.was_placed(before) else now

    def _placed_before(self, line: Line, call: str, what: str) -> bool:
        """Whether a call was placed under its key; else it is ours to place.  Raises Refused, as the first time too."""
        board = self._house.board
        known = board.claim_placing(call, what)
        until = time.monotonic() + PATIENCE
        while known is not None and known.startswith("?") and time.monotonic() < until:
            gevent.sleep(0.1)  # by another controller, this moment
            known = board.claim_placing(call, what)
        if known == "":  # the first time; or who claimed it died, perhaps after it was placed
            there = call in board.told([call]) or board.live_call(line.name, call) is not None or _lives(line, call)
            if there:
                board.placed(call, what)
            return there
        if known is None:
            raise Refused("Redis is away: whether the call was placed before is not known, so it is not placed")
        first, _, why = known[1:].partition("\n")
        if first != what:
            raise Refused("another call was placed under this key: take a new one for each call")
        if known.startswith("?"):
            raise Refused("whether the call was placed before is not known yet: ask again in ten seconds")
        if known.startswith("-"):
            raise Refused(why)
        return True

    # -------------------------------------------------------------------------------------------- shared

    def _line(self, switch: str) -> Line:
        line = self._house.line_named(switch)
        if line is None:
            raise Refused(f"there is no switch {switch}")
        return line

    @staticmethod
    def _unknown(company: str) -> NoReturn:
        raise Refused(f"there is no company {company!r}")


def _lives(line: Line, call: str) -> bool:
    """Whether the switch has such a channel; one that does not answer cannot be asked to ring either."""
    try:
        return line.ask(wire.exists(call)).strip() == "true"
    except EslError:
        return False


def talks(shown: Mapping[str, Any]) -> dict[str, str]:
    """With whom each channel talks, out of ``show channels as json``: an extension, or the number that was dialled."""
    rows = {str(row.get("uuid", "")): row for row in shown.get("rows", ())}
    found = {}
    for channel, row in rows.items():
        other = rows.get(str(row.get("application_data", ""))) if row.get("application") == "uuid_bridge" else None
        if other is not None:
            found[channel] = _who(other)
    return found


def _who(row: Mapping[str, Any]) -> str:
    """A telephone of ours by its extension, another by what was dialled, as its channel is called."""
    known = str(row.get("presence_id") or "") or str(row.get("name") or "").rpartition("/")[2]
    return known.partition("@")[0][:64]


def _since(known: Mapping[str, Any]) -> float:
    since = known.get("since", known.get("at"))
    return float(since) if isinstance(since, int | float) else 0.0
