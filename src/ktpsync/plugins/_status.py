"""What an HTTP status means: one table for all backends that speak HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.clock import Clock, SystemClock, moment_of_date, utc_from_ms
from ktpsync.errors import (
    AuthError,
    BackendError,
    DiskFullError,
    NotFoundError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

AGAIN: Final = "Deliveries are tried again by themselves; run a command again later."
"""Where the trouble passes: true for the courier, and for a person who waits for a command."""

_LONGEST: Final = 1e9
"""Seconds; whoever asks for more, which no calendar has, has made a mistake."""


_MEANINGS: Final[Mapping[int, tuple[type[BackendError], str]]] = {
    401: (AuthError, "the credentials are not accepted. Correct them."),
    402: (QuotaError, "an allowance is used up. Ask whoever runs the server for more, then requeue."),
    403: (AuthError, "this user may not do that there. Correct the user's rights."),
    404: (NotFoundError, "it is not there."),
    405: (AuthError, "the server does not do that at this address. Correct the address."),
    407: (AuthError, "the proxy wants a name and a password. Put them into HTTPS_PROXY."),
    408: (UnavailableError, f"the line was too slow or stood still. {AGAIN}"),
    409: (UnavailableError, f"somebody else is changing it at the moment. {AGAIN}"),
    410: (NotFoundError, "it is not there any more."),
    412: (UnavailableError, f"somebody else is changing it at the moment. {AGAIN}"),
    413: (RejectedError, "it is larger than the server takes. Ask whoever runs the server, then requeue."),
    423: (UnavailableError, f"somebody else holds a lock on it at the moment. {AGAIN}"),
    425: (UnavailableError, f"the server is not ready for it. {AGAIN}"),
    429: (ThrottledError, f"the server asks for patience. {AGAIN}"),
    501: (AuthError, "the server does not do that at this address. Correct the address."),
    507: (DiskFullError, f"the server has no room. Free some there. {AGAIN}"),
    511: (UnavailableError, "somebody between asks for a login (a captive portal or a proxy)."),
}


def error_for_status(
    status: int, said: str, headers: Mapping[str, str] | None = None, *, clock: Clock | None = None
) -> BackendError:
    """Return the error that an unsuccessful HTTP answer means, ready to be raised.

    ========================  ==========================  ====================================
    status                    error                       what ktpsync does
    ========================  ==========================  ====================================
    401, 403, 405, 407, 501   AuthError                   stops the destination, tells a person
    402                       QuotaError                  sets the packet aside
    404, 410                  NotFoundError               depends on who asked
    429; 503 with Retry-After ThrottledError              waits as long as it asks
    507                       DiskFullError               waits for the destination
    2xx, 3xx, 408, 409, 412,  UnavailableError            waits for the destination
    423, 425, 511, other 5xx
    all others, such as 400   RejectedError               sets the packet aside
    ========================  ==========================  ====================================

    A 2xx is one that was not to be expected, such as 200 where WebDAV answers 207: somebody else answers.
    A redirection is never followed: packets go to the configured address only. Whether other bytes are held
    (:class:`ktpsync.errors.ConflictError`) no status proves; compare them.

    Args:
        status: The status.
        said: What the message begins with: who was asked for what, such as ``cloud: PUT packets/a``.
        headers: The answer's headers, for ``Retry-After``.
        clock: The clock that a ``Retry-After`` with a date is compared with, where the answer has no ``Date``.
    """
    told = f"{said}: the answer was {status}"
    seconds = retry_after(headers or {}, clock or SystemClock())
    if seconds is not None and status in {409, 423, 425, 429, 503}:
        return ThrottledError(f"{told}: the server asks to wait {seconds:.0f} seconds.", retry_after=seconds)
    if status in _MEANINGS:
        kind, words = _MEANINGS[status]
        return kind(f"{told}: {words}")
    if 200 <= status < 300:  # noqa: PLR2004 - somebody else's success
        return UnavailableError(
            f"{told}, which is no error, but not what this server answers to that. A captive portal or a proxy may "
            "answer in its place; or correct the address."
        )
    if 300 <= status < 400:  # noqa: PLR2004 - no error, so a redirection
        return UnavailableError(
            f"{told}, a redirection, which is never followed. A captive portal or a proxy may want a login; or "
            "correct the address."
        )
    if not 400 <= status < 500:  # noqa: PLR2004 - the server's fault
        return UnavailableError(f"{told}: the server has trouble of its own. {AGAIN}")
    return RejectedError(f"{told}: the server refuses it. See its log, correct, and requeue.")


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, in either form (RFC 9110, 10.2.3), or ``None``.

    Args:
        headers: The headers of an answer, looked up by their usual spelling.
        clock: The clock for an answer without a ``Date``.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST)
    moment = moment_of_date(value)
    if moment is None:
        return None
    # Measured against the server's own clock where it tells, so that a wrong clock here does no harm.
    now = moment_of_date(headers.get("Date", "")) or utc_from_ms(clock.now_ms())
    return max(0.0, (moment - now).total_seconds())
