"""Transactional submits on the connection of an application that has no SQLAlchemy."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django.apps
import django.conf
import pytest
import sqlalchemy as sa
from django.db import transaction
from django.db.utils import ConnectionHandler

from ktpsync import borrowed_connection
from ktpsync.errors import ConfigError, ReferenceConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def django_connection(station: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Django's connection to the outbox's database, with a table of the application's own."""
    if isinstance(station.database, Path):
        settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": station.database}
    else:
        url = sa.make_url(station.database)
        settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.database,
            "USER": url.username,
            "HOST": url.query["host"],
        }
    # Whoever comes before or after in this process configures Django in another way.
    before = django.conf.settings.__dict__["_wrapped"]
    django.conf.settings._wrapped = django.conf.empty
    django.conf.settings.configure()
    django.apps.apps.populate([])
    handler = ConnectionHandler({"default": settings})
    monkeypatch.setattr(transaction, "connections", handler)
    connection = handler["default"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE visit (packet_id TEXT)")
    yield connection
    connection.close()
    django.conf.settings._wrapped = before


def visits(connection: Any) -> list[str]:
    """Return what the application has written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT packet_id FROM visit")
        return [row[0] for row in cursor.fetchall()]


def record(station: Any, connection: Any, data: bytes, **options: object) -> str:
    """Write the packet and the application's row in Django's transaction."""
    with borrowed_connection(connection.connection) as borrowed:
        packet_id: str = station.submit(data, connection=borrowed, **options).packet.packet_id
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO visit (packet_id) VALUES (%s)", [packet_id])
    return packet_id


def rolled_back(station: Any, connection: Any, data: bytes, **options: object) -> None:
    """The same, and then something goes wrong before the commit."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        assert 1 / len(record(station, connection, data, **options)[:0])


def test_django_commits_or_rolls_back_both(station: Any, django_connection: Any) -> None:
    """The packet and the application's row are both there, or neither is."""
    with transaction.atomic():
        kept = record(station, django_connection, b"kept", reference="a", fingerprint=b"f", person=b"p")
        assert [] == list(station.outbox.packets())
    rolled_back(station, django_connection, b"rolled back", person=b"p")
    assert [kept] == [view.packet_id for view in station.outbox.packets()]
    assert [kept] == visits(django_connection)
    assert [kept] == [lease.packet.packet_id for lease in station.claim()]
    assert () == station.outbox.audit.verify().problems


def test_a_savepoint_of_django_can_take_a_packet_back(station: Any, django_connection: Any) -> None:
    """An inner block that fails takes its packet with it and leaves the outer one's."""
    with transaction.atomic():
        kept = record(station, django_connection, b"outer")
        rolled_back(station, django_connection, b"inner")
    assert [kept] == [view.packet_id for view in station.outbox.packets()]
    assert [kept] == visits(django_connection)


def test_a_refused_reference_leaves_django_s_transaction_usable(station: Any, django_connection: Any) -> None:
    """The application can go on after a conflict and commit the rest."""
    station.submit(b"first", reference="a", fingerprint=b"f")
    with transaction.atomic():
        with pytest.raises(ReferenceConflictError):
            record(station, django_connection, b"other", reference="a", fingerprint=b"g")
        record(station, django_connection, b"third")
    assert 2 == len(list(station.outbox.packets()))


def test_the_borrowed_connection_is_left_as_it_was(tmp_path: Path) -> None:
    """Neither its settings nor its functions change, and it is not closed, committed or rolled back."""
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    connection.create_function("regexp", 2, lambda _pattern, _text: "the application's own")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE visit (x)")
    with borrowed_connection(connection) as borrowed:
        assert 0 == borrowed.execute(sa.text("SELECT COUNT(*) FROM visit")).scalar()
    assert connection.in_transaction
    assert ("the application's own", None) == (
        connection.execute("SELECT 'a' REGEXP 'b'").fetchone()[0],
        connection.isolation_level,
    )
    connection.rollback()
    assert [] == connection.execute("SELECT * FROM sqlite_master").fetchall()
    connection.close()


def test_other_drivers_are_refused() -> None:
    """The message names what was given and what is needed."""
    with pytest.raises(ConfigError, match=r"builtins\.object is neither"), borrowed_connection(object()):
        pass
