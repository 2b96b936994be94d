"""Without keys: what is refused, over real connections of real accounts where that matters."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serving.http.keyless import (
    NOBODY,
    Keyless,
    is_loopback,
    is_of_another_site,
    is_ours,
    kernel_names_owners,
    owner_of,
)

HERE = {"server": ("127.0.0.1", 8000), "client": ("a test", 1), "http_version": "1.1"}
HOST = {b"host": b"127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), (None, True), ("/run/s", True),
        ("0.0.0.0", False), ("::", False), ("192.0.2.7", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_an_address_is_loopback_or_reachable(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"127.0.0.1:8000", True), (b"localhost:8000", True), (b"LOCALHOST:8000", True),
        (b"[::1]:8000", True), (b"localhost:8001", False), (b"localhost", False), (b"", False),
        (b"::1", False), (b"evil.example:8000", False), (b"127.0.0.1.evil.example", False),
        (b"192.0.2.7:8000", False), (b"localhost:8000@evil.example", False),
        (b"[::1].evil.example", False), (b"localhost:" + b"9" * 9000, False),
    ],
)  # fmt: skip
def test_a_host_is_accepted_by_a_loopback_name_and_the_service_port(
    host: bytes, expected: bool
) -> None:
    assert is_ours(host, "127.0.0.1", 8000) is expected
    foreign = Keyless().foreign(HERE, {b"host": host})
    assert (foreign is None) is expected


def test_a_host_without_a_port_means_port_80_and_a_socket_file_has_none() -> None:
    assert is_ours(b"localhost", "127.0.0.1", 80)
    assert is_ours(b"localhost", None, None)
    assert is_ours(b"", None, None)
    assert not is_ours(b"evil.example", None, None)


@pytest.mark.parametrize(
    "header",
    [
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
        "x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix", "x-real-ip",
        "cf-connecting-ip", "cf-ray", "true-client-ip", "x-envoy-external-address",
        "x-amzn-trace-id", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip", "client-ip",
        "x-original-url", "cdn-loop", "x-azure-fdid",
    ],
)  # fmt: skip
def test_one_header_of_a_proxy_alone_is_enough_to_refuse(header: str) -> None:
    assert Keyless().foreign(HERE, HOST | {b"accept": b"*/*"}) is None
    reason = Keyless().foreign(HERE, HOST | {header.encode(): b"x"})
    assert reason == "for a request that a proxy forwarded"


def test_what_nginx_sends_by_default_is_refused() -> None:
    """`proxy_pass http://127.0.0.1:8000;`: our own Host, HTTP/1.0, no word of a proxy."""
    nginx = HOST | {b"connection": b"close", b"user-agent": b"curl/8.5.0", b"accept": b"*/*"}
    assert Keyless().foreign(HERE | {"http_version": "1.0"}, nginx)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"origin": b"http://127.0.0.1:8000"}, False),
        ({b"sec-fetch-site": b"same-origin"}, False),
        ({b"sec-fetch-site": b"none"}, False),
        ({b"sec-fetch-site": b"cross-site"}, True),
        ({b"sec-fetch-site": b"same-site"}, True),  # a page of another port of this machine
        ({b"sec-fetch-site": b"unheard-of"}, True),
        ({b"origin": b"http://evil.example"}, True),
        ({b"origin": b"http://127.0.0.1:4200"}, True),
        ({b"origin": b"null"}, True),
        ({b"origin": b""}, True),
    ],
)
def test_a_browser_names_the_requesting_page(headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_of_another_site(HOST | headers) is expected


needs_kernel = pytest.mark.skipif(
    not kernel_names_owners(), reason="the kernel names no owner here"
)


class Connection:
    """One end here, the other in a process of an account."""

    def __init__(self, family: socket.AddressFamily, client_family: str, uid: int) -> None:
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.listening = socket.create_server((host, 0), family=family)
        port = self.listening.getsockname()[1]
        target = "::ffff:127.0.0.1" if client_family == "mapped" else host
        program = f"""
import encodings.idna, os, socket, sys
os.setuid({uid})
end = socket.create_connection(("{target}", {port}))
print("there", flush=True)
sys.stdin.readline()
end.close()
print("closed", flush=True)
sys.stdin.readline()
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.listening.settimeout(20)
        self.ours, client = self.listening.accept()
        assert self.process.stdout is not None
        self.process.stdout.readline()
        address = client[0].removeprefix("::ffff:")
        self.scope = HERE | {
            "client": (address, client[1]),
            "server": ("127.0.0.1" if "." in address else address, port),
        }
        self.headers = {b"host": f"localhost:{port}".encode()}

    @property
    def owner(self) -> int:
        return owner_of(self.scope["client"], self.scope["server"])

    def close_the_other_end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.ours.close()
        self.listening.close()


@pytest.fixture
def connect() -> Iterator[Any]:
    connections = []

    def make(uid: int, family: Any = socket.AF_INET, client_family: str = "same") -> Connection:
        connections.append(Connection(family, client_family, uid))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


@needs_kernel
@pytest.mark.parametrize(
    ("family", "client_family"),
    [(socket.AF_INET, "same"), (socket.AF_INET, "mapped"), (socket.AF_INET6, "same")],
)
def test_the_kernel_names_the_owner_of_the_other_end(
    connect: Any, family: Any, client_family: str
) -> None:
    connection = connect(os.geteuid(), family, client_family)
    assert connection.owner == os.geteuid()
    assert Keyless().foreign(connection.scope, connection.headers) is None


@needs_kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another account")
def test_a_connection_of_another_account_is_refused(connect: Any) -> None:
    """nginx and every other proxy of a distribution has an account of its own."""
    connection = connect(33)
    assert connection.owner == 33
    reason = Keyless().foreign(connection.scope, connection.headers)
    assert reason == "for another account of this machine"


def test_a_request_without_a_client_address_is_refused() -> None:
    assert Keyless().foreign(HERE | {"client": None}, HOST)


@needs_kernel
def test_an_end_that_was_closed_is_nobodys(connect: Any) -> None:
    connection = connect(os.geteuid())
    connection.close_the_other_end()
    assert connection.owner == NOBODY
    assert Keyless().foreign(connection.scope, connection.headers)


@needs_kernel
def test_the_kernel_is_asked_once_per_connection_and_a_reused_port_is_a_new_one(
    connect: Any,
) -> None:
    connection, keyless = connect(os.geteuid()), Keyless()
    assert keyless.foreign(connection.scope, connection.headers) is None
    connection.close_the_other_end()
    assert keyless.foreign(connection.scope, connection.headers) is None  # its tuple is the same
    address, port = connection.scope["client"]
    again = connection.scope | {"client": (address, port)}
    assert keyless.foreign(again, connection.headers)
