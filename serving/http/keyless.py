"""Access without keys: only programs of the service's own account are answered.

No header proves that a request is local. A proxy on this machine connects from loopback, and so
does a browser that shows a foreign page. So any sign of a proxy or a foreign page refuses the
request. On Linux the kernel also tells which account owns the other end of the connection. A proxy
normally has its own account.
"""

import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from ipaddress import ip_address
from typing import Any

PROXIES = (
    b"x-forwarded", b"x-original-", b"x-envoy-", b"x-amzn-", b"x-amz-cf-", b"x-azure-", b"x-arr-",
    b"x-appengine-", b"x-cloud-trace-", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip",
    b"x-proxyuser-ip", b"x-varnish", b"x-scheme", b"x-request-start", b"x-host",
    b"cf-", b"cdn-", b"fastly-", b"fly-", b"do-connecting-", b"true-client-", b"client-ip",
    b"forwarded", b"via", b"proxy-", b"tailscale-", b"ngrok-",
)  # fmt: skip
"""Prefixes of headers that only proxies add."""

BROWSERS = frozenset({b"origin", b"sec-fetch-site"})
_OWN_PAGES = (b"", b"same-origin", b"none")
"""Allowed values of `Sec-Fetch-Site`: our own page, a typed address, or absent (no browser)."""

_REMEMBERED = 4_096  # connections per worker

Headers = Mapping[bytes, bytes]


class Keyless:
    """Check of requests without a key.

    If the kernel cannot tell the owner of a connection, only the headers decide.
    """

    def __init__(self) -> None:
        self._own: dict[Any, Any] = {}

    def foreign(self, scope: Mapping[str, Any], headers: Headers) -> str | None:
        """Return the reason why a request does not come from the service's own account.

        Args:
            scope: ASGI scope.
            headers: headers of the request, by name.

        Returns:
            The reason, or None if the request comes from that account.
        """
        server, host = scope.get("server"), headers.get(b"host", b"")
        address, port = server or (None, None)
        names = tuple(headers)
        reason = _foreign_by_headers(address, port, host, scope.get("http_version"), names)
        if reason:
            return reason
        if not self._is_own(scope.get("client"), server):
            return "for another account of this machine"
        return None

    def _is_own(self, client: Any, server: Any) -> bool:
        """Tell if the client has the service's account; ask the kernel once per connection.

        A connection is identified by its tuple of address and port, the object that uvicorn keeps.
        """
        is_tuple = isinstance(client, tuple)  # as in uvicorn: hashable, and never changed
        if is_tuple and self._own.get(client) is client:
            return True
        if server and server[1] and not _is_own_account(client, server):
            return False
        if is_tuple:
            if len(self._own) >= _REMEMBERED:
                self._own.clear()
            self._own[client] = client
        return True


def _is_own_account(client: Any, server: Any) -> bool:
    """Tell if the other end of a connection belongs to the service's own account, or to root."""
    if not client:  # it was gone before the server could ask who it was
        return False
    if not (_is_address(client[0]) and kernel_names_owners()):
        return True
    try:
        return owner_of(client, server) in (0, os.geteuid())
    except OSError:
        return False


def is_of_another_site(headers: Headers) -> bool:
    """Tell if a browser reports that a page of another origin sent the request."""
    if headers.keys().isdisjoint(BROWSERS):
        return False
    origin = headers.get(b"origin")
    is_own_origin = origin is None or origin == b"http://" + headers.get(b"host", b"")
    return not is_own_origin or headers.get(b"sec-fetch-site", b"") not in _OWN_PAGES


@lru_cache(maxsize=256)
def _foreign_by_headers(
    address: str | None,
    port: int | None,
    host: bytes,
    version: str | None,
    names: tuple[bytes, ...],
) -> str | None:
    """`Keyless.foreign` without the connection; a client sends the same again and again."""
    if not is_loopback(address):
        return "for this address"
    if not is_ours(host, address, port):
        return "for a request for another host"
    if version == "1.0":
        return "for an HTTP/1.0 request, as proxies send it"
    if any(name.startswith(PROXIES) for name in names):
        return "for a request that a proxy forwarded"
    return None


