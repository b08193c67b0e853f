"""Every sentence that Cordboard ever says to a switch, and what the switch's words for a failure mean.

A command is a value, :class:`Command`, and only the functions of this module make one.  Each checks all of
its arguments against a narrow shape and raises :class:`Refused` for anything else, so no text that came
from a caller, a CRM or a routing file can become a second command, a second leg or an expansion.  There is
no escaping anywhere: FreeSWITCH has none that holds (``${system(...)}`` in an application's argument runs
a shell command), so what would need it is refused.

Pure: it knows no socket, no clock and no log, and must never learn what a call or a step is.

The surprises, each seen in the source or on a switch (FreeSWITCH 1.11.1):

* ``hupall CAUSE`` without a variable hangs up *every* channel of the switch: :func:`hupall` always names one.
* An event name that the switch does not know is skipped in silence, and whoever waits for it waits for
  ever: names come from :data:`EVENTS`.
* ``:_:`` splits a dial string into independent ones, inside the braces too: no value may hold it.
* ``uuid_setvar`` with an empty value removes the variable.
* ``uuid_answer`` of a call that is gone says ``-ERROR``, not ``-ERR``: judge a reply by its ``-``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Refused(ValueError):
    """An argument that could inject, or is of the wrong shape.  Nothing was sent.

    ``what`` names the argument, ``why`` says what it should have been and shows the beginning of it,
    escaped; a password is never shown.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """One command, made by the functions below only.  ``text`` lacks the blank line that ends it."""

    text: str
    secret: bool = False

    @property
    def label(self) -> str:
        """The command on one line, for logs and errors; a password is not in it."""
        if self.secret:
            return self.text.split(" ", 1)[0] + " ***"
        return self.text.replace("\n", " | ")

    def __repr__(self) -> str:
        return f"<{self.label}>"


# -------------------------------------------------------------------------------------------- words


class App(StrEnum):
    """The applications that we execute.  An unknown one is answered ``+OK`` and then hangs the caller up."""

    ANSWER = "answer"
    RING_READY = "ring_ready"
    PLAYBACK = "playback"
    HANGUP = "hangup"
    PARK = "park"
    SLEEP = "sleep"


class Cause(StrEnum):
    """The hangup causes that we give (Q.850 and FreeSWITCH's own, ``switch_channel.c`` ``CAUSE_CHART``)."""

    NORMAL_CLEARING = "NORMAL_CLEARING"
    USER_BUSY = "USER_BUSY"
    CALL_REJECTED = "CALL_REJECTED"
    NO_ANSWER = "NO_ANSWER"
    UNALLOCATED_NUMBER = "UNALLOCATED_NUMBER"
    NORMAL_TEMPORARY_FAILURE = "NORMAL_TEMPORARY_FAILURE"
    SWITCH_CONGESTION = "SWITCH_CONGESTION"
    ALLOTTED_TIMEOUT = "ALLOTTED_TIMEOUT"
    SUBSCRIBER_ABSENT = "SUBSCRIBER_ABSENT"
    OUTGOING_CALL_BARRED = "OUTGOING_CALL_BARRED"
    ORIGINATOR_CANCEL = "ORIGINATOR_CANCEL"
    LOSE_RACE = "LOSE_RACE"
    MANAGER_REQUEST = "MANAGER_REQUEST"


#: ``messages.HANGUP_REASONS`` and ``PHONE_REASONS`` in the switch's spelling.  Over SIP: 200/BYE, 486, 603, 404,
#: 503, 503, 480, 480, 403.
CAUSE_OF_REASON: Final[Mapping[str, Cause]] = MappingProxyType(
    {
        "normal": Cause.NORMAL_CLEARING,
        "busy": Cause.USER_BUSY,
        "declined": Cause.CALL_REJECTED,
        "unknown_number": Cause.UNALLOCATED_NUMBER,
        "congestion": Cause.SWITCH_CONGESTION,
        "failure": Cause.NORMAL_TEMPORARY_FAILURE,
        "no_answer": Cause.NO_ANSWER,
        "unreachable": Cause.SUBSCRIBER_ABSENT,
        "barred": Cause.OUTGOING_CALL_BARRED,
    }
)

