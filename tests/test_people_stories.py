"""Whole stories over TCP about people: forwards, outside phones, phones of our own, switches, lookups.

The real server, the stand-in switch with its carriers and telephones, Redis.  As everywhere: waited for is what
happens, never a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from freeswitch.simulator import Answers, Busy, Caller, NeverAnswers, Rejects, Unregistered
from scripts.rig import Rig
from tests.service import Service, answer

pytestmark = pytest.mark.tcp
RECEPTION, HOTLINE, DAY = "+74951234567", "+78005550101", "+74951234568"
SOMEBODY = "+79031234567"
MOBILE, OTHER = "+79161112233", "+79162223344"

COMPANY = """\
cordboard: 1
company: Acme
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: reception}
  "+78005550101": {flow: hotline}
  "+74951234568": {flow: day}
people:
  301: {name: Anna, mobile: "+79161112233", forward: {busy: mobile, unreachable: mobile}, max_calls: 1}
  302: {name: Boris, forward: {otherwise: voicemail}}
  303: {name: Chiara, phones: ["+79162223344"]}
  304: {name: Dora, whisper: A call from the reception., show: company}
  305: {name: Egon, forward: {busy: 306}}
  306: {name: Fritz, forward: {busy: 305}}
hours:
  shut: {switch: "*21"}
outbound:
  trunk: [carrier-a, carrier-b]
  caller_id: {"+44*": "+78005550101", otherwise: "+74951234567"}
  allow: [RU, GB]
  emergency: ["112"]
  max_calls: 3
flows:
  reception:
    ask: {menu: Please dial., extensions: [301, 302, 303, 304, 305], keys: {9: bye}, then: bye, otherwise: sorry}
    sorry: {play: Nobody is here., then: hangup}
    bye: {hangup: normal}
  day:
    clock: {hours: {shut: night}, otherwise: open}
    open: {play: We are open., then: hangup}
    night: {play: We are closed., then: hangup}
  hotline:
    who: {lookup: "URL/callers/{caller}", into: [manager], wait: 3s, then: manager, otherwise: sorry}
    manager: {dial: "{manager}", then: hangup, otherwise: sorry}
    sorry: {play: Nobody knows you., then: hangup}
"""


@pytest.fixture(scope="module")
def crm() -> Iterator[Service]:
    with Service(b"") as service:
        yield service


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, crm: Service) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("people")
    (directory / "routing").mkdir()
    (directory / "routing" / "acme.yaml").write_text(COMPANY.replace("URL", crm.url("", host="127.0.0.1")))
    with Rig(directory / "rig", routing=directory / "routing", config=CONFIG) as started:
        yield started


CONFIG = """\
trunks:
  - {name: carrier-a, gateway: carrier-a}
  - {name: carrier-b, gateway: gw-b, format: national, country: RU, max_calls: 2}
lookups: {private: [127.0.0.0/8]}
"""


@pytest.fixture(autouse=True)
def everybody_is_away(rig: Rig) -> None:
    for extension in ("301", "302", "303", "304", "305", "306"):
        rig.switch.phone(extension, NeverAnswers())
    for number in (MOBILE, OTHER, "89161112233"):
        rig.switch.outside(number, NeverAnswers())
    rig.switch.gateway("carrier-a")
    rig.switch.gateway("gw-b")
    for phone in (*rig.switch.phones.values(), *rig.switch.outsiders.values()):
        phone.history.clear()


def dials(rig: Rig, extension: str) -> Caller:
    """Somebody who dials an extension in the reception's menu."""
    caller = rig.switch.call(SOMEBODY, RECEPTION)
    caller.wait(lambda c: bool(c.heard), 10)
    caller.press(extension, gap=0.1)
    return caller


def by_phone(rig: Rig, extension: str, to: str, company: str = "acme") -> Caller:
    """One of the company's phones calls; what it says of itself is wrong on purpose."""
    return rig.switch.call("+79990000000", to, company=company, extension=extension)


