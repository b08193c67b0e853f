"""Every call explains itself: what the journal answers, and how ``cordboard calls`` and ``why`` tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from tests.databases import migrated_sqlite
from tests.facts import BEGAN, CALL, Told, answered_call, many_calls, of_an_agent, queued_call
from webhooks.events.deriving import Derived, PublicEvent
from workers.journal import ingest, queries
from workers.journal.database import Database
from workers.journal.folding import FOLDED
from workers.journal.ingest import take
from workers.journal.paging import CursorError
from workers.journal.queries import CallFilter
from workers.journal.story import story
from workers.journal.tables import Attempt, Delivery, Endpoint, Mail, Recording, Segment

QUEUED = "11111111-0000-4000-8000-000000000002"
OTHERS = "11111111-0000-4000-8000-000000000003"


@pytest.fixture(autouse=True)
def _without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event comes of a fact, unless a test is about that: each would have its line."""
    monkeypatch.setattr(ingest, "explain", lambda *_: Derived())


def took(database: Database, *facts: Sequence[Mapping[str, Any]]) -> None:
    with database.writing() as session:
        for some in facts:
            take(session, some, lambda _: None, BEGAN + 100)


def told(database: Database, call: str = CALL) -> str:
    with database.reading() as session:
        journey = queries.journey(session, "acme", call)
        assert journey is not None
        assert json.loads(json.dumps(journey)) == journey
        return "\n".join(story(journey))


ANSWERED = """\
11111111-0000-4000-8000-000000000001: inbound call of acme
  from +79031234567 to +74951234567, 2026-11-23 09:00:00 UTC, on switch1
  routing version v1
  talked 1:00; over after 1:10: the routing ended it (NORMAL_CLEARING)

   0:00.0  +79031234567 calls +74951234567; routing v1 decides
   0:01.0  step main/greet (menu)
   0:02.0    the call is answered
   0:03.0    goes on by → anna, because: says “Press 1”; pressed 1
   0:04.0  step main/anna (dial)
   0:05.0    301 rings
   0:06.0    302 rings
   0:07.0    302 is busy (USER_BUSY)
   0:08.0    they talk: 301 has answered
   1:08.0  another controller takes the call over in main/anna
   1:08.0    the talk with 301 lasted 1:00
   1:09.0    goes on by then
   1:10.0  the call is over: the routing ended it (NORMAL_CLEARING)"""


