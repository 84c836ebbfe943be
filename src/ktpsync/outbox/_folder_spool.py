"""The folder of sealed packets: one file per packet, written once, deleted by rule only."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ktpsync.errors import SpoolError, SpoolUnavailableError, StationFullError
from ktpsync.files import (
    NO_SPACE,
    TEMPORARY_SUFFIX,
    FileSystemSync,
    can_sync_file_system,
    free_bytes,
    fsync_folder,
    make_folder,
    remove_leftovers,
    sha256_of,
    write_atomic,
    write_for_now,
    write_many_atomic,
)
from ktpsync.outbox import _ownership
from ktpsync.outbox._spool import check_digest, verify_bytes
from ktpsync.packet import SealedPacket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ktpsync.outbox._ownership import Recent

_SUFFIX = ".age"
REWRAPPED = ".rewrapped"
"""Ending of a packet's new bytes beside the old ones, before the change."""

FORMER = ".former"
"""Ending of its old bytes, after the change. Files with these two endings whoever began it puts right."""

_NEW = 0o700
"""Permission bits of a file until its packet's row is known to be committed: the executable bit means nothing else."""

_SUBMIT_AGAIN = "The disk of the spool is full. Nothing was stored; free some room and submit again."
_RESTORE_AGAIN = "The disk of the spool is full. Free some room and begin the restore again: it goes on."

_RECORDED = 0o600
"""Permission bits of a file since then. Files that are copied from elsewhere have them, too."""

_NOT_FOREIGN = (".", "rewrap.")
"""Beginnings of temporary files and locks."""

_SYSTEMS_OWN = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
"""What a system makes by itself at the top of a disk, and lets not everybody look into."""