#: What ``originate`` says (``-ERR CAUSE``) as an outcome of ``dial``.  A cause that is not here is
#: ``unreachable``: :func:`result_of` is the way to ask.
RESULT_OF_CAUSE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "USER_BUSY": "busy",
        "BUSY_EVERYWHERE": "busy",
        "CALL_REJECTED": "declined",
        "DECLINE": "declined",
        "REJECT_ALL": "declined",
        "UNWANTED": "declined",
        # It rang, or may have rung, and nobody picked it up; or we stopped it ourselves.
        "NO_ANSWER": "no_answer",
        "NO_USER_RESPONSE": "no_answer",
        "NO_PICKUP": "no_answer",
        "ALLOTTED_TIMEOUT": "no_answer",
        "ORIGINATOR_CANCEL": "no_answer",
        "LOSE_RACE": "no_answer",
        "PICKED_OFF": "no_answer",
        "MANAGER_REQUEST": "no_answer",
        "NORMAL_CLEARING": "no_answer",
        "NORMAL_UNSPECIFIED": "no_answer",
        # Nothing there that could ring.
        "USER_NOT_REGISTERED": "unreachable",
        "SUBSCRIBER_ABSENT": "unreachable",
        "INVALID_GATEWAY": "unreachable",
        "GATEWAY_DOWN": "unreachable",
        "INVALID_PROFILE": "unreachable",
        "INVALID_URL": "unreachable",
        "INVALID_NUMBER_FORMAT": "unreachable",
        "UNALLOCATED_NUMBER": "unreachable",
        "NO_ROUTE_DESTINATION": "unreachable",
        "DOES_NOT_EXIST_ANYWHERE": "unreachable",
        "NETWORK_OUT_OF_ORDER": "unreachable",
        "DESTINATION_OUT_OF_ORDER": "unreachable",
        "NORMAL_TEMPORARY_FAILURE": "unreachable",
        "NORMAL_CIRCUIT_CONGESTION": "unreachable",
        "SWITCH_CONGESTION": "unreachable",
        "SERVICE_UNAVAILABLE": "unreachable",
        "INCOMPATIBLE_DESTINATION": "unreachable",
        "RECOVERY_ON_TIMER_EXPIRE": "unreachable",
        "PROGRESS_TIMEOUT": "unreachable",
        "CHAN_NOT_IMPLEMENTED": "unreachable",
    }
)


def result_of(cause: str) -> str:
    """The outcome of ``dial`` (``busy declined no_answer unreachable``) for what the switch said."""
    return RESULT_OF_CAUSE.get(cause, "unreachable")


#: Causes by which an outside leg's trunk did not take the call, so that the next trunk may.  Any other cause is the
#: number's own answer (486, 600 ``USER_BUSY``; 404 ``UNALLOCATED_NUMBER``; 410 ``NUMBER_CHANGED``; 603
#: ``CALL_REJECTED``; 480 ``NO_USER_RESPONSE``; 484 ``INVALID_NUMBER_FORMAT``; it rang: ``NO_ANSWER``): the next trunk
#: would only ring the same telephone again.  Status codes: ``sofia_glue_sip_cause_to_freeswitch``.  See
#: :func:`trunk_failed` for what the cause does not tell.
TRUNK_FAILED: Final = frozenset(
    {
        "GATEWAY_DOWN",  # its ping or its registration fails (mod_sofia, sofia_outgoing_channel)
        "INVALID_GATEWAY",  # the switch does not know it (same place)
        "INVALID_PROFILE",
        "NORMAL_TEMPORARY_FAILURE",  # 400, 481, 500, 503; a closed port
        "RECOVERY_ON_TIMER_EXPIRE",  # 408, 504; nobody answered the INVITE
        "PROGRESS_TIMEOUT",  # nothing but "trying" (switch_ivr_originate.c, check_per_channel_timeouts)
        "NETWORK_OUT_OF_ORDER",  # 502; no route to the host
        "SERVICE_UNAVAILABLE",  # 405
        "SERVICE_NOT_IMPLEMENTED",  # 406, 415, 501
        "INCOMPATIBLE_DESTINATION",  # 488, 606: no codec in common with this trunk
        "EXCHANGE_ROUTING_ERROR",  # 482, 483: the trunk runs in a circle
        "INTERWORKING",  # 413, 414, 416, 420, 421, 423, 505, 513
        "DESTINATION_OUT_OF_ORDER",
        "SWITCH_CONGESTION",  # 503 with a reason of its own; our own limit of sessions
        "NORMAL_CIRCUIT_CONGESTION",
        "REQUESTED_CHAN_UNAVAIL",  # 300 to 305: a redirect that is not followed
    }
)
#: A trunk that refuses *us*: no credit, a caller ID that is not ours, a wrong password.  The switch says CALL_REJECTED.
_REFUSED_US: Final = frozenset({"sip:401", "sip:402", "sip:403", "sip:407"})


def trunk_failed(cause: str, sip: str = "") -> bool:
    """Whether the trunk did not take the call, so that the next one may.

    ``sip`` is ``variable_proto_specific_hangup_cause`` of the leg's ``CHANNEL_HANGUP_COMPLETE``, which comes 20 to
    40 ms before its ``-ERR``: the switch says ``CALL_REJECTED`` for 403 (the trunk refuses us) as for 603 (the person
    does).
    """
    return cause in TRUNK_FAILED or sip in _REFUSED_US


