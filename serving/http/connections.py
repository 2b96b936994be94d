"""Limits of a connection: size and duration of a request's head, unread responses, total number.

httptools buffers a header until its end before our code runs. uvicorn has no timeout until a head
is complete. So this module counts bytes before they are parsed. Once per second it checks all
connections of the worker (docs/security.md).
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
"""Maximum bytes of request line and headers, of a chunk's frame, or of trailers.

The value exceeds the limit of `serving.http.guard`, so that an honest head is always refused there,
with an explanation."""

HEAD_SECONDS = 10
"""Maximum seconds for a head, from the start of the connection or from the head's first byte."""

STALLED_SECONDS = 10
"""Maximum seconds in which the client reads less than `SENT_BYTES` of a response."""

SENT_BYTES = 65_536
PIPELINED = 16
"""Maximum number of requests in one connection that wait for the response to an earlier one."""

MAX_CONNECTIONS = 4_000
"""Maximum number of connections per worker; an idle one takes about 10 KB."""

RESERVED_FILES = 256
"""Number of file descriptors reserved for databases, bundles and logs."""

UNREADABLE = "request: expected HTTP/1.1, got an invalid request; correct its framing"
logger = logging.getLogger(__name__)


class Connections:
    """Open connections of one worker, and their shared clock.

    Args:
        limit: maximum number of connections; at the limit, the longest idle ones are closed.
        keep_alive: maximum seconds that a connection may stay open between two requests.
    """

    def __init__(self, limit: int, keep_alive: int) -> None:
        self.keep_alive = keep_alive
        self.seconds = 0
        self._limit = limit
        self._open: set[BoundedProtocol] = set()
        self._runs = False
        self._warned_at = -60

    def add(self, connection: "BoundedProtocol") -> None:
        """Register a new connection; above the limit, close idle ones or refuse it."""
        if not self._runs:
            self._runs = True
            connection.loop.call_later(1.0, self._tick, connection.loop)
        self._open.add(connection)
        if len(self._open) > self._limit:
            self._make_room(connection)

    def discard(self, connection: "BoundedProtocol") -> None:
        """Remove a connection from the count."""
        self._open.discard(connection)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds += 1
        for connection in tuple(self._open):
            connection.end_overdue()
        loop.call_later(1.0, self._tick, loop)

    def _make_room(self, newcomer: "BoundedProtocol") -> None:
        """Close several of the longest idle connections, or refuse the newcomer if none is idle.

        Connections that never sent a request are closed first.
        """
        if self.seconds - self._warned_at >= 60:
            self._warned_at = self.seconds
            logger.warning("%d connections: those without a request are closed", self._limit)
        idle = [
            connection
            for connection in self._open
            if connection.is_idle and connection is not newcomer
        ]
        idle.sort(key=lambda connection: (connection.has_asked, connection.since))
        for connection in idle[: 1 + self._limit // 20]:
            self._open.discard(connection)
            connection.transport.close()
        if not idle:
            sentence = f"connections: expected at most {self._limit}, got more; repeat in a second"
            newcomer.refuse(503, sentence)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits.

    The code per request only counts bytes. All other checks run once per second or in rare cases.

    Args:
        connections: the connections of the worker.
        arguments: arguments of uvicorn's protocol.
    """

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.timeout_keep_alive = connections.keep_alive
        self.since = connections.seconds
        self._all = connections
        self._unparsed = 0  # bytes since the last complete head, chunk or body part
        self._is_unawaited = False  # a body arrives after the response
        self._late_since: int | None = None
        self._unsent: tuple[int, int] | None = None  # bytes, and the second of the count
        self._seen = self.cycle
        self._fault: str | None = None

    @property
    def is_idle(self) -> bool:
        """True if the connection only waits for a request."""
        is_complete = self.cycle is None or self.cycle.response_complete
        return is_complete and not self.transport.get_write_buffer_size()

    @property
    def has_asked(self) -> bool:
        """True if the connection ever sent a request."""
        return self.cycle is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the new connection."""
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the closed connection."""
        self._all.discard(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to uvicorn's websockets, which the application closes at once."""
        self._all.discard(self)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse incoming data, up to the maximum length of a head."""
        self._unparsed += len(data)
        if self._unparsed > HEAD_BYTES:
            self._unparsed -= len(data)
            self._parse_in_pieces(data)
        else:
            super().data_received(data)

    def _parse_in_pieces(self, data: bytes) -> None:
        """Parse data in pieces, because it may be a long body or a head that is too long."""
        for start in range(0, len(data), HEAD_BYTES):
            chunk = data[start : start + HEAD_BYTES]
            self._unparsed += len(chunk)
            if self._unparsed > HEAD_BYTES:
                sentence = f"headers: expected at most {HEAD_BYTES} bytes, got more; send fewer"
                return self.refuse(431, sentence)
            super().data_received(chunk)
            if self.transport.is_closing():
                return None
        return None

    # Parser callbacks

    def on_headers_complete(self) -> None:
        """Start a request, or reject it if too many wait in the connection."""
        self._unparsed = 0
        if len(self.pipeline) >= PIPELINED:
            sentence = (
                f"requests: expected at most {PIPELINED} before an answer, got more; await it"
            )
            self._reject(sentence)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self._unparsed = 0
        self._is_unawaited = self.cycle.response_complete
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """Check that `chunked` is the only transfer coding, and the version is HTTP/1.1."""
        codings = [value for name, value in self.scope["headers"] if name == b"transfer-encoding"]
        if codings != [b"chunked"] or self.scope["http_version"] != "1.1":
            self._reject("transfer-encoding: expected chunked, in HTTP/1.1, got another; send that")
        self.headers = []  # trailers are not headers

    def on_chunk_complete(self) -> None:
        """Reset the byte count after a chunk, or after the last one with its trailers."""
        self._unparsed = 0

    def _should_upgrade(self) -> bool:
        """Reject a body of an upgrade request.

        The parser would read it as the next request, which is request smuggling.
        """
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
                self._reject("upgrade: expected no body, got one; send it without a body")
        return super()._should_upgrade()

    def _reject(self, sentence: str) -> None:
        self._fault = sentence
        raise ValueError(sentence)

    def resume_writing(self) -> None:
        """Record that the client reads a response."""
        self._unsent = None
        super().resume_writing()

    # Closing

    def end_overdue(self) -> None:
        """Close a connection that is late with a head, or does not read its responses."""
        now = self._all.seconds
        if self.cycle is not self._seen:  # it sent a request since the last check
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
        elif not self.flow.read_paused:  # else the server itself paused reading
            if self._late_since is None:
                self._late_since = self.since if self.cycle is None else now
            if now - self._late_since > HEAD_SECONDS:
                self._end_late()

    def _end_late(self) -> None:
        if self._unparsed:
            sentence = (
                f"request: expected within {HEAD_SECONDS} seconds, got a part; send it at once"
            )
            self.refuse(408, sentence)
        else:
            self.transport.close()

    def _is_stalled(self) -> bool:
        unsent, now = self.transport.get_write_buffer_size(), self._all.seconds
        if not unsent or self._unsent is None or unsent <= self._unsent[0] - SENT_BYTES:
            self._unsent = (unsent, now) if unsent else None
            return False
        return now - self._unsent[1] >= STALLED_SECONDS

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's
        """Refuse a request that cannot be parsed, or that a check rejected."""
        self.refuse(400, self._fault or UNREADABLE)

    def refuse(self, status: int, sentence: str) -> None:
        """Send an error response if one is due, and close the connection."""
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
        """Tell if the client would take the next response for that of an earlier request."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        return bool(self.pipeline) or self.cycle.response_started or not self.cycle.more_body


def connection_limit() -> int:
    """Return the maximum number of connections, and raise the soft limit of open files.

    It is the system's file limit less a reserve, at most `MAX_CONNECTIONS`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS reports infinity but allows less
        hard = soft
    files = MAX_CONNECTIONS + RESERVED_FILES if hard == resource.RLIM_INFINITY else hard
    return min(MAX_CONNECTIONS, max(files - RESERVED_FILES, files // 2))


def bound_connections(keep_alive: int) -> None:
    """Make uvicorn use `BoundedProtocol` in this process; BentoML has no setting for it.

    Args:
        keep_alive: maximum seconds that a connection may stay open between two requests.
    """
    protocol_factory = partial(BoundedProtocol, Connections(connection_limit(), keep_alive))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = protocol_factory  # type: ignore[assignment]
