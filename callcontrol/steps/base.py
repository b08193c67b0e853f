"""What every step is: a verb, its fields, its outcomes and a ``run`` that yields commands.

A new step is one file: a class with a docstring whose YAML example is a test, an inner marshmallow
``Fields`` (its fields know their *kind*, so that names, sounds and edges are checked generically), and
``run``.  A step never names the step that follows: it returns an outcome, or an :class:`Edge` that the
operator wrote.  It meets failure as a value; an exception in it is a bug, and ``call.py`` catches it.

The surprise: ``run`` may begin in the middle.  A generator cannot be stored, so after a takeover the step is
run again with the ``progress`` that it last yielded, and has to find its own way back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import marshmallow as ma

from callcontrol.messages import Command, Progress, Wait
from callcontrol.routing.model import Edge, Place, Routing
from callcontrol.view import View


@dataclass(frozen=True, slots=True)
class EnterFlow:
    """A step's way to end by running another flow, which comes back to the step's ``then``."""

    flow: str


#: What a step yields; what it is sent (the event after a Wait, else None); how it ends.
Run = Generator[Command | Wait | Progress, Any, "str | Edge | EnterFlow"]

#: In the progress of a step whose caller stands in a queue, or did when the call began to end.
IN_QUEUE = "b"

#: The good outcome of every verb.
THEN = "then"
#: Catches every outcome but the good one.
OTHERWISE = "otherwise"
#: What any step may have besides its own fields and outcomes.
COMMON_OPTIONS = ("then", "otherwise", "on_error", "record", "title", "note")


class Step:
    """One step of a flow.  ``values`` are the loaded ``Fields``; they become attributes."""

    verb: ClassVar[str]
    #: Besides ``then``; each has its own edge or ``otherwise``.
    outcomes: ClassVar[tuple[str, ...]] = ()
    #: "required", "optional" (without it the call ends) or "never".
    then: ClassVar[str] = "optional"
    #: Whether the step needs ``otherwise`` although it has no outcome of its own (``caller``, ``hours``).
    needs_otherwise: ClassVar[bool] = False
    #: Whether the step gives the caller time (speech, ringing, waiting): a loop needs one such step.
    takes_time: ClassVar[bool] = True
    #: Whether its callers stand in a queue: its progress then has :data:`IN_QUEUE`.
    queues: ClassVar[bool] = False
    #: Whether people may talk in it, or in what it runs.
    talks: ClassVar[bool] = False
    #: The longest progress that the step keeps; None: none that is longer than what ringing people needs.
    longest: ClassVar[Mapping[str, Any] | None] = None
    Fields: ClassVar[type[ma.Schema]]

    def __init__(
        self,
        *,
        flow: str,
        name: str,
        place: Place,
        edges: Mapping[str, Edge],
        on_error: Edge | None = None,
        record: str | None = None,
        title: str | None = None,
        note: str | None = None,
        values: Mapping[str, Any],
    ) -> None:
        self.flow = flow
        self.name = name
        self.place = place
        self.edges = edges
        self.on_error = on_error
        self.record = record
        self.title = title
        self.note = note
        self.values = values
        for key, value in values.items():
            setattr(self, self.attribute(key), value)

    @classmethod
    def attribute(cls, key: str) -> str:
        """The attribute that a field's value is kept under: the verb's own is ``what``."""
        return "what" if key == cls.verb else key

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        """Walk the step.  ``progress`` is empty at first, after a takeover what was last yielded."""
        raise NotImplementedError
        yield

    def after_end(
        self, progress: Mapping[str, Any], company: str, call_id: str, now: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Facts that are owed when the call ended inside this step and nobody ran it: (type, data)."""
        return iter(())

    def edge(self, outcome: str) -> Edge | None:
        """Where ``outcome`` leads: its own edge, else ``otherwise`` (not for ``then``), else None."""
        found = self.edges.get(outcome)
        if found is None and outcome != THEN:
            found = self.edges.get(OTHERWISE)
        return found

    def all_edges(self, routing: Routing) -> Iterator[tuple[str, Edge]]:
        """Every edge with its label: outcomes, ``on_error``, those inside fields (keys, lists, hours), and those of
        what the step names in ``routing``.
        """
        yield from self.edges.items()
        if self.on_error:
            yield "on_error", self.on_error
        for key, value in self.values.items():
            for label, edge in _edges_in(value):
                yield f"{key} {label}".strip(), edge

    def typed(self, routing: Routing) -> tuple[str, ...]:
        """Keys that callers may type in this step, one example of each way to go on; none: nobody is asked for keys.

        With keys that mean nothing here, where that is a way to go on.
        """
        return ()

    def at_once(self, routing: Routing) -> tuple[str, ...]:
        """The outcomes that may come before the caller was given any time, although the step takes time."""
        return ()

    def never(self, routing: Routing) -> Mapping[str, str]:
        """Outcomes that cannot come as the step is written, each with the reason."""
        return {}

    def __repr__(self) -> str:
        return f"<{self.verb} {self.flow}/{self.name}>"


def _edges_in(value: Any, label: str = "") -> Iterator[tuple[str, Edge]]:
    if isinstance(value, Edge):
        yield label, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _edges_in(inner, str(key))
    elif isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Edge):
            yield value[0], value[1]
        else:
            for inner in value:
                yield from _edges_in(inner, label)


__all__ = ["COMMON_OPTIONS", "IN_QUEUE", "OTHERWISE", "THEN", "EnterFlow", "Run", "Step", "View"]
