"""A service is killed while a run trains: the next run completes, nothing is half-promoted."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from sensei.events.log import open_log
from sensei.model_name import ModelName
from sensei.settings import Settings
from sensei.storage.database import connect
from training.release import ledger
from training.release.reconcile import reconcile
from training.tracking.registry import Registry

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 900


def until(ask: Callable[[], Any], label: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if result := ask():
                return result
        except httpx.HTTPError:
            pass  # it is being started, or has too much to do
        time.sleep(0.5)
    pytest.fail(f"{label}: not within {PATIENCE} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """Prefect's server, MLflow's and a worker, each of which can be killed and started again."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.prefect, self.mlflow = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        urls = {"database_url": database_url, "mlflow_tracking_uri": self.mlflow}
        self.settings = Settings(home=home, **urls)
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))
        }
        variables = {f"SENSEI_{name.upper()}": value for name, value in urls.items() if value}
        self.environment = inherited | self.settings.environment() | variables | {
            "PREFECT_API_URL": f"{self.prefect}/api", "PROJECT_ROOT": str(ROOT),
        }  # fmt: skip
        store = ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--workers", "1"]
        store += ["--artifacts-destination", str(home / "mlartifacts")]
        self.commands = {
            "prefect": ["prefect", "server", "start", "--port", self.prefect.rpartition(":")[2]],
            "mlflow": ["mlflow", "server", "--port", self.mlflow.rpartition(":")[2], *store],
            "worker": ["prefect", "worker", "start", "--pool", "sensei"],
        }
        self.running: dict[str, psutil.Popen] = {}

    def run(self, *command: str) -> None:
        completed = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr

    def start(self, name: str) -> None:
        program, *arguments = self.commands[name]
        with (self.settings.root / f"{name}.log").open("ab") as log:
            self.running[name] = psutil.Popen(
                [str(BIN / program), *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        address = {"prefect": f"{self.prefect}/api/health", "mlflow": f"{self.mlflow}/health"}
        if name in address:
            until(lambda: httpx.get(address[name]).is_success, name)

    def kill(self, name: str) -> None:
        parent = self.running.pop(name)
        for process in [*parent.children(recursive=True), parent]:
            process.kill()
        parent.wait(30)

    def train(self) -> str:
        body = {"deployments": {"name": {"any_": ["manual"]}}}
        (manual,) = until(lambda: self.ask("deployments/filter", body), "deployments")
        path = f"deployments/{manual['id']}/create_flow_run"
        run_request = {"parameters": {"effort": "quick"}, "state": {"type": "SCHEDULED"}}
        return str(until(lambda: self.ask(path, run_request), "a run")["id"])

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.prefect}/api/{path}", json=body, timeout=120)
        return answer.raise_for_status().json()

    def trains(self, run: str) -> bool:
        """Check if the run is in the middle of its training."""
        body = {"task_runs": {"flow_run_id": {"any_": [run]}}}
        task_runs = self.ask("task_runs/filter", body)
        return any(
            t["name"].startswith("train") and t["state_type"] == "RUNNING" for t in task_runs
        )

    def end_of(self, run: str) -> str:
        def end() -> str | None:
            answer = httpx.get(f"{self.prefect}/api/flow_runs/{run}", timeout=120)
            state = str(answer.raise_for_status().json()["state_type"])
            return state if state in ENDED else None

        return str(until(end, f"the end of run {run}"))


Begin = Callable[[str], Site]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    sites: list[Site] = []

    def site(database_url: str) -> Site:
        home = tmp_path / "home"
        home.mkdir()
        sites.append(new_site := Site(home, database_url))
        new_site.run(str(BIN / "sensei"), "simulate", "--learners", "120", "--seed", "3")
        new_site.start("prefect")
        new_site.start("mlflow")
        new_site.run(sys.executable, "-m", "flows.local.deployments")
        new_site.start("worker")
        return new_site

    yield site
    for started_site in sites:
        for name in list(started_site.running):
            started_site.kill(name)


def assert_whole(site: Site) -> None:
    """Ledger, aliases and pointer name the same champions, and there is nothing to fix."""
    log = open_log(site.settings.log_url)
    lines = ledger.read(log)
    champions, registry = ledger.champions(lines), Registry(site.mlflow, site.settings.root)
    assert set(champions) == set(ModelName)
    assert {name: registry.champion(name) for name in champions} == champions
    assert log.pointer() == lines[-1].bundle
    assert reconcile(log, registry, site.settings.bundles, datetime.now(UTC)) == []
    log.close()


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("victim", ["worker", "mlflow", "prefect"])
def test_after_a_kill_the_next_run_completes(begin: Begin, victim: str) -> None:
    site = begin("")
    run = site.train()
    until(lambda: site.trains(run), "training")
    site.kill(victim)
    if victim == "mlflow":
        assert site.end_of(run) == "FAILED"
    site.start(victim)
    assert site.end_of(site.train()) == "COMPLETED"
    assert_whole(site)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_after_the_database_cut_its_connections_the_next_run_completes(
    begin: Begin, empty_postgres_url: str
) -> None:
    site = begin(empty_postgres_url)
    run, engine = site.train(), connect(empty_postgres_url)
    until(lambda: site.trains(run), "training")
    with engine.connect() as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        of_clients = "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        assert connection.execute(text(f"{cut} {of_clients}")).scalar_one() > 0
    engine.dispose()
    assert site.end_of(run) in ("COMPLETED", "FAILED")
    assert site.end_of(site.train()) == "COMPLETED"
    assert_whole(site)
