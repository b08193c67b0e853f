"""The rule where there is no switch, and what the acceptance calls share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.switch import harness
from tests.switch.harness import CARRIER, PATIENCE, Installation, Outside, Phone, Serve, Step, Switch, Watch, free_port

#: What a test hears of, unless it asks for something else.
EVENTS = (
    "CHANNEL_CREATE",
    "CHANNEL_EXECUTE",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_PROGRESS",
    "CHANNEL_HANGUP_COMPLETE",
    "RECORD_START",
    "RECORD_STOP",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip every test of this directory, saying why, where there is no switch."""
    reason = harness.why_not()
    here = Path(__file__).parent
    for item in items:
        if reason is not None and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> harness.Installation:
    """The FreeSWITCH that we were given."""
    return harness.Installation(os.environ["CORDBOARD_TEST_FREESWITCH"], tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def port() -> int:
    """Where the controllers of a module listen."""
    return free_port(socket.SOCK_STREAM)


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A controller's end of a module's own, where it plays the controller itself; then its ``port`` is the port."""
    with socket.create_server((CARRIER, 0)) as server:
        server.settimeout(PATIENCE)
        yield server


@pytest.fixture(scope="module")
def switch(installation: Installation, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """One switch for a module."""
    with Switch(installation, tmp_path_factory.mktemp("switch"), f"{CARRIER}:{port}") as switch:
        yield switch


@pytest.fixture(scope="module")
def serve(switch: Switch, port: int, redis_url: str) -> Iterator[Serve]:
    """The controllers of a module."""
    with Serve(switch, port, redis_url) as serve:
        yield serve


@pytest.fixture
def watch(switch: Switch, serve: Serve) -> Iterator[Watch]:
    """What the switch says during one test."""
    watch = switch.watch(*EVENTS)
    yield watch
    watch.close()


@pytest.fixture
def phone(switch: Switch, request: pytest.FixtureRequest) -> Iterator[Callable[..., Phone]]:
    """Makes telephones, of the module's ``COMPANY`` unless another is said, that are put away after the test."""
    phones: list[Phone] = []
    own = getattr(request.module, "COMPANY", "acme")

    def make(extension: str, behaviour: str, *, company: str = own, **tokens: object) -> Phone:
        phones.append(Phone(switch, extension, behaviour, company=company, **tokens))
        return phones[-1]

    yield make
    for each in phones:
        each.put_away()


@pytest.fixture
def carrier(switch: Switch) -> Iterator[Callable[..., Outside]]:
    """Makes carriers that are put away after the test."""
    made: list[Outside] = []

    def make(behaviour: str, steps: Sequence[Step] = (), gateway: str = "carrier-a", **tokens: object) -> Outside:
        made.append(Outside(switch, gateway, behaviour, steps, **tokens))
        return made[-1]

    yield make
    for each in made:
        each.stop()
