"""What is asked most, answered without Starlette's layers, which cost as much as the answer."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from sensei.access.keys import OPERATOR
from serving.http.endpoints import ERROR_HANDLERS, HANDLED, Endpoint, Responder, responder
from serving.http.raw_path import path_as_sent


class FastPath:
    """ASGI middleware: answers the GETs of the platform itself, and hands all else on.

    Args:
        app: what answers the rest, and what is not served at all.
        endpoints: all that is served, in the order in which they are tried.
    """

    def __init__(self, app: ASGIApp, endpoints: Sequence[Endpoint]) -> None:
        self._app = app
        self._routes = [
            (compile_path(each.path)[0], _responder(each))
            for each in endpoints
            if each.method == "GET"
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
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
    """None of what has a middleware of its own."""
    return None if endpoint.scope == OPERATOR else responder(endpoint)


async def _answer(respond: Responder, request: Request, receive: Receive, send: Send) -> None:
    try:
        response = await respond(request)
    except HANDLED as error:
        handler = next(ERROR_HANDLERS[kind] for kind in HANDLED if isinstance(error, kind))
        response = await handler(request, error)
    await response(request.scope, receive, send)
