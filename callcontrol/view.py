"""What a step sees of its call, and the few things that every step does the same way.

No step sees the driver (``call.py``), and nothing here performs anything: helpers are generators that yield
the same commands a step would, to be used with ``yield from``.

The surprise: ``now`` is the time of the event being handled, not a clock; it stands still between two waits.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from callcontrol.messages import (
    Answer,
    Command,
    Counted,
    Event,
    Hangup,
    Log,
    Music,
    Play,
    PlayEnded,
    Progress,
    Sound,
    SoundFile,
    Speech,
    Spelled,
    Tell,
    Tone,
    Wait,
    Words,
)
from callcontrol.recording import Ruling, judge
from callcontrol.routing.hours import member_at
from callcontrol.routing.model import File, Number, Prompt, Routing, Target, Text

#: A variable in text.
HOLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: A value that is spoken digit by digit, whatever it is the value of.
DIGITS = re.compile(r"[0-9*#+]+")

#: Whether a day/night switch of the company (the name of its hours) is on just now.
SwitchedOn = Callable[[str], bool]

#: A part of a step, for ``yield from``.
Part = Generator[Command | Wait | Progress, Any, Any]

#: No prompt is longer; a playback without an end by then counts as ended, seconds.
LONGEST_SOUND = 900.0
#: A variable's value, bytes of UTF-8.
LONGEST_VALUE = 64
#: All values of a call together, bytes of UTF-8.
LONGEST_VALUES = 160


def dialable(routing: Routing, targets: Iterable[Target]) -> frozenset[str]:
    """The extensions that a caller may type: the people, and every member of the groups."""
    found: set[str] = set()
    for target in targets:
        if target.person:
            found.add(target.person)
        elif target.group:
            found.update(routing.groups[target.group].members)
    return frozenset(found)


class View:
    """One call as its steps see it.

    ``caller`` is E.164, an extension, or None when withheld; ``called`` E.164, or what a phone of the company dialled,
    whose extension is then ``extension``.  ``talked`` is True in a step that is run again because its talk is over.
    """

    def __init__(
        self,
        routing: Routing,
        *,
        call_id: str,
        caller: str | None,
        called: str,
        answered: bool,
        now: float,
        extension: str | None = None,
        switched_on: SwitchedOn = lambda _: False,
    ) -> None:
        self.routing = routing
        self.id = call_id
        self.caller = caller
        self.called = called
        self.extension = extension
        self.switched_on = switched_on
        self.answered = answered
        self.now = now
        self.language = routing.languages[0]
        self.variables: dict[str, str] = {}
        self.ring_number = 0
        self.talk: tuple[str, float, int] | None = None
        self.talked = False
        #: The company's own number that was called, and flow and step where the call is, the innermost last.
        self.number: Number | None = None
        self.steps: tuple[tuple[str, str], ...] = ()
        #: Whether the caller has heard that the call may be recorded; how many segments of it have begun; whether
        #: anything of that has ever been noted on the channel.
        self.announced = False
        self.segments = 0
        self.noted = False
        #: The leg that dropped as it was joined, if that is why the call was taken over.
        self.tried = ""
        #: The place in a queue, while it is announced: ``{position}``.
        self.position = ""
        self.reasons: list[str] = []
        #: What the caller has entered in the step so far, "" for nothing, an item each time they were asked.
        self.keys: list[str] = []
        #: The day/night switches that the step has looked at, and whether they were on.
        self.switches: dict[str, bool] = {}
        self._last_id = 0

    # -------------------------------------------------------------------------------------------- values

    def set(self, name: str, value: str) -> None:
        """Give a variable a value; ``language`` changes what the caller hears.

        Raises ValueError past the limits: ``check`` and the steps refuse such values before.
        """
        if name == "language":
            if value in self.routing.languages:
                self.language = value
            return
        if not self.fits(name, value):
            raise ValueError(f"no room for the value of {name}: {len(value.encode())} bytes")
        self.variables[name] = value

    def fits(self, name: str, value: str) -> bool:
        """Whether the call has room for this value: 64 bytes of UTF-8, all together 160."""
        return self.fit({name: value})

    def fit(self, values: Mapping[str, str]) -> bool:
        """Whether the call has room for all of these values together."""
        sizes = {name: len(value.encode()) for name, value in {**self.variables, **values}.items()}
        return all(sizes[name] <= LONGEST_VALUE for name in values) and sum(sizes.values()) <= LONGEST_VALUES

    def get(self, name: str) -> str:
        """A variable's value, ``""`` when it has none."""
        if name == "caller":
            return self.caller or ""
        if name == "called":
            return self.called
        if name == "language":
            return self.language
        if name == "position":
            return self.position
        return self.variables.get(name, "")

    def fill(self, text: str, variables: Iterable[str]) -> str:
        """``text`` with its ``{holes}`` filled, each once: a value is never read as a hole again."""
        known = set(variables)
        return HOLE.sub(lambda hole: self.get(hole[1]) if hole[1] in known else hole[0], text)

    def why(self, reason: str) -> None:
        """Say, for the trace, why the step does what it does."""
        self.reasons.append(reason)

    def hours_on(self, name: str) -> bool:
        """Whether these hours are on at this moment of the call."""
        hours = self.routing.hours[name]
        if not hours.switch:
            return hours.is_on(self.now)
        self.switches[name] = self.switched_on(name)
        return self.switches[name]

    def next_id(self) -> int:
        """A number for a sound or a recording, unique in this session."""
        self._last_id += 1
        return self._last_id

    def next_ring(self) -> int:
        """A number for one round of ringing or one message, unique in this call, also after a takeover."""
        self.ring_number += 1
        return self.ring_number

    # ----------------------------------------------------------------------------------------- telephones

    def leg_id(self, ring: int, address: str) -> str:
        """See :func:`leg_id`."""
        return leg_id(self.id, ring, address)

    def extensions(self, targets: Iterable[Target], at: float) -> list[str | Target]:
        """The people behind ``targets`` in order, once each; other targets stay what they are."""
        found: list[str | Target] = []
        for target in targets:
            for item in self._one(target, at):
                if item not in found:
                    found.append(item)
        return found

    def _one(self, target: Target, at: float) -> list[str | Target]:
        if target.person:
            return [target.person]
        if target.group:
            group = self.routing.groups[target.group]
            if group.rotate:
                return [member_at(group, self.routing.timezone, at)]
            return list(group.members)
        if target.variable:
            value = self.get(target.variable).strip()
            for person in self.routing.people.values():
                if value and (value == person.extension or value.lower() == (person.email or "").lower()):
                    return [person.extension]
        return [target]

    # ---------------------------------------------------------------------------------------- recordings

    def ruling(self, person: str, address: str) -> Ruling:
        """Whether a talk with this telephone would be recorded."""
        return judge(
            self.routing,
            number=self.number,
            steps=self.steps,
            extension=self.extension,
            person=person,
            address=address,
        )

    def announce(self, phones: Iterable[tuple[str, str]]) -> Part:
        """Tell a caller from outside who may be recorded, whoever of these (person, address) answers; once a call."""
        prompt = self.routing.recording.announce
        if prompt is None or self.announced or self.extension is not None:
            return
        if all(self.ruling(person, address).announce is None for person, address in phones):
            return
        sound = self.sound(prompt)
        playing = Playing(self, sound)
        yield from playing.start()
        until = self.now + LONGEST_SOUND
        while not (yield from playing.over((yield Wait(until)))) and self.now < until:
            pass
        if playing.sound is sound:  # else a tone was heard in its place
            self.announced = True
            language = sound.language if isinstance(sound, Speech | SoundFile) else self.language
            yield Tell("consent.played", {"language": language})

    # --------------------------------------------------------------------------------------------- sounds

    def sound(self, prompt: Prompt, language: str | None = None) -> Sound:
        """What is heard of ``prompt`` in ``language``, else in the caller's."""
        saying, language = prompt.saying(language or self.language, self.routing.languages[0])
        if isinstance(saying, File):
            return SoundFile(saying.name, language)
        return Speech(self._parts(saying), language)

    def _parts(self, saying: Text) -> tuple[Words | Spelled | Counted, ...]:
        """The pieces of a text with the values of its variables in its holes."""
        parts = (piece if isinstance(piece, Words) else said(piece, self.get(piece)) for piece in pieces(saying))
        return tuple(part for part in parts if part.text.strip())

    def say(self, prompt: Prompt) -> Part:
        """Play a prompt to its end."""
        yield from self.play(self.sound(prompt))

    def play(self, sound: Sound) -> Part:
        """Play a sound to its end."""
        playing = Playing(self, sound)
        yield from playing.start()
        until = self.now + LONGEST_SOUND
        while not (yield from playing.over((yield Wait(until)))) and self.now < until:
            pass

    def hang_up(self, reason: str) -> Part:
        """End the call and wait for the switch to agree; asks again every ten seconds and never returns."""
        while True:
            yield Hangup(reason)
            until = self.now + 10.0
            while self.now < until:
                yield Wait(until)


