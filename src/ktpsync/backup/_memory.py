"""What a station remembers of a repository, in its own data directory.

The repository alone cannot tell that newer snapshots were taken away from it, or that this station's data
directory is an old copy. Comparing both memories can.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, TypeVar

import attrs
import cattrs
import uuid6
from attrs import frozen

from ktpsync import files
from ktpsync.backup._documents import PackEntry, PackIndex, SnapshotRef, index_key, load
from ktpsync.errors import BackupInUseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_Remembered = TypeVar("_Remembered")

_converter = cattrs.Converter()


@frozen(kw_only=True)
class Knowledge:
    """What is remembered. All times are milliseconds since 1970-01-01 UTC.

    Args:
        lineage: The lineage that this station continues there; also its copy target in the outbox.
        head: The last snapshot that was committed.
        pending: The snapshot that may have been committed when the station died.
        quiet_at: The outbox sequence after the head, if nothing but the note of its copies came since.
        full_next: Whether the next snapshot must be a full one, as after a restore.
        last_backup_ms: When the last complete backup ended.
    """

    lineage: str
    head: SnapshotRef | None = None
    pending: str | None = None
    quiet_at: int | None = None
    full_next: bool = False
    last_backup_ms: int | None = None


@frozen(kw_only=True)
class Checks:
    """What is remembered of verifications and drills, in milliseconds since 1970-01-01 UTC.

    Args:
        last_verified_ms: When the last verification of everything ended without a problem.
        last_drill_ms: When the last restore drill ended without a problem.
        cursor: Where the last sample ended; empty between two rounds.
        round_ms: When the round of samples began that found no problem yet; ``None`` if it found one.
        sampled_ms: When the last sample was read, or the counting of time for it began.
        pruned_ms: When the last prune ended.
        damaged_ms: When damage was found first that no verification of everything has found mended since.
    """

    last_verified_ms: int | None = None
    last_drill_ms: int | None = None
    cursor: str = ""
    round_ms: int | None = None
    sampled_ms: int | None = None
    pruned_ms: int | None = None
    damaged_ms: int | None = None


@frozen(kw_only=True)
class RewrapProgress:
    """What is remembered of rewrapping a repository.

    Args:
        to: A short name of the new recipients.
        began: A pack name (UUIDv7) of the moment when it began.
        packs: Packs that were written for it: nothing in them is to be rewrapped once more.
    """

    to: str
    began: str
    packs: tuple[str, ...] = ()


@frozen(kw_only=True)
class PendingPack:
    """A pack that was sent, but that no snapshot names yet."""

    entry: PackEntry
    index: str

    def packets(self) -> PackIndex:
        """Return the packets that it holds."""
        return load(PackIndex, self.index.encode(), index_key(self.entry.name))


@contextlib.contextmanager
def no_backup_runs(folder: Path) -> Iterator[None]:
    """Keep every backup of this station from running while the block runs.

    Args:
        folder: The folder of backup memories in the data directory.

    Raises:
        BackupInUseError: A backup is running.
    """
    with contextlib.ExitStack() as stack:
        for path in sorted(folder.glob("*.lock")):
            stack.enter_context(BackupMemory(folder, path.stem).locked())
        yield


class BackupMemory:
    """A station's memory of one repository.

    Args:
        folder: The folder of backup memories in the data directory.
        repository: UUID of the repository.
    """

    def __init__(self, folder: Path, repository: str) -> None:
        self._folder = folder
        self._path = folder / f"{repository}.json"
        self._checks = folder / f"{repository}.checks.json"
        self._rewrap = folder / f"{repository}.rewrap.json"
        self._pending = folder / f"{repository}.pending"
        self._lock = folder / f"{repository}.lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process of this station away from this repository while the block runs.

        The system frees the lock when its holder dies.

        Raises:
            BackupInUseError: Another process is at work on it.
        """
        files.make_folder(self._folder, mode=0o700)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self._lock, wait=False))
            except TimeoutError:
                raise BackupInUseError(
                    "Another backup or restore of this station is at work on this repository. Wait until it has ended."
                ) from None
            yield

    def load(self) -> Knowledge | None:
        """Return what is remembered; ``None`` if nothing is, or if it cannot be read."""
        return _read(self._path, Knowledge)

    def save(self, knowledge: Knowledge) -> None:
        """Remember, durably."""
        self._write(self._path, knowledge)

    def checks(self) -> Checks:
        """Return what is remembered of verifications and drills."""
        return _read(self._checks, Checks) or Checks()

    def save_checks(self, checks: Checks) -> None:
        """Remember verifications and drills, in a file of their own: they do not wait for a running backup."""
        self._write(self._checks, checks)

    def note_damage(self, now_ms: int) -> None:
        """Remember when damage was found, if none is remembered yet."""
        checks = self.checks()
        if checks.damaged_ms is None:
            self.save_checks(attrs.evolve(checks, damaged_ms=now_ms))

    def rewrapping(self, to: str) -> RewrapProgress:
        """Return how far the rewrap to these recipients is; a new one begins now."""
        found = _read(self._rewrap, RewrapProgress)
        if found is not None and found.to == to:
            return found
        progress = RewrapProgress(to=to, began=str(uuid6.uuid7()))
        self.save_rewrapping(progress)
        return progress

    def save_rewrapping(self, progress: RewrapProgress) -> None:
        """Remember how far a rewrap is, durably."""
        self._write(self._rewrap, progress)

    def note_pack(self, entry: PackEntry, index: bytes) -> None:
        """Remember that a pack is about to be sent."""
        files.make_folder(self._pending, mode=0o700)
        pending = PendingPack(entry=entry, index=index.decode())
        files.write_atomic(self._pending / f"{entry.name}.json", json.dumps(attrs.asdict(pending)).encode())

    def pending_packs(self) -> list[PendingPack]:
        """Return the packs that were sent, or nearly, oldest first."""
        found = (_read(path, PendingPack) for path in sorted(self._pending.glob("*.json")))
        return [pending for pending in found if pending is not None]

    def forget_packs(self, names: Iterable[str]) -> None:
        """Forget packs: a snapshot names them now, or they never arrived."""
        for name in names:
            (self._pending / f"{name}.json").unlink(missing_ok=True)

    def _write(self, path: Path, remembered: Knowledge | Checks | RewrapProgress) -> None:
        files.make_folder(self._folder, mode=0o700)
        files.write_atomic(path, json.dumps(attrs.asdict(remembered), indent=1).encode())


def _read(path: Path, kind: type[_Remembered]) -> _Remembered | None:
    """Return what a file holds; ``None`` if there is none, or if it cannot be read."""
    try:
        return _converter.structure(json.loads(path.read_bytes()), kind)
    except (FileNotFoundError, ValueError, KeyError, TypeError, cattrs.BaseValidationError):
        return None
