"""Whatever ``check`` passes can be walked: random companies, random callers, and never a fault, a circle or silence.

``EXAMPLES=1000`` walks each company a thousand times (some minutes); by default it is a few dozen.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol.call import Life
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.workbench.walk import AWAY, LOST, PHONES, Answer, Question, Walk
from tests.routings import CODES, NUMBERS, OUTSIDE, PEOPLE, companies, mutated

#: How often each company is walked.
EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
COMPANIES = int(os.environ.get("COMPANIES", "40"))
SOUNDS = frozenset({"night.wav"})
#: The longest that an answered caller may hear nothing at a time: the longest wait of a menu.
LONGEST_SILENCE = 60.0
#: Events of a call without any time between them: more is a circle.
MOST_AT_ONCE = 600
#: After so many events, or seconds, the caller has had enough.
PATIENCE, PATIENT_FOR = 400, 4 * 3600.0


class Fault(AssertionError):
    """What no call may ever come to."""


class Probe(Walk):
    """A walk that looks, after every event, whether the caller is well; and a switch on which things go wrong.

    Joinings fail, sounds are missing, legs drop when they are ready, offers are withdrawn, queues are full.
    """

    def __init__(self, routing: Routing, choose: random.Random, **more: Any) -> None:
        self.r = choose
        self.people = {who: choose.choice(PHONES) for who in (*PEOPLE, *OUTSIDE)}
        self.agents = {who: choose.choice((*PHONES, *AWAY)) for who in PEOPLE}
        self.sounds: set[int] = set()
        self.recording: set[int] = set()
        self.legs: set[str] = set()
        self.ended: list[dict[str, Any]] = []
        self.rings = False
        self.at_once, self.last, self.count = 0, 0.0, 0
        self.wild = choose.random() < 0.6
        self.left = False
        super().__init__(routing, world=self.answer, unasked=self.by_itself, to_the_end=True, **more)
        self.began = self._now

    def answer(self, question: Question) -> Answer:
        r = self.r
        if question.kind == "keys":
            typed = r.choice(question.options)
            return typed if r.random() < 0.7 else "".join(r.choice("0123456789*#") for _ in range(r.randint(0, 6)))
        if question.kind == "phone":
            return self.people.get(question.subject) or r.choice(PHONES)
        if question.kind == "agent":
            return self.agents[question.subject]
        if question.kind == "lookup":
            values = {
                name: r.choice(("301", "nobody", "+79161112233", "x" * 64, "ы" * 32, "")) for name in question.wanted
            }
            return r.choice((values, *LOST))
        return r.choice(("on", "off"))

    def by_itself(self, at: float) -> m.Event | None:
        self.count += 1
        enough = self.count > PATIENCE or at > self.began + PATIENT_FOR
        if not self.left and (enough or self.r.random() < 0.01):
            self.left = True
            return m.HungUp("NORMAL_CLEARING")
        return m.Digit(self.r.choice("0123456789*#")) if self.r.random() < 0.03 else None

    # ------------------------------------------------------------------------------------- what goes wrong

    def goes_wrong(self, chance: float = 0.1) -> bool:
        return self.wild and self.r.random() < chance

    def _one(self, command: m.Command) -> None:
        match command:
            case m.Tell(type="call.ended"):
                self.ended.append(command.data)
            case m.Tell(type="step.failed"):
                raise Fault(f"a step crashed: {command.data}")
            case m.Log(level="error") if not command.text.startswith(("the sound", "the message was", "the talk is")):
                raise Fault(command.text)
            case m.RingBack():
                self.rings = True
            case m.Play():
                self.sounds.add(command.id)
                if self.goes_wrong(0.05):
                    self._later(0.0, m.PlayEnded(command.id, missing=True))
                    return
            case m.Record():
                self.recording.add(command.id)
                if self.goes_wrong():
                    self._records[command.id] = (command.name, self._now)
                    self._later(0.0, m.RecordEnded(command.id, command.name, 0.0, failed=True))
                    return
            case m.RingLeg():
                if command.leg in self.legs:
                    raise Fault(f"{command.phone.address} is rung twice")
                self.legs.add(command.leg)
                if self.goes_wrong():
                    self._later(1.0, m.LegAnswered(command.leg))
                if self.goes_wrong():
                    self._later(4.02, m.LegFailed(command.leg, "lost"))
            case m.CancelLeg():
                self.legs.discard(command.leg)
            case m.CancelLegs():
                self.legs.clear()
            case m.Join() if self.goes_wrong(0.3):
                self._later(0.05, m.JoinFailed(command.leg, "USER_NOT_REGISTERED"))
                return
            case m.Enter() if command.most is not None and not command.again and self.goes_wrong(0.3):
                self._later(0.0, m.NotEntered("full"))
                return
            case m.Take() if self.goes_wrong():
                self._later(0.0, m.Taken(command.offer, False))
                return
        super()._one(command)

    # --------------------------------------------------------------------------------- how the caller fares

    def _happens(self, event: m.Event) -> None:
        match event:
            case m.PlayEnded():
                self.sounds.discard(event.id)
            case m.RecordEnded():
                self.recording.discard(event.id)
            case m.LegFailed() | m.Joined():
                self.legs.discard(event.leg)
            case m.Offered() if self.goes_wrong(0.05):
                self._later(2.0, m.Withdrawn(event.offer))
                withdrawn = m.Miss(event.offer, event.agent, "busy", 10.0)
                self._later(2.0, lambda: self._missed(withdrawn))
        super()._happens(event)
        self.well()

    def _talk(self) -> None:
        super()._talk()
        self.sounds.clear()

    def well(self) -> None:
        """Raises Fault if the caller is not."""
        self.at_once = self.at_once + 1 if self._now == self.last else 0
        self.last = self._now
        if self.at_once > MOST_AT_ONCE:
            raise Fault(f"{MOST_AT_ONCE} events at once, in {self._call.where}")
        call = self._call
        if self._done or self._talks is not None or call.life is Life.ENDED:
            return
        if call.over or call._wait is None:
            raise Fault(f"the call waits for nothing, in {call.where}")
        silent = not self.sounds and not self.recording and not (self.rings and call.life is Life.RINGING)
        if silent and call._wait.until - self._now > LONGEST_SILENCE:
            raise Fault(f"{call._wait.until - self._now:.0f} s of silence, in {call.where}")


def walk(routing: Routing, seed: int) -> None:
    """One random caller's call, to its end."""
    r = random.Random(seed)
    phone = r.choice(PEOPLE) if r.random() < 0.25 else None
    caller = phone or r.choice((None, "+79160000001", "+88212345", "+79031234567", "+442079460000"))
    called = r.choice((*NUMBERS, *CODES, *PEOPLE, *OUTSIDE, "112", "999999", "*99")) if phone else r.choice(NUMBERS)
    at = dt.datetime(2026, 11, 23) + dt.timedelta(minutes=r.randrange(60 * 24 * 60))
    probe = Probe(routing, r, caller=caller, called=called, at=at, phone=phone)
    journey = probe.run()
    if journey.question:
        raise Fault(journey.question)
    if len(probe.ended) != 1:
        raise Fault(f"the call ended {len(probe.ended)} times")
    if probe.legs:
        raise Fault(f"{len(probe.legs)} legs are left over")


def walks(text: str, seed: int, times: int) -> bool:
    """Walk a file ``times`` times, if ``check`` passes it; returns whether it does."""
    loaded = load_text(text, path="random.yaml", company="random", sounds=SOUNDS)
    if loaded.routing is None:
        assert any(found.severity == "error" for found in loaded.problems)
        return False
    for number in range(seed, seed + times):
        try:
            walk(loaded.routing, number)
        except Exception as error:
            raise AssertionError(f"walk {number}: {type(error).__name__}: {error}\n{text}") from error
    return True


BOUNDED = settings(
    max_examples=COMPANIES,
    deadline=None,
    derandomize="EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@BOUNDED
@given(companies(), st.integers(0, 2**32))
def test_what_check_passes_can_be_walked_by_anybody(text: str, seed: int) -> None:
    assume(walks(text, seed, EXAMPLES))


@BOUNDED
@given(companies(), st.integers(0, 2**32))
def test_a_file_with_a_mistake_is_refused_or_can_be_walked_all_the_same(text: str, seed: int) -> None:
    walks(mutated(text, random.Random(seed)), seed, max(1, EXAMPLES // 4))
