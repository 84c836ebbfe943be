"""Where good copies of sealed packets are: the spool, other backups, destinations."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Self

from ktpsync.backup import PacketFinder
from ktpsync.errors import (
    AuthError,
    BackendError,
    BackupError,
    KtpsyncError,
    ThrottledError,
    UnavailableError,
    UnknownDestinationError,
    UnknownPacketError,
)
from ktpsync.office._backup_places import without_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ktpsync.backup import GoodCopy
    from ktpsync.office._backup_places import BackupPlaces
    from ktpsync.outbox import Outbox
    from ktpsync.plugins import Backend

SPOOL = "spool"
_LARGER_THAN_ANY = 256 << 20


class GoodCopies:
    """Looks for packets in all places but one; what it opened is closed at the end of the block.

    Args:
        outbox: Its spool, and what it knows of deliveries.
        places: The backups.
        destinations: The names of the destinations, and what makes their backends.
        missing_from: The backup, or the spool, for which copies are looked for.

    Attributes:
        away: Why each of the places that cannot be read now was passed over, by its name.
    """

    def __init__(
        self,
        outbox: Outbox,
        places: BackupPlaces,
        destinations: tuple[Sequence[str], Callable[[str], Backend]],
        *,
        missing_from: str,
    ) -> None:
        self._outbox = outbox
        self._places = places
        self._destinations, self._backend = destinations
        self._missing_from = missing_from
        self.away: dict[str, str] = {}
        self._open = contextlib.ExitStack()
        self._finders: dict[str, PacketFinder | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    @property
    def asked(self) -> tuple[str, ...]:
        """The backups and destinations that are looked into."""
        return (*self._others(), *self._destinations)

    def elsewhere(self, packet_id: str, sha256: str | None) -> list[str]:
        """Return the names of the places that hold a packet whole, as far as they are at hand.

        A destination is named because of its receipt; the others were read.
        """
        found = []
        for name in (SPOOL, *self._others()):
            with contextlib.suppress(KtpsyncError):
                if _is(self._source(name)(packet_id), sha256):
                    found.append(name)
        found += self._receipts(packet_id, sha256)
        return found

    def whole(self, packet_id: str, sha256: str | None) -> tuple[str, bytes] | None:
        """Return the bytes of a packet from the first place that has them whole, with its name.

        Backups are asked first, then the destinations that gave a receipt for these very bytes. Without a digest, only
        backups are asked: they know it.

        Args:
            packet_id: Which.
            sha256: The digest that the bytes must have, where it is known.
        """
        for name in self._others():
            sealed = self._from_backup(name, packet_id, sha256)
            if sealed is not None:
                return name, sealed
        for name in self._receipts(packet_id, sha256) if sha256 is not None else ():
            with contextlib.suppress(KtpsyncError):
                sealed = self._from_destination(name, packet_id)
                if sealed is not None and _is(sealed, sha256):
                    return name, sealed
        return None

    def sources(self, names: Sequence[str]) -> list[GoodCopy]:
        """Return the places of these names to repair from.

        Raises:
            UnknownDestinationError: There is no place of such a name.
        """
        known = [SPOOL, *self.asked]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UnknownDestinationError(
                f"There is no place {', '.join(map(repr, unknown))} to repair {self._missing_from} from; "
                f"there are: {', '.join(known)}."
            )
        return [self._source(name) for name in names]

    def _receipts(self, packet_id: str, sha256: str | None) -> list[str]:
        """Return the destinations that gave a receipt for these bytes."""
        try:
            status = self._outbox.status(packet_id)
        except UnknownPacketError:
            return []
        return [
            delivery.destination
            for delivery in status.deliveries
            if delivery.receipt is not None and delivery.receipt.sha256 == sha256
        ]

    def _others(self) -> list[str]:
        return [name for name in self._places.names() if name != self._missing_from]

    def _source(self, name: str) -> GoodCopy:
        if name == SPOOL:
            return self._from_spool
        if name in self._destinations:
            return lambda packet_id: self._from_destination(name, packet_id)
        return lambda packet_id: self._from_backup(name, packet_id)

    def _from_spool(self, packet_id: str) -> bytes | None:
        try:
            return self._outbox.spool.read(packet_id)
        except OSError:
            return None

    def _from_backup(self, name: str, packet_id: str, sha256: str | None = None) -> bytes | None:
        if name not in self._finders:
            try:
                repository = self._open.enter_context(self._places.opened_to_read(name))
                self._finders[name] = PacketFinder(repository)
            except (BackendError, BackupError) as error:
                self._finders[name] = None
                self.away[name] = without_name(name, error)
        finder = self._finders[name]
        with contextlib.suppress(BackendError, BackupError, UnknownPacketError):
            return finder.read(packet_id, sha256) if finder is not None else None
        return None

    def _from_destination(self, name: str, packet_id: str) -> bytes | None:
        if name in self.away:
            # To wait for it again for every packet would take hours.
            return None
        # One byte more than it should be shows that it is another; more would only fill the memory.
        try:
            with self._backend(name).fetch(packet_id) as file:
                return file.read(self._size(packet_id) + 1)
        except (UnavailableError, ThrottledError, AuthError) as error:
            self.away[name] = without_name(name, error)
        except (BackendError, OSError):
            pass
        return None

    def _size(self, packet_id: str) -> int:
        """Return the size of a packet in bytes, or more than any has where the outbox does not know it."""
        try:
            return self._outbox.status(packet_id).packet.size
        except UnknownPacketError:
            return _LARGER_THAN_ANY


def _is(sealed: bytes | None, sha256: str | None) -> bool:
    return sealed is not None and (sha256 is None or hashlib.sha256(sealed).hexdigest() == sha256)
