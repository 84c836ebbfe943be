"""Reading the outbox: for people, programs and the backup."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ktpsync.clock import utc_from_ms
from ktpsync.errors import UnknownPacketError
from ktpsync.outbox._audit import from_row
from ktpsync.outbox._receipts import receipt_from_json
from ktpsync.outbox._registration import NOT_REGISTERED
from ktpsync.outbox._states import DAMAGED, OPEN, DeliveryState
from ktpsync.outbox._values import DeliveryView, DestinationSummary, PacketStatus, PacketView
from ktpsync.packet import called
from ktpsync.plugins import StatusChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa
    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._destinations import Destinations
    from ktpsync.outbox._spool import Spool
    from ktpsync.packet import SealedPacket

_PACKET = "packet_id, sha256, size, reference, urgent, created_ms, location, status, status_ms"
_DELIVERY = (
    "d.id, d.packet_id, d.dest, d.state, d.owner, d.attempts, d.failures, d.due_ms, d.code, d.reason, d.receipt, "
    "d.settled_ms"
)
_OPEN_COUNTS = """
SELECT COUNT(*) AS waiting, SUM(CASE WHEN owner IS NOT NULL AND due_ms > :now THEN 1 ELSE 0 END) AS leased,
  SUM(size) AS bytes, MIN(id) AS oldest
