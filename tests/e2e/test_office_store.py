"""What an office makes of its outbox: many enrollments at once, limits, and bytes that go when nobody needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

import ktpsync
from ktpsync.errors import (
    ReferenceConflictError,
    SpoolUnavailableError,
    StationFullError,
    ValidationError,
    WrongStateError,
)
from ktpsync.plugins import StatusChange, StatusPage
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.records import Enrollment

RECIPIENT = str(ktpsync.age.generate_identity("x25519").recipient)


def office_with(tmp_path: Path, more: str = "") -> ktpsync.Office:
    """Set up an office with a disk, and more lines in its first table."""
    ktpsync.init_disk(tmp_path / "usb-a")
    place = f"backend = \"disk\"\npath = '{tmp_path / 'usb-a'}'\n"
    places = f"[destinations.usb-a]\n{place}[backups.usb-a]\n{place}"
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    config.write_text(config.read_text().replace("[office]\n", f"[office]\n{more}\n", 1))
    return ktpsync.Office.open(config)


def small(seed: int) -> Enrollment:
    """Return a small enrollment."""
    return make_enrollment(seed, size=2000)


def test_many_enrollments_have_a_result_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad one and one under a taken reference do not keep the others out; the order is theirs."""
    monkeypatch.setattr("ktpsync.office._intake._BATCH_BYTES", 100_000)
    with office_with(tmp_path) as office:
        first = office.submit(small(1))
        bad = evolve(small(2), biodata=evolve(small(2).biodata, full_name=""))
        taken = evolve(small(3), reference=small(1).reference)
        given = [small(1), bad, taken, *(small(seed) for seed in range(4, 14))]
        results = office.submit_many(iter(given))
        assert [False, ValidationError, ReferenceConflictError, *[True] * 10] == [
            getattr(result, "created", type(result)) for result in results
        ]
        assert first.packet == results[0].packet  # type: ignore[union-attr]
        stored = [result for result in results if not isinstance(result, Exception)]
        assert [one.reference for one in given if one not in (bad, taken)] == [
            office.status(one.packet_id).packet.reference for one in stored
        ]
        assert 11 == len(list(office.outbox.packets()))
        assert [] == office.submit_many([])


def test_when_the_station_is_full_each_of_many_says_so(tmp_path: Path) -> None:
    """What was stored before stays; the rest can be submitted again once there is room."""
    with office_with(tmp_path, 'max_backlog = "40 kB"') as office:
        results = [office.submit_many([small(seed)])[0] for seed in range(6)]
        stored = [one for one in results if not isinstance(one, Exception)]
        refused = [one for one in results if isinstance(one, StationFullError)]
        assert len(results) == len(stored) + len(refused)
        assert 0 < len(stored) < 6
        assert "allowed" in str(refused[0])
        assert len(stored) == len(list(office.outbox.packets()))


def test_while_the_spool_is_away_each_of_many_says_so(tmp_path: Path) -> None:
    """Nothing of them is stored, and they can be submitted again when its disk is there."""
    with office_with(tmp_path) as office:
        (first,) = office.submit_many([small(0)])
        away = office.data.spool.rename(tmp_path / "away")
        office.data.spool.mkdir()
        refused = office.submit_many([small(1), small(2)])
        assert [SpoolUnavailableError] * 2 == [type(one) for one in refused]
        office.data.spool.rmdir()
        away.rename(office.data.spool)
        assert not any(
            isinstance(one, Exception) for one in [first, *office.submit_many([small(1), small(2)])]
        )
        assert 3 == len(list(office.outbox.packets()))


def test_the_disk_s_reserve_is_set_in_the_configuration(tmp_path: Path) -> None:
    """Nothing is stored where the disk would get too full."""
    with office_with(tmp_path, 'reserve = "1000 TiB"') as office:
        with pytest.raises(StationFullError, match="reserve"):
            office.submit(small(1))
        assert [] == list(office.data.spool.glob("*/*"))


def test_a_backlog_too_old_is_refused_if_so_configured(tmp_path: Path) -> None:
    """The message names the age and the limit."""
    with office_with(tmp_path, 'max_backlog_age = "1 ms"') as office:
        office.submit(small(1))
        office.storage()
        with pytest.raises(StationFullError, match="oldest packet"):
            office.submit(small(2))


