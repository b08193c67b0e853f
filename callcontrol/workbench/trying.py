"""``cordboard try``: one call, walked and told, by somebody who says what is left out as the call comes to it.

Pure: people are asked through :data:`Ask` and told through :data:`Say`; the terminal is in ``cli.py``.  What comes of
it is a rehearsal, as text that can be pasted: everything that was asked stands in it, and nothing else.

The surprise: a rehearsal gives one answer for each telephone, agent, lookup and switch, however often the call comes
back to it; so each is asked once, and only keys are asked for again.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from callcontrol import policy
from callcontrol.routing.model import Edge, Routing
from callcontrol.workbench.telling import Teller
from callcontrol.workbench.walk import AWAY, LOST, PHONES, Answer, Journey, Question, Walk

#: Whom nobody can see.
ANONYMOUS = "anonymous"
#: A place in a queue is end enough: what the agents do is not asked.
ENOUGH = "enough"
#: What an operator may answer, and what it means.
_MEANINGS = {
    "answers": "takes the call",
    "busy": "is busy",
    "no_answer": "does not answer",
    "unreachable": "is not there: no telephone is registered",
    "declined": "declines",
    "paused": "has paused",
    "logged_out": "is logged out",
    "not_found": "there is no such thing",
    "failed": "it cannot be asked, or answers wrongly",
    ENOUGH: "end here: the call waits in the queue",
}
_KEYS = re.compile(r"[0-9*#]{0,64}")


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer and what it means."""

    answer: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that a person is asked for.

    ``choices``: the answers that there are, or examples if ``free``; ``default``: what an empty line means, if that is
    an answer.  ``option``: how the command line says it beforehand.
    """

    text: str
    option: str
    choices: tuple[Choice, ...] = ()
    free: bool = False
    default: str | None = None

    def meant(self, line: str) -> str | None:
        """The answer that a line means: the word, its first letters, or its number in the list; None: none of them."""
        typed = line.strip()
        if not typed:
            return self.default
        if self.free:
            return typed
        known = [choice.answer for choice in self.choices]
        if typed.isascii() and typed.isdecimal() and typed not in known:
            return known[int(typed) - 1] if 0 < int(typed[:4]) <= len(known) else None
        found = [typed] if typed in known else [word for word in known if word.startswith(typed.lower())]
        return found[0] if len(found) == 1 else None


#: A person: asked, answers with a line that means something; None: nobody is there, or has enough.
Ask = Callable[[Wanted], "str | None"]
Say = Callable[[str], object]


class Stopped(Exception):
    """Something was left out, and nobody answered; ``wanted`` is what."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.text)
        self.wanted = wanted


class Wrong(Exception):
    """Something that was given beforehand cannot be used; ``str()`` says why."""


@dataclass(slots=True)
class Said:
    """What was said beforehand, and then what was answered; ``press``: an item for each time that keys are wanted."""

    caller: str | None = None
    called: str | None = None
    at: str | None = None
    press: list[str] = field(default_factory=list)
    phones: dict[str, str] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    lookups: dict[str, Answer] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tried:
    """A call that was tried."""

    journey: Journey
    rehearsal: Mapping[str, Any]

    @property
    def end(self) -> str:
        """How it ended, as a rehearsal writes it."""
        return _ends(self.journey.ends) if self.journey.ends else "nowhere"

    def text(self, name: str) -> str:
        """The walk as a rehearsal of that name, as it stands in a file of rehearsals."""
        return as_yaml(name, self.rehearsal)


