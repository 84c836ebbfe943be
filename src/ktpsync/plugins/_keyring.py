"""Secrets from the system's keyring: Windows Credential Locker, macOS Keychain, Secret Service, KWallet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.errors import ConfigError
from ktpsync.plugins._hookspecs import hookimpl
from ktpsync.plugins._spec import SecretProvider

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def ktpsync_secret_providers() -> Iterator[SecretProvider]:
    """Offer the keyring."""
    yield SecretProvider(
        name="keyring",
        api_version=1,
        summary="Secrets from the system's keyring, as service/name.",
        read="ktpsync.plugins._keyring:read",
    )


def read(reference: str) -> str:
    """Return the secret of ``service/name``.

    Raises:
        ConfigError: There is no such entry, or no keyring that can be used.
    """
    try:
        import keyring  # noqa: PLC0415 - an optional package
        import keyring.errors  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            'secrets from the keyring need one more package: pip install "ktpsync[keyring]"'
        ) from None
    service, _, user = reference.rpartition("/")
    if not service or not user:
        raise ConfigError('expected { keyring = "service/name" }')
    try:
        found = keyring.get_password(service, user)
    except keyring.errors.KeyringLocked:
        raise ConfigError("the keyring is locked; unlock it, or log in to the desktop") from None
    except keyring.errors.NoKeyringError:
        raise ConfigError(
            'this session has no keyring; a service without a desktop takes { file = "path" } or { env = "NAME" }'
        ) from None
    except keyring.errors.KeyringError as error:
        raise ConfigError(f"the keyring cannot be read ({type(error).__name__})") from None
    if found is None:
        raise ConfigError(
            f"the keyring has no entry {reference!r}; add it with: keyring set {service} {user}"
        )
    return found
