"""The short form of ``make chaos``'s uploads: real workers of RQ, killed; a real store that fails; Redis restarted."""

from __future__ import annotations

import subprocess  # noqa: F401 - real processes are in it: see conftest
from pathlib import Path

from scripts.chaos.uploads import play


def test_killed_workers_and_a_failing_store_lose_nothing_and_tell_nothing_twice(tmp_path: Path) -> None:
    outcome = play(tmp_path, kills=10, seed=11, limit=80)
    assert outcome.wrong == []
    assert outcome.kills == 10
    assert outcome.in_hand > 0
    assert outcome.faults
