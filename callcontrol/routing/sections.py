"""The sections of a company's file: which options each has and of what kind.

Declarations only; what is done with the values is for ``load``, what a text means is for ``kinds``.  Options
of steps are not here: each step class has its own.

The surprise: some are typed for later versions (forwards, queues, outbound calls) and only kept as plain
mappings until those are built.
"""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma

from callcontrol.messages import HANGUP_REASONS
from callcontrol.routing import kinds
from callcontrol.routing.kinds import did_you_mean, wrong
from callcontrol.routing.nodes import Mapping as MappingNode
from callcontrol.routing.nodes import Scalar, Tree, quoted


class _VersionField(kinds.Kind):
    kind = "version"
    wants = "1, the version of this language"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text != "1":
            message = "this program reads version 1 of the language; write cordboard: 1"
            raise wrong("E321", node, f"{quoted(text)}: {message}")
        return text


class Header(ma.Schema):
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
    "outbound",
    "flows",
    "rehearsals",
)

_EXTENSION = kinds.ExtensionField()
_NUMBER = kinds.NumberField()
_OUTSIDE = kinds.OutsideField()

_RECORD = ("always", "inbound", "outbound", "on demand")


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


_FORWARD_TO = _ForwardTo()


class _AfterTo(ma.Schema):
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
            self.wants = "{after: 20s, to: mobile}, or whom to ring"

    def read(self, node: Tree) -> dict[str, Any]:
        if isinstance(node, Scalar):
            rule: dict[str, Any] = {"to": _FORWARD_TO.read(node)}
            return {**rule, "after": 20.0} if self.after else rule
        if not self.after and isinstance(node, MappingNode):
            raise wrong("E303", node, "only no_answer has options; write whom to ring: busy: 302")
        return kinds.options(_AfterTo, node, "no_answer")


class _Forward(ma.Schema):
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


class PersonFields(ma.Schema):
    name = kinds.TextField(80, required=True)
    email = kinds.EmailField(load_default=None)
    mobile = kinds.OutsideField(load_default=None)
    phones = kinds.ListField(kinds.OutsideField(), load_default=())
    confirm = kinds.YesNoField(load_default=True)
    forward = kinds.OptionsField(_Forward, "forward", load_default=dict)
    record = kinds.ChoiceField(*_RECORD, load_default=None)
    language = kinds.LanguageField(load_default=None)
    show = _Show(load_default=None)
    whisper = kinds.PromptField(load_default=None)
    max_calls = kinds.CountField(1, 100, load_default=None)


RotaFields = ma.Schema.from_dict(
    {
        "members": kinds.PeopleField(required=True),
        "rotate": kinds.ChoiceField("daily", "weekly", load_default=None),
        "from": kinds.MomentField(load_default=None),
    },
    name="Rota",
)


class NumberFields(ma.Schema):
    flow = kinds.FlowField(required=True)
    set = kinds.AssignmentsField(load_default=dict)
    label = kinds.TextField(80, load_default=None)


class _AgentOptions(ma.Schema):
    agent = kinds.ExtensionField(required=True)
    level = kinds.CountField(1, 9, load_default=1)
    skills = kinds.ListField(kinds.NameField(), load_default=())


class _Agent(kinds.Kind):
    """An extension, or ``{agent, level, skills}``; the value is always the latter."""

    kind = "agent"
    wants = "an extension, or {agent: 301, level: 2}"

    def read(self, node: Tree) -> dict[str, Any]:
        if isinstance(node, Scalar):
            return {"agent": _EXTENSION.read(node), "level": 1, "skills": ()}
        return kinds.options(_AgentOptions, node, "an agent")


class _Music(kinds.Kind):
    """A class of music by name, or a sound file."""

    kind = "music"
    wants = "the name of some music (moh), or a sound file"

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if text.lower().endswith(kinds.SOUND_ENDINGS):
            kinds.PromptField().read(node)
            return text
        return str(kinds.NameField().read(node))


class _Announce(ma.Schema):
    every = kinds.DurationField(10, 600, required=True)
    say = kinds.PromptField(position=True, required=True)


