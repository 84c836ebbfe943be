"""Settings of the central service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from ktpsync.plugins import ByteSize, Duration, Secret

if TYPE_CHECKING:
    from attrs import Attribute

_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _address(_settings: object, _attribute: Attribute[str], url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError("expected an address such as https://central.example/") from None
    if not fits or parts.query or parts.fragment:
        raise ValueError("expected an address such as https://central.example/")
    if parts.username is not None:
        raise ValueError(
            "expected no name or password in the address; use token, oauth or client_certificate"
        )
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
        raise ValueError("expected https: the token would travel in clear")


@frozen(kw_only=True)
class OAuthSettings:
    """Where tokens are fetched by client credentials (RFC 6749, section 4.4).

    Args:
        token_url: The address of the token service; ``https``, or ``http`` on this machine itself.
        client_id: The client's id.
        client_secret: The client's secret.
        scope: The scopes to ask for, separated by spaces, where the service wants them.
    """

    token_url: str = field(validator=_address)
    client_id: str
    client_secret: Secret
    scope: str = ""


@frozen(kw_only=True)
class HttpSettings:
    """Settings of the central service.

    Args:
        url: Its address; ``https``, or ``http`` on this machine itself.
        token: Bearer token (RFC 6750).
        oauth: Where to fetch tokens instead.
        client_certificate: PEM file of this office's certificate, for centres that ask for one (mutual TLS).
        client_key: PEM file of the certificate's private key, if it is not in the same file.
        client_key_password: Password of that key, if it has one.
        ca_file: PEM file of the certificate authorities to trust instead of the system's.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for an answer, then for each 16 KiB of it, or for the line to take more bytes.
        ask_first_from: Packets of this size or more begin with the question how much of them the centre has already.
            Smaller ones are sent right away, and go on where they stopped if the line breaks.
        danger_accept_any_certificate: Send to whoever answers, without checking that it is the centre. For a test
            bench only: anybody on the way can take the token and refuse or swallow packets.
    """

    url: str = field(validator=_address)
    token: Secret | None = None
    oauth: OAuthSettings | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_key_password: Secret | None = None
    ca_file: Path | None = None
    connect_timeout: Duration = Duration(10)
    read_timeout: Duration = Duration(120)
    ask_first_from: ByteSize = ByteSize(512 << 10)
    danger_accept_any_certificate: bool = False

    def __attrs_post_init__(self) -> None:
        """Check what only makes sense together."""
        if self.token is not None and self.oauth is not None:
            raise ValueError("give token or oauth, not both")
        if self.client_certificate is None and (self.client_key or self.client_key_password):
            raise ValueError("client_key and client_key_password need client_certificate")
