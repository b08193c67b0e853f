"""Takeovers are invisible: a call that changes hands at any moment goes where the undisturbed call goes.

A small model of the switch and of the people around it (``World``) walks a random flow twice: once undisturbed,
once with controllers that die at random moments.  Legs, recordings and talks live in the world and go on while
nobody owns the call; keys that are pressed meanwhile are lost, and a caller whose prompt begins again presses
them again.  What must agree: the end, the path, each step's outcome, who talked, which messages were left,
what became of each wait in a queue.

The surprise: people answer for a *visit and a try*, not for a moment; only so are the two walks comparable.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol.call import Call, Life, epilogue
from callcontrol.routing.model import Routing
from callcontrol.state import decode
from tests.playbook import CALL, CALLED, CALLER, HEAD, MONDAY_NOON, epoch, routing

#: What a telephone does: result, and after how many seconds of ringing.
PHONES = (("answers", 2.0), ("busy", 0.1), ("declined", 1.5), ("unreachable", 0.0), ("no_answer", 1e9))
#: What a caller does at a prompt: keys, nothing, or leaves.
ANSWERS = ("1", "2", "3", "302", "303", "306", "9", "12", "1234", "12#", "", "", "hangs up")
#: What a caller does while a message is recorded.
MESSAGES = ("#", "hangs up", "")
#: What a lookup answers, and after how many seconds; the least that a new owner waits is more, or it hangs.
LOOKUPS = (("then", 0.1), ("then", 0.4), ("not_found", 0.3), ("failed", 0.0), ("then", 1e9))
PROMPT, TALK, SPEAKS = 2.0, 20.0, 7.0
#: How long somebody hears the whisper and looks for the 1.
SCREENS = 4.0
PEOPLE = ("301", "302", "303", "304", "305", "306")
MOBILES = ("+79161112233", "+79162223344")
#: The playbook's company, with a way out, and people who forward.
COMPANY = HEAD.replace(
    "  303: {name: Chiara}\n",
    f"""\
  303: {{name: Chiara}}
  304: {{name: Dora, mobile: "{MOBILES[1]}", forward: {{no_answer: {{after: 10s, to: mobile}}, busy: 305}}}}
  305: {{name: Egon, forward: {{always: 302, otherwise: voicemail}}}}
  306: {{name: Fritz, whisper: For Fritz., forward: {{unreachable: 304, otherwise: "{MOBILES[1]}"}}}}
outbound: {{trunk: carrier-a}}
queues:
  sales: {{agents: [302, 303, 306], strategy: round-robin, ring: 10s, max_wait: 90s, unstaffed: 5s,
    announce: {{every: 20s, say: "Number {{position}}."}}}}
  all: {{agents: [302, 303], strategy: ring-all, ring: 10s, max_wait: 90s}}
