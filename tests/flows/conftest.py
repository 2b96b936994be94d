"""Small servers that answer as a program would, and a real one of Prefect."""

import json
import os
import signal
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
import psutil
import pytest

from flows.local.launch import launching
from flows.local.prefect_auth import CLIENT, SERVER
from sensei.settings import Settings

ROOT = Path(__file__).parents[2]
START_SECONDS = 400  # a busy machine
AUTH = "tests:secret"
"""Auth string of tests' servers: with a colon, an address can carry it."""

Serving = Callable[[Path], AbstractContextManager[tuple[str, dict[str, str]]]]
Listening = Callable[[dict[str, Any]], int]


@contextmanager
def _listening(answers: dict[str, Any]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.wfile.write(text.encode())

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
    """A Prefect server as `make server` starts it, which is killed in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}/api"
    environment = os.environ | Settings(home=home / "sensei").environment() | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://{address}",
        "SENSEI_PREFECT_PORT": str(port),
        SERVER: AUTH,
        CLIENT: AUTH,
    }  # fmt: skip
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            launching("prefect"), cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            _wait_for(f"http://{address}")
            yield f"http://{AUTH}@{address}", environment
        finally:
            process.kill()
            process.wait(30)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail("the Prefect server did not answer in time")


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Runs a Prefect server in a home, and kills it in the end; gives API and environment."""
    return _serving


SENSEI = [sys.executable, "-c", "from flows.cli.command_line import main; main()"]
PORTS = ("PREFECT", "MLFLOW", "EVIDENTLY", "SERVICE")


def _free_ports(count: int) -> list[int]:
    reserved_sockets = [socket.socket() for _ in range(count)]
    for reserved in reserved_sockets:
        reserved.bind(("127.0.0.1", 0))
    ports = [reserved.getsockname()[1] for reserved in reserved_sockets]
    for reserved in reserved_sockets:
        reserved.close()
    return ports


class Up:
    """`sensei up` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))
        }
        settings = {f"SENSEI_{name}_PORT": str(port) for name, port in self.ports.items()}
        self.output = home.parent / "output.txt"
        self.home = home
        self.process = subprocess.Popen(
            [*SENSEI, "up"],
            env=inherited | settings | {"SENSEI_HOME": str(home), "COLUMNS": "150"},
            cwd=home.parent,
            stdout=self.output.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def site(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def printed(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str, seconds: float = 420) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.3)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, words: str) -> psutil.Process:
        return next(p for p in self.family() if words in " ".join(p.cmdline()))

    def end(self, by: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(by)
        return self.process.wait(90)

    def kill(self) -> None:
        for process in [*self.family(), self.process] if self.process.poll() is None else []:
            process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    """Starts everything in a home of its own, and kills it in the end."""
    started: list[Up] = []

    def begin() -> Up:
        started.append(Up(tmp_path / "home"))
        return started[-1]

    yield begin
    for launcher in started:
        launcher.kill()


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Gives ports that nobody listens on."""
    return _free_ports
