"""Calls for tests of what is compared: random walks, with the facts that a controller would have told of them."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from callcontrol import messages as m
from callcontrol.routing.model import Routing
from callcontrol.workbench.walk import Answer, Journey, Question, Walk

#: Steps after which a random caller has had enough.
PATIENCE = 40


class GivesUp(Exception):
    """The caller hangs up."""


class Random:
    """A world that answers anything, but the same of the same telephone, and remembers what it told."""

    def __init__(self, chance: random.Random, *, gives_up: float = 0.0) -> None:
        self._chance, self._gives_up = chance, gives_up
        self._kept: dict[tuple[str, str], Answer] = {}
        self._left = PATIENCE

    def __call__(self, question: Question) -> Answer:
        self._left -= 1
        if self._left < 0 or self._chance.random() < self._gives_up:
            raise GivesUp
        options: tuple[Answer, ...] = question.options
        if question.kind == "lookup":
            options = (*options, dict.fromkeys(question.wanted, "302"))
        answer = self._chance.choice(options)
        return (
            answer
            if question.kind in ("keys", "lookup")
            else self._kept.setdefault(
                ("desk" if question.person in ("", question.subject) else "", question.subject), answer
            )
        )


def walked(
    routing: Routing,
    chance: random.Random,
    *,
    caller: str | None,
    called: str,
    at: float,
    call: str = "c",
    gives_up: float = 0.0,
) -> tuple[Journey | None, list[dict[str, Any]]]:
    """One random call: its journey (None: the caller gave up), and its facts."""
    facts: list[dict[str, Any]] = []
    world = Random(chance, gives_up=gives_up)

    def tell(at: float, type_: str, data: dict[str, Any]) -> None:
        facts.append(
            {
                "v": 1,
                "type": type_,
                "company": routing.company,
                "call": call,
                "epoch": 1,
                "n": len(facts) + 1,
                "at": at,
                "switch": "s1",
                "data": data,
            }
        )

    legs: dict[str, str] = {}

    def watch(now: float, command: m.Command) -> None:
        if isinstance(command, m.Tell):
            tell(now, command.type, command.data)
        elif isinstance(command, m.RingLeg):
            legs[command.leg] = command.phone.address
        elif isinstance(command, m.Join):
            tell(now, "talk.started", {"with": legs[command.leg], "leg": command.leg})

    journey = None
    with contextlib.suppress(GivesUp):
        journey = Walk(routing, caller=caller, called=called, at=at, world=world, watch=watch).run()
    by = "cordboard" if journey is not None and "hangup" in journey.ends else "caller"
    tell(facts[-1]["at"] if facts else at, "call.ended", {"cause": "NORMAL_CLEARING", "by": by})
    return journey, facts
