"""What Cordboard keeps in Redis, and the way to it (:func:`connect`) for the modules that keep things of their own.

Every change of state is one Lua script, so that a process killed at any moment leaves a whole state behind.
It knows no socket of a switch, no file and no flow; of facts it knows the few that change what is kept here.

========================================  =================================================================
``cordboard:facts``                       stream: one field, ``fact``, the line as it was written
``cordboard:facts:offsets``               hash: file → bytes of it that are in the stream
``cordboard:live:<switch>``               hash: call → ``{"company", "at", "epoch"}`` and, where its beginning told
                                          them, ``from to extension since``; from placing or start to end
``cordboard:placed:<call>``               what was to be placed under a key, and what came of it: ``?`` ``+`` ``-why``
``cordboard:ended:<call>``                who tells the end: ``?…`` claimed, ``~file`` began, ``+file`` told
``cordboard:out:<cap>``                   sorted set: legs that count as calls outside → when each is forgotten
``cordboard:out-legs:<switch>``           hash: leg → when it was claimed, and its caps
``cordboard:switches``                    hash: ``company/name`` of each day/night switch that is on → when, by whom
``cordboard:running…``                    what every process runs: see ``running.py``
any other name                            a lease: its owner, until it expires
========================================  =================================================================

Where the surprise lies:

* redis-py 8 tries ten times by default, so that one increment may count three times and a dead server costs
  a minute: here nothing is tried twice, and everything has a time-out.
* Nothing here raises because of Redis: a call must never end because of it.  *Away* is a value.
* A script may have run although its answer never came.  So each can be run again: shipping names the offset
  it starts from, a claim and a lease name their owner.
* A leg counts from before it rings until whoever hears its end releases it.  Nobody may hear it; so it is forgotten
  after a time, by Redis's own clock, and a reconciler releases what no switch knows any more.
* A claim of an end is advice, with a short life; the truth is what the shipping script does: it lets the first end of a
  call into the stream and no other, whoever claimed it, and whether Redis was there to be asked or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

STREAM = "cordboard:facts"
OFFSETS = "cordboard:facts:offsets"
SWITCHES = "cordboard:switches"
#: The stream's length: about this many facts.
MOST_FACTS = 1_000_000
#: How long the end of a call is remembered, seconds.  No call lasts, and no file waits, longer.
ENDED_SECONDS = 172_800
#: How long the key of a call that was placed is remembered, seconds: that day and the next.
PLACED_SECONDS = 172_800
#: How long whoever claimed it has to say what came of it, seconds: by then they have died.
PLACING_SECONDS = 10
#: How long a claim keeps others from telling an end, seconds: time to write and ship it.
CLAIM_SECONDS = 30

# KEYS offsets, stream.  ARGV file, from, to, MAXLEN, seconds to remember ends, and what is shipped as one text (each
# argument of its own costs the sender as much as ten lines of it), a word a line, in the file's order:
#   F count, then so many lines         facts that change nothing here, as they stand in the file
#   S line call switch epoch live       a call is owned now, or (epoch 0) was placed: who calls whom stays known
#   E line call switch                  the end of a call
#   O line call                         told on behalf of a call that nobody owned, before its end
# Answers the offset that is true now, how many facts others had told before, and how many lines are no facts.
_SHIP = """
local at = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if at ~= tonumber(ARGV[2]) then return {at, 0, 0} end
local repeats, damaged = 0, 0
local words = {}
for word in string.gmatch(ARGV[6], '([^\\n]*)\\n') do words[#words + 1] = word end
local i = 1
local function tell(line)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'fact', line)
end
while i <= #words do
    local kind, line, call = words[i], words[i + 1], words[i + 2]
    if kind == 'F' then
        for j = i + 2, i + 1 + tonumber(line) do
            local one = words[j]
            if string.byte(one) == 123 and string.byte(one, -1) == 125 then
                tell(one)
            elseif one ~= '' then
                damaged = damaged + 1
            end
        end
        i = i + 2 + tonumber(line)
    else
        local ended = 'cordboard:ended:' .. call
        local teller = redis.call('GET', ended) or ''
        local told = string.sub(teller, 1, 1) == '+'
        if kind == 'S' then
            tell(line)
            local live = 'cordboard:live:' .. words[i + 3]
            local known = redis.call('HGET', live, call)
            local epoch = known and tonumber(string.match(known, '"epoch":(%d+)')) or 0
            local newer = epoch <= tonumber(words[i + 4])
            local readable, old = pcall(cjson.decode, known or '')
            if not told and readable and type(old) == 'table' then
                local new = cjson.decode(words[i + 5])
                if not newer then new, old = old, new end  -- a dead process's file comes late
                for _, name in ipairs({'from', 'to', 'extension', 'since'}) do
                    if new[name] == nil then new[name] = old[name] end
                end
                redis.call('HSET', live, call, cjson.encode(new))
            elseif not told and newer then
                redis.call('HSET', live, call, words[i + 5])
            end
            i = i + 6
        elseif kind == 'E' then
            if told then
                repeats = repeats + 1
            else
                redis.call('SET', ended, '+' .. ARGV[1], 'EX', ARGV[5])
                tell(line)
            end
            redis.call('HDEL', 'cordboard:live:' .. words[i + 3], call)
            i = i + 4
        else
            if told or (string.sub(teller, 1, 1) == '~' and teller ~= '~' .. ARGV[1]) then
                repeats = repeats + 1
            else
                redis.call('SET', ended, '~' .. ARGV[1], 'EX', ARGV[5])
                tell(line)
            end
            i = i + 3
        end
    end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {tonumber(ARGV[3]), repeats, damaged}
