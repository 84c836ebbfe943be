"""New bytes in the place of former ones, where the spool is a folder: by renames, inside the rows' transaction."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from ktpsync import files
from ktpsync.errors import OutboxError, SpoolError
from ktpsync.outbox._folder_spool import FORMER, REWRAPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ktpsync.outbox._database import Database
    from ktpsync.outbox._folder_spool import FolderSpool
    from ktpsync.outbox._switch import Change
    from ktpsync.packet import SealedPacket

_LOCK: Final = "rewrap.lock"
_RUNNING: Final = "rewrap.running"
_DIGEST: Final = "SELECT sha256 FROM ktpsync_packet WHERE packet_id = :packet_id"
_SETTLED: Final = f"{_DIGEST} {{lock}}"
"""Skips a row that a transaction holds: one whose end was not heard of may be committed yet."""


class FolderSwitch:
    """Switches the files of one outbox; see :class:`Switch`."""

    def __init__(self, database: Database, spool: FolderSpool) -> None:
        self._database = database
        self._spool = spool

    def recover(self) -> None:
        """Put right what a crash in the middle of a change left. Does nothing while somebody else is at it."""
        if self._running.exists():
            with contextlib.suppress(OutboxError), self.alone():
                pass

    @property
    def _running(self) -> Path:
        return self._spool.folder / _RUNNING

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from switching, after what a crash left was put right; see :class:`Switch`."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self._spool.folder / _LOCK, wait=False))
            except TimeoutError:
                raise OutboxError(
                    "Another process is rewrapping the packets of this outbox. Wait until it has ended."
                ) from None
            if self._running.exists():
                self.put_right([])
            files.write_atomic(self._running, b"")
            yield
            self._running.unlink()

    def read(self, packets: Sequence[SealedPacket]) -> list[bytes | str]:
        """Return the packets' bytes, or why there are none."""
        return [self._read(packet) for packet in packets]

    def _read(self, packet: SealedPacket) -> bytes | str:
        try:
            self._spool.verify(packet)
            return self._spool.path(packet.packet_id).read_bytes()
        except (SpoolError, OSError) as error:
            return str(error)

    def stage(self, changes: Sequence[Change]) -> None:
        """Write new bytes beside the old ones, durably, under names that nobody looks for."""
        staged = {self._place(change).with_suffix(REWRAPPED): change.sealed for change in changes}
        if staged:
            files.write_many_atomic(staged, mode=0o600)

    def unstage(self, changes: Sequence[Change]) -> None:
        """Remove new bytes that are not wanted after all."""
        for change in changes:
            self._place(change).with_suffix(REWRAPPED).unlink()

    def switch(self, changes: Sequence[Change]) -> None:
        """Change the names; the former bytes live under another one until the commit."""
        for change in changes:
            path = self._place(change)
            path.rename(path.with_suffix(FORMER))
            path.with_suffix(REWRAPPED).rename(path)
        for folder in {self._place(change).parent for change in changes}:
            files.fsync_folder(folder)

    def end(self, changes: Sequence[Change]) -> None:
        """Remove the former bytes."""
        for change in changes:
            self._place(change).with_suffix(FORMER).unlink()

    def put_right(self, changes: Sequence[Change]) -> None:  # noqa: ARG002 - the files themselves tell
        """Let each file have the name that the rows want, after a failure or a crash.

        Raises:
            OutboxError: A transaction that may still be committed holds a row. Both files of its packet stay.
        """
        for former in sorted(self._spool.folder.glob(f"*/*{FORMER}")):
            path = former.with_suffix(".age")
            known = self._wanted(former.stem)
            if known is not None and known == _sha256(former):
                former.replace(path)
            elif known is not None and path.exists() and known == _sha256(path):
                former.unlink()
            # Where the row is of neither, or gone, nothing tells which is the good copy: both stay.
            files.fsync_folder(path.parent)
        for left in self._spool.folder.glob(f"*/*{REWRAPPED}"):
            left.unlink()

    def _wanted(self, packet_id: str) -> str | None:
        """Return the digest that a packet's row names for good; ``None`` for an unknown packet."""
        sql, bound = self._database.sql, {"packet_id": packet_id}
        with self._database.read() as connection:
            known: str | None = connection.execute(sql(_SETTLED), bound).scalar()
            if known is None and connection.execute(sql(_DIGEST), bound).scalar() is not None:
                raise OutboxError(
                    f"Whether packet {packet_id} was given a new header is not settled: the database is still at it. Nothing "
                    "was changed. Try again in a minute."
                )
        return known

    def _place(self, change: Change) -> Path:
        return self._spool.path(change.packet_id)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
