"""What became of the callers of a queue: figures, a table for people, and what must hold.  Facts in, text out.

It knows no switch, no Redis and no clock, and trusts nothing but the facts: an :class:`Account` is made of what a
subscriber could have read.  Besides it is told what the people meant to do and noticed: how long each talk was to last,
since a broken talk looks like a short one, who did give up, since a lost call looks like that, and what the telephones
saw.

The surprise: on a busy machine a fact is told late, so one moment is before another only where it cannot be otherwise:
who had joined before somebody called was first, and when an agent became a caller's is known from Redis's own clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any

from callcontrol.queue_views import counted

Fact = Mapping[str, Any]

#: Facts of one moment that two processes tell lie so far apart, seconds; more on a machine that has other things to do.
SLACK = 0.25
LATE = 1.0
#: A timer of the people's may come so much early, seconds.
TIMER = 0.05
#: What ends a caller's waiting, by its fact, in the words of call centres.
OUTCOMES = {
    "queue.answered": "served",
    "queue.abandoned": "abandoned",
    "queue.left": "left by key",
    "queue.timeout": "timed out",
    "queue.unstaffed": "turned away",
    "queue.refused": "turned away",
}
#: An agent's misses.
MISSES = ("declined", "busy", "no_answer", "unreachable")


@dataclass(frozen=True, slots=True)
class Offer:
    """One ringing of one agent for one caller; ``ended`` is when the agent was nobody's again, the talk included."""

    agent: str
    began: float
    ended: float
    result: str  # a word of MISSES, "talk", or "": it ended without anybody's doing, and no fact of the call says when


@dataclass(slots=True)
class Journey:
    """One caller's way through the queue, by its facts.  Times are UTC epochs, seconds; ``inf``: it has not come."""

    call: str
    began: float = float("inf")
    joined: list[float] = field(default_factory=list)
    priority: int = 0
    offers: list[Offer] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    left: float = float("inf")  # when it stood in the queue no more
    talk: tuple[float, float] | None = None
    taken_over: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    @property
    def since(self) -> float:
        """Since when it has waited."""
        return self.joined[0] if self.joined else self.began

    @property
    def until(self) -> float:
        """Until when it has waited."""
        return min([self.left, *self.ends])

    @property
    def waited(self) -> float:
        """How long it waited; 0 if its waiting has no end that is known."""
        return max(0.0, self.until - self.since) if isfinite(self.until) else 0.0

    @property
    def served(self) -> bool:
        return "served" in self.outcomes

    def waits_at(self, moment: float) -> bool:
        return bool(self.joined) and self.since < moment < self.until

    def talks_at(self, moment: float) -> bool:
        return self.talk is not None and self.talk[0] < moment < self.talk[1]


def journey(call: str, facts: Iterable[Fact]) -> Journey:
    """The journey that the facts of one call tell, in whatever order they came."""
    told = sorted(facts, key=lambda fact: (fact["at"], fact["epoch"], fact["n"]))
    made = Journey(call, began=told[0]["at"] if told else float("inf"))
    kinds: dict[str, list[Fact]] = {}
    for fact in told:
        kinds.setdefault(fact["type"], []).append(fact)
    made.joined = [fact["at"] for fact in kinds.get("queue.joined", [])]
    made.priority = next((int(fact["data"].get("priority", 0)) for fact in kinds.get("queue.joined", [])), 0)
    made.taken_over = [f["at"] for f in kinds.get("call.taken_over", []) if f["data"].get("after") == "restart"]
    made.ends = [fact["at"] for fact in kinds.get("call.ended", [])]
    talks = kinds.get("talk.started", [])
    over = [fact["at"] for fact in (*kinds.get("talk.ended", []), *kinds.get("call.ended", []))]
    missed = {_offer(fact): fact for fact in kinds.get("queue.missed", [])}
    left = [
        fact
        for kind in OUTCOMES
        for fact in kinds.get(kind, [])
        if kind != "queue.answered" or _offer(fact) not in missed  # answered, and could not be joined
    ]
    made.outcomes = [OUTCOMES[fact["type"]] for fact in left]
    made.left = min((fact["at"] for fact in left), default=float("inf"))
    answered = {_offer(fact) for fact in left if fact["type"] == "queue.answered"}
    if answered and (talks or "talk.ended" in kinds):  # the owner may have missed its beginning
        made.talk = (talks[-1]["at"] if talks else made.left, min(over, default=float("inf")))
    gone = min([fact["at"] for fact in left if fact["type"] != "queue.answered"] + made.ends, default=float("inf"))
    for fact in kinds.get("queue.offered", []):
        offer = _offer(fact)
        if offer in missed:
            until, result = missed[offer]["at"], str(missed[offer]["data"]["result"])
        elif offer in answered:
            until, result = min(over, default=float("inf")), "talk"
        else:
            until, result = gone, ""
        made.offers.append(Offer(offer[0], fact["at"], until, result))
    return made


