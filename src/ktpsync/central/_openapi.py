"""The centre's interface as an OpenAPI document."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, Final

from ktpsync.central._access import Access
from ktpsync.central._door import Door
from ktpsync.central._feed import Feed
from ktpsync.central._operations import HEADERS, PARAMETERS, SCHEMAS, by_path
from ktpsync.central._packets import Packets

if TYPE_CHECKING:
    from ktpsync.central._operations import Operation

_ROOMS: Final = {"access": Access, "door": Door, "feed": Feed, "packets": Packets}
_VERSION: Final = "1.0.0"

_EVERYWHERE: Final = {
    401: "The credentials are missing, not known, or expired.",
    429: "Too much at once; see Retry-After.",
    503: "Down for now; see Retry-After.",
    507: "The centre cannot store anything at the moment.",
}


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the interface that the sandbox centre serves."""
    paths = {
        path: {operation.method.lower(): _operation(operation) for operation in operations}
        for path, operations in by_path(sandbox=True).items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ktpsync centre",
            "version": _VERSION,
            "description": "How packets get to the centre and statuses back. Paths under /sandbox/ are the sandbox's own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"oauth": []}, {"certificate": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "RFC 6750."},
                "oauth": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}},
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "The common name in the certificate's subject is the office.",
                },
            },
        },
    }


def openapi_text() -> str:
    """Return the same as the text of a file."""
    return json.dumps(openapi(), indent=1) + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    handler = getattr(_ROOMS[operation.room], operation.name)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": (inspect.getdoc(handler) or "").splitlines()[0],
    }
    if operation.open:
        described["security"] = []
    if operation.parameters:
        described["parameters"] = [
            {"$ref": f"#/components/parameters/{name}"} for name in operation.parameters
        ]
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in operation.body.items()},
        }
    answers = {
        str(status): _answer(operation, status, text, schema)
        for status, (text, schema) in operation.answers.items()
    }
    problems = {**operation.problems, **({} if operation.open else _EVERYWHERE)}
    answers |= {
        str(status): _problem(operation, text)
        for status, text in problems.items()
        if str(status) not in answers
    }
    described["responses"] = dict(sorted(answers.items()))
    return described


def _answer(operation: Operation, status: int, text: str, schema: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if schema is not None:
        answer["content"] = {operation.sends: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if names := operation.headers.get(status, ()):
        answer["headers"] = {
            name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names
        }
    return answer


def _problem(operation: Operation, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if operation.method != "HEAD":
        answer["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return answer
