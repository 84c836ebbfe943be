"""A real SFTP server: rclone, out of a folder."""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

RCLONE = shutil.which("rclone", path=Path(sys.executable).parent)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_key(path):
    """Write a private key in OpenSSH's format and return the public one as text."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


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
    """The settings that reach a server, which knows a password and a key."""
    folder = tmp_path_factory.mktemp("sftp")
    keys = tmp_path_factory.mktemp("keys")
    host_key, user_key = new_key(keys / "host"), new_key(keys / "user")
    (keys / "authorized").write_text(user_key + "\n")
    arguments = ("--user", "office", "--pass", "right", "--authorized-keys", keys / "authorized")
    with rclone_serve("sftp", *arguments, "--key", keys / "host", folder) as port:
        yield {"host": "127.0.0.1", "port": port, "host_key": host_key, "user": "office", "keys": keys}
