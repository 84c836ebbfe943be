"""A real WebDAV server: rclone, out of a folder."""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

RCLONE = shutil.which("rclone", path=Path(sys.executable).parent)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def rclone_serve(*arguments):
    port = free_port()
    command = [RCLONE, "serve", *arguments, "--addr", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a server."""
    folder = tmp_path_factory.mktemp("webdav")
    with rclone_serve("webdav", "--user", "office", "--pass", "right", folder) as port:
        yield f"http://127.0.0.1:{port}"
