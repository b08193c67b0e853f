"""Queues as they stand in Redis: each transition one run of ``queues.lua``, its answer typed.

The only user of that script, and of the keys that it names.  It decides nothing: whoever asked is handed looks
(:class:`AgentLook`, :class:`CallLook`) and decides by ``queueing``.  None always means that Redis is away, and may or
may not have done it: an operation that would do harm if done twice has an id, and is asked again under the same.

The surprise: what is kept may be damaged.  Who meets it has it mended, is heard about it, and asks again; that it is
one company's never keeps those of another waiting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import structlog

from callcontrol import queueing
from callcontrol.messages import Enter, Miss, Take
from callcontrol.queueing import AgentLook, CallLook, Candidate, Head
from callcontrol.switchboard import ScriptFault, Switchboard

#: The script, behind the tables that it performs.
_HERE = Path(__file__).parent
SCRIPT = queueing.lua() + (_HERE / "queues.lua").read_text(encoding="utf-8").replace(
    "-- <queues_damage.lua>", (_HERE / "queues_damage.lua").read_text(encoding="utf-8")
)
#: Wake-ups that are read at a time.
MOST_WAKES = 200
#: How often an alarm of one kind is given at most, seconds.
ALARM = 10.0
#: Why something was not done although Redis is there: what it keeps is damaged, and could not be mended.
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation did.

    ``done``: else it came too late, and ``why`` says for what.  ``data``: what the operation answers besides.
    ``agents``, ``calls``: on whom to decide now.  ``timers``: agents of whose state something ends in so many seconds.
    """

    done: bool
    why: str
    data: Mapping[str, Any]
    agents: tuple[AgentLook, ...] = ()
    calls: tuple[CallLook, ...] = ()
    timers: tuple[tuple[str, float], ...] = ()