#: Events that a controller may ask for (``switch_event.c`` ``EVENT_NAMES``, those of a call and of a job).
EVENTS: Final = frozenset(
    {
        "BACKGROUND_JOB",
        "CHANNEL_ANSWER",
        "CHANNEL_APPLICATION",
        "CHANNEL_BRIDGE",
        "CHANNEL_CALLSTATE",
        "CHANNEL_CREATE",
        "CHANNEL_DATA",
        "CHANNEL_DESTROY",
        "CHANNEL_EXECUTE",
        "CHANNEL_EXECUTE_COMPLETE",
        "CHANNEL_HANGUP",
        "CHANNEL_HANGUP_COMPLETE",
        "CHANNEL_HOLD",
        "CHANNEL_ORIGINATE",
        "CHANNEL_OUTGOING",
        "CHANNEL_PARK",
        "CHANNEL_PROGRESS",
        "CHANNEL_PROGRESS_MEDIA",
        "CHANNEL_STATE",
        "CHANNEL_UNBRIDGE",
        "CHANNEL_UNHOLD",
        "CHANNEL_UNPARK",
        "CHANNEL_UUID",
        "CUSTOM",
        "DETECTED_SPEECH",
        "DETECTED_TONE",
        "DTMF",
        "HEARTBEAT",
        "NOTALK",
        "PLAYBACK_START",
        "PLAYBACK_STOP",
        "RECORD_START",
        "RECORD_STOP",
        "RELOADXML",
        "SHUTDOWN",
        "STARTUP",
        "TALK",
    }
)

# ------------------------------------------------------------------------------------------- shapes

_UUID: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/+@#*-]{0,512}")
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SUBCLASS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_:-]{0,63}")
_EXTENSION: Final = re.compile(r"[A-Za-z0-9_+*#][A-Za-z0-9_+*#-]{0,63}")
_CONTEXT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"\+?[0-9]{2,20}")
_DIALLED: Final = re.compile(r"\+?[0-9*#]{1,32}")
_SHOWN: Final = re.compile(r"\+?[0-9]{1,20}|anonymous")
#: Letters and digits of any script, so nothing that a dial string or a SIP header gives a meaning to.
_CALLER_NAME: Final = re.compile(r"[^\W_](?:[^\W_]|[ .-]){0,39}")
_GATEWAY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_PATH: Final = re.compile(r"/[A-Za-z0-9/_.-]{1,510}")
_SILENCE: Final = re.compile(r"silence_stream://(?:-1|[1-9][0-9]{0,8})(?:,[0-9]{1,5})?")
#: What no argument and no header's value may hold: control characters (with DEL and the C1 set, so U+0085),
#: and the two separators that Python takes for the end of a line.
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _shown(text: object) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _checked(what: str, text: str, shape: re.Pattern[str], wanted: str) -> str:
    """``text`` if the whole of it has the shape.  The reason names the attack before the shape."""
    if not isinstance(text, str):
        raise Refused(what, f"must be text, not {type(text).__name__}")
    # fullmatch, since `$` would let a newline through at the end.
    if shape.fullmatch(text) is None:
        if CONTROL.search(text):
            raise Refused(what, f"has a control character: {_shown(text)}")
        if "${" in text:
            raise Refused(what, f"would be expanded by the switch: {_shown(text)}")
        raise Refused(what, f"must be {wanted}: {_shown(text)}")
    return text


def _uuid(what: str, text: str) -> str:
    return _checked(what, text, _UUID, "8 to 64 of A-Z a-z 0-9 -")


def _name(text: str) -> str:
    return _checked("variable name", text, _NAME, "a-z, then a-z 0-9 _, 64 at most")


def _value(name: str, text: str) -> str:
    text = _checked(f"value of {name}", text, _VALUE, "of A-Z a-z 0-9 _ . : / + @ # * -, 512 at most")
    if ":_:" in text:
        raise Refused(f"value of {name}", f"would split a dial string: {_shown(text)}")
    return text


