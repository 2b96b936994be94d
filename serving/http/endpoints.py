"""Declaration of an endpoint, from which its route and its documentation are built.

To add a route, write its handler and declare it in `ENDPOINTS` of the group's module in
`serving.api`. `serving.app` assembles the groups. A handler is

    async def handle(request: Request, asked: TheQuery) -> Response
    async def handle(request: Request, asked: TheQuery, sent: TheBody) -> Response

`asked` holds path and query parameters, `sent` the JSON body. Both are validated. A handler returns
`answer(value)`. Exceptions become responses `{"error": sentence}`: InvalidInput 422,
ConflictingEvent 409, LearnerErased 410, StorageUnavailable and NothingServed 503, any other 500. A
slash within a learner's name is sent as `%2F`; any other slash separates segments of the path.

Code that depends on the declaration (such as its scope) is a middleware of each route, see
`serving.app.route_middleware`. Other code is a middleware of the application. A middleware finds
the declaration, with its path template, in `scope["endpoint"].declared`.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Literal, Protocol, cast
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sensei.errors import (
    ConflictingEvent,
    InvalidInput,
    LearnerErased,
    NothingServed,
    SchemaMismatch,
    SenseiError,
    StorageUnavailable,
)
from sensei.events import rules
from serving.api.request_schemas import Query, parse
from serving.http.raw_path import RawPathRoute, of_path

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

MAX_LEVELS = 2 * rules.MAX_LEVELS
"""Maximum nesting of objects and lists in a body: events may be in a list and hold metadata."""

TOO_DEEP = f"body: expected at most {MAX_LEVELS} levels of nesting, got more; flatten it"

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
    status: int = 200
    statuses: tuple[int, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def documented(self) -> list[int]:
        """All statuses that the endpoint may return, in ascending order."""
        found = {self.status, 400, 413, 414, 422, 431, 500, *self.statuses}
        if self.body:
            found |= {408, 415}
        if self.scope != "open":
            found |= {401, 403, 429, 503}
        return sorted(found)


class Responder(Protocol):
    """Handler with its declaration, as Starlette calls it."""

    declared: Endpoint

    async def __call__(self, request: Request) -> Response:
        """Parse the request, call the handler and return the response."""


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


def route(endpoint: Endpoint, middleware: Sequence[Middleware] = ()) -> Route:
    """Return the route of a declaration.

    Args:
        endpoint: the declaration.
        middleware: runs before the request is read.
    """
    respond = responder(endpoint)
    return RawPathRoute(endpoint.path, respond, methods=[endpoint.method], middleware=middleware)


def responder(endpoint: Endpoint) -> Responder:
    """Return a function that parses a request, calls the handler and returns the response.

    It lets errors in `HANDLED` through, and turns all others into a 500 response.
    """

    async def respond(request: Request) -> Response:
        try:
            asked = parse(endpoint.query, _parameters(request))
            if endpoint.body is None:
                return await endpoint.handle(request, asked)
            sent = parse(endpoint.body, await _json(request))
            return await endpoint.handle(request, asked, sent)
        except Exception as error:
            if isinstance(error, HANDLED):
                raise
            return await failed(request, error)

    respond.declared = endpoint  # type: ignore[attr-defined]
    return cast("Responder", respond)


@lru_cache(maxsize=1024)
def _query(text: bytes) -> tuple[tuple[str, str], ...]:
    """Return names and values of a query string; cached, because most requests repeat a few."""
    try:
        found = parse_qsl(text.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"query: expected UTF-8, got {text!r:.80}; encode it so") from None
    return tuple(found)


def _parameters(request: Request) -> dict[str, Any]:
    given = _query(request.scope["query_string"])
    found = dict(given)
    if len(found) < len(given):
        names = [name for name, _ in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{twice}: expected one value, got several; send it once")
    in_path = of_path(request)
    if clash := found.keys() & in_path.keys():
        name = min(clash)
        raise InvalidInput(f"{name}: expected in the path only, got it twice; leave it out of ?")
    return found | in_path


async def _json(request: Request) -> Any:
    kind = request.headers.get("content-type", "")
    if not re.fullmatch(r"application/([\w.-]+\+)?json", kind.partition(";")[0].strip().lower()):
        raise HTTPException(
            415,
            f"Content-Type: expected application/json, got {kind[:80] or 'nothing'}; send it so",
        )
    try:
        found = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        # the wording depends on orjson's version
        if "depth" in str(error) or "ecursion" in str(error):
            raise HTTPException(400, TOO_DEEP) from None
        raise HTTPException(
            400, f"body: expected JSON, got something else ({error}); send null for NaN"
        ) from None
    if rules.is_nested_deeper(found, MAX_LEVELS):
        raise InvalidInput(TOO_DEEP)
    return found


async def refused(request: Request, error: Exception) -> Response:
    """Return the response for an error of the project, with its status."""
    assert isinstance(error, SenseiError)
    status = next(code for kind, code in _STATUS_OF.items() if isinstance(error, kind))
    if not isinstance(error, StorageUnavailable):
        later = {"Retry-After": "60"} if status == 503 else None
        return refusal(status, str(error), later, error.details)
    logger.warning("%s %s: %s", request.method, _template(request), error)  # it names local paths
    sentence, seconds = "log: expected it to answer, got nothing; repeat in a second", "1"
    for cause in (error, error.__cause__):
        if isinstance(cause, SchemaMismatch):  # a person must act first
            sentence, seconds = str(cause), "60"
    return refusal(status, sentence, {"Retry-After": seconds}, error.details)


async def failed(request: Request, error: Exception) -> Response:
    """Return 500; the cause is only logged."""
    logger.error("%s %s failed", request.method, _template(request), exc_info=error)
    return refusal(500, FAILED)


async def unknown(request: Request, error: Exception) -> Response:
    """Return the response for an HTTPException: unknown path or method, or unreadable request."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = _allowed(request)
        said = f"method: expected {allowed}, got {request.method}; see /docs"
        return refusal(405, said, {"Allow": allowed})
    if error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase:
        said = f"path: expected one that is served, got {request.url.path!r:.80}; see /docs"
    else:
        said = error.detail
    return refusal(error.status_code, said, error.headers)


def _allowed(request: Request) -> str:
    """Return all methods of the path for the header `Allow`; static files allow GET and HEAD."""
    template = _template(request)
    same = [each for each in request.app.routes if getattr(each, "path", "") == template]
    return ", ".join(sorted({name for each in same for name in each.methods} or {"GET", "HEAD"}))


def _template(request: Request) -> str:
    declared = getattr(request.scope.get("endpoint"), "declared", None)
    return declared.path if declared else "path not served"


_STATUS_OF: dict[type[Exception], int] = {
    InvalidInput: 422,
    ConflictingEvent: 409,
    LearnerErased: 410,
    StorageUnavailable: 503,
    NothingServed: 503,
}

HANDLED: tuple[type[Exception], ...] = (HTTPException, *_STATUS_OF)
"""Exceptions with a response of their own; all others are internal errors."""

ERROR_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    **dict.fromkeys(_STATUS_OF, refused),
    HTTPException: unknown,
    Exception: failed,
}
"""Starlette's exception handlers, for errors of handlers and middleware."""
