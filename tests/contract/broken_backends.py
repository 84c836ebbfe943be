"""Backends that are broken in one way each, and the contract test that must catch it.

Not collected by itself: `test_kit_bites.py` runs it in a process of its own and looks at what failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import itertools
import socket
import socketserver
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import pytest
from attrs import evolve

from ktpsync.errors import (
    AuthError,
    ConflictError,
    CorruptError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.plugins import (
    BackendContext,
    Capability,
    CentralBackend,
    FolderBackend,
    FolderEntry,
    Health,
    Holding,
    HoldingState,
    ObjectInfo,
    Receipt,
    StatusChange,
    StatusPage,
    StorageBackend,
    digest_of,
    valid_key,
)
from ktpsync.testing import CentralContract, StorageContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ktpsync.packet import SealedPacket

PAUSE = 0.02
"""Seconds in which threads get in one another's way, where a broken backend lets them."""


class Memory(StorageBackend):
    """Storage that is right, in small steps that a broken one replaces."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PARTS})

    def __init__(self, trouble: type[Exception] | None = None) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.lock = threading.Lock()
        self.trouble = trouble

    def reach(self) -> None:
        """Raise the trouble, if there is any."""
        if self.trouble is not None:
            raise self.trouble("trouble on purpose")

    def check(self) -> Health:
        """Be well."""
        self.reach()
        return Health(summary=f"{len(self.objects)} objects.")

    def key(self, key: str) -> str:
        """Return the key if it is one."""
        if not valid_key(key):
            raise NotFoundError(f"{key!r} is not a key.")
        return key

    def read_all(self, source: BinaryIO) -> bytes:
        """Return what a source gives."""
        blocks = iter(lambda: source.read(100_000), b"")
        return b"".join(blocks)

    def verify(self, data: bytes, size: int, sha256: str) -> None:
        """Refuse other bytes than announced."""
        if (len(data), hashlib.sha256(data).hexdigest()) != (size, sha256):
            raise CorruptError("These are not the bytes announced.")

    def same(self, stored: bytes, data: bytes) -> bool:
        """Say whether what is stored is what is put."""
        return stored == data

    def store(self, key: str, data: bytes) -> bytes:
        """Store if absent; return what is stored then."""
        with self.lock:
            return self.objects.setdefault(key, (data, datetime.now(UTC)))[0]

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """Store."""
        self.reach()
        data = self.read_all(source)
        self.verify(data, size, sha256)
        if not self.same(self.store(self.key(key), data), data):
            raise ConflictError(f"{key} holds other bytes.")
        return self.stat(key)

    def open(self, key: str) -> BinaryIO:
        """Open."""
        self.stat(key)
        return io.BytesIO(self.objects[key][0])

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        """Open a part."""
        self.stat(key)
        return io.BytesIO(self.objects[key][0][start : start + size])

    def stat(self, key: str) -> ObjectInfo:
        """Describe."""
        self.reach()
        if self.key(key) not in self.objects:
            raise NotFoundError(f"There is no {key}.")
        data, modified = self.objects[key]
        sha256 = hashlib.sha256(data).hexdigest()
        return ObjectInfo(key=key, size=len(data), modified=modified, sha256=sha256)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List."""
        self.reach()
        return iter([self.stat(key) for key in list(self.objects) if key.startswith(prefix)])

    def delete(self, key: str) -> None:
        """Remove."""
        self.reach()
        self.objects.pop(key, None)


class Storage(StorageContract):
    """The contract of storage on a backend class; `made` says which, `caught_by` which tests must fail."""

    made: ClassVar[type[Memory]] = Memory
    caught_by: ClassVar[tuple[str, ...]] = ()
    secret_texts = ("hush",)

    @pytest.fixture
    def backend(self) -> Memory:
        """Return a new one."""
        return self.made()

    @pytest.fixture
    def unreachable_backend(self) -> Memory:
        """Return one that is away."""
        return self.made(UnavailableError)

    @pytest.fixture
    def refused_backend(self) -> Memory:
        """Return one that does not know us."""
        return self.made(AuthError)


