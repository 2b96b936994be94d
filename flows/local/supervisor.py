"""Supervisor of parallel processes: start, watch, and end together with their children."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sensei.errors import StorageUnavailable

LAST_LINES = 15
"""Number of lines at the end of a log that are shown if its process ended by itself."""

PATIENCE = 10.0
"""Seconds that a process has to end by itself before it is killed."""

START_SECONDS = 300.0
"""Seconds that a process has to answer after its start; a busy machine needs minutes."""


@dataclass(frozen=True)
class ManagedProcess:
    """Specification of one program under the supervisor.

    Attributes:
        name: of the program and of its log file.
        command: program and its arguments.
        ready: tells if it answers; returns false, without an error, until then.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[bool]]


@dataclass
class Supervisor:
    """Supervisor that starts processes and ends all that it started.

    Attributes:
        logs: folder with one log file per process, overwritten at each start.
        environment: variables of all processes.
        folder: their working folder.
        running: name -> running process.
    """

    logs: Path
    environment: Mapping[str, str]
    folder: Path
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, managed: ManagedProcess) -> None:
        """Start a process and wait until it answers.

        Raises:
            StorageUnavailable: it ended, or did not answer in time; with the end of its log.
        """
        process = await self._spawn(managed.name, managed.command)
        self.running[managed.name] = process
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await managed.ready():
                    if process.returncode is not None:
                        raise self._died(managed.name, "it ended")
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise self._died(managed.name, f"no answer within {START_SECONDS:.0f} s") from None

    async def run(self, name: str, command: Sequence[str]) -> None:
        """Run a program to its end.

        Raises:
            StorageUnavailable: it failed.
        """
        self.running[name] = process = await self._spawn(name, command)
        if await process.wait():
            raise self._died(name, "it failed")
        del self.running[name]

    async def next_end(self) -> str:
        """Wait until a running process ends by itself, and return its name."""
        waits = {asyncio.create_task(p.wait()): name for name, p in self.running.items()}
        if not waits:
            await asyncio.Event().wait()
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        name = waits[done.pop()]
        del self.running[name]
        return name

    async def stop(self, first: Sequence[str] = ()) -> None:
        """End all processes and their children.

        Args:
            first: names of those that need the others while they end.
        """
        remaining = [name for name in self.running if name not in first]
        for names in ([name for name in first if name in self.running], remaining):
            await _end([self.running.pop(name) for name in names])

    def tail(self, name: str) -> str:
        """Return the end of a process's log; empty if it cannot be read."""
        with suppress(OSError):
            return "\n".join(
                self._log(name).read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
            )
        return ""

    async def _spawn(self, name: str, command: Sequence[str]) -> asyncio.subprocess.Process:
        self.logs.mkdir(parents=True, exist_ok=True)
        with self._log(name).open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C reaches only us: we end them in order
            )

    def _log(self, name: str) -> Path:
        return self.logs / f"{name.lower().replace(' ', '-')}.log"

    def _died(self, name: str, cause: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{name}: expected it to start, got: {cause}; its log {self._log(name)} ends with\n"
            f"{self.tail(name)}"
        )


async def _end(processes: Sequence[asyncio.subprocess.Process]) -> None:
    """End processes and their descendants; kill those that still run after `PATIENCE`."""
    family: set[psutil.Process] = set()
    for process in processes:
        family |= _family(process.pid)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGTERM)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while (survivors := _alive(family)) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
        for member in survivors:
            family |= _family(member.pid)
    for member in _alive(family):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    for process in processes:
        await process.wait()


def _family(pid: int) -> set[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    return set()


def _alive(family: set[psutil.Process]) -> list[psutil.Process]:
    alive = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive
