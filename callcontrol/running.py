"""What every controller of every machine runs, told in Redis: by each of itself, and asked by ``cordboard versions``.

==================================  =======================================================================
``cordboard:running``               sorted set: process → when it last told, by Redis's clock
``cordboard:running:<process>``     what it told: a :class:`Report`, for :data:`LASTS` seconds
``cordboard:running-map:<digest>``  company → version, for as long as some process tells this digest
==================================  =======================================================================

The surprise: a thousand companies are one digest.  What a process has loaded is sent once by whoever has it first and
then only named, so that eight processes tell some hundred bytes every few seconds, whatever they serve.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import redis

from callcontrol.outcomes import is_running
from callcontrol.processes import release
from callcontrol.routing.packing import program
from callcontrol.switchboard import Switchboard, connect
from callcontrol.versions import are_versions

#: How often a process tells, and for how long that is believed, seconds.
EVERY = 5.0
LASTS = 20
#: Processes that are told of at most: whoever writes into Redis could invent any number.
MOST = 1000

_ALL = "cordboard:running"
_ONE = "cordboard:running:"
_MAP = "cordboard:running-map:"

# ARGV process, report, digest, seconds that it lasts.  Answers 1 if somebody must still send what the digest means.
_TELL = f"""
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', '{_ALL}', now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', '{_ALL}', '-inf', '(' .. (now - tonumber(ARGV[4])))
redis.call('SET', '{_ONE}' .. ARGV[1], ARGV[2], 'EX', ARGV[4])
return 1 - redis.call('EXPIRE', '{_MAP}' .. ARGV[3], tonumber(ARGV[4]) * 3)
"""
# ARGV digest, map, seconds.
_SEND = f"return redis.call('SET', '{_MAP}' .. ARGV[1], ARGV[2], 'EX', tonumber(ARGV[3]) * 3)"
# ARGV process.
_FORGET = f"redis.call('ZREM', '{_ALL}', ARGV[1]) return redis.call('DEL', '{_ONE}' .. ARGV[1])"


@dataclass(frozen=True, slots=True)
class Report:
    """What a process runs.

    ``node``: its machine; ``state``: the directory whose publications it follows; ``serial``: up to which of them;
    ``since``: when it began to (UTC epoch); ``program`` and ``release``: what it was started with; ``versions``: what
    it really has loaded, None if that cannot be told.
    """

    process: str
    node: str
    state: str
    switches: Sequence[str]
    serial: int
    digest: str
    program: str
    release: str
    since: float
    versions: Mapping[str, str] | None = field(default=None, compare=False)


class Running:
    """This process's telling of itself."""

    def __init__(self, board: Switchboard, process: str, state: Path) -> None:
        self._process = process
        self._state = str(state)
        self._node = os.uname().nodename
        self._program, self._release = program(), release()  # now: the files on disk may be replaced while we run
        self._since = time.time()
        self._serial = -1
        self._tell = board.script(_TELL)
        self._send = board.script(_SEND)
        self._forget = board.script(_FORGET)

    def report(self, serial: int, versions: Mapping[str, str], switches: Sequence[str]) -> None:
        """Tell what is loaded.  Raises nothing: while Redis is away nobody is told."""
        if serial != self._serial:
            self._serial, self._since = serial, time.time()
        digest = digest_of(versions)
        report = Report(
            self._process,
            self._node,
            self._state,
            list(switches),
            serial,
            digest,
            self._program,
            self._release,
            round(self._since, 3),
        )
        data = asdict(report)
        del data["versions"]
        if self._tell([self._process, json.dumps(data), digest, LASTS]):
            self._send([digest, json.dumps(versions), LASTS])

    def forget(self) -> None:
        """This process takes no more calls."""
        self._forget([self._process])


def digest_of(versions: Mapping[str, str]) -> str:
    """The name of what a process has loaded."""
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:16]


def reports(url: str) -> list[Report] | None:
    """What every living process told, by machine; None: Redis cannot be asked.  Raises ValueError for no address."""
    client = connect(url, name="cordboard-versions", patience=2.0)
    try:
        now = int(client.time()[0])
        names = client.zrangebyscore(_ALL, now - LASTS, "+inf", start=0, num=MOST)
        told = client.mget([_ONE + _text(name) for name in names]) if names else []
        found = [report for raw in told if (report := _report(raw)) is not None]
        digests = sorted({report.digest for report in found})
        maps = dict(zip(digests, client.mget([_MAP + digest for digest in digests]) if digests else [], strict=True))
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()
    whole = [Report(**{**asdict(report), "versions": _versions(maps[report.digest])}) for report in found]
    return sorted(whole, key=lambda report: (report.node, report.process))


def living(found: Sequence[Report], state: Path) -> list[Report]:
    """Without those of this machine with this STATE that run no more: who was killed took no report back."""
    here = os.uname().nodename
    return [one for one in found if (one.node, one.state) != (here, str(state)) or is_running(one.process)]


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


def _report(raw: Any) -> Report | None:
    """What a process told; None for anything else that stands there."""
    texts = ("process", "node", "state", "digest", "program", "release")
    try:
        data = json.loads(raw)
        known = {one.name: data[one.name] for one in fields(Report) if one.name != "versions"}
        fine = (
            all(isinstance(known[name], str) and len(known[name]) <= 4096 for name in texts)
            and re.fullmatch(r"[0-9a-f]{16}", known["digest"])
            and isinstance(known["switches"], list)
            and all(isinstance(name, str) for name in known["switches"])
            and type(known["serial"]) is int
            and type(known["since"]) in (int, float)
        )
        return Report(**known) if fine else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _versions(raw: Any) -> dict[str, str] | None:
    """What a digest means; None for anything else that stands there."""
    try:
        found = json.loads(raw)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) and are_versions(found) else None
