"""The words between the pure call and the world: events in, commands out.

Events are past facts in the words of a telephone, never of a protocol; commands are imperatives.  Nothing
here knows Event Socket: ``session.py`` translates.  Times are UTC epochs in seconds, durations are seconds.

The surprise: a step *yields* commands and gets nothing back for most of them.  The one thing it waits by
is :class:`Wait`, which gives the next event, and always has a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# ------------------------------------------------------------------------------------------------ events


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the call."""


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """The caller's channel was answered."""


@dataclass(frozen=True, slots=True)
class Digit(Event):
    """The caller pressed a key: one of ``0-9 * #``."""

    key: str


@dataclass(frozen=True, slots=True)
class PlayEnded(Event):
    """A sound ended, was cut short by a key or by :class:`StopPlay`, or was not there (``missing``)."""

    id: int
    missing: bool = False


@dataclass(frozen=True, slots=True)
class RecordEnded(Event):
    """The file is whole.  Comes also after :class:`HungUp`, since the switch closes files last.

    ``failed``: nothing was recorded because the file could not be written.
    """

    id: int
    name: str
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class LegReady(Event):
    """The leg answered and may be joined."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegRinging(Event):
    """Answer to :class:`FindLeg`: the leg lives and rings."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegFailed(Event):
    """The leg is gone.  ``result`` is an outcome of ``dial``; ``cause`` the switch's own word."""

    leg: str
    result: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Joined(Event):
    """Caller and leg hear each other: the talk has begun."""

    leg: str


@dataclass(frozen=True, slots=True)
class JoinFailed(Event):
    """The switch could not join them; the caller is still ours."""

    leg: str
    reason: str


@dataclass(frozen=True, slots=True)
class HungUp(Event):
    """The caller's channel ended.  ``cause`` is the switch's word; ``by`` is ``caller`` or ``cordboard``."""

    cause: str
    by: str = "caller"


@dataclass(frozen=True, slots=True)
class TimeCame(Event):
    """The deadline of the current :class:`Wait` passed."""


# ------------------------------------------------------------------------------------------------ sounds


@dataclass(frozen=True, slots=True)
class Speech:
    """Text to be spoken, every variable already filled in."""

    text: str
    language: str


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file of the company, by its name in routing (``greet-ru.wav``)."""

    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone of a closed set: ``ringback apology record_beep missing`` (``session.py`` spells them)."""

    name: str


Sound = Speech | SoundFile | Tone


# ----------------------------------------------------------------------------------------------- targets


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone to ring: the SIP phone of an extension (``outside`` False) or an outside number (E.164)."""

    person: str
    address: str
    outside: bool = False


# ---------------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Command:
    """Something the shell must do.  Commands of one ``handle`` are performed in order."""


@dataclass(frozen=True, slots=True)
class Checkpoint(Command):
    """Store this state on the channel (see ``state.py``)."""

    state: str


@dataclass(frozen=True, slots=True)
class Answer(Command):
    """Answer the caller."""


@dataclass(frozen=True, slots=True)
class RingBack(Command):
    """Tell an unanswered caller's telephone to ring (180)."""


@dataclass(frozen=True, slots=True)
class Play(Command):
    """Begin a sound; PlayEnded follows.  ``bargein``: a key cuts it short.  ``loop``: it has no end."""

    id: int
    sound: Sound
    bargein: bool = False
    loop: bool = False


@dataclass(frozen=True, slots=True)
class StopPlay(Command):
    """Cut the sound short; its :class:`PlayEnded` still comes."""

    id: int


@dataclass(frozen=True, slots=True)
class Record(Command):
    """Record the caller into the spool file ``name``; RecordEnded follows.

    ``seconds`` or so many seconds of ``silence`` end it, or :class:`StopRecord`.  It goes on when its controller
    dies; ``again``: the new owner wants it to go on, or to be taken up where it ended.
    """

    id: int
    name: str
    seconds: float
    silence: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class StopRecord(Command):
    """End the recording; its RecordEnded still comes."""

    id: int


@dataclass(frozen=True, slots=True)
class RingLeg(Command):
    """Ring one telephone as a leg of its own.  Ends as LegReady or LegFailed."""

    leg: str
    phone: Phone
    seconds: float


@dataclass(frozen=True, slots=True)
class FindLeg(Command):
    """Ask for a leg that an earlier owner rang: LegRinging, LegReady or LegFailed comes back."""

    leg: str


@dataclass(frozen=True, slots=True)
class CancelLeg(Command):
    """Stop ringing; nothing comes back."""

    leg: str


@dataclass(frozen=True, slots=True)
class Join(Command):
    """Connect caller and leg: Joined or JoinFailed comes back.  A Checkpoint stands before it."""

    leg: str
    answer: bool


@dataclass(frozen=True, slots=True)
class LetGo(Command):
    """They talk: close the connection and forget the call."""


@dataclass(frozen=True, slots=True)
class Hangup(Command):
    """End the call.  ``reason`` is one of :data:`HANGUP_REASONS`."""

    reason: str = "normal"


@dataclass(frozen=True, slots=True)
class WakeAt(Command):
    """Send :class:`TimeCame` at this UTC epoch; replaces any earlier one.  None: no alarm is needed."""

    at: float | None


@dataclass(frozen=True, slots=True)
class Tell(Command):
    """Write a fact.  ``data`` is small and JSON-able; the shell adds call, epoch, n and time."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Log(Command):
    """A line for the operator: ``level`` is ``info``, ``warning`` or ``error``."""

    level: str
    text: str


#: The words of ``hangup:`` and of refused calls; ``wire.Cause`` has the switch's spelling.
HANGUP_REASONS = ("normal", "busy", "declined", "unknown_number", "congestion", "failure")

# ------------------------------------------------------------------------------- what steps yield besides


@dataclass(frozen=True, slots=True)
class Wait:
    """Give me the next event, or :class:`TimeCame` at ``until`` (UTC epoch).  Every wait has a deadline.

    ``past_end``: give me :class:`HungUp` too, and what follows it (a recording is whole only then); the step
    must then finish by itself and have no more effects on the caller.
    """

    until: float
    past_end: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Remember this in the checkpoint; written before the next command that has an effect."""

    value: dict[str, Any]
