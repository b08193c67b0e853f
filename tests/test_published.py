"""Publishing: what has errors never goes live, what is live stays, a call stays on its version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from callcontrol.published import NOBODY, Published
from callcontrol.publishing import publish
from callcontrol.state import State
from callcontrol.versions import VersionStore

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
    assert publish(directory, store).live == ("acme",)
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
    assert (outcome.live, store.current("acme")) == (("acme",), before)


def test_a_call_stays_on_the_version_that_it_began_with(directory: Path, store: VersionStore) -> None:
    publish(directory, store)
    published = loaded(store)
    old = published.find(NUMBER, None)[0]
    change(directory, "tries: 3", "tries: 2")
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
    publish(directory, store)
    (directory / "acme.yaml").unlink()
    assert publish(directory, store).live == ()
    assert loaded(store).find(NUMBER, None)[0] is NOBODY
