"""What a subscriber's address may lead to, and how long it may take: with real sockets and an address book."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.subscriber import LOCAL, Names, Subscriber, says
from workers.delivery.reaching import MOST_BODY, Answer, Reach, Unreached

TLS = Path(__file__).parent / "tls"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
#: A public address that nobody has: nothing is sent there, it is only judged.
PUBLIC = "93.184.216.34"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(reach: Reach, url: str) -> Answer:
    return reach.post(url, {"Content-Type": "application/json"}, b'{"a":1}')


def refused(reach: Reach, url: str) -> str:
    with pytest.raises(Unreached) as info:
        post(reach, url)
    return str(info.value)


@pytest.fixture
def lab() -> Reach:
    """A way out that the operator opened to this machine."""
    return Reach(LOOPBACK, connect=2.0, whole=2.0)


# ------------------------------------------------------------------------------------------- private addresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:93.184.216.34", "::7f00:1", "::127.0.0.1"),
        *("2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2001:0:7f00:1::", "fe80::1"),
        *("fe80::1%lo", "fe80::1%1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "5f00::1", "2001:db8::1"),
        *("2001:20::1", "3fff::1", "100::1"),
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    reach = Reach(resolve=Names(crm_test=[[address]]))
    assert "is not public, and the operator does not allow it" in refused(reach, "https://crm.test/hooks")
    assert reach.admits(PUBLIC, secure=True)  # judged, not merely refused
    assert reach.admits("2606:2800:220:1::1", secure=True)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "017700000001"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST", "localhost.", "[::]"),
        *("[0:0:0:0:0:ffff:127.0.0.1]", "①②⑦.⓪.⓪.①"),
    ],
)
def test_no_way_of_writing_this_machine_reaches_it(host: str) -> None:
    with Subscriber(says(OK)) as subscriber:
        refused(Reach(whole=3.0), f"https://{host}:{subscriber.port}/")
        refused(Reach(whole=3.0), f"http://{host}:{subscriber.port}/")
        assert subscriber.connections == 0


def test_the_address_that_was_judged_is_the_one_connected_to() -> None:
    """A name server that says something else the second time gains nothing: it is asked once an attempt."""
    names = Names(crm_test=[[PUBLIC], [LOCAL]])
    reach = Reach(resolve=names, connect=0.2, whole=0.5)
    with Subscriber(says(OK)) as subscriber:
        refused(reach, f"https://crm.test:{subscriber.port}/")
        assert names.asked == ["crm.test"]
        assert "is not public" in refused(reach, f"https://crm.test:{subscriber.port}/")
        assert subscriber.connections == 0


def test_of_several_addresses_only_those_that_may_be_reached_are_tried() -> None:
    names = Names(crm_test=[["10.0.0.1", "127.0.0.2", LOCAL]])
    with Subscriber(says(OK)) as subscriber:
        only = (ipaddress.ip_network("127.0.0.1/32"),)
        assert post(Reach(only, resolve=names), f"http://crm.test:{subscriber.port}/").status == 200


def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    names = Names(crm_test=[["127.0.0.2", LOCAL]])  # nobody listens on the first
    with Subscriber(says(OK)) as subscriber:
        assert post(Reach(LOOPBACK, resolve=names), f"http://crm.test:{subscriber.port}/").status == 200


def test_without_tls_a_public_address_is_not_reached() -> None:
    assert "without TLS" in refused(Reach(resolve=Names(crm_test=[[PUBLIC]])), "http://crm.test/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_body_not_read_to_the_end(lab: Reach, status: int) -> None:
    """``requests`` reads it whole to be ready for the next request, even if there is none."""

    def endless(line: socket.socket) -> None:
        line.sendall(f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode())
        while True:
            line.sendall(b"x" * 65536)

    with Subscriber(says(OK)) as other, Subscriber(endless) as subscriber:
        answer = post(lab, f"http://127.0.0.1:{subscriber.port}/")
        assert (answer.status, len(answer.body)) == (status, MOST_BODY)
        assert other.connections == 0


def test_proxies_and_netrc_of_the_environment_are_not_used(
    lab: Reach, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Subscriber(says(OK)) as proxy, Subscriber(says(OK)) as subscriber:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        assert post(lab, f"http://127.0.0.1:{subscriber.port}/").status == 200
        assert proxy.connections == 0
        assert b"authorization" not in subscriber.requests[0].lower()


# ------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_is_verified_for_the_name_that_was_written() -> None:
    names = Names(crm_test=[[LOCAL]], other_test=[[LOCAL]])
    with Subscriber(says(OK), certificate=TLS / "crm.pem") as subscriber:
        trusting = Reach(LOOPBACK, resolve=names, trust=str(TLS / "ca.pem"))
        assert post(trusting, f"https://crm.test:{subscriber.port}/").body == b"ok"
        assert subscriber.requests[0].startswith(b"POST / HTTP/1.1\r\nHost: crm.test:")
        assert "TLS failed" in refused(trusting, f"https://other.test:{subscriber.port}/")
        assert "TLS failed" in refused(trusting, f"https://127.0.0.1:{subscriber.port}/")
        assert "TLS failed: unable to get local issuer" in refused(
            Reach(LOOPBACK, resolve=names), f"https://crm.test:{subscriber.port}/"
        )


def test_a_certificate_is_verified_though_the_environment_names_another_authority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "ca.pem"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(TLS / "ca.pem"))
    with Subscriber(says(OK), certificate=TLS / "crm.pem") as subscriber:
        reach = Reach(LOOPBACK, resolve=Names(crm_test=[[LOCAL]]))
        assert "TLS failed" in refused(reach, f"https://crm.test:{subscriber.port}/")


# ---------------------------------------------------------------------------------------------------- time


def _drip(head: str) -> Callable[[socket.socket], None]:
    def drip(line: socket.socket) -> None:
        line.sendall(head.encode())
        while True:
            line.sendall(b"x")
            time.sleep(0.02)

    return drip


@pytest.mark.parametrize(
    "head",
    [
        *("", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"),
        *("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 60000\r\n\r\n"),
    ],
    ids=["status", "version", "header", "body", "body-without-length", "body-of-a-redirect"],
)
def test_an_answer_of_a_byte_at_a_time_ends_at_the_deadline(head: str) -> None:
    with Subscriber(_drip(head)) as subscriber:
        began = time.monotonic()
        why = refused(Reach(LOOPBACK, whole=0.4), f"http://127.0.0.1:{subscriber.port}/")
        assert why == "no whole answer within 0.4 s"
        assert time.monotonic() - began < 5


def test_interim_answers_without_end_are_cut_at_the_deadline() -> None:
    def hundred(line: socket.socket) -> None:
        while True:
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with Subscriber(hundred) as subscriber:
        assert "within 0.4 s" in refused(Reach(LOOPBACK, whole=0.4), f"http://127.0.0.1:{subscriber.port}/")


def test_a_tls_handshake_that_never_ends_is_cut_at_the_deadline() -> None:
    with socket.create_server((LOCAL, 0)) as silent:
        port = silent.getsockname()[1]
        why = refused(Reach(LOOPBACK, whole=0.4), f"https://127.0.0.1:{port}/")
        assert why == "no whole answer within 0.4 s"


def test_a_name_server_that_keeps_silent_is_not_waited_for() -> None:
    over = threading.Event()

    def silent(host: str, port: int) -> list[str]:
        over.wait(20)
        return [LOCAL]

    try:
        reach = Reach(LOOPBACK, resolve=silent, connect=0.2, whole=0.5)
        assert refused(reach, "https://crm.test/") == "its name was not resolved within 0.2 s"
    finally:
        over.set()


def test_names_that_never_resolve_leave_the_others_alone() -> None:
    """Their threads are bounded, and an IP address needs none."""
    over = threading.Event()

    def silent(host: str, port: int) -> list[str]:
        over.wait(20)
        return [LOCAL]

    try:
        reach = Reach(LOOPBACK, resolve=silent, connect=0.01, whole=1.0)
        reasons = {refused(reach, "https://crm.test/") for _ in range(40)}
        assert "its name was not resolved: too many name servers do not answer" in reasons
        with Subscriber(says(OK)) as subscriber:
            assert post(reach, f"http://127.0.0.1:{subscriber.port}/").status == 200
    finally:
        over.set()


# ---------------------------------------------------------------------------------------------------- answers


def test_of_a_long_answer_64_kb_are_read(lab: Reach) -> None:
    with Subscriber(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)) as subscriber:
        assert len(post(lab, f"http://127.0.0.1:{subscriber.port}/").body) == MOST_BODY


def test_a_compressed_answer_is_not_unpacked(lab: Reach) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    with Subscriber(says(head + b"bomb")) as subscriber:
        assert post(lab, f"http://127.0.0.1:{subscriber.port}/").body == b"bomb"


@pytest.mark.parametrize(
    "answer",
    [
        *("", "HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "SSH-2.0-OpenSSH\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\n" + "X-Many: x\r\n" * 200 + "\r\n",
        "HTTP/1.1 200 OK\r\nX-Long: " + "x" * 70_000 + "\r\n\r\n",
    ],
)
def test_half_an_answer_is_none(lab: Reach, answer: str) -> None:
    with Subscriber(says(answer)) as subscriber:
        assert "broke" in refused(lab, f"http://127.0.0.1:{subscriber.port}/")


def test_a_connection_that_is_refused_says_so(lab: Reach) -> None:
    with socket.create_server((LOCAL, 0)) as gone:
        port = gone.getsockname()[1]
    assert refused(lab, f"http://127.0.0.1:{port}/") == f"no connection to 127.0.0.1 port {port} (Connection refused)"


def test_a_cookie_of_one_attempt_is_not_sent_with_the_next(lab: Reach) -> None:
    with Subscriber(says("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")) as subscriber:
        for _ in range(2):
            post(lab, f"http://127.0.0.1:{subscriber.port}/")
        assert not any(b"cookie" in one.lower() for one in subscriber.requests)
        assert subscriber.connections == 2