class TestMemory(Storage):
    """Right: nothing may fail."""


def broken(contract: type, *caught: tuple[str, type]) -> None:
    """Add the tests of broken backends: each contract test, and what it must catch."""
    for caught_by, made in caught:
        name = f"Test{made.__name__}"
        tests = globals().setdefault(name, type(name, (contract,), {"made": made}))
        tests.caught_by = (*tests.caught_by, caught_by)


class Speechless(Memory):
    def check(self) -> Health:
        return Health(summary="")


class Boastful(Memory):
    capabilities = frozenset({Capability.STATUSES})


class Truncating(Memory):
    def read_all(self, source: BinaryIO) -> bytes:
        return super().read_all(source)[: 1 << 20]

    def verify(self, data: bytes, size: int, sha256: str) -> None:
        if size <= 1 << 20:
            super().verify(data, size, sha256)


class WithoutZone(Memory):
    def deliver(self, packet: SealedPacket) -> Receipt:
        receipt = super().deliver(packet)
        return evolve(receipt, stored_at=receipt.stored_at.replace(tzinfo=None))


class Rejuvenating(Memory):
    def deliver(self, packet: SealedPacket) -> Receipt:
        return evolve(super().deliver(packet), stored_at=datetime.now(UTC))


class Overwriting(Memory):
    def store(self, key: str, data: bytes) -> bytes:
        self.objects[key] = data, datetime.now(UTC)
        return data


class ComparingSizes(Memory):
    def same(self, stored: bytes, data: bytes) -> bool:
        return len(stored) == len(data)


class Trusting(Memory):
    def verify(self, data: bytes, size: int, sha256: str) -> None:
        """Believe it."""


class LeavingParts(Memory):
    def read_all(self, source: BinaryIO) -> bytes:
        self.objects["part"] = b"", datetime.now(UTC)
        data = super().read_all(source)
        del self.objects["part"]
        return data


class LeavingLocks(Memory):
    locked = False

    def read_all(self, source: BinaryIO) -> bytes:
        if self.locked:
            raise UnavailableError("Somebody else is writing.")
        self.locked = True
        data = super().read_all(source)
        self.locked = False
        return data


class ReadingOnce(Memory):
    def read_all(self, source: BinaryIO) -> bytes:
        return source.read(10 << 20)


class Seeking(Memory):
    def read_all(self, source: BinaryIO) -> bytes:
        source.seek(0)
        return super().read_all(source)


class LeavingOpen(Memory):
    def deliver(self, packet: SealedPacket) -> Receipt:
        key = f"packets/{packet.packet_id[-2:]}/{packet.packet_id}.age"
        stored = self.put(key, packet.open(), size=packet.size, sha256=packet.sha256)
        return Receipt.of(
            packet,
            sha256=str(stored.sha256),
            stored_at=stored.modified,
            location=key,
        )


class Racing(Memory):
    def __init__(self, trouble: type[Exception] | None = None) -> None:
        super().__init__(trouble)
        self.turns = itertools.count(1)

    def store(self, key: str, data: bytes) -> bytes:
        if key not in self.objects:
            time.sleep(PAUSE * next(self.turns))
            self.objects[key] = data, datetime.now(UTC)
        return self.objects[key][0]


class LastWriterWins(Memory):
    def store(self, key: str, data: bytes) -> bytes:
        if key in self.objects:
            return super().store(key, data)
        time.sleep(PAUSE)
        self.objects[key] = data, datetime.now(UTC)
        return data


class Mixing(Memory):
    last = b""

    def read_all(self, source: BinaryIO) -> bytes:
        self.last = super().read_all(source)
        time.sleep(PAUSE)
        return self.last


