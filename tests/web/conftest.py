"""What tests of the API share: an application over a database of its own, two companies, and controllers who answer."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from callcontrol import settings as s
from callcontrol.commands import COMMANDS, Commands, Refused
from callcontrol.publishing import publish
from callcontrol.switchboard import Switchboard
from callcontrol.versions import VersionStore
from tests.test_publishing import BETA
from webhooks.app import tokens
from webhooks.app.web import create_app
from workers.context import Context
from workers.journal import tables as t
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.recordings.store import Away

ROUTING = Path(__file__).parent.parent.parent / "routing"
NOON = 1_772_366_400.0  # 2026-03-01T12:00:00Z
SWITCHES = ("switch1", "switch2")


SOUND = bytes(range(256)) * 4


class Shelf:
    """A store of our own."""

    def __init__(self) -> None:
        self.kept = {f"acme/{number}": SOUND for number in (1, 2)}
        self.away = False
        self.asked: list[tuple[Any, ...]] = []

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        self.asked.append((key, start, end))
        if self.away:
            raise Away("the store says: secret")
        for at in range(start, end + 1, 100):
            yield self.kept[key][at : min(at + 100, end + 1)]

    def presigned(self, key: str, seconds: int, filename: str) -> str:
        return f"https://store.example.com/{key}?expires={seconds}&name={filename}"

    def delete(self, key: str) -> None:
        if self.away:
            raise Away("no")
        self.kept.pop(key, None)


class Controllers:
    """The controllers of both switches: they do what a test says, and remember what they were asked."""

    def __init__(self, url: str) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self._commands = Commands(
            url, name="test", switches=SWITCHES, perform={verb: self._performing(verb) for verb in COMMANDS}
        )
        self._thread = threading.Thread(target=self._commands.run)
        self._thread.start()

    def _performing(self, verb: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        def perform(given: Mapping[str, Any]) -> Mapping[str, Any]:
            self.asked.append((verb, dict(given)))
            answer = self.answers.get(verb)
            if answer is None:
                raise Refused("not today")
            if isinstance(answer, Exception):
                raise answer
            found: Mapping[str, Any] = answer(given) if callable(answer) else answer
            return found

        return perform

    def stop(self) -> None:
        self._commands.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._commands.close()


class Web:
    """The application, and a way to ask it as somebody."""

    def __init__(self, app: Flask, context: Context, controllers: Controllers) -> None:
        self.app, self.context, self.controllers = app, context, controllers
        self._tokens: dict[tuple[str, str | None, str | None], str] = {}

    def token(self, role: str = "operator", company: str | None = "acme", person: str | None = None) -> str:
        """A token, the same one each time."""
        key = (role, company, person)
        if key not in self._tokens:
            made = tokens.create(self.context.database, role, f"{role} of {company}", company=company, person=person)
            self._tokens[key] = made[1]
        return self._tokens[key]

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> TestResponse:
        """Ask, as an operator of acme if nothing else is said."""
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}", **more.pop("headers", {})}
        more.setdefault("buffered", True)  # to the end, as a server sends it
        return self.app.test_client().open(path, method=method, headers=headers, **more)

    def get(self, path: str, token: str | None = None, **more: Any) -> Any:
        """What a GET that is good answers."""
        response = self.ask("GET", path, token, **more)
        assert response.status_code == 200, response.get_data(as_text=True)
        return response.json

    def add(self, *rows: t.Base) -> None:
        """Write rows, in order."""
        with self.context.database.writing() as session:
            for row in rows:
                session.add(row)
                session.flush()

    def read(self, what: Callable[[Session], Any]) -> Any:
        """Look into the database."""
        with self.context.database.reading() as session:
            return what(session)


def problem(response: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """The problem document that a response is."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/problem+json"
    said: dict[str, Any] = json.loads(response.get_data())
    assert said["type"] == f"urn:cordboard:problem:{kind}"
    assert said["status"] == status
    assert said["request_id"] == response.headers["X-Request-Id"]
    return said


def call(id_: str, company: str = "acme", began: float = NOON, **more: Any) -> t.Call:
    """A call that is over."""
    given: dict[str, Any] = {"caller": "+79031234567", "called": "+74951234567", "switch": "switch1"}
    given |= {"state": "ended", "ended_at": began + 60, "direction": "inbound"}
    return t.Call(id=id_, company=company, began=began, **{**given, **more})


def recording(id_: str, company: str = "acme", **more: Any) -> t.Recording:
    """A recording of a talk."""
    given: dict[str, Any] = {"call": "call-1", "kind": "talk", "people": ["301"], "state": "available", "began": NOON}
    return t.Recording(id=id_, company=company, **{**given, **more})


