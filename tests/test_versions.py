"""The store of published routing: whole or not at all, old ones for as long as calls may need them."""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from callcontrol.versions import VersionStore, version_of

Logs = list[MutableMapping[str, Any]]
OLD, NEW = b"the old routing", b"the new routing"


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path)


def publish(store: VersionStore, data: bytes, company: str = "acme") -> str:
    store.put(company, version_of(data), data)
    store.publish(company, version_of(data))
    return version_of(data)


def test_a_version_is_found_by_its_hash_and_the_current_one_by_its_company(store: VersionStore, tmp_path: Path) -> None:
    old, new = publish(store, OLD), publish(store, NEW)
    assert store.get("acme", old) == OLD
    assert store.get("acme", new) == NEW
    assert store.current("acme") == new
    assert (tmp_path / "versions/acme" / new).read_bytes() == NEW


def test_what_is_not_there_is_none(store: VersionStore) -> None:
    assert store.companies() == store.live() == []
    assert store.current("acme") is None
    assert store.get("acme", version_of(OLD)) is None


def test_companies_are_those_with_versions_and_live_those_with_a_current_one(store: VersionStore) -> None:
    publish(store, OLD, "zeta")
    publish(store, OLD, "acme")
    store.put("later", version_of(OLD), OLD)
    assert store.companies() == ["acme", "later", "zeta"]
    assert store.live() == ["acme", "zeta"]
    store.withdraw("zeta")
    store.withdraw("zeta")
    assert store.live() == ["acme"]
    assert store.get("zeta", version_of(OLD)) == OLD


@pytest.mark.parametrize("company", ["", "..", "../acme", "Acme", "a/b", "1st", "acme\n", "a" * 32])
def test_a_company_that_is_none_never_becomes_a_path(store: VersionStore, company: str) -> None:
    with pytest.raises(ValueError):
        store.put(company, version_of(OLD), OLD)
    with pytest.raises(ValueError):
        store.publish(company, version_of(OLD))
    store.withdraw(company)
    assert store.get(company, version_of(OLD)) is None
    assert store.current(company) is None


@pytest.mark.parametrize("version", ["", "current", "../../passwords0", "ABCDEF0123456789", "0" * 15, "0" * 17])
def test_a_version_that_is_none_never_becomes_a_path(store: VersionStore, version: str) -> None:
    with pytest.raises(ValueError):
        store.put("acme", version, OLD)
    with pytest.raises(ValueError):
        store.publish("acme", version)
    assert store.get("acme", version) is None


def test_bytes_that_are_not_the_version_are_refused(store: VersionStore) -> None:
    with pytest.raises(ValueError, match=version_of(NEW)):
        store.put("acme", version_of(OLD), NEW)
    with pytest.raises(ValueError, match="not stored"):
        store.publish("acme", version_of(OLD))


def test_a_damaged_version_is_none_and_logged_and_can_be_stored_again(
    store: VersionStore, tmp_path: Path, logs: Logs
) -> None:
    version = publish(store, OLD)
    (tmp_path / "versions/acme" / version).write_bytes(OLD[:-1])
    assert store.get("acme", version) is None
    assert [line["event"] for line in logs] == ["a stored version is damaged"]
    publish(store, OLD)
    assert store.get("acme", version) == OLD


def test_a_damaged_pointer_means_no_current_version(store: VersionStore, tmp_path: Path) -> None:
    publish(store, OLD)
    for damage in (b"", b"../../etc", b"\xff\xfe"):
        (tmp_path / "versions/acme/current").write_bytes(damage)
        assert store.current("acme") is None


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_changes_nothing_and_leaves_nothing(
    store: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    old = publish(store, OLD)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if moment == "fsync" else Path, moment, fail)
        with pytest.raises(OSError, match="No space"):
            publish(store, NEW)
    assert sorted(path.name for path in (tmp_path / "versions/acme").iterdir()) == sorted([old, "current"])
    assert store.current("acme") == old


