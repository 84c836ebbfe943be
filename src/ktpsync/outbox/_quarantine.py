"""Files of the spool that are damaged or no packets: kept beside it, each with the reason, never deleted."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Final

from ktpsync.clock import utc_from_ms
from ktpsync.files import fsync_folder, make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.outbox._folder_spool import FolderSpool

_SEALED: Final = ".age"
_REASON: Final = ".reason.json"


class Quarantine:
    """The quarantine of one spool.

    Args:
        spool: Where the files come from.
        clock: The clock to ask.

    Attributes:
        folder: Where they go: ``spool.quarantine`` beside the spool.
    """

    def __init__(self, spool: FolderSpool, clock: Clock) -> None:
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
        write_atomic(target.with_name(f"{target.name}{_REASON}"), reason, replace=True)
        try:
            path.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The spool is on a disk of its own.
            write_atomic(target, path.read_bytes(), mode=0o600, replace=False)
            path.unlink()
        fsync_folder(path.parent)
        fsync_folder(self.folder)
        return target

    def packet_ids(self) -> list[str]:
        """Return the ids of the packets of which a file is here, as the files' names say."""
        names = [path.name for path in self._files() if _SEALED in path.name]
        return sorted({name.partition(_SEALED)[0] for name in names})

    def copies(self, packet_id: str) -> list[Path]:
        """Return the files of one packet that are here, damaged ones and others."""
        return [path for path in self._files() if path.name.partition(_SEALED)[0] == packet_id]

    def _files(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (path for path in sorted(self.folder.iterdir()) if not path.name.endswith(_REASON))
