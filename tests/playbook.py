"""Playbooks: a call's dialogue, told event by event, compared line by line.

``Playbook`` drives the pure :class:`Call` on a clock of the test's own.  Every command is one readable line;
a wrong dialogue prints both sides.  Facts are kept apart in ``facts``, the alarm in ``wakes_at``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Self
from zoneinfo import ZoneInfo

from callcontrol import messages as m
from callcontrol.call import Call
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.state import State, decode

CALL = "71652f13-ad9c-4e68-90c5-09193bccfef3"
CALLER = "+79031234567"
CALLED = "+74951234567"
MONDAY_NOON = "2026-11-23 12:00"

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main, set: {brand: Test}}
people:
  301: {name: Anna, email: anna@acme.test, phones: ["+79161112233"]}
  302: {name: Boris}
  303: {name: Chiara}
groups:
  team: [302, 303]
lists:
  vip: ["+79160000001", "+7812*"]
  blocked: ["+882*", anonymous]
hours:
  office: {mon-fri: 09:00-18:00, holidays: closed}
"""


def routing(flows: str, head: str = HEAD) -> Routing:
    """A routing with these flows (YAML, from column 1: ``main:`` …); fails the test on any error."""
    text = head + "flows:\n" + "\n".join("  " + line for line in flows.strip("\n").splitlines()) + "\n"
    loaded = load_text(text, path="test.yaml", company="test")
    errors = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    assert not errors, "\n".join(errors)
    assert loaded.routing is not None
    return loaded.routing


