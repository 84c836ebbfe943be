"""Many at once: batches that become durable one after the other, and what is known when the work ends early."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from attrs import evolve

import ktpsync
from ktpsync import records
from ktpsync.errors import ConfigError, SchemaError, ValidationError
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ktpsync import Enrollment

RECIPIENT = str(ktpsync.age.generate_identity("x25519").recipient)
SAMPLE = make_enrollment(1, size=900)

_KILLED = """
import os, signal, sys
import ktpsync
from attrs import evolve
from ktpsync.testing import make_enrollment

sample = make_enrollment(1, size=900)


def source():
    for number in range(200):
        if number == 130:
            os.kill(os.getpid(), signal.SIGKILL)
        yield evolve(sample, reference=str(number))


with ktpsync.Office.open(sys.argv[1]) as office:
    office.submit_many(source())
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of an office without destinations."""
    return ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])


def many(count: int) -> Iterator[Enrollment]:
    """Yield enrollments with references."""
    return (evolve(SAMPLE, reference=str(number)) for number in range(count))


def stored(office: ktpsync.Office) -> set[str | None]:
    """Return the references of what is in the outbox."""
    return {view.reference for view in office.outbox.packets()}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no such signal")
def test_a_killed_process_has_stored_whole_batches_of_small_records(config: Path) -> None:
    """However small they are, no more than a hundred have to be submitted again."""
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(config)], check=False)

    assert -signal.SIGKILL == killed.returncode
    with ktpsync.Office.open(config) as office:
        assert {str(number) for number in range(100)} == stored(office)


def test_results_are_told_batch_by_batch_when_they_are_durable(config: Path) -> None:
    """Also of those that cannot be stored; together they are what is returned."""
    told = []
    with ktpsync.Office.open(config) as office, ktpsync.Office.open(config) as other:

        def on_stored(results: object) -> None:
            told.append((results, len(stored(other))))

        people = list(many(103))
        people[2] = evolve(people[2], biodata=evolve(SAMPLE.biodata, full_name=""))
        results = office.submit_many(people, on_stored=on_stored)

    assert [(results[:100], 99), (results[100:], 102)] == told
    assert [2] == [number for number, one in enumerate(results) if isinstance(one, ValidationError)]


def test_a_source_that_fails_loses_nothing_that_came_before(config: Path) -> None:
    """A row cannot be read: what came before it is stored and told, and the error goes on."""
    told: list[object] = []

    def source() -> Iterator[Enrollment]:
        yield from many(3)
        raise SchemaError("row 4 cannot be read")

    with ktpsync.Office.open(config) as office:
        with pytest.raises(SchemaError, match="row 4"):
            office.submit_many(source(), on_stored=told.extend)
        with pytest.raises(TypeError, match="not str"):
            office.submit_many([evolve(SAMPLE, reference="3"), "junk"], on_stored=told.extend)  # type: ignore[list-item]
        assert {"0", "1", "2", "3"} == stored(office)
    assert [True] * 4 == [isinstance(one, ktpsync.Submitted) for one in told]


def test_a_batch_that_cannot_be_stored_is_not_tried_twice(config: Path) -> None:
    """What storing raises goes on to the caller, and nothing is told."""
    told: list[object] = []
    with ktpsync.Office.open(config) as office, pytest.raises(ConfigError):
        office.submit_many(many(2), connection="no connection", on_stored=told.extend)  # type: ignore[arg-type]
    assert [] == told


def test_a_packet_to_be_replaced_is_looked_at(config: Path) -> None:
    """A mistyped id, or another person's, is stored with a warning; the person's own and one of the same batch are fine."""
    own, others = (evolve(make_enrollment(seed, size=900), reference=None) for seed in (1, 2))
    unknown = "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001"

    def correction(replaces: str) -> Enrollment:
        return evolve(own, kind=records.Kind.CORRECTION, replaces=replaces)

    with ktpsync.Office.open(config) as office:
        first, other = office.submit(own), office.submit(others)
        asked = [correction(first.packet_id), correction(other.packet_id), correction(unknown), others]
        one_by_one = [office.submit(enrollment) for enrollment in asked]
        together = office.submit_many(asked)

    expected = [(), ("replaces.other-person",), ("replaces.unknown",), ()]
    for results in (one_by_one, together):
        assert expected == [
            tuple(warning.code for warning in one.warnings)
            for one in results
            if isinstance(one, ktpsync.Submitted)
        ]


def test_a_packet_of_the_caller_s_transaction_can_be_replaced(tmp_path: Path, config: Path) -> None:
    """It is there for that transaction alone; asking for it does not wait for the transaction's end."""
    database = f"sqlite:///{tmp_path / 'app.db'}"
    config.write_text(config.read_text().replace("[office]\n", f"[office]\ndatabase = '{database}'\n"))
    own = evolve(make_enrollment(1, size=900), reference=None)
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with ktpsync.Office.open(config) as office, engine.connect() as own_connection:
        first = office.submit(own, connection=own_connection)
        correction = evolve(own, kind=records.Kind.CORRECTION, replaces=first.packet_id)
        other = evolve(correction, biodata=make_enrollment(2, size=900).biodata)
        found = [office.submit(one, connection=own_connection).warnings for one in (correction, other)]
        own_connection.commit()

    assert [(), ("replaces.other-person",)] == [tuple(one.code for one in warnings) for warnings in found]
