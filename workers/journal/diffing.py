"""``cordboard diff``: what two versions of the routing do differently, also to the calls that there were.

It finds the versions (files, what is live, what is stored), has them compared (``workbench/compare.py``) and the
journal's calls walked again (``comparing.py``), and tells people or machines.  It stands with the journal because call
control does not import workers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol.outcomes import read_outcome
from callcontrol.private import SettingsError
from callcontrol.queue_views import shown
from callcontrol.routing.files import load_company, load_directory
from callcontrol.routing.load import Loaded, LoadError, load_compiled, load_text
from callcontrol.routing.model import Routing
from callcontrol.versions import VersionStore
from callcontrol.workbench.compare import Comparison, compare, compare_all, told
from workers.journal import comparing
from workers.journal.cli import Moment
from workers.journal.database import Database, default_url
from workers.journal.migrating import migrate

#: Calls that are listed without --all.
MOST_LISTED = 20
#: Reasons why nothing can be said that are named.
MOST_REASONS = 5
_STORED = re.compile(r"([a-z][a-z0-9-]{0,30})@([0-9a-f]{1,16})")


class _Cannot(Exception):
    """What was asked for cannot be compared; ``str()`` says why, for people."""


@dataclass(frozen=True, slots=True)
class _Version:
    """One side: companies, each with its source, by which it is seen at once that nothing changed.

    ``one``: it is one company's, and not a directory of several.
    """

    companies: Mapping[str, Routing]
    sources: Mapping[str, tuple[str, tuple[str, ...]]]
    one: bool = False


@dataclass(slots=True)
class _Calls:
    """What the calls of the journal say."""

    total: int = 0
    alike: int = 0
    elsewhere: list[comparing.Judged] = field(default_factory=list)
    many: int = 0  # that would have gone elsewhere
    reasons: dict[str, int] = field(default_factory=dict)
    unsaid: list[comparing.Judged] = field(default_factory=list)
    trouble: str = ""

    @property
    def cannot(self) -> int:
        """Calls of which nothing can be said."""
        return sum(self.reasons.values())


@click.command(short_help="What another version of routing would do.")
@click.argument("old", default="live")
@click.argument("new", envvar="CORDBOARD_ROUTING", default="routing")
@o.COMPANY
@click.option("--since", type=Moment(), default="1d", show_default=True, help="Calls since then: 2h, 3d, 2026-11-23.")
@click.option("--no-calls", is_flag=True, help="Compare the routing only, and look at no calls.")
@click.option("--all", "whole", is_flag=True, help=f"List all of the calls that differ, not only {MOST_LISTED}.")
@click.option("--callers", is_flag=True, help="Show who called in full; else only how their numbers begin.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or one object for machines.",
)
@o.DATABASE
@o.STATE
def diff(
    old: str,
    new: str,
    company: str | None,
    since: float,
    no_calls: bool,
    whole: bool,
    callers: bool,
    form: str,
    database: str,
    state: Path,
) -> None:
    """Say what NEW does otherwise than OLD: which numbers, when, for whom and by which keys.

    Each is a directory of companies, one company's file, `live` (what is published in STATE), or COMPANY@VERSION, a
    stored version, of which the first letters are enough. Then the calls that there were are walked by both: which of
    them would have gone elsewhere. Exit codes: 0 nothing changes, 1 something does, 2 usage, 3 it cannot be compared.
    """
    now = time.time()
    try:
        before, after = _version(old, company, state), _version(new, company, state)
        pairs, found = _compared(before, after, company, now)
    except _Cannot as error:
        click.echo(f"cordboard: {error}", err=True)
        sys.exit(3)
    calls: dict[str, _Calls] = {}
    trouble = ""
    if not no_calls:
        calls, trouble = _calls(pairs, VersionStore(state), database, state, since, now, whole, callers)
    if form == "json":
        data = [{**one.data, "calls": _data(calls.get(one.company))} for one in found]
        click.echo(json.dumps({"companies": data, "since": since, "trouble": trouble or None}, indent=2))
    else:
        for line in _text(found, pairs, calls, since):
            click.echo(line)
        if trouble:
            click.echo(f"cordboard: no calls were looked at: {trouble}", err=True)
    sys.exit(1 if any(one.differs for one in found) else 0)


# ---------------------------------------------------------------------------------------------- the two versions


def _version(given: str, company: str | None, state: Path) -> _Version:
    """One side, as it was asked for.  Raises _Cannot."""
    store = VersionStore(state)
    if given == "live":
        outcome = read_outcome(state)
        live = outcome.live if outcome is not None else {one: store.current(one) or "" for one in store.live()}
        if not live:
            raise _Cannot(f"nothing is published in {state}: name two files or directories to compare")
        if company is not None and company not in live:
            raise _Cannot(f"the company {company} is not live; there is: {', '.join(sorted(live))}")
        wanted = {name: version for name, version in live.items() if company in (None, name)}
        return _stored(store, wanted, one=company is not None)
    path = Path(given)
    if (found := _STORED.fullmatch(given)) and not path.exists():
        return _stored(store, {found[1]: _whole(store, state, *found.groups())}, one=True)
    if not path.exists():
        raise _Cannot(f"there is no {given}: write a directory, a file, live, or COMPANY@VERSION")
    try:
        one = path.is_file() or company is not None
        loaded = [_soundless(entry) for entry in ([load_company(path, company)] if one else load_directory(path))]
    except LoadError as error:
        raise _Cannot(str(error)) from None
    broken = [found for entry in loaded if entry.routing is None for found in entry.problems]
    errors = [str(found) for found in broken if found.severity == "error"]
    if errors:
        raise _Cannot("\n".join(["a file has errors, mend it first:", *errors]))
    return _Version(
        {entry.company: entry.routing for entry in loaded if entry.routing is not None},
        {entry.company: (entry.source, tuple(map(str, entry.days_off))) for entry in loaded},
        one,
    )


def _soundless(entry: Loaded) -> Loaded:
    """A file whose sounds are not beside it says all the same where its calls go: to miss them is for ``check``."""
    errors = [found for found in entry.problems if found.severity == "error"]
    if not errors or any(found.code != "E209" for found in errors):
        return entry
    return load_text(entry.source, path=entry.path, company=entry.company)


def _whole(store: VersionStore, state: Path, company: str, beginning: str) -> str:
    """The one stored version that begins so."""
    folder = state / "versions" / company
    known = sorted(path.name for path in folder.glob(f"{beginning}*") if re.fullmatch("[0-9a-f]{16}", path.name))
    if len(known) == 1:
        return known[0]
    there = ", ".join(known) if known else ", ".join(sorted(path.name for path in folder.glob("?" * 16))) or "none"
    what = "several versions of" if known else f"no version {beginning} of"
    raise _Cannot(f"there {'are' if known else 'is'} {what} {company} in {state}: {there}")


def _stored(store: VersionStore, wanted: Mapping[str, str], *, one: bool) -> _Version:
    routings, sources = {}, {}
    for company, version in wanted.items():
        data = store.get(company, version)
        if data is None:
            raise _Cannot(f"the version {version} of {company} is not stored in {store.state}, or is damaged")
        try:
            routings[company] = load_compiled(data)
            kept = json.loads(data)
        except LoadError as error:
            raise _Cannot(f"{company}@{version}: {error}") from None
        sources[company] = str(kept["source"]), tuple(map(str, kept["holidays"]))
    return _Version(routings, sources, one)


def _compared(
    before: _Version, after: _Version, company: str | None, now: float
) -> tuple[dict[str, tuple[Routing, Routing]], list[Comparison]]:
    """The versions to walk calls by, and what differs, by company."""
    old, new = dict(before.companies), dict(after.companies)
    if before.one and after.one and len(old) == len(new) == 1:
        ((was, first),), ((name, second),) = old.items(), new.items()
        if before.sources[was] == after.sources[name]:
            return {name: (first, second)}, [Comparison(name, same=tuple(second.numbers))]
        return {name: (first, second)}, [compare(first, second, now)]
    if before.one or after.one:
        wanted = {*(old if before.one else new)}
        old = {name: routing for name, routing in old.items() if name in wanted}
        new = {name: routing for name, routing in new.items() if name in wanted}
        if not old or not new:
            raise _Cannot(f"only one side has the company {', '.join(wanted)}")
    same = [name for name in new if name in old and before.sources[name] == after.sources[name]]
    found = [Comparison(name, same=tuple(new[name].numbers)) for name in same]
    others = [{name: routing for name, routing in side.items() if name not in same} for side in (old, new)]
    found += compare_all(others[0], others[1], now)
    pairs = {name: (routing, new[name]) for name, routing in old.items() if name in new}
    return pairs, sorted(found, key=lambda one: one.company)


# -------------------------------------------------------------------------------------------------------- the calls


def _calls(
    pairs: Mapping[str, tuple[Routing, Routing]],
    store: VersionStore,
    database: str,
    state: Path,
    since: float,
    now: float,
    whole: bool,
    callers: bool,
) -> tuple[dict[str, _Calls], str]:
    """What the journal's calls say, by company; and why there is nothing, or no more, to say."""
    found: dict[str, _Calls] = {}
    if not database and not Path(default_url(state.resolve()).removeprefix("sqlite:///")).exists():
        return found, ""  # nobody has a journal here, or asked for one
    try:
        with _journal(database, state) as journal:
            for company, (old, new) in pairs.items():
                found[company] = _of_company(journal, store, company, old, new, since, now, whole, callers)
    except SettingsError as error:
        return found, str(error)
    except SQLAlchemyError as error:
        return found, f"the journal cannot be used: {shown(str(getattr(error, 'orig', error))[:300])}"
    except OSError as error:
        return found, f"the journal cannot be opened: {error.strerror or error}"
    return found, ""


