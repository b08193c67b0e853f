"""``cordboard backup`` and ``cordboard restore``.  Thin: they talk to people."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import redis as redis_py
from sqlalchemy.exc import SQLAlchemyError

from callcontrol import options as o
from callcontrol.private import SettingsError
from callcontrol.queue_views import shown
from callcontrol.switchboard import connect
from workers.journal.database import Database, default_url

#: How long Redis may take for one answer, seconds.
_PATIENCE = 60.0


@click.command(short_help="Write all that this Cordboard knows into FILE.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@o.setting("routing", "", "Directory of the companies' YAML files.")
@o.setting("sounds", "", "Directory of the companies' sounds, if it is not ROUTING/sounds.")
@click.option("--with-spool", is_flag=True, help="Recordings that are not in the store yet, too.")
@o.REDIS
@o.CONFIG
@o.DATABASE
@o.STATE
@o.SPOOL
def backup(
    file: Path,
    routing: str,
    sounds: str,
    with_spool: bool,
    redis: str,
    config: Path,
    database: str,
    state: Path,
    spool: Path,
) -> None:
    """Write a backup into FILE (.tar.gz) while everything runs: the journal, routing and its versions, cordboard.yaml
    with the passwords and keys beside it, facts that are on their way, what agents are up to, switches that are on.

    Keep it as you keep passwords: they are in it. It is readable by its owner only. What is in the store is not in it,
    nor speech, which is made anew.
    """
    from workers.backup.saving import Source, save

    with _told():
        source = Source(
            database=_there(Database(database or default_url(state.resolve()))),
            redis=connect(redis, name="cordboard-backup", patience=_PATIENCE),
            config=config.resolve(),
            state=state.resolve(),
            routing=Path(routing).resolve() if routing else None,
            sounds=Path(sounds).resolve() if sounds else None,
            spool=spool.resolve() if with_spool else None,
        )
        manifest = save(source, file.resolve())
    for path, why in sorted(manifest.left_out.items()):
        click.echo(f"not in it: {shown(path)}: {why}", err=True)
    if not routing:
        click.echo("not in it: the routing directory; name it with --routing or CORDBOARD_ROUTING", err=True)
    size = file.stat().st_size
    click.echo(f"{file}: {len(manifest.files)} files, {size / 2**20:.1f} MB, read again and found whole")


@click.command(short_help="Make a Cordboard of a backup.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--into", required=True, type=o.PATH, help="A directory that is empty, or not there.")
@o.REDIS
@o.setting("database", "", "An empty PostgreSQL for the journal; else a file in DIRECTORY/state.")
@click.option("--without-redis", is_flag=True, help="Leave Redis alone: agents and switches begin anew.")
@click.option("--only-verify", is_flag=True, help="Say what is in it, and whether it is whole; write nothing.")
def restore(file: Path, into: Path, redis: str, database: str, without_redis: bool, only_verify: bool) -> None:
    """Make a Cordboard of the backup FILE in a directory, with a Redis that is empty. All or nothing, over nothing.

    An older journal is brought up to date. Afterwards serve, work and web are started with the settings that are
    printed; calls that lived when the backup was made get their end then.
    """
    from workers.backup.archive import verify
    from workers.backup.restoring import restore as make

    with _told():
        if only_verify:
            manifest = verify(file, 1 << 60)
            click.echo(f"whole: {len(manifest.files)} files of release {shown(manifest.release)}, {_at(manifest.at)}")
            return
        client = None if without_redis else connect(redis, name="cordboard-restore", patience=_PATIENCE)
        done = make(file, into, client, Database(database) if database else None)
    where = into.resolve()
    click.echo(f"restored what release {shown(done.manifest.release)} had at {_at(done.manifest.at)}; serve it with:")
    said = {"CONFIG": where / "config/cordboard.yaml", "ROUTING": where / "routing", "STATE": where / "state"}
    said |= {"SPOOL": where / "spool", **({"SOUNDS": where / "sounds"} if (where / "sounds").is_dir() else {})}
    for name, path in said.items():
        click.echo(f"  CORDBOARD_{name}={path}")
    if os.geteuid() == 0:
        click.echo(f"It is root's, and nobody else may look into it: chown -R to the user that runs serve, {where}")
    for missing, why in sorted(done.manifest.left_out.items()):
        click.echo(f"was not in it: {shown(missing)}: {shown(why)}", err=True)


def _there(database: Database) -> Database:
    if database.is_sqlite and not Path(database.url.database or "").exists():
        raise SettingsError(f"there is no journal at {database.url.database}: cordboard work makes it")
    return database


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong, in a line; 1: refused, 3: somebody does not answer."""
    from workers.backup.archive import ArchiveError
    from workers.backup.redis_keys import KeysError
    from workers.backup.restoring import RestoreError

    try:
        yield
    except (ArchiveError, KeysError, RestoreError, FileExistsError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, FileExistsError) else str(error)
        click.echo(f"cordboard: {shown(text)}", err=True)
        sys.exit(1)
    except SettingsError as error:
        click.echo(f"cordboard: {error}", err=True)
    except SQLAlchemyError as error:
        click.echo(f"cordboard: the journal cannot be used: {shown(str(error).splitlines()[0][:300])}", err=True)
    except redis_py.RedisError as error:
        click.echo(f"cordboard: Redis cannot be used: {shown(str(error)[:300])}", err=True)
    except OSError as error:
        click.echo(f"cordboard: {error.filename or ''}: {error.strerror or error}", err=True)
    else:
        return
    sys.exit(3)
