"""The S3 store: what is sent, read back, compared and deleted.  The only importer of boto3.

It knows no database and no spool, only keys and descriptors.  boto3 itself tries nothing twice: who uploads has growing
pauses of their own, and a person who waits for a download is better told.  Every wait has an end, also with a store
that sends a byte a second.

```
StoreError
├── Away         no answer, a wrong one, or a broken one: try again
├── NotAllowed   the keys, their rights, the clock
├── NoBucket     there is no such bucket: somebody must make it, or correct its name
└── Missing      there is no such key
```

Where the surprise lies: a store's 200 proves nothing, so :meth:`Store.verify` reads what is stored.  The body is signed
with its SHA-256 over HTTPS as well, so a store that checks signatures refuses what was altered on the way.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import boto3
import urllib3
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from callcontrol.private import SettingsError, read_private
from callcontrol.settings import Storage
from callcontrol.spool import read_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TYPE = "audio/wav"
#: Bytes of a part; S3 takes 10,000 parts of 5 MB at least.
PART = 16 * 2**20
_MOST_PARTS = 10_000
_PIECE = 2**18
_NOT_ALLOWED = frozenset(
    {
        *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken"),
        *("InvalidToken", "AuthorizationHeaderMalformed", "403"),
    }
)
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})


class StoreError(Exception):
    """The store did not do what it was asked; ``str()`` says what, and quotes no key of ours."""


class Away(StoreError):
    """No answer, or none that can be used."""


class NotAllowed(StoreError):
    """The store knows us not, or not for this."""


class NoBucket(StoreError):
    """There is no such bucket."""


class Missing(StoreError):
    """There is no such key."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the store may take, seconds; ``slowest``: bytes a second of sound, below which it is away."""

    connect: float = 5.0
    read: float = 30.0
    slowest: float = 20_000.0

    def whole(self, size: int) -> float:
        """For a whole body."""
        return self.read + size / self.slowest


@dataclass(frozen=True, slots=True)
class Head:
    """What the store says of a key.  ``sha256``: of the whole, hexadecimal, if it says so."""

    size: int
    sha256: str | None


@functools.cache
def _session() -> boto3.session.Session:
    """What boto3 reads from its own files takes longer than an upload: read once, also for who is forked."""
    return boto3.session.Session()


_MAKING = threading.Lock()


