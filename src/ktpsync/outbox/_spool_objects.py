"""The objects of a spool in storage: under which keys a packet's bytes can be, and how they are reached.

A packet is recorded under a key of its id. Bytes that come later, because it was given a new header or was mended, get
a key that names their digest as well: storage changes nothing in place, and the row says which of the two is meant.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from ktpsync.errors import BackendError, ConflictError, NotFoundError, SpoolUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from ktpsync.plugins import ObjectInfo, StorageBackend

T = TypeVar("T")
R = TypeVar("R")

_PREFIX: Final = "spool/"
_SUFFIX: Final = ".age"
_DIGEST_LENGTH: Final = 64
_AT_ONCE: Final = 8
"""Requests at one time for several packets."""


def plain_key(packet_id: str) -> str:
    """Return the key under which a packet is recorded."""
    return f"{_beginning(packet_id)}age"


def digest_key(packet_id: str, sha256: str) -> str:
    """Return the key of bytes that a packet was given later."""
    return f"{_beginning(packet_id)}{sha256}{_SUFFIX}"


def keys_of(packet_id: str, sha256: str) -> tuple[str, str]:
    """Return where a packet's bytes of a digest can be, the likelier key first."""
    return plain_key(packet_id), digest_key(packet_id, sha256)


def _beginning(packet_id: str) -> str:
    return f"{_PREFIX}{packet_id[-2:]}/{packet_id}."


def packet_of(key: str) -> tuple[str, str | None] | None:
    """Return the packet that a key is of, and the digest that it names; ``None`` for a key of no packet."""
    name = key.rpartition("/")[2].removesuffix(_SUFFIX)
    packet_id, dot, sha256 = name.partition(".")
    if dot:
        own = len(sha256) == _DIGEST_LENGTH and key == digest_key(packet_id, sha256)
        return (packet_id, sha256) if own else None
    return (packet_id, None) if key == plain_key(packet_id) else None


class SpoolObjects:
    """What a spool keeps in storage, with the storage's troubles told as the spool's own.

    Args:
        storage: Where.
        place: What to call it in messages.
    """

    def __init__(self, storage: StorageBackend, place: str) -> None:
        self._storage = storage
        self.place = place

    @contextlib.contextmanager
    def reached(self, advice: str = "") -> Iterator[None]:
        """Tell the spool's trouble from a destination's or a backup's."""
        try:
            yield
        except (ConflictError, NotFoundError):
            raise
        except BackendError as error:
            raise SpoolUnavailableError(
                f"The spool in {self.place} cannot be used now: {error} {advice}".rstrip()
            ) from error

    # --- one object ---

    def open(self, key: str) -> BinaryIO:
        """Return a binary file object over an object's bytes.

        Raises:
            NotFoundError: There is none.
        """
        with self.reached():
            return self._storage.open(key)

    def size(self, key: str) -> int:
        """Return how many bytes an object has.

        Raises:
            NotFoundError: There is none.
        """
        with self.reached():
            return self._storage.stat(key).size

    def read(self, key: str, *, advice: str = "") -> bytes | None:
        """Return an object's bytes; ``None`` if there is none."""
        try:
            with self.reached(advice), self._storage.open(key) as file:
                return file.read()
        except NotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Return whether there is an object."""
        with self.reached():
            return self._storage.exists(key)

    def put(self, key: str, data: bytes, *, sha256: str | None = None, advice: str = "") -> None:
        """Store an object; the storage has it verified when this returns.

        Raises:
            ConflictError: The key is taken by other bytes.
        """
        digest = sha256 or hashlib.sha256(data).hexdigest()
        with self.reached(advice):
            self._storage.put(key, io.BytesIO(data), size=len(data), sha256=digest)

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with self.reached():
            self._storage.delete(key)

    def listed(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what there is below a prefix."""
        with self.reached():
            yield from self._storage.list(prefix)

    def close(self) -> None:
        """Close the storage."""
        self._storage.close()

    # --- packets ---

    def of(self, packet_id: str) -> list[str]:
        """Return the keys of a packet's objects."""
        return sorted(info.key for info in self.listed(_beginning(packet_id)))

    def packets(self) -> Iterator[tuple[str, Sequence[ObjectInfo]]]:
        """Yield each packet with its objects.

        Storage that does not list in the order of the keys may have a packet come in two parts.
        """
        infos = self.listed(_PREFIX)
        # One of 256 folders at a time is held.
        for _, together in itertools.groupby(infos, key=lambda info: info.key.rpartition("/")[0]):
            found: dict[str, list[ObjectInfo]] = {}
            for info in together:
                owner = packet_of(info.key)
                if owner is not None:
                    found.setdefault(owner[0], []).append(info)
            yield from found.items()

    def whole(self, key: str, sha256: str) -> bytes | None:
        """Return an object's bytes if it is there and they have this digest."""
        data = self.read(key)
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def unverified(self, packet_id: str) -> bytes | None:
        """Return bytes that are under a packet's id; later ones only if they are what their key says."""
        data = self.read(plain_key(packet_id))
        if data is not None:
            return data
        for key in self.of(packet_id):
            owner = packet_of(key)
            data = None if owner is None or owner[1] is None else self.whole(key, owner[1])
            if data is not None:
                return data
        return None

    def together(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do the same for several, some at a time."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ktpsync-spool") as pool:
            return list(pool.map(work, items))