""",
)
#: How it is in a queue: agents are free; it takes nobody; nobody is logged in; nobody is free, and the caller leaves
#: or presses a key.
QUEUES = ("served", "served", "served", "full", "nobody", "leaves", "presses")
#: How long the queue takes to say something.
SAYS = 0.003


@dataclass
class Leg:
    address: str
    state: str = "ringing"  # asked, ready, gone
    asks: bool = False  # something is heard, or a 1 to be pressed, before it is ready


@dataclass
class Script:
    """What the people do; all of it is independent of who owns the call."""

    phones: dict[str, tuple[str, float]]
    answers: Sequence[str]
    messages: Sequence[str]
    caller_ends_talk: bool
    lookups: Sequence[tuple[str, float]] = (("failed", 0.1),)
    queues: Sequence[str] = ("served",)


class Queueing:
    """A fair queue with one caller.  It belongs to nobody: what it says is lost with the owner it is said to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.standing: m.Enter | None = None
        self.owed = False  # an Enter without its Take or Leave
        self.offers: dict[str, int] = {}
        self.talking: str | None = None
        self.delayed: set[str] = set()
        self.asked: dict[str, tuple[int, int]] = {}  # when, and when before that
        self.last = 0
        self.seen = -1

    @property
    def mood(self) -> str:
        moods = self.world.script.queues
        return moods[self.world.visits % len(moods)]

    def says(self, event: m.Event, after: float = SAYS) -> None:
        self.world.later(after, event, owned=True)

    def enter(self, command: m.Enter) -> None:
        self.owed = True
        if self.mood == "full":
            self.says(m.NotEntered("full"))
            return
        assert command.again <= (command.joined == 1), "entered again without a place"
        self.standing, self.talking = command, None
        self.last = max(self.last, command.first - 1)
        self.says(m.Entered(1))
        for agent, offer in self.offers.items():
            self.says(m.Offered(offer, agent))
        if self.mood == "nobody":
            self.says(m.Staffed("no_agents"), 0.5)
        elif self.mood == "presses":
            self.says(m.Digit("1"), 5.0)
        elif self.mood == "leaves" and self.seen != self.world.visits:
            self.world.later(30.0, partial(self.world.hang_up, "caller"))
        self.seen = self.world.visits
        self.offer()

    def offer(self) -> None:
        if self.standing is None or self.mood != "served":
            return
        queue = self.world.routing.queues[self.standing.queue]
        agents = [agent.agent for agent in queue.agents]
        for agent in sorted(agents, key=lambda agent: (self.asked.get(agent, (0, 0))[0], agents.index(agent))):
            if agent in (*self.offers, *self.delayed, self.talking) or (self.offers and not self.standing.together):
                continue
            self.last += 1
            self.offers[agent] = self.last
            self.asked[agent] = (self.last, self.asked.get(agent, (0, 0))[0])
            self.says(m.Offered(self.last, agent))

    def miss(self, command: m.Miss) -> None:
        agent = command.agent
        if self.offers.get(agent) != command.offer and self.talking != agent:
            return  # too late
        self.offers.pop(agent, None)
        self.talking = None if self.talking == agent else self.talking
        if command.result == "lost":
            self.asked[agent] = (self.asked[agent][1], 0)
        self.delayed.add(agent)
        self.world.later(command.delay, partial(self.rested, agent))
        self.offer()

    def rested(self, agent: str) -> None:
        self.delayed.discard(agent)
        self.offer()

    def take(self, command: m.Take) -> None:
        mine = self.offers.get(command.agent) == command.offer or self.talking == command.agent
        self.standing, self.owed, self.offers = None, False, {}
        self.talking = command.agent
        assert mine, f"{command.agent} is taken, and was never offered"
        self.says(m.Taken(command.offer, granted=True))

    def leave(self) -> None:
        self.standing, self.owed, self.offers, self.talking = None, False, {}, None


