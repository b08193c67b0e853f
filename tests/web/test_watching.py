"""What shows that all is well, events for those who poll, and the alarms."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callcontrol.switchboard import STREAM
from tests.web.conftest import NOON, Controllers, Web, call, delivery, endpoint, event, problem, recording, segment
from webhooks.app.web import create_app
from webhooks.events.catalogue import CATALOGUE
from workers.context import Context
from workers.journal import tables as t


def measured(response: Any) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: name and labels' values -> value."""
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
    }


class TestMetrics:
    def test_what_is_owed_and_what_is_wrong_is_counted(self, web: Web) -> None:
        now = time.time()
        web.add(call("one", state="live"), call("two"), endpoint("ep_1"), endpoint("ep_2", state="paused"))
        web.add(event("evt_1"), event("evt_2"), event("evt_3"))
        web.add(delivery("dlv_1", "evt_1", "ep_1", state="pending", created_at=now - 100))
        web.add(delivery("dlv_2", "evt_2", "ep_1", state="failed"), delivery("dlv_3", "evt_3", "ep_1"))
        web.add(recording("rec_1"), segment("rec_1", state="finished", finished_at=now - 50))
        mail = {"kind": "alarm", "recipient": "ops@example.com", "data": {}, "created_at": now, "next_at": now}
        web.add(t.Mail(id="m", **mail), t.Alarm(key="a", kind="x", text="", raised_at=now))
        web.add(t.Alarm(key="b", kind="x", text="", raised_at=now, cleared_at=now))
        found = measured(web.app.test_client().get("/metrics"))
        assert found["cordboard_calls_live",] == 1
        assert found["cordboard_deliveries", "pending"] == found["cordboard_deliveries", "failed"] == 1
        assert found["cordboard_delivery_oldest_seconds",] == pytest.approx(100, abs=30)
        assert (found["cordboard_endpoints", "paused"], found["cordboard_endpoints", "disabled"]) == (1, 0)
        assert found["cordboard_recordings", "available"] == 1
        assert found["cordboard_segments_owed", "finished"] == 1
        assert found["cordboard_segment_oldest_seconds",] == pytest.approx(50, abs=30)
        assert found["cordboard_mails", "pending"] == 1
        assert found["cordboard_alarms",] == 1
        assert found["cordboard_up", "database"] == found["cordboard_up", "redis"] == 1

    def test_the_journal_is_as_far_behind_as_the_first_fact_that_is_not_in_it(self, web: Web) -> None:
        redis = web.context.redis
        then = int((time.time() - 200) * 1000)
        for at in (then, then + 100_000):
            redis.xadd(STREAM, {"fact": "{}"}, id=f"{at}-0")

        def lag() -> float:
            return measured(web.app.test_client().get("/metrics"))["cordboard_journal_lag_seconds",]

        assert lag() == pytest.approx(200, abs=30)
        web.add(t.Position(name="facts", at=f"{then}-0"))
        assert lag() == pytest.approx(100, abs=30)
        with web.context.database.writing() as session:
            session.merge(t.Position(name="facts", at=f"{then + 100_000}-0"))
        assert lag() == 0

    def test_rings_that_nobody_answers_are_counted(self, web: Web) -> None:
        web.context.redis.rpush("rq:queue:delivery", "a", "b")
        found = measured(web.app.test_client().get("/metrics"))
        assert found["cordboard_queue_length", "delivery"] == 2
        assert found["cordboard_queue_length", "recordings-switch1"] == 0

    def test_they_are_for_this_machine_or_the_operator_of_every_company(self, web: Web) -> None:
        away = {"REMOTE_ADDR": "203.0.113.7"}
        problem(web.app.test_client().get("/metrics", environ_base=away), 401, "unauthorized")
        problem(web.ask("GET", "/metrics", environ_base=away), 403, "forbidden")
        measured(web.ask("GET", "/metrics", web.token("operator", None), environ_base=away))
        for proxy in ("X-Forwarded-For", "Forwarded", "Via"):
            problem(web.app.test_client().get("/metrics", headers={proxy: "x"}), 401, "unauthorized")

    def test_without_redis_the_rest_is_told(self, context: Context, controllers: Controllers) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        alone = Web(create_app(context), context, controllers)
        found = measured(alone.app.test_client().get("/metrics"))
        assert (found["cordboard_up", "redis"], found["cordboard_up", "database"]) == (0, 1)
        assert found["cordboard_calls_live",] == 0


