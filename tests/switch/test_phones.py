"""Who a telephone is: registering, calling and being called, on the real switch with ``cordboard serve``.

Two companies, both with an extension 301.  The phones' directory is what the product generates.
"""

from __future__ import annotations

import contextlib
import re
import socket
import stat
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.switch.harness import (
    DOMAIN,
    PHONES,
    Caller,
    Dialler,
    Event,
    Missing,
    Phone,
    Serve,
    Switch,
    Watch,
    free_port,
    register,
    until,
)

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

EXTENSIONS = [("acme", "301"), ("acme", "302"), ("acme", "303"), ("bolt", "301"), ("bolt", "402")]
OURS = ("variable_cordboard_company", "variable_cordboard_extension")


@pytest.fixture
def watch(switch: Switch, serve: Serve) -> Iterator[Watch]:
    watch = switch.watch("CHANNEL_CREATE", "CHANNEL_EXECUTE", "CHANNEL_HANGUP_COMPLETE", "BACKGROUND_JOB", "RELOADXML")
    for company in ("acme", "bolt"):  # what earlier tests have left
        watch.api(f"sofia profile internal flush_inbound_reg {company}.{DOMAIN}")
    yield watch
    watch.close()


def port_of_a_phone() -> int:
    return free_port(socket.SOCK_DGRAM, PHONES)


def rings(watch: Watch, extension: str, company: str) -> str:
    """What becomes of ringing a phone: the switch's word for its answer."""
    job = f"job-{len(watch.events)}-{extension}-{company}"
    watch._ask(f"bgapi originate {{originate_timeout=5}}user/{extension}@{company}.{DOMAIN} &park()\nJob-UUID: {job}")
    result = watch.wait(f"{extension} of {company} rings", lambda e: e.get("Job-UUID") == job)
    return result.body.strip().removeprefix("-ERR ")


def published(switch: Switch, serve: Serve, watch: Watch) -> None:
    """Publish, and wait until the switch has read what there is then."""
    serve.reload()
    found = re.search(r'value="([0-9a-f]+)"', (switch.home / "state/directory/0-version.xml").read_text())
    assert found is not None
    wanted = found[1]
    until("the switch reads it", lambda: watch.api("domain_data cordboard-directory var version") == wanted)


@contextlib.contextmanager
def routing(switch: Switch, serve: Serve, watch: Watch, old: str, new: str) -> Iterator[None]:
    """Bolt's routing with a change, published; put back afterwards."""
    file = switch.routing / "bolt.yaml"
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))
    try:
        switch.make_passwords()
        published(switch, serve, watch)
        yield
    finally:
        file.write_text(before)
        switch.make_passwords(str(switch.routing), "--forget-gone")
        published(switch, serve, watch)


@pytest.mark.parametrize(("company", "extension"), EXTENSIONS)
def test_every_extension_registers_with_its_own_password(
    switch: Switch, serve: Serve, company: str, extension: str
) -> None:
    password = switch.password_of(extension, company)
    phone = register(switch, extension, password, port_of_a_phone(), domain=f"{company}.{DOMAIN}")
    phone.ended()
    # A phone takes an answer that does not repeat its contact for a failure.
    assert re.search(rf"SIP/2.0 200 OK.*Contact: <sip:{extension}@[0-9.:]+>;expires=3600", phone.said(), re.DOTALL)


@pytest.mark.parametrize(("company", "extension"), EXTENSIONS)
def test_and_with_nobody_elses(switch: Switch, serve: Serve, company: str, extension: str) -> None:
    for other in EXTENSIONS:
        if other != (company, extension):
            password = switch.password_of(other[1], other[0])
            domain = f"{company}.{DOMAIN}"
            register(switch, extension, password, port_of_a_phone(), domain=domain, status=403).ended()


def test_a_hash_of_the_directory_is_no_password(switch: Switch, serve: Serve) -> None:
    found = re.search(r'a1-hash" value="([0-9a-f]{32})"', (switch.home / "state/directory/acme.xml").read_text())
    assert found is not None
    register(switch, "301", found[1], port_of_a_phone(), status=403).ended()


