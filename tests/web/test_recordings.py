"""Recordings and messages: found, heard, fetched in ranges, linked, deleted; out of a store, or out of the spool."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from callcontrol.settings import Storage
from tests.web.conftest import NOON, SOUND, Shelf, Web, problem, recording, segment
from webhooks.app.web import create_app
from workers.journal.tables import Segment
from workers.recordings import local_store
from workers.recordings.store import Store


class Shelved(Web):
    shelf: Shelf


@pytest.fixture
def stored(fresh: Web) -> Shelved:
    """An application whose recordings are in a store: one of one segment, one of two."""
    fresh.context.config = dataclasses.replace(fresh.context.config, storage=Storage("bucket"))
    web = Shelved(fresh.app, fresh.context, fresh.controllers)
    web.shelf = Shelf()
    web.app.extensions["cordboard-store"] = web.shelf
    size = len(SOUND)
    web.add(recording("rec_one"), segment("rec_one", key="acme/1", bytes=size))
    web.add(recording("rec_two", began=NOON + 1), segment("rec_two", key="acme/1", bytes=size))
    web.add(segment("rec_two", number=2, key="acme/2", bytes=size))
    return web


class TestLists:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["a", "b", "c"]),
            ("call=call-2", ["b"]),
            ("kind=message", ["c"]),
            ("state=failed", ["b"]),
            ("person=301", ["a"]),
            ("person=30", ["c"]),
        ],
    )
    def test_recordings_are_found_by(self, web: Web, query: str, found: list[str]) -> None:
        web.add(
            recording("a", people=["301", "302"]),
            recording("b", call="call-2", state="failed", why="the switch refused", people=[]),
            recording("c", kind="message", people=["30"]),
            recording("d", "beta"),
        )
        web.add(segment("a"), segment("a", number=2, state="finished"))
        items = web.get(f"/v1/recordings?{query}")["items"]
        assert sorted(one["id"] for one in items) == found
        if not query:
            (first,) = (one for one in items if one["id"] == "a")
            assert [(one["number"], one["state"]) for one in first["segments"]] == [(1, "stored"), (2, "finished")]

    def test_messages_are_heard_once_and_can_be_unheard(self, web: Web) -> None:
        web.add(recording("m", kind="message"), recording("t"), recording("gone", kind="message", state="deleted"))
        assert [one["id"] for one in web.get("/v1/messages?heard=false")["items"]] == ["m"]
        first = web.ask("POST", "/v1/messages/m/heard").json
        again = web.ask("POST", "/v1/messages/m/heard").json
        assert first is not None
        assert again is not None
        assert first["heard_at"] == again["heard_at"] is not None
        assert web.get("/v1/messages?heard=false")["items"] == []
        web.ask("POST", "/v1/messages/m/unheard")
        assert web.get("/v1/messages/m")["heard_at"] is None
        problem(web.ask("POST", "/v1/messages/t/heard"), 404, "not-found")

    def test_an_agent_has_the_messages_left_for_them(self, web: Web) -> None:
        web.add(
            recording("mine", kind="message", people=["301", "302"]),
            recording("theirs", kind="message", people=["303", "3010"]),
            recording("talk", people=["301"]),
        )
        agent = web.token("agent", person="301")
        assert [one["id"] for one in web.get("/v1/messages", agent)["items"]] == ["mine"]
        assert web.ask("POST", "/v1/messages/mine/heard", agent).status_code == 200
        for method, path in (("GET", ""), ("GET", "/content"), ("POST", "/heard"), ("DELETE", "")):
            problem(web.ask(method, f"/v1/messages/theirs{path}", agent), 404, "not-found")
        problem(web.ask("GET", "/v1/recordings", agent), 403, "forbidden")


class TestContent:
    def test_the_whole(self, stored: Shelved) -> None:
        response = stored.ask("GET", "/v1/recordings/rec_one/content")
        assert (response.status_code, response.mimetype, response.get_data()) == (200, "audio/wav", SOUND)
        assert response.headers["Accept-Ranges"] == "bytes"
        assert "attachment" in response.headers["Content-Disposition"]

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(first=st.none() | st.integers(0, 1100), last=st.none() | st.integers(0, 1100))
    def test_any_range_is_what_the_rfc_says(self, stored: Shelved, first: int | None, last: int | None) -> None:
        header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
        response = stored.ask("GET", "/v1/recordings/rec_one/content", headers={"Range": header})
        size = len(SOUND)
        if (first is None and last is None) or (first is not None and last is not None and last < first):
            assert (response.status_code, response.get_data()) == (200, SOUND)
        elif (first is None and last == 0) or (first is not None and first >= size):
            problem(response, 416, "no-such-range")
            assert response.headers["Content-Range"] == f"bytes */{size}"
        else:
            wanted = SOUND[-last:] if first is None and last else SOUND[first : None if last is None else last + 1]
            assert response.get_data() == wanted
            assert response.status_code == (200 if wanted == SOUND else 206)
            assert int(response.headers["Content-Length"]) == len(wanted)

    @pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-", "x", "bytes=１-２"])
    def test_a_header_that_is_none_is_ignored(self, stored: Shelved, header: str) -> None:
        headers = {"Range": header.encode().decode("latin-1")}
        assert stored.ask("GET", "/v1/recordings/rec_one/content", headers=headers).get_data() == SOUND

    def test_of_several_segments_one_is_named(self, stored: Shelved) -> None:
        said = problem(stored.ask("GET", "/v1/recordings/rec_two/content"), 422, "invalid")
        assert said["errors"][0]["field"] == "segment"
        assert "1, 2" in said["detail"]
        assert stored.ask("GET", "/v1/recordings/rec_two/content?segment=2").status_code == 200
        assert stored.shelf.asked[-1][0] == "acme/2"
        problem(stored.ask("GET", "/v1/recordings/rec_two/content?segment=3"), 404, "not-found")

    def test_what_is_not_stored_yet_or_any_more_cannot_be_had(self, stored: Shelved) -> None:
        stored.add(recording("rec_soon", state="finished"), segment("rec_soon", state="finished", key=None))
        stored.add(recording("rec_gone", state="deleted"), segment("rec_gone", state="deleted"))
        assert "finished" in problem(stored.ask("GET", "/v1/recordings/rec_soon/content"), 409, "conflict")["detail"]
        assert "deleted" in problem(stored.ask("GET", "/v1/recordings/rec_gone/content"), 409, "conflict")["detail"]

    def test_a_store_that_is_away_is_told_before_the_first_byte(self, stored: Shelved) -> None:
        stored.shelf.away = True
        response = stored.ask("GET", "/v1/recordings/rec_one/content")
        problem(response, 503, "unavailable")
        assert b"secret" not in response.get_data()

    def test_a_link_needs_no_token_and_ends(self, stored: Shelved) -> None:
        response = stored.ask("POST", "/v1/recordings/rec_one/link?seconds=60")
        assert response.json is not None
        assert response.json["url"].startswith("https://store.example.com/acme/1?expires=60")
        problem(stored.ask("POST", "/v1/recordings/rec_one/link?seconds=99999"), 422, "invalid")

    def test_without_a_store_it_comes_out_of_the_spool(self, web: Web) -> None:
        web.add(recording("rec_here", state="finished"), recording("rec_lost", state="finished"))
        web.add(segment("rec_here", state="finished", key=None))
        with web.context.database.writing() as session:
            row = segment("rec_lost", state="finished", key=None)
            row.file = "../../etc/passwd"
            session.add(row)
        named = web.read(lambda session: session.scalars(_files("rec_here")).one())
        (Path(web.context.spool) / named).write_bytes(SOUND)
        assert web.ask("GET", "/v1/recordings/rec_here/content").get_data() == SOUND
        headers = {"Range": "bytes=1000-"}
        assert web.ask("GET", "/v1/recordings/rec_here/content", headers=headers).get_data() == SOUND[1000:]
        problem(web.ask("POST", "/v1/recordings/rec_here/link"), 409, "conflict")
        problem(web.ask("GET", "/v1/recordings/rec_lost/content"), 409, "conflict")


class TestDeleting:
    def test_it_is_gone_from_the_store_and_the_row_says_so(self, stored: Shelved) -> None:
        response = stored.ask("DELETE", "/v1/recordings/rec_two")
        assert response.json is not None
        assert response.json["state"] == "deleted"
        assert stored.shelf.kept == {}
        assert stored.ask("DELETE", "/v1/recordings/rec_two").status_code == 200
        problem(stored.ask("DELETE", "/v1/recordings/rec_one", stored.token("consumer")), 403, "forbidden")

    def test_a_store_that_is_away_keeps_it_and_so_does_the_row(self, stored: Shelved) -> None:
        stored.shelf.away = True
        problem(stored.ask("DELETE", "/v1/recordings/rec_one"), 503, "unavailable")
        assert stored.get("/v1/recordings/rec_one")["state"] == "available"

    def test_one_that_is_being_recorded_stays(self, stored: Shelved) -> None:
        stored.add(recording("rec_now", state="recording"), segment("rec_now", state="started", key=None))
        problem(stored.ask("DELETE", "/v1/recordings/rec_now"), 409, "conflict")


def _files(recording_: str) -> Any:
    return select(Segment.file).where(Segment.recording == recording_)


def test_a_sound_of_a_store_of_ones_own_is_the_same_byte_for_byte(fresh: Web, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    sound.write_bytes(SOUND * 500)
    digest = hashlib.sha256(sound.read_bytes()).hexdigest()
    with local_store.LocalStore(tmp_path / "store") as server:
        fresh.context.config = dataclasses.replace(fresh.context.config, storage=server.storage)
        web = Web(create_app(fresh.context), fresh.context, fresh.controllers)
        with sound.open("rb") as file:
            Store(server.storage).put("acme/x.wav", file.fileno(), len(SOUND) * 500, digest)
        web.add(recording("rec_real"), segment("rec_real", key="acme/x.wav", bytes=len(SOUND) * 500))
        whole = web.ask("GET", "/v1/recordings/rec_real/content").get_data()
        assert hashlib.sha256(whole).hexdigest() == digest
        part = web.ask("GET", "/v1/recordings/rec_real/content", headers={"Range": "bytes=100000-100009"})
        assert (part.status_code, part.get_data()) == (206, sound.read_bytes()[100_000:100_010])
