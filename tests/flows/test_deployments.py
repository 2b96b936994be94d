"""Deployments on a real Prefect server: the schedule must make runs, the limit must hold."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from flows.local.deployments import LOST
from flows.tasks.monitor_tasks import RESOURCE
from sensei.app_state import MONITORED
from sensei.events.log import open_log

ROOT = Path(__file__).parents[2]
SENSEI = Path(sys.executable).with_name("sensei")


@pytest.fixture(scope="module")
def server(serving, tmp_path_factory) -> Iterator[tuple[str, dict[str, str]]]:
    home = tmp_path_factory.mktemp("prefect")
    with serving(home) as (url, environment):
        completed = subprocess.run(
            ["make", "deploy", f"SENSEI_HOME={home}"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert completed.returncode == 0, completed.stdout + completed.stderr
        yield url, environment


PATIENCE = 150
"""Seconds to wait for an answer: under other load the server may be silent for half a minute."""


def _ask(url: str, path: str, body: dict) -> list[dict]:
    answer = httpx.post(f"{url}/{path}/filter", json=body, timeout=PATIENCE)
    return answer.raise_for_status().json()


@pytest.mark.timeout(500)
def test_nightly_is_scheduled_for_two_at_night_over_thirty_days(server):
    url, _ = server
    deadline = time.monotonic() + 60
    runs: list[dict] = []
    while len({run["deployment_id"] for run in runs}) < 2 and time.monotonic() < deadline:
        time.sleep(1)
        runs = _ask(url, "flow_runs", {})
    deployments = {d["name"]: d for d in _ask(url, "deployments", {})}
    assert set(deployments) == {
        "nightly", "manual", "check-data", "promote-model", "rollback-model", "package-service",
        "on-drift", "monitor",
    }  # fmt: skip
    assert deployments["nightly"]["parameters"]["window_days"] == 30
    assert deployments["manual"]["parameters"]["window_days"] == 90
    assert deployments["nightly"]["parameters"]["effort"] == "full"
    assert deployments["manual"]["parameters"]["effort"] == "quick"
    starts: dict[str, set[str]] = {}
    for run in runs:
        assert run["state_type"] == "SCHEDULED"
        starts.setdefault(run["deployment_id"], set()).add(run["next_scheduled_start_time"])
    nightly, hourly = (starts.pop(deployments[name]["id"]) for name in ("nightly", "monitor"))
    assert {start[11:16] for start in nightly} == {"02:00"}
    assert {start[14:16] for start in hourly} == {"00"}
    assert len({start[11:13] for start in hourly}) > 1
    assert starts == {}


@pytest.mark.timeout(500)
def test_one_limit_holds_for_all_training(server):
    url, _ = server
    limits = {limit["name"]: limit for limit in _ask(url, "v2/concurrency_limits", {})}
    assert limits["train"]["limit"] == 1


@pytest.mark.timeout(500)
def test_a_run_without_a_heartbeat_is_marked_as_crashed(server):
    url, _ = server
    (watch,) = (
        deployment for deployment in _ask(url, "automations", {}) if deployment["name"] == LOST
    )
    assert watch["enabled"]
    assert (watch["trigger"]["posture"], watch["trigger"]["within"]) == ("Proactive", 600)
    assert watch["actions"][0]["state"] == "CRASHED"


@pytest.mark.timeout(500)
def test_a_parameter_out_of_range_is_refused_with_the_reason(server):
    url, _ = server
    manual = next(d for d in _ask(url, "deployments", {}) if d["name"] == "manual")
    answer = httpx.post(
        f"{url}/deployments/{manual['id']}/create_flow_run",
        json={"parameters": {"window_days": 0}},
        timeout=PATIENCE,
    )
    assert answer.status_code in (409, 422)
    assert "window_days" in answer.text or "minimum" in answer.text


@pytest.mark.timeout(500)
def test_the_form_says_what_each_parameter_means(server):
    url, _ = server
    training = {"window_days", "as_of", "split", "seed", "promotion", "effort", "models"}
    expected = {
        "nightly": training,
        "manual": training,
        "check-data": {"as_of"},
        "promote-model": {"reviewer", "model", "version", "reason"},
        "rollback-model": {"reviewer", "model", "reason"},
        "package-service": set(),
        "on-drift": training,
        "monitor": {"as_of"},
    }
    for deployment in _ask(url, "deployments", {}):
        properties = deployment["parameter_openapi_schema"]["properties"]
        assert set(properties) == expected[deployment["name"]]
        assert all(p.get("description") for p in properties.values())


@pytest.mark.timeout(500)
@pytest.mark.parametrize("given", [{}, {"reviewer": " "}, {"reviewer": "Ann", "version": "v3"}])
def test_a_promotion_without_a_name_or_of_no_version_is_refused_by_the_form(server, given):
    url, _ = server
    promote = next(d for d in _ask(url, "deployments", {}) if d["name"] == "promote-model")
    answer = httpx.post(
        f"{url}/deployments/{promote['id']}/create_flow_run",
        json={"parameters": given},
        timeout=PATIENCE,
    )
    assert answer.status_code in (409, 422)
    assert ("version" if "version" in given else "reviewer") in answer.text


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_worker_finds_the_flow_and_reports_why_an_empty_log_is_refused(server):
    url, environment = server
    completed = subprocess.run(
        [SENSEI, "db", "upgrade"], env=environment, capture_output=True, check=False
    )
    assert completed.returncode == 0
    manual, monitor = (_start(url, name) for name in ("manual", "monitor"))
    worker = subprocess.Popen(
        ["make", "worker"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        failed, monitored = _end_of(url, manual), _end_of(url, monitor)
    finally:
        os.killpg(worker.pid, signal.SIGINT)
        worker.communicate(timeout=60)
    assert failed["type"] == "FAILED"
    assert "log: expected interactions to train on, got none" in failed["message"]
    assert monitored["type"] == "COMPLETED", "there is nothing to measure yet: no failure"
    findings = open_log(f"sqlite:///{environment['SENSEI_HOME']}/sensei.db").get_fact(MONITORED)
    assert (findings["data_drift_score"], findings["alarms"]) == (None, [])
    (table,) = _ask(url, "artifacts", {"artifacts": {"key": {"any_": ["monitoring"]}}})
    assert "Recommendations accepted" in table["data"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_started_by_a_person_run_on_a_worker_and_report_what_is_missing(server):
    url, environment = server
    subprocess.run([SENSEI, "db", "upgrade"], env=environment, capture_output=True, check=True)
    messages = {
        "check-data": "log: expected interactions",
        "promote-model": "version: expected a challenger of recommendation, got none",
        "rollback-model": "rollback: expected a champion, got none yet",
        "package-service": "package: expected a promoted model, got none",
    }
    runs = {
        name: _start(url, name, {"reviewer": "Ann"} if name.endswith("-model") else {})
        for name in messages
    }
    worker = subprocess.Popen(
        ["make", "worker"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        ends = {name: _end_of(url, run) for name, run in runs.items()}
    finally:
        os.killpg(worker.pid, signal.SIGINT)
        worker.communicate(timeout=60)
    for name, sentence in messages.items():
        assert ends[name]["type"] == "FAILED"
        assert sentence in ends[name]["message"]


def _start(url: str, name: str, parameters: dict | None = None) -> str:
    """Starts a run of a deployment; gives its id."""
    (deployment,) = (d for d in _ask(url, "deployments", {}) if d["name"] == name)
    path = f"{url}/deployments/{deployment['id']}/create_flow_run"
    asked_for = {"state": {"type": "SCHEDULED"}, "parameters": parameters or {}}
    response = httpx.post(path, json=asked_for, timeout=PATIENCE)
    return response.raise_for_status().json()["id"]


def _end_of(url: str, run: str) -> dict:
    """The state in which a run ends."""
    deadline, state = time.monotonic() + 300, {}
    while time.monotonic() < deadline:
        with suppress(httpx.TimeoutException):  # a busy machine
            state = httpx.get(f"{url}/flow_runs/{run}", timeout=30).json()["state"]
        if state.get("type") in ("FAILED", "CRASHED", "COMPLETED"):
            return state
        time.sleep(1)
    pytest.fail(f"the run did not end, it is {state}")


ALARM = """
from dataclasses import replace
from datetime import UTC, datetime
from prefect import flow
from flows.tasks import monitor_tasks
from monitoring.alarms import DRIFT, Alarm
from monitoring.skew import Skew

