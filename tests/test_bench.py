"""``make bench`` in its smallest form: figures come out, and nothing is left running.  No test asserts a time."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.bench import machine
from scripts.bench.__main__ import main, measure
from scripts.bench.parts import PARTS, Sizes
from scripts.bench.report import Report

pytestmark = pytest.mark.tcp
TINY = Sizes(
    rate=20.0,
    seconds=0.5,
    rounds=1,
    warm_up=2,
    settle=0.1,
    parked=(3, 6),
    park_rate=50.0,
    probes=2,
    takeover=(3,),
    calls=20,
    at_once=5,
    deliveries=10,
    numbers=40,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the bench works.  Afterwards no process of it lives, and no file of it is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.iterdir())
    mine = str(tmp_path).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            assert mine not in said, said


def rows(part: str) -> list[dict[str, Any]]:
    return measure([part], TINY).parts[part]


def test_every_delivery_of_the_bench_arrives() -> None:
    found = rows("deliveries")
    assert [(row["endpoints"], row["deliveries"]) for row in found] == [(1, 10), (20, 10)]
    assert all(row["per_second"] > 0 and row["cpu_ms"] > 0 for row in found)


def test_check_is_measured_on_directories_that_are_large_in_different_ways() -> None:
    found = rows("check")
    assert [row["problems"] > 0 for row in found] == [False, False, False, False, True]
    assert all(row["seconds"] > 0 and row["cpu_seconds"] > 0 and row["mb"] > 0 for row in found)


def test_the_contestants_serve_the_same_calls_and_cost_something() -> None:
    found = rows("calls")
    assert [row["letter"] for row in found] == ["a", "a'", "b", "c", "c2"]
    assert [row["calls"] for row in found] == [10] * 5
    assert [row["lost"] for row in found] == [{}] * 5
    for row in found:
        assert row["cpu_ms_per_call"] >= 0  # so few calls may cost less than the kernel counts
        assert row["p95_ms"] >= row["median_ms"] > 0


def test_waiting_callers_take_memory_and_one_more_is_served() -> None:
    found = rows("parked")
    assert [row["parked"] for row in found] == [0, 3, 6]
    assert [row["lost"] for row in found] == [{}] * 3
    assert [math.isfinite(row["pss_kb"]) for row in found] == [False, True, True]
    assert found[-1]["median_ms"] > 0


def test_a_killed_controllers_calls_are_all_taken_over() -> None:
    (row,) = rows("takeover")
    assert row["calls"] >= 3
    assert row["lost"] == {}
    assert 0 < row["first_ms"] <= row["median_ms"] <= row["p99_ms"] <= row["last_ms"]


def test_memory_is_told_on_the_way_through_many_calls() -> None:
    found = rows("growth")
    assert [row["calls"] for row in found] == [2, 10, 20]
    assert [row["lost"] for row in found] == [{}] * 3
    assert all(row["rss_mb"] > 1 for row in found)


def test_what_is_measured_is_said_before_and_printed_after(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "growth", "--calls", "10"], TINY) == 0
    printed = capsys.readouterr()
    assert "minute" in printed.err
    assert "make bench ONLY=growth CALLS=10" in printed.out
    assert machine.machine() in printed.out
    assert printed.out.count("\n") == 9


def test_json_has_what_the_tables_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "growth", "--calls", "10", "--json", "-"], TINY) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["calls"] for row in told["parts"]["growth"]] == [1, 5, 10]
    assert told["commit"]


@pytest.mark.parametrize("wrong", [["--only", "nothing"], ["--calls", "3"], ["--freeswitch", "/nowhere"]])
def test_what_cannot_be_measured_is_a_mistake_of_usage(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong, TINY)
    assert ended.value.code == 2


def test_a_figure_that_does_not_exist_is_a_dash_and_null() -> None:
    row = {"parked": 0, "pss_kb": math.nan, "rss_kb": math.nan, "median_ms": 1.0, "p95_ms": 1.0, "last_ms": 1.0}
    report = Report("m", "c", "make bench", "now", "s", 0.0, 60.0, {"parked": [{**row, "lost": {}, "note": ""}]})
    assert " - " in report.text()
    assert json.loads(report.json())["parts"]["parked"][0]["pss_kb"] is None


def test_a_percentile_is_a_value_of_the_list() -> None:
    assert [machine.percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 3.0, 3.0]
    assert math.isnan(machine.percentile([], 0.5))


def test_the_parts_are_described() -> None:
    assert all(part.title and part.seconds(Sizes()) > 0 for part in PARTS.values())
    assert sum(part.seconds(Sizes()) for part in PARTS.values()) <= 13 * 60
