"""Storage in folders on a server, from seven methods."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

import pytest

from ktpsync.errors import AuthError, CorruptError, NotFoundError, UnavailableError, UnsupportedError
from ktpsync.plugins import (
    BackendContext,
    Capability,
    FolderBackend,
    FolderEntry,
    digest_of,
    error_for_status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 24 * 3600


class Shelf(FolderBackend):
    """A folder of this machine, as a server would offer it."""

    capabilities = frozenset({Capability.PARTS})

    def __init__(self, folder: Path) -> None:
        super().__init__(BackendContext(name="shelf"), "the shelf")
        self.folder = folder

    def look(self, path: str) -> FolderEntry:
        """Describe."""
        found = (self.folder / path).stat()
        return FolderEntry(
            path=path,
            is_folder=(self.folder / path).is_dir(),
            size=found.st_size,
            modified=datetime.fromtimestamp(found.st_mtime, UTC),
        )

    def entries(self, folder: str) -> Iterator[FolderEntry]:
        """List."""
        for name in os.listdir(self.folder / folder):  # noqa: PTH208 - names only
            yield self.look(f"{folder}/{name}".lstrip("/"))

    def read(self, path: str, into: BinaryIO) -> None:
        """Read."""
        with (self.folder / path).open("rb") as file:
            digest_of(file, into)

    def read_part(self, path: str, into: BinaryIO, start: int, size: int) -> None:
        """Read a part."""
        with (self.folder / path).open("rb") as file:
            file.seek(start)
            into.write(file.read(size))

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Write."""
        with (self.folder / path).open("wb") as file:
            assert size == digest_of(source, file)[0]

    def rename(self, path: str, to: str) -> None:
        """Rename."""
        (self.folder / path).rename(self.folder / to)

    def remove(self, path: str) -> None:
        """Remove."""
        (self.folder / path).unlink()

    def make_folder(self, path: str) -> None:
        """Make."""
        (self.folder / path).mkdir(exist_ok=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty folder."""
    (tmp_path / "place").mkdir()
    return Shelf(tmp_path / "place")


def put(shelf: Shelf, key: str = "a/b", content: bytes = b"content") -> None:
    """Store bytes."""
    shelf.put(key, io.BytesIO(content), size=len(content), sha256=hashlib.sha256(content).hexdigest())


def files(shelf: Shelf) -> list[str]:
    """Return all files in the place, unfinished ones too."""
    return sorted(str(path.relative_to(shelf.folder)) for path in shelf.folder.rglob("*") if path.is_file())


def test_what_the_client_raises_is_told_as_the_line(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the destination's name, what was asked and why it failed; at each of the seven methods."""
    put(shelf)

    def broken(*_: object) -> None:
        # Clients tell addresses as they have them.
        raise ConnectionResetError("https://siti:hunter2@shelf.example reset by peer")

    for method, ask in {
        "look": shelf.check,
        "entries": lambda: list(shelf.list()),
        "read": lambda: shelf.open("a/b"),
        "write": lambda: put(shelf, "c"),
        "rename": lambda: put(shelf, "c"),
        "remove": lambda: shelf.delete("a/b"),
        "make_folder": lambda: put(shelf, "new/c"),
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(shelf, method, broken)
            with pytest.raises(UnavailableError, match=r"^shelf: the shelf cannot .*reset by peer") as caught:
                ask()
            assert "hunter2" not in str(caught.value)
    assert ["a/b"] == files(shelf)


def test_what_the_server_says_is_told_as_it_is(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is one of ktpsync's already stays that."""

    def refused(*_: object) -> None:
        raise AuthError("shelf: 401")

    monkeypatch.setattr(shelf, "look", refused)

    with pytest.raises(AuthError, match="shelf: 401"):
        shelf.stat("a")


def test_what_the_server_damages_is_removed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object is read back before it gets its name."""

    def truncate(path: str, source: BinaryIO, size: int) -> None:
        (shelf.folder / path).write_bytes(source.read(size - 1))

    monkeypatch.setattr(shelf, "write", truncate)

    with pytest.raises(CorruptError, match="shelf: the shelf damaged a/b"):
        put(shelf)
    assert [] == files(shelf)


def test_an_answer_that_is_lost_changes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was renamed, and the line dropped before that was said."""
    rename = shelf.rename

    def dropping(path: str, to: str) -> None:
        rename(path, to)
        raise ConnectionResetError

    monkeypatch.setattr(shelf, "rename", dropping)

    put(shelf)

    assert ["a/b"] == files(shelf)


def test_what_is_removed_while_it_is_compared_is_stored_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next attempt; the packet is not to blame."""
    put(shelf)
    read = shelf.read

    def late(path: str, into: BinaryIO) -> None:
        shelf.remove(path)
        read(path, into)

    with monkeypatch.context() as patch:
        patch.setattr(shelf, "read", late)
        with pytest.raises(UnavailableError, match="somebody removed a/b while it was compared"):
            put(shelf)
    put(shelf)

    assert ["a/b"] == files(shelf)


def test_a_folder_that_somebody_removed_is_made_anew(shelf: Shelf) -> None:
    """Which folders are there is remembered, and not believed."""
    put(shelf, "a/b/c")
    shutil.rmtree(shelf.folder / "a")

    put(shelf, "a/b/d")

    assert ["a/b/d"] == files(shelf)


def test_the_folder_of_uploads_may_be_removed(shelf: Shelf) -> None:
    """The next attempt makes it anew."""
    put(shelf, "a")
    shutil.rmtree(shelf.folder / ".ktpsync-uploads")

    with pytest.raises(UnavailableError, match="lost a folder while b was stored"):
        put(shelf, "b")
    put(shelf, "b")

    assert ["a", "b"] == files(shelf)


def test_a_server_that_says_otherwise_that_the_folder_of_uploads_is_gone_is_understood(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebDAV answers 409, which is a conflict elsewhere (RFC 4918, 9.7.1)."""
    put(shelf, "a")
    shutil.rmtree(shelf.folder / ".ktpsync-uploads")
    write = Shelf.write

    def strict(self: Shelf, path: str, source: BinaryIO, size: int) -> None:
        try:
            write(self, path, source, size)
        except FileNotFoundError:
            raise error_for_status(409, "shelf: PUT") from None

    monkeypatch.setattr(Shelf, "write", strict)

    with pytest.raises(UnavailableError, match="409"):
        put(shelf, "b")
    put(shelf, "b")

    assert ["a", "b"] == files(shelf)


def test_a_place_that_is_away_is_not_made(shelf: Shelf) -> None:
    """Nor does it look empty."""
    shelf.folder.rmdir()
    for ask in (
        shelf.check,
        lambda: list(shelf.list()),
        lambda: shelf.stat("a"),
        lambda: shelf.open("a"),
        lambda: put(shelf),
    ):
        with pytest.raises(UnavailableError, match=r"shelf: there is no folder the shelf\. Make it once"):
            ask()
    assert not shelf.folder.exists()


@pytest.mark.parametrize("refused", ["", "packets"])
def test_folders_that_may_not_be_made_are_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """A server without the right to write answers as if they were there; a person must see to it."""
    make_folder = shelf.make_folder

    def pretending(path: str) -> None:
        if refused and path != refused:
            make_folder(path)

    monkeypatch.setattr(shelf, "make_folder", pretending)
    words = rf"^shelf: the shelf does not let the folder {refused or '.ktpsync-uploads'} be made\. Give"

    for _ in range(2):
        with pytest.raises(AuthError, match=words):
            put(shelf, "packets/a")
        if not refused:
            with pytest.raises(AuthError, match=words):
                shelf.check()
    monkeypatch.undo()
    shelf.check()
    put(shelf, "packets/a")

    assert ["packets/a"] == files(shelf)


def test_a_check_makes_the_folder_of_uploads_anew(shelf: Shelf) -> None:
    """That somebody removed it is no trouble."""
    shelf.check()
    (shelf.folder / ".ktpsync-uploads").rmdir()
    shelf.check()

    assert (shelf.folder / ".ktpsync-uploads").is_dir()


def test_a_place_that_is_a_file_is_told(shelf: Shelf) -> None:
    """A wrong address, or an author who forgot to say what is a folder."""
    shelf.folder.rmdir()
    shelf.folder.write_bytes(b"no folder")

    with pytest.raises(UnavailableError, match=r"^shelf: the shelf is a file, not a folder"):
        shelf.check()


def test_a_moment_without_a_zone_is_refused() -> None:
    """Receipts and retention would be hours off."""
    with pytest.raises(ValueError, match="modified of a/b needs a time zone"):
        FolderEntry(path="a/b", size=1, modified=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


def test_what_disappears_while_it_is_listed_hides_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that broke off is not a listing without entries."""
    put(shelf)
    entries = shelf.entries

    def vanishing(folder: str) -> Iterator[FolderEntry]:
        yield from entries(folder)
        raise FileNotFoundError

    monkeypatch.setattr(shelf, "entries", vanishing)

    with pytest.raises(UnavailableError, match="changed while it was listed"):
        list(shelf.list())


def test_uploads_left_behind_are_removed_a_day_later(shelf: Shelf) -> None:
    """Not those that another station may be writing."""
    folder = shelf.folder / ".ktpsync-uploads"
    folder.mkdir()
    now = datetime.now(UTC).timestamp()
    for name, age in {"old": 2 * DAY, "new": DAY / 2}.items():
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (now - age, now - age))

    put(shelf)

    assert [".ktpsync-uploads/new", "a/b"] == files(shelf)


def test_a_file_without_a_moment_is_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt needs to say when."""
    monkeypatch.setattr(
        shelf, "look", lambda path: FolderEntry(path=path, is_folder=not path, size=1, modified=None)
    )

    with pytest.raises(UnavailableError, match="does not say when a was stored"):
        shelf.stat("a")


def test_only_bytes_that_are_there_are_asked_for(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is asked for nothing, nor for what is beyond the end; and never for what is no key."""
    put(shelf, "a", b"0123456789")
    (shelf.folder.parent / "secret").write_bytes(b"secret")
    asked = []
    read_part = shelf.read_part

    def counted(path: str, into: BinaryIO, start: int, size: int) -> None:
        asked.append((path, start, size))
        read_part(path, into, start, size)

    monkeypatch.setattr(shelf, "read_part", counted)

    parts = [shelf.open_part("a", *where).read() for where in ((0, 0), (10, 1), (99, 1), (8, 100), (2, 3))]
    with pytest.raises(NotFoundError, match="is not a key"):
        shelf.open_part("../secret", 0, 3)

    assert [b"", b"", b"", b"89", b"234"] == parts
    assert [("a", 8, 2), ("a", 2, 3)] == asked


@pytest.mark.parametrize("given", [b"0123456789", b"01"])
def test_another_part_than_asked_for_is_refused(
    shelf: Shelf, given: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that knows no ranges gives the whole file, a line that drops less."""
    put(shelf, "a", b"0123456789")
    monkeypatch.setattr(shelf, "read_part", lambda _path, into, *_: into.write(given))

    with pytest.raises(UnavailableError, match=rf"gave {len(given)} bytes of a where 3 were asked for"):
        shelf.open_part("a", 2, 3)


def test_parts_that_are_promised_and_not_written_are_told(shelf: Shelf) -> None:
    """As what the backend cannot do; so are those that are not promised."""

    class Forgetful(Shelf):
        read_part = FolderBackend.read_part

    class Whole(Shelf):
        capabilities = frozenset()

    put(shelf, "a")
    for made, words in ((Forgetful, "Forgetful claims to read parts"), (Whole, "reads only whole objects")):
        with pytest.raises(UnsupportedError, match=words):
            made(shelf.folder).open_part("a", 0, 1)
