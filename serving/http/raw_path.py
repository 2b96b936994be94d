"""Raw request paths: `%2F` is a slash within a name, any other slash separates segments."""

from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from starlette.requests import Request
from starlette.routing import Match, Route

from sensei.errors import InvalidInput

AMBIGUOUS = (
    "path: expected no `.` or `..` as a segment, no `//` and no backslash, got one; a proxy may "
    "read another path: send the final path"
)
_TWICE_ENCODED = 3  # decoding rounds; a path encoded more often is not a dot segment


def is_ambiguous(raw: bytes) -> bool:
    """Tell if another server on the way may read a path differently: RFC 3986, 5.2.4.

    Dot segments count in every spelling: encoded, encoded twice, between encoded slashes, or with
    path parameters (`..;x`). A `%2F%2F` or a `%5C` within a name is not ambiguous.

    Args:
        raw: the path as sent.
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
    """Return the path of a request with its `%2F` still encoded."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") if b"%" in raw else scope["path"]


class RawPathRoute(Route):
    """Route that matches the path as sent, so that `%2F` does not split it."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Match the request; path parameters stay encoded."""
        return super().matches({**scope, "path": path_as_sent(scope)})


def of_path(request: Request) -> dict[str, str]:
    """Return the decoded path parameters of a request.

    Raises:
        InvalidInput: a parameter is not valid UTF-8.
    """
    found = {}
    for name, sent in request.path_params.items():
        try:
            found[name] = unquote(sent, errors="strict") if "%" in sent else sent
        except UnicodeDecodeError:
            raise InvalidInput(f"{name}: expected UTF-8, got {sent!r:.80}; encode it so") from None
    return found
