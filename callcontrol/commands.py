"""Commands from outside, the command line's and the web's: a closed table, how to ask, and how they are performed.

Who asks puts a command into the list of a switch (:func:`ask`); one of that switch's controllers takes it
(:class:`Commands`), performs it, and puts the answer where only who asked looks for it.  Knows no queue, call or socket
of a switch: what a command does is the controller's (``perform``).  Never imports gevent: the web asks as well, and the
serving side is a loop that blocks.

===============================  ===========================================================================
``cordboard:commands:<switch>``  list: commands that nobody has taken, the oldest first
``cordboard:answers:<id>``       list of one: the answer to a command, for :data:`ANSWER_SECONDS`
``cordboard:no-more:<process>``  list: wakes that process's loop, to end it
===============================  ===========================================================================

A command is JSON: ``{"v": 1, "id", "verb", "args", "by", "deadline"}``, the deadline a moment of Redis's clock, so that
nobody else's matters; its answer is one of ``{"v": 1, "answer": {…}}``, ``{"v": 1, "refused": why}`` and
``{"v": 1, "failed": why}``.  All that can go wrong for who asks::

    CommandError
    ├── RedisAway        Redis cannot be asked; if it was lost after the command was sent, it may have been performed
    ├── NobodyAnswered   no controller answered in time; ``taken``: one took it, and may have performed it
    ├── Refused          it was not performed, and ``str()`` says why, for people
    └── Failed           a controller failed at it, by a fault of ours that its log tells; it may have done a part

Where the surprise lies:

* A command is performed once or not at all, never twice: who takes it takes it out of the list, and nothing puts it
  back.  If that controller dies, nobody answers.  One that nobody has taken is taken back by who asked, and was not
  performed.
* The table reads a command twice.  Before it is sent, so that mistakes are told at once; and when it is taken, since
  whoever reaches Redis can write what they like.
* A drain pushes into a list of its own, which the loop's pop looks at first: closing the connection instead would lose
  a command that Redis has just handed out.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import marshmallow as ma
import redis
import structlog

from callcontrol.call_views import CallList, CallNamed
from callcontrol.queue_views import AgentList, AgentSet, QueueList, Why, shown
from callcontrol.routing.kinds import EXTENSION, NAME
from callcontrol.switchboard import connect

#: The longest that anybody may wait for an answer, seconds.
LONGEST_WAIT = 60.0
#: How long an answer lies there for who asked, seconds.
ANSWER_SECONDS = 10
#: A command's and an answer's length, bytes.
LONGEST_COMMAND = 8192
LONGEST_ANSWER = 4 * 2**20
#: How long the loop waits for a command before it asks again, seconds: so soon a dead connection is noticed.
BLOCK = 5.0
#: How long the loop leaves a Redis alone that is away, seconds.
AWAY = 1.0

_COMPANY = r"[a-z][a-z0-9-]{0,30}\Z"
_ID = re.compile(r"[0-9a-f]{32}")


class CommandError(Exception):
    """A command that brought no answer."""


class RedisAway(CommandError):
    """Redis cannot be asked."""


class NobodyAnswered(CommandError):
    """No controller answered in time.  ``taken``: one took the command, so it may have been performed."""

    def __init__(self, switch: str, seconds: float, *, taken: bool) -> None:
        self.taken = taken
        if taken:
            text = f"a controller of {switch} took the command and did not answer within {seconds:g} s; "
            text += "it may have been performed"
        else:
            text = f"no controller of {switch} answered within {seconds:g} s; nothing was done"
        super().__init__(text)


class Refused(CommandError):
    """It was not performed; ``str()`` says why.  Raised by who performs commands, too."""


class Failed(CommandError):
    """A controller failed at it; ``str()`` says which."""


# ------------------------------------------------------------------------------------------------- the table


def _matches(pattern: str, wanted: str, **more: Any) -> ma.fields.String:
    return ma.fields.String(validate=ma.validate.Regexp(pattern, error=f"{{input!a:.40}} is {wanted}"), **more)


def _company(**more: Any) -> ma.fields.String:
    return _matches(_COMPANY, "no company's id, such as acme", **more)


def _queue(**more: Any) -> ma.fields.String:
    return _matches(NAME.pattern + r"\Z", "no queue's name", **more)


class _Text(ma.fields.String):
    """Some words on one line, 100 characters at most."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > 100 or not text.isprintable():
            raise ma.ValidationError("must be printable text of 100 characters at most")
        return text


