"""The verbs of the routing language: one class each, found by name in :data:`VERBS`.

A verb enters this closed table by hand; nothing that an operator writes is ever looked up with ``getattr``.
"""

from __future__ import annotations

from callcontrol.steps.base import Step
from callcontrol.steps.caller import Caller
from callcontrol.steps.collect import Collect
from callcontrol.steps.dial import Dial
from callcontrol.steps.flow import FlowStep
from callcontrol.steps.hangup import HangupStep
from callcontrol.steps.hours import HoursStep
from callcontrol.steps.lookup import Lookup
from callcontrol.steps.menu import Menu
from callcontrol.steps.play import Play
from callcontrol.steps.queue import Queue
from callcontrol.steps.set import Set
from callcontrol.steps.voicemail import Voicemail

VERBS: dict[str, type[Step]] = {
    step.verb: step
    for step in (
        Caller,
        HoursStep,
        Menu,
        Collect,
        Set,
        Lookup,
        Dial,
        Queue,
        Play,
        Voicemail,
        FlowStep,
        HangupStep,
    )
}

#: Verbs that are reserved for later versions of the language.
RESERVED_VERBS = [
    "callback",
    "split",
    "match",
    "conference",
    "mailbox",
    "page",
    "directory",
    "disa",
    "park",
    "receive_fax",
]
