"""Small servers that answer as a program would, and a real one of Prefect."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from sensei.settings import Settings

PREFECT = Path(sys.executable).with_name("prefect")

Serving = Callable[[Path], AbstractContextManager[tuple[str, dict[str, str]]]]
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


@contextmanager
def _serving(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Prefect server, which is killed in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = (
        os.environ
        | Settings(home=home / "sensei").environment()
        | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url}
    )
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _wait_for(url)
            yield url, environment
        finally:
            process.kill()
            process.wait(30)


def _wait_for(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail("the Prefect server did not answer within 120 s")


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Runs a Prefect server in a home, and kills it in the end; gives API and environment."""
    return _serving
