"""Limits of a connection: real sockets against the real service, and against uvicorn alone."""

import asyncio
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn

from sensei.events.log import open_log
from sensei.storage.database import upgrade
from serving.http import connections

HOST = b"Host: 127.0.0.1\r\n"
CHUNKED = b"POST /api/interactions HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
FILES = 1_024
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Any]) -> Iterator[Any]:
    """The service, with as many file descriptors as many systems give."""
    home = tmp_path_factory.mktemp("home")
    upgrade(f"sqlite:///{home / 'sensei.db'}")
    python = home / "python"
    python.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    settings = {"SENSEI_HOME": str(home), "SENSEI_LOG_LEVEL": "WARNING"}
    with serve(python=str(python), **settings) as started:
        started.home = home
        yield started


def connect(url: str) -> socket.socket:
    parsed = httpx.URL(url)
    connection = socket.create_connection((parsed.host, parsed.port))
    connection.settimeout(5)
    return connection


def answer_to(url: str, request: bytes, seconds: float = 5.0) -> bytes:
    """All that comes until the service closes, or is silent for so long."""
    received = b""
    with connect(url) as client:
        client.settimeout(seconds)
        with suppress(ConnectionError):
            client.sendall(request)
        with suppress(ConnectionError, TimeoutError):
            while part := client.recv(65_536):
                received += part
    return received


def is_closed(client: socket.socket) -> bool:
    """Check if the service closed the connection; read first all that it sent before."""
    client.settimeout(0.01)
    try:
        while client.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X-Long: ",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X-Long",
        b"GET /",
        CHUNKED + b"1;",
        CHUNKED + b"1\r\n{\r\n0\r\nX-Trailer: ",
    ],
    ids=["header value", "header name", "request line", "chunk extension", "trailer"],
)
def test_a_head_of_sixty_megabytes_is_cut_off_at_once(server: Any, head: bytes) -> None:
    with connect(server.url) as client:
        client.sendall(head)
        megabytes, block = 0, b"a" * MEGABYTE
        with suppress(ConnectionError):
            while megabytes < 60:
                client.sendall(block)
                megabytes += 1
    assert megabytes < 60  # the rest met a closed connection
    assert server.get("/livez").elapsed.total_seconds() < 2


def test_a_head_beyond_the_limit_gets_431_and_one_within_it_reaches_the_guard(
    server: Any,
) -> None:
    for size in (20_000, connections.HEAD_BYTES + 1):
        request = b"GET /livez HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * size + b"\r\n\r\n"
        received = answer_to(server.url, request, seconds=1)
        assert received.startswith(b"HTTP/1.1 431 ")
        assert b"headers: expected at most" in received


def test_a_large_body_is_no_head(server: Any) -> None:
    events = [{"user_id": "mia", "interaction_type": "text_read", "topic_id": 1}] * 900
    text = json.dumps(events, indent=16)  # blanks: 200 KB
    assert len(text) > 3 * connections.HEAD_BYTES
    for body in (text.encode(), iter([text[:1000].encode(), text[1000:].encode()])):
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{server.url}/api/interactions", content=body, headers=headers)
        assert answer.status_code == 200, answer.text


