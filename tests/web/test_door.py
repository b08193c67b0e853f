"""The door: who is let in, for which company, how often, and with what."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.web.conftest import NOON, Controllers, Web, call, problem
from webhooks.app import door, tokens
from webhooks.app.web import create_app
from workers.context import Context
from workers.journal.tables import Token

UNKNOWN = "cbt_" + "A" * 43


class TestTokens:
    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            f"Bearer {UNKNOWN}",
            f"Basic {UNKNOWN}",
            "Bearer cbt_short",
            "Bearer " + "x" * 8000,
            "Bearer cbt_ä" + "A" * 42,
            "Bearer ' OR 1=1 --",
        ],
    )
    def test_who_shows_no_good_token_is_told_how_to(self, web: Web, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        response = web.app.test_client().get("/v1/calls", headers=headers)
        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_an_expired_and_a_revoked_token_are_as_good_as_none(self, web: Web) -> None:
        _, expired = tokens.create(web.context.database, "operator", "old", days=1, now=time.time() - 90_000)
        known, revoked = tokens.create(web.context.database, "operator", "lost", company="acme")
        assert web.ask("GET", "/v1/calls", revoked).status_code == 200
        assert tokens.revoke(web.context.database, known)
        assert not tokens.revoke(web.context.database, known)
        problem(web.ask("GET", "/v1/calls", expired), 401, "unauthorized")
        problem(web.ask("GET", "/v1/calls", revoked), 401, "unauthorized")

    def test_only_a_hash_is_kept(self, web: Web) -> None:
        secret = web.token()
        kept = web.read(lambda session: session.scalars(select(Token)).all())
        assert kept
        assert not any(secret in str(value) for row in kept for value in vars(row).values())

    def test_its_use_is_noted_once_a_minute(self, web: Web) -> None:
        _, secret = tokens.create(web.context.database, "operator", "me", company="acme")

        def used() -> float | None:
            found: float | None = web.read(lambda session: session.scalar(select(Token.used_at)))
            return found

        assert tokens.find(web.context.database, secret, NOON)
        assert tokens.find(web.context.database, secret, NOON + 59)
        assert used() == NOON
        assert tokens.find(web.context.database, secret, NOON + 60)
        assert used() == NOON + 60

    @pytest.mark.parametrize(
        ("role", "company", "person"),
        [("consumer", None, None), ("agent", None, "301"), ("agent", "acme", None), ("operator", "acme", "301")],
    )
    def test_a_token_that_would_be_good_for_too_much_is_not_made(
        self, web: Web, role: str, company: str | None, person: str | None
    ) -> None:
        with pytest.raises(tokens.TokenError):
            tokens.create(web.context.database, role, "x", company=company, person=person)


class TestRoles:
    def test_a_role_without_the_right_is_told_so(self, web: Web) -> None:
        consumer, agent = web.token("consumer"), web.token("agent", person="301")
        problem(web.ask("GET", "/v1/calls", agent), 403, "forbidden")
        problem(web.ask("PUT", "/v1/switches/shut", consumer, json={"on": True}), 403, "forbidden")
        problem(web.ask("POST", "/v1/calls/some-call/hangup", consumer), 403, "forbidden")

    def test_every_operation_says_who_may(self, web: Web) -> None:
        for rule in web.app.url_map.iter_rules():
            view: Any = web.app.view_functions[rule.endpoint]
            assert getattr(view, "_open", False) or set() < {*view._may} <= {*tokens.ROLES}, rule

    def test_one_that_does_not_say_can_be_used_by_nobody(self, web: Web) -> None:
        app = create_app(web.context)
        app.add_url_rule("/v1/forgotten", view_func=lambda: "secret")
        headers = {"Authorization": f"Bearer {web.token('operator', None)}"}
        problem(app.test_client().get("/v1/forgotten", headers=headers), 403, "forbidden")


class TestCompanies:
    def test_a_token_of_every_company_names_one(self, web: Web) -> None:
        web.add(call("of-acme"), call("of-beta", "beta"))
        every = web.token("operator", None)
        said = problem(web.ask("GET", "/v1/calls", every), 422, "invalid")
        assert said["errors"][0]["field"] == "company"
        for company in ("acme", "beta"):
            assert [one["id"] for one in web.get(f"/v1/calls?company={company}", every)["items"]] == [f"of-{company}"]
        problem(web.ask("GET", "/v1/calls?company=Acme%0d%0a", every), 422, "invalid")

    def test_a_companys_token_may_name_it_and_no_other(self, web: Web) -> None:
        web.get("/v1/calls?company=acme")
        problem(web.ask("GET", "/v1/calls?company=beta"), 404, "not-found")


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("persn=301", "persn"),
            ("number=1&number=2", "number"),
            ("company=acme&company=beta", "company"),
            ("a%0d%0a=1", "a??"),
        ],
    )
    def test_what_would_be_left_out_is_refused(self, web: Web, query: str, field: str) -> None:
        """A filter that is misspelt must not find everything."""
        said = problem(web.ask("GET", f"/v1/calls?{query}"), 422, "invalid")
        assert [one["field"] for one in said["errors"]] == [field]

    def test_also_where_nothing_can_be_asked(self, web: Web) -> None:
        problem(web.ask("GET", "/v1/calls/some-call?with=everything"), 422, "invalid")
        problem(web.ask("POST", "/v1/calls?dry_run=true", json={"from": "301", "to": "302"}), 422, "invalid")
        assert web.controllers.asked == []


class TestLimit:
    @pytest.fixture
    def hasty(self, web: Web) -> Web:
        return Web(create_app(web.context, limit="3 per minute"), web.context, web.controllers)

    def test_a_token_has_so_many_requests_and_is_told_how_many(self, hasty: Web) -> None:
        left = []
        for path in ("/v1/calls", "/v1/events", "/v1/nosuch", "/v1/alarms"):
            response = hasty.ask("GET", path)
            left.append(response.headers.get("RateLimit-Remaining"))
        assert left == ["2", "1", None, "0"]
        response = hasty.ask("GET", "/v1/calls")
        problem(response, 429, "too-many")
        assert 0 < int(response.headers["Retry-After"]) <= 61
        assert response.headers["RateLimit-Limit"] == "3"
        assert hasty.ask("GET", "/v1/calls", hasty.token("consumer")).status_code == 200

    def test_while_redis_is_away_it_counts_by_itself(self, context: Context, controllers: Controllers) -> None:
        context.redis_url = "redis://127.0.0.1:1/0"
        lonely = Web(create_app(context, limit="2 per minute"), context, controllers)
        assert [lonely.ask("GET", "/v1/calls").status_code for _ in range(3)] == [200, 200, 429]


class TestAtATime:
    """A token has half of a process's threads at most, so that no client can have them all."""

    def test_so_many_requests_of_a_token_may_be_under_way(self, web: Web) -> None:
        go_on = threading.Event()
        begun = threading.Semaphore(0)

        def slow() -> str:
            begun.release()
            assert go_on.wait(30)
            return "done"

        app = create_app(web.context)
        app.add_url_rule("/v1/slow", view_func=door.may("operator")(slow))
        other = Web(app, web.context, web.controllers)
        tokens_ = web.token(), web.token("consumer")
        with ThreadPoolExecutor(door.AT_A_TIME) as pool:
            try:
                running = [pool.submit(other.ask, "GET", "/v1/slow", tokens_[0]) for _ in range(door.AT_A_TIME)]
                assert all(begun.acquire(timeout=30) for _ in running)
                refused = other.ask("GET", "/v1/calls", tokens_[0])
                problem(refused, 429, "too-many")
                assert refused.headers["Retry-After"] == "1"
                assert other.ask("GET", "/v1/calls", tokens_[1]).status_code == 200
            finally:
                go_on.set()
            assert [one.result().status_code for one in running] == [200] * door.AT_A_TIME
        assert other.ask("GET", "/v1/calls", tokens_[0]).status_code == 200

    def test_what_fails_is_over_too(self, web: Web) -> None:
        for path in ("calls/x", "calls?limit=0", "nosuch", "calls?company=beta") * door.AT_A_TIME:
            assert web.ask("GET", f"/v1/{path}").status_code in (404, 422)

    def test_one_is_under_way_until_the_last_piece_is_sent(self, web: Web) -> None:
        app = create_app(web.context)
        view = door.may("operator")(lambda: Response(iter([b"a", b"b"])))
        app.add_url_rule("/v1/slow", view_func=view)
        other = Web(app, web.context, web.controllers)
        sent = [other.ask("GET", "/v1/slow", buffered=False) for _ in range(door.AT_A_TIME)]
        problem(other.ask("GET", "/v1/calls"), 429, "too-many")
        sent[0].close()
        assert other.ask("GET", "/v1/calls").status_code == 200