class Trying:
    """One call.  ``now``: local to the company's zone, naive; what ``at`` means by ``now`` and by a time alone."""

    def __init__(self, routing: Routing, said: Said, *, now: dt.datetime, ask: Ask, say: Say) -> None:
        self._routing = routing
        self._said = said
        self._now = now
        self._ask = ask
        self._say = say
        self._teller = Teller(routing, self._tell)
        self._pressed: list[str] = []
        self._used: dict[str, dict[str, Answer]] = {"phones": {}, "agents": {}, "lookups": {}, "switches": {}}
        self._stopped: Wanted | None = None

    def run(self) -> Tried:
        """Walk the call.  Raises Stopped, and Wrong."""
        caller, called, at = self._caller(), self._called(), self._at()
        self._home = f"{self._routing.numbers[called].flow}/"
        self._say(f"           {at:%A, %Y-%m-%d %H:%M} in {self._routing.timezone}")
        journey = Walk(
            self._routing,
            caller=caller,
            called=called,
            at=at,
            world=self._answer,
            ends_here=lambda queue, visits: False,
            watch=self._teller,
        ).run()
        if self._stopped is not None:
            raise Stopped(self._stopped)
        if journey.question:
            raise Wrong(journey.question)
        given = {name: answers for name, answers in self._used.items() if answers}
        call = {"from": caller or ANONYMOUS, "to": called, "at": at, "press": tuple(self._pressed)}
        path = tuple(f"{visit.flow}/{visit.step}".removeprefix(self._home) for visit in journey.visits)
        return Tried(journey, {"call": call, "given": given, "path": path, "ends": journey.ends})

    def _tell(self, line: str) -> None:
        if self._stopped is None:  # else the call goes on as if switches were off, to the next question
            self._say(line)

    # ------------------------------------------------------------------------------------------- the call itself

    def _want(self, wanted: Wanted) -> str:
        answer = self._ask(wanted)
        if answer is None:
            raise Stopped(wanted)
        return answer

    def _asked(self, wanted: Wanted, given: str | None, read: Callable[[str], Any]) -> Any:
        """What was given, or what somebody answers; asked again until it can be read."""
        if given is not None:
            return read(given)
        while True:
            try:
                return read(self._want(wanted))
            except Wrong as error:
                self._say(f"  {error}")

    def _caller(self) -> str | None:
        known = (Choice(ANONYMOUS, "hides the number"), *(Choice(one) for one in self._callers()))
        wanted = Wanted("Who calls? A number, or Enter for anonymous", "--from", known, True, ANONYMOUS)

        def read(text: str) -> str | None:
            if text == ANONYMOUS:
                return None
            number = text if text in self._routing.people else policy.e164(text, self._routing.country)
            if number is None:
                raise Wrong(f"{text!r} is not a number: write +{_example(self._routing)}, or {ANONYMOUS}")
            return number

        found: str | None = self._asked(wanted, self._said.caller, read)
        return found

    def _callers(self) -> list[str]:
        """Callers between whom this company makes a difference."""
        exact = [number for known in self._routing.lists.values() for number in sorted(known.numbers)]
        return exact[:5]

    def _called(self) -> str:
        numbers = self._routing.numbers
        if not numbers:
            raise Wrong("the company has no number that could be called")
        choices = tuple(
            Choice(one.number, f"{one.label + ', ' if one.label else ''}flow {one.flow}") for one in numbers.values()
        )
        wanted = Wanted("Which number is called?", "--to", choices, default=next(iter(numbers)))

        def read(text: str) -> str:
            number = text if text in numbers else policy.e164(text, self._routing.country) or ""
            if number not in numbers:
                raise Wrong(f"{text!r} is none of the company's numbers: {', '.join(list(numbers)[:10])}")
            return number

        return str(self._asked(wanted, self._said.called, read))

    def _at(self) -> dt.datetime:
        wanted = Wanted(
            f"When? A date and time, or Enter for now, {self._now:%Y-%m-%d %H:%M}",
            "--at",
            (Choice(f"{self._now:%Y-%m-%d} 10:00"), Choice("23:10", "today")),
            free=True,
            default="now",
        )

        def read(text: str) -> dt.datetime:
            if text == "now":
                return self._now.replace(second=0, microsecond=0)
            for form, day in (("%Y-%m-%d %H:%M", None), ("%Y-%m-%dT%H:%M", None), ("%H:%M", self._now.date())):
                try:
                    found = dt.datetime.strptime(text, form)
                except ValueError:
                    continue
                return dt.datetime.combine(day, found.time()) if day else found
            raise Wrong(f"{text!r} is not a moment: write 2026-11-23 10:00, 10:00 for today, or now")

        found: dt.datetime = self._asked(wanted, self._said.at, read)
        return found

    # ------------------------------------------------------------------------------------------------- questions

    def _answer(self, question: Question) -> Answer:
        """The world of the walk."""
        if self._stopped is not None:
            return None
        if question.kind == "keys":
            return self._keys(question)
        kind = {"phone": "phones", "agent": "agents", "lookup": "lookups", "switch": "switches"}[question.kind]
        subject = question.subject.removeprefix(self._home)
        used, given = self._used[kind], getattr(self._said, kind)
        if subject not in used:
            known = given.get(subject, given.get(question.subject, given.get(question.person)))
            answer = self._asks_for(question) if known is None else known
            if answer is None:
                return None
            used[subject] = answer
        return used[subject]

    def _asks_for(self, question: Question) -> Answer:
        if question.kind == "lookup":
            return self._looks_up(question)
        whose = self._teller.person(question.person or question.subject)
        if question.kind == "switch":
            wanted = Wanted(
                f"Is the switch {question.subject} on?", f"--switch {question.subject}=on", _choices("off", "on")
            )
        elif question.kind == "agent":
            options = (*question.options, ENOUGH)
            wanted = Wanted(
                f"What does agent {whose} do with the call?", f"--agent {question.subject}=answers", _choices(*options)
            )
        else:
            phone = f"the phone {question.subject}" + (f" of {whose}" if question.person else "")
            phone = f"the phone of {whose}" if question.person == question.subject else phone
            wanted = Wanted(
                f"What does {phone} do?", f"--phone {question.subject}=answers", _choices(*question.options)
            )
        answer = self._one(wanted)
        return None if answer == ENOUGH else answer

    def _one(self, wanted: Wanted) -> str | None:
        answer = self._ask(wanted)
        if answer is None:
            self._stopped = wanted
        return answer

    def _looks_up(self, question: Question) -> Answer:
        name = question.subject.removeprefix(self._home)
        variables = ", ".join(question.wanted)
        choices = (Choice("answers", f"brings {variables}"), *_choices(*LOST))
        example = f"--lookup {name}=failed, or --lookup {name}:{question.wanted[0]}=301"
        word = self._one(Wanted(f"What comes of the lookup {name}?", example, choices))
        if word != "answers":
            return word
        values = {}
        for variable in question.wanted:
            value = self._one(Wanted(f"  {variable} is", f"--lookup {name}:{variable}=301", free=True))
            if value is None:
                return None
            values[variable] = value
        return values

    def _keys(self, question: Question) -> Answer:
        if self._said.press:
            keys = self._said.press.pop(0)
        else:
            meanings = self._meanings(question.subject)
            wanted = Wanted("Which keys does the caller press? Enter for none", "--press 1", meanings, True, "")
            while True:
                answer = self._one(wanted)
                if answer is None:
                    return None
                keys = _key(answer)
                if _KEYS.fullmatch(keys):
                    break
                self._say("  a telephone has the keys 0 to 9, * and #")
        self._pressed.append(keys)
        return keys

    def _meanings(self, where: str) -> tuple[Choice, ...]:
        """What keys mean where the caller is."""
        flow, _, name = where.partition("/")
        step = self._routing.step(flow, name)
        if step is None:
            return ()
        found: dict[str, str] = {}
        queue = self._routing.queues.get(str(step.values.get("queue", "")))
        for keys in (queue.keys if queue else {}, step.values.get("keys") or {}):
            found |= {key: str(edge) for key, edge in keys.items() if isinstance(edge, Edge)}
        for typed in step.typed(self._routing):
            if typed not in found:
                person = self._routing.people.get(typed)
                found[typed] = person.name if person else "for example" if step.verb == "collect" else "means nothing"
        return tuple(Choice(key, meaning) for key, meaning in found.items())


