"""The sections of a company's file: which options each has and of what kind.

Declarations only; what is done with the values is for ``load``, what a text means is for ``kinds``.  Options
of steps are not here: each step class has its own.  The docstrings are for operators: the manual is made from
them (see ``prose``).

The surprise: ``record`` is one word that stands in many sections, with one meaning: what it is stands once, under
``recording``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import marshmallow as ma

from callcontrol.messages import HANGUP_REASONS
from callcontrol.routing import kinds, shapes
from callcontrol.routing.kinds import did_you_mean, wrong
from callcontrol.routing.model import Announcement, File, QueueAgent
from callcontrol.routing.nodes import Mapping as MappingNode
from callcontrol.routing.nodes import Scalar, Tree, quoted
from callcontrol.routing.nodes import Sequence as SequenceNode
from callcontrol.routing.shapes import Known, Shape


class _VersionField(kinds.Kind):
    kind = "version"
    wants = "1, the version of this language"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text != "1":
            message = "this program reads version 1 of the language; write cordboard: 1"
            raise wrong("E321", node, f"{quoted(text)}: {message}")
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.choice(["1"], self.wants)


class Header(ma.Schema):
    """What the company is.  These stand at the top of the file, not in a section.

    cordboard: which version of this language the file is written in
    company: the company's name
    country: by its rules local numbers are read and public holidays known
    timezone: in its time everything in this file is meant
    languages: what callers may hear; the first is the default
    """

    cordboard = _VersionField(required=True)
    company = kinds.TextField(100, required=True)
    country = kinds.CountryField(required=True)
    timezone = kinds.ZoneField(required=True)
    languages = kinds.ListField(kinds.LanguageField(known=True), required=True)


SECTIONS = (
    "cordboard",
    "company",
    "country",
    "timezone",
    "languages",
    "numbers",
    "people",
    "groups",
    "lists",
    "hours",
    "queues",
    "agents",
    "outbound",
    "recording",
    "flows",
    "rehearsals",
)

_EXTENSION = kinds.ExtensionField()
_NUMBER = kinds.NumberField()
_OUTSIDE = kinds.OutsideField()

#: Rules of recording; a number and a queue have no calls that leave.
_RECORD = ("always", "inbound", "outbound", "on demand", "never")
_RECORD_COMING = tuple(rule for rule in _RECORD if rule != "outbound")


class _ForwardTo(kinds.Kind):
    """Where a person's calls are forwarded."""

    kind = "forward"
    wants = "an extension, mobile, voicemail, or a number"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text in ("mobile", "voicemail"):
            return text
        if kinds.EXTENSION.fullmatch(text):
            return str(_EXTENSION.read(node))
        if text[:1] in "+0123456789":
            return _OUTSIDE.number(node, text)
        raise self.expected("E317", node, did_you_mean(text, ("mobile", "voicemail")))

    def shape(self, known: Known) -> Shape:
        extension, number = kinds.EXTENSION.pattern, kinds.DIALLED
        return shapes.text(f"mobile|voicemail|{extension}|{number}", self.wants, "number")


_FORWARD_TO = _ForwardTo()


class _AfterTo(ma.Schema):
    """to: where the call goes
    after: how long the person's own telephones ring first
    """

    to = _ForwardTo(required=True)
    after = kinds.DurationField(5, 120, load_default=20.0)