def _offer(fact: Fact) -> tuple[str, int]:
    return str(fact["data"]["agent"]), int(fact["data"]["offer"])


@dataclass(slots=True)
class Agent:
    """What one agent did."""

    extension: str
    name: str = ""
    taken: int = 0
    talked: float = 0.0
    missed: Counter[str] = field(default_factory=Counter)
    paused: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, and where it does not."""

    says: str
    troubles: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """All that is known when it is over.

    ``talks`` is how long each call's talk was meant to last, if it came to one; ``gave_up`` are the calls whose callers
    did hang up while they waited; ``rung_on_the_phone`` are agents whose telephone was rung although they used it;
    ``states`` are the ``agent.state`` facts; ``left_behind`` is what is still in Redis;
    ``minute`` is how many seconds stand for a minute.
    """

    journeys: Mapping[str, Journey]
    talks: Mapping[str, float]
    agents: Mapping[str, str]  # extension -> name
    gave_up: frozenset[str] = frozenset()
    rung_on_the_phone: Sequence[str] = ()
    states: Sequence[Fact] = ()
    began: float = 0.0
    ended: float = 0.0
    killed: float | None = None
    left_behind: Sequence[str] = ()
    minute: float = 60.0
    target: float = 20.0  # seconds of the people's time within which the service level wants a caller answered

    # ------------------------------------------------------------------------------------------------ checks

    def checks(self) -> list[Check]:
        """Everything that must hold, whether it does or not."""
        return [
            Check("every call has exactly one end", tuple(self._ends())),
            Check("every caller is accounted for exactly once", tuple(self._outcomes())),
            Check("every talk lasted as long as it was meant to", tuple(self._talks())),
            Check("no caller was passed over by one who came later", tuple(self.passed_over().values())),
            Check("no agent was offered a call while another was theirs", tuple(self._doubles())),
            Check("the killed controller's calls were taken over, each in its place", tuple(self._places())),
            Check("nothing is left behind in Redis", tuple(self.left_behind)),
        ]

    def _ends(self) -> Iterable[str]:
        for one in self.journeys.values():
            if len(one.ends) != 1:
                yield f"{one.call} has {len(one.ends) or 'no'} end{'s' if one.ends else ''}"

    def _outcomes(self) -> Iterable[str]:
        for one in self.journeys.values():
            if len(one.outcomes) != 1:
                yield f"{one.call}: {' and '.join(one.outcomes) or 'nothing became of it'}"
            elif one.outcomes == ["abandoned"] and one.call not in self.gave_up:
                yield f"{one.call} is said to have given up, and did not: the call was lost"

    def _talks(self) -> Iterable[str]:
        for one in self.journeys.values():
            if not one.served or one.call in self.gave_up:  # hung up in the very moment of the joining
                continue
            if one.talk is None:
                yield f"{one.call} was answered and talked with nobody"
            elif (
                one.talk[1] - one.left < self.talks[one.call] - TIMER
            ):  # what is told of an answer is told before the talk
                lasted, wanted = one.talk[1] - one.talk[0], self.talks[one.call]
                yield f"{one.call} talked {self.clock(lasted)} of {self.clock(wanted)}"

    def passed_over(self) -> dict[str, str]:
        """Callers who were given an agent later than somebody of their priority who had joined after them.

        The first offer counts: whom one agent did not take may be overtaken while that agent rang.  A caller whose
        controller was killed stands in the queue and cannot be served until another one has the call.
        """
        found: dict[str, str] = {}
        given = self._given()
        lines: dict[int, list[Journey]] = {}
        for one in self.journeys.values():
            if one.joined:
                lines.setdefault(one.priority, []).append(one)
        for line in lines.values():
            served = sorted(((given[one.call], one) for one in line if one.call in given), key=lambda pair: pair[0])
            for one in line:
                for moment, other in served:
                    if moment >= given.get(one.call, float("inf")) or moment + SLACK >= one.until:
                        break  # nobody later than this was served in its stead
                    if one.since < other.began and not self._between_owners(one, moment):
                        waited = self.clock(moment - one.since)
                        found[one.call] = (
                            f"{one.call} had waited {waited} when {other.call}, who came later, was served"
                        )
                        break
        return found

    def _given(self) -> dict[str, float]:
        """When each caller was first given an agent: by the agents' facts, else by when the telephone was rung."""
        found = {one.call: one.offers[0].began for one in self.journeys.values() if one.offers}
        for fact in self.states:
            call = fact["data"].get("call")
            if fact["data"]["state"] == "offered" and call in self.journeys:
                found[call] = min(fact["at"], found.get(call, float("inf")))
        return found

    def _between_owners(self, one: Journey, moment: float) -> bool:
        if self.killed is None:
            return False
        return any(self.killed <= moment <= taken + SLACK for taken in one.taken_over if taken >= self.killed)

    def _doubles(self) -> Iterable[str]:
        offers = [(self._whole(offer, one.call), one.call) for one in self.journeys.values() for offer in one.offers]
        for agent in sorted({offer.agent for offer, _ in offers}):
            theirs = sorted((pair for pair in offers if pair[0].agent == agent), key=lambda pair: pair[0].began)
            latest, whose = float("-inf"), ""
            for offer, call in theirs:
                if offer.began < latest - LATE:
                    yield f"{agent} was offered {call} while {whose} was theirs"
                if offer.ended > latest:
                    latest, whose = offer.ended, call
        yield from self.rung_on_the_phone

    def _whole(self, offer: Offer, call: str) -> Offer:
        """The offer with its end, where only the agent's own facts say that it was withdrawn."""
        if offer.result:
            return offer
        theirs = [f for f in self.states if f["data"]["agent"] == offer.agent and f["at"] <= offer.ended]
        theirs.sort(key=lambda fact: (fact["at"], fact["n"]))
        given = [n for n, f in enumerate(theirs) if f["data"].get("call") == call and f["at"] <= offer.began + SLACK]
        after = theirs[given[-1] + 1 :] if given else []
        ended = next((fact["at"] for fact in after if fact["data"].get("call") != call), offer.ended)
        return replace(offer, ended=ended)

    def _places(self) -> Iterable[str]:
        if self.killed is None:
            yield "no controller was killed"
            return
        if not self.taken_over():
            yield "the killed controller had no call"
        for one in self.waiting_at_the_kill():
            if len(one.joined) > 1:
                yield f"{one.call} joined the queue again"
            elif not one.outcomes:
                yield f"{one.call} waited at the kill, and nothing became of it"

    # ----------------------------------------------------------------------------------------------- figures

    def waiting_at_the_kill(self) -> list[Journey]:
        return [one for one in self.journeys.values() if self.killed and one.waits_at(self.killed)]

    def talking_at_the_kill(self) -> list[Journey]:
        return [one for one in self.journeys.values() if self.killed and one.talks_at(self.killed)]

    def taken_over(self) -> list[float]:
        """How long each call of the killed controller was nobody's, seconds."""
        killed = self.killed or 0.0
        return [
            min(late) - killed for one in self.journeys.values() if (late := [t for t in one.taken_over if t > killed])
        ]

    def count(self, outcome: str) -> int:
        return sum(one.outcomes == [outcome] for one in self.journeys.values())

    def people(self) -> list[Agent]:
        """What each agent did, by extension."""
        made = {extension: Agent(extension, name) for extension, name in self.agents.items()}
        for one in self.journeys.values():
            for offer in one.offers:
                agent = made.setdefault(offer.agent, Agent(offer.agent))
                if offer.result in MISSES:
                    agent.missed[offer.result] += 1
                elif offer.result == "talk":
                    agent.taken += 1
                    agent.talked += one.talk[1] - one.talk[0] if one.talk and isfinite(one.talk[1]) else 0.0
        for agent in made.values():
            duty = [(f["at"], _paused(f)) for f in self.states if f["data"]["agent"] == agent.extension]
            for (since, paused), (until, _) in pairwise([*sorted(duty), (self.ended, False)]):
                if paused:
                    agent.paused += max(0.0, min(until, self.ended) - max(since, self.began))
        return [made[extension] for extension in sorted(made)]

    def clock(self, seconds: float) -> str:
        """Real seconds as minutes and seconds of the people's time."""
        whole = round(seconds / self.minute * 60)
        return f"{whole // 60}:{whole % 60:02}"

    def table(self) -> list[str]:
        """The lines of the table."""
        everybody = list(self.journeys.values())
        offered = len(everybody) or 1
        served = [one for one in everybody if one.served]
        lines = [_row("Callers offered", f"{len(everybody)}")]
        for word in dict.fromkeys(OUTCOMES.values()):
            number = self.count(word)
            if number or word != "turned away":
                lines.append(_row(f"  {word}", f"{number}", f"{number / offered:6.1%}"))
        quick = sum(one.waited <= self.target * self.minute / 60 for one in served)
        lines.append(_row("Service level", f"{quick / offered:.0%}", f"answered within {self.target:.0f} s"))
        by_priority = {one.priority for one in served}
        first = [one for one in served if one.priority == max(by_priority, default=0)]
        also = f"who go first: {self.clock(_mean(first))}" if len(by_priority) > 1 else ""
        lines.append(_row("Average speed of answer", self.clock(_mean(served)), also))
        lines.append(_row("Average wait", self.clock(_mean(everybody)), "of all, those who gave up included"))
        lines.append(_row("Longest wait", self.clock(max((one.waited for one in everybody), default=0.0))))
        lines += self._kill_lines()
        lines += ["", f"{'Agent':<16}{'calls':>6}{'talk':>8}{'paused':>8}  missed"]
        for agent in self.people():
            missed = ", ".join(
                f"{agent.missed[word]} {word.replace('_', ' ')}" for word in MISSES if agent.missed[word]
            )
            who = f"{agent.extension} {agent.name}".strip()
            talked, paused = self.clock(agent.talked), self.clock(agent.paused) if agent.paused else "–"
            lines.append(f"{who:<16}{agent.taken:>6}{talked:>8}{paused:>8}  {missed or '–'}")
        return lines

    def _kill_lines(self) -> Iterable[str]:
        if self.killed is None:
            return
        waiting, talking, taken = self.waiting_at_the_kill(), self.talking_at_the_kill(), self.taken_over()
        passed, troubled = self.passed_over(), " ".join((*self._places(), *self._talks()))
        kept = sum(one.call not in passed and one.call not in troubled for one in waiting)
        whole = sum(one.call not in troubled for one in talking)
        yield _row("Kills survived", "1", f"kill -9 of a controller at {self.clock(self.killed - self.began)}")
        yield _row("  talks that went on", f"{whole}", f"of {len(talking)}")
        last = (
            f"; {counted(len(taken), 'call')} had another controller after {max(taken) * 1000:.0f} ms" if taken else ""
        )
        yield _row("  kept their place", f"{kept}", f"of {len(waiting)} who waited{last}")


def _paused(fact: Fact) -> bool:
    data = fact["data"]
    return bool(data.get("duty", data["state"]) == "paused")


def _mean(journeys: Sequence[Journey]) -> float:
    return sum(one.waited for one in journeys) / len(journeys) if journeys else 0.0


def _row(what: str, value: str, more: str = "") -> str:
    return f"{what:<26}{value:>6}  {more}".rstrip()