class _Delays(ma.Schema):
    declined = kinds.DurationField(0, 3600, load_default=0.0)
    busy = kinds.DurationField(0, 3600, load_default=0.0)
    no_answer = kinds.DurationField(0, 3600, load_default=0.0)


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
    agents = kinds.ListField(_Agent(), required=True)
    strategy = kinds.ChoiceField(*STRATEGIES, load_default="longest-idle")
    ring = kinds.DurationField(5, 120, load_default=20.0)
    wrap_up = kinds.DurationField(0, 3600, load_default=0.0)
    delays = kinds.OptionsField(_Delays, "delays", load_default=dict)
    pause_after = kinds.CountField(1, 20, load_default=None)
    levels = kinds.MapField(
        kinds.CountField(2, 9), kinds.DurationField(1, 3600), "a mapping of levels to waiting times", load_default=dict
    )
    skills = kinds.ListField(kinds.NameField(), load_default=())
    priority = kinds.CountField(0, 100, load_default=0)
    music = _Music(load_default=None)
    announce = kinds.OptionsField(_Announce, "announce", load_default=None)
    whisper = kinds.PromptField(load_default=None)
    max_wait = kinds.DurationField(1, 4 * 3600, load_default=None)
    max_callers = kinds.CountField(1, 10_000, load_default=None)
    keys = kinds.KeysField(load_default=dict)


class _CallerIdKey(kinds.Kind):
    kind = "caller_id"
    wants = 'a beginning with a star ("+44*"), a number, or otherwise'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        return text if text == "otherwise" else str(kinds.PatternField().read(node))


class OutboundFields(ma.Schema):
    trunk = kinds.ListField(kinds.NameField(), required=True)
    caller_id = kinds.MapField(
        _CallerIdKey(), kinds.ShownField(), "a mapping of beginnings to numbers", load_default=dict
    )
    allow = kinds.ListField(kinds.CountryField(), load_default=())
    emergency = kinds.ListField(kinds.EmergencyField(), load_default=())
    max_calls = kinds.CountField(1, 10_000, load_default=None)


class FlowSettings(ma.Schema):
    start = kinds.TextField(40, load_default=None)
    on_error = kinds.EdgeField(load_default=None)
    code = kinds.CodeField(load_default=None)


class CommonFields(ma.Schema):
    """What any step may have besides its own fields and outcomes."""

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


class _Press(kinds.Kind):
    kind = "press"
    wants = 'a row of keys, such as "2" or "123#", or "" for nothing pressed'

    def read(self, node: Tree) -> str:
        text = self.text(node)
        if not re.fullmatch(r"[0-9*#]{0,64}", text):
            raise self.expected("E313", node)
        return text


_Call = ma.Schema.from_dict(
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


class _PathItem(_StepName):
    wants = "the name of a step, flow/step, or ... for any steps"

    def read(self, node: Tree) -> str:
        return "..." if self.text(node) == "..." else super().read(node)


class _LookedUp(kinds.Kind):
    kind = "looked_up"
    wants = "failed, not_found, or a mapping of variables to values"

    def read(self, node: Tree) -> Any:
        if isinstance(node, Scalar):
            return kinds.ChoiceField("failed", "not_found").read(node)
        return kinds.MapField(kinds.TextField(32), kinds.TextField(64), self.wants).read(node)


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


class _Given(ma.Schema):
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
    talk = kinds.TargetField("person", "number", rings=False)
    voicemail = kinds.PeopleField()
    queue = kinds.QueueField()
    hangup = kinds.ChoiceField(*HANGUP_REASONS)


class _Ends(kinds.Kind):
    """How a rehearsal ends: ``hangup``, or one of talk, voicemail, queue, hangup with its value."""

    kind = "ends"
    wants = "hangup, {talk: 301}, {voicemail: [301]}, {queue: sales} or {hangup: busy}"

    def read(self, node: Tree) -> Any:
        if isinstance(node, Scalar):
            if node.text != "hangup":
                raise self.expected("E304", node)
            return "hangup"
        found = kinds.options(_EndOptions, node, "ends")
        if len(found) != 1:
            raise wrong("E324", node, f"a call has one end: {self.wants}")
        return {key: str(value) if key == "talk" else value for key, value in found.items()}


class RehearsalFields(ma.Schema):
    call = kinds.OptionsField(_Call, "call", required=True)
    given = kinds.OptionsField(_Given, "given", load_default=dict)
    path = kinds.ListField(_PathItem(), twice=True, load_default=None)
    ends = _Ends(load_default=None)
