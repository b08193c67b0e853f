"""Queues as values: what an agent and a waiting caller may become, who is asked for whom, and why somebody was not.

Rules for editing.  :data:`AGENT`, :data:`DUTY` and :data:`WAITING` are the whole of it: what has no row does not
happen, and whoever asks for it is told that it came too late.  ``queues.lua`` performs them, in Redis, one script a
transition; its tables are made from these when it is loaded (:func:`lua`), so there is one truth.

Theory.  An agent has a *duty* (what they want: on, paused, out) and is *doing* something.  They are free while on duty
and idle.  A caller waits until an agent is theirs; an *offer* is an agent who is reserved for one caller and rings.
Whoever makes an agent free, or a caller look for one, gets a *look* with it, chooses by the functions here, and claims
what was chosen; the claim is refused if it is stale by then.  So a decision costs the same whoever else is waiting.

It knows no clock, no Redis and no telephone.  The surprise: choosing looks at the first of each *line* only (callers of
one queue, one priority and one need of skills, the earliest first), since nobody behind them can be better off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from callcontrol.routing.model import Queue, Routing

#: Agents whose telephones ring for one caller at a time, with ``ring-all``.
MOST_TOGETHER = 10
#: A number that agents are ordered by counts no further.
MOST_COUNTED = 2**18 - 1


class Duty(Enum):
    """What an agent wants."""

    ON = "on"
    PAUSED = "paused"
    OUT = "out"


class Doing(Enum):
    """What an agent does."""

    IDLE = "idle"
    OFFERED = "offered"  # reserved for a caller; the telephone rings, or is about to
    TALKING = "talking"
    WRAP_UP = "wrap_up"
    DELAYED = "delayed"  # did not take a call: left alone for a while
    ELSEWHERE = "elsewhere"  # talks, and not from a queue


#: What an agent does next.
AGENT: Mapping[tuple[Doing, str], Doing] = {
    (Doing.IDLE, "offer"): Doing.OFFERED,
    (Doing.OFFERED, "take"): Doing.TALKING,
    # An offer whose time had passed is answered all the same: the telephone is the truth.
    (Doing.IDLE, "take"): Doing.TALKING,
    (Doing.DELAYED, "take"): Doing.TALKING,
    (Doing.WRAP_UP, "take"): Doing.TALKING,
    (Doing.ELSEWHERE, "take"): Doing.TALKING,
    (Doing.OFFERED, "miss"): Doing.DELAYED,
    (Doing.TALKING, "miss"): Doing.DELAYED,  # answered, and could not be joined
    (Doing.OFFERED, "withdraw"): Doing.IDLE,
    (Doing.TALKING, "withdraw"): Doing.IDLE,
    (Doing.TALKING, "hang_up"): Doing.WRAP_UP,
    (Doing.WRAP_UP, "rest"): Doing.IDLE,
    (Doing.DELAYED, "rest"): Doing.IDLE,
    (Doing.IDLE, "busy"): Doing.ELSEWHERE,
    (Doing.ELSEWHERE, "unbusy"): Doing.IDLE,
}

#: What an agent wants next.
DUTY: Mapping[tuple[Duty, str], Duty] = {
    (Duty.OUT, "log_in"): Duty.ON,
    (Duty.PAUSED, "log_in"): Duty.ON,
    (Duty.ON, "log_in"): Duty.ON,
    (Duty.ON, "log_out"): Duty.OUT,
    (Duty.PAUSED, "log_out"): Duty.OUT,
    (Duty.OUT, "log_out"): Duty.OUT,
    (Duty.ON, "pause"): Duty.PAUSED,
    (Duty.PAUSED, "pause"): Duty.PAUSED,  # for another reason
    (Duty.PAUSED, "resume"): Duty.ON,
    (Duty.ON, "resume"): Duty.ON,
}


class Standing(Enum):
    """How a caller stands in a queue."""

    WAITING = "waiting"  # the next free agent may be theirs
    OFFERED = "offered"
    STALLED = "stalled"  # nobody took up an offer for them: passed over until their owner enters them again
    GONE = "gone"


#: What becomes of a caller in a queue.  ``unoffer``: the last of their offers ended.
WAITING: Mapping[tuple[Standing, str], Standing] = {
    (Standing.GONE, "enter"): Standing.WAITING,
    (Standing.WAITING, "enter"): Standing.WAITING,
    (Standing.OFFERED, "enter"): Standing.OFFERED,
    (Standing.STALLED, "enter"): Standing.WAITING,
    (Standing.WAITING, "offer"): Standing.OFFERED,
    (Standing.OFFERED, "offer"): Standing.OFFERED,  # ring-all
    (Standing.OFFERED, "unoffer"): Standing.WAITING,
    (Standing.OFFERED, "stall"): Standing.STALLED,
    **{(standing, word): Standing.GONE for standing in Standing for word in ("take", "leave")},
}

#: What each strategy orders agents by, after their level; the lowest is asked first.
STRATEGIES: Mapping[str, str] = {
    "longest-idle": "idle",
    "ring-all": "idle",
    "round-robin": "asked",
    "fewest-calls": "calls",
    "least-talk-time": "talk",
    "in-order": "index",
    "random": "chance",
}
#: Those that are moments; the others are numbers, and between equals the one who has been free longest is asked.
MOMENTS = frozenset({"idle", "asked"})


# ------------------------------------------------------------------------------------------------- choosing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A free agent as one caller sees them.  ``idle`` and ``asked`` are milliseconds of Redis's clock: free since
    then, asked last then.  ``talk`` is seconds, ``calls`` and ``talk`` since the agent logged in.
    """

    agent: str
    level: int = 1
    index: int = 0
    idle: int = 0
    asked: int = 0
    calls: int = 0
    talk: int = 0

    @property
    def chance(self) -> int:
        """A number that looks random and is another one each time the agent gets free."""
        return int(hashlib.sha1(f"{self.agent} {self.idle}".encode(), usedforsecurity=False).hexdigest()[:4], 16)