class TestTheStory:
    def test_of_a_talk(self, database: Database) -> None:
        took(database, answered_call())
        assert told(database) == ANSWERED

    def test_of_a_queue_says_who_was_asked_and_what_came_of_it(self, sqlite: Database) -> None:
        took(sqlite, queued_call())
        text = told(sqlite)
        for line in (
            "missed; over after 12 s: it ended while no controller had it (ORIGINATOR_CANCEL)",
            "waits in the queue sales, priority 0",
            "is offered to agent 301 (offer 1)",
            "301 does not answer",
            "agent 302 does not take the offer: declines",
            "the caller gives up waiting in sales, after 20 s",
        ):
            assert line in text

    def test_of_a_telephone_that_was_not_rung_says_why(self, sqlite: Database) -> None:
        call = Told().tell("call.started")
        call.tell(
            "leg.result", person="", address="+882", result="refused", cause="BARRED", why="country 882 is not allowed"
        )
        took(sqlite, call.facts)
        assert "+882 is not rung: country 882 is not allowed" in told(sqlite)

    def test_of_a_recording_ends_in_the_store(self, sqlite: Database) -> None:
        took(sqlite, answered_call())
        with sqlite.writing() as session:
            session.add(
                Recording(
                    id="rec_1", company="acme", call=CALL, kind="talk", people=["301"], state="available",
                    rule="sales", consent=True, began=BEGAN + 8, seconds=60.0,
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Segment(
                    file="acme_x_s1.wav", recording="rec_1", company="acme", call=CALL, number=1, state="stored",
                    expected_at=BEGAN + 8, stored_at=BEGAN + 75, key="acme/x/acme_x_s1.wav", bytes=960044,
                )
            )  # fmt: skip
        assert told(sqlite).endswith(
            "\nrecordings\n"
            "  talk of 1:00 rec_1: available, by the rule sales, after the announcement\n"
            "    acme_x_s1.wav: stored at 1:15.0 as acme/x/acme_x_s1.wav, 960044 bytes"
        )

    def test_of_a_webhook_tells_every_try(self, sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        def explain(fact: Mapping[str, Any], *_: object) -> Derived:
            return Derived((PublicEvent(fact["type"], {}),) if fact["type"] in ("call.started", "call.ended") else ())

        monkeypatch.setattr(ingest, "explain", explain)
        with sqlite.writing() as session:
            session.add(
                Endpoint(id="ep_1", company="acme", url="https://crm.test", events=["call.ended"], created_at=BEGAN)
            )
        took(sqlite, answered_call())
        with sqlite.writing() as session:
            delivery = session.query(Delivery).one()
            delivery.state, delivery.delivered_at = "delivered", BEGAN + 80
            for number, status, error in ((1, None, "connection refused"), (2, 200, None)):
                session.add(
                    Attempt(
                        delivery=delivery.id, company="acme", number=number, at=BEGAN + 70 + number, seconds=0.25,
                        url="https://crm.test", request_headers={}, request_body="", response_headers={},
                        status=status, error=error,
                    )
                )  # fmt: skip
            id_ = delivery.event
            session.add(
                Mail(
                    id="m", company="acme", call=CALL, kind="missed_call", recipient="anna@acme.test", data={},
                    state="sent", created_at=BEGAN, next_at=BEGAN, sent_at=BEGAN + 71,
                )
            )  # fmt: skip
        assert told(sqlite).endswith(
            "\nwebhooks\n"
            f"  call.ended (#2, {id_}) to https://crm.test: delivered at 1:20.0\n"
            "    try 1 at 1:11.0: connection refused in 0.25 s\n"
            "    try 2 at 1:12.0: 200 in 0.25 s\n"
            "  no endpoint wants call.started\n"
            "\nmails\n"
            "  missed call to anna@acme.test: sent at 1:11.0"
        )

    def test_leaves_no_fact_out(self, sqlite: Database) -> None:
        took(sqlite, Told().tell("call.started").tell("call.teleported", to="the moon", by=7).facts)
        assert "call.teleported: to the moon, by 7" in told(sqlite)

    def test_moves_no_cursor(self, sqlite: Database) -> None:
        evil = "\x1b[2J\r\n\u202eevil"
        call = Told().tell("call.started", from_=evil, to=evil)
        for type_ in sorted(FOLDED):
            data: dict[str, Any] = dict.fromkeys(
                ["flow", "step", "why", "queue", "agent", "result", "cause", "by"], evil
            )
            call.tell(type_, **data)
        data = {evil: evil}
        call.tell("some.thing", **data)
        took(sqlite, call.facts)
        lines = told(sqlite).split("\n")
        assert all(line.isprintable() for line in lines)
        assert len(lines) == 5 + len(call.facts)

    @pytest.mark.parametrize("value", [None, 7, -1.5, "", [], {}, ["x"]], ids=repr)
    def test_minds_no_damage(self, sqlite: Database, value: Any) -> None:
        call = Told().tell("call.started")
        keys = "from to with seconds flow step verb outcome why queue waited agent person address result for skills"
        for type_ in sorted({*FOLDED, "lookup.done", "recording.stopped", "switch.set", "call.refused"}):
            call.tell(type_, leg=f"leg {type_}", **dict.fromkeys(keys.split(), value))
        took(sqlite, call.facts)
        assert told(sqlite)


class TestQuestions:
    @pytest.fixture(autouse=True)
    def journal(self, database: Database) -> None:
        took(
            database,
            answered_call(),
            queued_call(QUEUED, at=BEGAN + 3600),
            answered_call(OTHERS, at=BEGAN + 7200, company="globex"),
            of_an_agent(),
        )

    def asked(self, database: Database, company: str | None = "acme", **wanted: Any) -> list[str]:
        with database.reading() as session:
            return [row["id"] for row in queries.calls(session, company, CallFilter(**wanted))["items"]]

    def test_a_company_sees_its_own_calls_the_last_first(self, database: Database) -> None:
        assert self.asked(database) == [QUEUED, CALL]
        assert self.asked(database, "globex") == [OTHERS]
        assert self.asked(database, None) == [OTHERS, QUEUED, CALL]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"missed": True}, [QUEUED]),
            ({"missed": False}, [CALL]),
            ({"since": BEGAN + 1}, [QUEUED]),
            ({"until": BEGAN + 1}, [CALL]),
            ({"queue": "sales"}, [QUEUED]),
            ({"queue": "other"}, []),
            ({"person": "301"}, [QUEUED, CALL]),
            ({"person": "399"}, []),
            ({"number": "+79031234567"}, [QUEUED, CALL]),
            ({"number": "4567"}, [QUEUED, CALL]),
            ({"number": "567"}, []),
            ({"number": "%%%%"}, []),
            ({"direction": "outbound"}, []),
            ({"state": "ended"}, [QUEUED, CALL]),
        ],
    )
    def test_calls_are_found_by(self, database: Database, wanted: Any, found: list[str]) -> None:
        assert self.asked(database, **wanted) == found

    def test_pages_follow_each_other_whatever_is_added(self, database: Database) -> None:
        took(database, list(many_calls(12)))
        seen, cursor = [], None
        with database.reading() as session:
            wanted = [row["id"] for row in queries.calls(session, None)["items"]]
        while True:
            with database.reading() as session:
                page = queries.calls(session, None, limit=4, cursor=cursor)
            seen += [row["id"] for row in page["items"]]
            took(database, answered_call(f"55555555-0000-4000-8000-{len(seen):09d}000", at=BEGAN + 10_000 + len(seen)))
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == wanted

    @pytest.mark.parametrize("cursor", ["", "x", "bm90aGluZw", "WzEsMV0", "WyJ4IiwieCJd", "W251bGwsIngiXQ", "é"])
    def test_a_cursor_of_nobodys_is_refused(self, database: Database, cursor: str) -> None:
        with database.reading() as session, pytest.raises(CursorError):
            queries.calls(session, "acme", cursor=cursor)

    def test_anothers_call_is_not_there(self, database: Database) -> None:
        with database.reading() as session:
            assert queries.journey(session, "acme", OTHERS) is None
            assert queries.journey(session, "acme", "nothing") is None
            assert queries.find_calls(session, "acme", "11111111") == [QUEUED, CALL]
            assert queries.find_calls(session, "acme", "%") == []

    def test_what_agents_did_is_told(self, database: Database) -> None:
        with database.reading() as session:
            rows = queries.agent_history(session, "acme", agent="301", limit=2)["items"]
            assert [(row["agent"], row["state"], row["at"]) for row in rows] == [
                ("301", "paused", BEGAN + 3),
                ("301", "offered", BEGAN + 2),
            ]
            assert queries.agent_history(session, "globex")["items"] == []
            assert queries.agent_history(session, "acme", agent="302")["items"] == []

    def test_what_queues_did_is_told(self, database: Database) -> None:
        with database.reading() as session:
            (row,) = queries.queue_history(session, "acme", queue="sales")["items"]
            assert (row["call"], row["outcome"]) == (QUEUED, "abandoned")
            assert queries.queue_history(session, "globex")["items"] == []

    def test_recordings_are_found_by_whose_they_are(self, database: Database) -> None:
        with database.writing() as session:
            for number, people in enumerate((["301"], ["302", "3011"])):
                session.add(
                    Recording(
                        id=f"rec_{number}",
                        company="acme",
                        call=CALL,
                        kind="message",
                        people=people,
                        began=BEGAN + number,
                    )
                )
        with database.reading() as session:
            found = queries.messages(session, "acme", person="301")["items"]
            assert [(row["id"], row["segments"]) for row in found] == [("rec_0", [])]
            assert len(queries.recordings(session, "acme")["items"]) == 2
            assert queries.recording(session, "globex", "rec_0") is None
            assert queries.recording(session, "acme", "rec_0") is not None


