"""What tests share: a Redis, a way to it, and the log."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from callcontrol.embedded import EmbeddedRedis
from callcontrol.switchboard import Switchboard
from scripts import rig
from tests.databases import NOT_INSTALLED, PostgreSQL, migrated_sqlite, postgresql_programs, sqlite_url
from workers.journal.database import Database

# No test depends on how long something takes: the machine may be busy.
hypothesis.settings.register_profile("cordboard", deadline=None)
hypothesis.settings.load_profile("cordboard")


#: What a test module has by name if its tests live in real time: processes, sockets, a switch that moves by itself.
_REAL = ("gevent", "subprocess", "socket", "threading", "Rig", "EmbeddedRedis", "Switch")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with other processes or sockets in it that fails is tried twice again, and the closing line says so.

    None depends on a time, but each has a patience, and the machines that run them stand still now and then.
    """
    for item in items:
        names = vars(item.module) if isinstance(item, pytest.Function) else {}
        if item.get_closest_marker("tcp") or any(name in names for name in _REAL):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session", autouse=True)
def _spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one server of the tests has spoken, the next need not: a thousand numbers take ten seconds."""
    rig.SPOKEN = tmp_path_factory.mktemp("spoken")
    yield
    rig.SPOKEN = None


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that all tests share; what an earlier test left is still there (see ``board``)."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A running Redis of this test's own, to be stopped, killed and started again."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that all tests share, each with a database of its own (``new()``); skips where none is installed."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip(NOT_INSTALLED)
    server = PostgreSQL(programs)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A journal that is up to date; the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = migrated_sqlite(tmp_path)
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.new(migrated=True)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """A journal that is up to date, on SQLite only: for what does not depend on the database."""
    database = Database(migrated_sqlite(tmp_path))
    yield database
    database.close()


@pytest.fixture
def board(redis_url: str) -> Iterator[Switchboard]:
    """A way to the shared Redis, emptied."""
    board = Switchboard(redis_url, name="test")
    board._redis.flushall()
    yield board
    board.close()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of this test, as dictionaries with ``event`` and ``log_level``."""
    with structlog.testing.capture_logs() as lines:
        yield lines
