"""The backend keeps ktpsync's contract on a real server, and ktpsync finds it."""

import secrets

import pytest
from ktpsync_sftp.backend import SftpBackend, SftpSettings

from ktpsync.errors import AuthError, ConfigError, UnavailableError
from ktpsync.plugins import BackendContext, PluginRegistry, Secret, read_settings
from ktpsync.testing import StorageContract, made_up_packet


def connect(server, **changed):
    """Return a backend, with settings changed."""
    settings = {name: value for name, value in server.items() if name not in {"keys", "served"}}
    settings = {**settings, "password": Secret("right"), "folder": "/", **changed}
    return SftpBackend(SftpSettings(**settings), BackendContext(name="test"))


def new_folder(server):
    """Make an empty folder on the server and return its name."""
    name = f"/{secrets.token_hex(4)}"
    with connect(server) as backend, backend._connections.session() as session:
        session.mkdir(name)
    return name


class TestSftp(StorageContract):
    """Everything that a storage backend must do, inherited."""

    destination_name = "test"
    secret_texts = ("not the password",)

    @pytest.fixture
    def served_folder(self, server):
        """Return a new folder on the server, as it is on this machine."""
        return server["served"] / new_folder(server).strip("/")

    @pytest.fixture
    def backend(self, server, served_folder):
        """Return a backend connected to it."""
        with connect(server, folder=f"/{served_folder.name}") as backend:
            yield backend

    @pytest.fixture
    def through_line(self, server, served_folder):
        """Return the server's port, and what connects through another one."""

        def through(port):
            return connect(server, port=port, folder=f"/{served_folder.name}", timeout=2)

        return server["port"], through

    @pytest.fixture
    def unreachable_backend(self, server):
        """Return a backend whose server does not listen."""
        with connect(server, port=9) as backend:
            yield backend

    @pytest.fixture
    def refused_backend(self, server):
        """Return a backend with a wrong password."""
        with connect(server, password=Secret("not the password")) as backend:
            yield backend


def test_a_key_opens_the_server_too(server):
    """Where no password is wanted."""
    key = server["keys"] / "user"
    with connect(server, password=None, key_file=key, folder=new_folder(server)) as backend:
        packet = made_up_packet()

        assert packet.sha256 == backend.deliver(packet).sha256


def test_another_server_in_its_place_gets_nothing(server):
    """The host key in the settings is the only one that is believed."""
    with (
        connect(server, host_key=server["keys"].joinpath("authorized").read_text()) as backend,
        pytest.raises(AuthError, match="another host key"),
    ):
        backend.deliver(made_up_packet())


def test_a_missing_folder_is_told(server):
    """Nothing is made in the wrong place because of a typing error."""
    with (
        connect(server, folder="/not-there") as backend,
        pytest.raises(UnavailableError, match="there is no folder /not-there"),
    ):
        backend.check()


def test_a_connection_that_broke_is_made_anew(server):
    """The next packet finds its way again."""
    with connect(server, folder=new_folder(server)) as backend:
        backend.check()
        backend._connections._mine.client.get_transport().close()
        with pytest.raises(UnavailableError):
            backend.check()

        assert backend.check().summary


def test_settings_are_explained():
    """A host key that is none is told when the file is checked."""
    table = {"host": "h", "user": "u", "host_key": "AAAA"}
    with pytest.raises(ConfigError, match="ssh-keyscan prints it"):
        read_settings(SftpSettings, table, where="[destinations.x]")


def test_ktpsync_finds_the_backend():
    """The package is installed and announces what can be imported."""
    registry = PluginRegistry.load()

    assert SftpSettings is registry.settings_class("sftp")
    assert SftpBackend is registry.backend_class("sftp")