def _key(line: str) -> str:
    """Keys as a person writes them."""
    return {"star": "*", "hash": "#", "none": ""}.get(line, line.replace(" ", ""))


def _choices(*answers: str) -> tuple[Choice, ...]:
    return tuple(Choice(answer, _MEANINGS.get(answer, "")) for answer in answers)


def _example(routing: Routing) -> str:
    return next(iter(routing.numbers), "+79031234567").lstrip("+")


# -------------------------------------------------------------------------------------- what is said beforehand


def said(
    *,
    caller: str | None,
    called: str | None,
    at: str | None,
    press: Sequence[str],
    phones: Sequence[str],
    agents: Sequence[str],
    lookups: Sequence[str],
    switches: Sequence[str],
    country: str,
) -> Said:
    """What the options of the command line say.  Raises Wrong."""
    found = Said(caller, called, at)
    for keys in press:
        if not _KEYS.fullmatch(keys):
            raise Wrong(f"--press {keys}: a telephone has the keys 0 to 9, * and #")
        found.press.append(keys)
    for address, word in _pairs("--phone", phones, PHONES).items():
        found.phones[policy.e164(address, country) or address if address.startswith(("+", "00")) else address] = word
    found.agents.update(_pairs("--agent", agents, (*PHONES, *AWAY)))
    found.switches.update(_pairs("--switch", switches, ("on", "off")))
    for item in lookups:
        name, equals, value = item.partition("=")
        step, colon, variable = name.partition(":")
        if not (equals and step and value and (variable if colon else value in LOST)):
            raise Wrong(f"--lookup {item}: write STEP=failed, STEP=not_found or STEP:VARIABLE=VALUE")
        before = found.lookups.get(step)
        if before is not None and isinstance(before, str) != (not colon):
            raise Wrong(f"--lookup {item}: {step} either brings values or fails")
        found.lookups[step] = {**(before if isinstance(before, Mapping) else {}), variable: value} if colon else value
    return found


