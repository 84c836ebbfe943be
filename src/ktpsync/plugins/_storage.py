"""Backends that are plain storage: keys and bytes."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import frozen

from ktpsync.errors import CorruptError, NotFoundError, UnsupportedError
from ktpsync.plugins._backend import Backend
from ktpsync.plugins._values import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.packet import SealedPacket


_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*", re.ASCII | re.IGNORECASE)

LONGEST_KEY: Final = 200
"""Characters. With the folder that it is below a key stays within what servers and file systems take."""


def valid_key(key: str) -> bool:
    """Return whether a key is in the form that every storage takes: it can neither leave its place nor hide.

    A key is at most 200 characters: ASCII letters, digits, ``-``, ``_`` and ``.``, in one or more parts with ``/``
    between them. Each part begins with a letter or a digit, so no part is empty, ``.`` or ``..``, and names that begin
    with a dot are free for what is not whole yet.

    Two more things hold for the keys that ktpsync makes: none is the folder of another, as ``a`` would be of ``a/b``,
    and no two differ only by case. A place that cannot keep such keys apart refuses them.
    """
    return len(key) <= LONGEST_KEY and _KEY.fullmatch(key) is not None


def packet_key(packet_id: str) -> str:
    """Return the key under which a storage destination holds a packet.

    The last two digits of the id, which are random, spread packets over 256 folders: file systems of
    external disks grow slow with many files in one folder.
    """
    return f"packets/{packet_id[-2:]}/{packet_id}.age"


@frozen(kw_only=True)
class ObjectInfo:
    """An object in storage.

    Args:
        key: Its key: ASCII letters, digits, ``-``, ``_``, ``.``, with ``/`` between parts.
        size: Bytes.
        modified: When it was stored (aware, UTC).
        sha256: SHA-256 of its bytes in hexadecimal, where the storage knows without reading them.
    """

    key: str
    size: int
    modified: datetime
    sha256: str | None = None


class StorageBackend(Backend):
    """A backend that stores objects under keys: a disk, an S3 bucket, an SFTP server.

    ``deliver`` is written here, once, on top of the five methods. Backup repositories need a
    backend of this kind.
    """

    @abstractmethod
    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """Store an object whole and durably, or not at all; create only if absent.

        Args:
            key: Where.
            source: The bytes; read to the end. May be seekable, need not be.
            size: How many bytes ``source`` gives.
            sha256: Their SHA-256 in hexadecimal. What arrived is verified against it before the
                object becomes visible under its key.

        Returns:
            The stored object, with its verified ``sha256``. If the key already holds an object with the same digest (verified, not
            believed), that one.

        Raises:
            ConflictError: The key holds an object with other bytes. It is left as it is.
            CorruptError: ``source`` does not give these bytes, or what was stored does not verify.
            UnavailableError: Not reachable now, or no room; nothing changed.
        """

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Return a binary file object over an object's bytes. The caller closes it.

        What breaks later, while it is read, is raised as :class:`OSError` or a
        :class:`ktpsync.errors.BackendError`.

        Raises:
            NotFoundError: No such object.
        """

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:  # noqa: ARG002 - the interface
        """Return a binary file object over a part of an object. The caller closes it.

        A restore of single packets takes them out of packs of 64 MiB this way. Optional: a backend that can
        do it claims :attr:`Capability.PARTS`.

        Args:
            key: Which object.
            start: The first byte.
            size: How many bytes; fewer come where the object ends before.

        Raises:
            NotFoundError: No such object.
            UnsupportedError: The storage gives only whole objects.
        """
        raise UnsupportedError(f"A {type(self).__name__} reads only whole objects, not parts of {key}.")

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo:
        """Return what is known of an object without reading it.

        Raises:
            NotFoundError: No such object.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all whole objects whose key starts with ``prefix``, in any order.

        There may be 300,000: what is held in memory must not grow with their number. One page, or one folder, at a
        time is well.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object durably. Removing what is not there is no error."""

    def exists(self, key: str) -> bool:
        """Return whether an object is stored under the key."""
        try:
            self.stat(key)
        except NotFoundError:
            return False
        return True

    def fetch(self, packet_id: str) -> BinaryIO:
        """Open the object under the packet's own key; see :meth:`Backend.fetch`."""
        return self.open(packet_key(packet_id))

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Store the packet under its own key; see :meth:`Backend.deliver`."""
        with packet.open() as source:
            stored = self.put(packet_key(packet.packet_id), source, size=packet.size, sha256=packet.sha256)
        if stored.sha256 is None:
            raise CorruptError(
                f"Packet {packet.packet_id}: the storage did not say which digest it verified."
            )
        return Receipt.of(packet, sha256=stored.sha256, stored_at=stored.modified, location=stored.key)
