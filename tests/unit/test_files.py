"""Durable files."""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ktpsync import files


def test_write_atomic_leaves_only_the_file(tmp_path: Path) -> None:
    """The bytes are under the final name and no temporary file is left."""
    files.write_atomic(tmp_path / "a", b"one")
    files.write_atomic(tmp_path / "a", b"two")

    assert [tmp_path / "a"] == list(tmp_path.iterdir())
    assert b"two" == (tmp_path / "a").read_bytes()


def test_atomic_writer_keeps_the_old_file_when_the_block_raises(tmp_path: Path) -> None:
    """A writer that fails half way changes nothing and leaves nothing behind."""
    files.write_atomic(tmp_path / "a", b"old")

    def fail_half_way() -> None:
        with files.atomic_writer(tmp_path / "a") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    assert [tmp_path / "a"] == list(tmp_path.iterdir())
    assert b"old" == (tmp_path / "a").read_bytes()


def test_write_atomic_refuses_to_replace_when_asked(tmp_path: Path) -> None:
    """With replace=False an existing file stays as it is."""
    files.write_atomic(tmp_path / "a", b"old", replace=False)

    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "a", b"new", replace=False)

    assert [tmp_path / "a"] == list(tmp_path.iterdir())
    assert b"old" == (tmp_path / "a").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_write_atomic_sets_the_mode_from_the_start(tmp_path: Path) -> None:
    """A secret is never readable by others, not even while it is written."""
    with files.atomic_writer(tmp_path / "key", mode=0o600) as file:
        (temporary,) = tmp_path.iterdir()
        assert 0o600 == stat.S_IMODE(temporary.stat().st_mode)
        file.write(b"secret")

    assert 0o600 == stat.S_IMODE((tmp_path / "key").stat().st_mode)


def test_make_folder_makes_parents_and_accepts_existing(tmp_path: Path) -> None:
    """Missing parents are made; an existing folder is fine."""
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


def test_sha256_of_reads_to_the_end() -> None:
    """Digest and size cover all bytes, over chunk borders."""
    digest, size = files.sha256_of(io.BytesIO(b"x" * (files.CHUNK + 1)))

    assert files.CHUNK + 1 == size
    assert hashlib.sha256(b"x" * (files.CHUNK + 1)).hexdigest() == digest


def test_locked_excludes_another_holder(tmp_path: Path) -> None:
    """A second holder does not get in while the first is inside."""
    with (
        files.locked(tmp_path / "lock"),
        pytest.raises(TimeoutError),
        files.locked(tmp_path / "lock", wait=False),
    ):
        pass
    with files.locked(tmp_path / "lock", wait=False):
        assert (tmp_path / "lock").exists()


def test_a_child_forked_meanwhile_does_not_keep_a_lock(tmp_path: Path) -> None:
    """A web server that forks while a backup runs does not stop all later ones."""
    program = (
        "import os, sys; from pathlib import Path; from ktpsync import files\n"
        "lock = Path(sys.argv[1])\n"
        "with files.locked(lock):\n"
        "    reading, writing = os.pipe()\n"
        "    if not os.fork():\n"
        "        os.close(writing); os.read(reading, 1); os._exit(0)\n"
        "with files.locked(lock, wait=False): print('free')"
    )

    assert "free\n" == subprocess.check_output([sys.executable, "-c", program, tmp_path / "lock"], text=True)


def test_without_hard_links_a_name_still_never_stands_for_half_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On exFAT there are no links; create-if-absent still refuses, and shows whole files only."""

    def no_links(source: object, target: object) -> None:
        raise PermissionError(source, target)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(files, "_renameat2", None)
    seen: list[bytes] = []
    replace = type(tmp_path).replace

    def watch(self: Path, target: Path) -> Path:
        seen.append(target.read_bytes() if target.exists() else b"absent")
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", watch)
    files.write_atomic(tmp_path / "a", b"old", replace=False)

    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "a", b"new", replace=False)

    assert b"old" == (tmp_path / "a").read_bytes()
    assert [b"absent"] == seen


@pytest.mark.parametrize("way", ["kernel", "links", "lock"])
def test_of_many_writers_one_creates_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Whatever the file system can do, no writer replaces what another one has written."""
    if way == "kernel" and files._renameat2 is None:
        pytest.skip("this system cannot rename without replacing")
    if way != "kernel":
        monkeypatch.setattr(files, "_renameat2", None)
    if way == "lock":

        def no_links(source: object, target: object) -> None:
            raise PermissionError(source, target)

        monkeypatch.setattr(os, "link", no_links)
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        try:
            files.write_atomic(tmp_path / "a", b"%d" % number * 1000, replace=False)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(write, range(8)))

    assert 1 == sum(made)
    assert b"%d" % made.index(True) * 1000 == (tmp_path / "a").read_bytes()
    assert {tmp_path / "a"} == {path for path in tmp_path.iterdir() if "lock" not in path.name}


