"""What a request shows to prove which office it comes from: a fixed token, or one that is fetched."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus, urlencode

from ktpsync.backends.http._failures import document_of, refuse
from ktpsync.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.backends.http._answer import Answer
    from ktpsync.backends.http._failures import Peer
    from ktpsync.backends.http._settings import HttpSettings, OAuthSettings
    from ktpsync.clock import Clock

_UNSAID_LIFETIME: Final = 300.0
"""Seconds that a token is used when the service does not say how long it is good."""

_SHARE_USED: Final = 0.9
"""Which part of a token's life it is used for, so that none ends on the way."""


class FixedToken:
    """A bearer token from the configuration, or none.

    Args:
        settings: The destination's settings.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._token = None if settings.token is None else settings.token.reveal()

    def current(self) -> str | None:
        """Return the token to show."""
        return self._token

    def replace(self, _refused: str | None) -> bool:
        """Say whether there is another one than the refused: never."""
        return False


class FetchedToken:
    """A bearer token that is fetched by client credentials (RFC 6749, section 4.4), once for all threads.

    Args:
        settings: Where, and as whom.
        post: Sends a form to the token service, with these headers.
        peer: The token service, for messages.
        clock: The clock to ask.
    """

    def __init__(
        self,
        settings: OAuthSettings,
        post: Callable[[dict[str, str], bytes], Answer],
        *,
        peer: Peer,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._post = post
        self._peer = peer
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until = 0.0

    def current(self) -> str | None:
        """Return a token that is good; who comes while it is fetched waits for the same one.

        Raises:
            BackendError: The token service gave none.
        """
        with self._lock:
            if self._token is None or self._clock.monotonic() >= self._good_until:
                self._token, lifetime = self._fetch()
                self._good_until = self._clock.monotonic() + lifetime * _SHARE_USED
            return self._token

    def replace(self, refused: str | None) -> bool:
        """Forget the token that was refused, so that another is fetched; a newer one stays."""
        with self._lock:
            if self._token == refused:
                self._token = None
        return True

    def _fetch(self) -> tuple[str, float]:
        settings, peer = self._settings, self._peer
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret.reveal())}"
        form = {"grant_type": "client_credentials", **({"scope": settings.scope} if settings.scope else {})}
        headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = self._post(headers, urlencode(form).encode("ascii"))
        if answer.status in {400, 401} and "json" in answer.headers.get("Content-Type", ""):
            error = peer.reason(str(document_of(peer, answer).get("error", "")))
            raise AuthError(
                f"{peer.name}: the token service {peer.host} gives no token ({error or answer.status}). Correct "
                "client_id, client_secret or scope under oauth."
            )
        if answer.status != 200:  # noqa: PLR2004 - OK
            refuse(peer, answer, self._clock)
        document = document_of(peer, answer)
        token, lifetime = document.get("access_token"), document.get("expires_in", _UNSAID_LIFETIME)
        kind = str(document.get("token_type", "")).lower()
        if not isinstance(token, str) or not token or kind != "bearer":
            raise AuthError(
                f"{peer.name}: the token service {peer.host} gives something other than a bearer token. Check "
                "token_url under oauth."
            )
        return token, float(lifetime) if isinstance(lifetime, int | float) else _UNSAID_LIFETIME
