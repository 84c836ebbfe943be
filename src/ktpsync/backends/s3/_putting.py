"""How an object comes to be stored, and what proves that it is.

An object notes which digest it should have. So one that the storage damaged is told from another one, which is somebody
else's and stays: only what is damaged by its own account is removed or replaced, and only as long as it is still that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, Never

from attrs import frozen
from botocore.exceptions import ClientError

from ktpsync import files
from ktpsync.backends.s3._failures import (
    Place,
    ThereAlreadyError,
    WrongSourceError,
    not_storage,
    translated,
)
from ktpsync.backends.s3._parts import PartsUpload, Source, give_up_leftovers, read_fully
from ktpsync.backends.s3._probe import etag_of
from ktpsync.backends.s3._reader import reader
from ktpsync.backends.s3._whole import Body, send_whole
from ktpsync.clock import utc_from_ms, utc_text
from ktpsync.errors import BackendError, ConflictError, CorruptError, NotFoundError, UnavailableError
from ktpsync.plugins import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from ktpsync.backends.s3._direct import Direct
    from ktpsync.backends.s3._probe import Endpoint
    from ktpsync.backends.s3.settings import S3Settings

_STORED_AT: Final = "ktpsync-stored-at"
"""Metadata: when an object was stored, so that a receipt says the same however often it is asked for."""

_SHA256: Final = "ktpsync-sha256"
"""Metadata: the digest that an object should have."""

_ABSENT: Final[Mapping[str, str]] = {"IfNoneMatch": "*"}


@frozen(kw_only=True)
class _Wanted:
    """What should be stored.

    Args:
        key: Under which key.
        full: The key with the prefix.
        size: Its size in bytes.
        sha256: Its SHA-256 in hexadecimal.
        md5: Gives its MD5 in hexadecimal, where it fits into memory.
        send: Stores it with these options under a condition; says whether the storage's answer proves it.
        heeded: Whether the storage heeds conditions.
    """

    key: str
    full: str
    size: int
    sha256: str
    md5: Callable[[], str] | None
    send: Callable[[dict[str, object], Mapping[str, str]], bool]
    heeded: bool = False


class _DamagedError(Exception):
    """The object does not have the digest that it notes itself, which is the wanted one."""

    def __init__(self, etag: str, size: int, sha256: str) -> None:
        super().__init__(etag)
        self.etag = etag
        self.size = size
        self.sha256 = sha256


class Putting:
    """Stores objects in a bucket.

    Args:
        settings: Where and how.
        place: The same for messages, and the clock.
        line: Gives the client and the short way.
        endpoint: Gives what the endpoint does, given what is about to be done.
        checks_sha256: Says whether it is known that the endpoint compares SHA-256.
    """

    def __init__(
        self,
        settings: S3Settings,
        place: Place,
        *,
        line: Callable[[], tuple[S3Client, Direct]],
        endpoint: Callable[[str], Endpoint],
        checks_sha256: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._place = place
        self._line = line
        self._endpoint = endpoint
        self._checks_sha256 = checks_sha256
        self._busy: set[str] = set()
        self._less_busy = threading.Condition()
        self._tidied = False
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="ktpsync-md5")

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """Store an object; see :meth:`ktpsync.plugins.StorageBackend.put`. The key is one."""
        put = self._put_large if size > self._settings.part_size else self._put_small
        try:
            return put(key, source, size, sha256)
        except WrongSourceError as error:
            raise CorruptError(f"{self._place.name}: {key}: {error}") from None

    def close(self) -> None:
        """End the thread that hashes."""
        self._hashing.shutdown()

    def _put_small(self, key: str, source: BinaryIO, size: int, sha256: str) -> ObjectInfo:
        data = read_fully(source, size + 1)
        # Computed while the storage is asked and while the bytes are on the way; not needed where it checks SHA-256.
        md5 = partial(_md5, data) if self._checks_sha256() else self._hashing.submit(_md5, data).result
        if len(data) != size:
            raise WrongSourceError(sha256)
        body = Body(data=data, sha256=sha256, md5=md5)
        endpoint = self._endpoint(key)
        full = f"{self._settings.prefix}{key}"

        def send(options: dict[str, object], condition: Mapping[str, str]) -> bool:
            return send_whole(
                self._line()[1],
                body,
                options,
                place=self._place,
                key=full,
                endpoint=endpoint,
                condition=condition,
                digest_wanted=self._settings.lock is not None,
            )

        heeded = endpoint.conditional_put
        wanted = _Wanted(key=key, full=full, size=size, sha256=sha256, md5=md5, send=send, heeded=heeded)
        with self._alone(key):
            try:
                # Where the storage refuses to replace, it need not be asked first.
                there = None if heeded else self._same(wanted)
                if there is not None:
                    body.check()
                    return there
                return self._create(wanted)
            except _DamagedError as damaged:
                return self._replace(wanted, damaged)

    def _put_large(self, key: str, source: BinaryIO, size: int, sha256: str) -> ObjectInfo:
        parts = Source(file=source, size=size, sha256=sha256, part_size=self._settings.part_size)
        full = f"{self._settings.prefix}{key}"

        def send(options: dict[str, object], condition: Mapping[str, str]) -> bool:
            self._tidy(full)
            upload = PartsUpload(self._line()[0], self._settings.bucket, full, options, condition)
            return upload.send(parts)

        wanted = _Wanted(key=key, full=full, size=size, sha256=sha256, md5=None, send=send)
        with self._alone(key):
            try:
                there = self._same(wanted)
            except _DamagedError as damaged:
                return self._replace(wanted, damaged)
            try:
                return there or self._create(wanted)
            except _DamagedError as damaged:
                # Its source was read to the end.
                raise self._busy_elsewhere(wanted) from damaged

    def _create(self, wanted: _Wanted) -> ObjectInfo:
        """Store an object that is not there, and have it proven.

        Raises:
            _DamagedError: It is there meanwhile, and damaged.
        """
        try:
            return self._store(wanted, _ABSENT)
        except ThereAlreadyError:
            there = self._same(wanted)
        if there is None:
            raise UnavailableError(
                f"{self._place.name}: {wanted.key}: the storage says that it is there, and then that it is not. "
                "It is tried again by itself."
            )
        return there

    def _replace(self, wanted: _Wanted, damaged: _DamagedError) -> ObjectInfo:
        """Store an object in the place of its damaged copy, unless that is another one by now."""
        try:
            return self._store(wanted, {"IfMatch": f'"{damaged.etag}"'}, believe=False)
        except (ThereAlreadyError, NotFoundError):
            raise self._busy_elsewhere(wanted) from None

    def _store(self, wanted: _Wanted, condition: Mapping[str, str], *, believe: bool = True) -> ObjectInfo:
        """Send an object and have it proven; what the storage damaged does not stay.

        Args:
            wanted: The object.
            condition: What must be true of what is there, where the storage heeds it.
            believe: Whether a proof in the storage's answer is enough; it is not where it has damaged the object before.

        Raises:
            ThereAlreadyError: The condition is not true.
        """
        stored_at = utc_from_ms(self._place.clock.now_ms())
        with translated(self._place, wanted.key):
            proven = wanted.send(self._options(stored_at, wanted.sha256), condition)
        if not (proven and believe):
            try:
                # Where it was taken only because nothing was there, what is there is ours, noted or not.
                self._read_back(wanted, ours=wanted.heeded)
            except _DamagedError as damaged:
                self._give_up(wanted, damaged)
        return ObjectInfo(key=wanted.key, size=wanted.size, modified=stored_at, sha256=wanted.sha256)

    def _give_up(self, wanted: _Wanted, damaged: _DamagedError) -> Never:
        """Remove what the storage damaged just now, and say so. If it stays, the next attempt replaces it."""
        client, direct = self._line()
        with contextlib.suppress(BackendError), translated(self._place, wanted.key):
            there = direct.head(wanted.full)
            if there is not None and etag_of(there) == damaged.etag:
                client.delete_object(
                    Bucket=self._settings.bucket, Key=wanted.full, IfMatch=f'"{damaged.etag}"'
                )
        raise CorruptError(
            f"{self._place.name}: the storage damaged {wanted.key}: it gives back {damaged.size} bytes with SHA-256 "
            f"{damaged.sha256}. Ask whoever runs it; the packet is still in the outbox."
        )

    def _same(self, wanted: _Wanted) -> ObjectInfo | None:
        """Return what is there if it is the same, or ``None`` if nothing is there.

        Raises:
            ConflictError: Other bytes are there.
            _DamagedError: A damaged copy is there.
        """
        answer = head(self._line()[1], self._place, wanted.key, wanted.full)
        if answer is None:
            return None
        if answer["ContentLength"] != wanted.size or wanted.md5 is None or etag_of(answer) != wanted.md5():
            self._read_back(wanted)
        return ObjectInfo(
            key=wanted.key, size=wanted.size, modified=stored_at_of(answer), sha256=wanted.sha256
        )

    def _read_back(self, wanted: _Wanted, *, ours: bool = False) -> None:
        with translated(self._place, wanted.key):
            answer = self._line()[0].get_object(Bucket=self._settings.bucket, Key=wanted.full)
        etag = etag_of(answer)
        if not etag:
            raise not_storage(self._place, wanted.key)
        with reader(answer["Body"], self._place, wanted.key) as file:
            found_sha256, found = files.sha256_of(file)
        if (found, found_sha256) == (wanted.size, wanted.sha256):
            return
        noted = _noted(answer, _SHA256)
        if noted == wanted.sha256 or (ours and noted is None):
            raise _DamagedError(etag, found, found_sha256)
        raise ConflictError(
            f"{self._place.name}: {wanted.key} holds other bytes (SHA-256 {found_sha256}, not {wanted.sha256}). It is "
            "left as it is; compare it with the backup. If it is damaged, remove it there, then requeue."
        )

    def _busy_elsewhere(self, wanted: _Wanted) -> UnavailableError:
        return UnavailableError(
            f"{self._place.name}: {wanted.key}: somebody else is changing it at the moment. It is tried again by itself."
        )

    def _options(self, stored_at: datetime, sha256: str) -> dict[str, object]:
        """Return what every object is stored with."""
        settings = self._settings
        noted = {_STORED_AT: utc_text(stored_at), _SHA256: sha256}
        options: dict[str, object] = {"Metadata": noted, **settings.encryption_options()}
        if settings.lock is not None:
            options["ObjectLockMode"] = settings.lock_mode.upper()
            options["ObjectLockRetainUntilDate"] = stored_at + timedelta(seconds=settings.lock)
        return options

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

    def _tidy(self, full: str) -> None:
        """Once: give up the uploads that nobody finished."""
        if self._tidied:
            return
        self._tidied = True
        bucket, prefix = self._settings.bucket, self._settings.prefix
        # Some services cannot list uploads, and some credentials may not; then they stay.
        with contextlib.suppress(ClientError):
            give_up_leftovers(self._line()[0], bucket, prefix, but=full, now_ms=self._place.clock.now_ms())


def head(direct: Direct, place: Place, key: str, full: str) -> HeadObjectOutputTypeDef | None:
    """Return what the storage says of an object, or ``None`` if there is none.

    Args:
        direct: The way to it.
        place: For messages.
        key: Its key, for messages.
        full: Its key with the prefix.

    Raises:
        BackendError: The storage does not say.
    """
    with translated(place, key):
        answer = direct.head(full)
    if answer is None:
        return None
    if not etag_of(answer) or answer.get("ContentLength", -1) < 0 or "LastModified" not in answer:
        raise not_storage(place, key)
    return answer


def stored_at_of(answer: HeadObjectOutputTypeDef) -> datetime:
    """Return when an object was stored first: as it was noted then, or else what the storage says."""
    noted = _noted(answer, _STORED_AT)
    if noted is not None:
        with contextlib.suppress(ValueError, OverflowError):
            return datetime.fromisoformat(noted).astimezone(UTC)
    return answer["LastModified"]


def _noted(answer: Mapping[str, object], name: str) -> str | None:
    # Some services change the case of what they are given.
    noted = answer.get("Metadata", {})
    assert isinstance(noted, dict)
    return {key.lower(): value for key, value in noted.items()}.get(name)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
