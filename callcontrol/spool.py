"""The names of files in the spool: what a recording is called, and what its name says.

Whoever finds a file there must know whose it is although everything else is lost: so the name carries company, call,
leg and segment.  Pure: no file is touched here.

=============================================  ==================================================================
``acme_<call>_m1.wav``                         the first message that a caller left in a call
``acme_<call>_<leg>_s2.wav``                   the second segment of a call's talks, with this leg
=============================================  ==================================================================

Companies have no underscore, calls and legs are UUIDs: so names are read back without a doubt.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_NAME = re.compile(
    r"(?P<company>[a-z][a-z0-9-]{0,30})_(?P<call>[0-9A-Za-z-]{1,64})_"
    r"(?:m(?P<message>[0-9]{1,6})|(?P<leg>[0-9A-Za-z-]{1,64})_s(?P<segment>[0-9]{1,6}))\.wav"
)


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """What a name says.  ``kind``: ``message`` or ``talk``; ``number``: of the message, or of the segment, from 1."""

    company: str
    call: str
    kind: str
    number: int
    leg: str | None = None

    @property
    def name(self) -> str:
        """The name itself."""
        end = f"m{self.number}" if self.leg is None else f"{self.leg}_s{self.number}"
        return f"{self.company}_{self.call}_{end}.wav"

    @property
    def recording(self) -> str:
        """The id of the recording that the file belongs to: each message is one, all talks of a call are one."""
        what = f"m{self.number}" if self.kind == "message" else "talk"
        return "rec_" + hashlib.sha256(f"{self.company}/{self.call}/{what}".encode()).hexdigest()[:24]


def message_file(company: str, call: str, number: int) -> SpoolFile:
    """The file of a caller's message."""
    return SpoolFile(company, call, "message", number)


def segment_file(company: str, call: str, leg: str, number: int) -> SpoolFile:
    """The file of a segment of a call's talks."""
    return SpoolFile(company, call, "talk", number, leg)


def read_name(name: str) -> SpoolFile | None:
    """What a file's name says; None: it is no recording of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found["message"]:
        return message_file(found["company"], found["call"], int(found["message"]))
    return segment_file(found["company"], found["call"], found["leg"], int(found["segment"]))
