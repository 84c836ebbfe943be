"""A spool in a storage service, such as S3: for machines that share one outbox and no folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from ktpsync.errors import BackendError, ConflictError, NotFoundError, SpoolError, SpoolUnavailableError
from ktpsync.files import TEMPORARY_SUFFIX, make_folder, remove_leftovers
from ktpsync.outbox import _ownership
from ktpsync.outbox._spool import check_digest, verify_bytes
from ktpsync.packet import SealedPacket
from ktpsync.plugins import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ktpsync.outbox._ownership import Recent
    from ktpsync.plugins import StorageBackend

R = TypeVar("R")

_PREFIX: Final = "spool/"
_SUFFIX: Final = ".age"
_AT_ONCE: Final = 8
"""Requests at one time for a batch."""

_NOTHING_RECORDED: Final = "Nothing was recorded."


class StorageSpool:
    """Sealed packets as objects of a storage backend.

    Whoever reads a packet gets a verified copy of it in a temporary file, so that a broken line or a damaged object is
    noticed before a single byte goes anywhere.

    Args:
        storage: Where. It is the spool's own, and closed with it.
        folder: Where temporary copies lie, readable by nobody else. It is created if missing.
        place: What to call it in messages.
        fetch: As for :class:`Spool`.
    """

    def __init__(
        self,
        storage: StorageBackend,
        folder: Path,
        *,
        place: str,
        fetch: Callable[[str, str], BinaryIO] | None = None,
    ) -> None:
        make_folder(folder, mode=0o700)
        self._storage = storage
        self._folder = folder
        self._place = place
        self.fetch = fetch
        self._claim: Callable[[], None] = lambda: None
        self._claimed = False
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self._place

    def claim(self, outbox_id: str, *, recent: Recent) -> None:
        """Belong to an outbox from the first use on; see :class:`Spool`.

        A bucket or a prefix that was changed by mistake would otherwise take new packets and seem to have lost all others.
        """
        self._claim = functools.partial(self._claim_now, outbox_id, recent)

    def check(self) -> None:
        """Look whether the place is the outbox's; asked once."""
        self._claim()

    def packet(self, packet_id: str, sha256: str, size: int) -> SealedPacket:
        """Return a packet over its bytes here, copied and verified when it is opened."""

        def opener() -> BinaryIO:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
                self._copy(packet_id, sha256, size, file)
                stack.pop_all()
            return file

        return SealedPacket(packet_id=packet_id, sha256=sha256, size=size, opener=opener)

    @contextlib.contextmanager
    def at_hand(self, packet: SealedPacket) -> Iterator[SealedPacket]:
        """Give a packet over a verified copy in a file of its own while the block runs; see :class:`Spool`."""
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=TEMPORARY_SUFFIX)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                self._copy(packet.packet_id, packet.sha256, packet.size, file)
            yield SealedPacket.from_file(packet.packet_id, packet.sha256, packet.size, path)
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def glance(self, packet: SealedPacket) -> bool:
        """Return whether a packet's bytes are here; see :class:`Spool`."""
        try:
            with self._reached():
                size = self._storage.stat(_key(packet.packet_id)).size
        except NotFoundError:
            if self.fetch is None:
                raise self._missing(packet.packet_id) from None
            return False
        if size != packet.size:
            raise self._damaged(packet.packet_id)
        return True

    def verify(self, packet: SealedPacket) -> None:
        """Read a packet's bytes and compare them with its digest; see :class:`Spool`."""
        verify_bytes(packet, damaged=self._damaged(packet.packet_id))

    def read(self, packet_id: str) -> bytes | None:
        """Return the bytes here under a packet's id, unverified; ``None`` if there are none."""
        try:
            with self._reached(), self._storage.open(_key(packet_id)) as file:
                return file.read()
        except NotFoundError:
            return None

    def write(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        """Store a packet's bytes; the storage has them verified when this returns. See :class:`Spool`."""
        check_digest(packet_id, sealed, sha256)
        self._put(packet_id, sealed, sha256)

    def _put(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        self._claim()
        try:
            with self._reached("Nothing was recorded; submit again when it can be used."):
                self._storage.put(_key(packet_id), io.BytesIO(sealed), size=len(sealed), sha256=sha256)
        except ConflictError as error:
            raise FileExistsError(str(error)) from error

    def settle(self, packet_id: str) -> None:
        """Nothing: an object that can be seen is durable."""

    def keep(self, packet_ids: Iterable[str]) -> None:
        """Nothing: no object without a row is removed anyway."""

    def discard(self, packet_id: str) -> None:
        """Remove a packet's object."""
        with self._reached():
            self._storage.delete(_key(packet_id))

    def write_many(self, sealed: Mapping[str, bytes]) -> None:
        """Store several packets' bytes, some at a time; see :class:`Spool`."""
        self._together(
            lambda packet_id: self._put(
                packet_id, sealed[packet_id], hashlib.sha256(sealed[packet_id]).hexdigest()
            ),
            sealed,
        )

    def lacking(self, packet_ids: Iterable[str]) -> list[str]:
        """Return those of these packets whose bytes are not here."""
        wanted = list(packet_ids)
        with self._reached():
            there = self._together(lambda packet_id: self._storage.exists(_key(packet_id)), wanted)
        return [packet_id for packet_id, found in zip(wanted, there, strict=True) if not found]

    def pages(self, count: int) -> Iterator[list[str]]:
        """Yield the ids of all packets that have an object here, so many at a time."""
        ids = (packet_id for packet_id, _ in self._objects())
        while page := list(itertools.islice(ids, count)):
            yield page

    def old_files(self, before_ms: int) -> Iterator[str]:
        """Yield the ids of packets whose objects were stored before a moment."""
        for packet_id, modified_ms in self._objects():
            if modified_ms < before_ms:
                yield packet_id

    def clear_temporaries(self, before_ms: int) -> None:
        """Remove copies that processes which died have left."""
        remove_leftovers(self._folder, older_than=0, now=before_ms / 1000)

    def free(self) -> None:
        """Return ``None``: how much a storage service takes is not told."""

    def close(self) -> None:
        """Close the storage."""
        self._storage.close()

    def _objects(self) -> Iterator[tuple[str, float]]:
        with self._reached():
            for info in self._storage.list(_PREFIX):
                packet_id = info.key.rpartition("/")[2].removesuffix(_SUFFIX)
                if info.key == _key(packet_id):
                    yield packet_id, info.modified.timestamp() * 1000

    def _copy(self, packet_id: str, sha256: str, size: int, into: BinaryIO) -> None:
        """Fill a file with a packet's verified bytes and go back to its start."""
        with self._opened(packet_id, sha256) as source, self._reached():
            found = digest_of(source, into)
        if found != (size, sha256):
            raise self._damaged(packet_id)
        into.seek(0)

    def _opened(self, packet_id: str, sha256: str) -> BinaryIO:
        try:
            with self._reached():
                return self._storage.open(_key(packet_id))
        except NotFoundError:
            self._claim()  # in another place than before, everything would seem to be missing
        if self.fetch is None:
            raise self._missing(packet_id)
        return self.fetch(packet_id, sha256)

    def _claim_now(self, outbox_id: str, recent: Recent) -> None:
        if self._claimed:
            return
        with self._lock, self._reached(_NOTHING_RECORDED):
            wrong = _ownership.claim(
                outbox_id,
                recent,
                read=self._owner,
                write=self._write_owner,
                has=lambda packet_id: self._storage.exists(_key(packet_id)),
            )
            if wrong is not None:
                raise SpoolUnavailableError(
                    f"The spool in {self._place} {wrong}. {_NOTHING_RECORDED} Is [spool] in ktpsync.toml still the same "
                    "place as before?"
                )
            self._claimed = True

    def _owner(self) -> bytes | None:
        try:
            with self._storage.open(_ownership.OWNER) as file:
                return file.read()
        except NotFoundError:
            return None

    def _write_owner(self, note: bytes) -> None:
        digest = hashlib.sha256(note).hexdigest()
        with contextlib.suppress(ConflictError):
            self._storage.put(_ownership.OWNER, io.BytesIO(note), size=len(note), sha256=digest)

    def _together(self, work: Callable[[str], R], packet_ids: Iterable[str]) -> list[R]:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ktpsync-spool") as pool:
            return list(pool.map(work, packet_ids))

    @contextlib.contextmanager
    def _reached(self, advice: str = "") -> Iterator[None]:
        """Tell the spool's trouble from a destination's or a backup's."""
        try:
            yield
        except (ConflictError, NotFoundError):
            raise
        except BackendError as error:
            raise SpoolUnavailableError(
                f"The spool in {self._place} cannot be used now: {error} {advice}".rstrip()
            ) from error

    def _missing(self, packet_id: str) -> SpoolError:
        return SpoolError(
            f"The sealed bytes of packet {packet_id} are not in the spool in {self._place}. Put a good copy back there under "
            f"the key {_key(packet_id)}, such as from a backup with `ktpsync extract`, then `ktpsync requeue` the packet."
        )

    def _damaged(self, packet_id: str) -> SpoolError:
        return SpoolError(
            f"The sealed bytes of packet {packet_id} are damaged in the spool in {self._place}. They were left as they "
            f"are. Replace {_key(packet_id)} there with a good copy, such as from a backup with `ktpsync extract`, then "
            "`ktpsync requeue` the packet."
        )


def _key(packet_id: str) -> str:
    return f"{_PREFIX}{packet_id[-2:]}/{packet_id}{_SUFFIX}"
