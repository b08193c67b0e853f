"""Toll fraud: what callers, phones of our own, operators and CRMs may say, and what is rung because of it.

Each test is an attack that worked, or one that must never work.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

import gevent
import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol import policy, wire
from callcontrol.ringing import Line
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Person, Place
from callcontrol.session import typed_called, typed_caller
from callcontrol.settings import Config, SwitchAddress, Trunk
from tests.playbook import CALL, Playbook, routing

MOBILE = "+79161112233"
OWN = "+74951234567"
HEAD = f"""\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "{OWN}": {{flow: main}}
people:
  301: {{name: Anna, phones: ["{MOBILE}"], show: caller}}
outbound: {{trunk: carrier-a, allow: [RU]}}
"""


@pytest.mark.parametrize(
    "said", ["03012345678", "+03012345678", "+12", "+1*#", "+9991234567", "12345678901234567890", "+", "*#", "911"]
)
def test_a_caller_whose_number_is_none_still_gets_through_to_a_person_who_sees_the_callers(said: str) -> None:
    """It was to be written as the trunk writes numbers, and could not be: each controller in turn dropped the call."""
    book = Playbook(routing("main:\n  it: {dial: 301, otherwise: hangup}", HEAD), caller=typed_caller(said))
    shown = book.rung[MOBILE].shown
    assert shown == OWN
    assert policy.written(shown, "national", "RU") == "84951234567"


def test_a_caller_with_a_number_is_shown() -> None:
    assert (
        Playbook(routing("main:\n  it: {dial: 301, otherwise: hangup}", HEAD), caller="+393331234567")
        .rung[MOBILE]
        .shown
        == "+393331234567"
    )


def test_the_number_that_a_caller_says_to_call_from_is_not_dialled() -> None:
    """Whoever sends a number of their choice had the company call it, and talked with it at its expense."""
    flow = 'main:\n  it: {dial: "{caller}", otherwise: no}\n  no: {hangup: busy}'
    Playbook(routing(flow, HEAD), caller="+79991234567").then("hangup busy")
    Playbook(routing(flow, HEAD), caller="301").then(
        "ringback", "ring 301 30s", f"ring {MOBILE} 30s (A call for you. To take it, press 1.)"
    )


def test_nor_the_number_that_they_called() -> None:
    """It is the company's own, and came in again through the trunk, without end."""
    flow = 'main:\n  it: {dial: "{called}", otherwise: no}\n  no: {hangup: busy}'
    Playbook(routing(flow, HEAD)).then("hangup busy")


def test_a_company_does_not_call_itself_through_a_trunk() -> None:
    """It came in again, was forwarded again, and took every line there was."""
    flow = """\
main:
  who: {lookup: "https://crm.test/x", into: [to], then: it, otherwise: no}
  it: {dial: "{to}", otherwise: no}
  no: {hangup: busy}"""
    book = Playbook(routing(flow, HEAD))
    book.happens(m.LookedUp(book.asked, "then", {"to": "8 495 123-45-67"}))
    assert book.rung == {}
    assert [fact["cause"] for fact in book.told("leg.result")] == ["OWN_NUMBER"]


def test_and_check_says_so() -> None:
    head = HEAD.replace("show: caller", f'forward: {{busy: "{OWN}"}}')
    loaded = load_text(head + "flows:\n  main: {it: {dial: 301, otherwise: hangup}}\n", path="f", company="test")
    assert [found.code for found in loaded.problems if found.severity == "error"] == ["E507"]


# ------------------------------------------------------------------------------------------- any routing, any text

