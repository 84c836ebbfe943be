"""Making a damaged SQLite outbox anew from the sealed files of its spool and what can be read of its database.

Nothing is deleted: the damaged database is set aside whole, and so is each file that cannot be a packet.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.clock import utc_from_ms
from ktpsync.errors import PacketError, SpoolUnavailableError
from ktpsync.files import create_private, fsync_folder, make_folder, sha256_of
from ktpsync.outbox._audit import entry
from ktpsync.outbox._database import used_by_nobody
from ktpsync.outbox._looks_sealed import HEADER_LIMIT, why_not_sealed
from ktpsync.outbox._migrate import refuse_newer
from ktpsync.outbox._orphans import ORPHAN_AGE_MS
from ktpsync.outbox._outbox import Outbox
from ktpsync.outbox._quarantine import Quarantine
from ktpsync.outbox._remains import Remains
from ktpsync.outbox._states import OPEN, DeliveryState
from ktpsync.outbox._trail_notes import FolderTrailNotes
from ktpsync.outbox._transfer import as_record
from ktpsync.packet import parse_packet_id

if TYPE_CHECKING:
    from ktpsync.clock import Clock
    from ktpsync.outbox._folder_spool import FolderSpool
    from ktpsync.outbox._values import DestinationSpec

_PARTS = ("-wal", "-shm", "")

Record = Mapping[str, object]


@frozen(kw_only=True)
class Rebuilt:
    """What making an outbox anew found.

    Args:
        aside: The folder of the damaged database; ``None`` if there was none.
        packets: Packets that the new outbox knows.
        from_spool: How many of these have their sealed file in the spool.
        recognised: Packets of which the damaged database still told the reference and the rest.
        receipts: Deliveries whose receipt or settling by a person could still be read.
        quarantined: Files that cannot be packets, or that a backup's copy was better than, each with the reason, now in
            ``quarantine``.
        quarantine: Their folder.
        left: Files of more than a day ago that no row names and no mark shows to have had one: most likely a rollback's. They
            stay where they are, and ``ktpsync doctor --recover --since`` takes them.
        doubtful: Ids of packets with a file in the spool that is not proven whole and was left, each with the reason.
    """

    aside: Path | None
    packets: int
    from_spool: int
    recognised: int
    receipts: int
    quarantined: tuple[tuple[str, str], ...]
    quarantine: Path
    doubtful: tuple[tuple[str, str], ...]
    left: int


def rebuild(
    database: Path,
    spool: FolderSpool,
    *,
    destinations: Sequence[DestinationSpec],
    clock: Clock,
    fill: Callable[[Outbox, Found], None] | None = None,
    new_spool: bool = False,
) -> Rebuilt:
    """Set a damaged SQLite database aside and make it anew.

    The new database takes the old one's place as the last step: when this is interrupted, the old one is
    still there, and it can be called again. Every packet that is not known to be settled is pending again;
    destinations give the same receipt for the same bytes, and reconciling asks the centre first.

    Args:
        database: The database file. It may be missing.
        spool: The sealed files.
        destinations: Where packets go.
        clock: The clock to ask.
        fill: Fills the new outbox with more than what is here, as from a backup.
        new_spool: Whether the spool may be an empty folder that no outbox has used: because the former one is lost.

    Raises:
        OutboxInUseError: Another process works with the outbox; nothing was changed.
        SchemaVersionError: The database is of a newer release; nothing was changed.
        SpoolUnavailableError: The spool is such a folder, and may not be; nothing was changed.
        OutboxError: The records cannot be taken in; the damaged database is still in its place.
    """
    make_folder(database.parent, mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.enter_context(used_by_nobody(database))
        remains = stack.enter_context(Remains(database))
        refuse_newer(database, remains.version())
        if database.exists() and spool.blank and not new_spool:
            raise SpoolUnavailableError(
                f"The folder of the spool, {spool.folder}, is empty. Nothing was changed. Is its disk or share mounted? If "
                "all that was in it is lost, give --new-spool as well."
            )
        gathering = _Gathering(spool, remains, Quarantine(spool, clock), clock)
        spool.recover_rewrapped(gathering.recorded)
        new = database.with_name(f"{database.name}.rebuilding")
        stack.callback(_clear, new)
        _clear(new)
        with Outbox.open(
            new, spool.folder, destinations=destinations, clock=clock, recovering=True
        ) as outbox:
            found = Found(gathering, new.with_name(f"{new.name}.records"))
            if fill is None:
                outbox.import_state(found.records())
            else:
                fill(outbox, found)
            packets = sum(1 for _ in outbox.packets())
        # Not before: a backup may have had nothing better. Not after: the new database collects files without a row.
        gathering.set_all_apart()
        # The spool is to be the new database's.
        spool.disown()
        FolderTrailNotes(spool.folder).forget()
        aside = _set_aside(database, clock)
        for part in _PARTS:
            with contextlib.suppress(FileNotFoundError):
                new.with_name(new.name + part).replace(database.with_name(database.name + part))
        fsync_folder(database.parent)
    return Rebuilt(
        aside=aside,
        packets=packets,
        from_spool=gathering.from_spool,
        recognised=gathering.recognised,
        receipts=gathering.receipts,
        quarantined=tuple(gathering.quarantined),
        quarantine=gathering.quarantine.folder,
        doubtful=tuple(gathering.doubtful),
        left=gathering.left,
    )


def recovered(packet_id: str, sha256: str, size: int, *, at_ms: int) -> dict[str, object]:
    """Return the record of a packet of which no more is known than its bytes and the time in its id."""
    told = entry("recovered", at_ms=at_ms, packet_id=packet_id, sha256=sha256, size=size)
    return {
        "kind": "packet",
        "packet": {
            "packet_id": packet_id,
            "sha256": sha256,
            "size": size,
            "reference": None,
            "fingerprint": None,
            "person": None,
            "urgent": 0,
            "created_ms": uuid.UUID(packet_id).int >> 80,
            "location": "spool",
            "status": None,
            "status_ms": None,
        },
        "deliveries": [],
        "statuses": [],
        "audit": [as_record(told)],
    }


class Found:
    """What the spool and the damaged database still hold.

    By way of a file: a stock of 300,000 packets need not fit into memory, and is hashed only once.
    """

    def __init__(self, gathering: _Gathering, path: Path) -> None:
        self._gathering = gathering
        self._path = path
        create_private(path)  # like the database, whose records they are
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(record)}\n" for record in gathering.records())

    def records(self) -> Iterator[Record]:
        """Yield records as :meth:`Outbox.import_state` takes them: of the office as a whole, then one for each packet."""
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def settled(self, record: Record) -> Record:
        """Return a backup's record of a packet with what the damaged database has settled since."""
        return self._gathering.settled(record)

    def recorded(self, packet_id: str, sha256: str) -> bool:
        """Return whether the damaged database recorded these very bytes of a packet: then they are whole."""
        return self._gathering.recorded(packet_id, sha256)

    def trust(self, packet_id: str) -> None:
        """Note that a packet's file is proven whole: it stays."""
        self._gathering.trust(packet_id)

    def set_apart(self, packet_id: str, why: str) -> None:
        """Move a packet's file into quarantine, because a good copy is about to take its place."""
        self._gathering.set_apart(packet_id, why)

    def leave(self, packet_id: str, why: str) -> None:
        """Note that a packet's file, which is not proven whole, stays because there is nothing better."""
        self._gathering.leave(packet_id, why)


