"""What the service does for the outbox now and then: bytes that nobody needs any more go, and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ktpsync import courier

if TYPE_CHECKING:
    from ktpsync.office._offload import Offload
    from ktpsync.outbox import Outbox

_WHO: Final = "service"
_EVERY: Final = 6 * 3600.0

log = logging.getLogger("ktpsync.office")


class Upkeep:
    """Removes orphans, and purges what the retention time and the rules allow.

    Args:
        outbox: Whose.
        offload: Proves that backups have what is purged.
        retention: Seconds after the centre's final word; ``None`` keeps everything.
    """

    def __init__(self, outbox: Outbox, offload: Offload, retention: float | None) -> None:
        self._outbox = outbox
        self._offload = offload
        self._retention = retention

    def run(self) -> list[str]:
        """Do it once; return the ids of the packets that were purged."""
        self._outbox.collect_orphans()
        return self.purge()

    def purge(self) -> list[str]:
        """Purge what backups at hand have; return the ids of the packets."""
        if self._retention is None:
            return []
        purged = self._offload.purge(self._retention, who=_WHO)
        if purged:
            facts = {"event": "purged", "packets": len(purged)}
            log.info("%d packets purged: their retention time is over", len(purged), extra={"facts": facts})
        return purged

    def task(self) -> courier.Task:
        """Return it as a task of the service."""
        return courier.Task(name="upkeep", every=_EVERY, run=self.run)
