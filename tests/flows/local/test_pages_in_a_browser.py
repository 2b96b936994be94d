"""`sensei up` in a real browser: its pages work, and a page of another site can do nothing."""

import functools
import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SENSEI = [sys.executable, "-c", "from flows.cli.command_line import main; main()"]
MODEL = "recommendation"
PLANTED = f"""
import sys
from pathlib import Path
import pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift
from mlflow import MlflowClient
from monitoring.drift.workspace import keep
home = Path(sys.argv[1])
client = MlflowClient(f"sqlite:///{{home / 'mlflow.db'}}")
client.create_registered_model("{MODEL}")
for _ in range(2):
    client.create_model_version("{MODEL}", source=str(home / "mlartifacts" / "none"))
client.set_registered_model_alias("{MODEL}", "champion", "1")
low, high = (pd.DataFrame({{"score": [at, at + 0.1, at + 0.2] * 20}}) for at in (0.1, 0.7))
report = Report([ValueDrift(column="score", method="jensenshannon")])
keep(home / "evidently", report.run(high, low), 5)
"""
"""A model with two versions, and a drift report: what a training run and a monitor leave."""


class Site:
    """Content of the running servers, read without the browser."""

    def __init__(self, launcher: Any) -> None:
        self.prefect, self.mlflow, self.evidently = (
            launcher.site(name) for name in ("PREFECT", "MLFLOW", "EVIDENTLY")
        )
        self.password = (launcher.home / "prefect-auth").read_text().strip()
        credentials = b64encode(self.password.encode()).decode()
        self.client = httpx.Client(timeout=120)
        self._auth = {"Authorization": f"Basic {credentials}"}

    def ask(self, path: str) -> list[dict[str, Any]]:
        response = self.client.post(
            f"{self.prefect}/api/{path}/filter", json={}, headers=self._auth
        )
        rows: list[dict[str, Any]] = response.raise_for_status().json()
        return rows

    def deployment(self) -> str:
        return next(
            str(row["id"]) for row in self.ask("deployments") if row["name"] == "check-data"
        )

    def runs(self) -> dict[str, str]:
        """State of each run that a person started."""
        of = self.deployment()
        return {r["id"]: r["state_type"] for r in self.ask("flow_runs") if r["deployment_id"] == of}

    def champion(self) -> str:
        path = f"{self.mlflow}/api/2.0/mlflow/registered-models/alias"
        response = self.client.get(path, params={"name": MODEL, "alias": "champion"})
        return str(response.raise_for_status().json()["model_version"]["version"])

    def report(self) -> str:
        """Path of the report's page."""
        projects = f"{self.evidently}/api/projects/"
        project = self.client.get(projects).json()[0]["id"]
        (report,) = self.client.get(f"{projects}{project}/reports").json()
        return f"/projects/{project}/reports/{report['id']}"


