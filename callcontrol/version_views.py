"""What ``cordboard versions`` tells: what is live, what every process runs, and how it came to that.

Gets what was found (the outcome and the history of STATE, the reports in Redis) and gives it a shape, which ``--json``
prints, and text.  It reads nothing itself, and knows no clock.

The surprise: past one machine several servers publish, each from its own directory, and their publications are
numbered apart.  So processes are compared by the versions that they have loaded, and never by numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from callcontrol.history import Record
from callcontrol.outcomes import Outcome, Taken
from callcontrol.planning import moment, pinned_words
from callcontrol.queue_views import Table, shown
from callcontrol.running import Report

#: Companies named of a process that has other versions of many.
NAMED = 3
#: How much of a reason stands in the table of all companies, characters.
BEGUN = 40


def versions(
    outcome: Outcome | None,
    records: Sequence[Record],
    reports: Sequence[Report] | None,
    taken: Mapping[str, Taken],
    program: str,
    *,
    company: str = "",
    stored: Collection[str] = (),
) -> dict[str, Any]:
    """All of it as data.  ``company``: only that, with its history, of which ``stored`` are still there.

    ``reports`` None: Redis cannot be asked, and ``taken`` says what this machine's processes acknowledged.
    ``program`` is that of the command.
    """
    live = dict(outcome.live) if outcome else _most(reports or ())
    names = [company] if company else sorted(live)
    nodes = [_node(report, live, program, names) for report in reports or ()]
    return {
        "serial": outcome.serial if outcome else None,
        "at": outcome.at if outcome else None,
        "redis": reports is not None,
        "companies": [_company(name, live.get(name), outcome, records, reports or ()) for name in names],
        "nodes": nodes,
        "processes": [
            {"process": name, "serial": known.serial, "unread": list(known.unread)}
            for name, known in sorted(taken.items())
        ],
        "history": list(_history(company, live.get(company), records, stored)) if company else None,
    }


def _most(reports: Sequence[Report]) -> dict[str, str]:
    """What most processes have loaded: for whoever asks where nothing was published."""
    counts = Counter(report.digest for report in reports if report.versions is not None)
    for digest, _ in counts.most_common(1):
        return next(dict(report.versions or {}) for report in reports if report.digest == digest)
    return {}


def _company(
    name: str, version: str | None, outcome: Outcome | None, records: Sequence[Record], reports: Sequence[Report]
) -> dict[str, Any]:
    pin = outcome.pins.get(name) if outcome else None
    since = next((record for record in reversed(records) if name in record.changes), None)
    if since is not None and since.changes[name][1] != (version or ""):
        since = None  # the history does not tell of it any more
    told = [report for report in reports if report.versions is not None]
    return {
        "company": name,
        "version": version,
        "since": since.at if since else None,
        **{what: getattr(since, what) if since else None for what in ("how", "by", "why")},
        "pin": {"version": pin.version, "by": pin.by, "at": pin.at, "why": pin.why} if pin else None,
        "processes": len(told),
        "have_it": sum((report.versions or {}).get(name) == version for report in told),
    }


def _node(report: Report, live: Mapping[str, str], program: str, names: Sequence[str]) -> dict[str, Any]:
    has = report.versions
    others = {}
    if has is not None:
        wanted = names if len(names) == 1 else sorted({*names, *has})
        others = {name: has.get(name) for name in wanted if has.get(name) != live.get(name)}
    return {
        "node": report.node,
        "process": report.process,
        "switches": list(report.switches),
        "state": report.state,
        "serial": report.serial,
        "digest": report.digest,
        "since": report.since,
        "program": report.program,
        "release": report.release,
        "same_program": report.program == program,
        "companies": len(has) if has is not None else None,
        "other_versions": others if has is not None else None,
    }


def _history(
    company: str, version: str | None, records: Sequence[Record], stored: Collection[str]
) -> Iterator[dict[str, Any]]:
    """The newest first."""
    current = version
    for record in reversed(records):
        if not (company in record.changes or company in record.pinned or company in record.released):
            continue
        old, new = record.changes.get(company, (None, None))
        has = new if new is not None else record.pinned.get(company)
        yield {
            "version": has,
            "before": old,
            "at": record.at,
            "how": record.how,
            "by": record.by,
            "why": record.why,
            "rehearsals": record.rehearsals,
            "pinned": company in record.pinned,
            "released": company in record.released,
            "current": bool(has) and has == current,
            "stored": has in stored,
        }
        if has and has == current:
            current = None  # only the newest of several


# ------------------------------------------------------------------------------------------------- text


def lines(found: Mapping[str, Any]) -> Iterator[str | Table]:
    """What people read of it."""
    if found["history"] is None:
        if not found["companies"]:
            yield "nothing was published here"
        else:
            yield _companies(found)
    else:
        yield from _one(found)
    yield from _nodes(found)


def _companies(found: Mapping[str, Any]) -> Table:
    rows = [
        (
            shown(row["company"]),
            shown(row["version"] or "-"),
            moment(row["since"]) if row["since"] else "-",
            _by(row),
            _begun(shown(row["why"] or "-")),
            "yes" if row["pin"] else "-",
            _have(row),
        )
        for row in found["companies"]
    ]
    head = ("COMPANY", "VERSION", "SINCE", "BY", "WHY", "PINNED", "PROCESSES")
    return Table(head, tuple(rows), tuple(_colour(row) for row in found["companies"]))


def _colour(row: Mapping[str, Any]) -> str:
    return "red" if row["have_it"] < row["processes"] else "yellow" if row["pin"] else ""


def _begun(text: str) -> str:
    """The beginning of a reason: one that is long must not push away what stands beside it; COMPANY tells it whole."""
    return text if len(text) <= BEGUN else f"{text[: BEGUN - 1]}…"


def _have(row: Mapping[str, Any]) -> str:
    """How many of the processes that told have the version."""
    if not row["processes"]:
        return "-"
    return f"{row['have_it']} of {row['processes']}" + (" !" if row["have_it"] < row["processes"] else "")


def _by(row: Mapping[str, Any]) -> str:
    who = {"start": "a start", "reload": "a reload"}.get(row["how"] or "", "-")
    return shown(row["by"]) if row["by"] else who


def _one(found: Mapping[str, Any]) -> Iterator[str | Table]:
    (row,) = found["companies"]
    what = f"version {row['version']}" if row["version"] else "not live"
    have = (
        f", which {row['have_it']} of {row['processes']} processes have" if row["processes"] and row["version"] else ""
    )
    yield shown(f"{row['company']}: {what}{have}")
    if row["pin"]:
        from callcontrol.planning import Pin

        yield shown(f"it is {pinned_words(Pin(**row['pin']))}")
    if not found["history"]:
        yield "its history is not known"
        return
    rows = [
        (
            "*" if entry["current"] else "",
            _what(entry),
            moment(entry["at"]),
            entry["how"],
            _by(entry),
            shown(entry["why"] or "-"),
            "yes" if entry["stored"] else "no" if entry["version"] else "-",
        )
        for entry in found["history"]
    ]
    yield Table(("", "VERSION", "WHEN", "HOW", "BY", "WHY", "STORED"), tuple(rows))


def _what(entry: Mapping[str, Any]) -> str:
    notes = [word for word in ("pinned", "released") if entry[word]]
    version = entry["version"] or ("as before" if entry["before"] is None else "no calls any more")
    return f"{version} ({', '.join(notes)})" if notes else version


def _nodes(found: Mapping[str, Any]) -> Iterator[str | Table]:
    if not found["redis"]:
        if not found["processes"]:
            yield "Redis does not answer, and no process of this machine has said that it takes calls"
            return
        yield "Redis does not answer: these are the processes of this machine only, as they acknowledged it"
        for known in found["processes"]:
            behind = "" if known["serial"] == found["serial"] else f", and {found['serial']} is the newest"
            unread = f"; could not read: {', '.join(known['unread'])}" if known["unread"] else ""
            yield shown(f"{known['process'].rpartition('-')[0]}: publication {known['serial']}{behind}{unread}")
        return
    if not found["nodes"]:
        yield "no process has told Redis of itself: nobody takes calls"
        return
    rows = [
        (node["node"], node["process"].rpartition("-")[0], ", ".join(map(shown, node["switches"])), *_runs(node))
        for node in found["nodes"]
    ]
    table = tuple(tuple(map(shown, row)) for row in rows)
    colours = tuple("red" if node["other_versions"] else "" for node in found["nodes"])
    yield Table(("NODE", "PROCESS", "SWITCHES", "PROGRAM", "RUNS", "SINCE"), table, colours)


def _runs(node: Mapping[str, Any]) -> tuple[str, str, str]:
    program = f"{node['release']} ({node['program']})" + ("" if node["same_program"] else ": not that of this command")
    others = node["other_versions"]
    if others is None:
        runs = "unknown"
    elif not others:
        runs = "what is published"
    else:
        named = [f"{company} {version or 'not at all'}" for company, version in list(others.items())[:NAMED]]
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        runs = f"! {', '.join(named)}{more}"
    return program, runs, moment(node["since"])
