"""What delivering a packet costs beside the least that its destination can cost, in one run, pair by pair.

    python benchmarks/backends.py [disk] [s3] [--packets 300] [--size 300000] [--folder DIR]

- disk: write, fsync, rename, fsync of the folder, by hand. Give --folder on the disk to measure.
- s3: a bare ``boto3.put_object`` with boto3's own settings at the same endpoint (moto and rclone on loopback).

Each figure is the median over all packets; a ratio compares the two calls of each pair, so that what else the
machine does strikes both. Only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import BackendContext, ByteSize, PluginRegistry, packet_key
from ktpsync.testing import rclone_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = {"access_key": "AKIATEST", "secret_key": "not-a-real-secret"}


def new_packet(size: int) -> SealedPacket:
    """Return random bytes as a packet."""
    content = os.urandom(size)
    return SealedPacket.from_bytes(new_packet_id(), hashlib.sha256(content).hexdigest(), content)


def seconds(deliver: Callable[[SealedPacket], object], packet: SealedPacket) -> float:
    """Return the seconds that a delivery takes."""
    start = time.perf_counter()
    deliver(packet)
    return time.perf_counter() - start


def compare(
    what: str,
    bare: Callable[[SealedPacket], object],
    ours: Callable[[SealedPacket], object],
    *,
    packets: int,
    size: int,
    goal: float,
) -> None:
    """Deliver by turns and print the medians and the ratio."""
    pairs = []
    for number in range(packets + 10):
        # Whoever is first of a pair changes, so that neither always finds the machine as the other left it.
        if number % 2:
            theirs = seconds(bare, new_packet(size))
            mine = seconds(ours, new_packet(size))
        else:
            mine = seconds(ours, new_packet(size))
            theirs = seconds(bare, new_packet(size))
        pairs.append((theirs, mine))
    pairs = pairs[10:]
    floor, own = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    low, ratio, high = statistics.quantiles([mine / theirs for theirs, mine in pairs], n=4)
    total = sum(mine for _, mine in pairs) / sum(theirs for theirs, _ in pairs)
    print(
        f"{what:<34} bare {floor:7.2f} ms   ktpsync {own:7.2f} ms   median of ratios {ratio:5.2f} "
        f"({low:.2f} to {high:.2f})   ratio of medians {own / floor:5.2f}   of sums {total:5.2f}   goal {goal}"
    )


def disk(folder: Path, *, packets: int, size: int) -> None:
    """A disk beside the bare system calls."""
    init_disk(folder / "usb")
    backend = DiskBackend(DiskSettings(path=folder / "usb", reserve=ByteSize(0)), BackendContext(name="usb"))
    for number in range(256):
        (folder / "bare" / "packets" / f"{number:02x}").mkdir(parents=True)
        (folder / "usb" / "packets" / f"{number:02x}").mkdir(parents=True)

    def bare(packet: SealedPacket) -> None:
        path = folder / "bare" / packet_key(packet.packet_id)
        temporary = path.with_suffix(".part")
        with packet.open() as source:
            content = source.read()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.close(descriptor)
        temporary.rename(path)
        parent = os.open(path.parent, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    compare("disk", bare, backend.deliver, packets=packets, size=size, goal=1.2)


def s3(folder: Path, *, packets: int, size: int) -> None:
    """Two S3 servers beside a bare boto3."""
    import boto3  # noqa: PLC0415 - only this part needs it

    for name, serve in (("moto", _moto), ("rclone", _rclone)):
        (folder / name).mkdir()
        with serve(folder / name) as endpoint:
            client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id=KEYS["access_key"],
                aws_secret_access_key=KEYS["secret_key"],
            )
            client.create_bucket(Bucket="bucket-1")
            settings = {"bucket": "bucket-1", "endpoint": endpoint, "prefix": "ours/", **KEYS}
            context = BackendContext(name="offsite", state_folder=folder / name / "state")
            backend = PluginRegistry.load().make("s3", settings, context, where="s3", base=Path())

            def bare(packet: SealedPacket, client: object = client) -> None:
                with packet.open() as source:
                    client.put_object(  # type: ignore[attr-defined]  # made by boto3 at run time
                        Bucket="bucket-1", Key=f"bare/{packet_key(packet.packet_id)}", Body=source.read()
                    )

            with contextlib.closing(client), backend:
                print("   ", backend.check().details)
                compare(f"s3 ({name})", bare, backend.deliver, packets=packets, size=size, goal=1.15)


@contextlib.contextmanager
def _moto(_: Path) -> Iterator[str]:
    moto = Path(sys.executable).with_name("moto_server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [moto, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _rclone(folder: Path) -> Iterator[str]:
    served = folder / "served"
    served.mkdir()
    with rclone_server("s3", served, "--auth-key", ",".join(KEYS.values())) as port:
        yield f"http://127.0.0.1:{port}"


PARTS = {"disk": disk, "s3": s3}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--packets", type=int, default=300)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            PARTS[part](Path(folder), packets=options.packets, size=options.size)


if __name__ == "__main__":
    main()
