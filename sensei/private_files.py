"""File modes below `SENSEI_HOME`: only the owner reads and writes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sensei.errors import StorageUnavailable

OWNER_ONLY = 0o077
"""umask under which new files have mode 0600 and new folders 0700."""


def keep_files_private() -> None:
    """Set the umask of this process and of its children, so new files are private."""
    os.umask(OWNER_ONLY)


def open_to_others(root: Path) -> list[Path]:
    """List files and folders that the group or other users may read, write or enter.

    Symbolic links are not followed. Folders come before what they contain.
    """
    return [path for path in _walk(root) if _mode(path) & OWNER_ONLY]


def make_private(root: Path) -> int:
    """Remove the rights of group and others from everything below a folder, itself included.

    Each folder is restricted before it is listed, so nobody else can exchange its content.

    Returns:
        Number of files and folders that were changed.

    Raises:
        StorageUnavailable: a file belongs to another user.
    """
    changed = 0
    for path in _walk(root):
        mode = _mode(path)
        if not mode & OWNER_ONLY:
            continue
        try:
            path.chmod(mode & ~OWNER_ONLY)
        except PermissionError as error:
            raise StorageUnavailable(
                f"files: expected to own {path}, got {error.strerror!r}; "
                "change its owner to the user of this installation, then repeat"
            ) from error
        except FileNotFoundError:
            continue  # a temporary file that is gone again
        changed += 1
    return changed


def _walk(root: Path) -> Iterator[Path]:
    """Yield a folder and everything below it, top down; vanished files are left out."""
    if root.exists():
        yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except FileNotFoundError:
        return 0
