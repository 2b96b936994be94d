"""Compilation of plain Python functions with Numba, so that both paths run the same code."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba


@cache
def compiled(function: FunctionType) -> Callable[..., Any]:
    """Compile a plain function and the functions that it calls, at the first call.

    The machine code is cached in `__pycache__` next to the source, or in the user's cache folder
    if that is read-only. If neither can be written, each process compiles again.

    Args:
        function: Plain Python on arrays and numbers; it is not changed and stays callable.

    Returns:
        A function with the same arguments and result.
    """
    renamed = _bound(function, compiled_step)
    # Numba recompiles if the file of `function` changes. It does not check the files of called
    # functions or constants of other modules, so their digest is part of the name in the cache.
    renamed.__qualname__ = f"{function.__qualname__}_{_digest(function)}"
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(renamed)  # type: ignore[no-any-return]
    except RuntimeError:  # the only error that Numba raises without a writable cache folder
        return numba.njit(nogil=True, error_model="numpy")(renamed)  # type: ignore[no-any-return]


@cache
def compiled_step(function: FunctionType) -> Callable[..., Any]:
    """Compile a function as part of another one, which is cached on disk as a whole."""
    return numba.njit(nogil=True, error_model="numpy")(  # type: ignore[no-any-return]
        _bound(function, compiled_step)
    )


def _bound(
    function: FunctionType, compile_step: Callable[[FunctionType], Callable[..., Any]]
) -> FunctionType:
    """Copy the function so that it calls compiled functions instead of plain ones."""
    names = dict(function.__globals__)
    names |= {step.__name__: compile_step(step) for step in _called(function)}
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__)


def _called(function: FunctionType) -> Iterator[FunctionType]:
    for name in function.__code__.co_names:
        step = function.__globals__.get(name)
        if isinstance(step, FunctionType):
            yield step


def _digest(function: FunctionType) -> str:
    """Compute a digest of the sources and constants of a function and of those that it calls."""
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
