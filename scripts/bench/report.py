"""What was measured, as text for people and as JSON for programs.  Nothing is judged: the goals stand beside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scripts.bench.parts import PARTS, Row

#: Column, key, how it is written.
_COLUMNS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "calls": (
        ("contestant", "contestant", ""),
        ("calls", "calls", "d"),
        ("CPU ms/call", "cpu_ms_per_call", ".2f"),
        ("of (a)", "of_floor", ".2f"),
        ("Redis besides", "redis_ms_per_call", ".2f"),
        ("set-up median", "median_ms", ".1f"),
        ("p95, ms", "p95_ms", ".1f"),
        ("lost", "lost", "lost"),
    ),
    "parked": (
        ("callers", "parked", "d"),
        ("PSS kB/call", "pss_kb", ".1f"),
        ("RSS kB/call", "rss_kb", ".1f"),
        ("one more: median", "median_ms", ".1f"),
        ("p95", "p95_ms", ".1f"),
        ("slowest, ms", "last_ms", ".1f"),
        ("lost", "lost", "lost"),
        ("", "note", ""),
    ),
    "takeover": (
        ("calls", "calls", "d"),
        ("first", "first_ms", ".0f"),
        ("median", "median_ms", ".0f"),
        ("p99", "p99_ms", ".0f"),
        ("last, ms", "last_ms", ".0f"),
        ("lost", "lost", "lost"),
    ),
    "growth": (
        ("calls", "calls", "d"),
        ("RSS MB", "rss_mb", ".1f"),
        ("PSS MB", "pss_mb", ".1f"),
        ("calls/s", "calls_per_second", ".0f"),
        ("lost", "lost", "lost"),
        ("", "note", ""),
    ),
    "deliveries": (
        ("endpoints", "endpoints", "d"),
        ("deliveries", "deliveries", "d"),
        ("a second", "per_second", ".0f"),
        ("CPU ms each", "cpu_ms", ".2f"),
    ),
    "check": (
        ("of", "what", ""),
        ("MB", "mb", ".2f"),
        ("seconds", "seconds", ".1f"),
        ("CPU s", "cpu_seconds", ".1f"),
        ("problems", "problems", "d"),
    ),
    "uploads": (
        ("uploads", "uploads", "d"),
        ("at a time", "hands", "d"),
        ("uploads/s", "uploads_per_second", ".1f"),
        ("MB/s", "mb_per_second", ".1f"),
        ("CPU ms/upload", "cpu_ms_per_upload", ".1f"),
        ("", "note", ""),
    ),
}
_GOALS = {
    "calls": "(c) at most twice (a) and clearly under (b); set-up within 5 ms of (a)",
    "parked": "under 100 kB a call",
    "takeover": "p99 under 300 ms for 50 calls",
    "growth": "no growth from 10 % on",
    "deliveries": "50 a second and room besides",
    "check": "10,000 numbers in under ten seconds",
    "uploads": "sent, read back, compared and told; both rows of one worker process",
}


@dataclass(slots=True)
class Report:
    """A run: on what, of what, by which command, and the rows of each part."""

    machine: str
    commit: str
    command: str
    began: str
    switch: str
    load: float
    rate: float
    parts: dict[str, list[Row]] = field(default_factory=dict)

    def json(self) -> str:
        """Everything; a figure that does not exist is null."""
        return json.dumps(finite(asdict(self)), indent=2)

    def text(self) -> str:
        """The tables."""
        lines = [
            f"{self.command}   commit {self.commit}, {self.began}",
            f"on {self.machine}; {self.switch}; load before: {self.load:.1f}",
        ]
        for name, rows in self.parts.items():
            rate = f" at {self.rate:g} calls a second" if name == "calls" else ""
            lines += ["", f"{PARTS[name].title}{rate}"]
            lines += table(_COLUMNS[name], _lettered(rows) if name == "calls" else rows)
            lines.append(f"goal: {_GOALS[name]}")
        return "\n".join(lines)


def _lettered(rows: Sequence[Row]) -> list[Row]:
    floor = rows[0]["cpu_ms_per_call"]
    return [
        {
            **row,
            "contestant": f"({row['letter']}) {row['contestant']}",
            "of_floor": row["cpu_ms_per_call"] / floor if floor else math.nan,
        }
        for row in rows
    ]


def table(columns: Sequence[tuple[str, str, str]], rows: Sequence[Row]) -> list[str]:
    """The lines of a table.  ``columns``: title, key, how it is written."""
    cells = [[title for title, _, _ in columns]]
    cells += [[_written(row.get(key), form) for _, key, form in columns] for row in rows]
    widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
    aligned = []
    for line in cells:
        parts = [
            cell.ljust(width) if not form else cell.rjust(width)
            for cell, width, (_, _, form) in zip(line, widths, columns, strict=True)
        ]
        aligned.append("  " + "  ".join(parts).rstrip())
    return aligned


def _written(value: Any, form: str) -> str:
    if form == "lost":
        return "; ".join(f"{count} {cause}" for cause, count in (value or {}).items()) or "0"
    if isinstance(value, float) and math.isnan(value):
        return "-"
    return format(value, form)


def finite(value: Any) -> Any:
    """The same with None for every number that is none."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
