"""Tagged recipients: sealed here, and opened by a token that this test plays."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, Final

import pyrage
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ktpsync import age
from ktpsync.errors import HeaderError, KeyFormatError, NoMatchingIdentityError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Examples of the specification; the second fills a page there.
CLASSIC_TEXT: Final = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e"
SUITE: Final = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def unb64(text: str) -> bytes:
    """Decode what has no padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4))


class Token(age.Identity):
    """A token with a P-256 key in it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.asked = 0

    @property
    def recipient(self) -> age.TagRecipient | age.HybridTagRecipient:
        """The public half."""
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return age.TagRecipient(point)

    def unwrap(self, stanzas: Sequence[age.Stanza]) -> bytes | None:
        """Open the first stanza that bears the tag."""
        for stanza in stanzas:
            if self.recipient.is_for(stanza):
                self.asked += 1
                return self.open(unb64(stanza.args[2]), stanza.body)
        return None

    def open(self, encapsulated: bytes, body: bytes) -> bytes:
        """Do what is done inside."""
        return SUITE.decrypt(encapsulated + body, self.key, b"age-encryption.org/p256tag")


class HybridToken(Token):
    """A token with a P-256 and an ML-KEM-768 key in it."""

    def __init__(self) -> None:
        super().__init__()
        self.mlkem = MLKEM768PrivateKey.generate()

    @property
    def point(self) -> bytes:
        """The P-256 half of the public key."""
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def recipient(self) -> age.HybridTagRecipient:
        """The public half."""
        return age.HybridTagRecipient(self.mlkem.public_key().public_bytes_raw() + self.point)

    def open(self, encapsulated: bytes, body: bytes) -> bytes:
        """Do what is done inside: HPKE, written out a second time (RFC 9180, section 5)."""
        sealed, share = encapsulated[:1088], encapsulated[1088:]
        shared = self.mlkem.decapsulate(sealed)
        shared += self.key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), share)
        )
        suite = b"HPKE-v1HPKE\x00\x50\x00\x01\x00\x03"
        info = b"age-encryption.org/mlkem768p256tag"
        context = b"\0" + hmac.digest(bytes(32), suite + b"psk_id_hash", "sha256")
        context += hmac.digest(bytes(32), suite + b"info_hash" + info, "sha256")
        combined = hashlib.sha3_256(shared + share + self.point + b"MLKEM768-P256").digest()
        secret = hmac.digest(combined, suite + b"secret", "sha256")
        key, nonce = (
            hmac.digest(secret, struct.pack(">H", size) + suite + label + context + b"\1", "sha256")[:size]
            for label, size in ((b"key", 32), (b"base_nonce", 12))
        )
        return ChaCha20Poly1305(key).decrypt(nonce, body, None)


@pytest.fixture(params=[Token, HybridToken])
def token(request: pytest.FixtureRequest) -> Token:
    """Return a token of each kind."""
    token: Token = request.param()
    return token


def test_token_opens(token: Token) -> None:
    """A station seals to the text of the recipient alone, and the token opens it."""
    recipient = age.parse_recipient(str(token.recipient))

    assert token.recipient == recipient
    assert b"secret" == age.decrypt(age.encrypt(b"secret", [recipient]), token)


def test_token_opens_what_another_program_sealed(token: Token) -> None:
    """The token opens what pyrage sealed to the same text: both read the specification alike."""
    module = pyrage.tagpq if isinstance(token, HybridToken) else pyrage.tag

    sealed = pyrage.encrypt(b"secret", [module.Recipient.from_str(str(token.recipient))])

    assert b"secret" == age.decrypt(sealed, token)


def test_token_is_asked_for_its_own_alone(token: Token) -> None:
    """The tag spares the holder of another token the question for the PIN."""
    other = type(token)()

    with pytest.raises(NoMatchingIdentityError):
        age.decrypt(age.encrypt(b"secret", [token.recipient]), other)

    assert 0 == other.asked


def test_strengths_are_not_mixed() -> None:
    """A hybrid token goes beside hybrid keys, and a classic one beside classic keys."""
    hybrid, classic = age.generate_identity(), age.generate_identity("x25519")

    assert b"x" == age.decrypt(age.encrypt(b"x", [HybridToken().recipient, hybrid.recipient]), hybrid)
    assert b"x" == age.decrypt(age.encrypt(b"x", [Token().recipient, classic.recipient]), classic)
    with pytest.raises(HeaderError, match="do not go together"):
        age.encrypt(b"x", [HybridToken().recipient, Token().recipient])
    with pytest.raises(HeaderError, match="do not go together"):
        age.encrypt(b"x", [Token().recipient, hybrid.recipient])


def test_example_of_the_specification() -> None:
    """The recipient of the specification reads and comes out as it stands there."""
    assert CLASSIC_TEXT == str(age.parse_recipient(CLASSIC_TEXT))


def test_malformed_stanzas(token: Token) -> None:
    """A stanza of the right type with wrong arguments or body is refused."""
    good = token.recipient.wrap(bytes(16))[0]
    kind, tag, share = good.args

    for args in (
        (kind,),
        (kind, tag),
        (kind, tag, share, "x"),
        (kind, tag + "AA", share),
        (kind, tag, share[:-4]),
        (kind, "=", share),
    ):
        with pytest.raises(HeaderError, match="malformed"):
            token.recipient.is_for(age.Stanza(args=args, body=good.body))
    with pytest.raises(HeaderError, match="malformed"):
        token.recipient.is_for(age.Stanza(args=good.args, body=good.body + b"x"))
    assert not token.recipient.is_for(age.Stanza(args=("X25519", tag, share), body=good.body))


@pytest.mark.parametrize("raw", [b"", bytes(33), b"\2" + b"\xff" * 32, b"\5" + bytes(32)])
def test_not_a_classic_key(raw: bytes) -> None:
    """Bytes that are no point of the curve are refused."""
    with pytest.raises(KeyFormatError):
        age.TagRecipient(raw)


def test_not_a_hybrid_key() -> None:
    """Both halves of the hybrid recipient are checked."""
    good = HybridToken().recipient.raw

    for raw in (
        good[:-1],
        b"\xff" * 1184 + good[1184:],
        good[:1184] + bytes(65),
        good[:-1] + bytes([good[-1] ^ 1]),
    ):
        with pytest.raises(KeyFormatError):
            age.HybridTagRecipient(raw)


def test_recipients_are_values(token: Token) -> None:
    """Equal keys are equal recipients, and the long one has a short repr."""
    assert {token.recipient} == {token.recipient}
    assert token.recipient != type(token)().recipient
    assert len(repr(token.recipient)) < 100
