"""The whole software as a stranger runs it: commands, in a home of their own, without network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SENSEI = Path(sys.executable).with_name("sensei")

# Loopback is down in a new network namespace; Prefect's engine talks to itself over it.
LOOPBACK_UP = (
    "import fcntl, os, socket, struct, sys\n"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def _isolation() -> list[str]:
    """A prefix that runs a command where only loopback exists; empty where the system forbids."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    prefix = [unshare, "--map-root-user", "--net", sys.executable, "-c", LOOPBACK_UP]
    completed = subprocess.run([*prefix, "/bin/true"], capture_output=True, check=False)
    return prefix if completed.returncode == 0 else []


Sensei = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def isolation() -> list[str]:
    return _isolation()


@pytest.fixture(scope="session")
def sensei(isolation: list[str]) -> Sensei:
    """Run a `sensei` command with a home, without network where the system allows."""

    def run(
        home: Path, *arguments: str, ok: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))}
        completed = subprocess.run(
            [*isolation, str(SENSEI), *arguments],
            env=clean | {"SENSEI_HOME": str(home), "COLUMNS": "120"} | environment,
            cwd=home.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=580,
        )
        if ok:
            assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
        return completed

    return run