class RaisingItsOwn(Memory):
    def reach(self) -> None:
        if self.trouble is UnavailableError:
            raise ConnectionRefusedError("not one of ktpsync's errors")


class NotAvailable(Memory):
    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class MisjudgingCredentials(Memory):
    def reach(self) -> None:
        if self.trouble is AuthError:
            raise RejectedError("401")
        super().reach()


class Telling(Memory):
    def reach(self) -> None:
        if self.trouble is AuthError:
            raise AuthError("The password hush is not accepted.")
        super().reach()


class LosingTheEnd(Memory):
    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(super().open(key).read().rstrip(b"\xff"))


class GivingAPart(Memory):
    def fetch(self, packet_id: str) -> BinaryIO:
        return io.BytesIO(super().fetch(packet_id).read()[:-1])


class WithoutDigest(Memory):
    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        return evolve(super().put(key, source, size=size, sha256=sha256), sha256=None)


class ListingAnotherTime(Memory):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            yield evolve(info, modified=info.modified + timedelta(hours=7))


class NamingItsOwnWay(Memory):
    def deliver(self, packet: SealedPacket) -> Receipt:
        with packet.open() as source:
            stored = self.put(packet.sha256, source, size=packet.size, sha256=packet.sha256)
        return Receipt.of(packet, sha256=str(stored.sha256), stored_at=stored.modified)


class MissingWithKeyError(Memory):
    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.objects[key][0])


class ShowingUnfinished(Memory):
    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        if valid_key(key) and key not in self.objects:
            self.objects[key] = b"", datetime.now(UTC)
            try:
                data = self.read_all(source)
                self.verify(data, size, sha256)
            except BaseException:
                del self.objects[key]
                raise
            self.objects[key] = data, datetime.now(UTC)
            return self.stat(key)
        return super().put(key, source, size=size, sha256=sha256)


class SharingAReader(Memory):
    def __init__(self, trouble: type[Exception] | None = None) -> None:
        super().__init__(trouble)
        self.readers: dict[str, BinaryIO] = {}

    def open(self, key: str) -> BinaryIO:
        return self.readers.setdefault(key, super().open(key))


class ListingFolders(Memory):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        return super().list(folder)


class DeletingOnce(Memory):
    def delete(self, key: str) -> None:
        self.stat(key)
        super().delete(key)


class DeletingMore(Memory):
    def delete(self, key: str) -> None:
        for info in list(self.list(key)):
            super().delete(info.key)


class DeletingFolders(Memory):
    def delete(self, key: str) -> None:
        super().delete(key)
        for info in list(self.list(f"{key}/")):
            super().delete(info.key)


class MakingRoom(Memory):
    def store(self, key: str, data: bytes) -> bytes:
        for info in list(self.list(f"{key}/")):
            del self.objects[info.key]
        return super().store(key, data)


class OpeningFolders(Memory):
    def open(self, key: str) -> BinaryIO:
        names = [info.key for info in self.list(f"{key}/")] if valid_key(key) else []
        return io.BytesIO("\n".join(names).encode()) if names else super().open(key)


class MakingFoldersOnce(Memory):
    def __init__(self, trouble: type[Exception] | None = None) -> None:
        super().__init__(trouble)
        self.folders: set[str] = set()

    def store(self, key: str, data: bytes) -> bytes:
        folder = key.rpartition("/")[0]
        if folder.startswith("folder") and folder in self.folders and not list(self.list(f"{folder}/")):
            raise FileExistsError(folder)
        self.folders.add(folder)
        return super().store(key, data)


class TidyingKeys(Memory):
    def key(self, key: str) -> str:
        return key


class PartsOfAnything(Memory):
    def open_part(self, key: str, start: int, size: int) -> BinaryIO:  # noqa: ARG002 - that is its mistake
        return io.BytesIO(b"whatever stands there"[start : start + size])


class PromisingParts(Memory):
    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        raise UnsupportedError(f"Only whole objects: {key}, {start}, {size}.")


