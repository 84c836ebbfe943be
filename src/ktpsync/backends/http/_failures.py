"""What can go wrong on the way to the centre and back, as what to do next."""

from __future__ import annotations

import json
import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

from attrs import field, frozen
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    ReadTimeoutError,
)

from ktpsync.errors import AuthError, ConflictError, RejectedError, ThrottledError, UnavailableError
from ktpsync.plain import MASK, anonymous, reason
from ktpsync.plugins import retry_after

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from ktpsync.backends.http._answer import Answer
    from ktpsync.clock import Clock

CONFLICT_TYPE: Final = "urn:ktpsync:problem:other-bytes"
"""Problem type (RFC 9457): other bytes are held under this packet id."""

DAMAGED_TYPE: Final = "urn:ktpsync:problem:damaged-in-transit"
"""Problem type: the body does not have its Content-Digest."""

EXPIRED_TYPE: Final = "urn:ktpsync:problem:expired-token"
"""Problem type: the token was good once."""

_OFFSET_TYPE: Final = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
_COMPLETED_TYPE: Final = "https://iana.org/assignments/http-problem-types#completed-upload"

_TAKEN_OVER_TYPE: Final = "urn:ktpsync:problem:upload-taken-over"

_AGAIN: Final = "It is tried again by itself."

# X509_V_ERR_... of OpenSSL (x509_vfy.h)
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})

_SPEAKS_NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)
_OUR_CERTIFICATE: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")


class DamagedInTransitError(UnavailableError):
    """The centre received other bytes than were announced."""


class BrokenOffError(UnavailableError):
    """The line broke in the middle of an exchange; part of it may have arrived."""


class NoAnswerError(BrokenOffError):
    """The request went out, and nothing came back for as long as the settings allow."""


@frozen(kw_only=True)
class Peer:
    """Whom messages are about.

    Args:
        name: The destination's name.
        host: The host that is asked, with its port.
        secrets: What must never be shown, such as a token.
    """

    name: str
    host: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def plain(self, text: str) -> str:
        """Return somebody else's text fit to be shown: no secrets, no persons, no control characters, not too long."""
        return anonymous(self._without_secrets(text))

    def reason(self, text: str) -> str:
        """Return what the centre says in its own words, as far as they can name nobody."""
        return reason(self._without_secrets(text))

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def failure_of(peer: Peer, error: HTTPError) -> UnavailableError | AuthError:  # noqa: PLR0911 - one return a cause
    """Return urllib3's error as a sentence about what is wrong with the line.

    Returns:
        :class:`UnavailableError` where the centre could not be asked, :class:`BrokenOffError` where its answer did
        not come, :class:`AuthError` where it does not accept this office's certificate.
    """
    name, host = peer.name, peer.host
    tls = _tls_cause(error)
    if isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BrokenOffError(
            f"{name}: the connection to {host} broke off without the end that TLS has. {_AGAIN}"
        )
    if isinstance(error, ProxyError):
        return UnavailableError(f"{name}: {_proxy_sentence(peer, error)} {_AGAIN}")
    if tls is not None:
        reason = tls.reason or ""
        if "ALERT" in reason and any(word in reason for word in _OUR_CERTIFICATE):
            return AuthError(
                f"{name}: {host} does not accept this office's certificate ({reason.lower().replace('_', ' ')}). "
                "Set client_certificate to one that the centre knows and that has not expired."
            )
        return UnavailableError(f"{name}: {_tls_sentence(host, tls)} {_AGAIN}")
    match error:
        case ReadTimeoutError():
            return NoAnswerError(f"{name}: {host} took the request and gave no answer in time. {_AGAIN}")
        case ProtocolError() | InvalidHeader():
            return BrokenOffError(f"{name}: {_broken_sentence(host, error)} {_AGAIN}")
        case _:
            return UnavailableError(f"{name}: {_sentence(peer, error)} {_AGAIN}")


