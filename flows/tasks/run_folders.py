"""Folders of extracts, one per moment of the log: none is deleted while a run uses it.

They hold learners' rows, so only the newest stay; an erasure empties all of them at once.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensei.pruning import beyond_newest

if sys.platform != "win32":
    import fcntl


@contextmanager
def run_folder(folder: Path) -> Iterator[Path]:
    """Create a folder if it is missing, and keep other processes from deleting it meanwhile.

    Several runs may use one folder. The operating system frees the lock of a process that dies.
    """
    descriptor = _lock_shared(folder)
    try:
        yield folder
    finally:
        os.close(descriptor)


def keep_run_folders(runs: Path, count: int) -> None:
    """Delete all run folders except the newest ones and those in use.

    Args:
        runs: the folder that holds them.
        count: number of the newest that stay, in use or not.
    """
    for folder in beyond_newest(runs.iterdir(), count):
        _delete_unused(folder)


def _lock_shared(folder: Path) -> int:
    """Lock the folder itself; retry if it was deleted between opening and locking."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _delete_unused(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return  # another run deleted it
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(descriptor)