def test_a_phone_that_says_it_belongs_to_another_company_is_never_rung_for_it(
    switch: Switch, serve: Serve, watch: Watch
) -> None:
    # It answers the challenge of its own company, truly, and asks to be reached in the other.
    domain, claimed = f"acme.{DOMAIN}", f"bolt.{DOMAIN}"
    password, thief = switch.password_of("301"), port_of_a_phone()
    claim = partial(register, switch, "301", password, thief, domain=domain, claimed=claimed)
    claim().ended()
    assert rings(watch, "301", "bolt") == "USER_NOT_REGISTERED"
    own = Phone(switch, "301", "phone_refuses", company="bolt", status="486 Busy Here")
    claim().ended()
    assert rings(watch, "301", "bolt") == "USER_BUSY"
    # Nor can it take the other's phone away.
    claim(seconds=0).ended()
    assert rings(watch, "301", "bolt") == "USER_BUSY"
    own.put_away()


def test_extensions_of_the_same_number_are_two_phones(switch: Switch, serve: Serve, watch: Watch) -> None:
    acme = Phone(switch, "301", "phone_refuses", status="486 Busy Here")
    bolt = Phone(switch, "301", "phone_refuses", company="bolt", status="603 Decline")
    assert rings(watch, "301", "acme") == "USER_BUSY"
    assert rings(watch, "301", "bolt") == "CALL_REJECTED"
    bolt.put_away()
    assert rings(watch, "301", "bolt") == "USER_NOT_REGISTERED"
    assert rings(watch, "301", "acme") == "USER_BUSY"
    acme.put_away()


def test_a_domain_in_capitals_is_refused_and_not_half_accepted(switch: Switch, serve: Serve) -> None:
    # The hash is of the domain as it is written.
    register(switch, "301", switch.password_of("301"), port_of_a_phone(), domain=f"ACME.{DOMAIN}", status=403).ended()


def test_a_new_extension_can_register_as_soon_as_it_is_published(switch: Switch, serve: Serve, watch: Watch) -> None:
    person = "  402: {name: Emil Fuchs, email: emil@bolt.test}"
    with routing(switch, serve, watch, person, person + "\n  403: {name: Frida Berg}"):
        phone = Phone(switch, "403", "phone_refuses", company="bolt", status="486 Busy Here")
        assert rings(watch, "403", "bolt") == "USER_BUSY"
        phone.stop()


def test_one_controller_has_the_switch_read_and_only_if_anything_changed(
    switch: Switch, serve: Serve, watch: Watch
) -> None:
    serve.reload()
    person = "  402: {name: Emil Fuchs, email: emil@bolt.test}"
    with routing(switch, serve, watch, person, person + "\n  404: {name: Gerd Roth}"):
        watch.wait("the switch reads it", lambda e: e.name == "RELOADXML")
        watch.catch_up()
        assert len([event for event in watch.events if event.name == "RELOADXML"]) == 1


def test_an_extension_that_is_gone_is_neither_rung_nor_let_in(switch: Switch, serve: Serve, watch: Watch) -> None:
    phone = Phone(switch, "402", "phone_refuses", company="bolt", status="486 Busy Here")
    password = switch.password_of("402", "bolt")
    with routing(switch, serve, watch, "  402: {name: Emil Fuchs, email: emil@bolt.test}\n", ""):
        assert rings(watch, "402", "bolt") == "SUBSCRIBER_ABSENT"
        register(switch, "402", password, phone.port, domain=f"bolt.{DOMAIN}", status=403).ended()
        assert not phone.said().count("INVITE sip:")
    phone.stop()


def test_a_new_password_ends_the_registration_of_the_old(switch: Switch, serve: Serve, watch: Watch) -> None:
    old = Phone(switch, "402", "phone_refuses", company="bolt", status="486 Busy Here")
    password = switch.password_of("402", "bolt")
    assert rings(watch, "402", "bolt") == "USER_BUSY"
    switch.make_passwords("--new", "bolt", "402")
    published(switch, serve, watch)
    assert rings(watch, "402", "bolt") == "USER_NOT_REGISTERED"
    register(switch, "402", password, old.port, domain=f"bolt.{DOMAIN}", status=403).ended()
    new = Phone(switch, "402", "phone_refuses", company="bolt", status="603 Decline")
    assert rings(watch, "402", "bolt") == "CALL_REJECTED"
    old.stop()
    new.put_away()


