"""Lookups in whole calls over TCP: the real server, the stand-in switch, a service of the company's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from freeswitch.simulator import Answers, Caller
from scripts.rig import ROUTING, Rig
from tests.service import Service, answer, held

pytestmark = pytest.mark.tcp
HOTLINE = "+78005550101"
CRM = "https://crm.acme.test/orders/{order}"


class LookupRig(Rig):
    """A rig whose example company asks ``service``, with a secret."""

    def __init__(self, directory: Path, service: Service) -> None:
        text = (ROUTING / "acme.yaml").read_text(encoding="utf-8")
        assert CRM in text
        (directory / "routing/sounds").mkdir(parents=True)
        (directory / "routing/sounds/acme").symlink_to(ROUTING / "sounds/acme")
        asks = service.url("/orders/{order}", host="localhost")
        (directory / "routing/acme.yaml").write_text(text.replace(CRM, asks), encoding="utf-8")
        super().__init__(directory, routing=directory / "routing", sounds={})

    def start_server(self) -> None:
        config = self.directory / "cordboard.yaml"
        config.write_text(config.read_text() + "lookups: {private: [127.0.0.0/8, '::1/128']}\n")
        secrets = self.directory / "secrets.yaml"
        secrets.touch(mode=0o600)
        secrets.write_text("lookups: {acme: {localhost: {Authorization: geheim}, old.test: {X-Key: geheim}}}")
        super().start_server()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service(b"") as started:
        yield started


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Rig]:
    with LookupRig(tmp_path_factory.mktemp("rig"), service) as started:
        started.switch.phone("303", Answers(after=0.1, talk=0.3))
        yield started


def orders(rig: Rig) -> Caller:
    caller = rig.switch.call("+79031234567", HOTLINE)
    caller.wait("heard:speech", 10)
    caller.press("12345678", gap=0.1)
    return caller


def test_a_caller_gets_the_manager_whom_the_service_names(rig: Rig, service: Service) -> None:
    service.what = answer({"manager": 303})
    caller = orders(rig)
    caller.wait("talking", 15)
    assert rig.wait_fact(caller.uuid, "lookup.done")["data"]["outcome"] == "then"
    assert service.heads[-1].startswith("GET /orders/12345678 HTTP/1.1\r\n")
    assert "\r\nAuthorization: geheim\r\n" in service.heads[-1]
    caller.wait("ended", 30)
    assert rig.facts(caller.uuid, "leg.rung")[0]["data"]["address"] == "303"


def test_and_goes_on_when_it_is_ill(rig: Rig, service: Service) -> None:
    service.what = answer("", "500 X")
    caller = orders(rig)
    told = rig.wait_fact(caller.uuid, "lookup.done")["data"]
    assert (told["step"], told["host"], told["outcome"]) == ("hotline/who", "localhost", "failed")
    assert told["why"] == "status 500"
    caller.hangup()


def test_or_does_not_answer_and_the_call_knows_what_was_waited_for(rig: Rig, service: Service) -> None:
    service.what = held
    caller = orders(rig)
    told = rig.wait_fact(caller.uuid, "lookup.done")["data"]
    assert (told["outcome"], told["why"]) == ("failed", "no answer within 1.95 s")
    caller.hangup()


def test_a_new_owner_asks_again(rig: Rig, service: Service) -> None:
    asked, killed = threading.Event(), threading.Event()

    def slow_once(sock: socket.socket, service: Service) -> None:
        service.read(sock)
        if not asked.is_set():
            asked.set()
            killed.wait(20)
        sock.sendall(answer({"manager": "303"}))

    service.what = slow_once
    caller = orders(rig)
    rig.until(asked.is_set, 15, "the first question")
    rig.kill(rig.owner_of(caller.uuid))
    killed.set()
    caller.wait("talking", 15)
    assert rig.facts(caller.uuid, "call.taken_over")[0]["data"]["step"] == "who"
    assert [fact["data"]["outcome"] for fact in rig.facts(caller.uuid, "lookup.done")] == ["then"]
    caller.wait("ended", 30)


def test_the_secret_is_nowhere_and_what_nobody_uses_is_told(rig: Rig) -> None:
    assert "no lookup of acme asks old.test: its secret is never used" in rig.log()
    assert "geheim" not in rig.log()
    assert "geheim" not in repr(rig.facts())


def test_a_secrets_file_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    with Service(b"") as service:
        rig = LookupRig(tmp_path, service)
        (tmp_path / "secrets.yaml").touch(mode=0o600)
        (tmp_path / "secrets.yaml").chmod(0o644)
        try:
            with pytest.raises(Exception, match="chmod 600"):
                rig.start()
        finally:
            rig.stop()