TRUNKS = {
    "carrier-a": Trunk("carrier-a", "gw-a", max_calls=3),
    "carrier-b": Trunk("carrier-b", "gw-b", format="plain"),
    "carrier-c": Trunk("carrier-c", "gw-c", format="national", country="RU"),
}
#: Numbers of every kind, among them many that must not be dialled.
KNOWN = [
    *(MOBILE, "+393331234567", "+442071234567", "+12127365000", "+74951234567", "89161112233", "84951234567"),
    *("+78095001234", "+79401234567", "+79541234567", "+12644971234", "+77012345678", "+448451234567", "+19005551234"),
    *("+881612345678", "+870773111632", "+882165555123", "+979123456789", "+80012345678", "+16002001234"),
    *("112", "101", "102", "911", "999", "0112", "+112", "118500", "8112", "301", "302", "303", "*21", "*77", "0", ""),
    *("810442071234567", "81012644971234", "8109795551234", "0044207123456"),
]
HOSTILE = [
    *("+79161112233,sofia/gateway/gw-b/+19005551234", "+79161112233|+79161112244", "+79161112233:_:user/301@x"),
    *("[leg_timeout=1]+79161112233", "{x=y}+79161112233", "${system(id)}", "$${x}", "+7916${x}1112233"),
    *("+79161112233\nbgapi system id", "+79161112233\r\n\r\nexit", "301@other.cordboard.test", "user/301", "&park()"),
    *(
        "anna@acme.test",
        "ANNA@ACME.TEST",
        "+7916111\u00a02233",
        "\uff0b79161112233",
        "8916111223\u0663",
        "' park inline",
    ),
]
texts = st.one_of(
    st.sampled_from(KNOWN + HOSTILE),
    st.text("0123456789+*#", max_size=16),
    st.tuples(st.sampled_from(KNOWN), st.text("0123456789+-() .,;", max_size=4)).map("".join),
    st.text(max_size=12),
)
#: What ``lookups.py`` lets through.
answers = (st.sampled_from(["112", "101", "118500", MOBILE]) | texts).filter(
    lambda text: text.isprintable() and len(text.encode("utf-8", "replace")) <= 64
)
callers = st.sampled_from(["03012345678", "+12", "+1*#", "+9991234567", "301", None]) | texts
dialled = st.sampled_from(["301", "302", "112", "101", "*77", "84951234567"]) | texts
numbers = st.sampled_from([MOBILE, "+79261112233", "+393331234567", "+442071234567", "+78095001234", "+12644971234"])
forwards = st.dictionaries(
    st.sampled_from(["always", "busy", "no_answer", "unreachable", "otherwise"]),
    st.one_of(numbers, st.sampled_from(["301", "302", "303", "mobile", "voicemail"])).map(
        lambda to: {"to": to, "after": 20.0}
    ),
    max_size=3,
)


@st.composite
def people(draw: st.DrawFn) -> dict[str, Person]:
    return {
        extension: Person(
            extension,
            draw(st.sampled_from(["Anna", "O'Brien, {x=y}", "\u0410\u043d\u043d\u0430", "a\nb", "${x}"])),
            "anna@acme.test" if extension == "301" else None,
            draw(st.none() | numbers),
            tuple(draw(st.lists(numbers, max_size=2, unique=True))),
            draw(st.booleans()),
            draw(forwards),
            None,
            None,
            Place("", 0, 0),
            show=draw(st.sampled_from([None, "caller", "company", "+74951234567"])),
            max_calls=draw(st.none() | st.just(2)),
        )
        for extension in ("301", "302", "303")
    }


FLOWS = """\
main:
  a: {collect: Who?, digits: 1-20, into: typed, tries: 1, then: b, otherwise: b}
  b: {lookup: "https://crm.test/{typed}", into: [crm, typed_too], then: c, otherwise: c}
  c: {dial: "{crm}", otherwise: d}
  d: {dial: [{to: ["{typed}", "{typed_too}", "{caller}", "{called}", "{given}", 301], ring: 5s}], otherwise: e}
  e: {dial: 301, otherwise: f}
  f: {set: {typed_too: "+79161112233"}, then: g}
  g: {collect: Who?, digits: 1-20, into: typed_too, tries: 1, then: h, otherwise: h}
  h: {dial: "{typed_too}", confirm: false, otherwise: i}
  i: {menu: Who?, extensions: [301, 302], otherwise: hangup}
side: {code: "*77", it: {dial: "{called}", otherwise: hangup}}
"""
BASE = routing(
    FLOWS,
    HEAD.replace("{flow: main}", '{flow: main, set: {given: "+79161112233"}}')
    .replace("outbound", 'hours:\n  shut: {switch: "*21"}\noutbound')
    .replace(f'phones: ["{MOBILE}"], show: caller}}', "}\n  302: {name: Boris}\n  303: {name: Chiara}"),
)


