"""The outbox in the application's own SQLite database: an older copy of it, lost tables, and which file it is."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

import ktpsync
from command_line import BAD_INPUT, DAMAGED, DONE, PERSON, USAGE, invoke
from ktpsync.backends.disk import init_disk
from ktpsync.clock import SystemClock
from ktpsync.errors import OutboxDamagedError, OutboxInUseError, OutboxUnavailableError
from ktpsync.office import find_unrecorded, recover_packets
from ktpsync.testing import ManualClock, make_enrollment

DAY_MS = 86_400_000


def run(*arguments: object) -> tuple[int, str]:
    """Run a command; return its exit code and all that it says."""
    result = invoke(*arguments)
    return result.exit_code, result.stdout + result.stderr


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office whose outbox is in the application's database, and its folder the present one."""
    init_disk(tmp_path / "usb")
    recipient = str(ktpsync.age.generate_identity().recipient)
    places = f"[destinations.usb]\nbackend = 'disk'\npath = '{tmp_path / 'usb'}'\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[recipient], places=places)
    database = tmp_path / "office" / "app.db"
    config.write_text(
        config.read_text().replace("[office]\n", f'[office]\ndatabase = "sqlite:///{database}"\n', 1)
    )
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE visit (packet_id TEXT)")
    connection.close()
    monkeypatch.chdir(tmp_path / "office")
    return tmp_path / "office"


def record(office: ktpsync.Office, database: Path, *numbers: int) -> list[str]:
    """Record in the application's own transactions; return the packets' ids."""
    engine = sa.create_engine(f"sqlite:///{database}")
    ids = []
    for number in numbers:
        with engine.begin() as connection:
            packet_id = office.submit(make_enrollment(number, size=4000), connection=connection).packet_id
            connection.execute(sa.text("INSERT INTO visit VALUES (:id)"), {"id": packet_id})
        ids.append(packet_id)
    engine.dispose()
    return ids


def put_back(copy: Path, database: Path) -> None:
    """Let a copy take the database's place."""
    for part in ("-wal", "-shm"):
        Path(f"{database}{part}").unlink(missing_ok=True)
    shutil.copy(copy, database)


def later() -> ManualClock:
    """A clock that shows tomorrow: what is recorded now is older than a submission takes."""
    return ManualClock(ms=SystemClock().now_ms() + DAY_MS)


def test_last_nights_copy_put_back_is_told_everywhere_and_recovered(
    office: Path,
) -> None:
    """A monitor sees it at once, nothing is removed, and a person's step gives the packets their rows again."""
    database = office / "app.db"
    with ktpsync.Office.open(office) as opened:
        record(opened, database, 1)
    shutil.copy(database, office / "copy.db")
    with ktpsync.Office.open(office) as opened:
        lost = record(opened, database, 2, 3, 4)
    put_back(office / "copy.db", database)

    with ktpsync.Office.open(office) as opened:
        (told,) = opened.attention()
        assert "older copy" in told
        assert "doctor --recover" in told
        record(opened, database, 5)
        assert [told] == opened.attention()
    code, said = run("status")
    assert PERSON == code
    assert "older copy" in said
    assert DAMAGED == run("doctor")[0]
    with ktpsync.Office.open(office, clock=later()) as opened, pytest.raises(OutboxDamagedError):
        opened.outbox.collect_orphans()

    assert set(lost) == {one.packet_id for one in find_unrecorded(office, clock=later()).found}
    recovered = recover_packets(office, who="budi", why="older copy", clock=later())
    assert set(lost) == set(recovered.taken)
    with ktpsync.Office.open(office) as opened:
        assert [] == opened.attention()
        assert 5 == len(list(opened.outbox.packets()))
    code, said = run("doctor", "--read")
    assert DONE == code, said


def test_lost_tables_are_made_anew_beside_the_applications_own(
    office: Path,
) -> None:
    """A migration of the application has dropped the outbox's tables: what is said works, and its own tables stay."""
    database = office / "app.db"
    with ktpsync.Office.open(office) as opened:
        ids = record(opened, database, 1, 2, 3)
    connection = sqlite3.connect(database)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name.startswith("ktpsync_")
    ]
    for name in tables:
        connection.execute(f"DROP TABLE {name}")
    connection.close()
    assert 8 == len(tables)

    code, said = run("status")
    assert DAMAGED == code
    assert "doctor --recover" in said
    code, said = run("doctor", "--rebuild")
    assert BAD_INPUT == code
    assert "in the application's database" in said
    assert "doctor --recover" in said

    assert set(ids) == set(recover_packets(office, who="budi", why="dropped", clock=later()).taken)
    with ktpsync.Office.open(office) as opened:
        assert set(ids) == {view.packet_id for view in opened.outbox.packets()}
        assert [] == opened.attention()
        assert 3 == opened.sync().delivered
    connection = sqlite3.connect(database)
    assert 3 == connection.execute("SELECT COUNT(*) FROM visit").fetchone()[0]
    connection.close()