class Store:
    """One bucket.  Safe for threads.  Raises SettingsError; its methods raise StoreError."""

    def __init__(self, storage: Storage, patience: Patience = Patience(), *, part: int = PART) -> None:
        self.storage = storage
        self.bucket = storage.bucket
        self._patience = patience
        self._part = part
        keys: dict[str, Any] = {}
        if storage.credentials is not None:
            keys = dict(
                zip(("aws_access_key_id", "aws_secret_access_key"), read_keys(storage.credentials), strict=True)
            )
        when: Literal["when_supported", "when_required"] = "when_supported" if storage.checksums else "when_required"
        config = Config(
            signature_version="s3v4",
            connect_timeout=patience.connect,
            read_timeout=patience.read,
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            tcp_keepalive=True,
            request_checksum_calculation=when,
            # What comes is compared by us; some stores send the checksum of the whole with a piece of it.
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if storage.endpoint else "auto", "payload_signing_enabled": True},
        )
        region = storage.region or ("us-east-1" if storage.endpoint else None)
        try:
            with _MAKING:
                self._client: S3Client = _session().client(
                    "s3", endpoint_url=storage.endpoint, region_name=region, config=config, **keys
                )
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"storage: {error}") from None

    # ----------------------------------------------------------------------------------------------- looking

    def head(self, key: str) -> Head | None:
        """What the store has under a key; None: nothing."""
        more: dict[str, Any] = {"ChecksumMode": "ENABLED"} if self.storage.verify == "checksum" else {}
        try:
            with _spoken(key):
                said = self._client.head_object(Bucket=self.bucket, Key=key, **more)
        except Missing:
            return None
        return Head(int(said["ContentLength"]), _whole_checksum(said))

    def verify(self, key: str, size: int, sha256: str) -> bool:
        """Whether what is stored is this; by reading it, or by the store's own checksum if that is enough."""
        head = self.head(key)
        if head is None or head.size != size:
            return False
        if self.storage.verify == "checksum" and head.sha256 is not None:
            return head.sha256 == sha256
        digest, count = hashlib.sha256(), 0
        for piece in self.read(key):
            digest.update(piece)
            count += len(piece)
        return count == size and digest.hexdigest() == sha256

    def read(self, key: str, first: int | None = None, last: int | None = None) -> Iterator[bytes]:
        """The bytes under a key, ``first`` to ``last`` (both included) if they are given, in pieces."""
        more: dict[str, Any] = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        with _spoken(key):
            said = self._client.get_object(Bucket=self.bucket, Key=key, **more)
            size, count = int(said["ContentLength"]), 0
            until = time.monotonic() + self._patience.whole(size)
            with contextlib.closing(said["Body"]) as body:
                for piece in body.iter_chunks(_PIECE):
                    count += len(piece)
                    yield piece
                    if time.monotonic() > until:
                        raise Away(f"{key}: the store sends too slowly")
            if count != size:
                raise Away(f"{key}: {count} of {size} bytes came")

    def fetch(self, key: str, sha256: str | None = None) -> bytes:
        """The bytes under a key, compared with ``sha256`` if it is known."""
        whole = b"".join(self.read(key))
        if sha256 is not None and hashlib.sha256(whole).hexdigest() != sha256:
            raise Away(f"{key}: what came is not what was stored")
        return whole

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes ``start`` to ``end``, both included, as in a Range header (RFC 9110)."""
        return self.read(key, start, end)

    def presigned(self, key: str, seconds: int, filename: str) -> str:
        """An address by which anybody can fetch the key for so many seconds, as a file of that name (our own words)."""
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in filename)[:150]
        with _spoken(key):
            return self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self.bucket,
                    "Key": key,
                    "ResponseContentType": TYPE,
                    "ResponseContentDisposition": f'attachment; filename="{plain}"',
                },
                ExpiresIn=seconds,
            )

    # ---------------------------------------------------------------------------------------------- changing

    def put(self, key: str, fd: int, size: int, sha256: str) -> None:
        """Send a whole file at once.  What the key held is replaced."""
        more: dict[str, Any] = {"ChecksumSHA256": _base64(sha256)} if self._checksums else {}
        with _spoken(key), _Body(fd, 0, size, self._patience.whole(size)) as body:
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=cast(IO[bytes], body), ContentLength=size, ContentType=TYPE, **more
            )

    def put_in_parts(
        self, key: str, fd: int, size: int, upload: str | None, keep: Callable[[str], object], until: float
    ) -> bool:
        """Send a file in parts, going on with the upload ``upload``; False: the time (monotonic) was over first.

        ``keep`` is called with the id of a new upload, to be given the next time.  Parts that are there already, as
        they should be, are not sent again; uploads of this key that nobody knows are aborted.
        """
        step = max(self._part, -(-size // _MOST_PARTS))
        there = None if upload is None else self._parts(key, upload)
        if there is not None and upload is not None:
            for number, part in there.items():
                start = (number - 1) * step
                if not _same_part(part, fd, start, max(0, min(step, size - start))):
                    self.abort(key, upload)  # not every store lets a part be replaced
                    there = None
                    break
        if upload is None or there is None:
            for other, unknown, _ in self._uploads(key):
                if other == key:
                    self.abort(key, unknown)
            with _spoken(key):
                upload = self._client.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType=TYPE)["UploadId"]
            keep(upload)
            there = {}
        parts = []
        for number, start in enumerate(range(0, size, step), 1):
            length = min(step, size - start)
            tag = there.get(number)
            if tag is None:
                if time.monotonic() > until:
                    return False
                with _spoken(key), _Body(fd, start, length, self._patience.whole(length)) as body:
                    said = self._client.upload_part(
                        Bucket=self.bucket,
                        Key=key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=cast(IO[bytes], body),
                        ContentLength=length,
                    )
                tag = (length, said["ETag"])
            parts.append({"PartNumber": number, "ETag": tag[1]})
        with _spoken(key):
            self._client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
            )
        return True

    def abort(self, key: str, upload: str) -> None:
        """Give up an upload in parts; one that is not there is none."""
        with contextlib.suppress(Missing), _spoken(key):
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)

    def abort_old(self, before: float) -> int:
        """Abort uploads in parts under our prefix that began before a moment (UTC epoch); how many.

        They are what is left of files that are not in any spool any more.
        """
        count = 0
        for key, upload, began in self._uploads(self.storage.prefix):
            if began < before and read_name(key.rpartition("/")[2]) is not None:
                self.abort(key, upload)
                count += 1
        return count

    def delete(self, key: str) -> None:
        """Delete a key, and see that it is gone.  One that is not there is gone."""
        with contextlib.suppress(Missing), _spoken(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)
        if self.head(key) is not None:
            raise Away(f"{key}: it was deleted, and is still there")

    def make_bucket(self) -> None:
        """Make the bucket if there is none: for stores of our own only."""
        with _spoken(self.bucket):
            try:
                self._client.create_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @property
    def _checksums(self) -> bool:
        return self.storage.checksums or self.storage.verify == "checksum"

    def _parts(self, key: str, upload: str) -> dict[int, tuple[int, str]] | None:
        """What there is of an upload: size and tag by the part's number; None: it is not there any more."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        try:
            while True:
                with _spoken(key):
                    said = self._client.list_parts(
                        Bucket=self.bucket, Key=key, UploadId=upload, PartNumberMarker=marker
                    )
                for one in said.get("Parts", []):
                    found[one["PartNumber"]] = (one["Size"], one["ETag"])
                last = int(said.get("NextPartNumberMarker") or 0)
                if not said.get("IsTruncated") or last <= marker:
                    return found
                marker = last
        except Missing:
            return None

    def _uploads(self, prefix: str) -> list[tuple[str, str, float]]:
        """Key, id and beginning of the uploads in parts that are not complete: the first thousand."""
        try:
            with _spoken(prefix):
                said = self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix)
                return [(one["Key"], one["UploadId"], one["Initiated"].timestamp()) for one in said.get("Uploads", [])]
        except Missing:
            return []  # how some stores say that there is none


