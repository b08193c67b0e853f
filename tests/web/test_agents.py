"""Agents, queues, switches and what a company's file says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import NOON, Controllers, Web, problem
from webhooks.app.web import create_app
from workers.context import Context

STAFF = {"available": 1, "busy": 0, "paused": 1, "out": 0}


def agent(extension: str, company: str = "acme", **more: Any) -> dict[str, Any]:
    """An agent, as a controller tells it."""
    words = dict.fromkeys(("reason", "queue", "last", "with"), "")
    times = {"since": NOON, "until": None, "last_at": None, "calls": 3, "talk": 61.0, "misses": 0}
    head = {"company": company, "agent": extension, "name": "Anna Petrova", "queues": ["sales"]}
    return {**head, "state": "available", "duty": "on", **words, **times, **more}


@pytest.fixture
def agents(web: Web) -> Web:
    rows = [agent("301"), agent("302", state="paused", duty="paused"), agent("301", "beta", name="Theirs")]
    web.controllers.answers["agent.list"] = {"now": NOON, "agents": rows}
    return web


class TestAgents:
    def test_those_of_the_company(self, agents: Web) -> None:
        found = agents.get("/v1/agents")["items"]
        assert [(one["extension"], one["state"]) for one in found] == [("301", "available"), ("302", "paused")]
        assert agents.get("/v1/agents/301")["name"] == "Anna Petrova"
        problem(agents.ask("GET", "/v1/agents/303"), 404, "not-found")

    def test_an_agents_token_is_good_for_that_agent_only(self, agents: Web) -> None:
        own = agents.token("agent", person="302")
        assert [one["extension"] for one in agents.get("/v1/agents", own)["items"]] == ["302"]
        agents.get("/v1/agents/302", own)
        problem(agents.ask("GET", "/v1/agents/301", own), 403, "forbidden")
        problem(agents.ask("POST", "/v1/agents/301/pause", own, json={}), 403, "forbidden")
        assert [verb for verb, _ in agents.controllers.asked] == ["agent.list"] * 2

    @pytest.mark.parametrize("what", ["log-in", "log-out", "pause", "resume"])
    def test_their_duty_is_set_by_a_controller(self, agents: Web, what: str) -> None:
        verb = f"agent.{what.replace('-', '_')}"
        agents.controllers.answers[verb] = {"agent": "301", "name": "", "state": "", "reason": ""}
        own = agents.token("agent", person="301")
        response = agents.ask("POST", f"/v1/agents/301/{what}", own, json={"reason": "обед"})
        assert response.json is not None
        assert response.json["extension"] == "301"
        asked, given = agents.controllers.asked[0]
        assert (asked, given["agent"], given["reason"]) == (verb, "301", "обед")

    def test_a_reason_is_one_line(self, agents: Web) -> None:
        said = problem(agents.ask("POST", "/v1/agents/301/pause", json={"reason": "a\nb"}), 422, "invalid")
        assert said["errors"][0]["field"] == "reason"

    def test_what_cannot_be_is_a_conflict_and_who_is_not_there_is_not_found(self, agents: Web) -> None:
        problem(agents.ask("POST", "/v1/agents/301/pause", json={}), 409, "conflict")
        problem(agents.ask("POST", "/v1/agents/999/pause", json={}), 404, "not-found")


class TestQueues:
    @pytest.fixture
    def queues(self, web: Web) -> Web:
        row = {"queue": "sales", "waiting": 2, "longest": 12.5, "agents": STAFF}
        rows = [{**row, "company": "acme"}, {**row, "company": "beta", "queue": "theirs"}]
        web.controllers.answers["queue.show"] = {"now": NOON, "queues": rows}
        return web

    def test_those_of_the_company(self, queues: Web) -> None:
        (found,) = queues.get("/v1/queues")["items"]
        assert found == {"name": "sales", "waiting": 2, "longest": 12.5, "agents": STAFF}
        assert queues.get("/v1/queues/sales") == found
        problem(queues.ask("GET", "/v1/queues/theirs"), 404, "not-found")

    def test_why(self, queues: Web) -> None:
        why = {"agent": "301", "name": "Anna Petrova", "reason": "paused", "text": "paused", "seconds": None}
        caller = {"call": "c", "caller": "+7", "waited": 3.0, "priority": 0, "skills": [], "state": "waiting"}
        answer = {"company": "acme", "queue": "sales", "now": NOON, "waiting": 1, "staff": STAFF}
        queues.controllers.answers["queue.why"] = {**answer, "callers": [{**caller, "agents": [why]}]}
        found = queues.get("/v1/queues/sales/why?first=7")
        assert found["callers"][0]["agents"][0]["reason"] == "paused"
        assert queues.controllers.asked[-1][1]["first"] == 7
        problem(queues.ask("GET", "/v1/queues/theirs/why"), 404, "not-found")


class TestCompanies:
    def test_those_that_the_token_is_good_for(self, web: Web) -> None:
        assert [one["id"] for one in web.get("/v1/companies")["items"]] == ["acme"]
        every = web.token("operator", None)
        assert [one["id"] for one in web.get("/v1/companies", every)["items"]] == ["acme", "beta"]
        assert [one["id"] for one in web.get("/v1/companies?company=beta", every)["items"]] == ["beta"]

    def test_numbers_and_people(self, web: Web) -> None:
        numbers = web.get("/v1/numbers")["items"]
        assert [one["number"] for one in numbers] == ["+74951234567", "+78005550101"]
        assert [one["extension"] for one in web.get("/v1/people")["items"]] == ["301", "302", "303"]
        assert web.get("/v1/people/303")["phones"] == ["+390612345678"]
        problem(web.ask("GET", "/v1/people/999"), 404, "not-found")

    def test_an_operator_of_every_company_may_name_one_that_there_is_not(self, web: Web) -> None:
        problem(web.ask("GET", "/v1/numbers?company=nosuch", web.token("operator", None)), 404, "not-found")


class TestSwitches:
    def test_one_is_put_on_and_off(self, web: Web) -> None:
        (off,) = web.get("/v1/switches")["items"]
        assert (off["name"], off["code"], off["on"], off["since"]) == ("shut", "*21", False, None)
        on = web.ask("PUT", "/v1/switches/shut", json={"on": True}).json
        assert on is not None
        assert (on["on"], on["by"]) == (True, "operator of acme by the API")
        assert web.get("/v1/switches")["items"] == [on]
        assert web.ask("PUT", "/v1/switches/shut", json={"on": False}).json == off

    @pytest.mark.parametrize("body", [{}, {"on": "yes"}, {"on": 1}, {"on": None}, {"on": True, "by": "me"}, [], "on"])
    def test_what_is_neither_on_nor_off_is_refused(self, web: Web, body: Any) -> None:
        problem(web.ask("PUT", "/v1/switches/shut", json=body), 422, "invalid")
        assert not web.get("/v1/switches")["items"][0]["on"]

    def test_hours_without_a_switch_have_none(self, web: Web) -> None:
        problem(web.ask("PUT", "/v1/switches/office", json={"on": True}), 404, "not-found")

    def test_without_redis_nobody_knows(self, context: Context, controllers: Controllers) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        alone = Web(create_app(context), context, controllers)
        problem(alone.ask("GET", "/v1/switches"), 503, "unavailable")
        said = problem(alone.ask("PUT", "/v1/switches/shut", json={"on": True}), 503, "unavailable")
        assert said["performed"] == "maybe"
