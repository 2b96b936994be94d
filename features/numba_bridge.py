"""Plain functions made fast: Numba compiles the very lines that plain Python runs."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba


@cache
def compiled(function: FunctionType) -> Callable[..., Any]:
    """Compile a plain function, and those it calls, at its first call.

    The machine code is kept in `__pycache__` beside the source, or in the user's cache folder
    where that is read-only; where nothing can be written, each process compiles for itself.

    Args:
        function: Plain Python on arrays and numbers; it stays as it is, and callable.

    Returns:
        A function of the same arguments and result.
    """
    renamed = _bound(function, compiled_step)
    # Numba recompiles when the file of `function` changes, but does not see the files of what it
    # calls, nor constants from elsewhere: their digest goes into the name under which it keeps the
    # machine code.
    renamed.__qualname__ = f"{function.__qualname__}_{_digest(function)}"
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(renamed)  # type: ignore[no-any-return]
    except RuntimeError:  # Numba's only word for "no folder to keep it in"
        return numba.njit(nogil=True, error_model="numpy")(renamed)  # type: ignore[no-any-return]


@cache
def compiled_step(function: FunctionType) -> Callable[..., Any]:
    """Compile a function as a part of another one, which is kept on disk as a whole."""
    return numba.njit(nogil=True, error_model="numpy")(  # type: ignore[no-any-return]
        _bound(function, compiled_step)
    )


def _bound(
    function: FunctionType, compile_step: Callable[[FunctionType], Callable[..., Any]]
) -> FunctionType:
    """A copy of the function that calls compiled functions instead of plain ones."""
    names = dict(function.__globals__)
    names |= {step.__name__: compile_step(step) for step in _called(function)}
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__)


def _called(function: FunctionType) -> Iterator[FunctionType]:
    for name in function.__code__.co_names:
        step = function.__globals__.get(name)
        if isinstance(step, FunctionType):
            yield step


def _digest(function: FunctionType) -> str:
    """Digest of the source and of the constants that a function and those it calls read."""
    files: set[str] = set()
    constants: set[str] = set()
    waiting = [function]
    while waiting:
        step = waiting.pop()
        files.add(step.__code__.co_filename)
        constants.update(_constants(step))
        waiting.extend(_called(step))
    parts = [Path(file).read_bytes() for file in sorted(files)]
    return hashlib.sha256(b"".join([*parts, *map(str.encode, sorted(constants))])).hexdigest()[:12]


def _constants(function: FunctionType) -> Iterator[str]:
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, int | float | str | tuple):
            yield f"{function.__module__}.{name}={value!r}"
