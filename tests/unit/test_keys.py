"""The station's signing key and index key."""

from __future__ import annotations

import os
import pickle
import stat
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import KeyFileError, SignatureError
from ktpsync.keys import IndexKey, StationKey, StationPublicKey

if TYPE_CHECKING:
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")


def test_station_key_survives_its_file(tmp_path: Path) -> None:
    """A saved key signs what the original's public half accepts."""
    key = StationKey.generate()
    key.save(tmp_path / "station.pem")

    loaded = StationKey.load(tmp_path / "station.pem")

    key.public.verify(loaded.sign(b"manifest"), b"manifest")
    assert key.public == loaded.public == StationPublicKey.from_pem(key.public.to_pem())
    assert key.public.key_id == loaded.public.key_id


def test_verify_refuses_other_bytes_and_other_keys() -> None:
    """A signature holds for its own bytes and its own key only."""
    key = StationKey.generate()
    signature = key.sign(b"manifest")

    with pytest.raises(SignatureError, match=key.public.key_id):
        key.public.verify(signature, b"manifesT")
    with pytest.raises(SignatureError):
        StationKey.generate().public.verify(signature, b"manifest")


@posix_only
def test_key_files_are_private(tmp_path: Path) -> None:
    """Key files have mode 0600."""
    StationKey.generate().save(tmp_path / "station.pem")
    IndexKey.generate().save(tmp_path / "index.key")

    assert 0o600 == stat.S_IMODE((tmp_path / "station.pem").stat().st_mode)
    assert 0o600 == stat.S_IMODE((tmp_path / "index.key").stat().st_mode)


@posix_only
def test_load_refuses_a_key_that_others_can_read(tmp_path: Path) -> None:
    """The message says what to do."""
    path = tmp_path / "station.pem"
    StationKey.generate().save(path)
    path.chmod(0o640)

    with pytest.raises(KeyFileError, match="chmod 600"):
        StationKey.load(path)


def test_save_never_overwrites_a_key(tmp_path: Path) -> None:
    """The first key is still there after a second save to its name."""
    first = StationKey.generate()
    first.save(tmp_path / "station.pem")

    with pytest.raises(KeyFileError, match="never overwritten"):
        StationKey.generate().save(tmp_path / "station.pem")

    assert first.public == StationKey.load(tmp_path / "station.pem").public


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_load_refuses_damaged_files(tmp_path: Path, content: bytes) -> None:
    """A damaged key file is an error that names it."""
    path = tmp_path / "damaged"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match="damaged"):
        StationKey.load(path)
    with pytest.raises(KeyFileError, match="damaged"):
        IndexKey.load(path)


def test_load_says_when_a_key_is_missing(tmp_path: Path) -> None:
    """A missing key file is a clear error."""
    with pytest.raises(KeyFileError, match="missing"):
        StationKey.load(tmp_path / "station.pem")


def test_index_key_digest_is_stable_and_bound_to_its_purpose(tmp_path: Path) -> None:
    """The same value under another key or for another purpose gives another digest."""
    key = IndexKey.generate()
    key.save(tmp_path / "index.key")

    digest = key.digest("nik", b"value")

    assert digest == IndexKey.load(tmp_path / "index.key").digest("nik", b"value")
    assert digest != key.digest("reference", b"value")
    assert digest != IndexKey.generate().digest("nik", b"value")


def test_secrets_do_not_show() -> None:
    """Neither repr nor pickle gives a private half away."""
    station, index = StationKey.generate(), IndexKey(bytes(range(32)))

    assert f"StationKey({station.public.key_id})" == repr(station)
    assert bytes(range(32)).hex() not in repr(index)
    for key in (station, index):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(key)
