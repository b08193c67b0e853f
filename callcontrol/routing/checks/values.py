"""What calls carry: variables that nothing sets, values and checkpoints without room, what rehearsals give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from callcontrol import state
from callcontrol.forwards import MOST_PEOPLE
from callcontrol.routing import kinds
from callcontrol.routing.checks.ways import stacks_of
from callcontrol.routing.checks.whole import At, Whole, gained_by, runs_of, steps_of
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Problem, Routing
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import Step

#: All values of a call together, bytes.
LONGEST_VALUES = 160


def unset_variables(whole: Whole) -> Iterator[Problem]:
    """A variable in speech, a target or an address that no way to its step sets."""
    if whole.incomplete or whole.dangling:
        return
    known = {at: frozenset().union(*sets) for at, sets in whole.carried.items()}
    anywhere = frozenset(variable.name for variable in whole.assigned)
    for reference in whole.references:
        if reference.kind != "variable" or reference.name in kinds.BUILT_IN:
            continue
        there: frozenset[str] | None
        if reference.queue is not None:
            ways = [known[at] for at in whole.entering.get(reference.queue, ()) if at in known]
            there = frozenset().union(*ways) if ways else None
        elif reference.step is None:
            there = anywhere
        else:
            there = known.get((reference.flow or "", reference.step))
        if there is None or reference.name in there:
            continue
        name = f"{{{reference.name}}}"
        if reference.name == "position":
            yield problem("E213", reference.place, f"{name} is known only in the announce of a queue")
        elif reference.name in anywhere:
            where = "this queue" if reference.queue is not None else "this step"
            yield problem("E213", reference.place, f"{name} is set elsewhere, but on no way to {where}")
        else:
            place = ["position"] if reference.queue is not None else []
            guess = kinds.closest(reference.name, [*there, *anywhere, *kinds.BUILT_IN, *place])
            hint = f"; did you mean {{{guess}}}?" if guess else ""
            yield problem("E213", reference.place, f"nothing sets {name}{hint}")


def spoken_variables(whole: Whole) -> Iterator[Problem]:
    """A variable in speech whose value is known only during the call, and is more than digits."""
    answers = {variable.name for variable in whole.assigned if variable.kind == "answer"}
    for reference in whole.references:
        if reference.kind != "spoken":
            continue
        name = f"{{{reference.name}}}"
        if reference.name == "language":
            message = f"{name} is a tag such as en, and no word: write a text for each language, {{en: …, ru: …}}"
            yield problem("E214", reference.place, message)
        elif reference.name in answers:
            message = f"{name} is looked up during the call, and speech is made before it: write the text without it"
            yield problem("E214", reference.place, message)


def _sizes(whole: Whole) -> Mapping[str, int]:
    """The most bytes that each variable can get.  Looked-up values count as nothing here: at run time
    one that finds no room makes the lookup fail."""
    sizes: dict[str, int] = {}
    for number in whole.routing.numbers.values():
        for name, value in number.sets.items():
            sizes[name] = max(len(value.encode()), sizes.get(name, 0))
    for variable in whole.assigned:
        step = whole.routing.step(variable.flow or "", variable.step or "")
        if step is None:
            continue
        written, digits = step.values.get(step.verb), step.values.get("digits")
        if isinstance(written, Mapping):
            size = len(str(written.get(variable.name, "")).encode())
        else:
            size = digits[1] if isinstance(digits, tuple) else 0
        sizes[variable.name] = max(size, sizes.get(variable.name, 0))
    return sizes


def room_for_values(whole: Whole) -> Iterator[Problem]:
    """Calls whose values could need more than 160 bytes together."""
    for number in whole.routing.numbers.values():
        own = {name: len(value.encode()) for name, value in number.sets.items() if name != "language"}
        if sum(own.values()) > LONGEST_VALUES:
            yield problem("E504", number.place, _too_much(own))
    if whole.incomplete or whole.dangling:
        return
    sizes, gained = _sizes(whole), gained_by(whole)
    for step in steps_of(whole.routing):
        at = (step.flow, step.name)
        for names in whole.carried.get(at, ()):
            more = names | gained.get(at, frozenset())
            if more != names and sum(sizes.get(name, 0) for name in more) > LONGEST_VALUES:
                yield problem("E504", step.place, _too_much({name: sizes.get(name, 0) for name in more}))
                break


def _too_much(sizes: Mapping[str, int]) -> str:
    each = ", ".join(f"{variable} {size}" for variable, size in sorted(sizes.items()))
    return f"a call can carry {sum(sizes.values())} bytes of values here ({each}); {LONGEST_VALUES} is the most"


#: The longest progress that any step keeps, besides the chain of forwards; see ``hunt.py`` and ``steps/``.
_PROGRESS = {"x": "999999", "a": 99, "u": 1999999999, "r": 999, "f": 1999999999, "o": "unreachable"}


def room_for_state(whole: Whole) -> Iterator[Problem]:
    """Steps at which a call's checkpoint could be longer than its channel variable (512 bytes).

    One step for each flow: the others would only repeat it.
    """
    if whole.incomplete or whole.dangling:
        return
    stacks = stacks_of(runs_of(whole), lambda stack: sum(len(flow) + len(step) + 6 for flow, step in stack))
    if stacks is None:  # flows that run themselves are another check's
        return
    # A value that the number gave is known from the routing, and not stored again.
    stored = frozenset(variable.name for variable in whole.assigned if variable.step is not None)
    sizes = _sizes(whole)
    called = max(whole.routing.numbers, key=len, default="")
    chain = _longest_chain(whole.routing)
    full: set[str] = set()
    for step in steps_of(whole.routing):
        sets = whole.carried.get((step.flow, step.name), frozenset())
        names = max(sets, key=lambda names: sum(len(n) + sizes.get(n, 0) for n in names & stored), default=frozenset())
        values = {name: sizes.get(name, 0) for name in sorted(names & stored)}
        if step.flow in full:
            continue
        if why := _overflow(whole.routing, step, stacks.get(step.flow, ()), values, called, chain):
            full.add(step.flow)
            message = f"{why}: shorten the names of steps, flows and variables, or set fewer values"
            yield problem("E413", step.place, message)


def _longest_chain(routing: Routing) -> str:
    """The most that a call remembers of those who forwarded it; nothing if nobody forwards."""
    if not any(person.forward for person in routing.people.values()):
        return ""
    return "".join(f"{extension}n" for extension in sorted(routing.people, key=len)[-MOST_PEOPLE:])


def _overflow(
    routing: Routing, step: Step, stack: tuple[At, ...], values: Mapping[str, int], called: str, chain: str
) -> str:
    # Looked-up values, counted as nothing so far, may fill whatever room there is.
    spare = max(0, LONGEST_VALUES - sum(values.values()))
    variables = {}
    for name, size in values.items():
        more = min(spare, kinds.LONGEST_VALUE) if size == 0 else 0
        variables[name] = "x" * (size + more)
        spare -= more
    progress: dict[str, object] = dict(step.longest or _PROGRESS)
    if step.longest is None and chain:
        del progress["a"]  # whoever follows a chain rings no stages
        progress["w"] = chain
    worst = state.State(
        company=routing.company,
        version="0" * 16,
        called=called,
        epoch=999,
        began=1999999999,
        flow=step.flow,
        step=step.name,
        stack=stack,
        progress=progress,
        language=max(routing.languages, key=len, default=""),
        variables=variables,
        ring_number=999,
        talk=("+99999999999999" if routing.outbound else "999999", 1999999999, 999),
        announced=routing.recording.announce is not None,
    )
    try:
        state.encode(worst)
    except state.StateError as error:
        return str(error)
    return ""


def given_lookups(whole: Whole) -> Iterator[Problem]:
    """What a rehearsal gives for a lookup must be what a real one brings: every variable, and no other."""
    for rehearsal in whole.routing.rehearsals:
        number = whole.routing.numbers.get(rehearsal.called)
        for name, answer in rehearsal.given.get("lookups", {}).items():
            flow, slash, rest = name.partition("/")
            step = whole.routing.step(flow, rest) if slash else whole.routing.step(number.flow if number else "", name)
            if step is None:
                continue  # a name of nothing is another check's
            if step.verb != "lookup":
                message = f"{quoted(name)} is a {step.verb}, not a lookup: it is given nothing"
                yield problem("E509", rehearsal.place, f"{quoted(rehearsal.name)}: {message}")
            elif isinstance(answer, Mapping):
                wanted = step.values["into"]
                missing = [variable for variable in wanted if variable not in answer]
                more = [variable for variable in answer if variable not in wanted]
                wrong = [f"lacks {', '.join(missing)}"] if missing else []
                wrong += [f"has {', '.join(more)}, which the step does not ask for"] if more else []
                if wrong:
                    message = f"what is given for the lookup {quoted(name)} {' and '.join(wrong)}"
                    yield problem("E509", rehearsal.place, f"{quoted(rehearsal.name)}: {message}")
