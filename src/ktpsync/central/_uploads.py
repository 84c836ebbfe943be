"""Bytes on their way in: what came of an upload is kept when the line breaks, so that only the rest is sent.

Each upload in progress writes a file of its own. When it is interrupted, the longest one of a packet stays, under
a name that says all there is to know of it; so a killed centre finds everything again.

Everything here but :meth:`Upload.digest` runs in the event loop's thread, which is what keeps two requests for
one packet apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.concurrency import run_in_threadpool

from ktpsync import files
from ktpsync.central._problem import INCONSISTENT_LENGTH, TAKEN_OVER, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.central._settings import CentralSettings

T = TypeVar("T")

_LIVE: Final = ".live"


class Uploads:
    """Uploads in progress and interrupted ones.

    Args:
        settings: The folder and the limits.
    """

    def __init__(self, settings: CentralSettings) -> None:
        self._settings = settings
        self._folder = settings.folder / "incoming"
        self._live: dict[tuple[str, str], list[Upload]] = {}
        self._settling: dict[tuple[str, str], asyncio.Task[object]] = {}
        files.make_folder(self._folder)
        for path in self._folder.glob(f"*/*{_LIVE}"):
            _rest(path)
        for folder in self._folder.iterdir():
            self._tidy(folder)

    def begin(self, office: str, packet_id: str, sha256: str, size: int) -> Upload:
        """Begin an upload at its first byte.

        Args:
            office: Whose it is.
            packet_id: The packet.
            sha256: The SHA-256 that the whole will have.
            size: The bytes that the whole will have.
        """
        folder = self._office(office)
        files.make_folder(folder)
        return self._enter(office, packet_id, folder / f"{packet_id}.{sha256}.{size}")

    def offset(self, office: str, packet_id: str) -> int:
        """Return how much of a packet came so far, without ending what is under way."""
        live = [upload.offset for upload in self._live.get((office, packet_id), ())]
        return max([*live, *map(_size, _resting(self._office(office), packet_id))], default=0)

    def interrupted(self, office: str, packet_id: str) -> Upload | None:
        """Return what came of a packet so far, ready for more; an upload under way is ended for it.

        The caller ends it with :meth:`leave`, at the latest.
        """
        for upload in self._live.get((office, packet_id), ())[:]:
            self.leave(upload, keep=True)
        folder = self._office(office)
        self._tidy(folder)
        found = _resting(folder, packet_id)
        return self._enter(office, packet_id, found[0]) if found else None

    def leave(self, upload: Upload, *, keep: bool) -> None:
        """End an upload; its bytes stay for later or are dropped. Ending it twice does nothing."""
        if upload.ended:
            return
        upload.end()
        self._remove(upload)
        if keep and upload.offset:
            _rest(upload.path)
            self._tidy(upload.path.parent)
        else:
            upload.path.unlink(missing_ok=True)

    async def settle(self, upload: Upload, settle: Callable[[Upload], T]) -> T:
        """Let a whole upload be stored, in a thread; nobody interrupts it from now on."""
        upload.check()
        key = (upload.office, upload.packet_id)
        self._remove(upload)
        task = asyncio.create_task(run_in_threadpool(settle, upload))
        self._settling[key] = task
        try:
            return await asyncio.shield(task)
        finally:
            if self._settling.get(key) is task:
                del self._settling[key]

    async def settled(self, office: str, packet_id: str) -> bool:
        """Wait until a whole upload of this packet is stored; false if there is none."""
        task = self._settling.get((office, packet_id))
        if task is None:
            return False
        await asyncio.wait([task])
        return True

    def drop(self, office: str, packet_id: str) -> None:
        """Drop what was interrupted of a packet, such as when it is stored whole."""
        for path in _resting(self._office(office), packet_id):
            path.unlink()

    def cancel(self, office: str, packet_id: str) -> None:
        """Drop everything that came of a packet, and end what is under way."""
        while (upload := self.interrupted(office, packet_id)) is not None:
            self.leave(upload, keep=False)

    def _enter(self, office: str, packet_id: str, resting: Path) -> Upload:
        live = resting.with_name(f"{resting.name}.{secrets.token_hex(8)}{_LIVE}")
        if resting.exists():
            resting.replace(live)
        upload = Upload(office, packet_id, live)
        self._live.setdefault((office, packet_id), []).append(upload)
        return upload

    def _remove(self, upload: Upload) -> None:
        key = (upload.office, upload.packet_id)
        live = self._live.get(key, [])
        if upload in live:
            live.remove(upload)
        if not live:
            self._live.pop(key, None)

    def _office(self, office: str) -> Path:
        return self._folder / hashlib.sha256(office.encode()).hexdigest()[:32]

    def _tidy(self, folder: Path) -> None:
        """Drop interrupted uploads that are too old, and the oldest of too many."""
        if not folder.exists():
            return
        resting = [(path.stat(), path) for path in folder.iterdir() if path.suffix != _LIVE]
        resting.sort(key=lambda entry: entry[0].st_mtime, reverse=True)
        oldest = time.time() - self._settings.upload_age
        total = 0
        for count, (stat, path) in enumerate(resting, start=1):
            total += stat.st_size
            too_many = count > self._settings.uploads_kept or total > self._settings.upload_bytes_kept
            if too_many or stat.st_mtime < oldest:
                path.unlink()


class Upload:
    """One upload in progress.

    Args:
        office: Whose it is.
        packet_id: The packet.
        path: Its file: ``packet_id.sha256.size.random.live``.
    """

    def __init__(self, office: str, packet_id: str, path: Path) -> None:
        self.office = office
        self.packet_id = packet_id
        self.path = path
        _, self.sha256, size, *_ = path.name.split(".")
        self.size = int(size)
        self.ended = False
        self._file = path.open("ab", buffering=0)
        self.offset = self._file.tell()

    def append(self, data: bytes) -> None:
        """Add what came.

        Raises:
            Problem: The upload goes on in another request, or is longer than was announced.
        """
        self.check()
        if self.offset + len(data) > self.size:
            raise Problem(400, "More bytes came than were announced.", problem_type=INCONSISTENT_LENGTH)
        rest = memoryview(data)
        while rest:
            count = self._file.write(rest)
            self.offset += count
            rest = rest[count:]

    def check(self) -> None:
        """Make sure that nobody else took over.

        Raises:
            Problem: The upload goes on in another request.
        """
        if self.ended:
            raise Problem(
                409, "The upload of this packet goes on in another request.", problem_type=TAKEN_OVER
            )

    def end(self) -> None:
        """Close the file; nothing is added any more."""
        self.ended = True
        self._file.close()

    def digest(self) -> str:
        """Return the SHA-256 of what is stored."""
        with self.path.open("rb") as file:
            return files.sha256_of(file)[0]


def _rest(live: Path) -> None:
    """Give an interrupted upload its lasting name, unless a longer one of the same packet has it."""
    if not live.exists():
        return
    packet_id, *rest = live.name.split(".")[:3]
    resting = live.with_name(".".join([packet_id, *rest]))
    others = _resting(live.parent, packet_id)
    # A new digest under the same id takes the place of the old one: the office began again.
    if any(path == resting and _size(path) >= _size(live) for path in others):
        live.unlink()
        return
    live.replace(resting)
    for path in others:
        if path != resting:
            path.unlink()


def _resting(folder: Path, packet_id: str) -> list[Path]:
    return [path for path in folder.glob(f"{packet_id}.*") if path.suffix != _LIVE]


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