def test_a_version_is_on_disk_before_it_has_its_name(store: VersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(fd: int) -> None:
        done.append("sync")
        fsync(fd)

    def note_replace(self: Path, target: Path) -> Path:
        done.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    store.put("acme", version_of(OLD), OLD)
    assert done == ["sync", "name", "sync"]  # the file, its name, the directory


def grow_old(tmp_path: Path, seconds: float) -> None:
    for path in (tmp_path / "versions").rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_pruning_spares_the_current_the_live_and_the_recent(store: VersionStore, tmp_path: Path) -> None:
    datas = [b"1", b"2", b"3", b"4"]
    names = [publish(store, data) for data in datas]
    grow_old(tmp_path, 90_000)
    recent = publish(store, b"5")  # so the fourth has been old for a moment only
    assert store.prune({("acme", names[1]), ("other", names[0])}) == sorted([("acme", names[0]), ("acme", names[2])])
    assert [store.get("acme", name) for name in names] == [None, b"2", None, b"4"]
    assert store.current("acme") == recent
    assert store.prune(set(), older_than=-1) == sorted([("acme", names[1]), ("acme", names[3])])
    assert store.get("acme", recent) == b"5"


def test_pruning_sweeps_up_what_a_killed_writer_left(store: VersionStore, tmp_path: Path) -> None:
    publish(store, OLD)
    (tmp_path / "versions/acme/.new-0123456789abcdef-1").write_bytes(b"half")
    store.prune(set())
    assert (tmp_path / "versions/acme/.new-0123456789abcdef-1").exists()
    grow_old(tmp_path, 90_000)
    store.prune(set())
    assert not (tmp_path / "versions/acme/.new-0123456789abcdef-1").exists()
    assert store.current("acme") == version_of(OLD)


PROGRAM = "0123456789ab"


def test_what_a_program_made_of_a_version_is_kept_beside_it_and_goes_with_it(
    store: VersionStore, tmp_path: Path
) -> None:
    old, new = publish(store, OLD), publish(store, NEW)
    for version in (old, new):
        assert store.derived("acme", version, PROGRAM) is None
        store.derive("acme", version, PROGRAM, b"packed " + version.encode())
        store.derive("acme", version, "0" * 12, b"of another program")
    assert store.derived("acme", new, PROGRAM) == b"packed " + new.encode()
    assert store.companies() == ["acme"]
    assert store.prune(set(), program=PROGRAM) == []
    assert store.derived("acme", old, "0" * 12) is not None  # such a program may still run
    grow_old(tmp_path, 90_000)
    assert store.prune(set(), program=PROGRAM) == [("acme", old)]
    assert sorted(path.name for path in (tmp_path / "versions/acme").iterdir()) == sorted(
        [new, f"{new}.{PROGRAM}", "current"]
    )


@pytest.mark.parametrize("program", ["../../../x", "0" * 11, "x" * 12, "current"])
def test_a_program_that_is_none_never_becomes_a_path(store: VersionStore, program: str) -> None:
    version = publish(store, OLD)
    with pytest.raises(ValueError):
        store.derive("acme", version, program, b"")
    assert store.derived("acme", version, program) is None


def test_a_version_that_is_used_grows_young_again_but_is_not_touched_all_the_time(
    store: VersionStore, tmp_path: Path
) -> None:
    old = publish(store, OLD)
    publish(store, NEW)
    grow_old(tmp_path, 90_000)
    store.used("acme", old)
    assert store.prune(set()) == []
    grow_old(tmp_path, 300)
    before = (tmp_path / "versions/acme" / old).stat().st_mtime
    store.used("acme", old)
    assert (tmp_path / "versions/acme" / old).stat().st_mtime == before
    store.used("acme", "0" * 16)
    store.used("../x", old)


def test_a_version_that_is_published_again_is_young_again(store: VersionStore, tmp_path: Path) -> None:
    old = publish(store, OLD)
    publish(store, NEW)
    grow_old(tmp_path, 90_000)
    store.put("acme", old, OLD)
    assert store.prune(set()) == []
