"""The spool on a disk of its own: while that is not mounted, its empty mount point is not taken for the spool."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from ktpsync.backends.disk import init_disk
from ktpsync.courier import Courier
from ktpsync.errors import SpoolUnavailableError
from ktpsync.outbox import DestinationSpec, Limits, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.testing import ManualClock

SEALED = b"x" * 2000
SHA256 = hashlib.sha256(SEALED).hexdigest()


def submit(outbox: Outbox) -> str:
    """Record a packet; return its id."""
    return outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet_id


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_is_not_mounted_costs_nothing(
    kind: str, new_disk: Any, backend_on: Any, tmp_path: Path
) -> None:
    """Pulled out and plugged in again, in one process and over a restart: no packet is set aside, none goes below it."""
    disk = new_disk(kind, folder=tmp_path)
    spool = disk.mount_point
    delivered = tmp_path / "delivered"
    init_disk(delivered)
    clock = ManualClock()

    def open_outbox() -> Outbox:
        specs = [DestinationSpec(name="usb-a")]
        limits = Limits(reserve=0)
        return Outbox.open(tmp_path / "outbox.db", spool, destinations=specs, limits=limits, clock=clock)

    def drain(outbox: Outbox) -> tuple[int, int, int]:
        report = Courier(outbox, "usb-a", backend_on(delivered), clock=clock).drain()
        return report.delivered, report.returned, report.rejected

    with open_outbox() as outbox:
        first = submit(outbox)
        assert ((), ()) == ((found := outbox.examine(read=True)).problems, found.notices)
        kept = Path(shutil.copytree(spool, tmp_path / "kept")) if kind == "tmpfs" else None
        disk.pull_out()
        with pytest.raises(SpoolUnavailableError, match="Nothing was stored"):
            submit(outbox)
        assert (0, 1, 0) == drain(outbox)
    with open_outbox() as outbox:
        with pytest.raises(SpoolUnavailableError, match="mounted"):
            submit(outbox)
        assert [True] == [str(spool) in problem for problem in outbox.examine().problems]
        assert [] == list(spool.iterdir())
        disk.plug_in()
        if kept is not None:  # what is in memory is gone when it is unmounted
            shutil.copytree(kept, spool, dirs_exist_ok=True)
        second = submit(outbox)
        clock.advance(600)
        assert (2, 0, 0) == drain(outbox)
        assert {first, second} == {path.stem for path in delivered.rglob("*.age")}
        assert () == outbox.examine(read=True).problems


def test_damaged_files_go_into_quarantine_on_another_disk(new_disk: Any, tmp_path: Path) -> None:
    """The quarantine is beside the spool, and so not on its disk; the bytes are kept all the same."""
    spool = new_disk("tmpfs", folder=tmp_path).mount_point
    with Outbox.open(tmp_path / "outbox.db", spool, limits=Limits(reserve=0)) as outbox:
        packet_id = submit(outbox)
        outbox.spool.path(packet_id).write_bytes(b"damaged")
        outbox.put_back(packet_id, SEALED, source="usb-a", who="budi", why="it was damaged")
        assert () == outbox.examine(read=True).problems
    (apart,) = (tmp_path / "usb.quarantine").glob("*.age")
    assert (packet_id, b"damaged") == (apart.stem, apart.read_bytes())
