"""What a decision of a queue costs, and that many processes together never make a wrong one: Redis and no telephones.

A *decision* is what a process does when something happens: the transition, the look that comes with its answer, the
choice (``queueing``), and the claim.  :func:`cost` times whole ones, with few and with very many callers who wait, in
turns.  :func:`together` lets several processes, each with a connection of its own, do at random what calls and agents
do to the queues of one company, as fast as they can; each writes down what it was answered.

Where the surprise lies: the proof that nobody was offered twice does not rest on what the script says of itself.  The
script is run inside a few lines of ours that number its runs (:data:`NUMBERED`), so the logs of all processes have one
order, and :class:`Account` follows every agent through it by rules that are written down here a second time.

    python -m scripts.bench.queue_decisions CONFIG      one of the processes
"""

from __future__ import annotations

import contextlib
import heapq
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from callcontrol import queueing
from callcontrol.embedded import EmbeddedRedis
from callcontrol.messages import Enter, Miss, Take
from callcontrol.queueboard import SCRIPT, Answer, QueueBoard
from callcontrol.queueing import choose_agents, choose_caller
from callcontrol.supervisor import die_with_parent
from callcontrol.switchboard import Switchboard, connect
from scripts.bench.outcome import BenchError

SWITCH = "switch1"
#: The script, and after it the number of this run and how many claims there have been.
NUMBERED = (
    f"local text = (function(...)\n{SCRIPT}\nend)(...)\n"
    "local claims = redis.call(ARGV[1] == 'claim' and 'INCR' or 'GET', 'bench:claims')\n"
    "local n = redis.call('INCR', 'bench:n')\n"
    "return '{\"n\":' .. n .. ',\"claims\":' .. (claims or 0) .. ',' .. string.sub(text, 2)\n"
)
QUEUES = ("sales", "service")
SKILLS = ("", "german")
#: Of callers: by queue, priority, need.
KINDS = 8


def _members(agents: int) -> dict[str, Any]:
    """Agents who are all in both queues; every second one can do more than the others."""
    member = {"level": 1, "opens": 0, "by": "idle", "strategy": "longest-idle", "index": 0}
    return {
        str(1000 + n): {"queues": {queue: {**member, "skills": SKILLS[n % 2]} for queue in QUEUES}}
        for n in range(agents)
    }


def _enter(board: QueueBoard, company: str, call: str, n: int, owner: str = "bench") -> Answer:
    """Of as many callers as there are kinds one is of each."""
    command = Enter(
        queue=QUEUES[n % 2],
        priority=n // 2 % 2,
        skills=(SKILLS[1],) if n // 4 % 2 else (),
        joined=0,
        waited=0.0,
        first=1,
        ring=15.0,
        patience=60.0,
    )
    return _sure(board.enter(company, call, command, owner=owner, switch=SWITCH, caller="", op=""))


def _sure(answer: Answer | None) -> Answer:
    if answer is None:
        raise BenchError("Redis is away")
    return answer


def decide(board: QueueBoard, company: str, answer: Answer) -> Iterator[tuple[str, str, Answer]]:
    """Decide on the looks of an answer, and on those that a refused claim gave: (call, agent, what the claim said)."""
    answers = deque([answer])
    while answers:
        looks = answers.popleft()
        pairs = [(head.call, look.agent) for look in looks.agents if (head := choose_caller(look)) is not None]
        pairs += [(look.call, agent) for look in looks.calls for agent in choose_agents(look)]
        for call, agent in pairs:
            claimed = _sure(board.claim(company, call, agent))
            if not claimed.done:
                answers.append(claimed)
            yield call, agent, claimed