class _AgentList(ma.Schema):
    """The agents and what they do.

    company: whose; without it, those of every company
    """

    company = _company(load_default="")


class _AgentSet(ma.Schema):
    """Log an agent in or out, pause or resume them.

    company: whose agent
    agent: their extension
    reason: why, for those who wonder
    """

    company = _company(required=True)
    agent = _matches(EXTENSION.pattern + r"\Z", "no extension, such as 301", required=True)
    reason = _Text(load_default="")


class _QueueShow(ma.Schema):
    """The queues: who waits, who serves.

    company: whose; without it, those of every company
    queue: those of this name only
    """

    company = _company(load_default="")
    queue = _queue(load_default="")


class _QueueWhy(ma.Schema):
    """Who waits in a queue, and why each agent was or was not rung just now.

    company: whose queue
    queue: its name
    first: tell of so many callers at most, from the first; of fewer where there are very many agents
    """

    company = _company(required=True)
    queue = _queue(required=True)
    first = ma.fields.Integer(load_default=50, strict=True, validate=ma.validate.Range(1, 500))


class _CallList(ma.Schema):
    """The live calls of a switch.

    company: whose; without it, those of every company
    """

    company = _company(load_default="")


class _CallHangUp(ma.Schema):
    """End a call, and whatever rings for it.

    company: whose call
    call: its id
    """

    company = _company(required=True)
    call = _matches(r"[A-Za-z0-9-]{8,64}\Z", "no id of a call", required=True)


class _CallPlace(ma.Schema):
    """Click to call: ring a person's telephone, which then dials a number.

    company: whose person
    extension: the person's
    to: what their telephone dials: an extension, a code, a number as people write it
    key: of whoever asks; the same call is not placed again under the same key, for a day at least
    """

    company = _company(required=True)
    extension = _matches(EXTENSION.pattern + r"\Z", "no extension, such as 301", required=True)
    to = _Text(required=True)
    key = _matches(r"[!-~]{1,64}\Z", "no key: 1 to 64 printable ASCII characters without blanks", load_default="")


class _RecordingSet(ma.Schema):
    """Begin, end, pause or resume the recording of the talk that a call is in.

    company: whose call
    call: its UUID
    """

    company = _company(required=True)
    call = _matches(r"[0-9A-Za-z-]{8,64}\Z", "no call's UUID", required=True)


#: Every command there is.
COMMANDS: Mapping[str, type[ma.Schema]] = {
    "agent.list": _AgentList,
    "agent.log_in": _AgentSet,
    "agent.log_out": _AgentSet,
    "agent.pause": _AgentSet,
    "agent.resume": _AgentSet,
    "call.hang_up": _CallHangUp,
    "call.list": _CallList,
    "call.place": _CallPlace,
    "queue.show": _QueueShow,
    "queue.why": _QueueWhy,
    "recording.start": _RecordingSet,
    "recording.stop": _RecordingSet,
    "recording.pause": _RecordingSet,
    "recording.resume": _RecordingSet,
}

#: Performs a command: its arguments, typed, ``by``, who asked, and ``switch``, of which.  Raises Refused.
Perform = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Handlers(Protocol):
    """Who performs the commands about agents and queues.  Each method raises Refused with a reason for people.

    An empty ``company`` or ``queue`` means all of them.
    """

    def agents(self, company: str) -> AgentList:
        """``agent.list``."""

    def set_duty(self, company: str, agent: str, what: str, reason: str, by: str) -> AgentSet:
        """``agent.log_in`` …; ``what``: ``log_in log_out pause resume``."""

    def queues(self, company: str, queue: str) -> QueueList:
        """``queue.show``."""

    def why(self, company: str, queue: str, first: int) -> Why:
        """``queue.why``, of the ``first`` so many callers."""