class Heard:
    """A line's connection: what is sent, one command an item."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connected = True

    def nudge(self) -> None:
        """Nothing to say sooner."""

    def send(self, *commands: wire.Command, on_reply: Any = None) -> None:
        self.sent += [command.text for command in commands]


class Room:
    """Counts that have room for everybody."""

    def claim(self, *_: Any) -> bool:
        return True

    def release(self, *_: Any) -> None:
        """Nothing to do."""


class Deaf:
    """Nobody who wants to hear of a leg."""

    def happened(self, event: m.Event) -> None:
        """Nothing to do."""


#: One originate, whole: what may stand in braces, then one endpoint, then what the leg does.
ORIGINATE = re.compile(
    r"bgapi originate \{(?P<listed>[^{}\[\]|\n]*)\}"
    r"(?P<endpoint>user/30[123]@test\.cordboard\.test|sofia/gateway/gw-[abc]/\+?[0-9]{2,20})"
    r" (?:'(?:sched_hangup:\+14400,)?set:cordboard_ready=true,park' inline|cordboard_screen XML cordboard_screen)"
    r"\nJob-UUID: [0-9a-f-]{36}"
)


def judged(command: m.RingLeg, outbound: dict[str, Any], phone: bool) -> None:
    """What a leg to the outside must be, by a look at the library alone."""
    number = command.phone.address
    if not number.startswith("+"):
        assert phone, number
        assert number in outbound["emergency"]
        assert command.caps == ()
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", number), number
    parsed = phonenumbers.parse(number, None)
    assert phonenumbers.is_valid_number(parsed), number
    region, kind = phonenumbers.region_code_for_number(parsed), phonenumbers.number_type(parsed)
    named = phonenumbers.PhoneNumberType.to_string(kind)
    assert named in {"FIXED_LINE", "MOBILE", "FIXED_LINE_OR_MOBILE", "VOIP", "TOLL_FREE", "UAN"}, number
    if named != "TOLL_FREE":
        assert region in outbound["allow"], number
    assert not number.startswith(("+7954", "+7940", "+7840", "+1600", "+88", "+87", "+979", OWN)), number
    assert dict(command.caps)["test"] == 5
    assert command.trunks == outbound["trunk"]


def written(command: m.RingLeg) -> list[str]:
    """What the switch is told, through each trunk in turn."""
    texts = []
    for name in command.trunks or ("carrier-a",):
        line = Line(
            SwitchAddress("switch1", "127.0.0.1", 1, "x"), "cordboard.test", Config((), trunks=TRUNKS), Room(),
            lambda *_: None, lambda *_: None,
        )  # fmt: skip
        heard = Heard()
        line._inbound = cast(Any, heard)
        screen = wire.Screen(confirm="/speech/ask.wav") if command.confirm is not None else None
        deaf = Deaf()
        line.ring(deaf, CALL, "test", replace(command, trunks=(name,)), screen)
        gevent.sleep(0)  # a trunk is chosen beside it
        line.forget(deaf)
        assert heard.sent
        texts += heard.sent
    return texts


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_said_nothing_is_rung_but_what_policy_allows(data: st.DataObject) -> None:
    outbound: dict[str, Any] = {
        "trunk": ("carrier-a", "carrier-b", "carrier-c"),
        "allow": tuple(data.draw(st.lists(st.sampled_from(["RU", "IT", "GB", "US", "CA"]), min_size=1, unique=True))),
        "emergency": tuple(data.draw(st.lists(st.sampled_from(["112", "101", "11888"]), unique=True))),
        "caller_id": data.draw(st.sampled_from([{}, {"otherwise": OWN}, {"+39*": "+390612345678"}])),
        "max_calls": 5,
    }
    made = replace(BASE, people=data.draw(people()), outbound=outbound)
    extension = data.draw(st.none() | st.sampled_from(["301", "303", "399"]))
    called = (typed_called(data.draw(dialled)) or "") if extension else OWN
    book = Playbook(made, caller=typed_caller(data.draw(callers)), called=called, extension=extension)
    phone = extension in made.people
    seen: set[int] = set()
    for _ in range(40):
        for command in [command for command in book.rung.values() if id(command) not in seen]:
            seen.add(id(command))
            if command.phone.outside:
                judged(command, outbound, phone)
                if not command.phone.person:
                    asked = [book.call.view.get(name).strip() for name in ("crm", "given")] + (
                        [called] if phone else []
                    )
                    assert command.phone.address in [policy.e164(text, "RU") or text for text in asked]
            else:
                assert command.phone.address in made.people
            for text in written(command):
                found = ORIGINATE.fullmatch(text)
                assert found, text
                assert "$" not in text
                assert ":_:" not in text
        if book.call.over:
            break
        alive = [leg for leg in book.rung.values() if leg.leg in book.call._legs]
        if alive:
            leg = data.draw(st.sampled_from(alive))
            result = data.draw(st.sampled_from(["busy", "no_answer", "unreachable", "declined", "refused"]))
            book.happens(m.LegFailed(leg.leg, result), 1.0)
        elif book.lines and book.lines[-1].startswith("lookup"):
            values = {name: data.draw(answers) for name in ("crm", "typed_too")}
            book.lines.append("answered")
            book.happens(m.LookedUp(book.asked, "then", values))
        elif data.draw(st.booleans()):
            book.presses(data.draw(st.sampled_from(["89161112233#", "+", "301", "112#", "302", "89005551234#"])))
        else:
            book.waits()
    assert not book.told("step.failed")
