"""Calls: what the journal knows, what lives, and what is asked of controllers."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import pytest

from callcontrol import settings as s
from callcontrol.commands import Refused
from tests.web.conftest import (
    NOON,
    SWITCHES,
    Controllers,
    Web,
    attempt,
    call,
    delivery,
    endpoint,
    event,
    problem,
    recording,
    segment,
)
from webhooks.app import desk
from webhooks.app.web import create_app
from workers.context import Context
from workers.journal import tables as t

LIVE = "0c1f4a52-6a0e-4a40-9a3e-0d5b6f0e7a11"


def live(call_: str, company: str = "acme", **more: Any) -> dict[str, Any]:
    """A live call, as a controller tells it."""
    empty = dict.fromkeys(("extension", "flow", "step", "with", "queue"), "")
    ends = {"from": "+79031234567", "to": "+74951234567"}
    return {"call": call_, "company": company, "since": NOON, "state": "routed", **empty, **ends, **more}


class TestWhatWas:
    def test_the_newest_come_first_and_moments_are_rfc_3339(self, web: Web) -> None:
        web.add(call("old"), call("new", began=NOON + 0.5, missed=True), call("theirs", "beta"))
        new, old = web.get("/v1/calls")["items"]
        assert (new["id"], old["id"]) == ("new", "old")
        assert (new["began"], old["ended_at"]) == ("2026-03-01T12:00:00.500Z", "2026-03-01T12:01:00.000Z")

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("number=%2B79031234567", ["in", "missed"]),
            ("number=302", ["out"]),
            ("number=1234567", ["in", "missed"]),
            ("person=303", ["in"]),
            ("queue=sales", ["missed"]),
            ("direction=outbound", ["out"]),
            ("missed=true", ["missed"]),
            ("missed=false&state=ended", ["in"]),
            ("state=live", ["out"]),
            ("since=2026-03-01T12:00:01Z", ["out"]),
            ("since=2026-03-01T15:00:01%2B03:00", ["out"]),
            ("until=2026-03-01T12:00:01Z", ["in", "missed"]),
        ],
    )
    def test_they_are_found_by(self, web: Web, query: str, found: list[str]) -> None:
        web.add(
            call("in"),
            call("missed", missed=True),
            call("out", began=NOON + 2, direction="outbound", caller="302", called="+390612345678", state="live"),
        )
        web.add(t.Leg(id="leg", call="in", company="acme", person="303"))
        web.add(t.QueueVisit(call="missed", company="acme", queue="sales", joined_at=NOON))
        assert sorted(one["id"] for one in web.get(f"/v1/calls?{query}")["items"]) == found

    @pytest.mark.parametrize(
        "query", ["since=yesterday", "since=2026-03-01", "until=2026-13-01T00:00:00Z", "state=dead", "limit=201"]
    )
    def test_a_filter_that_is_none_is_named(self, web: Web, query: str) -> None:
        said = problem(web.ask("GET", f"/v1/calls?{query}"), 422, "invalid")
        assert said["errors"][0]["field"] == query.partition("=")[0]

    def test_one(self, web: Web) -> None:
        web.add(call("mine", talked_with="301", talk_seconds=12.5))
        assert web.get("/v1/calls/mine")["talked_with"] == "301"


class TestJourney:
    def test_it_tells_all_that_came_of_a_call(self, web: Web) -> None:
        web.add(call("call-1", version="abc"), endpoint("ep_1"), event("evt_1"), delivery("dlv_1", "evt_1", "ep_1"))
        web.add(attempt("dlv_1"), attempt("dlv_1", number=2, error="timed out"), recording("rec_1"), segment("rec_1"))
        entered = {"call": "call-1", "company": "acme", "epoch": 1, "n": 2, "at": NOON}
        web.add(t.Step(**entered, flow="reception", step="greet", data={"verb": "menu", "outcome": "1"}))
        web.add(t.Leg(id="leg", call="call-1", company="acme", person="301", rung_at=NOON, result="answered"))
        web.add(t.QueueVisit(call="call-1", company="acme", queue="sales", joined_at=NOON, outcome="answered"))
        web.add(t.Fact(**entered, type="call.started", data={"called": "+7"}))
        told = web.get("/v1/calls/call-1/journey")
        assert (told["call"]["id"], told["version"]) == ("call-1", "abc")
        assert told["steps"][0]["data"] == {"verb": "menu", "outcome": "1"}
        assert (told["legs"][0]["result"], told["queues"][0]["outcome"]) == ("answered", "answered")
        assert told["recordings"][0]["segments"][0]["state"] == "stored"
        (delivered,) = told["events"][0]["deliveries"]
        assert (delivered["attempts"], [one["error"] for one in delivered["tries"]]) == (2, [None, "timed out"])
        assert [one["type"] for one in told["facts"]] == ["call.started"]


class TestWhatLives:
    def test_those_of_every_switch_and_of_the_company_only(self, web: Web) -> None:
        def answer(given: Any) -> Any:
            rows = [live(f"of-{given['switch']}", since=NOON + len(given["switch"])), live("stray", "beta")]
            return {"switch": given["switch"], "now": NOON, "total": 2, "calls": rows}

        web.controllers.answers["call.list"] = answer
        found = web.get("/v1/live-calls")
        assert [one["id"] for one in found["items"]] == [f"of-{name}" for name in SWITCHES]
        assert found["items"][0]["caller"] == "+79031234567"
        assert found["silent"] == []

    def test_a_switch_for_which_nobody_answers_is_named(self, fresh: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        fresh.context.config = type(fresh.context.config)(
            switches=(
                *fresh.context.config.switches,
                type(fresh.context.config.switches[0])("dead", "127.0.0.1", 1, "x"),
            )
        )
        monkeypatch.setattr(desk, "PATIENCE", 0.2)
        fresh.controllers.answers["call.list"] = {"calls": [live("alive")]}
        found = fresh.get("/v1/live-calls")
        assert found["silent"] == ["dead"]
        assert {one["id"] for one in found["items"]} == {"alive"}


def test_many_switches_that_are_silent_cost_the_time_of_one_or_two(fresh: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked: nobody waits for each of them in turn."""
    monkeypatch.setattr(desk, "PATIENCE", 0.5)
    monkeypatch.setattr(desk, "PATIENCE_TO_PLACE", 0.5)
    monkeypatch.setattr(desk, "LEAST", 0.1)
    fresh.context.config = s.Config(switches=tuple(s.SwitchAddress(f"dead{n}", "127.0.0.1", 1, "x") for n in range(16)))
    asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("GET", "/v1/live-calls", {}),
        ("POST", f"/v1/calls/{LIVE}/hangup", {}),
        ("GET", "/v1/queues", {}),
        ("POST", "/v1/calls", {"json": {"from": "301", "to": "302"}}),
    )
    for method, path, more in asked:
        began = time.monotonic()
        said = problem(fresh.ask(method, path, **more), 504, "no-answer")
        assert time.monotonic() - began < 7.5  # 8 in turn
        assert said["performed"] == "no"