@dataclass
class World:
    """A switch, telephones and a caller on a clock of their own.  ``kills``: (events until then, delay, gap)."""

    routing: Routing
    script: Script
    kills: list[tuple[int, float, float]]
    now: float = field(default_factory=lambda: epoch(MONDAY_NOON))
    facts: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.call: Call | None = None
        self.owner = 0
        self.agenda: list[tuple[float, int, Any, int]] = []
        self.order = itertools.count()
        self.wakes: float | None = None
        self.legs: dict[str, Leg] = {}
        self.stored = ""
        self.answered = False
        self.ended = False
        self.bridged: str | None = None
        self.record: dict[str, Any] | None = None
        self.visits = 0
        self.until_kill = self.kills[0][0] if self.kills else -1
        self.killed_joining = False
        self.joining: str | None = None
        self.queueing = Queueing(self)
        self.take(None)

    # ------------------------------------------------------------------------------------------ its clock

    def later(self, seconds: float, what: Any, *, owned: bool = False) -> None:
        """``what`` is an event for this owner only (``owned``), or something the world does."""
        entry = (self.now + seconds, next(self.order), what, self.owner if owned else 0)
        heapq.heappush(self.agenda, entry)

    def run(self) -> World:
        for _ in range(3000):
            if self.ended and (self.call is None or self.call.over):
                return self
            due = self.agenda[0][0] if self.agenda else 1e18
            if self.call is not None and self.wakes is not None and self.wakes < due:
                self.now, self.wakes = max(self.now, self.wakes), None
                self.give(m.TimeCame())
                continue
            assert self.agenda, f"the call waits for ever in {self.call and self.call.where}"
            self.now, _, what, owner = heapq.heappop(self.agenda)
            if owner and owner != self.owner:
                continue
            if callable(what):
                what()
            else:
                self.give(what)
        raise AssertionError("the call never ends")

    def give(self, event: m.Event) -> None:
        if self.call is None:
            return
        self.perform(self.call, self.call.handle(event, self.now))
        if self.call is not None and self.call.let_go:
            self.call, self.wakes = None, None
        self.until_kill -= 1
        if self.until_kill == 0:
            self.later(self.kills[0][1], self.kill)

    # --------------------------------------------------------------------------------------------- owners

    def take(self, talked_to: str | None) -> None:
        """Another controller gets the call."""
        if self.ended or self.bridged:
            return
        self.owner += 1
        taken = decode(self.stored) if self.stored else None
        call = Call(
            self.routing,
            call_id=CALL,
            caller=CALLER,
            called=CALLED,
            now=self.now,
            answered=self.answered,
            taken=taken,
            talked_to=talked_to,
        )
        self.call = call
        self.perform(call, call.begin(self.now))

    def kill(self) -> None:
        _, _, gap = self.kills.pop(0)
        self.until_kill = self.kills[0][0] if self.kills else -1
        if self.call is None:
            return
        self.killed_joining |= self.joining is not None
        self.call, self.wakes, self.owner = None, None, self.owner + 1
        if self.joining is None:  # while they are being joined socket_resume is false: nobody gets the call
            self.later(gap, self.take_if_alone)

    def take_if_alone(self) -> None:
        if self.call is None:
            self.take(None)

    # ---------------------------------------------------------------------------------- what it is told to do

    def perform(self, call: Call, commands: Sequence[m.Command]) -> None:
        for command in commands:
            self.one(call, command)

    def one(self, call: Call, command: m.Command) -> None:
        if isinstance(command, m.Tell):
            self.facts.append((call.epoch, command.type, command.data))
            self.visits += command.type == "step.entered" and "resumed" not in command.data
        elif isinstance(command, m.Checkpoint):
            self.stored = command.state
        elif isinstance(command, m.WakeAt):
            self.wakes = command.at
        elif isinstance(command, m.Answer):
            self.answer()
        elif isinstance(command, m.Play):
            if not command.loop:
                self.later(PROMPT, m.PlayEnded(command.id), owned=True)
            if command.bargein:
                self.ask(call.state().progress)
        elif isinstance(command, m.StopPlay):
            self.later(0.02, m.PlayEnded(command.id), owned=True)
        elif isinstance(command, m.Enter):
            self.queueing.enter(command)
        elif isinstance(command, m.Miss):
            self.queueing.miss(command)
        elif isinstance(command, m.Take):
            self.queueing.take(command)
        elif isinstance(command, m.Leave):
            self.queueing.leave()
        elif isinstance(command, m.AskPlace):
            self.queueing.says(m.PlaceTold(1))
        elif isinstance(command, m.Record):
            self.recorded(command)
        elif isinstance(command, m.StopRecord):
            self.later(0.02, self.stop_record)
        elif isinstance(command, m.RingLeg):
            self.ring(command)
        elif isinstance(command, m.FindLeg):
            assert command.leg not in self.legs or command.screened == self.legs[command.leg].asks
            self.later(0.001, lambda: self.found(command.leg), owned=True)
        elif isinstance(command, m.CancelLeg):
            if command.leg in self.legs and self.bridged != command.leg:
                self.legs[command.leg].state = "gone"
        elif isinstance(command, m.Join):
            self.joining = command.leg
            self.later(0.045, lambda: self.bridge(command))
        elif isinstance(command, m.Lookup):
            self.look_up(command)
        elif isinstance(command, m.Hangup):
            self.later(0.02, lambda: self.hang_up("cordboard", command.reason))

    def answer(self) -> None:
        if not self.answered:
            self.answered = True
            self.later(0.02, m.Answered(), owned=True)

    def ask(self, progress: dict[str, Any]) -> None:
        place = self.visits * 3 + int(progress.get("left", 0))
        keys = self.script.answers[place % len(self.script.answers)]
        if keys == "hangs up":
            self.later(1.0, lambda: self.hang_up("caller"), owned=True)
            return
        for index, key in enumerate(keys):
            self.later(0.5 + 0.2 * index, partial(self.press, key, self.visits), owned=True)

    def press(self, key: str, visit: int) -> None:
        if visit == self.visits:  # else something new is heard: the caller stops
            self.give(m.Digit(key))

    def look_up(self, command: m.Lookup) -> None:
        outcome, after = self.script.lookups[self.visits % len(self.script.lookups)]
        values = dict.fromkeys(command.wanted, "302") if outcome == "then" else {}
        if after < command.seconds:
            self.later(after, m.LookedUp(command.id, outcome, values), owned=True)

    def ring(self, command: m.RingLeg) -> None:
        known = self.legs.get(command.leg)
        assert known is None or known.state == "gone", f"{command.phone.address} is rung twice"
        assert not any(leg.address == command.phone.address and leg.state != "gone" for leg in self.legs.values()), (
            f"{command.phone.address} is rung while it rings"
        )
        leg = self.legs[command.leg] = Leg(command.phone.address, asks=bool(command.whisper or command.confirm))
        result, after = self.script.phones[leg.address]
        if result == "answers" and leg.asks:
            self.later(after, lambda: self.leg_is(command.leg, leg, "asked", m.LegAnswered(command.leg)))
            self.later(after + SCREENS, lambda: self.leg_is(command.leg, leg, "ready", m.LegReady(command.leg)))
        elif result == "answers":
            self.later(after, lambda: self.leg_is(command.leg, leg, "ready", m.LegReady(command.leg)))
        elif result != "no_answer":
            self.later(after, lambda: self.leg_is(command.leg, leg, "gone", m.LegFailed(command.leg, result)))

    def leg_is(self, uuid: str, leg: Leg, state: str, event: m.Event) -> None:
        if self.legs.get(uuid) is leg and leg.state in ("ringing", "asked"):
            leg.state = state
            self.give(event)

    def found(self, uuid: str) -> None:
        state = self.legs[uuid].state if uuid in self.legs else "gone"
        gone = m.LegFailed(uuid, "unreachable", "GONE")
        self.give(
            {"ringing": m.LegRinging(uuid), "asked": m.LegAnswered(uuid), "ready": m.LegReady(uuid), "gone": gone}[
                state
            ]
        )

    def bridge(self, command: m.Join) -> None:
        self.joining = None
        leg = self.legs.get(command.leg)
        if self.ended:
            return
        if leg is None or leg.state != "ready":
            self.give(m.JoinFailed(command.leg, "-ERR Invalid uuid"))
            self.take_if_alone()
            return
        assert self.bridged is None, "joined twice"
        self.bridged, self.answered = command.leg, True
        self.give(m.Joined(command.leg))
        self.call, self.wakes, self.owner = None, None, self.owner + 1
        self.later(TALK, self.talk_ends)

    def talk_ends(self) -> None:
        leg, self.bridged = self.bridged, None
        assert leg is not None
        self.legs[leg].state = "gone"
        if self.script.caller_ends_talk:
            self.hang_up("caller")
        else:
            self.take(leg)

    def recorded(self, command: m.Record) -> None:
        known = self.record
        if command.again and known is not None and known["name"] == command.name:
            known["id"] = command.id
            if known["ends"] is None:
                return
            known["ends"] = None  # it ended while nobody listened: taken up again
        else:
            self.record = {"id": command.id, "name": command.name, "began": self.now, "ends": None}
        what = self.script.messages[self.visits % len(self.script.messages)]
        record = self.record
        if what == "#":
            self.later(SPEAKS, m.Digit("#"))
        elif what == "hangs up":
            self.later(SPEAKS, lambda: self.hang_up("caller"))
        self.later(SPEAKS + 6, lambda: self.stop_record() if self.record is record else None)

    def stop_record(self) -> None:
        record = self.record
        if record is None or record["ends"] is not None:
            return
        record["ends"] = self.now
        self.give(m.RecordEnded(record["id"], record["name"], self.now - record["began"]))

    def hang_up(self, by: str, cause: str = "NORMAL_CLEARING") -> None:
        if self.ended:
            return
        self.ended = True
        if self.call is None:
            self.queueing.leave()  # whoever hears of it does that
            state = decode(self.stored)
            told = epilogue(self.routing, state, CALL, cause=cause, answered=self.answered, now=self.now)
            self.facts += [(state.epoch, fact.type, fact.data) for fact in told]
            return
        self.give(m.HungUp(cause, by))
        self.stop_record()
        if self.call is not None:
            self.perform(self.call, self.call.close(self.now))

    # --------------------------------------------------------------------------------------------- judging

    @property
    def story(self) -> dict[str, Any]:
        """What must not depend on who owned the call."""
        told = [(kind, data) for _, kind, data in self.facts]

        def of(*kinds: str) -> list[tuple[str, dict[str, Any]]]:
            return [(kind, data) for kind, data in told if kind in kinds]

        return {
            "path": [(d["flow"], d["step"]) for _, d in of("step.entered") if "resumed" not in d],
            "outcomes": [(d["step"], d["outcome"]) for _, d in of("step.left")],
            "talks": [d["with"] for _, d in of("talk.ended")],
            "messages": [tuple(d["for"]) for _, d in of("message.recorded", "message.empty")],
            "forwards": Counter((d["person"], d["rule"]) for _, d in of("call.forwarded")).keys(),
            "answered": Counter(d["address"] for _, d in of("leg.result") if d["result"] == "answered"),
            "queues": [
                (kind, d["queue"], d.get("outcome"), d.get("agent"))
                for kind, d in told
                if kind.startswith("queue.")
                and kind not in ("queue.joined", "queue.offered", "queue.missed", "queue.withdrawn")
            ],
            "once": Counter(kind for kind, _ in told if kind in ("call.started", "call.ended")),
            "cause": [d["cause"] for _, d in of("call.ended")],
            "trouble": [(k, d) for k, d in of("step.failed", "step.gone", "message.failed", "join.failed")],
        }


