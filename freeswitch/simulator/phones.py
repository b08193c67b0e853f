"""The people of the stand-in switch: telephones that ring in a prescribed way, and callers a test can play.

Each keeps a story of what it noticed (`Phone.history`, `Caller.journal`), in words fit to be shown to a
person.  They hear and press; they must never look at events or at a controller's state, because a caller
cannot either.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import gevent
from gevent.event import Event

from freeswitch.simulator.channel import Channel
from freeswitch.simulator.media import Sound

if TYPE_CHECKING:
    from gevent import Greenlet

    from freeswitch.simulator.switch import Switch

__all__ = [
    "Answers",
    "Behaviour",
    "Busy",
    "Caller",
    "Does",
    "Entry",
    "Gateway",
    "NeverAnswers",
    "Phone",
    "Refuses",
    "Rejects",
    "Ring",
    "Silent",
    "Unregistered",
]


@dataclass(frozen=True)
class Answers:
    """Picks up `after` seconds of ringing; presses `presses` from `waits` seconds later on, half a second apart.

    Hangs up `talk` seconds after a conversation began, or `hangs_up` seconds after picking up, whether
    anybody was there or not; with neither, the other side must hang up.
    """

    after: float = 1.0
    talk: float | None = None
    hangs_up: float | None = None
    presses: str = ""
    waits: float = 0.5


@dataclass(frozen=True)
class Busy:
    """Answers 486 `after` seconds."""

    after: float = 0.02


@dataclass(frozen=True)
class Rejects:
    """Its owner looks at it for `after` seconds and declines (603)."""

    after: float = 0.3


@dataclass(frozen=True)
class Refuses:
    """Answers this SIP status `after` seconds: what a carrier says of a number (404, 480) or of itself (403, 503)."""

    status: int
    after: float = 0.02


@dataclass(frozen=True)
class Silent:
    """Says nothing to the switch's INVITE, which gives it up after five seconds (`timer-T1X64`)."""


@dataclass(frozen=True)
class NeverAnswers:
    """Rings until the switch gives up."""


@dataclass(frozen=True)
class Unregistered:
    """Is not there: no leg comes into being at all."""


Behaviour = Answers | Busy | Rejects | Refuses | Silent | NeverAnswers | Unregistered


class Ring(NamedTuple):
    """What a telephone shows as it begins to ring: the caller ID, both parts from the far end."""

    number: str
    name: str


#: What a telephone does: always the same, or as it is decided for each call when it comes.
Does = Behaviour | Callable[[Ring], Behaviour]
_GIVEN_UP = 5.0  # seconds until a request that nobody answers is given up


class Entry(NamedTuple):
    """One line of a story: seconds since the switch started, what happened, and with what or whom."""

    at: float
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.at:7.2f} {self.what} {self.detail}".rstrip()


def spoken(sound: Sound) -> str:
    """A sound as a person would name it: its words, the file's name, `silence`, `tone`."""
    if sound.words:
        return f"“{sound.words.strip()}”" if sound.language else sound.words
    if "://" in sound.label:
        return sound.label.partition("://")[0].removesuffix("_stream")
    return sound.label.rsplit("/", 1)[-1]


@dataclass(eq=False)
class Phone:
    """A telephone, registered or outside. `behaviour` may be replaced at any time; it counts for the next call.

    `extension` of an outside one is its number, as its carrier is sent it; its `domain` is empty. With `lines` it
    answers 486 to whatever comes while so many calls of it live, those that it made itself included.
    """

    switch: Switch
    extension: str
    behaviour: Does
    domain: str
    display: str = ""  # what it calls itself in its answer
    lines: int | None = None  # None: as many as come
    history: list[Entry] = field(default_factory=list)
    calls: list[Channel] = field(default_factory=list)  # its live legs, ringing ones included
    made: list[Channel] = field(default_factory=list)  # its live calls that it made itself
    _again: Does | None = None  # what it does once it is registered again

    @property
    def ringing(self) -> bool:
        """Whether a leg rings at it that was not picked up."""
        return any(not leg.is_answered for leg in self.calls)

    @property
    def talking_to(self) -> str | None:
        """The number of the other party, while they talk."""
        return next((leg.partner.profile.who for leg in self.calls if leg.partner is not None), None)

    def note(self, what: str, detail: str = "") -> None:
        self.history.append(Entry(self.switch.clock(), what, detail))
        self.switch.something_happened()

    def unregister(self) -> None:
        """It is not there any more, for new calls: one that it is in goes on."""
        if not isinstance(self.behaviour, Unregistered):
            self._again, self.behaviour = self.behaviour, Unregistered()

    def register(self) -> None:
        """It is there again, and does what it did before."""
        if isinstance(self.behaviour, Unregistered) and self._again is not None:
            self.behaviour = self._again

    def decide(self, ring: Ring) -> Behaviour:
        """What it will do with the call that comes now."""
        if isinstance(self.behaviour, Unregistered):
            return self.behaviour
        if self.lines is not None and len(self.calls) + len(self.made) >= self.lines:
            return Busy()
        return self.behaviour(ring) if callable(self.behaviour) else self.behaviour

    def ring(self, leg: Channel, behaviour: Behaviour) -> None:
        """A leg reaches it."""
        leg.party = _PhoneCall(self, leg, behaviour)