def read_keys(path: Path) -> tuple[str, str]:
    """The access key and the secret key of a credentials file.  Raises SettingsError, which quotes neither."""
    try:
        said = yaml.load(read_private(path, "the keys of the store", longest=10_000), yaml.SafeLoader)
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; it has access_key and secret_key of the store") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise SettingsError(f"{path}: this is no YAML") from None
    match said:
        case {"access_key": str(access), "secret_key": str(secret)} if len(said) == 2 and access and secret:
            return access, secret
    raise SettingsError(f"{path}: write access_key and secret_key, each in quotes, and nothing else")


class _Body(io.RawIOBase):
    """A piece of a file as boto3 wants a body: by its own place in it, and with an end of its patience."""

    def __init__(self, fd: int, start: int, length: int, seconds: float) -> None:
        super().__init__()
        self._fd, self._start, self._length, self._at = fd, start, length, 0
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._until:
            raise TimeoutError("the store takes it too slowly")
        piece = os.pread(self._fd, min(len(buffer), max(0, self._length - self._at)), self._start + self._at)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@contextlib.contextmanager
def _spoken(what: str) -> Iterator[None]:
    """Whatever goes wrong inside is a StoreError."""
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))[:60]
        text = f"{what}: the store says {code!a}: {str(said.get('Message', ''))[:200]!a}"
        if code == "NoSuchBucket":
            raise NoBucket(text) from None
        if code in _NOT_ALLOWED:
            raise NotAllowed(text) from None
        if code in _MISSING or code == "NoSuchUpload":
            raise Missing(text) from None
        raise Away(text) from None
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError, KeyError, ValueError) as error:
        raise Away(f"{what}: {type(error).__name__}: {str(error)[:200]!a}") from None


def _whole_checksum(said: Mapping[str, Any]) -> str | None:
    """The SHA-256 that the store itself has of a whole object; that of parts is a sum of sums, and none."""
    text = said.get("ChecksumSHA256")
    if not isinstance(text, str) or "-" in text or said.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    with contextlib.suppress(ValueError):
        return base64.b64decode(text, validate=True).hex()
    return None


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _same_part(tag: tuple[int, str], fd: int, start: int, length: int) -> bool:
    """Whether a part that is there is the one that should be: by size, and by MD5 where the tag is one."""
    size, text = tag[0], tag[1].strip('"').lower()
    if size != length:
        return False
    if len(text) != 32 or set(text) - set("0123456789abcdef"):
        return True  # no MD5 (encrypted with a key of the customer's): what is stored is read in the end, anyway
    digest = hashlib.md5(usedforsecurity=False)
    with _Body(fd, start, length, 3600) as body:
        while piece := body.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest() == text