class PartsOffByOne(Memory):
    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        return super().open_part(key, start, size + 1)


class StartingAgain(Memory):
    capabilities = frozenset({Capability.RESUMABLE, Capability.PARTS})


class PartsUnclaimed(Memory):
    capabilities = frozenset()


broken(
    Storage,
    ("test_check_describes_a_destination_that_works", Speechless),
    ("test_capabilities_fit_the_kind_of_backend", Boastful),
    ("test_deliver_gives_a_receipt_for_these_bytes", Truncating),
    ("test_deliver_gives_a_receipt_for_these_bytes", WithoutZone),
    ("test_deliver_again_gives_the_same_receipt", Rejuvenating),
    ("test_deliver_refuses_other_bytes_under_the_same_id", Overwriting),
    ("test_put_keeps_what_is_there", Overwriting),
    ("test_deliver_refuses_other_bytes_under_the_same_id", ComparingSizes),
    ("test_put_keeps_what_is_there", ComparingSizes),
    ("test_deliver_refuses_bytes_that_do_not_have_their_digest", Trusting),
    ("test_put_of_wrong_bytes_leaves_no_object", Trusting),
    ("test_put_with_a_failing_source_leaves_no_object", LeavingParts),
    ("test_deliver_survives_a_source_that_breaks", LeavingLocks),
    ("test_deliver_takes_a_source_that_trickles", ReadingOnce),
    ("test_put_takes_a_source_that_trickles", ReadingOnce),
    ("test_put_takes_a_source_that_trickles", Seeking),
    ("test_deliver_closes_what_it_opened", LeavingOpen),
    ("test_concurrent_deliveries_of_one_packet_agree", Racing),
    ("test_one_of_several_writers_of_a_key_wins", LastWriterWins),
    ("test_concurrent_deliveries_do_not_mix", Mixing),
    ("test_an_unreachable_place_is_unavailable", RaisingItsOwn),
    ("test_an_unreachable_place_is_unavailable", NotAvailable),
    ("test_refused_credentials_are_told", MisjudgingCredentials),
    ("test_messages_hold_no_secret", Telling),
    ("test_what_was_put_is_read", LosingTheEnd),
    ("test_a_delivered_packet_is_given_back", GivingAPart),
    ("test_put_tells_what_is_stored", WithoutDigest),
    ("test_stat_and_list_tell_the_same", ListingAnotherTime),
    ("test_delivered_packets_are_stored_under_their_key", NamingItsOwnWay),
    ("test_missing_objects_are_not_found", MissingWithKeyError),
    ("test_an_unfinished_put_is_not_seen", ShowingUnfinished),
    ("test_readers_do_not_disturb_one_another", SharingAReader),
    ("test_list_gives_all_whole_objects_under_a_prefix", ListingFolders),
    ("test_delete_is_idempotent", DeletingOnce),
    ("test_delete_is_idempotent", DeletingMore),
    ("test_a_folder_is_no_object", DeletingFolders),
    ("test_a_folder_is_no_object", OpeningFolders),
    ("test_a_key_that_is_the_folder_of_another_harms_nothing", MakingRoom),
    ("test_a_folder_that_was_emptied_can_be_used_again", MakingFoldersOnce),
    ("test_odd_keys_reach_nothing", TidyingKeys),
    ("test_odd_keys_reach_nothing", PartsOfAnything),
    ("test_missing_objects_are_not_found", PartsOfAnything),
    ("test_a_folder_is_no_object", PartsOfAnything),
    ("test_an_unreachable_place_is_unavailable", PartsOfAnything),
    ("test_parts_of_objects_are_read", PartsOfAnything),
    ("test_parts_of_objects_are_read", PromisingParts),
    ("test_parts_of_objects_are_read", PartsOffByOne),
    ("test_parts_of_objects_are_read", PartsUnclaimed),
    ("test_an_interrupted_delivery_goes_on", StartingAgain),
)


