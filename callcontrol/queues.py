"""One process's part in the queues of all companies: says what its calls say, decides, wakes, and heals.

Callers' entries belong to the process that has their call; agents are nobody's.  Both live in Redis (``queueboard.py``)
and are changed there only; whoever changes something is handed looks, decides on them by ``queueing`` and claims what
was chosen.  It knows sessions by ``happened(event)``, and no step and no switch; what heals is in ``caretaker.py``.

What a call says goes out in the order it was said, each under an operation id of its own, and again under the same id
while Redis is away.  Nothing here polls: timers are local, wake-ups come by a list of this process's own, and one
process, by a lease, sweeps up after the dead.

Where the surprise lies:

* A talk is never kept waiting by Redis: an agent who has answered is the caller's after a second at most, and Redis
  hears of it when it can.  So the telephone may know better than Redis, and a claim that came between is withdrawn.
* When Redis has lost everything, talks are told again before callers enter again: else agents who talk would ring.
* A leg that ends before it was joined was no talk: whoever has the call says what it was, a miss mostly.  Only if
  nobody does, the agent has talked.  Else one whose telephone answers and drops were asked again at once, for ever.
* An offer that comes before our own entry was answered is kept until it is: the call would not know what it is for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import gevent
import structlog
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from callcontrol import messages as m
from callcontrol import queueing
from callcontrol.caretaker import Caretaker, House
from callcontrol.queueboard import DAMAGED, Answer, QueueBoard
from callcontrol.queueing import AgentLook, CallLook
from callcontrol.routing.model import Routing

#: How often Redis is asked again while it is away, seconds.
RETRY = 0.5
#: How often a process says that it lives, seconds.
BEAT = 2.0
#: How long a wake-up is waited for at a time, seconds.
LISTEN = 5.0
#: How long an agent who has answered may wait for Redis, seconds.
PATIENCE = 1.0
#: An offer that its caller's owner has ends by itself so long after the ringing should have, seconds: the time to be
#: asked for key 1, to be joined, and for a takeover.
MARGIN = 45.0
#: Refused claims after which the rest is left to the reconciler.
MOST_ROUNDS = 50
#: An operation that Redis does not do although it is there is given up after so many tries.
MOST_TRIES = 10
#: How long who began a talk has to tell its end before somebody else does, seconds.
LATE = 0.7
#: How long an end is remembered that somebody else should have told, seconds: the sweeper may have died with them.
HEARD = 8.0
#: How often the sweeper looks at what is due, and at the hours of duty, seconds.
SWEEP = 1.0
#: Talks that this process remembers to tell their ends, and to tell again if Redis loses them.
MOST_TALKS = 20_000
#: A timer that rang this much too early, by Redis's clock, is armed again, seconds.
EARLY = 1.0

#: What :meth:`Queues.perform` takes.
COMMANDS = (m.Enter, m.Miss, m.Take, m.Leave, m.AskPlace, m.SetDuty)


class Session(Protocol):
    """A live call, as the queues see it.  ``caller``: its number as people read it; ``extension``: the phone of the
    company's own that calls, or "".  ``moved``: the call is another connection's now, and neither over nor talking.
    """

    @property
    def id(self) -> str: ...
    @property
    def company(self) -> str: ...
    @property
    def switch(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def extension(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    @property
    def moved(self) -> bool: ...

    def happened(self, event: m.Event) -> None:
        """Give the call an event."""


@dataclass(slots=True, eq=False)
class _Caller:
    """A call of ours that stands in a queue, or is about to."""

    session: Session
    company: str
    call: str
    enter: m.Enter
    said: float  # monotonic: when the step said it
    joined: int = 0
    told: bool = False  # the call knows that it has entered
    pending: bool = False  # an entering is on its way to Redis
    sent: float = 0.0
    unenrolled: int = 0
    first: int = 0  # no offer may have a lower number
    staffed: str = ""
    levels: tuple[float, ...] = ()  # when further agents may be asked, as Redis was told
    offers: dict[int, str] = field(default_factory=dict)
    asked: tuple[int, ...] = ()  # those that there were when it was last entered
    early: list[tuple[int, str]] = field(default_factory=list)
    opens: Any = None


@dataclass(slots=True, eq=False)
class _Talk:
    """A talk from a queue that this process began."""

    session: Session
    company: str
    call: str
    take: m.Take
    switch: str
    caller: str
    stood: _Caller | None = None  # the entry that the talk ends, if it is still that
    told: bool = False
    pending: bool = False  # Redis has not heard of it yet
    joined: bool = False  # they talk
    over: bool = False  # the leg has ended
    timer: Any = None


@dataclass(slots=True, eq=False)
class _Saying:
    """Something to be said to Redis until it has done it.  ``say`` gets the operation's id."""

    op: str
    say: Callable[[str], Any]
    then: Callable[[Any], object]
    wanted: Callable[[], bool]
    crowd: str  # the company of which very many come at once, when Redis is back; "": it is none of such
    tries: int = 0


