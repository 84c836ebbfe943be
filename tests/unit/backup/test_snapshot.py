"""Making snapshots."""

from __future__ import annotations

import tarfile
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
import pytest

from ktpsync.backup import Repository, Retention, prune, verify
from ktpsync.backup._sending import PackSender
from ktpsync.errors import RepositoryError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_backup_then_restore_gives_the_same_bytes_and_state(bench: Any) -> None:
    """Every packet and every change of state comes back."""
    for seed in range(10):
        bench.source.add(3000 + seed, seed=seed)

    made = bench.backup(pack_size=10_000)
    target = bench.target()
    report = bench.restore(target)

    assert (True, 10, 4) == (made.ok, made.packets, made.totals.packs)
    assert (True, 10) == (report.ok, len(report.packet_ids))
    assert bench.spool() == bench.restored()
    assert bench.source.packets() == target.records


def test_a_second_backup_stores_only_what_is_new(bench: Any) -> None:
    """A delta names one pack and holds one change; the chain restores both."""
    bench.source.add_many(20, 50_000)
    bench.backup()
    bench.storage.puts.clear()

    bench.source.add(2_000, seed=99)
    made = bench.backup()
    written = sum(size for _, size in bench.storage.puts)
    target = bench.target()
    report = bench.restore(target)

    assert (1, 21) == (made.packets, made.totals.packets)
    assert made.bytes_written == written < 20_000
    assert report.ok
    assert bench.spool() == bench.restored()
    assert bench.source.packets() == target.records


def test_a_backup_with_nothing_new_writes_nothing(bench: Any) -> None:
    """No new packet and no change: no new snapshot."""
    bench.source.add(100, seed=1)
    first = bench.backup()
    bench.storage.puts.clear()

    second = bench.backup()

    assert ((), first.head, []) == (second.snapshots, second.head, bench.storage.puts)


def test_a_change_of_state_alone_makes_a_snapshot(bench: Any) -> None:
    """Receipts and statuses are backed up even when no packet is new."""
    packet = bench.source.add(100, seed=1)
    bench.backup()

    bench.source.change(packet, "delivered")
    made = bench.backup()
    target = bench.target()
    bench.restore(target)

    assert (1, 0) == (len(made.snapshots), made.packets)
    assert {"packet": packet, "state": "delivered"} == target.records[-1]


def test_a_long_backup_commits_snapshots_on_its_way(bench: Any) -> None:
    """What is complete counts: a first backup of days is of use before it has ended."""
    bench.source.add_many(10, 1_000)

    made = bench.backup(pack_size=2_000, snapshot_size=6_000)

    manifests = [bench.repository.snapshot(name).manifest for name in made.snapshots]
    assert [False, False, True] == [manifest.complete for manifest in manifests]
    assert verify(bench.repository, memory=bench.memory).ok


def watch(bench: Any, monkeypatch: pytest.MonkeyPatch, before: Callable[[str, int], None]) -> None:
    """Have something called with "open" and the number of a packet as it is read, and with "put" and that of a pack."""
    uncopied, put = bench.source.uncopied, bench.storage.put
    opened, stored = set[str](), set[str]()

    def counted(packet: Any) -> BinaryIO:
        opened.add(packet.packet_id)
        before("open", len(opened))
        file: BinaryIO = packet.open()
        return file

    def watched(target: str) -> Any:
        for packet in uncopied(target):
            yield attrs.evolve(packet, opener=lambda packet=packet: counted(packet))

    def noted(key: str, source: BinaryIO, **options: Any) -> Any:
        if key.endswith(".tar"):
            stored.add(key)
            before("put", len(stored))
        return put(key, source, **options)

    monkeypatch.setattr(bench.source, "uncopied", watched)
    monkeypatch.setattr(bench.storage, "put", noted)


