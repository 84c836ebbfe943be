"""The centre's side of TLS: whose certificate is turned away is told so."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.central._settings import Tls


class _TellingWhy(ssl.SSLObject):
    """One connection. asyncio drops it on a failed handshake before the alert is sent; this lets the alert out first."""

    _failed: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        if self._failed is not None:
            raise self._failed
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._failed = error
            raise ssl.SSLWantReadError from error


def context_of(tls: Tls) -> Callable[..., ssl.SSLContext]:
    """Return what makes the TLS context, in uvicorn's form.

    Raises:
        OSError: A file cannot be read or is no PEM file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslobject_class = _TellingWhy
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        # Optional, because other offices come with a token.
        context.verify_mode = ssl.CERT_OPTIONAL
    return lambda _config, _default: context
