"""Which snapshots are kept, when things are due, and pruning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ktpsync.backup import Retention, due, kept, prune
from ktpsync.errors import BackupError, DamagedBackupError

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def daily(count: int) -> dict[str, datetime]:
    """Return one snapshot a day."""
    return {f"{day:03}": START + timedelta(days=day) for day in range(count)}


def test_the_newest_ones_are_kept() -> None:
    """Keep-last counts snapshots."""
    assert {"008", "009"} == kept(daily(10), Retention(last=2, daily=0, weekly=0, monthly=0))


def test_the_newest_is_kept_whatever_the_policy() -> None:
    """A policy of nothing still keeps one."""
    assert {"009"} == kept(daily(10), Retention(last=0, daily=0, weekly=0, monthly=0))


def test_one_of_each_day_week_and_month_is_kept() -> None:
    """The newest of each period stands for it."""
    hourly = {f"{hour:04}": START + timedelta(hours=hour) for hour in range(24 * 60)}

    assert {"1427", "1439"} == kept(hourly, Retention(last=1, daily=2, weekly=0, monthly=0))
    assert {"1439", "1427", "1259"} == kept(hourly, Retention(last=1, daily=0, weekly=3, monthly=0))
    assert {"1439", "1403", "0731"} == kept(hourly, Retention(last=1, daily=0, weekly=0, monthly=3))


@pytest.mark.parametrize(
    ("last_ms", "expected"),
    [(None, True), (0, True), (1_000, True), (1_001, False), (5_001, True)],
)
def test_what_was_missed_is_due_at_once(last_ms: int | None, *, expected: bool) -> None:
    """Never done, long ago, just long enough ago, recently, and by a clock that was ahead."""
    assert expected == due(5_000, last_ms, 4_000)


def run_prune(bench: Any, **options: Any) -> Any:
    """Prune as the station does, keeping the newest snapshot only."""
    options.setdefault("retention", Retention(last=1, daily=0, weekly=0, monthly=0))
    return prune(bench.source, bench.repository, station=bench.station, memory=bench.memory, **options)


@pytest.fixture
def grown(bench: Any) -> Any:
    """Return a repository with three full snapshots, six packs of two packets each."""
    for number in range(3):
        bench.source.add_many(4, 1_500, first=10 * number)
        bench.backup(full=True, pack_size=4_000)
    return bench


def keys(bench: Any) -> set[str]:
    """Return the keys of everything stored."""
    return {info.key for info in bench.storage.list()}


def test_a_dry_run_says_what_a_prune_would_do_and_does_nothing(grown: Any) -> None:
    """The report is the same, the repository untouched."""
    before = keys(grown)

    planned = run_prune(grown, dry_run=True)
    unchanged = keys(grown)
    done = run_prune(grown)
    again = run_prune(grown)

    assert before == unchanged
    assert (3, 0) == (len(planned.dropped), planned.packs_dropped)
    assert (planned.dropped, ()) == (done.dropped, again.dropped)
    assert 1 == len(grown.files("snapshots/*.manifest.json"))
    assert grown.verify().ok


def test_a_prune_without_expendable_packets_drops_no_packet(grown: Any) -> None:
    """Whatever the policy, a packet that the outbox has not let go of stays."""
    run_prune(grown)

    report = grown.restore()

    assert grown.spool() == grown.restored()
    assert report.ok


def test_expendable_packets_go_and_all_others_stay(grown: Any) -> None:
    """A pack of garbage is deleted, one with much garbage written again, the rest not touched."""
    ids = [str(change["packet"]) for change in grown.source.packets()]
    garbage = {ids[0], ids[1], ids[2]}
    sequence = grown.source.sequence()
    grown.backup(full=True)

    report = run_prune(grown, garbage=0.2, expendable=[(packet_id, sequence) for packet_id in garbage])
    restored = grown.restore()

    assert (2, 3) == (report.packs_dropped, report.packets_dropped)
    assert set(ids) - garbage == set(restored.packet_ids)
    assert restored.ok
    verified = grown.verify()
    assert ((), 9) == (verified.problems, verified.packets)


def test_a_packet_that_an_older_kept_snapshot_needs_stays(grown: Any) -> None:
    """Purged after a snapshot that is kept: its bytes stay as long as that snapshot does."""
    packet_id = str(grown.source.packets()[0]["packet"])
    purged_at = grown.source.sequence() + 1

    report = run_prune(grown, expendable=[(packet_id, purged_at)])

    assert 0 == report.packets_dropped


def test_a_prune_killed_before_it_deleted_is_finished_by_the_next(grown: Any, monkeypatch: Any) -> None:
    """Committed but not deleted: nothing is wrong, and the next prune deletes."""
    monkeypatch.setattr(grown.storage, "delete", lambda _key: None)
    run_prune(grown)
    monkeypatch.undo()
    left = len(keys(grown))

    verified = grown.verify()
    again = run_prune(grown)

    assert ((), 0) == (verified.problems, len(again.dropped))
    assert left > len(keys(grown))
    assert grown.verify().ok


def test_what_a_prune_is_just_deleting_is_no_damage(grown: Any, monkeypatch: Any) -> None:
    """A verification that listed the snapshots before they went, and read them after, reports nothing."""
    listed = list(grown.storage.list())
    run_prune(grown)
    still = {info.key for info in grown.storage.list()}
    gone = [info for info in listed if info.key not in still]
    storage_list = grown.storage.list
    monkeypatch.setattr(
        grown.storage,
        "list",
        lambda prefix="": [*storage_list(prefix), *(info for info in gone if info.key.startswith(prefix))],
    )

    report = grown.verify()

    assert 3 == sum(info.key.endswith(".manifest.json") for info in gone)
    assert () == report.problems


def test_backups_go_on_after_prunes(grown: Any) -> None:
    """Delta after prune, prune after delta: the chain holds and everything restores."""
    for seed in range(100, 104):
        run_prune(grown)
        grown.source.add(700, seed=seed)
        grown.backup(full=seed % 2 == 0)

    report = grown.verify()
    grown.restore()

    assert ((), ()) == (report.problems, report.notes)
    assert grown.spool() == grown.restored()


def test_a_packet_that_is_stored_twice_is_kept_once(grown: Any) -> None:
    """The older copy goes, the newer one stays."""
    for copied in grown.source.held.values():
        copied.clear()
    grown.backup()

    report = run_prune(grown)
    grown.restore()

    assert (6, 12) == (report.packs_dropped, report.packets_dropped)
    assert grown.spool() == grown.restored()
    assert ((), 12) == (grown.verify().problems, grown.verify().packets)


def test_an_older_copy_stays_where_the_newer_one_is_damaged(grown: Any) -> None:
    """The last whole copy of a packet is not dropped as a double."""
    for copied in grown.source.held.values():
        copied.clear()
    grown.backup()
    newest = grown.files("packs/*.tar")[-1]
    newest.write_bytes(bytes(len(newest.read_bytes())))

    run_prune(grown)
    restored = grown.restore()

    assert grown.spool() == grown.restored()
    assert () == restored.damaged


def test_a_damaged_pack_stops_the_prune_that_would_write_it_again(grown: Any) -> None:
    """Nothing is dropped while a packet that must be kept cannot be read."""
    grown.flip("packs/*.tar", 3_000)
    before = keys(grown)
    first = str(grown.source.packets()[0]["packet"])

    with pytest.raises(DamagedBackupError, match="Nothing was dropped"):
        run_prune(grown, garbage=0.2, expendable=[(first, 0)])

    assert before == keys(grown)


def test_a_station_without_snapshots_has_nothing_to_prune(bench: Any) -> None:
    """A person is told so."""
    with pytest.raises(BackupError, match="no snapshot"):
        run_prune(bench)
