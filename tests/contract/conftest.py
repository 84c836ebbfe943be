"""Real storage servers on loopback."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCESS, _SECRET = "AKIATEST", "not-a-real-secret"
_numbers = itertools.count(1)


@frozen
class S3Server:
    """An S3 endpoint: URL and credentials."""

    url: str
    access_key: str = _ACCESS
    secret_key: str = _SECRET


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """Moto's S3, which honours conditions but not credentials."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Rclone's S3, which honours credentials but not conditions."""
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed")
    port = free_port()
    folder = tmp_path_factory.mktemp("rclone")
    arguments = [
        "serve",
        "s3",
        "--auth-key",
        f"{_ACCESS},{_SECRET}",
        "--addr",
        f"127.0.0.1:{port}",
        str(folder),
    ]
    process = subprocess.Popen([rclone, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["moto", "rclone"])
def s3_settings(request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings of a new bucket at each of the servers."""
    import boto3

    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    bucket = f"bucket-{next(_numbers)}"
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return {
        "bucket": bucket,
        "endpoint": server.url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "addressing": "path",
    }
