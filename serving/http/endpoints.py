"""Declaration of an endpoint, from which its route and its documentation are built.

To add a route, write its handler and declare it in `ENDPOINTS` of the group's module in
`serving.api`. `serving.app` assembles the groups, `serving.http.dispatch` answers them. A handler
is

    async def handle(request: Request, asked: TheQuery) -> Response
    async def handle(request: Request, asked: TheQuery, sent: TheBody) -> Response

`asked` holds path and query parameters, `sent` the JSON body. Both are validated. A handler returns
`answer(value)`. Exceptions become responses `{"error": sentence}`: InvalidInput 422,
ConflictingEvent 409, LearnerErased 410, StorageUnavailable and NothingServed 503, any other 500. A
slash within a learner's name is sent as `%2F`; any other slash separates segments of the path.

Other code around requests is a middleware of the application. It finds the declaration, with its
path template, in `scope["endpoint"]`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import orjson
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sensei.errors import (
    ConflictingEvent,
    InvalidInput,
    LearnerErased,
    NothingServed,
    SchemaMismatch,
    SenseiError,
    StorageUnavailable,
)
from serving.api.request_schemas import Query

Scope = Literal["open", "platform", "operator"]
"""Permitted callers: anybody; the platform's back end; the operators of the service."""

STATUSES = {
    200: "success",
    201: "created",
    202: "accepted",
    400: "the path has a dot segment, a header is repeated, or the body is not JSON",
    401: "a key is needed",
    403: "the key has another role; or, without keys, the request is from a page of another site",
    404: "not found",
    405: "the path does not support the method",
    408: "the body did not arrive in time",
    409: "an event with this id and other content exists",
    410: "the learner was erased; no data on them is kept",
    413: "the body is too large",
    414: "path and query are too long",
    415: "the content type is not JSON",
    422: "a parameter or a field is invalid",
    429: "too many requests with this key",
    431: "the headers are too long or too many",
    500: "an internal error; it is logged",
    503: "the log does not answer, or no model is in use; nothing was written",
}
"""Descriptions of all status codes that the service may return."""

FAILED = "service: expected to answer, got an error that is logged; repeat once"
"""Error sentence for internal errors; callers get no further detail."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """Declaration of one method and path.

    Attributes:
        method: HTTP method.
        path: template such as `/api/user/{username}`; also the label of its metrics.
        handle: the handler, see the module.
        summary: one line.
        returns: schema of the response; None if it is not JSON. Tests check responses against it.
        query: schema of path and query parameters.
        body: schema of the JSON body; None if there is none.
        scope: the permitted callers.
        platform_if: name of a value in the application's state; while it is true, the platform may
            call an endpoint of the operators too.
        status: status of a successful response.
        statuses: further statuses, besides those that `documented` adds to every endpoint.
        example: an example response.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handle: Callable[..., Awaitable[Response]]
    summary: str
    returns: type[BaseModel] | None = None
    query: type[Query] = Query
    body: type[BaseModel] | None = None
    scope: Scope = "platform"
    platform_if: str | None = None
    status: int = 200
    statuses: tuple[int, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def documented(self) -> list[int]:
        """All statuses that the endpoint may return, in ascending order."""
        statuses = {self.status, 400, 413, 414, 422, 431, 500, *self.statuses}
        if self.body:
            statuses |= {408, 415}
        if self.scope != "open":
            statuses |= {401, 403, 429, 503}
        return sorted(statuses)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `content` as a JSON response."""
    body = orjson.dumps(content)
    if headers:
        return Response(body, status, headers, media_type="application/json")
    return _Plain(body, status)


class _Plain(Response):
    """JSON response with only its own headers, built directly: half the cost of a `Response`."""

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


def refusal(
    status: int,
    sentence: str,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Response:
    """Return an error response in the format of all endpoints; `details` are for programs."""
    return answer({"error": sentence, **(details or {})}, status, headers)


def error_response(request: Request, error: Exception) -> Response:
    """Return the response for an error of a handler; an unexpected one is logged and gets 500."""
    if isinstance(error, HTTPException):
        return _http_error_response(request, error)
    if isinstance(error, SenseiError):
        for kind, status in _STATUS_OF.items():
            if isinstance(error, kind):
                return _refused(request, error, status)
    logger.error("%s %s failed", request.method, _template(request), exc_info=error)
    return refusal(500, FAILED)


def _refused(request: Request, error: SenseiError, status: int) -> Response:
    if not isinstance(error, StorageUnavailable):
        later = {"Retry-After": "60"} if status == 503 else None
        return refusal(status, str(error), later, error.details)
    logger.warning("%s %s: %s", request.method, _template(request), error)  # it names local paths
    sentence, seconds = "log: expected it to answer, got nothing; repeat in a second", "1"
    for cause in (error, error.__cause__):
        if isinstance(cause, SchemaMismatch):  # a person must act first
            sentence, seconds = str(cause), "60"
    return refusal(status, sentence, {"Retry-After": seconds}, error.details)


def _http_error_response(request: Request, error: HTTPException) -> Response:
    """Return the response for an unknown path, or for an error that names its status."""
    sentence, headers = error.detail, error.headers
    if sentence == HTTPStatus.NOT_FOUND.phrase:
        sentence = f"path: expected one that is served, got {request.url.path!r:.80}; see /docs"
    elif sentence == HTTPStatus.METHOD_NOT_ALLOWED.phrase:  # of the files below /docs
        sentence = f"method: expected GET, HEAD, got {request.method}; see /docs"
        headers = {"Allow": "GET, HEAD"}
    return refusal(error.status_code, sentence, headers)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _http_error_response(request, error)


ERROR_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _not_served
}
"""Starlette's exception handlers, for paths that no endpoint declares."""


def _template(request: Request) -> str:
    endpoint = request.scope.get("endpoint")
    return endpoint.path if isinstance(endpoint, Endpoint) else "path not served"


_STATUS_OF: dict[type[SenseiError], int] = {
    InvalidInput: 422,
    ConflictingEvent: 409,
    LearnerErased: 410,
    StorageUnavailable: 503,
    NothingServed: 503,
}
"""Statuses of the project's errors; all others are internal errors."""
