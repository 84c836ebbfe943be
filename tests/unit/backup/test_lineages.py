"""Several stations, old data directories, interrupted runs, samples."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from ktpsync.backup import Retention, backup, backup_dates, heads, prune, verify
from ktpsync.backup._run import SnapshotRun
from ktpsync.errors import BackupError, BackupInUseError, DamagedBackupError, RestoreError, UnavailableError
from ktpsync.keys import StationKey


def fill(bench: Any, count: int, *, first: int = 0) -> None:
    """Record packets."""
    bench.source.add_many(count, 1_500, first=first)


def test_two_stations_share_one_repository(bench: Any) -> None:
    """Each has a lineage of its own; neither is a problem for the other."""
    fill(bench, 2)
    bench.backup()
    other = StationKey.generate()
    backup(bench.source, bench.repository, station=other, memory=bench.folder / "other")
    fill(bench, 1, first=10)
    made = bench.backup()

    report = bench.verify()

    assert ((), (), 1) == (made.warnings, report.problems, len(report.notes))
    assert other.public.key_id in report.notes[0]
    assert 2 == len(heads(bench.repository))


def test_a_restore_asks_which_station_is_meant(bench: Any) -> None:
    """Where several lineages are, none is guessed."""
    fill(bench, 1)
    bench.backup()
    backup(bench.source, bench.repository, station=StationKey.generate(), memory=bench.folder / "other")
    newest = heads(bench.repository)[-1].ref.name

    with pytest.raises(RestoreError, match=newest):
        bench.restore()

    assert bench.restore(snapshot=newest).ok


def test_an_old_copy_of_the_data_directory_does_not_disturb_newer_snapshots(bench: Any) -> None:
    """It begins a lineage of its own, copies everything again and says why."""
    fill(bench, 2)
    bench.backup()
    shutil.copytree(bench.memory, bench.folder / "old")
    fill(bench, 1, first=10)
    newest = bench.backup().head

    made = backup(bench.source, bench.repository, station=bench.station, memory=bench.folder / "old")

    assert (3, 1) == (made.packets, len(made.warnings))
    assert "older copy" in made.warnings[0]
    assert newest in {head.ref.name for head in heads(bench.repository)}
    assert verify(bench.repository).ok


def test_two_living_copies_of_a_station_never_go_on_from_the_same_snapshot(bench: Any) -> None:
    """The other one commits while this one still sends: this one stops, and begins a lineage of its own then."""
    fill(bench, 2)
    bench.backup()
    shutil.copytree(bench.memory, bench.folder / "other")
    fill(bench, 1, first=10)
    export = bench.source.export

    def other_is_faster(after: int = 0) -> Any:
        bench.source.export = export
        fill(bench, 1, first=20)
        backup(bench.source, bench.repository, station=bench.station, memory=bench.folder / "other")
        bench.source.held = {target: {} for target in bench.source.held}  # they have an outbox each
        return export(after)

    bench.source.export = other_is_faster
    with pytest.raises(BackupError, match="second machine"):
        bench.backup()
    made = bench.backup()

    assert "older copy" in made.warnings[0]
    assert [1, 2] == sorted(len(bench.repository.chain(head)) for head in heads(bench.repository))
    assert bench.verify().ok


def test_a_prune_drops_no_pack_that_it_did_not_drop_before(bench: Any) -> None:
    """Where two copies of a station went on in one lineage after all, the packs of the other one stay."""
    fill(bench, 1)
    bench.backup()
    shutil.copytree(bench.memory, bench.folder / "other")
    fill(bench, 1, first=10)
    bench.backup()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapshotRun, "_continued_elsewhere", lambda *_: False)
        bench.source.held = {target: {} for target in bench.source.held}
        backup(bench.source, bench.repository, station=bench.station, memory=bench.folder / "other")
        packs = set(bench.files("packs/*"))

        prune(
            bench.source,
            bench.repository,
            station=bench.station,
            memory=bench.memory,
            retention=Retention(last=2, daily=0, weekly=0, monthly=0),
        )

    assert packs <= set(bench.files("packs/*"))


@pytest.mark.parametrize("pattern", ["snapshots/*.manifest.json", "snapshots/*.sig"])
def test_a_lost_head_makes_the_next_backup_copy_everything_again(bench: Any, pattern: str) -> None:
    """What the repository lost is there again after the next backup, which says that there was damage."""
    fill(bench, 3)
    bench.backup()
    bench.files(pattern)[-1].unlink()

    made = bench.backup()

    assert (3, 1, False) == (made.packets, len(made.found), made.ok)
    assert backup_dates(bench.memory, bench.repository.uuid).damaged_ms is not None
    whole = bench.verify().ok
    # A manifest without its signature goes on to be a problem; of one that is gone nothing is left.
    assert whole is (pattern == "snapshots/*.manifest.json")
    assert whole is (backup_dates(bench.memory, bench.repository.uuid).damaged_ms is None)


def test_a_prune_that_finds_the_head_gone_says_so(bench: Any) -> None:
    """Not that there never was a backup; nothing is dropped."""
    fill(bench, 3)
    bench.backup()
    bench.files("snapshots/*.manifest.json")[-1].unlink()
    before = bench.files("packs/*")

    with pytest.raises(DamagedBackupError, match=r"manifest\.json is missing\. .* Make a backup first"):
        prune(
            bench.source,
            bench.repository,
            station=bench.station,
            memory=bench.memory,
            retention=Retention(last=1, daily=0, weekly=0, monthly=0),
        )

    assert before == bench.files("packs/*")


def test_only_one_backup_of_a_station_runs_at_a_time(bench: Any) -> None:
    """The second one is told so; a dead process holds no lock."""
    fill(bench, 1)

    def second(_progress: object) -> None:
        with pytest.raises(BackupInUseError, match="is at work on this repository"):
            bench.backup()

    assert bench.backup(progress=second).ok
    assert bench.backup().ok


class Unplugged:
    """A storage that fails from a certain change on."""

    def __init__(self, bench: Any, after: int) -> None:
        self.left = after
        self._put = bench.storage.put

    def put(self, key: str, source: Any, **options: Any) -> Any:
        """Store, as long as the disk is there."""
        self.left -= 1
        if self.left < 0:
            raise UnavailableError("The disk was unplugged.")
        return self._put(key, source, **options)


@pytest.mark.parametrize("after", range(9))
def test_an_unplugged_disk_leaves_the_last_snapshot_and_the_next_run_goes_on(
    bench: Any, monkeypatch: Any, after: int
) -> None:
    """Whatever had arrived is used; the rest follows; nothing is stored twice."""
    fill(bench, 2)
    bench.backup()
    fill(bench, 6, first=10)
    monkeypatch.setattr(bench.storage, "put", Unplugged(bench, after).put)
    with pytest.raises(UnavailableError):
        bench.backup(pack_size=4_000)
    monkeypatch.undo()

    between = bench.verify()
    made = bench.backup(pack_size=4_000)
    bench.restore()

    assert ((), True) == (between.problems, made.ok)
    assert bench.spool() == bench.restored()
    assert 8 == made.totals.packets
    assert ((), ()) == (bench.verify().problems, bench.verify().notes)


def test_samples_go_round_until_everything_was_read(bench: Any) -> None:
    """A third of the bytes each time: together they are a verification of everything, and begin again."""
    fill(bench, 6)
    bench.backup(pack_size=2_000)
    seen = []
    while backup_dates(bench.memory, bench.repository.uuid).last_verified_ms is None:
        seen.append(bench.verify(share=1 / 3))
    again = bench.verify(share=1 / 3)

    assert 6 == sum(report.packs for report in seen)
    assert {True} == {report.ok for report in seen}
    assert (3, seen[0].packs) == (len(seen), again.packs)


def test_samples_that_found_damage_are_no_verification(bench: Any) -> None:
    """A round with a problem in it leaves no date."""
    fill(bench, 6)
    bench.backup(pack_size=2_000)
    path = bench.files("packs/*.tar")[4]
    path.write_bytes(path.read_bytes()[:-1])

    reports = [bench.verify(share=1 / 3) for _ in range(3)]

    assert False in {report.ok for report in reports}
    assert backup_dates(bench.memory, bench.repository.uuid).last_verified_ms is None


def test_new_packs_are_read_besides_the_sample(bench: Any) -> None:
    """What was just written is read back although it is not its turn."""
    fill(bench, 6)
    bench.backup(pack_size=2_000)
    newest = bench.files("packs/*.tar")[-1].stem

    report = bench.verify(share=0.0, packs=[newest])

    assert (1, True) == (report.packs, report.ok)


def test_a_lost_packet_is_copied_again_by_the_next_backup(bench: Any) -> None:
    """What a verification finds damaged counts no more as a copy; the good bytes follow from the spool."""
    fill(bench, 4)
    bench.backup(pack_size=4_000)
    bench.flip("packs/*.tar", 700)
    (lost,) = bench.verify(source=bench.source).damaged_packets

    made = bench.backup()
    restored = bench.restore()

    assert 1 == made.packets
    assert lost in restored.packet_ids
    assert ((), bench.spool()) == (restored.damaged, bench.restored())


def test_a_place_that_goes_away_is_not_taken_for_damage(bench: Any, monkeypatch: Any) -> None:
    """A cable pulled out during a verification loses no copy: it ends with an error instead."""
    fill(bench, 4)
    bench.backup(pack_size=4_000)
    copied = {target: dict(packets) for target, packets in bench.source.held.items()}
    opened = bench.storage.open

    def gone(key: str) -> Any:
        if key.startswith("packs/") or key == "ktpsync-repository.json":
            raise OSError(5, "Input/output error")
        return opened(key)

    monkeypatch.setattr(bench.storage, "open", gone)

    with pytest.raises(UnavailableError, match="went away"):
        bench.verify(source=bench.source)

    assert copied == bench.source.held


def test_a_sample_finds_damage_in_its_turn(bench: Any) -> None:
    """Damage anywhere is found by one of the samples of a round."""
    fill(bench, 6)
    bench.backup(pack_size=2_000)
    bench.flip("packs/*.tar", 700, number=4)

    assert [False, True, True] == sorted(bench.verify(share=1 / 3).ok for _ in range(3))


def test_a_verification_tells_the_outbox_what_it_read_back_whole(bench: Any) -> None:
    """Only packets of whole packs are told of: only those may be offloaded."""
    fill(bench, 4)
    bench.backup(pack_size=4_000)
    path = bench.files("packs/*.tar")[0]
    path.write_bytes(path.read_bytes()[:-1])
    told: list[str] = []
    mark = bench.source.mark_copied

    def listen(target: str, packet_ids: Any, snapshot: str, *, verified_ms: int | None = None) -> None:
        told.extend(packet_ids if verified_ms is not None else [])
        mark(target, packet_ids, snapshot, verified_ms=verified_ms)

    bench.source.mark_copied = listen
    bench.verify(source=bench.source)

    assert [str(change["packet"]) for change in bench.source.packets()[2:]] == told


def test_dates_are_known_without_the_disk(bench: Any) -> None:
    """Backup and verification leave their dates in the data directory."""
    fill(bench, 1)
    bench.backup()
    bench.verify()
    shutil.rmtree(bench.folder / "disk")

    dates = backup_dates(bench.memory, bench.repository.uuid)

    assert dates.last_backup_ms is not None
    assert dates.last_verified_ms is not None


def test_a_clock_that_jumped_back_keeps_the_order(bench: Any) -> None:
    """A snapshot's name sorts after its parent's, whatever the clock says."""

    class Back:
        """A clock in the last century."""

        def now_ms(self) -> int:
            return 0

        def monotonic(self) -> float:
            return 0.0

        def sleep(self, seconds: float) -> None:
            raise NotImplementedError

    fill(bench, 1)
    first = bench.backup().head
    fill(bench, 1, first=5)
    second = bench.backup(clock=Back()).head

    assert first < second
    assert bench.verify().ok
