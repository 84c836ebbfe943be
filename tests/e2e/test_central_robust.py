"""The sandbox centre under what the world does to it: kills, full disks, races, slow and greedy clients."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
import urllib3
import uvicorn
from attrs import evolve
from starlette.requests import Request

from ktpsync import age, files
from ktpsync.backends.http.backend import RECONCILE_PAGE, HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.central._body import parts
from ktpsync.central._connection import Connection
from ktpsync.central._problem import Problem
from ktpsync.central._store import CentralStore
from ktpsync.errors import ConflictError, RejectedError, UnavailableError
from ktpsync.packet import SealedPacket
from ktpsync.plugins import BackendContext, HoldingState, Secret
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

TOKEN = {"Authorization": "Bearer right-token"}


def new_settings(folder: Path) -> CentralSettings:
    """Return a centre with two offices."""
    return CentralSettings(
        folder=folder,
        identities=[age.generate_identity("x25519")],
        tokens={"right-token": "3578", "other-token": "3579"},
        faults=True,
    )


@pytest.fixture
def settings(tmp_path: Path) -> CentralSettings:
    """A new centre."""
    return new_settings(tmp_path / "centre")


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> CentralSettings:
    """The centre of the tests that ask for no new one."""
    return new_settings(tmp_path_factory.mktemp("centre"))


@pytest.fixture(scope="module")
def url(common: CentralSettings) -> Iterator[str]:
    """Where that centre runs."""
    with running(common) as url:
        yield url


def client(url: str, token: str = "right-token", **options: object) -> HttpBackend:  # noqa: S107 - made up
    """Return a client of an office."""
    settings = HttpSettings(url=url, token=Secret(token), **options)  # type: ignore[arg-type]
    return HttpBackend(settings, BackendContext(name="central"))


def put(url: str, packet: SealedPacket, body: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
    """Put bytes by hand."""
    from ktpsync.backends.http._upload import _digest

    sent = {**TOKEN, "Content-Digest": _digest(packet.sha256), **headers}
    return urllib3.request("PUT", f"{url}v1/packets/{packet.packet_id}", body=body, headers=sent)


def inventory(url: str) -> dict[str, str]:
    """Return what the centre holds: packet id to the digest of the bytes on its disk."""
    lines = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]
    return {line["packet_id"]: line["sha256"] for line in lines}


def kept(settings: CentralSettings, packet: SealedPacket | None = None) -> list[Path]:
    """Return the files of uploads that are not whole, the oldest first."""
    found = (settings.folder / "incoming").glob("*/*" if packet is None else f"*/{packet.packet_id}.*")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def arrived(settings: CentralSettings, packet: SealedPacket) -> int:
    """Return how many bytes of a packet are in an upload that is not whole."""
    return sum(path.stat().st_size for path in kept(settings, packet))


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what happens elsewhere."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- durable ---------------------------------------------------------------------------------------------------------


def test_nothing_is_confirmed_before_it_is_on_the_medium(
    common: CentralSettings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, then the folder, then the row, whose database syncs at every commit."""
    packet = made_up_packet()
    synced: list[str] = []
    monkeypatch.setattr(files, "fsync_file", lambda file: synced.append(Path(file.name).name[:36]))
    monkeypatch.setattr(files, "fsync_folder", lambda folder: synced.append(folder.name))
    with client(url) as backend:
        backend.deliver(packet)
    store = CentralStore(common.folder)

    assert [packet.packet_id, packet.packet_id[-2:]] == synced[-2:]
    assert (2,) == store._connection.execute("PRAGMA synchronous").fetchone()  # FULL
    store.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("step", ["fsync_file", "fsync_folder"])
def test_a_medium_that_fails_is_never_a_receipt(
    url: str, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    """The office is told to send it again, and then it works."""
    packet = made_up_packet()

    def fail(_: object) -> None:
        raise OSError(code, os.strerror(code))

    with client(url) as backend:
        backend.check()
        with monkeypatch.context() as broken:
            broken.setattr(files, step, fail)
            with pytest.raises(UnavailableError, match="507"):
                backend.deliver(packet)
        assert packet.packet_id not in inventory(url)

        assert packet.sha256 == backend.deliver(packet).sha256
    assert packet.sha256 == inventory(url)[packet.packet_id]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["mid-upload", "in between"])
