"""Files of the spool that are damaged or no packets: kept beside it, each with the reason, never deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ktpsync.clock import utc_from_ms
from ktpsync.files import fsync_folder, make_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.outbox._spool import Spool


class Quarantine:
    """The quarantine of one spool.

    Args:
        spool: Where the files come from.
        clock: The clock to ask.

    Attributes:
        folder: Where they go: ``spool.quarantine`` beside the spool.
    """

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.folder = spool.folder.with_name(f"{spool.folder.name}.quarantine")
        self._clock = clock

    def put(self, path: Path, why: str) -> Path:
        """Move a file out of the spool, with the reason beside it; return where it is now. Its bytes are kept."""
        make_folder(self.folder, mode=0o700)
        target = self.folder / path.name
        number = 0
        while target.exists():
            number += 1
            target = self.folder / f"{path.name}.{number}"
        found = utc_from_ms(self._clock.now_ms()).isoformat(timespec="seconds")
        reason = json.dumps({"file": str(path), "reason": why, "found": found}).encode()
        write_atomic(target.with_name(f"{target.name}.reason.json"), reason, replace=True)
        path.rename(target)
        fsync_folder(path.parent)
        fsync_folder(self.folder)
        return target