"""

# KEYS ended.  ARGV claim, seconds.
_CLAIM = """
local teller = redis.call('GET', KEYS[1])
if not teller then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return 1
end
return teller == ARGV[1] and 1 or 0
"""

# KEYS placed.  ARGV what, seconds.  Answers what stands there already, or nothing: it is ours to place.
_PLACING = """
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], '?' .. ARGV[1], 'EX', ARGV[2])
return ''
"""

# KEYS lease.  ARGV owner, milliseconds (0: give it back).
_LEASE = """
local owner = redis.pcall('GET', KEYS[1])
-- What is no lease, or would never end, is nobody's.
if type(owner) ~= 'string' or redis.call('PTTL', KEYS[1]) < 0 then owner = ARGV[1] end
if owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""

# KEYS legs of the switch.  ARGV leg, milliseconds until it is forgotten, then cap and limit, cap and limit …
# Answers the first cap that has no room, or nothing: the leg counts in all of them.
_CLAIM_OUT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leg, life = ARGV[1], tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
    local cap = 'cordboard:out:' .. ARGV[i]
    redis.call('ZREMRANGEBYSCORE', cap, '-inf', now)
    if not redis.call('ZSCORE', cap, leg) and redis.call('ZCARD', cap) >= tonumber(ARGV[i + 1]) then
        return ARGV[i]
    end
end
local known = redis.call('HGET', KEYS[1], leg) or ''
local entry = string.format('%.0f', now) .. string.match(known, '^%S*(.*)')
local function keep(key)
    if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, life) end
end
for i = 3, #ARGV, 2 do
    local cap = 'cordboard:out:' .. ARGV[i]
    redis.call('ZADD', cap, now + life, leg)
    keep(cap)
    if not string.find(entry .. ' ', ' ' .. ARGV[i] .. ' ', 1, true) then entry = entry .. ' ' .. ARGV[i] end
