"""How a telephone is rung: what it shows, what is heard and confirmed there, and by which way out.

Decides, for one telephone at one moment of a call, everything that :class:`RingLeg` says; rings nothing.  Whether a
number may be called at all is for ``policy``, asked here each time, since a version may have been published before
the policy changed.  The surprise: a telephone that may not be rung is a value (:class:`Barred`) with the result
that it counts as, so that a hunt goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol import policy
from callcontrol.messages import Phone, RingLeg, Sound
from callcontrol.phrases import phrase
from callcontrol.routing.model import Person, Prompt, Target, typed_by_callers
from callcontrol.view import View

#: Refusals that say nothing of the number itself: there is no way to it, or it is none.
_NO_WAY = frozenset({"no_trunk", "not_a_number", "no_such_number"})
#: What a caller says of themselves, and dials: as good as typed.
_SAID = frozenset({"caller", "called"})


@dataclass(frozen=True, slots=True)
class Way:
    """A telephone and how it is rung."""

    phone: Phone
    whisper: Sound | None = None
    confirm: Sound | None = None
    shown: str = ""
    name: str = ""
    trunks: tuple[str, ...] = ()
    caps: tuple[tuple[str, int], ...] = ()

    @property
    def screened(self) -> bool:
        """Whether something is heard or asked before it may be joined."""
        return self.whisper is not None or self.confirm is not None

    def ring(self, leg: str, seconds: float) -> RingLeg:
        """The command that rings it."""
        return RingLeg(
            leg,
            self.phone,
            seconds,
            whisper=self.whisper,
            confirm=self.confirm,
            shown=self.shown,
            name=self.name,
            trunks=self.trunks,
            caps=self.caps,
        )


@dataclass(frozen=True, slots=True)
class Barred:
    """A telephone that is not rung: ``result`` is an outcome of ``dial``, ``reason`` a word, ``why`` for people."""

    phone: Phone
    result: str
    reason: str
    why: str


def phones_of(call: View, extension: str, whisper: Prompt | None = None) -> list[Way | Barred]:
    """A person's telephones: the SIP phone of the extension, then the numbers under ``phones``."""
    person = call.routing.people[extension]
    desk = Way(Phone(extension, extension), _whisper(call, person, whisper), None, _inside(call, person), _name(call))
    return [desk, *(outside_phone(call, person, number, whisper) for number in person.phones)]


def outside_phone(call: View, person: Person, number: str, whisper: Prompt | None = None) -> Way | Barred:
    """A number outside at which ``person`` is called: it must press 1, unless they say otherwise."""
    caps = ((f"{call.routing.company}/{person.extension}", person.max_calls),)
    shown = {"caller": call.caller or "", "company": "", None: ""}.get(person.show, person.show or "")
    question = phrase("confirm", person.language or call.routing.languages[0]) if person.confirm else None
    phone = Phone(person.extension, number, outside=True)
    return _out(call, phone, number, _whisper(call, person, whisper), question, shown, caps)


def number(
    call: View,
    dialled: str,
    *,
    confirm: bool,
    whisper: Prompt | None = None,
    by: Person | None = None,
    emergency: bool = False,
) -> Way | Barred:
    """A number that is nobody's phone; ``by`` is whose phone dialled it, if one did."""
    question = phrase("confirm", call.routing.languages[0]) if confirm else None
    caps = ((f"{call.routing.company}/{by.extension}", by.max_calls),) if by else ()
    heard = call.sound(whisper) if whisper else None
    phone = Phone("", dialled, outside=True)
    return _out(call, phone, dialled, heard, question, "", caps, emergency=emergency)


def target(call: View, wanted: Target, *, confirm: bool, whisper: Prompt | None = None) -> Way | Barred:
    """A number in a flow, or a variable that holds no person: a number only if no caller chose it."""
    dialled = wanted.number
    if dialled is None:
        name = wanted.variable or ""
        dialled = call.get(name).strip()
        if name in _SAID or name in typed_by_callers(call.routing):
            phone = Phone("", dialled[:32], outside=True)
            return Barred(phone, "unreachable", "not_an_extension", "a caller may dial extensions only")
    return number(call, dialled, confirm=confirm, whisper=whisper)


def _out(
    call: View,
    phone: Phone,
    dialled: str,
    whisper: Sound | None,
    confirm: Sound | None,
    shown: str,
    caps: tuple[tuple[str, int | None], ...],
    *,
    emergency: bool = False,
) -> Way | Barred:
    routing = call.routing
    found = policy.decide(routing.outbound, routing.country, dialled, emergency=emergency)
    if isinstance(found, policy.Refused):
        result = "unreachable" if found.reason in _NO_WAY else "refused"
        return Barred(phone, result, found.reason, found.why)
    if found.number in routing.numbers:  # it would come in again, and be forwarded again
        why = f"{found.number} is the company's own number: it is not called through a trunk"
        return Barred(phone, "unreachable", "own_number", why)
    most = ((routing.company, routing.outbound.get("max_calls")), *caps)
    if policy.e164(shown, "") != shown:  # what a carrier says of a caller may be no number at all
        shown = found.caller_id or _own_number(call)
    return Way(
        Phone(phone.person, found.number, outside=True),
        whisper,
        confirm,
        shown,
        "",
        found.trunks,
        () if found.emergency else tuple((name, limit) for name, limit in most if limit is not None),
    )


def _whisper(call: View, person: Person, whisper: Prompt | None) -> Sound | None:
    prompt = whisper or person.whisper
    return call.sound(prompt, person.language) if prompt else None


def _inside(call: View, person: Person) -> str:
    """What a phone of ours shows: who calls, unless the person wants to see something else."""
    if person.show == "company":
        return _own_number(call)
    return person.show if person.show and person.show != "caller" else call.caller or "anonymous"


def _own_number(call: View) -> str:
    """The company's number for this call: the one that was called, or its first if a phone of ours dialled another."""
    numbers = call.routing.numbers
    return call.called if call.called in numbers else next(iter(numbers), "")


def _name(call: View) -> str:
    """The name of a colleague who calls; nobody else's is trusted."""
    person = call.routing.people.get(call.extension or "")
    return person.name if person else ""
