"""One attempt, to a real subscriber that verifies it by the reference library and by nothing of ours."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug import Request, Response

from tests.deliveries import NOW, House
from tests.subscriber import Subscriber, says
from workers.delivery import endpoints
from workers.delivery.jobs import Deliverer
from workers.delivery.reaching import Answer, Reach
from workers.delivery.sending import KEPT_BODY, Letter, Outcome, attempt, body_of, retry_after
from workers.journal.database import Database
from workers.journal.tables import Event, Secret

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
def reach() -> Reach:
    return Reach(LOOPBACK, whole=10.0)


def letter(url: str, *secrets: str, data: Mapping[str, Any] | None = None) -> Letter:
    return Letter("evt_1", url, body_of(event(data or {})), secrets or (endpoints.new_secret(),))


def event(data: Mapping[str, Any]) -> Event:
    return Event(
        id="evt_1",
        company="acme",
        call="c1",
        type="call.started",
        version=1,
        sequence=1,
        occurred_at=NOW,
        created_at=NOW,
        data=dict(data),
    )


def verified(request: Request, secret: str) -> Any:
    """By the reference library alone."""
    return Webhook(secret).verify(request.data, dict(request.headers))


def test_a_subscriber_verifies_what_it_got_with_the_reference_library(httpserver: HTTPServer, reach: Reach) -> None:
    secret, got = endpoints.new_secret(), []

    def subscriber(request: Request) -> Response:
        got.append(verified(request, secret))
        assert request.headers["Content-Type"] == "application/json"
        return Response(status=204)

    httpserver.expect_request("/hooks", method="POST").respond_with_handler(subscriber)
    came = attempt(
        reach, letter(httpserver.url_for("/hooks"), secret, data={"caller": "Müller \N{TELEPHONE RECEIVER}"})
    )
    httpserver.check_assertions()
    assert (came.delivered, came.status, came.error) == (True, 204, None)
    assert got == [
        {
            "id": "evt_1",
            "type": "call.started",
            "version": 1,
            "company": "acme",
            "call": "c1",
            "sequence": 1,
            "occurred_at": "2026-11-25T09:46:40.000Z",
            "data": {"caller": "Müller \N{TELEPHONE RECEIVER}"},
        }
    ]


def test_during_a_rotation_both_secrets_verify_and_afterwards_the_new_one_only(
    sqlite: Database, httpserver: HTTPServer, reach: Reach
) -> None:
    house = House(sqlite)
    house.now = time.time()
    id_ = house.endpoint(httpserver.url_for("/hooks"))
    with sqlite.reading() as session:
        old = session.scalars(select(Secret.secret)).one()
    with sqlite.writing() as session:
        new = endpoints.rotate(session, "acme", id_, house.now)
    seen: list[dict[str, bool]] = []

    def subscriber(request: Request) -> Response:
        seen.append({name: _verifies(request, secret) for name, secret in (("old", old), ("new", new))})
        return Response()

    httpserver.expect_request("/hooks").respond_with_handler(subscriber)
    worker = Deliverer(sqlite, lambda claimed: attempt(reach, claimed.letter), clock=house.clock)
    for after in (0.0, endpoints.OVERLAP - 10, 20.0):
        house.now += after
        house.event()
        worker.drain()
    assert seen == [{"old": True, "new": True}, {"old": True, "new": True}, {"old": False, "new": True}]


def _verifies(request: Request, secret: str) -> bool:
    try:
        verified(request, secret)
    except WebhookVerificationError:
        return False
    return True


def test_a_body_that_was_changed_does_not_verify(httpserver: HTTPServer, reach: Reach) -> None:
    secret, requests = endpoints.new_secret(), []

    def subscriber(request: Request) -> Response:
        requests.append((request.data, dict(request.headers)))
        return Response()

    httpserver.expect_request("/").respond_with_handler(subscriber)
    attempt(reach, letter(httpserver.url_for("/"), secret))
    body, headers = requests[0]
    Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"acme", b"evil"), headers)


def test_a_repeat_has_the_same_id_and_the_same_bytes(sqlite: Database, reach: Reach) -> None:
    house = House(sqlite)
    with Subscriber(says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as subscriber:
        house.endpoint(f"http://127.0.0.1:{subscriber.port}/")
        house.event(data={"b": 1, "a": [0.1, None, "ü"]})
        worker = Deliverer(sqlite, lambda claimed: attempt(reach, claimed.letter, house.clock), clock=house.clock)
        for _ in range(3):
            worker.drain()
            house.now += 3600
        bodies = {one.partition(b"\r\n\r\n")[2] for one in subscriber.requests}
        ids = {_header(one, "webhook-id") for one in subscriber.requests}
        assert (len(subscriber.requests), len(bodies), len(ids)) == (3, 1, 1)


def test_no_header_can_be_forged_by_data(reach: Reach) -> None:
    hostile = "x\r\nwebhook-id: evt_forged\r\n\r\nPOST / HTTP/1.1\r\nHost: other"
    with Subscriber(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as subscriber:
        attempt(reach, letter(f"http://127.0.0.1:{subscriber.port}/", data={"caller": hostile}))
        (raw,) = subscriber.requests
        head, _, body = raw.partition(b"\r\n\r\n")
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
        assert len(names) == len(set(names))
        assert _header(raw, "webhook-id") == "evt_1"
        assert json.loads(body)["data"]["caller"] == hostile
        assert b"\r" not in body


def test_what_is_kept_of_an_attempt_has_signatures_and_no_secret(reach: Reach) -> None:
    secret = endpoints.new_secret()
    with Subscriber(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as subscriber:
        sent = letter(f"http://127.0.0.1:{subscriber.port}/", secret)
        came = attempt(reach, sent)
    assert came.request_headers["webhook-signature"].startswith("v1,")
    kept = repr((came, sent))
    assert secret not in kept
    assert secret.removeprefix("whsec_") not in kept


def test_a_hostile_answer_is_kept_as_text_that_every_database_takes(database: Database, reach: Reach) -> None:
    house = House(database)
    answer = (
        b"HTTP/1.1 500 No\r\nX-Odd: \xff\xfe\x01\r\nContent-Length: 100000\r\n\r\n" + b"\0\xff\xed\xa0\x80" * 20_000
    )
    with Subscriber(says(answer)) as subscriber:
        house.endpoint(f"http://127.0.0.1:{subscriber.port}/")
        house.event()
        Deliverer(database, lambda claimed: attempt(reach, claimed.letter, house.clock), clock=house.clock).drain()
    (kept,) = house.attempts()
    assert kept.status == 500
    assert 0 < len(kept.response_body.encode()) <= 3 * KEPT_BODY
    assert "\0" not in kept.response_body


def test_a_secret_that_is_damaged_is_a_failure_and_not_an_end(reach: Reach, logs: list[Any]) -> None:
    came = attempt(reach, letter("http://127.0.0.1:1/", "whsec_!"))
    assert (came.delivered, came.error) == (False, "a mistake of ours: see the log")
    assert "whsec_!" not in repr(logs)


@pytest.mark.parametrize(
    ("status", "text", "asked"),
    [
        (429, "120", 120.0),
        (503, " 0 ", 0.0),
        (429, "Wed, 25 Nov 2026 09:48:40 GMT", 120.0),
        (503, "Wed, 25 Nov 2026 09:00:00 GMT", 0.0),
        (500, "120", None),
        (200, "120", None),
        *((429, text, None) for text in ("", "soon", "-5", "1.5", "١٢", "9" * 50, "Wed, 99 Nov 2026 09:00:00 GMT")),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(status: int, text: str, asked: float | None) -> None:
    assert retry_after(Answer(status, {"retry-after": text}, b""), NOW) == asked


def _header(raw: bytes, name: str) -> str:
    for line in raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"):
        if line.lower().startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise AssertionError(name)


def test_an_attempt_of_an_endpoint_that_is_away_says_why(reach: Reach) -> None:
    outcomes: list[Outcome] = [attempt(reach, letter("http://127.0.0.1:1/"))]
    assert outcomes[0].why == "no connection to 127.0.0.1 port 1 (Connection refused)"
    assert not outcomes[0].delivered


def test_the_address_is_judged_at_every_attempt(reach: Reach) -> None:
    judge: Callable[[str], Outcome] = lambda url: attempt(Reach(), letter(url))  # noqa: E731
    assert "is not public" in judge("https://127.0.0.1/").why
