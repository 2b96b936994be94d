"""Deployments on a real Prefect server: the schedule must make runs, the limit must hold."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
SENSEI = Path(sys.executable).with_name("sensei")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, dict[str, str]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    log = (home / "server.log").open("wb")
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": url,
        "DO_NOT_TRACK": "true",
    }
    process = subprocess.Popen(
        [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _wait_for(url)
        done = subprocess.run(
            ["make", "deploy", f"SENSEI_HOME={home}"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield url, environment | {"SENSEI_HOME": str(home / "sensei")}
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait_for(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail("the Prefect server did not answer within 120 s")


def _ask(url: str, path: str, body: dict) -> list[dict]:
    return httpx.post(f"{url}/{path}/filter", json=body, timeout=30).raise_for_status().json()


@pytest.mark.timeout(500)
def test_nightly_is_scheduled_for_two_at_night_over_thirty_days(server):
    url, _ = server
    until = time.monotonic() + 60
    while not (runs := _ask(url, "flow_runs", {})) and time.monotonic() < until:
        time.sleep(1)
    deployments = {d["name"]: d for d in _ask(url, "deployments", {})}
    assert set(deployments) == {
        "nightly", "manual", "check-data", "promote-model", "rollback-model", "package-service",
    }  # fmt: skip
    assert deployments["nightly"]["parameters"]["window_days"] == 30
    assert deployments["manual"]["parameters"]["window_days"] == 90
    assert deployments["nightly"]["parameters"]["effort"] == "full"
    assert deployments["manual"]["parameters"]["effort"] == "quick"
    scheduled = [r for r in runs if r["state_type"] == "SCHEDULED"]
    assert len(scheduled) > 0
    assert {r["deployment_id"] for r in scheduled} == {deployments["nightly"]["id"]}
    assert {r["next_scheduled_start_time"][11:16] for r in scheduled} == {"02:00"}


@pytest.mark.timeout(500)
def test_one_limit_holds_for_all_training(server):
    url, _ = server
    limits = {limit["name"]: limit for limit in _ask(url, "v2/concurrency_limits", {})}
    assert limits["train"]["limit"] == 1


@pytest.mark.timeout(500)
def test_a_parameter_out_of_range_is_refused_with_the_reason(server):
    url, _ = server
    manual = next(d for d in _ask(url, "deployments", {}) if d["name"] == "manual")
    answer = httpx.post(
        f"{url}/deployments/{manual['id']}/create_flow_run",
        json={"parameters": {"window_days": 0}},
        timeout=30,
    )
    assert answer.status_code in (409, 422)
    assert "window_days" in answer.text or "minimum" in answer.text


@pytest.mark.timeout(500)
def test_the_form_says_what_each_parameter_means(server):
    url, _ = server
    training = {"window_days", "as_of", "split", "seed", "promotion", "effort"}
    asked = {
        "nightly": training,
        "manual": training,
        "check-data": {"as_of"},
        "promote-model": {"reviewer", "model", "version", "reason"},
        "rollback-model": {"reviewer", "model", "reason"},
        "package-service": set(),
    }
    for deployment in _ask(url, "deployments", {}):
        properties = deployment["parameter_openapi_schema"]["properties"]
        assert set(properties) == asked[deployment["name"]]
        assert all(p.get("description") for p in properties.values())


@pytest.mark.timeout(500)
@pytest.mark.parametrize("given", [{}, {"reviewer": " "}, {"reviewer": "Ann", "version": "v3"}])
def test_a_promotion_without_a_name_or_of_no_version_is_refused_by_the_form(server, given):
    url, _ = server
    promote = next(d for d in _ask(url, "deployments", {}) if d["name"] == "promote-model")
    answer = httpx.post(
        f"{url}/deployments/{promote['id']}/create_flow_run", json={"parameters": given}, timeout=30
    )
    assert answer.status_code in (409, 422)
    assert ("version" if "version" in given else "reviewer") in answer.text


@pytest.mark.timeout(500)
def test_a_worker_finds_the_flow_and_says_why_an_empty_log_is_refused(server):
    url, environment = server
    made = subprocess.run(
        [SENSEI, "db", "upgrade"], env=environment, capture_output=True, check=False
    )
    assert made.returncode == 0
    manual = next(d for d in _ask(url, "deployments", {}) if d["name"] == "manual")
    run = httpx.post(
        f"{url}/deployments/{manual['id']}/create_flow_run",
        json={"state": {"type": "SCHEDULED"}},
        timeout=30,
    ).raise_for_status().json()  # fmt: skip
    worker = subprocess.Popen(
        ["make", "worker"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 180
        state = run["state"]
        while state["type"] not in ("FAILED", "CRASHED", "COMPLETED") and time.monotonic() < until:
            time.sleep(1)
            state = httpx.get(f"{url}/flow_runs/{run['id']}", timeout=30).json()["state"]
    finally:
        os.killpg(worker.pid, signal.SIGINT)
        worker.communicate(timeout=60)
    assert state["type"] == "FAILED"
    assert "log: expected interactions to train on, got none" in state["message"]
