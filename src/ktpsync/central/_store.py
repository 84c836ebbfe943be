"""What the centre keeps: packets as files, everything else in SQLite. Nothing personal is in clear."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync import files
from ktpsync.clock import SystemClock, utc_from_ms, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RECEIVED: Final = "RECEIVED_AT_CENTRAL"
ADJUDICATE: Final = "ADJUDICATE_RECORD"
FAILED: Final = "ENROLL_FAILURE_AT_CENTRAL"

_IDS: Final = 500
"""Packet ids in one statement."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS packet (
    id TEXT PRIMARY KEY, office TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL, status TEXT NOT NULL, effects INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS packet_status ON packet (status);
CREATE TABLE IF NOT EXISTS change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, packet_id TEXT NOT NULL, office TEXT NOT NULL,
    status TEXT NOT NULL, at_ms INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS change_office ON change (office, seq);
CREATE TABLE IF NOT EXISTS trait (hash BLOB PRIMARY KEY, packet_id TEXT NOT NULL);
"""


@frozen(kw_only=True)
class Held:
    """A packet that the centre holds.

    Args:
        packet_id: Its id.
        office: Whose it is.
        sha256: SHA-256 of the bytes that arrived.
        size: Their number.
        stored_ms: When, in milliseconds since 1970.
        status: Its registration status.
        effects: How often it took effect as an enrolment.
    """

    packet_id: str
    office: str
    sha256: str
    size: int
    stored_ms: int
    status: str
    effects: int

    def receipt(self) -> dict[str, object]:
        """Return the receipt as the interface gives it."""
        return {
            "packet_id": self.packet_id,
            "sha256": self.sha256,
            "size": self.size,
            "stored_at": utc_text(utc_from_ms(self.stored_ms)),
            "location": f"/v1/packets/{self.packet_id}",
        }


@frozen(kw_only=True)
class Change:
    """One line of the status feed."""

    seq: int
    packet_id: str
    status: str
    at_ms: int
    note: str


@frozen(kw_only=True)
class Outcomes:
    """What becomes of a packet by what was found of its person.

    Args:
        unique: Nothing.
        duplicate: The NIK and a biometric sample.
        doubtful: Only one of the two; a person must judge.
    """

    unique: str
    duplicate: str
    doubtful: str

    def of(self, *, same_nik: bool, same_body: bool) -> tuple[str, str]:
        """Return the status and what the office is told."""
        match same_nik, same_body:
            case True, True:
                return self.duplicate, "The person was recorded before."
            case True, False:
                return (
                    self.doubtful,
                    "The NIK was recorded before with other biometrics. A person looks at it.",
                )
            case False, True:
                return (
                    self.doubtful,
                    "The biometrics were recorded before under another NIK. A person looks at it.",
                )
            case _:
                return self.unique, ""


class CentralStore:
    """The centre's packets and their statuses.

    Args:
        folder: Where; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._packets = folder / "packets"
        files.make_folder(self._packets)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "central.db", check_same_thread=False, isolation_level=None, timeout=30
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def find(self, packet_id: str) -> Held | None:
        """Return a packet, whosever it is."""
        with self._lock:
            row = self._connection.execute(f"{_SELECT} WHERE id = ?", (packet_id,)).fetchone()
        return None if row is None else _held(row)

    def find_all(self, office: str, packet_ids: Sequence[str]) -> dict[str, Held]:
        """Return which of these packets an office has here, by id."""
        found = {}
        for start in range(0, len(packet_ids), _IDS):
            some = packet_ids[start : start + _IDS]
            marks = ",".join("?" * len(some))
            with self._lock:
                rows = self._connection.execute(
                    f"{_SELECT} WHERE office = ? AND id IN ({marks})", (office, *some)
                ).fetchall()
            found.update({held.packet_id: held for held in map(_held, rows)})
        return found

    def take_up(self, held: Held) -> Held:
        """Let a packet that failed be looked into once more, because the office has sent it again."""
        with self._transaction() as connection:
            row = connection.execute(
                f"{_SELECT} WHERE id = ? AND status = ?", (held.packet_id, FAILED)
            ).fetchone()
            if row is not None:
                self._move(connection, held, RECEIVED, "The office has sent it again.")
        return held

    def add(self, packet_id: str, office: str, sha256: str, size: int, incoming: Path) -> tuple[Held, bool]:
        """Store a packet durably; when this returns, file and row are on the medium.

        Args:
            packet_id: Its id.
            office: Whose it is.
            sha256: SHA-256 of the bytes that arrived.
            size: Their number.
            incoming: The file that has them; it gets another name.

        Returns:
            What is held under the id, and whether this call stored it.
        """
        path = self.path(packet_id, sha256)
        files.make_folder(path.parent)
        files.adopt(incoming, path)
        now = SystemClock().now_ms()
        with self._transaction() as connection:
            stored = connection.execute(
                "INSERT INTO packet (id, office, sha256, size, stored_ms, status) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (packet_id, office, sha256, size, now, RECEIVED),
            ).rowcount
            if stored:
                _note(connection, packet_id, office, RECEIVED, "")
            row = connection.execute(f"{_SELECT} WHERE id = ?", (packet_id,)).fetchone()
        held = _held(row)
        if held.sha256 != sha256:
            path.unlink()
        return held, bool(stored)

    def path(self, packet_id: str, sha256: str) -> Path:
        """Return where a packet's bytes are. Other bytes under the same id would have another name."""
        return self._packets / packet_id[-2:] / f"{packet_id}.{sha256[:16]}.age"

    def unprocessed(self, limit: int) -> Sequence[Held]:
        """Return packets that are stored and not yet looked into, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                f"{_SELECT} WHERE status = ? ORDER BY stored_ms, id LIMIT ?", (RECEIVED, limit)
            ).fetchall()
        return [_held(row) for row in rows]

    def enrol(
        self, held: Held, nik: bytes, biometrics: Sequence[bytes], *, replaces: str | None, outcome: Outcomes
    ) -> str:
        """Let a packet take effect, and look for the person among all that were recorded before.

        Args:
            held: The packet.
            nik: Keyed hash of the NIK.
            biometrics: Keyed hashes of the biometric samples.
            replaces: An earlier packet of the same person that this one takes the place of.
            outcome: The status for each kind of match.

        Returns:
            The status it got.
        """
        traits = (nik, *biometrics)
        with self._transaction() as connection:
            marks = ",".join("?" * len(traits))
            known = {
                row[0]
                for row in connection.execute(
                    f"SELECT hash FROM trait WHERE hash IN ({marks}) AND packet_id NOT IN (?, ?)",  # noqa: S608 - only marks
                    (*traits, held.packet_id, replaces or ""),
                )
            }
            status, note = outcome.of(same_nik=nik in known, same_body=bool(known - {nik}))
            if not known:
                _remember(connection, held, traits)
            connection.execute("UPDATE packet SET effects = effects + 1 WHERE id = ?", (held.packet_id,))
            self._move(connection, held, status, note)
        return status

    def waiting(self) -> Sequence[Held]:
        """Return packets that wait for a person's judgement, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                f"{_SELECT} WHERE status = ? ORDER BY stored_ms, id", (ADJUDICATE,)
            ).fetchall()
        return [_held(row) for row in rows]

    def judge(self, packet_id: str, status: str) -> bool:
        """Give a packet that waits for a judgement its status; false if none of this id waits."""
        with self._transaction() as connection:
            row = connection.execute(
                f"{_SELECT} WHERE id = ? AND status = ?", (packet_id, ADJUDICATE)
            ).fetchone()
            if row is not None:
                self._move(connection, _held(row), status, "A person judged it.")
        return row is not None

    def refuse(self, held: Held, note: str) -> None:
        """Say that a packet's person cannot be registered; it has no effect."""
        with self._transaction() as connection:
            self._move(connection, held, FAILED, note)

    def changes(self, office: str, after: int, limit: int) -> Sequence[Change]:
        """Return an office's status changes after a number, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT seq, packet_id, status, at_ms, note FROM change WHERE office = ? AND seq > ? ORDER BY seq LIMIT ?",
                (office, after, limit),
            ).fetchall()
        return [
            Change(seq=row[0], packet_id=row[1], status=row[2], at_ms=row[3], note=row[4]) for row in rows
        ]

    def inventory(self) -> Iterator[tuple[Held, str]]:
        """Yield every packet with the SHA-256 of the bytes that are on the disk now; empty if they are gone."""
        with self._lock:
            rows = self._connection.execute(f"{_SELECT} ORDER BY id").fetchall()
        for held in map(_held, rows):
            try:
                with self.path(held.packet_id, held.sha256).open("rb") as file:
                    digest, _ = files.sha256_of(file)
            except FileNotFoundError:
                digest = ""
            yield held, digest

    def _move(self, connection: sqlite3.Connection, held: Held, status: str, note: str) -> None:
        connection.execute("UPDATE packet SET status = ? WHERE id = ?", (status, held.packet_id))
        _note(connection, held.packet_id, held.office, status, note)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


_SELECT: Final = "SELECT id, office, sha256, size, stored_ms, status, effects FROM packet"


def _held(row: tuple[str, str, str, int, int, str, int]) -> Held:
    names = ("packet_id", "office", "sha256", "size", "stored_ms", "status", "effects")
    return Held(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]  # the columns of _SELECT


def _remember(connection: sqlite3.Connection, held: Held, traits: Sequence[bytes]) -> None:
    connection.executemany(
        "INSERT INTO trait VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(trait, held.packet_id) for trait in traits],
    )


def _note(connection: sqlite3.Connection, packet_id: str, office: str, status: str, note: str) -> None:
    connection.execute(
        "INSERT INTO change (packet_id, office, status, at_ms, note) VALUES (?, ?, ?, ?, ?)",
        (packet_id, office, status, SystemClock().now_ms(), note),
    )
