"""The settings of a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from attrs import field, frozen

from ktpsync.plugins import ByteSize, Duration, Secret

SMALLEST_PART: Final = 5 << 20
"""Bytes that every part but the last of an upload in parts must have (S3's own limit)."""


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
        read_timeout: Seconds to wait for an answer, then for each 16 KiB of it.
        part_size: Objects above this size are sent in parts of it, one after the other; what was sent is not
            sent again after an interruption. At least 5 MiB.
        lock: Nobody can delete or replace an object for so long after it was stored (object lock,
            retain-until). The bucket must have been made with object lock.
        lock_mode: ``governance``: who has a special right can still delete; ``compliance``: nobody can, not
            even whoever pays for the bucket.
        encryption: ``AES256`` or ``aws:kms``: asks the service to encrypt at rest once more. Packets are
            sealed anyway; some offices must show this too.
        kms_key: The key's id for ``aws:kms``.
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
    part_size: ByteSize = field(default=ByteSize(8 << 20))
    lock: Duration | None = None
    lock_mode: Literal["governance", "compliance"] = "governance"
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.part_size < SMALLEST_PART:
            raise ValueError("part_size is at least 5 MiB: S3 takes no smaller parts")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together: give both or none")
        if self.kms_key is not None and self.encryption != "aws:kms":
            raise ValueError('kms_key is used with encryption = "aws:kms" only')

    def encryption_options(self) -> dict[str, object]:
        """Return what a put asks for, so that the service encrypts at rest."""
        options: dict[str, object] = {}
        if self.encryption is not None:
            options["ServerSideEncryption"] = self.encryption
        if self.kms_key is not None:
            options["SSEKMSKeyId"] = self.kms_key
        return options