def is_loopback(address: str | None) -> bool:
    """Tell if only this machine can reach an address; true for a socket file (None or a path)."""
    try:
        return address is None or ip_address(address).is_loopback
    except ValueError:  # not a network address: a path, or a name in a test
        return True


_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d{0,5}))?")
"""Pattern of a `Host` header: name, or IPv6 address in brackets, and port."""


def is_ours(host: bytes, address: str | None, port: int | None) -> bool:
    """Tell if a `Host` header names loopback or the address of the connection, and its port.

    Args:
        host: header as sent.
        address: this machine's address that the request was sent to; None for a socket file.
        port: this machine's port; None if there is none, and then any port is accepted.
    """
    named = _HOST.fullmatch(host.decode("latin-1").lower())
    if named is None:
        return False
    if port is None and not host:
        return True
    name = named[1] or named[2] or ""
    is_name = name in ("localhost", address) or _is_loopback_address(name)
    return is_name and (port is None or int(named[3] or 80) == port)


def _is_loopback_address(name: str) -> bool:
    return _is_address(name) and ip_address(name).is_loopback


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


NOBODY = -1
"""Owner of a connection whose other end is closed or on another machine."""

# linux/inet_diag.h: constants of a request for one socket; byte offset of the owner in the reply
_DIAGNOSIS, _TCP, _REQUEST, _ERROR, _OWNER_AT = 4, 6, 20, 2, 80
_HEADER, _OWNER = struct.Struct("=IHHII"), struct.Struct("=II")


def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int:
    """Return the account that owns the other end of a connection on this machine.

    Args:
        client: address and port of the other end.
        server: address and port of this end.

    Returns:
        The user id of the account, or `NOBODY`.

    Raises:
        OSError: the kernel does not answer.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _DIAGNOSIS) as kernel:
        kernel.settimeout(1)
        # A client may use an IPv6 socket for an IPv4 address.
        for family in (socket.AF_INET, socket.AF_INET6):
            if (ends := _ends(family, client, server)) is not None:
                owner = _owner(kernel, family, ends)
                if owner != NOBODY:
                    return owner
    return NOBODY


@cache
def kernel_names_owners() -> bool:
    """Test `owner_of` on an own connection: not every system or container supports it."""
    if sys.platform != "linux":
        return False
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
        ):
            return owner_of(client.getsockname(), client.getpeername()) == os.geteuid()
    except OSError:
        return False


def _ends(family: int, client: tuple[str, int], server: tuple[str, int]) -> bytes | None:
    """Return both ends in the kernel's format; None if they are not of this address family."""
    try:
        hosts = [_packed(family, host) for host, _ in (client, server)]
    except (OSError, ValueError):
        return None
    ports = struct.pack("!HH", client[1], server[1])
    return ports + hosts[0] + hosts[1] + bytes(4) + b"\xff" * 8


def _packed(family: int, host: str) -> bytes:
    if family == socket.AF_INET:
        return socket.inet_pton(family, host).ljust(16, b"\0")
    return socket.inet_pton(family, host if ":" in host else f"::ffff:{host}")


def _owner(kernel: socket.socket, family: int, ends: bytes) -> int:
    """Ask the kernel for the owner of one socket."""
    body = struct.pack("=BBBBI", family, _TCP, 0, 0, 0xFFFFFFFF) + ends
    kernel.send(_HEADER.pack(_HEADER.size + len(body), _REQUEST, 1, 1, 0) + body)
    reply = kernel.recv(4_096)
    if _HEADER.unpack_from(reply)[1] == _ERROR:
        return NOBODY
    owner, inode = _OWNER.unpack_from(reply, _OWNER_AT)
    # A closed end has no owner; the kernel then reports account 0.
    return int(owner) if inode else NOBODY
