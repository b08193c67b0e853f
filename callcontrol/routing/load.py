"""A company's text -> a checked :class:`Routing`, or every problem in it.

It knows the sections of a file and how a step is put together, and reads no file itself (that is for ``files``); what
a text means is for ``kinds``, what a whole company means is for ``checks``, and what a step does is for its class.

The surprise: loading goes on after mistakes.  What could be read is checked as well, so sections are read
into a draft that may have holes; only a draft without an error becomes a Routing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from callcontrol.routing import checks, kinds, nodes, sections
from callcontrol.routing.codes import problem
from callcontrol.routing.countries import country_name, public_holidays
from callcontrol.routing.hours import Hours
from callcontrol.routing.kinds import Wrong, did_you_mean, wrong
from callcontrol.routing.model import (
    CallerList,
    DutyCode,
    Edge,
    Flow,
    Group,
    Number,
    Person,
    Place,
    Problem,
    Queue,
    Recording,
    Rehearsal,
    Routing,
)
from callcontrol.routing.nodes import Broken, Scalar, Tree, quoted
from callcontrol.routing.nodes import Mapping as MappingNode
from callcontrol.steps import RESERVED_VERBS, VERBS
from callcontrol.steps.base import COMMON_OPTIONS, OTHERWISE, THEN, Step

#: The layout of a stored version; 1 had no ``sounds`` and ``voices``.
FORMAT = 2
#: Years whose public holidays are frozen into a version.  Fixed, and not counted from today, so that the
#: same file gives the same version on every machine and in every year.
HOLIDAY_YEARS = range(2025, 2041)
#: Problems shown of one file.
MOST_PROBLEMS = 300

#: Country -> its public holidays; None: unknown.  ``years`` as asked for.
HolidaysFor = Callable[[str, range], Sequence[dt.date] | None]


class LoadError(Exception):
    """A directory or a stored version that cannot be read at all; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One company's file after loading.  ``routing`` is None if there is an error among ``problems``.

    ``numbers`` has the numbers that the file claims, also of a file with errors.
    """

    path: str
    company: str
    routing: Routing | None
    problems: list[Problem]
    source: str = ""
    days_off: tuple[dt.date, ...] = ()
    numbers: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """A file of rehearsals beside a company's file: its bytes, or why it is not read.

    What stands in it is checked with the company, and is no part of the company's version.
    """

    path: str
    raw: bytes = b""
    problem: Problem | None = None


def load_text(
    text: str,
    *,
    path: str,
    company: str,
    holidays_for: HolidaysFor = public_holidays,
    years: range = HOLIDAY_YEARS,
    sounds: frozenset[str] | None = None,
    beside: Sequence[Beside] = (),
    today: dt.date | None = None,
) -> Loaded:
    """Load a company's file.

    ``path`` is how problems name it.  ``sounds``: names of the files that exist; None: they are not checked.
    ``beside``: its files of rehearsals.
    ``today``: the day from which on times are judged; None: they are not.  What is found so is never an error, since
    a version must be accepted or refused for ever.
    """
    draft, days_off = _read(text, path, company, lambda country: holidays_for(country, years), beside)
    problems = list(draft.problems)
    if draft.whole is not None:
        problems += checks.run(replace(draft.whole, sounds=sounds, today=today))
    problems = in_order(problems)
    routing = None
    if draft.whole is not None and not any(found.severity == "error" for found in problems):
        version = _version(_stored(company, text, days_off))
        routing = replace(draft.whole.routing, version=version)
    problems = first_of(problems, MOST_PROBLEMS)
    numbers = {n.number: n.place for n in draft.whole.routing.numbers.values()} if draft.whole else {}
    return Loaded(path, company, routing, problems, text, days_off, numbers)


def first_of(problems: Sequence[Problem], most: int) -> list[Problem]:
    """The problems that are told, sorted, errors before warnings if there are more than ``most``.

    That some were left out is one more, at the last that is told; an error only if an error was left out.
    """
    if len(problems) <= most:
        return list(problems)
    by_weight = sorted(problems, key=lambda found: (found.severity, found.place, found.code, found.message))
    told, left = in_order(by_weight[:most]), by_weight[most:]
    errors = sum(found.severity == "error" for found in left)
    code, what = ("E120", "problem") if errors else ("W550", "warning")
    are = f"{what}s are" if len(left) > 1 else f"{what} is"
    some = f", {errors} of them errors" if 0 < errors < len(left) else ""
    more = f"{len(left)} more {are} not shown{some}; mend these first"
    return [*told, problem(code, told[-1].place, more)]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems as they are told: by place, code and message."""
    return sorted(problems, key=lambda found: (found.place, found.code, found.message))