def ended(rig: Rig, caller: Caller) -> dict[str, object]:
    caller.wait("ended", 30)
    rig.wait_fact(caller.uuid, "call.ended", 15)
    (end,) = rig.facts(caller.uuid, "call.ended")
    return dict(end["data"])


def says(rig: Rig, caller: Caller, words: str) -> None:
    """Cordboard says something to this caller, as its log tells."""
    rig.until(lambda: any(words in line and caller.uuid in line for line in rig.log().splitlines()), 10, words)


class TestForwards:
    def test_a_busy_person_is_reached_at_the_mobile_by_pressing_one(self, rig: Rig) -> None:
        rig.switch.phone("301", Busy())
        mobile = rig.switch.outside(MOBILE, Answers(after=0.2, presses="1", talk=0.5))
        caller = dials(rig, "301")
        caller.wait("talking", 15)
        ended(rig, caller)
        (told,) = rig.facts(caller.uuid, "call.forwarded")
        assert told["data"] == {"person": "301", "rule": "busy", "to": "mobile"}
        assert any(entry.what == "rings" and entry.detail == RECEPTION for entry in mobile.history)
        (talk,) = rig.facts(caller.uuid, "talk.ended")
        assert talk["data"]["with"] == MOBILE

    def test_a_mailbox_that_answers_does_not_get_the_call(self, rig: Rig) -> None:
        rig.switch.phone("301", Unregistered())
        mobile = rig.switch.outside(MOBILE, Answers(after=0.1, presses="2"))
        caller = dials(rig, "301")
        says(rig, caller, "Nobody is here.")
        ended(rig, caller)
        results = {f["data"]["address"]: f["data"]["result"] for f in rig.facts(caller.uuid, "leg.result")}
        assert results == {"301": "unreachable", MOBILE: "declined"}
        assert not any(entry.what == "talks with" for entry in mobile.history)

    def test_voicemail_takes_a_message_and_ends_the_call(self, rig: Rig) -> None:
        rig.switch.phone("302", Rejects(0.1))
        caller = dials(rig, "302")
        caller.wait("recorded", 20)
        rig.switch.sleep(1.0)
        caller.press("#")
        ended(rig, caller)
        (message,) = rig.facts(caller.uuid, "message.recorded")
        assert message["data"]["for"] == ["302"]
        assert (rig.spool / message["data"]["files"][0]).stat().st_size > 44

    def test_two_who_forward_to_each_other_are_each_rung_once(self, rig: Rig) -> None:
        phones = [rig.switch.phone(extension, Busy()) for extension in ("305", "306")]
        caller = dials(rig, "305")
        says(rig, caller, "Nobody is here.")
        ended(rig, caller)
        assert len(rig.facts(caller.uuid, "forward.cut")) == 1
        assert [f["data"]["address"] for f in rig.facts(caller.uuid, "leg.rung")] == [p.extension for p in phones]

    def test_a_persons_phones_ring_together_inside_and_outside(self, rig: Rig) -> None:
        desk = rig.switch.phone("303", NeverAnswers())
        rig.switch.outside(OTHER, Answers(after=0.3, presses="1", talk=0.3))
        caller = dials(rig, "303")
        caller.wait("talking", 15)
        rig.switch.wait(lambda: not desk.ringing, 10)
        ended(rig, caller)

    def test_a_whisper_is_heard_by_the_one_who_is_called_and_not_by_the_caller(self, rig: Rig) -> None:
        phone = rig.switch.phone("304", Answers(after=0.1, talk=0.3))
        caller = dials(rig, "304")
        caller.wait("talking", 15)
        heard = len(caller.heard)
        ended(rig, caller)
        assert [entry.what for entry in phone.history[-4:]] == ["answers", "hears", "talks with", "hangs up"]
        assert any(entry.what == "rings" and entry.detail.startswith(RECEPTION) for entry in phone.history)
        assert len(caller.heard) == heard

    def test_a_kill_while_somebody_is_asked_to_press_one(self, rig: Rig) -> None:
        rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
        rig.switch.phone("301", Busy())
        mobile = rig.switch.outside(MOBILE, Answers(after=0.1, waits=2.5, presses="1", talk=0.3))
        caller = dials(rig, "301")
        rig.switch.wait(lambda: any(entry.what == "answers" for entry in mobile.history), 10)
        for pid in rig.children():
            rig.kill(pid)
        caller.wait("talking", 20)
        ended(rig, caller)
        assert len([entry for entry in mobile.history if entry.what == "rings"]) == 1

    def test_a_caller_who_leaves_while_somebody_is_asked_ends_that_too(self, rig: Rig) -> None:
        rig.switch.phone("301", Busy())
        mobile = rig.switch.outside(MOBILE, Answers(after=0.1))
        caller = dials(rig, "301")
        rig.switch.wait(lambda: any(entry.what == "answers" for entry in mobile.history), 10)
        caller.hangup()
        rig.switch.wait(lambda: not mobile.calls, 10)
        ended(rig, caller)


class TestPhones:
    def test_a_colleague_sees_who_calls_whatever_the_phone_says_of_itself(self, rig: Rig) -> None:
        boris = rig.switch.phone("302", Answers(after=0.2, talk=0.4))
        caller = by_phone(rig, "303", "302")
        caller.wait("talking", 15)
        ended(rig, caller)
        assert any(entry.what == "rings" and entry.detail == "303 Chiara" for entry in boris.history)
        (started,) = rig.facts(caller.uuid, "call.started")
        assert started["company"] == "acme"
        assert {"from": "303", "to": "302", "extension": "303"}.items() <= started["data"].items()

    def test_a_busy_colleague_is_a_real_486(self, rig: Rig) -> None:
        rig.switch.phone("303", Busy())
        rig.switch.outside(OTHER, Busy())
        caller = by_phone(rig, "302", "303")
        ended(rig, caller)
        assert caller.hangup_cause == "USER_BUSY"
        assert not caller.answered

    def test_out_through_the_trunk_with_the_companys_number(self, rig: Rig) -> None:
        mobile = rig.switch.outside("+447400123456", Answers(after=0.1, talk=0.3))
        caller = by_phone(rig, "302", "810447400123456")
        caller.wait("talking", 15)
        ended(rig, caller)
        assert any(entry.what == "rings" and entry.detail == HOTLINE for entry in mobile.history)

    def test_a_trunk_that_is_down_is_followed_by_the_next_in_its_own_writing(self, rig: Rig) -> None:
        rig.switch.gateway("carrier-a", up=False)
        mobile = rig.switch.outside("89161112233", Answers(after=0.1, talk=0.3))
        caller = by_phone(rig, "302", MOBILE)
        caller.wait("talking", 15)
        ended(rig, caller)
        assert any(entry.what == "rings" and entry.detail == "84951234567" for entry in mobile.history)

    def test_a_number_that_policy_refuses_is_explained_and_told(self, rig: Rig) -> None:
        for number in ("+12644971234", "+881612345678", "88095001234", "+4570123456"):
            caller = by_phone(rig, "302", number)
            says(rig, caller, "This number cannot be called from here.")
            ended(rig, caller)
            assert caller.hangup_cause == "OUTGOING_CALL_BARRED"
            (refused,) = rig.facts(caller.uuid, "call.refused")
            assert refused["data"]["dialled"] == number
            assert rig.facts(caller.uuid, "leg.rung") == []

    def test_the_companys_own_number_is_not_sent_out(self, rig: Rig) -> None:
        caller = by_phone(rig, "302", "84951234568")
        says(rig, caller, "We are open.")
        ended(rig, caller)
        assert rig.facts(caller.uuid, "leg.rung") == []

    def test_an_emergency_number_passes_also_when_all_lines_are_taken(self, rig: Rig) -> None:
        rig.switch.outside("112", Answers(after=0.1, talk=0.3))
        with closing(redis.Redis.from_url(rig.redis_url)) as client:
            taken = [by_phone(rig, extension, MOBILE) for extension in ("302", "303", "304")]
            for one in taken:
                rig.wait_fact(one.uuid, "leg.rung")
            rig.until(lambda: len(client.keys("cordboard:out:*")) > 0, 10, "the counts")
            refused = by_phone(rig, "305", MOBILE)
            says(rig, refused, "All lines are in use.")
            saved = by_phone(rig, "305", "112")
            saved.wait("talking", 15)
            for one in (*taken, refused, saved):
                one.hangup()
                ended(rig, one)
        again = by_phone(rig, "305", MOBILE)  # the places were given back
        rig.wait_fact(again.uuid, "leg.rung")
        rig.until(lambda: any(entry.what == "rings" for entry in rig.switch.outside(MOBILE).history), 10, "ringing")
        again.hangup()
        ended(rig, again)

    def test_a_persons_own_cap_holds_on_all_controllers(self, rig: Rig) -> None:
        first = by_phone(rig, "301", MOBILE)
        rig.wait_fact(first.uuid, "leg.rung")
        second = by_phone(rig, "301", OTHER)
        says(rig, second, "All lines are in use.")
        for one in (first, second):
            one.hangup()
            ended(rig, one)

    def test_what_a_phone_of_another_company_dials_is_not_ours(self, rig: Rig) -> None:
        caller = by_phone(rig, "302", "303", company="other")
        ended(rig, caller)
        assert caller.hangup_cause == "UNALLOCATED_NUMBER"
        caller = rig.switch.call("302", "303")  # nobody's phone: a carrier that says so
        ended(rig, caller)
        assert caller.hangup_cause == "UNALLOCATED_NUMBER"

    def test_a_switch_is_turned_by_its_code_for_every_controller(self, rig: Rig) -> None:
        for situation, words in (("It is now on.", "We are closed."), ("It is now off.", "We are open.")):
            phone = by_phone(rig, "302", "*21")
            says(rig, phone, situation)
            ended(rig, phone)
            rig.switch.sleep(1.1)  # every controller reads the switches once a second
            for _ in range(4):
                caller = rig.switch.call(SOMEBODY, DAY)
                says(rig, caller, words)
                ended(rig, caller)

    def test_a_call_to_a_colleague_survives_a_kill(self, rig: Rig) -> None:
        rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
        phone = rig.switch.phone("304", Answers(after=1.5, talk=0.3))
        caller = by_phone(rig, "302", "304")
        rig.switch.wait(lambda: phone.ringing, 10)
        rig.wait_fact(caller.uuid, "leg.rung")
        rig.kill(rig.owner_of(caller.uuid))
        caller.wait("talking", 15)
        ended(rig, caller)
        assert rig.wait_fact(caller.uuid, "call.taken_over")["data"]["flow"] == "~phone"


class TestLookups:
    def test_the_manager_that_the_crm_names_is_rung(self, rig: Rig, crm: Service) -> None:
        crm.what = answer({"manager": "304"})
        rig.switch.phone("304", Answers(after=0.1, talk=0.2))
        caller = rig.switch.call(SOMEBODY, HOTLINE)
        caller.wait("talking", 15)
        ended(rig, caller)
        assert crm.heads[-1].startswith("GET /callers/%2B79031234567 ")

    @pytest.mark.parametrize("manager", ["+881612345678", "user/301", "304,sofia/x", "${system(x)}", "304\nx"])
    def test_what_a_crm_names_dials_nothing_that_policy_refuses(self, rig: Rig, crm: Service, manager: str) -> None:
        crm.what = answer({"manager": manager})
        caller = rig.switch.call(SOMEBODY, HOTLINE)
        says(rig, caller, "Nobody knows you.")
        ended(rig, caller)
        assert rig.facts(caller.uuid, "leg.rung") == []
        assert rig.switch.executed == []

    def test_a_crm_that_is_gone_is_the_fallback(self, rig: Rig, crm: Service) -> None:
        crm.what = answer("", "503 Service Unavailable")
        caller = rig.switch.call("+79030000000", HOTLINE)
        says(rig, caller, "Nobody knows you.")
        ended(rig, caller)