class CallHandlers(Protocol):
    """Who performs the commands about the calls of a switch.  Each method raises Refused with a reason for people."""

    def calls(self, switch: str, company: str) -> CallList:
        """``call.list``; an empty company means all."""

    def hang_up(self, switch: str, company: str, call: str, by: str) -> CallNamed:
        """``call.hang_up``."""

    def place(self, switch: str, company: str, extension: str, to: str, key: str, by: str) -> CallNamed:
        """``call.place``."""


def calls_performed_by(handlers: CallHandlers) -> dict[str, Perform]:
    """What :class:`Commands` performs the commands about calls with."""
    named = ("switch", "company", "extension", "to", "key", "by")
    return {
        "call.list": lambda given: handlers.calls(given["switch"], given["company"]),
        "call.hang_up": lambda given: handlers.hang_up(given["switch"], given["company"], given["call"], given["by"]),
        "call.place": lambda given: handlers.place(*(given[name] for name in named)),
    }


def performed_by(handlers: Handlers) -> dict[str, Perform]:
    """What :class:`Commands` performs the commands about agents and queues with."""

    def set_duty(what: str) -> Perform:
        return lambda given: handlers.set_duty(given["company"], given["agent"], what, given["reason"], given["by"])

    return {
        "agent.list": lambda given: handlers.agents(given["company"]),
        **{f"agent.{what}": set_duty(what) for what in ("log_in", "log_out", "pause", "resume")},
        "queue.show": lambda given: handlers.queues(given["company"], given["queue"]),
        "queue.why": lambda given: handlers.why(given["company"], given["queue"], given["first"]),
    }


class Recorders(Protocol):
    """Who performs the commands about recordings.  Each method gets company, call, and who asks; answers
    ``{"call", "file", "state"}``; and raises Refused with a reason for people.
    """

    def start(self, company: str, call: str, by: str) -> Mapping[str, Any]:
        """``recording.start``."""

    def stop(self, company: str, call: str, by: str) -> Mapping[str, Any]:
        """``recording.stop``."""

    def pause(self, company: str, call: str, by: str) -> Mapping[str, Any]:
        """``recording.pause``."""

    def resume(self, company: str, call: str, by: str) -> Mapping[str, Any]:
        """``recording.resume``."""


def recorded_by(recorder: Recorders) -> dict[str, Perform]:
    """What :class:`Commands` performs the commands about recordings with."""

    def performs(act: Callable[[str, str, str], Mapping[str, Any]]) -> Perform:
        return lambda given: act(given["company"], given["call"], given["by"])

    return {
        "recording.start": performs(recorder.start),
        "recording.stop": performs(recorder.stop),
        "recording.pause": performs(recorder.pause),
        "recording.resume": performs(recorder.resume),
    }


def _typed(verb: str, arguments: Any) -> dict[str, Any]:
    """The arguments of a command, read by its schema.  Raises Refused."""
    schema = COMMANDS.get(verb)
    if schema is None:
        raise Refused(f"there is no command {verb[:40]!a}")
    return _read(schema, arguments)


def _read(schema: type[ma.Schema], data: Any) -> dict[str, Any]:
    try:
        read: dict[str, Any] = schema().load(data)
    except ma.ValidationError as error:
        raise Refused(_said(error.messages)) from None
    return read


def _said(messages: Any) -> str:
    """Every mistake in one line.  The names of fields may be anybody's words."""
    parts = []
    for name, wrong in messages.items():
        where = "" if name == "_schema" else f"{shown(str(name)[:40])}: "
        parts.append(where + " ".join(map(str, wrong)))
    return "; ".join(parts)[:500]


