"""Retention of files and folders: the newest stay, older ones are removed."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def modified_at(path: Path) -> tuple[int, str]:
    """Return the time of a path's last change in nanoseconds, and its name.

    The time is 0 if the path is gone. File systems count time in steps of some milliseconds; names
    with a time tell paths of one step apart.
    """
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name


def beyond_newest(
    paths: Iterable[Path], count: int, age_key: Callable[[Path], Any] = modified_at
) -> list[Path]:
    """Return the paths that are not among the newest `count`, newest first.

    Args:
        paths: files or folders.
        count: number of the newest, at least 0.
        age_key: sort key that grows with time; by default the time of the last change.
    """
    return sorted(paths, key=age_key, reverse=True)[count:]


def keep_newest(paths: Iterable[Path], count: int) -> list[Path]:
    """Remove all files and folders but the newest `count`; return the removed ones.

    A path that another process removes meanwhile is no error.

    Raises:
        OSError: a file cannot be removed. A folder that cannot be removed as a whole is left.
    """
    old = beyond_newest(paths, count)
    for path in old:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return old
