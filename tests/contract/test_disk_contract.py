"""The disk backend keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.plugins import BackendContext
from ktpsync.testing import StorageContract

if TYPE_CHECKING:
    from pathlib import Path


class TestDisk(StorageContract):
    """On an ordinary folder."""

    destination_name = "usb-a"

    @pytest.fixture
    def served_folder(self, tmp_path: Path) -> Path:
        """Return a newly marked folder."""
        init_disk(tmp_path / "disk")
        return tmp_path / "disk"

    @pytest.fixture
    def backend(self, tmp_path: Path, served_folder: Path) -> DiskBackend:
        """Return a backend on it."""
        context = BackendContext(name="usb-a", state_folder=tmp_path / "state")
        return DiskBackend(DiskSettings(path=served_folder), context)

    @pytest.fixture
    def unreachable_backend(self, tmp_path: Path) -> DiskBackend:
        """Return a backend whose disk is not plugged in."""
        return DiskBackend(DiskSettings(path=tmp_path / "away"), BackendContext(name="usb-b"))


class TestDiskWithLinks(TestDisk):
    """On a system that renames without replacing by way of a second link."""

    @pytest.fixture(autouse=True)
    def no_rename(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the kernel's own call away."""
        monkeypatch.setattr("ktpsync.files._renameat2", None)


class TestDiskWithoutLinks(TestDiskWithLinks):
    """On a file system such as exFAT, by a driver that knows nothing better."""

    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refuse hard links as exFAT does."""

        def refuse(source: object, target: object) -> None:
            raise PermissionError(source, target)

        monkeypatch.setattr("os.link", refuse)
