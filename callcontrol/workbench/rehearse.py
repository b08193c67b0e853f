"""Rehearsals: walks that the operator wrote down beside the routing, with what must come of them.

A rehearsal never guesses: whatever the call needs to know and the rehearsal does not say makes it fail with the
question.  Only a switch that is not given is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callcontrol.routing.load import check_loaded, load_directory
from callcontrol.routing.model import Rehearsal, Routing
from callcontrol.workbench.walk import Answer, Journey, Question, Visit, Walk

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
    """One rehearsal's verdict: ``passed`` or ``failed``."""

    rehearsal: Rehearsal
    journey: Journey
    verdict: str
    reason: str = ""


def rehearse(routing: Routing, rehearsal: Rehearsal) -> Result:
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
    )
    journey = walk.run()
    walked = _names(routing, rehearsal, journey.visits)
    if journey.question:
        end = f"; if it ends in the queue: ends: {{queue: {journey.queue}}}"
        hint = end if journey.queue and rehearsal.ends is None else ""
        return Result(rehearsal, journey, "failed", journey.question + hint)
    if rehearsal.path is not None and not _matches(rehearsal.path, walked):
        return Result(rehearsal, journey, "failed", "the call went another way")
    if rehearsal.ends is not None and _end(rehearsal.ends) != _end(journey.ends):
        return Result(rehearsal, journey, "failed", "the call ended otherwise")
    if given.press:
        return Result(rehearsal, journey, "failed", f"nobody asked for these keys: {', '.join(given.press)}")
    return Result(rehearsal, journey, "passed")


def _names(routing: Routing, rehearsal: Rehearsal, visits: Iterable[Visit]) -> list[str]:
    number = routing.numbers.get(rehearsal.called)
    home = number.flow if number else ""
    return [visit.step if visit.flow == home else f"{visit.flow}/{visit.step}" for visit in visits]


def _matches(expected: Sequence[str], walked: Sequence[str]) -> bool:
    """Whether ``walked`` is ``expected``, where ``...`` stands for any number of steps."""
    if not expected:
        return not walked
    if expected[0] == "...":
        return any(_matches(expected[1:], walked[skip:]) for skip in range(len(walked) + 1))
    return bool(walked) and walked[0] == expected[0] and _matches(expected[1:], walked[1:])


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


def rehearse_directory(directory: Path, company: str | None, say: Callable[[str], Any]) -> int:
    """Rehearse every company and tell ``say`` line by line.  Returns the exit code: 1 if one failed."""
    loaded = load_directory(directory)
    broken = [problem for problem in check_loaded(loaded) if problem.severity == "error"]
    for problem in broken:
        say(str(problem))
    if broken:
        return 1
    known = [entry.company for entry in loaded]
    if company is not None and company not in known:
        say(f"there is no company {company!r} here; there is: {', '.join(known) or 'none'}")
        return 2
    if not known:
        say(f"{directory}: there is no company here: no file that ends in .yaml")
        return 1
    counts = {"passed": 0, "failed": 0}
    for entry in loaded:
        if entry.routing is None or (company and entry.routing.company != company):
            continue
        say(f"{entry.routing.company}: {entry.routing.title}")
        if not entry.routing.rehearsals:
            say("  no rehearsals")
        for rehearsal in entry.routing.rehearsals:
            result = rehearse(entry.routing, rehearsal)
            counts[result.verdict] += 1
            for line in _told(entry.routing, result):
                say(line)
    total = sum(counts.values())
    say(f"{total} {'rehearsal' if total == 1 else 'rehearsals'}: {counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


def _told(routing: Routing, result: Result) -> list[str]:
    rehearsal, journey = result.rehearsal, result.journey
    if result.verdict == "passed":
        return [f"  passed   {rehearsal.name}"]
    walked = [*_names(routing, rehearsal, journey.visits)]
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
