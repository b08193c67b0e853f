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
import re
from dataclasses import dataclass, field
from typing import Any

#: The layout of the array; a controller that meets another one starts the flow again and says so.
FORMAT = 1
#: Bytes of base64 at most.
LONGEST = 512

#: What a company, a version and a number may look like; "" is the company of a number that nobody owns.
_COMPANY = re.compile(r"(?:[a-z][a-z0-9-]{0,30})?")
_VERSION = re.compile(r"[0-9a-f]{0,64}")
_CALLED = re.compile(r"\+?[0-9*#]{0,32}")


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
    #: Whether the caller has heard that the call may be recorded.
    announced: bool = False


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
    if state.announced:  # at the end, and only then: who does not know of it reads the others as before
        fields.append(1)
    raw = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    if len(text) > LONGEST:
        raise StateError(f"the checkpoint would have {len(text)} bytes, more than {LONGEST}")
    return text


def _shown(text: object) -> bool:
    """Whether it is text of characters that can be shown: no control characters, no half of a pair."""
    return isinstance(text, str) and text.isprintable()


def _small(value: object) -> bool:
    """Whether it is a number of a sensible size, or a text that can be shown."""
    return _shown(value) or (type(value) is int and abs(value) < 2**40)


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
    if len(fields) not in (14, 15):
        raise StateError(f"the checkpoint has {len(fields)} fields, not 14 or 15")
    _, epoch, company, version, called, began, flow, step, stack, progress, language, values, ring, talk = fields[:14]
    if fields[14:] not in ([], [1]):
        raise StateError("what the checkpoint says of an announcement is not known")
    if not all(isinstance(text, str) for text in (company, version, called, flow, step, language)):
        raise StateError("a name in the checkpoint is no text")
    if not _COMPANY.fullmatch(company) or not _VERSION.fullmatch(version) or not _CALLED.fullmatch(called):
        raise StateError("the checkpoint's company, version or number is none")
    if not all(text.isprintable() for text in (flow, step, language)):
        raise StateError("a name in the checkpoint cannot be shown")
    if not all(type(number) is int and 0 <= number < 2**40 for number in (epoch, began, ring)):
        raise StateError("a number in the checkpoint is no whole number")
    if not isinstance(stack, list) or len(stack) % 2 or not all(_shown(name) for name in stack):
        raise StateError("the checkpoint's stack is broken")
    if not isinstance(progress, dict) or not all(_small(value) for value in progress.values()):
        raise StateError("the checkpoint's progress is broken")
    if not isinstance(values, dict) or not all(_shown(name) and _shown(value) for name, value in values.items()):
        raise StateError("the checkpoint's variables are broken")
    if talk != 0 and not (
        isinstance(talk, list)
        and [type(part) for part in talk] == [str, int, int]
        and len(talk[0]) < 64
        and all(_small(part) for part in talk)
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
        announced=len(fields) > 14,
    )