# ------------------------------------------------------------------------------------------------------ cost


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of the queues."""

    agents: int = 1_000
    waiting: tuple[int, ...] = (100, 10_000)
    measured: int = 2_000  #: decisions of each kind
    processes: tuple[int, ...] = (2, 8)
    decisions: int = 20_000  #: claims, of all processes of all runs together
    busy_agents: int = 40  #: when several processes decide
    busy_callers: int = 60


@dataclass(slots=True)
class Cost:
    """Of each whole decision: seconds on the clock, and seconds of a core, ours and Redis's together.

    The second is the same on a machine that has other things to do.
    """

    took: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)


class _Meter:
    """What a decision takes.  The kernel knows to the nanosecond how long Redis has run, when it does not."""

    def __init__(self, pid: int) -> None:
        self._redis = Path(f"/proc/{pid}/schedstat")

    @contextlib.contextmanager
    def measuring(self, cost: Cost) -> Iterator[None]:
        redis, ours, clock = self._ran(), time.thread_time(), time.perf_counter()
        yield
        took, used = time.perf_counter() - clock, time.thread_time() - ours
        cost.took.append(took)
        cost.used.append(used + self._ran() - redis)

    def _ran(self) -> float:
        try:
            return int(self._redis.read_text().split()[0]) / 1e9
        except (OSError, IndexError, ValueError):
            return math.nan  # a kernel that does not count


def cost(redis: EmbeddedRedis, load: Load, say: Callable[[str], None]) -> dict[str, Cost]:
    """What decisions cost: for an agent who gets free while so many wait (``free <n>``), and for a caller who joins
    while all agents are free (``join``).
    """
    board = QueueBoard(Switchboard(redis.url, name="bench"))
    worlds = [_World(board, f"w{waiting}", load.agents, waiting) for waiting in load.waiting]
    for world in worlds:
        say(f"{world.waiting} callers join, {load.agents} agents are busy")
        world.fill()
    free = _World(board, "free", load.agents, 0)
    meter, first = _Meter(redis.pid), Cost()
    found = {**{f"free {world.waiting}": Cost() for world in worlds}, "join": Cost()}
    for n in range(load.measured + 50):  # the first 50 are not counted
        for world in worlds:
            world.agent_gets_free(meter, found[f"free {world.waiting}"] if n >= 50 else first)
        free.caller_joins(meter, found["join"] if n >= 50 else first)
    return found


class _World:
    """A company in Redis, to and from which everything goes so that it stays as large as it was."""

    def __init__(self, board: QueueBoard, company: str, agents: int, waiting: int) -> None:
        self.waiting = waiting
        self._board = board
        self._company = company
        self._members = _members(agents)
        self._random = random.Random(waiting)
        self._calls = 0
        self._legs = {agent: f"{agent}-0" for agent in self._members}
        _sure(board.enrol(company, "1", self._members))

    def fill(self) -> None:
        for agent, leg in self._legs.items():
            _sure(self._board.busy(self._company, agent, leg, SWITCH))
        for n in range(self.waiting):
            self._one_more(n % KINDS)

    def agent_gets_free(self, meter: _Meter, cost: Cost) -> None:
        """From the end of an agent's talk until the next caller is theirs."""
        agent = self._random.choice(list(self._legs))
        with meter.measuring(cost):
            ended = _sure(self._board.hang_up(self._company, agent, self._legs[agent]))
            ((call, who, claimed),) = decide(self._board, self._company, ended)
        if who != agent or not claimed.done:
            raise BenchError(f"{agent} got free and {who} was claimed: {claimed.why}")
        self._talks(call, agent, claimed)
        self._one_more(int(call.rpartition("-")[2]))  # of the same kind, so that it stays as it was

    def caller_joins(self, meter: _Meter, cost: Cost) -> None:
        """From when a caller joins until an agent is theirs; afterwards that agent is free again."""
        with meter.measuring(cost):
            entered = self._one_more(self._calls % KINDS)
            ((call, agent, claimed),) = decide(self._board, self._company, entered)
        if not claimed.done:
            raise BenchError(f"nobody was claimed: {claimed.why}")
        self._talks(call, agent, claimed)
        _sure(self._board.hang_up(self._company, agent, self._legs[agent]))

    def _talks(self, call: str, agent: str, claimed: Answer) -> None:
        self._legs[agent] = leg = f"{agent}-{self._calls}"
        take = Take(offer=int(claimed.data["offer"]), agent=agent, leg=leg, wrap_up=0.0)
        _sure(self._board.take(self._company, call, take, switch=SWITCH))

    def _one_more(self, kind: int) -> Answer:
        self._calls += 1
        return _enter(self._board, self._company, f"{self._company}-{self._calls}-{kind}", kind)


# -------------------------------------------------------------------------------------------------- together


@dataclass(slots=True)
class Together:
    """What several processes did.  ``wrong``: what must never be, each with how often."""

    processes: int
    seconds: float = 0.0
    did: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def claims(self) -> int:
        return self.did["claimed"] + self.did["refused"]


