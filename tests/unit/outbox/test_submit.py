from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.errors import DigestError, ReferenceConflictError
from ktpsync.outbox import Outbox, Submission
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["folder", "storage"])
def spool_kind(request: pytest.FixtureRequest) -> str:
    """Each test runs with the spool in a folder, and in storage."""
    return str(request.param)


def spool_files(folder: Path) -> int:
    """Count all files in the spool, whatever their names; those by which storage is known aside."""
    known = {"spool-owner.json", "ktpsync-disk.json"}
    return sum(1 for path in folder.rglob("*") if path.is_file() and path.name not in known)


def test_submitted_packet_can_be_read_back(station: Any) -> None:
    """The packet that submit returns gives exactly the bytes that were submitted."""
    submitted = station.submit(b"some sealed bytes")
    with submitted.packet.open() as file:
        assert b"some sealed bytes" == file.read()
    assert submitted.created


def test_wrong_digest_stores_nothing(station: Any) -> None:
    """Bytes that differ from their digest are refused before anything is written."""
    with pytest.raises(DigestError, match="Nothing was stored"):
        station.outbox.submit(b"x", packet_id=new_packet_id(), sha256="0" * 64)
    assert [] == list(station.outbox.packets())
    assert 0 == spool_files(station.spool)


def test_invariant_03_reference_is_unique(station: Any) -> None:
    """The same enrollment under its reference gives the first packet; a different one is refused."""
    first = station.submit(b"one", reference="app-1", fingerprint=b"same")
    again = station.submit(b"one sealed again", reference="app-1", fingerprint=b"same")
    assert (False, first.packet) == (again.created, again.packet)
    with pytest.raises(ReferenceConflictError, match="app-1"):
        station.submit(b"two", reference="app-1", fingerprint=b"other")
    assert 1 == len(list(station.outbox.packets()))
    assert 1 == spool_files(station.spool)


def test_what_is_stored_is_told_also_where_a_second_copy_cannot_be_removed(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails after the commit does not make packets seem unrecorded: what is left over is collected later."""
    station.submit(b"one", reference="app-1", fingerprint=b"same")

    def fails(_packet_id: str) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(station.outbox.spool, "discard", fails)
    items = [
        Submission(sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest(), **more)
        for data, more in ((b"new", {}), (b"one again", {"reference": "app-1", "fingerprint": b"same"}))
    ]
    assert [True, False] == [result.created for result in station.outbox.submit_many(items)]


def test_same_packet_twice_is_one_packet(station: Any) -> None:
    """Submitting the same id and bytes again changes nothing and keeps the bytes."""
    packet_id = new_packet_id()
    station.submit(b"bytes", packet_id=packet_id)
    again = station.submit(b"bytes", packet_id=packet_id)
    assert not again.created
    with again.packet.open() as file:
        assert b"bytes" == file.read()


def test_same_id_with_other_bytes_is_refused_and_the_first_kept(station: Any) -> None:
    """A second packet under a taken id cannot overwrite the first one's bytes."""
    first = station.submit(b"first")
    with pytest.raises(ReferenceConflictError, match="other bytes"):
        station.submit(b"other", packet_id=first.packet.packet_id)
    with first.packet.open() as file:
        assert b"first" == file.read()


def test_second_packet_of_a_person_is_noticed_while_the_first_is_on_its_way(station: Any) -> None:
    """The keyed hash of a person links packets until the first one is delivered everywhere."""
    first = station.submit(b"1", person=b"hash")
    assert (first.packet.packet_id,) == station.submit(b"2", person=b"hash").same_person
    assert [b"1", b"2"] == [
        station.outbox.spool.read(view.packet_id) for view in station.outbox.find(person=b"hash")
    ]


def test_second_packet_of_a_person_is_noticed_without_any_destination(tmp_path: Path) -> None:
    """While no destination is configured every packet is still only here; a backup is none."""
    with Outbox.open(tmp_path / "outbox.db", tmp_path / "spool") as outbox:
        found = [
            outbox.submit(
                data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest(), person=b"hash"
            )
            for data in (b"1", b"2")
        ]
        assert (found[0].packet_id,) == found[1].same_person


def test_second_packet_of_a_person_is_noticed_within_one_batch(station: Any) -> None:
    """Two enrollments of one person that come together are as suspicious as two that come one after the other."""
    before = station.submit(b"0", person=b"hash").packet.packet_id
    items = [
        Submission(
            sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest(), person=person
        )
        for data, person in [(b"1", b"hash"), (b"2", b"other"), (b"3", b"hash"), (b"4", None)]
    ]
    first, other, second, nobody = station.outbox.submit_many(items)
    assert ((before,), (before, first.packet.packet_id)) == (first.same_person, second.same_person)
    assert ((), ()) == (other.same_person, nobody.same_person)


def test_batch_gives_one_result_per_item(station: Any) -> None:
    """A bad item in a batch does not keep the good ones out."""
    taken = station.submit(b"taken")
    items = [
        Submission(sealed=data, packet_id=packet_id, sha256=hashlib.sha256(data).hexdigest(), **more)
        for data, packet_id, more in [
            (b"a", new_packet_id(), {"reference": "r", "fingerprint": b"f"}),
            (b"b", new_packet_id(), {"reference": "r", "fingerprint": b"g"}),
            (b"c", taken.packet.packet_id, {}),
            (b"d", new_packet_id(), {}),
        ]
    ]
    items.append(Submission(sealed=b"e", packet_id=new_packet_id(), sha256="0" * 64))
    kinds = [getattr(result, "created", type(result)) for result in station.outbox.submit_many(items)]
    assert [True, ReferenceConflictError, ReferenceConflictError, True, DigestError] == kinds
    assert 3 == len(list(station.outbox.packets()))
    assert 3 == spool_files(station.spool)
