"""A real SFTP server: rclone, out of a folder."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ktpsync.testing import rclone_server


def new_key(path):
    """Write a private key in OpenSSH's format and return the public one as text."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The settings that reach a server, which knows a password and a key."""
    folder = tmp_path_factory.mktemp("sftp")
    keys = tmp_path_factory.mktemp("keys")
    host_key, user_key = new_key(keys / "host"), new_key(keys / "user")
    (keys / "authorized").write_text(user_key + "\n")
    arguments = ("--user", "office", "--pass", "right", "--authorized-keys", keys / "authorized")
    with rclone_server("sftp", folder, *arguments, "--key", keys / "host") as port:
        yield {
            "host": "127.0.0.1",
            "port": port,
            "host_key": host_key,
            "user": "office",
            "keys": keys,
            "served": folder,
        }