class Shelf(FolderBackend):
    """Storage in a folder of this machine."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PARTS})

    def __init__(self, folder: Path) -> None:
        super().__init__(BackendContext(name="shelf"), "the shelf")
        self.folder = folder
        self.refused = False

    def refusal(self) -> str:
        """Say that we are not known."""
        return f"{self.name}: 401"

    def at(self, path: str) -> Path:
        """Return where a file is, if we are known."""
        if self.refused:
            raise AuthError(self.refusal())
        return self.folder / path

    def look(self, path: str) -> FolderEntry:
        """Describe."""
        found = self.at(path).stat()
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
        is_folder = self.at(path).is_dir()
        return FolderEntry(path=path, is_folder=is_folder, size=found.st_size, modified=modified)

    def entries(self, folder: str) -> Iterator[FolderEntry]:
        """List."""
        for path in self.at(folder).iterdir():
            yield self.look(str(path.relative_to(self.folder)))

    def read(self, path: str, into: BinaryIO) -> None:
        """Read."""
        with self.at(path).open("rb") as file:
            digest_of(file, into)

    def read_part(self, path: str, into: BinaryIO, start: int, size: int) -> None:
        """Read a part."""
        with self.at(path).open("rb") as file:
            file.seek(start)
            into.write(file.read(size))

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Write."""
        with self.at(path).open("wb") as file:
            assert digest_of(source, file)[0] == size

    def rename(self, path: str, to: str) -> None:
        """Rename."""
        self.at(path).rename(self.at(to))

    def remove(self, path: str) -> None:
        """Remove."""
        self.at(path).unlink()

    def make_folder(self, path: str) -> None:
        """Make."""
        self.at(path).mkdir(exist_ok=True)


class OnAShelf(StorageContract):
    """The contract on what is kept as files."""

    secret_texts = ("hush",)

    made: ClassVar[type[Shelf]] = Shelf
    caught_by: ClassVar[tuple[str, ...]] = ()
    destination_name = "shelf"

    @pytest.fixture
    def served_folder(self, tmp_path: Path) -> Path:
        """Return a new folder."""
        (tmp_path / "shelf").mkdir()
        return tmp_path / "shelf"

    @pytest.fixture
    def backend(self, served_folder: Path) -> Shelf:
        """Return a new one."""
        return self.made(served_folder)

    @pytest.fixture
    def refused_backend(self, served_folder: Path) -> Shelf:
        """Return one that is not known."""
        backend = self.made(served_folder)
        backend.refused = True
        return backend


class TestShelf(OnAShelf):
    """Right: nothing may fail."""


class LeavingUploads(Shelf):
    def write(self, path: str, source: BinaryIO, size: int) -> None:
        time.sleep(5 * PAUSE)
        super().write(path, source, size)

    def remove(self, path: str) -> None:
        raise UnavailableError(f"{path} stays.")


class ListingUnfinished(Shelf):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for path in self.folder.rglob("*"):
            key = str(path.relative_to(self.folder))
            if path.is_file() and key.startswith(prefix):
                yield self._info(self.look(key))


class HidingThatItIsAway(Shelf):
    def _there(self) -> None:
        """Believe it."""


class LeavingTheFolder(Shelf):
    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        part = io.BytesIO()
        with self.asking("read", key):
            self.read_part(key, part, start, size)
        part.seek(0)
        return part


class Nameless(Shelf):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = "backend"


class NamelessWhenRefused(Shelf):
    def refusal(self) -> str:
        return "401"


class BelievingThatItIsRemoved(Shelf):
    def remove(self, path: str) -> None:
        with contextlib.suppress(AuthError):
            super().remove(path)


class HidingNames(Shelf):
    def entries(self, folder: str) -> Iterator[FolderEntry]:
        return (entry for entry in super().entries(folder) if "." not in entry.path)


