"""The queues' part of a process with everything around it made of straw: Redis, calls, switches, timers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.event

from callcontrol import messages as m
from callcontrol.queueboard import Answer
from callcontrol.queueing import AgentLook, CallLook, Head
from callcontrol.queues import Queues
from callcontrol.routing.model import Routing
from tests.playbook import CALL, routing

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951234567": {flow: main}
people:
  301: {name: Anna, phones: ["+79161112233"], duty: office}
  302: {name: Boris}
  303: {name: Chiara}
hours:
  office: {mon-fri: 09:00-18:00}
queues:
  sales: {agents: [301, 302], wrap_up: 7s}
"""
FLOWS = "main:\n  wait: {queue: sales, otherwise: hangup}\n"
OTHER = "5b1c1f54-0000-4000-8000-000000000001"
LEG = "9bf7699a-1414-5890-abf7-3afd13f1f95a"
#: By Redis's clock, milliseconds.
JOINED = 1795304552123


def enter(
    queue: str = "sales",
    first: int = 1,
    waited: float = 0.0,
    again: bool = False,
    joined: int = 0,
    rings: tuple[tuple[int, str], ...] = (),
) -> m.Enter:
    return m.Enter(queue, 0, (), joined, waited, first, 20.0, again=again, rings=rings)


def answer(
    done: bool = True,
    *,
    agents: tuple[AgentLook, ...] = (),
    calls: tuple[CallLook, ...] = (),
    timers: tuple[tuple[str, float], ...] = (),
    **data: Any,
) -> Answer:
    return Answer(done, "" if done else "too late", data, agents, calls, timers)


def look(agent: str, *calls: str) -> AgentLook:
    """An agent who is free, and who waits for them, the first first."""
    return AgentLook(agent, tuple(Head(call, "sales", 0, JOINED + n) for n, call in enumerate(calls)))


def quiet() -> None:
    """Everything that can go on without a clock has gone on."""
    for _ in range(50):
        gevent.sleep(0)


class Board:
    """Redis as the queues see it: keeps what is asked, answers what it is told to, and may be away."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.ops: list[str] = []
        self.away = False
        self.generation = "one"
        #: What is asked -> the answers to it, in order; the last stays.
        self.answers: dict[str, list[Any]] = {
            "enter": [answer(joined=JOINED, offers={}, opens=0, staffed="")],
            "due": [[]],
            "companies": [["test"]],
            "held": [{"held": [], "waiting": []}],
            "place": [3],
            "look": [{"members": {}}],
        }
        #: What is asked -> must be set before it is answered.
        self.gates: dict[str, gevent.event.Event] = {}

    def _do(self, what: str, given: Any, op: str = "") -> Any:
        self.asked.append((what, given))
        self.ops.append(op)
        if what in self.gates:
            assert self.gates[what].wait(5)
        if self.away:
            return None
        answers = self.answers.get(what, [answer()])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def told(self, *kinds: str) -> list[Any]:
        """What was asked of these kinds."""
        return [given for what, given in self.asked if what in kinds]

    @property
    def words(self) -> list[str]:
        """What was asked that changes something, in order."""
        return [
            what
            for what, _ in self.asked
            if what not in ("beat", "settle", "enrol", "held", "due", "look", "companies")
        ]

    def beat(self, process: str) -> str | None:
        self.asked.append(("beat", process))
        return None if self.away else self.generation

    def enter(self, company: str, call: str, command: m.Enter, **more: str) -> Any:
        return self._do("enter", (call, command, more["owner"], more["switch"], more["caller"]), more["op"])

    def seek(self, company: str, call: str) -> Any:
        return self._do("seek", call)

    def leave(self, company: str, call: str, *, op: str = "") -> Any:
        return self._do("leave", call, op)

    def place(self, company: str, call: str) -> Any:
        return self._do("place", call)

    def claim(self, company: str, call: str, agent: str) -> Any:
        return self._do("claim", (call, agent))

    def remind(self, company: str, call: str) -> Any:
        return self._do("remind", call)

    def companies(self) -> Any:
        return self._do("companies", "")

    def rung(self, company: str, call: str, agent: str, offer: int, seconds: float) -> Any:
        return self._do("rung", (call, agent, offer, seconds))

    def miss(self, company: str, call: str, command: m.Miss, *, op: str = "") -> Any:
        return self._do("miss", (call, command), op)

    def take(self, company: str, call: str, command: m.Take, *, switch: str, op: str = "", **more: str) -> Any:
        return self._do("take", (call, command, switch), op)

    def duty(self, company: str, agent: str, what: str, **more: Any) -> Any:
        return self._do(
            "duty", (agent, what, more.get("reason"), more.get("by"), more.get("hours")), more.get("op", "")
        )

    def hang_up(self, company: str, agent: str, uuid: str, *, op: str = "") -> Any:
        return self._do("hang_up", (agent, uuid), op)

    def busy(self, company: str, agent: str, uuid: str, switch: str, *, op: str = "") -> Any:
        return self._do("busy", (agent, uuid), op)

    def rest(self, company: str, agent: str) -> Any:
        return self._do("rest", agent)

    def keep(self, company: str, agent: str, uuid: str) -> Any:
        return self._do("keep", (agent, uuid))

    def enrol(self, company: str, version: str, agents: Any) -> Any:
        return self._do("enrol", agents)

    def due(self) -> Any:
        return self._do("due", "")

    def settle(self, company: str) -> Any:
        return self._do("settle", company)

    def held(self, company: str) -> Any:
        return self._do("held", company)

    def look(self, company: str, queue: str = "") -> Any:
        return self._do("look", (company, queue))


class Session:
    """A call's live side: keeps what it hears."""

    def __init__(self, call: str = CALL, company: str = "test") -> None:
        self.id, self.company, self.switch, self.caller, self.extension = call, company, "switch1", "+7903", ""
        self.ended = self.moved = False
        self.heard: list[m.Event] = []

    def happened(self, event: m.Event) -> None:
        self.heard.append(event)


