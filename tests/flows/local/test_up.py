"""Everything at once, as a person starts it: real programs, on free ports, in an empty home."""

import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from typing import Any

import httpx
import pytest

SENSEI = [sys.executable, "-c", "from flows.cli.command_line import main; main()"]


def ask(launcher: Any, path: str) -> list[dict]:
    credentials = b64encode((launcher.home / "prefect-auth").read_bytes().strip()).decode()
    address, auth = (
        f"{launcher.site('PREFECT')}/api/{path}/filter",
        {"Authorization": f"Basic {credentials}"},
    )
    return httpx.post(address, json={}, headers=auth, timeout=60).raise_for_status().json()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_all_answer_are_scheduled_end_with_ctrl_c_and_start_again_as_they_were(start):
    launcher = start()
    launcher.wait_for("Ctrl-C ends all")
    for name, port in launcher.ports.items():
        assert f"http://127.0.0.1:{port}" in launcher.printed(), name
    assert "run `sensei run`" in launcher.printed()
    assert httpx.get(launcher.site("SERVICE") + "/readyz").json()["ready"]
    assert httpx.get(launcher.site("MLFLOW")).status_code == 200
    assert httpx.get(launcher.site("PREFECT")).status_code == 200
    assert (
        httpx.post(f"{launcher.site('PREFECT')}/api/deployments/filter", json={}).status_code == 401
    )
    (project,) = httpx.get(launcher.site("EVIDENTLY") + "/api/projects").json()
    assert project["name"] == "Cyber-Sensei"
    deployments = {
        deployment["name"]: deployment["id"] for deployment in ask(launcher, "deployments")
    }
    assert {"nightly", "manual", "on-drift", "monitor"} <= set(deployments)
    deadline = time.monotonic() + 120
    runs: list[dict] = []
    while len({run["deployment_id"] for run in runs}) < 2 and time.monotonic() < deadline:
        time.sleep(1)
        runs = ask(launcher, "flow_runs")
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}
    assert {run["deployment_id"] for run in runs} >= {
        deployments["monitor"],
        deployments["nightly"],
    }
    family = launcher.family()
    assert len(family) >= 5
    written_paths = [path for path in launcher.home.rglob("*") if not path.is_symlink()]
    assert [path for path in written_paths if path.stat().st_mode & 0o077] == []
    assert launcher.end() == 0
    assert not [process for process in family if process.is_running()]
    log_names = {path.stem for path in (launcher.home / "logs").iterdir()}
    assert log_names == {"prefect", "mlflow", "evidently", "service", "worker", "deployments"}

    again = start()
    again.wait_for("Ctrl-C ends all")
    assert {
        deployment["name"]: deployment["id"] for deployment in ask(again, "deployments")
    } == deployments
    again.part("mlflow").kill()
    again.wait_for("MLflow ended.")
    assert httpx.get(again.site("SERVICE") + "/readyz").json()["ready"], "the others go on"
    family = again.family()
    assert again.end(signal.SIGTERM) == 1
    assert not [process for process in family if process.is_running()]


@pytest.mark.timeout(120)
def test_every_port_that_is_taken_is_named_with_its_setting(tmp_path, free_ports):
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        taken_ports = first.getsockname()[1], second.getsockname()[1]
        ports = {
            "SENSEI_MLFLOW_PORT": str(taken_ports[0]),
            "SENSEI_SERVICE_PORT": str(taken_ports[1]),
        }
        free = dict(
            zip(("SENSEI_PREFECT_PORT", "SENSEI_EVIDENTLY_PORT"), free_ports(2), strict=True)
        )
        completed = subprocess.run(
            [*SENSEI, "up"],
            env=os.environ
            | ports
            | {name: str(port) for name, port in free.items()}
            | {"SENSEI_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert completed.returncode == 1
    for setting, port in ports.items():
        assert f"{port} is taken" in completed.stdout
        assert setting in completed.stdout
    assert not set(free) & set(completed.stdout.split())
    assert not (tmp_path / "home" / "logs").exists()