QUIZ = b'{"topic_id": 1, "score": 0.5}'
AMBIGUOUS = {
    "two lengths": [b"Content-Length: 29", b"Content-Length: 29"],
    "a list of lengths": [b"Content-Length: 29, 29"],
    "a signed length": [b"Content-Length: +29"],
    "length, then chunks": [b"Content-Length: 29", b"Transfer-Encoding: chunked"],
    "chunks, then length": [b"Transfer-Encoding: chunked", b"Content-Length: 29"],
    "chunked twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "another coding": [b"Transfer-Encoding: gzip, chunked"],
    "identity": [b"Transfer-Encoding: identity"],
    "space before the colon": [b"Transfer-Encoding : chunked"],
    "a folded line": [b"Content-Length:\r\n 29"],
    "a body after an upgrade": [b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 29"],
    "chunks after an upgrade": [
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Transfer-Encoding: chunked",
    ],
}


@pytest.mark.parametrize("framing", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_body_whose_end_two_servers_could_read_differently_is_refused(
    server: Any, framing: list[bytes]
) -> None:
    lines = [b"POST /api/learning/eve/submit-quiz HTTP/1.1", HOST.strip(), *framing]
    lines += [b"Content-Type: application/json"]
    chunks = any(b"chunked" in line for line in framing)
    body = b"1d\r\n" + QUIZ + b"\r\n0\r\n\r\n" if chunks else QUIZ
    second_request = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    received = answer_to(
        server.url, b"\r\n".join(lines) + b"\r\n\r\n" + body + second_request, seconds=1
    )
    assert received.startswith(b"HTTP/1.1 400 ")
    assert len(re.findall(rb"HTTP/1.1 \d", received)) == 1
    assert received.endswith(b'"}')
    assert httpx.get(f"{server.url}/api/user/eve").status_code == 404


def test_chunks_of_http_1_0_are_refused(server: Any) -> None:
    received = answer_to(server.url, CHUNKED.replace(b"1.1", b"1.0") + b"2\r\n{}\r\n0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")


def test_requests_sent_ahead_are_answered_in_order_up_to_a_limit(server: Any) -> None:
    request = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    ahead = connections.PIPELINED
    assert answer_to(server.url, request * (1 + ahead), seconds=1).count(b" 200 ") == 1 + ahead
    assert answer_to(server.url, request * 1_000, seconds=1).count(b" 200 ") <= 1 + ahead
    assert server.get("/livez").status_code == 200


def test_more_idle_connections_than_file_descriptors_keep_nobody_from_answers_and_the_log(
    server: Any,
) -> None:
    quiz = {"topic_id": 1, "score": 0.5}
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server.url)) for _ in range(1_100)]
        for name in range(20):
            path = f"{server.url}/api/learning/crowd {name}/submit-quiz"
            response = httpx.post(path, json=quiz, timeout=5)
            assert response.status_code == 200, response.text
            answer = httpx.get(f"{server.url}/api/user/crowd {name}/recommendations", timeout=5)
            assert answer.status_code == 200, answer.text
        assert server.get("/readyz").json()["troubles"] == [
            "models: expected a bundle, got none; run `sensei run`"
        ]
        descriptors = max(process.num_fds() for process in server.family())
        assert descriptors <= FILES - connections.RESERVED_FILES + 64
        assert sum(is_closed(connection) for connection in idle) >= 1_100 - (
            FILES - connections.RESERVED_FILES
        )
    log = open_log(f"sqlite:///{server.home / 'sensei.db'}")
    assert [log.revision(f"crowd {name}") for name in range(20)] == [1] * 20
    log.close()


def test_busy_connections_stay_open_where_idle_ones_are_closed(server: Any) -> None:
    host = server.url.removeprefix("http://").encode()  # without keys the port must be right
    head = b"POST /api/interactions HTTP/1.1\r\nHost: %b\r\nContent-Length: 2\r\n\r\n" % host
    with connect(server.url) as busy, ExitStack() as stack:
        busy.sendall(head + b"{")
        time.sleep(0.2)
        for _ in range(1_000):
            stack.enter_context(connect(server.url))
        busy.sendall(b"}")
        assert busy.recv(12) == b"HTTP/1.1 415"  # it is said to be no JSON


# uvicorn as BentoML's worker builds it, with a faster clock


class Served:
    """A uvicorn server of this process: `app` answers."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, port=0, log_config=None, timeout_keep_alive=5, lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> "Served":
        self.thread.start()
        wait_until(lambda: self.server.started, 10)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()

    @property
    def open(self) -> int:
        return len(self.server.server_state.connections)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 1)
    monkeypatch.setattr(connections, "connection_limit", lambda: 10)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", None)  # put back afterwards
    connections.bound_connections(keep_alive=3)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, with as many bytes as the path says; does not read a body."""
    size = int(scope["path"].strip("/") or 2)
    headers = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(size)})


GET = b"GET / HTTP/1.1\r\n\r\n"
DRIPS = {
    "silence": (b"", b""),
    "a head, byte by byte": (b"GET / HTTP/1.1\r\nX: ", b"a"),
    "blank lines": (b"", b"\r\n"),
    "a second head, byte by byte": (GET + b"GET / HT", b"a"),
    "blank lines after an answer": (GET, b"\r\n"),
    "a body that nobody awaits": (b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n", b"a"),
    "chunks that nobody awaits": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
    ),
}


