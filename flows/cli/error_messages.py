"""Error messages: one sentence per error, with the next step."""

from collections.abc import Callable
from errno import EACCES, EDQUOT, ENOSPC, EROFS

from sensei.errors import SenseiError

_FULL = "free some space, then repeat"
_FORBIDDEN = "make it writable, or choose another SENSEI_HOME"
_STORAGE = {ENOSPC: _FULL, EDQUOT: _FULL, EROFS: _FORBIDDEN, EACCES: _FORBIDDEN}
"""Error number of a failed file operation -> next step for the user."""


def in_words(error: Exception) -> str:
    """Return the message of an error; empty if the help was shown instead."""
    if isinstance(error, SenseiError):
        return str(error)
    # Errors of Typer's command line share this method, but have no public base class.
    command_line: Callable[[], str] | None = getattr(error, "format_message", None)
    if command_line:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "sensei"
        said = command_line().rstrip(".")
        return f"{said}; see `{command} --help`" if said else ""  # nothing: the help was shown
    if isinstance(error, OSError) and error.errno in _STORAGE:
        where = error.filename or "the folder of SENSEI_HOME"
        return f"files: expected to write {where}, got {error.strerror!r}; {_STORAGE[error.errno]}"
    return f"unexpected {type(error).__name__}: {error}; get the traceback with `sensei --debug`"