def _sentence(peer: Peer, error: HTTPError) -> str:
    host = peer.host
    match error:
        case NameResolutionError():
            return f"the name {host} cannot be resolved. Is this machine online, and is the address right?"
        case NewConnectionError() if isinstance(error.__cause__, ConnectionRefusedError):
            return f"{host} refuses connections. The centre is down, or the address is wrong."
        case NewConnectionError():
            cause = error.__cause__
            why = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
            return f"{host} cannot be reached{why}. Is this machine online?"
        case ConnectTimeoutError():
            return f"{host} does not answer in time. The line or the centre is down."
        case ProxySchemeUnknown() | LocationParseError():
            return (
                "the proxy of this machine's settings (HTTPS_PROXY, HTTP_PROXY) is none that ktpsync can use."
            )
        case _:
            return f"the exchange with {host} failed: {peer.plain(str(error))}."


def _broken_sentence(host: str, error: HTTPError) -> str:
    cause = error.args[-1] if error.args else None
    if type(cause).__name__ == "RemoteDisconnected":
        return f"{host} closed the connection without an answer. It broke off before a word came back."
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return f"the connection to {host} was reset. It broke off in the middle; a firewall may cut it."
    if isinstance(cause, TimeoutError):
        return f"the connection to {host} broke off: the line took no more bytes in time."
    return f"the connection to {host} broke off in the middle, or whoever answers does not speak HTTP."


