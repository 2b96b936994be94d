"""Small servers that answer as a program would."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Listening = Callable[[dict[str, Any]], int]


@contextmanager
def _listening(answers: dict[str, Any]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            said = answer if isinstance(answer, str) else json.dumps(answer)
            self.wfile.write(said.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def listening() -> Iterator[Listening]:
    """Has a program answer some paths on a port of its own; gives the port."""
    with ExitStack() as stack:

        def begin(answers: dict[str, Any]) -> int:
            server: AbstractContextManager[int] = _listening(answers)
            return stack.enter_context(server)

        yield begin
