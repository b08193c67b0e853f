"""The queue hour: 200 callers, eight agents, a kill, all in a minute; part of ``make demo``, alone by
``python -m scripts.queue_hour``.

A second stands for a minute.  The server and Redis are the real ones, the switch is the stand-in; who calls when, how
long they wait and talk, who declines and who does not answer are drawn beforehand from one seed, so that two runs can
be compared.  What became of it is told by the facts alone (``queue_account.py``), and exit code 0 means that
everything held.

The surprise: the facts are read from the stream in Redis and not from the files, because what agents do is written
there only, by the very script that changes it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import redis

from freeswitch.simulator import Answers, Behaviour, Caller, NeverAnswers, Rejects, Ring
from scripts.queue_account import Account, Journey, journey
from scripts.rig import ROOT, Rig, RigError

ROUTING = ROOT / "scripts" / "routing"
COMPANY = "hour"
DOMAIN = f"{COMPANY}.cordboard.test"
NUMBER = "+74951230100"
STREAM = "cordboard:facts"
NAMES = {
    "401": "Alma",
    "402": "Bruno",
    "403": "Carla",
    "404": "Dario",
    "405": "Elsa",
    "406": "Fabio",
    "407": "Gleb",
    "408": "Hanna",
}
#: Does not answer, and does not notice that this has paused him; declines, and takes her telephone away for a while.
FORGETFUL, CHOOSY = "407", "408"
RESUME = "*44"


@dataclass(frozen=True)
class Plan:
    """What is drawn for one caller; seconds, which stand for minutes."""

    at: float  # since the hour began
    number: str
    patience: float
    talk: float
    hangs_up: bool  # the caller ends the talk, and not the agent
    key: float | None  # presses the star after so long


@dataclass(frozen=True)
class Hour:
    """How much there is of everything; times in seconds, which stand for minutes."""

    callers: int = 200
    minutes: float = 60.0
    agents: tuple[str, ...] = tuple(NAMES)
    kill_at: float = 30.0
    away: tuple[float, float] = (18.0, 26.0)  # when the telephone of the choosy one is not registered
    seed: int = 4
    told_every: float = 5.0
    routing: Path = ROUTING
    #: How long the last ones may take, and then what is written behind them.
    rest: float = 30.0


def draw(hour: Hour) -> list[Plan]:
    """Who calls when, and what they are like, in the order in which they call.

    The times of a Poisson process, given how many there are, are so many uniform ones in order.
    """
    dice = random.Random(hour.seed)
    plans = []
    for n, at in enumerate(sorted(dice.uniform(0.0, hour.minutes) for _ in range(hour.callers))):
        first = "+7916" if dice.random() < 0.08 else "+7903"
        patience = max(0.4, dice.lognormvariate(1.8, 0.6))  # half of them wait for six minutes
        talk = min(6.0, max(0.5, dice.lognormvariate(0.65, 0.5)))  # two minutes and a little
        key = dice.uniform(1.0, 3.0) if dice.random() < 0.06 else None
        plans.append(Plan(at, f"{first}{1_000_000 + n}", patience, talk, dice.random() < 0.5, key))
    return plans


class Stream:
    """The facts in Redis, as they come; nothing is read twice."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url, socket_timeout=2.0)
        self.of_calls: dict[str, list[dict[str, Any]]] = {}
        self.of_agents: list[dict[str, Any]] = []
        self._last = b"0-0"

    def read(self) -> list[dict[str, Any]]:
        """The facts that came since the last time."""
        new: list[dict[str, Any]] = []
        while found := self.redis.xrange(STREAM, b"(" + self._last, count=1000):
            self._last = found[-1][0]
            new += [json.loads(entry[b"fact"]) for _, entry in found]
        for fact in new:
            if fact["call"]:
                self.of_calls.setdefault(fact["call"], []).append(fact)
            elif fact["type"] == "agent.state":
                self.of_agents.append(fact)
        return new

    def close(self) -> None:
        self.redis.close()


def left_behind(client: Any, company: str) -> list[str]:
    """What of a company's queues is still in Redis although nobody calls: entries, offers, agents who are not free."""
    found = []
    prefix = f"cordboard:queue:{company}:"
    for key in sorted(client.scan_iter(match=f"{prefix}*", count=1000)):
        name = key.decode().removeprefix(prefix)
        if name.partition(":")[0] in ("callers", "line", "seek", "seeks", "priorities"):
            found.append(f"{name} is not empty")
    for extension, text in sorted(client.hgetall(f"{prefix}agents").items()):
        agent = json.loads(text)
        if agent["doing"] != "idle" or agent["call"]:
            found.append(f"{extension.decode()} is {agent['doing']} {agent['call']}".rstrip())
    return found