def _proxy_sentence(peer: Peer, error: ProxyError) -> str:
    said = peer.plain(str(error.original_error))
    if "407" in said:
        return f"the proxy on the way to {peer.host} wants a name and a password. Put them into HTTPS_PROXY."
    return f"the proxy on the way to {peer.host} does not work: {said.rstrip('.')}. Check HTTPS_PROXY and NO_PROXY."


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error that urllib3 wrapped, however deep."""
    for _ in range(6):
        if isinstance(error, ssl.SSLError):
            return error
        if error is None:
            return None
        inner = [arg for arg in error.args if isinstance(arg, BaseException)]
        error = inner[-1] if inner else error.__cause__
    return None


def _tls_sentence(host: str, error: ssl.SSLError) -> str:  # noqa: PLR0911 - one return a cause
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        if code == _EXPIRED:
            return (
                f"the certificate of {host} has expired, if this machine's clock is right: it says {now}. "
                "The connection is not trusted."
            )
        if code == _NOT_YET_VALID:
            return (
                f"the certificate of {host} is not valid yet: this machine's clock says {now} and is likely wrong. "
                "The connection is not trusted."
            )
        if code in _OTHER_NAME:
            return f"whoever answers as {host} shows a certificate for another name. It is not trusted; is the address right?"
        if code in _UNKNOWN_ISSUER:
            return (
                f"the certificate of {host} is signed by nobody this machine knows, so it is not trusted. Set ca_file if "
                "the centre has its own authority; else somebody between answers in its place (a captive portal or a proxy)."
            )
        return f"the certificate of {host} is not trusted: {error.verify_message}."
    if error.reason in _SPEAKS_NO_TLS:
        return f"whoever answers at {host} does not speak TLS, so it is not trusted. Check the address and its port."
    reason = (error.reason or "no reason was given").lower().replace("_", " ")
    return f"no trusted connection to {host} comes about: {reason}."


def document_of(peer: Peer, answer: Answer) -> dict[str, object]:
    """Return the JSON object of a successful answer.

    Raises:
        UnavailableError: It is something else; whoever answered is not the centre, or not well.
    """
    if is_web_page(answer):
        raise portal(peer)
    try:
        document = json.loads(answer.data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        what = "nothing" if not answer.data else "something that is not JSON"
        raise UnavailableError(f"{peer.name}: {peer.host} answered {what}. {_AGAIN}")
    return document


def not_understood(peer: Peer) -> UnavailableError:
    """Return the error for an answer that is JSON and yet not what the interface says."""
    return UnavailableError(
        f"{peer.name}: {peer.host} answered something that ktpsync does not understand. It is tried again; if this "
        "stays, compare the versions of both sides."
    )


def refuse(peer: Peer, answer: Answer, clock: Clock) -> NoReturn:  # noqa: C901, PLR0912 - one branch a cause
    """Raise what an unsuccessful answer means.

    Raises:
        BackendError: By what to do next, from the status and the problem type (RFC 9457).
    """
    problem_type, detail = _problem(answer)
    detail = _shown(peer, problem_type, detail)
    told = f"{peer.host} answered {answer.status}{f' ({detail})' if detail else ''}"
    said = f"{peer.name}: {told}"
    match answer.status:
        case 511:
            raise portal(peer)
        # The centre says no in its own format. A web page is from somebody between.
        case 401 | 403 if is_web_page(answer):
            raise portal(peer, answer.status)
        case 401 if problem_type == EXPIRED_TYPE:
            raise AuthError(f"{said}: the token has expired. Get a new one and set it.")
        case 401:
            raise AuthError(f"{said}: the credentials are not accepted. Renew the token.")
        case 403:
            raise AuthError(f"{said}: this office may not do that there. Renew the token or ask the centre.")
        case 407:
            raise AuthError(f"{said}: the proxy wants a name and a password. Put them into HTTPS_PROXY.")
        case 404 | 405 | 501:
            raise AuthError(f"{said}: this is not the centre's address. Correct the setting 'url'.")
        case 422 if problem_type == CONFLICT_TYPE:
            raise ConflictError(f"{said}: the centre holds other bytes under this packet id. Ask the centre.")
        case 400 if problem_type == DAMAGED_TYPE:
            raise DamagedInTransitError(f"{said}: the bytes were damaged on the way. They are sent again.")
        case 408:
            raise BrokenOffError(f"{said}: the line was too slow or stood still. {_AGAIN}")
        case 409 if problem_type in {_OFFSET_TYPE, _COMPLETED_TYPE, _TAKEN_OVER_TYPE}:
            raise BrokenOffError(f"{said}: the upload goes on from where the centre says. {_AGAIN}")
        case 409 | 423 | 425:
            raise ThrottledError(
                f"{said}: the centre is still at work on this packet; it is tried again later.",
                retry_after=retry_after(answer.headers, clock),
            )
        case 429:
            raise ThrottledError(
                f"{said}: the centre has too much to do; it is tried again later.",
                retry_after=retry_after(answer.headers, clock),
            )
        case 413:
            raise RejectedError(
                f"{said}: the packet is larger than the centre takes; it refuses this packet. Ask the centre."
            )
        case 503 if (seconds := retry_after(answer.headers, clock)) is not None:
            raise ThrottledError(f"{said}; it asks to wait {seconds:.0f} seconds.", retry_after=seconds)
        case status if status < 400:  # noqa: PLR2004 - not an error, so a redirection
            raise UnavailableError(
                f"{said}, a redirection, which is never followed: packets go to the configured address only. "
                "A captive portal or a proxy may want a login; or correct the setting 'url'."
            )
        case status if status >= 500:  # noqa: PLR2004 - the server's fault
            raise UnavailableError(f"{said}: the centre has trouble of its own. {_AGAIN}")
        case _:
            raise RejectedError(
                f"{said}: the centre refuses this packet. See its reason, correct, and requeue."
            )


def _shown(peer: Peer, problem_type: str, detail: str) -> str:
    """Return why the centre refuses: its words, and where some of them are masked also the name of the problem's type."""
    words = peer.reason(detail)
    if words and MASK not in words:
        return words
    kind = peer.reason(re.split(r"[/#:]", problem_type)[-1])
    return ": ".join(said for said in (kind, words) if said and said != MASK) or words


def is_web_page(answer: Answer | BaseHTTPResponse) -> bool:
    """Return whether an answer is for a browser."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"


def portal(peer: Peer, status: int | None = None) -> UnavailableError:
    """Return the error for a web page in the place of an answer."""
    shown = "" if status is None else f" ({status})"
    return UnavailableError(
        f"{peer.name}: a web page came{shown} instead of {peer.host}'s answer. Somebody between asks for a login "
        f"(a captive portal or a proxy); open a browser on this machine. {_AGAIN}"
    )


def _problem(answer: Answer) -> tuple[str, str]:
    """Return a problem's type and its words (RFC 9457); other members, which may repeat what was sent, are not read."""
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return "", ""
    try:
        document = json.loads(answer.data)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    return texts.get("type", ""), texts.get("detail") or texts.get("title", "")
