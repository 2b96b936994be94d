"""Access log: one line per request, written in batches several times per second.

A `logging` record per request, formatted and flushed alone, takes a fifth of the time of a
response.
"""

import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

EVERY_SECONDS = 0.2
END_SECONDS = 1.0
"""Maximum wait, in seconds, for the last lines at shutdown, in case nobody reads the output."""

MOST = 100_000
"""Maximum number of waiting lines, in case the output is blocked; the oldest are dropped."""

NAME = "serving.requests"


class AccessLog:
    """Queue of lines in the format of `serving.observability.JsonLines`.

    Requests add lines only while `wanted` is true, thus after `start`.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._waiting: deque[bytes] = deque(maxlen=MOST)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, request_id: str, fields: dict[str, Any]) -> None:
        """Queue one line.

        Args:
            request_id: id of the request.
            fields: further fields of the line; never the learner's name.
        """
        line = {
            "time": datetime.now(UTC),
            "level": "INFO",
            "logger": NAME,
            "message": "request",
            "request_id": request_id,
            **fields,
        }
        self._waiting.append(orjson.dumps(line))

    def start(self, stream: TextIO | None = None) -> None:
        """Start to collect lines, and to write them in the background.

        Args:
            stream: output stream; by default standard output.
        """
        self.wanted = True
        target_stream = stream or sys.stdout

        def forever() -> None:
            while not self._ended.wait(EVERY_SECONDS):
                with suppress(OSError):  # the disk is full: only these lines are lost
                    self.flush(target_stream)
            with suppress(OSError):
                self.flush(target_stream)

        self._thread = threading.Thread(target=forever, daemon=True, name="request lines")
        self._thread.start()

    def close(self) -> None:
        """Write the waiting lines, and stop."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def flush(self, stream: TextIO) -> None:
        """Write all waiting lines in one call, so that no other line comes in between."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if lines:
            stream.write(b"\n".join([*lines, b""]).decode())
            stream.flush()


request_lines = AccessLog()
"""Access log of this process."""
