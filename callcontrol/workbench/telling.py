"""A walk as text, as it goes: when, in which step and why, what the caller hears, whose phones ring, what is recorded.

The words of facts are those of ``cordboard why`` (``sentences.py``); what a real call leaves to the switch, and so has
no fact (a prompt, a telephone that rings), is told from the commands.  The surprise: a step says why it does what it
does with all that it has played, which stands here already; so that is cut out of its reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from callcontrol import messages as m
from callcontrol.queueing import clock
from callcontrol.routing.model import Routing
from callcontrol.sentences import OUTER, SENTENCES, after, plainly

#: Facts that say again what a command has said.
_TOLD_BY_COMMANDS = ("leg.rung", "call.ended", "message.recorded")
_TONES = {
    "ringback": "hears it ringing",
    "record_beep": "hears the tone of a recording",
    "apology": "hears the tone of an apology",
}


class Teller:
    """Watches a walk and gives ``say`` a line for everything that people want to know of it."""

    def __init__(self, routing: Routing, say: Callable[[str], object]) -> None:
        self._routing = routing
        self._say = say
        self._began: float | None = None
        self._heard: list[str] = []

    def __call__(self, at: float, command: m.Command) -> None:
        """Tell a command."""
        if self._began is None:
            self._began = at
        for line in self._lines(command):
            outer = isinstance(command, m.Tell) and command.type in OUTER
            self._say(f"{after(at - self._began):>9}  {'' if outer else '  '}{line}")

    def person(self, extension: str) -> str:
        """An extension with the name of whoever is behind it."""
        known = self._routing.people.get(extension)
        return f"{extension} ({known.name})" if known else extension

    def _lines(self, command: m.Command) -> Iterator[str]:
        if isinstance(command, m.Tell):
            yield from self._fact(command)
        elif isinstance(command, m.Play):
            yield self._sound(command.sound, loop=command.loop)
        elif isinstance(command, m.RingBack):
            yield _TONES["ringback"]
        elif isinstance(command, m.RingLeg):
            yield self._ringing(command)
        elif isinstance(command, m.Record):
            yield f"is recorded, for {clock(command.seconds)} at most"
        elif isinstance(command, m.Lookup):
            yield f"asks {plainly(command.url)} for {', '.join(command.wanted)}, for {clock(command.seconds)} at most"
        elif isinstance(command, m.Join):
            yield "they talk"
        elif isinstance(command, m.Hangup):
            yield "the routing ends the call" + (f": {command.reason}" if command.reason != "normal" else "")

    def _fact(self, fact: m.Tell) -> Iterator[str]:
        data = dict(fact.data)
        if fact.type == "step.entered":
            self._heard = []
        elif fact.type == "step.left":
            data["why"] = self._other_reasons(str(data.get("why", "")))
        data.pop("version", None)  # there is only this one
        say = SENTENCES.get(fact.type)
        sentence = say(data) if say is not None and fact.type not in _TOLD_BY_COMMANDS else None
        if sentence:
            yield sentence
        if fact.type == "message.recorded":
            yield f"a message for {', '.join(self.person(extension) for extension in data['for'])}"

    def _other_reasons(self, why: str) -> str:
        """What a step gives as its reasons, without what it has played."""
        for heard in self._heard:
            before, found, rest = why.partition(heard)
            if found:
                why = before.removesuffix("; ") + ("; " if before and rest else "") + rest.removeprefix("; ")
        return why

    def _sound(self, sound: m.Sound, *, loop: bool) -> str:
        language = ""
        if isinstance(sound, m.Speech | m.SoundFile) and sound.language != self._routing.languages[0]:
            language = f" ({sound.language})"
        if isinstance(sound, m.Speech):
            self._heard.append(f"says “{sound.text}”")
            return f"hears “{plainly(sound.text, 1000)}”{language}"
        if isinstance(sound, m.SoundFile):
            self._heard.append(f"plays {sound.name}")
            return f"hears {'the music ' if loop else ''}{plainly(sound.name)}{language}"
        if isinstance(sound, m.Music):
            return f"hears music ({sound.name})"
        return _TONES.get(sound.name, "hears a tone")

    def _ringing(self, command: m.RingLeg) -> str:
        phone = command.phone
        who = self.person(phone.person) if phone.person else ""
        if phone.outside:
            who = f"{phone.address} of {who}" if who else phone.address
        parts = [f"{plainly(who)} rings, for {clock(command.seconds)} at most"]
        if command.shown:
            parts.append(f"sees {plainly(command.name or command.shown)}")
        if command.trunks:
            parts.append(f"goes out by {', or '.join(command.trunks)}")
        if isinstance(command.whisper, m.Speech):
            parts.append(f"hears “{plainly(command.whisper.text)}” first")
        elif isinstance(command.whisper, m.SoundFile):
            parts.append(f"hears {plainly(command.whisper.name)} first")
        if command.confirm is not None:
            parts.append("must press 1")
        return "; ".join(parts)
