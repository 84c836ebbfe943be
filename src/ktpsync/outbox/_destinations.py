"""Destinations as all processes share them: registered or retired, paused, throttled, believed reachable or not."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ktpsync.errors import UnknownDestinationError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._backfill import FILLING, announce, backfill
from ktpsync.outbox._breaker import (
    CLOSED,
    HALF_OPEN,
    LONGEST_THROTTLE_MS,
    OPEN,
    Breaker,
    BreakerPolicy,
    after_failure,
    after_success,
    probe_due,
    probing,
)
from ktpsync.outbox._values import Delivered, DestinationState, Returned
from ktpsync.plain import anonymous, plain
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._values import AuditEntry, DestinationSpec, Outcome

log = logging.getLogger("ktpsync.outbox.destinations")

COURIER = "courier"
COPY = "copy"
COPY_PREFIX = "repository:"
_ACTIVE = 1

_COLUMNS = (
    "dest, kind, required, active, paused, breaker, fail_run, opened, until_ms, throttled_ms, epoch, "
    "last_error, cursor, settings, delivered"
)
_REGISTER = """
INSERT INTO ktpsync_destination
  (dest, kind, required, active, breaker, fail_run, opened, until_ms, throttled_ms, epoch, settings, delivered)
VALUES (:dest, :kind, :required, 0, 'closed', 0, 0, 0, 0, 0, '{}', 0) ON CONFLICT DO NOTHING
"""
_PURGED_BEFORE = """
SELECT COUNT(*) FROM ktpsync_packet p WHERE p.location = 'purged' AND NOT EXISTS (
  SELECT 1 FROM ktpsync_delivery d WHERE d.packet_id = p.packet_id AND d.dest = :dest)
"""
_FILLED = f"UPDATE ktpsync_destination SET active = {FILLING} WHERE dest = :dest AND active = 0"

_UPDATE = """
UPDATE ktpsync_destination SET breaker = :breaker, fail_run = :run, opened = :opened, until_ms = :until_ms,
  epoch = :epoch, throttled_ms = :throttled_ms, last_error = :last_error, delivered = delivered + :delivered