@pytest.fixture
def site(start: Callable[[], Any], tmp_path: Path) -> Site:
    environment = os.environ | {"SENSEI_HOME": str(tmp_path / "home")}
    simulate = [*SENSEI, "simulate", "--learners", "20", "--days", "5"]
    subprocess.run(simulate, env=environment, cwd=tmp_path, check=True)
    planted = [sys.executable, "-c", PLANTED, str(tmp_path / "home")]
    subprocess.run(planted, env=environment, check=True)
    launcher = start()
    launcher.wait_for("Ctrl-C ends all", 600)
    assert "keys prefect" in launcher.printed()
    site = Site(launcher)
    assert site.password not in launcher.printed()
    return site


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[int]:
    """Port of another site on this machine: the browser knows it as evil.example too."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>foreign</title><body>foreign</body>")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def until(ask: Callable[[], Any], seconds: float = 300) -> Any:
    end = time.monotonic() + seconds
    while not (result := ask()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return result


def start_a_run(page: Any, site: Site) -> None:
    page.open(f"{site.prefect}/v2/login")
    page.type("input[type=password]", site.password)
    page.until("!location.pathname.includes('login')")
    page.open(f"{site.prefect}/v2/deployments/deployment/{site.deployment()}/run")
    page.until("document.body.innerText.includes('Enforce Parameter Schema')")
    while page.run("location.pathname.endsWith('/run')"):  # a form that is not ready ignores it
        page.click("Submit")
        time.sleep(3)
    run = next(iter(until(site.runs)))
    final_states = ("COMPLETED", "FAILED", "CRASHED")
    assert until(lambda: site.runs()[run] in final_states)
    assert site.runs()[run] == "COMPLETED"
    page.open(f"{site.prefect}/v2/runs/flow-run/{run}")
    page.until("document.body.innerText.includes('Completed')")


def move_the_alias(page: Any, site: Site) -> None:
    page.open(f"{site.mlflow}/#/models/{MODEL}")
    page.until("document.body.innerText.includes('champion')")
    page.click("Add", nth=1)  # of the newest version: tags, then aliases
    page.type("[role=dialog] input", "champion")
    page.click("Save aliases")
    assert until(lambda: site.champion() == "2")


def show_the_report(page: Any, site: Site) -> None:
    page.open(site.evidently + site.report())
    page.until("document.body.innerText.includes('Data drift detected')")


def attack(page: Any, site: Site, origin: str) -> None:
    """All that a page may send: with and without leave to read, in a frame, by websocket."""
    page.open(origin)
    body = json.dumps({"state": {"type": "SCHEDULED"}})
    alias = json.dumps({"name": MODEL, "alias": "champion", "version": "1"})
    run = f"{site.prefect}/api/deployments/{site.deployment()}/create_flow_run"
    alias_path = f"{site.mlflow}/ajax-api/2.0/mlflow/registered-models/alias"
    project = f"{site.evidently}/api/projects/{site.report().split('/')[2]}"
    auth = "Basic " + b64encode(site.password.encode()).decode()
    for method, address, content in (
        ("POST", run, body), ("POST", alias_path, alias), ("DELETE", project, None),
        ("GET", f"{site.evidently}{site.report()}", None),
    ):  # fmt: skip
        for kind, headers in (
            ("no-cors", {"Content-Type": "text/plain"}),
            ("cors", {"Content-Type": "application/json"}),
            ("cors", {"Content-Type": "application/json", "Authorization": auth}),
        ):
            options = {"method": method, "mode": kind, "headers": headers, "credentials": "include"}
            options |= {"body": content} if content else {}
            outcome = page.run(
                f"fetch({json.dumps(address)}, {json.dumps(options)})"
                ".then(r => r.type + r.status, e => 'refused')"
            )
            # An opaque answer cannot be read; what it did is looked up by the caller.
            assert outcome in ("refused", "opaque0"), (address, options, outcome)
    socket = f"{site.prefect.replace('http', 'ws')}/api/events/out"
    outcome_of_socket = page.run(
        f"new Promise(done => {{ const s = new WebSocket({json.dumps(socket)}, 'prefect');"
        "s.onopen = () => done('open'); s.onerror = () => done('refused') })"
    )
    assert outcome_of_socket == "refused"


def rebind(page: Any, site: Site) -> None:
    """Open our ports by a name of another site, as after DNS rebinding."""
    for address in (site.prefect, site.mlflow, site.evidently + site.report()):
        page.open(address.replace("127.0.0.1", "evil.example"))
        assert page.text().startswith("Host: expected localhost"), address


def test_the_pages_work_and_a_page_of_another_site_can_do_nothing(page, site, foreign):
    start_a_run(page, site)
    move_the_alias(page, site)
    show_the_report(page, site)
    runs = site.runs()
    for origin in (f"http://evil.example:{foreign}/", f"http://127.0.0.1:{foreign}/"):
        attack(page, site, origin)
    rebind(page, site)
    assert site.runs() == runs
    assert site.champion() == "2"
    assert site.report()