class TestBodies:
    def test_a_long_body_is_refused(self, web: Web) -> None:
        long = json.dumps({"from": "301", "to": "1" * door.LONGEST_BODY})
        problem(web.ask("POST", "/v1/calls", data=long, content_type="application/json"), 413, "too-large")
        problem(web.ask("GET", "/v1/calls", data=long, content_type="application/json"), 413, "too-large")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "§"])
    def test_a_body_of_another_type_is_refused(self, web: Web, kind: str) -> None:
        problem(web.ask("POST", "/v1/calls", data=b"from=301", content_type=kind), 415, "unsupported")

    def test_a_compressed_body_is_refused(self, web: Web) -> None:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        problem(web.ask("POST", "/v1/calls", data=b"{}", headers=headers), 415, "unsupported")

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff\xfe",
            b'{"from": NaN}',
            b"[" * 21 + b"]" * 21,
            b"[" * 30_000,
            b'{"a": ' + b"[" * 20 + b'"[[["' + b"]" * 20 + b"}",
            b'{"from": "3\\u00001", "to": "302"}',
            b'{"from": "\\ud800", "to": "302"}',
            b'{"\\udfff": 1}',
            b'{"from": ' + b"9" * 5000 + b"}",
            b'"' + b'\\"' * 32_000,  # a text without an end, which must not be looked at from each of its quotes
            b'"' + b'\\"' * 32_000 + b"\\",
            ('["\u2200",' + "[" * 500 + "]" * 501).encode("utf-16-le"),  # its first text hides the brackets
            '{"from": "301", "to": "302"}'.encode("utf-16"),
            '{"from": "301", "to": "302"}'.encode("utf-32"),
            b"\xef\xbb\xbf{}",
        ],
    )
    def test_a_body_that_cannot_be_read_or_kept_is_refused(self, web: Web, body: bytes) -> None:
        problem(web.ask("POST", "/v1/calls", data=body, content_type="application/json"), 400, "malformed")

    def test_brackets_in_a_text_are_no_depth(self) -> None:
        assert door._depth(b'{"a": "' + b"[" * 50 + b'\\"[[", "b": [[]]}') == 3

    def test_what_is_wrong_is_named_by_field(self, web: Web) -> None:
        body = {"from": "3 0 1", "more": 1}
        said = problem(web.ask("POST", "/v1/calls", json=body), 422, "invalid")
        assert {one["field"] for one in said["errors"]} == {"from", "to", "more"}