@dataclass(frozen=True, slots=True)
class Head:
    """The first of a line of callers.  ``joined``: milliseconds of Redis's clock."""

    call: str
    queue: str
    priority: int
    joined: int


@dataclass(frozen=True, slots=True)
class AgentLook:
    """A free agent, and the first of each line that they may serve."""

    agent: str
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True)
class CallLook:
    """A caller without an agent, and the free agents who may serve them: the first of many.

    ``room``: how many more may be offered to them.
    """

    call: str
    queue: str
    strategy: str
    room: int
    agents: tuple[Candidate, ...]


def choose_caller(look: AgentLook) -> Head | None:
    """Whom the agent serves: of the highest priority, the caller who has waited longest."""
    return min(look.heads, key=lambda head: (-head.priority, head.joined, head.call), default=None)


def choose_agents(look: CallLook) -> tuple[str, ...]:
    """Who is asked for the caller: the first by level and strategy, as many as there is room for."""
    ordered = sorted(look.agents, key=lambda agent: standing(look.strategy, agent))
    return tuple(agent.agent for agent in ordered[: look.room])


def standing(strategy: str, agent: Candidate) -> tuple[int, int, int, str]:
    """Where an agent stands among the free ones: the lowest is asked first.  ``queues.lua`` keeps the same order."""
    by = STRATEGIES[strategy]
    value: int = getattr(agent, by)
    if by in MOMENTS:
        return agent.level, value, 0, agent.agent
    return agent.level, min(value, MOST_COUNTED), agent.idle // 1000, agent.agent


def need(skills: Iterable[str]) -> str:
    """Skills as one word, the same in whatever order they stand."""
    return "+".join(sorted(set(skills)))


def covers(has: str, wanted: str) -> bool:
    """Whether an agent who has these skills can serve a caller who needs those; both as :func:`need` writes them."""
    return set(filter(None, wanted.split("+"))) <= set(has.split("+"))


# ------------------------------------------------------------------------------------ what Redis is told of routing


def memberships(routing: Routing) -> dict[str, dict[str, Any]]:
    """Every agent of the company with their queues, as plain data for ``queues.lua``.  Durations in milliseconds."""
    found: dict[str, dict[str, Any]] = {}
    for queue in routing.queues.values():
        for index, agent in enumerate(queue.agents):
            entry = found.setdefault(agent.agent, {"queues": {}})
            entry["queues"][queue.name] = {
                "level": agent.level,
                "opens": round(queue.levels.get(agent.level, 0.0) * 1000),
                "by": STRATEGIES[queue.strategy],
                "strategy": queue.strategy,
                "index": index,
                "skills": need(agent.skills),
            }
    return found


def version_of(members: Mapping[str, Any]) -> str:
    """A name for memberships: the same for the same."""
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:16]


