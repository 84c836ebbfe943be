"""What the web server must do beyond its own: certificates, the last bytes of a broken line, clients that never ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ktpsync.central._access import PEER_CERTIFICATE
from ktpsync.central._body import UNREAD

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

HEAD_SECONDS = 20
"""How long a client may take over the head of its first request."""


class Connection(H11Protocol):
    """One connection to the centre."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the certificate that TLS has checked; ASGI has no place for it but the request's state."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)
        tls: Any = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        if certificate is not None:
            self.app_state = {**self.app_state, PEER_CERTIFICATE: certificate}

    def connection_lost(self, exc: Exception | None) -> None:
        """Save what arrived and was not read yet: uvicorn drops it, and an upload would have to send it again."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.scope["state"][UNREAD] = bytes(cycle.body)
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()
