"""One call: which events mean something in which part of its life, and the driver of its steps.

Rules for editing.  The life of a call is the table :data:`LIFE`; an event that has no row is *late* and
ignored, never an error.  The driver knows no verb: it asks a step for an outcome and follows the edge that
the operator wrote.  Everything that must survive a controller is in ``state.State`` and is written before
the next effect.  ``handle`` never waits, never raises on what a switch or an operator may do, and returns
the commands in the order in which the shell must perform them.

Theory.  ``begin`` and ``handle`` run the current step's generator until it yields a :class:`Wait`.  A
takeover makes a new Call from the checkpoint and runs the same step again with its last progress.  When
caller and leg are joined the call is let go: this object is over although the call lives.

The surprise: the end of a call may find a step that still has something to finish (a recording is whole only
after the hangup); such a step waits ``past_end``, and :meth:`Call.close` is the last resort.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from enum import Enum
from typing import Any

from callcontrol import policy
from callcontrol import state as checkpoint
from callcontrol.messages import (
    HANGUP_REASONS,
    PHONE_REASONS,
    Answered,
    AskPlace,
    CancelLeg,
    CancelLegs,
    Checkpoint,
    Command,
    Enter,
    Event,
    FindLeg,
    HungUp,
    Join,
    Joined,
    Leave,
    LegFailed,
    LetGo,
    Log,
    Miss,
    Progress,
    RingLeg,
    StopPlay,
    Tell,
    TimeCame,
    Tone,
    Wait,
    WakeAt,
)
from callcontrol.routing.model import Edge, Flow, Routing
from callcontrol.state import State, StateError
from callcontrol.steps import phone
from callcontrol.steps.base import IN_QUEUE, THEN, EnterFlow, Run, Step
from callcontrol.view import SwitchedOn, View, leg_id

#: Steps walked without waiting for anything: more is a loop that ``check`` did not see.
MOST_STEPS_AT_ONCE = 100
#: Steps that may crash in one call before it gets the apology.
MOST_CRASHES = 3
#: How deep flows may run flows.
DEEPEST = 8


class Life(Enum):
    """Where a call is."""

    RINGING = "ringing"  # the caller hears ringing, nobody has answered
    ANSWERED = "answered"
    TALKING = "talking"  # let go: nobody owns it
    ENDED = "ended"


#: What an event does to a life; no row: the event is late and means nothing.
#: ``Event`` stands for every other event, which the current step may want.
LIFE: Mapping[tuple[Life, type[Event]], Life] = {
    (Life.RINGING, Answered): Life.ANSWERED,
    (Life.RINGING, Joined): Life.TALKING,
    (Life.RINGING, HungUp): Life.ENDED,
    (Life.RINGING, Event): Life.RINGING,
    (Life.ANSWERED, Joined): Life.TALKING,
    (Life.ANSWERED, HungUp): Life.ENDED,
    (Life.ANSWERED, Event): Life.ANSWERED,
    (Life.ENDED, Event): Life.ENDED,
}
#: Events that have their own rows only: the general row of a life does not admit them.
_OWN_ROWS = (Answered, Joined, HungUp)


def after(life: Life, event: Event) -> Life | None:
    """The life after ``event``, or None if it comes too late to mean anything."""
    kind: type[Event] = type(event) if isinstance(event, _OWN_ROWS) else Event
    return LIFE.get((life, kind))


#: In the progress of a step that is over: the call is being hung up, for this reason.
_ENDING = "~"
#: Commands that change nothing outside: they need no checkpoint before them.
_HARMLESS = (Tell, Log, WakeAt, FindLeg, StopPlay, CancelLeg, AskPlace)
#: What may still be said when the caller has left: it concerns others.
_PAST_END = (Tell, Log, Leave, Miss)


class Call:
    """One caller's journey through a company's routing.

    ``taken`` is the checkpoint of an earlier owner; ``talked_to`` the leg that the caller last talked with.  If
    that is the one that the checkpoint names, the call comes back from its talk; else the joining failed.
    ``segments``: how many recordings of its talks have begun, None if nothing is noted of that.  ``extension``: the
    call comes from this phone of the company's own, which the switch knows by its password.
    """

    def __init__(
        self,
        routing: Routing,
        *,
        call_id: str,
        caller: str | None,
        called: str,
        now: float,
        answered: bool = False,
        taken: State | None = None,
        talked_to: str | None = None,
        epoch: int = 1,
        segments: int | None = None,
        extension: str | None = None,
        switched_on: SwitchedOn = lambda _: False,
    ) -> None:
        self.routing = routing
        self.id = call_id
        self.life = Life.ANSWERED if answered else Life.RINGING
        self.let_go = False
        self.path: list[tuple[str, str]] = []
        self.began = taken.began if taken else int(now)
        self.epoch = taken.epoch + 1 if taken else epoch
        self._taken = taken
        self._talked_to = talked_to
        person = routing.people.get(extension or "")
        self.view = View(
            routing,
            call_id=call_id,
            caller=extension if person else caller,
            called=called,
            answered=answered,
            now=now,
            extension=extension if person else None,
            switched_on=switched_on,
        )
        if person is not None and person.language:
            self.view.language = person.language
        # A phone of our own may have dialled one of our numbers in any way of writing it.
        self._number = routing.numbers.get((policy.e164(called, routing.country) or "") if person else called)
        self.view.number = self._number
        self.view.segments, self.view.noted = segments or 0, segments is not None
        for name, value in (self._number.sets if self._number else {}).items():
            self.view.set(name, value)
        self._set_by_number = dict(self.view.variables)
        if taken:
            if taken.language in routing.languages:
                self.view.language = taken.language
            self.view.variables.update(taken.variables)
            self.view.ring_number = taken.ring_number
            self.view.announced = taken.announced
        self._stack: list[tuple[str, str]] = []
        self._flow = ""
        self._step: Step | None = None
        self._progress: dict[str, Any] = {}
        self._run: Run | None = None
        self._wait: Wait | None = None
        self._legs: set[str] = set()
        self._out: list[Command] = []
        self._dirty = True
        self._crashes = 0
        self._hurried = 0
        self._alarm: float | None = None
        self._end_fact = Tell("call.ended", {})
        self._over = False
        self._queued = False  # the caller may stand in a queue, or an agent be theirs

    # --------------------------------------------------------------------------------------- the outside

    @property
    def over(self) -> bool:
        """Whether this object has nothing more to do (the call ended, or they talk)."""
        return self._over

    @property
    def where(self) -> str:
        """``flow/step``, for logs."""
        return f"{self._flow}/{self._step.name}" if self._step else self._flow or "-"

    def begin(self, now: float) -> list[Command]:
        """The first commands of a new call, or of one that was taken over."""
        self.view.now = now
        self._out = []
        taken = self._taken
        if taken is None or not self.routing.company:
            if taken is None:
                self._tell("call.started", self._beginning())
            if self.view.extension is not None:
                self._follow(Edge(phone.FLOW, None, None, _flow(self.routing, phone.FLOW).place))
            elif self._number is None or not self.routing.flows:
                self._finish_with("unknown_number", f"nobody owns {self.view.called}")
                self._advance(None)
            else:
                self._follow(Edge(self._number.flow, None, None, self._number.place))
        else:
            self._resume(taken)
        return self._flush()

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about ``event``.  Late events give no commands."""
        self.view.now = max(now, self.view.now)
        self._out = []
        life = after(self.life, event)
        if self._over or life is None:
            return []
        self._hurried = 0
        ended, self.life = life is Life.ENDED and self.life is not Life.ENDED, life
        if isinstance(event, Answered):
            self.view.answered = True
            self._tell("call.answered", {})
        elif isinstance(event, Joined):
            self._joined(event)
        elif ended and isinstance(event, HungUp):
            self._ended(event)
        else:
            if isinstance(event, LegFailed):
                self._legs.discard(event.leg)
            if isinstance(event, TimeCame):
                self._alarm = None
            self._advance(event)
        return self._flush()

    def close(self, now: float) -> list[Command]:
        """The shell gives up waiting for what a step wanted past the end of the call."""
        self._out = []
        self.view.now = max(now, self.view.now)
        if self.life is Life.ENDED and not self._over:
            self._stop_step()
            self._leave_queue()
            self._over = True
            self._out.append(self._end_fact)
        return self._flush()

    # ----------------------------------------------------------------------------------- life and death

    def _beginning(self) -> dict[str, Any]:
        """Who calls whom, from which phone of ours, and which version of the routing decides."""
        view = self.view
        phone = {"extension": view.extension} if view.extension is not None else {}
        version = {"version": self.routing.version} if self.routing.version else {}
        return {"from": view.caller, "to": view.called, **phone, **version}

    def _joined(self, event: Joined) -> None:
        who = self.view.talk[0] if self.view.talk else ""
        self._tell("talk.started", {"with": who, "leg": event.leg})
        self._stop_step()
        self._over = self.let_go = True
        self._out.append(LetGo())

    def _ended(self, event: HungUp) -> None:
        for leg in sorted(self._legs):
            self._out.append(CancelLeg(leg))
        self._legs.clear()
        self._end_fact = _end(self.state(), event.cause, event.by, self.view)
        if self._wait is not None and self._wait.past_end:
            self._advance(event)
            if self._run is not None:
                return
        self._stop_step()
        if self._over:  # the step had something to finish, and has
            return
        self._leave_queue()
        self._over = True
        self._out.append(self._end_fact)

    def _stop_step(self) -> None:
        if self._run is not None:
            self._run.close()
        self._run = self._wait = None

    def _leave_queue(self) -> None:
        """Whatever becomes of a step: nobody waits for a caller who does not wait."""
        if self._queued:
            self._queued = False
            self._out.append(Leave())

    def _resume(self, taken: State) -> None:
        talked = taken.talk and self._talked_to == leg_id(self.id, taken.talk[2], taken.talk[0])
        after = "talk" if talked else "restart"
        # An owner that died before it heard of the answer could not tell it: the takeover does.
        told = {"flow": taken.flow, "step": taken.step, "after": after, "answered": self.view.answered}
        self._tell("call.taken_over", {**told, "version": self.routing.version})
        if taken.talk and talked:
            who, since, _ = taken.talk
            self._tell("talk.ended", {"with": who, "seconds": max(0, int(self.view.now) - since)})
            self.view.talked = True
        elif taken.talk:
            self.view.tried = leg_id(self.id, taken.talk[2], taken.talk[0])
        self._stack = [frame for frame in taken.stack if self.routing.step(*frame)]
        self._queued = IN_QUEUE in taken.progress
        step, progress = _step(self.routing, taken.flow, taken.step), taken.progress
        if step is None:
            flow = taken.flow if taken.flow in self.routing.flows else ""
            flow = flow or (self._number.flow if self._number else next(iter(self.routing.flows), ""))
        if step is None and not flow:
            self._finish_with("failure", f"the step {taken.flow}/{taken.step} is gone, and every flow with it")
            self._advance(None)
        elif step is None:
            self._leave_queue()
            if "r" in taken.progress or IN_QUEUE in taken.progress:
                self._out.append(CancelLegs())
            self._tell("step.gone", {"flow": taken.flow, "step": taken.step, "instead": flow})
            self._log("warning", f"the step {taken.flow}/{taken.step} is gone; {flow} starts again")
            self.view.talked = False
            self._follow(Edge(flow, None, None, self.routing.flows[flow].place))
        elif _ENDING in taken.progress:
            self._leave_queue()
            self._step, self._flow, self._progress = step, step.flow, dict(taken.progress)
            reason = taken.progress[_ENDING]
            self._finish_with(reason if reason in (*HANGUP_REASONS, *PHONE_REASONS) else "normal", "")
            self._advance(None)
        else:
            if step.queues != self._queued and progress:  # another verb bears the name now
                self._leave_queue()
                self._out.append(CancelLegs())
                progress = {}
            self._enter(step, progress, resumed=True)
            self._advance(None)

    def state(self) -> State:
        """The checkpoint of this moment."""
        view = self.view
        return State(
            company=self.routing.company,
            version=self.routing.version,
            called=view.called,
            epoch=self.epoch,
            began=self.began,
            flow=self._flow,
            step=self._step.name if self._step else "",
            stack=tuple(self._stack),
            progress=self._progress,
            language=view.language,
            variables={k: v for k, v in view.variables.items() if self._set_by_number.get(k) != v},
            ring_number=view.ring_number,
            talk=(view.talk[0], int(view.talk[1]), view.talk[2]) if view.talk else None,
            announced=view.announced,
        )

    # -------------------------------------------------------------------------------------- the driver

    def _enter(self, step: Step, progress: dict[str, Any], *, resumed: bool = False) -> None:
        self._step, self._flow, self._progress = step, step.flow, dict(progress)
        self._dirty = True
        self.view.reasons, self.view.keys, self.view.switches = [], [], {}
        self.path.append((step.flow, step.name))
        self.view.steps = (*self._stack, (step.flow, step.name))
        data: dict[str, Any] = {"flow": step.flow, "step": step.name, "verb": step.verb}
        self._tell("step.entered", {**data, "resumed": True} if resumed else data)
        self._run = step.run(self.view, dict(progress))
        self._wait = None

    def _follow(self, edge: Edge | None) -> None:
        """Go where ``edge`` leads; None and a ``return`` that nobody waits for end the call."""
        self._go(edge)
        self._advance(None)

    def _go(self, edge: Edge | None) -> None:
        while edge is not None and edge.special == "return":
            if not self._stack:
                edge = None
                break
            flow, name = self._stack.pop()
            caller = self.routing.step(flow, name)
            edge = caller.edge(THEN) if caller else None
            self._flow = flow
        if edge is None or edge.special:
            self._finish_with("normal", "")
            return
        target = _flow(self.routing, edge.flow or self._flow)
        self._enter(target.steps[edge.step or target.start], {})

    def _finish_with(self, reason: str, why: str) -> None:
        """End the call from outside any step: an own little run that hangs up."""
        if why:
            self._log("info", why)
        if self._progress:  # a takeover must not do again what the step has done
            stood = {IN_QUEUE: 1} if IN_QUEUE in self._progress else {}
            self._progress, self._dirty = {_ENDING: reason, **stood}, True
        self._run = _hang_up(self.view, reason)
        self._wait = None

    def _advance(self, value: Event | None) -> None:
        """Run the current step until it waits, follow edges, catch its crashes.  Never recursive."""
        while self._run is not None:
            try:
                item = self._run.send(value)
            except StopIteration as stop:
                self._run = self._wait = None
                if self.life is Life.ENDED:
                    self._leave_queue()
                    self._over = True
                    self._out.append(self._end_fact)
                    return
                self._leave(stop.value)
                value = None
                continue
            except Exception as error:
                self._crashed(error)
                value = None
                continue
            value = None
            if isinstance(item, Wait):
                self._wait = item
                return
            if isinstance(item, Progress):
                self._progress, self._dirty = item.value, True
                continue
            if self.life is Life.ENDED and not isinstance(item, _PAST_END):
                continue  # nothing can be done to a caller who has left
            self._emit(item)

    def _emit(self, command: Command) -> None:
        if self.life is not Life.ENDED and (
            isinstance(command, Join) or (self._dirty and not isinstance(command, _HARMLESS))
        ):
            self._store()
        if isinstance(command, RingLeg | FindLeg):
            self._legs.add(command.leg)
        elif isinstance(command, CancelLeg):
            self._legs.discard(command.leg)
        elif isinstance(command, Enter | Leave):
            self._queued = isinstance(command, Enter)
        self._out.append(command)

    def _store(self) -> None:
        try:
            text = checkpoint.encode(self.state())
        except StateError as error:
            self._log("error", f"{error}; the call cannot be taken over from here")
        else:
            self._out.append(Checkpoint(text))
        self._dirty = False

    def _leave(self, result: str | Edge | EnterFlow) -> None:
        step = self._step
        if step is None:  # the run that hangs up has no step
            return
        self.view.talk, self.view.talked = None, False
        self._leave_queue()
        word = result if isinstance(result, str) else f"→ {result}" if isinstance(result, Edge) else result.flow
        known = {"keys": self.view.keys, "switches": self.view.switches, "why": "; ".join(self.view.reasons)}
        data = {"flow": step.flow, "step": step.name, "outcome": word}
        self._tell("step.left", {**data, **{name: value for name, value in known.items() if value}})
        self._hurried += 1
        if self._hurried > MOST_STEPS_AT_ONCE:
            self._log("error", f"{self.where}: {MOST_STEPS_AT_ONCE} steps without a pause")
            self._apologise()
            return
        if isinstance(result, EnterFlow):
            if len(self._stack) >= DEEPEST:
                self._log("error", f"{self.where}: flows run flows more than {DEEPEST} deep")
                self._apologise()
                return
            self._stack.append((step.flow, step.name))
            target = self.routing.flows[result.flow]
            self._enter(target.steps[target.start], {})
        else:
            edge = result if isinstance(result, Edge) else step.edge(result)
            if edge is not None and edge.flow and edge.flow != step.flow:
                self._stack = []  # it leaves its flow for good
            self._go(edge)

    def _crashed(self, error: Exception) -> None:
        where, step = self.where, self._step
        self._run = self._wait = None
        self._crashes += 1
        self._tell("step.failed", {"where": where, "error": f"{type(error).__name__}: {error}"[:200]})
        self._log("error", f"{where} crashed: {''.join(traceback.format_exception(error)).rstrip()}")
        for leg in sorted(self._legs):
            self._out.append(CancelLeg(leg))
        self._legs.clear()
        self._leave_queue()
        if self.life is Life.ENDED:
            self._over = True
            self._out.append(self._end_fact)
            return
        edge = None
        if step is not None and self._crashes <= MOST_CRASHES:
            edge = step.on_error or _flow(self.routing, step.flow).on_error
        if edge is None:
            self._apologise()
        else:
            self._go(edge)

    def _apologise(self) -> None:
        self._run = _apology(self.view)
        self._wait = None

    def _flush(self) -> list[Command]:
        if self._wait is not None and self._dirty and self.life is not Life.ENDED:
            self._store()
        until = self._wait.until if self._wait is not None and not self._over else None
        if until != self._alarm:
            self._alarm = until
            self._out.append(WakeAt(until))
        return self._out

    def _tell(self, fact: str, data: dict[str, Any]) -> None:
        self._out.append(Tell(fact, data))

    def _log(self, level: str, text: str) -> None:
        self._out.append(Log(level, text))


