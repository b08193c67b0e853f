"""The short form of ``make chaos``'s upgrade: two releases side by side, calls in the midst of everything."""

from __future__ import annotations

import subprocess  # noqa: F401 - real processes are in it: see conftest
from pathlib import Path

from scripts.chaos.upgrade import NEXT, play


def test_an_upgrade_of_a_running_system_loses_no_call_and_refuses_no_request(tmp_path: Path) -> None:
    outcome = play(tmp_path, rate=8.0, least=12)
    assert outcome.wrong == []
    assert len(outcome.during) == 4
    assert outcome.handed_over > 0
    assert outcome.requests > 10
    assert {"serve", "controller", "work", "journal", "web", "answering"} <= outcome.releases.keys()
    assert {release for found in outcome.releases.values() for release in found} == {NEXT}
