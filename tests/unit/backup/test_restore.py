"""Getting packets back: several packs at a time, and all the same each packet once and in its newest good copy."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from ktpsync.backup._fetching import PacketFetcher
from ktpsync.errors import StationFullError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def twice(bench: Any) -> Any:
    """A repository whose two packs hold the same packet, sealed anew for the second."""
    bench.packet = bench.source.add(2_000, seed=1)
    bench.backup()
    bench.path = bench.folder / "spool" / f"{bench.packet}.age"
    bench.older, bench.newer = bench.path.read_bytes(), random.Random(2).randbytes(2_000)
    bench.path.write_bytes(bench.newer)
    bench.source.changes[0]["sha256"] = hashlib.sha256(bench.newer).hexdigest()
    for held in bench.source.held.values():
        held.clear()
    bench.source.add(100, seed=3)
    bench.backup()
    return bench


def packed(bench: Any, count: int, *, pack_size: int) -> tuple[Any, Callable[[str, bytes], None]]:
    """Back up small packets; return a place to restore them to, and what stores a packet there."""
    bench.source.add_many(count, 1_000)
    bench.backup(pack_size=pack_size)
    target = bench.target()
    return target, target.add_packet


def test_of_a_packet_in_two_packs_the_newer_copy_comes_back(
    twice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the newer pack takes to be read: the older one is not copied over it, nor besides."""
    opened, older_opened = list[str](), threading.Event()
    older, newer = (f"packs/{path.name}" for path in twice.files("packs/*.tar"))
    storage_open = twice.storage.open

    def slow(key: str) -> BinaryIO:
        if key == newer:
            # Long enough for a restore that does not wait, and nothing to wait for where it does.
            older_opened.wait(0.5)
        elif key == older:
            older_opened.set()
        opened.append(key)
        file: BinaryIO = storage_open(key)
        return file

    monkeypatch.setattr(twice.storage, "open", slow)
    report = twice.restore()

    assert report.ok
    assert older not in opened
    assert twice.newer == twice.restored()[twice.path.name]
    assert hashlib.sha256(twice.newer).hexdigest() == report.digests[twice.packet]


def test_where_the_newer_copy_is_damaged_the_older_one_comes_back(twice: Any) -> None:
    """What is good of a packet is not left behind because something newer was to be there."""
    twice.flip("packs/*.tar", 1_000, number=1)

    report = twice.restore()

    assert twice.older == twice.restored()[twice.path.name]
    assert ((), False) == (report.damaged, report.ok)
    assert hashlib.sha256(twice.older).hexdigest() == report.digests[twice.packet]


def test_a_station_that_runs_full_in_the_middle_ends_the_restore_with_its_own_error(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes on in the background, no state is taken over, and the next try goes on from there."""
    target, add_packet = packed(bench, 8, pack_size=1)

    def full_at_third(packet_id: str, sealed: bytes) -> None:
        if len(target.added) >= 3:
            raise StationFullError("The disk of the spool is full.")
        add_packet(packet_id, sealed)

    monkeypatch.setattr(target, "add_packet", full_at_third)
    with pytest.raises(StationFullError, match="full"):
        bench.restore(target)
    assert [] == [t.name for t in threading.enumerate() if t.name.startswith("ktpsync-restore")]
    assert [] == target.records
    monkeypatch.undo()

    report = bench.restore(target)

    assert (True, 8) == (report.ok, len(report.packet_ids))
    assert 8 == len(target.added)
    assert bench.spool() == bench.restored()


class _BadSector(io.BytesIO):
    """A file on a disk that cannot read the sector with the second packet's header."""

    def read(self, size: int | None = -1, /) -> bytes:
        place, data = self.tell(), super().read(size)
        if place < 12_288 and place + len(data) > 8_192:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


@pytest.mark.parametrize("unreadable", [False, True], ids=["a flipped bit", "a sector that cannot be read"])
def test_a_damaged_header_in_a_pack_without_its_index_costs_no_other_packet(
    bench: Any, monkeypatch: pytest.MonkeyPatch, *, unreadable: bool
) -> None:
    """What can still be found from header to header comes back, as with tar by hand."""
    packets = bench.source.add_many(3, 9_728)
    bench.backup()
    (index,) = bench.files("packs/*.index.json")
    index.unlink()
    bench.flip("packs/*.tar", 10_240)
    stored = bench.storage.open

    def open_bad(key: str) -> BinaryIO:
        with stored(key) as file:
            return _BadSector(file.read())

    if unreadable:
        monkeypatch.setattr(bench.storage, "open", open_bad)

    report = bench.restore()

    # The sector begins in the first packet.
    whole = packets[2:] if unreadable else [packets[0], packets[2]]
    assert sorted(whole) == sorted(report.packet_ids)
    assert {f"{packet_id}.age" for packet_id in whole} == set(bench.restored())
    assert not report.ok


def test_a_restore_reads_no_more_than_two_packs_at_a_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each there is one packet in memory, however many there are; progress counts what is done."""
    target, add_packet = packed(bench, 20, pack_size=2_000)
    busy, most = set[int](), list[int]()

    def counted(packet_id: str, sealed: bytes) -> None:
        busy.add(threading.get_ident())
        most.append(len(busy))
        add_packet(packet_id, sealed)
        busy.discard(threading.get_ident())

    monkeypatch.setattr(target, "add_packet", counted)
    said: list[Any] = []
    report = bench.restore(target, progress=said.append)

    assert report.ok
    assert max(most) <= 2
    assert [2 * number for number in range(1, 11)] == [progress.packets_done for progress in said]
    assert bench.spool() == bench.restored()


def test_an_interrupted_restore_ends_with_the_packets_that_are_being_written(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C does not wait for whole packs; the next try goes on from there."""
    target, add_packet = packed(bench, 30, pack_size=15_000)
    finish, stop = PacketFetcher._finish_all_but, PacketFetcher.stop
    waited = threading.Event()

    def slow(packet_id: str, sealed: bytes) -> None:
        assert waited.wait(60)
        add_packet(packet_id, sealed)

    def told(fetcher: PacketFetcher) -> None:
        stop(fetcher)
        waited.set()

    def interrupted(fetcher: PacketFetcher, count: int) -> None:
        if len(fetcher._copying) == 2:
            raise KeyboardInterrupt
        finish(fetcher, count)

    with monkeypatch.context() as patched:
        patched.setattr(target, "add_packet", slow)
        patched.setattr(PacketFetcher, "stop", told)
        patched.setattr(PacketFetcher, "_finish_all_but", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.restore(target)

    assert len(target.added) <= 2
    assert bench.restore(target).ok
    assert bench.spool() == bench.restored()
