"""Dispatch of requests to the declared endpoints: match, validate, handle, respond.

A `%2F` in a path is a slash within a name, so paths are matched as sent. Starlette's router matches
decoded paths, and its layers would double the cost of a frequent GET (docs/decisions/0010).
"""

import re
from collections.abc import Awaitable, Collection, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from sensei.access.keys import OPERATOR
from sensei.errors import InvalidInput
from sensei.events import rules
from serving.api.refused_events import keep_refused
from serving.api.request_schemas import invalid_request
from serving.http.auth import require_role
from serving.http.endpoints import Endpoint, error_response, refusal

MAX_LEVELS = 2 * rules.MAX_LEVELS
"""Maximum nesting of objects and lists in a body: events may be in a list and hold metadata."""

TOO_DEEP = f"body: expected at most {MAX_LEVELS} levels of nesting, got more; flatten it"

_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json")


class Dispatcher:
    """ASGI middleware that answers all declared paths, and passes other requests on.

    Args:
        app: the application for all other paths.
        endpoints: all declarations; no two path templates match the same path.
    """

    def __init__(self, app: ASGIApp, endpoints: Sequence[Endpoint]) -> None:
        self._app = app
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            by_method = by_path.setdefault(endpoint.path, {})
            by_method[endpoint.method] = endpoint
            if endpoint.method == "GET":
                by_method["HEAD"] = endpoint
        self._routes = [(compile_path(path)[0], methods) for path, methods in by_path.items()]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer the request, or pass it on."""
        if scope["type"] == "http":
            path = _path_as_sent(scope)
            for pattern, endpoints in self._routes:
                if match := pattern.match(path):
                    endpoint = endpoints.get(scope["method"])
                    scope["endpoint"] = endpoint or next(iter(endpoints.values()))
                    if endpoint is None:
                        return _not_allowed(endpoints, scope, receive, send)
                    return _respond(endpoint, match.groupdict(), scope, receive, send)
        return self._app(scope, receive, send)


def _path_as_sent(scope: Scope) -> str:
    """Return the path of a request with its `%2F` still encoded."""
    raw: bytes = scope.get("raw_path") or b""
    path: str = raw.decode("latin-1") if b"%" in raw else scope["path"]
    return path


async def _not_allowed(
    methods: Collection[str], scope: Scope, receive: Receive, send: Send
) -> None:
    allowed = ", ".join(sorted(methods))
    sentence = f"method: expected {allowed}, got {scope['method']}; see /docs"
    await refusal(405, sentence, {"Allow": allowed})(scope, receive, send)


async def _respond(
    endpoint: Endpoint, in_path: dict[str, str], scope: Scope, receive: Receive, send: Send
) -> None:
    """Validate the request, call the handler and send the response; any error becomes one."""
    request = Request(scope, receive)
    model: type[BaseModel] = endpoint.query
    try:
        if endpoint.scope == OPERATOR:
            require_role(OPERATOR, scope, unless=endpoint.platform_if)
        try:
            arguments = [model.model_validate(_parameters(scope["query_string"], in_path))]
            if endpoint.body is not None:
                model = endpoint.body
                arguments.append(model.model_validate(await _json(request)))
        except ValidationError as error:
            raise invalid_request(model, error) from None
        response = await endpoint.handle(request, *arguments)
    except Exception as error:
        response = error_response(request, error)
        if isinstance(error, InvalidInput) and endpoint.body is not None:
            await keep_refused(request, endpoint.path, in_path, error)
    await response(scope, receive, send)


@lru_cache(maxsize=1024)
def _query(text: bytes) -> tuple[tuple[str, str], ...]:
    """Return names and values of a query string; cached, because most requests repeat a few."""
    try:
        pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"query: expected UTF-8, got {text!r:.80}; encode it so") from None
    return tuple(pairs)


def _parameters(query_string: bytes, in_path: dict[str, str]) -> dict[str, str]:
    """Return path and query parameters by name, decoded.

    Raises:
        InvalidInput: a parameter is sent twice or is not valid UTF-8.
    """
    for name, value in in_path.items():
        if "%" in value:
            try:
                in_path[name] = unquote(value, errors="strict")
            except UnicodeDecodeError:
                sentence = f"{name}: expected UTF-8, got {value!r:.80}; encode it so"
                raise InvalidInput(sentence) from None
    pairs = _query(query_string)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        names = [name for name, _ in pairs]
        repeated_name = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{repeated_name}: expected one value, got several; send it once")
    if clashing_names := parameters.keys() & in_path.keys():
        name = min(clashing_names)
        raise InvalidInput(f"{name}: expected in the path only, got it twice; leave it out of ?")
    return parameters | in_path


async def _json(request: Request) -> Any:
    """Return the content of a JSON body.

    Raises:
        HTTPException: 415 for another content type, 400 for a body that is not JSON.
        InvalidInput: objects and lists are nested too deep.
    """
    kind = request.headers.get("content-type", "")
    if not _JSON_TYPE.fullmatch(kind.partition(";")[0].strip().lower()):
        raise HTTPException(
            415,
            f"Content-Type: expected application/json, got {kind[:80] or 'nothing'}; send it so",
        )
    body = await request.body()
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # the wording depends on orjson's version
        if "depth" in str(error) or "ecursion" in str(error):
            raise HTTPException(400, TOO_DEEP) from None
        raise HTTPException(
            400, f"body: expected JSON, got something else ({error}); send null for NaN"
        ) from None
    opening_brackets = body.count(b"{") + body.count(b"[")  # at least the number of levels
    if opening_brackets > MAX_LEVELS and rules.is_nested_deeper(content, MAX_LEVELS):
        raise InvalidInput(TOO_DEEP)
    return content
