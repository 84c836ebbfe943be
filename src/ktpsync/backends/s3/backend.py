"""The S3 backend.

Endpoints differ: some ignore ``If-None-Match: *``, some do not check the checksum they are sent. So what
is believed is only what the storage itself computed or gives back: size and digest are verified after
every write.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, ClassVar, Final, Literal, cast

import boto3
from attrs import frozen
from botocore.config import Config
from botocore.exceptions import ClientError

from ktpsync import files
from ktpsync.backends.s3._failures import error_code, status_of, translated
from ktpsync.errors import ConflictError, CorruptError, NotFoundError
from ktpsync.plugins import Capability, Duration, Health, ObjectInfo, Secret, StorageBackend, valid_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.client import S3Client

    from ktpsync.plugins import BackendContext

_SHA256_KEY: Final = "ktpsync-sha256"
_PRECONDITION_FAILED: Final = 412
_CONFLICT: Final = 409
_RANGE_NOT_SATISFIABLE: Final = 416
_SPOOLED: Final = 8 << 20


@frozen(kw_only=True)
class S3Settings:
    """Settings of a bucket.

    Args:
        bucket: The bucket; it must exist.
        endpoint: URL of the service. Default: AWS.
        region: Region name.
        prefix: Put before every key, such as ``office-3578/``.
        access_key: Access key id. Default: boto3's own search (environment, shared file, role).
        secret_key: Secret access key.
        addressing: ``path`` for most self-hosted services, ``virtual`` for AWS, ``auto``.
        ca_file: PEM file of the certificate authorities to trust instead of the system's.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for an answer.
    """

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    prefix: str = ""
    access_key: Secret | None = None
    secret_key: Secret | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    ca_file: Path | None = None
    connect_timeout: Duration = Duration(10)
    read_timeout: Duration = Duration(60)


class S3Backend(StorageBackend):
    """Objects in a bucket.

    Args:
        settings: Where.
        context: The destination's name.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PARTS})

    def __init__(self, settings: S3Settings, context: BackendContext) -> None:
        self._settings = settings
        self._name = context.name
        self._lock = threading.Lock()
        self._made: S3Client | None = None

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                settings = self._settings
                self._made = boto3.session.Session().client(
                    "s3",
                    endpoint_url=settings.endpoint,
                    region_name=settings.region,
                    aws_access_key_id=settings.access_key.reveal() if settings.access_key else None,
                    aws_secret_access_key=settings.secret_key.reveal() if settings.secret_key else None,
                    verify=str(settings.ca_file) if settings.ca_file else None,
                    config=Config(
                        connect_timeout=settings.connect_timeout,
                        read_timeout=settings.read_timeout,
                        # The courier retries; two retry loops would multiply.
                        retries={"total_max_attempts": 1},
                        s3={"addressing_style": settings.addressing},
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                        max_pool_connections=16,
                    ),
                )
            return self._made

    def check(self) -> Health:
        """See the base class."""
        with translated(self._name, "check"):
            self._client.head_bucket(Bucket=self._settings.bucket)
        where = self._settings.endpoint or "AWS"
        return Health(summary=f"Bucket {self._settings.bucket} at {where} answers.")

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See the base class."""
        # The body is hashed before it leaves, so that damaged bytes never arrive anywhere.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED) as spooled:
            body = cast("IO[bytes]", spooled)
            md5 = self._copy(key, source, body, size=size, sha256=sha256)
            existing = self.exists(key)
            if not existing:
                try:
                    with translated(self._name, key):
                        self._put_if_absent(key, body, sha256)
                except ConflictError:
                    existing = True
        return self._verified(key, size, sha256, md5, existing=existing)

    def open(self, key: str) -> BinaryIO:
        """See the base class."""
        with translated(self._name, key):
            answer = self._client.get_object(Bucket=self._settings.bucket, Key=self._full(key))
        return cast("BinaryIO", answer["Body"])

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        """See the base class."""
        if size == 0:
            self.stat(key)
            return io.BytesIO()
        wanted = f"bytes={start}-{start + size - 1}"
        with translated(self._name, key):
            try:
                answer = self._client.get_object(
                    Bucket=self._settings.bucket, Key=self._full(key), Range=wanted
                )
            except ClientError as error:
                if status_of(error) == _RANGE_NOT_SATISFIABLE:
                    return io.BytesIO()
                raise
            if "ContentRange" not in answer:  # a server that knows no ranges gives the whole object
                return io.BytesIO(answer["Body"].read()[start : start + size])
        return cast("BinaryIO", answer["Body"])

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        with translated(self._name, key):
            answer = self._client.head_object(Bucket=self._settings.bucket, Key=self._full(key))
        return ObjectInfo(key=key, size=answer["ContentLength"], modified=answer["LastModified"])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._settings.bucket, Prefix=f"{self._settings.prefix}{prefix}"
        )
        iterator = iter(pages)
        while True:
            with translated(self._name, "list"):
                page = next(iterator, None)
            if page is None:
                return
            for entry in page.get("Contents", []):
                key = entry["Key"].removeprefix(self._settings.prefix)
                yield ObjectInfo(key=key, size=entry["Size"], modified=entry["LastModified"])

    def delete(self, key: str) -> None:
        """See the base class."""
        with translated(self._name, key):
            self._client.delete_object(Bucket=self._settings.bucket, Key=self._full(key))

    def close(self) -> None:
        """See the base class."""
        with self._lock:
            if self._made is not None:
                self._made.close()

    def _full(self, key: str) -> str:
        if not valid_key(key):
            raise NotFoundError(
                f"{self._name}: {key!r} is not a key; keys are ASCII words with '/' between them."
            )
        return f"{self._settings.prefix}{key}"

    def _put_if_absent(self, key: str, body: IO[bytes], sha256: str) -> None:
        try:
            self._client.put_object(
                Bucket=self._settings.bucket,
                Key=self._full(key),
                Body=body,
                IfNoneMatch="*",
                Metadata={_SHA256_KEY: sha256},
            )
        except ClientError as error:
            if (
                status_of(error) in (_PRECONDITION_FAILED, _CONFLICT)
                or error_code(error) == "PreconditionFailed"
            ):
                raise ConflictError(f"{self._name}: {key} exists already.") from error
            raise

    def _copy(self, key: str, source: BinaryIO, body: IO[bytes], *, size: int, sha256: str) -> str:
        digest, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        copied = 0
        while block := source.read(files.CHUNK):
            digest.update(block)
            md5.update(block)
            body.write(block)
            copied += len(block)
        if copied != size or digest.hexdigest() != sha256:
            raise CorruptError(
                f"{self._name}: the bytes given for {key} are not those with SHA-256 {sha256}; nothing was sent."
            )
        body.seek(0)
        return md5.hexdigest()

    def _verified(self, key: str, size: int, sha256: str, md5: str, *, existing: bool) -> ObjectInfo:
        """Compare what the storage holds with what it should hold, and describe it.

        The ETag of an object stored in one request is the MD5 that the storage computed over what
        arrived. Where it is something else, or differs, the object is read back.
        """
        with translated(self._name, key):
            answer = self._client.head_object(Bucket=self._settings.bucket, Key=self._full(key))
        if answer["ContentLength"] != size or answer["ETag"].strip('"') != md5:
            self._read_back(key, size, sha256, existing=existing)
        return ObjectInfo(key=key, size=size, modified=answer["LastModified"], sha256=sha256)

    def _read_back(self, key: str, size: int, sha256: str, *, existing: bool) -> None:
        digest, found = hashlib.sha256(), 0
        with self.open(key) as body, translated(self._name, key):
            while block := body.read(files.CHUNK):
                digest.update(block)
                found += len(block)
        if (found, digest.hexdigest()) == (size, sha256):
            return
        if existing:
            raise ConflictError(
                f"{self._name}: {key} holds other bytes (SHA-256 {digest.hexdigest()}, not {sha256}). It is left as "
                "it is; compare it with the backup."
            )
        raise CorruptError(
            f"{self._name}: the storage damaged {key}: it gives back {found} bytes with SHA-256 "
            f"{digest.hexdigest()}. Ask whoever runs it; the packet is still in the outbox."
        )
