"""The API over either database: every list with every filter, pages, and what is noted and counted."""

from __future__ import annotations

import time

from sqlalchemy import update

from tests.web.conftest import NOON, Controllers, Web, call, delivery, endpoint, event, problem, recording, segment
from webhooks.app.web import create_app
from workers.context import Context
from workers.journal import tables as t
from workers.journal.database import PATIENCE, Database


def test_every_list_and_filter_is_understood(context: Context, database: Database, controllers: Controllers) -> None:
    context.database.close()
    context.database = database
    web = Web(create_app(context), context, controllers)
    web.add(call("call-1", began=NOON), call("call-2", began=NOON + 1), endpoint("ep_1"), event("evt_1"))
    web.add(recording("msg_1", kind="message"), segment("msg_1"), delivery("dlv_1", "evt_1", "ep_1"))
    time = "since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z"
    for path, found in {
        f"calls?{time}&number=%2B79031234567&direction=inbound&state=ended&missed=false": 2,
        f"recordings?{time}&call=call-1&kind=message&state=available&person=301": 1,
        f"messages?{time}&person=301&heard=false": 1,
        f"events?{time}&type=call.*&call=call-1&order=oldest": 1,
        f"endpoints/ep_1/deliveries?{time}&state=delivered": 1,
        "alarms?standing=true": 0,
    }.items():
        assert len(web.get(f"/v1/{path}")["items"]) == found, path
    first = web.get("/v1/calls?limit=1")
    assert [one["id"] for one in web.get(f"/v1/calls?limit=1&cursor={first['next']}")["items"]] == ["call-1"]
    assert web.get("/v1/calls/call-1/journey")["call"]["id"] == "call-1"
    assert web.ask("POST", "/v1/messages/msg_1/heard").status_code == 200
    assert web.get("/v1/messages", web.token("agent", person="301"))["items"][0]["heard_at"] is not None
    assert b"cordboard_recordings" in web.app.test_client().get("/metrics").get_data()


def test_while_somebody_else_writes_for_long_reading_goes_on_and_writing_is_given_up(
    context: Context, database: Database, controllers: Controllers
) -> None:
    """Also the first request of a token, whose use is to be noted."""
    context.database.close()
    context.database = Database(database.url.render_as_string(hide_password=False), hurry=0.3)
    web = Web(create_app(context), context, controllers)
    web.add(recording("msg_1", kind="message"), segment("msg_1"))
    token = web.token()
    with database.writing() as session:
        session.execute(update(t.Recording).values(why="it is written for long"))
        began = time.monotonic()
        assert web.get("/v1/messages", token)["items"][0]["why"] is None
        said = problem(web.ask("POST", "/v1/messages/msg_1/heard", token), 503, "unavailable")
        assert time.monotonic() - began < PATIENCE / 3
    assert "database" in said["detail"]
    assert web.ask("POST", "/v1/messages/msg_1/heard", token).status_code == 200
    context.database.close()