def pieces(saying: Text) -> Iterator[Words | str]:
    """A text cut at its holes: what stands between them as Words, of a hole the name of its variable.

    The one place that cuts: what is rendered when a routing is published (``speech.py``) is what a call asks for.
    """
    known, at = set(saying.variables), 0
    for hole in HOLE.finditer(saying.text):
        if hole[1] in known:
            yield Words(saying.text[at : hole.start()])
            yield hole[1]
            at = hole.end()
    yield Words(saying.text[at:])


def said(variable: str, value: str) -> Words | Spelled | Counted:
    """How a variable's value is spoken: a value that routing gives was rendered with it, any other is digits."""
    if variable == "position" and value.isascii() and value.isdecimal():
        return Counted(int(value))
    return Spelled(value) if DIGITS.fullmatch(value) else Words(value)


def leg_id(call: str, ring: int, address: str) -> str:
    """The UUID of the leg that rings ``address`` in a round of a call: every controller computes the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call}/{ring}/{address}"))


class Playing:
    """One sound on its way to the caller; the first sound of a call answers it.

    A sound that is not there is never silence: the tone ``instead`` takes its place, and the operator is told.
    ``start``: seconds of a loop that are passed over.  ``quiet``: it is no reason for what the step does.
    """

    def __init__(
        self,
        call: View,
        sound: Sound,
        *,
        bargein: bool = False,
        loop: bool = False,
        start: float = 0.0,
        instead: str = "missing",
        quiet: bool = False,
    ) -> None:
        self._call = call
        self._sound = sound
        self._bargein = bargein
        self._loop = loop
        self._start = start
        self._instead = Tone(instead)
        self._quiet = quiet
        self._id = 0
        self.active = False

    def start(self) -> Part:
        """Begin the sound."""
        if not self._call.answered:
            self._call.answered = True
            yield Answer()
        self._id = self._call.next_id()
        self.active = True
        if self._quiet:
            pass
        elif isinstance(self._sound, Speech):
            self._call.why(f"says “{self._sound.text}”")
        elif isinstance(self._sound, SoundFile):
            self._call.why(f"plays {self._sound.name}")
        yield Play(self._id, self._sound, bargein=self._bargein, loop=self._loop, start=self._start)

    @property
    def id(self) -> int:
        """The id of the Play that is under way."""
        return self._id

    @property
    def sound(self) -> Sound:
        """What plays: the tone, if the sound was not there."""
        return self._sound

    def over(self, event: Event) -> Part:
        """Whether ``event`` ends the sound (returned).  A missing one is replaced by a tone."""
        if not (isinstance(event, PlayEnded) and event.id == self._id and self.active):
            return not self.active
        self.active = False
        if event.missing and not isinstance(self._sound, Tone):
            name = self._sound.text if isinstance(self._sound, Speech) else self._sound.name
            language = self._call.language if isinstance(self._sound, Music) else self._sound.language
            yield Tell("sound.missing", {"sound": name, "language": language})
            yield Log("error", f"the sound {name!r} could not be played: a tone was played instead")
            self._sound, self._start = self._instead, 0.0
            yield from self.start()
            return False
        return True
