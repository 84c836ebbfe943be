"""The marker file that binds a destination to one disk: the right disk, or no write."""

from __future__ import annotations

import functools
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

from ktpsync import files
from ktpsync.clock import SystemClock, utc_from_ms, utc_text
from ktpsync.errors import DoubtfulDiskError, NotPluggedInError, UnavailableError

if TYPE_CHECKING:
    from ktpsync.clock import Clock

MARKER_NAME: Final = "ktpsync-disk.json"
_FORMAT: Final = "ktpsync.disk/1"
_MAX_BYTES: Final = 64 << 10


@frozen(kw_only=True)
class DiskMarker:
    """What a marked disk says of itself.

    Args:
        uuid: The disk's own id.
        created_at: When it was marked, RFC 3339 in UTC.
        label: What is written on its sticker.
    """

    uuid: str
    created_at: str
    label: str = ""


def init_disk(path: Path | str, *, label: str = "", clock: Clock | None = None) -> DiskMarker:
    """Mark the disk at a path for ktpsync. A disk that is marked already keeps its marker.

    Args:
        path: The folder on the disk; made if its parent exists.
        label: What is written on the disk's sticker, for messages.
        clock: The clock to ask.

    Returns:
        The disk's marker.

    Raises:
        DoubtfulDiskError: There is a marker that cannot be read.
        UnavailableError: The disk is not there or cannot be written.
    """
    path = Path(path)
    marker = DiskMarker(
        uuid=str(uuid.uuid4()),
        created_at=utc_text(utc_from_ms((clock or SystemClock()).now_ms())),
        label=label,
    )
    document = json.dumps({"format": _FORMAT, **asdict(marker)}, indent=1).encode("ascii") + b"\n"
    try:
        if path.parent.is_dir():
            path.mkdir(exist_ok=True)
        files.write_atomic(path / MARKER_NAME, document, replace=False)
    except FileExistsError:
        return read_marker(path)
    except OSError as error:
        raise UnavailableError(
            f"The disk at {path} cannot be marked: {error.strerror}. Is it plugged in?"
        ) from error
    return marker


def read_marker(path: Path) -> DiskMarker:
    """Return what the disk at a path says of itself.

    Raises:
        NotPluggedInError: There is no marker: no disk of ours, or none at all.
        DoubtfulDiskError: There is one that cannot be read.
    """
    return read_marker_on_device(path)[0]


def read_marker_on_device(path: Path) -> tuple[DiskMarker, int]:
    """Return what the disk at a path says of itself, and the number of the device that it was read from.

    Raises:
        NotPluggedInError: As :func:`read_marker`.
        DoubtfulDiskError: As :func:`read_marker`.
    """
    try:
        descriptor = os.open(path / MARKER_NAME, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            return _parse(os.read(descriptor, _MAX_BYTES)), os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise NotPluggedInError(
            f"No marked disk at {path}. Plug in the right disk; to use a new one, run `ktpsync disk init {path}`."
        ) from None
    except OSError as error:
        raise DoubtfulDiskError(
            f"The disk at {path} cannot be read: {error.strerror}. Plug it in again; if that does not help, replace it."
        ) from error
    except _UnknownKindError:
        raise DoubtfulDiskError(
            f"The marker {path / MARKER_NAME} is of a newer kind. Upgrade ktpsync."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DoubtfulDiskError(
            f"The marker {path / MARKER_NAME} is damaged. Check the disk; nothing was written to it. If it is the right one, "
            f"delete that file and run `ktpsync disk init {path}`."
        ) from None


class _UnknownKindError(Exception):
    pass


@functools.lru_cache(maxsize=8)
def _parse(data: bytes) -> DiskMarker:
    """Read the marker's bytes; the same ones are read before every write, and parsed once."""
    document = json.loads(data)
    if document.pop("format") != _FORMAT:
        raise _UnknownKindError
    return DiskMarker(**document)
