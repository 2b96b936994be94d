"""ASGI middleware for pages on loopback: protection from other sites and DNS rebinding.

A page of any site that is open in a browser on this machine can send requests to loopback. The
browser adds headers that the page cannot change: `Host`, `Origin`, `Sec-Fetch-Site`. Prefect,
MLflow and Evidently check these headers in part or not at all, so each runs behind this guard.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_HOST = re.compile(rb"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")
"""Pattern of a `Host` that names this machine.

Any port matches: a tunnel (`ssh -L`) may end at another port.
"""

PROXY_HEADERS = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"x-original-host",
        b"x-host",
    }
)
"""Headers that only a proxy adds, or that would name another host than `Host`."""

FRAMES = (b"content-security-policy", b"frame-ancestors 'self'")
"""Header added to every response against clickjacking.

No other site can show our pages in a frame.
"""


class Refusal(NamedTuple):
    """Status and sentence of a refused request."""

    status: int
    sentence: str


class LoopbackGuard:
    """Middleware that accepts requests which name this machine and come from no other site.

    Args:
        app: the wrapped application, HTTP and websockets.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it with 400 or 403; a websocket before it is accepted."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        rejection = refusal(scope.get("method", ""), scope["headers"])
        if rejection is None:
            await self._app(scope, receive, _framed(send))
        else:
            await refuse(scope, send, rejection)


def refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    """Decide on a request by its headers; None accepts it.

    Args:
        method: of HTTP; empty for a websocket.
        headers: names in lower case, as ASGI has them.
    """
    values_by_name: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values_by_name.setdefault(name, []).append(value)
    hosts, origins = values_by_name.get(b"host", []), values_by_name.get(b"origin", [])
    if len(hosts) != 1 or len(origins) > 1:
        return Refusal(400, "Host: expected one, and at most one Origin; send each once")
    if not PROXY_HEADERS.isdisjoint(values_by_name):
        return Refusal(403, "request: expected a direct one, got one from a proxy; use `ssh -L`")
    host = hosts[0].lower()
    if not LOOPBACK_HOST.fullmatch(host):
        return Refusal(403, "Host: expected localhost or a loopback address; open that address")
    if origins and origins[0].lower() != b"http://" + host:
        return Refusal(403, "Origin: expected a page of this server, got one of another site")
    site = values_by_name.get(b"sec-fetch-site", [b"none"])[0]
    if site not in (b"none", b"same-origin") and not _is_link(method, values_by_name):
        return Refusal(403, "request: expected a page of this server, got one of another site")
    return None


def _is_link(method: str, values_by_name: dict[bytes, list[bytes]]) -> bool:
    """Tell if a person followed a link: the page is shown, and its opener cannot read it."""
    return (
        method == "GET"
        and values_by_name.get(b"sec-fetch-mode") == [b"navigate"]
        and values_by_name.get(b"sec-fetch-dest") == [b"document"]
    )


def _framed(send: Send) -> Send:
    async def framed(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), FRAMES]
        await send(message)

    return framed


async def refuse(scope: Scope, send: Send, rejection: Refusal) -> None:
    """Answer with status and sentence; close a websocket before it is accepted."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": rejection.sentence[:120]})
        return
    body = rejection.sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": rejection.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
