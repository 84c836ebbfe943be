"""The outbox's own connections to SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import ConfigError, OutboxUnavailableError
from ktpsync.outbox import _sqlite
from ktpsync.outbox._database import Database
from ktpsync.outbox._sqlite import SqliteConnection, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    """A file with a table of three numbers."""
    made = SqliteFile(tmp_path / "a.db")
    with made.write() as connection:
        connection.execute("CREATE TABLE n (number INTEGER PRIMARY KEY, word TEXT)")
        rows = [{"number": number, "word": word} for number, word in enumerate(("nol", "satu", "dua"))]
        assert 3 == connection.execute("INSERT INTO n VALUES (:number, :word)", rows).rowcount
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "numbers"), [(["nol", "dua", "x"], [0, 2]), (["sa\"tu'", "satu"], [1]), ([], [])]
)
def test_a_list_stands_behind_in(
    tmp_path: Path, words: list[str], numbers: list[int], file: SqliteFile
) -> None:
    """Whatever its length; an empty one finds nothing, and other values stay what they are."""
    statement = Database(tmp_path / "a.db").among(
        "SELECT number FROM n WHERE word IN :words AND number < :below ORDER BY number", "words"
    )
    with file.read() as connection:
        assert numbers == connection.execute(statement, {"words": words, "below": 9}).scalars().all()


def test_rows_have_their_columns_as_attributes(file: SqliteFile) -> None:
    """And each way of asking gives what its name says."""
    with file.read() as connection:
        ask = connection.execute
        (row,) = ask("SELECT number, word AS kata FROM n WHERE number = :number", {"number": 2})
        assert (2, "dua", (2, "dua")) == (row.number, row.kata, row)
        assert ["nol", "satu", "dua"] == [row.word for row in ask("SELECT * FROM n ORDER BY number").all()]
        assert "nol" == ask("SELECT word FROM n ORDER BY number").scalar()
        assert 3 == ask("SELECT COUNT(*) FROM n").scalar_one()
        none = "SELECT * FROM n WHERE number = 9"
        assert (None, None) == (ask(none).first(), ask(none).scalar())
        with pytest.raises(ValueError, match="values to unpack"):
            ask("SELECT * FROM n").one()


def test_a_transaction_that_only_reads_sees_one_state_and_waits_for_nobody(file: SqliteFile) -> None:
    """What is committed meanwhile it sees in its next one."""
    Database(file.path).ensure_wal()
    count = "SELECT COUNT(*) FROM n"
    with file.read() as reading:
        assert 3 == reading.execute(count).scalar()
        with file.write() as writing:
            writing.execute("DELETE FROM n WHERE number = 0")
            assert 3 == reading.execute(count).scalar()
        assert 3 == reading.execute(count).scalar()
    with file.read() as reading:
        assert 2 == reading.execute(count).scalar()


def test_a_transaction_given_up_leaves_nothing(file: SqliteFile) -> None:
    """By an error or by intent; its connection serves the next one."""

    def fail() -> None:
        with file.write() as connection:
            connection.execute("DELETE FROM n WHERE number = 0")
            connection.execute("INSERT INTO n VALUES (1, 'lagi')")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    with file.write() as connection:
        connection.execute("DELETE FROM n")
        connection.rollback()
    with file.read() as again:
        assert again is connection
        assert 3 == again.execute("SELECT COUNT(*) FROM n").scalar()


def test_connections_are_used_again_and_not_all_kept(file: SqliteFile) -> None:
    """Each user has one alone; eight stay open for the next ones, until all are closed."""
    together = threading.Barrier(12)

    def lend() -> SqliteConnection:
        with file.read() as connection:
            together.wait()
            return connection

    with ThreadPoolExecutor(12) as pool:
        lent = list(pool.map(lambda _: lend(), range(12)))
    assert 12 == len(set(lent))
    assert 8 == sum(is_open(one) for one in lent)
    with file.read() as last:
        assert last in lent
        file.close()
        assert [last] == [one for one in lent if is_open(one)]
    file.close()
    assert not is_open(last)


def test_a_connection_that_nobody_has_any_more_holds_no_lock(file: SqliteFile) -> None:
    """An interruption may keep whoever had it from giving it back."""
    kept, connection = file.take(), file.take()
    connection.driver.execute("BEGIN IMMEDIATE")
    gone = weakref.ref(connection)
    del connection
    assert gone() is None
    file.give_back(kept)
    with file.write() as other:
        assert 3 == other.execute("DELETE FROM n").rowcount


def test_a_connection_that_the_parent_works_with_stays_open_in_the_child(file: SqliteFile) -> None:
    """Closing it there would take the parent's locks away."""
    connection = file.take()
    driver = connection.driver
    assert file.abandon()
    del connection
    driver.execute("SELECT 1").close()
    assert not file.abandon()
    driver.close()