# ------------------------------------------------------------------------------------ stored versions


def compiled(
    entry: Loaded, sounds: Mapping[str, str] | None = None, voices: Mapping[str, str] | None = None
) -> tuple[Routing, bytes]:
    """The routing of a file without errors with what was rendered for it, and its canonical stored form.

    JSON of format, company, source text, public holidays, sounds and voices, so that a version means the same for
    ever; its hash is :attr:`Routing.version`.  Raises ValueError for a file with errors.
    """
    if entry.routing is None:
        raise ValueError(f"{entry.path} has errors")
    sounds, voices = dict(sounds or {}), dict(voices or {})
    stored = _stored(entry.company, entry.source, entry.days_off, sounds, voices)
    own = tuple(
        one for one in entry.routing.rehearsals if one.place.path == entry.path
    )  # others may change, and it not
    version = _version(stored)
    return replace(entry.routing, version=version, sounds=sounds, voices=voices, rehearsals=own), stored


def load_compiled(stored: bytes) -> Routing:
    """The Routing of a stored version.  Raises LoadError if it cannot be read.

    Nothing is checked again: the version was accepted when it was stored.
    """
    try:
        data = json.loads(stored)
        if data["format"] not in (1, FORMAT):
            raise LoadError(f"the stored version has format {data['format']!r}; this program reads {FORMAT}")
        sounds, voices = _words(data.get("sounds", {})), _words(data.get("voices", {}))
        days_off = tuple(dt.date.fromisoformat(day) for day in data["holidays"])
        company, source = str(data["company"]), str(data["source"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoadError(f"the stored version cannot be read: {error!r}") from None
    draft, _ = _read(source, f"{company}.yaml", company, lambda country: days_off)
    errors = [found for found in draft.problems if found.severity == "error"]
    if draft.whole is None or errors:
        raise LoadError(f"the stored version cannot be read: {errors[0] if errors else 'it is empty'}")
    return replace(draft.whole.routing, version=_version(stored), sounds=sounds, voices=voices)


def _words(given: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in given.items()}


def _stored(
    company: str,
    source: str,
    days_off: Iterable[dt.date],
    sounds: Mapping[str, str] | None = None,
    voices: Mapping[str, str] | None = None,
) -> bytes:
    data = {
        "format": FORMAT,
        "company": company,
        "holidays": [day.isoformat() for day in days_off],
        "source": source,
        "sounds": sounds or {},
        "voices": voices or {},
    }
    # A lone surrogate (refused, but hashed before that is known) must not raise.
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _version(stored: bytes) -> str:
    return hashlib.sha256(stored).hexdigest()[:16]


# -------------------------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Read:
    """What reading a file gave: problems, and the whole company as far as it could be read."""

    problems: list[Problem]
    whole: checks.Whole | None


def _read(
    text: str,
    path: str,
    company: str,
    days_off: Callable[[str], Sequence[dt.date] | None],
    beside: Sequence[Beside] = (),
) -> tuple[_Read, tuple[dt.date, ...]]:
    tree, problems = nodes.read(text, path)
    if tree is None:
        return _Read(problems, None), ()
    if not isinstance(tree, MappingNode):
        if not isinstance(tree, Broken):
            problems.append(problem("E303", tree.place, "a company's file is a mapping that begins with cordboard: 1"))
        return _Read(problems, None), ()
    company_file = _Company(tree, path, problems)
    with kinds.reading(company_file.reader):
        whole = company_file.read(company, days_off, beside)
    return _Read([*problems, *company_file.reader.warnings], whole), company_file.days_off


class _Company:
    """The sections of one file, read one after another."""

    def __init__(self, tree: MappingNode, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.tree = tree
        self.days_off: tuple[dt.date, ...] = ()
        self.incomplete = False
        self.unread: dict[str, Tree] = {}
        flows = self._entries("flows", quietly=True)
        self.reader = kinds.Reader(flows={name.text: _names_of_steps(flow) for name, flow in flows})

    def read(
        self, company: str, days_off: Callable[[str], Sequence[dt.date] | None], beside: Sequence[Beside]
    ) -> checks.Whole | None:
        """The whole company, as far as it could be read."""
        for key, value in self.tree.items:
            if key.text not in sections.SECTIONS:
                hint = did_you_mean(key.text, sections.SECTIONS)
                if not hint and isinstance(value, MappingNode):
                    hint = "; what stands in a section is indented by two spaces"
                self._say("E301", key, f"there is no section {quoted(key.text)}{hint}")
        given = {key.text: value for key, value in self.tree.items}
        self.unread = kinds.meant_by(self.tree.items, sections.SECTIONS)
        self.incomplete |= bool(self.unread) or self.tree.damaged
        header = sections.Header._declared_fields
        head, problems, _ = kinds.load_fields(
            sections.Header,
            {name: value for name, value in {**given, **self.unread}.items() if name in header},
            Place(self.path, 1, 1),
            "a company's file",
            damaged=self.tree.damaged,
        )
        self.problems += problems
        self.reader.country = head.get("country")
        hours = self._hours(head, days_off)
        numbers = self._section("numbers", kinds.NumberField(), self._number)
        routing = Routing(
            company=company,
            version="",
            title=head.get("company", company),
            country=head.get("country", ""),
            timezone=head.get("timezone", "UTC"),
            languages=head.get("languages", ()),
            numbers=numbers,
            people=self._section("people", kinds.ExtensionField(exists=False), self._person),
            groups=self._section("groups", kinds.NameField(), self._group),
            lists=self._section("lists", kinds.NameField(), self._list),
            hours=hours,
            switches={name: found.switch for name, found in hours.items() if found.switch},
            queues=self._section("queues", kinds.NameField(), self._queue),
            outbound=self._outbound(),
            flows=self._section("flows", kinds.NameField(), self._flow),
            rehearsals=self._rehearsals(numbers, beside),
            duty_codes=self._duty_codes(),
            recording=self._recording(),
        )
        return checks.Whole(
            routing=routing,
            references=tuple(self.reader.references),
            assigned=tuple(self.reader.assigned),
            names=self._names(head, numbers, routing.switches),
            steps=self.reader.flows,
            incomplete=self.incomplete,
            codes_known="agents" not in self.unread and ("agents" not in given or bool(routing.duty_codes)),
            outbound_known="outbound" not in self.unread and ("outbound" not in given or bool(routing.outbound)),
        )

    # ------------------------------------------------------------------------------------- in general

    def _say(self, code: str, node: Tree, message: str) -> None:
        self.problems.append(problem(code, node.place, message))

    def _entries(self, section: str, *, quietly: bool = False) -> list[tuple[Scalar, Tree]]:
        node = self.tree.get(section)
        if isinstance(node, MappingNode):
            return node.items
        if node is not None and not isinstance(node, Broken) and not quietly:
            dashes = ", without the dashes" if isinstance(node, nodes.Sequence) else ""
            self._say("E303", node, f"the section {section} is a mapping of names to what they are{dashes}")
        return []

    def _section(self, section: str, name: kinds.Kind, read: Callable[[str, Scalar, Tree], Any]) -> dict[str, Any]:
        """Every entry of a section that could be read, by its name as ``name`` reads it."""
        found, whole = self._read_all(self._entries(section), name, read)
        self.incomplete |= not whole and section in ("flows", "numbers", "queues")
        if section == "numbers":
            return {number: replace(value, number=number) for number, value in found.items()}
        return found

    def _read_all(
        self, entries: Iterable[tuple[Scalar, Tree]], name: kinds.Kind, read: Callable[[str, Scalar, Tree], Any]
    ) -> tuple[dict[str, Any], bool]:
        """Every entry that could be read, and whether that was each of them."""
        found: dict[str, Any] = {}
        whole = True
        for key, node in entries:
            try:
                own, value = kinds.both(partial(name.read, key), partial(read, key.text, key, node))
            except Wrong as error:
                self.problems += error.problems
                whole = False
                continue
            if own in found and isinstance(name, kinds.NumberField):
                self._say(
                    "E502", key, f"{quoted(key.text)} is {own}, which is owned already (line {found[own].place.line})"
                )
                continue
            if own in found:
                self._say("E323", key, f"{quoted(key.text)} is the same as an entry above")
                continue
            found[own] = value
        return found, whole

    def _names(
        self, head: Mapping[str, Any], numbers: Mapping[str, Any], switches: Mapping[str, str]
    ) -> dict[str, frozenset[str] | None]:
        """The names that a reference may use, by its kind; None where the section itself is unreadable."""
        names: dict[str, frozenset[str] | None] = {}
        for kind, section in (
            ("person", "people"),
            ("group", "groups"),
            ("list", "lists"),
            ("hours", "hours"),
            ("queue", "queues"),
            ("flow", "flows"),
        ):
            node = self.tree.get(section)
            readable = section not in self.unread and (
                (isinstance(node, MappingNode) and not node.damaged) or node is None
            )
            names[kind] = frozenset(key.text for key, _ in self._entries(section)) if readable else None
        claimed = [key.text for key, _ in self._entries("numbers")]
        # Numbers are compared as E.164; one that could not be read would make a second problem of itself.
        readable = len(numbers) == len(claimed) and "numbers" not in self.unread
        names["number"] = frozenset([*numbers, *claimed]) if readable else None
        names["switch"] = frozenset(switches)
        names["language"] = frozenset(head["languages"]) if "languages" in head else None
        return names

    # --------------------------------------------------------------------------------------- sections

    def _number(self, name: str, key: Scalar, node: Tree) -> Number:
        found = kinds.options(sections.NumberFields, node, "a number")
        return Number(name, found["flow"], found["set"], found["label"], key.place, found["record"])

    def _person(self, name: str, key: Scalar, node: Tree) -> Person:
        self.reader.person = name
        try:
            found = kinds.options(sections.PersonFields, node, "a person")
        finally:
            self.reader.person = None
        notify = found.pop("notify")
        if notify and found["email"] is None:
            raise wrong("E324", node, '"notify" needs an address to send mail to: "email" is missing')
        return Person(extension=name, place=key.place, notify=("messages",) if notify is None else notify, **found)

    def _group(self, name: str, key: Scalar, node: Tree) -> Group:
        if not isinstance(node, MappingNode):
            return Group(name, kinds.PeopleField().read(node), place=key.place)
        names = [key.text for key, _ in node.items]
        if names and all(kinds.EXTENSION.fullmatch(member) for member in names):
            raise wrong("E303", node, f"a group is a list of extensions: [{', '.join(names[:5])}]")
        found = kinds.options(sections.RotaFields, node, "a group")
        rotate, start = found["rotate"], found["from"]
        if rotate is not None and start is None:
            raise wrong("E324", node, 'a rota needs its beginning: "from", such as 2026-11-23 09:00')
        if start is not None and rotate is None:
            raise wrong("E324", node, '"from" is the beginning of a rota: "rotate" is missing (daily or weekly)')
        return Group(name, found["members"], rotate, start, key.place)

    def _list(self, name: str, key: Scalar, node: Tree) -> CallerList:
        self.reader.callers = name
        try:
            return replace(kinds.CallersField().read(node), name=name)
        finally:
            self.reader.callers = None

    def _queue(self, name: str, key: Scalar, node: Tree) -> Queue:
        self.reader.queue = name
        try:
            found = kinds.options(sections.QueueFields, node, "a queue")
        finally:
            self.reader.queue = None
        known: set[str] = set()
        for agent in found["agents"]:
            if agent.agent in known:
                raise Wrong(problem("E323", agent.place, f"{agent.agent} stands in this queue twice"))
            known.add(agent.agent)
        return Queue(name=name, place=key.place, **{**found, "delays": {**sections.DELAYS, **found["delays"]}})

    def _duty_codes(self) -> dict[str, DutyCode]:
        node = self.tree.get("agents")
        if node is None:
            return {}
        if not isinstance(node, MappingNode | Broken):
            message = (
                "agents has what agents dial: log_in, log_out, pause, resume; who serves a queue stands in the queue"
            )
            self._say("E303", node, message)
            return {}
        try:
            values = kinds.options(sections.AgentFields, node, "agents")
        except Wrong as error:
            self.problems += error.problems
            return {}
        found: dict[str, DutyCode] = {}
        for code in _codes_in(node, values):
            if code.code in found:
                message = f"the code {code.code} belongs to {found[code.code]} already"
                self.problems.append(problem("E503", code.place, f"{message} (line {found[code.code].place.line})"))
            found.setdefault(code.code, code)
        return found

    def _outbound(self) -> dict[str, Any]:
        node = self.tree.get("outbound")
        if node is None:
            return {}
        try:
            return kinds.options(sections.OutboundFields, node, "outbound")
        except Wrong as error:
            self.problems += error.problems
            return {}

    def _recording(self) -> Recording:
        node = self.tree.get("recording")
        if node is None:
            return Recording()
        try:
            return Recording(**kinds.options(sections.RecordingFields, node, "recording"))
        except Wrong as error:
            self.problems += error.problems
            return Recording()

    def _hours(self, head: Mapping[str, Any], days_off: Callable[[str], Sequence[dt.date] | None]) -> dict[str, Hours]:
        field_ = kinds.HoursField()
        found: dict[str, Hours] = self._section(
            "hours", kinds.NameField(), lambda name, key, node: replace(field_.read(node), name=name, place=key.place)
        )
        with_holidays = [hours for hours in found.values() if hours.holidays is not None]
        country = head.get("country")
        if with_holidays and country is not None:
            known = days_off(country)
            if known is None:
                self.problems.append(
                    problem(
                        "E505",
                        with_holidays[0].place,
                        f"no public holidays are known for {country_name(country)}; write the dates instead",
                    )
                )
            self.days_off = tuple(known or ())
        zone, free = head.get("timezone", "UTC"), frozenset(self.days_off)
        return {
            name: replace(hours, zone=zone, days_off=free if hours.holidays is not None else frozenset())
            for name, hours in found.items()
        }

    # ------------------------------------------------------------------------------------------ flows

    def _flow(self, name: str, key: Scalar, node: Tree) -> Flow:
        given = kinds.entries(node, "a flow")
        self.incomplete |= isinstance(node, MappingNode) and node.damaged
        self.reader.flow = name
        try:
            return self._flow_of(name, key, given)
        finally:
            self.reader.flow = None

    def _flow_of(self, name: str, key: Scalar, given: list[tuple[Scalar, Tree]]) -> Flow:
        meaning = _RESERVED.get(name)
        if meaning:
            self._say("E408", key, f"{quoted(name)} is {meaning}; a flow needs another name")
        steps: dict[str, Step] = {}
        order = [step.text for step, _ in _steps_of(given)]
        for step, node in _steps_of(given):
            built = self._step(name, step, node)
            if built is not None:
                steps[step.text] = built
        settings = {key.text: value for key, value in given if key.text in sections.FlowSettings._declared_fields}
        for option, value in given:
            if option.text not in settings and not isinstance(value, MappingNode | Broken):
                self.incomplete = True
                self._say(
                    "E301",
                    option,
                    f"{quoted(option.text)} is neither a step ({option.text}: {{play: …}}) nor a setting of a "
                    f"flow ({', '.join(settings_of_flows())}){did_you_mean(option.text, settings_of_flows())}",
                )
            elif option.text in settings and isinstance(value, MappingNode):
                self._say("E408", option, f"{quoted(option.text)} is a setting of flows; a step needs another name")
                del settings[option.text]
        values, problems, whole = kinds.load_fields(sections.FlowSettings, settings, key.place, "a flow")
        self.problems += problems
        self.incomplete |= not whole
        if not order:
            self._say("E409", key, f"the flow {quoted(name)} has no step")
        start = values.get("start")
        if start is not None and order:
            self.reader.refer("step", start, next(value for key, value in given if key.text == "start"))
        first = start if start in order else next(iter(order), "")
        return Flow(name, steps, first, values.get("on_error"), values.get("code"), key.place, values.get("record"))

    def _step(self, flow: str, key: Scalar, node: Tree) -> Step | None:
        """A step, as far as it could be read; None if not even its verb is known."""
        name = key.text
        self.reader.step = name
        try:
            self._name_of_step(key)
            verb = self._verb(key, node)
            if verb is None or not isinstance(node, MappingNode):
                self.incomplete = True
                return None
            return self._step_of(VERBS[verb], flow, key, node)
        finally:
            self.reader.step = None

    def _name_of_step(self, key: Scalar) -> None:
        try:
            kinds.NameField().read(key)
        except Wrong as error:
            self.problems += error.problems
        if key.text in _RESERVED:
            self._say("E408", key, f"{quoted(key.text)} is {_RESERVED[key.text]}; a step needs another name")
        elif key.text in self.reader.flows:
            self._say("E408", key, f"{quoted(key.text)} is a flow; a step needs another name")

    def _verb(self, key: Scalar, node: Tree) -> str | None:
        if isinstance(node, Broken):
            return None
        given = kinds.entries(node, "a step")
        verbs = [option for option, _ in given if option.text in VERBS]
        later = [option for option, _ in given if option.text in RESERVED_VERBS]
        for option in later:
            message = f"{quoted(option.text)} is a verb of a later version; this one has: {', '.join(VERBS)}"
            self._say("E403", option, message)
        if len(verbs) > 1:
            both = " and ".join(quoted(option.text) for option in verbs)
            self._say("E402", verbs[1], f"{both} are verbs; a step does one thing")
        elif not verbs and not later and not (isinstance(node, MappingNode) and node.damaged):
            self._no_verb(key, [option for option, _ in given])
        return verbs[0].text if len(verbs) == 1 and not later else None

    def _no_verb(self, step: Scalar, options: list[Scalar]) -> None:
        message = f"the step {quoted(step.text)} has no verb"
        for option in options:
            guess = _OTHER_VERBS.get(option.text) or kinds.closest(option.text, VERBS)
            if guess:
                self._say("E401", option, f"{message}, but {quoted(option.text)}; did you mean {quoted(guess)}?")
                return
        self._say("E401", step, f"{message}: {', '.join(VERBS)}")

    def _step_of(self, step: type[Step], flow: str, key: Scalar, node: MappingNode) -> Step:
        fields = step.Fields._declared_fields
        outcomes = (THEN, OTHERWISE, *step.outcomes)
        own: dict[str, Tree] = {}
        common: dict[str, Tree] = {}
        edges: dict[str, Edge] = {}
        led: set[str] = set()
        what = _a(step)
        failed = node.damaged
        for option, value in node.items:
            if option.text in fields:
                own[option.text] = value
            elif option.text in outcomes:
                led.add(option.text)
                try:
                    edges[option.text] = kinds.EdgeField().read(value)
                except Wrong as error:
                    failed = True
                    self.problems += error.problems
            elif option.text in COMMON_OPTIONS:
                common[option.text] = value
            else:
                failed = True
                self._say("E301", option, _unknown_option(option.text, step))
        for name, broken in kinds.meant_by(node.items, _options_of(step)).items():
            own |= {name: broken} if name in fields else {}
            led |= {name} & {*outcomes}
        at = next(option for option in node.items if option[0].text == step.verb)[0].place
        values, problems, whole = kinds.load_fields(step.Fields, own, at, what, damaged=node.damaged)
        more, others, common_whole = kinds.load_fields(sections.CommonFields, common, at, what)
        self.problems += [*problems, *others]
        self.incomplete |= failed or not whole or not common_whole
        built = step(
            flow=flow,
            name=key.text,
            place=key.place,
            edges=edges,
            on_error=more.get("on_error"),
            record=more.get("record"),
            title=more.get("title"),
            note=more.get("note"),
            values=values,
        )
        self._edges_of(built, led, node, failed)
        return built

    def _edges_of(self, step: Step, led: set[str], node: MappingNode, failed: bool) -> None:
        """The rules of ``then``, ``otherwise`` and the outcomes of one step.

        ``led``: the outcomes with an edge, also those whose edge could not be read.
        """
        written = {key.text: key for key, _ in node.items}
        if step.then == "required" and THEN not in led and not node.damaged:
            self._at("E405", step, f"{_a(step)} needs then: where does the call go on?")
        if step.then == "never" and THEN in written:
            self._say("E407", written[THEN], f"{_a(step)} has no then: it would never be followed")
        if step.needs_otherwise and OTHERWISE not in led and not node.damaged:
            self._at("E406", step, f"{_a(step)} needs otherwise: for every other call")
        missing = [outcome for outcome in step.outcomes if outcome not in led]
        if missing and OTHERWISE not in led and not failed:
            words = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
            self._at("E404", step, f"nothing says what happens on {words}: add otherwise, or an edge for each")
        if OTHERWISE not in written:
            return
        if not step.outcomes and not step.needs_otherwise:
            self._say("E407", written[OTHERWISE], f"{_a(step)} has no otherwise: it would never be followed")
        elif step.outcomes and not missing:
            message = "every outcome has its own edge: otherwise is never followed"
            self._say("E407", written[OTHERWISE], message)

    def _at(self, code: str, step: Step, message: str) -> None:
        self.problems.append(problem(code, step.place, message))

    # ------------------------------------------------------------------------------------- rehearsals

    def _rehearsals(self, numbers: Mapping[str, Number], beside: Iterable[Beside]) -> tuple[Rehearsal, ...]:
        """Those of the company's own file, then those of the files beside it."""
        name, read = kinds.TextField(200), self._rehearsal(numbers)
        found = self._section("rehearsals", name, read)
        for file in beside:
            more, _ = self._read_all(self._entries_beside(file), name, read)
            for own, rehearsal in more.items():
                if own in found:
                    message = f"the rehearsal {quoted(own)} stands at {found[own].place} already; name one otherwise"
                    self.problems.append(problem("E323", rehearsal.place, message))
                found.setdefault(own, rehearsal)
        return tuple(found.values())

    def _entries_beside(self, file: Beside) -> list[tuple[Scalar, Tree]]:
        if file.problem is not None:
            self.problems.append(file.problem)
            return []
        text, problems = nodes.decode(file.raw, file.path)
        self.problems += problems
        if text is None:
            return []
        tree, problems = nodes.read(text, file.path)
        self.problems += problems
        if not isinstance(tree, MappingNode):
            if tree is not None and not isinstance(tree, Broken):
                self._say("E303", tree, "a file of rehearsals is a mapping of their names to what they are")
            return []
        section = tree.items[0] if len(tree.items) == 1 else None
        if section is not None and section[0].text == "rehearsals" and not _has_call(section[1]):
            message = "in a file of their own the names of rehearsals stand at the left edge: leave out this line"
            self._say("E303", section[0], message)
            return []
        return tree.items

    def _rehearsal(self, numbers: Mapping[str, Number]) -> Callable[[str, Scalar, Tree], Rehearsal]:
        def read(name: str, key: Scalar, node: Tree) -> Rehearsal:
            self.reader.flow = self._home(node, numbers)
            try:
                found = kinds.options(sections.RehearsalFields, node, "a rehearsal")
            finally:
                self.reader.flow = None
            call = found["call"]
            return Rehearsal(
                name=name,
                caller=call["from"],
                called=call["to"],
                at=call["at"],
                press=call["press"],
                given=found["given"],
                path=found["path"],
                ends=found["ends"],
                place=key.place,
            )

        return read

    def _home(self, node: Tree, numbers: Mapping[str, Number]) -> str | None:
        """The flow in which a rehearsal's call begins; names of its steps stand alone in the path."""
        call = node.get("call") if isinstance(node, MappingNode) else None
        to = call.get("to") if isinstance(call, MappingNode) else None
        if not isinstance(to, Scalar):
            return None
        known = numbers.get(to.text)
        return known.flow if known else None


def _has_call(node: Tree) -> bool:
    return isinstance(node, MappingNode) and node.get("call") is not None


def _codes_in(node: Tree, values: Mapping[str, Any]) -> list[DutyCode]:
    """The codes of the section ``agents``, each with its own place, in the order of the file."""
    found = []
    for key, value in kinds.entries(node, "agents"):
        if key.text != "pause":
            found.append(DutyCode(values[key.text], key.text, "", value.place))
            continue
        places = {reason.text: code.place for reason, code in value.items} if isinstance(value, MappingNode) else {}
        for reason, code in values["pause"].items():
            found.append(DutyCode(code, "pause", reason, places.get(reason, value.place)))
    return found


def settings_of_flows() -> tuple[str, ...]:
    """What a flow has besides its steps."""
    return tuple(sections.FlowSettings._declared_fields)


def _names_of_steps(flow: Tree) -> frozenset[str]:
    """The names of a flow's steps, also of what cannot be one."""
    items = flow.items if isinstance(flow, MappingNode) else []
    return frozenset(key.text for key, _ in items if key.text not in settings_of_flows())


def _steps_of(items: list[tuple[Scalar, Tree]]) -> list[tuple[Scalar, Tree]]:
    settings = settings_of_flows()
    steps = [(key, value) for key, value in items if isinstance(value, MappingNode | Broken)]
    return [(key, value) for key, value in steps if key.text not in settings]


def _options_of(step: type[Step]) -> list[str]:
    """What an operator may write in a step of this verb."""
    edges = [THEN] if step.then != "never" else []
    edges += [OTHERWISE] if step.outcomes or step.needs_otherwise else []
    common = [option for option in COMMON_OPTIONS if option not in (THEN, OTHERWISE)]
    return [*step.Fields._declared_fields, *edges, *step.outcomes, *common]


def _unknown_option(option: str, step: type[Step]) -> str:
    """What to say about an option that a verb does not have."""
    own = _options_of(step)
    other = _OTHER_OPTIONS.get(option)
    guess = other if other in own else kinds.closest(option, own)
    message = f"{_a(step)} has no option {quoted(option)}"
    if guess:
        return f'{message}; did you mean "{guess}"?'
    having = [verb for verb, other in VERBS.items() if option in (*other.Fields._declared_fields, *other.outcomes)]
    return f"{message}; it belongs to {', '.join(having)}" if having else message


def _a(step: Step | type[Step]) -> str:
    return f"{'an' if step.verb == 'hours' else 'a'} {step.verb} step"


#: What other systems call our verbs and options.  Only for messages: the language has no synonyms.
_OTHER_VERBS = {
    "say": "play",
    "speak": "play",
    "call": "dial",
    "ring": "dial",
    "transfer": "dial",
    "ivr": "menu",
    "gather": "collect",
    "input": "collect",
    "time": "hours",
    "enqueue": "queue",
    "run": "flow",
}
_OTHER_OPTIONS = {
    "timeout": "ring",
    "goto": "then",
    "next": "then",
    "else": "otherwise",
    "default": "otherwise",
    "retries": "tries",
    "options": "keys",
    "prompt": "greeting",
}


def _reserved() -> dict[str, str]:
    words = dict.fromkeys((*COMMON_OPTIONS, *settings_of_flows()), "a word of the language")
    words |= {outcome: "an outcome" for step in VERBS.values() for outcome in step.outcomes}
    words |= dict.fromkeys(VERBS, "a verb")
    words |= dict.fromkeys(RESERVED_VERBS, "a verb of a later version")
    return words | dict.fromkeys(kinds.SPECIAL, "an end")


_RESERVED = _reserved()
#: Words that name no step and no flow.
RESERVED_NAMES = frozenset(_RESERVED)
