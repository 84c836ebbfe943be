"""The station's own disk, which the system made read-only because it fails: what is there can be looked at."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.errors import OutboxUnavailableError, SpoolUnavailableError
from ktpsync.outbox import DestinationSpec, Limits, Outbox
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from pathlib import Path

SEALED = b"x" * 2000
SHA256 = hashlib.sha256(SEALED).hexdigest()


def open_outbox(folder: Path) -> Outbox:
    """Open an outbox that is on the disk as a whole."""
    specs = [DestinationSpec(name="central")]
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=specs, limits=Limits(reserve=0))


def submit(outbox: Outbox) -> str:
    """Record a packet; return its id."""
    return outbox.submit(SEALED, packet_id=new_packet_id(), sha256=SHA256).packet_id


@pytest.mark.parametrize("service", ["running", "stopped"])
def test_an_outbox_on_a_disk_that_became_read_only(new_disk: Any, tmp_path: Path, service: str) -> None:
    """Packets, their states and their bytes are read; nothing is recorded, and that is said; it goes on once it can be written."""
    disk = new_disk("tmpfs", folder=tmp_path)
    folder = disk.mount_point
    with contextlib.ExitStack() as running:
        outbox = running.enter_context(open_outbox(folder))
        recorded = [submit(outbox) for _ in range(3)]
        if service == "stopped":
            running.close()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=service == "stopped", capture_output=True)
        if service == "running":  # files are open for writing: only this mount of it becomes read-only
            subprocess.run(["mount", "--bind", folder, folder], check=True)
            subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)

        with open_outbox(folder) as looking:
            assert not looking.can_be_written()
            assert recorded == [view.packet_id for view in looking.packets()]
            assert [3] == [line.pending for line in looking.summary()]
            assert () == looking.examine(read=True).problems
            with pytest.raises(SpoolUnavailableError, match="can only be read"):
                submit(looking)
            with pytest.raises(OutboxUnavailableError, match="readonly"):
                looking.claim("central", 1, 60)
            if service == "stopped":
                subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
                with open_outbox(folder) as other:
                    recorded.append(submit(other))
                assert recorded == [view.packet_id for view in looking.packets()]
                recorded.append(submit(looking))
                assert 5 == len(looking.claim("central", 10, 60))
        if service == "running":
            subprocess.run(["umount", "-l", folder], check=True)
    with open_outbox(folder) as outbox:
        assert recorded == [view.packet_id for view in outbox.packets()]


def test_new_tables_are_not_made_there(new_disk: Any, tmp_path: Path) -> None:
    """An outbox that is not there yet cannot be looked at, which is said."""
    disk = new_disk("tmpfs", folder=tmp_path)
    (disk.mount_point / "spool").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", disk.mount_point], check=True)
    with pytest.raises(OutboxUnavailableError):
        open_outbox(disk.mount_point)
