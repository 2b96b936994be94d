"""`sensei up`: servers, worker, deployments and pages in one terminal until Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from rich.markup import escape
from rich.table import Table

from flows.local.launch import LOOPBACK, ROOT, launching
from flows.local.local_log import open_own_log
from flows.local.prefect_auth import auth_environment, auth_header
from flows.local.preflight import check_ports, check_prefect_store, check_room
from flows.local.service_probe import POOL
from flows.local.supervisor import ManagedProcess, Supervisor
from flows.presentation.run_summary import command
from flows.presentation.terminal import console, run_progress
from monitoring.drift.workspace import open_project
from sensei.settings import Settings
from training.tracking.mlflow_status import check_store

WORKER = "Worker"

Say = Callable[[str], None]

PURPOSES = {
    "Prefect": "runs, schedules, artifacts; start a run or promote a version by hand",
    "MLflow": "experiments and versions, with model cards, plots and metrics",
    "Evidently": "drift of recent data compared with the champion's reference",
    "Service": "API for the platform, documented under /docs",
    WORKER: "executes the runs that Prefect schedules",
}


def up(settings: Settings) -> int:
    """Start all parts, show their addresses, and end them on Ctrl-C.

    Returns:
        Exit code: 1 if a part ended by itself.

    Raises:
        InvalidInput: a port is taken.
        StorageUnavailable: a part does not start; all others have been ended.
    """
    check_room(settings.root)
    check_ports(
        {
            "SENSEI_PREFECT_PORT": (LOOPBACK, settings.prefect_port),
            "SENSEI_MLFLOW_PORT": (LOOPBACK, settings.mlflow_port),
            "SENSEI_EVIDENTLY_PORT": (LOOPBACK, settings.evidently_port),
            "SENSEI_SERVICE_PORT": (settings.service_host, settings.service_port),
        }
    )
    check_prefect_store(settings.environment() | os.environ)
    check_store(settings.tracking_uri)
    open_own_log(settings).close()
    return asyncio.run(_Up(settings).run())


class _Up:
    """Run of all parts of this installation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        port = settings.prefect_port
        self.sites = {
            "Prefect": f"http://{LOOPBACK}:{port}",
            "MLflow": f"http://{LOOPBACK}:{settings.mlflow_port}",
            "Evidently": f"http://{LOOPBACK}:{settings.evidently_port}",
            "Service": f"http://{settings.service_host}:{settings.service_port}",
        }
        self.elsewhere = settings.tracking_uri.startswith("http")
        if self.elsewhere:
            self.sites["MLflow"] = settings.tracking_uri
        self.api = f"{self.sites['Prefect']}/api"
        environment = settings.environment() | auth_environment(settings) | {
            "PREFECT_API_URL": self.api,
            "PROJECT_ROOT": str(ROOT),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",  # `sensei` itself is quiet
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.auth = auth_header(self.api, environment)
        self.supervisor = Supervisor(settings.logs, environment, ROOT)

    async def run(self) -> int:
        """Start all parts, wait for Ctrl-C, and end them."""
        stopped = asyncio.Event()
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signal_number, stopped.set)
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                with run_progress() as say:
                    say("Prefect, MLflow, Evidently and the service start: about a minute")
                    started = await _first(self._start(client, say), stopped)
                if not started:
                    return 0
                await self._show(client)
            return await self._watch(stopped)
        finally:
            console.print("Ending all parts ...")
            await self.supervisor.stop(first=[WORKER])
            console.print("Ended. All data is kept: start again with the same command.")

    async def _start(self, client: httpx.AsyncClient, say: Say) -> None:
        """Start all servers in parallel, then the worker, whose runs need them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(open_project, self.settings.evidently))
            group.create_task(self._deploy(client, say))
            for server in self._servers(client):
                group.create_task(self._begin(server, say))
        await self._begin(self._worker(client), say)

    async def _begin(self, server: ManagedProcess, say: Say) -> None:
        await self.supervisor.start(server)
        say(f"{server.name}: answers")

    async def _deploy(self, client: httpx.AsyncClient, say: Say) -> None:
        while not await _answers(client, f"{self.api}/health"):
            await asyncio.sleep(0.3)
        await self.supervisor.run("Deployments", launching("deployments"))
        say("Deployments: made")

    def _servers(self, client: httpx.AsyncClient) -> list[ManagedProcess]:
        commands = {name: launching(name.lower()) for name in ("Prefect", "MLflow", "Evidently")}
        commands |= {
            "Service": [str(Path(sys.executable).with_name("sensei")), "serve"],
        }
        if self.elsewhere:
            del commands["MLflow"]
        pages = {"Prefect": "/api/health", "MLflow": "/health", "Service": "/readyz"}
        return [
            ManagedProcess(name, command, _asking(client, self.sites[name] + pages.get(name, "/")))
            for name, command in commands.items()
        ]

    def _worker(self, client: httpx.AsyncClient) -> ManagedProcess:
        workers = f"{self.api}/work_pools/{POOL}/workers/filter"

        async def ready() -> bool:
            with suppress(httpx.HTTPError):
                response = await client.post(workers, json={}, headers=self.auth)
                return any(worker["status"] == "ONLINE" for worker in response.json())
            return False

        return ManagedProcess(WORKER, launching("worker"), ready)

    async def _show(self, client: httpx.AsyncClient) -> None:
        """Show the address and the purpose of each part."""
        table = Table(show_header=False, box=None)
        for name, purpose in PURPOSES.items():
            table.add_row(f"[bold]{name}[/bold]", self.sites.get(name, ""), purpose)
        console.print(table)
        readiness: dict[str, Any] = (await client.get(f"{self.sites['Service']}/readyz")).json()
        for trouble in readiness["troubles"]:
            console.print(f"[yellow]service:[/yellow] {escape(trouble)}", soft_wrap=True)
        console.print(
            f"Prefect's page asks once for a password: {command()} keys prefect", soft_wrap=True
        )
        console.print(f"Logs: {self.settings.logs}. Ctrl-C ends all.", soft_wrap=True)

    async def _watch(self, stopped: asyncio.Event) -> int:
        """Wait until Ctrl-C; report a part that ends by itself while the others continue."""
        exit_code = 0
        while name := await _first(self.supervisor.next_end(), stopped):
            exit_code = 1
            console.print(
                f"[red]{name} ended.[/red] The other parts continue; restart all to get it back. "
                "Its log ends with"
            )
            console.print(escape(self.supervisor.tail(name)), soft_wrap=True)
        return exit_code


async def _first(work: Any, stopped: asyncio.Event) -> Any:
    """Return the result of some work, True if it is empty; None if stopped before."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        try:
            return working.result() or True
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    working.cancel()
    await asyncio.wait({working})
    return None


def _asking(client: httpx.AsyncClient, address: str) -> Callable[[], Any]:
    return lambda: _answers(client, address)


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    with suppress(httpx.HTTPError):
        return (await client.get(address)).is_success
    return False