broken(
    OnAShelf,
    ("test_refused_credentials_are_told_by_the_name", NamelessWhenRefused),
    ("test_each_method_of_a_folder_tells_a_refusal", BelievingThatItIsRemoved),
    ("test_a_folder_gives_names_that_begin_with_a_dot", HidingNames),
    ("test_nothing_unfinished_stays", LeavingUploads),
    ("test_what_is_unfinished_is_not_listed", ListingUnfinished),
    ("test_a_place_that_is_away_is_not_empty", HidingThatItIsAway),
    ("test_what_is_outside_is_not_reached", LeavingTheFolder),
    ("test_messages_begin_with_the_name_of_the_destination", Nameless),
)


class WireServer(socketserver.ThreadingTCPServer):
    """Gives and takes objects over TCP: a line of what, key and size, then the bytes."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.objects: dict[str, tuple[bytes, datetime]] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: lines drop here."""


class Answers(socketserver.StreamRequestHandler):
    server: WireServer

    def handle(self) -> None:
        what, key, size = self.rfile.readline().decode().split()
        answer = b""
        if what == "get":
            answer = self.server.objects[key][0]
        elif what in ("put", "believe", "take"):
            key, _, sha256 = key.partition(":")
            data = self.rfile.read(int(size))
            right = hashlib.sha256(data).hexdigest() == sha256
            if right or what == "take" or (what == "believe" and len(data) == int(size)):
                self.server.objects.setdefault(key, (data, datetime.now(UTC)))
        self.wfile.write(b"%d\n" % len(answer) + answer)


class Wire(Memory):
    """Right too, over a line."""

    timeout: ClassVar[float | None] = 2.0
    sending: ClassVar[str] = "put"

    def __init__(
        self, trouble: type[Exception] | None = None, server: WireServer | None = None, port: int = 0
    ) -> None:
        super().__init__(trouble)
        self.port = port
        if server is not None:
            self.objects = server.objects

    def ask(self, what: str, body: bytes = b"") -> bytes:
        """Return what the server answers."""
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout) as line,
                line.makefile("rwb") as file,
            ):
                file.write(f"{what} {len(body)}\n".encode() + body)
                file.flush()
                announced = file.readline()
                answer = file.read()
        except OSError as error:
            raise UnavailableError(f"The line dropped: {error}.") from error
        if not announced:
            raise UnavailableError("The line dropped.")
        return self.whole(answer, int(announced))

    def whole(self, answer: bytes, size: int) -> bytes:
        """Refuse less than was announced."""
        if len(answer) != size:
            raise UnavailableError("The line dropped in the middle.")
        return answer

    def check(self) -> Health:
        self.reach()
        if self.port:
            self.ask("check -")
        return Health(summary="Well.")

    def store(self, key: str, data: bytes) -> bytes:
        self.ask(f"{self.sending} {key}:{hashlib.sha256(data).hexdigest()}", data)
        if key not in self.objects:
            raise CorruptError("It arrived damaged.")
        return self.objects[key][0]

    def open(self, key: str) -> BinaryIO:
        self.stat(key)
        return io.BytesIO(self.ask(f"get {key}"))

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        return io.BytesIO(self.open(key).read()[start : start + size])


class OverWire(Storage):
    """The contract over a line."""

    made: ClassVar[type[Wire]]  # type: ignore[assignment]

    @pytest.fixture
    def server(self) -> Iterator[WireServer]:
        """Serve."""
        with WireServer() as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    @pytest.fixture
    def backend(self, server: WireServer) -> Wire:
        """Return a new one."""
        return self.made(None, server, server.server_address[1])

    @pytest.fixture
    def through_line(self, server: WireServer) -> tuple[int, Callable[[int], Wire]]:
        """Return what a bad line is put between."""
        return server.server_address[1], lambda port: self.made(None, server, port)


class TestWire(OverWire):
    """Right: nothing may fail."""

    made = Wire


