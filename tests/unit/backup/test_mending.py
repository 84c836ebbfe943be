"""Taking packets out, mending packs, restore drills."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
from typing import Any

import pytest

from ktpsync.backup import PacketFinder, backup_dates, drill, extract, repair
from ktpsync.errors import (
    ContainerError,
    DamagedBackupError,
    RestoreError,
    UnavailableError,
    UnknownPacketError,
)


@pytest.fixture
def filled(bench: Any) -> Any:
    """Return a repository with two snapshots of two packs with two packets each."""
    for number in range(2):
        bench.source.add_many(4, 1_500, first=10 * number)
        bench.backup(pack_size=4_000)
    return bench


def ids(bench: Any) -> list[str]:
    """Return the ids of all packets, oldest first."""
    return [str(change["packet"]) for change in bench.source.packets()]


def damage(bench: Any, pattern: str, number: int = 0) -> None:
    """Flip one bit in the first packet of a pack, or in an index."""
    path = bench.files(pattern)[number]
    data = bytearray(path.read_bytes())
    data[min(600, len(data) // 2)] ^= 4
    path.write_bytes(data)


def from_spool(bench: Any) -> Any:
    """Return the spool as a place of good copies."""
    return lambda packet_id: bench.spool().get(f"{packet_id}.age")


def contents(bench: Any) -> dict[str, bytes]:
    """Return all files of the repository."""
    return {str(path): path.read_bytes() for path in bench.files("**/*") if path.is_file()}


def test_extract_takes_single_packets_out_still_sealed(filled: Any, tmp_path: Any) -> None:
    """The files have the bytes of the packets."""
    wanted = ids(filled)[1::3]

    report = extract(filled.repository, wanted, tmp_path / "out")

    assert report.ok
    assert {f"{name}.age": filled.spool()[f"{name}.age"] for name in wanted} == {
        path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()
    }


def test_extract_overwrites_nothing_and_names_what_it_could_not_do(filled: Any, tmp_path: Any) -> None:
    """An existing file, a damaged packet and an unknown one: each is a line, the others come out."""
    damage(filled, "packs/*.tar")
    damaged, existing, good = ids(filled)[:3]
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
    (tmp_path / f"{existing}.age").write_bytes(b"mine")

    report = extract(filled.repository, [damaged, existing, unknown, good], tmp_path)

    assert [good] == list(report.written)
    assert 3 == len(report.problems)
    assert b"mine" == (tmp_path / f"{existing}.age").read_bytes()


def test_finder_reads_what_the_spool_let_go_of(filled: Any) -> None:
    """Offloaded packets come back verified, and a damaged one is never given out."""
    finder = PacketFinder(filled.repository)
    damage(filled, "packs/*.tar")
    damaged, good = ids(filled)[:2]

    whole = filled.spool()[f"{good}.age"]
    with finder.open(good, hashlib.sha256(whole).hexdigest()) as file:
        assert whole == file.read()
    with pytest.raises(DamagedBackupError, match=damaged):
        finder.open(damaged, hashlib.sha256(filled.spool()[f"{damaged}.age"]).hexdigest())
    with pytest.raises(UnknownPacketError):
        finder.open("01890a5d-ac96-774b-bcce-b302099a8057", "0" * 64)


@pytest.mark.parametrize("gone", [False, True])
def test_finder_believes_the_pack_where_its_index_is_damaged(filled: Any, gone: Any) -> None:
    """An offloaded packet is nowhere else: a small file beside its pack must not be all that is between it and the centre."""
    for number, path in enumerate(filled.files("packs/*.index.json")):
        if gone:
            path.unlink()
        else:
            damage(filled, "packs/*.index.json", number)
    finder = PacketFinder(filled.repository)

    for packet_id in ids(filled):
        whole = filled.spool()[f"{packet_id}.age"]
        assert whole == finder.read(packet_id, hashlib.sha256(whole).hexdigest())
        assert whole == finder.read(packet_id)
    with pytest.raises(UnknownPacketError):
        finder.read("01890a5d-ac96-774b-bcce-b302099a8057")


def test_finder_takes_a_disk_that_was_pulled_out_for_no_proof_that_it_holds_nothing(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while it asks the packs themselves; plugged in again, it gives what it holds."""
    for path in filled.files("packs/*.index.json"):
        path.unlink()
    finder, stored = PacketFinder(filled.repository), filled.storage.open

    class Gone(io.RawIOBase):
        def readinto(self, _: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(filled.storage, "open", lambda key: stored(key) if "index" in key else Gone())
        with pytest.raises(UnavailableError, match="went away"):
            finder.read(ids(filled)[0])

    assert filled.spool()[f"{ids(filled)[0]}.age"] == finder.read(ids(filled)[0])


def test_finder_refuses_bytes_of_another_digest(filled: Any) -> None:
    """What the outbox expects counts, not what a repository says of itself."""
    with pytest.raises(DamagedBackupError):
        PacketFinder(filled.repository).read(ids(filled)[0], "0" * 64)


@pytest.mark.parametrize("pattern", ["packs/*.tar", "packs/*.index.json"])
@pytest.mark.parametrize("gone", [False, True])
def test_repair_makes_a_pack_or_index_again_byte_for_byte(filled: Any, pattern: str, gone: Any) -> None:
    """After a repair the repository is what it was before the damage."""
    before = contents(filled)
    if gone:
        filled.files(pattern)[1].unlink()
    else:
        damage(filled, pattern, 1)

    report = repair(filled.repository, [from_spool(filled)])

    assert report.ok
    assert before == contents(filled)
    assert filled.verify().ok


def test_repair_of_a_good_repository_changes_nothing(filled: Any) -> None:
    """No pack is touched that is whole."""
    before = contents(filled)

    report = repair(filled.repository, [])

    assert ((), ()) == (report.repaired, report.unrepaired)
    assert before == contents(filled)


def test_repair_without_a_good_copy_names_what_it_lacks_and_changes_nothing(filled: Any) -> None:
    """A damaged pack is kept: what is still good in it is not thrown away."""
    damage(filled, "packs/*.tar")
    before = contents(filled)
    lost = ids(filled)[0]

    report = repair(filled.repository, [lambda _packet_id: b"something else", lambda _packet_id: None])

    assert [True] == [lost in line for line in report.unrepaired]
    assert before == contents(filled)


def test_a_manifest_that_cannot_be_read_is_put_aside_once_it_is_made_good(filled: Any) -> None:
    """Not before the packets that it named are in another snapshot; its bytes are kept."""
    filled.flip("snapshots/*.manifest.json", 100, number=-1)
    broken = filled.files("snapshots/*.manifest.json")[-1]
    name, bytes_left = broken.name, broken.read_bytes()

    before = repair(filled.repository, [from_spool(filled)], memory=filled.memory)
    assert [True] == [name in line and "Make a backup" in line for line in before.unrepaired]
    assert broken.exists()

    filled.backup()
    assert [f"snapshots/{name}"] == [problem.key for problem in filled.verify().problems]
    after = repair(filled.repository, [], memory=filled.memory)

    assert ((f"snapshots/{name}",), ()) == (after.repaired, after.unrepaired)
    assert bytes_left == (filled.files("damaged/snapshots/*.manifest.json")[0]).read_bytes()
    assert filled.verify().ok
    filled.restore(snapshot=filled.backup().head)
    assert filled.spool() == filled.restored()


def test_a_manifest_that_others_go_on_from_stays(filled: Any) -> None:
    """What is built on it would lose its chain: it goes on to be told as damage."""
    filled.flip("snapshots/*.manifest.json", 100)
    filled.backup()

    report = repair(filled.repository, [from_spool(filled)], memory=filled.memory)

    assert 1 == len(report.unrepaired)
    assert 2 == len(filled.files("snapshots/*.manifest.json"))


def test_a_repair_killed_between_its_steps_is_finished_by_the_next(filled: Any, monkeypatch: Any) -> None:
    """The copy put aside is used when the pack itself is gone."""
    before = contents(filled)
    damage(filled, "packs/*.tar")
    put = filled.storage.put

    def die(key: str, source: Any, **options: Any) -> Any:
        if not key.startswith("repair/"):
            raise KeyboardInterrupt
        return put(key, source, **options)

    monkeypatch.setattr(filled.storage, "put", die)
    with pytest.raises(KeyboardInterrupt):
        repair(filled.repository, [from_spool(filled)])
    monkeypatch.undo()

    assert repair(filled.repository, []).ok
    assert before == contents(filled)


def test_a_good_drill_is_remembered(filled: Any) -> None:
    """The date of the last drill is known, also while the disk is away."""
    report = drill(
        filled.repository,
        identities=[filled.identity],
        open_packet=lambda _packet_id, sealed: sealed,
        sample=3,
        memory=filled.memory,
        random=random.Random(4),
    )

    assert (True, 3, 3) == (report.ok, len(report.opened), len(set(report.opened)))
    assert backup_dates(filled.memory, filled.repository.uuid).last_drill_ms is not None


def test_a_drill_that_fails_names_the_packet_and_is_not_remembered(filled: Any) -> None:
    """A packet that does not open is a problem of the drill."""
    bad = ids(filled)[2]

    def open_packet(packet_id: str, _sealed: bytes) -> None:
        if packet_id == bad:
            raise ContainerError("not a packet")

    report = drill(
        filled.repository,
        identities=[filled.identity],
        open_packet=open_packet,
        sample=100,
        memory=filled.memory,
    )

    assert [True] == [bad in line for line in report.problems]
    assert 7 == len(report.opened)
    assert backup_dates(filled.memory, filled.repository.uuid).last_drill_ms is None


def test_a_drill_with_the_wrong_identity_fails(filled: Any) -> None:
    """A lost recovery key is noticed by the drill, not by the disaster."""
    from ktpsync import age

    report = drill(
        filled.repository,
        identities=[age.generate_identity("x25519")],
        open_packet=lambda _packet_id, sealed: sealed,
    )

    assert not report.ok


def test_a_drill_without_a_snapshot_says_so(bench: Any) -> None:
    """There is nothing to try before the first backup."""
    with pytest.raises(RestoreError, match="Make a backup first"):
        drill(bench.repository, identities=[], open_packet=lambda _packet_id, sealed: sealed)