FROM ktpsync_delivery WHERE state = 'open' AND dest = :dest
"""
_REJECTED_COUNTS = """
SELECT code, COUNT(*) AS n FROM ktpsync_delivery WHERE state = 'rejected' AND dest = :dest GROUP BY code
"""


class Views:
    """Questions to one outbox; none of them waits for writers."""

    def __init__(self, database: Database, spool: Spool, destinations: Destinations, clock: Clock) -> None:
        self._database = database
        self._spool = spool
        self._destinations = destinations
        self._clock = clock

    def status(self, packet_id: str) -> PacketStatus:
        """Return all that is known of a packet.

        Raises:
            UnknownPacketError: The outbox has no such packet.
        """
        sql = self._database.sql
        bound = {"packet_id": packet_id}
        with self._database.read(consistent=True) as connection:
            row = connection.execute(
                sql(f"SELECT {_PACKET} FROM ktpsync_packet WHERE packet_id = :packet_id"), bound
            ).first()
            if row is None:
                raise UnknownPacketError(f"This outbox has no packet {called(packet_id)}.")
            deliveries = connection.execute(
                sql(
                    f"SELECT {_DELIVERY} FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest "
                    "WHERE d.packet_id = :packet_id AND t.kind = 'courier' ORDER BY d.dest"
                ),
                bound,
            ).all()
            statuses = connection.execute(
                sql(
                    "SELECT packet_id, status, changed_ms, note FROM ktpsync_status WHERE packet_id = :packet_id "
                    "ORDER BY changed_ms, id"
                ),
                bound,
            ).all()
            history = connection.execute(
                sql(
                    "SELECT seq, at_ms, event, packet_id, dest, who, detail, hash FROM ktpsync_audit "
                    "WHERE packet_id = :packet_id ORDER BY id"
                ),
                bound,
            ).all()
        now_ms = self._clock.now_ms()
        return PacketStatus(
            packet=packet_view(row),
            deliveries=tuple(_delivery_view(item, now_ms) for item in deliveries),
            registration_status=row.status,
            statuses=tuple(
                StatusChange(
                    packet_id=packet_id,
                    status=item.status,
                    changed_at=utc_from_ms(item.changed_ms),
                    note=item.note,
                )
                for item in statuses
            ),
            history=tuple(from_row(item) for item in history),
        )

    def spooled(self, packet_ids: Sequence[str]) -> set[str]:
        """Return those of these packets whose bytes the spool has, as their rows say."""
        statement = self._database.among(
            "SELECT packet_id FROM ktpsync_packet WHERE location = 'spool' AND packet_id IN :ids", "ids"
        )
        with self._database.read() as connection:
            return set(connection.execute(statement, {"ids": list(packet_ids)}).scalars())

    def located(self, packet_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return where the bytes of those packets are that are known, and their digests."""
        statement = self._database.among(
            "SELECT packet_id, location, sha256 FROM ktpsync_packet WHERE packet_id IN :ids", "ids"
        )
        with self._database.read() as connection:
            rows = connection.execute(statement, {"ids": list(packet_ids)}).all()
        return {row.packet_id: (row.location, row.sha256) for row in rows}

    def locate(self, packet_id: str) -> tuple[str, str] | None:
        """Return where a packet's bytes are, and their digest; ``None`` for an unknown packet."""
        query = self._database.sql("SELECT location, sha256 FROM ktpsync_packet WHERE packet_id = :packet_id")
        with self._database.read() as connection:
            row = connection.execute(query, {"packet_id": packet_id}).first()
        return None if row is None else (row.location, row.sha256)

    def recent(self) -> list[SealedPacket]:
        """Return the packets that were recorded last, of those in the spool, the newest first."""
        query = self._database.sql(
            "SELECT packet_id, sha256, size FROM ktpsync_packet WHERE location = 'spool' ORDER BY packet_id DESC LIMIT 10"
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [self._spool.packet(row.packet_id, row.sha256, row.size) for row in rows]

    def newest_goes_nowhere(self) -> bool:
        """Return whether the newest packet has no deliveries at all."""
        query = self._database.sql(
            "SELECT 1 FROM (SELECT packet_id FROM ktpsync_packet ORDER BY packet_id DESC LIMIT 1) p "
            "WHERE NOT EXISTS (SELECT 1 FROM ktpsync_delivery d WHERE d.packet_id = p.packet_id)"
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def find(self, *, reference: str | None, person: bytes | None) -> list[PacketView]:
        """Return the packets with a reference, or of a person, oldest first."""
        column, value = ("reference", reference) if reference is not None else ("person", person)
        with self._database.read() as connection:
            rows = connection.execute(
                self._database.sql(
                    f"SELECT {_PACKET} FROM ktpsync_packet WHERE {column} = :value ORDER BY packet_id"
                ),
                {"value": value},
            ).all()
        return [packet_view(row) for row in rows]

    def person(self, packet_id: str, connection: sa.Connection | None) -> bytes | None:
        """Return the keyed hash of the person of a packet, where it is known."""
        statement = "SELECT person FROM ktpsync_packet WHERE packet_id = :packet_id"
        with self._database.read() if connection is None else contextlib.nullcontext(connection) as given:
            rows = self._database.rows(given, statement, {"packet_id": packet_id})
        if not rows:
            raise UnknownPacketError(f"This outbox has no packet {called(packet_id)}.")
        return None if rows[0].person is None else bytes(rows[0].person)

    def packets(self) -> Iterator[PacketView]:
        """Yield all packets by id, which is the order of their making, in constant memory."""
        statement = f"SELECT {_PACKET} FROM ktpsync_packet WHERE packet_id > :after ORDER BY packet_id"
        for row in self._database.paged(statement, {"after": ""}, after="packet_id"):
            yield packet_view(row)

    def rejected(self, dest: str | None) -> Iterator[DeliveryView]:
        """Yield the deliveries that wait for a person, in constant memory."""
        wanted = "AND d.dest = :dest" if dest is not None else ""
        statement = (
            f"SELECT {_DELIVERY} FROM ktpsync_delivery d WHERE d.state = 'rejected' {wanted} AND d.id > :after "
            "ORDER BY d.id"
        )
        bound: dict[str, str | int] = {"after": 0} if dest is None else {"after": 0, "dest": dest}
        for row in self._database.paged(statement, bound, after="id"):
            yield _delivery_view(row, self._clock.now_ms())

    def deliveries(
        self, dest: str | None, state: DeliveryState | None, status: str | None
    ) -> Iterator[DeliveryView]:
        """Yield deliveries in the order of their making, in constant memory."""
        wanted = ["t.kind = 'courier'", "d.id > :after"]
        bound: dict[str, str | int] = {"after": 0}
        if dest is not None:
            wanted.append("d.dest = :dest")
            bound["dest"] = dest
        if state is not None:
            wanted.append("d.state = :state")
            bound["state"] = OPEN if state in {DeliveryState.PENDING, DeliveryState.LEASED} else state.value
        if status is not None:
            wanted.append("p.status = :status")
            bound["status"] = status
        statement = (
            f"SELECT {_DELIVERY} FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest "
            f"JOIN ktpsync_packet p ON p.packet_id = d.packet_id WHERE {' AND '.join(wanted)} ORDER BY d.id"
        )
        rows = self._database.paged(statement, bound, after="id")
        views = (_delivery_view(row, self._clock.now_ms()) for row in rows)
        yield from (view for view in views if state in {None, view.state})

    def summary(self, dest: str | None) -> list[DestinationSummary]:
        """Return counts per destination. Reads the index of what is open, never what is settled."""
        sql = self._database.sql
        states = [state for state in self._destinations.states() if dest in {None, state.name}]
        now_ms = self._clock.now_ms()
        with self._database.read(consistent=True) as connection:
            found = []
            for state in states:
                bound = {"dest": state.name, "now": now_ms}
                row = connection.execute(sql(_OPEN_COUNTS), bound).one()
                rejected = {item.code: item.n for item in connection.execute(sql(_REJECTED_COUNTS), bound)}
                found.append(
                    DestinationSummary(
                        state=state,
                        pending=row.waiting - (row.leased or 0),
                        leased=row.leased or 0,
                        rejected=sum(rejected.values()),
                        damaged=rejected.get(DAMAGED, 0),
                        not_registered=rejected.get(NOT_REGISTERED, 0),
                        delivered=state.delivered,
                        open_bytes=int(row.bytes or 0),
                        oldest_at=None
                        if row.oldest is None
                        else utc_from_ms(created_ms(self._database, connection, row.oldest)),
                    )
                )
        return found

    def registration_statuses(self) -> dict[str, int]:
        """Return how many packets have which registration status; those without one are left out."""
        with self._database.read() as connection:
            rows = connection.execute(
                self._database.sql(
                    "SELECT status, COUNT(*) AS n FROM ktpsync_packet WHERE status IS NOT NULL "
                    "GROUP BY status ORDER BY status"
                )
            )
            return {row.status: row.n for row in rows}


def created_ms(database: Database, connection: Connection, delivery_id: int) -> int:
    """Return when the packet of a delivery was made, in milliseconds since 1970."""
    statement = database.sql(
        "SELECT p.created_ms FROM ktpsync_packet p JOIN ktpsync_delivery d ON d.packet_id = p.packet_id WHERE d.id = :id"
    )
    return int(connection.execute(statement, {"id": delivery_id}).scalar_one())


def packet_view(row: Row[tuple[object, ...]]) -> PacketView:
    """Return a packet from its row."""
    return PacketView(
        packet_id=row.packet_id,
        sha256=row.sha256,
        size=row.size,
        reference=row.reference,
        urgent=bool(row.urgent),
        created_at=utc_from_ms(row.created_ms),
        location=row.location,
        status=row.status,
        status_at=None if row.status_ms is None else utc_from_ms(row.status_ms),
    )


def _delivery_view(row: Row[tuple[object, ...]], now_ms: int) -> DeliveryView:
    if row.state != OPEN:
        state = DeliveryState(row.state)
    elif row.owner is not None and row.due_ms > now_ms:
        state = DeliveryState.LEASED
    else:
        state = DeliveryState.PENDING
    return DeliveryView(
        packet_id=row.packet_id,
        destination=row.dest,
        state=state,
        attempts=row.attempts,
        failures=row.failures,
        due_at=utc_from_ms(row.due_ms),
        code=row.code,
        reason=row.reason,
        receipt=None if row.receipt is None else receipt_from_json(row.receipt),
        settled_at=None if row.settled_ms is None else utc_from_ms(row.settled_ms),
    )
