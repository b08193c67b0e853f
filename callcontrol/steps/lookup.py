"""``lookup``: ask a company's own service about the caller or what was typed, and keep named answers.

The step builds the address and judges the answer; who fetches it and how is the shell's (``lookups.py``).

The surprise: a value may not be trusted to stay in its place.  Percent-encoding keeps it from adding a
parameter or a host, but many servers decode a path before they resolve ``..`` in it, so an address in which a
value would climb is not asked at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import marshmallow as ma

from callcontrol.messages import LookedUp, Progress, Tell, Wait
from callcontrol.messages import Lookup as Ask
from callcontrol.routing import kinds
from callcontrol.routing.model import Routing
from callcontrol.steps.base import THEN, Run, Step, View
from callcontrol.view import HOLE

#: A new owner of the call asks again for at least so long, seconds.
LEAST = 0.5


class Lookup(Step):
    """Fetch a JSON object (GET, no redirects) and take the named keys from it; nothing else comes in.

    Each value becomes text: numbers as they are written, ``true`` and ``false``; 64 bytes at most.  The outcome
    is ``not_found`` when the service answers 404 or 410 or a key is missing or null, ``failed`` for anything
    else: no answer within ``wait``, another status, no JSON object, a value that is no text or finds no room.
    Values in the address are percent-encoded, and stand behind the host only.

    ```yaml
    who:
      lookup: https://crm.acme.test/orders/{order}
      into: [manager]
      wait: 2s
      then: manager
      otherwise: reception/vip
    ```

    then: every key is in its variable
    not_found: the service does not have it, or one of the keys is missing
    failed: there was no answer in time, or none that can be used
    """

    verb = "lookup"
    outcomes = ("not_found", "failed")
    then = "required"

    class Fields(ma.Schema):
        """lookup: the address that is asked; variables stand behind the host only
        into: the keys to take; each becomes a variable of the same name
        wait: how long the service may take
        """

        lookup = kinds.UrlField(required=True)
        into = kinds.VariablesField(required=True)
        wait = kinds.DurationField(0.5, 10, load_default=2.0)

    what: str
    into: tuple[str, ...]
    wait: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        began = call.now
        until = self._until(call, progress)
        url = address(self.what, {name: call.get(name) for name in HOLE.findall(self.what)})
        if url is None:
            answer = LookedUp(0, "failed", why="a value would leave its place in the address: it was not asked")
        else:
            yield Progress({"until": math.ceil(until * 10)})
            asked = call.next_id()
            yield Ask(asked, url, self.into, until - call.now)
            answer = LookedUp(asked, "failed", why=f"no answer within {until - began:.3g} s")
            while call.now < until:
                event = yield Wait(until)
                if isinstance(event, LookedUp) and event.id == asked:
                    answer = event
                    break
        outcome, why = self._keep(call, answer)
        host = urlsplit(self.what).hostname or ""
        call.why(f"{host[:80]}: {why}")
        told = {"step": f"{self.flow}/{self.name}", "host": host[:80], "outcome": outcome}
        reason = {"values": {name: answer.values[name] for name in self.into}} if outcome == THEN else {"why": why}
        yield Tell("lookup.done", {**told, **reason, "ms": round((call.now - began) * 1000)})
        return outcome

    def _until(self, call: View, progress: Mapping[str, Any]) -> float:
        """The deadline: an earlier owner's, who kept it in tenths of a second, or a new one."""
        kept = progress.get("until")
        if not isinstance(kept, int):
            return call.now + self.wait
        return min(max(kept / 10, call.now + LEAST), call.now + self.wait)

    def _keep(self, call: View, answer: LookedUp) -> tuple[str, str]:
        """Set the values, all or none.  Returns the outcome and why."""
        if answer.outcome != THEN:
            return answer.outcome, answer.why[:160] or answer.outcome
        values = {name: answer.values[name] for name in self.into}
        if not call.fit(values):
            return "failed", "the call has no room for these values"
        for name in values:  # a smaller value that comes later makes room for a larger one
            call.variables.pop(name, None)
        for name, value in values.items():
            call.set(name, value)
        return THEN, ", ".join(f"{name} = {value}" for name, value in values.items())


def address(template: str, values: Mapping[str, str]) -> str | None:
    """``template`` with each ``{hole}`` filled by its value, percent-encoded; None if a value would climb.

    No character of a value is safe: one in a path may not end its part of it, and one in a query may not begin
    another parameter.
    """
    path, mark, query = template.partition("?")
    filled = HOLE.sub(lambda hole: values.get(hole[1], ""), path)
    if _climbs(filled) != _climbs(HOLE.sub("x", path)):
        return None
    return HOLE.sub(lambda hole: quote(values.get(hole[1], ""), safe=""), path + mark + query)


def _climbs(path: str) -> int:
    """How many parts of a path lead elsewhere (RFC 3986, section 5.2.4), as a server sees it that decodes first."""
    return sum(part in (".", "..") for part in re.split(r"[/\\]", path))


def asked_hosts(routing: Routing) -> frozenset[str]:
    """The hosts that a company's lookups ask, in small letters."""
    steps = (step for flow in routing.flows.values() for step in flow.steps.values())
    hosts = (urlsplit(step.values["lookup"]).hostname for step in steps if step.verb == "lookup")
    return frozenset(host for host in hosts if host)