def test_an_empty_mount_point_is_no_spool_to_recover_from(office: Path) -> None:
    """A new database must not take it for its spool."""
    shutil.rmtree(office / "data" / "spool")
    code, said = run("doctor", "--recover", "--who", "budi")
    assert code not in {DONE, DAMAGED}
    assert "is empty" in said


def test_a_date_goes_with_recover_alone(office: Path) -> None:
    """And must be one."""
    assert USAGE == run("doctor", "--since", "2026-11-25")[0]
    assert USAGE == run("doctor", "--recover", "--since", "gestern", "--dry-run")[0]
    ktpsync.Office.open(office).close()
    assert DONE == run("doctor", "--recover", "--since", "2026-11-25", "--dry-run")[0]


def test_service_and_application_mean_one_database_wherever_they_work(
    office: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`sqlite:///app.db` is beside the configuration file, as all paths are."""
    config = office / "ktpsync.toml"
    config.write_text(config.read_text().replace(f"sqlite:///{office / 'app.db'}", "sqlite:///app.db"))
    for folder in ("service", "application"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "service")
    ktpsync.Office.open(config).close()
    monkeypatch.chdir(tmp_path / "application")
    with ktpsync.Office.open(config) as opened:
        ids = record(opened, office / "app.db", 1, 2)
    monkeypatch.chdir(tmp_path / "service")
    with ktpsync.Office.open(config) as opened:
        assert ids == [view.packet_id for view in opened.outbox.packets()]
        assert 2 == opened.sync().delivered
    assert [] == list((tmp_path / "service").iterdir()) + list((tmp_path / "application").iterdir())


def test_a_spool_of_another_database_is_refused(office: Path) -> None:
    """Two databases by mistake: the second one neither records beside the first, nor removes anything of it."""
    with ktpsync.Office.open(office) as opened:
        ids = record(opened, office / "app.db", 1, 2)
    config = office / "ktpsync.toml"
    config.write_text(config.read_text().replace("app.db", "other.db"))
    with pytest.raises(OutboxDamagedError, match="is new, but the spool"):
        ktpsync.Office.open(office)
    assert set(ids) == {path.stem for path in (office / "data" / "spool").rglob("*.age")}


def test_a_database_whose_folder_is_away_is_said(office: Path) -> None:
    """Such as one on a disk that is not mounted."""
    config = office / "ktpsync.toml"
    config.write_text(config.read_text().replace("app.db", "nowhere/app.db"))
    with pytest.raises(OutboxUnavailableError, match=r"nowhere.* is not there"):
        ktpsync.Office.open(office)


@pytest.mark.parametrize("table", ["packet", "delivery", "version"])
def test_tables_that_are_left_are_set_aside_and_all_made_anew(office: Path, table: str) -> None:
    """A person's step does it while nobody works with the outbox; the application's own tables are not touched."""
    database = office / "app.db"
    with ktpsync.Office.open(office) as opened:
        ids = record(opened, database, 1, 2, 3)
        opened.submit(make_enrollment(4, size=4000))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(f"DROP TABLE ktpsync_{table}")
        with pytest.raises(OutboxInUseError, match="Stop the service"):
            recover_packets(office, who="budi", why="dropped", clock=later())
    code, said = run("doctor")
    assert DAMAGED == code
    assert f"missing: ktpsync_{table}." in said

    # Those of the last moment could not be marked.
    report = recover_packets(office, who="budi", why="dropped", since_ms=0, clock=later())

    assert 4 == len(report.taken)
    with ktpsync.Office.open(office) as opened:
        assert set(report.taken) == {view.packet_id for view in opened.outbox.packets()}
        assert [] == opened.attention()
        assert () == opened.outbox.examine(read=True).problems
    assert report.aside is not None
    with contextlib.closing(sqlite3.connect(report.aside)) as connection:
        kept = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        told = connection.execute("SELECT COUNT(*) FROM ktpsync_audit WHERE event = 'submitted'").fetchone()
    assert (7, False, 4) == (len(kept), f"ktpsync_{table}" in kept, *told)
    assert 0o600 == report.aside.stat().st_mode & 0o777
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert sorted(ids) == sorted(one for (one,) in connection.execute("SELECT packet_id FROM visit"))