class TestTheCommandLine:
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        url = migrated_sqlite(tmp_path)
        database = Database(url)
        took(database, answered_call(), queued_call(QUEUED, at=BEGAN + 3600))
        database.close()
        return url

    def run(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    def test_lists_calls(self, url: str) -> None:
        code, text = self.run("calls", "--database", url)
        assert code == 0
        assert [" ".join(line.split()) for line in text.splitlines()] == [
            "CALL BEGAN COMPANY FROM TO WITH WHAT CAME OF IT",
            f"{QUEUED} 2026-11-23 10:00:00 UTC acme +79031234567 +74951234567 - missed",
            f"{CALL} 2026-11-23 09:00:00 UTC acme +79031234567 +74951234567 301 talked 1:00",
        ]

    def test_lists_those_that_are_asked_for(self, url: str) -> None:
        for options, found in (
            (("--missed",), [QUEUED]),
            (("--since", "2026-11-23T09:30"), [QUEUED]),
            (("--until", "2026-11-23T09:30"), [CALL]),
            (("--company", "globex"), []),
            (("--limit", "1"), [QUEUED]),
        ):
            code, text = self.run("calls", "--database", url, "--json", *options)
            assert (code, [row["id"] for row in json.loads(text)]) == (0, found)

    def test_tells_why_by_the_beginning_of_an_id(self, url: str) -> None:
        assert self.run("why", CALL, "--database", url) == (0, ANSWERED + "\n")
        code, text = self.run("why", QUEUED[:-1], "--database", url)
        assert (code, "several calls begin so" in text) == (1, True)
        code, text = self.run("why", QUEUED, "--database", url, "--json")
        assert (code, json.loads(text)["call"]["id"]) == (0, QUEUED)

    def test_says_what_it_does_not_know(self, url: str) -> None:
        code, text = self.run("why", "no\x1bthing", "--database", url)
        assert (code, text) == (1, "cordboard: the journal knows no call no\\x1bthing\n")
        assert self.run("calls", "--database", url, "--since", "yesterday")[0] == 2

    def test_says_how_the_journal_is(self, url: str, redis_url: str) -> None:
        code, text = self.run("journal", "--database", url, "--redis", redis_url)
        assert code == 0
        assert "2 calls (0 live)" in text
        code, text = self.run("journal", "--database", url, "--redis", "redis://127.0.0.1:1/0", "--json")
        assert json.loads(text)["redis"].startswith("away")

    def test_cannot_start_without_a_journal(self, tmp_path: Path) -> None:
        code, text = self.run("calls", "--state", str(tmp_path))
        assert (code, "there is no journal at" in text) == (3, True)
        assert self.run("calls", "--database", "mysql://x")[0] == 3
        (tmp_path / "journal.db").write_bytes(b"no database" * 1000)
        assert self.run("calls", "--state", str(tmp_path))[0] == 3
