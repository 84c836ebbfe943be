"""Identity files: text as ``age-keygen`` writes it, alone or sealed with a passphrase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync import files
from ktpsync.age._armor import BEGIN
from ktpsync.age._header import is_binary_age
from ktpsync.age._parse import parse_identity
from ktpsync.age._passphrase import Passphrase
from ktpsync.age._seal import decrypt, encrypt
from ktpsync.clock import SystemClock, utc_from_ms, utc_text
from ktpsync.discreet import discreet
from ktpsync.errors import AgeError, KeyFileError, KeyFormatError, NoMatchingIdentityError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ktpsync.age._hybrid import HybridIdentity
    from ktpsync.age._x25519 import X25519Identity
    from ktpsync.clock import Clock

_SYSTEM_CLOCK: Final = SystemClock()
_MODE: Final = 0o600
_MAX_BYTES: Final = 1 << 20


@discreet
def read_identities(
    path: str | os.PathLike[str], *, passphrase: str | Passphrase | Callable[[], str] | None = None
) -> tuple[HybridIdentity | X25519Identity, ...]:
    """Read all identities of a file: one a line; empty lines and lines that begin with ``#`` are skipped.

    Args:
        path: The file. On POSIX its mode must keep everybody but its owner out.
        passphrase: The passphrase, if the file is sealed with one. A :class:`Passphrase` can allow more work;
            a function is asked for it only if the file is sealed.

    Raises:
        KeyFileError: It is missing, damaged, readable by others, or sealed and no passphrase was given.
        NoMatchingIdentityError: The passphrase is another one.
    """
    path = Path(path)
    data = _read_private(path)
    if is_binary_age(data) or BEGIN in data:
        if passphrase is None:
            raise KeyFileError(f"{path} is sealed with a passphrase; it is needed to read the identity.")
        data = _open(path, data, passphrase() if callable(passphrase) else passphrase)
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
        identities = tuple(parse_identity(line) for line in lines if line and not line.startswith("#"))
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is not an identity file: it is not text.") from None
    except KeyFormatError as error:
        raise KeyFileError(f"{path} has a line that is not an identity. {error}") from None
    if not identities:
        raise KeyFileError(f"{path} has no identity in it; it should hold a line AGE-SECRET-KEY-...")
    return identities


@discreet
def read_identity_file(
    path: str | os.PathLike[str], *, passphrase: str | Passphrase | Callable[[], str] | None = None
) -> HybridIdentity | X25519Identity:
    """Read the one identity of a file.

    Args:
        path: The file. On POSIX its mode must keep everybody but its owner out.
        passphrase: The passphrase, if the file is sealed with one. A :class:`Passphrase` can allow more work;
            a function is asked for it only if the file is sealed.

    Raises:
        KeyFileError: It is missing, damaged, readable by others, sealed and no passphrase was given, or has
            several identities (:func:`read_identities` reads those).
        NoMatchingIdentityError: The passphrase is another one.
    """
    identities = read_identities(path, passphrase=passphrase)
    if len(identities) > 1:
        raise KeyFileError(
            f"{path} has {len(identities)} identities, not one; read it with read_identities()."
        )
    return identities[0]


@discreet
def write_identity_file(
    path: str | os.PathLike[str],
    identity: HybridIdentity | X25519Identity,
    *,
    passphrase: str | Passphrase | None = None,
    clock: Clock = _SYSTEM_CLOCK,
) -> None:
    """Write a new identity file as ``age-keygen`` does, readable by its owner alone.

    An existing file is never overwritten.

    Args:
        path: The new file.
        identity: What it is to hold.
        passphrase: Seals the file, in armor; ``age`` reads it so too. A :class:`Passphrase` sets the cost as well.
        clock: Gives the date in the comment.

    Raises:
        KeyFileError: The file exists.
        KeyFormatError: The passphrase is empty.
        OSError: The file cannot be written.
    """
    path = Path(path)
    created = utc_text(utc_from_ms(clock.now_ms()), "seconds")
    lines = (f"# created: {created}", f"# public key: {identity.recipient}", identity.to_text(), "")
    data = "\n".join(lines).encode("ascii")
    if passphrase is not None:
        data = encrypt(data, _words(passphrase), armor=True)
    try:
        files.write_atomic(path, data, mode=_MODE, replace=False)
    except FileExistsError:
        raise KeyFileError(
            f"{path} exists already, and an identity is never overwritten. Choose another name."
        ) from None


def _words(passphrase: str | Passphrase) -> Passphrase:
    return passphrase if isinstance(passphrase, Passphrase) else Passphrase(passphrase)


def _open(path: Path, data: bytes, passphrase: str | Passphrase) -> bytes:
    try:
        return decrypt(data, _words(passphrase))
    except NoMatchingIdentityError:
        raise NoMatchingIdentityError(f"The passphrase does not open {path}; try it again.") from None
    except AgeError as error:
        raise KeyFileError(f"The sealed identity file {path} cannot be opened. {error}") from error


def _read_private(path: Path) -> bytes:
    try:
        with files.open_private(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileError(
            f"The identity file {path} is missing. Fetch it from where it is kept locked away."
        ) from None
    except OSError as error:
        raise KeyFileError(f"The identity file {path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_BYTES:
        raise KeyFileError(f"{path} is too big for an identity file.")
    return data
