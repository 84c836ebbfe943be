"""Keys: their text, and that secrets stay where they are."""

from __future__ import annotations

import copy
import hashlib
import pickle
from pathlib import Path

import pytest

from ktpsync import age
from ktpsync.errors import KeyFormatError

# Examples of the specification.
X25519_TEXT = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
X25519_RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
HYBRID_TEXT = "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR"
HYBRID_RECIPIENT_SHA256 = "a091dd7e0ee9d62b75173dcc98441a0424baa941e66a8776e570a4ae60ff61ea"


def test_x25519_example() -> None:
    """The identity of the specification has the recipient that stands there."""
    identity = age.parse_identity(X25519_TEXT)

    assert X25519_RECIPIENT == str(identity.recipient)
    assert identity.recipient == age.parse_recipient(X25519_RECIPIENT)
    assert X25519_TEXT == identity.to_text()


def test_hybrid_example() -> None:
    """The hybrid identity of the specification has the recipient that stands there, which fills a page."""
    identity = age.parse_identity(HYBRID_TEXT)

    assert HYBRID_RECIPIENT_SHA256 == hashlib.sha256(str(identity.recipient).encode()).hexdigest()
    assert identity.recipient == age.parse_recipient(str(identity.recipient))
    assert HYBRID_TEXT == identity.to_text()


def test_hybrid_file_of_another_program() -> None:
    """A file that age-encryption 0.3.1 (TypeScript) sealed to the hybrid example opens."""
    sealed = Path(__file__).with_name("data").joinpath("hybrid-age-encryption-0.3.1.age").read_bytes()

    assert b"sealed elsewhere" == age.decrypt(sealed, age.parse_identity(HYBRID_TEXT))


def test_hybrid_is_the_default() -> None:
    """Without a word about the kind, a new identity is a hybrid one."""
    assert isinstance(age.generate_identity(), age.HybridIdentity)
    assert str(age.generate_identity().recipient).startswith("age1pq1")


def test_unknown_kind() -> None:
    """There is no other kind of identity."""
    with pytest.raises(KeyFormatError, match="hybrid"):
        age.generate_identity("rsa")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "A12UEL5L", "AGE-SECRET-KEY-1", X25519_TEXT.lower(), X25519_TEXT[:-1], X25519_RECIPIENT]
)
def test_not_an_identity(text: str) -> None:
    """What is not an identity is refused."""
    with pytest.raises(KeyFormatError):
        age.parse_identity(text)


@pytest.mark.parametrize("text", ["", "age1", X25519_RECIPIENT.upper(), X25519_RECIPIENT[:-1], "a12uel5l"])
def test_not_a_recipient(text: str) -> None:
    """What is not a recipient is refused."""
    with pytest.raises(KeyFormatError):
        age.parse_recipient(text)


def test_an_identity_is_not_taken_for_a_recipient() -> None:
    """A secret in the place of a recipient is refused, and not repeated in the message."""
    with pytest.raises(KeyFormatError) as caught:
        age.parse_recipient(X25519_TEXT)

    assert "GFPYYSJZ" not in str(caught.value).upper()


@pytest.mark.parametrize("text", [X25519_TEXT, HYBRID_TEXT])
def test_message_never_repeats_the_secret(text: str) -> None:
    """An error about an identity does not hold its text, nor do the errors behind it."""
    with pytest.raises(KeyFormatError) as caught:
        age.parse_identity(text.replace("J", "K", 1))

    assert text[20:40] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "identity",
    [age.parse_identity(X25519_TEXT), age.parse_identity(HYBRID_TEXT), age.Passphrase("kata sandi")],
    ids=lambda identity: type(identity).__name__,
)
class TestSecrets:
    """No secret leaves an identity by accident."""

    def test_not_in_repr(self, identity: age.Identity) -> None:
        """Neither repr nor str shows the secret."""
        shown = f"{identity!r} {identity!s}"

        assert f"{type(identity).__name__}(...) {type(identity).__name__}(...)" == shown

    def test_not_pickled(self, identity: age.Identity) -> None:
        """Pickling is refused, by every protocol."""
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(identity, protocol)

    def test_not_copied(self, identity: age.Identity) -> None:
        """Copies go the way of pickles."""
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(identity)

    def test_no_dict(self, identity: age.Identity) -> None:
        """There is no attribute dictionary, which debuggers and error reporters like to print."""
        assert not hasattr(identity, "__dict__")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_key_of_wrong_size(size: int) -> None:
    """Keys of another size than the format's are refused."""
    for kind in (age.X25519Identity, age.HybridIdentity, age.X25519Recipient, age.HybridRecipient):
        with pytest.raises(KeyFormatError, match="bytes"):
            kind(bytes(size))


def test_recipient_of_low_order() -> None:
    """Nothing is sealed to a point of low order: everybody could open it."""
    with pytest.raises(KeyFormatError, match="not a usable"):
        age.encrypt(b"", [age.X25519Recipient(bytes(32))])


def test_hybrid_recipient_without_a_key() -> None:
    """The ML-KEM half of a hybrid recipient is checked (FIPS 203, section 7.2)."""
    with pytest.raises(KeyFormatError, match="ML-KEM"):
        age.HybridRecipient(b"\xff" * 1216)


def test_recipients_are_values() -> None:
    """Recipients are equal if they are the same key, and can be members of a set."""
    identity, other = age.generate_identity(), age.generate_identity("x25519")

    assert {identity.recipient} == {age.parse_recipient(str(identity.recipient))}
    assert identity.recipient != other.recipient
    assert {other.recipient} == {age.parse_recipient(str(other.recipient))}


def test_repr_of_recipients() -> None:
    """A recipient shows which key it is; the long one by a digest."""
    classic, hybrid = age.parse_identity(X25519_TEXT).recipient, age.parse_identity(HYBRID_TEXT).recipient

    assert f"X25519Recipient({X25519_RECIPIENT})" == repr(classic)
    assert repr(hybrid).startswith("HybridRecipient(sha256=")
    assert len(repr(hybrid)) < 60


def test_a_passphrase_is_its_recipient() -> None:
    """A passphrase seals as it opens."""
    words = age.Passphrase("kata sandi")

    assert words is words.recipient


def test_a_stanza_is_words() -> None:
    """A stanza whose arguments the header could not carry is refused when it is made."""
    from ktpsync.errors import HeaderError

    for args in ((), ("",), ("a b",), ("a\n",), ("é",)):
        with pytest.raises(HeaderError):
            age.Stanza(args=args, body=b"")