def together(
    redis: EmbeddedRedis, directory: Path, load: Load, processes: int, decisions: int, say: Callable[[str], None]
) -> Together:
    """So many processes make so many decisions together on a Redis that was emptied for them."""
    directory.mkdir()
    company = "busy"
    connection: Any = connect(redis.url, name="bench")
    connection.flushall()
    connection.set("bench:claims", 0)
    board = QueueBoard(Switchboard(redis.url, name="bench"))
    members = _members(load.busy_agents)
    _sure(board.enrol(company, "1", members))
    result = Together(processes)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.queue_decisions", json.dumps(asdict(work))],
            stdout=(directory / f"{work.name}.log").open("wb"),
            stderr=(directory / f"{work.name}.err").open("wb"),
            preexec_fn=die_with_parent,
            process_group=0,
        )
        for work in (
            Work(f"p{n}", redis.url, company, n, load.busy_agents, -(-load.busy_callers // processes), decisions)
            for n in range(processes)
        )
    ]
    began = time.monotonic()
    try:
        _watch(connection, running, decisions, say)
    finally:
        for process in running:
            process.kill()
            process.wait()
    result.seconds = time.monotonic() - began
    for n, process in enumerate(running):
        if process.returncode:
            raise BenchError(
                f"a process ended with {process.returncode}: {(directory / f'p{n}.err').read_text()[-1500:]}"
            )
    account = Account(list(members))
    for line in heapq.merge(*(_lines(directory / f"p{n}.log") for n in range(processes))):
        account.follow(*line)
    result.did, result.wrong = account.did, account.wrong
    result.wrong.update(_wrong_in_redis(board, company))
    for n in range(processes):
        (directory / f"p{n}.log").unlink()
    return result


def _watch(connection: Any, running: list[subprocess.Popen[bytes]], decisions: int, say: Callable[[str], None]) -> None:
    """Until all have ended; raises BenchError if nothing moves."""
    last, moved, told = -1, time.monotonic(), time.monotonic()
    while any(process.poll() is None for process in running):
        time.sleep(0.2)
        connection.xtrim("cordboard:facts", maxlen=1000)  # nobody reads them here, and they would be gigabytes
        done, now = int(connection.get("bench:claims")), time.monotonic()
        if done != last:
            last, moved = done, now
        if now - moved > 30:
            raise BenchError(f"nothing was decided for half a minute, after {done} decisions")
        if now - told > 15:
            say(f"  {done} of {decisions}")
            told = now


_Line = tuple[int, str, str, str, int]


def _lines(path: Path) -> Iterator[_Line]:
    with path.open() as log:
        for line in log:
            n, what, agent, call, offer = line.split()
            yield int(n), what, agent, call, int(offer)


class Account:
    """What every agent did, followed through the logs of all processes in the order in which Redis did it.

    The words: ``claimed``, ``refused``, ``taken``, ``missed``, ``ended`` (a talk), ``left`` (the caller has gone, and
    with them the offer), ``paused`` (an offer ends, a talk does not), ``expired`` (an offer, by its lease).
    """

    def __init__(self, agents: Iterable[str]) -> None:
        self.did: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._offer: dict[str, tuple[str, int] | None] = dict.fromkeys(agents)
        self._talk: dict[str, tuple[str, int] | None] = dict.fromkeys(agents)
        self._offered: dict[str, set[str]] = {}  # call -> its agents

    def follow(self, _: int, what: str, agent: str, call: str, offer: int) -> None:
        """One line."""
        self.did[what] += 1
        mine = (call, offer)
        if what == "claimed":
            if self._offer[agent] is not None:
                self.wrong["an agent with two offers"] += 1
            if self._talk[agent] is not None:
                self.wrong["an offer to an agent who talks"] += 1
            if self._offered.get(call):
                self.wrong["a caller with two agents"] += 1
            self._offer[agent] = mine
            self._offered.setdefault(call, set()).add(agent)
        elif what == "taken":
            # An offer that ended is answered all the same if the agent does not talk: the telephone is the truth.
            if self._offer[agent] != mine:
                self.did["taken late"] += 1
            if self._talk[agent] is not None:
                self.wrong["an agent with two talks"] += 1
            for one in (agent, *self._offered.get(call, ())):
                self._end(one)
            self._talk[agent] = mine
        elif what == "ended":
            if self._talk[agent] != mine:
                self.wrong["an end of another talk"] += 1
            self._talk[agent] = None
        elif what == "missed":
            if self._offer[agent] != mine:
                self.wrong["a miss of no offer"] += 1
            self._end(agent)
        elif what == "left":
            for one in list(self._offered.get(call, ())):
                self._end(one)
        elif what in ("paused", "expired"):
            self._end(agent)

    def _end(self, agent: str) -> None:
        offer = self._offer[agent]
        if offer is not None:
            self._offered[offer[0]].discard(agent)
            if not self._offered[offer[0]]:
                del self._offered[offer[0]]
        self._offer[agent] = None


def _wrong_in_redis(board: QueueBoard, company: str) -> Counter[str]:
    """What is wrong with what stands in Redis when everybody has stopped."""
    wrong: Counter[str] = Counter()
    settled = _sure(board.settle(company))
    while settled.agents or settled.calls:
        for _ in decide(board, company, settled):
            pass
        settled = _sure(board.settle(company))
    found = board.look(company)
    if found is None:
        raise BenchError("Redis is away")
    members = {member["agent"]: member for member in _list(found["members"])}
    callers = {caller["call"]: caller for caller in _list(found["waiting"])}
    holders: Counter[str] = Counter(agent for caller in callers.values() for agent in _map(caller["offers"]))
    wrong["an agent among the offers of two callers"] += sum(count > 1 for count in holders.values())
    for name, member in members.items():
        offers = _map(callers.get(member["call"], {}).get("offers"))
        if member["doing"] == "offered" and offers.get(name) != member["offer"]:
            wrong["an offered agent without a caller"] += 1
    for call, caller in callers.items():
        for name, offer in _map(caller["offers"]).items():
            if (members[name]["doing"], members[name]["call"], members[name]["offer"]) != ("offered", call, offer):
                wrong["a caller's offer to an agent who has none"] += 1
        if caller["standing"] == "waiting":
            free = [one for one in members.values() if one["duty"] == "on" and one["doing"] == "idle"]
            if any(queueing.covers(one["queues"][caller["queue"]]["skills"], caller["need"]) for one in free):
                wrong["a caller who waits while an agent is free"] += 1
    return +wrong


def _list(value: Any) -> list[dict[str, Any]]:
    return list(value or ())


def _map(value: Any) -> dict[str, Any]:
    """An empty table of Lua's may be an empty list."""
    return dict(value or {})


# --------------------------------------------------------------------------------------------- one process


@dataclass(frozen=True, slots=True)
class Work:
    """What one process is told.  ``callers``: how many of its own wait at a time."""

    name: str
    url: str
    company: str
    seed: int
    agents: int
    callers: int
    decisions: int


class Worker:
    """One of the processes: owns calls, as a controller does, and does at random what could happen to them.

    It says on stdout what it was answered, a line each: the number of the script's run, what, agent, call, offer.
    """

    def __init__(self, work: Work, write: Callable[[str], object]) -> None:
        self._work = work
        self._write = write
        self._board = QueueBoard(Switchboard(work.url, name=work.name), script=NUMBERED)
        #: Wake-ups are looked for here and not waited for: waiting takes Redis 100 ms when nothing else happens.
        self._redis: Any = connect(work.url, name=work.name)
        self._random = random.Random(work.seed)
        self._agents = list(_members(work.agents))
        self._waiting: set[str] = set()
        self._offers: dict[tuple[str, str], int] = {}  # call, agent -> the offer's number: mine to answer
        self._talks: list[tuple[str, str, int, str]] = []  # agent, call, offer, leg
        self._paused: list[str] = []
        self._timers: list[tuple[float, str]] = []
        self._calls = self._claims = 0
        self._beat = 0.0

    def run(self) -> None:
        """Until all processes together have made their decisions."""
        steps: Mapping[str, tuple[int, Callable[[], None]]] = {
            "enter": (30, self._enters),
            "answer": (50, self._answers),
            "end": (40, self._ends),
            "leave": (2, self._leaves),
            "pause": (2, self._pauses),
            "resume": (3, self._resumes),
        }
        doing = [step for _, step in steps.values()]
        weights = [weight for weight, _ in steps.values()]
        turn = 0
        while self._claims < self._work.decisions:
            turn += 1
            self._times()
            if turn % 8 == 0 or not (self._offers or self._talks):
                self._wakes()
            self._random.choices(doing, weights)[0]()

    def _did(self, answer: Answer | None, what: str = "", agent: str = "-", call: str = "-", offer: int = 0) -> Answer:
        """Write down what was done, decide on what is to be decided, and keep what ends by itself."""
        answer = _sure(answer)
        self._note(answer, what if answer.done else "", agent, call, offer)
        for who, whom, claimed in decide(self._board, self._work.company, answer):
            self._note(claimed, "claimed" if claimed.done else "refused", whom, who, int(claimed.data.get("offer", 0)))
            if claimed.done and who in self._waiting:
                self._offers[who, whom] = int(claimed.data["offer"])
        return answer

    def _note(self, answer: Answer, what: str, agent: str, call: str, offer: int) -> None:
        self._claims = int(answer.data["claims"])
        if what:
            self._write(f"{answer.data['n']} {what} {agent} {call} {offer}\n")
        for name, seconds in answer.timers:
            heapq.heappush(self._timers, (time.monotonic() + seconds, name))

    def _enters(self) -> None:
        if len(self._waiting) >= self._work.callers:
            return
        self._calls += 1
        call = f"{self._work.name}-{self._calls}"
        self._waiting.add(call)
        self._did(self._entered(call))

    def _entered(self, call: str) -> Answer:
        return _enter(self._board, self._work.company, call, int(call.partition("-")[2]), self._work.name)

    def _wakes(self) -> None:
        messages = self._redis.lpop(f"cordboard:wake:{self._work.name}", 200) or ()
        if not messages and not (self._offers or self._talks):
            time.sleep(0.001)
        for message in map(json.loads, messages):
            call = message.get("call", "")
            if call not in self._waiting:
                continue
            if message["do"] == "offer":
                self._offers[call, message["agent"]] = message["offer"]
            elif message["do"] == "gone" and self._offers.get((call, message["agent"])) == message["offer"]:
                del self._offers[call, message["agent"]]
            elif message["do"] == "again":
                self._did(self._entered(call))

    def _answers(self) -> None:
        if not self._offers:
            return
        (call, agent), offer = self._random.choice(list(self._offers.items()))
        del self._offers[call, agent]
        chance = self._random.random()
        if chance < 0.3:
            self._did(self._board.rung(self._work.company, call, agent, offer, 15.0))
        if chance < 0.75:
            leg = f"{call}-{offer}-{agent}"
            wrap_up = self._random.choice((0.0, 0.0, 0.0, 0.01))
            take = Take(offer=offer, agent=agent, leg=leg, wrap_up=wrap_up)
            taken = self._board.take(self._work.company, call, take, switch=SWITCH)
            self._waiting.discard(call)
            if self._did(taken, "taken", agent, call, offer).done:
                self._talks.append((agent, call, offer, leg))
            else:  # the agent talks with somebody else by now
                self._did(self._board.leave(self._work.company, call), "left", "-", call)
        else:
            result = self._random.choice(("declined", "busy", "no_answer", "lost"))
            miss = Miss(offer=offer, agent=agent, result=result, delay=self._random.choice((0.0, 0.01)))
            self._did(self._board.miss(self._work.company, call, miss), "missed", agent, call, offer)

    def _ends(self) -> None:
        if not self._talks:
            return
        agent, call, offer, leg = self._talks.pop(self._random.randrange(len(self._talks)))
        self._did(self._board.hang_up(self._work.company, agent, leg), "ended", agent, call, offer)

    def _leaves(self) -> None:
        if not self._waiting:
            return
        call = self._random.choice(sorted(self._waiting))
        self._waiting.discard(call)
        for key in [key for key in self._offers if key[0] == call]:
            del self._offers[key]
        self._did(self._board.leave(self._work.company, call), "left", "-", call)

    def _pauses(self) -> None:
        agent = self._random.choice(self._agents)
        if len(self._paused) * 4 > self._work.agents / 8:
            return
        self._did(self._board.duty(self._work.company, agent, "pause", reason="bench"), "paused", agent)
        self._paused.append(agent)

    def _resumes(self) -> None:
        if self._paused:
            agent = self._paused.pop(0)
            self._did(self._board.duty(self._work.company, agent, "resume"), "resumed", agent)

    def _times(self) -> None:
        """What ends by itself; and one process looks after what nobody else does."""
        now = time.monotonic()
        if now > self._beat:
            self._beat = now + 1.0
            self._board.beat(self._work.name)
            if self._work.seed == 0:
                for _, agent in self._board.due() or ():
                    self._rests(agent)
        while self._timers and self._timers[0][0] <= now:
            self._rests(heapq.heappop(self._timers)[1])

    def _rests(self, agent: str) -> None:
        answer = _sure(self._board.rest(self._work.company, agent))
        self._did(answer, "expired" if answer.data.get("expired") else "rested", agent)


def main(work: Work) -> None:
    """Be one of the processes."""
    Worker(work, sys.stdout.write).run()
    sys.stdout.flush()


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
