"""Agents and queues as people read them: the shapes of the answers to commands, and their text.

Knows how an answer is written down and nothing of where it comes from: no Redis, no clock (``now`` stands in the
answers, by Redis's clock), no terminal.  ``--json`` prints the answers as they are, and the web gets them so: their
names do not change.

The surprise: much of the text came from strangers (callers, and whoever wrote the names of people), and a terminal
obeys what is printed on it: everything goes through :func:`shown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from rich.cells import cell_len

from callcontrol.queueing import clock

#: What an agent may be, as a terminal colours it.
STATES: Mapping[str, str] = {
    "available": "green",
    "offered": "yellow",
    "talking": "cyan",
    "wrap_up": "yellow",
    "delayed": "yellow",
    "elsewhere": "cyan",
    "paused": "magenta",
    "logged_out": "dim",
}

_MISSES = {"declined": "declined", "busy": "was busy", "no_answer": "no answer", "unreachable": "not registered"}


# ------------------------------------------------------------------------------------------------- answers

_With = TypedDict("_With", {"with": str})


class AgentRow(_With):
    """An agent.  Moments are UTC epochs, lengths seconds.

    ``state``: one of :data:`STATES`, since ``since`` and, where it ends by itself, ``until``.  ``duty``: ``on paused
    out``, also while they still talk; ``reason``: why they paused or are out.  ``with`` and ``queue``: with whom they
    talk, or for whom they ring, and from which queue.  ``calls`` and ``talk``: taken, and talked, since they logged in.
    ``misses``: calls not taken in a row; ``last``: how the last such ended, ``declined busy no_answer unreachable`` or
    "" (none), at ``last_at``.
    """

    company: str
    agent: str
    name: str
    state: str
    duty: str
    since: float
    until: float | None
    reason: str
    queues: Sequence[str]
    calls: int
    talk: float
    queue: str
    misses: int
    last: str
    last_at: float | None


class AgentList(TypedDict):
    """Answer to ``agent.list``."""

    now: float
    agents: Sequence[AgentRow]


class AgentSet(TypedDict):
    """Answer to ``agent.log_in log_out pause resume``: what the agent is now (a pause may wait for a talk's end)."""

    agent: str
    name: str
    state: str
    reason: str


class Staff(TypedDict):
    """How many agents of a queue there are: free, with a call or just after one, paused, logged out."""

    available: int
    busy: int
    paused: int
    out: int


class QueueRow(TypedDict):
    """A queue.  ``longest``: how long the first has waited, seconds; None: nobody waits."""

    company: str
    queue: str
    waiting: int
    longest: float | None
    agents: Staff


class QueueList(TypedDict):
    """Answer to ``queue.show``."""

    now: float
    queues: Sequence[QueueRow]


class WhyRow(TypedDict):
    """Why an agent was or was not rung just now: a word, the same for people, and the seconds in it if there are."""

    agent: str
    name: str
    reason: str
    text: str
    seconds: float | None


class CallerRow(TypedDict):
    """A caller who waits.  ``skills``: what the agent must be able to do; ``state``: ``waiting offered stalled``."""

    call: str
    caller: str
    waited: float
    priority: int
    skills: Sequence[str]
    state: str
    agents: Sequence[WhyRow]


class Why(TypedDict):
    """Answer to ``queue.why``: the first ``callers`` in their order, of ``waiting`` who wait."""

    company: str
    queue: str
    now: float
    waiting: int
    callers: Sequence[CallerRow]
    staff: Staff


# ---------------------------------------------------------------------------------------------------- text


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head.  ``colours``: that of each row's cells, where a terminal has any."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    colours: tuple[str, ...] = ()


def plain(table: Table) -> Iterator[str]:
    """A table as lines without colours and boxes, columns aligned."""
    lines = (table.head, *table.rows)
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def fitted(table: Table, terminal: int) -> list[int]:
    """How wide each column is on a terminal of so many, with two between columns.

    Where there is no room the widest columns are folded, between words for as long as that is enough: nothing is cut
    off, and a number is broken last of all.
    """
    columns = list(zip(table.head, *table.rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    words = [max((cell_len(word) for cell in column for word in cell.split()), default=1) for column in columns]
    for least in (words, [1] * len(columns)):
        while sum(widths) + 2 * (len(widths) - 1) > terminal:
            folds = [index for index, width in enumerate(widths) if width > least[index]]
            if not folds:
                break
            widths[max(folds, key=widths.__getitem__)] -= 1
    return widths


def agents_table(answer: AgentList) -> Table:
    """The agents and what they do.  The company is told only where there are several."""
    rows, now = answer["agents"], answer["now"]
    several = len({row["company"] for row in rows}) > 1
    return Table(
        (*(["company"] if several else []), "agent", "name", "state", "queues", "calls", "last miss"),
        tuple(
            (
                *([shown(row["company"])] if several else []),
                shown(row["agent"]),
                shown(row["name"]),
                agent_state(row, now),
                shown(", ".join(row["queues"])),
                str(row["calls"]),
                _last_miss(row, now),
            )
            for row in rows
        ),
        tuple(STATES.get(row["state"], "") for row in rows),
    )


def agent_state(row: AgentRow, now: float) -> str:
    """What an agent does, and for how long: ``talking 2:05 with +79031234567 (sales), then logged out``."""
    since = clock(now - row["since"])
    left = clock(row["until"] - now) if row["until"] is not None else ""
    reason = f" ({row['reason']})" if row["reason"] else ""
    whom = f" with {row['with']}" if row["with"] else ""
    queue = f" ({row['queue']})" if row["queue"] else ""
    match row["state"]:
        case "offered":
            text = f"ringing {since}{queue}"
        case "talking":
            text = f"talking {since}{whom}{queue}"
        case "wrap_up":
            text = f"wrap-up, {left} left" if left else "wrap-up"
        case "delayed":
            text = f"missed a call, asked again in {left}" if left else "missed a call"
        case "elsewhere":
            text = f"on another call {since}"
        case "paused":
            text = f"paused {roughly(now - row['since'])}{reason}"
        case "logged_out":
            text = f"logged out{reason}"
        case word:
            text = word
    if row["state"] not in ("paused", "logged_out") and row["duty"] != "on":
        text += f", then {'paused' if row['duty'] == 'paused' else 'logged out'}{reason}"
    return shown(text)


def agent_set(answer: AgentSet) -> str:
    """What became of an agent who was logged in or out, paused or resumed."""
    words = {"logged_out": "logged out", "wrap_up": "in wrap-up", "delayed": "left alone for a moment"}
    words |= {"elsewhere": "on another call"}
    name = f" {answer['name']}" if answer["name"] else ""
    reason = f" ({answer['reason']})" if answer["reason"] else ""
    return shown(f"{answer['agent']}{name} is {words.get(answer['state'], answer['state'])}{reason}")


def queues_table(answer: QueueList) -> Table:
    """The queues, who waits there and who serves them."""
    rows = answer["queues"]
    several = len({row["company"] for row in rows}) > 1
    return Table(
        (
            *(["company"] if several else []),
            *("queue", "waiting", "longest wait", "available", "busy", "paused", "logged out"),
        ),
        tuple(
            (
                *([shown(row["company"])] if several else []),
                shown(row["queue"]),
                str(row["waiting"]),
                "" if row["longest"] is None else clock(row["longest"]),
                *(str(row["agents"][word]) for word in ("available", "busy", "paused", "out")),
            )
            for row in rows
        ),
        tuple("" if not row["waiting"] else "yellow" if row["agents"]["available"] else "red" for row in rows),
    )


def why_title(answer: Why) -> str:
    """The queue in one line."""
    staff, waiting, callers = answer["staff"], answer["waiting"], answer["callers"]
    # The first is not who has waited longest where priorities differ; of those who are not told of nothing is known.
    longest = max((row["waited"] for row in callers), default=0.0)
    first = f", the first for {clock(callers[0]['waited'])}" if callers else ""
    if waiting == len(callers) > 1:
        first = f", the longest for {clock(longest)}"
    who = "nobody waits" if not waiting else f"1 caller waits{first}" if waiting == 1 else f"{waiting} wait{first}"
    counts = [(staff["available"], "available"), (staff["busy"], "busy"), (staff["paused"], "paused")]
    counts.append((staff["out"], "logged out"))
    agents = ", ".join(f"{count} {word}" for count, word in counts if count) or "none"
    return shown(f"{answer['queue']} of {answer['company']}: {who}; agents: {agents}")


def callers_table(answer: Why) -> Table:
    """Who waits, in the order in which they are served if any agent can serve any of them."""
    rows = answer["callers"]
    return Table(
        ("", "caller", "waits", "priority", "needs", "now"),
        tuple(
            (
                str(place),
                shown(row["caller"] or "no number"),
                clock(row["waited"]),
                str(row["priority"] or ""),
                shown(", ".join(row["skills"])),
                _caller_state(row),
            )
            for place, row in enumerate(rows, 1)
        ),
        tuple({"offered": "green", "stalled": "red"}.get(row["state"], "") for row in rows),
    )


def why_lines(answer: Why) -> Iterator[str]:
    """For each who waits, why each agent was or was not rung just now."""
    for place, row in enumerate(answer["callers"], 1):
        parts = [f"{place}. {row['caller'] or 'no number'} waits {clock(row['waited'])}"]
        parts += [f"priority {row['priority']}"] if row["priority"] else []
        parts += [f"needs {', '.join(row['skills'])}"] if row["skills"] else []
        parts += [_caller_state(row)] if row["state"] != "waiting" else []
        yield shown(", ".join(parts))
        for agent in row["agents"]:
            name = f" {agent['name']}" if agent["name"] else ""
            yield shown(f"   {agent['agent']}{name}: {agent['text']}")
        if not row["agents"]:
            yield "   the queue has no agents"


def left_out(answer: Why) -> str:
    """How many wait who are not told of; "" if all are."""
    more = answer["waiting"] - len(answer["callers"])
    return f"and {more} more" if more > 0 else ""


def _caller_state(row: CallerRow) -> str:
    if row["state"] == "offered":
        ringing = [agent["agent"] for agent in row["agents"] if agent["reason"] == "rings"]
        return shown(f"rings {', '.join(ringing)}") if ringing else "an agent is rung"
    if row["state"] == "stalled":
        return "stalled: no controller has the call just now"
    return ""


def _last_miss(row: AgentRow, now: float) -> str:
    if not row["last"]:
        return ""
    ago = "" if row["last_at"] is None else f", {roughly(now - row['last_at'])} ago"
    again = f" ({row['misses']} in a row)" if row["misses"] > 1 else ""
    return shown(f"{_MISSES.get(row['last'], row['last'])}{ago}{again}")


def roughly(seconds: float) -> str:
    """A length of time that nobody counts: ``40 s``, ``12 min``, ``3 h 5 min``, ``2 days``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 2 * 86400:
        hours, minutes = whole // 3600, whole % 3600 // 60
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{whole // 86400} days"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 call``, ``2 calls``; ``many`` where it is not ``one`` with an s."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def shown(text: str) -> str:
    """Text of others on one line that moves no cursor: what cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
