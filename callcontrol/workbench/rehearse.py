"""Rehearsals: walks that the operator wrote down beside the routing, with what must come of them.

A rehearsal never guesses: whatever the call needs to know and the rehearsal does not say makes it fail with the
question.  Only a switch that is not given is off.

The surprise: publishing walks them too, and must come to its end whatever stands in them.  So a walk has an end
(``walk.MOST_EVENTS``), and all walks of a company together cost no more than :data:`ENOUGH`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callcontrol.routing.codes import problem
from callcontrol.routing.files import check_loaded, load_all, stray_rehearsals
from callcontrol.routing.model import Place, Problem, Rehearsal, Routing, on_one_line
from callcontrol.routing.nodes import quoted
from callcontrol.workbench.reporting import FORMATS, as_github, as_json
from callcontrol.workbench.telling import Teller
from callcontrol.workbench.walk import Answer, Journey, Question, Visit, Walk, Watch

#: Events of all walks of one company that publishing waits for: ten seconds, or some 40,000 rehearsals.
ENOUGH = 500_000
#: Rehearsals that fail, told one by one when a company is published.
MOST_TOLD = 50

#: Where a rehearsal's ``given`` has the answers to the questions of a kind.
_GIVEN = {"phone": "phones", "agent": "agents", "lookup": "lookups", "switch": "switches"}


class Given:
    """The world as a rehearsal writes it down."""

    def __init__(self, routing: Routing, rehearsal: Rehearsal) -> None:
        number = routing.numbers.get(rehearsal.called)
        self._home = f"{number.flow}/" if number else ""
        self._given = rehearsal.given
        #: Keys that nobody has asked for yet: an item for each time that keys are asked for.
        self.press = list(rehearsal.press)

    def __call__(self, question: Question) -> Answer:
        """What was written; None if it was not."""
        subject, answers = question.subject, self._given.get(_GIVEN.get(question.kind, ""), {})
        found: Answer
        match question.kind:
            case "keys":
                return self.press.pop(0) if self.press else ""
            case "phone":
                found = answers.get(subject, answers.get(question.person))
            case "switch":
                found = answers.get(subject, "off")
            case "lookup":
                found = answers.get(subject.removeprefix(self._home), answers.get(subject))
            case _:
                found = answers.get(subject)
        return found


@dataclass(frozen=True, slots=True)
class Result:
    """One rehearsal's verdict: ``passed`` or ``failed``; ``walked`` are the steps as a path names them."""

    rehearsal: Rehearsal
    journey: Journey
    walked: Sequence[str]
    verdict: str
    reason: str = ""

    @property
    def problem(self) -> Problem:
        """A failed one in a line: which it is, and what differed."""
        message = f"the rehearsal {quoted(self.rehearsal.name)} fails: {self._differs()}"
        return problem("E601", self.rehearsal.place, message)

    def _differs(self) -> str:
        expected, ends = self.rehearsal.path, self.rehearsal.ends
        if self.reason == ANOTHER_WAY and expected is not None:
            return f"{self.reason}: {_shortly(self.walked)} and not {_shortly(expected)}"
        if self.reason == ANOTHER_END and ends is not None:
            return f"{self.reason}: {_end(self.journey.ends)} and not {_end(ends)}"
        return self.reason


#: How a rehearsal fails most often.
ANOTHER_WAY, ANOTHER_END = "the call went another way", "the call ended otherwise"
#: Names of steps in one line.
_MOST_NAMES = 12


def _shortly(path: Sequence[str]) -> str:
    if len(path) <= _MOST_NAMES:
        return ", ".join(path)
    half = _MOST_NAMES // 2
    return ", ".join((*path[:half], f"({len(path) - 2 * half} steps)", *path[-half:]))


