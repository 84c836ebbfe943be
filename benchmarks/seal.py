"""How fast sealing and opening are, beside pyrage and beside the bare cipher.

Everything is measured in turns in one run, so that the ratios hold on a machine with other work to do::

    python benchmarks/seal.py
    python benchmarks/seal.py --quick

``pyrage`` is age in Rust; it has X25519 keys, so that is what both use in the ratios. The bare loop is
``ChaCha20Poly1305`` of ``cryptography`` over chunks of 64 KiB, its results thrown away: nothing that uses the
same cipher on one core is faster. "kept" is the same loop with its results kept, as every call that returns them must.
"curve" is what the recipient costs: two multiplications on Curve25519 by ``cryptography`` to seal, one to open. "at best"
is the ratio to pyrage of the bare loop and the curve together: no age on these primitives does better on one core.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ktpsync import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 16
SIZES = {"50 kB": 50_000, "300 kB": 300_000, "1.3 MB": 1_300_000, "100 MB": 100_000_000}
GIB = 1 << 30


def bare_encrypt(data: bytes) -> Iterator[bytes]:
    """Run the cipher over the chunks of a plaintext."""
    cipher = ChaCha20Poly1305(bytes(32))
    for number, at in enumerate(range(0, len(data), CHUNK)):
        yield cipher.encrypt(number.to_bytes(11, "big") + b"\0", data[at : at + CHUNK], None)


def bare_decrypt(chunks: list[bytes]) -> Iterator[bytes]:
    """Run the cipher over sealed chunks."""
    cipher = ChaCha20Poly1305(bytes(32))
    for number, chunk in enumerate(chunks):
        yield cipher.decrypt(number.to_bytes(11, "big") + b"\0", chunk, None)


def exhaust(results: Iterator[bytes]) -> None:
    """Throw results away one by one."""
    for _ in results:
        pass


class Sink(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Count."""
        return len(data)


def interleaved(functions: dict[str, Callable[[], object]], *, seconds: float) -> dict[str, float]:
    """Run functions in turns and return the best time of each, in seconds."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    end = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return best


NAMES = ("pyrage", "x25519", "hybrid", "stream", "bare", "kept", "curve")


def calls(size: int) -> dict[str, tuple[Callable[[], object], ...]]:
    """Return what is measured for one size, in the order of NAMES."""
    identity, hybrid = age.generate_identity("x25519"), age.generate_identity()
    theirs = pyrage.x25519.Identity.from_str(identity.to_text())
    data = os.urandom(size)
    chunks = list(bare_encrypt(data))
    curve = X25519PrivateKey.generate()
    point = curve.public_key()
    sealed, sealed_hybrid = age.encrypt(data, [identity.recipient]), age.encrypt(data, [hybrid.recipient])
    return {
        "encrypt": (
            lambda: pyrage.encrypt(data, [theirs.to_public()]),
            lambda: age.encrypt(data, [identity.recipient]),
            lambda: age.encrypt(data, [hybrid.recipient]),
            lambda: age.encrypt_stream(io.BytesIO(data), Sink(), [identity.recipient]),
            lambda: exhaust(bare_encrypt(data)),
            lambda: list(bare_encrypt(data)),
            lambda: X25519PrivateKey.generate().exchange(point),
        ),
        "decrypt": (
            lambda: pyrage.decrypt(sealed, [theirs]),
            lambda: age.decrypt(sealed, identity),
            lambda: age.decrypt(sealed_hybrid, hybrid),
            lambda: age.decrypt_stream(io.BytesIO(sealed), Sink(), identity),
            lambda: exhaust(bare_decrypt(chunks)),
            lambda: list(bare_decrypt(chunks)),
            lambda: curve.exchange(point),
        ),
    }


def ratios(seconds: float) -> None:
    """Print the table of times and ratios."""
    print(
        "milliseconds, best of the rounds; % of the bare loop: in memory, as a stream; % of the loop that keeps"
    )
    print(
        f"{'':17}" + "".join(f"{name:>9}" for name in NAMES) + "   x pyrage  at best  memory  stream    kept"
    )
    for label, size in SIZES.items():
        for verb, functions in calls(size).items():
            best = interleaved(
                dict(zip(NAMES, functions, strict=True)), seconds=seconds * (8 if size > 10_000_000 else 1)
            )
            print(f"{label:8} {verb:8}" + "".join(f"{1000 * best[name]:9.3f}" for name in NAMES), end="")
            print(f"{best['pyrage'] / best['x25519']:10.1f}x", end="")
            print(f"{best['pyrage'] / (best['bare'] + best['curve']):8.1f}x", end="")
            print(f"{best['bare'] / best['x25519']:8.0%}", end="")
            print(f"{best['bare'] / best['stream']:8.0%}{best['kept'] / best['x25519']:8.0%}", flush=True)


def wraps() -> None:
    """Print what sealing costs beside the cipher: the recipients."""
    x25519, hybrid = age.generate_identity("x25519"), age.generate_identity()
    sealed, sealed_hybrid = age.encrypt(b"", [x25519.recipient]), age.encrypt(b"", [hybrid.recipient])
    best = interleaved(
        {
            "seal to x25519": lambda: age.encrypt(b"", [x25519.recipient]),
            "open by x25519": lambda: age.decrypt(sealed, x25519),
            "seal to hybrid": lambda: age.encrypt(b"", [hybrid.recipient]),
            "open by hybrid": lambda: age.decrypt(sealed_hybrid, hybrid),
        },
        seconds=1,
    )
    print("an empty file: " + ", ".join(f"{name} {1e6 * took:.0f} µs" for name, took in best.items()))


def peak() -> float:
    """Return the highest resident memory of this process so far, in MiB.

    Not what getrusage tells: on Linux that begins with the peak of the process which started this one.
    """
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


class Zeros(io.RawIOBase):
    """A source of as many zero bytes as are wanted."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Give zeros."""
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def memory_child(path: Path) -> None:
    """Seal and open 1 GiB as a stream and print the peak of memory above that after the import."""
    identity = age.generate_identity()
    before = peak()
    with path.open("wb") as target:
        age.encrypt_stream(Zeros(GIB), target, [identity.recipient])
    sealed = peak()
    with path.open("rb") as source:
        age.decrypt_stream(source, Sink(), identity)
    print(
        f"streaming 1 GiB: sealing {sealed - before:.1f} MiB, opening {peak() - before:.1f} MiB above import"
    )


def memory() -> None:
    """Measure memory in a process of its own, as the highest point of a process never goes down."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--memory-child", str(Path(folder, "sealed"))]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no gigabyte")
    parser.add_argument("--memory-child", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_child:
        memory_child(arguments.memory_child)
        return
    ratios(0.3 if arguments.quick else 2)
    wraps()
    if not arguments.quick:
        memory()


if __name__ == "__main__":
    main()
