"""What keeps queues from getting stuck: one process sweeps up after the dead, keeps hours of duty, reconciles.

Works for all processes, whichever has the lease.  It compares what Redis has reserved with what a switch says that
lives; what was wrong is repaired, and is never silent: it is counted, logged, a fact, and an alarm.

The surprise: nothing is wrong at the first look.  A channel is on the switch before Redis hears of it, and Redis hears
of its end a moment later; only what is wrong at two looks in a row is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import gevent
import structlog

from callcontrol import messages as m
from callcontrol import queueing, wire
from callcontrol.esl import EslError
from callcontrol.queueboard import Answer, QueueBoard
from callcontrol.routing.model import Routing
from callcontrol.state import State, StateError, decode
from callcontrol.view import leg_id

#: The sweeper's lease, and its length, seconds: it is renewed each second.
SWEEPER, SWEEPER_LEASE = "cordboard:queue-sweeper", 3.0
#: How long a free agent and a caller who could have them may take to be brought together, seconds.
SETTLING = 0.5
#: A talk that the reconciler sees is kept again after so long, seconds; its lease is ten minutes.
KEEP = 200.0
#: A switch that cannot be asked for so long has no talks any more, seconds.
UNASKED = 60.0
#: How often the sweeper looks for what is reserved on such switches, seconds.
ABSENT = 30.0
#: How a caller stands whose owner did not take up an offer.
STALLED = queueing.Standing.STALLED.value
#: An alarm of one kind is given so often at most, seconds.
ALARM = 60.0


class Line(Protocol):
    """The way to a switch, as it is seen here."""

    @property
    def name(self) -> str: ...
    @property
    def connected(self) -> bool: ...

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        """The reply's text; raises EslError."""


class House(Protocol):
    """What the process has besides queues: its switches, what is published, its leases and facts."""

    def line_named(self, switch: str) -> Line | None:
        """The way to a switch, if it is one of ours."""

    def current(self, company: str) -> Routing | None:
        """A company's routing as it is now."""

    def version(self, company: str, version: str) -> Routing | None:
        """A version of it; may pause."""

    def lease(self, name: str, seconds: float) -> bool:
        """Whether this process holds the lease now."""

    def release(self, name: str) -> object:
        """Give the lease back, if this process has it."""

    def tell(self, company: str, fact: m.Tell) -> None:
        """Write a fact that is no call's."""

    def now(self) -> float:
        """The calls' time: a UTC epoch."""


class Queues(Protocol):
    """What is asked of the queues' part of this process."""

    @property
    def companies(self) -> Collection[str]:
        """Those that have queues."""

    def ask(self, question: Callable[[], Any]) -> Any:
        """The answer, or None: Redis is away."""

    def follow(self, company: str, answer: Answer | None) -> None:
        """Do what an answer asks for."""

    def rest(self, company: str, agent: str) -> None:
        """Something of the agent's is due."""

    def tell_heard(self) -> None:
        """Tell the ends that were heard while nobody swept."""

    def talks_on(self, switch: str) -> Collection[tuple[str, str, str]]:
        """Company, person and leg of each talk on a switch whose end this process is to tell."""

    def ended(self, company: str, person: str, uuid: str, *, answered: bool) -> None:
        """A leg has ended."""


