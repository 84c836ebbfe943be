"""Proving that a backup gives single packets back: their last other copy is about to be dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.backup._finder import PacketFinder
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._repository import current_packs
from ktpsync.errors import BackupError, UnknownPacketError

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.backup._repository import Repository


class PacketProof:
    """Reads single packets of this station back from the medium, as a restore of its last snapshot would find them.

    Packs that no snapshot names prove nothing: a later run may delete them.

    Args:
        repository: Where.
        memory: The folder given to :func:`ktpsync.backup.backup`.

    Raises:
        BackupError: The last snapshot of this station is damaged or not there.
        BackendError: The storage cannot be reached.

    Attributes:
        lineage: UUID under which the outbox counts this station's copies there.
        repository: UUID of the repository.
    """

    def __init__(self, repository: Repository, *, memory: Path) -> None:
        known = BackupMemory(memory, repository.uuid).load()
        if known is None or known.head is None:
            raise BackupError(f"This station has no snapshot in repository {repository.uuid}.")
        chain = repository.chain(repository.snapshot(known.head.name))
        self.lineage = known.lineage
        self.repository = repository.uuid
        self._repository = repository
        packs = [pack.name for pack in current_packs(chain)]
        self._finder = PacketFinder(repository, packs=packs, from_medium=True)

    def damage(self, packet_id: str, sha256: str) -> str | None:
        """Read a packet now; return what is wrong with it, ``None`` if it is whole.

        Args:
            packet_id: Which.
            sha256: The digest that its bytes must have.

        Raises:
            BackendError: The storage cannot be reached, or went away meanwhile.
        """
        try:
            self._finder.read(packet_id, sha256)
        except (BackupError, UnknownPacketError) as error:
            self._repository.still_there()
            return str(error)
        return None
