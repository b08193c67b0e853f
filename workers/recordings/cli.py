"""``cordboard recordings``: what became of recordings, for people at a terminal.  Thin."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol.private import SettingsError
from callcontrol.queue_views import shown
from callcontrol.spool import read_name
from workers.context import Context, from_variables
from workers.journal.tables import Recording, Segment
from workers.recordings import ledger
from workers.recordings.forgetting import StillRecorded
from workers.recordings.forgetting import delete as delete_recording
from workers.recordings.jobs import store_of
from workers.recordings.manifest import Manifest
from workers.recordings.spool import MANIFEST
from workers.recordings.store import Store, StoreError

_MOST = 1000


@click.group(short_help="List recordings; fetch or delete one.", invoke_without_command=True)
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
@click.option("--company", default="", help="Only this company's recordings.")
@click.option("--in", "wanted", default="", help="Only those in this state: available, absent, failed …")
@click.option("--last", default=50, show_default=True, help="So many, the newest.", type=click.IntRange(1, _MOST))
@click.option("--json", "as_json", is_flag=True, help="Print the same as data.")
@click.pass_context
def recordings(
    context: click.Context,
    config: Path,
    database: str,
    state: Path,
    spool: Path,
    company: str,
    wanted: str,
    last: int,
    as_json: bool,
) -> None:
    """List recordings with their states, or fetch, delete or retry some."""
    context.obj = {
        "CORDBOARD_CONFIG": str(config),
        "CORDBOARD_DATABASE": database,
        "CORDBOARD_STATE": str(state),
        "CORDBOARD_SPOOL": str(spool),
    }
    if context.invoked_subcommand is None:
        with _told():
            found = _listed(from_variables(context.obj), company, wanted, last)
        click.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(_line, found)) or "no recordings")


@recordings.command(short_help="Fetch a recording into FILE.")
@click.argument("recording")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def get(variables: dict[str, str], recording: str, file: Path) -> None:
    """Fetch RECORDING from the store into FILE; its other segments into FILE-2, FILE-3 … An existing file stays."""
    with _told():
        context = from_variables(variables)
        store = _store(context)
        with context.database.reading() as session:
            row = session.get(Recording, recording)
            kept = [] if row is None else [one for one in ledger.segments(session, row) if one.state in ledger.KEPT]
        if not kept:
            _refuse(f"nothing of {shown(recording[:60])} is in the store")
        for number, segment in enumerate(kept, 1):
            path = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
            data = store.fetch(segment.key or "", segment.sha256)
            try:
                with path.open("xb") as out:
                    out.write(data)
            except OSError as error:
                _refuse(f"{path}: {error.strerror}")
            click.echo(f"{path}: {len(data)} bytes")


@recordings.command(short_help="Delete a recording for good.")
@click.argument("recording")
@click.pass_obj
def delete(variables: dict[str, str], recording: str) -> None:
    """Delete RECORDING from the store, and tell subscribers of it."""
    with _told():
        context = from_variables(variables)
        with context.database.reading() as session:
            row = session.get(Recording, recording)
        gone = row is not None and delete_recording(
            context.database, store_of(context), row.company, recording, _who(), time.time()
        )
        if not gone:
            _refuse(f"there is no recording {shown(recording[:60])}, or it was deleted before")
        click.echo(f"{recording} is deleted")


@recordings.command(short_help="Try again at once what could not be stored.")
@click.pass_obj
def retry(variables: dict[str, str]) -> None:
    """Have the worker of this machine try all files in SPOOL at once that wait after a failure."""
    with _told():
        context = from_variables(variables)
    count = 0
    for path in sorted(context.spool.glob("*" + MANIFEST)):
        sound = path.with_name(path.name.removesuffix(MANIFEST))
        held = Manifest.hold(sound) if read_name(sound.name) else None
        if held is not None:
            with held:
                if held.note is not None and held.note.next_at:
                    held.change(next_at=0.0)
                    count += 1
    click.echo(f"{count} to be tried again")


def _listed(context: Context, company: str, state: str, last: int) -> list[dict[str, Any]]:
    wanted = select(Recording).order_by(Recording.began.desc()).limit(last)
    if company:
        wanted = wanted.where(Recording.company == company)
    if state:
        wanted = wanted.where(Recording.state == state)
    with context.database.reading() as session:
        found = list(session.scalars(wanted))
        segments: dict[str, list[Segment]] = {}
        for one in session.scalars(select(Segment).where(Segment.recording.in_([row.id for row in found]))):
            segments.setdefault(one.recording, []).append(one)
    names = ("id", "company", "call", "kind", "state", "people", "began", "seconds", "why", "keep_until", "deleted_at")
    parts = ("file", "state", "seconds", "bytes", "attempts", "why")
    return [
        {
            **{name: getattr(row, name) for name in names},
            "segments": [
                {name: getattr(one, name) for name in parts}
                for one in sorted(segments.get(row.id, []), key=lambda one: one.number)
            ],
        }
        for row in found
    ]


def _line(row: dict[str, Any]) -> str:
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row["began"]))
    seconds = "-" if row["seconds"] is None else f"{row['seconds']:.0f} s"
    trouble = next((one["why"] for one in row["segments"] if one["state"] != "stored" and one["why"]), row["why"])
    words = [row["id"], began, row["company"], row["kind"], row["state"], seconds, row["call"]]
    return shown("  ".join(words) + (f"  {trouble}" if trouble else ""))


def _store(context: Context) -> Store:
    store = store_of(context)
    if store is None:
        raise SettingsError("there is no storage in cordboard.yaml: recordings are in the spool")
    return store


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong, in a line; 1: refused, 3: somebody does not answer."""
    try:
        yield
    except StillRecorded as error:
        _refuse(str(error))
    except SQLAlchemyError as error:
        click.echo(f"cordboard: the journal cannot be read: {shown(str(error.__cause__ or error)[:300])}", err=True)
        sys.exit(3)
    except (SettingsError, StoreError) as error:
        lines = str(error).splitlines() if isinstance(error, SettingsError) else [str(error)]
        click.echo("cordboard: " + "\n".join(map(shown, lines)), err=True)
        sys.exit(3)


def _refuse(why: str) -> None:
    click.echo(f"cordboard: {why}", err=True)
    sys.exit(1)


def _who() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        name = str(os.getuid())
    return f"{name[:60]} on the command line"