def _clear(new: Path) -> None:
    for path in new.parent.glob(f"{new.name}*"):
        path.unlink()


class _Gathering:
    """Goes through the spool and the damaged database, and counts."""

    def __init__(self, spool: FolderSpool, remains: Remains, quarantine: Quarantine, clock: Clock) -> None:
        self._spool = spool
        self._remains = remains
        self.quarantine = quarantine
        self._clock = clock
        self._bad: dict[Path, str] = {}
        self.from_spool = 0
        self.recognised = 0
        self.receipts = 0
        self.quarantined: list[tuple[str, str]] = []
        self.doubtful: list[tuple[str, str]] = []
        self.left = 0
        self._marks = spool.marks()

    def records(self) -> Iterator[Record]:
        at_ms = self._clock.now_ms()
        yield from self._remains.office(at_ms=at_ms)
        for path in list(self._spool.foreign_files()):
            self._bad[path] = "its name is not a packet's"
        for page in self._spool.pages(500):
            for packet_id in page:
                found = self._from_file(packet_id, at_ms)
                if found is not None:
                    yield found
        for packet_id in self._remains.elsewhere():
            known = self._remains.record(packet_id, at_ms=at_ms)
            path = self._spool.path(packet_id)
            if known is not None and (path in self._bad or not path.exists()):
                yield self._count(known, recovered(packet_id, "", 0, at_ms=at_ms))

    def _from_file(self, packet_id: str, at_ms: int) -> Record | None:
        path = self._spool.path(packet_id)
        try:
            parse_packet_id(packet_id)
        except PacketError:
            self._bad[path] = "its name is not a packet's"
            return None
        with path.open("rb") as file:
            why = why_not_sealed(file.read(HEADER_LIMIT), path.stat().st_size)
            file.seek(0)
            sha256, size = sha256_of(file)
        known = self._remains.record(packet_id, at_ms=at_ms)
        if known is not None:
            packet = known["packet"]
            assert isinstance(packet, dict)
            if (packet["sha256"], packet["size"]) == (sha256, size):
                self.from_spool += 1
                packet["location"] = "spool"
                return self._count(known, recovered(packet_id, sha256, size, at_ms=at_ms))
            why = why or "its bytes differ from what the damaged database recorded"
        if why is not None:
            self._bad[path] = why
            return None
        recorded_ms = uuid.UUID(packet_id).int >> 80
        if self._marks and recorded_ms < at_ms - ORPHAN_AGE_MS and not self._spool.kept(packet_id):
            self.left += 1
            return None
        self.from_spool += 1
        return recovered(packet_id, sha256, size, at_ms=at_ms)

    def _count(self, known: Mapping[str, object], bare: Mapping[str, object]) -> Record:
        deliveries, told, first = known["deliveries"], known["audit"], bare["audit"]
        assert isinstance(deliveries, list)
        assert isinstance(told, list)
        assert isinstance(first, list)
        self.recognised += 1
        self.receipts += len(deliveries)
        return {**known, "audit": [*first, *told]}

    def settled(self, record: Record) -> Record:
        packet, deliveries, told = record["packet"], record["deliveries"], record["audit"]
        assert isinstance(packet, dict)
        assert isinstance(deliveries, list)
        assert isinstance(told, list)
        known = self._remains.record(packet["packet_id"], at_ms=self._clock.now_ms())
        if known is None:
            return record
        later, decided = known["deliveries"], known["audit"]
        assert isinstance(later, list)
        assert isinstance(decided, list)
        former = known["packet"]
        assert isinstance(former, dict)
        # A receipt for bytes that the packet had before or has since is left to a reconciliation.
        settled = {
            item["dest"]: item
            for item in later
            if item["state"] != DeliveryState.DELIVERED.value or former["sha256"] == packet["sha256"]
        }
        new = {item["dest"] for item in deliveries if item["state"] == OPEN and item["dest"] in settled}
        return {
            **record,
            "deliveries": [settled[item["dest"]] if item["dest"] in new else item for item in deliveries],
            "audit": [*told, *(item for item in decided if item["dest"] in new)],
        }

    def recorded(self, packet_id: str, sha256: str) -> bool:
        known = self._remains.record(packet_id, at_ms=0)
        packet = {} if known is None else known["packet"]
        assert isinstance(packet, dict)
        return packet.get("sha256") == sha256

    def trust(self, packet_id: str) -> None:
        self._bad.pop(self._spool.path(packet_id), None)

    def set_apart(self, packet_id: str, why: str) -> None:
        path = self._spool.path(packet_id)
        found = self._bad.pop(path, None)
        self._set_apart(path, why if found is None else f"{found}; {why}")

    def leave(self, packet_id: str, why: str) -> None:
        if self._spool.path(packet_id) not in self._bad:
            self.doubtful.append((packet_id, why))

    def set_all_apart(self) -> None:
        """Move what cannot be a packet, and was not replaced, out of the spool."""
        while self._bad:
            path = next(iter(self._bad))
            self._set_apart(path, self._bad.pop(path))

    def _set_apart(self, path: Path, why: str) -> None:
        self.quarantine.put(path, why)
        self.quarantined.append((path.name, why))


def _set_aside(database: Path, clock: Clock) -> Path | None:
    found = [path for part in _PARTS if (path := database.with_name(database.name + part)).exists()]
    if not found:
        return None
    stamp = utc_from_ms(clock.now_ms()).strftime("%Y%m%dT%H%M%SZ")
    number = 0
    while (
        folder := database.with_name(f"{database.name}.damaged-{stamp}{f'-{number}' if number else ''}")
    ).exists():
        number += 1
    make_folder(folder, mode=0o700)
    for path in found:
        path.rename(folder / path.name)
    fsync_folder(folder)
    fsync_folder(database.parent)
    return folder
