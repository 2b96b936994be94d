"""PostgreSQL's own tools: a dump, its verification, and its restore in one transaction.

Connection parameters reach the tools through environment variables, as every user of the machine
can read process arguments.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine

from sensei.errors import InvalidInput, StorageUnavailable

LOCK_SECONDS = 30
"""Seconds to wait for locks on the tables before a restore is abandoned."""

_INSTALLED = "/usr/lib/postgresql"
_OF_ANYBODY = ["--no-owner", "--no-privileges"]


def dump(engine: Engine, names: Sequence[str], snapshot: str, target: Path) -> None:
    """Write tables and views as of a snapshot into a file in PostgreSQL's custom format.

    Raises:
        StorageUnavailable: the tool is absent or failed.
    """
    parameters, environment = _connection(engine)
    command = [find_tool("pg_dump"), "--no-password", "--format=custom", *_OF_ANYBODY]
    command += [f"--snapshot={snapshot}", *(f"--table={name}" for name in names)]
    _run([*command, f"--file={target}", f"--dbname={parameters}"], environment)


def verify_dump(file: Path) -> None:
    """Read a whole dump to check it.

    Raises:
        StorageUnavailable: the tool is absent, or the dump is damaged.
    """
    _run([find_tool("pg_restore"), "--file=/dev/null", str(file)], {})


def dumped_migration(file: Path) -> str:
    """Return the migration of a dump.

    Raises:
        StorageUnavailable: the tool is absent.
        InvalidInput: the file is not a dump of the log.
    """
    command = [find_tool("pg_restore"), "--data-only", "--table=alembic_version", "--file=-"]
    reading = subprocess.run([*command, str(file)], capture_output=True, text=True)  # noqa: S603
    migration = re.search(r"^COPY .*alembic_version.*;\n(\w+)$", reading.stdout, re.MULTILINE)
    if migration is None:
        raise InvalidInput(
            f"file: expected a dump of the log, got {file} without its migration; use another one"
        )
    return migration[1]


def load_dump(engine: Engine, file: Path, tables: Sequence[str], views: Sequence[str]) -> None:
    """Replace tables and views with those of a dump, in one transaction: all or nothing.

    Raises:
        StorageUnavailable: a tool is absent or failed; nothing was changed.
    """
    parameters, environment = _connection(engine)
    read = [find_tool("pg_restore"), *_OF_ANYBODY, "--file=-", str(file)]
    first = f"SET lock_timeout = '{LOCK_SECONDS}s'; SET client_min_messages = warning;"
    drop = f"DROP VIEW IF EXISTS {', '.join(views)}; DROP TABLE IF EXISTS {', '.join(tables)}"
    write = [find_tool("psql"), "--no-password", "--no-psqlrc", "--quiet", "--single-transaction"]
    write += ["--set=ON_ERROR_STOP=1", f"--dbname={parameters}", f"--command={first}"]
    write += [f"--command={drop}", "--file=-"]
    with tempfile.TemporaryFile() as errors:
        reader = subprocess.Popen(read, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603
        writer = subprocess.Popen(  # noqa: S603 - no shell
            write,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | environment,
        )
        assert reader.stdout is not None
        assert writer.stdin is not None
        try:
            shutil.copyfileobj(reader.stdout, writer.stdin)
        except BrokenPipeError:
            reader.kill()  # the writer failed and its output has the reason
        if reader.wait():
            writer.kill()  # at the end of its input it would commit the partial content
        writer.communicate()
        if reader.returncode or writer.returncode:
            raise _failed("psql", errors)


def find_tool(name: str) -> str:
    """Return the path of a PostgreSQL tool, on PATH or in Debian's folder.

    Raises:
        StorageUnavailable: it is in neither place.
    """
    installed = sorted(Path(_INSTALLED).glob(f"*/bin/{name}"), key=lambda path: path.parts[-3])
    tool = shutil.which(name) or (str(installed[-1]) if installed else None)
    if tool is None:
        raise StorageUnavailable(
            f"{name}: expected PostgreSQL's tool on PATH or in {_INSTALLED}/*/bin, got none; "
            "install PostgreSQL's client programs (Debian: postgresql-client)"
        )
    return tool


def _connection(engine: Engine) -> tuple[str, dict[str, str]]:
    """Return parameters that may be visible, and the others as environment variables."""
    _, arguments = engine.dialect.create_connect_args(engine.url)
    variables = {option.keyword.decode(): option.envvar for option in pq.Conninfo.get_defaults()}
    shown, hidden = {}, {}
    for name, value in arguments.items():  # includes parameters that only the driver knows
        if variable := variables.get(name):
            hidden[variable.decode()] = str(value)
        elif name in variables and name != "sslpassword":  # sslpassword has no variable
            shown[name] = value
    return make_conninfo("", **shown), hidden


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    with tempfile.TemporaryFile() as errors:
        ended = subprocess.run(  # noqa: S603 - no shell
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        if ended.returncode:
            raise _failed(Path(command[0]).name, errors)


def _failed(name: str, errors: IO[bytes]) -> StorageUnavailable:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines() or ["no output"]
    telling = next((line for line in lines if "error" in line.lower()), lines[-1])
    return StorageUnavailable(
        f"{name}: expected it to succeed, got {telling!r}; correct that, then repeat"
    )
