"""Live calls as people read them: the shapes of the answers to commands about calls, and their text.

As ``queue_views.py``: knows nothing of where an answer comes from, and its names do not change, since ``--json`` and
the web give the answers as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from callcontrol.queue_views import Table, roughly, shown

#: What a call may be doing, as a terminal colours it.
STATES: Mapping[str, str] = {"placed": "yellow", "talking": "cyan", "waiting": "yellow", "routed": ""}

_Ends = TypedDict("_Ends", {"from": str, "to": str, "with": str})


class CallRow(_Ends):
    """A live call.  ``since`` is a UTC epoch.

    ``state``: ``placed`` (the telephone of who asked for it rings), ``routed`` (it is in a flow), ``waiting`` (in
    ``queue``) or ``talking`` (with ``with``: an extension, or a number as the trunk has it).  ``extension``: the phone
    of the company's own that calls.  ``flow`` and ``step`` only if the controller that answers has the call; what is
    not known, or is not so, is "".  ``company`` is "" for a number that nobody owns.
    """

    call: str
    company: str
    extension: str
    since: float
    state: str
    flow: str
    step: str
    queue: str


class CallList(TypedDict):
    """Answer to ``call.list``: of ``total`` calls the oldest so many."""

    switch: str
    now: float
    total: int
    calls: Sequence[CallRow]


class CallNamed(TypedDict):
    """Answer to ``call.place`` and ``call.hang_up``: which call."""

    call: str


def calls_table(answers: Sequence[CallList]) -> Table:
    """The live calls of several switches, the longest first."""
    rows = sorted(
        ((row, answer["now"]) for answer in answers for row in answer["calls"]), key=lambda one: one[0]["since"]
    )
    several = len({row["company"] for row, _ in rows}) > 1
    return Table(
        (*(["company"] if several else []), "call", "from", "to", "for", "now"),
        tuple(
            (
                *([shown(row["company"])] if several else []),
                shown(row["call"]),
                shown(row["from"] or "no number"),
                shown(row["to"]),
                roughly(now - row["since"]),
                shown(doing(row)),
            )
            for row, now in rows
        ),
        tuple(STATES.get(row["state"], "") for row, _ in rows),
    )


def doing(row: CallRow) -> str:
    """What a call does: ``talking with 301``, ``waiting in sales``, ``reception/greet``."""
    match row["state"]:
        case "talking":
            return f"talking with {row['with']}" if row["with"] else "talking"
        case "waiting":
            return f"waiting in {row['queue']}"
        case "placed":
            return f"rings {row['extension']}"
    return f"{row['flow']}/{row['step']}" if row["flow"] else ""


def left_out(answers: Sequence[CallList]) -> str:
    """How many calls are not told of; "" if all are."""
    more = sum(answer["total"] - len(answer["calls"]) for answer in answers)
    return f"and {more} more" if more > 0 else ""
