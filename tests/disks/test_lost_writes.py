"""A medium that takes a restore's bytes into memory and then cannot write them; real file systems."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.backup import OutboxTarget
from ktpsync.errors import StationFullError
from ktpsync.outbox import FolderSpool, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

PACKET = "0190b1c5-0000-7000-8000-000000000001"
SEALED = os.urandom(400_000)
SIZE_MB = 16


@pytest.fixture
def worn_out(new_disk: Callable[..., Any], tmp_path: Path) -> Path:
    """A disk that writes no new block, and says so late: an image on another one, which is full."""
    store = new_disk("store", folder=tmp_path)
    disk = new_disk("ext4", size_mb=SIZE_MB, folder=store.mount_point)
    disk.pull_out()
    with disk.image.open("r+b") as image:
        for start in range(0, SIZE_MB << 20, 1 << 20):
            os.pwrite(image.fileno(), os.pread(image.fileno(), 1 << 20, start), start)
    disk.plug_in()
    # Spared: its own tables. A disk that cannot write those is noticed at once.
    FolderSpool(disk.mount_point / "spool").path(PACKET).parent.mkdir()
    subprocess.run(["sync", "-f", disk.mount_point], check=True)
    subprocess.run(["fstrim", disk.mount_point], check=True)
    fill = subprocess.run(
        ["dd", "if=/dev/zero", f"of={store.mount_point}/ballast"], check=False, capture_output=True
    )
    assert b"No space left" in fill.stderr
    return disk.mount_point


def test_a_write_that_failed_is_noticed_though_another_program_was_told_first(
    worn_out: Path, tmp_path: Path
) -> None:
    """The system tells each open file once: the restore's own must be open before. Run again, it writes again."""
    with Outbox.open(tmp_path / "outbox.db", worn_out / "spool") as outbox:
        spool = outbox.spool
        assert isinstance(spool, FolderSpool)
        target = OutboxTarget(outbox)
        target.plan([])
        spool.fill(PACKET, SEALED)
        another = subprocess.run(["sync", "-f", worn_out], check=False, capture_output=True, text=True)
        assert "error syncing" in another.stderr

        with pytest.raises(StationFullError):
            spool.finish_filling()

        assert SEALED == spool.path(PACKET).read_bytes()
        again = OutboxTarget(outbox)
        again.plan([])
        assert not again.holds(PACKET, hashlib.sha256(SEALED).hexdigest())