def segment(recording_: str, company: str = "acme", number: int = 1, **more: Any) -> t.Segment:
    """A segment that is stored."""
    file = f"{company}_00000000-0000-4000-8000-000000000001_leg-{recording_.replace('_', '-')}_s{number}.wav"
    given: dict[str, Any] = {"state": "stored", "call": "call-1", "expected_at": NOON, "seconds": 5.0, "bytes": 1000}
    given["key"] = f"{company}/call-1/{file}"
    return t.Segment(file=file, recording=recording_, company=company, number=number, **{**given, **more})


def endpoint(id_: str, company: str = "acme", **more: Any) -> t.Endpoint:
    """An endpoint that is active."""
    given = {"url": "https://crm.example.com/hooks", "events": [], "created_at": NOON}
    return t.Endpoint(id=id_, company=company, **{**given, **more})


def event(id_: str, company: str = "acme", **more: Any) -> t.Event:
    """An event."""
    given: dict[str, Any] = {"type": "call.started", "call": "call-1", "sequence": 1, "data": {"person": None}}
    return t.Event(id=id_, company=company, **{**given, "occurred_at": NOON, "created_at": NOON, **more})


def delivery(id_: str, event_: str, endpoint_: str, company: str = "acme", **more: Any) -> t.Delivery:
    """A delivery that was made."""
    given: dict[str, Any] = {"state": "delivered", "created_at": NOON, "next_at": NOON, "attempts": 1}
    return t.Delivery(id=id_, event=event_, endpoint=endpoint_, company=company, **{**given, **more})


def attempt(delivery_: str, company: str = "acme", number: int = 1, **more: Any) -> t.Attempt:
    """A try of a delivery."""
    given: dict[str, Any] = {"at": NOON, "seconds": 0.1, "url": "https://crm.example.com/hooks", "request_body": "{}"}
    given |= {"request_headers": {}, "response_headers": {}, "status": 200}
    return t.Attempt(delivery=delivery_, company=company, number=number, **{**given, **more})


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with acme and beta in it."""
    directory = tmp_path_factory.mktemp("published")
    shutil.copytree(ROUTING, directory / "routing")
    (directory / "routing/beta.yaml").write_text(BETA)
    assert {*publish(directory / "routing", VersionStore(directory / "state")).live} == {"acme", "beta"}
    return directory / "state"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row."""
    path = tmp_path_factory.mktemp("database") / "journal.db"
    made = Database(f"sqlite:///{path}")
    migrate(made)
    made.close()
    return path


@pytest.fixture(scope="session")
def _controllers(redis_url: str) -> Iterator[Controllers]:
    made = Controllers(redis_url)
    yield made
    made.stop()


@pytest.fixture
def controllers(_controllers: Controllers, board: Switchboard) -> Controllers:
    """Who answers to commands."""
    _controllers.asked.clear()
    _controllers.answers.clear()
    return _controllers


def make_context(directory: Path, redis_url: str, published: Path, empty: Path) -> Context:
    """A process's context, with a database of its own."""
    shutil.copy(empty, directory / "journal.db")
    (directory / "spool").mkdir()
    switches = tuple(s.SwitchAddress(name, "127.0.0.1", 1, "x") for name in SWITCHES)
    return Context(
        config=s.Config(switches=switches),
        redis_url=redis_url,
        database=Database(f"sqlite:///{directory / 'journal.db'}"),
        state=published,
        spool=directory / "spool",
    )


@pytest.fixture
def context(tmp_path: Path, redis_url: str, published: Path, empty: Path) -> Iterator[Context]:
    """The context of a test that changes it, or breaks it."""
    made = make_context(tmp_path, redis_url, published, empty)
    yield made
    made.database.close()


@pytest.fixture
def fresh(context: Context, controllers: Controllers) -> Web:
    """An application that no other test has."""
    return Web(create_app(context), context, controllers)


@pytest.fixture(scope="session")
def _shared(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, published: Path, empty: Path
) -> Iterator[tuple[Flask, Context]]:
    context = make_context(tmp_path_factory.mktemp("web"), redis_url, published, empty)
    yield create_app(context), context
    context.database.close()


@pytest.fixture
def web(_shared: tuple[Flask, Context], controllers: Controllers) -> Web:
    """The application that tests share; nobody has a token, and no row is there."""
    app, context = _shared
    with context.database.writing() as session:
        for table in reversed(t.Base.metadata.sorted_tables):
            session.execute(table.delete())
    return Web(app, context, controllers)
