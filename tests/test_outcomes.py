"""What the processes tell each other through STATE: read back, never half, never from another boot or process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from callcontrol import outcomes
from callcontrol.outcomes import Attempt, Moment, Outcome, Taken
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Place
from callcontrol.supervisor import process_name

BEGAN, ENDED = Moment("boot", 1.0), Moment("boot", 2.5)
OUTCOME = Outcome(
    3,
    BEGAN,
    ENDED,
    1_790_000_000.0,
    {"acme": "0" * 16},
    (problem("E201", Place("routing/acme.yaml", 67, 18), "no such step"), problem("W501", Place("x", 1, 1), "lost")),
    "cordboard.yaml: is wrong",
)
DAMAGE = [b"", b"[]", b"{", b"\xff", b'{"serial": 1}', b"[" * 100_000]


def test_an_outcome_reads_back(tmp_path: Path) -> None:
    assert outcomes.read_outcome(tmp_path) is None
    outcomes.write_outcome(tmp_path, OUTCOME)
    assert outcomes.read_outcome(tmp_path) == OUTCOME
    assert OUTCOME.errors == 1


@pytest.mark.parametrize("attempt", [Attempt(BEGAN), Attempt(BEGAN, ENDED), Attempt(BEGAN, ENDED, "the disk is full")])
def test_an_attempt_reads_back(tmp_path: Path, attempt: Attempt) -> None:
    assert outcomes.read_attempt(tmp_path) is None
    outcomes.write_attempt(tmp_path, attempt)
    assert outcomes.read_attempt(tmp_path) == attempt


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_not_there(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "published.json").write_bytes(damage)
    (tmp_path / "publishing.json").write_bytes(damage)
    (tmp_path / "loaded").mkdir()
    (tmp_path / "loaded" / process_name()).write_bytes(damage.replace(b"serial", b"other"))
    assert outcomes.read_outcome(tmp_path) is None
    assert outcomes.read_attempt(tmp_path) is None
    assert outcomes.acknowledged(tmp_path) == {}


def test_moments_of_different_boots_do_not_follow_each_other() -> None:
    assert ENDED.follows(BEGAN)
    assert BEGAN.follows(BEGAN)
    assert not BEGAN.follows(ENDED)
    assert not Moment("another", 5.0).follows(BEGAN)
    first = outcomes.now()
    assert outcomes.now().follows(first)


def test_only_living_processes_have_loaded_something(tmp_path: Path) -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    name = process_name(child.pid)
    outcomes.acknowledge(tmp_path, name, Taken(2))
    outcomes.acknowledge(tmp_path, process_name(), Taken(3, ("acme",), "wrong"))
    assert outcomes.acknowledged(tmp_path) == {name: Taken(2), process_name(): Taken(3, ("acme",), "wrong")}
    child.communicate()
    assert list(outcomes.acknowledged(tmp_path)) == [process_name()]
    outcomes.forget(tmp_path, process_name())
    outcomes.forget(tmp_path, process_name())
    assert outcomes.acknowledged(tmp_path) == {}


@pytest.mark.parametrize("name", ["", "x", "host-1-x", f"host-{os.getpid()}-0", "host--1-x", "../etc"])
def test_a_name_that_is_no_process_does_not_run(name: str) -> None:
    assert not outcomes.is_running(name)


def test_a_lock_names_its_holder_and_who_comes_too_late_does_not_wipe_it_out(tmp_path: Path) -> None:
    assert outcomes.holder(tmp_path) is None
    with outcomes.held(tmp_path):
        for _ in range(2):
            with pytest.raises(BlockingIOError), outcomes.held(tmp_path):
                pass
            assert outcomes.holder(tmp_path) == process_name()
    assert outcomes.holder(tmp_path) is None
