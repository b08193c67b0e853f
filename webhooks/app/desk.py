"""What the web asks of others: commands of controllers, the routing that is published, Redis.

Thin: what can be asked of somebody else is asked here and judged there.  An answer that cannot be had becomes a problem
that says whether the command may have been performed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from flask import current_app

from callcontrol import commands
from callcontrol.call_views import CallRow
from callcontrol.commands import CommandError, Failed, NobodyAnswered, RedisAway, Refused
from callcontrol.queue_views import AgentRow, QueueRow
from callcontrol.routing.model import Routing
from callcontrol.switchboard import Switchboard
from webhooks.app import door, problems
from webhooks.app.problems import Problem
from workers import bell
from workers.context import Context

#: How long a controller is waited for, seconds; longer for one that has to ask a telephone first.
PATIENCE = 2.0
PATIENCE_TO_PLACE = 5.0
#: The least that one of several is waited for, seconds; switches that are asked at a time.
LEAST = 0.5
MOST_ASKED = 16

_reading = threading.Lock()


def context() -> Context:
    """The process's context."""
    return cast(Context, current_app.extensions["cordboard"])


def board() -> Switchboard:
    """The process's way to what is kept in Redis."""
    return cast(Switchboard, current_app.extensions["cordboard-board"])


# ------------------------------------------------------------------------------------------------- routing


def routing(company: str) -> Routing:
    """A company's routing as it is published.  Raises Problem: there is no such company."""
    found = routing_or_none(company)
    if found is None:
        raise problems.not_found()
    return found


def routing_or_none(company: str) -> Routing | None:
    """A company's routing as it is published."""
    with _reading:  # what reads it is one process's and no thread's
        return context().routing(company)


def companies() -> Sequence[str]:
    """Every company that is published."""
    with _reading:
        return context().companies()


# ------------------------------------------------------------------------------------------------- commands


def ask(verb: str, arguments: Mapping[str, Any], *, switch: str = "", patience: float | None = None) -> dict[str, Any]:
    """Have a command performed by a controller of ``switch``, by default the first that has one who answers.

    Raises Problem, of a command that was refused, ``conflict``.
    """
    try:
        return _asked(verb, arguments, [switch] if switch else _switches(), patience or PATIENCE)
    except Refused as refused:
        raise Problem("conflict", said(str(refused))) from None


def ask_each(verb: str, arguments: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The answers of every switch, and the switches that gave none.  Raises Problem if none did."""
    given = _of_each(verb, arguments)
    for answer in given.values():
        if isinstance(answer, Refused):
            raise Problem("conflict", said(str(answer)))
        if isinstance(answer, Problem) and answer.kind == "unavailable":
            raise answer
    answers = [answer for answer in given.values() if isinstance(answer, dict)]
    trouble = {switch: answer for switch, answer in given.items() if isinstance(answer, Problem)}
    if trouble and not answers:
        raise next(iter(trouble.values()))
    return answers, [*trouble]


def ask_where_it_is(verb: str, arguments: Mapping[str, Any], switch: str | None) -> dict[str, Any]:
    """Have something done with a call: on its switch, or, if the journal does not know the call yet, wherever it is.

    Raises Problem: of a call that no switch knows ``not-found``.
    """
    if switch is not None:
        return ask(verb, arguments, switch=switch)
    given = _of_each(verb, arguments).values()  # where it is not, it is refused
    for answer in given:
        if isinstance(answer, dict):
            return answer
    raise next((answer for answer in given if isinstance(answer, Problem)), None) or problems.not_found()


def _of_each(verb: str, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any] | Refused | Problem]:
    """What every switch says; they are asked at the same time, so that those that are silent cost the time of one."""
    url, by = context().redis_url, door.who()

    def one(switch: str) -> dict[str, Any] | Refused | Problem:
        try:
            return commands.ask(url, switch, verb, arguments, PATIENCE, by=by)
        except Refused as refused:
            return refused
        except CommandError as error:
            return _silence(error)

    switches = _switches()
    with ThreadPoolExecutor(min(MOST_ASKED, len(switches))) as pool:
        return dict(zip(switches, pool.map(one, switches), strict=True))


def _asked(verb: str, arguments: Mapping[str, Any], switches: Sequence[str], patience: float) -> dict[str, Any]:
    """The answer of the first switch that gives one: all the others have as long as one more, together."""
    until = time.monotonic() + 2 * patience
    for last, switch in zip([*[False] * (len(switches) - 1), True], switches, strict=True):
        left = max(LEAST, min(patience, until - time.monotonic()))
        try:
            return commands.ask(context().redis_url, switch, verb, arguments, left, by=door.who())
        except NobodyAnswered as nobody:
            if nobody.taken or last or time.monotonic() >= until:
                raise _silence(nobody) from None
        except Refused:
            raise
        except CommandError as error:
            raise _silence(error) from None
    raise AssertionError("a configuration has a switch")


def _silence(error: CommandError) -> Problem:
    match error:
        case NobodyAnswered(taken=taken):
            kind, performed = "no-answer", "maybe" if taken else "no"
        case RedisAway():
            kind, performed = "unavailable", "maybe"
            return Problem(kind, "Redis cannot be asked just now.", headers={"Retry-After": "5"}, performed=performed)
        case Failed():
            kind, performed = "fault", "maybe"
        case _:
            kind, performed = "fault", "maybe"
    return Problem(kind, said(str(error)), performed=performed)


def _switches() -> list[str]:
    return [switch.name for switch in context().config.switches]


def said(text: str) -> str:
    """Words of a controller, which may hold a caller's, as one line."""
    return "".join(c if c.isprintable() else "?" for c in text)[:500]


# ------------------------------------------------------------------------------- what the answers are about


def live_calls(company: str) -> tuple[list[CallRow], list[str]]:
    """The live calls of a company, the oldest first, and the switches that did not answer."""
    answers, silent = ask_each("call.list", {"company": company})
    rows = [row for answer in answers for row in answer["calls"] if row["company"] == company]
    return sorted(rows, key=lambda row: (row["since"], row["call"])), silent


def agents(company: str) -> list[AgentRow]:
    """A company's agents."""
    return [row for row in ask("agent.list", {"company": company})["agents"] if row["company"] == company]


def queues(company: str) -> list[QueueRow]:
    """A company's queues."""
    return [row for row in ask("queue.show", {"company": company})["queues"] if row["company"] == company]


# ----------------------------------------------------------------------------------------------- the workers


def ring(queue: str) -> None:
    """Ring for workers, after the commit; if Redis is away the sweeper rings."""
    ringer: Callable[[Any, str], bool] = bell.ring
    ringer(context().redis_url, queue)