def _of_company(
    journal: Database,
    store: VersionStore,
    company: str,
    old: Routing,
    new: Routing,
    since: float,
    now: float,
    whole: bool,
    callers: bool,
) -> _Calls:
    def version(wanted: str) -> Routing | None:
        data = store.get(company, wanted)
        with contextlib.suppress(LoadError):
            return load_compiled(data) if data is not None else None
        return None

    found = _Calls()
    judge = comparing.Judge(old, new, version, since, now)
    with journal.reading() as session:
        for call in comparing.read(session, company, since, now, judge.plain):
            verdict = judge.judge(call)
            found.total += 1
            caller = call.caller if callers else _beginning(call.caller)
            listed = comparing.Judged(call.call, call.began, caller, call.called, verdict)
            if verdict.what == comparing.ELSEWHERE:
                found.many += 1
                if whole or len(found.elsewhere) < MOST_LISTED:
                    found.elsewhere.append(listed)
            elif verdict.what == comparing.UNSAID:
                found.reasons[verdict.why] = found.reasons.get(verdict.why, 0) + 1
                if whole:
                    found.unsaid.append(listed)
            else:
                found.alike += 1
    return found


def _beginning(caller: str | None) -> str | None:
    """A number without its end, which is personal data: enough to see from where it was."""
    return f"{caller[:5]}…" if caller else caller


