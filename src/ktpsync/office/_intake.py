"""From enrollments to packets in the outbox, one at a time or many with shared waits for the disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve

from ktpsync import packet
from ktpsync.errors import (
    AgeError,
    KtpsyncError,
    PacketError,
    RecordError,
    SpoolUnavailableError,
    StationFullError,
    UnknownPacketError,
)
from ktpsync.outbox import Submission, Submitted
from ktpsync.records._problems import problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from ktpsync.age import Recipient
    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.keys import IndexKey, StationKey
    from ktpsync.outbox import Outbox
    from ktpsync.records import Enrollment, Nik

T = TypeVar("T")

_BATCH_BYTES: Final = 32 << 20
"""Sealed bytes that are held in memory at one time, and stored with one commit."""

_BATCH_RECORDS: Final = 100
"""So many at most are lost from memory when the process is killed, however small they are."""

OnStored = Callable[[Sequence[Submitted | KtpsyncError]], None]
"""Takes the results of a batch that was stored."""


def _size(batch: Iterable[Submission | KtpsyncError]) -> int:
    return sum(len(item.sealed) for item in batch if isinstance(item, Submission))


class Intake:
    """Seals enrollments and puts them into the outbox.

    Args:
        settings: The configuration; its recipients are read at each call, so that a changed file holds at once.
        outbox: Where to.
        station_key: Signs the manifests.
        index_key: The key of the hashes by which enrollments and persons are recognised.
        clock: The clock to ask.
        make_room: Frees bytes on the station's disk if it can; returns whether it did.
    """

    def __init__(
        self,
        settings: Configuration,
        *,
        outbox: Outbox,
        station_key: StationKey,
        index_key: IndexKey,
        clock: Clock,
        make_room: Callable[[int], bool],
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._station_key = station_key
        self._index_key = index_key
        self._clock = clock
        self._make_room = make_room

    def person(self, nik: Nik) -> bytes:
        """Return the keyed hash of a NIK."""
        return self._index_key.digest("nik", nik.digits.encode("ascii"))

    def submit(self, enrollment: Enrollment, *, urgent: bool, connection: Connection | None) -> Submitted:
        """Store one; see :meth:`Office.submit`."""
        item = self._sealed(enrollment, self._settings.recipients(), urgent=urgent)
        submitted = self._with_room(
            lambda: self._outbox.submit(
                item.sealed,
                packet_id=item.packet_id,
                sha256=item.sha256,
                reference=item.reference,
                fingerprint=item.fingerprint,
                person=item.person,
                urgent=urgent,
                connection=connection,
            ),
            len(item.sealed),
            connection,
        )
        return self._with_doubts(submitted, enrollment.replaces, item.person, connection)

    def _with_doubts(
        self, submitted: Submitted, replaces: str | None, person: bytes | None, connection: Connection | None
    ) -> Submitted:
        """Look at the packet that is to be replaced. What was stored stays so, whatever happens here."""
        code = None
        if replaces is not None:
            try:
                if self._outbox.person(replaces, connection=connection) not in {None, person}:
                    code = "replaces.other-person"
            except UnknownPacketError:
                code = "replaces.unknown"
            except KtpsyncError:
                code = None
        return submitted if code is None else evolve(submitted, warnings=(problem("replaces", code),))

    def submit_many(
        self,
        enrollments: Iterable[Enrollment],
        *,
        urgent: bool,
        connection: Connection | None,
        on_stored: OnStored,
    ) -> list[Submitted | KtpsyncError]:
        """Store many; see :meth:`Office.submit_many`."""
        recipients = self._settings.recipients()
        results: list[Submitted | KtpsyncError] = []
        batch: list[Submission | KtpsyncError] = []
        replaces: dict[int, str] = {}

        def store() -> None:
            items, replaced = batch.copy(), replaces.copy()
            batch.clear()
            replaces.clear()
            done = self._store(items, connection)
            for number, packet_id in replaced.items():
                result, item = done[number], items[number]
                if isinstance(result, Submitted) and isinstance(item, Submission):
                    done[number] = self._with_doubts(result, packet_id, item.person, connection)
            results.extend(done)
            on_stored(done)

        try:
            for enrollment in enrollments:
                try:
                    batch.append(self._sealed(enrollment, recipients, urgent=urgent))
                    if enrollment.replaces is not None:
                        replaces[len(batch) - 1] = enrollment.replaces
                except (RecordError, PacketError, AgeError) as error:
                    batch.append(error)
                if len(batch) >= _BATCH_RECORDS or _size(batch) >= _BATCH_BYTES:
                    store()
        finally:
            # Where the source has failed, what it gave before is stored all the same.
            if batch:
                store()
        return results

    def _store(
        self, batch: Sequence[Submission | KtpsyncError], connection: Connection | None
    ) -> list[Submitted | KtpsyncError]:
        """Store what of a batch could be sealed; return a result for each."""
        good = [item for item in batch if isinstance(item, Submission)]
        if not good:
            return [item for item in batch if not isinstance(item, Submission)]
        try:
            stored: Iterable[Submitted | KtpsyncError] = self._with_room(
                lambda: self._outbox.submit_many(good, connection=connection), _size(batch), connection
            )
        except (StationFullError, SpoolUnavailableError) as error:
            stored = itertools.repeat(error)
        found = iter(stored)
        return [next(found) if isinstance(item, Submission) else item for item in batch]

    def _with_room(self, store: Callable[[], T], size: int, connection: Connection | None) -> T:
        try:
            return store()
        except StationFullError:
            # The caller's transaction keeps all others from writing to SQLite, the one that would drop packets too.
            alone = connection is not None and connection.dialect.name == "sqlite"
            if alone or not self._make_room(size):
                raise
            return store()

    def _sealed(self, enrollment: Enrollment, recipients: Sequence[Recipient], *, urgent: bool) -> Submission:
        sealing = packet.seal(
            enrollment, recipients=recipients, station_key=self._station_key, clock=self._clock
        )
        return Submission(
            sealed=sealing.sealed,
            packet_id=sealing.packet.packet_id,
            sha256=sealing.packet.sha256,
            reference=enrollment.reference,
            fingerprint=self._index_key.digest("content", sealing.content_sha256),
            person=self.person(enrollment.nik),
            urgent=urgent,
        )