class TestReadiness:
    def test_the_process_lives_and_is_ready(self, web: Web) -> None:
        assert web.app.test_client().get("/healthz").json == {"status": "ok"}
        said = web.app.test_client().get("/readyz")
        assert (said.status_code, said.json) == (200, {"status": "ok", "database": "ok", "redis": "ok"})

    def test_what_is_away_is_named(self, context: Context, controllers: Controllers) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        with context.database.engine.begin() as connection:
            connection.exec_driver_sql('ALTER TABLE "call" RENAME TO gone')
        alone = Web(create_app(context), context, controllers)
        said = alone.app.test_client().get("/readyz")
        away = "cannot be reached"
        assert (said.status_code, said.json) == (503, {"status": "not ready", "database": away, "redis": away})
        assert alone.app.test_client().get("/healthz").status_code == 200


class TestEvents:
    @pytest.fixture(autouse=True)
    def _three(self, web: Web) -> None:
        web.add(event("evt_a", created_at=NOON + 2), event("evt_b", type="call.ended", sequence=2, call="call-2"))
        web.add(event("evt_c", type="queue.joined", created_at=NOON + 1, occurred_at=NOON - 60.25))

    def test_they_are_as_webhooks_bring_them(self, web: Web) -> None:
        assert web.get("/v1/events/evt_c") == {
            "id": "evt_c",
            "type": "queue.joined",
            "version": 1,
            "company": "acme",
            "call": "call-1",
            "sequence": 1,
            "occurred_at": "2026-03-01T11:58:59.750Z",
            "data": {"person": None},
        }

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", "acb"),
            ("order=oldest", "bca"),
            ("type=call.*", "ab"),
            ("type=call.ended", "b"),
            ("call=call-2", "b"),
            ("since=2026-03-01T12:00:01Z", "ac"),
            ("until=2026-03-01T12:00:01Z", "b"),
        ],
    )
    def test_they_are_found_by(self, web: Web, query: str, found: str) -> None:
        assert [one["id"] for one in web.get(f"/v1/events?{query}")["items"]] == [f"evt_{one}" for one in found]

    def test_who_polls_goes_on_from_the_last_that_they_had(self, web: Web) -> None:
        seen, cursor = [], ""
        for wanted in (["evt_b", "evt_c"], ["evt_a"], [], ["evt_d"], []):
            if wanted == ["evt_d"]:
                web.add(event("evt_d", created_at=NOON + 3))
            page = web.get(f"/v1/events?order=oldest&limit=2{cursor}")
            seen.append([one["id"] for one in page["items"]])
            cursor = f"&cursor={page['next']}"
            assert seen[-1] == wanted

    def test_who_polls_is_not_told_what_an_earlier_one_may_still_overtake(self, web: Web) -> None:
        web.add(event("evt_now", created_at=time.time()))
        assert web.get("/v1/events")["items"][0]["id"] == "evt_now"
        assert "evt_now" not in [one["id"] for one in web.get("/v1/events?order=oldest")["items"]]

    def test_a_type_that_is_none_is_refused(self, web: Web) -> None:
        for type_ in ("*", "call", "call.%25", "call.started'"):
            problem(web.ask("GET", f"/v1/events?type={type_}"), 422, "invalid")


def test_the_alarms_of_the_house_are_for_operators_of_every_company(web: Web) -> None:
    web.add(t.Alarm(key="house", kind="store", text="the store is away", raised_at=NOON))
    web.add(t.Alarm(key="ours", company="acme", kind="endpoint", text="paused", raised_at=NOON + 1))
    web.add(t.Alarm(key="over", company="acme", kind="endpoint", text="", raised_at=NOON, cleared_at=NOON + 2))
    every = web.token("operator", None)
    assert [one["key"] for one in web.get("/v1/alarms", every)["items"]] == ["ours", "over", "house"]
    assert [one["key"] for one in web.get("/v1/alarms?standing=true")["items"]] == ["ours"]
    assert [one["key"] for one in web.get("/v1/alarms?standing=false")["items"]] == ["over"]


def test_the_description_has_the_schema_of_every_event(web: Web) -> None:
    spec = web.app.test_client().get("/v1/openapi.json").json
    assert spec is not None
    assert set(spec["webhooks"]) == set(CATALOGUE)
    assert set(spec["components"]["schemas"]["Event.call.started"]["properties"]) >= {"id", "type", "data"}
