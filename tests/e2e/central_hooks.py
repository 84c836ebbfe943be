"""What schemathesis cannot know of the centre: how the headers of a packet follow from it, and which packet is there."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import schemathesis

from ktpsync.packet import new_packet_id

_PACKET = "/v1/packets/{packet_id}"
_ADDRESSED = {("GET", _PACKET), ("GET", f"{_PACKET}/sealed"), ("HEAD", f"{_PACKET}/upload")}


@schemathesis.serializer("application/partial-upload")
def partial_upload(_context: Any, value: Any) -> bytes:
    """Send binary as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, _kwargs: Any) -> None:
    """Give a valid request the digest of its body, and half of the questions an id that is there."""
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if not valid:
        return
    if (case.method, case.path) in _ADDRESSED:
        case.path_parameters["packet_id"] = os.environ["KTPSYNC_TEST_PACKET"]
    if case.path == "/oauth/token":
        case.body = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret"}
    if case.method == "PUT":
        case.path_parameters["packet_id"] = new_packet_id()
        case.headers["Idempotency-Key"] = f'"{case.path_parameters["packet_id"]}"'
        body = case.as_transport_kwargs(base_url="http://127.0.0.1").get("data") or b""
        digest = hashlib.sha256(body if isinstance(body, bytes) else body.encode()).digest()
        case.headers["Content-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