@pytest.mark.usefixtures("hurried")
def test_a_client_that_sends_byte_by_byte_is_cut_off() -> None:
    with Served(echo) as served, ExitStack() as stack:
        clients = [stack.enter_context(connect(served.url)) for _ in DRIPS]
        for client, (first, _) in zip(clients, DRIPS.values(), strict=True):
            client.sendall(first)
        closed_names: set[str] = set()
        deadline = time.monotonic() + 20
        while len(closed_names) < len(DRIPS):
            assert time.monotonic() < deadline, set(DRIPS) - closed_names
            for client, (name, (_, drip)) in zip(clients, DRIPS.items(), strict=True):
                with suppress(ConnectionError):
                    client.sendall(drip)
                if is_closed(client):
                    closed_names.add(name)
            time.sleep(0.1)
        wait_until(lambda: served.open == 0, 5)


@pytest.mark.usefixtures("hurried")
def test_an_idle_connection_is_kept_as_long_as_the_setting_says() -> None:
    with Served(echo) as served, connect(served.url) as client:
        for _ in range(3):
            client.sendall(GET)
            assert client.recv(12) == b"HTTP/1.1 200"
            time.sleep(1.6)  # longer than a head may take
            assert not is_closed(client)
        client.settimeout(20)
        assert client.recv(1) == b""


@pytest.mark.usefixtures("hurried")
def test_an_answer_that_is_not_read_is_given_up_and_one_that_is_read_slowly_is_not() -> None:
    size = 40 * MEGABYTE
    with Served(echo) as served, connect(served.url) as deaf, connect(served.url) as slow:
        deaf.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % size)
        slow.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % size)
        received, deadline = 0, time.monotonic() + 3
        while time.monotonic() < deadline:
            received += len(slow.recv(100_000))
            time.sleep(0.05)
        wait_until(lambda: served.open == 1, 20)  # the one that reads
        while part := slow.recv(MEGABYTE):
            received += len(part)
            if received > size:
                break
        assert received > size


@pytest.mark.usefixtures("hurried")
def test_at_the_limit_the_longest_idle_goes_first_and_nobody_who_is_being_answered() -> None:
    release = threading.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while scope["path"] == "/wait" and not release.is_set():
            await asyncio.sleep(0.01)
        await echo({**scope, "path": "/2"}, receive, send)

    with Served(waits) as served, ExitStack() as stack:
        busy = [stack.enter_context(connect(served.url)) for _ in range(9)]
        for connection in busy:
            connection.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
        active, silent, last = (stack.enter_context(connect(served.url)) for _ in range(3))
        active.sendall(GET)
        wait_until(lambda: served.open <= 10, 5)
        last.sendall(GET)
        assert last.recv(12) == b"HTTP/1.1 200"
        assert is_closed(silent)
        last.sendall(b"GET /wait HTTP/1.1\r\n\r\n")  # now all ten are at work
        time.sleep(0.2)
        late = stack.enter_context(connect(served.url))
        assert late.recv(65_536).startswith(b"HTTP/1.1 503 ")
        release.set()
        for connection in busy:
            assert connection.recv(12) == b"HTTP/1.1 200"


def test_the_limits_are_what_bentomls_worker_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", None)
    connections.bound_connections(keep_alive=75)
    config = uvicorn.Config(echo, log_config=None, workers=1, timeout_keep_alive=5)
    config.load()
    assert config.http_protocol_class.func is connections.BoundedProtocol


@pytest.mark.slow
def test_ten_seconds_for_a_head_and_for_an_answer_that_is_not_read(
    server: Any, tmp_path: Path
) -> None:
    log = open_log(f"sqlite:///{server.home / 'sensei.db'}")
    event = {"user_id": "big", "interaction_type": "text_read", "topic_id": 1}
    event |= {"metadata": {"note": "x" * 8_000}, "timestamp": "2026-01-01T00:00:00Z"}
    log.append([event | {"event_id": str(n)} for n in range(4_000)])
    log.close()
    with connect(server.url) as silent, connect(server.url) as slow, connect(server.url) as deaf:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        deaf.sendall(b"GET /api/user/big HTTP/1.1\r\n" + HOST + b"\r\n")
        started = time.monotonic()
        wait_until(lambda: is_closed(silent) and is_closed(slow), 20)
        assert time.monotonic() - started > 8

        def is_held() -> bool:
            port = deaf.getsockname()[1]
            return any(
                connection.raddr and connection.raddr.port == port
                for process in server.family()
                for connection in psutil.Process(process.pid).net_connections("tcp")
            )

        wait_until(lambda: not is_held(), 30)
