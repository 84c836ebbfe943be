"""How much the HTTP backend's ``deliver`` costs beside bare urllib3 doing the same PUT.

Both send the same files of 300 kB to the same server, in turns within one run, so that the ratios hold on a machine
with other work to do::

    python benchmarks/backends_http.py
    python benchmarks/backends_http.py --quick

Two servers: a sink that reads and answers from memory, where every microsecond of the client shows, and the sandbox
centre, which stores durably before it answers. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import socketserver
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import BackendContext, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SIZE = 300_000
TOKEN = "bench-token"  # noqa: S105 - of a server on this machine, for this run
RECEIPT = json.dumps(
    {
        "packet_id": "01900000-0000-7000-8000-000000000000",
        "sha256": "0" * 64,
        "size": SIZE,
        "stored_at": "2026-01-01T00:00:00Z",
        "location": "",
    }
).encode()


class Sink(socketserver.StreamRequestHandler):
    """Reads requests and answers each with the same receipt."""

    def handle(self) -> None:
        """Serve one connection."""
        buffer = bytearray(1 << 20)
        answer = (
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(RECEIPT)
        )
        while self.rfile.readline():
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            while length:
                length -= self.rfile.readinto(memoryview(buffer)[: min(length, len(buffer))])  # type: ignore[attr-defined]
            self.connection.sendall(answer + RECEIPT)


class SinkServer(socketserver.ThreadingTCPServer):
    """The sink."""

    daemon_threads = True
    request_queue_size = 128


def serve_sink() -> None:
    """Run the sink until killed, and print its URL."""
    with SinkServer(("127.0.0.1", 0), Sink) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
        server.serve_forever()


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[str]:
    """Start a server, and yield the URL that it prints."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        yield line[line.index("http://") :].strip().strip('"')
    finally:
        process.kill()
        process.communicate()


def make_packets(folder: Path, count: int) -> list[tuple[SealedPacket, Path]]:
    """Return packets in files."""
    packets = []
    for number in range(count):
        content = os.urandom(SIZE)
        path = folder / f"{number}.age"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        packets.append((SealedPacket.from_file(new_packet_id(), digest, SIZE, path), path))
    return packets


def bare(url: str, threads: int) -> Callable[[tuple[SealedPacket, Path]], None]:
    """Return a function that puts one packet with urllib3 alone."""
    parts = urlsplit(url)
    pool = urllib3.HTTPConnectionPool(parts.hostname or "", parts.port, maxsize=threads, retries=False)

    def put(entry: tuple[SealedPacket, Path]) -> None:
        packet, path = entry
        digest = base64.b64encode(bytes.fromhex(packet.sha256)).decode()
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(SIZE),
            "Content-Digest": f"sha-256=:{digest}:",
        }
        with path.open("rb") as file:
            answer = pool.request("PUT", f"/v1/packets/{packet.packet_id}", body=file, headers=headers)
        assert answer.status == 201, answer.data

    return put


def ours(url: str) -> Callable[[tuple[SealedPacket, Path]], None]:
    """Return a function that delivers one packet with the backend."""
    backend = HttpBackend(HttpSettings(url=url, token=Secret(TOKEN)), BackendContext(name="central"))

    def put(entry: tuple[SealedPacket, Path]) -> None:
        backend.deliver(entry[0])

    return put


def timed(
    put: Callable[[tuple[SealedPacket, Path]], None],
    packets: Sequence[tuple[SealedPacket, Path]],
    threads: int,
) -> tuple[float, float]:
    """Return the seconds that the packets took, by the wall and of this process's CPU."""
    with ThreadPoolExecutor(threads) as pool:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in pool.map(put, packets):
            pass
        return time.perf_counter() - wall, time.process_time() - cpu


def compare(name: str, url: str, folder: Path, *, threads: int, rounds: int, batch: int) -> None:
    """Print how both do, round by round in turns."""
    peers = {"bare": bare(url, threads), "ours": ours(url)}
    walls: dict[str, list[float]] = {peer: [] for peer in peers}
    cpus: dict[str, list[float]] = {peer: [] for peer in peers}
    for number in range(rounds + 1):
        # Who goes first changes, so that neither always finds the warmer caches.
        for peer in sorted(peers, reverse=bool(number % 2)):
            packets = make_packets(folder, batch)
            wall, cpu = timed(peers[peer], packets, threads)
            if number:  # the first round warms up
                walls[peer].append(wall)
                cpus[peer].append(cpu)
    ratios = [mine / floor for mine, floor in zip(walls["ours"], walls["bare"], strict=True)]
    per = {peer: statistics.median(times) / batch * 1e6 for peer, times in walls.items()}
    cpu_ratio = sum(cpus["ours"]) / sum(cpus["bare"])
    print(
        f"{name:8} {threads} threads   bare {per['bare']:7.0f} µs   deliver {per['ours']:7.0f} µs   "
        f"wall ratio {statistics.median(ratios):.3f}   client CPU ratio {cpu_ratio:.3f}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sink:
        serve_sink()
        return
    rounds, batch = (4, 40) if options.quick else (12, 60)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        age.write_identity_file(folder / "identity.txt", age.generate_identity("x25519"))
        (folder / "tokens.txt").write_text(f"3578 {TOKEN}\n", encoding="ascii")
        centre = ["--folder", str(folder / "centre"), "--identity", str(folder / "identity.txt")]
        centre += ["--tokens", str(folder / "tokens.txt")]
        servers = {"sink": [__file__, "--sink"], "sandbox": ["-m", "ktpsync", "central", *centre]}
        for server, arguments in servers.items():
            with started(*arguments) as url:
                for threads in (1, 4):
                    compare(server, url, folder, threads=threads, rounds=rounds, batch=batch)


if __name__ == "__main__":
    main()
