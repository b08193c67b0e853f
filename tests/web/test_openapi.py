"""The description is the application: whatever it says may be asked is asked, and what comes back is as it says.

schemathesis makes the requests, good and bad ones.  ``CORDBOARD_TEST_API`` is how many of each operation (4).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from callcontrol.settings import Storage
from tests.web.conftest import NOON, Shelf, Web, attempt, call, delivery, endpoint, event, recording, segment
from tests.web.test_agents import STAFF, agent
from tests.web.test_calls import live
from webhooks.app import door
from webhooks.app.openapi import operations
from webhooks.app.problems import KINDS
from webhooks.app.web import create_app
from workers.journal import tables as t

MANY = int(os.environ.get("CORDBOARD_TEST_API", "4"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def spec(_shared: Any) -> dict[str, Any]:
    app, _ = _shared
    found: dict[str, Any] = app.test_client().get("/v1/openapi.json").json
    return found


@pytest.fixture
def lived(fresh: Web) -> Web:
    """An application that has something of everything, without a limit to how often it is asked."""
    fresh.context.config = dataclasses.replace(fresh.context.config, storage=Storage("bucket"))
    web = Web(create_app(fresh.context, limit="1000000 per minute"), fresh.context, fresh.controllers)
    web.app.extensions["cordboard-store"] = Shelf()
    sales = {"company": "acme", "queue": "sales", "waiting": 0, "longest": None, "agents": STAFF}
    web.controllers.answers |= {
        "agent.list": {"now": NOON, "agents": [agent("301")]},
        "agent.pause": {"agent": "301"},
        "queue.show": {"queues": [sales]},
        "queue.why": {"queue": "sales", "waiting": 0, "staff": STAFF, "callers": []},
        "call.list": {"calls": [live("call-live")]},
        "call.place": {"call": "call-live"},
        "call.hang_up": {"call": "call-live"},
    }
    web.add(call("call-1"), call("call-live", state="live"), recording("rec_1"), recording("msg_1", kind="message"))
    web.add(segment("rec_1", key="acme/1"), segment("msg_1", key="acme/2"), endpoint("ep_1"), event("evt_1"))
    web.add(delivery("dlv_1", "evt_1", "ep_1"), attempt("dlv_1"))
    web.add(t.Alarm(key="a", company="acme", kind="x", text="", raised_at=NOON))
    return web


def test_every_request_that_the_description_allows_is_answered_as_it_says(lived: Web) -> None:
    described = schemathesis.openapi.from_wsgi("/v1/openapi.json", lived.app)
    known = {"call": "call-1", "recording": "rec_1", "message": "msg_1", "endpoint": "ep_1", "delivery": "dlv_1"}
    known |= {"event": "evt_1", "agent": "301", "person": "301", "queue": "sales", "switch": "shut"}
    headers = {"Authorization": f"Bearer {lived.token()}"}
    count = 0
    for result in described.get_all_operations():
        operation: Any = result.ok() if isinstance(result, Ok) else None
        assert operation is not None, result
        count += 1

        @seed(20_261_126)
        @settings(
            max_examples=MANY,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=st.one_of(
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
            ),
            real=st.booleans(),
        )
        def ask(case: Any, real: bool) -> None:
            if real and case.path_parameters:
                case.path_parameters = {name: known[name] for name in case.path_parameters}
            case.call_and_validate(headers=headers, checks=CHECKS)

        ask()
    assert count > 40


class TestDescription:
    def test_every_operation_of_the_application_is_in_it_and_no_other(self, web: Web, spec: Mapping[str, Any]) -> None:
        described = {(path, method.upper()) for path, method, _ in operations(spec)}
        served = set()
        for rule in web.app.url_map.iter_rules():
            if not getattr(web.app.view_functions[rule.endpoint], "_open", False):
                path = rule.rule.replace("<id:", "{").replace("<name:", "{").replace(">", "}")
                served |= {(path, method) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
        assert described == served

    def test_each_says_who_may_and_what_may_go_wrong(self, spec: Mapping[str, Any]) -> None:
        for path, method, operation in operations(spec):
            assert operation["summary"], path
            assert {*operation["x-roles"]} <= {"operator", "consumer", "agent"}
            assert {"401", "403", "404", "429", "500", "503"} <= {*operation["responses"]}, (method, path)
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= {*operation["responses"]}, (method, path)
        assert spec["security"] == [{"token": []}]

    def test_every_problem_has_an_example_and_its_own_type(self, spec: Mapping[str, Any]) -> None:
        found = set()
        for response in spec["components"]["responses"].values():
            (content,) = response["content"].items()
            assert content[0] == "application/problem+json"
            found.add(content[1]["example"]["type"].rpartition(":")[2])
        assert found == {*KINDS} - {"method-not-allowed"}  # what is not described is not asked

    def test_lists_have_pages_and_words_are_enumerated(self, spec: Mapping[str, Any]) -> None:
        calls = spec["paths"]["/v1/calls"]["get"]["parameters"]
        names = {one.get("name") for one in calls}
        assert {"cursor", "limit", "since", "until"} <= names
        (direction,) = (one for one in calls if one.get("name") == "direction")
        assert direction["schema"]["enum"][:3] == ["inbound", "outbound", "internal"]
        assert spec["components"]["schemas"]["CallPage"]["required"] == ["items", "next"]

    def test_the_page_for_people_names_every_operation_and_fetches_nothing(
        self, web: Web, spec: Mapping[str, Any]
    ) -> None:
        response = web.app.test_client().get("/v1/")
        page = response.get_data(as_text=True)
        for path, method, _ in operations(spec):
            assert f"<code>{method.upper()} {path}</code>" in page
        assert "<script" not in page
        assert "src=" not in page
        assert "http" not in page.replace("https://crm.example.com", "").replace("https://pbx.example.com", "")
        assert "default-src 'none'; style-src 'sha256-" in response.headers["Content-Security-Policy"]


def test_hostile_headers_are_nobodys_fault(web: Web) -> None:
    values: Iterator[str] = iter(["\x00", "a\x7fb", "x" * 5000, "%0d%0aSet-Cookie: a=b", "ÿ"])
    for value in values:
        for name in ("Authorization", "X-Request-Id", "Idempotency-Key", "Content-Type", "Range", "Accept", "Cookie"):
            headers = {"Authorization": f"Bearer {web.token()}", name: value}
            response = web.app.test_client().get("/v1/calls", headers=headers)
            assert response.status_code in (200, 401, 415)
            assert "Set-Cookie" not in response.headers
    assert door.LONGEST_BODY == 65_536
