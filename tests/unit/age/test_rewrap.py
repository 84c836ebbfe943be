"""Changing who can open a file."""

from __future__ import annotations

import io

import pytest

from ktpsync import age
from ktpsync.errors import HeaderError, HeaderMacError, NoMatchingIdentityError

DATA = bytes(range(256)) * 1024


def rewrapped(sealed: bytes, identity: age.Identity, *recipients: age.Recipient) -> bytes:
    """Return the file with a new header."""
    target = io.BytesIO()
    written = age.rewrap(io.BytesIO(sealed), target, identity, recipients)
    assert written == len(target.getvalue())
    return target.getvalue()


def payload(sealed: bytes) -> bytes:
    """Return what follows the header."""
    return sealed[sealed.index(b"\n", sealed.index(b"\n---") + 1) + 1 :]


def test_opens_for_the_new_recipient_alone() -> None:
    """The new recipient opens the file, the old one does not, and the payload's bytes are the same."""
    old, new = age.generate_identity("x25519"), age.generate_identity("hybrid")
    sealed = age.encrypt(DATA, [old.recipient])

    result = rewrapped(sealed, old, new.recipient)

    assert DATA == age.decrypt(result, new)
    assert payload(sealed) == payload(result)
    with pytest.raises(NoMatchingIdentityError):
        age.decrypt(result, old)


def test_rewraps_an_armored_file() -> None:
    """An armored file is read too; the new one is binary."""
    identity = age.generate_identity("x25519")

    result = rewrapped(age.encrypt(DATA, [identity.recipient], armor=True), identity, identity.recipient)

    assert result.startswith(b"age-encryption.org/v1\n")
    assert DATA == age.decrypt(result, identity)


def test_adds_a_recipient() -> None:
    """Naming the old recipient again keeps it."""
    old, new = age.generate_identity(), age.generate_identity()

    result = rewrapped(age.encrypt(DATA, [old.recipient]), old, old.recipient, new.recipient)

    assert DATA == age.decrypt(result, old) == age.decrypt(result, new)


def test_payload_is_copied_unseen() -> None:
    """A damaged payload is copied as it is: rewrapping neither hides nor repairs damage."""
    identity = age.generate_identity("x25519")
    sealed = age.encrypt(DATA, [identity.recipient])[:-1] + b"?"

    assert payload(sealed) == payload(rewrapped(sealed, identity, identity.recipient))


def test_changed_header_is_not_rewrapped() -> None:
    """A header whose MAC does not hold is refused, and nothing is written."""
    identity = age.generate_identity("x25519")
    sealed = age.encrypt(DATA, [identity.recipient]).replace(b"\n---", b"\n-> added\n\n---", 1)
    target = io.BytesIO()

    with pytest.raises(HeaderMacError):
        age.rewrap(io.BytesIO(sealed), target, identity, [identity.recipient])

    assert b"" == target.getvalue()


def test_without_recipient_nothing_is_written() -> None:
    """A file that nobody could open is not written."""
    identity = age.generate_identity("x25519")
    target = io.BytesIO()

    with pytest.raises(HeaderError, match="at least one recipient"):
        age.rewrap(io.BytesIO(age.encrypt(DATA, [identity.recipient])), target, identity, [])

    assert b"" == target.getvalue()