class Queues:
    """See the module.  ``process`` is unique among processes; nothing happens before :meth:`start`."""

    def __init__(self, board: QueueBoard, process: str, house: House) -> None:
        self._board = board
        self._process = process
        self._house = house
        self.caretaker = Caretaker(self, board, house)
        self._callers: dict[str, _Caller] = {}
        self._talks: dict[str, _Talk] = {}
        self._joining: dict[str, str] = {}  # call -> the leg that it is being joined with, as far as is known
        self._elsewhere: dict[str, tuple[str, str, str]] = {}  # uuid -> company, agent, switch
        #: Ends that somebody else should tell: when they were heard, company, agent, uuid.
        self._heard: deque[tuple[float, str, str, str]] = deque()
        self._sayings: dict[str, deque[_Saying]] = {}
        self._op = 0
        self._away = False
        self._back = Event()
        self._back.set()
        self._generation = ""
        self._beat_at = 0.0
        self._timers: dict[tuple[str, str], Any] = {}
        #: Company -> its agents, of those that have queues.
        self._agents: dict[str, frozenset[str]] = {}
        self._members: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {}
        #: Company -> queue -> after how many seconds further agents may be asked, as routing is now.
        self._levels: dict[str, dict[str, tuple[float, ...]]] = {}
        self._versions: dict[str, str] = {}
        self._enrolled: dict[str, tuple[str, float]] = {}
        self._enrolling = BoundedSemaphore(1)
        # Ten thousand who enter again at once would open as many connections, and keep everybody else waiting: at the
        # gate stand some of each company, whose others wait for their own.
        self._crowd, self._others = BoundedSemaphore(8), BoundedSemaphore(16)
        self._crowds: dict[str, BoundedSemaphore] = {}
        self._mended: set[str] = set()  # companies of which everything is being told again
        self._running: list[Any] = []
        self._log: Any = structlog.get_logger("queues")

    # ------------------------------------------------------------------------------------------- running

    def start(self) -> None:
        """Say that this process lives, hear what it is told, sweep."""
        loops = ((self._beat_or_ask, RETRY), (self._listen, 0.0), (self._sweep, SWEEP))
        self._running = [gevent.spawn(self._forever, work, pause) for work, pause in loops]

    def stop(self, seconds: float = 1.0) -> None:
        """Say what is still to be said, for so long at most.  Entries stay: their calls go to other processes."""
        deadline = time.monotonic() + seconds
        while self._sayings and not self._away and time.monotonic() < deadline:
            gevent.sleep(0.01)
        gevent.killall(self._running)
        self.caretaker.stop()
        for timer in [*self._timers.values(), *(caller.opens for caller in self._callers.values())]:
            _stop(timer)
        self._timers.clear()

    def _forever(self, work: Callable[[], object], pause: float) -> None:
        while True:
            try:
                work()
            except Exception:
                self._log.exception("the queues have a fault")
                gevent.sleep(RETRY)
            gevent.sleep(pause)

    @property
    def _idle(self) -> bool:
        """Whether nobody has queues: no company, and no call of one that had."""
        return not (self._agents or self._callers)

    def _beat_or_ask(self) -> None:
        if not self._idle and (self._away or time.monotonic() >= self._beat_at):
            self.beat()

    def _sweep(self) -> None:
        if not (self._idle or self._away):
            self.caretaker.sweep_if_ours()

    def beat(self) -> None:
        """Say that this process lives, and look whether Redis is there and has what it had."""
        self._beat_at = time.monotonic() + BEAT
        generation = self._board.beat(self._process)
        if generation is None:
            self._goes_away()
            return
        before, self._generation = self._generation, generation
        away, self._away = self._away, False
        lost = bool(before) and generation != before
        if lost:
            self._log.error("alarm", what="Redis has lost what it knew of the queues: it is told again")
        if lost or away:
            gevent.spawn(self._tell_again, self._everybody(), lost=lost)
        self._back.set()

    def _everybody(self) -> set[str]:
        """Companies that have queues, and those of which callers still wait."""
        return {*self._agents, *(caller.company for caller in self._callers.values())}

    def _goes_away(self) -> None:
        if not self._away:
            self._away = True
            self._back.clear()
            self._log.warning("no offers are made: Redis is away", waiting=len(self._callers))

    def _tell_again(self, companies: Collection[str], *, lost: bool) -> None:
        """After Redis was away, or lost data of these: who serves whom, who talks, and then who waits."""
        if lost:
            for company in companies:
                self._enrolled.pop(company, None)
                self.caretaker.forget_hours(company)
        for company in companies:
            self._enrol(company)
        for talk in list(self._talks.values()):
            if talk.company in companies and not talk.pending:
                self._say_take(talk)
        if lost:
            for uuid, (company, agent, switch) in list(self._elsewhere.items()):
                if company in companies:
                    self._say_busy(company, agent, uuid, switch)
            if self._callers:
                gevent.sleep(BEAT)  # other processes too tell first of those who talk
        for caller in list(self._callers.values()):
            if caller.company in companies:
                self._enter_again(caller)
        for company in companies:
            self.follow(company, self.ask(partial(self._board.settle, company)))

    def _tell_again_of(self, company: str) -> None:
        """Something that Redis kept of the company was damaged, and what could not be read is gone."""
        if company in self._agents and company not in self._mended:
            self._mended.add(company)
            try:
                self._tell_again([company], lost=True)
            finally:
                self._mended.discard(company)

    # ------------------------------------------------------------------------------- what calls say

    def perform(self, session: Session, command: m.Command) -> None:
        """Say what a call says to its queue, after all that it said before.  Never waits."""
        if isinstance(command, m.Enter):
            self._leave_here(session.id)
            self._callers[session.id] = caller = _Caller(
                session, session.company, session.id, command, time.monotonic()
            )
            caller.first, caller.offers = command.first, dict(command.rings)
            self._enter(caller)
        elif isinstance(command, m.Miss):
            self._miss(session, command)
        elif isinstance(command, m.Take):
            self._take(session, command)
        elif isinstance(command, m.Leave):
            self._leave_here(session.id)
            # What the call does now where it has moved to must not be undone from here.
            self._say_leave(session.company, session.id, wanted=lambda: not session.moved)
        elif isinstance(command, m.AskPlace):
            if self._away:
                session.happened(m.PlaceTold(0))
            else:
                gevent.spawn(self._tell_place, session)
        elif isinstance(command, m.SetDuty):
            if self._away:
                session.happened(m.DutySet(""))
            else:
                gevent.spawn(self._set_duty, session, command)
        else:
            raise TypeError(f"no queue can perform {command!r}")

    def forget(self, session: Session) -> None:
        """The session is over.  A call that ended stands in no queue; one that went elsewhere keeps its place."""
        caller = self._callers.get(session.id)
        if caller is None or caller.session is not session:
            return
        self._leave_here(session.id)
        if session.ended:
            self._say_leave(session.company, session.id)

    def leave(self, company: str, call: str) -> None:
        """A call that nobody owned has ended; it stood in a queue, or may have."""
        self._say_leave(company, call)

    def _say(
        self,
        line: str,
        say: Callable[[str], Any],
        then: Callable[[Any], object],
        *,
        wanted: Callable[[], bool] = lambda: True,
        op: str = "",
        crowd: str = "",
    ) -> None:
        """Say something to Redis after everything of the same ``line`` (a call, or an agent), until it is done."""
        if not op:
            self._op += 1
            op = f"{self._process}-{self._op}"
        saying = _Saying(op, say, then, wanted, crowd)
        known = self._sayings.get(line)
        if known is not None:
            known.append(saying)
            return
        self._sayings[line] = sayings = deque([saying])
        gevent.spawn(self._say_all, line, sayings)

    def _say_all(self, line: str, sayings: deque[_Saying]) -> None:
        while sayings:
            self._back.wait()
            saying = sayings[0]
            try:
                if saying.wanted() and not self._said(saying):
                    continue
            except Exception:
                self._log.exception("the queues have a fault", line=line)
            sayings.popleft()
        del self._sayings[line]

    def _said(self, saying: _Saying) -> bool:
        """Whether it needs to be said no more."""
        say = partial(saying.say, saying.op)
        if saying.crowd:
            with self._crowds.setdefault(saying.crowd, BoundedSemaphore(4)):
                answer = self.ask(say, gate=self._crowd)
        else:
            answer = self.ask(say)
        if answer is not None:
            saying.then(answer)
            return True
        saying.tries += 1
        if saying.tries < MOST_TRIES:
            return False
        self._log.error("alarm", what="Redis is there and refuses what a queue says", op=saying.op)
        return True

    def ask(self, question: Callable[[], Any], *, gate: BoundedSemaphore | None = None) -> Any:
        """The answer, or None: Redis is away.  ``gate``: who asks goes through this one."""
        with gate or self._others:
            answer = question()
        if answer is None:
            self._goes_away()
        return answer

    # ------------------------------------------------------------------------------------- entering

    def _enter(self, caller: _Caller) -> None:
        caller.pending = True
        self._say(
            caller.call,
            partial(self._say_enter, caller),
            partial(self._entered, caller),
            wanted=lambda: self._stands_here(caller),
            crowd=caller.company,
        )

    def _stands_here(self, caller: _Caller) -> bool:
        """Whether the call still stands, or wants to stand, where this entry says."""
        return self._callers.get(caller.call) is caller

    def _enter_again(self, caller: _Caller) -> None:
        if not caller.pending and self._stands_here(caller):
            caller.enter = replace(caller.enter, again=True)
            self._enter(caller)

    def _say_enter(self, caller: _Caller, op: str) -> Answer | None:
        if not self._is_enrolled(caller.company):
            return None
        caller.sent, caller.asked = time.monotonic(), tuple(caller.offers)
        caller.levels = self._openings(caller)
        command = replace(
            caller.enter,
            levels=caller.levels,
            joined=caller.joined or caller.enter.joined,
            waited=caller.enter.waited + caller.sent - caller.said,
            first=caller.first,
        )
        session = caller.session
        return self._board.enter(
            caller.company,
            caller.call,
            command,
            owner=self._process,
            switch=session.switch,
            caller=session.caller,
            op=op,
        )

    def _openings(self, caller: _Caller) -> tuple[float, ...]:
        """The agents are those of today, whatever version the call is on: so are the times at which they are asked."""
        return self._levels.get(caller.company, {}).get(caller.enter.queue, caller.enter.levels)

    def _entered(self, caller: _Caller, answer: Answer) -> None:
        caller.pending = False
        if self._stands_here(caller):
            if answer.done:
                self._stands(caller, answer.data)
            elif answer.data.get("unenrolled"):
                self._enrol_and_enter(caller)
            elif answer.why == DAMAGED:
                _stop(caller.opens)
                caller.opens = _timer(BEAT, self._enter_again, caller)
            else:
                self._leave_here(caller.call)
                caller.session.happened(m.NotEntered(str(answer.data.get("outcome") or "no_agents")))
        self.follow(caller.company, answer)

    def _stands(self, caller: _Caller, data: Mapping[str, Any]) -> None:
        """The caller stands in the queue: the call hears so once, and what has changed meanwhile each time."""
        joined = int(data["joined"])
        if not caller.told or joined != caller.joined:
            caller.joined = joined
            caller.session.happened(m.Entered(joined))
        staffed = str(data.get("staffed") or "")
        if staffed != caller.staffed or (caller.enter.again and not caller.told):
            caller.staffed = staffed
            caller.session.happened(m.Staffed(staffed))
        caller.told = True
        offers = {int(offer): agent for agent, offer in (data.get("offers") or {}).items()}
        early, caller.early = caller.early, []
        for offer in caller.asked:  # one that came since this was asked is not in the answer
            if offer not in offers:
                self._withdrawn(caller, offer)
        for offer, agent in sorted({**offers, **dict(early)}.items()):
            self._offered(caller, offer, agent)
        self._arm_opening(caller, float(data.get("opens") or 0.0))

    def _enrol_and_enter(self, caller: _Caller) -> None:
        """Redis does not know who serves the company: say so, and enter the caller again."""
        caller.unenrolled += 1
        if caller.unenrolled > MOST_TRIES:
            self._log.error("alarm", what="nobody can be enrolled: a caller waits for nobody", call=caller.call)
        elif self._enrol(caller.company, since=caller.sent):
            self._enter(caller)  # else Redis is away, and everybody enters again when it is back

    def _leave_here(self, call: str) -> None:
        """The call stands in no queue as far as this process is concerned."""
        caller = self._callers.pop(call, None)
        if caller is not None:
            timer, caller.opens = caller.opens, None
            _stop(timer)

    def _say_leave(self, company: str, call: str, wanted: Callable[[], bool] = lambda: True) -> None:
        say = partial(self._board.leave, company, call)
        self._say(call, lambda op: say(op=op), partial(self.follow, company), wanted=wanted)

    def _arm_opening(self, caller: _Caller, seconds: float) -> None:
        timer, caller.opens = caller.opens, None
        _stop(timer)
        if seconds > 0 and self._stands_here(caller):
            caller.opens = _timer(seconds, gevent.spawn, self._seek, caller)

    def _seek(self, caller: _Caller) -> None:
        """Agents of a further level may be asked for the caller."""
        if not self._stands_here(caller):
            return
        answer = self.ask(partial(self._board.seek, caller.company, caller.call))
        if answer is not None and not answer.done:  # out of the queue by a mistake
            self._enter_again(caller)
        elif answer is not None:
            self._arm_opening(caller, float(answer.data.get("opens") or 0.0))
        self.follow(caller.company, answer)

    def _tell_place(self, session: Session) -> None:
        place = self.ask(partial(self._board.place, session.company, session.id))
        session.happened(m.PlaceTold(place or 0))

    # -------------------------------------------------------------------------------------- offers, talks

    def _offered(self, caller: _Caller, offer: int, agent: str) -> None:
        """The agent is the caller's: from now the offer lasts as long as the ringing may."""
        if not self._stands_here(caller):
            return  # it ends by itself, soon
        if not caller.told:
            caller.early.append((offer, agent))
            return
        caller.offers[offer] = agent
        caller.first = max(caller.first, offer + 1)
        self._say(
            caller.call,
            lambda op: self._board.rung(caller.company, caller.call, agent, offer, caller.enter.ring + MARGIN),
            partial(self._rings, caller, offer),
            wanted=lambda: offer in caller.offers,
        )
        caller.session.happened(m.Offered(offer, agent))

    def _rings(self, caller: _Caller, offer: int, answer: Answer) -> None:
        self.follow(caller.company, answer)
        if not answer.done:
            self._withdrawn(caller, offer)

    def _withdrawn(self, caller: _Caller, offer: int) -> None:
        caller.early = [one for one in caller.early if one[0] != offer]
        if caller.offers.pop(offer, None) is not None and self._stands_here(caller):
            caller.session.happened(m.Withdrawn(offer))

    def _miss(self, session: Session, command: m.Miss) -> None:
        caller = self._callers.get(session.id)
        if caller is not None:
            caller.offers.pop(command.offer, None)
        leg = self._joining.get(session.id, "")
        talk = self._talks.get(leg)
        if talk is not None and talk.take.offer == command.offer:
            self._forget_talk(leg)
        company, call = session.company, session.id
        self._say(call, lambda op: self._board.miss(company, call, command, op=op), partial(self.follow, company))

    def _take(self, session: Session, command: m.Take) -> None:
        caller = self._callers.get(session.id)
        if caller is not None:
            caller.offers.pop(command.offer, None)  # whatever is said of the offer from now comes too late
        talk = _Talk(session, session.company, session.id, command, session.switch, session.caller, caller)
        self._remember(self._talks, command.leg, talk)
        self._remember(self._joining, session.id, command.leg)
        self._say_take(talk)
        if self._away:
            self._grant(talk, granted=True)
        else:
            talk.timer = _timer(PATIENCE, gevent.spawn, self._grant_unheard, talk)

    def _say_take(self, talk: _Talk) -> None:
        talk.pending = True
        self._say(
            talk.call,
            lambda op: self._board.take(
                talk.company, talk.call, talk.take, owner=self._process, switch=talk.switch, caller=talk.caller, op=op
            ),
            partial(self._taken, talk),
        )

    def _taken(self, talk: _Talk, answer: Answer) -> None:
        talk.pending = False
        self.follow(talk.company, answer)
        if not answer.done:
            goes_on = self._talks.get(talk.take.leg) is talk
            if goes_on:
                self._forget_talk(talk.take.leg)
            if talk.told:  # they talk all the same
                self._log.warning("an agent talks with two callers", agent=talk.take.agent, call=talk.call)
                if talk.call not in self._callers:
                    self._say_leave(talk.company, talk.call)
                if goes_on:
                    self._busy(talk.company, talk.take.agent, talk.take.leg, talk.switch)
        self._grant(talk, granted=answer.done)

    def _grant_unheard(self, talk: _Talk) -> None:
        self._log.warning("Redis does not answer: the agent is the caller's", agent=talk.take.agent, call=talk.call)
        self._grant(talk, granted=True)

    def _grant(self, talk: _Talk, *, granted: bool) -> None:
        timer, talk.timer = talk.timer, None
        _stop(timer)
        if talk.told:
            return
        talk.told = True
        # Whoever hung up meanwhile is not talked with, and the call has entered anew: that entry stays.
        if granted and talk.stood is not None and self._stands_here(talk.stood):
            self._leave_here(talk.call)
        talk.session.happened(m.Taken(talk.take.offer, granted))

    # ----------------------------------------------------------------------------- talks not from a queue

    def begins(self, session: Session) -> None:
        """A telephone of the company's own calls somebody: its person is no agent for anybody meanwhile."""
        self._busy(session.company, session.extension, session.id, session.switch)

    def talks(self, session: Session, leg: str, person: str) -> None:
        """A call and this leg, a telephone of ``person``'s, talk."""
        caller = self._callers.get(session.id)
        if caller is not None and caller.session is session:  # joined without a word, and refused as they were
            self._leave_here(session.id)
            self._say_leave(session.company, session.id)
        talk = self._talks.get(leg)
        if talk is None:
            self._busy(session.company, person, leg, session.switch)
            return
        talk.joined = True
        self._joining.pop(talk.call, None)
        if talk.over:
            self._talk_ends(leg)

    def _busy(self, company: str, agent: str, uuid: str, switch: str) -> None:
        if agent in self._agents.get(company, ()):
            self._remember(self._elsewhere, uuid, (company, agent, switch))
            self._say_busy(company, agent, uuid, switch)

    def _say_busy(self, company: str, agent: str, uuid: str, switch: str) -> None:
        self._say(
            f"{company}/{agent}",
            lambda op: self._board.busy(company, agent, uuid, switch, op=op),
            partial(self.follow, company),
            wanted=lambda: uuid in self._elsewhere,
        )

    @property
    def companies(self) -> Collection[str]:
        """Those that have queues, or had."""
        return self._agents

    def serves(self, company: str) -> bool:
        """Whether the company has queues: to know is cheap, for calls that have nothing to do with any."""
        return company in self._agents

    def ended(self, company: str, person: str, uuid: str, *, answered: bool) -> None:
        """A leg of this person's ("": nobody's that the switch knows), or a call of their telephone, has ended.

        Never waits.  Every process hears it: who began the talk says so at once, and for the dead whoever sweeps.
        """
        talk, elsewhere = self._talks.get(uuid), self._elsewhere.pop(uuid, None)
        if talk is not None:
            talk.over = True
            if talk.joined or talk.session.ended:
                self._talk_ends(uuid)
            else:
                _stop(self._timers.pop((talk.company, uuid), None))
                self._timers[talk.company, uuid] = _timer(LATE, self._talk_ends, uuid)
        elif elsewhere is not None:
            company, person, _ = elsewhere
            self._say_hang_up(f"{company}/{person}", company, person, uuid)
        elif answered and person in self._agents.get(company, ()):
            now = time.monotonic()
            self._heard.append((now, company, person, uuid))
            while now - self._heard[0][0] > HEARD:
                self._heard.popleft()
            if self.caretaker.sweeps:
                self._timers[company, uuid] = _timer(LATE, self._nobody_told, company, person, uuid)

    def talks_on(self, switch: str) -> list[tuple[str, str, str]]:
        """Company, person and leg of each talk on a switch whose end this process is to tell."""
        talks = [(talk.company, talk.take.agent, leg) for leg, talk in self._talks.items() if talk.switch == switch]
        others = self._elsewhere.items()
        return talks + [(company, agent, uuid) for uuid, (company, agent, its) in others if its == switch]

    def _talk_ends(self, leg: str) -> None:
        talk = self._forget_talk(leg)
        if talk is not None:
            self._say_hang_up(talk.call, talk.company, talk.take.agent, leg)

    def _forget_talk(self, leg: str) -> _Talk | None:
        talk = self._talks.pop(leg, None)
        if talk is not None:
            _stop(self._timers.pop((talk.company, leg), None))
            if self._joining.get(talk.call) == leg:
                del self._joining[talk.call]
        return talk

    def tell_heard(self) -> None:
        """Nobody swept for a while, and we do from now: what ended meanwhile is told."""
        for at, company, person, uuid in self._heard:
            if time.monotonic() - at <= HEARD and (company, uuid) not in self._timers:
                self._nobody_told(company, person, uuid)
        self._heard.clear()

    def _say_hang_up(self, line: str, company: str, agent: str, uuid: str) -> None:
        self._say(
            line,
            lambda op: self._board.hang_up(company, agent, uuid, op=op),
            partial(self.follow, company),
            op=f"end-{uuid}",
        )

    def _nobody_told(self, company: str, agent: str, uuid: str) -> None:
        """Tell an end on behalf of whoever should have; without an id, so that it is nothing if they have."""
        _stop(self._timers.pop((company, uuid), None))
        gevent.spawn(lambda: self.follow(company, self.ask(partial(self._board.hang_up, company, agent, uuid))))

    @staticmethod
    def _remember(known: dict[str, Any], key: str, value: Any) -> None:
        known[key] = value
        while len(known) > MOST_TALKS:  # their ends were never heard
            del known[next(iter(known))]

    # ------------------------------------------------------------------------------------------- deciding

    def follow(self, company: str, answer: Answer | None) -> None:
        """Do what an answer asks for: timers, and decisions."""
        if answer is None:
            return
        self._arm(company, answer.timers)
        if answer.agents or answer.calls:
            gevent.spawn(self.dispatch, company, answer)

    def dispatch(self, company: str, answer: Answer) -> None:
        """Decide on an answer's looks and claim what is chosen; what is refused comes back with newer looks."""
        looks: deque[AgentLook | CallLook] = deque((*answer.agents, *answer.calls))
        refused = 0
        while looks:
            for call, agent in _chosen(looks.popleft()):
                claimed = self.ask(partial(self._board.claim, company, call, agent))
                if claimed is None:
                    return  # when Redis is back, everything is looked at again
                self._arm(company, claimed.timers)
                looks.extend((*claimed.agents, *claimed.calls))
                if not claimed.done:
                    refused += 1
                    break
            if refused >= MOST_ROUNDS:
                self._log.warning("decisions are left to the reconciler", company=company, looks=len(looks))
                return

    def _arm(self, company: str, timers: Iterable[tuple[str, float]]) -> None:
        """Be there when something of an agent's ends."""
        for agent, seconds in timers:
            key = (company, agent)
            _stop(self._timers.pop(key, None))
            self._timers[key] = _timer(seconds, self._rings_out, key)

    def _rings_out(self, key: tuple[str, str]) -> None:
        _stop(self._timers.pop(key, None))
        gevent.spawn(self.rest, *key)

    def rest(self, company: str, agent: str) -> None:
        """Something of the agent's has ended, or somebody has been quicker."""
        answer = self.ask(partial(self._board.rest, company, agent))
        if answer is None:
            return
        if not answer.done:  # whoever moved the end has a timer for it; only our own clock may be a bit fast
            answer = replace(answer, timers=tuple(one for one in answer.timers if one[1] < EARLY))
        self.follow(company, answer)
        self.caretaker.ended(company, agent, answer)

    # ------------------------------------------------------------------------------------------ wake-ups

    def _listen(self) -> None:
        if self._idle:
            gevent.sleep(RETRY)
            return
        told = self._board.wake(self._process, LISTEN)
        if told is None:
            gevent.sleep(RETRY)
        for message in told or ():
            try:
                self.woken(message)
            except Exception:
                self._log.exception("a wake-up cannot be used", message=str(message)[:200])

    def woken(self, message: Mapping[str, Any]) -> None:
        """Take a wake-up.  One for a call that is not ours any more is nothing: its new owner has entered it again."""
        what = message["do"]
        if what == "mended":
            gevent.spawn(self._tell_again_of, str(message["company"]))
            return
        if what == "staff":
            staffed = str(message["staffed"])
            if staffed not in ("", "no_agents", "paused"):
                raise ValueError(staffed)
            for caller in [one for one in self._callers.values() if one.enter.queue == message["queue"]]:
                if caller.company == message["company"] and caller.told and caller.staffed != staffed:
                    caller.staffed = staffed
                    caller.session.happened(m.Staffed(staffed))
            return
        caller_or_none = self._callers.get(str(message["call"]))
        if caller_or_none is None:
            return
        if what == "offer":
            self._offered(caller_or_none, int(message["offer"]), str(message["agent"]))
        elif what == "gone":
            self._withdrawn(caller_or_none, int(message["offer"]))
        elif what == "again":
            self._enter_again(caller_or_none)

    # -------------------------------------------------------------------------------- who serves whom

    def take_up(self, routings: Iterable[Routing], pause: Callable[[], object] = lambda: None) -> None:
        """Know what routing says of queues now, and tell Redis of what has changed.  ``pause`` may let calls go on.

        ``routings`` are those of all companies: one that is not there has no queues any more.
        """
        changed, there = [], set()
        for routing in routings:
            company = routing.company
            there.add(company)
            if not (routing.queues or company in self._agents) or self._versions.get(company) == routing.version:
                continue
            self._know(company, routing)
            changed.append(company)
            pause()
        for company in [company for company, agents in self._agents.items() if agents and company not in there]:
            self._know(company, None)
            changed.append(company)
        if changed:
            gevent.spawn(self._enrol_all, changed)

    def _know(self, company: str, routing: Routing | None) -> None:
        """What is to be told of a company; None: it has gone."""
        self._versions[company] = routing.version if routing is not None else ""
        members = queueing.memberships(routing) if routing is not None else {}
        self._members[company] = (queueing.version_of(members), members)
        self._agents[company] = frozenset(members)
        queues = routing.queues.values() if routing is not None else ()
        self._levels[company] = {queue.name: queueing.openings(queue) for queue in queues}
        duties: dict[str, list[str]] = {}
        for agent in members:
            person = routing.people.get(agent) if routing is not None else None
            if person is not None and person.duty:
                duties.setdefault(person.duty, []).append(agent)
        self.caretaker.take_up(company, duties)

    def _enrol_all(self, companies: Iterable[str]) -> None:
        for company in companies:
            self._enrol(company)

    def _is_enrolled(self, company: str) -> bool:
        """Whether Redis knows of the company's queues as routing is just now, else it is told: a new queue must not
        refuse its first callers for having nobody.  False: Redis is away.
        """
        routing = self._house.current(company)
        if routing is not None and self._versions.get(company) != routing.version:
            self._know(company, routing)
        wanted, (known, _) = self._members.get(company, ("", {}))[0], self._enrolled.get(company, ("", 0.0))
        return known == wanted or self._enrol(company)

    def _enrol(self, company: str, *, since: float | None = None) -> bool:
        """Tell Redis who serves the company's queues.  False: it is away.

        ``since`` (monotonic): Redis said then that it does not know, so it is told again unless it was meanwhile.
        """
        with self._enrolling:
            version, members = self._members.get(company) or (queueing.version_of({}), {})
            known, at = self._enrolled.get(company, ("", 0.0))
            if known == version and (since is None or at >= since):
                return True
            on = self.caretaker.on_duty(company)
            agents = {agent: {**entry, "on": on[agent]} if agent in on else entry for agent, entry in members.items()}
            if self.ask(partial(self._board.enrol, company, version, agents)) is None:
                return False
            self._enrolled[company] = (version, time.monotonic())
        for caller in list(self._callers.values()):
            if caller.company == company and caller.told and caller.levels != self._openings(caller):
                self._enter_again(caller)
        self.follow(company, self.ask(partial(self._board.settle, company)))
        return True

    # ---------------------------------------------------------------------------------------- for people

    def _set_duty(self, session: Session, command: m.SetDuty) -> None:
        found = self.set_duty(session.company, command.agent, command.what, command.reason, session.extension)
        state = str(found["state"]) if found is not None else ""
        session.happened(m.DutySet(state if state in ("available", "paused", "logged_out") else ""))

    def set_duty(self, company: str, agent: str, what: str, reason: str, by: str) -> dict[str, Any] | None:
        """Log an agent in or out, pause or resume them: ``done``, ``why`` not, ``state`` afterwards.

        ``why`` is ``nobody`` (no agent of any queue) or ``not_now``.  None: Redis is away.
        """
        self._op += 1
        say = partial(self._board.duty, company, agent, what, reason=reason, by=by, op=f"{self._process}-{self._op}")
        answer = self.ask(say) or self.ask(say)  # the first may have done it; the id makes it one
        if answer is None:
            return None
        self.follow(company, answer)
        return {"done": answer.done, "why": answer.why, "state": str(answer.data.get("state") or "")}

    def look(self, company: str, queue: str = "") -> Mapping[str, Any] | None:
        """Everything about a company's queues, or one of them, as Redis keeps it.  None: it is away."""
        found: Mapping[str, Any] | None = self.ask(partial(self._board.look, company, queue))
        return found


# -------------------------------------------------------------------------------------------------- small things


def _chosen(look: AgentLook | CallLook) -> list[tuple[str, str]]:
    """Who is to be claimed for whom: call and agent."""
    if isinstance(look, AgentLook):
        head = queueing.choose_caller(look)
        return [(head.call, look.agent)] if head is not None else []
    return [(look.call, agent) for agent in queueing.choose_agents(look)]


def _timer(seconds: float, work: Callable[..., object], *arguments: Any) -> Any:
    timer = gevent.get_hub().loop.timer(max(0.0, seconds))
    timer.start(work, *arguments)
    return timer


def _stop(timer: Any) -> None:
    if timer is not None:
        timer.stop()
        timer.close()
