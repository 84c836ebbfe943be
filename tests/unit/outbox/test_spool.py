"""What every spool does, in a folder and in storage."""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.backends.disk import init_disk
from ktpsync.errors import (
    DigestError,
    SpoolError,
    SpoolUnavailableError,
    UnavailableError,
)
from ktpsync.outbox import FolderSpool, Outbox, StorageSpool, Submission
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, PluginRegistry, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.outbox._spool import Spool

SEALED = b"sealed bytes"
SHA256 = hashlib.sha256(SEALED).hexdigest()
KINDS = ["folder", "storage"]


def storage_in(folder: Path) -> StorageBackend:
    """Return storage in a folder; it is a disk's, which does what any other storage does."""
    init_disk(folder)
    made = PluginRegistry.load().make(
        "disk", {"path": str(folder)}, BackendContext(name="spool"), where="[spool]", base=folder
    )
    assert isinstance(made, StorageBackend)
    return made


def make(kind: str, tmp_path: Path) -> Spool:
    """Make a spool of one kind, always in the same place."""
    if kind == "folder":
        return FolderSpool(tmp_path / "spool")
    return StorageSpool(storage_in(tmp_path / "storage"), tmp_path / "fetched", place="the test")


def file_of(kind: str, tmp_path: Path, packet_id: str) -> Path:
    """Return where the bytes of a packet are."""
    folder = "spool" if kind == "folder" else "storage/spool"
    return tmp_path / folder / packet_id[-2:] / f"{packet_id}.age"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each test runs on both kinds."""
    return str(request.param)


@pytest.fixture
def spool(kind: str, tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    spool = make(kind, tmp_path)
    yield spool
    spool.close()


def stored(spool: Spool) -> Any:
    """Store a packet and return it."""
    packet_id = new_packet_id()
    spool.write(packet_id, SEALED, SHA256)
    return spool.packet(packet_id, SHA256, len(SEALED))


def test_what_is_written_is_read(spool: Spool) -> None:
    """The bytes come back, as often as wanted, also while they are at hand."""
    packet = stored(spool)
    with spool.at_hand(packet) as here, here.open() as one, here.open() as two:
        assert (SEALED, SEALED) == (one.read(), two.read())
    with packet.open() as file:
        assert SEALED == file.read()
        file.seek(3)
        assert SEALED[3:] == file.read()
    assert SEALED == spool.read(packet.packet_id)
    assert spool.glance(packet)
    spool.verify(packet)


def test_wrong_bytes_are_not_stored(spool: Spool) -> None:
    """Bytes that differ from their digest are refused."""
    packet_id = new_packet_id()
    with pytest.raises(DigestError, match=packet_id):
        spool.write(packet_id, b"other", SHA256)
    assert [packet_id] == spool.lacking([packet_id])
    assert spool.read(packet_id) is None


def test_an_id_is_taken_once(spool: Spool) -> None:
    """Other bytes under a taken id are refused, singly and in a batch; the first ones stay."""
    packet = stored(spool)
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(FileExistsError):
        spool.write(packet.packet_id, b"other", other)
    with pytest.raises(FileExistsError):
        spool.write_many({packet.packet_id: b"other", new_packet_id(): b"more"})
    assert SEALED == spool.read(packet.packet_id)


def test_many_are_stored_listed_and_removed(spool: Spool) -> None:
    """All have their bytes, each is listed once, and what is removed is gone; removing it again is no error."""
    sealed = {new_packet_id(): b"%d" % number for number in range(20)}
    spool.write_many(sealed)
    assert sealed.keys() == {packet_id for page in spool.pages(7) for packet_id in page}
    gone = next(iter(sealed))
    spool.discard(gone)
    spool.discard(gone)
    assert [gone] == spool.lacking(sealed)
    assert list(sealed.values())[1:] == [spool.read(packet_id) for packet_id in list(sealed)[1:]]


def test_age_of_what_is_stored(spool: Spool) -> None:
    """What was written before a moment is told from what was not."""
    packet = stored(spool)
    now_ms = datetime.now(UTC).timestamp() * 1000
    assert [packet.packet_id] == list(spool.old_files(round(now_ms) + 3_600_000))
    assert [] == list(spool.old_files(round(now_ms) - 3_600_000))


@pytest.mark.parametrize("damage", [b"sealed BYTES", b"sealed"])
def test_damage_is_noticed_before_a_byte_is_sent(
    spool: Spool, kind: str, tmp_path: Path, damage: bytes
) -> None:
    """A packet whose bytes were changed or cut short is named, and left as it is."""
    packet = stored(spool)
    file_of(kind, tmp_path, packet.packet_id).write_bytes(damage)
    with pytest.raises(SpoolError, match=f"(?s){packet.packet_id}.*damaged"):
        read_as_couriers_do(spool, packet)
    assert damage == spool.read(packet.packet_id)


def read_as_couriers_do(spool: Spool, packet: Any) -> None:
    """Take it at hand and look again when it was refused."""
    with spool.at_hand(packet) as here:
        spool.verify(here)


def test_a_missing_packet_is_named(spool: Spool) -> None:
    """The message says which one, and what to do."""
    packet = stored(spool)
    spool.discard(packet.packet_id)
    with pytest.raises(SpoolError, match=f"{packet.packet_id}.* not in the spool"), spool.at_hand(packet):
        pass
    with pytest.raises(SpoolError, match=packet.packet_id):
        spool.glance(packet)


def test_an_offloaded_packet_comes_from_a_backup(spool: Spool, tmp_path: Path) -> None:
    """Where a backup is at hand it is read instead; what keeps it away comes through as it is."""
    packet = stored(spool)
    spool.discard(packet.packet_id)
    copy = tmp_path / "copy"
    copy.write_bytes(SEALED)
    spool.fetch = lambda _packet_id, _sha256: copy.open("rb")
    assert not spool.glance(packet)
    with spool.at_hand(packet) as here, here.open() as file:
        assert SEALED == file.read()

    def away(packet_id: str, _sha256: str) -> Any:
        raise UnavailableError(f"plug in the disk that holds {packet_id}")

    spool.fetch = away
    with pytest.raises(UnavailableError, match="plug in"), spool.at_hand(packet):
        pass


def test_copies_from_storage_are_private_and_go_again(tmp_path: Path) -> None:
    """Nobody else can read them, and nothing is left of them, not even when the work on them fails."""
    spool = make("storage", tmp_path)
    packet = stored(spool)

    def fail() -> None:
        with spool.at_hand(packet):
            (copy,) = (tmp_path / "fetched").iterdir()
            if sys.platform != "win32":
                assert 0o600 == stat.S_IMODE(copy.stat().st_mode)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [] == list((tmp_path / "fetched").iterdir())


def outbox_in(tmp_path: Path, name: str, spool: Spool) -> Outbox:
    """Open an outbox with a database of its own."""
    return Outbox.open(tmp_path / f"{name}.db", spool)


def test_storage_belongs_to_one_outbox(tmp_path: Path) -> None:
    """Packets of two outboxes never mix, whichever of them comes first."""
    item = Submission(sealed=SEALED, packet_id=new_packet_id(), sha256=SHA256)
    with (
        outbox_in(tmp_path, "one", make("storage", tmp_path)) as one,
        outbox_in(tmp_path, "two", make("storage", tmp_path)) as two,
    ):
        one.submit_many([item])
        with pytest.raises(SpoolUnavailableError, match=r"another outbox\. Nothing was recorded"):
            two.submit_many(
                [Submission(sealed=b"x", packet_id=new_packet_id(), sha256=hashlib.sha256(b"x").hexdigest())]
            )
        assert [] == list(two.packets())


def test_another_place_by_mistake_is_noticed(tmp_path: Path) -> None:
    """Where the configuration leads to an empty place, nothing is recorded there and nothing seems to be damaged."""
    with outbox_in(tmp_path, "one", make("storage", tmp_path)) as outbox:
        packet = outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet
    elsewhere = StorageSpool(storage_in(tmp_path / "other"), tmp_path / "fetched", place="another bucket")
    with outbox_in(tmp_path, "one", elsewhere) as outbox:
        with pytest.raises(SpoolUnavailableError, match="another bucket does not hold this outbox's packets"):
            outbox.submit(b"x", packet_id=new_packet_id(), sha256=hashlib.sha256(b"x").hexdigest())
        with pytest.raises(SpoolUnavailableError, match="same place"), outbox.spool.at_hand(packet):
            pass
        assert 1 == len(list(outbox.packets()))


def test_a_spool_that_was_copied_is_taken(tmp_path: Path) -> None:
    """An outbox can move from a folder into storage and back: its newest packet is there."""
    with outbox_in(tmp_path, "one", make("folder", tmp_path)) as outbox:
        packet = outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet
    storage = make("storage", tmp_path)
    shutil.copytree(tmp_path / "spool", tmp_path / "storage" / "spool")
    with outbox_in(tmp_path, "one", storage) as outbox:
        outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256)
        with outbox.spool.at_hand(packet) as here, here.open() as file:
            assert SEALED == file.read()
        assert () == outbox.examine(read=True).problems


def test_a_bucket_that_is_lost(tmp_path: Path) -> None:
    """A new one is taken when a person says so, and the packets can be put back into it; another outbox's never is."""
    with outbox_in(tmp_path, "one", make("storage", tmp_path)) as outbox:
        packet = outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet
    elsewhere = StorageSpool(storage_in(tmp_path / "other"), tmp_path / "fetched", place="another bucket")
    with outbox_in(tmp_path, "one", elsewhere) as outbox:
        with pytest.raises(SpoolUnavailableError, match="doctor --repair --new-spool"):
            list(outbox.suspects())
        outbox.adopt_spool(who="budi", why="the storage burnt down")
        (suspect,) = outbox.suspects()
        assert "missing" == suspect.why
        outbox.put_back(packet.packet_id, SEALED, source="usb", who="budi", why="the storage burnt down")
        assert () == outbox.examine(read=True).problems
        assert ["spool-replaced", "mended"] == [entry.event for entry in outbox.audit.entries()][-2:]
    outbox_in(tmp_path, "two", make("folder", tmp_path)).close()
    foreign = StorageSpool(storage_in(tmp_path / "other"), tmp_path / "fetched", place="another bucket")
    with (
        outbox_in(tmp_path, "two", foreign) as two,
        pytest.raises(SpoolUnavailableError, match="belongs to another outbox"),
    ):
        two.adopt_spool(who="budi", why="by mistake")


