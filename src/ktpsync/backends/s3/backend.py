"""The S3 backend.

Endpoints differ: some ignore ``If-None-Match: *``, some do not check the checksum they are sent. So it is found
out by trying, once, and only what the storage itself computed or refused counts as proof that it holds the right
bytes. Where there is no such proof, they are read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final

from botocore.exceptions import ClientError

from ktpsync import files
from ktpsync.backends.s3._client import new_client
from ktpsync.backends.s3._direct import Direct
from ktpsync.backends.s3._failures import (
    Place,
    ThereAlreadyError,
    WrongSourceError,
    no_bucket,
    no_object,
    not_storage,
    status_of,
    translated,
)
from ktpsync.backends.s3._parts import PartsUpload, Source, give_up_leftovers, read_fully
from ktpsync.backends.s3._probe import Endpoint, etag_of, probe, remember, remembered
from ktpsync.backends.s3._reader import reader
from ktpsync.backends.s3._whole import Body, send_whole
from ktpsync.clock import utc_from_ms, utc_text
from ktpsync.errors import BackendError, ConflictError, CorruptError, NotFoundError, UnavailableError
from ktpsync.plugins import Capability, Health, ObjectInfo, StorageBackend, valid_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from ktpsync.backends.s3.settings import S3Settings
    from ktpsync.plugins import BackendContext

_STORED_AT: Final = "ktpsync-stored-at"
"""Metadata: when an object was stored, so that a receipt says the same however often it is asked for."""

_NO_CONTENT: Final = 204
_RANGE_NOT_SATISFIABLE: Final = 416


class S3Backend(StorageBackend):
    """Objects in a bucket.

    Args:
        settings: Where.
        context: The destination's name, and where to remember what its endpoint does.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PARTS})

    def __init__(self, settings: S3Settings, context: BackendContext) -> None:
        self._settings = settings
        self._name = context.name
        self._clock = context.clock
        self._place = Place(name=context.name, bucket=settings.bucket, clock=context.clock)
        self._folder = context.state_folder
        self._lock = threading.Lock()
        self._made: tuple[S3Client, Direct] | None = None
        self._known: Endpoint | None = None
        self._busy: set[str] = set()
        self._less_busy = threading.Condition()
        self._tidied = False
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="ktpsync-md5")

    def check(self) -> Health:
        """See the base class."""
        bucket, where = self._settings.bucket, self._settings.endpoint or "AWS"
        try:
            with self._translated("check"):
                self._client.head_bucket(Bucket=bucket)
        except NotFoundError:
            raise no_bucket(self._place, f"{self._name}: check: the storage answered 404") from None
        details = {"endpoint": where, **self._endpoint("check").details()}
        return Health(summary=f"Bucket {bucket} at {where} answers.", details=details)

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See the base class."""
        self._full(key)
        put = self._put_large if size > self._settings.part_size else self._put_small
        try:
            return put(key, source, size, sha256)
        except WrongSourceError as error:
            raise CorruptError(f"{self._name}: {key}: {error}") from None

    def open(self, key: str) -> BinaryIO:
        """See the base class."""
        with self._translated(key):
            answer = self._client.get_object(Bucket=self._settings.bucket, Key=self._full(key))
        if not etag_of(answer):
            raise not_storage(self._place, key)
        return reader(answer["Body"], self._place, key)

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        """See the base class."""
        if size == 0:
            self.stat(key)
            return io.BytesIO()
        wanted = f"bytes={start}-{start + size - 1}"
        with self._translated(key):
            try:
                answer = self._client.get_object(
                    Bucket=self._settings.bucket, Key=self._full(key), Range=wanted
                )
            except ClientError as error:
                if status_of(error) == _RANGE_NOT_SATISFIABLE:
                    return io.BytesIO()
                raise
        if not etag_of(answer):
            raise not_storage(self._place, key)
        file = reader(answer["Body"], self._place, key)
        if "ContentRange" in answer:
            return file
        with file:  # a server that knows no ranges gives the whole object
            return io.BytesIO(file.read()[start : start + size])

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        answer = self._head(key)
        if answer is None:
            raise no_object(self._place, key)
        return ObjectInfo(key=key, size=answer["ContentLength"], modified=_stored_at(answer))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        start = self._settings.prefix
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._settings.bucket, Prefix=f"{start}{prefix}"
            )
        )
        while True:
            with self._translated("list"):
                page = next(pages, None)
            if page is None:
                return
            if "Name" not in page:
                # A page of something else looks like a listing without objects.
                raise not_storage(self._place, "list")
            for entry in page.get("Contents", []):
                key = entry["Key"].removeprefix(start)
                if valid_key(key):
                    yield ObjectInfo(key=key, size=entry["Size"], modified=entry["LastModified"])

    def delete(self, key: str) -> None:
        """See the base class."""
        full = self._full(key)
        with contextlib.suppress(NotFoundError), self._translated(key):
            answer = self._client.delete_object(Bucket=self._settings.bucket, Key=full)["ResponseMetadata"]
            if answer["HTTPStatusCode"] != _NO_CONTENT and "html" in answer["HTTPHeaders"].get(
                "content-type", ""
            ):
                raise not_storage(self._place, key)

    def close(self) -> None:
        """See the base class."""
        self._hashing.shutdown()
        with self._lock:
            if self._made is not None:
                client, direct = self._made
                client.close()
                direct.close()

    @property
    def _client(self) -> S3Client:
        return self._line()[0]

    @property
    def _direct(self) -> Direct:
        return self._line()[1]

    def _line(self) -> tuple[S3Client, Direct]:
        with self._lock:
            if self._made is None:
                client, session = new_client(self._settings, self._name)
                with self._translated("settings"):
                    self._made = client, Direct(client, session, self._settings.bucket)
            return self._made

    def _endpoint(self, what: str) -> Endpoint:
        """Return what the endpoint does, found out at the first use."""
        if self._known is None:
            client = self._client
            with self._lock:
                if self._known is None:
                    known = remembered(self._folder, self._settings, self._clock)
                    if known is None:
                        with self._translated(what):
                            known = probe(client, self._settings)
                        # A station without room asks again next time.
                        with contextlib.suppress(OSError):
                            remember(self._folder, self._settings, self._clock, known)
                    self._known = known
        return self._known

    def _translated(self, what: str) -> contextlib.AbstractContextManager[None]:
        return translated(self._place, what)

    def _full(self, key: str) -> str:
        if not valid_key(key):
            raise NotFoundError(
                f"{self._name}: {key!r} is not a key; keys are ASCII words with '/' between them."
            )
        return f"{self._settings.prefix}{key}"

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Let one thread at a time look whether a key is there and then store it."""
        with self._less_busy:
            while key in self._busy:
                self._less_busy.wait()
            self._busy.add(key)
        try:
            yield
        finally:
            with self._less_busy:
                self._busy.discard(key)
                self._less_busy.notify_all()

    def _options(self, stored_at: datetime) -> dict[str, object]:
        """Return what every object is stored with."""
        settings = self._settings
        options = {"Metadata": {_STORED_AT: utc_text(stored_at)}, **settings.encryption_options()}
        if settings.lock is not None:
            options["ObjectLockMode"] = settings.lock_mode.upper()
            options["ObjectLockRetainUntilDate"] = stored_at + timedelta(seconds=settings.lock)
        return options

    def _put_small(self, key: str, source: BinaryIO, size: int, sha256: str) -> ObjectInfo:
        data = read_fully(source, size + 1)
        # Computed while the storage is asked and while the bytes are on the way; not needed where it checks SHA-256.
        known = self._known
        wanted = known is None or not known.checks_sha256
        md5 = self._hashing.submit(_md5, data).result if wanted else partial(_md5, data)
        if len(data) != size:
            raise WrongSourceError(sha256)
        body = Body(data=data, sha256=sha256, md5=md5)
        endpoint = self._endpoint(key)

        def send(options: dict[str, object]) -> bool:
            return send_whole(
                self._direct,
                body,
                options,
                place=self._place,
                key=self._full(key),
                endpoint=endpoint,
                digest_wanted=self._settings.lock is not None,
            )

        if endpoint.conditional_put:
            try:
                return self._create(key, size, sha256, md5, send)
            except CorruptError:
                # The storage took it only because nothing was there, so it is ours and nobody was told of it.
                with contextlib.suppress(BackendError):
                    self.delete(key)
                raise
        with self._alone(key):
            there = self._same(key, size, sha256, md5)
            if there is not None:
                body.check()
                return there
            return self._create(key, size, sha256, md5, send)

    def _put_large(self, key: str, source: BinaryIO, size: int, sha256: str) -> ObjectInfo:
        parts = Source(file=source, size=size, sha256=sha256, part_size=self._settings.part_size)

        def send(options: dict[str, object]) -> bool:
            self._tidy(self._full(key))
            return PartsUpload(self._client, self._settings.bucket, self._full(key), options).send(parts)

        with self._alone(key):
            return self._same(key, size, sha256, None) or self._create(key, size, sha256, None, send)

    def _create(
        self,
        key: str,
        size: int,
        sha256: str,
        md5: Callable[[], str] | None,
        send: Callable[[dict[str, object]], bool],
    ) -> ObjectInfo:
        """Store an object that is not there, and have it proven."""
        stored_at = utc_from_ms(self._clock.now_ms())
        try:
            with self._translated(key):
                proven = send(self._options(stored_at))
        except ThereAlreadyError:
            there = self._same(key, size, sha256, md5)
            if there is None:
                raise UnavailableError(
                    f"{self._name}: {key}: the storage says that it is there, and then that it is not. "
                    "It is tried again by itself."
                ) from None
            return there
        if not proven:
            self._read_back(key, size, sha256, existing=False)
        return ObjectInfo(key=key, size=size, modified=stored_at, sha256=sha256)

    def _tidy(self, full: str) -> None:
        """Once: give up the uploads that nobody finished."""
        if self._tidied:
            return
        self._tidied = True
        bucket, prefix = self._settings.bucket, self._settings.prefix
        # Some services cannot list uploads, and some credentials may not; then they stay.
        with contextlib.suppress(ClientError):
            give_up_leftovers(self._client, bucket, prefix, but=full, now_ms=self._clock.now_ms())

    def _head(self, key: str) -> HeadObjectOutputTypeDef | None:
        with self._translated(key):
            answer = self._direct.head(self._full(key))
        if answer is not None and not etag_of(answer):
            raise not_storage(self._place, key)
        return answer

    def _same(self, key: str, size: int, sha256: str, md5: Callable[[], str] | None) -> ObjectInfo | None:
        """Return what is there if it is the same, or ``None`` if nothing is there.

        Raises:
            ConflictError: Other bytes are there.
        """
        answer = self._head(key)
        if answer is None:
            return None
        if answer["ContentLength"] != size or md5 is None or etag_of(answer) != md5():
            self._read_back(key, size, sha256, existing=True)
        return ObjectInfo(key=key, size=size, modified=_stored_at(answer), sha256=sha256)

    def _read_back(self, key: str, size: int, sha256: str, *, existing: bool) -> None:
        with self.open(key) as file:
            found_sha256, found = files.sha256_of(file)
        if (found, found_sha256) == (size, sha256):
            return
        if existing:
            raise ConflictError(
                f"{self._name}: {key} holds other bytes (SHA-256 {found_sha256}, not {sha256}). It is left as "
                "it is; compare it with the backup."
            )
        raise CorruptError(
            f"{self._name}: the storage damaged {key}: it gives back {found} bytes with SHA-256 "
            f"{found_sha256}. Ask whoever runs it; the packet is still in the outbox."
        )


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _stored_at(answer: HeadObjectOutputTypeDef) -> datetime:
    """Return when an object was stored first: as it was noted then, or else what the storage says."""
    noted = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}.get(_STORED_AT)
    if noted is not None:
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(noted).astimezone(UTC)
    return answer["LastModified"]
