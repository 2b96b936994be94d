"""One declaration of an endpoint: the route that answers and the page that describes it.

To add a route, write its handler and declare it in `ENDPOINTS` of the module of its group
(`reading`, `writing`, `operations`); `serving.app` assembles the groups. A handler is

    async def handle(request: Request, asked: TheQuery) -> Response
    async def handle(request: Request, asked: TheQuery, sent: TheBody) -> Response

`asked` holds path and query parameters, `sent` the JSON body, both checked; it answers with
`answer(value)`. What it raises becomes an answer: InvalidInput 422, ConflictingEvent 409,
LearnerErased 410, StorageUnavailable 503, anything else 500, each as `{"error": sentence}`.
A slash within a learner's name is sent as `%2F`; any other parts the path.

What must know the declaration (who may call it) is a middleware of each route, see
`serving.app.route_middleware`; what need not is a middleware of the application. A middleware
finds the declaration of what answered in `scope["endpoint"].declared`, also its path template.
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
"""Who may call: anybody; the platform's back end; the people who run it."""

STATUSES = {
    200: "the answer",
    201: "done, and there from now on",
    202: "taken in",
    400: "the path has a dot segment, a header came twice, or the body is no JSON",
    401: "a key is needed",
    403: "the key is of another role; or, without keys, a page of another site asks",
    404: "there is no such thing",
    405: "the path is served, the method is not",
    408: "the body did not come in time",
    409: "the same id is there with other content",
    410: "the learner was erased; nothing is kept of him",
    413: "the body is too large",
    414: "path and query are too long",
    415: "the body is not said to be JSON",
    422: "a parameter or a field does not hold what is expected",
    429: "too many requests of this key",
    431: "the headers are too long or too many",
    500: "an error on our side; it is logged",
    503: "the log does not answer, or no model serves; nothing was written",
}
"""Every status that may be answered, in words."""

FAILED = "service: expected to answer, got an error that is logged; repeat once"
"""All that a caller learns of a fault of ours."""

MAX_LEVELS = 2 * rules.MAX_LEVELS
"""Levels of objects and lists in a body: events may be listed, and hold metadata."""

TOO_DEEP = f"body: expected at most {MAX_LEVELS} levels of nesting, got more; flatten it"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """What is served under a method and a path.

    Attributes:
        method: of HTTP.
        path: template such as `/api/user/{username}`; also the label of its metrics.
        handle: see the module.
        summary: one line.
        returns: what the answer holds; None where it is no JSON. Tests hold answers against it.
        query: path and query parameters.
        body: what the JSON body holds, if there is one.
        scope: who may call.
        status: of a good answer.
        statuses: what else it answers besides what `documented` adds to every endpoint.
        example: an answer.
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
        """Every status it may answer, in order."""
        found = {self.status, 400, 413, 414, 422, 431, 500, *self.statuses}
        if self.body:
            found |= {408, 415}
        if self.scope != "open":
            found |= {401, 403, 429, 503}
        return sorted(found)


class Responder(Protocol):
    """What Starlette calls: a handler with the declaration that it came from."""

    declared: Endpoint

    async def __call__(self, request: Request) -> Response:
        """Parse, handle, answer."""


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    body = orjson.dumps(content)
    if headers:
        return Response(body, status, headers, media_type="application/json")
    return _Plain(body, status)


class _Plain(Response):
    """JSON with no headers but its own, written down at once: half of what a response costs."""

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
    """An error as every endpoint answers it; `details` are for programs."""
    return answer({"error": sentence, **(details or {})}, status, headers)


def route(endpoint: Endpoint, middleware: Sequence[Middleware] = ()) -> Route:
    """The route of a declaration.

    Args:
        endpoint: what is declared.
        middleware: runs before the request is read.
    """
    respond = responder(endpoint)
    return RawPathRoute(endpoint.path, respond, methods=[endpoint.method], middleware=middleware)


def responder(endpoint: Endpoint) -> Responder:
    """What reads a request, has it handled, and answers; errors of `HANDLED` come out."""

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
    """Names and values of a query; most requests send one of a few."""
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
        if "depth" in str(error) or "ecursion" in str(error):  # as versions of orjson say it
            raise HTTPException(400, TOO_DEEP) from None
        raise HTTPException(
            400, f"body: expected JSON, got something else ({error}); NaN is none either, send null"
        ) from None
    if rules.is_nested_deeper(found, MAX_LEVELS):
        raise InvalidInput(TOO_DEEP)
    return found


async def refused(request: Request, error: Exception) -> Response:
    """What an error of ours says, under its status."""
    assert isinstance(error, SenseiError)
    status = next(code for kind, code in _STATUS_OF.items() if isinstance(error, kind))
    if not isinstance(error, StorageUnavailable):
        later = {"Retry-After": "60"} if status == 503 else None
        return refusal(status, str(error), later, error.details)
    logger.warning("%s %s: %s", request.method, _template(request), error)  # it names our places
    sentence, seconds = "log: expected it to answer, got nothing; repeat in a second", "1"
    for cause in (error, error.__cause__):
        if isinstance(cause, SchemaMismatch):  # a person has to act first
            sentence, seconds = str(cause), "60"
    return refusal(status, sentence, {"Retry-After": seconds}, error.details)


async def failed(request: Request, error: Exception) -> Response:
    """500; what happened stands in the log alone."""
    logger.error("%s %s failed", request.method, _template(request), exc_info=error)
    return refusal(500, FAILED)


async def unknown(request: Request, error: Exception) -> Response:
    """What was asked of a path or a method that is not served, or sent in no form we read."""
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
    """All methods of the path, as the header `Allow` has them; a folder of files is read."""
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
"""What is answered by its kind; all else is a fault of ours."""

ERROR_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    **dict.fromkeys(_STATUS_OF, refused),
    HTTPException: unknown,
    Exception: failed,
}
"""What Starlette does with what is raised, by a handler or by a middleware."""
