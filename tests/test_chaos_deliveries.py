"""The short form of ``make chaos`` for deliveries.  Delays are told, not asserted: the machine may be busy."""

from __future__ import annotations

import subprocess  # noqa: F401  (it starts processes: tried again if a machine stands still)
from pathlib import Path

from scripts.chaos.deliveries import ROLES, SHORT, run


def test_everything_arrives_though_subscribers_fail_and_processes_are_killed(tmp_path: Path) -> None:
    figures = run(SHORT, tmp_path, lambda _: None)
    assert (figures.missing, figures.strange, figures.unverified) == (0, 0, 0)
    assert figures.received == figures.facts == SHORT.facts
    assert set(figures.kills) <= set(ROLES)
    assert figures.kills.total() >= 2
    assert figures.failed_attempts > 0
    assert figures.first_p50 > 0