def test_a_rename_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The kernel's reason comes through."""
    with pytest.raises(FileNotFoundError, match="gone"):
        files._rename_new(tmp_path / "gone", tmp_path / "a")

    assert [] == list(tmp_path.iterdir())


def test_what_is_found_wrong_while_the_medium_writes_leaves_nothing(tmp_path: Path) -> None:
    """A check that runs beside the writing still comes before the name."""
    path = tmp_path / "packet.age"

    def refuse() -> None:
        assert not path.exists()
        raise ValueError("wrong digest")

    with pytest.raises(ValueError, match="wrong digest"):
        files.write_atomic(path, b"sealed", meanwhile=refuse)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, (16 << 20) + 512])
@pytest.mark.parametrize("offset", [0, 1])
def test_what_is_written_steadily_is_whole(tmp_path: Path, size: int, offset: int) -> None:
    """In whole blocks or not, from memory that begins at a page or not: all bytes arrive, and no other."""
    memory = mmap.mmap(-1, size + 1)
    memory[:] = os.urandom(len(memory))
    data = memoryview(memory)[offset : offset + size]

    with files.atomic_writer(tmp_path / "a") as file:
        files.write_steadily(file, data)

    assert data == (tmp_path / "a").read_bytes()


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="the system always writes into its page cache")
def test_what_is_written_steadily_leaves_the_page_cache_alone(tmp_path: Path) -> None:
    """A large backup does not push what the station works with out of its memory."""
    path = tmp_path / "a"
    path.touch()
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system cannot write past the page cache")
    with path.open("r+b") as file:
        files.write_steadily(file, memoryview(mmap.mmap(-1, 1 << 20)))

        with pytest.raises(BlockingIOError):
            os.preadv(file.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="the system always writes into its page cache")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_does_not_write_past_the_page_cache_gets_the_rest_through_it(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some let it be asked for and refuse the write, in one way or another, also after they took half of it."""
    import fcntl

    write = os.write

    def refuse(descriptor: int, data: memoryview) -> int:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            return write(descriptor, data)
        if os.lseek(descriptor, 0, os.SEEK_CUR):
            raise OSError(number, os.strerror(number))
        return write(descriptor, data[: 1 << 16])

    memory = mmap.mmap(-1, 1 << 20)
    memory[:] = os.urandom(len(memory))
    monkeypatch.setattr(os, "write", refuse)

    with files.atomic_writer(tmp_path / "a") as file:
        files.write_steadily(file, memoryview(memory))

    assert memory[:] == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize(
    ("release", "told"),
    [("5.8.0-1-amd64", True), ("6.12.48+deb13", True), ("4.18.0-553.el8", False), ("x", False)],
)
def test_a_kernel_that_keeps_write_errors_to_itself_is_not_relied_on(
    release: str, told: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only since Linux 5.8 the sync of a file system tells of writes that failed."""
    if not files.can_sync_file_system(tmp_path):
        pytest.skip("needs Linux with a file system that tells")
    monkeypatch.setattr("platform.release", lambda: release)

    assert told is files.can_sync_file_system(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file system")
def test_a_file_system_that_keeps_write_errors_to_itself_is_not_relied_on(tmp_path: Path) -> None:
    """What is no disk's own file system is synced file by file; so is what cannot be asked."""
    assert not files.can_sync_file_system(Path("/proc"))
    assert not files.can_sync_file_system(tmp_path / "missing")


def test_what_is_written_for_now_replaces_what_an_interrupted_run_left(tmp_path: Path) -> None:
    """The folder is made if missing, and of an older file, longer and half written, nothing is left."""
    path = tmp_path / "a" / "b"
    files.write_for_now(path, b"x" * 5000, mode=0o600)

    files.write_for_now(path, b"new", mode=0o600)

    assert b"new" == path.read_bytes()
    assert (0o600, 0o700) == tuple(stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent))
