"""What botocore raises, as what to do next."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from attrs import frozen
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, NameResolutionError

from ktpsync.clock import Clock, moment_of_date, utc_from_ms
from ktpsync.errors import (
    AuthError,
    BackendError,
    NotFoundError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from ktpsync.plain import anonymous, reason
from ktpsync.plugins import error_for_status, retry_after
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREDENTIALS: Final = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
)
_BUCKET: Final = frozenset({"NoSuchBucket", "InvalidBucketName"})
_REGION: Final = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }
)
_LOCK: Final = frozenset({"ObjectLockConfigurationNotFoundError", "InvalidRetentionPeriod"})
_THROTTLED: Final = frozenset(
    {
        "SlowDown",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
    }
)
_QUOTA: Final = frozenset(
    {
        "QuotaExceeded",
        "EntityTooLarge",
        "InsufficientCapacity",
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
        "ServiceQuotaExceededException",
    }
)
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_ON_THE_WAY: Final = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "RequestTimeout",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_AGAIN: Final = "It is tried again by itself."

_A_REGION: Final = re.compile(r"[a-z]{2,9}(?:-[a-z0-9]{1,12}){1,4}")
_KNOWN: Final = _CREDENTIALS | _BUCKET | _REGION | _LOCK | _THROTTLED | _QUOTA | _CLOCK | _ON_THE_WAY
_SKEW_SECONDS: Final = 300
"""A clock that is wrong by more than this is named; S3 refuses requests from 15 minutes on."""


class ThereAlreadyError(Exception):
    """The storage refused to replace an object."""


class WrongSourceError(Exception):
    """The source does not give the bytes that were announced."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"the bytes given are not those with SHA-256 {sha256}; nothing was stored.")


