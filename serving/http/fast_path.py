"""Fast path for frequent GET requests; Starlette's layers would double their cost."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from sensei.access.keys import OPERATOR
from serving.http.endpoints import ERROR_HANDLERS, HANDLED, Endpoint, Responder, responder
from serving.http.raw_path import path_as_sent


class FastPath:
    """ASGI middleware that answers GET requests itself, and passes all others on.

    Routes of the scope `operator` are passed on too, because they have a middleware.

    Args:
        app: the application for all other requests, and for unknown paths.
        endpoints: all declarations, in the order in which they are matched.
    """

    def __init__(self, app: ASGIApp, endpoints: Sequence[Endpoint]) -> None:
        self._app = app
        self._routes = [
            (compile_path(each.path)[0], _responder(each))
            for each in endpoints
            if each.method == "GET"
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path = path_as_sent(scope)
            for pattern, respond in self._routes:
                if found := pattern.match(path):
                    if respond is None:
                        break
                    scope["path_params"], scope["endpoint"] = found.groupdict(), respond
                    return await _answer(respond, Request(scope, receive), receive, send)
        await self._app(scope, receive, send)


def _responder(endpoint: Endpoint) -> Responder | None:
    """Return the responder of an endpoint; None if the endpoint has a middleware of its own."""
    return None if endpoint.scope == OPERATOR else responder(endpoint)


async def _answer(respond: Responder, request: Request, receive: Receive, send: Send) -> None:
    try:
        response = await respond(request)
    except HANDLED as error:
        handler = next(ERROR_HANDLERS[kind] for kind in HANDLED if isinstance(error, kind))
        response = await handler(request, error)
    await response(request.scope, receive, send)