class Play:
    """One hour on a rig that is up: plays it, tells of it as it goes, and gives the account."""

    def __init__(self, rig: Rig, hour: Hour, say: Callable[[str], None]) -> None:
        self.rig = rig
        self.hour = hour
        self.switch = rig.switch
        self.plans = draw(hour)
        self.by_number = {plan.number: plan for plan in self.plans}
        self.callers: dict[str, Plan] = {}
        self.live: dict[str, Caller] = {}
        self.gave_up: set[str] = set()
        self.stream = Stream(rig.redis_url)
        self.states: dict[str, str] = dict.fromkeys(hour.agents, "available")
        self.paused: set[str] = set()
        self.killed: float | None = None
        self.began = 0.0
        self._say = say
        self._began = 0.0
        self._dice = {extension: random.Random(f"{hour.seed} {extension}") for extension in hour.agents}
        self._timers: list[gevent.Greenlet[..., Any]] = []
        self._phones = {e: self.switch.phone(e, self._agent(e), domain=DOMAIN) for e in hour.agents}
        self._codes: list[tuple[str, Caller]] = []
        for phone in self._phones.values():
            phone.lines = 1
            phone.history.clear()

    # ------------------------------------------------------------------------------------------------ people

    def _agent(self, extension: str) -> Callable[[Ring], Behaviour]:
        """What the agent's telephone does with each call."""
        dice = self._dice[extension]

        def decide(ring: Ring) -> Behaviour:
            after, mood = dice.uniform(0.05, 0.2), dice.random()
            if extension == FORGETFUL and mood < 0.8:
                return NeverAnswers()
            if extension == CHOOSY and mood < 0.35:
                return Rejects(after)
            plan = self.by_number.get(ring.number)
            return Answers(after, talk=plan.talk if plan is not None and not plan.hangs_up else None)

        return decide

    def _calls(self, plan: Plan) -> None:
        caller = self.switch.call(plan.number, NUMBER, plan=partial(self._waits, plan))
        self.callers[caller.uuid] = plan
        self.live[caller.uuid] = caller

    def _waits(self, plan: Plan, caller: Caller) -> None:
        """A caller's own time: waits, perhaps presses the star, perhaps gives up; talks, and perhaps ends it."""
        if plan.key is not None and plan.key < plan.patience:
            if not _happens(caller, "talking", plan.key):
                caller.press("*")
                _happens(caller, "talking", plan.patience - plan.key)
        else:
            _happens(caller, "talking", plan.patience)
        if caller.state != "talking":
            if caller.state != "ended":
                self.gave_up.add(caller.uuid)
            caller.hangup()
        elif plan.hangs_up:
            self.switch.sleep(plan.talk)
            caller.hangup()

    def _resumes(self, extension: str) -> None:
        """The agent, or somebody who stands beside the telephone, dials the code."""
        if extension in self.paused:
            caller = self.switch.call(extension, RESUME, company=COMPANY, extension=extension, plan=_listens)
            self._codes.append((extension, caller))

    # --------------------------------------------------------------------------------------------- the hour

    @property
    def now(self) -> float:
        """Seconds since the hour began."""
        return self.switch.clock() - self._began

    def say(self, what: str) -> None:
        minutes = max(0.0, self.now)
        self._say(f"   {int(minutes):3}:{int(minutes * 60) % 60:02}  {what}")

    def _at(self, moment: float, action: Callable[[], object]) -> None:
        self._timers.append(self.switch.later(max(0.0, moment - self.now), action))

    def run(self) -> Account:
        """Play it.  Raises RigError if it does not come to its end in time."""
        self._look()
        self.switch.sleep(0)  # timers count from when the loop last looked at its clock
        self._began, self.began = self.switch.clock(), time.time()
        for plan in self.plans:
            self._at(plan.at, partial(self._calls, plan))
        gone, back = self.hour.away
        if CHOOSY in self._phones:
            self._at(gone, partial(self._away, self._phones[CHOOSY].unregister, "telephone is not registered any more"))
            self._at(back, partial(self._away, self._phones[CHOOSY].register, "telephone is registered again"))
        self._at(self.hour.kill_at, self._kill)
        told = 0.0
        try:
            while not self._over():
                if self.now > self.hour.minutes + self.hour.rest:
                    still = [uuid for uuid, caller in self.live.items() if caller.state != "ended"]
                    raise RigError(f"{len(still)} callers are still there: {' '.join(still[:3])}\n{self._last_words()}")
                self._look()
                if self.now >= told + self.hour.told_every:
                    told += self.hour.told_every
                    self.say(self._standing())
                self.switch.sleep(0.1)
            ended = time.time()
            self._settle()
        finally:
            for timer in self._timers:
                timer.kill(block=False)
            self.stream.close()
        return self.account(ended)

    def _over(self) -> bool:
        return len(self.callers) == len(self.plans) and all(c.state == "ended" for c in self.live.values())

    def _settle(self) -> None:
        """Wait until everything is written; what is missing then is missing in the account."""
        end = time.monotonic() + 12.0
        while time.monotonic() < end:
            self._look()
            ended = all(any(f["type"] == "call.ended" for f in self.stream.of_calls.get(c, [])) for c in self.callers)
            if ended and not left_behind(self.stream.redis, COMPANY):
                return
            self.switch.sleep(0.1)

    def account(self, ended: float) -> Account:
        """What became of everybody."""
        return Account(
            journeys={call: journey(call, self.stream.of_calls.get(call, [])) for call in self.callers},
            talks={call: plan.talk for call, plan in self.callers.items()},
            gave_up=frozenset(self.gave_up),
            rung_on_the_phone=list(self._rung_on_the_phone()),
            agents={extension: NAMES[extension] for extension in self.hour.agents},
            states=self.stream.of_agents,
            began=self.began,
            ended=ended,
            killed=self.killed,
            left_behind=left_behind(self.stream.redis, COMPANY),
            minute=1.0,
        )

    def _rung_on_the_phone(self) -> Iterator[str]:
        """Agents who were rung for a caller while they had another; not while they dialled a code."""
        for extension, phone in self._phones.items():
            rang = 0.0
            for entry in phone.history:
                if entry.what == "rings":
                    rang = entry.at
                elif entry.what == "is busy":
                    dialled = (c.journal for e, c in self._codes if e == extension)
                    if not any(journal[0].at <= rang <= journal[-1].at for journal in dialled):
                        yield f"the telephone of {NAMES[extension]} was rung at {rang - self._began:.1f} while in use"

    # ------------------------------------------------------------------------------------------- what happens

    def _look(self) -> None:
        """Hear what agents do now."""
        for fact in self.stream.read():
            if fact["type"] != "agent.state" or fact["data"]["agent"] not in self.states:
                continue
            data = fact["data"]
            extension, was = data["agent"], data["agent"] in self.paused
            self.states[extension] = data["state"]
            if data.get("duty", data["state"]) == "paused":
                self.paused.add(extension)
            else:
                self.paused.discard(extension)
            if not self._began:
                continue  # what went before is none of this hour's
            if extension in self.paused and not was:
                self.say(f"{NAMES[extension]} is paused: {data.get('reason', 'for no reason')}")
                self._at(self.now + (5.0 if extension == FORGETFUL else 1.0), partial(self._resumes, extension))
            elif was and extension not in self.paused:
                self.say(f"{NAMES[extension]} is back, by {RESUME}")

    def _away(self, change: Callable[[], None], what: str) -> None:
        change()
        self.say(f"{NAMES[CHOOSY]}'s {what}")
        self._resumes(CHOOSY)

    def _kill(self) -> None:
        """kill -9 the controller that has somebody who waits: now, or as soon as somebody does."""
        self._look()
        waiting = [call for call in self.callers if self._journey(call).waits_at(time.time())]
        if not waiting:
            self._at(self.now + 0.1, self._kill)
            return
        self.rig.kill(self.rig.owner_of(waiting[-1]))
        self.killed = time.time()
        self.say("kill -9 of a controller")

    def _journey(self, call: str) -> Journey:
        return journey(call, self.stream.of_calls.get(call, []))

    def _standing(self) -> str:
        """Who waits, and what the agents do."""
        waits = [one.since for one in map(self._journey, self.callers) if one.waits_at(time.time())]
        longest = f", the first for {time.time() - min(waits):.0f} min" if waits else ""
        doing: dict[str, list[str]] = {}
        for extension, state in self.states.items():
            word = "paused" if extension in self.paused and state == "available" else state
            doing.setdefault(word.replace("_", " "), []).append(NAMES[extension])
        states = " · ".join(f"{word} {_named(names)}" for word, names in sorted(doing.items()))
        return f"{len(self.callers):3} have called, {len(waits)} wait{longest} | {states}"

    def _last_words(self) -> str:
        return self.rig.log()[-2000:]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{len(names)}"


