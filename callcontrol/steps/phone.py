"""What one of the company's own phones dialled: the built-in step with which such a call begins.

No operator writes it and it is not in ``VERBS``.  Who the phone is comes from the switch's directory, never from what
the phone says of itself.  In this order a text dialled is: an extension, a code (of a switch, a flow, or agents), an
emergency number of the company's list, one of the company's own numbers, a number outside as policy allows.

The surprise: a refusal is spoken before the call ends, because a display that says "403" explains nothing.
"""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol import dialling, policy
from callcontrol.dialling import Barred
from callcontrol.hunt import Hunt, Ways, owed_by_hunt
from callcontrol.messages import DutySet, Progress, SetDuty, SetSwitch, SwitchSet, Tell, Wait
from callcontrol.phrases import phrase
from callcontrol.routing.model import DutyCode, Edge, Flow, Number, Place, Routing, Stage, Target
from callcontrol.steps.base import THEN, Run, Step, View

#: How long somebody who is called from a phone of the company rings, seconds.
RING = 60.0
#: How long it may take until a switch is kept, seconds.
SWITCHING = 3.0
#: How long it may take until an agent is logged in or out, seconds.
SIGNING = 3.0
#: The built-in flow; no operator can name one so.
FLOW = "~phone"
_NOWHERE = Place("", 0, 0)
#: An outcome of the hunt, for the phone that called.
_REASONS = {
    "busy": "busy",
    "declined": "declined",
    "no_answer": "no_answer",
    "unreachable": "unreachable",
    "refused": "congestion",
}


class FromPhone(Step):
    """Serve what a phone of the company dialled."""

    verb = FLOW

    class Fields(ma.Schema):
        pass

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        if call.talked:
            return THEN
        if "e" in progress:  # it is over, and was being said
            return (yield from _ended(call, str(progress["e"])))
        dialled, routing = call.called, call.routing
        if dialled in routing.people:
            call.why(f"{dialled} is an extension")
            reached: str | Edge = yield from Hunt((Stage((Target(person=dialled),), RING),)).run(call, progress)
            return (yield from _ended(call, reached))
        for name, code in routing.switches.items():
            if code == dialled:
                return (yield from _switch(call, name, progress))
        for flow in routing.flows.values():
            if flow.code == dialled:
                call.why(f"{dialled} is the code of the flow {flow.name}")
                return Edge(flow.name, None, None, flow.place)
        if dialled in routing.duty_codes:
            return (yield from _duty(call, routing.duty_codes[dialled], progress))
        own = _own(routing, dialled)
        if own is not None:
            call.why(f"{own.number} is our own")
            for name, value in own.sets.items():
                call.set(name, value)
            return Edge(own.flow, None, None, own.place)
        way = _outside(call)
        if isinstance(way, Barred):
            return (yield from _refuse(call, way))
        result: str | Edge = yield from Ways((way,), RING).run(call, progress)
        return (yield from _ended(call, result))

    def after_end(self, progress: Any, company: str, call_id: str, now: float) -> Any:
        return owed_by_hunt(progress, company, call_id)


def why_not(routing: Routing, extension: str, dialled: str) -> str:
    """Why what a phone would dial by a command reaches nobody, for people, or nothing: judged before anything rings.

    Whether they are busy, and whether all lines are in use, is known once it is tried.  An emergency number is dialled
    by a person: who picks up a telephone that rings by a command does not know whom they call.
    """
    codes = {*routing.switches.values(), *(flow.code for flow in routing.flows.values()), *routing.duty_codes}
    if dialled in routing.people or dialled in codes or _own(routing, dialled) is not None:
        return ""
    if dialled in routing.outbound.get("emergency", ()):
        return f"{dialled} is an emergency number: it is dialled on the telephone itself"
    call = View(routing, call_id="", caller=extension, called=dialled, answered=False, now=0.0, extension=extension)
    way = _outside(call)
    return way.why if isinstance(way, Barred) else ""


def _own(routing: Routing, dialled: str) -> Number | None:
    """The number of the company's own that was dialled, however it was written."""
    if dialled in routing.outbound.get("emergency", ()):
        return None
    return routing.numbers.get(policy.e164(dialled, routing.country) or "")