def test_a_connection_is_known_to_forks_until_it_is_closed(file: SqliteFile) -> None:
    """A child born between the two would believe to have the parent's locks, and work with the database."""
    connection = file.take()
    connection.driver.close()
    closing = Closing(file.path)
    connection.driver = closing
    closing.seen = lambda: connection in file._open
    file.give_back(connection)
    file.close()
    assert [True] == closing.known
    assert not file.abandon()


def test_a_connection_that_failed_is_not_used_again(file: SqliteFile) -> None:
    """Its disk was away for a moment, say: what is open leads nowhere, also in the others that nobody uses."""
    first, second = file.take(), file.take()
    file.give_back(first)
    file.give_back(second)

    def fail() -> None:
        with file.write() as connection:
            connection.execute("SELECT number FROM n").all()
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError, match="I/O"):
        fail()
    assert not is_open(first)
    assert not is_open(second)
    with file.write() as connection:
        assert 3 == connection.execute("DELETE FROM n").rowcount


def test_a_file_that_is_away_is_not_made_anew(file: SqliteFile) -> None:
    """An empty one in its place, such as below the mount point of its disk, would seem to have lost all tables."""
    file.close()
    file.path.rename(file.path.with_suffix(".away"))
    with pytest.raises(OutboxUnavailableError, match="unable to open"), file.write():
        pass
    assert not file.path.exists()
    file.path.with_suffix(".away").rename(file.path)
    with file.write() as connection:
        assert 3 == connection.execute("DELETE FROM n").rowcount


@pytest.mark.parametrize("address", [Path("a.db"), "sqlite:///a.db"])
def test_a_relative_path_is_that_of_the_folder_in_which_it_was_opened(
    tmp_path: Path, address: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that goes to another folder, as services do, goes on in the same file."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    database = Database(address)
    monkeypatch.chdir(tmp_path / "there")
    with contextlib.closing(database), database.write() as connection:
        connection.execute("CREATE TABLE n (number INTEGER PRIMARY KEY)")
    assert (tmp_path / "a.db").exists()
    assert [] == list((tmp_path / "there").iterdir())


def test_a_database_in_memory_is_refused() -> None:
    """It would not outlive the program."""
    with pytest.raises(ConfigError, match="path"):
        Database("sqlite://")


class Closing(sqlite3.Connection):
    """Asks, while it is closed, whether forks know of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, isolation_level=None, check_same_thread=False)
        self.known: list[bool] = []
        self.seen: Callable[[], bool] = bool

    def close(self) -> None:
        """Ask first."""
        self.known.append(self.seen())
        super().close()


def is_open(connection: SqliteConnection) -> bool:
    """Return whether a connection can be used."""
    try:
        connection.driver.execute("SELECT 1").close()
    except sqlite3.ProgrammingError:
        return False
    return True


def test_a_disk_that_can_only_be_read_is_looked_at_and_not_kept_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened for reading, each time anew: as soon as it can be written to, it is."""
    file = SqliteFile(tmp_path / "outbox.db")
    with file.write() as connection:
        connection.execute("CREATE TABLE t (a)")
    file.close()
    with monkeypatch.context() as patched:
        patched.setattr(_sqlite, "is_read_only", lambda _folder: True)
        with file.read() as connection:
            assert [] == connection.execute("SELECT a FROM t").all()
        with pytest.raises(OutboxUnavailableError, match="readonly"), file.write() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
    with file.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with file.read() as connection:
        assert [1] == connection.execute("SELECT a FROM t").scalars().all()
    file.close()
