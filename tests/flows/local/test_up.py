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


def ask(up: Any, path: str) -> list[dict]:
    sent = b64encode((up.home / "prefect-auth").read_bytes().strip()).decode()
    address, auth = f"{up.site('PREFECT')}/api/{path}/filter", {"Authorization": f"Basic {sent}"}
    return httpx.post(address, json={}, headers=auth, timeout=60).raise_for_status().json()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_all_answer_are_scheduled_end_with_ctrl_c_and_start_again_as_they_were(start):
    up = start()
    up.wait_for("Ctrl-C ends all")
    for name, port in up.ports.items():
        assert f"http://127.0.0.1:{port}" in up.said(), name
    assert "run `sensei run`" in up.said()
    assert httpx.get(up.site("SERVICE") + "/readyz").json()["ready"]
    assert httpx.get(up.site("MLFLOW")).status_code == 200
    assert httpx.get(up.site("PREFECT")).status_code == 200
    assert httpx.post(f"{up.site('PREFECT')}/api/deployments/filter", json={}).status_code == 401
    (project,) = httpx.get(up.site("EVIDENTLY") + "/api/projects").json()
    assert project["name"] == "Cyber-Sensei"
    deployments = {each["name"]: each["id"] for each in ask(up, "deployments")}
    assert {"nightly", "manual", "on-drift", "monitor"} <= set(deployments)
    until = time.monotonic() + 120
    runs: list[dict] = []
    while len({run["deployment_id"] for run in runs}) < 2 and time.monotonic() < until:
        time.sleep(1)
        runs = ask(up, "flow_runs")
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}
    assert {run["deployment_id"] for run in runs} >= {
        deployments["monitor"],
        deployments["nightly"],
    }
    family = up.family()
    assert len(family) >= 5
    written = [path for path in up.home.rglob("*") if not path.is_symlink()]
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    assert up.end() == 0
    assert not [each for each in family if each.is_running()]
    listed = {path.stem for path in (up.home / "logs").iterdir()}
    assert listed == {"prefect", "mlflow", "evidently", "service", "worker", "deployments"}

    again = start()
    again.wait_for("Ctrl-C ends all")
    assert {each["name"]: each["id"] for each in ask(again, "deployments")} == deployments
    again.part("mlflow").kill()
    again.wait_for("MLflow ended.")
    assert httpx.get(again.site("SERVICE") + "/readyz").json()["ready"], "the others go on"
    family = again.family()
    assert again.end(signal.SIGTERM) == 1
    assert not [each for each in family if each.is_running()]


@pytest.mark.timeout(120)
def test_every_port_that_is_taken_is_named_with_its_setting(tmp_path, free_ports):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
            each.listen()
        taken = one.getsockname()[1], other.getsockname()[1]
        ports = {"SENSEI_MLFLOW_PORT": str(taken[0]), "SENSEI_SERVICE_PORT": str(taken[1])}
        free = dict(
            zip(("SENSEI_PREFECT_PORT", "SENSEI_EVIDENTLY_PORT"), free_ports(2), strict=True)
        )
        done = subprocess.run(
            [*SENSEI, "up"],
            env=os.environ
            | ports
            | {name: str(port) for name, port in free.items()}
            | {"SENSEI_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    for setting, port in ports.items():
        assert f"{port} is taken" in done.stdout
        assert setting in done.stdout
    assert not set(free) & set(done.stdout.split())
    assert not (tmp_path / "home" / "logs").exists()
