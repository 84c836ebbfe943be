"""Sealing and opening: sizes around the chunk, armor, and who goes together."""

from __future__ import annotations

import io

import pytest

from ktpsync import age
from ktpsync.errors import HeaderError, HeaderMacError, NoMatchingIdentityError, PayloadError

CHUNK = 1 << 16
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 16 * CHUNK + 1, 17 * CHUNK]


@pytest.fixture(scope="module", params=["hybrid", "x25519"])
def identity(request: pytest.FixtureRequest) -> age.HybridIdentity | age.X25519Identity:
    """Return an identity of each kind."""
    return age.generate_identity(request.param)


@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_opens_what_was_sealed(identity: age.Identity, size: int, *, armor: bool) -> None:
    """What was sealed in memory opens in memory and as a stream, and the other way round."""
    data = bytes(i % 251 for i in range(size))

    sealed = age.encrypt(data, [identity.recipient], armor=armor)
    opened, streamed = io.BytesIO(), io.BytesIO()
    count = age.decrypt_stream(io.BytesIO(sealed), opened, [identity])
    written = age.encrypt_stream(io.BytesIO(data), streamed, [identity.recipient], armor=armor)

    assert data == age.decrypt(sealed, [identity])
    assert (size, data) == (count, opened.getvalue())
    assert written == len(streamed.getvalue()) == len(sealed)
    assert data == age.decrypt(streamed.getvalue(), identity)


def test_every_recipient_opens(identity: age.Identity) -> None:
    """Each of several recipients of a kind opens the file alone."""
    other = age.generate_identity("hybrid" if isinstance(identity, age.HybridIdentity) else "x25519")

    sealed = age.encrypt(b"secret", [identity.recipient, other.recipient])

    assert b"secret" == age.decrypt(sealed, [identity])
    assert b"secret" == age.decrypt(sealed, [other])


def test_nobody_else_opens(identity: age.Identity) -> None:
    """An identity to which the file was not sealed does not open it."""
    sealed = age.encrypt(b"secret", [identity.recipient])

    with pytest.raises(NoMatchingIdentityError, match="2 given"):
        age.decrypt(sealed, [age.generate_identity("hybrid"), age.generate_identity("x25519")])


def test_changed_header_is_noticed(identity: age.Identity) -> None:
    """A stanza that was added afterwards breaks the MAC."""
    sealed = age.encrypt(b"secret", [identity.recipient])
    changed = sealed.replace(b"\n---", b"\n-> added\n\n---", 1)

    with pytest.raises(HeaderMacError):
        age.decrypt(changed, [identity])


def test_changed_payload_is_noticed(identity: age.Identity) -> None:
    """A flipped bit in the second chunk leaves the first one verified, and decrypt returns nothing."""
    sealed = bytearray(age.encrypt(bytes(2 * CHUNK), [identity.recipient]))
    sealed[-1] ^= 1

    with pytest.raises(PayloadError) as caught:
        age.decrypt(bytes(sealed), [identity])

    assert CHUNK == caught.value.verified


def test_a_passphrase_opens() -> None:
    """A passphrase is recipient and identity in one."""
    words = age.Passphrase("kata sandi", work_factor=2)

    assert b"secret" == age.decrypt(age.encrypt(b"secret", [words]), [words])


def test_hybrid_is_not_mixed() -> None:
    """A hybrid recipient beside a classic one is refused, as the classic one would open to a quantum computer."""
    recipients = [age.generate_identity(kind).recipient for kind in ("hybrid", "x25519")]

    with pytest.raises(HeaderError, match="do not go together"):
        age.encrypt(b"secret", recipients)


def test_passphrase_is_alone() -> None:
    """Neither a key nor a second passphrase goes beside a passphrase."""
    words = age.Passphrase("kata sandi", work_factor=2)

    with pytest.raises(HeaderError, match="do not go together"):
        age.encrypt(b"secret", [words, age.generate_identity("x25519").recipient])
    with pytest.raises(HeaderError, match="only recipient"):
        age.encrypt(b"secret", [words, words])


def test_no_recipient() -> None:
    """A file for nobody is not made."""
    with pytest.raises(HeaderError, match="at least one recipient"):
        age.encrypt(b"secret", [])


def test_one_recipient_and_identity() -> None:
    """Where there is but one, it needs no list around it."""
    identity = age.generate_identity("x25519")

    assert b"secret" == age.decrypt(age.encrypt(b"secret", identity.recipient), identity)


def test_no_identity() -> None:
    """Without an identity nothing opens."""
    with pytest.raises(NoMatchingIdentityError, match="0 given"):
        age.decrypt(age.encrypt(b"secret", age.generate_identity().recipient), [])


def test_message_has_no_room_for_a_file() -> None:
    """What a file says of its recipients does not flood a log."""
    from ktpsync.age import _header

    header = _header.build([age.Stanza(args=("x" * 100_000,), body=b"")], bytes(16))

    with pytest.raises(NoMatchingIdentityError) as caught:
        age.decrypt(header + bytes(32), age.generate_identity())

    assert len(str(caught.value)) < 400


def test_text_is_no_identity() -> None:
    """An identity given as text is a mistake of the program, and is named as such, without the text."""
    identity = age.generate_identity("x25519")

    with pytest.raises(TypeError, match="parse_identity") as caught:
        age.decrypt(age.encrypt(b"", identity.recipient), [identity.to_text()])  # type: ignore[list-item]
    assert "AGE-SECRET" not in str(caught.value)


def test_text_is_no_recipient() -> None:
    """A recipient given as text is a mistake of the program, and is named as such."""
    with pytest.raises(TypeError, match="parse_recipient"):
        age.encrypt(b"secret", ["age1..."])  # type: ignore[list-item]


class Talkative(age.Recipient):
    """Fills a header."""

    def wrap(self, file_key: bytes) -> list[age.Stanza]:
        """Return half a mebibyte."""
        return [age.Stanza(args=("talkative",), body=file_key * 24_000)]


def test_longest_header() -> None:
    """A header of up to 1 MiB opens, and no longer one is written."""
    identity = age.generate_identity("x25519")

    sealed = age.encrypt(b"secret", [Talkative(), identity.recipient])
    target = io.BytesIO()
    age.decrypt_stream(io.BytesIO(sealed), target, identity)

    assert b"secret" == age.decrypt(sealed, identity) == target.getvalue()
    with pytest.raises(HeaderError, match="fewer recipients"):
        age.encrypt(b"secret", [Talkative(), Talkative(), Talkative()])


def test_endless_header() -> None:
    """A header without an end is given up at 1 MiB, however long the file is."""

    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            begin = b"" if self.given else b"age-encryption.org/v1\n-> X25519 "
            self.given += size
            return begin.ljust(size, b"A")

    endless = Endless()

    with pytest.raises(HeaderError, match="longer than is accepted"):
        age.decrypt_stream(endless, io.BytesIO(), age.generate_identity())
    assert endless.given <= 1 << 20
    with pytest.raises(HeaderError, match="longer than is accepted"):
        age.decrypt(b"age-encryption.org/v1\n-> X25519 ".ljust(3 << 20, b"A"), age.generate_identity())