@pytest.mark.skipif(sys.platform == "win32", reason="the guide's lines are for a shell")
def test_packets_with_digests_in_their_names_move_to_a_folder(tmp_path: Path) -> None:
    """What the guide says brings packets that were rewrapped or repaired in storage into a folder."""
    with outbox_in(tmp_path, "one", make("storage", tmp_path)) as outbox:
        for _ in range(3):
            outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256)
        outbox.rewrap(lambda sealed: sealed + b" again", to="others", who="budi")
        outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256)
    shutil.copytree(tmp_path / "storage" / "spool", tmp_path / "data" / "spool")
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "share-an-outbox.md"
    lines = guide.read_text(encoding="utf-8").partition("```sh\n")[2].partition("```")[0]
    subprocess.run(["sh", "-e", "-c", lines], cwd=tmp_path, check=True)
    with Outbox.open(tmp_path / "one.db", tmp_path / "data" / "spool") as outbox:
        found = outbox.examine(read=True)
    assert (4, (), ()) == (found.packets, found.problems, found.notices)


def test_of_many_that_claim_an_empty_place_one_gets_it(kind: str, tmp_path: Path) -> None:
    """Machines of one outbox that start together agree; those of another are refused."""
    spools = [make(kind, tmp_path) for _ in range(8)]

    def write(spool: Spool) -> bool:
        outbox_id = f"outbox {spools.index(spool) % 2}"
        spool.claim(outbox_id, recent=list, locate=lambda _packet_id: None)
        try:
            stored(spool)
        except SpoolUnavailableError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(write, spools))
    assert got in ([True, False] * 4, [False, True] * 4)