class QueueBoard:
    """One process's way to the queues of all companies.  ``script``: another text than ours, for tests."""

    def __init__(self, board: Switchboard, *, script: str = SCRIPT) -> None:
        self._board = board
        self._run = board.script(script)
        self._waiting: Any = None
        self._alarmed: dict[tuple[str, str], float] = {}
        self._log: Any = structlog.get_logger("queues")

    @property
    def available(self) -> bool:
        """Whether Redis did what it was last asked."""
        return self._board.available

    # -------------------------------------------------------------------------------------------- callers

    def enter(
        self, company: str, call: str, command: Enter, *, owner: str, switch: str, caller: str, op: str
    ) -> Answer | None:
        """Put a caller into a queue, or take over one who stands there.

        ``data``: ``joined`` (ms), ``offers`` (agent -> number) that are theirs already, ``opens`` (seconds until agents
        of a further level may be asked, 0: never), ``staffed``; not done: ``outcome`` (full, no_agents, paused), or
        ``unenrolled`` (the company's memberships are not known: enrol, and ask again).
        """
        return self.do(
            "enter",
            company,
            op,
            call=call,
            queue=command.queue,
            priority=command.priority,
            need=queueing.need(command.skills),
            joined=command.joined,
            waited=round(command.waited * 1000),
            first=command.first,
            most=command.most if command.most is not None else False,
            levels=list(command.levels),
            together=command.together,
            patience=command.patience,
            again=command.again,
            owner=owner,
            switch=switch,
            caller=caller,
        )

    def seek(self, company: str, call: str) -> Answer | None:
        """Look for an agent again: those of a further level may be asked.  ``data``: ``opens``."""
        return self.do("seek", company, call=call)

    def leave(self, company: str, call: str, *, op: str = "") -> Answer | None:
        """The caller stands in no queue any more; their offers end."""
        return self.do("leave", company, op, call=call)

    def remind(self, company: str, call: str) -> Answer | None:
        """Wake the owner of a caller who is passed over: they enter the caller again, if they still have it."""
        return self.do("remind", company, call=call)

    def place(self, company: str, call: str) -> int | None:
        """The caller's place in the queue, from 1; 0: in none."""
        answer = self.do("place", company, call=call)
        return None if answer is None else int(answer.data.get("place", 0))

    # --------------------------------------------------------------------------------------------- offers

    def claim(self, company: str, call: str, agent: str) -> Answer | None:
        """Reserve a free agent for a caller.  ``data``: ``offer``, its number; not done: it is stale, look again."""
        return self.do("claim", company, call=call, agent=agent)

    def rung(self, company: str, call: str, agent: str, offer: int, seconds: float) -> Answer | None:
        """The caller's owner has the offer, and it ends by itself after ``seconds``."""
        return self.do("rung", company, call=call, agent=agent, offer=offer, seconds=round(seconds * 1000))

    def miss(self, company: str, call: str, command: Miss, *, op: str = "") -> Answer | None:
        """The offer led to nothing."""
        return self.do(
            "miss",
            company,
            op,
            call=call,
            agent=command.agent,
            offer=command.offer,
            result=command.result,
            delay=round(command.delay * 1000),
            pause_after=command.pause_after if command.pause_after is not None else False,
        )

    def take(
        self, company: str, call: str, command: Take, *, switch: str, caller: str = "", owner: str = "", op: str = ""
    ) -> Answer | None:
        """The agent talks with the caller from now.  Not done: they talk with somebody else.

        If the caller is not ``owner``'s by now, it came late: their owner is woken, and may enter them again.
        """
        return self.do(
            "take",
            company,
            op,
            call=call,
            agent=command.agent,
            offer=command.offer,
            leg=command.leg,
            wrap_up=round(command.wrap_up * 1000),
            switch=switch,
            caller=caller,
            owner=owner,
        )

    # --------------------------------------------------------------------------------------------- agents

    def duty(
        self,
        company: str,
        agent: str,
        what: str,
        *,
        reason: str = "",
        by: str = "",
        hours: bool | None = None,
        op: str = "",
    ) -> Answer | None:
        """Log in or out, pause, resume.  ``data``: ``state`` afterwards; not done: ``nobody``, or ``not_now``.

        ``hours``: it is done because the hours of their duty began (True) or ended.
        """
        more = {} if hours is None else {"hours": hours}
        return self.do("duty", company, op, agent=agent, what=what, reason=reason[:100], by=by[:100], **more)

    def hang_up(self, company: str, agent: str, uuid: str, *, op: str = "") -> Answer | None:
        """A leg of the agent's, or a call of their telephone, has ended."""
        return self.do("hang_up", company, op, agent=agent, uuid=uuid)

    def busy(self, company: str, agent: str, uuid: str, switch: str, *, op: str = "") -> Answer | None:
        """The agent talks, and not from a queue, until ``uuid`` hangs up."""
        return self.do("busy", company, op, agent=agent, uuid=uuid, switch=switch)

    def rest(self, company: str, agent: str) -> Answer | None:
        """Something of the agent's is due: the end of wrap-up, of a delay, of a lease.

        ``data``: ``ask`` (``uuid``, ``switch``): the lease of a talk ended, look whether it still goes on; ``expired``
        (``call``, ``taken_up``): an offer's lease ended.
        """
        return self.do("rest", company, agent=agent)

    def keep(self, company: str, agent: str, uuid: str) -> Answer | None:
        """The talk on this leg still goes on."""
        return self.do("keep", company, agent=agent, uuid=uuid)

    def enrol(self, company: str, version: str, agents: Mapping[str, Mapping[str, Any]]) -> Answer | None:
        """Who serves which queue: ``queueing.memberships``, each with ``on`` if hours say whether they are on duty.

        Agents who are new are logged in, unless ``on`` is False.  Nobody's state changes; ``settle`` afterwards.
        """
        return self.do("enrol", company, version=version, agents=agents)

    # ----------------------------------------------------------------------------------------- the whole

    def due(self) -> list[tuple[str, str]] | None:
        """(company, agent) of whom something has ended."""
        answer = self.do("due", "")
        if answer is None:
            return None
        return [(company, agent) for company, _, agent in (one.partition("/") for one in answer.data.get("due") or ())]

    def settle(self, company: str) -> Answer | None:
        """Looks of free agents who could serve somebody who waits: in good order there are none."""
        return self.do("settle", company)

    def held(self, company: str) -> Mapping[str, Any] | None:
        """``held``: agents who are offered, talk, or are busy elsewhere; ``waiting``: callers, with their owners.

        Gathered page by page, so that nobody waits for it: what changes meanwhile may be told as it was or as it is.
        """
        held, waiting = (self._all("held", company, part=part) for part in ("agents", "callers"))
        return None if held is None or waiting is None else {"held": held["found"], "waiting": waiting["found"]}

    def look(self, company: str, queue: str = "") -> Mapping[str, Any] | None:
        """``members``, ``waiting``, ``queues`` as they are kept, and ``now`` (s), for people; page by page too.

        All times in it are of the queues' own clock, which may be ahead of the machine's: only differences say much.
        """
        members, waiting = (self._all("look", company, part=part, queue=queue) for part in ("agents", "callers"))
        if members is None or waiting is None:
            return None
        return {
            "members": members["found"],
            "waiting": waiting["found"],
            "queues": waiting.get("queues") or {},
            "now": waiting.get("now", 0.0),
        }

    def _all(self, what: str, company: str, **arguments: Any) -> dict[str, Any] | None:
        """Every page of an answer; ``found`` is a list of what was found."""
        found: dict[str, Any] = {}
        page = "0"
        while True:
            answer = self.do(what, company, **arguments, **{"from": page})
            if answer is None:
                return None
            found.update(answer.data.get("found") or {})
            page = str(answer.data.get("from", "0"))
            if page == "0":
                return {**answer.data, "found": list(found.values())}

    def companies(self) -> list[str] | None:
        """The companies that have, or had, agents."""
        answer = self.do("companies", "")
        return None if answer is None else list(answer.data.get("companies") or ())

    def beat(self, process: str) -> str | None:
        """The process lives.  A name that is another one when everything in Redis was lost."""
        answer = self.do("beat", "", process=process)
        return None if answer is None else str(answer.data.get("generation", ""))

    def wake(self, process: str, seconds: float) -> list[dict[str, Any]] | None:
        """Wait for wake-ups of this process, ``seconds`` at most; none: an empty list.  Blocks its greenlet."""
        if self._waiting is None:
            self._waiting = self._board.waiting(seconds)
        try:
            answer = self._waiting.blmpop(seconds, 1, f"cordboard:wake:{process}", direction="LEFT", count=MOST_WAKES)
        except redis.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                return None
            self._log.error("alarm", what="wake-ups cannot be read: they are no list", process=process)
            self._board.delete(f"cordboard:wake:{process}")
            return []
        except (redis.RedisError, OSError):
            return None
        return [message for raw in (answer[1] if answer else ()) if (message := self._message(raw)) is not None]

    def _message(self, raw: bytes) -> dict[str, Any] | None:
        """A wake-up, if it is one: the others of the same reading are not lost with it."""
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            return message
        self._log.warning("something that is no wake-up was dropped", bytes=len(raw))
        return None

    def do(self, what: str, company: str, op: str = "", /, **arguments: Any) -> Answer | None:
        """Run the script.  What is no text (half a surrogate, of a name or a reason) is none in Redis either.

        If it meets what is damaged, that is mended; if that does not help, nothing is done, because of :data:`DAMAGED`.
        """
        given = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        try:
            return self._once([what, op, company, given])
        except _UNREADABLE as fault:
            self._mend(company, op, fault)
        try:
            return self._once([what, op, company, given])
        except _UNREADABLE as fault:
            self._alarm("what is kept of queues is damaged and cannot be mended", company, error=_short(fault))
            return Answer(False, DAMAGED, {})

    def _once(self, arguments: list[Any]) -> Answer | None:
        text = self._run(arguments)
        return None if text is None else _answer(json.loads(text.decode("utf-8", "replace")))

    def _mend(self, company: str, op: str, fault: Exception) -> None:
        try:
            mended = self._once(["mend", "", company, json.dumps({"operation": op})])
        except _UNREADABLE as another:
            self._alarm("what is kept of queues cannot be mended", company, error=_short(another))
            return
        if mended is not None:
            gone = [str(one)[:100] for one in mended.data.get("gone") or ()]
            self._alarm("what is kept of queues was damaged, and was mended", company, error=_short(fault), gone=gone)

    def _alarm(self, what: str, company: str, **more: Any) -> None:
        """Give an alarm, of one kind and company once in :data:`ALARM` seconds."""
        now = time.monotonic()
        if now - self._alarmed.get((what, company), float("-inf")) >= ALARM:
            self._alarmed[what, company] = now
            self._log.error("alarm", what=what, company=company, **more)


#: What comes of damage: the script stops, or its answer is none.
_UNREADABLE = (ScriptFault, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def _short(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"[:200]


def _answer(data: dict[str, Any]) -> Answer:
    return Answer(
        bool(data.pop("done")),
        str(data.pop("why")),
        data,
        tuple(AgentLook(agent, tuple(Head(*head) for head in heads)) for agent, heads in _list(data.pop("agents"))),
        tuple(
            CallLook(call, queue, strategy, room, tuple(Candidate(*agent) for agent in agents))
            for call, queue, strategy, room, agents in _list(data.pop("calls"))
        ),
        tuple((agent, milliseconds / 1000) for agent, milliseconds in _list(data.pop("timers"))),
    )


def _list(value: Any) -> Sequence[Any]:
    """An empty table of Lua's is an empty object."""
    return value or ()
