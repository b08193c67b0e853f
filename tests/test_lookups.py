"""Lookups against services that are slow, wrong, huge, redirecting, gone: every one ends in time, with a reason.

The services are on loopback, which the tests' configuration allows as private.
"""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import gevent
import pytest

from callcontrol import lookups as module
from callcontrol import messages as m
from callcontrol.addresses import public
from callcontrol.lookups import Lookups
from callcontrol.settings import Config
from tests.service import AGES, LOOPBACK, TLS, Serve, Service, answer, held, silent


class Bench:
    """Lookups with a name server and a clock of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.resolved: list[str] = []
        self.now = 1000.0
        self.secrets = directory / "secrets.yaml"
        self.private = [f"{LOOPBACK}/32"]
        self._made: Lookups | None = None

    @property
    def lookups(self) -> Lookups:
        if self._made is None:
            networks = tuple(ip_network(text) for text in self.private)
            config = Config(switches=(), private=networks, secrets=self.secrets)
            self._made = Lookups(config, resolve=self._resolve, clock=lambda: self.now)
        return self._made

    def _resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        return self.addresses.get(host, [LOOPBACK])

    def secret(self, text: str) -> None:
        self.secrets.write_text(text)
        self.secrets.chmod(0o600)

    def get(self, url: str, *wanted: str, seconds: float = AGES, company: str = "acme") -> m.LookedUp:
        return self.lookups.get(company, url, wanted or ("manager",), seconds)

    def ask(self, what: bytes | Serve, *wanted: str, seconds: float = AGES) -> m.LookedUp:
        """What becomes of one lookup of a service that says ``what``."""
        with Service(what) as service:
            return self.get(service.url(), *wanted, seconds=seconds)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failed(why: str) -> m.LookedUp:
    return m.LookedUp(0, "failed", {}, why)


class TestRequest:
    def test_it_is_one_plain_get_by_name(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"})) as service:
            assert bench.get(service.url("/a%2Fb?c=d#e")).values == {"manager": "301"}
        assert service.heads == [
            f"GET /a%2Fb?c=d HTTP/1.1\r\nHost: crm.test:{service.port}\r\nUser-Agent: cordboard\r\n"
            "Accept: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ]

    def test_an_address_without_a_path_asks_for_the_root(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"})) as service:
            bench.get(service.url("?x=1"))
        assert service.heads[0].startswith("GET /?x=1 HTTP/1.1\r\n")

    def test_a_proxy_of_the_environment_is_ignored(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        with Service(answer({"manager": "proxied"})) as proxy, Service(answer({"manager": "301"})) as service:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://{LOOPBACK}:{proxy.port}")
            assert bench.get(service.url()).values == {"manager": "301"}
        assert proxy.heads == []

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://crm.test/",
            "crm.test",
            "http:///x",
            "http://crm.test:99999/",
            "http://crm.test:0/",
            "http://a@crm.test/",
            "http://[x/",
            "",
        ],
    )
    def test_what_is_no_web_address_is_failed(self, bench: Bench, url: str) -> None:
        assert bench.get(url) == failed("not a web address")
        assert bench.resolved == []

    def test_a_request_that_cannot_be_written_is_failed(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"})) as service:
            assert bench.get(service.url("/a b")) == failed("the request cannot be written")
        assert service.heads == []


class TestStatus:
    @pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
    def test_unknown_and_gone_are_not_found(self, bench: Bench, status: str) -> None:
        assert bench.ask(answer({}, status)) == m.LookedUp(0, "not_found", {}, f"status {status[:3]}")

    @pytest.mark.parametrize(
        "status", ["201 X", "204 X", "206 X", "400 X", "401 X", "403 X", "429 X", "500 X", "503 X"]
    )
    def test_any_other_status_is_failed(self, bench: Bench, status: str) -> None:
        assert bench.ask(answer({"manager": "301"}, status)) == failed(f"status {status[:3]}")

    @pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
    def test_a_redirect_is_not_followed(self, bench: Bench, status: str) -> None:
        with Service(answer({"manager": "evil"})) as target:
            where = f"Location: {target.url()}"
            why = f"status {status}: redirects are not followed"
            assert bench.ask(answer("", f"{status} Moved", where)) == failed(why)
        assert target.heads == []

    def test_interim_answers_are_passed_over(self, bench: Bench) -> None:
        interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        assert bench.ask(interim + answer({"manager": "301"})).outcome == "then"
        assert bench.ask(interim * 9 + answer({"manager": "301"})) == failed("no answer but interim ones")


class TestBody:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ('{"manager": "301"}', "301"),
            ('{"manager": 301}', "301"),
            ('{"manager": -7}', "-7"),
            ('{"manager": 1.50}', "1.50"),
            ('{"manager": 12345678901234567890123}', "12345678901234567890123"),
            ('{"manager": true}', "true"),
            ('{"manager": false}', "false"),
            ('{"manager": ""}', ""),
            ('{"manager": "Анна"}', "Анна"),
            ('\ufeff{"manager": "301"}', "301"),
            ('{"manager": "' + "я" * 32 + '"}', "я" * 32),
            ('{"other": {"a": [1, {"b": null}]}, "manager": "301"}', "301"),
        ],
    )
    def test_a_value_becomes_text_as_it_is_written(self, bench: Bench, body: str, text: str) -> None:
        assert bench.ask(answer(body)) == m.LookedUp(0, "then", {"manager": text})

    def test_only_the_wanted_keys_come_in(self, bench: Bench) -> None:
        told = answer({"manager": "301", "tier": "gold", "language": "ru", "caller": "+7"})
        assert bench.ask(told, "tier", "manager").values == {"tier": "gold", "manager": "301"}

    @pytest.mark.parametrize("body", ["{}", '{"manager": null}', '{"Manager": "301"}'])
    def test_a_key_that_is_missing_or_null_is_not_found(self, bench: Bench, body: str) -> None:
        assert bench.ask(answer(body)) == m.LookedUp(0, "not_found", {}, "its answer has no manager")

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("[]", "manager is neither text nor a number"),
            ('{"a": 1}', "manager is neither text nor a number"),
            ('"' + "x" * 65 + '"', "manager is longer than 64 bytes"),
            ('"' + "я" * 33 + '"', "manager is longer than 64 bytes"),
            ("9" * 65, "manager is longer than 64 bytes"),
            (r'"a\nb"', "manager has characters that cannot be shown"),
            (r'"a\u0000b"', "manager has characters that cannot be shown"),
            (r'"a\u2028b"', "manager has characters that cannot be shown"),
            (r'"a\u202eb"', "manager has characters that cannot be shown"),
            (r'"a\ud800b"', "manager has characters that cannot be shown"),
            ("1e5", "manager is a number with an exponent"),
        ],
    )
    def test_a_value_that_is_no_short_text_is_failed(self, bench: Bench, value: str, why: str) -> None:
        assert bench.ask(answer(f'{{"tier": "x", "manager": {value}}}'), "tier", "manager") == failed(why)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b'{"manager": "301"',
            b'{"manager": "301"} x',
            b'{"manager": NaN}',
            b'{"manager": "1", "x": -Infinity}',
            b'{"manager": "1", "manager": "2"}',
            b'{"manager": "1", "x": {"a": 1, "a": 2}}',
            b'{"manager": "\xff"}',
            b'{"manager": 01}',
            b"{'manager': '1'}",
            b"[" * 60_000,
            b'{"a":' * 12_000,
            '{"manager": "301"}'.encode("utf-16"),
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_what_is_no_json_is_failed(self, bench: Bench, body: bytes) -> None:
        assert bench.ask(answer(body)) == failed("its answer is not JSON that can be read")

    @pytest.mark.parametrize("body", ["[]", '"manager"', "301", "null", '[{"manager": "301"}]'])
    def test_other_json_than_an_object_is_failed(self, bench: Bench, body: str) -> None:
        assert bench.ask(answer(body)) == failed("its answer is not a JSON object")


def chunks(*pieces: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + framed + b"0\r\n\r\n"


class TestSize:
    def test_a_chunked_answer_is_read(self, bench: Bench) -> None:
        assert bench.ask(chunks(b'{"mana', b'ger": "301"}')).values == {"manager": "301"}

    def test_an_answer_that_ends_with_the_connection_is_read(self, bench: Bench) -> None:
        assert bench.ask(answer({"manager": "301"}, length=False)).values == {"manager": "301"}

    def test_64_kb_are_read(self, bench: Bench) -> None:
        body = b'{"manager": "301"}'
        body += b" " * (64 * 1024 - len(body))
        assert bench.ask(answer(body)).outcome == "then"
        assert bench.ask(chunks(body[:30_000], body[30_000:])).outcome == "then"

    @pytest.mark.parametrize("framed", [answer, lambda body: chunks(body[:40_000], body[40_000:])])
    def test_more_is_failed(self, bench: Bench, framed: Callable[[bytes], bytes]) -> None:
        body = b'{"manager": "301"}' + b" " * 64 * 1024
        assert bench.ask(framed(body)).why.startswith("its answer is larger than 64 kB")

    def test_nor_is_the_rest_of_one_awaited_that_says_how_large_it_is(self, bench: Bench) -> None:
        def promises(sock: socket.socket, service: Service) -> None:
            service.read(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n{")
            service.closing.wait(AGES)

        assert bench.ask(promises).why.startswith("its answer is larger than 64 kB")

    def test_what_stands_between_the_pieces_counts_too(self, bench: Bench) -> None:
        padded = b"".join(b"1;x=" + b"x" * 10_000 + b"\r\n \r\n" for _ in range(30))
        told = chunks(b'{"manager": "301"}').removesuffix(b"0\r\n\r\n") + padded + b"0\r\n\r\n"
        assert bench.ask(told).why.startswith("its answer is larger than 64 kB")

    def test_an_answer_without_end_is_not_read_to_it(self, bench: Bench) -> None:
        sent = 0

        def endless(sock: socket.socket, service: Service) -> None:
            nonlocal sent
            service.read(sock)
            sock.sendall(answer(b"{", length=False))
            while not service.closing.is_set():
                sent += sock.send(b" " * 65536)

        assert bench.ask(endless).why.startswith("its answer is larger than 64 kB")
        assert sent < 50 * 2**20

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-unknown"])
    def test_a_compressed_answer_is_not_unpacked(self, bench: Bench, encoding: str) -> None:
        bomb = gzip.compress(b'{"manager": "301"}' + b" " * 10_000_000)
        why = "its answer is compressed, although asked not to be"
        assert bench.ask(answer(bomb[:60_000], "200 OK", f"Content-Encoding: {encoding}")) == failed(why)

    def test_a_body_in_ever_so_many_pieces_is_failed(self, bench: Bench) -> None:
        pieces = [bytes([byte]) for byte in b'{"manager": "301"' + b" " * 1500 + b"}"]
        assert bench.ask(chunks(*pieces)).why.endswith("or comes in too many pieces")

    def test_a_head_without_end_is_failed(self, bench: Bench) -> None:
        def endless(sock: socket.socket, service: Service) -> None:
            service.read(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\n")
            while not service.closing.is_set():
                sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")

        assert bench.ask(endless) == failed("its answer is not HTTP, or was cut short")


class TestTrouble:
    @pytest.mark.parametrize(
        "told",
        [
            b"",
            b"\x00" * 100,
            b"220 mail.test ESMTP\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        ],
    )
    def test_what_is_not_whole_http_is_failed(self, bench: Bench, told: bytes) -> None:
        assert bench.ask(told) == failed("its answer is not HTTP, or was cut short")

    def test_a_connection_that_is_reset_in_the_middle_is_failed(self, bench: Bench) -> None:
        def reset(sock: socket.socket, service: Service) -> None:
            service.read(sock)
            sock.sendall(answer(b'{"manager": "301"}')[:-5])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

        assert bench.ask(reset) == failed("the connection broke: connection reset by peer")

    def test_a_service_that_is_gone_is_failed(self, bench: Bench) -> None:
        with Service(b"") as service:
            pass
        assert bench.get(service.url()) == failed("no connection: connection refused")

    def test_a_name_that_cannot_be_resolved_is_failed(self, tmp_path: Path) -> None:
        real = Lookups(Config(switches=(), secrets=tmp_path / "none"))
        for host in ("nowhere.invalid", "x" * 64 + ".test", "a..test"):
            assert real.get("acme", f"http://{host}/", ["x"], AGES) == failed("its name cannot be resolved")

    def test_a_name_is_really_resolved_when_nothing_else_is_said(self, tmp_path: Path) -> None:
        networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
        real = Lookups(Config(switches=(), private=networks, secrets=tmp_path / "none"))
        with Service(answer({"manager": "301"})) as service:
            assert real.get("acme", service.url(host="localhost"), ["manager"], AGES).values == {"manager": "301"}


class TestDeadline:
    def test_a_service_that_says_nothing(self, bench: Bench) -> None:
        assert bench.ask(silent, seconds=0.1) == failed("no answer within 0.1 s")

    @pytest.mark.parametrize("told", [answer({"manager": "301"}), chunks(b'{"manager": "301"}')])
    def test_a_service_that_says_a_byte_at_a_time(self, bench: Bench, told: bytes) -> None:
        def trickle(sock: socket.socket, service: Service) -> None:
            service.read(sock)
            for byte in told[:20] * 1000:  # each byte is in time for any time-out of a single read
                if service.closing.wait(0.02):
                    return
                sock.sendall(bytes([byte]))

        began = time.monotonic()
        assert bench.ask(trickle, seconds=0.3) == failed("no answer within 0.3 s")
        assert time.monotonic() - began < AGES / 2

    def test_a_body_that_trickles(self, bench: Bench) -> None:
        def trickle(sock: socket.socket, service: Service) -> None:
            service.read(sock)
            sock.sendall(answer(b'{"manager": "301"}' * 1000)[:60])
            while not service.closing.wait(0.02):
                sock.sendall(b" ")

        assert bench.ask(trickle, seconds=0.3) == failed("no end of the answer within 0.3 s")

    def test_a_name_server_that_does_not_answer(self, bench: Bench) -> None:
        def asleep(host: str, port: int) -> list[str]:
            gevent.sleep(AGES)
            return []

        bench.lookups._resolve = asleep
        assert bench.get("https://crm.test/", seconds=0.1) == failed("no address within 0.1 s")

    def test_a_handshake_that_does_not_end(self, bench: Bench) -> None:
        with Service(silent) as service:
            assert bench.get(service.url(scheme="https"), seconds=0.1) == failed("no TLS within 0.1 s")

    def test_a_connection_that_is_not_taken_leaves_time_for_the_next_address(self, bench: Bench) -> None:
        bench.private = ["127.0.0.0/8"]
        with Service(answer({"manager": "301"})) as service, socket.socket() as full:
            full.bind(("127.0.0.2", service.port))
            full.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for sock in waiting:  # a backlog that is full drops what comes
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            bench.addresses["crm.test"] = ["127.0.0.2", LOOPBACK]
            assert bench.get(service.url(), seconds=3.0).values == {"manager": "301"}
            for sock in waiting:
                sock.close()

    def test_a_time_out_of_the_callers_own_stays_theirs(self, bench: Bench) -> None:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            bench.ask(silent)

    def test_nothing_is_left_open(self, bench: Bench) -> None:
        with Service(silent) as plain, Service(answer({}), tls=True) as secure:
            descriptors = Path("/proc/self/fd")
            if not descriptors.exists():
                pytest.skip("no /proc here")
            bench.get(plain.url(scheme="https"), seconds=0.05)
            for url in (plain.url(), plain.url(scheme="https"), secure.url(scheme="https")) * 2:
                ours = [fd for fd in descriptors.iterdir() if _is_client_of(fd, plain.port, secure.port)]
                assert ours == []
                bench.get(url, seconds=0.05, company=url)


def _is_client_of(descriptor: Path, *ports: int) -> bool:
    """Whether it is a connection of this process to one of these ports."""
    try:
        if not os.readlink(descriptor).startswith("socket:"):
            return False  # what would be made of it would be nobody's to close
        with socket.socket(fileno=socket.dup(int(descriptor.name))) as sock:
            peer = sock.getpeername()
            return isinstance(peer, tuple) and peer[1] in ports
    except OSError:
        return False


NOT_PUBLIC = """
0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.254 127.0.0.1 127.255.0.1 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.7 224.0.0.1 239.1.1.1 240.0.0.1
255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 100::1 fe80::1
fe80::1%1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001::1 2001:20::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1
2606:4700::1%eth0
"""
PUBLIC = "8.8.8.8 1.1.1.1 100.63.0.1 172.15.0.1 172.32.0.1 2606:4700::1 2a00::1"


class TestAddresses:
    @pytest.mark.parametrize("address", NOT_PUBLIC.split())
    def test_an_address_that_is_not_public_is_not_connected_to(self, bench: Bench, address: str) -> None:
        assert not public(address)
        bench.private = []
        bench.addresses["crm.test"] = [address]
        assert bench.get("https://crm.test/").why.startswith(f"its address {address} is not public")

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "1.1.1.1", "100.63.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1", "2a00::1"]
    )
    def test_others_are_public(self, address: str) -> None:
        assert public(address)

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"])
    def test_no_way_of_writing_loopback_gets_there(self, tmp_path: Path, host: str) -> None:
        lookups = Lookups(Config(switches=(), secrets=tmp_path / "none"))
        with Service(answer({"manager": "301"})) as service:
            why = lookups.get("acme", service.url(host=host), ["manager"], AGES).why
            assert why.endswith("is not public, and cordboard.yaml does not allow it (lookups: private)")
        assert service.heads == []

    def test_of_mixed_addresses_only_those_are_tried_that_may_be(self, bench: Bench) -> None:
        with Service(answer({"manager": "evil"}), address="127.0.0.2") as inside:
            bench.addresses["crm.test"] = ["127.0.0.2", "::ffff:127.0.0.2", LOOPBACK]
            assert bench.get(inside.url()) == failed("no connection: connection refused")
        assert inside.heads == []

    def test_a_name_is_asked_once_so_that_no_second_answer_counts(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"})) as service:
            answers = iter([[LOOPBACK], ["127.0.0.2"]])
            bench.lookups._resolve = lambda host, port: next(answers)
            assert bench.get(service.url()).values == {"manager": "301"}
            assert next(answers) == ["127.0.0.2"]  # the second one was not asked for

    def test_and_judged_anew_each_time(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"})) as service:
            assert bench.get(service.url()).outcome == "then"
            bench.addresses["crm.test"] = ["127.0.0.2"]
            assert bench.get(service.url()).why.startswith("its address 127.0.0.2 is not public")

    def test_a_name_without_addresses_is_failed(self, bench: Bench) -> None:
        bench.lookups._resolve = lambda host, port: []
        assert bench.get("http://crm.test/").why.startswith("it has no address that is")


class TestTls:
    @pytest.fixture(autouse=True)
    def _trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))

    def test_a_certificate_for_the_name_is_verified(self, bench: Bench) -> None:
        with Service(answer({"manager": "301"}), tls=True) as service:
            assert bench.get(service.url(scheme="https")).values == {"manager": "301"}

    def test_one_for_another_name_is_refused_before_anything_is_said(self, bench: Bench) -> None:
        bench.secret("lookups: {acme: {other.test: {Authorization: geheim}}}")
        with Service(answer({"manager": "301"}), tls=True) as service:
            why = bench.get(service.url(scheme="https", host="other.test")).why
        assert why.startswith("its certificate is not trusted: Hostname mismatch")
        assert service.heads == []

    def test_one_of_an_unknown_authority_is_refused(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
        with Service(answer({"manager": "301"}), tls=True) as service:
            why = bench.get(service.url(scheme="https")).why
        assert why.startswith("its certificate is not trusted: unable to get local issuer")
        assert service.heads == []

    def test_a_service_that_speaks_no_tls_is_failed(self, bench: Bench) -> None:
        def plain(sock: socket.socket, service: Service) -> None:
            sock.recv(4096)
            sock.sendall(answer("", "400 Bad Request"))
            service.closing.wait(AGES)

        with Service(plain) as service:
            assert bench.get(service.url(scheme="https")) == failed("no TLS: wrong version number")


class TestBreaker:
    def fail(self, bench: Bench, service: Service, times: int, **more: Any) -> list[str]:
        return [bench.get(service.url(), **more).why for _ in range(times)]

    def test_five_failures_in_a_row_open_it_for_half_a_minute(self, bench: Bench, logs: list[Any]) -> None:
        with Service(answer("", "500 X")) as service:
            assert self.fail(bench, service, 5) == ["status 500"] * 5
            assert self.fail(bench, service, 2) == ["not asked, for it failed again and again: status 500"] * 2
            assert len(service.heads) == 5
            bench.now += 29.9
            self.fail(bench, service, 1)
            assert len(service.heads) == 5
        warned = [line for line in logs if line["log_level"] == "warning"]
        assert [(line["company"], line["host"]) for line in warned] == [("acme", "crm.test")]

    def test_then_one_trial_decides(self, bench: Bench) -> None:
        with Service(answer("", "500 X")) as service:
            self.fail(bench, service, 5)
            bench.now += 30
            assert self.fail(bench, service, 2)[0] == "status 500"
            assert len(service.heads) == 6
            bench.now += 30
            service.what = answer({"manager": "301"})
            assert bench.get(service.url()).outcome == "then"
            service.what = answer("", "500 X")
            assert self.fail(bench, service, 5) == ["status 500"] * 5  # it counts from the beginning

    def test_while_the_trial_is_under_way_nobody_else_asks(self, bench: Bench) -> None:
        with Service(answer("", "500 X")) as service:
            self.fail(bench, service, 5)
            bench.now += 30
            service.what = held
            trial = gevent.spawn(bench.get, service.url())
            while len(service.heads) < 6:
                gevent.sleep(0.005)
            assert self.fail(bench, service, 1)[0].startswith("not asked")
            trial.kill()
            bench.now += 30  # a trial that is given up has failed, and another may follow
            service.what = answer({"manager": "301"})
            assert bench.get(service.url()).outcome == "then"

    def test_failures_that_are_not_in_a_row_or_not_within_a_minute_do_not_count(self, bench: Bench) -> None:
        with Service(answer("", "500 X")) as service:
            self.fail(bench, service, 4)
            service.what = answer("", "404 X")
            self.fail(bench, service, 1)
            service.what = answer("", "500 X")
            for _ in range(9):
                bench.now += 16
                assert self.fail(bench, service, 1) == ["status 500"]

    @pytest.mark.parametrize("told", [answer("", "404 X"), answer("", "400 X"), answer('{"manager": []}'), answer("x")])
    def test_a_service_that_answers_is_well_whatever_it_says(self, bench: Bench, told: bytes) -> None:
        with Service(told) as service:  # a caller who types nonsense must not cost other callers their answers
            self.fail(bench, service, 8)
            assert len(service.heads) == 8

    def test_another_company_and_another_port_have_their_own(self, bench: Bench) -> None:
        with Service(answer("", "500 X")) as one, Service(answer("", "500 X")) as two:
            self.fail(bench, one, 6)
            assert self.fail(bench, one, 1, company="volga") == ["status 500"]
            assert self.fail(bench, two, 1) == ["status 500"]


class TestLimit:
    def test_a_company_has_so_many_at_a_time_and_others_are_not_its_business(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_AT_ONCE", 3)

        with Service(held) as service:
            waiting = [gevent.spawn(bench.get, service.url()) for _ in range(3)]
            while len(service.heads) < 3:
                gevent.sleep(0.005)
            assert bench.get(service.url()) == failed("3 lookups of acme are under way already")
            assert bench.get(service.url(), seconds=0.05, company="volga") == failed("no answer within 0.05 s")
            waiting[0].kill()
            assert bench.get(service.url(), seconds=0.05) == failed("no answer within 0.05 s")
            gevent.killall(waiting)
        assert bench.lookups._under_way == {}

    def test_it_is_fifty(self) -> None:
        assert module.MOST_AT_ONCE == 50


BEARER = "Bearer geheim-1234"


class TestSecrets:
    TEXT = f'lookups: {{acme: {{CRM.test: {{Authorization: "{BEARER}", X-Key: "k"}}}}}}'

    @pytest.fixture(autouse=True)
    def _trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))

    def test_they_are_sent_to_their_host(self, bench: Bench) -> None:
        bench.secret(self.TEXT)
        with Service(answer({"manager": "301"}), tls=True) as service:
            assert bench.get(service.url(scheme="https")).outcome == "then"
        assert f"\r\nAuthorization: {BEARER}\r\nX-Key: k\r\n" in service.heads[0]

    def test_to_nobody_else_and_by_nobody_else(self, bench: Bench) -> None:
        bench.secret(self.TEXT)
        with Service(answer({"manager": "301"})) as service:
            bench.get(service.url(host="crm.test.evil.test"))
            bench.get(service.url(), company="volga")
        assert len(service.heads) == 2
        assert "geheim" not in "".join(service.heads)

    def test_without_tls_only_into_a_private_network(self, bench: Bench) -> None:
        bench.secret(self.TEXT)
        with Service(answer({"manager": "301"})) as service:
            bench.get(service.url())
        assert BEARER in service.heads[0]
        bench.addresses["crm.test"] = ["8.8.8.8"]
        assert bench.get("http://crm.test/") == failed("its secret is not sent without TLS: write https")

    def test_one_may_say_who_asks_but_once(self, bench: Bench) -> None:
        bench.secret("lookups: {acme: {crm.test: {user-agent: acme, Accept: '*/*'}}}")
        with Service(answer({"manager": "301"})) as service:
            bench.get(service.url())
        assert service.heads[0].lower().count("user-agent:") == 1
        assert "\r\nuser-agent: acme\r\nAccept: */*\r\n" in service.heads[0]

    def test_they_are_in_no_line_of_the_log_and_no_answer(
        self, bench: Bench, logs: list[MutableMapping[str, Any]]
    ) -> None:
        bench.secret(self.TEXT)
        said = []
        for told in (b"", answer("x", "500 X"), answer("x", "302 X"), answer("{}"), b"HTTP/1.1 200\r\nB B: x\r\n\r\n"):
            with Service(told) as service:
                said.append(bench.get(service.url()))
                said.append(bench.get(service.url("/a b")))  # h11 would quote what it refuses
                said.append(bench.get(service.url(scheme="https"), seconds=0.05))
        assert len(logs) > 8
        assert "geheim" not in repr((logs, said, bench.lookups, vars(bench.lookups)))

    def test_a_mistake_of_ours_is_an_answer_too(
        self, bench: Bench, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "values_of", lambda body, wanted: wanted["gone"])
        with Service(answer({"manager": "301"})) as service:
            assert bench.get(service.url()) == failed("a mistake of ours: see the log")
        assert logs[0]["log_level"] == "error"


class TestStart:
    def test_the_answer_comes_later_with_the_number_of_the_question(self, bench: Bench) -> None:
        answers: list[m.LookedUp] = []
        with Service(answer({"manager": "301"})) as service:
            command = m.Lookup(7, service.url(), ("manager",), AGES)
            bench.lookups.start("acme", command, answers.append)
            assert answers == []
            while not answers:
                gevent.sleep(0.005)
        assert answers == [m.LookedUp(7, "then", {"manager": "301"})]

    def test_many_who_ask_for_one_name_take_one_thread_and_others_go_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held, asked = threading.Event(), []

        def getaddrinfo(host: str, port: int, *more: int) -> list[Any]:
            asked.append(host)
            if host == "slow.test":
                held.wait(AGES)
            return [(2, 1, 6, "", (LOOPBACK, port))]

        lookups = Lookups(Config(switches=(), private=(ip_network("127.0.0.0/8"),), secrets=tmp_path / "none"))
        resolver: Any = lookups._resolve
        pool = resolver._resolver.pool
        monkeypatch.setattr(resolver._resolver, "getaddrinfo", lambda *asked: pool.apply(getaddrinfo, asked))
        with Service(answer({"manager": "301"})) as service:
            url = service.url(host="slow.test")
            slow = [gevent.spawn(lookups.get, "acme", url, ["manager"], 0.1) for _ in range(40)]
            assert {looked.why for looked in (each.get() for each in slow)} == {"no address within 0.1 s"}
            assert asked == ["slow.test"]
            assert lookups.get("acme", service.url(), ["manager"], AGES).outcome == "then"
            held.set()


PATCHED = """\
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from pathlib import Path
from ipaddress import ip_network
from callcontrol import messages as m
from callcontrol.lookups import Lookups
from callcontrol.settings import Config

