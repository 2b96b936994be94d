"""Real servers as we start them refuse other sites, other hosts and, for Prefect, strangers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from flows.local.launch import launching
from flows.local.prefect_auth import auth_string
from sensei.settings import Settings

# Servers that take some twenty seconds to start; the guard's rules have quick tests of their own.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[3]
SECONDS = 240  # a busy machine

FOREIGN = {
    "a foreign origin": {"Origin": "https://evil.example"},
    "an origin that is hidden": {"Origin": "null"},
    "a page of another port": {"Origin": "http://127.0.0.1:3000"},
    "a name that was rebound": {"Host": "evil.example"},
    "its own origin, by a name that was rebound": {
        "Host": "evil.example", "Origin": "http://evil.example",
    },
    "a host that begins as a private address": {"Host": "10.evil.example"},
    "a proxy's word for the host": {"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1"},
    "a foreign host by a proxy's word": {"X-Forwarded-Host": "evil.example"},
    "another site, without an origin": {"Sec-Fetch-Site": "cross-site"},
}  # fmt: skip
WEBSOCKETS = (
    "/api/events/in",
    "/api/events/out",
    "/api/logs/out",
    "/api/task_runs/subscriptions/scheduled",
    "/api/work_pools/sensei/workers/connect",
)


@contextmanager
def started(name: str, settings: Settings, address: str) -> Iterator[str]:
    """One program, until the end of the block; its output goes to a file."""
    ports = {f"SENSEI_{server}_PORT": str(getattr(settings, f"{server.lower()}_port"))
             for server in ("PREFECT", "EVIDENTLY", "MLFLOW")}  # fmt: skip
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))}
    log = settings.root.parent / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            launching(name), cwd=ROOT, stdout=output, stderr=output,
            env=inherited | ports | {"SENSEI_HOME": str(settings.root)},
        )  # fmt: skip
    try:
        yield address
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for member in [*family, process]:
            member.kill()
        process.wait(30)


def wait_for(address: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(address, timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"{address} did not answer within {SECONDS} s")


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]
) -> Settings:
    prefect, evidently, mlflow = free_ports(3)
    home = tmp_path_factory.mktemp("guarded") / "home"
    ports = {"prefect_port": prefect, "evidently_port": evidently, "mlflow_port": mlflow}
    return Settings(home=home, **ports)


@pytest.fixture(scope="module")
def servers(settings: Settings) -> Iterator[dict[str, str]]:
    """Prefect and Evidently, started at the same time."""
    addresses = {
        "prefect": f"http://127.0.0.1:{settings.prefect_port}",
        "evidently": f"http://127.0.0.1:{settings.evidently_port}",
    }
    with ExitStack() as stack:
        for name, address in addresses.items():
            stack.enter_context(started(name, settings, address))
        wait_for(addresses["prefect"] + "/api/health")
        wait_for(addresses["evidently"] + "/api/version")
        yield addresses


def authorized(settings: Settings) -> dict[str, str]:
    credentials = b64encode(auth_string(settings).encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


@pytest.mark.parametrize("said", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_method_of_prefect_or_evidently_answers_another_site(servers, settings, method, said):
    for address in (servers["prefect"] + "/api/flows/", servers["evidently"] + "/api/projects/"):
        headers = FOREIGN[said] | authorized(settings)
        answer = httpx.request(method, address, headers=headers, json={"name": "x"}, timeout=60)
        assert answer.status_code == 403, address
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "sent", [{}, {"Authorization": "Basic d3Jvbmc="}, {"Authorization": "Bearer wrong"}]
)
def test_prefect_does_nothing_without_the_auth_string(servers, sent):
    flows = servers["prefect"] + "/api/flows/"
    simple = {"Content-Type": "text/plain"}  # a page sends it without asking first
    assert httpx.post(flows, json={"name": "x"}, headers=sent).status_code == 401
    assert httpx.post(flows, content='{"name": "x"}', headers=sent | simple).status_code == 401
    assert httpx.get(servers["prefect"] + "/api/admin/settings", headers=sent).status_code == 401


def test_prefect_answers_its_own_page_and_those_who_know_the_auth_string(servers, settings):
    address = servers["prefect"]
    page = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    flows = httpx.post(
        f"{address}/api/flows/filter", json={}, headers=authorized(settings) | page, timeout=60
    )
    assert flows.json() == []
    ui_settings = httpx.get(f"{address}/ui-settings").json()
    assert (ui_settings["auth"], ui_settings["api_url"]) == ("BASIC", "/api")


def test_evidently_answers_and_takes_writes_of_its_own_page(servers):
    address = servers["evidently"]
    page = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    response = httpx.post(
        f"{address}/api/projects/", json={"name": "mine"}, headers=page, timeout=60
    )
    assert response.is_success
    assert "mine" in httpx.get(f"{address}/api/projects/", headers=page, timeout=60).text


async def _talk(address: str, token: str | None, origin: str | None) -> str:
    try:
        async with websockets.connect(
            address,
            origin=origin,
            subprotocols=["prefect"],  # type: ignore[list-item,arg-type]
        ) as socket:
            await socket.send(json.dumps({"type": "auth", "token": token}))
            return str(json.loads(await asyncio.wait_for(socket.recv(), 60))["type"])
    except websockets.InvalidStatus as error:
        return str(error.response.status_code)
    except websockets.ConnectionClosed as closed:
        return str(closed.rcvd.code if closed.rcvd else "")


@pytest.mark.parametrize("path", WEBSOCKETS)
def test_every_websocket_of_prefect_asks_for_the_auth_string_and_its_own_page(
    servers, settings, path
):
    address, string = servers["prefect"].replace("http", "ws") + path, auth_string(settings)

    def talk(token: str | None, origin: str | None = None) -> str:
        return asyncio.run(_talk(address, token, origin))

    assert talk(string) == talk(string, servers["prefect"]) == "auth_success"
    assert talk(None) == talk("wrong") == "1008"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:3000"):
        assert talk(string, origin) == "403"


def test_what_the_servers_write_is_private_and_holds_no_auth_string(servers, settings):
    paths = [path for path in settings.root.rglob("*") if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    string = auth_string(settings).encode()
    logs = [settings.root.parent / f"{name}.log" for name in servers]
    files_with_string = [p for p in [*paths, *logs] if p.is_file() and string in p.read_bytes()]
    assert files_with_string == [settings.root / "prefect-auth"]
    started_here = psutil.Process().children(recursive=True)
    assert not [p for p in started_here if auth_string(settings) in " ".join(p.cmdline())]


def test_mlflow_answers_no_other_site_and_runs_no_assistant(settings):
    address = f"http://127.0.0.1:{settings.mlflow_port}"
    path = "/api/2.0/mlflow/experiments/search"
    with started("mlflow", settings, address):
        wait_for(f"{address}/health")
        page = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
        for headers in ({}, page):
            response = httpx.post(
                address + path, json={"max_results": 5}, headers=headers, timeout=60
            )
            assert response.json()["experiments"]
        for origin_kind, headers in FOREIGN.items():
            for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS"):
                for endpoint in (path, "/health", "/version", "/graphql", "/"):
                    answer = httpx.request(method, address + endpoint, headers=headers, timeout=60)
                    assert answer.status_code == 403, (origin_kind, method, endpoint)
        for endpoint in ("config", "message", "providers", "sessions/x/stream"):
            for method in ("GET", "POST", "PUT"):
                url = f"{address}/ajax-api/3.0/mlflow/assistant/{endpoint}"
                assert httpx.request(method, url, json={}, timeout=60).status_code == 403


TEMPORARY = """
from flows.local.service_probe import use_prefect
from sensei.settings import Settings
use_prefect(Settings())
import httpx
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    api = str(client.api_url)
    known = client.read_flows()
    headers = {"Origin": "https://evil.example", "Host": "evil.example"}
    for sent in ({}, headers, headers | {"Content-Type": "text/plain"}):
        print(httpx.post(f"{api}/flows/", content='{"name": "x"}', headers=sent).status_code)
    cors = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    asked = httpx.options(f"{api}/flows/", headers=cors)
    print(asked.headers.get("access-control-allow-origin"))
    print(len(known), len(client.read_flows()))
"""


def test_the_temporary_server_of_a_run_does_nothing_without_the_auth_string(tmp_path):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))}
    environment = inherited | Settings(home=tmp_path / "home").environment()
    environment["SENSEI_PREFECT_PORT"] = "9"  # nobody listens there
    completed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TEMPORARY], cwd=ROOT, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert completed.stdout.split() == ["401", "401", "401", "None", "0", "0"], completed.stderr[
        -2000:
    ]
