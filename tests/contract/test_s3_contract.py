"""The S3 backend keeps the contract at two very different servers, or at the one that ``--s3`` names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from ktpsync.plugins import BackendContext, PluginRegistry, StorageBackend
from ktpsync.testing import StorageContract, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_LOGIN = {"access_key": "AKIATEST", "secret_key": "secret", "addressing": "path"}


def made(settings: Mapping[str, object]) -> Iterator[Any]:
    """Yield an S3 backend made as an office makes it."""
    given = {**_LOGIN, **settings}
    registry, context = PluginRegistry.load(), BackendContext(name="offsite")
    with registry.make("s3", given, context, where="[destinations.offsite]", base=Path()) as backend:
        yield backend


class TestS3(StorageContract):
    """moto honours If-None-Match; rclone ignores it and checks no SHA-256."""

    destination_name = "offsite"

    @pytest.fixture
    def through_line(self, s3_settings: dict[str, object]) -> tuple[int, Callable[[int], StorageBackend]]:
        """Return the server's port, and what connects through another one."""
        endpoint = urlsplit(str(s3_settings["endpoint"]))
        if endpoint.hostname != "127.0.0.1" or endpoint.port is None:
            pytest.skip("the endpoint is not on this machine")
        settings = {**s3_settings, "prefix": "office-3578/", "read_timeout": 2, "connect_timeout": 2}

        def connect(port: int) -> StorageBackend:
            there = {**_LOGIN, **settings, "endpoint": f"http://127.0.0.1:{port}"}
            context = BackendContext(name="offsite")
            made = PluginRegistry.load().make(
                "s3", there, context, where="[destinations.offsite]", base=Path()
            )
            assert isinstance(made, StorageBackend)
            return made

        return endpoint.port, connect

    @pytest.fixture
    def backend(self, s3_settings: dict[str, object]) -> Iterator[StorageBackend]:
        """Return a backend on a new bucket, made as an office makes it."""
        yield from made({**s3_settings, "prefix": f"{s3_settings.get('prefix', '')}office-3578/"})

    @pytest.fixture
    def unreachable_backend(self) -> Iterator[StorageBackend]:
        """Return a backend whose endpoint does not listen."""
        yield from made({"bucket": "b", "endpoint": "http://127.0.0.1:9"})

    @pytest.fixture
    def refused_backend(self, request: pytest.FixtureRequest, make_bucket: Any) -> Iterator[StorageBackend]:
        """Return a backend with a wrong secret, at the server that looks at it."""
        yield from made({**make_bucket(request.getfixturevalue("rclone_server")), "secret_key": "wrong"})

    def test_list_goes_on_after_a_page(self, backend: Any) -> None:
        """However many objects a page of the listing has, all are listed."""
        keys = [f"many/{number}" for number in range(7)]
        for key in keys:
            self.put(backend, key, b"x")
        backend._client.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 3}
        )

        assert keys == sorted(info.key for info in backend.list("many/"))

    @pytest.mark.slow
    def test_large_objects_are_sent_in_parts(self, backend: Any) -> None:
        """What does not fit into one part comes back as it was, and is recognised the second time."""
        packet, other = made_up_packet(b"0123456789abcdef" * 800_000), made_up_packet(b"x" * 12_800_000)

        receipt = backend.deliver(packet)

        assert (packet.sha256, packet.size) == (receipt.sha256, receipt.size)
        assert receipt == backend.deliver(packet)
        with pytest.raises(Exception, match="holds other bytes"):
            backend.deliver(type(packet).from_bytes(packet.packet_id, other.sha256, b"x" * 12_800_000))


@pytest.mark.slow
def test_the_contract_runs_against_a_given_endpoint(
    tmp_path: Path, request: pytest.FixtureRequest, make_bucket: Any, new_client: Any
) -> None:
    """``pytest --s3 FILE`` runs it there, and leaves nothing of its own but the probe's few bytes."""
    settings = make_bucket(request.getfixturevalue("rclone_server"))
    file = tmp_path / "s3.toml"
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--s3", file, __file__]

    done = subprocess.run(
        [*command, "-k", "put_keeps or missing or page"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "Contents" not in new_client(settings).list_objects_v2(Bucket=settings["bucket"])
