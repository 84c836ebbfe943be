"""A spool in a storage service, such as S3: for machines that share one outbox and no folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ktpsync.errors import ConflictError, NotFoundError, SpoolError, SpoolUnavailableError
from ktpsync.files import TEMPORARY_SUFFIX, make_folder, remove_leftovers
from ktpsync.outbox import _ownership
from ktpsync.outbox._spool import check_digest, verify_bytes
from ktpsync.outbox._spool_objects import SpoolObjects, keys_of, plain_key
from ktpsync.packet import SealedPacket
from ktpsync.plugins import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ktpsync.outbox._ownership import Recent
    from ktpsync.plugins import StorageBackend

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
        self.objects = SpoolObjects(storage, place)
        self._folder = folder
        self.fetch = fetch
        self._claim: Callable[[], None] = lambda: None
        self._locate: Callable[[str], tuple[str, str] | None] = lambda _packet_id: None
        self._claimed = False
        self._rewrapped = False
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.objects.place

    def owner(self) -> str | None:
        """Return the id of the outbox that the place is of; ``None`` where it is nobody's."""
        return _ownership.named_in(self._owner())

    def claim(
        self,
        outbox_id: str,
        *,
        recent: Recent,
        locate: Callable[[str], tuple[str, str] | None],
    ) -> None:
        """Belong to an outbox from the first use on; see :class:`Spool`.

        A bucket or a prefix that was changed by mistake would otherwise take new packets and seem to have lost all others.
        """
        self._claim = functools.partial(self._claim_now, outbox_id, recent)
        self._locate = locate

    def adopt(self, outbox_id: str) -> bool:
        """Become an outbox's because a person says so; see :class:`Spool`."""
        new = self._owner() is None
        self._claimed = False
        self._claim_now(outbox_id, list)
        return new

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
        other_size = False
        for key in self._likely_keys(packet.packet_id, packet.sha256):
            with contextlib.suppress(NotFoundError):
                if self.objects.size(key) == packet.size:
                    self._rewrapped = key != plain_key(packet.packet_id)
                    return True
                other_size = True
        if other_size:
            raise self._damaged(packet.packet_id)
        if self.fetch is None:
            raise self._missing(packet.packet_id)
        return False

    def verify(self, packet: SealedPacket) -> None:
        """Read a packet's bytes and compare them with its digest; see :class:`Spool`."""
        verify_bytes(packet, damaged=self._damaged(packet.packet_id))

    def read(self, packet_id: str) -> bytes | None:
        """Return the bytes here under a packet's id, unverified; ``None`` if there are none."""
        return self.objects.unverified(packet_id)

    def write(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        """Store a packet's bytes; the storage has them verified when this returns. See :class:`Spool`."""
        check_digest(packet_id, sealed, sha256)
        self._put(packet_id, sealed, sha256)

    def _put(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        self._claim()
        try:
            advice = "Nothing was recorded; submit again when it can be used."
            self.objects.put(plain_key(packet_id), sealed, sha256=sha256, advice=advice)
        except ConflictError as error:
            raise FileExistsError(str(error)) from error

    def settle(self, packet_id: str) -> None:
        """Nothing: an object that can be seen is durable."""

    def keep(self, packet_ids: Iterable[str]) -> None:
        """Nothing: no object without a row is removed anyway."""

    def discard(self, packet_id: str) -> None:
        """Remove a packet's objects."""
        self.objects.delete(plain_key(packet_id))
        for key in self.objects.of(packet_id):
            self.objects.delete(key)

    def write_many(self, sealed: Mapping[str, bytes]) -> None:
        """Store several packets' bytes, some at a time; see :class:`Spool`."""
        self.objects.together(
            lambda packet_id: self._put(
                packet_id, sealed[packet_id], hashlib.sha256(sealed[packet_id]).hexdigest()
            ),
            sealed,
        )

    def lacking(self, packet_ids: Iterable[str]) -> list[str]:
        """Return those of these packets whose bytes are not here."""
        wanted = list(packet_ids)
        there = self.objects.together(self._is_here, wanted)
        return [packet_id for packet_id, found in zip(wanted, there, strict=True) if not found]

    def _is_here(self, packet_id: str) -> bool:
        return self.objects.exists(plain_key(packet_id)) or bool(self.objects.of(packet_id))

    def pages(self, count: int) -> Iterator[list[str]]:
        """Yield the ids of all packets that have an object here, so many at a time."""
        ids = (packet_id for packet_id, _ in self.objects.packets())
        while page := list(itertools.islice(ids, count)):
            yield page

    def old_files(self, before_ms: int) -> Iterator[str]:
        """Yield the ids of packets whose objects were stored before a moment."""
        for packet_id, infos in self.objects.packets():
            if all(info.modified.timestamp() * 1000 < before_ms for info in infos):
                yield packet_id

    def clear_temporaries(self, before_ms: int) -> None:
        """Remove copies that processes which died have left."""
        remove_leftovers(self._folder, older_than=0, now=before_ms / 1000)

    def free(self) -> None:
        """Return ``None``: how much a storage service takes is not told."""

    def close(self) -> None:
        """Close the storage."""
        self.objects.close()

    def _copy(self, packet_id: str, sha256: str, size: int, into: BinaryIO) -> None:
        """Fill a file with a packet's verified bytes and go back to its start."""
        damaged = False
        for key in self._likely_keys(packet_id, sha256):
            with contextlib.suppress(NotFoundError), self.objects.open(key) as source:
                if self._is_whole(source, sha256, size, into):
                    self._rewrapped = key != plain_key(packet_id)
                    return
                damaged = True
        self._explain(packet_id, sha256)
        if damaged:
            raise self._damaged(packet_id)
        self._claim()  # in another place than before, everything would seem to be missing
        if self.fetch is None:
            raise self._missing(packet_id)
        with self.fetch(packet_id, sha256) as source:
            if not self._is_whole(source, sha256, size, into):
                raise self._damaged(packet_id)

    def _likely_keys(self, packet_id: str, sha256: str) -> Sequence[str]:
        """Return where a packet's bytes can be, that first which is as the last packet's key was: one request less."""
        keys = keys_of(packet_id, sha256)
        return keys[::-1] if self._rewrapped else keys

    def _is_whole(self, source: BinaryIO, sha256: str, size: int, into: BinaryIO) -> bool:
        into.seek(0)
        into.truncate()
        with self.objects.reached():
            found = digest_of(source, into)
        into.seek(0)
        return found == (size, sha256)

    def _explain(self, packet_id: str, sha256: str) -> None:
        """Tell bytes that are not here any more from those that are damaged.

        Raises:
            SpoolUnavailableError: The packet was given a new header since the caller has learned its digest.
        """
        located = self._locate(packet_id)
        if located is not None and located[1] != sha256:
            raise SpoolUnavailableError(
                f"Packet {packet_id} was given a new header a moment ago, by `ktpsync rewrap` on this or another machine. "
                "Nothing is damaged; try again when it has ended."
            )

    def _claim_now(self, outbox_id: str, recent: Recent) -> None:
        if self._claimed:
            return
        with self._lock:
            wrong = _ownership.claim(
                outbox_id,
                recent,
                read=self._owner,
                write=self._write_owner,
                has=self._is_here,
            )
            if wrong is not None:
                raise SpoolUnavailableError(
                    f"The spool in {self.place} {wrong}. {_NOTHING_RECORDED} Is [spool] in ktpsync.toml still the same "
                    "place as before? If all that was in that one is lost, `ktpsync doctor --repair --new-spool` takes this one."
                )
            self._claimed = True

    def _owner(self) -> bytes | None:
        return self.objects.read(_ownership.OWNER, advice=_NOTHING_RECORDED)

    def _write_owner(self, note: bytes) -> None:
        with contextlib.suppress(ConflictError):
            self.objects.put(_ownership.OWNER, note, advice=_NOTHING_RECORDED)

    def _missing(self, packet_id: str) -> SpoolError:
        return SpoolError(
            f"The sealed bytes of packet {packet_id} are not in the spool in {self.place}. `ktpsync doctor --repair` "
            "brings a good copy from a backup, or from where it was delivered."
        )

    def _damaged(self, packet_id: str) -> SpoolError:
        return SpoolError(
            f"The sealed bytes of packet {packet_id} are damaged in the spool in {self.place}. They were left as they "
            "are. `ktpsync doctor --repair` brings a good copy from a backup, or from where it was delivered."
        )