class Caretaker:
    """See the module."""

    def __init__(self, queues: Queues, board: QueueBoard, house: House) -> None:
        self._queues = queues
        self._board = board
        self._house = house
        #: How much was repaired, by kind: ``talk elsewhere offer entry taken unmatched``.
        self.repaired: Counter[str] = Counter()
        self._alarmed: dict[str, float] = {}
        #: Whether this process has the lease of the sweeper, as far as it knows.
        self.sweeps = False
        #: Company -> hours -> the agents whose duty they are.
        self._duties: dict[str, Mapping[str, Collection[str]]] = {}
        #: Company -> agent -> whether the hours of their duty are on, as Redis was told.
        self._hours: dict[str, dict[str, bool | None]] = {}
        self._suspects: dict[str, set[tuple[str, ...]]] = {}
        self._kept: dict[tuple[str, str, str], float] = {}
        self._unasked: dict[tuple[str, str, str], float] = {}
        #: Switch -> since when it is known that it cannot be asked (monotonic).
        self._absent: dict[str, float] = {}
        self._absent_at = 0.0  # when they are looked at next
        self._log: Any = structlog.get_logger("queues")

    def _say(self, company: str, question: Callable[[], Any]) -> Answer | None:
        answer: Answer | None = self._queues.ask(question)
        self._queues.follow(company, answer)
        return answer

    # --------------------------------------------------------------------------- sweeping, hours of duty

    def sweep_if_ours(self) -> None:
        """Sweep, and keep hours, if this process has the lease."""
        if self._house.lease(SWEEPER, SWEEPER_LEASE):
            if not self.sweeps:
                self.sweeps = True
                self._queues.tell_heard()
            self.sweep()
            self.keep_hours()
            if time.monotonic() >= self._absent_at:
                self._absent_at = time.monotonic() + ABSENT
                self.look_for_the_absent()
        elif self.sweeps:
            self.sweeps = False
            self._hours.clear()  # another keeps them meanwhile
            self._absent.clear()

    def stop(self) -> None:
        """Leave it to another process."""
        if self.sweeps:
            self.sweeps = False
            self._house.release(SWEEPER)

    def sweep(self) -> None:
        """End what was due: its process is dead, or not as quick."""
        for company, agent in self._queues.ask(self._board.due) or ():
            self._queues.rest(company, agent)

    def take_up(self, company: str, duties: Mapping[str, Collection[str]]) -> None:
        """Know whose duty a company's hours are; what Redis was told of them is asked again."""
        self._duties[company] = duties
        self._hours.pop(company, None)

    def forget_hours(self, company: str) -> None:
        """Redis has lost what it knew of the company."""
        self._hours.pop(company, None)

    def on_duty(self, company: str) -> dict[str, bool]:
        """Whether the hours of duty are on now, of every agent who has such."""
        found: dict[str, bool] = {}
        for name, agents in self._duties.get(company, {}).items():
            found |= dict.fromkeys(agents, self._on(company, name))
        return found

    def keep_hours(self) -> None:
        """Log agents in and out as the hours of their duty begin and end."""
        for company in [company for company, duties in self._duties.items() if duties]:
            known = self._hours.get(company)
            if known is None:
                found = self._queues.ask(partial(self._board.look, company))
                if found is None:
                    return
                known = {str(member["agent"]): member.get("hours") for member in found["members"] or ()}
                self._hours[company] = known
            for agent, on in self.on_duty(company).items():
                if known.get(agent) is not on:
                    what = "log_in" if on else "log_out"
                    say = partial(self._board.duty, company, agent, what, reason="hours", by="schedule", hours=on)
                    if self._say(company, say) is not None:
                        known[agent] = on

    def _on(self, company: str, name: str) -> bool:
        """Whether these hours, which have times (``check`` sees to it), are on now."""
        routing = self._house.current(company)
        hours = routing.hours.get(name) if routing is not None else None
        return hours is None or hours.is_on(self._house.now())

    # -------------------------------------------------------------------------------------------- leases

    def ended(self, company: str, agent: str, answer: Answer) -> None:
        """A lease ended, as ``QueueBoard.rest`` answered: whoever should have gone on with it has not."""
        if "expired" in answer.data:
            call = str(answer.data["expired"].get("call", ""))
            self._repair("offer", company, "an offer whose owner said nothing more", agent=agent, call=call)
        if "ask" in answer.data:
            self._ask_switch(company, agent, str(answer.data["ask"]["uuid"]), str(answer.data["ask"]["switch"]))

    def _ask_switch(self, company: str, agent: str, uuid: str, switch: str) -> None:
        """The lease of a talk ended: does it still go on?"""
        key, now = (company, agent, uuid), time.monotonic()
        line = self._house.line_named(switch)
        alive: bool | None = None
        if line is not None and line.connected:
            with suppress(EslError):
                alive = line.ask(wire.exists(uuid)).strip() == "true"
        if alive is None and now - self._unasked.setdefault(key, now) < UNASKED:
            return  # its lease was made a little longer, and we shall be asked again
        self._unasked.pop(key, None)
        if alive:
            self._say(company, partial(self._board.keep, company, agent, uuid))
        else:
            self._say(company, partial(self._board.hang_up, company, agent, uuid))
            self._repair("talk", company, "a talk whose end nobody heard", agent=agent)

    # ------------------------------------------------------------------------------------- reconciling

    def catch_up(self, line: Line) -> None:
        """A switch can be heard again: what ended unheard is told now, and not when Redis is told again of who talks.

        Raises EslError.
        """
        for company, person, uuid in self._queues.talks_on(line.name):
            if line.ask(wire.exists(uuid)).strip() == "false":
                self._queues.ended(company, person, uuid, answered=True)

    def look_for_the_absent(self) -> None:
        """Let go of what is reserved on switches that nobody can ask for long, or that have another name now.

        A caller whose owner still has them keeps their place; so does one who comes back, by when they joined.
        """
        for company in self._companies():
            held = self._queues.ask(partial(self._board.held, company))
            if held is None:
                return
            for one in held["held"] or ():
                for uuid, switch in (one["elsewhere"] or {}).items():
                    if self._is_absent(str(switch)):
                        self._gone_elsewhere(company, str(one["agent"]), uuid)
            for one in held["waiting"] or ():
                lost = not one["alive"] or one["standing"] == STALLED
                if lost and self._is_absent(str(one["switch"])):
                    self._leave(company, str(one["call"]), "a caller on a switch that nobody can ask")

    def _is_absent(self, switch: str) -> bool:
        line, now = self._house.line_named(switch), time.monotonic()
        if line is not None and line.connected:
            self._absent.pop(switch, None)
            return False
        return now - self._absent.setdefault(switch, now) >= UNASKED

    def _companies(self) -> list[str]:
        """Those that have queues, and those that had: calls of theirs may still wait."""
        return sorted({*self._queues.companies, *(self._queues.ask(self._board.companies) or ())})

    def reconcile(self, line: Line, alive: Collection[str], *, certain: bool = False) -> None:
        """Compare what is reserved on a switch with the channels that are ``alive`` there, and repair what is wrong.

        Each thing at the second look, unless it is ``certain`` that nothing older lives, since the switch was started
        anew: then what it does not know even now is gone.  Raises EslError.
        """
        before = self._suspects.get(line.name, set())
        suspects: set[tuple[str, ...]] = set()

        def seen(*what: str) -> bool:
            """Whether it was so at the last look; else it is a suspect for the next."""
            if what in before or (certain and line.ask(wire.exists(what[-1])).strip() == "false"):
                return True
            suspects.add(what)
            return False

        now = time.monotonic()
        self._kept = {key: at for key, at in self._kept.items() if now - at < 3 * KEEP}
        for company in self._companies():
            held = self._queues.ask(partial(self._board.held, company))
            if held is None:
                return
            waiting = {str(one["call"]): one for one in held["waiting"] or () if one["switch"] == line.name}
            for one in held["held"] or ():
                if one["switch"] == line.name:
                    self._compare(company, one, alive, waiting, seen)
                self._compare_elsewhere(company, one, line.name, alive, seen)
            for call, one in waiting.items():
                if call not in alive:
                    if seen("entry", company, call):
                        self._leave(company, call, "a caller who is gone")
                elif not one["alive"] and seen("orphan", company, call):
                    self._take_on_behalf(company, call, line, alive)
                elif one["alive"] and one["standing"] == STALLED and seen("stalled", company, call):
                    self._say(company, partial(self._board.remind, company, call))
            if held["waiting"]:
                gevent.spawn(self.settle, company)
        self._suspects[line.name] = suspects

    def _compare(
        self,
        company: str,
        one: Mapping[str, Any],
        alive: Collection[str],
        waiting: Collection[str],
        seen: Callable[..., bool],
    ) -> None:
        agent, leg, call = str(one["agent"]), str(one["leg"]), str(one["call"])
        if one["doing"] == "talking" and leg in alive:
            key, now = (company, agent, leg), time.monotonic()
            if now - self._kept.get(key, float("-inf")) >= KEEP:
                self._kept[key] = now
                self._say(company, partial(self._board.keep, company, agent, leg))
        elif one["doing"] == "talking" and seen("talk", company, agent, leg):
            self._say(company, partial(self._board.hang_up, company, agent, leg))
            self._repair("talk", company, "a talk whose leg is gone", agent=agent, call=call)
        elif one["doing"] == "offered" and call not in waiting and seen("offer", company, agent, call):
            lost = m.Miss(int(one["offer"]), agent, "lost")
            self._say(company, partial(self._board.miss, company, call, lost))
            self._repair("offer", company, "an offer to a caller who does not wait", agent=agent, call=call)

    def _compare_elsewhere(
        self, company: str, one: Mapping[str, Any], switch: str, alive: Collection[str], seen: Callable[..., bool]
    ) -> None:
        agent = str(one["agent"])
        for uuid, its in (one["elsewhere"] or {}).items():
            if its == switch and uuid not in alive and seen("elsewhere", company, agent, uuid):
                self._gone_elsewhere(company, agent, uuid)

    def _gone_elsewhere(self, company: str, agent: str, uuid: str) -> None:
        self._say(company, partial(self._board.hang_up, company, agent, uuid))
        self._repair("elsewhere", company, "a call of an agent's that is gone", agent=agent)

    def _leave(self, company: str, call: str, wrong: str) -> None:
        self._say(company, partial(self._board.leave, company, call))
        self._repair("entry", company, wrong, call=call)

    def _take_on_behalf(self, company: str, call: str, line: Line, alive: Collection[str]) -> None:
        """A caller whose owner is dead waits in Redis: if they talk, the owner died before it could say so."""
        try:
            state = decode(line.ask(wire.getvar(call, "cordboard_state")).strip())
        except StateError:
            return
        if state.talk is None:
            return
        leg = leg_id(call, state.talk[2], state.talk[0])
        if leg not in alive:
            return
        routing = self._house.version(state.company, state.version)
        wrap_up = _wrap_up(routing, state)
        agent = routing.person_at(state.talk[0]) if routing is not None else ""
        if wrap_up is None or not agent:
            self._leave(company, call, "a caller who talks with somebody else")
            return
        take = m.Take(state.talk[2], agent, leg, wrap_up)
        self._say(company, partial(self._board.take, company, call, take, switch=line.name, op=f"behalf-{leg}"))
        self._repair("taken", company, "a talk that nobody told of", agent=agent, call=call)

    def settle(self, company: str) -> None:
        """Nobody waits while an agent who could serve them is free: what is still so after a moment is repaired."""
        first = self._queues.ask(partial(self._board.settle, company))
        if first is None or not first.agents:
            return
        gevent.sleep(SETTLING)
        answer = self._queues.ask(partial(self._board.settle, company))
        if answer is None:
            return
        for agent, call in sorted(_pairs(answer) & _pairs(first)):
            self._repair("unmatched", company, "a free agent and a caller", agent=agent, call=call)
        self._queues.follow(company, answer)

    def _repair(self, kind: str, company: str, wrong: str, *, agent: str = "", call: str = "") -> None:
        """Something was wrong, and is not any more: it is counted, told and an alarm."""
        self.repaired[kind] += 1
        whose = {key: value for key, value in (("agent", agent), ("call", call)) if value}
        self._log.warning("a queue was repaired", what=kind, wrong=wrong, company=company, **whose)
        self._house.tell(company, m.Tell("queue.repaired", {"what": kind, **whose}))
        now = time.monotonic()
        if now - self._alarmed.get(kind, float("-inf")) >= ALARM:
            self._alarmed[kind] = now
            count = self.repaired[kind]
            self._log.error("alarm", what=f"queues were repaired: {wrong}", company=company, repaired=count)


def _wrap_up(routing: Routing | None, state: State) -> float | None:
    """The wrap-up of the queue in whose step a call is; None: it is in no such step."""
    step = routing.step(state.flow, state.step) if routing is not None else None
    if routing is None or step is None or step.verb != "queue":
        return None
    queue = routing.queues.get(str(step.values.get("queue")))
    return queue.wrap_up if queue is not None else 0.0


def _pairs(answer: Answer) -> set[tuple[str, str]]:
    """Each free agent of the looks, and whom they would serve."""
    heads = ((look.agent, queueing.choose_caller(look)) for look in answer.agents)
    return {(agent, head.call) for agent, head in heads if head is not None}