def _whole(what: str, number: int, least: int, most: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise Refused(what, f"must be a whole number: {_shown(number)}")
    if not least <= number <= most:
        raise Refused(what, f"must be from {least} to {most}: {_shown(number)}")
    return number


def _cause(cause: Cause) -> str:
    if not isinstance(cause, Cause):
        raise Refused("cause", f"must be one of wire.Cause: {_shown(cause)}")
    return cause.value


# ------------------------------------------------------------------------------------------- sounds


@dataclass(frozen=True, slots=True)
class SoundPath:
    """An absolute path of a sound file, on the switch's disk: ``A-Z a-z 0-9 / _ . -`` and no ``..``."""

    path: str

    def __post_init__(self) -> None:
        _checked("sound path", self.path, _PATH, "absolute, of A-Z a-z 0-9 / _ . -, 511 at most")
        if ".." in self.path or self.path.endswith("/"):
            raise Refused("sound path", f"must name a file, without '..': {_shown(self.path)}")

    def __str__(self) -> str:
        return self.path


class Tone(StrEnum):
    """Sounds without a file (teletone: ``%(on ms, off ms, Hz ...)``).  A looping one ends by ``break_``."""

    #: The ringing that an answered caller hears while a phone rings (ITU-T E.180: 425 Hz, 1 s on, 4 s off).
    RINGBACK = "tone_stream://%(1000,4000,425);loops=-1"
    #: "Speak now."
    RECORD_BEEP = "tone_stream://%(400,200,1000)"
    #: Something went wrong and the call will end: the special information tone of ITU-T E.180.
    APOLOGY = "tone_stream://%(330,0,950);%(330,0,1400);%(330,1000,1800);loops=2"
    #: Stands for a prompt whose words have no recording yet.
    PROMPT = "tone_stream://%(150,50,600);%(150,50,800);%(300,400,700)"
    #: Stands for a sound that should be there and is not.
    MISSING = "tone_stream://%(120,80,400);%(120,300,400)"
    #: Waiting: a soft falling third every two seconds.
    MUSIC = "tone_stream://v=-15;%(400,100,660);%(600,1900,550);loops=-1"


_TONES: Final = frozenset(tone.value for tone in Tone)


def silence(milliseconds: int, noise: int = 0) -> str:
    """Silence, -1: for ever.  ``noise`` (0 none, 1400 comfortable) keeps the line from sounding dead."""
    if milliseconds != -1:
        _whole("milliseconds", milliseconds, 1, 999_999_999)
    _whole("noise", noise, 0, 10_000)
    return f"silence_stream://{milliseconds}" + (f",{noise}" if noise else "")


def sounds(*paths: SoundPath) -> str:
    """Several files played as one, without a gap (``file_string``)."""
    if not 1 <= len(paths) <= 64:
        raise Refused("sounds", f"must be 1 to 64 files: {len(paths)}")
    for path in paths:
        if not isinstance(path, SoundPath):
            raise Refused("sounds", f"must be wire.SoundPath: {_shown(path)}")
    if len(paths) == 1:
        return paths[0].path
    return "file_string://" + "!".join(path.path for path in paths)


def _sound(text: str) -> str:
    if text in _TONES or _SILENCE.fullmatch(text):
        return text
    if text.startswith("file_string://"):
        return sounds(*(SoundPath(part) for part in text.removeprefix("file_string://").split("!")))
    return SoundPath(text).path


#: The channel variable with the sample at which a round of :func:`endless` begins; none: at the first.
START: Final = "cordboard_start"


# ---------------------------------------------------------------------------------------- endpoints


@dataclass(frozen=True, slots=True)
class UserEndpoint:
    """The SIP phone of an extension: ``user/301@acme.example.org``."""

    extension: str
    domain: str

    def __post_init__(self) -> None:
        _checked("extension", self.extension, _DIGITS, "1 to 15 digits")
        _checked("domain", self.domain, _DOMAIN, "a lower-case domain name")

    @property
    def text(self) -> str:
        return f"user/{self.extension}@{self.domain}"


@dataclass(frozen=True, slots=True)
class GatewayEndpoint:
    """An outside phone through one trunk: ``sofia/gateway/carrier-a/+79161234567``.

    ``number`` is what this trunk wants to be sent: ``+`` or not, then digits; emergency numbers too.
    """

    gateway: str
    number: str

    def __post_init__(self) -> None:
        _checked("gateway", self.gateway, _GATEWAY, "A-Z a-z 0-9, then A-Z a-z 0-9 _ . -, 64 at most")
        _checked("number", self.number, _NUMBER, "2 to 20 digits, with + before them or not")

    @property
    def text(self) -> str:
        return f"sofia/gateway/{self.gateway}/{self.number}"


#: Whatever can be rung.
Endpoint = UserEndpoint | GatewayEndpoint


@dataclass(frozen=True, slots=True)
class Screen:
    """What a leg must hear (``whisper``) or confirm by key 1 (``confirm``: the question) before it may be joined.

    Both are sounds as :func:`execute` takes them, or empty; one of them is not.  With a question key 1 counts from
    the first moment of the whisper on, and both are heard up to three times.
    """

    whisper: str | SoundPath = ""
    confirm: str | SoundPath = ""

    def __post_init__(self) -> None:
        if not self._sounds:
            raise Refused("screen", "must have a whisper or a question")
        for sound in self._sounds:
            if "loops=-1" in _sound(sound) or sound.startswith("silence_stream://-1"):
                raise Refused("screen", f"must have an end: {_shown(sound)}")

    @property
    def _sounds(self) -> list[str]:
        return [str(sound) for sound in (self.whisper, self.confirm) if sound]

    @property
    def variables(self) -> dict[str, str]:
        """What the dialplan's ``cordboard_screen`` plays: pieces for one ``file_string``."""
        pieces = [sound.removeprefix("file_string://") for sound in self._sounds]
        return {"cordboard_confirm" if self.confirm else "cordboard_whisper": "!".join(pieces)}


# ----------------------------------------------------------------------------- the connection itself

#: Must be the first command of an outbound connection; its reply is the whole channel.
CONNECT: Final = Command("connect")
#: The switch's list of this call's events; it lacks BACKGROUND_JOB, RECORD_START, RECORD_STOP and CUSTOM.
MYEVENTS: Final = Command("myevents")


def linger(seconds: int) -> Command:
    """Keep the connection so long after the hangup, for the last events.  Plain ``linger`` is for ever."""
    return Command(f"linger {_whole('seconds', seconds, 1, 600)}")


def _events(verb: str, names: tuple[str, ...]) -> Command:
    if not names:
        raise Refused("events", "must name at least one")
    custom = False
    for name in names:
        if custom:
            _checked("event subclass", name, _SUBCLASS, "of A-Z a-z 0-9 _ : -")
        elif name not in EVENTS:
            raise Refused("event", f"must be one of wire.EVENTS: {_shown(name)}")
        # After CUSTOM the switch takes every further word for a subclass.
        custom = custom or name == "CUSTOM"
    return Command(f"{verb} {' '.join(names)}")


def event_plain(*names: str) -> Command:
    """Ask for these events too.  CUSTOM comes last, followed by its subclasses."""
    return _events("event plain", names)


def nixevent(*names: str) -> Command:
    """Ask for these events no longer."""
    return _events("nixevent", names)


def filter_(header: str, value: str) -> Command:
    """Send only events whose ``header`` is ``value``; several filters add up (any of them)."""
    _checked("header", header, _HEADER, "a header's name")
    if header.lower() in ("add", "delete"):
        raise Refused("header", f"is a word of the command itself: {header}")
    if not value:
        raise Refused("filter value", "must not be empty")
    return Command(f"filter {header} {_value('filter', value)}")


def auth(password: str) -> Command:
    """Say the password of the switch's event socket.  It never appears in a log or an error."""
    if not isinstance(password, str) or not 1 <= len(password) <= 256:
        raise Refused("password", "must be text of 1 to 256 characters")
    if not password.isprintable() or "${" in password:
        raise Refused("password", "has a control character or an expansion")
    return Command(f"auth {password}", secret=True)


def exit_() -> Command:
    """End the connection: ``+OK bye`` and a closed socket; ``socket_resume`` decides about the call."""
    return Command("exit")


# ------------------------------------------------------------------------------------- on one call


def _no_argument(text: str) -> str:
    raise Refused("argument", f"this application takes none: {_shown(text)}")


def _cause_name(text: str) -> str:
    if text not in Cause.__members__:
        raise Refused("cause", f"must be one of wire.Cause: {_shown(text)}")
    return text


def _sleep(text: str) -> str:
    return _checked("milliseconds", text, _DIGITS, "a whole number of milliseconds")


_ARGUMENT_OF: Final = {
    App.ANSWER: _no_argument,
    App.RING_READY: _no_argument,
    App.PARK: _no_argument,
    App.PLAYBACK: _sound,
    App.HANGUP: _cause_name,
    App.SLEEP: _sleep,
}
_NEEDS_ARGUMENT: Final = frozenset({App.PLAYBACK, App.SLEEP})


def execute(app: App, arg: str | int | SoundPath | None = None, uuid: str | None = None) -> Command:
    """Run an application on the call of this (outbound) connection.

    ``arg`` must be what ``app`` takes: a sound (:class:`SoundPath`, :class:`Tone`, :func:`silence`,
    :func:`sounds`) for ``playback``, a :class:`Cause` for ``hangup``,
    milliseconds for ``sleep``, nothing for the others.  ``uuid`` comes back as ``Application-UUID`` in its
    ``CHANNEL_EXECUTE`` and ``CHANNEL_EXECUTE_COMPLETE``.

    The reply ``+OK`` only says that it was taken; it starts at the next media tick (20 ms), and after what
    runs already: each carries ``event-lock``, without which it would start *inside* of that, which goes on
    afterwards (of five playbacks sent at once the last would be heard first).  So a ``hangup`` waits for the
    sound before it: :func:`kill` does not.
    """
    if not isinstance(app, App):
        raise Refused("application", f"must be one of wire.App: {_shown(app)}")
    if arg is not None:
        return _execute(app, _ARGUMENT_OF[app](str(arg)), uuid)
    if app in _NEEDS_ARGUMENT:
        raise Refused("argument", f"{app.value} needs one")
    return _execute(app, "", uuid)


def endless(sound: str | SoundPath, uuid: str, *, middle: bool = False) -> Command:
    """Play a sound again and again without a gap, until :func:`break_` ends it or the channel leaves.

    Each round has its own ``CHANNEL_EXECUTE`` and ``CHANNEL_EXECUTE_COMPLETE``, all of them with this ``uuid``.  The
    switch makes no further round after a break, nor after one that took less than half a second
    (``switch_ivr_parse_event``).  ``middle``, of a file only: each round begins at the sample that :data:`START` says
    as it begins, which must lie in the file: so set it before, and remove it once the first round has begun.
    """
    argument = _sound(str(sound))
    if middle:
        # The one expansion that we ever ask for, of a name that stands here and a number that we set.
        argument = f"{SoundPath(argument).path}@@${{{START}}}"
    return _execute(App.PLAYBACK, argument, uuid, "\nloops: -1")


def _execute(app: App, argument: str, uuid: str | None, more: str = "") -> Command:
    text = f"sendmsg\ncall-command: execute\nexecute-app-name: {app.value}"
    if argument:
        text += f"\nexecute-app-arg: {argument}"
    if uuid is not None:
        more += f"\nEvent-UUID: {_uuid('uuid', uuid)}"
    return Command(f"{text}{more}\nevent-lock: true")


def setvar(call: str, name: str, value: str) -> Command:
    """Set one channel variable, at once, also while a file plays; an empty value removes it."""
    return Command(f"api uuid_setvar {_uuid('call', call)} {_name(name)} {_value(name, value)}".rstrip(" "))


def setvars(call: str, values: Mapping[str, str]) -> Command:
    """Set up to 64 channel variables in one command."""
    if not 1 <= len(values) <= 64:
        raise Refused("values", f"must be 1 to 64 variables: {len(values)}")
    pairs = ";".join(f"{_name(name)}={_value(name, value)}" for name, value in values.items())
    return Command(f"api uuid_setvar_multi {_uuid('call', call)} {pairs}")


def getvar(call: str, name: str) -> Command:
    """Read one channel variable.  Reply: its value, ``_undef_``, or ``-ERR No such channel!``."""
    return Command(f"api uuid_getvar {_uuid('call', call)} {_name(name)}")


def record_start(call: str, path: SoundPath, seconds: int, *, silence: int = 0, again: bool = False) -> Command:
    """Record what the caller says into ``path``, beside whatever runs.  Reply: ``+OK Success`` or ``-ERR ...``.

    At most ``seconds``; so many seconds of ``silence`` end it (0: never).  Unlike the application ``record``
    it survives the death of its controller, and a file that cannot be opened does not cost the call
    (``mod_dptools.c`` ``record_function`` hangs the caller up in both cases).  ``again``: append to the file
    if the recording has ended meanwhile; while it goes on the command changes nothing.
    """
    _whole("seconds", seconds, 1, 86_400)
    _whole("silence", silence, 0, 3_600)
    if not isinstance(path, SoundPath):
        raise Refused("record", f"needs a wire.SoundPath: {_shown(path)}")
    # The caller alone; and without a least length the switch throws away what is shorter than three seconds.
    options = ["RECORD_READ_ONLY=true", "RECORD_MIN_SEC=0"]
    if silence:
        options += [f"RECORD_INITIAL_TIMEOUT_MS={silence * 1000}", f"RECORD_FINAL_TIMEOUT_MS={silence * 1000}"]
    if again:
        options.append("RECORD_APPEND=true")
    return Command(f"api uuid_record {_uuid('call', call)} start {path.path} {seconds} {{{','.join(options)}}}")


def record_talk(call: str, path: SoundPath, job: str | None = None) -> Command:
    """Record a talk into ``path``, who called on the left, who answered on the right, while the two are joined.

    Without ``job`` the reply is as of :func:`record_start`, else it is the ``BACKGROUND_JOB`` of that name: the switch
    opens the file and starts a thread first, which nobody else's commands wait for then.  Nothing is written while
    they are not joined (``switch_core_io.c``, SMBF_BRIDGE_REQ), so it may be sent before the joining.
    """
    if not isinstance(path, SoundPath):
        raise Refused("record", f"needs a wire.SoundPath: {_shown(path)}")
    options = "{RECORD_STEREO=true,RECORD_BRIDGE_REQ=true,RECORD_MIN_SEC=0}"
    command = f"uuid_record {_uuid('call', call)} start {path.path} 0 {options}"
    return Command(f"api {command}" if job is None else f"bgapi {command}\nJob-UUID: {_uuid('job', job)}")


def record_mask(call: str, path: SoundPath, *, on: bool) -> Command:
    """Write silence instead of what is heard, or no longer.  Reply: ``-ERR`` if there is no such recording."""
    if not isinstance(path, SoundPath):
        raise Refused("record", f"needs a wire.SoundPath: {_shown(path)}")
    return Command(f"api uuid_record {_uuid('call', call)} {'mask' if on else 'unmask'} {path.path}")


def record_stop(call: str, path: SoundPath) -> Command:
    """End a recording; its RECORD_STOP follows.  Reply: ``-ERR`` if there is no such recording."""
    if not isinstance(path, SoundPath):
        raise Refused("record", f"needs a wire.SoundPath: {_shown(path)}")
    return Command(f"api uuid_record {_uuid('call', call)} stop {path.path}")


def exists(call: str) -> Command:
    """Is this channel alive?  Reply: ``true`` or ``false``."""
    return Command(f"api uuid_exists {_uuid('call', call)}")


def break_(call: str, *, queued: bool = True) -> Command:
    """Cut short what plays or records.  ``queued``: also drop applications that have not started yet.

    A dropped application never reports: no ``CHANNEL_EXECUTE``, no ``CHANNEL_EXECUTE_COMPLETE``.  Without
    ``queued`` a break that comes before the start is forgotten, and the sound plays to its end.
    """
    return Command(f"api uuid_break {_uuid('call', call)}{' all' if queued else ''}")


def answer(call: str) -> Command:
    """Answer a call now, without the media tick that the application would take."""
    return Command(f"api uuid_answer {_uuid('call', call)}")


def kill(call: str, cause: Cause) -> Command:
    """Hang up a channel.  Reply: ``+OK`` or ``-ERR No such channel!``."""
    return Command(f"api uuid_kill {_uuid('call', call)} {_cause(cause)}")


def transfer(call: str, extension: str, context: str) -> Command:
    """Send a call to an extension of the XML dialplan."""
    _checked("extension", extension, _EXTENSION, "of A-Z a-z 0-9 _ + * # -, not beginning with -")
    _checked("context", context, _CONTEXT, "of A-Z a-z 0-9 _ . -")
    return Command(f"api uuid_transfer {_uuid('call', call)} {extension} XML {context}")


# ---------------------------------------------------------------------------------- on the switch


def bridge(call: str, leg: str, job: str) -> Command:
    """Join two channels; the result is the ``BACKGROUND_JOB`` whose ``Job-UUID`` is ``job``.

    An unanswered caller is *hung up* by it (and told ``+OK``): send :func:`answer` before it.
    """
    return Command(f"bgapi uuid_bridge {_uuid('call', call)} {_uuid('leg', leg)}\nJob-UUID: {_uuid('job', job)}")


#: How long a trunk may say nothing but "trying" (100) before it counts as one that did not take the call, seconds.
#: One that says nothing at all is given up by the SIP profile (``timer-T1X64``).
_PROGRESS: Final = 15

#: The event by which a telephone says that it rings for a call that was placed for it: see :func:`place`.
RINGS: Final = "cordboard::rings"
_RESERVED: Final = frozenset(
    {
        "origination_uuid",
        "origination_caller_id_number",
        "origination_caller_id_name",
        "originate_timeout",
        "ignore_early_media",
        "leg_progress_timeout",
        "outbound_redirect_fatal",
        "cordboard_ready",
        "cordboard_whisper",
        "cordboard_confirm",
        "cordboard_longest",
    },
)


def caller_number(text: str) -> str:
    """``text`` if a telephone may show it as the number that calls, else empty."""
    return text if _SHOWN.fullmatch(text) else ""


def caller_name(text: str) -> str:
    """``text`` if a telephone may show it as a name, else empty: callers' names are hostile until they pass here."""
    return text if _CALLER_NAME.fullmatch(text) else ""


def originate(
    leg: str,
    endpoint: Endpoint,
    seconds: int,
    variables: Mapping[str, str],
    job: str,
    *,
    screen: Screen | None = None,
    shown: str = "",
    name: str = "",
    longest: int = 0,
) -> Command:
    """Ring one endpoint as the parked leg ``leg`` for at most ``seconds`` (the switch is ± 1 s about it).

    The result is the ``BACKGROUND_JOB`` whose ``Job-UUID`` is ``job``: ``+OK leg`` when it answered, or ``-ERR CAUSE``
    (:func:`result_of`, :data:`TRUNK_FAILED`).  Without ``screen`` the leg may be joined then, and says so in its
    variable ``cordboard_ready``, which the switch sets a moment *after* the ``+OK``.  With it the switch plays and
    asks first (``conf/dialplan/screen.xml``), then sets ``cordboard_ready`` and fires ``cordboard::ready``; a leg
    that does not confirm is hung up, ``CALL_REJECTED`` for another key, ``NO_ANSWER`` for none.

    ``shown`` and ``name`` are what the telephone shows: a number or extension, and a :func:`caller_name`.
    ``longest``: the leg is hung up (``ALLOTTED_TIMEOUT``) so many seconds after it may be joined; 0: never.  Give
    ``park_timeout`` among the variables, so that a forgotten leg ends.
    """
    if not isinstance(endpoint, Endpoint):
        raise Refused("endpoint", f"must be one of wire.Endpoint: {_shown(endpoint)}")
    pairs = [
        f"origination_uuid={_uuid('leg', leg)}",
        f"originate_timeout={_whole('seconds', seconds, 1, 600)}",
        # Without it a far end that plays its own ringing counts as answered.
        "ignore_early_media=true",
    ]
    if isinstance(endpoint, GatewayEndpoint):
        # A redirect would be followed anywhere; for our phones the directory's dial-string says the same.
        pairs += [f"leg_progress_timeout={_PROGRESS}", "outbound_redirect_fatal=true"]
    if shown:
        pairs.append(f"origination_caller_id_number={_checked('shown', shown, _SHOWN, 'digits, with + or not')}")
    if name:
        # The quotes keep its blanks in one word (of commas they keep nothing); it cannot hold one itself.
        shape = "letters and digits of any script, blanks . - among them, 40 at most"
        pairs.append(f"origination_caller_id_name='{_checked('name', name, _CALLER_NAME, shape)}'")
    for variable, value in variables.items():
        if _name(variable) in _RESERVED:
            raise Refused("variable name", f"is set by originate itself: {variable}")
        pairs.append(f"{variable}={_value(variable, value)}")
    limit = f"+{_whole('longest', longest, 0, 86_400)}" if longest else ""
    if screen is None:
        # The inline dialplan runs when the leg has answered; the quotes keep the list one word.
        apps = ([f"sched_hangup:{limit}"] if limit else []) + ["set:cordboard_ready=true", "park"]
        then = f"'{','.join(apps)}' inline"
    else:
        pairs += [f"{variable}={value}" for variable, value in screen.variables.items()]
        pairs += [f"cordboard_longest={limit}"] if limit else []
        then = "cordboard_screen XML cordboard_screen"
    # Tones have commas, which no quotes protect; nothing that may stand here has a tilde.
    listed = "^^~" + "~".join(pairs) if any("," in pair for pair in pairs) else ",".join(pairs)
    return Command(f"bgapi originate {{{listed}}}{endpoint.text} {then}\nJob-UUID: {_uuid('job', job)}")


def place(
    call: str, endpoint: UserEndpoint, seconds: int, to: str, context: str, job: str, *, name: str = ""
) -> Command:
    """Ring a telephone of our own for at most ``seconds``; once it is answered it is the caller of a call to ``to``.

    The result is the ``BACKGROUND_JOB`` whose ``Job-UUID`` is ``job``; when it begins to ring, :data:`RINGS` comes.
    Whose telephone it is stands on the channel by the directory of the switch, as when it dials by itself, and ``to``
    goes through the dialplan as if it had been dialled.  ``cordboard_called`` is there from the first moment, so that
    its end is known as the end of a call.  The telephone shows ``to`` and ``name``.
    """
    if not isinstance(endpoint, UserEndpoint):
        raise Refused("endpoint", f"must be a wire.UserEndpoint: {_shown(endpoint)}")
    _checked("to", to, _DIALLED, "digits, * and #, with + or not, 32 at most")
    _checked("context", context, _CONTEXT, "of A-Z a-z 0-9 _ . -")
    pairs = [
        f"origination_uuid={_uuid('call', call)}",
        f"originate_timeout={_whole('seconds', seconds, 1, 600)}",
        "ignore_early_media=true",
        f"cordboard_called={to}",
        f"execute_on_ring=event:Event-Name=CUSTOM,Event-Subclass={RINGS}",
    ]
    if shown := caller_number(to):
        pairs.append(f"origination_caller_id_number={shown}")
    if name:
        pairs.append(f"origination_caller_id_name='{_checked('name', name, _CALLER_NAME, 'a caller_name')}'")
    listed = "^^~" + "~".join(pairs)
    return Command(f"bgapi originate {{{listed}}}{endpoint.text} {to} XML {context}\nJob-UUID: {_uuid('job', job)}")


def hupall(cause: Cause, name: str, value: str) -> Command:
    """Hang up every channel whose variable ``name`` is ``value``."""
    if not value:
        raise Refused(f"value of {name}", "must not be empty: all channels of the switch would be hung up")
    return Command(f"api hupall {_cause(cause)} {_name(name)} {_value(name, value)}")


def show_channels() -> Command:
    """Every live channel, as JSON: ``{"row_count": 0}`` or ``{"row_count": N, "rows": [{"uuid": ...}]}``."""
    return Command("api show channels as json")


def status() -> Command:
    """One page about the switch; its reply proves that the switch does its work."""
    return Command("api status")


#: The domain of the switch's directory that has no users and says which directory it is.
DIRECTORY: Final = "cordboard-directory"


def directory_version() -> Command:
    """Which of our directories does the switch have?  Reply: its version, or ``-ERR no reply``."""
    return Command(f"api domain_data {DIRECTORY} var version")


def reload_xml() -> Command:
    """Read the configuration again, phones' directory included, beside everything else.

    As a job, since a connection takes no other command while its own ``api`` runs.  If anything in the configuration
    is wrong the switch keeps all of what it has, and its result is ``+OK`` all the same: ask for the version.
    """
    return Command("bgapi reloadxml")


def core_uuid() -> Command:
    """Which run of the switch is this?  The reply is the ``Core-UUID`` of its events, new after each restart."""
    return Command("api global_getvar core_uuid")
