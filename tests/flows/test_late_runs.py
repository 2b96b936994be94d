"""Late runs collapse into one: a weekend without a worker, on a real Prefect server."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PATIENCE = 150
"""Seconds to wait for an answer of a busy server."""

MONDAY = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
LATE = {
    "monitor": [MONDAY - timedelta(hours=hour) for hour in range(60, 0, -1)],
    "nightly": [MONDAY - timedelta(days=day) for day in (2, 1, 0)],
}
"""Deployment -> the times at which its runs were due while no worker polled."""


def test_scheduled_and_triggered_deployments_keep_one_run_and_cancel_the_others():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    limits = {deployment["name"]: deployment.get("concurrency_limit") for deployment in deployments}
    one_run = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert {name for name, limit in limits.items() if limit == one_run} == {
        "nightly",
        "on-drift",
        "monitor",
    }
    scheduled = {deployment["name"] for deployment in deployments if deployment["schedules"]}
    assert scheduled == set(LATE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_weekend_without_a_worker_one_monitor_and_one_training_start(
    serving, tmp_path_factory
):
    home = tmp_path_factory.mktemp("prefect")
    with serving(home) as (url, environment):
        for command in (["make", "deploy", f"SENSEI_HOME={home}"], [*_sensei(), "db", "upgrade"]):
            completed = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert completed.returncode == 0, completed.stdout + completed.stderr
        deployments = {
            deployment["name"]: deployment["id"] for deployment in _ask(url, "deployments", {})
        }
        late = {
            name: {_schedule(url, deployments[name], moment) for moment in moments}
            for name, moments in LATE.items()
        }
        worker = subprocess.Popen(
            ["make", "worker"], cwd=ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            ended_runs = _ended(url, set().union(*late.values()))
        finally:
            os.killpg(worker.pid, signal.SIGINT)
            worker.communicate(timeout=60)
    for name, runs in late.items():
        started = [run for run in runs if ended_runs[run]["run_count"]]
        assert len(started) == 1, (
            f"{name}: {Counter(ended_runs[run]['state_name'] for run in runs)}"
        )
        other_states = {ended_runs[run]["state_name"] for run in runs.difference(started)}
        assert other_states == {"Cancelled"}


def _sensei() -> list[str]:
    return [str(Path(sys.executable).with_name("sensei"))]


def _ask(url: str, path: str, body: dict) -> list[dict]:
    answer = httpx.post(f"{url}/{path}/filter", json=body, timeout=PATIENCE)
    return answer.raise_for_status().json()


def _schedule(url: str, deployment: str, moment: datetime) -> str:
    """Create a run that was due at a moment; return its id."""
    details = {"scheduled_time": moment.isoformat()}
    state = {"type": "SCHEDULED", "name": "Late", "state_details": details}
    path, deadline = f"{url}/deployments/{deployment}/create_flow_run", time.monotonic() + PATIENCE
    while True:
        response = httpx.post(path, json={"state": state}, timeout=PATIENCE)
        if response.status_code != 503 or time.monotonic() > deadline:  # its database is busy
            return response.raise_for_status().json()["id"]
        time.sleep(1)


def _ended(url: str, runs: set[str]) -> dict[str, dict]:
    """Wait until all runs ended; return them by id."""
    deadline, states = time.monotonic() + 400, {}
    query = {"flow_runs": {"id": {"any_": sorted(runs)}}, "limit": 200}
    while time.monotonic() < deadline:
        states = {run["id"]: run for run in _ask(url, "flow_runs", query)}
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        if states.keys() == runs and all(run["state_type"] in ends for run in states.values()):
            return states
        time.sleep(2)
    pytest.fail(f"not all runs ended: {Counter(run['state_name'] for run in states.values())}")