# ------------------------------------------------------------------------------------------- random routing


@st.composite
def flows(draw: st.DrawFn) -> str:
    """A flow of up to five steps whose edges lead forward, and a flow to run inside."""
    count = draw(st.integers(1, 5))
    lines = ["main:"]
    for index in range(count):
        later = [f"s{n}" for n in range(index + 1, count)] + ["bye", "out"]
        to = partial(draw, st.sampled_from(tuple(later)))
        step = draw(
            st.sampled_from(
                [
                    "{{menu: Press., keys: {{1: {0}, 2: {1}, 3: {2}}}, extensions: [302, team, 306], tries: 2,"
                    " wait: 5s, then: {3}, otherwise: {0}}}",
                    "{{collect: Number?, digits: 2-4, into: x, tries: 2, then: {0}, otherwise: {1}}}",
                    "{{dial: 302, then: {0}, otherwise: {1}, busy: {2}}}",
                    "{{dial: 304, then: {0}, otherwise: {1}, busy: {2}}}",
                    "{{dial: 305, ring: 12s, then: {0}, otherwise: {1}}}",
                    "{{dial: 306, whisper: Hello., then: {0}, otherwise: {1}, declined: {2}}}",
                    "{{dial: team, then: {0}, otherwise: {1}, declined: {2}}}",
                    "{{dial: team, strategy: in-order, ring: 12s, then: {0}, otherwise: {1}, busy: {2}}}",
                    "{{dial: [{{to: 301, ring: 10s}}, {{to: team, ring: 15s}}], then: {0}, otherwise: {1}}}",
                    "{{queue: sales, keys: {{1: {0}}}, then: {1}, timeout: {2}, otherwise: {3}}}",
                    "{{queue: sales, keys: {{1: left}}, then: {1}, left: {2}, otherwise: {3}}}",
                    "{{queue: all, keys: {{1: {0}}}, then: {1}, otherwise: {2}}}",
                    "{{voicemail: [302], greeting: Hello., then: {0}}}",
                    "{{play: Words., then: {0}}}",
                    "{{set: {{y: word}}, then: {0}}}",
                    "{{lookup: https://crm.test/x, into: [z], then: {0}, not_found: {1}, failed: {2}}}",
                    "{{flow: sub, then: {0}}}",
                ]
            )
        )
        lines.append(f"  s{index}: " + step.format(to(), to(), to(), to()))
    lines += ["  out: {play: Bye., then: bye}", "  bye: {hangup: busy}"]
    lines += ["sub:", "  ask: {menu: Well?, keys: {1: return, 2: leave}, tries: 1, otherwise: return}"]
    lines += ["  leave: {dial: 303, then: return, otherwise: return}"]
    return "\n".join(lines)


