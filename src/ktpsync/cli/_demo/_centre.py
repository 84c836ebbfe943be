"""The sandbox centre as a process of its own, which can be taken down and asked for the truth."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Self

import urllib3
from attrs import define, field, frozen

from ktpsync.errors import KtpsyncError

_START_SECONDS = 30.0


@frozen(kw_only=True)
class CentralPacket:
    """One packet as the centre itself accounts for it.

    Args:
        packet_id: The packet.
        sha256: SHA-256 of the bytes that it holds.
        effects: How often it took effect as an enrolment.
        status: Its registration status.
    """

    packet_id: str
    sha256: str
    effects: int
    status: str


@define
class CentreProcess:
    """A sandbox centre in a process of its own.

    Args:
        folder: Where it keeps its packets; it survives :meth:`stop`.
        identity: Its identity file.
        station: The public key file of the one station it trusts.
    """

    folder: Path
    identity: Path
    station: Path
    port: int = 0
    token: str = field(factory=lambda: secrets.token_urlsafe(24), repr=False)
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens once it was started; it comes back under the same address."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            KtpsyncError: It did not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tokens = self.folder / "tokens.txt"
        tokens.write_text(f"demo-office {self.token}\n", encoding="ascii")
        arguments = ["--folder", self.folder / "data", "--identity", self.identity, "--station", self.station]
        arguments += ["--tokens", tokens, "--port", self.port, "--faults", "--json"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ktpsync", "central", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        try:
            self.port = int(json.loads(text)["url"].rstrip("/").rsplit(":", 1)[1])
        except (ValueError, KeyError) as error:
            self.stop()
            raise KtpsyncError(f"The sandbox centre did not start: {text.strip() or 'no answer'}.") from error

    def stop(self) -> None:
        """Take it down at once, as a failing data centre goes down."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def inventory(self) -> list[CentralPacket]:
        """Ask the centre which packets it holds and what effect each had.

        Raises:
            KtpsyncError: It gave no answer.
        """
        answer = urllib3.request("GET", f"{self.url}sandbox/inventory", timeout=_START_SECONDS, retries=False)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise KtpsyncError(f"The sandbox centre does not tell what it holds: HTTP {answer.status}.")
        return [
            CentralPacket(
                packet_id=line["packet_id"],
                sha256=line["sha256"],
                effects=line["effects"],
                status=line["status"],
            )
            for line in answer.json()["packets"]
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