# ---------------------------------------------------------------------------------------------------- asking


def ask(
    redis_url: str, switch: str, verb: str, arguments: Mapping[str, Any], timeout: float = 2.0, *, by: str = ""
) -> dict[str, Any]:
    """Have one of the controllers of ``switch`` perform a command, and return its answer.

    ``timeout``: seconds to wait, :data:`LONGEST_WAIT` at most; ``by``: who asks, as facts and logs shall tell it.
    Raises CommandError.
    """
    if not 0 < timeout <= LONGEST_WAIT:
        raise ValueError(f"nobody can wait {timeout} s")
    _typed(verb, arguments)
    command: dict[str, Any] = {"v": 1, "id": uuid.uuid4().hex, "verb": verb, "args": arguments, "by": by}
    _read(_Envelope, {**command, "deadline": 0.0})
    try:
        client = connect(redis_url, name="cordboard-asks", patience=timeout + 1.0)
    except ValueError as error:
        raise RedisAway(f"the address of Redis cannot be used: {error}") from None
    try:
        return _result(_exchange(client, switch, command, timeout))
    except (redis.RedisError, OSError) as error:
        raise RedisAway(f"Redis cannot be asked: {error}") from error
    finally:
        client.close()


def _exchange(client: Any, switch: str, command: dict[str, Any], timeout: float) -> bytes:
    """Send a command and wait for its answer.  Raises NobodyAnswered."""
    waiting, answers = _waiting(switch), _answers(command["id"])
    line = json.dumps({**command, "deadline": _now(client) + timeout})
    with client.pipeline() as pipe:
        pipe.rpush(waiting, line)
        pipe.expire(waiting, int(LONGEST_WAIT) * 2)  # what those leave behind who die while they wait
        pipe.execute()
    popped = client.blpop(answers, timeout)
    if popped is not None:
        return bytes(popped[1])
    if client.lrem(waiting, 1, line):
        raise NobodyAnswered(switch, timeout, taken=False)
    late = client.lpop(answers)
    if late is None:
        raise NobodyAnswered(switch, timeout, taken=True)
    return bytes(late)