def test_a_kill_loses_neither_packets_nor_what_came_of_one(
    tmp_path: Path, send_part: Callable[..., socket.socket], moment: str
) -> None:
    """SIGKILL: confirmed packets are there, the interrupted one goes on, and no half one is ever visible."""
    age.write_identity_file(tmp_path / "identity.txt", age.generate_identity("x25519"))
    (tmp_path / "tokens.txt").write_text("3578 right-token\n")
    arguments = [
        "--folder",
        tmp_path / "centre",
        "--identity",
        tmp_path / "identity.txt",
        "--faults",
        "--json",
    ]
    arguments += ["--tokens", tmp_path / "tokens.txt"]
    whole = [made_up_packet(os.urandom(50_000)) for _ in range(5)]
    half = made_up_packet(os.urandom(1_300_000))
    incoming = tmp_path / "centre" / "incoming"

    with start(arguments) as (process, url), client(url) as backend:
        for packet in whole:
            backend.deliver(packet)
        connection = send_part(url, half, 900_000)
        wait_until(lambda: sum(path.stat().st_size for path in incoming.glob("*/*")) > 800_000)
        if moment == "in between":
            connection.close()
            backend._uploader._ask(half)
        os.kill(process.pid, signal.SIGKILL)
        connection.close()
    with start(arguments) as (process, url), client(url) as backend:
        before = inventory(url)
        position = backend._uploader._ask(half)
        receipt = backend.deliver(half)
        after = inventory(url)
        process.terminate()

    assert {packet.packet_id: packet.sha256 for packet in whole} == before
    assert position.offset > 800_000
    assert half.sha256 == receipt.sha256 == after[half.packet_id]


class start:  # noqa: N801 - reads as a verb
    """Start ``ktpsync central`` as a process of its own; it is killed at the end at the latest."""

    def __init__(self, arguments: list[object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ktpsync", "central", *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        return self._process, json.loads(text)["url"]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


# --- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "other bytes"])
def test_one_of_many_at_once_is_stored(common: CentralSettings, url: str, *, same: bool) -> None:
    """Eight requests for one id: one is stored, the same bytes get its receipt, others are refused."""
    first = made_up_packet(b"0" * 200_000)
    packets = [first]
    for number in range(1, 8):
        content = b"0" * 200_000 if same else str(number).encode() * 200_000
        other = made_up_packet(content)
        packets.append(SealedPacket.from_bytes(first.packet_id, other.sha256, content))
    barrier = threading.Barrier(8)

    def deliver(packet: SealedPacket) -> str:
        barrier.wait()
        try:
            return backend.deliver(packet).sha256
        except ConflictError:
            return "conflict"

    with client(url) as backend, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, packets))

    held = inventory(url)[first.packet_id]
    assert (8 if same else 1) == answers.count(held)
    assert (0 if same else 7) == answers.count("conflict")
    assert [f"{first.packet_id}.{held[:16]}.age"] == [
        path.name for path in (common.folder / "packets").glob(f"*/{first.packet_id}.*")
    ]
    assert [] == kept(common, first)


def test_a_request_that_was_delayed_ends_no_newer_one(
    common: CentralSettings, url: str, send_part: Callable[..., socket.socket]
) -> None:
    """On a line that breaks, the old request can be read after the new one; it has the wrong offset by then."""
    packet = made_up_packet(os.urandom(300_000))
    with send_part(url, packet, 100_000):
        wait_until(lambda: arrived(common, packet) == 100_000)
        with send_part(url, packet, 100_000, start=100_000) as newer:
            wait_until(lambda: arrived(common, packet) == 200_000)
            with send_part(url, packet, 50_000, start=100_000) as delayed:
                answer = delayed.recv(65536)
            with packet.open() as file:
                newer.sendall(file.read()[200_000:])
            stored = newer.recv(65536)

    assert b" 409 " in answer
    assert b"upload-offset: 200000" in answer
    assert b" 201 " in stored
    assert packet.sha256 == inventory(url)[packet.packet_id]


def test_who_lost_an_upload_is_told(
    common: CentralSettings, url: str, send_part: Callable[..., socket.socket]
) -> None:
    """The old request of a connection that hangs gets no receipt, and adds nothing any more."""
    packet = made_up_packet(os.urandom(300_000))
    with client(url) as backend, send_part(url, packet, 100_000) as old:
        wait_until(lambda: arrived(common, packet) == 100_000)
        assert 100_000 == backend._uploader._ask(packet).offset
        with packet.open() as file:
            old.sendall(file.read()[100_000:])
        assert b" 409 " in old.recv(65536)
        assert 100_000 == arrived(common, packet)


