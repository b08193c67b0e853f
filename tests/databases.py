"""Databases for tests: SQLite in a file, and a PostgreSQL of the tests' own where one is installed.

PostgreSQL refuses to run as root, so it is then started as a user who may do nothing else.  It listens on a socket in
its own directory only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
from psycopg import sql

from workers.journal.database import Database
from workers.journal.migrating import migrate

#: Why PostgreSQL is not tested, if it is not.
NOT_INSTALLED = "PostgreSQL is not installed (no initdb under /usr/lib/postgresql, nor on the PATH)"


def postgresql_programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are: the newest installed, or those on the PATH; None: nowhere."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


class PostgreSQL:
    """A server of its own, for as long as the tests last."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._as: list[str] = []
        self._directory = Path(tempfile.mkdtemp(prefix="cordboard-pg-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._template = ""

    def start(self) -> PostgreSQL:
        """Make a cluster and serve it; durability is not what is tested here."""
        if os.geteuid() == 0:
            user = next(name for name in ("postgres", "nobody") if _exists(name))
            account = pwd.getpwnam(user)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        data = self._directory / "data"
        initdb = [str(self._programs / "initdb"), "-D", str(data), "-U", "tests", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*self._as, *initdb, "--no-sync", "--locale=C"], check=True, capture_output=True, timeout=60)
        options = ["-k", str(self._directory), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"]
        with (self._directory / "log").open("wb") as log:
            command = [*self._as, str(self._programs / "postgres"), "-D", str(data), *options]
            self._server = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._dsn("postgres")).close()
                return self
            except psycopg.OperationalError:
                if time.monotonic() > end or self._server.poll() is not None:
                    raise RuntimeError((self._directory / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, and forget its data."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)  # at once: asked politely, it waits for whoever is connected
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def new(self, *, migrated: bool = False) -> str:
        """The URL of a new database: empty, or a journal that is up to date."""
        if migrated and not self._template:
            self._template = self.new()
            _migrate(self._template)
        name = f"t{uuid.uuid4().hex[:16]}"
        template = self._template.partition("@/")[2].partition("?")[0] if migrated else "template0"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, template))))
        return f"postgresql://tests@/{name}?host={self._directory}"

    def _dsn(self, name: str) -> str:
        return f"host={self._directory} user=tests dbname={name} connect_timeout=5"


def sqlite_url(directory: Path) -> str:
    """The URL of a file that is not there yet."""
    return f"sqlite:///{directory / 'journal.db'}"


def migrated_sqlite(directory: Path) -> str:
    """The URL of a file that is up to date."""
    if not _template:
        with tempfile.TemporaryDirectory() as elsewhere:
            _migrate(sqlite_url(Path(elsewhere)))
            _template.append((Path(elsewhere) / "journal.db").read_bytes())
    path = directory / "journal.db"
    path.touch(mode=0o600)
    path.write_bytes(_template[0])
    return sqlite_url(directory)


_template: list[bytes] = []


def _migrate(url: str) -> None:
    database = Database(url)
    try:
        migrate(database)
    finally:
        database.close()


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
