"""The words between the pure call and the world: events in, commands out.

Events are past facts in the words of a telephone, never of a protocol; commands are imperatives.  Nothing
here knows Event Socket: ``session.py`` translates.  Times are UTC epochs in seconds, durations are seconds.

The surprise: a step *yields* commands and gets nothing back for most of them.  The one thing it waits by
is :class:`Wait`, which gives the next event, and always has a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
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
class LegAnswered(Event):
    """The leg answered and hears what it must hear or confirm first; LegReady or LegFailed follows."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegReady(Event):
    """The leg answered, has heard and confirmed what it had to, and may be joined."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegRinging(Event):
    """Answer to :class:`FindLeg`: the leg lives, and rings or is not ready yet."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegFailed(Event):
    """The leg is gone.  ``result`` is an outcome of ``dial``, or ``lost``: the switch could not be told to ring it;
    ``cause`` the switch's own word.
    """

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
    """The caller's channel ended.  ``cause`` is the switch's word; ``by`` is ``caller`` or ``cordboard``.

    In the fact of the end it is ``command`` too (somebody asked for it from outside), or ``unowned``: nobody watched.
    """

    cause: str
    by: str = "caller"


@dataclass(frozen=True, slots=True)
class LookedUp(Event):
    """Answer to :class:`Lookup`.  ``outcome`` is ``then``, ``not_found`` or ``failed``; ``why`` is for the trace.

    ``values`` has every key that was wanted if the outcome is ``then``, and is empty otherwise.
    """

    id: int
    outcome: str
    values: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class SwitchSet(Event):
    """Answer to :class:`SetSwitch`: whether the new state of the day/night switch is kept everywhere."""

    name: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Entered(Event):
    """Answer to :class:`Enter`: the caller stands in the queue, since ``joined`` (milliseconds of Redis's clock)."""

    joined: int


@dataclass(frozen=True, slots=True)
class NotEntered(Event):
    """Answer to :class:`Enter`: the queue does not take the caller.  ``outcome``: ``full no_agents paused``."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Offered(Event):
    """The queue gives the caller an agent, who is now nobody else's: ring them.  Comes again after a takeover."""

    offer: int
    agent: str


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """The offer is none any more: the agent has paused or left, or it took too long.  The agent rings no longer."""

    offer: int


@dataclass(frozen=True, slots=True)
class Taken(Event):
    """Answer to :class:`Take`: whether they may be joined.  Not if the agent talks with somebody else already."""

    offer: int
    granted: bool


@dataclass(frozen=True, slots=True)
class Staffed(Event):
    """Who could serve the queue has changed.  ``outcome``: "" somebody can, ``no_agents`` nobody is logged in,
    ``paused`` all who are logged in have paused.
    """

    outcome: str


@dataclass(frozen=True, slots=True)
class PlaceTold(Event):
    """Answer to :class:`AskPlace`: the caller's place in the queue, from 1; 0: nobody knows just now."""

    place: int


@dataclass(frozen=True, slots=True)
class DutySet(Event):
    """Answer to :class:`SetDuty`.  ``state``: ``available paused logged_out``, what the agent is now; "": it failed."""

    state: str


@dataclass(frozen=True, slots=True)
class TimeCame(Event):
    """The deadline of the current :class:`Wait` passed."""


