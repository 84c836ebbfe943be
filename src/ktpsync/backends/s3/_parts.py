"""Upload in parts, for large objects: one part in memory, and what was sent is not sent again.

An upload that was interrupted stays open at the storage, invisible; the next try of the same object finds it
and sends only the parts that are not there yet. Uploads that nobody finished within a week are given up.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import frozen
from botocore.exceptions import ClientError

from ktpsync.backends.s3._failures import ThereAlreadyError, WrongSourceError, error_code, status_of
from ktpsync.backends.s3._probe import etag_of
from ktpsync.clock import utc_from_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from types_boto3_s3.client import S3Client

_MOST_PARTS: Final = 10_000
_PRECONDITION_FAILED: Final = 412
_GIVEN_UP: Final = timedelta(days=7)


@frozen(kw_only=True)
class Source:
    """The bytes of an object that is larger than a part.

    Args:
        file: Gives them once.
        size: How many there should be.
        sha256: Their SHA-256 in hexadecimal.
        part_size: Bytes in memory at a time.
    """

    file: BinaryIO
    size: int
    sha256: str
    part_size: int

    def parts(self) -> Iterator[bytes]:
        """Yield the parts; the last one may be smaller.

        Raises:
            WrongSourceError: At the end, if the bytes are not the right ones.
        """
        part_size = max(self.part_size, -(-self.size // _MOST_PARTS))
        digest, found = hashlib.sha256(), 0
        while part := read_fully(self.file, part_size):
            digest.update(part)
            found += len(part)
            if found > self.size:
                break
            yield part
        if (found, digest.hexdigest()) != (self.size, self.sha256):
            raise WrongSourceError(self.sha256)


def read_fully(file: BinaryIO, size: int) -> bytes:
    """Return the next ``size`` bytes of a file object that may give fewer at a time; fewer only at its end."""
    block = file.read(size)
    if not block or len(block) == size:
        return block
    blocks = [block]
    missing = size - len(block)
    while missing and (block := file.read(missing)):
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)


class PartsUpload:
    """Sends one object in parts.

    Args:
        client: The client.
        bucket: Where.
        key: The full key.
        options: What the object is stored with, such as metadata and retention.
        condition: What must be true of what is there.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        options: Mapping[str, object],
        condition: Mapping[str, str],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._options = options
        self._condition = condition

    def send(self, source: Source) -> bool:
        """Send an object and make it visible.

        Returns:
            Whether the storage's ETags prove that it holds these bytes.

        Raises:
            ThereAlreadyError: Somebody else stored the object meanwhile.
            ClientError: The storage refused.
            BotoCoreError: The line broke; call again to go on.
            WrongSourceError: The source does not give the right bytes; nothing is visible, nothing is left.
            OSError: The source cannot be read.
        """
        upload, there = self._open()
        etags: list[str] = []
        proven = True
        md5s = hashlib.md5(usedforsecurity=False)
        try:
            for number, part in enumerate(source.parts(), start=1):
                md5 = hashlib.md5(part, usedforsecurity=False)
                md5s.update(md5.digest())
                etag = there.get((number, len(part)), "")
                if etag != md5.hexdigest():
                    content_md5 = base64.b64encode(md5.digest()).decode("ascii")
                    answer = self._client.upload_part(
                        Bucket=self._bucket,
                        Key=self._key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=part,
                        ContentMD5=content_md5,
                    )
                    etag = etag_of(answer)
                proven = proven and etag == md5.hexdigest()
                etags.append(etag)
        except WrongSourceError:
            self._abort(upload)
            raise
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(etags, start=1)]
        try:
            whole = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # checked by boto3
                **self._condition,  # type: ignore[arg-type]  # checked by boto3
            )
        except ClientError as error:
            self._abort(upload)
            if status_of(error) == _PRECONDITION_FAILED or error_code(error) == "NoSuchUpload":
                raise ThereAlreadyError from error
            raise
        return proven and etag_of(whole) == f"{md5s.hexdigest()}-{len(etags)}"

    def _open(self) -> tuple[str, dict[tuple[int, int], str]]:
        """Return the upload to go on with, and the parts that are there, by number and size."""
        for upload in self._leftovers():
            with contextlib.suppress(ClientError):
                there: dict[tuple[int, int], str] = {}
                pages = self._client.get_paginator("list_parts").paginate(
                    Bucket=self._bucket, Key=self._key, UploadId=upload
                )
                for page in pages:
                    for part in page.get("Parts", []):
                        there[part["PartNumber"], part["Size"]] = etag_of(part)
                return upload, there
        answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key, **self._options)  # type: ignore[arg-type]  # checked by boto3
        return answer["UploadId"], {}

    def _leftovers(self) -> list[str]:
        """Return the open uploads of this object. Services that cannot tell have none to go on with."""
        try:
            answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._key)
        except ClientError:
            return []
        return [upload["UploadId"] for upload in answer.get("Uploads", []) if upload["Key"] == self._key]

    def _abort(self, upload: str) -> None:
        # What cannot be given up now is given up with the leftovers.
        with contextlib.suppress(ClientError):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=upload)


def give_up_leftovers(client: S3Client, bucket: str, prefix: str, *, but: str, now_ms: int) -> int:
    """Give up the uploads under a prefix that nobody finished within a week; they cost room that nobody sees.

    Args:
        client: The client.
        bucket: Where.
        prefix: What is ours.
        but: The key that is about to be uploaded; it goes on with what is there.
        now_ms: The time.

    Returns:
        How many.

    Raises:
        ClientError: The storage does not let us list or end them.
        BotoCoreError: It cannot be reached.
    """
    limit = utc_from_ms(now_ms) - _GIVEN_UP
    count = 0
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for upload in page.get("Uploads", []):
            if upload["Initiated"] < limit and upload["Key"] != but:
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                count += 1
    return count
