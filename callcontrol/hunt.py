"""Hunting for somebody who answers: the one way in which telephones are rung.

Every telephone is a leg of its own whose UUID follows from the call, the number of the round and the
address, so that whoever takes the call over finds the legs again.  The first leg that is ready is joined;
the others are cancelled in the same batch.  Dial stages, ring groups, forwards, numbers outside and extensions
dialled in a menu are all a :class:`Hunt`.

Forward rules (``forwards.py``) hold for one person who is dialled alone; in groups and stages that person's phones
ring and no more.  The surprise: a hunt that succeeds never returns here.  At the joining the call is let go; when the
talk is over it comes back as a takeover with ``talked``, and the hunt's first line returns ``then``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from callcontrol import dialling
from callcontrol.dialling import Barred, Way
from callcontrol.forwards import Chain
from callcontrol.messages import (
    CancelLeg,
    CancelLegs,
    FindLeg,
    Join,
    JoinFailed,
    LegAnswered,
    LegFailed,
    LegReady,
    LegRinging,
    Log,
    Phone,
    Progress,
    RingBack,
    StopPlay,
    Tell,
    TimeCame,
    Tone,
    Wait,
)
from callcontrol.phrases import phrase
from callcontrol.recording import NO, ON, Noted
from callcontrol.routing.model import Edge, Person, Place, Stage
from callcontrol.spool import segment_file
from callcontrol.view import Part, Playing, View
from callcontrol.voicemail import leave_message, owed

THEN = "then"
#: Ends the call.
HANGUP = Edge(None, None, "hangup", Place("", 0, 0))
#: Which result of several telephones is the outcome: the first of these that occurred.
NEARNESS = ("declined", "busy", "no_answer", "unreachable", "refused")
#: A telephone that is rung again after a takeover rings at least so long, seconds.
LEAST_RING = 5.0
#: But all takeovers together make a stage no longer than by this, seconds.
MOST_EXTRA = 15.0
#: How long somebody who has answered may take to hear the whisper and press 1, seconds; the switch's own limit is less.
SCREENING = 30.0
#: How long results of a leg that is gone may still come in, before it may be rung again, seconds.
SETTLING = 0.2
#: A leg that drops as it is joined mostly makes the switch bring the call anew, to another owner: how long this one
#: waits for that before it takes the caller for its own, seconds.
LEAVING = 0.5
#: How long the switch may take to join two channels, seconds.
JOINING = 5.0
#: How long the switch may take to say what became of a leg, seconds.
FINDING = 3.0
#: The longest message that a forward to voicemail takes, seconds.
MESSAGE = 120.0


class Hunt:
    """Ring ``stages`` one after another.  ``note`` is kept in the progress for the step that hunts."""

    def __init__(self, stages: Sequence[Stage], note: Mapping[str, Any] | None = None) -> None:
        self._stages = stages
        self._note = dict(note or {})

    def run(self, call: View, progress: Mapping[str, Any]) -> Part:
        """Hunt, and return the outcome, or an edge that ends the call: the caller has left a message.

        ``progress`` is empty or what an earlier owner yielded.
        """
        if call.talked:
            return THEN
        hunting = _Hunting(call, self._note, progress)
        alone = _alone(call, self._stages)
        if alone is not None:
            return (yield from hunting.follow(alone, self._stages[0]))
        return (yield from hunting.stages(self._stages))


class Ways:
    """Rings ready ways once, together: what a number that a phone of ours dialled needs."""

    def __init__(self, ways: Sequence[Way], ring: float) -> None:
        self._ways, self._seconds = ways, ring

    def run(self, call: View, progress: Mapping[str, Any]) -> Part:
        """As :meth:`Hunt.run`."""
        if call.talked:
            return THEN
        return (yield from _Hunting(call, {}, progress).once(self._ways, self._seconds))


def owed_by_hunt(progress: Mapping[str, Any], company: str, call_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The facts that a hunt owes for a call which ended while nobody owned it: a message left by a forward."""
    frames = Chain.parse(str(progress.get("w", "")))
    return owed(progress, (frames[-1][0],), company, call_id) if frames else iter(())


def _alone(call: View, stages: Sequence[Stage]) -> str | None:
    """The one person whom these stages dial, or None: several, a group, a number."""
    if len(stages) != 1 or len(stages[0].to) != 1 or stages[0].to[0].group:
        return None
    (found,) = call.extensions(stages[0].to, call.now)
    return found if isinstance(found, str) else None