@contextlib.contextmanager
def _journal(database: str, state: Path) -> Iterator[Database]:
    """The journal, up to date.  Raises SettingsError, SQLAlchemyError and OSError."""
    found = Database(database or default_url(state.resolve()))
    try:
        if found.is_sqlite and not Path(found.url.database or "").exists():
            raise SettingsError(f"there is no journal at {found.url.database}")
        migrate(found)
        yield found
    finally:
        found.close()


# -------------------------------------------------------------------------------------------------------- the text


def _text(
    found: Sequence[Comparison],
    pairs: Mapping[str, tuple[Routing, Routing]],
    calls: Mapping[str, _Calls],
    since: float,
) -> Iterator[str]:
    quiet = [one for one in found if not one.differs and not one.cut and not calls.get(one.company, _Calls()).many]
    if len(quiet) == len(found):
        names = ", ".join(one.company for one in found) if len(found) < 4 else f"{len(found)} companies"
        yield f"nothing changes ({names})"
    else:
        for one in found:
            if one not in quiet:
                yield from told(one)
                yield from _called(calls.get(one.company), pairs.get(one.company), since)
        if quiet:
            yield f"{len(quiet)} {'company does' if len(quiet) == 1 else 'companies do'} what they did"
            return
        return
    for one in found:
        yield from _called(calls.get(one.company), pairs.get(one.company), since)


def _called(calls: _Calls | None, pair: tuple[Routing, Routing] | None, since: float) -> Iterator[str]:
    if calls is None or pair is None or not calls.total:
        return
    zone = ZoneInfo(pair[1].timezone)
    count = f"{calls.total} {'call' if calls.total == 1 else 'calls'} from outside since {_moment(since, zone)}"
    yield f"of {count}: {calls.many} would have gone elsewhere, {calls.alike} alike, {calls.cannot} cannot be said"
    alike: dict[tuple[str, str], list[comparing.Judged]] = {}
    for one in calls.elsewhere:
        alike.setdefault((one.verdict.was, one.verdict.would), []).append(one)
    for (was, would), group in alike.items():
        yield from (f"  was    {was}", f"  would  {would}")
        for one in group:
            who = shown(one.caller or "anonymous")
            yield f"    {_moment(one.began, zone)}  {who} to {shown(one.called)}  {one.call}"
    if calls.many > len(calls.elsewhere):
        yield f"  and {calls.many - len(calls.elsewhere)} more: --all lists them"
    order = sorted(calls.reasons.items(), key=lambda reason: -reason[1])
    for why, times in order[:MOST_REASONS]:
        yield f"  cannot be said of {times}: {shown(why)}"
    if len(order) > MOST_REASONS:
        yield f"  cannot be said of {sum(times for _, times in order[MOST_REASONS:])}, for other reasons"
    for one in calls.unsaid:
        yield f"  {_moment(one.began, zone)}  {one.call}: {shown(one.verdict.why)}"


def _moment(at: float, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


def _data(calls: _Calls | None) -> dict[str, Any] | None:
    if calls is None:
        return None
    listed = [
        {
            "call": one.call,
            "began": one.began,
            "from": one.caller,
            "to": one.called,
            "was": one.verdict.was,
            "would": one.verdict.would,
        }
        for one in calls.elsewhere
    ]
    return {
        "total": calls.total,
        "elsewhere": calls.many,
        "alike": calls.alike,
        "cannot_be_said": calls.cannot,
        "calls": listed,
        "reasons": calls.reasons,
    }
