"""A small company around flows, and the problems that are found in it."""

from __future__ import annotations

import datetime as dt

from callcontrol.routing.load import load_text

#: The day on which companies are checked.
TODAY = dt.date(2026, 11, 26)
HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
people:
  301: {name: Anna}
  302: {name: Boris}
groups:
  team: [301, 302]
lists:
  vip: ["+7812*"]
hours:
  office: {mon-fri: 09:00-18:00}
"""
NUMBERS = 'numbers:\n  "+74951234567": {flow: main}\n'
#: Flows in which nothing is wrong.
PLAY = "main:\n  a: {play: A.}"


def problems(flows: str, *, numbers: str = NUMBERS, more: str = "", head: str = HEAD) -> list[str]:
    """Code and message of every problem of a company with these flows (YAML, from column 1: ``main:`` …)."""
    text = head + numbers + more + "flows:\n" + "".join(f"  {line}\n" for line in flows.strip("\n").splitlines())
    return [f"{p.code} {p.message}" for p in load_text(text, path="f", company="test", today=TODAY).problems]


def placed(flows: str, *, more: str = "", head: str = HEAD) -> list[str]:
    """Line, column, code and message of every problem; the people begin at line 7 of HEAD."""
    text = head + NUMBERS + more + "flows:\n" + "".join(f"  {line}\n" for line in flows.strip("\n").splitlines())
    return [str(p).removeprefix("f:") for p in load_text(text, path="f", company="test", today=TODAY).problems]


def codes(flows: str, *, numbers: str = NUMBERS, more: str = "", head: str = HEAD) -> list[str]:
    """The codes of every problem."""
    return [line.partition(" ")[0] for line in problems(flows, numbers=numbers, more=more, head=head)]


def anna(options: str) -> str:
    """HEAD with more options of Anna, who is 301."""
    return HEAD.replace("301: {name: Anna}", f"301: {{name: Anna, {options}}}")


def long_names(count: int, length: int) -> str:
    sets = ", ".join(f"{'v' * (length - 1)}{chr(97 + i)}: {'x' * 25}" for i in range(count))
    return f"main:\n  a: {{set: {{{sets}}}, then: b}}\n  b: {{play: B.}}"