WHERE dest = :dest
"""

_ALL_WELL = """
UPDATE ktpsync_destination SET delivered = delivered + :delivered
WHERE dest = :dest AND breaker = 'closed' AND fail_run = 0
"""


class Destinations:
    """The destinations of one outbox."""

    def __init__(
        self, database: Database, audit: AuditTrail, clock: Clock, random: Random, policy: BreakerPolicy
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._random = random
        self._policy = policy

    def register(self, spec: DestinationSpec, *, kind: str = COURIER) -> bool:
        """Make a destination known; packets still in the spool get a delivery to it.

        Returns:
            Whether it was new.
        """
        sql = self._database.sql
        bound = {"dest": spec.name, "kind": kind, "required": int(spec.required)}
        with self._database.read() as connection:
            row = connection.execute(
                sql("SELECT required, active FROM ktpsync_destination WHERE dest = :dest"), bound
            ).first()
        if row is not None and (bool(row.required), row.active) == (spec.required, _ACTIVE):
            return False
        if row is None or row.active != _ACTIVE:
            with self._database.write() as connection:
                announce(self._database, connection, spec.name)
                connection.execute(sql(_REGISTER), bound)
                connection.execute(sql(_FILLED), bound)
            backfill(self._database, spec.name, self._clock)
        with self._database.write() as connection:
            purged = 0
            if kind == COURIER and (row is None or row.active != _ACTIVE):
                purged = connection.execute(sql(_PURGED_BEFORE), bound).scalar_one()
            connection.execute(
                sql("UPDATE ktpsync_destination SET required = :required, active = 1 WHERE dest = :dest"),
                bound,
            )
            told = entry(
                "destination-registered",
                at_ms=self._clock.now_ms(),
                destination=spec.name,
                required=int(spec.required),
                purged_before=purged or None,
            )
            self._audit.append(connection, [told])
        if purged:
            packets = counted(purged, "packet does", "packets do")
            log.warning("%s", f"{packets} not go to {spec.name}, which is new: the bytes were purged before.")
        return True

    def retire(self, dest: str, *, who: str, why: str) -> int:
        """Stop a destination for good: what it has not got yet is cancelled.

        Returns:
            How many deliveries were cancelled.
        """
        sql = self._database.sql
        at_ms = self._clock.now_ms()
        with self._database.write() as connection:
            self._row(connection, dest)
            connection.execute(
                sql("UPDATE ktpsync_destination SET active = 0, required = 0 WHERE dest = :dest"),
                {"dest": dest},
            )
            cancelled = connection.execute(
                sql(
                    "UPDATE ktpsync_delivery SET state = 'cancelled', owner = NULL, fence = fence + 1, "
                    "settled_ms = :at WHERE dest = :dest AND state IN ('open', 'rejected') RETURNING packet_id"
                ),
                {"dest": dest, "at": at_ms},
            ).scalars()
            told = [
                entry("cancelled", at_ms=at_ms, packet_id=packet_id, destination=dest, who=who, why=why)
                for packet_id in cancelled
            ]
            told.append(entry("destination-retired", at_ms=at_ms, destination=dest, who=who, why=why))
            self._audit.append(connection, told)
        return len(told) - 1

    def state(self, dest: str) -> DestinationState:
        """Return what is known of a destination.

        Raises:
            UnknownDestinationError: It was never registered.
        """
        with self._database.read() as connection:
            return _state(self._row(connection, dest))

    def states(self) -> list[DestinationState]:
        """Return all destinations that couriers serve."""
        with self._database.read() as connection:
            rows = connection.execute(
                self._database.sql(
                    f"SELECT {_COLUMNS} FROM ktpsync_destination WHERE kind = 'courier' AND active = 1 ORDER BY dest"
                )
            ).all()
        return [_state(row) for row in rows]

    def learn(self, transaction: Connection, dest: str, outcomes: Sequence[Outcome]) -> list[AuditEntry]:
        """Draw the conclusions from attempts on the destination itself, in the caller's transaction."""
        if set(map(type, outcomes)) <= {Delivered}:
            bound = {"dest": dest, "delivered": len(outcomes)}
            if self._database.change(transaction, _ALL_WELL, bound):
                return []
        row = self._row(transaction, dest, lock=True)
        now_ms = self._clock.now_ms()
        breaker = _breaker(row)
        throttled_ms, last_error, delivered = row.throttled_ms, row.last_error, 0
        for outcome in outcomes:
            if isinstance(outcome, Delivered):
                breaker = after_success(breaker, self._policy)
                delivered += 1
            elif isinstance(outcome, Returned):
                if outcome.unavailable:
                    breaker = after_failure(breaker, self._policy, now_ms, self._random)
                    last_error = outcome.reason
                if outcome.retry_after_ms is not None:
                    throttled_ms = _throttled_until(throttled_ms, outcome.retry_after_ms, now_ms)
        return self._write(
            transaction,
            row,
            breaker,
            throttled_ms=throttled_ms,
            last_error=last_error,
            delivered=delivered,
        )

    def start_probe(self, dest: str) -> bool:
        """Return whether this caller, and nobody else, may probe the destination now."""
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            breaker, now_ms = _breaker(row), self._clock.now_ms()
            if not probe_due(breaker, self._policy, now_ms):
                return False
            after = probing(breaker, self._policy, now_ms)
            self._write(connection, row, after)
        return True

    def probe_soon(self, dest: str) -> None:
        """Let the next probe be now, because a person has asked for it."""
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            breaker = _breaker(row)
            if breaker.state == OPEN:
                self._write(connection, row, evolve(breaker, until_ms=self._clock.now_ms()))

    def end_probe(self, dest: str, *, error: str | None) -> None:
        """Write down what a probe found; ``None`` means that the destination answered."""
        error = None if error is None else plain(error)
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            before = _breaker(row)
            if error is None:
                after = after_success(before, self._policy)
            else:
                # While it is closed, couriers ask only after a delivery that got no answer for long: that is enough.
                doubted = evolve(before, run=self._policy.threshold) if before.state == CLOSED else before
                after = after_failure(doubted, self._policy, self._clock.now_ms(), self._random)
            told = self._write(connection, row, after, last_error=error)
            self._audit.append(connection, told)

    def throttle(self, dest: str, wait_ms: int) -> None:
        """Let nobody ask a destination for so long, because it has asked for that."""
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            throttled_ms = _throttled_until(row.throttled_ms, wait_ms, now_ms)
            self._write(connection, row, _breaker(row), throttled_ms=throttled_ms)

    def pause(self, dest: str, *, reason: str, who: str = "") -> bool:
        """Stop a destination until a person resumes it; return whether it was running."""
        told = anonymous(reason) if who else plain(reason)
        return self._set_paused(dest, told, event="destination-paused", who=who)

    def resume(self, dest: str, *, who: str) -> bool:
        """Let a destination work again that is paused, or has asked to wait; return whether it was."""
        waited = self.ask_anew(dest)
        paused = self._set_paused(dest, None, event="destination-resumed", who=who)
        if waited and not paused:
            with self._database.write() as connection:
                at_ms = self._clock.now_ms()
                told = entry("destination-resumed", at_ms=at_ms, destination=dest, who=who)
                self._audit.append(connection, [told])
        return waited or paused

    def ask_anew(self, dest: str) -> bool:
        """Forget until when a destination has asked to wait, and let the next probe be now; return whether it had asked."""
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            breaker, now_ms = _breaker(row), self._clock.now_ms()
            if breaker.state == OPEN:
                breaker = evolve(breaker, until_ms=now_ms)
            self._write(connection, row, breaker, throttled_ms=0)
            return bool(row.throttled_ms > now_ms)

    def stopped_since_ms(self, dest: str) -> int | None:
        """Return when a destination was stopped last; ``None``: the audit trail does not reach back so far."""
        return self._audit.last_ms("destination-paused", dest)

    def set_settings(self, dest: str, settings: Mapping[str, str], *, who: str) -> None:
        """Keep settings made at run time, such as ``rate``; they hold over the configuration."""
        with self._database.write() as connection:
            self._row(connection, dest, lock=True)
            text = json.dumps(dict(settings), sort_keys=True)
            connection.execute(
                self._database.sql("UPDATE ktpsync_destination SET settings = :settings WHERE dest = :dest"),
                {"dest": dest, "settings": text},
            )
            told = entry(
                "destination-settings", at_ms=self._clock.now_ms(), destination=dest, who=who, settings=text
            )
            self._audit.append(connection, [told])

    def count(self, connection: Connection, dest: str, delivered: int) -> None:
        """Correct the number of packets a destination has, in the caller's transaction."""
        connection.execute(
            self._database.sql(
                "UPDATE ktpsync_destination SET delivered = delivered + :n WHERE dest = :dest"
            ),
            {"n": delivered, "dest": dest},
        )

    def _set_paused(self, dest: str, reason: str | None, *, event: str, who: str) -> bool:
        with self._database.write() as connection:
            row = self._row(connection, dest, lock=True)
            if (row.paused is None) == (reason is None):
                return False
            connection.execute(
                self._database.sql("UPDATE ktpsync_destination SET paused = :reason WHERE dest = :dest"),
                {"dest": dest, "reason": reason},
            )
            told = entry(event, at_ms=self._clock.now_ms(), destination=dest, who=who, reason=reason)
            self._audit.append(connection, [told])
        return True

    def _row(self, transaction: Connection, dest: str, *, lock: bool = False) -> Any:
        suffix = " FOR UPDATE" if lock and self._database.kind == "postgresql" else ""
        statement = f"SELECT {_COLUMNS} FROM ktpsync_destination WHERE dest = :dest{suffix}"
        found = self._database.rows(transaction, statement, {"dest": dest})
        if not found:
            raise UnknownDestinationError(
                f"The outbox knows no destination {dest!r}; name it in the configuration."
            )
        return found[0]

    def _write(
        self,
        transaction: Connection,
        row: Row[tuple[object, ...]],
        after: Breaker,
        *,
        throttled_ms: int | None = None,
        last_error: str | None = None,
        delivered: int = 0,
    ) -> list[AuditEntry]:
        before = _breaker(row)
        if throttled_ms is None:
            throttled_ms = row.throttled_ms
        if last_error is None:
            last_error = row.last_error
        if (before, row.throttled_ms, row.last_error, 0) == (after, throttled_ms, last_error, delivered):
            return []
        bound = {
            "dest": row.dest,
            "breaker": after.state,
            "run": after.run,
            "opened": after.opened,
            "until_ms": after.until_ms,
            "epoch": after.epoch,
            "throttled_ms": throttled_ms,
            "last_error": last_error,
            "delivered": delivered,
        }
        self._database.change(transaction, _UPDATE, bound)
        # A probe that fails every five minutes for months is not news each time.
        if before.state == CLOSED and after.state == OPEN:
            event = "destination-unreachable"
        elif before.state != CLOSED and after.state == CLOSED:
            event = "destination-reachable"
        else:
            return []
        return [entry(event, at_ms=self._clock.now_ms(), destination=row.dest, reason=last_error)]


def _throttled_until(before_ms: int, wait_ms: int, now_ms: int) -> int:
    return max(before_ms if before_ms > now_ms else 0, now_ms + min(wait_ms, LONGEST_THROTTLE_MS))


def _breaker(row: Row[tuple[object, ...]]) -> Breaker:
    return Breaker(
        state=row.breaker, run=row.fail_run, opened=row.opened, until_ms=row.until_ms, epoch=row.epoch
    )


def _state(row: Row[tuple[object, ...]]) -> DestinationState:
    return DestinationState(
        name=row.dest,
        required=bool(row.required),
        paused=row.paused,
        breaker=("trial" if row.fail_run else "probing") if row.breaker == HALF_OPEN else row.breaker,
        probe_at_ms=row.until_ms
        if row.breaker == OPEN or (row.breaker == HALF_OPEN and not row.fail_run)
        else 0,
        throttled_until_ms=row.throttled_ms,
        failing=row.breaker == CLOSED and row.fail_run > 0,
        last_error=row.last_error,
        cursor=row.cursor,
        settings=json.loads(row.settings),
        delivered=row.delivered,
        epoch=row.epoch,
    )