@flow
def alarm():
    settings, end = Settings(), datetime.now(UTC)
    answers = monitor_tasks.read_answers(settings, end)
    found = monitor_tasks.conclude(settings, answers, None, Skew(0, 0), None, end)
    found = replace(found, alarms=[Alarm(DRIFT, "Drift: 0.50 of 1", {"score": 0.5})])
    return [monitor_tasks.give_alarm(settings, found, end)["emitted"] for _ in range(2)]

assert alarm() == [[DRIFT], []]
"""


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_an_alarm_is_emitted_once_in_its_cooldown_with_its_numbers(server):
    url, environment = server
    subprocess.run([SENSEI, "db", "upgrade"], env=environment, check=True, capture_output=True)
    completed = subprocess.run(
        [sys.executable, "-c", ALARM], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    query = {"filter": {"event": {"name": ["sensei.drift.detected"]}}}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = httpx.post(f"{url}/events/filter", json=query, timeout=PATIENCE).raise_for_status()
        if events := answer.json()["events"]:
            break
        time.sleep(0.5)
    (event,) = events
    assert event["payload"]["alarms"][0]["numbers"] == {"score": 0.5}
    assert event["resource"]["prefect.resource.id"] == RESOURCE["prefect.resource.id"]


@pytest.mark.timeout(500)
def test_a_storm_of_alarms_starts_one_run_and_other_events_none(server):
    url, _ = server
    (retrain,) = (d for d in _ask(url, "deployments", {}) if d["name"] == "on-drift")
    names = ["sensei.skew.detected", *["sensei.drift.detected", "sensei.quality.degraded"] * 10]
    storm = [
        {
            "id": str(uuid4()),
            "event": name,
            "occurred": datetime.now(UTC).isoformat(),
            "resource": RESOURCE,
            "payload": {"score": 0.5},
        }
        for name in names
    ]
    httpx.post(f"{url}/events", json=storm, timeout=PATIENCE).raise_for_status()

    def runs() -> list[dict]:
        query = {"deployments": {"id": {"any_": [retrain["id"]]}}}
        return _ask(url, "flow_runs", query)

    deadline = time.monotonic() + 60
    while not runs() and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(5)  # the others were received with the first
    (run,) = runs()
    assert run["parameters"] == {"window_days": 30, "promotion": "auto", "effort": "quick"}
    assert run["state_type"] == "SCHEDULED"