def _result(raw: bytes) -> dict[str, Any]:
    """What an answer says.  Raises Refused, Failed."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"v": 1, "answer": dict(answer)}:
            return answer
        case {"v": 1, "refused": str(why)}:
            raise Refused(why)
        case {"v": 1, "failed": str(why)}:
            raise Failed(why)
    raise Failed("the answer cannot be read: is the server of another version?")


# ------------------------------------------------------------------------------------------------ performing


class _Envelope(ma.Schema):
    """What every command has around its arguments."""

    v = ma.fields.Integer(required=True, strict=True, validate=ma.validate.Equal(1))
    id = ma.fields.String(required=True)
    verb = ma.fields.String(required=True)
    args = ma.fields.Dict(required=True)
    by = _Text(required=True)
    deadline = ma.fields.Float(required=True)


class Commands:
    """One process's part: takes commands of its switches and performs each once.

    ``perform``: verb -> what performs it; of a verb that is not there the answer is that it is not known here.
    """

    def __init__(self, url: str, *, name: str, switches: Sequence[str], perform: Mapping[str, Perform]) -> None:
        self._perform = perform
        self._lists = {_waiting(switch): switch for switch in switches}
        self._no_more = f"cordboard:no-more:{name}"
        self._stopping = threading.Event()
        self._pops = connect(url, name=f"{name}-commands", patience=BLOCK + 1.0)
        self._redis = connect(url, name=name)
        self._away = False
        self._log: Any = structlog.get_logger("commands").bind(process=name)

    def run(self) -> None:
        """Perform commands, one after the other, until stopped."""
        while not self._stopping.is_set():
            try:
                popped = self._pops.blpop([self._no_more, *self._lists], BLOCK)
            except (redis.RedisError, OSError) as error:
                self._heal(error)
                if not self._away:
                    self._log.warning("no commands can be taken", error=f"{type(error).__name__}: {error}"[:200])
                self._away = True
                self._stopping.wait(AWAY)
                continue
            if self._away:
                self._away = False
                self._log.info("commands can be taken again")
            if popped is None or popped[0] == self._no_more.encode():
                continue
            try:
                self._handle(popped[1], self._lists[popped[0].decode()])
            except Exception:
                self._log.exception("a command could not be answered")

    def _heal(self, error: Exception) -> None:
        """A list that is something else would keep the commands of every switch from us, for ever."""
        if not str(error).startswith("WRONGTYPE"):
            return
        with contextlib.suppress(redis.RedisError, OSError):
            for name in (self._no_more, *self._lists):
                if self._redis.type(name) not in (b"list", b"none"):
                    self._redis.delete(name)
                    self._log.error("alarm", what="commands cannot be taken: they are no list", name=name)

    def stop(self) -> None:
        """Take no more commands: ``run`` returns when the one that it has is answered."""
        self._stopping.set()
        try:
            with self._redis.pipeline() as pipe:
                pipe.rpush(self._no_more, b"")
                pipe.expire(self._no_more, 2 * int(BLOCK))
                pipe.execute()
        except (redis.RedisError, OSError):
            pass  # then nothing can be taken either

    def close(self) -> None:
        """Close the connections; ``run`` has returned."""
        self._pops.close()
        self._redis.close()

    def _handle(self, raw: bytes, switch: str) -> None:
        """Perform a command and answer it, unless it is late or nobody can be told."""
        command = _opened(raw)
        if command is None:
            self._log.warning("something that is no command was dropped", bytes=len(raw))
            return
        try:
            envelope = _read(_Envelope, command)
            left = envelope["deadline"] - _now(self._redis)
            if not 0 < left <= LONGEST_WAIT:
                self._log.info("a command came too late and was dropped", verb=envelope["verb"][:40], late=-left)
                return
            reply = self._performed(envelope, switch)
        except Refused as refused:
            reply = {"refused": str(refused)}
        body = self._written(reply)
        answers = _answers(command["id"])
        with self._redis.pipeline() as pipe:
            pipe.rpush(answers, body)
            pipe.expire(answers, ANSWER_SECONDS)
            pipe.execute()

    def _performed(self, envelope: Mapping[str, Any], switch: str) -> dict[str, Any]:
        verb = envelope["verb"]
        arguments = _typed(verb, envelope["args"])
        perform = self._perform.get(verb)
        if perform is None:
            raise Refused(f"{verb} is not known here")
        try:
            answer = perform({**arguments, "by": envelope["by"], "switch": switch})
        except Refused:
            raise
        except Exception:
            self._log.exception("a command failed", verb=verb, by=envelope["by"])
            return {"failed": f"the controller failed at {verb}; its log says more"}
        return {"answer": answer}

    def _written(self, reply: Mapping[str, Any]) -> bytes:
        try:
            body = json.dumps({"v": 1, **reply}, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            self._log.exception("an answer cannot be written down")
            return b'{"v":1,"failed":"the answer cannot be written down; the log of the controller says more"}'
        if len(body) > LONGEST_ANSWER:
            self._log.error("an answer is too long", bytes=len(body))
            return b'{"v":1,"failed":"the answer is too long"}'
        return body


def _opened(raw: bytes) -> dict[str, Any] | None:
    """A command that can be answered: an object with an id of ours."""
    if len(raw) > LONGEST_COMMAND:
        return None
    try:
        command = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    known = command.get("id") if isinstance(command, dict) else None
    return command if isinstance(known, str) and _ID.fullmatch(known) else None


def _waiting(switch: str) -> str:
    return f"cordboard:commands:{switch}"


def _answers(command: str) -> str:
    return f"cordboard:answers:{command}"


def _now(client: Any) -> float:
    """Redis's clock, UTC epoch."""
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6