end
redis.call('HSET', KEYS[1], leg, entry)
keep(KEYS[1])
return ''
"""

# KEYS legs of the switch.  ARGV leg, then the caps to release; none: all that it has.
_RELEASE_OUT = """
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return 0 end
local at, rest, released = string.match(entry, '^%S+'), '', 0
local some = {}
for i = 2, #ARGV do some[ARGV[i]] = true end
for cap in string.gmatch(entry, ' (%S+)') do
    if #ARGV == 1 or some[cap] then
        released = released + redis.call('ZREM', 'cordboard:out:' .. cap, ARGV[1])
    else
        rest = rest .. ' ' .. cap
    end
end
if rest == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], ARGV[1], at .. rest)
end
return released
"""

# KEYS legs of the switch.  ARGV milliseconds.  Answers each leg that was claimed so long ago, and its entry.
_LEGS_OUT = """
local time = redis.call('TIME')
local latest = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^%S+')) <= latest then
        found[#found + 1] = all[i]
        found[#found + 1] = all[i + 1]
    end
end
return found
"""

# KEYS switches.  ARGV company/name, who.
_SWITCH_ON = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d.%06d ', time[1], time[2]) .. ARGV[2])
return 1
"""


class ScriptFault(Exception):
    """A script met what it cannot read, and stopped in the middle: Redis is there, what is kept is damaged."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether a leg may be rung: it counts in all of its caps, or in none because ``full`` has no room."""

    granted: bool
    full: str = ""


@dataclass(frozen=True, slots=True)
class SwitchedOn:
    """Who put a day/night switch on, and when (UTC epoch, by Redis's clock)."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Shipped:
    """What became of a batch of facts."""

    offset: int  #: bytes of the file that are in the stream now; another than hoped for: nothing was shipped
    repeats: int = 0  #: facts left out because the end of their call had been told by somebody else
    damaged: int = 0  #: lines left out because they are no facts


def connect(url: str, *, name: str, patience: float = 1.0) -> Any:
    """A client that tries nothing twice and waits no longer than ``patience`` (seconds) for an answer.

    ``name`` is what the server calls its connections.  A blocking pop needs more patience than it blocks.  Nothing is
    connected until it is used.  Raises ValueError if ``url`` is no address.
    """
    return redis.Redis.from_url(
        url,
        client_name=name,
        protocol=2,
        socket_connect_timeout=0.5,
        socket_timeout=patience,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
        driver_info=None,
    )


class Switchboard:
    """One process's way to Redis.  Works with gevent's sockets and with plain ones.

    ``url`` is ``redis://host:port/db``, ``rediss://…`` or ``unix://…`` (ValueError if it is none); ``name``
    is unique among processes: claims are told apart by it.  Nothing is connected until it is used.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self._name = name
        self._url = url
        #: Whether Redis did what it was last asked.
        self.available = True
        #: How many facts were left out because somebody else had told the end of their call.
        self.repeats = 0
        self._redis = connect(url, name=name)
        self._ship: Script = self._redis.register_script(_SHIP)
        self._claim: Script = self._redis.register_script(_CLAIM)
        self._placing: Script = self._redis.register_script(_PLACING)
        self._lease: Script = self._redis.register_script(_LEASE)
        self._claim_out: Script = self._redis.register_script(_CLAIM_OUT)
        self._release_out: Script = self._redis.register_script(_RELEASE_OUT)
        self._legs_out: Script = self._redis.register_script(_LEGS_OUT)
        self._switch_on: Script = self._redis.register_script(_SWITCH_ON)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def waiting(self, longest: float) -> Any:
        """A client of its own for a command that waits in Redis for at most ``longest`` seconds."""
        return connect(self._url, name=f"{self._name}-waits", patience=longest + 2.0)

    def delete(self, name: str) -> bool:
        """Forget what is kept under a name, whatever it is.  False: Redis is away, and may or may not have done it."""
        return self._do(self._redis.delete, name) is not None

    def script(self, text: str) -> Callable[[Sequence[Any]], Any]:
        """A Lua script without keys, as a function of its arguments that gives the answer, or None: Redis is away.

        The function raises ScriptFault.
        """
        script: Script = self._redis.register_script(text)

        def run(arguments: Sequence[Any]) -> Any:
            try:
                return script((), arguments)
            except redis.ResponseError as error:
                if _damaged(error):
                    raise ScriptFault(str(error)[:300]) from None
                raise

        return lambda arguments: self._do(run, arguments)

    # -------------------------------------------------------------------------------------------- facts

    def ship(self, file: str, start: int, end: int, lines: bytes) -> Shipped | None:
        """Put the lines of ``file`` between the offsets ``start`` and ``end`` (bytes) into the stream, once.

        They go in only if the file has been shipped up to ``start`` exactly, and the answer says up to where
        it has been: so a caller who does not know, or did not hear the answer, simply asks.  None: Redis is
        away, and may or may not have done it.
        """
        arguments = [file, start, end, MOST_FACTS, ENDED_SECONDS, b"".join(_operations(lines))]
        answer = self._do(self._ship, [OFFSETS, STREAM], arguments)
        if answer is None:
            return None
        offset, repeats, damaged = map(int, answer)
        if repeats:
            self.repeats += repeats
            _log().info("facts of an end that another process had told were left out", facts=repeats, file=file)
        return Shipped(offset, repeats, damaged)

    def offsets(self, files: Sequence[str]) -> dict[str, int] | None:
        """How many bytes of each file are in the stream; None: Redis is away."""
        if not files:
            return {}
        answer = self._do(self._redis.hmget, OFFSETS, list(files))
        return None if answer is None else {f: int(at or 0) for f, at in zip(files, answer, strict=True)}

    def live_calls(self, switch: str) -> dict[str, dict[str, Any]]:
        """The calls of a switch that were placed or have begun, and have not ended: ``{call: {"company", …}}``.

        Empty too while Redis is away: what is not known to live is not missed.
        """
        answer: Mapping[bytes, bytes] = self._do(self._redis.hgetall, f"cordboard:live:{switch}") or {}
        return {call.decode(): json.loads(known) for call, known in answer.items()}

    def live_call(self, switch: str, call: str) -> dict[str, Any] | None:
        """One of :meth:`live_calls`; None: not known, or Redis is away."""
        answer: bytes | None = self._do(self._redis.hget, f"cordboard:live:{switch}", call)
        return None if answer is None else json.loads(answer)

    # ------------------------------------------------------------------------------ who does what is nobody's

    def claim_end(self, call: str, identity: str) -> bool | None:
        """Whether this process shall tell the end of a call that nobody owns; None: Redis is away, so nobody
        knows, and telling it is right: what is told twice enters the stream once.
        """
        claim = f"?{identity} {self._name}"
        answer = self._do(self._claim, [f"cordboard:ended:{call}"], [claim, CLAIM_SECONDS])
        return None if answer is None else bool(answer)

    def claim_placing(self, call: str, what: str) -> str | None:
        """Whether ``call`` is ours to place ("", the first time), or what is known of it: ``?``, ``+`` or ``-`` (not
        placed) and then ``what`` was asked for the first time, for ``-`` also why not, on a line of its own.

        None: Redis is away, and may or may not have taken it for ours.
        """
        answer = self._do(self._placing, [f"cordboard:placed:{call}"], [what, PLACING_SECONDS])
        return None if answer is None else answer.decode()

    def placed(self, call: str, what: str, why_not: str = "") -> None:
        """Say what came of a claimed placing, to whoever asks for the same again."""
        entry = f"-{what}\n{why_not}" if why_not else f"+{what}"
        self._do(self._redis.set, f"cordboard:placed:{call}", entry, PLACED_SECONDS)

    def was_placed(self, call: str) -> bool:
        """Whether a placing of this call, or its end, is remembered; not while Redis is away."""
        return bool(self._do(self._redis.exists, f"cordboard:placed:{call}", f"cordboard:ended:{call}"))

    def told(self, calls: Sequence[str]) -> set[str]:
        """Those of ``calls`` whose end is in the stream; none while Redis is away."""
        if not calls:
            return set()
        answer = self._do(self._redis.mget, [f"cordboard:ended:{call}" for call in calls]) or []
        return {call for call, teller in zip(calls, answer, strict=False) if (teller or b"").startswith(b"+")}

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Whether ``owner`` holds the lease ``name`` from now for ``seconds``: taken, or renewed.

        False while somebody else holds it, or while Redis is away.
        """
        return bool(self._do(self._lease, [name], [owner, max(1, int(seconds * 1000))]))

    def leased(self, names: Sequence[str]) -> set[str]:
        """Those of the leases that somebody holds; none while Redis is away."""
        if not names:
            return set()
        answer = self._do(self._redis.mget, list(names)) or []
        return {name for name, owner in zip(names, answer, strict=False) if owner}

    def release(self, name: str, owner: str) -> bool:
        """Give a lease back, if ``owner`` has it."""
        return bool(self._do(self._lease, [name], [owner, 0]))

    # ---------------------------------------------------------------------------------------- calls outside

    def claim_out(self, leg: str, switch: str, caps: Sequence[tuple[str, int]], seconds: float) -> Claimed | None:
        """Count ``leg``, which is about to ring on ``switch``, as a call outside under all of ``caps``, or none.

        ``caps`` are names (``acme``, ``acme/301``, ``trunk/carrier-a``; no blanks) with the most legs that each may
        have.  To ask again for the same leg counts it once, and from now; further caps are added to those it has.
        After ``seconds`` it is forgotten: take the longest call.  None: Redis is away, and may or may not have done it.
        """
        if not caps:
            return Claimed(True)
        arguments = [leg, max(1, int(seconds * 1000)), *(part for cap in caps for part in cap)]
        full = self._do(self._claim_out, [_legs_of(switch)], arguments)
        return None if full is None else Claimed(not full, full.decode())

    def release_out(self, leg: str, switch: str, caps: Sequence[str] = ()) -> bool | None:
        """Count ``leg`` no more, or no more under ``caps`` (it takes another trunk).

        Whether it was counted; None: Redis is away.  Whoever hears of a leg's end may ask, and as often as they like.
        """
        answer = self._do(self._release_out, [_legs_of(switch)], [leg, *caps])
        return None if answer is None else bool(answer)

    def legs_out(self, switch: str, *, older: float = 0.0) -> dict[str, tuple[str, ...]] | None:
        """The legs that count as calls outside on ``switch``, and their caps; None: Redis is away.

        Only those claimed at least ``older`` seconds ago: a leg is claimed before the switch knows it, so a reconciler
        that releases what the switch does not know gives it time to.
        """
        answer = self._do(self._legs_out, [_legs_of(switch)], [max(0, int(older * 1000))])
        if answer is None:
            return None
        words = [text.decode() for text in answer]
        return {leg: tuple(entry.split(" ")[1:]) for leg, entry in zip(words[::2], words[1::2], strict=True)}

    # --------------------------------------------------------------------------------- day/night switches

    def switches(self) -> dict[str, SwitchedOn] | None:
        """The day/night switches that are on, by ``company/name``; None: Redis is away."""
        answer: Mapping[bytes, bytes] | None = self._do(self._redis.hgetall, SWITCHES)
        if answer is None:
            return None
        return {name.decode(): _switched_on(entry.decode()) for name, entry in answer.items()}

    def set_switch(self, company: str, name: str, on: bool, by: str) -> bool:
        """Put a day/night switch on or off for every controller; ``by`` says who did it (100 characters are kept).

        Whether it is kept.  False: Redis is away, and may or may not have done it; to ask again does no harm.
        """
        field, who = f"{company}/{name}", by[:100].encode("utf-8", "replace")
        if on:
            return self._do(self._switch_on, [SWITCHES], [field, who]) is not None
        return self._do(self._redis.hdel, SWITCHES, field) is not None

    # ---------------------------------------------------------------------------------------------------

    def _do(self, command: Any, *arguments: Any) -> Any:
        """The answer, or None: Redis is away, or refuses (full, read-only, loading: the same to a call)."""
        try:
            answer = command(*arguments)
        except (redis.RedisError, OSError) as error:
            if self.available:
                _log().warning("Redis is away", error=f"{type(error).__name__}: {error}"[:200])
            self.available = False
            return None
        if not self.available:
            _log().info("Redis is back")
        self.available = True
        return answer


def _damaged(error: redis.ResponseError) -> bool:
    """Whether a script stopped because of what it read, and not because Redis is full, read-only, loading …"""
    text = str(error)
    code = text.partition(" ")[0]
    return type(error) is redis.ResponseError and "user_script" in text and (code == "WRONGTYPE" or not code.isupper())


def _legs_of(switch: str) -> str:
    return f"cordboard:out-legs:{switch}"


def _switched_on(entry: str) -> SwitchedOn:
    """An entry of the day/night switches; one that somebody wrote by hand is on as well."""
    at, _, by = entry.partition(" ")
    try:
        return SwitchedOn(by, float(at))
    except ValueError:
        return SwitchedOn(entry, 0.0)


def _operations(lines: bytes) -> list[bytes]:
    """Lines of a file as the shipping script wants them; each part ends its line.

    Most facts change nothing here and are neither split nor parsed: at 60 calls a second of twenty facts each
    that would cost as much as writing them.
    """
    parts: list[bytes] = []
    done = 0
    for start, end in _notable(lines):
        if start > done:
            parts += _plain(lines[done:start])
        parts += _operation(lines[start:end])
        done = end + 1
    if done < len(lines):
        parts += _plain(lines[done:])
    return parts


def _plain(lines: bytes) -> tuple[bytes, bytes]:
    """Facts that change nothing here."""
    lines = lines if lines.endswith(b"\n") else lines + b"\n"
    return b"F\n%d\n" % lines.count(b"\n"), lines


def _notable(lines: bytes) -> list[tuple[int, int]]:
    """Where the lines are that may change something here, in order."""
    found = set()
    for mark in (
        b'"type":"call.',
        b'"n":-',
    ):  # as FactFile writes them; text inside a fact has its quotes escaped
        at = lines.find(mark)
        while at >= 0:
            end = lines.find(b"\n", at)
            end = len(lines) if end < 0 else end
            found.add((lines.rfind(b"\n", 0, at) + 1, end))
            at = lines.find(mark, end)
    return sorted(found)


def _operation(line: bytes) -> tuple[bytes, ...]:
    """One line, parsed."""
    try:
        fact = json.loads(line)
        type_, call, n = fact["type"], fact["call"], int(fact["n"])
        epoch, switch = int(fact["epoch"]), str(fact["switch"])
        names = call.encode() + b"\n" + switch.encode()  # half a character of two cannot be said
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return _plain(line)
    if names.count(b"\n") > 1:
        return _plain(line)
    if type_ in ("call.placed", "call.started", "call.taken_over"):
        live = {"company": fact.get("company"), "at": fact.get("at"), "epoch": epoch}
        data = fact.get("data")
        if isinstance(data, dict) and "to" in data:
            person = data.get("person")  # for whom it was placed
            own = data.get("extension", person)
            live |= {"from": data.get("from", person), "to": data["to"], "extension": own, "since": fact.get("at")}
        known = json.dumps(live, separators=(",", ":")).encode()
        return (b"S\n%b\n%b\n%d\n%b\n" % (line, names, epoch, known),)
    if type_ == "call.ended":
        return (b"E\n%b\n%b\n" % (line, names),)
    return (b"O\n%b\n%b\n" % (line, call.encode()),) if n < 0 else _plain(line)


def _log() -> Any:
    return structlog.get_logger("switchboard")