def test_a_switch_that_starts_with_an_older_directory_is_made_to_read_the_newer(
    switch: Switch, serve: Serve, watch: Watch
) -> None:
    version = switch.home / "state/directory/0-version.xml"
    now = version.read_text()
    # What the switch has now is the older one, as far as a controller can tell.
    version.write_text(re.sub(r'value="[0-9a-f]{16}"', 'value="0123456789abcdef"', now))
    serve.kill_controllers()  # their followers connect
    until("it reads", lambda: watch.api("domain_data cordboard-directory var version") == "0123456789abcdef")
    version.write_text(now)
    until("it reads", lambda: watch.api("domain_data cordboard-directory var version") != "0123456789abcdef")


# -- calls ---------------------------------------------------------------------------------------------------


def first_socket(watch: Watch, called: str) -> Event:
    return watch.wait(
        f"a call to {called} comes to a controller",
        lambda e: (
            e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.get("variable_cordboard_called") == called
        ),
    )


@pytest.mark.parametrize(("company", "extension"), [("acme", "302"), ("bolt", "402"), ("bolt", "301")])
def test_a_phone_that_calls_is_who_its_password_says(
    switch: Switch, serve: Serve, watch: Watch, company: str, extension: str
) -> None:
    caller = Dialler(switch, extension, "+74951230009", company=company)
    event = first_socket(watch, "+74951230009")
    assert [event.get(name) for name in OURS] == [company, extension]
    caller.stop()


@pytest.mark.parametrize(
    "said",
    [
        {"number": "402", "domain": f"acme.{DOMAIN}"},
        {"number": "+74951230003"},
        {"name": "402%0Avariable_cordboard_company: bolt"},
    ],
    ids=["another extension", "the company's number", "a forged header"],
)
def test_whatever_it_says_of_itself(switch: Switch, serve: Serve, watch: Watch, said: dict[str, Any]) -> None:
    caller = Dialler(switch, "301", "+74951230008", **said)
    event = first_socket(watch, "+74951230008")
    assert [event.get(name) for name in OURS] == ["acme", "301"]
    caller.stop()


def test_a_phone_that_says_it_is_of_another_company_cannot_call(switch: Switch, serve: Serve) -> None:
    # It is challenged for the other company, and has no password there.
    caller = Dialler(switch, "301", "+74951230007", domain=f"bolt.{DOMAIN}")
    with pytest.raises(Missing):
        caller.ended()
    assert "SIP/2.0 403" in caller.said()


FORGED = [
    "X-cordboard_company: acme",
    "X-Cordboard-Company: acme",
    "cordboard_company: acme",
    "variable_cordboard_company: acme",
    "X-FS-Support: update_display,send_info",
    "P-Asserted-Identity: <sip:301@acme.cordboard.test>",
    "P-Preferred-Identity: <sip:301@acme.cordboard.test>",
    "Remote-Party-ID: <sip:301@acme.cordboard.test>;party=calling;screen=yes;privacy=off",
    "Diversion: <sip:301@acme.cordboard.test>",
    "P-Charging-Vector: icid-value=cordboard_company",
    "X-AUTH-IP: 127.0.0.2",
    "X-user_name: 301",
    "Alert-Info: <sip:x>;cordboard_company=acme;cordboard_extension=301",
    "Call-Info: <sip:x>;cordboard_company=acme",
    "Replaces: 1@127.0.0.1;to-tag=1;from-tag=2",
]


@pytest.mark.parametrize("header", FORGED, ids=lambda header: header.partition(":")[0])
def test_a_carrier_is_never_a_phone(switch: Switch, serve: Serve, watch: Watch, header: str) -> None:
    called = f"+7499{FORGED.index(header):07d}"
    caller = Caller(
        switch,
        called,
        scenario="caller_refused",
        status=404,
        number="301",
        domain=f"acme.{DOMAIN}",
        headers=f"\n{header}",
    )
    caller.ended()
    event = first_socket(watch, called)
    assert [event.get(name) for name in OURS] == [None, None]


# -- files ---------------------------------------------------------------------------------------------------


def test_nobody_else_can_read_what_phones_are_let_in_by(switch: Switch, serve: Serve) -> None:
    folder = switch.home / "state" / "directory"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [*folder.iterdir(), switch.home / "passwords.yaml"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert sorted(file.name for file in folder.iterdir()) == [
        "0-version.xml",
        "acme.xml",
        "bolt.xml",
        "crane.xml",
        "heron.xml",
        "otter.xml",
    ]
    log = serve.log() + (switch.directory / "output").read_text()
    assert not [1 for company, extension in EXTENSIONS if switch.password_of(extension, company) in log]
