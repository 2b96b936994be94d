"""Middleware around every request: id, limits, authentication, metrics, access log.

It is a pure ASGI middleware: Starlette's `BaseHTTPMiddleware` costs more than all these checks
together. It wraps our application and, for BentoML's own endpoints, BentoML's application. If two
are nested, only the outer one acts.
"""

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from prometheus_client import Counter, Histogram
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensei.access.keys import OPEN, OPERATOR, Key
from serving.http.access_log import request_lines
from serving.http.auth import CALLER, ROLE, Access, RequestRefused
from serving.http.endpoints import FAILED, refusal
from serving.http.keyless import Headers
from serving.http.raw_path import AMBIGUOUS, is_ambiguous
from serving.observability import IN_FLIGHT, REQUEST_ID, REQUESTS, SECONDS

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16_384
MAX_TARGET_BYTES = 8_192
"""Maximum bytes of path and query together."""

ONCE = (b"host", b"authorization", b"x-api-key", b"origin", b"sec-fetch-site", b"content-length")
"""Headers allowed only once: given two, a proxy may trust the other one."""

BODY_SECONDS = 10.0
"""Maximum seconds for a caller to send a body."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
NOT_ROUTED = "not served"
"""Metrics label of requests without a route: unknown paths, and requests refused before routing."""

CLIENT_GONE = 499
"""Status in logs and metrics if the caller disconnected."""

SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
NO_STORE = (b"cache-control", b"no-store")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Limits of one request."""

    body_bytes: int = 1_048_576


class Guard:
    """ASGI middleware around the application.

    Args:
        app: the wrapped application.
        state: `state.access` admits callers, `state.rates` limits the rate per key, `state.limits`
            bounds requests. They are looked up per request, because the application exists before
            the settings are read.
        open_paths: paths that need no key.
        open_folder: path prefix that needs no key.
    """

    def __init__(
        self, app: ASGIApp, state: State, open_paths: Iterable[str], open_folder: str
    ) -> None:
        self._app = app
        self._state = state
        self._open_paths = frozenset(open_paths)
        self._open_folder = open_folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, and always respond."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http" or ROLE in scope:
            await self._app(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status, key = perf_counter(), 0, None
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not _SAFE_ID.fullmatch(request_id):
            request_id = b"%016x" % random.getrandbits(64)
        REQUEST_ID.set(request_id.decode())
        scope[ROLE] = OPEN
        added = [*SECURITY, (b"x-request-id", request_id)]

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                private = () if scope[ROLE] == OPEN else (NO_STORE,)
                message["headers"] = [*message.get("headers", ()), *private, *added]
            await send(message)

        IN_FLIGHT.inc()
        try:
            _check_size(scope)
            _check_once(scope["headers"], headers)
            if is_ambiguous(scope.get("raw_path") or scope["path"].encode()):
                raise RequestRefused(400, AMBIGUOUS)
            key = await self._admit(scope, headers)
            length = headers.get(b"content-length", b"")
            if length.strip(b"0") or b"transfer-encoding" in headers:
                receive = await self._with_body(length, receive)
            await self._app(scope, receive, answer)
        except RequestRefused as refused:
            response = refusal(refused.status, str(refused), refused.headers)
            await response(scope, receive, answer)
        except ClientGone:
            status = CLIENT_GONE
        except Exception:
            logger.exception("a request failed")
            if status:
                raise  # the response has started: the server must close the connection
            await refusal(500, FAILED)(scope, receive, answer)
        finally:
            IN_FLIGHT.dec()
            _note(scope, status or CLIENT_GONE, perf_counter() - started, key)

    async def _admit(self, scope: Scope, headers: Headers) -> Key | None:
        """Authenticate the caller, set their role in the scope, and return their key.

        Raises:
            RequestRefused: 401, 403, 429, 503.
        """
        path = scope["path"]
        if path in self._open_paths or path.startswith(self._open_folder):
            return None
        access: Access = self._state.access
        key = access.admit(scope, headers, _presented(headers))
        if key is None:
            scope[ROLE] = OPERATOR
            return None
        scope[ROLE], scope[CALLER] = key.role, key.key_id
        await self._state.rates.take(key.key_id)
        return key

    async def _with_body(self, length: bytes, receive: Receive) -> Receive:
        """Read the whole body before the application runs, up to the limit.

        Raises:
            RequestRefused: 413, 408.
            ClientGone: the caller disconnected.
        """
        limits: Limits = self._state.limits
        limit = limits.body_bytes
        said = f"body: expected at most {limit} bytes, got more; send less at once"
        too_large = RequestRefused(413, said, {"Connection": "close"})
        if length and int(length) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise too_large
                    if not message.get("more_body"):
                        return _replayed(bytes(body), receive)
        except TimeoutError:
            said = f"body: expected within {BODY_SECONDS:.0f} seconds, got a part; send it at once"
            raise RequestRefused(408, said, {"Connection": "close"}) from None


class ClientGone(Exception):
    """The caller disconnected before the body was complete."""


def _presented(headers: Headers) -> bytes:
    """Return the key as sent; empty if none was sent."""
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


def _check_size(scope: Scope) -> None:
    """Check that target and headers are within their limits.

    Raises:
        RequestRefused: 414, 431.
    """
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        said = f"path: expected at most {MAX_TARGET_BYTES} bytes with its query, got more"
        raise RequestRefused(414, f"{said}; send less")
    headers = scope["headers"]
    size = sum([len(name) + len(value) for name, value in headers])
    if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:
        said = f"headers: expected at most {MAX_HEADERS} of {MAX_HEADER_BYTES} bytes, got more"
        raise RequestRefused(431, f"{said}; send fewer")


def _check_once(sent: Sequence[tuple[bytes, bytes]], headers: Headers) -> None:
    """Check that no header of `ONCE` comes twice: a proxy may use the other value.

    Raises:
        RequestRefused: 400.
    """
    if len(sent) == len(headers):
        return
    names = [name for name, _ in sent]
    for name in ONCE:
        if names.count(name) > 1:
            title = name.decode().title()
            raise RequestRefused(
                400, f"{title}: expected one such header, got several; send it once"
            )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first gives the body already read, then further messages."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return rest.pop() if rest else await receive()

    return replay


_counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def _note(scope: Scope, status: int, seconds: float, key: Key | None) -> None:
    """Count a request and log it, by its route template and never by its path."""
    declared: Any = getattr(scope.get("endpoint"), "declared", None) or scope.get("route")
    route: str = getattr(declared, "path", "") or NOT_ROUTED
    method = scope["method"] if scope["method"] in METHODS else "other"
    counted = _counters.get((route, method, status))
    if counted is None:
        counted = (REQUESTS.labels(route, method, status), SECONDS.labels(route))
        _counters[route, method, status] = counted
    counted[0].inc()
    counted[1].observe(seconds)
    if request_lines.wanted:
        fields = {
            "route": route,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "key": key.key_id if key else None,
        }
        request_lines.add(REQUEST_ID.get() or "", fields)