def test_storage_is_tidied_of_what_was_purged_only(tmp_path: Path) -> None:
    """Bytes that a crash left after their purge go; those without a row stay, for nothing shows an older database."""
    with outbox_in(tmp_path, "one", make("storage", tmp_path)) as outbox:
        purged, kept = (
            outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet_id for _ in range(2)
        )
        with outbox._database.write() as connection:
            purge = outbox._database.sql(
                "UPDATE ktpsync_packet SET location = 'purged' WHERE packet_id = :id"
            )
            connection.execute(purge, {"id": purged})
        unknown = new_packet_id()
        outbox.spool.write(unknown, SEALED, SHA256)
        outbox._orphans._clock = Later()  # type: ignore[assignment]
        outbox._storage._clock = Later()  # type: ignore[assignment]
        assert 1 == outbox.collect_orphans()
        assert [purged] == outbox.spool.lacking([purged, kept, unknown])
        assert any("left where they are" in notice for notice in later(outbox).notices)


class Later:
    """A clock two days ahead."""

    def now_ms(self) -> int:
        """Two days from now."""
        return round(datetime.now(UTC).timestamp() * 1000) + 2 * 86_400_000


def later(outbox: Outbox) -> Any:
    """Examine an outbox two days from now."""
    outbox._clock = Later()  # type: ignore[assignment]
    return outbox.examine()


def test_examining_an_outbox_in_storage(tmp_path: Path) -> None:
    """The doctor finds missing and damaged packets there as well."""
    with outbox_in(tmp_path, "one", make("storage", tmp_path)) as outbox:
        whole, damaged, missing = (
            outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet_id for _ in range(3)
        )
        file_of("storage", tmp_path, damaged).write_bytes(SEALED.upper())
        outbox.spool.discard(missing)
        problems = outbox.examine(read=True).problems
    assert 2 == len(problems)
    assert [True, True] == [any(one in problem for problem in problems) for one in (damaged, missing)]
    assert not any(whole in problem for problem in problems)