port, plain, secure = sys.argv[1:]
lookups = Lookups(Config(switches=(), private=(ip_network("127.0.0.0/8"), ip_network("::1/128")), secrets=Path("none")))
answers, turns = [], 0
lookups.start("acme", m.Lookup(1, f"{plain}/hangs", ("x",), 1.0), answers.append)
lookups.start("acme", m.Lookup(2, f"{secure}/hangs", ("x",), 1.0), answers.append)
while len(answers) < 2:
    gevent.sleep(0.01)
    turns += 1
print(turns > 20, sorted((a.id, a.why) for a in answers))
print(lookups.get("acme", port, ("x",), 20.0))
"""


def test_in_a_patched_process_others_go_on_while_a_lookup_hangs(tmp_path: Path) -> None:
    with Service(silent) as hangs, Service(answer({"x": 1})) as good:
        urls = [good.url(host="localhost"), hangs.url("", "localhost"), hangs.url("", "localhost", "https")]
        command = [sys.executable, "-W", "error", "-c", PATCHED, *urls]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        "True [(1, 'no answer within 0.95 s'), (2, 'no TLS within 0.95 s')]",
        "LookedUp(id=0, outcome='then', values={'x': '1'}, why='')",
    ], done.stderr


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No test leaves greenlets behind that wait for one another."""
    yield
    gevent.sleep(0)