def _outside(call: View) -> dialling.Way | Barred:
    """The way to what was dialled, which is nobody of the company."""
    by = call.routing.people.get(call.extension or "")
    emergency = call.called in call.routing.outbound.get("emergency", ())
    return dialling.number(call, call.called, confirm=False, by=by, emergency=emergency)


def _ended(call: View, result: str | Edge) -> Run:
    """Nobody was reached: the phone hears why in its own way, or in words where that says too little."""
    if isinstance(result, Edge) or result == THEN:
        return result
    yield Progress({"e": result})  # a takeover must not ring again while it is said
    if result == "refused":
        yield from call.play(phrase("congestion", call.language))
    yield from call.hang_up(_REASONS.get(result, "unreachable"))
    return THEN


def _refuse(call: View, way: Barred) -> Run:
    unknown = way.reason in ("not_a_number", "no_such_number", "short")
    call.why(f"refused: {way.why}")
    yield Tell("call.refused", {"dialled": call.called[:32], "reason": way.reason, "why": way.why[:300]})
    yield from call.play(phrase("unknown_number" if unknown else "barred", call.language))
    yield from call.hang_up("unknown_number" if unknown else "barred")
    return THEN


def _switch(call: View, name: str, progress: dict[str, Any]) -> Run:
    """Turn a day/night switch over, once, also when the call changes hands, and say how it stands now."""
    on = bool(progress["v"]) if "v" in progress else not call.switched_on(name)
    kept = bool(progress.get("k"))  # an earlier owner has heard that it is; somebody else may have turned it since
    if not kept:
        yield Progress({"v": int(on)})
        yield SetSwitch(name, on, call.extension or "")
        until, answer = call.now + SWITCHING, None
        while answer is None and call.now < until:
            event = yield Wait(until)
            if isinstance(event, SwitchSet) and event.name == name:
                answer = event
        kept = answer is not None and answer.kept
        if kept:
            yield Progress({"v": int(on), "k": 1})
            yield Tell("switch.set", {"switch": name, "on": on, "by": call.extension})
    call.why(f"{name} is {'on' if on else 'off'}" if kept else f"{name} could not be switched")
    situation = ("switched_on" if on else "switched_off") if kept else "not_done"
    return (yield from _say_and_end(call, situation))


def _duty(call: View, code: DutyCode, progress: dict[str, Any]) -> Run:
    """Log the agent in or out, pause or resume them, and say what they are now.

    Doing it again changes nothing, so a takeover does, unless an earlier owner has heard what came of it.  The facts
    are written where it happens, since agents come and go in other ways too.
    """
    agent = call.extension or ""
    if not any(agent == member.agent for queue in call.routing.queues.values() for member in queue.agents):
        call.why(f"{agent} is an agent of no queue")
        return (yield from _say_and_end(call, "no_agent"))
    state = str(progress["d"]) if "d" in progress else None
    if state is None:
        yield SetDuty(agent, code.what, code.reason)
        until = call.now + SIGNING
        while state is None and call.now < until:
            event = yield Wait(until)
            state = event.state if isinstance(event, DutySet) else None
        state = state or ""
        yield Progress({"d": state})  # somebody else may pause them while it is said
    call.why(f"{agent} is {state.replace('_', ' ')}" if state else f"{code} was not done")
    said = {"available": "logged_in" if code.what == "log_in" else "resumed", "paused": "paused"}
    said["logged_out"] = "logged_out"
    return (yield from _say_and_end(call, said.get(state, "not_done")))


def _say_and_end(call: View, situation: str) -> Run:
    yield from call.play(phrase(situation, call.language))
    yield from call.hang_up("normal")
    return THEN


#: The built-in flows, beside the company's own.
BUILT_IN: dict[str, Flow] = {
    FLOW: Flow(
        name=FLOW,
        steps={"dial": FromPhone(flow=FLOW, name="dial", place=_NOWHERE, edges={}, values={})},
        start="dial",
        on_error=None,
        code=None,
        place=_NOWHERE,
    )
}
