"""What a company's file says, once checked: plain values, no behaviour but look-ups.

Made only by ``load.py``.  Every name that points somewhere is a :class:`Reference` with its place, so that
one generic walk finds dangling names and one other finds unreachable steps.

Units: durations are seconds; telephone numbers are E.164 with ``+``; extensions are digit strings.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callcontrol.routing.hours import Hours
    from callcontrol.steps.base import Step


#: Letters and marks of the scripts whose words may need a joiner: Arabic (Persian, Urdu) and those of India.
JOINING = "\u0620-\u065f\u0671-\u06d3\u0750-\u077f\u08a0-\u08ff\u0900-\u0963\u0970-\u0dff"
#: A zero width joiner or non-joiner inside such a word, where it belongs to the spelling; anywhere else it only hides.
JOINER = re.compile(f"(?<=[{JOINING}])[\u200c\u200d](?=[{JOINING}])")


def on_one_line(text: str) -> str:
    """Text of others on one line that moves no cursor and turns no direction: what cannot be seen is escaped."""
    if text.isprintable():
        return text
    spelt = {found.start() for found in JOINER.finditer(text)}
    return "".join(one if one.isprintable() or at in spelt else ascii(one)[1:-1] for at, one in enumerate(text))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: path as the user gave it, line and column from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{on_one_line(self.path)}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.  ``severity`` is ``error`` or ``warning``; prints as ``path:line:column: CODE message``, on one line
    whatever stands in the path.
    """

    place: Place
    code: str
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        return on_one_line(f"{self.place}: {self.code} {self.message}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that must exist, or a number that is not the company's own: one that it rings (``outside``) or shows
    (``shown``).

    ``kind``: ``person group list hours switch queue flow step edge sound language number variable spoken outside
    shown emergency skill can level listed``.  ``flow`` and ``step`` say where it stands, if that is in a flow; an
    ``edge`` is looked up there first.  ``person`` is the extension in whose entry it stands, ``queue`` the queue,
    ``callers`` the list of callers.  A variable in speech is noted twice, as ``variable`` and as ``spoken``.  Where a
    variable gets its value the kind is ``variable``, or ``answer`` if what it will be is not known before it is looked
    up.  A ``skill`` is one that callers need, ``can`` one that an agent has; a ``level`` is one that has a waiting
    time, ``listed`` an entry of a list of callers.
    """

    kind: str
    name: str
    place: Place = field(compare=False)
    flow: str | None = None
    step: str | None = None
    person: str | None = None
    queue: str | None = None
    callers: str | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Edge:
    """Where an outcome leads.  ``flow`` None means the flow it is written in; ``step`` None that flow's start.

    ``special`` is ``hangup``, ``return``, or, for a key in a queue, ``left``, the outcome; then both others are None.
    """

    flow: str | None
    step: str | None
    special: str | None
    place: Place = field(compare=False)

    def __str__(self) -> str:
        if self.special:
            return self.special
        if self.flow and self.step:
            return f"{self.flow}/{self.step}"
        return self.flow or self.step or "?"


@dataclass(frozen=True, slots=True)
class Text:
    """Words to speak, with ``{variable}`` holes; ``variables`` lists the holes in order."""

    text: str
    variables: tuple[str, ...]
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """A sound file by name (one word ending in .wav, .mp3 or .ogg)."""

    name: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is played: per language, or the same for all under the key ``""``."""

    sayings: Mapping[str, Text | File]

    def saying(self, language: str, default: str) -> tuple[Text | File, str]:
        """The saying for ``language``, else for ``default``, else the first, and the language that it is in.

        What is the same for all is written in the ``default`` language.
        """
        for key in (language, "", default):
            if key in self.sayings:
                return self.sayings[key], key or default
        key = next(iter(self.sayings))
        return self.sayings[key], key


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to dial: exactly one field is set.  ``variable`` is the name inside ``"{…}"``."""

    person: str | None = None
    group: str | None = None
    number: str | None = None
    variable: str | None = None
    place: Place = field(default=Place("", 0, 0), compare=False)

    def __str__(self) -> str:
        return self.person or self.group or self.number or f"{{{self.variable}}}"


@dataclass(frozen=True, slots=True)
class Stage:
    """One round of ringing: these targets, for ``ring`` seconds each attempt."""

    to: tuple[Target, ...]
    ring: float
    strategy: str = "together"  # or "in-order"
    confirm: bool = True  # whether a number dialled here (not a person's phone) must press 1
    whisper: Prompt | None = None  # heard by whoever answers, before being joined


@dataclass(frozen=True, slots=True)
class Recording:
    """What holds for all that is recorded of a company.  ``record``: a rule for every talk; see ``recording.py``.

    ``announce`` is heard by those outside before they are recorded.  ``keep``: seconds after which recordings and
    messages are deleted; None: never.
    """

    record: str | None = None
    announce: Prompt | None = None
    keep: float | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """An extension with somebody behind it.  ``record``: a rule for the person's talks; see ``recording.py``.

    ``forward``: ``always busy no_answer unreachable otherwise`` → ``{"to": …}``, ``no_answer`` also ``"after"``
    (seconds); ``to`` is an extension, ``mobile``, ``voicemail`` or E.164.  ``whisper`` is what the person hears
    before being joined.  ``max_calls`` bounds the calls outside that the person has at a time.  ``notify``: what they
    get mail about, if they have an ``email``: ``messages missed``.
    """

    extension: str
    name: str
    email: str | None
    mobile: str | None
    phones: tuple[str, ...]
    confirm: bool
    forward: Mapping[str, Any]
    record: str | None
    language: str | None
    place: Place = field(compare=False)
    show: str | None = None  # the number shown to the person called: "caller", "company", or E.164
    whisper: Prompt | None = None
    max_calls: int | None = None
    duty: str | None = None  # the hours in which the person is logged in as an agent, and out by themselves
    notify: tuple[str, ...] = ("messages",)


@dataclass(frozen=True, slots=True)
class Group:
    """Extensions rung as one.  With ``rotate`` the group is one of them at a time, from ``start`` on."""

    name: str
    members: tuple[str, ...]
    rotate: str | None = None  # None, "daily" or "weekly"
    start: dt.datetime | None = None  # local to the company's zone, naive

    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class QueueAgent:
    """A person as an agent of one queue: those of a higher ``level`` are asked later, ``skills`` is what they can."""

    agent: str
    level: int = 1
    skills: tuple[str, ...] = ()
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a waiting caller hears again and again; its ``{position}`` is the place in the queue."""

    every: float
    say: Prompt


@dataclass(frozen=True, slots=True)
class Queue:
    """Callers who wait, and the agents who serve them.

    ``levels``: level -> seconds a caller must have waited before its agents are asked; a level that is not there
    is asked from the beginning, after the lower ones.  ``delays``: ``declined busy no_answer unreachable`` -> seconds
    an agent is left alone then.  ``skills``: what each of its callers needs.  ``music``: a sound file, a name, or
    None.  ``unstaffed``: seconds that callers wait while nobody is logged in, or all have paused.
    """

    name: str
    agents: tuple[QueueAgent, ...]
    strategy: str
    ring: float
    wrap_up: float
    delays: Mapping[str, float]
    pause_after: int | None
    levels: Mapping[int, float]
    skills: tuple[str, ...]
    priority: int
    music: str | None
    announce: tuple[Announcement, ...]
    whisper: Prompt | None
    max_wait: float | None
    max_callers: int | None
    unstaffed: float
    keys: Mapping[str, Edge]
    record: str | None = None
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class DutyCode:
    """What a code does when an agent dials it: ``what`` is ``log_in log_out pause resume``."""

    code: str
    what: str
    reason: str = ""
    place: Place = field(default=Place("", 0, 0), compare=False)

    def __str__(self) -> str:
        return f"{self.what} ({self.reason}) of agents" if self.reason else f"{self.what} of agents"


@dataclass(frozen=True, slots=True)
class Number:
    """A number that the company owns, the flow that answers it and what it sets."""

    number: str
    flow: str
    sets: Mapping[str, str]
    label: str | None
    place: Place = field(compare=False)
    record: str | None = None


@dataclass(frozen=True, slots=True)
class CallerList:
    """Patterns of callers: exact numbers, prefixes (without their star), or ``anonymous``."""

    name: str
    numbers: frozenset[str]
    prefixes: tuple[str, ...]
    anonymous: bool

    def matches(self, caller: str | None) -> bool:
        """Whether the E.164 ``caller`` (None: withheld) is on the list."""
        if caller is None:
            return self.anonymous
        return caller in self.numbers or caller.startswith(self.prefixes or ("\0",))


@dataclass(frozen=True, slots=True)
class Flow:
    """A named graph of steps; ``start`` is where a call begins."""

    name: str
    steps: Mapping[str, Step]
    start: str
    on_error: Edge | None
    code: str | None
    place: Place = field(compare=False)
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """An operator's own test, as written; ``rehearse.py`` runs it."""

    name: str
    caller: str | None
    called: str
    at: dt.datetime  # local, naive
    press: tuple[str, ...]
    given: Mapping[str, Any]  # phones, agents, lookups, switches
    path: tuple[str, ...] | None
    ends: Mapping[str, Any] | str | None
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Routing:
    """One company, whole and checked.

    ``sounds`` and ``voices`` are what publishing made of its files and words: sound file → content, language → voice.
    """

    company: str
    version: str  # content hash, hex
    title: str
    country: str
    timezone: str
    languages: tuple[str, ...]
    numbers: Mapping[str, Number]
    people: Mapping[str, Person]
    groups: Mapping[str, Group]
    lists: Mapping[str, CallerList]
    hours: Mapping[str, Hours]
    switches: Mapping[str, str]  # hours name -> code; off until switches are built
    queues: Mapping[str, Queue]
    outbound: Mapping[str, Any]
    flows: Mapping[str, Flow]
    rehearsals: tuple[Rehearsal, ...]
    #: What publishing made (``speech.py``): a sound file's name -> its hash; a language -> the voice that speaks it.
    sounds: Mapping[str, str] = field(default_factory=dict)
    voices: Mapping[str, str] = field(default_factory=dict)
    #: What agents dial to log in and out, to pause and resume: code -> what it does.
    duty_codes: Mapping[str, DutyCode] = field(default_factory=dict)
    recording: Recording = Recording()

    def step(self, flow: str, step: str) -> Step | None:
        """The step, or None if this version has no such one."""
        found = self.flows.get(flow)
        return found.steps.get(step) if found else None

    def person_at(self, address: str) -> str:
        """Whose telephone has this address (an extension or E.164): an extension, or "": nobody's."""
        if address in self.people:
            return address
        theirs = (one.extension for one in self.people.values() if address in one.phones or address == one.mobile)
        return next(theirs, "")


def typed_by_callers(routing: Routing) -> frozenset[str]:
    """The variables that callers type (``collect … into``): they may dial extensions only.

    Read from the routing and not from the call, so that it holds in whatever way a value came to be there and
    survives a takeover: a variable that any step collects counts as typed wherever it is used.
    """
    steps = (step for flow in routing.flows.values() for step in flow.steps.values())
    return frozenset(step.values["into"] for step in steps if step.verb == "collect")