def failing(routing: Routing) -> list[Problem]:
    """What keeps a company from going live: its rehearsals that fail.

    If they take too long together, a warning says which were not walked.
    """
    found: list[Problem] = []
    spent = 0
    for index, rehearsal in enumerate(routing.rehearsals):
        if spent >= ENOUGH:
            left = len(routing.rehearsals) - index
            message = f"{left} rehearsals from here on were not walked, since all together take too long"
            found.append(problem("W601", rehearsal.place, f"{message}; cordboard rehearse walks every one"))
            break
        if len(found) == MOST_TOLD:
            message = f"{MOST_TOLD} rehearsals fail, and those from here on were not walked"
            found.append(problem("E601", rehearsal.place, f"{message}; cordboard rehearse walks every one"))
            break
        try:
            result = rehearse(routing, rehearsal)
        except Exception as error:  # a fault of ours must keep this company back, and no other
            message = f"the rehearsal {quoted(rehearsal.name)} could not be walked, by a fault of Cordboard: {error!r}"
            found.append(problem("E601", rehearsal.place, on_one_line(message)))
            continue
        spent += result.journey.events
        if result.verdict == "failed":
            found.append(result.problem)
    return found


def rehearse(routing: Routing, rehearsal: Rehearsal, watch: Watch = lambda at, command: None) -> Result:
    """Walk one rehearsal and judge it."""
    given = Given(routing, rehearsal)
    wanted = rehearsal.ends.get("queue") if isinstance(rehearsal.ends, Mapping) else None

    def ends_here(queue: str, visits: Sequence[Visit]) -> bool:
        way = rehearsal.path is None or _matches(rehearsal.path, _names(routing, rehearsal, visits))
        return queue == wanted and way

    walk = Walk(
        routing,
        caller=rehearsal.caller,
        called=rehearsal.called,
        at=rehearsal.at,
        world=given,
        ends_here=ends_here if wanted else None,
        watch=watch,
    )
    journey = walk.run()
    walked = _names(routing, rehearsal, journey.visits)
    reason = ""
    if journey.question:
        end = f"; if it ends in the queue: ends: {{queue: {journey.queue}}}"
        reason = journey.question + (end if journey.queue and rehearsal.ends is None else "")
    elif rehearsal.path is not None and not _matches(rehearsal.path, walked):
        reason = ANOTHER_WAY
    elif rehearsal.ends is not None and _end(rehearsal.ends) != _end(journey.ends):
        reason = ANOTHER_END
    elif given.press:
        reason = f"nobody asked for these keys: {', '.join(keys or NO_KEYS for keys in given.press)}"
    return Result(rehearsal, journey, walked, "failed" if reason else "passed", reason)


#: How a rehearsal writes that no key is pressed.
NO_KEYS = '""'


def _names(routing: Routing, rehearsal: Rehearsal, visits: Iterable[Visit]) -> list[str]:
    number = routing.numbers.get(rehearsal.called)
    home = number.flow if number else ""
    return [visit.step if visit.flow == home else f"{visit.flow}/{visit.step}" for visit in visits]


def _matches(expected: Sequence[str], walked: Sequence[str]) -> bool:
    """Whether ``walked`` is ``expected``, where ``...`` stands for any number of steps."""
    # Of several "..." only the last may have to take in more: in time of one path times the other at most.
    at = step = 0
    dots: tuple[int, int] | None = None
    while step < len(walked):
        if at < len(expected) and expected[at] == "...":
            dots = at, step
            at += 1
        elif at < len(expected) and expected[at] == walked[step]:
            at, step = at + 1, step + 1
        elif dots is None:
            return False
        else:
            dots = dots[0], dots[1] + 1
            at, step = dots[0] + 1, dots[1]
    return all(left == "..." for left in expected[at:])


def _end(ends: Mapping[str, Any] | str) -> str:
    """An end as one line: ``talk 301``, ``voicemail 301, 302``, ``hangup busy``; ``hangup`` is any other."""
    if isinstance(ends, str):
        return ends
    for kind, what in ends.items():
        if kind == "hangup" and what == "normal":
            return "hangup"
        if isinstance(what, list | tuple):
            what = ", ".join(str(item) for item in what)
        return f"{kind} {what}"
    return "nothing"