def _listens(caller: Caller) -> None:
    """Whoever dials a code hangs up as soon as they hear something."""
    _happens(caller, "heard:speech", 10.0)
    caller.hangup()


def _happens(caller: Caller, what: str, within: float) -> bool:
    try:
        caller.wait(what, within)
    except TimeoutError:
        return False
    return True


def tell(account: Account, say: Callable[[str], None]) -> bool:
    """Print the table and the checks; whether everything held."""
    for line in ("", *account.table(), ""):
        say(f"   {line}".rstrip())
    good = True
    for check in account.checks():
        good = good and not check.troubles
        say(f"   {'✗' if check.troubles else '✓'} {check.says}")
        for trouble in check.troubles[:5]:
            say(f"       {trouble}")
        if len(check.troubles) > 5:
            say(f"       and {len(check.troubles) - 5} more")
    return good


def play(hour: Hour, say: Callable[[str], None], directory: Path) -> Account:
    """A whole hour on a rig of its own, in ``directory``."""
    with Rig(directory, routing=hour.routing, clock=None) as rig:
        return Play(rig, hour, say).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the hour and tell it.  Returns the exit code."""
    given = argparse.ArgumentParser(prog="python -m scripts.queue_hour", description="A queue hour in fast time.")
    given.add_argument("--seed", type=int, default=Hour.seed, help="what everything is drawn from")
    given.add_argument("--callers", type=int, default=Hour.callers)
    asked = given.parse_args(arguments)
    say = partial(print, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="cordboard-hour-") as directory:
            account = play(Hour(seed=asked.seed, callers=asked.callers), say, Path(directory))
            return 0 if tell(account, say) else 1
    except RigError as error:
        print(f"The hour could not be played: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
