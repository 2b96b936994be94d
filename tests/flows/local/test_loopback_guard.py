"""The guard lets in requests of this machine's own pages and programs, and no other site's."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect

from flows.local.loopback_guard import LoopbackGuard, refusal

HOST = b"127.0.0.1:4200"
OURS = b"http://127.0.0.1:4200"


def decide(method: str = "POST", *more: tuple[bytes, bytes], host: bytes = HOST) -> int:
    rejection = refusal(method, [(b"host", host), *more])
    return rejection.status if rejection else 200


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "[::1]:4200", "LOCALHOST"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", ""])
def test_programs_and_pages_of_this_machine_are_let_in(host, method):
    named = host.encode()
    assert decide(method, host=named) == 200
    assert decide(method, (b"origin", b"http://" + named.lower()), host=named) == 200
    same_origin = (b"origin", b"http://" + named), (b"sec-fetch-site", b"same-origin")
    assert decide(method, *same_origin, host=named) == 200
    assert decide(method, (b"sec-fetch-site", b"none"), host=named) == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example", b"evil.example:4200", b"127.0.0.1.evil.example", b"10.evil.example",
        b"localhost.evil.example", b"192.168.0.7", b"10.0.0.7:4200", b"0.0.0.0:4200", b"",
        b"evil.example@127.0.0.1", b"127.0.0.1@evil.example", b"127.0.0.1:4200/evil.example",
        b"127.0.0.1, evil.example", b"[::1].evil.example", b"127.0.0.1:evil", b"[::ffff:1.2.3.4]",
        b"127.0.0.1:4200#evil.example", b"127.0.0.1?evil.example", b"\xff\xfe", b"[", b"localhost.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", ""])
def test_another_host_is_refused_by_every_method(host, method):
    assert decide(method, host=host) == 403
    assert decide(method, (b"origin", b"http://" + host), host=host) == 403
    assert decide(method, (b"origin", OURS), host=host) == 403


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example", b"null", b"http://127.0.0.1:3000", b"http://127.0.0.1",
        b"http://localhost:4200", b"https://127.0.0.1:4200", b"", b"http://127.0.0.1:42000",
        b"file://", b"http://127.0.0.1:4200.evil.example", b"http://127.0.0.1:4200 ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", ""])
def test_another_origin_is_refused_by_every_method(origin, method):
    assert decide(method, (b"origin", origin)) == 403


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"strange"])
def test_another_site_that_sends_no_origin_is_refused(site):
    site_header = (b"sec-fetch-site", site)
    assert decide("GET", site_header) == 403
    assert (
        decide("GET", site_header, (b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"img"))
        == 403
    )
    navigation = site_header, (b"sec-fetch-mode", b"navigate")
    assert decide("GET", *navigation, (b"sec-fetch-dest", b"iframe")) == 403
    assert decide("POST", *navigation, (b"sec-fetch-dest", b"document")) == 403
    assert decide("GET", *navigation, (b"sec-fetch-dest", b"document")) == 200, (
        "a link of another page"
    )


def test_a_header_that_is_sent_twice_or_not_at_all_is_refused():
    assert decide("GET", (b"host", b"evil.example")) == 400
    assert decide("GET", (b"host", HOST)) == 400
    assert decide("GET", (b"origin", OURS), (b"origin", b"https://evil.example")) == 400
    rejection = refusal("GET", [])
    assert rejection
    assert rejection.status == 400


@pytest.mark.parametrize("name", [b"x-forwarded-host", b"forwarded", b"x-forwarded-for", b"via"])
def test_what_a_proxy_passed_on_is_refused_and_opens_nothing(name):
    assert decide("GET", (name, b"evil.example")) == 403
    assert decide("GET", (name, HOST), host=b"evil.example") == 403


def run(guarded: LoopbackGuard, scope: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("a refused request is not read")

    asyncio.run(guarded(scope, receive, send))
    return messages


async def _application(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": f"{scope['type']}.accept", "headers": []})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})


def test_a_refused_request_never_reaches_the_application():
    async def never(*_: Any) -> None:
        raise AssertionError("it was reached")

    guard = LoopbackGuard(never)
    headers = [(b"host", b"evil.example")]
    start, body = run(guard, {"type": "http", "method": "POST", "headers": headers})
    assert start["status"] == 403
    assert b"expected localhost" in body["body"]
    assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]
    (closed,) = run(guard, {"type": "websocket", "headers": headers})
    assert closed["type"] == "websocket.close", "before it is accepted"


def test_other_sites_may_not_show_our_pages_in_a_frame():
    messages = run(
        LoopbackGuard(_application), {"type": "http", "method": "GET", "headers": [(b"host", HOST)]}
    )
    assert messages[1]["headers"] == [
        (b"a", b"b"),
        (b"content-security-policy", b"frame-ancestors 'self'"),
    ]


def test_starting_and_ending_are_handed_on():
    assert run(LoopbackGuard(_application), {"type": "lifespan"})


async def _small(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers everybody, also by websocket."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A real server with the guard, as `flows.local.launch` runs one; host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(LoopbackGuard(_small), proxy_headers=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "sent",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:3000"},
     {"Host": "evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"},
     {"X-Forwarded-Host": "evil.example"}, {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_a_real_server_behind_the_guard_answers_nobody_else(address, sent):
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = httpx.request(method, f"http://{address}/", headers=sent)
        assert answer.status_code == 403, method
        assert answer.text != "done"
    with pytest.raises(websockets.InvalidStatus, match="403"):
        connect(f"ws://{address}/", additional_headers=sent)


def test_a_real_server_behind_the_guard_answers_its_page_and_programs(address):
    for headers in ({}, {"Origin": f"http://{address}", "Sec-Fetch-Site": "same-origin"}):
        assert httpx.post(f"http://{address}/", headers=headers).text == "done"
        connect(f"ws://{address}/", additional_headers=headers).close()


def test_a_host_that_is_sent_twice_is_refused_by_a_real_server(address):
    name, _, port = address.partition(":")
    with socket.create_connection((name, int(port))) as connection:
        request = f"GET / HTTP/1.1\r\nHost: {address}\r\nHost: evil.example\r\n\r\n"
        connection.sendall(request.encode())
        assert b" 400 " in connection.recv(1000).split(b"\r\n")[0]


def test_mlflow_finds_our_guard_by_its_name():
    (entry_point,) = entry_points(group="mlflow.app", name="sensei")
    assert entry_point.value == "flows.local.mlflow_app:create_app"