@dataclass(slots=True)
class _Run:
    """A run over a directory: what is told of it, and what has come of it so far."""

    say: Callable[[str], Any]
    verbose: bool
    form: str
    passed: int = 0
    failed: int = 0
    told: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def company(self, routing: Routing, name: str) -> None:
        """Walk a company's rehearsals, those with ``name`` in theirs."""
        chosen = [one for one in routing.rehearsals if name.lower() in one.name.lower()]
        if self.form == "text" and (chosen or not name):
            self.say(f"{routing.company}: {routing.title}")
            if not routing.rehearsals:
                self.say("  no rehearsals")
        for rehearsal in chosen:
            self._one(routing, rehearsal)

    def _one(self, routing: Routing, rehearsal: Rehearsal) -> None:
        lines: list[str] = []
        teller = Teller(routing, lines.append)
        result = rehearse(routing, rehearsal, teller if self.verbose else lambda at, command: None)
        failed = result.verdict == "failed"
        self.failed += failed
        self.problems += [result.problem] if failed else []
        self.passed += not failed
        if self.form == "json":
            self.told.append(_record(routing, result))
        elif self.form == "github":
            if failed:
                self.say(as_github([result.problem]).rstrip())
        else:
            for line in _told(result):
                self.say(line)
            for line in lines:
                self.say(f"      {line}")
            if self.verbose:
                self.say(f"                 ends: {_end(result.journey.ends)}")


def rehearse_all(
    path: Path,
    company: str | None,
    say: Callable[[str], Any],
    *,
    name: str = "",
    verbose: bool = False,
    form: str = "text",
) -> int:
    """Rehearse a company's file, or every one of a directory, and tell ``say`` line by line.

    ``company``: only that one's.  ``name``: only those with this in their name, capitals or not.  ``verbose``: each
    walk is told as well.  ``form``: ``text``, ``json`` (the object of ``check``, with the rehearsals beside its
    problems) or ``github``.  Returns the exit code: 1 if one failed, or a file has errors.  Raises LoadError.
    """
    loaded = load_all(path, company)
    broken = [found for found in check_loaded(loaded) if found.severity == "error"]
    if not loaded:
        broken = [problem("E118", Place(str(path), 1, 1), "there is no company here: no file that ends in .yaml")]
    if broken:
        _say_all(FORMATS[form](broken), say)
        return 1
    run = _Run(say, verbose, form)
    for entry in loaded:
        if entry.routing is not None:
            run.company(entry.routing, name)
    strays = stray_rehearsals(path) if company is None else []
    if strays and form != "json":
        _say_all(FORMATS[form](strays), say)
    total = run.passed + run.failed
    if name and not total:
        say(f"no rehearsal has {name!r} in its name")
        return 2
    if form == "json":
        whole = {"rehearsals": run.told, "passed": run.passed, "failed": run.failed}
        say(json.dumps({**json.loads(as_json([*strays, *run.problems])), **whole}, indent=2))
    elif form == "text":
        say(f"{total} {'rehearsal' if total == 1 else 'rehearsals'}: {run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


def _say_all(text: str, say: Callable[[str], Any]) -> None:
    for line in text.removesuffix("\n").split("\n"):
        say(line)


def _record(routing: Routing, result: Result) -> dict[str, Any]:
    rehearsal, place = result.rehearsal, result.rehearsal.place
    where = {"path": place.path, "line": place.line, "column": place.column}
    found = {"company": routing.company, "name": rehearsal.name, "passed": not result.reason, "why": result.reason}
    return {**found, **where, "walked": list(result.walked), "ends": _end(result.journey.ends)}


def _told(result: Result) -> list[str]:
    rehearsal, journey, walked = result.rehearsal, result.journey, list(result.walked)
    if result.verdict == "passed":
        return [f"  passed   {rehearsal.name}"]
    whys = [visit.why.rpartition("; ")[2] for visit in journey.visits]  # the last reason is the one that decided
    expected = list(rehearsal.path) if rehearsal.path is not None else ["(any way)"]
    end = f"ends: {_end(rehearsal.ends)}" if rehearsal.ends is not None else ""
    left = [*expected, *[""] * (max(len(expected), len(walked)) - len(expected)), end]
    right = [*walked, *[""] * (max(len(expected), len(walked)) - len(walked)), f"ends: {_end(journey.ends)}"]
    whys += [""] * (len(left) - len(whys))
    width = max(len("expected"), *(len(text) for text in left)) + 3
    other = max(len("walked"), *(len(text) for text in right)) + 3
    lines = [
        f"  FAILED   {rehearsal.name}: {result.reason}",
        f"           {rehearsal.place}",
        f"             {'expected':<{width}}{'walked':<{other}}because",
    ]
    for ours, theirs, why in zip(left, right, whys, strict=False):
        mark = " " if ours == theirs or ours in ("...", "(any way)") else "≠"
        lines.append(f"           {mark} {ours:<{width}}{theirs:<{other}}{why}".rstrip())
    return lines
