"""Which packets a backup repository still lacks, followed like deliveries: flat cost, whatever commits late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.errors import WrongStateError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._central import STILL_WANTED
from ktpsync.outbox._destinations import COPY, COPY_PREFIX
from ktpsync.outbox._values import DestinationSpec
from ktpsync.plain import plain
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._destinations import Destinations
    from ktpsync.outbox._spool import Spool
    from ktpsync.packet import SealedPacket

_UNCOPIED = """
SELECT d.id, d.due_ms, p.packet_id, p.sha256, p.size FROM ktpsync_delivery d
JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.dest = :dest AND d.state = 'open' AND d.urgent = :urgent AND (d.due_ms, d.id) > (:due, :id)
ORDER BY d.due_ms, d.id
"""
_LACKING = """
SELECT COUNT(*) AS packets, COALESCE(SUM(size), 0) AS bytes FROM ktpsync_delivery
WHERE dest = :dest AND state = 'open'
"""
_OLDEST_LACKING = """
SELECT MIN(p.created_ms) FROM ktpsync_delivery d JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.dest = :dest AND d.state = 'open'
"""
_COPIED = """
UPDATE ktpsync_delivery SET state = 'delivered', receipt = :snapshot, settled_ms = :now,
  verified_ms = CAST(:verified AS BIGINT)
WHERE packet_id = :packet_id AND dest = :dest
  AND EXISTS (SELECT 1 FROM ktpsync_packet p WHERE p.packet_id = :packet_id AND p.sha256 = :sha256)
"""
_COPIES = """
SELECT d.packet_id FROM ktpsync_delivery d JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.dest = :dest AND d.state = 'delivered' AND p.location <> 'purged' AND d.packet_id > :after
ORDER BY d.packet_id
"""
_LOST = """
UPDATE ktpsync_delivery SET state = 'open', receipt = NULL, settled_ms = NULL, verified_ms = NULL
WHERE packet_id = :packet_id AND dest = :dest AND state = 'delivered'
  AND EXISTS (SELECT 1 FROM ktpsync_packet p WHERE p.packet_id = :packet_id AND p.location <> 'purged')
"""
_GIVEN_UP = "UPDATE ktpsync_destination SET active = 0 WHERE dest = :dest AND kind = 'copy'"
VERIFIED_COPIES = """FROM ktpsync_delivery c JOIN ktpsync_destination r ON r.dest = c.dest
  WHERE c.packet_id = p.packet_id AND r.kind = 'copy' AND r.active = 1
    AND c.state = 'delivered' AND c.verified_ms IS NOT NULL"""
"""The copies of packet p that were read back, in backups that count."""
_LAST_COPIES = f"""
SELECT p.packet_id FROM ktpsync_packet p
WHERE p.location = 'offloaded' AND EXISTS (SELECT 1 FROM ktpsync_delivery c
    WHERE c.packet_id = p.packet_id AND c.dest = :dest AND c.state = 'delivered')
  AND NOT EXISTS (SELECT 1 {VERIFIED_COPIES} AND c.dest <> :dest)
  AND EXISTS (SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
    WHERE d.packet_id = p.packet_id AND t.kind = 'courier' AND {STILL_WANTED})
ORDER BY p.packet_id
"""
"""Packets whose bytes are on one backup alone, and that are to be delivered, or that a centre may still ask for again."""
_UNVERIFY = """
UPDATE ktpsync_delivery SET verified_ms = NULL
WHERE id > :low AND id <= :high AND dest = :dest AND verified_ms IS NOT NULL
"""
_AT_ONCE = 5000
_NAMED = 5
_TARGETS = "SELECT dest FROM ktpsync_destination WHERE kind = 'copy' AND active = 1 ORDER BY dest"
_HOLDERS = """
SELECT d.dest FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
WHERE d.packet_id = :packet_id AND t.kind = 'copy' AND t.active = 1 AND d.state = 'delivered' ORDER BY d.dest
"""
_VERIFIED = """
SELECT c.dest, c.verified_ms FROM ktpsync_delivery c JOIN ktpsync_destination r ON r.dest = c.dest
WHERE c.packet_id = :packet_id AND r.kind = 'copy' AND r.active = 1
  AND c.state = 'delivered' AND c.verified_ms IS NOT NULL
