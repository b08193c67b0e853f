"""Calls by command: what lives, ending one, and click to call, over TCP with the stand-in switch and the real server.

As everywhere: waited for is what happens, never a time.  Commands block, and the switch moves in this very process, so
they are asked from threads.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest

from callcontrol.commands import Refused, ask
from callcontrol.switchboard import Switchboard
from freeswitch.simulator import Answers, Busy, Caller, NeverAnswers, Phone, Rejects, Unregistered
from scripts.rig import Rig

pytestmark = pytest.mark.tcp
RECEPTION, SALES, OTHERS = "+74951234567", "+74951234568", "+74957654321"
SOMEBODY, CUSTOMER = "+79031234567", "+79161112233"

COMPANY = """\
cordboard: 1
company: Acme
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951234567": {flow: reception}
  "+74951234568": {flow: sales}
people:
  301: {name: Anna}
  302: {name: Boris}
  303: {name: Chiara}
queues:
  sales: {agents: [303], max_wait: 60s}
outbound:
  trunk: carrier-a
  caller_id: {otherwise: "+74951234567"}
  allow: [RU]
  emergency: ["112"]
flows:
  reception:
    ask: {menu: Please dial., keys: {9: bye}, tries: 3, wait: 30s, otherwise: bye}
    bye: {hangup: normal}
  sales:
    wait: {queue: sales, then: bye, otherwise: bye}
    bye: {hangup: normal}
"""
OTHER_COMPANY = """\
cordboard: 1
company: Bolt
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74957654321": {flow: reception}
people:
  301: {name: Zoe}
flows:
  reception:
    ask: {menu: Please dial., keys: {9: bye}, tries: 3, wait: 30s, otherwise: bye}
    bye: {hangup: normal}
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("placing")
    (directory / "routing").mkdir()
    (directory / "routing" / "acme.yaml").write_text(COMPANY)
    (directory / "routing" / "bolt.yaml").write_text(OTHER_COMPANY)
    with Rig(directory / "rig", routing=directory / "routing") as started:
        yield started


@pytest.fixture(autouse=True)
def nobody_answers(rig: Rig) -> Iterator[None]:
    rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
    for extension in ("301", "302", "303"):
        rig.switch.phone(extension, NeverAnswers()).history.clear()
    rig.switch.outside(CUSTOMER, NeverAnswers()).history.clear()
    yield
    for channel in list(rig.switch.channels.values()):
        channel.hangup("NORMAL_CLEARING")


def command(rig: Rig, verb: str, **given: Any) -> Any:
    def asking() -> Any:
        try:
            return ask(rig.redis_url, "switch1", verb, given, 10.0, by="Kate")
        except Refused as error:  # raised here it would be shown twice
            return error

    answer = gevent.get_hub().threadpool.apply(asking)
    if isinstance(answer, Refused):
        raise answer
    return answer


def place(rig: Rig, extension: str = "301", to: str = CUSTOMER, company: str = "acme", **more: str) -> str:
    answer = command(rig, "call.place", company=company, extension=extension, to=to, **more)
    assert set(answer) == {"call"}
    return str(answer["call"])


def refused(rig: Rig, verb: str = "call.place", **given: Any) -> str:
    before = len(rig.facts())
    with pytest.raises(Refused) as error:
        command(rig, verb, **given)
    assert verb != "call.place" or "telephone" in str(error.value) or len(rig.facts()) == before
    return str(error.value)


