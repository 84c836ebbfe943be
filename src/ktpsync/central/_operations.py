"""Every request that the centre answers, with its OpenAPI description: routes and document come from this one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import Factory, frozen

from ktpsync.central._feed import STATUS_PAGE
from ktpsync.central._packets import RECONCILE_PAGE

PACKET_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@frozen(kw_only=True)
class Operation:
    """One method on one path.

    Args:
        path: The path, with OpenAPI's braces.
        method: ``GET``, ``PUT`` and so on.
        room: Which part of the centre answers.
        name: Its method; the first line of the method's docstring is the summary.
        parameters: Names of headers and query parameters, each described in the document's components.
        body: Media type to schema.
        answers: Status to what it means: text, or text and the name of the schema.
        problems: Status to what it means.
        sends: Media type of the answers.
        headers: Headers of the answers, by status.
        sandbox: Whether it is for the sandbox only, with ``--faults``.
        open: Whether it needs no credentials.
    """

    path: str
    method: str
    room: str
    name: str
    parameters: Sequence[str] = ()
    body: Mapping[str, Mapping[str, Any]] = Factory(dict)
    answers: Mapping[int, tuple[str, str | None]]
    problems: Mapping[int, str] = Factory(dict)
    sends: str = "application/json"
    headers: Mapping[int, Sequence[str]] = Factory(dict)
    sandbox: bool = False
    open: bool = False


_SEALED: Final = {"type": "string", "format": "binary"}
_DAMAGED: Final = "The request is not right, or the body does not have its Content-Digest."
_UPLOAD: Final = "/v1/packets/{packet_id}/upload"

OPERATIONS: Final = (
    Operation(
        path="/v1/health",
        method="GET",
        room="feed",
        name="health",
        answers={200: ("Packets are taken.", "Health")},
    ),
    Operation(
        path="/v1/packets/{packet_id}",
        method="PUT",
        room="packets",
        name="put",
        parameters=("PacketId", "ContentDigest", "IdempotencyKey", "UploadComplete"),
        body={"application/octet-stream": _SEALED},
        answers={
            201: ("Stored now, durably.", "Receipt"),
            200: ("Held already with the same bytes; the receipt is the same as the first time.", "Receipt"),
        },
        headers={201: ("Location", "Upload-Complete"), 200: ("Location", "Upload-Complete")},
        problems={
            400: _DAMAGED,
            408: "Nothing more came. What came is kept if Upload-Complete was given.",
            409: "The upload goes on in another request.",
            411: "Content-Length is missing.",
            413: "Larger than a packet may be.",
            422: "Other bytes are held under this id.",
        },
    ),
    Operation(
        path="/v1/packets/{packet_id}",
        method="GET",
        room="packets",
        name="get",
        parameters=("PacketId",),
        answers={200: ("The packet is held.", "HeldPacket")},
        problems={400: "This is not a packet id.", 404: "This office has no such packet here."},
    ),
    Operation(
        path="/v1/packets/{packet_id}/sealed",
        method="GET",
        room="packets",
        name="sealed",
        parameters=("PacketId",),
        answers={200: ("The sealed bytes, as they came.", "Sealed")},
        sends="application/octet-stream",
        headers={200: ("Content-Digest",)},
        problems={400: "This is not a packet id.", 404: "This office has no such packet here."},
    ),
    Operation(
        path=_UPLOAD,
        method="HEAD",
        room="packets",
        name="offset",
        parameters=("PacketId",),
        answers={204: ("How much of the packet came so far; 0 if nothing did.", None)},
        headers={204: ("Upload-Offset", "Upload-Complete", "Upload-Length", "Upload-Limit", "Repr-Digest")},
        problems={400: "This is not a packet id."},
    ),
    Operation(
        path=_UPLOAD,
        method="PATCH",
        room="packets",
        name="append",
        parameters=("PacketId", "UploadOffset", "UploadToTheEnd"),
        body={"application/partial-upload": _SEALED},
        answers={
            201: ("Whole and stored now, durably.", "Receipt"),
            200: ("Held already with the same bytes.", "Receipt"),
        },
        headers={201: ("Location", "Upload-Complete"), 200: ("Location", "Upload-Complete")},
        problems={
            400: _DAMAGED,
            408: "Nothing more came. What came is kept.",
            409: "The upload goes on elsewhere, at another byte, or is whole already.",
            411: "Content-Length is missing.",
            413: "Larger than a packet may be.",
            415: "The body is not application/partial-upload.",
            422: "Other bytes are held under this id.",
        },
    ),
    Operation(
        path=_UPLOAD,
        method="DELETE",
        room="packets",
        name="cancel",
        parameters=("PacketId",),
        answers={204: ("Nothing of an unfinished upload is left.", None)},
        problems={400: "This is not a packet id."},
    ),
    Operation(
        path="/v1/packets/reconcile",
        method="POST",
        room="packets",
        name="reconcile",
        body={"application/json": {"$ref": "#/components/schemas/Question"}},
        answers={200: ("One entry for each, in the same order.", "Holdings")},
        problems={
            400: "The question is not right.",
            408: "Nothing more came.",
            413: f"Ask about {RECONCILE_PAGE} packets at a time, at most.",
            415: "The body is neither plain nor gzip.",
        },
    ),
    Operation(
        path="/v1/statuses",
        method="GET",
        room="feed",
        name="statuses",
        parameters=("After", "Limit", "IfNoneMatch"),
        answers={
            200: ("A page of changes.", "StatusPage"),
            304: ("Nothing changed since that answer.", None),
        },
        headers={200: ("ETag",), 304: ("ETag",)},
        problems={400: "The cursor or the limit is not right."},
    ),
    Operation(
        path="/oauth/token",
        method="POST",
        room="access",
        name="issue",
        body={
            "application/x-www-form-urlencoded": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"const": "client_credentials"},
                    "client_id": {"type": "string"},
                    "client_secret": {"type": "string"},
                    "scope": {"type": "string"},
                },
            }
        },
        answers={
            200: ("A token for this client's office.", "Token"),
            400: ("The grant is not offered.", "TokenRefusal"),
            401: ("The client is not known.", "TokenRefusal"),
        },
        problems={408: "Nothing more came.", 413: "The form is too large.", 415: "Not plain or gzip."},
        open=True,
    ),
    Operation(
        path="/sandbox/faults",
        method="POST",
        room="door",
        name="faults",
        body={"application/json": {"$ref": "#/components/schemas/Faults"}},
        answers={200: ("The faults that are played from now on.", "Faults")},
        problems={400: "There is no such fault.", 413: "Too large.", 415: "Not plain or gzip."},
        sandbox=True,
        open=True,
    ),
    Operation(
        path="/sandbox/inventory",
        method="GET",
        room="door",
        name="inventory",
        answers={200: ("Every packet of every office.", "Inventory")},
        sandbox=True,
        open=True,
    ),
    Operation(
        path="/sandbox/adjudications",
        method="GET",
        room="door",
        name="adjudications",
        answers={200: ("The packets that wait.", "Adjudications")},
        sandbox=True,
        open=True,
    ),
    Operation(
        path="/sandbox/adjudications/{packet_id}",
        method="POST",
        room="door",
        name="adjudicate",
        parameters=("PacketId",),
        body={"application/json": {"$ref": "#/components/schemas/Judgement"}},
        answers={200: ("Judged.", "Judged")},
        problems={
            400: "The decision is not right.",
            404: "No such packet waits.",
            413: "Too large.",
            415: "Not plain or gzip.",
        },
        sandbox=True,
        open=True,
    ),
)

_TEXT: Final = {"type": "string"}
_DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ID: Final = {"type": "string", "pattern": f"^{PACKET_ID}$"}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_OFFSET: Final = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999}


def _object(**properties: object) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(name: str, item: object, **limits: int) -> dict[str, Any]:
    return _object(**{name: {"type": "array", "items": item, **limits}})


_RECEIPT: Final = _object(packet_id=_ID, sha256=_DIGEST, size=_COUNT, stored_at=_TIME, location=_TEXT)
_HOLDING: Final = _object(packet_id=_ID, state={"enum": ["held", "missing", "conflict"]})
_HOLDING["properties"] |= {"receipt": {"$ref": "#/components/schemas/Receipt"}}
_FAULTS: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "outage": {"type": "boolean"},
        "retry_after": {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000},
        "fail_next": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "fail_status": {"type": "integer", "minimum": 400, "maximum": 599},
        "wrong_receipts": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    },
}

SCHEMAS: Final = {
    "Adjudications": _list("packets", _object(packet_id=_ID)),
    "Faults": _FAULTS,
    "Health": _object(status=_TEXT),
    "HeldPacket": {**_RECEIPT, "properties": {**_RECEIPT["properties"], "status": _TEXT}},
    "Holdings": _list("holdings", _HOLDING),
    "Inventory": _list("packets", _object(packet_id=_ID, sha256=_TEXT, effects=_COUNT, status=_TEXT)),
    "Judged": _object(packet_id=_ID, status=_TEXT),
    "Judgement": _object(decision={"enum": ["unique", "duplicate"]}),
    "Problem": _object(type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT),
    "Question": _list("packets", _object(packet_id=_ID, sha256=_DIGEST), maxItems=RECONCILE_PAGE),
    "Receipt": _RECEIPT,
    "Sealed": _SEALED,
    "StatusPage": _object(
        changes={
            "type": "array",
            "items": _object(packet_id=_ID, status=_TEXT, changed_at=_TIME, note=_TEXT),
            "maxItems": STATUS_PAGE,
        },
        cursor=_TEXT,
        more={"type": "boolean"},
    ),
    "Token": _object(access_token=_TEXT, token_type={"const": "Bearer"}, expires_in=_COUNT),
    "TokenRefusal": _object(error=_TEXT, error_description=_TEXT),
}


def _header(name: str, description: str, schema: object, *, required: bool = False) -> dict[str, object]:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


PARAMETERS: Final = {
    "PacketId": {
        "name": "packet_id",
        "in": "path",
        "required": True,
        "description": "UUIDv7 (RFC 9562) in lower case.",
        "schema": _ID,
    },
    "ContentDigest": _header(
        "Content-Digest",
        "SHA-256 of the body (RFC 9530).",
        {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"},
        required=True,
    ),
    "IdempotencyKey": _header("Idempotency-Key", "The packet id in quotation marks.", _TEXT),
    "UploadComplete": _header(
        "Upload-Complete",
        "`?1`: the body goes to the end of the packet, and what came of it is kept if the line breaks.",
        {"const": "?1"},
    ),
    "UploadToTheEnd": _header(
        "Upload-Complete", "`?1`: the body goes to the end of the packet.", {"const": "?1"}, required=True
    ),
    "UploadOffset": _header("Upload-Offset", "Where the body begins in the packet.", _OFFSET, required=True),
    "After": {
        "name": "after",
        "in": "query",
        "description": "The cursor of an earlier page; without, from the beginning.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    },
    "Limit": {
        "name": "limit",
        "in": "query",
        "description": "Changes in the answer, at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": STATUS_PAGE},
    },
    "IfNoneMatch": _header("If-None-Match", "The ETag of an earlier answer to the same question.", _TEXT),
}

HEADERS: Final = {
    "Content-Digest": "SHA-256 of the body (RFC 9530).",
    "ETag": "Names this answer.",
    "Location": "Where the packet is.",
    "Repr-Digest": "SHA-256 of the whole (RFC 9530), if anything came.",
    "Upload-Complete": "`?1` when the packet is whole and stored, else `?0`.",
    "Upload-Length": "Bytes of the whole, if anything came.",
    "Upload-Limit": "`max-size` in bytes and `max-age` in seconds.",
    "Upload-Offset": "Bytes that came so far.",
}


def by_path(*, sandbox: bool) -> dict[str, list[Operation]]:
    """Return the operations of each path.

    Args:
        sandbox: Whether to include those under ``/sandbox/``.
    """
    paths: dict[str, list[Operation]] = {}
    # Starlette takes the first path that fits: fixed ones go before those with a parameter.
    for operation in sorted(OPERATIONS, key=lambda operation: "{" in operation.path):
        if sandbox or not operation.sandbox:
            paths.setdefault(operation.path, []).append(operation)
    return paths
