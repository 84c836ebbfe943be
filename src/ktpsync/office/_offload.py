"""A full disk does not stop recording: packets that a verified backup holds leave the spool, and come back."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, Final

from ktpsync import backup
from ktpsync.errors import (
    BackendError,
    BackupError,
    DamagedBackupError,
    DoubtfulDiskError,
    SpoolError,
    SpoolUnavailableError,
    UnavailableError,
    UnknownPacketError,
    WrongDiskError,
)
from ktpsync.office._backup_places import without_name
from ktpsync.units import amount, counted, rough_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from ktpsync.backup import PacketFinder, PacketProof, Repository
    from ktpsync.clock import Clock
    from ktpsync.config import OfficeSettings
    from ktpsync.office._backup_places import BackupPlaces
    from ktpsync.outbox import Outbox
    from ktpsync.packet import SealedPacket

log = logging.getLogger("ktpsync.backup")

_WHO: Final = "ktpsync"
_VERIFY_SECONDS: Final = 3600.0
"""So often, at most, everything is read back only because room is needed."""


class Offload:
    """Drops spool bytes when the disk runs low, and fetches them back for whoever delivers.

    Args:
        settings: When, and how many copies there must be.
        places: The backups.
        outbox: Whose packets.
        memory: The folder of backup memories.
        verify: Reads a backup back, so that the outbox knows what is in it.
        clock: The clock to ask.
    """

    def __init__(
        self,
        settings: OfficeSettings,
        *,
        places: BackupPlaces,
        outbox: Outbox,
        memory: Path,
        verify: Callable[[str], object],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._places = places
        self._outbox = outbox
        self._verify = verify
        self._clock = clock
        self._lock = threading.Lock()
        self._verified_at: float | None = None
        self._finders: dict[str, tuple[contextlib.ExitStack, Repository, PacketFinder]] = {}

    @property
    def low(self) -> bool:
        """Whether the spool's disk has less room than it should."""
        return self._lacking() > 0

    def run(self) -> int:
        """Make room if the disk runs low; return the bytes freed."""
        wanted = self._lacking()
        if not wanted:
            return 0
        freed = self.make_room(wanted)
        if freed < wanted and self._may_verify():
            for name in self._places.names():
                lineage = self._places.lineage(name)
                # When it is away and another one is here, what was read back of it lately will count.
                since_ms = self._since_ms() if self._settings.offload_copies > 1 else 0
                if self._outbox.unverified(lineage, since_ms=since_ms) and self._places.at_hand(name):
                    self._verify(name)
            freed += self.make_room(wanted - freed)
        if freed:
            log.info("%s of packets that backups hold were dropped from the spool", amount(freed))
        else:
            log.warning(
                "The station's disk runs low, and no packet can be dropped from it: %s", self._way_out()
            )
        return freed

    def make_room(self, wanted: int) -> int:
        """Drop spool bytes of packets that a backup at hand gives back whole, read from its medium now.

        Where more copies are asked for than backups are at hand, those that are away count if a packet was read back
        from them not long ago: disks that take turns are never there together.

        Args:
            wanted: Bytes.

        Returns:
            Bytes freed; 0 also where dropping is switched off.
        """
        if not self._settings.offload_below:
            return 0
        with contextlib.ExitStack() as stack:
            proofs, away = self._proofs(stack)
            if not proofs or len(proofs) + len(away) < self._settings.offload_copies:
                return 0
            since_ms = self._since_ms()
            return self._outbox.offload(
                wanted,
                who=_WHO,
                prove=lambda packet: self._prove(
                    packet, proofs, self._settings.offload_copies, away, since_ms
                ),
                repositories=[proof.lineage for proof in proofs.values()],
                away=away,
                since_ms=since_ms,
                copies=self._settings.offload_copies,
            )

    def purge(self, retention: float, *, who: str) -> list[str]:
        """Drop the bytes that nobody needs any more, of packets that a backup at hand gives back whole now.

        Args:
            retention: Seconds for which the centre's final word must have stood.
            who: Who asked for it.

        Returns:
            The ids of the packets.
        """
        with contextlib.ExitStack() as stack:
            proofs, _ = self._proofs(stack)
            if not proofs:
                return []
            return self._outbox.purge(
                timedelta(seconds=retention),
                who=who,
                prove=lambda packet: self._prove(packet, proofs, 1),
                repositories=[proof.lineage for proof in proofs.values()],
            )

    def _since_ms(self) -> int:
        """Return since when a backup that is away must have given a packet back whole."""
        return self._clock.now_ms() - round(self._settings.offload_proof_age * 1000)

    def _proofs(self, stack: contextlib.ExitStack) -> tuple[dict[str, PacketProof], list[str]]:
        """Open the backups that are at hand, by name; return with them the lineages on disks that are not plugged in.

        What is there and cannot be used, or out of reach for another reason, is neither; nor is a disk with known damage.
        """
        proofs = {}
        away = []
        for name in self._made():
            try:
                repository = stack.enter_context(self._places.opened(name))
                if backup.goes_on(self._memory, repository):
                    proofs[name] = backup.PacketProof(repository, memory=self._memory)
            except DoubtfulDiskError:
                continue
            except WrongDiskError:
                dates = self._places.dates(name)
                if dates and dates.lineage and dates.damaged_ms is None:
                    away.append(dates.lineage)
            except (BackendError, BackupError):
                continue
        return proofs, away

    def _prove(
        self,
        packet: SealedPacket,
        proofs: dict[str, PacketProof],
        copies: int,
        away: Collection[str] = (),
        since_ms: int = 0,
    ) -> bool:
        """Return whether as many backups as are asked for have a packet whole: those that are away had it lately.

        Raises:
            UnavailableError: Too few are at hand any more.
        """
        verified = self._outbox.verified_copies(packet.packet_id)
        now_ms = self._clock.now_ms()
        kept = sum(since_ms <= verified.get(lineage, -1) <= now_ms for lineage in away)
        needed = max(copies - kept, 1)
        whole = 0
        for name, proof in list(proofs.items()):
            if proof.lineage not in verified:
                continue
            try:
                damage = proof.damage(packet.packet_id, packet.sha256)
            except BackendError as error:
                log.warning(
                    "%s cannot be read back any more, nothing is dropped because of it: %s", name, error
                )
                del proofs[name]
                continue
            if damage is None:
                whole += 1
            else:
                self._tell_damage(name, proof, packet.packet_id, damage)
            if whole == needed:
                return True
        if not proofs or len(proofs) + len(away) < copies:
            raise UnavailableError("Too few backups are at hand to drop packets from the spool.")
        return False

    def _tell_damage(self, name: str, proof: PacketProof, packet_id: str, damage: str) -> None:
        self._outbox.lose_copies(proof.lineage, [packet_id], why=damage)
        backup.damage_found(self._memory, proof.repository, self._clock.now_ms())
        log.error(
            "packet %s is not dropped: its copy on %s was verified before and is damaged now. The next backup to it "
            "copies the packet again; `ktpsync verify %s --repair-from spool` mends the disk and says what else is "
            "damaged. (%s)",
            packet_id,
            name,
            name,
            damage,
        )

    def fetch(self, packet_id: str, sha256: str) -> BinaryIO:
        """Return a file object over an offloaded packet's bytes, read from a backup that is at hand.

        Raises:
            SpoolError: No backup holds them.
            UnavailableError: None that does is at hand; the message names those that hold the packet.
        """
        reasons = []
        away = False
        with self._lock:
            holders = self._holders(packet_id)
            # The outbox may have given up copies that are still there, as after a disk was taken for its clone.
            for name in holders or self._made():
                try:
                    return io.BytesIO(self._read(name, packet_id, sha256))
                except (BackendError, BackupError, UnknownPacketError) as error:
                    away = away or isinstance(error, BackendError)
                    reasons.append(f"{name}: {without_name(name, error)}")
        if not holders and not away:
            raise SpoolError(
                f"The sealed bytes of packet {packet_id} are not in the spool, and no backup of the "
                "configuration holds them. Look for them on old disks with `ktpsync extract`."
            )
        if not holders:
            raise UnavailableError(
                f"The bytes of packet {packet_id} are not on this station, and no backup that is at hand holds them. "
                f"Plug in the others. {' '.join(reasons)}"
            )
        raise UnavailableError(
            f"The bytes of packet {packet_id} are not on this station any more. Plug in the backup that "
            f"holds them, {' or '.join(holders)}. {' '.join(reasons)}"
        )

    def awaited(self) -> dict[str, int]:
        """Return how many packets wait for a backup to be plugged in, by its name."""
        if not self._outbox.awaited_copies():
            return {}
        names = [*self._places.names(), *self._places.left()]
        lineages = {name: self._places.lineage(name) for name in names}
        at_hand = [lineages[name] for name in self._places.names() if self._places.at_hand(name)]
        found = self._outbox.awaited_copies(at_hand)
        return {name: found[lineage] for name, lineage in lineages.items() if lineage in found}

    def hindrance(self) -> str | None:
        """Return why packets cannot leave a disk that runs low, and what to do; ``None`` if it does not, or nothing is known to hinder."""
        if not self.low:
            return None
        names, copies = self._places.names(), self._settings.offload_copies
        if not names:
            return (
                "The station's disk runs low, and the configuration names no backup to which packets could be moved. Add one under "
                "[backups.NAME], or free some room."
            )
        here = [name for name in names if self._places.at_hand(name)]
        if copies <= len(names):
            for name in names:
                lineage = self._places.lineage(name)
                never_made = self._places.known(name) is None
                if never_made or (
                    name in here and (self._outbox.lacking(lineage)[0] or self._outbox.unverified(lineage))
                ):
                    return (
                        f"The station's disk runs low. Run `ktpsync backup {name}`, then `ktpsync verify {name}`: what it gives "
                        "back whole can leave the disk."
                    )
        away = [self._places.lineage(name) for name in names if name not in here]
        proven = all(
            lineage and not self._outbox.unverified(lineage, since_ms=self._since_ms()) for lineage in away
        )
        if copies > len(names) or not here or (len(here) < copies and not proven):
            return f"The station's disk runs low, and no packet can be dropped from it: {self._way_out()}"
        return None

    def close(self) -> None:
        """Close what was opened to fetch from."""
        with self._lock:
            for opened, _, _ in self._finders.values():
                opened.close()
            self._finders.clear()

    def _way_out(self) -> str:
        names, copies = self._places.names(), self._settings.offload_copies
        here = [name for name in names if self._places.at_hand(name)]
        if len(here) >= copies:
            return (
                f"no packet that is left in it is held whole by {copies} of the backups at hand ({', '.join(here)}). The next "
                "backup helps; or free some room."
            )
        others = " or ".join(name for name in names if name not in here)
        if copies > len(names):
            return (
                f"the configuration names {counted(len(names), 'backup', 'backups')} and offload_copies = {copies} asks for "
                "more. Add another one, or free some room."
            )
        if copies == 1:
            return f"plug in {others}, or free some room."
        return (
            f"plug in {others} and make a backup there, one after the other is enough (offload_copies = {copies}: so many "
            f"must have given a packet back whole within {rough_duration(self._settings.offload_proof_age)} before it is dropped), "
            "or free some room."
        )

    def _read(self, name: str, packet_id: str, sha256: str) -> bytes:
        """Read from a repository that stays open: many packets come back together."""
        if name in self._finders:
            try:
                return self._finders[name][2].read(packet_id, sha256)
            except (BackendError, BackupError, UnknownPacketError):
                # The disk may be another one now, or hold more than it did.
                self._finders.pop(name)[0].close()
        with contextlib.ExitStack() as stack:
            repository = stack.enter_context(self._places.opened_to_read(name))
            finder = backup.PacketFinder(repository)
            self._finders[name] = (stack.pop_all(), repository, finder)
        try:
            return finder.read(packet_id, sha256)
        except (DamagedBackupError, UnknownPacketError) as error:
            repository.still_there()
            self._note_lost(name, repository.uuid, packet_id, str(error))
            raise

    def _note_lost(self, name: str, repository: str, packet_id: str, why: str) -> None:
        """Remember that a backup does not give an offloaded packet back that it is noted to hold."""
        lineage, holders = self._places.lineage(name), self._outbox.copy_holders(packet_id)
        if lineage not in holders:
            return
        backup.damage_found(self._memory, repository, self._clock.now_ms())
        # The last one goes on to be waited for: reading it may only have failed this time.
        if len(holders) > 1:
            self._outbox.lose_copies(lineage, [packet_id], why=why)
        log.error(
            "packet %s is not on this station, and its copy on %s is damaged: plug in another backup that holds it, if there is "
            "one; `ktpsync verify %s --repair-from` mends the disk. (%s)",
            packet_id,
            name,
            name,
            why,
        )

    def _holders(self, packet_id: str) -> list[str]:
        """Return the backups that hold a packet, those that were made last first."""
        lineages = self._outbox.copy_holders(packet_id)
        holders = [name for name in self._places.names() if self._places.lineage(name) in lineages]
        return sorted(holders, key=self._places.last_ms, reverse=True)

    def _made(self) -> list[str]:
        return [name for name in self._places.names() if self._places.known(name) is not None]

    def _lacking(self) -> int:
        below = self._settings.offload_below
        free = None
        with contextlib.suppress(SpoolUnavailableError):  # nothing can be dropped from a spool that is away
            free = self._outbox.spool.free() if below else None
        # A quarter more than just enough, or the next packet would bring it back here.
        return below - free + below // 4 if free is not None and free < below else 0

    def _may_verify(self) -> bool:
        with self._lock:
            now = self._clock.monotonic()
            if self._verified_at is not None and now - self._verified_at < _VERIFY_SECONDS:
                return False
            self._verified_at = now
            return True
