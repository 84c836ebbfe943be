"""The JSON documents of a repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from ktpsync.backup import _documents
from ktpsync.backup._documents import (
    Chain,
    Manifest,
    Marker,
    PackEntry,
    PacketEntry,
    PackIndex,
    RecipientsEntry,
    SnapshotRef,
    StateEntry,
    Station,
    Totals,
    dump,
    load,
)
from ktpsync.errors import DamagedBackupError, RepositoryError

MARKER = Marker(repository="r", created_at="2026-01-01T00:00:00.000Z", recipients=("age1x",))


def test_a_document_is_read_as_it_was_written() -> None:
    """Nothing is lost between writing and reading."""
    assert MARKER == load(Marker, dump(MARKER), "key")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", DamagedBackupError, "not readable JSON"),
        (b"\xff\xfe", DamagedBackupError, "not readable JSON"),
        (b"[]", RepositoryError, "not a file of a ktpsync"),
        (dump(PackIndex(pack="p", packets=())), RepositoryError, "not a file of a ktpsync"),
        (dump(MARKER).replace(b'"version": 1', b'"version": 2'), RepositoryError, "newer ktpsync"),
        (dump(MARKER).replace(b'"repository"', b'"repositorx"'), DamagedBackupError, "the file is damaged"),
        (dump(MARKER)[:-5], DamagedBackupError, "not readable JSON"),
    ],
)
def test_what_cannot_be_read_says_what_and_where(data: bytes, error: type[Exception], message: str) -> None:
    """Damage, another kind of file and a newer format are told apart, each with the key."""
    with pytest.raises(error, match=message) as caught:
        load(Marker, data, "the/key")

    assert "the/key" in str(caught.value)


def test_a_document_begins_with_its_format() -> None:
    """A person with a text editor sees what it is."""
    assert ["format", "version"] == list(json.loads(dump(MARKER)))[:2]


MANIFEST = Manifest(
    repository="3b0e",
    name="20260101T000000Z-019b",
    lineage="9f2c",
    created_at="2026-01-01T00:00:00.000Z",
    kind="delta",
    complete=True,
    parent=SnapshotRef(name="20251231T230000Z-019a", sha256="aa"),
    station=Station(key_id="0123", public_key="-----BEGIN PUBLIC KEY-----\n"),
    recipients=("age1x",),
    state=StateEntry(sha256="bb", size=9, after=3, sequence=5),
    packs=(PackEntry(name="019c", sha256="cc", size=2048, packets=1, index_sha256="dd", index_size=99),),
    chain=Chain(length=1, full_bytes=10, delta_bytes=9),
    totals=Totals(packs=2, packets=3, bytes=4096),
)
INDEX = PackIndex(pack="019c", packets=(PacketEntry(packet_id="019d", sha256="ee", offset=512, size=7),))


def test_version_1_is_written_byte_for_byte_like_this() -> None:
    """What a released version wrote, all later ones write and read."""
    assert (
        b'{\n "format": "ktpsync-repository",\n "version": 1,\n "repository": "r",\n'
        b' "created_at": "2026-01-01T00:00:00.000Z",\n "recipients": [\n  "age1x"\n ]\n}\n'
    ) == dump(MARKER)
    assert (
        b'{\n "format": "ktpsync-pack-index",\n "version": 1,\n "pack": "019c",\n "packets": [\n  {\n'
        b'   "packet_id": "019d",\n   "sha256": "ee",\n   "offset": 512,\n   "size": 7\n  }\n ]\n}\n'
    ) == dump(INDEX)
    assert (
        b'{\n "format": "ktpsync-snapshot",\n "version": 1,\n "repository": "3b0e",\n'
        b' "name": "20260101T000000Z-019b",\n "lineage": "9f2c",\n "created_at": "2026-01-01T00:00:00.000Z",\n'
        b' "kind": "delta",\n "complete": true,\n "parent": {\n  "name": "20251231T230000Z-019a",\n'
        b'  "sha256": "aa"\n },\n "station": {\n  "key_id": "0123",\n'
        b'  "public_key": "-----BEGIN PUBLIC KEY-----\\n"\n },\n "recipients": [\n  "age1x"\n ],\n'
        b' "state": {\n  "sha256": "bb",\n  "size": 9,\n  "after": 3,\n  "sequence": 5\n },\n'
        b' "packs": [\n  {\n   "name": "019c",\n   "sha256": "cc",\n   "size": 2048,\n   "packets": 1,\n'
        b'   "index_sha256": "dd",\n   "index_size": 99\n  }\n ],\n "dropped": {\n  "snapshots": [],\n'
        b'  "packs": []\n },\n "chain": {\n  "length": 1,\n  "full_bytes": 10,\n  "delta_bytes": 9\n },\n'
        b' "totals": {\n  "packs": 2,\n  "packets": 3,\n  "bytes": 4096\n }\n}\n'
    ) == dump(MANIFEST)


@pytest.mark.parametrize(
    "document", [MARKER, INDEX, MANIFEST, RecipientsEntry(since="s", station="t", recipients=("age1x",))]
)
def test_every_kind_of_document_refuses_a_newer_version(document: Any) -> None:
    """A reader of version 1 guesses nothing of version 2."""
    newer = dump(document).replace(b'"version": 1', b'"version": 2')

    assert document == load(type(document), dump(document), "key")
    with pytest.raises(RepositoryError, match=r"format version 2; this release reads version 1\. Install"):
        load(type(document), newer, "key")


def test_the_reference_describes_every_key() -> None:
    """The page on the format names each key of each document."""
    page = (Path(__file__).parents[3] / "docs/reference/repository-format.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`([a-z0-9_]+)`", page))

    keys = {
        attribute.name
        for value in vars(_documents).values()
        if isinstance(value, type) and attrs.has(value)
        for attribute in attrs.fields(value)
    }

    assert set() == keys - described
