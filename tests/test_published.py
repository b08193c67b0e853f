"""What is live: found by number, read in pieces; what is live stays, a call stays on its version."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from callcontrol.published import NOBODY, Published
from callcontrol.publishing import publish
from callcontrol.routing.load import load_compiled
from callcontrol.routing.model import Routing
from callcontrol.routing.packing import program
from callcontrol.state import State
from callcontrol.versions import VersionStore
from tests.test_publishing import BETA

ROUTING = Path(__file__).parent.parent / "routing"
NUMBER = "+74951234567"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(ROUTING, tmp_path / "routing")
    return tmp_path / "routing"


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "state")


def loaded(store: VersionStore) -> Published:
    published = Published(store)
    published.load()
    return published


def change(directory: Path, old: str, new: str) -> None:
    file = directory / "acme.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_is_published_is_served(directory: Path, store: VersionStore) -> None:
    assert list(publish(directory, store).live) == ["acme"]
    routing, number = loaded(store).find(NUMBER, None)
    assert (routing.company, number) == ("acme", NUMBER)


@pytest.mark.parametrize("spelling", ["+74951234567", "74951234567", "0074951234567"])
def test_a_number_is_found_as_trunks_write_it(directory: Path, store: VersionStore, spelling: str) -> None:
    publish(directory, store)
    assert loaded(store).find(spelling, None)[1] == NUMBER


@pytest.mark.parametrize("called", [None, "", "+74950000000", "301", "*21"])
def test_a_number_that_nobody_owns_is_nobodys(directory: Path, store: VersionStore, called: str | None) -> None:
    publish(directory, store)
    assert loaded(store).find(called, None)[0] is NOBODY


def test_a_mistake_keeps_the_last_good_version_live(directory: Path, store: VersionStore) -> None:
    publish(directory, store)
    before = store.current("acme")
    change(directory, "otherwise: anna ", "otherwise: nobody_here ")
    outcome = publish(directory, store)
    assert outcome.problems
    assert (outcome.live, store.current("acme")) == ({"acme": before}, before)


def test_a_call_stays_on_the_version_that_it_began_with(directory: Path, store: VersionStore) -> None:
    publish(directory, store)
    published = loaded(store)
    old = published.find(NUMBER, None)[0]
    change(directory, "tries: 3", "tries: 4")
    publish(directory, store)
    published.load()
    new = published.find(NUMBER, None)[0]
    assert new.version != old.version
    state = State("acme", old.version, NUMBER, 1, 0, "reception", "greet")
    assert published.find(None, state)[0].version == old.version
    assert loaded(store).find(None, state)[0].version == old.version  # another process, from the store


def test_a_version_that_is_gone_is_the_current_one(directory: Path, store: VersionStore) -> None:
    publish(directory, store)
    state = State("acme", "0" * 16, NUMBER, 1, 0, "reception", "greet")
    routing, number = loaded(store).find(None, state)
    assert (routing.version, number) == (store.current("acme"), NUMBER)


def test_a_company_whose_file_is_gone_is_no_longer_served(directory: Path, store: VersionStore) -> None:
    add_beta(directory)
    publish(directory, store)
    published = loaded(store)
    (directory / "acme.yaml").unlink()
    assert list(publish(directory, store).live) == ["beta"]
    published.load()
    assert published.find(NUMBER, None)[0] is NOBODY
    assert published.companies == ("beta",)


# ------------------------------------------------------------------------------------ reading what is packed

Logs = list[MutableMapping[str, Any]]


def add_beta(directory: Path, number: str = "+74957654321") -> None:
    (directory / "beta.yaml").write_text(BETA.replace("+74957654321", number))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The stored versions that were parsed."""
    found: list[bytes] = []

    def noted(stored: bytes) -> Routing:
        found.append(stored)
        return load_compiled(stored)

    monkeypatch.setattr("callcontrol.published.load_compiled", noted)
    return found


def packed(store: VersionStore) -> Path:
    return store.state / "versions/acme" / f"{store.current('acme')}.{program()}"


class Bomb:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def test_what_is_published_is_not_parsed(directory: Path, store: VersionStore, parsed: list[bytes]) -> None:
    publish(directory, store)
    assert loaded(store).companies == ("acme",)
    assert parsed == []


@pytest.mark.parametrize(
    "damage", [None, b"", b"{}", b"\xff" * 100, pickle.dumps(Bomb())], ids=["gone", "empty", "other", "noise", "pickle"]
)
def test_a_packed_version_that_cannot_be_used_is_parsed_said_and_mended(
    directory: Path, store: VersionStore, parsed: list[bytes], logs: Logs, damage: bytes | None
) -> None:
    publish(directory, store)
    good = packed(store).read_bytes()
    packed(store).unlink() if damage is None else packed(store).write_bytes(damage)
    assert loaded(store).find(NUMBER, None)[0].version == store.current("acme")
    assert len(parsed) == 1
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == (
        [] if damage is None else ["a packed version is parsed anew"]
    )
    assert packed(store).read_bytes() == good
    loaded(store)
    assert len(parsed) == 1


