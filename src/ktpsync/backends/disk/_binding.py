"""Which disk a destination is bound to, and where that disk is at the moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ktpsync import files
from ktpsync.backends.disk._marker import read_marker_on_device
from ktpsync.backends.disk._mounted import folders_marked
from ktpsync.errors import DoubtfulDiskError, NotPluggedInError, UnavailableError, WrongDiskError

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.backends.disk._marker import DiskMarker

_BOUND_NAME: Final = "disk-uuid"


class Binding:
    """Finds the one disk of a destination: at its path, or wherever it is mounted; never another.

    Args:
        name: The destination, for messages.
        path: Where it is expected; ``None`` to go by its UUID alone.
        uuid: Its UUID; ``None`` for that of the first disk seen at the path, from then on.
        state_folder: Where the UUID and the label of the first disk are remembered.
    """

    def __init__(self, *, name: str, path: Path | None, uuid: str | None, state_folder: Path | None) -> None:
        self._name = name
        self._path = path
        self._uuid = uuid.lower() if uuid else None
        self._label = ""
        self._file = None if state_folder is None else state_folder / _BOUND_NAME
        self._last = path
        self._lock = threading.Lock()

    def right_disk(self) -> tuple[Path, int]:
        """Return the marked folder of the right disk, and the number of its device.

        Raises:
            NotPluggedInError: It is not plugged in.
            WrongDiskError: Another one is in its place, or what is there cannot be told.
            UnavailableError: The station cannot note which disk it is.
        """
        with self._lock:
            wanted = self._wanted()
            problem: WrongDiskError | None = None
            for folder in dict.fromkeys((self._last, self._path)):
                if folder is None:
                    continue
                try:
                    marker, device = read_marker_on_device(folder)
                except NotPluggedInError as error:
                    problem = problem or (error if wanted is None else self._not_plugged_in(folder, wanted))
                    continue
                except WrongDiskError as error:
                    problem = problem or error
                    continue
                if wanted in (None, marker.uuid):
                    self._bind(marker)
                    self._last = folder
                    return folder, device
                problem = WrongDiskError(
                    f"{self._name}: the disk at {folder} is {marker.label or marker.uuid}, "
                    f"but {self._called(wanted)} is expected. Plug in the right disk. If this one is to take its place for good: "
                    f'a destination goes on with disk = "{marker.uuid}" in the configuration, a backup with a new name '
                    "there for the new disk."
                )
            if wanted is not None:
                self._last = self._found(wanted, problem)
                return self._last, read_marker_on_device(self._last)[1]
            raise problem or NotPluggedInError(f"{self._name}: no disk was ever seen. Plug it in.")

    def _found(self, wanted: str, problem: WrongDiskError | None) -> Path:
        match folders_marked(wanted):
            case [folder]:
                return folder
            case []:
                raise problem or self._not_plugged_in(None, wanted)
            case folders:
                raise DoubtfulDiskError(
                    f"{self._name}: {len(folders)} disks carry the marker {wanted}: "
                    f"{', '.join(str(folder) for folder in folders)}. One is a copy of the other: unplug one."
                )

    def _not_plugged_in(self, folder: Path | None, wanted: str) -> NotPluggedInError:
        seen = "" if folder is None else f" No marked disk at {folder}."
        return NotPluggedInError(
            f"{self._name}: the disk {self._called(wanted)} is not plugged in.{seen} Plug in the right disk; `ktpsync disk "
            "list` shows those that are plugged in."
        )

    def _wanted(self) -> str | None:
        if self._uuid is None and self._file is not None and self._file.exists():
            self._uuid, _, self._label = self._file.read_text(encoding="utf-8").strip().partition(" ")
        return self._uuid

    def _called(self, uuid: str) -> str:
        """Return how a person knows the disk: by its sticker, if it has one."""
        return f"{self._label} ({uuid})" if self._label else uuid

    def _bind(self, marker: DiskMarker) -> None:
        if self._uuid is not None:
            return
        if self._file is not None:
            try:
                files.make_folder(self._file.parent)
                files.write_atomic(self._file, f"{marker.uuid} {marker.label}".encode())
            except OSError as error:
                raise UnavailableError(
                    f"{self._name}: this station cannot note which disk it is bound to ({self._file}: "
                    f"{error.strerror}). Free some room on the station; nothing was written to the disk."
                ) from error
        self._uuid, self._label = marker.uuid, marker.label