def epoch(at: str, zone: str = "Europe/Moscow") -> float:
    return dt.datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Playbook:
    """One call under test.  ``legs`` maps the address of a telephone to the UUID it was last rung with."""

    def __init__(
        self,
        of: Routing | str,
        *,
        caller: str | None = CALLER,
        called: str = CALLED,
        at: str = MONDAY_NOON,
        answered: bool = False,
        taken: State | None = None,
        talked_to: str | None = None,
        now: float | None = None,
        extension: str | None = None,
        switched_on: frozenset[str] = frozenset(),
        segments: int | None = None,
    ) -> None:
        self.switched_on = switched_on
        self.routing = routing(of) if isinstance(of, str) else of
        self.now = epoch(at) if now is None else now
        self.call = Call(
            self.routing,
            call_id=CALL,
            caller=caller,
            called=called,
            now=self.now,
            answered=answered,
            taken=taken,
            talked_to=talked_to,
            extension=extension,
            switched_on=lambda name: name in self.switched_on,
            segments=segments,
        )
        self.lines: list[str] = []
        self.facts: list[m.Tell] = []
        self.logs: list[m.Log] = []
        self.legs: dict[str, str] = {}
        self.rung: dict[str, m.RingLeg] = {}
        self.states: list[State] = []
        self.wakes_at: float | None = None
        self.played = 0
        self.recorded = 0
        self.asked = 0
        self.entered_with: m.Enter | None = None
        self.pause_after: int | None = None
        self.takes(self.call.begin(self.now))

    # ---------------------------------------------------------------------------------------- telling it

    def happens(self, event: m.Event, after: float = 0.0) -> Self:
        """Give the call an event, ``after`` seconds later."""
        self.now += after
        self.takes(self.call.handle(event, self.now))
        return self

    def presses(self, keys: str, gap: float = 0.2) -> Self:
        for key in keys:
            self.happens(m.Digit(key), gap)
        return self

    def hears_all(self, after: float = 3.0) -> Self:
        """The sound that plays ends."""
        return self.happens(m.PlayEnded(self.played), after)

    def waits(self) -> Self:
        """Nothing happens until the call's own alarm."""
        assert self.wakes_at is not None, "the call waits for nothing"
        return self.happens(m.TimeCame(), max(0.0, self.wakes_at - self.now))

    def answers(self, phone: str, after: float = 1.0) -> Self:
        return self.happens(m.LegReady(self.legs[phone]), after)

    def fails(self, phone: str, result: str, after: float = 1.0) -> Self:
        return self.happens(m.LegFailed(self.legs[phone], result), after)

    def joined(self, phone: str, after: float = 0.1) -> Self:
        return self.happens(m.Joined(self.legs[phone]), after)

    def hangs_up(self, after: float = 1.0) -> Self:
        return self.happens(m.HungUp("NORMAL_CLEARING"), after)

    def taken_over(self, *, after: float = 0.3, returned: bool = False) -> Self:
        """What another controller makes of the last checkpoint: a playbook of its own."""
        return type(self)(
            self.routing,
            caller=self.call.view.caller,
            now=self.now + after,
            answered=self.call.view.answered,
            taken=self.states[-1],
            talked_to=self.legs.get(self.states[-1].talk[0]) if returned and self.states[-1].talk else None,
            called=self.call.view.called,
            extension=self.call.view.extension,
            switched_on=self.switched_on,
            segments=self.call.view.segments if self.call.view.noted else None,
        )

    # ------------------------------------------------------------------------------------------- checking

    def then(self, *expected: str) -> Self:
        """Everything commanded since the last look is exactly this."""
        seen, self.lines = self.lines, []
        if list(expected) != seen:
            width = max([8, *(len(line) for line in expected)]) + 2
            rows = [f"{'expected':<{width}}seen"]
            for i in range(max(len(expected), len(seen))):
                left = expected[i] if i < len(expected) else ""
                right = seen[i] if i < len(seen) else ""
                rows.append(f"{left:<{width}}{right}{'' if left == right else '   <<<'}")
            raise AssertionError("the dialogue differs\n" + "\n".join(rows))
        return self

    @property
    def path(self) -> list[str]:
        return [f"{flow}/{step}" if flow != "main" else step for flow, step in self.call.path]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The data of every fact of this type."""
        return [fact.data for fact in self.facts if fact.type == kind]

    def takes(self, commands: Sequence[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Tell):
                self.facts.append(command)
            elif isinstance(command, m.Log):
                self.logs.append(command)
            elif isinstance(command, m.WakeAt):
                self.wakes_at = command.at
            elif isinstance(command, m.Checkpoint):
                self.states.append(decode(command.state))
            else:
                self.lines.append(self._line(command))

    def _line(self, command: m.Command) -> str:
        if isinstance(command, m.Play):
            self.played = command.id
            sound = command.sound
            what = sound.text if isinstance(sound, m.Speech) else sound.name
            marks = (" (keys)" if command.bargein else "") + (" (loop)" if command.loop else "")
            marks += f" from {command.start:g}s" if command.start else ""
            return f"play {what}{marks}"
        if isinstance(command, m.Record):
            self.recorded = command.id
            name = command.name.removeprefix(f"test_{CALL}_").removesuffix(".wav")
            return f"record {name} {command.seconds:.0f}s{' again' if command.again else ''}"
        if isinstance(command, m.RingLeg):
            self.legs[command.phone.address] = command.leg
            self.rung[command.phone.address] = command
            heard = [sound.text for sound in (command.whisper, command.confirm) if isinstance(sound, m.Speech)]
            return f"ring {command.phone.address} {command.seconds:.0f}s" + (f" ({' '.join(heard)})" if heard else "")
        if isinstance(command, m.FindLeg):
            return f"find {self._phone(command.leg)}"
        if isinstance(command, m.CancelLeg):
            return f"cancel {self._phone(command.leg)}"
        if isinstance(command, m.Join):
            into = f" into s{command.record.rpartition('_s')[2].removesuffix('.wav')}" if command.record else ""
            return f"join {self._phone(command.leg)}{' answering' if command.answer else ''}{into}"
        if isinstance(command, m.Lookup):
            self.asked = command.id
            return f"lookup {command.url} {', '.join(command.wanted)} {command.seconds:.1f}s"
        if isinstance(command, m.Hangup):
            return f"hangup {command.reason}"
        if isinstance(command, m.Enter):
            self.entered_with = command
            return f"enter {command.queue}{' again' if command.again else ''}"
        if isinstance(command, m.Take):
            return f"take {command.agent}"
        if isinstance(command, m.Miss):
            self.pause_after = command.pause_after
            return f"miss {command.agent} {command.result}" + (f" {command.delay:g}s" if command.delay else "")
        if isinstance(command, m.SetSwitch):
            return f"switch {command.name} {'on' if command.on else 'off'}"
        if isinstance(command, m.SetDuty):
            return f"duty {command.agent} {command.what} {command.reason}".rstrip()
        return {
            "StopRecord": "stop recording",
            "Answer": "answer",
            "RingBack": "ringback",
            "StopPlay": "stop",
            "LetGo": "let go",
            "CancelLegs": "cancel all",
            "Leave": "leave",
            "AskPlace": "ask place",
        }[type(command).__name__]

    def _phone(self, leg: str) -> str:
        for phone, known in self.legs.items():
            if known == leg:
                return phone
        people = self.routing.people.values()
        outside = [number for person in people for number in (person.mobile, *person.phones) if number]
        for address in (*self.routing.people, *outside):  # rung by an earlier owner
            for ring in range(1, 20):
                if self.call.view.leg_id(ring, address) == leg:
                    self.legs[address] = leg
                    return address
        return leg