def openings(queue: Queue) -> tuple[float, ...]:
    """After how many seconds of waiting further agents of the queue may be asked, in order."""
    levels = {agent.level for agent in queue.agents}
    return tuple(sorted({seconds for level, seconds in queue.levels.items() if level in levels and seconds > 0}))


# ------------------------------------------------------------------------------------------------- why not


@dataclass(frozen=True, slots=True)
class Member:
    """An agent as people ask about them.  Times are seconds of Redis's clock; ``until`` 0: nothing ends by itself.

    ``queues``: queue -> ``(level, opens after so many seconds, skills)``.
    """

    agent: str
    duty: Duty
    doing: Doing
    since: float
    until: float = 0.0
    why: str = ""
    call: str = ""
    caller: str = ""
    queue: str = ""
    last: str = ""
    last_at: float = 0.0
    duty_since: float = 0.0
    queues: Mapping[str, tuple[int, float, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an agent was or was not rung: a word for programs, words for people, and the seconds in them if there are."""

    word: str
    text: str
    seconds: float | None = None


_MISSES = {
    "declined": "declined",
    "busy": "was busy",
    "no_answer": "did not answer",
    "unreachable": "not registered, or could not be reached",
}


def why_not(member: Member, *, call: str, queue: str, wanted: str, waited: float, now: float) -> Reason:
    """Why an agent is or is not rung for a caller who has ``waited`` so many seconds, as it stands ``now``."""
    level, opens, skills = member.queues.get(queue, (0, 0.0, ""))
    if queue not in member.queues:
        return Reason("not_in_queue", "is not in this queue any more")
    if member.doing is Doing.OFFERED and member.call == call:
        rings = max(0.0, now - member.since)
        return Reason("rings", f"rings now, {clock(rings)}", rings)
    if member.duty is Duty.OUT:
        return Reason("logged_out", "logged out" + _because(member.why))
    if member.duty is Duty.PAUSED:
        since = max(0.0, now - member.duty_since)
        return Reason("paused", f"paused for {clock(since)}{_because(member.why)}", since)
    missing = sorted(set(filter(None, wanted.split("+"))) - set(skills.split("+")))
    if missing:
        return Reason("skill", f"lacks the {'skill' if len(missing) == 1 else 'skills'} {', '.join(missing)}")
    if waited < opens:
        return Reason("level", f"level {level} opens in {clock(opens - waited)}", opens - waited)
    since, left = max(0.0, now - member.since), max(0.0, member.until - now)
    if member.doing is Doing.TALKING:
        whom = f" with {member.caller}" if member.caller else ""
        return Reason("talking", f"talking{whom} for {clock(since)} (queue {member.queue})", since)
    if member.doing is Doing.ELSEWHERE:
        return Reason("elsewhere", f"on another call for {clock(since)}", since)
    if member.doing is Doing.WRAP_UP:
        return Reason("wrap_up", f"wrap-up, {clock(left)} left", left)
    if member.doing is Doing.DELAYED:
        what = _MISSES.get(member.last, "did not take a call")
        return Reason(member.last or "delayed", f"{what} {clock(since)} ago, is asked again in {clock(left)}", left)
    if member.doing is Doing.OFFERED:
        return Reason("rings_other", f"rings for another caller, {clock(since)}", since)
    return Reason("free", "free: others are served first")


def _because(why: str) -> str:
    return f" ({why})" if why else ""


def clock(seconds: float) -> str:
    """A length of time that people watch: ``8 s``, ``2:05``, ``1:02:05``."""
    whole = max(0, int(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# --------------------------------------------------------------------------------------------------- for Lua


def lua() -> str:
    """The tables as a Lua program that begins ``queues.lua``."""
    lines = [_table("AGENT", AGENT), _table("DUTY", DUTY), _table("WAITING", WAITING)]
    moments = ", ".join(f"{word} = true" for word in sorted(MOMENTS))
    strategies = ", ".join(f"['{strategy}'] = '{by}'" for strategy, by in STRATEGIES.items())
    lines.append(f"local STRATEGIES = {{{strategies}}}")
    lines.append(f"local MOMENTS, MOST_COUNTED, MOST_TOGETHER = {{{moments}}}, {MOST_COUNTED}, {MOST_TOGETHER}")
    return "\n".join(lines) + "\n"


def _table(name: str, table: Mapping[tuple[Any, str], Any]) -> str:
    rows = ", ".join(f"['{state.value} {event}'] = '{to.value}'" for (state, event), to in table.items())
    return f"local {name} = {{{rows}}}"
