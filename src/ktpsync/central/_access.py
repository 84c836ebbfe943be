"""Who is asking: bearer tokens, tokens fetched by client credentials, and client certificates."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote_plus

from cryptography import x509
from starlette.responses import JSONResponse

from ktpsync.central._body import read_body
from ktpsync.central._problem import EXPIRED, Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ktpsync.central._settings import CentralSettings

PEER_CERTIFICATE: Final = "ktpsync_peer_certificate"
"""Key of the client's certificate (DER) in a request's state."""

_FORM_BYTES: Final = 8192
_ISSUED: Final = 10_000
"""Tokens remembered at a time; the oldest is forgotten first."""


class Access:
    """Tells which office a request comes from.

    Args:
        settings: Tokens, clients, and when tokens end.
    """

    def __init__(self, settings: CentralSettings) -> None:
        self._settings = settings
        self._issued: dict[str, tuple[str, float]] = {}

    def office(self, request: Request) -> str:
        """Return the office, by its token, else by its certificate.

        Raises:
            Problem: Neither is accepted.
        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._of_token(given.strip())
        certificate: bytes | None = getattr(request.state, PEER_CERTIFICATE, None)
        if certificate is not None and not scheme:
            return _of_certificate(certificate)
        raise Problem(
            401,
            "Give a bearer token, or a client certificate.",
            headers={"WWW-Authenticate": 'Bearer realm="ktpsync"'},
        )

    def _of_token(self, given: str) -> str:
        for token, office in self._settings.tokens.items():
            if hmac.compare_digest(token.encode(), given.encode()):
                ends = self._settings.expiries.get(token)
                if ends is not None and ends <= datetime.now(UTC):
                    raise _expired()
                return office
        office, ends_at = self._issued.get(given, ("", 0.0))
        if not office:
            raise _not_accepted("The bearer token is not known.", "about:blank")
        if ends_at <= time.monotonic():
            raise _expired()
        return office

    async def issue(self, request: Request) -> Response:
        """Hand out a token for client credentials."""
        form = parse_qs((await read_body(request, limit=_FORM_BYTES)).decode("utf-8", "replace"))
        client_id, secret = _basic(request) or (_one(form, "client_id"), _one(form, "client_secret"))
        client = self._settings.clients.get(client_id)
        expected = "" if client is None else client.secret
        if not hmac.compare_digest(expected.encode(), secret.encode()) or client is None:
            return _refusal(401, "invalid_client", "The client id or its secret is not right.")
        if _one(form, "grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "Only client_credentials is offered here.")
        token = secrets.token_urlsafe(32)
        while len(self._issued) >= _ISSUED:
            del self._issued[next(iter(self._issued))]
        self._issued[token] = (client.office, time.monotonic() + self._settings.token_lifetime)
        return JSONResponse(
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": int(self._settings.token_lifetime),
            },
            headers={"Cache-Control": "no-store"},
        )


def _not_accepted(detail: str, problem_type: str) -> Problem:
    challenge = f'Bearer realm="ktpsync", error="invalid_token", error_description="{detail}"'
    return Problem(401, detail, problem_type=problem_type, headers={"WWW-Authenticate": challenge})


def _expired() -> Problem:
    return _not_accepted("The bearer token has expired.", EXPIRED)


def _of_certificate(der: bytes) -> str:
    subject = x509.load_der_x509_certificate(der).subject
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if not names:
        raise Problem(403, "The client certificate names no office: its subject has no common name.")
    return str(names[0].value)


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    return unquote_plus(client_id), unquote_plus(secret)


def _one(form: dict[str, list[str]], name: str) -> str:
    values = form.get(name, [])
    return values[0] if len(values) == 1 else ""


def _refusal(status: int, error: str, description: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status == 401:  # noqa: PLR2004 - Unauthorized
        headers["WWW-Authenticate"] = 'Basic realm="ktpsync"'
    return JSONResponse(
        {"error": error, "error_description": description}, status_code=status, headers=headers
    )
