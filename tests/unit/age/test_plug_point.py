"""The plug point, by a worked example: an office that keeps its key on a smart card.

The card makes and keeps a P-256 key, as cards that are certified today do. It never gives the key out:
it opens a wrapped file key when its PIN was presented. The rest of the age file stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ktpsync import age
from ktpsync.errors import HeaderError, NoMatchingIdentityError

if TYPE_CHECKING:
    from collections.abc import Sequence

TYPE: Final = "card.example.go.id/p256"
SUITE: Final = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
SHARE_BYTES: Final = 65


class Card:
    """A smart card: what is inside cannot be read out."""

    def __init__(self, pin: str) -> None:
        self.__key = ec.generate_private_key(ec.SECP256R1())
        self.__pin = pin
        self.public_key = self.__key.public_key()
        self.wrong_pins = 0

    def open(self, sealed: bytes, pin: str) -> bytes:
        """Open what was sealed to the card."""
        if not hmac.compare_digest(pin, self.__pin):
            self.wrong_pins += 1
            raise PermissionError("wrong PIN")
        return SUITE.decrypt(sealed, self.__key, TYPE.encode())


class CardRecipient(age.Recipient):
    """The public half: it is all that a station needs."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self.key = key
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.tag = hashlib.sha256(point).hexdigest()[:8]

    def wrap(self, file_key: bytes) -> Sequence[age.Stanza]:
        """Seal the file key; the tag lets the card's owner see that the stanza is for this card."""
        sealed = SUITE.encrypt(file_key, self.key, TYPE.encode())
        share = base64.b64encode(sealed[:SHARE_BYTES]).decode().rstrip("=")
        return [age.Stanza(args=(TYPE, self.tag, share), body=sealed[SHARE_BYTES:])]


class CardIdentity(age.Identity):
    """The card in its reader, with the PIN that was typed in."""

    def __init__(self, card: Card, pin: str) -> None:
        self._card = card
        self._pin = pin

    @property
    def recipient(self) -> CardRecipient:
        """The public half."""
        return CardRecipient(self._card.public_key)

    def unwrap(self, stanzas: Sequence[age.Stanza]) -> bytes | None:
        """Let the card open the stanza that bears its tag."""
        for stanza in stanzas:
            if stanza.args[0] != TYPE:
                continue
            if len(stanza.args) != 3:
                raise HeaderError("A card's stanza is malformed.")
            _, tag, share = stanza.args
            if tag == self.recipient.tag:
                try:
                    return self._card.open(base64.b64decode(share + "==") + stanza.body, self._pin)
                except InvalidTag:
                    return None
        return None


@pytest.fixture
def card() -> Card:
    """Return a new card with its PIN set."""
    return Card("123456")


def test_card_opens(card: Card) -> None:
    """What is sealed to the card, the card opens; and so does the recovery key sealed to beside it."""
    recovery = age.generate_identity("x25519")
    sealed = age.encrypt(b"secret", [CardRecipient(card.public_key), recovery.recipient])

    assert b"secret" == age.decrypt(sealed, [CardIdentity(card, "123456")])
    assert b"secret" == age.decrypt(sealed, [recovery])


def test_other_card_does_not_open(card: Card) -> None:
    """Another card has another tag, is not asked for its PIN, and the next identity is tried."""
    other = Card("000000")
    sealed = age.encrypt(b"secret", [CardRecipient(card.public_key)])

    with pytest.raises(NoMatchingIdentityError):
        age.decrypt(sealed, [CardIdentity(other, "wrong")])

    assert 0 == other.wrong_pins
    assert b"secret" == age.decrypt(sealed, [CardIdentity(other, "wrong"), CardIdentity(card, "123456")])


def test_error_of_the_card_is_seen(card: Card) -> None:
    """A wrong PIN is not taken for "not my file": the card's own error reaches the caller."""
    sealed = age.encrypt(b"secret", [CardRecipient(card.public_key)])

    with pytest.raises(PermissionError, match="wrong PIN"):
        age.decrypt(sealed, [CardIdentity(card, "1234")])


def test_card_is_not_quantum_safe(card: Card) -> None:
    """A card of P-256 does not go beside a hybrid key, unless it claims to be of the same strength."""
    hybrid = age.generate_identity()

    with pytest.raises(HeaderError, match="do not go together"):
        age.encrypt(b"secret", [CardRecipient(card.public_key), hybrid.recipient])


def test_rotation_to_the_card(card: Card, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Packets that were sealed to an old key are given to the card by rewriting their headers."""
    old = age.generate_identity("x25519")
    folder = tmp_path_factory.mktemp("packets")
    (folder / "old").write_bytes(age.encrypt(b"secret", [old.recipient]))

    with (folder / "old").open("rb") as src, (folder / "new").open("wb") as dst:
        age.rewrap(src, dst, old, [CardRecipient(card.public_key)])

    assert b"secret" == age.decrypt((folder / "new").read_bytes(), CardIdentity(card, "123456"))


def test_identity_that_finds_another_key(card: Card) -> None:
    """A faulty identity, whose key is not that of the file, is an error and not an opened file."""

    class Faulty(CardIdentity):
        def unwrap(self, stanzas: Sequence[age.Stanza]) -> bytes | None:
            return super().unwrap(stanzas[:1]) and b"short"

    with pytest.raises(HeaderError, match="16 bytes"):
        age.decrypt(age.encrypt(b"", [CardRecipient(card.public_key)]), Faulty(card, "123456"))


def test_card_identity_is_not_pickled(card: Card) -> None:
    """The protection of secrets comes with the base class."""
    import pickle

    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(CardIdentity(card, "123456"))
    assert "123456" not in repr(CardIdentity(card, "123456"))
