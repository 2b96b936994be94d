"""The log's line of each request: made at once, written some times a second with its neighbours.

A record of `logging` for each, formatted and flushed alone, costs a fifth of an answer.
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
"""How long the end waits for the last lines at most: nobody may read them."""

MOST = 100_000
"""Lines that wait at most, where nobody takes what is written; the oldest are dropped."""

NAME = "serving.requests"


class AccessLog:
    """Lines in the form of `serving.observability.JsonLines`; nothing is kept until `start`."""

    def __init__(self) -> None:
        self.wanted = False
        self._waiting: deque[bytes] = deque(maxlen=MOST)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, request_id: str, fields: dict[str, Any]) -> None:
        """Have a line written soon.

        Args:
            request_id: of the request.
            fields: what else the line holds; never who was asked about.
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
        """From now on keep lines, and write them in the background.

        Args:
            stream: where to; by default standard output.
        """
        self.wanted = True
        out = stream or sys.stdout

        def forever() -> None:
            while not self._ended.wait(EVERY_SECONDS):
                with suppress(OSError):  # the disk is full: these lines are lost, later ones not
                    self.flush(out)
            with suppress(OSError):
                self.flush(out)

        self._thread = threading.Thread(target=forever, daemon=True, name="request lines")
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def flush(self, stream: TextIO) -> None:
        """Write what waits, in one piece: no other line comes in between."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if lines:
            stream.write(b"\n".join([*lines, b""]).decode())
            stream.flush()


request_lines = AccessLog()
"""Of this process."""