class TestEverything:
    def test_each_answer_has_an_id_and_is_kept_by_nobody(self, web: Web) -> None:
        sent = web.ask("GET", "/v1/calls", headers={"X-Request-Id": "mine-1"})
        assert sent.headers["X-Request-Id"] == "mine-1"
        forged = web.ask("GET", "/v1/calls", headers={"X-Request-Id": 'a"b c'})
        assert forged.headers["X-Request-Id"].startswith("req_")
        for response in (sent, web.ask("GET", "/nosuch"), web.ask("DELETE", "/v1/calls")):
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in response.headers

    def test_what_is_not_there_and_what_cannot_be_done_are_problems_too(self, web: Web) -> None:
        problem(web.ask("GET", "/v1/nosuch"), 404, "not-found")
        response = web.ask("DELETE", "/v1/calls")
        problem(response, 405, "method-not-allowed")
        assert "GET" in response.headers["Allow"]

    def test_a_fault_is_noted_and_not_shown(self, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("the secret of the house")

        monkeypatch.setattr("webhooks.app.resources.calls.queries.calls", broken)
        response = web.ask("GET", "/v1/calls")
        problem(response, 500, "fault")
        assert b"secret" not in response.get_data()
        assert b"Traceback" not in response.get_data()

    def test_a_database_that_is_away_is_unavailable(self, fresh: Web) -> None:
        secret = fresh.token()
        with fresh.context.database.engine.begin() as connection:
            connection.exec_driver_sql('ALTER TABLE "call" RENAME TO gone')
        response = fresh.ask("GET", "/v1/calls", secret)
        problem(response, 503, "unavailable")
        assert "gone" not in response.get_data(as_text=True)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(max_size=40), st.sampled_from(["cursor", "number", "since", "limit", "state", "company", "x"]))
    def test_no_query_is_a_fault(self, web: Web, text: str, name: str) -> None:
        response = web.ask("GET", "/v1/calls", query_string={name: text.encode("utf-8", "surrogatepass")})
        assert response.status_code in (200, 404, 422)

    @pytest.mark.parametrize("id_", ["..", "%2e%2e", "..%2f..%2fetc", "a%00b", "a%0d%0ab", "%ff", "a b", "x" * 65, "é"])
    def test_an_id_that_is_none_is_found_nowhere(self, web: Web, id_: str) -> None:
        for path in ("calls", "recordings", "messages", "endpoints", "deliveries", "events", "people"):
            assert web.ask("GET", f"/v1/{path}/{id_}").status_code in (404, 308)


def test_a_page_goes_on_where_the_last_ended(web: Web) -> None:
    """Also when rows of the same moment are cut apart, and when more is written meanwhile."""
    web.add(*(call(f"call-{number}", began=NOON + number // 3) for number in range(10)))
    seen: list[str] = []
    query = "/v1/calls?limit=4"
    while True:
        page = web.get(query)
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        web.add(call(f"later-{len(seen)}", began=NOON + 100))
        query = f"/v1/calls?limit=4&cursor={page['next']}"
    assert sorted(seen) == [f"call-{number}" for number in range(10)]
    assert len(seen) == 10


@pytest.mark.parametrize(
    "cursor", ["x", "bnVsbA", "W10", "WzEsMl0", "WzFlOTk5LCJhIl0", "Ww", "%00", "é", "W3RydWUsImEiXQ"]
)
def test_a_cursor_that_is_none_is_refused(web: Web, cursor: str) -> None:
    assert problem(web.ask("GET", f"/v1/calls?cursor={cursor}"), 422, "invalid")["errors"][0]["field"] == "cursor"
