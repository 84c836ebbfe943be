"""The S3 backend.

Endpoints differ: some ignore ``If-None-Match: *``, some do not check the checksum they are sent. So it is found
out by trying, once, and only what the storage itself computed or refused counts as proof that it holds the right
bytes. Where there is no such proof, they are read back.
"""

from __future__ import annotations

import contextlib
import io
import threading
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final

from botocore.exceptions import ClientError

from ktpsync.backends.s3._client import new_client
from ktpsync.backends.s3._direct import Direct
from ktpsync.backends.s3._failures import Place, no_bucket, no_object, not_storage, status_of, translated
from ktpsync.backends.s3._probe import Endpoint, etag_of, probe, remember, remembered
from ktpsync.backends.s3._putting import Putting, head, stored_at_of
from ktpsync.backends.s3._reader import reader
from ktpsync.errors import NotFoundError
from ktpsync.plugins import Capability, Health, ObjectInfo, StorageBackend, valid_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.client import S3Client

    from ktpsync.backends.s3.settings import S3Settings
    from ktpsync.plugins import BackendContext

_EMPTY_PAGES: Final = 1000
"""So many pages of a listing in a row may have no object; whoever gives more never ends."""

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
        self._putting = Putting(
            settings,
            self._place,
            line=self._line,
            endpoint=self._endpoint,
            checks_sha256=lambda: self._known is not None and self._known.checks_sha256,
        )

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
        return self._putting.put(key, source, size=size, sha256=sha256)

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
            if answer.get("ContentLength", 0) <= size:
                return file
            file.close()
            raise not_storage(self._place, key)
        with file:  # a server that knows no ranges gives the whole object
            return io.BytesIO(file.read()[start : start + size])

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        answer = head(self._line()[1], self._place, key, self._full(key))
        if answer is None:
            raise no_object(self._place, key)
        return ObjectInfo(key=key, size=answer["ContentLength"], modified=stored_at_of(answer))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        start = self._settings.prefix
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._settings.bucket, Prefix=f"{start}{prefix}"
            )
        )
        empty = 0
        while True:
            with self._translated("list"):
                page = next(pages, None)
                if page is None:
                    return
                found = [
                    ObjectInfo(
                        key=entry["Key"].removeprefix(start),
                        size=entry["Size"],
                        modified=entry["LastModified"],
                    )
                    for entry in page.get("Contents", [])
                ]
            empty = 0 if found else empty + 1
            cut = page.get("IsTruncated", False) and not page.get("NextContinuationToken")
            # A page of something else looks like a listing without objects, and one that is cut off like a whole one.
            if cut or empty > _EMPTY_PAGES or "Name" not in page:
                raise not_storage(self._place, "list")
            yield from (info for info in found if valid_key(info.key))

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
        self._putting.close()
        with self._lock:
            if self._made is not None:
                client, direct = self._made
                client.close()
                direct.close()

    @property
    def _client(self) -> S3Client:
        return self._line()[0]

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