class _Hunting:
    """One run of a hunt: what has been rung, with which results, and the tone that the caller hears."""

    def __init__(self, call: View, note: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        self._call = call
        self._note = note
        self._progress = progress
        self._began = float(progress["f"]) if "f" in progress else call.now
        self._results: list[str] = [str(progress["o"])] if "o" in progress else []
        self._tone: Playing | None = None
        self._audible = False

    # -------------------------------------------------------------------------------------- whom, in which order

    def stages(self, stages: Sequence[Stage]) -> Part:
        """Ring stage after stage; in-order stages ring one person after another."""
        if "w" in self._progress:
            yield from self._begin_anew()
        first, position = int(self._progress.get("a", 0)), 0
        for stage in stages:
            people = self._call.extensions(stage.to, self._began)
            rounds = [[person] for person in people] if stage.strategy == "in-order" else [people]
            for together in rounds:
                if position >= first:
                    adopting = self._progress if position == first and "r" in self._progress else None
                    ways: list[Way | Barred] = []
                    for who in together:
                        if isinstance(who, str):
                            ways += dialling.phones_of(self._call, who, stage.whisper)
                        else:
                            ways.append(dialling.target(self._call, who, confirm=stage.confirm, whisper=stage.whisper))
                    yield from self._ring(ways, {"a": position}, stage.ring, adopting)
                position += 1
        return (yield from self._nobody())

    def follow(self, extension: str, stage: Stage) -> Part:
        """Ring one person, and follow the forward rules of whoever does not answer."""
        people = self._call.routing.people
        chain = Chain.read(str(self._progress.get("w", "")), people)
        if chain is None or chain.frames[0][0] != extension:
            if self._progress:
                yield from self._begin_anew()
            chain = Chain.begin(people, extension)
        progress: Mapping[str, Any] | None = self._progress
        following: Chain | None = chain
        while following is not None:
            chain, person, to = following, people[following.extension], following.to(people)
            adopting = progress if progress and "r" in progress and progress.get("w") == chain.text else None
            if to is not None and not (progress and progress.get("w") == chain.text):
                self._call.why(f"{chain.extension} forwards to {to} ({chain.rule})")
                yield Tell("call.forwarded", {"person": chain.extension, "rule": chain.rule, "to": to})
            before = len(self._results)
            if to == "voicemail":
                return (yield from self._message(chain, progress if adopting else None))
            if to is not None and to in people:
                entered = chain.enter(people, to)
                if entered is not None:
                    following = entered
                    continue
                self._call.why(f"{to} has been tried: the circle ends here")
                yield Tell("forward.cut", {"person": chain.extension, "to": to})
                self._results.append("unreachable")
            elif to is None:
                ways = dialling.phones_of(self._call, chain.extension, stage.whisper)
                yield from self._ring(ways, {"w": chain.text}, _patience(person, stage.ring), adopting)
            else:
                number = person.mobile if to == "mobile" else to
                ways = [dialling.outside_phone(self._call, person, number, stage.whisper)] if number else []
                yield from self._ring(ways, {"w": chain.text}, stage.ring, adopting)
            progress = None
            following = chain.failed(people, nearest(self._results[before:]))
        return (yield from self._nobody())

    def _begin_anew(self) -> Part:
        """An earlier owner hunted by another version of the step: what it rang is none of what rings now."""
        if "r" in self._progress:
            yield CancelLegs()
        self._progress, self._results = {}, []

    def once(self, ways: Sequence[Way], ring: float) -> Part:
        """Ring these, once."""
        adopting = self._progress if "r" in self._progress else None
        yield from self._ring(ways, {}, ring, adopting)
        return (yield from self._nobody())

    def _message(self, chain: Chain, adopting: Mapping[str, Any] | None) -> Part:
        """The end of a chain: the caller leaves a message for the person, and the call ends."""
        call, note = self._call, {**self._note, "w": chain.text}
        yield from self._silence()
        if adopting is None:
            yield Progress(note)
        greeting = phrase("leave_message", call.language)
        yield from leave_message(call, adopting or {}, (chain.extension,), greeting, MESSAGE, note)
        return HANGUP

    def _nobody(self) -> Part:
        """The hunt is over, and nobody was joined."""
        yield from self._silence()
        return nearest(self._results)

    def _silence(self) -> Part:
        if self._tone is not None and self._tone.active:
            yield StopPlay(self._tone.id)
        self._tone = None

    def _ringback(self) -> Part:
        if self._audible:
            return
        self._audible = True
        if self._call.answered:
            self._tone = Playing(self._call, Tone("ringback"), loop=True)
            yield from self._tone.start()
        else:
            yield RingBack()

    # ------------------------------------------------------------------------------------------------- one round

    def _ring(
        self,
        found: Sequence[Way | Barred],
        mark: Mapping[str, Any],
        seconds: float,
        adopting: Mapping[str, Any] | None,
    ) -> Part:
        """Ring together.  Returns when all have failed; ``mark`` tells a takeover which round this is."""
        call = self._call
        ways: list[Way] = []
        for way in found:
            if isinstance(way, Way):
                if all(way.phone.address != other.phone.address for other in ways):
                    ways.append(way)
            elif adopting is None:
                self._results.append(way.result)
                call.why(f"{way.phone.address[:32]} is not rung: {way.why}")
                yield barred_result(way)
            else:
                self._results.append(way.result)
        if not ways:
            return
        if adopting is None:
            yield from call.announce((way.phone.person, way.phone.address) for way in ways)
        ways = [announced(call, way) for way in ways]
        yield from self._ringback()
        deadline, ring = call.now + seconds, 0
        if adopting is not None:
            ring = int(adopting["r"])
            # Not later than a whole ring from now: the clock may have been set back.
            deadline = min(float(adopting["u"]), call.now + seconds)
        until = deadline
        if adopting is not None:  # whoever is rung again gets a moment, but takeovers do not make a stage endless
            until = max(deadline, min(call.now + LEAST_RING, deadline + MOST_EXTRA))
        while ways:
            ring = ring or call.next_ring()
            remember: dict[str, Any] = {**self._note, **mark, "u": int(deadline), "r": ring, "f": int(self._began)}
            if self._results:
                remember["o"] = nearest(self._results)
            yield Progress(remember)
            legs = {call.leg_id(ring, way.phone.address): way for way in ways}
            screened: set[str] = set()
            ready: list[str] = []
            if adopting is None:
                for leg, way in legs.items():
                    yield from ring_leg(leg, way, until - call.now)
            else:
                ready = yield from self._find(legs, until, screened)
                adopting = None
            failed = yield from self._first(legs, ready, until, screened, ring)
            # Only a joining that failed brings us round again, for the time that is left.
            ways = [way for way in ways if failed is not None and way.phone != failed]
            ring = 0
            if ways:
                until = max(deadline, min(call.now + LEAST_RING, deadline + MOST_EXTRA))

    def _find(self, legs: dict[str, Way], until: float, screened: set[str]) -> Part:
        """Ask for the legs an earlier owner rang; ring again those that are gone.  Returns those ready.

        The one that dropped as it was joined is not rung again: a telephone that picks up and hangs up would keep
        the caller for ever.
        """
        call = self._call
        for leg, way in legs.items():
            yield FindLeg(leg, screened=way.screened)
        unknown = set(legs)
        ready: list[str] = []
        gone: list[str] = []
        limit = call.now + FINDING
        while call.now < limit and (unknown or gone):
            event = yield Wait(limit)
            if not isinstance(event, LegReady | LegAnswered | LegRinging | LegFailed) or event.leg not in legs:
                continue
            leg, asked = event.leg, bool(unknown)
            if isinstance(event, LegReady):
                ready.append(leg)
            elif isinstance(event, LegAnswered):
                screened.add(leg)
            elif isinstance(event, LegRinging):
                call.why(f"{legs[leg].phone.address} still rings")
            elif leg in unknown:
                gone.append(leg)
            elif leg not in gone:  # it was there, and has ended meanwhile
                ready = [other for other in ready if other != leg]
                self._results.append(event.result)
                yield leg_result(leg, legs.pop(leg).phone, event.result, event.cause)
            unknown.discard(leg)
            if asked and not unknown:
                limit = min(limit, call.now + SETTLING)
        for leg in gone:
            if leg == call.tried or until <= call.now:
                way = legs.pop(leg)
                self._results.append("no_answer")
                yield leg_result(leg, way.phone, "no_answer", "")
            else:
                yield from ring_leg(leg, legs[leg], until - call.now)
        return ready

    def _first(self, legs: dict[str, Way], ready: list[str], until: float, screened: set[str], ring: int) -> Part:
        """Join the first leg that is ready.  Returns the phone whose joining failed, else None.

        Whoever has answered and is still to press 1 gets the time for it; the others stop ringing at ``until``.
        """
        call = self._call
        alive = {leg: way.phone for leg, way in legs.items()}
        screened &= alive.keys()
        hurry = call.now + SCREENING  # the end of all screening that has begun
        while alive:
            if ready and ready[0] in alive:
                return (yield from self._join(alive, ready[0], ring))
            event = yield Wait(max(until, hurry) if screened and call.now >= until else until)
            if isinstance(event, LegReady) and event.leg in alive:
                ready = [event.leg]
            elif isinstance(event, LegAnswered) and event.leg in alive and event.leg not in screened:
                screened.add(event.leg)
                hurry = call.now + SCREENING
            elif isinstance(event, LegFailed) and event.leg in alive:
                phone = alive.pop(event.leg)
                screened.discard(event.leg)
                self._results.append(event.result)
                yield leg_result(event.leg, phone, event.result, event.cause)
            elif isinstance(event, TimeCame) and call.now >= until:
                spared = screened if call.now < hurry else set()
                for leg in [leg for leg in alive if leg not in spared]:
                    yield CancelLeg(leg)
                    self._results.append("no_answer")
                    yield leg_result(leg, alive.pop(leg), "no_answer", "")
        return None

    def _join(self, alive: dict[str, Phone], leg: str, ring: int) -> Part:
        call, phone = self._call, alive[leg]
        yield from join(call, leg, phone, ring, alive)
        until = call.now + JOINING
        while call.now < until:
            event = yield Wait(until)
            if isinstance(event, JoinFailed) and event.leg == leg:
                break
            if isinstance(event, LegFailed) and event.leg == leg:
                until = min(until, call.now + LEAVING)
        self._results.append("no_answer")
        yield from not_joined(call, leg, phone)
        return phone


def join(call: View, leg: str, phone: Phone, ring: int, rung: Mapping[str, Phone]) -> Part:
    """Connect the caller with a leg that is ready, and stop the others of those ``rung``.

    Joined is the end of this owner; the one who asked waits for JoinFailed, :data:`JOINING` at most.
    """
    yield leg_result(leg, phone, "answered", "")
    call.talk = (phone.address, call.now, ring)
    unanswered, call.answered = not call.answered, True
    record, noted = yield from _recorded(call, leg, phone)
    yield Join(leg, unanswered, record, noted)
    for other, loser in rung.items():
        if other != leg:
            yield CancelLeg(other)
            yield leg_result(other, loser, "lost", "LOSE_RACE")


def announced(call: View, way: Way) -> Way:
    """A way to somebody whom a phone of ours calls outside: they hear as they answer that they are recorded."""
    phone = way.phone
    prompt = call.ruling(phone.person, phone.address).announce if call.extension is not None else None
    return way if prompt is None else replace(way, whisper=call.sound(prompt, call.routing.languages[0]))


def _recorded(call: View, leg: str, phone: Phone) -> Part:
    """Say what is recorded of the talk that is about to begin; the file, and what is noted on the channel."""
    ruling = call.ruling(phone.person, phone.address)
    if ruling.announce is not None and call.extension is not None:
        call.announced = True  # the leg would not be ready if it had not heard it
        yield Tell("consent.played", {"language": call.routing.languages[0], "leg": leg})
    mode = NO if ruling.announce is not None and not call.announced else ruling.mode
    if ruling.mode != ON:
        # What an earlier joining noted, and be it one that failed, must not allow anything in this talk.
        call.noted = call.noted or mode != NO
        return "", Noted(call.segments, mode).text if call.noted else ""
    call.noted = True
    call.segments += 1
    file = segment_file(call.routing.company, call.id, leg, call.segments).name
    expected = {"file": file, "rule": ruling.rule, "leg": leg, "with": phone.address, "segment": call.segments}
    yield Tell("recording.expected", {**expected, "consent": call.announced})
    if mode == NO:
        yield Tell("recording.failed", {"file": file, "why": "the announcement was not heard"})
        yield Log("error", "the talk is not recorded: the announcement could not be played")
        file = ""
    return file, Noted(call.segments, mode).text


def not_joined(call: View, leg: str, phone: Phone) -> Part:
    """They could not be connected: the caller is still ours."""
    call.talk = None
    call.why(f"{phone.address} answered but could not be joined")
    yield CancelLeg(leg)
    yield Tell("join.failed", {"leg": leg, "person": phone.person, "address": phone.address})


def _patience(person: Person, ring: float) -> float:
    """How long a person's own phones ring: as asked, or until their rule for no answer."""
    rule = person.forward.get("no_answer")
    return min(ring, float(rule["after"])) if rule else ring


def ring_leg(leg: str, way: Way, seconds: float) -> Part:
    """Ring a telephone, and tell it."""
    yield way.ring(leg, max(1.0, seconds))
    yield Tell("leg.rung", {"leg": leg, "person": way.phone.person, "address": way.phone.address})


def leg_result(leg: str, phone: Phone, result: str, cause: str = "") -> Tell:
    """The fact of what became of a leg; ``cause`` is the switch's own word."""
    data = {"leg": leg, "person": phone.person, "address": phone.address, "result": result}
    return Tell("leg.result", {**data, "cause": cause} if cause else data)


def barred_result(way: Barred) -> Tell:
    """The fact of a telephone that is not rung."""
    data = {"person": way.phone.person, "address": way.phone.address[:32], "result": way.result}
    return Tell("leg.result", {**data, "cause": way.reason.upper(), "why": way.why[:300]})


def nearest(results: Sequence[str]) -> str:
    """Which of several telephones' results counts."""
    return next((word for word in NEARNESS if word in results), "unreachable")
