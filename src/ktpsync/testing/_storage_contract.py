"""The conformance kit's part for storage: what the five methods must do."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import pytest

from ktpsync.errors import (
    AuthError,
    BackendError,
    ConflictError,
    CorruptError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.plugins import Capability, FolderBackend, StorageBackend, packet_key
from ktpsync.testing._bad_line import BadLine
from ktpsync.testing._contract import BackendContract
from ktpsync.testing._made_up import TricklingSource, breaking_source, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.plugins import Backend, ObjectInfo

_ODD_KEYS = (
    *("../a", "/a", "a/../b", "", "a//b", "a/", "a b", "ä", ".a", "a\\b", "a\n", "C:a", "a" * 201),
    *("/whole", "./whole", "whole/", "folder/../whole", "folder//whole", "folder/./whole"),
)
"""No key. The last ones are an object's key once a server has made them tidy."""


class StorageContract(BackendContract):
    """What every storage backend must do besides. Inherit it and give a fixture ``backend``."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """Return the storage backend under test, connected to a real and empty place."""
        raise NotImplementedError("give a fixture 'backend' in your subclass")

    destination_name: ClassVar[str] = ""
    """The name in the context that the backend gets; where it is given, messages must begin with it."""

    secret_texts: ClassVar[tuple[str, ...]] = ()
    """Texts that no message may hold, such as the password of ``refused_backend``."""

    patience: ClassVar[float] = 60.0
    """Seconds after which a call that still waits for a silent server is taken for one that waits for ever."""

    @pytest.fixture
    def served_folder(self) -> Path:
        """Return the folder of this machine in which the place keeps its objects as files."""
        return pytest.skip("there is no fixture 'served_folder'")

    @pytest.fixture
    def through_line(self) -> tuple[int, Callable[[int], StorageBackend]]:
        """Return the server's port on 127.0.0.1, and what makes a backend of the same place at another port."""
        return pytest.skip("there is no fixture 'through_line'")

    @staticmethod
    def put(backend: StorageBackend, key: str, content: bytes) -> ObjectInfo:
        """Store bytes under a key."""
        digest = hashlib.sha256(content).hexdigest()
        return backend.put(key, io.BytesIO(content), size=len(content), sha256=digest)

    @staticmethod
    def get(backend: StorageBackend, key: str) -> bytes:
        """Return an object's bytes."""
        with backend.open(key) as file:
            return file.read()

    @staticmethod
    def readings(backend: StorageBackend, key: str) -> list[Callable[[], object]]:
        """Return all ways to ask for one object."""
        asks: list[Callable[[], object]] = [lambda: backend.stat(key), lambda: backend.open(key)]
        if Capability.PARTS in backend.capabilities:
            asks += [lambda: backend.open_part(key, 0, 3), lambda: backend.open_part(key, 0, 0)]
        return asks

    # --- whole objects ---

    def test_what_was_put_is_read(self, backend: StorageBackend) -> None:
        """The bytes come back as they were, all at once or in pieces."""
        content = bytes(range(256)) * 1000
        self.put(backend, "folder/a.bin", content)

        assert content == self.get(backend, "folder/a.bin")
        with backend.open("folder/a.bin") as file:
            pieces = iter(lambda: file.read(10_000), b"")
            assert content == b"".join(pieces)

    def test_put_tells_what_is_stored(self, backend: StorageBackend) -> None:
        """Key, size, moment, and the digest that was verified."""
        info = self.put(backend, "folder/a.txt", b"content")

        assert ("folder/a.txt", 7, hashlib.sha256(b"content").hexdigest()) == (
            info.key,
            info.size,
            info.sha256,
        )
        assert info.modified.utcoffset() is not None

    def test_stat_and_list_tell_the_same(self, backend: StorageBackend) -> None:
        """Size and moment do not depend on who asks, the moment to the second."""
        put = self.put(backend, "folder/a.txt", b"content")
        stat = backend.stat("folder/a.txt")
        (listed,) = backend.list()

        assert [(info.key, info.size) for info in (stat, listed)] == [("folder/a.txt", 7)] * 2
        assert max(abs((info.modified - put.modified).total_seconds()) for info in (stat, listed)) < 1
        assert {stat.sha256, listed.sha256} <= {None, put.sha256}

    def test_delivered_packets_are_stored_under_their_key(self, backend: StorageBackend) -> None:
        """A person finds a packet by its id."""
        packet = made_up_packet()
        backend.deliver(packet)

        assert self.get(backend, packet_key(packet.packet_id)) == b"sealed bytes"

    def test_missing_objects_are_not_found(self, backend: StorageBackend) -> None:
        """Nothing is there before something is put."""
        for ask in self.readings(backend, "a"):
            with pytest.raises(NotFoundError):
                ask()
        assert not backend.exists("a")
        assert list(backend.list()) == []

    # --- put: whole and right, or not at all; create only if absent ---

    def test_put_keeps_what_is_there(self, backend: StorageBackend) -> None:
        """Other bytes under a used key are refused, as many or more; the same bytes are fine."""
        first = self.put(backend, "a", b"first")

        assert first == self.put(backend, "a", b"first")
        for content in (b"other", b"of another size", b""):
            with pytest.raises(ConflictError):
                self.put(backend, "a", content)
        assert self.get(backend, "a") == b"first"

    def test_put_of_wrong_bytes_leaves_no_object(self, backend: StorageBackend) -> None:
        """An object appears whole and right, or not at all."""
        digest = hashlib.sha256(b"abc").hexdigest()
        for given, size, sha256 in (
            (b"abc", 3, "0" * 64),
            (b"ab", 3, digest),
            (b"abcd", 3, digest),
            (b"", 3, digest),
        ):
            with pytest.raises(CorruptError):
                backend.put("a", io.BytesIO(given), size=size, sha256=sha256)

        assert not backend.exists("a")
        assert list(backend.list()) == []
        self.put(backend, "a", b"abc")

    def test_put_with_a_failing_source_leaves_no_object(self, backend: StorageBackend) -> None:
        """A source that breaks in the middle changes nothing, and the next put works."""
        content = b"x" * 300_000
        digest = hashlib.sha256(content).hexdigest()
        for good in (0, 200_000):
            with pytest.raises(Exception, match="the spool's disk failed"):
                backend.put("a", breaking_source(content, good), size=len(content), sha256=digest)  # type: ignore[arg-type]

        assert not backend.exists("a")
        assert list(backend.list()) == []
        self.put(backend, "a", content)
        assert content == self.get(backend, "a")

    def test_one_of_several_writers_of_a_key_wins(self, backend: StorageBackend) -> None:
        """Different bytes put under one key at one time: one is stored and stays, the others are told of it."""
        contents = [bytes([65 + number]) * 1000 for number in range(4)]

        for turn in range(3):
            key = f"folder/{turn}"

            def put(number: int, key: str = key) -> bool:
                try:
                    self.put(backend, key, contents[number])
                except ConflictError:
                    return False
                return True

            winners = [number for number, won in enumerate(self._at_once(4, put)) if won]
            assert len(winners) == 1
            assert self.get(backend, key) == contents[winners[0]]

    def test_an_unfinished_put_is_not_seen(self, backend: StorageBackend) -> None:
        """While bytes are still coming, nobody finds the object; a reader never gets half of it."""
        content = b"x" * 300_000
        seen: list[object] = []

        def look(_: int) -> None:
            seen.extend(info.key for info in backend.list())
            if backend.exists("a/b"):
                seen.append("a/b")

        source = TricklingSource(content, 100_000, before_each=look)
        backend.put("a/b", source, size=len(content), sha256=hashlib.sha256(content).hexdigest())  # type: ignore[arg-type]

        assert seen == []
        assert [info.key for info in backend.list()] == ["a/b"]

    def test_put_takes_a_source_that_trickles(self, backend: StorageBackend) -> None:
        """A source need not be seekable, nor give as much as was asked for."""
        content = bytes(range(256)) * 100
        digest = hashlib.sha256(content).hexdigest()

        backend.put("a", TricklingSource(content), size=len(content), sha256=digest)  # type: ignore[arg-type]

        assert content == self.get(backend, "a")

    def test_readers_do_not_disturb_one_another(self, backend: StorageBackend) -> None:
        """Each open file has a position of its own."""
        self.put(backend, "a", b"0123456789")

        with backend.open("a") as one, backend.open("a") as other:
            assert (one.read(5), other.read(), one.read()) == (b"01234", b"0123456789", b"56789")

    # --- list and delete ---

    def test_list_gives_all_whole_objects_under_a_prefix(self, backend: StorageBackend) -> None:
        """A prefix need not end at a slash."""
        keys = ["packs/a.tar", "packs/b.tar", "packs2/c.tar", "snapshots/20260101-x.json"]
        for key in keys:
            self.put(backend, key, key.encode())

        assert keys == sorted(info.key for info in backend.list())
        assert keys[:2] == sorted(info.key for info in backend.list("packs/"))
        assert keys[:3] == sorted(info.key for info in backend.list("packs"))
        assert [info.key for info in backend.list("packs/b")] == ["packs/b.tar"]
        assert list(backend.list("nothing/")) == []
        assert [len(keys[0])] == [info.size for info in backend.list("packs/a")]

    def test_delete_is_idempotent(self, backend: StorageBackend) -> None:
        """Removing what is gone is no error, others stay, and the key can be used again."""
        self.put(backend, "a", b"first")
        self.put(backend, "ab", b"stays")
        backend.delete("a")
        backend.delete("a")

        assert not backend.exists("a")
        assert [info.key for info in backend.list()] == ["ab"]
        self.put(backend, "a", b"second")
        assert self.get(backend, "a") == b"second"

    def test_a_folder_is_no_object(self, backend: StorageBackend) -> None:
        """What only looks like a key because others begin with it is not found, and removing it removes nothing."""
        self.put(backend, "a/b", b"stays")

        for ask in self.readings(backend, "a"):
            with pytest.raises(NotFoundError):
                ask()
        with contextlib.suppress(BackendError):  # some servers refuse; what counts is that nothing goes
            backend.delete("a")
        assert [info.key for info in backend.list()] == ["a/b"]
        assert self.get(backend, "a/b") == b"stays"

    def test_a_key_that_is_the_folder_of_another_harms_nothing(self, backend: StorageBackend) -> None:
        """There is none that ktpsync makes. A place may keep both or refuse the second; the first stays."""
        self.put(backend, "a/b", b"stays")

        for key in ("a", "a/b/c"):
            with contextlib.suppress(BackendError):
                self.put(backend, key, b"other")

        assert self.get(backend, "a/b") == b"stays"

    def test_a_folder_that_was_emptied_can_be_used_again(self, backend: StorageBackend) -> None:
        """Objects come and go in one folder, also at one time."""
        for number in range(3):
            self.put(backend, f"folder/{number}", b"x")
            backend.delete(f"folder/{number}")

        self._at_once(4, lambda number: self.put(backend, f"deep/er/{number}", b"x"))

        assert [f"deep/er/{number}" for number in range(4)] == sorted(info.key for info in backend.list())

    # --- keys ---

    @pytest.mark.parametrize("key", _ODD_KEYS)
    def test_odd_keys_reach_nothing(self, backend: StorageBackend, key: str) -> None:
        """A key cannot leave the place: see :func:`ktpsync.plugins.valid_key`."""
        for kept in ("whole", "folder/whole"):
            self.put(backend, kept, b"stays")

        for ask in self.readings(backend, key):
            with pytest.raises(NotFoundError):
                ask()
        with pytest.raises(BackendError):
            self.put(backend, key, b"x")
        with contextlib.suppress(BackendError):
            backend.delete(key)

        assert sorted(info.key for info in backend.list()) == ["folder/whole", "whole"]

    def test_what_is_outside_is_not_reached(self, backend: StorageBackend, served_folder: Path) -> None:
        """Neither files beside the place, nor those in it that are no objects."""
        self.put(backend, "a", b"stays")
        beside = served_folder.with_name(f"{served_folder.name}-beside")
        hidden = served_folder / ".hidden"
        for file in (beside, hidden):
            file.write_bytes(b"not yours")
        try:
            for key in (f"../{beside.name}", f"a/../../{beside.name}", str(beside), hidden.name):
                for ask in self.readings(backend, key):
                    with pytest.raises(NotFoundError):
                        ask()
                with pytest.raises(BackendError):
                    self.put(backend, key, b"x")
                with contextlib.suppress(BackendError):
                    backend.delete(key)
            assert [file.read_bytes() for file in (beside, hidden)] == [b"not yours"] * 2
        finally:
            beside.unlink(missing_ok=True)

    # --- what not every storage can do ---

    def test_parts_of_objects_are_read(self, backend: StorageBackend) -> None:
        """Where it is claimed; otherwise it says that it cannot."""
        self.put(backend, "a", b"0123456789")
        if Capability.PARTS not in backend.capabilities:
            with pytest.raises(UnsupportedError):
                backend.open_part("a", 0, 1)
            return

        def part(start: int, size: int) -> bytes:
            with backend.open_part("a", start, size) as file:
                return file.read()

        assert [part(*where) for where in ((0, 1), (3, 3), (8, 100), (10, 1), (4, 0), (0, 10))] == [
            b"0",
            b"345",
            b"89",
            b"",
            b"",
            b"0123456789",
        ]
        with pytest.raises(NotFoundError):
            backend.open_part("b", 0, 1)

    # --- what is left behind ---

    def test_nothing_unfinished_stays(self, backend: StorageBackend, served_folder: Path) -> None:
        """Whatever went wrong, only whole objects are in the place."""
        before = _files(served_folder)
        self.put(backend, "folder/a", b"first")
        for content, announced in ((b"other", b"other"), (b"wrong", b"right")):
            with pytest.raises(BackendError):
                backend.put(
                    "folder/a" if content == announced else "folder/b",
                    io.BytesIO(content),
                    size=5,
                    sha256=hashlib.sha256(announced).hexdigest(),
                )
        with pytest.raises(OSError, match="the spool's disk failed"):
            backend.put("folder/b", breaking_source(b"x" * 300_000, 200_000), size=300_000, sha256="0" * 64)  # type: ignore[arg-type]

        def put(number: int) -> None:
            with contextlib.suppress(ConflictError):
                self.put(backend, "folder/c", bytes([65 + number]) * 1000)

        self._at_once(4, put)

        assert sorted(info.key for info in backend.list()) == ["folder/a", "folder/c"]
        assert len(_files(served_folder) - before) == 2  # noqa: PLR2004 - the two

    def test_what_is_unfinished_is_not_listed(self, backend: StorageBackend, served_folder: Path) -> None:
        """Names that begin with a dot are the backend's own, or the system's."""
        self.put(backend, "folder/a", b"whole")
        (stored,) = (path for path in _files(served_folder) if path.read_bytes() == b"whole")
        for folder in (served_folder, stored.parent):
            (folder / ".unfinished").write_bytes(b"half")

        assert [info.key for info in backend.list()] == ["folder/a"]
        assert [info.key for info in backend.list("folder/")] == ["folder/a"]

    def test_a_place_that_is_away_is_not_empty(self, backend: StorageBackend, served_folder: Path) -> None:
        """What cannot be seen is not gone; nothing is stored in a place that is made anew."""
        self.put(backend, "a", b"still there")
        drawer = served_folder.with_name(f"{served_folder.name}-away")
        served_folder.rename(drawer)

        asks: list[Callable[[], object]] = [
            backend.check,
            lambda: list(backend.list()),
            *self.readings(backend, "a"),
            lambda: self.put(backend, "a", b"still there"),
            lambda: self.put(backend, "folder/b", b"new"),
        ]
        for ask in asks:
            with pytest.raises(BackendError) as told:
                ask()
            assert not isinstance(told.value, NotFoundError | ConflictError | CorruptError)
        drawer.rename(served_folder)
        assert self.get(backend, "a") == b"still there"

    # --- trouble ---

    def test_messages_begin_with_the_name_of_the_destination(self, backend: StorageBackend) -> None:
        """An office has several."""
        if not self.destination_name:
            pytest.skip("there is no 'destination_name'")
        self.put(backend, "a", b"first")
        asks: list[Callable[[], object]] = [
            *self.readings(backend, "b"),
            *self.readings(backend, "../b"),
            lambda: self.put(backend, "a", b"other"),
            lambda: backend.put("b", io.BytesIO(b"x"), size=1, sha256="0" * 64),
        ]
        for ask in asks:
            with pytest.raises(BackendError, match=f"^{re.escape(self.destination_name)}"):
                ask()

    def test_refused_credentials_are_told_by_the_name(self, refused_backend: StorageBackend) -> None:
        """Which destination is to be corrected is the first that a person must know."""
        if not self.destination_name:
            pytest.skip("there is no 'destination_name'")
        for ask in (refused_backend.check, lambda: self.put(refused_backend, "a", b"x")):
            with pytest.raises(AuthError, match=f"^{re.escape(self.destination_name)}"):
                ask()

    def test_each_method_of_a_folder_tells_a_refusal(self, refused_backend: StorageBackend) -> None:
        """Of the seven methods none ignores what the server answers."""
        if not isinstance(refused_backend, FolderBackend):
            pytest.skip("it is no FolderBackend")
        folder = refused_backend
        asks: list[Callable[[], object]] = [
            lambda: folder.look("a"),
            lambda: list(folder.entries("")),
            lambda: folder.read("a", io.BytesIO()),
            lambda: folder.write("a", io.BytesIO(b"x"), 1),
            lambda: folder.rename("a", "b"),
            lambda: folder.remove("a"),
            lambda: folder.make_folder("a"),
        ]
        for ask in asks:
            with pytest.raises(AuthError):
                ask()

    def test_a_folder_gives_names_that_begin_with_a_dot(
        self, backend: StorageBackend, served_folder: Path
    ) -> None:
        """Otherwise uploads that a crash left behind stay for ever."""
        if not isinstance(backend, FolderBackend):
            pytest.skip("it is no FolderBackend")
        (served_folder / ".left").write_bytes(b"half")

        assert ".left" in {entry.path for entry in backend.entries("")}

    def test_messages_hold_no_secret(self, refused_backend: StorageBackend) -> None:
        """They are shown to everybody, logged and kept."""
        if not self.secret_texts:
            pytest.skip("there are no 'secret_texts'")
        told = [repr(refused_backend)]
        for ask in (refused_backend.check, lambda: self.put(refused_backend, "a", b"x")):
            with pytest.raises(BackendError) as error:
                ask()
            told.append(str(error.value))

        assert [text for text in told if any(secret in text for secret in self.secret_texts)] == []

    def test_a_silent_server_is_unavailable(
        self, through_line: tuple[int, Callable[[int], StorageBackend]]
    ) -> None:
        """A call without a timeout would hold a courier for ever."""
        port, connect = through_line
        with (
            ThreadPoolExecutor(1) as pool,
            BadLine(port, silent=True) as line,
            connect(line.own_port) as backend,
        ):
            asked = pool.submit(backend.check)
            ended, _ = wait([asked], timeout=self.patience)
            assert ended, "it waits for ever: set a timeout, a short one for this test"
            assert isinstance(asked.exception(), UnavailableError)

    def test_a_line_that_drops_is_told_while_an_object_is_read(
        self, backend: StorageBackend, through_line: tuple[int, Callable[[int], StorageBackend]]
    ) -> None:
        """Half an object is never taken for the whole."""
        port, connect = through_line
        self.put(backend, "a", b"x" * 300_000)
        whole: list[Callable[[StorageBackend], BinaryIO]] = [lambda backend: backend.open("a")]
        if Capability.PARTS in backend.capabilities:
            whole.append(lambda backend: backend.open_part("a", 0, 300_000))
        for opened in whole:
            with (
                BadLine(port, drop_after_answer=100_000) as line,
                connect(line.own_port) as dropped,
                pytest.raises((BackendError, OSError)) as told,
                opened(dropped) as file,
            ):
                file.read()
            assert not isinstance(told.value, NotFoundError | ConflictError | AuthError | RejectedError)

    def test_what_is_damaged_on_the_way_is_no_object(
        self, backend: StorageBackend, through_line: tuple[int, Callable[[int], StorageBackend]]
    ) -> None:
        """A success code is not believed: what arrived is compared, by the server or read back."""
        port, connect = through_line
        with (
            BadLine(port, damage_at=100_000) as line,
            connect(line.own_port) as damaging,
            pytest.raises((CorruptError, UnavailableError)),
        ):
            self.put(damaging, "folder/a", b"x" * 300_000)

        assert list(backend.list()) == []

    def test_a_line_that_drops_leaves_no_object(
        self, backend: StorageBackend, through_line: tuple[int, Callable[[int], StorageBackend]]
    ) -> None:
        """The destination is not to blame, nor the packet; the next attempt stores it."""
        port, connect = through_line
        with (
            BadLine(port, drop_after=100_000) as line,
            connect(line.own_port) as dropped,
            pytest.raises(UnavailableError),
        ):
            self.put(dropped, "folder/a", b"x" * 300_000)

        assert list(backend.list()) == []
        self.put(backend, "folder/a", b"x" * 300_000)
        assert [info.size for info in backend.list()] == [300_000]

    def test_an_unreachable_place_is_unavailable(self, unreachable_backend: Backend) -> None:
        """Whatever is asked of it."""
        assert isinstance(unreachable_backend, StorageBackend)
        backend = unreachable_backend
        asks: list[Callable[[], object]] = [
            backend.check,
            lambda: backend.deliver(made_up_packet()),
            lambda: self.put(backend, "a", b"x"),
            *self.readings(backend, "a"),
            lambda: list(backend.list()),
            lambda: backend.delete("a"),
        ]
        for ask in asks:
            with pytest.raises(UnavailableError):
                ask()


def _files(folder: Path) -> set[Path]:
    # An empty file may be a lock.
    return {path for path in folder.rglob("*") if path.is_file() and path.stat().st_size}
