"""A stand-in switch: speaks real Event Socket bytes over TCP, needs no telephone network.

    with Switch([("127.0.0.1", 8084)], password="secret") as switch:
        switch.phone("301", Answers(after=2, talk=30))
        caller = switch.call("+74950000001", "+74951234567", name="Ivan Petrov")
        caller.wait("heard:welcome.wav")
        caller.press("1")
        caller.wait("talking")
        print(caller.story())

Product code: the demo, the tests and the benches all use it.  It imports nothing of `callcontrol`, agrees
with the transcripts in `tests/traces`, and follows FreeSWITCH's source where they are silent; `channel`
says where that surprises.
"""

from freeswitch.simulator.phones import (
    Answers,
    Behaviour,
    Busy,
    Caller,
    Does,
    Entry,
    Gateway,
    NeverAnswers,
    Phone,
    Refuses,
    Rejects,
    Ring,
    Silent,
    Unregistered,
)
from freeswitch.simulator.switch import Dialplan, Switch, shipped_dialplan

__all__ = [
    "Answers",
    "Behaviour",
    "Busy",
    "Caller",
    "Dialplan",
    "Does",
    "Entry",
    "Gateway",
    "NeverAnswers",
    "Phone",
    "Refuses",
    "Rejects",
    "Ring",
    "Silent",
    "Switch",
    "Unregistered",
    "shipped_dialplan",
]
