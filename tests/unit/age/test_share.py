"""Sharing work with helper threads."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import pytest

from ktpsync import age
from ktpsync.age import _share, _stream
from ktpsync.errors import PayloadError

CHUNK = 1 << 16
BIG = bytes(200 * CHUNK)
IDENTITY = age.generate_identity("x25519")


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two helpers, also on a machine of one core, and for files of 8 MiB."""
    monkeypatch.setattr(_share, "_helper_count", lambda: 2)
    monkeypatch.setattr(_stream, "_SHARED_CHUNKS", 128)
    _share._pool.cache_clear()


@pytest.mark.usefixtures("helpers")
def test_results_are_in_order() -> None:
    """Each part is worked on once, by several threads, and the results stand in the order of the parts."""
    meeting = threading.Barrier(3, timeout=30)
    threads = set()

    def work(part: int) -> int:
        threads.add(threading.current_thread())
        if part < 3:
            meeting.wait()
        return part * part

    assert [part * part for part in range(100)] == _share.share(work, range(100))
    assert 3 == len(threads)


@pytest.mark.usefixtures("helpers")
def test_error_of_a_helper_is_seen() -> None:
    """An error in a helper thread reaches the caller."""
    meeting = threading.Barrier(3, timeout=30)
    caller = threading.current_thread()

    def work(_: int) -> None:
        meeting.wait()
        if threading.current_thread() is not caller:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _share.share(work, range(3))


@pytest.mark.usefixtures("helpers")
def test_error_of_the_caller_is_seen() -> None:
    """After an error in the calling thread no helper is still at work."""
    meeting = threading.Barrier(3, timeout=30)
    caller = threading.current_thread()
    done = []

    def work(part: int) -> None:
        meeting.wait()
        if threading.current_thread() is caller:
            raise ZeroDivisionError
        done.append(part)

    with pytest.raises(ZeroDivisionError):
        _share.share(work, range(3))
    assert 2 == len(done)


@pytest.mark.usefixtures("helpers")
def test_big_files_open() -> None:
    """A file that is shared among threads opens, in whatever way it was sealed, and is no other file."""
    streamed = io.BytesIO()
    age.encrypt_stream(io.BytesIO(BIG), streamed, [IDENTITY.recipient])

    assert BIG == age.decrypt(streamed.getvalue(), IDENTITY)
    opened = io.BytesIO()
    age.decrypt_stream(io.BytesIO(age.encrypt(BIG, [IDENTITY.recipient])), opened, IDENTITY)
    assert BIG == opened.getvalue()


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize("bad", [0, 63, 100, 199])
def test_damage_is_found_by_its_place(bad: int) -> None:
    """The bytes said to be verified end before the first damaged chunk, also if others find later ones first."""
    sealed = bytearray(age.encrypt(BIG, [IDENTITY.recipient]))
    start = len(sealed) - 200 * (CHUNK + 16)
    for chunk in {bad, 199}:
        sealed[start + chunk * (CHUNK + 16)] ^= 1

    with pytest.raises(PayloadError) as caught:
        age.decrypt(bytes(sealed), IDENTITY)

    assert bad * CHUNK == caught.value.verified


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_forked_process_and_end_of_the_interpreter() -> None:
    """Big files are sealed in a forked process, and while the interpreter ends, where there are no helpers any more."""
    program = """
import atexit, os, threading
from ktpsync import age
from ktpsync.age import _share
_share._helper_count = lambda: 1
identity = age.generate_identity("x25519")
data = bytes(40_000_000)
def check(where):
    assert age.decrypt(age.encrypt(data, [identity.recipient]), identity) == data
    print(where, flush=True)
check("parent")
if os.fork() == 0:
    check("child")
    os._exit(0)
assert os.wait()[1] == 0
atexit.register(check, "end")
"""
    output = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    assert ["parent", "child", "end"] == output.split()