def test_what_can_be_read_in_no_way_leaves_the_company_as_it_was(directory: Path, store: VersionStore) -> None:
    add_beta(directory)
    publish(directory, store)
    published = loaded(store)
    before = published.find(NUMBER, None)[0]
    change(directory, "tries: 3", "tries: 4")
    version = publish(directory, store).live["acme"]
    for file in (store.state / "versions/acme").glob(f"{version}*"):
        file.write_bytes(b"x")
    assert published.load().unread == ("acme",)
    assert published.find(NUMBER, None)[0] is before
    assert loaded(store).companies == ("beta",)  # another, which never had it


def test_only_what_changed_is_read_and_the_old_is_complete_until_the_new_is(
    directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_beta(directory)
    publish(directory, store)
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr("callcontrol.published.STRETCH", 0.0)

    def pause() -> None:
        seen.append(tuple(published.find(number, None)[0].version for number in (NUMBER, "+74957654321")))  # type: ignore[arg-type]

    published = Published(store, pause=pause)
    published.load()
    before = (published.find(NUMBER, None)[0], published.find("+74957654321", None)[0])
    reading = published._read
    read: list[str] = []

    def noted(company: str, version: str) -> Routing | None:
        read.append(company)
        return reading(company, version)

    monkeypatch.setattr(published, "_read", noted)
    change(directory, "tries: 3", "tries: 4")
    outcome = publish(directory, store)
    seen.clear()
    taken = published.load()
    assert (taken.serial, taken.unread) == (outcome.serial, ())
    assert read == ["acme"]
    assert published.find("+74957654321", None)[0] is before[1]
    old, new = tuple(routing.version for routing in before), tuple(outcome.live[name] for name in ("acme", "beta"))
    assert set(seen) == {old, new}
    assert seen == sorted(seen, key=[old, new].index)
    assert len(seen) > 10


def test_something_slow_is_done_apart(directory: Path, store: VersionStore) -> None:
    publish(directory, store)
    packed(store).unlink()
    apart: list[Any] = []

    def do(work: Callable[[], Any]) -> Any:
        apart.append(work())
        return apart[-1]

    published = Published(store, apart=do)
    published.load()
    assert apart[0] is published.find(NUMBER, None)[0]


def test_a_number_that_two_live_versions_claim_is_the_first_companys(
    directory: Path, store: VersionStore, logs: Logs
) -> None:
    add_beta(directory)
    publish(directory, store)
    change(directory, '"+78005550101"', '"+74957654321"')
    (directory / "beta.yaml").write_text(BETA.replace("busy", "bussy").replace("+74957654321", "+74957654322"))
    publish(directory, store)  # beta keeps its version, and with it a number that it gave up
    assert loaded(store).find("+74957654321", None)[0].company == "acme"
    (said,) = [line for line in logs if line["event"] == "a number is claimed by two versions that are live"]
    assert (said["company"], said["number"], said["goes_to"]) == ("beta", "+74957654321", "acme")


class TestOldVersions:
    @pytest.fixture
    def published(self, directory: Path, store: VersionStore) -> Published:
        publish(directory, store)
        return loaded(store)

    @staticmethod
    def replace(directory: Path, store: VersionStore, published: Published) -> None:
        change(directory, "tries: 3", "tries: 4")
        publish(directory, store)
        published.load()

    def age(self, store: VersionStore, version: str) -> float:
        return time.time() - (store.state / "versions/acme" / version).stat().st_mtime

    def grow_old(self, store: VersionStore, version: str) -> None:
        os.utime(store.state / "versions/acme" / version, (time.time() - 90_000,) * 2)

    def test_a_version_is_used_for_as_long_as_a_call_holds_it(
        self, directory: Path, store: VersionStore, published: Published
    ) -> None:
        call = published.find(NUMBER, None)[0]
        self.replace(directory, store, published)
        assert published.version("acme", call.version) is call
        self.grow_old(store, call.version)
        published.say_used()
        assert self.age(store, call.version) < 3600

    def test_a_version_that_no_call_has_is_let_go(
        self, directory: Path, store: VersionStore, published: Published
    ) -> None:
        version = published.find(NUMBER, None)[0].version
        self.replace(directory, store, published)
        self.grow_old(store, version)
        published.say_used()
        assert self.age(store, version) > 80_000

    def test_a_version_that_was_asked_for_is_shared_and_let_go_later(
        self, directory: Path, store: VersionStore, published: Published, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = published.find(NUMBER, None)[0].version
        self.replace(directory, store, published)
        monkeypatch.setattr(published, "_read", Once(published._read))
        assert published.version("acme", version) is published.version("acme", version)
        monkeypatch.setattr("callcontrol.published.ASKED", -1.0)
        published.say_used()
        self.grow_old(store, version)
        published.say_used()
        assert self.age(store, version) > 80_000


class Once:
    """Does it once, and no more."""

    def __init__(self, what: Callable[..., Any]) -> None:
        self._what: Callable[..., Any] | None = what

    def __call__(self, *given: Any) -> Any:
        what, self._what = self._what, None
        assert what is not None
        return what(*given)
