"""Limits of a connection: size and time of a request's head, unread answers, number of them.

httptools keeps a header until its end before any code of ours runs, and uvicorn has no timeout
until a head is complete. So the bytes are counted before they are parsed, and once a second all
connections of the worker are looked at (docs/security.md).
"""

import asyncio
import json
import logging
import resource
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32_768
"""Most bytes of request line and headers, of a chunk's frame, or of trailers.

More than `serving.http.guard` admits, so that an honest head is always refused there, in words.
"""

HEAD_SECONDS = 10
"""How long a head may take, from the connection or from its first byte."""

STALLED_SECONDS = 10
"""How long an answer may wait without `SENT_BYTES` of it being read."""

SENT_BYTES = 65_536
PIPELINED = 16
"""Most requests that wait in one connection for the answer to an earlier one."""

MAX_CONNECTIONS = 4_000
"""Of one worker; an idle one takes about 10 KB."""

RESERVED_FILES = 256
"""File descriptors that connections leave to databases, bundles and logs."""

UNREADABLE = "request: expected HTTP/1.1, got what cannot be read as such; correct its framing"
logger = logging.getLogger(__name__)


class Connections:
    """The connections of one worker, and a clock that they share.

    Args:
        limit: most connections; at the limit, those that wait longest for a request are closed.
        keep_alive: seconds that a connection may stay open between two requests.
    """

    def __init__(self, limit: int, keep_alive: int) -> None:
        self.keep_alive = keep_alive
        self.seconds = 0
        self._limit = limit
        self._open: set[BoundedProtocol] = set()
        self._runs = False
        self._told = -60

    def add(self, connection: "BoundedProtocol") -> None:
        """Count a new connection; at the limit, make room for it or refuse it."""
        if not self._runs:
            self._runs = True
            connection.loop.call_later(1.0, self._tick, connection.loop)
        self._open.add(connection)
        if len(self._open) > self._limit:
            self._make_room(connection)

    def discard(self, connection: "BoundedProtocol") -> None:
        """Count a connection no longer."""
        self._open.discard(connection)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds += 1
        for connection in tuple(self._open):
            connection.end_overdue()
        loop.call_later(1.0, self._tick, loop)

    def _make_room(self, newcomer: "BoundedProtocol") -> None:
        """Close several that wait longest, those that never asked first; else the newcomer."""
        if self.seconds - self._told >= 60:
            self._told = self.seconds
            logger.warning("%d connections: those without a request are closed", self._limit)
        idle = [each for each in self._open if each.is_idle and each is not newcomer]
        idle.sort(key=lambda each: (each.has_asked, each.since))
        for each in idle[: 1 + self._limit // 20]:
            self._open.discard(each)
            each.transport.close()
        if not idle:
            said = f"connections: expected at most {self._limit}, got more; repeat in a second"
            newcomer.refuse(503, said)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    What runs per request only counts bytes; the rest is done once a second, or in rare cases.

    Args:
        connections: of the worker.
        arguments: of uvicorn.
    """

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.timeout_keep_alive = connections.keep_alive
        self.since = connections.seconds
        self._all = connections
        self._unparsed = 0  # bytes since a head, a chunk, or a part of a body was complete
        self._is_unawaited = False  # a body comes after the answer
        self._late_since: int | None = None
        self._unsent: tuple[int, int] | None = None  # bytes, and the second they were counted in
        self._seen = self.cycle
        self._fault: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way but the wait for a request."""
        done = self.cycle is None or self.cycle.response_complete
        return done and not self.transport.get_write_buffer_size()

    @property
    def has_asked(self) -> bool:
        """Whether a request ever came."""
        return self.cycle is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._all.discard(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to uvicorn's websockets, which the application closes at once."""
        self._all.discard(self)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse, as far as a head may be long."""
        self._unparsed += len(data)
        if self._unparsed > HEAD_BYTES:
            self._unparsed -= len(data)
            self._parse_in_pieces(data)
        else:
            super().data_received(data)

    def _parse_in_pieces(self, data: bytes) -> None:
        """The same of what may be a long body, or a long head."""
        for start in range(0, len(data), HEAD_BYTES):
            piece = data[start : start + HEAD_BYTES]
            self._unparsed += len(piece)
            if self._unparsed > HEAD_BYTES:
                said = f"headers: expected at most {HEAD_BYTES} bytes, got more; send fewer"
                return self.refuse(431, said)
            super().data_received(piece)
            if self.transport.is_closing():
                return None
        return None

    # What the parser completes

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._unparsed = 0
        if len(self.pipeline) >= PIPELINED:
            said = f"requests: expected at most {PIPELINED} before an answer, got more; await it"
            self._reject(said)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._unparsed = 0
        self._is_unawaited = self.cycle.response_complete
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """Hold that a body in chunks is nothing but chunks."""
        codings = [value for name, value in self.scope["headers"] if name == b"transfer-encoding"]
        if codings != [b"chunked"] or self.scope["http_version"] != "1.1":
            self._reject("transfer-encoding: expected chunked, in HTTP/1.1, got another; send that")
        self.headers = []  # trailers are no headers

    def on_chunk_complete(self) -> None:
        """Take in a chunk, or the end of all with its trailers."""
        self._unparsed = 0

    def _should_upgrade(self) -> bool:
        """Refuse a body: the parser would take it for the next request, which is smuggling."""
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
                self._reject("upgrade: expected no body with it, got one; send it without")
        return super()._should_upgrade()

    def _reject(self, sentence: str) -> None:
        self._fault = sentence
        raise ValueError(sentence)

    def resume_writing(self) -> None:
        """Note that an answer is being read."""
        self._unsent = None
        super().resume_writing()

    # Ends

    def end_overdue(self) -> None:
        """Close a connection that is late with a head, or does not read its answers."""
        now = self._all.seconds
        if self.cycle is not self._seen:  # it asked since
            self._seen, self.since, self._late_since, self._is_unawaited = (
                self.cycle,
                now,
                None,
                False,
            )
        if self._is_stalled():
            self.transport.abort()
        elif not (self._unparsed or self._is_unawaited or self.cycle is None):
            self._late_since = None
        elif not self.flow.read_paused:  # else it is we who do not read
            if self._late_since is None:
                self._late_since = self.since if self.cycle is None else now
            if now - self._late_since > HEAD_SECONDS:
                self._end_late()

    def _end_late(self) -> None:
        if self._unparsed:
            said = f"request: expected within {HEAD_SECONDS} seconds, got a part; send it at once"
            self.refuse(408, said)
        else:
            self.transport.close()

    def _is_stalled(self) -> bool:
        unsent, now = self.transport.get_write_buffer_size(), self._all.seconds
        if not unsent or self._unsent is None or unsent <= self._unsent[0] - SENT_BYTES:
            self._unsent = (unsent, now) if unsent else None
            return False
        return now - self._unsent[1] >= STALLED_SECONDS

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's
        """Refuse what cannot be parsed, or must not be."""
        self.refuse(400, self._fault or UNREADABLE)

    def refuse(self, status: int, sentence: str) -> None:
        """Answer with an error, where an answer is due, and close the connection."""
        if not self._owes_another():
            body = json.dumps({"error": sentence}).encode()
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                "content-type: application/json\r\n"
                f"content-length: {len(body)}\r\n"
                f"{'retry-after: 1' + chr(13) + chr(10) if status == 503 else ''}"
                "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _owes_another(self) -> bool:
        """Whether the next answer would be taken for that to an earlier request."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        return bool(self.pipeline) or self.cycle.response_started or not self.cycle.more_body


def connection_limit() -> int:
    """As many connections as the system allows files, less a reserve; raises the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS says infinity and allows less
        hard = soft
    files = MAX_CONNECTIONS + RESERVED_FILES if hard == resource.RLIM_INFINITY else hard
    return min(MAX_CONNECTIONS, max(files - RESERVED_FILES, files // 2))


def bound_connections(keep_alive: int) -> None:
    """Have uvicorn, which BentoML starts without asking, serve this process's connections so.

    Args:
        keep_alive: seconds that a connection may stay open between two requests.
    """
    made = partial(BoundedProtocol, Connections(connection_limit(), keep_alive))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = made  # type: ignore[assignment]
