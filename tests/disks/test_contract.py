"""The disk backend keeps the contract on the file systems that offices meet."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import ConflictError
from ktpsync.testing import StorageContract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.backends.disk.backend import DiskBackend

pytestmark = pytest.mark.slow


class TestOnRealFileSystems(StorageContract):
    """On ext4, exFAT and NTFS."""

    @pytest.fixture
    def backend(self, folder: Path, backend_on: Callable[..., DiskBackend]) -> DiskBackend:
        """Return a backend on a new marked folder of the file system."""
        return backend_on(folder)

    @pytest.fixture
    def unreachable_backend(self, folder: Path, backend_on: Callable[..., DiskBackend]) -> DiskBackend:
        """Return a backend whose disk is not plugged in."""
        return backend_on(folder / "away")

    def test_a_name_that_differs_only_by_case_replaces_nothing(
        self, backend: DiskBackend, folder: Path
    ) -> None:
        """Where the disk takes both names for one, the second is refused; nobody is told that it is stored."""
        told_apart = not (folder / "KTPSYNC-DISK.JSON").exists()
        self.put(backend, "packs/a.tar", b"first")

        if told_apart:
            self.put(backend, "packs/A.tar", b"other")
        else:
            for content in (b"other", b"first"):
                with pytest.raises(ConflictError, match="differs only by case"):
                    self.put(backend, "packs/A.tar", content)

        expected = ["packs/A.tar", "packs/a.tar"] if told_apart else ["packs/a.tar"]
        assert expected == sorted(info.key for info in backend.list("packs/"))
        with backend.open("packs/a.tar") as file:
            assert file.read() == b"first"
        assert [] == list(folder.rglob("*.part"))


def test_what_the_system_puts_on_a_disk_is_none_of_ours(
    folder: Path, backend_on: Callable[..., DiskBackend]
) -> None:
    """Windows, macOS and mkfs leave folders of their own; a listing neither shows nor enters them."""
    backend = backend_on(folder)
    for name in ("System Volume Information", "$RECYCLE.BIN", ".Trash-1000", ".Spotlight-V100"):
        (folder / name / "packets").mkdir(parents=True)
        (folder / name / "packets" / "a.age").write_bytes(b"not ours")
    StorageContract.put(backend, "packets/ab/a.age", b"ours")

    assert ["packets/ab/a.age"] == [info.key for info in backend.list()]
    assert [] == list(backend.list("../"))
    assert [] == list(backend.list("packets/../../"))


def test_leftovers_of_dead_writers_are_removed_when_old(
    folder: Path, backend_on: Callable[..., DiskBackend]
) -> None:
    """A disk that was pulled out in mid-write does not fill up with half files; young ones may be someone's work."""
    import os
    import time

    (folder / "packets").mkdir()
    old, young, both = (
        folder / "packets" / f".{name}.age.0123abcd.part" for name in ("old", "young", "both")
    )
    for path in (old, young, both):
        path.write_bytes(b"half")
    # A power cut in the middle of a rename on a file system without a journal: one file under two names.
    (folder / "packets" / "both.age").write_bytes(b"half")
    for path in (old, both):
        os.utime(path, (time.time() - 100_000,) * 2)

    content = b"new"
    backend_on(folder).put(
        "packets/new.age", io.BytesIO(content), size=3, sha256=hashlib.sha256(content).hexdigest()
    )

    assert (False, True, True) == (old.exists(), young.exists(), both.exists())