@dataclass(eq=False)
class Gateway:
    """A trunk: a carrier that is up or not. With a `behaviour` that is what it does with every call it is given."""

    switch: Switch
    name: str
    up: bool = True
    behaviour: Behaviour | None = None
    history: list[Entry] = field(default_factory=list)  # the numbers that it was asked for

    def note(self, what: str, detail: str = "") -> None:
        self.history.append(Entry(self.switch.clock(), what, detail))


class _PhoneCall:
    """A phone's end of one leg."""

    speaks = True

    def __init__(self, phone: Phone, leg: Channel, behaviour: Behaviour) -> None:
        self.phone = phone
        self.leg = leg
        self.behaviour = behaviour
        self._timers: list[Greenlet[..., None]] = []
        phone.calls.append(leg)
        if not isinstance(behaviour, Refuses | Silent):
            name = leg.variables.get("origination_caller_id_name", "")
            phone.note("rings", f"{leg.profile.number} {name}".rstrip())
            self._later(0.02, leg.ring_ready)
        match behaviour:
            case Answers(after=after):
                self._later(after, leg.answer)
            case Busy(after=after):
                self._later(after, lambda: self._refuse("is busy", 486))
            case Rejects(after=after):
                self._later(after, lambda: self._refuse("declines", 603))
            case Refuses(after=after, status=status):
                self._later(after, lambda: self._refuse(f"refuses {status}", status))
            case Silent():
                self._later(_GIVEN_UP, lambda: leg.refused(408))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(self.phone.switch.later(seconds, action))

    def _refuse(self, what: str, status: int) -> None:
        self.phone.note(what)
        self.leg.refused(status)

    def _hang_up(self) -> None:
        if self.leg.up:
            self.phone.note("hangs up")
            self.leg.far_end_hangs_up()

    def rings(self, channel: Channel) -> None:
        pass

    def is_answered(self, channel: Channel) -> None:
        self.phone.note("answers", channel.profile.number)
        if self.phone.display:
            shown = self.phone.display
            channel.become(replace(channel.profile, callee_name=shown, callee_number=shown))
        match self.behaviour:
            case Answers(hangs_up=seconds, presses=digits, waits=waits):
                if seconds is not None:
                    self._later(seconds, self._hang_up)
                for n, digit in enumerate(digits):
                    self._later(waits + 0.5 * n, lambda digit=digit: self.press(digit))  # type: ignore[misc]

    def press(self, digit: str) -> None:
        self.phone.note("presses", digit)
        self.leg.press(digit)

    def hears(self, sound: Sound) -> None:
        self.phone.note("hears", spoken(sound))

    def is_recorded(self, path: str) -> None:
        pass

    def talks(self, other: Channel) -> None:
        self.phone.note("talks with", other.profile.who)
        match self.behaviour:
            case Answers(talk=float() | int() as seconds):
                self._later(seconds, self._hang_up)

    def stops_talking(self, other: Channel) -> None:
        pass

    def hung_up(self, channel: Channel) -> None:
        current = gevent.getcurrent()
        for timer in self._timers:
            if timer is not current:
                timer.kill(block=False)
        self.phone.calls.remove(channel)
        if not channel.is_answered:
            self.phone.note("stops ringing", channel.cause or "")
        elif self.phone.history[-1].what != "hangs up":
            self.phone.note("is hung up on", channel.cause or "")


