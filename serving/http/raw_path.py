"""Paths as they were sent: a slash within a name comes as `%2F`, any other parts the path."""

from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from starlette.requests import Request
from starlette.routing import Match, Route

from sensei.errors import InvalidInput

AMBIGUOUS = (
    "path: expected no `.` or `..` as a segment, no `//` and no backslash, got one; a server on "
    "the way may read another path: send the path that is meant"
)
_TWICE_ENCODED = 3  # rounds of decoding; who encodes more often means no segment


def is_ambiguous(raw: bytes) -> bool:
    """Tell if a server on the way may read a path as another one: RFC 3986, 5.2.4.

    Dot segments count in every spelling: encoded, encoded twice, between encoded slashes, with
    parameters of a path (`..;x`). A `%2F%2F` or a `%5C` within a name is none.

    Args:
        raw: the path as it was sent.
    """
    if b"//" in raw or b"\\" in raw:
        return True
    return (b"/." in raw or b"%" in raw) and _has_dot_segment(raw)


def _has_dot_segment(raw: bytes) -> bool:
    decoded = raw
    for _ in range(_TWICE_ENCODED):
        decoded = unquote_to_bytes(decoded)
    segments = decoded.replace(b"\\", b"/").split(b"/")
    return any(segment.partition(b";")[0].strip(_BLANK) in (b".", b"..") for segment in segments)


_BLANK = b"\0\t\n\r "


def path_as_sent(scope: Any) -> str:
    """The path of a request, its `%2F` still such."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") if b"%" in raw else scope["path"]


class RawPathRoute(Route):
    """A route that reads the path as it was sent, so that `%2F` does not part it."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Whether the request is for this route; its parameters are as sent."""
        return super().matches({**scope, "path": path_as_sent(scope)})


def of_path(request: Request) -> dict[str, str]:
    """The parameters of a request's path, decoded.

    Raises:
        InvalidInput: one is no UTF-8.
    """
    found = {}
    for name, sent in request.path_params.items():
        try:
            found[name] = unquote(sent, errors="strict") if "%" in sent else sent
        except UnicodeDecodeError:
            raise InvalidInput(f"{name}: expected UTF-8, got {sent!r:.80}; encode it so") from None
    return found
