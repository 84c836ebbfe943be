"""Answers that say what is wrong, in the form of RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

OTHER_BYTES = "urn:ktpsync:problem:other-bytes"
DAMAGED = "urn:ktpsync:problem:damaged-in-transit"


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


async def answer_problem(_request: Request, problem: Exception) -> Response:
    """Return the answer for a :class:`Problem` (a Starlette exception handler)."""
    assert isinstance(problem, Problem)
    document = {
        "type": problem.problem_type,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return JSONResponse(
        document, status_code=problem.status, headers=problem.headers, media_type="application/problem+json"
    )