class TestHangup:
    def test_a_call_of_the_journal_is_ended_on_its_switch(self, web: Web) -> None:
        web.add(call(LIVE, state="live", switch="switch2"))
        web.controllers.answers["call.hang_up"] = {"call": LIVE}
        assert web.ask("POST", f"/v1/calls/{LIVE}/hangup").json == {"id": LIVE}
        ((verb, given),) = web.controllers.asked
        assert (verb, given["company"], given["call"]) == ("call.hang_up", "acme", LIVE)
        assert given["by"] == "operator of acme by the API"

    def test_one_that_the_journal_does_not_know_yet_is_looked_for(self, web: Web) -> None:
        def answer(given: Any) -> Any:
            if given["switch"] != "switch2":
                raise Refused("it is not here")
            return {"call": given["call"]}

        web.controllers.answers["call.hang_up"] = answer
        assert web.ask("POST", f"/v1/calls/{LIVE}/hangup").status_code == 200
        assert len(web.controllers.asked) == 2

    def test_one_that_nobody_knows_is_not_found(self, web: Web) -> None:
        problem(web.ask("POST", f"/v1/calls/{LIVE}/hangup"), 404, "not-found")

    def test_one_of_another_company_is_as_unknown_and_nobody_is_asked(self, web: Web) -> None:
        web.add(call(LIVE, "beta", state="live"))
        problem(web.ask("POST", f"/v1/calls/{LIVE}/hangup"), 404, "not-found")
        assert web.controllers.asked == []

    def test_one_that_has_ended_is_left_alone(self, web: Web) -> None:
        web.add(call(LIVE))
        problem(web.ask("POST", f"/v1/calls/{LIVE}/hangup"), 409, "conflict")
        assert web.controllers.asked == []

    @pytest.mark.parametrize("what", ["start", "stop", "pause", "resume"])
    def test_its_recording_is_asked_for_in_the_same_way(self, web: Web, what: str) -> None:
        web.add(call(LIVE, state="live"))
        web.controllers.answers[f"recording.{what}"] = {"call": LIVE, "file": "x.wav", "state": "recording"}
        assert web.ask("POST", f"/v1/calls/{LIVE}/recording/{what}").status_code == 200
        web.controllers.answers.clear()
        said = problem(web.ask("POST", f"/v1/calls/{LIVE}/recording/{what}"), 409, "conflict")
        assert said["detail"] == "not today"