def row(rig: Rig, call: str, company: str = "acme") -> dict[str, Any]:
    """The call as ``call.list`` has it, once it does."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [one for one in command(rig, "call.list", company=company)["calls"] if one["call"] == call]
        return bool(found)

    rig.until(there, 10, f"{call} in the list")
    return found[0]


def until(rig: Rig, call: str, **wanted: str) -> dict[str, Any]:
    """The same, once it says so: the switch is asked once a second, and either controller answers."""
    last: dict[str, Any] = {}

    def so() -> bool:
        last.update(row(rig, call))
        return wanted.items() <= last.items()

    rig.until(so, 15, f"{wanted} of {call}")
    return last


def ended(rig: Rig, call: str) -> dict[str, Any]:
    """The one end of a call; what would be a second has had the time to be written."""
    rig.wait_fact(call, "call.ended", 20)
    with closing(Switchboard(rig.redis_url, name="test")) as board:
        rig.until(lambda: call in board.told([call]), 10, "the end to be in the stream")
        told = [fact for fact in board._redis.xrange("cordboard:facts") if call.encode() in fact[1][b"fact"]]
    assert sum(b'"call.ended"' in fact[1][b"fact"] for fact in told) == 1
    return dict(rig.facts(call, "call.ended")[0]["data"])


def rings(rig: Rig, extension: str = "301") -> Phone:
    phone = rig.switch.phone(extension)
    rig.switch.wait(lambda: phone.ringing, 10)
    return phone


def talking(rig: Rig, extension: str = "301") -> Phone:
    phone = rig.switch.phone(extension)
    rig.switch.wait(lambda: phone.talking_to is not None, 20)
    return phone


def in_menu(rig: Rig, number: str = RECEPTION) -> Caller:
    caller = rig.switch.call(SOMEBODY, number)
    caller.wait(lambda one: bool(one.heard), 10)
    return caller


def kill_everybody(rig: Rig) -> None:
    """kill -9 every controller; returns when none of them can take a connection any more."""
    before = rig.children()
    for pid in before:
        rig.kill(pid)
    rig.until(lambda: not set(before) & set(rig.children()), 20, "their deaths")


class TestPlacing:
    def test_the_person_answers_and_then_the_customer_is_called_as_if_that_telephone_had_dialled(
        self, rig: Rig
    ) -> None:
        anna = rig.switch.phone("301", Answers(after=0.2))
        customer = rig.switch.outside(CUSTOMER, Answers(after=0.3, talk=0.5))
        call = place(rig, to="8 (916) 111-22-33")
        end = ended(rig, call)
        assert anna.history[0].detail == "89161112233"
        assert [entry.what for entry in anna.history[:2]] == ["rings", "answers"]
        assert customer.history[0].detail == RECEPTION  # the company's number, as policy wants it
        kinds = [fact["type"] for fact in rig.facts(call)]
        assert kinds[:2] == ["call.placed", "call.started"]
        (placed,), (started,) = rig.facts(call, "call.placed"), rig.facts(call, "call.started")
        assert placed["data"] == {"person": "301", "to": "89161112233", "by": "Kate"}
        assert (placed["company"], placed["epoch"], started["company"]) == ("acme", 0, "acme")
        who = {"from": "301", "to": "89161112233", "extension": "301"}
        assert who.items() <= started["data"].items()
        assert rig.facts(call, "talk.started")[0]["data"]["with"] == CUSTOMER
        assert end["answered"]

    def test_a_colleague_is_shown_by_name(self, rig: Rig) -> None:
        anna = rig.switch.phone("301", Answers(after=0.1))
        boris = rig.switch.phone("302", Answers(after=0.1, talk=0.3))
        ended(rig, place(rig, to="302"))
        assert anna.history[0].detail == "302 Boris"
        assert boris.history[0].detail == "301 Anna"

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"extension": "309"}, "no extension 309"),
            ({"company": "nobody"}, "no company"),
            ({"to": "+442071234567"}, "GB"),
            ({"to": "+79541234567"}, "satellite"),
            ({"to": "112"}, "on the telephone itself"),
            ({"to": "101"}, "emergency"),
            ({"to": "555"}, "no number"),
            ({"to": "301"}, "itself"),
            ({"to": "+"}, "dials"),
            ({"to": "302,sofia/gateway/carrier-a/1"}, "dials"),
            ({"to": "${system(id)}"}, "dials"),
        ],
    )
    def test_what_can_reach_nobody_is_refused_before_anything_rings(
        self, rig: Rig, given: dict[str, str], why: str
    ) -> None:
        assert why in refused(rig, **{"company": "acme", "extension": "301", "to": CUSTOMER, **given})
        assert not rig.switch.phone("301").history
        assert not rig.switch.executed

    @pytest.mark.parametrize(
        ("does", "why", "cause"),
        [
            (Unregistered(), "not registered", "USER_NOT_REGISTERED"),
            (Busy(0.0), "busy", "USER_BUSY"),
        ],
    )
    def test_a_telephone_that_cannot_ring_is_refused_and_the_try_has_one_end(
        self, rig: Rig, does: Any, why: str, cause: str
    ) -> None:
        rig.switch.phone("302", does)
        known = {fact["call"] for fact in rig.facts(kind="call.placed")}
        assert why in refused(rig, company="acme", extension="302", to=CUSTOMER)
        (call,) = {fact["call"] for fact in rig.facts(kind="call.placed")} - known
        assert ended(rig, call) == {"cause": cause, "by": "unowned", "answered": False}

    def test_one_who_declines_is_heard_of_by_the_end_of_the_call(self, rig: Rig) -> None:
        rig.switch.phone("301", Rejects(2.0))
        assert ended(rig, place(rig))["cause"] == "CALL_REJECTED"

    def test_while_it_rings_it_is_listed_and_can_be_cancelled(self, rig: Rig) -> None:
        call = place(rig)
        anna = rings(rig)
        found = row(rig, call)
        assert (found["state"], found["from"], found["to"], found["extension"]) == ("placed", "301", CUSTOMER, "301")
        assert command(rig, "call.hang_up", company="acme", call=call) == {"call": call}
        rig.switch.wait(lambda: not anna.ringing, 10)
        end = ended(rig, call)
        assert (end["cause"], end["by"], end["answered"]) == ("MANAGER_REQUEST", "command", False)
        assert not rig.facts(call, "call.started")

    def test_it_can_be_cancelled_at_once(self, rig: Rig) -> None:
        """Before Redis has heard of it."""
        call = place(rig)
        command(rig, "call.hang_up", company="acme", call=call)
        assert ended(rig, call)["by"] == "command"

    def test_the_same_key_rings_once(self, rig: Rig) -> None:
        key = uuid.uuid4().hex
        call = place(rig, key=key)
        assert place(rig, key=key) == call
        assert "another call" in refused(rig, company="acme", extension="302", to=CUSTOMER, key=key)
        assert len([entry for entry in rings(rig).history if entry.what == "rings"]) == 1
        assert len(rig.facts(call, "call.placed")) == 1

    def test_a_refusal_is_repeated_under_its_key(self, rig: Rig) -> None:
        rig.switch.phone("302", Unregistered())
        given = {"company": "acme", "extension": "302", "to": CUSTOMER, "key": uuid.uuid4().hex}
        first = refused(rig, **given)
        rig.switch.phone("302", NeverAnswers())
        assert refused(rig, **given) == first
        assert not rig.switch.phone("302").ringing

    def test_a_key_of_one_company_is_nothing_to_another(self, rig: Rig) -> None:
        rig.switch.phone("301", NeverAnswers(), domain="bolt.cordboard.test")
        key = uuid.uuid4().hex
        assert place(rig, key=key) != place(rig, to="+74957654321", company="bolt", key=key)

    def test_every_controller_dies_while_it_rings(self, rig: Rig) -> None:
        anna = rig.switch.phone("301", NeverAnswers())
        rig.switch.outside(CUSTOMER, Answers(after=0.1, talk=0.3))
        call = place(rig)
        ready = rig.log().count("ready for calls")
        kill_everybody(rig)
        (leg,) = anna.calls
        # The dialplan asks for ten seconds; a busy machine may take longer to start a process.
        rig.until(lambda: rig.log().count("ready for calls") > ready, 30, "somebody who lives")
        leg.answer()
        talking(rig)
        ended(rig, call)
        assert len([entry for entry in anna.history if entry.what == "rings"]) == 1

    def test_every_controller_dies_while_they_talk(self, rig: Rig) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        customer = rig.switch.outside(CUSTOMER, Answers(after=0.1))
        call = place(rig)
        anna = talking(rig)
        rig.wait_fact(call, "talk.started")
        kill_everybody(rig)
        assert anna.talking_to is not None
        customer.calls[0].far_end_hangs_up()
        ended(rig, call)
        assert len(rig.facts(call, "talk.ended")) == 1


class TestLooking:
    def test_each_live_call_says_where_it_is(self, rig: Rig) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        rig.switch.phone("302", Answers(after=0.1))
        asks, waits, other = in_menu(rig), rig.switch.call(SOMEBODY, SALES), in_menu(rig, OTHERS)
        talks = place(rig, to="302")
        talking(rig, "302")
        menu = until(rig, asks.uuid, step="ask")
        assert (menu["state"], menu["flow"], menu["from"], menu["to"]) == ("routed", "reception", SOMEBODY, RECEPTION)
        assert until(rig, waits.uuid, state="waiting")["queue"] == "sales"
        assert until(rig, talks, state="talking")["with"] == "302"
        own = command(rig, "call.list", company="acme")
        everybody = command(rig, "call.list")
        assert other.uuid not in {one["call"] for one in own["calls"]}
        assert {asks.uuid, waits.uuid, other.uuid, talks} <= {one["call"] for one in everybody["calls"]}
        assert everybody["total"] == len(everybody["calls"])
        assert [one["since"] for one in everybody["calls"]] == sorted(one["since"] for one in everybody["calls"])

    def test_of_a_company_that_is_not_there_nothing_is_said(self, rig: Rig) -> None:
        assert "no company" in refused(rig, "call.list", company="nobody")


class TestHangingUp:
    def test_a_call_in_a_menu(self, rig: Rig) -> None:
        caller = in_menu(rig)
        command(rig, "call.hang_up", company="acme", call=caller.uuid)
        caller.wait("ended", 10)
        end = ended(rig, caller.uuid)
        assert (end["cause"], end["by"]) == ("MANAGER_REQUEST", "command")

    def test_a_talk_and_both_of_its_ends(self, rig: Rig) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        rig.switch.phone("302", Answers(after=0.1))
        call = place(rig, to="302")
        boris = talking(rig, "302")
        rig.wait_fact(call, "talk.started")
        command(rig, "call.hang_up", company="acme", call=call)
        rig.switch.wait(lambda: not boris.calls, 10)
        assert ended(rig, call)["by"] == "command"
        assert len(rig.facts(call, "talk.ended")) == 1

    def test_what_rings_for_it_stops(self, rig: Rig) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        call = place(rig, to="302")
        boris = rings(rig, "302")
        command(rig, "call.hang_up", company="acme", call=call)
        rig.switch.wait(lambda: not boris.calls, 10)
        ended(rig, call)

    def test_another_companys_call_is_as_one_that_is_not_there(self, rig: Rig) -> None:
        theirs, nobodys = in_menu(rig, OTHERS), str(uuid.uuid4())
        said = [refused(rig, "call.hang_up", company="acme", call=call) for call in (theirs.uuid, nobodys)]
        assert said[0].replace(theirs.uuid, "") == said[1].replace(nobodys, "")
        assert theirs.state == "answered"

    def test_a_leg_is_no_call(self, rig: Rig) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        place(rig, to="302")
        (leg,) = rings(rig, "302").calls
        assert "no call" in refused(rig, "call.hang_up", company="acme", call=leg.uuid)
        assert leg.up
