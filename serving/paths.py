"""Paths as they were sent: a slash within a name comes as `%2F`, any other parts the path."""

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.routing import Match, Route

from sensei.errors import InvalidInput


def path_as_sent(scope: Any) -> str:
    """The path of a request, its `%2F` still such."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") if b"%" in raw else scope["path"]


class AsSent(Route):
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