def error_code(error: ClientError) -> str:
    """Return the code that the service gave; for answers without a body it is the status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of the service's answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@frozen(kw_only=True)
class Place:
    """What messages name.

    Args:
        name: The destination.
        bucket: Its bucket.
        clock: The clock to compare with the service's.
    """

    name: str
    bucket: str
    clock: Clock


@contextlib.contextmanager
def translated(place: Place, what: str) -> Iterator[None]:
    """Turn botocore's errors into ktpsync's.

    Args:
        place: Where it happened.
        what: The key or action.

    Raises:
        BackendError: By what to do next.
    """
    name = place.name
    try:
        yield
    except ClientError as error:
        raise _refusal(place, what, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AuthError(
            f"{name}: there are no credentials for the storage. Set access_key and secret_key."
        ) from error
    except (BotoCoreError, HTTPClientError, ResponseParserError, HTTPError) as error:
        raise UnavailableError(f"{name}: {what}: {_trouble(error)} {_AGAIN}") from error
    except (ValueError, KeyError, RuntimeError, OverflowError) as error:
        # botocore takes an answer for granted: a date or a number that is none, or what is missing.
        raise not_storage(place, what) from error


def no_bucket(place: Place, said: str) -> AuthError:
    """Return the error for a bucket that is not there."""
    return AuthError(f"{said}: there is no bucket {place.bucket!r}. Create it or correct the setting bucket.")


def no_object(place: Place, key: str) -> NotFoundError:
    """Return the error for an object that is not there."""
    return NotFoundError(f"{place.name}: {key}: there is no such object.")


def not_storage(place: Place, what: str) -> UnavailableError:
    """Return the error for an answer that says yes and yet is not one of S3."""
    return UnavailableError(
        f"{place.name}: {what}: something else answers in the storage's place: perhaps a login page of the network "
        "(open a browser on this machine), or the setting endpoint is wrong. Nothing counts as stored; it is tried again."
    )


def _trouble(error: BaseException) -> str:  # noqa: PLR0911 - one return a cause
    match error:
        case SSLError():
            return (
                f"the storage's certificate is not trusted ({anonymous(str(error))}). Check this machine's clock and the setting "
                "ca_file; somebody else may be answering."
            )
        case ProxyConnectionError():
            return "the proxy cannot be reached. Check HTTPS_PROXY and the line."
        case EndpointConnectionError() if isinstance(error.kwargs.get("error"), NameResolutionError):
            return "the storage's name cannot be resolved. Is this machine online, and is the setting endpoint right?"
        case EndpointConnectionError():
            return "the storage refuses connections or cannot be reached. It is down, or the setting endpoint is wrong."
        case ConnectTimeoutError():
            return "the storage does not answer in time. The line or the storage is down."
        case ReadTimeoutError():
            return "the storage took the request and gave back no answer in time."
        case ConnectionClosedError() | ResponseStreamingError() | IncompleteReadError() | HTTPError():
            return "the connection to the storage broke off in the middle."
        case ResponseParserError():
            return (
                "something else answers in the storage's place: perhaps a login page of the network (open a browser "
                "on this machine), or the setting endpoint is wrong."
            )
        case _:
            return f"the exchange with the storage failed: {anonymous(str(error))}."


def _refusal(place: Place, what: str, error: ClientError) -> BackendError:  # noqa: C901, PLR0911 - one return a kind
    code, status = error_code(error), status_of(error)
    said, bucket = f"{place.name}: {what}: the storage answered {_shown(code) or status}", place.bucket
    skew = _skew_seconds(error, place.clock)
    if code in _CLOCK or (400 <= status <= 403 and abs(skew) > _SKEW_SECONDS):  # noqa: PLR2004 - "you are not welcome"
        minutes = counted(round(abs(skew) / 60), "minute", "minutes")
        by = "" if not skew else f" by {minutes} (behind)" if skew > 0 else f" by {minutes} (ahead)"
        return UnavailableError(
            f"{said}. This machine's clock is wrong{by}. Set it, and delivery goes on by itself."
        )
    if code in _BUCKET:
        return no_bucket(place, said)
    region = _header(error, "x-amz-bucket-region")
    if code in _REGION or (region and status in (301, 307)):
        region = region if _A_REGION.fullmatch(region) else "another region"
        return AuthError(
            f"{said}: the bucket {bucket!r} is in {region}. Correct the setting region or endpoint."
        )
    if code in _LOCK:
        return AuthError(
            f"{said}: the setting lock needs a bucket that was made with object lock. Make one, or remove the setting."
        )
    if code in _QUOTA or status == 507:  # noqa: PLR2004 - Insufficient Storage
        return QuotaError(
            f"{said}: an allowance is used up. Ask whoever runs the storage for room, then requeue."
        )
    if code in _CREDENTIALS or status in (401, 403):
        return AuthError(
            f"{said}: the credentials are not accepted for the bucket {bucket!r}. Correct access_key and secret_key or "
            "their rights."
        )
    wait = _retry_after(error, place.clock)
    if code in _THROTTLED or status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004
        return ThrottledError(f"{said}: it asks for patience.", retry_after=wait)
    if code in _ON_THE_WAY:
        return UnavailableError(f"{said}: the bytes did not arrive as they were sent. They are sent again.")
    if status >= 500 or not status:  # noqa: PLR2004 - the server's fault
        return UnavailableError(f"{said}: the storage has trouble of its own. It is tried again by itself.")
    if status in (404, 410):
        return no_object(place, what)
    if code in {"", str(status)} or status < 400:  # noqa: PLR2004 - a redirection
        return _not_in_its_words(place, what, error)
    if status in (409, 412):
        return UnavailableError(
            f"{said}: somebody else is changing it at the moment. It is tried again by itself."
        )
    why = reason(error.response.get("Error", {}).get("Message", "no reason given"))
    return RejectedError(f"{said} ({why}). See its reason, correct, and requeue.")


def _not_in_its_words(place: Place, what: str, error: ClientError) -> BackendError:
    """Return the error for an answer without a code of S3: of something in between, or to HEAD, which has no body."""
    status = status_of(error)
    if status == 400 and error.operation_name.startswith("Head"):  # noqa: PLR2004 - Bad Request
        # Of the packet nothing was sent yet.
        return AuthError(
            f"{place.name}: {what}: the storage answered 400 and not why: the credentials may have expired, or the bucket "
            f"{place.bucket!r} is in another region. Correct the settings."
        )
    return error_for_status(status, f"{place.name}: {what}")


def _shown(code: str) -> str:
    """Return a code whose words are known, such as ``NoSuchBucket``, or an empty text."""
    return code if code in _KNOWN or reason(code) == code else ""


def _skew_seconds(error: ClientError, clock: Clock) -> float:
    """Return how far this machine's clock is behind the service's; 0 if it does not tell."""
    theirs = moment_of_date(_header(error, "date"))
    return 0.0 if theirs is None else (theirs - utc_from_ms(clock.now_ms())).total_seconds()


def _retry_after(error: ClientError, clock: Clock) -> float | None:
    headers = {"Retry-After": _header(error, "retry-after"), "Date": _header(error, "date")}
    return retry_after(headers, clock)


def _header(error: ClientError, name: str) -> str:
    return str(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(name, ""))