class Caller:
    """Somebody who calls a number. Made by `Switch.call`.

    `heard` lists what they heard begin (whole paths and stream names), `journal` everything they noticed or
    did.
    """

    def __init__(self, switch: Switch, from_: str, to: str, name: str, phone: Phone | None = None) -> None:
        self.switch = switch
        self.phone = phone
        self.from_ = from_
        self.to = to
        self.name = name
        self.heard: list[str] = []
        self._named: set[str] = set()
        self.journal: list[Entry] = []
        self.hangup_cause: str | None = None
        self.talking_to: str | None = None
        self.recordings: list[str] = []
        self.speaks = True
        self._channel: Channel | None = None
        self._changed = Event()

    def dial(self, channel: Channel) -> None:
        """Begin on `channel`."""
        self._channel = channel
        if self.phone is not None:
            self.phone.made.append(channel)
        self.note("calls", self.to)

    @property
    def channel(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("nobody has dialled yet")
        return self._channel

    @property
    def uuid(self) -> str:
        return self.channel.uuid

    @property
    def answered(self) -> bool:
        return self.channel.is_answered

    @property
    def state(self) -> str:
        """ringing, answered, talking or ended."""
        if self.hangup_cause is not None:
            return "ended"
        if self.talking_to is not None:
            return "talking"
        return "answered" if self.answered else "ringing"

    def note(self, what: str, detail: str = "") -> None:
        self.journal.append(Entry(self.switch.clock(), what, detail))
        self._changed.set()
        self.switch.something_happened()

    def story(self) -> str:
        """The journal, one line each."""
        return "\n".join(str(entry) for entry in self.journal)

    # -- what they do ------------------------------------------------------------------------------

    def press(self, digits: str, gap: float = 0.2) -> None:
        """Press keys, `gap` seconds of the switch's time apart."""
        for n, digit in enumerate(digits):
            if n:
                self.switch.sleep(gap)
            if self.hangup_cause is None:
                self.note("presses", digit)
                self.channel.press(digit)

    def hangup(self) -> None:
        """Put the receiver down."""
        if self.hangup_cause is None:
            self.note("hangs up")
            self.channel.far_end_hangs_up("NORMAL_CLEARING" if self.answered else "ORIGINATOR_CANCEL")

    def wait(self, what: str | Callable[[Caller], bool], timeout: float = 5.0) -> None:
        """Wait until `what` holds: answered, talking, ended, recorded, `heard:FILE`, or a predicate of the caller.

        `heard:` takes a whole path, a file's name, `tone`, `silence` or `speech`. `timeout` is in real seconds,
        whatever the switch's speed; TimeoutError tells the story so far.
        """
        try:
            if callable(what):
                self.switch.wait(lambda: what(self), timeout)
            else:
                self._wait(what, timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.from_} waited {timeout} s for {what}:\n{self.story()}") from None

    def _wait(self, what: str, timeout: float) -> None:
        # Looked at only when this caller notices something: thousands may be waiting at a time.
        end = time.monotonic() + timeout
        while not self.has(what):
            self._changed.clear()
            if not self._changed.wait(max(0.0, end - time.monotonic())) and not self.has(what):
                raise TimeoutError

    def has(self, what: str) -> bool:
        """Whether `what` (see `wait`) holds or has happened."""
        if what.startswith("heard:"):
            sound = what.removeprefix("heard:")
            return sound in self.heard or sound in self._named
        if what == "answered":
            return self.answered
        if what == "recorded":
            return bool(self.recordings)
        if what in ("ringing", "talking", "ended"):
            return self.state == what
        raise ValueError(f"nothing to wait for: {what}")

    # -- what they notice --------------------------------------------------------------------------

    def rings(self, channel: Channel) -> None:
        self.note("hears ringing")

    def is_answered(self, channel: Channel) -> None:
        self.note("is answered")

    def hears(self, sound: Sound) -> None:
        self.heard.append(sound.label)
        self._named.add("speech" if sound.language else spoken(sound))
        self.note("hears", spoken(sound))

    def is_recorded(self, path: str) -> None:
        self.recordings.append(path)
        self.note("is recorded", path.rsplit("/", 1)[-1])

    def talks(self, other: Channel) -> None:
        self.talking_to = other.profile.who
        self.note("talks with", self.talking_to)

    def stops_talking(self, other: Channel) -> None:
        self.talking_to = None
        self.note("stops talking with", other.profile.who)

    def hung_up(self, channel: Channel) -> None:
        self.hangup_cause = channel.cause
        if self.phone is not None:
            self.phone.made.remove(channel)
        if self.journal[-1].what != "hangs up":
            self.note("is hung up on", channel.cause or "")
        self._changed.set()
