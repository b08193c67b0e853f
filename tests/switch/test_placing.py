"""Click to call on the real switch: the person's telephone rings first, and then dials.

Whose call it is comes from the directory alone; nothing that a telephone says or may dial leads here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from callcontrol.commands import Refused, ask
from tests.switch.harness import DOMAIN, Dialler, Event, Phone, Serve, Switch, Watch, until

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]
ANNA, BORIS, CHIARA = "301", "302", "303"

Phones = Callable[..., Phone]


@pytest.fixture
def command(serve: Serve, redis_url: str) -> Callable[..., Any]:
    return lambda verb, **given: ask(redis_url, "switch1", verb, {"company": "acme", **given}, 10.0, by="a test")


def rings(watch: Watch, extension: str, call: str = "") -> Event:
    """A telephone of the company rings: for ``call``, or as that call itself."""
    mine = f"{extension}@acme.{DOMAIN}"
    return watch.wait(
        f"{extension} rings",
        lambda e: (
            e.name == "CHANNEL_PROGRESS"
            and e.get("variable_presence_id") == mine
            and call in (e.call, e.get("variable_cordboard_call"), "")
        ),
    )


def end(serve: Serve, watch: Watch, call: str) -> dict[str, Any]:
    """The one end of a call that the switch is done with."""
    watch.wait("the end", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == call)
    found = serve.fact(call, "call.ended")
    return dict(found["data"])


def talk(watch: Watch, call: str) -> Event:
    return watch.wait("they talk", lambda e: e.name == "CHANNEL_BRIDGE" and e.call == call)


def gone(watch: Watch, *channels: str) -> None:
    for channel in channels:
        until(f"{channel} is over", lambda channel=channel: watch.api(f"uuid_exists {channel}") == "false")  # type: ignore[misc]


def test_the_person_answers_the_other_answers_and_they_talk(
    serve: Serve, watch: Watch, phone: Phones, command: Callable[..., Any]
) -> None:
    anna, _boris = phone(ANNA, "phone_answers", ring=300), phone(BORIS, "phone_hangs_up", ring=300, talk=700)
    call = command("call.place", extension=ANNA, to=BORIS)["call"]
    own = rings(watch, ANNA, call)
    assert own.call == call
    assert 'From: "Boris Orlov" <sip:302@' in anna.said()
    leg = rings(watch, BORIS, call)
    assert leg["Caller-Caller-ID-Number"] == ANNA
    talk(watch, call)
    assert end(serve, watch, call)["answered"]
    facts = serve.facts(call)
    assert [fact["type"] for fact in facts][:2] == ["call.placed", "call.started"]
    assert facts[0]["data"] == {"person": ANNA, "to": BORIS, "by": "a test"}
    assert {"from": ANNA, "to": BORIS, "extension": ANNA}.items() <= facts[1]["data"].items()
    assert {fact["company"] for fact in facts} == {"acme"}
    gone(watch, call, leg.call)


def test_a_talk_is_listed_with_both_and_hung_up(
    serve: Serve, watch: Watch, phone: Phones, command: Callable[..., Any]
) -> None:
    phone(ANNA, "phone_answers", ring=100)
    phone(BORIS, "phone_answers", ring=100)
    call = command("call.place", extension=ANNA, to=BORIS)["call"]
    leg = rings(watch, BORIS, call).call
    talk(watch, call)
    rows: list[dict[str, Any]] = []

    def listed() -> bool:
        rows[:] = [row for row in command("call.list")["calls"] if row["call"] == call]
        return bool(rows) and rows[0]["state"] == "talking"

    until("the talk is listed", listed)
    assert (rows[0]["from"], rows[0]["to"], rows[0]["with"], rows[0]["extension"]) == (ANNA, BORIS, BORIS, ANNA)
    assert command("call.hang_up", call=call) == {"call": call}
    found = end(serve, watch, call)
    assert (found["cause"], found["by"]) == ("MANAGER_REQUEST", "command")
    gone(watch, call, leg)


@pytest.mark.parametrize(
    ("behaviour", "why", "cause"),
    [("phone_refuses", "is busy", "USER_BUSY"), ("", "is not registered", "USER_NOT_REGISTERED")],
)
def test_a_telephone_that_is_busy_or_not_there_is_told_at_once(
    serve: Serve, phone: Phones, command: Callable[..., Any], behaviour: str, why: str, cause: str
) -> None:
    if behaviour:
        phone(CHIARA, behaviour, status="486 Busy Here")
    began, at = time.monotonic(), time.time()
    with pytest.raises(Refused, match=why):
        command("call.place", extension=CHIARA, to=BORIS)
    assert time.monotonic() - began < 5.0
    placed = [fact for fact in serve.facts('"call.placed"') if fact["at"] >= at - 1]
    call = placed[-1]["call"]
    found = serve.fact(call, "call.ended")
    assert (found["data"]["cause"], found["data"]["answered"]) == (cause, False)


def test_what_policy_forbids_does_not_ring(watch: Watch, phone: Phones, command: Callable[..., Any]) -> None:
    anna = phone(ANNA, "phone_answers", ring=100)
    with pytest.raises(Refused, match="trunk"):  # this company has none
        command("call.place", extension=ANNA, to="+442071234567")
    with pytest.raises(Refused, match="dials"):
        command("call.place", extension=ANNA, to="302,[execute_on_originate='system id']")
    watch.catch_up()
    assert "INVITE" not in anna.said()


def test_nobody_answers_for_a_while_and_it_is_cancelled(
    serve: Serve, watch: Watch, phone: Phones, command: Callable[..., Any]
) -> None:
    anna = phone(ANNA, "phone_never_answers")
    call = command("call.place", extension=ANNA, to=BORIS)["call"]
    rings(watch, ANNA, call)
    command("call.hang_up", call=call)
    found = end(serve, watch, call)
    assert (found["cause"], found["by"], found["answered"]) == ("MANAGER_REQUEST", "command", False)
    until("its CANCEL", lambda: "CANCEL sip:" in anna.said())


def test_every_controller_is_killed_while_it_rings(
    serve: Serve, watch: Watch, phone: Phones, command: Callable[..., Any]
) -> None:
    phone(ANNA, "phone_answers", ring=1500)
    phone(BORIS, "phone_hangs_up", ring=100, talk=500)
    call = command("call.place", extension=ANNA, to=BORIS)["call"]
    rings(watch, ANNA, call)
    serve.kill_controllers()
    rings(watch, BORIS, call)
    talk(watch, call)
    assert end(serve, watch, call)["answered"]
    assert [fact["type"] for fact in serve.facts(call)].count("call.started") == 1


def test_every_controller_is_killed_while_they_talk(
    serve: Serve, watch: Watch, phone: Phones, command: Callable[..., Any]
) -> None:
    phone(ANNA, "phone_answers", ring=100)
    phone(BORIS, "phone_hangs_up", ring=100, talk=2500)
    call = command("call.place", extension=ANNA, to=BORIS)["call"]
    talk(watch, call)
    serve.fact(call, "talk.started")
    for pid in (killed := serve.controllers()):
        os.kill(pid, 9)
    until("others", lambda: len(serve.controllers()) == serve.processes and not set(killed) & set(serve.controllers()))
    assert watch.api(f"uuid_exists {call}") == "true"
    end(serve, watch, call)
    serve.fact(call, "talk.ended")


def test_no_telephone_can_say_that_it_was_placed(switch: Switch, serve: Serve, watch: Watch, phone: Phones) -> None:
    """What the originate sets is set again by the dialplan and the directory, whatever a phone sends."""
    phone(BORIS, "phone_hangs_up", ring=100, talk=300)
    headers = "\nX-cordboard_company: bolt\nX-cordboard_extension: 402\nX-cordboard_called: +74957654321"
    caller = Dialler(switch, ANNA, BORIS, headers=headers)
    leg = rings(watch, BORIS)
    call = leg["variable_cordboard_call"]
    started = serve.fact(call, "call.started")
    assert (started["company"], started["data"]["extension"], started["data"]["to"]) == ("acme", ANNA, BORIS)
    assert "X-cordboard_extension: 402" in caller.said()
    end(serve, watch, call)