def test_packs_are_named_in_order_whichever_is_ready_first(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack whose packets are slow to read is overtaken; the manifest still lists the oldest packets first."""
    packets = bench.source.add_many(8, 1_000)
    overtaken = threading.Event()

    def first_is_slow(what: str, number: int) -> None:
        if what == "put":
            overtaken.set()
        elif number == 1:
            assert overtaken.wait(60)

    watch(bench, monkeypatch, first_is_slow)
    made = bench.backup(pack_size=1)

    packs = bench.repository.snapshot(made.head).manifest.packs
    assert packets == [bench.repository.index(pack).packets[0].packet_id for pack in packs]
    assert tuple(pack.name for pack in packs) == made.packs
    assert bench.verify().ok


def test_a_backup_holds_no_more_than_three_packs_in_memory(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not yet stored stays bounded, one is written at a time, beside indexes, and all of them arrive whole."""
    for seed in range(30):
        bench.source.add(1_000 + seed, seed=seed)
    put, writing = bench.storage.put, threading.Lock()
    stored, held = list[str](), list[int]()

    def alone(key: str, source: BinaryIO, **options: Any) -> Any:
        if not key.endswith(".tar"):
            made = put(key, source, **options)
            if key.endswith(".index.json"):
                stored.append(key)
            return made
        assert writing.acquire(blocking=False)
        try:
            return put(key, source, **options)
        finally:
            writing.release()

    def count(what: str, number: int) -> None:
        if what == "open":
            held.append(number - len(stored))

    monkeypatch.setattr(bench.storage, "put", alone)
    watch(bench, monkeypatch, count)
    bench.backup(pack_size=1)

    assert max(held) <= 3
    bench.restore()
    assert bench.spool() == bench.restored()


def test_a_disk_that_fails_in_the_middle_ends_the_backup_with_its_own_error(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes on in the background, and the next run sends only what had not arrived."""
    bench.source.add_many(10, 1_000)

    def fail_at_third(what: str, number: int) -> None:
        if what == "put" and number >= 3:
            raise UnavailableError("The disk was pulled out.")

    with monkeypatch.context() as broken:
        watch(bench, broken, fail_at_third)
        with pytest.raises(UnavailableError, match="pulled out"):
            bench.backup(pack_size=1)
    assert [] == [t.name for t in threading.enumerate() if t.name.startswith("ktpsync-backup")]
    bench.storage.puts.clear()

    made = bench.backup(pack_size=1)

    assert 8 == sum(1 for key, _ in bench.storage.puts if key.endswith(".tar"))
    assert 10 == made.totals.packets
    assert bench.verify().ok


def test_an_interrupted_backup_ends_with_the_pack_that_is_being_written(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C does not wait for packs that were built meanwhile; the next run sends them."""
    bench.source.add_many(3, 1_000)
    uncopied, put, stop = bench.source.uncopied, bench.storage.put, PackSender.stop
    writing, stopped = threading.Event(), threading.Event()

    def interrupted(target: str) -> Any:
        yield from uncopied(target)
        assert writing.wait(60)
        raise KeyboardInterrupt

    def slow(key: str, source: BinaryIO, **options: Any) -> Any:
        if key.startswith("packs/"):
            writing.set()
            assert stopped.wait(60)
        return put(key, source, **options)

    def told(sender: PackSender) -> None:
        stop(sender)
        stopped.set()

    with monkeypatch.context() as patched:
        patched.setattr(bench.source, "lacking", lambda _target: (3, 3_000))
        patched.setattr(bench.source, "uncopied", interrupted)
        patched.setattr(bench.storage, "put", slow)
        patched.setattr(PackSender, "stop", told)
        with pytest.raises(KeyboardInterrupt):
            bench.backup(pack_size=1)
    packs = len(bench.files("packs/*.tar"))
    made = bench.backup(pack_size=1)

    assert (1, 3) == (packs, made.totals.packets)
    assert bench.verify().ok


def test_packets_that_are_all_damaged_make_no_snapshot_again_and_again(bench: Any) -> None:
    """What could not be copied is told at each run, but a run that has nothing to commit commits nothing."""
    bench.source.add(500, seed=1)
    bad = bench.source.add(500, seed=2)
    (bench.folder / "spool" / f"{bad}.age").write_bytes(b"rotten")
    bench.backup()

    again = bench.backup()

    assert ((), 1) == (again.snapshots, len(again.damaged))


def test_a_damaged_packet_is_named_and_stops_nothing(bench: Any) -> None:
    """The bytes of a packet that rotted in the spool are not backed up as if they were good."""
    good = bench.source.add(500, seed=1)
    bad = bench.source.add(500, seed=2)
    (bench.folder / "spool" / f"{bad}.age").write_bytes(b"rotten")

    made = bench.backup()
    report = bench.restore()

    assert not made.ok
    assert [bad in line for line in made.damaged] == [True]
    assert (good,) == report.packet_ids


def test_packs_are_plain_tar_files_with_a_digest_list(bench: Any) -> None:
    """Ordinary tools can read a pack."""
    packet = bench.source.add(700, seed=1)
    bench.backup()

    (pack,) = bench.files("packs/*.tar")
    with tarfile.open(pack) as archive:
        names = archive.getnames()
        listing = archive.extractfile(names[1]).read().decode()

    assert [f"{packet}.age", f"{pack.stem}.sha256"] == names
    assert f"{bench.source.packets()[0]['sha256']}  {packet}.age\n" == listing


def test_a_second_repository_in_one_place_is_refused(bench: Any) -> None:
    """Creating never overwrites."""
    with pytest.raises(RepositoryError, match="already"):
        Repository.create(bench.storage, recipients=[str(bench.identity.recipient)])


def test_another_repository_than_the_expected_one_is_refused(bench: Any) -> None:
    """A disk that took the right one's place is noticed."""
    with pytest.raises(RepositoryError, match="another disk"):
        Repository.open(bench.storage, expected="0b7a3f0e-0000-4000-8000-000000000000")


def test_a_newer_format_is_refused_with_a_sentence(bench: Any) -> None:
    """A reader of version 1 does not guess what version 2 means."""
    marker = bench.folder / "disk" / "ktpsync-repository.json"
    marker.write_text(marker.read_text().replace('"version": 1', '"version": 2'))

    with pytest.raises(RepositoryError, match="Install a newer ktpsync"):
        Repository.open(bench.storage)


def test_a_place_without_marker_is_refused(bench: Any) -> None:
    """An empty mount point is not a repository."""
    (bench.folder / "disk" / "ktpsync-repository.json").unlink()

    with pytest.raises(RepositoryError, match="Plug in the right disk; the first"):
        Repository.open(bench.storage)
    with pytest.raises(RepositoryError, match="lost or broken disk gets a name of its own"):
        Repository.open(bench.storage, expected="0b6f9c1e-7d0a-4a55-9a43-2f8f5f0f7d11")


def write_a_newer_head(bench: Any) -> None:
    """The newest manifest is of version 2, rightly signed."""
    path = bench.files("snapshots/*.manifest.json")[-1]
    data = path.read_bytes().replace(b'"version": 1', b'"version": 2')
    path.write_bytes(data)
    path.with_name(f"{path.name}.sig").write_bytes(bench.station.sign(data))


def test_a_newer_snapshot_is_refused_by_everything_that_would_go_on(bench: Any) -> None:
    """Backup, prune and restore stop with a sentence instead of going on with an older state; verify names it."""
    bench.source.add(100, seed=1)
    bench.backup()
    bench.source.add(100, seed=2)
    bench.backup()
    write_a_newer_head(bench)
    policy = Retention(last=1, daily=0, weekly=0, monthly=0)

    for act in (
        bench.backup,
        bench.restore,
        lambda: prune(
            bench.source, bench.repository, station=bench.station, memory=bench.memory, retention=policy
        ),
    ):
        with pytest.raises(RepositoryError, match="Install a newer ktpsync"):
            act()
    assert "Install a newer ktpsync" in str(bench.verify().problems[0])
