"""What of Redis is in a backup, as JSON: what agents are up to, switches that are on, facts that nobody has read yet.

Not Redis's own DUMP, which only the same version reads again: values by their types.  Left out is what only has a
meaning among running processes: commands and answers, leases, who is to be woken.  What is known of live calls is kept:
on the machine that comes after there are no such calls, so controllers find that out and give each its one end.

The surprise: the facts of the stream and how far each file was shipped are read in one transaction, after the journal.
So whatever the journal does not have is in the stream's part or still in a file, and what is in both is taken once.
"""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import redis as redis_py

from callcontrol.switchboard import STREAM

_OURS = "cordboard:*"
_NOT = (
    "cordboard:commands:*",
    "cordboard:answers:*",
    "cordboard:no-more:*",
    "cordboard:wake:*",
    "cordboard:work:*",
    "cordboard:reconciler:*",
    "cordboard:directory:*",
    "cordboard:running",
    "cordboard:running:*",
    "cordboard:running-map:*",
    "cordboard:queue-sweeper",
    "cordboard:queue-processes",
    "cordboard:queue:*:done:*",
    "cordboard:web:*",
)
#: Keys that one transaction writes.
_MOST = 5_000_000


class KeysError(Exception):
    """What is to be restored cannot be; ``str()`` says why."""


def save(redis: Any, position: str) -> bytes:
    """The keys.  ``position``: of the journal in the stream.  Raises redis.RedisError."""
    names = sorted({bytes(key) for key in redis.scan_iter(match=_OURS, count=1000)})
    wanted = [key for key in names if not any(fnmatch.fnmatchcase(key.decode("latin-1"), one) for one in _NOT)]
    kinds = [kind.decode() for kind in _many(redis, [("type", key) for key in wanted])]
    asked: list[tuple[Any, ...]] = []
    for key, kind in zip(wanted, kinds, strict=True):
        asked.append(("pttl", key))
        asked.append(_reading(key, kind, position))
    answers = _many(redis, asked, transaction=True)
    found = []
    for number, (key, kind) in enumerate(zip(wanted, kinds, strict=True)):
        value = _plain(kind, answers[2 * number + 1])
        if value:
            found.append({"key": _text(key), "type": kind, "ttl": max(0, answers[2 * number]), "value": value})
    return json.dumps(found).encode()


def load(redis: Any, data: bytes) -> int:
    """Write the keys, all or none; how many.  Raises KeysError, redis.RedisError."""
    try:
        entries = json.loads(data)
        commands = [one for entry in entries for one in _writing(entry)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeysError(f"what is kept of Redis cannot be read: {error!r}"[:200]) from None
    if len(commands) > _MOST:
        raise KeysError("what is kept of Redis is too much to be true")
    if commands:
        refuse(redis)
        try:
            _many(redis, commands, transaction=True)
        except redis_py.ResponseError as error:  # Redis has done the others of the transaction all the same
            unload(redis, data)
            raise KeysError(f"Redis does not take what is kept of it: {error}"[:200]) from None
    return len(entries)


def refuse(redis: Any) -> None:
    """Raises KeysError if there are keys of ours, redis.RedisError.  ``redis`` None: there are none."""
    if redis is not None and any(True for _ in redis.scan_iter(match=_OURS, count=1000)):
        raise KeysError("Redis has keys of a Cordboard already: restore into one that is empty, or other, with --redis")


def unload(redis: Any, data: bytes) -> None:
    """Take back what :func:`load` has written where there was nothing.  Raises redis.RedisError."""
    keys = [("del", _bytes(entry["key"])) for entry in json.loads(data)]
    _many(redis, keys)


def _reading(key: bytes, kind: str, position: str) -> tuple[Any, ...]:
    if kind == "stream":
        return ("xrange", key, position if key == STREAM.encode() else "-", "+")
    return {
        "string": ("get", key),
        "hash": ("hgetall", key),
        "set": ("smembers", key),
        "list": ("lrange", key, 0, -1),
        "zset": ("zrange", key, 0, -1, "WITHSCORES"),
    }.get(kind, ("exists", key))


def _plain(kind: str, value: Any) -> Any:
    if kind == "string":
        return None if value is None else _text(value)
    if kind == "hash":
        return {_text(name): _text(one) for name, one in _pairs(value)}
    if kind in ("set", "list"):
        return [_text(one) for one in (sorted(value) if kind == "set" else value)]
    if kind == "zset":
        flat = [part for one in value for part in one] if value and isinstance(value[0], (list, tuple)) else value
        return [[_text(member), _score(score)] for member, score in zip(flat[::2], flat[1::2], strict=True)]
    if kind == "stream":
        return [[_text(id_), {_text(name): _text(one) for name, one in _pairs(fields)}] for id_, fields in value]
    return None


def _writing(entry: dict[str, Any]) -> list[tuple[Any, ...]]:
    key, kind, value = _bytes(entry["key"]), entry["type"], entry["value"]
    if not key.startswith(b"cordboard:"):
        raise ValueError("a key that is not ours")
    flat: list[tuple[Any, ...]]
    if kind == "string":
        flat = [("set", key, _bytes(value))]
    elif kind == "hash":
        flat = [("hset", key, *(part for name, one in value.items() for part in (_bytes(name), _bytes(one))))]
    elif kind == "set":
        flat = [("sadd", key, *map(_bytes, value))]
    elif kind == "list":
        flat = [("rpush", key, *map(_bytes, value))]
    elif kind == "zset":
        flat = [("zadd", key, *(part for member, score in value for part in (score, _bytes(member))))]
    elif kind == "stream":
        flat = [
            ("xadd", key, _bytes(id_), *(part for name, one in fields.items() for part in (_bytes(name), _bytes(one))))
            for id_, fields in value
        ]
    else:
        raise ValueError("a kind of value that is none")
    if entry["ttl"]:
        flat.append(("pexpire", key, int(entry["ttl"])))
    return flat


def _many(redis: Any, commands: list[tuple[Any, ...]], *, transaction: bool = False) -> list[Any]:
    if not commands:
        return []
    pipe = redis.pipeline(transaction=transaction)
    for command in commands:
        pipe.execute_command(*command)
    return list(pipe.execute())


def _pairs(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else zip(value[::2], value[1::2], strict=True)


def _score(score: Any) -> float:
    return float(score)


def _text(data: Any) -> str:
    """Bytes as a text that JSON can hold, one character each."""
    return bytes(data).decode("latin-1") if isinstance(data, (bytes, bytearray)) else str(data)


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