def test_the_service_purges_after_the_retention_time(tmp_path: Path) -> None:
    """Delivered, final, verified in a backup, and old by the centre's clock: then the bytes go, the rest stays."""
    with office_with(tmp_path, 'retention = "30 d"') as office:
        done, waiting = office.submit_many([small(1), small(2)])
        assert not isinstance(done, Exception)
        assert not isinstance(waiting, Exception)
        assert [] == office._upkeep.run()
        office.sync()
        office.backup("usb-a")
        office.verify("usb-a")
        now = datetime.now(UTC)
        changes = [
            StatusChange(packet_id=done.packet_id, status="CARD_ISSUED", changed_at=now - timedelta(days=31)),
            StatusChange(packet_id=waiting.packet_id, status="PROCESSING", changed_at=now),
        ]
        office.outbox.apply_statuses("usb-a", StatusPage(changes=changes, cursor="1", more=False))
        assert [done.packet_id] == office._upkeep.run()
        assert "purged" == office.status(done.packet_id).packet.location
        assert [waiting.packet_id] == [path.stem for path in office.data.spool.glob("*/*.age")]
        assert [] == office._upkeep.run()


def test_the_service_purges_only_what_a_backup_gives_back_now(tmp_path: Path) -> None:
    """A copy that has rotted since its verification, or whose disk is away, keeps the packet; a new copy lets it go."""
    with office_with(tmp_path, 'retention = "30 d"') as office:
        bad, good, last = (office.submit(small(seed)).packet_id for seed in range(3))
        office.sync()
        office.backup("usb-a")
        office.verify("usb-a")
        old = datetime.now(UTC) - timedelta(days=31)
        changes = [StatusChange(packet_id=one, status="CARD_ISSUED", changed_at=old) for one in (bad, good)]
        changes += [StatusChange(packet_id=last, status="PROCESSING", changed_at=datetime.now(UTC))]
        office.outbox.apply_statuses("usb-a", StatusPage(changes=changes, cursor="1", more=False))
        (pack,) = (tmp_path / "usb-a" / "packs").glob("*.tar")
        sealed = office.outbox.spool.path(bad).read_bytes()
        pack.write_bytes(pack.read_bytes().replace(sealed[-20:], bytes(20)))

        away = (tmp_path / "usb-a").rename(tmp_path / "away")
        assert [] == office._upkeep.run()
        away.rename(tmp_path / "usb-a")
        assert [good] == office._upkeep.run()
        assert ["spool", "purged"] == [office.status(one).packet.location for one in (bad, good)]

        office._finished_by_service("usb-a", office.backup("usb-a"))
        assert "spool" == office.status(bad).packet.location
        office.verify("usb-a")
        office._finished_by_service("usb-a", office.backup("usb-a"))
        assert "purged" == office.status(bad).packet.location
        assert [last] == [path.stem for path in office.data.spool.glob("*/*.age")]


def test_on_a_database_server_packets_leave_and_come_back_as_safely(
    tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    """Proven before they leave the spool, mended from the backup, and its last copies are not given up."""
    more = f'database = "{new_postgresql()}"\noffload_below = "900 TB"'
    with office_with(tmp_path, more) as office:
        bad, good = (office.submit(small(seed)).packet_id for seed in range(2))
        office.backup("usb-a")
        path = office.outbox.spool.path(bad)
        sealed = path.read_bytes()
        (pack,) = (tmp_path / "usb-a" / "packs").glob("*.tar")
        pack.write_bytes(pack.read_bytes().replace(sealed[-20:], bytes(20)))
        assert office._backups.offload.make_room(1 << 30) > 0
        assert ["spool", "offloaded"] == [office.status(one).packet.location for one in (bad, good)]

        assert 1 == office.backup("usb-a").packets
        path.write_bytes(sealed[:-1])
        (mended,) = office.mend(who="siti", why="test").packets
        assert (bad, "damaged", "usb-a") == (mended.packet_id, mended.problem, mended.source)
        assert sealed == path.read_bytes()

    config = tmp_path / "office" / "ktpsync.toml"
    config.write_text(config.read_text().partition("[backups.usb-a]")[0])
    with ktpsync.Office.open(config) as office:
        with pytest.raises(WrongStateError, match=good):
            office.forget_backup("usb-a", who="siti", why="test")
        office.cancel(good, "usb-a", who="siti", why="lost")
        office.forget_backup("usb-a", who="siti", why="test")
        assert () == office.outbox.copy_holders(good)
