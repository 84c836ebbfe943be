"""What botocore raises, as what to do next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from ktpsync.errors import (
    AuthError,
    BackendError,
    NotFoundError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_AUTH: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "401",
        "403",
    }
)
_THROTTLED: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"}
)
_QUOTA: Final = frozenset(
    {"QuotaExceeded", "EntityTooLarge", "XMinioStorageFull", "ServiceQuotaExceededException"}
)
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


def error_code(error: ClientError) -> str:
    """Return the code that the service gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of the service's answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def translated(name: str, what: str) -> Iterator[None]:
    """Turn botocore's errors into ktpsync's.

    Args:
        name: The destination, for messages.
        what: The key or action, for messages.

    Raises:
        BackendError: By what to do next.
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(name, what, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AuthError(f"{name}: there are no credentials; set access_key and secret_key.") from error
    except (ConnectionError, HTTPClientError, BotoCoreError, OSError) as error:
        raise UnavailableError(
            f"{name}: the storage cannot be reached ({what}): {error}. It is tried again."
        ) from error


def _refusal(name: str, what: str, error: ClientError) -> BackendError:  # noqa: PLR0911 - one return a kind
    code, status = error_code(error), status_of(error)
    said = f"{name}: {what}: the storage answered {code or status}"
    if code in _CLOCK:
        return UnavailableError(
            f"{said}. This machine's clock is wrong; set it, and delivery goes on by itself."
        )
    if code == "NoSuchBucket":
        return AuthError(f"{said}: there is no such bucket. Create it or correct the setting 'bucket'.")
    if code in _AUTH or status in (401, 403):
        return AuthError(
            f"{said}: the credentials are not accepted. Correct them, then resume the destination."
        )
    if code in _THROTTLED or status == _TOO_MANY_REQUESTS:
        return ThrottledError(f"{said}; it is tried again later.", retry_after=_retry_after(error))
    if code in _QUOTA:
        return QuotaError(f"{said}: an allowance is used up. Ask whoever runs the storage.")
    if status >= _SERVER_ERROR or not status:
        return UnavailableError(f"{said}; it is tried again.")
    if code in {"NoSuchKey", "404", "NotFound"}:
        return NotFoundError(f"{said}: there is no such object.")
    return RejectedError(f"{said}: {error.response.get('Error', {}).get('Message', 'no reason given')}.")


def _retry_after(error: ClientError) -> float | None:
    value = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if value.isdigit() else None
