"""The backend keeps ktpsync's contract on a real server, and ktpsync finds it."""

import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ktpsync_webdav.backend import WebdavBackend, WebdavSettings

from ktpsync.errors import AuthError, ConfigError, UnavailableError
from ktpsync.plugins import BackendContext, Duration, PluginRegistry, Secret, read_settings
from ktpsync.testing import StorageContract, rclone_server


def connect(port, folder="", password="right", timeout=60):
    url = f"http://127.0.0.1:{port}/{folder}"
    settings = WebdavSettings(url=url, user="office", password=Secret(password), timeout=Duration(timeout))
    return WebdavBackend(settings, BackendContext(name="test"))


class TestWebdav(StorageContract):
    """Everything that a storage backend must do, inherited."""

    destination_name = "test"
    secret_texts = ("not the password",)

    @pytest.fixture
    def served_folder(self, served):
        """Return a new folder on the server."""
        folder = served / secrets.token_hex(4)
        folder.mkdir()
        return folder

    @pytest.fixture
    def backend(self, port, served_folder):
        """Return a backend connected to it."""
        with connect(port, served_folder.name) as backend:
            yield backend

    @pytest.fixture
    def through_line(self, port, served_folder):
        """Return the server's port, and what connects through another one."""
        return port, lambda other: connect(other, served_folder.name, timeout=2)

    @pytest.fixture
    def unreachable_backend(self):
        """Return a backend whose server does not listen."""
        with connect(9) as backend:
            yield backend

    @pytest.fixture
    def refused_backend(self, port):
        """Return a backend with a wrong password."""
        with connect(port, password="not the password") as backend:
            yield backend


def test_a_password_in_the_address_is_refused_without_showing_it():
    """It would be in every message."""
    table = {"url": "https://office:hush@cloud.example/", "user": "office", "password": "hush"}
    with pytest.raises(ConfigError, match="without user and password") as error:
        read_settings(WebdavSettings, table, where="[destinations.x]")

    assert "hush" not in str(error.value)


class LoginPage(BaseHTTPRequestHandler):
    """Answers everything with a page, as the network of a hotel does."""

    def do_PROPFIND(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><body>Log in</body></html>")

    def log_message(self, *_):
        pass


def test_a_login_page_is_no_empty_folder():
    """It may even be well-formed XML."""
    with HTTPServer(("127.0.0.1", 0), LoginPage) as portal:
        threading.Thread(target=portal.serve_forever, daemon=True).start()
        with connect(portal.server_port) as backend:
            for ask in (backend.check, lambda: list(backend.list("packs/")), lambda: backend.stat("a")):
                with pytest.raises(UnavailableError, match="perhaps a login page"):
                    ask()
        portal.shutdown()


def test_a_server_without_the_right_to_write_is_told(served):
    """It answers MKCOL as if the folder were there; a person must see to it before packets wait for ever."""
    with (
        rclone_server("webdav", served, "--read-only", "--user", "office", "--pass", "right") as port,
        connect(port) as backend,
        pytest.raises(AuthError, match=r"^test: .* does not let the folder .ktpsync-uploads be made"),
    ):
        backend.check()


def test_ktpsync_finds_the_backend():
    """The package is installed and announces what can be imported."""
    registry = PluginRegistry.load()

    assert WebdavSettings is registry.settings_class("webdav")
    assert WebdavBackend is registry.backend_class("webdav")