class _Rule(kinds.Kind):
    """A rule of ``forward``; the value is ``{"to": …}``, of ``no_answer`` ``{"to": …, "after": seconds}``."""

    kind = "forward_rule"
    wants = "an extension, mobile, voicemail, or a number"

    def __init__(self, *, after: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after
        if after:
            self.wants, self.options = "{after: 20s, to: mobile}, or whom to ring", _AfterTo

    def read(self, node: Tree) -> dict[str, Any]:
        if isinstance(node, Scalar):
            rule: dict[str, Any] = {"to": _FORWARD_TO.read(node)}
            return {**rule, "after": 20.0} if self.after else rule
        if not self.after and isinstance(node, MappingNode):
            raise wrong("E303", node, "only no_answer has options; write whom to ring: busy: 302")
        return kinds.options(_AfterTo, node, "no_answer")

    def shape(self, known: Known) -> Shape:
        whom = _FORWARD_TO.shape(known)
        return shapes.or_(whom, kinds.options_shape(_AfterTo, known)) if self.after else whom


class _Forward(ma.Schema):
    """``always`` comes before the person's own telephones; the others after them, by what became of the call.

    What the next person does not take goes on by that person's rules, then by ``otherwise`` of the first.  Nobody
    is tried twice, and after five people it is enough.

    always: without ringing the person at all
    busy: the person is busy
    no_answer: nobody took the call
    unreachable: no telephone of the person could be rung
    otherwise: any of these without a rule of its own, also when the person declined
    """

    always = _Rule()
    busy = _Rule()
    no_answer = _Rule(after=True)
    unreachable = _Rule()
    otherwise = _Rule()


class _Show(kinds.Kind):
    """The number that a person called sees."""

    kind = "show"
    wants = "caller, company, or a number"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        return text if text in ("caller", "company") else _NUMBER.number(node, text)

    def shape(self, known: Known) -> Shape:
        return shapes.text(f"caller|company|{kinds.DIALLED}", self.wants, "number")


class PersonFields(ma.Schema):
    """An extension and the person behind it.

    Dialling the extension rings the SIP phone that is registered as it, and ``phones`` together with it.  Forward
    rules hold only when the person is dialled alone: in groups and stages the person's telephones ring, and no more.

    ```yaml
    people:
      301:
        name: Anna Petrova
        email: anna@acme.test
        notify: [messages, missed]
        mobile: "+79161112233"
        forward: {no_answer: {after: 20s, to: mobile}, busy: 302, unreachable: mobile}
        whisper: A call for Acme.
      302: {name: Boris Orlov, forward: {otherwise: voicemail}}
      303: {name: Chiara Rossi, phones: ["+390612345678"], show: caller, max_calls: 2, duty: office}
    ```

    name: who it is; the telephones of colleagues show it
    email: where the person gets mail; a variable in ``dial`` may hold it in place of the extension
    notify: what the person gets mail about: ``messages`` that are left for them, with the sound, and calls from outside
        that they ``missed`` and that rang nobody else; without it the messages, ``[]`` nothing
    mobile: a number that rings only where a forward names it
    phones: numbers outside that ring together with the SIP phone
    confirm: whether the person's telephones outside must press 1 to take a call, so that no mailbox does
    forward: where calls go that the person does not take
    record: which of the person's talks are recorded; see ``recording``
    language: what the person hears, the whisper and the question for 1; without it the company's first
    show: which number the person sees; without it, inside the caller's, and outside what ``outbound`` says
    whisper: what the person hears before they are connected
    max_calls: the most calls outside that the person has at a time
    duty: the hours in which the person serves queues: logged in as they begin, logged out as they end
    """

    name = kinds.TextField(80, required=True)
    email = kinds.EmailField(load_default=None)
    notify = kinds.ListField(kinds.ChoiceField("messages", "missed"), empty=True, load_default=None)
    mobile = kinds.OutsideField(load_default=None)
    phones = kinds.ListField(kinds.OutsideField(), load_default=())
    confirm = kinds.YesNoField(load_default=True)
    forward = kinds.OptionsField(_Forward, "forward", load_default=dict)
    record = kinds.ChoiceField(*_RECORD, load_default=None)
    language = kinds.LanguageField(load_default=None)
    show = _Show(load_default=None)
    whisper = kinds.PromptField(load_default=None)
    max_calls = kinds.CountField(1, 100, load_default=None)
    duty = kinds.HoursNameField(load_default=None)


class _Rota(ma.Schema):
    """People who are rung as one: a list of extensions, or a rota, in which it is the turn of one at a time.

    ```yaml
    groups:
      service: [302, 303]
      oncall: {members: [301, 302, 303], rotate: weekly, from: 2026-11-23 09:00}
    ```

    members: who belongs to the group; in a rota, in the order of their turns
    rotate: how long a turn is; without it all are rung
    from: when the first member's turn began; turns change at this time of day
    """


RotaFields = _Rota.from_dict(
    {
        "members": kinds.PeopleField(required=True),
        "rotate": kinds.ChoiceField("daily", "weekly", load_default=None),
        "from": kinds.MomentField(load_default=None),
    },
    name="Rota",
)


class NumberFields(ma.Schema):
    """Who answers which number.  A number belongs to one company only.

    ```yaml
    numbers:
      "+74951234567": {flow: reception, set: {brand: Acme Windows}}
      "+78005550101": {flow: reception, set: {brand: Acme Doors, language: ru}, label: Toll-free}
    ```

    flow: the flow that answers
    set: variables that the call begins with
    label: what the number is for, for people who read this
    record: which talks of calls to this number are recorded; see ``recording``
    """

    flow = kinds.FlowField(required=True)
    set = kinds.AssignmentsField(load_default=dict)
    label = kinds.TextField(80, load_default=None)
    record = kinds.ChoiceField(*_RECORD_COMING, load_default=None)


class _AgentOptions(ma.Schema):
    """agent: the agent's extension
    level: agents of a higher level are asked later
    skills: what the agent can do, in words of your own
    """

    agent = kinds.ExtensionField(required=True)
    level = kinds.CountField(1, 9, load_default=1)
    skills = kinds.ListField(kinds.SkillField(has=True), load_default=())


class _Agent(kinds.Kind):
    """An extension, or ``{agent, level, skills}``."""

    kind = "agent"
    wants = "an extension, or {agent: 301, level: 2}"
    options = _AgentOptions

    def read(self, node: Tree) -> QueueAgent:
        if isinstance(node, Scalar):
            if kinds.NAME.fullmatch(node.text):
                message = f"{quoted(node.text)} is not an extension; agents are people, each by their extension"
                raise wrong("E308", node, message)
            return QueueAgent(_EXTENSION.read(node), place=node.place)
        return QueueAgent(**kinds.options(_AgentOptions, node, "an agent"), place=node.place)

    def shape(self, known: Known) -> Shape:
        extension = kinds.ExtensionField(exists=False).shape(known)
        return shapes.or_(extension, kinds.options_shape(_AgentOptions, known))


class _Music(kinds.Kind):
    """A class of music by name, or a sound file."""

    kind = "music"
    wants = "the name of some music (moh), or a sound file"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if "." in text:  # no name has one, so it is meant as a file
            found = kinds.PromptField().read(node).sayings[""]
            if isinstance(found, File):
                return found.name
        return str(kinds.NameField().read(node))

    def shape(self, known: Known) -> Shape:
        return shapes.text(rf"{kinds.NAME.pattern}|{kinds.SOUND}", self.wants, word=True)


class _Announce(ma.Schema):
    """every: how often; the first time when the caller has waited so long
    say: what the caller hears; ``{position}`` is the place in the queue
    """

    every = kinds.DurationField(10, 600, required=True)
    say = kinds.PromptField(position=True, required=True)


class _Announcements(kinds.Kind):
    """What waiting callers hear: one thing, or several, each with its own time; the value is always a tuple."""

    kind = "announcements"
    wants = "{every: …, say: …}, or a list of such"
    options = _Announce

    def read(self, node: Tree) -> tuple[Announcement, ...]:
        if isinstance(node, SequenceNode):
            many: tuple[Announcement, ...] = kinds.ListField(_OneAnnouncement()).read(node)
            return many
        return (_OneAnnouncement().read(node),)

    def shape(self, known: Known) -> Shape:
        return shapes.one_or_list(kinds.options_shape(_Announce, known))


class _OneAnnouncement(kinds.Kind):
    kind = "announcement"
    wants = "{every: …, say: …}"
    options = _Announce

    def read(self, node: Tree) -> Announcement:
        return Announcement(**kinds.options(_Announce, node, "announce"))

    def shape(self, known: Known) -> Shape:
        return kinds.options_shape(_Announce, known)


class _Delays(ma.Schema):
    """declined: after the agent declined a call
    busy: after the agent's telephone was busy
    no_answer: after the agent did not answer
    unreachable: after the agent's telephone could not be rung, as one that is not registered
    """

    declined = kinds.DurationField(0, 3600, load_default=15.0)
    busy = kinds.DurationField(0, 3600, load_default=15.0)
    no_answer = kinds.DurationField(0, 3600, load_default=5.0)
    unreachable = kinds.DurationField(1, 3600, load_default=15.0)


#: How long an agent is left alone where the queue says nothing, seconds.
DELAYS: Mapping[str, float] = {name: field.load_default for name, field in _Delays._declared_fields.items()}


class _Level(kinds.CountField):
    """A level that has a waiting time."""

    def read(self, node: Tree) -> int:
        if self.text(node) == "1":
            raise wrong("E305", node, "agents of level 1 are asked at once: a waiting time is for the levels 2 to 9")
        level = super().read(node)
        self.refer("level", str(level), node)
        return level

    def shape(self, known: Known) -> Shape:
        return shapes.text("[2-9]|0+[2-9]", "a level from 2 to 9", "integer", most=9)


STRATEGIES = (
    "longest-idle",
    "round-robin",
    "fewest-calls",
    "least-talk-time",
    "ring-all",
    "in-order",
    "random",
)


class QueueFields(ma.Schema):
    """Callers who wait, and the agents who serve them.  Calls come into a queue by a ``queue`` step.

    An agent in several queues is one agent: one call at a time, one wrap-up.  A talk that is not from a queue counts as
    well: nothing is offered meanwhile.  Agents are logged in until they log out (see ``agents``, and ``duty`` of a
    person).

    Of the callers whom a free agent can serve, those with a higher priority go first, then those who came first.  Of
    the free agents who can serve a caller, those of a lower level are asked first, then the one who has been free
    longest (``longest-idle``), was asked longest ago (``round-robin``), has had the fewest calls or the least talk
    since they logged in (``fewest-calls``, ``least-talk-time``), stands first in the list (``in-order``), or any
    (``random``); ``ring-all`` rings all of them together, ten at most.

    Agents of level 1 are asked at once.  ``levels`` says how long a caller waits before those of a higher level are
    asked too; a level without a time is asked from the beginning, after the lower ones.

    ```yaml
    queues:
      sales:
        agents: [301, 302, {agent: 303, level: 2}]
        levels: {2: 30s}
        strategy: longest-idle
        wrap_up: 5s
        announce: {every: 45s, say: "You are number {position} in the queue."}
        max_wait: 5m
        max_callers: 20
        keys: {0: reception/anna, star: left}
    ```

    agents: who serves the queue
    strategy: who is asked first of those who are free
    ring: how long a call is offered to an agent
    wrap_up: how long an agent is left alone after a call
    delays: how long an agent is left alone after a call that they did not take
    pause_after: so many calls not taken in a row pause the agent, until they resume; busy is not counted
    levels: for each level, how long a caller waits before its agents are asked too
    skills: what an agent must be able to do; a step may ask for more
    priority: callers of a queue with a higher one go first; that of the step is added
    music: what the caller hears meanwhile; without it, or where cordboard.yaml has no such name, Cordboard's own
    announce: what is said to a waiting caller again and again, or a list of such
    whisper: what the agent hears before they are connected
    max_wait: how long a caller waits at most; without it there is no limit
    max_callers: how many callers wait at most; without it there is no limit
    unstaffed: how long callers wait while nobody is logged in, or everybody is paused; by default not at all
    keys: where each key leads that a waiting caller presses; a step stands here as ``flow/step``
    record: which talks with the queue's callers are recorded; see ``recording``
    """

    #: What other systems call some of these.  Only for messages: the language has no synonyms.
    others: ClassVar[Mapping[str, str]] = {
        "members": "agents",
        "member": "agents",
        "timeout": "max_wait",
        "maxlen": "max_callers",
        "max_length": "max_callers",
        "weight": "priority",
        "moh": "music",
        "exit_keys": "keys",
    }

    agents = kinds.ListField(_Agent(), required=True)
    strategy = kinds.ChoiceField(*STRATEGIES, load_default="longest-idle")
    ring = kinds.DurationField(5, 120, load_default=20.0)
    wrap_up = kinds.DurationField(0, 3600, load_default=0.0)
    delays = kinds.OptionsField(_Delays, "delays", load_default=dict)
    pause_after = kinds.CountField(1, 20, load_default=None)
    levels = kinds.MapField(
        _Level(2, 9), kinds.DurationField(1, 3600), "a mapping of levels to waiting times", load_default=dict
    )
    skills = kinds.ListField(kinds.SkillField(), load_default=())
    priority = kinds.CountField(0, 100, load_default=0)
    music = _Music(load_default=None)
    announce = _Announcements(load_default=())
    whisper = kinds.PromptField(load_default=None)
    max_wait = kinds.DurationField(1, 4 * 3600, load_default=None)
    max_callers = kinds.CountField(1, 10_000, load_default=None)
    unstaffed = kinds.DurationField(0, 3600, load_default=0.0)
    keys = kinds.LeavingKeysField(load_default=dict)
    record = kinds.ChoiceField(*_RECORD_COMING, load_default=None)


class _PauseCodes(kinds.Kind):
    """One code, or a mapping of reasons to codes; the value is always the latter."""

    kind = "pause_codes"
    wants = 'a code ("*43"), or a mapping of reasons to codes'

    def read(self, node: Tree) -> dict[str, str]:
        if isinstance(node, MappingNode):
            reasons = kinds.MapField(kinds.NameField(), kinds.CodeField(), "a mapping of reasons to codes")
            found: dict[str, str] = reasons.read(node)
            return found
        return {"": str(kinds.CodeField().read(node))}

    def shape(self, known: Known) -> Shape:
        code = kinds.CodeField().shape(known)
        return shapes.or_(code, shapes.keyed(kinds.NameField().shape(known), code))


class AgentFields(ma.Schema):
    """What agents dial on their telephones; ``cordboard agents`` does the same from outside.

    Who serves a queue stands in the queue, and is logged in until they log out.  A code holds for all queues of the
    agent who dials it, and they hear what they are then.  A pause and a log-out end what is being offered to the agent,
    and let a talk go on.

    ```yaml
    agents: {log_in: "*41", log_out: "*42", pause: {lunch: "*43", meeting: "*45"}, resume: "*44"}
    ```

    log_in: the agent is there, in all of their queues; a pause is over
    log_out: the agent has gone, until they log in or their ``duty`` begins
    pause: no calls for a while: one code, or one for each reason
    resume: the end of a pause
    """

    others: ClassVar[Mapping[str, str]] = {"unpause": "resume", "available": "resume", "break": "pause"}

    log_in = kinds.CodeField(load_default=None)
    log_out = kinds.CodeField(load_default=None)
    pause = _PauseCodes(load_default=dict)
    resume = kinds.CodeField(load_default=None)


class _CallerIdKey(kinds.Kind):
    kind = "caller_id"
    wants = 'a beginning with a star ("+44*"), a number, or otherwise'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        return text if text == "otherwise" else str(kinds.PatternField().read(node))

    def shape(self, known: Known) -> Shape:
        return shapes.text(rf"otherwise|{kinds.DIALLED}|\+[0-9]{{0,14}}\*", self.wants, "number")


class OutboundFields(ma.Schema):
    """Calls that leave: from telephones of the company, by forwards, by ``dial`` of a number.

    Without this section none does.  Premium, shared-cost, satellite, personal and pager numbers are always refused,
    whatever the country.

    ```yaml
    outbound:
      trunk: carrier-a
      caller_id: {"+44*": "+442071234567", otherwise: "+74951234567"}
      allow: [RU, IT, GB]
      emergency: ["112"]
      max_calls: 10
    ```

    trunk: trunks of cordboard.yaml, tried in this order
    caller_id: which number those who are called see; the longest beginning decides, else ``otherwise``
    allow: countries that may be called; without it, the company's own
    emergency: numbers that the company's telephones may always dial, whatever else stands here; nobody else may
    max_calls: the most calls of the company that are outside at a time
    """

    trunk = kinds.ListField(kinds.NameField(), required=True)
    caller_id = kinds.MapField(
        _CallerIdKey(), kinds.ShownField(), "a mapping of beginnings to numbers", load_default=dict
    )
    allow = kinds.ListField(kinds.CountryField(), load_default=())
    emergency = kinds.ListField(kinds.EmergencyField(), load_default=())
    max_calls = kinds.CountField(1, 10_000, load_default=None)


class _Keep(kinds.Kind):
    """How long something is kept; the value is seconds."""

    kind = "days"
    wants = "a number of days, such as 90d (3650d at most)"

    def read(self, node: Tree) -> float:
        found = re.fullmatch(r"([1-9][0-9]{0,3})d", self.text(node))
        if found is None or int(found[1]) > 3650:
            raise self.expected("E306", node)
        return int(found[1]) * 86_400.0

    def shape(self, known: Known) -> Shape:
        return shapes.text("[1-9][0-9]{0,3}d", self.wants)


class RecordingFields(ma.Schema):
    """What is recorded, what people are told of it, and how long it is kept.

    ``record`` may stand here, at a number, a flow, a step, a queue and a person, and is one of:

    * ``always``: every talk; ``inbound``: of calls from outside; ``outbound``: of calls that the company's telephones
      make to the outside. Between colleagues only ``always`` records.
    * ``on demand``: nothing until somebody asks for it during the talk.
    * ``never``: nothing, whatever else asks for it.

    A talk is recorded if anything that it belongs to asks for it and nothing forbids it. It belongs to the number that
    was called, the flows and steps in which it is (those that run the flow, too), the queue, and both people. One
    ``never`` among them is enough: that is for a step where cards are read out, and for people who may not be recorded.
    Emergency calls never are.

    Sound is stereo: who called is on the left, who answered on the right. What is recorded of a call is one recording,
    each talk a segment of it.

    Callers from outside hear ``announce`` before anybody's telephone rings, once a call, if they may be recorded;
    people whom the company calls hear it as they answer. Whoever could not hear it is not recorded.

    ```yaml
    recording:
      record: inbound
      announce: {en: This call may be recorded., ru: Разговор может быть записан.}
      keep: 90d
    ```

    record: which talks of the whole company are recorded
    announce: what people outside hear before they are recorded
    keep: after how many days recordings and messages are deleted; without it they are kept
    """

    others: ClassVar[Mapping[str, str]] = {
        "consent": "announce",
        "announcement": "announce",
        "retention": "keep",
        "retain": "keep",
        "calls": "record",
    }

    record = kinds.ChoiceField(*_RECORD, load_default=None)
    announce = kinds.PromptField(load_default=None)
    keep = _Keep(load_default=None)


class FlowSettings(ma.Schema):
    """What a flow has besides its steps: in a flow a mapping is a step, anything else a setting.

    ```yaml
    flows:
      reception:
        start: greet
        on_error: hangup
        bye: {play: Goodbye., then: hangup}
        greet:
          menu: "Welcome to {brand}. For service press 1, for sales press 2."
          keys: {1: service, 2: sales}
          otherwise: anna
        service: {dial: service, otherwise: bye}
        sales: {queue: sales, full: anna, otherwise: bye}
        anna: {dial: 301, otherwise: bye}
    ```

    start: the step at which calls begin; without it the first
    on_error: where calls go when a step fails by a fault of Cordboard's; without it they hear an apology and end
    code: what a telephone of the company dials to come into this flow
    record: which talks of calls in this flow are recorded; see ``recording``
    """

    start = kinds.TextField(40, load_default=None)
    on_error = kinds.EdgeField(load_default=None)
    code = kinds.CodeField(load_default=None)
    record = kinds.ChoiceField(*_RECORD, load_default=None)


class CommonFields(ma.Schema):
    """What any step may have besides its own fields and outcomes.

    on_error: where the call goes when this step fails by a fault of Cordboard's; without it the flow's
    record: which talks in this step, and in the flows that it runs, are recorded; see ``recording``
    title: what the step is called where people see it
    note: anything, for people who read this
    """

    on_error = kinds.EdgeField(load_default=None)
    record = kinds.ChoiceField(*_RECORD, load_default=None)
    title = kinds.TextField(100, load_default=None)
    note = kinds.TextField(500, load_default=None)


# ----------------------------------------------------------------------------------- rehearsals


class _From(kinds.Kind):
    kind = "caller"
    wants = "a number, an extension, or anonymous"

    def read(self, node: Tree) -> str | None:
        text = self.text(node)
        if text == "anonymous":
            return None
        if kinds.EXTENSION.fullmatch(text):
            return str(_EXTENSION.read(node))
        return _NUMBER.number(node, text)

    def shape(self, known: Known) -> Shape:
        return shapes.text(f"anonymous|{kinds.EXTENSION.pattern}|{kinds.DIALLED}", self.wants, "number")


class _Press(kinds.Kind):
    kind = "press"
    wants = 'a row of keys, such as "2" or "123#", or "" for nothing pressed'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not re.fullmatch(r"[0-9*#]{0,64}", text):
            raise self.expected("E313", node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.text("[0-9*#]{0,64}", self.wants, "integer")


class _CallFields(ma.Schema):
    """from: who calls
    to: which of the company's numbers is called
    at: when, in the company's time
    press: the keys, one item for each prompt that listens; ``""`` presses nothing. In a queue that keys lead out of,
        each announcement listens; without one, the keys are pressed two seconds after the call has joined
    """


_Call = _CallFields.from_dict(
    {
        "from": _From(required=True),
        "to": kinds.OwnNumberField(required=True),
        "at": kinds.MomentField(required=True),
        "press": kinds.ListField(_Press(), twice=True, empty=True, load_default=()),
    },
    name="Call",
)


class _StepName(kinds.Kind):
    """A step of the flow that the number begins with, or ``flow/step``."""

    kind = "step"
    wants = "the name of a step, or flow/step"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        self.refer("step", text, node)
        return text

    def shape(self, known: Known) -> Shape:
        return shapes.named(known, "step", f"{kinds.NAME.pattern}(?:/{kinds.NAME.pattern})?", self.wants)


class _PathItem(_StepName):
    wants = "the name of a step, flow/step, or ... for any steps"

    def read(self, node: Tree) -> str:
        return "..." if self.text(node) == "..." else super().read(node)

    def shape(self, known: Known) -> Shape:
        steps = known.get("step")
        if steps:
            return shapes.choice((*steps, "..."), self.wants)
        return shapes.text(rf"\.\.\.|{kinds.NAME.pattern}(?:/{kinds.NAME.pattern})?", self.wants, word=True)


class _LookedUp(kinds.Kind):
    kind = "looked_up"
    wants = "failed, not_found, or a mapping of variables to values"

    def read(self, node: Tree) -> Any:
        if isinstance(node, Scalar):
            return kinds.ChoiceField("failed", "not_found").read(node)
        return kinds.MapField(kinds.TextField(32), kinds.TextField(64), self.wants).read(node)

    def shape(self, known: Known) -> Shape:
        words = shapes.text("failed|not_found", self.wants)
        text = kinds.TextField(64).shape(known)
        return shapes.or_(words, shapes.keyed(text, text))


class _SwitchName(kinds.NamedField):
    kind = refers = "switch"
    wants = "the name of hours with a switch"


PHONE_RESULTS = ("answers", "busy", "no_answer", "unreachable", "declined")


class _Telephone(kinds.Kind):
    """A person's phones by their extension, or one number outside."""

    kind = "telephone"
    wants = "an extension, or a number"

    def read(self, node: Tree) -> str:
        if kinds.EXTENSION.fullmatch(self.text(node)):
            return str(_EXTENSION.read(node))
        return _NUMBER.number(node, self.text(node))

    def shape(self, known: Known) -> Shape:
        return shapes.text(f"{kinds.EXTENSION.pattern}|{kinds.DIALLED}", self.wants, "number")


class _Given(ma.Schema):
    """Whatever a call needs to know and the rehearsal does not say makes it fail with the question.

    A switch that is not given is off.

    phones: what the telephones of each person do
    agents: what each agent does when a call is offered, whatever their `duty` says; not needed if the walk ends as the
            call joins
    lookups: what each lookup brings
    switches: how each day/night switch stands
    """

    phones = kinds.MapField(
        _Telephone(), kinds.ChoiceField(*PHONE_RESULTS), "a mapping of extensions (or numbers outside) to results"
    )
    agents = kinds.MapField(
        kinds.ExtensionField(),
        kinds.ChoiceField(*PHONE_RESULTS, "paused", "logged_out"),
        "a mapping of extensions to results",
    )
    lookups = kinds.MapField(_StepName(), _LookedUp(), "a mapping of steps to results")
    switches = kinds.MapField(_SwitchName(), kinds.ChoiceField("on", "off"), "a mapping of switches to on or off")


class _EndOptions(ma.Schema):
    """talk: with whom the caller talked
    voicemail: for whom the caller left a message
    queue: which queue the caller joined
    hangup: why the call was ended
    """

    talk = kinds.TargetField("person", "number", rings=False)
    voicemail = kinds.PeopleField()
    queue = kinds.QueueField()
    hangup = kinds.ChoiceField(*HANGUP_REASONS)


class _Ends(kinds.Kind):
    """How a rehearsal ends: ``hangup``, or one of talk, voicemail, queue, hangup with its value."""

    kind = "ends"
    wants = "hangup, {talk: 301}, {voicemail: [301]}, {queue: sales} or {hangup: busy}"
    options = _EndOptions

    def read(self, node: Tree) -> Any:
        if isinstance(node, Scalar):
            if node.text != "hangup":
                raise self.expected("E304", node)
            return "hangup"
        found = kinds.options(_EndOptions, node, "ends")
        if len(found) != 1:
            raise wrong("E324", node, f"a call has one end: {self.wants}")
        return {key: str(value) if key == "talk" else value for key, value in found.items()}

    def shape(self, known: Known) -> Shape:
        one = {**kinds.options_shape(_EndOptions, known), "minProperties": 1, "maxProperties": 1}
        return shapes.or_(shapes.text("hangup", self.wants), one)


class RehearsalFields(ma.Schema):
    """A call that is walked without a telephone or a switch: ``cordboard rehearse`` does it, and says where the journey
    differs.  The name says what the company wants.

    ```yaml
    rehearsals:
      Wrong keys end at Anna:
        call: {from: "+79031234567", to: "+74951234567", at: 2026-11-23 10:00, press: ["7", "7", "7"]}
        given: {phones: {301: answers}}
        path: [greet, anna]
        ends: {talk: 301}
    ```

    call: who calls, when, and which keys are pressed
    given: what is found on the way
    path: the steps that the call must walk, all of them; ``...`` skips any, ``flow/step`` names a step of another flow
    ends: how it must end: at a talk, a message, a queue or a hangup
    """

    call = kinds.OptionsField(_Call, "call", required=True)
    given = kinds.OptionsField(_Given, "given", load_default=dict)
    path = kinds.ListField(_PathItem(), twice=True, load_default=None)
    ends = _Ends(load_default=None)