class WaitingForEver(Wire):
    timeout = None


class TestWaitingForEver(OverWire):
    made = WaitingForEver
    patience = 0.3
    caught_by = ("test_a_silent_server_is_unavailable",)


class GivingHalf(Wire):
    def whole(self, answer: bytes, size: int) -> bytes:  # noqa: ARG002 - that is its mistake
        return answer


class TestGivingHalf(OverWire):
    made = GivingHalf
    caught_by = ("test_a_line_that_drops_is_told_while_an_object_is_read",)


class Believing(Wire):
    sending = "believe"

    def same(self, stored: bytes, data: bytes) -> bool:
        return len(stored) == len(data)


class TestBelieving(OverWire):
    made = Believing
    caught_by = ("test_what_is_damaged_on_the_way_is_no_object",)


class KeepingHalf(Wire):
    sending = "take"


class TestKeepingHalf(OverWire):
    made = KeepingHalf
    caught_by = ("test_a_line_that_drops_leaves_no_object",)


class YesSayer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response_only(200)
        self.end_headers()


class UnfollowedRedirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Ask nobody else."""


class Web(Memory):
    """Right, behind a server that speaks HTTP."""

    opened = urllib.request.build_opener(UnfollowedRedirections)

    def __init__(self, trouble: type[Exception] | None = None, port: int = 0) -> None:
        super().__init__(trouble)
        self.port = port

    def reach(self) -> None:
        super().reach()
        if self.port:
            try:
                self.opened.open(f"http://127.0.0.1:{self.port}/", timeout=2).close()
            except OSError as error:
                raise UnavailableError(f"The line dropped: {error}.") from error


class OnTheWeb(Storage):
    """The contract over HTTP."""

    made: ClassVar[type[Web]]  # type: ignore[assignment]

    @pytest.fixture
    def through_line(self) -> Iterator[tuple[int, Callable[[int], Web]]]:
        """Return what is put between; the server says yes to all."""
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), YesSayer) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server.server_port, lambda port: self.made(None, port)
            server.shutdown()
            thread.join()


class Following(Web):
    opened = urllib.request.build_opener()


class TestFollowing(OnTheWeb):
    made = Following
    caught_by = ("test_a_redirection_is_not_followed",)


class FollowingAndRegretting(Following):
    def reach(self) -> None:
        super().reach()
        raise UnavailableError("It was sent on, and believed too late.")


class TestFollowingAndRegretting(OnTheWeb):
    made = FollowingAndRegretting
    caught_by = ("test_a_redirection_is_not_followed",)


class MemoryCentre(CentralBackend):
    """A centre that is right, in small steps that a broken one replaces."""

    def __init__(self) -> None:
        self.receipts: dict[str, Receipt] = {}
        self.changes: list[StatusChange] = []
        self.lock = threading.Lock()

    def check(self) -> Health:
        """Be well."""
        return Health(summary="Well.")

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Take a packet."""
        with packet.open() as source:
            data = b"".join(iter(lambda: source.read(100_000), b""))
        if hashlib.sha256(data).hexdigest() != packet.sha256:
            raise CorruptError("These are not the bytes announced.")
        with self.lock:
            now = datetime.now(UTC)
            held = self.receipts.get(packet.packet_id)
            if held is None:
                held = Receipt.of(packet, sha256=packet.sha256, stored_at=now)
                self.receipts[packet.packet_id] = held
                self.changes.append(
                    StatusChange(packet_id=packet.packet_id, status="RECEIVED", changed_at=now)
                )
        if held.sha256 != packet.sha256:
            raise ConflictError("Other bytes are held.")
        return held

    def statuses(self, cursor: str | None) -> StatusPage:
        """Tell one change at a time."""
        start = int(cursor or 0)
        page = self.changes[start : start + 1]
        end = start + len(page)
        return StatusPage(changes=page, cursor=str(end), more=end < len(self.changes))

    def reconcile(self, packets: Iterable[SealedPacket]) -> list[Holding]:
        """Say what is held."""
        return [self.holding(packet) for packet in packets]

    def holding(self, packet: SealedPacket) -> Holding:
        """Say whether one is held."""
        receipt = self.receipts.get(packet.packet_id)
        if receipt is None:
            return Holding(packet_id=packet.packet_id, state=HoldingState.MISSING)
        if receipt.sha256 != packet.sha256:
            return Holding(packet_id=packet.packet_id, state=HoldingState.CONFLICT)
        return Holding(packet_id=packet.packet_id, state=HoldingState.HELD, receipt=receipt)


