"""Answers that say what is wrong, in the form of RFC 9457."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

OTHER_BYTES: Final = "urn:ktpsync:problem:other-bytes"
DAMAGED: Final = "urn:ktpsync:problem:damaged-in-transit"
TAKEN_OVER: Final = "urn:ktpsync:problem:upload-taken-over"
EXPIRED: Final = "urn:ktpsync:problem:expired-token"
MISMATCHING_OFFSET: Final = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
COMPLETED_UPLOAD: Final = "https://iana.org/assignments/http-problem-types#completed-upload"
INCONSISTENT_LENGTH: Final = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"

_log = logging.getLogger("ktpsync.central")


class Problem(Exception):  # noqa: N818 - named as in RFC 9457
    """An answer other than success.

    Args:
        status: HTTP status.
        detail: What is wrong and what to do, without personal data.
        problem_type: URI of the kind of problem.
        headers: More headers, such as ``Retry-After``.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        problem_type: str = "about:blank",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.problem_type = problem_type
        self.headers = headers


async def answer_problem(_request: Request, error: Exception) -> Response:
    """Return the answer for whatever a request ended with (a Starlette exception handler)."""
    match error:
        case Problem():
            problem = error
        case HTTPException():
            problem = Problem(error.status_code, _WORDS.get(error.status_code, ""), headers=error.headers)
        case OSError():
            _log.error("The centre's disk: %s", error)
            problem = Problem(507, "The centre cannot store anything at the moment. Send it again later.")
        case _:
            problem = Problem(500, "The centre has trouble of its own. Send it again later.")
    document = {
        "type": problem.problem_type,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return JSONResponse(
        document, status_code=problem.status, headers=problem.headers, media_type="application/problem+json"
    )


_WORDS: Final = {404: "There is nothing at this address.", 405: "This address does not take this method."}