class FolderSpool:
    """Sealed packets as files, spread over folders by the last two digits of their ids.

    Args:
        folder: The spool. It is created if missing.
        fetch: Given a packet's id and the SHA-256 of its bytes, returns them from a backup where they are not in
            the spool any more; ``None`` where there is no such place.
    """

    def __init__(self, folder: Path, *, fetch: Callable[[str, str], BinaryIO] | None = None) -> None:
        make_folder(folder, mode=0o700)
        self.folder = folder
        self.fetch = fetch
        self._beginning = f"{folder}{os.sep}"
        self._filling: FileSystemSync | None = None
        self._owner = folder / _ownership.OWNER
        self._claim: Callable[[], None] = self._be_there
        self._seen: tuple[int, int, int] | None = None

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return str(self.folder)

    def owner(self) -> str | None:
        """Return the id of the outbox that the folder is of; ``None`` where it is nobody's."""
        return _ownership.named_in(self._read_owner())

    def claim(
        self,
        outbox_id: str,
        *,
        recent: Recent,
        locate: Callable[[str], tuple[str, str] | None],  # noqa: ARG002 - the interface
    ) -> None:
        """Belong to an outbox from now on, and be refused as long as the folder is another one; see :class:`Spool`.

        The folder can be on a disk or a share of its own. While that is not mounted, its mount point is an empty folder:
        packets would go below the disk, and all that are on it would seem to be missing.
        """
        self._claim = functools.partial(self._claim_now, outbox_id, recent)
        # Said to whoever needs the folder: the rest of the outbox works without.
        with contextlib.suppress(SpoolUnavailableError, OSError):
            self.check()

    def adopt(self, outbox_id: str) -> bool:
        """Become an outbox's because a person says so, though none of its packets is here; return whether it was not.

        Raises:
            SpoolUnavailableError: The folder is another outbox's.
        """
        make_folder(self.folder, mode=0o700)
        new = not self._owner.exists()
        self._seen = None
        self._claim_now(outbox_id, list)
        return new

    def disown(self) -> None:
        """Be nobody's until an outbox claims the folder: its database is made anew from the packets."""
        self._owner.unlink(missing_ok=True)

    @property
    def blank(self) -> bool:
        """Whether no outbox has ever used the folder, as far as can be seen: so is the mount point of a disk that is away."""
        return not self._owner.exists() and next(self.pages(1), None) is None

    def check(self) -> None:
        """Look whether the folder is there and the outbox's own; see :class:`Spool`."""
        # One look at the note, as long as it is the one that was read.
        with contextlib.suppress(OSError):
            if self._look_at_owner() == self._seen:
                return
        self._claim()

    def path(self, packet_id: str) -> Path:
        """Return where a packet's bytes are, or would be."""
        return Path(self._name(packet_id))

    def _name(self, packet_id: str) -> str:
        """Return where a packet's bytes are as text: a path takes longer to make than its file to look at."""
        return f"{self._beginning}{packet_id[-2:]}{os.sep}{packet_id}{_SUFFIX}"

    def open(self, packet_id: str, sha256: str) -> BinaryIO:
        """Return a new binary file object over a packet's bytes. The caller closes it.

        Raises:
            SpoolError: Neither the spool nor a backup at hand has the bytes.
        """
        try:
            return open(self._name(packet_id), "rb")  # noqa: PTH123 - as text; the caller closes it
        except FileNotFoundError:
            self.check()
            if self.fetch is not None:
                return self.fetch(packet_id, sha256)
            raise SpoolError(
                f"The sealed bytes of packet {packet_id} are not in the spool. `ktpsync doctor --repair` brings a good "
                "copy from a backup, or from where it was delivered."
            ) from None

    def packet(self, packet_id: str, sha256: str, size: int) -> SealedPacket:
        """Return a packet over its bytes here, opened only when it is read."""
        return SealedPacket(
            packet_id=packet_id, sha256=sha256, size=size, opener=lambda: self.open(packet_id, sha256)
        )

    def glance(self, packet: SealedPacket) -> bool:
        """Return whether a packet's bytes are here, in the right number, without reading them.

        Raises:
            SpoolError: They are missing, where no backup is at hand, or cut short.
        """
        return self._look(packet) is not None

    def _look(self, packet: SealedPacket) -> os.stat_result | None:
        try:
            status = os.stat(self._name(packet.packet_id))  # noqa: PTH116 - as text
        except FileNotFoundError:
            self.check()
            if self.fetch is None:
                self.open(packet.packet_id, packet.sha256).close()
            return None
        if status.st_size != packet.size:
            raise self._damaged(packet)
        return status

    @contextlib.contextmanager
    def at_hand(self, packet: SealedPacket) -> Iterator[SealedPacket]:
        """Give a packet, an offloaded one over bytes fetched from a backup and verified, while the block runs.

        Raises:
            SpoolError: Its bytes are missing or damaged.
            KtpsyncError: The backup is not at hand.
        """
        status = self._look(packet)
        if status is not None:
            self._keep(packet.packet_id, status)
        yield packet if status is not None else self._fetched(packet)

    def keep(self, packet_ids: Iterable[str]) -> None:
        """Mark the files of packets whose rows are committed; see :class:`Spool`. It costs no wait for the disk."""
        for packet_id in packet_ids:
            with contextlib.suppress(FileNotFoundError):
                self._keep(packet_id, os.stat(self._name(packet_id)))  # noqa: PTH116 - as text

    def _keep(self, packet_id: str, status: os.stat_result) -> None:
        if status.st_mode & _NEW & ~_RECORDED and sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.chmod(self._name(packet_id), _RECORDED)  # noqa: PTH101 - as text

    def kept(self, packet_id: str) -> bool:
        """Return whether a packet's file is here and marked as one whose row was committed."""
        try:
            return not os.stat(self._name(packet_id)).st_mode & _NEW & ~_RECORDED  # noqa: PTH116 - as text
        except FileNotFoundError:
            return False

    def marks(self) -> bool:
        """Return whether the file system keeps such marks: not every shared folder does, nor does Windows."""
        if sys.platform == "win32":
            return False
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=TEMPORARY_SUFFIX)
        path = Path(name)
        try:
            seen = []
            for mode in (_NEW, _RECORDED):
                with contextlib.suppress(OSError):
                    path.chmod(mode)
                seen.append(stat.S_IMODE(path.stat().st_mode) & _NEW)
            return seen == [_NEW, _RECORDED]
        finally:
            os.close(descriptor)
            path.unlink()

    def verify(self, packet: SealedPacket) -> None:
        """Read a packet's bytes and compare them with its digest.

        Raises:
            SpoolError: They are missing or damaged.
        """
        try:
            verify_bytes(packet, damaged=self._damaged(packet))
        except SpoolError:
            self.check()  # a disk that went away while it was read has damaged nothing
            raise

    def write(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        """Store a packet's bytes durably under a name that must be free.

        Raises:
            DigestError: They do not have this digest; nothing was stored.
            FileExistsError: The spool has a file of this id already; it was left as it is.
            StationFullError: No room; nothing was stored.
        """
        with self._storing():
            write_atomic(
                self._place(packet_id),
                sealed,
                mode=_NEW,
                replace=False,
                meanwhile=lambda: check_digest(packet_id, sealed, sha256),
            )

    def write_many(self, sealed: Mapping[str, bytes]) -> None:
        """Store several packets' bytes durably, sharing the waits for the disk.

        When it raises, some of them may be there, whole and without a row.

        Raises:
            FileExistsError: The spool has a file of one of these ids already; it was left as it is.
            StationFullError: No room.
        """
        with self._storing():
            write_many_atomic({self._place(packet_id): data for packet_id, data in sealed.items()}, mode=_NEW)

    def begin_filling(self) -> None:
        """Prepare for a restore; whatever is written or looked at from now on is durable after :meth:`finish_filling`."""
        self.close()
        if can_sync_file_system(self.folder):
            self._filling = FileSystemSync(self.folder)

    def fill(self, packet_id: str, sealed: bytes) -> None:
        """Store a packet's bytes during a restore, before any row names them.

        A file that an interrupted restore left is replaced.

        Raises:
            StationFullError: No room.
        """
        with self._storing(_RESTORE_AGAIN):
            if self._filling is not None:
                write_for_now(self.path(packet_id), sealed, mode=0o600)
            else:
                write_atomic(self._place(packet_id), sealed, mode=0o600)

    def finish_filling(self) -> None:
        """Make durable what :meth:`fill` has stored.

        Raises:
            StationFullError: No room for all of it.
            OSError: The medium did not take all of it.
        """
        if self._filling is not None:
            with self._storing(_RESTORE_AGAIN):
                self._filling.finish()

    def read(self, packet_id: str) -> bytes | None:
        """Return the bytes that the spool itself has under a packet's id, unverified; ``None`` if it has none."""
        try:
            return self.path(packet_id).read_bytes()
        except FileNotFoundError:
            return None

    def settle(self, packet_id: str) -> None:
        """Make a file durable that another submission has written."""
        # The other one may be between its rename and its sync of the folder; our row must not come first.
        fsync_folder(self.path(packet_id).parent)

    def lacking(self, packet_ids: Iterable[str]) -> list[str]:
        """Return those of these packets whose bytes are not here."""
        return [packet_id for packet_id in packet_ids if not os.path.exists(self._name(packet_id))]  # noqa: PTH110

    def discard(self, packet_id: str) -> None:
        """Remove a packet's bytes durably. Removing what is not there is no error.

        Only for packets whose row says that the bytes are not here any more; see :class:`Unrecorded` for those
        without a row.
        """
        path = self.path(packet_id)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            fsync_folder(path.parent)

    def old_files(self, before_ms: int) -> Iterator[str]:
        """Yield the ids of packets whose files were written before a moment."""
        for folder in self._folders():
            for file in sorted(folder.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    if file.name.endswith(_SUFFIX) and file.stat().st_mtime * 1000 < before_ms:
                        yield file.name.removesuffix(_SUFFIX)

    def clear_temporaries(self, before_ms: int) -> None:
        """Remove what writers that died before a moment left half written."""
        for folder in (self.folder, *self._folders()):
            remove_leftovers(folder, older_than=0, now=before_ms / 1000)

    def pages(self, count: int) -> Iterator[list[str]]:
        """Yield the ids of all packets that have a file here, so many at a time."""
        ids = (
            path.name.removesuffix(_SUFFIX)
            for folder in self._folders()
            for path in sorted(folder.iterdir())
            if path.name.endswith(_SUFFIX) and path == self.path(path.name.removesuffix(_SUFFIX))
        )
        while page := list(itertools.islice(ids, count)):
            yield page

    def foreign_files(self) -> Iterator[Path]:
        """Yield the files that are neither a packet's nor a temporary one."""
        for place in sorted(self.folder.iterdir()):
            if place.name.startswith(".") or place.name in {_ownership.OWNER, *_SYSTEMS_OWN}:
                continue
            for path in sorted(place.iterdir()) if place.is_dir() else [place]:
                own = path == self.path(path.name.removesuffix(_SUFFIX)) and path.name.endswith(_SUFFIX)
                if (
                    not own
                    and not path.name.startswith(_NOT_FOREIGN)
                    and path.suffix not in {REWRAPPED, FORMER}
                ):
                    yield path

    def _folders(self) -> list[Path]:
        return sorted(
            folder
            for folder in self.folder.iterdir()
            if folder.is_dir() and not folder.name.startswith(".") and folder.name not in _SYSTEMS_OWN
        )

    def free(self) -> int:
        """Return the bytes free on the folder's disk."""
        self.check()
        return free_bytes(self.folder)

    def close(self) -> None:
        """Close what a restore that did not end left open."""
        if self._filling is not None:
            self._filling.close()
            self._filling = None

    def recover_rewrapped(self, recorded: Callable[[str, str], bool]) -> None:
        """Give packets their bytes back that a crash in the middle of rewrapping left under their other name.

        Args:
            recorded: Says whether bytes of a packet, by their digest, are those that its row names.
        """
        for former in sorted(self.folder.glob(f"*/*{FORMER}")):
            path = former.with_suffix(_SUFFIX)
            if not path.exists():
                former.rename(path)
                continue
            with former.open("rb") as file:
                sha256, _ = sha256_of(file)
            if recorded(former.stem, sha256):
                former.replace(path)

    def _fetched(self, packet: SealedPacket) -> SealedPacket:
        with self.open(packet.packet_id, packet.sha256) as file:
            sealed = file.read()
        if hashlib.sha256(sealed).hexdigest() != packet.sha256:
            raise SpoolError(f"The backup's bytes of the offloaded packet {packet.packet_id} are damaged.")
        return SealedPacket.from_bytes(packet.packet_id, packet.sha256, sealed)

    def _damaged(self, packet: SealedPacket) -> SpoolError:
        return SpoolError(
            f"The sealed bytes of packet {packet.packet_id} are damaged in the spool. They were left as they are. "
            "`ktpsync doctor --repair` brings a good copy from a backup, or from where it was delivered."
        )

    def _claim_now(self, outbox_id: str, recent: Recent) -> None:
        self._be_there()
        wrong = _ownership.claim(
            outbox_id,
            recent,
            used=self._seen is not None,
            read=self._read_owner,
            write=self._write_owner,
            has=lambda one: not self.lacking([one]),
        )
        if wrong is not None:
            raise SpoolUnavailableError(
                f"The folder of the spool, {self.folder}, {wrong}. Nothing was stored, and no packet counts as lost. Is its "
                "disk or share mounted, and the right one? If its disk is lost, put a new one in its place, and "
                "`ktpsync doctor --repair --new-spool` brings the packets from where there are copies."
            )
        with contextlib.suppress(OSError):
            self._seen = self._look_at_owner()

    def _look_at_owner(self) -> tuple[int, int, int]:
        """Return which file the note is; its time tells disks apart that were made alike and took turns in one place."""
        status = self._owner.stat()
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _be_there(self) -> None:
        """Refuse to take a folder whose disk or share is away for an empty one, or to make one in its place.

        Raises:
            SpoolUnavailableError: The folder is not there.
        """
        if not self.folder.is_dir():
            raise SpoolUnavailableError(
                f"The folder of the spool, {self.folder}, is not there any more. Nothing was stored; look whether its "
                "disk or share is connected."
            )

    def _read_owner(self) -> bytes | None:
        try:
            return self._owner.read_bytes()
        except FileNotFoundError:
            return None

    def _write_owner(self, note: bytes) -> None:
        # A disk that is full or can only be read has what is there delivered all the same; the next look tries again.
        # Readable for others: whoever looked first may have been another user, and the folder is closed to strangers.
        with contextlib.suppress(OSError):
            write_atomic(self._owner, note, mode=0o644, replace=False)

    @contextlib.contextmanager
    def _storing(self, told: str = _SUBMIT_AGAIN) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.check()
            if error.errno in NO_SPACE:
                raise StationFullError(told) from error
            if error.errno == errno.EROFS:
                raise SpoolUnavailableError(
                    f"The disk of the spool, {self.folder}, can only be read. Nothing was stored. Systems do that to a disk that fails: "
                    "have it checked."
                ) from error
            raise
        # Not if the disk was pulled out meanwhile, and this went to the folder below.
        self.check()

    def _place(self, packet_id: str) -> Path:
        self.check()
        path = self.path(packet_id)
        if not os.path.isdir(f"{self._beginning}{packet_id[-2:]}"):  # noqa: PTH112 - as text
            make_folder(path.parent, mode=0o700)
        return path
