"""What streaming takes of memory."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from ktpsync import age

def peak():
    # The peak that getrusage tells would begin with that of the process which started this one.
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])

class Zeros:
    left = SIZE
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)

identity = age.generate_identity()
before = peak()
with open(sys.argv[1], "wb") as target:
    age.encrypt_stream(Zeros(), target, identity.recipient, armor=ARMOR)
with open(sys.argv[1], "rb") as source, open("/dev/null", "wb") as nothing:
    assert age.decrypt_stream(source, nothing, identity) == SIZE
with open(sys.argv[1], "rb") as source, open("/dev/null", "wb") as nothing:
    age.rewrap(source, nothing, identity, identity.recipient)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does, in KiB")
@pytest.mark.parametrize(("size", "armor"), [(1 << 30, False), (1 << 26, True)])
def test_streaming_takes_little_memory(tmp_path: Path, size: int, *, armor: bool) -> None:
    """Sealing, opening and rewrapping a stream takes less than 16 MiB above import, whatever its size."""
    program = PROGRAM.replace("SIZE", str(size)).replace("ARMOR", str(armor))

    output = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "sealed"], check=True, capture_output=True, timeout=240
    ).stdout

    assert int(output) < 16 << 10
