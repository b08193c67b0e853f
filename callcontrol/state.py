"""A call's checkpoint: everything another controller needs, as one channel variable.

``cordboard_state`` is base64url (RFC 4648 §5, no padding) of a JSON array, 512 bytes at most because every
event of the channel repeats it.  An array and not an object: names would cost a quarter of the room.
What the channel itself knows (the caller, whether it is answered) and what the routing says (a number's
``set``) is not stored again.

The surprise: this text comes back from a switch, so it is hostile until :func:`decode` has typed it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

#: The layout of the array; a controller that meets another one starts the flow again and says so.
FORMAT = 1
#: Bytes of base64 at most.
LONGEST = 512


class StateError(ValueError):
    """A checkpoint that cannot be read; ``str()`` says why."""


@dataclass(slots=True)
class State:
    """One checkpoint.  Times are UTC epochs in whole seconds."""

    company: str
    version: str
    called: str
    epoch: int
    began: int
    flow: str
    step: str
    stack: tuple[tuple[str, str], ...] = ()
    progress: dict[str, Any] = field(default_factory=dict)
    language: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    ring_number: int = 0
    #: Whom the call was joined with: address, since when, number of the round of ringing.
    talk: tuple[str, int, int] | None = None


def encode(state: State) -> str:
    """The text to store.  Raises StateError past 512 bytes, which ``check`` has ruled out."""
    stack = [name for frame in state.stack for name in frame]
    fields = [
        FORMAT,
        state.epoch,
        state.company,
        state.version,
        state.called,
        state.began,
        state.flow,
        state.step,
        stack,
        state.progress,
        state.language,
        state.variables,
        state.ring_number,
        list(state.talk) if state.talk else 0,
    ]
    raw = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    if len(text) > LONGEST:
        raise StateError(f"the checkpoint would have {len(text)} bytes, more than {LONGEST}")
    return text


def decode(text: str) -> State:
    """Read a checkpoint.  Raises StateError for anything that :func:`encode` did not write."""
    if len(text) > LONGEST:
        raise StateError(f"the checkpoint has {len(text)} bytes, more than {LONGEST}")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        fields = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise StateError(f"the checkpoint cannot be read: {error}") from None
    if not isinstance(fields, list) or not fields:
        raise StateError("the checkpoint is not a list")
    if fields[0] != FORMAT:
        raise StateError(f"the checkpoint has format {fields[0]!r}, this controller reads {FORMAT}")
    if len(fields) != 14:
        raise StateError(f"the checkpoint has {len(fields)} fields, not 14")
    _, epoch, company, version, called, began, flow, step, stack, progress, language, values, ring, talk = fields
    if not all(isinstance(text, str) for text in (company, version, called, flow, step, language)):
        raise StateError("a name in the checkpoint is no text")
    if not all(type(number) is int and 0 <= number < 2**40 for number in (epoch, began, ring)):
        raise StateError("a number in the checkpoint is no whole number")
    if not isinstance(stack, list) or len(stack) % 2 or not all(isinstance(name, str) for name in stack):
        raise StateError("the checkpoint's stack is broken")
    if not isinstance(progress, dict) or not all(type(v) in (int, float, str) for v in progress.values()):
        raise StateError("the checkpoint's progress is broken")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise StateError("the checkpoint's variables are broken")
    if talk != 0 and not (
        isinstance(talk, list) and [type(part) for part in talk] == [str, int, int] and len(talk[0]) < 64
    ):
        raise StateError("the checkpoint's talk is broken")
    return State(
        company=company,
        version=version,
        called=called,
        epoch=epoch,
        began=began,
        flow=flow,
        step=step,
        stack=tuple(zip(stack[::2], stack[1::2], strict=True)),
        progress=progress,
        language=language,
        variables=values,
        ring_number=ring,
        talk=(talk[0], talk[1], talk[2]) if talk else None,
    )