def test_what_arrived_before_a_break_is_kept_to_the_last_byte() -> None:
    """A reset is noticed before what came with it is read; the server drops that, so it is taken from the connection."""
    took: list[bytes | str] = []

    async def receiving(scope: Scope, receive: Receive, _send: Send) -> None:
        try:
            async for part in parts(Request(scope, receive)):
                took.append(part)  # noqa: PERF401 - what comes before the error counts
        except Problem as problem:
            took.append(problem.detail)

    async def broken() -> None:
        protocol = Connection(uvicorn.Config(receiving), uvicorn.server.ServerState(), {})
        protocol.connection_made(Mock(get_extra_info=Mock(return_value=None)))
        protocol.data_received(b"PUT /v1/packets/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
        protocol.connection_lost(ConnectionResetError())
        await asyncio.gather(*protocol.tasks)

    asyncio.run(broken())
    assert [b"123", "The connection broke off."] == took


def test_another_office_learns_nothing_of_a_packet(
    common: CentralSettings, url: str, send_part: Callable[..., socket.socket]
) -> None:
    """Neither that it is held, nor that it is on its way; its id is no use to anybody else."""
    ours, half = made_up_packet(b"ours" * 300_000), made_up_packet(b"half" * 300_000)
    with client(url) as mine, client(url, "other-token") as other:
        mine.deliver(ours)
        with send_part(url, half, 900_000):
            wait_until(lambda: arrived(common, half) > 800_000)

            assert 0 == other._uploader._ask(half).offset
            assert not other._uploader._ask(ours).complete
            assert [HoldingState.MISSING] * 2 == [holding.state for holding in other.reconcile([ours, half])]
            with pytest.raises(ConflictError):
                other.deliver(ours)
        assert half.sha256 == mine.deliver(half).sha256


# --- limits ----------------------------------------------------------------------------------------------------------


def test_interrupted_uploads_are_limited_in_number_bytes_and_age(
    settings: CentralSettings, send_part: Callable[..., socket.socket]
) -> None:
    """The oldest goes first; nobody is refused for it."""
    packets = [made_up_packet(os.urandom(100_000)) for _ in range(5)]
    limited = evolve(settings, uploads_kept=3, upload_bytes_kept=170_000)
    with running(limited) as url, client(url) as backend:
        for number, packet in enumerate(packets):
            with send_part(url, packet, 60_000):
                wait_until(lambda: arrived(settings, packet) == 60_000)  # noqa: B023 - called in the loop
                assert 60_000 == backend._uploader._ask(packet).offset
            (path,) = kept(settings, packet)
            os.utime(path, (time.time() - 100 + number,) * 2)
        names = {path.name[:36] for path in kept(settings)}
    assert names == {packet.packet_id for packet in packets[-2:]}

    os.utime(kept(settings)[0], (time.time() - settings.upload_age - 1,) * 2)
    with running(limited) as url:
        assert [packets[-1].packet_id] == [path.name[:36] for path in kept(settings)]


def test_an_upload_can_be_cancelled(
    common: CentralSettings, url: str, send_part: Callable[..., socket.socket]
) -> None:
    """Nothing of it stays."""
    packet = made_up_packet(os.urandom(100_000))
    with send_part(url, packet, 60_000):
        wait_until(lambda: bool(kept(common, packet)))
        answer = urllib3.request("DELETE", f"{url}v1/packets/{packet.packet_id}/upload", headers=TOKEN)

    assert 204 == answer.status
    assert [] == kept(common, packet)


def test_bodies_without_end_or_measure_are_refused(settings: CentralSettings) -> None:
    """Before they are read."""
    packet = made_up_packet()
    with running(evolve(settings, largest_packet=1000)) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
            head = f"PUT /v1/packets/{packet.packet_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right-token\r\n"
            digest = f"Content-Digest: sha-256=:{'A' * 43}=:\r\n"
            connection.sendall((head + digest + "Content-Length: 1001\r\n\r\n").encode())
            assert b" 413 " in connection.recv(65536)
        assert 411 == put(url, packet, iter([b"x"])).status  # type: ignore[arg-type]
        assert 200 <= put(url, packet, b"sealed bytes").status < 300
        assert 413 == put(url, made_up_packet(), b"x" * 1001).status


@pytest.mark.slow
def test_a_large_packet_costs_no_memory(tmp_path: Path, send_part: Callable[..., socket.socket]) -> None:
    """It is streamed to the disk: the centre's memory does not grow with it."""
    age.write_identity_file(tmp_path / "identity.txt", age.generate_identity("x25519"))
    (tmp_path / "tokens.txt").write_text("3578 right-token\n")
    arguments = ["--folder", tmp_path / "centre", "--identity", tmp_path / "identity.txt", "--json"]
    arguments += ["--tokens", tmp_path / "tokens.txt"]
    large = made_up_packet(bytes(60 << 20))
    incoming = tmp_path / "centre" / "incoming"
    with start(arguments) as (process, url), client(url) as backend:
        backend.deliver(made_up_packet())
        before = resident(process.pid)
        with send_part(url, large, 59 << 20):
            wait_until(lambda: sum(path.stat().st_size for path in incoming.glob("*/*")) == 59 << 20)
            grown = resident(process.pid) - before

    assert grown < 10 << 20


def resident(pid: int) -> int:
    """Return the largest resident size of a process so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def test_slow_clients_hold_nobody_up_and_are_let_go(
    settings: CentralSettings, send_part: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty that stand still; the others are served; what came of the fifty is kept when patience ends."""
    monkeypatch.setattr("ktpsync.central._connection.HEAD_SECONDS", 0.5)
    packets = [made_up_packet(os.urandom(2_000)) for _ in range(50)]
    with running(evolve(settings, patience=1)) as url, client(url) as backend:
        slow = [send_part(url, packet, 1_000) for packet in packets]
        silent = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
        other = made_up_packet()
        assert other.sha256 == backend.deliver(other).sha256

        assert all(b" 408 " in connection.recv(65536) for connection in slow)
        assert b"" == silent.recv(1)
        assert {1_000} == {path.stat().st_size for path in kept(settings)}
        assert 50 == len(kept(settings))
        for connection in (*slow, silent):
            connection.close()


# --- questions --------------------------------------------------------------------------------------------------------


def test_ten_thousand_packets_are_asked_about_at_once(url: str) -> None:
    """The client asks in pages, and each answer is about the packet it names."""
    held = made_up_packet()
    packets = [made_up_packet() for _ in range(RECONCILE_PAGE)] + [held]
    with client(url) as backend:
        backend.deliver(held)
        answers = {holding.packet_id: holding.state for holding in backend.reconcile(packets)}

    assert len(packets) == len(answers)
    assert [held.packet_id] == [key for key, state in answers.items() if state is HoldingState.HELD]


def test_a_page_beyond_the_limit_is_refused(url: str) -> None:
    """10,001 in one question."""
    line = {"packet_id": made_up_packet().packet_id, "sha256": "0" * 64}
    for count, status in ((RECONCILE_PAGE, 200), (RECONCILE_PAGE + 1, 413)):
        answer = urllib3.request(
            "POST", f"{url}v1/packets/reconcile", json={"packets": [line] * count}, headers=TOKEN
        )
        assert status == answer.status


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(bytes(50 << 20)), "gzip", 413),
        (gzip.compress(b'{"packets": []}')[:-4], "gzip", 400),
        (b"no gzip", "gzip", 400),
        (b"{}", "br", 415),
        (b"[" * 100_000, "identity", 400),
        (b"\xff", "identity", 400),
    ],
    ids=["bomb", "cut", "not gzip", "brotli", "deep", "not UTF-8"],
)
def test_questions_that_make_no_sense(url: str, body: bytes, encoding: str, status: int) -> None:
    """Each gets a problem document."""
    headers = {**TOKEN, "Content-Type": "application/json", "Content-Encoding": encoding}
    answer = urllib3.request("POST", f"{url}v1/packets/reconcile", body=body, headers=headers)

    assert status == answer.status
    assert answer.json()["detail"]


