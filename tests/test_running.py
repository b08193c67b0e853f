"""What every process says that it runs: told in Redis at little cost, read back, and read by people."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callcontrol import running, version_views
from callcontrol.embedded import EmbeddedRedis
from callcontrol.history import Record
from callcontrol.outcomes import Moment, Outcome, Taken
from callcontrol.planning import Pin
from callcontrol.queue_views import Table, plain
from callcontrol.routing.packing import program
from callcontrol.running import Report, Running, digest_of, reports
from callcontrol.supervisor import process_name
from callcontrol.switchboard import Switchboard

OLD, NEW = "0" * 16, "1" * 16
AT = 1_790_000_000.0


def test_what_is_told_is_read_back_whole(board: Switchboard, redis_url: str, tmp_path: Path) -> None:
    Running(board, "host-1-a", tmp_path).report(3, {"acme": OLD}, ["switch1"])
    Running(board, "host-2-b", tmp_path).report(4, {"acme": NEW, "beta": OLD}, ["switch1", "switch2"])
    found = reports(redis_url)
    assert found is not None
    assert [(one.process, one.serial, one.switches) for one in found] == [
        ("host-1-a", 3, ["switch1"]),
        ("host-2-b", 4, ["switch1", "switch2"]),
    ]
    assert [one.versions for one in found] == [{"acme": OLD}, {"acme": NEW, "beta": OLD}]
    assert found[0].state == str(tmp_path)
    assert found[0].program == program()


def test_a_thousand_companies_are_sent_once_however_many_tell(
    board: Switchboard, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    script = board.script

    def counted(text: str) -> Any:
        run = script(text)

        def noted(arguments: Any) -> Any:
            sent.append(sum(len(str(one)) for one in arguments))
            return run(arguments)

        return noted

    monkeypatch.setattr(board, "script", counted)
    every = {f"company-{n}": NEW for n in range(1000)}
    processes = [Running(board, f"host-{n}-a", tmp_path) for n in range(8)]
    for _ in range(3):
        for process in processes:
            process.report(1, every, ["switch1"])
    assert len([size for size in sent if size > 1000]) == 1
    assert sum(size for size in sent if size <= 1000) < 24 * 600
    found = reports(redis_url)
    assert found is not None
    assert {len(one.versions or {}) for one in found} == {1000}


def test_one_that_drains_or_says_nothing_more_is_gone(
    board: Switchboard, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Running(board, "host-1-a", tmp_path), Running(board, "host-2-b", tmp_path)
    for one in (first, second):
        one.report(1, {}, [])
    first.forget()
    assert [one.process for one in reports(redis_url) or ()] == ["host-2-b"]
    monkeypatch.setattr(running, "LASTS", 0)
    board._redis.zadd("cordboard:running", {"host-2-b": 1})
    assert reports(redis_url) == []
    assert 0 < board._redis.ttl("cordboard:running:host-2-b") <= 20


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"null", b"[" * 100_000, b'{"process": "x"}', json.dumps({"digest": "../x"}).encode()]
)
def test_what_no_process_of_ours_wrote_is_not_told(board: Switchboard, redis_url: str, damage: bytes) -> None:
    board._redis.zadd("cordboard:running", {"x": 9e15})
    board._redis.set("cordboard:running:x", damage)
    assert reports(redis_url) == []


@pytest.mark.parametrize(
    "damage", [b"[]", b"{", b'{"acme": 1}', b'{"\x1b[2J": "' + OLD.encode() + b'"}', b'{"acme": "\\u001b"}']
)
def test_versions_that_are_none_are_unknown(board: Switchboard, redis_url: str, tmp_path: Path, damage: bytes) -> None:
    Running(board, "host-1-a", tmp_path).report(1, {"acme": OLD}, [])
    board._redis.set("cordboard:running-map:" + digest_of({"acme": OLD}), damage)
    assert [one.versions for one in reports(redis_url) or []] == [None]


def test_a_map_that_is_lost_is_unknown_and_sent_again(board: Switchboard, redis_url: str, tmp_path: Path) -> None:
    process = Running(board, "host-1-a", tmp_path)
    process.report(1, {"acme": OLD}, [])
    board._redis.delete("cordboard:running-map:" + digest_of({"acme": OLD}))
    [found] = reports(redis_url) or []
    assert found.versions is None
    process.report(1, {"acme": OLD}, [])
    [found] = reports(redis_url) or []
    assert found.versions == {"acme": OLD}


def test_without_redis_nobody_is_told_and_nothing_raises(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    process = Running(Switchboard(own_redis.url, name="test"), "host-1-a", tmp_path)
    own_redis.stop()
    process.report(1, {}, [])
    process.forget()
    assert reports(own_redis.url) is None


# ------------------------------------------------------------------------------------------- read by people

PIN = Pin(OLD, "anna", AT, "callers are lost")
OUTCOME = Outcome(7, Moment("b", 1.0), Moment("b", 2.0), AT, {"acme": OLD, "beta": NEW}, pins={"acme": PIN})
RECORDS = [
    Record(1, AT - 3600, "start", changes={"acme": ("", OLD), "beta": ("", NEW)}),
    Record(5, AT - 60, "publish", "boris", "a new menu", changes={"acme": (OLD, NEW)}, rehearsals=5),
    Record(7, AT, "rollback", "anna", "callers are \x1b[2J lost", changes={"acme": (NEW, OLD)}, pinned={"acme": OLD}),
]


def report(process: str, versions: dict[str, str] | None, program: str = "p" * 12) -> Report:
    digest = digest_of(versions or {})
    return Report(process, "host", "/state", ["switch1"], 7, digest, program, "0.1.0", AT, versions)


def text(**given: Any) -> list[str]:
    arguments = {"outcome": OUTCOME, "records": RECORDS, "reports": [], "taken": {}, "program": "p" * 12, **given}
    found: list[str] = []
    for part in version_views.lines(version_views.versions(**arguments)):
        found += plain(part) if isinstance(part, Table) else [part]
    return found


def test_every_company_is_told_with_how_many_processes_have_it() -> None:
    every = [report("host-1-a", {"acme": OLD, "beta": NEW}), report("host-2-b", {"acme": NEW, "beta": NEW}, "q" * 12)]
    rows = [re.split(r"  +", line) for line in text(reports=every)]
    since = "2026-09-21 14:13 UTC"
    assert rows == [
        ["COMPANY", "VERSION", "SINCE", "BY", "WHY", "PINNED", "PROCESSES"],
        ["acme", OLD, since, "anna", r"callers are \x1b[2J lost", "yes", "1 of 2 !"],
        ["beta", NEW, "2026-09-21 13:13 UTC", "a start", "-", "-", "2 of 2"],
        ["NODE", "PROCESS", "SWITCHES", "PROGRAM", "RUNS", "SINCE"],
        ["host", "host-1", "switch1", "0.1.0 (pppppppppppp)", "what is published", since],
        ["host", "host-2", "switch1", "0.1.0 (qqqqqqqqqqqq): not that of this command", f"! acme {NEW}", since],
    ]


def test_a_company_is_told_with_its_history_and_the_newest_of_its_version_is_marked() -> None:
    found = text(
        company="acme", stored=[OLD], reports=[report("host-1-a", {"acme": OLD}), report("host-2-b", {"acme": NEW})]
    )
    assert found[:2] == [
        f"acme: version {OLD}, which 1 of 2 processes have",
        f"it is pinned to version {OLD} by anna since 2026-09-21 14:13 UTC (callers are lost)",
    ]
    rows = [line.split() for line in found[3:6]]
    assert [row[:3] for row in rows] == [
        ["*", OLD, "(pinned)"],
        [NEW, "2026-09-21", "14:12"],
        [OLD, "2026-09-21", "13:13"],
    ]
    assert [row[-1] for row in rows] == ["yes", "no", "yes"]
    assert "a new menu" in found[4]


def test_what_a_process_has_is_compared_with_what_most_have_where_nothing_was_published() -> None:
    every = [report(f"host-{n}-a", {"acme": OLD}) for n in range(3)] + [report("host-9-b", {"acme": NEW})]
    found = version_views.versions(None, [], every, {}, "p" * 12)
    assert [bool(node["other_versions"]) for node in found["nodes"]] == [False, False, False, True]


def test_without_redis_the_processes_of_this_machine_are_told_of() -> None:
    found = text(reports=None, taken={"host-1-a": Taken(7), "host-2-b": Taken(6, ("acme",))})
    assert found[-3:] == [
        "Redis does not answer: these are the processes of this machine only, as they acknowledged it",
        "host-1: publication 7",
        "host-2: publication 6, and 7 is the newest; could not read: acme",
    ]
    assert (
        text(reports=None)[-1] == "Redis does not answer, and no process of this machine has said that it takes calls"
    )


def test_a_long_reason_is_begun_among_all_companies_and_told_whole_of_one() -> None:
    records = [Record(7, AT, "publish", "anna", "x" * 500, changes={"acme": (NEW, OLD)})]
    assert max(map(len, text(records=records))) < 200
    assert any("x" * 500 in line for line in text(records=records, company="acme"))


def test_a_thousand_companies_are_a_line_each_and_a_process_that_has_others_is_named_once() -> None:
    live = {f"company-{n}": OLD for n in range(1000)}
    every = [report("host-1-a", live), report("host-2-b", dict.fromkeys(live, NEW))]
    found = text(outcome=replace(OUTCOME, live=live, pins={}), records=[], reports=every)
    assert len(found) == 1 + 1000 + 1 + 2
    assert f"! company-0 {NEW}, company-1 {NEW}, company-10 {NEW} and 997 more" in found[-1]


def test_one_of_here_that_was_killed_is_not_counted_and_one_of_another_machine_is(tmp_path: Path) -> None:
    def report(process: str, node: str, state: Path) -> Report:
        return Report(process, node, str(state), [], 1, "", "", "", AT)

    here = os.uname().nodename
    ours = report(process_name(), here, tmp_path)
    killed = report("host-1-a", here, tmp_path)
    others = [report("host-1-a", "elsewhere", tmp_path), report("host-2-b", here, tmp_path / "of another")]
    assert running.living([ours, killed, *others], tmp_path) == [ours, *others]
