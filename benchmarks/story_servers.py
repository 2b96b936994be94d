"""Servers of the end-to-end run on free ports: Prefect with a worker, MLflow, the service."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows.local.launch import launching
from flows.local.prefect_auth import auth_environment, auth_header
from sensei.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"
PATIENCE = 900.0
"""Maximum duration of a run in seconds."""

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Prefect:
    """Client of Prefect's server.

    Attributes:
        api: address of the API.
        client: HTTP client that sends the auth string.
    """

    api: str
    client: httpx.Client

    def deployment(self, name: str) -> dict[str, Any]:
        """Read a deployment by its name."""
        deployments = self._filter("deployments", {"deployments": {"name": {"any_": [name]}}})
        return deployments[0]

    def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Start a deployment as the button in Prefect's UI does, and wait for its end."""
        deployment_id = self.deployment(name)["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        response = self.client.post(
            f"{self.api}/deployments/{deployment_id}/create_flow_run", json=body
        )
        return self.ended(response.raise_for_status().json()["id"])

    def ended(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run and return the run."""

        def over() -> dict[str, Any] | None:
            state = self.client.get(f"{self.api}/flow_runs/{run}").json()
            return state if state["state_type"] in ENDED else None

        return until(over, f"run {run}")

    def runs(self, name: str) -> list[dict[str, Any]]:
        """List all runs of a deployment, oldest first."""
        query = {"deployments": {"name": {"any_": [name]}}}
        return self._filter("flow_runs", query | {"sort": "EXPECTED_START_TIME_ASC"})

    def shorten(self, name: str, seconds: float) -> None:
        """Set the cooldown of a deployment's automations in seconds: a simulated week is short."""
        for automation in self._filter("automations", {}):
            if name in automation["name"]:
                automation["trigger"]["within"] = seconds
                body = {
                    k: v for k, v in automation.items() if k not in ("id", "created", "updated")
                }
                address = f"{self.api}/automations/{automation['id']}"
                self.client.put(address, json=body).raise_for_status()

    def give(self, name: str, **parameters: Any) -> None:
        """Change parameters of a deployment for all its later runs."""
        deployment = self.deployment(name)
        body = {"parameters": deployment["parameters"] | parameters}
        address = f"{self.api}/deployments/{deployment['id']}"
        self.client.patch(address, json=body).raise_for_status()

    def _filter(self, collection: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        response = self.client.post(f"{self.api}/{collection}/filter", json=body)
        rows: list[dict[str, Any]] = response.raise_for_status().json()
        return rows


@dataclass(frozen=True)
class Servers:
    """Clients and addresses of the running servers."""

    prefect: Prefect
    mlflow: str
    service: str


@contextmanager
def servers(home: Path, clock: Path) -> Iterator[Servers]:
    """Start all servers and deploy the flows; stop the servers and their children at the end.

    Args:
        home: `SENSEI_HOME`; its database must exist.
        clock: file from which the service reads the time.
    """
    ports = _free_ports(3)
    prefect, mlflow, service = (f"http://{LOOPBACK}:{port}" for port in ports)
    environment = _environment(home, clock, prefect, mlflow)
    timed = ["timed_service:SenseiService", "--working-dir", str(Path(__file__).parent)]
    timed += ["--host", LOOPBACK, "--port", str(ports[2])]
    with ExitStack() as ended:

        def start(name: str, ready: str, *command: str) -> None:
            process = _started(home / f"{name}.log", environment, *command)
            ended.callback(_end, process)
            if ready:
                until(lambda: _answers(ready), name, process)

        start("prefect", f"{prefect}/api/health", *launching("prefect"))
        start("mlflow", f"{mlflow}/health", *launching("mlflow"))
        start("service", f"{service}/readyz", sys.executable, "-m", "bentoml", "serve", *timed)
        _run(environment, *launching("deployments"))
        start("worker", "", *launching("worker"))
        api = f"{prefect}/api"
        client = httpx.Client(headers=auth_header(api, environment), timeout=60)
        yield Servers(Prefect(api, ended.enter_context(client)), mlflow, service)


def until(ask: Callable[[], Any], subject: str, process: Any = None) -> Any:
    """Call `ask` every half second until it returns a true value, and return that value.

    Raises:
        TimeoutError: it took longer than `PATIENCE`, or the process ended.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and (process is None or process.poll() is None):
        if answer := ask():
            return answer
        time.sleep(0.5)
    raise TimeoutError(f"{subject}: expected an end within {PATIENCE:.0f} s")


def _environment(home: Path, clock: Path, prefect: str, mlflow: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))}
    settings = Settings(home=home, mlflow_tracking_uri=mlflow)
    return inherited | settings.environment() | auth_environment(settings) | {
        "SENSEI_MLFLOW_TRACKING_URI": mlflow,
        "SENSEI_MLFLOW_PORT": mlflow.rpartition(":")[2],
        "SENSEI_PREFECT_PORT": prefect.rpartition(":")[2],
        "PREFECT_API_URL": f"{prefect}/api",
        "PROJECT_ROOT": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "STORY_CLOCK": str(clock),
    }  # fmt: skip


def _started(log: Path, environment: Mapping[str, str], *command: str) -> Any:
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd=ROOT,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _run(environment: Mapping[str, str], *command: str) -> None:
    subprocess.run(command, env=dict(environment), cwd=ROOT, check=True, capture_output=True)


def _end(process: Any) -> None:
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        family = [*parent.children(recursive=True), parent]
        for member in family:
            member.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for member in alive:
            member.kill()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=10).is_success
    except httpx.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((LOOPBACK, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
