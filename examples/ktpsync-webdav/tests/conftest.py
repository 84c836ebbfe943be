"""A real WebDAV server: rclone, out of a folder."""

import pytest

from ktpsync.testing import rclone_server


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The folder that is served."""
    return tmp_path_factory.mktemp("webdav")


@pytest.fixture(scope="session")
def port(served):
    """The port of a server on 127.0.0.1."""
    with rclone_server("webdav", served, "--user", "office", "--pass", "right") as port:
        yield port