"""
_UNVERIFIED = """
SELECT 1 FROM ktpsync_delivery c JOIN ktpsync_packet p ON p.packet_id = c.packet_id
WHERE c.dest = :dest AND c.state = 'delivered' AND p.location = 'spool'
  AND (c.verified_ms IS NULL OR c.verified_ms < :since OR c.verified_ms > :now) LIMIT 1
"""
_AWAITED = """
SELECT c.dest, COUNT(*) AS packets FROM ktpsync_packet p
JOIN ktpsync_delivery c ON c.packet_id = p.packet_id AND c.state = 'delivered' AND c.verified_ms IS NOT NULL
JOIN ktpsync_destination r ON r.dest = c.dest AND r.kind = 'copy' AND r.active = 1
WHERE p.location = 'offloaded' AND EXISTS (SELECT 1 FROM ktpsync_delivery d
  JOIN ktpsync_destination t ON t.dest = d.dest
  WHERE d.packet_id = p.packet_id AND t.kind = 'courier' AND d.state = 'open')
  AND NOT EXISTS (SELECT 1 FROM ktpsync_delivery h
    WHERE h.packet_id = p.packet_id AND h.state = 'delivered' AND h.dest IN :at_hand)
GROUP BY c.dest
"""


class Copies:
    """The backup repositories' view of one outbox."""

    def __init__(
        self, database: Database, spool: Spool, audit: AuditTrail, destinations: Destinations, clock: Clock
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._destinations = destinations
        self._clock = clock

    def register(self, repository: str) -> None:
        """Make a repository known; from now on each packet in the spool is one that it lacks."""
        self._destinations.register(DestinationSpec(name=COPY_PREFIX + repository, required=False), kind=COPY)

    def lacking(self, repository: str) -> tuple[int, int]:
        """Return how many packets a repository lacks, and their bytes."""
        with self._database.read() as connection:
            row = connection.execute(self._database.sql(_LACKING), {"dest": COPY_PREFIX + repository}).one()
        return row.packets, int(row.bytes)

    def oldest_lacking_ms(self, repository: str) -> int | None:
        """Return when the oldest packet that a repository lacks was recorded; the cost follows their number."""
        with self._database.read() as connection:
            found = connection.execute(
                self._database.sql(_OLDEST_LACKING), {"dest": COPY_PREFIX + repository}
            ).scalar()
        return None if found is None else int(found)

    def uncopied(self, repository: str) -> Iterator[SealedPacket]:
        """Yield the packets that a repository lacks, oldest first, in constant memory."""
        for urgent in (1, 0):
            bound = {"dest": COPY_PREFIX + repository, "urgent": urgent, "due": -1, "id": -1}
            for row in self._database.paged(_UNCOPIED, bound, due="due_ms", id="id"):
                yield self._spool.packet(row.packet_id, row.sha256, row.size)

    def mark(
        self, repository: str, packets: Mapping[str, str], *, snapshot: str, verified_ms: int | None
    ) -> None:
        """Write down that a repository has packets, and when they were read back and verified."""
        dest = COPY_PREFIX + repository
        rows = [
            {
                "packet_id": packet_id,
                "sha256": sha256,
                "dest": dest,
                "snapshot": snapshot,
                "now": self._clock.now_ms(),
                "verified": verified_ms,
            }
            for packet_id, sha256 in packets.items()
        ]
        if not rows:
            return
        with self._database.write() as connection:
            connection.execute(self._database.sql(_COPIED), rows)
            told = entry(
                "copied" if verified_ms is None else "copy-verified",
                at_ms=self._clock.now_ms(),
                destination=dest,
                snapshot=snapshot,
                packets=len(rows),
            )
            self._audit.append(connection, [told])

    def copied(self, repository: str) -> Iterator[str]:
        """Yield the packets that a repository is noted to hold, in constant memory."""
        bound = {"dest": COPY_PREFIX + repository, "after": ""}
        for row in self._database.paged(_COPIES, bound, after="packet_id"):
            yield row.packet_id

    def lose(self, repository: str, packet_ids: Iterable[str], *, why: str) -> None:
        """Write down that a repository does not hold packets whole any more: they are copied again."""
        dest = COPY_PREFIX + repository
        rows = [{"packet_id": packet_id, "dest": dest} for packet_id in packet_ids]
        if not rows:
            return
        with self._database.write() as connection:
            connection.execute(self._database.sql(_LOST), rows)
            at_ms = self._clock.now_ms()
            told = entry("copies-lost", at_ms=at_ms, destination=dest, packets=len(rows), why=why)
            self._audit.append(connection, [told])

    def give_up(self, repository: str, *, why: str) -> None:
        """Count the copies of a repository no more."""
        dest = COPY_PREFIX + repository
        with self._database.write() as connection:
            if connection.execute(self._database.sql(_GIVEN_UP), {"dest": dest}).rowcount:
                told = entry("copies-given-up", at_ms=self._clock.now_ms(), destination=dest, why=why)
                self._audit.append(connection, [told])

    def forget(self, repository: str, *, name: str, who: str, why: str) -> None:
        """Count the copies of a repository no more, for good; see :meth:`Outbox.forget_copies`."""
        dest = COPY_PREFIX + repository
        sql = self._database.sql
        with self._database.write() as connection:
            connection.execute(sql(_GIVEN_UP), {"dest": dest})
            last = connection.execute(sql(_LAST_COPIES), {"dest": dest}).scalars().all()
            if last:
                # Leaving by an error, the transaction is taken back.
                raise WrongStateError(_last_copies(name, last))
            told = entry(
                "backup-forgotten",
                at_ms=self._clock.now_ms(),
                destination=dest,
                who=plain(who),
                why=plain(why),
                name=name,
            )
            self._audit.append(connection, [told])
            highest = connection.execute(
                sql("SELECT COALESCE(MAX(id), 0) FROM ktpsync_delivery")
            ).scalar_one()
        # Should it come back, what it holds is verified anew before it counts.
        for low in range(0, highest, _AT_ONCE):
            with self._database.write() as connection:
                connection.execute(sql(_UNVERIFY), {"dest": dest, "low": low, "high": low + _AT_ONCE})

    def targets(self) -> list[str]:
        """Return the repositories whose copies count."""
        with self._database.read() as connection:
            found = connection.execute(self._database.sql(_TARGETS)).scalars().all()
        return [dest.removeprefix(COPY_PREFIX) for dest in found]

    def holders(self, packet_id: str) -> tuple[str, ...]:
        """Return the repositories that hold a packet."""
        with self._database.read() as connection:
            found = connection.execute(self._database.sql(_HOLDERS), {"packet_id": packet_id}).scalars().all()
        return tuple(dest.removeprefix(COPY_PREFIX) for dest in found)

    def verified(self, packet_id: str) -> dict[str, int]:
        """Return when a packet's copies were read back; see :meth:`Outbox.verified_copies`."""
        with self._database.read() as connection:
            rows = connection.execute(self._database.sql(_VERIFIED), {"packet_id": packet_id}).all()
        return {row.dest.removeprefix(COPY_PREFIX): row.verified_ms for row in rows}

    def unverified(self, repository: str, *, since_ms: int) -> bool:
        """Return whether packets wait to be read back; see :meth:`Outbox.unverified`."""
        with self._database.read() as connection:
            bound = {"dest": COPY_PREFIX + repository, "since": since_ms, "now": self._clock.now_ms()}
            return connection.execute(self._database.sql(_UNVERIFIED), bound).first() is not None

    def awaited(self, at_hand: Iterable[str]) -> dict[str, int]:
        """Return how many offloaded packets wait for each repository; see :meth:`Outbox.awaited_copies`."""
        statement = self._database.among(_AWAITED, "at_hand")
        bound = {"at_hand": [COPY_PREFIX + repository for repository in at_hand]}
        with self._database.read() as connection:
            rows = connection.execute(statement, bound).all()
        return {row.dest.removeprefix(COPY_PREFIX): row.packets for row in rows}


def _last_copies(name: str, packet_ids: Sequence[str]) -> str:
    shown = ", ".join(packet_ids[:_NAMED]) + (", ..." if len(packet_ids) > _NAMED else "")
    return (
        f"The bytes of {counted(len(packet_ids), 'packet', 'packets')} that may still have to be delivered are on {name} "
        f"alone ({shown}). Nothing was changed. Put {name} back into the configuration, plug it in and let them be "
        "delivered. If it is lost, so are they: `ktpsync cancel` each of them, and record these people again."
    )
