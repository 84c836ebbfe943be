"""The S3 backend keeps the contract at two very different servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import AuthError, CorruptError, UnavailableError
from ktpsync.plugins import BackendContext, PluginRegistry
from ktpsync.testing import StorageContract, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ktpsync.plugins import Backend, StorageBackend


def make(settings: Mapping[str, object]) -> Backend:
    """Return an S3 backend through the registry, as an office gets it."""
    context = BackendContext(name="offsite")
    return PluginRegistry.load().make("s3", settings, context, where="[destinations.offsite]", base=Path())


class TestS3(StorageContract):
    """moto honours If-None-Match; rclone ignores it and checks no checksum."""

    @pytest.fixture
    def backend(self, s3_settings: dict[str, object]) -> Iterator[StorageBackend]:
        """Return a backend on a new bucket."""
        with make({**s3_settings, "prefix": "office-3578/"}) as backend:
            yield backend  # type: ignore[misc]  # the S3 backend is storage

    @pytest.fixture
    def unreachable_backend(self) -> Iterator[StorageBackend]:
        """Return a backend whose endpoint does not listen."""
        settings = {"bucket": "b", "endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"}
        with make({**settings, "addressing": "path"}) as backend:
            yield backend  # type: ignore[misc]  # the S3 backend is storage

    def test_list_has_more_than_a_page(self, backend: StorageBackend) -> None:
        """Listings go on after the first thousand."""
        for number in range(1005):
            self.put(backend, f"many/{number:04}", b"x")

        assert 1005 == len(list(backend.list("many/")))


@pytest.mark.parametrize("s3_settings", ["rclone"], indirect=True)
def test_wrong_credentials_stop_the_destination(s3_settings: dict[str, object]) -> None:
    """A wrong secret is told as such, and never shown."""
    with make({**s3_settings, "secret_key": "wrong-secret"}) as backend:
        with pytest.raises(AuthError) as caught:
            backend.deliver(made_up_packet())
        with pytest.raises(AuthError):
            backend.check()

    assert "wrong-secret" not in str(caught.value)


def test_a_missing_bucket_is_told(s3_settings: dict[str, object]) -> None:
    """The office is told what to correct; nothing is retried for ever in silence."""
    with make({**s3_settings, "bucket": "not-there"}) as backend, pytest.raises(AuthError, match="bucket"):
        backend.deliver(made_up_packet())


def test_an_endpoint_that_is_down_is_unavailable() -> None:
    """Nobody listens: try again later."""
    settings = {"bucket": "b", "endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"}
    with make(settings) as backend, pytest.raises(UnavailableError):
        backend.deliver(made_up_packet())


def test_damage_by_the_storage_is_noticed(s3_settings: dict[str, object]) -> None:
    """What the storage says it holds is compared with what was sent."""
    import boto3

    packet = made_up_packet(b"right bytes")
    with make(s3_settings) as backend:
        client = boto3.client(
            "s3",
            endpoint_url=str(s3_settings["endpoint"]),
            aws_access_key_id=str(s3_settings["access_key"]),
            aws_secret_access_key=str(s3_settings["secret_key"]),
            region_name="us-east-1",
        )
        real = backend._put_if_absent  # type: ignore[attr-defined]  # the moment between write and check

        def put_and_damage(key: str, body: object, sha256: str) -> None:
            real(key, body, sha256)
            client.put_object(Bucket=str(s3_settings["bucket"]), Key=key, Body=b"wrong bytes")

        backend._put_if_absent = put_and_damage  # type: ignore[attr-defined]
        with pytest.raises(CorruptError, match=packet.packet_id):
            backend.deliver(packet)
        client.close()
