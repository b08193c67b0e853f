"""The configuration that we ship, on a real switch, without a controller: who gets in, and where calls go."""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.switch.harness import (
    CARRIER,
    PHONES,
    Caller,
    Dialler,
    Event,
    Installation,
    Missing,
    Phone,
    Switch,
    Watch,
    free_port,
    register,
    until,
)

pytestmark = pytest.mark.switch


@pytest.fixture(scope="module")
def controller() -> Iterator[socket.socket]:
    """A port where a controller would be: the switch can connect, nobody speaks."""
    with socket.create_server((CARRIER, 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def switch(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory, controller: socket.socket
) -> Iterator[Switch]:
    port = controller.getsockname()[1]
    with Switch(installation, tmp_path_factory.mktemp("switch"), f"{CARRIER}:{port}") as switch:
        yield switch


@pytest.fixture
def watch(switch: Switch) -> Iterator[Watch]:
    watch = switch.watch("CHANNEL_CREATE", "CHANNEL_EXECUTE", "CHANNEL_HANGUP_COMPLETE", "BACKGROUND_JOB")
    yield watch
    watch.close()


def executes(application: str, watch: Watch) -> Event:
    return watch.wait(application, lambda e: e.name == "CHANNEL_EXECUTE" and e["Application"] == application)


def test_loads_without_a_complaint_in_the_log(switch: Switch) -> None:
    complaints = [line for line in switch.log().splitlines() if re.search(r"\[(ERR|CRIT|ALERT)\]", line)]
    assert complaints == []


def test_loads_no_module_that_opens_another_door(switch: Switch) -> None:
    watch = switch.watch()
    doors = ("xml_rpc", "sms", "verto", "python", "python3", "lua", "perl", "v8", "shout")
    assert watch.api("module_exists mod_sofia") == "true"
    assert [door for door in doors if watch.api(f"module_exists mod_{door}") != "false"] == []
    watch.close()


def test_the_expanded_configuration_with_its_passwords_is_readable_by_nobody_else(switch: Switch) -> None:
    mode = (switch.directory / "log" / "freeswitch.xml.fsxml").stat().st_mode
    assert stat.S_IMODE(mode) & 0o077 == 0


def test_without_its_own_variables_the_switch_lets_nobody_in(installation: Installation, tmp_path: Path) -> None:
    # The port is the default, 8021: if somebody has it, this switch stops, and lets nobody in either.
    switch = Switch(installation, tmp_path, "127.0.0.1:1")
    with socket.socket() as probe:
        if probe.connect_ex((CARRIER, 8021)) == 0:
            pytest.skip("port 8021 is taken on this machine")
    switch.start(None)
    try:
        for password in ("ClueCon", "", "$${cordboard_nobody_knows}"):
            connected: list[Watch] = []

            def knock(password: str = password, connected: list[Watch] = connected) -> bool:
                try:
                    connected.append(Watch(8021, password))
                except ConnectionRefusedError:
                    return False
                return True

            with pytest.raises(PermissionError):
                until("the event socket answers", knock)
    finally:
        switch.stop()


def test_a_phone_registers_with_its_password_and_can_be_dialled_by_extension_and_domain(
    switch: Switch, watch: Watch
) -> None:
    phone = Phone(switch, "301", "phone_answers", ring=50)
    watch.api(
        "bgapi originate {origination_uuid=leg-00000001,ignore_early_media=true}"
        "user/301@acme.cordboard.test 'set:cordboard_ready=true,park' inline"
    )
    executes("park", watch)
    assert watch.api("uuid_getvar leg-00000001 cordboard_ready") == "true"
    watch.api("uuid_kill leg-00000001")
    watch.wait("the leg ends", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == "leg-00000001")
    phone.stop()


@pytest.mark.parametrize(
    ("extension", "password", "domain"),
    [
        ("301", "wrong", "acme.cordboard.test"),
        ("399", "x", "acme.cordboard.test"),
        ("301", "x", "other.cordboard.test"),
    ],
    ids=["wrong password", "unknown extension", "unknown company"],
)
def test_nobody_registers_without_the_right_password(
    switch: Switch, extension: str, password: str, domain: str
) -> None:
    register(switch, extension, password, free_port(socket.SOCK_DGRAM, PHONES), domain=domain, status=403).ended()


def test_a_call_from_an_address_that_is_no_carrier_needs_a_password(switch: Switch) -> None:
    Caller(switch, "+74951234567", scenario="caller_refused", source=PHONES, status=407).ended()


def test_a_phone_that_calls_is_known_by_its_password_and_may_not_refer_calls_away(switch: Switch, watch: Watch) -> None:
    caller = Caller(
        switch,
        "302",
        scenario="phone_calls",
        source=PHONES,
        number="303",  # what it says of itself counts for nothing
        extension="301",
        password=switch.password_of("301"),
    )
    event = executes("socket", watch)
    assert event["variable_cordboard_company"] == "acme"
    assert event["variable_cordboard_extension"] == "301"
    assert event["variable_cordboard_called"] == "302"
    assert event["Caller-Context"] == "cordboard"
    watch.api(f"uuid_answer {event.call}")
    caller.ended()


@pytest.mark.parametrize("company", ["acme", "bolt"])
def test_a_phone_of_either_company_can_call_and_hang_up(switch: Switch, watch: Watch, company: str) -> None:
    caller = Dialler(switch, "301", "402", company=company)
    event = executes("socket", watch)
    assert event["variable_cordboard_company"] == company
    watch.api(f"uuid_answer {event.call}")
    until("it is answered", lambda: "SIP/2.0 200 OK" in caller.said())
    caller.hangup()


def test_a_call_from_the_carrier_is_offered_to_a_controller_as_it_was_dialled(switch: Switch, watch: Watch) -> None:
    caller = Caller(switch, "+74951234567", scenario="caller_refused", status=480)
    event = executes("socket", watch)
    assert event["variable_cordboard_called"] == "+74951234567"
    assert event["variable_socket_resume"] == "true"
    assert "variable_cordboard_company" not in event
    watch.api(f"uuid_kill {event.call} NO_ANSWER")
    caller.ended()


@pytest.mark.parametrize(
    "dialled",
    [
        "cordboard_again",
        "cordboard_resume",
        "cordboard_screen",
        "cordboard_asked",
        "cordboard_told",
        "301%0A",
        "$%7Bsystem%20touch%20/tmp/cordboard-was-here%7D",
        "301,302",
        "+",
        "1" * 33,
        "anna",
    ],
)
def test_nothing_but_a_number_is_ever_dialled(switch: Switch, watch: Watch, dialled: str) -> None:
    Caller(switch, dialled, scenario="caller_refused", status=404).ended()
    watch.wait("the call ends", lambda e: e.name == "CHANNEL_HANGUP_COMPLETE")
    applications = {event["Application"] for event in watch.events if event.name == "CHANNEL_EXECUTE"}
    assert applications == {"hangup"}
    assert not Path("/tmp/cordboard-was-here").exists()


def test_a_phone_that_redirects_is_unreachable_and_nobody_else_is_called(switch: Switch, watch: Watch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((PHONES, 0))
        phone = Phone(switch, "302", "phone_redirects", elsewhere=f"+4990012345@{PHONES}:{elsewhere.getsockname()[1]}")
        watch.api("bgapi originate {origination_uuid=leg-00000002}user/302@acme.cordboard.test &park()")
        job = watch.wait("the result", lambda e: e.name == "BACKGROUND_JOB")
        assert job.body == "-ERR REQUESTED_CHAN_UNAVAIL\n"
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recvfrom(2000)
    phone.stop()


def test_a_second_registration_replaces_the_first(switch: Switch, watch: Watch) -> None:
    first = Phone(switch, "303", "phone_refuses", status="603 Decline")
    second = Phone(switch, "303", "phone_refuses", status="486 Busy Here")
    watch.api("bgapi originate {origination_uuid=leg-00000003}user/303@acme.cordboard.test &park()")
    job = watch.wait("the result", lambda e: e.name == "BACKGROUND_JOB")
    assert job.body == "-ERR USER_BUSY\n"
    first.stop()
    second.stop()


def test_a_context_that_does_not_exist_leads_to_the_same_place(switch: Switch, watch: Watch) -> None:
    caller = Caller(switch, "+74951234567", scenario="caller_refused", status=480)
    event = executes("socket", watch)
    watch.api(f"uuid_transfer {event.call} +74950000000 XML nowhere")
    again = watch.wait(
        "the call is offered again",
        lambda e: (
            e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e["Caller-Destination-Number"] == "+74950000000"
        ),
    )
    assert again["Caller-Context"] == "cordboard"
    watch.api(f"uuid_kill {event.call} NO_ANSWER")
    caller.ended()


@pytest.mark.timeout(60)
def test_without_any_controller_a_new_call_is_refused_and_an_answered_one_hears_an_apology(
    installation: Installation, tmp_path: Path
) -> None:
    nobody = f"{CARRIER}:{free_port(socket.SOCK_STREAM)}"
    with Switch(installation, tmp_path, nobody) as switch:
        watch = switch.watch("CHANNEL_EXECUTE", "CHANNEL_HANGUP_COMPLETE")
        # 503 makes a carrier try another switch.
        refused = Caller(switch, "+74951234567", scenario="caller_refused", status=503)
        executes("socket", watch)
        answered = Caller(switch, "+74951230000")
        second = watch.wait("a second call", lambda e: e.get("variable_cordboard_called") == "+74951230000")
        watch.api(f"uuid_answer {second.call}")
        apology = watch.wait(
            "an apology", lambda e: e.name == "CHANNEL_EXECUTE" and e["Application"] == "playback", 30.0
        )
        assert apology.call == second.call
        assert apology["Application-Data"].startswith("tone_stream://")
        refused.ended()
        answered.ended()
        tried = [e for e in watch.events if e.get("Application") == "socket" and e.call == second.call]
        assert len(tried) > 100
        watch.close()


def test_the_harness_says_what_came_instead(switch: Switch, watch: Watch) -> None:
    with pytest.raises(Missing, match="never comes: not within"):
        watch.wait("what never comes", lambda e: False, 0.05)
