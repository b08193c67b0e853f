"""Endpoints of webhooks: made, changed, paused, deleted; what was delivered, and once more."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import func, select
from standardwebhooks import Webhook

from tests.web.conftest import NOON, Web, attempt, delivery, endpoint, event, problem
from workers import bell
from workers.journal.tables import Delivery, Endpoint, Secret

URL = "https://crm.example.com/hooks/pbx"


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """For whom the bell was rung."""
    found: list[str] = []

    def ring(_: object, queue: str) -> bool:
        found.append(queue)
        return True

    monkeypatch.setattr(bell, "ring", ring)
    return found


def count(web: Web, table: Any) -> int:
    found: int = web.read(lambda session: session.scalar(select(func.count()).select_from(table)))
    return found


class TestMaking:
    def test_its_secret_is_told_once_and_signs(self, web: Web) -> None:
        made = web.ask("POST", "/v1/endpoints", json={"url": URL, "events": ["call.*"]})
        assert made.status_code == 201
        assert made.json is not None
        assert Webhook(made.json["secret"]).sign("x", _now(), "{}").startswith("v1,")
        found = web.get(f"/v1/endpoints/{made.json['id']}")
        assert found == {name: value for name, value in made.json.items() if name != "secret"}
        assert web.get("/v1/endpoints") == {"items": [found]}
        assert (found["events"], found["state"]) == (["call.*"], "active")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "url"),
            ({"url": "ftp://crm.example.com/"}, "url"),
            ({"url": "https://user:secret@crm.example.com/"}, "url"),
            ({"url": "https://127.0.0.1/"}, "url"),
            ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
            ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
            ({"url": "https://2130706433/"}, "url"),
            ({"url": "https://crm.example.com/\r\nX-Evil: 1"}, "url"),
            ({"url": "https://" + "a" * 2000}, "url"),
            ({"url": 7}, "url"),
            ({"url": URL, "events": ["nosuch.event"]}, "events"),
            ({"url": URL, "events": "call.*"}, "events"),
            ({"url": URL, "events": ["call.started"] * 60}, "events"),
            ({"url": URL, "description": "two\nlines"}, "description"),
            ({"url": URL, "company": "beta"}, "company"),
            ({"url": URL, "secret": "mine"}, "secret"),
        ],
    )
    def test_what_cannot_be_one_is_refused_by_field(self, web: Web, body: dict[str, Any], field: str) -> None:
        said = problem(web.ask("POST", "/v1/endpoints", json=body), 422, "invalid")
        assert {one["field"].partition(".")[0] for one in said["errors"]} == {field}
        assert count(web, Endpoint) == 0

    def test_there_is_none_of_a_company_that_is_not_published(self, web: Web) -> None:
        every = web.token("operator", None)
        problem(web.ask("POST", "/v1/endpoints?company=acmee", every, json={"url": URL}), 404, "not-found")
        assert web.ask("POST", "/v1/endpoints?company=acme", every, json={"url": URL}).status_code == 201
        assert count(web, Endpoint) == 1


class TestChanging:
    @pytest.fixture(autouse=True)
    def _one(self, web: Web) -> None:
        web.add(endpoint("ep_mine", events=["call.*"], description="CRM"))

    def test_what_is_left_out_stays(self, web: Web) -> None:
        changed = web.ask("PATCH", "/v1/endpoints/ep_mine", json={"events": []}).json
        assert changed is not None
        assert (changed["events"], changed["description"]) == ([], "CRM")
        problem(web.ask("PATCH", "/v1/endpoints/ep_mine", json={"url": "https://10.0.0.1/"}), 422, "invalid")
        problem(web.ask("PATCH", "/v1/endpoints/ep_mine", json={"state": "active"}), 422, "invalid")

    def test_one_is_paused_and_goes_on(self, web: Web, rung: list[str]) -> None:
        paused = web.ask("POST", "/v1/endpoints/ep_mine/pause").json
        assert paused is not None
        assert (paused["state"], paused["why"]) == ("paused", "operator of acme by the API")
        problem(web.ask("POST", "/v1/endpoints/ep_mine/test"), 409, "conflict")
        assert rung == []
        assert web.ask("POST", "/v1/endpoints/ep_mine/resume").json == {**paused, "state": "active", "why": None}
        assert rung == ["delivery"]

    def test_a_new_secret_signs_beside_the_old_one_for_a_while(self, web: Web) -> None:
        first = web.ask("POST", "/v1/endpoints/ep_mine/rotate", json={}).json
        second = web.ask("POST", "/v1/endpoints/ep_mine/rotate", json={"overlap": 60}).json
        assert first is not None
        assert second is not None
        assert first["secret"] != second["secret"]
        assert count(web, Secret) == 2
        for wrong in (-1, 10**9, 10**400, "1e999", True, None):
            response = web.ask("POST", "/v1/endpoints/ep_mine/rotate", json={"overlap": wrong})
            assert problem(response, 422, "invalid")["errors"][0]["field"] == "overlap"

    def test_a_deleted_one_is_unknown(self, web: Web) -> None:
        response = web.ask("DELETE", "/v1/endpoints/ep_mine")
        assert (response.status_code, response.get_data()) == (204, b"")
        problem(web.ask("GET", "/v1/endpoints/ep_mine"), 404, "not-found")
        problem(web.ask("DELETE", "/v1/endpoints/ep_mine"), 404, "not-found")


class TestDeliveries:
    @pytest.fixture(autouse=True)
    def _some(self, web: Web) -> None:
        web.add(endpoint("ep_mine"), event("evt_1"), event("evt_2", occurred_at=NOON + 60, created_at=NOON + 60))
        web.add(delivery("dlv_1", "evt_1", "ep_mine", state="failed", why="500"))
        web.add(attempt("dlv_1"), attempt("dlv_1", number=2, at=NOON + 9, status=None, error="timed out"))

    def test_they_are_listed_with_their_attempts(self, web: Web) -> None:
        (found,) = web.get("/v1/endpoints/ep_mine/deliveries?state=failed")["items"]
        assert found == web.get("/v1/deliveries/dlv_1")
        assert web.get("/v1/endpoints/ep_mine/deliveries?state=pending")["items"] == []
        last, first = web.get("/v1/deliveries/dlv_1/attempts")["items"]
        assert (last["error"], first["status"]) == ("timed out", 200)
        page = web.get("/v1/deliveries/dlv_1/attempts?limit=1")
        assert web.get(f"/v1/deliveries/dlv_1/attempts?cursor={page['next']}")["items"] == [first]

    def test_one_is_sent_again_under_the_same_id(self, web: Web, rung: list[str]) -> None:
        again = web.ask("POST", "/v1/deliveries/dlv_1/redeliver")
        assert again.status_code == 202
        assert again.json is not None
        assert (again.json["id"], again.json["state"]) == ("dlv_1", "pending")
        assert rung == ["delivery"]

    def test_a_time_is_replayed(self, web: Web, rung: list[str]) -> None:
        body = {"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T13:00:00Z"}
        done = web.ask("POST", "/v1/endpoints/ep_mine/replay", json=body)
        assert (done.status_code, done.json) == (202, {"owed": 1, "again": 1, "next": None})
        assert rung == ["delivery"]
        narrowed = {**body, "types": ["queue.*"], "again": True}
        assert web.ask("POST", "/v1/endpoints/ep_mine/replay", json=narrowed).json == {
            "owed": 0,
            "again": 0,
            "next": None,
        }

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"since": "2026-03-01T13:00:00Z"}, "until"),
            ({"until": "soon"}, "until"),
            ({"types": ["nosuch"]}, "events"),
            ({"after": "x"}, "after"),
            ({"again": "yes"}, "again"),
        ],
    )
    def test_a_time_that_is_none_is_refused(self, web: Web, change: dict[str, Any], field: str) -> None:
        body = {"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T13:00:00Z", **change}
        said = problem(web.ask("POST", "/v1/endpoints/ep_mine/replay", json=body), 422, "invalid")
        assert said["errors"][0]["field"] == field
        assert count(web, Delivery) == 1

    def test_a_test_is_a_delivery(self, web: Web, rung: list[str]) -> None:
        sent = web.ask("POST", "/v1/endpoints/ep_mine/test")
        assert sent.status_code == 202
        assert sent.json is not None
        assert (sent.json["cause"], sent.json["state"]) == ("test", "pending")
        assert web.get(f"/v1/events/{sent.json['event']}")["type"] == "endpoint.test"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