def _pairs(option: str, items: Iterable[str], words: Sequence[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, _, word = item.partition("=")
        meant = [known for known in words if word and known.startswith(word)]
        if not name or (word not in words and len(meant) != 1):
            raise Wrong(f"{option} {item}: write {option} NAME=WORD, where WORD is one of {', '.join(words)}")
        found[name] = word if word in words else meant[0]
    return found


# ------------------------------------------------------------------------------------------------ as a rehearsal


def as_yaml(name: str, rehearsal: Mapping[str, Any]) -> str:
    """A rehearsal as an entry of a file of rehearsals; names of steps, switches and queues are plain words."""
    call, given, ends = rehearsal["call"], rehearsal["given"], rehearsal["ends"]
    caller = call["from"] if call["from"] == ANONYMOUS else _quoted(call["from"])
    press = f", press: [{', '.join(_quoted(keys) for keys in call['press'])}]" if call["press"] else ""
    lines = [
        f"{_quoted(name)}:",
        f"  call: {{from: {caller}, to: {_quoted(call['to'])}, at: {call['at']:%Y-%m-%d %H:%M}{press}}}",
    ]
    if given:
        kinds = (f"{kind}: {_flow(answers)}" for kind, answers in given.items())
        lines.append(f"  given: {{{', '.join(kinds)}}}")
    lines.append(f"  path: [{', '.join(rehearsal['path'])}]")
    if ends:
        lines.append(f"  ends: {_ends(ends)}")
    return "\n".join(lines) + "\n"


def _flow(answers: Mapping[str, Any]) -> str:
    items = []
    for key, value in answers.items():
        text = str(value)
        if isinstance(value, Mapping):
            text = f"{{{', '.join(f'{variable}: {_quoted(brought)}' for variable, brought in value.items())}}}"
        items.append(f"{_quoted(key) if key.startswith('+') else key}: {text}")
    return f"{{{', '.join(items)}}}"


def _ends(ends: Mapping[str, Any]) -> str:
    kind, what = next(iter(ends.items()))
    if kind == "hangup" and what == "normal":
        return "hangup"
    if isinstance(what, tuple):
        return f"{{{kind}: [{', '.join(what)}]}}"
    return f"{{{kind}: {_quoted(what) if what.startswith('+') else what}}}"


def _quoted(text: str) -> str:
    """Text between double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def named(routing: Routing, rehearsal: Mapping[str, Any]) -> str:
    """A name for a rehearsal that has none: what happens, with a number if that name is taken."""
    call, ends = rehearsal["call"], rehearsal["ends"]
    what = " ".join(" ".join(v) if isinstance(v, tuple) else str(v) for pair in ends.items() for v in pair)
    name = f"{call['from']} to {call['to']} at {call['at']:%a %H:%M}: {what or 'no end'}"
    known = {one.name for one in routing.rehearsals}
    found, number = name, 2
    while found in known:
        found, number = f"{name} ({number})", number + 1
    return found


def local_now(routing: Routing, epoch: float) -> dt.datetime:
    """A UTC epoch in the company's zone, naive."""
    return dt.datetime.fromtimestamp(epoch, ZoneInfo(routing.timezone)).replace(tzinfo=None)