class House:
    """The rest of the process."""

    def __init__(self) -> None:
        self.routing = routing(FLOWS, HEAD)
        self.lines: dict[str, Any] = {}
        self.leases: set[str] = set()
        self.facts: list[tuple[str, m.Tell]] = []
        self.time = 1795424400.0  # a Monday, 12:00 in Moscow

    def line_named(self, switch: str) -> Any:
        return self.lines.get(switch)

    def current(self, company: str) -> Routing | None:
        return self.routing if company == "test" else None

    def version(self, company: str, version: str) -> Routing | None:
        return self.current(company)

    def lease(self, name: str, seconds: float) -> bool:
        return name in self.leases

    def release(self, name: str) -> None:
        self.leases.discard(name)

    def tell(self, company: str, fact: m.Tell) -> None:
        self.facts.append((company, fact))

    def now(self) -> float:
        return self.time


class Timers:
    """Timers that the test lets ring."""

    def __init__(self) -> None:
        self.armed: list[Any] = []

    def __call__(self, seconds: float, work: Callable[..., object], *arguments: Any) -> Any:
        timer: Any = SimpleNamespace(seconds=seconds, stop=lambda: self._stop(timer), close=lambda: None)

        def ring() -> None:
            self._stop(timer)
            work(*arguments)
            quiet()

        timer.ring = ring
        self.armed.append(timer)
        return timer

    def _stop(self, timer: Any) -> None:
        if timer in self.armed:
            self.armed.remove(timer)

    @property
    def seconds(self) -> list[float]:
        return [timer.seconds for timer in self.armed]


class Desk:
    """The queues' part of a process, all of whose surroundings are the test's."""

    def __init__(self) -> None:
        self.board, self.house, self.session = Board(), House(), Session()
        self.queues = Queues(cast(Any, self.board), "p1", cast(Any, self.house))
        self.queues.take_up([self.house.routing])
        quiet()
        self.queues.beat()
        quiet()
        self.board.asked.clear()
        self.board.ops.clear()

    def says(self, *commands: m.Command, session: Session | None = None) -> Desk:
        for command in commands:
            self.queues.perform(session or self.session, command)
        quiet()
        return self

    def hears(self) -> list[m.Event]:
        heard, self.session.heard = self.session.heard, []
        return heard

    def wakes(self, what: str, call: str = CALL, **more: Any) -> Desk:
        self.queues.woken({"do": what, "company": "test", "call": call, **more})
        quiet()
        return self

    def offered(self, offer: int = 1, agent: str = "301") -> Desk:
        """The caller stands in the queue and has been offered an agent."""
        if not self.queues._callers:
            self.says(enter())
        self.wakes("offer", offer=offer, agent=agent)
        self.hears()
        self.board.asked.clear()
        return self

    def redis_goes(self) -> Desk:
        self.board.away = True
        self.queues.beat()
        return self

    def redis_comes(self) -> Desk:
        self.board.away = False
        self.board.asked.clear()
        self.queues.beat()
        quiet()
        return self
