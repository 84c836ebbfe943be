"""What an endpoint really does, found out by trying: services that speak S3 differ.

Some ignore ``If-None-Match``, some do not compare the checksum they are sent, some do. What was found is
remembered for a week.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen
from botocore.exceptions import ClientError

from ktpsync import files
from ktpsync.backends.s3._failures import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from types_boto3_s3.client import S3Client

    from ktpsync.backends.s3.settings import S3Settings
    from ktpsync.clock import Clock

PROBE_NAME: Final = ".ktpsync-probe"
"""The one object that probing leaves, under the prefix. It is never deleted, so that no right to delete is needed
and two stations that probe at once do not mislead each other. Not a key: no listing shows it."""

_BODY: Final = b"ktpsync asks what this storage does\n"
_OTHER: Final = b"other bytes"
_MEMORY_NAME: Final = "s3-endpoint.json"
_VALID_MS: Final = 7 * 86_400_000


@frozen(kw_only=True)
class Endpoint:
    """What an endpoint was seen to do.

    Args:
        conditional_put: It refuses to replace an object when asked to (``If-None-Match: *``).
        checks_sha256: It refuses bytes that do not have the announced SHA-256 (``x-amz-checksum-sha256``).
        checks_md5: It refuses bytes that do not have the announced MD5 (``Content-MD5``).
        etag_is_md5: The ETag it gives is the MD5 of what arrived.
    """

    conditional_put: bool
    checks_sha256: bool
    checks_md5: bool
    etag_is_md5: bool

    def details(self) -> dict[str, str]:
        """Return the facts for ``ktpsync plugins --check``."""
        return {name: "yes" if value else "no" for name, value in asdict(self).items()}


def probe(client: S3Client, settings: S3Settings) -> Endpoint:
    """Find out what an endpoint does. Some requests; leaves one object of a few bytes.

    Raises:
        ClientError: The endpoint refuses for a reason of its own, such as wrong credentials.
        BotoCoreError: It cannot be reached.
    """
    request: dict[str, object] = {
        "Bucket": settings.bucket,
        "Key": f"{settings.prefix}{PROBE_NAME}",
        "Body": _BODY,
        # Some buckets refuse what does not ask for encryption.
        **settings.encryption_options(),
    }
    if settings.lock is not None:
        client.get_object_lock_configuration(Bucket=settings.bucket)
    md5 = _md5(_BODY)
    answer = client.put_object(**request, ContentMD5=md5)  # type: ignore[arg-type]  # checked by boto3
    return Endpoint(
        conditional_put=_refuses(client, request, 412, IfNoneMatch="*"),
        checks_sha256=_refuses(client, request, 400, ChecksumSHA256=_sha256(_OTHER))
        and not _refuses(client, request, 400, ChecksumSHA256=_sha256(_BODY)),
        # The right one was just taken.
        checks_md5=_refuses(client, request, 400, ContentMD5=_md5(_OTHER)),
        etag_is_md5=etag_of(answer) == hashlib.md5(_BODY, usedforsecurity=False).hexdigest(),
    )


def etag_of(answer: Mapping[str, object]) -> str:
    """Return the ETag of an answer without its quotes, or an empty text."""
    return str(answer.get("ETag", "")).strip('"')


def _refuses(client: S3Client, request: Mapping[str, object], with_status: int, **condition: str) -> bool:
    try:
        client.put_object(**request, **condition)  # type: ignore[arg-type]  # checked by boto3
    except ClientError as error:
        if status_of(error) in (with_status, 501):
            return status_of(error) == with_status
        raise
    return False


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def remembered(folder: Path | None, settings: S3Settings, clock: Clock) -> Endpoint | None:
    """Return what was found within the last week, if anything."""
    if folder is None:
        return None
    try:
        document = json.loads((folder / _MEMORY_NAME).read_bytes())
        age = clock.now_ms() - document["probed_ms"]
        if document["place"] != _place(settings) or not 0 <= age < _VALID_MS:
            return None
        return Endpoint(**document["endpoint"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember(folder: Path | None, settings: S3Settings, clock: Clock, endpoint: Endpoint) -> None:
    """Keep what was found.

    Raises:
        OSError: The folder cannot be written.
    """
    if folder is None:
        return
    document = {"place": _place(settings), "probed_ms": clock.now_ms(), "endpoint": asdict(endpoint)}
    files.make_folder(folder)
    files.write_atomic(folder / _MEMORY_NAME, json.dumps(document).encode("ascii"))


def _place(settings: S3Settings) -> list[str]:
    return [settings.endpoint or "", settings.bucket, settings.prefix, settings.encryption or ""]