def test_long_answers_are_compressed(url: str) -> None:
    """A line of 128 kb/s carries a tenth."""
    line = {"packet_id": made_up_packet().packet_id, "sha256": "0" * 64}
    answer = urllib3.request(
        "POST",
        f"{url}v1/packets/reconcile",
        json={"packets": [line] * 1000},
        headers={**TOKEN, "Accept-Encoding": "gzip"},
    )

    assert "gzip" == answer.headers["Content-Encoding"]
    assert 1000 == len(answer.json()["holdings"])


def test_the_feed_answers_304_until_something_changes(url: str) -> None:
    """A client that shows the ETag of the last page is sent no body."""
    with client(url) as backend:
        backend.deliver(made_up_packet())
        cursor = None
        while (page := backend.statuses(cursor)).changes or page.cursor != cursor:
            cursor = page.cursor
        answer = urllib3.request("GET", f"{url}v1/statuses?after={cursor}", headers=TOKEN)
        again = {**TOKEN, "If-None-Match": f'"other", {answer.headers["ETag"]}'}
        unchanged = urllib3.request("GET", f"{url}v1/statuses?after={cursor}", headers=again)
        assert (304, b"") == (unchanged.status, unchanged.data)
        assert () == tuple(backend.statuses(cursor).changes)

        packet = made_up_packet()
        backend.deliver(packet)
        assert 200 == urllib3.request("GET", f"{url}v1/statuses?after={cursor}", headers=again).status
        assert packet.packet_id == backend.statuses(cursor).changes[0].packet_id


def test_a_packet_larger_than_the_centre_takes_is_the_office_s_affair(settings: CentralSettings) -> None:
    """It is rejected, not tried for ever."""
    with (
        running(evolve(settings, largest_packet=1000)) as url,
        client(url) as backend,
        pytest.raises(RejectedError, match="larger"),
    ):
        backend.deliver(made_up_packet(b"x" * 1001))