# ------------------------------------------------------------------------------------------------ sounds


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of text that was rendered when the routing was published."""

    text: str


@dataclass(frozen=True, slots=True)
class Spelled:
    """Characters spoken one by one: digits, ``*``, ``#``, ``+``; anything else among them is not spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A whole number spoken as one, from 0; above 999 the voice says it digit by digit."""

    number: int

    @property
    def text(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Speech:
    """What a voice shall say: pieces that need no rendering during a call, in the order spoken.

    ``language`` is the one that the text is written in, which may be another than the caller's.
    """

    parts: tuple[Words | Spelled | Counted, ...]
    language: str

    @property
    def text(self) -> str:
        """The whole as one line, for logs and traces."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file of the company, by its name in routing (``greet-ru.wav``)."""

    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone of a closed set: ``ringback apology record_beep missing`` (``session.py`` spells them)."""

    name: str


@dataclass(frozen=True, slots=True)
class Music:
    """Music of a name (``moh``) that is no file of the company's: what the switch, or Cordboard itself, has."""

    name: str


Sound = Speech | SoundFile | Tone | Music


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
    """Begin a sound; PlayEnded follows.  ``bargein``: a key cuts it short.  ``loop``: it has no end.

    ``start``: seconds of a loop that are passed over, so that music goes on where an announcement cut it short.
    """

    id: int
    sound: Sound
    bargein: bool = False
    loop: bool = False
    start: float = 0.0


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
    """Ring one telephone as a leg of its own.  Ends as LegReady or LegFailed.

    With a ``whisper`` (heard) or a ``confirm`` (asks for key 1) LegAnswered comes between.  ``shown`` and ``name``
    are what the telephone shows (a number or extension; free text from nobody).  An outside phone goes through the
    first of ``trunks`` that takes it, if each of ``caps`` (name of a count, the most it may be) has room.
    """

    leg: str
    phone: Phone
    seconds: float
    whisper: Sound | None = None
    confirm: Sound | None = None
    shown: str = ""
    name: str = ""
    trunks: tuple[str, ...] = ()
    caps: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FindLeg(Command):
    """Ask for a leg that an earlier owner rang: LegRinging, LegAnswered, LegReady or LegFailed comes back.

    ``screened``: its answer alone does not make it ready, as :class:`RingLeg` with a whisper or a confirm.
    """

    leg: str
    screened: bool = False


@dataclass(frozen=True, slots=True)
class CancelLeg(Command):
    """Stop ringing; nothing comes back."""

    leg: str


@dataclass(frozen=True, slots=True)
class CancelLegs(Command):
    """Stop everything that was ever rung for this call: what an earlier owner rang is not known any more."""


@dataclass(frozen=True, slots=True)
class Join(Command):
    """Connect caller and leg: Joined or JoinFailed comes back.  A Checkpoint stands before it.

    ``record``: the spool file into which the talk is recorded from its beginning, "" if it is not; ``noted``: what is
    kept on the channel for those who command recordings (see ``recording.Noted``), "" for what stands there.
    """

    leg: str
    answer: bool
    record: str = ""
    noted: str = ""


@dataclass(frozen=True, slots=True)
class LetGo(Command):
    """They talk: close the connection and forget the call."""


@dataclass(frozen=True, slots=True)
class Hangup(Command):
    """End the call.  ``reason`` is one of :data:`HANGUP_REASONS` or :data:`PHONE_REASONS`."""

    reason: str = "normal"


@dataclass(frozen=True, slots=True)
class Lookup(Command):
    """GET ``url`` and take the ``wanted`` keys out of its JSON object; :class:`LookedUp` comes within ``seconds``."""

    id: int
    url: str
    wanted: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class SetSwitch(Command):
    """Put a day/night switch of the company on or off, for every call from now; :class:`SwitchSet` follows."""

    name: str
    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class Enter(Command):
    """Put the caller into a queue, or again where they stand: Entered or NotEntered follows, then Offered.

    ``joined``: what :class:`Entered` said before, 0 if it has not; ``waited``: seconds since then by the call's own
    clock.  ``again``: the caller has stood in it, so it is never full for them.  ``first``: the first number that an
    offer may have; ``rings``: offers of an earlier owner's, number and agent, that ring still, and are withdrawn if the
    queue knows of them no more.  ``patience``: seconds that somebody may wait while nobody could serve them; 0: then
    they do not enter.  While Redis is away nothing follows until it is back; Cordboard then enters the caller again by
    itself.
    """

    queue: str
    priority: int
    skills: tuple[str, ...]
    joined: int
    waited: float
    first: int
    ring: float
    patience: float = 0.0
    most: int | None = None
    levels: tuple[float, ...] = ()
    together: bool = False
    again: bool = False
    rings: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Miss(Command):
    """The offer led to nothing.  ``result`` is an outcome of ``dial``, or ``lost``: it was not the agent's doing.

    The agent is left alone for ``delay`` seconds; so many misses in a row as ``pause_after`` pause them.
    """

    offer: int
    agent: str
    result: str
    delay: float = 0.0
    pause_after: int | None = None


@dataclass(frozen=True, slots=True)
class Take(Command):
    """The agent is ready: they talk with this caller from now, everybody else's offers to the caller end, and the
    caller stands in the queue no more.  Taken follows.  ``wrap_up``: seconds that the agent has after the talk.
    """

    offer: int
    agent: str
    leg: str
    wrap_up: float


@dataclass(frozen=True, slots=True)
class Leave(Command):
    """The caller stands in no queue any more, and no agent is theirs."""


@dataclass(frozen=True, slots=True)
class AskPlace(Command):
    """Which place the caller has: PlaceTold follows."""


@dataclass(frozen=True, slots=True)
class SetDuty(Command):
    """Log an agent in or out, pause or resume them, as a code dialled on their phone says; DutySet follows.

    ``what``: ``log_in log_out pause resume``; ``reason``: why they pause.
    """

    agent: str
    what: str
    reason: str = ""


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
#: What one of a company's own phones is told besides.
PHONE_REASONS = ("no_answer", "unreachable", "barred")

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
