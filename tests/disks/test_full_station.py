"""Invariant 11 on a disk that is really too small: recording goes on, and nothing is lost."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from ktpsync.errors import StationFullError
from ktpsync.files import free_bytes
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDENTITY = ktpsync.age.generate_identity("x25519")


def fill(record: Callable[[], int]) -> None:
    """Record until that is refused."""
    while True:
        record()


@pytest.mark.slow
def test_invariant_11_a_full_disk_never_stops_recording(new_disk: Any, tmp_path: Path) -> None:
    """An outage, and twice what the station's disk holds is recorded, because a backup disk is there.

    Without the backup the disk fills, the next recording is refused as a whole, and all before it stay. With it
    every recording succeeds. When the destination is back it has every packet once, with the right bytes.
    """
    station = new_disk("ext4", size_mb=24).mount_point
    usb, destination = tmp_path / "usb-a", tmp_path / "destination"
    for path in (usb, destination):
        ktpsync.init_disk(path)
    config = ktpsync.init_office(
        station / "office",
        recipients=[str(IDENTITY.recipient)],
        places=f"[destinations.courier-disk]\nbackend = \"disk\"\npath = '{destination}'\nreserve = 0\n"
        f"[backups.usb-a]\nbackend = \"disk\"\npath = '{usb}'\nreserve = 0\n",
    )
    config.write_text(
        config.read_text().replace("[office]", '[office]\nreserve = "3 MiB"\noffload_below = "9 MiB"')
    )
    destination.rename(tmp_path / "away")
    recorded: dict[str, str] = {}
    capacity = free_bytes(station)

    with ktpsync.Office.open(config) as office:

        def record() -> int:
            made = office.submit(make_enrollment(len(recorded), size=60_000))
            recorded[made.packet_id] = made.sha256
            return made.size

        with pytest.raises(StationFullError, match="Nothing was stored"):
            fill(record)
        assert recorded.keys() == {view.packet_id for view in office.outbox.packets()}
        assert free_bytes(station) >= 3 << 20

        total = 0
        while total < capacity:
            office.backup("usb-a")
            total += sum(record() for _ in range(5))
        assert 0 == office.sync().delivered
        left = sum(path.stat().st_size for path in office.data.spool.glob("*/*.age"))
        assert 0 < left < capacity

        (tmp_path / "away").rename(destination)
        report = office.sync()
        assert (len(recorded), 0, 0) == (report.delivered, report.waiting, report.rejected)
        assert () == office.outbox.audit.verify().problems
        attempts = {view.attempts for view in office.deliveries()}
    assert {1} == attempts
    held = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in destination.rglob("*.age")}
    assert recorded == held
