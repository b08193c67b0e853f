"""Directories of made-up companies of any size, for measuring ``cordboard check``.

Each shape is large in another way, because what grows with the square of something grows with one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

_HEAD = "cordboard: 1\ncompany: {}\ncountry: RU\ntimezone: Europe/Moscow\nlanguages: [en, ru]\n"
_FLOW = """\
  {flow}:
    clock: {{hours: {{office: greet}}, otherwise: night}}
    greet:
      menu: Welcome. For service press 1, for an operator press 2{said}.
      keys: {{1: service, 2: operator{more}}}
      otherwise: service
    service: {{dial: {group}, ring: 20s, otherwise: message}}
    operator: {{dial: {person}, otherwise: message}}
    night: {{play: We are closed., then: message}}
    message: {{voicemail: {person}, greeting: Please leave a message., then: hangup}}
"""
_HOURS = "hours:\n  office: {mon-fri: 09:00-18:00, holidays: closed}\n"


def many(directory: Path, *, companies: int, numbers: int) -> None:
    """That many companies, each with that many numbers, five people and a flow of six steps."""
    directory.mkdir(parents=True, exist_ok=True)
    for company in range(companies):
        text = _HEAD.format(f"Company {company}")
        text += "numbers:\n" + "".join(_number(company * numbers + i, "reception") for i in range(numbers))
        text += "people:\n" + "".join(f"  {300 + i}: {{name: Person {i}}}\n" for i in range(5))
        text += f"groups:\n  service: [300, 301]\n{_HOURS}flows:\n"
        text += _FLOW.format(flow="reception", group="service", person=300, more="", said="")
        (directory / f"company-{company:05}.yaml").write_text(text, encoding="utf-8")


def _number(index: int, flow: str) -> str:
    return f'  "+7495{1_000_000 + index:07}": {{flow: {flow}}}\n'


def _people(count: int, more: str = "") -> str:
    """People whose calls are forwarded in pairs, and end at a mailbox."""
    lines = []
    for i in range(count):
        to = f"busy: {10_000 + i + 1}, " if i % 2 == 0 and i + 1 < count else ""
        mobile = f'mobile: "+7916{1_000_000 + i:07}"'
        lines.append(f"  {10_000 + i}: {{name: Person {i}, {mobile}, forward: {{{to}otherwise: voicemail}}{more}}}\n")
    return "people:\n" + "".join(lines)


def of_numbers(size: int) -> str:
    """A company of ``size`` numbers, half as many people, and a twentieth of flows, of six steps each."""
    flows = max(1, size // 20)
    text = _HEAD.format("Numbers") + "numbers:\n"
    text += "".join(_number(i, f"flow{i % flows}") for i in range(size)) + _people(max(2, size // 2)) + "groups:\n"
    people = [10_000 + i % max(2, size // 2) for i in range(flows)]
    text += "".join(f"  group{i}: [{person}]\n" for i, person in enumerate(people)) + _HOURS + "flows:\n"
    for i, person in enumerate(people):
        more = {"more": f", 3: flow{(i + 1) % flows}", "said": ", for others press 3"}
        text += _FLOW.format(flow=f"flow{i}", group=f"group{i}", person=person, **more)
    return text


def of_steps(size: int) -> str:
    """A company with one flow of ``size`` menus, each with ways into the others, and as many people."""
    text = _HEAD.format("Steps") + "numbers:\n" + _number(0, "main") + _people(size) + "flows:\n  main:\n"
    for i in range(size):
        keys = f"1: step{(i + 1) % size}, 2: step{i // 2}, 3: step{i * 7 % size}"
        text += f"    step{i}: {{menu: Hello., keys: {{{keys}}}, otherwise: message}}\n"
    return text + "    message: {voicemail: 10000, then: hangup}\n"


def of_lists(size: int) -> str:
    """A company with a list of ``size`` callers, and a group of as many people."""
    callers = ", ".join(f'"+7916{1_000_000 + i:07}"' for i in range(size))
    group = ", ".join(str(10_000 + i) for i in range(size))
    text = _HEAD.format("Lists") + "numbers:\n" + _number(0, "main") + _people(size)
    text += f"groups:\n  all: [{group}]\nlists:\n  blocked: [{callers}]\nflows:\n  main:\n"
    text += "    gate: {caller: {blocked: reject}, otherwise: ring}\n    reject: {hangup: busy}\n"
    return text + "    ring: {dial: all, ring: 20s, otherwise: hangup}\n"


def of_mistakes(size: int) -> str:
    """A company in which ``size`` steps lead nowhere, and ``size`` people have an option that does not exist."""
    text = _HEAD.format("Mistakes") + "numbers:\n" + _number(0, "main") + _people(size, more=", emial: x")
    return text + "flows:\n  main:\n" + "".join(f"    step{i}: {{play: Hello., then: spet{i}}}\n" for i in range(size))


#: What is measured of one company, by name.
SHAPES: Mapping[str, Callable[[int], str]] = {
    "numbers": of_numbers,
    "steps": of_steps,
    "lists": of_lists,
    "mistakes": of_mistakes,
}
#: Those in which there is something to say.
BROKEN = frozenset({"mistakes"})