def _flow(routing: Routing, name: str) -> Flow:
    """A flow of the company's, or one that is built in."""
    return phone.BUILT_IN.get(name) or routing.flows[name]


def _step(routing: Routing, flow: str, step: str) -> Step | None:
    built_in = phone.BUILT_IN.get(flow)
    return built_in.steps.get(step) if built_in else routing.step(flow, step)


def _hang_up(view: View, reason: str) -> Run:
    yield from view.hang_up(reason)
    return THEN


def _apology(view: View) -> Run:
    if view.answered:
        yield from view.play(Tone("apology"))
    return (yield from _hang_up(view, "failure"))


def _end(state: State, cause: str, by: str, view: View) -> Tell:
    data: dict[str, Any] = {"cause": cause, "by": ended_by(cause, by), "seconds": max(0, int(view.now) - state.began)}
    return Tell("call.ended", {**data, "answered": view.answered, "flow": state.flow, "step": state.step})


def ended_by(cause: str, otherwise: str) -> str:
    """Who ended a call, if the switch's cause tells it: nobody else uses this one."""
    return "command" if cause == "MANAGER_REQUEST" else otherwise


def epilogue(
    routing: Routing | None, state: State, call_id: str, *, cause: str, answered: bool, now: float
) -> list[Tell]:
    """The facts owed when a call ended and nobody owned it; the last one is its ``call.ended``.

    ``state`` is the checkpoint on the channel as it ended, ``routing`` its version if that is still known.
    """
    facts = []
    if state.talk:
        who, since, _ = state.talk
        facts.append(Tell("talk.ended", {"with": who, "seconds": max(0, int(now) - since)}))
    step = _step(routing, state.flow, state.step) if routing else None
    if step is not None:
        facts.extend(Tell(kind, data) for kind, data in step.after_end(state.progress, state.company, call_id, now))
    data = {
        "cause": cause,
        "by": ended_by(cause, "unowned"),
        "seconds": max(0, int(now) - state.began),
        "answered": answered,
    }
    facts.append(Tell("call.ended", {**data, "flow": state.flow, "step": state.step}))
    return facts