class TestClickToCall:
    BODY: ClassVar = {"from": "301", "to": "+79031234567"}

    def test_the_key_of_the_request_is_the_commands(self, web: Web) -> None:
        web.controllers.answers["call.place"] = {"call": LIVE}
        response = web.ask("POST", "/v1/calls", json=self.BODY, headers={"Idempotency-Key": "click-17"})
        assert (response.status_code, response.json) == (202, {"id": LIVE})
        ((_, given),) = web.controllers.asked
        assert {name: given[name] for name in ("company", "extension", "to", "key")} == {
            "company": "acme",
            "extension": "301",
            "to": "+79031234567",
            "key": "click-17",
        }

    @pytest.mark.parametrize("key", ["two words", "ключ", "x" * 65])
    def test_a_key_that_is_none_is_refused(self, web: Web, key: str) -> None:
        headers = {"Idempotency-Key": key.encode().decode("latin-1")}
        said = problem(web.ask("POST", "/v1/calls", json=self.BODY, headers=headers), 422, "invalid")
        assert said["errors"][0]["field"] == "Idempotency-Key"

    def test_nobodys_extension_is_refused_before_anybody_is_asked(self, web: Web) -> None:
        said = problem(web.ask("POST", "/v1/calls", json={**self.BODY, "from": "999"}), 422, "invalid")
        assert said["errors"][0]["field"] == "from"
        assert web.controllers.asked == []

    def test_an_agent_places_calls_of_their_own_only(self, web: Web) -> None:
        web.controllers.answers["call.place"] = {"call": LIVE}
        agent = web.token("agent", person="302")
        problem(web.ask("POST", "/v1/calls", agent, json=self.BODY), 403, "forbidden")
        assert web.ask("POST", "/v1/calls", agent, json={**self.BODY, "from": "302"}).status_code == 202

    def test_what_is_refused_is_a_conflict_with_the_reason(self, web: Web) -> None:
        web.controllers.answers["call.place"] = Refused("301 may not dial that\x1b[2J")
        said = problem(web.ask("POST", "/v1/calls", json=self.BODY), 409, "conflict")
        assert said["detail"] == "301 may not dial that?[2J"

    def test_a_controller_that_fails_is_a_fault_and_may_have_done_it(self, web: Web) -> None:
        web.controllers.answers["call.place"] = RuntimeError("broken")
        assert problem(web.ask("POST", "/v1/calls", json=self.BODY), 500, "fault")["performed"] == "maybe"


class TestNobodyAnswers:
    def test_it_is_said_that_nothing_was_done(self, fresh: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(desk, "PATIENCE_TO_PLACE", 0.2)
        config = fresh.context.config
        fresh.context.config = type(config)(switches=(type(config.switches[0])("dead", "127.0.0.1", 1, "x"),))
        said = problem(fresh.ask("POST", "/v1/calls", json=TestClickToCall.BODY), 504, "no-answer")
        assert said["performed"] == "no"

    def test_without_redis_it_is_not_known(self, context: Context, controllers: Controllers) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        alone = Web(create_app(context), context, controllers)
        response = alone.ask("POST", "/v1/calls", json=TestClickToCall.BODY)
        assert problem(response, 503, "unavailable")["performed"] == "maybe"
        assert int(response.headers["Retry-After"]) > 0
