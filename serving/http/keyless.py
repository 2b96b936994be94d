"""Without keys: only programs of this machine's own account are answered.

No header proves that a request is local: a proxy on this machine connects from loopback, and so
does a browser that shows somebody's page. So every sign of either refuses the request, and on
Linux the kernel is asked which account owns the other end of the connection: a proxy has an
account of its own.
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
"""How headers begin that only a proxy adds."""

BROWSERS = frozenset({b"origin", b"sec-fetch-site"})
_OWN_PAGES = (b"", b"same-origin", b"none")
"""`Sec-Fetch-Site` of a page of ours, and of an address that a person typed; empty: no browser."""

_REMEMBERED = 4_096  # connections

Headers = Mapping[bytes, bytes]


class Keyless:
    """Decides who is answered without a key.

    Where the kernel does not tell who owns a connection, only headers count.
    """

    def __init__(self) -> None:
        self._own: dict[Any, Any] = {}

    def foreign(self, scope: Mapping[str, Any], headers: Headers) -> str | None:
        """Say why a request is not one of this machine's own account; None if it is.

        Args:
            scope: of ASGI.
            headers: of the request, by name.
        """
        server, host = scope.get("server"), headers.get(b"host", b"")
        if why := _foreign_by_headers(server, host, scope.get("http_version"), tuple(headers)):
            return why
        if not self._is_own(scope.get("client"), server):
            return "for another account of this machine"
        return None

    def _is_own(self, client: Any, server: Any) -> bool:
        """Ask the kernel once per connection, which is known by its tuple of address and port."""
        if self._own.get(client) is client:
            return True
        is_network = client and server and server[1] and _is_address(client[0])
        if is_network and kernel_tells():
            try:
                if owner_of(client, server) not in _accounts():
                    return False
            except OSError:
                return False
        if len(self._own) >= _REMEMBERED:
            self._own.clear()
        self._own[client] = client
        return True


def is_of_another_site(headers: Headers) -> bool:
    """Tell if a browser says that a page of another origin sent the request."""
    if headers.keys().isdisjoint(BROWSERS):
        return False
    origin = headers.get(b"origin")
    ours = origin is None or origin == b"http://" + headers.get(b"host", b"")
    return not ours or headers.get(b"sec-fetch-site", b"") not in _OWN_PAGES


@lru_cache(maxsize=256)
def _foreign_by_headers(
    server: tuple[str, int | None] | None,
    host: bytes,
    version: str | None,
    names: tuple[bytes, ...],
) -> str | None:
    """`Keyless.foreign` without the connection; a client sends the same again and again."""
    address, port = server or (None, None)
    if not is_loopback(address):
        return "for this address"
    if not is_ours(host, address, port):
        return "for a request for another host"
    if version == "1.0":
        return "for a request of HTTP/1.0, as proxies send it"
    if any(name.startswith(PROXIES) for name in names):
        return "for a request that a proxy passed on"
    return None


def is_loopback(address: str | None) -> bool:
    """Tell if only this machine can reach an address; a socket file (None or a path) is such."""
    try:
        return address is None or ip_address(address).is_loopback
    except ValueError:  # no address of a network: a path, or a test's name
        return True


_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d{0,5}))?")
"""Name, or IPv6 address in brackets, and port."""


def is_ours(host: bytes, address: str | None, port: int | None) -> bool:
    """Tell if a `Host` names loopback, or the address that the request came in by, and its port.

    Args:
        host: as sent.
        address: of this machine, by which the request came in; None for a socket file.
        port: by which it came in; None where there is none, and then any will do.
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


def _accounts() -> frozenset[int]:
    """The service's own account, and root, who can read the database anyway."""
    return frozenset({0, os.geteuid()})


NOBODY = -1
"""The owner of a connection whose other end is gone, or on another machine."""

# linux/inet_diag.h: a request for one socket, and the place of the owner in the answer.
_DIAGNOSIS, _TCP, _REQUEST, _ERROR, _OWNER_AT = 4, 6, 20, 2, 80
_HEADER, _OWNER = struct.Struct("=IHHII"), struct.Struct("=II")


def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int:
    """Name the account that holds the other end of a connection on this machine.

    Args:
        client: address and port of the other end.
        server: address and port of ours.

    Returns:
        The number of the account, or `NOBODY`.

    Raises:
        OSError: the kernel does not answer.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _DIAGNOSIS) as kernel:
        kernel.settimeout(1)
        # A client may use a socket of IPv6 for an address of IPv4.
        for family in (socket.AF_INET, socket.AF_INET6):
            if (place := _place(family, client, server)) is not None:
                owner = _asked(kernel, family, place)
                if owner != NOBODY:
                    return owner
    return NOBODY


@cache
def kernel_tells() -> bool:
    """Try `owner_of` on a connection of our own: not every system has this, nor every container."""
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


def _place(family: int, client: tuple[str, int], server: tuple[str, int]) -> bytes | None:
    """Both ends as the kernel has them; None where they are none of this family."""
    try:
        ends = [_packed(family, host) for host, _ in (client, server)]
    except (OSError, ValueError):
        return None
    ports = struct.pack("!HH", client[1], server[1])
    return ports + ends[0] + ends[1] + bytes(4) + b"\xff" * 8


def _packed(family: int, host: str) -> bytes:
    if family == socket.AF_INET:
        return socket.inet_pton(family, host).ljust(16, b"\0")
    return socket.inet_pton(family, host if ":" in host else f"::ffff:{host}")


def _asked(kernel: socket.socket, family: int, place: bytes) -> int:
    """The owner of one socket, as the kernel answers."""
    body = struct.pack("=BBBBI", family, _TCP, 0, 0, 0xFFFFFFFF) + place
    kernel.send(_HEADER.pack(_HEADER.size + len(body), _REQUEST, 1, 1, 0) + body)
    told = kernel.recv(4_096)
    if _HEADER.unpack_from(told)[1] == _ERROR:
        return NOBODY
    owner, inode = _OWNER.unpack_from(told, _OWNER_AT)
    # An end that was closed belongs to nobody, and the kernel then says account 0.
    return int(owner) if inode else NOBODY
