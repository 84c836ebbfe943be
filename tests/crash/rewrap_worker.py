"""For each line on standard input, a process that gives packets new headers until it is killed.

``rewrap_worker.py FOLDER`` prints the number of the process, and ``dead`` when it is.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from one_by_one import fork_for_each_line

from ktpsync.outbox import DestinationSpec, Outbox


def rewrap_for_ever(folder: Path) -> None:
    """Rewrap all packets, again and again, to headers of different lengths."""
    with Outbox.open(
        folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")]
    ) as outbox:
        while True:
            header = secrets.token_hex(4 + secrets.randbelow(8)).encode()

            def wrap(sealed: bytes, header: bytes = header) -> bytes:
                return header + b"|" + sealed.partition(b"|")[2]

            outbox.rewrap(wrap, to=header.decode(), who="test")


if __name__ == "__main__":
    fork_for_each_line(lambda: rewrap_for_ever(Path(sys.argv[1])))
