"""How far the audit trail of a spool's database had come, noted in the spool: a database that was put back lacks that."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final, Protocol

from attrs import asdict, frozen

from ktpsync.errors import ConflictError
from ktpsync.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.outbox._spool_objects import SpoolObjects

_FILE: Final = ".trail.json"
_PREFIX: Final = "spool-trail/"


@frozen(kw_only=True)
class TrailNote:
    """An entry that was the trail's last one once.

    Args:
        outbox_id: Whose trail.
        seq: The entry's number.
        hash: Its hash.
    """

    outbox_id: str
    seq: int
    hash: str


class TrailNotes(Protocol):
    """The notes in one spool."""

    def all(self) -> list[TrailNote]:
        """Return the notes that are there."""

    def write(self, note: TrailNote) -> None:
        """Keep a note in the place of those that it goes on from."""

    def forget(self) -> None:
        """Remove all notes: a person has decided which database goes on."""


class FolderTrailNotes:
    """A note in a folder, as a file that is replaced."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE

    def all(self) -> list[TrailNote]:
        """Return the note, if there is one that can be read.

        One command typed as root leaves a note that is root's: recording goes on, and the next note takes its place.
        """
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return _read(self._file.read_bytes())
        return []

    def write(self, note: TrailNote) -> None:
        """Replace the note."""
        write_atomic(self._file, json.dumps(asdict(note)).encode(), mode=0o600)

    def forget(self) -> None:
        """Remove the note."""
        self._file.unlink(missing_ok=True)


class StorageTrailNotes:
    """Notes in storage, each an object: the new one is there before the older ones go."""

    def __init__(self, objects: SpoolObjects) -> None:
        self._objects = objects

    def all(self) -> list[TrailNote]:
        """Return the notes that can be read: one, as long as nothing went wrong."""
        found = (self._objects.read(key) for key in self._keys())
        return [note for data in found if data is not None for note in _read(data)]

    def write(self, note: TrailNote) -> None:
        """Add the note and remove older ones."""
        key = f"{_PREFIX}{note.seq:016d}.json"
        keys = self._keys()
        if key not in keys:
            with contextlib.suppress(ConflictError):  # another machine's, and checked by whoever comes next
                self._objects.put(key, json.dumps(asdict(note)).encode())
        for older in keys:
            if older < key:
                self._objects.delete(older)

    def forget(self) -> None:
        """Remove all notes."""
        for key in self._keys():
            self._objects.delete(key)

    def _keys(self) -> list[str]:
        return sorted(info.key for info in self._objects.listed(_PREFIX))


def _read(data: bytes) -> list[TrailNote]:
    try:
        facts = json.loads(data)
        return [TrailNote(outbox_id=str(facts["outbox_id"]), seq=int(facts["seq"]), hash=str(facts["hash"]))]
    except (ValueError, KeyError, TypeError):
        return []
