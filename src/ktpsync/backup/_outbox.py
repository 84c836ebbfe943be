"""Restoring into an outbox: bytes into its spool, then its rows."""

from __future__ import annotations

import hashlib
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ktpsync import files
from ktpsync.outbox import DeliveryState, FolderSpool, recovered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from ktpsync.outbox import Found, Outbox

_SPOOL = "spool"
_PURGED = "purged"


class OutboxTarget:
    """An empty outbox as the place that a restore fills.

    Args:
        outbox: The outbox, with its spool in a folder.
        selection: Which packets; all if not given. The others are left out with their rows.
        found: What is in the spool already, where an outbox is made anew.
        opens: Says whether sealed bytes are those of a packet id, whole, as far as the identities at hand can tell.
    """

    def __init__(
        self,
        outbox: Outbox,
        selection: Callable[[str], bool] | None = None,
        *,
        found: Found | None = None,
        opens: Callable[[str, bytes], bool] = lambda _packet_id, _sealed: False,
    ) -> None:
        assert isinstance(outbox.spool, FolderSpool)
        self._outbox = outbox
        self._spool = outbox.spool
        self._part = selection is not None
        self._end = (0, "")
        self._selected = selection or (lambda _packet_id: True)
        self._found = found
        self._opens = opens
        self._differing: set[str] = set()
        self._purged: set[str] = set()
        self._digests: dict[str, bytes] = {}

    def plan(self, records: Iterable[Mapping[str, object]]) -> Callable[[str], bool]:
        """Want the bytes of every packet that was not purged."""
        self._spool.begin_filling()
        for packet in _packets(records):
            packet_id = str(packet["packet_id"])
            if packet["location"] == _PURGED:
                self._purged.add(packet_id)
            else:
                self._purged.discard(packet_id)
        return lambda packet_id: packet_id not in self._purged

    def holds(self, packet_id: str, sha256: str) -> bool:
        """Return whether the spool has the packet's bytes, whole. What a restore before could not write is not there.

        Other bytes than the backup's may be the newer ones, as of a packet that was rewrapped since. Where an outbox is
        made anew they stay if they are proven whole, and make way only once the backup's copy is.
        """
        try:
            with self._spool.path(packet_id).open("rb") as file:
                # Memory goes on to show what the medium did not take.
                files.drop_page_cache(file)
                here = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            here = None
        whole = here is not None and (here == sha256 or self._proven(packet_id, here))
        self._digests[packet_id] = bytes.fromhex(here if whole and here is not None else sha256)
        if self._found is not None and here is not None:
            if whole:
                self._found.trust(packet_id)
            else:
                self._differing.add(packet_id)
        return whole

    def _proven(self, packet_id: str, sha256: str) -> bool:
        if self._found is None:
            return False
        if self._found.recorded(packet_id, sha256):
            return True
        try:
            return self._opens(packet_id, self._spool.path(packet_id).read_bytes())
        except OSError:
            return False

    def add_packet(self, packet_id: str, sealed: bytes) -> None:
        """Write a packet into the spool; all are durable before their rows are.

        A file that a crash left half is found by :meth:`holds` when the restore goes on.
        """
        if self._found is not None and packet_id in self._differing:
            self._found.set_apart(packet_id, "it differs from the backup's whole copy, which took its place")
            self._differing.discard(packet_id)
        self._spool.fill(packet_id, sealed)

    def import_state(self, records: Iterable[Mapping[str, object]]) -> Sequence[str]:
        """Write the rows, and make new ones for packets that the state does not know.

        A backup may hold packets that were recorded after its state was read, and a state may be damaged:
        without a row such packets would be collected as garbage.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ktpsync-restore") as syncer:
            durable = syncer.submit(self._spool.finish_filling)
            lacking = self._import(records, durable)
            durable.result()
        return lacking

    def _import(self, records: Iterable[Mapping[str, object]], durable: Future[None]) -> Sequence[str]:
        if self._found is not None:
            for packet_id in sorted(self._differing):
                self._found.leave(
                    packet_id,
                    "its file differs from what the backup recorded, and the backup's copy is damaged",
                )
        lacking: dict[str, None] = {}
        if next(self._outbox.packets(), None) is None:
            self._outbox.import_state(
                self._completed(records, durable), former=(lambda: self._end) if self._part else None
            )
        for packet in self._outbox.packets():
            if packet.location != _PURGED and not self._spool.path(packet.packet_id).exists():
                lacking[packet.packet_id] = None
        return tuple(lacking)

    def _completed(
        self, records: Iterable[Mapping[str, object]], durable: Future[None]
    ) -> Iterator[Mapping[str, object]]:
        known: set[str] = set()
        cursors: dict[object, object] = {}
        for record in records:
            packet = record.get("packet")
            if not isinstance(packet, dict):
                self._end = max([self._end, *_chained(record)])
                if isinstance(destination := record.get("destination"), dict):
                    cursors[destination["dest"]] = destination["cursor"]
                yield record
                continue
            packet_id = str(packet["packet_id"])
            self._end = max([self._end, *_chained(record)])
            if not self._selected(packet_id):
                continue
            known.add(packet_id)
            here = packet["location"] != _PURGED and self._spool.path(packet_id).exists()
            taken = record if self._found is None else self._found.settled(record)
            yield {**taken, "packet": {**packet, **self._restored(packet_id)}} if here else taken
        for record in self._unknown(known) if self._found is None else self._found.records():
            if isinstance(destination := record.get("destination"), dict):
                # What a person decided since; the statuses up to the cursor are the backup's.
                yield {**record, "destination": {**destination, "cursor": cursors.get(destination["dest"])}}
            elif not any(packet["packet_id"] in known for packet in _packets([record])):
                yield record
        # The rows are committed when this ends: no row before its bytes.
        durable.result()

    def _unknown(self, known: Collection[str]) -> Iterator[Mapping[str, object]]:
        for path in sorted(self._spool.folder.glob("*/*.age")):
            if path.stem in known:
                continue
            with path.open("rb") as file:
                sha256, size = files.sha256_of(file)
            yield recovered(path.stem, sha256, size, at_ms=uuid.UUID(path.stem).int >> 80)

    def _restored(self, packet_id: str) -> Mapping[str, object]:
        """Return what the row must say of the bytes that are there now.

        A packet that was rewrapped after it was last copied comes back with its former header.
        """
        digest = self._digests.get(packet_id)
        facts: dict[str, object] = {"location": _SPOOL}
        # The digest of what nobody could prove whole would make it look whole.
        if digest is not None and packet_id not in self._differing:
            facts |= {
                "sha256": digest.hex(),
                "size": self._spool.path(packet_id).stat().st_size,
            }
        return facts


def purged_packets(outbox: Outbox) -> Iterator[tuple[str, int]]:
    """Yield what a prune may drop: each purged packet with the outbox sequence of its purge.

    One that has to be delivered again since, or still waits for a person, is none of them: the backup has the last
    of it.

    Args:
        outbox: Its audit trail is read from the beginning.
    """
    purged = {
        entry.packet_id: entry.seq
        for entry in outbox.audit.entries()
        if entry.event == _PURGED and entry.packet_id is not None and entry.seq is not None
    }
    undelivered = {
        delivery.packet_id
        for state in (DeliveryState.PENDING, DeliveryState.LEASED, DeliveryState.REJECTED)
        for delivery in outbox.deliveries(state=state)
    }
    for packet in outbox.packets():
        sequence = purged.get(packet.packet_id)
        if sequence is not None and packet.location == _PURGED and packet.packet_id not in undelivered:
            yield packet.packet_id, sequence


def _chained(record: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    """Yield number and hash of a record's entries of the trail."""
    told = record.get("audit", [])
    for entry in told if isinstance(told, list) else [told]:
        if isinstance(entry, dict) and isinstance(entry["seq"], int) and isinstance(entry["hash"], str):
            yield entry["seq"], entry["hash"]


def _packets(records: Iterable[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    for record in records:
        packet = record.get("packet")
        if isinstance(packet, dict):
            yield packet
