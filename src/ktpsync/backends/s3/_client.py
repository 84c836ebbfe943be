"""The boto3 client of a bucket, and the connections that all its requests go over."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.loaders
import botocore.session
from attrs import field, frozen
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from ktpsync.backends.s3._connections import Session
from ktpsync.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.httpsession import URLLib3Session
    from types_boto3_s3.client import S3Client

    from ktpsync.backends.s3.settings import S3Settings

_CONNECTIONS: Final = 16
_LARGEST: Final = 16 << 20
"""Bytes of an answer that is no object, at most; a page of a listing has less than one million."""

REFUSED_FROM: Final = 300

_DESCRIPTIONS: Final = botocore.loaders.Loader()
"""botocore reads megabytes of JSON to learn what S3 is; once is enough."""


def new_client(settings: S3Settings, name: str) -> tuple[S3Client, URLLib3Session]:
    """Return a client for a bucket's service, and its connections. Nothing is sent yet.

    Args:
        settings: Where and how.
        name: The destination, for messages.

    Raises:
        AuthError: The file of certificate authorities is not there.
    """
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise AuthError(
            f"{name}: the setting ca_file names {settings.ca_file}, which is not there. Correct it."
        )
    core = botocore.session.Session()
    core.register_component("data_loader", _DESCRIPTIONS)
    client = boto3.session.Session(botocore_session=core).client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key.reveal() if settings.access_key else None,
        aws_secret_access_key=settings.secret_key.reveal() if settings.secret_key else None,
        config=Config(
            # The courier retries; two retry loops would multiply.
            retries={"total_max_attempts": 1},
            s3={"addressing_style": settings.addressing},
            # By default botocore sends checksums in trailers, which many services answer with an error.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register("before-call.s3", _follow_no_redirect)
    session = _new_session(settings, client.meta.endpoint_url, core.get_config_variable("ca_bundle"))
    client.meta.events.register("before-send.s3", _sender(session))
    return client, session


def _new_session(settings: S3Settings, endpoint: str, configured_ca: str | None) -> URLLib3Session:
    """Return connections with the settings that boto3 would give its own."""
    trusted = settings.ca_file or configured_ca or os.environ.get("REQUESTS_CA_BUNDLE")
    options: dict[str, Any] = {
        "verify": str(trusted) if trusted else True,
        "proxies": get_environ_proxies(endpoint),
        "timeout": (settings.connect_timeout, settings.read_timeout),
        "max_pool_connections": _CONNECTIONS,
        "socket_options": [
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ],
    }
    return Session(**options)


def _sender(session: URLLib3Session) -> Callable[..., Any]:
    """Return what sends the client's own requests over these connections."""

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return sent(session, request)

    return send


def sent(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
    """Send a request and return the answer, read to its end unless it is an object.

    botocore reads all that comes, also of an answer that never ends, until the machine has no memory left.

    Raises:
        ResponseParserError: It is larger than any answer of a storage.
        BotoCoreError: The line broke.
        HTTPError: The line broke in the middle of the answer.
    """
    is_object = request.stream_output
    request.stream_output = True
    answer = session.send(request)
    if is_object and answer.status_code < REFUSED_FROM:
        return answer
    data = answer.raw.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        answer.raw.close()
        raise ResponseParserError(f"more than {_LARGEST} bytes")
    return AWSResponse(answer.url, answer.status_code, answer.headers, _Read(data))  # type: ignore[arg-type]  # its own


@frozen
class _Read:
    """The body of an answer that was read, as botocore asks for it."""

    data: bytes = field(repr=False)

    def stream(self) -> Iterator[bytes]:
        yield self.data


def _follow_no_redirect(context: dict[str, dict[str, object]], **_: object) -> None:
    """Keep botocore from looking for the bucket in other regions by itself.

    An endpoint that always redirects would send it round in circles, and a wrong setting would cost requests for
    ever.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True
