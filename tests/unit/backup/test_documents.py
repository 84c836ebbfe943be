"""The JSON documents of a repository."""

from __future__ import annotations

import json

import pytest

from ktpsync.backup._documents import Marker, PackIndex, dump, load
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
