"""What an office is set up with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ktpsync
from ktpsync.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = ktpsync.age.generate_identity()


def test_recipients_are_texts_or_what_an_identity_has(tmp_path: Path) -> None:
    """A program that has made a key gives its recipient as it is."""
    other = ktpsync.age.generate_identity().recipient
    config = ktpsync.init_office(tmp_path / "office", recipients=(IDENTITY.recipient, str(other)))

    written = (config.parent / "recipients.txt").read_text().split()
    assert [str(IDENTITY.recipient), str(other)] == written


@pytest.mark.parametrize(
    ("recipients", "message"),
    [
        (str(IDENTITY.recipient), "are a list"),
        (IDENTITY.recipient, "are a list"),
        (None, "are a list"),
        ([IDENTITY], "not HybridIdentity"),
        ([b"age1"], "not bytes"),
        (["AGE-SECRET-KEY-1QQQSECRET"], "is a private key"),
    ],
)
def test_other_recipients_are_refused_in_a_sentence(tmp_path: Path, recipients: object, message: str) -> None:
    """One error says what is wrong, and nothing is set up."""
    with pytest.raises(ConfigError, match=message):
        ktpsync.init_office(tmp_path / "office", recipients=recipients)  # type: ignore[arg-type]
    assert not (tmp_path / "office").exists()
