"""Preflight checks before long work: a free port, a writable file and folder."""

import os
import shutil
import socket
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sensei.errors import InvalidInput, StorageUnavailable

ROOM_MB = 64
"""Minimum free space, in MB.

A run of a small log writes about 15 MB; Prefect's engine does not start on a full disk.
"""


def check_port(host: str, port: int, setting: str) -> None:
    """Refuse a port that another program holds, and name the setting that changes it.

    Raises:
        InvalidInput: the port is taken, or the address is not on this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise InvalidInput(
                f"host: expected an address of this machine, got {host} ({error.strerror}); "
                "set SENSEI_SERVICE_HOST"
            ) from error
        except OSError as error:
            raise InvalidInput(
                f"port: expected a free one, got {port} ({error.strerror}); "
                f"stop the program that holds it or set {setting}"
            ) from error


def check_ports(listeners: Mapping[str, tuple[str, int]]) -> None:
    """Refuse ports that other programs hold or that two of ours share, all in one sentence.

    Args:
        listeners: setting that names the port -> host and port.

    Raises:
        InvalidInput: some are taken; each is named with its setting.
    """
    problems = []
    setting_of: dict[int, str] = {}
    for setting, (host, port) in listeners.items():
        if port in setting_of:
            problems.append(
                f"{port} is also the port of {setting_of[port]}, set {setting} to another"
            )
            continue
        setting_of[port] = setting
        try:
            check_port(host, port, setting)
        except InvalidInput as error:
            if "free one" not in str(error):
                raise
            problems.append(f"{port} is taken, stop the program that holds it or set {setting}")
    if problems:
        raise InvalidInput("ports: expected free ones, got: " + "; ".join(problems))


def check_output(out: Path) -> None:
    """Refuse an output file that cannot be written, before minutes of work.

    Raises:
        InvalidInput: it cannot be written.
    """
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise InvalidInput(
            f"--out: expected a file that can be written, got {out}; name another one"
        )


def check_folder(folder: Path) -> None:
    """Create a folder for plots before minutes of work.

    Raises:
        InvalidInput: it cannot be made or written.
    """
    if reason := _unwritable(folder):
        raise InvalidInput(f"--plots: {reason}; name another one")


def check_room(home: Path) -> None:
    """Refuse a folder in which a run would fail half-way.

    Raises:
        StorageUnavailable: it cannot be written, or too little space is left.
    """
    if reason := _unwritable(home):
        raise StorageUnavailable(
            f"SENSEI_HOME: {reason}; make it writable, or choose another SENSEI_HOME"
        )
    free = shutil.disk_usage(home).free // 2**20
    if free < ROOM_MB:
        raise StorageUnavailable(
            f"SENSEI_HOME: expected {ROOM_MB} MB of free space at {home}, got {free} MB; "
            "free some space, then repeat"
        )


def check_prefect_store(environment: Mapping[str, str]) -> None:
    """Refuse a database that a newer Prefect wrote: the server would not start.

    Args:
        environment: names the database; only SQLite is checked here, others check themselves.

    Raises:
        StorageUnavailable: it was written by a newer version.
    """
    from training.tracking.mlflow_status import (
        check_migration,
        migrations_in,
        package_folder,
    )

    if "PREFECT_HOME" not in environment or "PREFECT_API_DATABASE_CONNECTION_URL" in environment:
        return
    file = Path(environment["PREFECT_HOME"], "prefect.db")
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return  # created just now, or damaged, which Prefect reports itself
    if row:
        folder = "server/database/_migrations/versions/sqlite"
        newest, known_migrations = migrations_in(package_folder("prefect") / folder)
        check_migration("Prefect", row[0], newest, known_migrations)


def _unwritable(folder: Path) -> str:
    """Create a folder and return why it is not writable; empty if it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"expected a folder that can be created, got {folder} ({error.strerror})"
    if not os.access(folder, os.W_OK):
        return f"expected a folder that can be written, got {folder}"
    return ""