SCRIPTS = st.builds(
    Script,
    phones=st.fixed_dictionaries({name: st.sampled_from(PHONES) for name in (*PEOPLE, *MOBILES)}),
    answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=6),
    messages=st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=3),
    caller_ends_talk=st.booleans(),
    lookups=st.lists(st.sampled_from(LOOKUPS), min_size=1, max_size=3),
    queues=st.lists(st.sampled_from(QUEUES), min_size=1, max_size=3),
)
KILLS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0.0, 0.01, 0.03, 0.4, 1.9, 3.0]), st.sampled_from([0.02, 0.3, 3.0])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flows(), SCRIPTS, KILLS)
def test_a_call_that_changes_hands_goes_where_the_undisturbed_one_goes(
    flow: str, script: Script, kills: list[tuple[int, float, float]]
) -> None:
    built = routing(flow, COMPANY)
    calm = World(built, script, []).run()
    rough = World(built, script, list(kills)).run()
    expected, seen = calm.story, rough.story
    if rough.killed_joining:  # whoever saw the answer may have died before the joining was tried again
        expected.pop("answered"), seen.pop("answered")
    assert seen == expected
    assert calm.call is None or calm.call.life is Life.ENDED
    left = [leg.address for leg in rough.legs.values() if leg.state != "gone"]
    assert not left, f"still ringing: {left}"
    for world in (calm, rough):
        assert not world.queueing.owed, "somebody stands in a queue for ever"
        assert not world.queueing.offers
        joined = sum(kind == "queue.joined" for _, kind, _ in world.facts)
        assert joined <= sum(d.get("verb") == "queue" and "resumed" not in d for _, _, d in world.facts)
    # An owner who dies in the 20 ms before CHANNEL_ANSWER or CHANNEL_BRIDGE takes these two facts along.
    for kind in ("call.answered", "talk.started"):
        assert sum(k == kind for _, k, _ in rough.facts) <= sum(k == kind for _, k, _ in calm.facts)
    epochs = [e for e, kind, _ in rough.facts if kind in ("call.started", "call.taken_over")]
    assert epochs == sorted(set(epochs)), f"an epoch twice: {epochs}"
