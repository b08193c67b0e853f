"""A PostgreSQL of the tests' own, where its programs are installed; it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BIN = Path(os.environ.get("CORDBOARD_TEST_POSTGRES", "/usr/lib/postgresql/15/bin"))


def why_not() -> str | None:
    """Why there is none; None: there is."""
    if not (BIN / "postgres").exists():
        return f"no PostgreSQL in {BIN} (CORDBOARD_TEST_POSTGRES names another directory)"
    if os.getuid() == 0 and _stranger() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


def _stranger() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start one, and give the URL of its database; stops at the end."""
    user = _stranger() if os.getuid() == 0 else None
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    place = Path(tempfile.mkdtemp(prefix="cordboard-pg-"))
    try:
        if user:
            os.chown(place, user.pw_uid, user.pw_gid)
        init = [BIN / "initdb", "-D", place / "data", "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(init, check=True, capture_output=True, cwd=place, **as_user)  # type: ignore[call-overload]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c unix_socket_directories={place}"
        with (place / "log").open("wb") as log:
            started: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
                [BIN / "postgres", "-D", place / "data", *options.split()], cwd=place, stdout=log, stderr=log, **as_user
            )
        try:
            deadline = time.monotonic() + 30
            while subprocess.run(
                [BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-d", "postgres"], check=False
            ).returncode:
                if started.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {(place / 'log').read_text()}")
                time.sleep(0.05)
            yield f"postgresql://test@127.0.0.1:{port}/postgres"
        finally:
            started.terminate()
            started.wait(30)
    finally:
        shutil.rmtree(place, ignore_errors=True)
