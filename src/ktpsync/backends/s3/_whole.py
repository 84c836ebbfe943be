"""Upload in one request, for packets and other small objects."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from attrs import frozen
from botocore.exceptions import ClientError, ConnectionClosedError

from ktpsync.backends.s3._failures import ThereAlreadyError, WrongSourceError, not_storage, status_of
from ktpsync.backends.s3._probe import etag_of

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectOutputTypeDef

    from ktpsync.backends.s3._direct import Direct
    from ktpsync.backends.s3._failures import Place
    from ktpsync.backends.s3._probe import Endpoint

_PRECONDITION_FAILED = 412


@frozen(kw_only=True)
class Body:
    """The bytes of a small object.

    Args:
        data: The bytes.
        sha256: What their SHA-256 should be, in hexadecimal.
        md5: Gives their MD5 in hexadecimal; computed in another thread meanwhile.
    """

    data: bytes
    sha256: str
    md5: Callable[[], str]

    def check(self) -> None:
        """Hash the bytes.

        Raises:
            WrongSourceError: They are others.
        """
        if hashlib.sha256(self.data).hexdigest() != self.sha256:
            raise WrongSourceError(self.sha256)


def send_whole(
    direct: Direct,
    body: Body,
    options: dict[str, object],
    *,
    place: Place,
    key: str,
    endpoint: Endpoint,
    condition: Mapping[str, str],
    digest_wanted: bool,
) -> bool:
    """Store a small object with one request.

    Args:
        direct: The way to the bucket.
        body: The bytes.
        options: What the object is stored with, such as metadata and retention.
        place: Where.
        key: The full key.
        endpoint: What the endpoint does.
        condition: What must be true of what is there, where the endpoint heeds it.
        digest_wanted: Whether the service wants a digest, whatever it does with it, as with object lock.

    Returns:
        Whether the answer proves that the storage holds these bytes.

    Raises:
        ThereAlreadyError: The condition is not true.
        WrongSourceError: The bytes are not those announced; none was sent.
        ClientError: The storage refused.
        BotoCoreError: The line broke.
        UnavailableError: Something else than S3 answered.
    """
    if endpoint.checks_sha256:
        options["ChecksumSHA256"] = _base64(body.sha256)
    elif endpoint.checks_md5 or digest_wanted:
        options["ContentMD5"] = _base64(body.md5())
    if endpoint.conditional_put:
        options |= condition
    try:
        answer = _answer(direct, key, body, options, ask=endpoint.conditional_put)
    except ClientError as error:
        if status_of(error) == _PRECONDITION_FAILED:
            raise ThereAlreadyError from error
        raise
    etag = etag_of(answer)
    if not etag:
        raise not_storage(place, key)
    if endpoint.checks_sha256:
        # Who checks it may also tell it.
        announced = options["ChecksumSHA256"]
        return answer.get("ChecksumSHA256", announced) == announced
    if endpoint.checks_md5 and not endpoint.etag_is_md5:
        return True
    return etag == body.md5()


def _answer(
    direct: Direct, key: str, body: Body, options: dict[str, object], *, ask: bool
) -> PutObjectOutputTypeDef:
    """Send the bytes. Where the storage was asked just now whether the key is there, it is not asked again."""
    try:
        return direct.put(key, body, options, ask=ask)
    except ConnectionClosedError:
        if ask:
            raise
    # Some storages hang up on a body that they refuse, and their reason is lost. Asked before the body, they tell it.
    return direct.put(key, body, options, ask=True)


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode("ascii")
