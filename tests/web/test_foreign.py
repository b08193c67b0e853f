"""What is another company's answers to nobody else: every operation of the application is tried, also one that is new.

An id of another company and one that there never was get the same answer, and nothing changes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.routing import Rule

from tests.web.conftest import NOON, Web, attempt, call, delivery, endpoint, event, recording, segment
from workers.journal import tables as t

#: By the name of the part of a path: an id of beta's, and one of nobody's.
IDS = {
    "call": ("call-of-beta", "call-of-nobody"),
    "recording": ("rec_beta", "rec_nobody"),
    "message": ("msg_beta", "msg_nobody"),
    "endpoint": ("ep_beta", "ep_nobody"),
    "delivery": ("dlv_beta", "dlv_nobody"),
    "event": ("evt_beta", "evt_nobody"),
    "agent": ("777", "778"),
    "person": ("777", "778"),
    "queue": ("queue_of_beta", "queue_of_nobody"),
    "switch": ("switch_of_beta", "switch_of_nobody"),
}
#: A body that is good for any operation that takes one about something of a company's.
BODIES: dict[str, dict[str, Any]] = {
    "replay": {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"},
    "set_switch": {"on": True},
}


@pytest.fixture
def two(web: Web) -> Web:
    """Everything that a company may have, of beta, and beta's agents and calls among what controllers tell."""
    web.add(
        call("call-of-beta", "beta", state="live"),
        recording("rec_beta", "beta", call="call-of-beta"),
        recording("msg_beta", "beta", kind="message", call="call-of-beta", people=["301"]),
        segment("rec_beta", "beta"),
        segment("msg_beta", "beta"),
        endpoint("ep_beta", "beta"),
        event("evt_beta", "beta"),
        delivery("dlv_beta", "evt_beta", "ep_beta", "beta"),
        attempt("dlv_beta", "beta"),
        t.Alarm(key="endpoint/ep_beta", company="beta", kind="endpoint", text="beta's own", raised_at=NOON),
        t.Alarm(key="store", company=None, kind="store", text="the house's, not beta's alone", raised_at=NOON),
        t.Fact(call="call-of-beta", epoch=1, n=1, type="call.started", company="beta", at=NOON, data={}),
    )
    words = dict.fromkeys(("name", "duty", "reason", "queue", "with", "state"), "beta")
    times: dict[str, Any] = {"since": NOON, "until": None, "queues": [], "calls": 0, "talk": 0, "misses": 0}
    web.controllers.answers["agent.list"] = {"agents": [{"company": "beta", "agent": "777", **words, **times}]}
    staff = dict.fromkeys(("available", "busy", "paused", "out"), 0)
    row = {"company": "beta", "queue": "queue_of_beta", "waiting": 0, "longest": None, "agents": staff}
    web.controllers.answers["queue.show"] = {"queues": [row]}
    ends = dict.fromkeys(("from", "to", "extension", "state", "flow", "step", "with", "queue"), "beta")
    web.controllers.answers["call.list"] = {
        "calls": [{"call": "call-of-beta", "company": "beta", "since": NOON, **ends}]
    }
    return web


def operations(web: Web, *, with_ids: bool) -> Iterator[tuple[str, Rule]]:
    """Every operation of the API: method and rule."""
    for rule in web.app.url_map.iter_rules():
        if rule.rule.startswith("/v1/") and not getattr(web.app.view_functions[rule.endpoint], "_open", False):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                if bool(rule.arguments) == with_ids:
                    yield method, rule


def body_of(rule: Rule, method: str) -> dict[str, Any]:
    name = rule.endpoint.rpartition(".")[2]
    return {} if method in ("GET", "DELETE") else {"json": BODIES.get(name, {})}


def said(response: Any) -> tuple[int, Any]:
    document = json.loads(response.get_data())
    document.pop("request_id", None)
    return response.status_code, document


def everything(web: Web) -> list[Any]:
    """Every row but the tokens."""
    tables = [table for table in t.Base.metadata.sorted_tables if table.name != "token"]
    return web.read(lambda session: [session.execute(table.select()).all() for table in tables])  # type: ignore[no-any-return]


@pytest.mark.parametrize("role", ["operator", "consumer", "agent"])
def test_no_id_of_another_company_is_answered(two: Web, role: str) -> None:
    token = two.token(role, "acme", "301" if role == "agent" else None)
    before = everything(two)
    tried = 0
    for method, rule in operations(two, with_ids=True):
        answers = []
        for which in (0, 1):
            path = rule.rule
            for part in rule.arguments:
                kind = "id" if f"<id:{part}>" in path else "name"
                path = path.replace(f"<{kind}:{part}>", IDS[part][which])
            answers.append(said(two.ask(method, path, token, **body_of(rule, method))))
        assert answers[0] == answers[1], (method, rule)
        assert answers[0][0] in (403, 404), (method, rule, answers[0])
        tried += 1
    assert tried > 30
    assert everything(two) == before
    asked = {verb for verb, given in two.controllers.asked if given.get("call") != "call-of-nobody"}
    assert asked <= {"agent.list", "queue.show"}


@pytest.mark.parametrize("role", ["operator", "consumer", "agent"])
def test_no_list_shows_what_is_another_companys(two: Web, role: str) -> None:
    token = two.token(role, "acme", "301" if role == "agent" else None)
    for method, rule in operations(two, with_ids=False):
        if method == "GET":
            response = two.ask("GET", rule.rule, token)
            assert response.status_code in (200, 403), rule
            assert "beta" not in response.get_data(as_text=True), rule


def test_its_own_company_is_shown_all_of_it(two: Web) -> None:
    """Else the tests above would hold of an application that shows nothing."""
    owner = two.token("operator", "beta")
    empty = []
    for method, rule in operations(two, with_ids=False):
        if method == "GET" and "beta" not in two.ask("GET", rule.rule, owner).get_data(as_text=True).lower():
            empty.append(rule.rule)
    assert empty == ["/v1/numbers", "/v1/people", "/v1/switches"]  # it has a number and nobody
    for path in ("calls/call-of-beta", "recordings/rec_beta", "messages/msg_beta", "endpoints/ep_beta"):
        assert two.get(f"/v1/{path}", owner)["id"] == path.partition("/")[2]


@pytest.mark.parametrize("path", ["calls", "recordings", "messages", "endpoints/ep_beta/deliveries", "events"])
def test_a_cursor_of_another_companys_rows_shows_nothing_of_them(two: Web, path: str) -> None:
    cursor = base64.urlsafe_b64encode(b'[9e11, "z"]').decode().rstrip("=")  # before everything
    response = two.ask("GET", f"/v1/{path}?cursor={cursor}")
    assert response.status_code == (404 if "ep_beta" in path else 200)
    assert "beta" not in response.get_data(as_text=True)
