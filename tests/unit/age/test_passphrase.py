"""Passphrases: their limits."""

from __future__ import annotations

import pytest

from ktpsync import age
from ktpsync.errors import HeaderError, KeyFormatError, NoMatchingIdentityError


def test_wrong_passphrase() -> None:
    """Another passphrase does not open the file."""
    sealed = age.encrypt(b"secret", [age.Passphrase("kata sandi", work_factor=2)])

    with pytest.raises(NoMatchingIdentityError):
        age.decrypt(sealed, age.Passphrase("Kata sandi"))


def test_passphrase_is_utf8() -> None:
    """The words are used as they are, in UTF-8."""
    sealed = age.encrypt(b"secret", [age.Passphrase("rahasia é", work_factor=2)])

    assert b"secret" == age.decrypt(sealed, age.Passphrase("rahasia é"))


@pytest.mark.parametrize("words", ["", "\ud800"])
def test_not_a_passphrase(words: str) -> None:
    """Nothing, and what UTF-8 cannot express, are no passphrases."""
    with pytest.raises(KeyFormatError):
        age.Passphrase(words)


@pytest.mark.parametrize("factor", [0, 31, -1])
def test_work_factor_out_of_range(factor: int) -> None:
    """Work factors that make no sense are refused, for sealing and for opening."""
    with pytest.raises(KeyFormatError, match="work factor"):
        age.Passphrase("kata sandi", work_factor=factor)
    with pytest.raises(KeyFormatError, match="work factor"):
        age.Passphrase("kata sandi", max_work_factor=factor)


def test_demanded_work_is_bounded() -> None:
    """A file that demands more work than is allowed is refused at once, and the message says how to allow it."""
    sealed = age.encrypt(b"secret", [age.Passphrase("kata sandi", work_factor=3)])

    with pytest.raises(HeaderError, match="max_work_factor"):
        age.decrypt(sealed, age.Passphrase("kata sandi", max_work_factor=2))
    assert b"secret" == age.decrypt(sealed, age.Passphrase("kata sandi", max_work_factor=3))


@pytest.mark.parametrize("demand", ["21", "64", "9" * 5000])
def test_huge_demand(demand: str) -> None:
    """However much work a file demands, opening it ends at once with an error of age."""
    stanza = age.Stanza(args=("scrypt", "A" * 22, demand), body=bytes(32))

    with pytest.raises(HeaderError, match="work factor above 20"):
        age.Passphrase("kata sandi").unwrap([stanza])


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase whose work needs more memory than is free is an error of age, not of memory."""
    sealed = age.encrypt(b"secret", [age.Passphrase("kata sandi", work_factor=2)])

    def derive(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("ktpsync.age._passphrase.Scrypt", lambda **_: type("", (), {"derive": derive})())

    with pytest.raises(HeaderError, match="more memory than is free"):
        age.decrypt(sealed, age.Passphrase("kata sandi"))
