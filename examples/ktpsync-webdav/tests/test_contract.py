"""The backend keeps ktpsync's contract on a real server, and ktpsync finds it."""

import secrets

import pytest
from ktpsync_webdav.backend import WebdavBackend, WebdavSettings

from ktpsync.plugins import BackendContext, PluginRegistry, Secret
from ktpsync.testing import StorageContract


def connect(url, password="right"):
    settings = WebdavSettings(url=url, user="office", password=Secret(password))
    return WebdavBackend(settings, BackendContext(name="test"))


class TestWebdav(StorageContract):
    """Everything that a storage backend must do, inherited."""

    @pytest.fixture
    def backend(self, server):
        """Return a backend connected to a new folder on the server."""
        folder = f"{server}/{secrets.token_hex(4)}/"
        with connect(folder) as backend:
            backend._ask("MKCOL", "")
            yield backend

    @pytest.fixture
    def unreachable_backend(self):
        """Return a backend whose server does not listen."""
        with connect("http://127.0.0.1:9/") as backend:
            yield backend

    @pytest.fixture
    def refused_backend(self, server):
        """Return a backend with a wrong password."""
        with connect(server, password="wrong") as backend:
            yield backend


def test_ktpsync_finds_the_backend():
    """The package is installed and announces what can be imported."""
    registry = PluginRegistry.load()

    assert WebdavSettings is registry.settings_class("webdav")
    assert WebdavBackend is registry.backend_class("webdav")