class Central(CentralContract):
    """The contract of centres on a backend class."""

    patience = 0.1
    made: ClassVar[type[MemoryCentre]] = MemoryCentre
    caught_by: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def backend(self) -> MemoryCentre:
        """Return a new one."""
        return self.made()


class TestMemoryCentre(Central):
    """Right: nothing may fail."""


class WithoutFeed(MemoryCentre):
    capabilities = frozenset({Capability.RECONCILE})
    statuses = CentralBackend.statuses


class TestWithoutFeed(Central):
    """Right too: what is not claimed says so."""

    made = WithoutFeed


class EmptyFeed(MemoryCentre):
    capabilities = frozenset({Capability.RECONCILE})

    def statuses(self, cursor: str | None) -> StatusPage:
        return StatusPage(changes=(), cursor=cursor or "0", more=False)


class PromisedFeed(EmptyFeed):
    capabilities = CentralBackend.capabilities


class RepeatingFeed(MemoryCentre):
    def statuses(self, cursor: str | None) -> StatusPage:
        return StatusPage(changes=list(self.changes), cursor=cursor or "0", more=False)


class ForgettingFeed(MemoryCentre):
    def statuses(self, cursor: str | None) -> StatusPage:
        told, self.changes = self.changes, []
        return StatusPage(changes=told, cursor=cursor or "0", more=False)


class IgnoringDigests(MemoryCentre):
    def holding(self, packet: SealedPacket) -> Holding:
        return super().holding(evolve(packet, sha256=self.receipts.get(packet.packet_id, packet).sha256))


class ReadingPackets(MemoryCentre):
    def holding(self, packet: SealedPacket) -> Holding:
        with packet.open() as source:
            source.read()
        return super().holding(packet)


class AnsweringAPage(MemoryCentre):
    def reconcile(self, packets: Iterable[SealedPacket]) -> list[Holding]:
        return super().reconcile(packets)[:1000]


broken(
    Central,
    ("test_what_is_not_claimed_says_so", EmptyFeed),
    ("test_the_feed_tells_of_each_packet", PromisedFeed),
    ("test_the_feed_goes_on_from_the_cursor", RepeatingFeed),
    ("test_the_feed_tells_the_same_again", ForgettingFeed),
    ("test_reconcile_tells_held_missing_and_conflict", IgnoringDigests),
    ("test_reconcile_tells_held_missing_and_conflict", ReadingPackets),
    ("test_reconcile_asks_about_many", AnsweringAPage),
)


class TestKnownToCompareSizes(Storage):
    """Broken, and its author says so: its tests are expected to fail, so nothing fails."""

    made = ComparingSizes
    known_deviations: ClassVar[dict[str, str]] = {
        "test_deliver_refuses_other_bytes_under_the_same_id": "it compares only sizes",
        "test_put_keeps_what_is_there": "it compares only sizes",
        "test_one_of_several_writers_of_a_key_wins": "it compares only sizes",
    }


class TestNoLongerBroken(Storage):
    """Right, with a deviation that is none any more: told as a failure, so that the line goes."""

    known_deviations: ClassVar[dict[str, str]] = {"test_what_was_put_is_read": "it was once"}
    caught_by = ("test_what_was_put_is_read",)
