"""What can go wrong on the way to the centre and back, as what to do next."""

from __future__ import annotations

import contextlib
import email.utils
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from ktpsync.errors import AuthError, ConflictError, RejectedError, ThrottledError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from ktpsync.clock import Clock

CONFLICT_TYPE: Final = "urn:ktpsync:problem:other-bytes"
"""Problem type (RFC 9457): other bytes are held under this packet id."""

DAMAGED_TYPE: Final = "urn:ktpsync:problem:damaged-in-transit"
"""Problem type: the body does not have its Content-Digest."""

_LONGEST_DETAIL: Final = 300


class DamagedInTransitError(UnavailableError):
    """The centre received other bytes than were announced."""


@contextlib.contextmanager
def translated(name: str, host: str) -> Iterator[None]:
    """Turn urllib3's errors into a sentence about what is wrong with the line.

    Args:
        name: The destination, for messages.
        host: The centre's host name, for messages.

    Raises:
        UnavailableError: Always, where the centre could not be asked.
    """
    try:
        yield
    except HTTPError as error:
        raise UnavailableError(f"{name}: {_sentence(host, error)} It is tried again by itself.") from error


def _sentence(host: str, error: HTTPError) -> str:  # noqa: PLR0911 - one return a cause
    match error:
        case NameResolutionError():
            return f"the name {host} cannot be resolved. Is this machine online, and is the address right?"
        case ProxyError():
            return f"the proxy on the way to {host} does not work: {error.original_error}."
        case SSLError():
            return (
                f"the connection to {host} is not trusted: {error}. Check this machine's clock and the setting "
                "ca_file; somebody else may be answering."
            )
        case NewConnectionError():
            return f"{host} refuses connections or cannot be reached. The centre is down or the address is wrong."
        case ConnectTimeoutError():
            return f"{host} does not answer in time. The line or the centre is down."
        case ReadTimeoutError():
            return f"{host} took the request and gave no answer in time."
        case ProtocolError() | InvalidHeader():
            return f"the connection to {host} broke off in the middle."
        case _:
            return f"the exchange with {host} failed: {error}."


def document_of(name: str, host: str, answer: BaseHTTPResponse) -> dict[str, object]:
    """Return the JSON object of a successful answer.

    Raises:
        UnavailableError: It is something else; whoever answered is not the centre, or not well.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise UnavailableError(
            f"{name}: a web page came instead of {host}'s answer. Somebody between asks for a login "
            "(a captive portal or a proxy); open a browser on this machine."
        )
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        what = "nothing" if not answer.data else "something that is not JSON"
        raise UnavailableError(f"{name}: {host} answered {what}. It is tried again by itself.")
    return document


def not_understood(name: str, host: str) -> UnavailableError:
    """Return the error for an answer that is JSON and yet not what the interface says."""
    return UnavailableError(
        f"{name}: {host} answered something that ktpsync does not understand. It is tried again; if this stays, "
        "compare the versions of both sides."
    )


def refuse(name: str, host: str, answer: BaseHTTPResponse, clock: Clock) -> NoReturn:
    """Raise what an unsuccessful answer means.

    Raises:
        BackendError: By what to do next, from the status and the problem type (RFC 9457).
    """
    problem_type, detail = _problem(answer)
    said = f"{name}: {host} answered {answer.status}{f' ({detail})' if detail else ''}"
    match answer.status:
        case 401 | 403 | 407:
            raise AuthError(
                f"{said}: the credentials are not accepted. Renew the token, then resume the destination."
            )
        case 404 | 405 | 501:
            raise AuthError(
                f"{said}: this is not the centre's address. Correct the setting 'url', then resume."
            )
        case 422 if problem_type == CONFLICT_TYPE:
            raise ConflictError(f"{said}: the centre holds other bytes under this packet id. Ask the centre.")
        case 400 if problem_type == DAMAGED_TYPE:
            raise DamagedInTransitError(f"{said}: the bytes were damaged on the way. They are sent again.")
        case 408 | 409 | 423 | 425 | 429:
            raise ThrottledError(f"{said}; it is tried again later.", retry_after=retry_after(answer, clock))
        case 503 if (seconds := retry_after(answer, clock)) is not None:
            raise ThrottledError(f"{said}; it asks to wait {seconds:.0f} seconds.", retry_after=seconds)
        case status if status < 400:  # noqa: PLR2004 - not an error, so a redirection
            raise UnavailableError(
                f"{said}, a redirection, which is never followed: packets go to the configured address only. "
                "A captive portal or a proxy may want a login; or correct the setting 'url'."
            )
        case status if status >= 500:  # noqa: PLR2004 - the server's fault
            raise UnavailableError(f"{said}: the centre has trouble of its own. It is tried again by itself.")
        case _:
            raise RejectedError(
                f"{said}: the centre refuses this packet. See its reason, correct, and requeue."
            )


def retry_after(answer: BaseHTTPResponse, clock: Clock) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, in either form (RFC 9110, 10.2.3), or ``None``."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Measured against the server's own clock where it tells, so that a wrong clock here does no harm.
    try:
        now = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        now = datetime.fromtimestamp(clock.now_ms() / 1000, tz=UTC)
    return max(0.0, (moment - now).total_seconds())


def _problem(answer: BaseHTTPResponse) -> tuple[str, str]:
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return "", ""
    try:
        document = json.loads(answer.data)
        detail = str(document.get("detail") or document.get("title") or "")
        return str(document.get("type", "")), detail[:_LONGEST_DETAIL]
    except (ValueError, AttributeError):
        return "", ""
