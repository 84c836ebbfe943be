"""Upload in one request, for packets and other small objects."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen
from botocore.exceptions import ClientError

from ktpsync.backends.s3._failures import ThereAlreadyError, not_storage, status_of
from ktpsync.backends.s3._probe import etag_of

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from ktpsync.backends.s3._failures import Place
    from ktpsync.backends.s3._probe import Endpoint

_PRECONDITION_FAILED = 412


@frozen(kw_only=True)
class Body:
    """The bytes of a small object. They were hashed before they leave, so damaged ones never arrive anywhere.

    Args:
        data: The bytes.
        sha256: Their SHA-256 in hexadecimal.
        md5: Gives their MD5 in hexadecimal; computed in another thread meanwhile.
    """

    data: bytes
    sha256: str
    md5: Callable[[], str]


def send_whole(
    client: S3Client,
    body: Body,
    options: dict[str, object],
    *,
    place: Place,
    key: str,
    endpoint: Endpoint,
    digest_wanted: bool,
) -> bool:
    """Store a small object with one request.

    Args:
        client: The client.
        body: The bytes.
        options: What the object is stored with, such as metadata and retention.
        place: Where.
        key: The full key.
        endpoint: What the endpoint does.
        digest_wanted: Whether the service wants a digest, whatever it does with it, as with object lock.

    Returns:
        Whether the answer proves that the storage holds these bytes.

    Raises:
        ThereAlreadyError: The object is there, and the endpoint does not replace it.
        ClientError: The storage refused.
        BotoCoreError: The line broke.
        UnavailableError: Something else than S3 answered.
    """
    checked = endpoint.checks_sha256 or endpoint.checks_md5
    if endpoint.checks_sha256:
        options["ChecksumSHA256"] = _base64(body.sha256)
    elif endpoint.checks_md5 or digest_wanted:
        options["ContentMD5"] = _base64(body.md5())
    if endpoint.conditional_put:
        options["IfNoneMatch"] = "*"
    try:
        answer = client.put_object(
            Bucket=place.bucket,
            Key=key,
            Body=body.data,
            **options,  # type: ignore[arg-type]  # checked by boto3
        )
    except ClientError as error:
        if status_of(error) == _PRECONDITION_FAILED:
            raise ThereAlreadyError from error
        raise
    etag = etag_of(answer)
    if not etag:
        raise not_storage(place, key)
    return checked or etag == body.md5()


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode("ascii")
