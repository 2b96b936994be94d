"""Middleware around every request: id, limits, authentication, metrics, access log.

It is a pure ASGI middleware: Starlette's `BaseHTTPMiddleware` costs more than all these checks
together. It wraps our application and, for BentoML's own endpoints, BentoML's application. If two
are nested, only the outer one acts.
"""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Iterable, Sequence
from itertools import chain
from time import perf_counter
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from prometheus_client import Counter, Histogram
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensei.access.keys import OPEN, OPERATOR, Key
from serving.http.access_log import request_lines
from serving.http.auth import CALLER, ROLE, Access, RequestRefused
from serving.http.endpoints import FAILED, Endpoint, refusal
from serving.http.keyless import Headers
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

AMBIGUOUS = (
    "path: expected no `.` or `..` as a segment, no `//` and no backslash, got one; a proxy may "
    "read another path: send the final path"
)
_DECODING_ROUNDS = 3  # a path encoded more often is not a dot segment
_BLANK = b"\0\t\n\r "

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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request, and always respond."""
        if scope["type"] == "websocket":
            return send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http" or ROLE in scope:
            return self._app(scope, receive, send)
        return self._guarded(scope, receive, send)

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
            _check_head(scope, headers)
            key = await self._admit(scope, headers)
            length = headers.get(b"content-length", b"")
            if length.strip(b"0") or b"transfer-encoding" in headers:
                receive = await self._with_body(length, receive)
            await self._app(scope, receive, answer)
        except RequestRefused as error:
            response = refusal(error.status, str(error), error.headers)
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
        key = access.admit(scope, headers)
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
        if length and int(length) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                is_complete = False
                while not is_complete:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _too_large(limit)
                    is_complete = not message.get("more_body")
        except TimeoutError:
            expected = f"body: expected within {BODY_SECONDS:.0f} seconds"
            sentence = f"{expected}, got a part; send it at once"
            raise RequestRefused(408, sentence, {"Connection": "close"}) from None
        messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay


def _too_large(limit: int) -> RequestRefused:
    sentence = f"body: expected at most {limit} bytes, got more; send less at once"
    return RequestRefused(413, sentence, {"Connection": "close"})


class ClientGone(Exception):
    """The caller disconnected before the body was complete."""


def _check_head(scope: Scope, headers: Headers) -> None:
    """Check path, query and headers: their size, repeated headers, and ambiguous paths.

    Raises:
        RequestRefused: 414, 431, 400.
    """
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        expected = f"path: expected at most {MAX_TARGET_BYTES} bytes with its query"
        raise RequestRefused(414, f"{expected}, got more; send less")
    pairs = scope["headers"]
    if sum(map(len, chain.from_iterable(pairs))) > MAX_HEADER_BYTES or len(pairs) > MAX_HEADERS:
        expected = f"headers: expected at most {MAX_HEADERS} of {MAX_HEADER_BYTES} bytes"
        raise RequestRefused(431, f"{expected}, got more; send fewer")
    if len(pairs) > len(headers):
        _check_once([name for name, _ in pairs])
    if b"//" in path or b"\\" in path:
        raise RequestRefused(400, AMBIGUOUS)
    if (b"/." in path or b"%" in path) and _has_dot_segment(path):
        raise RequestRefused(400, AMBIGUOUS)


def _check_once(names: Sequence[bytes]) -> None:
    """Check that no header of `ONCE` comes twice: a proxy may use the other value.

    Raises:
        RequestRefused: 400.
    """
    for name in ONCE:
        if names.count(name) > 1:
            title = name.decode().title()
            raise RequestRefused(
                400, f"{title}: expected one such header, got several; send it once"
            )


def _has_dot_segment(path: bytes) -> bool:
    """Tell if another server on the way may read a path differently: RFC 3986, 5.2.4.

    Dot segments count in every spelling: encoded, encoded twice, between encoded slashes, or with
    path parameters (`..;x`). A `%2F%2F` or a `%5C` within a name is not ambiguous.
    """
    decoded = path
    for _ in range(_DECODING_ROUNDS):
        decoded = unquote_to_bytes(decoded)
    segments = decoded.replace(b"\\", b"/").split(b"/")
    return any(segment.partition(b";")[0].strip(_BLANK) in (b".", b"..") for segment in segments)


_counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def _note(scope: Scope, status: int, seconds: float, key: Key | None) -> None:
    """Count a request and log it, by its route template and never by its path."""
    endpoint = scope.get("endpoint")
    matched_route = endpoint if isinstance(endpoint, Endpoint) else scope.get("route")
    route: str = getattr(matched_route, "path", "") or NOT_ROUTED
    method = scope["method"] if scope["method"] in METHODS else "other"
    counters = _counters.get((route, method, status))
    if counters is None:
        counters = (REQUESTS.labels(route, method, status), SECONDS.labels(route))
        _counters[route, method, status] = counters
    counters[0].inc()
    counters[1].observe(seconds)
    if request_lines.wanted:
        fields = {
            "route": route,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "key": key.key_id if key else None,
        }
        request_lines.add(REQUEST_ID.get() or "", fields)
