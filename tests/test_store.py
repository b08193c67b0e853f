"""The S3 client against servers of two makes; what one lets pass, another refuses."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from callcontrol.private import SettingsError
from callcontrol.settings import Storage
from callcontrol.supervisor import die_with_parent
from workers.recordings.local_store import LocalStore
from workers.recordings.store import Away, Missing, NoBucket, Patience, Store, StoreError, read_keys

KEY = "acme/call/acme_call_m1.wav"
DATA = os.urandom(100_000)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module", params=["rclone", "ministack"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A store of one make, with an empty bucket."""
    place = tmp_path_factory.mktemp("store")
    if request.param == "rclone":
        with LocalStore(place) as server:
            yield server.storage
        return
    keys = place / "keys.yaml"
    keys.write_text("access_key: test\nsecret_key: test\n")
    keys.chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "ministack"
    with (place / "log").open("wb") as log:
        environment = {**os.environ, "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1", "SERVICES": "s3"}
        process = subprocess.Popen(
            [program], env=environment, cwd=place, stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        yield _made(Storage("recordings", endpoint=f"http://127.0.0.1:{port}", credentials=keys))
    finally:
        process.terminate()
        process.wait(10)


def _made(storage: Storage) -> Storage:
    store, until = Store(storage, Patience(1.0, 5.0)), time.monotonic() + 40
    while True:
        try:
            store.make_bucket()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return storage
        finally:
            store.close()


@pytest.fixture(params=[False, True], ids=["plain", "checksums"])
def store(request: pytest.FixtureRequest, storage: Storage) -> Iterator[Store]:
    verify = "checksum" if request.param else "read"
    settings = Storage(
        storage.bucket,
        endpoint=storage.endpoint,
        credentials=storage.credentials,
        checksums=request.param,
        verify=verify,
    )
    store = Store(settings, Patience(1.0, 10.0), part=5 * 2**20)
    yield store
    store.delete(KEY)
    store.close()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "a.wav").write_bytes(DATA)
    fd = os.open(tmp_path / "a.wav", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_what_is_put_can_be_verified_read_linked_and_deleted(store: Store, fd: int) -> None:
    assert store.head(KEY) is None
    store.put(KEY, fd, len(DATA), SHA)
    assert store.verify(KEY, len(DATA), SHA)
    assert not store.verify(KEY, len(DATA), hashlib.sha256(b"other").hexdigest())
    assert not store.verify(KEY, len(DATA) + 1, SHA)
    assert store.fetch(KEY, SHA) == DATA
    assert b"".join(store.open_range(KEY, 10, 19)) == DATA[10:20]
    link = store.presigned(KEY, 60, 'call "1"\r\n.wav')
    assert "X-Amz-Signature" in link
    answer = requests.get(link, timeout=10)
    assert (answer.content, answer.headers["Content-Type"]) == (DATA, "audio/wav")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="call__1___.wav"'
    store.delete(KEY)
    store.delete(KEY)
    assert store.head(KEY) is None
    with pytest.raises(Missing):
        store.fetch(KEY)


def test_large_files_go_in_parts(store: Store, tmp_path: Path) -> None:
    data = os.urandom(11 * 2**20)
    (tmp_path / "b.wav").write_bytes(data)
    fd = os.open(tmp_path / "b.wav", os.O_RDONLY)
    begun: list[str] = []
    assert not store.put_in_parts(KEY, fd, len(data), None, begun.append, time.monotonic() - 1)
    assert store.put_in_parts(KEY, fd, len(data), begun[0], begun.append, time.monotonic() + 60)
    os.close(fd)
    assert len(begun) == 1
    assert store.verify(KEY, len(data), hashlib.sha256(data).hexdigest())


def test_no_bucket_is_said_to_be_none(storage: Storage, fd: int) -> None:
    store = Store(Storage("nowhere", endpoint=storage.endpoint, credentials=storage.credentials), Patience(1.0, 10.0))
    with pytest.raises(NoBucket):
        store.put(KEY, fd, len(DATA), SHA)
    store.close()


def test_nobody_there_is_away(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text('access_key: "a"\nsecret_key: "b"\n')
    (tmp_path / "keys.yaml").chmod(0o600)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(Away):
            Store(Storage("b", endpoint=endpoint, credentials=tmp_path / "keys.yaml")).head(KEY)


@pytest.mark.parametrize("text", ["", "access_key: a", "access_key: a\nsecret_key: 12", "- a", "{", "a: b\x00"])
def test_keys_that_cannot_be_read_are_said_to_be_so_and_never_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"keys\.yaml"):
        read_keys(path)
